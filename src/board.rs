//! Where refreshes publish: the newest account of each target. A page's [`State`] is a snapshot of
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::source::Target;
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
    by_target: BTreeMap<Target, Arc<Account>>,
    /// Whether the last look for accounts worked; `None` before it.
    discovery: Option<bool>,
    /// Whether every account that was known at some moment had been tried by then.
    ready: bool,
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
            let tried = |account: &Arc<Account>| account.refresh.last.is_some();
            // Once, and for good: an account that comes later makes nobody wait for it.
            accounts.ready |=
                accounts.discovery == Some(true) && accounts.by_target.values().all(tried);
            let all: Vec<Arc<Account>> = accounts.by_target.values().cloned().collect();
            (all, accounts.discovery, accounts.ready)
        };
        State::new(accounts, discovery, ready)
    }

    /// The account of a target.
    pub fn get(&self, target: &Target) -> Option<Arc<Account>> {
        self.lock().by_target.get(target).cloned()
    }

    /// Publishes the account, unless its target is gone.
    pub fn publish(&self, target: &Target, account: Account) {
        if let Some(place) = self.lock().by_target.get_mut(target) {
            *place = Arc::new(account);
        }
        self.changes.send_replace(());
    }

    /// Publishes that these targets, and no others, are there.
    pub fn retain(&self, targets: &BTreeSet<Target>) {
        let mut accounts = self.lock();
        let mut changed = accounts.discovery.replace(true) != Some(true);
        accounts.by_target.retain(|target, _| {
            let stays = targets.contains(target);
            changed |= !stays;
            stays
        });
        for target in targets {
            accounts.by_target.entry(target.clone()).or_insert_with(|| {
                changed = true;
                Arc::new(Account::pending(&target.id, &target.name))
            });
        }
        drop(accounts);
        if changed {
            self.changes.send_replace(());
        }
    }

    /// Publishes that accounts could not be listed.
    pub fn discovery_failed(&self) {
        if self.lock().discovery.replace(false) != Some(false) {
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
    use crate::state::Attempt;

    fn target(key: &str) -> Target {
        Target { key: key.to_owned(), id: key.to_owned(), name: String::new() }
    }

    fn tried(key: &str) -> Account {
        let mut account = Account::pending(key, "");
        account.refresh.last = Some(Attempt { failure: None, duration: Duration::ZERO });
        account
    }

    #[test]
    fn it_is_ready_when_every_known_account_was_tried_and_stays_so() {
        let board = Board::default();
        assert!(!board.snapshot().ready);
        board.discovery_failed();
        assert!(!board.snapshot().ready, "nobody knows which accounts there are");
        board.retain(&[target("a")].into());
        assert!(!board.snapshot().ready);
        board.publish(&target("a"), tried("a"));
        assert!(board.snapshot().ready);
        board.retain(&[target("a"), target("b")].into());
        assert!(board.snapshot().ready);
    }

    #[test]
    fn what_is_gone_is_not_published_again() {
        let board = Board::default();
        board.retain(&[target("a"), target("b")].into());
        board.retain(&[target("b")].into());
        board.publish(&target("a"), tried("a"));
        let ids: Vec<String> =
            board.snapshot().accounts.iter().map(|account| account.id.clone()).collect();
        assert_eq!(ids, ["b"]);
    }

    #[test]
    fn only_changes_are_told() {
        let board = Board::default();
        board.retain(&[target("a")].into());
        let mut changes = board.changes();
        board.retain(&[target("a")].into());
        assert!(!changes.has_changed().expect("the board stays"));
        board.publish(&target("a"), tried("a"));
        assert!(changes.has_changed().expect("the board stays"));
        changes.mark_unchanged();
        board.discovery_failed();
        board.discovery_failed();
        assert!(changes.has_changed().expect("the board stays"));
    }
}
