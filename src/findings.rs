//! State and configuration and `now` → keys as people read them: all of an account, or those of all
//! accounts that somebody has to know about.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Serialize, Serializer};

use crate::config::Config;
use crate::policy::{Age, Exemption, KeyStatus, Ruling, Tag};
use crate::state::{Account, State, Tried};

/// A key and how it stands.
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
    /// The key's slot: 1, 2, or more where AWS lists more.
    pub key: u8,
    /// The access key id, where it is known.
    pub access_key_id: Option<String>,
    /// How it stands.
    #[serde(serialize_with = "serialize_status")]
    pub status: KeyStatus,
    /// How old it is, where that is known.
    #[serde(rename = "age_days", serialize_with = "serialize_days")]
    pub age: Option<Age>,
    /// When it was created or last rotated, where that is known.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub last_rotated: Option<DateTime<Utc>>,
    /// By when it must be rotated; `None` where it is exempt, inactive, or of unknown age.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub due: Option<DateTime<Utc>>,
    /// When it was last used; `None`: never, or not known.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub last_used: Option<DateTime<Utc>>,
    /// Whether it is known that it was never used.
    #[serde(skip)]
    pub never_used: bool,
    /// The user's tags, as far as the configuration names them.
    pub tags: BTreeMap<String, String>,
    /// What decided, as in the configuration.
    pub rule: String,
    /// How old it may become.
    #[serde(skip)]
    pub max_age: TimeDelta,
    /// Why, and for how long, it may be of any age.
    #[serde(skip)]
    pub exemption: Option<Exemption>,
}

/// The active keys that somebody has to know about as of `now`, oldest first: those that are unrotated,
/// due soon or exempt.
pub fn findings(state: &State, config: &Config, now: DateTime<Utc>) -> Vec<Finding> {
    let is_wanted = |status: KeyStatus| match status {
        KeyStatus::Unrotated | KeyStatus::DueSoon | KeyStatus::Exempt => true,
        KeyStatus::Ok | KeyStatus::Inactive | KeyStatus::NotJudged => false,
    };
    let of_account = |account| of_account(account, config, now, is_wanted);
    let mut findings: Vec<_> = state.accounts.iter().flat_map(|it| of_account(it)).collect();
    // Stable: keys of one moment stay in the order of accounts and users.
    findings.sort_by_key(|finding| finding.last_rotated);
    findings
}

/// Every key of an account as of `now`, in the order of its users and their slots.
pub fn all_keys(account: &Account, config: &Config, now: DateTime<Utc>) -> Vec<Finding> {
    of_account(account, config, now, |_| true)
}

fn of_account(
    account: &Account,
    config: &Config,
    now: DateTime<Utc>,
    is_wanted: impl Fn(KeyStatus) -> bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let owned = |(key, value): &Tag| (key.to_string(), value.to_string());
    for (subject, keys) in account.users() {
        let user = subject.user;
        let ruling = config.policy.ruling(&subject, now);
        for (slot, key) in keys.iter().enumerate() {
            let Some(key) = key else { continue };
            let verdict = ruling.judge(key, now);
            if !is_wanted(verdict.status) {
                continue;
            }
            findings.push(Finding {
                account_id: account.id.clone(),
                account_name: account.name.clone(),
                user: user.name.clone(),
                path: user.path().to_owned(),
                key: slot as u8 + 1,
                access_key_id: key.id.clone(),
                status: verdict.status,
                age: verdict.age,
                last_rotated: key.last_rotated,
                due: verdict.due,
                last_used: key.last_used,
                never_used: key.never_used,
                tags: subject.tags.iter().map(owned).collect(),
                rule: rule(&ruling, config),
                max_age: ruling.max_age,
                exemption: ruling.exemption.cloned(),
            });
        }
    }
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

/// Whether rules go by tags of the account's users that are not known, or only from before.
pub fn lacks_tags(account: &Account, config: &Config) -> bool {
    account.report.is_some()
        && config.policy.needs_tags()
        && (account.refresh.tags == Tried::Failed || !account.knows_tags(&config.tag_keys()))
}

/// Whether rules go by the account's name, and it is not known.
pub fn lacks_name(account: &Account, config: &Config) -> bool {
    let is_needed = || account.report.is_some() && config.policy.needs_name(&account.id);
    match account.refresh.name {
        Tried::Ok => false,
        // That counts only if a rule needs the name.
        Tried::Failed => true,
        Tried::NotYet => account.name.is_empty() && is_needed(),
    }
}

/// Whether a key that is younger than the account's report can be too old by now.
pub fn is_outlived(account: &Account, config: &Config, now: DateTime<Utc>) -> bool {
    let limit = config.policy.shortest_max_age();
    account.generated.is_some_and(|generated| now - generated > limit)
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
            self.age.map(|age| format!("{:.2}", age.days())).unwrap_or_default(),
            self.last_rotated.map(time).unwrap_or_default(),
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

fn serialize_status<S: Serializer>(status: &KeyStatus, serializer: S) -> Result<S::Ok, S::Error> {
    status.as_str().serialize(serializer)
}

fn serialize_days<S: Serializer>(age: &Option<Age>, serializer: S) -> Result<S::Ok, S::Error> {
    age.map(|age| age.days()).serialize(serializer)
}

fn serialize_time_if_any<S: Serializer>(
    at: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    at.map(time).serialize(serializer)
}
