//! The list of keys as a file for spreadsheets.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::StatusSettings;
use super::gaps::{Gap, gaps};
use super::health::{self, AccountSummary};
use super::query::Query;
use super::select::{about, candidates, select};
use crate::findings::{COLUMNS, Finding, NOT_READ};
use crate::policy::in_days;
use crate::printable::{spreadsheet_cell, time};
use crate::render::Snapshot;
use crate::version::VERSION;

/// The columns after [`COLUMNS`].
const MORE: [&str; 6] =
    ["max_age", "exempt_until", "account_state", "report_generated", "as_of", "exporter_version"];
/// The status of an account that may have keys for the file, of which none is known.
const NOT_ALL_KNOWN: &str = "not_all_known";

/// The keys that the query asks for as CSV: the columns of `check --format csv`, and more for
/// auditors. An account whose keys are not known has its own row. So has one of which not all is
/// known, if it has no other row: the state of the account is in each row. Everything else that is missing
/// has a row without an account.
///
/// No cell is one that a spreadsheet calculates: see [`spreadsheet_cell`].
pub fn render(settings: &StatusSettings, snapshot: &Snapshot, query: &Query) -> Vec<u8> {
    let keys = candidates(snapshot, query);
    let labels = &snapshot.config.user_tags;
    let rows = select(&about(&keys, query, labels), query, labels);
    let accounts = health::accounts(snapshot, query, &keys);
    let by_id: HashMap<&str, &AccountSummary> =
        accounts.iter().map(|row| (row.account.id.as_str(), row)).collect();
    let mut csv = ::csv::Writer::from_writer(Vec::new());
    let mut write = |row: Vec<String>| {
        csv.write_record(row.into_iter().map(spreadsheet_cell)).expect("memory takes every byte");
    };
    write(columns().map(str::to_owned).collect());
    let mut have_rows = HashSet::new();
    for row in rows {
        have_rows.insert(row.account_id.as_str());
        let account = by_id.get(row.account_id.as_str()).copied();
        write(row.fields().into_iter().chain(more(snapshot, account, Some(row))).collect());
    }
    for gap in gaps(settings, snapshot, &accounts, query) {
        if !(gap.is_read && have_rows.contains(gap.account_id())) {
            write(gap_row(snapshot, gap));
        }
    }
    csv.into_inner().expect("memory takes every byte")
}

fn columns() -> impl Iterator<Item = &'static str> {
    COLUMNS.into_iter().chain(MORE)
}

/// The cells of [`MORE`].
fn more(
    snapshot: &Snapshot,
    account: Option<&AccountSummary>,
    key: Option<&Finding>,
) -> [String; MORE.len()] {
    let until = key.and_then(|key| key.exemption.as_ref()?.end);
    [
        key.map_or(String::new(), |key| in_days(key.max_age)),
        until.map(time).unwrap_or_default(),
        account.map_or(String::new(), |it| it.health.as_str().to_owned()),
        account.and_then(|it| it.account.generated).map(time).unwrap_or_default(),
        time(snapshot.now),
        VERSION.to_owned(),
    ]
}

/// A row about what the file lacks.
fn gap_row(snapshot: &Snapshot, gap: Gap) -> Vec<String> {
    let status = if gap.is_read { NOT_ALL_KNOWN } else { NOT_READ };
    let cell = |column| match column {
        "account_id" => gap.account_id().to_owned(),
        "account_name" => gap.account.map_or(String::new(), |it| it.account.name.clone()),
        "status" => status.to_owned(),
        "rule" => gap.why.clone(),
        _ => String::new(),
    };
    COLUMNS.into_iter().map(cell).chain(more(snapshot, gap.account, None)).collect()
}

/// The file's name, which describes its content.
pub fn file_name(query: &Query, now: DateTime<Utc>) -> String {
    let subject = query.subject();
    let words = subject.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let subject: String = words.flat_map(|word| ["-", word]).collect();
    let subject: String = subject.chars().take(60).collect();
    let show = query.show.as_str();
    let kind = query.kind.map_or(String::new(), |kind| format!("-{}", kind.as_str()));
    format!("iam-access-keys-{show}{kind}{subject}-{}.csv", now.format("%Y%m%dT%H%M%SZ"))
}
