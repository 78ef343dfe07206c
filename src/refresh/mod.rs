//! The schedule: when each account is refreshed, and how the result is published. [`account`] has
//! the refresh itself.
//!
//! Every account has its own task, so that none waits for another. A task refreshes its account at
//! once and then once in each interval, at a time within the interval that a hash of the account
//! chooses. After a failure it waits for [`Schedule::pause`].

pub mod account;
mod confirm;
pub mod context;
mod details;
mod progress;
mod report;

use std::collections::BTreeMap;
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::RngExt;
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::config::{Access, Config};
use crate::evidence::{EvidenceKind, Standing};
use crate::failure::{Failure, Reason};
use crate::shard::Shard;
use crate::source::Source;
use crate::state::{Account, Refresh, Tried, UNKNOWN_ACCOUNT};
use crate::store::Store;

use account::{RefreshOutcome, refresh_account};
use context::RefreshContext;

/// When accounts are refreshed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Each account is refreshed once in this time.
    pub interval: Duration,
    /// A refresh that takes longer fails.
    pub timeout: Duration,
    /// The shortest pause after a failure.
    pub min_pause: Duration,
    /// The longest pause after throttling. After other failures it is `interval`, if that is
    /// shorter.
    pub max_pause: Duration,
    /// The number of refreshes that run at the same time, if they do not call AWS.
    pub concurrency: usize,
    /// Which of the accounts this process refreshes.
    pub shard: Shard,
}

impl Default for Schedule {
    /// The defaults of the command line.
    fn default() -> Schedule {
        Schedule {
            interval: Duration::from_secs(5 * 60),
            timeout: Duration::from_secs(2 * 60),
            min_pause: Duration::from_secs(60),
            max_pause: Duration::from_secs(15 * 60),
            concurrency: 32,
            shard: Shard::default(),
        }
    }
}

impl Schedule {
    /// How long to wait after this number of failures in a row, the last one for this reason: a random
    /// time between the shortest pause and a ceiling that doubles with each failure. If AWS asks for
    /// fewer calls, the ceiling is at most `max_pause`, else at most `interval`, and never below the
    /// shortest pause.
    pub fn pause(&self, failures: u32, reason: Reason) -> Duration {
        let max =
            if reason.is_overload() { self.max_pause } else { self.interval.min(self.max_pause) };
        let ceiling = self.min_pause.saturating_mul(1 << failures.min(16));
        let ceiling = ceiling.min(max).max(self.min_pause);
        rand::rng().random_range(self.min_pause..=ceiling)
    }

    /// The next regular refresh of this account after `now`, of a schedule that began at `start`.
    fn next(&self, key: &str, start: Instant, now: Instant) -> Instant {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
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
///
/// Each refresh uses the configuration of that moment. Accounts are listed again after
/// [`Source::discovery_interval`], and when the configuration wants other accounts than before.
pub async fn run(
    source: Source,
    schedule: Schedule,
    clock: Clock,
    mut config: watch::Receiver<Arc<Config>>,
    store: Arc<Store>,
) {
    let concurrency = schedule.concurrency;
    let shared = Arc::new(Shared {
        source,
        schedule,
        clock,
        config: config.clone(),
        start: Instant::now(),
        permits: Semaphore::new(concurrency),
        store,
    });
    let Shared { source, schedule, store, .. } = &*shared;
    let mut running = Running::default();
    let (mut discovery, mut failures) = (Fault::default(), 0);
    let mut current = config.borrow_and_update().clone();
    loop {
        source.forget_credentials();
        // Known accounts do not wait for the listing.
        running.update(&shared, &current);
        let listed = current.clone();
        let failure = tokio::select! {
            found = source.discover(&listed) => found.err(),
            () = running.follow(&shared, &mut config, &mut current) => continue,
        };
        discovery.note(None, "listing accounts", failure.as_ref(), Tried::Ok);
        running.update(&shared, &current);
        store.set_discovery(failure.as_ref(), source.keep_replaced());
        let pause = match failure {
            Some(failure) if source.calls_aws() => {
                failures += 1;
                schedule.pause(failures, failure.reason)
            }
            _ => {
                failures = 0;
                source.discovery_interval().unwrap_or(schedule.interval)
            }
        };
        let again = Instant::now() + pause;
        while Instant::now() < again {
            tokio::select! {
                () = sleep_until(again.min(Instant::now() + schedule.interval)) => {}
                () = running.follow(&shared, &mut config, &mut current) => break,
            }
            running.update(&shared, &current);
        }
    }
}

/// What may have changed with a configuration.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// Nothing: a reload failed, and the configuration is the one before.
    Nothing,
    /// A profile may have new keys, even if the file is the same.
    Credentials,
    /// Which accounts there are.
    Accounts,
}

impl Change {
    fn between(before: &Arc<Config>, current: &Arc<Config>) -> Change {
        let is_same =
            before.accounts == current.accounts && before.organization == current.organization;
        if Arc::ptr_eq(before, current) {
            Change::Nothing
        } else if is_same {
            Change::Credentials
        } else {
            Change::Accounts
        }
    }
}

/// The tasks that keep the accounts fresh, by the keys of their targets.
#[derive(Default)]
struct Running {
    // Dropping the set ends its tasks.
    tasks: JoinSet<()>,
    by_key: BTreeMap<String, (Access, AbortHandle)>,
}

impl Running {
    /// Ends when a reload changes the accounts of the configuration, which is kept in `current`.
    /// After any other reload credentials are read again, but accounts are not listed again.
    async fn follow(
        &mut self,
        shared: &Arc<Shared>,
        config: &mut watch::Receiver<Arc<Config>>,
        current: &mut Arc<Config>,
    ) {
        while config.changed().await.is_ok() {
            let new = config.borrow_and_update().clone();
            let before = std::mem::replace(current, new);
            match Change::between(&before, current) {
                Change::Nothing => {}
                Change::Accounts => return,
                Change::Credentials => {
                    shared.source.forget_credentials();
                    self.update(shared, current);
                }
            }
        }
        // Without a sender there are no more changes.
        pending().await
    }

    /// Publishes the known accounts. Ends the tasks of accounts that are gone or have other
    /// credentials now, and starts the missing tasks.
    fn update(&mut self, shared: &Arc<Shared>, config: &Config) {
        let Shared { source, schedule, store, .. } = &**shared;
        let mut known = source.known(config);
        known.targets.retain(|target| schedule.shard.owns(target.label()));
        store.set_targets(known);
        let targets: BTreeMap<String, Access> =
            store.targets().into_iter().map(|target| (target.key, target.access)).collect();
        self.by_key.retain(|key, (access, task)| {
            let keep = targets.get(key) == Some(access) && !task.is_finished();
            if !keep {
                task.abort();
            }
            keep
        });
        source.retain(&targets.values().collect());
        for (key, access) in targets {
            self.by_key.entry(key).or_insert_with_key(|key| {
                (access, self.tasks.spawn(keep_fresh(shared.clone(), key.clone())))
            });
        }
        while self.tasks.try_join_next().is_some() {}
    }
}

/// What the tasks share.
struct Shared {
    source: Source,
    schedule: Schedule,
    clock: Clock,
    config: watch::Receiver<Arc<Config>>,
    start: Instant,
    permits: Semaphore,
    store: Arc<Store>,
}

async fn keep_fresh(shared: Arc<Shared>, key: String) {
    let Shared { source, schedule, clock, config, store, .. } = &*shared;
    let (mut failures, mut overloads) = (0, 0);
    let mut faults = Faults::default();
    // An earlier task may have refreshed the account with another role or profile.
    let mut force = true;
    // The time of the next refresh, the earliest time to ask for details again, and the end of the
    // pause between calls for reports.
    let mut regular = Instant::now();
    let mut details_from = Instant::now();
    let mut judged_by = config.borrow().clone();
    let mut pause: Option<(Instant, Failure)> = None;
    loop {
        let permit = if source.calls_aws() { None } else { shared.permits.acquire().await.ok() };
        source.admit().await;
        let Some((target, account)) = store.get(&key) else { return };
        let config = config.borrow().clone();
        if std::mem::replace(&mut judged_by, config.clone()) != config {
            // The new configuration may need other details.
            details_from = Instant::now();
        }
        let is_regular = Instant::now() >= regular;
        let details = is_regular && Instant::now() >= details_from;
        let paused = pause.clone().filter(|(end, _)| Instant::now() < *end);
        let paused = paused.map(|(_, failure)| failure);
        let context = RefreshContext {
            source,
            timeout: schedule.timeout,
            clock,
            config: &config,
            force,
            details,
            paused: paused.as_ref(),
        };
        let publish = |account: &Account| store.publish(&target, account.clone());
        // On the heap, so that an account that waits for its next refresh uses no memory for it.
        let outcome = Box::pin(refresh_account(&context, &target, &account, publish)).await;
        let last_id = account.id.clone();
        let RefreshOutcome { mut account, reached, failure, .. } = outcome;
        drop(permit);
        force &= failure.is_some();
        faults.follow(&last_id, &account.id);
        let id = Some(account.label());
        faults.refresh.note(id, "refresh", failure.as_ref(), Tried::Ok);
        if outcome.has_details {
            let Refresh { confirmation, tags, name, service_credentials, .. } = account.refresh;
            let control_data = try_of_failed_call(&faults.evidence, &account, clock.now());
            // A name of the configuration says nothing of the alias.
            let name = if target.name.is_empty() { name } else { Tried::NotYet };
            faults.confirmation.note(
                id,
                "confirmation",
                outcome.confirmation.as_ref(),
                confirmation,
            );
            faults.tags.note(id, "reading tags", outcome.tags.as_ref(), tags);
            faults.alias.note(id, "reading the alias", outcome.alias.as_ref(), name);
            let (what, listing) =
                ("listing service-specific credentials", outcome.service_credentials.as_ref());
            faults.service_credentials.note(id, what, listing, service_credentials);
            let what = "reading data for controls";
            faults.evidence.note(id, what, outcome.evidence.as_ref(), control_data);
        }
        let now = Instant::now();
        match failure {
            None => (failures, pause) = (0, None),
            Some(failure) if reached && Some(&failure) == paused.as_ref() => {}
            // A file can be read at any time, but AWS needs a pause.
            Some(failure) if source.calls_aws() => {
                failures += 1;
                pause = Some((now + schedule.pause(failures, failure.reason), failure));
            }
            Some(_) => {}
        }
        let overload = |failure: Option<Failure>| failure.filter(|it| it.reason.is_overload());
        // Each interval still makes contact with the account, because the page says that AWS
        // refuses.
        let others = [
            outcome.confirmation,
            outcome.tags,
            outcome.alias,
            outcome.service_credentials,
            outcome.evidence,
        ];
        match others.into_iter().find_map(overload) {
            Some(overload) => {
                overloads += 1;
                details_from = now + schedule.pause(overloads, overload.reason);
            }
            None if outcome.has_details => overloads = 0,
            None => {}
        }
        if !reached && source.calls_aws() {
            // Details follow with the next attempt.
            regular = now;
        } else if is_regular {
            regular = schedule.next(&key, shared.start, now);
        }
        let wake = match &pause {
            // Without contact, there is nothing else to refresh.
            Some((end, _)) if !reached => *end,
            Some((end, _)) => regular.min(*end),
            None => regular,
        };
        account.refresh.next = Some(clock.now() + (wake - now));
        store.publish(&target, account);
        sleep_until(wake).await;
    }
}

/// How the last call went of the kind of data for controls that failed before. A failure begins with the name
/// of its call.
fn try_of_failed_call(before: &Fault, account: &Account, now: DateTime<Utc>) -> Tried {
    let message = before.0.as_ref().map_or("", |failure| failure.message.as_str());
    let failed = |kind: &EvidenceKind| {
        let (_, call) = kind.permission().split_once(':').unwrap_or_default();
        message.starts_with(call)
    };
    let failed = EvidenceKind::ALL.into_iter().find(failed);
    match failed.map(|kind| account.evidence.standing(kind, now)) {
        Some(Standing::Good) => Tried::Ok,
        Some(Standing::Failed(_)) => Tried::Failed,
        Some(Standing::NotRead | Standing::Old) | None => Tried::NotYet,
    }
}

/// Faults of one account. Each is logged when it begins and when it ends.
#[derive(Default)]
struct Faults {
    refresh: Fault,
    confirmation: Fault,
    tags: Fault,
    alias: Fault,
    service_credentials: Fault,
    evidence: Fault,
}

impl Faults {
    /// Those of another account are over, and nothing of this one works again.
    fn follow(&mut self, last_id: &str, id: &str) {
        if last_id != id && last_id != UNKNOWN_ACCOUNT {
            *self = Faults::default();
        }
    }
}

/// A new message is a new fault: after one permission is added, AWS names the next missing one.
#[derive(Default)]
struct Fault(Option<Failure>);

impl Fault {
    /// Without a failure it works again only if it was tried.
    fn note(&mut self, account: Option<&str>, what: &str, failure: Option<&Failure>, tried: Tried) {
        let before = std::mem::replace(&mut self.0, failure.cloned());
        match failure {
            Some(failure) if before.as_ref() == Some(failure) => {
                let (reason, error) = (failure.reason.as_str(), &failure.message);
                debug!(account, reason, error, "{what} failed again");
            }
            Some(Failure { reason, message }) => {
                warn!(account, reason = reason.as_str(), error = message, "{what} failed");
            }
            None if before.is_some() && tried == Tried::Ok => info!(account, "{what} works again"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{AccountSummary, Reading};
    use crate::logging::{LogFormat, lines};

    #[test]
    fn a_reload_that_failed_changes_nothing_and_any_other_may_bring_new_credentials() {
        let parse =
            |text| Arc::new(Config::parse(text, "config.yaml".as_ref()).expect("a configuration"));
        let (before, again) = (parse("controls: false"), parse("controls: false"));
        assert_eq!(Change::between(&before, &before.clone()), Change::Nothing);
        assert_eq!(Change::between(&before, &again), Change::Credentials);
        assert_eq!(Change::between(&before, &parse("controls: true")), Change::Credentials);
        let accounts = parse(
            "accounts: [{ id: '123456789012', role_arn: 'arn:aws:iam::123456789012:role/x' }]",
        );
        assert_eq!(Change::between(&before, &accounts), Change::Accounts);
    }

    #[test]
    fn of_another_account_nothing_works_again() {
        let denied = Failure::new(Reason::AccessDenied, "denied");
        let (one, other) = ("111111111111", "222222222222");
        for (last_id, works) in [(UNKNOWN_ACCOUNT, true), (other, true), (one, false)] {
            let text = lines(LogFormat::Logfmt, || {
                let mut faults = Faults::default();
                faults.refresh.note(Some(last_id), "refresh", Some(&denied), Tried::Failed);
                faults.follow(last_id, other);
                faults.refresh.note(Some(other), "refresh", None, Tried::Ok);
            });
            assert_eq!(text.contains("refresh works again"), works, "{last_id}: {text}");
        }
    }

    #[test]
    fn a_fault_is_logged_when_it_begins_changes_and_ends() {
        let denied = |what: &str| Failure::new(Reason::AccessDenied, what);
        let text = lines(LogFormat::Logfmt, || {
            let mut fault = Fault::default();
            for failure in [Some("get"), Some("get"), Some("generate"), None, None] {
                fault.note(None, "refresh", failure.map(denied).as_ref(), Tried::Ok);
            }
        });
        let expected = ["error=get", "error=generate", "refresh works again"];
        assert_eq!(text.lines().count(), expected.len(), "{text}");
        assert!(text.lines().zip(expected).all(|(line, part)| line.contains(part)), "{text}");
    }

    #[test]
    fn data_for_controls_works_again_if_the_call_that_failed_does() {
        let now = Utc::now();
        let mut account = Account::pending("123456789012", "");
        let failure = Failure::new(Reason::ServiceError, "GetAccountSummary: InternalFailure");
        let fault = Fault(Some(failure));
        let tried = |account: &Account| try_of_failed_call(&fault, account, now);
        assert_eq!(tried(&account), Tried::NotYet);
        account.evidence.password_policy = Reading::of(None, now);
        assert_eq!(tried(&account), Tried::NotYet);
        account.evidence.summary.fail(Reason::AccessDenied);
        assert_eq!(tried(&account), Tried::Failed);
        account.evidence.summary = Reading::of(AccountSummary::default(), now);
        account.evidence.password_policy.fail(Reason::AccessDenied);
        assert_eq!(tried(&account), Tried::Ok);
    }

    #[test]
    fn what_was_not_tried_again_does_not_work_again() {
        let denied = Failure::new(Reason::AccessDenied, "denied");
        let text = lines(LogFormat::Logfmt, || {
            for tried in [Tried::NotYet, Tried::Failed] {
                let mut fault = Fault::default();
                fault.note(None, "reading tags", Some(&denied), Tried::Failed);
                fault.note(None, "reading tags", None, tried);
            }
        });
        assert!(text.contains("reading tags failed") && !text.contains("works again"), "{text}");
    }
}
