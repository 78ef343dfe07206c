//! The schedule, in paused time: hours pass in a moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use iam_key_exporter::clock::Clock;
use iam_key_exporter::config::Config;
use iam_key_exporter::failure::Reason;
use iam_key_exporter::metrics::exporter::ExporterMetrics;
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::refresh::Schedule;
use iam_key_exporter::render::Renderer;
use iam_key_exporter::source::Source;
use iam_key_exporter::source::demo::Demo;
use iam_key_exporter::source::files::{Files, KEEP_MISSING};
use iam_key_exporter::state::{Account, Attempt, State};
use iam_key_exporter::store::Store;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::support::answers::{error, generating, report_at};
use crate::support::exporter::value;
use crate::support::fake_aws::{FakeAws, account};
use crate::support::folder::Folder;
use crate::support::protocol::Answer;
use crate::support::refresh::{self, published};
use crate::support::report::{OLD, of_one};
use crate::support::time::{beginning, clock};

/// AWS as it is: a report younger than four hours is given again, an older one is expired.
fn real_life() -> impl FnMut(&str) -> Answer + Send + 'static {
    let start = Instant::now();
    let mut generated = beginning();
    move |action| {
        let now = beginning() + start.elapsed();
        let expired = now - generated >= TimeDelta::hours(4);
        match action {
            "GenerateCredentialReport" => {
                if expired {
                    generated = now;
                }
                generating("COMPLETE")
            }
            _ if expired => error(410, "ReportExpired"),
            _ => report_at(&of_one("alpha"), generated),
        }
    }
}

/// Refreshes in the background, without confirmation: these tests are about reports.
fn run(source: Source) -> Arc<Store> {
    refresh::run(source, Config { confirm: None, ..Config::default() })
}

/// The number of calls of each operation since the last time.
fn counts(aws: &FakeAws) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for (_, action) in aws.calls() {
        *counts.entry(action).or_default() += 1;
    }
    counts
}

fn count(get: usize, generate: usize) -> BTreeMap<String, usize> {
    [("GetCredentialReport", get), ("GenerateCredentialReport", generate)]
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_next_refresh_is_known_and_keeps_its_time() {
    let aws = FakeAws::new(account(real_life()));
    let store = run(aws.source());
    let next = |state: &State| state.accounts.first().and_then(|account| account.refresh.next);
    let first = next(&published(&store, |state| next(state).is_some()).await).expect("a time");
    let clock = clock();
    assert!(first > clock.now() && first <= clock.now() + TimeDelta::minutes(5), "{first}");
    let then = published(&store, |state| next(state) > Some(first)).await;
    let late = clock.now() - first;
    assert!((TimeDelta::zero()..TimeDelta::seconds(5)).contains(&late), "{late}");
    assert_eq!(next(&then), Some(first + TimeDelta::minutes(5)));
}

#[tokio::test(start_paused = true)]
async fn four_hours_on_a_fresh_report_cost_one_get_and_their_end_one_generate() {
    let aws = FakeAws::new(account(real_life()));
    let store = run(aws.source());
    published(&store, |state| state.ready).await;
    assert_eq!(counts(&aws).remove("GetCredentialReport"), Some(1));

    // In addition, each refresh calls GetCallerIdentity.
    let with_identity = |mut calls: BTreeMap<String, usize>, count: usize| {
        calls.insert("GetCallerIdentity".to_owned(), count);
        calls
    };
    sleep(Duration::from_secs(4 * 3600 - 1)).await;
    assert_eq!(counts(&aws), with_identity(count(0, 0), 48));

    sleep(Duration::from_secs(301)).await;
    assert_eq!(counts(&aws), with_identity(count(2, 1), 1));

    sleep(Duration::from_secs(3 * 3600)).await;
    assert_eq!(counts(&aws), with_identity(count(0, 0), 36));
}

#[tokio::test]
async fn a_panic_over_a_file_waits_for_the_next_refresh() {
    let folder = Folder::new();
    folder.write("a.csv", &of_one("alpha"));
    let source = Source::Files(Files::open(folder.path().into(), KEEP_MISSING).expect("a folder"));
    let store = Arc::new(Store::default());
    let config = watch::channel(Arc::new(Config::default())).1;
    // Each refresh first asks for the time of its report.
    let asked = AtomicUsize::new(0);
    let clock = Clock::new(move || {
        assert_ne!(asked.fetch_add(1, Ordering::Relaxed) % 3, 0, "on purpose");
        beginning()
    });
    let schedule = Schedule { interval: Duration::from_secs(3600), ..Schedule::default() };
    tokio::spawn(iam_key_exporter::refresh::run(source, schedule, clock, config, store.clone()));
    let failures =
        |state: &State| state.unidentified.first().map(|account| account.refresh.failures);
    let failures = |state: &State| failures(state).map(|it| it.get(Reason::InternalError));
    published(&store, |state| failures(state) >= Some(1)).await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(failures(&store.snapshot()), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_day_costs_some_fifteen_report_calls() {
    let aws = FakeAws::new(account(real_life()));
    run(aws.source());
    sleep(Duration::from_secs(24 * 3600)).await;
    let calls: usize = counts(&aws)
        .into_iter()
        .filter(|(action, _)| action.ends_with("CredentialReport"))
        .map(|(_, count)| count)
        .sum();
    // One at the start, and three for each of the five times that the report has expired since.
    assert_eq!(calls, 16);
}

/// Lets a fault last for hours and returns the longest number of calls in any 60 seconds, and in all.
async fn calls_under(answer: Answer, hours: u64) -> (usize, usize) {
    let aws = FakeAws::new(account(move |_: &str| answer.clone()));
    run(aws.source());
    sleep(Duration::from_secs(hours * 3600)).await;
    let calls = aws.calls();
    let times: Vec<Instant> = calls
        .iter()
        .filter(|(_, action)| action != "GetCallerIdentity")
        .map(|(time, _)| *time)
        .collect();
    let minute = Duration::from_secs(60);
    let most = (0..times.len())
        .map(|first| {
            times[first..].iter().take_while(|time| **time - times[first] < minute).count()
        })
        .max();
    (most.unwrap_or(0), times.len())
}

#[tokio::test(start_paused = true)]
async fn no_fault_costs_more_than_six_calls_a_minute() {
    for (fault, per_hour) in [
        (error(403, "AccessDenied"), 40),
        (error(400, "Throttling"), 40),
        (error(500, "ServiceFailure"), 100),
        (error(404, "ReportInProgress"), 120),
        (Answer::Hang, 100),
        (Answer::Reply(200, "garbage".to_owned()), 100),
    ] {
        let name = format!("{fault:?}");
        let (most, all) = calls_under(fault, 10).await;
        assert!(most <= 6, "{most} calls in a minute under {name}");
        assert!(all <= per_hour * 10, "{all} calls in 10 hours under {name}");
        assert!(all >= 20, "it keeps trying: {all} calls under {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_fault_is_seen_within_the_longest_pause() {
    let start = Instant::now();
    let mut well = real_life();
    let aws = FakeAws::new(account(move |action: &str| {
        if start.elapsed() < Duration::from_secs(3600) {
            error(400, "Throttling")
        } else {
            well(action)
        }
    }));
    let store = run(aws.source());
    sleep(Duration::from_secs(3600)).await;
    let account = store.snapshot().accounts[0].clone();
    assert_eq!(account.refresh.last.and_then(|last| last.failure), Some(Reason::Throttled));
    let healed = published(&store, |state| state.accounts[0].refresh.last_success.is_some());
    timeout(Duration::from_secs(15 * 60 + 10), healed).await.expect("in time");
}

#[test]
fn pauses_grow_from_one_minute_to_the_ceiling_of_their_reason() {
    let schedule = Schedule::default();
    for (reason, ceiling) in [(Reason::Throttled, 15 * 60), (Reason::Network, 5 * 60)] {
        for failures in [1, 2, 3, 4, 5, 50] {
            let most = ceiling.min(60 << failures.min(10));
            let pauses: Vec<u64> =
                (0..1_000).map(|_| schedule.pause(failures, reason).as_secs()).collect();
            let (least, longest) = (pauses.iter().min(), pauses.iter().max());
            // Full jitter: of a thousand pauses some come near each end.
            assert!(least.is_some_and(|least| (60..60 + most / 10).contains(least)), "{least:?}");
            assert!(
                longest.is_some_and(|longest| (most - most / 10..=most).contains(longest)),
                "{longest:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn accounts_are_spread_over_the_interval_after_a_first_pass_at_once() {
    let source = Source::Demo(Demo::new(300, 1, 1, beginning()));
    let start = Instant::now();
    let store = run(source);
    published(&store, |state| state.ready).await;
    assert!(start.elapsed() < Duration::from_secs(1));

    // Each account once in five minutes, about as many in each of them.
    let mut before = store.snapshot();
    for _ in 0..5 {
        sleep(Duration::from_secs(60)).await;
        let after = store.snapshot();
        let pairs = before.accounts.iter().zip(&after.accounts);
        let refreshed = pairs.filter(|(a, b)| a.refresh.last_success != b.refresh.last_success);
        assert!((30..=90).contains(&refreshed.count()));
        before = after;
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_flagged_within_a_minute_of_its_limit_without_a_refresh() {
    // At its limit of 90 days an hour after the beginning, and flagged from 90.01 days on.
    let rotated = beginning() - TimeDelta::days(90) + TimeDelta::hours(1);
    let csv = of_one("alpha").replace(OLD, &rotated.to_rfc3339());
    let aws = FakeAws::new(account(move |_: &str| report_at(&csv, beginning())));
    let store = run(aws.source());
    let metrics = ExporterMetrics::new(Filter::default(), []);
    let (_config, configs) = watch::channel(Arc::new(Config::default()));
    let renderer = Renderer { config: configs, filter: Filter::default(), clock: clock(), metrics };
    let (sender, mut snapshots) =
        watch::channel(Arc::new(renderer.snapshot(State::default(), None)));
    tokio::spawn(renderer.run(store, sender));

    let flagged = |text: &str| value(text, "iam_unrotated_keys_total") == Some(1.0);
    let start = Instant::now();
    let crossing = Duration::from_secs(3600 + 864);
    snapshots
        .wait_for(|snapshot| {
            flagged(&String::from_utf8(snapshot.page.text().flatten().collect()).expect("UTF-8"))
        })
        .await
        .expect("a page");
    let elapsed = start.elapsed();
    assert!(elapsed >= crossing && elapsed <= crossing + Duration::from_secs(61), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fleet_at_rest_is_rendered_once_a_minute_and_a_change_within_a_second() {
    let source = Source::Demo(Demo::new(60, 3, 1, beginning()));
    let store = refresh::run(source, Config { confirm: None, ..Config::default() });
    let metrics = ExporterMetrics::new(Filter::default(), []);
    let (_config, configs) = watch::channel(Arc::new(Config::default()));
    let renderer = Renderer { config: configs, filter: Filter::default(), clock: clock(), metrics };
    let (sender, mut snapshots) =
        watch::channel(Arc::new(renderer.snapshot(State::default(), None)));
    tokio::spawn(renderer.run(store.clone(), sender));
    published(&store, |state| state.ready).await;
    sleep(Duration::from_secs(10)).await;

    // Sixty refreshes in five minutes, in which nothing changes.
    let (start, mut renders) = (Instant::now(), 0);
    snapshots.mark_unchanged();
    while let Ok(changed) = timeout_at(start + Duration::from_secs(300), snapshots.changed()).await
    {
        changed.expect("a page");
        renders += 1;
    }
    assert!((4..=5).contains(&renders), "{renders}");

    let target = store.targets().remove(0);
    let (_, account) = store.get(&target.key).expect("an account");
    let mut failed = Account::clone(&account);
    failed.refresh.last =
        Some(Attempt { failure: Some(Reason::AccessDenied), duration: Duration::ZERO });
    let start = Instant::now();
    store.publish(&target, failed);
    snapshots.changed().await.expect("a page");
    assert!(start.elapsed() <= Duration::from_secs(1), "{:?}", start.elapsed());
}
