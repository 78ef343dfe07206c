//! Of two answers about a user the worse one, and what an earlier report has and a later one does not deny.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Key, Report, User};

/// How much the times of one key may differ between the report and `ListAccessKeys`.
const TOLERANCE: TimeDelta = TimeDelta::seconds(2);

/// Whether these can be the times of one key.
pub fn are_near(a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>) -> bool {
    a.zip(b).is_some_and(|(a, b)| (a - b).abs() <= TOLERANCE)
}

impl Report {
    /// Keeps what the report before has and this one does not deny. If rows could not be parsed, its
    /// users stay, because the rows may be theirs. Root always stays, because no account loses it. Of a
    /// slot that is not clear, the worst key that can be in it stays. An active key without a time has
    /// that of the oldest key that it can be, also of an inactive one, which may be active again. That a
    /// key was never used stays until a report says something of its use, but not of root, of whom that
    /// is good news.
    pub fn keep_missing(self: &mut Arc<Report>, before: &Report) {
        let is_whole = self.missing == 0 && self.users.iter().any(User::is_root);
        let lacks_some = |user: &User| user.has_unclear_slot() || user.has_key_of_unknown_use();
        if is_whole && !self.users.iter().any(lacks_some) {
            return;
        }
        let report = Arc::make_mut(self);
        let mut gone: HashMap<&str, &User> =
            before.users.iter().map(|user| (user.name.as_str(), user)).collect();
        for user in &mut report.users {
            let Some(before) = gone.remove(user.name.as_str()) else { continue };
            for slot in [0, 1] {
                if user.lacks_key[slot] {
                    let key = user.keys[slot].take();
                    user.keys[slot] = user.or_worse(slot, key, &before.keys);
                }
                let possible = user.possible_keys(slot, &before.keys);
                if user.lacks_time[slot]
                    && let Some(key) = &mut user.keys[slot]
                    && let Some(oldest) = possible.iter().min_by_key(|key| key.last_rotated)
                    && key.last_rotated.is_none_or(|time| oldest.last_rotated < Some(time))
                {
                    key.last_rotated = oldest.last_rotated;
                }
            }
            if !user.is_root() {
                user.keys.iter_mut().flatten().for_each(|key| key.keep_never_used(&before.keys));
            }
        }
        let is_kept = |user: &&User| {
            gone.contains_key(user.name.as_str()) && (report.missing > 0 || user.is_root())
        };
        let kept: Vec<User> = before.users.iter().filter(is_kept).cloned().collect();
        report.users.extend(kept.into_iter().map(|user| User { is_kept: true, ..user }));
    }

    /// Whether the root user is that of an earlier report.
    pub fn keeps_root(&self) -> bool {
        self.users.iter().any(|user| user.is_root() && user.is_kept)
    }

    /// Forgets the root user of an earlier report.
    pub fn forget_kept_root(self: &mut Arc<Report>) {
        if self.keeps_root() {
            Arc::make_mut(self).users.retain(|user| !user.is_root());
        }
    }
}

impl User {
    /// Whether the report does not say of some slot whether it holds a key.
    pub fn lacks_keys(&self) -> bool {
        self.lacks_key.contains(&true)
    }

    /// Whether the report lacks a key, or the time of one.
    pub fn has_unclear_slot(&self) -> bool {
        [0, 1].into_iter().any(|slot| self.is_unclear(slot))
    }

    fn has_key_of_unknown_use(&self) -> bool {
        self.keys.iter().flatten().any(|key| key.use_if_known().is_none())
    }

    fn is_unclear(&self, slot: usize) -> bool {
        self.lacks_key[slot] || self.lacks_time[slot]
    }

    /// Which of the user's earlier keys can be the one in this slot, if the slot is not clear. A key can have
    /// changed its slot, so these are all except the one that is in the other slot now. If the other slot is
    /// not clear either, each holds its earlier key: then none of the keys is lost.
    pub fn possible_keys<'a>(&self, slot: usize, before: &'a [Option<Key>]) -> Vec<&'a Key> {
        if self.is_unclear(1 - slot) {
            return before.get(slot).into_iter().flatten().collect();
        }
        let mut possible: Vec<&Key> = before.iter().flatten().collect();
        if let Some(other) = &self.keys[1 - slot] {
            // If two keys have that time, the worse one can be in this slot.
            possible.sort_by_key(|key| Reverse(key.badness()));
            let is_other = |key: &&Key| are_near(key.last_rotated, other.last_rotated);
            possible.iter().rposition(is_other).map(|place| possible.remove(place));
        }
        possible
    }

    /// Of this key and the user's earlier keys that can be in this slot the worst one.
    pub fn or_worse(&self, slot: usize, key: Option<Key>, before: &[Option<Key>]) -> Option<Key> {
        let possible = self.possible_keys(slot, before);
        let worst = possible.into_iter().max_by_key(|key| key.badness());
        Key::worse(key, worst.cloned())
    }

    /// Combines two rows of this user, of which nobody knows which is right: the worse key of each slot,
    /// and of the rest only what both say.
    pub(super) fn combine(&mut self, other: User) {
        fn same<T: PartialEq>(one: &mut Option<T>, other: &Option<T>) {
            if one != other {
                *one = None;
            }
        }
        for (key, other) in self.keys.iter_mut().zip(other.keys) {
            *key = Key::worse(key.take(), other);
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
        for slot in [0, 1] {
            self.lacks_key[slot] |= other.lacks_key[slot];
            self.lacks_time[slot] |= other.lacks_time[slot];
        }
        self.additional_credentials |= other.additional_credentials;
    }
}

impl Key {
    /// Keeps that this key was never used, if nothing is said of its use now.
    fn keep_never_used(&mut self, before: &[Option<Key>]) {
        let is_same = |before: &&Key| are_near(before.last_rotated, self.last_rotated);
        let mut same = before.iter().flatten().filter(is_same).peekable();
        self.never_used |= self.use_if_known().is_none()
            && same.peek().is_some()
            && same.all(|key| key.never_used);
    }

    /// The worse of two keys, if there are two, with what is known of its time and use.
    fn worse(one: Option<Key>, other: Option<Key>) -> Option<Key> {
        let (one, other) = match (one, other) {
            (Some(one), Some(other)) => (one, other),
            (one, other) => return one.or(other),
        };
        let last_used = one.last_used.max(other.last_used);
        let never_used = one.never_used && other.never_used;
        let (worse, better) =
            if other.badness() > one.badness() { (other, one) } else { (one, other) };
        // The time of an inactive key says nothing of an active one.
        let of_same = better.last_rotated.filter(|_| better.active == worse.active);
        let last_rotated = worse.last_rotated.or(of_same);
        Some(Key { last_rotated, last_used, never_used, ..worse })
    }

    /// Greater for an active key than for an inactive one, and then for an older one.
    fn badness(&self) -> impl Ord {
        (self.active, self.last_rotated.map(Reverse))
    }
}
