//! The sources of credential reports: AWS, files, and the demo organization.

pub mod aws;
pub mod demo;
pub mod files;
pub(crate) mod regular_file;
pub mod target;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::config::{Access, Config};
use crate::confirmation::ListedKey;
use crate::evidence::{AccountSummary, PasswordPolicy};
use crate::failure::{Failure, Reason};
use crate::panics::catch_async;
use crate::service_credentials::{CredentialList, ServiceCredentials};
use crate::state::Tags;
use target::{Discovered, FetchResult, Target};

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

impl Source {
    /// Lists the accounts. If that fails, the known accounts stay.
    pub async fn discover(&self, config: &Config) -> Result<(), Failure> {
        let discovery = async {
            match self {
                Source::Aws(aws) => aws.discover(config).await,
                Source::Files(files) => files.discover().await,
                Source::Demo(_) => Ok(()),
            }
        };
        catch_async(discovery).await.and_then(|done| done)
    }

    /// The known accounts that the configuration includes.
    pub fn known(&self, config: &Config) -> Discovered {
        match self {
            Source::Aws(aws) => aws.known(config),
            Source::Files(files) => Discovered { origin: "the report files", ..files.known() },
            Source::Demo(demo) => Discovered {
                targets: demo.targets(),
                is_all: true,
                origin: "the demo",
                ..Discovered::default()
            },
        }
    }

    /// Forgets base credentials, so that they are looked for again at the next call.
    pub fn forget_credentials(&self) {
        if let Source::Aws(aws) = self {
            aws.forget_credentials();
        }
    }

    /// The clock by which its data is judged: this host's, corrected by AWS's answers if there are any.
    pub fn clock(&self) -> Clock {
        match self {
            Source::Aws(aws) => aws.clock(),
            Source::Files(_) | Source::Demo(_) => Clock::system(),
        }
    }

    /// By how much the clock of this host is ahead of AWS's, as of the last answer.
    pub fn clock_skew(&self) -> Option<TimeDelta> {
        match self {
            Source::Aws(aws) => aws.clock_skew(),
            Source::Files(_) | Source::Demo(_) => None,
        }
    }

    /// How long an account stays, failing, after its credentials or file changed to another
    /// account. For credentials: until accounts are listed again.
    pub fn keep_replaced(&self) -> Duration {
        match self {
            Source::Files(files) => files.keep_missing(),
            Source::Aws(_) | Source::Demo(_) => Duration::ZERO,
        }
    }

    /// Forgets an account's credentials after they failed, so that a refresh loads them again.
    pub fn forget_credentials_of(&self, target: &Target) {
        if let Source::Aws(aws) = self {
            aws.forget_credentials_of(target);
        }
    }

    /// Forgets the clients of all other credentials.
    pub fn retain(&self, accesses: &HashSet<&Access>) {
        if let Source::Aws(aws) = self {
            aws.retain(accesses);
        }
    }

    /// How often to look for accounts. `None`: as often as they are refreshed.
    pub fn discovery_interval(&self) -> Option<Duration> {
        match self {
            Source::Aws(_) => Some(aws::DISCOVERY_INTERVAL),
            Source::Files(_) | Source::Demo(_) => None,
        }
    }

    /// Waits until a refresh may begin.
    pub async fn admit(&self) {
        if let Source::Aws(aws) = self {
            aws.admit().await;
        }
    }

    /// The id of the account that the target's credentials belong to. `None` for report files,
    /// which contain the id.
    pub async fn account_id(&self, target: &Target) -> Result<Option<String>, Failure> {
        match self {
            Source::Aws(aws) => aws.account_id(target).await.map(Some),
            Source::Files(_) => Ok(None),
            Source::Demo(_) => Ok(Some(target.id.clone())),
        }
    }

    /// The account's report, unless the last one, generated at `last`, is still good at `now`.
    /// Gives up at `deadline` and returns the data read by then.
    pub async fn fetch(
        &self,
        target: &Target,
        last: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> FetchResult {
        match self {
            Source::Aws(aws) => aws.fetch(target, last, now, deadline).await,
            Source::Files(files) => files.fetch(target, now, deadline).await,
            Source::Demo(demo) => demo.fetch(target, last, now).await,
        }
    }

    /// A user's keys as they are now. `None` if the user is gone. Files hold reports only.
    pub async fn keys(
        &self,
        target: &Target,
        user: &str,
    ) -> Result<Option<Vec<ListedKey>>, Failure> {
        match self {
            Source::Aws(aws) => aws.keys(target, user).await,
            Source::Files(_) => Err(reports_only()),
            Source::Demo(demo) => demo.keys(target, user),
        }
    }

    /// The users' tags that have one of these keys, which are in lower case, and whether
    /// each user has policies beside those of its groups.
    pub async fn users(
        &self,
        target: &Target,
        keys: &BTreeSet<String>,
    ) -> Result<(Tags, BTreeMap<String, bool>), Failure> {
        match self {
            Source::Aws(aws) => aws.users(target, keys).await,
            Source::Files(_) => Err(reports_only()),
            Source::Demo(demo) => demo.users(target, keys).await,
        }
    }

    /// The summary's answer about the account's root user.
    pub async fn summary(&self, target: &Target) -> Result<AccountSummary, Failure> {
        match self {
            Source::Aws(aws) => aws.summary(target).await,
            Source::Files(_) => Err(reports_only()),
            Source::Demo(demo) => Ok(demo.summary(target)),
        }
    }

    /// The account's password policy, if it has one.
    pub async fn password_policy(
        &self,
        target: &Target,
    ) -> Result<Option<PasswordPolicy>, Failure> {
        match self {
            Source::Aws(aws) => aws.password_policy(target).await,
            Source::Files(_) => Err(reports_only()),
            Source::Demo(demo) => Ok(demo.password_policy(target)),
        }
    }

    /// Whether the root user has a virtual MFA device.
    pub async fn root_virtual_mfa(&self, target: &Target) -> Result<bool, Failure> {
        match self {
            Source::Aws(aws) => aws.root_virtual_mfa(target).await,
            Source::Files(_) => Err(reports_only()),
            Source::Demo(demo) => demo.root_virtual_mfa(target),
        }
    }

    /// The account's alias, if it has one.
    pub async fn alias(&self, target: &Target) -> Result<Option<String>, Failure> {
        match self {
            Source::Aws(aws) => aws.alias(target).await,
            Source::Files(_) | Source::Demo(_) => Err(reports_only()),
        }
    }

    /// The service-specific credentials of all users. `None` if the account's partition has none. `known` are
    /// those from before.
    pub async fn service_credentials(
        &self,
        target: &Target,
        known: &ServiceCredentials,
    ) -> Result<Option<CredentialList>, Failure> {
        match self {
            Source::Aws(aws) => aws.service_credentials(target, known).await,
            Source::Files(_) => Err(reports_only()),
            Source::Demo(demo) => Ok(Some(demo.service_credentials(target).await)),
        }
    }

    /// The source of the times of report files. `None` if AWS gives each report its time.
    pub fn time_of_report_files(&self) -> Option<&'static str> {
        match self {
            Source::Files(files) => Some(files.time_of_report()),
            Source::Aws(_) | Source::Demo(_) => None,
        }
    }

    /// Whether it has keys and tags in addition to reports.
    pub fn has_live_data(&self) -> bool {
        matches!(self, Source::Aws(_) | Source::Demo(_))
    }

    /// Whether every request is a call to AWS, which has rate limits.
    pub fn calls_aws(&self) -> bool {
        matches!(self, Source::Aws(_))
    }
}

fn reports_only() -> Failure {
    Failure::new(Reason::ServiceError, "this source has only reports")
}
