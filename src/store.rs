//! The store to which refreshes publish: the newest account of each target. A page's [`State`] is a
//! snapshot of the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::failure::{Failure, FailureCounts, Reason};
use crate::source::target::{Discovered, Target};
use crate::state::{Account, Attempt, Fault, Refresh, State, Tried, UNKNOWN_ACCOUNT};

/// The newest account of each target.
///
/// Publishing only swaps a pointer, so it is cheap with any number of accounts. Readers take a
/// snapshot when they need one.
#[derive(Debug, Default)]
pub struct Store {
    accounts: Mutex<Accounts>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Accounts {
    by_key: BTreeMap<String, Entry>,
    /// Whether the accounts come from report files.
    are_files: bool,
    /// Accounts whose credentials or files changed to another account, and since when.
    left: Vec<(Arc<Account>, Instant)>,
    unidentified_failures: FailureCounts,
    /// The result of the last listing of accounts.
    discovery: Tried,
    discovery_fault: Option<Arc<str>>,
    /// Whether, at some moment after the first look for accounts, every account had been tried.
    ready: bool,
}

#[derive(Debug)]
struct Entry {
    target: Target,
    account: Arc<Account>,
}

impl Store {
    /// A channel that reports each change.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The accounts as they are published now.
    pub fn snapshot(&self) -> State {
        let (accounts, discovery, discovery_fault, ready, unidentified_failures) = {
            let mut accounts = self.lock();
            let tried = |entry: &Entry| entry.account.refresh.last.is_some();
            // Stays true: an account that joins later does not make the exporter unready.
            accounts.ready |=
                accounts.discovery != Tried::NotYet && accounts.by_key.values().all(tried);
            let all = accounts
                .by_key
                .values()
                .map(|entry| &entry.account)
                .chain(accounts.left.iter().map(|(account, _)| account));
            let all: Vec<Arc<Account>> = all.cloned().collect();
            let Accounts { discovery, ready, unidentified_failures, .. } = *accounts;
            (all, discovery, accounts.discovery_fault.clone(), ready, unidentified_failures)
        };
        let state = State::new(accounts, discovery, ready);
        State { unidentified_failures, discovery_fault, ..state }
    }

    /// The accounts that are known.
    pub fn targets(&self) -> Vec<Target> {
        self.lock().by_key.values().map(|entry| entry.target.clone()).collect()
    }

    /// A target and its account, by the target's key.
    pub fn get(&self, key: &str) -> Option<(Target, Arc<Account>)> {
        self.lock().by_key.get(key).map(|entry| (entry.target.clone(), entry.account.clone()))
    }

    /// Publishes the account of a target, unless the target is gone or has other credentials now.
    /// If the target changed to another account, the one before stays, failing, until a discovery
    /// drops it.
    pub fn publish(&self, target: &Target, mut account: Account) {
        let mut accounts = self.lock();
        let Accounts { by_key, are_files, left, unidentified_failures, .. } = &mut *accounts;
        let entry = by_key.get_mut(&target.key);
        if let Some(entry) = entry.filter(|entry| entry.target.access == target.access) {
            // It may have been renamed meanwhile.
            account.rename(&entry.target.name);
            let failure = account.refresh.last.and_then(|last| last.failure);
            if let (true, Some(reason)) = (account.id == UNKNOWN_ACCOUNT, failure) {
                unidentified_failures.count(reason);
            }
            if let (None, Some((kept, _))) =
                (&account.report, left.iter().find(|(it, _)| it.id == account.id))
            {
                // The credentials belong to this account again, so its data from before still
                // counts.
                account = Account { refresh: account.refresh, ..Account::clone(kept) };
            }
            let Refresh { last_success, fault, .. } = &account.refresh;
            let at = fault.as_ref().map(|fault| fault.since).max(*last_success);
            let (id, account) = (account.id.clone(), Arc::new(account));
            let before = std::mem::replace(&mut entry.account, account.clone());
            let is_other = before.id != id;
            if is_other && before.id != UNKNOWN_ACCOUNT {
                let (reason, why) = if *are_files {
                    (Reason::UnreadableFile, "its report file is of another account now")
                } else {
                    (Reason::Credentials, "its credentials are of another account now")
                };
                warn!(account = before.id, now = id, why, "account no longer reached");
                let mut before = Account::clone(&before);
                before.refresh.next = None;
                before.refresh.last =
                    Some(Attempt { failure: Some(reason), duration: Duration::ZERO });
                before.refresh.failures.count(reason);
                before.refresh.fault = at.map(|since| Fault { message: why.into(), since });
                left.push((Arc::new(before), Instant::now()));
            }
            if is_other {
                let why =
                    if *are_files { "a report file is of it" } else { "the credentials are of it" };
                log("accounts joined", std::slice::from_ref(&id), why);
            }
            // Of files that have a report of this account, the one that has left may be the newer one.
            let is_newer =
                |left: &Account| *are_files && left.newest_time() > account.newest_time();
            left.retain(|(left, _)| left.id != id || is_newer(left));
        }
        drop(accounts);
        self.changes.send_replace(());
    }

    /// Publishes the accounts that were found. Accounts from before keep their data, and leave if
    /// these are all the accounts or if they are excluded. Every account that joins or leaves is named
    /// in the log.
    pub fn set_targets(&self, discovered: Discovered) {
        let Discovered { targets, is_all, excluded, are_files, origin } = discovered;
        let mut accounts = self.lock();
        accounts.are_files = are_files;
        let mut changed = false;
        let mut joined = Vec::new();
        let mut before = std::mem::take(&mut accounts.by_key);
        for target in targets {
            let entry = match before.remove(&target.key) {
                Some(Entry { target: old, account }) if old.name == target.name => {
                    Entry { target, account }
                }
                Some(Entry { account, .. }) => {
                    changed = true;
                    let mut account = Account::clone(&account);
                    account.rename(&target.name);
                    Entry { target, account: Arc::new(account) }
                }
                None => {
                    changed = true;
                    joined.extend(Some(&target.id).filter(|id| *id != UNKNOWN_ACCOUNT).cloned());
                    let account = Arc::new(Account::pending(&target.id, &target.name));
                    Entry { target, account }
                }
            };
            accounts.by_key.insert(entry.target.key.clone(), entry);
        }
        let is_excluded = |_: &String, entry: &mut Entry| excluded.contains(&entry.account.id);
        let excluded = before.extract_if(.., is_excluded);
        let label = |(_, entry): (String, Entry)| entry.account.label().to_owned();
        let excluded: Vec<String> = excluded.map(label).collect();
        let gone = before.extract_if(.., |_, _| is_all);
        let gone: Vec<String> = gone.map(label).collect();
        accounts.by_key.append(&mut before);
        drop(accounts);
        changed |= !(excluded.is_empty() && gone.is_empty());
        log("accounts joined", &joined, &format!("found by {origin}"));
        log("accounts left", &excluded, "excluded by the configuration");
        log("accounts left", &gone, &format!("no longer in {origin}"));
        if changed {
            self.changes.send_replace(());
        }
    }

    /// Publishes why the accounts could not be listed, or that they could. Then accounts leave whose
    /// credentials or files changed to another account longer than `keep` ago.
    pub fn set_discovery(&self, failure: Option<&Failure>, keep: Duration) {
        let discovery = if failure.is_none() { Tried::Ok } else { Tried::Failed };
        let fault = failure.map(|failure| Arc::from(failure.message.as_str()));
        let mut accounts = self.lock();
        let is_new = (accounts.discovery, &accounts.discovery_fault) != (discovery, &fault);
        accounts.discovery = discovery;
        accounts.discovery_fault = fault;
        let is_over = |(_, since): &mut (Arc<Account>, Instant)| {
            discovery == Tried::Ok && since.elapsed() >= keep
        };
        let left = accounts.left.extract_if(.., is_over);
        let ids: Vec<String> = left.map(|(account, _)| account.id.clone()).collect();
        drop(accounts);
        log("accounts left", &ids, "their credentials or report files are of other accounts now");
        if is_new || !ids.is_empty() {
            self.changes.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().expect("nothing panics while it is locked")
    }
}

/// One line that names all of these accounts.
fn log(what: &str, accounts: &[String], why: &str) {
    if !accounts.is_empty() {
        info!(count = accounts.len(), accounts = accounts.join(" "), why, "{what}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Access;
    use crate::report::Report;

    fn all(accounts: &[(&str, &str)]) -> Discovered {
        let target = |(key, name): &(&str, &str)| {
            let (key, name) = ((*key).to_owned(), (*name).to_owned());
            Target { id: key.clone(), key, name, access: Access::default() }
        };
        let targets = accounts.iter().map(target).collect();
        Discovered { targets, is_all: true, ..Discovered::default() }
    }

    fn target(key: &str) -> Target {
        all(&[(key, "")]).targets.remove(0)
    }

    /// Targets of accounts whose ids are not known yet.
    fn unknown(keys: &[&str], are_files: bool) -> Discovered {
        let mut discovered = all(&keys.iter().map(|key| (*key, "")).collect::<Vec<_>>());
        for target in &mut discovered.targets {
            target.id = UNKNOWN_ACCOUNT.to_owned();
        }
        Discovered { are_files, ..discovered }
    }

    fn tried(key: &str) -> Account {
        let mut account = Account::pending(key, "");
        account.refresh.last = Some(Attempt { failure: None, duration: Duration::ZERO });
        account
    }

    fn failure() -> Failure {
        Failure::new(Reason::AccessDenied, "no permission")
    }

    fn names(store: &Store) -> Vec<(String, String)> {
        let accounts = store.snapshot().accounts;
        accounts.iter().map(|account| (account.id.clone(), account.name.clone())).collect()
    }

    #[test]
    fn it_is_ready_when_every_known_account_was_tried_and_stays_so() {
        let store = Store::default();
        assert!(!store.snapshot().ready);
        store.set_targets(all(&[("a", "")]));
        store.publish(&target("a"), tried("a"));
        assert!(!store.snapshot().ready, "nobody has looked for others");
        store.set_targets(all(&[("a", ""), ("b", "")]));
        store.set_discovery(None, Duration::ZERO);
        assert!(!store.snapshot().ready);
        store.publish(&target("b"), tried("b"));
        assert!(store.snapshot().ready);
        store.set_targets(all(&[("a", ""), ("c", "")]));
        assert!(store.snapshot().ready);
    }

    #[test]
    fn a_look_for_accounts_that_fails_was_a_try() {
        let store = Store::default();
        store.set_discovery(Some(&failure()), Duration::ZERO);
        // It must be ready: a target that is not ready may not be scraped, and then nobody sees the
        // metric with the reason.
        assert!(store.snapshot().ready);
    }

    #[test]
    fn the_reason_why_accounts_could_not_be_listed_stays_until_they_can() {
        let store = Store::default();
        let mut changes = store.changes();
        let mut set = |failure: Option<&Failure>| {
            changes.mark_unchanged();
            store.set_discovery(failure, Duration::ZERO);
            (store.snapshot().discovery_fault, changes.has_changed().expect("a store"))
        };
        assert_eq!(set(Some(&failure())), (Some("no permission".into()), true));
        assert_eq!(set(Some(&failure())), (Some("no permission".into()), false));
        let other = Failure::new(Reason::Network, "no route");
        assert_eq!(set(Some(&other)), (Some("no route".into()), true));
        assert_eq!(set(None), (None, true));
    }

    #[test]
    fn until_all_are_known_the_accounts_from_before_stay() {
        let store = Store::default();
        store.set_targets(all(&[("a", ""), ("b", "")]));
        store.set_targets(Discovered { is_all: false, ..all(&[("b", "new"), ("c", "")]) });
        let expected = [("a", ""), ("b", "new"), ("c", "")];
        assert_eq!(names(&store), expected.map(|(id, name)| (id.to_owned(), name.to_owned())));
        let excluded = ["a".to_owned()].into();
        store.set_targets(Discovered { is_all: false, excluded, ..Discovered::default() });
        let expected = [("b", "new"), ("c", "")];
        assert_eq!(names(&store), expected.map(|(id, name)| (id.to_owned(), name.to_owned())));
    }

    #[test]
    fn what_is_gone_is_not_published_again() {
        let store = Store::default();
        store.set_targets(all(&[("a", ""), ("b", "")]));
        store.set_targets(all(&[("b", "")]));
        store.publish(&target("a"), tried("a"));
        assert_eq!(names(&store), [("b".to_owned(), String::new())]);
    }

    #[test]
    fn what_came_in_a_way_that_was_given_up_is_not_published() {
        let store = Store::default();
        let old = target("a");
        let access = Access { profile: Some("other".to_owned()), role: None };
        let new = Target { access, ..old.clone() };
        store.set_targets(Discovered {
            targets: vec![new.clone()],
            is_all: true,
            ..Discovered::default()
        });
        store.publish(&old, tried("a"));
        assert!(store.snapshot().accounts[0].refresh.last.is_none());
        store.publish(&new, tried("a"));
        assert!(store.snapshot().accounts[0].refresh.last.is_some());
    }

    #[test]
    fn an_account_that_was_replaced_fails_for_the_reason_of_its_source() {
        for (are_files, reason, word) in [
            (true, Reason::UnreadableFile, "report file"),
            (false, Reason::Credentials, "credentials"),
        ] {
            let store = Store::default();
            store.set_targets(unknown(&["a"], are_files));
            let mut before = tried("1");
            before.refresh.last_success = Some(chrono::DateTime::UNIX_EPOCH);
            store.publish(&target("a"), before.clone());
            let mut now = tried("2");
            now.refresh.last_success = before.refresh.last_success;
            store.publish(&target("a"), now);
            let accounts = store.snapshot().accounts;
            let before = accounts.iter().find(|account| account.id == "1").expect("it stays");
            assert_eq!(before.refresh.last.and_then(|last| last.failure), Some(reason));
            assert_eq!(before.refresh.failures.get(reason), 1);
            let message = before.refresh.fault.as_ref().expect("a fault").message.clone();
            assert!(message.contains(word), "{message}");
        }
    }

    #[test]
    fn of_files_the_older_one_does_not_replace_what_is_known_of_one_that_became_another_accounts() {
        let read = |id: &str, created: &str| {
            let csv = format!(
                "user,arn,user_creation_time,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
                 a,arn:aws:iam::{id}:user/a,{created}T00:00:00Z,false,N/A,false,N/A\n"
            );
            let report = Report::parse(csv.as_bytes()).expect("a report");
            Account { report: Some(report.into()), ..tried(id) }
        };
        let store = Store::default();
        store.set_targets(unknown(&["a", "b"], true));
        let (new, old) = (read("111111111111", "2026-01-02"), read("111111111111", "2026-01-01"));
        store.publish(&target("a"), new.clone());
        store.publish(&target("b"), old.clone());
        store.publish(&target("a"), read("222222222222", "2026-01-01"));
        store.publish(&target("b"), old);
        let shown = |store: &Store| {
            let state = store.snapshot();
            let account = state.accounts[0].clone();
            (account.report.clone(), account.refresh.last.and_then(|last| last.failure))
        };
        assert_eq!(shown(&store), (new.report, Some(Reason::UnreadableFile)));
        let newer = read("111111111111", "2026-01-03");
        store.publish(&target("b"), newer.clone());
        assert_eq!(shown(&store), (newer.report, None));
        assert_eq!(store.snapshot().duplicates, 0);
    }

    #[test]
    fn a_new_name_is_there_at_once_and_stays_when_a_refresh_ends_that_knew_the_old_one() {
        let store = Store::default();
        store.set_targets(all(&[("a", "old")]));
        store.publish(&target("a"), tried("a"));
        store.set_targets(all(&[("a", "new")]));
        assert_eq!(names(&store), [("a".to_owned(), "new".to_owned())]);
        assert!(store.snapshot().accounts[0].refresh.last.is_some(), "what was known stays");
        store.publish(&target("a"), Account { name: "old".to_owned(), ..tried("a") });
        assert_eq!(names(&store), [("a".to_owned(), "new".to_owned())]);
    }

    #[test]
    fn only_changes_are_told() {
        let store = Store::default();
        store.set_targets(all(&[("a", "")]));
        let mut changes = store.changes();
        store.set_targets(all(&[("a", "")]));
        assert!(!changes.has_changed().expect("the store stays"));
        store.publish(&target("a"), tried("a"));
        assert!(changes.has_changed().expect("the store stays"));
        changes.mark_unchanged();
        store.set_discovery(Some(&failure()), Duration::ZERO);
        store.set_discovery(Some(&failure()), Duration::ZERO);
        assert!(changes.has_changed().expect("the store stays"));
    }
}
