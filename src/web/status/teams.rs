//! The owners of keys in all accounts, with their unrotated keys and next due dates.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::choices::KeyFilter;
use super::components::{counted, due, grouped, table};
use super::health::Known;
use super::query::Query;
use crate::policy::KeyStatus;
use crate::policy::owner::{FindingKind, KeySummary};
use crate::render::Snapshot;

/// Up to this number of owners the list is open. With more it is folded, because the keys matter
/// more.
const FEW: usize = 5;
/// At most this number of owners is listed.
const MAX_ROWS: usize = 50;

/// Users who have the same values of the tags that the configuration names, in its order.
struct Owner<'a> {
    tags: &'a [String],
    keys: KeySummary,
}

/// The section of the page. Empty if the configuration names no tags.
pub fn section(snapshot: &Snapshot, known: Known, query: &Query) -> Markup {
    let config = &snapshot.config;
    let tag_keys: Vec<&str> = config.user_tags.iter().map(|tag| tag.key.as_str()).collect();
    if tag_keys.is_empty() {
        return html! {};
    }
    let mut rows = owners(snapshot, query);
    rows.retain(|owner| owner.keys.total() > 0);
    // Keys without an owner come first, because nobody else looks at them.
    let is_owned = |owner: &Owner| owner.tags.iter().any(|value| !value.is_empty());
    rows.sort_by_key(|owner| (is_owned(owner), Reverse(owner.keys.count(KeyStatus::Unrotated))));
    let more = rows.len().saturating_sub(MAX_ROWS);
    let keys = config.tag_keys();
    let accounts = snapshot.state.accounts.iter().filter(|it| query.is_of_account(it));
    let unread = accounts.filter(|it| it.report.is_some() && !it.knows_tags(&keys)).count();
    let keys_of = |owner: &Owner| {
        let keys = tag_keys.iter().map(|key| (*key).to_owned());
        let tags = keys.zip(owner.tags.iter().cloned()).collect();
        Query { account: query.account.clone(), tags, ..Query::default() }
    };
    let caption = html! { "Owners: " (grouped(rows.len())) };
    let head = html! {
        @for key in &tag_keys { th scope="col" { (key) } }
        th.number scope="col" { "Unrotated keys" }
        th.number scope="col" { "Oldest, in days" }
        th scope="col" { "Next" }
        th.number scope="col" { "Never used" }
    };
    let body = html! {
        @for owner in rows.iter().take(MAX_ROWS) {
            (row(owner, &tag_keys, &keys_of(owner), snapshot.now))
        }
    };
    html! {
        @if rows.len() > 1 {
            section id="owners" aria-labelledby="owners-heading" {
                h2 id="owners-heading" { "Owners" }
                details open[rows.len() <= FEW && query.search.is_empty() && query.tags.is_empty()] {
                    summary { (counted(rows.len(), "owner")) ", by their tags" }
                    @if known == Known::Some || unread > 0 {
                        p.notice.bad {
                            @if known == Known::Some { "Some data of the accounts is missing, so there may be more keys. " }
                            @if unread > 0 {
                                "The tags of users in " (counted(unread, "account")) " were not read: "
                                "their keys have no owner here."
                            }
                        }
                    }
                    (table("owners", &caption, &head, &body))
                    @if more > 0 { p { "And " (counted(more, "owner")) " with fewer unrotated keys." } }
                }
            }
        }
    }
}

/// The owners of keys in the query's accounts.
fn owners<'a>(snapshot: &'a Snapshot, query: &Query) -> Vec<Owner<'a>> {
    let mut owners: BTreeMap<&[String], KeySummary> = BTreeMap::new();
    for (account, counted) in snapshot.state.accounts.iter().zip(&snapshot.overview().accounts) {
        if query.is_of_account(account) {
            for (tags, keys) in &counted.owners {
                owners.entry(tags).or_default().merge(keys);
            }
        }
    }
    owners.into_iter().map(|(tags, keys)| Owner { tags, keys }).collect()
}

/// `query` asks for the owner's unrotated keys.
fn row(owner: &Owner, tag_keys: &[&str], query: &Query, now: DateTime<Utc>) -> Markup {
    let unrotated = owner.keys.count(KeyStatus::Unrotated);
    html! {
        tr {
            @for (column, (value, key)) in owner.tags.iter().zip(tag_keys).enumerate() {
                @let text = if value.is_empty() { html! { span.none { "none" } } } else { html! { bdi { (value) } } };
                @if column == 0 {
                    th scope="row" data-label=(key) { a href={ (query.link()) "#keys" } { (text) } }
                } @else {
                    td data-label=(key) { (text) }
                }
            }
            td.number data-label="Unrotated keys" { (grouped(unrotated)) }
            td.number data-label="Oldest, in days" {
                @match owner.keys.oldest_unrotated {
                    Some(age) => (grouped(age.days() as usize)),
                    None => span.none { "none" },
                }
            }
            td data-label="Next" {
                @match owner.keys.next_due {
                    Some(next) => (due(next, now)),
                    None => span.none { "none" },
                }
            }
            td.number data-label="Never used" {
                @if let Some(found) = owner.keys.found(FindingKind::NeverUsed) {
                    a href={ (query.showing(KeyFilter::NeverUsed).link()) "#keys" } { (grouped(found.keys)) }
                } @else {
                    "0"
                }
            }
        }
    }
}
