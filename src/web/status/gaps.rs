//! What the files about keys, for spreadsheets and calendars, lack.

use super::StatusSettings;
use super::choices::KeyKind;
use super::components::{counted, grouped};
use super::health::{AccountSummary, Trouble, of_query};
use super::query::Query;
use super::trust::{NOT_IN_FILES, NOT_TRIED, OTHER_SHARDS, lacks_service_credentials, no_account};
use crate::render::Snapshot;
use crate::shard::Shard;
use crate::state::Tried;

/// Data that a file about keys lacks.
pub struct Gap<'a> {
    /// The keys that may be missing.
    pub of: Missing<'a>,
    /// The account, if it is known.
    pub account: Option<&'a AccountSummary<'a>>,
    /// Whether some of its keys are known.
    pub is_read: bool,
    /// The reason.
    pub why: String,
}

/// The keys that may be missing in a file.
#[derive(Clone, Copy)]
pub enum Missing<'a> {
    /// Those of the account with this id, or with this name in a query that no account has.
    Account(&'a str),
    /// Those of accounts that were not listed.
    OtherAccounts,
    /// Those of accounts of other shards than this one.
    OtherShards(Shard),
    /// Service-specific credentials of all accounts.
    ServiceCredentials,
}

impl Gap<'_> {
    /// The account's id. Empty if it is about several accounts.
    pub fn account_id(&self) -> &str {
        if let Missing::Account(id) = self.of { id } else { "" }
    }
}

/// What is not known of the keys that the query asks for.
pub fn gaps<'a>(
    settings: &StatusSettings,
    snapshot: &Snapshot,
    accounts: &'a [AccountSummary<'a>],
    query: &'a Query,
) -> Vec<Gap<'a>> {
    let of_query = of_query(accounts, query);
    // Which of the unknown keys a search would find is not known either.
    let incomplete =
        of_query.iter().copied().filter(|row| !row.is_whole_for_query(query.show, query.kind));
    let gap = |row: &'a AccountSummary| {
        let troubles = || row.troubles.iter().map(Trouble::text).collect::<Vec<_>>().join(", ");
        let why = row.cause().unwrap_or_else(troubles);
        let why = if why.is_empty() { NOT_TRIED.to_owned() } else { why };
        Gap {
            of: Missing::Account(&row.account.id),
            account: Some(row),
            is_read: row.is_read(),
            why,
        }
    };
    let mut gaps: Vec<Gap> = incomplete.map(gap).collect();
    let unknown = |of, why| Gap { of, account: None, is_read: false, why };
    if !query.is_of_one_account() {
        gaps.extend(unlisted(snapshot).map(|why| unknown(Missing::OtherAccounts, why)));
        let others = other_shards(settings.shard, accounts);
        gaps.extend(others.map(|why| unknown(Missing::OtherShards(settings.shard), why)));
    }
    if !query.account.is_empty() && of_query.is_empty() {
        let why = no_account(settings, snapshot, query);
        gaps.push(unknown(Missing::Account(&query.account), why));
    }
    // Of an account that was never read nothing is known anyway.
    let is_missing = lacks_service_credentials(settings, snapshot)
        && query.kind != Some(KeyKind::AccessKey)
        && of_query.iter().any(|row| row.is_read());
    if is_missing {
        let why = format!("service-specific credentials: {NOT_IN_FILES}");
        let is_read = query.kind.is_none();
        gaps.push(Gap { is_read, ..unknown(Missing::ServiceCredentials, why) });
    }
    gaps
}

/// Why there may be unknown accounts.
fn unlisted(snapshot: &Snapshot) -> Option<String> {
    let what = match snapshot.state.discovery {
        Tried::Ok => return None,
        Tried::NotYet => "were not listed yet",
        Tried::Failed => "could not be listed",
    };
    let why = snapshot.state.discovery_fault.as_ref().map(|message| format!(": {message}"));
    Some(format!("the accounts {what}: there may be others{}", why.unwrap_or_default()))
}

/// The accounts of other shards. `None`: there is only one.
fn other_shards(shard: Shard, accounts: &[AccountSummary]) -> Option<String> {
    let read = accounts.iter().filter(|row| row.is_read()).count();
    let all = counted(accounts.len(), "account");
    let name = shard.name()?;
    Some(format!("{} of {all} of {name} read. {OTHER_SHARDS}.", grouped(read)))
}
