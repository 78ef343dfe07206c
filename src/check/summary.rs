//! What `check` tells a person on stderr.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{CheckOutcome, Missing, UnrotatedCount, Weight};
use crate::clock::MAX_CLOCK_SKEW;
use crate::controls::rows::{Results, Sum};
use crate::printable::{escape, time};
use crate::report::STALE;
use crate::shard::Shard;

impl CheckOutcome {
    /// The limits of the answer, for the end of the last line: accounts that were not read, further shards,
    /// reports and rows left out, users who can have other names, and the age of the oldest report.
    fn limits(&self) -> String {
        let accounts = self.accounts().count();
        let read = self.accounts().filter(|account| account.report.is_some()).count();
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
        let gone = match self.accounts().map(|account| account.gone_users().count()).sum() {
            0 => String::new(),
            users => format!(
                "; users who are gone since the report, or have another name until the next one: {users}"
            ),
        };
        let oldest = self.oldest_report();
        format!("; accounts read: {read} of {accounts}{shard}{duplicates}{rejected}{gone}{oldest}")
    }

    /// The age of the oldest report. Of files also its time, and where that comes from. Of AWS only if it is
    /// old.
    fn oldest_report(&self) -> String {
        let oldest = self.accounts().filter_map(|account| Some((account.generated?, account)));
        let Some((generated, account)) = oldest.min_by_key(|(generated, _)| *generated) else {
            return String::new();
        };
        let age = self.now - generated;
        let text = format!("; oldest report: {}", age_in_words(age));
        match self.time_of_files {
            Some(_) if account.newest_time() == Some(generated) => {
                format!("{text}, of {} by the newest time in it", time(generated))
            }
            Some(origin) => format!("{text}, of {} by {origin}", time(generated)),
            None if age > STALE || -age > MAX_CLOCK_SKEW => text,
            None => String::new(),
        }
    }

    /// A line for the list of accounts if it may not be whole, and one for everything that is missing.
    fn missing_lines(&self, weight: fn(&Missing) -> Weight) -> String {
        let mut lines = String::new();
        if let Some(failure) = &self.listing {
            let reason = failure.reason.as_str();
            lines.push_str(&format!("listing accounts: {reason}: {failure}\n"));
        } else if self.accounts().next().is_none() {
            let of_shard = if self.shard.total > 1 { " in this shard" } else { "" };
            lines.push_str(&format!("there is no account{of_shard}\n"));
        }
        for missing in self.missing.iter().filter(|it| weight(it) != Weight::Nothing) {
            let Missing { account, what, .. } = missing;
            lines.push_str(&format!("account {}: {}\n", escape(account), escape(what)));
        }
        lines
    }

    /// The lines after the list: one for everything that is missing, and the result.
    pub fn summary(&self, unrotated: UnrotatedCount) -> String {
        let mut lines = self.missing_lines(|missing| missing.for_keys);
        // Otherwise the rule may apply to users that were not read.
        if !self.is_uncertain() && self.shard.total == 1 {
            lines.extend(self.idle_rules.iter().map(|rule| format!("{rule}\n")));
        }
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
            "{lines}{verdict}unrotated keys: {access_keys}{service_credentials}{}",
            self.limits()
        )
    }

    /// What to tell a person after the results: a line for each failure and for what is not known, and what
    /// was found.
    pub fn summary_of_controls(&self, results: &Results) -> String {
        let mut lines = self.missing_lines(|missing| missing.for_controls);
        // Each reason once, with the controls.
        let mut reasons: BTreeMap<(String, &[String]), Vec<String>> = BTreeMap::new();
        for Sum { number, control, unknown, .. } in &results.sums {
            for (why, accounts) in unknown {
                let controls = reasons.entry((why.explain(), accounts.as_slice())).or_default();
                controls.push(format!("{number} {}", control.name()));
            }
        }
        for ((why, accounts), controls) in reasons {
            let (controls, accounts) = (controls.join(", "), names(accounts));
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
        format!(
            "{lines}{verdict}controls: {}; violated: {violated}; not decided, or not in full: {undecided}{without_aws}; violations: {}{}",
            results.sums.len(),
            results.violations(),
            self.limits(),
        )
    }
}

/// How old a report is. Clocks that differ a little count as equal.
fn age_in_words(age: TimeDelta) -> String {
    match (-age).num_hours() {
        _ if age.num_days() >= 2 => format!("{} days old", age.num_days()),
        _ if -age <= MAX_CLOCK_SKEW => format!("{} hours old", age.num_hours()),
        0 => format!("ahead of the clock by {} minutes", (-age).num_minutes()),
        hours => format!("ahead of the clock by {hours} hours"),
    }
}

/// The number of accounts that a line names. The rows of the output name all of them.
const MAX_NAMED: usize = 20;

fn names(accounts: &[String]) -> String {
    let named = accounts.iter().take(MAX_NAMED).map(|account| escape(account));
    let named = named.collect::<Vec<_>>().join(", ");
    match accounts.len().saturating_sub(MAX_NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
