//! `check`: refresh once and print keys, oldest first, or the controls of the CIS benchmark.

mod output;
mod summary;

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::Config;
use crate::controls::rows::Results;
use crate::failure::Failure;
use crate::findings::{Overview, is_outlived, lacks_root, lacks_service_credentials, lacks_tags};
use crate::refresh::Schedule;
use crate::refresh::account::refresh_account;
use crate::refresh::context::RefreshContext;
use crate::refresh::faults::Detail;
use crate::render::leave_out_what_panics;
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
    /// How many accounts have a report without a readable row of root, who may have keys.
    pub rootless: usize,
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
        let lacks_tags = lacks_tags(&outcome.account, config);
        let lacks_name = outcome.detail_failures.contains_key(&Detail::Alias);
        let lacks_more = lacks_service_credentials(&outcome.account, config);
        failed += usize::from(outcome.failure.is_some() || lacks_tags || lacks_name || lacks_more);
        // Policies are read with the tags. Report files have neither.
        let lacks_only_tags = outcome.account.evidence.user_policies.failure.is_none();
        let is_of_keys = |detail| match detail {
            Detail::Tags => lacks_only_tags,
            Detail::Alias | Detail::ServiceCredentials => true,
            Detail::Confirmation | Detail::ControlData(_) => false,
        };
        let of_report = outcome.failure.into_iter().map(|failure| (failure, false));
        let details = outcome.detail_failures.into_iter();
        let of_details = details.map(|(detail, failure)| (failure, is_of_keys(detail)));
        let account = outcome.account.label();
        failures.extend(of_report.chain(of_details).map(|(failure, is_of_keys)| AccountFailure {
            account: account.to_owned(),
            failure,
            is_of_keys,
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
    let rootless = state.accounts.iter().filter(|it| lacks_root(it, config, now)).count();
    let idle_rules = idle_rules(&state, config, now);
    Ok(CheckOutcome {
        state,
        now,
        listing,
        failed,
        unread,
        not_judged,
        outlived,
        rootless,
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
            || self.rootless > 0
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
}
