//! Answers of AWS and its errors, through the SDK. The first byte says to which call (a is the first of
//! `Operation::ALL`), the second with which status, and the rest is the body.

#![no_main]

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use iam_key_exporter::clock::Clock;
use iam_key_exporter::config::Config;
use iam_key_exporter::confirmation::merge;
use iam_key_exporter::failure::Failure;
use iam_key_exporter::metrics::exporter::ExporterMetrics;
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::report::Report;
use iam_key_exporter::service_credentials::ServiceCredentials;
use iam_key_exporter::source::Source;
use iam_key_exporter::source::aws::Aws;
use iam_key_exporter::source::aws::sdk::{Operation, time_limits};
use iam_key_exporter::source::target::Target;
use iam_key_exporter_fuzz::now;
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

const OWN: &str = "123456789012";
const IDENTITY: &str = "<GetCallerIdentityResponse><GetCallerIdentityResult>\
    <Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
const NO_REPORT: &str =
    "<ErrorResponse><Error><Code>ReportNotPresent</Code></Error></ErrorResponse>";
const STATUSES: [u16; 8] = [200, 400, 403, 404, 409, 410, 500, 503];

/// Answers one call with these bytes, and whose the credentials are as it should.
#[derive(Clone)]
struct Answer {
    operation: Operation,
    status: u16,
    body: Arc<[u8]>,
}

fuzz_target!(|input: &[u8]| {
    thread_local! {
        static RUNTIME: Runtime = runtime();
    }
    let [operation, status, body @ ..] = input else { return };
    let operation = usize::from(operation.wrapping_sub(b'a'));
    let operation = Operation::ALL[operation % Operation::ALL.len()];
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let answer = Answer { operation, status, body: body.into() };
    let failure = RUNTIME.with(|runtime| runtime.block_on(ask(answer)));
    if let Some(Failure { message, .. }) = failure {
        assert!(!message.contains(char::is_control), "{message:?}");
    }
});

/// Time jumps forward while all tasks wait.
fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

async fn ask(answer: Answer) -> Option<Failure> {
    let operation = answer.operation;
    let config = match operation {
        Operation::AssumeRole => {
            "accounts: [{ id: '123456789012', role_arn: 'arn:aws:iam::123456789012:role/r' }]"
        }
        Operation::ListAccounts => "organization: { role_name: r }",
        _ => "",
    };
    let config = Config::parse(config, "config.yaml".as_ref()).expect("a configuration");
    let metrics = ExporterMetrics::new(Filter::default(), Operation::ALL.map(Operation::names));
    let clock = Clock::new(now);
    let source =
        Source::Aws(Aws::with_config(&sdk_config(answer), clock, metrics.aws_requests, 32));
    let targets = || source.known(&config).targets;
    let target = targets().pop();
    let target = || target.as_ref().expect("a target");
    match operation {
        Operation::GetCredentialReport | Operation::GenerateCredentialReport => {
            let deadline = Instant::now() + Duration::from_secs(60);
            let fetched = source.fetch(target(), None, now(), deadline).await;
            let _ = fetched.report.map(|report| Report::parse(&report.csv));
            fetched.failure
        }
        Operation::ListAccessKeys => match source.keys(target(), "user").await {
            Ok(keys) => {
                let keys = keys.unwrap_or_default();
                let slots = merge(&[None, None], &keys, None);
                assert_eq!(slots.iter().flatten().count(), keys.len(), "no key vanishes");
                None
            }
            Err(failure) => Some(failure),
        },
        Operation::GetAccountAuthorizationDetails => {
            let keys = BTreeSet::from(["team".to_owned()]);
            source.users(target(), &keys).await.err()
        }
        Operation::GetAccountSummary => source.summary(target()).await.err(),
        Operation::GetAccountPasswordPolicy => source.password_policy(target()).await.err(),
        Operation::ListVirtualMfaDevices => source.root_virtual_mfa(target()).await.err(),
        Operation::ListAccountAliases => source.alias(target()).await.err(),
        Operation::ListServiceSpecificCredentials => {
            match source.service_credentials(target(), &ServiceCredentials::default()).await {
                Ok(listed) => {
                    let listed = listed.unwrap_or_default().credentials;
                    for credential in listed.of("u") {
                        let (key, expiry) = (credential.key(now()), credential.expiry(now()));
                        assert!(!key.active || expiry.is_none_or(|expiry| expiry > now()));
                    }
                    None
                }
                Err(failure) => Some(failure),
            }
        }
        Operation::ListAccounts => {
            let failure = source.discover(&config).await.err();
            assert!(failure.is_some() || !targets().is_empty(), "an organization has accounts");
            assert!(targets().iter().all(|Target { id, .. }| is_account_id(id)));
            failure
        }
        Operation::AssumeRole | Operation::GetCallerIdentity => {
            match source.account_id(target()).await {
                Ok(id) => {
                    assert!(id.as_deref().is_some_and(is_account_id), "{id:?}");
                    None
                }
                Err(failure) => Some(failure),
            }
        }
    }
}

fn is_account_id(id: &str) -> bool {
    id.len() == OWN.len() && id.bytes().all(|byte| byte.is_ascii_digit())
}

fn sdk_config(answer: Answer) -> SdkConfig {
    let keys = Credentials::new("AKIAEXAMPLE", "not-a-secret", None, None, "fuzz");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .endpoint_url("http://in-memory")
        .retry_config(RetryConfig::disabled())
        .timeout_config(time_limits())
        .http_client(answer)
        .build()
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

impl HttpClient for Answer {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Answer {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let form = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let is = |operation: &str| {
            form.starts_with(&format!("Action={operation}&"))
                || target.ends_with(&format!(".{operation}"))
        };
        let (status, body) = if is(self.operation.as_str()) {
            (self.status, SdkBody::from(self.body.to_vec()))
        } else if is("GetCallerIdentity") {
            (200, SdkBody::from(IDENTITY))
        } else if is("GetCredentialReport") {
            // So the exporter must generate one.
            (410, SdkBody::from(NO_REPORT))
        } else {
            (403, SdkBody::from("{}"))
        };
        let status = status.try_into().expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, body)))
    }
}
