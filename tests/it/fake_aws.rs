//! An AWS that follows a script: it speaks IAM's and STS's protocol at a socket, so that the real SDK
//! client is what is tested.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use iam_key_exporter::config::Config;
use iam_key_exporter::source::aws::sdk::SdkConfig;
use iam_key_exporter::source::{Source, target::Target};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub const ACCOUNT: &str = "123456789012";

/// What the fake does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    Reply(u16, String),
    /// Never answers.
    Hang,
    /// Closes the connection.
    Drop,
}

/// An error as IAM sends it. Its messages mean nothing, so they are the word that AWS sends.
pub fn error(status: u16, code: &str) -> Answer {
    Answer::Reply(
        status,
        format!(
            "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error>\
             <Type>Sender</Type><Code>{code}</Code><Message>Unknown</Message></Error>\
             <RequestId>0</RequestId></ErrorResponse>"
        ),
    )
}

pub fn identity() -> Answer {
    Answer::Reply(
        200,
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <GetCallerIdentityResult><Arn>arn:aws:iam::{ACCOUNT}:user/exporter</Arn>\
             <UserId>U</UserId><Account>{ACCOUNT}</Account></GetCallerIdentityResult>\
             </GetCallerIdentityResponse>"
        ),
    )
}

/// The alias that the account has.
pub fn alias() -> Answer {
    Answer::Reply(
        200,
        "<ListAccountAliasesResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
         <ListAccountAliasesResult><IsTruncated>false</IsTruncated><AccountAliases>\
         <member>the-alias</member></AccountAliases></ListAccountAliasesResult>\
         </ListAccountAliasesResponse>"
            .to_owned(),
    )
}

/// STARTED, INPROGRESS or COMPLETE.
pub fn generating(state: &str) -> Answer {
    Answer::Reply(
        200,
        format!(
            "<GenerateCredentialReportResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
             <GenerateCredentialReportResult><State>{state}</State>\
             </GenerateCredentialReportResult></GenerateCredentialReportResponse>"
        ),
    )
}

/// A report of one user with one key, generated so many hours before now.
pub fn report(user: &str, hours: i64) -> Answer {
    report_at(&csv(user), Utc::now() - TimeDelta::hours(hours))
}

/// The report that has these bytes.
pub fn report_at(csv: &str, generated: DateTime<Utc>) -> Answer {
    let content = aws_smithy_types::base64::encode(csv);
    let time = generated.to_rfc3339_opts(SecondsFormat::Secs, true);
    Answer::Reply(
        200,
        format!(
            "<GetCredentialReportResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
             <GetCredentialReportResult><Content>{content}</Content><ReportFormat>text/csv\
             </ReportFormat><GeneratedTime>{time}</GeneratedTime></GetCredentialReportResult>\
             </GetCredentialReportResponse>"
        ),
    )
}

/// The keys of a user: (id, Active or Inactive, created).
pub fn keys(keys: &[(&str, &str, &str)]) -> Answer {
    let members: String = keys
        .iter()
        .map(|(id, status, created)| {
            format!(
                "<member><UserName>u</UserName><AccessKeyId>{id}</AccessKeyId><Status>{status}\
                 </Status><CreateDate>{created}</CreateDate></member>"
            )
        })
        .collect();
    Answer::Reply(
        200,
        format!(
            "<ListAccessKeysResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
             <ListAccessKeysResult><IsTruncated>false</IsTruncated><AccessKeyMetadata>{members}\
             </AccessKeyMetadata></ListAccessKeysResult></ListAccessKeysResponse>"
        ),
    )
}

/// One page of users with one tag each: (user, key, value); the marker of the next page.
pub fn tags(users: &[(&str, &str, &str)], next: Option<&str>) -> Answer {
    let members: String = users
        .iter()
        .map(|(user, key, value)| {
            format!(
                "<member><UserName>{user}</UserName><Tags><member><Key>{key}</Key><Value>{value}\
                 </Value></member></Tags></member>"
            )
        })
        .collect();
    let marker = next.map_or(String::new(), |next| format!("<Marker>{next}</Marker>"));
    Answer::Reply(
        200,
        format!(
            "<GetAccountAuthorizationDetailsResponse \
             xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">\
             <GetAccountAuthorizationDetailsResult><IsTruncated>{}</IsTruncated>{marker}\
             <UserDetailList>{members}</UserDetailList></GetAccountAuthorizationDetailsResult>\
             </GetAccountAuthorizationDetailsResponse>",
            next.is_some()
        ),
    )
}

pub fn csv(user: &str) -> String {
    format!("{HEADER}{user},arn:aws:iam::{ACCOUNT}:user/{user},true,2020-01-01T00:00:00Z,false,N/A")
}

/// The header of a report with the columns that none goes without.
pub const HEADER: &str = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n";

type Script = Box<dyn FnMut(&str) -> Answer + Send>;

/// The fake, for as long as it is not dropped.
pub struct FakeAws {
    address: SocketAddr,
    shared: Arc<Shared>,
    _connections: JoinSet<()>,
}

struct Shared {
    script: Mutex<Script>,
    calls: Mutex<Vec<String>>,
}

impl FakeAws {
    /// Answers each operation, by its name, as the script says. Who is asking, and how the account
    /// is called, is always answered and not taken down.
    pub async fn start(script: impl FnMut(&str) -> Answer + Send + 'static) -> FakeAws {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let script: Mutex<Script> = Mutex::new(Box::new(script));
        let shared = Arc::new(Shared { script, calls: Mutex::default() });
        let mut tasks = JoinSet::new();
        let of_task = shared.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(stream, of_task.clone()));
            }
        });
        FakeAws { address, shared, _connections: tasks }
    }

    /// From now on follows this script.
    pub fn follow(&self, script: impl FnMut(&str) -> Answer + Send + 'static) {
        *self.shared.script.lock().expect("a script") = Box::new(script);
    }

    /// The IAM operations that were asked for since the last call of this, in their order.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.calls.lock().expect("calls"))
    }

    /// A configuration that leads here.
    pub fn config(&self) -> SdkConfig {
        config(&format!("http://{}", self.address))
    }
}

/// The account of the default credentials.
pub async fn only_target(source: &Source) -> Target {
    let targets = source.known(&Config::default()).targets;
    let [target] = targets.try_into().expect("one target");
    target
}

/// A configuration with credentials and with time limits for tests.
pub fn config(endpoint: &str) -> SdkConfig {
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

async fn converse(stream: TcpStream, shared: Arc<Shared>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = Request::read(&mut stream).await {
        let call = request.call();
        let answer = match call.as_str() {
            "GetCallerIdentity" => identity(),
            "ListAccountAliases" => alias(),
            _ => {
                shared.calls.lock().expect("calls").push(call.clone());
                (shared.script.lock().expect("a script"))(&call)
            }
        };
        if !answer.write(&mut stream).await {
            return;
        }
    }
}

impl Answer {
    /// Writes it; false where the connection is of no further use.
    pub async fn write(self, stream: &mut BufReader<TcpStream>) -> bool {
        let (status, body) = match self {
            Answer::Reply(status, body) => (status, body),
            Answer::Hang => std::future::pending().await,
            Answer::Drop => return false,
        };
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: text/xml\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.is_ok()
    }
}

/// A request to AWS.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The operation's name.
    pub operation: String,
    /// The parameters: of a form, or JSON.
    pub body: String,
    /// The id of the access key that signed it.
    pub access_key: String,
    /// The region that it was signed for.
    pub region: String,
}

impl Request {
    /// A request with this body and these headers.
    pub fn new<'a>(body: String, header: impl Fn(&str) -> Option<&'a str>) -> Request {
        let credential = header("authorization")
            .and_then(|value| value.split_once("Credential="))
            .map_or("", |(_, scope)| scope);
        let mut scope = credential.split('/');
        let access_key = scope.next().unwrap_or_default().to_owned();
        let region = scope.nth(1).unwrap_or_default().to_owned();
        // Organizations has its operation in a header, IAM and STS in the form.
        let operation = match header("x-amz-target").and_then(|target| target.split_once('.')) {
            Some((_, operation)) => operation.to_owned(),
            None => field(&body, "Action").unwrap_or_default(),
        };
        Request { operation, body, access_key, region }
    }

    /// The next request; `None` at the end.
    pub async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some((name, value)) => {
                    headers.insert(name.to_ascii_lowercase(), value.to_owned());
                }
                None if line.trim_end().is_empty() => break,
                None => {}
            }
        }
        let length = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let body = String::from_utf8(body).ok()?;
        Some(Request::new(body, |name| headers.get(name).map(String::as_str)))
    }

    /// A parameter of a form.
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.body, name)
    }

    /// What it asks for: the operation's name, and where there is one the user's or the marker's, as
    /// in `ListAccessKeys alpha`.
    pub fn call(&self) -> String {
        match self.field("UserName").or_else(|| self.field("Marker")) {
            Some(about) => format!("{} {about}", self.operation),
            None => self.operation.clone(),
        }
    }
}

fn field(form: &str, name: &str) -> Option<String> {
    let value = form.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.replace("%3A", ":").replace("%2F", "/").replace("%40", "@"))
}
