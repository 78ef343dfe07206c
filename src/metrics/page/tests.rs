use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use expect_test::expect_file;
use prometheus::proto::{Gauge, LabelPair, Metric as Sample, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use proptest::prelude::*;

use super::*;
use crate::confirmation::{ListedKey, merge};
use crate::controls::Control;
use crate::evidence::{AccountSummary, Evidence, Reading};
use crate::findings::Overview;
use crate::metrics::catalogue;
use crate::metrics::catalogue::Metric;
use crate::metrics::filter::name_pattern;
use crate::report::Report;
use crate::service_credentials::ServiceCredentials;
use crate::state::{Attempt, Refresh, Tags, Tried};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}

const NOW: &str = "2026-11-01T12:00:00Z";

fn account(name: &str, csv: &str) -> Account {
    let report = Report::parse(csv.as_bytes()).expect("a report");
    let id = report.account_id.clone().expect("an account");
    Account {
        report: Some(Arc::new(report)),
        generated: Some(at("2026-11-01T10:00:00Z")),
        refresh: Refresh {
            last: Some(Attempt { failure: None, duration: Duration::from_millis(125) }),
            last_success: Some(at("2026-11-01T11:57:00Z")),
            ..Refresh::default()
        },
        ..Account::pending(&id, name)
    }
}

/// One account with every kind of key, an old one in another partition whose last refresh failed,
/// one that never worked, and one that was not tried yet.
fn state() -> State {
    let mut every_kind = account("production", include_str!("../../../tests/data/every-kind.csv"));
    let old = "2026-01-01T00:00:00Z";
    confirm(&mut every_kind, "confirmed", Some(&[listed("AKIACONFIRMED", true, old)]));
    confirm(&mut every_kind, "cleared-deactivated", Some(&[listed("AKIAINACTIVE", false, old)]));
    let new = "2026-11-01T10:30:00Z";
    confirm(&mut every_kind, "cleared-rotated", Some(&[listed("AKIAROTATED", true, new)]));
    confirm(&mut every_kind, "cleared-deleted", Some(&[]));
    confirm(&mut every_kind, "cleared-user-gone", None);
    every_kind.refresh.confirmation = Tried::Ok;
    every_kind.refresh.waiting = Some(0);
    every_kind.refresh.tags = Tried::Ok;
    every_kind.refresh.name = Tried::Ok;
    let tags = |tags: &[(&str, &str)]| {
        tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    };
    let users = every_kind.report.iter().flat_map(|report| &report.users);
    let mut by_user: BTreeMap<_, _> = users.map(|user| (user.name.clone(), Vec::new())).collect();
    by_user.extend([
        ("rotated".to_owned(), tags(&[("Team", "payments"), ("Cost-Center", "42\"7")])),
        ("gold".to_owned(), tags(&[("tier", "gold")])),
    ]);
    every_kind.tags =
        Some(Arc::new(Tags { keys: config().tag_keys(), by_user, ..Tags::default() }));
    every_kind.service_credentials = Some(Arc::new(service_credentials()));
    every_kind.refresh.service_credentials = Tried::Ok;
    every_kind.evidence = Evidence {
        summary: Reading::of(AccountSummary::default(), at(NOW)),
        password_policy: Reading::of(None, at(NOW)),
        root_virtual_mfa: Reading { failure: Some(Reason::AccessDenied), ..Reading::default() },
        user_policies: Reading::of(Arc::new([("gold".to_owned(), true)].into()), at(NOW)),
    };
    let mut govcloud = account("gov", include_str!("../../../tests/data/govcloud-2013.csv"));
    govcloud.refresh.last =
        Some(Attempt { failure: Some(Reason::Throttled), duration: Duration::from_secs(3) });
    govcloud.refresh.failures.count(Reason::Throttled);
    let mut denied = Account::pending("333333333333", "denied \"by\" policy");
    denied.refresh.last =
        Some(Attempt { failure: Some(Reason::AccessDenied), duration: Duration::ZERO });
    denied.refresh.failures.count(Reason::AccessDenied);
    govcloud.refresh.confirmation = Tried::Failed;
    govcloud.refresh.service_credentials = Tried::Failed;
    govcloud.refresh.waiting = Some(7);
    govcloud.refresh.name = Tried::Failed;
    let pending = Account::pending("444444444444", "");
    State::new([every_kind, govcloud, denied, pending].map(Arc::new), Tried::Ok, true)
}

/// Service-specific credentials of every kind: without an end, with one that is near, far or past, inactive,
/// young, of exempt users, with another limit, and of users whom the report does not have.
fn service_credentials() -> ServiceCredentials {
    let [old, young] = ["2026-01-01T00:00:00Z", "2026-10-01T00:00:00Z"];
    [
        ("console", "bedrock", "NEVER", true, old, None),
        ("console", "bedrock", "EXPIRED", true, old, Some("2026-11-01T12:00:00Z")),
        ("rotated", "bedrock", "ENDS", true, old, Some("2026-11-20T00:00:00Z")),
        ("rotated", "logs", "FAR", true, old, Some("2127-01-01T00:00:00Z")),
        ("two-keys", "codecommit", "INACTIVE", false, old, None),
        ("two-keys", "cassandra", "YOUNG", true, young, None),
        ("exempt", "bedrock", "EXEMPT", true, old, None),
        ("gold", "bedrock", "STRICT", true, young, None),
        ("not-in-the-report\"", "bedrock", "UNREPORTED", true, old, None),
        ("cleared-user-gone", "bedrock", "GONE", true, old, None),
    ]
    .into_iter()
    .map(|(user, service, id, active, created, expires)| {
        let service = format!("{service}.amazonaws.com").into();
        let (created, expires) = (at(created), expires.map(at));
        let id = format!("ACCA{id}");
        (user.to_owned(), ServiceCredential { service, id, active, created, expires })
    })
    .collect()
}

/// Rules that exempt one key for good, and one until a day that has passed, and that let one become
/// older and one less old.
const CONFIG: &str = r#"
rotation:
  rules:
    - match: { user: exempt }
      exempt: { reason: "vendor says \"never\"" }
    - match: { user: exempt-until }
      exempt: { until: 2027-03-01, reason: until the migration }
    - match: { user: exemption-ended }
      exempt: { until: 2026-10-31, reason: too late }
    - match: { user: longer }
      max_age: 365d
    - match: { tags: { tier: gold } }
      max_age: 30d
labels: { user_tags: [team, cost-center] }
"#;

fn config() -> Config {
    Config::parse(CONFIG, "config.yaml".as_ref()).expect("a configuration")
}

fn page(filter: &Filter) -> (String, usize) {
    let mut page = String::new();
    let series = write(&state(), &config(), filter, at(NOW), &mut |part| page.push_str(part));
    (page, series)
}

/// Records the answer of a call at 11:00 about a user's keys.
fn confirm(account: &mut Account, user: &str, listed: Option<&[ListedKey]>) {
    let report = account.report.as_ref().expect("a report");
    let user = report.users.iter().find(|known| known.name == user).expect("a user");
    let keys = listed.map(|listed| merge(&user.keys, listed));
    Arc::make_mut(&mut account.confirmed).insert(&user.name, keys);
}

fn listed(id: &str, active: bool, created: &str) -> ListedKey {
    ListedKey { id: id.to_owned(), active, created: at(created) }
}

#[test]
fn the_page_is_the_golden_one() {
    let (text, series) = page(&Filter::default());
    expect_file!["../../../tests/golden/page.txt"].assert_eq(&text);
    assert_eq!(samples(&text).count(), series);
}

/// Sample lines as (everything before the value, value).
fn samples(text: &str) -> impl Iterator<Item = (&str, f64)> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        (series, value.parse().expect("a number"))
    })
}

#[test]
fn every_family_of_the_page_is_on_the_golden_one() {
    let (text, _) = page(&Filter::default());
    for metric in catalogue::ALL {
        let own = matches!(metric.group, catalogue::Group::Exporter | catalogue::Group::Process);
        let heads = text.matches(&format!("# TYPE {} ", metric.name)).count();
        assert_eq!(heads, usize::from(!own), "{}", metric.name);
    }
}

#[test]
fn verdicts_and_counts_agree() {
    let (text, _) = page(&Filter::default());
    for id in ["123456789012", "210987654321"] {
        let of_account = |name: &str| {
            let start = format!("{name}{{account_id=\"{id}\"");
            samples(&text).filter(move |(series, _)| series.starts_with(&start))
        };
        let sum: f64 = of_account("iam_access_key_unrotated").map(|(_, value)| value).sum();
        let total: Vec<f64> =
            of_account("iam_unrotated_keys_total").map(|(_, value)| value).collect();
        assert_eq!(total, [sum]);
        assert!(sum > 0.0);
    }
}

/// The number of violations that a page shows for a control, and of those by user.
fn violations(text: &str, control: &str) -> (f64, f64) {
    let label = format!("control=\"{control}\"");
    let sum = |name: &str| {
        let of_family = |series: &str| series.starts_with(name) && series.contains(&label);
        samples(text).filter(|(series, _)| of_family(series)).map(|(_, value)| value).sum()
    };
    (sum("iam_control_violations{"), sum("iam_control_violation{"))
}

#[test]
fn violations_of_users_add_up_to_those_of_their_control() {
    let (text, _) = page(&Filter::default());
    for control in Control::all() {
        let (all, of_users) = violations(&text, control.name());
        let is_of_user = !control.name().starts_with("password_");
        assert_eq!(of_users, if is_of_user { all } else { 0.0 }, "{}", control.name());
    }
    assert!(violations(&text, "access_keys_rotated").0 > 5.0);
}

#[test]
fn a_control_that_is_not_decided_has_no_number_and_says_why() {
    let (text, _) = page(&Filter::default());
    let id = "account_id=\"123456789012\",control=\"root_hardware_mfa\"";
    let no_mfa = format!("iam_control_violations{{{id}}} 1\n");
    assert!(text.contains(&no_mfa), "root has no MFA, so no list is needed");
    let gov = "account_id=\"210987654321\",control=\"password_length\"";
    assert!(!text.contains(&format!("iam_control_violations{{{gov}}}")));
    let undecided = format!(
        "iam_control_undecided{{{gov},reason=\"not_read\",missing=\"iam:GetAccountPasswordPolicy\"}} 1\n"
    );
    assert!(text.contains(&undecided));
}

#[test]
fn controls_and_users_with_violations_can_be_switched_off() {
    let names = |controls: &str| -> HashSet<String> {
        let config = Config::parse(controls, "config.yaml".as_ref()).expect("a configuration");
        let text = text(&state(), &config, &Filter::default(), at(NOW));
        let names = samples(&text).filter_map(|(series, _)| series.split('{').next());
        names.filter(|name| name.contains("control")).map(str::to_owned).collect()
    };
    let all = names("");
    assert_eq!(all.len(), 5, "{all:?}");
    assert_eq!(names("controls: true"), all);
    let without_users = names("controls: { users: false }");
    assert_eq!(all.difference(&without_users).collect::<Vec<_>>(), ["iam_control_violation"]);
    assert_eq!(names("controls: false"), HashSet::new());
}

#[test]
fn service_credentials_are_judged_like_keys_and_counted_apart() {
    let (text, _) = page(&Filter::default());
    let of = |name: &str| -> BTreeMap<String, f64> {
        let samples = samples(&text).filter(|(series, _)| series.starts_with(&format!("{name}{{")));
        let id =
            |series: &str| series.split("credential_id=\"ACCA").nth(1).unwrap_or(series).to_owned();
        samples.map(|(series, value)| (id(series).replace("\"}", ""), value)).collect()
    };
    let expected = [
        ("ENDS", 1.0),
        ("EXEMPT", 0.0),
        ("EXPIRED", 0.0),
        ("FAR", 1.0),
        ("INACTIVE", 0.0),
        ("NEVER", 1.0),
        ("STRICT", 1.0),
        // No rule can decide, so the default does.
        ("UNREPORTED", 1.0),
        ("YOUNG", 0.0),
    ]
    .map(|(id, unrotated)| (id.to_owned(), unrotated));
    assert_eq!(of("iam_service_specific_credential_unrotated"), expected.into());
    let expiring = of("iam_service_specific_credential_expiry_timestamp_seconds");
    assert_eq!(expiring.into_keys().collect::<Vec<_>>(), ["ENDS", "EXPIRED"]);
    let active = of("iam_service_specific_credential_active");
    let inactive = active.into_iter().filter(|(_, active)| *active == 0.0).map(|(id, _)| id);
    assert_eq!(inactive.collect::<Vec<_>>(), ["EXPIRED", "INACTIVE"]);
    let number: Vec<f64> = of("iam_unrotated_service_credentials").into_values().collect();
    assert_eq!(number, [5.0], "of the other accounts it is not known");
    let found = samples(&text).filter(|(series, _)| {
        series.starts_with("iam_owner_findings{")
            && series.contains("finding=\"unrotated_service_credential\"")
    });
    assert_eq!(found.map(|(_, number)| number).sum::<f64>(), 5.0);
}

#[test]
fn only_accounts_that_were_read_have_owners_and_one_without_keys_has_one_with_zeros() {
    let no_keys = account("empty", &csv(&[([None, None], 0)]));
    let pending = Account::pending("444444444444", "");
    let state = State::new([no_keys, pending].map(Arc::new), Tried::Ok, true);
    let text = text(&state, &config(), &Filter::default(), at(NOW));
    let of_owners: Vec<_> =
        samples(&text).filter(|(series, _)| series.starts_with("iam_owner_")).collect();
    assert_eq!(of_owners.len(), 9, "{of_owners:?}");
    let labels = "account_id=\"123456789012\",account_name=\"empty\"";
    for (series, value) in of_owners {
        let (name, rest) = series.split_once('{').expect("labels");
        assert!(rest.starts_with(labels), "{series}");
        let has_tags = rest.contains(",tag_team=\"\",tag_cost_center=\"\"");
        assert_eq!(has_tags, name != "iam_owner_root_access_keys", "{series}");
        assert_eq!(value, 0.0, "{series}");
    }
}

#[test]
fn without_a_row_of_root_its_keys_are_those_that_the_summary_knows_or_not_known() {
    let csv = |partition: &str| {
        let head = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated";
        format!("{head}\nann,arn:{partition}:iam::123456789012:user/ann,false,N/A,false,N/A\n")
    };
    let root_keys = |partition: &str, summary: Option<bool>, controls: &str| {
        let mut account = account("production", &csv(partition));
        let summary =
            summary.map(|keys| AccountSummary { root_keys: Some(keys), ..Default::default() });
        account.evidence.summary =
            summary.map_or_else(Reading::default, |summary| Reading::of(summary, at(NOW)));
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let config = Config::parse(controls, "config.yaml".as_ref()).expect("a configuration");
        let text = text(&state, &config, &Filter::default(), at(NOW));
        let found = samples(&text).filter(|(series, _)| series.starts_with("iam_owner_root"));
        found.map(|(_, keys)| keys).collect::<Vec<_>>()
    };
    assert_eq!(root_keys("aws", None, ""), [0.0; 0], "not known is not 0");
    assert_eq!(root_keys("aws", None, "controls: false"), [0.0; 0]);
    assert_eq!(root_keys("aws", Some(true), ""), [1.0]);
    assert_eq!(root_keys("aws", Some(false), ""), [0.0]);
    assert_eq!(root_keys("aws-cn", None, ""), [0.0], "China has no root user");
    assert_eq!(root_keys("aws-cn", None, "controls: false"), [0.0]);
}

#[test]
fn the_keys_of_a_root_whose_row_cannot_be_read_stay_and_none_is_not_known() {
    let root_keys = |first: &str, second: &str| {
        let head = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
                    ann,arn:aws:iam::123456789012:user/ann,false,N/A,false,N/A\n<root_account>,arn:aws:iam::123456789012:root";
        let before = account(
            "production",
            &format!("{head},{first},2020-01-01T00:00:00Z,{second},2020-01-01T00:00:00Z"),
        );
        let mut account = account("production", head);
        let report = account.report.as_mut().expect("a report");
        report.keep_missing(before.report.as_ref().expect("a report"));
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let text = text(&state, &Config::default(), &Filter::default(), at(NOW));
        let value = |name: &str| {
            let mut found = samples(&text).filter(|(series, _)| series.starts_with(name));
            found.next().map(|(_, value)| value)
        };
        (value("iam_owner_root_access_keys"), value("iam_unrotated_keys_total"))
    };
    assert_eq!(root_keys("true", "true"), (Some(2.0), Some(2.0)));
    assert_eq!(root_keys("false", "true"), (Some(1.0), Some(1.0)));
    assert_eq!(root_keys("false", "false"), (None, Some(0.0)));
}

#[test]
fn a_report_without_the_time_of_an_old_key_ends_no_alert() {
    let report = |key: &str| {
        let head = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated";
        format!(
            "{head}\n<root_account>,arn:aws:iam::123456789012:root,{key},false,N/A\n\
             ann,arn:aws:iam::123456789012:user/ann,{key},false,N/A\n"
        )
    };
    let whole = "true,2020-01-01T00:00:00Z";
    let before = account("production", &report(whole));
    let twice = |one: &str, other: &str| {
        let other = report(other);
        report(one) + other.split_once('\n').expect("a header").1
    };
    for csv in [
        report("true,N/A"),
        report("true,"),
        report("true,garbage"),
        twice(whole, "true,N/A"),
        twice("true,N/A", whole),
    ] {
        let mut account = account("production", &csv);
        let report = account.report.as_mut().expect("a report");
        report.keep_missing(before.report.as_ref().expect("a report"));
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let text = text(&state, &config(), &Filter::default(), at(NOW));
        let value = |start: &str, label: &str| {
            let is_it = |series: &str| series.starts_with(start) && series.contains(label);
            samples(&text).filter(|(series, _)| is_it(series)).map(|(_, value)| value).sum::<f64>()
        };
        assert_eq!(value("iam_access_key_unrotated{", ""), 2.0, "{csv}");
        assert_eq!(value("iam_owner_findings{", "\"unrotated\""), 2.0, "{csv}");
        assert_eq!(value("iam_unrotated_keys_total", ""), 2.0, "{csv}");
        assert!(value("iam_credential_report_rejected_rows", "") >= 2.0, "{csv}");
    }
}

#[test]
fn a_root_without_keys_of_whom_another_row_is_rejected_has_no_known_number_of_keys() {
    let root = |active: bool| {
        let keys = [active.then_some((true, Some(3_000), false)), None];
        let text = csv(&[(keys, 0)]);
        text.lines().nth(1).expect("a row").to_owned()
    };
    let head = csv(&[]);
    let root_keys = |first: &str, second: &str| {
        let account = account("production", &format!("{head}{first}\n{second}\n"));
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let text = text(&state, &config(), &Filter::default(), at(NOW));
        let mut found = samples(&text).filter(|(series, _)| series.starts_with("iam_owner_root"));
        found.next().map(|(_, keys)| keys)
    };
    let (clean, with_key) = (root(false), root(true));
    let other_arn = with_key.replace("arn:aws:iam::123456789012:root", "garbage");
    let user = clean.replace("<root_account>", "ann").replace(":root", ":user/ann");
    assert_eq!(root_keys(&clean, &with_key), Some(1.0), "the worse of both");
    assert_eq!(root_keys(&clean, &clean), None, "which row is right is not known");
    assert_eq!(root_keys(&clean, &other_arn), None);
    assert_eq!(root_keys(&with_key, &clean), Some(1.0), "a key that is known stays");
    assert_eq!(root_keys(&clean, &user), Some(0.0));
    assert_eq!(root_keys(&clean, "short,row"), Some(0.0), "a row of somebody else");
}

#[test]
fn the_overview_counts_keys_and_service_credentials_as_the_page_does() {
    let (text, _) = page(&Filter::default());
    let overview = Overview::new(&state(), &config(), at(NOW));
    let total = |name: &str, label: &str| -> f64 {
        let is_wanted = |series: &str| series.starts_with(name) && series.contains(label);
        samples(&text).filter(|(series, _)| is_wanted(series)).map(|(_, value)| value).sum()
    };
    for status in KeyStatus::ALL {
        let number: usize = overview.accounts.iter().map(|account| account.count(status)).sum();
        let label = format!("status=\"{}\"", status.as_str());
        assert_eq!(number as f64, total("iam_owner_access_keys{", &label), "{label}");
    }
    let accounts = overview.accounts.iter();
    let unrotated: usize = accounts.map(|it| it.unrotated_service_credentials()).sum();
    assert_eq!(unrotated as f64, total("iam_unrotated_service_credentials", ""));
}

#[test]
fn a_service_credential_of_unknown_age_is_not_judged_and_counts_as_such() {
    let mut account = account("production", &csv(&[([None, None], 0), ([None, None], 0)]));
    let credential = |id: &str, active, created: &str| ServiceCredential {
        service: "bedrock.amazonaws.com".into(),
        id: id.to_owned(),
        active,
        created: at(created),
        expires: None,
    };
    let ahead = "2026-12-01T12:00:00Z";
    let credentials = [
        ("user-1", credential("REPORTED", true, ahead)),
        ("user-1", credential("INACTIVE", false, ahead)),
        ("user-1", credential("YOUNG", true, "2026-10-01T00:00:00Z")),
        ("not-in-the-report", credential("UNREPORTED", true, ahead)),
    ];
    let credentials = credentials.map(|(user, credential)| (user.to_owned(), credential));
    account.service_credentials = Some(Arc::new(credentials.into_iter().collect()));
    let state = State::new([Arc::new(account)], Tried::Ok, true);
    let text = text(&state, &config(), &Filter::default(), at(NOW));
    let not_judged = "iam_access_keys_not_judged{account_id=\"123456789012\"} 2\n";
    assert!(text.contains(not_judged), "{text}");
    assert_eq!(Overview::new(&state, &config(), at(NOW)).accounts[0].not_judged, 2);
}

#[test]
fn a_user_with_more_keys_than_the_report_shows_counts_as_not_judged_until_aws_listed_them() {
    let mut account = account("production", &csv(&[([None, None], 0), ([None, None], 0)]));
    let mut report = Report::clone(account.report.as_ref().expect("a report"));
    report.users.iter_mut().for_each(|user| user.additional_credentials = true);
    account.report = Some(Arc::new(report));
    let not_judged = |account: &Account| {
        let state = State::new([Arc::new(account.clone())], Tried::Ok, true);
        let text = text(&state, &config(), &Filter::default(), at(NOW));
        samples(&text)
            .find(|(series, _)| series.starts_with("iam_access_keys_not_judged"))
            .map(|(_, keys)| keys)
    };
    assert_eq!(not_judged(&account), Some(1.0), "root has two keys at most");
    confirm(&mut account, "user-1", Some(&[]));
    assert_eq!(not_judged(&account), Some(0.0));
}

#[test]
fn ages_that_tick_leave_the_parts_with_the_numbers_of_owners_as_they_were() {
    // At odd hours, so that no key becomes due soon or unrotated within a quarter of an hour.
    let key = |number: i64| Some((true, Some(2 * number + 1), true));
    let users: Vec<_> = (0..1_500).map(|number| ([key(number), None], 0)).collect();
    let team = |number| vec![("team".into(), format!("team-{}", number / 2).into())];
    let by_user = (1..1_500).map(|number| (format!("user-{number}"), team(number))).collect();
    let mut account = account("production", &csv(&users));
    account.tags = Some(Arc::new(Tags { keys: config().tag_keys(), by_user, ..Tags::default() }));
    let state = State::new([Arc::new(account)], Tried::Ok, true);
    let parts = |now| {
        let mut parts = Vec::new();
        let mut hand_on = |part: &str| parts.push(part.to_owned());
        write(&state, &config(), &Filter::default(), now, &mut hand_on);
        parts
    };
    let before = parts(at(NOW));
    let mut after = parts(at(NOW) + chrono::TimeDelta::minutes(15));
    after.retain(|part| !before.contains(part));
    let changed =
        |metric: &Metric| after.iter().any(|part| part.contains(&format!("\n{}{{", metric.name)));
    let moving = [catalogue::KEY_AGE, catalogue::OWNER_OLDEST_UNROTATED];
    assert!(moving.iter().all(changed));
    let at_rest = [catalogue::OWNER_KEYS, catalogue::OWNER_NEVER_USED, catalogue::OWNER_NEXT_DUE];
    assert!(!at_rest.iter().any(changed));
}

#[test]
fn series_are_unique_and_families_stand_in_one_block() {
    let (text, _) = page(&Filter::default());
    let mut series = HashSet::new();
    let mut families = Vec::new();
    for (labelled, _) in samples(&text) {
        assert!(series.insert(labelled), "{labelled} stands twice");
        let name = labelled.split('{').next().expect("a name");
        if families.last() != Some(&name) {
            families.push(name);
        }
    }
    let distinct: HashSet<_> = families.iter().collect();
    assert_eq!(distinct.len(), families.len());
}

#[test]
fn the_filter_decides_what_is_on_the_page() {
    let allow = name_pattern("iam_unrotated_keys_total|iam_access_key_.*").expect("a pattern");
    let deny = name_pattern("iam_access_key_(last|active).*").expect("a pattern");
    let (text, _) = page(&Filter::new(Some(allow), Some(deny)));
    let names: HashSet<_> =
        samples(&text).map(|(series, _)| series.split('{').next().expect("a name")).collect();
    let expected = [
        "iam_access_key_age_days",
        "iam_access_key_exemption_end_timestamp_seconds",
        "iam_access_key_info",
        "iam_access_key_never_used",
        "iam_access_key_rotation_due_timestamp_seconds",
        "iam_access_key_unrotated",
        "iam_unrotated_keys_total",
    ];
    assert_eq!(names, HashSet::from(expected));
}

#[test]
fn infinities_are_written_as_the_format_says() {
    assert_eq!(Value::from(f64::INFINITY).to_string(), "+Inf");
    assert_eq!(Value::from(f64::NEG_INFINITY).to_string(), "-Inf");
    assert_eq!(Value::from(f64::NAN).to_string(), "NaN");
}

/// The output of the crate's encoder for one family with these samples.
fn encoded(metric: &Metric, samples: &[([String; 2], f64)]) -> String {
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(MetricType::GAUGE);
    for (values, value) in samples {
        let mut sample = Sample::default();
        let labels = ["account_id", "user"].into_iter().zip(values).map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name(name.to_owned());
            label.set_value(value.clone());
            label
        });
        sample.set_label(labels.collect());
        let mut gauge = Gauge::default();
        gauge.set_value(*value);
        sample.set_gauge(gauge);
        family.mut_metric().push(sample);
    }
    let mut text = Vec::new();
    TextEncoder::new().encode(&[family], &mut text).expect("a family");
    String::from_utf8(text).expect("UTF-8")
}

/// This module's output for the same.
fn written(metric: &Metric, samples: &[([String; 2], f64)]) -> String {
    let filter = Filter::default();
    let mut text = String::new();
    let mut to = |part: &str| text.push_str(part);
    let mut page = Writer::new(&filter, &mut to);
    page.family(metric, |family| {
        for ([account, user], value) in samples {
            let mut labels = String::new();
            push_label(&mut labels, "account_id", account);
            push_label(&mut labels, "user", user);
            family.sample(&[&labels], *value);
        }
    });
    page.finish();
    text
}

proptest! {
    #[test]
    fn lines_are_those_of_the_crates_encoder(
        samples in proptest::collection::vec(
            // Infinities apart: the crate writes `inf`, which the format does not know.
            ([any::<String>(), "[\\\\\"\n a-z]{0,8}"], any::<f64>().prop_filter("finite", |value| value.is_finite())),
            1..10,
        ),
        help in any::<String>(),
    ) {
        let help: &'static str = help.leak();
        let metric = Metric { help, ..catalogue::USER_CREATED };
        // The crate leaves an empty help out. The catalogue has none.
        prop_assume!(!help.is_empty());
        prop_assert_eq!(written(&metric, &samples), encoded(&metric, &samples));
    }

    #[test]
    fn integers_are_written_as_the_crate_writes_floats(value in -(1_i64 << 53)..(1_i64 << 53)) {
        prop_assert_eq!(Value::from(value).to_string(), (value as f64).to_string());
    }
}

/// Every line of the golden page as the crate's encoder writes it: the page's text, read back into
/// families and encoded again.
#[test]
fn the_page_is_what_the_crates_encoder_would_write() {
    let (text, _) = page(&Filter::default());
    let mut families: Vec<MetricFamily> = Vec::new();
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a help text");
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            families.push(family);
            continue;
        }
        let family = families.last_mut().expect("a family");
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let counter = kind.ends_with(" counter");
            family.set_field_type(if counter { MetricType::COUNTER } else { MetricType::GAUGE });
            continue;
        }
        family.mut_metric().push(sample_of(line));
    }
    let mut encoded = Vec::new();
    TextEncoder::new().encode(&families, &mut encoded).expect("families");
    // Infinities apart: the crate writes `inf`, which the format does not know.
    let encoded = String::from_utf8(encoded).expect("UTF-8").replace(" inf\n", " +Inf\n");
    assert_eq!(encoded, text);
}

fn sample_of(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let value: f64 = value.parse().expect("a number");
    let mut sample = Sample::default();
    let labels = series.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
    sample.set_label(labels_of(labels));
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    sample.set_gauge(gauge);
    let mut counter = prometheus::proto::Counter::default();
    counter.set_value(value);
    sample.set_counter(counter);
    sample
}

fn labels_of(text: &str) -> Vec<LabelPair> {
    let mut labels = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next().expect("a closing quote") {
                (end, '"') => break end,
                (_, '\\') => match chars.next().expect("an escaped character").1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        let mut label = LabelPair::default();
        label.set_name(name.trim_start_matches(',').to_owned());
        label.set_value(value);
        labels.push(label);
        rest = &after[end + 1..];
    }
    labels
}

/// An access key of a made-up report: whether it is active, how many hours ago it was rotated, if the
/// report says so, and whether it was used.
type ReportedKey = Option<(bool, Option<i64>, bool)>;

fn reported_key() -> impl Strategy<Value = ReportedKey> {
    let hours = proptest::option::weighted(0.9, -24_i64..4_000);
    proptest::option::of((any::<bool>(), hours, any::<bool>()))
}

/// A report of these users, the first of whom is root. Their numbers say which tag they have.
fn csv(users: &[([ReportedKey; 2], usize)]) -> String {
    let mut csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date\n".to_owned();
    for (number, (keys, _)) in users.iter().enumerate() {
        let (name, resource) = match number {
            0 => ("<root_account>".to_owned(), "root".to_owned()),
            number => (format!("user-{number}"), format!("user/user-{number}")),
        };
        let [first, second] = keys.map(|key| match key {
            None => "false,N/A,N/A".to_owned(),
            Some((active, hours, used)) => {
                let rotated = hours.map_or("N/A".to_owned(), |hours| {
                    (at(NOW) - chrono::TimeDelta::hours(hours)).to_rfc3339()
                });
                format!("{active},{rotated},{}", if used { NOW } else { "N/A" })
            }
        });
        csv += &format!("{name},arn:aws:iam::123456789012:{resource},{first},{second}\n");
    }
    csv
}

/// The labels of a series, and those of them that tell its owner.
fn labels_and_owner(
    series: &str,
    owners: &BTreeMap<String, BTreeMap<String, String>>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let (_, labels) = series.split_once('{').expect("labels");
    let mut labels: BTreeMap<String, String> = labels_of(labels.trim_end_matches('}'))
        .into_iter()
        .map(|label| (label.name().to_owned(), label.value().to_owned()))
        .collect();
    let owner = match labels.get("user") {
        Some(user) => owners[user].clone(),
        None => labels.clone().into_iter().filter(|(name, _)| name.starts_with("tag_")).collect(),
    };
    labels.retain(|name, _| !name.starts_with("tag_"));
    (labels, owner)
}

proptest! {
    /// The metrics of owners say the same as those of keys, put together by tags.
    #[test]
    fn owners_add_up_to_the_keys_of_the_page(
        users in proptest::collection::vec(([reported_key(), reported_key()], 0_usize..3), 1..12),
        (has_labels, knows_tags) in any::<(bool, bool)>(),
        (max_age, warn_before) in (1_i64..150, 1_i64..60),
    ) {
        let config = format!(
            "rotation:\n\
             \x20 max_age: {max_age}d\n\
             \x20 warn_before: {warn_before}d\n\
             \x20 rules:\n\
             \x20   - {{ match: {{ user: user-1 }}, exempt: {{ until: 2027-01-01, reason: x }} }}\n\
             \x20   - {{ match: {{ user: user-2 }}, exempt: {{ until: 2026-10-01, reason: x }} }}\n\
             \x20   - {{ match: {{ user: user-3 }}, exempt: {{ reason: x }} }}\n\
             \x20   - {{ match: {{ tags: {{ team: b }} }}, max_age: 30d }}\n\
             labels: {{ user_tags: {} }}\n",
            if has_labels { "[team]" } else { "[]" }
        );
        let config = Config::parse(&config, "config.yaml".as_ref()).expect("a configuration");
        let teams = ["", "a\\\"", "b"];
        let tagged = users.iter().enumerate().skip(1).filter(|(_, (_, team))| *team > 0);
        let by_user = tagged
            .map(|(number, (_, team))| {
                (format!("user-{number}"), vec![("Team".into(), teams[*team].into())])
            })
            .collect();
        let tags = Tags { keys: config.tag_keys(), by_user, ..Tags::default() };
        let mut account = account("production", &csv(&users));
        account.tags = knows_tags.then(|| Arc::new(tags));
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let text = text(&state, &config, &Filter::default(), at(NOW));

        let owners: BTreeMap<String, BTreeMap<String, String>> = users
            .iter()
            .enumerate()
            .map(|(number, (_, team))| {
                let user = match number {
                    0 => "<root_account>".to_owned(),
                    number => format!("user-{number}"),
                };
                let team = if knows_tags && number > 0 { teams[*team] } else { "" };
                let tag = has_labels.then(|| ("tag_team".to_owned(), team.to_owned()));
                (user, tag.into_iter().collect())
            })
            .collect();
        // The values of a metric by owner.
        let by_owner = |metric: &str, wanted: Option<&str>| {
            let mut values: BTreeMap<_, Vec<f64>> = BTreeMap::new();
            for (series, value) in samples(&text) {
                if series.split('{').next() != Some(metric) {
                    continue;
                }
                let (labels, owner) = labels_and_owner(series, &owners);
                let kind = labels.get("status").or_else(|| labels.get("finding"));
                if wanted.is_none_or(|wanted| kind.is_some_and(|kind| kind == wanted)) {
                    values.entry(owner).or_default().push(value);
                }
            }
            values
        };
        let total = |metric: &str, status: Option<&str>| -> f64 {
            by_owner(metric, status).into_values().flatten().sum()
        };
        let count = |metric: &str| by_owner(metric, None).into_values().flatten().count() as f64;
        let of_owners = |status| total("iam_owner_access_keys", Some(status));

        prop_assert_eq!(of_owners("unrotated"), total("iam_unrotated_keys_total", None));
        prop_assert_eq!(of_owners("not_judged"), total("iam_access_keys_not_judged", None));
        prop_assert_eq!(of_owners("inactive"), total("iam_access_keys", Some("inactive")));
        prop_assert_eq!(total("iam_owner_access_keys", None), count("iam_access_key_active"));
        let active_keys = |keys: &[ReportedKey; 2]| {
            keys.iter().flatten().filter(|(active, ..)| *active).copied().collect::<Vec<_>>()
        };
        let never_used = users.iter().flat_map(|(keys, _)| active_keys(keys));
        let never_used = never_used.filter(|(_, _, used)| !used).count() as f64;
        prop_assert_eq!(total("iam_owner_access_keys_never_used", None), never_used);
        for status in ["unrotated", "due_soon"] {
            prop_assert_eq!(total("iam_owner_findings", Some(status)), of_owners(status));
        }
        let findings = by_owner("iam_owner_findings", None);
        prop_assert!(findings.values().flatten().all(|keys| *keys > 0.0));
        let most_urgent = by_owner("iam_owner_most_urgent_finding", None);
        prop_assert!(most_urgent.keys().eq(findings.keys()));
        for (owner, keys) in &most_urgent {
            // The page has findings in the order of urgency, too.
            prop_assert_eq!(keys, &findings[owner][..1]);
        }
        let less_urgent = by_owner("iam_owner_less_urgent_findings", None);
        prop_assert!(less_urgent.keys().eq(findings.keys()));
        for (owner, keys) in &less_urgent {
            // A key can have several findings.
            let others = &findings[owner][1..];
            prop_assert!(keys[0] <= others.iter().sum::<f64>());
            prop_assert!(keys[0] + most_urgent[owner][0] >= others.iter().copied().fold(0.0, f64::max));
        }
        let of_root = active_keys(&users[0].0).len() as f64;
        prop_assert_eq!(total("iam_owner_root_access_keys", None), of_root);

        let active = by_owner("iam_access_key_active", None);
        let shown = by_owner("iam_owner_access_keys", None);
        for statuses in shown.values() {
            prop_assert_eq!(statuses.len(), 6);
        }
        if active.is_empty() {
            prop_assert_eq!(shown.len(), 1);
        } else {
            prop_assert!(shown.keys().eq(active.keys()), "{:?} {:?}", shown, active);
        }
        let [unrotated, oldest, ages, due, next_due, end, next_end] = [
            "iam_access_key_unrotated",
            "iam_owner_oldest_unrotated_age_days",
            "iam_access_key_age_days",
            "iam_access_key_rotation_due_timestamp_seconds",
            "iam_owner_next_rotation_due_timestamp_seconds",
            "iam_access_key_exemption_end_timestamp_seconds",
            "iam_owner_next_exemption_end_timestamp_seconds",
        ]
        .map(|metric| by_owner(metric, None));
        let unrotated_of_owners = by_owner("iam_owner_access_keys", Some("unrotated"));
        let now = at(NOW).timestamp() as f64;
        let earliest = |times: Option<&Vec<f64>>, is_ahead: &dyn Fn(f64) -> bool| {
            let times = times.into_iter().flatten().copied().filter(|time| is_ahead(*time));
            times.min_by(f64::total_cmp).map(|time| vec![time])
        };
        for owner in shown.keys() {
            let verdicts = unrotated.get(owner).into_iter().flatten();
            let number: f64 = verdicts.clone().sum();
            prop_assert_eq!(&unrotated_of_owners[owner], &[number]);
            // A key has both an age and a verdict, or neither.
            let ages = verdicts.zip(ages.get(owner).into_iter().flatten());
            let ages = ages.filter(|(verdict, _)| **verdict == 1.0).map(|(_, age)| *age);
            prop_assert_eq!(&oldest[owner], &[ages.fold(0.0, f64::max)]);
            let expected = earliest(due.get(owner), &|time| time > now);
            prop_assert_eq!(next_due.get(owner), expected.as_ref());
            let expected = earliest(end.get(owner), &f64::is_finite);
            prop_assert_eq!(next_end.get(owner), expected.as_ref());
        }
    }
}
