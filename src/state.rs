//! What is published: [`Account`] and [`State`]. Both are built whole and never changed afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::confirmation::Confirmations;
use crate::evidence::Evidence;
use crate::failure::{Failure, FailureCounts, Reason};
use crate::policy::{Subject, Tag};
use crate::report::{Key, Report, User};
use crate::service_credentials::{ServiceCredential, ServiceCredentials};

/// Everything that one page is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// One entry for each account id, in the order of the ids.
    pub accounts: Vec<Arc<Account>>,
    /// Accounts of which nobody has said yet which ones they are. A report file that was never read is one
    /// if it is named like an account that another file has a report of.
    pub unidentified: Vec<Arc<Account>>,
    /// How many refreshes of such accounts failed since the start, by reason.
    pub unidentified_failures: FailureCounts,
    /// How many further sources gave a report of an account that is in `accounts` already.
    pub duplicates: usize,
    /// The last look for accounts.
    pub discovery: Tried,
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
    /// The answers of live calls since that report.
    pub confirmed: Arc<Confirmations>,
    /// The users' tags, as of the last report; `None` before they were read.
    pub tags: Option<Arc<Tags>>,
    /// The users' service-specific credentials, as of the last report; `None` before they were listed.
    pub service_credentials: Option<Arc<ServiceCredentials>>,
    /// What AWS says of it besides, as of the last report.
    pub evidence: Evidence,
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

/// AWS makes a new report after four hours. One that is older than this is mentioned.
pub const STALE: TimeDelta = TimeDelta::hours(8);

/// The id of the account of the default credentials until AWS has said which one that is.
pub const UNKNOWN_ACCOUNT: &str = "unknown";

/// How the refreshes of one account go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refresh {
    /// The last one; `None` before it.
    pub last: Option<Attempt>,
    /// Why the last one failed.
    pub fault: Option<Fault>,
    /// When one last succeeded.
    pub last_success: Option<DateTime<Utc>>,
    /// When the next one begins; `None` before the first has ended.
    pub next: Option<DateTime<Utc>>,
    /// How many failed since the start, by reason.
    pub failures: FailureCounts,
    /// What AWS last said when it was asked to confirm flagged users, as long as there are any.
    pub confirmation: Tried,
    /// How many flagged users were not asked about the last time, for want of time or because AWS
    /// refused to answer about others; `None` before the first time.
    pub waiting: Option<usize>,
    /// The last try to read tags.
    pub tags: Tried,
    /// The last try to list service-specific credentials.
    pub service_credentials: Tried,
    /// Whether the name is known: the last try to read the alias, if there is no other name. A failure
    /// counts only if a rule needs the name.
    pub name: Tried,
}

/// Whether something that can fail worked, the last time that it was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Tried {
    /// It was not tried yet, or is not wanted.
    #[default]
    NotYet,
    /// It worked.
    Ok,
    /// It failed.
    Failed,
}

impl Tried {
    /// The outcome of a try.
    pub fn from_result<T, E>(result: &Result<T, E>) -> Tried {
        if result.is_ok() { Tried::Ok } else { Tried::Failed }
    }

    /// Whether it worked; `None` if it was not tried.
    pub fn worked(self) -> Option<bool> {
        match self {
            Tried::NotYet => None,
            Tried::Ok => Some(true),
            Tried::Failed => Some(false),
        }
    }
}

/// Why refreshes fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What the last one said, in one line.
    pub message: Arc<str>,
    /// When the first one failed since one last succeeded.
    pub since: DateTime<Utc>,
}

/// One refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// `None` where it succeeded.
    pub failure: Option<Reason>,
    /// How long it took.
    pub duration: Duration,
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
            service_credentials: None,
            evidence: Evidence::default(),
            refresh: Refresh::default(),
        }
    }

    /// Sets the configured name, or if that is empty the account's alias.
    pub fn rename(&mut self, given: &str) {
        if given.is_empty() && !self.name.is_empty() && self.alias.is_none() {
            // The name that it had is gone from the configuration, and the alias was never read.
            self.refresh.name = Tried::NotYet;
        }
        self.name = match given {
            "" => self.alias.clone().unwrap_or_default(),
            given => given.to_owned(),
        };
    }

    /// Sets the id that was verified. `given` is the id that the source gave the account before, and
    /// `name` its configured name. What was known of another account stays behind.
    pub fn identify(&mut self, id: &str, given: &str, name: &str) {
        if self.is_unverified(given) && given != UNKNOWN_ACCOUNT {
            self.id = id.to_owned();
        } else if self.id != id {
            *self = Account::pending(id, name);
        }
    }

    /// Whether its id is still the one that the source gave it, such as the name of a report file, and
    /// no report has said which account it is.
    pub fn is_unverified(&self, given: &str) -> bool {
        self.id == given && self.report.is_none()
    }

    /// Records the end of a refresh.
    pub fn record(&mut self, failure: Option<&Failure>, duration: Duration, now: DateTime<Utc>) {
        let refresh = &mut self.refresh;
        refresh.last = Some(Attempt { failure: failure.map(|it| it.reason), duration });
        let before = refresh.fault.take();
        match failure {
            None => refresh.last_success = Some(now),
            Some(Failure { reason, message }) => {
                let since = before.map_or(now, |before| before.since);
                refresh.fault = Some(Fault { message: message.as_str().into(), since });
                refresh.failures.count(*reason);
            }
        }
    }

    /// Whether its report is so old that AWS must have failed to make another one.
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        self.generated.is_some_and(|generated| now - generated > STALE)
    }

    /// Of two accounts with the same id the one with the greater is published.
    fn newness(&self) -> impl Ord {
        let newest = self.report.as_ref().and_then(|report| report.newest_time());
        let works = self.refresh.last.is_some_and(|last| last.failure.is_none());
        // Whatever ties is the same then, so the order in which accounts come decides nothing.
        (newest, self.generated, works, self.name.clone(), self.fingerprint)
    }

    /// The users that there are, as they are known best, each with its keys by their slots.
    pub fn users(&self) -> impl Iterator<Item = (Subject<'_>, &[Option<Key>])> {
        let users = self.report.iter().flat_map(|report| &report.users);
        users.filter_map(|user| Some((self.subject(user), self.confirmed.keys(user)?)))
    }

    /// The user's service-specific credentials that are known.
    pub fn service_credentials_of(&self, user: &User) -> &[ServiceCredential] {
        self.service_credentials.as_ref().map_or(&[], |known| known.of(&user.name))
    }

    /// Whether all of these tags were asked for: else a user who has none of them and one who was not
    /// asked about would look alike.
    pub fn knows_tags(&self, keys: &BTreeSet<String>) -> bool {
        self.tags.as_ref().is_some_and(|tags| keys.is_subset(&tags.keys))
    }

    /// One user with the tags that are known.
    pub fn subject<'a>(&'a self, user: &'a User) -> Subject<'a> {
        let tags = self.tags.as_ref().and_then(|tags| tags.by_user.get(&user.name));
        Subject {
            account_id: &self.id,
            account_name: &self.name,
            user,
            tags: tags.map_or(&[], Vec::as_slice),
        }
    }
}

impl State {
    /// The state of these accounts. Where several have the same id, the one with the newest report is
    /// published and the others are counted. The newest is the one with the newest time in it, then the
    /// one that was generated last, then the one whose refresh works, then the last one by name.
    pub fn new(
        accounts: impl IntoIterator<Item = Arc<Account>>,
        discovery: Tried,
        ready: bool,
    ) -> State {
        let (mut unidentified, mut accounts): (Vec<_>, Vec<Arc<Account>>) =
            accounts.into_iter().partition(|account| account.id == UNKNOWN_ACCOUNT);
        let all = accounts.len();
        accounts.sort_by(|a, b| a.id.cmp(&b.id).then_with(|| b.newness().cmp(&a.newness())));
        let mut unread = Vec::new();
        accounts.dedup_by(|later, first| {
            let is_same = later.id == first.id;
            if is_same && later.report.is_none() {
                unread.push(later.clone());
            }
            is_same
        });
        let duplicates = all - accounts.len() - unread.len();
        unidentified.append(&mut unread);
        let unidentified_failures = FailureCounts::default();
        State { accounts, unidentified, unidentified_failures, duplicates, discovery, ready }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leaves_the_configuration_leaves_the_alias_to_be_read() {
        let mut account = Account::pending("123456789012", "production");
        account.refresh.name = Tried::Ok;
        account.rename("production");
        assert_eq!(account.refresh.name, Tried::Ok);
        account.rename("");
        assert_eq!((account.name.as_str(), account.refresh.name), ("", Tried::NotYet));
        account.alias = Some("prod".to_owned());
        account.refresh.name = Tried::Ok;
        for name in ["", "production", ""] {
            account.rename(name);
        }
        assert_eq!((account.name.as_str(), account.refresh.name), ("prod", Tried::Ok));
    }

    const REPORT: &str = "user,arn,user_creation_time,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
        a,arn:aws:iam::123456789012:user/a,CREATED,false,N/A,false,N/A\n";

    fn report(created: &str) -> Option<Arc<Report>> {
        let csv = REPORT.replace("CREATED", created);
        Some(Arc::new(Report::parse(csv.as_bytes()).expect("a report")))
    }

    #[test]
    fn a_file_that_was_never_read_is_no_further_report_of_the_account_in_its_name() {
        let read = Account {
            report: report("2026-01-01T00:00:00Z"),
            ..Account::pending("123456789012", "prod")
        };
        let unread = Account::pending("123456789012", "123456789012");
        for accounts in [[&read, &unread], [&unread, &read]] {
            let state = State::new(accounts.map(|it| Arc::new(it.clone())), Tried::Ok, true);
            assert_eq!((&*state.accounts[0], &*state.unidentified[0]), (&read, &unread));
            assert_eq!(state.duplicates, 0);
        }
    }

    #[test]
    fn of_two_reports_of_one_account_the_newer_is_published() {
        let at = |text: &str, name| {
            let generated = Some(text.parse().expect("a time"));
            let report = report("2026-01-01T00:00:00Z");
            Arc::new(Account { report, generated, ..Account::pending("123456789012", name) })
        };
        let state = State::new(
            [
                at("2026-01-01T00:00:00Z", "old"),
                at("2026-01-03T00:00:00Z", "new"),
                at("2026-01-02T00:00:00Z", "middle"),
            ],
            Tried::Ok,
            true,
        );
        assert_eq!(state.accounts.len(), 1);
        assert_eq!(state.accounts[0].name, "new");
        assert_eq!(state.duplicates, 2);
    }

    #[test]
    fn the_newest_report_is_the_one_that_has_the_newest_time_in_it() {
        let generated = Some(DateTime::UNIX_EPOCH);
        let account = |name: &str, created: Option<&str>| {
            let report = created.and_then(report);
            Arc::new(Account { report, generated, ..Account::pending("123456789012", name) })
        };
        let later = |account: &Arc<Account>| {
            let generated = generated.map(|at| at + chrono::TimeDelta::nanoseconds(1));
            Arc::new(Account { generated, ..Account::clone(account) })
        };
        let published = |a: &Arc<Account>, b: &Arc<Account>| {
            let name = |accounts: [&Arc<Account>; 2]| {
                let state = State::new(accounts.map(Arc::clone), Tried::Ok, true);
                state.accounts[0].name.clone()
            };
            assert_eq!(name([a, b]), name([b, a]), "the order decides nothing");
            name([a, b])
        };
        let old = account("z-old", Some("2026-01-01T00:00:00Z"));
        let new = account("new", Some("2026-01-02T00:00:00Z"));
        assert_eq!(published(&later(&old), &new), "new");
        let twin = account("a-twin", Some("2026-01-02T00:00:00Z"));
        assert_eq!(published(&new, &twin), "new");
        assert_eq!(published(&new, &later(&twin)), "a-twin");
        assert_eq!(published(&later(&account("none", None)), &old), "z-old");
    }
}
