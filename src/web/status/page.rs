//! A snapshot and a query → HTML. Text from AWS or from a person is escaped by maud, and `bdi` isolates
//! the direction of its letters.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use super::accounts::{self, AccountSummary};
use super::components::{
    account_cell, counted, grouped, in_words, moment, pager, rows_of, runbook, when,
};
use super::query::{KeyFilter, MAX_SEARCH, Order, Query, Sort};
use super::{Pagination, StatusSettings, account_name, select};
use crate::findings::{Finding, Status};
use crate::render::Snapshot;
use crate::report::ROOT_USER;
use crate::state::{State, Tried};

/// Keys on one page.
const PAGE_SIZE: usize = 200;

/// The page.
pub fn render(settings: &StatusSettings, snapshot: &Snapshot, query: &Query) -> String {
    let findings = snapshot.findings();
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let unrotated = count(Status::Unrotated);
    let accounts = accounts::rows(snapshot);
    let found = Found::new(snapshot, &accounts);
    let soon = in_words(snapshot.config.policy.warn_before);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (found.of(unrotated)) " " (unrotated_keys(unrotated)) " · iam-key-exporter" }
                link rel="stylesheet" href="status.css";
            }
            body {
                a.skip href="#keys" { "Skip to the keys" }
                header {
                    h1 { "IAM access keys" }
                    p {
                        "As of " (moment(snapshot.now))
                        @if let Some(url) = &settings.dashboard_url { " · " a href=(url) { "Dashboard" } }
                    }
                }
                main {
                    (notices(settings, snapshot))
                    ul.tiles {
                        li class=[(unrotated > 0).then_some("bad")] { (tile("?#keys", &found.of(unrotated), unrotated_keys(unrotated))) }
                        li { (tile("?show=due_soon#keys", &found.of(count(Status::DueSoon)), &format!("due within {soon}"))) }
                        li { (tile("?show=exempt#keys", &found.of(count(Status::Exempt)), "exempt")) }
                        li class=[accounts.iter().any(AccountSummary::is_failing).then_some("bad")] {
                            (tile("#accounts", &grouped(accounts.len()), &accounts::health(&accounts)))
                        }
                    }
                    (accounts::section(settings, snapshot.now, &accounts, query))
                    (keys_section(settings, snapshot, &found, &soon, query))
                }
                footer {
                    p {
                        "iam-key-exporter " (env!("CARGO_PKG_VERSION")) " · "
                        a href={ "." (settings.telemetry_path) } { "Metrics" } " · "
                        a href="./-/healthy" { "Healthy" } " · "
                        a href="./-/ready" { "Ready" }
                    }
                    p { "Rendered at once when a verdict, a count or a state changes, and each minute. Reload it to see the newest." }
                }
            }
        }
    };
    page.into_string()
}

fn notices(settings: &StatusSettings, snapshot: &Snapshot) -> Markup {
    let state = &snapshot.state;
    html! {
        @if settings.is_demo {
            p.notice { "This organization is made up. It shows what the exporter does without AWS." }
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
        @if state.duplicates > 0 {
            p.notice {
                (counted(state.duplicates, "report")) " of an account that has a newer one "
                "left out."
            }
        }
    }
}

fn tile(link: &str, count: &str, label: &str) -> Markup {
    html! { a href=(link) { strong { (count) } " " span { (label) } } }
}

/// How much of the truth a number of keys is.
enum Found {
    /// Every account was read, and all of it is known.
    All,
    /// There may be more.
    Some,
    /// No account was read.
    Nothing,
}

impl Found {
    fn new(snapshot: &Snapshot, accounts: &[AccountSummary]) -> Found {
        let State { discovery, ready, .. } = snapshot.state;
        if !accounts.iter().any(AccountSummary::is_read) {
            return Found::Nothing;
        }
        let is_all = ready && discovery != Tried::Failed;
        if is_all && accounts.iter().all(AccountSummary::is_whole) {
            Found::All
        } else {
            Found::Some
        }
    }

    fn of(&self, number: usize) -> String {
        match self {
            Found::All => grouped(number),
            Found::Some => format!("at least {}", grouped(number)),
            Found::Nothing => "not known:".to_owned(),
        }
    }
}

fn unrotated_keys(count: usize) -> &'static str {
    match count {
        1 => "unrotated key",
        _ => "unrotated keys",
    }
}

fn keys_section(
    settings: &StatusSettings,
    snapshot: &Snapshot,
    found: &Found,
    soon: &str,
    query: &Query,
) -> Markup {
    let now = snapshot.now;
    let rows = select(snapshot.findings(), query);
    let pagination = Pagination::new(query.page, PAGE_SIZE, rows.len());
    let link = |page| Query { page, ..query.clone() }.link() + "#keys";
    let download = Query { page: 1, accounts: None, ..query.clone() }.link();
    html! {
        section id="keys" aria-labelledby="keys-heading" {
            h2 id="keys-heading" { "Keys" }
            (search(query, soon))
            @if rows.is_empty() {
                p.empty { (nothing(query, found, soon)) }
            } @else {
                div.table role="region" aria-labelledby="keys-caption" tabindex="0" {
                    table {
                        caption id="keys-caption" {
                            (title(query.show, soon)) ": " (rows_of(&pagination, rows.len()))
                        }
                        thead {
                            tr {
                                (column(query, Sort::User, "User"))
                                (column(query, Sort::Account, "Account"))
                                th scope="col" { "Key" }
                                th scope="col" { "Owner" }
                                (column(query, Sort::Age, "Age in days"))
                                (column(query, Sort::Due, "Due"))
                                (column(query, Sort::LastUsed, "Last used"))
                                th scope="col" { "Rule" }
                                th scope="col" { "State" }
                            }
                        }
                        tbody {
                            @for row in &rows[pagination.rows.clone()] { (key(settings, now, row)) }
                        }
                    }
                }
                (pager(&pagination, "Pages of keys", link))
                p { a href={ "keys.csv" (download.trim_end_matches('?')) } download { "Download these keys as CSV" } }
            }
        }
    }
}

fn search(query: &Query, soon: &str) -> Markup {
    html! {
        form role="search" method="get" {
            div {
                label for="q" { "Search" }
                input type="search" id="q" name="q" value=(query.search) maxlength=(MAX_SEARCH)
                    placeholder="user, path, account, key id, tag" autocomplete="off";
            }
            div {
                label for="show" { "Show" }
                select id="show" name="show" {
                    @for show in KeyFilter::ALL {
                        option value=(show.as_str()) selected[show == query.show] { (title(show, soon)) }
                    }
                }
            }
            @if query.sort != Sort::Age {
                input type="hidden" name="sort" value=(query.sort.as_str());
            }
            @if query.order != query.sort.order() {
                input type="hidden" name="order" value=(query.order.as_str());
            }
            button type="submit" { "Search" }
            @if *query != Query::default() {
                a href="?" { "Reset" }
            }
        }
    }
}

fn title(show: KeyFilter, soon: &str) -> String {
    match show {
        KeyFilter::Unrotated => "Unrotated keys".to_owned(),
        KeyFilter::DueSoon => format!("Keys due within {soon}"),
        KeyFilter::Exempt => "Exempt keys".to_owned(),
        KeyFilter::All => "All of these".to_owned(),
    }
}

fn nothing(query: &Query, found: &Found, soon: &str) -> String {
    if let Found::Nothing = found {
        return "No account was read, so nothing is known of its keys.".to_owned();
    }
    let as_far = "as far as the accounts could be read.";
    match (query.search.is_empty(), query.show) {
        (true, KeyFilter::Unrotated) => format!("No key is unrotated, {as_far}"),
        (true, KeyFilter::DueSoon) => format!("No key is due within {soon}, {as_far}"),
        (true, KeyFilter::Exempt) => format!("No key is exempt, {as_far}"),
        (true, KeyFilter::All) => {
            format!("No key is unrotated, due within {soon} or exempt, {as_far}")
        }
        (false, KeyFilter::All) => format!(
            "None of these keys matches. Inactive keys, and keys with more than {soon} left, are not listed."
        ),
        (false, _) => "None of these keys matches. \"All of these\" searches in more.".to_owned(),
    }
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

fn key(settings: &StatusSettings, now: DateTime<Utc>, finding: &Finding) -> Markup {
    let section = match finding.status {
        Status::Unrotated if finding.user == ROOT_USER => "iamrootaccesskeyactive",
        Status::Unrotated => "iamaccesskeyunrotated",
        Status::DueSoon => "iamaccesskeyrotationdue",
        Status::Exempt => "iamaccesskeyexemptionending",
    };
    let (class, state) = match finding.status {
        Status::Unrotated => ("unrotated", "unrotated"),
        Status::DueSoon => ("due", "due soon"),
        Status::Exempt => ("exempt", "exempt"),
    };
    html! {
        tr {
            th scope="row" {
                bdi { (finding.user) }
                @if finding.path != "/" { small { bdi { (finding.path) } } }
            }
            td.account { (account_cell(&finding.account_id, account_name(finding))) }
            td {
                (finding.key)
                @if let Some(id) = &finding.access_key_id { small { code { (id) } } }
            }
            td.owner {
                @for (key, value) in &finding.tags {
                    span.tag { span.name { (key) } " " bdi { (value) } } " "
                }
                @if finding.tags.is_empty() { span.none { "none known" } }
            }
            td.number { (format!("{:.2}", finding.age.days())) }
            td { (when(finding.due, now, "exempt")) }
            td { (when(finding.last_used, now, "never")) }
            td.rule { (finding.rule) }
            td { span class={ "badge " (class) } { (state) } " " (runbook(settings, section)) }
        }
    }
}
