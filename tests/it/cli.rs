//! The command line: output, exit codes, errors in one line.

use std::env::consts::{ARCH, OS};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use regex::Regex;

use crate::support::exporter::{Exporter, PATIENCE, command, output, value};
use crate::support::fake_aws::ACCOUNT;
use crate::support::folder::Folder;
use crate::support::report::{report, row};

const EVERY_KIND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/every-kind.csv");
const GOVCLOUD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/govcloud-2013.csv");

/// The one-line error of this command line.
fn refusal(arguments: &[&str]) -> String {
    let output = output(arguments);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr.trim_end().to_owned()
}

#[test]
fn bad_input_is_refused_in_one_line_that_names_it() {
    for (arguments, expected) in [
        (
            &["--rotation.max-agee", "90d"][..],
            "unexpected argument '--rotation.max-agee' found; tip: a similar argument exists: '--rotation.max-age'",
        ),
        (
            &["--rotation.max-age", "0s"],
            "invalid value '0s' for '--rotation.max-age <DURATION>': must be between 1s and 36500d",
        ),
        (
            &["--rotation.warn-before", "2 months"],
            "invalid value '2 months' for '--rotation.warn-before <DURATION>': months and years have no fixed length; write it like 90d, 12h or 5m",
        ),
        (
            &["--refresh.interval", "soon"],
            "invalid value 'soon' for '--refresh.interval <DURATION>': expected number at 0; write it like 90d, 12h or 5m",
        ),
        (
            &["--refresh.concurrency", "0"],
            "invalid value '0' for '--refresh.concurrency <NUMBER>': 0 is not in 1..=1024",
        ),
        (
            &["demo", "--shard", "3", "--total-shards", "3"],
            "--shard: 3 is not below the 3 of --total-shards",
        ),
        (
            &["check-config", "--shard", "5", "--total-shards", "3"],
            "--shard: 5 is not below the 3 of --total-shards",
        ),
        (
            &["--metrics.allowlist", "iam_(.*"],
            "invalid value 'iam_(.*' for '--metrics.allowlist <REGEX>': unclosed group",
        ),
        (
            &["--metrics.denylist", "iam_typo"],
            "invalid value 'iam_typo' for '--metrics.denylist <REGEX>': matches none of the metrics that `iam-key-exporter metrics-doc` lists",
        ),
        (
            &["--web.telemetry-path", "metrics"],
            "invalid value 'metrics' for '--web.telemetry-path <PATH>': must begin with / and be made of letters, digits and /-_.~, and not be one of the exporter's own paths",
        ),
        (
            &["--web.telemetry-path", "/keys.csv"],
            "invalid value '/keys.csv' for '--web.telemetry-path <PATH>': must begin with / and be made of letters, digits and /-_.~, and not be one of the exporter's own paths",
        ),
        (
            &["--web.runbook-url", "javascript:alert(1)"],
            "invalid value 'javascript:alert(1)' for '--web.runbook-url <URL>': must begin with https:// or http:// and have no blanks",
        ),
        (
            &["--web.runbook-url", "https://runbooks.example/#top"],
            "invalid value 'https://runbooks.example/#top' for '--web.runbook-url <URL>': must have no part after #",
        ),
        (
            &["--web.dashboard-url", "javascript:alert(1)"],
            "invalid value 'javascript:alert(1)' for '--web.dashboard-url <URL>': must begin with https:// or http:// and have no blanks",
        ),
        (
            &["--web.dashboard-url", "https://"],
            "invalid value 'https://' for '--web.dashboard-url <URL>': must begin with https:// or http:// and have no blanks",
        ),
        (
            &["--web.telemetry-path", "/due.ics"],
            "invalid value '/due.ics' for '--web.telemetry-path <PATH>': must begin with / and be made of letters, digits and /-_.~, and not be one of the exporter's own paths",
        ),
        (
            &["--log.level", "loud"],
            "invalid value 'loud' for '--log.level <LEVEL>': must be debug, info, warn or error",
        ),
        (
            &["--source.reports", "/does/not/exist"],
            "--source.reports: /does/not/exist: No such file or directory (os error 2)",
        ),
        (
            &["demo", "--source.reports", EVERY_KIND],
            "--source.reports cannot be combined with demo: leave one of them out",
        ),
        (
            &["--web.listen-address", ":http"],
            "invalid value ':http' for '--web.listen-address <ADDRESS>': must be host:port, or :port for every address",
        ),
        (
            &["--web.listen-address", "9718"],
            "invalid value '9718' for '--web.listen-address <ADDRESS>': must be host:port, or :port for every address",
        ),
        (
            &["--web.listen-address", "::1:9718"],
            "invalid value '::1:9718' for '--web.listen-address <ADDRESS>': an IPv6 address needs brackets: write [::1]:9718",
        ),
        (
            &["--web.listen-address", ":::80"],
            "invalid value ':::80' for '--web.listen-address <ADDRESS>': an IPv6 address needs brackets: write [::]:80",
        ),
        (
            &["--web.listen-address", "2001:db8::1"],
            "invalid value '2001:db8::1' for '--web.listen-address <ADDRESS>': an IPv6 address needs brackets and a port: write [2001:db8::1]:9718",
        ),
        (
            &["--web.listen-address", "::1"],
            "invalid value '::1' for '--web.listen-address <ADDRESS>': an IPv6 address needs brackets and a port: write [::1]:9718",
        ),
        (
            &["--web.health-address", "9719"],
            "invalid value '9719' for '--web.health-address <ADDRESS>': must be host:port, or :port for every address",
        ),
        (
            &["--web.systemd-socket"],
            "--web.systemd-socket: systemd passed no sockets: start the exporter by its .socket unit",
        ),
        (
            &["--config.file", "-", "--source.reports", "/dev/stdin"],
            "--config.file and --source.reports cannot both be standard input",
        ),
        (
            &["--config.file", "a\u{1b}[2Jb\u{9b}\nc"],
            r"a\u001b[2Jb\u009b\nc: No such file or directory (os error 2)",
        ),
        (
            &["--metrics.denylist", "iam_users)|(?:_active$|iam_users"],
            "invalid value 'iam_users)|(?:_active$|iam_users' for '--metrics.denylist <REGEX>': unopened group",
        ),
        (
            &["--source.reports", "/dev/null"],
            "--source.reports: /dev/null: neither a regular file nor a folder",
        ),
    ] {
        assert_eq!(refusal(arguments), format!("iam-key-exporter: {expected}"));
    }
}

#[test]
fn a_port_in_use_is_refused() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("an address").to_string();
    for flag in ["--web.listen-address", "--web.health-address"] {
        let stderr = String::from_utf8(output(&["demo", flag, &address]).stderr);
        assert_eq!(
            stderr.expect("UTF-8").trim_end(),
            format!("iam-key-exporter: {flag} {address}: Address already in use (os error 98)")
        );
    }
}

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rules.yaml");

#[test]
fn check_config_prints_what_a_file_resolves_to_and_warns() {
    let flags = ["--rotation.max-age", "30d", "--rotation.warn-before", "3d"];
    let output = output(&[&["check-config", "--config.file", RULES][..], &flags].concat());
    assert_eq!(output.status.code(), Some(0));
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(
        stdout,
        "account of the default credentials\n\
         max age: 30d\n\
         warn before: 3d\n\
         rotation.rules[0]: user o*: exempt until 2020-01-02T00:00:00Z: long ago\n\
         rotation.rules[1]: user o*, path /: exempt until 2099-01-01T00:00:00Z: too old to move\n\
         confirm: never\n\
         service credentials: with each report\n\
         controls: CIS v7.0, unused after 45d, root unused for 90d, users: true, read: account_summary, password_policy, virtual_mfa_devices\n\
         label: tag team as tag_team\n"
    );
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    let expected =
        "warning: rotation.rules[0]: its exemption has ended, so it has no effect: user o*";
    assert_eq!(stderr.trim_end(), expected);
}

#[test]
fn a_bad_configuration_file_is_refused_before_anything_is_served() {
    let folder = Folder::new();
    folder.write("config.yaml", "rotation: { max_age: soon }\n");
    let file = format!("{}/config.yaml", folder.path());
    for command in [&[][..], &["check"], &["check-config"], &["demo"]] {
        let refusal = refusal(&[command, &["--config.file", &file]].concat());
        let expected = "rotation.max_age: expected number at 0; write it like 90d, 12h or 5m";
        assert_eq!(refusal, format!("iam-key-exporter: {file}:1: {expected}"));
    }
    let refusal = refusal(&["--config.file", "/does/not/exist"]);
    let expected = "iam-key-exporter: /does/not/exist: No such file or directory (os error 2)";
    assert_eq!(refusal, expected);
}

#[test]
fn an_empty_variable_is_as_none() {
    let mut command = command(&["check", "--source.reports", GOVCLOUD]);
    for name in ["CONFIG_FILE", "ROTATION_MAX_AGE", "METRICS_ALLOWLIST", "LOG_LEVEL"] {
        command.env(format!("IAM_KEY_EXPORTER_{name}"), "");
    }
    assert_eq!(command.output().expect("it runs").status.code(), Some(1));
    command.env("IAM_KEY_EXPORTER_ROTATION_MAX_AGE", "36500d");
    assert_eq!(command.output().expect("it runs").status.code(), Some(0));
}

#[test]
fn the_documentation_of_the_metrics_is_the_one_in_docs() {
    let output = output(&["metrics-doc"]);
    let documentation = String::from_utf8(output.stdout).expect("UTF-8");
    expect_test::expect_file!["../../docs/metrics.md"].assert_eq(&documentation);
}

#[test]
fn what_cannot_be_written_is_an_error() {
    for format in ["table", "json", "csv", "prometheus"] {
        let run = |to: std::fs::File| {
            let arguments = ["check", "--source.reports", GOVCLOUD, "--format", format];
            command(&arguments).stdout(to).output().expect("it runs")
        };
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
        let output = run(full);
        assert_eq!(output.status.code(), Some(2), "{format}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr, "iam-key-exporter: No space left on device (os error 28)\n");
    }
}

#[test]
fn a_stderr_that_cannot_be_written_is_no_panic() {
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("a device");
    for (arguments, prints) in [
        (&["check", "--source.reports", GOVCLOUD][..], true),
        // A row that cannot be read is logged, too.
        (&["check", "--source.reports", EVERY_KIND], true),
        (&["check", "--source.reports", EVERY_KIND, "--log.format", "json"], true),
        (&["check", "--source.reports", "/does/not/exist"], false),
        (&["check", "--no-such-flag"], false),
    ] {
        let output = command(arguments).stderr(full()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(!output.stdout.is_empty(), prints, "{arguments:?}");
        let stdout = command(arguments).stdout(full()).stderr(full()).status().expect("it runs");
        assert_eq!(stdout.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn the_server_goes_on_where_stderr_cannot_be_written() {
    for format in ["logfmt", "json"] {
        let folder = Folder::new();
        folder.write("a.csv", &report([row(ACCOUNT, "/", "a", "true,N/A,N/A,N/A,N/A")]));
        // The log cannot be read here, so the port must be known before.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let address = free.expect("a port").to_string();
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a device");
        let arguments = ["--source.reports", folder.path(), "--log.format", format];
        let mut command = command(&arguments);
        command.args(["--web.listen-address", &address]).stderr(full);
        let mut child = command.spawn().expect("it runs");
        let begin = Instant::now();
        let page = || {
            let mut stream = TcpStream::connect(&address).ok()?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").ok()?;
            let mut page = String::new();
            stream.read_to_string(&mut page).ok().map(|_| page)
        };
        let is_read = |page: String| page.contains("user=\"a\"");
        while !page().is_some_and(is_read) && begin.elapsed() < PATIENCE {
            sleep(Duration::from_millis(100));
        }
        let (is_read, end) = (page().is_some_and(is_read), child.try_wait().expect("a process"));
        child.kill().and_then(|()| child.wait()).expect("it ends");
        assert!(is_read && end.is_none(), "{format}: {end:?}");
    }
}

/// Its stdout. It must succeed.
fn printed(arguments: &[&str]) -> String {
    let output = output(arguments);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_version_tells_which_build_it_is() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(printed(&["-V"]), format!("iam-key-exporter {version}\n"));
    let long = printed(&["--version"]);
    let lines = Regex::new(&format!(
        "^iam-key-exporter {}\n  revision:   (unknown|[0-9a-f]{{40,64}}(-modified)?)\n  build date: 2[0-9]{{3}}-[0-9]{{2}}-[0-9]{{2}}T[0-9:]{{8}}Z\n  rustc:      1[.][0-9.]+[^ ]*\n  platform:   {OS}/{ARCH}\n$",
        regex::escape(version)
    ));
    assert!(lines.expect("it is valid").is_match(&long), "{long}");
}

#[test]
fn the_help_has_every_flag_and_lines_that_fit() {
    let help = printed(&["--help"]);
    for flag in ["--web.systemd-socket", "--config.file <PATH>", "IAM_KEY_EXPORTER_SHARD"] {
        assert!(help.contains(flag), "{flag}");
    }
    let long = help.lines().find(|line| line.chars().count() > 100);
    assert_eq!(long, None);
}

#[test]
fn the_log_level_can_be_written_in_any_case() {
    let check = |level| {
        let output = output(&["check", "--source.reports", GOVCLOUD, "--log.level", level]);
        assert_eq!(output.status.code(), Some(1), "{level}");
        String::from_utf8(output.stderr).expect("UTF-8").lines().count()
    };
    // At debug, the log has more than the summary.
    assert_eq!(["ERROR", "Warn"].map(check), [1, 1]);
    assert!(check("DEBUG") == check("debug"));
}

/// Runs it with this on its standard input.
fn output_of_input(arguments: &[&str], input: &str) -> Output {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    // It may have ended already.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

#[test]
fn the_configuration_can_come_from_standard_input_and_from_a_pipe() {
    let config = "rotation: { max_age: 7d }\n";
    for name in ["-", "/dev/stdin"] {
        let output = output_of_input(&["check-config", "--config.file", name], config);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains("max age: 7d\n"), "{name}");
    }
    let large = "#".repeat((1 << 20) + 1);
    for (input, problem) in [
        ("rotation: { max_age: soon }\n", ":1: rotation.max_age: expected number"),
        // A failure before the pipe must not look like an empty file.
        ("", ": the pipe was empty"),
        ("\n", ": the pipe was empty"),
        (&large, ": more than 1048576 bytes"),
    ] {
        let output = output_of_input(&["--config.file", "-"], input);
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.starts_with(&format!("iam-key-exporter: -{problem}")), "{stderr}");
    }
    let script = "\"$0\" check-config --config.file <(echo 'rotation: { max_age: 7d }')";
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).arg(command(&[]).get_program());
    let output = shell.output().expect("bash runs");
    assert!(String::from_utf8_lossy(&output.stdout).contains("max age: 7d\n"));
}

#[test]
fn a_report_can_come_from_standard_input_and_from_a_pipe() {
    let input = std::fs::read_to_string(GOVCLOUD).expect("a report");
    let arguments = ["check", "--format", "csv", "--source.reports"];
    let expected = output(&[&arguments[..], &[GOVCLOUD]].concat()).stdout;
    let expected = String::from_utf8(expected).expect("UTF-8");
    for name in ["-", "/dev/stdin"] {
        let output = output_of_input(&[&arguments[..], &[name]].concat(), &input);
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(stdout, expected.replace("govcloud-2013", "stdin"), "{name}");
    }
    let cut = input.trim_end().rsplit_once(',').expect("fields").0;
    for (input, problem) in [("", "the pipe was empty"), (cut, "its last row is cut")] {
        let output = output_of_input(&["--source.reports", "-"], input);
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr, format!("iam-key-exporter: --source.reports: -: {problem}\n"));
    }
}

#[test]
fn what_came_through_a_pipe_stays_at_a_reload() {
    let folder = Folder::new();
    let pipe = folder.file("config");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs").success());
    let writer = {
        let pipe = pipe.clone();
        thread::spawn(move || std::fs::write(pipe, "rotation: { max_age: 7d }\n"))
    };
    let flags = ["--web.listen-address=127.0.0.1:0", "--log.level=debug"];
    let mut command = command(&flags);
    command.arg("--config.file").arg(&pipe).args(["--source.reports", "-"]);
    let input = std::fs::File::open(GOVCLOUD).expect("a report");
    let mut cat =
        Command::new("cat").stdin(input).stdout(Stdio::piped()).spawn().expect("cat runs");
    command.stdin(cat.stdout.take().expect("a pipe"));
    let exporter = Exporter::spawn(command);
    writer.join().expect("no panic").expect("it is written");
    cat.wait().expect("cat ends");
    let max_age = "iam_rotation_max_age_seconds 604800\n";
    let is_read = |page: &str| page.contains(max_age) && page.contains("user=\"old\"");
    exporter.page_where(is_read);
    exporter.signal("HUP");
    exporter.log_line("configuration kept");
    let page = exporter.page_where(is_read);
    assert_eq!(value(&page, "iam_exporter_config_last_reload_successful"), Some(1.0));
    assert_eq!(value(&page, "iam_exporter_discovery_success"), Some(1.0));
}

/// The exporter with these sockets as file descriptors 3 and 4, as systemd passes them.
fn with_sockets(sockets: Vec<OwnedFd>) -> Command {
    let exporter = command(&["demo", "--users", "1", "--web.systemd-socket"]);
    let redirections = ["", "3<&0 </dev/null", "3<&0 4>&1 </dev/null >/dev/null"][sockets.len()];
    let count = sockets.len();
    let script = format!("LISTEN_PID=$$ LISTEN_FDS={count} exec \"$0\" \"$@\" {redirections}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(exporter.get_program()).args(exporter.get_args());
    for (name, value) in exporter.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut sockets = sockets.into_iter();
    if let Some(first) = sockets.next() {
        shell.stdin(first);
    }
    if let Some(second) = sockets.next() {
        shell.stdout(second);
    }
    shell
}

#[test]
fn it_serves_on_the_sockets_of_systemd_instead_of_an_address() {
    let first = TcpListener::bind("127.0.0.1:0").expect("a port");
    let second = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addresses = [&first, &second].map(|socket| socket.local_addr().expect("an address"));
    let mut exporter = Exporter::spawn(with_sockets(vec![first.into(), second.into()]));
    for address in addresses {
        exporter.address = address;
        assert_eq!(exporter.request("GET", "/-/healthy", &[]).status, 200);
    }
    exporter.signal("TERM");
    assert_eq!(exporter.exit_code(), Some(0));
}

#[test]
fn a_socket_of_systemd_that_is_no_tcp_listener_is_refused() {
    let folder = Folder::new();
    let listener = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let connection = || {
        let listener = listener();
        TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection")
    };
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let unix = UnixListener::bind(folder.file("socket")).expect("a socket");
    let file = std::fs::File::open("/dev/null").expect("a device");
    for (sockets, refused) in [
        (vec![udp.into()], 3),
        (vec![unix.into()], 3),
        (vec![file.into()], 3),
        (vec![connection().into()], 3),
        (vec![listener().into(), connection().into()], 4),
    ] {
        let output = with_sockets(sockets).stderr(Stdio::piped()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2));
        let expected = format!(
            "iam-key-exporter: --web.systemd-socket: file descriptor {refused} that systemd passed is not a TCP socket that listens\n"
        );
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    }
}

#[test]
fn names_with_escape_sequences_and_line_breaks_reach_no_terminal_raw() {
    let folder = Folder::new();
    let name = "a\u{1b}[2J\u{9b}31m\nunrotated keys: 0\r\u{202e}";
    folder.write(&format!("{name}.csv"), "no report");
    let old = "true,2020-01-01T00:00:00Z,N/A,N/A,N/A";
    folder.write("b.csv", &report([row(ACCOUNT, "/", "a", old), "a\u{1b}[31m,b".to_owned()]));
    let config = format!(
        "rotation: {{ rules: [{{ match: {{ user: {} }}, max_age: 1d }}] }}",
        serde_json::json!(name)
    );
    folder.write("config.yaml", &config);
    let config = folder.file("config.yaml");
    let config = ["--config.file", config.to_str().expect("UTF-8")];
    for arguments in [
        &["check", "--source.reports", folder.path()][..],
        &["check", "--source.reports", folder.path(), "--log.format", "json"],
        &["check", "--source.reports", folder.path(), "--log.level", "debug"],
        &["check", "--source.reports", &format!("{}/{name}", folder.path())],
        &["check-config"],
        &["check-config", "--log.level", name],
    ] {
        let output = output(&[arguments, &config].concat());
        for text in [output.stdout, output.stderr] {
            let text = String::from_utf8(text).expect("UTF-8");
            let is_raw = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!text.contains(is_raw), "{arguments:?}: {text:?}");
            assert!(!text.contains("\nunrotated keys: 0\r"), "{arguments:?}: {text:?}");
        }
    }
}

#[test]
fn a_variable_that_is_for_no_flag_is_named() {
    let mut command = command(&["check-config"]);
    // Kubernetes sets the second and third if a service has this name.
    for name in ["CONFIGFILE", "SERVICE_PORT_HTTP", "PORT_9718_TCP_ADDR", "LOG_LEVEL"] {
        command.env(format!("IAM_KEY_EXPORTER_{name}"), "warn");
    }
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("variable=IAM_KEY_EXPORTER_CONFIGFILE"), "{stderr}");
}
