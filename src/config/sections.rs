//! The shape of the file: its sections, and which reader each field has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::accounts::{ListedAccount, Organization, listed_accounts};
use super::fields;
use crate::controls::{Benchmark, Settings};
use crate::evidence::EvidenceKind;
use crate::policy::{Decision, Exemption, Match, Pattern, Rule, in_days};

/// An empty section counts as missing, for example one with every line commented out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    #[serde(deserialize_with = "listed_accounts")]
    pub accounts: Vec<ListedAccount>,
    pub organization: Option<Organization>,
    pub rotation: Option<RotationSection>,
    pub confirm: Option<ConfirmSection>,
    pub service_credentials: Option<ServiceCredentialsSection>,
    pub labels: Option<LabelsSection>,
    pub controls: Option<ControlsSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotationSection {
    #[serde(deserialize_with = "fields::time_delta")]
    pub max_age: Option<TimeDelta>,
    #[serde(deserialize_with = "fields::time_delta")]
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceCredentialsSection {
    pub enabled: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelsSection {
    #[serde(deserialize_with = "fields::tag_keys")]
    pub user_tags: Vec<String>,
}

/// `true`, `false`, or fields.
#[derive(Debug, Default)]
pub struct ControlsSection(ControlsFields);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ControlsFields {
    enabled: bool,
    #[serde(deserialize_with = "fields::benchmark")]
    benchmark: Benchmark,
    #[serde(deserialize_with = "fields::days")]
    unused_after: Option<TimeDelta>,
    #[serde(deserialize_with = "fields::days")]
    root_unused_for: Option<TimeDelta>,
    users: bool,
    #[serde(deserialize_with = "fields::evidence")]
    read: BTreeSet<EvidenceKind>,
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

impl Default for ServiceCredentialsSection {
    /// The keys that live longest are not left out.
    fn default() -> ServiceCredentialsSection {
        ServiceCredentialsSection { enabled: true }
    }
}

impl Default for ControlsFields {
    fn default() -> ControlsFields {
        let Settings { enabled, benchmark, users, read, .. } = Settings::default();
        let (unused_after, root_unused_for) = (None, None);
        ControlsFields { enabled, benchmark, unused_after, root_unused_for, users, read }
    }
}

impl ControlsSection {
    /// The settings, with defaults for the rest.
    pub fn settings(self) -> Settings {
        let ControlsFields { enabled, benchmark, unused_after, root_unused_for, users, read } =
            self.0;
        let root_unused_for = root_unused_for.unwrap_or(Settings::default().root_unused_for);
        Settings { enabled, benchmark, unused_after, root_unused_for, users, read }
    }
}

impl<'de> Deserialize<'de> for ControlsSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ControlsSection, D::Error> {
        struct BoolOrFields;

        impl<'de> Visitor<'de> for BoolOrFields {
            type Value = ControlsFields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or fields such as benchmark: v7.0")
            }

            fn visit_bool<E>(self, enabled: bool) -> Result<ControlsFields, E> {
                Ok(ControlsFields { enabled, ..ControlsFields::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ControlsFields, A::Error> {
                let fields = ControlsFields::deserialize(MapAccessDeserializer::new(map))?;
                let limit = fields.benchmark.unused_after();
                match fields.unused_after.filter(|unused_after| *unused_after > limit) {
                    Some(longer) => Err(A::Error::custom(format!(
                        "unused_after of {} is longer than the {} of CIS {}",
                        in_days(longer),
                        in_days(limit),
                        fields.benchmark.as_str()
                    ))),
                    None => Ok(fields),
                }
            }
        }

        deserializer.deserialize_any(BoolOrFields).map(ControlsSection)
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
