//! `health`: the command that container platforms run.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::exporter::{Exporter, command, output};
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
    assert!(refusal(&unknown).ends_with("health needs a port number"));
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
    refusal(&answered(b"HTTP/1.1 500 Oh\r\nContent-Length: 10\r\n\r\nmany\nlines"));
    let endless = [b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n", [b'x'; 2000].as_slice()];
    refusal(&answered(Box::leak(endless.concat().into_boxed_slice())));
}
