use std::sync::Arc;

use chrono::DateTime;

use super::*;
use crate::report::Report;

#[test]
fn a_name_that_leaves_the_configuration_leaves_the_alias_to_be_read() {
    let mut account = Account::pending("123456789012", "production");
    account.refresh.name = Tried::Ok;
    account.rename("production");
    assert_eq!(account.refresh.name, Tried::Ok);
    account.rename("");
    assert_eq!((account.name.as_str(), account.refresh.name), ("", Tried::NotYet));
    account.alias = Some("prod".to_owned());
    account.refresh.name = Tried::Ok;
    for name in ["", "production", ""] {
        account.rename(name);
    }
    assert_eq!((account.name.as_str(), account.refresh.name), ("prod", Tried::Ok));
}

const REPORT: &str = "user,arn,user_creation_time,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
    a,arn:aws:iam::123456789012:user/a,CREATED,false,N/A,false,N/A\n";

fn report(created: &str) -> Option<Arc<Report>> {
    let csv = REPORT.replace("CREATED", created);
    Some(Arc::new(Report::parse(csv.as_bytes()).expect("a report")))
}

#[test]
fn a_file_that_was_never_read_is_no_further_report_of_the_account_in_its_name() {
    let read = Account {
        report: report("2026-01-01T00:00:00Z"),
        ..Account::pending("123456789012", "prod")
    };
    let unread = Account::pending(UNKNOWN_ACCOUNT, "123456789012");
    for accounts in [[&read, &unread], [&unread, &read]] {
        let state = State::new(accounts.map(|it| Arc::new(it.clone())), Tried::Ok, true);
        assert_eq!((&*state.accounts[0], &*state.unidentified[0]), (&read, &unread));
        assert_eq!(state.duplicates, 0);
    }
}

#[test]
fn an_account_is_called_by_its_name_until_its_id_is_known() {
    let mut account = Account::pending(UNKNOWN_ACCOUNT, "prod");
    assert_eq!(account.label(), "prod");
    account.identify("123456789012", "prod");
    assert_eq!((account.label(), account.name.as_str()), ("123456789012", "prod"));
    assert_eq!(Account::pending(UNKNOWN_ACCOUNT, "").label(), UNKNOWN_ACCOUNT);
}

#[test]
fn of_two_reports_of_one_account_the_newer_is_published() {
    let at = |text: &str, name| {
        let generated = Some(text.parse().expect("a time"));
        let report = report("2026-01-01T00:00:00Z");
        Arc::new(Account { report, generated, ..Account::pending("123456789012", name) })
    };
    let state = State::new(
        [
            at("2026-01-01T00:00:00Z", "old"),
            at("2026-01-03T00:00:00Z", "new"),
            at("2026-01-02T00:00:00Z", "middle"),
        ],
        Tried::Ok,
        true,
    );
    assert_eq!(state.accounts.len(), 1);
    assert_eq!(state.accounts[0].name, "new");
    assert_eq!(state.duplicates, 2);
}

#[test]
fn the_newest_report_is_the_one_that_has_the_newest_time_in_it() {
    let generated = Some(DateTime::UNIX_EPOCH);
    let account = |name: &str, created: Option<&str>| {
        let report = created.and_then(report);
        Arc::new(Account { report, generated, ..Account::pending("123456789012", name) })
    };
    let later = |account: &Arc<Account>| {
        let generated = generated.map(|at| at + chrono::TimeDelta::nanoseconds(1));
        Arc::new(Account { generated, ..Account::clone(account) })
    };
    let published = |a: &Arc<Account>, b: &Arc<Account>| {
        let name = |accounts: [&Arc<Account>; 2]| {
            let state = State::new(accounts.map(Arc::clone), Tried::Ok, true);
            state.accounts[0].name.clone()
        };
        assert_eq!(name([a, b]), name([b, a]), "the order decides nothing");
        name([a, b])
    };
    let old = account("z-old", Some("2026-01-01T00:00:00Z"));
    let new = account("new", Some("2026-01-02T00:00:00Z"));
    assert_eq!(published(&later(&old), &new), "new");
    let twin = account("a-twin", Some("2026-01-02T00:00:00Z"));
    assert_eq!(published(&new, &twin), "new");
    assert_eq!(published(&new, &later(&twin)), "a-twin");
    assert_eq!(published(&later(&account("none", None)), &old), "z-old");
}

#[test]
fn a_user_who_may_be_another_one_has_no_tags_of_the_one_before() {
    const FIRST: &str = "2026-01-01T00:00:00Z";
    const SECOND: &str = "2026-02-01T00:00:00Z";
    let without =
        REPORT.replace("a,arn:aws:iam::123456789012:user/a", "b,arn:aws:iam::123456789012:user/b");
    let without = without.replace("CREATED", FIRST);
    let without = Report::parse(without.as_bytes()).expect("a report");
    let of = |created| report(created).expect("a report");
    let known = Tags {
        by_user: [("a".to_owned(), vec![("team".into(), "x".into())])].into(),
        ..Tags::default()
    };
    for (reports, are_known) in [
        (vec![of(FIRST), of(FIRST), of(FIRST)], true),
        (vec![of("N/A"), of("N/A")], true),
        (vec![of(FIRST), of(SECOND)], false),
        (vec![of(FIRST), of("N/A"), of(SECOND)], false),
        (vec![of(FIRST), Arc::new(without), of(SECOND)], false),
    ] {
        let mut tags = known.clone();
        reports.windows(2).for_each(|pair| tags.keep(&pair[1].same_users(&pair[0])));
        assert_eq!(tags.by_user.contains_key("a"), are_known, "{reports:?}");
    }
}
