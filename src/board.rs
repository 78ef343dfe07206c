//! Where refreshes publish: the newest account of each target. A page's [`State`] is a snapshot of
//! it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::source::{Known, Target};
use crate::state::{Account, State};

/// The newest account of each target.
///
/// Publishing is cheap, however many accounts there are: it swaps a pointer. Who wants to know takes
/// a snapshot when it has time for it.
#[derive(Debug, Default)]
pub struct Board {
    accounts: Mutex<Accounts>,
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Accounts {
    by_key: BTreeMap<String, Entry>,
    /// Whether the last look for accounts worked; `None` before it.
    discovery: Option<bool>,
    /// Whether, at some moment after the first look for accounts, every account had been tried.
    ready: bool,
}

#[derive(Debug)]
struct Entry {
    target: Target,
    account: Arc<Account>,
}

impl Board {
    /// Tells of each change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// What is published now.
    pub fn snapshot(&self) -> State {
        let (accounts, discovery, ready) = {
            let mut accounts = self.lock();
            let tried = |entry: &Entry| entry.account.refresh.last.is_some();
            // Once, and for good: an account that comes later makes nobody wait for it.
            accounts.ready |= accounts.discovery.is_some() && accounts.by_key.values().all(tried);
            let all: Vec<Arc<Account>> =
                accounts.by_key.values().map(|entry| entry.account.clone()).collect();
            (all, accounts.discovery, accounts.ready)
        };
        State::new(accounts, discovery, ready)
    }

    /// The accounts that there are.
    pub fn targets(&self) -> Vec<Target> {
        self.lock().by_key.values().map(|entry| entry.target.clone()).collect()
    }

    /// A target, by its key, and its account.
    pub fn get(&self, key: &str) -> Option<(Target, Arc<Account>)> {
        self.lock().by_key.get(key).map(|entry| (entry.target.clone(), entry.account.clone()))
    }

    /// Publishes the account of a target, unless that is gone, or is reached in another way by now.
    pub fn publish(&self, target: &Target, mut account: Account) {
        let mut accounts = self.lock();
        let entry = accounts.by_key.get_mut(&target.key);
        if let Some(entry) = entry.filter(|entry| entry.target.access == target.access) {
            // It may have been renamed meanwhile.
            account.rename(&entry.target.name);
            entry.account = Arc::new(account);
        }
        drop(accounts);
        self.changes.send_replace(());
    }

    /// Publishes that these targets are there, and no others if they are all. Those that were there
    /// before keep what is known of them.
    pub fn retain(&self, Known { targets, is_all, excluded }: Known) {
        let mut accounts = self.lock();
        let mut changed = false;
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
                    let account = Arc::new(Account::pending(&target.id, &target.name));
                    Entry { target, account }
                }
            };
            accounts.by_key.insert(entry.target.key.clone(), entry);
        }
        let was = before.len();
        before.retain(|_, entry| !is_all && !excluded.contains(&entry.account.id));
        changed |= before.len() != was;
        accounts.by_key.append(&mut before);
        drop(accounts);
        if changed {
            self.changes.send_replace(());
        }
    }

    /// Publishes whether the accounts could be listed.
    pub fn discovered(&self, success: bool) {
        if self.lock().discovery.replace(success) != Some(success) {
            self.changes.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        // Nothing that can panic runs while it is held.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Access;
    use crate::state::Attempt;

    fn all(accounts: &[(&str, &str)]) -> Known {
        let target = |(key, name): &(&str, &str)| {
            let (key, name) = ((*key).to_owned(), (*name).to_owned());
            Target { id: key.clone(), key, name, access: Access::default() }
        };
        let targets = accounts.iter().map(target).collect();
        Known { targets, is_all: true, ..Known::default() }
    }

    fn target(key: &str) -> Target {
        all(&[(key, "")]).targets.remove(0)
    }

    fn tried(key: &str) -> Account {
        let mut account = Account::pending(key, "");
        account.refresh.last = Some(Attempt { failure: None, duration: Duration::ZERO });
        account
    }

    fn names(board: &Board) -> Vec<(String, String)> {
        let accounts = board.snapshot().accounts;
        accounts.iter().map(|account| (account.id.clone(), account.name.clone())).collect()
    }

    #[test]
    fn it_is_ready_when_every_known_account_was_tried_and_stays_so() {
        let board = Board::default();
        assert!(!board.snapshot().ready);
        board.retain(all(&[("a", "")]));
        board.publish(&target("a"), tried("a"));
        assert!(!board.snapshot().ready, "nobody has looked for others");
        board.retain(all(&[("a", ""), ("b", "")]));
        board.discovered(true);
        assert!(!board.snapshot().ready);
        board.publish(&target("b"), tried("b"));
        assert!(board.snapshot().ready);
        board.retain(all(&[("a", ""), ("c", "")]));
        assert!(board.snapshot().ready);
    }

    #[test]
    fn a_look_for_accounts_that_fails_was_a_try() {
        let board = Board::default();
        board.discovered(false);
        // Whoever sends no scrapes to what is not ready would never see the metric that says why.
        assert!(board.snapshot().ready);
    }

    #[test]
    fn until_all_are_known_whoever_was_there_stays() {
        let board = Board::default();
        board.retain(all(&[("a", ""), ("b", "")]));
        board.retain(Known { is_all: false, ..all(&[("b", "new"), ("c", "")]) });
        let expected = [("a", ""), ("b", "new"), ("c", "")];
        assert_eq!(names(&board), expected.map(|(id, name)| (id.to_owned(), name.to_owned())));
        let excluded = ["a".to_owned()].into();
        board.retain(Known { is_all: false, excluded, ..Known::default() });
        let expected = [("b", "new"), ("c", "")];
        assert_eq!(names(&board), expected.map(|(id, name)| (id.to_owned(), name.to_owned())));
    }

    #[test]
    fn what_is_gone_is_not_published_again() {
        let board = Board::default();
        board.retain(all(&[("a", ""), ("b", "")]));
        board.retain(all(&[("b", "")]));
        board.publish(&target("a"), tried("a"));
        assert_eq!(names(&board), [("b".to_owned(), String::new())]);
    }

    #[test]
    fn what_came_in_a_way_that_was_given_up_is_not_published() {
        let board = Board::default();
        let old = target("a");
        let access = Access { profile: Some("other".to_owned()), role: None };
        let new = Target { access, ..old.clone() };
        board.retain(Known { targets: vec![new.clone()], is_all: true, ..Known::default() });
        board.publish(&old, tried("a"));
        assert!(board.snapshot().accounts[0].refresh.last.is_none());
        board.publish(&new, tried("a"));
        assert!(board.snapshot().accounts[0].refresh.last.is_some());
    }

    #[test]
    fn a_new_name_is_there_at_once_and_stays_when_a_refresh_ends_that_knew_the_old_one() {
        let board = Board::default();
        board.retain(all(&[("a", "old")]));
        board.publish(&target("a"), tried("a"));
        board.retain(all(&[("a", "new")]));
        assert_eq!(names(&board), [("a".to_owned(), "new".to_owned())]);
        assert!(board.snapshot().accounts[0].refresh.last.is_some(), "what was known stays");
        board.publish(&target("a"), Account { name: "old".to_owned(), ..tried("a") });
        assert_eq!(names(&board), [("a".to_owned(), "new".to_owned())]);
    }

    #[test]
    fn only_changes_are_told() {
        let board = Board::default();
        board.retain(all(&[("a", "")]));
        let mut changes = board.changes();
        board.retain(all(&[("a", "")]));
        assert!(!changes.has_changed().expect("the board stays"));
        board.publish(&target("a"), tried("a"));
        assert!(changes.has_changed().expect("the board stays"));
        changes.mark_unchanged();
        board.discovered(false);
        board.discovered(false);
        assert!(changes.has_changed().expect("the board stays"));
    }
}
