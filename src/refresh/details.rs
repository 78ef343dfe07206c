//! Details that the report does not have: tags, the alias, service-specific credentials, and data for
//! controls. Each is read once for each new report, and again if that failed.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::context::RefreshContext;
use crate::evidence::{Evidence, EvidenceKind, Reading};
use crate::failure::{Failure, Reason};
use crate::source::target::Target;
use crate::state::{Account, Tried};

impl RefreshContext<'_> {
    /// Reads the tags that the configuration needs, and with them who has policies, once for each new
    /// report. Without tags, policies are read only if the configuration asks for them, and then a missing
    /// permission is no failure.
    pub(super) async fn read_users(
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
        let lacks_policies = needs_policies && account.evidence.user_policies.is_due();
        if account.generated == last && !lacks_tags && !lacks_policies {
            return Ok(());
        }
        let now = self.clock.now();
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
                account.evidence.user_policies.fail(failure.reason, now);
                if needs_tags { Err(failure) } else { self.tolerate(account, failure) }
            }
        }
    }

    /// Reads the alias of an account without a configured name: once for each new report, and if it
    /// could not be read but rules need it, in each refresh. Otherwise a missing permission is not
    /// a failure.
    pub(super) async fn read_alias(
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
    pub(super) async fn read_service_credentials(
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
        let listed = Arc::new(listed?);
        account.service_credentials = Some(listed.clone());
        // Whoever is newer than the report is in the next one. Without a user no rule can decide.
        let users = account.report.iter().flat_map(|report| &report.users);
        let users: HashSet<&str> = users.map(|user| user.name.as_str()).collect();
        let is_older = |time| account.generated.is_none_or(|generated| time <= generated);
        let mut all = listed.all();
        if all.any(|(user, it)| !users.contains(user) && is_older(it.created)) {
            let message =
                "ListServiceSpecificCredentials: credentials of users who are not in the report";
            return Err(Failure::new(Reason::ServiceError, message));
        }
        account.refresh.service_credentials = Tried::Ok;
        Ok(())
    }

    /// Reads what controls need, once for each new report. A call that failed is made again with the next
    /// refresh, unless a permission is missing, which is no failure: the controls say so.
    pub(super) async fn read_evidence(
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
}

/// Half of the time until then.
pub(super) fn half(until: Instant) -> Instant {
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
    if !is_new && !reading.is_due() {
        return Ok(());
    }
    match timeout_at(half(deadline), call).await.unwrap_or_else(|_| Err(Failure::deadline())) {
        Ok(value) => {
            *reading = Reading::of(value, now);
            Ok(())
        }
        Err(failure) => {
            reading.fail(failure.reason, now);
            Err(failure)
        }
    }
}
