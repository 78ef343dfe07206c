//! `check --controls`: the results of report files, as a table, JSON and CSV.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use iam_key_exporter::version::VERSION;

use crate::support::exporter::output;
use crate::support::fake_aws::ACCOUNT;
use crate::support::folder::Folder;
use crate::support::report::{OLD, report, row, unused};

/// Runs `check --controls` on this report: exit code, stdout and stderr.
fn check_file(csv: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = Folder::new();
    folder.write("production.csv", csv);
    let output =
        output(&[&["check", "--controls", "--source.reports", folder.path()], arguments].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The columns of a CSV that are named.
fn columns(csv: &str, names: &[&str]) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().expect("a header").clone();
    let place = |name: &&str| header.iter().position(|column| column == *name).expect("a column");
    let places: Vec<usize> = names.iter().map(place).collect();
    let records = reader.records().map(|record| record.expect("a record"));
    records
        .map(|record| places.iter().map(|place| &record[*place]).collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn check_decides_of_a_report_file_what_it_can() {
    let csv = report([row(ACCOUNT, "/", "a,b", &unused(OLD)), row(ACCOUNT, "/", "beta", &used())]);
    let (code, table, summary) = check_file(&csv, &[]);
    assert_eq!(code, Some(2), "{summary}");
    assert!(table.starts_with("NUMBER  CONTROL"), "{table}");
    assert!(table.contains("  ACCOUNTS NOT DECIDED  TITLE"), "{table}");
    assert!(table.contains("  DAYS     LIMIT DAYS  REASON    MISSING"), "{table}");
    assert!(
        table.contains("2.12    access_keys_rotated          1            1 of 1              "),
        "{table}"
    );
    let undecided = "2.8     password_length              not decided  not decided         1                     ";
    assert!(table.contains(undecided), "{table}");
    for line in [
        "not decided, or not in full: 2.8 password_length, 2.9 password_reuse: a report file does not have it (iam:GetAccountPasswordPolicy); accounts: 123456789012",
        "could not tell for all controls: controls: 10; violated: 2; not decided, or not in full: 7 (not decided without AWS: 3); violations: 2; accounts read: 1 of 1; oldest report: 0 hours old, of 20",
    ] {
        assert!(summary.contains(line), "{summary}");
    }
    let (_, found, _) = check_file(&csv, &["--format", "csv"]);
    let names = ["number", "control", "result", "user", "credential", "reason", "missing"];
    let rows = columns(&found, &names);
    for row in [
        "CIS 2.11 unused_credentials_disabled violated a,b key 1  ",
        "CIS 2.12 access_keys_rotated violated a,b key 1  ",
        "CIS 2.13 policies_on_groups_only not_decided   not_read iam:GetAccountAuthorizationDetails",
        "CIS 2.4 root_no_access_key not_decided   no_row <root_account>",
        "CIS 2.7 root_not_used not_decided   no_row <root_account>",
    ] {
        assert!(rows.iter().any(|it| it == row), "{row} in {rows:#?}");
    }
    let limits = columns(&found, &["control", "limit_days"]);
    for row in [
        "unused_credentials_disabled 45.00",
        "access_keys_rotated 90.00",
        "root_not_used 90.00",
        "password_length ",
    ] {
        assert!(limits.iter().any(|it| it == row), "{row} in {limits:#?}");
    }
    let versions = columns(&found, &["exporter_version"]);
    assert!(versions.iter().all(|version| version == VERSION), "{versions:?}");
    for times in columns(&found, &["report_generated", "as_of"]) {
        let times = times.split(' ').map(DateTime::parse_from_rfc3339);
        let times: Vec<_> = times.collect::<Result<_, _>>().expect("two times");
        assert!(times[0] <= times[1], "{times:?}");
    }
    assert!(!found.contains("console_mfa"), "nothing to say of it: {found}");
    for show in ["all", "every"] {
        let (_, all, _) = check_file(&csv, &["--format", "csv", "--show", show]);
        assert!(columns(&all, &["control", "result"]).contains(&"console_mfa passed".to_owned()));
    }
}

/// The columns of a key that is new and in use.
fn used() -> String {
    let at = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    format!("true,{at},{at},us-east-1,s3")
}

#[test]
fn the_version_of_the_benchmark_decides_numbers_and_limits() {
    let used = (Utc::now() - TimeDelta::days(60)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let csv = report([row(ACCOUNT, "/", "alpha", &format!("true,{used},{used},us-east-1,s3"))]);
    for (version, expected) in [
        ("v1.2", None),
        ("v1.4", Some("CIS 1.12 unused_credentials_disabled v1.4 60.00")),
        ("v4.0.1", Some("CIS 1.12 unused_credentials_disabled v4.0 60.00")),
        ("v7.0", Some("CIS 2.11 unused_credentials_disabled v7.0 60.00")),
    ] {
        let (_, found, _) = check_file(&csv, &["--format", "csv", "--benchmark", version]);
        let rows = columns(&found, &["number", "control", "benchmark", "days"]);
        let unused = rows.iter().find(|row| row.contains("unused")).map(String::as_str);
        assert_eq!(unused, expected, "{version}");
    }
    let (_, found, _) = check_file(&csv, &["--format", "json"]);
    let found: serde_json::Value = serde_json::from_str(&found).expect("JSON");
    let found = found.as_array().expect("an array");
    let unused = found.iter().find(|row| row["control"] == "unused_credentials_disabled");
    let unused = unused.expect("a finding");
    assert_eq!((&unused["user"], &unused["limit_days"]), (&"alpha".into(), &45.0.into()));
    assert_eq!(unused["exporter_version"], VERSION);
    assert!(unused["report_generated"].as_str() <= unused["as_of"].as_str(), "{unused}");
    let refused = output(&["check", "--controls", "--benchmark", "v8.0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(output(&["check", "--benchmark", "v7.0"]).status.code(), Some(2));
}

#[test]
fn a_spreadsheet_changes_no_cell_and_json_is_exact() {
    let csv = report([row(ACCOUNT, "/", "=user", &unused(OLD))]);
    let of = |format| {
        let version = ["--benchmark", "v3.0", "--show", "every", "--format", format];
        check_file(&csv, &version).1
    };
    let numbers = columns(&of("csv"), &["number"]);
    assert!(numbers.contains(&"CIS 1.10".to_owned()), "{numbers:?}");
    assert!(numbers.iter().all(|number| number.starts_with("CIS 1.")), "{numbers:?}");
    assert!(columns(&of("csv"), &["user"]).contains(&"'=user".to_owned()));
    let found: serde_json::Value = serde_json::from_str(&of("json")).expect("JSON");
    let found = found.as_array().expect("an array");
    assert!(found.iter().any(|row| row["number"] == "1.10"), "{found:?}");
    assert!(found.iter().any(|row| row["user"] == "=user"), "{found:?}");
}

/// The shorter limit counts: that of the file, or that of the version that decides.
#[test]
fn the_limit_of_the_file_makes_that_of_any_version_shorter() {
    let csv = report([row(ACCOUNT, "/", "alpha", &used())]);
    let limit = |config: &str, arguments: &[&str]| {
        let folder = Folder::new();
        folder.write("config.yaml", config);
        let path = folder.file("config.yaml");
        let config = ["--config.file", path.to_str().expect("UTF-8"), "--show", "every"];
        let (_, found, error) =
            check_file(&csv, &[&config[..], &["--format", "csv"], arguments].concat());
        if found.is_empty() {
            return error;
        }
        let limits = columns(&found, &["control", "limit_days"]);
        let limit = limits.iter().find_map(|row| row.strip_prefix("unused_credentials_disabled "));
        limit.expect("a limit").to_owned()
    };
    let of_60 = "controls: { benchmark: v1.3, unused_after: 60d }";
    assert_eq!(limit(of_60, &[]), "60.00");
    assert_eq!(limit(of_60, &["--benchmark", "v1.1"]), "60.00");
    assert_eq!(limit(of_60, &["--benchmark", "v7.0"]), "45.00");
    let of_30 = "controls: { benchmark: v7.0, unused_after: 30d }";
    for version in ["v1.3", "v7.0"] {
        assert_eq!(limit(of_30, &["--benchmark", version]), "30.00");
    }
    // The file has to be valid as it is.
    let refused = limit("controls: { unused_after: 60d }", &["--benchmark", "v1.3"]);
    let expected =
        "config.yaml:1: controls: unused_after of 60d is longer than the 45d of CIS v7.0";
    assert!(refused.contains(expected), "{refused}");
}

#[test]
fn tags_that_a_report_file_lacks_say_nothing_of_controls() {
    let folder = Folder::new();
    let rules = "rotation: { rules: [{ match: { tags: { team: shop } }, max_age: 30d }] }";
    folder.write("config.yaml", rules);
    let path = folder.file("config.yaml");
    let csv = report([row(ACCOUNT, "/", "alpha", &used())]);
    let config = ["--config.file", path.to_str().expect("UTF-8")];
    let (_, _, summary) = check_file(&csv, &config);
    assert!(!summary.contains("tags"), "{summary}");
}
