//! The report: read if there is a newer one, and accepted if it is of the account and whole.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use super::context::RefreshContext;
use crate::clock::{MAX_CLOCK_SKEW, is_from_the_future};
use crate::failure::{Failure, Reason};
use crate::panics::catch;
use crate::printable;
use crate::report::{Report, User};
use crate::source::target::{FetchResult, RawReport, Target};
use crate::state::{Account, Tried};

/// How many other users must be gone before a report without users is accepted.
const MAX_ASKED_ABOUT: usize = 3;

impl RefreshContext<'_> {
    /// Updates the account from its newest report.
    pub(super) async fn read_report(
        &self,
        target: &Target,
        account: &mut Account,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let last = account.generated.filter(|_| !self.force);
        let FetchResult { report, failure } = self.source.fetch(target, last, now, deadline).await;
        if let Some(RawReport { csv, parsed, generated }) = report {
            // What comes after one from the future is not older.
            let last = account.generated.filter(|last| !is_from_the_future(*last, now));
            if self.source.has_live_data() && last.is_some_and(|last| generated < last) {
                let message = "AWS gave an older report than the one that it gave before";
                let older = Failure::new(Reason::ReportNotReady, message);
                return Err(failure.unwrap_or(older));
            }
            let fingerprint = Some(fingerprint(&csv));
            let is_new = account.fingerprint != fingerprint || account.generated != Some(generated);
            if account.fingerprint != fingerprint {
                let expected = self.source.has_live_data().then_some(account.id.as_str());
                // A report that cannot be parsed is the more important failure.
                let mut report = read(csv, parsed, expected).await?;
                self.check_empty(target, account, &report, deadline).await?;
                if let Some(id) = &report.account_id {
                    account.identify(id, &target.name);
                }
                log_report(&report, &account.id, generated);
                if let Some(before) = &account.report {
                    report.keep_missing(before, account.generated);
                    if let Some(known) = &mut account.service_credentials {
                        let has_unmatched = Arc::make_mut(known).keep(before, &report);
                        if has_unmatched {
                            account.refresh.service_credentials = Tried::Failed;
                        }
                    }
                    let same = report.same_users(before);
                    if let Some(tags) = &mut account.tags {
                        Arc::make_mut(tags).keep(&same);
                    }
                    if let Some(policies) = &mut account.evidence.user_policies.value {
                        Arc::make_mut(policies).retain(|user, _| same.contains(user.as_str()));
                    }
                    Arc::make_mut(&mut account.confirmed).forget_others(before, &report);
                    if report.keeps_root() && !before.keeps_root() {
                        warn!(
                            account = account.id,
                            "the report has no readable row of root: the row of an earlier report stays"
                        );
                    }
                }
                account.report = Some(report);
                account.fingerprint = fingerprint;
            }
            if is_new && let Some(report) = &account.report {
                account.evidence.forget_contradicted(report, generated);
                Arc::make_mut(&mut account.confirmed).start_over(report, account.generated);
            }
            account.generated = Some(generated);
        }
        failure.map_or_else(|| self.clock_is_right(account), Err)
    }

    /// Fails if the report has no users and the users of the report before may still exist. Flagged
    /// users must be gone by confirmation, and a few others by a call. Report files must show this
    /// twice instead.
    async fn check_empty(
        &self,
        target: &Target,
        account: &Account,
        report: &Report,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let is_empty = report.missing == 0 && report.users.iter().all(User::is_root);
        let Some(before) = account.report.as_ref().filter(|_| is_empty) else { return Ok(()) };
        if !self.source.has_live_data() {
            return Ok(());
        }
        let doubt = |reason, why: &str| {
            Err(Failure::new(reason, format!("the new report has no users, but {why}")))
        };
        let known = |user: &&User| account.confirmed.keys(user).is_some();
        let mut flagged = self.flagged(account).into_iter().map(|index| &before.users[index]);
        if flagged.any(|user| known(&user)) {
            let why = "AWS has not confirmed that users with unrotated keys are gone: if they are, restart the exporter";
            return doubt(Reason::MalformedReport, why);
        }
        let users = before.users.iter().filter(|user| !user.is_root());
        for user in users.filter(known).take(MAX_ASKED_ABOUT) {
            let answer = timeout_at(deadline, self.source.keys(target, &user.name)).await;
            match answer.unwrap_or_else(|_| Err(Failure::deadline("ListAccessKeys"))) {
                Ok(None) => {}
                Ok(Some(_)) => return doubt(Reason::MalformedReport, "AWS still has users"),
                Err(Failure { reason, message }) => {
                    let why = format!("AWS has not confirmed that they are gone: {message}");
                    return doubt(reason, &why);
                }
            }
        }
        Ok(())
    }

    /// Fails if this host's clock is wrong by AWS's answers, or by the times in the report.
    pub(super) fn clock_is_right(&self, account: &Account) -> Result<(), Failure> {
        // Without the number, which is in a metric: a changed message would count as a new fault.
        let message = "the clock of this host and that of AWS differ by more than five minutes: set the clock";
        match self.source.clock_skew() {
            Some(skew) if skew.abs() > MAX_CLOCK_SKEW => Err(Failure::new(Reason::Clock, message)),
            _ => behind(account, self.clock.now()),
        }
    }
}

/// Fails if the report shows that this host's clock is behind, because keys are then older than
/// computed.
fn behind(account: &Account, now: DateTime<Utc>) -> Result<(), Failure> {
    let newest = account.newest_time().max(account.generated);
    match newest.filter(|time| is_from_the_future(*time, now)) {
        None => Ok(()),
        Some(time) => {
            let time = printable::time(time);
            let message = format!(
                "the report has a time of {time}, which is in the future: set the clock of this host"
            );
            Err(Failure::new(Reason::Clock, message))
        }
    }
}

fn fingerprint(csv: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    csv.hash(&mut hasher);
    hasher.finish()
}

/// Parses on a blocking thread, so that scrapes are not delayed.
async fn read(
    csv: Vec<u8>,
    parsed: Option<Arc<Report>>,
    expected: Option<&str>,
) -> Result<Arc<Report>, Failure> {
    let malformed = |message: String| Failure::new(Reason::MalformedReport, message);
    let report = match parsed {
        Some(report) => report,
        None => spawn_blocking(move || catch(|| Report::parse(&csv)))
            .await
            .expect("its panics are caught")?
            .map(Arc::new)
            .map_err(|error| malformed(error.to_string()))?,
    };
    match (expected, &report.account_id) {
        (Some(expected), Some(found)) if expected != found => {
            Err(malformed(format!("a report of account {found} instead of {expected}")))
        }
        (None, None) => Err(malformed("the report has no row with an account id".to_owned())),
        _ => Ok(report),
    }
}

/// The number of rejected rows of one report that are logged.
const MAX_LOGGED_ROWS: usize = 100;

fn log_report(report: &Report, account: &str, generated: DateTime<Utc>) {
    let (rows, rejected) = (report.users.len(), report.rejected.len());
    let generated = printable::time(generated);
    info!(account, rows, rejected, generated, "report read");
    for row in report.rejected.iter().take(MAX_LOGGED_ROWS) {
        let problem = row.problem.to_string();
        warn!(account, line = row.line, column = row.column, problem, "row of the report rejected");
    }
    if let Some(more) = rejected.checked_sub(MAX_LOGGED_ROWS + 1) {
        warn!(account, rows = more + 1, "more rows of the report rejected");
    }
}
