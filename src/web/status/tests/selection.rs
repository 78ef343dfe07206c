//! Which keys and accounts a query finds, and in which order.

use super::*;

/// An unrotated key of this user in account 123456789012, which is called production.
fn finding(user: &str, rotated: DateTime<Utc>) -> Finding {
    Finding {
        account_id: "123456789012".to_owned(),
        account_name: "production".to_owned(),
        user: user.to_owned(),
        path: "/service/".to_owned(),
        key: Some(1),
        access_key_id: Some(format!("AKIA{}", user.to_uppercase())),
        status: KeyStatus::Unrotated,
        age: Some(Age::between(rotated, now())),
        last_rotated: Some(rotated),
        due: Some(rotated + TimeDelta::days(90)),
        last_used: None,
        never_used: true,
        use_known_until: Some(day(21)),
        tags: [("team".into(), "payments".into())].into(),
        tags_known: true,
        rule: "default".into(),
        rule_index: None,
        max_age: TimeDelta::days(90),
        exemption: None,
        exemption_is_ending: false,
        service: None,
        expires: None,
    }
}

fn users<'a>(findings: &'a [Finding], asked: &str) -> Vec<&'a str> {
    let query = query(asked);
    let labels =
        ["team", "cost-center"].map(|key| TagLabel { key: key.to_owned(), label: String::new() });
    select(&about(findings, &query, &labels), &query, &labels)
        .into_iter()
        .map(|row| row.user.as_str())
        .collect()
}

#[test]
fn a_search_finds_users_paths_accounts_ids_and_tags_in_any_case() {
    let mut other = finding("other", day(2));
    other.account_id = "210987654321".to_owned();
    other.account_name = "Stüdio".to_owned();
    other.path = "/ci/".to_owned();
    other.tags = [("Owner".into(), "data on call".into())].into();
    let findings = [finding("backup", day(1)), other];
    for (search, expected) in [
        ("", &["backup", "other"][..]),
        ("BACK", &["backup"]),
        ("/ci", &["other"]),
        ("production", &["backup"]),
        ("3456", &["backup"]),
        ("sTÜdio", &["other"]),
        ("akiaother", &["other"]),
        ("team=pay", &["backup"]),
        ("owner=data", &["other"]),
        ("call on", &["other"]),
        ("backup other", &[]),
        ("back.p", &[]),
        ("default", &[]),
    ] {
        let asked = Query { search: search.to_owned(), ..Query::default() };
        assert_eq!(users(&findings, &asked.link()[1..]), expected, "{search}");
    }
}

#[test]
fn only_keys_of_the_chosen_status_are_listed() {
    let with = |user, status| Finding { status, ..finding(user, day(1)) };
    let findings = [
        with("old", KeyStatus::Unrotated),
        with("soon", KeyStatus::DueSoon),
        with("exempt", KeyStatus::Exempt),
        Finding { exemption_is_ending: true, ..with("ending", KeyStatus::Exempt) },
        Finding { exemption_is_ending: true, ..with("retired and ending", KeyStatus::Inactive) },
        Finding { never_used: false, ..with("young", KeyStatus::Ok) },
        with("spare", KeyStatus::Ok),
        with("retired", KeyStatus::Inactive),
        Finding { age: None, last_rotated: None, ..with("ageless", KeyStatus::NotJudged) },
        Finding { last_rotated: Some(day(20)), ..with("new", KeyStatus::Ok) },
        Finding { use_known_until: Some(day(8)), ..with("of an old report", KeyStatus::Ok) },
    ];
    assert_eq!(users(&findings, ""), ["old"]);
    assert_eq!(users(&findings, "show=due_soon"), ["soon"]);
    assert_eq!(users(&findings, "show=exempt"), ["exempt", "ending"]);
    assert_eq!(users(&findings, "show=exemption_ending"), ["ending"]);
    assert_eq!(users(&findings, "show=all"), ["old", "soon", "exempt", "ending"]);
    assert_eq!(users(&findings, "show=never_used"), ["old", "soon", "exempt", "ending", "spare"]);
    assert_eq!(users(&findings, "show=not_judged"), ["ageless"]);
    assert_eq!(users(&findings, "show=every").len(), findings.len());
}

#[test]
fn rows_are_sorted_by_every_column_in_both_orders() {
    let mut first = finding("beta", day(1));
    first.due = None;
    first.last_used = Some(day(20));
    let mut second = finding("Alpha", day(2));
    second.account_name = String::new();
    let mut third = finding("gamma", day(3));
    third.last_used = Some(day(10));
    third.account_name = "Audit".to_owned();
    let findings = [first, second, third];
    for (column, ascending, descending) in [
        ("age", ["gamma", "Alpha", "beta"], ["beta", "Alpha", "gamma"]),
        // Who is exempt comes last in both.
        ("due", ["Alpha", "gamma", "beta"], ["gamma", "Alpha", "beta"]),
        ("user", ["Alpha", "beta", "gamma"], ["gamma", "beta", "Alpha"]),
        // By the id if there is no name.
        ("account", ["Alpha", "gamma", "beta"], ["beta", "gamma", "Alpha"]),
        ("last_used", ["Alpha", "gamma", "beta"], ["beta", "gamma", "Alpha"]),
    ] {
        assert_eq!(users(&findings, &format!("sort={column}&order=asc")), ascending, "{column}");
        assert_eq!(users(&findings, &format!("sort={column}&order=desc")), descending, "{column}");
    }
}

#[test]
fn owners_are_sorted_by_the_tags_that_are_labels_in_their_order_without_a_tag_first() {
    let with = |user, tags: &[(&str, &str)]| {
        let tags = tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Finding { tags, ..finding(user, day(1)) }
    };
    let findings = [
        with("beta of 1", &[("team", "beta"), ("Cost-Center", "1")]),
        with("Beta", &[("Team", "Beta")]),
        with("of 1", &[("cost-center", "1")]),
        with("alpha of 2", &[("team", "alpha"), ("cost-center", "2")]),
        // A rule needs this tag.
        with("of nobody", &[("tier", "a")]),
    ];
    let mut expected = ["of nobody", "of 1", "alpha of 2", "Beta", "beta of 1"];
    assert_eq!(users(&findings, "sort=owner"), expected);
    expected.reverse();
    assert_eq!(users(&findings, "sort=owner&order=desc"), expected);
}

#[test]
fn of_equal_rows_the_oldest_comes_first() {
    let findings: Vec<Finding> = (1..20).map(|age| finding("same", day(age))).collect();
    for asked in ["sort=user", "sort=user&order=desc", "sort=account", "sort=last_used"] {
        let query = query(asked);
        let rows = select(&about(&findings, &query, &[]), &query, &[]);
        assert!(rows.is_sorted_by_key(|row| row.last_rotated), "{asked}");
    }
}

#[test]
fn pages_are_cut_at_their_size_and_a_page_that_is_gone_is_the_last_one() {
    let part = |wanted, total| {
        let Pagination { number, of, rows } = Pagination::new(wanted, 200, total);
        (number, of, rows)
    };
    assert_eq!(part(1, 0), (1, 1, 0..0));
    assert_eq!(part(1, 200), (1, 1, 0..200));
    assert_eq!(part(1, 201), (1, 2, 0..200));
    assert_eq!(part(2, 201), (2, 2, 200..201));
    assert_eq!(part(4_000_000_000, 20_000), (100, 100, 19_800..20_000));
}

#[test]
fn exact_parameters_choose_keys_tiles_title_and_accounts() {
    let mut other = finding("backup-2", day(2));
    let tags = [("Team", "pay"), ("cost-center", "42")];
    other.tags = tags.map(|(key, value)| (key.into(), value.into())).into();
    let mut without = finding("backup", day(3));
    without.account_id = "210987654321".to_owned();
    without.key = Some(2);
    without.tags.clear();
    let findings = [finding("backup", day(1)), other, without];
    for (asked, expected) in [
        ("user=backup", &["backup", "backup"][..]),
        ("user=backup&account=123456789012", &["backup"]),
        ("user=backup&key=2", &["backup"]),
        ("account=production&key=2", &["backup"]),
        ("account=12345678901", &[]),
        ("tag=team:payments", &["backup"]),
        ("tag=team:pay", &["backup-2"]),
        ("tag=team:", &["backup"]),
        ("tag=team:pay&tag=owner:x", &[]),
        ("tag=team:pay&other_tags=none", &[]),
        ("tag=team:payments&other_tags=none", &["backup"]),
        ("other_tags=none", &["backup"]),
        // As in the label.
        ("tag=cost_center:42", &["backup-2"]),
        ("tag=COST-center:42", &["backup-2"]),
    ] {
        assert_eq!(users(&findings, asked), expected, "{asked}");
    }
}

#[test]
fn accounts_are_chosen_by_state() {
    use super::health::Health;
    let states = [Health::Failing(Reason::Timeout), Health::Pending, Health::Degraded, Health::Ok];
    for (filter, expected) in [
        (AccountFilter::Failing, [true, false, false, false]),
        (AccountFilter::Pending, [false, true, false, false]),
        (AccountFilter::Degraded, [false, false, true, false]),
        (AccountFilter::Ok, [false, false, false, true]),
        (AccountFilter::Unread, [false; 4]),
    ] {
        assert_eq!(states.map(|state| filter.includes(state, true)), expected, "{filter:?}");
    }
    assert!(AccountFilter::Unread.includes(Health::Failing(Reason::Timeout), false));
}
