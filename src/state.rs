//! The published data: [`Account`] and [`State`]. Both are built whole and never changed
//! afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::confirmation::Confirmations;
use crate::evidence::{Evidence, Standing};
use crate::failure::{Failure, FailureCounts, Reason};
use crate::policy::{Subject, Tag};
use crate::report::{Key, ROOT_USER, Report, STALE, User};
use crate::service_credentials::{ServiceCredential, ServiceCredentials};

/// Everything that one page is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// One entry for each account id, in the order of the ids.
    pub accounts: Vec<Arc<Account>>,
    /// Accounts whose id is not known yet.
    pub unidentified: Vec<Arc<Account>>,
    /// How many refreshes of such accounts failed since the start, by reason.
    pub unidentified_failures: FailureCounts,
    /// How many other sources have a report of an account in `accounts`.
    pub duplicates: usize,
    /// The result of the last listing of accounts.
    pub discovery: Tried,
    /// Why that failed, in one line.
    pub discovery_fault: Option<Arc<str>>,
    /// Whether at some moment every known account had been tried.
    pub ready: bool,
}

/// One account as of its last refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// 12 digits. Before they are known: [`UNKNOWN_ACCOUNT`].
    pub id: String,
    /// The configured name, the organization's, or that of the report file, or else its alias. May be
    /// empty.
    pub name: String,
    /// The account's alias, if it was read and there is one.
    pub alias: Option<String>,
    /// The last good report. `None` before the first.
    pub report: Option<Arc<Report>>,
    /// When AWS generated that report, or when its file was modified, or the newest time in the file if that
    /// is later.
    pub generated: Option<DateTime<Utc>>,
    /// A hash of that report's bytes, so that the same bytes are not parsed twice.
    pub fingerprint: Option<u64>,
    /// The answers of live calls since that report.
    pub confirmed: Arc<Confirmations>,
    /// The users' tags, as of the last report. `None` before they were read.
    pub tags: Option<Arc<Tags>>,
    /// The users' service-specific credentials, as of the last report. `None` before they were
    /// listed.
    pub service_credentials: Option<Arc<ServiceCredentials>>,
    /// Whether its source has more than reports, such as tags. Report files have not.
    pub has_live_data: bool,
    /// AWS's other data about it, as of the last report.
    pub evidence: Evidence,
    /// When the report was generated that details were last asked for. If the account has a newer one, they are
    /// those of an earlier report.
    pub details_of: Option<DateTime<Utc>>,
    /// The results of its refreshes.
    pub refresh: Refresh,
}

/// Tags of an account's users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// The keys of the tags that were read, in lower case. Others are not kept.
    pub keys: BTreeSet<String>,
    /// The tags by user, of every user whom AWS has listed. The tags of others are not known.
    pub by_user: BTreeMap<String, Vec<Tag>>,
    /// The users of the report who are gone, as AWS has said. Only without confirmation: with it, the
    /// confirmed answers have them.
    pub gone: BTreeSet<String>,
}

/// The id of an account until it is known.
pub const UNKNOWN_ACCOUNT: &str = "unknown";

/// How logs and people name the account with this id: by its name until the id is known, as by that of a
/// report file.
pub fn label<'a>(id: &'a str, name: &'a str) -> &'a str {
    if id != UNKNOWN_ACCOUNT || name.is_empty() { id } else { name }
}

/// The results of one account's refreshes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refresh {
    /// The last one. `None` before it.
    pub last: Option<Attempt>,
    /// Why the last one failed.
    pub fault: Option<Fault>,
    /// When one last succeeded.
    pub last_success: Option<DateTime<Utc>>,
    /// When the next one begins. `None` before the first has ended.
    pub next: Option<DateTime<Utc>>,
    /// How many failed since the start, by reason.
    pub failures: FailureCounts,
    /// The last attempt to confirm flagged users, while there are any.
    pub confirmation: Tried,
    /// How many flagged users were not confirmed the last time, because time ran out or AWS
    /// refused. `None` before the first time.
    pub waiting: Option<usize>,
    /// When AWS last confirmed one.
    pub confirmed: Option<DateTime<Utc>>,
    /// The last try to read tags. It also counts as failed while a newer report has users of whom no tags
    /// were read.
    pub tags: Tried,
    /// The last try to list service-specific credentials.
    pub service_credentials: Tried,
    /// Whether the name is known: the last try to read the alias, if there is no other name. A failure
    /// counts only if a rule needs the name.
    pub name: Tried,
}

/// The result of the last attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Tried {
    /// It was not tried yet, or is not needed.
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

    /// Whether it worked. `None` if it was not tried.
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
    /// The text of the last one, in one line.
    pub message: Arc<str>,
    /// When the first one failed since one last succeeded.
    pub since: DateTime<Utc>,
}

/// One refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// `None` if it succeeded.
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
            has_live_data: false,
            evidence: Evidence::default(),
            details_of: None,
            refresh: Refresh::default(),
        }
    }

    /// Sets the configured name, or if that is empty the account's alias.
    pub fn rename(&mut self, given: &str) {
        if given.is_empty() && !self.name.is_empty() && self.alias.is_none() {
            // The configured name was removed, and the alias was never read.
            self.refresh.name = Tried::NotYet;
        }
        self.name = match given {
            "" => self.alias.clone().unwrap_or_default(),
            given => given.to_owned(),
        };
    }

    /// Sets the id that was verified. `name` is the configured name. Data of another account is not
    /// carried over.
    pub fn identify(&mut self, id: &str, name: &str) {
        if self.id != id {
            *self = Account::pending(id, name);
        }
    }

    /// How logs and people name it: see [`label`].
    pub fn label(&self) -> &str {
        label(&self.id, &self.name)
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

    /// Whether its report is so old that AWS should have made a new one.
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        self.generated.is_some_and(|generated| now - generated > STALE)
    }

    /// The newest time in its report.
    pub fn newest_time(&self) -> Option<DateTime<Utc>> {
        self.report.as_ref().and_then(|report| report.newest_time())
    }

    /// Of two accounts with the same id the one with the greater is published.
    fn newness(&self) -> impl Ord {
        let works = self.refresh.last.is_some_and(|last| last.failure.is_none());
        // If all of these are equal, so are the accounts. So their order does not matter.
        (self.newest_time(), self.generated, works, self.name.clone(), self.fingerprint)
    }

    /// The existing users with their keys by slot, by the newest information.
    pub fn users(&self) -> impl Iterator<Item = (Subject<'_>, &[Option<Key>])> {
        let users = self.report.iter().flat_map(|report| &report.users);
        users.filter_map(|user| Some((self.subject(user), self.confirmed.keys(user)?)))
    }

    /// The user's service-specific credentials that are known.
    pub fn service_credentials_of(&self, user: &User) -> &[ServiceCredential] {
        self.service_credentials.as_ref().map_or(&[], |known| known.of(&user.name))
    }

    /// The service-specific credentials of users who are not in the report, each with its user. They are
    /// judged by the default: no rule can decide about a user of whom nothing but the name is known.
    pub fn service_credentials_of_others(&self) -> Vec<(&str, &ServiceCredential)> {
        match (&self.service_credentials, &self.report) {
            (Some(known), Some(report)) => known.of_others(report),
            _ => Vec::new(),
        }
    }

    /// The user's tags, as far as they are known.
    pub fn tags_of(&self, user: &str) -> &[Tag] {
        let tags = self.tags.as_ref().and_then(|tags| tags.by_user.get(user));
        tags.map_or(&[], Vec::as_slice)
    }

    /// Whether `GetAccountSummary` has said, since the report was read, that root has no key.
    pub fn root_has_no_key(&self, now: DateTime<Utc>) -> bool {
        let summary = &self.evidence.summary;
        self.details_of == self.generated
            && summary.standing(now) == Standing::Good
            && summary.value.is_some_and(|summary| summary.root_keys == Some(false))
    }

    /// Forgets the root user of an earlier report if AWS has said since then that root has no key.
    pub fn forget_root_without_keys(&mut self, now: DateTime<Utc>) {
        let has_none = self.root_has_no_key(now);
        if let Some(report) = self.report.as_mut().filter(|_| has_none) {
            report.forget_kept_root();
        }
    }

    /// Whether these tags of the user are known. Otherwise missing tags are not known to be missing. Root has
    /// none, and who is gone has no others.
    pub fn knows_tags_of(&self, user: &str, keys: &BTreeSet<String>) -> bool {
        let are_known = |tags: &Tags| {
            let has_none = user == ROOT_USER || tags.gone.contains(user);
            keys.is_subset(&tags.keys) && (has_none || tags.by_user.contains_key(user))
        };
        self.tags.as_deref().is_some_and(are_known)
    }

    /// Whether these tags of every existing user are known.
    pub fn knows_tags(&self, keys: &BTreeSet<String>) -> bool {
        self.tags.as_ref().is_some_and(|tags| keys.is_subset(&tags.keys))
            && self.users().all(|(subject, _)| self.knows_tags_of(&subject.user.name, keys))
    }

    /// Whether the user may have more access keys than the report shows, and AWS has not said since which
    /// there are. Of root, who has two at most, AWS says only whether there is any.
    pub fn may_hide_keys_of(&self, user: &User, now: DateTime<Utc>) -> bool {
        if user.is_root() {
            return user.lacks_keys() && !self.root_has_no_key(now);
        }
        (user.additional_credentials || user.lacks_keys()) && !self.confirmed.knows(&user.name)
    }

    /// Up to when the use of its keys is known, as of `now`: the report says when they were last used.
    pub fn use_known_until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.generated.map_or(now, |generated| generated.min(now))
    }

    /// One user with the tags that are known.
    pub fn subject<'a>(&'a self, user: &'a User) -> Subject<'a> {
        Subject {
            account_id: &self.id,
            account_name: &self.name,
            user,
            tags: self.tags_of(&user.name),
        }
    }
}

impl State {
    /// The state of these accounts. If several have the same id, the one with the newest report is
    /// published and the others are counted. The newest is the one with the newest time in it, then
    /// the one that was generated last, then the one whose refresh works, then the last one by
    /// name.
    pub fn new(
        accounts: impl IntoIterator<Item = Arc<Account>>,
        discovery: Tried,
        ready: bool,
    ) -> State {
        let (unidentified, mut accounts): (Vec<_>, Vec<Arc<Account>>) =
            accounts.into_iter().partition(|account| account.id == UNKNOWN_ACCOUNT);
        let all = accounts.len();
        accounts.sort_by(|a, b| a.id.cmp(&b.id).then_with(|| b.newness().cmp(&a.newness())));
        accounts.dedup_by(|later, first| later.id == first.id);
        let duplicates = all - accounts.len();
        let unidentified_failures = FailureCounts::default();
        State {
            accounts,
            unidentified,
            unidentified_failures,
            duplicates,
            discovery,
            discovery_fault: None,
            ready,
        }
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
        let unread = Account::pending(UNKNOWN_ACCOUNT, "123456789012");
        for accounts in [[&read, &unread], [&unread, &read]] {
            let state = State::new(accounts.map(|it| Arc::new(it.clone())), Tried::Ok, true);
            assert_eq!((&*state.accounts[0], &*state.unidentified[0]), (&read, &unread));
            assert_eq!(state.duplicates, 0);
        }
    }

    #[test]
    fn an_account_is_called_by_its_name_until_its_id_is_known() {
        let mut account = Account::pending(UNKNOWN_ACCOUNT, "prod");
        assert_eq!(account.label(), "prod");
        account.identify("123456789012", "prod");
        assert_eq!((account.label(), account.name.as_str()), ("123456789012", "prod"));
        assert_eq!(Account::pending(UNKNOWN_ACCOUNT, "").label(), UNKNOWN_ACCOUNT);
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
