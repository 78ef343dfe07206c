//! Failures: one closed set of reasons, the same in logs, metrics, `check` and the status page.

use crate::printable::is_printable;
use crate::secrets;

/// Why a refresh failed: the closed set that is the label `reason` of `iam_refresh_failures_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// AWS answered that a permission is missing.
    AccessDenied,
    /// There are no credentials, or AWS does not accept them.
    Credentials,
    /// AWS answered that there were too many requests.
    Throttled,
    /// AWS has no capacity to generate another report.
    LimitExceeded,
    /// AWS did not finish generating the report in time.
    ReportNotReady,
    /// A call or the whole refresh took too long.
    Timeout,
    /// AWS could not be reached, or the connection broke.
    Network,
    /// AWS answered with an internal error, or with an answer that cannot be parsed.
    ServiceError,
    /// The bytes are not a credential report.
    MalformedReport,
    /// The report file cannot be read.
    UnreadableFile,
    /// The clocks of the exporter and of AWS, or of the report, differ too much.
    Clock,
    /// The exporter has a bug.
    InternalError,
}

/// Why something could not be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The reason for metrics.
    pub reason: Reason,
    /// One line of text.
    pub message: String,
}

/// Failed refreshes by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FailureCounts([u64; Reason::ALL.len()]);

impl Reason {
    /// Every reason, in the order of the page.
    pub const ALL: [Reason; 12] = [
        Reason::AccessDenied,
        Reason::Credentials,
        Reason::Throttled,
        Reason::LimitExceeded,
        Reason::ReportNotReady,
        Reason::Timeout,
        Reason::Network,
        Reason::ServiceError,
        Reason::MalformedReport,
        Reason::UnreadableFile,
        Reason::Clock,
        Reason::InternalError,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::AccessDenied => "access_denied",
            Reason::Credentials => "credentials",
            Reason::Throttled => "throttled",
            Reason::LimitExceeded => "limit_exceeded",
            Reason::ReportNotReady => "report_not_ready",
            Reason::Timeout => "timeout",
            Reason::Network => "network",
            Reason::ServiceError => "service_error",
            Reason::MalformedReport => "malformed_report",
            Reason::UnreadableFile => "unreadable_file",
            Reason::Clock => "clock",
            Reason::InternalError => "internal_error",
        }
    }

    /// Whether AWS asks for fewer calls.
    pub fn is_overload(self) -> bool {
        matches!(self, Reason::Throttled | Reason::LimitExceeded)
    }
}

impl Failure {
    /// A failure with this message. Known secrets in it are masked, and control characters become
    /// spaces, because parts of it may come from AWS or from files.
    pub fn new(reason: Reason, message: impl Into<String>) -> Failure {
        let message = secrets::mask(&message.into()).replace(|c| !is_printable(c), " ");
        Failure { reason, message }
    }

    /// The refresh reached its deadline while it waited for this call.
    pub fn deadline(call: &str) -> Failure {
        Failure::new(Reason::Timeout, format!("{call}: not finished within --refresh.timeout"))
    }
}

impl FailureCounts {
    /// The number of failures for this reason.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// Counts one failure.
    pub fn count(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_in_the_order_of_their_counters() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }
}
