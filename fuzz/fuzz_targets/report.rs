//! A credential report, and the page of it.

#![no_main]

use std::collections::HashSet;
use std::sync::Arc;

use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::metrics::page;
use iam_key_exporter::report::Report;
use iam_key_exporter::state::{State, Tried};
use iam_key_exporter_fuzz::{account, config, now};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|csv: &[u8]| {
    let Ok(report) = Report::parse(csv) else { return };
    let id = report.account_id.as_deref().expect("a report has an account");
    assert!(id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit()), "{id}");
    assert!(!report.users.is_empty());
    assert!(report.missing <= report.rejected.len());
    assert!(report.rejected.windows(2).all(|pair| pair[0].line < pair[1].line));
    let names: HashSet<&str> = report.users.iter().map(|user| user.name.as_str()).collect();
    assert_eq!(names.len(), report.users.len(), "a user is there twice");
    let mut kept = Arc::new(report.clone());
    kept.keep_missing(&report, None);
    assert_eq!(*kept, report, "nobody of this report is missing in it");

    let state = State::new([account(report).into()], Tried::Ok, true);
    let text = page::text(&state, &config(), &Filter::default(), now());
    let mut series = HashSet::new();
    for line in text.split('\n').filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(series.insert(name), "a series is there twice: {line}");
    }
});
