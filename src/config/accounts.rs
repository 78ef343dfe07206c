//! Which accounts there are and how each is reached: the sections `accounts` and `organization`.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;

use super::sections::given;

/// An account that the configuration lists.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "AccountSection")]
pub struct ListedAccount {
    /// 12 digits.
    pub id: String,
    /// The name to show; may be empty.
    pub name: String,
    /// How it is reached.
    pub access: Access,
}

/// All accounts of an AWS organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// The role to assume in each of them, after its path if it has one.
    pub role_name: String,
    /// What each role's trust policy asks for, if it does.
    pub external_id: Option<String>,
    /// Ids of accounts that are left out.
    pub exclude: BTreeSet<String>,
}

/// How an account is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// The profile whose credentials are the base; `None`: those of the default chain.
    pub profile: Option<String>,
    /// The role that is assumed with them; `None`: they are used as they are.
    pub role: Option<Role>,
}

/// A role that is assumed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Role {
    /// Its ARN.
    pub arn: RoleArn,
    /// What its trust policy asks for, if it does.
    pub external_id: Option<String>,
}

/// The ARN of a role, such as `arn:aws:iam::123456789012:role/iam-key-exporter`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct RoleArn(String);

impl RoleArn {
    /// The role of this name, after its path if it has one, in an account.
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
        match is_role {
            true => Ok(RoleArn(text)),
            false => {
                Err("must be a role's ARN, such as arn:aws:iam::123456789012:role/iam-key-exporter")
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountSection {
    id: AccountId,
    #[serde(default, deserialize_with = "given")]
    name: Option<Name>,
    #[serde(default, deserialize_with = "given")]
    role_arn: Option<RoleArn>,
    #[serde(default, deserialize_with = "given")]
    external_id: Option<ExternalId>,
    #[serde(default, deserialize_with = "given")]
    profile: Option<Name>,
}

impl TryFrom<AccountSection> for ListedAccount {
    type Error = String;

    fn try_from(section: AccountSection) -> Result<ListedAccount, String> {
        let AccountSection { id: AccountId(id), name, role_arn, external_id, profile } = section;
        let external_id = external_id.map(|external_id| external_id.0);
        let role = match (role_arn, external_id) {
            (Some(arn), _) if arn.account() != id => {
                return Err(format!("role_arn is of account {}, not of {id}", arn.account()));
            }
            (Some(arn), external_id) => Some(Role { arn, external_id }),
            (None, Some(_)) => return Err("external_id is of no use without role_arn".to_owned()),
            (None, None) => None,
        };
        let profile = profile.map(|profile| profile.0);
        let name = name.map_or(String::new(), |name| name.0);
        Ok(ListedAccount { id, name, access: Access { profile, role } })
    }
}

/// Accounts, none of them twice.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Vec<ListedAccount>")]
pub struct Accounts(pub Vec<ListedAccount>);

impl TryFrom<Vec<ListedAccount>> for Accounts {
    type Error = String;

    fn try_from(accounts: Vec<ListedAccount>) -> Result<Accounts, String> {
        let mut seen = BTreeSet::new();
        match accounts.iter().find(|account| !seen.insert(&account.id)) {
            Some(account) => Err(format!("lists the account {} twice", account.id)),
            None => Ok(Accounts(accounts)),
        }
    }
}

/// The section `organization`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrganizationSection {
    role_name: RoleName,
    #[serde(default, deserialize_with = "given")]
    external_id: Option<ExternalId>,
    #[serde(default)]
    exclude: Vec<AccountId>,
}

impl From<OrganizationSection> for Organization {
    fn from(section: OrganizationSection) -> Organization {
        Organization {
            role_name: section.role_name.0,
            external_id: section.external_id.map(|external_id| external_id.0),
            exclude: section.exclude.into_iter().map(|id| id.0).collect(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct AccountId(String);

impl TryFrom<String> for AccountId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<AccountId, Self::Error> {
        match is_account_id(&text) {
            true => Ok(AccountId(text)),
            false => Err("must be an account id: 12 digits, in quotes"),
        }
    }
}

fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The name of an account or of a profile.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Name, Self::Error> {
        match (1..=128).contains(&text.chars().count()) && !text.contains(char::is_control) {
            true => Ok(Name(text)),
            false => Err("must have between 1 and 128 characters, and no control characters"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct RoleName(String);

impl TryFrom<String> for RoleName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<RoleName, Self::Error> {
        match is_role_name(&text) {
            // A path may well look like this, but nobody's does.
            true if text.starts_with("arn:") || text.starts_with("role/") => {
                Err("must be the role's name, without what stands before it in its ARN")
            }
            true => Ok(RoleName(text)),
            false => Err(
                "must be a role's name, after its path if it has one, such as iam-key-exporter or audit/iam-key-exporter",
            ),
        }
    }
}

/// A name of up to 64 characters, after a path or none: what IAM allows.
fn is_role_name(text: &str) -> bool {
    let (path, name) = text.rsplit_once('/').map_or(("", text), |(path, name)| (path, name));
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    (1..=64).contains(&name.len())
        && name.chars().all(is_word)
        && path.len() <= 510
        && !path.starts_with('/')
        && path.chars().all(|c| c.is_ascii_graphic())
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct ExternalId(String);

impl TryFrom<String> for ExternalId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<ExternalId, Self::Error> {
        let is_valid = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
        match (2..=1224).contains(&text.len()) && text.chars().all(is_valid) {
            true => Ok(ExternalId(text)),
            false => Err("must have between 2 and 1224 letters, digits and _+=,.@:/-"),
        }
    }
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
        // No secret, but nobody's business either.
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
