//! The accounts of an organization.

use std::mem;
use std::sync::Mutex;

use aws_sdk_organizations::types::{Account, AccountState, AccountStatus};

use super::clients::Clients;
use super::errors;
use super::sdk::Operation;
use crate::config::{Access, Organization, Role, RoleArn, is_account_id};
use crate::failure::{Failure, Reason};

/// An account of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// 12 digits.
    pub id: String,
    /// The name that it has in the organization.
    pub name: String,
    partition: String,
    organization: String,
    /// Whether it is the account of the default credentials.
    is_own: bool,
}

impl Member {
    /// The id of its organization, such as `o-exampleorgid`.
    pub fn organization(&self) -> &str {
        &self.organization
    }

    /// The credentials to use. The account of the default credentials is reached with them: a role
    /// has no advantage there, and the management account often has none.
    pub fn access(&self, organization: &Organization) -> Access {
        let role = (!self.is_own).then(|| Role {
            arn: RoleArn::new(&self.partition, &self.id, &organization.role_name),
            external_id: organization.external_id.clone(),
        });
        Access { profile: None, role }
    }
}

/// The progress of a listing of accounts.
#[derive(Debug, Default)]
pub struct Listing {
    /// The account of the credentials.
    own: String,
    members: Vec<Member>,
    /// The marker of the next page.
    token: Option<String>,
}

/// The accounts of the organization that are not closed or suspended, by `ListAccounts`, which the
/// management account and delegated administrators may call. Each page has the time limit of a
/// call. If one does not come in time, the next listing continues there. An organization without
/// accounts is a failure: it has at least the account that asks.
pub async fn members(clients: &Clients, listing: &Mutex<Listing>) -> Result<Vec<Member>, Failure> {
    let lock = || listing.lock().expect("nothing panics while it is locked");
    let base = clients.base(&Access::default()).await;
    let own = base.account_id().await?;
    if lock().own != own {
        *lock() = Listing { own: own.to_owned(), ..Listing::default() };
    }
    let client = clients.organizations().await;
    loop {
        let token = lock().token.clone();
        let page = clients.call(client.list_accounts().set_next_token(token.clone()).send()).await;
        let page = page.map_err(|error| {
            let failure = errors::failure(Operation::ListAccounts, &error);
            let is_passing = matches!(failure.reason, Reason::Timeout | Reason::Network);
            if !is_passing && !failure.reason.is_overload() {
                // For example because the token is too old.
                *lock() = Listing::default();
            }
            failure
        })?;
        let odd = |message| Failure::new(Reason::ServiceError, message);
        let accounts =
            page.accounts.ok_or_else(|| odd("ListAccounts: an answer without a list"))?;
        let open = accounts.into_iter().filter(|account| !is_closed(account));
        let found: Option<Vec<Member>> = open.map(|account| member(account, own)).collect();
        let found = found.ok_or_else(|| odd("ListAccounts: an account without its id or ARN"))?;
        let is_last = page.next_token.is_none();
        if !is_last && page.next_token == token {
            *lock() = Listing::default();
            return Err(odd("ListAccounts: the same page again and again"));
        }
        let mut listing = lock();
        listing.members.extend(found);
        listing.token = page.next_token;
        if is_last {
            let members = mem::take(&mut *listing).members;
            let none = || odd("ListAccounts: an organization without active accounts");
            return if members.is_empty() { Err(none()) } else { Ok(members) };
        }
    }
}

/// Whether AWS says that the account is closed or suspended, or soon will be closed. In any other state, and in
/// one that is not known, it may have keys that work: if it cannot be read, it fails.
///
/// AWS is replacing `Status` by `State`, so both are read.
fn is_closed(account: &Account) -> bool {
    use AccountState::{Closed, PendingClosure, Suspended};
    match (&account.state, &account.status) {
        (Some(state), _) => matches!(state, Closed | PendingClosure | Suspended),
        (None, Some(status)) => {
            matches!(status, AccountStatus::PendingClosure | AccountStatus::Suspended)
        }
        // A missing state does not mean that the account is gone.
        (None, None) => false,
    }
}

fn member(account: Account, own: &str) -> Option<Member> {
    let (id, arn) = (account.id.filter(|id| is_account_id(id))?, account.arn?);
    Some(Member {
        partition: arn.split(':').nth(1)?.to_owned(),
        organization: arn.split('/').nth(1)?.to_owned(),
        name: account.name.unwrap_or_default(),
        is_own: id == own,
        id,
    })
}
