//! AWS: clients and credentials ([`Clients`]), the credential report ([`report`]), a user's keys as they
//! are now ([`confirm`]), the users' tags ([`details`]), and what an SDK error means ([`errors`]). The
//! AWS SDK is named here alone, and only calls that read are made.

pub mod confirm;
pub mod details;
pub mod errors;
pub mod report;

use std::sync::Arc;
use std::time::Duration;

pub use aws_config::SdkConfig;
use aws_config::meta::region::RegionProviderChain;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::metrics::own::AwsRequests;
use crate::source::Failure;
use crate::state::Reason;

/// The AWS clients of one account.
#[derive(Debug, Clone)]
pub struct Clients {
    iam: aws_sdk_iam::Client,
    sts: aws_sdk_sts::Client,
    slots: Arc<Semaphore>,
}

/// One try of a call. Each call has three.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// A whole call, with its tries and the pauses between them.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What the SDK's default chains find: credentials from the environment, a profile, SSO, web
/// identity, ECS or EKS, or the instance; the region likewise, else us-east-1. Takes seconds where
/// an instance metadata service has to be waited for, and never fails: missing credentials show at
/// the first call.
pub async fn default_config() -> SdkConfig {
    let region = RegionProviderChain::default_provider().or_else("us-east-1");
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(region)
        .app_name(AppName::new("iam-key-exporter").expect("letters and dashes only"))
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(5))
                .read_timeout(ATTEMPT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(CALL_TIMEOUT)
                .build(),
        )
        .load()
        .await
}

impl Clients {
    /// Clients that count every request, and that share `slots`: as many calls run at the same time.
    pub fn new(config: &SdkConfig, requests: &AwsRequests, slots: Arc<Semaphore>) -> Clients {
        let count = CountRequests(requests.clone());
        Clients {
            iam: aws_sdk_iam::Client::from_conf(
                aws_sdk_iam::config::Builder::from(config).interceptor(count.clone()).build(),
            ),
            sts: aws_sdk_sts::Client::from_conf(
                aws_sdk_sts::config::Builder::from(config).interceptor(count).build(),
            ),
            slots,
        }
    }

    /// The account of the credentials: 12 digits. Needs no permission.
    pub async fn account_id(&self) -> Result<String, Failure> {
        let _slot = self.slot().await;
        match self.sts.get_caller_identity().send().await {
            Ok(identity) => identity.account.ok_or_else(|| {
                Failure::new(Reason::ServiceError, "GetCallerIdentity named no account")
            }),
            Err(error) => Err(errors::failure("GetCallerIdentity", &error)),
        }
    }

    /// Waits for a slot. Held for one call, never for a pause.
    async fn slot(&self) -> SemaphorePermit<'_> {
        self.slots.acquire().await.expect("the semaphore is never closed")
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
