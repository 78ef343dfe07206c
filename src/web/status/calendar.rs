//! Due dates as a calendar to subscribe to.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use icalendar::{Calendar, Component, Event, EventLike};

use super::StatusSettings;
use super::choices::KeyFilter;
use super::components::{self, counted, grouped};
use super::gaps::{Gap, Missing, gaps};
use super::query::Query;
use super::select::{about, candidates, select};
use super::{health, keys, steps};
use crate::findings::Finding;
use crate::policy::KeyStatus;
use crate::printable::escape;
use crate::render::Snapshot;
use crate::shard::Shard;
use crate::version::VERSION;

/// The largest number of keys that are not overdue. Those that are due first are kept.
const MAX_EVENTS: usize = 5_000;
/// The largest number of keys that are. They are all on one day, and the longest overdue are kept.
const MAX_OVERDUE: usize = 50;
/// The largest number of accounts of which not all is known that have their own events.
const MAX_ACCOUNTS: usize = 5;

/// An event on the day on which each key that the query is about must be rotated, expires, or is exempt for
/// the last time, today for each that is overdue, and today's events about what the calendar lacks.
pub fn render(settings: &StatusSettings, snapshot: &Snapshot, query: &Query) -> String {
    let query = query.showing(KeyFilter::Every);
    let keys = candidates(snapshot, &query);
    let about = about(&keys, &query, &snapshot.config.user_tags);
    let keys_of_query = select(&about, &query, &snapshot.config.user_tags).into_iter();
    // Years in a calendar have four digits. A later end counts as no end.
    let has_day = |(time, _): &(DateTime<Utc>, _)| (0..10_000).contains(&time.year());
    let mut due: Vec<_> =
        keys_of_query.filter_map(|key| Some((key.ends()?, key))).filter(has_day).collect();
    due.sort_by_key(|(time, _)| *time);
    let (overdue, ahead): (Vec<_>, Vec<_>) =
        due.into_iter().partition(|(_, key)| key.status == KeyStatus::Unrotated);
    let mut calendar = empty();
    for (time, key) in overdue.iter().take(MAX_OVERDUE).chain(ahead.iter().take(MAX_EVENTS)) {
        calendar.push(of_key(snapshot, *time, key));
    }
    let today = snapshot.now.date_naive();
    let left_out =
        |keys: &Vec<_>, max: usize| Some(keys.len().saturating_sub(max)).filter(|it| *it > 0);
    if let Some(count) = left_out(&overdue, MAX_OVERDUE) {
        let title = format!("{} overdue", counted(count, "more key"));
        let text = "The status page lists them.";
        calendar.push(event(snapshot, "overdue", today, &title, text));
    }
    if let Some(count) = left_out(&ahead, MAX_EVENTS) {
        let text = format!(
            "The calendar has the {} keys that are due first. The status page has {} more.",
            grouped(MAX_EVENTS),
            grouped(count)
        );
        calendar.push(event(snapshot, "more", today, "Not all keys are in this calendar", &text));
    }
    let accounts = health::accounts(snapshot, &query, &keys);
    let is_of_account = |gap: &Gap| matches!(gap.of, Missing::Account(_));
    let (mut of_accounts, others): (Vec<_>, Vec<_>) =
        gaps(settings, snapshot, &accounts, &query).into_iter().partition(is_of_account);
    if of_accounts.len() > MAX_ACCOUNTS {
        let title = format!("Not all keys of {} accounts are known", grouped(of_accounts.len()));
        let text = "The status page lists these accounts.";
        calendar.push(event(snapshot, "incomplete", today, &title, text));
        of_accounts.clear();
    }
    for gap in of_accounts.iter().chain(&others) {
        calendar.push(of_gap(snapshot, gap));
    }
    if calendar.is_empty() {
        // RFC 5545 wants a component. Programs do not show this one.
        return calendar.to_string().replace("END:VCALENDAR", UTC_AND_END);
    }
    calendar.to_string()
}

const UTC_AND_END: &str = "BEGIN:VTIMEZONE\r\nTZID:UTC\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n\
                           TZOFFSETFROM:+0000\r\nTZOFFSETTO:+0000\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n\
                           END:VCALENDAR";

/// A calendar without events. Its PRODID says which version of the exporter made it.
fn empty() -> Calendar {
    let mut calendar = Calendar::empty();
    calendar
        .append_property(("VERSION", "2.0"))
        .append_property(("PRODID", &*format!("-//iam-key-exporter//{VERSION}//EN")))
        .append_property(("CALSCALE", "GREGORIAN"))
        .name("IAM access keys");
    calendar
}

fn of_key(snapshot: &Snapshot, due: DateTime<Utc>, key: &Finding) -> Event {
    let Finding { user, account_id, account_name, .. } = key;
    let account = components::account_name(account_id, account_name);
    let today = snapshot.now.date_naive();
    let is_to_delete = steps::is_to_delete(key, snapshot.now);
    let expires_first = key.expires_first().is_some();
    let is_exempt = key.exemption.is_some() && !expires_first;
    let day = if is_exempt { keys::last_day(due) } else { due };
    let what = match key.status {
        _ if expires_first => "Expires today:".to_owned(),
        _ if is_exempt => "Last day of the exemption:".to_owned(),
        KeyStatus::Unrotated => {
            let verb = if is_to_delete { "delete" } else { "rotate" };
            format!("Overdue since {}: {verb}", due.date_naive())
        }
        _ if is_to_delete => "Delete by today:".to_owned(),
        _ => "Rotate by today:".to_owned(),
    };
    let id = key.access_key_id.as_deref().unwrap_or(keys::NO_ID);
    let limit = match &key.exemption {
        Some(exemption) => format!("exempt, {}", exemption.reason),
        None => components::in_words(key.max_age),
    };
    let mut text = format!("Account {account_id}, {id}. Limit: {limit} ({})", keys::rule(key));
    if let Some(time) = key.expiry_ahead() {
        text += &format!(". Expires on {} and stops working then", time.date_naive());
    }
    let created = key.last_rotated.map_or(0, |time| time.timestamp());
    // An id can become known later, and then the event must stay the same.
    let place = key.key.map_or_else(|| id.to_owned(), |slot| slot.to_string());
    let summary = format!("{what} {} of {user} in {account}", key.name());
    let uid = format!("{account_id}-{user}-{place}-{created}");
    event(snapshot, &uid, day.date_naive().max(today), &summary, &text)
}

fn of_gap(snapshot: &Snapshot, gap: &Gap) -> Event {
    let account = gap.account.map_or(gap.account_id(), |row| row.account.label());
    let (uid, summary) = match (gap.of, gap.is_read) {
        (Missing::OtherShards(Shard { index, total }), _) => (
            format!("shard-{index}"),
            format!("Only accounts of shard {index} of {total} are in this calendar"),
        ),
        (Missing::OtherAccounts, _) => {
            ("unlisted".to_owned(), "Not all accounts are known".to_owned())
        }
        (Missing::ServiceCredentials, _) => {
            ("api-keys".to_owned(), "API keys are not known".to_owned())
        }
        (Missing::Account(_), false) => {
            (format!("{account}-unread"), format!("Keys of account {account} are not known"))
        }
        (Missing::Account(_), true) => {
            let summary = format!("Not all keys of account {account} are known");
            (format!("{account}-incomplete"), summary)
        }
    };
    event(snapshot, &uid, snapshot.now.date_naive(), &summary, &gap.why)
}

/// `uid` is the same each time, so that a calendar replaces its event. Some programs take a carriage return
/// for the end of a line, and the crate leaves it.
fn event(snapshot: &Snapshot, uid: &str, day: NaiveDate, summary: &str, text: &str) -> Event {
    Event::new()
        .uid(&format!("{}@iam-key-exporter", escape(uid)))
        .timestamp(snapshot.now)
        .summary(&escape(summary))
        .description(&escape(text))
        .starts(day)
        // Such a day is not a busy one.
        .append_property(("TRANSP", "TRANSPARENT"))
        .done()
}
