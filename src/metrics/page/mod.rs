//! State and configuration and `now` → the bytes of a page.
//!
//! Written straight from the state, family by family, because going through a registry takes some
//! twenty times as long. The text format is that of "Exposition formats" in Prometheus's
//! documentation, version 0.0.4. A test compares it with the `prometheus` crate's encoder.

mod accounts;
mod controls;
mod keys;
mod owners;
mod rows;
mod users;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use self::rows::Rows;
use super::catalogue as names;
use super::filter::Filter;
use super::gzip;
use super::text::Writer;
use crate::config::Config;
use crate::failure::Reason;
use crate::state::State;

/// A page: every scrape gets it until the next one is rendered.
///
/// It is kept compressed, as Prometheus asks for it: the text is some twenty times as large. For a
/// client that asks for the text it is unpacked while it is sent.
#[derive(Debug)]
pub struct Page {
    gzip: gzip::Head,
    series: usize,
    ready: bool,
}

impl Page {
    /// Renders and compresses the state as of `now`. Text that stands on the page before this one, if
    /// there is one, is not compressed again.
    pub fn render(
        state: &State,
        config: &Config,
        filter: &Filter,
        now: DateTime<Utc>,
        before: Option<&Page>,
    ) -> Page {
        let mut compressor = gzip::Compressor::new(before.map(|page| &page.gzip));
        let mut compress = |part: &str| compressor.push(part.as_bytes());
        let series = write(state, config, filter, now, &mut compress);
        let gzip = compressor.finish();
        Page { gzip, series, ready: state.ready }
    }

    /// The page as text, piece by piece.
    pub fn text(&self) -> gzip::Unpacking {
        self.gzip.unpacking()
    }

    /// Tells the page from all others that are in memory.
    pub fn id(&self) -> usize {
        self.gzip.bytes.as_ptr().addr()
    }

    /// The page and the exporter's own metrics as one gzip member, to be sent one after the other.
    pub fn gzip(&self, exporter: &gzip::Tail) -> [Bytes; 3] {
        let trailer = Bytes::copy_from_slice(&self.gzip.trailer(exporter));
        [self.gzip.bytes.clone(), exporter.blocks.clone(), trailer]
    }

    /// Number of series.
    pub fn series(&self) -> usize {
        self.series
    }

    /// Bytes of the text.
    pub fn text_bytes(&self) -> usize {
        self.gzip.length
    }

    /// Bytes of its compressed form.
    pub fn gzip_bytes(&self) -> usize {
        self.gzip.bytes.len()
    }

    /// Whether every account was tried before this page was made.
    pub fn ready(&self) -> bool {
        self.ready
    }
}

/// The page as text.
pub fn text(state: &State, config: &Config, filter: &Filter, now: DateTime<Utc>) -> String {
    let mut text = String::new();
    write(state, config, filter, now, &mut |part| text.push_str(part));
    text
}

/// Hands on the page as text, part by part. The number of its series.
pub fn write(
    state: &State,
    config: &Config,
    filter: &Filter,
    now: DateTime<Utc>,
    to: &mut dyn FnMut(&str),
) -> usize {
    let rows = Rows::new(state, config, now);
    let mut page = Writer::new(filter, to);
    rows.write_keys(&mut page);
    rows.write_users(&mut page);
    rows.write_accounts(&mut page);
    let max_age = config.policy.max_age.num_seconds();
    page.family(&names::ROTATION_MAX_AGE, |family| family.sample(&[], max_age));
    let warn_before = config.policy.warn_before.num_seconds();
    page.family(&names::ROTATION_WARN_BEFORE, |family| family.sample(&[], warn_before));
    controls::write(state, config, now, &mut page);
    rows.write_owners(&mut page);
    rows.write_refreshes(&mut page);
    page.family(&names::UNIDENTIFIED_FAILURES, |family| {
        for reason in Reason::ALL {
            let count = state.unidentified_failures.get(reason) as i64;
            family.sample(&["reason=\"", reason.as_str(), "\""], count);
        }
    });
    page.finish()
}

#[cfg(test)]
mod tests;
