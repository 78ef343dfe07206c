//! The status page: for a person who has no dashboard at hand. It is rendered for each request, from
//! a snapshot, and needs no JavaScript.

mod query;
mod csv;
mod html;
mod accounts;
mod parts;

use std::cmp::Reverse;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use crate::findings::Finding;

pub use csv::{csv, file_name};
pub use html::{About, page};
pub use query::{Invalid, Query};

use query::{Order, Sort};

/// The style sheet. In a file of its own, so that the page's policy can forbid every style in it.
pub const STYLE: &str = include_str!("status/style.css");

/// The findings that are asked for, in the order that is asked for. Those that are alike stay in
/// theirs, oldest first.
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
        // A key that is exempt is due at no time, which is neither early nor late.
        Sort::Due => match query.order {
            Order::Ascending => rows.sort_by_key(|row| (row.due.is_none(), row.due)),
            Order::Descending => rows.sort_by_key(|row| (row.due.is_none(), Reverse(row.due))),
        },
        Sort::User => sort(&mut rows, query.order, |row| row.user.to_lowercase()),
        Sort::Account => sort(&mut rows, query.order, |row| {
            (account_name(row).to_lowercase(), row.account_id.clone())
        }),
        // Never comes before any time.
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

/// Whether the word stands in what says where a key is and whose.
fn mentions(finding: &Finding, word: &Regex) -> bool {
    let tag = |(key, value): (&String, &String)| word.is_match(&format!("{key}={value}"));
    let id = finding.access_key_id.as_deref().unwrap_or_default();
    [&finding.user, &finding.path, &finding.account_name, &finding.account_id, id]
        .into_iter()
        .any(|text| word.is_match(text))
        || finding.tags.iter().any(tag)
}

/// What people call the account: where it has no name, its id.
fn account_name(finding: &Finding) -> &str {
    match finding.account_name.as_str() {
        "" => &finding.account_id,
        name => name,
    }
}

/// A page of a list. Where there is no such page any more, the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// From 1.
    number: usize,
    /// How many there are, at least 1.
    of: usize,
    /// Its places in the list.
    rows: Range<usize>,
}

impl Part {
    fn new(wanted: usize, size: usize, total: usize) -> Part {
        let of = total.div_ceil(size).max(1);
        let number = wanted.clamp(1, of);
        let rows = (number - 1) * size..total.min(number * size);
        Part { number, of, rows }
    }
}

#[cfg(test)]
mod tests;
