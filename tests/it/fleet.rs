//! A whole organization: listed, sharded, reloaded, with all kinds of faults in some accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use iam_key_exporter::config::Config;
use iam_key_exporter::failure::Reason;
use iam_key_exporter::metrics::exporter::ExporterMetrics;
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::refresh::{self, Schedule};
use iam_key_exporter::shard::Shard;
use iam_key_exporter::source::Source;
use iam_key_exporter::source::aws::Aws;
use iam_key_exporter::state::{Account, State, Tried};
use iam_key_exporter::store::Store;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::support::answers::error;
use crate::support::exporter::{Exporter, command, value};
use crate::support::fake_aws::{FakeAws, Server, sdk_config};
use crate::support::fleet::{Fault, Fleet};
use crate::support::folder::Folder;
use crate::support::protocol::Answer;
use crate::support::refresh::{parse, published, refresh as refresh_once};
use crate::support::time::{beginning, clock};

const ORGANIZATION: &str = "organization: { role_name: iam-key-exporter }\n";

/// An exporter of the fleet in this process.
struct Subject {
    fleet: Arc<Fleet>,
    store: Arc<Store>,
    config: watch::Sender<Arc<Config>>,
}

impl Subject {
    fn start(fleet: Fleet, config: &str) -> Subject {
        Subject::start_shard(fleet, config, Shard::default())
    }

    fn start_shard(fleet: Fleet, config: &str, shard: Shard) -> Subject {
        let fleet = Arc::new(fleet);
        let source = FakeAws::new(fleet.paused()).source();
        Subject::start_with(fleet, source, config, shard)
    }

    fn start_with(
        fleet: Arc<Fleet>,
        source: iam_key_exporter::source::Source,
        config: &str,
        shard: Shard,
    ) -> Subject {
        let store = Arc::new(Store::default());
        let (config, configs) = watch::channel(Arc::new(parse(config)));
        let schedule = Schedule { shard, ..Schedule::default() };
        tokio::spawn(refresh::run(source, schedule, clock(), configs, store.clone()));
        Subject { fleet, store, config }
    }

    fn reload(&self, config: &str) {
        self.config.send_replace(Arc::new(parse(config)));
    }

    async fn ready(&self) -> State {
        published(&self.store, |state| state.ready).await
    }

    /// Calls since the last time, by operation.
    fn calls(&self) -> BTreeMap<String, usize> {
        let mut sums = BTreeMap::new();
        for ((_, operation), count) in self.fleet.calls() {
            *sums.entry(operation).or_default() += count;
        }
        sums
    }
}

fn ids(state: &State) -> BTreeSet<String> {
    state.accounts.iter().map(|account| account.id.clone()).collect()
}

fn all(accounts: usize) -> BTreeSet<String> {
    (0..accounts).map(Fleet::id).collect()
}

#[tokio::test(start_paused = true)]
async fn every_active_account_is_found_named_and_reached_by_its_role() {
    let subject = Subject::start(Fleet::new(45, 3), ORGANIZATION);
    let state = subject.ready().await;
    assert_eq!(ids(&state), all(45));
    assert!(state.accounts.iter().all(|account| account.report.is_some()));
    assert_eq!(state.accounts[44].name, "account 44");
    // The account of the base credentials needs no role.
    assert_eq!(subject.calls()["AssumeRole"], 44);
}

#[tokio::test(start_paused = true)]
async fn listed_accounts_are_as_they_are_written_and_excluded_ones_are_not_there() {
    let [listed, nameless, excluded] = [7, 8, 9].map(Fleet::id);
    let config = format!(
        "organization: {{ role_name: iam-key-exporter, exclude: ['{excluded}'] }}\n\
         accounts:\n\
         - {{ id: '{listed}', name: given, role_arn: 'arn:aws:iam::{listed}:role/r' }}\n\
         - {{ id: '{nameless}', role_arn: 'arn:aws:iam::{nameless}:role/r' }}\n"
    );
    let subject = Subject::start(Fleet::new(20, 1), &config);
    let state = subject.ready().await;
    let mut expected = all(20);
    expected.remove(&excluded);
    assert_eq!(ids(&state), expected);
    let name = |id: &str| state.accounts.iter().find(|account| account.id == id).map(|a| &a.name);
    assert_eq!(name(&listed).map(String::as_str), Some("given"));
    assert_eq!(name(&nameless).map(String::as_str), Some("account 8"));
}

#[tokio::test(start_paused = true)]
async fn credentials_are_cached_and_renewed_before_they_end() {
    let fleet = Fleet { lifetime: chrono::TimeDelta::minutes(15), ..Fleet::new(30, 3) };
    let subject = Subject::start(fleet, ORGANIZATION);
    subject.ready().await;
    sleep(Duration::from_secs(3 * 3600)).await;
    let state = subject.store.snapshot();
    assert_eq!(state.accounts.len(), 30);
    for account in &state.accounts {
        let refresh = &account.refresh;
        let failed: u64 = Reason::ALL.iter().map(|reason| refresh.failures.get(*reason)).sum();
        assert_eq!(failed, 0, "{}", account.id);
        assert_eq!(refresh.confirmation, Tried::Ok, "{}", account.id);
    }
    let calls = subject.calls();
    // Each account's flagged user was confirmed in each interval, with credentials for three intervals.
    assert!(calls["ListAccessKeys"] >= 30 * 36, "{calls:?}");
    assert!((29 * 11..=29 * 14).contains(&calls["AssumeRole"]), "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn calls_to_broken_accounts_fall_off_and_the_others_stay_as_they_are() {
    let fault = |index: usize| match index {
        1..=5 => Fault::Denied,
        6..=10 => Fault::Hangs,
        11..=15 => Fault::Garbage,
        16..=20 => Fault::Throttled,
        _ => Fault::None,
    };
    let fleet = Fleet { fault, unrotated: 0, ..Fleet::new(100, 3) };
    let subject = Subject::start(fleet, ORGANIZATION);
    let start = Instant::now();
    published(&subject.store, |state| {
        let good = state.accounts.iter().filter(|account| account.report.is_some()).count();
        good == 80
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    subject.ready().await;

    let broken_calls = |calls: BTreeMap<(String, String), usize>| {
        let mut most = [0; 5];
        for ((id, operation), count) in calls {
            let index = (0..100).find(|index| Fleet::id(*index) == id).expect("an account");
            if (1..=20).contains(&index) && operation != "AssumeRole" || (1..=5).contains(&index) {
                most[index.div_ceil(5)] += count;
            }
        }
        most
    };
    subject.fleet.calls();
    sleep(Duration::from_secs(3600)).await;
    let calls = broken_calls(subject.fleet.calls());
    // In an hour, of five accounts each: at most a refresh every three minutes on average, each of
    // which the SDK tries three times if that may help. Throttled ones come to 15 minutes.
    let [_, denied, hangs, garbage, throttled] = calls;
    assert!((60..=120).contains(&denied), "{calls:?}");
    assert!((90..=360).contains(&hangs), "{calls:?}");
    assert!((60..=120).contains(&garbage), "{calls:?}");
    assert!((60..=180).contains(&throttled), "{calls:?}");

    let state = subject.store.snapshot();
    for (index, account) in state.accounts.iter().enumerate() {
        let last = account.refresh.last.expect("it was tried");
        let expected = match fault(index) {
            Fault::None => None,
            Fault::Denied => Some(Reason::AccessDenied),
            Fault::Hangs => Some(Reason::Timeout),
            Fault::Garbage => Some(Reason::MalformedReport),
            Fault::Throttled => Some(Reason::Throttled),
            Fault::Fails | Fault::FailsOnce => Some(Reason::ServiceError),
        };
        assert_eq!(last.failure, expected, "account {index}");
        if expected.is_none() {
            let since = clock_at(start) - account.refresh.last_success.expect("a success");
            assert!(since <= chrono::TimeDelta::minutes(5), "account {index}: {since}");
        }
    }
}

fn clock_at(start: Instant) -> chrono::DateTime<chrono::Utc> {
    beginning() + start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_reload_adds_removes_and_renames_and_fetches_nothing_else() {
    let line = |index: usize, name: &str| {
        let id = Fleet::id(index);
        format!("  - {{ id: '{id}', name: {name}, role_arn: 'arn:aws:iam::{id}:role/r' }}\n")
    };
    let config = format!("accounts:\n{}{}{}", line(1, "a"), line(2, "b"), line(3, "c"));
    let fleet = Fleet { unrotated: 0, ..Fleet::new(10, 3) };
    let subject = Subject::start(fleet, &config);
    let before = subject.ready().await;
    assert_eq!(before.accounts.len(), 3);
    subject.fleet.calls();

    let config = format!("accounts:\n{}{}{}", line(2, "renamed"), line(3, "c"), line(4, "d"));
    subject.reload(&config);
    let mut sets = BTreeSet::new();
    let after = published(&subject.store, |state| {
        sets.insert(ids(state));
        state.accounts.iter().any(|account| account.name == "d" && account.report.is_some())
    })
    .await;
    let names: Vec<&str> = after.accounts.iter().map(|account| account.name.as_str()).collect();
    assert_eq!(names, ["renamed", "c", "d"]);
    let expected = [ids(&before), [2, 3, 4].map(Fleet::id).into()];
    assert_eq!(sets, expected.into(), "there is nothing between the two sets");
    for ((id, operation), _) in subject.fleet.calls() {
        assert_eq!(id, Fleet::id(4), "{operation}");
    }
    // The data of the others has not changed.
    for (old, new) in before.accounts[1..].iter().zip(&after.accounts) {
        assert_eq!(
            (&old.report, old.refresh.last_success),
            (&new.report, new.refresh.last_success)
        );
    }
}

/// One account, by this role.
fn by_role(role: &str) -> String {
    let id = Fleet::id(1);
    format!("accounts: [{{ id: '{id}', role_arn: 'arn:aws:iam::{id}:role/{role}' }}]\n")
}

/// An exporter of one account, in which every role may be assumed but that named `wrong`.
fn start_by_role(role: &str) -> Subject {
    let fleet = Arc::new(Fleet { unrotated: 0, ..Fleet::new(2, 3) });
    let mut usual = fleet.paused();
    let aws = FakeAws::new(move |request| {
        let role = request.field("RoleArn").unwrap_or_default();
        if role.ends_with("/wrong") {
            (Duration::ZERO, error(403, "AccessDenied"))
        } else {
            usual(request)
        }
    });
    Subject::start_with(fleet, aws.source(), &by_role(role), Shard::default())
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_reached_in_another_way_is_tried_at_once_and_keeps_what_is_known() {
    let subject = start_by_role("wrong");
    let state = subject.ready().await;
    assert_eq!(state.accounts[0].refresh.failures.get(Reason::AccessDenied), 1);
    let changed = Instant::now();
    subject.reload(&by_role("right"));
    let state = published(&subject.store, |state| state.accounts[0].report.is_some()).await;
    assert!(changed.elapsed() < Duration::from_secs(5));
    assert_eq!(state.accounts[0].refresh.failures.get(Reason::AccessDenied), 1, "counters stay");
}

#[tokio::test(start_paused = true)]
async fn a_new_way_to_an_account_is_tried_even_if_its_report_is_still_good() {
    let subject = start_by_role("right");
    let report = subject.ready().await.accounts[0].report.clone();
    let failure = |state: &State| state.accounts[0].refresh.last.and_then(|last| last.failure);

    let changed = Instant::now();
    subject.reload(&by_role("wrong"));
    let denied = Some(Reason::AccessDenied);
    let state = published(&subject.store, |state| failure(state) == denied).await;
    assert!(changed.elapsed() < Duration::from_secs(5));
    assert_eq!(state.accounts[0].report, report, "what was known stays");
    // For as long as it is wrong, not until the next refresh.
    sleep(Duration::from_secs(1800)).await;
    assert_eq!(failure(&subject.store.snapshot()), denied);

    let changed = Instant::now();
    subject.reload(&by_role("other"));
    published(&subject.store, |state| failure(state).is_none()).await;
    assert!(changed.elapsed() < Duration::from_secs(5));
    assert_eq!(subject.calls()["GetCredentialReport"], 2 + 1, "twice at first");
}

#[tokio::test(start_paused = true)]
async fn known_accounts_do_not_wait_for_those_that_have_to_be_found() {
    let hangs = Duration::from_secs(600)..Duration::from_secs(2 * 3600);
    let fleet = Arc::new(Fleet { unrotated: 0, ..Fleet::new(5, 1) });
    let (mut usual, start) = (fleet.paused(), Instant::now());
    let aws = FakeAws::new(move |request| {
        if request.operation == "ListAccounts" && !hangs.contains(&start.elapsed()) {
            (Duration::ZERO, Answer::Hang)
        } else {
            usual(request)
        }
    });
    let at_most = |since: Instant| assert!(since.elapsed() < Duration::from_secs(5));
    let listed = |index: usize| {
        let id = Fleet::id(index);
        format!("  - {{ id: '{id}', role_arn: 'arn:aws:iam::{id}:role/r' }}\n")
    };
    let config = format!("{ORGANIZATION}accounts:\n{}", listed(1));
    let subject = Subject::start_with(fleet, aws.source(), &config, Shard::default());
    // At the start, and at a reload meanwhile.
    let read = |state: &State, count: usize| {
        state.accounts.iter().filter(|account| account.report.is_some()).count() == count
    };
    published(&subject.store, |state| read(state, 1)).await;
    at_most(start);
    let reload = Instant::now();
    subject.reload(&format!("{config}{}", listed(2)));
    let state = published(&subject.store, |state| read(state, 2)).await;
    at_most(reload);
    assert!(!state.ready, "the others are not known");
    // With all of them found, a reload that changes one of them does not wait either.
    published(&subject.store, |state| read(state, 5)).await;
    sleep(Duration::from_secs(2 * 3600)).await;
    let reload = Instant::now();
    subject.reload(&format!(
        "organization: {{ role_name: iam-key-exporter, exclude: ['{}'] }}\n",
        Fleet::id(4)
    ));
    let state = published(&subject.store, |state| state.accounts.len() == 4).await;
    at_most(reload);
    assert!(read(&state, 4));
}

#[tokio::test(start_paused = true)]
async fn accounts_that_always_fail_leave_the_others_their_retries() {
    let fault = |index: usize| match index {
        1..=150 => Fault::Fails,
        151..=190 => Fault::FailsOnce,
        _ => Fault::None,
    };
    let fleet = Fleet { fault, unrotated: 0, ..Fleet::new(200, 1) };
    let subject = Subject::start(fleet, ORGANIZATION);
    let state = subject.ready().await;
    for (index, account) in state.accounts.iter().enumerate() {
        let failures = account.refresh.failures.get(Reason::ServiceError);
        assert_eq!(failures, u64::from(fault(index) == Fault::Fails), "account {index}");
    }
    // Neither do roles that cannot be assumed.
    let fleet = Arc::new(Fleet { unrotated: 0, ..Fleet::new(200, 1) });
    let mut usual = fleet.paused();
    let mut tried = BTreeSet::new();
    let aws = FakeAws::new(move |request| {
        let arn = request.field("RoleArn").unwrap_or_default();
        let index = (1..=190).find(|index| arn.contains(&Fleet::id(*index)));
        let fails = index.is_some_and(|index| index <= 150 || tried.insert(index));
        if fails { (Duration::ZERO, error(500, "InternalFailure")) } else { usual(request) }
    });
    let subject = Subject::start_with(fleet, aws.source(), ORGANIZATION, Shard::default());
    let state = subject.ready().await;
    let failed = state.accounts.iter().filter(|account| account.report.is_none());
    assert_eq!(failed.count(), 150);
}

#[tokio::test(start_paused = true)]
async fn what_sts_does_not_answer_is_told_as_such() {
    let id = Fleet::id(1);
    let role = format!("role_arn: 'arn:aws:iam::{id}:role/r', profile: audit");
    let config = parse(&format!("accounts: [{{ id: '{id}', {role} }}]\n"));
    let source = FakeAws::new(|_| (Duration::ZERO, Answer::Hang)).source();
    let [target] = source.known(&config).targets.try_into().expect("one account");
    let limit = Duration::from_secs(120);
    let start = Instant::now();
    let outcome = refresh_once(&source, &target, &Account::pending(&id, ""), &config, limit).await;
    let failure = outcome.failure.expect("a failure");
    assert_eq!(failure.reason, Reason::Timeout);
    assert!(failure.message.starts_with("profile audit: AssumeRole: "), "{failure}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

/// Credentials that change at some time and never expire.
#[derive(Debug)]
struct Rotated(Instant);

impl ProvideCredentials for Rotated {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let id = if Instant::now() < self.0 { "OLD" } else { "NEW" };
        future::ProvideCredentials::ready(Ok(Credentials::new(id, "secret", None, None, "test")))
    }
}

/// The SDK keeps credentials without an end for 15 minutes: this is a refresh before it asks again.
const END: Duration = Duration::from_secs(24 * 60);

/// With base credentials that are new after this time: long before they are looked for anyway.
fn rotated(aws: &FakeAws) -> iam_key_exporter::source::Source {
    let end = Instant::now() + END;
    let provider = SharedCredentialsProvider::new(Rotated(end));
    let config = sdk_config("http://in-memory").into_builder();
    aws.source_with(config.credentials_provider(provider).build())
}

#[tokio::test(start_paused = true)]
async fn credentials_that_ended_are_looked_for_again_at_the_next_call_of_any_kind() {
    let fleet = Arc::new(Fleet::new(1, 2));
    let (mut usual, start) = (fleet.paused(), Instant::now());
    let aws = FakeAws::new(move |request| {
        let has_ended = start.elapsed() >= END;
        match request.access_key.as_str() {
            "OLD" if has_ended => (Duration::ZERO, error(403, "ExpiredToken")),
            _ => usual(request),
        }
    });
    let config = format!("accounts: [{{ id: '{}' }}]\n", Fleet::id(0));
    let source = rotated(&aws);
    let subject = Subject::start_with(fleet, source, &config, Shard::default());
    subject.ready().await;
    // Until long before there is another report.
    for _ in 0..2 * 60 {
        sleep(Duration::from_secs(60)).await;
        let refresh = &subject.store.snapshot().accounts[0].refresh;
        assert_eq!(refresh.confirmation, Tried::Ok, "{:?}", start.elapsed());
    }
    assert_eq!(subject.calls()["GetCredentialReport"], 2, "twice at first");
}

#[tokio::test(start_paused = true)]
async fn credentials_of_another_account_are_looked_for_again() {
    let fleet = Arc::new(Fleet { unrotated: 0, ..Fleet::new(1, 2) });
    let (mut usual, start) = (fleet.paused(), Instant::now());
    let aws = FakeAws::new(move |request| {
        let (delay, answer) = usual(request);
        match (request.access_key.as_str(), answer) {
            ("OLD", Answer::Reply(status, body)) => {
                (delay, Answer::Reply(status, body.replace(&Fleet::id(0), &Fleet::id(1))))
            }
            (_, answer) => (delay, answer),
        }
    });
    let config = format!("accounts: [{{ id: '{}' }}]\n", Fleet::id(0));
    let source = rotated(&aws);
    let subject = Subject::start_with(fleet, source, &config, Shard::default());
    let state = subject.ready().await;
    assert_eq!(state.accounts[0].refresh.failures.get(Reason::Credentials), 1);
    published(&subject.store, |state| state.accounts[0].report.is_some()).await;
    assert!(start.elapsed() < END + Duration::from_secs(6 * 60), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_account_whose_credentials_fail_leaves_the_others_theirs() {
    let fleet = Arc::new(Fleet { lifetime: chrono::TimeDelta::hours(12), ..Fleet::new(3, 2) });
    let (mut usual, start) = (fleet.paused(), Instant::now());
    let aws = FakeAws::new(move |request| {
        // The base credentials keep failing. Meanwhile the role of account 1 ends.
        let fails =
            !request.access_key.starts_with("ASIA") || request.access_key.contains(&Fleet::id(1));
        if fails && start.elapsed() > Duration::from_secs(600) {
            (Duration::ZERO, error(403, "ExpiredToken"))
        } else {
            usual(request)
        }
    });
    let account = |index: usize| {
        let id = Fleet::id(index);
        format!("  - {{ id: '{id}', role_arn: 'arn:aws:iam::{id}:role/r' }}\n")
    };
    let config = format!("accounts:\n{}{}", account(1), account(2));
    let subject = Subject::start_with(fleet, aws.source(), &config, Shard::default());
    subject.ready().await;
    sleep(Duration::from_secs(2 * 3600)).await;
    let state = subject.store.snapshot();
    let failures = state.accounts.iter().map(|account| account.refresh.last?.failure);
    assert_eq!(failures.collect::<Vec<_>>(), [Some(Reason::Credentials), None]);
    assert_eq!(state.accounts[1].refresh.confirmation, Tried::Ok);
}

#[test]
fn a_profile_that_is_mended_is_read_again() {
    let aws = Arc::new(Fleet { unrotated: 0, ..Fleet::new(1, 2) });
    let runtime = Runtime::new().expect("a runtime");
    let server = runtime.block_on(FakeAws::new(aws.live()).listen());
    let folder = Folder::new();
    let path = |name: &str| format!("{}/{name}", folder.path());
    let id = Fleet::id(0);
    folder.write("config.yaml", &format!("accounts: [{{ id: '{id}', profile: audit }}]\n"));
    folder.write("aws", "[profile audit]\nsource_profile = missing\nrole_arn = x\n");
    let mut command = command(&["--config.file", &path("config.yaml"), "--refresh.interval=10s"]);
    command.args(["--web.listen-address", "127.0.0.1:0"]);
    command.env("AWS_ENDPOINT_URL", server.url());
    command.env("AWS_CONFIG_FILE", path("aws"));
    command.env("AWS_SHARED_CREDENTIALS_FILE", path("none"));
    let exporter = Exporter::spawn(command);
    let label = format!("account_id=\"{id}\"");
    let failed = format!("iam_refresh_failures_total{{{label},reason=\"credentials\"}}");
    exporter.page_where(|page| value(page, &failed) == Some(1.0));
    // A program that gives credentials, and takes its time.
    let program =
        "sleep 7; echo '{\"Version\":1,\"AccessKeyId\":\"AKIA\",\"SecretAccessKey\":\"s\"}'";
    folder.write("credentials.sh", program);
    let line = format!("credential_process = sh {}", path("credentials.sh"));
    folder.write("aws", &format!("[profile audit]\n{line}\n"));
    // The first pause after a failure has a minute.
    let success = format!("iam_refresh_success{{{label}}}");
    let page =
        exporter.page_within(Duration::from_secs(90), |page| value(page, &success) == Some(1.0));
    assert_eq!(value(&page, &failed), Some(1.0), "the second refresh was a good one");
}

#[tokio::test(start_paused = true)]
async fn a_discovery_that_fails_keeps_the_last_list_and_says_so() {
    let fleet = Arc::new(Fleet { unrotated: 0, ..Fleet::new(25, 1) });
    let (mut usual, start) = (fleet.paused(), Instant::now());
    let broken = Duration::from_secs(1800)..Duration::from_secs(3 * 3600);
    let aws = FakeAws::new(move |request| {
        let is_broken = broken.contains(&start.elapsed());
        match request.operation.as_str() {
            "ListAccounts" if is_broken => {
                let body = "{\"__type\":\"TooManyRequestsException\"}".to_owned();
                (Duration::ZERO, Answer::Reply(400, body))
            }
            _ => usual(request),
        }
    });
    let subject = Subject::start_with(fleet, aws.source(), ORGANIZATION, Shard::default());
    assert_eq!(subject.ready().await.discovery, Tried::Ok);
    let failed = published(&subject.store, |state| state.discovery == Tried::Failed).await;
    let hour = Duration::from_secs(3600);
    assert!((hour..hour + Duration::from_secs(60)).contains(&start.elapsed()));
    assert_eq!(ids(&failed), all(25));
    // A reload applies meanwhile, to the accounts that are known.
    let excluded = Fleet::id(3);
    subject.reload(&format!(
        "organization: {{ role_name: iam-key-exporter, exclude: ['{excluded}'] }}\n"
    ));
    published(&subject.store, |state| state.accounts.len() == 24).await;
    published(&subject.store, |state| state.discovery == Tried::Ok).await;
    assert!(start.elapsed() < 3 * hour + Duration::from_secs(15 * 60));
}

#[tokio::test(start_paused = true)]
async fn reloads_list_accounts_again_only_if_they_want_other_ones() {
    let latency = Duration::from_millis(700);
    let fleet = Arc::new(Fleet { latency, unrotated: 0, ..Fleet::new(45, 1) });
    let mut usual = fleet.paused();
    let listed = Arc::new(AtomicUsize::new(0));
    let count = listed.clone();
    let aws = FakeAws::new(move |request| {
        if request.operation == "ListAccounts" {
            count.fetch_add(1, Ordering::Relaxed);
        }
        usual(request)
    });
    let subject = Subject::start_with(fleet, aws.source(), ORGANIZATION, Shard::default());
    let pages = || listed.swap(0, Ordering::Relaxed);
    let start = Instant::now();
    let mut days = 1..;
    let mut reload = || {
        let days = days.next().expect("more days");
        subject.reload(&format!("{ORGANIZATION}rotation: {{ max_age: {days}d }}\n"));
    };
    // The listing ends in spite of them.
    while subject.store.snapshot().discovery != Tried::Ok {
        reload();
        sleep(Duration::from_millis(200)).await;
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    subject.ready().await;
    // An empty page and three of twenty accounts.
    assert_eq!(pages(), 4);
    for _ in 0..100 {
        reload();
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(pages(), 0);
    let excluded = Fleet::id(3);
    subject.reload(&format!(
        "organization: {{ role_name: iam-key-exporter, exclude: ['{excluded}'] }}\n"
    ));
    published(&subject.store, |state| state.accounts.len() == 44).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(pages(), 4);
}

#[tokio::test(start_paused = true)]
async fn an_organization_without_accounts_is_a_discovery_that_failed() {
    let fleet = Arc::new(Fleet { unrotated: 0, ..Fleet::new(3, 1) });
    let (mut usual, start) = (fleet.paused(), Instant::now());
    let aws = FakeAws::new(move |request| match request.operation.as_str() {
        "ListAccounts" if start.elapsed() > Duration::from_secs(1800) => {
            (Duration::ZERO, Answer::Reply(200, "{\"Accounts\":[]}".to_owned()))
        }
        _ => usual(request),
    });
    let subject = Subject::start_with(fleet, aws.source(), ORGANIZATION, Shard::default());
    subject.ready().await;
    let state = published(&subject.store, |state| state.discovery == Tried::Failed).await;
    assert_eq!(ids(&state), all(3));
    sleep(Duration::from_secs(3 * 3600)).await;
    assert_eq!(ids(&subject.store.snapshot()), all(3));
}

#[tokio::test(start_paused = true)]
async fn only_accounts_that_are_closed_or_suspended_leave() {
    let fleet = Arc::new(Fleet { unrotated: 0, ..Fleet::new(6, 1) });
    let (mut usual, start) = (fleet.paused(), Instant::now());
    let states =
        ["ACTIVE", "PENDING_ACTIVATION", "NEW_STATE", "PENDING_CLOSURE", "SUSPENDED", "CLOSED"];
    let aws = FakeAws::new(move |request| {
        let (delay, answer) = usual(request);
        let is_list = request.operation == "ListAccounts";
        let Answer::Reply(status, mut body) = answer else { return (delay, answer) };
        if is_list && start.elapsed() > Duration::from_secs(1800) {
            for (index, state) in states.iter().enumerate() {
                let name = format!("\"Name\":\"account {index}\",\"State\":");
                body = body.replace(&format!("{name}\"ACTIVE\""), &format!("{name}\"{state}\""));
            }
        }
        (delay, Answer::Reply(status, body))
    });
    let subject = Subject::start_with(fleet, aws.source(), ORGANIZATION, Shard::default());
    assert_eq!(ids(&subject.ready().await), all(6));
    let state = published(&subject.store, |state| state.accounts.len() < 6).await;
    assert_eq!(ids(&state), all(3));
}

#[tokio::test(start_paused = true)]
async fn first_reports_do_not_wait_for_the_confirmations_of_other_accounts() {
    let latency = Duration::from_millis(100);
    let fleet = Fleet { latency, unrotated: 50, ..Fleet::new(60, 50) };
    let fleet = Arc::new(fleet);
    let config = FakeAws::new(fleet.paused()).config_with(sdk_config("http://in-memory"));
    let requests = ExporterMetrics::new(Filter::default(), []).aws_requests;
    let source = Source::Aws(Aws::with_config(&config, clock(), requests, 4));
    let subject = Subject::start_with(fleet, source, ORGANIZATION, Shard::default());
    let start = Instant::now();
    published(&subject.store, |state| {
        state.accounts.iter().filter(|account| account.report.is_some()).count() == 60
    })
    .await;
    // Of each account an identity and four report calls. The first results are published after 10 s.
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn three_shards_have_every_account_once() {
    let mut union = BTreeSet::new();
    for index in 0..3 {
        let shard = Shard { index, total: 3 };
        let fleet = Fleet { unrotated: 0, ..Fleet::new(100, 1) };
        let state = Subject::start_shard(fleet, ORGANIZATION, shard).ready().await;
        assert!((15..=55).contains(&state.accounts.len()), "{}", state.accounts.len());
        for id in ids(&state) {
            assert!(union.insert(id), "on two shards");
        }
    }
    assert_eq!(union, all(100));
}

#[tokio::test(start_paused = true)]
async fn roles_of_each_partition_are_used_in_its_region() {
    let regions = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let of_script = regions.clone();
    let fleet = Arc::new(Fleet::new(4, 1));
    let mut usual = fleet.paused();
    let aws = FakeAws::new(move |request| {
        let (operation, region) = (request.operation.clone(), request.region.clone());
        of_script.lock().expect("regions").insert((operation, region));
        usual(request)
    });
    let account = |index: usize, partition: &str| {
        let id = Fleet::id(index);
        format!("  - {{ id: '{id}', role_arn: 'arn:{partition}:iam::{id}:role/r' }}\n")
    };
    let partitions = [account(1, "aws"), account(2, "aws-cn"), account(3, "aws-us-gov")];
    let config = format!("accounts:\n{}", partitions.concat());
    let subject = Subject::start_with(fleet, aws.source(), &config, Shard::default());
    subject.ready().await;
    let regions = regions.lock().expect("regions");
    let of = |wanted: &str| -> Vec<&str> {
        let of_operation = regions.iter().filter(|(operation, _)| operation == wanted);
        of_operation.map(|(_, region)| region.as_str()).collect()
    };
    assert_eq!(of("GetCredentialReport"), ["cn-north-1", "us-east-1", "us-gov-west-1"]);
}

/// The built exporter with a fleet at a socket.
fn exporter_of(
    fleet: &Arc<Fleet>,
    runtime: &Runtime,
    flags: &[&str],
) -> (Server, Exporter, Folder) {
    let server = runtime.block_on(FakeAws::new(fleet.live()).listen());
    let folder = Folder::new();
    folder.write("config.yaml", ORGANIZATION);
    let file = format!("{}/config.yaml", folder.path());
    let mut command = command(&["--config.file", &file, "--web.listen-address", "127.0.0.1:0"]);
    command.args(flags);
    command.env("AWS_ENDPOINT_URL", server.url());
    command.env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret");
    (server, Exporter::spawn(command), folder)
}

#[test]
fn of_a_thousand_accounts_a_hundred_broken_ones_keep_nobody_waiting() {
    let fault = |index: usize| match index {
        1..=50 => Fault::Denied,
        51..=70 => Fault::Hangs,
        71..=80 => Fault::Garbage,
        81..=100 => Fault::Throttled,
        _ => Fault::None,
    };
    let fleet = Arc::new(Fleet {
        latency: Duration::from_millis(60),
        generation: Duration::from_secs(2),
        fault,
        ..Fleet::new(1_000, 5)
    });
    let runtime = Runtime::new().expect("a runtime");
    let (_server, exporter, _folder) = exporter_of(&fleet, &runtime, &["--refresh.timeout", "30s"]);
    let ok = "iam_exporter_accounts{state=\"ok\"}";
    let failing = "iam_exporter_accounts{state=\"failing\"}";
    exporter.page_where(|page| value(page, ok) == Some(900.0));
    let page = exporter.page_where(|page| value(page, failing) == Some(100.0));
    assert_eq!(value(&page, ok), Some(900.0));
    let count = |name: &str, end: &str| {
        page.lines().filter(|line| line.starts_with(name) && line.ends_with(end)).count()
    };
    assert_eq!(count("iam_unrotated_keys_total{", " 1"), 900);
    assert_eq!(count("iam_users{", " 5"), 900);
    assert_eq!(count("iam_account_info{", " 1"), 1_000);
    let of_reason = |reason: &str| {
        let label = format!("reason=\"{reason}\"}} ");
        let lines = page.lines().filter(|line| line.starts_with("iam_refresh_failures_total{"));
        lines.filter(|line| line.contains(&label) && !line.ends_with(" 0")).count()
    };
    assert_eq!(of_reason("access_denied"), 50);
    assert_eq!(of_reason("timeout"), 20);
    assert_eq!(of_reason("malformed_report"), 10);
    assert_eq!(of_reason("throttled"), 20);
}
