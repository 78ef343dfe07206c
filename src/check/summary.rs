//! What `check` tells a person on stderr.

use std::collections::BTreeMap;

use super::{AccountFailure, CheckOutcome, UnrotatedCount};
use crate::controls::rows::{Results, Sum};
use crate::printable::{escape, time};
use crate::report::STALE;
use crate::shard::Shard;

impl CheckOutcome {
    /// The limits of the answer, for the end of the last line: further shards, reports and rows left
    /// out, and the age of the oldest report.
    fn limits(&self) -> String {
        let shard = match self.shard {
            Shard { total: 1, .. } => String::new(),
            Shard { index, total } => format!("; only accounts of shard {index} of {total}"),
        };
        let rejected = match self.rejected_rows() {
            0 => String::new(),
            rows => format!("; rows that could not be read: {rows}"),
        };
        let duplicates = match self.state.duplicates {
            0 => String::new(),
            number => format!("; duplicate reports of the same accounts, ignored: {number}"),
        };
        let oldest = self.oldest_report();
        format!("{shard}{duplicates}{rejected}{oldest}")
    }

    /// The age of the oldest report. Of files also its time, and where that comes from. Of AWS only if it is
    /// old.
    fn oldest_report(&self) -> String {
        let oldest = self.accounts().filter_map(|account| Some((account.generated?, account)));
        let Some((generated, account)) = oldest.min_by_key(|(generated, _)| *generated) else {
            return String::new();
        };
        let age = self.now - generated;
        let text = format!("; oldest report: {} hours old", age.num_hours());
        match self.time_of_files {
            Some(_) if account.newest_time() == Some(generated) => {
                format!("{text}, of {} by the newest time in it", time(generated))
            }
            Some(origin) => format!("{text}, of {} by {origin}", time(generated)),
            None if age > STALE => text,
            None => String::new(),
        }
    }

    /// A line for each failure.
    fn failure_lines<'a>(&self, failures: impl Iterator<Item = &'a AccountFailure>) -> String {
        let line = |AccountFailure { account, failure, .. }: &AccountFailure| {
            let account = escape(account);
            format!("account {account}: {}: {failure}\n", failure.reason.as_str())
        };
        let mut failures: String = failures.map(line).collect();
        if let Some(failure) = &self.listing {
            let reason = failure.reason.as_str();
            failures.insert_str(0, &format!("listing accounts: {reason}: {failure}\n"));
        }
        failures
    }

    /// The lines after the list: one for each failure, and the result.
    pub fn summary(&self, unrotated: UnrotatedCount) -> String {
        let mut failures = self.failure_lines(self.failures.iter());
        if self.not_judged > 0 {
            let keys = self.not_judged;
            failures
                .push_str(&format!("active keys of unknown age, which are not judged: {keys}\n"));
        }
        if self.outlived > 0 {
            let accounts = self.outlived;
            failures.push_str(&format!(
                "accounts whose report is older than the maximum age of keys: {accounts}\n"
            ));
        }
        if self.rootless > 0 {
            let accounts = self.rootless;
            failures.push_str(&format!(
                "accounts whose report has no readable row of the root user: {accounts}\n"
            ));
        }
        if self.unlisted > 0 {
            let users = self.unlisted;
            failures.push_str(&format!(
                "users with more keys or certificates than the report shows: {users}\n"
            ));
        }
        if self.waiting > 0 {
            let users = self.waiting;
            failures.push_str(&format!(
                "users whose keys are as the report has them, because time ran out before AWS was asked: {users}\n"
            ));
        }
        // Otherwise the rule may apply to users that were not read.
        if !self.is_uncertain() && self.shard.total == 1 {
            failures.extend(self.idle_rules.iter().map(|rule| format!("{rule}\n")));
        }
        let accounts = self.accounts().count();
        let read = self.accounts().filter(|account| account.report.is_some()).count();
        let UnrotatedCount { access_keys, service_credentials } = unrotated;
        let service_credentials = match service_credentials {
            0 if self.lacks_service_credentials => {
                "; service-specific credentials: not in report files".to_owned()
            }
            0 => String::new(),
            number => format!("; unrotated service-specific credentials: {number}"),
        };
        let verdict = if self.is_uncertain() { "could not tell for all keys: " } else { "" };
        format!(
            "{failures}{verdict}unrotated keys: {access_keys}{service_credentials}; accounts read: {read} of {accounts}{}",
            self.limits()
        )
    }

    /// What to tell a person after the results: a line for each failure and for what is not known, and what
    /// was found.
    pub fn summary_of_controls(&self, results: &Results) -> String {
        let mut lines = self.failure_lines(self.failures.iter().filter(|it| !it.is_of_keys));
        // Each reason once, with the controls.
        let mut reasons: BTreeMap<(String, usize), Vec<String>> = BTreeMap::new();
        for Sum { number, control, unknown, .. } in &results.sums {
            for (why, accounts) in unknown {
                let controls = reasons.entry((why.explain(), *accounts)).or_default();
                controls.push(format!("{number} {}", control.name()));
            }
        }
        for ((why, accounts), controls) in reasons {
            let controls = controls.join(", ");
            lines.push_str(&format!(
                "not decided, or not in full: {controls}: {why}; accounts: {accounts}\n"
            ));
        }
        let count = |is: fn(&Sum) -> bool| results.sums.iter().filter(|sum| is(sum)).count();
        let violated = count(|sum| sum.violations > 0);
        let undecided = count(|sum| !sum.unknown.is_empty());
        // The rest is not decided because something failed, or is missing in the report.
        let without_aws = match self.time_of_files {
            None => String::new(),
            Some(_) => format!(" (not decided without AWS: {})", count(Sum::needs_only_calls)),
        };
        let verdict = if self.exit_code_of_controls(results) == 2 {
            "could not tell for all controls: "
        } else {
            ""
        };
        let accounts = self.accounts().count();
        let read = self.accounts().filter(|account| account.report.is_some()).count();
        format!(
            "{lines}{verdict}controls: {}; violated: {violated}; not decided, or not in full: {undecided}{without_aws}; violations: {}; accounts read: {read} of {accounts}{}",
            results.sums.len(),
            results.violations(),
            self.limits(),
        )
    }
}
