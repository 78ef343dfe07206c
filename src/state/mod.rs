//! The published data: [`Account`] and [`State`]. Both are built whole and never changed
//! afterwards.

mod account;
mod refresh;

use std::sync::Arc;

use crate::failure::FailureCounts;

pub use account::{Account, Tags, UNKNOWN_ACCOUNT, label};
pub use refresh::{Attempt, Fault, Refresh, Tried};

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
mod tests;
