//! A snapshot and a query → HTML. Text from AWS or from a person is escaped by maud, and `bdi` isolates
//! the direction of its letters.

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, Render, html};

use super::accounts;
use super::choices::{KeyFilter, KeyKind};
use super::components::{capitalized, counted, in_words, moment, named, noun};
use super::health::{self, Known, KnownKeys};
use super::query::Query;
use super::select::{about, candidates, select};
use super::{StatusSettings, keys, teams, trust};
use crate::findings::Finding;
use crate::render::Snapshot;
use crate::version::VERSION;

/// The page.
pub fn render(settings: &StatusSettings, snapshot: &Snapshot, query: &Query) -> String {
    let query = &query.with_labels(&snapshot.config.user_tags);
    let keys = candidates(snapshot, query);
    let about = about(&keys, query, &snapshot.config.user_tags);
    let sure = query.surely(&about, &snapshot.config);
    let all = health::accounts(snapshot, query, &keys);
    let accounts = health::of_query(&all, query);
    let known_of = |show| KnownKeys::new(snapshot, &accounts, query, show);
    let known = known_of(query.show);
    let soon = in_words(snapshot.config.policy.warn_before);
    let shard = trust::of_shard(settings.shard, query);
    let subject = Some(query.subject()).filter(|subject| !subject.is_empty());
    let labels = &snapshot.config.user_tags;
    let number_of = |keys: &[&Finding]| select(keys, query, labels).len();
    let is_sure = number_of(&about) == number_of(&sure);
    let title = html! {
        (number(&about, known, query, &shard, &soon))
        @if subject.is_some() { ", " (query.subject_with(if is_sure { "no" } else { "perhaps no" })) }
    };
    let listed = match (query.show, query.kind) {
        (KeyFilter::Unrotated | KeyFilter::Every, None) => None,
        (show, kind) => Some(named(show, noun(kind, 0), &soon)),
    };
    // The account's name is for printed pages.
    let name = match &accounts[..] {
        [one] if query.account == one.account.id => Some(&one.account.name),
        _ => None,
    };
    let name = name.filter(|name| !name.is_empty() && **name != query.account);
    let heading = html! {
        h1 { "IAM access keys" }
        @if subject.is_some() || listed.is_some() {
            p {
                "Only " (listed.as_deref().unwrap_or_default())
                @if listed.is_some() && subject.is_some() { ": " }
                @if let Some(subject) = &subject { bdi { (subject) } }
                @if let Some(name) = name { " · account " bdi { (name) } }
                span.screen { " · " a href="?" { "All keys" } }
            }
        }
    };
    let body = html! {
        (trust::line(settings, snapshot, &accounts, query))
        (trust::notices(settings, snapshot, &accounts, query))
        ul.tiles {
            @for show in [KeyFilter::Unrotated, KeyFilter::DueSoon, KeyFilter::Exempt] {
                (tile(&about, &sure, known_of(show), &query.showing(show), &shard, &soon))
            }
            (accounts::tile(snapshot, &accounts, query, &shard))
        }
        (teams::section(snapshot, known, query, &shard))
        (accounts::section(settings, snapshot.now, &accounts, known, query, &shard))
        (keys::section(settings, snapshot, &about, known, &accounts, query, &shard))
    };
    frame(settings, snapshot.now, &title, &heading, &body, &query.link())
}

/// The number of the query's keys in words, each kind for itself, as in metrics and alerts.
fn number(keys: &[&Finding], known: KnownKeys, query: &Query, shard: &str, soon: &str) -> String {
    let main = query.kind.unwrap_or(KeyKind::AccessKey);
    if known.of(Some(main)) == Known::Nothing {
        let keys = format!("{}{shard}", noun(query.kind, 0));
        return capitalized(&named(query.show, &keys, soon)) + " not known";
    }
    let of_kind = |kind| {
        let count = count(keys, query.show, kind);
        (count, known.of(Some(kind)).of(count), noun(Some(kind), count))
    };
    let (_, first, what) = of_kind(main);
    let more = match of_kind(KeyKind::ServiceCredential) {
        (1.., number, what) if query.kind.is_none() => format!(" and {number} {what}"),
        _ => String::new(),
    };
    format!("{first} {}", named(query.show, &format!("{what}{more}{shard}"), soon))
}

/// A tile with the number of these access keys, and below it that of API keys. `sure` are those of which it is
/// known that they are the query's.
fn tile(
    keys: &[&Finding],
    sure: &[&Finding],
    known: KnownKeys,
    query: &Query,
    shard: &str,
    soon: &str,
) -> Markup {
    let class = |count, known| match (count, known) {
        (1.., _) if query.show == KeyFilter::Unrotated => Some("bad"),
        (0, Known::Some | Known::Nothing) => Some("doubt"),
        _ => None,
    };
    let link = |kind| query.of_kind(kind).link() + "#keys";
    let access_keys = count(keys, query.show, KeyKind::AccessKey);
    let api_keys = count(keys, query.show, KeyKind::ServiceCredential);
    let what = format!("{}{shard}", noun(Some(KeyKind::AccessKey), access_keys));
    let of_kinds =
        |keys| KeyKind::ALL.iter().map(|kind| count(keys, query.show, *kind)).sum::<usize>();
    let unsure = of_kinds(keys) - of_kinds(sure);
    html! {
        li class=[class(access_keys, known.access_keys)] {
            a href=(link(KeyKind::AccessKey)) {
                strong { (known.access_keys.of(access_keys)) } " "
                span { (named(query.show, &what, soon)) }
            }
            @if let Some(known) = known.service_credentials {
                p class=[class(api_keys, known)] {
                    a href=(link(KeyKind::ServiceCredential)) {
                        @match known {
                            Known::Nothing => "API keys not known",
                            _ => { (known.of(api_keys)) " " (noun(Some(KeyKind::ServiceCredential), api_keys)) }
                        }
                    }
                }
            }
            @if unsure > 0 { p.doubt { "tags not read: " (counted(unsure, "key")) } }
        }
    }
}

fn count(keys: &[&Finding], show: KeyFilter, kind: KeyKind) -> usize {
    keys.iter().filter(|finding| show.includes(finding) && kind.includes(finding)).count()
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
                        "iam-key-exporter " (VERSION)
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

/// A page about something that is not known. `more` are links to what is.
pub fn missing(
    settings: &StatusSettings,
    now: DateTime<Utc>,
    what: &impl Render,
    more: &Markup,
) -> String {
    error(settings, now, "Not found", what, more)
}

/// A page about an invalid address.
pub fn invalid(settings: &StatusSettings, now: DateTime<Utc>, what: &impl Render) -> String {
    error(settings, now, "Invalid address", what, &html! {})
}

fn error(
    settings: &StatusSettings,
    now: DateTime<Utc>,
    title: &str,
    what: &impl Render,
    more: &Markup,
) -> String {
    let title = html! { (title) };
    let heading = html! { h1 { "IAM access keys" } };
    let body = html! {
        section id="keys" aria-labelledby="error" {
            h2 id="error" { "This page cannot be shown" }
            p.empty { (what) }
            p { (more) a href="./" { "All keys" } }
        }
    };
    // The address itself.
    frame(settings, now, &title, &heading, &body, "")
}
