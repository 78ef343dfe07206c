//! Calls for details that hang: they take no time of the others, and nobody waits for them to see keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use chrono::TimeDelta;
use iam_key_exporter::config::Config;
use iam_key_exporter::evidence::{EvidenceKind, Standing};
use iam_key_exporter::failure::Reason;
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::metrics::page;
use iam_key_exporter::refresh::faults::Detail;
use iam_key_exporter::source::Source;
use iam_key_exporter::state::{Account, State, Tried};
use tokio::time::{Instant, sleep};

use crate::support::answers::{error, generating, identity, keys, report, report_at, tags};
use crate::support::exporter::value;
use crate::support::fake_aws::{FakeAws, Scenario, account, sdk_config};
use crate::support::protocol::{Answer, Request};
use crate::support::refresh::{only_target, parse, published, refresh, run};
use crate::support::report::{OLD, of_one};
use crate::support::time::beginning;

const USERS: &str = "GetAccountAuthorizationDetails";
const ALIAS: &str = "ListAccountAliases";
const CREDENTIALS: &str = "ListServiceSpecificCredentials";
const SUMMARY: &str = "GetAccountSummary";
const POLICY: &str = "GetAccountPasswordPolicy";
const DEVICES: &str = "ListVirtualMFADevices";
const DETAILS: [&str; 3] = [USERS, ALIAS, CREDENTIALS];
const OF_CONTROLS: [&str; 3] = [SUMMARY, POLICY, DEVICES];

/// Asks for all of them, and cannot do without the alias.
fn config() -> Config {
    let rules = "rotation: { rules: [{ match: { account: prod-* }, max_age: 30d }] }\n";
    parse(&format!("{rules}labels: {{ user_tags: [team] }}\n"))
}

/// The account of alpha, who has an old key. These calls hang, and the others for details take so long.
fn hanging(
    calls: &[&'static str],
    delay: Duration,
    report: impl Fn() -> Answer + Send + 'static,
) -> impl Scenario {
    let calls = calls.to_vec();
    let mut usual = account(move |call| match call {
        "GetCredentialReport" => report(),
        USERS => tags(&[("alpha", "team", "payments")], None),
        _ => keys(&[("AKIAOLD", "Active", OLD)]),
    });
    move |request: &Request| {
        let operation = request.operation.as_str();
        if calls.contains(&operation) {
            return (Duration::ZERO, Answer::Hang);
        }
        let is_slow = DETAILS.contains(&operation) || OF_CONTROLS.contains(&operation);
        (if is_slow { delay } else { Duration::ZERO }, usual(request).1)
    }
}

/// Nobody reads a request in memory, which the SDK would take for a connection that stalls.
fn patient(aws: &FakeAws) -> Source {
    let config = sdk_config("http://in-memory")
        .into_builder()
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build();
    aws.source_with(config)
}

/// Which of the calls failed, in a refresh with the default time limit.
async fn failed(calls: &[&'static str]) -> Vec<&'static str> {
    let aws = FakeAws::new(hanging(calls, Duration::from_secs(18), || report("alpha", 1)));
    let source = patient(&aws);
    let target = only_target(&source);
    let pending = Account::pending(&target.id, &target.name);
    let limit = Duration::from_secs(120);
    let outcome = refresh(&source, &target, &pending, &config(), limit).await;
    assert_eq!(outcome.failure, None, "{calls:?}");
    assert_eq!(outcome.account.refresh.confirmation, Tried::Ok, "{calls:?}");
    let evidence = &outcome.account.evidence;
    let of_controls = |kind| matches!(evidence.standing(kind, beginning()), Standing::Failed(_));
    let has_failed = |detail| outcome.detail_failures.contains_key(&detail);
    assert!(!has_failed(Detail::Confirmation), "{calls:?}");
    let all = [
        (USERS, has_failed(Detail::Tags)),
        (ALIAS, has_failed(Detail::Alias)),
        (CREDENTIALS, has_failed(Detail::ServiceCredentials)),
        (SUMMARY, of_controls(EvidenceKind::AccountSummary)),
        (POLICY, of_controls(EvidenceKind::PasswordPolicy)),
        (DEVICES, of_controls(EvidenceKind::VirtualMfaDevices)),
    ];
    all.into_iter().filter_map(|(call, has_failed)| has_failed.then_some(call)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_takes_no_time_of_another() {
    for calls in [&[][..], &[USERS], &[ALIAS], &[CREDENTIALS], &[SUMMARY], &[POLICY], &[DEVICES]] {
        assert_eq!(failed(calls).await, calls);
    }
    for calls in [&[USERS, ALIAS][..], &[ALIAS, SUMMARY, POLICY], &[SUMMARY, DEVICES]] {
        assert_eq!(failed(calls).await, calls);
    }
}

/// Whether there is a report, and how long it took to be there.
async fn first_report(calls: &[&'static str]) -> (State, Duration) {
    let report = || report_at(&of_one("alpha"), beginning());
    let aws = FakeAws::new(hanging(calls, Duration::ZERO, report));
    let store = run(patient(&aws), config());
    let start = Instant::now();
    let is_there = |state: &State| state.accounts.iter().any(|account| account.report.is_some());
    let state = published(&store, is_there).await;
    let elapsed = start.elapsed();
    // The refresh that is still going on ends as well.
    sleep(Duration::from_secs(240)).await;
    let later = store.snapshot();
    assert_eq!(later.accounts[0].refresh.last.and_then(|last| last.failure), None, "{calls:?}");
    assert_eq!(later.accounts[0].refresh.confirmation, Tried::Ok, "{calls:?}");
    (state, elapsed)
}

#[tokio::test(start_paused = true)]
async fn the_first_report_waits_for_details_only_and_not_long() {
    let (state, elapsed) = first_report(&OF_CONTROLS).await;
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
    assert_eq!(state.accounts[0].refresh.confirmation, Tried::Ok, "with what is known so far");
    assert!(state.accounts[0].tags.is_some() && state.accounts[0].service_credentials.is_some());
    // For the details it waits for half of the time of a refresh, because owners have no alerts without tags.
    let (state, elapsed) = first_report(&DETAILS).await;
    assert!(elapsed > Duration::from_secs(50) && elapsed < Duration::from_secs(65), "{elapsed:?}");
    let account = &state.accounts[0];
    assert_eq!((&account.tags, &account.service_credentials), (&None, &None));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_while_calls_hang_that_may_be_another_accounts() {
    let report = || report_at(&of_one("alpha"), beginning());
    let (mut usual, mut identities) = (hanging(&OF_CONTROLS, Duration::ZERO, report), 0);
    let aws = FakeAws::new(move |request: &Request| {
        identities += usize::from(request.operation == "GetCallerIdentity");
        if request.operation == "GetCallerIdentity" && identities == 2 {
            return (Duration::ZERO, identity("210987654321"));
        }
        usual(request)
    });
    let store = run(aws.source(), config());
    let start = Instant::now();
    let credentials = Some(Reason::Credentials);
    let state = published(&store, |state| {
        let first = state.accounts.first();
        assert!(first.is_none_or(|account| account.report.is_none()), "it is not published");
        first.and_then(|account| account.refresh.last?.failure) == credentials
    })
    .await;
    assert_eq!(state.accounts.len(), 1);
    assert!(start.elapsed() < Duration::from_secs(5), "nothing more is asked of it");
    let is_read = |state: &State| state.accounts[0].report.is_some();
    assert!(is_read(&published(&store, is_read).await), "when they are its own again");
}

/// The account of alpha, whose name becomes beta. From then on the list of users hangs.
#[tokio::test(start_paused = true)]
async fn the_tags_of_a_user_whom_no_list_has_yet_are_not_known() {
    let is_renamed = Arc::new(AtomicBool::new(false));
    let renamed = is_renamed.clone();
    let mut usual = account(move |call| match call {
        "GetCredentialReport" if renamed.load(Ordering::Relaxed) => {
            report_at(&of_one("beta"), beginning() + TimeDelta::hours(5))
        }
        "GetCredentialReport" => report_at(&of_one("alpha"), beginning()),
        "GenerateCredentialReport" => generating("COMPLETE"),
        USERS if renamed.load(Ordering::Relaxed) => Answer::Hang,
        USERS => tags(&[("alpha", "team", "payments")], None),
        _ => keys(&[("AKIAOLD", "Active", OLD)]),
    });
    let aws = FakeAws::new(move |request: &Request| usual(request));
    let rules = "rotation: { rules: [{ match: { tags: { team: x } }, max_age: 30d }] }\n";
    for config in ["", rules] {
        is_renamed.store(false, Ordering::Relaxed);
        let config = parse(&format!("{config}labels: {{ user_tags: [team] }}\n"));
        let store = run(patient(&aws), config.clone());
        let seen = |state: &State| {
            let page = page::text(state, &config, &Filter::default(), beginning());
            let available = value(&page, "iam_exporter_tags_available");
            let tags = page.lines().filter(|line| line.starts_with("iam_user_tags{"));
            (available, tags.map(str::to_owned).collect::<Vec<_>>())
        };
        let alpha =
            "iam_user_tags{account_id=\"123456789012\",user=\"alpha\",tag_team=\"payments\"} 1";
        let known = (Some(1.0), vec![alpha.to_owned()]);
        published(&store, |state| !state.accounts.is_empty() && seen(state) == known).await;
        is_renamed.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs(3 * 3600)).await;
        let has_beta = |state: &State| {
            let report = state.accounts[0].report.as_ref().expect("a report");
            report.users.iter().any(|user| user.name == "beta")
        };
        let state = published(&store, has_beta).await;
        let unknown = (Some(0.0), vec![]);
        assert_eq!(seen(&state), unknown, "while the call hangs");
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(seen(&store.snapshot()), unknown, "after it has failed");
    }
}

/// A new report is published while details take long, and then AWS cannot say whose the answers are.
#[tokio::test(start_paused = true)]
async fn details_are_asked_for_again_if_those_of_a_report_that_is_published_were_lost() {
    let report_is_new = Arc::new(AtomicBool::new(false));
    let is_anonymous = Arc::new(AtomicBool::new(false));
    let (new, renewed) = (report_is_new.clone(), report_is_new.clone());
    let anonymous = is_anonymous.clone();
    let report = move || {
        let later = TimeDelta::hours(if new.load(Ordering::Relaxed) { 3 } else { 0 });
        report_at(&of_one("alpha"), beginning() + later)
    };
    let lists = Arc::new(AtomicUsize::new(0));
    let (mut usual, listed) = (hanging(&[], Duration::from_secs(18), report), lists.clone());
    let aws = FakeAws::new(move |request: &Request| match request.operation.as_str() {
        "GetCallerIdentity" if anonymous.load(Ordering::Relaxed) => {
            (Duration::ZERO, error(500, "ServiceFailure"))
        }
        "GenerateCredentialReport" => (Duration::ZERO, generating("COMPLETE")),
        USERS => {
            let team = if renewed.load(Ordering::Relaxed) { "cards" } else { "payments" };
            (Duration::from_secs(18), tags(&[("alpha", "team", team)], None))
        }
        CREDENTIALS => {
            listed.fetch_add(1, Ordering::Relaxed);
            usual(request)
        }
        _ => usual(request),
    });
    let store = run(patient(&aws), config());
    published(&store, |state| state.accounts.iter().any(|it| it.refresh.last_success.is_some()))
        .await;
    assert_eq!(lists.load(Ordering::Relaxed), 1);
    report_is_new.store(true, Ordering::Relaxed);
    let is_new = |state: &State| state.accounts[0].generated > Some(beginning());
    published(&store, is_new).await;
    assert_eq!(lists.load(Ordering::Relaxed), 2, "the report is published before its details");
    is_anonymous.store(true, Ordering::Relaxed);
    let has_failed = |state: &State| {
        let last = state.accounts[0].refresh.last;
        last.is_some_and(|last| last.failure.is_some())
    };
    published(&store, has_failed).await;
    is_anonymous.store(false, Ordering::Relaxed);
    published(&store, |state| !has_failed(state)).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(lists.load(Ordering::Relaxed), 3);
}
