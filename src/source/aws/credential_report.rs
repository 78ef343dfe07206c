//! Getting the credential report: get first, generate if there is none that will do, then get again
//! with growing pauses.
//!
//! AWS keeps one report for each account, which every tool in it shares, and makes a new one at
//! most every four hours.

use std::mem;
use std::time::Duration;

use aws_sdk_iam::operation::get_credential_report::{
    GetCredentialReportError, GetCredentialReportOutput,
};
use aws_sdk_iam::types::ReportStateType;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::BodyExt;
use memchr::memchr2;
use tokio::time::{Instant, sleep, timeout_at};

use super::clients::AccountClient;
use super::errors;
use super::sdk::Operation;
use crate::failure::{Failure, Reason};
use crate::source::target::{FetchResult, RawReport, is_good};

/// The first pause while AWS generates a report. Each further one is twice as long, up to
/// [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_secs(2);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The state of AWS's report.
enum ReportState {
    Present(RawReport),
    /// There is none, or it is too old for AWS to hand out.
    Absent,
    InProgress,
}

/// Gets the report. If it is not [good](is_good) at `now`, or there is none, asks AWS to
/// generate one and gets that, giving up at `deadline` with the report that it has by then.
///
/// Never asks for more than one: the report that AWS then returns is taken, fresh or not.
pub async fn fetch(client: &AccountClient, now: DateTime<Utc>, deadline: Instant) -> FetchResult {
    let mut result = FetchResult::default();
    result.failure = newest(client, now, deadline, &mut result.report).await.err();
    result
}

/// Puts the newest report into `report`. On a failure it may hold an old one.
async fn newest(
    client: &AccountClient,
    now: DateTime<Utc>,
    deadline: Instant,
    report: &mut Option<RawReport>,
) -> Result<(), Failure> {
    let mut pause = MIN_PAUSE;
    let is_due = match get(client, deadline).await? {
        ReportState::Present(found) => {
            let is_good = is_good(found.generated, now);
            *report = Some(found);
            if is_good {
                return Ok(());
            }
            true
        }
        ReportState::Absent => true,
        ReportState::InProgress => false,
    };
    if is_due && generate(client, deadline).await? {
        pause = Duration::ZERO;
    }
    loop {
        if Instant::now() + pause >= deadline {
            return Err(Failure::new(
                Reason::ReportNotReady,
                "AWS has not finished generating the credential report",
            ));
        }
        sleep(pause).await;
        pause = (pause * 2).clamp(MIN_PAUSE, MAX_PAUSE);
        if let ReportState::Present(found) = get(client, deadline).await? {
            *report = Some(found);
            return Ok(());
        }
    }
}

async fn get(client: &AccountClient, deadline: Instant) -> Result<ReportState, Failure> {
    let call = client.iam.get_credential_report().customize().interceptor(JoinLines);
    let call = client.call(call.send());
    match timeout_at(deadline, call).await {
        Err(_) => Err(Failure::deadline("GetCredentialReport")),
        Ok(Ok(output)) => read(output).map(ReportState::Present),
        Ok(Err(error)) => match error.as_service_error() {
            Some(
                GetCredentialReportError::CredentialReportNotPresentException(_)
                | GetCredentialReportError::CredentialReportExpiredException(_),
            ) => Ok(ReportState::Absent),
            Some(GetCredentialReportError::CredentialReportNotReadyException(_)) => {
                Ok(ReportState::InProgress)
            }
            _ => Err(errors::failure(Operation::GetCredentialReport, &error)),
        },
    }
}

/// Takes line breaks out of the answer, which means nothing to its XML: the SDK refuses base64 that is
/// broken into lines, as many encoders write it.
#[derive(Debug)]
struct JoinLines;

#[dyn_dispatch_hint]
impl Intercept for JoinLines {
    fn name(&self) -> &'static str {
        "JoinLines"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response_mut().body_mut();
        let broken = mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(broken.map_frame(|frame| frame.map_data(without_breaks)));
        Ok(())
    }
}

fn without_breaks(data: Bytes) -> Bytes {
    match memchr2(b'\n', b'\r', &data) {
        Some(_) => data.into_iter().filter(|byte| !b"\n\r".contains(byte)).collect(),
        None => data,
    }
}

fn read(output: GetCredentialReportOutput) -> Result<RawReport, Failure> {
    let generated = output.generated_time.and_then(|time| DateTime::from_timestamp(time.secs(), 0));
    match (output.content, generated) {
        (Some(csv), Some(generated)) => {
            Ok(RawReport { csv: csv.into_inner(), parsed: None, generated })
        }
        _ => Err(Failure::new(
            Reason::MalformedReport,
            "GetCredentialReport: an answer without its content or its time",
        )),
    }
}

/// Asks for a new report. True if AWS says that it is there already.
async fn generate(client: &AccountClient, deadline: Instant) -> Result<bool, Failure> {
    let call = client.call(client.iam.generate_credential_report().send());
    match timeout_at(deadline, call).await {
        Err(_) => Err(Failure::deadline("GenerateCredentialReport")),
        Ok(Ok(output)) => Ok(output.state == Some(ReportStateType::Complete)),
        Ok(Err(error)) => Err(errors::failure(Operation::GenerateCredentialReport, &error)),
    }
}
