//! Reports from AWS: of the accounts that the configuration lists, of an organization, or of the
//! default credentials. The AWS SDK is named in this folder alone, and only calls that read are made.

pub mod access_keys;
mod answers;
pub mod call_limit;
pub mod clients;
pub mod credential_process;
pub mod credential_report;
pub mod credentials;
pub mod details;
pub mod environment;
pub mod errors;
pub mod http;
pub mod organization;
pub mod pages;
pub mod profiles;
pub mod providers;
pub mod sdk;
pub mod service_credentials;
pub mod tokens;
pub mod turns;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::target::{Discovered, FetchResult, Target, is_good};
use crate::clock::Clock;
use crate::config::{Access, Config, ListedAccount, Organization};
use crate::confirmation::ListedKey;
use crate::evidence::{AccountSummary, PasswordPolicy};
use crate::failure::{Failure, Reason};
use crate::metrics::exporter::AwsRequests;
use crate::service_credentials::{CredentialList, ServiceCredentials};
use crate::state::{Tags, UNKNOWN_ACCOUNT};
use clients::{AccountClient, Clients};
use organization::{Listing, Member};
use sdk::{CountRequests, SdkConfig};

/// AWS.
#[derive(Debug)]
pub struct Aws {
    clients: Clients,
    requests: AwsRequests,
    clock: Clock,
    /// The organization's accounts as they were last found, by their ids.
    members: Mutex<Option<BTreeMap<String, Member>>>,
    /// The accounts of a much shorter list that is not accepted yet, and since when.
    shorter: Mutex<Option<(Instant, BTreeSet<String>)>>,
    /// The progress of a listing. If it fails, the next one continues.
    listing: Mutex<Listing>,
}

/// An organization's accounts change now and then.
pub const DISCOVERY_INTERVAL: Duration = Duration::from_secs(60 * 60);

impl Aws {
    /// Makes at most `concurrency` calls at the same time, and counts each in `requests`.
    pub fn new(requests: AwsRequests, concurrency: usize) -> Aws {
        Aws::new_with(None, Clock::system(), requests, concurrency)
    }

    /// The same with this configuration instead of the one that the SDK's chains find.
    /// AWS's answers correct the clock.
    pub fn with_config(
        config: &SdkConfig,
        clock: Clock,
        requests: AwsRequests,
        concurrency: usize,
    ) -> Aws {
        Aws::new_with(Some(config.clone()), clock, requests, concurrency)
    }

    fn new_with(
        given: Option<SdkConfig>,
        clock: Clock,
        requests: AwsRequests,
        concurrency: usize,
    ) -> Aws {
        let count = CountRequests::new(requests.clone(), clock.clone());
        let clients = Clients::new(given, count, concurrency);
        Aws {
            clients,
            clock,
            requests,
            members: Mutex::default(),
            shorter: Mutex::default(),
            listing: Mutex::default(),
        }
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// By how much our clock is ahead of AWS's, as of the last answer.
    pub(super) fn clock_skew(&self) -> Option<TimeDelta> {
        self.requests.clock_skew()
    }

    /// Asks for the accounts of the organization, if the configuration has one.
    pub(super) async fn discover(&self, config: &Config) -> Result<(), Failure> {
        if config.organization.is_none() {
            *self.members() = None;
            return Ok(());
        }
        let found = organization::members(&self.clients, &self.listing).await?;
        let found: BTreeMap<String, Member> =
            found.into_iter().map(|member| (member.id.clone(), member)).collect();
        self.compare(&found)?;
        info!(active = found.len(), "accounts of the organization found");
        *self.members() = Some(found);
        Ok(())
    }

    /// Fails if this list of accounts lacks more than half of those that are known. Another
    /// organization's list is never accepted then. A list of the same organization is accepted if
    /// it is still short at the next regular listing.
    fn compare(&self, found: &BTreeMap<String, Member>) -> Result<(), Failure> {
        let known = self.members();
        let mut shorter = self.shorter.lock().expect("nothing panics while it is locked");
        let before = shorter.take();
        let Some(known) = known.as_ref() else { return Ok(()) };
        let kept = known.keys().filter(|id| found.contains_key(*id)).count();
        if kept * 2 >= known.len() {
            return Ok(());
        }
        let counts = format!("{kept} of the {} accounts that are known", known.len());
        let organization = |members: &BTreeMap<String, Member>| {
            members.values().next().map(|member| member.organization().to_owned())
        };
        let (before_id, id) = (organization(known), organization(found));
        if before_id != id {
            let id = id.unwrap_or_default();
            let message = format!(
                "the default credentials are of the organization {id} now, which has {counts}: restart \
                 the exporter if that is meant"
            );
            return Err(Failure::new(Reason::Credentials, message));
        }
        let ids: BTreeSet<String> = found.keys().cloned().collect();
        let agrees = |other: &BTreeSet<String>| other.intersection(&ids).count() * 2 > other.len();
        let since = match before {
            Some((since, other)) if agrees(&other) => since,
            _ => Instant::now(),
        };
        if since.elapsed() >= DISCOVERY_INTERVAL {
            return Ok(());
        }
        *shorter = Some((since, ids));
        let message =
            format!("the list has {counts}: it is accepted if that is still so in an hour");
        Err(Failure::new(Reason::ServiceError, message))
    }

    /// Those that are listed, and those of the organization that are not.
    pub(super) fn known(&self, config: &Config) -> Discovered {
        let Config { accounts, organization, .. } = config;
        let members = self.members();
        let mut targets: Vec<Target> = accounts.iter().map(target_of_listed).collect();
        let origin = match organization {
            Some(_) => "the organization or the configuration",
            None if targets.is_empty() => "the default credentials",
            None => "the configuration",
        };
        let mut known = Discovered { is_all: true, origin, ..Discovered::default() };
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

    pub(super) fn forget_credentials_of(&self, target: &Target) {
        self.clients.forget(&target.access);
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
        let client = match timeout_at(deadline, self.clients.get(&target.access)).await {
            Ok(client) => client,
            Err(_) => return Failure::deadline("loading credentials").into(),
        };
        let fetched = Box::pin(credential_report::fetch(&client, now, deadline)).await;
        let failure = fetched.failure.map(|failure| with_profile_name(failure, &target.access));
        FetchResult { failure, ..fetched }
    }

    pub(super) async fn keys(
        &self,
        target: &Target,
        user: &str,
    ) -> Result<Option<Vec<ListedKey>>, Failure> {
        let keys = |client| async move { access_keys::keys(&client, user).await };
        self.ask(&target.access, keys).await
    }

    pub(super) async fn users(
        &self,
        target: &Target,
        keys: &BTreeSet<String>,
    ) -> Result<(Tags, BTreeMap<String, bool>), Failure> {
        let users = |client| async move { details::users(&client, keys).await };
        self.ask(&target.access, users).await
    }

    pub(super) async fn summary(&self, target: &Target) -> Result<AccountSummary, Failure> {
        let summary = |client| async move { details::summary(&client).await };
        self.ask(&target.access, summary).await
    }

    pub(super) async fn password_policy(
        &self,
        target: &Target,
    ) -> Result<Option<PasswordPolicy>, Failure> {
        let policy = |client| async move { details::password_policy(&client).await };
        self.ask(&target.access, policy).await
    }

    pub(super) async fn root_virtual_mfa(&self, target: &Target) -> Result<bool, Failure> {
        let devices = |client| async move { details::root_virtual_mfa(&client).await };
        self.ask(&target.access, devices).await
    }

    pub(super) async fn alias(&self, target: &Target) -> Result<Option<String>, Failure> {
        let alias = |client| async move { details::alias(&client).await };
        self.ask(&target.access, alias).await
    }

    pub(super) async fn service_credentials(
        &self,
        target: &Target,
        known: &ServiceCredentials,
    ) -> Result<Option<CredentialList>, Failure> {
        let list =
            |client| async move { service_credentials::service_credentials(&client, known).await };
        self.ask(&target.access, list).await
    }

    /// Asks with the client of an account.
    async fn ask<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        access: &Access,
        question: impl FnOnce(AccountClient) -> F,
    ) -> Result<T, Failure> {
        // On the heap: the compiler refuses futures that are nested too deeply.
        let answer = Box::pin(question(self.clients.get(access).await)).await;
        answer.map_err(|failure| with_profile_name(failure, access))
    }

    /// The account that the credentials belong to, by a call: the proof that they work, and that they
    /// are those of the account that the configuration means.
    pub(super) async fn account_id(&self, target: &Target) -> Result<String, Failure> {
        let identity = |client: AccountClient| async move { client.account_id().await };
        match self.ask(&target.access, identity).await? {
            id if target.id == UNKNOWN_ACCOUNT || target.id == id => Ok(id),
            id => {
                let message =
                    format!("the credentials belong to account {id}, not to {}", target.id);
                let failure = Failure::new(Reason::Credentials, message);
                Err(with_profile_name(failure, &target.access))
            }
        }
    }
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
