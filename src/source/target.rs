//! Values that every source gives: which accounts there are, and their reports.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::is_from_the_future;
use crate::config::Access;
use crate::failure::Failure;
use crate::report::Report;

/// AWS generates a new report at most this often. Within this time it returns the last report
/// again.
pub const REPORT_LIFETIME: TimeDelta = TimeDelta::hours(4);

/// Whether a report of this time is still good, because AWS would return the same again. A report
/// from the future is not: with a slow clock, it would be good for too long.
pub fn is_good(generated: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - generated < REPORT_LIFETIME && !is_from_the_future(generated, now)
}

/// An account that a source can give a report of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Identifies this account within its source.
    pub key: String,
    /// The account's id, if it is known before the first report: see
    /// [`Account::id`](crate::state::Account::id).
    pub id: String,
    /// The account's name. May be empty.
    pub name: String,
    /// The credentials to use. Only for AWS.
    pub access: Access,
}

/// The accounts that a source found.
#[derive(Debug, Default)]
pub struct Discovered {
    /// The accounts.
    pub targets: Vec<Target>,
    /// Whether the list is complete. If not, other known accounts may still exist.
    pub is_all: bool,
    /// The ids of accounts that the configuration excludes.
    pub excluded: BTreeSet<String>,
    /// Whether they come from files, not from credentials.
    pub are_files: bool,
    /// The place in which the accounts were found, for the log.
    pub origin: &'static str,
}

/// A report's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawReport {
    /// The report's bytes.
    pub csv: Vec<u8>,
    /// The parsed report, if the source had to parse it.
    pub parsed: Option<Arc<Report>>,
    /// When it was generated.
    pub generated: DateTime<Utc>,
}

/// A source's answer about one account. Without report and failure, the last report is still good.
/// With both, the source has a report but could not get a newer one.
#[derive(Debug, Default)]
pub struct FetchResult {
    /// The newest report.
    pub report: Option<RawReport>,
    /// Why there is no report, or why it is older than it should be.
    pub failure: Option<Failure>,
}

impl From<RawReport> for FetchResult {
    fn from(report: RawReport) -> FetchResult {
        FetchResult { report: Some(report), ..FetchResult::default() }
    }
}

impl From<Failure> for FetchResult {
    fn from(failure: Failure) -> FetchResult {
        FetchResult { failure: Some(failure), ..FetchResult::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_good_for_four_hours_and_never_from_the_future() {
        let generated = DateTime::UNIX_EPOCH;
        let good_after = |seconds| is_good(generated, generated + TimeDelta::seconds(seconds));
        assert_eq!(
            [-301, -300, 0, 14_399, 14_400].map(good_after),
            [false, true, true, true, false]
        );
    }
}
