//! The page's data: how much was read, how old it is, and what is missing.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::StatusSettings;
use super::components::{counted, grouped, moment, relative, runbook};
use super::health::{AccountSummary, Health, Known, troubles};
use super::query::{AccountFilter, AccountSort, Query};
use super::select::words;
use crate::render::Snapshot;
use crate::state::Tried;

/// One line: the number of accounts that were read, the age of the reports, and missing data.
pub fn line(
    settings: &StatusSettings,
    snapshot: &Snapshot,
    accounts: &[&AccountSummary],
    query: &Query,
) -> Markup {
    let now = snapshot.now;
    let lacks_credentials = settings.are_files && snapshot.config.service_credentials;
    let read = accounts.iter().filter(|row| row.is_read()).count();
    let oldest = accounts.iter().filter_map(|row| row.account.generated).min();
    let unread = unread(accounts);
    let link = |find: &str, state, accounts_sort| {
        let find = find.to_owned();
        Query { state, accounts_sort, accounts: Some(1), find, ..query.clone() }.link()
            + "#accounts"
    };
    let failing = accounts.iter().filter(|row| row.is_read() && row.cause().is_some()).count();
    html! {
        p.trust {
            a href=(link("", None, AccountSort::State)) { (grouped(read)) " of " (counted(accounts.len(), "account")) " read" }
            @if let Some(oldest) = oldest {
                " · " a href=(link("", None, AccountSort::Report)) { "oldest report " (relative(oldest, now)) }
            }
            @if failing > 0 {
                " · " a.bad href=(link("", Some(AccountFilter::Failing), AccountSort::State)) {
                    "refreshes of " (counted(failing, "account")) " fail"
                }
            }
            @for (what, count, _) in troubles(accounts) {
                " · " a href=(link(what, None, AccountSort::State)) { (what) " in " (counted(count, "account")) }
            }
            @if !unread.is_empty() {
                " · " a.bad href=(link("", Some(AccountFilter::Unread), AccountSort::State)) {
                    (grouped(unread.values().sum())) " never read"
                }
                ": " (list(&unread))
            }
            @if lacks_credentials { " · service-specific credentials, such as API keys, are not in report files" }
        }
    }
}

/// Accounts that were never read, by reason.
fn unread(accounts: &[&AccountSummary]) -> BTreeMap<&'static str, usize> {
    let mut unread = BTreeMap::new();
    for row in accounts.iter().filter(|row| !row.is_read()) {
        let why = match row.health {
            Health::Failing(reason) => reason.as_str(),
            _ => "not tried yet",
        };
        *unread.entry(why).or_default() += 1;
    }
    unread
}

fn list(counts: &BTreeMap<&'static str, usize>) -> String {
    let counts = counts.iter().map(|(why, count)| format!("{} {why}", grouped(*count)));
    counts.collect::<Vec<_>>().join(", ")
}

/// Notices before the numbers.
pub fn notices(
    settings: &StatusSettings,
    snapshot: &Snapshot,
    accounts: &[&AccountSummary],
    query: &Query,
) -> Markup {
    let state = &snapshot.state;
    let unread = unread(accounts);
    let count: usize = unread.values().sum();
    html! {
        @if settings.is_demo {
            p.notice { "This is a made-up organization, to show the exporter without AWS." }
        }
        @if let Some(before) = snapshot.metrics.failed_reload() {
            p.notice.bad {
                "The last reload of the configuration failed. This page uses the one of "
                (moment(before)) ". " (runbook(settings, "iamkeyexporterconfigreloadfailed"))
            }
        }
        @if !state.ready {
            p.notice.bad { "Not every account was tried yet: the numbers are not complete." }
        }
        @if state.discovery == Tried::Failed {
            p.notice.bad {
                "The accounts could not be listed: there may be others. "
                (runbook(settings, "iamaccountdiscoveryfailing"))
            }
        }
        @if count > 0 && query.account.is_empty() && state.ready {
            p.notice.bad {
                (counted(count, "account")) " could not be read since the exporter started: "
                (if count == 1 { "its" } else { "their" }) " keys are missing here. " (runbook(settings, "iamrefreshfailing"))
            }
        }
        @for row in unread_of(accounts, query) {
            p.notice.bad {
                "Account " (row.account.id)
                @if !row.account.name.is_empty() && row.account.name != row.account.id { " (" bdi { (row.account.name) } ")" }
                " was never read"
                @if let Some(cause) = &row.account.refresh.fault { ": " bdi { (cause.message) } }
                ". Nothing is known of its keys. " (runbook(settings, "iamrefreshfailing"))
            }
        }
        @if accounts.is_empty() && !query.account.is_empty() {
            p.notice.bad {
                "The exporter has no account " bdi { (query.account) } ", so it knows nothing about its keys."
            }
        }
        @if state.duplicates > 0 {
            p.notice {
                (counted(state.duplicates, "report")) (if state.duplicates == 1 { " was" } else { " were" })
                " left out, because there is a newer one of the same account. The log names the files."
            }
        }
    }
}

/// Why there may be unknown accounts.
pub fn unlisted(discovery: Tried) -> Option<&'static str> {
    match discovery {
        Tried::Ok => None,
        Tried::NotYet => Some("the accounts were not listed yet: there may be others"),
        Tried::Failed => Some("the accounts could not be listed: there may be others"),
    }
}

/// At most this number of accounts is named.
const MAX_NAMED: usize = 5;

/// Accounts of the query that were never read.
pub fn unread_of<'a, 'b>(
    accounts: &[&'a AccountSummary<'b>],
    query: &Query,
) -> Vec<&'a AccountSummary<'b>> {
    let words = words(&query.search);
    let is_meant = |row: &&&AccountSummary| {
        let names = [&row.account.id, &row.account.name];
        !row.is_read()
            && (!query.account.is_empty()
                || words.iter().any(|word| names.iter().any(|name| word.is_match(name))))
    };
    accounts.iter().filter(is_meant).take(MAX_NAMED).copied().collect()
}

impl Known {
    /// The number, and whether it is complete.
    pub fn of(self, number: usize) -> String {
        match self {
            Known::All => grouped(number),
            Known::Some => format!("at least {}", grouped(number)),
            Known::Nothing => "not known".to_owned(),
        }
    }
}
