//! The account of the credentials, changes of it, and panics: a failure must never look like a fix.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use iam_key_exporter::check::{self, UnrotatedCount};
use iam_key_exporter::config::Config;
use iam_key_exporter::failure::Reason;
use iam_key_exporter::refresh::{self, Schedule};
use iam_key_exporter::state::{Account, State, Tried, UNKNOWN_ACCOUNT};
use iam_key_exporter::store::Store;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::support::answers::{accounts, credentials, error, identity, keys, report_at};
use crate::support::fake_aws::{ACCOUNT, FakeAws, Scenario, account};
use crate::support::fleet::Fleet;
use crate::support::protocol::{Answer, Request};
use crate::support::refresh::{Subject, parse, published, run};
use crate::support::report::{OLD, of_one, report, row, unused};
use crate::support::time::{beginning, clock};

const OTHER: &str = "210987654321";

/// The credentials are those of this account, whose user has an old key: `ci` in the one and `ops` in
/// the other. The report was generated then.
fn belonging_to(id: &'static str, generated: DateTime<Utc>) -> impl Scenario {
    move |request: &Request| {
        let user = if id == ACCOUNT { "ci" } else { "ops" };
        let answer = match request.call().as_str() {
            "GetCallerIdentity" => identity(id),
            "GetCredentialReport" => report_at(&of_one(user).replace(ACCOUNT, id), generated),
            call if call == format!("ListAccessKeys {user}") => keys(&[("AKIAOLD", "Active", OLD)]),
            call if call.starts_with("ListAccessKeys") => error(404, "NoSuchEntity"),
            _ => error(403, "AccessDenied"),
        };
        (Duration::ZERO, answer)
    }
}

fn users(account: &Account) -> Vec<&str> {
    account.users().map(|(subject, _)| subject.user.name.as_str()).collect()
}

#[tokio::test]
async fn another_accounts_credentials_fail_the_refresh_and_what_is_known_stays() {
    let mut subject = Subject::new(Config::default(), |_| error(403, "AccessDenied")).await;
    ACCOUNT.clone_into(&mut subject.target.id);
    subject.account = Account::pending(ACCOUNT, "");
    subject.aws.follow(belonging_to(ACCOUNT, Utc::now()));
    let timeout = Duration::from_secs(20);
    assert_eq!(subject.refresh_within(timeout).await.0.failure, None);

    subject.aws.follow(belonging_to(OTHER, Utc::now()));
    let (outcome, calls) = subject.refresh_within(timeout).await;
    let failure = outcome.failure.expect("a failure");
    assert_eq!(failure.reason, Reason::Credentials);
    assert_eq!(
        failure.message,
        "the credentials belong to account 210987654321, not to 123456789012"
    );
    assert_eq!((users(&subject.account), calls), (vec!["ci"], vec![]), "nothing else is asked");

    subject.aws.follow(belonging_to(ACCOUNT, Utc::now()));
    assert_eq!(subject.refresh_within(timeout).await.0.failure, None);
    assert_eq!(users(&subject.account), ["ci"]);
}

#[tokio::test]
async fn what_is_no_account_id_is_no_answer() {
    for id in ["", "12345678901", "12345678901x", "1234567890123", "１２３４"] {
        let mut subject = Subject::new(Config::default(), |_| error(403, "AccessDenied")).await;
        subject.aws.follow(move |_: &Request| (Duration::ZERO, identity(id)));
        let (outcome, _) = subject.refresh_within(Duration::from_secs(20)).await;
        let failure = outcome.failure.expect("a failure");
        assert_eq!(failure.message, "GetCallerIdentity named no account", "{id}");
        assert_eq!(subject.account.id, UNKNOWN_ACCOUNT);
    }
}

#[tokio::test(start_paused = true)]
async fn default_credentials_of_another_account_begin_a_new_one_and_the_old_one_fails_until_it_leaves()
 {
    let aws = FakeAws::new(belonging_to(ACCOUNT, beginning()));
    let store = run(aws.source(), Config::default());
    published(&store, |state| state.ready).await;
    sleep(Duration::from_secs(600)).await;
    aws.follow(belonging_to(OTHER, beginning()));
    let changed = Instant::now();
    let state = published(&store, |state| state.accounts.len() == 2).await;
    assert!(changed.elapsed() <= Duration::from_secs(5 * 60), "{:?}", changed.elapsed());
    let failures = |state: &State| -> Vec<(String, Option<Reason>)> {
        let of = |account: &Arc<Account>| account.refresh.last.and_then(|last| last.failure);
        state.accounts.iter().map(|account| (account.id.clone(), of(account))).collect()
    };
    let [old, new] = [ACCOUNT, OTHER].map(ToOwned::to_owned);
    assert_eq!(failures(&state), [(old, Some(Reason::Credentials)), (new.clone(), None)]);
    assert_eq!(users(&state.accounts[0]), ["ci"], "what was known stays");
    assert_eq!(users(&state.accounts[1]), ["ops"], "nothing of the other account hides anything");
    assert_eq!(state.accounts[1].refresh.confirmation, Tried::Ok);
    // Until the next look for accounts.
    let state = published(&store, |state| state.accounts.len() == 1).await;
    assert_eq!(failures(&state), [(new, None)]);
    assert!(changed.elapsed() <= Duration::from_secs(3600), "{:?}", changed.elapsed());
}

#[tokio::test]
async fn credentials_that_become_another_accounts_within_a_refresh_change_nothing() {
    let mut subject = Subject::new(Config::default(), |_| error(403, "AccessDenied")).await;
    let generated = Utc::now();
    subject.aws.follow(belonging_to(ACCOUNT, generated));
    let timeout = Duration::from_secs(20);
    assert_eq!(subject.refresh_within(timeout).await.0.failure, None);
    let known = users(&subject.account).join(" ");

    let mut calls = 0;
    subject.aws.follow(move |request: &Request| {
        calls += 1;
        belonging_to(if calls == 1 { ACCOUNT } else { OTHER }, generated)(request)
    });
    let (outcome, _) = subject.refresh_within(timeout).await;
    let failure = outcome.failure.expect("a failure");
    assert_eq!(failure.reason, Reason::Credentials);
    assert_eq!(failure.message, "the credentials now belong to account 210987654321");
    assert_eq!(
        users(&subject.account).join(" "),
        known,
        "nobody of another account was asked about"
    );
}

#[tokio::test]
async fn an_identity_that_cannot_be_asked_for_again_leaves_what_was_verified() {
    let mut subject = Subject::new(Config::default(), |_| error(403, "AccessDenied")).await;
    let generated = Utc::now();
    subject.aws.follow(belonging_to(ACCOUNT, generated));
    let timeout = Duration::from_secs(20);
    assert_eq!(subject.refresh_within(timeout).await.0.failure, None);
    let mut calls = 0;
    subject.aws.follow(move |request: &Request| {
        calls += 1;
        if calls > 1 && request.operation == "GetCallerIdentity" {
            return (Duration::ZERO, error(403, "AccessDenied"));
        }
        belonging_to(if calls == 1 { ACCOUNT } else { OTHER }, generated)(request)
    });
    let (outcome, _) = subject.refresh_within(timeout).await;
    assert_eq!(outcome.failure.map(|failure| failure.reason), Some(Reason::AccessDenied));
    assert_eq!(users(&subject.account), ["ci"], "nobody said whose the answers are");
}

/// An account of many users with old keys, so that confirming them takes a while. It answers calls for its
/// identity like this, one after the other, and then with its own. AWS knows the users depending on how many
/// such calls there were.
fn crowd(
    identities: Vec<Answer>,
    are_known: impl Fn(usize) -> bool + Send + 'static,
) -> impl Scenario {
    let names: Vec<String> = (0..100).map(|number| format!("user-{number:03}")).collect();
    let csv = report(names.iter().map(|name| row(ACCOUNT, "/", name, &unused(OLD))));
    let (mut identities, mut asked) = (identities.into_iter(), 0);
    move |request: &Request| {
        let answer = match request.operation.as_str() {
            "GetCallerIdentity" => {
                asked += 1;
                identities.next().unwrap_or_else(|| identity(ACCOUNT))
            }
            "GetCredentialReport" => report_at(&csv, beginning()),
            "ListAccessKeys" if are_known(asked) => keys(&[("AKIAOLD", "Active", OLD)]),
            "ListAccessKeys" => error(404, "NoSuchEntity"),
            _ => error(403, "AccessDenied"),
        };
        (Duration::from_millis(10), answer)
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_another_accounts_for_a_while_clear_nobody() {
    let aws = FakeAws::new(crowd(Vec::new(), |_| true));
    let store = run(aws.source(), Config::default());
    let is_confirmed = |state: &State| state.ready && state.accounts[0].refresh.waiting == Some(0);
    published(&store, is_confirmed).await;
    // The first call of a refresh, and the next one before its results so far are published.
    aws.follow(crowd(vec![identity(ACCOUNT), identity(OTHER)], |asked| asked != 1));
    let mut failed = false;
    for _ in 0..600 {
        sleep(Duration::from_secs(1)).await;
        let account = &store.snapshot().accounts[0];
        assert_eq!(users(account).len(), 100);
        failed |= account.refresh.last.and_then(|it| it.failure) == Some(Reason::Credentials);
    }
    assert!(failed, "it is said");
}

#[tokio::test(start_paused = true)]
async fn what_was_published_while_confirming_stays_if_the_identity_is_lost_later() {
    let denied = || error(403, "AccessDenied");
    let aws = FakeAws::new(crowd(vec![identity(ACCOUNT), identity(ACCOUNT), denied()], |_| true));
    let store = run(aws.source(), Config::default());
    let shown = published(&store, |state| !state.accounts.is_empty()).await;
    assert_eq!(users(&shown.accounts[0]).len(), 100);
    let failed = Some(Reason::AccessDenied);
    let failed = published(&store, |state| {
        state.accounts.iter().any(|it| it.refresh.last.and_then(|last| last.failure) == failed)
    });
    let state = timeout(Duration::from_secs(60), failed).await.expect("a failure");
    assert_eq!(users(&state.accounts[0]).len(), 100);
}

#[tokio::test(start_paused = true)]
async fn credentials_that_come_back_find_what_was_known() {
    let aws = FakeAws::new(belonging_to(ACCOUNT, beginning()));
    let store = run(aws.source(), Config::default());
    published(&store, |state| state.ready).await;
    aws.follow(belonging_to(OTHER, beginning()));
    published(&store, |state| state.accounts.len() == 2).await;
    aws.follow(|request: &Request| {
        let answer = match request.operation.as_str() {
            "GetCallerIdentity" => identity(ACCOUNT),
            _ => error(403, "AccessDenied"),
        };
        (Duration::ZERO, answer)
    });
    let denied = Some(Reason::AccessDenied);
    let state = published(&store, |state| {
        let [account, _] = &state.accounts[..] else { return false };
        account.refresh.last.and_then(|last| last.failure) == denied
    })
    .await;
    assert_eq!(users(&state.accounts[0]), ["ci"]);
}

/// An organization of these accounts. The first one asks, and nothing else can be read.
fn organization(ids: &'static [&'static str]) -> impl Scenario {
    move |request: &Request| {
        let answer = match request.operation.as_str() {
            "GetCallerIdentity" => identity(ids[0]),
            "ListAccounts" => accounts(ids[0], ids.iter().map(|id| (*id, "")), None),
            _ => error(403, "AccessDenied"),
        };
        (Duration::ZERO, answer)
    }
}

fn ids(state: &State) -> Vec<&str> {
    state.accounts.iter().map(|account| account.id.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_accounts_of_another_organization_do_not_replace_those_that_are_known() {
    const KNOWN: &[&str] = &["111111111111", "222222222222", "333333333333"];
    let aws = FakeAws::new(organization(KNOWN));
    let store = run(aws.source(), parse("organization: { role_name: r }"));
    published(&store, |state| state.accounts.len() == 3).await;
    aws.follow(organization(&["444444444444", "555555555555"]));
    published(&store, |state| state.discovery == Tried::Failed).await;
    sleep(Duration::from_secs(6 * 3600)).await;
    let state = store.snapshot();
    assert_eq!((ids(&state), state.discovery), (KNOWN.to_vec(), Tried::Failed));
    aws.follow(organization(KNOWN));
    published(&store, |state| state.discovery == Tried::Ok).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_without_most_accounts_is_taken_after_an_hour() {
    const ALL: &[&str] = &["111111111111", "222222222222", "333333333333"];
    let aws = FakeAws::new(organization(ALL));
    let store = run(aws.source(), parse("organization: { role_name: r }"));
    published(&store, |state| state.accounts.len() == 3).await;
    aws.follow(organization(&ALL[..1]));
    let state = published(&store, |state| state.discovery == Tried::Failed).await;
    assert_eq!(ids(&state), ALL);
    sleep(Duration::from_secs(50 * 60)).await;
    assert_eq!(ids(&store.snapshot()), ALL);
    let state = published(&store, |state| state.discovery == Tried::Ok).await;
    assert_eq!(ids(&state), ALL[..1]);
}

#[tokio::test(start_paused = true)]
async fn an_aws_that_is_gone_shows_within_one_interval_though_there_is_nothing_to_ask() {
    let young = of_one("ci").replace(OLD, "2026-10-31T00:00:00Z");
    let aws = FakeAws::new(account(move |_: &str| report_at(&young, beginning())));
    let store = run(aws.source(), Config::default());
    published(&store, |state| state.ready).await;
    aws.follow(|_: &Request| (Duration::ZERO, error(403, "InvalidClientTokenId")));
    let start = Instant::now();
    let failed = Some(Reason::Credentials);
    published(&store, |state| {
        state.accounts[0].refresh.last.and_then(|last| last.failure) == failed
    })
    .await;
    assert!(start.elapsed() <= Duration::from_secs(5 * 60), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn before_its_id_is_known_an_account_counts_and_has_no_id() {
    let is_gone = Arc::new(Mutex::new(true));
    let of_script = is_gone.clone();
    let mut well = belonging_to(ACCOUNT, beginning());
    let aws = FakeAws::new(move |request: &Request| {
        if *of_script.lock().expect("a flag") {
            return (Duration::ZERO, error(403, "InvalidClientTokenId"));
        }
        well(request)
    });
    let store = run(aws.source(), Config::default());
    let state = published(&store, |state| state.ready).await;
    assert_eq!((state.accounts.len(), state.unidentified.len()), (0, 1));
    assert_eq!(state.unidentified_failures.get(Reason::Credentials), 1);
    *is_gone.lock().expect("a flag") = false;
    let state = published(&store, |state| state.accounts.len() == 1).await;
    assert_eq!(state.accounts[0].refresh.failures.get(Reason::Credentials), 0);
    assert!(state.unidentified.is_empty());
    assert_eq!(state.unidentified_failures.get(Reason::Credentials), 1, "counters stay");
}

/// Two accounts, of which the SDK panics over the credentials of the second: their key's id ends with
/// a line break.
fn one_that_panics() -> (FakeAws, Config) {
    let fleet = Arc::new(Fleet { unrotated: 1, ..Fleet::new(3, 2) });
    let mut usual = fleet.paused();
    let aws = FakeAws::new(move |request: &Request| {
        let role = request.field("RoleArn").unwrap_or_default();
        if role.contains(&Fleet::id(2)) {
            let end = beginning() + TimeDelta::hours(1);
            return (Duration::ZERO, credentials("ASIA&#10;", end));
        }
        usual(request)
    });
    let line = |index| {
        let id = Fleet::id(index);
        format!("  - {{ id: '{id}', role_arn: 'arn:aws:iam::{id}:role/r' }}\n")
    };
    (aws, parse(&format!("accounts:\n{}{}", line(1), line(2))))
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_one_account_and_no_other() {
    let (aws, config) = one_that_panics();
    let store = Arc::new(Store::default());
    let (_config, configs) = watch::channel(Arc::new(config));
    let schedule = Schedule::default();
    tokio::spawn(refresh::run(aws.source(), schedule, clock(), configs, store.clone()));
    let state = published(&store, |state| state.ready).await;
    let failures = state.accounts.iter().map(|account| account.refresh.last?.failure);
    assert_eq!(failures.collect::<Vec<_>>(), [None, Some(Reason::InternalError)]);
    sleep(Duration::from_secs(3600)).await;
    let state = store.snapshot();
    assert!(state.accounts[1].refresh.failures.get(Reason::InternalError) > 5, "it keeps trying");
    assert_eq!(state.accounts[0].refresh.last.and_then(|last| last.failure), None);
}

#[tokio::test(start_paused = true)]
async fn check_has_the_keys_of_the_others_and_could_not_tell() {
    let (aws, config) = one_that_panics();
    let schedule = Schedule::default();
    let outcome = check::run(aws.source(), &schedule, &clock(), &Arc::new(config)).await;
    let outcome = outcome.expect("an outcome");
    let one = UnrotatedCount { access_keys: 1, ..UnrotatedCount::default() };
    assert_eq!(outcome.exit_code(one), 2);
    let summary = outcome.summary(one);
    let expected = format!("account {}: internal_error: a panic at ", Fleet::id(2));
    assert!(summary.starts_with(&expected), "{summary}");
    assert!(summary.ends_with("unrotated keys: 1; accounts read: 1 of 2"), "{summary}");
}
