//! The file for spreadsheets.

use super::*;

fn csv_of(accounts: impl IntoIterator<Item = Account>, asked: &str) -> String {
    let state = State::new(accounts.into_iter().map(Into::into), Tried::Ok, true);
    let file = csv::render(&settings(), &snapshot(state, Config::default()), &query(asked));
    String::from_utf8(file).expect("UTF-8")
}

#[test]
fn cells_that_a_spreadsheet_would_calculate_begin_with_an_apostrophe() {
    let lines = |user: &str| csv_of([account_of(user, "@a,\"b\"", &[("=1", "2")])], "");
    let text = lines("=HYPERLINK(1)");
    assert_eq!(text.lines().count(), 2);
    assert!(text.starts_with("account_id,account_name,user,key,access_key_id,status,"), "{text}");
    assert!(text.contains("\n123456789012,\"'@a,\"\"b\"\"\",'=HYPERLINK(1),1,"), "{text}");
    assert!(
        text.contains(",'=1=2,default,,,90d,,pending,2026-11-01T11:00:00Z,2026-11-01T12:00:00Z,"),
        "{text}"
    );
    for user in ["=x", "+x", "-x", "@x"] {
        assert!(lines(user).contains(&format!("'{user}")), "{user:?}");
    }
    assert!(lines("a=b").contains(",a=b,"));
}

#[test]
fn the_file_says_whose_keys_are_not_known() {
    let accounts = || [account_of("backup", "", &[]), Account::pending("210987654321", "=later")];
    let unread =
        "\n210987654321,'=later,,,,not_read,,,,,,not tried yet,,,,,pending,,2026-11-01T12:00:00Z,";
    for (asked, keys, is_told) in [
        ("", 1, true),
        ("show=every", 1, true),
        ("show=exempt", 0, true),
        ("account=210987654321", 0, true),
        ("account=123456789012", 1, false),
        ("q=backup", 1, true),
        ("q=later", 0, true),
    ] {
        let text = csv_of(accounts(), asked);
        assert_eq!(text.matches(",backup,").count(), keys, "{asked}: {text}");
        assert_eq!(text.contains(unread), is_told, "{asked}: {text}");
    }
    let text = csv_of(accounts(), "account=%3D000000000000");
    let unknown = "\n'=000000000000,,,,,not_read,,,,,,\"The exporter has no account =000000000000, so it knows nothing about its keys.\",,,,,,,2026-11-01T12:00:00Z,";
    assert!(text.contains(unknown) && text.lines().count() == 2, "{text}");
    let name = |asked| csv::file_name(&query(asked), now());
    assert_eq!(name(""), "iam-access-keys-unrotated-20261101T120000Z.csv");
    assert_eq!(
        name("kind=access_key"),
        "iam-access-keys-unrotated-access_key-20261101T120000Z.csv"
    );
    assert_eq!(
        name("account=123456789012&tag=team:%C3%BC/../x&show=every"),
        "iam-access-keys-every-123456789012-team-x-20261101T120000Z.csv"
    );
}

#[test]
fn the_file_says_of_which_accounts_not_all_is_known() {
    let failing = || {
        let mut account = account_of("backup", "", &[]);
        let failure = Failure::new(Reason::Network, "no route");
        account.record(Some(&failure), Duration::ZERO, now());
        account
    };
    let doubt = "\n123456789012,,,,,not_all_known,,,,,,no route,,,,,failing,2026-11-01T11:00:00Z,2026-11-01T12:00:00Z,";
    for (asked, is_told) in [
        ("", false),
        ("show=due_soon", true),
        ("show=due_soon&account=123456789012", true),
        ("show=due_soon&account=210987654321", false),
        ("show=due_soon&q=backup", true),
    ] {
        let text = csv_of([failing()], asked);
        assert_eq!(text.contains(doubt), is_told, "{asked}: {text}");
    }
    assert!(!csv_of([account_of("backup", "", &[])], "show=due_soon").contains("not_all_known"));
}

#[test]
fn a_report_that_is_older_than_a_key_may_become_is_an_old_one() {
    let config = Config::parse("rotation: { max_age: 1h }", "config.yaml".as_ref());
    let account = Account {
        generated: Some(now() - TimeDelta::hours(2)),
        ..account("123456789012", "false,2026-10-01T00:00:00Z")
    };
    let state = State::new([account.into()], Tried::Ok, true);
    let file =
        csv::render(&settings(), &snapshot(state, config.expect("a configuration")), &query(""));
    let file = String::from_utf8(file).expect("UTF-8");
    assert!(file.contains(",not_all_known,,,,,,old report,"), "{file}");
}

#[test]
fn every_row_of_the_file_and_the_calendar_say_which_version_made_them() {
    let accounts = || [account_of("backup", "", &[]), Account::pending("210987654321", "later")];
    let text = csv_of(accounts(), "");
    let mut lines = text.lines();
    assert!(lines.next().is_some_and(|head| head.ends_with(",as_of,exporter_version")), "{text}");
    let end = format!(",2026-11-01T12:00:00Z,{VERSION}");
    assert_eq!(lines.filter(|line| line.ends_with(&end)).count(), 2, "{text}");
    let state = State::new(accounts().map(Into::into), Tried::Ok, true);
    let calendar = calendar::render(&settings(), &snapshot(state, Config::default()), &query(""));
    let program = format!("\r\nPRODID:-//iam-key-exporter//{VERSION}//EN\r\n");
    assert!(calendar.contains(&program), "{calendar}");
    assert_eq!(calendar.matches("PRODID:").count(), 1, "{calendar}");
}
