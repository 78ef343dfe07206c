//! What a refresh needs, whose account it is, and how it went.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::config::Config;
use crate::failure::{Failure, Reason};
use crate::source::Source;
use crate::source::target::Target;
use crate::state::Account;

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

impl RefreshContext<'_> {
    /// Finds out which account the credentials belong to. Loads them again if they did not work the
    /// last time.
    pub(super) async fn identify(
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
            account.identify(&id, &target.name);
        }
        Ok(())
    }

    /// Makes sure that whatever was learned since the account was `verified` is of this account: credentials
    /// can become another account's at any moment. An account at rest, of which nothing new was learned, is
    /// not asked for.
    pub(super) async fn identify_again(
        &self,
        target: &Target,
        account: &Account,
        verified: &Account,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let keeps_root =
            |it: &Account| it.report.as_ref().is_some_and(|report| report.keeps_root());
        // A report contains its account id.
        let is_same = account.tags == verified.tags
            && account.alias == verified.alias
            && account.service_credentials == verified.service_credentials
            && keeps_root(account) == keeps_root(verified)
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
        id.unwrap_or_else(|_| Err(Failure::deadline("GetCallerIdentity")))
    }

    /// Records how the refresh went. A failure from before is not counted again.
    pub(super) fn record(
        &self,
        account: &mut Account,
        failure: Option<&Failure>,
        started: Instant,
    ) {
        let failures = account.refresh.failures;
        account.record(failure, started.elapsed(), self.clock.now());
        if failure.is_some() && failure == self.paused {
            account.refresh.failures = failures;
        }
    }
}
