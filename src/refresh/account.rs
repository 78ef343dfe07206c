//! One refresh of one account: identity, report, details, confirmation.

use tokio::time::Instant;

use super::context::RefreshContext;
use super::progress::Progress;
use crate::failure::{Failure, Reason};
use crate::panics::catch_async;
use crate::source::target::Target;
use crate::state::{Account, Tried};

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
        account.has_live_data = self.source.has_live_data();
        let verified = account.clone();
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
        let so_far = |account: &Account| {
            let mut so_far = account.clone();
            self.record(&mut so_far, failure.as_ref(), started);
            publish(&so_far);
        };
        let is_new = account.details_of != account.generated;
        if is_new && account.tags.is_some() && !account.knows_tags(&self.config.tag_keys()) {
            account.refresh.tags = Tried::Failed;
        }
        let mut progress = Progress::new(self, target, deadline, verified, so_far);
        let checked = async {
            // Slow details leave time for confirmation.
            let calls = self.ask_for_details(target, account, is_new, half(deadline));
            // Without tags, a first page would show every key as nobody's, and alerts of its owners would end.
            let details = match last {
                None => calls.await,
                Some(_) => progress.wait_for(account, calls).await?,
            };
            *tags = self.take_users(account, details.users).err();
            *alias = self.take_alias(target, account, details.alias).err();
            let listed = details.service_credentials;
            *service_credentials = self.take_service_credentials(account, listed).err();
            // Keys come first: confirmation leaves a tenth of the time. Half of that is for the question
            // whose the answers are, without which nothing of this refresh counts.
            let until = deadline - self.timeout / 10;
            *confirmation = self.confirm(target, account, &mut progress, until).await?;
            let until = deadline - self.timeout / 20;
            let calls = self.ask_for_control_data(target, account, is_new, until);
            let answers = progress.wait_for(account, calls).await?;
            *evidence = self.take_control_data(account, answers).err();
            account.details_of = account.generated;
            account.forget_root_without_keys(self.clock.now());
            progress.verify(account).await
        };
        if let Err(wrong) = checked.await {
            *account = progress.verified;
            (*failure, *has_details) = (Some(wrong), false);
        }
    }
}

/// Half of the time until then.
fn half(until: Instant) -> Instant {
    let now = Instant::now();
    now + until.saturating_duration_since(now) / 2
}
