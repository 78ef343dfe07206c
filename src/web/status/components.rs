//! HTML and words that several parts of the page share.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::choices::{KeyFilter, KeyKind};
use super::{Pagination, StatusSettings};
use crate::findings::Finding;
use crate::policy::KeyStatus;

/// An account by its name, if it has one, and its id.
pub fn account_cell(id: &str, name: &str) -> Markup {
    html! {
        @if name.is_empty() || name == id {
            bdi { (id) }
        } @else {
            bdi { (name) } small { (id) }
        }
    }
}

/// The name of an account, or its id if it has none.
pub fn account_name<'a>(id: &'a str, name: &'a str) -> &'a str {
    if name.is_empty() { id } else { name }
}

/// The message of an error as a sentence with one full stop. AWS ends some with one. Questions have none.
pub fn sentence(message: &str) -> String {
    let message = message.trim_end_matches('.');
    if message.ends_with('?') { message.to_owned() } else { format!("{message}.") }
}

/// A link to a section of the runbooks.
pub fn runbook(settings: &StatusSettings, section: &str) -> Markup {
    html! { a.help href={ (settings.runbook_url()) "#" (section) } { "What to do" } }
}

/// The tags of the key's owner.
pub fn owner(finding: &Finding) -> Markup {
    html! {
        @for (key, value) in &finding.tags {
            span.tag { span.name { (key) } " " bdi { (value) } } " "
        }
        @match (finding.tags.is_empty(), finding.tags_known) {
            (true, true) => span.none { "none" },
            (true, false) => span.none { "tags not read" },
            (false, true) => {},
            (false, false) => span.none { "other tags not read" },
        }
    }
}

/// A table that scrolls if it is too wide. `head` are its header cells, and `name` is its class.
pub fn table(name: &str, caption: &Markup, head: &Markup, rows: &Markup) -> Markup {
    let id = format!("{name}-caption");
    html! {
        div.table role="region" aria-labelledby=(id) tabindex="0" {
            table class=(name) {
                caption id=(id) { (caption) }
                thead { tr { (head) } }
                tbody { (rows) }
            }
        }
    }
}

/// Links to the other pages of a list, if there are any.
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

/// The range of rows on a page, and the total.
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

/// A date, and how far it is from now. Without a date, the reason.
pub fn when(time: Option<DateTime<Utc>>, now: DateTime<Utc>, none: &str) -> Markup {
    html! {
        @match time {
            Some(time) => {
                (date(time))
                small { (relative(time, now)) }
            }
            None => span.none { (none) },
        }
    }
}

/// A date, with the time as a tooltip.
pub fn date(time: DateTime<Utc>) -> Markup {
    html! { time title=(long(time)) { (time.format("%Y-%m-%d")) } }
}

/// A time to the minute.
pub fn moment(time: DateTime<Utc>) -> Markup {
    html! { time datetime=(time.format("%Y-%m-%dT%H:%MZ")) { (long(time)) } }
}

/// A time to the minute as text.
pub fn long(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// How far a time is from now, in the unit that fits.
pub fn relative(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let distance: TimeDelta = (time - now).abs();
    let span = match distance.num_minutes() {
        0 => "less than a minute".to_owned(),
        minutes @ 1..120 => format!("{minutes} min"),
        minutes @ 120..2_880 => format!("{} h", minutes / 60),
        _ => days(distance.num_days()),
    };
    if time > now { format!("in {span}") } else { format!("{span} ago") }
}

/// How long ago it was.
pub fn since(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    relative(time, now).trim_end_matches(" ago").to_owned()
}

/// How far a day is from today, in days of the calendar.
pub fn day(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match (time.date_naive() - now.date_naive()).num_days() {
        0 => "today".to_owned(),
        1 => "tomorrow".to_owned(),
        ahead @ 2.. => format!("in {}", days(ahead)),
        behind => format!("{} ago", days(-behind)),
    }
}

/// By how many days of the calendar a key is due.
pub fn due(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    // Ages are cut off to the hundredth of a day. A key that has just come of age is not overdue yet.
    format!("due {}", day(time.max(now), now))
}

/// By how many days of the calendar a key is overdue.
pub fn overdue(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    match (now.date_naive() - time.date_naive()).num_days() {
        ..=0 => "overdue since today".to_owned(),
        behind => format!("{} overdue", days(behind)),
    }
}

/// When the key is due or, if that is earlier, expires, and the same in words.
pub fn deadline(finding: &Finding, now: DateTime<Utc>) -> Option<(DateTime<Utc>, String)> {
    if let Some(time) = finding.expires_first() {
        return Some((time, format!("expires {}", day(time, now))));
    }
    let time = finding.due?;
    let is_overdue = finding.status == KeyStatus::Unrotated;
    Some((time, if is_overdue { overdue(time, now) } else { due(time, now) }))
}

/// Days, or a larger unit if it is about as precise.
fn days(days: i64) -> String {
    let days = days.unsigned_abs() as usize;
    match days {
        0..100 => counted(days, "day"),
        // 730 days are a little less than half of four years with their leap day.
        100..731 => counted(days * 12 / 365, "month"),
        _ => counted(days * 4 / 1_461, "year"),
    }
}

/// A length of time in its largest whole unit.
pub fn in_words(span: TimeDelta) -> String {
    let seconds = span.num_seconds().unsigned_abs() as usize;
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let whole = units.into_iter().find(|(length, _)| seconds.is_multiple_of(*length));
    let (length, unit) = whole.expect("every number of seconds is a whole one");
    counted(seconds / length, unit)
}

/// Keys of this kind, or of both.
pub fn noun(kind: Option<KeyKind>, count: usize) -> &'static str {
    match (kind, count) {
        (None, 1) => "key",
        (None, _) => "keys",
        (Some(KeyKind::AccessKey), 1) => "access key",
        (Some(KeyKind::AccessKey), _) => "access keys",
        (Some(KeyKind::ServiceCredential), 1) => "API key",
        (Some(KeyKind::ServiceCredential), _) => "API keys",
    }
}

/// These keys, such as `access keys of shard 0 of 3`, as those of a list. `soon` is the time within which they are
/// due soon.
pub fn named(show: KeyFilter, keys: &str, soon: &str) -> String {
    match show {
        KeyFilter::Unrotated => format!("unrotated {keys}"),
        KeyFilter::DueSoon => format!("{keys} due within {soon}"),
        KeyFilter::Exempt => format!("exempt {keys}"),
        KeyFilter::ExemptionEnding => format!("{keys} whose exemption ends within {soon}"),
        KeyFilter::NeverUsed => format!("active {keys} never used for a week"),
        KeyFilter::NotJudged => format!("active {keys} of unknown age"),
        KeyFilter::All => format!("unrotated, due and exempt {keys}"),
        KeyFilter::Every => keys.to_owned(),
    }
}

/// The name of a list of keys of this kind, or of both. `shard` follows the noun.
pub fn list_name(show: KeyFilter, kind: Option<KeyKind>, shard: &str, soon: &str) -> String {
    let keys = match show {
        KeyFilter::Every => format!("every {}", noun(kind, 1)),
        _ => noun(kind, 0).to_owned(),
    };
    capitalized(&named(show, &(keys + shard), soon))
}

/// A number and its noun.
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

/// The text with its first letter as a capital, if it has one.
pub fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}
