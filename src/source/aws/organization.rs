//! The accounts of an organization.

use aws_sdk_organizations::types::{Account, AccountState, AccountStatus};

use super::clients::Clients;
use super::errors;
use super::sdk::Operation;
use crate::config::{Access, Organization, Role, RoleArn};
use crate::failure::{Failure, Reason};

/// An account of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// 12 digits.
    pub id: String,
    /// The name that it has in the organization.
    pub name: String,
    partition: String,
    /// Whether it is the account of the default credentials.
    is_own: bool,
}

impl Member {
    /// How it is reached. The account of the default credentials is reached with them: a role would
    /// be of no use there, and the management account often has none.
    pub fn access(&self, organization: &Organization) -> Access {
        let role = (!self.is_own).then(|| Role {
            arn: RoleArn::new(&self.partition, &self.id, &organization.role_name),
            external_id: organization.external_id.clone(),
        });
        Access { profile: None, role }
    }
}

/// The active accounts of the organization, by `ListAccounts`, which the management account and
/// delegated administrators may call.
pub async fn members(clients: &Clients) -> Result<Vec<Member>, Failure> {
    let base = clients.base(&Access::default()).await;
    let own = base.account_id().await?;
    let mut pages = clients.organizations().await.list_accounts().into_paginator().send();
    let mut members = Vec::new();
    while let Some(page) = clients.call(pages.next()).await {
        let page = page.map_err(|error| errors::failure(Operation::ListAccounts, &error))?;
        let active = page.accounts.unwrap_or_default().into_iter().filter(is_active);
        for account in active {
            members.push(member(account, own).ok_or_else(|| {
                let message = "ListAccounts: an account without its id or ARN";
                Failure::new(Reason::ServiceError, message)
            })?);
        }
    }
    Ok(members)
}

/// `Status` is on its way out, and `State` was not always there.
fn is_active(account: &Account) -> bool {
    match (&account.state, &account.status) {
        (Some(state), _) => *state == AccountState::Active,
        (None, status) => *status == Some(AccountStatus::Active),
    }
}

fn member(account: Account, own: &str) -> Option<Member> {
    let id = account.id?;
    Some(Member {
        partition: account.arn?.split(':').nth(1)?.to_owned(),
        name: account.name.unwrap_or_default(),
        is_own: id == own,
        id,
    })
}
