//! An AWS that follows a scenario, for the real SDK client: at a socket, or in memory for paused time,
//! because a clock that jumps while a socket is awaited runs into every time limit.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::TimeSource;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use iam_key_exporter::clock::Clock;
use iam_key_exporter::metrics::exporter::ExporterMetrics;
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::source::Source;
use iam_key_exporter::source::aws::Aws;
use iam_key_exporter::source::aws::sdk::{SdkConfig, time_limits};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::answers::{
    alias, identity, password_policy, service_credentials, summary, virtual_mfa_devices,
};
use super::protocol::{Answer, Request, http_date};
use super::time::clock;

pub const ACCOUNT: &str = "123456789012";

/// The calls for an account once for each report. tests/it/controls.rs counts them.
pub const ONCE_A_REPORT: [&str; 5] = [
    "ListAccountAliases",
    "ListServiceSpecificCredentials",
    "GetAccountSummary",
    "GetAccountPasswordPolicy",
    "ListVirtualMFADevices",
];

/// The delay and the answer for each request.
pub trait Scenario: FnMut(&Request) -> (Duration, Answer) + Send + 'static {}
impl<T: FnMut(&Request) -> (Duration, Answer) + Send + 'static> Scenario for T {}

/// One account. It answers each call, as `Request::call` has it, at once as the script says. Who is
/// asking, and the calls that come once for each report, it always answers.
pub fn account(mut script: impl FnMut(&str) -> Answer + Send + 'static) -> impl Scenario {
    move |request: &Request| {
        let answer = match request.call().as_str() {
            "GetCallerIdentity" => identity(ACCOUNT),
            "ListAccountAliases" => alias(),
            "ListServiceSpecificCredentials" => service_credentials(&[], None),
            "GetAccountSummary" => summary(),
            "GetAccountPasswordPolicy" => password_policy(),
            "ListVirtualMFADevices" => virtual_mfa_devices(&[], None),
            call => script(call),
        };
        (Duration::ZERO, answer)
    }
}

/// The fake. Clones share everything.
#[derive(Clone)]
pub struct FakeAws(Arc<Shared>);

struct Shared {
    scenario: Mutex<Box<dyn Scenario>>,
    calls: Mutex<Vec<(Instant, String)>>,
}

impl FakeAws {
    pub fn new(scenario: impl Scenario) -> FakeAws {
        let scenario: Box<dyn Scenario> = Box::new(scenario);
        FakeAws(Arc::new(Shared { scenario: Mutex::new(scenario), calls: Mutex::default() }))
    }

    /// From now on follows this scenario.
    pub fn follow(&self, scenario: impl Scenario) {
        *self.0.scenario.lock().expect("a scenario") = Box::new(scenario);
    }

    /// The calls since the last call of this, in their order, without those of `ONCE_A_REPORT`.
    pub fn calls(&self) -> Vec<(Instant, String)> {
        std::mem::take(&mut self.0.calls.lock().expect("calls"))
    }

    fn answer(&self, request: &Request) -> (Duration, Answer) {
        if !ONCE_A_REPORT.contains(&request.operation.as_str()) {
            self.0.calls.lock().expect("calls").push((Instant::now(), request.call()));
        }
        (self.0.scenario.lock().expect("a scenario"))(request)
    }

    /// Answers at a socket.
    pub async fn listen(&self) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (mut tasks, aws) = (JoinSet::new(), self.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(aws.clone().converse(stream));
            }
        });
        Server { address, _connections: tasks }
    }

    async fn converse(self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Some(request) = Request::read(&mut stream).await {
            let (delay, answer) = self.answer(&request);
            sleep(delay).await;
            if !answer.write(&mut stream).await {
                return;
            }
        }
    }

    /// A source that is answered from memory.
    pub fn source(&self) -> Source {
        self.source_with(sdk_config("http://in-memory"))
    }

    /// The same with the credentials of this configuration.
    pub fn source_with(&self, config: SdkConfig) -> Source {
        source(&self.config_with(config))
    }

    /// This configuration, answered from memory.
    pub fn config_with(&self, config: SdkConfig) -> SdkConfig {
        self.config_with_clock(config, clock())
    }

    /// The same on a host with this clock.
    pub fn config_with_clock(&self, config: SdkConfig, clock: Clock) -> SdkConfig {
        // Credentials end by the clock that the SDK is given.
        config
            .into_builder()
            .http_client(self.clone())
            .timeout_config(time_limits())
            .time_source(HostTime(clock))
            .build()
    }
}

/// The socket, for as long as this is not dropped.
pub struct Server {
    pub address: SocketAddr,
    _connections: JoinSet<()>,
}

impl Server {
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// The account of the credentials of this configuration.
pub fn source(config: &SdkConfig) -> Source {
    Source::Aws(Aws::with_config(
        config,
        clock(),
        ExporterMetrics::new(Filter::default(), []).aws_requests,
        32,
    ))
}

/// A configuration with credentials and with time limits for tests.
pub fn sdk_config(endpoint: &str) -> SdkConfig {
    let keys = Credentials::new("AKIAEXAMPLE", "secret", None, None, "test");
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_secs(2))
        .operation_timeout(Duration::from_secs(10))
        .build();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts)
        .build()
}

#[derive(Debug)]
struct HostTime(Clock);

impl TimeSource for HostTime {
    fn now(&self) -> SystemTime {
        self.0.now().into()
    }
}

impl fmt::Debug for FakeAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeAws")
    }
}

impl HttpClient for FakeAws {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for FakeAws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
        let request = Request::new(body, |name| request.headers().get(name));
        let (delay, answer) = self.answer(&request);
        HttpConnectorFuture::new(async move {
            sleep(delay).await;
            match answer {
                Answer::Reply(status, body) => {
                    let status = status.try_into().expect("a status");
                    Ok(HttpResponse::new(status, SdkBody::from(body)))
                }
                Answer::Dated(date, status, body) => {
                    let status = status.try_into().expect("a status");
                    let mut response = HttpResponse::new(status, SdkBody::from(body));
                    response.headers_mut().insert("date", http_date(date));
                    response.headers_mut().insert("x-amzn-requestid", "an-id");
                    Ok(response)
                }
                Answer::Hang | Answer::Drop => std::future::pending().await,
            }
        })
    }
}
