//! What the report does not say: nothing of it looks as if there were no keys.

use super::*;

#[test]
fn without_a_row_of_root_its_keys_are_those_that_the_summary_knows_or_not_known() {
    let csv = |partition: &str| {
        let head = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated";
        format!("{head}\nann,arn:{partition}:iam::123456789012:user/ann,false,N/A,false,N/A\n")
    };
    let root_keys = |partition: &str, summary: Option<bool>, controls: &str| {
        let mut account = account("production", &csv(partition));
        let summary =
            summary.map(|keys| AccountSummary { root_keys: Some(keys), ..Default::default() });
        account.evidence.summary =
            summary.map_or_else(Reading::default, |summary| Reading::of(summary, at(NOW)));
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let config = Config::parse(controls, "config.yaml".as_ref()).expect("a configuration");
        let text = text(&state, &config, &Filter::default(), at(NOW));
        let found = samples(&text).filter(|(series, _)| series.starts_with("iam_owner_root"));
        found.map(|(_, keys)| keys).collect::<Vec<_>>()
    };
    assert_eq!(root_keys("aws", None, ""), [0.0; 0], "not known is not 0");
    assert_eq!(root_keys("aws", None, "controls: false"), [0.0; 0]);
    assert_eq!(root_keys("aws", Some(true), ""), [1.0]);
    assert_eq!(root_keys("aws", Some(false), ""), [0.0]);
    assert_eq!(root_keys("aws-cn", None, ""), [0.0], "China has no root user");
    assert_eq!(root_keys("aws-cn", None, "controls: false"), [0.0]);
}

#[test]
fn the_keys_of_a_root_whose_row_cannot_be_read_stay_and_none_is_not_known() {
    let root_keys = |first: &str, second: &str| {
        let head = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
                    ann,arn:aws:iam::123456789012:user/ann,false,N/A,false,N/A\n<root_account>,arn:aws:iam::123456789012:root";
        let before = account(
            "production",
            &format!("{head},{first},2020-01-01T00:00:00Z,{second},2020-01-01T00:00:00Z"),
        );
        let mut account = account("production", head);
        let report = account.report.as_mut().expect("a report");
        report.keep_missing(before.report.as_ref().expect("a report"), None);
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let text = text(&state, &Config::default(), &Filter::default(), at(NOW));
        let value = |name: &str| {
            let mut found = samples(&text).filter(|(series, _)| series.starts_with(name));
            found.next().map(|(_, value)| value)
        };
        (value("iam_owner_root_access_keys"), value("iam_unrotated_keys_total"))
    };
    assert_eq!(root_keys("true", "true"), (Some(2.0), Some(2.0)));
    assert_eq!(root_keys("false", "true"), (Some(1.0), Some(1.0)));
    assert_eq!(root_keys("false", "false"), (None, Some(0.0)));
}

#[test]
fn a_root_without_keys_of_whom_another_row_is_rejected_has_no_known_number_of_keys() {
    let root = |active: bool| {
        let keys = [active.then_some((true, Some(3_000), false)), None];
        let text = csv(&[(keys, 0)]);
        text.lines().nth(1).expect("a row").to_owned()
    };
    let head = csv(&[]);
    let root_keys = |first: &str, second: &str| {
        let account = account("production", &format!("{head}{first}\n{second}\n"));
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let text = text(&state, &config(), &Filter::default(), at(NOW));
        let mut found = samples(&text).filter(|(series, _)| series.starts_with("iam_owner_root"));
        found.next().map(|(_, keys)| keys)
    };
    let (clean, with_key) = (root(false), root(true));
    let other_arn = with_key.replace("arn:aws:iam::123456789012:root", "garbage");
    let user = clean.replace("<root_account>", "ann").replace(":root", ":user/ann");
    assert_eq!(root_keys(&clean, &with_key), Some(1.0), "the worse of both");
    assert_eq!(root_keys(&clean, &clean), None, "which row is right is not known");
    assert_eq!(root_keys(&clean, &other_arn), None);
    assert_eq!(root_keys(&with_key, &clean), Some(1.0), "a key that is known stays");
    assert_eq!(root_keys(&clean, &user), Some(0.0));
    assert_eq!(root_keys(&clean, "short,row"), Some(0.0), "a row of somebody else");
}

#[test]
fn a_report_without_the_time_of_an_old_key_ends_no_alert() {
    let report = |key: &str| {
        let head = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated";
        format!(
            "{head}\n<root_account>,arn:aws:iam::123456789012:root,{key},false,N/A\n\
             ann,arn:aws:iam::123456789012:user/ann,{key},false,N/A\n"
        )
    };
    let whole = "true,2020-01-01T00:00:00Z";
    let before = account("production", &report(whole));
    let twice = |one: &str, other: &str| {
        let other = report(other);
        report(one) + other.split_once('\n').expect("a header").1
    };
    for csv in [
        report("true,N/A"),
        report("true,"),
        report("true,garbage"),
        twice(whole, "true,N/A"),
        twice("true,N/A", whole),
    ] {
        let mut account = account("production", &csv);
        let report = account.report.as_mut().expect("a report");
        report.keep_missing(before.report.as_ref().expect("a report"), None);
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let text = text(&state, &config(), &Filter::default(), at(NOW));
        let value = |start: &str, label: &str| {
            let is_it = |series: &str| series.starts_with(start) && series.contains(label);
            samples(&text).filter(|(series, _)| is_it(series)).map(|(_, value)| value).sum::<f64>()
        };
        assert_eq!(value("iam_access_key_unrotated{", ""), 2.0, "{csv}");
        assert_eq!(value("iam_owner_findings{", "\"unrotated\""), 2.0, "{csv}");
        assert_eq!(value("iam_unrotated_keys_total", ""), 2.0, "{csv}");
        assert!(value("iam_credential_report_rejected_rows", "") >= 2.0, "{csv}");
    }
}

#[test]
fn a_user_with_more_keys_than_the_report_shows_counts_as_not_judged_until_aws_listed_them() {
    let mut account = account("production", &csv(&[([None, None], 0), ([None, None], 0)]));
    let mut report = Report::clone(account.report.as_ref().expect("a report"));
    report.users.iter_mut().for_each(|user| user.additional_credentials = Some(true));
    account.report = Some(Arc::new(report));
    let not_judged = |account: &Account| {
        let state = State::new([Arc::new(account.clone())], Tried::Ok, true);
        let text = text(&state, &config(), &Filter::default(), at(NOW));
        samples(&text)
            .find(|(series, _)| series.starts_with("iam_access_keys_not_judged"))
            .map(|(_, keys)| keys)
    };
    assert_eq!(not_judged(&account), Some(1.0), "root has two keys at most");
    confirm(&mut account, "user-1", Some(&[]));
    assert_eq!(not_judged(&account), Some(0.0));
}

#[test]
fn a_service_credential_of_unknown_age_is_not_judged_and_counts_as_such() {
    let mut account = account("production", &csv(&[([None, None], 0), ([None, None], 0)]));
    let credential = |id: &str, active, created: &str| ServiceCredential {
        service: "bedrock.amazonaws.com".into(),
        id: id.to_owned(),
        active,
        created: at(created),
        expires: None,
        listed_with: None,
    };
    let ahead = "2026-12-01T12:00:00Z";
    let credentials = [
        ("user-1", credential("REPORTED", true, ahead)),
        ("user-1", credential("INACTIVE", false, ahead)),
        ("user-1", credential("YOUNG", true, "2026-10-01T00:00:00Z")),
        ("not-in-the-report", credential("UNREPORTED", true, ahead)),
    ];
    let credentials = credentials.map(|(user, credential)| (user.to_owned(), credential));
    account.service_credentials = Some(Arc::new(credentials.into_iter().collect()));
    let state = State::new([Arc::new(account)], Tried::Ok, true);
    let text = text(&state, &config(), &Filter::default(), at(NOW));
    let not_judged = "iam_access_keys_not_judged{account_id=\"123456789012\"} 2\n";
    assert!(text.contains(not_judged), "{text}");
    assert_eq!(Overview::new(&state, &config(), at(NOW)).accounts[0].not_judged, 2);
}

#[test]
fn a_list_of_service_credentials_that_was_not_tried_since_counts_as_failed() {
    for (tried, available) in [(Tried::NotYet, 0), (Tried::Failed, 0), (Tried::Ok, 1)] {
        let mut account = account("production", &csv(&[([None, None], 0)]));
        account.has_live_data = true;
        account.service_credentials = Some(Arc::default());
        account.refresh.service_credentials = tried;
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let text = text(&state, &config(), &Filter::default(), at(NOW));
        let line = format!(
            "\niam_exporter_service_credentials_available{{account_id=\"123456789012\"}} {available}\n"
        );
        assert!(text.contains(&line), "{tried:?}: {text}");
    }
}

#[test]
fn a_root_whose_slots_are_blank_counts_as_not_judged_until_aws_says_that_it_has_no_key() {
    let head = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated";
    let exempt =
        "rotation: { rules: [{ match: { user: <root_account> }, exempt: { reason: x } }] }";
    let numbers = |keys: &str, root_keys: Option<bool>, config: &str| {
        let csv = format!("{head}\n<root_account>,arn:aws:iam::123456789012:root,{keys}\n");
        let mut account = account("production", &csv);
        account.details_of = account.generated;
        let summary = AccountSummary { root_keys, ..AccountSummary::default() };
        account.evidence.summary = Reading::of(summary, at(NOW));
        let config = Config::parse(config, "config.yaml".as_ref()).expect("a configuration");
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let text = text(&state, &config, &Filter::default(), at(NOW));
        let value = |name: &str| {
            let mut found = samples(&text).filter(|(series, _)| series.starts_with(name));
            found.next().map(|(_, value)| value)
        };
        let overview = Overview::new(&state, &config, at(NOW));
        let not_judged = value("iam_access_keys_not_judged");
        assert_eq!(not_judged, Some(overview.accounts[0].unlisted as f64), "{keys}");
        (not_judged, value("iam_owner_root_access_keys"))
    };
    for keys in [",,,", "N/A,N/A,N/A,N/A", "false,N/A,N/A,N/A", ",,false,N/A"] {
        assert_eq!(numbers(keys, None, ""), (Some(1.0), None), "{keys}");
        // There is a key, and nobody knows which.
        assert_eq!(numbers(keys, Some(true), ""), (Some(1.0), Some(1.0)), "{keys}");
        assert_eq!(numbers(keys, Some(false), ""), (Some(0.0), Some(0.0)), "{keys}");
        assert_eq!(numbers(keys, None, exempt).0, Some(0.0), "{keys}");
    }
    let one_known = "true,2026-10-30T00:00:00Z,N/A,N/A";
    assert_eq!(numbers(one_known, None, ""), (Some(1.0), Some(1.0)));
    assert_eq!(numbers("false,N/A,false,N/A", None, ""), (Some(0.0), Some(0.0)));
}

#[test]
fn a_report_without_the_use_of_a_key_that_was_never_used_ends_no_finding() {
    let head = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,access_key_2_active,access_key_2_last_rotated";
    let report = |key: &str| {
        format!(
            "{head}\n<root_account>,arn:aws:iam::123456789012:root,{key},false,N/A\nann,arn:aws:iam::123456789012:user/ann,{key},false,N/A\n"
        )
    };
    let before = account("production", &report("true,2026-10-01T00:00:00Z,N/A"));
    let never_used = |key: &str| {
        let mut account = account("production", &report(key));
        let report = account.report.as_mut().expect("a report");
        report.keep_missing(before.report.as_ref().expect("a report"), None);
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let text = text(&state, &config(), &Filter::default(), at(NOW));
        let sum = |name: &str, label: &str| {
            let is_it = |series: &str| series.starts_with(name) && series.contains(label);
            samples(&text).filter(|(series, _)| is_it(series)).map(|(_, value)| value).sum::<f64>()
        };
        let finding = sum("iam_owner_findings{", "\"never_used\"");
        assert_eq!(finding, sum("iam_access_key_never_used{", ""), "{key}");
        finding
    };
    // Of root, no use is no finding but good news, which has to be known.
    for unknown in ["", "not_supported", "garbage"] {
        assert_eq!(never_used(&format!("true,2026-10-01T00:00:00Z,{unknown}")), 1.0, "{unknown}");
    }
    assert_eq!(never_used("true,,"), 1.0, "its time is the one of before");
    assert_eq!(never_used("true,2026-10-01T00:00:00Z,N/A"), 2.0);
    assert_eq!(never_used("true,2026-10-01T00:00:00Z,2026-10-31T00:00:00Z"), 0.0, "used");
    assert_eq!(never_used("true,2026-10-02T00:00:00Z,"), 0.0, "another key");
}
