//! Tests of controls about root.

use super::*;

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

#[test]
fn a_root_of_an_earlier_report_decides_nothing_and_its_violations_stay() {
    let key = || key(1, "true", &days_ago(400), N_A);
    let fine = account(&[root(&[]), user(&[])]);
    let with_key = account(&[(ROOT_USER, [root(&[]).1, key()].concat()), user(&[])]);
    let cut = csv_of("aws", &[user(&[])], &[]) + "\n<root_account>,arn:aws:iam::123456789012:root";
    let judged = |before: &Account, csv: &str| {
        let mut account = account_of(csv);
        let report = account.report.as_mut().expect("a report");
        report.keep_missing(before.report.as_ref().expect("a report"), None);
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

/// The expected results of: no access key, MFA, hardware MFA, not used.
#[track_caller]
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
fn a_use_of_a_key_of_root_that_is_not_there_decides_nothing() {
    let control = Control::RootNotUsed;
    let unknown = Err(Unknown::Column("access_key_N_active"));
    for rotated in ["", N_A, "not_supported", "2026-13-45T00:00:00Z"] {
        for used in [days_ago(1).as_str(), &days_ago(100), "perhaps"] {
            let row = [root(&[]).1, key(1, "false", rotated, used)].concat();
            let account = account(&[(ROOT_USER, row.clone())]);
            assert_is(&account, control, unknown, &format!("{rotated} {used}"));
            // Also if root has no credentials any more.
            let without_password = vec![("password_enabled", "false".to_owned())];
            let mut account =
                account_of(&csv_of("aws", &[(ROOT_USER, [row, without_password].concat())], &[]));
            summary_of(&mut account).root_password = Some(false);
            summary_of(&mut account).root_keys = Some(false);
            assert_is(&account, control, unknown, &format!("{rotated} {used}, no credentials"));
        }
        let row = [root(&[]).1, key(1, "false", rotated, N_A)].concat();
        assert_is(&account(&[(ROOT_USER, row)]), control, Ok(0), rotated);
    }
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
    summary_of(&mut account).root_password = Some(false);
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
    let mut account = account(&[(ROOT_USER, values.concat())]);
    summary_of(&mut account).root_password = Some(false);
    assert_root_is(&account, [Ok(1), Ok(0), Ok(0), Ok(1)], "from v5.0 on MFA is for the password");
    assert_is_by(Benchmark::V4_0, &account, Control::RootMfa, Ok(1), "before, for root");
    assert_is_by(Benchmark::V4_0, &account, Control::RootHardwareMfa, Ok(1), "before, for root");
}

fn summary_of(account: &mut Account) -> &mut AccountSummary {
    account.evidence.summary.value.as_mut().expect("a summary")
}

#[test]
fn what_a_later_summary_says_worse_of_root_than_the_report_is_not_decided() {
    let bare = root(&[("password_enabled", "false"), ("mfa_active", "false")]);
    let mut account = self::account(std::slice::from_ref(&bare));
    account.generated = Some(now() - TimeDelta::hours(1));
    let has_changed = |account: &mut Account, value| {
        say(account, now(), |summary| {
            (summary.root_password, summary.root_keys) = (Some(value), Some(value));
        });
    };
    has_changed(&mut account, false);
    assert_root_is(&account, [Ok(0); 4], "both say that there is nothing");
    has_changed(&mut account, true);
    say(&mut account, now(), |summary| summary.root_mfa = Some(false));
    let not_sure = Err(Unknown::OldReport);
    let is_not_sure = |account: &Account, why| {
        for control in [Control::RootNoAccessKey, Control::RootMfa, Control::RootHardwareMfa] {
            assert_is(account, control, not_sure, why);
        }
    };
    is_not_sure(&account, "a new key, a new password");
    assert_is(&account, Control::RootNotUsed, not_sure, "root made them, most likely");
    account.evidence.summary.fail(Reason::Timeout);
    is_not_sure(&account, "also if a later call fails");
    account.evidence.summary.fail(Reason::AccessDenied);
    is_not_sure(&account, "if the permission is taken away");
    account.evidence.summary = Reading::of(AccountSummary::default(), now());
    say(&mut account, now(), |_| {});
    is_not_sure(&account, "if a later answer is silent");
    let made = account.generated.expect("a time");
    let said_at = |account: &mut Account, read| {
        account.evidence.root = LastSaid::default();
        say(account, read, |summary| summary.root_keys = Some(true));
        say(account, read, |summary| summary.root_password = Some(true));
    };
    said_at(&mut account, made - TimeDelta::minutes(4));
    is_not_sure(&account, "clocks differ");
    said_at(&mut account, made - TimeDelta::hours(1));
    assert_root_is(&account, [Ok(0); 4], "an earlier summary");
    said_at(&mut account, now());
    say(&mut account, now(), |summary| {
        (summary.root_password, summary.root_keys) = (Some(false), Some(false));
    });
    assert_root_is(&account, [Ok(0); 4], "a later answer says that there is nothing again");
    // An inactive key counts in the summary.
    let row = [bare.1, key_of(1, "false")].concat();
    let mut account = self::account(&[(ROOT_USER, row)]);
    account.generated = Some(made);
    has_changed(&mut account, true);
    assert_is(&account, Control::RootNoAccessKey, Ok(0), "an inactive key");

    let mut account = self::account(&[root(&[])]);
    account.generated = Some(made);
    assert_is(&account, Control::RootHardwareMfa, Ok(0), "a device that is not virtual");
    say(&mut account, now(), |summary| summary.root_mfa = Some(false));
    for control in [Control::RootMfa, Control::RootHardwareMfa] {
        assert_is(&account, control, not_sure, "it was removed");
    }
}

#[test]
fn a_report_that_contradicts_earlier_evidence_ends_it() {
    let made = now() - TimeDelta::hours(1);
    let summary = |password, mfa, keys| AccountSummary {
        root_password: Some(password),
        root_mfa: Some(mfa),
        root_keys: Some(keys),
    };
    let of = |row: Row| account(&[row]).report.expect("a report");
    let with_key = (ROOT_USER, [root(&[]).1, key_of(1, "false")].concat());
    for (report, said, password, mfa, keys, devices) in [
        (of(root(&[])), (true, true, false), Some(true), Some(true), Some(false), true),
        (of(root(&[])), (false, false, true), None, None, None, true),
        (
            of(root(&[("mfa_active", "false")])),
            (true, true, false),
            Some(true),
            None,
            Some(false),
            false,
        ),
        (of(with_key), (true, true, false), Some(true), Some(true), None, true),
        (
            of(root(&[("password_enabled", N_A), ("mfa_active", N_A)])),
            (false, false, false),
            Some(false),
            Some(false),
            Some(false),
            true,
        ),
    ] {
        for (minutes, is_later) in [(-60, false), (30, true)] {
            let read = made + TimeDelta::minutes(minutes);
            let mut evidence = Evidence::good(read);
            let said = summary(said.0, said.1, said.2);
            evidence.summary = Reading::of(said, read);
            evidence.forget_contradicted(&report, made);
            let kept = AccountSummary { root_password: password, root_mfa: mfa, root_keys: keys };
            let expected = if is_later { said } else { kept };
            assert_eq!(evidence.summary.value, Some(expected), "{report:?}");
            assert_eq!(evidence.root_virtual_mfa.value.is_some(), devices || is_later);
        }
    }
}

#[test]
fn what_a_summary_contradicts_is_not_the_reason_for_what_the_report_does_not_tell() {
    let silent = [("mfa_active", "not_supported"), ("password_enabled", "false")];
    let mut account = self::account(&[root(&silent)]);
    account.generated = Some(now() - TimeDelta::hours(1));
    account.evidence.summary = Reading::of(AccountSummary::default(), now());
    say(&mut account, now(), |summary| summary.root_password = Some(true));
    let (_, unknown, _) = outcome_by(Benchmark::NEWEST, &account, Control::RootMfa);
    assert_eq!(unknown, [Unknown::Column("mfa_active")]);
}

/// Changes the answer of `GetAccountSummary`.
fn say(account: &mut Account, read: DateTime<Utc>, change: impl FnOnce(&mut AccountSummary)) {
    let evidence = &mut account.evidence;
    let mut summary = evidence.summary.value.unwrap_or_default();
    change(&mut summary);
    evidence.summary = Reading::of(summary, read);
    evidence.root.update(&summary, read);
}

fn key_of(slot: u8, active: &str) -> Vec<(&'static str, String)> {
    key(slot, active, &days_ago(400), N_A)
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
    for account in judged("aws-us-gov", Evidence::good(now())) {
        assert_root_is(&account, [Ok(0), Ok(0), Ok(0), Ok(0)], "the summary knows");
    }
}
