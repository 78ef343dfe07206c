//! `health`: the command that container platforms run.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::exporter::{Exporter, PATIENCE, Response, command, output};
use crate::support::folder::Folder;
use crate::support::tls::Authority;

fn stdout(output: &Output) -> String {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// The one line of a negative answer.
fn refusal(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr.trim_end().to_owned()
}

/// Runs `health` against a server that answers so to each request.
fn answered(answer: &'static [u8]) -> Output {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("a connection");
        let _ = stream.read(&mut [0; 1024]).expect("a request");
        let _ = stream.write_all(answer);
        // Held open until the client closes.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    output(&["health", "--web.listen-address", &address])
}

#[test]
fn an_exporter_that_runs_is_healthy_and_one_that_tried_every_account_is_ready() {
    let exporter = Exporter::start(&["demo", "--users", "1"]);
    exporter.wait_until_ready();
    let port = format!(":{}", exporter.address.port());
    let healthy = output(&["health", "--web.listen-address", &port]);
    assert_eq!((stdout(&healthy).as_str(), healthy.status.code()), ("healthy\n", Some(0)));
    let ready = output(&["health", "--ready", "--web.listen-address", &port]);
    assert_eq!((stdout(&ready).as_str(), ready.status.code()), ("ready\n", Some(0)));
}

#[test]
fn with_a_web_configuration_it_asks_with_tls_or_without_and_needs_no_password() {
    let hash = bcrypt::hash("secret", 4).expect("a hash");
    let users = format!("basic_auth_users: {{ alice: {hash} }}\n");
    let server = Authority::new("servers").issue(&["localhost"]);
    let tls =
        format!("{users}tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n");
    for text in [users, tls] {
        let folder = Folder::new();
        folder.write("server.crt", &server.certificate);
        folder.write("server.key", &server.key);
        folder.write("web.yml", &text);
        let file = format!("{}/web.yml", folder.path());
        let flags = ["--web.config.file", &file];
        let exporter = Exporter::start(&[&["demo", "--users", "1"], &flags[..]].concat());
        let address = exporter.address.to_string();
        let asked = [&["health", "--web.listen-address", &address], &flags[..]].concat();
        let healthy = output(&asked);
        assert_eq!((stdout(&healthy).as_str(), healthy.status.code()), ("healthy\n", Some(0)));
    }
}

#[test]
fn probes_without_a_certificate_have_an_address_of_their_own() {
    let (clients, folder) = (Authority::new("clients"), Folder::new());
    let server = Authority::new("servers").issue(&["localhost"]);
    folder.write("server.crt", &server.certificate);
    folder.write("server.key", &server.key);
    folder.write("clients.crt", &clients.certificate);
    folder.write(
        "web.yml",
        "tls_server_config: { cert_file: server.crt, key_file: server.key, client_ca_file: clients.crt, client_auth_type: RequireAndVerifyClientCert }\n",
    );
    let web = format!("{}/web.yml", folder.path());
    let flags = ["demo", "--users", "1", "--web.config.file", &web];
    let exporter =
        Exporter::start(&[&flags[..], &["--web.health-address", "127.0.0.1:0"]].concat());
    let line = exporter.log_line("health checks");
    let (_, address) = line.rsplit_once("address=").expect("an address");
    let ask = |more: &[&str]| {
        output(
            &[&["health", "--web.config.file", &web, "--web.health-address", address], more]
                .concat(),
        )
    };
    assert_eq!(stdout(&ask(&[])), "healthy\n");
    let end = Instant::now() + PATIENCE;
    while !ask(&["--ready"]).status.success() {
        assert!(Instant::now() < end, "never ready");
    }
    // Nothing else is there.
    for path in ["/metrics", "/", "/-/reload", "/-/healthy/"] {
        assert_eq!(get(address, "GET", path).status, 404, "{path}");
    }
    assert_eq!(get(address, "POST", "/-/healthy").status, 405);
    let at_the_other = exporter.address.to_string();
    refusal(&output(&["health", "--web.config.file", &web, "--web.listen-address", &at_the_other]));
}

fn get(address: &str, method: &str, path: &str) -> Response {
    let mut stream = TcpStream::connect(address).expect("a connection");
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("a request");
    Response::read(&mut stream)
}

#[test]
fn silent_connections_keep_no_health_check_from_its_address() {
    let exporter =
        Exporter::start(&["demo", "--users", "1", "--web.health-address", "127.0.0.1:0"]);
    let line = exporter.log_line("health checks");
    let (_, address) = line.rsplit_once("address=").expect("an address");
    let _silent: Vec<TcpStream> =
        (0..100).map(|_| TcpStream::connect(address).expect("a connection")).collect();
    let start = Instant::now();
    assert_eq!(get(address, "GET", "/-/healthy").status, 200);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn with_a_certificate_it_gets_an_answer_where_clients_need_one() {
    let clients = Authority::new("clients");
    let server = Authority::new("servers").issue(&["localhost"]);
    let folder = Folder::new();
    for (name, identity) in [("server", &server), ("probe", &clients.issue(&["probe"]))] {
        folder.write(&format!("{name}.crt"), &identity.certificate);
        folder.write(&format!("{name}.key"), &identity.key);
    }
    folder.write("clients.crt", &clients.certificate);
    folder.write(
        "web.yml",
        "tls_server_config: { cert_file: server.crt, key_file: server.key, client_ca_file: clients.crt, client_auth_type: RequireAndVerifyClientCert }\n",
    );
    let path = |name: &str| format!("{}/{name}", folder.path());
    let web = path("web.yml");
    let exporter = Exporter::start(&["demo", "--users", "1", "--web.config.file", &web]);
    let address = exporter.address.to_string();
    let ask =
        |more: &[&str]| output(&[&["health", "--web.listen-address", &address], more].concat());
    let with = |name: &str, key: &str| {
        let (certificate, key) = (path(name), path(key));
        ask(&["--client-cert", &certificate, "--client-key", &key])
    };

    let healthy = with("probe.crt", "probe.key");
    assert_eq!((stdout(&healthy).as_str(), healthy.status.code()), ("healthy\n", Some(0)));
    assert!(refusal(&ask(&["--web.config.file", &web])).ends_with("alert: CertificateRequired"));
    refusal(&with("server.crt", "server.key"));
    for (certificate, key, problem) in [
        ("probe.crt", "server.key", "probe.crt: keys may not be consistent: KeyMismatch"),
        ("probe.key", "probe.key", "probe.key: has no certificate in PEM"),
        ("probe.crt", "probe.crt", "probe.crt: has no private key in PEM, without a passphrase"),
        ("none.crt", "probe.key", "none.crt: No such file or directory (os error 2)"),
    ] {
        let refused = refusal(&with(certificate, key));
        assert_eq!(refused, format!("iam-key-exporter: {}", path(problem)));
    }
    assert_eq!(ask(&["--client-cert", &path("probe.crt")]).status.code(), Some(2));
}

#[test]
fn with_the_sockets_of_systemd_it_asks_at_the_port_of_the_listen_address() {
    let exporter = Exporter::start(&["demo", "--users", "1"]);
    let address = exporter.address.to_string();
    let healthy = output(&["health", "--web.systemd-socket", "--web.listen-address", &address]);
    assert_eq!((stdout(&healthy).as_str(), healthy.status.code()), ("healthy\n", Some(0)));
}

#[test]
fn an_exporter_whose_accounts_were_not_tried_yet_is_healthy_and_not_ready() {
    // AWS that never answers.
    let aws = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut command = command(&["--web.listen-address", "127.0.0.1:0"]);
    command.env("AWS_ENDPOINT_URL", format!("http://{}", aws.local_addr().expect("an address")));
    command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
    let exporter = Exporter::spawn(command);
    let address = exporter.address.to_string();
    assert!(output(&["health", "--web.listen-address", &address]).status.success());
    let ready = output(&["health", "--ready", "--web.listen-address", &address]);
    let expected = format!(
        "iam-key-exporter: {address}: 503 Service Unavailable \"not every account was tried yet\""
    );
    assert_eq!(refusal(&ready), expected);
}

#[test]
fn the_variables_of_the_exporter_are_those_of_its_health_check() {
    let exporter = Exporter::start(&["demo", "--users", "1"]);
    let with_variables = |command: &mut Command| {
        command.env("IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS", exporter.address.to_string());
        // The exporter serves on with its last good configuration.
        command.env("IAM_KEY_EXPORTER_CONFIG_FILE", "/nonexistent.yaml");
        command.output().expect("the binary runs")
    };
    assert_eq!(stdout(&with_variables(&mut command(&["health"]))), "healthy\n");
}

#[test]
fn where_nobody_listens_the_answer_is_no() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let refused = output(&["health", "--web.listen-address", &free.to_string()]);
    assert_eq!(
        refusal(&refused),
        format!("iam-key-exporter: {free}: Connection refused (os error 111)")
    );
    let unknown = output(&["health", "--web.listen-address", "127.0.0.1:0"]);
    assert!(refusal(&unknown).contains("health needs the number of the port"));
}

#[test]
fn an_answer_that_does_not_come_is_no_longer_waited_for() {
    let start = Instant::now();
    assert!(refusal(&answered(b"")).ends_with("no answer within 5 s"));
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nheal";
    assert!(refusal(&answered(half)).ends_with("no answer within 5 s"));
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn an_answer_of_another_program_is_no() {
    refusal(&answered(b"220 mail.example ESMTP\r\n"));
    refusal(&answered(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
    let escapes = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\x1b[2Jmine";
    assert_eq!(stdout(&answered(escapes)), "\\u001b[2Jmine\n");
    refusal(&answered(b"HTTP/1.1 500 Oh\r\nContent-Length: 10\r\n\r\nmany\nlines"));
    let endless = [b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", [b'x'; 2000].as_slice()];
    refusal(&answered(Box::leak(endless.concat().into_boxed_slice())));
}
