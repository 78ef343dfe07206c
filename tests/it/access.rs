//! The web configuration file: access by TLS and passwords, and changes by a reload.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::exporter::{Exporter, PATIENCE, Response, output, value};
use crate::support::folder::Folder;
use crate::support::tls::{Authority, Client, Identity, self_signed};

/// alice:secret
const ALICE: &str = "Authorization: Basic YWxpY2U6c2VjcmV0";
/// alice:wrong
const WRONG: &str = "Authorization: Basic YWxpY2U6d3Jvbmc=";
/// mallory:secret
const UNKNOWN: &str = "Authorization: Basic bWFsbG9yeTpzZWNyZXQ=";

const RELOADED: &str = "iam_exporter_web_config_last_reload_successful";

/// alice, with the password secret.
fn users() -> String {
    let hash = bcrypt::hash("secret", 4).expect("a hash");
    format!("basic_auth_users: {{ alice: {hash} }}\n")
}

fn refused(reason: &str) -> String {
    format!("iam_exporter_http_refused_total{{reason=\"{reason}\"}}")
}

/// An exporter with a web configuration file that can be written again.
struct Subject {
    folder: Folder,
    exporter: Exporter,
    authority: Authority,
}

impl Subject {
    /// With a certificate in `server.crt`, and this configuration.
    fn start(config: &str) -> Subject {
        Subject::start_with(config, &[])
    }

    fn start_with(config: &str, files: &[(&str, &str)]) -> Subject {
        let (folder, authority) = (Folder::new(), Authority::new("servers"));
        for (name, text) in files {
            folder.write(name, text);
        }
        write_server(&folder, &authority.issue(&["localhost"]));
        folder.write("web.yml", config);
        let file = format!("{}/web.yml", folder.path());
        let exporter = Exporter::start(&[
            "demo",
            "--users",
            "5",
            "--web.config.file",
            &file,
            "--log.level",
            "debug",
        ]);
        Subject { folder, exporter, authority }
    }

    fn get(&self, path: &str, headers: &[&str]) -> Response {
        self.exporter.request("GET", path, headers)
    }

    fn over_tls(&self, identity: Option<&Identity>) -> std::io::Result<Response> {
        Client::new(&self.authority, identity).get(self.exporter.address, "/metrics", &[])
    }

    /// Waits until the page that a client with this identity gets passes the check.
    fn page_where(&self, identity: Option<&Identity>, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let page = self.over_tls(identity).expect("an answer").body;
            let page = String::from_utf8(page).expect("UTF-8");
            if wanted(&page) {
                return page;
            }
            assert!(Instant::now() < end, "not the page that was waited for:\n{page}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn write_server(folder: &Folder, server: &Identity) {
    folder.write("server.crt", &server.certificate);
    folder.write("server.key", &server.key);
}

const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

fn mutual(more: &str) -> String {
    format!(
        "{TLS}  client_ca_file: clients.crt\n  client_auth_type: RequireAndVerifyClientCert\n{more}"
    )
}

#[test]
fn everything_but_health_needs_the_password() {
    let subject = Subject::start(&users());
    for path in
        ["/metrics", "/", "/keys.csv", "/key", "/due.ics", "/runbooks", "/status.css", "/nowhere"]
    {
        for headers in [&[][..], &[WRONG], &[UNKNOWN], &["Authorization: Bearer YTpi"]] {
            let response = subject.get(path, headers);
            assert_eq!(response.status, 401, "{path} {headers:?}");
            let challenge = "Basic realm=\"iam-key-exporter\", charset=\"UTF-8\"";
            assert_eq!(response.header("www-authenticate"), Some(challenge));
        }
        assert_ne!(subject.get(path, &[ALICE]).status, 401, "{path}");
    }
    assert_eq!(subject.exporter.request("POST", "/-/reload", &[]).status, 401);
    assert_eq!(subject.exporter.request("POST", "/-/reload", &[ALICE]).status, 403);
    assert_eq!(subject.get("/-/healthy", &[]).status, 200);
    assert_ne!(subject.get("/-/ready", &[]).status, 401);
    // Within 50 ms another scrape gets the same numbers of the exporter itself.
    thread::sleep(Duration::from_millis(100));
    let page = subject.get("/metrics", &[ALICE]).body;
    let page = String::from_utf8(page).expect("UTF-8");
    assert_eq!(value(&page, &refused("password")), Some(33.0));
    for reason in ["certificate", "rate", "busy", "handshake", "connections"] {
        assert_eq!(value(&page, &refused(reason)), Some(0.0));
    }
    assert_eq!(value(&page, "iam_exporter_http_requests_total{code=\"401\"}"), Some(33.0));
}

#[test]
fn each_refusal_is_one_line_with_the_clients_address_and_without_secrets() {
    let subject = Subject::start(&users());
    subject.get("/metrics", &[WRONG]);
    subject.get("/metrics", &[UNKNOWN]);
    subject.get("/metrics", &[]);
    subject.get("/metrics", &[ALICE]);
    let lines: Vec<String> =
        subject.exporter.end().into_iter().filter(|line| line.contains("refused")).collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, (level, fault)) in lines.iter().zip([
        ("level=WARN", "wrong password"),
        ("level=DEBUG", "unknown user"),
        ("level=DEBUG", "no password"),
    ]) {
        assert!(line.contains(level) && line.contains(fault), "{line}");
        assert!(line.contains("peer=127.0.0.1:") && line.contains("reason=password"), "{line}");
        assert!(!line.contains("secret") && !line.contains("mallory"), "{line}");
    }
    assert!(lines[0].contains("user=alice"));
}

#[test]
fn the_configured_headers_are_on_every_response() {
    let subject = Subject::start(&format!(
        "{}http_server_config: {{ headers: {{ X-Frame-Options: deny, Content-Security-Policy: sandbox }} }}\n",
        users()
    ));
    for (path, headers, status) in
        [("/metrics", &[ALICE][..], 200), ("/metrics", &[], 401), ("/-/healthy", &[], 200)]
    {
        let response = subject.get(path, headers);
        assert_eq!(response.status, status);
        assert_eq!(response.header("x-frame-options"), Some("deny"));
        assert_eq!(response.header("content-security-policy"), Some("sandbox"));
    }
    let page = subject.get("/", &[ALICE]);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'"), "the page keeps its own: {policy}");
}

#[test]
fn an_address_that_asks_too_often_is_told_when_to_come_back() {
    let subject = Subject::start("rate_limit: { interval: 1h, burst: 3 }\n");
    for expected in [200, 200, 200, 429, 429] {
        assert_eq!(subject.get("/metrics", &[]).status, expected);
        assert_eq!(subject.get("/-/healthy", &[]).status, 200);
    }
    let wait = subject.get("/", &[]);
    let seconds: u64 = wait.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((3_500..=3_600).contains(&seconds), "{seconds}");
    // A reload changes the limit of those who were refused.
    subject.folder.write("web.yml", "rate_limit: { interval: 1h, burst: 5 }\n");
    subject.exporter.signal("HUP");
    subject.exporter.log_line("web configuration reloaded");
    let statuses = [(); 7].map(|()| subject.get("/metrics", &[]).status);
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429]);
}

#[test]
fn pages_come_over_tls_and_plain_http_is_told_so() {
    let subject = Subject::start(TLS);
    let response = subject.over_tls(None).expect("an answer");
    assert_eq!(response.status, 200);
    let response = subject.get("/metrics", &[]);
    assert_eq!(response.status, 400);
    assert_eq!(response.body, b"This is plain HTTP, but the exporter uses HTTPS.\n");
    subject.page_where(None, |page| value(page, &refused("handshake")) == Some(1.0));
    let line = subject.exporter.log_line("refused");
    assert!(line.contains("reason=handshake") && line.contains("peer=127.0.0.1:"), "{line}");
}

#[test]
fn http2_is_offered_with_tls_unless_it_is_switched_off() {
    for (config, expected) in
        [("", &b"h2"[..]), ("http_server_config: { http2: false }\n", b"http/1.1")]
    {
        let subject = Subject::start(&format!("{TLS}{config}"));
        let client = Client::new(&subject.authority, None).offering(&[b"h2", b"http/1.1"]);
        let stream = client.connect(subject.exporter.address).expect("a handshake");
        assert_eq!(stream.conn.alpn_protocol(), Some(expected));
    }
}

/// A client's first message of TLS 1.1, with one suite.
const HELLO_TLS11: [u8; 50] = {
    let mut hello = [7; 50];
    let head = [22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    let mut at = 0;
    while at < head.len() {
        hello[at] = head[at];
        at += 1;
    }
    let tail = [0, 0, 2, 0xc0, 0x13, 1, 0];
    at = 0;
    while at < tail.len() {
        hello[43 + at] = tail[at];
        at += 1;
    }
    hello
};

#[test]
fn old_versions_of_tls_are_refused_and_counted() {
    let subject = Subject::start(TLS);
    let mut stream = subject.exporter.connect();
    stream.write_all(&HELLO_TLS11).expect("a hello");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    assert_eq!((answer[0], answer[5]), (21, 2), "a fatal alert");
    subject.page_where(None, |page| value(page, &refused("handshake")) == Some(1.0));
    subject.exporter.log_line("reason=handshake");
}

#[test]
fn only_clients_of_the_ca_come_in_and_each_other_is_counted() {
    let clients = Authority::new("clients");
    let subject = Subject::start_with(&mutual(""), &[("clients.crt", &clients.certificate)]);
    let good = clients.issue(&["prometheus.example"]);
    assert_eq!(subject.over_tls(Some(&good)).expect("an answer").status, 200);
    let foreign = Authority::new("others").issue(&["prometheus.example"]);
    let expired = clients.issue_expired(&["prometheus.example"]);
    for (number, (identity, fault)) in
        [(None, "no certificate"), (Some(&foreign), "UnknownIssuer"), (Some(&expired), "expired")]
            .into_iter()
            .enumerate()
    {
        subject.over_tls(identity).err().expect("a failure");
        let count = Some(number as f64 + 1.0);
        subject.page_where(Some(&good), |page| value(page, &refused("certificate")) == count);
        let line = subject.exporter.log_line("refused");
        let has_fault = line.to_lowercase().contains(&fault.to_lowercase());
        assert!(has_fault && line.contains("reason=certificate"), "{line}");
    }
    assert_eq!(value(&subject.page_where(Some(&good), |_| true), &refused("handshake")), Some(0.0));
}

#[test]
fn a_certificate_that_signed_itself_can_be_listed_like_a_ca() {
    let (listed, other) = (self_signed(&["a.example"]), self_signed(&["a.example"]));
    let subject = Subject::start_with(&mutual(""), &[("clients.crt", &listed.certificate)]);
    assert_eq!(subject.over_tls(Some(&listed)).expect("an answer").status, 200);
    subject.over_tls(Some(&other)).err().expect("a failure");
}

#[test]
fn of_the_clients_of_the_ca_only_those_with_an_allowed_name_come_in() {
    let clients = Authority::new("clients");
    let config = mutual("  client_allowed_sans: [prometheus.example, 10.1.2.3]\n");
    let subject = Subject::start_with(&config, &[("clients.crt", &clients.certificate)]);
    for names in [&["prometheus.example"][..], &["x.example", "10.1.2.3"]] {
        let response = subject.over_tls(Some(&clients.issue(names)));
        assert_eq!(response.expect("an answer").status, 200, "{names:?}");
    }
    let other = clients.issue(&["other.example", "10.1.2.4"]);
    subject.over_tls(Some(&other)).err().expect("a failure");
    let line = subject.exporter.log_line("refused");
    assert!(line.contains("it has: other.example, 10.1.2.4"), "{line}");
}

#[test]
fn certificates_that_are_only_asked_for_are_not_verified() {
    let stranger = self_signed(&["stranger.example"]);
    let clients = Authority::new("clients");
    let with_ca = "  client_ca_file: clients.crt\n";
    for (policy, more, without, with) in [
        ("RequestClientCert", "", true, true),
        ("RequireAnyClientCert", "", false, true),
        ("VerifyClientCertIfGiven", with_ca, true, false),
        ("RequireAndVerifyClientCert", "", false, false),
    ] {
        let config = format!("{TLS}{more}  client_auth_type: {policy}\n");
        let subject = Subject::start_with(&config, &[("clients.crt", &clients.certificate)]);
        assert_eq!(subject.over_tls(None).is_ok(), without, "{policy}");
        assert_eq!(subject.over_tls(Some(&stranger)).is_ok(), with, "{policy}");
    }
}

#[test]
fn handshakes_that_never_end_are_closed_and_delay_nobody() {
    let subject = Subject::start(TLS);
    let start = Instant::now();
    let mut silent: Vec<TcpStream> = (0..25).map(|_| subject.exporter.connect()).collect();
    let mut half: Vec<TcpStream> = (0..25).map(|_| subject.exporter.connect()).collect();
    for stream in &mut half {
        stream.write_all(&[22, 3, 1, 0]).expect("a part of a hello");
    }
    let asked = Instant::now();
    assert_eq!(subject.over_tls(None).expect("an answer").status, 200);
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    for stream in silent.iter_mut().chain(&mut half) {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    let took = start.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(15)).contains(&took), "{took:?}");
    subject.page_where(None, |page| value(page, &refused("handshake")) == Some(50.0));
}

#[test]
fn checks_of_the_port_are_no_failed_handshakes_and_a_silent_client_delays_no_end() {
    let mut subject = Subject::start(TLS);
    drop(subject.exporter.connect());
    let reset = subject.exporter.connect();
    socket2::SockRef::from(&reset).set_linger(Some(Duration::ZERO)).expect("a setting");
    drop(reset);
    let _silent = subject.exporter.connect();
    let page =
        subject.page_where(None, |page| value(page, "iam_exporter_http_connections") == Some(2.0));
    assert_eq!(value(&page, &refused("handshake")), Some(0.0));
    let start = Instant::now();
    subject.exporter.signal("TERM");
    while subject.exporter.exit_code().is_none() {
        assert!(start.elapsed() < Duration::from_secs(3), "it has not ended");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_changed_file_is_read_again_without_a_signal_and_a_broken_one_changes_nothing() {
    let subject = Subject::start(&users());
    let reloaded = |login: &str| {
        // The exporter's own metrics can be 50 ms old.
        thread::sleep(Duration::from_millis(60));
        let page = subject.get("/metrics", &[login]).body;
        value(&String::from_utf8(page).expect("UTF-8"), RELOADED)
    };
    assert_eq!(reloaded(ALICE), Some(1.0));
    let new = bcrypt::hash("secret", 4).expect("a hash");
    // A connection from before the reload.
    let mut kept = subject.exporter.connect();
    ask(&mut kept);
    let broken = "basic_auth_users:\n  alice: plain\n";
    subject.folder.write("web.yml", broken);
    subject.exporter.log_line("web configuration not reloaded");
    assert_eq!(reloaded(ALICE), Some(0.0));
    ask(&mut kept);
    thread::sleep(Duration::from_millis(2_500)); // two more looks at the broken file
    subject.folder.write("web.yml", &format!("basic_auth_users: {{ bob: {new} }}\n"));
    let line = subject.exporter.log_line("web configuration");
    assert!(line.contains("reloaded") && !line.contains("not reloaded"), "once: {line}");
    assert_eq!(subject.get("/metrics", &[ALICE]).status, 401);
    // bob:secret
    let bob = "Authorization: Basic Ym9iOnNlY3JldA==";
    assert_eq!(reloaded(bob), Some(1.0));
    subject.folder.write("web.yml", "{}\n");
    subject.exporter.signal("HUP");
    subject.exporter.log_line("no password is needed any more");
    assert_eq!(subject.get("/metrics", &[]).status, 200);
}

#[test]
fn half_of_a_file_that_is_being_written_lets_nobody_in() {
    let headers = "http_server_config: { headers: { X-Frame-Options: deny } }\n";
    let subject = Subject::start(&format!("{headers}{}", users()));
    subject.folder.write("web.yml", headers);
    let line = subject.exporter.log_line("asks less of clients");
    assert!(line.contains("level=WARN") && line.contains("dropped=passwords"), "{line}");
    assert_eq!(subject.get("/metrics", &[]).status, 401);
    subject.folder.write("web.yml", &format!("{headers}{}rate_limit: {{}}\n", users()));
    subject.exporter.log_line("web configuration reloaded");
    assert_eq!(subject.get("/metrics", &[]).status, 401);
    assert_eq!(subject.get("/metrics", &[ALICE]).status, 200);
    // A file that stays so is meant.
    subject.folder.write("web.yml", headers);
    subject.exporter.log_line("no password is needed any more");
    assert_eq!(subject.get("/metrics", &[]).status, 200);
}

#[test]
fn half_of_a_file_that_is_being_written_lets_nobody_in_without_a_certificate() {
    let clients = Authority::new("clients");
    let names = "  client_allowed_sans: [prometheus.example]\n";
    let subject = Subject::start_with(&mutual(names), &[("clients.crt", &clients.certificate)]);
    let (good, other) = (clients.issue(&["prometheus.example"]), clients.issue(&["x.example"]));
    for (half, dropped) in [
        (TLS.to_owned(), "client certificates, verified client certificates, allowed names"),
        (mutual(""), "dropped=\"allowed names of clients\""),
    ] {
        subject.folder.write("web.yml", &half);
        let line = subject.exporter.log_line("asks less of clients");
        assert!(line.contains(dropped), "{line}");
        assert_eq!(subject.over_tls(Some(&good)).expect("an answer").status, 200);
        subject.over_tls(Some(&other)).err().expect("a failure");
        subject.over_tls(None).err().expect("a failure");
        subject.folder.write("web.yml", &mutual(names));
        subject.exporter.log_line("web configuration reloaded");
    }
}

/// One request on a connection that stays.
fn ask(stream: &mut TcpStream) {
    let request = format!("GET /-/healthy HTTP/1.1\r\nHost: x\r\n{ALICE}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request is written");
    let mut answer = Vec::new();
    while !answer.ends_with(b"healthy\n") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).expect("an answer");
        assert_ne!(read, 0, "the connection was closed");
        answer.extend_from_slice(&buffer[..read]);
    }
}

#[test]
fn a_new_certificate_is_used_when_its_key_is_there() {
    let subject = Subject::start(TLS);
    let presented = || {
        let client = Client::new(&subject.authority, None);
        let stream = client.connect(subject.exporter.address).expect("a handshake");
        stream.conn.peer_certificates().expect("a certificate")[0].to_vec()
    };
    let first = presented();
    let next = subject.authority.issue(&["localhost"]);
    subject.folder.write("server.crt", &next.certificate);
    let line = subject.exporter.log_line("web configuration not reloaded");
    assert!(
        line.contains("tls_server_config.key_file: ") && line.contains("does not belong"),
        "{line}"
    );
    assert_eq!(presented(), first);
    subject.folder.write("server.key", &next.key);
    subject.exporter.log_line("web configuration reloaded");
    assert_ne!(presented(), first);
    subject.folder.remove("server.key");
    subject.exporter.log_line("web configuration not reloaded");
    assert_eq!(subject.over_tls(None).expect("an answer").status, 200);
}

#[test]
fn without_the_flag_there_is_no_metric_of_it() {
    let exporter = Exporter::start(&["demo", "--users", "5"]);
    let page = exporter.get("/metrics");
    assert!(!page.contains(RELOADED));
    assert_eq!(value(&page, &refused("password")), Some(0.0));
}

#[test]
fn check_config_reads_the_file_and_those_that_it_names() {
    let folder = Folder::new();
    write_server(&folder, &Authority::new("servers").issue(&["localhost"]));
    folder.write("web.yml", &format!("{TLS}  min_version: TLS11\n{}", users()));
    let file = format!("{}/web.yml", folder.path());
    let arguments = ["check-config", "--web.config.file", &file];
    let told = output(&arguments);
    assert!(told.status.success());
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(out.ends_with("web: TLS, with HTTP/2\nweb: passwords of alice\n"), "{out}");
    assert!(err.starts_with("warning: tls_server_config.min_version: counts as TLS12"), "{err}");

    folder.remove("server.key");
    for arguments in [&arguments[..], &["demo", "--web.config.file", &file]] {
        let told = output(arguments);
        assert_eq!(told.status.code(), Some(2));
        let err = String::from_utf8_lossy(&told.stderr);
        let expected = "web.yml:3: tls_server_config.key_file: ";
        assert!(err.contains("--web.config.file: ") && err.contains(expected), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}
