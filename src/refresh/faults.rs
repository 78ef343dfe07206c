//! What a refresh could not read, and what the log says of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use tracing::{debug, info, warn};

use crate::evidence::{EvidenceKind, Standing};
use crate::failure::Failure;
use crate::source::target::Target;
use crate::state::{Account, Tried, UNKNOWN_ACCOUNT};

/// A kind of data that a refresh reads besides the report, in the order in which it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// The users' tags. Their policies are in the same answer.
    Tags,
    /// The alias of an account without another name.
    Alias,
    /// Service-specific credentials.
    ServiceCredentials,
    /// The keys of flagged users, as they are now.
    Confirmation,
    /// Data that only controls need. If a permission is missing for it, that is no failure.
    ControlData(EvidenceKind),
}

/// Why details could not be read.
pub type DetailFailures = BTreeMap<Detail, Failure>;

impl Detail {
    /// Each one that can fail. Policies of users fail with [`Detail::Tags`].
    const ALL: [Detail; 7] = [
        Detail::Tags,
        Detail::Alias,
        Detail::ServiceCredentials,
        Detail::Confirmation,
        Detail::ControlData(EvidenceKind::AccountSummary),
        Detail::ControlData(EvidenceKind::PasswordPolicy),
        Detail::ControlData(EvidenceKind::VirtualMfaDevices),
    ];

    /// For the log.
    fn name(self) -> &'static str {
        match self {
            Detail::Tags => "reading tags",
            Detail::Alias => "reading the alias",
            Detail::ServiceCredentials => "listing service-specific credentials",
            Detail::Confirmation => "confirmation",
            Detail::ControlData(EvidenceKind::AccountSummary) => "reading the account summary",
            Detail::ControlData(EvidenceKind::PasswordPolicy) => "reading the password policy",
            Detail::ControlData(EvidenceKind::VirtualMfaDevices) => "listing virtual MFA devices",
            Detail::ControlData(EvidenceKind::UserPolicies) => "reading policies of users",
        }
    }

    /// How the last try went.
    fn tried(self, target: &Target, account: &Account, now: DateTime<Utc>) -> Tried {
        let read = |kind| match account.evidence.standing(kind, now) {
            Standing::NotRead => Tried::NotYet,
            Standing::Good | Standing::Old => Tried::Ok,
            Standing::Failed(_) => Tried::Failed,
        };
        match self {
            // Without tags, users are read for their policies.
            Detail::Tags if account.refresh.tags == Tried::NotYet => {
                read(EvidenceKind::UserPolicies)
            }
            Detail::Tags => account.refresh.tags,
            // A name of the configuration says nothing of the alias.
            Detail::Alias if !target.name.is_empty() => Tried::NotYet,
            Detail::Alias => account.refresh.name,
            Detail::ServiceCredentials => account.refresh.service_credentials,
            Detail::Confirmation => account.refresh.confirmation,
            Detail::ControlData(kind) => read(kind),
        }
    }
}

/// Faults of one account. Each is logged when it begins and when it ends.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) refresh: Fault,
    details: [Fault; Detail::ALL.len()],
}

impl Faults {
    /// Those of another account are over, and nothing of this one works again.
    pub(super) fn follow(&mut self, last_id: &str, id: &str) {
        if last_id != id && last_id != UNKNOWN_ACCOUNT {
            *self = Faults::default();
        }
    }

    /// Notes how the details of a refresh went.
    pub(super) fn note_details(
        &mut self,
        target: &Target,
        account: &Account,
        failures: &DetailFailures,
        now: DateTime<Utc>,
    ) {
        let id = Some(account.label());
        for (detail, fault) in Detail::ALL.into_iter().zip(&mut self.details) {
            let tried = detail.tried(target, account, now);
            fault.note(id, detail.name(), failures.get(&detail), tried);
        }
    }
}

/// A new message is a new fault: after one permission is added, AWS names the next missing one.
#[derive(Default)]
pub(super) struct Fault(Option<Failure>);

impl Fault {
    /// Without a failure it works again only if it was tried. Otherwise the fault goes on.
    pub(super) fn note(
        &mut self,
        account: Option<&str>,
        what: &str,
        failure: Option<&Failure>,
        tried: Tried,
    ) {
        match failure {
            Some(failure) if self.0.as_ref() == Some(failure) => {
                let (reason, error) = (failure.reason.as_str(), &failure.message);
                debug!(account, reason, error, "{what} failed again");
            }
            Some(Failure { reason, message }) => {
                self.0 = failure.cloned();
                warn!(account, reason = reason.as_str(), error = message, "{what} failed");
            }
            None if tried == Tried::Ok && self.0.take().is_some() => {
                info!(account, "{what} works again");
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Access;
    use crate::evidence::{AccountSummary, Reading};
    use crate::failure::Reason;
    use crate::logging::{LogFormat, lines};

    #[test]
    fn of_another_account_nothing_works_again() {
        let denied = Failure::new(Reason::AccessDenied, "denied");
        let (one, other) = ("111111111111", "222222222222");
        for (last_id, works) in [(UNKNOWN_ACCOUNT, true), (other, true), (one, false)] {
            let text = lines(LogFormat::Logfmt, || {
                let mut faults = Faults::default();
                faults.refresh.note(Some(last_id), "refresh", Some(&denied), Tried::Failed);
                faults.follow(last_id, other);
                faults.refresh.note(Some(other), "refresh", None, Tried::Ok);
            });
            assert_eq!(text.contains("refresh works again"), works, "{last_id}: {text}");
        }
    }

    #[test]
    fn a_fault_is_logged_when_it_begins_changes_and_ends() {
        let denied = |what: &str| Failure::new(Reason::AccessDenied, what);
        let text = lines(LogFormat::Logfmt, || {
            let mut fault = Fault::default();
            for failure in [Some("get"), Some("get"), Some("generate"), None, None] {
                fault.note(None, "refresh", failure.map(denied).as_ref(), Tried::Ok);
            }
        });
        let expected = ["error=get", "error=generate", "refresh works again"];
        assert_eq!(text.lines().count(), expected.len(), "{text}");
        assert!(text.lines().zip(expected).all(|(line, part)| line.contains(part)), "{text}");
    }

    #[test]
    fn a_detail_works_again_if_its_own_call_does() {
        let now = Utc::now();
        let summary = Detail::ControlData(EvidenceKind::AccountSummary);
        let text = |detail: Detail, answer: fn(&mut Account, DateTime<Utc>)| {
            let target = Target {
                key: String::new(),
                id: String::new(),
                name: String::new(),
                access: Access::default(),
            };
            let mut account = Account::pending("123456789012", "");
            lines(LogFormat::Logfmt, || {
                let mut faults = Faults::default();
                let failed = Failure::new(Reason::ServiceError, "InternalFailure");
                let failures = DetailFailures::from([(detail, failed)]);
                faults.note_details(&target, &account, &failures, now);
                answer(&mut account, now);
                faults.note_details(&target, &account, &DetailFailures::new(), now);
            })
        };
        for other in [
            |_: &mut Account, _| {},
            |account: &mut Account, now| account.evidence.password_policy = Reading::of(None, now),
            |account: &mut Account, _| account.evidence.summary.fail(Reason::AccessDenied),
        ] {
            let text = text(summary, other);
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.contains("reading the account summary failed"), "{text}");
        }
        let mended = text(summary, |account, now| {
            account.evidence.summary = Reading::of(AccountSummary::default(), now);
            account.evidence.password_policy.fail(Reason::AccessDenied);
        });
        assert!(mended.contains("reading the account summary works again"), "{mended}");
        // No tags are wanted, only policies.
        let mended = text(Detail::Tags, |account, now| {
            account.evidence.user_policies = Reading::of(Default::default(), now);
        });
        assert!(mended.contains("reading tags works again"), "{mended}");
    }

    #[test]
    fn what_was_not_tried_again_does_not_work_again() {
        let denied = Failure::new(Reason::AccessDenied, "denied");
        let text = lines(LogFormat::Logfmt, || {
            for tried in [Tried::NotYet, Tried::Failed] {
                let mut fault = Fault::default();
                for failure in [Some(&denied), None, Some(&denied)] {
                    fault.note(None, "reading tags", failure, tried);
                }
                fault.note(None, "reading tags", None, Tried::Ok);
            }
        });
        let expected = ["reading tags failed", "reading tags works again"].repeat(2);
        assert_eq!(text.lines().count(), expected.len(), "{text}");
        assert!(text.lines().zip(expected).all(|(line, part)| line.contains(part)), "{text}");
    }
}
