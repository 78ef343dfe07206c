//! Makes a [`Snapshot`] when a verdict, a count or a state changed, at most once a second, and once
//! a minute for ages, times and durations. So a key that becomes too old shows without a refresh,
//! and a fleet without changes costs almost nothing.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::error;

use crate::clock::Clock;
use crate::config::Config;
use crate::controls::{Control, judge};
use crate::failure::{Failure, FailureCounts};
use crate::findings::Overview;
use crate::metrics::exporter::ExporterMetrics;
use crate::metrics::filter::Filter;
use crate::metrics::page::{self, Page};
use crate::panics::catch;
use crate::policy::Verdict;
use crate::state::{Account, State, Tried};
use crate::store::Store;

/// Changes within this time share a page.
const COALESCE: Duration = Duration::from_secs(1);
/// How long a first change waits for more: at the start, accounts become known and have their
/// reports almost at once.
const SETTLE: Duration = Duration::from_millis(30);
/// A page is never older than this.
const RENEW: Duration = Duration::from_secs(60);

/// The data that is served until the next snapshot.
#[derive(Debug)]
pub struct Snapshot {
    /// The page of metrics.
    pub page: Page,
    /// The state that the page shows.
    pub state: State,
    /// The configuration that was used.
    pub config: Arc<Config>,
    /// The time of the snapshot.
    pub now: DateTime<Utc>,
    /// The time of the configuration, if it could not be read again since.
    pub failed_reload: Option<DateTime<Utc>>,
    overview: OnceLock<Overview>,
}

impl Snapshot {
    /// The summary for people, made for the first request, because most snapshots have none.
    pub fn overview(&self) -> &Overview {
        self.overview.get_or_init(|| Overview::new(&self.state, &self.config, self.now))
    }
}

/// Everything except the state that a snapshot needs.
#[derive(Debug, Clone)]
pub struct Renderer {
    /// The rules, and the tags to show.
    pub config: watch::Receiver<Arc<Config>>,
    /// Decides which metrics are on the page.
    pub filter: Filter,
    /// The clock that gives `now`.
    pub clock: Clock,
    /// Records the page's size and render time.
    pub metrics: ExporterMetrics,
}

impl Renderer {
    /// The state as of now. `before` is the snapshot before it, if there is one.
    pub fn snapshot(&self, state: State, before: Option<&Snapshot>) -> Snapshot {
        self.snapshot_at(self.clock.now(), state, before)
    }

    fn snapshot_at(
        &self,
        now: DateTime<Utc>,
        mut state: State,
        before: Option<&Snapshot>,
    ) -> Snapshot {
        let started = Instant::now();
        let config = self.config.borrow().clone();
        let before = before.map(|before| &before.page);
        let render = |state: &State| Page::render(state, &config, &self.filter, now, before);
        let page = catch(|| render(&state)).unwrap_or_else(|_| {
            drop(leave_out_what_panics(&mut state, &config, now));
            render(&state)
        });
        self.metrics.record_page(&page, now, started.elapsed());
        self.metrics.record_state(&state);
        let failed_reload = self.metrics.failed_reload();
        Snapshot { page, state, config, now, failed_reload, overview: OnceLock::new() }
    }

    /// Keeps the snapshot up to date with the store and the configuration.
    pub async fn run(mut self, store: Arc<Store>, snapshots: watch::Sender<Arc<Snapshot>>) {
        let mut changes = store.changes();
        // Accounts that were published before this count, too.
        changes.mark_changed();
        let mut shown = Shown::default();
        let mut rendered = self.clock.now();
        loop {
            let renewal = Instant::now() + self.until_renewal(rendered);
            loop {
                tokio::select! {
                    changed = changes.changed() => match changed {
                        Ok(()) => sleep(SETTLE).await,
                        Err(_) => return,
                    },
                    changed = self.config.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                    () = sleep_until(renewal) => break,
                }
                changes.mark_unchanged();
                if shown.update(&store.snapshot(), &self.config.borrow(), self.clock.now()) {
                    break;
                }
            }
            let started = Instant::now();
            rendered = self.clock.now();
            let renderer = self.clone();
            changes.mark_unchanged();
            let (state, before) = (store.snapshot(), snapshots.borrow().clone());
            shown.update(&state, &self.config.borrow(), rendered);
            match spawn_blocking(move || renderer.snapshot_at(rendered, state, Some(&before))).await
            {
                Ok(next) => drop(snapshots.send_replace(Arc::new(next))),
                Err(error) => {
                    error!(%error, "page not rendered");
                    // This state is not on a page yet, so the next change must render again.
                    shown = Shown::default();
                }
            }
            // A page that takes long to render must not take more than half a core.
            let pause = COALESCE.max(started.elapsed() * 2);
            sleep_until(started + pause).await;
        }
    }

    /// How long a page that was `rendered` at this time stays valid if nothing changes: a minute,
    /// or until an exemption ends.
    fn until_renewal(&self, rendered: DateTime<Utc>) -> Duration {
        let Some(end) = self.config.borrow().policy.next_end(rendered) else { return RENEW };
        (end - self.clock.now()).to_std().unwrap_or(Duration::ZERO).min(RENEW)
    }
}

/// Replaces each account on which judging or rendering panics by one that has only this failure.
/// Returns their ids and why.
pub fn leave_out_what_panics(
    state: &mut State,
    config: &Config,
    now: DateTime<Utc>,
) -> Vec<(String, Failure)> {
    let mut left_out = Vec::new();
    for account in &mut state.accounts {
        let alone = State { accounts: vec![account.clone()], ..State::default() };
        let rendered = catch(|| {
            page::text(&alone, config, &Filter::default(), now);
            Overview::new(&alone, config, now);
        });
        let Err(failure) = rendered else { continue };
        error!(account = account.id, error = %failure, "account not rendered");
        let mut bare = Account::pending(&account.id, &account.name);
        bare.refresh = account.refresh.clone();
        bare.record(Some(&failure), Duration::ZERO, now);
        left_out.push((account.id.clone(), failure));
        *account = Arc::new(bare);
    }
    left_out
}

/// Duplicates, discovery with its fault, readiness, and the accounts that are not identified with their
/// failures.
type Rest = (usize, Tried, Option<Arc<str>>, bool, usize, FailureCounts);

/// The accounts on the newest page, to tell an urgent change from a change of ages and times.
#[derive(Default)]
struct Shown {
    /// With the hash of its verdicts. `None` if it cannot be judged.
    accounts: HashMap<String, (Arc<Account>, Option<u64>)>,
    rest: Option<Rest>,
}

impl Shown {
    /// Stores the state, and returns whether a verdict, a count or a state in it is new.
    fn update(&mut self, state: &State, config: &Config, now: DateTime<Utc>) -> bool {
        let unidentified = state.unidentified.len();
        let State { duplicates, discovery, ready, unidentified_failures, .. } = *state;
        let fault = state.discovery_fault.clone();
        let rest = (duplicates, discovery, fault, ready, unidentified, unidentified_failures);
        let rest = Some(rest);
        let mut is_new = self.rest != rest || self.accounts.len() != state.accounts.len();
        self.rest = rest;
        let mut accounts = HashMap::with_capacity(state.accounts.len());
        for account in &state.accounts {
            let known = self.accounts.remove(&account.id);
            let (shown, hash) = match known {
                Some((shown, hash)) if Arc::ptr_eq(&shown, account) => (shown, hash),
                known => {
                    // An account that cannot be judged is a change of the page, too.
                    let hash = catch(|| verdicts(account, config, now)).ok();
                    is_new |= known.is_none_or(|(_, before)| before != hash);
                    (account.clone(), hash)
                }
            };
            accounts.insert(account.id.clone(), (shown, hash));
        }
        self.accounts = accounts;
        is_new
    }
}

/// A hash of the account's verdicts, counts and states.
fn verdicts(account: &Account, config: &Config, now: DateTime<Utc>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let refresh = &account.refresh;
    account.name.hash(&mut hasher);
    (refresh.last.map(|attempt| attempt.failure), refresh.failures).hash(&mut hasher);
    (refresh.confirmation, refresh.waiting).hash(&mut hasher);
    (refresh.tags, refresh.name, refresh.service_credentials).hash(&mut hasher);
    account.evidence.hash(&mut hasher);
    let rows = account.report.as_ref().map(|report| (report.rejected.len(), report.keeps_root()));
    rows.hash(&mut hasher);
    for (subject, keys) in account.users() {
        let ruling = config.policy.ruling(&subject, now);
        let may_hide_keys = account.may_hide_keys_of(subject.user, now);
        (&subject.user.name, ruling.rule, subject.tags, may_hide_keys).hash(&mut hasher);
        for key in keys {
            let verdict = key.as_ref().map(|key| {
                let Verdict { status, unrotated, .. } = ruling.judge(key, now);
                (&key.id, key.last_rotated, key.never_used, status, unrotated)
            });
            verdict.hash(&mut hasher);
        }
        for credential in account.service_credentials_of(subject.user) {
            let Verdict { status, unrotated, .. } = ruling.judge(&credential.key(now), now);
            (&credential.id, credential.created, status, unrotated).hash(&mut hasher);
        }
    }
    if config.controls.enabled
        && let Some(outcomes) = judge(account, &config.controls, now)
    {
        for outcome in Control::all().map(|control| outcomes.get(control)) {
            (outcome.violations.len(), &outcome.unknown).hash(&mut hasher);
        }
    }
    for (user, credential, _) in account.service_credentials_of_others() {
        let ruling = config.policy.ruling_of_account(&account.id, &account.name, now);
        let verdict = ruling.judge(&credential.key(now), now);
        (user, &credential.id, verdict.status).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Reason;
    use crate::report::Report;
    use crate::state::Attempt;

    fn state(change: impl FnOnce(&mut Account)) -> State {
        let mut account = Account::pending("123456789012", "production");
        change(&mut account);
        State::new([Arc::new(account)], Tried::Ok, true)
    }

    #[test]
    fn a_state_is_new_once_and_times_alone_are_not() {
        let (config, now) = (Config::default(), "2026-11-01T12:00:00Z".parse().expect("a time"));
        let mut shown = Shown::default();
        let attempt = |failure| Some(Attempt { failure, duration: Duration::ZERO });
        assert!(shown.update(&state(|_| {}), &config, now), "nothing was shown before");
        assert!(!shown.update(&state(|_| {}), &config, now));
        let ticked = state(|account| {
            account.generated = Some(now);
            account.refresh.last_success = Some(now);
            account.refresh.next = Some(now);
        });
        assert!(!shown.update(&ticked, &config, now));
        let failed = state(|account| account.refresh.last = attempt(Some(Reason::Network)));
        assert!(shown.update(&failed, &config, now));
        assert!(!shown.update(&failed, &config, now));
        assert!(shown.update(&State::new([], Tried::Ok, true), &config, now), "an account left");
        assert!(shown.update(&State::new([], Tried::Failed, true), &config, now));
    }

    #[test]
    fn a_number_of_an_owner_that_changes_is_new() {
        let (config, now) = (Config::default(), "2026-11-01T12:00:00Z".parse().expect("a time"));
        let with_key = |columns: &str| {
            let csv = format!(
                "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,access_key_2_active,access_key_2_last_rotated\n\
                 a,arn:aws:iam::123456789012:user/a,{columns},false,N/A\n"
            );
            let report = Report::parse(csv.as_bytes()).expect("a report");
            state(|account| account.report = Some(Arc::new(report)))
        };
        let rotated = "2026-08-18T12:00:00Z";
        let never_used = with_key(&format!("true,{rotated},N/A"));
        let mut shown = Shown::default();
        shown.update(&never_used, &config, now);
        let used = |time| with_key(&format!("true,{rotated},{time}"));
        assert!(shown.update(&used("2026-11-01T10:00:00Z"), &config, now), "never used: one less");
        assert!(!shown.update(&used("2026-11-01T11:00:00Z"), &config, now), "a time alone");
        let day_later = now + chrono::TimeDelta::days(1);
        assert!(!shown.update(&used("2026-11-01T12:00:00Z"), &config, now));
        assert!(shown.update(&used("2026-11-01T13:00:00Z"), &config, day_later), "due soon");
    }

    #[test]
    fn a_control_that_is_violated_is_new() {
        let (config, now) = (Config::default(), "2026-11-01T12:00:00Z".parse().expect("a time"));
        let with_mfa = |mfa: &str| {
            let csv = format!(
                "user,arn,password_enabled,password_last_used,mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
                 a,arn:aws:iam::123456789012:user/a,true,2026-10-30T12:00:00Z,{mfa},false,N/A,false,N/A\n"
            );
            let report = Report::parse(csv.as_bytes()).expect("a report");
            state(|account| account.report = Some(Arc::new(report)))
        };
        let mut shown = Shown::default();
        shown.update(&with_mfa("true"), &config, now);
        assert!(shown.update(&with_mfa("false"), &config, now));
        assert!(!shown.update(&with_mfa("false"), &config, now));
    }
}
