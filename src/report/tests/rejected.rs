//! Rows and fields that cannot be read.

use super::*;

/// Root's row in a report with 23 columns.
const ROOT_23: &str = concat!(
    "<root_account>,arn:aws:iam::123456789012:root,2020-01-01T00:00:00Z,not_supported,",
    "N/A,not_supported,not_supported,true,false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,",
    "false,N/A,N/A"
);

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
fn a_field_too_many_anywhere_else_costs_the_row() {
    let good = row("a", NO_KEYS);
    let inserted = good.replace(",2021-05", ",surplus,2021-05");
    let report = parse(&[&header_23(), ROOT_23, &format!("{inserted},N/A")]);
    assert_eq!(rejected(&report), [(3, "user", Problem::FieldCount)]);
    let report = parse(&[HEADER, ROOT, &format!("{good},surplus")]);
    assert_eq!(rejected(&report), [(3, "user", Problem::FieldCount)]);
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
