//! Tests of what is not decided: reports, rows and answers that are missing, old or not to be read.

use super::*;

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
fn a_time_of_an_earlier_report_shows_violations_and_decides_nothing_else() {
    let judged = |time: &str, used: &str| {
        let of = |time: &str| {
            let password = password("true", &ago(1), &ago(1), "true");
            account(&[root(&[]), user_with(&[key(1, "true", time, used), password])])
        };
        let (before, mut account) = (of(time), of(N_A));
        let report = account.report.as_mut().expect("a report");
        report.keep_missing(before.report.as_ref().expect("a report"), None);
        account
    };
    let rotated = Unknown::Column("access_key_N_last_rotated");
    let used = Unknown::Column("access_key_N_last_used_date");
    let (old, young) = (days_ago(200), days_ago(10));
    let control = Control::UnusedCredentialsDisabled;
    assert_is(&judged(&old, &ago(1)), Control::AccessKeysRotated, Ok(1), "old");
    assert_is(&judged(&old, N_A), control, Ok(1), "old, and never used");
    let lately = judged(&young, &ago(1));
    assert_is(&lately, Control::AccessKeysRotated, Err(rotated), "young");
    assert_is(&lately, control, Ok(0), "its use was read");
    assert_is(&judged(&young, N_A), control, Err(rotated), "young, and never used");
    let setup = Control::NoKeyAtUserSetup;
    assert_is(&judged(&young, N_A), setup, Err(rotated), "made after its user");
    assert_is(&judged(&days_ago(1_000), N_A), setup, Ok(1), "made with its user");
    assert_is(&judged(&young, "yesterday"), control, Err(used), "young, and its use was not read");
    let mut confirmed = judged(&young, &ago(1));
    let keys = confirmed.report.as_ref().expect("a report").users[1].keys.to_vec();
    Arc::make_mut(&mut confirmed.confirmed).insert("alpha", Some(keys));
    assert_is(&confirmed, Control::AccessKeysRotated, Ok(0), "AWS was asked");
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

#[test]
fn keys_of_which_the_report_says_nothing_are_not_none() {
    let blank = [("access_key_1_active", ""), ("access_key_2_active", N_A)];
    let active = Err(Unknown::Column("access_key_N_active"));
    let mut of_root = account(&[root(&blank), user(&[])]);
    assert_root_is(&of_root, [Ok(0), Ok(0), Ok(0), active], "the summary knows that there is none");
    of_root.evidence.summary = Reading::of(AccountSummary::default(), now());
    assert_root_is(&of_root, [active, Ok(0), Ok(0), active], "no key is not known");
    // The summary does not say how many there are.
    let slots = [key(1, "true", &days_ago(10), &days_ago(1)), key(2, "", "", N_A)];
    let with_a_key = account(&[(ROOT_USER, [vec![root(&[]).1], slots.to_vec()].concat().concat())]);
    for present in [Some(true), None] {
        let mut account = with_a_key.clone();
        let summary = AccountSummary { root_keys: present, ..AccountSummary::default() };
        account.evidence.summary = Reading::of(summary, now());
        let (violations, unknown, _) =
            outcome_by(Benchmark::NEWEST, &account, Control::RootNoAccessKey);
        let column = Unknown::Column("access_key_N_active");
        assert_eq!((violations.len(), unknown), (1, vec![column]), "{present:?}");
    }
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

#[test]
fn each_setting_of_the_password_policy_has_its_control() {
    let with = |change: fn(&mut PasswordPolicy)| {
        let mut policy = PasswordPolicy::GOOD;
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
        root: Default::default(),
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
        let accounts = ["123456789012", "new"].map(str::to_owned).to_vec();
        assert_eq!(sum.unknown, [(Unknown::NoReport, accounts)].into(), "{}", sum.number);
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
