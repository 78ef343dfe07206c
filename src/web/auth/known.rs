//! Logins that need no further check.

use std::collections::{HashSet, VecDeque};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::credentials::Credentials;
use super::users::Hash;

/// The number of logins that are remembered, so that they need no check.
const MAX_KNOWN: usize = 1_000;

/// Successful logins, as hashes with a random key.
pub(super) struct Known {
    key: [u8; 32],
    pub(super) logins: HashSet<[u8; 32]>,
    oldest_first: VecDeque<[u8; 32]>,
}

impl Known {
    pub(super) fn new(key: [u8; 32]) -> Known {
        Known { key, logins: HashSet::new(), oldest_first: VecDeque::new() }
    }

    pub(super) fn contains(&self, credentials: &Credentials, hash: &Hash) -> bool {
        self.logins.contains(&self.digest(credentials, hash))
    }

    pub(super) fn insert(&mut self, credentials: &Credentials, hash: &Hash) {
        let digest = self.digest(credentials, hash);
        if self.logins.insert(digest) {
            self.oldest_first.push_back(digest);
        }
        if self.oldest_first.len() > MAX_KNOWN
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.logins.remove(&oldest);
        }
    }

    /// The length before each part keeps different logins apart.
    fn digest(&self, credentials: &Credentials, hash: &Hash) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length is one");
        for part in [credentials.name.as_bytes(), hash.0.as_bytes(), &credentials.password] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(password: &str, cost: u32) -> Hash {
        Hash::try_from(bcrypt::hash(password, cost).expect("a hash")).expect("a bcrypt hash")
    }

    fn credentials(name: &str, password: &str) -> Credentials {
        Credentials { name: name.to_owned(), password: password.as_bytes().to_vec() }
    }

    #[test]
    fn logins_of_the_same_letters_differ() {
        let known = Known::new([7; 32]);
        let hash = hash("x", 4);
        let digest = |name, password| known.digest(&credentials(name, password), &hash);
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
        assert_eq!(digest("ab", "c"), digest("ab", "c"));
        let other = Known::new([8; 32]);
        assert_ne!(digest("ab", "c"), other.digest(&credentials("ab", "c"), &hash));
    }

    #[test]
    fn the_number_of_known_logins_is_bounded() {
        let mut known = Known::new([7; 32]);
        let hash = hash("x", 4);
        for number in 0..=MAX_KNOWN {
            known.insert(&credentials("alice", &number.to_string()), &hash);
        }
        assert_eq!((known.logins.len(), known.oldest_first.len()), (MAX_KNOWN, MAX_KNOWN));
        assert!(!known.contains(&credentials("alice", "0"), &hash));
        assert!(known.contains(&credentials("alice", "1"), &hash));
    }
}
