//! What stays of an answer when the next report comes.

use std::iter;

use super::*;

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
    let answer = Some(merge(&before.users[0].keys, &listed, None));
    confirmations.insert("alpha", answer.clone());
    assert!(confirmations.knows("alpha"));
    confirmations.start_over(&before, None);
    assert_eq!(confirmations.keys(&before.users[0]).map(<[_]>::len), Some(3));
    assert!(!confirmations.knows("alpha"), "there may be others since");
    confirmations.insert("alpha", answer);
    assert!(confirmations.knows("alpha"));
    confirmations.start_over(&after, None);
    assert_eq!(confirmations.keys(&after.users[0]).map(<[_]>::len), Some(2));
}

#[test]
fn a_key_without_a_time_is_the_oldest_of_the_known_keys_that_can_be_in_its_slot() {
    let [old, new, none, timeless] =
        ["true,2026-01-01T00:00:00Z", "true,2026-01-09T00:00:00Z", "false,N/A", "true,N/A"];
    let before = report(old, new);
    let answer =
        merge(&before.users[0].keys, &[listed("OLD", true, 1), listed("NEW", true, 9)], None);
    let known = |one: &str, two: &str| {
        let report = report(one, two);
        let mut confirmations = Confirmations::default();
        confirmations.insert("alpha", Some(answer.clone()));
        confirmations.start_over(&report, None);
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
    let [old, new, none, silent] =
        ["true,2026-01-01T00:00:00Z", "true,2026-01-09T00:00:00Z", "false,N/A", "N/A,N/A"];
    let known = |before: [&str; 2], after: [&str; 2]| {
        let [before, after] = [before, after].map(|[one, two]| report(one, two));
        let answer = [listed("OLD", true, 1), listed("NEW", false, 9)];
        let mut confirmations = Confirmations::default();
        confirmations.insert("alpha", Some(merge(&before.users[0].keys, &answer, None)));
        confirmations.start_over(&after, None);
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

/// One that AWS no longer had in its answer does not come back, and takes no other one's place.
#[test]
fn a_slot_of_which_the_next_report_says_nothing_has_no_key_that_the_answer_denied() {
    let (before, after) =
        (report("true,2026-01-01T00:00:00Z", "false,N/A"), report("N/A,N/A", "N/A,N/A"));
    for (answer, expected) in [(vec![listed("NEW", true, 9)], vec![at(9)]), (vec![], vec![])] {
        let mut after = Arc::new(after.clone());
        after.keep_missing(&before, None);
        let mut confirmations = Confirmations::default();
        confirmations.insert("alpha", Some(merge(&before.users[0].keys, &answer, None)));
        confirmations.start_over(&after, None);
        let keys = confirmations.keys(&after.users[0]).expect("a user").iter().flatten();
        assert_eq!(keys.filter_map(|key| key.last_rotated).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn answers_end_with_their_report_and_ids_stay_with_their_keys() {
    let report = |rotated: &str| report(&format!("true,{rotated}"), "false,N/A");
    let first = report("2026-01-01T00:00:00Z");
    let mut confirmations = Confirmations::default();
    confirmations.ask("alpha");
    confirmations.ask("beta");
    let answer = merge(&first.users[0].keys, &[listed("A", false, 1)], None);
    confirmations.insert("alpha", Some(answer));
    confirmations.insert("beta", None);

    let same_key = report("2026-01-01T00:00:01Z");
    let mut after = confirmations.clone();
    after.start_over(&same_key, None);
    let key = after.keys(&same_key.users[0]).and_then(|keys| keys[0].clone()).expect("a key");
    assert_eq!((key.id.as_deref(), key.active), (Some("A"), true), "the report counts");
    assert_eq!((after.asked("alpha"), after.asked("beta")), (Some(1), None));

    let timeless = report("N/A");
    let mut after = confirmations.clone();
    after.start_over(&timeless, None);
    let key = after.keys(&timeless.users[0]).and_then(|keys| keys[0].clone()).expect("a key");
    assert_eq!((key.id.as_deref(), key.active), (Some("A"), true), "the report counts");
    assert_eq!(key.last_rotated, Some(at(1)), "what was known of it");

    let mut timeless = Arc::new(timeless);
    timeless.keep_missing(&report("2025-01-01T00:00:00Z"), None);
    assert_eq!(
        timeless.users[0].keys[0].as_ref().and_then(|key| key.last_rotated),
        "2025-01-01T00:00:00Z".parse().ok()
    );
    let mut after = confirmations.clone();
    after.start_over(&timeless, None);
    let key = after.keys(&timeless.users[0]).and_then(|keys| keys[0].clone()).expect("a key");
    assert_eq!((key.id.as_deref(), key.active), (Some("A"), true), "the report counts");
    assert_eq!(key.last_rotated, Some(at(1)), "an answer is newer than the report before");

    let other_key = report("2026-01-09T00:00:00Z");
    confirmations.start_over(&other_key, None);
    assert_eq!(confirmations.keys(&other_key.users[0]), Some(&other_key.users[0].keys[..]));
}
/// (a) An active key without a time whose candidates include one of unknown age must stay unknown.
#[test]
fn a_key_without_a_time_that_may_be_one_of_unknown_age_stays_unknown() {
    let [young, none, timeless] = ["true,2026-01-09T00:00:00Z", "false,N/A", "true,N/A"];
    // What stays of an answer before a report whose first slot has no time.
    let before = report(timeless, young);
    let mut confirmations = Confirmations::default();
    confirmations.insert("alpha", Some(before.users[0].keys.to_vec()));
    let after = report(timeless, none);
    confirmations.start_over(&after, None);
    let keys = confirmations.keys(&after.users[0]).expect("a user");
    assert_eq!(keys[0].as_ref().map(|key| key.last_rotated), Some(None), "not the young one's");
}

/// (b) A row that is kept from an earlier report says nothing newer than the answer.
#[test]
fn an_answer_stays_if_the_next_report_has_no_readable_row_of_the_user() {
    let report = |row: &str| {
        let csv = format!(
            "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
             beta,arn:aws:iam::123456789012:user/beta,false,N/A,false,N/A\n{row}\n"
        );
        Report::parse(csv.as_bytes()).expect("a report")
    };
    let row = "alpha,arn:aws:iam::123456789012:user/alpha,true,2026-01-01T00:00:00Z,false,2026-01-09T00:00:00Z";
    let before = report(row);
    let user = before.users.iter().find(|user| user.name == "alpha").expect("alpha");
    let mut confirmations = Confirmations::default();
    // The second key is active again.
    let answer = merge(&user.keys, &[listed("A", true, 1), listed("B", true, 9)], None);
    confirmations.insert("alpha", Some(answer.clone()));
    let mut after = std::sync::Arc::new(report("alpha,cut"));
    after.keep_missing(&before, None);
    confirmations.start_over(&after, None);
    let user = after.users.iter().find(|user| user.name == "alpha").expect("it is kept");
    assert_eq!(confirmations.keys(user), Some(&answer[..]));
    // A row that names a user who is gone is one of a user who is there.
    confirmations.insert("alpha", None);
    confirmations.start_over(&after, None);
    assert_eq!(confirmations.keys(user), Some(&user.keys[..]));
}

#[test]
fn of_three_known_keys_none_that_can_still_be_there_is_lost() {
    let [old, new, newer] =
        ["true,2026-01-01T00:00:00Z", "true,2026-01-08T00:00:00Z", "true,2026-01-09T00:00:00Z"];
    let [timeless, silent] = ["true,N/A", "N/A,N/A"];
    let all = [listed("OLD", true, 1), listed("NEW", true, 8), listed("NEWER", true, 9)];
    for (before, after, has_more, expected) in [
        ([new, newer], [timeless, timeless], false, vec![8, 1]),
        ([new, newer], [silent, new], false, vec![1, 8]),
        ([old, new], [new, newer], true, vec![8, 9, 1]),
        ([old, new], [new, newer], false, vec![8, 9]),
        ([new, newer], [timeless, newer], true, vec![1, 9, 8]),
    ] {
        let [before, mut after] = [before, after].map(|[one, two]| report(one, two));
        after.users[0].additional_credentials = Some(has_more);
        let mut after = Arc::new(after);
        let mut confirmations = Confirmations::default();
        confirmations.insert("alpha", Some(merge(&before.users[0].keys, &all, None)));
        after.keep_missing(&before, Some(at(10)));
        confirmations.start_over(&after, Some(at(10)));
        let keys = confirmations.keys(&after.users[0]).expect("a user");
        // What the report does not show is known from the one before.
        assert!(keys.iter().skip(2).flatten().all(|key| key.use_of == Some(at(10))), "{keys:?}");
        let days: Vec<_> = keys.iter().flatten().map(|key| key.last_rotated).collect();
        let expected: Vec<_> = expected.into_iter().map(|day| Some(at(day))).collect();
        assert_eq!(days, expected, "{before:?}, {after:?}");
    }
}

/// A blank column, or none, does not say that a user has no further keys.
#[test]
fn a_third_key_stays_if_the_next_report_says_nothing_of_further_keys() {
    let head = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated";
    let row = "alpha,arn:aws:iam::123456789012:user/alpha,true,2026-01-08T00:00:00Z,true,2026-01-09T00:00:00Z";
    let parse = |csv: String| Report::parse(csv.as_bytes()).expect("a report");
    let column = ",additional_credentials_info";
    let before = parse(format!("{head}{column}\n{row},1 more access key\n"));
    let all = [listed("OLD", true, 1), listed("NEW", true, 8), listed("NEWER", true, 9)];
    let says_no = format!("{head}{column}\n{row},N/A\n");
    let mut after = Arc::new(parse(says_no));
    after.keep_missing(&before, None);
    assert!(!after.users[0].has_more_credentials());
    for after in [format!("{head}{column}\n{row},\n"), format!("{head}\n{row}\n")] {
        let mut after = Arc::new(parse(after));
        let mut confirmations = Confirmations::default();
        confirmations.insert("alpha", Some(merge(&before.users[0].keys, &all, None)));
        after.keep_missing(&before, None);
        confirmations.start_over(&after, None);
        let keys = confirmations.keys(&after.users[0]).expect("a user");
        assert_eq!(keys.iter().flatten().count(), 3, "{after:?}");
        assert!(after.users[0].has_more_credentials() && !confirmations.knows("alpha"));
    }
}

/// A key that was created after the report is none of its keys.
#[test]
fn a_newer_key_does_not_take_the_use_of_a_key_without_a_time() {
    for used in [Some(3), None] {
        let key = Key {
            last_rotated: None,
            last_used: used.map(at),
            never_used: used.is_none(),
            ..reported(true, 1, 3).expect("a key")
        };
        for (use_of, generated, is_same) in [(None, 8, false), (None, 9, true), (Some(8), 9, false)]
        {
            let key = Key { use_of: use_of.map(at), ..key.clone() };
            let keys =
                merge(&[Some(key.clone()), None], &[listed("A", true, 9)], Some(at(generated)));
            let [Some(merged), None] = &keys[..] else { panic!("{keys:?}") };
            assert_eq!((merged.id.as_deref(), merged.last_rotated), (Some("A"), Some(at(9))));
            let is_use = (merged.last_used, merged.never_used) == (key.last_used, key.never_used);
            assert_eq!(is_use, is_same, "{merged:?}");
            assert!(is_same || !merged.never_used && merged.last_used.is_none(), "{merged:?}");
        }
    }
}

#[test]
fn answers_about_a_user_are_none_about_another_one_of_the_same_name() {
    let report = |created: &str| {
        let csv = format!(
            "user,arn,user_creation_time,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
             alpha,arn:aws:iam::123456789012:user/alpha,{created},true,N/A,false,N/A\n"
        );
        Report::parse(csv.as_bytes()).expect("a report")
    };
    let before = report("2026-01-01T00:00:00Z");
    for (created, is_same) in
        [("2026-01-01T00:00:00Z", true), ("N/A", true), ("2026-02-01T00:00:00Z", false)]
    {
        let after = report(created);
        let mut confirmations = Confirmations::default();
        let answer = merge(&before.users[0].keys, &[listed("A", true, 1)], None);
        confirmations.insert("alpha", Some(answer));
        confirmations.forget_others(&before, &after);
        confirmations.start_over(&after, None);
        let keys = confirmations.keys(&after.users[0]).expect("a user");
        let id = keys[0].as_ref().and_then(|key| key.id.as_deref());
        assert_eq!(id.is_some(), is_same, "{created}");
    }
}

/// A slot in a report.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shown {
    Empty,
    Silent,
    Timeless,
    /// Whether the key is active, and its day.
    Key(bool, u32),
}

impl Shown {
    fn columns(self) -> String {
        match self {
            Shown::Empty => "false,N/A".to_owned(),
            Shown::Silent => "N/A,N/A".to_owned(),
            Shown::Timeless => "true,N/A".to_owned(),
            Shown::Key(active, day) => format!("{active},2026-01-{day:02}T00:00:00Z"),
        }
    }

    fn is_unclear(self) -> bool {
        matches!(self, Shown::Silent | Shown::Timeless)
    }
}

/// The days of the active keys. Those without a time come first.
fn active(keys: Option<&[Option<Key>]>) -> Vec<Option<DateTime<Utc>>> {
    let keys = keys.into_iter().flatten().flatten().filter(|key| key.active);
    let mut days: Vec<_> = keys.map(|key| key.last_rotated).collect();
    days.sort();
    days
}

/// In every report, answer and next report. A key that the next report does not show is lost only if every slot
/// in which it can be is that of another such key, which is not younger.
#[test]
fn no_active_key_is_lost_that_the_next_report_does_not_deny() {
    let keys = [1, 5, 9].map(|day| [(true, day), (false, day)]).concat();
    let of_keys = keys.iter().map(|(active, day)| Shown::Key(*active, *day));
    let slots: Vec<Shown> =
        [Shown::Empty, Shown::Silent, Shown::Timeless].into_iter().chain(of_keys).collect();
    let rows = slots.iter().flat_map(|one| slots.iter().map(move |two| [*one, *two]));
    let is_twice =
        |row: &[Shown; 2]| matches!(row, [Shown::Key(_, one), Shown::Key(_, two)] if one == two);
    let rows: Vec<_> = rows.filter(|row| !is_twice(row)).collect();
    let listed = |(active, day): &(bool, u32)| listed(&format!("{active}"), *active, *day);
    let pairs = keys.iter().flat_map(|one| keys.iter().map(move |two| [one, two]));
    let pairs = pairs.filter(|[one, two]| one.1 < two.1).map(|pair| pair.map(listed).to_vec());
    let answers = iter::once(Vec::new()).chain(keys.iter().map(|key| vec![listed(key)]));
    let answers = answers.chain(pairs).map(Some);
    let answers: Vec<Option<Vec<ListedKey>>> = iter::once(None).chain(answers).collect();
    for first in &rows {
        let before = report(&first[0].columns(), &first[1].columns());
        let known = answers.iter().map(|answer| {
            let mut known = Confirmations::default();
            if let Some(answer) = answer {
                known.insert("alpha", Some(merge(&before.users[0].keys, answer, None)));
            }
            known
        });
        let known: Vec<Confirmations> = known.collect();
        for second in rows.iter().filter(|row| row.iter().any(|slot| slot.is_unclear())) {
            let mut after = Arc::new(report(&second[0].columns(), &second[1].columns()));
            after.keep_missing(&before, None);
            for known in &known {
                let mut next = known.clone();
                next.start_over(&after, None);
                let was = active(known.keys(&before.users[0]));
                let is = active(next.keys(&after.users[0]));
                let shown = |day: Option<DateTime<Utc>>| {
                    let is_it =
                        |slot: &&Shown| matches!(slot, Shown::Key(_, it) if Some(at(*it)) == day);
                    second.iter().find(is_it)
                };
                for day in was.iter().filter(|day| day.is_some() && !is.contains(day)) {
                    let others = is.iter().filter(|it| *it <= day && shown(**it).is_none()).count();
                    let is_denied = match shown(*day) {
                        Some(slot) => matches!(slot, Shown::Key(false, _)),
                        None => others == second.iter().filter(|slot| slot.is_unclear()).count(),
                    };
                    assert!(is_denied, "{day:?} of {first:?}, {known:?}, {second:?}: {is:?}");
                }
            }
        }
    }
}
