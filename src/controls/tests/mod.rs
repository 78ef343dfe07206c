//! Tests of the controls: what they share, and the table of the benchmark.

mod root;
mod undecided;
mod users;

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::judge::{OF_ROOT, OF_USERS};
use super::*;
use crate::confirmation::{ListedKey, merge};
use crate::evidence::{AccountSummary, Evidence, LastSaid, PasswordPolicy, Reading};
use crate::failure::Reason;
use crate::report::{COLUMNS, ROOT_USER, Report};
use crate::state::{Account, State, Tried, UNKNOWN_ACCOUNT};
use rows::Results;

fn now() -> DateTime<Utc> {
    "2026-11-01T12:00:00Z".parse().expect("a time")
}

/// The time that number of hundredths of a day ago.
fn ago(hundredths: i64) -> String {
    as_text(now() - TimeDelta::seconds(hundredths * 864))
}

fn as_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn days_ago(days: i64) -> String {
    ago(days * 100)
}

/// A user without credentials, created 1,000 days ago, with these values instead.
type Row = (&'static str, Vec<(&'static str, String)>);

fn user(values: &[(&'static str, &str)]) -> Row {
    ("alpha", values.iter().map(|(column, value)| (*column, (*value).to_owned())).collect())
}

/// A root user as AWS reports it, without keys, with MFA, and with a password used 400 days ago.
fn root(values: &[(&'static str, &str)]) -> Row {
    let used = days_ago(400);
    let usual = [
        ("password_enabled", "true"),
        ("password_last_used", used.as_str()),
        ("password_last_changed", "not_supported"),
        ("password_next_rotation", "not_supported"),
        ("mfa_active", "true"),
    ];
    (ROOT_USER, user(&[&usual, values].concat()).1)
}

fn csv_of(partition: &str, rows: &[Row], without: &[&str]) -> String {
    let shown = COLUMNS.iter().filter(|column| !without.contains(column));
    let shown: Vec<&str> = shown.copied().collect();
    let lines = rows.iter().map(|(name, values)| {
        let resource = if *name == ROOT_USER { "root".to_owned() } else { format!("user/{name}") };
        let field = |column: &&str| match values.iter().rev().find(|(name, _)| name == column) {
            Some((_, value)) => value.clone(),
            None => match *column {
                "user" => (*name).to_owned(),
                "arn" => format!("arn:{partition}:iam::123456789012:{resource}"),
                "user_creation_time" => days_ago(1_000),
                column if column.ends_with("active") || column == "password_enabled" => {
                    "false".to_owned()
                }
                _ => "N/A".to_owned(),
            },
        };
        shown.iter().map(field).collect::<Vec<_>>().join(",")
    });
    std::iter::once(shown.join(",")).chain(lines).collect::<Vec<_>>().join("\n")
}

fn account_of(csv: &str) -> Account {
    let report = Report::parse(csv.as_bytes()).expect("a report");
    let report = Some(Arc::new(report));
    Account {
        report,
        evidence: Evidence::good(now()),
        ..Account::pending("123456789012", "production")
    }
}

fn account(rows: &[Row]) -> Account {
    account_of(&csv_of("aws", rows, &[]))
}

fn denied<T>() -> Reading<T> {
    Reading { failure: Some(Reason::AccessDenied), ..Reading::default() }
}

fn outcome_by(
    benchmark: Benchmark,
    account: &Account,
    control: Control,
) -> (Vec<Violation<'_>>, Vec<Unknown>, Status) {
    let settings = Settings { benchmark, ..Settings::default() };
    let outcomes = judge(account, &settings, now()).expect("a report");
    let outcome = outcomes.get(control).clone();
    let status = outcome.status();
    (outcome.violations, outcome.unknown.into_iter().collect(), status)
}

/// The expected number of violations, or the expected reasons why it is not decided.
type Expected = Result<usize, Unknown>;

#[track_caller]
fn assert_is(account: &Account, control: Control, expected: Expected, why: &str) {
    assert_is_by(Benchmark::NEWEST, account, control, expected, why);
}

#[track_caller]
fn assert_is_by(
    benchmark: Benchmark,
    account: &Account,
    control: Control,
    expected: Expected,
    why: &str,
) {
    let (violations, unknown, _) = outcome_by(benchmark, account, control);
    let found = match unknown.as_slice() {
        [] => Ok(violations.len()),
        [first, ..] => Err(*first),
    };
    assert_eq!(found, expected, "{why}");
    assert!(unknown.is_empty() || violations.is_empty(), "{why}");
}

const N_A: &str = "N/A";

/// The columns of a key in a slot.
fn key(slot: u8, active: &str, rotated: &str, used: &str) -> Vec<(&'static str, String)> {
    let columns = match slot {
        1 => ["access_key_1_active", "access_key_1_last_rotated", "access_key_1_last_used_date"],
        _ => ["access_key_2_active", "access_key_2_last_rotated", "access_key_2_last_used_date"],
    };
    let values = [active, rotated, used].map(str::to_owned);
    columns.into_iter().zip(values).collect()
}

fn user_with(parts: &[Vec<(&'static str, String)>]) -> Row {
    ("alpha", parts.concat())
}

fn password(enabled: &str, used: &str, changed: &str, mfa: &str) -> Vec<(&'static str, String)> {
    let columns = ["password_enabled", "password_last_used", "password_last_changed", "mfa_active"];
    let values = [enabled, used, changed, mfa].map(str::to_owned);
    columns.into_iter().zip(values).collect()
}

// --- The table ---

fn assert_root_is(account: &Account, expected: [Expected; 4], why: &str) {
    for (control, expected) in OF_ROOT.into_iter().zip(expected) {
        assert_is(account, control, expected, &format!("{}: {why}", control.name()));
    }
}

#[test]
fn the_table_is_in_the_order_of_the_controls_and_its_names_are_unique() {
    let mut names = HashSet::new();
    for (index, entry) in catalogue::TABLE.iter().enumerate() {
        assert_eq!(entry.control as usize, index, "{}", entry.name);
        assert!(names.insert(entry.name));
        assert!(entry.violation.ends_with('.') && !entry.title.ends_with('.'), "{}", entry.name);
    }
}

#[test]
fn each_version_has_each_number_once_and_lists_them_in_order() {
    for benchmark in Benchmark::ALL {
        let numbers: Vec<&str> =
            Control::of(benchmark).into_iter().map(|(number, _)| number).collect();
        let distinct: HashSet<&&str> = numbers.iter().collect();
        assert_eq!(distinct.len(), numbers.len(), "{}", benchmark.as_str());
    }
    let numbers = |benchmark| -> String {
        let controls = Control::of(benchmark);
        controls.into_iter().map(|(number, it)| format!("{number} {}\n", it.name())).collect()
    };
    assert_eq!(
        numbers(Benchmark::V7_0),
        "2.4 root_no_access_key\n2.5 root_mfa\n2.6 root_hardware_mfa\n2.7 root_not_used\n\
         2.8 password_length\n2.9 password_reuse\n2.10 console_mfa\n\
         2.11 unused_credentials_disabled\n2.12 access_keys_rotated\n2.13 policies_on_groups_only\n"
    );
    assert_eq!(Control::of(Benchmark::V1_1).len(), 16);
    assert_eq!(numbers(Benchmark::V1_4), numbers(Benchmark::V4_0));
}

#[test]
fn every_version_has_its_label_in_its_place() {
    for benchmark in Benchmark::ALL {
        let label = format!("cis_{}", benchmark.as_str().replace('.', "_"));
        assert_eq!(benchmark.label(), label);
    }
}

// --- Keys of users ---

fn account_made(account: &mut Account, days_ago: i64) -> Account {
    account.generated = Some(now() - TimeDelta::days(days_ago));
    account.clone()
}

#[test]
fn a_limit_of_the_configuration_is_not_longer_than_the_benchmarks() {
    let limit = |benchmark, days| {
        let unused_after = Some(TimeDelta::days(days));
        Settings { benchmark, unused_after, ..Settings::default() }.unused_after().num_days()
    };
    assert_eq!(limit(Benchmark::V3_0, 30), 30);
    assert_eq!(limit(Benchmark::V3_0, 60), 45);
    assert_eq!(limit(Benchmark::V1_3, 60), 60);
}

const OF_POLICY: [Control; 7] = [
    Control::PasswordExpiry,
    Control::PasswordUppercase,
    Control::PasswordLowercase,
    Control::PasswordSymbol,
    Control::PasswordNumber,
    Control::PasswordLength,
    Control::PasswordReuse,
];

#[test]
fn a_benchmark_without_a_control_says_nothing_of_it() {
    let account = account(&[root(&[]), user(&[])]);
    let state = State::new([Arc::new(account)], Tried::Ok, true);
    let settings = Settings { benchmark: Benchmark::V7_0, ..Settings::default() };
    let results = Results::new(&state, &settings, now());
    assert!(results.rows.iter().all(|row| row.control != Control::OneActiveKeyPerUser.name()));
    assert!(!results.is_uncertain());
}
