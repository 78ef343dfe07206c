//! Random reports, and random bytes.

use proptest::prelude::*;

use super::*;

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
            use_of: None,
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
            lacks_key: [false; 2],
            has_use_without_key: false,
            lacks_time: [false; 2],
            certificates: [None, None],
            additional_credentials: None,
            is_kept: false,
            has_two_rows: false,
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
        let user = User { created, additional_credentials: Some(true), ..user };
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
