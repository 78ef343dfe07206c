//! How an account stands, and how much of the truth the numbers of keys are.

use std::cmp::Reverse;
use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::components::counted;
use crate::config::Config;
use crate::failure::Reason;
use crate::findings::{is_outlived, lacks_name, lacks_tags, not_judged, unlisted};
use crate::policy::KeyStatus;
use crate::render::Snapshot;
use crate::state::{Account, State, Tried};

/// An account as the page shows it.
#[derive(Debug)]
pub struct AccountSummary<'a> {
    /// What is known of it.
    pub account: &'a Account,
    /// How it stands.
    pub health: Health,
    /// The number of its unrotated keys that are known.
    pub unrotated: usize,
    /// What a person should look into besides a refresh that fails, with the runbook's section.
    pub troubles: Vec<(String, &'static str)>,
    /// Whether it has no unrotated keys but those that are known.
    pub is_whole: bool,
}

/// How an account stands, what needs somebody first.
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

/// The accounts, those first that need somebody.
pub fn accounts(snapshot: &Snapshot) -> Vec<AccountSummary<'_>> {
    let mut unrotated: HashMap<&str, usize> = HashMap::new();
    for finding in snapshot.findings().iter().filter(|row| row.status == KeyStatus::Unrotated) {
        *unrotated.entry(&finding.account_id).or_default() += 1;
    }
    let State { accounts, unidentified, .. } = &snapshot.state;
    let mut rows: Vec<_> = accounts
        .iter()
        .chain(unidentified)
        .map(|account| {
            // An account that has a report and no finding has no unrotated key.
            let unrotated = unrotated.get(account.id.as_str()).copied().unwrap_or_default();
            AccountSummary::new(account, &snapshot.config, snapshot.now, unrotated)
        })
        .collect();
    rows.sort_by_key(|row| (row.health, Reverse(row.unrotated)));
    rows
}

impl<'a> AccountSummary<'a> {
    fn new(
        account: &'a Account,
        config: &Config,
        now: DateTime<Utc>,
        unrotated: usize,
    ) -> AccountSummary<'a> {
        let refresh = &account.refresh;
        let rejected = account.report.as_ref().map_or(0, |report| report.rejected.len());
        let not_judged = not_judged(account, config, now);
        let unlisted = unlisted(account, config, now);
        let waiting = refresh.waiting.unwrap_or_default();
        let lacks_tags = lacks_tags(account, config);
        let lacks_name = lacks_name(account, config);
        let is_outlived = is_outlived(account, config, now);
        let mut troubles = Vec::new();
        let mut trouble = |is_one, text: String, section| {
            if is_one {
                troubles.push((text, section));
            }
        };
        let rows = counted(rejected, "row");
        let text = format!("{rows} of the report not readable");
        trouble(rejected > 0, text, "iamcredentialreportrejectedrows");
        trouble(account.is_stale(now), "report is old".to_owned(), "iamcredentialreportstale");
        let text = format!("{} of unknown age", counted(not_judged, "key"));
        trouble(not_judged > 0, text, "iamaccesskeysnotjudged");
        let users = counted(unlisted, "user");
        let text = format!("{users} with more keys than the report shows");
        trouble(unlisted > 0, text, "iamaccesskeysnotjudged");
        let section = "iamkeyexporterconfirmationunavailable";
        trouble(refresh.confirmation == Tried::Failed, "keys not confirmed".to_owned(), section);
        let text = format!("{} not asked about", counted(waiting, "user"));
        trouble(waiting > 0, text, "iamkeyexporterconfirmationwaiting");
        let is_failed = refresh.tags == Tried::Failed || lacks_tags;
        trouble(is_failed, "tags not read".to_owned(), "iamkeyexportertagsunavailable");
        let text = "name not read, and rules need it".to_owned();
        trouble(lacks_name, text, "iamkeyexporteraccountnameunavailable");
        let health = match refresh.last.map(|attempt| attempt.failure) {
            None => Health::Pending,
            Some(Some(reason)) => Health::Failing(reason),
            Some(None) if troubles.is_empty() => Health::Ok,
            Some(None) => Health::Degraded,
        };
        let is_judged = account.report.is_some() && rejected + not_judged + unlisted == 0;
        let is_failing = matches!(health, Health::Failing(_));
        let is_whole = is_judged && !(is_failing || lacks_tags || lacks_name || is_outlived);
        AccountSummary { account, health, unrotated, troubles, is_whole }
    }

    /// Whether its last refresh failed.
    pub fn is_failing(&self) -> bool {
        matches!(self.health, Health::Failing(_))
    }

    /// Whether its keys are known at all.
    pub fn is_read(&self) -> bool {
        self.account.report.is_some()
    }

    /// Why refreshes fail, in words that are the same for all accounts with the same fault.
    pub fn cause(&self) -> Option<String> {
        let Health::Failing(reason) = self.health else { return None };
        let message = self.account.refresh.fault.as_ref().map(|fault| &*fault.message);
        Some(message.unwrap_or(reason.as_str()).replace(&self.account.id, "\u{2026}"))
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

/// How much of the truth a number of keys is.
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
    /// What is known of the keys in these accounts. `is_all`: there are no others.
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
