//! AWS: base credentials ([`base`]), roles and clients ([`hub`]), how many calls run at a time
//! ([`slots`]), an organization's accounts ([`organization`]), the credential report ([`report`]), a
//! user's keys as they are now ([`confirm`]), what else there is about an account ([`details`]), and
//! what an SDK error means ([`errors`]). The AWS SDK is named here alone, and only calls that read are
//! made.

pub mod base;
pub mod confirm;
pub mod details;
pub mod errors;
pub mod hub;
pub mod organization;
pub mod report;
pub mod slots;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_config::Region;
pub use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_iam::config::retry::RetryPartition;
use aws_smithy_runtime_api::box_error::BoxError;
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

/// One try of a call. Each call has three.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// A whole call, with its tries and the pauses between them.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Those of every call but those to STS.
pub fn time_limits() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(ATTEMPT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build()
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic runs while it is held.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
