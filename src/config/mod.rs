//! The YAML file: accounts, rotation, confirmation, labels. Every error names file, line and field.

mod accounts;
mod sections;
pub mod origin;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_saphyr::{Location, MessageFormatter, UserMessageFormatter, with_deserializer_from_str};

use crate::policy::{Decision, Exemption, Match, Policy};

pub use accounts::{Access, ListedAccount, Organization, Role, RoleArn};
use sections::{File, TagKeys};

/// What the configuration file decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Accounts that are listed. Where there is no organization either, the account of the default
    /// credentials is the only one.
    pub accounts: Vec<ListedAccount>,
    /// The organization whose accounts are served, besides those that are listed.
    pub organization: Option<Organization>,
    /// How old keys may become.
    pub policy: Policy,
    /// How often a second users with unrotated keys are confirmed in each account, if at all.
    pub confirm: Option<u32>,
    /// Which tags of users become labels.
    pub user_tags: Vec<TagLabel>,
}

/// A tag of users that becomes a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagLabel {
    /// The tag's key, as in the configuration.
    pub key: String,
    /// The label's name: `tag_` and the key, with `_` for what a label may not hold, and with a
    /// number where an earlier tag has that name already.
    pub label: String,
}

impl Default for Config {
    /// What holds without a file.
    fn default() -> Config {
        Config::from(File::default())
    }
}

impl From<File> for Config {
    fn from(File { accounts, organization, rotation, confirm, labels }: File) -> Config {
        let rotation = rotation.unwrap_or_default();
        let confirm = confirm.unwrap_or_default();
        Config {
            accounts: accounts.unwrap_or_default().0,
            organization: organization.map(Organization::from),
            policy: Policy {
                max_age: rotation.max_age.map_or(Policy::default().max_age, |max_age| max_age.0),
                rules: rotation.rules,
            },
            confirm: confirm.enabled.then_some(confirm.rate.0),
            user_tags: tag_labels(labels.unwrap_or_default().user_tags),
        }
    }
}

/// Why a configuration file is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It says something that cannot be meant.
    #[error("{path}:{line}: {field}{problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The field's path and a colon, or nothing where the file is no YAML.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// A file of more bytes is not read.
const MAX_BYTES: u64 = 1 << 20;

impl Config {
    /// Reads a file. What it does not say is as in [`Config::default`].
    pub fn load(path: &Path) -> Result<Config, Error> {
        let failed = |error| Error::Unreadable { path: path.to_owned(), error };
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        let mut text = String::new();
        let mut file = fs::File::open(path).map_err(failed)?.take(MAX_BYTES + 1);
        if file.read_to_string(&mut text).map_err(failed)? as u64 > MAX_BYTES {
            return Err(failed(io::Error::other(format!("more than {MAX_BYTES} bytes"))));
        }
        Config::parse(&text, path)
    }

    /// Reads the text of a file; `path` is for errors.
    pub fn parse(text: &str, path: &Path) -> Result<Config, Error> {
        let mut field = String::new();
        let parsed = with_deserializer_from_str(text, |yaml| {
            serde_path_to_error::deserialize(yaml).map_err(|error| {
                field = error.path().to_string();
                error.into_inner()
            })
        });
        let file: File = parsed.map_err(|error| Error::Invalid {
            path: path.to_owned(),
            line: error.location().map_or(1, |location: Location| location.line()),
            field: match field.as_str() {
                "" | "." | "?" => String::new(),
                field => format!("{}: ", field.trim_end_matches(".?")),
            },
            problem: problem(&error),
        })?;
        Ok(Config::from(file))
    }

    /// What is no error but hardly meant, as of `now`: one line each.
    pub fn warnings(&self, now: DateTime<Utc>) -> Vec<String> {
        let rules = self.policy.rules.iter().enumerate();
        rules
            .filter_map(|(index, rule)| match &rule.decision {
                Decision::Exempt(exemption) if !exemption.holds(now) => Some(format!(
                    "warning: rotation.rules[{index}]: its exemption has ended, so it decides nothing: {}",
                    rule.matches
                )),
                _ => None,
            })
            .collect()
    }

    /// The keys of all tags that labels or rules need, in lower case.
    pub fn tag_keys(&self) -> BTreeSet<String> {
        let of_labels = self.user_tags.iter().map(|tag| &tag.key);
        let of_rules = self.policy.rules.iter().flat_map(|rule| rule.matches.tags.keys());
        of_labels.chain(of_rules).map(|key| key.to_ascii_lowercase()).collect()
    }
}

/// What a YAML error says, in the words of a file rather than of a parser.
fn problem(error: &serde_saphyr::Error) -> String {
    let text = UserMessageFormatter.format_message(error.without_snippet());
    let text = text.lines().next().unwrap_or_default();
    match text {
        "expected mapping start" => "expected fields, such as max_age: 90d".to_owned(),
        "expected sequence start" => "expected a list".to_owned(),
        "expected string scalar" => "expected one value".to_owned(),
        "invalid boolean" => "expected true or false".to_owned(),
        "invalid u32" => "expected a whole number".to_owned(),
        text => text.to_owned(),
    }
}

/// A century: longer than AWS exists, shorter than what a calendar can hold.
const MOST_MAX_AGE: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// A max age, written like `90d`: between a second and a century.
pub fn max_age(text: &str) -> Result<TimeDelta, String> {
    let age = duration(text, MOST_MAX_AGE)?;
    Ok(TimeDelta::from_std(age).expect("a century fits"))
}

/// A duration, written like `5m`: between a second and `most`.
pub fn duration(text: &str, most: Duration) -> Result<Duration, String> {
    // Units of no fixed length: M would be a slip for m or d.
    let mut units = text.split(|c: char| !c.is_ascii_alphabetic());
    if units.any(|unit| unit == "M" || unit.starts_with("mon") || unit.starts_with('y')) {
        return Err(
            "months and years have no fixed length; write it like 90d, 12h or 5m".to_owned()
        );
    }
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it like 90d, 12h or 5m"))?;
    match (Duration::from_secs(1)..=most).contains(&duration) {
        true => Ok(duration),
        false => Err(format!("must lie between 1s and {}d", most.as_secs() / (24 * 60 * 60))),
    }
}

fn tag_labels(keys: TagKeys) -> Vec<TagLabel> {
    let mut labels: Vec<TagLabel> = Vec::new();
    for key in keys.0 {
        let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name: String = "tag_".chars().chain(key.chars().map(safe)).collect();
        let taken = |label: &str| labels.iter().any(|other| other.label == label);
        let label = std::iter::once(name.clone())
            .chain((2..).map(|number| format!("{name}_{number}")))
            .find(|label| !taken(label))
            .expect("one of endlessly many names is free");
        labels.push(TagLabel { key, label });
    }
    labels
}

/// What a file resolves to, for a person.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for account in &self.accounts {
            writeln!(f, "{account}")?;
        }
        match &self.organization {
            Some(organization) => writeln!(f, "{organization}")?,
            None if self.accounts.is_empty() => {
                writeln!(f, "account of the default credentials")?;
            }
            None => {}
        }
        writeln!(f, "max age: {}", days(self.policy.max_age))?;
        for (index, rule) in self.policy.rules.iter().enumerate() {
            writeln!(f, "rotation.rules[{index}]: {}: {}", rule.matches, rule.decision)?;
        }
        match self.confirm {
            Some(rate) => writeln!(f, "confirm: {rate} requests a second for each account")?,
            None => writeln!(f, "confirm: never")?,
        }
        for TagLabel { key, label } in &self.user_tags {
            writeln!(f, "label: tag {key} as {label}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = [("user", &self.user), ("path", &self.path), ("account", &self.account)];
        let given = given.into_iter().filter_map(|(name, pattern)| {
            pattern.as_ref().map(|pattern| format!("{name} {}", pattern.as_str()))
        });
        let tags = self.tags.iter().map(|(key, pattern)| format!("tag {key}={}", pattern.as_str()));
        f.write_str(&given.chain(tags).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::MaxAge(max_age) => write!(f, "max age {}", days(*max_age)),
            Decision::Exempt(Exemption { end: Some(end), reason }) => {
                write!(f, "exempt until {}: {reason}", end.format("%Y-%m-%dT%H:%M:%SZ"))
            }
            Decision::Exempt(Exemption { end: None, reason }) => {
                write!(f, "exempt without end: {reason}")
            }
        }
    }
}

/// Days where they are whole, else seconds.
fn days(age: TimeDelta) -> String {
    match age.num_seconds() % 86_400 {
        0 => format!("{}d", age.num_days()),
        _ => format!("{}s", age.num_seconds()),
    }
}

#[cfg(test)]
mod tests;
