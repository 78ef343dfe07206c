//! Details that the report does not have: tags, the alias, service-specific credentials, and data for
//! controls. Each is read once for each new report, and again if that failed.
//!
//! Calls that do not need each other's answers are made at the same time, so that one that hangs takes no
//! time of the others.

mod control_data;
mod users;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info};

use super::context::RefreshContext;
use crate::clock::is_from_the_future;
use crate::evidence::Reading;
use crate::failure::{Failure, Reason};
use crate::service_credentials::CredentialList;
use crate::source::target::Target;
use crate::state::{Account, Tried};
use users::Users;

/// The answer to a call. `None`: it was not made.
type Answer<T> = Option<Result<T, Failure>>;

/// What is read before confirmation, because it decides who is flagged, or is about keys.
#[derive(Debug)]
pub(in crate::refresh) struct Details {
    pub(in crate::refresh) users: Answer<Users>,
    pub(in crate::refresh) alias: Answer<Option<String>>,
    pub(in crate::refresh) service_credentials: Answer<Option<CredentialList>>,
}

/// A list of service-specific credentials that is older is asked for again although there is no newer report.
/// Reports come every four hours.
const MAX_LIST_AGE: TimeDelta = TimeDelta::hours(5);

impl RefreshContext<'_> {
    /// Makes the calls for details that are due, until then. `is_new`: the report is.
    pub(in crate::refresh) async fn ask_for_details(
        &self,
        target: &Target,
        account: &Account,
        is_new: bool,
        until: Instant,
    ) -> Details {
        let wants_list = self.config.service_credentials;
        let listed = account.refresh.service_credentials_listed;
        // One of the future was listed by a clock that was wrong.
        let now = self.clock.now();
        let is_old = listed
            .is_none_or(|listed| now - listed > MAX_LIST_AGE || is_from_the_future(listed, now));
        let lacks_list = is_old || account.refresh.service_credentials != Tried::Ok;
        let known = account.service_credentials.clone().unwrap_or_default();
        let (users, alias, service_credentials) = tokio::join!(
            ask(
                "GetAccountAuthorizationDetails",
                self.users_are_due(account, is_new),
                self.users(target, account, is_new, until),
                until,
            ),
            ask(
                "ListAccountAliases",
                self.alias_is_due(target, account, is_new),
                self.source.alias(target),
                until,
            ),
            ask(
                "ListServiceSpecificCredentials",
                wants_list && (is_new || lacks_list),
                self.source.service_credentials(target, &known),
                until,
            ),
        );
        Details { users, alias, service_credentials }
    }

    /// Whether the alias is asked for: of an account without a configured name, and if it could not be read
    /// but rules need it, in each refresh.
    fn alias_is_due(&self, target: &Target, account: &Account, is_new: bool) -> bool {
        let lacks_it =
            || account.refresh.name != Tried::Ok && self.config.policy.needs_name(&account.id);
        target.name.is_empty() && (is_new || lacks_it())
    }

    /// Updates the account from its alias. If no rule needs the name, a missing permission is not a
    /// failure.
    pub(in crate::refresh) fn take_alias(
        &self,
        target: &Target,
        account: &mut Account,
        answer: Answer<Option<String>>,
    ) -> Result<(), Failure> {
        if !target.name.is_empty() {
            account.refresh.name = Tried::Ok;
            return Ok(());
        }
        let is_needed = self.config.policy.needs_name(&account.id);
        if !is_needed && account.refresh.name == Tried::Failed {
            account.refresh.name = Tried::NotYet;
        }
        match answer {
            None => Ok(()),
            Some(Ok(alias)) => {
                account.refresh.name = Tried::Ok;
                account.alias = alias;
                account.rename(&target.name);
                Ok(())
            }
            Some(Err(failure)) if is_needed => {
                account.refresh.name = Tried::Failed;
                Err(failure)
            }
            Some(Err(error)) => {
                account.refresh.name = Tried::NotYet;
                debug!(account = account.id, %error, "alias not read");
                Ok(())
            }
        }
    }

    /// Updates the account from its service-specific credentials.
    pub(in crate::refresh) fn take_service_credentials(
        &self,
        account: &mut Account,
        answer: Answer<Option<CredentialList>>,
    ) -> Result<(), Failure> {
        if !self.config.service_credentials {
            account.service_credentials = None;
            account.refresh.service_credentials = Tried::NotYet;
            return Ok(());
        }
        let Some(listed) = answer else { return Ok(()) };
        account.refresh.service_credentials = Tried::Failed;
        let failed = |why: &str| {
            let message = format!("ListServiceSpecificCredentials: {why}");
            Err(Failure::new(Reason::ServiceError, message))
        };
        let before = account.service_credentials.clone().unwrap_or_default();
        let Some(listed) = listed? else {
            if account.refresh.service_credentials_exist || before.all().next().is_some() {
                return failed(
                    "AWS has answered this call before, and now says that it has no such call",
                );
            }
            info!(account = account.id, "the partition has no service-specific credentials");
            account.service_credentials = Some(before);
            account.refresh.service_credentials = Tried::Ok;
            account.refresh.service_credentials_listed = Some(self.clock.now());
            return Ok(());
        };
        account.refresh.service_credentials_exist = true;
        let mut credentials = listed.credentials;
        if let Some(report) = &account.report {
            let listed = account.refresh.service_credentials_listed;
            credentials.match_users(&before, report, account.generated, listed);
        }
        // A list without a credential, and without a service, does not say that there is none.
        let is_known = listed.refused.is_empty() || credentials.all().next().is_some();
        account.service_credentials = is_known.then(|| Arc::new(credentials));
        let now = self.clock.now();
        if let Some(failure) = most_urgent(listed.refused.into_iter()) {
            return Err(failure);
        }
        account.refresh.service_credentials = Tried::Ok;
        account.refresh.service_credentials_listed = Some(now);
        self.lack_of_users(account).map_or(Ok(()), Err)
    }

    /// Why a list of service-specific credentials that worked does not count: it is not known whose all are.
    pub(in crate::refresh) fn lack_of_users(&self, account: &mut Account) -> Option<Failure> {
        let is_listed = account.refresh.service_credentials == Tried::Ok;
        if !is_listed || !account.lacks_users_of_service_credentials(self.clock.now()) {
            return None;
        }
        account.refresh.service_credentials = Tried::Failed;
        let message = "ListServiceSpecificCredentials: credentials whose users are not known: they are not in the report, or can have another name in it, or AWS no longer has them";
        Some(Failure::new(Reason::ServiceError, message))
    }
}

/// Makes a call if it is due. Until then it has all of the time.
async fn ask<T>(
    name: &str,
    is_due: bool,
    call: impl Future<Output = Result<T, Failure>>,
    until: Instant,
) -> Answer<T> {
    if !is_due {
        return None;
    }
    Some(timeout_at(until, call).await.unwrap_or_else(|_| Err(Failure::deadline(name))))
}

/// Updates a reading. An answer that is not wanted is forgotten. Returns why there is none.
fn take<T>(
    reading: &mut Reading<T>,
    is_wanted: bool,
    answer: Answer<T>,
    now: DateTime<Utc>,
) -> Option<Failure> {
    if !is_wanted {
        *reading = Reading::default();
        return None;
    }
    match answer? {
        Ok(value) => {
            *reading = Reading::of(value, now);
            None
        }
        Err(failure) => {
            reading.fail(failure.reason);
            Some(failure)
        }
    }
}

/// A permission that is missing for data that nothing else needs is no failure.
fn tolerate(account: &Account, failure: Failure) -> Result<(), Failure> {
    if failure.reason != Reason::AccessDenied {
        return Err(failure);
    }
    debug!(account = account.id, error = %failure, "data for controls not read");
    Ok(())
}

/// Of several failures, the one because of which the exporter has to wait.
fn most_urgent(failures: impl Iterator<Item = Failure>) -> Option<Failure> {
    failures.min_by_key(|failure| !failure.reason.is_overload())
}
