//! Clients: those of each account, with its role's credentials.
//!
//! A role is always assumed with base credentials, never with those of another role.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_iam::config::IdentityCache;
use tokio::time::Instant;

use super::base::{Base, Bases, Key, LEAST_AGE};
use super::slots::Slots;
use super::{CALL_TIMEOUT, Clients, CountRequests, errors, lock};
use crate::config::{Access, Role};
use crate::metrics::own::AwsRequests;
use crate::source::Failure;
use crate::state::Reason;

/// Gives each account its clients.
#[derive(Debug)]
pub struct Hub {
    count: CountRequests,
    slots: Arc<Slots>,
    bases: Arc<Bases>,
    /// With the moment since which they are there.
    clients: Mutex<HashMap<Access, (Clients, Instant)>>,
}

/// Credentials are renewed when they end within this time.
const RENEW_BEFORE_END: Duration = Duration::from_secs(60);

impl Hub {
    /// With at most `concurrency` calls at the same time, each counted in `requests`; and with `given`
    /// instead of what the SDK's chains find.
    pub fn new(given: Option<SdkConfig>, requests: AwsRequests, concurrency: usize) -> Hub {
        let count = CountRequests(requests);
        let slots = Arc::new(Slots::new(concurrency));
        let bases = Arc::new(Bases::new(given, count.clone(), slots.clone()));
        Hub { count, slots, bases, clients: Mutex::default() }
    }

    /// Waits until a refresh may begin.
    pub async fn begin(&self) {
        self.slots.begin().await;
    }

    /// The base credentials of an account.
    pub async fn base(&self, access: &Access) -> Base {
        self.bases.get(&Key::of(access)).await
    }

    /// The clients of an account; the same each time, with the credentials that they have.
    pub async fn clients(&self, access: &Access) -> Clients {
        if let Some((clients, _)) = lock(&self.clients).get(access) {
            return clients.clone();
        }
        let base = self.base(access).await;
        let config = match &access.role {
            Some(role) => self.assuming(role, base, Key::of(access)),
            None => base.config,
        };
        let clients = Clients::new(&config, self.count.clone(), self.slots.clone());
        let mut all = lock(&self.clients);
        all.entry(access.clone()).or_insert((clients, Instant::now())).0.clone()
    }

    /// The same configuration with the credentials of a role, which it caches for itself.
    fn assuming(&self, role: &Role, base: Base, key: Key) -> SdkConfig {
        let provider = AssumedRole { bases: self.bases.clone(), base: key, role: role.clone() };
        let cache = IdentityCache::lazy()
            .buffer_time(RENEW_BEFORE_END)
            // The call has time limits of its own, which say more.
            .load_timeout(CALL_TIMEOUT);
        let region = super::signing_region(&base.config, Some(role.arn.partition()));
        let mut config = base.config.into_builder();
        config.set_credentials_provider(Some(SharedCredentialsProvider::new(provider)));
        config.set_identity_cache(Some(cache.build()));
        config.region(region).build()
    }

    /// A client of Organizations, with the default credentials.
    pub(super) async fn organizations(&self) -> aws_sdk_organizations::Client {
        let base = self.base(&Access::default()).await;
        let config = aws_sdk_organizations::config::Builder::from(&base.config)
            .region(super::signing_region(&base.config, None))
            .interceptor(self.count.clone());
        aws_sdk_organizations::Client::from_conf(config.build())
    }

    /// Makes a call once there is a slot.
    pub(super) async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        self.slots.call(call).await
    }

    /// Forgets the clients of accounts that are gone.
    pub fn retain(&self, accesses: &HashSet<&Access>) {
        lock(&self.clients).retain(|access, _| accesses.contains(access));
    }

    /// Looks for base credentials again, when they are next needed. Those of roles stay until they
    /// end.
    pub fn look_again(&self) {
        self.bases.forget();
        lock(&self.clients).retain(|access, _| access.role.is_some());
    }

    /// After credentials of an account did not work: forgets them, and those of the base if it is to
    /// blame. `account` is whose they should be, where there is no role. Whether it is worth to try
    /// once more.
    pub async fn renew(&self, access: &Access, account: Option<&str>) -> bool {
        let forgotten = lock(&self.clients).remove(access);
        let had_old = forgotten.is_some_and(|(_, since)| since.elapsed() >= LEAST_AGE);
        let account = account.filter(|_| access.role.is_none());
        self.bases.forget_broken(&Key::of(access), account).await || had_old
    }
}

/// Gives the credentials of a role.
#[derive(Debug)]
struct AssumedRole {
    bases: Arc<Bases>,
    base: Key,
    role: Role,
}

impl AssumedRole {
    async fn assume(&self) -> Result<Credentials, Failure> {
        let base = self.bases.get(&self.base).await;
        let call = base
            .sts
            .assume_role()
            .role_arn(self.role.arn.as_str())
            .role_session_name(session_name())
            .set_external_id(self.role.external_id.clone());
        let output = call.send().await.map_err(|error| errors::failure("AssumeRole", &error))?;
        let credentials = output.credentials.ok_or_else(|| {
            Failure::new(Reason::ServiceError, "AssumeRole: an answer without credentials")
        })?;
        Ok(Credentials::new(
            credentials.access_key_id,
            credentials.secret_access_key,
            Some(credentials.session_token),
            SystemTime::try_from(credentials.expiration).ok(),
            "AssumeRole",
        ))
    }
}

impl ProvideCredentials for AssumedRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.assume().await.map_err(CredentialsError::provider_error)
        })
    }
}

/// Tells in the account's CloudTrail who it was: the program, and the host on which it runs.
fn session_name() -> String {
    let host = hostname::get().unwrap_or_default();
    let is_allowed = |c: &char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(*c);
    let name: String = "iam-key-exporter@"
        .chars()
        .chain(host.to_string_lossy().chars().filter(is_allowed))
        .take(64)
        .collect();
    name.trim_end_matches('@').to_owned()
}
