//! Which of two reports is newer.

use std::cmp::Ordering;

use super::*;

#[test]
fn the_newest_time_is_that_of_anything_that_has_happened() {
    let user = row("a", "true,2022-05-01T00:00:00Z,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A");
    assert_eq!(parse(&[HEADER, &user]).newest_time(), at("2022-05-01T00:00:00Z"));
    // When a password ends is no evidence: that lies ahead.
    let user = user.replace("false,N/A,N/A,N/A,false", "true,N/A,N/A,2030-01-01T00:00:00Z,false");
    assert_eq!(parse(&[HEADER, &user]).newest_time(), at("2022-05-01T00:00:00Z"));
    let report = parse(&[HEADER, &user, ROOT]);
    assert_eq!(report.newest_time(), at("2026-01-02T03:04:05Z"));
}

#[test]
fn what_never_goes_back_tells_which_report_is_older() {
    let at = |day: u32| format!("2026-01-{day:02}T00:00:00Z");
    let key = |used: &str| {
        row("a", &format!("true,2025-01-01T00:00:00Z,{used},N/A,N/A,false,N/A,N/A,N/A,N/A"))
    };
    let console = |day| {
        row("b", NO_KEYS).replace("false,N/A,N/A,N/A,", &format!("true,{0},{0},N/A,", at(day)))
    };
    let order = |a: &[&str], b: &[&str]| {
        let report = |rows: &[&str]| parse(&[&[HEADER], rows].concat());
        let (a, b) = (report(a), report(b));
        assert_eq!(a.order(&b), b.order(&a).map(Ordering::reverse));
        a.order(&b)
    };
    assert_eq!(order(&[&key(&at(1))], &[&key(&at(2))]), Some(Ordering::Less));
    assert_eq!(order(&[&key("N/A")], &[&key(&at(2))]), Some(Ordering::Less), "never used");
    assert_eq!(order(&[&key("long ago")], &[&key(&at(2))]), None, "not known");
    assert_eq!(order(&[&console(1)], &[&console(2)]), Some(Ordering::Less));
    assert_eq!(order(&[&key(&at(2))], &[&key(&at(2))]), None);
    // The newest user or key may have been deleted.
    assert_eq!(order(&[&key(&at(1))], &[&key(&at(1)), &console(9)]), None);
    assert_eq!(order(&[&key(&at(1)), &console(2)], &[&key(&at(2)), &console(1)]), None, "both");
    let rotated = key(&at(1)).replace("2025-01-01", "2025-12-01");
    assert_eq!(order(&[&rotated], &[&key(&at(2))]), None, "another key");
}
