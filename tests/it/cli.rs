//! The command line: output, exit codes, errors in one line.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::exporter::{PATIENCE, command, output};
use crate::support::fake_aws::ACCOUNT;
use crate::support::folder::Folder;
use crate::support::report::{report, row};

const EVERY_KIND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/every-kind.csv");
const GOVCLOUD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/govcloud-2013.csv");

/// The one line that this command line is refused with.
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
            "invalid value '0s' for '--rotation.max-age <DURATION>': must lie between 1s and 36500d",
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
            "invalid value 'javascript:alert(1)' for '--web.runbook-url <URL>': must begin with https:// or http:// and have no part after #",
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
            &["--log.level", "loud"],
            "invalid value 'loud' for '--log.level <LEVEL>': must be debug, info, warn or error",
        ),
        (
            &["--source.reports", "/does/not/exist"],
            "--source.reports: /does/not/exist: No such file or directory (os error 2)",
        ),
        (
            &["demo", "--source.reports", EVERY_KIND],
            "--source.reports is of no use with demo: leave one of them out",
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
    let stderr = String::from_utf8(output(&["demo", "--web.listen-address", &address]).stderr);
    assert_eq!(
        stderr.expect("UTF-8").trim_end(),
        format!(
            "iam-key-exporter: --web.listen-address {address}: Address already in use (os error 98)"
        )
    );
}

#[test]
fn check_prints_the_unrotated_keys_oldest_first_and_exits_1() {
    let output = output(&["check", "--source.reports", GOVCLOUD, "--format", "csv"]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    assert!(lines[1].starts_with("210987654321,govcloud-2013,old,1,"));
    assert!(lines[1].ends_with(",2013-01-02T00:00:00Z,2013-04-02T00:00:00Z,,,default"));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(stderr.trim_end(), "unrotated keys: 1; accounts read: 1 of 1");
}

#[test]
fn check_exits_0_where_every_key_is_young_enough() {
    let output = output(&["check", "--source.reports", GOVCLOUD, "--rotation.max-age", "36500d"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn check_exits_2_where_a_row_could_not_be_read_and_prints_the_others() {
    let output = output(&["check", "--source.reports", EVERY_KIND]);
    assert_eq!(output.status.code(), Some(2));
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let users: Vec<&str> =
        stdout.lines().skip(1).map(|line| line.split_whitespace().nth(2).unwrap_or("")).collect();
    assert_eq!(users[..3], ["<root_account>", "two-keys", "exempt"]);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(stderr.contains("line=21 column=access_key_1_last_rotated"), "{stderr}");
    assert!(stderr.contains("line=24 column=user"), "{stderr}");
}

/// What `check` says on stderr of a report that it cannot judge, with these flags.
fn uncertain(report: &str, flags: &[&str]) -> String {
    let folder = Folder::new();
    folder.write("a.csv", report);
    let arguments = ["check", "--source.reports", folder.path()];
    let output = output(&[&arguments[..], flags].concat());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// The same of a report of one user with this key.
fn check_of_one(key: &str) -> String {
    uncertain(&report([row(ACCOUNT, "/", "a", key)]), &[])
}

/// Columns of a key that is younger than every rule here.
const YOUNG: &str = "true,2026-11-20T00:00:00Z,N/A,N/A,N/A";

#[test]
fn check_exits_2_where_rules_go_by_tags_and_the_reports_are_files() {
    let folder = Folder::new();
    let rule = "rotation: { rules: [{ match: { tags: { team: a } }, max_age: 30d }] }";
    folder.write("config.yaml", rule);
    let config = folder.file("config.yaml");
    let flags = ["--config.file", config.to_str().expect("UTF-8")];
    let stderr = uncertain(&report([row(ACCOUNT, "/", "a", YOUNG)]), &flags);
    let expected =
        "account 123456789012: unreadable_file: rules go by tags, and report files have none";
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn check_exits_2_where_a_report_file_does_not_show_all_keys_of_a_user() {
    let header = report([]) + ",additional_credentials_info\n";
    let line = row(ACCOUNT, "/", "a", YOUNG) + ",1 more access key";
    let report = header + &line;
    let stderr = uncertain(&report, &[]);
    let expected = "users with more keys or certificates than the report shows: 1\n";
    assert!(stderr.contains(expected), "{stderr}");
    // Of an exempt user nobody asks how old the keys are.
    let folder = Folder::new();
    folder.write("a.csv", &report);
    let rule = "rotation: { rules: [{ match: { user: a }, exempt: { reason: vendor } }] }";
    folder.write("config.yaml", rule);
    let config = folder.file("config.yaml");
    let config = config.to_str().expect("UTF-8");
    let file = folder.file("a.csv");
    let file = file.to_str().expect("UTF-8");
    let output = output(&["check", "--source.reports", file, "--config.file", config]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn check_tells_of_a_report_that_is_old() {
    let folder = Folder::new();
    let path = folder.file("a.csv");
    std::fs::write(&path, report([row(ACCOUNT, "/", "a", YOUNG)])).expect("a file");
    let file = std::fs::File::options().write(true).open(&path).expect("a file");
    let check = |days: u64| {
        let age = std::time::Duration::from_secs(days * 86_400);
        file.set_modified(std::time::SystemTime::now() - age).expect("a time");
        let output = output(&["check", "--source.reports", folder.path()]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = check(3);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.ends_with("accounts read: 1 of 1; oldest report: 72 hours old\n"), "{stderr}");
    // A key that was made after the report can be too old by now.
    let (code, stderr) = check(91);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("accounts whose report is older than keys may become: 1\n"),
        "{stderr}"
    );
}

#[test]
fn check_exits_2_and_counts_the_active_keys_whose_age_is_not_known() {
    let not_judged = "active keys that were not judged, because their age is not known: 1\n";
    assert!(check_of_one("true,N/A,N/A,N/A,N/A").contains(not_judged));
    let from_the_future = check_of_one("true,2100-01-01T00:00:00Z,N/A,N/A,N/A");
    assert!(from_the_future.contains(not_judged), "{from_the_future}");
    let clock = "account 123456789012: clock: the report has a time of 2100-01-01T00:00:00Z, which the clock of this host has not reached";
    assert!(from_the_future.contains(clock), "{from_the_future}");
}

#[test]
fn check_exits_2_where_the_report_is_from_the_future() {
    let stderr = check_of_one("false,2020-01-01T00:00:00Z,2100-01-01T00:00:00Z,N/A,N/A");
    assert!(stderr.contains("account 123456789012: clock: "), "{stderr}");
}

#[test]
fn check_exits_2_where_an_account_could_not_be_read() {
    let output = output(&["check"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    let expected =
        "account unknown: credentials: no credentials found in the environment, profile default, ";
    assert!(stderr.starts_with(expected), "{stderr}");
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
}

#[test]
fn check_exits_2_where_there_is_no_account_at_all() {
    // One of the two has the only account.
    let check = |shard: &str| {
        let sharding = ["--total-shards", "2", "--shard", shard];
        output(&[&["check", "--source.reports", GOVCLOUD][..], &sharding].concat())
    };
    let expected = "could not tell for all keys: unrotated keys: 0; accounts read: 0 of 0; only accounts of shard ";
    let has_none = |shard: &&str| {
        let output = check(shard);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        stderr.trim_end() == format!("{expected}{shard} of 2") && output.status.code() == Some(2)
    };
    assert_eq!(["0", "1"].iter().filter(|shard| has_none(shard)).count(), 1);
}

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rules.yaml");

#[test]
fn check_shows_what_is_exempt_or_due_soon_and_which_rule_decided() {
    let run = |show| {
        let arguments =
            ["check", "--source.reports", GOVCLOUD, "--config.file", RULES, "--show", show];
        let output = output(&[&arguments[..], &["--format", "csv"]].concat());
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    let (code, stdout) = run("unrotated");
    assert_eq!((code, stdout.lines().count()), (Some(0), 1));
    let (code, stdout) = run("all");
    assert_eq!(code, Some(0));
    let line = stdout.lines().nth(1).expect("a key");
    assert!(line.contains(",old,1,,exempt,"), "{line}");
    assert!(
        line.ends_with("rotation.rules[1]: exempt until 2099-01-01T00:00:00Z: too old to move")
    );
}

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
         label: tag team as tag_team\n"
    );
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    let expected =
        "warning: rotation.rules[0]: its exemption has ended, so it decides nothing: user o*";
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
fn the_formats_of_check_tell_the_same() {
    let run = |format| {
        let output = output(&["check", "--source.reports", GOVCLOUD, "--format", format]);
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let json: serde_json::Value = serde_json::from_str(&run("json")).expect("JSON");
    let finding = &json.as_array().expect("an array")[0];
    assert_eq!(finding["account_id"], "210987654321");
    assert_eq!(finding["user"], "old");
    assert_eq!(finding["key"], 1);
    assert_eq!(finding["due"], "2013-04-02T00:00:00Z");
    assert_eq!(finding["last_used"], serde_json::Value::Null);
    let table = run("table");
    assert_eq!(table.lines().count(), 2);
    assert!(table.lines().nth(1).is_some_and(|line| line.contains("  old  ")));
    let series = "iam_access_key_unrotated{account_id=\"210987654321\",user=\"old\",key=\"1\"} 1\n";
    assert!(run("prometheus").contains(series));
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
        // The log would tell the port: it has to be known before.
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

#[test]
fn version_and_help_are_no_errors() {
    for argument in ["--version", "--help"] {
        let output = output(&[argument]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(output.stderr, b"");
        assert!(!output.stdout.is_empty());
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

#[test]
fn check_names_rules_that_decide_about_no_user() {
    let folder = Folder::new();
    let rules = "rotation: { rules: [{ match: { user: beta }, max_age: 30d }, { match: { user: bta }, max_age: 30d }] }";
    folder.write("config.yaml", rules);
    let config = folder.file("config.yaml");
    folder.write("a.csv", &report([row(ACCOUNT, "/", "beta", "false,N/A,N/A,N/A,N/A")]));
    let arguments = ["check", "--source.reports", folder.path(), "--config.file"];
    let output = output(&[&arguments[..], &[config.to_str().expect("UTF-8")]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let expected = "rotation.rules[1] decides about no user: user bta\nunrotated keys: 0; accounts read: 1 of 1\n";
    assert_eq!((output.status.code(), &*stderr), (Some(0), expected));
}
