//! Accounts that join, leave, or become another one.

use super::*;
use crate::config::Access;
use crate::report::Report;

fn all(accounts: &[(&str, &str)]) -> Discovered {
    let target = |(key, name): &(&str, &str)| {
        let (key, name) = ((*key).to_owned(), (*name).to_owned());
        Target { id: key.clone(), key, name, access: Access::default() }
    };
    let targets = accounts.iter().map(target).collect();
    Discovered { targets, is_all: true, ..Discovered::default() }
}

fn target(key: &str) -> Target {
    all(&[(key, "")]).targets.remove(0)
}

/// Targets of accounts whose ids are not known yet.
fn unknown(keys: &[&str], are_files: bool) -> Discovered {
    let mut discovered = all(&keys.iter().map(|key| (*key, "")).collect::<Vec<_>>());
    for target in &mut discovered.targets {
        target.id = UNKNOWN_ACCOUNT.to_owned();
    }
    Discovered { are_files, ..discovered }
}

fn tried(key: &str) -> Account {
    let mut account = Account::pending(key, "");
    account.refresh.last = Some(Attempt { failure: None, duration: Duration::ZERO });
    account
}

fn failure() -> Failure {
    Failure::new(Reason::AccessDenied, "no permission")
}

fn names(store: &Store) -> Vec<(String, String)> {
    let accounts = store.snapshot().accounts;
    accounts.iter().map(|account| (account.id.clone(), account.name.clone())).collect()
}

#[test]
fn it_is_ready_when_every_known_account_was_tried_and_stays_so() {
    let store = Store::default();
    assert!(!store.snapshot().ready);
    store.set_targets(all(&[("a", "")]));
    store.publish(&target("a"), tried("a"));
    assert!(!store.snapshot().ready, "nobody has looked for others");
    store.set_targets(all(&[("a", ""), ("b", "")]));
    store.set_discovery(None, Duration::ZERO);
    assert!(!store.snapshot().ready);
    store.publish(&target("b"), tried("b"));
    assert!(store.snapshot().ready);
    store.set_targets(all(&[("a", ""), ("c", "")]));
    assert!(store.snapshot().ready);
}

#[test]
fn a_look_for_accounts_that_fails_was_a_try() {
    let store = Store::default();
    store.set_discovery(Some(&failure()), Duration::ZERO);
    // It must be ready: a target that is not ready may not be scraped, and then nobody sees the
    // metric with the reason.
    assert!(store.snapshot().ready);
}

#[test]
fn the_reason_why_accounts_could_not_be_listed_stays_until_they_can() {
    let store = Store::default();
    let mut changes = store.changes();
    let mut set = |failure: Option<&Failure>| {
        changes.mark_unchanged();
        store.set_discovery(failure, Duration::ZERO);
        (store.snapshot().discovery_fault, changes.has_changed().expect("a store"))
    };
    assert_eq!(set(Some(&failure())), (Some("no permission".into()), true));
    assert_eq!(set(Some(&failure())), (Some("no permission".into()), false));
    let other = Failure::new(Reason::Network, "no route");
    assert_eq!(set(Some(&other)), (Some("no route".into()), true));
    assert_eq!(set(None), (None, true));
}

#[test]
fn until_all_are_known_the_accounts_from_before_stay() {
    let store = Store::default();
    store.set_targets(all(&[("a", ""), ("b", "")]));
    store.set_targets(Discovered { is_all: false, ..all(&[("b", "new"), ("c", "")]) });
    let expected = [("a", ""), ("b", "new"), ("c", "")];
    assert_eq!(names(&store), expected.map(|(id, name)| (id.to_owned(), name.to_owned())));
    let excluded = ["a".to_owned()].into();
    store.set_targets(Discovered { is_all: false, excluded, ..Discovered::default() });
    let expected = [("b", "new"), ("c", "")];
    assert_eq!(names(&store), expected.map(|(id, name)| (id.to_owned(), name.to_owned())));
}

#[test]
fn what_is_gone_is_not_published_again() {
    let store = Store::default();
    store.set_targets(all(&[("a", ""), ("b", "")]));
    store.set_targets(all(&[("b", "")]));
    store.publish(&target("a"), tried("a"));
    assert_eq!(names(&store), [("b".to_owned(), String::new())]);
}

#[test]
fn what_came_in_a_way_that_was_given_up_is_not_published() {
    let store = Store::default();
    let old = target("a");
    let access = Access { profile: Some("other".to_owned()), role: None };
    let new = Target { access, ..old.clone() };
    store.set_targets(Discovered {
        targets: vec![new.clone()],
        is_all: true,
        ..Discovered::default()
    });
    store.publish(&old, tried("a"));
    assert!(store.snapshot().accounts[0].refresh.last.is_none());
    store.publish(&new, tried("a"));
    assert!(store.snapshot().accounts[0].refresh.last.is_some());
}

#[test]
fn an_account_that_was_replaced_fails_for_the_reason_of_its_source() {
    for (are_files, reason, word) in
        [(true, Reason::UnreadableFile, "report file"), (false, Reason::Credentials, "credentials")]
    {
        let store = Store::default();
        store.set_targets(unknown(&["a"], are_files));
        let mut before = tried("1");
        before.refresh.last_success = Some(chrono::DateTime::UNIX_EPOCH);
        store.publish(&target("a"), before.clone());
        let mut now = tried("2");
        now.refresh.last_success = before.refresh.last_success;
        store.publish(&target("a"), now);
        let accounts = store.snapshot().accounts;
        let before = accounts.iter().find(|account| account.id == "1").expect("it stays");
        assert_eq!(before.refresh.last.and_then(|last| last.failure), Some(reason));
        assert_eq!(before.refresh.failures.get(reason), 1);
        let message = before.refresh.fault.as_ref().expect("a fault").message.clone();
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn of_files_the_older_one_does_not_replace_what_is_known_of_one_that_became_another_accounts() {
    let read = |id: &str, created: &str| {
        let csv = format!(
            "user,arn,user_creation_time,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
             a,arn:aws:iam::{id}:user/a,{created}T00:00:00Z,false,N/A,false,N/A\n"
        );
        let report = Report::parse(csv.as_bytes()).expect("a report");
        Account { report: Some(report.into()), ..tried(id) }
    };
    let store = Store::default();
    store.set_targets(unknown(&["a", "b"], true));
    let (new, old) = (read("111111111111", "2026-01-02"), read("111111111111", "2026-01-01"));
    store.publish(&target("a"), new.clone());
    store.publish(&target("b"), old.clone());
    store.publish(&target("a"), read("222222222222", "2026-01-01"));
    store.publish(&target("b"), old);
    let shown = |store: &Store| {
        let state = store.snapshot();
        let account = state.accounts[0].clone();
        (account.report.clone(), account.refresh.last.and_then(|last| last.failure))
    };
    assert_eq!(shown(&store), (new.report, Some(Reason::UnreadableFile)));
    let newer = read("111111111111", "2026-01-03");
    store.publish(&target("b"), newer.clone());
    assert_eq!(shown(&store), (newer.report, None));
    assert_eq!(store.snapshot().duplicates, 0);
}

#[test]
fn a_new_name_is_there_at_once_and_stays_when_a_refresh_ends_that_knew_the_old_one() {
    let store = Store::default();
    store.set_targets(all(&[("a", "old")]));
    store.publish(&target("a"), tried("a"));
    store.set_targets(all(&[("a", "new")]));
    assert_eq!(names(&store), [("a".to_owned(), "new".to_owned())]);
    assert!(store.snapshot().accounts[0].refresh.last.is_some(), "what was known stays");
    store.publish(&target("a"), Account { name: "old".to_owned(), ..tried("a") });
    assert_eq!(names(&store), [("a".to_owned(), "new".to_owned())]);
}

#[test]
fn only_changes_are_told() {
    let store = Store::default();
    store.set_targets(all(&[("a", "")]));
    let mut changes = store.changes();
    store.set_targets(all(&[("a", "")]));
    assert!(!changes.has_changed().expect("the store stays"));
    store.publish(&target("a"), tried("a"));
    assert!(changes.has_changed().expect("the store stays"));
    changes.mark_unchanged();
    store.set_discovery(Some(&failure()), Duration::ZERO);
    store.set_discovery(Some(&failure()), Duration::ZERO);
    assert!(changes.has_changed().expect("the store stays"));
}
