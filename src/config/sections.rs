//! The sections of the file, as they are written, and what each field may hold.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::Deserialize;

use super::accounts::{Accounts, OrganizationSection};
use super::max_age;
use crate::policy::{Decision, Exemption, Match, Pattern, Rule};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    // A section whose lines are all comments is there, but empty.
    pub accounts: Option<Accounts>,
    pub organization: Option<OrganizationSection>,
    pub rotation: Option<RotationSection>,
    pub confirm: Option<ConfirmSection>,
    pub labels: Option<LabelsSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotationSection {
    pub max_age: Option<MaxAge>,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfirmSection {
    pub enabled: bool,
    pub rate: Rate,
}

impl Default for ConfirmSection {
    fn default() -> ConfirmSection {
        ConfirmSection { enabled: true, rate: Rate(5) }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelsSection {
    pub user_tags: TagKeys,
}

/// A number of requests a second.
#[derive(Debug, Deserialize)]
#[serde(try_from = "u32")]
pub struct Rate(pub u32);

impl TryFrom<u32> for Rate {
    type Error = &'static str;

    fn try_from(rate: u32) -> Result<Rate, Self::Error> {
        match rate {
            1..=100 => Ok(Rate(rate)),
            _ => Err("must lie between 1 and 100 requests a second"),
        }
    }
}

/// A max age, written like `90d`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct MaxAge(pub TimeDelta);

impl TryFrom<String> for MaxAge {
    type Error = String;

    fn try_from(text: String) -> Result<MaxAge, String> {
        max_age(&text).map(MaxAge)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleSection {
    #[serde(rename = "match")]
    matches: Match,
    #[serde(default, deserialize_with = "given")]
    max_age: Option<MaxAge>,
    #[serde(default, deserialize_with = "given")]
    exempt: Option<Exemption>,
}

/// A field that is there has a value: one that was forgotten must not widen a rule.
pub fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    match Option::deserialize(deserializer)? {
        Some(value) => Ok(Some(value)),
        None => Err(serde::de::Error::custom("has no value: give it one, or leave the field out")),
    }
}

impl TryFrom<RuleSection> for Rule {
    type Error = &'static str;

    fn try_from(section: RuleSection) -> Result<Rule, Self::Error> {
        let decision = match (section.max_age, section.exempt) {
            (Some(max_age), None) => Decision::MaxAge(max_age.0),
            (None, Some(exemption)) => Decision::Exempt(exemption),
            _ => return Err("a rule has either max_age or exempt"),
        };
        Ok(Rule { matches: section.matches, decision })
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Rule, D::Error> {
        let section = RuleSection::deserialize(deserializer)?;
        section.try_into().map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MatchSection {
    #[serde(deserialize_with = "given")]
    user: Option<Glob>,
    #[serde(deserialize_with = "given")]
    path: Option<PathGlob>,
    #[serde(deserialize_with = "given")]
    account: Option<Glob>,
    #[serde(deserialize_with = "given")]
    tags: Option<TagGlobs>,
}

/// A glob that can match something.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Glob(Pattern);

impl TryFrom<String> for Glob {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Glob, Self::Error> {
        match text.as_str() {
            "" => Err("is empty: * matches everything"),
            text => Ok(Glob(Pattern::new(text))),
        }
    }
}

/// A glob that can match a path.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct PathGlob(Pattern);

impl TryFrom<String> for PathGlob {
    type Error = &'static str;

    fn try_from(text: String) -> Result<PathGlob, Self::Error> {
        match text.starts_with(['/', '*', '?']) {
            true => Ok(PathGlob(Pattern::new(&text))),
            false => Err("matches no path: they begin with /, such as /service/*"),
        }
    }
}

/// Globs by the keys of tags.
#[derive(Debug, Deserialize)]
#[serde(try_from = "BTreeMap<String, Glob>")]
struct TagGlobs(BTreeMap<String, Pattern>);

impl TryFrom<BTreeMap<String, Glob>> for TagGlobs {
    type Error = String;

    fn try_from(globs: BTreeMap<String, Glob>) -> Result<TagGlobs, String> {
        distinct(globs.keys())?;
        Ok(TagGlobs(globs.into_iter().map(|(key, glob)| (key, glob.0)).collect()))
    }
}

/// Keys of tags are the same whatever their case.
fn distinct<'a>(keys: impl IntoIterator<Item = &'a String>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match keys.into_iter().find(|key| !seen.insert(key.to_ascii_lowercase())) {
        None => Ok(()),
        Some(key) => Err(format!("names the tag {key} twice; IAM does not regard their case")),
    }
}

impl<'de> Deserialize<'de> for Match {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Match, D::Error> {
        let MatchSection { user, path, account, tags } = MatchSection::deserialize(deserializer)?;
        let matches = Match {
            user: user.map(|glob| glob.0),
            path: path.map(|glob| glob.0),
            account: account.map(|glob| glob.0),
            tags: tags.map(|globs| globs.0).unwrap_or_default(),
        };
        match matches == Match::default() {
            false => Ok(matches),
            true => Err(serde::de::Error::custom(
                "matches nobody in particular: give user, path, account or tags, such as user: \"*\"",
            )),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExemptSection {
    #[serde(default, deserialize_with = "given")]
    until: Option<Until>,
    reason: Reason,
}

impl<'de> Deserialize<'de> for Exemption {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Exemption, D::Error> {
        let ExemptSection { until, reason } = ExemptSection::deserialize(deserializer)?;
        Ok(Exemption { end: until.map(|until| until.0), reason: reason.0 })
    }
}

/// The moment at which something ends: a date is there to its end in UTC.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Until(DateTime<Utc>);

impl TryFrom<String> for Until {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Until, Self::Error> {
        if let Ok(date) = text.parse::<NaiveDate>() {
            let end = date.succ_opt().and_then(|next| next.and_hms_opt(0, 0, 0));
            return end.map(|end| Until(end.and_utc())).ok_or("is beyond the calendar");
        }
        DateTime::parse_from_rfc3339(&text)
            .map(|time| Until(time.to_utc()))
            .map_err(|_| "must be a date such as 2027-03-01 or a time such as 2027-03-01T12:00:00Z")
    }
}

/// A reason for people, which becomes a label.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Reason(String);

const MAX_REASON: usize = 200;

impl TryFrom<String> for Reason {
    type Error = String;

    fn try_from(text: String) -> Result<Reason, String> {
        let reason = text.trim();
        match reason.chars().count() {
            0 => Err("is empty: say why the keys may stay".to_owned()),
            1..=MAX_REASON => Ok(Reason(reason.to_owned())),
            count => Err(format!("has {count} characters, more than {MAX_REASON}")),
        }
    }
}

/// Keys of tags, none of them twice.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct TagKeys(pub Vec<String>);

/// What IAM allows a user to have.
const MAX_TAGS: usize = 50;

impl TryFrom<Vec<String>> for TagKeys {
    type Error = String;

    fn try_from(keys: Vec<String>) -> Result<TagKeys, String> {
        if keys.len() > MAX_TAGS {
            return Err(format!("has {} tags, more than the {MAX_TAGS} of a user", keys.len()));
        }
        if keys.iter().any(|key| !(1..=128).contains(&key.chars().count())) {
            return Err("a tag's key has between 1 and 128 characters".to_owned());
        }
        distinct(&keys)?;
        Ok(TagKeys(keys))
    }
}
