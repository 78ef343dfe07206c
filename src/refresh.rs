//! The schedule: when each account is refreshed, what a refresh does, and how it is published.
//!
//! Every account has a task of its own, so that none waits for another. A task refreshes its account
//! at once and then once in each interval, at a moment that a hash of the account spreads over the
//! interval. After a failure it pauses as [`Schedule::pause`] says instead.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::RngExt;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::report::Report;
use crate::source::{Failure, Fetch, Fetched, Source, Target};
use crate::state::{Account, Attempt, Reason, Refresh, State};

/// When accounts are refreshed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Each account is refreshed once in this time.
    pub interval: Duration,
    /// A refresh that takes longer fails.
    pub timeout: Duration,
    /// The shortest pause after a failure.
    pub least_pause: Duration,
    /// The longest pause where AWS asks for fewer calls. After other failures it is `interval`.
    pub most_pause: Duration,
}

impl Default for Schedule {
    /// What the command line has when nothing is said there.
    fn default() -> Schedule {
        Schedule {
            interval: Duration::from_secs(5 * 60),
            timeout: Duration::from_secs(2 * 60),
            least_pause: Duration::from_secs(60),
            most_pause: Duration::from_secs(15 * 60),
        }
    }
}

impl Schedule {
    /// How long to wait after so many failures in a row, the last one for this reason: something
    /// between the shortest pause and a ceiling that doubles with each failure. Where AWS asks for
    /// fewer calls the ceiling ends at `most_pause`; else at `interval`, since nobody gains from a
    /// later recovery.
    pub fn pause(&self, failures: u32, reason: Reason) -> Duration {
        let most = match reason.is_overload() {
            true => self.most_pause,
            false => self.interval.min(self.most_pause),
        };
        let ceiling = self.least_pause.saturating_mul(1 << failures.min(16));
        let ceiling = ceiling.min(most).max(self.least_pause);
        rand::rng().random_range(self.least_pause..=ceiling)
    }

    /// The next regular refresh of this account after `now`, of a schedule that began at `start`.
    fn next(&self, target: &Target, start: Instant, now: Instant) -> Instant {
        let mut hasher = DefaultHasher::new();
        target.key.hash(&mut hasher);
        let interval = self.interval.as_nanos().max(1) as u64;
        let phase = hasher.finish() % interval;
        let elapsed = now.duration_since(start).as_nanos() as u64;
        let wait = match phase.checked_sub(elapsed % interval) {
            Some(wait) if wait > 0 => wait,
            _ => phase + interval - elapsed % interval,
        };
        now + Duration::from_nanos(wait)
    }
}

/// Refreshes every account of the source, for as long as the future is polled.
pub async fn run(
    source: Source,
    schedule: Schedule,
    clock: Clock,
    state: watch::Sender<Arc<State>>,
) {
    let start = Instant::now();
    let interval = schedule.interval;
    let shared = Arc::new(Shared { source, schedule, clock, start, board: Board::new(state) });
    // Dropping the set ends its tasks.
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<Target, AbortHandle> = BTreeMap::new();
    loop {
        match shared.source.targets().await {
            Ok(targets) => {
                shared.board.retain(&targets);
                // A task ends only when it panicked; its account gets another.
                running.retain(|target, task| {
                    let keep = targets.contains(target) && !task.is_finished();
                    if !keep {
                        task.abort();
                    }
                    keep
                });
                for target in targets {
                    running.entry(target).or_insert_with_key(|target| {
                        tasks.spawn(keep_fresh(shared.clone(), target.clone()))
                    });
                }
            }
            Err(failure) => {
                warn!(reason = failure.reason.as_str(), error = %failure, "accounts not listed");
                shared.board.discovery_failed();
            }
        }
        while tasks.try_join_next().is_some() {}
        sleep(interval).await;
    }
}

/// What the tasks share.
struct Shared {
    source: Source,
    schedule: Schedule,
    clock: Clock,
    start: Instant,
    board: Board,
}

async fn keep_fresh(shared: Arc<Shared>, target: Target) {
    let Shared { source, schedule, clock, .. } = &*shared;
    let mut failures = 0;
    let mut last_reason = None;
    loop {
        let Some(account) = shared.board.get(&target) else { return };
        let (account, failure) = refresh(source, &target, &account, schedule.timeout, clock).await;
        let id = account.id.clone();
        shared.board.publish(&target, account);
        match failure {
            None => {
                if failures > 0 {
                    info!(account = id, failures, "refresh works again");
                }
                (failures, last_reason) = (0, None);
                sleep_until(schedule.next(&target, shared.start, Instant::now())).await;
            }
            Some(Failure { reason, message }) => {
                failures += 1;
                let pause = schedule.pause(failures, reason);
                let (reason_str, pause_seconds) = (reason.as_str(), pause.as_secs());
                // Once for a fault, and not again for as long as it lasts.
                if last_reason.replace(reason) == Some(reason) {
                    debug!(
                        account = id,
                        reason = reason_str,
                        error = message,
                        pause_seconds,
                        failures,
                        "refresh failed again"
                    );
                } else {
                    warn!(
                        account = id,
                        reason = reason_str,
                        error = message,
                        pause_seconds,
                        "refresh failed"
                    );
                }
                sleep(pause).await;
            }
        }
    }
}

/// Refreshes an account once: the account as it is afterwards, and what failed.
pub async fn refresh(
    source: &Source,
    target: &Target,
    account: &Account,
    timeout: Duration,
    clock: &Clock,
) -> (Account, Option<Failure>) {
    let started = Instant::now();
    let deadline = started + timeout;
    let fetching = source.fetch(target, account.generated, clock.now(), deadline);
    let Fetch { account_id, report, mut failure } = match timeout_at(deadline, fetching).await {
        Ok(fetch) => fetch,
        Err(_) => Failure::new(
            Reason::Timeout,
            format!("not done within {}", humantime::format_duration(timeout)),
        )
        .into(),
    };
    let mut next =
        Account { refresh: Refresh { last: None, ..account.refresh.clone() }, ..account.clone() };
    if let Some(id) = &account_id {
        next.id.clone_from(id);
    }
    if let Some(Fetched { csv, generated }) = report {
        match read(csv, account_id, &next.id).await {
            Ok(report) => {
                if let Some(id) = &report.account_id {
                    next.id.clone_from(id);
                }
                next.report = Some(Arc::new(report));
                next.generated = Some(generated);
            }
            // A report that cannot be read says more than that a newer one could not be had.
            Err(malformed) => failure = Some(malformed),
        }
    }
    next.note(failure.as_ref().map(|failure| failure.reason), started.elapsed(), clock.now());
    (next, failure)
}

/// Parses away from the tasks that serve scrapes, and logs what was rejected.
async fn read(csv: Vec<u8>, account_id: Option<String>, name: &str) -> Result<Report, Failure> {
    let malformed = |message: String| Failure::new(Reason::MalformedReport, message);
    let report = spawn_blocking(move || Report::parse(&csv))
        .await
        .map_err(|_| malformed("reading the report panicked: please report this".to_owned()))?
        .map_err(|error| malformed(error.to_string()))?;
    match (&account_id, &report.account_id) {
        (Some(expected), Some(found)) if expected != found => {
            return Err(malformed(format!("a report of account {found} instead of {expected}")));
        }
        (None, None) => {
            return Err(malformed("the report has no row that names its account".to_owned()));
        }
        _ => {}
    }
    log_rejected(&report, account_id.as_deref().unwrap_or(name));
    Ok(report)
}

/// How many rejected rows of one report are logged.
const MOST_LOGGED_ROWS: usize = 100;

fn log_rejected(report: &Report, account: &str) {
    for row in report.rejected.iter().take(MOST_LOGGED_ROWS) {
        let problem = row.problem.to_string();
        warn!(account, line = row.line, column = row.column, problem, "row of the report rejected");
    }
    if let Some(more) = report.rejected.len().checked_sub(MOST_LOGGED_ROWS + 1) {
        warn!(account, rows = more + 1, "further rows of the report rejected");
    }
}

impl Account {
    /// Takes down how a refresh went.
    fn note(&mut self, failure: Option<Reason>, duration: Duration, now: DateTime<Utc>) {
        self.refresh.last = Some(Attempt { failure, duration });
        match failure {
            None => self.refresh.last_success = Some(now),
            Some(reason) => self.refresh.failures.count(reason),
        }
    }
}

/// The newest account of each target, and the state that is made of them.
struct Board {
    accounts: Mutex<Accounts>,
    state: watch::Sender<Arc<State>>,
}

#[derive(Default)]
struct Accounts {
    by_target: BTreeMap<Target, Arc<Account>>,
    /// Whether the targets were ever listed.
    known: bool,
    discovery: Option<bool>,
}

impl Board {
    fn new(state: watch::Sender<Arc<State>>) -> Board {
        Board { accounts: Mutex::default(), state }
    }

    fn get(&self, target: &Target) -> Option<Arc<Account>> {
        self.lock().by_target.get(target).cloned()
    }

    /// Publishes the account, unless its target is gone.
    fn publish(&self, target: &Target, account: Account) {
        self.change(|accounts| {
            if let Some(place) = accounts.by_target.get_mut(target) {
                *place = Arc::new(account);
            }
        });
    }

    /// Publishes that these targets, and no others, are there.
    fn retain(&self, targets: &[Target]) {
        self.change(|accounts| {
            accounts.by_target.retain(|target, _| targets.contains(target));
            for target in targets {
                accounts
                    .by_target
                    .entry(target.clone())
                    .or_insert_with(|| Arc::new(Account::pending(&target.id, &target.name)));
            }
            accounts.known = true;
            accounts.discovery = Some(true);
        });
    }

    fn discovery_failed(&self) {
        self.change(|accounts| accounts.discovery = Some(false));
    }

    /// Changes the accounts and publishes the state that they then make, unless that is the same:
    /// accounts that did not change are compared by their pointers.
    fn change(&self, change: impl FnOnce(&mut Accounts)) {
        let mut accounts = self.lock();
        change(&mut accounts);
        let Accounts { by_target, known, discovery } = &*accounts;
        let next = State::new(by_target.values().cloned(), *known, *discovery);
        self.state.send_if_modified(|state| {
            let changed = **state != next;
            if changed {
                *state = Arc::new(next);
            }
            changed
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Accounts> {
        // Nothing that can panic runs between taking the lock and the last change.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
