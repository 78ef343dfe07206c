//! State and configuration and `now` → keys for people to read: every key, or those of all accounts
//! that need attention.

mod finding;
mod unknown;

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::config::{Config, TagLabel};
use crate::policy::owner::{KeySummary, Owner, Owners};
use crate::policy::{KeyStatus, Ruling, Subject, Verdict};
use crate::report::{Key, User};
use crate::service_credentials::ServiceCredential;
use crate::state::{Account, State};
pub use finding::{COLUMNS, Finding, NOT_READ};
pub use unknown::{
    has_unknown_tags, is_outlived, is_unlisted, lacks_name, lacks_root, lacks_service_credentials,
    lacks_tags, may_hide_due_keys, users_who_may_hide_keys,
};

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
            let mut finding = finding();
            let tags_known = tag_keys.is_empty() || account.knows_tags_of(&finding.user, &tag_keys);
            finding.tags.sort_by_cached_key(|(key, _)| {
                let is = |tag: &TagLabel| tag.key.eq_ignore_ascii_case(key);
                let place = config.user_tags.iter().position(is).unwrap_or(usize::MAX);
                (place, key.clone())
            });
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
                let finding = Finding::new(&subject, key, &verdict, &ruling, &rules, now);
                Finding {
                    key: Some(slot as u8 + 1),
                    use_known_until: Some(key.use_of.unwrap_or(use_known_until)),
                    ..finding
                }
            });
        }
        let user = subject.user;
        for credential in account.service_credentials_of(user) {
            let (key, verdict) =
                judge_service_credential(credential, &ruling, owners.keys(place), now);
            add(&verdict, &|| {
                let finding = Finding::new(&subject, &key, &verdict, &ruling, &rules, now);
                finding.of_service(credential, now)
            });
        }
        unlisted += usize::from(is_unlisted(account, user, &ruling, now));
    }
    for (name, credential, tags) in account.service_credentials_of_others() {
        let user = User { name: name.to_owned(), ..User::default() };
        let subject = Subject { tags, ..account.subject(&user) };
        let ruling = config.policy.ruling_of_account(&account.id, &account.name, now);
        let place = owners.place(tags);
        let (key, verdict) = judge_service_credential(credential, &ruling, owners.keys(place), now);
        add(&verdict, &|| {
            let finding = Finding::new(&subject, &key, &verdict, &ruling, &rules, now);
            finding.of_service(credential, now)
        });
    }
    let owned =
        |owner: Owner| (owner.tags.iter().map(|value| (*value).to_owned()).collect(), owner.keys);
    let owners = owners.finish().into_iter().map(owned).collect();
    AccountOverview { owners, not_judged, unlisted }
}

/// Judges a service-specific credential and adds it to its owner. The same for users of the report and
/// others, here and on the page of metrics. One that is to expire soon is due soon: it stops working then.
pub fn judge_service_credential(
    credential: &ServiceCredential,
    ruling: &Ruling,
    owner: &mut KeySummary,
    now: DateTime<Utc>,
) -> (Key, Verdict) {
    let key = credential.key(now);
    let mut verdict = ruling.judge(&key, now);
    let is_soon = |expiry: DateTime<Utc>| expiry <= now + ruling.warn_before;
    if verdict.status == KeyStatus::Ok && credential.expiry(now).is_some_and(is_soon) {
        verdict.status = KeyStatus::DueSoon;
    }
    owner.add_service_credential(&key, &verdict);
    (key, verdict)
}

/// Whether a key with this status needs attention.
fn is_finding(status: KeyStatus) -> bool {
    match status {
        KeyStatus::Unrotated | KeyStatus::DueSoon | KeyStatus::Exempt => true,
        KeyStatus::Ok | KeyStatus::Inactive | KeyStatus::NotJudged => false,
    }
}

/// The rules as text, as in the configuration.
fn rules(config: &Config) -> Vec<Arc<str>> {
    let rules = config.policy.rules.iter().enumerate();
    rules
        .map(|(index, rule)| format!("rotation.rules[{index}]: {}", rule.decision).into())
        .collect()
}
