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
    /// The keys of each user by their slots. `None`: the user is gone.
    by_user: BTreeMap<String, Option<Vec<Option<Key>>>>,
    /// The number of the last call about each user, successful or not.
    asked: BTreeMap<String, u64>,
    /// How many calls there were.
    calls: u64,
}

/// The largest number of keys of a user. A longer answer is a failure.
pub const MAX_KEYS: usize = 100;

impl Confirmations {
    /// The user's keys by their slots, by the newest information. `None` if the user is gone.
    pub fn keys<'a>(&'a self, user: &'a User) -> Option<&'a [Option<Key>]> {
        match self.by_user.get(&user.name) {
            None => Some(&user.keys),
            Some(keys) => keys.as_deref(),
        }
    }

    /// Whether both have the same answers about the same users.
    pub fn has_same_answers(&self, other: &Confirmations) -> bool {
        self.by_user == other.by_user
    }

    /// Whether there is an answer about this user.
    pub fn knows(&self, user: &str) -> bool {
        self.by_user.contains_key(user)
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
        self.by_user.insert(user.to_owned(), keys);
    }

    /// A new report replaces all answers. Only ids stay, and data that the report lacks: keys, times, and
    /// the additional keys of users who have more than it shows.
    pub fn start_over(&mut self, report: &Report) {
        let mut before = mem::take(&mut self.by_user);
        let mut asked = mem::take(&mut self.asked);
        for user in &report.users {
            if let Some(call) = asked.remove(&user.name) {
                self.asked.insert(user.name.clone(), call);
            }
            if let Some(known) = before.remove(&user.name).flatten() {
                let mut keys = with_ids(user, &known);
                if user.additional_credentials {
                    keys.extend(known.into_iter().skip(user.keys.len()));
                }
                self.by_user.insert(user.name.clone(), Some(keys));
            }
        }
    }
}

/// The reported keys, with the ids of known keys that were created at the same time. If the report
/// has no time for a key, the oldest known key that can be in its slot gives it. If it says nothing of a
/// slot, the worst one that can be in it stays.
fn with_ids(user: &User, known: &[Option<Key>]) -> Vec<Option<Key>> {
    let reported = &user.keys;
    let same = |a: &Key, b: &Key| are_near(a.last_rotated, b.last_rotated);
    let with_id = |slot: usize, key: &Key| {
        if user.lacks_time[slot] {
            let possible = user.possible_keys(slot, known);
            let oldest = possible.iter().filter_map(|known| known.last_rotated).min();
            let id = if let [known] = possible[..] { known.id.clone() } else { None };
            return Key { id, last_rotated: oldest.or(key.last_rotated), ..key.clone() };
        }
        let mut candidates = known.iter().flatten().filter(|other| same(key, other));
        let is_only = reported.iter().flatten().filter(|other| same(key, other)).count() == 1;
        let id = match (candidates.next(), candidates.next()) {
            (Some(one), None) if is_only => one.id.clone(),
            _ => None,
        };
        Key { id, ..key.clone() }
    };
    let shown = &known[..known.len().min(reported.len())];
    let slots = reported.iter().enumerate().map(|(slot, key)| {
        let key = key.as_ref().map(|key| with_id(slot, key));
        if user.lacks_key[slot] { user.or_worse(slot, key, shown) } else { key }
    });
    slots.collect()
}

/// The listed keys in the slots of the report.
///
/// A key gets the slot, and the last use, of the reported key that was created at the same time,
/// within two seconds. The others take the free slots, active ones first, and then higher slots. If
/// the report's keys were created at about the same time, only their status tells them apart. If
/// that is the same, too, they have no ids.
pub fn merge(reported: &[Option<Key>], listed: &[ListedKey]) -> Vec<Option<Key>> {
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
        let before = timeless.and_then(|slot| reported[slot].as_ref());
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
mod tests {
    use std::sync::Arc;

    use chrono::TimeDelta;

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
            never_used: false,
            last_used_region: None,
            last_used_service: None,
        })
    }

    fn listed(id: &str, active: bool, created: u32) -> ListedKey {
        ListedKey { id: id.to_owned(), active, created: at(created) }
    }

    /// (id, active, created, used) of each slot.
    type Slot = Option<(&'static str, bool, u32, Option<u32>)>;

    fn assert_merged<const N: usize>(
        reported: [Option<Key>; 2],
        keys: &[ListedKey],
        expected: [Slot; N],
    ) {
        let expected = expected.map(|slot| {
            slot.map(|(id, active, created, used)| Key {
                active,
                id: (!id.is_empty()).then(|| id.to_owned()),
                last_rotated: Some(at(created)),
                last_used: used.map(at),
                never_used: false,
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
    fn a_third_key_takes_a_third_slot() {
        assert_merged(
            [None, None],
            &[listed("A", false, 1), listed("B", true, 3), listed("C", true, 2)],
            [Some(("C", true, 2, None)), Some(("B", true, 3, None)), Some(("A", false, 1, None))],
        );
    }

    fn seconds_later(key: Option<Key>, seconds: i64) -> Option<Key> {
        let later = |time| time + TimeDelta::seconds(seconds);
        key.map(|key| Key { last_rotated: key.last_rotated.map(later), ..key })
    }

    #[test]
    fn times_that_differ_by_two_seconds_are_those_of_one_key() {
        for (seconds, last_used) in [(2, Some(3)), (-2, Some(3)), (3, None)] {
            assert_merged(
                [seconds_later(reported(true, 1, 3), seconds), None],
                &[listed("A", true, 1)],
                [Some(("A", true, 1, last_used)), None],
            );
        }
    }

    #[test]
    fn keys_of_two_seconds_are_told_by_them_only_if_both_are_exact() {
        let second =
            |key: ListedKey| ListedKey { created: key.created + TimeDelta::seconds(1), ..key };
        let keys = [reported(true, 1, 3), seconds_later(reported(true, 1, 4), 1)];
        let ids = |keys: Vec<Option<Key>>| {
            keys.into_iter().map(|key| key.and_then(|key| key.id)).collect::<Vec<_>>()
        };
        let listed = [second(listed("B", true, 1)), listed("A", true, 1)];
        let [a, b] = ["A", "B"].map(|id| Some(id.to_owned()));
        assert_eq!(ids(merge(&keys, &listed)), [a, b]);
        let listed = listed.map(second);
        assert_eq!(ids(merge(&keys, &listed)), [None, None]);
    }

    #[test]
    fn a_key_without_a_time_in_the_report_keeps_its_last_use() {
        let timeless = reported(true, 1, 3).map(|key| Key { last_rotated: None, ..key });
        assert_merged(
            [timeless, None],
            &[listed("A", true, 1)],
            [Some(("A", true, 1, Some(3))), None],
        );
    }

    #[test]
    fn keys_that_the_report_does_not_show_stay_while_it_says_that_there_are_more() {
        let report = |more: &str| {
            let csv = format!(
                "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated,additional_credentials_info\n\
                 alpha,arn:aws:iam::123456789012:user/alpha,true,2026-01-01T00:00:00Z,true,2026-01-02T00:00:00Z,{more}\n"
            );
            Report::parse(csv.as_bytes()).expect("a report")
        };
        let (before, after) = (report("1 more access key"), report("N/A"));
        let listed = [listed("A", true, 1), listed("B", true, 2), listed("C", true, 3)];
        let mut confirmations = Confirmations::default();
        confirmations.insert("alpha", Some(merge(&before.users[0].keys, &listed)));
        confirmations.start_over(&before);
        assert_eq!(confirmations.keys(&before.users[0]).map(<[_]>::len), Some(3));
        confirmations.start_over(&after);
        assert_eq!(confirmations.keys(&after.users[0]).map(<[_]>::len), Some(2));
    }

    #[test]
    fn a_key_without_a_time_is_the_oldest_of_the_known_keys_that_can_be_in_its_slot() {
        let report = |one: &str, two: &str| {
            let csv = format!(
                "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
                 alpha,arn:aws:iam::123456789012:user/alpha,{one},{two}\n"
            );
            Report::parse(csv.as_bytes()).expect("a report")
        };
        let [old, new, none, timeless] =
            ["true,2026-01-01T00:00:00Z", "true,2026-01-09T00:00:00Z", "false,N/A", "true,N/A"];
        let before = report(old, new);
        let answer =
            merge(&before.users[0].keys, &[listed("OLD", true, 1), listed("NEW", true, 9)]);
        let known = |one: &str, two: &str| {
            let report = report(one, two);
            let mut confirmations = Confirmations::default();
            confirmations.insert("alpha", Some(answer.clone()));
            confirmations.start_over(&report);
            let keys = confirmations.keys(&report.users[0]).expect("a user");
            let id_and_time = |key: &Key| (key.id.clone(), key.last_rotated);
            keys.iter().map(|key| key.as_ref().map(id_and_time)).collect::<Vec<_>>()
        };
        let (id_old, id_new) = (Some("OLD".to_owned()), Some("NEW".to_owned()));
        let (is_old, is_new) = (Some((id_old, Some(at(1)))), Some((id_new, Some(at(9)))));
        assert_eq!(known(timeless, new), [is_old.clone(), is_new.clone()]);
        assert_eq!(known(new, timeless), [is_new.clone(), is_old.clone()]);
        assert_eq!(known(timeless, old), [is_new.clone(), is_old.clone()]);
        assert_eq!(known(none, timeless), [None, Some((None, Some(at(1))))], "either of them");
        assert_eq!(known(timeless, timeless), [is_old, is_new]);
    }

    #[test]
    fn a_key_in_a_slot_of_which_the_next_report_says_nothing_stays() {
        let report = |one: &str, two: &str| {
            let csv = format!(
                "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
                 alpha,arn:aws:iam::123456789012:user/alpha,{one},{two}\n"
            );
            Report::parse(csv.as_bytes()).expect("a report")
        };
        let [old, new, none, silent] =
            ["true,2026-01-01T00:00:00Z", "true,2026-01-09T00:00:00Z", "false,N/A", "N/A,N/A"];
        let known = |before: [&str; 2], after: [&str; 2]| {
            let [before, after] = [before, after].map(|[one, two]| report(one, two));
            let answer = [listed("OLD", true, 1), listed("NEW", false, 9)];
            let mut confirmations = Confirmations::default();
            confirmations.insert("alpha", Some(merge(&before.users[0].keys, &answer)));
            confirmations.start_over(&after);
            let keys = confirmations.keys(&after.users[0]).expect("a user");
            let id = |key: &Key| (key.id.clone().expect("an id"), key.active);
            keys.iter().map(|key| key.as_ref().map(id)).collect::<Vec<_>>()
        };
        let (is_old, is_new) = (Some(("OLD".to_owned(), true)), Some(("NEW".to_owned(), false)));
        let both = [is_old.clone(), is_new.clone()];
        assert_eq!(known([silent, silent], [silent, silent]), both, "as the answer before");
        assert_eq!(known([old, silent], [silent, silent]), both);
        assert_eq!(known([old, none], [silent, none]), [is_old.clone(), None]);
        assert_eq!(known([old, none], [none, silent]), [None, is_old.clone()]);
        let active = Some(("NEW".to_owned(), true));
        assert_eq!(known([silent, silent], [silent, new]), [is_old, active]);
        assert_eq!(known([old, none], [none, none]), [None, None], "deleted");
    }

    #[test]
    fn answers_end_with_their_report_and_ids_stay_with_their_keys() {
        let report = |rotated: &str| {
            let csv = format!(
                "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
                 alpha,arn:aws:iam::123456789012:user/alpha,true,{rotated},false,N/A\n"
            );
            Report::parse(csv.as_bytes()).expect("a report")
        };
        let first = report("2026-01-01T00:00:00Z");
        let mut confirmations = Confirmations::default();
        confirmations.ask("alpha");
        confirmations.ask("beta");
        let answer = merge(&first.users[0].keys, &[listed("A", false, 1)]);
        confirmations.insert("alpha", Some(answer));
        confirmations.insert("beta", None);

        let same_key = report("2026-01-01T00:00:01Z");
        let mut after = confirmations.clone();
        after.start_over(&same_key);
        let key = after.keys(&same_key.users[0]).and_then(|keys| keys[0].clone()).expect("a key");
        assert_eq!((key.id.as_deref(), key.active), (Some("A"), true), "the report counts");
        assert_eq!((after.asked("alpha"), after.asked("beta")), (Some(1), None));

        let timeless = report("N/A");
        let mut after = confirmations.clone();
        after.start_over(&timeless);
        let key = after.keys(&timeless.users[0]).and_then(|keys| keys[0].clone()).expect("a key");
        assert_eq!((key.id.as_deref(), key.active), (Some("A"), true), "the report counts");
        assert_eq!(key.last_rotated, Some(at(1)), "what was known of it");

        let mut timeless = Arc::new(timeless);
        timeless.keep_missing(&report("2025-01-01T00:00:00Z"));
        assert_eq!(
            timeless.users[0].keys[0].as_ref().and_then(|key| key.last_rotated),
            "2025-01-01T00:00:00Z".parse().ok()
        );
        let mut after = confirmations.clone();
        after.start_over(&timeless);
        let key = after.keys(&timeless.users[0]).and_then(|keys| keys[0].clone()).expect("a key");
        assert_eq!((key.id.as_deref(), key.active), (Some("A"), true), "the report counts");
        assert_eq!(key.last_rotated, Some(at(1)), "an answer is newer than the report before");

        let other_key = report("2026-01-09T00:00:00Z");
        confirmations.start_over(&other_key);
        assert_eq!(confirmations.keys(&other_key.users[0]), Some(&other_key.users[0].keys[..]));
    }
}
