//! Reports from AWS: of the accounts that the configuration lists, of an organization, or of the
//! default credentials.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::info;

use super::{Failure, Fetch, Listing, Target};
use crate::aws::hub::Hub;
use crate::aws::organization::{self, Member};
use crate::aws::{self, SdkConfig};
use crate::config::{Access, Config, ListedAccount};
use crate::confirm::ListedKey;
use crate::metrics::own::AwsRequests;
use crate::state::{Reason, Tags, UNKNOWN_ACCOUNT};

/// AWS.
#[derive(Debug)]
pub struct Aws {
    hub: Hub,
    /// The organization's accounts as they were last found.
    members: Mutex<Vec<Member>>,
}

/// An organization's accounts change now and then.
pub const RELIST: Duration = Duration::from_secs(60 * 60);
/// Looking for accounts takes no longer.
const LISTING_TIMEOUT: Duration = Duration::from_secs(120);

impl Aws {
    /// With at most `concurrency` calls at the same time, each counted in `requests`.
    pub fn new(requests: AwsRequests, concurrency: usize) -> Aws {
        Aws { hub: Hub::new(None, requests, concurrency), members: Mutex::default() }
    }

    /// The same with this configuration instead of what the default chains find.
    pub fn with_config(config: &SdkConfig, requests: AwsRequests, concurrency: usize) -> Aws {
        let given = Some(config.clone());
        Aws { hub: Hub::new(given, requests, concurrency), members: Mutex::default() }
    }

    /// Those that are listed, and those of the organization that are not. Where the organization
    /// cannot be asked its accounts are those that were last found.
    pub(super) async fn targets(&self, config: &Config) -> Listing {
        let Config { accounts, organization, .. } = config;
        let mut targets: Vec<Target> = accounts.iter().map(listed).collect();
        let mut failure = None;
        match organization {
            Some(organization) => {
                let found = timeout(LISTING_TIMEOUT, organization::members(&self.hub)).await;
                let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
                match found.unwrap_or_else(|_| Err(Failure::late())) {
                    Ok(found) => {
                        info!(active = found.len(), "accounts of the organization found");
                        *members = found;
                    }
                    Err(error) => failure = Some(error),
                }
                let ids: BTreeSet<&String> = accounts.iter().map(|account| &account.id).collect();
                let others = members.iter().filter(|member| {
                    !ids.contains(&member.id) && !organization.exclude.contains(&member.id)
                });
                targets.extend(others.map(|member| Target {
                    key: member.id.clone(),
                    id: member.id.clone(),
                    name: member.name.clone(),
                    access: member.access(organization),
                }));
            }
            None if targets.is_empty() => targets.push(own()),
            None => {}
        }
        self.hub.retain(&HashSet::from_iter(targets.iter().map(|target| &target.access)));
        Listing { targets: Some(targets), failure }
    }

    pub(super) async fn begin(&self) {
        self.hub.begin().await;
    }

    /// A report that is younger than four hours is still good: AWS would give the same again.
    pub(super) async fn fetch(
        &self,
        target: &Target,
        last: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> Fetch {
        if last.is_some_and(|generated| now - generated < aws::report::RENEWAL) {
            return Fetch::default();
        }
        let account_id = match timeout_at(deadline, self.account_id(target)).await {
            Ok(Ok(id)) => Some(id),
            Ok(Err(failure)) => return failure.into(),
            Err(_) => return Failure::late().into(),
        };
        let clients = self.hub.clients(&target.access).await;
        let aws::report::Answer { report, failure } =
            aws::report::fetch(&clients, now, deadline).await;
        Fetch { account_id, report, failure }
    }

    pub(super) async fn keys(
        &self,
        target: &Target,
        user: &str,
    ) -> Result<Option<Vec<ListedKey>>, Failure> {
        aws::confirm::keys(&self.hub.clients(&target.access).await, user).await
    }

    pub(super) async fn tags(
        &self,
        target: &Target,
        keys: &BTreeSet<String>,
    ) -> Result<Tags, Failure> {
        aws::details::tags(&self.hub.clients(&target.access).await, keys).await
    }

    pub(super) async fn alias(&self, target: &Target) -> Result<Option<String>, Failure> {
        aws::details::alias(&self.hub.clients(&target.access).await).await
    }

    /// The account that the credentials lead to. That of a role stands in its ARN.
    async fn account_id(&self, target: &Target) -> Result<String, Failure> {
        if target.access.role.is_some() {
            return Ok(target.id.clone());
        }
        let base = self.hub.base(&target.access).await;
        match base.account_id().await? {
            id if target.id == UNKNOWN_ACCOUNT || target.id == id => Ok(id.to_owned()),
            id => {
                let message = format!("the credentials are of account {id}, not of {}", target.id);
                Err(Failure::new(Reason::Credentials, message))
            }
        }
    }
}

fn listed(account: &ListedAccount) -> Target {
    let ListedAccount { id, name, access } = account.clone();
    Target { key: id.clone(), id, name, access }
}

/// The account of the default credentials.
fn own() -> Target {
    Target {
        key: "default credentials".to_owned(),
        id: UNKNOWN_ACCOUNT.to_owned(),
        name: String::new(),
        access: Access::default(),
    }
}
