mod keep;
mod order;
mod random;
mod refused;
mod rejected;

use super::*;

const HEADER: &str = "user,arn,user_creation_time,password_enabled,password_last_used,\
password_last_changed,password_next_rotation,mfa_active,access_key_1_active,\
access_key_1_last_rotated,access_key_1_last_used_date,access_key_1_last_used_region,\
access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,\
access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,\
cert_1_active,cert_1_last_rotated,cert_2_active,cert_2_last_rotated";

const ROOT: &str = "<root_account>,arn:aws:iam::123456789012:root,2020-01-01T00:00:00Z,\
not_supported,2026-01-02T03:04:05Z,not_supported,not_supported,true,false,N/A,N/A,N/A,N/A,\
false,N/A,N/A,N/A,N/A,false,N/A,false,N/A";

/// A row as AWS sends it. `keys` are the ten fields of both keys.
fn row(name: &str, keys: &str) -> String {
    format!(
        "{name},arn:aws:iam::123456789012:user/{name},2021-05-06T07:08:09Z,false,N/A,N/A,N/A,\
         false,{keys},false,N/A,false,N/A"
    )
}

const NO_KEYS: &str = "false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A";

fn parse(lines: &[&str]) -> Report {
    Report::parse(lines.join("\n").as_bytes()).expect("a report")
}

fn at(text: &str) -> Option<DateTime<Utc>> {
    Some(text.parse().expect("a time"))
}

fn rejected(report: &Report) -> Vec<(u64, &'static str, Problem)> {
    report.rejected.iter().map(|row| (row.line, row.column, row.problem)).collect()
}

#[test]
fn every_column_is_read() {
    let report = parse(&[
        HEADER,
        ROOT,
        "alpha,arn:aws:iam::123456789012:user/team/alpha,2021-01-01T00:00:00Z,true,\
         2022-01-01T00:00:00Z,2022-02-01T00:00:00Z,2023-02-01T00:00:00Z,true,true,\
         2022-03-01T00:00:00Z,2022-04-01T00:15:00Z,eu-west-1,s3,false,2022-05-01T00:00:00Z,N/A,\
         N/A,N/A,true,2022-06-01T00:00:00Z,false,2022-07-01T00:00:00Z",
    ]);
    assert_eq!(report.account_id.as_deref(), Some("123456789012"));
    assert_eq!(report.partition.as_deref(), Some("aws"));
    assert_eq!(report.rejected, []);
    assert_eq!(
        report.users[1],
        User {
            name: "alpha".to_owned(),
            arn: "arn:aws:iam::123456789012:user/team/alpha".to_owned(),
            created: at("2021-01-01T00:00:00Z"),
            password_enabled: Some(true),
            password_last_used: at("2022-01-01T00:00:00Z"),
            password_never_used: false,
            password_last_changed: at("2022-02-01T00:00:00Z"),
            password_next_rotation: at("2023-02-01T00:00:00Z"),
            mfa_active: Some(true),
            keys: [
                Some(Key {
                    active: true,
                    id: None,
                    last_rotated: at("2022-03-01T00:00:00Z"),
                    last_used: at("2022-04-01T00:15:00Z"),
                    never_used: false,
                    last_used_region: Some("eu-west-1".into()),
                    last_used_service: Some("s3".into()),
                    use_of: None,
                }),
                Some(Key {
                    active: false,
                    id: None,
                    last_rotated: at("2022-05-01T00:00:00Z"),
                    last_used: None,
                    never_used: true,
                    last_used_region: None,
                    last_used_service: None,
                    use_of: None,
                }),
            ],
            lacks_key: [false; 2],
            has_use_without_key: false,
            lacks_time: [false; 2],
            certificates: [
                Some(Certificate { active: true, last_rotated: at("2022-06-01T00:00:00Z") }),
                Some(Certificate { active: false, last_rotated: at("2022-07-01T00:00:00Z") }),
            ],
            additional_credentials: None,
            is_kept: false,
            has_two_rows: false,
        }
    );
}

#[test]
fn what_the_report_does_not_know_is_absent() {
    let root = &parse(&[HEADER, ROOT]).users[0];
    assert!(root.is_root());
    assert_eq!(root.password_enabled, None);
    assert_eq!(root.password_last_changed, None);
    assert_eq!(root.keys, [None, None]);
    assert_eq!(root.certificates, [None, None]);
}

#[test]
fn false_with_a_time_is_an_inactive_key_and_false_without_is_no_key() {
    let keys = "false,2022-05-01T00:00:00Z,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A";
    let [first, second] = parse(&[HEADER, &row("a", keys)]).users[0].keys.clone();
    assert!(first.is_some_and(|key| !key.active));
    assert_eq!(second, None);
}

#[test]
fn columns_are_found_by_name_in_any_order() {
    let report = parse(&[
        "access_key_2_last_rotated,access_key_2_active,something_new,arn,user,\
         access_key_1_last_rotated,access_key_1_active",
        "N/A,false,x,arn:aws-cn:iam::123456789012:user/a,a,2022-05-01T00:00:00Z,true",
    ]);
    assert_eq!(report.partition.as_deref(), Some("aws-cn"));
    assert_eq!(report.users[0].name, "a");
    assert_eq!(report.users[0].created, None);
    assert_eq!(report.users[0].mfa_active, None);
    assert!(report.users[0].keys[0].as_ref().is_some_and(|key| key.active));
}

#[test]
fn a_byte_order_mark_crlf_upper_case_and_offsets_are_read() {
    let row = row("a", "TRUE,2022-05-01T02:00:00+02:00,N/A,N/A,N/A,FALSE,N/A,N/A,N/A,N/A");
    let csv = format!("\u{feff}{HEADER}\r\n{row}\r\n");
    let report = Report::parse(csv.as_bytes()).expect("a report");
    let key = report.users[0].keys[0].as_ref().expect("a key");
    assert!(key.active);
    assert_eq!(key.last_rotated, at("2022-05-01T00:00:00Z"));
}

#[test]
fn an_arn_that_ends_in_root_account_is_root() {
    let row = ROOT.replace(":root,", ":<root_account>,");
    assert!(parse(&[HEADER, &row]).users[0].is_root());
}

#[test]
fn names_with_commas_are_read_quoted_or_not() {
    let unquoted = row("a,b,c", NO_KEYS);
    let quoted = unquoted.replace("a,b,c,arn", "\"a,b,c\",arn").replace(
        "arn:aws:iam::123456789012:user/a,b,c",
        "\"arn:aws:iam::123456789012:user/a,b,c\"",
    );
    for row in [unquoted, quoted] {
        let report = parse(&[HEADER, &row]);
        assert_eq!(report.rejected, [], "{row}");
        assert_eq!(report.users[0].name, "a,b,c");
        assert_eq!(report.users[0].arn, "arn:aws:iam::123456789012:user/a,b,c");
        assert_eq!(report.users[0].created, at("2021-05-06T07:08:09Z"));
    }
}

#[test]
fn a_comma_in_the_path_alone_belongs_to_the_arn() {
    let row = row("a", NO_KEYS).replace("user/a", "user/x,y/\"z\"/a");
    let user = &parse(&[HEADER, &row]).users[0];
    assert_eq!(user.name, "a");
    assert_eq!(user.arn, "arn:aws:iam::123456789012:user/x,y/\"z\"/a");
}

#[test]
fn a_user_may_be_called_like_an_absent_value() {
    let report = parse(&[HEADER, &row("no_information", NO_KEYS), &row("not_supported", NO_KEYS)]);
    assert_eq!(report.rejected, []);
    assert_eq!(report.users[0].name, "no_information");
}

#[test]
fn additional_credentials_are_told_from_none() {
    let header = format!("{HEADER},additional_credentials_info");
    for (value, expected) in [
        ("N/A", Some(false)),
        ("", None),
        ("no_information", None),
        ("false", Some(false)),
        ("0", Some(false)),
        ("2 more keys", Some(true)),
    ] {
        let row = format!("{},{value}", row("a", NO_KEYS));
        assert_eq!(parse(&[&header, &row]).users[0].additional_credentials, expected, "{value}");
    }
}

#[test]
fn the_path_is_what_stands_in_the_arn_before_the_name() {
    let path = |arn: &str| {
        let row = row("a", NO_KEYS).replace("arn:aws:iam::123456789012:user/a", arn);
        parse(&[HEADER, &row]).users[0].path().to_owned()
    };
    assert_eq!(path("arn:aws:iam::123456789012:user/a"), "/");
    assert_eq!(path("arn:aws:iam::123456789012:user/service/a"), "/service/");
    assert_eq!(path("arn:aws:iam::123456789012:user/a/:user/a/a"), "/a/:user/a/");
    assert_eq!(parse(&[HEADER, ROOT]).users[0].path(), "/");
}

/// As PowerShell's `>` writes it, in either byte order.
fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
}

#[test]
fn utf_16_is_read_like_utf_8() {
    let csv = [HEADER, ROOT, &row("a", NO_KEYS)].join("\r\n");
    let expected = Report::parse(csv.as_bytes());
    assert!(expected.is_ok());
    assert_eq!(Report::parse(&utf16(&csv, u16::to_le_bytes)), expected);
    assert_eq!(Report::parse(&utf16(&csv, u16::to_be_bytes)), expected);
}

/// The header of today's reports, with the column that can hold any text at its end.
fn header_23() -> String {
    format!("{HEADER},additional_credentials_info")
}

#[test]
fn a_comma_in_the_last_column_keeps_the_row_and_its_keys() {
    let keys = "true,2020-01-01T00:00:00Z,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A";
    for text in [
        "2 more keys, use ListAccessKeys",
        "\"2 more keys, use ListAccessKeys\"",
        "2 more \"keys\", use, ListAccessKeys,",
        ",2 more keys",
    ] {
        for user in [row("a", keys), row("a,b", keys), row("a", keys).replace("user/", "user/x,y/")]
        {
            let report =
                parse(&[&header_23(), &format!("{ROOT},{text}"), &format!("{user},{text}")]);
            assert_eq!(report.rejected, [], "{user},{text}");
            assert_eq!(report.users.len(), 2);
            let key = report.users[1].keys[0].as_ref().expect("a key");
            assert_eq!(key.last_rotated, at("2020-01-01T00:00:00Z"));
            let more = report.users.iter().map(|user| user.additional_credentials);
            assert_eq!(more.collect::<Vec<_>>(), [Some(true); 2]);
        }
    }
}

#[test]
fn never_used_is_what_the_report_says_and_not_what_it_leaves_out() {
    let key = |header: &str, used: &str| {
        let csv = format!(
            "user,arn,access_key_1_active,access_key_1_last_rotated{header},access_key_2_active,access_key_2_last_rotated\n\
             a,arn:aws:iam::123456789012:user/a,true,2022-01-01T00:00:00Z{used},false,N/A\n"
        );
        let report = Report::parse(csv.as_bytes()).expect("a report");
        let key = report.users[0].keys[0].as_ref().expect("a key");
        (key.last_used.is_some(), key.never_used)
    };
    let column = ",access_key_1_last_used_date";
    assert_eq!(key(column, ",2022-02-01T00:00:00Z"), (true, false));
    assert_eq!(key(column, ",N/A"), (false, true));
    assert_eq!(key(column, ",no_information"), (false, true));
    for unknown in ["long ago", "not_supported", ""] {
        assert_eq!(key(column, &format!(",{unknown}")), (false, false), "{unknown}");
    }
    assert_eq!(key("", ""), (false, false));
}
