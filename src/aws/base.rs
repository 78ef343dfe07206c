//! Base credentials: where they come from, and who they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::{AppName, BehaviorVersion, SdkConfig};
use aws_sdk_sts::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{ConnectorBuilder, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::slots::Slots;
use super::{CountRequests, errors, lock, time_limits};
use crate::config::Access;
use crate::source::Failure;
use crate::state::Reason;

/// Base credentials, each looked for once and not once for each account that they lead to.
#[derive(Debug)]
pub struct Bases {
    /// Instead of what the SDK's chains find.
    given: Option<SdkConfig>,
    http: SharedHttpClient,
    count: CountRequests,
    slots: Arc<Slots>,
    by_key: Mutex<HashMap<Key, Arc<OnceCell<Base>>>>,
}

/// A profile, or the default chain; and the region where that has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    profile: Option<String>,
    default_region: &'static str,
}

/// Base credentials, and who they are.
#[derive(Debug, Clone)]
pub struct Base {
    pub(super) config: SdkConfig,
    pub(super) sts: aws_sdk_sts::Client,
    slots: Arc<Slots>,
    account_id: Arc<OnceCell<String>>,
    found: Instant,
}

/// A try of a call to STS may take so long to connect, and so long to answer; not so long to find the
/// base credentials, which may be a matter of a program or of a sign-on service.
const STS_PATIENCE: Duration = Duration::from_secs(5);
/// A call to STS ends before the try of the call that waits for its credentials, and so it is told
/// what was waited for.
const STS_TIMEOUT: Duration = Duration::from_secs(18);

/// Credentials that do not work are not looked for more often.
pub const LEAST_AGE: Duration = Duration::from_secs(30);

impl Key {
    /// Of the base credentials with which an account is reached.
    pub fn of(access: &Access) -> Key {
        let partition = access.role.as_ref().map_or("aws", |role| role.arn.partition());
        let default_region = match partition {
            "aws-cn" => "cn-north-1",
            "aws-us-gov" => "us-gov-west-1",
            _ => "us-east-1",
        };
        Key { profile: access.profile.clone(), default_region }
    }
}

impl Bases {
    /// None yet.
    pub(super) fn new(given: Option<SdkConfig>, count: CountRequests, slots: Arc<Slots>) -> Bases {
        Bases { given, http: http_client(), count, slots, by_key: Mutex::default() }
    }

    /// Looks for them at the first call, since that can take seconds; that there are none shows when
    /// they are used.
    pub async fn get(&self, key: &Key) -> Base {
        let cell = lock(&self.by_key).entry(key.clone()).or_default().clone();
        cell.get_or_init(|| self.find(key)).await.clone()
    }

    async fn find(&self, key: &Key) -> Base {
        let config = match &self.given {
            Some(given) => given.clone(),
            None => load(key, self.http.clone()).await,
        };
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(STS_PATIENCE)
            .read_timeout(STS_PATIENCE)
            .operation_timeout(STS_TIMEOUT);
        let sts = aws_sdk_sts::config::Builder::from(&config)
            .timeout_config(timeouts.build())
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
    }

    /// Forgets all, so that they are looked for again.
    pub fn forget(&self) {
        lock(&self.by_key).clear();
    }

    /// Forgets those that do not work, or that are not of the account of which they should be: what
    /// the SDK has read of a profile it keeps for good. Whether there may be others now.
    pub async fn forget_broken(&self, key: &Key, account: Option<&str>) -> bool {
        let base = self.get(key).await;
        if base.found.elapsed() < LEAST_AGE {
            return false;
        }
        let is_broken = match base.ask_account_id().await {
            Ok(id) => account.is_some_and(|account| account != id),
            Err(failure) => failure.reason == Reason::Credentials,
        };
        let mut by_key = lock(&self.by_key);
        let kept = by_key.get(key).and_then(|cell| cell.get());
        // Another account may have done so meanwhile.
        if is_broken && kept.is_some_and(|kept| kept.found == base.found) {
            by_key.remove(key);
        }
        is_broken
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
}

/// What the SDK's chains find: without a profile, credentials from the environment, a profile, SSO,
/// web identity, ECS or EKS, or the instance; with one, those of the profile alone. The region
/// likewise. Takes seconds where an instance metadata service has to be waited for, and never fails:
/// missing credentials show at the first call.
async fn load(key: &Key, http: SharedHttpClient) -> SdkConfig {
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http.clone())
        .app_name(AppName::new("iam-key-exporter").expect("letters and dashes only"))
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(time_limits());
    let Some(profile) = &key.profile else {
        let region = RegionProviderChain::default_provider().or_else(key.default_region);
        return loader.region(region).load().await;
    };
    // What the environment has is meant for the default credentials.
    let region = ProfileFileRegionProvider::builder().profile_name(profile).build();
    let region = RegionProviderChain::first_try(region).or_else(key.default_region).region().await;
    let provider_config =
        ProviderConfig::default().with_region(region.clone()).with_http_client(http);
    let credentials = ProfileFileCredentialsProvider::builder()
        .configure(&provider_config)
        .profile_name(profile)
        .build();
    loader.profile_name(profile).region(region).credentials_provider(credentials).load().await
}

/// The SDK's own default, one for all: each account's clients would else have connections, and a copy
/// of the system's certificates, of their own.
fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = ConnectorBuilder::default()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.set_proxy_config(Some(ProxyConfig::from_env()));
        connector.build()
    })
}
