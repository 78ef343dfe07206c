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
use crate::aws::{self, Clients, SdkConfig};
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
        let base = Access::default();
        let members = |_| organization::members(&self.hub);
        let found = self.ask(&base, members);
        let found =
            timeout(LISTING_TIMEOUT, found).await.unwrap_or_else(|_| Err(Failure::late()))?;
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
        let mut known = Known { is_all: true, ..Known::default() };
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
                known.is_all = members.is_some();
                known.excluded.clone_from(&organization.exclude);
            }
            None if targets.is_empty() => targets.push(own()),
            None => {}
        }
        Known { targets, ..known }
    }

    fn members(&self) -> MutexGuard<'_, Option<BTreeMap<String, Member>>> {
        // Nothing that can panic runs while it is held.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn look_again(&self) {
        self.hub.look_again();
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
        let mut fetch = Box::pin(self.report(target, now, deadline)).await;
        if is_about_credentials(fetch.failure.as_ref()) {
            let id = Some(target.id.as_str()).filter(|id| *id != UNKNOWN_ACCOUNT);
            let renewed = timeout_at(deadline, self.hub.renew(&target.access, id)).await;
            if renewed.unwrap_or_default() {
                fetch = Box::pin(self.report(target, now, deadline)).await;
            }
        }
        fetch.failure = fetch.failure.map(|failure| told(failure, &target.access));
        fetch
    }

    async fn report(&self, target: &Target, now: DateTime<Utc>, deadline: Instant) -> Fetch {
        let clients = async {
            let account_id = self.account_id(target).await?;
            Ok((account_id, self.hub.clients(&target.access).await))
        };
        let clients = timeout_at(deadline, clients).await;
        match clients.unwrap_or_else(|_| Err(Failure::late())) {
            Ok((account_id, clients)) => {
                let aws::report::Answer { report, failure } =
                    aws::report::fetch(&clients, now, deadline).await;
                Fetch { account_id: Some(account_id), report, failure }
            }
            Err(failure) => failure.into(),
        }
    }

    pub(super) async fn keys(
        &self,
        target: &Target,
        user: &str,
    ) -> Result<Option<Vec<ListedKey>>, Failure> {
        let keys = |clients| async move { aws::confirm::keys(&clients, user).await };
        self.ask(&target.access, keys).await
    }

    pub(super) async fn tags(
        &self,
        target: &Target,
        keys: &BTreeSet<String>,
    ) -> Result<Tags, Failure> {
        let tags = |clients| async move { aws::details::tags(&clients, keys).await };
        self.ask(&target.access, tags).await
    }

    pub(super) async fn alias(&self, target: &Target) -> Result<Option<String>, Failure> {
        let alias = |clients| async move { aws::details::alias(&clients).await };
        self.ask(&target.access, alias).await
    }

    /// Asks with the clients of an account; where its credentials do not work and there may be others
    /// by now, once more.
    async fn ask<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        access: &Access,
        question: impl Fn(Clients) -> F,
    ) -> Result<T, Failure> {
        // On the heap: the compiler refuses futures that are nested too deeply.
        let mut answer = Box::pin(question(self.hub.clients(access).await)).await;
        if is_about_credentials(answer.as_ref().err()) && self.hub.renew(access, None).await {
            answer = Box::pin(question(self.hub.clients(access).await)).await;
        }
        answer.map_err(|failure| told(failure, access))
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

/// With the profile that it is about.
fn told(mut failure: Failure, access: &Access) -> Failure {
    if let Some(profile) = &access.profile {
        failure.message.insert_str(0, &format!("profile {profile}: "));
    }
    failure
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
