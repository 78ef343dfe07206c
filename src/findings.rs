//! State and configuration and `now` → the active keys that somebody has to know about: unrotated
//! ones, those that soon will be, and those that are exempt.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

use crate::config::Config;
use crate::policy::{Age, KeyStatus, Ruling, Tag};
use crate::state::{Account, State};

/// An active key that somebody has to know about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The account's id.
    pub account_id: String,
    /// The account's name; may be empty.
    pub account_name: String,
    /// The user's name.
    pub user: String,
    /// The user's path, such as `/` or `/service/`.
    #[serde(skip)]
    pub path: String,
    /// The key's slot, 1 or 2.
    pub key: u8,
    /// The access key id, where it is known.
    pub access_key_id: Option<String>,
    /// Why it is a finding.
    pub status: Status,
    /// How old it is.
    #[serde(rename = "age_days", serialize_with = "serialize_days")]
    pub age: Age,
    /// When it was created or last rotated.
    #[serde(serialize_with = "serialize_time")]
    pub last_rotated: DateTime<Utc>,
    /// By when it must be rotated; `None` where it is exempt.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub due: Option<DateTime<Utc>>,
    /// When it was last used; `None`: never.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub last_used: Option<DateTime<Utc>>,
    /// The user's tags, as far as the configuration names them.
    pub tags: BTreeMap<String, String>,
    /// What decided, as in the configuration.
    pub rule: String,
}

/// Why a key is a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Older than it may be.
    Unrotated,
    /// To be rotated within [`Policy::warn_before`](crate::policy::Policy::warn_before).
    DueSoon,
    /// Of any age, for a time.
    Exempt,
}

impl Status {
    /// The status as it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Unrotated => KeyStatus::Unrotated.as_str(),
            Status::DueSoon => KeyStatus::DueSoon.as_str(),
            Status::Exempt => KeyStatus::Exempt.as_str(),
        }
    }
}

/// All findings as of `now`, oldest first.
pub fn findings(state: &State, config: &Config, now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let owned = |(key, value): &Tag| (key.to_string(), value.to_string());
    for account in &state.accounts {
        for (subject, keys) in account.users() {
            let user = subject.user;
            let ruling = config.policy.ruling(&subject, now);
            for (slot, key) in keys.iter().enumerate() {
                let Some(key) = key.as_ref().filter(|key| key.active) else { continue };
                let verdict = ruling.judge(key, now);
                let (Some(age), Some(last_rotated), Some(status)) =
                    (verdict.age, key.last_rotated, status(verdict.status))
                else {
                    continue;
                };
                findings.push(Finding {
                    account_id: account.id.clone(),
                    account_name: account.name.clone(),
                    user: user.name.clone(),
                    path: user.path().to_owned(),
                    key: slot as u8 + 1,
                    access_key_id: key.id.clone(),
                    status,
                    age,
                    last_rotated,
                    due: verdict.due,
                    last_used: key.last_used,
                    tags: subject.tags.iter().map(owned).collect(),
                    rule: rule(&ruling, config),
                });
            }
        }
    }
    // Stable: keys of one moment stay in the order of accounts and users.
    findings.sort_by_key(|finding| finding.last_rotated);
    findings
}

/// The number of active keys in an account that could not be judged as of `now`, because their age is
/// not known.
pub fn not_judged(account: &Account, config: &Config, now: DateTime<Utc>) -> usize {
    let statuses = account.users().flat_map(|(subject, keys)| {
        let ruling = config.policy.ruling(&subject, now);
        keys.iter().flatten().map(move |key| ruling.judge(key, now).status)
    });
    statuses.filter(|status| *status == KeyStatus::NotJudged).count()
}

/// The number of users in an account who have more keys or certificates than the report shows, and of
/// whom AWS has not listed the keys. Without exempt ones, and without root, who has no more.
pub fn unlisted(account: &Account, config: &Config, now: DateTime<Utc>) -> usize {
    let users = account.users().filter(|(subject, _)| {
        let user = subject.user;
        user.additional_credentials && !user.is_root() && !account.confirmed.knows(&user.name)
    });
    users.filter(|(subject, _)| config.policy.ruling(subject, now).exemption.is_none()).count()
}

/// Why a key is a finding; `None` if nobody has to know about it.
fn status(status: KeyStatus) -> Option<Status> {
    match status {
        KeyStatus::Unrotated => Some(Status::Unrotated),
        KeyStatus::DueSoon => Some(Status::DueSoon),
        KeyStatus::Exempt => Some(Status::Exempt),
        KeyStatus::Ok | KeyStatus::Inactive | KeyStatus::NotJudged => None,
    }
}

/// What decided about a key, as in the configuration.
fn rule(ruling: &Ruling, config: &Config) -> String {
    match ruling.rule {
        None => "default".to_owned(),
        Some(index) => format!("rotation.rules[{index}]: {}", config.policy.rules[index].decision),
    }
}

/// The names of [`Finding::fields`].
pub const COLUMNS: [&str; 12] = [
    "account_id",
    "account_name",
    "user",
    "key",
    "access_key_id",
    "status",
    "age_days",
    "last_rotated",
    "due",
    "last_used",
    "tags",
    "rule",
];

impl Finding {
    /// The finding as text, for tables and CSV. What is not known is empty.
    pub fn fields(&self) -> [String; COLUMNS.len()] {
        let tags = self.tags.iter().map(|(key, value)| format!("{key}={value}"));
        [
            self.account_id.clone(),
            self.account_name.clone(),
            self.user.clone(),
            self.key.to_string(),
            self.access_key_id.clone().unwrap_or_default(),
            self.status.as_str().to_owned(),
            format!("{:.2}", self.age.days()),
            time(self.last_rotated),
            self.due.map(time).unwrap_or_default(),
            self.last_used.map(time).unwrap_or_default(),
            tags.collect::<Vec<_>>().join(" "),
            self.rule.clone(),
        ]
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn serialize_days<S: Serializer>(age: &Age, serializer: S) -> Result<S::Ok, S::Error> {
    age.days().serialize(serializer)
}

fn serialize_time<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    time(*at).serialize(serializer)
}

fn serialize_time_if_any<S: Serializer>(
    at: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    at.map(time).serialize(serializer)
}
