//! The YAML file: accounts, rotation, confirmation, service-specific credentials, labels. Every error names file, line and field.

pub mod origin;
mod sections;
mod accounts;
mod fields;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_saphyr::{
    Location, MessageFormatter, UserMessageFormatter, budget, options,
    with_deserializer_from_str_with_options,
};

use crate::controls;
use crate::evidence::EvidenceKind;
use crate::pipe;
use crate::policy::{Decision, Policy, in_days};
use crate::printable::escape;

pub use accounts::{Access, ListedAccount, Organization, Role, RoleArn};
pub use fields::{is_account_id, parse_duration, parse_time_delta, read as read_field};
use sections::File;

/// The configuration: the file's values, and defaults for the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The listed accounts. Without any, and without an organization, the exporter serves the account
    /// of the default credentials.
    pub accounts: Vec<ListedAccount>,
    /// The organization whose accounts are served in addition to the listed ones.
    pub organization: Option<Organization>,
    /// The maximum age of keys, how long before it they are due soon, and the rules that override it.
    pub policy: Policy,
    /// Requests a second, in each account, that confirm users with unrotated keys. `None`: no
    /// requests.
    pub confirm: Option<u32>,
    /// Whether users' service-specific credentials are listed, too.
    pub service_credentials: bool,
    /// Which tags of users become labels.
    pub user_tags: Vec<TagLabel>,
    /// How the controls of the CIS benchmark are decided, if they are.
    pub controls: controls::Settings,
}

/// A tag of users that becomes a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagLabel {
    /// The tag's key, as in the configuration.
    pub key: String,
    /// The label's name: `tag_` and the key, with `_` for what a label may not hold, and with a
    /// number if an earlier tag has that name already.
    pub label: String,
}

impl Default for Config {
    /// The configuration of an empty file.
    fn default() -> Config {
        Config::from(File::default())
    }
}

impl From<File> for Config {
    fn from(file: File) -> Config {
        let File {
            accounts,
            organization,
            rotation,
            confirm,
            service_credentials,
            labels,
            controls,
        } = file;
        let rotation = rotation.unwrap_or_default();
        let confirm = confirm.unwrap_or_default();
        let policy = Policy::default();
        Config {
            accounts,
            organization,
            policy: Policy {
                max_age: rotation.max_age.unwrap_or(policy.max_age),
                warn_before: rotation.warn_before.unwrap_or(policy.warn_before),
                rules: rotation.rules,
            },
            confirm: confirm.enabled.then_some(confirm.rate),
            service_credentials: service_credentials.unwrap_or_default().enabled,
            user_tags: tag_labels(labels.unwrap_or_default().user_tags),
            controls: controls.unwrap_or_default().settings(),
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
        /// The system's error.
        error: io::Error,
    },
    /// At a reload the file is empty, although the current configuration is not.
    #[error("{path}: the file is empty: to remove the whole configuration, write {{}} into it")]
    Emptied {
        /// The file.
        path: PathBuf,
    },
    /// It is not YAML, or a field is invalid.
    #[error("{path}:{line}: {field}{problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The field's path and a colon, or nothing if the file is not YAML.
        field: String,
        /// The error there, in one line.
        problem: String,
    },
}

/// The largest file that is accepted.
const MAX_BYTES: u64 = 1 << 20;

impl Config {
    /// The text of a file.
    fn read(path: &Path) -> Result<String, Error> {
        let failed = |error| Error::Unreadable { path: path.to_owned(), error };
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        let mut text = String::new();
        let mut file = fs::File::open(path).map_err(failed)?.take(MAX_BYTES + 1);
        if file.read_to_string(&mut text).map_err(failed)? as u64 > MAX_BYTES {
            return Err(failed(io::Error::other(format!("more than {MAX_BYTES} bytes"))));
        }
        Ok(text)
    }

    /// The text that comes through a pipe.
    fn read_pipe(path: &Path) -> Result<String, Error> {
        let failed = |error| Error::Unreadable { path: path.to_owned(), error };
        let bytes = pipe::read(path, MAX_BYTES).map_err(failed)?;
        String::from_utf8(bytes).map_err(|error| failed(io::Error::other(error.utf8_error())))
    }

    /// Reads the text of a file. Fields that it leaves out are as in [`Config::default`]. `path` is for errors.
    pub fn parse(text: &str, path: &Path) -> Result<Config, Error> {
        parse_yaml::<File>(text, path, "max_age: 90d").map(Config::from)
    }

    /// One line for each value that is valid but probably a mistake, as of `now`.
    pub fn warnings(&self, now: DateTime<Utc>) -> Vec<String> {
        let Policy { max_age, warn_before, rules } = &self.policy;
        let always_due = (warn_before >= max_age).then(|| {
            let [warn_before, max_age] = [*warn_before, *max_age].map(in_days);
            format!(
                "warning: rotation.warn_before: {warn_before} is not less than the max age of {max_age}: every key is due soon from its first day"
            )
        });
        let ended = rules.iter().enumerate().filter_map(|(index, rule)| match &rule.decision {
            Decision::Exempt(exemption) if !exemption.holds(now) => Some(format!(
                "warning: rotation.rules[{index}]: its exemption has ended, so it has no effect: {}",
                escape(&rule.matches.to_string())
            )),
            _ => None,
        });
        always_due.into_iter().chain(ended).collect()
    }

    /// Whether controls need this of AWS.
    pub fn reads(&self, kind: EvidenceKind) -> bool {
        self.controls.enabled && self.controls.read.contains(&kind)
    }

    /// The keys of all tags that labels or rules need, in lower case.
    pub fn tag_keys(&self) -> BTreeSet<String> {
        let of_labels = self.user_tags.iter().map(|tag| &tag.key);
        let of_rules = self.policy.rules.iter().flat_map(|rule| rule.matches.tags.keys());
        of_labels.chain(of_rules).map(|key| key.to_ascii_lowercase()).collect()
    }
}

/// Reads the text of a YAML file. `path` and `example`, a valid field, are for error messages.
pub(crate) fn parse_yaml<T>(text: &str, path: &Path, example: &str) -> Result<T, Error>
where
    T: DeserializeOwned,
{
    let mut field = String::new();
    // Many rules may share one anchor. The limit is on the total size after aliases are resolved.
    let options = options! { budget: budget! { enforce_alias_anchor_ratio: false } };
    let parsed = with_deserializer_from_str_with_options(text, options, |yaml| {
        serde_path_to_error::deserialize(yaml).map_err(|error| {
            field = error.path().to_string();
            error.into_inner()
        })
    });
    parsed.map_err(|error| Error::Invalid {
        path: path.to_owned(),
        line: error.location().map_or(1, |location: Location| location.line()),
        field: match field.as_str() {
            "" | "." | "?" => String::new(),
            // A name in the file can contain line breaks and control characters.
            field => format!("{}: ", escape(field.trim_end_matches(".?"))),
        },
        problem: problem(&error, example),
    })
}

/// The text of a YAML error, in words for the file's author instead of the parser's.
fn problem(error: &serde_saphyr::Error, example: &str) -> String {
    let text = UserMessageFormatter.format_message(error.without_snippet());
    match &*text {
        "expected mapping start" => format!("expected fields, such as {example}"),
        "expected sequence start" => "expected a list".to_owned(),
        "null is not allowed here" => "has no value: give it one".to_owned(),
        "expected string scalar" => "expected one value".to_owned(),
        "invalid boolean" => "expected true or false".to_owned(),
        "invalid u32" | "invalid i64" => "expected a whole number".to_owned(),
        text => escape(text),
    }
}

fn tag_labels(keys: Vec<String>) -> Vec<TagLabel> {
    let mut labels: Vec<TagLabel> = Vec::new();
    for key in keys {
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

/// The effective configuration, for people.
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
        writeln!(f, "max age: {}", in_days(self.policy.max_age))?;
        writeln!(f, "warn before: {}", in_days(self.policy.warn_before))?;
        for (index, rule) in self.policy.rules.iter().enumerate() {
            let rule = format!("{}: {}", rule.matches, rule.decision);
            writeln!(f, "rotation.rules[{index}]: {}", escape(&rule))?;
        }
        match self.confirm {
            Some(rate) => writeln!(f, "confirm: {rate} requests a second for each account")?,
            None => writeln!(f, "confirm: never")?,
        }
        let listed = if self.service_credentials { "with each report" } else { "never" };
        writeln!(f, "service credentials: {listed}")?;
        let controls = &self.controls;
        if controls.enabled {
            let read: Vec<&str> = controls.read.iter().map(|kind| kind.as_str()).collect();
            writeln!(
                f,
                "controls: CIS {}, unused after {}, root unused for {}, users: {}, read: {}",
                controls.benchmark.as_str(),
                in_days(controls.unused_after()),
                in_days(controls.root_unused_for),
                controls.users,
                read.join(", ")
            )?;
        } else {
            writeln!(f, "controls: none")?;
        }
        for TagLabel { key, label } in &self.user_tags {
            writeln!(f, "label: tag {} as {label}", escape(key))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
