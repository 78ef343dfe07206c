//! Reports that are refused as a whole.

use super::*;

#[test]
fn a_report_without_any_row_is_refused() {
    for rows in ["", "\n", "\r\n\n"] {
        let report = Report::parse(format!("{HEADER}{rows}").as_bytes());
        assert_eq!(report, Err(Error::NoRows), "{rows:?}");
    }
    assert_eq!(parse(&[HEADER, ROOT]).users.len(), 1);
}

#[test]
fn utf_16_that_is_cut_or_broken_is_refused_as_that() {
    let whole = utf16(&[HEADER, ROOT].join("\n"), u16::to_le_bytes);
    let cut = whole[..whole.len() - 1].to_vec();
    let half_a_pair = [&*whole, &[0x00, 0xd8]].concat();
    for csv in [cut, half_a_pair] {
        assert_eq!(Report::parse(&csv), Err(Error::NotUtf16));
    }
}

#[test]
fn what_is_no_report_is_refused() {
    assert_eq!(Report::parse(b""), Err(Error::NoHeader));
    let missing = |column| Err(Error::MissingColumn(column));
    assert_eq!(Report::parse(b"<html>\n"), missing("user"));
    assert_eq!(Report::parse(b"user,arn\n"), missing("access_key_1_active"));
    assert_eq!(Report::parse(ROOT.as_bytes()), missing("user"));
    for (text, error) in [
        (
            "{\n    \"Content\": \"dXNlcixhcm4sdXNlcl9jcmVhdGlvbl90aW1l\"\n}\n".to_owned(),
            Error::Json,
        ),
        (" {}".to_owned(), Error::Json),
        ("[\n  {\n    \"UserName\": \"a\"\n  }\n]\n".to_owned(), Error::Json),
        ("[{\"UserName\": \"a\"}]".to_owned(), Error::Json),
        ("dXNlcixhcm4sdXNlcl9jcmVhdGlvbl90aW1l\n".to_owned(), Error::Base64),
        ("\"dXNlcixhcm4sdXNlcl9jcmVhdGlvbl90aW1l\"".to_owned(), Error::Base64),
        (format!("{HEADER}\n{ROOT}\n").replace(',', ";"), Error::OtherSeparator(';')),
        (format!("{HEADER}\n{ROOT}\n").replace(',', "\t"), Error::OtherSeparator('\t')),
        (format!("\"{}\"\n{ROOT}", HEADER.replace(',', "\";\"")), Error::OtherSeparator(';')),
    ] {
        assert_eq!(Report::parse(text.as_bytes()), Err(error), "{text}");
    }
    let twice = format!("access_key_1_active,{HEADER}\nfalse,{ROOT}\n");
    assert_eq!(Report::parse(twice.as_bytes()), Err(Error::ColumnTwice));
    let too_large = vec![b' '; MAX_BYTES + 1];
    assert_eq!(Report::parse(&too_large), Err(Error::TooLarge(MAX_BYTES + 1)));
}

#[test]
fn a_report_without_one_readable_row_is_refused() {
    let error = Report::parse(format!("{HEADER}\nnonsense\n").as_bytes()).expect_err("no report");
    assert_eq!(
        error.to_string(),
        "none of the 1 rows can be read; the first: line 2, column user: \
         the row does not have the header's number of fields"
    );
}

#[test]
fn a_report_of_rubbish_is_refused_before_it_takes_much_memory() {
    let csv = format!("{HEADER}\n{}\n{}", row("first", NO_KEYS), "x\n".repeat(MAX_REJECTED + 1));
    let user = Some("x".to_owned());
    let first =
        RejectedRow { line: 3, column: "user", problem: Problem::FieldCount, is_root: false, user };
    assert_eq!(Report::parse(csv.as_bytes()), Err(Error::MostlyUnreadable { first }));
}
