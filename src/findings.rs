//! State and configuration and `now` → keys for people to read: every key, or those of all accounts
//! that need attention.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer};

use crate::config::Config;
use crate::policy::owner::{KeySummary, Owner, Owners};
use crate::policy::{Age, Exemption, KeyStatus, Ruling, Subject, Tag, Verdict};
use crate::printable::{serialize_time_if_any, time};
use crate::report::{Key, ROOT_USER, STALE, User};
use crate::service_credentials::ServiceCredential;
use crate::state::{Account, State, Tried};

/// A key and how it stands: an access key, or a service-specific credential.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The account's id.
    pub account_id: String,
    /// The account's name. May be empty.
    pub account_name: String,
    /// The user's name.
    pub user: String,
    /// The user's path, such as `/` or `/service/`.
    #[serde(skip)]
    pub path: String,
    /// The access key's slot: 1, 2, or more if AWS lists more. A service-specific credential has none.
    pub key: Option<u8>,
    /// The id of the access key, if known, or of the service-specific credential.
    pub access_key_id: Option<String>,
    /// Its status.
    #[serde(serialize_with = "serialize_status")]
    pub status: KeyStatus,
    /// How old it is, if known.
    #[serde(rename = "age_days", serialize_with = "serialize_days")]
    pub age: Option<Age>,
    /// When it was created or last rotated, if known.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub last_rotated: Option<DateTime<Utc>>,
    /// When it must be rotated. `None` if it is exempt, inactive, or of unknown age.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub due: Option<DateTime<Utc>>,
    /// When it was last used. `None`: never, or not known.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub last_used: Option<DateTime<Utc>>,
    /// Whether it is known that it was never used.
    #[serde(skip)]
    pub never_used: bool,
    /// Up to when its use is known. `None`: it is not known.
    #[serde(skip)]
    pub use_known_until: Option<DateTime<Utc>>,
    /// Those of the user's tags that the configuration names, sorted by key.
    #[serde(serialize_with = "serialize_tags")]
    pub tags: Vec<Tag>,
    /// Whether these are known. Otherwise the user may have others.
    pub tags_known: bool,
    /// The rule that decided, as in the configuration.
    #[serde(serialize_with = "serialize_text")]
    pub rule: Arc<str>,
    /// The index of that rule. `None`: no rule matched.
    #[serde(skip)]
    pub rule_index: Option<usize>,
    /// Its maximum age.
    #[serde(skip)]
    pub max_age: TimeDelta,
    /// Its exemption, if it is exempt.
    #[serde(skip)]
    pub exemption: Option<Exemption>,
    /// The service that a service-specific credential is for, as AWS names it.
    #[serde(serialize_with = "serialize_text_if_any")]
    pub service: Option<Arc<str>>,
    /// When it expires. `None` if it does not. No access key does.
    #[serde(serialize_with = "serialize_time_if_any")]
    pub expires: Option<DateTime<Utc>>,
}

/// A summary of a state for people, from one pass over all keys.
#[derive(Debug, Default)]
pub struct Overview {
    /// The active keys that need attention, oldest first: those that are unrotated, due soon or
    /// exempt.
    pub findings: Vec<Finding>,
    /// The accounts of the state, in their order.
    pub accounts: Vec<AccountOverview>,
}

/// The access keys of one account, and its unrotated service-specific credentials.
#[derive(Debug, Default)]
pub struct AccountOverview {
    /// By owner: the values of the tags that the configuration names, in its order.
    pub owners: Vec<(Vec<String>, KeySummary)>,
    /// The number of active access keys and service-specific credentials of unknown age.
    pub not_judged: usize,
    /// The number of users who may have more keys than the report shows: see [`Account::may_hide_keys_of`].
    /// Without exempt ones.
    pub unlisted: usize,
}

impl Overview {
    /// The summary of the state as of `now`.
    pub fn new(state: &State, config: &Config, now: DateTime<Utc>) -> Overview {
        let mut overview = Overview::default();
        for account in &state.accounts {
            let account = of_account(account, config, now, is_finding, &mut overview.findings);
            overview.accounts.push(account);
        }
        // Stable: keys of one moment stay in the order of accounts and users.
        overview.findings.sort_by_cached_key(|finding| finding.last_rotated);
        overview
    }
}

impl AccountOverview {
    /// The overview of an account without a report.
    pub const NOTHING: AccountOverview =
        AccountOverview { owners: Vec::new(), not_judged: 0, unlisted: 0 };

    /// The number of access keys of this status.
    pub fn count(&self, status: KeyStatus) -> usize {
        self.owners.iter().map(|(_, keys)| keys.count(status)).sum()
    }

    /// The number of unrotated service-specific credentials.
    pub fn unrotated_service_credentials(&self) -> usize {
        self.owners.iter().map(|(_, keys)| keys.unrotated_service_credentials()).sum()
    }
}

/// Every key of these accounts as of `now`: first those of unknown age, then the oldest.
pub fn every_key<'a>(
    accounts: impl Iterator<Item = &'a Arc<Account>>,
    config: &Config,
    now: DateTime<Utc>,
) -> Vec<Finding> {
    let mut keys: Vec<Finding> =
        accounts.flat_map(|account| all_keys(account, config, now)).collect();
    keys.sort_by_cached_key(|key| key.last_rotated);
    keys
}

/// Every key of an account as of `now`, in the order of its users and their slots.
pub fn all_keys(account: &Account, config: &Config, now: DateTime<Utc>) -> Vec<Finding> {
    let mut all = Vec::new();
    of_account(account, config, now, |_| true, &mut all);
    all
}

/// Adds the account's keys of these statuses to `findings`.
fn of_account(
    account: &Account,
    config: &Config,
    now: DateTime<Utc>,
    is_wanted: fn(KeyStatus) -> bool,
    findings: &mut Vec<Finding>,
) -> AccountOverview {
    let rules = rules(config);
    let tag_keys = config.tag_keys();
    let mut owners = Owners::new(config.user_tags.iter().map(|tag| tag.key.as_str()));
    let (mut not_judged, mut unlisted) = (0, 0);
    let use_known_until = account.use_known_until(now);
    let mut add = |verdict: &Verdict, finding: &dyn Fn() -> Finding| {
        not_judged += usize::from(verdict.status == KeyStatus::NotJudged);
        if is_wanted(verdict.status) {
            let finding = finding();
            let tags_known = tag_keys.is_empty() || account.knows_tags_of(&finding.user, &tag_keys);
            findings.push(Finding { tags_known, ..finding });
        }
    };
    for (subject, keys) in account.users() {
        let ruling = config.policy.ruling(&subject, now);
        let place = owners.place(subject.tags);
        for (slot, key) in keys.iter().enumerate() {
            let Some(key) = key else { continue };
            let verdict = ruling.judge(key, now);
            owners.keys(place).add(key, &verdict, &ruling, use_known_until, now);
            add(&verdict, &|| {
                let finding = Finding::new(&subject, key, &verdict, &ruling, &rules);
                Finding {
                    key: Some(slot as u8 + 1),
                    use_known_until: Some(use_known_until),
                    ..finding
                }
            });
        }
        let user = subject.user;
        for credential in account.service_credentials_of(user) {
            let (key, verdict) =
                judge_service_credential(credential, &ruling, owners.keys(place), now);
            add(&verdict, &|| {
                let finding = Finding::new(&subject, &key, &verdict, &ruling, &rules);
                finding.of_service(credential, now)
            });
        }
        unlisted += usize::from(is_unlisted(account, user, &ruling, now));
    }
    for (name, credential) in account.service_credentials_of_others() {
        let user = User { name: name.to_owned(), ..User::default() };
        let (subject, ruling) = (account.subject(&user), config.policy.default_ruling());
        let place = owners.place(account.tags_of(name));
        let (key, verdict) = judge_service_credential(credential, &ruling, owners.keys(place), now);
        add(&verdict, &|| {
            let finding = Finding::new(&subject, &key, &verdict, &ruling, &rules);
            finding.of_service(credential, now)
        });
    }
    let owned =
        |owner: Owner| (owner.tags.iter().map(|value| (*value).to_owned()).collect(), owner.keys);
    let owners = owners.finish().into_iter().map(owned).collect();
    AccountOverview { owners, not_judged, unlisted }
}

/// Judges a service-specific credential and adds it to its owner. The same for users of the report and
/// others, here and on the page of metrics.
pub fn judge_service_credential(
    credential: &ServiceCredential,
    ruling: &Ruling,
    owner: &mut KeySummary,
    now: DateTime<Utc>,
) -> (Key, Verdict) {
    let key = credential.key(now);
    let verdict = ruling.judge(&key, now);
    owner.add_service_credential(&key, &verdict);
    (key, verdict)
}

/// The users who may have more keys than the account's report shows. AWS has not listed them, and they are
/// not exempt.
pub fn users_who_may_hide_keys<'a>(
    account: &'a Account,
    config: &Config,
    now: DateTime<Utc>,
) -> impl Iterator<Item = &'a str> {
    let users = account.users().map(|(subject, _)| subject);
    let users = users.filter(move |subject| {
        is_unlisted(account, subject.user, &config.policy.ruling(subject, now), now)
    });
    users.map(|subject| subject.user.name.as_str())
}

/// Whether the user is one of [`users_who_may_hide_keys`].
pub fn is_unlisted(account: &Account, user: &User, ruling: &Ruling, now: DateTime<Utc>) -> bool {
    account.may_hide_keys_of(user, now) && ruling.exemption.is_none()
}

/// Whether a key with this status needs attention.
fn is_finding(status: KeyStatus) -> bool {
    match status {
        KeyStatus::Unrotated | KeyStatus::DueSoon | KeyStatus::Exempt => true,
        KeyStatus::Ok | KeyStatus::Inactive | KeyStatus::NotJudged => false,
    }
}

/// Whether rules need tags of the account's users that are not known, or out of date.
pub fn lacks_tags(account: &Account, config: &Config) -> bool {
    config.policy.needs_tags() && has_unknown_tags(account, config)
}

/// Whether tags of the account's users that the configuration names are not known, or out of date.
pub fn has_unknown_tags(account: &Account, config: &Config) -> bool {
    let has_failed = account.refresh.tags == Tried::Failed;
    account.report.is_some() && (has_failed || !account.knows_tags(&config.tag_keys()))
}

/// Whether service-specific credentials are wanted and were not listed, or not with the last report.
pub fn lacks_service_credentials(account: &Account, config: &Config) -> bool {
    let has_no_list =
        account.report.is_some() && account.has_live_data && account.service_credentials.is_none();
    let has_failed = account.refresh.service_credentials == Tried::Failed;
    config.service_credentials && (has_no_list || has_failed)
}

/// Whether rules need the account's name and it is not known.
pub fn lacks_name(account: &Account, config: &Config) -> bool {
    let is_needed = || account.report.is_some() && config.policy.needs_name(&account.id);
    match account.refresh.name {
        Tried::Ok => false,
        // `Failed` is set only if a rule needs the name.
        Tried::Failed => true,
        Tried::NotYet => account.name.is_empty() && is_needed(),
    }
}

/// Whether root may have keys that the account's report does not show, because it has no readable row of
/// root. `GetAccountSummary` knows if there is no key at all, and exempt keys are no matter.
pub fn lacks_root(account: &Account, config: &Config, now: DateTime<Utc>) -> bool {
    let root = User { name: ROOT_USER.to_owned(), ..User::default() };
    account.report.as_ref().is_some_and(|report| report.lacks_root())
        && !account.root_has_no_key(now)
        && config.policy.ruling(&account.subject(&root), now).exemption.is_none()
}

/// Whether a key that is younger than the account's report can be too old by now.
pub fn is_outlived(account: &Account, config: &Config, now: DateTime<Utc>) -> bool {
    let limit = config.policy.shortest_max_age();
    account.generated.is_some_and(|generated| now - generated > limit)
}

/// Whether a key that is younger than the account's report can be due soon by now. A new report is too young
/// for that, even if keys are due soon from their first day.
pub fn may_hide_due_keys(account: &Account, config: &Config, now: DateTime<Utc>) -> bool {
    let limit = config.policy.shortest_age_due_soon().max(STALE);
    account.generated.is_some_and(|generated| now - generated > limit)
}

/// The rules as text, as in the configuration.
fn rules(config: &Config) -> Vec<Arc<str>> {
    let rules = config.policy.rules.iter().enumerate();
    rules
        .map(|(index, rule)| format!("rotation.rules[{index}]: {}", rule.decision).into())
        .collect()
}

/// The names of [`Finding::fields`].
pub const COLUMNS: [&str; 14] = [
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
    "service",
    "expires",
];

/// The tags of a user whose tags are not known, as text.
pub const NOT_READ: &str = "not_read";

impl Finding {
    /// A key of the subject, without its slot, and with tags that are not known to be all. `rules` is the result of [`rules`].
    fn new(
        subject: &Subject,
        key: &Key,
        verdict: &Verdict,
        ruling: &Ruling,
        rules: &[Arc<str>],
    ) -> Finding {
        let mut tags = subject.tags.to_vec();
        tags.sort();
        Finding {
            account_id: subject.account_id.to_owned(),
            account_name: subject.account_name.to_owned(),
            user: subject.user.name.clone(),
            path: subject.user.path().to_owned(),
            key: None,
            access_key_id: key.id.clone(),
            status: verdict.status,
            age: verdict.age,
            last_rotated: key.last_rotated,
            due: verdict.due,
            last_used: key.last_used,
            never_used: key.never_used,
            use_known_until: None,
            tags,
            tags_known: false,
            rule: ruling.rule.map_or_else(|| "default".into(), |index| rules[index].clone()),
            rule_index: ruling.rule,
            max_age: ruling.max_age,
            exemption: ruling.exemption.cloned(),
            service: None,
            expires: None,
        }
    }

    /// The finding of a service-specific credential, as of `now`.
    fn of_service(self, credential: &ServiceCredential, now: DateTime<Utc>) -> Finding {
        let service = Some(credential.service.clone());
        Finding { service, expires: credential.expiry(now), ..self }
    }

    /// The key in words, such as `key 1` or `bedrock key`, to be followed by the user.
    pub fn name(&self) -> String {
        match (self.service_name(), self.key) {
            (Some(service), _) => format!("{service} key"),
            (None, Some(slot)) => format!("key {slot}"),
            (None, None) => "key".to_owned(),
        }
    }

    /// The service in the word that people use, such as `bedrock`.
    pub fn service_name(&self) -> Option<&str> {
        let service = self.service.as_deref()?;
        Some(service.strip_suffix(".amazonaws.com").unwrap_or(service))
    }

    /// The finding as text, for tables and CSV. Unknown values are empty, but for tags: a user can have none.
    pub fn fields(&self) -> [String; COLUMNS.len()] {
        let tags = self.tags.iter().map(|(key, value)| format!("{key}={value}"));
        let tags =
            if self.tags_known { tags.collect::<Vec<_>>().join(" ") } else { NOT_READ.to_owned() };
        [
            self.account_id.clone(),
            self.account_name.clone(),
            self.user.clone(),
            self.key.map(|slot| slot.to_string()).unwrap_or_default(),
            self.access_key_id.clone().unwrap_or_default(),
            self.status.as_str().to_owned(),
            self.age.map(|age| format!("{:.2}", age.days())).unwrap_or_default(),
            self.last_rotated.map(time).unwrap_or_default(),
            self.due.map(time).unwrap_or_default(),
            self.last_used.map(time).unwrap_or_default(),
            tags,
            self.rule.to_string(),
            self.service.as_deref().unwrap_or_default().to_owned(),
            self.expires.map(time).unwrap_or_default(),
        ]
    }
}

fn serialize_status<S: Serializer>(status: &KeyStatus, serializer: S) -> Result<S::Ok, S::Error> {
    status.as_str().serialize(serializer)
}

fn serialize_tags<S: Serializer>(tags: &[Tag], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tags.iter().map(|(key, value)| (&**key, &**value)))
}

fn serialize_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    (**text).serialize(serializer)
}

fn serialize_text_if_any<S: Serializer>(
    text: &Option<Arc<str>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

fn serialize_days<S: Serializer>(age: &Option<Age>, serializer: S) -> Result<S::Ok, S::Error> {
    age.map(|age| age.days()).serialize(serializer)
}
