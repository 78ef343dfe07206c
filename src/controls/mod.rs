//! The controls of the CIS AWS Foundations benchmark that an account's credential report, and a few calls
//! beside it, can decide.
//!
//! [`catalogue`] is the one table of controls with their numbers in each version of the benchmark.
//! [`judge()`] decides them for one account. [`rows`] lists the results of all accounts for people.
//!
//! Where other tools differ, so do their numbers. The rules here, which hold for every version:
//!
//! - Root is in none of the controls about users, and counts in its own.
//! - A credential is unused at or above its limit (45.00 days violate), and a key must be rotated above its
//!   own (90.00 days do not, 90.01 do).
//! - A credential that was never used counts from when it was made: a key from its last rotation, a
//!   password from its last change.
//! - An inactive key violates nothing.
//! - Unknown data decides nothing. Known violations still count.

pub mod catalogue;
mod judge;
pub mod rows;

use std::collections::BTreeSet;

use chrono::TimeDelta;

use crate::evidence::EvidenceKind;
use crate::policy::Age;
use crate::report::STALE;
pub use catalogue::{Benchmark, Control};
pub use judge::{judge, root_keys};

/// How controls are decided and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether the exporter decides them. `check --controls` does in any case.
    pub enabled: bool,
    /// The version whose limits hold.
    pub benchmark: Benchmark,
    /// From which time on a credential counts as unused, if that is earlier than the benchmark says.
    pub unused_after: Option<TimeDelta>,
    /// How long the root user must not have been used. No version of the benchmark has a limit: this one
    /// is the exporter's own.
    pub root_unused_for: TimeDelta,
    /// Whether users with violations have their own series.
    pub users: bool,
    /// The data that the control needs. Policies of users are also read with the users' tags.
    pub read: BTreeSet<EvidenceKind>,
}

/// How one account stands with one control.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// Its violations, as far as they are known.
    pub violations: Vec<Violation<'a>>,
    /// The missing data, without which the rest is not decided.
    pub unknown: BTreeSet<Unknown>,
    /// Whether the partition has nothing that the control is about, such as China, which has no root user.
    pub is_inapplicable: bool,
}

/// The outcome of each control.
#[derive(Debug, Default)]
pub struct Outcomes<'a>([Outcome<'a>; Control::COUNT]);

/// Something that violates a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation<'a> {
    /// Whose it is. `None` for a setting of the account.
    pub user: Option<&'a str>,
    /// Which of the user's credentials it is, if it is one.
    pub credential: Option<Credential>,
    /// How old the credential is, or how long ago it was used, if the control is about that.
    pub age: Option<Age>,
}

/// A credential of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// The console password.
    Password,
    /// The access key in this slot, from 1.
    Key(u8),
}

/// The kinds of missing data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unknown {
    /// AWS refused the call, for want of a permission.
    Denied(EvidenceKind),
    /// The call failed for another reason.
    Failed(EvidenceKind),
    /// The last answer is too old, and the call was not made again.
    OldAnswer(EvidenceKind),
    /// The call was not made: the configuration does not ask for it, or the source has only reports.
    NotRead(EvidenceKind),
    /// The answer of the call lacks a user of the report.
    NotListed(EvidenceKind),
    /// The report lacks this column, or a value in it that would be needed.
    Column(&'static str),
    /// Rows of the report could not be read, or a user has two.
    Rows,
    /// The report is as old as what the control looks for.
    OldReport,
    /// The report has no row of the root user, or none that can be read.
    RootRow,
    /// A user has more keys than the report shows, and AWS did not list them.
    Keys,
    /// The account has no report.
    NoReport,
}

/// The result in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// There is a violation. There may be more.
    Violated,
    /// No violation is known, and not everything is known.
    NotDecided,
    /// There is no violation.
    Passed,
    /// The control is about nothing that the account could have.
    NotApplicable,
}

impl Default for Settings {
    /// The newest version of the benchmark, and everything that costs one call for a report.
    fn default() -> Settings {
        Settings {
            enabled: true,
            benchmark: Benchmark::NEWEST,
            unused_after: None,
            root_unused_for: TimeDelta::days(90),
            users: true,
            read: [
                EvidenceKind::AccountSummary,
                EvidenceKind::PasswordPolicy,
                EvidenceKind::VirtualMfaDevices,
            ]
            .into(),
        }
    }
}

impl Settings {
    /// From which time on a credential counts as unused.
    pub fn unused_after(&self) -> TimeDelta {
        let limit = self.benchmark.unused_after();
        self.unused_after.map_or(limit, |stricter| stricter.min(limit))
    }

    /// The number of days that the control is about, if it is about one: how old a key or a password may
    /// become, or how long a credential was not used, or must not have been.
    pub fn limit(&self, control: Control) -> Option<TimeDelta> {
        match control {
            Control::AccessKeysRotated => Some(judge::MAX_KEY_AGE),
            Control::UnusedCredentialsDisabled => Some(self.unused_after()),
            Control::RootNotUsed => Some(self.root_unused_for),
            Control::PasswordExpiry => Some(TimeDelta::days(judge::MAX_PASSWORD_AGE_DAYS.into())),
            _ => None,
        }
    }
}

impl<'a> Outcomes<'a> {
    /// The outcome of a control.
    pub fn get(&self, control: Control) -> &Outcome<'a> {
        &self.0[control as usize]
    }

    /// Those of an account without a report.
    fn without_report() -> Outcomes<'a> {
        let unknown = || Outcome { unknown: [Unknown::NoReport].into(), ..Outcome::default() };
        Outcomes(std::array::from_fn(|_| unknown()))
    }

    fn of(&mut self, control: Control) -> &mut Outcome<'a> {
        &mut self.0[control as usize]
    }
}

impl Outcome<'_> {
    /// The result in one word.
    pub fn status(&self) -> Status {
        if !self.violations.is_empty() {
            Status::Violated
        } else if !self.unknown.is_empty() {
            Status::NotDecided
        } else if self.is_inapplicable {
            Status::NotApplicable
        } else {
            Status::Passed
        }
    }

    /// The number of violations. `None` if none is known and not everything is known.
    pub fn count(&self) -> Option<usize> {
        (self.status() != Status::NotDecided).then_some(self.violations.len())
    }
}

impl Credential {
    /// As people write it.
    pub fn name(self) -> String {
        match self {
            Credential::Password => "password".to_owned(),
            Credential::Key(slot) => format!("key {slot}"),
        }
    }
}

impl Unknown {
    /// The value of the label `reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Unknown::Denied(_) => "access_denied",
            Unknown::Failed(_) => "call_failed",
            Unknown::OldAnswer(_) => "old_answer",
            Unknown::NotRead(_) => "not_read",
            Unknown::NotListed(_) => "not_listed",
            Unknown::Column(_) => "no_value",
            Unknown::Rows => "rejected_rows",
            Unknown::OldReport => "old_report",
            Unknown::RootRow => "no_row",
            Unknown::Keys => "keys_not_listed",
            Unknown::NoReport => "no_report",
        }
    }

    /// The value of the label `missing`: a permission, a column or a row.
    pub fn missing(self) -> &'static str {
        match self {
            Unknown::Denied(kind)
            | Unknown::Failed(kind)
            | Unknown::OldAnswer(kind)
            | Unknown::NotRead(kind)
            | Unknown::NotListed(kind) => kind.permission(),
            Unknown::Column(name) => name,
            Unknown::Rows | Unknown::OldReport | Unknown::NoReport => "",
            Unknown::RootRow => crate::report::ROOT_USER,
            Unknown::Keys => "iam:ListAccessKeys",
        }
    }

    /// For people.
    pub fn explain(self) -> String {
        match self {
            Unknown::Denied(kind) => format!("{} is denied", kind.permission()),
            Unknown::Failed(kind) => format!("{} failed", kind.permission()),
            Unknown::OldAnswer(kind) => {
                let hours = STALE.num_hours();
                format!("the last answer of {} is more than {hours} hours old", kind.permission())
            }
            Unknown::NotRead(kind) => {
                format!("a report file does not have it ({})", kind.permission())
            }
            Unknown::NotListed(kind) => format!("{} does not list a user", kind.permission()),
            Unknown::Column(name) => format!("the report has no value in {name}"),
            Unknown::Rows => "the report has rows that cannot be read".to_owned(),
            Unknown::OldReport => "the report is too old".to_owned(),
            Unknown::RootRow => "the report has no readable row of the root user".to_owned(),
            Unknown::Keys => "a user has keys that the report does not show".to_owned(),
            Unknown::NoReport => "the account was not read".to_owned(),
        }
    }
}

impl Status {
    /// As in the output of `check`.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Violated => "violated",
            Status::NotDecided => "not_decided",
            Status::Passed => "passed",
            Status::NotApplicable => "not_applicable",
        }
    }
}

#[cfg(test)]
mod tests;
