//! The status page: for a person who has no dashboard at hand. It is rendered for each request, from
//! a snapshot, and needs no JavaScript.
//!
//! Here are the settings, the selection of keys and pagination. [`query`] reads the URL. [`page`]
//! renders HTML from `health`, `trust`, `teams`, `accounts`, `keys` and `components`, [`key`] that of
//! one key, [`csv`] the file for spreadsheets, and [`calendar`] the due dates.

pub mod query;
pub mod page;
pub mod key;
pub mod runbooks;
pub mod csv;
pub mod calendar;
mod accounts;
mod components;
mod health;
mod keys;
mod teams;
mod trust;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use crate::config::TagLabel;
use crate::findings::{Finding, all_keys};
use crate::render::Snapshot;

use query::{KeyFilter, Order, Query, Sort};

/// What the status page says besides the snapshot.
#[derive(Debug)]
pub struct StatusSettings {
    /// The path of the metrics.
    pub telemetry_path: String,
    /// The address at which runbooks are published; `None`: the exporter's own.
    pub runbook_url: Option<String>,
    /// The address of a dashboard, if there is one to link to.
    pub dashboard_url: Option<String>,
    /// Whether the organization is made up.
    pub is_demo: bool,
}

/// The style sheet. In a file of its own, so that the page's policy can forbid every style in it.
pub const STYLE: &str = include_str!("style.css");

impl StatusSettings {
    /// The address of the runbooks.
    fn runbook_url(&self) -> &str {
        self.runbook_url.as_deref().unwrap_or("runbooks")
    }
}

/// The keys of which the query asks for some: findings, or if it asks for every key those of its
/// account, or of all.
pub fn candidates<'a>(snapshot: &'a Snapshot, query: &Query) -> Cow<'a, [Finding]> {
    if query.show != KeyFilter::Every {
        return snapshot.findings().into();
    }
    let accounts = snapshot.state.accounts.iter().filter(|it| query.is_of_account(it));
    let keys = |account| all_keys(account, &snapshot.config, snapshot.now);
    let mut keys: Vec<Finding> = accounts.flat_map(|account| keys(account)).collect();
    // Keys of unknown age first.
    keys.sort_by_key(|key| key.last_rotated);
    keys.into()
}

/// The keys of any status that the query is about, in their order. `labels` are the tags that are
/// labels.
pub fn about<'a>(keys: &'a [Finding], query: &Query, labels: &[TagLabel]) -> Vec<&'a Finding> {
    let words = words(&query.search);
    let mentions = |finding: &Finding| words.iter().all(|word| mentions(finding, word));
    keys.iter().filter(|finding| query.is_of(finding, labels) && mentions(finding)).collect()
}

/// Of these keys the ones of the query's status, in its order. Equal ones stay oldest first.
pub fn select<'a>(about: &[&'a Finding], query: &Query) -> Vec<&'a Finding> {
    let is_wanted = |finding: &&&Finding| query.show.includes(finding.status);
    let mut rows: Vec<&Finding> = about.iter().filter(is_wanted).copied().collect();
    let ends = |row: &Finding| row.due.or(row.exemption.as_ref().and_then(|it| it.end));
    match query.sort {
        Sort::Age => match query.order {
            Order::Ascending => rows.reverse(),
            Order::Descending => {}
        },
        // What has no date comes last.
        Sort::Due => match query.order {
            Order::Ascending => rows.sort_by_key(|row| (ends(row).is_none(), ends(row))),
            Order::Descending => rows.sort_by_key(|row| (ends(row).is_none(), Reverse(ends(row)))),
        },
        Sort::User => sort(&mut rows, query.order, |row| row.user.to_lowercase()),
        Sort::Account => sort(&mut rows, query.order, |row| {
            (account_name(row).to_lowercase(), row.account_id.clone())
        }),
        // Keys without an owner come first.
        Sort::Owner => sort(&mut rows, query.order, |row| {
            row.tags.values().map(|value| value.to_lowercase()).collect::<Vec<_>>()
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

/// Each word of the text, to be found in any case.
fn words(text: &str) -> Vec<Regex> {
    let word = |text: &str| {
        let pattern = RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build();
        pattern.expect("200 characters to the letter are a small pattern")
    };
    text.split_whitespace().map(word).collect()
}

/// Whether the word is in a field that tells where a key is and whose.
fn mentions(finding: &Finding, word: &Regex) -> bool {
    let tag = |(key, value): (&String, &String)| word.is_match(&format!("{key}={value}"));
    let id = finding.access_key_id.as_deref().unwrap_or_default();
    [&finding.user, &finding.path, &finding.account_name, &finding.account_id, id]
        .into_iter()
        .any(|text| word.is_match(text))
        || finding.tags.iter().any(tag)
}

/// The account's name, or its id if it has none.
fn account_name(finding: &Finding) -> &str {
    match finding.account_name.as_str() {
        "" => &finding.account_id,
        name => name,
    }
}

/// One page of a list. If there is no such page any more, the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pagination {
    /// From 1.
    number: usize,
    /// The number of pages, at least 1.
    of: usize,
    /// The page's places in the list.
    rows: Range<usize>,
}

impl Pagination {
    fn new(wanted: usize, size: usize, total: usize) -> Pagination {
        let of = total.div_ceil(size).max(1);
        let number = wanted.clamp(1, of);
        let rows = (number - 1) * size..total.min(number * size);
        Pagination { number, of, rows }
    }
}

#[cfg(test)]
mod tests;
