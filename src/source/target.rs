//! Values that every source gives: which accounts there are, and their reports.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::is_from_the_future;
use crate::config::Access;
use crate::failure::Failure;
use crate::report::Report;

/// AWS generates a new report at most this often. Within this time it answers every request for one
/// with the last report.
pub const REPORT_LIFETIME: TimeDelta = TimeDelta::hours(4);

/// Whether a report of this time is still good, as AWS would give the same again. One from the future
/// is not: by a clock that is behind, it would be good for too long.
pub fn is_good(generated: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - generated < REPORT_LIFETIME && !is_from_the_future(generated, now)
}

/// An account that a source can give a report of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Tells this account from every other of its source.
    pub key: String,
    /// The account's id as far as it is known before the first report: see
    /// [`Account::id`](crate::state::Account::id).
    pub id: String,
    /// The account's name; may be empty.
    pub name: String,
    /// How AWS is asked about it. Other sources have no use for it.
    pub access: Access,
}

/// The accounts that a source found.
#[derive(Debug, Default)]
pub struct Discovered {
    /// The accounts.
    pub targets: Vec<Target>,
    /// Whether there are no others. If not, accounts from before may still be there.
    pub is_all: bool,
    /// The ids of accounts that the configuration excludes.
    pub excluded: BTreeSet<String>,
    /// Whether they are of files, and not of credentials.
    pub are_files: bool,
    /// Where the accounts were found, for the log.
    pub origin: &'static str,
}

/// A report's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawReport {
    /// The report's bytes.
    pub csv: Vec<u8>,
    /// What they say, if the source had to read them.
    pub parsed: Option<Arc<Report>>,
    /// When it was generated.
    pub generated: DateTime<Utc>,
}

/// A source's answer about one account. Without report and failure, the last report is still good.
/// With both, the source has a report, but a newer one could not be had.
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
