//! The list of keys as a file for spreadsheets.

use chrono::{DateTime, Utc};

use crate::findings::{COLUMNS, Finding};

/// The keys as CSV, with the columns of `check --format csv`.
///
/// Spreadsheets treat a cell that begins with one of `= + - @`, tab or carriage return as a formula,
/// and names and tags can begin with one. Such cells get an apostrophe in front.
pub fn render(rows: &[&Finding]) -> Vec<u8> {
    let mut csv = ::csv::Writer::from_writer(Vec::new());
    let mut write = |row: [String; COLUMNS.len()]| {
        csv.write_record(row).expect("memory takes every byte");
    };
    write(COLUMNS.map(str::to_owned));
    rows.iter().for_each(|row| write(row.fields().map(harmless)));
    csv.into_inner().expect("memory takes every byte")
}

/// The file's name.
pub fn file_name(now: DateTime<Utc>) -> String {
    format!("iam-access-keys-{}.csv", now.format("%Y%m%dT%H%M%SZ"))
}

fn harmless(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell }
}
