//! The exporter's own metrics: registered, gathered and encoded by the `prometheus` crate when a scrape
//! asks for them.

use std::env::consts::{ARCH, OS};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::catalogue::{self, Metric};
use super::filter::Filter;
use super::gzip::Tail;
use super::page::Page;
use crate::shard::Shard;
use crate::state::{State, Tried};
use crate::version::{REVISION, RUSTC, VERSION};

/// The exporter's own metrics. Clones share them.
#[derive(Debug, Clone)]
pub struct ExporterMetrics {
    registry: Registry,
    filter: Filter,
    /// Requests to AWS.
    pub aws_requests: AwsRequests,
    /// Open connections.
    pub http_connections: IntGauge,
    /// Connections that could not be accepted.
    pub http_accept_failures: IntCounter,
    http_requests: IntCounterVec,
    http_refused: IntCounterVec,
    /// Without labels. A plain gauge would be 0 without a web configuration file.
    web_reload_successful: IntGaugeVec,
    accounts: IntGaugeVec,
    /// Without labels. A plain gauge would be 0 before anything is known.
    unidentified_accounts: IntGaugeVec,
    discovery_success: IntGauge,
    shard: IntGauge,
    shards: IntGauge,
    reload_successful: IntGauge,
    reload_success: IntGauge,
    page_series: IntGauge,
    page_bytes: IntGaugeVec,
    page_rendered: Gauge,
    page_render_duration: Gauge,
    recent: Arc<Mutex<Recent>>,
}

/// The last result, and when it was gathered.
type Recent = Option<(Instant, Arc<Tail>)>;

/// Further scrapes within this time get the same metrics. A single Prometheus never scrapes that often.
/// With 16 connections at once, throughput is 0.81 of nginx's with it and 0.69 without it; with one
/// connection, 1.23 and 0.91 (medians of three alternating rounds on a busy machine).
const RECENT: Duration = Duration::from_millis(50);

/// Data from requests to AWS: their number, and AWS's time. Clones share it.
#[derive(Debug, Clone)]
pub struct AwsRequests {
    counts: IntCounterVec,
    /// Without labels. A plain gauge would be 0 before the first answer.
    clock_skew: IntGaugeVec,
    has_clock_skew: Arc<AtomicBool>,
}

/// Why a connection or a request was refused: the closed set that is the label `reason` of
/// `iam_exporter_http_refused_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No password, a wrong one, or an unknown user.
    Password,
    /// The client's certificate is missing, or not accepted.
    Certificate,
    /// An address asked too often.
    Rate,
    /// Too many passwords were to be checked, or too many pages to be rendered.
    Busy,
    /// The TLS handshake failed for another reason.
    Handshake,
    /// There were too many connections.
    Connections,
}

impl Refusal {
    /// All of them, in the order of their definition.
    pub const ALL: [Refusal; 6] = [
        Refusal::Password,
        Refusal::Certificate,
        Refusal::Rate,
        Refusal::Busy,
        Refusal::Handshake,
        Refusal::Connections,
    ];

    /// As it is in the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Password => "password",
            Refusal::Certificate => "certificate",
            Refusal::Rate => "rate",
            Refusal::Busy => "busy",
            Refusal::Handshake => "handshake",
            Refusal::Connections => "connections",
        }
    }
}

impl ExporterMetrics {
    /// All of them, with those of the process if the platform has them. `filter` selects the ones that
    /// are exposed. Requests to AWS are counted from 0 for each of the (service, operation) pairs.
    pub fn new(
        filter: Filter,
        aws_operations: impl IntoIterator<Item = (&'static str, &'static str)>,
    ) -> ExporterMetrics {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        if let Ok(process) = super::process::Process::open() {
            register(&registry, process);
        }
        let build_info = vec(&registry, &catalogue::BUILD_INFO, GaugeVec::new);
        build_info.with_label_values(&[VERSION, REVISION, RUSTC, OS, ARCH]).set(1.0);
        let metrics = ExporterMetrics {
            aws_requests: AwsRequests {
                counts: vec(&registry, &catalogue::AWS_REQUESTS, IntCounterVec::new),
                clock_skew: vec(&registry, &catalogue::CLOCK_SKEW, IntGaugeVec::new),
                has_clock_skew: Arc::default(),
            },
            http_connections: one(&registry, &catalogue::HTTP_CONNECTIONS, IntGauge::with_opts),
            http_accept_failures: one(
                &registry,
                &catalogue::HTTP_ACCEPT_FAILURES,
                IntCounter::with_opts,
            ),
            http_requests: vec(&registry, &catalogue::HTTP_REQUESTS, IntCounterVec::new),
            http_refused: vec(&registry, &catalogue::HTTP_REFUSED, IntCounterVec::new),
            web_reload_successful: vec(
                &registry,
                &catalogue::WEB_RELOAD_SUCCESSFUL,
                IntGaugeVec::new,
            ),
            accounts: vec(&registry, &catalogue::ACCOUNTS, IntGaugeVec::new),
            unidentified_accounts: vec(
                &registry,
                &catalogue::UNIDENTIFIED_ACCOUNTS,
                IntGaugeVec::new,
            ),
            discovery_success: one(&registry, &catalogue::DISCOVERY_SUCCESS, IntGauge::with_opts),
            shard: one(&registry, &catalogue::SHARD, IntGauge::with_opts),
            shards: one(&registry, &catalogue::TOTAL_SHARDS, IntGauge::with_opts),
            reload_successful: one(&registry, &catalogue::RELOAD_SUCCESSFUL, IntGauge::with_opts),
            reload_success: one(&registry, &catalogue::RELOAD_SUCCESS, IntGauge::with_opts),
            page_series: one(&registry, &catalogue::PAGE_SERIES, IntGauge::with_opts),
            page_bytes: vec(&registry, &catalogue::PAGE_BYTES, IntGaugeVec::new),
            page_rendered: one(&registry, &catalogue::PAGE_RENDERED, Gauge::with_opts),
            page_render_duration: one(
                &registry,
                &catalogue::PAGE_RENDER_DURATION,
                Gauge::with_opts,
            ),
            registry,
            filter,
            recent: Arc::default(),
        };
        for (service, operation) in aws_operations {
            metrics.aws_requests.start_at_zero(service, operation);
        }
        metrics.record_shard(Shard::default());
        metrics.http_requests.with_label_values(&["200"]);
        for reason in Refusal::ALL {
            metrics.http_refused.with_label_values(&[reason.as_str()]);
        }
        metrics.record_state(&State::default());
        metrics
    }

    /// The metrics as they are now, in the text format.
    pub fn gather(&self) -> Vec<u8> {
        let mut families = self.registry.gather();
        families.retain(|family| self.filter.allows(family.name()));
        let mut text = Vec::with_capacity(8 << 10);
        TextEncoder::new()
            .encode(&families, &mut text)
            .expect("a registry gathers families that can be encoded, and memory takes them");
        text
    }

    /// The same, at most 50 ms old, ready to be sent after any page.
    pub fn gather_recent(&self) -> Arc<Tail> {
        // Only scrapes hold this lock, and a waiting one needs the same result.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        match &*recent {
            Some((at, tail)) if at.elapsed() < RECENT => tail.clone(),
            _ => {
                let tail = Arc::new(Tail::new(self.gather().into()));
                *recent = Some((Instant::now(), tail.clone()));
                tail
            }
        }
    }

    /// Updates from the state that was published.
    pub fn record_state(&self, state: &State) {
        let (mut ok, mut failing, mut pending) = (0, 0, 0);
        for account in state.accounts.iter().chain(&state.unidentified) {
            match account.refresh.last {
                None => pending += 1,
                Some(attempt) if attempt.failure.is_none() => ok += 1,
                Some(_) => failing += 1,
            }
        }
        for (state, count) in [
            ("ok", ok),
            ("failing", failing),
            ("pending", pending),
            ("duplicate", state.duplicates as i64),
        ] {
            self.accounts.with_label_values(&[state]).set(count);
        }
        self.discovery_success.set(i64::from(state.discovery == Tried::Ok));
        let is_start = state.accounts.is_empty() && state.discovery == Tried::NotYet;
        let unidentified = state.unidentified.len() as i64;
        if unidentified > 0 || !is_start {
            self.unidentified_accounts.with_label_values(&[""; 0]).set(unidentified);
        }
    }

    /// Records which of several processes this is.
    pub fn record_shard(&self, shard: Shard) {
        self.shard.set(shard.index.into());
        self.shards.set(shard.total.into());
    }

    /// Records whether the configuration could be read at `now`.
    pub fn record_reload(&self, success: bool, now: DateTime<Utc>) {
        self.reload_successful.set(i64::from(success));
        if success {
            self.reload_success.set(now.timestamp());
        }
    }

    /// When the configuration was last read, if that failed since.
    pub fn failed_reload(&self) -> Option<DateTime<Utc>> {
        let last = self.reload_success.get();
        let has_failed = last > 0 && self.reload_successful.get() == 0;
        has_failed.then(|| DateTime::from_timestamp_secs(last)).flatten()
    }

    /// Records the page that was rendered at `now` in `duration`.
    pub fn record_page(&self, page: &Page, now: DateTime<Utc>, duration: Duration) {
        let [text, gzip] = [page.text_bytes(), page.gzip_bytes()];
        self.page_series.set(page.series() as i64);
        self.page_bytes.with_label_values(&["identity"]).set(text as i64);
        self.page_bytes.with_label_values(&["gzip"]).set(gzip as i64);
        self.page_rendered.set(now.timestamp_millis() as f64 / 1000.0);
        self.page_render_duration.set(duration.as_secs_f64());
    }

    /// Records whether the web configuration file could be read.
    pub fn record_web_reload(&self, success: bool) {
        self.web_reload_successful.with_label_values(&[""; 0]).set(i64::from(success));
    }

    /// Counts an answered request.
    pub fn count_http_request(&self, code: &str) {
        self.http_requests.with_label_values(&[code]).inc();
    }

    /// Counts a request or connection that was refused.
    pub fn count_refusal(&self, reason: Refusal) {
        self.http_refused.with_label_values(&[reason.as_str()]).inc();
    }

    /// How many were refused for this reason.
    pub fn refusals(&self, reason: Refusal) -> u64 {
        self.http_refused.with_label_values(&[reason.as_str()]).get()
    }
}

impl AwsRequests {
    /// Counts one request and the HTTP status of its response, if there was one.
    pub fn count(&self, service: &str, operation: &str, status: Option<u16>) {
        let outcome = match status {
            None => "no_response",
            Some(..400) => "ok",
            Some(400..500) => "client_error",
            Some(500..) => "server_error",
        };
        self.counts.with_label_values(&[service, operation, outcome]).inc();
    }

    /// Records by how many seconds the exporter's clock is ahead of AWS's. Returns the value recorded
    /// before, or 0 if there was nothing.
    pub fn record_clock_skew(&self, seconds: i64) -> i64 {
        let gauge = self.clock_skew.with_label_values(&[""; 0]);
        let before = gauge.get();
        gauge.set(seconds);
        self.has_clock_skew.store(true, Ordering::Relaxed);
        before
    }

    /// The last recorded difference of the clock.
    pub fn clock_skew(&self) -> Option<TimeDelta> {
        let is_known = self.has_clock_skew.load(Ordering::Relaxed);
        is_known.then(|| TimeDelta::seconds(self.clock_skew.with_label_values(&[""; 0]).get()))
    }

    /// Counts one request that was cut off before anything came back.
    pub fn count_aborted(&self, service: &str, operation: &str) {
        self.counts.with_label_values(&[service, operation, "aborted"]).inc();
    }

    fn start_at_zero(&self, service: &str, operation: &str) {
        for outcome in ["ok", "client_error", "server_error", "no_response", "aborted"] {
            self.counts.with_label_values(&[service, operation, outcome]);
        }
    }
}

fn one<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: &Metric,
    new: impl FnOnce(Opts) -> prometheus::Result<M>,
) -> M {
    let one = new(Opts::new(metric.name, metric.help)).expect("the catalogue has valid names");
    register(registry, one.clone());
    one
}

fn vec<M: Collector + Clone + 'static>(
    registry: &Registry,
    metric: &Metric,
    new: impl FnOnce(Opts, &[&str]) -> prometheus::Result<M>,
) -> M {
    let vec = new(Opts::new(metric.name, metric.help), metric.labels)
        .expect("the catalogue has valid names");
    register(registry, vec.clone());
    vec
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect("names in the catalogue are unique");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::filter::name_pattern;

    #[test]
    fn every_family_is_as_the_catalogue_says() {
        let text = String::from_utf8(
            ExporterMetrics::new(Filter::default(), [("IAM", "ListAccessKeys")]).gather(),
        )
        .expect("UTF-8");
        let own = catalogue::ALL.iter().filter(|metric| {
            matches!(metric.group, catalogue::Group::Exporter | catalogue::Group::Process)
        });
        let mut expected = 0;
        for Metric { name, kind, help, .. } in own {
            let kind = kind.as_str();
            // Metrics without a value yet have no series.
            let later = [
                &catalogue::PAGE_BYTES,
                &catalogue::CLOCK_SKEW,
                &catalogue::UNIDENTIFIED_ACCOUNTS,
                &catalogue::WEB_RELOAD_SUCCESSFUL,
            ];
            if !later.iter().any(|metric| metric.name == *name) {
                let head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
                assert!(text.contains(&head), "no {head}in:\n{text}");
                expected += 1;
            }
        }
        assert_eq!(text.matches("# HELP").count(), expected);
    }

    #[test]
    fn the_clocks_skew_is_absent_until_aws_has_answered() {
        let metrics = ExporterMetrics::new(Filter::default(), []);
        let text = || String::from_utf8(metrics.gather()).expect("UTF-8");
        assert!(!text().contains("clock_skew"));
        assert_eq!(metrics.aws_requests.record_clock_skew(-400), 0);
        assert!(text().contains("\niam_exporter_clock_skew_seconds -400\n"));
        assert_eq!(metrics.aws_requests.record_clock_skew(1), -400);
    }

    #[test]
    fn the_filter_decides_what_is_gathered() {
        let allow = name_pattern("iam_exporter_page_.*").expect("a pattern");
        let deny = name_pattern(".*_seconds").expect("a pattern");
        let metrics = ExporterMetrics::new(Filter::new(Some(allow), Some(deny)), []);
        let text = String::from_utf8(metrics.gather()).expect("UTF-8");
        assert!(text.contains("iam_exporter_page_series 0"));
        assert!(!text.contains("process_"));
        assert!(!text.contains("_seconds"));
    }
}
