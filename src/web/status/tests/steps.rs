//! What a key's page says to do.

use super::*;

const USED: &str = "true,2020-01-01T00:00:00Z,2026-11-01T00:00:00Z";

#[test]
fn a_key_that_nobody_uses_is_to_be_deleted_and_not_rotated() {
    let none = "false,N/A,N/A";
    let unused = "deactivate it, and delete it.</p>";
    let replace = "If a role can replace it";
    let second = "Make a second key";
    for (key, told) in [
        (
            "true,2020-01-01T00:00:00Z,2025-10-31T00:00:00Z",
            "By the report of 2026-11-01, nobody has used it since 2025-10-31: ",
        ),
        // Its state is ok.
        ("true,2026-10-20T00:00:00Z,N/A", "By the report of 2026-11-01, nobody has ever used it: "),
        ("true,2020-01-01T00:00:00Z,N/A", "By the report of 2026-11-01, nobody has ever used it: "),
    ] {
        let page = page_of_key(&format!("{key},{none}"));
        assert!(page.contains(&format!("{told}{unused}")), "{key}: {page}");
        for rotation in [replace, second, "Nothing yet"] {
            assert!(!page.contains(rotation), "{rotation} for {key}: {page}");
        }
    }
    for key in [
        "true,2020-01-01T00:00:00Z,2025-11-02T00:00:00Z",
        // It is new.
        "true,2026-10-30T00:00:00Z,N/A",
        // It is not known whether it was used.
        "true,2020-01-01T00:00:00Z,not a time",
    ] {
        let page = page_of_key(&format!("{key},{none}"));
        assert!(page.contains(replace) && page.contains(second), "{key}: {page}");
        assert!(!page.contains(unused), "{key}: {page}");
    }
    let page = page_of_key(&format!("false,2020-01-01T00:00:00Z,N/A,{none}"));
    assert!(!page.contains(unused), "it is inactive: {page}");
}

#[test]
fn an_exempt_key_is_rotated_before_its_exemption_ends() {
    let page_of = |key: &str, exempt: &str| {
        let config =
            format!("rotation: {{ rules: [{{ match: {{ user: a }}, exempt: {{ {exempt} }} }}] }}");
        let config = Config::parse(&config, "config.yaml".as_ref()).expect("a configuration");
        let account = account("123456789012", key);
        page_of_its_key(Account { generated: Some(now()), ..account }, config)
    };
    let page = |exempt: &str| page_of("true,2020-01-01T00:00:00Z", exempt);
    let text = page("reason: vendor, until: 2099-01-31");
    for part in [
        "exempt to <time title=\"2099-01-31 23:59 UTC\">2099-01-31</time>, its last day: ",
        "Rotate it by <time title=\"2099-01-31 23:59 UTC\">2099-01-31</time>, the last day of its exemption.",
        "exempt, last day <time title=\"2099-01-31 23:59 UTC\">2099-01-31</time>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("2099-02-01"), "{text}");
    assert!(text.contains("#ask-for-an-exemption"), "{text}");
    let text = page("reason: vendor");
    assert!(text.contains("Nothing: the exemption has no end."), "{text}");
    let text = page_of("true,N/A", "reason: vendor");
    assert!(text.contains("This key is exempt without end: <bdi>vendor.</bdi> Its age is not known: no date of it is known."), "{text}");
}

#[test]
fn a_third_key_cannot_be_made_so_one_is_deleted_before() {
    let key = "true,2020-01-01T00:00:00Z,2026-10-31T00:00:00Z";
    let first = "AWS allows no third";
    let unused = "true,2020-01-01T00:00:00Z,N/A";
    let inactive = "false,2020-01-01T00:00:00Z,N/A";
    for (other, told) in [
        (
            unused,
            ">key 2</a>. By the report of 2026-11-01, nobody has ever used it: first deactivate and delete that one.",
        ),
        (inactive, ">key 2</a>, is inactive. First delete that one."),
    ] {
        let page = page_of_key(&format!("{key},{other}"));
        for part in [first, told, "Then make a new key"] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("If both are used"), "{page}");
    }
    let page = page_of_key(&format!("{key},{key}"));
    // Both can be of one day.
    assert!(page.contains("CreateDate <code>2020-01-01T00:00:00</code>"), "{page}");
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
    let another = "Unless everything uses the other one by now, make a new key";
    assert!(place(first) < place(another) && !page.contains("Make a second key"), "{page}");
    assert!(place("href=\"key?account=123456789012&amp;user=a&amp;key=2\"") > place(first));
    assert!(!page_of_key(&format!("{key},false,N/A,N/A")).contains(first));
}

#[test]
fn of_three_keys_all_are_named_before_a_new_one_is_made() {
    let of_day = |active, day_of_june, never_used: bool| Key {
        active,
        id: None,
        last_rotated: Some(day(day_of_june)),
        last_used: (!never_used).then(now),
        never_used,
        last_used_region: None,
        last_used_service: None,
        use_of: None,
    };
    let page = |keys: Vec<Key>| {
        let mut account = account("123456789012", "true,2020-01-01T00:00:00Z");
        account.generated = Some(now());
        let confirmed = Arc::make_mut(&mut account.confirmed);
        confirmed.insert("a", Some(keys.into_iter().map(Some).collect()));
        page_of_its_key(account, Config::default())
    };
    let used = || of_day(true, 1, false);
    let text = page(vec![used(), of_day(false, 2, true), of_day(true, 3, true), used()]);
    let key = |slot: usize| {
        format!(
            "<li><a href=\"key?account=123456789012&amp;user=a&amp;key={slot}\">key {slot}</a>: "
        )
    };
    for part in [
        "The user has 4 keys, and AWS allows two. First deactivate and delete all but one.",
        &(key(2) + "inactive</li>"),
        &(key(3) + "by the report of 2026-11-01, nobody has ever used it</li>"),
        &(key(4) + "perhaps in use</li>"),
        "Unless everything uses another one by now, make a new key",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("no third") && !text.contains("the other one"), "{text}");
    let text = page(vec![used(), of_day(false, 2, false), of_day(true, 3, true)]);
    assert!(text.contains("has 3 keys") && text.contains("Then make a new key"), "{text}");

    let api_keys = ["ACCA1", "ACCA2", "ACCA3"].map(|id| ("bedrock.amazonaws.com", id, Some(100)));
    let account = with_service_credentials(
        &[api_keys.as_slice(), &[("logs.amazonaws.com", "ACCA4", None)]].concat(),
    );
    let snapshot = snapshot(State::new([account.into()], Tried::Ok, true), Config::default());
    let asked = query("account=123456789012&user=a&id=ACCA2");
    let key::KeyPage::Found(text) = key::render(&settings(), &snapshot, &asked) else {
        panic!("it has this key");
    };
    assert!(text.contains("The user has 3 keys for this service, and AWS allows two."), "{text}");
    for (id, is_named) in [("ACCA1", true), ("ACCA3", true), ("ACCA4", false)] {
        assert_eq!(
            text.contains(&format!("<code>{id}</code></a>: perhaps in use</li>")),
            is_named,
            "{text}"
        );
    }
}

#[test]
fn a_user_who_may_have_more_keys_is_not_said_to_have_this_many() {
    for (other, said) in [("false,N/A,N/A", "Make a second key"), (USED, "The user has two keys")] {
        for may_have_more in [false, true] {
            let mut account = account_of_keys(&format!("{USED},{other}"));
            let report = account.report.as_mut().map(Arc::make_mut).expect("a report");
            let users = report.users.iter_mut().filter(|user| user.name == "a");
            users.for_each(|user| user.additional_credentials = Some(may_have_more));
            let text = page_of_its_key(account, Config::default());
            assert_eq!(text.contains(said), !may_have_more, "{text}");
            assert_eq!(text.contains("may have more keys than are known here"), may_have_more);
        }
    }
}

#[test]
fn an_exempt_key_need_not_be_rotated_before_its_limit_after_the_exemption() {
    let rule = "{ match: { user: a }, exempt: { until: 2026-11-10, reason: x } }";
    let text = |rotated: &str, more: &str| {
        let config = format!("rotation: {{ rules: [{rule}{more}] }}");
        let config = Config::parse(&config, "c".as_ref()).expect("a configuration");
        page_of_its_key(
            account_of_keys(&format!(
                "true,{rotated}T00:00:00Z,2026-11-01T00:00:00Z,false,N/A,N/A"
            )),
            config,
        )
    };
    let old = text("2020-01-01", "");
    assert!(
        old.contains("Rotate it by ") && old.contains("the last day of its exemption."),
        "{old}"
    );
    let young = text("2026-10-20", "");
    assert!(young.contains("From then on its limit is 90 days, so rotate it by "), "{young}");
    assert!(
        young.contains("2027-01-18") && !young.contains("the last day of its exemption."),
        "{young}"
    );
    let other = text("2026-10-20", ", { match: { user: a }, max_age: 180d }");
    assert!(other.contains("From then on its limit is 180 days"), "{other}");
}

#[test]
fn a_key_that_is_to_be_deleted_had_not_to_be_rotated() {
    const OLD: &str = "true,2020-01-01T00:00:00Z";
    let of_user = |row: &str, by: &str| {
        let page = page_of_key(&format!("{row},false,N/A,N/A"));
        assert!(page.contains(by), "{by} for {row}: {page}");
    };
    of_user(&format!("{OLD},2026-10-31T00:00:00Z"), "it had to be rotated by ");
    of_user(&format!("{OLD},N/A"), "it had to be deleted by ");
    of_user("true,2026-08-08T00:00:00Z,2026-10-31T00:00:00Z", ": rotate it by ");
    of_user("true,2026-08-08T00:00:00Z,N/A", ": delete it by ");
    of_user("true,2026-10-20T00:00:00Z,N/A", "it must be deleted by ");
    let csv = format!(
        "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
         <root_account>,arn:aws:iam::123456789012:root,{OLD},false,N/A\n"
    );
    let root = Account {
        report: Some(Report::parse(csv.as_bytes()).expect("a report").into()),
        generated: Some(now()),
        ..named("123456789012", "")
    };
    let snapshot = snapshot(State::new([root.into()], Tried::Ok, true), Config::default());
    let asked = query("account=123456789012&user=%3Croot_account%3E&key=1");
    let key::KeyPage::Found(page) = key::render(&settings(), &snapshot, &asked) else {
        panic!("root has a key");
    };
    assert!(page.contains("it had to be deleted by ") && !page.contains("be rotated"), "{page}");
    let calendar = calendar::render(&settings(), &snapshot, &Query::default());
    assert!(
        calendar.contains("SUMMARY:Overdue since 2020-03-31: delete key 1 of <root_account>"),
        "{calendar}"
    );
}

#[test]
fn an_unused_exempt_key_is_to_be_deleted_by_the_end_of_its_exemption_if_it_has_one() {
    let csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,access_key_2_active,access_key_2_last_rotated\n\
               a,arn:aws:iam::123456789012:user/a,true,2020-01-01T00:00:00Z,N/A,false,N/A\n";
    let account = Account {
        report: Some(Report::parse(csv.as_bytes()).expect("a report").into()),
        generated: Some(now()),
        ..named("123456789012", "")
    };
    let delete = "nobody has ever used it: deactivate it, and delete it.</p>";
    for (exempt, by) in [
        ("until: 2099-01-31, reason: x", "<p>Delete it by <time "),
        ("reason: x", "<p>Its exemption has no end, so no day is set for that.</p>"),
    ] {
        let config =
            format!("rotation: {{ rules: [{{ match: {{ user: a }}, exempt: {{ {exempt} }} }}] }}");
        let config = Config::parse(&config, "config.yaml".as_ref()).expect("a configuration");
        let page = page_of_its_key(account.clone(), config);
        assert!(page.contains(&format!("{delete}{by}")), "{by} in {page}");
        assert!(!page.contains("Nothing"), "{page}");
    }
}

#[test]
fn the_steps_for_a_key_of_root_depend_on_its_status() {
    let page = |active: bool, rules: &str| {
        let csv = format!(
            "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
             <root_account>,arn:aws:iam::123456789012:root,{active},2020-01-01T00:00:00Z,false,N/A\n"
        );
        let account = Account {
            report: Some(Report::parse(csv.as_bytes()).expect("a report").into()),
            generated: Some(now()),
            ..named("123456789012", "")
        };
        let config = format!("rotation: {{ rules: [{rules}] }}");
        let config = Config::parse(&config, "config.yaml".as_ref()).expect("a configuration");
        let snapshot = snapshot(State::new([account.into()], Tried::Ok, true), config);
        let asked = query("account=123456789012&user=%3Croot_account%3E&key=1");
        match key::render(&settings(), &snapshot, &asked) {
            key::KeyPage::Found(page) => page,
            key::KeyPage::Missing(page) | key::KeyPage::Invalid(page) => panic!("{page}"),
        }
    };
    let (see, deactivate, delete) =
        ("See where the key is used", "and deactivate the key.", "and delete the key.");
    let text = page(true, "");
    assert!(text.contains(see) && text.contains(deactivate) && !text.contains(delete), "{text}");
    assert!(text.contains(">If it was stolen</a>") && !text.contains("exemption"), "{text}");
    let text = page(false, "");
    assert!(!text.contains(see) && !text.contains(deactivate) && text.contains(delete), "{text}");
    let exempt = |until: &str| {
        page(
            true,
            &format!("{{ match: {{ user: <root_account> }}, exempt: {{ {until} reason: x }} }}"),
        )
    };
    let text = exempt("until: 2099-01-31,");
    assert!(text.contains(see) && text.contains("Delete it by "), "{text}");
    assert!(text.contains("2099-01-31</time>, the last day of its exemption."), "{text}");
    let text = exempt("");
    assert!(text.contains("the exemption has no end. To delete it all the same:"), "{text}");
}
