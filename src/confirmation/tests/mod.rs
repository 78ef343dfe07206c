//! How an answer is merged with the report.

mod next_report;

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
        use_of: None,
    })
}

fn listed(id: &str, active: bool, created: u32) -> ListedKey {
    ListedKey { id: id.to_owned(), active, created: at(created) }
}

/// A report of one user, alpha: whether the key in each slot is active, and when it was rotated.
fn report(one: &str, two: &str) -> Report {
    let csv = format!(
        "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
         alpha,arn:aws:iam::123456789012:user/alpha,{one},{two}\n"
    );
    Report::parse(csv.as_bytes()).expect("a report")
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
            use_of: None,
        })
    });
    assert_eq!(merge(&reported, keys, None), expected);
    let reversed: Vec<ListedKey> = keys.iter().rev().cloned().collect();
    assert_eq!(merge(&reported, &reversed, None), expected, "the order of the answer decided");
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
    let second = |key: ListedKey| ListedKey { created: key.created + TimeDelta::seconds(1), ..key };
    let keys = [reported(true, 1, 3), seconds_later(reported(true, 1, 4), 1)];
    let ids = |keys: Vec<Option<Key>>| {
        keys.into_iter().map(|key| key.and_then(|key| key.id)).collect::<Vec<_>>()
    };
    let listed = [second(listed("B", true, 1)), listed("A", true, 1)];
    let [a, b] = ["A", "B"].map(|id| Some(id.to_owned()));
    assert_eq!(ids(merge(&keys, &listed, None)), [a, b]);
    let listed = listed.map(second);
    assert_eq!(ids(merge(&keys, &listed, None)), [None, None]);
}

#[test]
fn a_key_without_a_time_in_the_report_keeps_its_last_use() {
    let timeless = reported(true, 1, 3).map(|key| Key { last_rotated: None, ..key });
    assert_merged([timeless, None], &[listed("A", true, 1)], [Some(("A", true, 1, Some(3))), None]);
}
