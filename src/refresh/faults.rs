//! What does not work, for the log.

use chrono::{DateTime, Utc};
use tracing::{debug, info, warn};

use crate::evidence::{EvidenceKind, Standing};
use crate::failure::Failure;
use crate::state::{Account, Tried, UNKNOWN_ACCOUNT};

/// Faults of one account. Each is logged when it begins and when it ends.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) refresh: Fault,
    pub(super) confirmation: Fault,
    pub(super) tags: Fault,
    pub(super) alias: Fault,
    pub(super) service_credentials: Fault,
    pub(super) evidence: Fault,
}

impl Faults {
    /// Those of another account are over, and nothing of this one works again.
    pub(super) fn follow(&mut self, last_id: &str, id: &str) {
        if last_id != id && last_id != UNKNOWN_ACCOUNT {
            *self = Faults::default();
        }
    }
}

/// A new message is a new fault: after one permission is added, AWS names the next missing one.
#[derive(Default)]
pub(super) struct Fault(Option<Failure>);

impl Fault {
    /// Without a failure it works again only if it was tried.
    pub(super) fn note(&mut self, account: Option<&str>, what: &str, failure: Option<&Failure>, tried: Tried) {
        let before = std::mem::replace(&mut self.0, failure.cloned());
        match failure {
            Some(failure) if before.as_ref() == Some(failure) => {
                let (reason, error) = (failure.reason.as_str(), &failure.message);
                debug!(account, reason, error, "{what} failed again");
            }
            Some(Failure { reason, message }) => {
                warn!(account, reason = reason.as_str(), error = message, "{what} failed");
            }
            None if before.is_some() && tried == Tried::Ok => info!(account, "{what} works again"),
            None => {}
        }
    }
}

/// How the last call went of the kind of data for controls that failed before. A failure begins with the name
/// of its call.
pub(super) fn try_of_failed_call(before: &Fault, account: &Account, now: DateTime<Utc>) -> Tried {
    let message = before.0.as_ref().map_or("", |failure| failure.message.as_str());
    let failed = |kind: &EvidenceKind| {
        let (_, call) = kind.permission().split_once(':').unwrap_or_default();
        message.starts_with(call)
    };
    let failed = EvidenceKind::ALL.into_iter().find(failed);
    match failed.map(|kind| account.evidence.standing(kind, now)) {
        Some(Standing::Good) => Tried::Ok,
        Some(Standing::Failed(_)) => Tried::Failed,
        Some(Standing::NotRead | Standing::Old) | None => Tried::NotYet,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn data_for_controls_works_again_if_the_call_that_failed_does() {
        let now = Utc::now();
        let mut account = Account::pending("123456789012", "");
        let failure = Failure::new(Reason::ServiceError, "GetAccountSummary: InternalFailure");
        let fault = Fault(Some(failure));
        let tried = |account: &Account| try_of_failed_call(&fault, account, now);
        assert_eq!(tried(&account), Tried::NotYet);
        account.evidence.password_policy = Reading::of(None, now);
        assert_eq!(tried(&account), Tried::NotYet);
        account.evidence.summary.fail(Reason::AccessDenied);
        assert_eq!(tried(&account), Tried::Failed);
        account.evidence.summary = Reading::of(AccountSummary::default(), now);
        account.evidence.password_policy.fail(Reason::AccessDenied);
        assert_eq!(tried(&account), Tried::Ok);
    }

    #[test]
    fn what_was_not_tried_again_does_not_work_again() {
        let denied = Failure::new(Reason::AccessDenied, "denied");
        let text = lines(LogFormat::Logfmt, || {
            for tried in [Tried::NotYet, Tried::Failed] {
                let mut fault = Fault::default();
                fault.note(None, "reading tags", Some(&denied), Tried::Failed);
                fault.note(None, "reading tags", None, tried);
            }
        });
        assert!(text.contains("reading tags failed") && !text.contains("works again"), "{text}");
    }
}
