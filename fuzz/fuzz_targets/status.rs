//! The status page in all its forms. The first line is the query, and the rest a credential report. If it
//! is none, one with a key of every kind.

#![no_main]

use form_urlencoded::byte_serialize;
use iam_key_exporter::report::Report;
use iam_key_exporter::web::status::query::Query;
use iam_key_exporter::web::status::{calendar, csv, key, page};
use iam_key_exporter_fuzz::{REPORT, account, settings, snapshot};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (query, report) = match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, REPORT),
    };
    let Ok(query) = Query::parse(&String::from_utf8_lossy(query)) else { return };
    let link = query.link();
    assert_eq!(Query::parse(&link[1..]).as_ref(), Ok(&query), "{link}");
    let Ok(report) = Report::parse(report).or_else(|_| Report::parse(REPORT)) else { return };
    let user: String = byte_serialize(report.users[0].name.as_bytes()).collect();
    let (settings, snapshot) = (settings(), snapshot(account(report)));

    let html = page::render(&settings, &snapshot, &query);
    assert!(!html.contains("<script"));
    let _ = key::render(&settings, &snapshot, &query);
    if let Ok(query) = Query::parse(&format!("account=123456789012&key=1&user={user}")) {
        let _ = key::render(&settings, &snapshot, &query);
    }
    let name = csv::file_name(&query, snapshot.now);
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)), "{name}");
    assert!(!csv::render(&settings, &snapshot, &query).is_empty());
    for line in calendar::render(&settings, &snapshot, &query).split("\r\n").filter(|line| !line.is_empty()) {
        // Further lines of a long one begin with a blank.
        let is_known = PROPERTIES.iter().any(|name| line.starts_with(name));
        assert!(is_known && !line.contains(['\r', '\n']), "{line:?}");
    }
});

const PROPERTIES: [&str; 14] = [
    " ",
    "BEGIN:",
    "CALSCALE:",
    "DESCRIPTION:",
    "DTSTAMP:",
    "DTSTART;VALUE=DATE:",
    "END:",
    "NAME:",
    "PRODID:",
    "SUMMARY:",
    "TRANSP:",
    "UID:",
    "VERSION:",
    "X-WR-CALNAME:",
];
