//! One refresh of one account: report, tags, confirmation.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tracing::{debug, info, warn};

use crate::clock::{Clock, is_from_the_future};
use crate::config::Config;
use crate::confirmation::{Confirmation, merge};
use crate::failure::{Failure, Reason};
use crate::report::Report;
use crate::source::Source;
use crate::source::target::{FetchResult, RawReport, Target};
use crate::state::{Account, Attempt, Tried};

/// What a refresh needs, besides the account.
#[derive(Debug, Clone, Copy)]
pub struct RefreshContext<'a> {
    /// Gives reports, tags and keys.
    pub source: &'a Source,
    /// A refresh that takes longer fails. Confirmation that takes longer continues with the next one.
    pub timeout: Duration,
    /// Gives the `now`.
    pub clock: &'a Clock,
    /// Names the users to confirm and the tags to read.
    pub config: &'a Config,
    /// Whether to ask for the report even if the last one is still good, because the way to the
    /// account was not tried yet.
    pub force: bool,
}

/// The result of a refresh.
#[derive(Debug)]
pub struct RefreshOutcome {
    /// The account as it is afterwards.
    pub account: Account,
    /// Why there is no new report.
    pub failure: Option<Failure>,
    /// Why flagged users could not be confirmed.
    pub confirmation: Option<Failure>,
    /// Why tags could not be read.
    pub tags: Option<Failure>,
}

/// A refresh that is still confirming publishes its results so far at this interval.
const PUBLISH_WHILE_CONFIRMING: Duration = Duration::from_secs(10);

/// A refresh stops confirming after this number of failures in a row.
const MAX_FAILURES: usize = 3;

/// Refreshes an account once: its report, tags, and the keys of flagged users. If that takes long,
/// calls `publish` with the results so far.
pub async fn refresh_account(
    context: &RefreshContext<'_>,
    target: &Target,
    account: &Account,
    publish: impl Fn(&Account),
) -> RefreshOutcome {
    let started = Instant::now();
    let deadline = started + context.timeout;
    let mut next = account.clone();
    let failure = context.read_report(target, &mut next, deadline).await.err();
    let failed = failure.as_ref().map(|failure| failure.reason);
    let (mut tags, mut confirmation) = (None, None);
    // Without a report, AWS is not asked for more.
    let has_report = failed.is_none() || next.generated != account.generated;
    if context.source.has_live_data() && has_report {
        // Slow tags leave time for confirmation.
        let half = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        tags = context.read_tags(target, &mut next, account.generated, half).await.err();
        context.read_alias(target, &mut next, account.generated, half).await;
        let so_far = |next: &Account| {
            let mut so_far = next.clone();
            so_far.record(failed, started.elapsed(), context.clock.now());
            publish(&so_far);
        };
        confirmation = context.confirm(target, &mut next, deadline, so_far).await.err();
    }
    next.record(failed, started.elapsed(), context.clock.now());
    RefreshOutcome { account: next, failure, confirmation, tags }
}

impl RefreshContext<'_> {
    /// Updates the account from its newest report.
    async fn read_report(
        &self,
        target: &Target,
        account: &mut Account,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let last = account.generated.filter(|_| !self.force);
        let FetchResult { account_id, report, failure } =
            self.source.fetch(target, last, now, deadline).await;
        if let Some(id) = &account_id {
            account.id.clone_from(id);
        }
        if let Some(RawReport { csv, generated }) = report {
            // A report that cannot be read says more than that a newer one could not be had.
            let fingerprint = Some(fingerprint(&csv));
            if account.fingerprint != fingerprint {
                let report = read(csv, account_id).await?;
                if let Some(id) = &report.account_id {
                    account.id.clone_from(id);
                }
                log_report(&report, &account.id, generated);
                account.report = Some(Arc::new(report));
                account.fingerprint = fingerprint;
            }
            account.generated = Some(generated);
            Arc::make_mut(&mut account.confirmed).retain_after(generated);
        }
        failure.map_or_else(|| behind(account, now), Err)
    }

    /// Reads the tags that the configuration needs, once for each new report.
    async fn read_tags(
        &self,
        target: &Target,
        account: &mut Account,
        last: Option<DateTime<Utc>>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let keys = self.config.tag_keys();
        if keys.is_empty() {
            account.tags = None;
            account.refresh.tags = Tried::NotYet;
            return Ok(());
        }
        let known = account.tags.as_ref().is_some_and(|tags| tags.keys == keys);
        if known && account.generated == last && account.refresh.tags == Tried::Ok {
            return Ok(());
        }
        let read = timeout_at(deadline, self.source.tags(target, &keys)).await;
        let read = read.unwrap_or_else(|_| Err(Failure::deadline()));
        account.refresh.tags = Tried::from_result(&read);
        account.tags = Some(Arc::new(read?));
        Ok(())
    }

    /// Reads the alias of an account without a configured name, once for each new report. Having no
    /// alias, or no permission to read it, is no failure.
    async fn read_alias(
        &self,
        target: &Target,
        account: &mut Account,
        last: Option<DateTime<Utc>>,
        deadline: Instant,
    ) {
        if !target.name.is_empty() || account.generated == last {
            return;
        }
        match timeout_at(deadline, self.source.alias(target)).await {
            Ok(Ok(alias)) => {
                account.alias = alias;
                account.rename(&target.name);
            }
            Ok(Err(error)) => debug!(account = account.id, %error, "alias not read"),
            Err(_) => debug!(account = account.id, "alias not read in time"),
        }
    }

    /// Asks for the keys of every user who has an unrotated one, starting with the users checked
    /// longest ago. If time runs out, the others follow in the next refresh. A failure may concern
    /// one user only, such as a permission for some paths, so only a few failures in a row stop it.
    /// If AWS asks for fewer calls, one failure does.
    async fn confirm(
        &self,
        target: &Target,
        account: &mut Account,
        deadline: Instant,
        so_far: impl Fn(&Account),
    ) -> Result<(), Failure> {
        let Some(rate) = self.config.confirm else {
            account.refresh.confirmation = Tried::NotYet;
            return Ok(());
        };
        let mut turns = interval(Duration::from_secs(1) / rate);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut published = Instant::now();
        let (mut outcome, mut failures) = (Ok(()), 0);
        let flagged = self.flagged(account);
        let is_tried = !flagged.is_empty();
        for index in flagged {
            if self.source.calls_aws() && timeout_at(deadline, turns.tick()).await.is_err() {
                break;
            }
            // A fresh borrow for each user: each answer goes into the account at once.
            let Some(user) = account.report.as_ref().and_then(|report| report.users.get(index))
            else {
                break;
            };
            let at = self.clock.now();
            let confirmed = Arc::make_mut(&mut account.confirmed);
            confirmed.ask(&user.name, at);
            let answer = timeout_at(deadline, self.source.keys(target, &user.name)).await;
            match answer.unwrap_or_else(|_| Err(Failure::deadline())) {
                Ok(listed) => {
                    let keys = listed.map(|listed| merge(&user.keys, &listed));
                    confirmed.insert(&user.name, Confirmation { at, keys });
                    failures = 0;
                }
                Err(failure) => {
                    failures += 1;
                    let is_last = failure.reason.is_overload() || failures == MAX_FAILURES;
                    outcome = Err(failure);
                    if is_last {
                        break;
                    }
                }
            }
            if published.elapsed() >= PUBLISH_WHILE_CONFIRMING {
                published = Instant::now();
                so_far(account);
            }
        }
        if is_tried {
            account.refresh.confirmation = Tried::from_result(&outcome);
        }
        outcome
    }

    /// The places in the report of users who have an unrotated key, users checked longest ago first.
    /// Without root, since only root itself can list root's keys.
    fn flagged(&self, account: &Account) -> Vec<usize> {
        let now = self.clock.now();
        let tags = account.tags(&self.config.tag_keys());
        let users = account.report.iter().flat_map(|report| &report.users).enumerate();
        let mut flagged: Vec<_> = users
            .filter(|(_, user)| !user.is_root())
            .filter(|(_, user)| {
                let ruling = self.config.policy.ruling(&account.subject(user, tags), now);
                let keys = account.confirmed.keys(user).into_iter().flatten().flatten();
                keys.into_iter().any(|key| ruling.judge(key, now).unrotated == Some(true))
            })
            .map(|(index, user)| (account.confirmed.asked(&user.name), index))
            .collect();
        flagged.sort();
        flagged.into_iter().map(|(_, index)| index).collect()
    }
}

/// Fails if the report shows that the clock of this host is behind: what was judged by it may be older
/// than it seems.
fn behind(account: &Account, now: DateTime<Utc>) -> Result<(), Failure> {
    let newest = account.report.as_ref().and_then(|report| report.newest_time());
    match newest.max(account.generated).filter(|time| is_from_the_future(*time, now)) {
        None => Ok(()),
        Some(time) => {
            let [time, now] = [time, now].map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true));
            let message = format!(
                "the report has a time of {time}, but the clock of this host shows {now}: set the clock"
            );
            Err(Failure::new(Reason::Clock, message))
        }
    }
}

fn fingerprint(csv: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    csv.hash(&mut hasher);
    hasher.finish()
}

/// Parses away from the tasks that serve scrapes.
async fn read(csv: Vec<u8>, account_id: Option<String>) -> Result<Report, Failure> {
    let malformed = |message: String| Failure::new(Reason::MalformedReport, message);
    let report = spawn_blocking(move || Report::parse(&csv))
        .await
        .map_err(|_| malformed("reading the report panicked: please report this".to_owned()))?
        .map_err(|error| malformed(error.to_string()))?;
    match (&account_id, &report.account_id) {
        (Some(expected), Some(found)) if expected != found => {
            Err(malformed(format!("a report of account {found} instead of {expected}")))
        }
        (None, None) => Err(malformed("the report has no row that names its account".to_owned())),
        _ => Ok(report),
    }
}

/// The number of rejected rows of one report that are logged.
const MAX_LOGGED_ROWS: usize = 100;

fn log_report(report: &Report, account: &str, generated: DateTime<Utc>) {
    let (rows, rejected) = (report.users.len(), report.rejected.len());
    let generated = generated.to_rfc3339_opts(SecondsFormat::Secs, true);
    info!(account, rows, rejected, generated, "report read");
    for row in report.rejected.iter().take(MAX_LOGGED_ROWS) {
        let problem = row.problem.to_string();
        warn!(account, line = row.line, column = row.column, problem, "row of the report rejected");
    }
    if let Some(more) = rejected.checked_sub(MAX_LOGGED_ROWS + 1) {
        warn!(account, rows = more + 1, "further rows of the report rejected");
    }
}

impl Account {
    /// Records the result of a refresh.
    fn record(&mut self, failure: Option<Reason>, duration: Duration, now: DateTime<Utc>) {
        self.refresh.last = Some(Attempt { failure, duration });
        match failure {
            None => self.refresh.last_success = Some(now),
            Some(reason) => self.refresh.failures.count(reason),
        }
    }
}
