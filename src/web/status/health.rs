//! The health of accounts, and whether numbers of keys are complete.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::choices::{AccountFilter, KeyFilter, KeyKind};
use super::components::grouped;
use super::query::Query;
use super::select::Lacks;
use crate::config::Config;
use crate::failure::Reason;
use crate::findings::{
    AccountOverview, Finding, is_outlived, lacks_name, lacks_root, lacks_service_credentials,
    lacks_tags,
};
use crate::policy::KeyStatus;
use crate::render::Snapshot;
use crate::state::{Account, State, Tried, UNKNOWN_ACCOUNT};

/// In a cause, in place of an account or its file.
const SOMETHING: &str = "\u{2026}";

/// A trouble that has a list of its keys.
pub const UNKNOWN_AGE: &str = "keys of unknown age";

/// An account as the page shows it.
#[derive(Debug)]
pub struct AccountSummary<'a> {
    /// What is known of it.
    pub account: &'a Account,
    /// Its status.
    pub health: Health,
    /// The number of its unrotated access keys that are known.
    pub unrotated: usize,
    /// The number of its unrotated service-specific credentials that are known.
    pub unrotated_service_credentials: usize,
    /// Problems besides a failing refresh.
    pub troubles: Vec<Trouble>,
    /// Whether all of its unrotated access keys are known.
    is_whole: bool,
    /// What the query needs of it and is not known.
    lacks: Lacks<'a>,
    /// Whether its service-specific credentials are wanted and could not be listed.
    lacks_service_credentials: bool,
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

/// The accounts for a page or a file about the query's keys, the most urgent first. `keys` are those that
/// the query selects from.
pub fn accounts<'a>(
    snapshot: &'a Snapshot,
    query: &Query,
    keys: &'a [Finding],
) -> Vec<AccountSummary<'a>> {
    let State { accounts, unidentified, .. } = &snapshot.state;
    // Unidentified accounts have no report, so nothing was counted.
    let nothing = std::iter::repeat(const { &AccountOverview::NOTHING });
    let counted = snapshot.overview().accounts.iter().chain(nothing);
    let config = &snapshot.config;
    let mut without_id = query.may_have_id(snapshot, keys);
    let mut rows: Vec<_> = accounts
        .iter()
        .chain(unidentified)
        .zip(counted)
        .map(|(account, counted)| {
            let without_id = without_id.remove(account.id.as_str()).unwrap_or_default();
            let lacks = query.lacks(account, config, without_id);
            AccountSummary::new(account, counted, config, query.show, lacks, snapshot.now)
        })
        .collect();
    rows.sort_by_key(|row| (row.health, Reverse(row.unrotated)));
    rows
}

/// Those of the query. If no account has the id or the name of the query, those that may have the name.
pub fn of_query<'a, 'b>(
    accounts: &'a [AccountSummary<'b>],
    query: &Query,
) -> Vec<&'a AccountSummary<'b>> {
    let mut rows: Vec<_> = accounts.iter().filter(|row| query.is_of_account(row.account)).collect();
    if rows.is_empty() {
        rows.extend(accounts.iter().filter(|row| query.may_be_of_account(row.account)));
    }
    rows
}

/// Whether every account of the query is known. Otherwise there may be others.
pub fn knows_every_account(state: &State, query: &Query) -> bool {
    query.is_of_one_account() || state.ready && state.discovery != Tried::Failed
}

/// The problems of these accounts, each as that of all of them, with its accounts, the most frequent first.
pub fn troubles<'a>(accounts: &[&'a AccountSummary<'a>]) -> Vec<(Trouble, Vec<&'a Account>)> {
    let mut troubles: BTreeMap<_, (Trouble, Vec<_>)> = BTreeMap::new();
    for row in accounts {
        for Trouble { what, count, section } in &row.troubles {
            let (of_all, accounts) = troubles
                .entry(what)
                .or_insert_with(|| (Trouble { what, count: None, section }, Vec::new()));
            of_all.count = of_all.count.map_or(*count, |sum| Some(sum + count.unwrap_or_default()));
            accounts.push(row.account);
        }
    }
    let mut troubles: Vec<_> = troubles.into_values().collect();
    troubles.sort_by_key(|(_, accounts)| Reverse(accounts.len()));
    troubles
}

impl<'a> AccountSummary<'a> {
    fn new(
        account: &'a Account,
        overview: &AccountOverview,
        config: &Config,
        show: KeyFilter,
        lacks: Lacks<'a>,
        now: DateTime<Utc>,
    ) -> AccountSummary<'a> {
        let unrotated = overview.count(KeyStatus::Unrotated);
        let unrotated_service_credentials = overview.unrotated_service_credentials();
        let not_judged = overview.not_judged;
        let unlisted = overview.unlisted;
        let refresh = &account.refresh;
        let rejected = account.report.as_ref().map_or(0, |report| report.rejected.len());
        let is_unconfirmed = refresh.confirmation == Tried::Failed;
        // After a failure its users are among the keys that are not confirmed.
        let waiting = refresh.waiting.filter(|_| !is_unconfirmed).unwrap_or_default();
        let lacks_tags = lacks_tags(account, config);
        let lacks_name = lacks_name(account, config);
        let lacks_service_credentials = lacks_service_credentials(account, config);
        let lacks_root = lacks_root(account, config, now);
        let is_old = account.is_stale(now) || is_outlived(account, config, now);
        let has_no_tags = refresh.tags == Tried::Failed || lacks_tags || lacks.tags;
        let (of_root, of_others) = (lacks.ids(show, true), lacks.ids(show, false));
        let several = |what, count: usize, section| {
            (count > 0).then_some(Trouble { what, count: Some(count), section })
        };
        let one =
            |what, is_one: bool, section| is_one.then_some(Trouble { what, count: None, section });
        let root_ids = "keys of root of unknown id that may be meant";
        let more_keys = "users with more keys than the report shows";
        let no_name = if lacks_name { "name not read, and rules need it" } else { "name not read" };
        let no_tags =
            if lacks_tags { "tags not read, and rules need them" } else { "tags not read" };
        let no_list = "service-specific credentials not listed";
        let troubles = [
            several("rows of the report not readable", rejected, "iamcredentialreportrejectedrows"),
            one("no readable row of root", lacks_root, "iamkeyexporterrootnotdecided"),
            one("old report", is_old, "iamcredentialreportstale"),
            several(UNKNOWN_AGE, not_judged, "iamaccesskeysnotjudged"),
            several(more_keys, unlisted, "iamaccesskeysnotjudged"),
            one("keys not confirmed", is_unconfirmed, "iamkeyexporterconfirmationunavailable"),
            several("users not confirmed", waiting, "iamkeyexporterconfirmationwaiting"),
            one(no_tags, has_no_tags, "iamkeyexportertagsunavailable"),
            several(
                "keys of unknown id that may be meant",
                of_others,
                "iamkeyexporterconfirmationunavailable",
            ),
            several(root_ids, of_root, "iamrootaccesskeyactive"),
            one(no_name, lacks_name || lacks.name, "iamkeyexporteraccountnameunavailable"),
            one(no_list, lacks_service_credentials, "iamkeyexporterservicecredentialsunavailable"),
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
        let is_undecided = lacks_root || lacks_tags || lacks_name;
        let is_whole = is_judged && !(is_failing || is_undecided || is_old);
        AccountSummary {
            account,
            health,
            unrotated,
            unrotated_service_credentials,
            troubles,
            is_whole,
            lacks,
            lacks_service_credentials,
        }
    }

    /// Whether its access keys are known at all.
    pub fn is_read(&self) -> bool {
        self.account.report.is_some()
    }

    /// Whether all unrotated keys of this kind are known, or of both kinds, as far as they are wanted.
    fn is_whole(&self, kind: Option<KeyKind>) -> bool {
        let is_listed = kind == Some(KeyKind::AccessKey) || !self.lacks_service_credentials;
        self.is_whole && is_listed
    }

    /// The same for the keys of these statuses that the query is about.
    pub fn is_whole_for_query(&self, show: KeyFilter, kind: Option<KeyKind>) -> bool {
        self.is_whole(kind) && self.lacks.nothing(show, kind)
    }

    /// What is known of its keys of this kind.
    pub fn known(&self, kind: KeyKind) -> Known {
        let is_read = match kind {
            KeyKind::AccessKey => self.is_read(),
            KeyKind::ServiceCredential => self.account.service_credentials.is_some(),
        };
        match (is_read, self.is_whole(Some(kind))) {
            (false, _) => Known::Nothing,
            (true, false) => Known::Some,
            (true, true) => Known::All,
        }
    }

    /// The same for the keys of these statuses that the query is about.
    fn known_for_query(&self, show: KeyFilter, kind: KeyKind) -> Known {
        match self.known(kind) {
            Known::All if !self.lacks.nothing(show, Some(kind)) => Known::Some,
            known => known,
        }
    }

    /// Why refreshes fail, in words that are the same for all accounts with the same fault.
    pub fn cause(&self) -> Option<String> {
        let Health::Failing(reason) = self.health else { return None };
        let Account { id, name, refresh, .. } = self.account;
        let message = refresh.fault.as_ref().map_or(reason.as_str(), |fault| &*fault.message);
        // About a report file, which has the account's name.
        if let Some((file, why)) = message.split_once(": ")
            && Path::new(file).file_stem().is_some_and(|stem| stem == name.as_str())
        {
            return Some(format!("{SOMETHING}: {why}"));
        }
        let has_id = id != UNKNOWN_ACCOUNT;
        Some(if has_id { message.replace(id.as_str(), SOMETHING) } else { message.to_owned() })
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

impl AccountFilter {
    /// Whether accounts of this health are listed. `is_read`: whether there is a report.
    pub fn includes(self, health: Health, is_read: bool) -> bool {
        match self {
            AccountFilter::Ok => health == Health::Ok,
            AccountFilter::Degraded => health == Health::Degraded,
            AccountFilter::Failing => matches!(health, Health::Failing(_)),
            AccountFilter::Pending => health == Health::Pending,
            AccountFilter::Unread => !is_read,
        }
    }
}

/// Whether a number of keys is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// All of them are known.
    All,
    /// There may be more.
    Some,
    /// None of them is known.
    Nothing,
}

impl Known {
    /// The number, and whether it is complete.
    pub fn of(self, number: usize) -> String {
        self.of_text(&grouped(number))
    }

    /// The same for a number that is a text.
    pub fn of_text(self, number: &str) -> String {
        match self {
            Known::All => number.to_owned(),
            Known::Some => format!("at least {number}"),
            Known::Nothing => "not known".to_owned(),
        }
    }
}

/// What is known of the keys of some accounts.
#[derive(Debug, Clone, Copy)]
pub struct KnownKeys {
    /// Of access keys.
    pub access_keys: Known,
    /// Of service-specific credentials. `None`: the configuration leaves them out.
    pub service_credentials: Option<Known>,
}

impl KnownKeys {
    /// What is known of those of the query's keys that have these statuses. `accounts` are those of the query.
    pub fn new(
        snapshot: &Snapshot,
        accounts: &[&AccountSummary],
        query: &Query,
        show: KeyFilter,
    ) -> KnownKeys {
        let is_all = knows_every_account(&snapshot.state, query);
        let known = |kind| {
            let mut of_accounts = accounts.iter().map(|row| row.known_for_query(show, kind));
            if of_accounts.clone().all(|known| known == Known::Nothing) {
                Known::Nothing
            } else if is_all && of_accounts.all(|known| known == Known::All) {
                Known::All
            } else {
                Known::Some
            }
        };
        let wanted = snapshot.config.service_credentials.then_some(KeyKind::ServiceCredential);
        KnownKeys { access_keys: known(KeyKind::AccessKey), service_credentials: wanted.map(known) }
    }

    /// The same if there may be more of each kind.
    pub fn not_all(self) -> KnownKeys {
        let lowered = |known| if known == Known::All { Known::Some } else { known };
        KnownKeys {
            access_keys: lowered(self.access_keys),
            service_credentials: self.service_credentials.map(lowered),
        }
    }

    /// Whether service-specific credentials are wanted, and some accounts have listed them.
    pub fn has_service_credentials(self) -> bool {
        self.service_credentials.is_some_and(|known| known != Known::Nothing)
    }

    /// The kind of keys that a list has if it is to have those of this kind, or of both. `None`: both.
    pub fn listed(self, kind: Option<KeyKind>) -> Option<KeyKind> {
        kind.or((!self.has_service_credentials()).then_some(KeyKind::AccessKey))
    }

    /// What is known of the keys of this kind, or of both.
    pub fn of(self, kind: Option<KeyKind>) -> Known {
        let service_credentials = self.service_credentials.unwrap_or(Known::Nothing);
        match self.listed(kind) {
            Some(KeyKind::AccessKey) => self.access_keys,
            Some(KeyKind::ServiceCredential) => service_credentials,
            None if self.access_keys == service_credentials => self.access_keys,
            None => Known::Some,
        }
    }
}
