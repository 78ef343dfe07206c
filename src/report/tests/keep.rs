//! Two answers about one user, in one report or in two.

use proptest::prelude::*;

use super::*;

#[test]
fn users_whose_rows_may_be_those_that_cannot_be_read_stay() {
    let report = |rows: &[&str]| {
        let mut csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n".to_owned();
        csv.extend(rows.iter().map(|row| format!("{row}\n")));
        Report::parse(csv.as_bytes()).expect("a report")
    };
    let row = |user: &str| {
        format!("{user},arn:aws:iam::123456789012:user/{user},true,2022-01-01T00:00:00Z,false,N/A")
    };
    let [a, b] = [row("a"), row("b")];
    let before = report(&[&a, &b]);
    let names = |rows: &[&str]| {
        let mut report = Arc::new(report(rows));
        report.keep_missing(&before, None);
        report.users.iter().map(|user| user.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[&a]), ["a"]);
    assert_eq!(names(&[&a, "b,arn"]), ["a", "b"]);
    assert_eq!(names(&[&a, &a]), ["a"], "a row that is there twice is read once");
    assert_eq!(names(&[&a, &b, "c,"]), ["a", "b"]);
}

/// A row of root with these fields of keys.
fn root_with(keys: &str) -> String {
    ROOT.replace(NO_KEYS, keys)
}

const OLD_KEY: &str = "true,2020-01-01T00:00:00Z,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A";

#[test]
fn root_does_not_leave_an_account_so_the_row_before_stays_if_there_is_no_other() {
    let user = row("a", NO_KEYS);
    let before = parse(&[HEADER, &root_with(OLD_KEY), &user, &row("b", NO_KEYS)]);
    let after = |root: &[&str]| {
        let mut report = Arc::new(parse(&[&[HEADER], root, &[&user]].concat()));
        report.keep_missing(&before, None);
        let root = report.users.iter().find(|user| user.is_root());
        (root.is_some_and(|root| root.keys[0].is_some()), report.keeps_root(), report.users.len())
    };
    assert_eq!(after(&[]), (true, true, 2), "b is gone, root cannot be");
    assert_eq!(after(&[ROOT]), (false, false, 2));
    assert_eq!(after(&["<root_account>,arn"]), (true, true, 3), "the row may be b's");
}

#[test]
fn a_key_of_root_that_was_kept_goes_when_aws_says_that_root_has_none() {
    let before = parse(&[HEADER, &root_with(OLD_KEY), &row("a", NO_KEYS)]);
    let silent = root_with("N/A,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A");
    for root in [silent.as_str(), "<root_account>,arn"] {
        let mut report = Arc::new(parse(&[HEADER, root, &row("a", NO_KEYS)]));
        let keys = |report: &Report| {
            let keys = report.users.iter().filter(|it| it.is_root()).flat_map(|it| &it.keys);
            keys.flatten().count()
        };
        report.keep_missing(&before, None);
        assert_eq!(keys(&report), 1, "{root}");
        report.forget_kept_keys_of_root();
        assert_eq!(keys(&report), 0, "{root}");
    }
    let mut report = Arc::new(before);
    report.forget_kept_keys_of_root();
    assert!(report.users[0].keys[0].is_some(), "the report says it");
}

#[test]
fn root_whose_row_is_gone_stays_report_after_report() {
    let mut before = Arc::new(parse(&[HEADER, &root_with(OLD_KEY), &row("a", NO_KEYS)]));
    for _ in 0..2 {
        let mut report = Arc::new(parse(&[HEADER, &row("a", NO_KEYS)]));
        report.keep_missing(&before, None);
        assert!(report.keeps_root());
        before = report;
    }
    let mut report = Arc::new(parse(&[HEADER, ROOT, &row("a", NO_KEYS)]));
    report.keep_missing(&before, None);
    assert!(!report.keeps_root());
}

#[test]
fn of_two_rows_of_one_user_the_worse_key_of_each_slot_is_shown() {
    const NEW: &str = "2026-01-01T00:00:00Z";
    const OLD: &str = "2020-01-01T00:00:00Z";
    let (old, new) = (format!("true,{OLD},N/A,N/A,N/A"), format!("true,{NEW},{NEW},N/A,s3"));
    let inactive = format!("false,{OLD},N/A,N/A,N/A");
    let none = "false,N/A,N/A,N/A,N/A".to_owned();
    let timeless = "true,N/A,N/A,N/A,N/A".to_owned();
    for (one, other, worse) in [
        (&none, &old, (true, at(OLD))),
        (&inactive, &new, (true, at(NEW))),
        (&none, &inactive, (false, at(OLD))),
        (&old, &new, (true, at(OLD))),
        // AWS gives every key a time.
        (&timeless, &old, (true, at(OLD))),
        (&timeless, &new, (true, at(NEW))),
        // The time of an inactive key is not that of an active one, and could be a young one.
        (&timeless, &inactive, (true, None)),
        (&timeless, &none, (true, None)),
        (&timeless, &timeless, (true, None)),
    ] {
        for (first, second) in [(one, other), (other, one)] {
            let rows = [first, second].map(|key| row("a", &format!("{key},{new}")));
            let report = parse(&[HEADER, &rows[0], &rows[1]]);
            let keys = &report.users[0].keys;
            let shown = keys[0].as_ref().map(|key| (key.active, key.last_rotated));
            assert_eq!(shown, Some(worse), "{first}; {second}");
            assert_eq!(keys[1].as_ref().and_then(|key| key.last_rotated), at(NEW));
            assert_eq!((report.users.len(), report.missing), (1, 0));
            let duplicate = (3, "user", Problem::Duplicate);
            assert!(rejected(&report).contains(&duplicate), "{:?}", report.rejected);
            let is_timeless = [one, other].contains(&&timeless);
            assert_eq!(report.users[0].lacks_time, [is_timeless, false], "{first}; {second}");
        }
    }
}

#[test]
fn what_two_rows_of_one_user_say_differently_is_not_known() {
    let used = "true,2020-01-01T00:00:00Z,2026-01-01T00:00:00Z,eu-west-1,s3,false,N/A,N/A,N/A,N/A";
    let (one, other) = (row("a", OLD_KEY), row("a", used).replace("Z,false,N/A", "Z,true,N/A"));
    let never_used = parse(&[HEADER, ROOT, &one]);
    for rows in [[&one, &other], [&other, &one]] {
        let mut report = Arc::new(parse(&[HEADER, ROOT, rows[0], rows[1]]));
        report.keep_missing(&never_used, None);
        let user = &report.users[1];
        let key = user.keys[0].as_ref().expect("a key");
        let service = key.last_used_service.as_deref();
        assert_eq!((key.never_used, key.last_used, service), (false, None, None));
        assert_eq!((user.password_enabled, user.mfa_active), (None, Some(false)));
        assert_eq!(user.created, at("2021-05-06T07:08:09Z"));
    }
    let same = parse(&[HEADER, &other, &other]);
    assert_eq!(same.users[0].keys, parse(&[HEADER, &other]).users[0].keys);
}

#[test]
fn a_slot_of_which_the_report_says_nothing_is_not_empty() {
    let slot = |status: &str, time: &str| format!("{status},{time},N/A,N/A,N/A");
    let before = parse(&[HEADER, &root_with(OLD_KEY), &row("a", OLD_KEY)]);
    for status in ["", "N/A", "no_information", "not_supported"] {
        for time in ["", "N/A", "not_supported"] {
            let blank = format!("{},{}", slot(status, time), slot(status, time));
            let mut report = Arc::new(parse(&[HEADER, &root_with(&blank), &row("a", &blank)]));
            let problems: Vec<_> = rejected(&report);
            let expected = [2, 3].map(|line| (line, "access_key_1_active", Problem::Empty));
            assert_eq!((problems, report.missing), (expected.to_vec(), 0), "{blank}");
            assert_eq!(report.rejected.iter().filter(|row| row.is_root).count(), 1);
            // It does not make keys out of nothing.
            assert!(report.users.iter().all(|user| user.lacks_keys() && user.keys == [None, None]));
            report.keep_missing(&before, None);
            for (user, before) in report.users.iter().zip(&before.users) {
                assert_eq!(user.keys, before.keys, "{blank}");
            }
        }
    }
    // The other key is shown.
    let old = OLD_KEY.replace("false,N/A,N/A,N/A,N/A", &slot("", ""));
    let report = parse(&[HEADER, &row("a", &old)]);
    assert!(report.users[0].keys[0].is_some() && report.users[0].lacks_key == [false, true]);
    assert_eq!(rejected(&report), [(2, "access_key_2_active", Problem::Empty)]);
    // A spreadsheet may write "N/A" as nothing.
    assert!(!parse(&[HEADER, &row("a", &NO_KEYS.replace("N/A", ""))]).users[0].lacks_keys());
}

#[test]
fn an_active_key_without_a_time_keeps_that_of_the_report_before() {
    const OLD: &str = "2020-01-01T00:00:00Z";
    const NEW: &str = "2026-01-01T00:00:00Z";
    let none = "false,N/A,N/A,N/A,N/A";
    let slot = |status: &str, time: &str| format!("{status},{time},N/A,N/A,N/A");
    let of_both = |keys: &str| Arc::new(parse(&[HEADER, &root_with(keys), &row("a", keys)]));
    for place in [0, 1] {
        let keys = |key: &str| match place {
            0 => format!("{key},{none}"),
            _ => format!("{none},{key}"),
        };
        // The time in the reports after one with this key.
        let times = |before: &str, after: &str| {
            let mut before = of_both(&keys(before));
            [(), ()].map(|()| {
                let mut report = of_both(&keys(after));
                report.keep_missing(&before, None);
                before = report.clone();
                let times = report.users.iter().map(|user| {
                    assert_eq!(user.keys[1 - place], None);
                    user.keys[place].as_ref().map(|key| (key.active, key.last_rotated))
                });
                let times: Vec<_> = times.collect();
                assert_eq!(times[0], times[1], "root and a user");
                times[0]
            })
        };
        let old = slot("true", OLD);
        for (status, time) in [
            ("true", "N/A"),
            ("true", ""),
            ("true", "no_information"),
            ("true", "2020-13-01"),
            ("flase", "N/A"),
            ("flase", "2020-13-01"),
            ("N/A", "2020-13-01"),
        ] {
            let less = slot(status, time);
            assert_eq!(times(&old, &less), [Some((true, at(OLD))); 2], "{less}");
            let report = of_both(&keys(&less));
            assert_eq!(report.rejected.len(), 2, "{less}");
            for user in &report.users {
                assert_eq!((user.lacks_time[place], user.lacks_time[1 - place]), (true, false));
            }
        }
        let timeless = slot("true", "N/A");
        assert_eq!(times(none, &timeless), [Some((true, None)); 2], "a new key");
        let inactive = slot("false", OLD);
        assert_eq!(
            times(&inactive, &timeless),
            [Some((true, at(OLD))); 2],
            "it may be active again"
        );
        assert_eq!(times(&old, &slot("true", NEW)), [Some((true, at(NEW))); 2], "rotated");
        assert_eq!(times(&old, &inactive), [Some((false, at(OLD))); 2], "deactivated");
        assert_eq!(times(&old, none), [None; 2], "deleted");
        assert_eq!(of_both(&keys(&old)).users[1].lacks_time, [false; 2]);
    }
}

#[test]
fn of_two_rows_of_one_user_neither_hides_what_the_report_before_has() {
    const OLD: &str = "2020-01-01T00:00:00Z";
    const NEW: &str = "2026-01-01T00:00:00Z";
    let none = "false,N/A,N/A,N/A,N/A";
    let keys = |status: &str, time: &str| format!("{status},{time},N/A,N/A,N/A,{none}");
    let rows = |keys: &[String]| {
        let rows = keys.iter().map(|keys| row("a", keys));
        let lines: Vec<String> =
            [HEADER.to_owned(), ROOT.to_owned()].into_iter().chain(rows).collect();
        parse(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let young = keys("true", NEW);
    for less in [keys("true", "N/A"), keys("", "")] {
        for both in [[&less, &young], [&young, &less]] {
            let time = |before: &Report| {
                let mut report = Arc::new(rows(&both.map(String::clone)));
                report.keep_missing(before, None);
                let key = report.users[1].keys[0].as_ref().expect("a key");
                assert!(key.active, "{both:?}");
                key.last_rotated
            };
            assert_eq!(time(&rows(&[keys("true", OLD)])), at(OLD), "{both:?}");
            assert_eq!(time(&rows(std::slice::from_ref(&young))), at(NEW), "{both:?}");
            assert_eq!(time(&rows(&[none.to_owned() + "," + none])), at(NEW), "{both:?}");
        }
    }
    // Rows that say everything need no other report.
    let mut report = Arc::new(rows(&[young.clone(), young]));
    report.keep_missing(&rows(&[keys("true", OLD)]), None);
    assert_eq!(report.users[1].keys[0].as_ref().and_then(|key| key.last_rotated), at(NEW));
}

#[test]
fn what_a_slot_lacks_is_that_of_the_oldest_key_that_can_be_in_it() {
    let [old, new, inactive, none, timeless, silent] = [
        "true,2020-01-01T00:00:00Z",
        "true,2026-01-01T00:00:00Z",
        "false,2020-01-01T00:00:00Z",
        "false,N/A",
        "true,N/A",
        "N/A,N/A",
    ];
    for (before, after, expected) in [
        // Slots that changed places: the other time tells which key it is.
        ([old, new], [timeless, old], [new, old]),
        ([old, new], [new, timeless], [new, old]),
        ([old, new], [timeless, new], [old, new]),
        ([old, new], [new, silent], [new, old]),
        ([old, new], [silent, old], [new, old]),
        ([old, none], [none, timeless], [none, old]),
        ([old, none], [none, silent], [none, old]),
        // A key that is one of two, or a new one.
        ([old, new], [timeless, none], [old, none]),
        ([old, new], [none, timeless], [none, old]),
        ([old, new], [none, silent], [none, old]),
        ([new, old], [timeless, none], [old, none]),
        // It may be the inactive key, which is active again.
        ([new, inactive], [timeless, none], [old, none]),
        ([new, inactive], [none, timeless], [none, old]),
        ([new, inactive], [timeless, inactive], [new, inactive]),
        // Of two keys of one time it may be the active one.
        ([old, inactive], [silent, inactive], [old, inactive]),
        ([old, inactive], [inactive, silent], [inactive, old]),
        ([inactive, old], [inactive, silent], [inactive, old]),
        ([old, inactive], [timeless, inactive], [old, inactive]),
        ([old, none], [timeless, old], [timeless, old]),
        // Nothing tells them apart.
        ([old, new], [timeless, timeless], [old, new]),
        ([old, new], [silent, silent], [old, new]),
        ([old, new], [silent, timeless], [old, new]),
        // It may be the inactive key, and the other one may still be there.
        ([new, inactive], [timeless, silent], [old, new]),
        ([new, inactive], [silent, timeless], [new, old]),
    ] {
        let report = |keys: [&str; 2]| {
            let [one, two] = keys.map(|key| format!("{key},N/A,N/A,N/A"));
            parse(&[HEADER, ROOT, &row("a", &format!("{one},{two}"))])
        };
        let mut kept = Arc::new(report(after));
        kept.keep_missing(&report(before), None);
        assert_eq!(kept.users[1].keys, report(expected).users[1].keys, "{before:?}, {after:?}");
    }
}

#[test]
fn a_key_that_takes_the_time_of_an_earlier_one_may_have_been_used_like_it() {
    let used = "true,2020-01-01T00:00:00Z,2026-01-01T00:00:00Z,us-east-1,s3,false,N/A,N/A,N/A,N/A";
    let before = parse(&[HEADER, ROOT, &row("a", used)]);
    let use_of = |columns: &str| {
        let timeless = format!("true,N/A,{columns},false,N/A,N/A,N/A,N/A");
        let mut report = Arc::new(parse(&[HEADER, ROOT, &row("a", &timeless)]));
        report.keep_missing(&before, None);
        let key = report.users[1].keys[0].clone().expect("a key");
        (key.last_used, key.never_used, key.last_used_service.is_some())
    };
    assert_eq!(use_of("N/A,N/A,N/A"), (None, false, false), "not known");
    let day = "2025-06-01T00:00:00Z";
    assert_eq!(use_of(&format!("{day},us-west-2,s3")), (at(day), false, true), "as it says");
}

#[test]
fn a_row_with_the_arn_of_another_user_is_kept_and_so_is_that_user() {
    let key = "true,2020-01-01T00:00:00Z,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A";
    let right = row("0012", key);
    let before = parse(&[HEADER, &right]);
    // As a spreadsheet writes it.
    let mut report = Arc::new(parse(&[HEADER, &right.replacen("0012", "12", 1)]));
    assert_eq!(rejected(&report), [(2, "arn", Problem::OtherName)]);
    report.keep_missing(&before, None);
    assert_eq!(report.users.iter().map(|user| &*user.name).collect::<Vec<_>>(), ["12", "0012"]);
    // Also if its name is that of a user who has a row.
    let rows = [row("12", NO_KEYS), right.replacen("0012", "12", 1)];
    let mut report = Arc::new(parse(&[HEADER, &rows[0], &rows[1]]));
    assert_eq!(rejected(&report), [(3, "user", Problem::Duplicate)]);
    report.keep_missing(&before, None);
    assert_eq!(report.users.iter().map(|user| &*user.name).collect::<Vec<_>>(), ["12", "0012"]);
}

#[test]
fn a_use_of_an_earlier_report_has_its_time() {
    let at_hour = |hour| at(&format!("2026-10-01T{hour:02}:00:00Z"));
    let of = |used: &str| {
        let keys = format!("true,2026-01-01T00:00:00Z,{used},N/A,N/A,false,N/A,N/A,N/A,N/A");
        Arc::new(parse(&[HEADER, ROOT, &row("a", &keys)]))
    };
    // The reports of these hours.
    let use_of = |reports: [Arc<Report>; 3]| {
        let mut before: Option<Arc<Report>> = None;
        for (hour, mut report) in (1..).zip(reports) {
            if let Some(before) = before {
                report.keep_missing(&before, at_hour(hour - 1));
            }
            before = Some(report);
        }
        let key = before.expect("a report").users[1].keys[0].clone().expect("a key");
        (key.never_used, key.use_of)
    };
    assert_eq!(use_of([of("N/A"), of(""), of("")]), (true, at_hour(1)));
    assert_eq!(use_of([of("N/A"), of("N/A"), of("")]), (true, at_hour(2)));
    assert_eq!(use_of([of("N/A"), of(""), of("N/A")]), (true, None));
    let silent = Arc::new(parse(&[HEADER, ROOT, &row("a", ",,,,,false,N/A,N/A,N/A,N/A")]));
    assert_eq!(use_of([of("N/A"), silent.clone(), silent]), (true, at_hour(1)));
    // Two rows, of which one says nothing of the key, and the other has a younger one.
    let young = "true,2026-09-20T00:00:00Z,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A";
    let rows = [row("a", ",,,,,false,N/A,N/A,N/A,N/A"), row("a", young)];
    let two = Arc::new(parse(&[HEADER, ROOT, &rows[0], &rows[1]]));
    assert_eq!(use_of([of("N/A"), of(""), two]), (true, at_hour(1)));
    let unreadable = Arc::new(parse(&[HEADER, ROOT, "a"]));
    assert_eq!(use_of([of("N/A"), unreadable.clone(), unreadable]), (true, at_hour(1)));
}

#[test]
fn a_user_who_was_made_again_has_nothing_of_the_one_before() {
    let slots = |keys: &str, made: &str| row("a", keys).replace("2021-05-06T07:08:09Z", made);
    let before = parse(&[HEADER, ROOT, &row("a", OLD_KEY)]);
    let silent = ["", "", "", "", ""].join(",");
    let keys = format!("true,2026-01-01T00:00:00Z,N/A,N/A,N/A,{silent}");
    for (made, is_kept) in [("2021-05-06T07:08:09Z", true), ("2025-05-06T07:08:09Z", false)] {
        let mut report = Arc::new(parse(&[HEADER, ROOT, &slots(&keys, made)]));
        report.keep_missing(&before, None);
        assert_eq!(report.users[1].keys[1].is_some(), is_kept, "{made}");
    }
}

proptest! {
    #[test]
    fn no_damaged_byte_makes_a_key_seem_to_be_gone_or_ageless(place in any::<usize>(), byte in any::<u8>()) {
        let key = "true,2020-01-01T00:00:00Z,N/A,us-east-1,s3,true,2021-01-01T00:00:00Z,N/A,N/A,N/A";
        let root = row(ROOT_USER, key).replace("user/<root_account>", "root");
        let rows = [root, row("alpha", key), row("bravo", key), row("delta", key)];
        let mut csv = rows.iter().fold(HEADER.to_owned(), |csv, row| csv + "\n" + row).into_bytes();
        let before = Report::parse(&csv).expect("a report");
        prop_assert_eq!(&before.rejected, &[]);
        let place = HEADER.len() + place % (csv.len() - HEADER.len());
        csv[place] = byte;
        // A report that is refused changes nothing.
        let Ok(after) = Report::parse(&csv) else { return Ok(()) };
        let mut after = Arc::new(after);
        after.keep_missing(&before, None);
        for user in &before.users {
            let known = after.users.iter().find(|known| known.name == user.name);
            let active = |key: &Option<Key>| {
                key.as_ref().is_some_and(|key| key.active && key.last_rotated.is_some())
            };
            prop_assert!(
                known.is_some_and(|known| known.keys.iter().all(active)),
                "{}: {}", user.name, String::from_utf8_lossy(&csv)
            );
        }
    }
}
