//! The cost of an account from the bytes of its report to a scrape, compared with crates alone: for
//! a bare pass of `csv` over the same bytes, and for the `prometheus` crate's registry and encoder
//! with the same series.
//!
//! `cargo bench --bench pipeline` takes four minutes. `cargo bench --bench pipeline -- parse` runs only
//! `parse`. docs/benchmarks.md has the figures. Criterion writes
//! `target/criterion/GROUP/ID/new/estimates.json`. This writes `target/criterion/allocations.json`
//! besides: how often parsing and rendering ask for memory, for how many bytes in all, and how many of
//! them they have at the same time, such as
//! `{"parse/report/5000": {"allocations": 18710, "bytes": 3898466, "peak_bytes": 2345678}, …}`.

use std::alloc::System;
use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, SamplingMode, Throughput};
use iam_key_exporter::clock::Clock;
use iam_key_exporter::config::{Access, Config};
use iam_key_exporter::confirmation::merge;
use iam_key_exporter::metrics::exporter::ExporterMetrics;
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::metrics::gzip::{Compressor, Head};
use iam_key_exporter::metrics::page::{self, Page};
use iam_key_exporter::render::{Renderer, Snapshot};
use iam_key_exporter::report::{Report, User};
use iam_key_exporter::shard::Shard;
use iam_key_exporter::source::{Source, demo::Demo, target::Target};
use iam_key_exporter::state::{Account, Attempt, Refresh, State, Tried};
use iam_key_exporter::web::documents::Documents;
use iam_key_exporter::web::gate::Gate;
use iam_key_exporter::web::listener::{self, Listeners};
use iam_key_exporter::web::places::Limits;
use iam_key_exporter::web::reload::WebReloader;
use iam_key_exporter::web::routes::Site;
use iam_key_exporter::web::status::StatusSettings;
use mockalloc::{Mockalloc, record_allocs};
use prometheus::{CounterVec, Encoder, GaugeVec, Opts, Registry, TextEncoder};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

// The program's own. It counts only when it is switched on, and not while time is measured.
#[global_allocator]
static ALLOCATOR: Mockalloc<System> = Mockalloc(System);

/// Numbers of users, and of measurements for each: AWS's limit for an account, twenty times as
/// many, and some between.
const SIZES: [(usize, usize); 3] = [(5_000, 30), (25_000, 15), (100_000, 10)];

fn main() {
    let mut criterion = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let cases = SIZES.map(|(users, samples)| Case::new(users, samples));
    allocations(&cases[0]);
    parse(&mut criterion, &cases);
    verdicts(&mut criterion, &cases);
    render(&mut criterion, &cases);
    gzip(&mut criterion, &cases);
    scrape(&mut criterion, &cases);
    refresh(&mut criterion, &cases[0]);
    criterion.final_summary();
}

/// A group whose samples have the same number of iterations each: for a linear series of them most of
/// this takes too long.
fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group
}

fn parse(criterion: &mut Criterion, cases: &[Case]) {
    let mut group = group(criterion, "parse");
    for Case { users, samples, csv, .. } in cases {
        group.sample_size(*samples).throughput(Throughput::Bytes(csv.len() as u64));
        group.bench_function(format!("report/{users}"), |bencher| {
            // A report is dropped later than it is read.
            bencher.iter_batched(|| (), |()| Report::parse(csv), BatchSize::PerIteration);
        });
        group.bench_function(format!("csv_byte_record/{users}"), |bencher| {
            bencher.iter(|| count_fields(csv));
        });
    }
}

fn verdicts(criterion: &mut Criterion, cases: &[Case]) {
    let mut group = group(criterion, "verdicts");
    for Case { users, samples, config, account, .. } in cases {
        group.sample_size(*samples).throughput(Throughput::Elements(*users as u64));
        group.bench_function(users.to_string(), |bencher| {
            bencher.iter(|| flagged(account, config, now()).count());
        });
    }
}

fn render(criterion: &mut Criterion, cases: &[Case]) {
    let mut group = group(criterion, "render");
    for case in cases {
        let users = case.users;
        let series = case.page().series();
        group.sample_size(case.samples).throughput(Throughput::Elements(series as u64));
        group.bench_function(format!("page/{users}"), |bencher| bencher.iter(|| case.write()));
        group.bench_function(format!("page_gzip/{users}"), |bencher| bencher.iter(|| case.page()));
        let registry = LazyCell::new(|| registry(case));
        group.bench_function(format!("text_encoder/{users}"), |bencher| {
            let registry = &*registry;
            bencher.iter(|| encode(registry, io::sink()));
        });
    }
}

fn gzip(criterion: &mut Criterion, cases: &[Case]) {
    let mut group = group(criterion, "gzip");
    for case in cases {
        let text = case.text();
        group.sample_size(case.samples).throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(case.users.to_string(), |bencher| bencher.iter(|| compress(&text)));
    }
}

fn scrape(criterion: &mut Criterion, cases: &[Case]) {
    let mut group = group(criterion, "scrape");
    for case in cases {
        let server = LazyCell::new(|| Server::start(case));
        for encoding in ["gzip", "identity"] {
            let connect = || Client::connect(server.address, encoding);
            let bytes = connect().scrape();
            group.sample_size(case.samples).throughput(Throughput::Bytes(bytes as u64));
            group.bench_function(format!("{encoding}/{}", case.users), |bencher| {
                let mut client = connect();
                bencher.iter(|| client.scrape());
            });
        }
    }
}

fn refresh(criterion: &mut Criterion, case: &Case) {
    let mut group = group(criterion, "refresh");
    let renderer = renderer(case);
    let (snapshots, _snapshot) =
        watch::channel(Arc::new(renderer.snapshot(State::default(), None)));
    group.sample_size(case.samples).throughput(Throughput::Elements(case.users as u64));
    group.bench_function(case.users.to_string(), |bencher| {
        bencher.iter(|| {
            let account = Account {
                confirmed: case.account.confirmed.clone(),
                tags: case.account.tags.clone(),
                ..read(&case.csv)
            };
            black_box(flagged(&account, &case.config, now()).count());
            let snapshot = renderer.snapshot(state(account), None);
            black_box(snapshot.page.text().last());
            snapshots.send_replace(Arc::new(snapshot))
        });
    });
}

/// An account of the demo organization, with rules, tags and confirmed keys.
struct Case {
    users: usize,
    samples: usize,
    /// The report as AWS would send it.
    csv: Vec<u8>,
    config: Arc<Config>,
    /// As it is after a refresh.
    account: Account,
    state: State,
}

impl Case {
    fn new(users: usize, samples: usize) -> Case {
        let demo = Demo::new(1, users, 1, now());
        let config = demo.config();
        let source = Source::Demo(demo);
        let target = Target {
            key: "0".to_owned(),
            id: String::new(),
            name: "production".to_owned(),
            access: Access::default(),
        };
        runtime().block_on(async {
            let fetched = source.fetch(&target, None, now(), tokio::time::Instant::now()).await;
            let csv = fetched.report.expect("the demo has a report of every account").csv;
            let (tags, _) = source.users(&target, &config.tag_keys()).await.expect("and tags");
            let mut account = Account { tags: Some(Arc::new(tags)), ..read(&csv) };
            let mut confirmed = (*account.confirmed).clone();
            for user in flagged(&account, &config, now()).filter(|user| !user.is_root()) {
                let listed = source.keys(&target, &user.name).await.expect("and keys");
                let keys = listed.map(|listed| merge(&user.keys, &listed, None));
                confirmed.insert(&user.name, keys);
            }
            account.confirmed = Arc::new(confirmed);
            let state = state(account.clone());
            Case { users, samples, csv, config: Arc::new(config), account, state }
        })
    }

    /// Writes the page as the exporter does, in parts.
    fn write(&self) -> usize {
        let mut hand_on = |part: &str| _ = black_box(part);
        page::write(&self.state, &self.config, &Filter::default(), now(), &mut hand_on)
    }

    fn text(&self) -> String {
        page::text(&self.state, &self.config, &Filter::default(), now())
    }

    fn page(&self) -> Page {
        Page::render(&self.state, &self.config, &Filter::default(), now(), None)
    }
}

fn now() -> DateTime<Utc> {
    "2026-11-01T12:00:00Z".parse().expect("a time")
}

/// One worker, so that a server and its client have a core each.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// The account that this report is of.
fn read(csv: &[u8]) -> Account {
    let report = Report::parse(csv).expect("a report");
    let id = report.account_id.clone().expect("a report with rows");
    Account {
        report: Some(Arc::new(report)),
        generated: Some(now()),
        refresh: Refresh {
            last: Some(Attempt { failure: None, duration: Duration::ZERO }),
            last_success: Some(now()),
            ..Refresh::default()
        },
        ..Account::pending(&id, "production")
    }
}

fn state(account: Account) -> State {
    State::new([Arc::new(account)], Tried::Ok, true)
}

/// The users who have an unrotated key. Every key of every user is judged for it.
fn flagged<'a>(
    account: &'a Account,
    config: &'a Config,
    now: DateTime<Utc>,
) -> impl Iterator<Item = &'a User> {
    account.users().filter_map(move |(owner, keys)| {
        let ruling = config.policy.ruling(&owner, now);
        let verdicts = keys.iter().flatten().map(|key| ruling.judge(key, now));
        let unrotated = verdicts.filter(|verdict| verdict.unrotated == Some(true)).count();
        (unrotated > 0).then_some(owner.user)
    })
}

/// The fields of all records: the minimum for reading them with the `csv` crate.
fn count_fields(csv: &[u8]) -> usize {
    let mut reader = csv::Reader::from_reader(csv);
    let mut record = csv::ByteRecord::new();
    let mut fields = 0;
    while reader.read_byte_record(&mut record).expect("records of one length") {
        fields += record.len();
    }
    fields
}

/// As the page is compressed while it is rendered: in parts.
fn compress(text: &str) -> Head {
    let mut compressor = Compressor::new(None);
    text.as_bytes().chunks(64 << 10).for_each(|part| compressor.push(part));
    compressor.finish()
}

fn encode(registry: &Registry, mut to: impl Write) {
    TextEncoder::new().encode(&registry.gather(), &mut to).expect("families");
}

/// A registry of the `prometheus` crate with the series of the page.
fn registry(case: &Case) -> Registry {
    let (registry, text) = (Registry::new(), case.text());
    for family in text.split("# HELP ").skip(1) {
        let mut lines = family.lines();
        let (name, help) = lines.next().and_then(|line| line.split_once(' ')).expect("a help text");
        let is_counter = lines.next().is_some_and(|line| line.ends_with(" counter"));
        let samples: Vec<Sample> = lines.map(Sample::parse).collect();
        let (labels, _): (Vec<&str>, Vec<&str>) = samples[0].labels.iter().copied().unzip();
        let opts = Opts::new(name, help);
        if is_counter {
            let vec = CounterVec::new(opts, &labels).expect("a family");
            for sample in &samples {
                vec.with_label_values(&sample.values()).inc_by(sample.value);
            }
            registry.register(Box::new(vec)).expect("one family of that name");
        } else {
            let vec = GaugeVec::new(opts, &labels).expect("a family");
            for sample in &samples {
                vec.with_label_values(&sample.values()).set(sample.value);
            }
            registry.register(Box::new(vec)).expect("one family of that name");
        }
    }
    let mut encoded = Vec::new();
    encode(&registry, &mut encoded);
    let encoded = String::from_utf8(encoded).expect("UTF-8");
    assert!(series(&encoded) == series(&text), "the registry has other series than the page");
    registry
}

/// The series of a page, in any order, with labels in any order.
fn series(text: &str) -> Vec<Sample<'_>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut samples: Vec<Sample> = lines.map(Sample::parse).collect();
    samples.iter_mut().for_each(|sample| sample.labels.sort());
    samples.sort_by(|a, b| (a.name, &a.labels).cmp(&(b.name, &b.labels)));
    samples
}

#[derive(PartialEq)]
struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    value: f64,
}

impl<'a> Sample<'a> {
    /// In the demo organization nothing has to be escaped.
    fn parse(line: &'a str) -> Sample<'a> {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = match series.strip_suffix("\"}").and_then(|rest| rest.split_once('{'))
        {
            Some((name, labels)) => (name, labels.split("\",").collect()),
            None => (series, Vec::new()),
        };
        let labels = labels.iter().map(|label| label.split_once("=\"").expect("a label")).collect();
        Sample { name, labels, value: value.parse().expect("a number") }
    }

    fn values(&self) -> Vec<&'a str> {
        self.labels.iter().map(|(_, value)| *value).collect()
    }
}

fn renderer(case: &Case) -> Renderer {
    let (_, config) = watch::channel(case.config.clone());
    let (filter, clock) = (Filter::default(), Clock::new(now));
    let metrics = ExporterMetrics::new(filter.clone(), []);
    Renderer { config, filter, clock, metrics }
}

/// The exporter's own server with the account's page.
struct Server {
    address: SocketAddr,
    // Until these are dropped it serves.
    _runtime: Runtime,
    _snapshots: watch::Sender<Arc<Snapshot>>,
    _stop: watch::Sender<bool>,
}

impl Server {
    fn start(case: &Case) -> Server {
        let renderer = renderer(case);
        let (_snapshots, snapshot) =
            watch::channel(Arc::new(renderer.snapshot(case.state.clone(), None)));
        let (_stop, stopped) = watch::channel(false);
        let status = Arc::new(StatusSettings {
            telemetry_path: "/metrics".to_owned(),
            runbook_url: None,
            dashboard_url: None,
            is_demo: true,
            are_files: false,
            shard: Shard::default(),
        });
        let (metrics, documents) = (renderer.metrics, Documents::default());
        let web = WebReloader::load(None, metrics.clone()).expect("no file to read");
        let gate = Gate::new(web.subscribe(), metrics.clone());
        let site = Site { snapshot, metrics, status, documents, gate, reloader: None };
        let _runtime = runtime();
        let listener = _runtime.block_on(listener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let listeners = Listeners { site: vec![listener], health: None };
        _runtime.spawn(listener::serve(listeners, site, Limits::new(1024), stopped));
        Server { address, _runtime, _snapshots, _stop }
    }
}

/// A client that keeps its connection.
struct Client {
    stream: TcpStream,
    request: String,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(address: SocketAddr, encoding: &str) -> Client {
        let stream = TcpStream::connect(address).expect("a connection");
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {encoding}\r\n\r\n");
        Client { stream, request, buffer: vec![0; 256 << 10] }
    }

    /// The number of bytes of the body.
    fn scrape(&mut self) -> usize {
        self.stream.write_all(self.request.as_bytes()).expect("a request is written");
        let mut received = self.stream.read(&mut self.buffer).expect("a response");
        let head = self.buffer[..received].windows(4).position(|four| four == b"\r\n\r\n");
        let head = head.expect("a head comes at once") + 4;
        let text = std::str::from_utf8(&self.buffer[..head]).expect("UTF-8");
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
        while received < head + length {
            received += match self.stream.read(&mut self.buffer).expect("the rest") {
                0 => panic!("{received} of {} bytes", head + length),
                read => read,
            };
        }
        length
    }
}

/// Counts the allocations of parsing, rendering and the baselines.
fn allocations(case: &Case) {
    let registry = registry(case);
    let counted = BTreeMap::from([
        count(case, "parse/report", || Report::parse(&case.csv)),
        count(case, "parse/csv_byte_record", || count_fields(&case.csv)),
        count(case, "render/page", || case.write()),
        count(case, "render/text_encoder", || encode(&registry, io::sink())),
    ]);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("criterion");
    fs::create_dir_all(&folder).expect("a folder");
    let json = serde_json::to_string_pretty(&counted).expect("JSON");
    fs::write(folder.join("allocations.json"), json).expect("a file");
}

fn count<T>(case: &Case, name: &str, work: impl Fn() -> T) -> (String, serde_json::Value) {
    // The first run makes everything that is made only once.
    drop(black_box(work()));
    let counted = record_allocs(|| drop(black_box(work())));
    let (allocations, bytes) = (counted.num_allocs(), counted.mem_allocated());
    let (name, peak_bytes) = (format!("{name}/{}", case.users), counted.peak_mem());
    println!("{name}: {allocations} allocations, {bytes} bytes, {peak_bytes} at the same time");
    let json =
        serde_json::json!({ "allocations": allocations, "bytes": bytes, "peak_bytes": peak_bytes });
    (name, json)
}
