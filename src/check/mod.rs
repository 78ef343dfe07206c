//! `check`: refresh once and print keys, oldest first, or the controls of the CIS benchmark.

mod missing;
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
use crate::findings::Overview;
use crate::refresh::Schedule;
use crate::refresh::account::{RefreshOutcome, refresh_account};
use crate::refresh::context::RefreshContext;
use crate::render::leave_out_what_panics;
use crate::shard::Shard;
use crate::source::Source;
use crate::state::{Account, State, Tried};
pub use missing::{Missing, Weight};
use missing::{after_refresh, in_report};

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
    /// What is not known of the accounts, by account.
    pub missing: Vec<Missing>,
    /// Rules that apply to no user, perhaps by a typing error.
    pub idle_rules: Vec<String>,
    /// The shard that these accounts belong to.
    pub shard: Shard,
    /// The source of the reports' times, if they are files.
    pub time_of_files: Option<&'static str>,
    /// Whether service-specific credentials are wanted, and report files do not have them.
    pub lacks_service_credentials: bool,
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
    let mut outcomes = Vec::new();
    while let Some(done) = tasks.join_next().await {
        outcomes.push(done.expect("the panics of a refresh are caught"));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(CheckOutcome {
        shard: schedule.shard,
        time_of_files,
        lacks_service_credentials: time_of_files.is_some() && config.service_credentials,
        ..CheckOutcome::new(outcomes, listing, config, clock.now())
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
    /// Of these refreshes, from AWS and without shards.
    fn new(
        mut outcomes: Vec<RefreshOutcome>,
        listing: Option<Failure>,
        config: &Config,
        now: DateTime<Utc>,
    ) -> CheckOutcome {
        // They ended in any order.
        outcomes.sort_by(|a, b| a.account.label().cmp(b.account.label()));
        let mut missing: Vec<Missing> =
            outcomes.iter().flat_map(|outcome| after_refresh(outcome, config)).collect();
        let accounts = outcomes.into_iter().map(|outcome| Arc::new(outcome.account));
        let discovery = if listing.is_none() { Tried::Ok } else { Tried::Failed };
        let mut state = State::new(accounts, discovery, true);
        let left_out = leave_out_what_panics(&mut state, config, now);
        missing.extend(left_out.into_iter().map(|(account, failure)| {
            Missing::of_failure(&account, &failure, (Weight::Doubt, Weight::Doubt))
        }));
        let overviews = Overview::new(&state, config, now).accounts;
        for (account, overview) in state.accounts.iter().zip(&overviews) {
            missing.extend(in_report(account, overview, config, now));
        }
        missing.sort_by(|a, b| a.account.cmp(&b.account));
        let idle_rules = idle_rules(&state, config, now);
        CheckOutcome {
            state,
            now,
            listing,
            missing,
            idle_rules,
            shard: Shard::default(),
            time_of_files: None,
            lacks_service_credentials: false,
        }
    }

    /// Whether some keys or accounts could not be judged, or there is no account at all.
    pub fn is_uncertain(&self) -> bool {
        let mut missing = self.missing.iter();
        self.may_lack_accounts() || missing.any(|it| it.for_keys == Weight::Doubt)
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
        let is_read = self.missing.iter().all(|it| it.for_controls != Weight::Doubt);
        let is_uncertain = self.may_lack_accounts() || !is_read || results.is_uncertain();
        match (is_uncertain, results.violations()) {
            (true, _) => 2,
            (false, 0) => 0,
            (false, _) => 1,
        }
    }

    /// Whether there may be other accounts, or there is none.
    fn may_lack_accounts(&self) -> bool {
        self.listing.is_some() || self.accounts().next().is_none()
    }
}

#[cfg(test)]
mod tests;
