//! The page's data: how much was read, how old it is, and what is missing.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::StatusSettings;
use super::accounts::{exactly, link, of_search};
use super::choices::{AccountFilter, AccountSort};
use super::components::{counted, grouped, moment, relative, runbook, sentence};
use super::health::{AccountSummary, Health, Trouble, troubles};
use super::query::Query;
use super::select::words;
use crate::render::Snapshot;
use crate::shard::Shard;
use crate::state::{Account, State, Tried};

/// One line: the number of accounts that were read, the age of the reports, and missing data.
pub fn line(
    settings: &StatusSettings,
    snapshot: &Snapshot,
    accounts: &[&AccountSummary],
    query: &Query,
) -> Markup {
    let now = snapshot.now;
    let read = accounts.iter().filter(|row| row.is_read()).count();
    let oldest = accounts.iter().filter_map(|row| row.account.generated).min();
    let unread = unread(accounts);
    let all = |accounts_sort| {
        let query = Query { accounts_sort, ..query.clone() };
        Query { state: None, find: String::new(), accounts: Some(1), ..query }.link() + "#accounts"
    };
    let failing = accounts.iter().filter(|row| row.cause().is_some());
    // Others that fail are among those that were never read.
    let is_shown = failing.clone().any(|row| row.is_read());
    let failing = failing.count();
    html! {
        p.trust {
            @if accounts.is_empty() {
                "No account" (of_shard(settings.shard, query)) (of_search(query)) " is known"
            } @else {
                (grouped(read)) " of " a href=(all(AccountSort::State)) { (counted(accounts.len(), "account")) } (of_shard(settings.shard, query)) " read"
            }
            @if settings.shard.total > 1 { ". " (OTHER_SHARDS) }
            @if let Some(oldest) = oldest {
                " · " a href=(all(AccountSort::Report)) { "oldest report " (relative(oldest, now)) }
            }
            @if is_shown {
                " · " a.bad href=(link(query, Some(AccountFilter::Failing), "")) {
                    "refreshes of " (counted(failing, "account")) " fail"
                }
            }
            @for (Trouble { what, .. }, accounts) in troubles(accounts) {
                " · " (what) ": " a href=(link(query, None, &exactly(what))) { (counted(accounts.len(), "account")) }
            }
            @if !unread.is_empty() {
                " · " a.bad href=(link(query, Some(AccountFilter::Unread), "")) {
                    (grouped(unread.values().sum())) " never read"
                }
                ": " (list(&unread))
            }
            @if lacks_service_credentials(settings, snapshot) {
                " · service-specific credentials, such as API keys: " (NOT_IN_FILES)
            }
        }
    }
}

/// Accounts that were never read, by reason.
fn unread(accounts: &[&AccountSummary]) -> BTreeMap<&'static str, usize> {
    let mut unread = BTreeMap::new();
    for row in accounts.iter().filter(|row| !row.is_read()) {
        let why = match row.health {
            Health::Failing(reason) => reason.as_str(),
            _ => NOT_TRIED,
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
        @if let Some(before) = snapshot.failed_reload {
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
                @if let Some(message) = &state.discovery_fault { "The reason: " bdi { (sentence(message)) } " " }
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
                (never_read(row.account)) " " (runbook(settings, "iamrefreshfailing"))
            }
        }
        @if accounts.is_empty() && !query.account.is_empty() {
            p.notice.bad {
                (no_account(settings, snapshot, query))
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

/// About an account without a report.
pub fn never_read(account: &Account) -> Markup {
    let Account { name, refresh, .. } = account;
    html! {
        "Account " bdi { (account.label()) }
        @if !["", account.label()].contains(&name.as_str()) { " (" bdi { (name) } ")" }
        " was never read"
        @match &refresh.fault {
            Some(cause) => { ": " bdi { (sentence(&cause.message)) } }
            None => ".",
        }
        " Nothing is known of its keys."
    }
}

/// About an account that is not known.
pub fn no_account(settings: &StatusSettings, snapshot: &Snapshot, query: &Query) -> String {
    let State { accounts, unidentified, .. } = &snapshot.state;
    let account = &query.account;
    if accounts.iter().chain(unidentified).any(|it| query.may_be_of_account(it)) {
        return format!(
            "No account is known by the name {account}, but the names of some accounts were not read."
        );
    }
    match settings.shard.name() {
        Some(shard) => format!("This is {shard}. Account {account} may be on another one."),
        None => {
            format!("The exporter has no account {account}, so it knows nothing about its keys.")
        }
    }
}

/// After what is counted: the shard that it belongs to, so that nobody takes the number for that of all shards. Empty
/// if there is only one, or if the query is about an account, which is on one shard with all of its keys.
pub fn of_shard(shard: Shard, query: &Query) -> String {
    let shard = shard.name().filter(|_| !query.is_of_one_account());
    shard.map(|shard| format!(" of {shard}")).unwrap_or_default()
}

/// Whether service-specific credentials are wanted, and all reports are files.
pub fn lacks_service_credentials(settings: &StatusSettings, snapshot: &Snapshot) -> bool {
    settings.are_files && snapshot.config.service_credentials
}

/// A file or a page of one shard is not about everything.
pub const OTHER_SHARDS: &str = "Other accounts are on the other shards";
/// Why nothing is known of service-specific credentials.
pub const NOT_IN_FILES: &str = "not in report files";
/// The reason why nothing is known of an account at first.
pub const NOT_TRIED: &str = "not tried yet";
/// At most this number of accounts is named.
const MAX_NAMED: usize = 5;

/// Accounts of the query that were never read.
fn unread_of<'a, 'b>(
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
