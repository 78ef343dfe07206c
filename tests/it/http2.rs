//! HTTP/2: its clients have the same limits as those of HTTP/1.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::support::exporter::{Exporter, PATIENCE};
use crate::support::folder::Folder;
use crate::support::tls::{Authority, Client};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &frame_head(0, 4, 0, 0);
/// The start of the head of a request.
const HALF_HEAD: &[u8] = &[0, 0, 20, 1, 5, 0, 0, 0, 1, 0x82, 0x87];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const fn frame_head(length: u8, kind: u8, flags: u8, stream: u8) -> [u8; 9] {
    [0, 0, length, kind, flags, 0, 0, 0, stream]
}

/// The head of a frame, and its bytes.
fn read_frame(stream: &mut impl Read) -> ([u8; 9], Vec<u8>) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).expect("a frame");
    let mut bytes = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut bytes).expect("its bytes");
    (head, bytes)
}

/// An exporter with TLS, and connections to it that have chosen HTTP/2.
struct Subject {
    exporter: Exporter,
    client: Client,
    _folder: Folder,
}

impl Subject {
    fn start() -> Subject {
        Subject::start_with("")
    }

    fn start_with(config: &str) -> Subject {
        let (folder, authority) = (Folder::new(), Authority::new("servers"));
        let server = authority.issue(&["localhost"]);
        folder.write("server.crt", &server.certificate);
        folder.write("server.key", &server.key);
        let tls = "tls_server_config: { cert_file: server.crt, key_file: server.key }\n";
        folder.write("web.yml", &format!("{tls}{config}"));
        let file = format!("{}/web.yml", folder.path());
        let exporter = Exporter::start(&["demo", "--users", "5", "--web.config.file", &file]);
        let client = Client::new(&authority, None).offering(&[b"h2"]);
        Subject { exporter, client, _folder: folder }
    }

    fn connect(&self, said: &[u8]) -> StreamOwned<ClientConnection, TcpStream> {
        let mut stream = self.client.connect(self.exporter.address).expect("a handshake");
        stream.write_all(said).expect("it is written");
        stream
    }

    /// The statuses of the answers to GET requests with these headers, one after the other on one connection.
    fn statuses(&self, path: &str, headers: &[&[(&str, &str)]]) -> Vec<u16> {
        let asking = async {
            let stream = tokio::net::TcpStream::connect(self.exporter.address).await?;
            let name = ServerName::try_from("localhost")?;
            let stream = TlsConnector::from(self.client.config()).connect(name, stream).await?;
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let mut statuses = Vec::new();
            for headers in headers {
                let mut request = Request::get(format!("https://localhost{path}"));
                for (name, value) in *headers {
                    request = request.header(*name, *value);
                }
                let request = request.body(Empty::<Bytes>::new())?;
                let response = sender.send_request(request).await?;
                statuses.push(response.status().as_u16());
                response.into_body().collect().await?;
            }
            Ok::<_, Box<dyn std::error::Error>>(statuses)
        };
        let runtime = Runtime::new().expect("a runtime");
        let asked = runtime.block_on(async { timeout(PATIENCE, asking).await });
        asked.expect("answers in time").expect("answers")
    }

    /// The frames that answer a request, which has these fields and then these frames: the kind of each, and
    /// its first byte.
    fn ask(&self, fields: &[u8], flags: u8, rest: &[u8]) -> Vec<(u8, Option<u8>)> {
        let head = frame_head(fields.len() as u8, HEADERS, flags | END_HEADERS, 1);
        let mut stream = self.connect(&[PREFACE, SETTINGS, &head, fields, rest].concat());
        let mut frames = Vec::new();
        loop {
            let (head, bytes) = read_frame(&mut stream);
            if head[8] == 1 && [DATA, HEADERS].contains(&head[3]) {
                frames.push((head[3], bytes.first().copied()));
                if head[4] & END_STREAM != 0 {
                    return frames;
                }
            }
        }
    }
}

#[test]
fn all_but_health_checks_need_the_password() {
    let hash = bcrypt::hash("secret", 4).expect("a hash");
    let subject = Subject::start_with(&format!("basic_auth_users: {{ alice: {hash} }}\n"));
    // alice:wrong and alice:secret
    let wrong = ("authorization", "Basic YWxpY2U6d3Jvbmc=");
    let right = ("authorization", "Basic YWxpY2U6c2VjcmV0");
    let statuses = |path| subject.statuses(path, &[&[], &[wrong], &[right], &[]]);
    assert_eq!(statuses("/metrics"), [401, 401, 200, 401], "each request needs it");
    assert_eq!(statuses("/-/healthy"), [200; 4]);
}

#[test]
fn the_requests_of_one_connection_count_for_the_rate_limit() {
    let subject = Subject::start_with("rate_limit: { interval: 1h, burst: 2 }\n");
    assert_eq!(subject.statuses("/metrics", &[&[][..]; 4]), [200, 200, 429, 429]);
    assert_eq!(subject.statuses("/-/healthy", &[&[]]), [200]);
}

#[test]
fn a_head_of_more_than_16_kib_is_refused() {
    let subject = Subject::start();
    let (fits, long) = ("x".repeat(15 << 10), "x".repeat(17 << 10));
    let statuses = subject.statuses("/metrics", &[&[("cookie", &fits)], &[("cookie", &long)], &[]]);
    assert_eq!(statuses, [200, 431, 200]);
}

/// A request for / on each of these streams, of whose answer no byte may be sent but its head.
fn without_window(streams: &[u8]) -> Vec<u8> {
    const INITIAL_WINDOW_SIZE: [u8; 6] = [0, 4, 0, 0, 0, 0];
    let mut said = [PREFACE, &frame_head(6, 4, 0, 0), &INITIAL_WINDOW_SIZE].concat();
    for stream in streams {
        // `:method: GET`, `:scheme: https`, `:path: /`
        said.extend(frame_head(3, HEADERS, END_HEADERS | END_STREAM, *stream));
        said.extend(b"\x82\x87\x84");
    }
    said
}

#[test]
fn slow_readers_keep_nobody_out() {
    let subject = Subject::start();
    let mut slow: Vec<_> = (0..64).map(|_| subject.connect(&without_window(&[1]))).collect();
    for stream in &mut slow {
        while read_frame(stream).0[3] != HEADERS {}
    }
    let start = Instant::now();
    while subject.statuses("/metrics", &[&[]]) != [200] {
        assert!(start.elapsed() < Duration::from_secs(8), "still kept out");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn of_one_connection_four_requests_are_answered_at_a_time() {
    let subject = Subject::start();
    let mut stream = subject.connect(&without_window(&[1, 3, 5, 7, 9]));
    let mut answered = Vec::new();
    let refused = loop {
        let (head, bytes) = read_frame(&mut stream);
        match head[3] {
            HEADERS => answered.push(head[8]),
            RST_STREAM => break (head[8], bytes),
            _ => {}
        }
    };
    const REFUSED_STREAM: u8 = 7;
    assert_eq!(refused, (9, vec![0, 0, 0, REFUSED_STREAM]));
    assert!(!answered.contains(&9), "{answered:?}");
}

/// `:status: 200`
const OK: u8 = 0x88;

#[test]
fn a_head_has_no_body() {
    // `:method: HEAD`, `:scheme: https`, `:path: /`
    let frames = Subject::start().ask(b"\x02\x04HEAD\x87\x84", END_STREAM, b"");
    assert_eq!(frames, [(HEADERS, Some(OK))]);
}

#[test]
fn a_body_of_no_bytes_is_none() {
    // `:method: GET`, `:scheme: https`, `:path: /`, `content-length: 0`
    let fields = b"\x82\x87\x84\x0f\x0d\x010";
    let frames = Subject::start().ask(fields, 0, &frame_head(0, DATA, END_STREAM, 1));
    assert_eq!(frames[0], (HEADERS, Some(OK)));
}

#[test]
fn clients_that_ask_nothing_are_closed_soon() {
    let subject = Subject::start();
    let start = Instant::now();
    let mut streams = Vec::new();
    for said in [&[][..], &[PREFACE], &[PREFACE, SETTINGS], &[PREFACE, SETTINGS, HALF_HEAD]] {
        streams.push(subject.connect(&said.concat()));
    }
    for stream in &mut streams {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let took = start.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(10)).contains(&took), "{took:?}");
}
