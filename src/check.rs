//! `check`: refresh once and print keys, oldest first, or the controls of the CIS benchmark.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tabwriter::TabWriter;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::Config;
use crate::controls::rows::{self, ControlRow, Results, Sum};
use crate::failure::Failure;
use crate::findings::{
    COLUMNS, Finding, Overview, every_key, is_outlived, lacks_service_credentials,
};
use crate::metrics::filter::Filter;
use crate::metrics::page;
use crate::policy::KeyStatus;
use crate::printable::{escape, is_printable, spreadsheet_cell, time};
use crate::refresh::Schedule;
use crate::refresh::account::refresh_account;
use crate::refresh::context::RefreshContext;
use crate::render::leave_out_what_panics;
use crate::report::STALE;
use crate::shard::Shard;
use crate::source::Source;
use crate::state::{Account, State, Tried};

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
    /// that rules need, or service-specific credentials.
    pub failed: usize,
    /// How many accounts could not be read: their refresh failed.
    pub unread: usize,
    /// How many active keys could not be judged, because their age is not known. Also service-specific
    /// credentials.
    pub not_judged: usize,
    /// How many accounts have a report that is older than the shortest maximum age.
    pub outlived: usize,
    /// How many users have more keys or certificates than the report shows, and AWS did not list them.
    pub unlisted: usize,
    /// How many flagged users AWS was not asked about, because time ran out.
    pub waiting: usize,
    /// Failures by account: of refreshes, tags, aliases and confirmations.
    pub failures: Vec<AccountFailure>,
    /// Rules that apply to no user, perhaps by a typing error.
    pub idle_rules: Vec<String>,
    /// The shard that these accounts belong to.
    pub shard: Shard,
    /// The source of the reports' times, if they are files.
    pub time_of_files: Option<&'static str>,
    /// Whether service-specific credentials are wanted, and report files do not have them.
    pub lacks_service_credentials: bool,
}

/// Why something of an account could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountFailure {
    /// The account's id. If it was never read: the name of its profile, role or file.
    pub account: String,
    /// What failed.
    pub failure: Failure,
    /// Whether it limits only what is said of keys. No control needs tags, an alias or service-specific
    /// credentials.
    pub is_of_keys: bool,
}

/// How many keys are unrotated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnrotatedCount {
    /// Access keys.
    pub access_keys: usize,
    /// Service-specific credentials.
    pub service_credentials: usize,
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
    targets.retain(|target| schedule.shard.owns(target.label()));
    let time_of_files = source.time_of_report_files();
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
    let (mut unread, mut failed, mut failures) = (0, 0, Vec::new());
    while let Some(done) = tasks.join_next().await {
        let outcome = done.expect("the panics of a refresh are caught");
        unread += usize::from(outcome.failure.is_some());
        let lacks_tags = outcome.tags.is_some() && config.policy.needs_tags();
        let lacks_name = outcome.alias.is_some();
        let lacks_more = lacks_service_credentials(&outcome.account, config);
        failed += usize::from(outcome.failure.is_some() || lacks_tags || lacks_name || lacks_more);
        // Policies are read with the tags. Report files have neither.
        let lacks_only_tags = outcome.account.evidence.user_policies.failure.is_none();
        let all = [
            (outcome.failure, false),
            (outcome.tags, lacks_only_tags),
            (outcome.alias, true),
            (outcome.service_credentials, true),
            (outcome.confirmation, false),
            (outcome.evidence, false),
        ];
        failures.extend(all.into_iter().filter_map(|(failure, is_of_keys)| {
            let account = outcome.account.label().to_owned();
            Some(AccountFailure { account, failure: failure?, is_of_keys })
        }));
        accounts.push(Arc::new(outcome.account));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let discovery = if listing.is_none() { Tried::Ok } else { Tried::Failed };
    let now = clock.now();
    let mut state = State::new(accounts, discovery, true);
    let left_out = leave_out_what_panics(&mut state, config, now);
    failed += left_out.len();
    unread += left_out.len();
    failures.extend(left_out.into_iter().map(|(account, failure)| AccountFailure {
        account,
        failure,
        is_of_keys: false,
    }));
    failures.sort_by(|a, b| a.account.cmp(&b.account));
    let accounts = Overview::new(&state, config, now).accounts;
    let not_judged = accounts.iter().map(|it| it.not_judged).sum();
    let unlisted = accounts.iter().map(|it| it.unlisted).sum();
    let outlived = state.accounts.iter().filter(|it| is_outlived(it, config, now)).count();
    let is_in_time = |it: &&Arc<Account>| it.refresh.confirmation != Tried::Failed;
    let waiting =
        state.accounts.iter().filter(is_in_time).filter_map(|it| it.refresh.waiting).sum();
    let idle_rules = idle_rules(&state, config, now);
    Ok(CheckOutcome {
        state,
        now,
        listing,
        failed,
        unread,
        not_judged,
        outlived,
        unlisted,
        waiting,
        failures,
        idle_rules,
        shard: schedule.shard,
        time_of_files,
        lacks_service_credentials: time_of_files.is_some() && config.service_credentials,
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
    pub fn exit_code(&self, unrotated: UnrotatedCount) -> u8 {
        match (self.is_uncertain(), unrotated.access_keys + unrotated.service_credentials) {
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

    /// The limits of the answer, for the end of the last line: further shards, reports and rows left
    /// out, and the age of the oldest report.
    fn limits(&self) -> String {
        let shard = match self.shard {
            Shard { total: 1, .. } => String::new(),
            Shard { index, total } => format!("; only accounts of shard {index} of {total}"),
        };
        let rejected = match self.rejected_rows() {
            0 => String::new(),
            rows => format!("; rows that could not be read: {rows}"),
        };
        let duplicates = match self.state.duplicates {
            0 => String::new(),
            number => format!("; duplicate reports of the same accounts, ignored: {number}"),
        };
        let oldest = self.oldest_report();
        format!("{shard}{duplicates}{rejected}{oldest}")
    }

    /// The age of the oldest report. Of files also its time, and where that comes from. Of AWS only if it is
    /// old.
    fn oldest_report(&self) -> String {
        let oldest = self.accounts().filter_map(|account| Some((account.generated?, account)));
        let Some((generated, account)) = oldest.min_by_key(|(generated, _)| *generated) else {
            return String::new();
        };
        let age = self.now - generated;
        let text = format!("; oldest report: {} hours old", age.num_hours());
        match self.time_of_files {
            Some(_) if account.newest_time() == Some(generated) => {
                format!("{text}, of {} by the newest time in it", time(generated))
            }
            Some(origin) => format!("{text}, of {} by {origin}", time(generated)),
            None if age > STALE => text,
            None => String::new(),
        }
    }

    /// A line for each failure.
    fn failure_lines<'a>(&self, failures: impl Iterator<Item = &'a AccountFailure>) -> String {
        let line = |AccountFailure { account, failure, .. }: &AccountFailure| {
            let account = escape(account);
            format!("account {account}: {}: {failure}\n", failure.reason.as_str())
        };
        let mut failures: String = failures.map(line).collect();
        if let Some(failure) = &self.listing {
            let reason = failure.reason.as_str();
            failures.insert_str(0, &format!("listing accounts: {reason}: {failure}\n"));
        }
        failures
    }

    /// The lines after the list: one for each failure, and the result.
    pub fn summary(&self, unrotated: UnrotatedCount) -> String {
        let mut failures = self.failure_lines(self.failures.iter());
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
        if self.waiting > 0 {
            let users = self.waiting;
            failures.push_str(&format!(
                "users whose keys are as the report has them, because time ran out before AWS was asked: {users}\n"
            ));
        }
        // Otherwise the rule may apply to users that were not read.
        if !self.is_uncertain() && self.shard.total == 1 {
            failures.extend(self.idle_rules.iter().map(|rule| format!("{rule}\n")));
        }
        let accounts = self.accounts().count();
        let read = self.accounts().filter(|account| account.report.is_some()).count();
        let UnrotatedCount { access_keys, service_credentials } = unrotated;
        let service_credentials = match service_credentials {
            0 if self.lacks_service_credentials => {
                "; service-specific credentials: not in report files".to_owned()
            }
            0 => String::new(),
            number => format!("; unrotated service-specific credentials: {number}"),
        };
        let verdict = if self.is_uncertain() { "could not tell for all keys: " } else { "" };
        format!(
            "{failures}{verdict}unrotated keys: {access_keys}{service_credentials}; accounts read: {read} of {accounts}{}",
            self.limits()
        )
    }

    /// 0: no violations, 1: some, 2: could not tell.
    pub fn exit_code_of_controls(&self, results: &Results) -> u8 {
        let is_uncertain = self.lacks_accounts() || results.is_uncertain();
        match (is_uncertain, results.violations()) {
            (true, _) => 2,
            (false, 0) => 0,
            (false, _) => 1,
        }
    }

    /// Whether accounts are missing, or a refresh failed. What only keys need is no matter, such as tags for
    /// rules.
    fn lacks_accounts(&self) -> bool {
        self.listing.is_some() || self.accounts().next().is_none() || self.unread > 0
    }

    /// What to tell a person after the results: a line for each failure and for what is not known, and what
    /// was found.
    pub fn summary_of_controls(&self, results: &Results) -> String {
        let mut lines = self.failure_lines(self.failures.iter().filter(|it| !it.is_of_keys));
        // Each reason once, with the controls.
        let mut reasons: BTreeMap<(String, usize), Vec<String>> = BTreeMap::new();
        for Sum { number, control, unknown, .. } in &results.sums {
            for (why, accounts) in unknown {
                let controls = reasons.entry((why.explain(), *accounts)).or_default();
                controls.push(format!("{number} {}", control.name()));
            }
        }
        for ((why, accounts), controls) in reasons {
            let controls = controls.join(", ");
            lines.push_str(&format!(
                "not decided, or not in full: {controls}: {why}; accounts: {accounts}\n"
            ));
        }
        let count = |is: fn(&Sum) -> bool| results.sums.iter().filter(|sum| is(sum)).count();
        let violated = count(|sum| sum.violations > 0);
        let undecided = count(|sum| !sum.unknown.is_empty());
        // The rest is not decided because something failed, or is missing in the report.
        let without_aws = match self.time_of_files {
            None => String::new(),
            Some(_) => format!(" (not decided without AWS: {})", count(Sum::needs_only_calls)),
        };
        let verdict = if self.exit_code_of_controls(results) == 2 {
            "could not tell for all controls: "
        } else {
            ""
        };
        let accounts = self.accounts().count();
        let read = self.accounts().filter(|account| account.report.is_some()).count();
        format!(
            "{lines}{verdict}controls: {}; violated: {violated}; not decided, or not in full: {undecided}{without_aws}; violations: {}; accounts read: {read} of {accounts}{}",
            results.sums.len(),
            results.violations(),
            self.limits(),
        )
    }

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
        let undecided = sum.undecided;
        // 0 would look like a pass.
        let known =
            |text: String| if sum.violations == 0 && undecided > 0 { String::new() } else { text };
        [
            sum.number.to_owned(),
            sum.control.name().to_owned(),
            known(sum.violations.to_string()),
            known(format!("{} of {}", sum.violated, sum.accounts)),
            if undecided == 0 { String::new() } else { undecided.to_string() },
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
const LEFT_OUT: [&str; 4] = ["benchmark", "title", "report_generated", "as_of"];

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
