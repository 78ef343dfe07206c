//! HTTP/2: its clients have the same limits as those of HTTP/1.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

use crate::support::exporter::Exporter;
use crate::support::folder::Folder;
use crate::support::tls::{Authority, Client};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &frame_head(0, 4, 0, 0);
/// The start of the head of a request.
const HALF_HEAD: &[u8] = &[0, 0, 20, 1, 5, 0, 0, 0, 1, 0x82, 0x87];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const fn frame_head(length: u8, kind: u8, flags: u8, stream: u8) -> [u8; 9] {
    [0, 0, length, kind, flags, 0, 0, 0, stream]
}

/// An exporter with TLS, and connections to it that have chosen HTTP/2.
struct Subject {
    exporter: Exporter,
    client: Client,
    _folder: Folder,
}

impl Subject {
    fn start() -> Subject {
        let (folder, authority) = (Folder::new(), Authority::new("servers"));
        let server = authority.issue(&["localhost"]);
        folder.write("server.crt", &server.certificate);
        folder.write("server.key", &server.key);
        let tls = "tls_server_config: { cert_file: server.crt, key_file: server.key }\n";
        folder.write("web.yml", tls);
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

    /// The frames that answer a request, which has these fields and then these frames: the kind of each, and
    /// its first byte.
    fn ask(&self, fields: &[u8], flags: u8, rest: &[u8]) -> Vec<(u8, Option<u8>)> {
        let head = frame_head(fields.len() as u8, HEADERS, flags | END_HEADERS, 1);
        let mut stream = self.connect(&[PREFACE, SETTINGS, &head, fields, rest].concat());
        let mut frames = Vec::new();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).expect("a frame");
            let mut bytes = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            stream.read_exact(&mut bytes).expect("its bytes");
            if head[8] == 1 && [DATA, HEADERS].contains(&head[3]) {
                frames.push((head[3], bytes.first().copied()));
                if head[4] & END_STREAM != 0 {
                    return frames;
                }
            }
        }
    }
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
