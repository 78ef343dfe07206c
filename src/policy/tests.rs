use super::*;
use crate::config::Config;
use crate::report::{ROOT_USER, Report};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

fn key(active: bool, last_rotated: Option<&str>) -> Key {
    Key {
        active,
        id: None,
        last_rotated: last_rotated.map(at),
        last_used: None,
        never_used: true,
        last_used_region: None,
        last_used_service: None,
        use_of: None,
    }
}

const ROTATED: &str = "2026-01-01T00:00:00Z";

/// Judges by a max age alone.
fn judge(max_age: TimeDelta, key: &Key, now: &str) -> Verdict {
    let policy = Policy { max_age, ..Policy::default() };
    policy.default_ruling().judge(key, at(now))
}

const DAYS_90: TimeDelta = TimeDelta::days(90);

#[test]
fn a_key_is_rotated_at_90_00_days_and_unrotated_at_90_01() {
    let key = key(true, Some(ROTATED));

    let last_good = judge(DAYS_90, &key, "2026-04-01T00:14:23Z");
    assert_eq!(last_good.age.map(Age::days), Some(90.0));
    assert_eq!(last_good.unrotated, Some(false));

    let first_bad = judge(DAYS_90, &key, "2026-04-01T00:14:24Z");
    assert_eq!(first_bad.age.map(Age::days), Some(90.01));
    assert_eq!(first_bad.unrotated, Some(true));
    assert_eq!(first_bad.due, Some(at("2026-04-01T00:00:00Z")));
}

#[test]
fn an_inactive_key_has_an_age_but_is_never_unrotated_nor_due() {
    let verdict = judge(DAYS_90, &key(false, Some(ROTATED)), "2030-01-01T00:00:00Z");
    assert_eq!(verdict.unrotated, Some(false));
    assert_eq!(verdict.due, None);
    assert_eq!(verdict.age.map(Age::days), Some(1461.0));
}

#[test]
fn an_active_key_without_a_time_has_no_verdict() {
    let verdict = judge(DAYS_90, &key(true, None), ROTATED);
    assert_eq!((verdict.age, verdict.unrotated, verdict.due), (None, None, None));
}

#[test]
fn a_key_that_is_up_to_five_minutes_ahead_is_0_days_old() {
    let verdict = judge(DAYS_90, &key(true, Some(ROTATED)), "2025-12-31T23:55:00Z");
    assert_eq!(verdict.age.map(Age::days), Some(0.0));
    assert_eq!(verdict.unrotated, Some(false));
}

#[test]
fn a_key_from_the_future_has_no_verdict() {
    let verdict = judge(DAYS_90, &key(true, Some(ROTATED)), "2025-12-31T23:54:59Z");
    assert_eq!((verdict.age, verdict.unrotated, verdict.due), (None, None, None));
}

#[test]
fn a_max_age_that_is_no_multiple_of_a_hundredth_holds_to_the_published_age() {
    let key = key(true, Some(ROTATED));
    let unrotated = |now| judge(TimeDelta::seconds(1000), &key, now).unrotated;
    assert_eq!(unrotated("2026-01-01T00:28:47Z"), Some(false)); // 0.01 days, 864 s
    assert_eq!(unrotated("2026-01-01T00:28:48Z"), Some(true)); // 0.02 days, 1728 s
}

#[test]
fn an_age_is_written_as_its_number_of_days() {
    for hundredths in [0, 1, 9, 10, 50, 99, 100, 110, 9000, 9001, 9010, 123_456_789] {
        let age = Age { hundredths };
        assert_eq!(age.to_string(), age.days().to_string());
    }
}

/// One rule for each kind of match, and the effect of their order.
const RULES: &str = r#"
rotation:
  max_age: 90d
  rules:
    - match: { user: "svc-*", path: "/service/*" }
      max_age: 365d
    - match: { user: vendor-sync }
      exempt: { until: 2026-07-01, reason: "vendor" }
    - match: { user: "vendor-*" }
      max_age: 180d
    - match: { user: timed }
      exempt: { until: 2026-07-01T12:00:00+02:00, reason: "to the second" }
    - match: { path: "/ci/?/*" }
      max_age: 30d
    - match: { account: sandbox, user: "s*" }
      max_age: 1000d
    - match: { account: "111111111111" }
      max_age: 60d
    - match: { tags: { Tier: gold, team: "pay*" } }
      max_age: 45d
    - match: { user: "<root_account>" }
      exempt: { reason: "break glass" }
    - match: { user: "*", account: vault }
      exempt: { reason: "all of the vault" }
"#;

const NOW: &str = "2026-06-01T00:00:00Z";

/// The rule that decides about a user: the max age in days or an exemption, and the rule's place.
fn decided(
    account: (&str, &str),
    user: (&str, &str),
    tags: &[(&str, &str)],
    now: &str,
) -> (&'static str, Option<usize>) {
    let policy = Config::parse(RULES, "rules.yaml".as_ref()).expect("a configuration").policy;
    let (path, name) = user;
    let resource = match name {
        ROOT_USER => "root".to_owned(),
        name => format!("user{path}{name}"),
    };
    let csv = format!(
        "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
         {name},arn:aws:iam::123456789012:{resource},false,N/A,false,N/A\n"
    );
    let report = Report::parse(csv.as_bytes()).expect("a report");
    let tags: Vec<Tag> = tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let subject = Subject {
        account_id: account.0,
        account_name: account.1,
        user: &report.users[0],
        tags: &tags,
    };
    let ruling = policy.ruling(&subject, at(now));
    let what = match (ruling.exemption, ruling.max_age.num_days()) {
        (Some(_), _) => "exempt",
        (None, 30) => "30d",
        (None, 45) => "45d",
        (None, 60) => "60d",
        (None, 90) => "90d",
        (None, 180) => "180d",
        (None, 365) => "365d",
        (None, 1000) => "1000d",
        (None, days) => panic!("no rule has {days} days"),
    };
    (what, ruling.rule)
}

#[test]
fn the_first_rule_that_matches_decides() {
    let here = ("222222222222", "production");
    for (account, user, tags, expected) in [
        // Nothing matches.
        (here, ("/", "alpha"), &[][..], ("90d", None)),
        // Both user and path must match.
        (here, ("/service/", "svc-a"), &[], ("365d", Some(0))),
        (here, ("/service/deep/", "svc-a"), &[], ("365d", Some(0))),
        (here, ("/", "svc-a"), &[], ("90d", None)),
        (here, ("/service/", "a"), &[], ("90d", None)),
        // The whole name, and its case.
        (here, ("/service/", "my-svc-a"), &[], ("90d", None)),
        (here, ("/service/", "SVC-a"), &[], ("90d", None)),
        // The more general rule comes later.
        (here, ("/", "vendor-sync"), &[], ("exempt", Some(1))),
        (here, ("/", "vendor-other"), &[], ("180d", Some(2))),
        // ? is one character.
        (here, ("/ci/a/b/", "x"), &[], ("30d", Some(4))),
        (here, ("/ci/ab/", "x"), &[], ("90d", None)),
        // Accounts by name and by id.
        (("333333333333", "sandbox"), ("/", "s1"), &[], ("1000d", Some(5))),
        (("333333333333", "sandbox"), ("/", "t1"), &[], ("90d", None)),
        (("111111111111", ""), ("/", "x"), &[], ("60d", Some(6))),
        (("111111111111", "sandbox"), ("/", "s1"), &[], ("1000d", Some(5))),
        // All tags must match. Their keys' case does not matter.
        (here, ("/", "x"), &[("tier", "gold"), ("Team", "payments")], ("45d", Some(7))),
        (here, ("/", "x"), &[("tier", "gold")], ("90d", None)),
        (here, ("/", "x"), &[("tier", "silver"), ("team", "payments")], ("90d", None)),
        // Root is meant by its own name alone.
        (here, ("/", ROOT_USER), &[], ("exempt", Some(8))),
        (("111111111111", "vault"), ("/", ROOT_USER), &[], ("exempt", Some(8))),
        (("444444444444", "vault"), ("/", "x"), &[], ("exempt", Some(9))),
    ] {
        assert_eq!(decided(account, user, tags, NOW), expected, "{account:?} {user:?} {tags:?}");
    }
}

#[test]
fn no_glob_exempts_root() {
    let all = "rotation: { rules: [{ match: { user: '*' }, exempt: { reason: all } }] }";
    let policy = Config::parse(all, "all.yaml".as_ref()).expect("a configuration").policy;
    let csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
               <root_account>,arn:aws:iam::123456789012:root,true,2020-01-01T00:00:00Z,false,N/A\n";
    let report = Report::parse(csv.as_bytes()).expect("a report");
    let subject =
        Subject { account_id: "123456789012", account_name: "", user: &report.users[0], tags: &[] };
    assert_eq!(policy.ruling(&subject, at(NOW)).exemption, None);
}

#[test]
fn an_exemption_ends_with_its_date_and_the_next_rule_decides() {
    let here = ("222222222222", "production");
    for (user, now, expected) in [
        ("vendor-sync", "2026-07-01T23:59:59Z", ("exempt", Some(1))),
        ("vendor-sync", "2026-07-02T00:00:00Z", ("180d", Some(2))),
        ("timed", "2026-07-01T09:59:59Z", ("exempt", Some(3))),
        ("timed", "2026-07-01T10:00:00Z", ("90d", None)),
    ] {
        assert_eq!(decided(here, ("/", user), &[], now), expected, "{user} at {now}");
    }
}

#[test]
fn of_exemptions_that_follow_one_another_the_last_one_ends() {
    let policy = "rotation:
  rules:
    - { match: { user: a }, exempt: { until: 2026-12-01, reason: first } }
    - { match: { user: a }, exempt: { until: 2026-11-15, reason: shorter } }
    - { match: { user: '*' }, exempt: { until: 2027-03-01, reason: second } }
    - { match: { user: b }, exempt: { until: 2027-03-02, reason: third } }
    - { match: { user: a }, max_age: 30d }
    - { match: { user: b }, exempt: { reason: always } }";
    let policy = Config::parse(policy, "rules.yaml".as_ref()).expect("a configuration").policy;
    let csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
               a,arn:aws:iam::123456789012:user/a,false,N/A,false,N/A\n\
               b,arn:aws:iam::123456789012:user/b,false,N/A,false,N/A\n\
               c,arn:aws:iam::123456789012:user/c,false,N/A,false,N/A\n";
    let report = Report::parse(csv.as_bytes()).expect("a report");
    // A day ends with its last second.
    let end = Some(at("2027-03-02T00:00:00Z"));
    for (user, expected) in
        report.users.iter().zip([("first", end, 30), ("second", None, 90), ("second", end, 90)])
    {
        let subject = Subject { account_id: "123456789012", account_name: "", user, tags: &[] };
        let ruling = policy.ruling(&subject, at("2026-11-01T12:00:00Z"));
        let reason = ruling.exemption.expect("an exemption").reason.as_str();
        let days = ruling.max_age.num_days();
        assert_eq!((reason, ruling.exempt_until, days), expected, "{}", user.name);
        let is_ending = ruling.exemption_ending(at("2026-11-25T12:00:00Z")).is_some();
        assert!(!is_ending, "{}", user.name);
    }
}

#[test]
fn of_an_unknown_user_only_rules_for_the_whole_account_decide() {
    let policy = "rotation:
  max_age: 90d
  rules:
    - { match: { user: 'a*' }, exempt: { reason: x } }
    - { match: { path: /, account: prod }, max_age: 10d }
    - { match: { account: prod, tags: { team: x } }, max_age: 20d }
    - { match: { user: '*', path: '/*', account: prod }, max_age: 30d }
    - { match: { account: '111122223333' }, exempt: { until: 2026-12-01, reason: y } }
    - { match: { account: '1111*' }, max_age: 60d }";
    let policy = Config::parse(policy, "rules.yaml".as_ref()).expect("a configuration").policy;
    for (id, name, expected) in [
        ("123456789012", "prod", (30, false)),
        ("123456789012", "test", (90, false)),
        ("111122223333", "", (60, true)),
        ("111133333333", "", (60, false)),
    ] {
        let ruling = policy.ruling_of_account(id, name, at("2026-11-01T12:00:00Z"));
        assert_eq!(
            (ruling.max_age.num_days(), ruling.exemption.is_some()),
            expected,
            "{id} {name}"
        );
    }
}

#[test]
fn an_exempt_key_is_neither_unrotated_nor_due() {
    let exemption = Exemption { end: None, reason: "x".to_owned() };
    let (exemption, rule) = (Some(&exemption), Some(0));
    let ruling = Ruling { exemption, rule, ..Policy::default().default_ruling() };
    let verdict = ruling.judge(&key(true, Some(ROTATED)), at("2027-01-01T00:00:00Z"));
    assert_eq!((verdict.unrotated, verdict.due), (Some(false), None));
    assert_eq!(verdict.age.map(Age::days), Some(365.0));
    // Nobody asks how old it is.
    let verdict = ruling.judge(&key(true, None), at("2027-01-01T00:00:00Z"));
    assert_eq!((verdict.unrotated, verdict.status), (None, KeyStatus::Exempt));
    assert_eq!(ruling.judge(&key(false, None), at(NOW)).status, KeyStatus::Inactive);
}

#[test]
fn the_next_end_is_the_earliest_that_lies_ahead() {
    let policy = Config::parse(RULES, "rules.yaml".as_ref()).expect("a configuration").policy;
    let next = |now| policy.next_end(at(now));
    assert_eq!(next(NOW), Some(at("2026-07-01T10:00:00Z")));
    assert_eq!(next("2026-07-01T10:00:00Z"), Some(at("2026-07-02T00:00:00Z")));
    assert_eq!(next("2026-07-02T00:00:00Z"), None);
}
