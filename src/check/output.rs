//! What `check` prints: a table, JSON, CSV, or the page of metrics.

use std::io;

use chrono::{DateTime, Utc};
use serde::Serialize;
use tabwriter::TabWriter;

use super::{CheckOutcome, OutputFormat, Show, UnrotatedCount};
use crate::config::Config;
use crate::controls::rows::{self, ControlRow, Results};
use crate::findings::{COLUMNS, Finding, Overview, every_key};
use crate::metrics::filter::Filter;
use crate::metrics::page;
use crate::policy::KeyStatus;
use crate::printable::{is_printable, spreadsheet_cell};

impl CheckOutcome {
    /// Writes the results of controls.
    pub fn write_controls(
        &self,
        format: OutputFormat,
        show: Show,
        results: &Results,
        config: &Config,
        filter: &Filter,
        to: impl io::Write,
    ) -> io::Result<()> {
        let shown = results.rows.iter().filter(|row| show != Show::Unrotated || row.is_finding());
        let shown: Vec<&ControlRow> = shown.collect();
        match format {
            OutputFormat::Table => write_controls_table(results, &shown, to),
            OutputFormat::Json => write_json(&shown, to),
            OutputFormat::Csv => write_csv(rows::COLUMNS, shown.iter().map(|row| row.cells()), to),
            OutputFormat::Prometheus => {
                write_page(&page::text(&self.state, config, filter, self.now), to)
            }
        }
    }

    /// Writes the keys as of `now`, and returns how many of them are unrotated.
    pub fn write(
        &self,
        format: OutputFormat,
        show: Show,
        config: &Config,
        filter: &Filter,
        now: DateTime<Utc>,
        to: impl io::Write,
    ) -> io::Result<UnrotatedCount> {
        let mut findings = match show {
            Show::Every => every_key(self.state.accounts.iter(), config, now),
            Show::Unrotated | Show::All => Overview::new(&self.state, config, now).findings,
        };
        if show == Show::Unrotated {
            findings.retain(|finding| finding.status == KeyStatus::Unrotated);
        }
        match format {
            OutputFormat::Table if findings.is_empty() => {}
            OutputFormat::Table => {
                write_table(COLUMNS, findings.iter().map(Finding::fields), to)?;
            }
            OutputFormat::Json => write_json(&findings, to)?,
            OutputFormat::Csv => write_csv(COLUMNS, findings.iter().map(Finding::fields), to)?,
            OutputFormat::Prometheus => {
                write_page(&page::text(&self.state, config, filter, now), to)?
            }
        }
        findings.retain(|finding| finding.status == KeyStatus::Unrotated);
        let service_credentials = findings.iter().filter(|it| it.service.is_some()).count();
        let access_keys = findings.len() - service_credentials;
        Ok(UnrotatedCount { access_keys, service_credentials })
    }
}

/// A line for each control, and then one for each finding.
fn write_controls_table(
    results: &Results,
    shown: &[&ControlRow],
    mut to: impl io::Write,
) -> io::Result<()> {
    let header =
        ["number", "control", "violations", "violating_accounts", "accounts_not_decided", "title"];
    let sums = results.sums.iter().map(|sum| {
        // 0 would look like a pass.
        let is_decided = sum.violations > 0 || sum.undecided == 0;
        let known = |text: String| if is_decided { text } else { "not decided".to_owned() };
        [
            sum.number.to_owned(),
            sum.control.name().to_owned(),
            known(sum.violations.to_string()),
            known(format!("{} of {}", sum.violated, sum.accounts)),
            sum.undecided.to_string(),
            sum.title.to_owned(),
        ]
    });
    write_table(header, sums, &mut to)?;
    if shown.is_empty() {
        return Ok(());
    }
    writeln!(to)?;
    let columns = rows::COLUMNS.iter().zip(0..).filter(|(name, _)| !LEFT_OUT.contains(name));
    let columns: Vec<(&str, usize)> = columns.map(|(name, index)| (*name, index)).collect();
    let header = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let rows = shown.iter().map(|row| {
        let fields = row.fields();
        columns.iter().map(|(_, index)| fields[*index].clone()).collect::<Vec<_>>()
    });
    write_table(header, rows, to)
}

/// Columns that would repeat their value in each line, or the text of the lines above and below.
const LEFT_OUT: [&str; 5] = ["benchmark", "title", "report_generated", "as_of", "exporter_version"];

fn write_table<'a, H, R>(
    header: H,
    rows: impl Iterator<Item = R>,
    to: impl io::Write,
) -> io::Result<()>
where
    H: IntoIterator<Item = &'a str>,
    R: IntoIterator<Item = String>,
{
    use io::Write;
    let mut table = TabWriter::new(to);
    let header = header.into_iter().map(|column| column.to_uppercase().replace('_', " "));
    writeln!(table, "{}", header.collect::<Vec<_>>().join("\t"))?;
    for row in rows {
        // The value of a tag must not control the terminal.
        let fields = row.into_iter().map(|field| match field.as_str() {
            "" => "-".to_owned(),
            _ => field.replace(|c| !is_printable(c), "\u{fffd}"),
        });
        writeln!(table, "{}", fields.collect::<Vec<_>>().join("\t"))?;
    }
    table.flush()
}

fn write_json(rows: &impl Serialize, mut to: impl io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut to, rows)?;
    writeln!(to)
}

/// For a program that reads every cell as text, and for a spreadsheet.
fn write_csv<const N: usize>(
    header: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
    to: impl io::Write,
) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(to);
    csv.write_record(header)?;
    for row in rows {
        csv.write_record(row.map(spreadsheet_cell))?;
    }
    csv.flush()
}

fn write_page(page: &str, mut to: impl io::Write) -> io::Result<()> {
    to.write_all(page.as_bytes())
}
