//! The page is what the encoder of the `prometheus` crate would write.

use prometheus::proto::{Gauge, LabelPair, Metric as Sample, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};
use proptest::prelude::*;

use super::*;
use crate::metrics::text::{Value, push_label};

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

pub fn labels_of(text: &str) -> Vec<LabelPair> {
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
