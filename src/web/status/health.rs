//! The health of accounts, and whether numbers of keys are complete.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::components::grouped;
use crate::config::Config;
use crate::failure::Reason;
use crate::findings::{
    AccountOverview, is_outlived, lacks_name, lacks_service_credentials, lacks_tags,
};
use crate::policy::KeyStatus;
use crate::render::Snapshot;
use crate::state::{Account, State, Tried};

/// An account as the page shows it.
#[derive(Debug)]
pub struct AccountSummary<'a> {
    /// What is known of it.
    pub account: &'a Account,
    /// Its status.
    pub health: Health,
    /// The number of its unrotated keys that are known.
    pub unrotated: usize,
    /// Problems besides a failing refresh.
    pub troubles: Vec<Trouble>,
    /// The number of its active keys of unknown age.
    pub not_judged: usize,
    /// Whether all of its unrotated keys are known.
    pub is_whole: bool,
}

/// Missing data of an account.
#[derive(Debug)]
pub struct Trouble {
    /// The problem, in the same words for all accounts.
    pub what: &'static str,
    /// The number of users, keys or rows with the problem.
    pub count: Option<usize>,
    /// The runbook's section.
    pub section: &'static str,
}

/// The health of an account, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Its last refresh failed.
    Failing(Reason),
    /// It was not tried yet.
    Pending,
    /// Its last refresh worked, but something of it is not known.
    Degraded,
    /// All is known of it.
    Ok,
}

/// The accounts, the most urgent first.
pub fn accounts(snapshot: &Snapshot) -> Vec<AccountSummary<'_>> {
    let State { accounts, unidentified, .. } = &snapshot.state;
    // Unidentified accounts have no report, so nothing was counted.
    let nothing = std::iter::repeat(const { &AccountOverview::NOTHING });
    let counted = snapshot.overview().accounts.iter().chain(nothing);
    let mut rows: Vec<_> = accounts
        .iter()
        .chain(unidentified)
        .zip(counted)
        .map(|(account, counted)| {
            AccountSummary::new(account, counted, &snapshot.config, snapshot.now)
        })
        .collect();
    rows.sort_by_key(|row| (row.health, Reverse(row.unrotated)));
    rows
}

/// The problems of these accounts, each with the number of accounts and the runbook's section, the
/// most frequent first.
pub fn troubles(accounts: &[&AccountSummary]) -> Vec<(&'static str, usize, &'static str)> {
    let mut troubles: BTreeMap<_, usize> = BTreeMap::new();
    for trouble in accounts.iter().flat_map(|row| &row.troubles) {
        *troubles.entry((trouble.what, trouble.section)).or_default() += 1;
    }
    let troubles = troubles.into_iter().map(|((what, section), count)| (what, count, section));
    let mut troubles: Vec<_> = troubles.collect();
    troubles.sort_by_key(|(_, count, _)| Reverse(*count));
    troubles
}

impl<'a> AccountSummary<'a> {
    fn new(
        account: &'a Account,
        overview: &AccountOverview,
        config: &Config,
        now: DateTime<Utc>,
    ) -> AccountSummary<'a> {
        let unrotated = overview.count(KeyStatus::Unrotated);
        let not_judged = overview.count(KeyStatus::NotJudged);
        let unlisted = overview.unlisted;
        let refresh = &account.refresh;
        let rejected = account.report.as_ref().map_or(0, |report| report.rejected.len());
        let waiting = refresh.waiting.unwrap_or_default();
        let lacks_tags = lacks_tags(account, config);
        let lacks_name = lacks_name(account, config);
        let lacks_credentials = lacks_service_credentials(account, config);
        let is_outlived = is_outlived(account, config, now);
        let is_unconfirmed = refresh.confirmation == Tried::Failed;
        let has_no_tags = refresh.tags == Tried::Failed || lacks_tags;
        let several = |what, count: usize, section| {
            (count > 0).then_some(Trouble { what, count: Some(count), section })
        };
        let one =
            |what, is_one: bool, section| is_one.then_some(Trouble { what, count: None, section });
        let more_keys = "users with more keys than the report shows";
        let no_name = "name not read, and rules need it";
        let no_list = "service-specific credentials not listed";
        let troubles = [
            several("rows of the report not readable", rejected, "iamcredentialreportrejectedrows"),
            one("old report", account.is_stale(now) || is_outlived, "iamcredentialreportstale"),
            several("keys of unknown age", not_judged, "iamaccesskeysnotjudged"),
            several(more_keys, unlisted, "iamaccesskeysnotjudged"),
            one("keys not confirmed", is_unconfirmed, "iamkeyexporterconfirmationunavailable"),
            several("users not confirmed", waiting, "iamkeyexporterconfirmationwaiting"),
            one("tags not read", has_no_tags, "iamkeyexportertagsunavailable"),
            one(no_name, lacks_name, "iamkeyexporteraccountnameunavailable"),
            one(no_list, lacks_credentials, "iamkeyexporterservicecredentialsunavailable"),
        ];
        let troubles: Vec<Trouble> = troubles.into_iter().flatten().collect();
        let health = match refresh.last.map(|attempt| attempt.failure) {
            None => Health::Pending,
            Some(Some(reason)) => Health::Failing(reason),
            Some(None) if troubles.is_empty() => Health::Ok,
            Some(None) => Health::Degraded,
        };
        let is_judged = account.report.is_some() && rejected + not_judged + unlisted == 0;
        let is_failing = matches!(health, Health::Failing(_));
        let lacks_details = lacks_tags || lacks_name || lacks_credentials;
        let is_whole = is_judged && !(is_failing || lacks_details || is_outlived);
        AccountSummary { account, health, unrotated, troubles, not_judged, is_whole }
    }

    /// Whether its keys are known at all.
    pub fn is_read(&self) -> bool {
        self.account.report.is_some()
    }

    /// Why refreshes fail, in words that are the same for all accounts with the same fault.
    pub fn cause(&self) -> Option<String> {
        let Health::Failing(reason) = self.health else { return None };
        let message = self.account.refresh.fault.as_ref().map(|fault| &*fault.message);
        Some(message.unwrap_or(reason.as_str()).replace(self.account.label(), "\u{2026}"))
    }
}

impl Trouble {
    /// The trouble in words, such as `users not confirmed: 40`.
    pub fn text(&self) -> String {
        match self.count {
            None => self.what.to_owned(),
            Some(count) => format!("{}: {}", self.what, grouped(count)),
        }
    }
}

impl Health {
    /// The health in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Failing(_) => "failing",
            Health::Pending => "pending",
            Health::Degraded => "degraded",
            Health::Ok => "ok",
        }
    }
}

/// Whether a number of keys is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Every account was read, and all of it is known.
    All,
    /// There may be more.
    Some,
    /// No account was read.
    Nothing,
}

impl Known {
    /// Whether the keys of these accounts are known. `is_all`: there are no other accounts.
    pub fn new(accounts: &[&AccountSummary], is_all: bool) -> Known {
        if !accounts.iter().any(|row| row.is_read()) {
            Known::Nothing
        } else if is_all && accounts.iter().all(|row| row.is_whole) {
            Known::All
        } else {
            Known::Some
        }
    }
}
