//! `check`: refresh once and print the unrotated keys, oldest first.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tabwriter::TabWriter;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::metrics::Filter;
use crate::metrics::page;
use crate::policy::Policy;
use crate::refresh::{Schedule, refresh};
use crate::source::{Failure, Source};
use crate::state::{Account, State};

/// The output's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for a person.
    Table,
    /// An array of objects.
    Json,
    /// RFC 4180, with a header.
    Csv,
    /// The page that `/metrics` would show, without the exporter's own metrics.
    Prometheus,
}

/// What a check found out.
#[derive(Debug)]
pub struct Outcome {
    /// Every account, as after its refresh.
    pub state: State,
    /// What failed, by account.
    pub failures: BTreeMap<String, Failure>,
}

/// An unrotated key.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    account_id: String,
    account_name: String,
    user: String,
    key: u8,
    age_days: f64,
    last_rotated: String,
    due: String,
    last_used: Option<String>,
}

/// Refreshes each account of the source once, as many as `concurrency` at the same time, with a
/// progress bar where stderr is a terminal. Fails only where the accounts cannot be listed.
pub async fn run(
    source: Source,
    schedule: &Schedule,
    concurrency: usize,
    clock: &Clock,
) -> Result<Outcome, Failure> {
    let targets = source.targets().await?;
    let bar = ProgressBar::new(targets.len() as u64).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} accounts, {elapsed}")
            .expect("the template is valid"),
    );
    let source = Arc::new(source);
    let slots = Arc::new(Semaphore::new(concurrency));
    let mut tasks = JoinSet::new();
    for target in targets {
        let (source, slots, clock) = (source.clone(), slots.clone(), clock.clone());
        let timeout = schedule.timeout;
        tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            let pending = Account::pending(&target.id, &target.name);
            refresh(&source, &target, &pending, timeout, &clock).await
        });
    }
    let mut accounts = Vec::new();
    let mut failures = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        let (account, failure) = done.expect("a refresh does not panic");
        failures.extend(failure.map(|failure| (account.id.clone(), failure)));
        accounts.push(Arc::new(account));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Outcome { state: State::new(accounts, true, Some(true)), failures })
}

impl Outcome {
    /// Whether some key or account could not be judged.
    pub fn is_uncertain(&self) -> bool {
        let reports = self.state.accounts.iter().flat_map(|account| &account.report);
        !self.failures.is_empty() || reports.into_iter().any(|report| !report.rejected.is_empty())
    }

    /// What to tell a person after the list: a line for each failure, and what was found.
    pub fn summary(&self, found: usize) -> String {
        let failed = |(account, failure): (&String, &Failure)| {
            format!("account {account}: {}: {failure}\n", failure.reason.as_str())
        };
        let failures: String = self.failures.iter().map(failed).collect();
        let accounts = self.state.accounts.len();
        let read = accounts - self.failures.len();
        format!("{failures}{found} unrotated keys; accounts read: {read} of {accounts}")
    }

    /// The unrotated keys as of `now`, oldest first.
    pub fn findings(&self, policy: &Policy, now: DateTime<Utc>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for account in &self.state.accounts {
            for user in account.report.iter().flat_map(|report| &report.users) {
                for (slot, key) in user.keys.iter().enumerate() {
                    let Some(key) = key else { continue };
                    let verdict = policy.judge(key, now);
                    let (Some(true), Some(age), Some(last_rotated), Some(due)) =
                        (verdict.unrotated, verdict.age, key.last_rotated, verdict.due)
                    else {
                        continue;
                    };
                    findings.push((
                        last_rotated,
                        Finding {
                            account_id: account.id.clone(),
                            account_name: account.name.clone(),
                            user: user.name.clone(),
                            key: slot as u8 + 1,
                            age_days: age.days(),
                            last_rotated: time(last_rotated),
                            due: time(due),
                            last_used: key.last_used.map(time),
                        },
                    ));
                }
            }
        }
        // Stable: keys of one moment stay in the order of accounts and users.
        findings.sort_by_key(|(last_rotated, _)| *last_rotated);
        findings.into_iter().map(|(_, finding)| finding).collect()
    }

    /// Writes the unrotated keys as of `now`, and returns how many there are.
    pub fn write(
        &self,
        format: Format,
        policy: &Policy,
        filter: &Filter,
        now: DateTime<Utc>,
        to: impl io::Write,
    ) -> io::Result<usize> {
        let findings = self.findings(policy, now);
        match format {
            Format::Table => write_table(&findings, to)?,
            Format::Json => write_json(&findings, to)?,
            Format::Csv => write_csv(&findings, to)?,
            Format::Prometheus => write_page(&page::text(&self.state, policy, filter, now).0, to)?,
        }
        Ok(findings.len())
    }
}

const COLUMNS: [&str; 8] =
    ["account_id", "account_name", "user", "key", "age_days", "last_rotated", "due", "last_used"];

fn fields(finding: &Finding) -> [String; 8] {
    let Finding { account_id, account_name, user, key, age_days, last_rotated, due, last_used } =
        finding.clone();
    [
        account_id,
        account_name,
        user,
        key.to_string(),
        format!("{age_days:.2}"),
        last_rotated,
        due,
        last_used.unwrap_or_default(),
    ]
}

fn write_table(findings: &[Finding], to: impl io::Write) -> io::Result<()> {
    use io::Write;
    if findings.is_empty() {
        return Ok(());
    }
    let mut table = TabWriter::new(to);
    writeln!(
        table,
        "{}",
        COLUMNS.map(|column| column.to_uppercase().replace('_', " ")).join("\t")
    )?;
    for finding in findings {
        let fields = fields(finding).map(|field| match field.as_str() {
            "" => "-".to_owned(),
            _ => field,
        });
        writeln!(table, "{}", fields.join("\t"))?;
    }
    table.flush()
}

fn write_json(findings: &[Finding], mut to: impl io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut to, findings)?;
    writeln!(to)
}

fn write_csv(findings: &[Finding], to: impl io::Write) -> io::Result<()> {
    let mut csv = csv::Writer::from_writer(to);
    csv.write_record(COLUMNS)?;
    for finding in findings {
        csv.write_record(fields(finding))?;
    }
    csv.flush()
}

fn write_page(page: &str, mut to: impl io::Write) -> io::Result<()> {
    to.write_all(page.as_bytes())
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
