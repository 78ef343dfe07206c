//! One reader for each kind of field, for serde's `deserialize_with`. It checks the value while the
//! field is read, so that the error has the field's line and path.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use clap::ValueEnum;
use serde::de::{Deserialize, Deserializer, Error};

use crate::controls::Benchmark;
use crate::evidence::EvidenceKind;
use crate::policy::Pattern;

/// A century: older than any key, and within the range of the calendar.
const CENTURY: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

const MAX_REASON: usize = 200;

/// IAM's limit for a user.
const MAX_TAGS: usize = 50;

/// Reads a value and checks it.
pub fn read<'de, D, T, U, E>(field: D, check: impl FnOnce(T) -> Result<U, E>) -> Result<U, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
    E: fmt::Display,
{
    check(T::deserialize(field)?).map_err(D::Error::custom)
}

/// Reads an optional field. If the field is present, it needs a value: a forgotten value must not
/// widen a rule.
pub fn given<'de, D, T>(field: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    read(field, |value: Option<T>| {
        value.map(Some).ok_or("has no value: give it one, or leave the field out")
    })
}

/// Reads an optional field like [`given`] and checks its value.
fn read_given<'de, D, T, U, E>(
    field: D,
    check: impl FnOnce(T) -> Result<U, E>,
) -> Result<Option<U>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
    E: fmt::Display,
{
    given(field)?.map(check).transpose().map_err(D::Error::custom)
}

pub fn account_id<'de, D: Deserializer<'de>>(field: D) -> Result<String, D::Error> {
    read(field, |text: String| {
        if is_account_id(&text) {
            Ok(text)
        } else {
            Err("must be an account id: 12 digits, in quotes")
        }
    })
}

pub fn account_ids<'de, D: Deserializer<'de>>(field: D) -> Result<BTreeSet<String>, D::Error> {
    // A type for the elements, so that an error has the element's line and index.
    #[derive(serde::Deserialize)]
    #[serde(transparent)]
    struct AccountId(#[serde(deserialize_with = "account_id")] String);

    let ids: Vec<AccountId> = Vec::deserialize(field)?;
    Ok(ids.into_iter().map(|id| id.0).collect())
}

/// Whether this is the id of an account: 12 digits.
pub fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The name of an account or of a profile.
pub fn name<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    read_given(field, |text: String| {
        if (1..=128).contains(&text.chars().count()) && !text.contains(char::is_control) {
            Ok(text)
        } else {
            Err("must have between 1 and 128 characters, and no control characters")
        }
    })
}

pub fn role_name<'de, D: Deserializer<'de>>(field: D) -> Result<String, D::Error> {
    read(field, |text: String| {
        if !is_role_name(&text) {
            Err(
                "must be a role's name, after its path if it has one, such as iam-key-exporter or audit/iam-key-exporter",
            )
        } else if text.starts_with("arn:") || text.starts_with("role/") {
            // A path could begin like this, but none does in practice.
            Err("must be the role's name, without the part before it in its ARN")
        } else {
            Ok(text)
        }
    })
}

/// IAM's rule: up to 64 characters, with or without a path before them.
pub fn is_role_name(text: &str) -> bool {
    let (path, name) = text.rsplit_once('/').unwrap_or(("", text));
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    (1..=64).contains(&name.len())
        && name.chars().all(is_word)
        && path.len() <= 510
        && !path.starts_with('/')
        && path.chars().all(|c| c.is_ascii_graphic())
}

pub fn external_id<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    read_given(field, |text: String| {
        let is_valid = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
        if (2..=1224).contains(&text.len()) && text.chars().all(is_valid) {
            Ok(text)
        } else {
            Err("must have between 2 and 1224 letters, digits and _+=,.@:/-")
        }
    })
}

pub fn time_delta<'de, D: Deserializer<'de>>(field: D) -> Result<Option<TimeDelta>, D::Error> {
    read_given(field, |text: String| parse_time_delta(&text))
}

/// A limit of a control. Controls count days, and AWS reports are hours old, so shorter limits are mistakes.
pub fn days<'de, D: Deserializer<'de>>(field: D) -> Result<Option<TimeDelta>, D::Error> {
    read_given(field, |text: String| match parse_time_delta(&text)? {
        limit if limit < TimeDelta::days(1) => Err("must be at least 1d".to_owned()),
        limit => Ok(limit),
    })
}

/// A maximum age, for example `90d`: between a second and a century.
pub fn parse_time_delta(text: &str) -> Result<TimeDelta, String> {
    let duration = parse_duration(text, CENTURY)?;
    Ok(TimeDelta::from_std(duration).expect("a century fits"))
}

/// A duration, written like `5m`: between a second and `max`.
pub fn parse_duration(text: &str, max: Duration) -> Result<Duration, String> {
    // Units without a fixed length. M is probably a mistake for m or d.
    let mut units = text.split(|c: char| !c.is_ascii_alphabetic());
    if units.any(|unit| unit == "M" || unit.starts_with("mon") || unit.starts_with('y')) {
        return Err(
            "months and years have no fixed length; write it like 90d, 12h or 5m".to_owned()
        );
    }
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it like 90d, 12h or 5m"))?;
    if (Duration::from_secs(1)..=max).contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("must be between 1s and {}d", max.as_secs() / (24 * 60 * 60)))
    }
}

/// The end of an exemption. A date includes its last second in UTC.
pub fn until<'de, D: Deserializer<'de>>(field: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    read_given(field, |text: String| {
        if let Ok(date) = text.parse::<NaiveDate>() {
            // Times have years of four digits, too.
            let date = Some(date).filter(|date| (0..10_000).contains(&date.year()));
            let end = date.and_then(|date| date.succ_opt()?.and_hms_opt(0, 0, 0));
            return end.map(|end| end.and_utc()).ok_or("is too far in the future");
        }
        DateTime::parse_from_rfc3339(&text)
            .map(|time| time.to_utc())
            .map_err(|_| "must be a date such as 2027-03-01 or a time such as 2027-03-01T12:00:00Z")
    })
}

/// The reason of an exemption. It becomes a label.
pub fn reason<'de, D: Deserializer<'de>>(field: D) -> Result<String, D::Error> {
    read(field, |text: String| {
        let reason = text.trim();
        match reason.chars().count() {
            0 => Err("is empty: give the reason of the exemption".to_owned()),
            1..=MAX_REASON => Ok(reason.to_owned()),
            count => Err(format!("has {count} characters, more than {MAX_REASON}")),
        }
    })
}

/// A glob for names of users or accounts.
pub fn glob<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Pattern>, D::Error> {
    Ok(given(field)?.map(|Glob(pattern)| pattern))
}

/// A type, so that an error in [`tag_globs`] has the line and key of the tag.
#[derive(serde::Deserialize)]
#[serde(try_from = "String")]
struct Glob(Pattern);

impl TryFrom<String> for Glob {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Glob, Self::Error> {
        if text.is_empty() {
            Err("is empty: write * to match everything")
        } else {
            Ok(Glob(Pattern::new(&text)))
        }
    }
}

pub fn path_glob<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Pattern>, D::Error> {
    read_given(field, |text: String| {
        let may_be_slash = ['/', '*', '?'];
        if text.starts_with(may_be_slash) && text.ends_with(may_be_slash) {
            Ok(Pattern::new(&text))
        } else {
            Err("matches no path: paths begin and end with /, such as /service/ or /service/*")
        }
    })
}

/// Globs for the values of tags, by the tag's key.
pub fn tag_globs<'de, D>(field: D) -> Result<Option<BTreeMap<String, Pattern>>, D::Error>
where
    D: Deserializer<'de>,
{
    read_given(field, |globs: BTreeMap<String, Glob>| {
        no_tag_twice(globs.keys())?;
        Ok::<_, String>(globs.into_iter().map(|(key, glob)| (key, glob.0)).collect())
    })
}

/// Keys of tags that become labels.
pub fn tag_keys<'de, D: Deserializer<'de>>(field: D) -> Result<Vec<String>, D::Error> {
    read(field, |keys: Vec<String>| {
        if keys.len() > MAX_TAGS {
            return Err(format!("has {} tags, more than the {MAX_TAGS} of a user", keys.len()));
        }
        if keys.iter().any(|key| !(1..=128).contains(&key.chars().count())) {
            return Err("a tag's key has between 1 and 128 characters".to_owned());
        }
        no_tag_twice(&keys)?;
        Ok(keys)
    })
}

/// IAM ignores the case of tag keys.
fn no_tag_twice<'a>(keys: impl IntoIterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match keys.into_iter().find(|key| !seen.insert(key.to_ascii_lowercase())) {
        None => Ok(()),
        Some(key) => Err(format!("names the tag {key} twice: IAM ignores case")),
    }
}

/// A number of requests a second.
pub fn rate<'de, D: Deserializer<'de>>(field: D) -> Result<u32, D::Error> {
    read(field, |rate: u32| {
        if (1..=100).contains(&rate) {
            Ok(rate)
        } else {
            Err("must be between 1 and 100 requests a second")
        }
    })
}

/// A version of the CIS benchmark.
pub fn benchmark<'de, D: Deserializer<'de>>(field: D) -> Result<Benchmark, D::Error> {
    read(field, |text: String| {
        Benchmark::from_str(&text, true).map_err(|_| {
            let versions = Benchmark::ALL.map(Benchmark::as_str).join(", ");
            format!("must be a version of the CIS benchmark: {versions}")
        })
    })
}

/// The data that the exporter asks AWS for.
pub fn evidence<'de, D: Deserializer<'de>>(field: D) -> Result<BTreeSet<EvidenceKind>, D::Error> {
    read(field, |names: Vec<String>| {
        let kinds = names.iter().map(|name| {
            let kind = EvidenceKind::ALL.into_iter().find(|kind| kind.as_str() == name);
            kind.ok_or_else(|| {
                let known = EvidenceKind::ALL.map(EvidenceKind::as_str).join(", ");
                format!("must be some of {known}")
            })
        });
        kinds.collect::<Result<BTreeSet<_>, _>>()
    })
}
