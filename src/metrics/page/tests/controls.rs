//! The controls on the page.

use super::*;
use crate::controls::Control;

/// The number of violations that a page shows for a control, and of those by user.
fn violations(text: &str, control: &str) -> (f64, f64) {
    let label = format!("control=\"{control}\"");
    let sum = |name: &str| {
        let of_family = |series: &str| series.starts_with(name) && series.contains(&label);
        samples(text).filter(|(series, _)| of_family(series)).map(|(_, value)| value).sum()
    };
    (sum("iam_control_violations{"), sum("iam_control_violation{"))
}

#[test]
fn violations_of_users_add_up_to_those_of_their_control() {
    let (text, _) = page(&Filter::default());
    for control in Control::all() {
        let (all, of_users) = violations(&text, control.name());
        let is_of_user = !control.name().starts_with("password_");
        assert_eq!(of_users, if is_of_user { all } else { 0.0 }, "{}", control.name());
    }
    assert!(violations(&text, "access_keys_rotated").0 > 5.0);
}

#[test]
fn a_control_that_is_not_decided_has_no_number_and_says_why() {
    let (text, _) = page(&Filter::default());
    let id = "account_id=\"123456789012\",control=\"root_hardware_mfa\"";
    let no_mfa = format!("iam_control_violations{{{id}}} 1\n");
    assert!(text.contains(&no_mfa), "root has no MFA, so no list is needed");
    let gov = "account_id=\"210987654321\",control=\"password_length\"";
    assert!(!text.contains(&format!("iam_control_violations{{{gov}}}")));
    let undecided = format!(
        "iam_control_undecided{{{gov},reason=\"not_read\",missing=\"iam:GetAccountPasswordPolicy\"}} 1\n"
    );
    assert!(text.contains(&undecided));
}

#[test]
fn controls_and_users_with_violations_can_be_switched_off() {
    let names = |controls: &str| -> HashSet<String> {
        let config = Config::parse(controls, "config.yaml".as_ref()).expect("a configuration");
        let text = text(&state(), &config, &Filter::default(), at(NOW));
        let names = samples(&text).filter_map(|(series, _)| series.split('{').next());
        names.filter(|name| name.contains("control")).map(str::to_owned).collect()
    };
    let all = names("");
    assert_eq!(all.len(), 5, "{all:?}");
    assert_eq!(names("controls: true"), all);
    let without_users = names("controls: { users: false }");
    assert_eq!(all.difference(&without_users).collect::<Vec<_>>(), ["iam_control_violation"]);
    assert_eq!(names("controls: false"), HashSet::new());
}
