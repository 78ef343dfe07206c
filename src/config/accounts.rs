//! The accounts and their credentials: the sections `accounts` and `organization`.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer};

use super::fields::{self, is_account_id, is_role_name};

/// An account that the configuration lists.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "AccountSection")]
pub struct ListedAccount {
    /// 12 digits.
    pub id: String,
    /// The name to show. May be empty.
    pub name: String,
    /// The credentials to use.
    pub access: Access,
}

/// All accounts of an AWS organization.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    /// The role to assume in each of them, with its path if it has one.
    #[serde(deserialize_with = "fields::role_name")]
    pub role_name: String,
    /// The external id that the trust policies of the roles require, if any.
    #[serde(default, deserialize_with = "fields::external_id")]
    pub external_id: Option<String>,
    /// Ids of accounts that are left out.
    #[serde(default, deserialize_with = "fields::account_ids")]
    pub exclude: BTreeSet<String>,
}

/// The credentials for an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// The profile that the base credentials come from. `None`: the default chain.
    pub profile: Option<String>,
    /// The role to assume with these credentials. `None`: they are used directly.
    pub role: Option<Role>,
}

/// A role that is assumed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Role {
    /// Its ARN.
    pub arn: RoleArn,
    /// The external id that its trust policy requires, if any.
    pub external_id: Option<String>,
}

/// The ARN of a role, such as `arn:aws:iam::123456789012:role/iam-key-exporter`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct RoleArn(String);

impl RoleArn {
    /// The role of this name, with its path if it has one, in an account.
    pub fn new(partition: &str, account: &str, name: &str) -> RoleArn {
        RoleArn(format!("arn:{partition}:iam::{account}:role/{name}"))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The partition, such as `aws`.
    pub fn partition(&self) -> &str {
        self.part(1)
    }

    fn account(&self) -> &str {
        self.part(4)
    }

    fn part(&self, index: usize) -> &str {
        self.0.split(':').nth(index).unwrap_or_default()
    }
}

impl TryFrom<String> for RoleArn {
    type Error = &'static str;

    fn try_from(text: String) -> Result<RoleArn, Self::Error> {
        let is_role = match *text.splitn(6, ':').collect::<Vec<_>>() {
            ["arn", partition, "iam", "", account, resource] => {
                partition.starts_with("aws")
                    && is_account_id(account)
                    && resource.strip_prefix("role/").is_some_and(is_role_name)
            }
            _ => false,
        };
        if is_role {
            Ok(RoleArn(text))
        } else {
            Err("must be a role's ARN, such as arn:aws:iam::123456789012:role/iam-key-exporter")
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountSection {
    #[serde(deserialize_with = "fields::account_id")]
    id: String,
    #[serde(default, deserialize_with = "fields::name")]
    name: Option<String>,
    #[serde(default, deserialize_with = "fields::given")]
    role_arn: Option<RoleArn>,
    #[serde(default, deserialize_with = "fields::external_id")]
    external_id: Option<String>,
    #[serde(default, deserialize_with = "fields::name")]
    profile: Option<String>,
}

impl TryFrom<AccountSection> for ListedAccount {
    type Error = String;

    fn try_from(section: AccountSection) -> Result<ListedAccount, String> {
        let AccountSection { id, name, role_arn, external_id, profile } = section;
        let role = match (role_arn, external_id) {
            (Some(arn), _) if arn.account() != id => {
                return Err(format!("role_arn is of account {}, not of {id}", arn.account()));
            }
            (Some(arn), external_id) => Some(Role { arn, external_id }),
            (None, Some(_)) => return Err("external_id needs role_arn".to_owned()),
            (None, None) => None,
        };
        // Without a name, the account's alias is shown instead.
        let name = name.unwrap_or_default();
        Ok(ListedAccount { id, name, access: Access { profile, role } })
    }
}

/// Reads the section `accounts`: no account is in it twice.
pub fn listed_accounts<'de, D>(section: D) -> Result<Vec<ListedAccount>, D::Error>
where
    D: Deserializer<'de>,
{
    fields::read(section, |accounts: Option<Vec<ListedAccount>>| {
        let accounts = accounts.unwrap_or_default();
        let mut seen = BTreeSet::new();
        match accounts.iter().find(|account| !seen.insert(&account.id)) {
            Some(account) => Err(format!("lists the account {} twice", account.id)),
            None => Ok(accounts),
        }
    })
}

impl fmt::Display for ListedAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account {}", self.id)?;
        if !self.name.is_empty() {
            write!(f, " ({})", self.name)?;
        }
        write!(f, ": {}", self.access)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.profile {
            Some(profile) => write!(f, "credentials of the profile {profile}")?,
            None => write!(f, "default credentials")?,
        }
        let Some(Role { arn, external_id }) = &self.role else { return Ok(()) };
        write!(f, ", which assume {}", arn.as_str())?;
        // Not a secret, but not needed in the output either.
        if external_id.is_some() { write!(f, " with an external id") } else { Ok(()) }
    }
}

impl fmt::Display for Organization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "organization: every active account, role {}", self.role_name)?;
        if self.external_id.is_some() {
            write!(f, " with an external id")?;
        }
        if !self.exclude.is_empty() {
            let exclude: Vec<&str> = self.exclude.iter().map(String::as_str).collect();
            write!(f, ", without {}", exclude.join(", "))?;
        }
        Ok(())
    }
}
