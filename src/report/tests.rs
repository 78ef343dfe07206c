use proptest::prelude::*;

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

/// Root's row in a report with 23 columns.
const ROOT_23: &str = concat!(
    "<root_account>,arn:aws:iam::123456789012:root,2020-01-01T00:00:00Z,not_supported,",
    "N/A,not_supported,not_supported,true,false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,",
    "false,N/A,N/A"
);

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
                }),
                Some(Key {
                    active: false,
                    id: None,
                    last_rotated: at("2022-05-01T00:00:00Z"),
                    last_used: None,
                    never_used: true,
                    last_used_region: None,
                    last_used_service: None,
                }),
            ],
            lacks_keys: false,
            lacks_time: [false; 2],
            certificates: [
                Some(Certificate { active: true, last_rotated: at("2022-06-01T00:00:00Z") }),
                Some(Certificate { active: false, last_rotated: at("2022-07-01T00:00:00Z") }),
            ],
            additional_credentials: false,
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
fn the_newest_time_is_that_of_anything_that_has_happened() {
    let user = row("a", "true,2022-05-01T00:00:00Z,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A");
    assert_eq!(parse(&[HEADER, &user]).newest_time(), at("2022-05-01T00:00:00Z"));
    // When a password ends is no evidence: that lies ahead.
    let user = user.replace("false,N/A,N/A,N/A,false", "true,N/A,N/A,2030-01-01T00:00:00Z,false");
    assert_eq!(parse(&[HEADER, &user]).newest_time(), at("2022-05-01T00:00:00Z"));
    let report = parse(&[HEADER, &user, ROOT]);
    assert_eq!(report.newest_time(), at("2026-01-02T03:04:05Z"));
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
fn an_active_key_without_a_time_is_kept_without_its_age_and_counted() {
    for absent in ["N/A", ""] {
        let keys = format!("true,{absent},N/A,N/A,N/A,false,N/A,N/A,N/A,N/A");
        let report = parse(&[HEADER, &row("a", &keys)]);
        let key = report.users[0].keys[0].as_ref().expect("a key");
        assert_eq!((key.active, key.last_rotated), (true, None));
        let problem = Problem::ActiveKeyWithoutTime;
        assert_eq!(rejected(&report), [(2, "access_key_1_last_rotated", problem)]);
    }
}

#[test]
fn a_bad_row_is_left_out_and_told_by_line_and_column() {
    let good = row("good", NO_KEYS);
    let report = parse(&[
        HEADER,
        &good,
        &row("boolean", "yes,2022-05-01T00:00:00Z,N/A,N/A,N/A,no,N/A,N/A,N/A,N/A"),
        &row("account", NO_KEYS).replace("123456789012", "210987654321"),
        &row("arn", NO_KEYS).replace("arn:aws:iam::", "arn:aws:s3::"),
        "short,arn:aws:iam::123456789012:user/short",
        &row("long", NO_KEYS).replace("arn:aws", "no,arn"),
        &good,
        &row("", NO_KEYS),
    ]);
    assert_eq!(report.users.len(), 1);
    assert_eq!(
        rejected(&report),
        [
            (3, "access_key_1_active", Problem::NotABoolean),
            (4, "arn", Problem::OtherAccount),
            (5, "arn", Problem::NotAnArn),
            (6, "user", Problem::FieldCount),
            (7, "user", Problem::FieldCount),
            (8, "user", Problem::Duplicate),
            (9, "user", Problem::Empty),
        ]
    );
}

#[test]
fn a_quote_in_a_path_swallows_no_row() {
    let key = "true,2020-01-01T00:00:00Z,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A";
    let beta = row("beta", key).replace("user/beta", "user/x,\"y/beta");
    let report = parse(&[HEADER, &row("alpha", key), &beta, &row("gamma", key)]);
    let names: Vec<&str> = report.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(names, ["alpha", "beta", "gamma"]);
    assert_eq!(report.users[1].arn, "arn:aws:iam::123456789012:user/x,\"y/beta");
    assert_eq!(report.rejected, []);
}

#[test]
fn lines_are_counted_as_an_editor_does() {
    let bad = "short,row";
    for end in ["\n", "\r\n"] {
        let csv = [HEADER, &row("a", NO_KEYS), bad, "", bad].join(end);
        let report = Report::parse(csv.as_bytes()).expect("a report");
        assert_eq!(report.rejected.iter().map(|row| row.line).collect::<Vec<_>>(), [3, 5]);
    }
}

#[test]
fn what_cannot_be_read_beside_the_keys_is_absent_and_counted_once() {
    let key = "true,2020-01-01T00:00:00Z,never,N/A,N/A,false,N/A,N/A,N/A,N/A";
    let row = row("a", key).replace("2021-05-06T07:08:09Z", "yesterday");
    let report = parse(&[HEADER, &row]);
    let key = report.users[0].keys[0].as_ref().expect("the key is what counts");
    assert_eq!((key.active, key.last_used), (true, None));
    assert_eq!(report.users[0].created, None);
    assert_eq!(rejected(&report), [(2, "access_key_1_last_used_date", Problem::NotATime)]);
}

#[test]
fn a_key_that_cannot_be_read_does_not_hide_the_other_one() {
    for (first, problem, kept) in [
        (
            "yes,2022-05-01T00:00:00Z",
            Problem::NotABoolean,
            Some((true, at("2022-05-01T00:00:00Z"))),
        ),
        ("true,2026-13-01T00:00:00Z", Problem::NotATime, Some((true, None))),
        ("false,2026-13-01T00:00:00Z", Problem::NotATime, None),
    ] {
        let keys = format!("{first},N/A,N/A,N/A,true,2019-01-01T00:00:00Z,N/A,N/A,N/A");
        let report = parse(&[HEADER, &row("a", &keys)]);
        let [one, two] = &report.users[0].keys;
        assert_eq!(one.as_ref().map(|key| (key.active, key.last_rotated)), kept);
        assert_eq!(two.as_ref().and_then(|key| key.last_rotated), at("2019-01-01T00:00:00Z"));
        assert_eq!(report.rejected[0].problem, problem);
        assert_eq!(report.rejected.len(), 1);
    }
}

#[test]
fn a_key_of_which_the_status_cannot_be_read_counts_as_active() {
    const TIME: &str = "2020-01-01T00:00:00Z";
    let without = Problem::KeyWithoutStatus;
    for (status, time, problem) in [
        ("", TIME, without),
        ("N/A", TIME, without),
        ("not_supported", TIME, without),
        ("flase", TIME, Problem::NotABoolean),
        ("flase", "N/A", Problem::NotABoolean),
        ("flase", "2020-01-01", Problem::NotABoolean),
        ("N/A", "2020-01-01", Problem::NotATime),
    ] {
        let key = format!("{status},{time},N/A,N/A,N/A");
        let none = "false,N/A,N/A,N/A,N/A";
        for (keys, slot) in [(format!("{key},{none}"), 0), (format!("{none},{key}"), 1)] {
            let report = parse(&[HEADER, &row("a", &keys)]);
            let keys = &report.users[0].keys;
            let known = keys[slot].as_ref().map(|key| (key.active, key.last_rotated));
            assert_eq!(known, Some((true, time.parse().ok())), "{key}");
            assert_eq!(keys[1 - slot], None);
            assert_eq!(report.rejected.len(), 1, "the row is counted once");
            assert_eq!(report.rejected[0].problem, problem, "{key}");
        }
    }
}

#[test]
fn bytes_that_are_no_text_cost_their_row_alone() {
    let mut csv = [HEADER, &row("good", NO_KEYS), &row("bad", NO_KEYS)].join("\n").into_bytes();
    let at = csv.windows(4).position(|four| four == b"\nbad").expect("the row") + 1;
    csv[at] = 0xff;
    let report = Report::parse(&csv).expect("a report");
    assert_eq!(report.users.len(), 1);
    assert_eq!(rejected(&report), [(3, "user", Problem::NotUtf8)]);
}

#[test]
fn additional_credentials_are_told_from_none() {
    let header = format!("{HEADER},additional_credentials_info");
    for (value, expected) in [("N/A", false), ("", false), ("false", false), ("2 more keys", true)]
    {
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

#[test]
fn a_report_without_any_row_is_refused() {
    for rows in ["", "\n", "\r\n\n"] {
        let report = Report::parse(format!("{HEADER}{rows}").as_bytes());
        assert_eq!(report, Err(Error::NoRows), "{rows:?}");
    }
    assert_eq!(parse(&[HEADER, ROOT]).users.len(), 1);
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

#[test]
fn utf_16_that_is_cut_or_broken_is_refused_as_that() {
    let whole = utf16(&[HEADER, ROOT].join("\n"), u16::to_le_bytes);
    let cut = whole[..whole.len() - 1].to_vec();
    let half_a_pair = [&*whole, &[0x00, 0xd8]].concat();
    for csv in [cut, half_a_pair] {
        assert_eq!(Report::parse(&csv), Err(Error::NotUtf16));
    }
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
            assert_eq!(more.collect::<Vec<_>>(), [true; 2]);
        }
    }
}

#[test]
fn a_field_too_many_anywhere_else_costs_the_row() {
    let good = row("a", NO_KEYS);
    let inserted = good.replace(",2021-05", ",surplus,2021-05");
    let report = parse(&[&header_23(), ROOT_23, &format!("{inserted},N/A")]);
    assert_eq!(rejected(&report), [(3, "user", Problem::FieldCount)]);
    let report = parse(&[HEADER, ROOT, &format!("{good},surplus")]);
    assert_eq!(rejected(&report), [(3, "user", Problem::FieldCount)]);
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

/// Names as AWS allows them: commas, too.
const NAME: &str = "[a-zA-Z0-9_+=,.@-]{1,64}";
/// Paths as AWS allows them: any printable ASCII.
const PATH: &str = "/([!-~]{1,20}/)?";

fn time() -> impl Strategy<Value = Option<DateTime<Utc>>> {
    proptest::option::of(0..4_000_000_000_i64)
        .prop_map(|seconds| seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)))
}

fn key() -> impl Strategy<Value = Option<Key>> {
    let text = || proptest::option::of("[a-z][a-z0-9-]{0,14}");
    let key = (any::<bool>(), 0..4_000_000_000_i64, time(), text(), text()).prop_map(
        |(active, rotated, last_used, last_used_region, last_used_service)| Key {
            active,
            id: None,
            last_rotated: DateTime::from_timestamp(rotated, 0),
            last_used,
            never_used: last_used.is_none(),
            last_used_region: last_used_region.map(Arc::from),
            last_used_service: last_used_service.map(Arc::from),
        },
    );
    proptest::option::of(key)
}

fn user() -> impl Strategy<Value = User> {
    let passwords = (proptest::option::of(any::<bool>()), time(), time(), time());
    (NAME, PATH, time(), passwords, proptest::option::of(any::<bool>()), key(), key()).prop_map(
        |(name, path, created, passwords, mfa_active, first, second)| User {
            arn: format!("arn:aws:iam::123456789012:user{path}{name}"),
            name,
            created,
            password_enabled: passwords.0,
            password_last_used: passwords.1,
            password_never_used: passwords.1.is_none(),
            password_last_changed: passwords.2,
            password_next_rotation: passwords.3,
            mfa_active,
            keys: [first, second],
            lacks_keys: false,
            lacks_time: [false; 2],
            certificates: [None, None],
            additional_credentials: false,
        },
    )
}

/// The user as a row of the report.
fn record(user: &User) -> Vec<String> {
    let absent = || "N/A".to_owned();
    let time = |time: Option<DateTime<Utc>>| time.map_or_else(absent, |time| time.to_rfc3339());
    let boolean = |value: Option<bool>| value.map_or_else(absent, |value| value.to_string());
    let mut row = vec![
        user.name.clone(),
        user.arn.clone(),
        time(user.created),
        boolean(user.password_enabled),
        time(user.password_last_used),
        time(user.password_last_changed),
        time(user.password_next_rotation),
        boolean(user.mfa_active),
    ];
    for key in &user.keys {
        let key = key.as_ref();
        row.push(boolean(Some(key.is_some_and(|key| key.active))));
        row.push(time(key.and_then(|key| key.last_rotated)));
        row.push(time(key.and_then(|key| key.last_used)));
        let text = |text: &Option<Arc<str>>| text.as_ref().map(|text| text.to_string());
        row.push(key.and_then(|key| text(&key.last_used_region)).unwrap_or_else(absent));
        row.push(key.and_then(|key| text(&key.last_used_service)).unwrap_or_else(absent));
    }
    row.extend(["false", "N/A", "false", "N/A"].map(str::to_owned));
    row
}

proptest! {
    #[test]
    fn what_a_csv_writer_writes_reads_back(mut users in proptest::collection::vec(user(), 1..20)) {
        users.sort_by(|a, b| a.name.cmp(&b.name));
        users.dedup_by(|a, b| a.name == b.name);
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(HEADER.split(','))?;
        for user in &users {
            csv.write_record(record(user))?;
        }
        let report = Report::parse(&csv.into_inner().expect("memory")).expect("a report");
        prop_assert_eq!(&report.rejected, &[]);
        prop_assert_eq!(report.users, users);
    }

    #[test]
    fn what_is_written_without_quotes_reads_back(user in user()) {
        let csv = format!("{HEADER}\n{}", record(&user).join(","));
        let report = Report::parse(csv.as_bytes()).expect("a report");
        prop_assert_eq!(report.users, [user]);
    }

    #[test]
    fn commas_in_the_last_column_read_back(
        user in user(),
        created in 0..4_000_000_000_i64,
        text in "[a-zA-Z0-9 .:;()]{1,20}(,[a-zA-Z0-9 .:;()\"-]{0,20}){1,4}",
    ) {
        // AWS always has a user's creation time.
        let created = DateTime::from_timestamp(created, 0);
        let user = User { created, additional_credentials: true, ..user };
        let csv = format!("{}\n{},{text}", header_23(), record(&user).join(","));
        let report = Report::parse(csv.as_bytes()).expect("a report");
        prop_assert_eq!(&report.rejected, &[]);
        prop_assert_eq!(report.users, [user]);
    }

    #[test]
    fn times_are_those_that_chrono_reads(
        time in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9])?(Z|z|\\+00:00|-07:30)"
    ) {
        let row = row("a", NO_KEYS).replace("2021-05-06T07:08:09Z", &time);
        let expected = DateTime::parse_from_rfc3339(&time).ok().map(|time| time.to_utc());
        prop_assert_eq!(parse(&[HEADER, &row]).users[0].created, expected);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let _ = Report::parse(&bytes);
        let _ = Report::parse(&[HEADER.as_bytes(), b"\n", &bytes].concat());
    }

    #[test]
    fn rows_of_rubbish_panic_nowhere_and_cost_no_row_before_them(
        rows in proptest::collection::vec("([a-zNT/:,\"<0-9-]{0,12}|arn:aws:iam::123456789012:user/x|true|N/A|,){0,30}", 0..8)
    ) {
        let csv = format!("{HEADER}\n{}\n{}", row("first", NO_KEYS), rows.join("\n"));
        let report = Report::parse(csv.as_bytes()).expect("a report: its first row is good");
        prop_assert_eq!(report.users[0].name.as_str(), "first");
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

#[test]
fn users_whose_rows_may_be_those_that_cannot_be_read_stay() {
    let report = |rows: &[&str]| {
        let mut csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n".to_owned();
        csv.extend(rows.iter().map(|row| format!("{row}\n")));
        Report::parse(csv.as_bytes()).expect("a report")
    };
    let row = |user: &str| {
        format!("{user},arn:aws:iam::123456789012:user/{user},true,2022-01-01T00:00:00Z,false,N/A")
    };
    let [a, b] = [row("a"), row("b")];
    let before = report(&[&a, &b]);
    let names = |rows: &[&str]| {
        let mut report = Arc::new(report(rows));
        report.keep_missing(&before);
        report.users.iter().map(|user| user.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[&a]), ["a"]);
    assert_eq!(names(&[&a, "b,arn"]), ["a", "b"]);
    assert_eq!(names(&[&a, &a]), ["a"], "a row that is there twice is read once");
    assert_eq!(names(&[&a, &b, "c,"]), ["a", "b"]);
}

/// A row of root with these fields of keys.
fn root_with(keys: &str) -> String {
    ROOT.replace(NO_KEYS, keys)
}

const OLD_KEY: &str = "true,2020-01-01T00:00:00Z,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A";

#[test]
fn root_does_not_leave_an_account_so_the_row_before_stays_if_there_is_no_other() {
    let user = row("a", NO_KEYS);
    let before = parse(&[HEADER, &root_with(OLD_KEY), &user, &row("b", NO_KEYS)]);
    let after = |root: &[&str]| {
        let mut report = Arc::new(parse(&[&[HEADER], root, &[&user]].concat()));
        report.keep_missing(&before);
        let root = report.users.iter().find(|user| user.is_root());
        (root.is_some_and(|root| root.keys[0].is_some()), report.keeps_root, report.users.len())
    };
    assert_eq!(after(&[]), (true, true, 2), "b is gone, root cannot be");
    assert_eq!(after(&[ROOT]), (false, false, 2));
    assert_eq!(after(&["<root_account>,arn"]), (true, true, 3), "the row may be b's");
}

#[test]
fn root_whose_row_is_gone_stays_report_after_report() {
    let mut before = Arc::new(parse(&[HEADER, &root_with(OLD_KEY), &row("a", NO_KEYS)]));
    for _ in 0..2 {
        let mut report = Arc::new(parse(&[HEADER, &row("a", NO_KEYS)]));
        report.keep_missing(&before);
        assert!(report.keeps_root);
        before = report;
    }
    let mut report = Arc::new(parse(&[HEADER, ROOT, &row("a", NO_KEYS)]));
    report.keep_missing(&before);
    assert!(!report.keeps_root);
}

#[test]
fn a_rejected_row_is_roots_if_its_line_has_the_name_of_root() {
    let is_root = |line: &str| parse(&[HEADER, &row("a", NO_KEYS), line]).rejected[0].is_root;
    for line in ["<root_account>,arn", "\"<root_account>\",arn", &ROOT.replace(":iam:", ":s3:")] {
        assert!(is_root(line), "{line}");
    }
    assert!(!is_root("b,arn"));
}

#[test]
fn of_two_rows_of_one_user_the_worse_key_of_each_slot_is_shown() {
    const NEW: &str = "2026-01-01T00:00:00Z";
    const OLD: &str = "2020-01-01T00:00:00Z";
    let (old, new) = (format!("true,{OLD},N/A,N/A,N/A"), format!("true,{NEW},{NEW},N/A,s3"));
    let inactive = format!("false,{OLD},N/A,N/A,N/A");
    let none = "false,N/A,N/A,N/A,N/A".to_owned();
    let timeless = "true,N/A,N/A,N/A,N/A".to_owned();
    for (one, other, worse) in [
        (&none, &old, (true, at(OLD))),
        (&inactive, &new, (true, at(NEW))),
        (&none, &inactive, (false, at(OLD))),
        (&old, &new, (true, at(OLD))),
        // AWS gives every key a time.
        (&timeless, &old, (true, at(OLD))),
        (&timeless, &new, (true, at(NEW))),
        // The time of an inactive key is not that of an active one, and could be a young one.
        (&timeless, &inactive, (true, None)),
        (&timeless, &none, (true, None)),
        (&timeless, &timeless, (true, None)),
    ] {
        for (first, second) in [(one, other), (other, one)] {
            let rows = [first, second].map(|key| row("a", &format!("{key},{new}")));
            let report = parse(&[HEADER, &rows[0], &rows[1]]);
            let keys = &report.users[0].keys;
            let shown = keys[0].as_ref().map(|key| (key.active, key.last_rotated));
            assert_eq!(shown, Some(worse), "{first}; {second}");
            assert_eq!(keys[1].as_ref().and_then(|key| key.last_rotated), at(NEW));
            assert_eq!((report.users.len(), report.missing), (1, 0));
            let duplicate = (3, "user", Problem::Duplicate);
            assert!(rejected(&report).contains(&duplicate), "{:?}", report.rejected);
            let is_timeless = [one, other].contains(&&timeless);
            assert_eq!(report.users[0].lacks_time, [is_timeless, false], "{first}; {second}");
        }
    }
}

#[test]
fn what_two_rows_of_one_user_say_differently_is_not_known() {
    let used = "true,2020-01-01T00:00:00Z,2026-01-01T00:00:00Z,eu-west-1,s3,false,N/A,N/A,N/A,N/A";
    let (one, other) = (row("a", OLD_KEY), row("a", used).replace("Z,false,N/A", "Z,true,N/A"));
    for rows in [[&one, &other], [&other, &one]] {
        let user = &parse(&[HEADER, rows[0], rows[1]]).users[0];
        let key = user.keys[0].as_ref().expect("a key");
        assert_eq!((key.never_used, key.last_used), (false, at("2026-01-01T00:00:00Z")));
        assert_eq!((user.password_enabled, user.mfa_active), (None, Some(false)));
        assert_eq!(user.created, at("2021-05-06T07:08:09Z"));
    }
}

#[test]
fn a_slot_of_which_the_report_says_nothing_is_not_empty() {
    let slot = |status: &str, time: &str| format!("{status},{time},N/A,N/A,N/A");
    let before = parse(&[HEADER, &root_with(OLD_KEY), &row("a", OLD_KEY)]);
    for status in ["", "N/A", "no_information", "not_supported"] {
        for time in ["", "N/A", "not_supported"] {
            let blank = format!("{},{}", slot(status, time), slot(status, time));
            let mut report = Arc::new(parse(&[HEADER, &root_with(&blank), &row("a", &blank)]));
            let problems: Vec<_> = rejected(&report);
            let expected = [2, 3].map(|line| (line, "access_key_1_active", Problem::Empty));
            assert_eq!((problems, report.missing), (expected.to_vec(), 0), "{blank}");
            assert_eq!(report.rejected.iter().filter(|row| row.is_root).count(), 1);
            // It does not make keys out of nothing.
            assert!(report.users.iter().all(|user| user.lacks_keys && user.keys == [None, None]));
            report.keep_missing(&before);
            for (user, before) in report.users.iter().zip(&before.users) {
                assert_eq!(user.keys, before.keys, "{blank}");
            }
        }
    }
    // The other key is shown.
    let old = OLD_KEY.replace("false,N/A,N/A,N/A,N/A", &slot("", ""));
    let report = parse(&[HEADER, &row("a", &old)]);
    assert!(report.users[0].keys[0].is_some() && report.users[0].lacks_keys);
    assert_eq!(rejected(&report), [(2, "access_key_2_active", Problem::Empty)]);
    // A spreadsheet may write "N/A" as nothing.
    assert!(!parse(&[HEADER, &row("a", &NO_KEYS.replace("N/A", ""))]).users[0].lacks_keys);
}

#[test]
fn an_active_key_without_a_time_keeps_that_of_the_report_before() {
    const OLD: &str = "2020-01-01T00:00:00Z";
    const NEW: &str = "2026-01-01T00:00:00Z";
    let none = "false,N/A,N/A,N/A,N/A";
    let slot = |status: &str, time: &str| format!("{status},{time},N/A,N/A,N/A");
    let of_both = |keys: &str| Arc::new(parse(&[HEADER, &root_with(keys), &row("a", keys)]));
    for place in [0, 1] {
        let keys = |key: &str| match place {
            0 => format!("{key},{none}"),
            _ => format!("{none},{key}"),
        };
        // The time in the reports after one with this key.
        let times = |before: &str, after: &str| {
            let mut before = of_both(&keys(before));
            [(), ()].map(|()| {
                let mut report = of_both(&keys(after));
                report.keep_missing(&before);
                before = report.clone();
                let times = report.users.iter().map(|user| {
                    assert_eq!(user.keys[1 - place], None);
                    user.keys[place].as_ref().map(|key| (key.active, key.last_rotated))
                });
                let times: Vec<_> = times.collect();
                assert_eq!(times[0], times[1], "root and a user");
                times[0]
            })
        };
        let old = slot("true", OLD);
        for (status, time) in [
            ("true", "N/A"),
            ("true", ""),
            ("true", "no_information"),
            ("true", "2020-13-01"),
            ("flase", "N/A"),
            ("flase", "2020-13-01"),
            ("N/A", "2020-13-01"),
        ] {
            let less = slot(status, time);
            assert_eq!(times(&old, &less), [Some((true, at(OLD))); 2], "{less}");
            let report = of_both(&keys(&less));
            assert_eq!(report.rejected.len(), 2, "{less}");
            for user in &report.users {
                assert_eq!((user.lacks_time[place], user.lacks_time[1 - place]), (true, false));
            }
        }
        let timeless = slot("true", "N/A");
        assert_eq!(times(none, &timeless), [Some((true, None)); 2], "a new key");
        let inactive = slot("false", OLD);
        assert_eq!(times(&inactive, &timeless), [Some((true, None)); 2], "it may be a new key");
        assert_eq!(times(&old, &slot("true", NEW)), [Some((true, at(NEW))); 2], "rotated");
        assert_eq!(times(&old, &inactive), [Some((false, at(OLD))); 2], "deactivated");
        assert_eq!(times(&old, none), [None; 2], "deleted");
        assert_eq!(of_both(&keys(&old)).users[1].lacks_time, [false; 2]);
    }
}

#[test]
fn a_row_with_the_arn_of_another_user_is_kept_and_so_is_that_user() {
    let key = "true,2020-01-01T00:00:00Z,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A";
    let right = row("0012", key);
    let before = parse(&[HEADER, &right]);
    // As a spreadsheet writes it.
    let mut report = Arc::new(parse(&[HEADER, &right.replacen("0012", "12", 1)]));
    assert_eq!(rejected(&report), [(2, "arn", Problem::OtherName)]);
    report.keep_missing(&before);
    assert_eq!(report.users.iter().map(|user| &*user.name).collect::<Vec<_>>(), ["12", "0012"]);
    // Also if its name is that of a user who has a row.
    let rows = [row("12", NO_KEYS), right.replacen("0012", "12", 1)];
    let mut report = Arc::new(parse(&[HEADER, &rows[0], &rows[1]]));
    assert_eq!(rejected(&report), [(3, "user", Problem::Duplicate)]);
    report.keep_missing(&before);
    assert_eq!(report.users.iter().map(|user| &*user.name).collect::<Vec<_>>(), ["12", "0012"]);
}

proptest! {
    #[test]
    fn no_damaged_byte_makes_a_key_seem_to_be_gone_or_ageless(place in any::<usize>(), byte in any::<u8>()) {
        let key = "true,2020-01-01T00:00:00Z,N/A,us-east-1,s3,true,2021-01-01T00:00:00Z,N/A,N/A,N/A";
        let root = row(ROOT_USER, key).replace("user/<root_account>", "root");
        let rows = [root, row("alpha", key), row("bravo", key), row("delta", key)];
        let mut csv = rows.iter().fold(HEADER.to_owned(), |csv, row| csv + "\n" + row).into_bytes();
        let before = Report::parse(&csv).expect("a report");
        prop_assert_eq!(&before.rejected, &[]);
        let place = HEADER.len() + place % (csv.len() - HEADER.len());
        csv[place] = byte;
        // A report that is refused changes nothing.
        let Ok(after) = Report::parse(&csv) else { return Ok(()) };
        let mut after = Arc::new(after);
        after.keep_missing(&before);
        for user in &before.users {
            let known = after.users.iter().find(|known| known.name == user.name);
            let active = |key: &Option<Key>| {
                key.as_ref().is_some_and(|key| key.active && key.last_rotated.is_some())
            };
            prop_assert!(
                known.is_some_and(|known| known.keys.iter().all(active)),
                "{}: {}", user.name, String::from_utf8_lossy(&csv)
            );
        }
    }
}

#[test]
fn what_never_goes_back_tells_which_report_is_older() {
    let at = |day: u32| format!("2026-01-{day:02}T00:00:00Z");
    let key = |used: &str| {
        row("a", &format!("true,2025-01-01T00:00:00Z,{used},N/A,N/A,false,N/A,N/A,N/A,N/A"))
    };
    let console = |day| {
        row("b", NO_KEYS).replace("false,N/A,N/A,N/A,", &format!("true,{0},{0},N/A,", at(day)))
    };
    let order = |a: &[&str], b: &[&str]| {
        let report = |rows: &[&str]| parse(&[&[HEADER], rows].concat());
        let (a, b) = (report(a), report(b));
        assert_eq!(a.order(&b), b.order(&a).map(Ordering::reverse));
        a.order(&b)
    };
    assert_eq!(order(&[&key(&at(1))], &[&key(&at(2))]), Some(Ordering::Less));
    assert_eq!(order(&[&key("N/A")], &[&key(&at(2))]), Some(Ordering::Less), "never used");
    assert_eq!(order(&[&key("long ago")], &[&key(&at(2))]), None, "not known");
    assert_eq!(order(&[&console(1)], &[&console(2)]), Some(Ordering::Less));
    assert_eq!(order(&[&key(&at(2))], &[&key(&at(2))]), None);
    // The newest user or key may have been deleted.
    assert_eq!(order(&[&key(&at(1))], &[&key(&at(1)), &console(9)]), None);
    assert_eq!(order(&[&key(&at(1)), &console(2)], &[&key(&at(2)), &console(1)]), None, "both");
    let rotated = key(&at(1)).replace("2025-01-01", "2025-12-01");
    assert_eq!(order(&[&rotated], &[&key(&at(2))]), None, "another key");
}

#[test]
fn a_line_that_is_too_long_costs_its_row_and_no_memory() {
    let long = ",".repeat(MAX_LINE + 1);
    let csv = format!("{HEADER}\n{}\n{long}", row("first", NO_KEYS));
    let report = Report::parse(csv.as_bytes()).expect("a report");
    assert_eq!(report.users.len(), 1);
    let problem = report.rejected.first().map(ToString::to_string);
    let expected = "line 3, column user: the line is longer than 65536 bytes";
    assert_eq!((problem.as_deref(), report.missing), (Some(expected), 1));
    assert_eq!(Report::parse(long.as_bytes()), Err(Error::MissingColumn("user")));
}

#[test]
fn a_report_of_rubbish_is_refused_before_it_takes_much_memory() {
    let csv = format!("{HEADER}\n{}\n{}", row("first", NO_KEYS), "x\n".repeat(MAX_REJECTED + 1));
    let user = Some("x".to_owned());
    let first =
        RejectedRow { line: 3, column: "user", problem: Problem::FieldCount, is_root: false, user };
    assert_eq!(Report::parse(csv.as_bytes()), Err(Error::MostlyUnreadable { first }));
}

#[test]
fn a_rejected_row_names_its_user_as_far_as_that_can_be_read() {
    let (lines, names): (Vec<String>, Vec<_>) = [
        (row("one", "maybe,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A"), Some("one")),
        (row("a,b", "maybe,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A"), Some("a,b")),
        ("cut,arn:aws:iam::1".to_owned(), Some("cut")),
        ("with,comma,arn:aws:iam::1".to_owned(), Some("with,comma")),
        ("\"quoted,too\",\"arn:aws\"".to_owned(), Some("quoted,too")),
        ("<root_account>,arn".to_owned(), Some("<root_account>")),
        ("lonely".to_owned(), Some("lonely")),
        (",arn:aws".to_owned(), None),
        ("x".repeat(65), None),
    ]
    .into_iter()
    .unzip();
    let csv = format!("{HEADER}\n{}\n{}", row("first", NO_KEYS), lines.join("\n"));
    let mut csv = csv.into_bytes();
    csv.extend(b"\n\xff,arn:aws");
    let report = Report::parse(&csv).expect("a report");
    let rejected = report.rejected.iter().map(|row| row.user.as_deref()).collect::<Vec<_>>();
    assert_eq!(rejected, [names, vec![None]].concat());
}
