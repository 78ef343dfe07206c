//! The pages of service-specific credentials.

use super::*;

/// The page of the user's key with this id.
fn page_of_id(account: &Account, config: &Config, id: &str) -> String {
    page_of_id_of(account, config, "a", id)
}

fn page_of_id_of(account: &Account, config: &Config, user: &str, id: &str) -> String {
    let state = State::new([account.clone().into()], Tried::Ok, true);
    let asked = query(&format!("account=123456789012&user={user}&id={id}"));
    match key::render(&settings(), &snapshot(state, config.clone()), &asked) {
        key::KeyPage::Found(page) => page,
        key::KeyPage::Missing(page) | key::KeyPage::Invalid(page) => panic!("{page}"),
    }
}

#[test]
fn a_key_that_expires_before_it_is_due_stops_working_before_it_is_due() {
    let account = with_service_credentials(&[("bedrock.amazonaws.com", "ACCA1", Some(4))]);
    let of = |rotation: &str| {
        let config = format!("rotation: {{ {rotation} }}");
        Config::parse(&config, "config.yaml".as_ref()).expect("a configuration")
    };
    let young = of("max_age: 400d");
    let exempt = of("rules: [{ match: { user: a }, exempt: { reason: vendor } }]");
    let exempt_for_long =
        of("rules: [{ match: { user: a }, exempt: { until: 2027-03-01, reason: vendor } }]");
    let soon = of("max_age: 160d");
    let stops = "</time>, in 4 days, and stops working then: rotate it before.";
    for config in [&young, &soon, &exempt, &exempt_for_long] {
        let page = page_of_id(&account, config, "ACCA1");
        for part in [
            stops,
            "It stops working when it expires, on ",
            "expires in 4 days<small><time datetime=\"2026-11-05T12:00Z\">",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        for part in ["Nothing", "due in", "due date", "must be rotated by", "before the exemption"]
        {
            assert!(!page.contains(part), "{part} in {page}");
        }
        let state = || State::new([account.clone().into()], Tried::Ok, true);
        let list = page_of_state(state(), config.clone(), "show=every&id=ACCA1");
        let cell =
            "data-label=\"Due\">expires in 4 days<small><time title=\"2026-11-05 12:00 UTC\"";
        assert!(list.contains(cell), "{list}");
        let snapshot = snapshot(state(), config.clone());
        let calendar = calendar::render(&settings(), &snapshot, &query("id=ACCA1"));
        let calendar = calendar.replace("\r\n ", "");
        assert!(calendar.contains("\r\nDTSTART;VALUE=DATE:20261105\r\n"), "{calendar}");
        assert!(calendar.contains("SUMMARY:Expires today: Bedrock key of a in 123456789012\r\n"));
    }
    // It is overdue, or due before it expires. The page says that it stops working all the same.
    for (config, days, by) in [
        (of("max_age: 90d"), 4, "it had to be rotated by "),
        (of("max_age: 160d"), 40, ": rotate it by "),
        (of("max_age: 170d"), 40, "it must be rotated by "),
    ] {
        let account = with_service_credentials(&[("logs.amazonaws.com", "ACCA1", Some(days))]);
        let page = page_of_id(&account, &config, "ACCA1");
        let told = format!("</time>, in {days} days, and stops working then.");
        assert!(page.contains(by) && page.contains(&told), "{by}: {page}");
        assert!(!page.contains("It stops working when"), "{page}");
    }
}

#[test]
fn a_due_date_and_an_expiry_of_one_day_are_in_the_same_number_of_days() {
    let mut account = with_service_credentials(&[("logs.amazonaws.com", "ACCA1", None)]);
    // It is noon. The limit of 157 days is reached on 2026-11-05 at midnight.
    let credential = ServiceCredential {
        service: "logs.amazonaws.com".into(),
        id: "ACCA1".to_owned(),
        active: true,
        created: day(1),
        expires: Some("2026-11-05T01:00:00Z".parse().expect("a time")),
        listed_with: None,
    };
    account.service_credentials =
        Some(Arc::new([("a".to_owned(), credential)].into_iter().collect()));
    let config =
        Config::parse("rotation: { max_age: 157d }", "c".as_ref()).expect("a configuration");
    let state = State::new([account.into()], Tried::Ok, true);
    let list = page_of_state(state, config, "show=due_soon");
    assert!(list.contains("due in 4 days") && list.contains("expires in 4 days"), "{list}");
}

#[test]
fn a_key_of_an_unmatched_user_is_not_one_of_the_user_who_has_the_name_now() {
    let mut account = with_service_credentials(&[
        ("logs.amazonaws.com", "ACCA1", None),
        ("logs.amazonaws.com", "ACCA2", None),
    ]);
    let all = account.service_credentials.as_deref().expect("credentials").all();
    let all = all.map(|(user, credential)| {
        let user = if credential.id == "ACCA1" { "a (unmatched)" } else { user };
        (user.to_owned(), credential.clone())
    });
    account.service_credentials = Some(Arc::new(all.collect()));
    let of_team = [("team".into(), "payments".into())].into();
    let tags = tags_of_team([("a".to_owned(), of_team)].into());
    account.tags = Some(Arc::new(tags));
    let config = "labels: { user_tags: [team] }\n\
        rotation: { rules: [{ match: { user: a }, exempt: { reason: vendor } }] }";
    let config = Config::parse(config, "c".as_ref()).expect("a configuration");
    let page = page_of_id(&account, &config, "ACCA1");
    let unmatched = "It is not known which user of the report has this key";
    assert!(page.contains(unmatched) && page.contains("its limit is 90 days: it had"), "{page}");
    assert!(page.contains("of <bdi>a (unmatched)</bdi>"), "{page}");
    let state = State::new([account.clone().into()], Tried::Ok, true);
    let list = page_of_state(state, config.clone(), "user=a+%28unmatched%29&show=every");
    assert!(
        list.contains("user=a+%28unmatched%29&amp;id=ACCA1") && !list.contains("ACCA2"),
        "{list}"
    );
    assert!(!page.contains("payments") && !page.contains("ACCA2"), "{page}");
    assert!(page_of_id_of(&account, &config, "a+%28unmatched%29", "ACCA1").contains(unmatched));
    // A link from before AWS listed it under another name.
    assert!(page_of_id_of(&account, &config, "x", "ACCA2").contains("of <bdi>a</bdi>"));
    let page = page_of_id(&account, &config, "ACCA2");
    assert!(page.contains("payments") && page.contains("exempt"), "{page}");
    assert!(!page.contains(unmatched) && !page.contains("ACCA1"), "{page}");
    let state = State::new([account.into()], Tried::Ok, true);
    let text = crate::metrics::page::text(&state, &config, &Filter::default(), now());
    let unrotated = |id: &str| {
        let lines = text.lines().filter(|line| line.contains(id));
        let line =
            lines.filter(|line| line.starts_with("iam_service_specific_credential_unrotated"));
        line.map(|line| line.ends_with(" 1")).collect::<Vec<_>>()
    };
    assert_eq!((unrotated("ACCA1"), unrotated("ACCA2")), (vec![true], vec![false]));
    let user = |id: &str, user: &str| {
        text.contains(&format!(
            "user=\"{user}\",service_name=\"logs.amazonaws.com\",credential_id=\"{id}\""
        ))
    };
    assert!(user("ACCA1", "a (unmatched)") && user("ACCA2", "a"), "{text}");
    let finding = "finding=\"unrotated_service_credential\"";
    let owner =
        text.lines().find(|line| line.starts_with("iam_owner_findings") && line.contains(finding));
    assert!(owner.is_some_and(|line| line.contains("tag_team=\"\"")), "{owner:?}");
}

#[test]
fn aws_allows_two_api_keys_of_a_service_so_one_is_deleted_before_a_third_is_made() {
    let page = |credentials: &[_]| {
        page_of_id(&with_service_credentials(credentials), &Config::default(), "ACCA1")
    };
    let of =
        |service, expires| [("logs.amazonaws.com", "ACCA1", None), (service, "ACCA2", expires)];
    let third = "The user has two keys for this service, and AWS allows no third.";
    let one = page(&of("bedrock.amazonaws.com", None));
    assert!(!one.contains(third) && one.contains("Make a second key"), "{one}");
    let two = page(&of("logs.amazonaws.com", None));
    assert!(two.contains(third) && two.contains("id=ACCA2\""), "{two}");
    assert!(two.contains("Unless everything uses the other one by now, make a new key"), "{two}");
    let expired = page(&of("logs.amazonaws.com", Some(-1)));
    assert!(expired.contains("</a>, has expired. First delete that one."), "{expired}");
    assert!(expired.contains("Then make a new key"), "{expired}");
}
