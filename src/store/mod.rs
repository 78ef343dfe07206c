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
mod tests;
