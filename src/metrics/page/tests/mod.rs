mod controls;
mod encoder;
mod owners;
mod service_credentials;
mod unknown;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use expect_test::expect_file;

use super::*;
use crate::confirmation::{ListedKey, merge};
use crate::evidence::{AccountSummary, Evidence, Reading};
use crate::findings::Overview;
use crate::metrics::catalogue;
use crate::metrics::catalogue::Metric;
use crate::metrics::filter::name_pattern;
use crate::policy::KeyStatus;
use crate::report::Report;
use crate::service_credentials::{ServiceCredential, ServiceCredentials};
use crate::state::{Account, Attempt, Refresh, Tags, Tried};

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
    let mut every_kind =
        account("production", include_str!("../../../../tests/data/every-kind.csv"));
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
        root: Default::default(),
        summary: Reading::of(AccountSummary::default(), at(NOW)),
        password_policy: Reading::of(None, at(NOW)),
        root_virtual_mfa: Reading { failure: Some(Reason::AccessDenied), ..Reading::default() },
        user_policies: Reading::of(Arc::new([("gold".to_owned(), true)].into()), at(NOW)),
    };
    let mut govcloud = account("gov", include_str!("../../../../tests/data/govcloud-2013.csv"));
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
        (
            user.to_owned(),
            ServiceCredential { service, id, active, created, expires, listed_with: None },
        )
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

/// An access key of a made-up report: whether it is active, how many hours ago it was rotated, if the
/// report says so, and whether it was used.
type ReportedKey = Option<(bool, Option<i64>, bool)>;

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
                // AWS's slot of no key has no use.
                let used = used && (active || hours.is_some());
                format!("{active},{rotated},{}", if used { NOW } else { "N/A" })
            }
        });
        csv += &format!("{name},arn:aws:iam::123456789012:{resource},{first},{second}\n");
    }
    csv
}

/// Records the answer of a call at 11:00 about a user's keys.
fn confirm(account: &mut Account, user: &str, listed: Option<&[ListedKey]>) {
    let report = account.report.as_ref().expect("a report");
    let user = report.users.iter().find(|known| known.name == user).expect("a user");
    let keys = listed.map(|listed| merge(&user.keys, listed, None));
    Arc::make_mut(&mut account.confirmed).insert(&user.name, keys);
}

fn listed(id: &str, active: bool, created: &str) -> ListedKey {
    ListedKey { id: id.to_owned(), active, created: at(created) }
}

#[test]
fn the_page_is_the_golden_one() {
    let (text, series) = page(&Filter::default());
    expect_file!["../../../../tests/golden/page.txt"].assert_eq(&text);
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
