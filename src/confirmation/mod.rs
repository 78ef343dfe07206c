//! Answers of live calls about users' keys, which override the report.
//!
//! The report can be four hours behind, so a key that was rotated a minute ago would alert for hours.
//! An answer replaces the keys of one user for as long as this report is the newest one. Every refresh
//! asks again about every user whom the report or the last answer flags, and no two clocks are compared.

use std::collections::BTreeMap;
use std::mem;

use chrono::{DateTime, Utc};

use crate::report::keep::are_near;
use crate::report::{Key, Report, User};

/// A key as `ListAccessKeys` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// The access key id.
    pub id: String,
    /// Whether it can be used.
    pub active: bool,
    /// When it was created.
    pub created: DateTime<Utc>,
}

/// Answers of live calls about one account's users since its report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confirmations {
    by_user: BTreeMap<String, Answer>,
    /// The number of the last call about each user, successful or not.
    asked: BTreeMap<String, u64>,
    /// How many calls there were.
    calls: u64,
}

/// What is known of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    /// The keys by their slots. `None`: the user is gone.
    keys: Option<Vec<Option<Key>>>,
    /// Whether AWS has answered since this report. Otherwise it is what stays of an earlier answer.
    is_current: bool,
}

/// The largest number of keys of a user. A longer answer is a failure.
pub const MAX_KEYS: usize = 100;

impl Confirmations {
    /// The user's keys by their slots, by the newest information. `None` if the user is gone.
    pub fn keys<'a>(&'a self, user: &'a User) -> Option<&'a [Option<Key>]> {
        match self.by_user.get(&user.name) {
            None => Some(&user.keys),
            Some(answer) => answer.keys.as_deref(),
        }
    }

    /// Whether both have the same answers about the same users.
    pub fn has_same_answers(&self, other: &Confirmations) -> bool {
        self.by_user == other.by_user
    }

    /// Whether AWS has answered about this user since the report.
    pub fn knows(&self, user: &str) -> bool {
        self.by_user.get(user).is_some_and(|answer| answer.is_current)
    }

    /// The number of the last call about this user. `None`: there was none.
    pub fn asked(&self, user: &str) -> Option<u64> {
        self.asked.get(user).copied()
    }

    /// Records a call about this user.
    pub fn ask(&mut self, user: &str) {
        self.calls += 1;
        self.asked.insert(user.to_owned(), self.calls);
    }

    /// Records an answer.
    pub fn insert(&mut self, user: &str, keys: Option<Vec<Option<Key>>>) {
        self.by_user.insert(user.to_owned(), Answer { keys, is_current: true });
    }

    /// Forgets the answers about users who are others in the next report.
    pub fn forget_others(&mut self, before: &Report, after: &Report) {
        if self.by_user.is_empty() {
            return;
        }
        let earlier: BTreeMap<&str, &User> =
            before.users.iter().map(|user| (user.name.as_str(), user)).collect();
        for user in &after.users {
            if earlier.get(user.name.as_str()).is_some_and(|before| user.is_another_than(before)) {
                self.by_user.remove(&user.name);
            }
        }
    }

    /// A new report replaces all answers. Only ids stay, and data that the report lacks: keys, times, the
    /// additional keys of users who have more than it shows, and all of users whose rows are of an earlier
    /// report.
    ///
    /// `generated`: when the report before was made.
    pub fn start_over(&mut self, report: &Report, generated: Option<DateTime<Utc>>) {
        let mut before = mem::take(&mut self.by_user);
        let mut asked = mem::take(&mut self.asked);
        for user in &report.users {
            if let Some(call) = asked.remove(&user.name) {
                self.asked.insert(user.name.clone(), call);
            }
            let keys = match before.remove(&user.name).map(|answer| answer.keys) {
                Some(Some(known)) => {
                    let known: Vec<_> =
                        known.iter().map(|key| Some(key.as_ref()?.kept(generated))).collect();
                    Some(if user.is_kept { known } else { with_ids(user, &known) })
                }
                // A user of the report is there, or may be there again.
                Some(None) | None => continue,
            };
            self.by_user.insert(user.name.clone(), Answer { keys, is_current: false });
        }
    }
}

/// The reported keys, with the ids of known keys that were created at the same time. Of a slot that is not
/// clear, the worst known key that can be in it. If the report says that there are more keys, also the other
/// known ones.
fn with_ids(user: &User, known: &[Option<Key>]) -> Vec<Option<Key>> {
    let reported = &user.keys;
    let earlier = user.earlier_keys(known);
    let same = |a: &Key, b: &Key| are_near(a.last_rotated, b.last_rotated);
    let with_id = |slot: usize, key: &Key| {
        if user.lacks_time[slot]
            && let Some(known) = earlier.slots[slot]
        {
            let id = known.id.clone().filter(|_| earlier.are_all);
            let mut key = Key { id, ..key.clone() };
            key.take_time(known);
            return key;
        }
        let mut candidates = known.iter().flatten().filter(|other| same(key, other));
        let is_only = reported.iter().flatten().filter(|other| same(key, other)).count() == 1;
        let id = match (candidates.next(), candidates.next()) {
            (Some(one), None) if is_only => one.id.clone(),
            _ => None,
        };
        Key { id, ..key.clone() }
    };
    let slots = reported.iter().enumerate().map(|(slot, key)| {
        let key = key.as_ref().map(|key| with_id(slot, key));
        let worst = earlier.slots[slot].filter(|_| user.lacks_key[slot]);
        // The answer is newer than a key of the report before, but not than one of another row.
        let key = key.filter(|_| !user.lacks_key[slot] || user.has_two_rows);
        Key::worse(key, worst.cloned())
    });
    let others = earlier.others.iter().filter(|_| user.has_more_credentials());
    slots.chain(others.map(|key| Some((*key).clone()))).collect()
}

/// The listed keys in the slots of the report.
///
/// A key gets the slot, and the last use, of the reported key that was created at the same time,
/// within two seconds. The others take the free slots, active ones first, and then higher slots. If
/// the report's keys were created at about the same time, only their status tells them apart. If
/// that is the same, too, they have no ids. A key that was created after the report was `generated` is none
/// of its keys.
pub fn merge(
    reported: &[Option<Key>],
    listed: &[ListedKey],
    generated: Option<DateTime<Utc>>,
) -> Vec<Option<Key>> {
    let mut rest: Vec<&ListedKey> = listed.iter().collect();
    rest.sort_by_key(|key| (!key.active, key.created, &key.id));
    let mut slots: Vec<Option<Key>> = vec![None; reported.len()];
    let (mut are_twins, mut differ) = (false, false);
    if let [Some(a), Some(b)] = reported {
        let is_listed = |key: &Key| listed.iter().any(|it| Some(it.created) == key.last_rotated);
        // Times that are close to each other tell the keys apart only if all of them are exact.
        are_twins = a.last_rotated == b.last_rotated
            || are_near(a.last_rotated, b.last_rotated) && !(is_listed(a) && is_listed(b));
        differ = a.active != b.active;
    }
    // Keys with the same status come before those that were deactivated since the report, and exact
    // times before close ones.
    for (is_exact, same_status) in [(true, true), (true, false), (false, true), (false, false)] {
        for (slot, before) in slots.iter_mut().zip(reported) {
            let Some(before) = before else { continue };
            let fits = |key: &&ListedKey| {
                let created = Some(key.created);
                let is_time = created == before.last_rotated
                    || !is_exact && are_near(created, before.last_rotated);
                is_time && (!same_status || key.active == before.active)
            };
            if slot.is_none()
                && let Some(place) = rest.iter().position(fits)
            {
                let key = rest.remove(place);
                let is_sure = !are_twins || (differ && same_status);
                let id = id(key, listed).filter(|_| is_sure);
                let last_rotated = Some(key.created);
                *slot = Some(Key { active: key.active, id, last_rotated, ..before.clone() });
            }
        }
    }
    // A key without a time in the report is the remaining one, if there is only one.
    let is_timeless = |key: &Option<Key>| key.as_ref().is_some_and(|it| it.last_rotated.is_none());
    let timeless = reported.iter().position(is_timeless).filter(|_| rest.len() == 1);
    for key in rest {
        let before = timeless.and_then(|slot| reported[slot].as_ref()).filter(|before| {
            before.use_of.or(generated).is_none_or(|generated| key.created <= generated)
        });
        let free = timeless.or_else(|| slots.iter().position(Option::is_none));
        let slot = free.unwrap_or(slots.len());
        slots.resize(slots.len().max(slot + 1), None);
        slots[slot] = Some(Key {
            active: key.active,
            id: id(key, listed),
            last_rotated: Some(key.created),
            last_used: before.and_then(|before| before.last_used),
            // If the report does not have the key, its use is not known.
            never_used: before.is_some_and(|before| before.never_used),
            last_used_region: before.and_then(|before| before.last_used_region.clone()),
            last_used_service: before.and_then(|before| before.last_used_service.clone()),
            use_of: before.and_then(|before| before.use_of),
        });
    }
    slots
}

/// The key's id, unless another key is the same in everything else.
fn id(key: &ListedKey, listed: &[ListedKey]) -> Option<String> {
    let is_twin = |other: &ListedKey| {
        other.created == key.created && other.active == key.active && other.id != key.id
    };
    (!listed.iter().any(is_twin)).then(|| key.id.clone())
}

#[cfg(test)]
mod tests;
