//! With any fault, no output contains a secret: the log at level debug, `check`, the metrics and
//! the status page.

use std::process::Command;
use std::time::Duration;

use crate::support::answers::error;
use crate::support::exporter::{Exporter, command};
use crate::support::fake_aws::{FakeAws, Server};
use crate::support::folder::Folder;
use crate::support::protocol::{Answer, Request};
use tokio::task::spawn_blocking;

/// A part of every secret of these tests.
const MARK: &str = "PLANTED";
const KEY: &str = "PLANTED/key+0123456789012345678901234567";
const SESSION: &str = "PLANTED-session-token/0123456789==";
const WEB_TOKEN: &str = "PLANTED.web.identity-token";
const SIGN_ON: &str = "PLANTED-sign-on-token";
const CONTAINER: &str = "PLANTED-container-token";
const EXTERNAL_ID: &str = "PLANTED-external-id";
const PRINTED: &str = "PLANTED-printed-secret";
const PASSWORD: &str = "PLANTED-proxy-password";
const ALL: [&str; 8] =
    [KEY, SESSION, WEB_TOKEN, SIGN_ON, CONTAINER, EXTERNAL_ID, PRINTED, PASSWORD];

/// An AWS that refuses every call and sends back the request and every secret that the exporter knows.
fn echo(secrets: &'static [&'static str]) -> FakeAws {
    FakeAws::new(move |request: &Request| {
        let body = request.body.replace(['&', '<'], " ");
        let message = format!("{body} {} {}", request.access_key, secrets.join(" "));
        let Answer::Reply(status, text) = error(403, "IncompleteSignature") else { unreachable!() };
        (Duration::ZERO, Answer::Reply(status, text.replace("Unknown", &message)))
    })
}

/// An AWS that answers with something else.
fn garbage() -> FakeAws {
    FakeAws::new(|request: &Request| {
        (Duration::ZERO, Answer::Reply(200, format!("<html>{} {}", request.body, ALL.join(" "))))
    })
}

/// A faulty set-up.
struct Setup {
    folder: Folder,
    variables: Vec<(&'static str, String)>,
    config: Option<&'static str>,
    server: Server,
}

impl Setup {
    /// The fake answers as AWS, but nothing leads to credentials yet.
    async fn new(aws: FakeAws) -> Setup {
        let server = aws.listen().await;
        let variables = vec![("AWS_ENDPOINT_URL", server.url())];
        Setup { folder: Folder::new(), variables, config: None, server }
    }

    fn set(mut self, name: &'static str, value: &str) -> Setup {
        self.variables.push((name, value.to_owned()));
        self
    }

    fn keys(self) -> Setup {
        self.set("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE").set("AWS_SECRET_ACCESS_KEY", KEY)
    }

    /// The default profile.
    fn profile(self, lines: &str) -> Setup {
        self.folder.write("profiles", &format!("[default]\n{lines}\n"));
        let path = self.file("profiles");
        self.set("AWS_CONFIG_FILE", &path)
    }

    /// A variable that names a file with this content.
    fn file_of(self, name: &'static str, content: &str) -> Setup {
        self.folder.write("token", content);
        let path = self.file("token");
        self.set(name, &path)
    }

    fn web_identity(self) -> Setup {
        self.set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/x")
            .file_of("AWS_WEB_IDENTITY_TOKEN_FILE", WEB_TOKEN)
    }

    fn container(self, path: &str) -> Setup {
        let url = format!("{}{path}", self.server.url());
        self.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)
    }

    fn file(&self, name: &str) -> String {
        self.folder.file(name).to_str().expect("UTF-8").to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env("HOME", self.folder.path()).args(["--log.level", "debug"]);
        if let Some(config) = self.config {
            self.folder.write("config.yaml", config);
            command.args(["--config.file", &self.file("config.yaml")]);
        }
        command
    }

    /// All that `check` prints, and its exit code.
    fn check(&self) -> (String, Option<i32>) {
        let output = self.command(&["check"]).output().expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&text).into_owned(), output.status.code())
    }

    /// All output of the server.
    fn serve(&self) -> String {
        let mut command = self.command(&[]);
        command.args(["--web.listen-address", "127.0.0.1:0"]);
        let exporter = Exporter::spawn(command);
        exporter.wait_until_ready();
        let pages = ["/metrics", "/", "/keys.csv"].map(|path| exporter.get(path));
        format!("{}{}", pages.concat(), exporter.end().join("\n"))
    }
}

/// The set-up fails without showing a secret, and its output contains this. `starts`: whether it
/// serves.
async fn fault(name: &'static str, setup: Setup, expected: &'static str, starts: bool) {
    let run = move || {
        let (checked, code) = setup.check();
        assert_eq!(code, Some(2), "{name}: {checked}");
        assert!(checked.contains(expected), "{name}: {checked}");
        assert!(!checked.contains(MARK), "{name}: {checked}");
        if starts {
            let served = setup.serve();
            assert!(served.contains("iam_exporter_build_info"), "{name}: {served}");
            assert!(!served.contains(MARK), "{name}: {served}");
        } else {
            assert_eq!(checked.lines().count(), 1, "{name}: {checked}");
        }
    };
    spawn_blocking(run).await.expect(name);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_sends_back_is_masked() {
    let setup = Setup::new(echo(&[KEY])).await.keys();
    fault("keys", setup, "IncompleteSignature: Action=GetCallerIdentity", true).await;

    let setup = Setup::new(echo(&[KEY, SESSION])).await.keys().set("AWS_SESSION_TOKEN", SESSION);
    fault("session", setup, "IncompleteSignature", true).await;

    let setup = Setup::new(echo(&[WEB_TOKEN])).await.web_identity();
    let expected = "web identity: AssumeRoleWithWebIdentity: IncompleteSignature: ";
    fault("web identity", setup, expected, true).await;

    let profile = format!("aws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = {KEY}");
    let setup = Setup::new(echo(&[KEY])).await.profile(&profile);
    fault("profile", setup, "IncompleteSignature", true).await;

    let role = "role_arn = arn:aws:iam::123456789012:role/x\nsource_profile = default";
    let role = format!("{profile}\n{role}\nexternal_id = {EXTERNAL_ID}");
    let setup = Setup::new(echo(&[KEY, EXTERNAL_ID])).await.profile(&role);
    fault("role of a profile", setup, "profile default: AssumeRole: IncompleteSignature", true)
        .await;

    let mut setup = Setup::new(echo(&[KEY, EXTERNAL_ID])).await.keys();
    setup.config = Some(
        "accounts:\n- id: '123456789012'\n  \
         role_arn: arn:aws:iam::123456789012:role/x\n  external_id: PLANTED-external-id\n",
    );
    fault("role of the configuration", setup, "AssumeRole: IncompleteSignature", true).await;

    let printed =
        format!("{{\"Version\":1,\"AccessKeyId\":\"AKIA1\",\"SecretAccessKey\":\"{PRINTED}\"}}");
    let setup = Setup::new(echo(&[PRINTED])).await;
    let setup = setup.profile(&format!("credential_process = echo '{printed}'"));
    fault("printed", setup, "IncompleteSignature", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sdk_says_is_left_out() {
    let setup = Setup::new(garbage()).await.keys().set("AWS_SESSION_TOKEN", SESSION);
    fault("garbage", setup, "HTTP status 200", true).await;

    let setup = Setup::new(garbage()).await.web_identity();
    fault("garbage for web identity", setup, "AssumeRoleWithWebIdentity: ", true).await;

    let setup = Setup::new(garbage()).await.web_identity();
    let setup = setup.set("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9");
    fault("no STS", setup, "Connection refused (os error 111)", true).await;

    let setup = Setup::new(echo(&[])).await.container("/x");
    let setup = setup.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER);
    fault("container", setup, "the container (ECS, EKS Pod Identity): ", true).await;

    let setup = Setup::new(garbage()).await.container("/x");
    let setup = setup.file_of("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", CONTAINER);
    fault("garbage for a container", setup, "the container (ECS, EKS Pod Identity): ", true).await;

    let sign_on = "sso_start_url = https://x.example\nsso_region = us-east-1\n\
                   sso_account_id = 123456789012\nsso_role_name = r";
    let setup = Setup::new(echo(&[SIGN_ON])).await.profile(sign_on);
    let cache = setup.folder.file(".aws/sso/cache");
    std::fs::create_dir_all(&cache).expect("a folder");
    let token = format!(
        "{{\"accessToken\":\"{SIGN_ON}\",\"expiresAt\":\"2099-01-01T00:00:00Z\",\
         \"startUrl\":\"https://x.example\",\"region\":\"us-east-1\"}}"
    );
    // The SHA-1 of the start URL.
    std::fs::write(cache.join("c55719e72de215dafe81437949af223c7ad440aa.json"), token)
        .expect("a file");
    fault("sign-on", setup, "profile default: ", true).await;

    let setup = Setup::new(echo(&[])).await;
    let setup = setup.profile(&format!("credential_process = echo {PRINTED}; echo {PRINTED} >&2"));
    fault("garbage printed", setup, "printed something other than JSON", true).await;

    let setup = Setup::new(echo(&[])).await;
    let setup = setup.profile(&format!("credential_process = echo {PRINTED} >&2; exit 1"));
    fault("program fails", setup, "failed: exit status: 1", true).await;

    let proxy = format!("http://user:{PASSWORD}@127.0.0.1:9");
    let setup = Setup::new(echo(&[])).await.keys().set("HTTP_PROXY", &proxy);
    fault("proxy", setup, "Connection refused (os error 111)", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_value_is_said_without_it() {
    let setup = Setup::new(echo(&[])).await.set("AWS_ACCESS_KEY_ID", KEY);
    let setup = setup.set("AWS_SECRET_ACCESS_KEY", "AKIAEXAMPLE123456789");
    let expected = "AWS_ACCESS_KEY_ID seems to be swapped with AWS_SECRET_ACCESS_KEY";
    fault("swapped", setup, expected, false).await;

    let setup = Setup::new(echo(&[])).await.set("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE");
    let setup = setup.set("AWS_SECRET_ACCESS_KEY", "PLANTED\nPLANTED");
    let expected = "AWS_SECRET_ACCESS_KEY has a blank or a line break in it";
    fault("secret in two lines", setup, expected, false).await;

    let setup = Setup::new(echo(&[])).await.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "PLANTED\nx");
    let expected = "AWS_CONTAINER_AUTHORIZATION_TOKEN has a line break in it";
    fault("token with a blank", setup, expected, false).await;

    let setup = Setup::new(echo(&[])).await.web_identity().set("AWS_ENDPOINT_URL_STS", "PLANTED");
    let expected = "AWS_ENDPOINT_URL_STS must be a URL such as https://";
    fault("malformed endpoint", setup, expected, false).await;

    let profile = format!("aws_access_key_id = AKIAEXAMPLE\n  aws_secret_access_key = {KEY}");
    let setup = Setup::new(echo(&[])).await.profile(&profile);
    fault("indented", setup, "/profiles:3: an indented line belongs to the line above", true).await;

    let profile = format!("aws_access_key_id = {KEY} x\naws_secret_access_key = {KEY}");
    let setup = Setup::new(echo(&[])).await.profile(&profile);
    fault("id with a blank", setup, "/profiles:2: aws_access_key_id has a blank", true).await;
}
