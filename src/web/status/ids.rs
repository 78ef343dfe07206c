//! What an id of AWS, or a part of one, can be the id of.

use super::choices::KeyKind;

/// The beginnings of AWS's ids:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>.
/// `None`: of something that is no key on the page, such as a user, a role, or a temporary key.
const BEGINNINGS: [(&str, Option<KeyKind>); 12] = [
    ("AKIA", Some(KeyKind::AccessKey)),
    ("ACCA", Some(KeyKind::ServiceCredential)),
    ("ABIA", None),
    ("AGPA", None),
    ("AIDA", None),
    ("AIPA", None),
    ("ANPA", None),
    ("ANVA", None),
    ("APKA", None),
    ("AROA", None),
    ("ASCA", None),
    ("ASIA", None),
];
/// The length of the shortest ids.
const MIN_LENGTH: usize = 16;

/// Whether a key of this kind can have the id.
pub fn can_be_of(id: &str, kind: KeyKind) -> bool {
    beginning(id).is_none_or(|of| of == Some(kind))
}

/// Whether the word of a search is a whole id, which no name is.
pub fn is_whole(word: &str) -> bool {
    is_account(word)
        || is_alphanumeric(word) && word.len() >= MIN_LENGTH && beginning(word).is_some()
}

/// Whether the word of a search can be the id of an access key, or a part of one. It has capital letters and digits.
/// A word of small letters is a name, unless it has a digit or begins like an id of an access key.
pub fn can_be_in_access_key(word: &str) -> bool {
    let is_of_key = beginning(word) == Some(Some(KeyKind::AccessKey));
    let is_name = !is_of_key
        && word.bytes().any(|c| c.is_ascii_lowercase())
        && !word.bytes().any(|c| c.is_ascii_digit());
    is_alphanumeric(word) && !is_name && (is_of_key || !is_whole(word))
}

/// Whether this is the id of an account.
pub fn is_account(word: &str) -> bool {
    word.len() == 12 && word.bytes().all(|c| c.is_ascii_digit())
}

/// What the id is of, by its beginning in any case. `None`: it begins like no id.
fn beginning(id: &str) -> Option<Option<KeyKind>> {
    let is_of = |(beginning, _): &&(&str, _)| {
        id.get(..beginning.len()).is_some_and(|it| it.eq_ignore_ascii_case(beginning))
    };
    BEGINNINGS.iter().find(is_of).map(|(_, kind)| *kind)
}

fn is_alphanumeric(word: &str) -> bool {
    word.bytes().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_what_it_begins_with() {
        let kinds = [KeyKind::AccessKey, KeyKind::ServiceCredential];
        for (id, expected) in [
            ("AKIA1", [true, false]),
            ("akia1", [true, false]),
            ("ACCA1", [false, true]),
            ("ASIA1", [false, false]),
            ("AIDA1", [false, false]),
            ("AROA1", [false, false]),
            ("AZZA1", [true, true]),
            ("\u{fc}\u{fc}", [true, true]),
            ("", [true, true]),
        ] {
            assert_eq!(kinds.map(|kind| can_be_of(id, kind)), expected, "{id}");
        }
    }

    #[test]
    fn a_word_can_be_a_part_of_an_access_keys_id_unless_it_is_another_id() {
        for (word, is_whole_id, can_be_part) in [
            ("AKIAIOSFODNN7EXAMPLE", true, true),
            ("akiaiosfodnn7example", true, true),
            ("AKIA123", false, true),
            ("DNN7EXAM", false, true),
            ("BACKUP", false, true),
            ("back2up", false, true),
            ("backup", false, false),
            ("Backup", false, false),
            ("akiabot", false, true),
            ("akia-bot", false, false),
            ("ACCA123456789012", true, false),
            ("AIDA123456789012", true, false),
            // A name can begin like an id.
            ("ASIA", false, true),
            ("asia", false, false),
            ("asiapacific", false, false),
            ("123456789012", true, false),
            ("1234", false, true),
        ] {
            assert_eq!(is_whole(word), is_whole_id, "{word}");
            assert_eq!(can_be_in_access_key(word), can_be_part, "{word}");
        }
    }
}
