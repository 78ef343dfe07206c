//! What is published of a refresh before it ends.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::context::RefreshContext;
use crate::failure::Failure;
use crate::source::target::Target;
use crate::state::Account;

/// A refresh that goes on publishes its results so far at this interval,
const PUBLISH_AGAIN: Duration = Duration::from_secs(10);
/// and a first report after this time, when its details were asked for.
const PUBLISH_FIRST_REPORT: Duration = Duration::from_secs(2);

/// What is known for sure, and when it is published. Nothing is published that may be another account's.
pub(super) struct Progress<'a, P> {
    context: &'a RefreshContext<'a>,
    target: &'a Target,
    deadline: Instant,
    /// The account as of the last time when all of it was known to be of this account.
    pub(super) verified: Account,
    /// When the results so far are published next.
    next: Instant,
    publish: P,
}

impl<'a, P: Fn(&Account)> Progress<'a, P> {
    /// The progress of a refresh that ends at `deadline`. The account was `verified` before its report was
    /// read, which contains its id.
    pub(super) fn new(
        context: &'a RefreshContext<'a>,
        target: &'a Target,
        deadline: Instant,
        verified: Account,
        publish: P,
    ) -> Progress<'a, P> {
        let is_first = verified.refresh.last.is_none();
        let wait = if is_first { PUBLISH_FIRST_REPORT } else { PUBLISH_AGAIN };
        let next = Instant::now() + wait;
        Progress { context, target, deadline, verified, next, publish }
    }

    /// Whether it is time to publish.
    pub(super) fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Makes sure that the account's data is its own, and publishes it.
    pub(super) async fn publish(&mut self, account: &Account) -> Result<(), Failure> {
        self.next = Instant::now() + PUBLISH_AGAIN;
        self.verify(account).await?;
        (self.publish)(account);
        self.verified.clone_from(account);
        Ok(())
    }

    /// Makes sure that the account's data is its own.
    pub(super) async fn verify(&self, account: &Account) -> Result<(), Failure> {
        let Progress { context, target, deadline, verified, .. } = self;
        context.identify_again(target, account, verified, *deadline).await
    }

    /// Waits for calls. If they take long, publishes meanwhile what is known without them.
    pub(super) async fn wait_for<T>(
        &mut self,
        account: &Account,
        calls: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        let mut calls = pin!(calls);
        if let Ok(answers) = timeout_at(self.next, &mut calls).await {
            return Ok(answers);
        }
        let ((), answers) = tokio::try_join!(self.publish(account), async { Ok(calls.await) })?;
        Ok(answers)
    }
}
