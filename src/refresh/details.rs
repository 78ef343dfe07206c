//! Details that the report does not have: tags, the alias, service-specific credentials, and data for
//! controls. Each is read once for each new report, and again if that failed.
//!
//! Calls that do not need each other's answers are made at the same time, so that one that hangs takes no
//! time of the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info};

use super::confirm::turns;
use super::context::RefreshContext;
use crate::evidence::{AccountSummary, Evidence, EvidenceKind, PasswordPolicy, Reading};
use crate::failure::{Failure, Reason};
use crate::report::Report;
use crate::service_credentials::CredentialList;
use crate::source::target::Target;
use crate::state::{Account, Tags, Tried};

/// The answer to a call. `None`: it was not made.
type Answer<T> = Option<Result<T, Failure>>;

/// What is read before confirmation, because it decides who is flagged, or is about keys.
#[derive(Debug)]
pub(super) struct Details {
    pub(super) users: Answer<Users>,
    pub(super) alias: Answer<Option<String>>,
    pub(super) service_credentials: Answer<Option<CredentialList>>,
}

/// What is read after confirmation: only controls need it.
#[derive(Debug)]
pub(super) struct ControlData {
    summary: Answer<AccountSummary>,
    password_policy: Answer<Option<PasswordPolicy>>,
    root_virtual_mfa: Answer<bool>,
}

/// The users with their tags and policies.
#[derive(Debug)]
pub(super) struct Users {
    tags: Tags,
    policies: BTreeMap<String, bool>,
    /// Users of the report who are gone.
    gone: Vec<String>,
    /// Why the list lacks other users of the report.
    lack: Option<Failure>,
}

/// Calls a second about users who are not in the list of users, without a rate in the configuration.
const UNLISTED_RATE: u32 = 5;

impl RefreshContext<'_> {
    /// Makes the calls for details that are due, until then. `is_new`: the report is.
    pub(super) async fn ask_for_details(
        &self,
        target: &Target,
        account: &Account,
        is_new: bool,
        until: Instant,
    ) -> Details {
        let wants_list = self.config.service_credentials;
        let lacks_list = account.refresh.service_credentials != Tried::Ok;
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

    /// Makes the calls that only controls need and that are due, until then: once for each new report, and
    /// again when an answer gets old. `is_new`: the report is. A call that failed is made again with the next
    /// refresh, unless a permission is missing, which is no failure: the controls say so.
    pub(super) async fn ask_for_control_data(
        &self,
        target: &Target,
        account: &Account,
        is_new: bool,
        until: Instant,
    ) -> ControlData {
        let now = self.clock.now();
        let Evidence { summary, password_policy, root_virtual_mfa, .. } = &account.evidence;
        let is_due = |kind, lacks_it| self.config.reads(kind) && (is_new || lacks_it);
        let summary_is_due = self.wants_summary(account) && (is_new || summary.is_due(now));
        let policy_is_due = is_due(EvidenceKind::PasswordPolicy, password_policy.is_due(now));
        let devices_are_due = is_due(EvidenceKind::VirtualMfaDevices, root_virtual_mfa.is_due(now));
        let (summary, password_policy, root_virtual_mfa) = tokio::join!(
            ask("GetAccountSummary", summary_is_due, self.source.summary(target), until),
            ask(
                "GetAccountPasswordPolicy",
                policy_is_due,
                self.source.password_policy(target),
                until,
            ),
            ask(
                "ListVirtualMFADevices",
                devices_are_due,
                self.source.root_virtual_mfa(target),
                until,
            ),
        );
        ControlData { summary, password_policy, root_virtual_mfa }
    }

    /// Whether the users are asked for: for the tags that the configuration needs, or because it asks for
    /// their policies.
    fn users_are_due(&self, account: &Account, is_new: bool) -> bool {
        let keys = self.config.tag_keys();
        let needs_tags = !keys.is_empty();
        let needs_policies = self.config.reads(EvidenceKind::UserPolicies);
        let has_keys = account.tags.as_ref().is_some_and(|tags| tags.keys == keys);
        let knows_tags = has_keys && account.knows_tags(&keys);
        needs_tags && (is_new || !knows_tags || account.refresh.tags != Tried::Ok)
            || needs_policies && (is_new || account.evidence.user_policies.is_due(self.clock.now()))
    }

    /// The users with their tags and policies. A user of the report who is not in the list has unknown tags,
    /// not none, unless the user is gone.
    async fn users(
        &self,
        target: &Target,
        account: &Account,
        is_new: bool,
        until: Instant,
    ) -> Result<Users, Failure> {
        let keys = self.config.tag_keys();
        let (mut tags, policies) = self.source.users(target, &keys).await?;
        let before = account.tags.as_ref().filter(|before| before.keys == keys);
        // Whoever is in a new report may be there again.
        if let Some(before) = before.filter(|_| !is_new) {
            let gone = before.gone.iter().filter(|user| !policies.contains_key(*user));
            tags.gone = gone.cloned().collect();
        }
        let reported = account.report.iter().flat_map(|report| &report.users);
        let mut unlisted: Vec<&str> = reported
            .filter(|user| !keys.is_empty() && !user.is_root())
            .filter(|user| !policies.contains_key(&user.name))
            .filter(|user| account.confirmed.keys(user).is_some())
            .map(|user| user.name.as_str())
            .collect();
        for user in &unlisted {
            if let Some(known) = before.and_then(|before| before.by_user.get(*user)) {
                tags.by_user.insert((*user).to_owned(), known.clone());
            }
        }
        unlisted.retain(|user| !tags.gone.contains(*user));
        let (gone, lack) = self.ask_about(target, &unlisted, until).await;
        Ok(Users { tags, policies, gone, lack })
    }

    /// Which of these users are gone, and why the others may still exist. Asks about one after the other,
    /// until one of them exists or until then. The next refresh goes on with the others.
    async fn ask_about(
        &self,
        target: &Target,
        users: &[&str],
        until: Instant,
    ) -> (Vec<String>, Option<Failure>) {
        let mut gone = Vec::new();
        let mut turns = turns(self.config.confirm.unwrap_or(UNLISTED_RATE));
        for user in users {
            if self.source.calls_aws() && timeout_at(until, turns.tick()).await.is_err() {
                break;
            }
            match timeout_at(until, self.source.keys(target, user)).await {
                Ok(Ok(None)) => gone.push((*user).to_owned()),
                Ok(Ok(Some(_))) | Err(_) => break,
                Ok(Err(failure)) => return (gone, Some(failure)),
            }
        }
        let lack = (gone.len() < users.len()).then(|| {
            let message =
                "GetAccountAuthorizationDetails: the list lacks users who are in the report";
            Failure::new(Reason::ServiceError, message)
        });
        (gone, lack)
    }

    /// Updates the account from the list of users. Without tags, policies are read only if the
    /// configuration asks for them, and then a missing permission is no failure.
    pub(super) fn take_users(
        &self,
        account: &mut Account,
        answer: Answer<Users>,
    ) -> Result<(), Failure> {
        let needs_tags = !self.config.tag_keys().is_empty();
        if !needs_tags {
            account.tags = None;
            account.refresh.tags = Tried::NotYet;
        }
        let mut lack = None;
        let policies = match answer {
            None => None,
            Some(Err(failure)) => Some(Err(failure)),
            Some(Ok(users)) => {
                let mut tags = users.tags;
                for user in users.gone {
                    match self.config.confirm {
                        Some(_) => Arc::make_mut(&mut account.confirmed).insert(&user, None),
                        // Only the report says who is there. Of who is gone no more tags are needed.
                        None => drop(tags.gone.insert(user)),
                    }
                }
                if needs_tags {
                    account.tags = Some(Arc::new(tags));
                    account.refresh.tags = Tried::Ok;
                }
                lack = users.lack;
                Some(Ok(Arc::new(users.policies)))
            }
        };
        let is_wanted = needs_tags || self.config.reads(EvidenceKind::UserPolicies);
        let reading = &mut account.evidence.user_policies;
        let failure = take(reading, is_wanted, policies, self.clock.now());
        match failure.or(lack) {
            None => Ok(()),
            Some(failure) if needs_tags => {
                account.refresh.tags = Tried::Failed;
                Err(failure)
            }
            Some(failure) => tolerate(account, failure),
        }
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
    pub(super) fn take_alias(
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
    pub(super) fn take_service_credentials(
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
            if before.all().next().is_some() {
                return failed("AWS has listed credentials, and now says that it has no such call");
            }
            info!(account = account.id, "the partition has no service-specific credentials");
            account.service_credentials = Some(before);
            account.refresh.service_credentials = Tried::Ok;
            return Ok(());
        };
        let credentials = listed.credentials;
        // A list without a credential, and without a service, does not say that there is none.
        let is_known = listed.refused.is_empty() || credentials.all().next().is_some();
        account.service_credentials = is_known.then(|| Arc::new(credentials));
        // Whoever is newer than the report is in the next one. Without a user no rule can decide, and need
        // not if the credential cannot be used.
        let now = self.clock.now();
        let is_older = |time| account.generated.is_none_or(|generated| time <= generated);
        let others = account.service_credentials_of_others();
        let lacks_users = others.iter().any(|(_, it)| it.key(now).active && is_older(it.created));
        if let Some(failure) = most_urgent(listed.refused.into_iter()) {
            return Err(failure);
        }
        if lacks_users {
            return failed("credentials of users who are not in the report");
        }
        account.refresh.service_credentials = Tried::Ok;
        Ok(())
    }

    /// Whether the summary is asked for: because controls need it, or because the report does not show
    /// whether root has a key.
    fn wants_summary(&self, account: &Account) -> bool {
        let hides_keys = |report: &Arc<Report>| {
            report.lacks_root()
                || report.users.iter().any(|user| user.is_root() && user.lacks_keys())
        };
        self.config.reads(EvidenceKind::AccountSummary)
            || account.report.as_ref().is_some_and(hides_keys)
    }

    /// Updates the account from what controls need. Returns what failed.
    pub(super) fn take_control_data(
        &self,
        account: &mut Account,
        answers: ControlData,
    ) -> Vec<(EvidenceKind, Failure)> {
        let now = self.clock.now();
        let ControlData { summary, password_policy, root_virtual_mfa } = answers;
        let wants_summary = self.wants_summary(account);
        let wants = |kind| self.config.reads(kind);
        let evidence = &mut account.evidence;
        let (policy, devices) = (EvidenceKind::PasswordPolicy, EvidenceKind::VirtualMfaDevices);
        let failures = [
            (
                EvidenceKind::AccountSummary,
                take(&mut evidence.summary, wants_summary, summary, now),
            ),
            (policy, take(&mut evidence.password_policy, wants(policy), password_policy, now)),
            (devices, take(&mut evidence.root_virtual_mfa, wants(devices), root_virtual_mfa, now)),
        ];
        let failures = failures.into_iter();
        failures
            .filter_map(|(kind, failure)| Some((kind, tolerate(account, failure?).err()?)))
            .collect()
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
