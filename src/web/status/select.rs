//! Which keys and accounts a query asks for, and in which order.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use regex::{Regex, RegexBuilder, RegexSetBuilder};

use super::choices::{KeyFilter, KeyKind, Order, Sort};
use super::components::account_name;
use super::ids;
use super::query::Query;
use crate::config::{Config, TagLabel};
use crate::findings::{Finding, every_key, has_unknown_tags};
use crate::policy::owner::was_time_to_use;
use crate::policy::{KeyStatus, Tag};
use crate::render::Snapshot;
use crate::report::ROOT_USER;
use crate::state::{Account, State, Tried};

/// The keys to select from: the findings, or every key of the query's accounts.
pub fn candidates<'a>(snapshot: &'a Snapshot, query: &Query) -> Cow<'a, [Finding]> {
    if !query.show.is_of_any_age() {
        return snapshot.overview().findings.as_slice().into();
    }
    let accounts = snapshot.state.accounts.iter().filter(|it| query.is_of_account(it));
    every_key(accounts, &snapshot.config, snapshot.now).into()
}

/// The keys of any kind and status that match the query, in their order. `labels` are the tags that are
/// labels.
pub fn about<'a>(keys: &'a [Finding], query: &Query, labels: &[TagLabel]) -> Vec<&'a Finding> {
    let words = words(&query.search);
    let mentions = |finding: &Finding| words.iter().all(|word| mentions(finding, word));
    keys.iter().filter(|finding| query.is_of(finding, labels) && mentions(finding)).collect()
}

/// The keys of the query's kind and status, in its order. Equal ones stay oldest first. `labels` are the tags
/// that are labels.
pub fn select<'a>(about: &[&'a Finding], query: &Query, labels: &[TagLabel]) -> Vec<&'a Finding> {
    let is_of_kind = |finding: &Finding| query.kind.is_none_or(|kind| kind.includes(finding));
    let is_wanted = |finding: &&&Finding| query.show.includes(finding) && is_of_kind(finding);
    let mut rows: Vec<&Finding> = about.iter().filter(is_wanted).copied().collect();
    match query.sort {
        Sort::Age => match query.order {
            Order::Ascending => rows.reverse(),
            Order::Descending => {}
        },
        // Keys without a date come last.
        Sort::Due => match query.order {
            Order::Ascending => rows.sort_by_key(|row| (row.ends().is_none(), row.ends())),
            Order::Descending => {
                rows.sort_by_key(|row| (row.ends().is_none(), Reverse(row.ends())))
            }
        },
        Sort::User => sort(&mut rows, query.order, |row| row.user.to_lowercase()),
        Sort::Account => sort(&mut rows, query.order, |row| {
            (
                account_name(&row.account_id, &row.account_name).to_lowercase(),
                row.account_id.clone(),
            )
        }),
        // Users without a tag come before those with it.
        Sort::Owner => sort(&mut rows, query.order, |row| {
            let tags = || row.tags.iter().map(|(key, value)| (&**key, &**value));
            let values = labels.iter().map(|label| value(tags(), &label.key).to_lowercase());
            values.collect::<Vec<_>>()
        }),
        // Keys that were never used come first.
        Sort::LastUsed => sort(&mut rows, query.order, |row| row.last_used),
    }
    rows
}

fn sort<K: Ord>(rows: &mut [&Finding], order: Order, key: impl Fn(&Finding) -> K) {
    match order {
        Order::Ascending => rows.sort_by_cached_key(|row| key(row)),
        Order::Descending => rows.sort_by_cached_key(|row| Reverse(key(row))),
    }
}

/// The words of the text as patterns that ignore case.
pub fn words(text: &str) -> Vec<Regex> {
    let word = |text: &str| {
        let pattern = RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build();
        pattern.expect(SMALL_PATTERN)
    };
    text.split_whitespace().map(word).collect()
}

const SMALL_PATTERN: &str = "400 characters to the letter are a small pattern";

/// The words, without `=`, that neither an account nor a key has outside its id. All are looked for at once,
/// so that many of them take hardly longer than one.
fn nowhere<'a>(words: Vec<&'a str>, state: &State, keys: &[Finding]) -> HashSet<&'a str> {
    let patterns = RegexSetBuilder::new(words.iter().map(|word| regex::escape(word)))
        .case_insensitive(true)
        .build()
        .expect(SMALL_PATTERN);
    let mut places: HashSet<usize> = (0..words.len()).collect();
    let accounts = state.accounts.iter().chain(&state.unidentified);
    let accounts = accounts.flat_map(|it| [it.id.as_str(), &it.name]);
    for text in accounts.chain(keys.iter().flat_map(texts)) {
        if places.is_empty() {
            break;
        }
        for place in &patterns.matches(text) {
            places.remove(&place);
        }
    }
    places.into_iter().map(|place| words[place]).collect()
}

/// Whether the word is in the key's id, or in a field about its place or owner.
fn mentions(finding: &Finding, word: &Regex) -> bool {
    finding.access_key_id.as_deref().is_some_and(|id| word.is_match(id))
        || mentions_without_id(finding, word)
}

fn mentions_without_id(finding: &Finding, word: &Regex) -> bool {
    let is_both = word.as_str().contains('=');
    let has_both = |(key, value): &Tag| is_both && word.is_match(&format!("{key}={value}"));
    texts(finding).any(|text| word.is_match(text)) || finding.tags.iter().any(has_both)
}

/// The fields about the key's place or owner.
fn texts(finding: &Finding) -> impl Iterator<Item = &str> {
    // An access key has no service, and no word is in an empty one.
    let service = finding.service.as_deref().unwrap_or_default();
    let service_name = finding.service_name().unwrap_or_default();
    let Finding { user, path, account_name, account_id, .. } = finding;
    [user, path, account_name, account_id, service, service_name]
        .into_iter()
        .chain(finding.tags.iter().flat_map(|(key, value)| [&**key, &**value]))
}

/// What a query needs of an account and is not known: more keys may be among the query's.
#[derive(Debug)]
pub struct Lacks<'a> {
    /// Its users' tags.
    pub tags: bool,
    /// Its name.
    pub name: bool,
    /// The ids of these keys.
    ids: Vec<&'a Finding>,
}

impl Lacks<'_> {
    /// The number of keys of these statuses whose ids are not known: those of root, or all others.
    pub fn ids(&self, show: KeyFilter, of_root: bool) -> usize {
        let is_of = |key: &&&Finding| show.includes(key) && (key.user == ROOT_USER) == of_root;
        self.ids.iter().filter(is_of).count()
    }

    /// Whether all that is needed for keys of this kind and these statuses is known. Only ids of access keys can
    /// be unknown.
    pub fn nothing(&self, show: KeyFilter, kind: Option<KeyKind>) -> bool {
        let lacks_id = || self.ids.iter().any(|key| show.includes(key));
        let has_ids = kind == Some(KeyKind::ServiceCredential) || !lacks_id();
        has_ids && !(self.tags || self.name)
    }
}

impl Query {
    /// Whether it is about this account.
    pub fn is_of_account(&self, account: &Account) -> bool {
        [&*account.id, &*account.name, ""].contains(&self.account.as_str())
    }

    /// Whether it is about one account, by its id. Several can have the same name.
    pub fn is_of_one_account(&self) -> bool {
        ids::is_account(&self.account)
    }

    /// Whether it is about an account by name, and this one's name is not known.
    pub fn may_be_of_account(&self, account: &Account) -> bool {
        !self.is_of_one_account() && has_unknown_name(account)
    }

    /// What it needs of the account and is not known. `ids` are the account's keys of [`Query::may_have_id`].
    pub fn lacks<'a>(
        &self,
        account: &Account,
        config: &Config,
        ids: Vec<&'a Finding>,
    ) -> Lacks<'a> {
        let can_be_name = |word: &str| !ids::is_whole(word);
        let needs_name =
            !self.is_of_account(account) || self.search.split_whitespace().any(can_be_name);
        let name = account.report.is_some() && needs_name && has_unknown_name(account);
        Lacks { tags: self.needs_unknown_tags(account, config), name, ids }
    }

    /// The access keys of unknown id that would be the query's if they had the ids that it asks for, by account.
    ///
    /// A word of a search is taken for a part of an id if nothing else that is known has it.
    pub fn may_have_id<'a>(
        &self,
        snapshot: &Snapshot,
        keys: &'a [Finding],
    ) -> HashMap<&'a str, Vec<&'a Finding>> {
        let mut by_account: HashMap<_, Vec<_>> = HashMap::new();
        if !ids::can_be_of(&self.id, KeyKind::AccessKey) {
            return by_account;
        }
        let is_unknown = |key: &&Finding| key.service.is_none() && key.access_key_id.is_none();
        if !keys.iter().any(|key| is_unknown(&key)) {
            return by_account;
        }
        let words = || self.search.split_whitespace();
        let ids: HashSet<String> =
            words().map(str::to_uppercase).chain([self.id.clone()]).collect();
        // No two keys have the same id.
        if keys.iter().filter_map(|key| key.access_key_id.as_ref()).any(|id| ids.contains(id)) {
            return by_account;
        }
        let can_be_parts = words().filter(|word| ids::can_be_in_access_key(word));
        let parts = nowhere(can_be_parts.collect(), &snapshot.state, keys);
        let words: Vec<&str> = words().filter(|word| !parts.contains(word)).collect();
        if self.id.is_empty() && parts.is_empty() {
            return by_account;
        }
        let query = Query { id: String::new(), search: words.join(" "), ..self.clone() };
        let labels = &snapshot.config.user_tags;
        for finding in about(keys, &query, labels).into_iter().filter(is_unknown) {
            by_account.entry(finding.account_id.as_str()).or_default().push(finding);
        }
        by_account
    }

    /// Whether it is about tags of the account's users that are not known, or out of date: one that the
    /// configuration does not name is never read.
    fn needs_unknown_tags(&self, account: &Account, config: &Config) -> bool {
        let needs_named = !self.tags.is_empty() || self.no_other_tags || !self.search.is_empty();
        let has_unknown = !config.user_tags.is_empty() && has_unknown_tags(account, config);
        account.report.is_some() && (!self.names_read_tags(config) || needs_named && has_unknown)
    }

    /// Whether its tags are among those that the configuration names, which are read.
    fn names_read_tags(&self, config: &Config) -> bool {
        let keys = config.tag_keys();
        self.tags.iter().all(|(key, _)| keys.iter().any(|tag| is_tag(tag, key)))
    }

    /// Whether the key has the slot and the id of the query, if it has any.
    pub fn is_of_key(&self, finding: &Finding) -> bool {
        let id = finding.access_key_id.as_deref().unwrap_or_default();
        self.key.is_none_or(|slot| finding.key == Some(slot))
            && (self.id.is_empty() || self.id == id)
    }

    /// Whether the key, of any kind, matches the exact parameters. `labels` are the tags that are labels.
    pub fn is_of(&self, finding: &Finding, labels: &[TagLabel]) -> bool {
        let is = |wanted: &str, text: &str| wanted.is_empty() || wanted == text;
        let tags = || finding.tags.iter().map(|(key, value)| (&**key, &**value));
        (is(&self.account, &finding.account_id) || self.account == finding.account_name)
            && is(&self.user, &finding.user)
            && self.is_of_key(finding)
            && self.is_of_tags(tags, labels)
    }

    /// Whether users with these tags are meant. `labels` are the tags that are labels.
    pub fn is_of_tags<'a, Tags: Iterator<Item = (&'a str, &'a str)>>(
        &self,
        tags: impl Fn() -> Tags,
        labels: &[TagLabel],
    ) -> bool {
        let has = |(key, wanted): &(String, String)| value(tags(), key) == wanted;
        let is_other =
            |label: &&TagLabel| !self.tags.iter().any(|(key, _)| is_tag(&label.key, key));
        let has_other =
            || labels.iter().filter(is_other).any(|label| !value(tags(), &label.key).is_empty());
        self.tags.iter().all(has) && !(self.no_other_tags && has_other())
    }

    /// Those of these keys, which are the query's, of which that is known: if it asks for users without a tag,
    /// not those of users whose tags are not known.
    pub fn surely<'a>(&self, about: &[&'a Finding], config: &Config) -> Vec<&'a Finding> {
        let is_without_tag =
            self.no_other_tags || self.tags.iter().any(|(_, value)| value.is_empty());
        if !is_without_tag {
            return about.to_vec();
        }
        let is_known = |key: &&Finding| self.names_read_tags(config) && key.tags_known;
        about.iter().copied().filter(is_known).collect()
    }

    /// Whether it is about some keys of an account and an owner: by user, slot, id, or words.
    pub fn is_about_some_keys(&self) -> bool {
        !(self.user.is_empty() && self.id.is_empty() && self.search.is_empty())
            || self.key.is_some()
    }
}

/// Whether the account may have a name that is not known: its alias, which was not read.
fn has_unknown_name(account: &Account) -> bool {
    account.name.is_empty() && account.refresh.name != Tried::Ok
}

/// The value of the tag that this parameter names. Empty if there is none.
fn value<'a>(mut tags: impl Iterator<Item = (&'a str, &'a str)>, key: &str) -> &'a str {
    tags.find(|(name, _)| is_tag(name, key)).map_or("", |(_, value)| value)
}

/// Whether this parameter names the tag, also by the end of its label, such as `cost_center` for
/// `cost-center`. IAM ignores the case of keys.
fn is_tag(tag: &str, key: &str) -> bool {
    let in_label = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    tag.chars().map(in_label).eq(key.chars().map(in_label))
}

impl KeyKind {
    /// Whether this key is of the kind.
    pub fn includes(self, finding: &Finding) -> bool {
        (self == KeyKind::AccessKey) == finding.service.is_none()
    }
}

impl KeyFilter {
    /// Whether this key is listed.
    pub fn includes(self, finding: &Finding) -> bool {
        match self {
            KeyFilter::Unrotated => finding.status == KeyStatus::Unrotated,
            KeyFilter::DueSoon => finding.status == KeyStatus::DueSoon,
            KeyFilter::Exempt => finding.status == KeyStatus::Exempt,
            KeyFilter::ExemptionEnding => {
                finding.exemption_is_ending && finding.status == KeyStatus::Exempt
            }
            KeyFilter::NeverUsed => {
                let had_time = |until| was_time_to_use(finding.last_rotated, until);
                let is_unneeded =
                    finding.never_used && finding.use_known_until.is_some_and(had_time);
                is_unneeded && finding.status != KeyStatus::Inactive
            }
            KeyFilter::NotJudged => finding.status == KeyStatus::NotJudged,
            KeyFilter::All => [KeyStatus::Unrotated, KeyStatus::DueSoon, KeyStatus::Exempt]
                .contains(&finding.status),
            KeyFilter::Every => true,
        }
    }

    /// Whether it also lists keys that need no attention.
    fn is_of_any_age(self) -> bool {
        matches!(self, KeyFilter::NeverUsed | KeyFilter::NotJudged | KeyFilter::Every)
    }
}
