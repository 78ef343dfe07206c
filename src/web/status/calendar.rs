//! Due dates as a calendar to subscribe to.

use chrono::{DateTime, Datelike, Utc};
use icalendar::{Calendar, Component, Event, EventLike};

use super::components::account_name;
use super::health::AccountSummary;
use super::query::{KeyFilter, Query};
use super::select::{about, candidates};
use super::{csv, health, keys, trust};
use crate::findings::Finding;
use crate::policy::KeyStatus;
use crate::render::Snapshot;

/// The largest number of keys. Those that are due first are kept.
const MAX_EVENTS: usize = 5_000;

/// An event on the day on which each key that the query is about must be rotated or loses its
/// exemption, and one today for each account whose keys are not known.
pub fn render(snapshot: &Snapshot, query: &Query) -> String {
    let query = query.showing(KeyFilter::Every);
    let keys = candidates(snapshot, &query);
    let ends = |key: &Finding| key.due.or(key.exemption.as_ref().and_then(|it| it.end));
    let is_active = |key: &&Finding| key.status != KeyStatus::Inactive;
    let about = about(&keys, &query, &snapshot.config.user_tags).into_iter().filter(is_active);
    // Years in a calendar have four digits. A later end counts as no end.
    let has_day = |(time, _): &(DateTime<Utc>, _)| (0..10_000).contains(&time.year());
    let mut due: Vec<_> = about.filter_map(|key| Some((ends(key)?, key))).filter(has_day).collect();
    due.sort_by_key(|(time, _)| *time);
    let mut calendar = Calendar::new();
    calendar.name("IAM access keys");
    for (time, key) in due.into_iter().take(MAX_EVENTS) {
        let Finding { user, account_id, .. } = key;
        let account = account_name(key);
        let what = match key.status {
            KeyStatus::Exempt => "Exemption ends",
            _ => "Rotate by today",
        };
        let id = key.access_key_id.as_deref().unwrap_or("id not known");
        let text = format!("Account {account_id}, {id}. Limit: {}", keys::rule(key));
        let created = key.last_rotated.map_or(0, |time| time.timestamp());
        // An id can become known later, and then the event must stay the same.
        let place = key.key.map_or_else(|| id.to_owned(), |slot| slot.to_string());
        calendar.push(
            Event::new()
                .uid(&format!("{account_id}-{user}-{place}-{created}@iam-key-exporter"))
                .timestamp(snapshot.now)
                .summary(&format!("{what}: {} of {user} in {account}", key.name()))
                .description(&text)
                .starts(time.date_naive())
                .done(),
        );
    }
    let accounts = health::accounts(snapshot);
    let accounts: Vec<&AccountSummary> = accounts.iter().collect();
    for row in csv::unread(&accounts, &query) {
        let id = &row.account.id;
        let today = snapshot.now.date_naive();
        calendar.push(
            Event::new()
                .uid(&format!("{id}-unread@iam-key-exporter"))
                .timestamp(snapshot.now)
                .summary(&format!("Keys of account {id} are not known"))
                .description(&row.cause().unwrap_or_else(|| "It was not tried yet".to_owned()))
                .starts(today)
                .done(),
        );
    }
    if let Some(why) = trust::unlisted(snapshot.state.discovery) {
        calendar.push(
            Event::new()
                .uid("unlisted@iam-key-exporter")
                .timestamp(snapshot.now)
                .summary("Not all accounts are known")
                .description(why)
                .starts(snapshot.now.date_naive())
                .done(),
        );
    }
    calendar.to_string()
}
