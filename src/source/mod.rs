//! Where credential reports come from: AWS, files, or the demo organization.

pub mod aws;
pub mod demo;
pub mod files;

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::config::{Access, Config};
use crate::confirm::ListedKey;
use crate::state::{Reason, Tags};

/// A source of credential reports.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a process has one of them")]
pub enum Source {
    /// AWS itself.
    Aws(aws::Aws),
    /// CSV files on disk.
    Files(files::Files),
    /// A made-up organization.
    Demo(demo::Demo),
}

/// An account that a source can give a report of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Tells this account from every other of its source.
    pub key: String,
    /// The account's id as far as it is known before the first report: see
    /// [`Account::id`](crate::state::Account::id).
    pub id: String,
    /// The account's name; may be empty.
    pub name: String,
    /// How it is reached, where that is AWS.
    pub access: Access,
}

/// The accounts that a source knows of.
#[derive(Debug, Default)]
pub struct Known {
    /// The accounts.
    pub targets: Vec<Target>,
    /// Whether there are no others: until then, whoever was there before may still be.
    pub is_all: bool,
    /// The ids of accounts that are not wanted.
    pub excluded: BTreeSet<String>,
}

/// A report as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The report's bytes.
    pub csv: Vec<u8>,
    /// When it was generated.
    pub generated: DateTime<Utc>,
}

/// What a source had for an account. Without report and failure: the last report is still good.
#[derive(Debug, Default)]
pub struct Fetch {
    /// The account's id, where the source found it out.
    pub account_id: Option<String>,
    /// A new report.
    pub report: Option<Fetched>,
    /// Why there is none, or why it is older than it should be.
    pub failure: Option<Failure>,
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What it is counted under.
    pub reason: Reason,
    /// What to tell a person, in one line.
    pub message: String,
}

impl Failure {
    /// A failure.
    pub fn new(reason: Reason, message: impl Into<String>) -> Failure {
        // What others sent stands in it, and it is shown on terminals.
        let message = message.into().replace(char::is_control, " ");
        Failure { reason, message }
    }

    /// The refresh reached its deadline.
    pub fn late() -> Failure {
        Failure::new(Reason::Timeout, "not done within the time of a refresh")
    }
}

impl From<Failure> for Fetch {
    fn from(failure: Failure) -> Fetch {
        Fetch { failure: Some(failure), ..Fetch::default() }
    }
}

impl Source {
    /// Finds out which accounts there are now. Where that fails, those are known that were before.
    pub async fn discover(&self, config: &Config) -> Result<(), Failure> {
        match self {
            Source::Aws(aws) => aws.discover(config).await,
            Source::Files(files) => files.discover().await,
            Source::Demo(_) => Ok(()),
        }
    }

    /// The accounts that are known, as far as the configuration wants them.
    pub fn known(&self, config: &Config) -> Known {
        match self {
            Source::Aws(aws) => aws.known(config),
            Source::Files(files) => files.known(),
            Source::Demo(demo) => {
                Known { targets: demo.targets(), is_all: true, ..Known::default() }
            }
        }
    }

    /// Looks for credentials again, when they are next needed.
    pub fn look_again(&self) {
        if let Source::Aws(aws) = self {
            aws.look_again();
        }
    }

    /// Forgets what it keeps for accounts that are reached in other ways than these.
    pub fn retain(&self, accesses: &HashSet<&Access>) {
        if let Source::Aws(aws) = self {
            aws.retain(accesses);
        }
    }

    /// After which time to look for accounts again; `None`: as often as they are refreshed.
    pub fn relist(&self) -> Option<Duration> {
        match self {
            Source::Aws(_) => Some(aws::RELIST),
            Source::Files(_) | Source::Demo(_) => None,
        }
    }

    /// Waits until a refresh may begin. Calls to AWS then wait for their own turns, so that a pause
    /// keeps nobody waiting.
    pub async fn begin(&self) {
        if let Source::Aws(aws) = self {
            aws.begin().await;
        }
    }

    /// The account's report, unless the last one, generated at `last`, is still good at `now`.
    /// Gives up at `deadline`, with what it has by then.
    pub async fn fetch(
        &self,
        target: &Target,
        last: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> Fetch {
        match self {
            Source::Aws(aws) => aws.fetch(target, last, now, deadline).await,
            Source::Files(files) => files.fetch(target, deadline).await,
            Source::Demo(demo) => demo.fetch(target, last, now).await,
        }
    }

    /// A user's keys as they are now; `None` where the user is gone. Files know no more than their
    /// reports.
    pub async fn keys(
        &self,
        target: &Target,
        user: &str,
    ) -> Result<Option<Vec<ListedKey>>, Failure> {
        match self {
            Source::Aws(aws) => aws.keys(target, user).await,
            Source::Files(_) => Err(nothing_beyond_reports()),
            Source::Demo(demo) => demo.keys(target, user),
        }
    }

    /// The users' tags that have one of these keys, which are in lower case.
    pub async fn tags(&self, target: &Target, keys: &BTreeSet<String>) -> Result<Tags, Failure> {
        match self {
            Source::Aws(aws) => aws.tags(target, keys).await,
            Source::Files(_) => Err(nothing_beyond_reports()),
            Source::Demo(demo) => demo.tags(target, keys).await,
        }
    }

    /// The account's alias, if it has one.
    pub async fn alias(&self, target: &Target) -> Result<Option<String>, Failure> {
        match self {
            Source::Aws(aws) => aws.alias(target).await,
            Source::Files(_) | Source::Demo(_) => Err(nothing_beyond_reports()),
        }
    }

    /// Whether there is more to ask than the reports.
    pub fn knows_more(&self) -> bool {
        matches!(self, Source::Aws(_) | Source::Demo(_))
    }

    /// Whether every question is a call to AWS, which wants to be asked with measure.
    pub fn is_live(&self) -> bool {
        matches!(self, Source::Aws(_))
    }
}

fn nothing_beyond_reports() -> Failure {
    Failure::new(Reason::ServiceError, "this source has nothing but reports")
}
