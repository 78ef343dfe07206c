//! Where credential reports come from: AWS, files, or the demo organization.

pub mod aws;
pub mod demo;
pub mod files;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::confirm::ListedKey;
use crate::state::{Reason, Tags};

/// A source of credential reports.
#[derive(Debug)]
pub enum Source {
    /// AWS itself.
    Aws(aws::Aws),
    /// CSV files on disk.
    Files(files::Files),
    /// A made-up organization.
    Demo(demo::Demo),
}

/// An account that a source can give a report of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Tells this account from every other of its source.
    pub key: String,
    /// The account's id as far as it is known before the first report: see
    /// [`Account::id`](crate::state::Account::id).
    pub id: String,
    /// The account's name; may be empty.
    pub name: String,
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
    /// The accounts that there are now.
    pub async fn targets(&self) -> Result<Vec<Target>, Failure> {
        match self {
            Source::Aws(aws) => Ok(aws.targets()),
            Source::Files(files) => files.targets().await,
            Source::Demo(demo) => Ok(demo.targets()),
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
            Source::Aws(aws) => aws.fetch(last, now, deadline).await,
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
            Source::Aws(aws) => aws.keys(user).await,
            Source::Files(_) => Err(nothing_beyond_reports()),
            Source::Demo(demo) => demo.keys(target, user),
        }
    }

    /// The users' tags that have one of these keys, which are in lower case.
    pub async fn tags(&self, target: &Target, keys: &BTreeSet<String>) -> Result<Tags, Failure> {
        match self {
            Source::Aws(aws) => aws.tags(keys).await,
            Source::Files(_) => Err(nothing_beyond_reports()),
            Source::Demo(demo) => demo.tags(target, keys).await,
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
