//! Of two answers about a user the worse one, and what an earlier report has and a later one does not deny.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
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
    /// Keeps what the report before has and this one does not deny, also that a user has more keys. If rows
    /// could not be parsed, its users stay, because the rows may be theirs. Root always stays, because no
    /// account loses it. Of a slot that is not clear, the worst key that can be in it stays. An active key
    /// without a time has that of the oldest key that it can be, also of an inactive one, which may be
    /// active again. That a key was never used stays until a report says something of its use, but not of
    /// root, of whom that is good news. `generated`: when the report before was made.
    pub fn keep_missing(self: &mut Arc<Report>, before: &Report, generated: Option<DateTime<Utc>>) {
        let is_whole = self.missing == 0 && self.users.iter().any(User::is_root);
        let lacks_some = |user: &User| user.has_unclear_slot() || user.has_key_of_unknown_use();
        let had_more = before.users.iter().any(User::has_more_credentials);
        if is_whole && !had_more && !self.users.iter().any(lacks_some) {
            return;
        }
        let report = Arc::make_mut(self);
        let mut gone: HashMap<&str, &User> =
            before.users.iter().map(|user| (user.name.as_str(), user)).collect();
        for user in &mut report.users {
            let Some(before) = gone.remove(user.name.as_str()) else { continue };
            if user.is_another_than(before) {
                continue;
            }
            let had_more = before.has_more_credentials().then_some(true);
            user.additional_credentials = user.additional_credentials.or(had_more);
            let earlier = user.earlier_keys(&before.keys);
            for (slot, earlier) in earlier.slots.into_iter().enumerate() {
                let Some(earlier) = earlier else { continue };
                let key = &mut user.keys[slot];
                if user.lacks_key[slot] {
                    *key = Key::worse(key.take(), Some(earlier.kept(generated)));
                }
                if user.lacks_time[slot]
                    && let Some(key) = key
                    && key.last_rotated.is_none_or(|time| earlier.last_rotated < Some(time))
                {
                    key.take_time(earlier);
                }
            }
            if !user.is_root() && !user.has_two_rows {
                let keys = user.keys.iter_mut().flatten();
                keys.for_each(|key| key.keep_never_used(&before.keys, generated));
            }
        }
        let is_kept = |user: &&User| {
            gone.contains_key(user.name.as_str()) && (report.missing > 0 || user.is_root())
        };
        let kept: Vec<User> = before.users.iter().filter(is_kept).cloned().collect();
        report.users.extend(kept.into_iter().map(|user| {
            let keys = user.keys.each_ref().map(|key| Some(key.as_ref()?.kept(generated)));
            User { is_kept: true, keys, ..user }
        }));
    }

    /// The names of users who are surely those of the report before: they were created at the same times.
    pub fn same_users(&self, before: &Report) -> HashSet<&str> {
        let created: HashMap<&str, _> =
            before.users.iter().map(|user| (user.name.as_str(), user.created)).collect();
        let is_same = |user: &&User| created.get(user.name.as_str()) == Some(&user.created);
        self.users.iter().filter(is_same).map(|user| user.name.as_str()).collect()
    }

    /// Whether the root user is that of an earlier report.
    pub fn keeps_root(&self) -> bool {
        self.users.iter().any(|user| user.is_root() && user.is_kept)
    }

    /// Forgets what it has of root's keys from an earlier report.
    pub fn forget_kept_keys_of_root(self: &mut Arc<Report>) {
        let has_kept_keys = |user: &User| {
            user.is_kept || user.lacks_keys() && user.keys.iter().any(Option::is_some)
        };
        if !self.users.iter().any(|user| user.is_root() && has_kept_keys(user)) {
            return;
        }
        let users = &mut Arc::make_mut(self).users;
        users.retain(|user| !(user.is_root() && user.is_kept));
        for root in users.iter_mut().filter(|user| user.is_root()) {
            for (key, is_unknown) in root.keys.iter_mut().zip(root.lacks_key) {
                key.take_if(|_| is_unknown);
            }
        }
    }
}

/// What can be in the slots of a report that are not clear.
pub struct EarlierKeys<'a> {
    /// The worst key that can be in each of them, never the same one in both.
    pub slots: [Option<&'a Key>; 2],
    /// The other keys that the report does not show.
    pub others: Vec<&'a Key>,
    /// Whether each key that the report does not show is in `slots`.
    pub are_all: bool,
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

    /// Whether it is known that this is another user than that of the report before, with the same name.
    pub fn is_another_than(&self, before: &User) -> bool {
        self.created.zip(before.created).is_some_and(|(created, before)| created != before)
    }

    /// Which of the user's earlier keys can be in the slots of this report that are not clear. A key can have
    /// changed its slot, so these are all except those that are in a clear slot now.
    pub fn earlier_keys<'a>(&self, before: &'a [Option<Key>]) -> EarlierKeys<'a> {
        let places = before.iter().enumerate();
        let mut possible: Vec<(usize, &Key)> =
            places.filter_map(|(place, key)| Some((place, key.as_ref()?))).collect();
        possible.sort_by_key(|(_, key)| Reverse(key.badness()));
        let (clear, mut unclear): (Vec<usize>, Vec<usize>) =
            [0, 1].into_iter().partition(|slot| !self.is_unclear(*slot));
        for shown in clear.into_iter().filter_map(|slot| self.keys[slot].as_ref()) {
            // If two keys have its time, the worse one can be in another slot.
            let is_shown =
                |(_, key): &(usize, &Key)| are_near(key.last_rotated, shown.last_rotated);
            possible.iter().rposition(is_shown).map(|index| possible.remove(index));
        }
        let are_all = possible.len() <= unclear.len();
        // A slot that surely holds an active key can hold the oldest one, also if that was inactive.
        unclear.sort_by_key(|slot| self.lacks_key[*slot]);
        let mut slots = [None; 2];
        for slot in &unclear {
            let keys = possible.iter().enumerate();
            let worst = if self.lacks_key[*slot] {
                (!possible.is_empty()).then_some(0)
            } else {
                keys.min_by_key(|(_, (_, key))| key.last_rotated).map(|(index, _)| index)
            };
            slots[*slot] = worst.map(|index| possible.remove(index));
        }
        let is_at = |slot: Option<(usize, &Key)>, other| slot.is_some_and(|(at, _)| at == other);
        // Each stays in its slot where that makes no difference.
        let are_active = slots.iter().flatten().all(|(_, key)| key.active);
        let can_swap = are_active || self.lacks_key[0] == self.lacks_key[1];
        if unclear.len() == 2 && can_swap && (is_at(slots[0], 1) || is_at(slots[1], 0)) {
            slots.swap(0, 1);
        }
        possible.sort_by_key(|(place, _)| *place);
        EarlierKeys {
            slots: slots.map(|slot| slot.map(|(_, key)| key)),
            others: possible.into_iter().map(|(_, key)| key).collect(),
            are_all,
        }
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
        let both = [self.additional_credentials, other.additional_credentials];
        self.additional_credentials =
            if both.contains(&Some(true)) { Some(true) } else { both[0].and(both[1]) };
        self.has_use_without_key |= other.has_use_without_key;
        self.has_two_rows = true;
    }
}

impl Key {
    /// The key as a report that does not show it has it. `generated`: when the last one was made that did.
    pub fn kept(&self, generated: Option<DateTime<Utc>>) -> Key {
        Key { use_of: self.use_of.or(generated), ..self.clone() }
    }

    /// Takes the time of an earlier key that it may be. If that one was used, it is not known that this one was
    /// never used.
    pub fn take_time(&mut self, earlier: &Key) {
        self.last_rotated = earlier.last_rotated;
        self.never_used &= earlier.never_used;
    }

    /// Keeps that this key was never used by the report `before`, if nothing is said of its use now.
    fn keep_never_used(&mut self, before: &[Option<Key>], generated: Option<DateTime<Utc>>) {
        let is_same = |before: &&Key| are_near(before.last_rotated, self.last_rotated);
        let same: Vec<&Key> = before.iter().flatten().filter(is_same).collect();
        let was_never_used = !same.is_empty() && same.iter().all(|key| key.never_used);
        if self.use_if_known().is_none() && was_never_used {
            self.never_used = true;
            self.use_of = same.iter().map(|key| key.use_of.or(generated)).min().flatten();
        }
    }

    /// The worse of two keys, if there are two, with what is known of its time. Of its use it has only what
    /// both say.
    pub fn worse(one: Option<Key>, other: Option<Key>) -> Option<Key> {
        let (one, other) = match (one, other) {
            (Some(one), Some(other)) => (one, other),
            (one, other) => return one.or(other),
        };
        let (mut worse, better) =
            if other.badness() > one.badness() { (other, one) } else { (one, other) };
        // The time of an inactive key says nothing of an active one.
        let of_same = better.last_rotated.filter(|_| better.active == worse.active);
        worse.last_rotated = worse.last_rotated.or(of_same);
        if worse.use_if_known() != better.use_if_known() {
            worse.last_used = None;
            worse.never_used = false;
        }
        worse.last_used_region.take_if(|region| better.last_used_region.as_ref() != Some(region));
        worse
            .last_used_service
            .take_if(|service| better.last_used_service.as_ref() != Some(service));
        Some(worse)
    }

    /// Greater for an active key than for an inactive one, and then for an older one.
    fn badness(&self) -> impl Ord {
        (self.active, self.last_rotated.map(Reverse))
    }
}
