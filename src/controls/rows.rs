//! State and settings and `now` → the results of the controls of one version of the benchmark, as people
//! read them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Control, Outcomes, Settings, Status, Unknown, judge};
use crate::printable::{serialize_time, serialize_time_if_any, time};
use crate::state::State;
use crate::version::VERSION;

/// One finding: a violation, or what would have to be known. Of a control without either, one row says so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ControlRow {
    /// The account's id.
    pub account_id: String,
    /// The account's name. May be empty.
    pub account_name: String,
    /// The version of the benchmark.
    pub benchmark: &'static str,
    /// The control's number in it.
    pub number: &'static str,
    /// The control's name.
    pub control: &'static str,
    /// How the control stands: see [`Status`].
    pub result: &'static str,
    /// Whose violation it is, if it is one of a user.
    pub user: Option<String>,
    /// Which of the user's credentials it is, if it is one.
    pub credential: Option<String>,
    /// How old the credential is, or how long ago it was used: see [`Violation::age`](super::Violation::age).
    pub days: Option<f64>,
    /// The control's limit for that, if it has one: see [`Settings::limit`].
    pub limit_days: Option<f64>,
    /// Why the control is not decided: see [`Unknown::reason`](super::Unknown::reason).
    pub reason: Option<&'static str>,
    /// The missing permission, column or row.
    pub missing: Option<&'static str>,
    /// The control's title.
    pub title: &'static str,
    /// When the account's report was generated.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub report_generated: Option<DateTime<Utc>>,
    /// When the control was decided. Days run up to then.
    #[serde(serialize_with = "serialize_time")]
    pub as_of: DateTime<Utc>,
    /// The version of the exporter that decided it.
    pub exporter_version: &'static str,
}

/// The result of one control for all accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Its number in the benchmark.
    pub number: &'static str,
    /// The control.
    pub control: Control,
    /// Its title in the benchmark.
    pub title: &'static str,
    /// The number of violations.
    pub violations: usize,
    /// The number of accounts that have any.
    pub violated: usize,
    /// The number of accounts.
    pub accounts: usize,
    /// The number of accounts for which it is not decided, or not for all users.
    pub undecided: usize,
    /// The reasons for that, each with its accounts.
    pub unknown: BTreeMap<Unknown, Vec<String>>,
}

/// The results of all accounts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// By account, and by the control's number.
    pub rows: Vec<ControlRow>,
    /// By the control's number.
    pub sums: Vec<Sum>,
}

impl Results {
    /// Of the state as of `now`, by the settings' version of the benchmark.
    pub fn new(state: &State, settings: &Settings, now: DateTime<Utc>) -> Results {
        let benchmark = settings.benchmark;
        let controls = Control::of(benchmark);
        let sums = controls.iter().map(|(number, control)| Sum {
            number,
            control: *control,
            title: control.title(benchmark),
            violations: 0,
            violated: 0,
            accounts: 0,
            undecided: 0,
            unknown: BTreeMap::new(),
        });
        let mut results = Results { rows: Vec::new(), sums: sums.collect() };
        for account in state.accounts.iter().chain(&state.unidentified) {
            let outcomes = judge(account, settings, now).unwrap_or_else(Outcomes::without_report);
            for ((number, control), sum) in controls.iter().zip(&mut results.sums) {
                let outcome = outcomes.get(*control);
                let row = |status: Status| ControlRow {
                    account_id: account.id.clone(),
                    account_name: account.name.clone(),
                    benchmark: benchmark.as_str(),
                    number,
                    control: control.name(),
                    result: status.as_str(),
                    user: None,
                    credential: None,
                    days: None,
                    limit_days: settings
                        .limit(*control)
                        .map(|limit| limit.as_seconds_f64() / 86_400.0),
                    reason: None,
                    missing: None,
                    title: control.title(benchmark),
                    report_generated: account.generated,
                    as_of: now,
                    exporter_version: VERSION,
                };
                let violations = outcome.violations.iter().map(|violation| ControlRow {
                    user: violation.user.map(str::to_owned),
                    credential: violation.credential.map(|credential| credential.name()),
                    days: violation.age.map(|age| age.days()),
                    ..row(Status::Violated)
                });
                let unknown = outcome.unknown.iter().map(|unknown| ControlRow {
                    reason: Some(unknown.reason()),
                    missing: Some(unknown.missing()).filter(|missing| !missing.is_empty()),
                    ..row(Status::NotDecided)
                });
                let status = outcome.status();
                let is_fine = matches!(status, Status::Passed | Status::NotApplicable);
                let fine = is_fine.then(|| row(status));
                results.rows.extend(violations.chain(unknown).chain(fine));
                sum.accounts += 1;
                sum.violations += outcome.violations.len();
                sum.violated += usize::from(!outcome.violations.is_empty());
                sum.undecided += usize::from(!outcome.unknown.is_empty());
                for unknown in &outcome.unknown {
                    sum.unknown.entry(*unknown).or_default().push(account.label().to_owned());
                }
            }
        }
        results
    }

    /// The number of violations of all controls.
    pub fn violations(&self) -> usize {
        self.sums.iter().map(|sum| sum.violations).sum()
    }

    /// Whether something is not decided, or not for all users.
    pub fn is_uncertain(&self) -> bool {
        self.sums.iter().any(|sum| !sum.unknown.is_empty())
    }
}

/// The names of [`ControlRow::fields`] and [`ControlRow::cells`].
pub const COLUMNS: [&str; 16] = [
    "account_id",
    "account_name",
    "benchmark",
    "number",
    "control",
    "result",
    "user",
    "credential",
    "days",
    "limit_days",
    "reason",
    "missing",
    "title",
    "report_generated",
    "as_of",
    "exporter_version",
];

impl Sum {
    /// Whether it is not decided, and only because a source without AWS makes no calls.
    pub fn needs_only_calls(&self) -> bool {
        let is_call = |unknown: &Unknown| matches!(unknown, Unknown::NotRead(_));
        !self.unknown.is_empty() && self.unknown.keys().all(is_call)
    }
}

impl ControlRow {
    /// Whether it is a violation, or something that is not known.
    pub fn is_finding(&self) -> bool {
        [Status::Violated, Status::NotDecided].map(Status::as_str).contains(&self.result)
    }

    /// The row as text, for tables. Unknown values are empty.
    pub fn fields(&self) -> [String; COLUMNS.len()] {
        self.with_number(self.number.to_owned())
    }

    /// The row for CSV. Of the number `1.10` a spreadsheet would make `1.1`, which is another control.
    pub fn cells(&self) -> [String; COLUMNS.len()] {
        self.with_number(format!("CIS {}", self.number))
    }

    fn with_number(&self, number: String) -> [String; COLUMNS.len()] {
        [
            self.account_id.clone(),
            self.account_name.clone(),
            self.benchmark.to_owned(),
            number,
            self.control.to_owned(),
            self.result.to_owned(),
            self.user.clone().unwrap_or_default(),
            self.credential.clone().unwrap_or_default(),
            self.days.map(|days| format!("{days:.2}")).unwrap_or_default(),
            self.limit_days.map(|days| format!("{days:.2}")).unwrap_or_default(),
            self.reason.unwrap_or_default().to_owned(),
            self.missing.unwrap_or_default().to_owned(),
            self.title.to_owned(),
            self.report_generated.map(time).unwrap_or_default(),
            time(self.as_of),
            self.exporter_version.to_owned(),
        ]
    }
}
