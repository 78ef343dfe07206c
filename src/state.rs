//! What is published: [`Account`] and [`State`]. Both are built whole and never changed afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::ascending::Ascending;
use crate::confirm::{Confirmations, Keys};
use crate::policy::{Owner, Tag};
use crate::report::{Report, User};

/// Everything that one page is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// One entry for each account id, in the order of the ids.
    pub accounts: Vec<Arc<Account>>,
    /// How many further sources gave a report of an account that is in `accounts` already.
    pub duplicates: usize,
    /// Whether the last look for accounts worked; `None` before it.
    pub discovery: Option<bool>,
    /// Whether there was a moment at which every account that was known had been tried.
    pub ready: bool,
}

/// One account as of its last refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// 12 digits. While they are not known: the name of the report file, or [`UNKNOWN_ACCOUNT`].
    pub id: String,
    /// The name that people gave it, else its alias; may be empty.
    pub name: String,
    /// The account's alias, where it was asked for and there is one.
    pub alias: Option<String>,
    /// The last good report; `None` before the first.
    pub report: Option<Arc<Report>>,
    /// When AWS generated that report, or when the file that holds it was written.
    pub generated: Option<DateTime<Utc>>,
    /// A hash of that report's bytes: the same bytes are not read twice.
    pub fingerprint: Option<u64>,
    /// What live calls said since that report.
    pub confirmed: Arc<Confirmations>,
    /// The users' tags, as of the last report; `None` before they were read.
    pub tags: Option<Arc<Tags>>,
    /// How its refreshes go.
    pub refresh: Refresh,
}

/// Tags of an account's users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// The keys that were asked for, in lower case. Others are not kept.
    pub keys: BTreeSet<String>,
    /// The tags by user. Users without any that was asked for are left out.
    pub by_user: BTreeMap<String, Vec<Tag>>,
}

/// The id of the account of the default credentials until AWS has said which one that is.
pub const UNKNOWN_ACCOUNT: &str = "unknown";

/// How the refreshes of one account go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refresh {
    /// The last one; `None` before it.
    pub last: Option<Attempt>,
    /// When one last succeeded.
    pub last_success: Option<DateTime<Utc>>,
    /// When the next one begins; `None` before the first has ended.
    pub next: Option<DateTime<Utc>>,
    /// How many failed since the start, by reason.
    pub failures: Failures,
    /// Whether the last try to confirm a user worked; `None` before it.
    pub confirmation: Option<bool>,
    /// Whether the last try to read tags worked; `None` before it.
    pub tags: Option<bool>,
}

/// One refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// `None` where it succeeded.
    pub failure: Option<Reason>,
    /// How long it took.
    pub duration: Duration,
}

/// Failed refreshes by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failures([u64; Reason::ALL.len()]);

/// Why a refresh failed: the closed set that is the label `reason` of `iam_refresh_failures_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// AWS answered that a permission is missing.
    AccessDenied,
    /// There are no credentials, or AWS does not accept them.
    Credentials,
    /// AWS answered that there were too many requests.
    Throttled,
    /// AWS has no capacity to generate another report.
    LimitExceeded,
    /// AWS did not finish generating the report in time.
    ReportNotReady,
    /// A call or the whole refresh took too long.
    Timeout,
    /// AWS could not be reached, or the connection broke.
    Network,
    /// AWS answered with an error of its own, or with something that cannot be read.
    ServiceError,
    /// What came is not a credential report.
    MalformedReport,
    /// The report file cannot be read.
    UnreadableFile,
}

impl Reason {
    /// Every reason, in the order of the page.
    pub const ALL: [Reason; 10] = [
        Reason::AccessDenied,
        Reason::Credentials,
        Reason::Throttled,
        Reason::LimitExceeded,
        Reason::ReportNotReady,
        Reason::Timeout,
        Reason::Network,
        Reason::ServiceError,
        Reason::MalformedReport,
        Reason::UnreadableFile,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::AccessDenied => "access_denied",
            Reason::Credentials => "credentials",
            Reason::Throttled => "throttled",
            Reason::LimitExceeded => "limit_exceeded",
            Reason::ReportNotReady => "report_not_ready",
            Reason::Timeout => "timeout",
            Reason::Network => "network",
            Reason::ServiceError => "service_error",
            Reason::MalformedReport => "malformed_report",
            Reason::UnreadableFile => "unreadable_file",
        }
    }

    /// Whether AWS asks for fewer calls.
    pub fn is_overload(self) -> bool {
        matches!(self, Reason::Throttled | Reason::LimitExceeded)
    }
}

impl Failures {
    /// How many there were for this reason.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// Counts one.
    pub fn count(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }
}

impl Account {
    /// An account that was not tried yet.
    pub fn pending(id: &str, name: &str) -> Account {
        Account {
            id: id.to_owned(),
            name: name.to_owned(),
            alias: None,
            report: None,
            generated: None,
            fingerprint: None,
            confirmed: Arc::default(),
            tags: None,
            refresh: Refresh::default(),
        }
    }

    /// Names it as people do; where they do not, by its alias.
    pub fn rename(&mut self, given: &str) {
        self.name = match given {
            "" => self.alias.clone().unwrap_or_default(),
            given => given.to_owned(),
        };
    }

    /// The users that there are, as they are known best: each with its keys, and with `tags` for rules
    /// to decide about.
    pub fn users<'a>(
        &'a self,
        tags: Option<&'a Tags>,
    ) -> impl Iterator<Item = (Owner<'a>, &'a Keys)> {
        let mut tags = tags.map(|tags| Ascending::new(&tags.by_user));
        let users = self.report.iter().flat_map(|report| &report.users);
        self.confirmed.users(users).map(move |(user, keys)| {
            let tags = tags.as_mut().and_then(|tags| tags.get(&user.name));
            (self.with_tags(user, tags), keys)
        })
    }

    /// The users' tags, where all of these keys were asked for: else who has none and who was not
    /// asked about would look alike.
    pub fn tags(&self, keys: &BTreeSet<String>) -> Option<&Tags> {
        self.tags.as_deref().filter(|tags| keys.is_subset(&tags.keys))
    }

    /// One user with these tags. For all of them, see [`Account::users`].
    pub fn owner<'a>(&'a self, user: &'a User, tags: Option<&'a Tags>) -> Owner<'a> {
        self.with_tags(user, tags.and_then(|tags| tags.by_user.get(&user.name)))
    }

    fn with_tags<'a>(&'a self, user: &'a User, tags: Option<&'a Vec<Tag>>) -> Owner<'a> {
        Owner {
            account_id: &self.id,
            account_name: &self.name,
            user,
            tags: tags.map_or(&[], Vec::as_slice),
        }
    }
}

impl State {
    /// The state of these accounts. Where several have the same id, the one with the newest report is
    /// published and the others are counted.
    pub fn new(
        accounts: impl IntoIterator<Item = Arc<Account>>,
        discovery: Option<bool>,
        ready: bool,
    ) -> State {
        let mut accounts: Vec<Arc<Account>> = accounts.into_iter().collect();
        let all = accounts.len();
        accounts.sort_by(|a, b| a.id.cmp(&b.id).then(b.generated.cmp(&a.generated)));
        accounts.dedup_by(|later, first| later.id == first.id);
        let duplicates = all - accounts.len();
        State { accounts, duplicates, discovery, ready }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_in_the_order_of_their_counters() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }

    #[test]
    fn of_two_reports_of_one_account_the_newer_is_published() {
        let at = |text: &str, name| {
            let generated = Some(text.parse().expect("a time"));
            Arc::new(Account { generated, ..Account::pending("123456789012", name) })
        };
        let state = State::new(
            [
                at("2026-01-01T00:00:00Z", "old"),
                at("2026-01-03T00:00:00Z", "new"),
                at("2026-01-02T00:00:00Z", "middle"),
            ],
            Some(true),
            true,
        );
        assert_eq!(state.accounts.len(), 1);
        assert_eq!(state.accounts[0].name, "new");
        assert_eq!(state.duplicates, 2);
    }
}
