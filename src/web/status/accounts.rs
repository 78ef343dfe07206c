//! The accounts: their state, why they fail, and the age of their reports.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::components::{account_cell, counted, grouped, pager, relative, rows_of, runbook, when};
use super::health::{AccountSummary, Health};
use super::query::{AccountFilter, AccountSort, MAX_TEXT, Query};
use super::{Pagination, StatusSettings, words};
use crate::state::Account;

/// Accounts on one page.
const PAGE_SIZE: usize = 50;
/// Up to this number of accounts the list is open even if all are ok, and has no controls.
const FEW: usize = 5;
/// At most this number of causes is told.
const MAX_CAUSES: usize = 10;

/// How many accounts are in which state, in words.
pub fn health(accounts: &[&AccountSummary]) -> String {
    let count = |is: fn(Health) -> bool| accounts.iter().filter(|row| is(row.health)).count();
    let states = [
        (count(|health| health == Health::Ok), "ok"),
        (count(|health| health == Health::Degraded), "degraded"),
        (count(|health| matches!(health, Health::Failing(_))), "failing"),
        (count(|health| health == Health::Pending), "not tried yet"),
    ];
    let states: Vec<String> = states
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{} {state}", grouped(count)))
        .collect();
    let what = if accounts.len() == 1 { "account" } else { "accounts" };
    if states.is_empty() { what.to_owned() } else { format!("{what}: {}", states.join(", ")) }
}

/// The section of the page. `accounts` are those of the query's exact parameters.
pub fn section(
    settings: &StatusSettings,
    now: DateTime<Utc>,
    accounts: &[&AccountSummary],
    query: &Query,
) -> Markup {
    let listed = select(accounts, query);
    let pagination = Pagination::new(query.accounts.unwrap_or(1), PAGE_SIZE, listed.len());
    let asks = query.accounts.is_some()
        || query.state.is_some()
        || !query.find.is_empty()
        || query.accounts_sort != AccountSort::State;
    let is_calm = accounts.iter().all(|row| row.health == Health::Ok);
    // Who searches for keys does not want to pass by all accounts first.
    let is_open = asks || accounts.len() <= FEW || !is_calm && query.search.is_empty();
    let link = |page| Query { accounts: Some(page), ..query.clone() }.link() + "#accounts";
    html! {
        section id="accounts" aria-labelledby="accounts-heading" {
            h2 id="accounts-heading" { "Accounts" }
            @if accounts.is_empty() {
                p { "No account is known." }
            } @else {
                details open[is_open] {
                    summary { (grouped(accounts.len())) " " (health(accounts)) }
                    (causes(accounts, query))
                    @if accounts.len() > FEW || asks { (controls(query)) }
                    @if listed.is_empty() {
                        p.empty { "No account matches." }
                    } @else {
                        div.table role="region" aria-labelledby="accounts-caption" tabindex="0" {
                            table {
                                caption.hidden id="accounts-caption" {
                                    "Accounts: " (rows_of(&pagination, listed.len()))
                                }
                                thead {
                                    tr {
                                        th scope="col" { "Account" }
                                        th scope="col" { "State" }
                                        th.number scope="col" { "Unrotated keys" }
                                        th scope="col" { "Report of" }
                                        th scope="col" { "Next refresh" }
                                    }
                                }
                                tbody {
                                    @for row in &listed[pagination.rows.clone()] { (account(settings, now, row)) }
                                }
                            }
                        }
                        (pager(&pagination, "Pages of accounts", link))
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
    let is_wanted = |row: &&&AccountSummary| {
        let cause = row.cause().unwrap_or_default();
        let reason = match row.health {
            Health::Failing(reason) => reason.as_str(),
            _ => row.health.as_str(),
        };
        query.state.is_none_or(|state| state.includes(row.health, row.is_read()))
            && words.iter().all(|word| {
                [&row.account.id, &row.account.name, &cause, reason]
                    .iter()
                    .any(|text| word.is_match(text))
            })
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

/// Accounts that fail, by what AWS said.
fn causes(accounts: &[&AccountSummary], query: &Query) -> Markup {
    let mut by_cause: BTreeMap<String, (usize, &AccountSummary)> = BTreeMap::new();
    for row in accounts {
        if let Some(cause) = row.cause() {
            by_cause.entry(cause).or_insert((0, row)).0 += 1;
        }
    }
    if by_cause.values().map(|(count, _)| count).sum::<usize>() < 2 {
        return html! {};
    }
    let mut causes: Vec<_> = by_cause.into_iter().collect();
    causes.sort_by_key(|(_, (count, _))| Reverse(*count));
    let more = causes.len().saturating_sub(MAX_CAUSES);
    let link = |cause: &str| {
        // Up to where the account's id was.
        let find = cause.split('\u{2026}').next().unwrap_or_default().trim();
        let find = find.chars().take(MAX_TEXT).collect();
        let state = Some(AccountFilter::Failing);
        Query { state, find, accounts: None, ..query.clone() }.link() + "#accounts"
    };
    html! {
        ul.causes {
            @for (cause, (count, _)) in causes.iter().take(MAX_CAUSES) {
                li { a href=(link(cause)) { (counted(*count, "account")) } ": " bdi { (cause) } }
            }
            @if more > 0 { li { "and " (counted(more, "other cause")) } }
        }
    }
}

fn controls(query: &Query) -> Markup {
    let states = [
        (None, "All"),
        (Some(AccountFilter::Failing), "Failing"),
        (Some(AccountFilter::Degraded), "Degraded"),
        (Some(AccountFilter::Unread), "Never read"),
        (Some(AccountFilter::Pending), "Not tried yet"),
        (Some(AccountFilter::Ok), "Ok"),
    ];
    let sorts = [
        (AccountSort::State, "Those that need somebody first"),
        (AccountSort::Name, "Name"),
        (AccountSort::Unrotated, "Most unrotated keys first"),
        (AccountSort::Report, "Oldest report first"),
    ];
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
                    @for (state, name) in states {
                        option value=(state.map_or("", AccountFilter::as_str)) selected[state == query.state] { (name) }
                    }
                }
            }
            div {
                label for="accounts_sort" { "Order" }
                select id="accounts_sort" name="accounts_sort" {
                    @for (sort, name) in sorts {
                        option value=(sort.as_str()) selected[sort == query.accounts_sort] { (name) }
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

fn account(settings: &StatusSettings, now: DateTime<Utc>, row: &AccountSummary) -> Markup {
    let Account { id, name, generated, refresh, .. } = row.account;
    // A refresh that is under way has its time behind it.
    let next = refresh.next.filter(|next| *next > now);
    let of_account = Query { account: id.clone(), ..Query::default() }.link();
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
                            small { "failing since " (relative(fault.since, now)) }
                        }
                        @if refresh.last_success.is_none() { small { "no refresh has worked since the start" } }
                    }
                }
                @for (trouble, section) in &row.troubles {
                    small { (trouble) ". " (runbook(settings, section)) }
                }
            }
            td.number data-label="Unrotated keys" {
                @if row.is_read() {
                    a href={ (of_account) "#keys" } {
                        @if !row.is_whole { "at least " }
                        (grouped(row.unrotated))
                    }
                } @else {
                    span.none { "not known" }
                }
            }
            td data-label="Report of" { (when(*generated, now, "never read")) }
            td data-label="Next refresh" { (when(next, now, "now")) }
        }
    }
}
