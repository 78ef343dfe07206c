//! What a live call said of a user's keys, over what the report says of them.
//!
//! The report can be four hours behind, so a key that was rotated a minute ago would alert for hours.
//! A confirmation replaces the keys of one user until a report comes that was generated after it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::report::{Key, User};

/// The keys of one user, by their slots.
pub type Keys = [Option<Key>; 2];

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

/// What a live call said of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// When it was asked.
    pub at: DateTime<Utc>,
    /// The user's keys; `None`: there is no such user any more.
    pub keys: Option<Keys>,
}

/// The confirmations of one account, by user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confirmations {
    by_user: BTreeMap<String, Confirmation>,
    /// When each user was last asked about, whatever came of it.
    asked: BTreeMap<String, DateTime<Utc>>,
}

impl Confirmations {
    /// The user's keys as they are known best; `None` where the user is gone.
    pub fn keys<'a>(&'a self, user: &'a User) -> Option<&'a Keys> {
        match self.by_user.get(&user.name) {
            None => Some(&user.keys),
            Some(confirmation) => confirmation.keys.as_ref(),
        }
    }

    /// When this user was last asked about, since the report.
    pub fn asked(&self, user: &str) -> Option<DateTime<Utc>> {
        self.asked.get(user).copied()
    }

    /// Takes down that this user is asked about.
    pub fn ask(&mut self, user: &str, at: DateTime<Utc>) {
        self.asked.insert(user.to_owned(), at);
    }

    /// Takes over what a call said.
    pub fn insert(&mut self, user: &str, confirmation: Confirmation) {
        self.by_user.insert(user.to_owned(), confirmation);
    }

    /// Forgets what a report that was generated at this time knows as well.
    pub fn retain_after(&mut self, generated: DateTime<Utc>) {
        self.by_user.retain(|_, confirmation| confirmation.at > generated);
        self.asked.retain(|_, at| *at > generated);
    }
}

/// The listed keys in the slots of the report.
///
/// A key keeps the slot, and with it the last use, whose creation time it has. The others take the
/// slots that are left, active ones first. Where both keys of a user were created in the same second
/// nothing tells which is which but whether they are active; where that does not either, they go
/// without their ids.
pub fn merge(reported: &Keys, listed: &[ListedKey]) -> Keys {
    let mut rest: Vec<&ListedKey> = listed.iter().collect();
    rest.sort_by_key(|key| (!key.active, key.created, &key.id));
    let mut slots: Keys = [None, None];
    let (are_twins, differ) = match reported {
        [Some(a), Some(b)] => (a.last_rotated == b.last_rotated, a.active != b.active),
        _ => (false, false),
    };
    // Keys that agree in everything come before those that were deactivated since the report.
    for same_status in [true, false] {
        for (slot, before) in slots.iter_mut().zip(reported) {
            let Some(before) = before else { continue };
            let fits = |key: &&ListedKey| {
                Some(key.created) == before.last_rotated
                    && (!same_status || key.active == before.active)
            };
            if slot.is_none()
                && let Some(place) = rest.iter().position(fits)
            {
                let key = rest.remove(place);
                let is_sure = !are_twins || (differ && same_status);
                let id = id(key, listed).filter(|_| is_sure);
                *slot = Some(Key { active: key.active, id, ..before.clone() });
            }
        }
    }
    let free = slots.iter_mut().filter(|slot| slot.is_none());
    for (slot, key) in free.zip(rest) {
        *slot = Some(Key {
            active: key.active,
            id: id(key, listed),
            last_rotated: Some(key.created),
            last_used: None,
            last_used_region: None,
            last_used_service: None,
        });
    }
    slots
}

/// The key's id, unless another key is like it in everything else.
fn id(key: &ListedKey, listed: &[ListedKey]) -> Option<String> {
    let is_twin = |other: &ListedKey| {
        other.created == key.created && other.active == key.active && other.id != key.id
    };
    (!listed.iter().any(is_twin)).then(|| key.id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    fn at(day: u32) -> DateTime<Utc> {
        format!("2026-01-{day:02}T00:00:00Z").parse().expect("a time")
    }

    /// A reported key that was created and used on these days.
    fn reported(active: bool, created: u32, used: u32) -> Option<Key> {
        Some(Key {
            active,
            id: None,
            last_rotated: Some(at(created)),
            last_used: Some(at(used)),
            last_used_region: None,
            last_used_service: None,
        })
    }

    fn listed(id: &str, active: bool, created: u32) -> ListedKey {
        ListedKey { id: id.to_owned(), active, created: at(created) }
    }

    /// (id, active, created, used) of each slot.
    type Slot = Option<(&'static str, bool, u32, Option<u32>)>;

    fn assert_merged(reported: Keys, keys: &[ListedKey], expected: [Slot; 2]) {
        let expected = expected.map(|slot| {
            slot.map(|(id, active, created, used)| Key {
                active,
                id: (!id.is_empty()).then(|| id.to_owned()),
                last_rotated: Some(at(created)),
                last_used: used.map(at),
                last_used_region: None,
                last_used_service: None,
            })
        });
        assert_eq!(merge(&reported, keys), expected);
        let reversed: Vec<ListedKey> = keys.iter().rev().cloned().collect();
        assert_eq!(merge(&reported, &reversed), expected, "the order of the answer decided");
    }

    #[test]
    fn keys_keep_slot_and_last_use_and_get_their_ids() {
        assert_merged(
            [reported(true, 1, 3), reported(true, 2, 4)],
            &[listed("A", true, 2), listed("B", true, 1)],
            [Some(("B", true, 1, Some(3))), Some(("A", true, 2, Some(4)))],
        );
    }

    #[test]
    fn a_deactivated_key_is_inactive() {
        assert_merged(
            [reported(true, 1, 3), None],
            &[listed("A", false, 1)],
            [Some(("A", false, 1, Some(3))), None],
        );
    }

    #[test]
    fn a_deleted_key_is_gone_and_a_new_one_takes_its_place_without_its_last_use() {
        assert_merged([reported(true, 1, 3), None], &[], [None, None]);
        assert_merged(
            [reported(true, 1, 3), None],
            &[listed("B", true, 9)],
            [Some(("B", true, 9, None)), None],
        );
    }

    #[test]
    fn a_second_key_goes_beside_the_first() {
        assert_merged(
            [None, reported(true, 1, 3)],
            &[listed("A", true, 1), listed("B", true, 9)],
            [Some(("B", true, 9, None)), Some(("A", true, 1, Some(3)))],
        );
    }

    #[test]
    fn keys_of_one_second_are_told_by_their_status_or_go_without_ids() {
        assert_merged(
            [reported(false, 1, 3), reported(true, 1, 4)],
            &[listed("A", true, 1), listed("B", false, 1)],
            [Some(("B", false, 1, Some(3))), Some(("A", true, 1, Some(4)))],
        );
        assert_merged(
            [reported(true, 1, 3), reported(true, 1, 4)],
            &[listed("A", true, 1), listed("B", true, 1)],
            [Some(("", true, 1, Some(3))), Some(("", true, 1, Some(4)))],
        );
        // Either of them can be the one that is left.
        assert_merged(
            [reported(true, 1, 3), reported(true, 1, 4)],
            &[listed("A", true, 1)],
            [Some(("", true, 1, Some(3))), None],
        );
    }

    #[test]
    fn of_more_keys_than_slots_active_ones_that_are_oldest_are_shown() {
        assert_merged(
            [None, None],
            &[listed("A", false, 1), listed("B", true, 3), listed("C", true, 2)],
            [Some(("C", true, 2, None)), Some(("B", true, 3, None))],
        );
    }

    #[test]
    fn a_confirmation_holds_until_a_report_that_is_younger() {
        let mut confirmations = Confirmations::default();
        let report = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
                      alpha,arn:aws:iam::123456789012:user/alpha,true,2020-01-01T00:00:00Z,false,N/A\n";
        let report = Report::parse(report.as_bytes()).expect("a report");
        let alpha = &report.users[0];
        confirmations.ask("alpha", at(5));
        confirmations.insert("alpha", Confirmation { at: at(5), keys: None });
        confirmations.retain_after(at(4));
        assert_eq!((confirmations.keys(alpha), confirmations.asked("alpha")), (None, Some(at(5))));
        confirmations.retain_after(at(5));
        assert_eq!(confirmations.keys(alpha), Some(&alpha.keys));
        assert_eq!(confirmations.asked("alpha"), None);
    }
}
