//! The calendar.

use super::*;

#[test]
fn a_calendar_has_due_dates_and_what_is_not_known() {
    let account = account_of("backup", "production", &[]);
    let state =
        State::new([account.into(), Account::pending("210987654321", "").into()], Tried::Ok, true);
    let calendar =
        calendar::render(&settings(), &snapshot(state, Config::default()), &Query::default());
    for line in [
        "DTSTART;VALUE=DATE:20261101",
        "SUMMARY:Overdue since 2020-03-31: rotate key 1 of backup in production",
        "UID:123456789012-backup-1-1577836800@iam-key-exporter",
        "SUMMARY:Keys of account 210987654321 are not known",
    ] {
        assert!(calendar.contains(&format!("\r\n{line}\r\n")), "{line} in {calendar}");
    }
    assert_eq!(calendar.matches("BEGIN:VEVENT").count(), 2);
    for (discovery, fault, why) in [
        (
            Tried::Failed,
            Some("no permission"),
            "could not be listed: there may be others: no permission",
        ),
        (Tried::Failed, None, "could not be listed: there may be others"),
        (Tried::NotYet, None, "were not listed yet: there may be others"),
    ] {
        let discovery_fault = fault.map(Into::into);
        let state = || State {
            discovery_fault: discovery_fault.clone(),
            ..State::new([], discovery, true)
        };
        let calendar =
            calendar::render(&settings(), &snapshot(state(), Config::default()), &Query::default());
        assert!(calendar.contains("SUMMARY:Not all accounts are known"), "{calendar}");
        let file =
            csv::render(&settings(), &snapshot(state(), Config::default()), &Query::default());
        let file = String::from_utf8(file).expect("UTF-8");
        assert!(file.contains(&format!(",not_read,,,,,,the accounts {why},")), "{file}");
    }
}

/// The titles of the events about what the calendar lacks.
fn lacking(state: State, asked: &str) -> Vec<String> {
    let calendar =
        calendar::render(&settings(), &snapshot(state, Config::default()), &query(asked));
    let calendar = calendar.replace("\r\n ", "");
    let titles = calendar.lines().filter_map(|line| line.strip_prefix("SUMMARY:"));
    titles.filter(|title| title.contains("ot ")).map(str::to_owned).collect()
}

#[test]
fn a_calendar_says_of_which_accounts_not_all_is_known() {
    let mut failing = account_of("backup", "", &[]);
    let failure = Failure::new(Reason::Network, "no route");
    failing.record(Some(&failure), Duration::ZERO, now());
    let failing = Arc::new(failing);
    let state = || State::new([failing.clone()], Tried::Ok, true);
    assert_eq!(lacking(state(), ""), ["Not all keys of account 123456789012 are known"]);
    assert_eq!(lacking(state(), "user=x"), ["Not all keys of account 123456789012 are known"]);
    assert_eq!(lacking(state(), "q=backup"), ["Not all keys of account 123456789012 are known"]);
    let unknown = "Keys of account 210987654321 are not known";
    assert_eq!(lacking(state(), "account=210987654321"), [unknown]);
    let fine = State::new([account_of("backup", "", &[]).into()], Tried::Ok, true);
    assert_eq!(lacking(fine, ""), [""; 0]);
}

#[test]
fn a_calendar_has_no_control_characters_of_its_query() {
    let state = State::new([account_of("backup", "", &[]).into()], Tried::Ok, true);
    let asked = query("account=1%0DATTACH:x%00%1B");
    let calendar = calendar::render(&settings(), &snapshot(state, Config::default()), &asked);
    let calendar = calendar.replace("\r\n ", "").replace("\r\n", "|");
    assert!(
        calendar.contains("no account 1") && !calendar.contains(char::is_control),
        "{calendar:?}"
    );
}

/// The calendar of an account with this number of users, each with a key that was made on this day.
fn of_users(count: usize, created: &str) -> String {
    let mut csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
                   <root_account>,arn:aws:iam::123456789012:root,false,N/A,false,N/A\n"
        .to_owned();
    for user in 0..count {
        csv += &format!(
            "u{user},arn:aws:iam::123456789012:user/u{user},true,{created}T00:00:00Z,false,N/A\n"
        );
    }
    let report = Some(Report::parse(csv.as_bytes()).expect("a report").into());
    let account = Account { report, generated: Some(now()), ..named("123456789012", "") };
    let state = State::new([account.into()], Tried::Ok, true);
    calendar::render(&settings(), &snapshot(state, Config::default()), &Query::default())
        .replace("\r\n ", "")
}

#[test]
fn a_calendar_of_too_many_keys_says_so() {
    const MORE: &str = "SUMMARY:Not all keys are in this calendar";
    assert!(!of_users(5_000, "2026-10-01").contains(MORE));
    let calendar = of_users(5_002, "2026-10-01");
    assert!(calendar.contains(MORE) && calendar.contains("The status page has 2 more."));
    assert_eq!(calendar.matches("BEGIN:VEVENT").count(), 5_001);
}

#[test]
fn today_has_the_keys_that_are_overdue_but_never_more_than_people_can_read() {
    let calendar = of_users(50, "2026-06-01");
    assert_eq!(calendar.matches("SUMMARY:Overdue since 2026-08-30: rotate key 1 of u").count(), 50);
    assert_eq!(calendar.matches("DTSTART;VALUE=DATE:20261101\r\n").count(), 50);
    let calendar = of_users(52, "2026-06-01");
    assert_eq!(calendar.matches("DTSTART;VALUE=DATE:20261101\r\n").count(), 51);
    for line in ["SUMMARY:2 more keys overdue", "UID:overdue@iam-key-exporter"] {
        assert!(calendar.contains(&format!("\r\n{line}\r\n")), "{line} in {calendar}");
    }
    // It is noon, and these are due at midnight: one is overdue, and one is due today or later.
    let calendar = of_users(1, "2026-08-03");
    assert!(calendar.contains("SUMMARY:Overdue since 2026-11-01: rotate key 1"), "{calendar}");
    let calendar = of_users(1, "2026-08-04");
    assert!(calendar.contains("SUMMARY:Rotate by today: key 1 of u0"), "{calendar}");
    assert!(calendar.contains("DTSTART;VALUE=DATE:20261102"), "{calendar}");
}

#[test]
fn an_exemption_to_the_end_of_time_has_its_last_day_and_no_date_in_the_calendar() {
    for (until, last_day) in
        [("9999-12-31", "9999-12-31"), ("9999-12-31T23:00:00-12:00", "10000-01-01")]
    {
        let text = format!(
            "rotation: {{ rules: [{{ match: {{ user: '*' }}, exempt: {{ until: {until}, reason: x }} }}] }}"
        );
        let config = Config::parse(&text, "config.yaml".as_ref()).expect("a configuration");
        let state = || State::new([account_of("backup", "", &[]).into()], Tried::Ok, true);
        let page = page_of_state(state(), config.clone(), "show=exempt");
        assert!(page.contains(&format!("{last_day}</time><small>in ")), "{page}");
        let calendar = calendar::render(&settings(), &snapshot(state(), config), &Query::default());
        assert_eq!(calendar.matches("BEGIN:VEVENT").count(), 0, "{calendar}");
    }
}

#[test]
fn the_calendar_has_the_last_day_of_an_exemption_and_says_what_it_is() {
    let text = "rotation: { rules: [{ match: { user: '*' }, exempt: { until: 2027-03-01, reason: vendor } }] }";
    let config = Config::parse(text, "config.yaml".as_ref()).expect("a configuration");
    let of = |row| {
        let state = State::new([account("123456789012", row).into()], Tried::Ok, true);
        let snapshot = snapshot(state, config.clone());
        calendar::render(&settings(), &snapshot, &Query::default()).replace("\r\n ", "")
    };
    for row in ["true,2020-01-01T00:00:00Z", "true,not a time"] {
        let calendar = of(row);
        for line in [
            "DTSTART;VALUE=DATE:20270301",
            "SUMMARY:Last day of the exemption: key 1 of a in 123456789012",
            "DESCRIPTION:Account 123456789012\\, id not known. Limit: exempt\\, vendor (rule 1 of the configuration)",
            "TRANSP:TRANSPARENT",
        ] {
            assert!(calendar.contains(&format!("\r\n{line}\r\n")), "{line} in {calendar}");
        }
    }
    assert!(!of("false,2020-01-01T00:00:00Z").contains("VEVENT"), "it is inactive");
}

#[test]
fn many_accounts_that_are_not_known_share_an_event() {
    let of = |count: usize| {
        let accounts = (0..count).map(|it| Account::pending(&format!("{it:012}"), "").into());
        let state = State::new(accounts, Tried::Ok, true);
        calendar::render(&settings(), &snapshot(state, Config::default()), &Query::default())
    };
    assert_eq!(of(5).matches("SUMMARY:Keys of account ").count(), 5);
    let calendar = of(6);
    assert_eq!(calendar.matches("BEGIN:VEVENT").count(), 1, "{calendar}");
    for line in ["SUMMARY:Not all keys of 6 accounts are known", "UID:incomplete@iam-key-exporter"]
    {
        assert!(calendar.contains(&format!("\r\n{line}\r\n")), "{line} in {calendar}");
    }
}

#[test]
fn a_calendar_without_events_has_a_component_all_the_same() {
    let calendar = of_users(0, "2026-06-01");
    assert!(!calendar.contains("VEVENT"), "{calendar}");
    let end = "END:STANDARD\r\nEND:VTIMEZONE\r\nEND:VCALENDAR\r\n";
    assert!(calendar.contains("\r\nBEGIN:VTIMEZONE\r\n") && calendar.ends_with(end), "{calendar}");
    assert!(!of_users(1, "2026-06-01").contains("VTIMEZONE"));
}
