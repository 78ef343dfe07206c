//! Reports from AWS: of the accounts that the configuration lists, of an organization, or of the
//! default credentials. The AWS SDK is named in this folder alone, and only calls that read are made.

pub mod access_keys;
pub mod call_limit;
pub mod clients;
pub mod credential_report;
pub mod credentials;
pub mod details;
pub mod errors;
pub mod organization;
pub mod sdk;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::info;

use super::target::{Discovered, FetchResult, Target, is_good};
use crate::config::{Access, Config, ListedAccount, Organization};
use crate::confirmation::ListedKey;
use crate::failure::{Failure, Reason};
use crate::metrics::exporter::AwsRequests;
use crate::state::{Tags, UNKNOWN_ACCOUNT};
use clients::{AccountClient, Clients};
use organization::Member;
use sdk::SdkConfig;

/// AWS.
#[derive(Debug)]
pub struct Aws {
    clients: Clients,
    /// The organization's accounts as they were last found, by their ids.
    members: Mutex<Option<BTreeMap<String, Member>>>,
}

/// An organization's accounts change now and then.
pub const DISCOVERY_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// The time limit of looking for accounts.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(120);

impl Aws {
    /// Makes at most `concurrency` calls at the same time, and counts each in `requests`.
    pub fn new(requests: AwsRequests, concurrency: usize) -> Aws {
        Aws { clients: Clients::new(None, requests, concurrency), members: Mutex::default() }
    }

    /// The same with this configuration instead of the one that the SDK's chains find.
    pub fn with_config(config: &SdkConfig, requests: AwsRequests, concurrency: usize) -> Aws {
        let given = Some(config.clone());
        Aws { clients: Clients::new(given, requests, concurrency), members: Mutex::default() }
    }

    /// Asks for the accounts of the organization, if the configuration has one.
    pub(super) async fn discover(&self, config: &Config) -> Result<(), Failure> {
        if config.organization.is_none() {
            return Ok(());
        }
        let base = Access::default();
        let members = |_| organization::members(&self.clients);
        let found = timeout(DISCOVERY_TIMEOUT, self.ask(&base, members)).await;
        let found = found.unwrap_or_else(|_| Err(Failure::deadline()))?;
        info!(active = found.len(), "accounts of the organization found");
        let by_id = found.into_iter().map(|member| (member.id.clone(), member)).collect();
        *self.members() = Some(by_id);
        Ok(())
    }

    /// Those that are listed, and those of the organization that are not.
    pub(super) fn known(&self, config: &Config) -> Discovered {
        let Config { accounts, organization, .. } = config;
        let members = self.members();
        let mut targets: Vec<Target> = accounts.iter().map(target_of_listed).collect();
        let mut known = Discovered { is_all: true, ..Discovered::default() };
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
                targets.extend(others.map(|member| target_of_member(member, organization)));
                known.is_all = members.is_some();
                known.excluded.clone_from(&organization.exclude);
            }
            None if targets.is_empty() => targets.push(default_target()),
            None => {}
        }
        Discovered { targets, ..known }
    }

    fn members(&self) -> MutexGuard<'_, Option<BTreeMap<String, Member>>> {
        self.members.lock().expect("nothing panics while it is locked")
    }

    pub(super) fn forget_credentials(&self) {
        self.clients.forget_credentials();
    }

    pub(super) fn retain(&self, accesses: &HashSet<&Access>) {
        self.clients.retain(accesses);
    }

    pub(super) async fn admit(&self) {
        self.clients.admit().await;
    }

    /// A report that is younger than four hours is still good: AWS would give the same again.
    pub(super) async fn fetch(
        &self,
        target: &Target,
        last: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> FetchResult {
        if last.is_some_and(|generated| is_good(generated, now)) {
            return FetchResult::default();
        }
        let mut fetch = Box::pin(self.report(target, now, deadline)).await;
        if is_about_credentials(fetch.failure.as_ref()) {
            let id = Some(target.id.as_str()).filter(|id| *id != UNKNOWN_ACCOUNT);
            let renewed = timeout_at(deadline, self.clients.renew(&target.access, id)).await;
            if renewed.unwrap_or_default() {
                fetch = Box::pin(self.report(target, now, deadline)).await;
            }
        }
        fetch.failure = fetch.failure.map(|failure| with_profile_name(failure, &target.access));
        fetch
    }

    async fn report(&self, target: &Target, now: DateTime<Utc>, deadline: Instant) -> FetchResult {
        let client = async {
            let account_id = self.account_id(target).await?;
            Ok((account_id, self.clients.get(&target.access).await))
        };
        let client = timeout_at(deadline, client).await;
        match client.unwrap_or_else(|_| Err(Failure::deadline())) {
            Ok((account_id, client)) => {
                let fetched = credential_report::fetch(&client, now, deadline).await;
                FetchResult { account_id: Some(account_id), ..fetched }
            }
            Err(failure) => failure.into(),
        }
    }

    pub(super) async fn keys(
        &self,
        target: &Target,
        user: &str,
    ) -> Result<Option<Vec<ListedKey>>, Failure> {
        let keys = |client| async move { access_keys::keys(&client, user).await };
        self.ask(&target.access, keys).await
    }

    pub(super) async fn tags(
        &self,
        target: &Target,
        keys: &BTreeSet<String>,
    ) -> Result<Tags, Failure> {
        let tags = |client| async move { details::tags(&client, keys).await };
        self.ask(&target.access, tags).await
    }

    pub(super) async fn alias(&self, target: &Target) -> Result<Option<String>, Failure> {
        let alias = |client| async move { details::alias(&client).await };
        self.ask(&target.access, alias).await
    }

    /// Asks with the client of an account. If its credentials do not work and there may be others by
    /// now, asks once more.
    async fn ask<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        access: &Access,
        question: impl Fn(AccountClient) -> F,
    ) -> Result<T, Failure> {
        // On the heap: the compiler refuses futures that are nested too deeply.
        let mut answer = Box::pin(question(self.clients.get(access).await)).await;
        if is_about_credentials(answer.as_ref().err()) && self.clients.renew(access, None).await {
            answer = Box::pin(question(self.clients.get(access).await)).await;
        }
        answer.map_err(|failure| with_profile_name(failure, access))
    }

    /// The account that the credentials lead to. That of a role is in its ARN.
    async fn account_id(&self, target: &Target) -> Result<String, Failure> {
        if target.access.role.is_some() {
            return Ok(target.id.clone());
        }
        let base = self.clients.base(&target.access).await;
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

fn with_profile_name(mut failure: Failure, access: &Access) -> Failure {
    if let Some(profile) = &access.profile {
        failure.message.insert_str(0, &format!("profile {profile}: "));
    }
    failure
}

fn target_of_listed(account: &ListedAccount) -> Target {
    let ListedAccount { id, name, access } = account.clone();
    Target { key: id.clone(), id, name, access }
}

fn target_of_member(member: &Member, organization: &Organization) -> Target {
    let Member { id, name, .. } = member.clone();
    Target { key: id.clone(), id, name, access: member.access(organization) }
}

/// The account of the default credentials.
fn default_target() -> Target {
    Target {
        key: "default credentials".to_owned(),
        id: UNKNOWN_ACCOUNT.to_owned(),
        name: String::new(),
        access: Access::default(),
    }
}
