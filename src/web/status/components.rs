//! Pieces of HTML and words that several parts of the page have in common.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, html};

use super::{Pagination, StatusSettings};

/// An account by its name, where it has one, and its id.
pub fn account_cell(id: &str, name: &str) -> Markup {
    html! {
        @if name.is_empty() || name == id {
            bdi { (id) }
        } @else {
            bdi { (name) } small { (id) }
        }
    }
}

/// A link to a section of the runbooks.
pub fn runbook(settings: &StatusSettings, section: &str) -> Markup {
    html! { a href={ (settings.runbook_url) "#" (section) } { "What to do" } }
}

/// Links to the other pages of a list, where there are any.
pub fn pager(pagination: &Pagination, label: &str, link: impl Fn(usize) -> String) -> Markup {
    html! {
        @if pagination.of > 1 {
            nav aria-label=(label) {
                @if pagination.number > 1 {
                    a href=(link(1)) { "First" } " "
                    a href=(link(pagination.number - 1)) rel="prev" { "Previous" } " "
                }
                span { "Page " (grouped(pagination.number)) " of " (grouped(pagination.of)) }
                @if pagination.number < pagination.of {
                    " " a href=(link(pagination.number + 1)) rel="next" { "Next" }
                    " " a href=(link(pagination.of)) { "Last" }
                }
            }
        }
    }
}

/// Which rows of how many a page has.
pub fn rows_of(pagination: &Pagination, total: usize) -> String {
    match pagination.of {
        1 => grouped(total),
        _ => format!(
            "{} to {} of {}",
            grouped(pagination.rows.start + 1),
            grouped(pagination.rows.end),
            grouped(total)
        ),
    }
}

/// A date, and how far it is from now; where there is none, why.
pub fn when(time: Option<DateTime<Utc>>, now: DateTime<Utc>, none: &str) -> Markup {
    html! {
        @match time {
            Some(time) => {
                time datetime=(rfc3339(time)) title=(long(time)) { (time.format("%Y-%m-%d")) }
                small { (relative(time, now)) }
            }
            None => span.none { (none) },
        }
    }
}

/// A time to the second.
pub fn moment(time: DateTime<Utc>) -> Markup {
    html! { time datetime=(rfc3339(time)) { (long(time)) } }
}

fn long(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// How far a time is from now, in the unit that fits.
pub fn relative(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let distance: TimeDelta = (time - now).abs();
    let span = match distance.num_minutes() {
        0 => format!("{} s", distance.num_seconds()),
        minutes @ 1..120 => format!("{minutes} min"),
        minutes @ 120..2_880 => format!("{} h", minutes / 60),
        minutes => format!("{} days", grouped((minutes / 1_440) as usize)),
    };
    if time > now { format!("in {span}") } else { format!("{span} ago") }
}

/// A length of time in its largest whole unit.
pub fn in_words(span: TimeDelta) -> String {
    let seconds = span.num_seconds().unsigned_abs() as usize;
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let whole = units.into_iter().find(|(length, _)| seconds.is_multiple_of(*length));
    let (length, unit) = whole.expect("every number of seconds is a whole one");
    counted(seconds / length, unit)
}

/// How many there are of what.
pub fn counted(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{} {what}s", grouped(count)),
    }
}

/// Digits in groups of three: 20,000.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
