//! Reports from AWS: of the accounts that the configuration lists, of an organization, or of the
//! default credentials.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::info;

use super::{Failure, Fetch, Known, Target};
use crate::aws::hub::Hub;
use crate::aws::organization::{self, Member};
use crate::aws::{self, SdkConfig};
use crate::config::{Access, Config, ListedAccount, Organization};
use crate::confirm::ListedKey;
use crate::metrics::own::AwsRequests;
use crate::state::{Reason, Tags, UNKNOWN_ACCOUNT};

/// AWS.
#[derive(Debug)]
pub struct Aws {
    hub: Hub,
    /// The organization's accounts as they were last found, by their ids.
    members: Mutex<Option<BTreeMap<String, Member>>>,
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

    /// Asks for the accounts of the organization, where the configuration has one.
    pub(super) async fn discover(&self, config: &Config) -> Result<(), Failure> {
        if config.organization.is_none() {
            return Ok(());
        }
        let members = || async {
            let found = timeout(LISTING_TIMEOUT, organization::members(&self.hub)).await;
            found.unwrap_or_else(|_| Err(Failure::late()))
        };
        let mut found = members().await;
        if is_about_credentials(found.as_ref().err())
            && self.hub.forget_broken(&Access::default()).await
        {
            found = members().await;
        }
        let found = found?;
        info!(active = found.len(), "accounts of the organization found");
        let by_id = found.into_iter().map(|member| (member.id.clone(), member)).collect();
        *self.members() = Some(by_id);
        Ok(())
    }

    /// Those that are listed, and those of the organization that are not.
    pub(super) fn known(&self, config: &Config) -> Known {
        let Config { accounts, organization, .. } = config;
        let members = self.members();
        let mut targets: Vec<Target> = accounts.iter().map(listed).collect();
        let mut is_all = true;
        match organization {
            Some(organization) => {
                for target in targets.iter_mut().filter(|target| target.name.is_empty()) {
                    if let Some(member) = members.as_ref().and_then(|all| all.get(&target.id)) {
                        target.name.clone_from(&member.name);
                    }
                }
                let ids: BTreeSet<&String> = accounts.iter().map(|account| &account.id).collect();
                let others = members.iter().flatten().map(|(_, member)| member).filter(|member| {
                    !ids.contains(&member.id) && !organization.exclude.contains(&member.id)
                });
                targets.extend(others.map(|member| found(member, organization)));
                is_all = members.is_some();
            }
            None if targets.is_empty() => targets.push(own()),
            None => {}
        }
        Known { targets, is_all }
    }

    fn members(&self) -> MutexGuard<'_, Option<BTreeMap<String, Member>>> {
        // Nothing that can panic runs while it is held.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn retain(&self, accesses: &HashSet<&Access>) {
        self.hub.retain(accesses);
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
        let mut fetch = self.report(target, now, deadline).await;
        if is_about_credentials(fetch.failure.as_ref()) {
            let forgotten = timeout_at(deadline, self.hub.forget_broken(&target.access)).await;
            if forgotten == Ok(true) {
                fetch = self.report(target, now, deadline).await;
            }
        }
        if let (Some(failure), Some(profile)) = (&mut fetch.failure, &target.access.profile) {
            failure.message.insert_str(0, &format!("profile {profile}: "));
        }
        fetch
    }

    async fn report(&self, target: &Target, now: DateTime<Utc>, deadline: Instant) -> Fetch {
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

fn is_about_credentials(failure: Option<&Failure>) -> bool {
    failure.is_some_and(|failure| failure.reason == Reason::Credentials)
}

fn listed(account: &ListedAccount) -> Target {
    let ListedAccount { id, name, access } = account.clone();
    Target { key: id.clone(), id, name, access }
}

fn found(member: &Member, organization: &Organization) -> Target {
    let Member { id, name, .. } = member.clone();
    Target { key: id.clone(), id, name, access: member.access(organization) }
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
