use std::collections::HashSet;
use std::time::Duration;

use expect_test::expect_file;
use prometheus::proto::{Gauge, LabelPair, Metric as Sample, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use proptest::prelude::*;

use super::*;
use crate::confirmation::{ListedKey, merge};
use crate::metrics::catalogue;
use crate::metrics::catalogue::Metric;
use crate::metrics::filter::name_pattern;
use crate::report::Report;
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
    every_kind.tags = Some(Arc::new(Tags {
        keys: config().tag_keys(),
        by_user: [
            ("rotated".to_owned(), tags(&[("Team", "payments"), ("Cost-Center", "42\"7")])),
            ("gold".to_owned(), tags(&[("tier", "gold")])),
        ]
        .into(),
    }));
    let mut govcloud = account("gov", include_str!("../../../tests/data/govcloud-2013.csv"));
    govcloud.refresh.last =
        Some(Attempt { failure: Some(Reason::Throttled), duration: Duration::from_secs(3) });
    govcloud.refresh.failures.count(Reason::Throttled);
    let mut denied = Account::pending("333333333333", "denied \"by\" policy");
    denied.refresh.last =
        Some(Attempt { failure: Some(Reason::AccessDenied), duration: Duration::ZERO });
    denied.refresh.failures.count(Reason::AccessDenied);
    govcloud.refresh.confirmation = Tried::Failed;
    govcloud.refresh.waiting = Some(7);
    govcloud.refresh.name = Tried::Failed;
    let pending = Account::pending("444444444444", "");
    State::new([every_kind, govcloud, denied, pending].map(Arc::new), Tried::Ok, true)
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

/// Takes over what a call at 11:00 said of a user's keys.
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

/// What the crate's encoder writes for one family with these samples.
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

/// What this module writes for the same.
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
        // The crate leaves an empty help out; the catalogue has none.
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
