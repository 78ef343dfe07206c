//! One refresh of one account: identity, report, details, confirmation.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tracing::{debug, info, warn};

use crate::clock::{Clock, MAX_CLOCK_SKEW, is_from_the_future};
use crate::config::Config;
use crate::confirmation::merge;
use crate::evidence::{Evidence, EvidenceKind, Reading};
use crate::failure::{Failure, Reason};
use crate::panics::{catch, catch_async};
use crate::report::{Key, Report, User};
use crate::source::Source;
use crate::source::target::{FetchResult, RawReport, Target};
use crate::state::{Account, Tried};

/// What a refresh needs, besides the account.
#[derive(Debug, Clone, Copy)]
pub struct RefreshContext<'a> {
    /// Gives reports, tags, service-specific credentials and keys.
    pub source: &'a Source,
    /// A refresh that takes longer fails. Confirmation that takes longer continues with the next one.
    pub timeout: Duration,
    /// The clock that gives `now`.
    pub clock: &'a Clock,
    /// Decides which users to confirm and which tags to read.
    pub config: &'a Config,
    /// Whether to ask for the report even if the last one is still good, because these credentials
    /// were not tried yet.
    pub force: bool,
    /// Whether it is time to ask for details: tags, the alias, service-specific credentials, and users' keys.
    /// After a new report it always is.
    pub details: bool,
    /// Why there was no report the last time, if it is too early to ask for one again.
    pub paused: Option<&'a Failure>,
}

/// The result of a refresh.
#[derive(Debug)]
pub struct RefreshOutcome {
    /// The account after the refresh.
    pub account: Account,
    /// Whether the account answered, with credentials that belong to it.
    pub reached: bool,
    /// Why there is no new report.
    pub failure: Option<Failure>,
    /// Whether details were asked for.
    pub has_details: bool,
    /// Why flagged users could not be confirmed.
    pub confirmation: Option<Failure>,
    /// Why tags could not be read.
    pub tags: Option<Failure>,
    /// Why the alias, by which a rule decides, could not be read.
    pub alias: Option<Failure>,
    /// Why service-specific credentials could not be listed.
    pub service_credentials: Option<Failure>,
    /// Why data for controls could not be read, if the reason is not a missing permission.
    pub evidence: Option<Failure>,
}

/// A refresh that is still confirming publishes its results so far at this interval,
const PUBLISH_WHILE_CONFIRMING: Duration = Duration::from_secs(10);
/// and a first report after this time.
const PUBLISH_FIRST_REPORT: Duration = Duration::from_secs(2);

/// A call that has no answer after this time, or after half of a refresh, has failed. One that was cut off
/// earlier has not.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// How many other users must be gone before a report without users is accepted.
const MAX_ASKED_ABOUT: usize = 3;

/// A refresh stops confirming after this number of failures in a row.
const MAX_FAILURES: usize = 3;

/// Refreshes an account once: verifies that the credentials belong to it, and then reads its
/// report, its details, and the keys of flagged users. If that takes long, calls `publish` with the
/// results so far. If something fails, even by a panic, the data from before stays.
pub async fn refresh_account(
    context: &RefreshContext<'_>,
    target: &Target,
    account: &Account,
    publish: impl Fn(&Account),
) -> RefreshOutcome {
    let started = Instant::now();
    let mut outcome = RefreshOutcome {
        account: account.clone(),
        reached: false,
        failure: None,
        has_details: false,
        confirmation: None,
        tags: None,
        alias: None,
        service_credentials: None,
        evidence: None,
    };
    let refresh = context.refresh(target, &mut outcome, started, publish);
    if let Err(failure) = catch_async(refresh).await {
        outcome.account = account.clone();
        (outcome.reached, outcome.has_details) = (false, false);
        outcome.failure = Some(failure);
    }
    context.record(&mut outcome.account, outcome.failure.as_ref(), started);
    outcome
}

impl RefreshContext<'_> {
    async fn refresh(
        &self,
        target: &Target,
        outcome: &mut RefreshOutcome,
        started: Instant,
        publish: impl Fn(&Account),
    ) {
        let deadline = started + self.timeout;
        let RefreshOutcome {
            account,
            reached,
            failure,
            has_details,
            confirmation,
            tags,
            alias,
            service_credentials,
            evidence,
        } = outcome;
        let id = account.id.clone();
        if let Err(wrong) = self.identify(target, account, deadline).await {
            *failure = Some(wrong);
            return;
        }
        *reached = true;
        let mut verified = account.clone();
        let last = account.generated;
        *failure = match self.paused.filter(|_| account.id == id) {
            Some(failure) => Some(failure.clone()),
            None => {
                // Leaves time for confirmation if the report does not come.
                let is_confirmed = last.is_some() && self.details && self.config.confirm.is_some();
                let until = if is_confirmed { half(deadline) } else { deadline };
                self.read_report(target, account, until).await.err()
            }
        };
        *has_details = account.report.is_some() && (self.details || account.generated != last);
        if !*has_details {
            return;
        }
        if !self.source.has_live_data() {
            let read = if self.config.policy.needs_tags() {
                let message = "rules need tags, and report files have none";
                Err(Failure::new(Reason::UnreadableFile, message))
            } else {
                Ok(())
            };
            account.refresh.tags =
                if read.is_ok() { Tried::NotYet } else { Tried::from_result(&read) };
            *tags = read.err();
            return;
        }
        // Slow details leave time for confirmation.
        let until = half(deadline);
        *tags = self.read_users(target, account, last, until).await.err();
        *alias = self.read_alias(target, account, last, until).await.err();
        *service_credentials =
            self.read_service_credentials(target, account, last, until).await.err();
        let so_far = |account: &Account| {
            let mut so_far = account.clone();
            self.record(&mut so_far, failure.as_ref(), started);
            publish(&so_far);
        };
        let checked = match self.confirm(target, account, &mut verified, deadline, so_far).await {
            Ok(refusal) => {
                *confirmation = refusal;
                // Keys come first: confirmation leaves a tenth of the time. Half of that is for the question
                // whose the answers are, without which nothing of this refresh counts.
                let until = deadline - self.timeout / 20;
                *evidence = self.read_evidence(target, account, last, until).await.err();
                self.identify_again(target, account, &verified, deadline).await
            }
            Err(wrong) => Err(wrong),
        };
        if let Err(wrong) = checked {
            *account = verified;
            (*failure, *has_details) = (Some(wrong), false);
        }
    }

    /// Makes sure that whatever was learned since the account was `verified` is of this account: credentials
    /// can become another account's at any moment. An account at rest, of which nothing new was learned, is
    /// not asked for.
    async fn identify_again(
        &self,
        target: &Target,
        account: &Account,
        verified: &Account,
        deadline: Instant,
    ) -> Result<(), Failure> {
        // A report contains its account id.
        let is_same = account.tags == verified.tags
            && account.alias == verified.alias
            && account.service_credentials == verified.service_credentials
            && account.evidence.has_same_answers(&verified.evidence)
            && account.confirmed.has_same_answers(&verified.confirmed);
        if is_same {
            return Ok(());
        }
        match self.account_id(target, deadline).await? {
            Some(id) if id != account.id => {
                let message = format!("the credentials now belong to account {id}");
                Err(Failure::new(Reason::Credentials, message))
            }
            _ => Ok(()),
        }
    }

    async fn account_id(
        &self,
        target: &Target,
        deadline: Instant,
    ) -> Result<Option<String>, Failure> {
        let id = timeout_at(deadline, self.source.account_id(target)).await;
        id.unwrap_or_else(|_| Err(Failure::deadline()))
    }

    /// Records how the refresh went. A failure from before is not counted again.
    fn record(&self, account: &mut Account, failure: Option<&Failure>, started: Instant) {
        let failures = account.refresh.failures;
        account.record(failure, started.elapsed(), self.clock.now());
        if failure.is_some() && failure == self.paused {
            account.refresh.failures = failures;
        }
    }

    /// Finds out which account the credentials belong to. Loads them again if they did not work the
    /// last time.
    async fn identify(
        &self,
        target: &Target,
        account: &mut Account,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let last = account.refresh.last.and_then(|last| last.failure);
        if last == Some(Reason::Credentials) {
            self.source.forget_credentials_of(target);
        }
        if let Some(id) = self.account_id(target, deadline).await? {
            account.identify(&id, &target.id, &target.name);
        }
        Ok(())
    }

    /// Updates the account from its newest report.
    async fn read_report(
        &self,
        target: &Target,
        account: &mut Account,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let last = account.generated.filter(|_| !self.force);
        let FetchResult { report, failure } = self.source.fetch(target, last, now, deadline).await;
        if let Some(RawReport { csv, parsed, generated }) = report {
            // What comes after one from the future is not older.
            let last = account.generated.filter(|last| !is_from_the_future(*last, now));
            if self.source.has_live_data() && last.is_some_and(|last| generated < last) {
                let message = "AWS gave an older report than the one that it gave before";
                let older = Failure::new(Reason::ReportNotReady, message);
                return Err(failure.unwrap_or(older));
            }
            let fingerprint = Some(fingerprint(&csv));
            let is_new = account.fingerprint != fingerprint || account.generated != Some(generated);
            if account.fingerprint != fingerprint {
                let expected = self.source.has_live_data().then_some(account.id.as_str());
                // A report that cannot be parsed is the more important failure.
                let mut report = read(csv, parsed, expected).await?;
                self.check_empty(target, account, &report, deadline).await?;
                if let Some(id) = &report.account_id {
                    account.identify(id, &target.id, &target.name);
                }
                log_report(&report, &account.id, generated);
                if let Some(before) = &account.report {
                    report.keep_missing(before);
                    if let Some(known) = &mut account.service_credentials {
                        Arc::make_mut(known).forget_gone(before, &report);
                    }
                }
                account.report = Some(report);
                account.fingerprint = fingerprint;
            }
            if is_new && let Some(report) = &account.report {
                Arc::make_mut(&mut account.confirmed).start_over(report);
            }
            account.generated = Some(generated);
        }
        failure.map_or_else(|| self.clock_is_right(account, now), Err)
    }

    /// Fails if the report has no users and the users of the report before may still exist. Flagged
    /// users must be gone by confirmation, and a few others by a call. Report files must show this
    /// twice instead.
    async fn check_empty(
        &self,
        target: &Target,
        account: &Account,
        report: &Report,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let is_empty = report.missing == 0 && report.users.iter().all(User::is_root);
        let Some(before) = account.report.as_ref().filter(|_| is_empty) else { return Ok(()) };
        if !self.source.has_live_data() {
            return Ok(());
        }
        let doubt = |reason, why: &str| {
            Err(Failure::new(reason, format!("the new report has no users, but {why}")))
        };
        let known = |user: &&User| account.confirmed.keys(user).is_some();
        let mut flagged = self.flagged(account).into_iter().map(|index| &before.users[index]);
        if flagged.any(|user| known(&user)) {
            let why = "AWS has not confirmed that users with unrotated keys are gone: if they are, restart the exporter";
            return doubt(Reason::MalformedReport, why);
        }
        let users = before.users.iter().filter(|user| !user.is_root());
        for user in users.filter(known).take(MAX_ASKED_ABOUT) {
            let answer = timeout_at(deadline, self.source.keys(target, &user.name)).await;
            match answer.unwrap_or_else(|_| Err(Failure::deadline())) {
                Ok(None) => {}
                Ok(Some(_)) => return doubt(Reason::MalformedReport, "AWS still has users"),
                Err(Failure { reason, message }) => {
                    let why = format!("AWS has not confirmed that they are gone: {message}");
                    return doubt(reason, &why);
                }
            }
        }
        Ok(())
    }

    /// Fails if this host's clock is wrong by the times in the report or by AWS's answers, because
    /// ages are then wrong, too.
    fn clock_is_right(&self, account: &Account, now: DateTime<Utc>) -> Result<(), Failure> {
        behind(account, now)?;
        // Without the number, which is in a metric: a changed message would count as a new fault.
        let message = "the clock of this host and that of AWS differ by more than five minutes: set the clock";
        match self.source.clock_skew() {
            Some(skew) if skew.abs() > MAX_CLOCK_SKEW => Err(Failure::new(Reason::Clock, message)),
            _ => Ok(()),
        }
    }

    /// Reads the tags that the configuration needs, and with them who has policies, once for each new
    /// report. Without tags, policies are read only if the configuration asks for them, and then a missing
    /// permission is no failure.
    async fn read_users(
        &self,
        target: &Target,
        account: &mut Account,
        last: Option<DateTime<Utc>>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let keys = self.config.tag_keys();
        let needs_tags = !keys.is_empty();
        if !needs_tags {
            account.tags = None;
            account.refresh.tags = Tried::NotYet;
        }
        let needs_policies = self.config.reads(EvidenceKind::UserPolicies);
        if !needs_tags && !needs_policies {
            account.evidence.user_policies = Reading::default();
            return Ok(());
        }
        let known = account.tags.as_ref().is_some_and(|tags| tags.keys == keys);
        let lacks_tags = needs_tags && !(known && account.refresh.tags == Tried::Ok);
        let now = self.clock.now();
        let lacks_policies = needs_policies && account.evidence.user_policies.is_due(now);
        if account.generated == last && !lacks_tags && !lacks_policies {
            return Ok(());
        }
        let read = timeout_at(deadline, self.source.users(target, &keys)).await;
        let read = read.unwrap_or_else(|_| Err(Failure::deadline()));
        if needs_tags {
            account.refresh.tags = Tried::from_result(&read);
        }
        match read {
            Ok((tags, policies)) => {
                account.tags = needs_tags.then(|| Arc::new(tags));
                account.evidence.user_policies = Reading::of(Arc::new(policies), now);
                Ok(())
            }
            Err(failure) => {
                account.evidence.user_policies.fail(failure.reason);
                if needs_tags { Err(failure) } else { self.tolerate(account, failure) }
            }
        }
    }

    /// Reads what controls need, once for each new report, and again when an answer gets old. A call that
    /// failed is made again with the next refresh, unless a permission is missing, which is no failure: the
    /// controls say so.
    async fn read_evidence(
        &self,
        target: &Target,
        account: &mut Account,
        last: Option<DateTime<Utc>>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let (is_new, now) = (account.generated != last, self.clock.now());
        let Evidence { summary, password_policy, root_virtual_mfa, .. } = &mut account.evidence;
        let is_wanted = self.config.reads(EvidenceKind::AccountSummary);
        let call = self.source.summary(target);
        let first = ask(summary, is_wanted, is_new, call, (now, deadline)).await;
        let is_wanted = self.config.reads(EvidenceKind::PasswordPolicy);
        let call = self.source.password_policy(target);
        let second = ask(password_policy, is_wanted, is_new, call, (now, deadline)).await;
        let is_wanted = self.config.reads(EvidenceKind::VirtualMfaDevices);
        let call = self.source.root_virtual_mfa(target);
        let third = ask(root_virtual_mfa, is_wanted, is_new, call, (now, deadline)).await;
        let mut failures: Vec<Failure> = [first, second, third]
            .into_iter()
            .filter_map(|read| self.tolerate(account, read.err()?).err())
            .collect();
        // Of several, the one because of which the exporter has to wait.
        failures.sort_by_key(|failure| !failure.reason.is_overload());
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    /// A permission that is missing for data that nothing else needs is no failure.
    fn tolerate(&self, account: &Account, failure: Failure) -> Result<(), Failure> {
        if failure.reason != Reason::AccessDenied {
            return Err(failure);
        }
        debug!(account = account.id, error = %failure, "data for controls not read");
        Ok(())
    }

    /// Reads the alias of an account without a configured name: once for each new report, and if it
    /// could not be read but rules need it, in each refresh. Otherwise a missing permission is not
    /// a failure.
    async fn read_alias(
        &self,
        target: &Target,
        account: &mut Account,
        last: Option<DateTime<Utc>>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        if !target.name.is_empty() {
            account.refresh.name = Tried::Ok;
            return Ok(());
        }
        let is_needed = self.config.policy.needs_name(&account.id);
        if !is_needed && account.refresh.name == Tried::Failed {
            account.refresh.name = Tried::NotYet;
        }
        let is_due = is_needed && account.refresh.name != Tried::Ok;
        if account.generated == last && !is_due {
            return Ok(());
        }
        let read = timeout_at(deadline, self.source.alias(target)).await;
        let read = read.unwrap_or_else(|_| Err(Failure::deadline()));
        // If no rule needs the name, a failure does not matter.
        let is_missed = is_needed || read.is_ok();
        account.refresh.name = if is_missed { Tried::from_result(&read) } else { Tried::NotYet };
        match read {
            Ok(alias) => {
                account.alias = alias;
                account.rename(&target.name);
                Ok(())
            }
            Err(failure) if is_needed => Err(failure),
            Err(error) => {
                debug!(account = account.id, %error, "alias not read");
                Ok(())
            }
        }
    }

    /// Lists the service-specific credentials, if they are wanted, once for each new report.
    async fn read_service_credentials(
        &self,
        target: &Target,
        account: &mut Account,
        last: Option<DateTime<Utc>>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        if !self.config.service_credentials {
            account.service_credentials = None;
            account.refresh.service_credentials = Tried::NotYet;
            return Ok(());
        }
        if account.generated == last && account.refresh.service_credentials == Tried::Ok {
            return Ok(());
        }
        let listed = timeout_at(deadline, self.source.service_credentials(target)).await;
        let listed = listed.unwrap_or_else(|_| Err(Failure::deadline()));
        account.refresh.service_credentials = Tried::Failed;
        account.service_credentials = Some(Arc::new(listed?));
        // Whoever is newer than the report is in the next one. Without a user no rule can decide, and need
        // not if the credential cannot be used.
        let now = self.clock.now();
        let is_older = |time| account.generated.is_none_or(|generated| time <= generated);
        let others = account.service_credentials_of_others();
        if others.iter().any(|(_, it)| it.key(now).active && is_older(it.created)) {
            let message =
                "ListServiceSpecificCredentials: credentials of users who are not in the report";
            return Err(Failure::new(Reason::ServiceError, message));
        }
        account.refresh.service_credentials = Tried::Ok;
        Ok(())
    }

    /// Asks for the keys of every flagged user, starting with the users checked longest ago. If
    /// time runs out, the next refresh continues, and that is not a failure. One failure may be
    /// about one user only, for example a permission for some paths, so it stops only after a few
    /// failures in a row, or after one if AWS throttles.
    ///
    /// Returns what AWS refused. Fails if the credentials are no longer those of the account: what is known
    /// of it for sure is in `verified`.
    async fn confirm(
        &self,
        target: &Target,
        account: &mut Account,
        verified: &mut Account,
        deadline: Instant,
        so_far: impl Fn(&Account),
    ) -> Result<Option<Failure>, Failure> {
        let Some(rate) = self.config.confirm else {
            account.refresh.confirmation = Tried::NotYet;
            account.refresh.waiting = None;
            // Only the report counts again.
            account.confirmed = Arc::default();
            return Ok(None);
        };
        // Time for controls, and for the question whose the answers are.
        let until = deadline - self.timeout / 10;
        let mut turns = interval(Duration::from_secs(1) / rate);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_new = account.refresh.last.is_none();
        let wait = if is_new { PUBLISH_FIRST_REPORT } else { PUBLISH_WHILE_CONFIRMING };
        let mut publication = Instant::now() + wait;
        let (mut refusal, mut refusals) = (None, 0);
        let flagged = self.flagged(account);
        let mut waiting = flagged.len();
        if flagged.is_empty() {
            account.refresh.confirmation = Tried::NotYet;
        }
        for index in flagged {
            if self.source.calls_aws() && timeout_at(until, turns.tick()).await.is_err() {
                break;
            }
            // Borrowed again for each user, because each answer changes the account at once.
            let Some(user) = account.report.as_ref().and_then(|report| report.users.get(index))
            else {
                break;
            };
            let confirmed = Arc::make_mut(&mut account.confirmed);
            confirmed.ask(&user.name);
            let asked = Instant::now();
            let answer = timeout_at(until, self.source.keys(target, &user.name)).await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(_) if asked.elapsed() < ANSWERED_WITHIN.min(self.timeout / 2) => break,
                Err(_) => Err(Failure::new(
                    Reason::Timeout,
                    "ListAccessKeys: no answer before the time limit of the refresh",
                )),
            };
            waiting -= 1;
            match answer {
                Ok(listed) => {
                    let keys = listed.map(|listed| merge(&user.keys, &listed));
                    confirmed.insert(&user.name, keys);
                    account.refresh.confirmation = Tried::Ok;
                    refusals = 0;
                }
                Err(failure) => {
                    refusals += 1;
                    let is_last = failure.reason.is_overload() || refusals == MAX_FAILURES;
                    refusal = Some(failure);
                    if is_last {
                        break;
                    }
                }
            }
            if Instant::now() >= publication {
                publication = Instant::now() + PUBLISH_WHILE_CONFIRMING;
                account.refresh.waiting = Some(waiting);
                // Nothing of another account is published.
                self.identify_again(target, account, verified, deadline).await?;
                so_far(account);
                verified.clone_from(account);
            }
        }
        account.refresh.waiting = Some(waiting);
        if refusal.is_some() {
            account.refresh.confirmation = Tried::Failed;
        }
        Ok(refusal)
    }

    /// The indexes in the report of flagged users, those checked longest ago first. A user is
    /// flagged by a key that is unrotated or active without a time, in the report or the last
    /// answer, or by more keys than the report shows. Root is left out, because only root can list
    /// root's keys.
    fn flagged(&self, account: &Account) -> Vec<usize> {
        let now = self.clock.now();
        let users = account.report.iter().flat_map(|report| &report.users).enumerate();
        let mut flagged: Vec<_> = users
            .filter(|(_, user)| !user.is_root())
            .filter(|(_, user)| {
                let ruling = self.config.policy.ruling(&account.subject(user), now);
                let is_flagged = |key: &Key| match ruling.judge(key, now).unrotated {
                    Some(unrotated) => unrotated,
                    None => key.active && ruling.exemption.is_none(),
                };
                let has_more = user.additional_credentials && ruling.exemption.is_none();
                let known = account.confirmed.keys(user).unwrap_or_default();
                has_more || user.keys.iter().chain(known).flatten().any(is_flagged)
            })
            .map(|(index, user)| (account.confirmed.asked(&user.name), index))
            .collect();
        flagged.sort();
        flagged.into_iter().map(|(_, index)| index).collect()
    }
}

/// Fails if the report shows that this host's clock is behind, because keys are then older than
/// computed.
fn behind(account: &Account, now: DateTime<Utc>) -> Result<(), Failure> {
    let newest = account.newest_time().max(account.generated);
    match newest.filter(|time| is_from_the_future(*time, now)) {
        None => Ok(()),
        Some(time) => {
            let time = time.to_rfc3339_opts(SecondsFormat::Secs, true);
            let message = format!(
                "the report has a time of {time}, which is in the future by the clock of this host: set the clock"
            );
            Err(Failure::new(Reason::Clock, message))
        }
    }
}

/// Half of the time until then.
fn half(until: Instant) -> Instant {
    let now = Instant::now();
    now + until.saturating_duration_since(now) / 2
}

/// Makes a call if its answer is wanted, and either the report is new or the last call has to be made again.
/// An answer that is not wanted is forgotten. It leaves half of the time for further calls.
async fn ask<T>(
    reading: &mut Reading<T>,
    is_wanted: bool,
    is_new: bool,
    call: impl Future<Output = Result<T, Failure>>,
    (now, deadline): (DateTime<Utc>, Instant),
) -> Result<(), Failure> {
    if !is_wanted {
        *reading = Reading::default();
        return Ok(());
    }
    if !is_new && !reading.is_due(now) {
        return Ok(());
    }
    match timeout_at(half(deadline), call).await.unwrap_or_else(|_| Err(Failure::deadline())) {
        Ok(value) => {
            *reading = Reading::of(value, now);
            Ok(())
        }
        Err(failure) => {
            reading.fail(failure.reason);
            Err(failure)
        }
    }
}

fn fingerprint(csv: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    csv.hash(&mut hasher);
    hasher.finish()
}

/// Parses on a blocking thread, so that scrapes are not delayed.
async fn read(
    csv: Vec<u8>,
    parsed: Option<Arc<Report>>,
    expected: Option<&str>,
) -> Result<Arc<Report>, Failure> {
    let malformed = |message: String| Failure::new(Reason::MalformedReport, message);
    let report = match parsed {
        Some(report) => report,
        None => spawn_blocking(move || catch(|| Report::parse(&csv)))
            .await
            .expect("its panics are caught")?
            .map(Arc::new)
            .map_err(|error| malformed(error.to_string()))?,
    };
    match (expected, &report.account_id) {
        (Some(expected), Some(found)) if expected != found => {
            Err(malformed(format!("a report of account {found} instead of {expected}")))
        }
        (None, None) => Err(malformed("the report has no row with an account id".to_owned())),
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
        warn!(account, rows = more + 1, "more rows of the report rejected");
    }
}
