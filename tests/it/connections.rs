//! Connections: silent clients and slow readers keep nobody out and cost little.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use iam_key_exporter::metrics::catalogue::{self, Group};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

use crate::support::exporter::{Exporter, PATIENCE, Response, command, value};

const CONNECTIONS: &str = "iam_exporter_http_connections";
const REFUSED: &str = "iam_exporter_http_refused_total{reason=\"connections\"}";

fn demo(users: &str) -> Exporter {
    let exporter = Exporter::start(&["demo", "--users", users]);
    exporter.wait_until_ready();
    exporter
}

/// A connection from 127.0.0.`last` that takes only a few kilobytes before somebody reads.
fn connect_from(exporter: &Exporter, last: u8) -> TcpStream {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
    let connecting = async {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 << 10).expect("a small buffer");
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).expect("a local address");
        socket.connect(exporter.address).await.expect("a connection").into_std()
    };
    let stream = RUNTIME.block_on(connecting).expect("a stream");
    stream.set_nonblocking(false).expect("a blocking stream");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// This number of connections from each of these addresses, with all or the start of a request.
fn crowd(
    exporter: &Exporter,
    last: impl Iterator<Item = u8>,
    each: usize,
    sent: &str,
) -> Vec<TcpStream> {
    let from = |last| {
        (0..each).map(move |_| {
            let mut stream = connect_from(exporter, last);
            stream.write_all(sent.as_bytes()).expect("it is written");
            stream
        })
    };
    last.flat_map(from).collect()
}

fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a setting");
    matches!(stream.peek(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// The page, which must come soon.
fn scrape(exporter: &Exporter) -> String {
    let start = Instant::now();
    let page = exporter.get("/metrics");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    page
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let exporter = demo("50");
    for sent in ["", "GET /metrics HTTP/1.1\r\nHost: "] {
        let silent = crowd(&exporter, 2..8, 60, sent);
        scrape(&exporter);
        // Those that lost their place are closed.
        let page =
            exporter.page_where(|page| value(page, CONNECTIONS).is_some_and(|open| open <= 256.0));
        assert!(value(&page, REFUSED).is_some_and(|refused| refused >= 104.0), "{page}");
        drop(silent);
    }
}

#[test]
fn of_one_address_64_connections_stay_and_the_newest_are_among_them() {
    let exporter = demo("50");
    let silent = crowd(&exporter, 1..2, 100, "");
    assert_eq!(exporter.get("/-/healthy"), "healthy\n");
    let open: Vec<bool> = silent.iter().map(is_open).collect();
    assert!(open[..36].iter().all(|open| !open), "{open:?}");
    assert!(open[37..].iter().all(|open| *open), "{open:?}");
}

#[test]
fn slow_readers_keep_nobody_out() {
    let exporter = demo("10000");
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    // Most are busy with an answer at once, and the health check is answered all the same.
    let _slow = crowd(&exporter, 2..6, 64, request);
    let start = Instant::now();
    assert_eq!(exporter.get("/-/healthy"), "healthy\n");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let mut attempts = 0;
    while exporter.request("GET", "/metrics", &["Accept-Encoding: gzip"]).status != 200 {
        attempts += 1;
        assert!(start.elapsed() < Duration::from_secs(8), "{attempts} attempts");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn pages_that_are_to_be_rendered_keep_nobody_out() {
    let exporter = demo("10000");
    // Each wants another page. None of them is answered soon.
    let mut number = 0;
    let mut wanting: Vec<TcpStream> = Vec::new();
    for last in 2..6 {
        for _ in 0..64 {
            number += 1;
            let request = format!("GET /?show=every&q=x{number} HTTP/1.1\r\nHost: x\r\n\r\n");
            wanting.extend(crowd(&exporter, last..last + 1, 1, &request));
        }
    }
    for _ in 0..20 {
        let page = scrape(&exporter);
        assert!(value(&page, CONNECTIONS).is_some(), "{page}");
        let response = exporter.request("GET", "/-/healthy", &[]);
        assert_eq!(response.status, 200);
    }
    let statuses: Vec<String> = wanting
        .iter_mut()
        .map(|stream| {
            let mut start = [0; 12];
            let read = stream.read_exact(&mut start);
            read.map_or_else(
                |_| "closed".to_owned(),
                |()| String::from_utf8_lossy(&start).into_owned(),
            )
        })
        .collect();
    let count = |status: &str| statuses.iter().filter(|it| it.ends_with(status)).count();
    assert!(count("200") > 0 && count("503") > 0, "{statuses:?}");
    let page = exporter.get("/metrics");
    let busy = "iam_exporter_http_refused_total{reason=\"busy\"}";
    assert!(value(&page, busy).is_some_and(|refused| refused > 0.0), "{page}");
}

#[test]
fn a_client_that_closes_its_half_gets_the_whole_answer() {
    let exporter = demo("3000");
    for (path, headers) in [
        ("/metrics", ""),
        ("/metrics", "Accept-Encoding: gzip\r\n"),
        ("/keys.csv", ""),
        ("/-/healthy", ""),
    ] {
        for version in ["HTTP/1.0", "HTTP/1.1"] {
            let mut stream = exporter.connect();
            let head = format!("GET {path} {version}\r\nHost: x\r\n{headers}\r\n");
            stream.write_all(head.as_bytes()).expect("a request");
            stream.shutdown(Shutdown::Write).expect("half of it is closed");
            let response = Response::read(&mut stream);
            assert_eq!(response.status, 200);
            let length = response.header("content-length").map(str::to_owned);
            assert_eq!(length, Some(response.body.len().to_string()), "{path} {version}");
        }
    }
}

#[test]
fn many_who_read_the_same_file_share_it() {
    let exporter = demo("10000");
    let whole = exporter.get("/keys.csv");
    let mut slow = crowd(&exporter, 2..5, 60, "GET /keys.csv HTTP/1.1\r\nHost: x\r\n\r\n");
    let memory = |page: String| value(&page, "process_resident_memory_bytes").expect("a size");
    // All have their answer's start.
    let mut start = [0; 100];
    slow.iter_mut().for_each(|stream| stream.read_exact(&mut start).expect("a start"));
    let with_readers = memory(scrape(&exporter));
    drop(slow);
    let without = memory(scrape(&exporter));
    let grown = (with_readers - without) / whole.len() as f64;
    assert!(grown < 2.0, "{grown} times the file");
}

/// The number of bytes in the system's send buffer of this connection.
fn unsent(exporter: &Exporter, client: &TcpStream) -> u64 {
    let ports = [exporter.address.port(), client.local_addr().expect("an address").port()];
    let [local, remote] = ports.map(|port| format!(":{port:04X}"));
    let all = std::fs::read_to_string("/proc/net/tcp").expect("connections");
    let rows = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut own = rows.filter(|row| row[1].ends_with(&local) && row[2].ends_with(&remote));
    let row = own.next().expect("the connection");
    let (queue, _) = row[4].split_once(':').expect("two queues");
    u64::from_str_radix(queue, 16).expect("a number")
}

#[test]
fn the_system_keeps_little_of_an_answer_for_a_slow_reader() {
    let exporter = demo("10000");
    let mut client = connect_from(&exporter, 2);
    client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
    let mut bytes = [0; 4 << 10];
    for _ in 0..200 {
        client.read_exact(&mut bytes).expect("a part of the page");
    }
    let kept = unsent(&exporter, &client);
    assert!((1..1 << 20).contains(&kept), "{kept}");
}

#[test]
fn the_limit_of_open_files_is_raised() {
    let shell = "ulimit -Sn 100; ulimit -Hn 400; exec \"$0\" \"$@\"";
    let exporter_command = command(&["demo", "--users=1", "--web.listen-address=127.0.0.1:0"]);
    let mut shell_command = std::process::Command::new("sh");
    shell_command.args(["-c", shell]).arg(exporter_command.get_program());
    shell_command.args(exporter_command.get_args());
    let exporter = Exporter::spawn(shell_command);
    let page = exporter.get("/metrics");
    assert_eq!(value(&page, "process_max_fds"), Some(400.0));
    let _silent = crowd(&exporter, 2..10, 60, "");
    let page = scrape(&exporter);
    assert!(value(&page, "process_open_fds").is_some_and(|open| open < 300.0));
    assert_eq!(value(&page, "iam_exporter_http_accept_failures_total"), Some(0.0));
}

/// Whether no thread of the exporter has anything to do.
fn sleeps(exporter: &Exporter) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", exporter.child.id()));
    threads.expect("threads").all(|thread| {
        let stat = std::fs::read_to_string(thread.expect("a thread").path().join("stat"));
        stat.expect("its state").contains(") S ")
    })
}

#[test]
fn a_scrape_without_a_free_descriptor_has_the_metrics_of_the_process() {
    let exporter = demo("1");
    let mut stream = exporter.connect();
    stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
    stream.read_exact(&mut [0; 100]).expect("a connection that was accepted");
    // It tries to accept once more before it sleeps. Without a descriptor, it would close this connection for that.
    while !sleeps(&exporter) {
        thread::sleep(Duration::from_millis(1));
    }
    // Fewer than are open.
    let few = Rlimit { current: Some(5), maximum: Some(400) };
    prlimit(Some(Pid::from_child(&exporter.child)), Resource::Nofile, few).expect("a limit");
    let rest = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(rest).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let page = answer.split_once("HTTP/1.1 200 OK").expect("a page").1;
    let of_process = catalogue::ALL.iter().filter(|metric| metric.group == Group::Process);
    for metric in of_process {
        assert!(value(page, &format!("{} ", metric.name)).is_some(), "{page}");
    }
    assert!(value(page, "process_resident_memory_bytes ").is_some_and(|bytes| bytes > 1e6));
    assert_eq!(value(page, "process_max_fds "), Some(5.0));
    assert!(value(page, "process_open_fds ").is_some_and(|open| open > 5.0), "{page}");
}
