//! Credentials: where the base ones come from, and the roles that are assumed with them.
//!
//! A role is always assumed with base credentials, never with those of another role, by one STS client
//! for all: so the base credentials are looked for once and not once for each account.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_iam::config::IdentityCache;
use aws_sdk_sts::config::retry::{RetryPartition, TokenBucket};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::slots::Slots;
use super::{Clients, CountRequests, TIMEOUTS, Timeouts, base_config, errors, time_limits};
use crate::config::{Access, Role};
use crate::metrics::own::AwsRequests;
use crate::source::Failure;
use crate::state::Reason;

/// Gives each account its clients.
#[derive(Debug)]
pub struct Hub {
    count: CountRequests,
    slots: Arc<Slots>,
    /// Instead of what the default chains find.
    given: Option<SdkConfig>,
    bases: Mutex<HashMap<BaseKey, Arc<OnceCell<Base>>>>,
    clients: Mutex<HashMap<Access, Clients>>,
}

/// A profile, or the default chain; and the region where that has none.
type BaseKey = (Option<String>, &'static str);

/// Base credentials, and who they are.
#[derive(Debug, Clone)]
pub struct Base {
    pub(super) config: SdkConfig,
    sts: aws_sdk_sts::Client,
    slots: Arc<Slots>,
    account_id: Arc<OnceCell<String>>,
    found: Instant,
}

/// Credentials are renewed when they end within this time.
const RENEW_BEFORE_END: Duration = Duration::from_secs(60);

/// Those of calls to STS. They end before the try of the call that waits for credentials, so that it is
/// told what was waited for.
const STS_TIMEOUTS: Timeouts =
    Timeouts { attempt: Duration::from_secs(5), call: Duration::from_secs(15) };

/// Base credentials that do not work are not looked for more often.
const LEAST_AGE: Duration = Duration::from_secs(30);

impl Hub {
    /// With at most `concurrency` calls at the same time, each counted in `requests`.
    pub fn new(given: Option<SdkConfig>, requests: AwsRequests, concurrency: usize) -> Hub {
        Hub {
            count: CountRequests(requests),
            slots: Arc::new(Slots::new(concurrency)),
            given,
            bases: Mutex::default(),
            clients: Mutex::default(),
        }
    }

    /// Waits until a refresh may begin.
    pub async fn begin(&self) {
        self.slots.begin().await;
    }

    /// The base credentials of an account. Looks for them at the first call, since that can take
    /// seconds; that there are none shows when they are used.
    pub async fn base(&self, access: &Access) -> Base {
        let key = base_key(access);
        let base = lock(&self.bases).entry(key.clone()).or_default().clone();
        let new = || async {
            let config = match &self.given {
                Some(given) => given.clone(),
                None => base_config(key.0.as_deref(), key.1).await,
            };
            let sts = aws_sdk_sts::config::Builder::from(&config)
                .timeout_config(time_limits(STS_TIMEOUTS))
                // Roles that may not be assumed take no retries from the others.
                .retry_partition(
                    RetryPartition::custom("sts").token_bucket(TokenBucket::unlimited()).build(),
                )
                .interceptor(self.count.clone());
            Base {
                sts: aws_sdk_sts::Client::from_conf(sts.build()),
                config,
                slots: self.slots.clone(),
                account_id: Arc::default(),
                found: Instant::now(),
            }
        };
        base.get_or_init(new).await.clone()
    }

    /// The clients of an account; the same each time, with the credentials that they have.
    pub async fn clients(&self, access: &Access) -> Clients {
        if let Some(clients) = lock(&self.clients).get(access) {
            return clients.clone();
        }
        let base = self.base(access).await;
        let config = match &access.role {
            Some(role) => base.assuming(role),
            None => base.config,
        };
        let clients = Clients::new(&config, self.count.clone(), self.slots.clone());
        lock(&self.clients).entry(access.clone()).or_insert(clients).clone()
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

    /// Forgets the base credentials of an account, and all clients that have them, if they do not
    /// work: what the SDK read of a profile it keeps for good, even if that was broken. Tells whether
    /// there is something to be found anew.
    pub async fn forget_broken(&self, access: &Access) -> bool {
        let base = self.base(access).await;
        if base.found.elapsed() < LEAST_AGE {
            return false;
        }
        match base.ask_account_id().await {
            Err(failure) if failure.reason == Reason::Credentials => {}
            _ => return false,
        }
        let key = base_key(access);
        let mut bases = lock(&self.bases);
        let is_same =
            |cell: &OnceCell<Base>| cell.get().is_some_and(|kept| kept.found == base.found);
        // Another account may have done so meanwhile.
        if bases.get(&key).is_some_and(|cell| is_same(cell)) {
            bases.remove(&key);
            lock(&self.clients).retain(|access, _| base_key(access) != key);
        }
        true
    }

    /// Forgets the clients of accounts that are gone.
    pub fn retain(&self, accesses: &HashSet<&Access>) {
        lock(&self.clients).retain(|access, _| accesses.contains(access));
    }
}

impl Base {
    /// The account of the credentials: 12 digits. Needs no permission.
    pub async fn account_id(&self) -> Result<&str, Failure> {
        self.account_id.get_or_try_init(|| self.ask_account_id()).await.map(String::as_str)
    }

    async fn ask_account_id(&self) -> Result<String, Failure> {
        match self.slots.call(self.sts.get_caller_identity().send()).await {
            Ok(identity) => identity.account.ok_or_else(|| {
                Failure::new(Reason::ServiceError, "GetCallerIdentity named no account")
            }),
            Err(error) => Err(errors::failure("GetCallerIdentity", &error)),
        }
    }

    /// The same configuration with the credentials of a role, which it caches for itself.
    fn assuming(&self, role: &Role) -> SdkConfig {
        let provider = AssumedRole { sts: self.sts.clone(), role: role.clone() };
        let cache = IdentityCache::lazy()
            .buffer_time(RENEW_BEFORE_END)
            // The call has time limits of its own, which say more.
            .load_timeout(TIMEOUTS.call);
        let mut config = self.config.clone().into_builder();
        config.set_credentials_provider(Some(SharedCredentialsProvider::new(provider)));
        config.set_identity_cache(Some(cache.build()));
        config.region(super::signing_region(&self.config, Some(role.arn.partition()))).build()
    }
}

/// Gives the credentials of a role.
#[derive(Debug)]
struct AssumedRole {
    sts: aws_sdk_sts::Client,
    role: Role,
}

impl AssumedRole {
    async fn assume(&self) -> Result<Credentials, Failure> {
        let call = self
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

fn base_key(access: &Access) -> BaseKey {
    let partition = access.role.as_ref().map_or("aws", |role| role.arn.partition());
    (access.profile.clone(), default_region(partition))
}

/// The region of a partition where none is configured.
fn default_region(partition: &str) -> &'static str {
    match partition {
        "aws-cn" => "cn-north-1",
        "aws-us-gov" => "us-gov-west-1",
        _ => "us-east-1",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
