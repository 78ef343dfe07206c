//! The sources of credentials, and the errors if none can be used.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::spawn_blocking;

use crate::support::answers::{error, identity, keys, report, service_credentials, summary};
use crate::support::exporter::{Exporter, command, value};
use crate::support::fake_aws::{ACCOUNT, FakeAws, account};
use crate::support::folder::Folder;
use crate::support::protocol::{Answer, Request};
use crate::support::report::OLD;

/// An account that can be read, with one unrotated key.
fn well(call: &str) -> Answer {
    match call {
        "ListAccessKeys alpha" => keys(&[("AKIAALPHA", "Active", OLD)]),
        "ListServiceSpecificCredentials" => service_credentials(&[], None),
        _ => report("alpha", 1),
    }
}

fn in_seconds(seconds: i64) -> DateTime<Utc> {
    Utc::now() + TimeDelta::seconds(seconds)
}

/// `check` with these variables and no others of AWS's.
fn check(variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = command(&["check"]);
    command.env("HOME", "/nonexistent").envs(variables.iter().copied());
    let output = command.output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_variable_that_is_not_utf_8_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let mut command = command(&["check"]);
    command.env("AWS_PROFILE", std::ffi::OsStr::from_bytes(b"prod\xff"));
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "iam-key-exporter: AWS_PROFILE is not UTF-8\n");
}

/// The error for a default profile with these lines.
fn refusal(content: &[u8], variables: &[(&str, &str)]) -> String {
    let folder = Folder::new();
    let path = folder.file("profiles");
    fs::write(&path, content).expect("a file");
    let path = path.to_str().expect("UTF-8");
    let endpoint = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let variables = [&[("AWS_CONFIG_FILE", path), endpoint], variables].concat();
    let (code, stderr) = check(&variables);
    assert_eq!(code, Some(2), "{stderr}");
    stderr.replace(folder.path(), "")
}

#[test]
fn a_variable_that_is_invalid_is_refused_at_the_start() {
    for (name, text, expected) in [
        ("AWS_ENDPOINT_URL", "", "AWS_ENDPOINT_URL is empty: unset it, or give a URL"),
        ("AWS_ENDPOINT_URL_STS", "", "AWS_ENDPOINT_URL_STS is empty: unset it, or give a URL"),
        ("AWS_ACCESS_KEY_ID", "AKIA\nX", "AWS_ACCESS_KEY_ID has a blank or a line break in it"),
        (
            "AWS_CA_BUNDLE",
            "/nonexistent",
            "AWS_CA_BUNDLE /nonexistent: No such file or directory (os error 2)",
        ),
        ("AWS_CA_BUNDLE", "/dev/null", "AWS_CA_BUNDLE /dev/null: is not a regular file"),
        ("AWS_REGION", "us-east-1 x", "AWS_REGION must be a region such as eu-west-1"),
        ("AWS_DEFAULT_REGION", "a/b", "AWS_DEFAULT_REGION must be a region such as eu-west-1"),
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "user:planted-password@127.0.0.1:1",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI must be a URL such as https://sts.eu-west-1.amazonaws.com",
        ),
        (
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "user:planted-password@127.0.0.1:1",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT must be a URL such as https://sts.eu-west-1.amazonaws.com",
        ),
        (
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "user:planted-password@127.0.0.1:1",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI must begin with /",
        ),
        (
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "eyJhbGciOiJub25lIn0.e30.c2ln",
            "AWS_WEB_IDENTITY_TOKEN_FILE is wrong: the value is not a path",
        ),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            &"planted-token".repeat(20),
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE is wrong: the value is not a path",
        ),
    ] {
        let (code, stderr) = check(&[(name, text)]);
        assert_eq!((code, stderr), (Some(2), format!("iam-key-exporter: {expected}\n")), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blanks_around_a_key_and_an_empty_region_do_not_count() {
    let aws = FakeAws::new(|request: &Request| {
        let is_right =
            (request.access_key.as_str(), request.region.as_str()) == ("AKIAEXAMPLE", "us-east-1");
        let call = request.call();
        let answer = match call.as_str() {
            _ if !is_right => error(403, "AccessDenied"),
            "GetCallerIdentity" => identity(ACCOUNT),
            "GetAccountSummary" => summary(),
            call => well(call),
        };
        (Duration::ZERO, answer)
    });
    let server = aws.listen().await;
    let url = server.url();
    let run = move || {
        check(&[
            ("AWS_ENDPOINT_URL", &url),
            ("AWS_REGION", ""),
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE\n"),
            ("AWS_SECRET_ACCESS_KEY", "secret\r\n"),
        ])
    };
    let (code, stderr) = spawn_blocking(run).await.expect("it runs");
    assert_eq!(code, Some(1), "{stderr}");
}

#[test]
fn a_fault_of_a_profile_is_named_with_file_and_line() {
    for (content, expected) in [
        (&b"[default]\nregion = x\n  y = z"[..], "/profiles:3: an indented line belongs to"),
        (b"[default]\n# \xff", "/profiles:2: not UTF-8"),
        (
            b"[default]\nrole_arn = r\nweb_identity_token_file = /nonexistent",
            "profile default: /nonexistent: No such file or directory",
        ),
        (b"[default]\nlogin_session = x", "profile default signs in with `aws login`"),
        (b"[default]\ncredential_process = exit 1", "credential_process of profile default failed"),
        (
            b"[default]\nrole_arn = r\nsource_profile = b\n[profile b]\ncredential_process = exit 1",
            "credential_process of profile b failed",
        ),
    ] {
        let stderr = refusal(content, &[]);
        assert!(stderr.contains("credentials: ") && stderr.contains(expected), "{stderr}");
    }
    let stderr = refusal(b"", &[("AWS_PROFILE", "x")]);
    assert!(stderr.contains("no profile x in /profiles or "), "{stderr}");
    let stderr = refusal(b"", &[("AWS_SHARED_CREDENTIALS_FILE", "/")]);
    assert!(stderr.contains("/: is a directory, not a file"), "{stderr}");
    let token = [("AWS_ROLE_ARN", "r"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent")];
    let stderr = refusal(b"", &token);
    assert!(stderr.contains("web identity: /nonexistent: No such file"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn profile_files_that_are_pipes_are_refused_and_devices_have_no_lines() {
    let server = FakeAws::new(account(well)).listen().await;
    let url = server.url();
    let run = move || {
        let folder = Folder::new();
        let pipe = folder.file("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
        let pipe = pipe.to_str().expect("UTF-8");
        for name in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
            let begin = std::time::Instant::now();
            let stderr = refusal(b"", &[(name, pipe)]);
            assert!(stderr.contains("/pipe: is not a regular file"), "{stderr}");
            assert!(begin.elapsed() < Duration::from_secs(8), "it hangs");
        }
        let keys = [("AWS_ENDPOINT_URL", &*url), ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")];
        let keys = [&keys[..], &[("AWS_SECRET_ACCESS_KEY", "secret")]].concat();
        for file in ["/dev/null", pipe] {
            // The environment comes before profiles.
            let files = [("AWS_CONFIG_FILE", file), ("AWS_SHARED_CREDENTIALS_FILE", file)];
            let (code, stderr) = check(&[&keys[..], &files].concat());
            assert_eq!(code, Some(1), "{stderr}");
        }
        let stderr = refusal(b"", &[("AWS_CONFIG_FILE", "/dev/null")]);
        assert!(stderr.contains("no credentials found in the environment"), "{stderr}");
    };
    spawn_blocking(run).await.expect("it runs");
}

#[test]
fn a_short_token_in_the_place_of_its_path_is_not_printed() {
    let token = "planted+token/of-a-few-bytes==";
    let role = ("AWS_ROLE_ARN", "r");
    let profile = format!("[default]\nrole_arn = r\nweb_identity_token_file = {token}");
    let container = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9");
    for (content, variables) in [
        ("", vec![role, ("AWS_WEB_IDENTITY_TOKEN_FILE", token)]),
        ("", vec![container, ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token)]),
        (&profile, vec![]),
    ] {
        let stderr = refusal(content.as_bytes(), &variables);
        assert!(stderr.contains(": ***: No such file or directory"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn system_certificates_are_read_at_the_start_and_never_again() {
    let server = FakeAws::new(account(well)).listen().await;
    let url = server.url();
    let run = move || {
        let folder = Folder::new();
        let file = |name: &str| folder.file(name).to_str().expect("UTF-8").to_owned();
        let certificates = file("ca.pem");
        make_certificate("localhost", &file("key.pem"), &certificates);
        // A pipe takes their place before the first call.
        let program = format!(
            "#!/bin/sh\nrm -f {certificates}\nmkfifo {certificates}\necho '{}'\n",
            r#"{"Version": 1, "AccessKeyId": "AKIAEXAMPLE", "SecretAccessKey": "secret"}"#
        );
        folder.write("program", &program);
        let profile = format!("[default]\ncredential_process = sh {}\n", file("program"));
        folder.write("profiles", &profile);
        let (code, stderr) = check(&[
            ("AWS_ENDPOINT_URL", &url),
            ("AWS_CONFIG_FILE", &file("profiles")),
            ("SSL_CERT_FILE", &certificates),
        ]);
        assert_eq!(code, Some(1), "{stderr}");
        assert!(!fs::metadata(&certificates).expect("a pipe").is_file(), "the program ran");
    };
    spawn_blocking(run).await.expect("it runs");
}

#[test]
fn certificates_in_what_is_no_file_are_named_with_their_variable_or_profile() {
    let folder = Folder::new();
    let pipe = folder.file("ca.pem");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let pipe = pipe.to_str().expect("UTF-8");
    let (code, stderr) = check(&[("AWS_CA_BUNDLE", pipe)]);
    let expected = format!("iam-key-exporter: AWS_CA_BUNDLE {pipe}: is not a regular file\n");
    assert_eq!((code, stderr), (Some(2), expected));
    let profile = format!("[default]\nca_bundle = {pipe}\n");
    let stderr = refusal(profile.as_bytes(), &[]);
    let expected = format!("credentials: ca_bundle of profile default: {pipe}: is not a regular");
    assert!(stderr.contains(&expected), "{stderr}");
    let token = format!("[default]\nrole_arn = r\nweb_identity_token_file = {pipe}");
    let stderr = refusal(token.as_bytes(), &[]);
    assert!(stderr.contains("ca.pem: is not a regular file"), "{stderr}");
}

#[test]
fn system_certificates_that_cannot_be_read_in_time_end_the_start() {
    let folder = Folder::new();
    let pipe = folder.file("ca.pem");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let (code, stderr) = check(&[("SSL_CERT_FILE", pipe.to_str().expect("UTF-8"))]);
    assert_eq!(code, Some(2), "{stderr}");
    let expected = "iam-key-exporter: reading the system's certificates takes too long: see SSL_CERT_FILE, SSL_CERT_DIR\n";
    assert_eq!(stderr, expected);
}

#[test]
fn a_credential_process_that_hangs_is_killed_and_named() {
    let stderr = refusal(b"[default]\ncredential_process = sleep 600", &[]);
    let expected = "credential_process of profile default did not end within 15 seconds";
    assert!(stderr.contains(expected), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_gets_the_calls_but_never_sees_the_credentials_of_a_container() {
    // The container's endpoint is the fake. The proxy is another one, and the only way to AWS.
    let container = FakeAws::new(|_: &Request| {
        let credentials = r#"{"AccessKeyId": "AKIACONTAINER", "SecretAccessKey": "secret",
            "Token": "token", "Expiration": "2099-01-01T00:00:00Z"}"#;
        (Duration::ZERO, Answer::Reply(200, credentials.to_owned()))
    });
    let proxy = FakeAws::new(account(well));
    let (of_container, of_proxy) = (container.listen().await, proxy.listen().await);
    let (url, proxy_url) = (format!("{}/creds", of_container.url()), of_proxy.url());
    let run = move || {
        check(&[
            ("AWS_ENDPOINT_URL", "http://aws.invalid"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url),
            ("HTTP_PROXY", &proxy_url),
        ])
    };
    let (code, stderr) = spawn_blocking(run).await.expect("it runs");
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(container.calls().len(), 1);
    let calls: Vec<String> = proxy.calls().into_iter().map(|(_, call)| call).collect();
    assert!(calls.iter().all(|call| !call.is_empty()), "{calls:?}");
    assert!(calls.contains(&"GetCallerIdentity".to_owned()), "{calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_with_a_star_covers_addresses() {
    let server = FakeAws::new(account(well)).listen().await;
    let url = server.url();
    let run = move || {
        let common = [
            ("AWS_ENDPOINT_URL", url.as_str()),
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("HTTP_PROXY", "http://127.0.0.1:9"),
        ];
        [check(&common), check(&[&common[..], &[("NO_PROXY", "x, *")]].concat())]
    };
    let [(proxied, _), (direct, stderr)] = spawn_blocking(run).await.expect("it runs");
    assert_eq!(proxied, Some(2));
    assert_eq!(direct, Some(1), "{stderr}");
}

/// Writes a new key and its certificate for this host.
fn make_certificate(host: &str, key: &str, certificate: &str) {
    let status = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-keyout", key, "-out", certificate, "-days", "2"])
        .args(["-subj", &format!("/CN={host}"), "-addext", &format!("subjectAltName=DNS:{host}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .stderr(Stdio::null())
        .status();
    assert!(status.expect("openssl runs").success());
}

/// A server with its own certificate, by `openssl`, that sends its input back in reverse.
struct TlsServer {
    child: Child,
    folder: Folder,
    port: u16,
}

impl TlsServer {
    fn start() -> TlsServer {
        let folder = Folder::new();
        let file = |name: &str| folder.file(name).to_str().expect("UTF-8").to_owned();
        let (key, certificate) = (file("key.pem"), file("ca.pem"));
        make_certificate("localhost", &key, &certificate);
        let mut child = Command::new("openssl")
            .args([
                "s_server",
                "-accept",
                "127.0.0.1:0",
                "-rev",
                "-key",
                &key,
                "-cert",
                &certificate,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let accept = lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("ACCEPT"));
        let accept = accept.expect("openssl listens");
        let port = accept.rsplit(':').next().and_then(|port| port.trim().parse().ok());
        std::thread::spawn(move || lines.for_each(drop));
        TlsServer { child, port: port.expect("a port"), folder }
    }

    /// The result of calls to it with these variables.
    fn check(&self, variables: &[(&str, &str)]) -> String {
        let url = format!("https://localhost:{}", self.port);
        let common = [
            ("AWS_ENDPOINT_URL", url.as_str()),
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        let (code, stderr) = check(&[&common[..], variables].concat());
        assert_eq!(code, Some(2), "{stderr}");
        stderr
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_certificates_of_aws_ca_bundle_and_of_a_profile_are_trusted() {
    let server = TlsServer::start();
    let bundle = server.folder.file("ca.pem");
    let bundle = bundle.to_str().expect("UTF-8");
    server.folder.write("profiles", &format!("[default]\nca_bundle = {bundle}\n"));
    let profiles = server.folder.file("profiles");
    let profiles = profiles.to_str().expect("UTF-8");
    // It does not answer as AWS does, so the call fails all the same, but not because of TLS.
    for trusted in
        [("AWS_CA_BUNDLE", bundle), ("AWS_CONFIG_FILE", profiles), ("SSL_CERT_FILE", bundle)]
    {
        let stderr = server.check(&[trusted]);
        assert!(stderr.contains("network: GetCallerIdentity: "), "{trusted:?}: {stderr}");
        assert!(!stderr.contains("certificate"), "{trusted:?}: {stderr}");
    }
    let other = server.folder.file("other.pem");
    let other = other.to_str().expect("UTF-8");
    make_certificate("other.example", "/dev/null", other);
    let stderr = server.check(&[("AWS_CA_BUNDLE", other)]);
    assert!(stderr.contains("the certificate is of an unknown issuer"), "{stderr}");
    let stderr = server.check(&[("SSL_CERT_FILE", "/nonexistent")]);
    assert!(stderr.contains("there are no CA certificates on this system"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_differs_from_aws_is_shown_and_said_once() {
    let aws = FakeAws::new(account(|call: &str| well(call).dated(in_seconds(400))));
    let server = aws.listen().await;
    let mut command = command(&["--web.listen-address", "127.0.0.1:0", "--refresh.interval", "1s"]);
    command.env("AWS_ENDPOINT_URL", server.url());
    command.env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret");
    let run = move || {
        let exporter = Exporter::spawn(command);
        exporter.wait_until_ready();
        let skew = |page: &str| value(page, "iam_exporter_clock_skew_seconds");
        exporter
            .page_where(|page| skew(page).is_some_and(|skew| (-402.0..=-395.0).contains(&skew)));
        exporter.log_line("differs from that of AWS by more than five minutes");
        let failures = "iam_refresh_failures_total{account_id=\"123456789012\",reason=\"clock\"}";
        exporter.page_where(|page| value(page, failures).is_some_and(|count| count > 0.0));
        // Keys are judged by AWS's clock.
        let age = |page: &str| {
            let line = page.lines().find(|line| line.starts_with("iam_access_key_age_days{"));
            line?.rsplit_once(' ')?.1.parse::<f64>().ok()
        };
        let before = age(&exporter.get("/metrics")).expect("a key");
        aws.follow(account(|call: &str| well(call).dated(in_seconds(30 * 86_400))));
        exporter
            .page_where(|page| age(page).is_some_and(|age| (29.9..30.1).contains(&(age - before))));
        aws.follow(account(|call: &str| well(call).dated(in_seconds(0))));
        exporter.page_where(|page| age(page).is_some_and(|age| (age - before).abs() < 0.1));
        exporter.log_line("agrees with that of AWS again");
        exporter.page_where(|page| skew(page).is_some_and(|skew| skew.abs() <= 5.0));
        // A page of something in between says nothing of the time.
        let page = || Answer::Reply(200, "<html>blocked</html>".to_owned());
        aws.follow(move |_: &Request| (Duration::ZERO, page().dated(in_seconds(-30 * 86_400))));
        let failures =
            "iam_refresh_failures_total{account_id=\"123456789012\",reason=\"service_error\"}";
        let page = exporter.page_where(|page| value(page, failures) > Some(0.0));
        assert!(age(&page).is_some_and(|age| (age - before).abs() < 0.1), "{page}");
        exporter.log_line("differs from");
        let rest = exporter.end();
        assert!(rest.iter().all(|line| !line.contains("differs from")), "{rest:?}");
    };
    spawn_blocking(run).await.expect("it runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_is_refused_because_of_the_clock_counts_as_that() {
    for (code, ahead, expected) in [
        ("SignatureDoesNotMatch", 1000, "clock: GetCallerIdentity: SignatureDoesNotMatch"),
        ("SignatureDoesNotMatch", 0, "credentials: GetCallerIdentity: SignatureDoesNotMatch"),
        ("RequestTimeTooSkewed", 0, "clock: GetCallerIdentity: RequestTimeTooSkewed"),
        ("AuthFailure", 0, "credentials: GetCallerIdentity: AuthFailure"),
    ] {
        let refuse = move |_: &Request| (Duration::ZERO, error(403, code).dated(in_seconds(ahead)));
        let server = FakeAws::new(refuse).listen().await;
        let url = server.url();
        let run = move || {
            check(&[
                ("AWS_ENDPOINT_URL", &url),
                ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
            ])
        };
        let (_, stderr) = spawn_blocking(run).await.expect("it runs");
        assert!(stderr.contains(expected), "{stderr}");
    }
}
