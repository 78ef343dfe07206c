//! Whether an answer of IAM or STS is whole. The SDK takes the end of the text for the end of each
//! element, skips what it does not know, and reads a list that is not there as an empty one: keys would
//! seem to be gone.

use roxmltree::{Document, Node};

/// Whether the body is the whole answer to a call of this operation: well-formed XML with the elements
/// without which less would be said than is true.
pub fn is_whole(operation: &str, body: &[u8]) -> bool {
    let text = std::str::from_utf8(body).ok();
    let document = text.and_then(|text| Document::parse(text).ok());
    document.is_some_and(|document| has_all(operation, document.root_element()))
}

fn has_all(operation: &str, answer: Node) -> bool {
    let is_named = |node: Node, end| node.tag_name().name().strip_prefix(operation) == Some(end);
    if !is_named(answer, "Response") {
        return false;
    }
    // The required element, and the name of its content if it is a list.
    let (list, element, needed): (&str, Option<&str>, &[&str]) = match operation {
        "ListAccessKeys" => {
            ("AccessKeyMetadata", Some("member"), &["AccessKeyId", "Status", "CreateDate"])
        }
        "GetAccountAuthorizationDetails" => ("UserDetailList", Some("member"), &["UserName"]),
        "GetAccountPasswordPolicy" => ("PasswordPolicy", None, &[]),
        "GetAccountSummary" => ("SummaryMap", Some("entry"), &["key", "value"]),
        "ListAccountAliases" => ("AccountAliases", Some("member"), &[]),
        "ListServiceSpecificCredentials" => (
            "ServiceSpecificCredentials",
            Some("member"),
            &["UserName", "ServiceSpecificCredentialId", "ServiceName", "Status", "CreateDate"],
        ),
        "ListVirtualMFADevices" => ("VirtualMFADevices", Some("member"), &["SerialNumber"]),
        _ => return true,
    };
    let Some(result) = answer.children().find(|node| is_named(*node, "Result")) else {
        return false;
    };
    let Some(list) = child(result, list) else { return false };
    let has_needed = |member: Node| {
        element.is_none_or(|element| member.tag_name().name() == element)
            && needed.iter().all(|name| child(member, name).is_some_and(|it| it.text().is_some()))
    };
    // If it is missing, which the documentation allows, the answer is complete.
    let is_truncated = child(result, "IsTruncated").map(|it| it.text().unwrap_or_default());
    let is_page_known = match is_truncated {
        None | Some("false") => true,
        Some("true") => child(result, "Marker").is_some_and(|it| it.text().is_some()),
        Some(_) => false,
    };
    [answer, result, list].into_iter().all(has_no_text)
        && is_page_known
        && list.children().filter(Node::is_element).all(has_needed)
}

/// Whether there is nothing between the elements in this one, such as the rest of a broken tag.
fn has_no_text(node: Node) -> bool {
    let mut texts = node.children().filter(Node::is_text);
    texts.all(|text| text.text().is_none_or(|text| text.trim().is_empty()))
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.tag_name().name() == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: &str = "<ListAccessKeysResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
        <ListAccessKeysResult><UserName>a</UserName><AccessKeyMetadata><member><UserName>a</UserName>\
        <AccessKeyId>AKIA1</AccessKeyId><Status>Active</Status><CreateDate>2026-01-01T00:00:00Z</CreateDate>\
        </member></AccessKeyMetadata><IsTruncated>false</IsTruncated></ListAccessKeysResult>\
        <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></ListAccessKeysResponse>\n";

    fn is_whole_list(text: &str) -> bool {
        is_whole("ListAccessKeys", text.as_bytes())
    }

    #[test]
    fn an_answer_that_lacks_what_counts_is_not_whole() {
        assert!(is_whole_list(KEYS));
        let between = |from: &str, to: &str| {
            let (before, rest) = KEYS.split_once(from).expect(from);
            let (_, after) = rest.split_once(to).expect(to);
            format!("{before}{after}")
        };
        for damaged in [
            KEYS.replace("<member>", ""),
            KEYS.replace("<IsTruncated>", "<IsTruncatee>"),
            KEYS.replace("<ListAccessKeysResult>", "<ListAccessKeysResult><ListAccessKeysResult>"),
            KEYS.replace("false", "true"),
            KEYS.replace("false", "folse"),
            KEYS.replace("<Status>Active</Status>", ""),
            KEYS.replace("member>", "membre>"),
            between("<member>", "</ListAccessKeysResult>"),
            between("<AccessKeyMetadata>", "</AccessKeyMetadata>"),
            String::new(),
            "<html></html>".to_owned(),
        ] {
            assert!(!is_whole_list(&damaged), "{damaged}");
        }
        let empty = between("<member>", "</member>");
        assert!(is_whole_list(&empty), "a user without keys: {empty}");
        assert!(is_whole_list(&KEYS.replace("<IsTruncated>false</IsTruncated>", "")));
        assert!(is_whole("GenerateCredentialReport", b"<GenerateCredentialReportResponse/>"));
        assert!(!is_whole("GenerateCredentialReport", b"<GetCredentialReportResponse/>"));
    }

    proptest! {
        #[test]
        fn no_cut_hides_a_key(from in 0..KEYS.len(), length in 1..KEYS.len()) {
            let to = (from + length).min(KEYS.len());
            let damaged = format!("{}{}", &KEYS[..from], &KEYS[to..]);
            // A part of a whole answer still has the key, or none at all.
            let is_empty = damaged.contains("<AccessKeyMetadata></AccessKeyMetadata>");
            if is_whole_list(&damaged) && !is_empty {
                prop_assert!(damaged.contains("<AccessKeyId>"), "{}", damaged);
            }
        }
    }
}
