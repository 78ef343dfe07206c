//! HTTP: answers, limits on clients, and the end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;

use crate::support::exporter::{Exporter, Response, command, value};

fn demo() -> Exporter {
    let exporter = Exporter::start(&["demo", "--users", "50"]);
    exporter.wait_until_ready();
    exporter
}

/// A page of several megabytes, so that no socket buffer takes it whole.
fn large_demo() -> Exporter {
    let exporter = Exporter::start(&["demo", "--users", "10000"]);
    exporter.wait_until_ready();
    exporter
}

#[test]
fn the_status_page_and_its_files_name_the_shard() {
    let sharding = ["--accounts", "9", "--total-shards", "3", "--shard", "0"];
    let exporter = Exporter::start(&[&["demo"][..], &sharding].concat());
    exporter.wait_until_ready();
    for path in ["/", "/keys.csv", "/due.ics"] {
        let text = exporter.get(path);
        assert!(text.contains(" of shard 0 of 3 "), "{path}: {text}");
    }
}

#[test]
fn metrics_are_the_page_and_the_exporters_own_with_their_type_and_length() {
    let exporter = demo();
    let response = exporter.request("GET", "/metrics?from=test", &[]);
    assert_eq!(response.status, 200);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(response.header("content-type"), Some(kind));
    assert_eq!(response.header("vary"), Some("Accept-Encoding"));
    assert_eq!(response.header("content-encoding"), None);
    let length = response.body.len().to_string();
    assert_eq!(response.header("content-length"), Some(length.as_str()));
    let page = String::from_utf8(response.body).expect("UTF-8");
    for name in [
        "iam_access_key_age_days{",
        "iam_unrotated_keys_total{",
        "iam_exporter_build_info{",
        "process_start_time_seconds ",
    ] {
        assert!(value(&page, name).is_some(), "no {name}");
    }
    let bytes = value(&page, "iam_exporter_page_bytes{encoding=\"identity\"}").expect("a size");
    let exporter_metrics = page.find("# HELP iam_exporter_accounts ").expect("own metrics");
    assert_eq!(bytes as usize, exporter_metrics);
}

#[test]
fn gzip_is_the_same_page_in_one_member() {
    let exporter = demo();
    let response = exporter.request("GET", "/metrics", &["Accept-Encoding: gzip"]);
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    let mut unzipped = String::new();
    GzDecoder::new(&response.body[..]).read_to_string(&mut unzipped).expect("gzip");
    let report_part = |page: &str| {
        page.split("# HELP iam_exporter_").next().map(str::to_owned).expect("a first part")
    };
    assert_eq!(report_part(&unzipped), report_part(&exporter.get("/metrics")));
    assert!(unzipped.contains("\nprocess_start_time_seconds "));
}

#[test]
fn other_paths_and_methods_are_told_so() {
    let exporter = demo();
    for (method, path, status) in [
        ("GET", "/-/healthy", 200),
        ("GET", "/-/ready", 200),
        ("GET", "/", 200),
        ("GET", "/keys.csv", 200),
        ("GET", "/status.css", 200),
        ("HEAD", "/metrics", 200),
        ("HEAD", "/", 200),
        ("HEAD", "/keys.csv", 200),
        ("POST", "/metrics", 405),
        ("DELETE", "/", 405),
        ("POST", "/keys.csv", 405),
        ("PUT", "/status.css", 405),
        ("GET", "/metric", 404),
        ("POST", "/nowhere", 404),
        ("POST", "/-/reload", 403),
    ] {
        let response = exporter.request(method, path, &[]);
        assert_eq!(response.status, status, "{method} {path}");
        if status == 405 {
            assert_eq!(response.header("allow"), Some("GET, HEAD"));
        }
        if method == "HEAD" {
            assert_eq!(response.body, b"");
            assert_ne!(response.header("content-length"), Some("0"));
        }
    }
    let refused = "iam_exporter_http_requests_total{code=\"405\"}";
    exporter.page_where(|page| value(page, refused) == Some(4.0));
}

#[test]
fn the_status_page_links_to_metrics_runbooks_and_dashboard_at_any_address() {
    let arguments = [
        "--web.telemetry-path=/keys",
        "--web.runbook-url=http://wiki/runbooks",
        "--web.dashboard-url=https://grafana/d/fleet?var-team=All&from=now-7d",
    ];
    let exporter = Exporter::start(&[&["demo"][..], &arguments].concat());
    exporter.wait_until_ready();
    let page = exporter.get("/");
    assert!(page.contains("<a href=\"./keys\">"));
    assert!(page.contains("<a href=\"http://wiki/runbooks\">Runbooks</a>"));
    let (_, rest) = page.split_once("href=\"key?").expect("a key");
    let key = rest.split('"').next().expect("its end").replace("&amp;", "&");
    let key = exporter.get(&format!("/key?{key}"));
    assert!(key.contains("<a href=\"http://wiki/runbooks#"));
    let dashboard = "https://grafana/d/fleet?var-team=All&amp;from=now-7d";
    assert!(page.contains(&format!("<a href=\"{dashboard}\">Dashboard</a>")));
    assert!(exporter.get("/keys").contains("iam_exporter_build_info"));
    assert_eq!(exporter.request("GET", "/metrics", &[]).status, 404);
}

#[test]
fn the_time_of_due_soon_is_shown_in_every_place() {
    let due_soon = |days: u32| {
        let exporter = Exporter::start(&["demo", &format!("--rotation.warn-before={days}d")]);
        exporter.wait_until_ready();
        let status = exporter.get("/?show=due_soon");
        assert!(status.contains(&format!("Keys due within {days} days")));
        assert!(!status.contains("Dashboard"));
        let metrics = exporter.get("/metrics");
        let seconds = value(&metrics, "iam_rotation_warn_before_seconds");
        assert_eq!(seconds, Some(f64::from(days) * 86_400.0));
        let is_due = |line: &&str| {
            line.starts_with("iam_owner_access_keys{") && line.contains("status=\"due_soon\"")
        };
        let numbers = metrics.lines().filter(is_due).map(|line| {
            let (_, number) = line.rsplit_once(' ').expect("a value");
            number.parse::<usize>().expect("a number")
        });
        // Service-specific credentials, which are no access keys, have a service.
        let file = exporter.get("/keys.csv?show=due_soon");
        let rows = file.lines().skip(1).filter(|row| !row.contains(".amazonaws.com,"));
        let rows = rows.count();
        assert_eq!(numbers.sum::<usize>(), rows);
        rows
    };
    let (within_two_weeks, within_two_months) = (due_soon(14), due_soon(60));
    assert!(0 < within_two_weeks && within_two_weeks < within_two_months);
}

#[test]
fn the_status_page_takes_nothing_from_elsewhere_and_is_kept_nowhere() {
    let exporter = demo();
    for path in
        ["/", "/?q=backup&show=all", "/keys.csv", "/key", "/due.ics", "/runbooks", "/?page=x"]
    {
        let response = exporter.request("GET", path, &[]);
        let policy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
        assert_eq!(response.header("content-security-policy"), Some(policy));
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert_eq!(response.header("vary"), Some("Accept-Encoding"));
    }
    let style = exporter.request("GET", "/status.css", &[]);
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    let page = exporter.get("/");
    assert!(page.contains("<link rel=\"stylesheet\" href=\"status.css\">"));
    assert!(!page.contains("<script") && !page.contains("style=\""));
    assert!(page.contains("This is a made-up organization"));
}

#[test]
fn the_status_page_and_the_file_list_what_is_asked_for() {
    let exporter = demo();
    let page = exporter.request("GET", "/?q=&show=exempt&sort=user", &[]);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let page = String::from_utf8(page.body).expect("UTF-8");
    let file = exporter.request("GET", "/keys.csv?q=&show=exempt&sort=user", &[]);
    assert_eq!(file.header("content-type"), Some("text/csv; charset=utf-8"));
    let disposition = file.header("content-disposition").expect("a name");
    assert!(
        disposition.starts_with("attachment; filename=\"iam-access-keys-exempt-2"),
        "{disposition}"
    );
    let file = String::from_utf8(file.body).expect("UTF-8");
    let users: Vec<&str> =
        file.lines().skip(1).map(|line| line.split(',').nth(2).expect("a user")).collect();
    assert!(users.len() > 3 && users.is_sorted(), "{users:?}");
    let mut rest = page.as_str();
    for user in &users {
        let row = format!("<bdi>{user}</bdi></a>");
        rest = rest.split_once(&row).unwrap_or_else(|| panic!("no {user} next")).1;
    }
    assert!(page.contains(&format!("Exempt keys: {}", users.len())));
    assert!(page.contains("href=\"keys.csv?show=exempt&amp;sort=user\""));
}

#[test]
fn the_status_page_is_sent_with_gzip_to_those_who_take_it() {
    let exporter = demo();
    let file = exporter.get("/keys.csv");
    let response = exporter.request("GET", "/keys.csv", &["Accept-Encoding: gzip"]);
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    let mut unzipped = String::new();
    GzDecoder::new(&response.body[..]).read_to_string(&mut unzipped).expect("gzip");
    let users = |file: &str| {
        let user = |line: &str| line.split(',').nth(2).map(str::to_owned);
        file.lines().map(user).collect::<Vec<_>>()
    };
    assert_eq!(users(&unzipped), users(&file));
}

#[test]
fn what_the_status_page_cannot_mean_is_told_on_a_page_with_a_way_back() {
    let exporter = demo();
    let long = format!("q={}", "x".repeat(401));
    for (query, expected) in [
        ("page=0", "page must be a whole number from 1 on"),
        (
            "show=everything",
            "show must be unrotated, due_soon, exempt, exemption_ending, never_used, not_judged, all or every",
        ),
        (long.as_str(), "q must be at most 400 characters"),
    ] {
        for path in ["/", "/keys.csv", "/key", "/due.ics"] {
            let response = exporter.request("GET", &format!("{path}?{query}"), &[]);
            assert_eq!(response.status, 400);
            let page = String::from_utf8(response.body).expect("UTF-8");
            assert!(page.contains(&format!("<p class=\"empty\">{expected}</p>")), "{page}");
            assert!(page.contains("<a href=\"./\">All keys</a>"), "there is a way back");
        }
    }
    assert_eq!(exporter.request("GET", "/?utm=%ff%00&page=77&q=%ff", &[]).status, 200);
}

#[test]
fn of_many_keys_the_page_shows_200_and_the_file_all() {
    let exporter = large_demo();
    let rows = |page: &str| page.matches("<th scope=\"row\" data-label=\"User\">").count();
    let start = Instant::now();
    let page = exporter.get("/");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(rows(&page), 200);
    for page in ["/", "/?show=all&sort=due", "/?q=payments&show=all", "/?show=every"] {
        let size = exporter.request("GET", page, &["Accept-Encoding: gzip"]).body.len();
        assert!((2_000..20_000).contains(&size), "{page}: {size} bytes");
    }
    let file = exporter.get("/keys.csv");
    let keys = file.lines().count() - 1;
    assert!(keys > 5_000, "{keys} keys");
    let last = keys.div_ceil(200);
    assert!(page.contains(&format!("<a href=\"?page={last}#keys\">Last</a>")));
    assert_eq!(rows(&exporter.get(&format!("/?page={last}"))), keys - (last - 1) * 200);
    let beyond = exporter.get("/?page=4000000000");
    assert_eq!(rows(&beyond), keys - (last - 1) * 200);
}

#[test]
fn many_who_look_at_the_page_do_not_slow_a_scrape() {
    let exporter = large_demo();
    let scrape = || {
        let start = Instant::now();
        assert_eq!(exporter.request("GET", "/metrics", &["Accept-Encoding: gzip"]).status, 200);
        start.elapsed()
    };
    thread::scope(|scope| {
        let looking: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| exporter.request("GET", "/?q=e&show=all&sort=user", &[]).status)
            })
            .collect();
        let slowest = (0..10).map(|_| scrape()).max().expect("a scrape");
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        for status in looking {
            assert_eq!(status.join().expect("an answer"), 200);
        }
    });
}

#[test]
fn a_body_and_a_head_that_is_too_large_are_refused() {
    let exporter = demo();
    let response = exporter.request("GET", "/metrics", &["Content-Length: 5"]);
    assert_eq!(response.status, 413);
    let response = exporter.request("POST", "/", &["Transfer-Encoding: chunked"]);
    assert_eq!(response.status, 413);
    let cookie = format!("Cookie: {}", "x".repeat(20 << 10));
    assert_eq!(exporter.request("GET", "/metrics", &[&cookie]).status, 431);
}

/// How long until the other side closes this connection.
fn time_to_close(mut stream: TcpStream) -> Duration {
    let start = Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    start.elapsed()
}

#[test]
fn a_silent_or_slow_connection_is_closed_after_5_seconds() {
    let exporter = demo();
    let silent = exporter.connect();
    let mut slow = exporter.connect();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").expect("half a head");
    let mut idle = exporter.connect();
    idle.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
    let times = [silent, slow, idle].map(|stream| thread::spawn(|| time_to_close(stream)));
    for time in times {
        let time = time.join().expect("a time");
        assert!((4.0..8.0).contains(&time.as_secs_f64()), "{time:?}");
    }
}

#[test]
fn a_response_that_nobody_reads_is_dropped_after_30_seconds() {
    let exporter = large_demo();
    let mut stream = exporter.connect();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
    let open = || value(&exporter.get("/metrics"), "iam_exporter_http_connections");
    let start = Instant::now();
    // The later connection can be served first.
    while open() != Some(2.0) {
        assert!(start.elapsed() < Duration::from_secs(5), "not open");
        sleep(Duration::from_millis(20));
    }
    sleep(Duration::from_secs(25));
    assert_eq!(open(), Some(2.0));
    while open() != Some(1.0) {
        assert!(start.elapsed() < Duration::from_secs(45), "still open");
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn sigterm_lets_a_slow_scrape_finish_and_exits_0() {
    let mut exporter = large_demo();
    let mut stream = exporter.connect();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
    // Part of the response is here: it is under way.
    let mut start = [0; 1000];
    stream.read_exact(&mut start).expect("the response's start");
    exporter.signal("TERM");
    exporter.log_line("stopping");
    sleep(Duration::from_secs(2));
    let refused = TcpStream::connect(exporter.address);
    assert!(refused.is_err(), "it still listens");

    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the rest");
    let response = [&start[..], &rest].concat();
    let head = response.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let text = String::from_utf8_lossy(&response[..head]).into_owned();
    let length: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .and_then(|length| length.parse().ok())
        .expect("a length");
    assert_eq!(response.len() - head, length, "the scrape was cut off");
    assert_eq!(exporter.exit_code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut exporter = large_demo();
    let mut stream = exporter.connect();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
    let mut start = [0; 1000];
    stream.read_exact(&mut start).expect("the response's start");
    exporter.signal("INT");
    exporter.log_line("stopping");
    // It is the same one for a second: a service manager and a terminal may both send one.
    exporter.signal("TERM");
    sleep(Duration::from_millis(1500));
    assert!(exporter.child.try_wait().expect("a child").is_none());
    let second = Instant::now();
    exporter.signal("TERM");
    assert_eq!(exporter.exit_code(), Some(0));
    assert!(second.elapsed() < Duration::from_secs(5));
}

#[test]
fn signals_that_mean_nothing_here_change_nothing() {
    let exporter = demo();
    for signal in ["USR1", "USR2"] {
        exporter.signal(signal);
    }
    sleep(Duration::from_millis(100));
    assert_eq!(exporter.get("/-/healthy"), "healthy\n");
}

#[test]
fn it_serves_while_aws_cannot_be_reached_and_says_so() {
    let mut command = command(&["--web.listen-address", "127.0.0.1:0"]);
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "x");
    let exporter = Exporter::spawn(command);
    exporter.page_where(|page| {
        let failures = "iam_exporter_unidentified_refresh_failures_total{reason=\"network\"}";
        let failing = "iam_exporter_accounts{state=\"failing\"}";
        value(page, failures) == Some(1.0) && value(page, failing) == Some(1.0)
    });
    assert!(!exporter.get("/metrics").contains("account_id="), "no series of an unknown account");
    let line = exporter.log_line("refresh failed");
    assert!(line.contains("level=WARN"), "{line}");
    assert!(line.contains("reason=network"), "{line}");
}

#[test]
fn logs_can_be_json() {
    let mut exporter = Exporter::start(&["demo", "--users", "1", "--log.format", "json"]);
    exporter.signal("TERM");
    let line = exporter.log_line("stopping");
    let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(event["level"], "INFO");
    assert_eq!(event["msg"], "stopping");
    assert_eq!(exporter.exit_code(), Some(0));
}

#[test]
fn a_response_is_read_whole_by_a_client_that_keeps_its_connection() {
    let exporter = demo();
    let mut stream = exporter.connect();
    for _ in 0..3 {
        stream.write_all(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
    }
    stream
        .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .expect("a request");
    let response = Response::read(&mut stream);
    assert_eq!(response.status, 200);
    assert!(response.body.ends_with(b"healthy\n"));
}

#[test]
fn the_demo_shows_every_metric_but_the_clocks_and_that_of_the_web_configuration() {
    let exporter = Exporter::start(&["demo"]);
    exporter.wait_until_ready();
    let page = exporter.get("/metrics");
    let absent: Vec<&str> = iam_key_exporter::metrics::catalogue::ALL
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !page.contains(&format!("# TYPE {name} ")))
        .collect();
    // It has no AWS whose clock could differ, and no file.
    let expected =
        ["iam_exporter_clock_skew_seconds", "iam_exporter_web_config_last_reload_successful"];
    assert_eq!(absent, expected);
}
