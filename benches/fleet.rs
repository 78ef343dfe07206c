//! A cold start on an organization of 1,000 accounts with 50 users each. Every call takes AWS
//! 60 ms and every report 2 s. It measures the time until all are on the page, the cost, and the effect on
//! scrapes. `cargo bench --bench fleet` runs it three times, and docs/scaling.md has the figures.

#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code)]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::exporter::{self, command, value};
use support::fake_aws::FakeAws;
use support::fleet::Fleet;
use support::folder::Folder;
use tokio::runtime::Runtime;

const ACCOUNTS: usize = 1_000;
const USERS: usize = 50;
const RUNS: usize = 3;
/// How long scrapes are measured after all accounts are on the page.
const QUIET: Duration = Duration::from_secs(10);
/// The pause between two scrapes.
const PAUSE: Duration = Duration::from_millis(50);

fn main() {
    println!("{ACCOUNTS} accounts of {USERS} users; 60 ms a call, 2 s a report");
    println!(
        "| run | all on the page | report calls an account, at most | scrape p50, p99 meanwhile | \
         p50, p99 quiet | peak memory | CPU | page, gzip |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for run in 1..=RUNS {
        println!("| {run} | {} |", measure());
    }
}

fn measure() -> String {
    let fleet = Arc::new(Fleet {
        latency: Duration::from_millis(60),
        generation: Duration::from_secs(2),
        unrotated: 2,
        ..Fleet::new(ACCOUNTS, USERS)
    });
    let runtime = Runtime::new().expect("a runtime");
    let server = runtime.block_on(FakeAws::new(fleet.live()).listen());
    let start = Instant::now();
    let exporter = Exporter::start(&server.url());

    let mut meanwhile = Vec::new();
    loop {
        let (latency, page) = exporter.scrape();
        meanwhile.push(latency);
        if value(&page, "iam_exporter_accounts{state=\"ok\"}") == Some(ACCOUNTS as f64)
            && page.lines().filter(|line| line.starts_with("iam_users{")).count() == ACCOUNTS
        {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(300), "not all of them:\n{page}");
        std::thread::sleep(PAUSE);
    }
    let took = start.elapsed();
    let most = fleet.calls().into_iter().fold(
        std::collections::BTreeMap::<String, usize>::new(),
        |mut sums, ((account, operation), count)| {
            if operation.ends_with("CredentialReport") {
                *sums.entry(account).or_default() += count;
            }
            sums
        },
    );
    let most = most.values().max().copied().unwrap_or_default();

    let end = Instant::now() + QUIET;
    let mut quiet = Vec::new();
    let mut page = String::new();
    while Instant::now() < end {
        let (latency, text) = exporter.scrape();
        quiet.push(latency);
        page = text;
        std::thread::sleep(PAUSE);
    }
    let size = |encoding: &str| {
        let name = format!("iam_exporter_page_bytes{{encoding=\"{encoding}\"}}");
        value(&page, &name).unwrap_or_default() / 1e6
    };
    format!(
        "{:.1} s | {most} | {} | {} | {:.0} MiB | {} s | {:.1} MB, {:.1} MB",
        took.as_secs_f64(),
        percentiles(meanwhile),
        percentiles(quiet),
        exporter.peak_memory() as f64 / 1024.0,
        value(&page, "process_cpu_seconds_total").unwrap_or_default(),
        size("identity"),
        size("gzip"),
    )
}

fn percentiles(mut latencies: Vec<Duration>) -> String {
    latencies.sort();
    let at = |share: f64| {
        let place = ((latencies.len() - 1) as f64 * share).round() as usize;
        latencies[place].as_secs_f64() * 1e3
    };
    format!("{:.1} ms, {:.1} ms", at(0.5), at(0.99))
}

struct Exporter {
    process: exporter::Exporter,
    _config: Folder,
}

impl Exporter {
    fn start(endpoint: &str) -> Exporter {
        let config = Folder::new();
        config.write("config.yaml", "organization: { role_name: iam-key-exporter }\n");
        let mut command = command(&["--web.listen-address", "127.0.0.1:0"]);
        command.arg("--config.file").arg(config.file("config.yaml"));
        command.env("AWS_ENDPOINT_URL", endpoint);
        command.env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret");
        Exporter { process: exporter::Exporter::spawn(command), _config: config }
    }

    /// One scrape as Prometheus makes it, with gzip: how long it took, and the page.
    fn scrape(&self) -> (Duration, String) {
        let start = Instant::now();
        let mut stream = TcpStream::connect(self.process.address).expect("a connection");
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("a request is written");
        let mut response = Vec::new();
        stream.read_to_end(&mut response).expect("a response");
        let latency = start.elapsed();
        let body = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        let mut page = String::new();
        flate2::read::GzDecoder::new(&response[body..]).read_to_string(&mut page).expect("gzip");
        (latency, page)
    }

    /// Its peak resident memory, in KiB.
    fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.child.id()));
        let status = status.expect("Linux tells about its processes");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the peak");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}
