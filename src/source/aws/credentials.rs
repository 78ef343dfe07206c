//! Base credentials with their account, and roles that are assumed with them.
//!
//! A role is always assumed with base credentials, never with those of another role.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::config::IdentityCache;
use aws_sdk_sts::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::call_limit::CallLimit;
use super::sdk::{CALL_TIMEOUT, CountRequests, Operation, signing_region};
use super::{environment, errors, http, providers};
use crate::config::{Access, Role, is_account_id};
use crate::failure::{Failure, Reason};
use crate::secrets;

/// Base credentials, each looked for once and not once for each account that they lead to.
#[derive(Debug)]
pub struct CredentialCache {
    /// Replaces the SDK's chains, if given.
    given: Option<SdkConfig>,
    /// Shared by all credentials without their own certificates.
    http: OnceCell<SharedHttpClient>,
    count: CountRequests,
    limit: Arc<CallLimit>,
    by_key: Mutex<HashMap<CredentialKey, Arc<OnceCell<BaseCredentials>>>>,
}

/// A profile, or the default chain, and the region if the profile has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CredentialKey {
    profile: Option<String>,
    default_region: &'static str,
}

/// Base credentials, and whose they are.
#[derive(Debug, Clone)]
pub struct BaseCredentials {
    pub(super) config: SdkConfig,
    pub(super) sts: aws_sdk_sts::Client,
    limit: Arc<CallLimit>,
    account_id: Arc<OnceCell<String>>,
    found: Instant,
}

/// The time limits of connecting to STS and of its answer. They do not cover the search for base
/// credentials, which may need a program or a sign-on service.
const STS_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// A call to STS ends before the attempt of the call that waits for its credentials, so that the
/// failure names STS.
const STS_TIMEOUT: Duration = Duration::from_secs(18);
/// Failed credentials are loaded again at most this often.
const MIN_CREDENTIAL_AGE: Duration = Duration::from_secs(30);
/// A role's credentials are renewed when they end within this time.
const RENEW_BEFORE_END: Duration = Duration::from_secs(60);

impl CredentialKey {
    /// The key of the base credentials for an account.
    pub fn of(access: &Access) -> CredentialKey {
        let partition = access.role.as_ref().map_or("aws", |role| role.arn.partition());
        let default_region = match partition {
            "aws-cn" => "cn-north-1",
            "aws-us-gov" => "us-gov-west-1",
            _ => "us-east-1",
        };
        CredentialKey { profile: access.profile.clone(), default_region }
    }
}

impl CredentialCache {
    /// An empty cache.
    pub fn new(
        given: Option<SdkConfig>,
        count: CountRequests,
        limit: Arc<CallLimit>,
    ) -> CredentialCache {
        CredentialCache { given, http: OnceCell::new(), count, limit, by_key: Mutex::default() }
    }

    /// The base credentials. The first call loads them, which can take seconds. Missing credentials
    /// show when they are used.
    pub async fn get(&self, key: &CredentialKey) -> BaseCredentials {
        let cell = self.lock().entry(key.clone()).or_default().clone();
        cell.get_or_init(|| self.find(key)).await.clone()
    }

    /// If the certificates cannot be read, the next call reads them again.
    async fn http(&self) -> Result<SharedHttpClient, Failure> {
        let make = || async {
            let ca_bundle = environment::value(http::CA_BUNDLE);
            let client = http::client(ca_bundle.as_ref().map(Path::new)).await;
            client.map_err(|failure| match ca_bundle {
                Some(_) => Failure::new(failure.reason, format!("{}: {failure}", http::CA_BUNDLE)),
                None => failure,
            })
        };
        self.http.get_or_try_init(make).await.cloned()
    }

    async fn find(&self, key: &CredentialKey) -> BaseCredentials {
        let config = match &self.given {
            Some(given) => given.clone(),
            None => {
                let profile = key.profile.as_deref();
                // On the heap: the compiler refuses futures that are nested too deeply.
                Box::pin(providers::load(profile, key.default_region, self.http())).await
            }
        };
        // Its clients share one cache of credentials, so the account is the same for all of them.
        let config = match config.identity_cache() {
            Some(_) => config,
            None => config.into_builder().identity_cache(IdentityCache::lazy().build()).build(),
        };
        BaseCredentials {
            sts: aws_sdk_sts::Client::from_conf(sts_config(&config, self.count.clone()).build()),
            config,
            limit: self.limit.clone(),
            account_id: Arc::default(),
            found: Instant::now(),
        }
    }

    /// Forgets all base credentials, so that they are looked for again.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Forgets base credentials, unless they were looked for a moment ago. Returns whether it did.
    pub fn forget(&self, key: &CredentialKey) -> bool {
        let mut by_key = self.lock();
        let base = by_key.get(key).and_then(|cell| cell.get());
        let is_old = base.is_some_and(|base| base.found.elapsed() >= MIN_CREDENTIAL_AGE);
        if is_old {
            by_key.remove(key);
        }
        is_old
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<CredentialKey, Arc<OnceCell<BaseCredentials>>>> {
        self.by_key.lock().expect("nothing panics while it is locked")
    }
}

impl BaseCredentials {
    /// The account of the credentials: 12 digits. Needs no permission.
    pub async fn account_id(&self) -> Result<&str, Failure> {
        let ask = || account_id(&self.sts, &self.limit);
        self.account_id.get_or_try_init(ask).await.map(String::as_str)
    }
}

/// The account of the credentials of this client.
pub async fn account_id(sts: &aws_sdk_sts::Client, limit: &CallLimit) -> Result<String, Failure> {
    match limit.call(sts.get_caller_identity().send()).await {
        Ok(identity) => identity.account.filter(|id| is_account_id(id)).ok_or_else(|| {
            Failure::new(Reason::ServiceError, "GetCallerIdentity named no account")
        }),
        Err(error) => Err(errors::failure(Operation::GetCallerIdentity, &error)),
    }
}

/// The configuration of a client of STS.
pub fn sts_config(config: &SdkConfig, count: CountRequests) -> aws_sdk_sts::config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(STS_ATTEMPT_TIMEOUT)
        .read_timeout(STS_ATTEMPT_TIMEOUT)
        .operation_timeout(STS_TIMEOUT);
    aws_sdk_sts::config::Builder::from(config)
        .timeout_config(timeouts.build())
        // Roles that may not be assumed take no retries from the others.
        .retry_partition(
            RetryPartition::custom("sts").token_bucket(TokenBucket::unlimited()).build(),
        )
        .interceptor(count)
}

/// Provides the credentials of a role.
#[derive(Debug)]
struct AssumedRole {
    cache: Arc<CredentialCache>,
    base: CredentialKey,
    role: Role,
}

/// The base configuration with the credentials of a role, which it caches for itself.
pub fn assuming(
    role: &Role,
    base: BaseCredentials,
    key: CredentialKey,
    cache: Arc<CredentialCache>,
) -> SdkConfig {
    let provider = AssumedRole { cache, base: key, role: role.clone() };
    let identity_cache = IdentityCache::lazy()
        .buffer_time(RENEW_BEFORE_END)
        // The call has its own time limits, with better messages.
        .load_timeout(CALL_TIMEOUT);
    let region = signing_region(&base.config, Some(role.arn.partition()));
    let mut config = base.config.into_builder();
    config.set_credentials_provider(Some(SharedCredentialsProvider::new(provider)));
    config.set_identity_cache(Some(identity_cache.build()));
    config.region(region).build()
}

impl AssumedRole {
    async fn assume(&self) -> Result<Credentials, Failure> {
        let base = self.cache.get(&self.base).await;
        self.role.external_id.iter().for_each(|id| secrets::add(id));
        let call = base
            .sts
            .assume_role()
            .role_arn(self.role.arn.as_str())
            .role_session_name(session_name())
            .set_external_id(self.role.external_id.clone());
        let output =
            call.send().await.map_err(|error| errors::failure(Operation::AssumeRole, &error))?;
        let credentials = output.credentials.ok_or_else(|| {
            Failure::new(Reason::ServiceError, "AssumeRole: an answer without credentials")
        })?;
        secrets::add(&credentials.secret_access_key);
        secrets::add(&credentials.session_token);
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

/// The name in the account's CloudTrail: the program and its host.
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
