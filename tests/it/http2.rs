//! HTTP/2: its clients may do no more than those of HTTP/1.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::exporter::Exporter;
use crate::support::folder::Folder;
use crate::support::tls::{Authority, Client};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// The start of the head of a request.
const HALF_HEAD: &[u8] = &[0, 0, 20, 1, 5, 0, 0, 0, 1, 0x82, 0x87];

#[test]
fn clients_that_ask_nothing_are_closed_soon() {
    let (folder, authority) = (Folder::new(), Authority::new("servers"));
    let server = authority.issue(&["localhost"]);
    folder.write("server.crt", &server.certificate);
    folder.write("server.key", &server.key);
    let tls = "tls_server_config: { cert_file: server.crt, key_file: server.key }\n";
    folder.write("web.yml", tls);
    let file = format!("{}/web.yml", folder.path());
    let exporter = Exporter::start(&["demo", "--users", "5", "--web.config.file", &file]);
    let client = Client::new(&authority, None).offering(&[b"h2"]);
    let start = Instant::now();
    let mut streams = Vec::new();
    for said in [&[][..], &[PREFACE], &[PREFACE, SETTINGS], &[PREFACE, SETTINGS, HALF_HEAD]] {
        let mut stream = client.connect(exporter.address).expect("a handshake");
        stream.write_all(&said.concat()).expect("it is written");
        streams.push(stream);
    }
    for stream in &mut streams {
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let took = start.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(10)).contains(&took), "{took:?}");
}
