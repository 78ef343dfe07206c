//! The status page: for a person who has no dashboard at hand. It is rendered for each request, from
//! a snapshot, and needs no JavaScript.
//!
//! This file has the settings and pagination. [`query`] reads the URL, with its [`choices`], and `select`
//! finds the keys that it asks for, with `ids`. [`page`] renders HTML from `health`, `trust`, `teams`, `accounts`,
//! `keys` and `components`, [`key`] that of one key with its `steps`, or why there is none (`missing_key`), [`csv`] the file for spreadsheets,
//! and [`calendar`] the due dates. Both say what they lack: `gaps`.

pub mod choices;
pub mod query;
pub mod page;
pub mod key;
pub mod runbooks;
pub mod csv;
pub mod calendar;
mod accounts;
mod components;
mod gaps;
mod health;
mod ids;
mod keys;
mod missing_key;
mod select;
mod steps;
mod teams;
mod trust;

use std::ops::Range;

use crate::shard::Shard;

/// The settings of the status page.
#[derive(Debug)]
pub struct StatusSettings {
    /// The path of the metrics.
    pub telemetry_path: String,
    /// The address at which runbooks are published. `None`: the exporter's own.
    pub runbook_url: Option<String>,
    /// The address of a dashboard, if there is one to link to.
    pub dashboard_url: Option<String>,
    /// Whether this is the demo.
    pub is_demo: bool,
    /// Whether reports are read from files, which have no service-specific credentials.
    pub are_files: bool,
    /// Which accounts the exporter has.
    pub shard: Shard,
}

/// The style sheet. In its own file, so that the page's policy can forbid inline styles.
pub const STYLE: &str = include_str!("style.css");

impl StatusSettings {
    /// The address of the runbooks.
    fn runbook_url(&self) -> &str {
        self.runbook_url.as_deref().unwrap_or("runbooks")
    }
}

/// One page of a list. If there is no such page, the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pagination {
    /// From 1.
    number: usize,
    /// The number of pages, at least 1.
    of: usize,
    /// The page's indexes in the list.
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
