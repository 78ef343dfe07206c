//! The list of keys, and the search in it.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::choices::{KeyFilter, KeyKind, Order, Sort};
use super::components::{
    account_cell, capitalized, counted, date, day, deadline, grouped, in_words, list_name, noun,
    owner, pager, relative, rows_of, table, when,
};
use super::health::{AccountSummary, Known, KnownKeys, troubles};
use super::query::{MAX_TEXT, Query};
use super::select::select;
use super::trust::OTHER_SHARDS;
use super::{Pagination, StatusSettings};
use crate::findings::Finding;
use crate::policy::KeyStatus;
use crate::render::Snapshot;
use crate::report::ROOT_USER;

/// Keys on one page.
const PAGE_SIZE: usize = 200;
/// The same for a list of every key of an account, to print it on one page.
const SHEET_SIZE: usize = 5_000;

/// The section of the page. `about` are the keys of any kind and status that the query is about,
/// `accounts` those of the query, and `shard` follows nouns.
pub fn section(
    settings: &StatusSettings,
    snapshot: &Snapshot,
    about: &[&Finding],
    known: KnownKeys,
    accounts: &[&AccountSummary],
    query: &Query,
    shard: &str,
) -> Markup {
    let now = snapshot.now;
    let kind = known.listed(query.kind);
    let soon = in_words(snapshot.config.policy.warn_before);
    let rows = select(about, query, &snapshot.config.user_tags);
    let is_sheet = query.show == KeyFilter::Every && !query.account.is_empty();
    let size = if is_sheet { SHEET_SIZE } else { PAGE_SIZE };
    let pagination = Pagination::new(query.page, size, rows.len());
    let link = |page| Query { page, ..query.clone() }.link() + "#keys";
    let download =
        Query { page: 1, accounts: None, state: None, find: String::new(), ..query.clone() };
    let download = download.link();
    let download = download.trim_end_matches('?');
    let calendar = query.showing(KeyFilter::Unrotated).link();
    let of_unknown_tags = rows.len() - query.surely(&rows, &snapshot.config).len();
    let has_tags = !snapshot.config.user_tags.is_empty();
    let caption = html! {
        (list_name(query.show, kind, shard, &soon)) ": "
        (rows_of(&pagination, rows.len())) (kinds(&rows, query))
        @if of_unknown_tags > 0 { ". Of " (grouped(of_unknown_tags)) " of them the user's tags were not read: they may have an owner" }
        @if known.of(query.kind) == Known::Some { ". There may be more" }
        span.screen { ". Select a user to see what to do" }
    };
    let head = html! {
        (column(query, Sort::User, "User"))
        (column(query, Sort::Due, "Due"))
        @if has_tags { (column(query, Sort::Owner, "Owner")) }
        (column(query, Sort::Account, "Account"))
        th scope="col" { "Key" }
        (column(query, Sort::Age, "Age in days"))
        (column(query, Sort::LastUsed, "Last used"))
        th scope="col" { "Limit" }
        th scope="col" { "State" }
    };
    let body = html! {
        @for row in &rows[pagination.rows.clone()] {
            (key(now, row, has_tags))
        }
    };
    html! {
        section id="keys" aria-labelledby="keys-heading" {
            h2 id="keys-heading" { "Keys" }
            (search(query, known, &soon))
            @if rows.is_empty() {
                p.empty { (nothing(settings, query, known, accounts, now, shard, &soon)) }
            } @else {
                (table("keys", &caption, &head, &body))
                (pager(&pagination, "Pages of keys", link))
            }
            p.screen {
                a href={ "keys.csv" (download) } download { "Download these keys as CSV" }
                " · " a href={ "due.ics" (calendar.trim_end_matches('?')) } { "Due dates as a calendar" }
                @if let ([one], false) = (accounts, is_sheet) {
                    " · " a href={ (sheet(&one.account.id)) "#keys" } { "Every key of this account" }
                }
            }
        }
    }
}

/// How many of these keys are access keys, if there can be others. Metrics and alerts count them apart.
fn kinds(rows: &[&Finding], query: &Query) -> String {
    let of_services = rows.iter().filter(|row| row.service.is_some()).count();
    let access_keys = rows.len() - of_services;
    if of_services == 0 || query.kind.is_some() {
        return String::new();
    }
    format!(" ({}, {})", counted(access_keys, "access key"), counted(of_services, "API key"))
}

/// The query for every key of an account.
pub fn sheet(account: &str) -> String {
    let account = account.to_owned();
    Query { account, show: KeyFilter::Every, ..Query::default() }.link()
}

fn search(query: &Query, known: KnownKeys, soon: &str) -> Markup {
    let own = ["q", "show", "kind", "page"];
    html! {
        form role="search" aria-label="Keys" method="get" action="#keys" {
            div {
                label for="q" { "Search" }
                input type="search" id="q" name="q" value=(query.search) maxlength=(MAX_TEXT)
                    placeholder="user, path, account, key id, service, tag" autocomplete="off";
            }
            div {
                label for="show" { "Show" }
                select id="show" name="show" {
                    @for show in KeyFilter::ALL {
                        option value=(show.as_str()) selected[*show == query.show] { (list_name(*show, None, "", soon)) }
                    }
                }
            }
            @if known.has_service_credentials() || query.kind.is_some() {
                div {
                    label for="kind" { "Kind" }
                    select id="kind" name="kind" {
                        option value="" selected[query.kind.is_none()] { "Access and API keys" }
                        @for kind in KeyKind::ALL {
                            option value=(kind.as_str()) selected[query.kind == Some(*kind)] { (capitalized(noun(Some(*kind), 0))) }
                        }
                    }
                }
            }
            @for (name, value) in query.parameters().iter().filter(|(name, _)| !own.contains(name)) {
                input type="hidden" name=(name) value=(value);
            }
            button type="submit" { "Search" }
            @if *query != Query::default() {
                a href="?" { "Reset" }
            }
        }
    }
}

/// Why there is no key to list.
fn nothing(
    settings: &StatusSettings,
    query: &Query,
    known_keys: KnownKeys,
    accounts: &[&AccountSummary],
    now: DateTime<Utc>,
    shard: &str,
    soon: &str,
) -> String {
    let read: Vec<_> = accounts.iter().filter(|row| row.is_read()).collect();
    let oldest = read.iter().filter_map(|row| row.account.generated).min();
    let known = known_keys.of(query.kind);
    if read.is_empty() {
        return "No account was read, so no keys are known.".to_owned();
    } else if known == Known::Nothing {
        let why = if settings.are_files {
            "they are not in report files"
        } else {
            "AWS has not listed them"
        };
        return format!("Nothing is known of API keys: {why}.");
    }
    let key = noun(known_keys.listed(query.kind), 1);
    let is = if known == Known::All { "is" } else { "is known to be" };
    let mut text = match query.show {
        KeyFilter::Unrotated => format!("No {key} {is} unrotated"),
        KeyFilter::DueSoon => format!("No {key} {is} due within {soon}"),
        KeyFilter::Exempt => format!("No {key} {is} exempt"),
        KeyFilter::ExemptionEnding => {
            format!("No {key} {is} exempt with an end within {soon}")
        }
        KeyFilter::NeverUsed => format!("No active {key} is known that was never used for a week"),
        KeyFilter::NotJudged => format!("No active {key} of unknown age is known"),
        KeyFilter::All => format!("No {key} {is} unrotated, due within {soon} or exempt"),
        KeyFilter::Every => format!("No {key} is known"),
    };
    if !query.subject().is_empty() {
        text += &format!(" of those that you ask for: {}", query.subject());
    }
    let all = counted(accounts.len(), "account");
    text += &format!(". {} of {all}{shard} read", grouped(read.len()));
    if let Some(oldest) = oldest {
        text += &format!(", oldest report {}", relative(oldest, now));
    }
    if settings.shard.total > 1 {
        text += &format!(". {OTHER_SHARDS}");
    }
    if known == Known::Some {
        let missing =
            troubles(accounts).iter().map(|(trouble, _)| trouble.text()).collect::<Vec<_>>();
        let missing =
            if missing.is_empty() { String::new() } else { format!(" ({})", missing.join(", ")) };
        text += &format!(". Some data is missing{missing}: see the accounts");
    }
    text + "."
}

fn column(query: &Query, sort: Sort, name: &str) -> Markup {
    let sorted = (query.sort == sort).then_some(match query.order {
        Order::Ascending => "ascending",
        Order::Descending => "descending",
    });
    html! {
        th class=[(sort == Sort::Age).then_some("number")] scope="col" aria-sort=[sorted] {
            a href={ (query.sorted_by(sort).link()) "#keys" } { (name) }
        }
    }
}

/// The page of this key.
pub fn link(finding: &Finding) -> String {
    // A slot is the same after a rotation. A service-specific credential has none.
    let id = finding.access_key_id.clone().filter(|_| finding.key.is_none());
    let query = Query {
        account: finding.account_id.clone(),
        user: finding.user.clone(),
        key: finding.key,
        id: id.unwrap_or_default(),
        ..Query::default()
    };
    format!("key{}", query.link())
}

/// `has_tags`: whether the configuration names tags, which are the owner.
fn key(now: DateTime<Utc>, finding: &Finding, has_tags: bool) -> Markup {
    html! {
        tr {
            th scope="row" data-label="User" {
                a href=(link(finding)) { bdi { (finding.user) } }
                @if finding.path != "/" { small { bdi { (finding.path) } } }
            }
            td data-label="Due" { (due_cell(finding, now)) }
            @if has_tags {
                td.owner data-label="Owner" { (owner(finding)) }
            }
            td.account data-label="Account" { (account_cell(&finding.account_id, &finding.account_name)) }
            td data-label="Key" {
                @match finding.service_name() {
                    Some(service) => (service),
                    None => { @if let Some(slot) = finding.key { (slot) } }
                }
                small {
                    @match &finding.access_key_id {
                        Some(id) => code { (id) },
                        None => span.none { (NO_ID) },
                    }
                }
            }
            td.number data-label="Age in days" { (age(finding)) }
            td data-label="Last used" { (when(finding.last_used, now, never(finding))) }
            td.rule data-label="Limit" { (limit(finding)) }
            td data-label="State" { (state(finding, now)) }
        }
    }
}

/// In place of an access key id. AWS is asked about unrotated keys only.
pub const NO_ID: &str = "id not known";

/// Why there is no last use.
pub fn never(finding: &Finding) -> &'static str {
    if finding.never_used { "never" } else { "not known" }
}

fn age(finding: &Finding) -> Markup {
    html! {
        @match finding.age.zip(age_in_days(finding)) {
            Some((age, days)) => span title={ (format!("{:.2}", age.days())) " days" } { (days) },
            None => span.none { "not known" },
        }
    }
}

/// The age in whole days, or to the hundredth if it would look like the limit, or twice the limit, and is more.
pub fn age_in_days(finding: &Finding) -> Option<String> {
    let age = finding.age?;
    let days = age.days() as usize;
    let limits = [finding.max_age, finding.max_age * 2];
    let is_near = limits.iter().any(|limit| usize::try_from(limit.num_days()) == Ok(days));
    Some(if is_near { age.to_string() } else { grouped(days) })
}

/// By when the key must be rotated, when it expires if that is earlier, or until when it is exempt.
pub fn due_cell(finding: &Finding, now: DateTime<Utc>) -> Markup {
    html! {
        @match (deadline(finding, now), &finding.exemption, finding.status) {
            (Some((time, text)), _, _) => {
                (text) small { (date(time)) }
            }
            (None, Some(exemption), KeyStatus::Exempt) => {
                @match exemption.end {
                    Some(end) => {
                        "exempt, last day " (date(last_day(end))) small { (day(last_day(end), now)) }
                    }
                    None => "exempt without end",
                }
            }
            (None, _, KeyStatus::Inactive) => span.none { "inactive" },
            (None, _, _) => span.none { "not known" },
        }
    }
}

/// A moment of the last day before this one.
pub fn last_day(end: DateTime<Utc>) -> DateTime<Utc> {
    end - TimeDelta::seconds(1)
}

/// How old the key may become, and what says so.
pub fn limit(finding: &Finding) -> Markup {
    html! {
        @match &finding.exemption {
            Some(exemption) => { "exempt" small { bdi { (exemption.reason) } } }
            None => (in_words(finding.max_age)),
        }
        small { (rule(finding)) }
    }
}

/// The rule that decided, in words.
pub fn rule(finding: &Finding) -> String {
    match finding.rule_index {
        Some(index) => format!("rule {} of the configuration", index + 1),
        None => "default".to_owned(),
    }
}

/// The status of the key, and what makes it worse.
fn state(finding: &Finding, now: DateTime<Utc>) -> Markup {
    let (class, state) = badge(finding.status);
    let is_active = finding.status != KeyStatus::Inactive;
    html! {
        span class={ "badge " (class) } { (state) }
        @if finding.user == ROOT_USER && is_active { small.bad { "key of root" } }
        @if finding.service.is_some() && (is_active || finding.expires.is_some()) {
            small { (expiry(finding, now)) }
        }
        @if is_overdue_twice(finding) { small.bad { "past twice its limit" } }
        @if KeyFilter::NeverUsed.includes(finding) { small { "never used: delete it" } }
    }
}

/// When a service-specific credential expires, in words.
pub fn expiry(finding: &Finding, now: DateTime<Utc>) -> String {
    match finding.expires {
        None => "never expires".to_owned(),
        Some(time) if time > now => format!("expires {}", day(time, now)),
        Some(time) => format!("expired {}", day(time, now)),
    }
}

/// The class and the name of a status.
pub fn badge(status: KeyStatus) -> (&'static str, &'static str) {
    match status {
        KeyStatus::Unrotated => ("unrotated", "unrotated"),
        KeyStatus::DueSoon => ("due", "due soon"),
        KeyStatus::Exempt => ("exempt", "exempt"),
        KeyStatus::Ok => ("ok", "ok"),
        KeyStatus::Inactive => ("exempt", "inactive"),
        KeyStatus::NotJudged => ("due", "age not known"),
    }
}

fn is_overdue_twice(finding: &Finding) -> bool {
    finding.status == KeyStatus::Unrotated
        && finding.age.is_some_and(|age| age.exceeds(finding.max_age * 2))
}
