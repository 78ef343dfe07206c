use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::judge::{OF_ROOT, OF_USERS};
use super::*;
use crate::confirmation::{ListedKey, merge};
use crate::evidence::{AccountSummary, Evidence, PasswordPolicy, Reading};
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
    Account { report, evidence: evidence(), ..Account::pending("123456789012", "production") }
}

fn account(rows: &[Row]) -> Account {
    account_of(&csv_of("aws", rows, &[]))
}

const GOOD_POLICY: PasswordPolicy = PasswordPolicy {
    min_length: Some(14),
    requires_uppercase: true,
    requires_lowercase: true,
    requires_symbol: true,
    requires_number: true,
    max_age_days: Some(90),
    remembered: Some(24),
};

/// Everything was read, and all is well.
fn evidence() -> Evidence {
    Evidence {
        summary: Reading::of(
            AccountSummary {
                root_password: Some(true),
                root_mfa: Some(true),
                root_keys: Some(false),
            },
            now(),
        ),
        password_policy: Reading::of(Some(GOOD_POLICY), now()),
        root_virtual_mfa: Reading::of(false, now()),
        user_policies: Reading::of(Arc::new([("alpha".to_owned(), false)].into()), now()),
    }
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

#[test]
fn a_key_must_be_rotated_above_90_days() {
    let control = Control::AccessKeysRotated;
    for (active, rotated, expected, why) in [
        ("true", ago(9_000), Ok(0), "at 90.00 days"),
        ("true", ago(9_001), Ok(1), "at 90.01 days"),
        ("false", days_ago(400), Ok(0), "an inactive key keeps its date"),
        ("false", N_A.to_owned(), Ok(0), "there is no key"),
        ("TRUE", days_ago(91), Ok(1), "upper case"),
        ("true", N_A.to_owned(), Err(Unknown::Column("access_key_N_last_rotated")), "no date"),
        ("true", ago(-100), Err(Unknown::Column("access_key_N_last_rotated")), "a date ahead"),
    ] {
        for slot in [1, 2] {
            let user = user_with(&[key(slot, active, &rotated, &ago(1))]);
            assert_is(&account(&[user]), control, expected, why);
        }
    }
    let old = days_ago(91);
    let both = user_with(&[key(1, "true", &old, N_A), key(2, "true", &old, N_A)]);
    assert_is(&account(&[both]), control, Ok(2), "each key counts");
    let of_root = (ROOT_USER, key(1, "true", &old, N_A));
    assert_is(&account(&[of_root]), control, Ok(0), "root is no user");
}

#[test]
fn a_credential_is_unused_from_45_days_on() {
    let control = Control::UnusedCredentialsDisabled;
    let made = days_ago(100);
    for (used, by_45, by_90) in
        [(4_499, 0, 0), (4_500, 1, 0), (4_501, 1, 0), (8_999, 1, 0), (9_000, 1, 1)]
    {
        for row in [
            user_with(&[key(1, "true", &made, &ago(used))]),
            user_with(&[key(2, "true", &made, &ago(used))]),
            user_with(&[key(1, "true", &ago(used), N_A)]),
            user_with(&[password("true", &ago(used), &made, "true")]),
            user_with(&[password("true", "no_information", &ago(used), "true")]),
            user_with(&[password("true", N_A, &ago(used), "true")]),
        ] {
            let account = account(&[row]);
            for (benchmark, expected) in [
                (Benchmark::V1_1, by_90),
                (Benchmark::V1_3, by_90),
                (Benchmark::V1_4, by_45),
                (Benchmark::V7_0, by_45),
            ] {
                let why = format!("{used} by {}", benchmark.as_str());
                assert_is_by(benchmark, &account, control, Ok(expected), &why);
            }
        }
    }
}

#[test]
fn what_was_never_used_counts_from_when_it_was_made() {
    let control = Control::UnusedCredentialsDisabled;
    let old = days_ago(400);
    let row =
        user_with(&[key(1, "true", &old, N_A), password("true", "no_information", &old, "true")]);
    let account = account(&[row]);
    assert_is(&account, control, Ok(2), "a key and a password, never used, 400 days old");
    let (violations, _, _) = outcome_by(Benchmark::NEWEST, &account, control);
    let credentials: Vec<_> = violations.iter().map(|violation| violation.credential).collect();
    assert_eq!(credentials, [Some(Credential::Key(1)), Some(Credential::Password)]);
    assert_eq!(violations[0].age.map(|age| age.days()), Some(400.0));
    // Not from the creation of the user.
    let changed = user_with(&[password("true", "no_information", &days_ago(10), "true")]);
    assert_is(&self::account(&[changed]), control, Ok(0), "a new password of an old user");
}

#[test]
fn what_cannot_be_used_any_more_is_not_unused() {
    let control = Control::UnusedCredentialsDisabled;
    let old = days_ago(400);
    for (row, why) in [
        (user_with(&[password("false", &old, N_A, "false")]), "the password was removed"),
        (user_with(&[key(1, "false", &old, &old)]), "an inactive key"),
        (user_with(&[key(1, "true", &days_ago(100), &days_ago(1))]), "used yesterday"),
        (
            (
                ROOT_USER,
                [key(1, "true", &old, &old), password("true", &old, &old, "true")].concat(),
            ),
            "root",
        ),
    ] {
        assert_is(&account(&[row]), control, Ok(0), why);
    }
    let user = user_with(&[key(1, "false", &old, &old), key(2, "true", &old, N_A)]);
    assert_is(&account(&[root(&[]), user]), control, Ok(1), "key 2 of the only user");
}

#[test]
fn a_use_that_is_not_known_is_not_decided() {
    let control = Control::UnusedCredentialsDisabled;
    let row = || user_with(&[key(1, "true", &days_ago(60), N_A)]);
    let without = |columns: &[&str]| account_of(&csv_of("aws", &[row()], columns));
    let unknown = Err(Unknown::Column("access_key_N_last_used_date"));
    let columns = ["access_key_1_last_used_date", "access_key_2_last_used_date"];
    assert_is(&without(&columns), control, unknown, "no column");
    let new = user_with(&[key(1, "true", &days_ago(44), N_A)]);
    let account_of_new = account_of(&csv_of("aws", &[new], &columns));
    assert_is(&account_of_new, control, Ok(0), "too new to be unused");

    let with_password = || user_with(&[password("true", "no_information", &days_ago(60), "true")]);
    for (column, reason) in [
        ("password_enabled", "password_enabled"),
        ("password_last_used", "password_last_used"),
        ("password_last_changed", "password_last_changed"),
    ] {
        let account = account_of(&csv_of("aws", &[with_password()], &[column]));
        assert_is(&account, control, Err(Unknown::Column(reason)), column);
    }
    for value in ["", "not_supported", "yesterday"] {
        let row = user_with(&[password("true", value, &days_ago(60), "true")]);
        let unknown = Err(Unknown::Column("password_last_used"));
        assert_is(&account(&[row]), control, unknown, value);
    }
}

#[test]
fn two_active_keys_are_one_too_many() {
    let control = Control::OneActiveKeyPerUser;
    let new = days_ago(1);
    for (first, second, expected) in
        [("true", "true", 1), ("true", "false", 0), ("false", "true", 0), ("false", "false", 0)]
    {
        let keys = [key(1, first, &new, N_A), key(2, second, &new, N_A)];
        assert_is(&account(&[user_with(&keys)]), control, Ok(expected), first);
        let of_root = (ROOT_USER, keys.concat());
        assert_is(&account(&[of_root]), control, Ok(0), "root is no user");
    }
}

#[test]
fn further_keys_count_when_aws_has_listed_them() {
    let more = vec![("additional_credentials_info", "2 more access keys".to_owned())];
    let row = user_with(&[key(1, "true", &days_ago(1), &days_ago(1)), more]);
    let mut account = account(&[row]);
    for control in [Control::AccessKeysRotated, Control::OneActiveKeyPerUser] {
        assert_is(&account, control, Err(Unknown::Keys), "not listed");
    }
    let listed = |id: &str, days: i64| ListedKey {
        id: id.to_owned(),
        active: true,
        created: days_ago(days).parse().expect("a time"),
    };
    let report = account.report.clone().expect("a report");
    let keys = merge(&report.users[0].keys, &[listed("A", 1), listed("B", 100), listed("C", 400)]);
    Arc::make_mut(&mut account.confirmed).insert("alpha", Some(keys));
    assert_is(&account, Control::AccessKeysRotated, Ok(2), "as listed");
    assert_is(&account, Control::OneActiveKeyPerUser, Ok(1), "as listed");
}

#[test]
fn a_key_made_with_a_console_user_and_never_used_is_one_of_setup() {
    let control = Control::NoKeyAtUserSetup;
    let created = now() - TimeDelta::days(30);
    let after = |seconds| as_text(created + TimeDelta::seconds(seconds));
    let row = |slot, enabled: &str, active: &str, made: &str, used: &str| {
        let created = vec![("user_creation_time", after(0))];
        let password = password(enabled, "no_information", &after(0), "true");
        user_with(&[created, password, key(slot, active, made, used)])
    };
    for slot in [1, 2] {
        for (enabled, active, made, used, expected, why) in [
            ("true", "true", after(0), N_A, 1, "in the same second"),
            ("true", "true", after(60), N_A, 1, "a minute later"),
            ("true", "true", after(61), N_A, 0, "later"),
            ("true", "true", after(0), "2026-10-30T00:00:00Z", 0, "it was used"),
            ("true", "false", after(0), N_A, 0, "it is inactive"),
            ("false", "true", after(0), N_A, 0, "there is no password"),
        ] {
            let account = account(&[row(slot, enabled, active, &made, used)]);
            assert_is_by(Benchmark::V3_0, &account, control, Ok(expected), why);
        }
    }
    // The conditions are of one key, not of both.
    let both = user_with(&[
        vec![("user_creation_time", after(0))],
        password("true", "no_information", &after(0), "true"),
        key(1, "true", &after(0), "2026-10-30T00:00:00Z"),
        key(2, "true", &after(3_600), N_A),
    ]);
    assert_is(&account(&[both]), control, Ok(0), "one made at setup, the other never used");
    for (column, reason) in [
        ("user_creation_time", "user_creation_time"),
        ("password_enabled", "password_enabled"),
        ("access_key_1_last_used_date", "access_key_N_last_used_date"),
    ] {
        let csv = csv_of("aws", &[row(1, "true", "true", &after(0), N_A)], &[column]);
        let unknown = Err(Unknown::Column(reason));
        assert_is(&account_of(&csv), control, unknown, column);
    }
}

// --- Users ---

#[test]
fn a_password_needs_mfa() {
    let control = Control::ConsoleMfa;
    for (enabled, mfa, expected) in [
        ("true", "false", Ok(1)),
        ("TRUE", "FALSE", Ok(1)),
        ("true", "true", Ok(0)),
        ("false", "false", Ok(0)),
        ("true", N_A, Err(Unknown::Column("mfa_active"))),
        ("not_supported", "false", Err(Unknown::Column("password_enabled"))),
        ("not_supported", "true", Ok(0)),
        ("perhaps", "false", Err(Unknown::Column("password_enabled"))),
    ] {
        let row = user_with(&[password(enabled, N_A, N_A, mfa)]);
        assert_is(&account(&[row]), control, expected, &format!("{enabled}, {mfa}"));
    }
    assert_is(&account(&[root(&[("mfa_active", "false")])]), control, Ok(0), "root is no user");
}

#[test]
fn policies_belong_on_groups() {
    let control = Control::PoliciesOnGroupsOnly;
    let mut account = account(&[root(&[]), user(&[])]);
    assert_is(&account, control, Ok(0), "nobody has one");
    let users = ["alpha", "a user of another day"].map(|user| (user.to_owned(), true));
    account.evidence.user_policies = Reading::of(Arc::new(users.into()), now());
    assert_is(&account, control, Ok(1), "one user has");
    let kind = EvidenceKind::UserPolicies;
    account.evidence.user_policies = Reading::of(Arc::default(), now());
    assert_is(&account, control, Err(Unknown::NotListed(kind)), "AWS does not list the user");
    for (failure, unknown) in [
        (None, Unknown::NotRead(kind)),
        (Some(Reason::AccessDenied), Unknown::Denied(kind)),
        (Some(Reason::Throttled), Unknown::Failed(kind)),
    ] {
        account.evidence.user_policies = Reading { failure, ..Reading::default() };
        assert_is(&account, control, Err(unknown), "not read");
    }
}

#[test]
fn an_account_without_users_violates_no_control_about_them() {
    let mut account = account(&[root(&[])]);
    account.evidence.user_policies = denied();
    for control in OF_USERS {
        assert_is(&account, control, Ok(0), control.name());
    }
}

#[test]
fn names_with_commas_are_read_as_one() {
    let old = days_ago(91);
    let row = ("a,b,c", key(1, "true", &old, &ago(1)));
    let account = account(&[row]);
    let (violations, _, _) = outcome_by(Benchmark::NEWEST, &account, Control::AccessKeysRotated);
    assert_eq!(violations.iter().filter_map(|it| it.user).collect::<Vec<_>>(), ["a,b,c"]);
}

#[test]
fn rows_that_cannot_be_read_leave_controls_about_users_undecided_and_violations_known() {
    let old = days_ago(91);
    let rows = [root(&[]), user_with(&[key(1, "true", &old, &ago(1))])];
    let account = account_of(&(csv_of("aws", &rows, &[]) + "\nnonsense"));
    assert_is(&account, Control::ConsoleMfa, Err(Unknown::Rows), "it may be anybody");
    assert_is(&account, Control::RootMfa, Ok(0), "root was read");
    let (violations, unknown, status) =
        outcome_by(Benchmark::NEWEST, &account, Control::AccessKeysRotated);
    assert_eq!((violations.len(), unknown, status), (1, vec![Unknown::Rows], Status::Violated));

    let unclear = user(&[("access_key_1_active", "perhaps"), ("access_key_1_last_rotated", &old)]);
    let account = self::account(std::slice::from_ref(&unclear));
    let (violations, unknown, status) =
        outcome_by(Benchmark::NEWEST, &account, Control::AccessKeysRotated);
    let column = Unknown::Column("access_key_N_active");
    assert_eq!((violations.len(), unknown, status), (1, vec![column], Status::Violated), "active");
    let account = self::account(&[root(&[]), unclear]);
    assert_is(&account, Control::RootNoAccessKey, Ok(0), "root's row is clear");
    let of_root = root(&[("access_key_2_active", "perhaps"), ("access_key_2_last_rotated", &old)]);
    let account = self::account(&[of_root, user(&[])]);
    let (violations, unknown, _) =
        outcome_by(Benchmark::NEWEST, &account, Control::RootNoAccessKey);
    assert_eq!((violations.len(), unknown), (1, vec![column]), "it counts as active");
    assert_is(&account, Control::AccessKeysRotated, Ok(0), "the user's row is clear");
    // A field that is odd beside the key hides no key.
    let odd = user_with(&[key(1, "true", &days_ago(60), "yesterday")]);
    let account = self::account(&[root(&[]), odd]);
    assert_is(&account, Control::AccessKeysRotated, Ok(0), "the key was read");
    let unknown = Err(Unknown::Column("access_key_N_last_used_date"));
    assert_is(&account, Control::UnusedCredentialsDisabled, unknown, "its last use was not");
}

#[test]
fn a_report_that_is_as_old_as_the_limit_of_a_control_decides_nothing_about_it() {
    let new = (ROOT_USER, root(&[("password_last_used", &days_ago(60))]).1);
    let mut account = account(&[new, user(&[])]);
    let mut made = |days| account_made(&mut account, days);
    let old = Err(Unknown::OldReport);
    for (days, rotated, unused) in
        [(0, Ok(0), Ok(0)), (44, Ok(0), Ok(0)), (45, Ok(0), old), (90, old, old)]
    {
        let account = made(days);
        assert_is(&account, Control::AccessKeysRotated, rotated, &format!("{days} days"));
        assert_is(&account, Control::UnusedCredentialsDisabled, unused, &format!("{days} days"));
        assert_is(&account, Control::OneActiveKeyPerUser, Ok(0), "it has no limit");
    }
}

#[test]
fn a_use_of_root_does_not_pass_away_without_a_newer_report() {
    let control = Control::RootNotUsed;
    let used = root(&[("password_last_used", &ago(9_050))]);
    let mut account = account(&[used]);
    for (days, expected) in
        [(0, Ok(0)), (1, Err(Unknown::OldReport)), (89, Err(Unknown::OldReport))]
    {
        assert_is(&account_made(&mut account, days), control, expected, &format!("{days} days"));
    }
}

fn account_made(account: &mut Account, days_ago: i64) -> Account {
    account.generated = Some(now() - TimeDelta::days(days_ago));
    account.clone()
}

#[test]
fn a_row_that_is_there_twice_decides_nothing() {
    let of_root = account(&[root(&[]), root(&[("mfa_active", "false")]), user(&[])]);
    assert_root_is(&of_root, [Err(Unknown::Rows); 4], "root is there twice");
    let of_user = account(&[root(&[]), user(&[]), user(&[])]);
    assert_root_is(&of_user, [Ok(0); 4], "a user is there twice");
    for control in OF_USERS {
        assert_is(&of_root, control, Ok(0), control.name());
        assert_is(&of_user, control, Err(Unknown::Rows), control.name());
    }
    assert_is(&of_root, Control::PasswordLength, Ok(0), "it is not in the report");
}

#[test]
fn a_root_of_an_earlier_report_decides_nothing_and_its_violations_stay() {
    let key = || key(1, "true", &days_ago(400), N_A);
    let fine = account(&[root(&[]), user(&[])]);
    let with_key = account(&[(ROOT_USER, [root(&[]).1, key()].concat()), user(&[])]);
    let cut = csv_of("aws", &[user(&[])], &[]) + "\n<root_account>,arn:aws:iam::123456789012:root";
    let judged = |before: &Account, csv: &str| {
        let mut account = account_of(csv);
        let report = account.report.as_mut().expect("a report");
        report.keep_missing(before.report.as_ref().expect("a report"));
        account
    };
    let kept = judged(&fine, &cut);
    assert_root_is(&kept, [Err(Unknown::Rows); 4], "its row is cut");
    assert_root_is(&judged(&kept, &cut), [Err(Unknown::Rows); 4], "twice");
    let without = csv_of("aws", &[user(&[])], &[]);
    let mut rowless = judged(&fine, &without);
    assert_root_is(&rowless, [Err(Unknown::RootRow); 4], "it has no row");
    rowless.evidence.summary.value.as_mut().expect("a summary").root_keys = Some(true);
    let (violations, ..) = outcome_by(Benchmark::NEWEST, &rowless, Control::RootNoAccessKey);
    assert_eq!(violations.len(), 1, "a new key");
    let garbled = csv_of("aws", &[user(&[]), root(&[])], &[]);
    let garbled = garbled.replace("<root_account>,arn:", "<root_account>,no-arn:");
    let root_and = |rest: &str| csv_of("aws", &[root(&[])], &[]) + "\n" + rest;
    let both = root_and(garbled.lines().nth(2).expect("its row"));
    assert_root_is(&account_of(&both), [Err(Unknown::Rows); 4], "beside one that is read");
    let whole = csv_of("aws", &[root(&[]), user(&[])], &[]);
    assert_root_is(&judged(&kept, &whole), [Ok(0); 4], "it is there again");
    let of_user = csv_of("aws", &[root(&[])], &[]) + "\nalpha";
    assert_root_is(&judged(&fine, &of_user), [Ok(0); 4], "another row is cut");
    let kept = judged(&with_key, &cut);
    let (violations, unknown, status) =
        outcome_by(Benchmark::NEWEST, &kept, Control::RootNoAccessKey);
    assert_eq!((violations.len(), unknown, status), (1, vec![Unknown::Rows], Status::Violated));
}

#[test]
fn only_the_first_version_wants_every_key_to_be_used_since_its_rotation() {
    let control = Control::AccessKeysRotated;
    let rotated = now() - TimeDelta::days(10);
    let used = |seconds| as_text(rotated + TimeDelta::seconds(seconds));
    let unknown = Err(Unknown::Column("access_key_N_last_used_date"));
    for (used, expected, why) in [
        (N_A.to_owned(), Ok(1), "never used"),
        (used(-86_400), Ok(1), "only before its rotation"),
        (used(-900), Ok(1), "in the quarter of an hour that ends with its rotation"),
        (used(-899), Ok(0), "in the quarter of an hour of its rotation"),
        (used(60), Ok(0), "since its rotation"),
        ("perhaps".to_owned(), unknown, "not known"),
    ] {
        let account = account(&[user_with(&[key(1, "true", &as_text(rotated), &used)])]);
        assert_is_by(Benchmark::V1_1, &account, control, expected, why);
        assert_is_by(Benchmark::V1_2, &account, control, Ok(0), why);
    }
}

#[test]
fn a_rotation_or_a_change_is_no_use() {
    let control = Control::UnusedCredentialsDisabled;
    let (old, new) = (days_ago(100), days_ago(1));
    for row in [
        user_with(&[key(1, "true", &new, &old)]),
        user_with(&[password("true", &old, &new, "true")]),
    ] {
        let account = account(&[row]);
        for benchmark in Benchmark::ALL {
            assert_is_by(benchmark, &account, control, Ok(1), "its last use is 100 days ago");
        }
    }
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

#[test]
fn accounts_that_are_not_decided_count_whatever_the_reasons_are() {
    let made = |id: &str, mfa: &'static [(&'static str, &'static str)], summary| {
        let mut account = account(&[root(mfa)]);
        account.id = id.to_owned();
        account.evidence.summary = summary;
        Arc::new(account)
    };
    let unknown = &[("mfa_active", N_A)];
    let accounts = [
        made("111111111111", unknown, denied()),
        made("222222222222", unknown, Reading::default()),
        made("333333333333", &[], Reading::default()),
    ];
    let state = State::new(accounts, Tried::Ok, true);
    let results = Results::new(&state, &Settings::default(), now());
    let sum = results.sums.iter().find(|sum| sum.control == Control::RootMfa).expect("a sum");
    assert_eq!((sum.undecided, sum.accounts, sum.unknown.len()), (2, 3, 2));
}

// --- Root ---

/// The expected results of: no access key, MFA, hardware MFA, not used.
#[track_caller]
fn assert_root_is(account: &Account, expected: [Expected; 4], why: &str) {
    for (control, expected) in OF_ROOT.into_iter().zip(expected) {
        assert_is(account, control, expected, &format!("{}: {why}", control.name()));
    }
}

#[test]
fn root_is_judged_by_its_keys_its_mfa_and_its_use() {
    let (old, new) = (days_ago(400), days_ago(3));
    let with_key =
        |active: &str, used: &str| (ROOT_USER, [root(&[]).1, key(1, active, &old, used)].concat());
    let of_member = |key| {
        let row = root(&[("password_enabled", "false"), ("password_last_used", N_A)]).1;
        (ROOT_USER, [row, key].concat())
    };
    for (row, expected, why) in [
        (root(&[]), [0, 0, 0, 0], "all is well"),
        (root(&[("mfa_active", "false")]), [0, 1, 1, 0], "no MFA"),
        (root(&[("mfa_active", "FALSE")]), [0, 1, 1, 0], "no MFA, in upper case"),
        (root(&[("password_last_used", &new)]), [0, 0, 0, 1], "it signed in"),
        (root(&[("password_last_used", &ago(8_999))]), [0, 0, 0, 1], "89.99 days ago"),
        (root(&[("password_last_used", &ago(9_000))]), [0, 0, 0, 0], "90.00 days ago"),
        (with_key("true", N_A), [1, 0, 0, 0], "a key that was never used"),
        (with_key("true", &new), [1, 0, 0, 1], "its key was used, its password was not"),
        (with_key("false", &new), [0, 0, 0, 1], "a key that is inactive by now was used"),
        (with_key("false", &old), [0, 0, 0, 0], "an inactive key"),
        (of_member(key(1, "false", &old, &new)), [0, 0, 0, 1], "without password, until just now"),
        (of_member(key(1, "false", &old, &old)), [0, 0, 0, 0], "without password, long ago"),
        (
            (
                ROOT_USER,
                [root(&[("password_last_used", N_A)]).1, key(1, "true", &old, &new)].concat(),
            ),
            [1, 0, 0, 1],
            "the password was never used, the key today",
        ),
        ((ROOT_USER, [root(&[]).1, key(2, "true", &old, &new)].concat()), [1, 0, 0, 1], "key 2"),
    ] {
        assert_root_is(&account(&[row, user(&[])]), expected.map(Ok), why);
    }
    let two = [root(&[]).1, key(1, "true", &old, N_A), key(2, "true", &old, N_A)].concat();
    assert_is(&account(&[(ROOT_USER, two)]), Control::RootNoAccessKey, Ok(2), "two keys");
}

#[test]
fn how_long_root_must_not_be_used_is_a_setting() {
    let account = account(&[root(&[("password_last_used", &days_ago(20))])]);
    for (days, expected) in [(20, 0), (21, 1)] {
        let root_unused_for = TimeDelta::days(days);
        let settings = Settings { root_unused_for, ..Settings::default() };
        let outcomes = judge(&account, &settings, now()).expect("a report");
        assert_eq!(outcomes.get(Control::RootNotUsed).count(), Some(expected));
    }
}

#[test]
fn root_without_credentials_passes() {
    let used = days_ago(3);
    let row = root(&[
        ("password_enabled", "false"),
        ("mfa_active", "false"),
        ("password_last_used", &used),
    ]);
    let mut account = account(&[row]);
    account.evidence.root_virtual_mfa = denied();
    for benchmark in Benchmark::ALL {
        for control in OF_ROOT {
            assert_is_by(benchmark, &account, control, Ok(0), control.name());
        }
    }
}

#[test]
fn a_key_of_a_root_without_password_is_a_finding() {
    let values = [
        root(&[("password_enabled", "false"), ("mfa_active", "false")]).1,
        key(1, "true", &days_ago(400), &days_ago(3)),
    ];
    let account = account(&[(ROOT_USER, values.concat())]);
    assert_root_is(&account, [Ok(1), Ok(0), Ok(0), Ok(1)], "from v5.0 on MFA is for the password");
    assert_is_by(Benchmark::V4_0, &account, Control::RootMfa, Ok(1), "before, for root");
    assert_is_by(Benchmark::V4_0, &account, Control::RootHardwareMfa, Ok(1), "before, for root");
}

#[test]
fn a_password_of_root_that_the_report_does_not_tell_is_looked_up_in_the_summary() {
    let kind = EvidenceKind::AccountSummary;
    let row = root(&[
        ("password_enabled", "not_supported"),
        ("mfa_active", "false"),
        ("password_last_used", "not_supported"),
    ]);
    let mut account = account(&[row]);
    let mut with = |reading: Reading<Option<bool>>, expected: [Expected; 4], why| {
        let Reading { value, read, failure } = reading;
        let value = value
            .map(|root_password| AccountSummary { root_password, ..AccountSummary::default() });
        account.evidence.summary = Reading { value, read, failure };
        assert_root_is(&account, expected, why);
    };
    let unused = Err(Unknown::Column("password_last_used"));
    with(Reading::of(Some(true), now()), [Ok(0), Ok(1), Ok(1), unused], "there is one");
    with(Reading::of(Some(false), now()), [Ok(0), Ok(0), Ok(0), Ok(0)], "there is none");
    let silent = Err(Unknown::Column("password_enabled"));
    with(Reading::of(None, now()), [Ok(0), silent, silent, unused], "the summary does not say");
    let denied = Err(Unknown::Denied(kind));
    with(self::denied(), [Ok(0), denied, denied, unused], "the summary is denied");
    with(Reading::default(), [Ok(0), silent, silent, unused], "a report file");
}

#[test]
fn hardware_mfa_is_one_that_is_not_in_a_whole_list_of_virtual_ones() {
    let kind = EvidenceKind::VirtualMfaDevices;
    let mut account = account(&[root(&[])]);
    for (reading, expected) in [
        (Reading::of(false, now()), Ok(0)),
        (Reading::of(true, now()), Ok(1)),
        (denied(), Err(Unknown::Denied(kind))),
        (
            Reading { failure: Some(Reason::Timeout), ..Reading::default() },
            Err(Unknown::Failed(kind)),
        ),
        (Reading::default(), Err(Unknown::NotRead(kind))),
        // A page that is lost later does not change the earlier result.
        (Reading { failure: Some(Reason::Timeout), ..Reading::of(true, now()) }, Ok(1)),
    ] {
        account.evidence.root_virtual_mfa = reading.clone();
        assert_is(&account, Control::RootHardwareMfa, expected, &format!("{reading:?}"));
        assert_is(&account, Control::RootMfa, Ok(0), "any MFA");
    }
    // Without MFA no list is needed.
    let mut account = self::account(&[root(&[("mfa_active", "false")])]);
    account.evidence.root_virtual_mfa = denied();
    assert_is(&account, Control::RootHardwareMfa, Ok(1), "no MFA at all");
}

#[test]
fn mfa_that_the_report_does_not_tell_is_looked_up_in_the_summary() {
    let csv = csv_of("aws", &[root(&[])], &["mfa_active"]);
    let mut account = account_of(&csv);
    assert_is(&account, Control::RootMfa, Ok(0), "the summary says it");
    account.evidence.summary = denied();
    let unknown = Err(Unknown::Denied(EvidenceKind::AccountSummary));
    assert_is(&account, Control::RootMfa, unknown, "denied");
    assert_is(&account, Control::RootHardwareMfa, unknown, "not virtual, if there is one");
    account.evidence.root_virtual_mfa = Reading::of(true, now());
    assert_is(&account, Control::RootHardwareMfa, Ok(1), "a virtual one is none");
}

#[test]
fn a_report_without_root_is_looked_up_in_the_summary() {
    let mut account = account(&[user(&[])]);
    let no_row = Err(Unknown::RootRow);
    assert_root_is(&account, [Ok(0), Ok(0), Ok(0), no_row], "the summary says that all is well");
    account.evidence.summary = Reading::of(
        AccountSummary { root_password: Some(true), root_mfa: Some(false), root_keys: Some(true) },
        now(),
    );
    assert_root_is(&account, [Ok(1), Ok(1), Ok(1), no_row], "and that nothing is");
    account.evidence.summary = Reading::of(
        AccountSummary {
            root_password: Some(false),
            root_mfa: Some(false),
            root_keys: Some(false),
        },
        now(),
    );
    assert_root_is(&account, [Ok(0); 4], "there are no credentials");
    account.evidence.summary = denied();
    let denied = Err(Unknown::Denied(EvidenceKind::AccountSummary));
    assert_root_is(&account, [denied, denied, denied, no_row], "the summary is denied");
}

#[test]
fn root_of_govcloud_has_keys_and_neither_password_nor_mfa() {
    let of_root = |values: Vec<(&'static str, String)>| {
        let usual = root(&[
            ("password_enabled", "not_supported"),
            ("mfa_active", "false"),
            ("password_last_used", N_A),
        ]);
        (ROOT_USER, [usual.1, values].concat())
    };
    let account = |row| {
        let mut account = account_of(&csv_of("aws-us-gov", &[row], &[]));
        account.evidence = Evidence::default();
        account
    };
    let without_key = account(of_root(Vec::new()));
    assert_root_is(&without_key, [Ok(0); 4], "nothing is read besides the report");
    let with_key = account(of_root(key(1, "true", &days_ago(400), &days_ago(3))));
    assert_root_is(&with_key, [Ok(1), Ok(0), Ok(0), Ok(1)], "a key is a finding there, too");
    for account in [without_key, with_key] {
        let (_, _, status) = outcome_by(Benchmark::NEWEST, &account, Control::RootMfa);
        assert_eq!(status, Status::NotApplicable);
    }
}

#[test]
fn china_has_no_root() {
    let mut account = account_of(&csv_of("aws-cn", &[user(&[])], &[]));
    account.evidence = Evidence::default();
    assert_root_is(&account, [Ok(0); 4], "no row");
    let (_, _, status) = outcome_by(Benchmark::NEWEST, &account, Control::RootNoAccessKey);
    assert_eq!(status, Status::NotApplicable);
}

#[test]
fn a_row_of_root_that_cannot_be_read_says_that_there_is_a_root() {
    let judged = |partition: &str, evidence: Evidence| {
        let row = root(&[]);
        let cut = csv_of(partition, &[user(&[])], &[]) + "\n<root_account>,arn";
        let unread = csv_of(partition, &[user(&[]), row], &[]);
        let unread = unread.replace("<root_account>,arn:", "<root_account>,no-arn:");
        [cut, unread].map(|csv| Account { evidence: evidence.clone(), ..account_of(&csv) })
    };
    for account in judged("aws-cn", Evidence::default()) {
        let unknown = Err(Unknown::RootRow);
        let devices = Err(Unknown::NotRead(EvidenceKind::VirtualMfaDevices));
        assert_root_is(&account, [unknown, unknown, devices, unknown], "China has none but here");
    }
    for account in judged("aws-us-gov", Evidence::default()) {
        let unknown = Err(Unknown::RootRow);
        assert_root_is(&account, [unknown, Ok(0), Ok(0), unknown], "no console");
    }
    for account in judged("aws-us-gov", evidence()) {
        assert_root_is(&account, [Ok(0), Ok(0), Ok(0), Ok(0)], "the summary knows");
    }
}

#[test]
fn keys_of_which_the_report_says_nothing_are_not_none() {
    let blank = [("access_key_1_active", ""), ("access_key_2_active", N_A)];
    let active = Err(Unknown::Column("access_key_N_active"));
    let mut of_root = account(&[root(&blank), user(&[])]);
    assert_root_is(&of_root, [active, Ok(0), Ok(0), active], "no key is not known");
    // Without a password, root needs MFA only for a key.
    let no_password = [("password_enabled", "false"), ("mfa_active", "false")];
    of_root = account(&[root(&[&blank[..], &no_password].concat()), user(&[])]);
    of_root.evidence.summary = Reading::default();
    for control in [Control::RootMfa, Control::RootNotUsed, Control::RootNoAccessKey] {
        let (_, unknown, status) = outcome_by(Benchmark::V1_4, &of_root, control);
        assert_eq!(status, Status::NotDecided, "{control:?}: {unknown:?}");
    }
    let of_user = account(&[root(&[]), user(&blank)]);
    assert_root_is(&of_user, [Ok(0); 4], "another row");
    for control in [
        Control::AccessKeysRotated,
        Control::UnusedCredentialsDisabled,
        Control::OneActiveKeyPerUser,
        Control::NoKeyAtUserSetup,
    ] {
        assert_is(&of_user, control, active, control.name());
    }
}

#[test]
fn a_use_of_which_the_report_says_nothing_is_not_none() {
    let used = Err(Unknown::Column("access_key_N_last_used_date"));
    for value in ["", "not_supported"] {
        let row = (ROOT_USER, [root(&[]).1, key(1, "false", &days_ago(400), value)].concat());
        assert_is(&account(&[row]), Control::RootNotUsed, used, value);
    }
    for value in [N_A, "no_information"] {
        let row = (ROOT_USER, [root(&[]).1, key(1, "false", &days_ago(400), value)].concat());
        assert_is(&account(&[row]), Control::RootNotUsed, Ok(0), value);
    }
}

#[test]
fn a_control_about_nothing_in_the_partition_lacks_nothing() {
    let is_inapplicable = |account: &Account, control| {
        let expected = (vec![], vec![], Status::NotApplicable);
        assert_eq!(outcome_by(Benchmark::NEWEST, account, control), expected);
    };
    // The rows of a user that are there twice or cannot be read, and a report that is too old.
    let csv = |partition, rows: &[Row]| csv_of(partition, rows, &[]) + "\nnonsense";
    let mut of_china = account_of(&csv("aws-cn", &[user(&[]), user(&[])]));
    let of_china = account_made(&mut of_china, 400);
    for control in OF_ROOT {
        is_inapplicable(&of_china, control);
    }
    let of_govcloud = account_of(&csv("aws-us-gov", &[root(&[]), root(&[]), user(&[])]));
    for control in [Control::RootMfa, Control::RootHardwareMfa] {
        is_inapplicable(&of_govcloud, control);
    }
    assert_is(&of_govcloud, Control::RootNoAccessKey, Err(Unknown::Rows), "it can have keys");
}

// --- The password policy ---

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
fn each_setting_of_the_password_policy_has_its_control() {
    let with = |change: fn(&mut PasswordPolicy)| {
        let mut policy = GOOD_POLICY;
        change(&mut policy);
        policy
    };
    for (policy, violated) in [
        (with(|_| {}), None),
        (with(|policy| policy.max_age_days = Some(91)), Some(Control::PasswordExpiry)),
        (with(|policy| policy.max_age_days = Some(1)), None),
        (with(|policy| policy.max_age_days = Some(0)), Some(Control::PasswordExpiry)),
        (with(|policy| policy.max_age_days = None), Some(Control::PasswordExpiry)),
        (with(|policy| policy.requires_uppercase = false), Some(Control::PasswordUppercase)),
        (with(|policy| policy.requires_lowercase = false), Some(Control::PasswordLowercase)),
        (with(|policy| policy.requires_symbol = false), Some(Control::PasswordSymbol)),
        (with(|policy| policy.requires_number = false), Some(Control::PasswordNumber)),
        (with(|policy| policy.min_length = Some(13)), Some(Control::PasswordLength)),
        (with(|policy| policy.min_length = Some(128)), None),
        (with(|policy| policy.min_length = None), Some(Control::PasswordLength)),
        (with(|policy| policy.remembered = Some(23)), Some(Control::PasswordReuse)),
        (with(|policy| policy.remembered = None), Some(Control::PasswordReuse)),
    ] {
        let mut account = account(&[root(&[])]);
        account.evidence.password_policy = Reading::of(Some(policy), now());
        for control in OF_POLICY {
            let expected = usize::from(violated == Some(control));
            assert_is(&account, control, Ok(expected), &format!("{}: {policy:?}", control.name()));
        }
    }
}

#[test]
fn no_password_policy_violates_each_and_one_that_may_not_be_read_decides_none() {
    let kind = EvidenceKind::PasswordPolicy;
    let mut account = account(&[root(&[])]);
    for (reading, expected) in [
        (Reading::of(None, now()), Ok(1)),
        (denied(), Err(Unknown::Denied(kind))),
        (
            Reading { failure: Some(Reason::Network), ..Reading::default() },
            Err(Unknown::Failed(kind)),
        ),
        (Reading::default(), Err(Unknown::NotRead(kind))),
    ] {
        account.evidence.password_policy = reading;
        for control in OF_POLICY {
            assert_is(&account, control, expected, control.name());
        }
    }
}

// --- The age of what was read ---

#[test]
fn an_answer_of_more_than_eight_hours_ago_decides_nothing() {
    let csv = csv_of("aws", &[root(&[("mfa_active", N_A)]), user(&[])], &[]);
    let fine = account_of(&csv);
    let mut violating = fine.clone();
    violating.evidence = Evidence {
        summary: Reading::of(
            AccountSummary { root_mfa: Some(false), ..AccountSummary::default() },
            now(),
        ),
        password_policy: Reading::of(None, now()),
        root_virtual_mfa: Reading::of(true, now()),
        user_policies: Reading::of(Arc::new([("alpha".to_owned(), true)].into()), now()),
    };
    for (control, kind) in [
        (Control::RootMfa, EvidenceKind::AccountSummary),
        (Control::RootHardwareMfa, EvidenceKind::AccountSummary),
        (Control::PasswordLength, EvidenceKind::PasswordPolicy),
        (Control::PoliciesOnGroupsOnly, EvidenceKind::UserPolicies),
    ] {
        for (account, number) in [(&fine, 0), (&violating, 1)] {
            let at = |hours, seconds| {
                let time = now() + TimeDelta::hours(hours) + TimeDelta::seconds(seconds);
                judge(account, &Settings::default(), time).expect("a report").get(control).clone()
            };
            assert_eq!(at(8, 0).count(), Some(number), "{}", control.name());
            let Outcome { violations, unknown, .. } = at(8, 1);
            assert_eq!((violations, unknown.contains(&Unknown::OldAnswer(kind))), (vec![], true));
        }
    }
    // The list of devices alone.
    let mut account = account(&[root(&[])]);
    account.evidence.root_virtual_mfa.read = Some(now() - TimeDelta::hours(9));
    let unknown = Err(Unknown::OldAnswer(EvidenceKind::VirtualMfaDevices));
    assert_is(&account, Control::RootHardwareMfa, unknown, "nine hours");
    // A failure says more than the age does.
    account.evidence.root_virtual_mfa.failure = Some(Reason::Timeout);
    let unknown = Err(Unknown::Failed(EvidenceKind::VirtualMfaDevices));
    assert_is(&account, Control::RootHardwareMfa, unknown, "the call failed since");
    assert_is(&account, Control::RootMfa, Ok(0), "the report says it");
}

// --- All of an account ---

#[test]
fn without_a_report_nothing_is_said() {
    let account = Account::pending("123456789012", "");
    assert!(judge(&account, &Settings::default(), now()).is_none());
}

#[test]
fn an_account_that_was_not_read_passes_nothing() {
    let old = days_ago(91);
    let mut read = account(&[root(&[]), user_with(&[key(1, "true", &old, &ago(1))])]);
    read.id = "210987654321".to_owned();
    let unread = ["123456789012", UNKNOWN_ACCOUNT].map(|id| Account::pending(id, "new"));
    let accounts = unread.into_iter().chain([read]).map(Arc::new);
    let state = State::new(accounts, Tried::Ok, true);
    let results = Results::new(&state, &Settings::default(), now());
    for sum in &results.sums {
        assert_eq!((sum.accounts, sum.undecided), (3, 2), "{}", sum.number);
        assert_eq!(sum.unknown, [(Unknown::NoReport, 2)].into(), "{}", sum.number);
        assert_eq!(sum.violated, usize::from(sum.control == Control::AccessKeysRotated));
        assert!(!sum.needs_only_calls());
    }
    assert!(results.is_uncertain());
    for id in ["123456789012", UNKNOWN_ACCOUNT] {
        let rows = results.rows.iter().filter(|row| row.account_id == id);
        let rows: Vec<_> = rows.map(|row| (row.result, row.reason, row.missing)).collect();
        assert_eq!(rows, vec![("not_decided", Some("no_report"), None); results.sums.len()]);
    }
}

#[test]
fn a_report_file_decides_what_it_can_and_says_what_is_missing() {
    let old = days_ago(91);
    let rows = [root(&[]), user_with(&[key(1, "true", &old, &ago(1))])];
    let mut account = account(&rows);
    account.evidence = Evidence::default();
    let state = State::new([Arc::new(account)], Tried::Ok, true);
    let results = Results::new(&state, &Settings::default(), now());
    let line = |row: &rows::ControlRow| {
        let about = row.user.as_deref().or(row.missing).unwrap_or_default();
        format!("{} {} {} {about}", row.number, row.control, row.result)
    };
    let lines: Vec<String> = results.rows.iter().map(line).collect();
    assert_eq!(
        lines,
        [
            "2.4 root_no_access_key passed ",
            "2.5 root_mfa passed ",
            "2.6 root_hardware_mfa not_decided iam:ListVirtualMFADevices",
            "2.7 root_not_used passed ",
            "2.8 password_length not_decided iam:GetAccountPasswordPolicy",
            "2.9 password_reuse not_decided iam:GetAccountPasswordPolicy",
            "2.10 console_mfa passed ",
            "2.11 unused_credentials_disabled passed ",
            "2.12 access_keys_rotated violated alpha",
            "2.13 policies_on_groups_only not_decided iam:GetAccountAuthorizationDetails",
        ]
    );
    assert!(results.is_uncertain());
    assert_eq!(results.violations(), 1);
    assert_eq!(results.sums.iter().filter(|sum| sum.needs_only_calls()).count(), 4);
}

#[test]
fn a_benchmark_without_a_control_says_nothing_of_it() {
    let account = account(&[root(&[]), user(&[])]);
    let state = State::new([Arc::new(account)], Tried::Ok, true);
    let settings = Settings { benchmark: Benchmark::V7_0, ..Settings::default() };
    let results = Results::new(&state, &settings, now());
    assert!(results.rows.iter().all(|row| row.control != Control::OneActiveKeyPerUser.name()));
    assert!(!results.is_uncertain());
}
