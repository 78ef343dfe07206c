//! The shape of the file: its sections, and which reader each field has.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer};

use super::accounts::{ListedAccount, Organization, listed_accounts};
use super::fields;
use crate::policy::{Decision, Exemption, Match, Pattern, Rule};

/// An empty section counts as missing, for example one with every line commented out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    #[serde(deserialize_with = "listed_accounts")]
    pub accounts: Vec<ListedAccount>,
    pub organization: Option<Organization>,
    pub rotation: Option<RotationSection>,
    pub confirm: Option<ConfirmSection>,
    pub labels: Option<LabelsSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotationSection {
    #[serde(deserialize_with = "fields::time_delta_or_empty")]
    pub max_age: Option<TimeDelta>,
    #[serde(deserialize_with = "fields::time_delta_or_empty")]
    pub warn_before: Option<TimeDelta>,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfirmSection {
    pub enabled: bool,
    #[serde(deserialize_with = "fields::rate")]
    pub rate: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelsSection {
    #[serde(deserialize_with = "fields::tag_keys")]
    pub user_tags: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleSection {
    #[serde(rename = "match", deserialize_with = "matches")]
    matches: Match,
    #[serde(default, deserialize_with = "fields::time_delta")]
    max_age: Option<TimeDelta>,
    #[serde(default, deserialize_with = "fields::given")]
    exempt: Option<ExemptSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MatchSection {
    #[serde(deserialize_with = "fields::glob")]
    user: Option<Pattern>,
    #[serde(deserialize_with = "fields::path_glob")]
    path: Option<Pattern>,
    #[serde(deserialize_with = "fields::glob")]
    account: Option<Pattern>,
    #[serde(deserialize_with = "fields::tag_globs")]
    tags: Option<BTreeMap<String, Pattern>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExemptSection {
    #[serde(default, deserialize_with = "fields::until")]
    until: Option<DateTime<Utc>>,
    #[serde(deserialize_with = "fields::reason")]
    reason: String,
}

impl Default for ConfirmSection {
    fn default() -> ConfirmSection {
        ConfirmSection { enabled: true, rate: 5 }
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rule, D::Error> {
        fields::read(deserializer, |RuleSection { matches, max_age, exempt }| {
            let decision = match (max_age, exempt) {
                (Some(max_age), None) => Decision::MaxAge(max_age),
                (None, Some(ExemptSection { until, reason })) => {
                    Decision::Exempt(Exemption { end: until, reason })
                }
                _ => return Err("a rule has either max_age or exempt"),
            };
            Ok(Rule { matches, decision })
        })
    }
}

fn matches<'de, D: Deserializer<'de>>(field: D) -> Result<Match, D::Error> {
    fields::read(field, |MatchSection { user, path, account, tags }| {
        // Without this field, all tags match.
        let matches = Match { user, path, account, tags: tags.unwrap_or_default() };
        if matches == Match::default() {
            Err("has no condition: give user, path, account or tags, such as user: \"*\"")
        } else {
            Ok(matches)
        }
    })
}
