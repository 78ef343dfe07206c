//! Tests of controls about users.

use super::*;

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

/// An active key of ListAccessKeys.
fn listed(id: &str, days: i64) -> ListedKey {
    ListedKey { id: id.to_owned(), active: true, created: days_ago(days).parse().expect("a time") }
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
    let mut account_of_new = account_of(&csv_of("aws", &[new], &columns));
    assert_is(&account_of_new, control, unknown, "it can have been changed 44 days ago");
    let report = account_of_new.report.clone().expect("a report");
    let keys = merge(&report.users[0].keys, &[listed("A", 44)], None);
    Arc::make_mut(&mut account_of_new.confirmed).insert("alpha", Some(keys));
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
    let report = account.report.clone().expect("a report");
    let keys =
        merge(&report.users[0].keys, &[listed("A", 1), listed("B", 100), listed("C", 400)], None);
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
        ("access_key_1_last_rotated", "access_key_N_last_rotated"),
        ("access_key_1_last_used_date", "access_key_N_last_used_date"),
    ] {
        let (name, mut values) = row(1, "true", "true", &after(0), N_A);
        values.push((column, days_ago(-3)));
        let unknown = Err(Unknown::Column(reason));
        assert_is(&account(&[(name, values)]), control, unknown, &format!("{column} lies ahead"));
    }
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
    let users = ["alpha", "newer"].map(|user| (user.to_owned(), true));
    account.evidence.user_policies = Reading::of(Arc::new(users.into()), now());
    assert_is(&account, control, Ok(2), "a user, and one who is not in the report yet");
    let kind = EvidenceKind::UserPolicies;
    account.evidence.user_policies = Reading::of(Arc::default(), now());
    assert_is(&account, control, Err(Unknown::NotListed(kind)), "AWS does not list the user");
    account.evidence.user_policies.fail(Reason::Timeout);
    let failed = Err(Unknown::Failed(kind));
    assert_is(&account, control, failed, "and the last call failed");
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
        (days_ago(-3), unknown, "in three days"),
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
