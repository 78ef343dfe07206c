//! One refresh of one account: identity, report, details, confirmation.

use tokio::time::Instant;

use super::context::RefreshContext;
use super::faults::{Detail, DetailFailures};
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
    /// Why details could not be read.
    pub detail_failures: DetailFailures,
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
        detail_failures: DetailFailures::new(),
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
        let RefreshOutcome { account, reached, failure, has_details, detail_failures } = outcome;
        let mut note = |detail: Detail, failure: Option<Failure>| {
            detail_failures.extend(failure.map(|failure| (detail, failure)));
        };
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
            account.refresh.tags = Tried::NotYet;
            if self.config.policy.needs_tags() {
                account.refresh.tags = Tried::Failed;
                let message = "rules need tags, and report files have none";
                note(Detail::Tags, Some(Failure::new(Reason::UnreadableFile, message)));
            }
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
            note(Detail::Tags, self.take_users(account, details.users).err());
            note(Detail::Alias, self.take_alias(target, account, details.alias).err());
            let listed = self.take_service_credentials(account, details.service_credentials);
            note(Detail::ServiceCredentials, listed.err());
            // Keys come first: confirmation leaves a tenth of the time. Half of that is for the question
            // whose the answers are, without which nothing of this refresh counts.
            let until = deadline - self.timeout / 10;
            let refusal = self.confirm(target, account, &mut progress, until).await?;
            note(Detail::Confirmation, refusal);
            let lack = self.lack_of_users(account);
            note(Detail::ServiceCredentials, lack);
            let until = deadline - self.timeout / 20;
            let calls = self.ask_for_control_data(target, account, is_new, until);
            let answers = progress.wait_for(account, calls).await?;
            for (kind, failure) in self.take_control_data(account, answers) {
                note(Detail::ControlData(kind), Some(failure));
            }
            account.details_of = account.generated;
            account.forget_root_without_keys(self.clock.now());
            progress.verify(account).await
        };
        if let Err(wrong) = checked.await {
            *account = progress.verified;
            (*failure, *has_details) = (Some(wrong), false);
        }
        // The last answer says how the clock is now.
        if failure.is_none() {
            *failure = self.clock_is_right(account).err();
        }
    }
}

/// Half of the time until then.
fn half(until: Instant) -> Instant {
    let now = Instant::now();
    now + until.saturating_duration_since(now) / 2
}
