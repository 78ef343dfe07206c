//! `check`: keys, exit codes, and the lines on stderr.

use std::fs::File;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;

use crate::support::exporter::output;
use crate::support::fake_aws::ACCOUNT;
use crate::support::folder::Folder;
use crate::support::report::{NO_KEY, OLD, report, root, row};

const EVERY_KIND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/every-kind.csv");
const GOVCLOUD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/govcloud-2013.csv");
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rules.yaml");

#[test]
fn check_prints_the_unrotated_keys_oldest_first_and_exits_1() {
    let output = output(&["check", "--source.reports", GOVCLOUD, "--format", "csv"]);
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    assert!(lines[1].starts_with("210987654321,govcloud-2013,old,1,"));
    assert!(lines[1].ends_with(",2013-01-02T00:00:00Z,2013-04-02T00:00:00Z,,,default,,"));
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    let expected = "unrotated keys: 1; service-specific credentials: not in report files; accounts read: 1 of 1; oldest report: ";
    assert!(stderr.starts_with(expected), "{stderr}");
    assert!(stderr.ends_with("Z by the file's time\n"), "{stderr}");
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
    let named =
        ": line 21, user no-time, column access_key_1_last_rotated: an active key without a time\n";
    assert!(stderr.contains(named), "{stderr}");
}

/// The stderr of `check` for a report that it cannot judge, with these flags.
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
fn young() -> String {
    let yesterday = (Utc::now() - TimeDelta::days(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("true,{yesterday},N/A,N/A,N/A")
}

#[test]
fn check_exits_2_where_rules_go_by_tags_and_the_reports_are_files() {
    let folder = Folder::new();
    let rule = "rotation: { rules: [{ match: { tags: { team: a } }, max_age: 30d }] }";
    folder.write("config.yaml", rule);
    let config = folder.file("config.yaml");
    let flags = ["--config.file", config.to_str().expect("UTF-8")];
    let stderr = uncertain(&report([row(ACCOUNT, "/", "a", &young())]), &flags);
    let expected =
        "account 123456789012: unreadable_file: rules need tags, and report files have none";
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn check_exits_2_where_a_report_file_does_not_show_all_keys_of_a_user() {
    let header = report([]) + ",additional_credentials_info\n";
    let root = root(ACCOUNT, NO_KEY) + ",N/A\n";
    let line = row(ACCOUNT, "/", "a", &young()) + ",1 more access key";
    let report = header + &root + &line;
    let stderr = uncertain(&report, &[]);
    let expected = "account 123456789012: user a may have more keys than the report shows\n";
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
    std::fs::write(&path, report([root(ACCOUNT, NO_KEY), row(ACCOUNT, "/", "a", NO_KEY)]))
        .expect("a file");
    let file = File::options().write(true).open(&path).expect("a file");
    let check = |days: u64| {
        let age = Duration::from_secs(days * 86_400);
        file.set_modified(SystemTime::now() - age).expect("a time");
        let output = output(&["check", "--source.reports", folder.path()]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = check(3);
    assert_eq!(code, Some(0), "{stderr}");
    let expected = "accounts read: 1 of 1; oldest report: 3 days old, of 20";
    assert!(stderr.contains(expected) && stderr.ends_with("Z by the file's time\n"), "{stderr}");
    // A key that was made after the report can be too old by now.
    let (code, stderr) = check(91);
    assert_eq!(code, Some(2), "{stderr}");
    let line = "account 123456789012: the report is older than keys may become: more than 90d\n";
    assert!(stderr.contains(line), "{stderr}");
}

#[test]
fn the_time_of_a_report_is_the_newest_in_it_if_the_file_has_an_older_one() {
    let folder = Folder::new();
    let days = |days: u64| SystemTime::now() - Duration::from_secs(days * 86_400);
    let used = DateTime::<Utc>::from(days(6)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let path = folder.file("a.csv");
    let key = format!("true,{OLD},{used},us-east-1,s3");
    std::fs::write(&path, report([row(ACCOUNT, "/", "a", &key)])).expect("a file");
    let file = File::options().write(true).open(&path).expect("a file");
    file.set_modified(days(117)).expect("a time");
    let expected = format!("; oldest report: 6 days old, of {used} by the newest time in it\n");
    for arguments in [&["check"][..], &["check", "--controls"]] {
        let output = output(&[arguments, &["--source.reports", folder.path()]].concat());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(stderr.ends_with(&expected), "{stderr}");
    }
}

#[test]
fn check_exits_2_and_names_the_active_keys_whose_age_is_not_known() {
    let not_judged = "account 123456789012: key 1 of user a is not judged: its time ";
    assert!(check_of_one("true,N/A,N/A,N/A,N/A").contains(not_judged));
    let from_the_future = check_of_one("true,2100-01-01T00:00:00Z,N/A,N/A,N/A");
    assert!(from_the_future.contains(not_judged), "{from_the_future}");
    let clock = "account 123456789012: clock: the report has a time of 2100-01-01T00:00:00Z, which is in the future: set the clock of this host";
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
    let expected = "there is no account in this shard\ncould not tell for all keys: unrotated keys: 0; service-specific credentials: not in report files; accounts read: 0 of 0; only accounts of shard ";
    let has_none = |shard: &&str| {
        let output = check(shard);
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        stderr.trim_end() == format!("{expected}{shard} of 2") && output.status.code() == Some(2)
    };
    assert_eq!(["0", "1"].iter().filter(|shard| has_none(shard)).count(), 1);
}

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
        line.ends_with("rotation.rules[1]: exempt until 2099-01-01T00:00:00Z: too old to move,,")
    );
}

#[test]
fn check_shows_every_key_also_young_and_inactive_ones() {
    let folder = Folder::new();
    let keys = ["true,2020-01-01T00:00:00Z", "true,N/A", "false,2020-01-02T00:00:00Z"];
    let rows = keys.iter().enumerate().map(|(index, key)| {
        row(ACCOUNT, "/", &format!("user-{index}"), &format!("{key},N/A,N/A,N/A"))
    });
    folder.write("report.csv", &report(rows));
    let path = folder.file("report.csv");
    let path = path.to_str().expect("UTF-8");
    let run = |show| {
        let flags = ["--rotation.max-age", "36500d", "--show", show, "--format", "csv"];
        let output = output(&[&["check", "--source.reports", path][..], &flags].concat());
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    assert_eq!(run("all").lines().count(), 1);
    let every = run("every");
    let statuses: Vec<_> = every.lines().skip(1).map(|line| line.split(',').nth(5)).collect();
    assert_eq!(statuses, [Some("not_judged"), Some("ok"), Some("inactive")]);
}

#[test]
fn the_formats_of_check_tell_the_same() {
    let run = |format| {
        let output = output(&["check", "--source.reports", GOVCLOUD, "--format", format]);
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let json: Value = serde_json::from_str(&run("json")).expect("JSON");
    let finding = &json.as_array().expect("an array")[0];
    assert_eq!(finding["account_id"], "210987654321");
    assert_eq!(finding["user"], "old");
    assert_eq!(finding["key"], 1);
    assert_eq!(finding["due"], "2013-04-02T00:00:00Z");
    assert_eq!(
        (&finding["last_used"], &finding["never_used"]),
        (&Value::Null, &Value::Bool(false))
    );
    let table = run("table");
    assert_eq!(table.lines().count(), 2);
    assert!(table.lines().nth(1).is_some_and(|line| line.contains("  old  ")));
    let series = "iam_access_key_unrotated{account_id=\"210987654321\",user=\"old\",key=\"1\"} 1\n";
    assert!(run("prometheus").contains(series));
}

#[test]
fn a_key_that_was_never_used_differs_from_one_of_unknown_use() {
    let folder = Folder::new();
    for (cell, text, is_never) in [("N/A", ",never,", true), ("", ",,", false)] {
        let key = format!("true,2020-01-01T00:00:00Z,{cell},N/A,N/A");
        folder.write("a.csv", &report([root(ACCOUNT, NO_KEY), row(ACCOUNT, "/", "alpha", &key)]));
        let run = |format| {
            let output = output(&["check", "--source.reports", folder.path(), "--format", format]);
            String::from_utf8(output.stdout).expect("UTF-8")
        };
        let json: Value = serde_json::from_str(&run("json")).expect("JSON");
        assert_eq!(json[0]["last_used"], Value::Null);
        assert_eq!(json[0]["never_used"], is_never, "{cell}");
        let csv = run("csv");
        let row = csv.lines().nth(1).expect("a row");
        assert!(row.contains(&format!("2020-03-31T00:00:00Z{text}")), "{row}");
    }
}

#[test]
fn tags_that_were_not_read_are_no_missing_tags() {
    let folder = Folder::new();
    for (config, are_known) in [("{}", true), ("labels: { user_tags: [team] }", false)] {
        folder.write("config.yaml", config);
        let config = folder.file("config.yaml");
        let flags = ["--config.file", config.to_str().expect("UTF-8"), "--format"];
        let run = |format| {
            let source = ["check", "--source.reports", GOVCLOUD];
            let output = output(&[&source[..], &flags, &[format]].concat());
            String::from_utf8(output.stdout).expect("UTF-8")
        };
        let json: Value = serde_json::from_str(&run("json")).expect("JSON");
        let finding = &json.as_array().expect("an array")[0];
        assert_eq!(finding["tags"], serde_json::json!({}));
        assert_eq!(finding["tags_known"], are_known);
        for format in ["table", "csv"] {
            let text = run(format);
            assert_eq!(text.contains("not_read"), !are_known, "{text}");
        }
    }
}

#[test]
fn check_names_rules_that_decide_about_no_user() {
    let folder = Folder::new();
    let rules = "rotation: { rules: [{ match: { user: beta }, max_age: 30d }, { match: { user: bta }, max_age: 30d }] }";
    folder.write("config.yaml", rules);
    let config = folder.file("config.yaml");
    folder.write("a.csv", &report([root(ACCOUNT, NO_KEY), row(ACCOUNT, "/", "beta", NO_KEY)]));
    let arguments = ["check", "--source.reports", folder.path(), "--config.file"];
    let output = output(&[&arguments[..], &[config.to_str().expect("UTF-8")]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let expected = "rotation.rules[1] applies to no user: user bta\nunrotated keys: 0; ";
    assert!(stderr.starts_with(expected), "{stderr}");
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(0), 2), "{stderr}");
}

/// What can be missing of report files, in every format. The log is off: these lines are no part of it.
#[test]
fn exit_code_2_names_the_account_and_what_is_missing_in_every_format() {
    let of = |key: &str| report([root(ACCOUNT, NO_KEY), row(ACCOUNT, "/", "alpha", key)]);
    let young = young();
    let twice = report([root(ACCOUNT, NO_KEY), row(ACCOUNT, "/", "alpha", &young)]);
    let twice = format!("{twice}\n{}", row(ACCOUNT, "/", "alpha", &young));
    let cut = "cut,arn".to_owned();
    let cut = report([root(ACCOUNT, NO_KEY), cut, row(ACCOUNT, "/", "alpha", &young)]);
    let by_tags = "rotation: { rules: [{ match: { tags: { team: a } }, max_age: 30d }] }";
    let hour: i64 = 3_600;
    for (csv, config, age, account, missing) in [
        (
            of("maybe,2026-01-01T00:00:00Z,N/A,N/A,N/A"),
            "",
            hour,
            ACCOUNT,
            "user alpha, column access_key_1_active",
        ),
        (of("true,N/A,N/A,N/A,N/A"), "", hour, ACCOUNT, "key 1 of user alpha is not judged"),
        (of("true,2100-01-01T00:00:00Z,N/A,N/A,N/A"), "", hour, ACCOUNT, "is ahead of the clock"),
        (of(",,N/A,N/A,N/A"), "", hour, ACCOUNT, "user alpha may have more keys"),
        (cut, "", hour, ACCOUNT, "user cut, column user"),
        (twice, "", hour, ACCOUNT, "user alpha, column user: the report has the user twice"),
        (report([row(ACCOUNT, "/", "alpha", &young)]), "", hour, ACCOUNT, "row of the root user"),
        (of(&young), by_tags, hour, ACCOUNT, "rules need tags"),
        (of(NO_KEY), "", 91 * 24 * hour, ACCOUNT, "older than keys may become"),
        (of(&young), "", -3 * hour, ACCOUNT, "clock: "),
        (
            "user,arn\n".to_owned(),
            "",
            hour,
            "production",
            "malformed_report: the header has no column",
        ),
        ("[\n{}\n]\n".to_owned(), "", hour, "production", "malformed_report: this is JSON"),
        (String::new(), "", hour, "production", "the report is empty"),
    ] {
        let folder = Folder::new();
        folder.write("config.yaml", config);
        folder.write("production.csv", &csv);
        let file = File::options().write(true).open(folder.file("production.csv")).expect("a file");
        let age = TimeDelta::seconds(age);
        file.set_modified((Utc::now() - age).into()).expect("a time");
        let config = folder.file("config.yaml");
        let flags = ["--config.file", config.to_str().expect("UTF-8"), "--log.level", "error"];
        let source = ["check", "--source.reports", folder.path()];
        for format in ["table", "json", "csv", "prometheus"] {
            let format = ["--format", format];
            let keys = output(&[&source[..], &flags, &format].concat());
            let stderr = String::from_utf8(keys.stderr).expect("UTF-8");
            assert_eq!(keys.status.code(), Some(2), "{missing}: {stderr}");
            let account = format!("account {account}: ");
            let is_named = |line: &str| line.starts_with(&account) && line.contains(missing);
            assert!(stderr.lines().any(is_named), "no line with {account}{missing}: {stderr}");
        }
        // Report files never decide all controls.
        for format in ["table", "json", "csv"] {
            let format = ["--controls", "--format", format];
            let controls = output(&[&source[..], &flags, &format].concat());
            let stderr = String::from_utf8(controls.stderr).expect("UTF-8");
            assert_eq!(controls.status.code(), Some(2), "{missing}: {stderr}");
            let undecided = "not decided, or not in full: ";
            let is_named = |line: &str| line.starts_with(undecided) && line.ends_with(account);
            assert!(stderr.lines().any(is_named), "no line with {account}: {stderr}");
        }
    }
}
