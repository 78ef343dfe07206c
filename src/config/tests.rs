use proptest::prelude::*;

use super::*;
use crate::evidence::EvidenceKind;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "config.yaml".as_ref()).map_err(|error| error.to_string())
}

#[test]
fn every_field_is_read() {
    let config = parse(
        "accounts:\n\
         \x20 - id: 123456789012\n\
         \x20   name: production\n\
         \x20   role_arn: arn:aws:iam::123456789012:role/audit/exporter\n\
         \x20   external_id: a-1\n\
         \x20 - { id: '012345678901', profile: china }\n\
         organization: { role_name: exporter, exclude: ['111111111111'] }\n\
         rotation:\n\
         \x20 max_age: 60d\n\
         \x20 warn_before: 36h\n\
         \x20 rules:\n\
         \x20   - match: { user: 'svc-*', path: /service/*, account: 123456789012, tags: { tier: gold } }\n\
         \x20     max_age: 365d\n\
         \x20   - match: { user: vendor-sync }\n\
         \x20     exempt: { until: 2027-03-01, reason: 'vendor cannot rotate before the 3.2 release' }\n\
         confirm: { enabled: true, rate: 2 }\n\
         service_credentials: { enabled: false }\n\
         labels: { user_tags: [team, owner] }\n\
         controls: { benchmark: v1.3, unused_after: 30d, root_unused_for: 36h, users: false, read: [user_policies, account_summary] }\n",
    )
    .expect("a configuration");
    let expected = "\
account 123456789012 (production): default credentials, which assume arn:aws:iam::123456789012:role/audit/exporter with an external id
account 012345678901: credentials of the profile china
organization: every active account, role exporter, without 111111111111
max age: 60d
warn before: 129600s
rotation.rules[0]: user svc-*, path /service/*, account 123456789012, tag tier=gold: max age 365d
rotation.rules[1]: user vendor-sync: exempt until 2027-03-02T00:00:00Z: vendor cannot rotate before the 3.2 release
confirm: 2 requests a second for each account
service credentials: never
controls: CIS v1.3, unused after 30d, root unused for 129600s, users: false, read: account_summary, user_policies
label: tag team as tag_team
label: tag owner as tag_owner
";
    assert_eq!(config.to_string(), expected);
    let wanted: Vec<String> = config.tag_keys().into_iter().collect();
    assert_eq!(wanted, ["owner", "team", "tier"]);
}

#[test]
fn an_empty_file_is_as_none() {
    for text in [
        "",
        "# nothing\n",
        "{}\n",
        "rotation: {}\nlabels: {}\n",
        "rotation:\nconfirm:\nservice_credentials:\n",
        "rotation:\nconfirm:\ncontrols:\n",
        "controls: true\n",
        "controls: {}\n",
    ] {
        assert_eq!(parse(text), Ok(Config::default()), "{text:?}");
    }
    let expected = "account of the default credentials\nmax age: 90d\nwarn before: 14d\nconfirm: 5 requests a second for each account\nservice credentials: with each report\ncontrols: CIS v7.0, unused after 45d, root unused for 90d, users: true, read: account_summary, password_policy, virtual_mfa_devices\n";
    assert_eq!(Config::default().to_string(), expected);
}

#[test]
fn controls_can_be_turned_off_in_a_word_or_with_their_settings_kept() {
    for text in ["controls: false", "controls: { enabled: false, benchmark: v3.0 }"] {
        let config = parse(text).expect("a configuration");
        assert!(!config.controls.enabled, "{text}");
        assert!(EvidenceKind::ALL.iter().all(|kind| !config.reads(*kind)), "{text}");
        assert!(config.to_string().contains("controls: none\n"), "{text}");
    }
    let limit = |text| {
        let config = parse(text).expect("a configuration");
        config.controls.unused_after().num_days()
    };
    assert_eq!(limit("controls: { benchmark: v1.3 }"), 90, "as that version says");
    assert_eq!(limit("controls: { benchmark: v4.0.1 }"), 45);
    assert_eq!(limit("controls: { benchmark: v1.3, unused_after: 30d }"), 30);
    assert_eq!(limit("controls: { enabled: false, unused_after: 30d }"), 30, "for `check`");
}

#[test]
fn labels_are_safe_and_differ() {
    let config =
        parse("labels: { user_tags: [cost-center, cost_center, 'aws:x', Cost.Center, tag_] }");
    let labels: Vec<String> =
        config.expect("a configuration").user_tags.into_iter().map(|tag| tag.label).collect();
    assert_eq!(
        labels,
        ["tag_cost_center", "tag_cost_center_2", "tag_aws_x", "tag_Cost_Center", "tag_tag_"]
    );
}

#[test]
fn one_anchor_may_be_used_1000_times() {
    let rules = (1..1_000)
        .map(|number| format!("    - match: {{ user: user-{number} }}\n      exempt: *vendor\n"));
    let first = "    - match: { user: user-0 }\n      exempt: &vendor { reason: vendor }\n";
    let text = format!("rotation:\n  rules:\n{first}{}", rules.collect::<String>());
    assert_eq!(parse(&text).map(|config| config.policy.rules.len()), Ok(1_000));
}

#[test]
fn an_exemption_that_has_ended_is_warned_of() {
    let config = parse(
        "rotation: { rules: [{ match: { user: a }, exempt: { until: 2026-01-01, reason: x } }, { match: { user: b }, exempt: { reason: x } }] }",
    )
    .expect("a configuration");
    let now = |text: &str| text.parse().expect("a time");
    assert_eq!(config.warnings(now("2026-01-01T23:59:59Z")), [""; 0]);
    assert_eq!(
        config.warnings(now("2026-01-02T00:00:00Z")),
        ["warning: rotation.rules[0]: its exemption has ended, so it has no effect: user a"]
    );
}

#[test]
fn a_warning_that_never_ends_is_warned_of() {
    let warnings = |text| {
        let config = parse(text).expect("a configuration");
        config.warnings("2026-11-01T12:00:00Z".parse().expect("a time"))
    };
    assert_eq!(warnings("rotation: { max_age: 15d }"), [""; 0]);
    assert_eq!(
        warnings("rotation: { max_age: 14d }"),
        [
            "warning: rotation.warn_before: 14d is not less than the max age of 14d: every key is due soon from its first day"
        ]
    );
}

/// Each broken file gives one line with file, line, field and the expected value.
#[test]
fn broken_files_are_refused_with_file_line_and_field() {
    let cases = include_str!("../../tests/data/broken-configs.txt");
    let mut told = String::new();
    for case in cases.split("=====\n").filter(|case| !case.is_empty()) {
        let error = parse(case).expect_err(case);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("config.yaml:"), "{error}");
        told.push_str(&error);
        told.push('\n');
    }
    assert!(told.lines().count() >= 20);
    expect_test::expect_file!["../../tests/golden/broken-configs.txt"].assert_eq(&told);
}

#[test]
fn a_name_with_line_breaks_or_escapes_is_told_in_one_line() {
    for (text, expected) in [
        ("{a\n\ne}", "config.yaml:1: a\\ne: unknown field `a"),
        ("\"a\\nb\\e[2J\": 1", "config.yaml:1: a\\nb\\u001b[2J: unknown field `a"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.starts_with(expected), "{error:?}");
        assert!(!error.contains(char::is_control), "{error:?}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_mixture_of_fields_and_yaml_panics(
        words in proptest::collection::vec(
            "(accounts|organization|rotation|rules|match|exempt|until|max_age|warn_before|confirm|rate|service_credentials|enabled|labels|user_tags|tags|id|controls|benchmark|read):|[-{}\\[\\],:&*!|>'\"#?%@`] ?|&a |\\*a|<<: \\*a|\n {0,6}|[0-9]{1,20}[dhs]?|[0-9]{4}-[0-9]{2}-[0-9]{2}|\\PC",
            0..60,
        )
    ) {
        if let Err(error) = parse(&words.concat()) {
            prop_assert_eq!(error.lines().count(), 1, "{}", error);
        }
    }
}
