//! The accounts: their state, why they fail, and the age of their reports.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::choices::{AccountFilter, AccountSort, KeyFilter, KeyKind};
use super::components::{
    account_cell, account_name, counted, grouped, long, moment, pager, relative, rows_of, runbook,
    sentence, since, table,
};
use super::health::{
    AccountSummary, Health, Known, KnownKeys, Trouble, UNKNOWN_AGE, knows_every_account, troubles,
};
use super::query::{MAX_TEXT, Query};
use super::select::words;
use super::{Pagination, StatusSettings};
use crate::render::Snapshot;
use crate::state::Account;

/// Accounts on one page.
const PAGE_SIZE: usize = 50;
/// Up to this number of accounts the list has no controls. With more it is folded below the causes, which say
/// more.
const FEW: usize = 5;
/// At most this number of causes is shown.
const MAX_CAUSES: usize = 10;

/// The number of accounts in each state.
struct Counts {
    ok: usize,
    degraded: usize,
    failing: usize,
    pending: usize,
}

impl Counts {
    fn new(accounts: &[&AccountSummary]) -> Counts {
        let count = |is: fn(Health) -> bool| accounts.iter().filter(|row| is(row.health)).count();
        Counts {
            ok: count(|health| health == Health::Ok),
            degraded: count(|health| health == Health::Degraded),
            failing: count(|health| matches!(health, Health::Failing(_))),
            pending: count(|health| health == Health::Pending),
        }
    }
}

/// The number of accounts in each state, in words.
fn health(accounts: &[&AccountSummary], shard: &str) -> String {
    let Counts { ok, degraded, failing, pending } = Counts::new(accounts);
    let states =
        [(ok, "ok"), (degraded, "degraded"), (failing, "failing"), (pending, "not tried yet")];
    let states: Vec<String> = states
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{} {state}", grouped(count)))
        .collect();
    format!("{}{shard}: {}", counted(accounts.len(), "account"), states.join(", "))
}

/// The tile: whether accounts need attention. `shard` follows nouns.
pub fn tile(
    snapshot: &Snapshot,
    accounts: &[&AccountSummary],
    query: &Query,
    shard: &str,
) -> Markup {
    let Counts { ok: _, degraded, failing, pending } = Counts::new(accounts);
    let of_all = format!("of {}{shard}", counted(accounts.len(), "account"));
    let (class, number, what, state) = if accounts.is_empty() {
        (Some("bad"), grouped(0), format!("accounts{shard}{} known", of_search(query)), None)
    } else if failing > 0 {
        (Some("bad"), grouped(failing), format!("{of_all} failing"), Some(AccountFilter::Failing))
    } else if pending > 0 {
        (
            Some("doubt"),
            grouped(pending),
            format!("{of_all} not tried yet"),
            Some(AccountFilter::Pending),
        )
    } else if degraded > 0 {
        (
            Some("doubt"),
            grouped(degraded),
            format!("{of_all} degraded"),
            Some(AccountFilter::Degraded),
        )
    } else {
        let what = if accounts.len() == 1 { "account" } else { "accounts" };
        let what = format!("{what}{shard} ok");
        let (class, known) = if knows_every_account(&snapshot.state, query) {
            (None, Known::All)
        } else {
            (Some("doubt"), Known::Some)
        };
        (class, known.of(accounts.len()), what, Some(AccountFilter::Ok))
    };
    html! {
        li class=[class] {
            a href=(link(query, state, "")) { strong { (number) } " " span { (what) } }
            @if degraded > 0 && state != Some(AccountFilter::Degraded) {
                p.doubt {
                    a href=(link(query, Some(AccountFilter::Degraded), "")) {
                        (grouped(degraded)) " degraded"
                    }
                }
            }
        }
    }
}

/// After accounts of which none is known: the exporter may know others.
pub fn of_search(query: &Query) -> &'static str {
    if query.account.is_empty() { "" } else { " of this search" }
}

/// The link to the accounts of this state for which `find` finds something.
pub fn link(query: &Query, state: Option<AccountFilter>, find: &str) -> String {
    let find = find.to_owned();
    Query { state, find, accounts: None, ..query.clone() }.link() + "#accounts"
}

/// What finds exactly the accounts with this trouble, or with this cause of failures.
pub fn exactly(what: &str) -> String {
    format!("\"{}\"", what.chars().take(MAX_TEXT - 2).collect::<String>())
}

/// The section of the page, which is closed if all is well. `accounts` are those of the query's exact parameters.
pub fn section(
    settings: &StatusSettings,
    now: DateTime<Utc>,
    accounts: &[&AccountSummary],
    known: KnownKeys,
    query: &Query,
    shard: &str,
) -> Markup {
    let listed = select(accounts, query);
    let pagination = Pagination::new(query.accounts.unwrap_or(1), PAGE_SIZE, listed.len());
    let asks = query.accounts.is_some()
        || query.state.is_some()
        || !query.find.is_empty()
        || query.accounts_sort != AccountSort::State;
    let is_calm = accounts.iter().all(|row| row.health == Health::Ok);
    let is_open = asks || !is_calm && query.search.is_empty();
    let are_few = accounts.len() <= FEW;
    let page = |page| Query { accounts: Some(page), ..query.clone() }.link() + "#accounts";
    let caption = html! { "Accounts: " (rows_of(&pagination, listed.len())) };
    let head = html! {
        th scope="col" { "Account" }
        th scope="col" { "State" }
        th.number scope="col" { "Unrotated access keys" }
        @if known.has_service_credentials() { th.number scope="col" { "Unrotated API keys" } }
        th scope="col" { "Report of" }
        th scope="col" { "Next refresh" }
    };
    let body = html! {
        @for row in &listed[pagination.rows.clone()] { (account(settings, now, known, row)) }
    };
    let list = html! {
        @if !are_few || asks { (controls(query)) }
        @if listed.is_empty() {
            p.empty { "No account matches." }
        } @else {
            (table("accounts", &caption, &head, &body))
            (pager(&pagination, "Pages of accounts", page))
        }
    };
    html! {
        section id="accounts" aria-labelledby="accounts-heading" {
            @if accounts.is_empty() {
                h2 id="accounts-heading" { "Accounts" }
                p { "No account" (of_search(query)) " is known." }
            } @else {
                details open[is_open] {
                    summary {
                        h2 id="accounts-heading" { "Accounts" } " "
                        (health(accounts, shard))
                    }
                    @if are_few || is_calm {
                        (list)
                    } @else {
                        (causes(settings, accounts, query))
                        details open[asks] {
                            summary { "List of " (counted(accounts.len(), "account")) }
                            (list)
                        }
                    }
                }
            }
        }
    }
}

/// The accounts that the query asks for, in its order.
fn select<'a, 'b>(
    accounts: &[&'a AccountSummary<'b>],
    query: &Query,
) -> Vec<&'a AccountSummary<'b>> {
    let words = words(&query.find);
    let is_found = |row: &AccountSummary| {
        let cause = row.cause().unwrap_or_default();
        let reason = match row.health {
            Health::Failing(reason) => reason.as_str(),
            _ => row.health.as_str(),
        };
        let mut words = words.iter();
        words.all(|word| {
            let troubles = row.troubles.iter().map(|trouble| trouble.what);
            [&row.account.id, &row.account.name, &cause, reason]
                .into_iter()
                .chain(troubles)
                .any(|text| word.is_match(text))
        })
    };
    let has_exactly = |row: &AccountSummary| {
        let troubles = row.troubles.iter().map(|trouble| exactly(trouble.what));
        troubles.chain(row.cause().map(|cause| exactly(&cause))).any(|what| what == query.find)
    };
    let is_wanted = |row: &&&AccountSummary| {
        query.state.is_none_or(|state| state.includes(row.health, row.is_read()))
            && if query.find.starts_with('"') { has_exactly(row) } else { is_found(row) }
    };
    let mut rows: Vec<_> = accounts.iter().filter(is_wanted).copied().collect();
    match query.accounts_sort {
        AccountSort::State => {}
        AccountSort::Name => {
            rows.sort_by_cached_key(|row| (row.account.name.to_lowercase(), &row.account.id));
        }
        AccountSort::Unrotated => rows.sort_by_key(|row| Reverse(row.unrotated)),
        AccountSort::Report => rows.sort_by_key(|row| row.account.generated),
    }
    rows
}

/// Why accounts fail, in AWS's words, and what else is not known: each with the number of accounts.
fn causes(settings: &StatusSettings, accounts: &[&AccountSummary], query: &Query) -> Markup {
    let mut failures: BTreeMap<String, Vec<&Account>> = BTreeMap::new();
    for row in accounts {
        if let Some(cause) = row.cause() {
            failures.entry(cause).or_default().push(row.account);
        }
    }
    let mut failures: Vec<_> = failures.into_iter().collect();
    failures.sort_by_key(|(_, accounts)| Reverse(accounts.len()));
    let troubles = troubles(accounts);
    let more = failures.len().saturating_sub(MAX_CAUSES);
    let line = |accounts: &[&Account], what: &str, state, section| {
        let link = link(query, state, &exactly(what));
        html! {
            li {
                a href=(link) { (counted(accounts.len(), "account")) }
                @if let [one] = accounts { " (" bdi { (account_name(&one.id, &one.name)) } ")" }
                ": " bdi { (sentence(what)) } " " (runbook(settings, section))
            }
        }
    };
    html! {
        @if !(failures.is_empty() && troubles.is_empty()) {
            ul.causes {
                @for (cause, accounts) in failures.iter().take(MAX_CAUSES) {
                    (line(accounts, cause, Some(AccountFilter::Failing), "iamrefreshfailing"))
                }
                @if more > 0 { li { "and " (counted(more, "other cause")) } }
                @for (Trouble { what, section, .. }, accounts) in troubles { (line(&accounts, what, None, section)) }
            }
        }
    }
}

fn controls(query: &Query) -> Markup {
    let state_name = |state| match state {
        AccountFilter::Failing => "Failing",
        AccountFilter::Degraded => "Degraded",
        AccountFilter::Unread => "Never read",
        AccountFilter::Pending => "Not tried yet",
        AccountFilter::Ok => "Ok",
    };
    let sort_name = |sort| match sort {
        AccountSort::State => "Most urgent first",
        AccountSort::Name => "Name",
        AccountSort::Unrotated => "Most unrotated access keys first",
        AccountSort::Report => "Oldest report first",
    };
    let own = ["state", "find", "accounts_sort", "accounts"];
    html! {
        form role="search" aria-label="Accounts" method="get" action="#accounts" {
            div {
                label for="find" { "Search accounts" }
                input type="search" id="find" name="find" value=(query.find) maxlength=(MAX_TEXT)
                    placeholder="name, id, cause" autocomplete="off";
            }
            div {
                label for="state" { "State" }
                select id="state" name="state" {
                    option value="" selected[query.state.is_none()] { "All" }
                    @for state in AccountFilter::ALL {
                        option value=(state.as_str()) selected[query.state == Some(*state)] { (state_name(*state)) }
                    }
                }
            }
            div {
                label for="accounts_sort" { "Order" }
                select id="accounts_sort" name="accounts_sort" {
                    @for sort in AccountSort::ALL {
                        option value=(sort.as_str()) selected[query.accounts_sort == *sort] { (sort_name(*sort)) }
                    }
                }
            }
            @for (name, value) in query.parameters().iter().filter(|(name, _)| !own.contains(name)) {
                input type="hidden" name=(name) value=(value);
            }
            button type="submit" { "Search" }
        }
    }
}

fn account(
    settings: &StatusSettings,
    now: DateTime<Utc>,
    known: KnownKeys,
    row: &AccountSummary,
) -> Markup {
    let Account { id, name, generated, refresh, .. } = row.account;
    // A running refresh has a time in the past.
    let next = refresh.next.filter(|next| *next > now);
    let of_account = Query { account: id.clone(), ..Query::default() };
    html! {
        tr {
            th scope="row" data-label="Account" { (account_cell(id, name)) }
            td data-label="State" {
                @match row.health {
                    Health::Ok => span.badge.ok { "ok" },
                    Health::Degraded => span.badge.due { "degraded" },
                    Health::Pending => span.badge.exempt { "not tried yet" },
                    Health::Failing(reason) => {
                        span.badge.unrotated { "failing: " (reason.as_str()) } " "
                        (runbook(settings, "iamrefreshfailing"))
                        @if let Some(fault) = &refresh.fault {
                            small { bdi { (fault.message) } }
                            small { "failing for " (since(fault.since, now)) }
                        }
                        @if row.is_read() && refresh.last_success.is_none() {
                            small { "no refresh has succeeded since the start" }
                        }
                    }
                }
                @for trouble in &row.troubles {
                    small {
                        @if trouble.what == UNKNOWN_AGE {
                            a href={ (of_account.showing(KeyFilter::NotJudged).link()) "#keys" } { (trouble.text()) }
                        } @else {
                            (trouble.text())
                        }
                        ". " (runbook(settings, trouble.section))
                    }
                }
            }
            td.number data-label="Unrotated access keys" {
                (number(row.known(KeyKind::AccessKey), row.unrotated, &of_account.of_kind(KeyKind::AccessKey)))
            }
            @if known.has_service_credentials() {
                td.number data-label="Unrotated API keys" {
                    (number(
                        row.known(KeyKind::ServiceCredential),
                        row.unrotated_service_credentials,
                        &of_account.of_kind(KeyKind::ServiceCredential),
                    ))
                }
            }
            td data-label="Report of" {
                @match generated {
                    Some(time) => { (moment(*time)) small { (relative(*time, now)) } }
                    None => span.none { "never read" },
                }
            }
            td data-label="Next refresh" {
                @match next {
                    Some(next) => span title=(long(next)) { (relative(next, now)) },
                    None => "now",
                }
            }
        }
    }
}

/// A number of keys, which leads to those of this query.
pub fn number(known: Known, count: usize, query: &Query) -> Markup {
    html! {
        @match known {
            Known::Nothing => span.none { "not known" },
            _ => a href={ (query.link()) "#keys" } { (known.of(count)) },
        }
    }
}
