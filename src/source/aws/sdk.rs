//! Everything that calls to AWS share: the list of calls, time limits, regions, counting, and the
//! comparison of clocks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_config::Region;
pub use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
    FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use chrono::{DateTime, TimeDelta, Utc};
use tracing::{info, warn};

use super::answers::is_whole;
use crate::clock::{Clock, MAX_CLOCK_SKEW};
use crate::metrics::exporter::AwsRequests;

/// An operation of an AWS service that the exporter calls. All of them only read, and a call of an
/// operation that is missing here fails each test that makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "these are AWS's names")]
pub enum Operation {
    GenerateCredentialReport,
    GetAccountAuthorizationDetails,
    GetAccountPasswordPolicy,
    GetAccountSummary,
    GetCredentialReport,
    ListAccessKeys,
    ListAccountAliases,
    ListVirtualMfaDevices,
    ListAccounts,
    AssumeRole,
    GetCallerIdentity,
    ListServiceSpecificCredentials,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Operation; 12] = [
        Operation::GenerateCredentialReport,
        Operation::GetAccountAuthorizationDetails,
        Operation::GetAccountPasswordPolicy,
        Operation::GetAccountSummary,
        Operation::GetCredentialReport,
        Operation::ListAccessKeys,
        Operation::ListAccountAliases,
        Operation::ListVirtualMfaDevices,
        Operation::ListAccounts,
        Operation::AssumeRole,
        Operation::GetCallerIdentity,
        Operation::ListServiceSpecificCredentials,
    ];

    /// The service and the operation, by the names that the SDK has for them.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Operation::GenerateCredentialReport => ("IAM", "GenerateCredentialReport"),
            Operation::GetAccountAuthorizationDetails => ("IAM", "GetAccountAuthorizationDetails"),
            Operation::GetAccountPasswordPolicy => ("IAM", "GetAccountPasswordPolicy"),
            Operation::GetAccountSummary => ("IAM", "GetAccountSummary"),
            Operation::GetCredentialReport => ("IAM", "GetCredentialReport"),
            Operation::ListAccessKeys => ("IAM", "ListAccessKeys"),
            Operation::ListAccountAliases => ("IAM", "ListAccountAliases"),
            Operation::ListVirtualMfaDevices => ("IAM", "ListVirtualMFADevices"),
            Operation::ListAccounts => ("Organizations", "ListAccounts"),
            Operation::AssumeRole => ("STS", "AssumeRole"),
            Operation::GetCallerIdentity => ("STS", "GetCallerIdentity"),
            Operation::ListServiceSpecificCredentials => ("IAM", "ListServiceSpecificCredentials"),
        }
    }

    /// The operation's name.
    pub fn as_str(self) -> &'static str {
        self.names().1
    }
}

/// The time limit of one attempt. Each call has three.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// The time limit of a whole call, with its attempts and the pauses between them.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// The time limits of every call except those to STS.
pub fn time_limits() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(ATTEMPT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build()
}

/// The region of a partition's IAM, which is one for all of the partition. The SDK finds Organizations
/// by it, too. Without a partition, that of the configured region.
pub fn signing_region(config: &SdkConfig, partition: Option<&str>) -> Option<Region> {
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

/// By how much `now` is ahead of the server's clock, if the answer has a date.
pub fn clock_skew(answer: &HttpResponse, now: DateTime<Utc>) -> Option<TimeDelta> {
    let date = DateTime::parse_from_rfc2822(answer.headers().get("date")?).ok()?;
    Some(now - date.to_utc())
}

/// Counts every attempt of every call by its outcome, and compares our clock with that of the answer.
#[derive(Debug, Clone)]
pub struct CountRequests {
    requests: AwsRequests,
    /// Corrected by answers.
    clock: Clock,
}

impl CountRequests {
    /// Counts in `requests`, each operation from 0 on.
    pub fn new(requests: AwsRequests, clock: Clock) -> CountRequests {
        CountRequests { requests, clock }
    }

    /// Logs once when the clock becomes wrong, and once when it is right again.
    fn compare_clocks(&self, skew: TimeDelta) {
        let before = TimeDelta::seconds(self.requests.record_clock_skew(skew.num_seconds()));
        let is_wrong = |skew: TimeDelta| skew.abs() > MAX_CLOCK_SKEW;
        let seconds = skew.num_seconds();
        match (is_wrong(before), is_wrong(skew)) {
            (false, true) => warn!(
                ahead_seconds = seconds,
                "the clock differs from that of AWS by more than five minutes: refreshes fail until it is set"
            ),
            (true, false) => {
                info!(ahead_seconds = seconds, "the clock agrees with that of AWS again")
            }
            _ => {}
        }
    }
}

/// A request that was sent. If a time limit cuts it off, dropping it counts it as aborted.
#[derive(Debug)]
struct Attempt {
    call: Metadata,
    requests: AwsRequests,
    is_counted: AtomicBool,
}

impl Storable for Attempt {
    type Storer = StoreReplace<Attempt>;
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !*self.is_counted.get_mut() {
            self.requests.count_aborted(self.call.service(), self.call.name());
        }
    }
}

#[dyn_dispatch_hint]
impl Intercept for CountRequests {
    fn name(&self) -> &'static str {
        "CountRequests"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(call) = config.load::<Metadata>().cloned() {
            let requests = self.requests.clone();
            let attempt = Attempt { call, requests, is_counted: AtomicBool::new(false) };
            config.interceptor_state().store_put(attempt);
        }
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        match (config.load::<Metadata>(), answer.body().bytes()) {
            (Some(call), Some(body))
                if answer.status().is_success()
                    && ["IAM", "STS"].contains(&call.service())
                    && !is_whole(call.name(), body) =>
            {
                Err("the answer is not complete".into())
            }
            _ => Ok(()),
        }
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(call) = config.load::<Metadata>() {
            let names = (call.service(), call.name());
            debug_assert!(
                Operation::ALL.iter().any(|operation| operation.names() == names),
                "{names:?} is missing in the list of operations"
            );
            let status = context.response().map(|response| response.status().as_u16());
            self.requests.count(names.0, names.1, status);
            if let Some(attempt) = config.load::<Attempt>() {
                attempt.is_counted.store(true, Ordering::Relaxed);
            }
        }
        let now = components.time_source().map(|clock| clock.now().into());
        let Some((answer, now)) = context.response().zip(now) else { return Ok(()) };
        if let Some(skew) = clock_skew(answer, now) {
            // A failure, or a page that is no answer, can come from something in between.
            let is_good = matches!(context.output_or_error(), Some(Ok(_)));
            self.clock.hear(now - skew, is_good);
            if is_good || answer.headers().get("x-amzn-requestid").is_some() {
                self.compare_clocks(skew);
            }
        }
        Ok(())
    }
}
