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
pub mod faults;
mod progress;
mod report;
mod schedule;

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::config::{Access, Config};
use crate::failure::Failure;
use crate::source::Source;
use crate::state::{Account, Tried};
use crate::store::Store;

use account::{RefreshOutcome, refresh_account};
use context::RefreshContext;
use faults::{Fault, Faults};
pub use schedule::Schedule;

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
        faults.refresh.note(Some(account.label()), "refresh", failure.as_ref(), Tried::Ok);
        if outcome.has_details {
            faults.note_details(&target, &account, &outcome.detail_failures, clock.now());
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
        let overload = outcome.detail_failures.into_values().find(|it| it.reason.is_overload());
        // Each interval still makes contact with the account, because the page says that AWS
        // refuses.
        match overload {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
