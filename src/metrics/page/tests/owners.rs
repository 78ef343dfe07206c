//! The metrics of owners agree with those of keys.

use proptest::prelude::*;

use super::encoder::labels_of;
use super::*;

#[test]
fn only_accounts_that_were_read_have_owners_and_one_without_keys_has_one_with_zeros() {
    let no_keys = account("empty", &csv(&[([None, None], 0)]));
    let pending = Account::pending("444444444444", "");
    let state = State::new([no_keys, pending].map(Arc::new), Tried::Ok, true);
    let text = text(&state, &config(), &Filter::default(), at(NOW));
    let of_owners: Vec<_> =
        samples(&text).filter(|(series, _)| series.starts_with("iam_owner_")).collect();
    assert_eq!(of_owners.len(), 9, "{of_owners:?}");
    let labels = "account_id=\"123456789012\",account_name=\"empty\"";
    for (series, value) in of_owners {
        let (name, rest) = series.split_once('{').expect("labels");
        assert!(rest.starts_with(labels), "{series}");
        let has_tags = rest.contains(",tag_team=\"\",tag_cost_center=\"\"");
        assert_eq!(has_tags, name != "iam_owner_root_access_keys", "{series}");
        assert_eq!(value, 0.0, "{series}");
    }
}

fn reported_key() -> impl Strategy<Value = ReportedKey> {
    let hours = proptest::option::weighted(0.9, -24_i64..4_000);
    proptest::option::of((any::<bool>(), hours, any::<bool>()))
}

/// The labels of a series, and those of them that tell its owner.
fn labels_and_owner(
    series: &str,
    owners: &BTreeMap<String, BTreeMap<String, String>>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let (_, labels) = series.split_once('{').expect("labels");
    let mut labels: BTreeMap<String, String> = labels_of(labels.trim_end_matches('}'))
        .into_iter()
        .map(|label| (label.name().to_owned(), label.value().to_owned()))
        .collect();
    let owner = match labels.get("user") {
        Some(user) => owners[user].clone(),
        None => labels.clone().into_iter().filter(|(name, _)| name.starts_with("tag_")).collect(),
    };
    labels.retain(|name, _| !name.starts_with("tag_"));
    (labels, owner)
}

proptest! {
    /// The metrics of owners say the same as those of keys, put together by tags.
    #[test]
    fn owners_add_up_to_the_keys_of_the_page(
        users in proptest::collection::vec(([reported_key(), reported_key()], 0_usize..3), 1..12),
        (has_labels, knows_tags) in any::<(bool, bool)>(),
        (max_age, warn_before) in (1_i64..150, 1_i64..60),
    ) {
        let config = format!(
            "rotation:\n\
             \x20 max_age: {max_age}d\n\
             \x20 warn_before: {warn_before}d\n\
             \x20 rules:\n\
             \x20   - {{ match: {{ user: user-1 }}, exempt: {{ until: 2027-01-01, reason: x }} }}\n\
             \x20   - {{ match: {{ user: user-2 }}, exempt: {{ until: 2026-10-01, reason: x }} }}\n\
             \x20   - {{ match: {{ user: user-3 }}, exempt: {{ reason: x }} }}\n\
             \x20   - {{ match: {{ tags: {{ team: b }} }}, max_age: 30d }}\n\
             labels: {{ user_tags: {} }}\n",
            if has_labels { "[team]" } else { "[]" }
        );
        let config = Config::parse(&config, "config.yaml".as_ref()).expect("a configuration");
        let teams = ["", "a\\\"", "b"];
        let tagged = users.iter().enumerate().skip(1).filter(|(_, (_, team))| *team > 0);
        let by_user = tagged
            .map(|(number, (_, team))| {
                (format!("user-{number}"), vec![("Team".into(), teams[*team].into())])
            })
            .collect();
        let tags = Tags { keys: config.tag_keys(), by_user, ..Tags::default() };
        let mut account = account("production", &csv(&users));
        account.tags = knows_tags.then(|| Arc::new(tags));
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let text = text(&state, &config, &Filter::default(), at(NOW));

        let owners: BTreeMap<String, BTreeMap<String, String>> = users
            .iter()
            .enumerate()
            .map(|(number, (_, team))| {
                let user = match number {
                    0 => "<root_account>".to_owned(),
                    number => format!("user-{number}"),
                };
                let team = if knows_tags && number > 0 { teams[*team] } else { "" };
                let tag = has_labels.then(|| ("tag_team".to_owned(), team.to_owned()));
                (user, tag.into_iter().collect())
            })
            .collect();
        // The values of a metric by owner.
        let by_owner = |metric: &str, wanted: Option<&str>| {
            let mut values: BTreeMap<_, Vec<f64>> = BTreeMap::new();
            for (series, value) in samples(&text) {
                if series.split('{').next() != Some(metric) {
                    continue;
                }
                let (labels, owner) = labels_and_owner(series, &owners);
                let kind = labels.get("status").or_else(|| labels.get("finding"));
                if wanted.is_none_or(|wanted| kind.is_some_and(|kind| kind == wanted)) {
                    values.entry(owner).or_default().push(value);
                }
            }
            values
        };
        let total = |metric: &str, status: Option<&str>| -> f64 {
            by_owner(metric, status).into_values().flatten().sum()
        };
        let count = |metric: &str| by_owner(metric, None).into_values().flatten().count() as f64;
        let of_owners = |status| total("iam_owner_access_keys", Some(status));

        prop_assert_eq!(of_owners("unrotated"), total("iam_unrotated_keys_total", None));
        prop_assert_eq!(of_owners("not_judged"), total("iam_access_keys_not_judged", None));
        prop_assert_eq!(of_owners("inactive"), total("iam_access_keys", Some("inactive")));
        prop_assert_eq!(total("iam_owner_access_keys", None), count("iam_access_key_active"));
        let active_keys = |keys: &[ReportedKey; 2]| {
            keys.iter().flatten().filter(|(active, ..)| *active).copied().collect::<Vec<_>>()
        };
        let never_used = users.iter().flat_map(|(keys, _)| active_keys(keys));
        let never_used = never_used.filter(|(_, _, used)| !used).count() as f64;
        prop_assert_eq!(total("iam_owner_access_keys_never_used", None), never_used);
        for status in ["unrotated", "due_soon"] {
            prop_assert_eq!(total("iam_owner_findings", Some(status)), of_owners(status));
        }
        let findings = by_owner("iam_owner_findings", None);
        prop_assert!(findings.values().flatten().all(|keys| *keys > 0.0));
        let most_urgent = by_owner("iam_owner_most_urgent_finding", None);
        prop_assert!(most_urgent.keys().eq(findings.keys()));
        for (owner, keys) in &most_urgent {
            // The page has findings in the order of urgency, too.
            prop_assert_eq!(keys, &findings[owner][..1]);
        }
        let less_urgent = by_owner("iam_owner_less_urgent_findings", None);
        prop_assert!(less_urgent.keys().eq(findings.keys()));
        for (owner, keys) in &less_urgent {
            // A key can have several findings.
            let others = &findings[owner][1..];
            prop_assert!(keys[0] <= others.iter().sum::<f64>());
            prop_assert!(keys[0] + most_urgent[owner][0] >= others.iter().copied().fold(0.0, f64::max));
        }
        let of_root = active_keys(&users[0].0).len() as f64;
        prop_assert_eq!(total("iam_owner_root_access_keys", None), of_root);

        let active = by_owner("iam_access_key_active", None);
        let shown = by_owner("iam_owner_access_keys", None);
        for statuses in shown.values() {
            prop_assert_eq!(statuses.len(), 6);
        }
        if active.is_empty() {
            prop_assert_eq!(shown.len(), 1);
        } else {
            prop_assert!(shown.keys().eq(active.keys()), "{:?} {:?}", shown, active);
        }
        let [unrotated, oldest, ages, due, next_due, end, next_end] = [
            "iam_access_key_unrotated",
            "iam_owner_oldest_unrotated_age_days",
            "iam_access_key_age_days",
            "iam_access_key_rotation_due_timestamp_seconds",
            "iam_owner_next_rotation_due_timestamp_seconds",
            "iam_access_key_exemption_end_timestamp_seconds",
            "iam_owner_next_exemption_end_timestamp_seconds",
        ]
        .map(|metric| by_owner(metric, None));
        let unrotated_of_owners = by_owner("iam_owner_access_keys", Some("unrotated"));
        let now = at(NOW).timestamp() as f64;
        let earliest = |times: Option<&Vec<f64>>, is_ahead: &dyn Fn(f64) -> bool| {
            let times = times.into_iter().flatten().copied().filter(|time| is_ahead(*time));
            times.min_by(f64::total_cmp).map(|time| vec![time])
        };
        for owner in shown.keys() {
            let verdicts = unrotated.get(owner).into_iter().flatten();
            let number: f64 = verdicts.clone().sum();
            prop_assert_eq!(&unrotated_of_owners[owner], &[number]);
            // A key has both an age and a verdict, or neither.
            let ages = verdicts.zip(ages.get(owner).into_iter().flatten());
            let ages = ages.filter(|(verdict, _)| **verdict == 1.0).map(|(_, age)| *age);
            prop_assert_eq!(&oldest[owner], &[ages.fold(0.0, f64::max)]);
            // A key is unrotated from the hundredth of a day after its due date on.
            let expected = earliest(due.get(owner), &|time| time + 864.0 > now);
            prop_assert_eq!(next_due.get(owner), expected.as_ref());
            let expected = earliest(end.get(owner), &f64::is_finite);
            prop_assert_eq!(next_end.get(owner), expected.as_ref());
        }
    }
}
