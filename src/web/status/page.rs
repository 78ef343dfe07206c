//! A snapshot and a query → HTML. Text from AWS or from a person is escaped by maud, and `bdi` isolates
//! the direction of its letters.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use super::accounts;
use super::choices::KeyFilter;
use super::components::{counted, in_words, moment};
use super::health::{self, AccountSummary, Known};
use super::query::Query;
use super::select::{about, candidates};
use super::{StatusSettings, keys, teams, trust};
use crate::policy::KeyStatus;
use crate::render::Snapshot;
use crate::state::Tried;

/// The page.
pub fn render(settings: &StatusSettings, snapshot: &Snapshot, query: &Query) -> String {
    let keys = candidates(snapshot, query);
    let about = about(&keys, query, &snapshot.config.user_tags);
    let count = |status| about.iter().filter(|finding| finding.status == status).count();
    let all = health::accounts(snapshot);
    let accounts: Vec<&AccountSummary> =
        all.iter().filter(|row| query.is_of_account(row.account)).collect();
    let known = known(snapshot, &accounts);
    let unrotated = count(KeyStatus::Unrotated);
    let of_services = about
        .iter()
        .filter(|finding| finding.status == KeyStatus::Unrotated && finding.service.is_some())
        .count();
    let access_keys = unrotated - of_services;
    let subject = Some(query.subject()).filter(|subject| !subject.is_empty());
    let title = html! {
        @match known {
            Known::Nothing => "Unrotated keys not known",
            _ => { (known.of(access_keys)) " " (unrotated_keys(access_keys, of_services)) },
        }
        @if let Some(subject) = &subject { ", " (subject) }
    };
    let soon = in_words(snapshot.config.policy.warn_before);
    let class = match (unrotated, known) {
        (1.., _) => Some("bad"),
        (0, Known::All) => None,
        (0, _) => Some("doubt"),
    };
    let tile = |show, count, label: &str| {
        let link = query.showing(show).link() + "#keys";
        html! { a href=(link) { strong { (known.of(count)) } " " span { (label) } } }
    };
    // The account's name is for printed pages.
    let name = match &accounts[..] {
        [one] if query.account == one.account.id => Some(&one.account.name),
        _ => None,
    };
    let name = name.filter(|name| !name.is_empty() && **name != query.account);
    let heading = html! {
        h1 { "IAM access keys" }
        @if let Some(subject) = &subject {
            p {
                "Only " bdi { (subject) }
                @if let Some(name) = name { " · account " bdi { (name) } }
                span.screen { " · " a href="?" { "All keys" } }
            }
        }
    };
    let body = html! {
        (trust::line(settings, snapshot, &accounts, query))
        (trust::notices(settings, snapshot, &accounts, query))
        ul.tiles {
            li class=[class] {
                (tile(KeyFilter::Unrotated, access_keys, &unrotated_keys(access_keys, of_services)))
            }
            li { (tile(KeyFilter::DueSoon, count(KeyStatus::DueSoon), &format!("due within {soon}"))) }
            li { (tile(KeyFilter::Exempt, count(KeyStatus::Exempt), "exempt")) }
            (accounts::tile(&accounts))
        }
        (teams::section(snapshot, known, query))
        (accounts::section(settings, snapshot.now, &accounts, query))
        (keys::section(snapshot, &about, known, &accounts, query))
    };
    frame(settings, snapshot.now, &title, &heading, &body, &query.link())
}

/// What is known of the keys in these accounts, which are those of the query.
pub fn known(snapshot: &Snapshot, accounts: &[&AccountSummary]) -> Known {
    Known::new(accounts, snapshot.state.ready && snapshot.state.discovery != Tried::Failed)
}

/// A page with this content. `link` is the link to itself.
pub fn frame(
    settings: &StatusSettings,
    now: DateTime<Utc>,
    title: &Markup,
    heading: &Markup,
    body: &Markup,
    link: &str,
) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · iam-key-exporter" }
                link rel="stylesheet" href="status.css";
            }
            body {
                a.skip href="#keys" { "Skip to the keys" }
                header {
                    div { (heading) }
                    p {
                        "As of " (moment(now))
                        span.screen {
                            " · " a href=(link) { "Reload" }
                            @if let Some(url) = &settings.dashboard_url { " · " a href=(url) { "Dashboard" } }
                        }
                    }
                }
                main { (body) }
                footer {
                    p {
                        "iam-key-exporter " (env!("CARGO_PKG_VERSION"))
                        span.screen {
                            " · " a href="./" { "All keys" }
                            " · " a href=(settings.runbook_url()) { "Runbooks" }
                            " · " a href={ "." (settings.telemetry_path) } { "Metrics" }
                            " · " a href="./-/healthy" { "Healthy" }
                            " · " a href="./-/ready" { "Ready" }
                        }
                    }
                    p.screen { "Updated every minute, and at once when a verdict, a count or a state changes. Reload the page to see the newest." }
                }
            }
        }
    };
    page.into_string()
}

/// A page about something that is not known.
pub fn missing(settings: &StatusSettings, now: DateTime<Utc>, what: &str) -> String {
    error(settings, now, "Not found", what)
}

/// A page about an invalid address.
pub fn invalid(settings: &StatusSettings, now: DateTime<Utc>, what: &str) -> String {
    error(settings, now, "Invalid address", what)
}

fn error(settings: &StatusSettings, now: DateTime<Utc>, title: &str, what: &str) -> String {
    let title = html! { (title) };
    let heading = html! { h1 { "IAM access keys" } };
    let body = html! {
        section id="keys" aria-labelledby="error" {
            h2 id="error" { "This page cannot be shown" }
            p.empty { (what) }
            p { a href="./" { "All keys" } }
        }
    };
    // The address itself.
    frame(settings, now, &title, &heading, &body, "")
}

/// The words after the number of access keys. Metrics and alerts count service-specific credentials apart.
fn unrotated_keys(access_keys: usize, of_services: usize) -> String {
    let noun = if access_keys == 1 { "key" } else { "keys" };
    match of_services {
        0 => format!("unrotated access {noun}"),
        _ => format!("unrotated access {noun} and {}", counted(of_services, "API key")),
    }
}
