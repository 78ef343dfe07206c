//! Exit code 2 always comes with a line that names the account and what is missing.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::*;
use crate::controls::{Settings, rows::Results};
use crate::evidence::{Evidence, EvidenceKind, Reading, Standing};
use crate::failure::Reason;
use crate::refresh::faults::{Detail, DetailFailures};
use crate::report::Report;
use crate::service_credentials::{ServiceCredential, ServiceCredentials};
use crate::state::Tags;

const ID: &str = "123456789012";
const HEADER: &str = "user,arn,user_creation_time,password_enabled,password_last_used,\
    password_last_changed,mfa_active,access_key_1_active,access_key_1_last_rotated,\
    access_key_1_last_used_date,access_key_2_active,access_key_2_last_rotated,\
    access_key_2_last_used_date,additional_credentials_info";
const ROOT: &str = "<root_account>,arn:aws:iam::123456789012:root,2020-01-01T00:00:00Z,\
    true,N/A,not_supported,true,false,N/A,N/A,false,N/A,N/A,N/A";
const YOUNG: &str = "true,2026-10-30T00:00:00Z,2026-10-31T00:00:00Z";
const OF_TAGS: &str = "rotation: { rules: [{ match: { tags: { team: a } }, max_age: 30d }] }";
const OF_NAME: &str = "rotation: { rules: [{ match: { account: prod }, max_age: 30d }] }";
const NOTHING: &str = "";

fn now() -> DateTime<Utc> {
    "2026-11-01T12:00:00Z".parse().expect("a time")
}

fn config(text: &str) -> Config {
    Config::parse(text, "config.yaml".as_ref()).expect("a configuration")
}

/// The row of a user with this first key.
fn alpha(key: &str) -> String {
    format!(
        "alpha,arn:aws:iam::{ID}:user/alpha,2026-10-01T00:00:00Z,false,N/A,N/A,false,{key},\
         false,N/A,N/A,false"
    )
}

fn report(rows: &[&str]) -> Option<Arc<Report>> {
    let csv = [&[HEADER], rows].concat().join("\n");
    Some(Arc::new(Report::parse(csv.as_bytes()).expect("a report")))
}

/// The refresh of an account of which all is known, and in which all is well.
fn good() -> RefreshOutcome {
    let mut account = Account::pending(ID, "production");
    account.report = report(&[ROOT, &alpha(YOUNG)]);
    (account.generated, account.details_of) = (Some(now()), Some(now()));
    account.has_live_data = true;
    let by_user = BTreeMap::from([("alpha".to_owned(), Vec::new())]);
    account.tags =
        Some(Arc::new(Tags { keys: ["team".to_owned()].into(), by_user, ..Tags::default() }));
    account.service_credentials = Some(Arc::default());
    let refresh = &mut account.refresh;
    (refresh.tags, refresh.name, refresh.service_credentials) = (Tried::Ok, Tried::Ok, Tried::Ok);
    account.evidence = Evidence::good(now());
    RefreshOutcome {
        account,
        reached: true,
        failure: None,
        has_details: true,
        detail_failures: DetailFailures::new(),
    }
}

/// The exit code and the lines of `check`, without and with `--controls`.
fn answers(outcome: RefreshOutcome, configuration: &str) -> [(u8, String); 2] {
    let config = config(configuration);
    let outcome = CheckOutcome::new(vec![outcome], None, &config, now());
    let none = UnrotatedCount::default();
    let settings = Settings { read: EvidenceKind::ALL.into(), ..Settings::default() };
    let results = Results::new(&outcome.state, &settings, now());
    [
        (outcome.exit_code(none), outcome.summary(none)),
        (outcome.exit_code_of_controls(&results), outcome.summary_of_controls(&results)),
    ]
}

/// That the exit code is 2, and that a line names the account and this cause.
fn assert_named((code, lines): &(u8, String), account: &str, cause: &str) {
    assert_eq!(*code, 2, "{cause}: {lines}");
    let is_named = lines.lines().any(|line| line.contains(account) && line.contains(cause));
    assert!(is_named, "no line with {account} and {cause}: {lines}");
}

fn assert_fine((code, lines): &(u8, String), cause: &str) {
    assert_eq!(*code, 0, "{cause}: {lines}");
}

#[test]
fn nothing_is_missing_of_a_good_account() {
    for configuration in [NOTHING, OF_TAGS, OF_NAME] {
        for answer in answers(good(), configuration) {
            assert_fine(&answer, configuration);
        }
    }
}

#[test]
fn each_failure_is_named_with_the_account() {
    for reason in Reason::ALL {
        let failure = Failure::new(reason, "the message");
        let cause = format!("{}: the message", reason.as_str());
        let failed = |detail, tried: fn(&mut Account)| {
            let mut outcome = good();
            outcome.detail_failures.insert(detail, failure.clone());
            tried(&mut outcome.account);
            outcome
        };
        let of_refresh = || RefreshOutcome { failure: Some(failure.clone()), ..good() };
        for answer in answers(of_refresh(), NOTHING) {
            assert_named(&answer, ID, &cause);
        }
        let mut unread = of_refresh();
        unread.account = Account::pending("unknown", "a-file");
        for answer in answers(unread, NOTHING) {
            assert_named(&answer, "account a-file: ", &cause);
        }
        let of_tags = || failed(Detail::Tags, |it| it.refresh.tags = Tried::Failed);
        let of_alias = || failed(Detail::Alias, |it| it.refresh.name = Tried::Failed);
        let of_list = || {
            failed(Detail::ServiceCredentials, |it| it.refresh.service_credentials = Tried::Failed)
        };
        for (outcome, configuration) in
            [(of_tags(), OF_TAGS), (of_alias(), OF_NAME), (of_list(), NOTHING)]
        {
            let [keys, controls] = answers(outcome, configuration);
            assert_named(&keys, ID, &cause);
            assert_fine(&controls, &cause);
        }
        // These change no exit code, but nobody must miss them.
        let of_confirmation = failed(Detail::Confirmation, |_| {});
        let of_evidence = failed(Detail::ControlData(EvidenceKind::AccountSummary), |_| {});
        for outcome in [of_confirmation, of_evidence] {
            for answer in answers(outcome, NOTHING) {
                assert_fine(&answer, &cause);
                assert!(answer.1.contains(&cause), "{}", answer.1);
            }
        }
        let [keys, _] = answers(of_tags(), "labels: { user_tags: [team] }");
        assert_fine(&keys, &cause);
        assert!(keys.1.contains(&cause), "{}", keys.1);
    }
}

#[test]
fn what_is_not_known_without_a_failure_is_named_too() {
    type Forget = fn(&mut Account);
    let cases: [(Forget, &str, &str); 7] = [
        (|it| it.tags = None, OF_TAGS, "tags of users are not known"),
        (|it| it.refresh.tags = Tried::Failed, OF_TAGS, "tags of users are not known"),
        (|it| it.tags = Some(Arc::default()), OF_TAGS, "tags of users are not known"),
        (|it| it.refresh.name = Tried::Failed, OF_NAME, "the name is not known"),
        (
            |it| (it.name, it.refresh.name) = (String::new(), Tried::NotYet),
            OF_NAME,
            "the name is not known",
        ),
        (|it| it.service_credentials = None, NOTHING, "service-specific credentials are not known"),
        (
            |it| it.refresh.service_credentials = Tried::Failed,
            NOTHING,
            "service-specific credentials are not known",
        ),
    ];
    for (forget, configuration, cause) in cases {
        let mut outcome = good();
        forget(&mut outcome.account);
        let [keys, controls] = answers(outcome, configuration);
        assert_named(&keys, ID, cause);
        assert_fine(&controls, cause);
    }
}

#[test]
fn each_gap_of_a_report_is_named_with_its_user() {
    let young = alpha(YOUNG);
    let cut = "cut,arn:aws:iam";
    let more = young.strip_suffix("false").expect("the last column").to_owned() + "1 more";
    for (rows, cause, of_controls) in [
        (
            [ROOT, &alpha("maybe,2026-10-30T00:00:00Z,N/A")],
            "line 3, user alpha, column access_key_1_active: not a boolean",
            "access_key_N_active",
        ),
        ([ROOT, &alpha(",,N/A")], "user alpha may have more keys", "access_key_N_active"),
        (
            [ROOT, &alpha("true,N/A,N/A")],
            "key 1 of user alpha is not judged: its time is not known",
            "access_key_N_last_rotated",
        ),
        (
            [ROOT, &alpha("true,2100-01-01T00:00:00Z,N/A")],
            "key 1 of user alpha is not judged: its time of 2100-01-01T00:00:00Z is ahead of the clock",
            "access_key_N_last_rotated",
        ),
        ([ROOT, &more], "user alpha may have more keys than the report shows", "keys"),
        ([&young, cut], "line 3, user cut, column user: the row does not have", "rows"),
        (
            [&young, &young],
            "line 3, user alpha, column user: the report has the user twice",
            "rows",
        ),
        ([&young, ""], "the report has no readable row of the root user", "root user"),
        (
            [&young, "<root_account>,arn"],
            "line 3, user <root_account>, column user: the row does not have",
            "root user",
        ),
    ] {
        let mut outcome = good();
        outcome.account.report = report(&rows);
        outcome.account.evidence.summary = Reading::default();
        let [keys, controls] = answers(outcome, NOTHING);
        assert_named(&keys, ID, cause);
        assert_named(&controls, ID, of_controls);
    }
}

#[test]
fn an_old_report_and_one_that_could_not_be_shown_are_named() {
    let mut outcome = good();
    outcome.account.generated = Some(now() - TimeDelta::days(91));
    let [keys, controls] = answers(outcome, NOTHING);
    assert_named(&keys, ID, "the report is older than keys may become: more than 90d");
    assert_named(&controls, ID, "the report is too old");

    let mut outcome = good();
    let created = "2100-01-01T00:00:00Z".parse().expect("a time");
    let credential = ServiceCredential {
        service: "bedrock.amazonaws.com".into(),
        id: "ACCA1".to_owned(),
        active: true,
        created,
        expires: None,
        listed_with: None,
    };
    let credentials: ServiceCredentials = [("alpha".to_owned(), credential)].into_iter().collect();
    outcome.account.service_credentials = Some(Arc::new(credentials));
    let [keys, _] = answers(outcome, NOTHING);
    assert_named(
        &keys,
        ID,
        "Bedrock key ACCA1 of user alpha is not judged: its time of 2100-01-01",
    );
}

#[test]
fn each_standing_of_the_data_for_controls_is_named_with_the_account() {
    let failures = Reason::ALL.map(Standing::Failed);
    for standing in failures.into_iter().chain([Standing::NotRead, Standing::Old]) {
        for kind in EvidenceKind::ALL {
            fn set<T>(reading: &mut Reading<T>, standing: Standing) {
                match standing {
                    Standing::Good => {}
                    Standing::NotRead => *reading = Reading::default(),
                    Standing::Old => reading.read = Some(now() - TimeDelta::hours(9)),
                    Standing::Failed(reason) => {
                        *reading = Reading::default();
                        reading.fail(reason);
                    }
                }
            }
            let mut outcome = good();
            // The report has a row of root that needs the summary.
            let root = ROOT.replace("Z,true,", "Z,not_supported,").replace("true,false", ",false");
            outcome.account.report = report(&[&root, &alpha(YOUNG)]);
            let evidence = &mut outcome.account.evidence;
            match kind {
                EvidenceKind::AccountSummary => set(&mut evidence.summary, standing),
                EvidenceKind::PasswordPolicy => set(&mut evidence.password_policy, standing),
                EvidenceKind::VirtualMfaDevices => set(&mut evidence.root_virtual_mfa, standing),
                EvidenceKind::UserPolicies => set(&mut evidence.user_policies, standing),
            }
            let [_, controls] = answers(outcome, NOTHING);
            let cause = match (kind, standing) {
                // Then the report's own column is named.
                (EvidenceKind::AccountSummary, Standing::NotRead) => "mfa_active",
                _ => kind.permission(),
            };
            assert_named(&controls, &format!("accounts: {ID}"), cause);
        }
    }
}

#[test]
fn a_report_from_the_future_has_no_negative_age() {
    let config = config(NOTHING);
    for (minutes, expected) in [
        (-90, "; oldest report: 1 hours old"),
        (4, "; oldest report: 0 hours old"),
        (30, "; oldest report: ahead of the clock by 30 minutes"),
        (200, "; oldest report: ahead of the clock by 3 hours"),
    ] {
        let mut outcome = good();
        outcome.account.generated = Some(now() + TimeDelta::minutes(minutes));
        let outcome = CheckOutcome::new(vec![outcome], None, &config, now());
        let of_file = CheckOutcome { time_of_files: Some("the file's time"), ..outcome };
        let line = of_file.summary(UnrotatedCount::default());
        assert!(line.contains(&format!("{expected}, of 2026-11-01T")), "{line}");
    }
}

#[test]
fn an_old_report_may_hide_keys_that_are_due_soon() {
    let from_the_first_day = "rotation: { max_age: 7d, warn_before: 14d }";
    for (hours, configuration, expected) in [
        (75 * 24, NOTHING, false),
        (77 * 24, NOTHING, true),
        (7, from_the_first_day, false),
        (9, from_the_first_day, true),
    ] {
        let mut outcome = good();
        outcome.account.generated = Some(now() - TimeDelta::hours(hours));
        let [keys, _] = answers(outcome, configuration);
        assert_fine(&keys, "no key can be unrotated yet");
        let line = "the report is so old that keys made since then can be due soon\n";
        let line = format!("account {ID}: {line}");
        assert_eq!(keys.1.contains(&line), expected, "{}", keys.1);
        assert_eq!(keys.1.contains("due soon"), expected, "{}", keys.1);
    }
}

#[test]
fn without_an_account_the_lines_say_so() {
    let config = config(NOTHING);
    let none = UnrotatedCount::default();
    let outcome = CheckOutcome::new(Vec::new(), None, &config, now());
    assert_eq!(outcome.exit_code(none), 2);
    assert!(outcome.summary(none).starts_with("there is no account\n"));
    let failure = Failure::new(Reason::Throttled, "ListAccounts: too many");
    let outcome = CheckOutcome::new(vec![good()], Some(failure), &config, now());
    assert_eq!(outcome.exit_code(none), 2);
    assert!(outcome.summary(none).starts_with("listing accounts: throttled: ListAccounts"));
}

#[test]
fn a_report_with_many_gaps_has_a_limited_number_of_lines() {
    let rows: Vec<String> = (0..250).map(|number| format!("u{number},cut")).collect();
    let mut all = vec![ROOT];
    all.extend(rows.iter().map(String::as_str));
    let mut outcome = good();
    outcome.account.report = report(&all);
    let [(_, lines), _] = answers(outcome, NOTHING);
    assert_eq!(lines.matches(", user u").count(), 100);
    assert!(lines.contains("account 123456789012: and 150 more rows that cannot be read\n"));
}

#[test]
fn a_line_names_some_of_many_accounts_and_counts_the_others() {
    let config = config(NOTHING);
    let outcomes = (0..25).map(|number| {
        let mut outcome = good();
        outcome.account.id = format!("1234567890{number:02}");
        outcome.account.evidence.password_policy = Reading::default();
        outcome
    });
    let outcome = CheckOutcome::new(outcomes.collect(), None, &config, now());
    let results = Results::new(&outcome.state, &Settings::default(), now());
    let lines = outcome.summary_of_controls(&results);
    assert!(lines.contains("; accounts: 123456789000, 123456789001, "), "{lines}");
    assert!(lines.contains(", 123456789019 and 5 more\n"), "{lines}");
}

#[test]
fn accounts_without_an_id_are_in_the_order_of_their_names() {
    let unread = |name| {
        let failure = Some(Failure::new(Reason::Network, "the message"));
        RefreshOutcome { account: Account::pending("unknown", name), failure, ..good() }
    };
    let config = config(NOTHING);
    // They end in any order.
    for names in [["a", "b"], ["b", "a"]] {
        let outcome = CheckOutcome::new(names.map(unread).into(), None, &config, now());
        let accounts = outcome.accounts().map(|account| account.name.as_str());
        assert_eq!(accounts.collect::<Vec<_>>(), ["a", "b"]);
    }
}
