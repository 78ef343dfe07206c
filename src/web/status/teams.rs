//! The owners of keys in all accounts, with their unrotated keys and next due dates.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use maud::{Markup, html};

use super::accounts::number;
use super::choices::{KeyFilter, KeyKind};
use super::components::{counted, due, noun, table};
use super::health::{Known, KnownKeys};
use super::keys::age_in_days;
use super::query::Query;
use crate::findings::Finding;
use crate::policy::KeyStatus;
use crate::policy::owner::{FindingKind, KeySummary};
use crate::render::Snapshot;
use crate::state::Account;

/// At most this number of owners is listed.
const MAX_ROWS: usize = 50;

/// Users who have the same values of the tags that the configuration names, in its order.
struct Owner<'a> {
    tags: &'a [String],
    keys: KeySummary,
}

/// The section of the page. It is closed, because the keys matter more. Empty if the configuration names no
/// tags, or if the query is about some keys of an owner: the list of keys has their owners.
pub fn section(snapshot: &Snapshot, known: KnownKeys, query: &Query, shard: &str) -> Markup {
    let config = &snapshot.config;
    let tag_keys: Vec<&str> = config.user_tags.iter().map(|tag| tag.key.as_str()).collect();
    if tag_keys.is_empty() || query.is_about_some_keys() {
        return html! {};
    }
    let mut rows = owners(snapshot, query);
    let has_keys = |keys: &KeySummary| keys.total() + keys.unrotated_service_credentials() > 0;
    rows.retain(|owner| has_keys(&owner.keys));
    // Keys without an owner come first, because nobody else looks at them.
    let unrotated = |owner: &Owner| owner.keys.count(KeyStatus::Unrotated);
    let is_owned = |owner: &Owner| owner.tags.iter().any(|value| !value.is_empty());
    rows.sort_by_key(|owner| (is_owned(owner), Reverse(unrotated(owner))));
    let more = rows.len().saturating_sub(MAX_ROWS);
    let owners = rows.iter().filter(|owner| is_owned(owner));
    let with_unrotated = owners.clone().filter(|owner| unrotated(owner) > 0).count();
    let of_nobody = rows.iter().find(|owner| !is_owned(owner)).map(unrotated);
    let keys = config.tag_keys();
    let accounts = snapshot.state.accounts.iter().filter(|it| query.is_of_account(it));
    let accounts = accounts.filter(|it| it.report.is_some());
    let unread = accounts.clone().filter(|it| !it.knows_tags(&keys)).count();
    // After a reload that names another tag.
    let lacks_a_tag =
        |it: &Arc<Account>| it.tags.as_ref().is_some_and(|tags| !keys.is_subset(&tags.keys));
    let lacks_a_tag = accounts.into_iter().any(lacks_a_tag);
    let is_partial =
        [Some(known.access_keys), known.service_credentials].contains(&Some(Known::Some));
    let keys_of = |owner: &Owner| {
        let keys = tag_keys.iter().map(|key| (*key).to_owned());
        let tags = keys.zip(owner.tags.iter().cloned()).collect();
        Query { account: query.account.clone(), tags, ..Query::default() }
    };
    let (no_tag, no_owner) = if unread == 0 {
        ("none", "without an owner")
    } else {
        ("none, or not read", "without a known owner")
    };
    // Keys of unknown tags may be those of any owner.
    let known_of_owners = if unread == 0 { known } else { known.not_all() };
    let number_of_owners = known_of_owners.access_keys.of(owners.clone().count());
    let caption = html! { "Owners: " (number_of_owners) };
    let head = html! {
        @for key in &tag_keys { th scope="col" { (key) } }
        th.number scope="col" { "Unrotated access keys" }
        th.number scope="col" { "Oldest of them, in days" }
        th scope="col" { "Next access key due" }
        th.number scope="col" { "Access keys never used" }
        @if known.has_service_credentials() { th.number scope="col" { "Unrotated API keys" } }
    };
    let body = html! {
        @for owner in rows.iter().take(MAX_ROWS) {
            @let is_owned = is_owned(owner);
            // Of who has one tag all others were read, too.
            @let no_tag = if is_owned && !lacks_a_tag { "none" } else { no_tag };
            @let known = if is_owned { known_of_owners } else { known };
            (row(owner, &tag_keys, no_tag, &keys_of(owner), known, snapshot))
        }
    };
    html! {
        @if rows.len() > 1 {
            section id="owners" aria-labelledby="owners-heading" {
                details {
                    summary {
                        h2 id="owners-heading" { "Owners" } " "
                        (number_of_owners) (if owners.count() == 1 { " owner" } else { " owners" }) (shard) " by their tags, "
                        (known_of_owners.access_keys.of(with_unrotated)) " with unrotated access keys"
                        @if let Some(count) = of_nobody {
                            "; " (known.access_keys.of(count)) " unrotated " (noun(Some(KeyKind::AccessKey), count)) " " (no_owner)
                        }
                        @if unread > 0 { "; tags not read: " (counted(unread, "account")) }
                    }
                    @if is_partial || unread > 0 {
                        p.notice.bad {
                            @if is_partial { "Some data of the accounts is missing, so there may be more keys. " }
                            @if unread > 0 {
                                "Not all tags of users in " (counted(unread, "account")) " were read: "
                                "the owners of their keys may be others than here."
                            }
                        }
                    }
                    (table("owners", &caption, &head, &body))
                    @if more > 0 { p { "And " (counted(more, "owner")) " with at most as many unrotated keys each." } }
                }
            }
        }
    }
}

/// The owners of keys in the query's accounts who have its tags.
fn owners<'a>(snapshot: &'a Snapshot, query: &Query) -> Vec<Owner<'a>> {
    let mut owners: BTreeMap<&[String], KeySummary> = BTreeMap::new();
    for (account, counted) in snapshot.state.accounts.iter().zip(&snapshot.overview().accounts) {
        if query.is_of_account(account) {
            for (tags, keys) in &counted.owners {
                owners.entry(tags).or_default().merge(keys);
            }
        }
    }
    let labels = &snapshot.config.user_tags;
    let has_tags = |values: &[String]| {
        let tags = || labels.iter().zip(values).map(|(label, value)| (&*label.key, &**value));
        query.is_of_tags(tags, labels)
    };
    owners.retain(|tags, _| has_tags(tags));
    owners.into_iter().map(|(tags, keys)| Owner { tags, keys }).collect()
}

/// The age of the owner's oldest unrotated access key in days, as in the list of keys.
fn oldest(owner: &Owner, query: &Query, snapshot: &Snapshot) -> Option<String> {
    let age = owner.keys.oldest_unrotated?;
    let is_oldest = |finding: &&Finding| {
        finding.age == Some(age)
            && KeyFilter::Unrotated.includes(finding)
            && KeyKind::AccessKey.includes(finding)
            && query.is_of(finding, &snapshot.config.user_tags)
    };
    snapshot.overview().findings.iter().find(is_oldest).and_then(age_in_days)
}

/// `query` asks for the owner's unrotated keys. `no_tag` stands for a tag that is not known.
fn row(
    owner: &Owner,
    tag_keys: &[&str],
    no_tag: &str,
    query: &Query,
    known: KnownKeys,
    snapshot: &Snapshot,
) -> Markup {
    // Keys of accounts that are not known whole may be this owner's.
    let number = |known: Known, count: usize, query: &Query| match (known, count) {
        (Known::All, 0) => html! { "0" },
        _ => number(known, count, query),
    };
    let none = if known.access_keys == Known::All { "none" } else { "none known" };
    let access_keys = query.of_kind(KeyKind::AccessKey);
    let never_used = owner.keys.found(FindingKind::NeverUsed).map_or(0, |found| found.keys);
    html! {
        tr {
            @for (column, (value, key)) in owner.tags.iter().zip(tag_keys).enumerate() {
                @let text = if value.is_empty() { html! { span.none { (no_tag) } } } else { html! { bdi { (value) } } };
                @if column == 0 {
                    th scope="row" data-label=(key) { a href={ (query.link()) "#keys" } { (text) } }
                } @else {
                    td data-label=(key) { (text) }
                }
            }
            td.number data-label="Unrotated access keys" {
                (number(known.access_keys, owner.keys.count(KeyStatus::Unrotated), &access_keys))
            }
            td.number data-label="Oldest of them, in days" {
                @match oldest(owner, query, snapshot) {
                    Some(days) => (known.access_keys.of_text(&days)),
                    None => span.none { (none) },
                }
            }
            td data-label="Next access key due" {
                @match owner.keys.next_due {
                    Some(next) => {
                        (due(next, snapshot.now))
                        @if known.access_keys != Known::All { " or earlier" }
                    }
                    None => span.none { (none) },
                }
            }
            td.number data-label="Access keys never used" {
                (number(known.access_keys, never_used, &access_keys.showing(KeyFilter::NeverUsed)))
            }
            @if known.has_service_credentials() {
                td.number data-label="Unrotated API keys" {
                    (number(
                        known.of(Some(KeyKind::ServiceCredential)),
                        owner.keys.unrotated_service_credentials(),
                        &query.of_kind(KeyKind::ServiceCredential),
                    ))
                }
            }
        }
    }
}
