//! AWS: credentials and clients ([`hub`]), how many calls run at a time ([`slots`]), an organization's
//! accounts ([`organization`]), the credential report ([`report`]), a user's keys as they are now
//! ([`confirm`]), what else there is about an account ([`details`]), and what an SDK error means
//! ([`errors`]). The AWS SDK is named here alone, and only calls that read are made.

pub mod confirm;
pub mod details;
pub mod errors;
pub mod hub;
pub mod organization;
pub mod report;
pub mod slots;

use std::sync::Arc;
use std::time::Duration;

pub use aws_config::SdkConfig;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region};
use aws_sdk_iam::config::retry::RetryPartition;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{ConnectorBuilder, tls};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use self::slots::Slots;
use crate::metrics::own::AwsRequests;

/// The AWS clients of one account.
#[derive(Debug, Clone)]
pub struct Clients {
    iam: aws_sdk_iam::Client,
    slots: Arc<Slots>,
}

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// One try; each call has three.
    pub attempt: Duration,
    /// All tries, and the pauses between them.
    pub call: Duration,
}

/// Those of every call but those to STS.
pub const TIMEOUTS: Timeouts =
    Timeouts { attempt: Duration::from_secs(20), call: Duration::from_secs(60) };

/// What the SDK's chains find: without a profile, credentials from the environment, a profile, SSO,
/// web identity, ECS or EKS, or the instance; with one, those of the profile alone. The region
/// likewise, else `default_region`. Takes seconds where an instance metadata service has to be waited
/// for, and never fails: missing credentials show at the first call.
async fn base_config(profile: Option<&str>, default_region: &'static str) -> SdkConfig {
    let http = http_client();
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http.clone())
        .app_name(AppName::new("iam-key-exporter").expect("letters and dashes only"))
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(time_limits(TIMEOUTS));
    let Some(profile) = profile else {
        let region = RegionProviderChain::default_provider().or_else(default_region);
        return loader.region(region).load().await;
    };
    // What the environment has is meant for the default credentials.
    let region = ProfileFileRegionProvider::builder().profile_name(profile).build();
    let region = RegionProviderChain::first_try(region).or_else(default_region).region().await;
    let provider_config =
        ProviderConfig::default().with_region(region.clone()).with_http_client(http);
    let credentials = ProfileFileCredentialsProvider::builder()
        .configure(&provider_config)
        .profile_name(profile)
        .build();
    loader.profile_name(profile).region(region).credentials_provider(credentials).load().await
}

/// As the SDK wants them.
pub fn time_limits(timeouts: Timeouts) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(timeouts.attempt)
        .operation_attempt_timeout(timeouts.attempt)
        .operation_timeout(timeouts.call)
        .build()
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

/// The region in which a partition's IAM is, and from which the SDK finds its Organizations: one for
/// all of it. Without a partition, that of the configured region.
fn signing_region(config: &SdkConfig, partition: Option<&str>) -> Option<Region> {
    let region = config.region().cloned();
    let of_region = region.as_ref().map(|region| match region.as_ref() {
        name if name.starts_with("cn-") => "aws-cn",
        name if name.starts_with("us-gov-") => "aws-us-gov",
        name if name.starts_with("us-iso") || name.starts_with("eu-iso") => "aws-iso",
        name if name.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    });
    match partition.or(of_region) {
        Some("aws") => Some(Region::from_static("us-east-1")),
        Some("aws-cn") => Some(Region::from_static("cn-north-1")),
        Some("aws-us-gov") => Some(Region::from_static("us-gov-west-1")),
        _ => region,
    }
}

impl Clients {
    fn new(config: &SdkConfig, count: CountRequests, slots: Arc<Slots>) -> Clients {
        let iam = aws_sdk_iam::config::Builder::from(config)
            .region(signing_region(config, None))
            // How many retries the failures of late leave is counted for each account alone: the SDK
            // counts for all clients of a process, and many broken accounts would leave none.
            .retry_partition(RetryPartition::custom("account").build())
            .interceptor(count);
        Clients { iam: aws_sdk_iam::Client::from_conf(iam.build()), slots }
    }

    /// Makes a call once there is a slot. Held for one call, never for a pause.
    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        self.slots.call(call).await
    }
}

/// Counts every try of every call by what came back.
#[derive(Debug, Clone)]
struct CountRequests(AwsRequests);

#[dyn_dispatch_hint]
impl Intercept for CountRequests {
    fn name(&self) -> &'static str {
        "CountRequests"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(call) = config.load::<Metadata>() {
            let status = context.response().map(|response| response.status().as_u16());
            self.0.count(call.service(), call.name(), status);
        }
        Ok(())
    }
}
