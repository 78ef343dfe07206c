//! The state, prepared for writing.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, Utc};

use super::super::text::push_label;
use crate::config::{Config, TagLabel};
use crate::confirmation::MAX_KEYS;
use crate::controls::root_keys;
use crate::findings::{is_unlisted, judge_service_credential};
use crate::policy::owner::{KeySummary, Owner, Owners};
use crate::policy::{Exemption, Ruling, Verdict};
use crate::report::{Key, User};
use crate::service_credentials::ServiceCredential;
use crate::state::{Account, State};

/// The state, prepared for writing: labels are escaped once, keys are judged once, and the data of
/// a family is close together, because every family reads all of it.
pub struct Rows<'a> {
    /// All `account_id="…",user="…"`, and the labels of owners, one after the other.
    pub labels: String,
    pub users: Vec<UserRow<'a>>,
    pub keys: Vec<KeyRow<'a>>,
    pub service_credentials: Vec<ServiceCredentialRow>,
    pub owners: Vec<OwnerRow>,
    pub accounts: Vec<AccountRow<'a>>,
    pub config: &'a Config,
}

pub struct UserRow<'a> {
    pub user: &'a User,
    /// Whether the user's tags were read.
    pub knows_tags: bool,
    /// The place of the user's owner.
    pub owner: usize,
    /// The user's labels.
    pub labels: Range<usize>,
}

pub struct KeyRow<'a> {
    /// Its user's labels.
    pub labels: Range<usize>,
    pub slot: &'static str,
    pub key: &'a Key,
    // Copies, because the key is not close by. With them 5,000 users take 32.1 ms from report to
    // compressed page, without them 33.5 ms.
    pub active: bool,
    pub last_rotated: Option<DateTime<Utc>>,
    pub last_used: Option<DateTime<Utc>>,
    pub verdict: Verdict,
    pub exemption: Option<&'a Exemption>,
    pub exempt_until: Option<DateTime<Utc>>,
}

pub struct ServiceCredentialRow {
    /// `account_id="…",user="…",service_name="…",credential_id="…"`
    pub labels: String,
    pub key: Key,
    pub expiry: Option<DateTime<Utc>>,
    pub verdict: Verdict,
}

/// An owner, as the page shows it.
pub struct OwnerRow {
    /// `account_id="…",account_name="…",tag_…="…"`
    pub labels: Range<usize>,
    /// The last of these labels, from the comma before the first tag on.
    pub tags: Range<usize>,
    /// The summary of the owner's keys.
    pub keys: KeySummary,
    /// Whether it is on the page: it has a key, or stands for an account that has none.
    pub is_shown: bool,
}

pub struct AccountRow<'a> {
    pub account: &'a Arc<Account>,
    /// The account's label.
    pub labels: String,
    /// `account_id="…",account_name="…"`
    pub owner_labels: String,
    pub users: Range<usize>,
    pub keys: Range<usize>,
    pub service_credentials: Range<usize>,
    /// The number of users who may have more access keys.
    pub hiding_users: usize,
    /// The number of active keys of the root user. `None`: not known.
    pub root_keys: Option<usize>,
}

pub static SLOTS: LazyLock<[String; MAX_KEYS]> =
    LazyLock::new(|| std::array::from_fn(|index| (index + 1).to_string()));

impl<'a> Rows<'a> {
    pub fn new(state: &'a State, config: &'a Config, now: DateTime<Utc>) -> Rows<'a> {
        let reports = state.accounts.iter().filter_map(|account| account.report.as_ref());
        let capacity = reports.map(|report| report.users.len()).sum();
        let mut rows = Rows {
            labels: String::new(),
            users: Vec::with_capacity(capacity),
            keys: Vec::with_capacity(capacity),
            service_credentials: Vec::new(),
            owners: Vec::new(),
            accounts: Vec::with_capacity(state.accounts.len()),
            config,
        };
        let tag_keys = config.tag_keys();
        for account in &state.accounts {
            let mut labels = String::new();
            push_label(&mut labels, "account_id", &account.id);
            let (first_user, first_key) = (rows.users.len(), rows.keys.len());
            let first_owner = rows.owners.len();
            let first_credential = rows.service_credentials.len();
            let mut owners = Owners::new(config.user_tags.iter().map(|tag| tag.key.as_str()));
            let use_known_until = account.use_known_until(now);
            let mut hiding_users = 0;
            for (subject, keys) in account.users() {
                let user = subject.user;
                let ruling = config.policy.ruling(&subject, now);
                let start = rows.labels.len();
                rows.labels.push_str(&labels);
                push_label(&mut rows.labels, "user", &user.name);
                let labels = start..rows.labels.len();
                let owner = owners.place(subject.tags);
                for (key, slot) in keys.iter().zip(&*SLOTS) {
                    let Some(key) = key else { continue };
                    let verdict = ruling.judge(key, now);
                    owners.keys(owner).add(key, &verdict, &ruling, use_known_until, now);
                    rows.keys.push(KeyRow {
                        labels: labels.clone(),
                        slot,
                        key,
                        active: key.active,
                        last_rotated: key.last_rotated,
                        last_used: key.last_used,
                        verdict,
                        exemption: ruling.exemption.filter(|_| key.active),
                        exempt_until: ruling.exempt_until,
                    });
                }
                for credential in account.service_credentials_of(user) {
                    let labels = &rows.labels[labels.clone()];
                    let owner = owners.keys(owner);
                    let row = ServiceCredentialRow::new(labels, credential, &ruling, owner, now);
                    rows.service_credentials.push(row);
                }
                hiding_users += usize::from(is_unlisted(account, user, &ruling, now));
                let owner = first_owner + owner;
                let knows_tags = account.knows_tags_of(&user.name, &tag_keys);
                rows.users.push(UserRow { user, knows_tags, owner, labels });
            }
            for (user, credential, tags) in account.service_credentials_of_others() {
                let mut labels = labels.clone();
                push_label(&mut labels, "user", user);
                let ruling = config.policy.ruling_of_account(&account.id, &account.name, now);
                let owner = owners.place(tags);
                let owner = owners.keys(owner);
                let row = ServiceCredentialRow::new(&labels, credential, &ruling, owner, now);
                rows.service_credentials.push(row);
            }
            let users = first_user..rows.users.len();
            let keys = first_key..rows.keys.len();
            let service_credentials = first_credential..rows.service_credentials.len();
            let mut owner_labels = labels.clone();
            push_label(&mut owner_labels, "account_name", &account.name);
            rows.push_owners(&owner_labels, owners, account.report.is_some() && keys.is_empty());
            rows.accounts.push(AccountRow {
                account,
                labels,
                owner_labels,
                users,
                keys,
                service_credentials,
                hiding_users,
                root_keys: root_keys(account, &config.controls, now),
            });
        }
        rows
    }

    /// Takes the owners of an account's keys; `without_keys`: the account was read and has none, which
    /// the page says of one owner without tags.
    fn push_owners(&mut self, account_labels: &str, mut owners: Owners, without_keys: bool) {
        let nobody = without_keys.then(|| owners.place(&[]));
        for (place, Owner { tags, keys }) in owners.finish().into_iter().enumerate() {
            let start = self.labels.len();
            self.labels.push_str(account_labels);
            let start_of_tags = self.labels.len();
            for (TagLabel { label, .. }, value) in self.config.user_tags.iter().zip(&*tags) {
                push_label(&mut self.labels, label, value);
            }
            let end = self.labels.len();
            self.owners.push(OwnerRow {
                labels: start..end,
                tags: start_of_tags..end,
                is_shown: keys.total() > 0 || nobody == Some(place),
                keys,
            });
        }
    }

    pub fn labels(&self, row: &UserRow) -> &str {
        &self.labels[row.labels.clone()]
    }

    pub fn key_labels(&self, row: &KeyRow) -> [&str; 4] {
        [&self.labels[row.labels.clone()], ",key=\"", row.slot, "\""]
    }
}

impl ServiceCredentialRow {
    fn new(
        user_labels: &str,
        credential: &ServiceCredential,
        ruling: &Ruling,
        owner: &mut KeySummary,
        now: DateTime<Utc>,
    ) -> ServiceCredentialRow {
        let mut labels = user_labels.to_owned();
        push_label(&mut labels, "service_name", &credential.service);
        push_label(&mut labels, "credential_id", &credential.id);
        let (key, verdict) = judge_service_credential(credential, ruling, owner, now);
        ServiceCredentialRow { labels, key, expiry: credential.expiry(now), verdict }
    }
}
