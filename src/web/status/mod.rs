//! The status page: for a person who has no dashboard at hand. It is rendered for each request, from
//! a snapshot, and needs no JavaScript.
//!
//! Here are the settings, the selection of keys and pagination. [`query`] reads the URL, [`page`] and
//! `accounts` render HTML from `components`, and [`csv`] the file for spreadsheets.

pub mod query;
pub mod page;
mod accounts;
mod components;
pub mod csv;

use std::cmp::Reverse;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use crate::findings::Finding;

use query::{Order, Query, Sort};

/// What the status page says besides the snapshot.
#[derive(Debug)]
pub struct StatusSettings {
    /// The path of the metrics.
    pub telemetry_path: String,
    /// The address at which docs/runbooks.md is published.
    pub runbook_url: String,
    /// The address of a dashboard, if there is one to link to.
    pub dashboard_url: Option<String>,
    /// Whether the organization is made up.
    pub is_demo: bool,
}

/// The style sheet. In a file of its own, so that the page's policy can forbid every style in it.
pub const STYLE: &str = include_str!("style.css");

/// The findings that the query asks for, in its order. Equal ones stay oldest first.
pub fn select<'a>(findings: &'a [Finding], query: &Query) -> Vec<&'a Finding> {
    let words: Vec<Regex> = query.search.split_whitespace().map(word).collect();
    let is_wanted = |finding: &&Finding| {
        query.show.includes(finding.status) && words.iter().all(|word| mentions(finding, word))
    };
    let mut rows: Vec<&Finding> = findings.iter().filter(is_wanted).collect();
    match query.sort {
        Sort::Age => match query.order {
            Order::Ascending => rows.reverse(),
            Order::Descending => {}
        },
        // An exempt key has no due date and comes last.
        Sort::Due => match query.order {
            Order::Ascending => rows.sort_by_key(|row| (row.due.is_none(), row.due)),
            Order::Descending => rows.sort_by_key(|row| (row.due.is_none(), Reverse(row.due))),
        },
        Sort::User => sort(&mut rows, query.order, |row| row.user.to_lowercase()),
        Sort::Account => sort(&mut rows, query.order, |row| {
            (account_name(row).to_lowercase(), row.account_id.clone())
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

/// The text, in any case.
fn word(text: &str) -> Regex {
    let pattern = RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build();
    pattern.expect("200 characters to the letter are a small pattern")
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
