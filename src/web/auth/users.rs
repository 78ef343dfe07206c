//! Users and the hashes of their passwords, as in the web configuration file.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A password's bcrypt hash.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Hash(pub(super) String);

/// Checking a password with a cost of 10 takes about 50 ms, and each further 1 doubles that.
const SLOW_COST: u32 = 15;
const MAX_COST: u32 = 18;

impl TryFrom<String> for Hash {
    type Error = String;

    fn try_from(text: String) -> Result<Hash, String> {
        if text.parse::<bcrypt::HashParts>().is_err() {
            return Err("is not a bcrypt hash ($2a$, $2b$, $2y$)".to_owned());
        }
        let hash = Hash(text);
        match hash.cost() {
            4..=MAX_COST => Ok(hash),
            cost @ 19..=31 => Err(format!(
                "has a cost of {cost}, with which each check takes half a minute or more: use 10 to 14"
            )),
            cost => Err(format!("has a cost of {cost}, and bcrypt has 4 to 31")),
        }
    }
}

impl Hash {
    pub(super) fn cost(&self) -> u32 {
        self.0[4..6].parse().expect("a number, as was checked")
    }
}

/// Without the hash, which could be attacked elsewhere.
impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hash")
    }
}

/// The users and their passwords.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Users(pub(super) BTreeMap<String, Hash>);

impl Users {
    /// Users by their names.
    pub fn new(users: BTreeMap<String, Hash>) -> Users {
        Users(users)
    }

    /// Whether there are no users, so no password is needed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A warning for each user who cannot log in, or only slowly.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(|(name, hash)| {
            let problem = if name.contains(':') {
                "can never log in, since a name ends at its first colon".to_owned()
            } else if name.is_empty() {
                "is a user without a name".to_owned()
            } else if hash.cost() >= SLOW_COST {
                format!("has a cost of {}: each check of the password takes seconds", hash.cost())
            } else if hash.0.starts_with("$2x$") {
                "was made by a program with a known fault: make a new one".to_owned()
            } else {
                return None;
            };
            Some(format!("basic_auth_users.{name}: {problem}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bcrypt_hashes_of_a_bearable_cost_are_hashes() {
        // The last bits of salt and hash are 0.
        let rest = format!("{}e{}", "a".repeat(21), "a".repeat(31));
        for (text, is_hash) in [
            (format!("$2a$10${rest}"), true),
            (format!("$2b$04${rest}"), true),
            (format!("$2y$18${rest}"), true),
            (format!("$2x$10${rest}"), true),
            (format!("$2y$03${rest}"), false),
            (format!("$2y$19${rest}"), false),
            (format!("$2y$32${rest}"), false),
            (format!("$2y$1x${rest}"), false),
            (format!("$2$10${rest}"), false),
            (format!("$2z$10${rest}"), false),
            (format!("$2y$10${rest}a"), false),
            (format!("$2y$10${}", &rest[..52]), false),
            (format!("$2y$10${}=", &rest[..52]), false),
            (format!("$2y$10${}é", &rest[..51]), false),
            ("password".to_owned(), false),
            (String::new(), false),
        ] {
            let read = Hash::try_from(text.clone());
            assert_eq!(read.is_ok(), is_hash, "{text}");
            let told = format!("{read:?}");
            assert!(!told.contains(&rest[..50]), "{told}");
        }
    }
}
