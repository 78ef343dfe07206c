//! `check`: refresh once and print keys, oldest first.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use tabwriter::TabWriter;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::Config;
use crate::failure::Failure;
use crate::findings::{COLUMNS, Finding, Overview, every_key, is_outlived};
use crate::metrics::filter::Filter;
use crate::metrics::page;
use crate::policy::KeyStatus;
use crate::printable::{escape, is_printable};
use crate::refresh::Schedule;
use crate::refresh::account::{RefreshContext, refresh_account};
use crate::render::leave_out_what_panics;
use crate::shard::Shard;
use crate::source::Source;
use crate::state::{Account, STALE, State, Tried};

/// The output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Columns for a person.
    Table,
    /// An array of objects.
    Json,
    /// RFC 4180, with a header.
    Csv,
    /// The page that `/metrics` would show, without the exporter's own metrics.
    Prometheus,
}

/// Which keys are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Show {
    /// Keys that are older than their maximum age.
    Unrotated,
    /// Also keys that are due soon (--rotation.warn-before), and keys that are exempt.
    All,
    /// Every key, also young and inactive ones.
    Every,
}

/// The result of a check.
#[derive(Debug)]
pub struct CheckOutcome {
    /// Every account, as after its refresh.
    pub state: State,
    /// When that was.
    pub now: DateTime<Utc>,
    /// Why the list of accounts may be incomplete.
    pub listing: Option<Failure>,
    /// How many accounts could not be judged: their refresh failed, or they lack the tags or the name
    /// that rules need.
    pub failed: usize,
    /// How many active keys could not be judged, because their age is not known.
    pub not_judged: usize,
    /// How many accounts have a report that is older than the shortest maximum age.
    pub outlived: usize,
    /// How many users have more keys or certificates than the report shows, and AWS did not list them.
    pub unlisted: usize,
    /// Failures by account id: of refreshes, tags, aliases and confirmations.
    pub failures: Vec<(String, Failure)>,
    /// Rules that apply to no user, perhaps by a typing error.
    pub idle_rules: Vec<String>,
    /// The shard that these accounts belong to.
    pub shard: Shard,
}

/// Refreshes each account of the source once, with a progress bar if stderr is a terminal. Fails
/// only if no account is known.
pub async fn run(
    source: Source,
    schedule: &Schedule,
    clock: &Clock,
    config: &Arc<Config>,
) -> Result<CheckOutcome, Failure> {
    let listing = source.discover(config).await.err();
    let mut targets = source.known(config).targets;
    if let (true, Some(failure)) = (targets.is_empty(), &listing) {
        return Err(failure.clone());
    }
    targets.retain(|target| schedule.shard.owns(&target.id));
    let bar = ProgressBar::new(targets.len() as u64).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} accounts, {elapsed}")
            .expect("the template is valid"),
    );
    let source = Arc::new(source);
    let permits = Arc::new(Semaphore::new(schedule.concurrency));
    let mut tasks = JoinSet::new();
    for target in targets {
        let (source, permits) = (source.clone(), permits.clone());
        let (clock, config, timeout) = (clock.clone(), config.clone(), schedule.timeout);
        tasks.spawn(async move {
            let _permit =
                if source.calls_aws() { None } else { permits.acquire_owned().await.ok() };
            source.admit().await;
            let context = RefreshContext {
                source: &source,
                timeout,
                clock: &clock,
                config: &config,
                force: true,
                details: true,
                paused: None,
            };
            let pending = Account::pending(&target.id, &target.name);
            refresh_account(&context, &target, &pending, |_| {}).await
        });
    }
    let mut accounts = Vec::new();
    let (mut failed, mut failures) = (0, Vec::new());
    while let Some(done) = tasks.join_next().await {
        let outcome = done.expect("the panics of a refresh are caught");
        let lacks_tags = outcome.tags.is_some() && config.policy.needs_tags();
        let lacks_name = outcome.alias.is_some();
        failed += usize::from(outcome.failure.is_some() || lacks_tags || lacks_name);
        let all = [outcome.failure, outcome.tags, outcome.alias, outcome.confirmation];
        let all = all.into_iter().flatten();
        failures.extend(all.map(|failure| (outcome.account.id.clone(), failure)));
        accounts.push(Arc::new(outcome.account));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let discovery = if listing.is_none() { Tried::Ok } else { Tried::Failed };
    let now = clock.now();
    let mut state = State::new(accounts, discovery, true);
    let left_out = leave_out_what_panics(&mut state, config, now);
    failed += left_out.len();
    failures.extend(left_out);
    failures.sort_by(|(a, _), (b, _)| a.cmp(b));
    let accounts = Overview::new(&state, config, now).accounts;
    let not_judged = accounts.iter().map(|it| it.count(KeyStatus::NotJudged)).sum();
    let unlisted = accounts.iter().map(|it| it.unlisted).sum();
    let outlived = state.accounts.iter().filter(|it| is_outlived(it, config, now)).count();
    let idle_rules = idle_rules(&state, config, now);
    Ok(CheckOutcome {
        state,
        now,
        listing,
        failed,
        not_judged,
        outlived,
        unlisted,
        failures,
        idle_rules,
        shard: schedule.shard,
    })
}

fn idle_rules(state: &State, config: &Config, now: DateTime<Utc>) -> Vec<String> {
    let policy = &config.policy;
    let users = state.accounts.iter().flat_map(|account| account.users());
    let deciding: HashSet<usize> =
        users.filter_map(|(subject, _)| policy.ruling(&subject, now).rule).collect();
    let rules = policy.rules.iter().enumerate();
    let idle = rules.filter(|(index, _)| !deciding.contains(index));
    idle.map(|(index, rule)| {
        format!("rotation.rules[{index}] applies to no user: {}", rule.matches)
    })
    .collect()
}

impl CheckOutcome {
    /// Whether some keys or accounts could not be judged, or there is no account at all.
    pub fn is_uncertain(&self) -> bool {
        self.listing.is_some()
            || self.accounts().next().is_none()
            || self.failed > 0
            || self.not_judged > 0
            || self.outlived > 0
            || self.unlisted > 0
            || self.rejected_rows() > 0
    }

    /// 0: no unrotated keys, 1: some, 2: could not tell.
    pub fn exit_code(&self, unrotated: usize) -> u8 {
        match (self.is_uncertain(), unrotated) {
            (true, _) => 2,
            (false, 0) => 0,
            (false, _) => 1,
        }
    }

    fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.state.accounts.iter().chain(&self.state.unidentified)
    }

    fn rejected_rows(&self) -> usize {
        let reports = self.state.accounts.iter().flat_map(|account| &account.report);
        reports.map(|report| report.rejected.len()).sum()
    }

    /// The lines after the list: one for each failure, and the result.
    pub fn summary(&self, unrotated: usize) -> String {
        let line = |(account, failure): &(String, Failure)| {
            let account = escape(account);
            format!("account {account}: {}: {failure}\n", failure.reason.as_str())
        };
        let mut failures: String = self.failures.iter().map(line).collect();
        if let Some(failure) = &self.listing {
            let reason = failure.reason.as_str();
            failures.insert_str(0, &format!("listing accounts: {reason}: {failure}\n"));
        }
        if self.not_judged > 0 {
            let keys = self.not_judged;
            failures
                .push_str(&format!("active keys of unknown age, which are not judged: {keys}\n"));
        }
        if self.outlived > 0 {
            let accounts = self.outlived;
            failures.push_str(&format!(
                "accounts whose report is older than the maximum age of keys: {accounts}\n"
            ));
        }
        if self.unlisted > 0 {
            let users = self.unlisted;
            failures.push_str(&format!(
                "users with more keys or certificates than the report shows: {users}\n"
            ));
        }
        // Otherwise the rule may apply to users that were not read.
        if !self.is_uncertain() && self.shard.total == 1 {
            failures.extend(self.idle_rules.iter().map(|rule| format!("{rule}\n")));
        }
        let shard = match self.shard {
            Shard { total: 1, .. } => String::new(),
            Shard { index, total } => format!("; only accounts of shard {index} of {total}"),
        };
        let accounts = self.accounts().count();
        let read = self.accounts().filter(|account| account.report.is_some()).count();
        let rejected = match self.rejected_rows() {
            0 => String::new(),
            rows => format!("; rows that could not be read: {rows}"),
        };
        let duplicates = match self.state.duplicates {
            0 => String::new(),
            number => format!("; duplicate reports of the same accounts, ignored: {number}"),
        };
        let oldest = self.accounts().filter_map(|account| account.generated).min();
        let old = oldest.map(|generated| self.now - generated).filter(|age| *age > STALE);
        let old = old
            .map_or(String::new(), |age| format!("; oldest report: {} hours old", age.num_hours()));
        let verdict = if self.is_uncertain() { "could not tell for all keys: " } else { "" };
        format!(
            "{failures}{verdict}unrotated keys: {unrotated}; accounts read: {read} of {accounts}{shard}{duplicates}{rejected}{old}"
        )
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
    ) -> io::Result<usize> {
        let mut findings = match show {
            Show::Every => every_key(self.state.accounts.iter(), config, now),
            Show::Unrotated | Show::All => Overview::new(&self.state, config, now).findings,
        };
        if show == Show::Unrotated {
            findings.retain(|finding| finding.status == KeyStatus::Unrotated);
        }
        match format {
            OutputFormat::Table => write_table(&findings, to)?,
            OutputFormat::Json => write_json(&findings, to)?,
            OutputFormat::Csv => write_csv(&findings, to)?,
            OutputFormat::Prometheus => {
                write_page(&page::text(&self.state, config, filter, now), to)?
            }
        }
        Ok(findings.iter().filter(|finding| finding.status == KeyStatus::Unrotated).count())
    }
}

fn write_table(findings: &[Finding], to: impl io::Write) -> io::Result<()> {
    use io::Write;
    if findings.is_empty() {
        return Ok(());
    }
    let mut table = TabWriter::new(to);
    let header = COLUMNS.map(|column| column.to_uppercase().replace('_', " "));
    writeln!(table, "{}", header.join("\t"))?;
    for finding in findings {
        // The value of a tag must not control the terminal.
        let fields = finding.fields().map(|field| match field.as_str() {
            "" => "-".to_owned(),
            _ => field.replace(|c| !is_printable(c), "\u{fffd}"),
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
        csv.write_record(finding.fields())?;
    }
    csv.flush()
}

fn write_page(page: &str, mut to: impl io::Write) -> io::Result<()> {
    to.write_all(page.as_bytes())
}
