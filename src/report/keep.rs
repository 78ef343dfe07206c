//! Of two answers about a user the worse one, and what an earlier report has and a later one does not deny.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use super::{Key, Report, User};

impl Report {
    /// Keeps what the report before has and this one does not deny. If rows could not be parsed, its
    /// users stay, because the rows may be theirs. Root always stays, because no account loses it. A
    /// key stays if nothing is said of its slot. The time of an active key stays if there is no other,
    /// because a new key in the slot would have brought one.
    pub fn keep_missing(self: &mut Arc<Report>, before: &Report) {
        let lacks_some = |user: &User| user.lacks_keys || user.lacks_time.contains(&true);
        let is_whole = self.missing == 0 && self.users.iter().any(User::is_root);
        if is_whole && !self.users.iter().any(lacks_some) {
            return;
        }
        let report = Arc::make_mut(self);
        let mut gone: HashMap<&str, &User> =
            before.users.iter().map(|user| (user.name.as_str(), user)).collect();
        for user in &mut report.users {
            let Some(before) = gone.remove(user.name.as_str()) else { continue };
            for (key, before) in user.keys.iter_mut().zip(&before.keys) {
                match key {
                    Some(key) if key.active && key.last_rotated.is_none() => {
                        let before = before.as_ref().filter(|before| before.active);
                        key.last_rotated = before.and_then(|before| before.last_rotated);
                    }
                    None if user.lacks_keys => key.clone_from(before),
                    _ => {}
                }
            }
        }
        let is_kept = |user: &&User| {
            gone.contains_key(user.name.as_str()) && (report.missing > 0 || user.is_root())
        };
        let kept: Vec<User> = before.users.iter().filter(is_kept).cloned().collect();
        report.keeps_root = kept.iter().any(User::is_root);
        report.users.extend(kept);
    }

    /// Forgets the root user of an earlier report.
    pub fn forget_kept_root(self: &mut Arc<Report>) {
        if self.keeps_root {
            let report = Arc::make_mut(self);
            report.keeps_root = false;
            report.users.retain(|user| !user.is_root());
        }
    }
}

impl User {
    /// Combines two rows of this user, of which nobody knows which is right: the worse key of each slot,
    /// and of the rest only what both say.
    pub(super) fn combine(&mut self, other: User) {
        fn same<T: PartialEq>(one: &mut Option<T>, other: &Option<T>) {
            if one != other {
                *one = None;
            }
        }
        for (key, other) in self.keys.iter_mut().zip(other.keys) {
            *key = match (key.take(), other) {
                (Some(one), Some(other)) => Some(one.or_worse(other)),
                (one, other) => one.or(other),
            };
        }
        for (certificate, other) in self.certificates.iter_mut().zip(&other.certificates) {
            same(certificate, other);
        }
        same(&mut self.created, &other.created);
        same(&mut self.password_enabled, &other.password_enabled);
        same(&mut self.password_last_used, &other.password_last_used);
        same(&mut self.password_last_changed, &other.password_last_changed);
        same(&mut self.password_next_rotation, &other.password_next_rotation);
        same(&mut self.mfa_active, &other.mfa_active);
        self.password_never_used &= other.password_never_used;
        self.lacks_keys |= other.lacks_keys;
        for (lacks_time, other) in self.lacks_time.iter_mut().zip(other.lacks_time) {
            *lacks_time |= other;
        }
        self.additional_credentials |= other.additional_credentials;
    }
}

impl Key {
    /// The worse of two, an active one before an older one, with what is known of its time and use.
    fn or_worse(self, other: Key) -> Key {
        let last_used = self.last_used.max(other.last_used);
        let never_used = self.never_used && other.never_used;
        let badness = |key: &Key| (key.active, key.last_rotated.map(Reverse));
        let (worse, better) =
            if badness(&other) > badness(&self) { (other, self) } else { (self, other) };
        // The time of an inactive key says nothing of an active one.
        let of_same = better.last_rotated.filter(|_| better.active == worse.active);
        let last_rotated = worse.last_rotated.or(of_same);
        Key { last_rotated, last_used, never_used, ..worse }
    }
}
