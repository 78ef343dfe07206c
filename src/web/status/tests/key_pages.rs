//! The page of one key.

use super::*;

#[test]
fn the_page_of_a_key_says_what_is_wrong_and_what_to_do() {
    let state = || {
        let account = account_of("o'neil", "production", &[("team", "payments")]);
        State::new([account.into(), named("210987654321", "").into()], Tried::Ok, true)
    };
    let page = |asked: &str| {
        let page = key::render(&settings(), &snapshot(state(), with_team()), &query(asked));
        match page {
            key::KeyPage::Found(page) => ("found", page),
            key::KeyPage::Missing(page) => ("missing", page),
            key::KeyPage::Invalid(page) => ("invalid", page),
        }
    };
    let (what, text) = page("account=123456789012&user=o%27neil&key=1");
    assert_eq!(what, "found");
    for part in [
        "This key is 2,496 days old, and its limit is 90 days: it had to be rotated by ",
        "aws iam list-access-keys --user-name=&quot;o'neil&quot;",
        "--access-key-id ACCESS_KEY_ID --status Inactive",
        "Make a second key",
        "Watch this one until nothing uses it any more",
        "(umask 077; aws iam create-access-key --user-name=&quot;o'neil&quot; &gt; new-key.json)",
        "After a week, or five weeks with monthly jobs, delete it:",
        "https://console.aws.amazon.com/iam/home#/users/details/o%27neil?section=security_credentials",
        "payments",
        "not confirmed since",
        // With the time, which nobody can hover for on a phone or on paper.
        ">2020-01-01 00:00 UTC</time>",
        ">2020-03-31 00:00 UTC</time>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    for (asked, expected, part) in [
        ("user=a&key=1", "invalid", "This one lacks account."),
        ("key=3", "invalid", "This one lacks account, user."),
        ("account=unknown", "invalid", "This one lacks user, key or id."),
        ("account=unknown&user=a&key=1", "missing", "The exporter has no account unknown"),
        ("account=1&user=a&key=1", "missing", "The exporter has no account 1"),
        ("account=210987654321&user=a&key=1", "missing", "was never read. Nothing is known"),
        (
            "account=123456789012&user=a&key=1",
            "missing",
            "User <bdi>a</bdi> has no key <bdi>1</bdi> in account 123456789012",
        ),
        (
            "account=123456789012&user=o%27neil&key=2",
            "missing",
            "User <bdi>o'neil</bdi> has no key <bdi>2</bdi>",
        ),
        ("account=123456789012&user=o%27neil&key=255", "missing", "has no key <bdi>255</bdi>"),
    ] {
        let (what, text) = page(asked);
        assert_eq!(what, expected, "{asked}");
        assert!(text.contains(part), "{text}");
        let title = if expected == "invalid" { "Invalid address" } else { "Not found" };
        assert!(text.contains(&format!("<title>{title} · ")), "{text}");
    }
}

#[test]
fn a_name_that_is_written_from_right_to_left_does_not_turn_the_rest_of_a_command_around() {
    let account = account_of("a\u{202e}b", "production", &[]);
    let snapshot = snapshot(State::new([account.into()], Tried::Ok, true), Config::default());
    let asked = query("account=123456789012&user=a%E2%80%AEb&key=1");
    let key::KeyPage::Found(page) = key::render(&settings(), &snapshot, &asked) else {
        panic!("no such key");
    };
    let isolated =
        "delete-access-key <bdi>--user-name='a\u{202e}b'</bdi> --access-key-id ACCESS_KEY_ID";
    assert!(page.contains(isolated), "{page}");
}

#[test]
fn the_page_of_a_key_is_never_that_of_another_account_with_the_same_name() {
    let one = account_of("backup", "shared", &[]);
    let other = Account { id: "210987654321".to_owned(), ..account_of("nightly", "shared", &[]) };
    let third = Account { id: "shared".to_owned(), ..account_of("backup", "", &[]) };
    let page = |accounts: &[&Account], asked: &str| {
        let accounts = accounts.iter().map(|it| (*it).clone().into());
        let snapshot = snapshot(State::new(accounts, Tried::Ok, true), Config::default());
        match key::render(&settings(), &snapshot, &query(asked)) {
            key::KeyPage::Found(page) => ("found", page),
            key::KeyPage::Missing(page) => ("missing", page),
            key::KeyPage::Invalid(page) => ("invalid", page),
        }
    };
    let asked = "account=shared&user=backup&key=1";
    assert_eq!(page(&[&one], asked).0, "found");
    let (what, text) = page(&[&one, &other], asked);
    assert_eq!(what, "invalid");
    let part = "Several accounts are called <bdi>shared</bdi>. Write one of these instead: \
                <bdi>123456789012</bdi>, <bdi>210987654321</bdi>.";
    assert!(text.contains(part), "{text}");
    assert_eq!(page(&[&one, &other], "account=210987654321&user=nightly&key=1").0, "found");
    let (what, text) = page(&[&one, &other, &third], asked);
    assert_eq!(what, "found");
    assert!(text.contains("of account <code>shared</code>"), "an id counts first: {text}");
}

#[test]
fn the_page_of_a_key_says_what_may_be_wrong_with_it() {
    let of = |rows: &str| {
        let csv = format!(
            "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
             a,arn:aws:iam::123456789012:user/a,true,2026-10-01T00:00:00Z,false,N/A\n{rows}"
        );
        let report = Some(Report::parse(csv.as_bytes()).expect("a report").into());
        let generated = Some(now() - TimeDelta::hours(9));
        let account = Account { report, generated, ..Account::pending("123456789012", "") };
        snapshot(State::new([account.into()], Tried::Ok, true), Config::default())
    };
    let page = |snapshot: &Snapshot, asked: &str| match key::render(
        &settings(),
        snapshot,
        &query(asked),
    ) {
        key::KeyPage::Found(page) | key::KeyPage::Missing(page) | key::KeyPage::Invalid(page) => {
            page
        }
    };
    let text = page(&of(""), "account=123456789012&user=a&key=1");
    assert!(text.contains("Not all is known of this account: old report."), "{text}");
    assert!(text.contains("Nothing yet. By the due date:"), "{text}");
    let missing = "it was deleted, or the user was renamed.";
    let unreadable = " Or the user is in a part of that report that could not be read: 1 row.";
    let text = page(&of(""), "account=123456789012&user=b&key=1");
    assert!(text.contains(missing) && !text.contains(unreadable), "{text}");
    let text = page(&of("x,y\n"), "account=123456789012&user=b&key=1");
    assert!(text.contains(&format!("{missing}{unreadable}")), "{text}");
}

/// The account, in which AWS has given the keys of user `a` this id.
fn with_ids(mut account: Account, id: &str) -> Account {
    let report = account.report.clone().expect("a report");
    let id = Some(id.to_owned());
    let keys = report.users[1].keys.clone().map(|key| Some(Key { id: id.clone(), ..key? }));
    Arc::make_mut(&mut account.confirmed).insert("a", Some(keys.to_vec()));
    Account { generated: Some(now()), ..account }
}

#[test]
fn a_key_whose_id_is_not_known_may_be_the_one_with_the_id() {
    let with = |id: Option<&str>| {
        let account = Account {
            generated: Some(now()),
            service_credentials: Some(Arc::default()),
            ..account("123456789012", "true,2026-10-01T00:00:00Z")
        };
        match id {
            Some(id) => with_ids(account, id),
            None => account,
        }
    };
    let page = |account: Account, asked: &str| {
        let asked = query(&format!("account=123456789012&user=a&{asked}"));
        let state = State::new([account.into()], Tried::Ok, true);
        match key::render(&settings(), &snapshot(state, Config::default()), &asked) {
            key::KeyPage::Missing(page) => page,
            key::KeyPage::Found(page) | key::KeyPage::Invalid(page) => panic!("{page}"),
        }
    };
    let unknown = "User <bdi>a</bdi> may have a key <bdi>AKIAYOUNG</bdi> in account 123456789012: the ids of some of the \
                   user's access keys are not known.";
    let gone = "it was deleted, or the user was renamed.";
    for asked in ["id=AKIAYOUNG", "key=1&id=AKIAYOUNG"] {
        let text = page(with(None), asked);
        assert!(text.contains(unknown) && !text.contains(gone), "{asked}: {text}");
        let text = page(with(Some("AKIAOTHER")), asked);
        assert!(text.contains(gone) && !text.contains("may have"), "{asked}: {text}");
    }
    // That is no id of an access key, and there is no second one.
    for asked in ["id=ACCA1", "key=2&id=AKIAYOUNG", "key=2"] {
        let text = page(with(None), asked);
        assert!(text.contains(gone) && !text.contains("may have"), "{asked}: {text}");
    }
}

#[test]
fn a_credential_of_a_list_that_failed_later_is_not_called_current() {
    let mut account = with_service_credentials(&[("logs.amazonaws.com", "ACCALOGS", None)]);
    let page = |account: &Account| {
        let state = State::new([account.clone().into()], Tried::Ok, true);
        let asked = query("account=123456789012&user=a&id=ACCALOGS");
        match key::render(&settings(), &snapshot(state, Config::default()), &asked) {
            key::KeyPage::Found(page) => page,
            key::KeyPage::Missing(page) | key::KeyPage::Invalid(page) => panic!("{page}"),
        }
    };
    let current = "AWS listed it for that report";
    let text = page(&account);
    assert!(text.contains(current), "{text}");
    account.refresh.service_credentials = Tried::Failed;
    let text = page(&account);
    assert!(!text.contains(current), "{text}");
    assert!(text.contains("AWS listed it then or earlier. The last list failed"), "{text}");
}

#[test]
fn ids_in_commands_are_one_word_of_a_shell() {
    let account = with_ids(account("123456789012", "true,2020-01-01T00:00:00Z"), "AKIA;rm");
    let page = page_of_its_key(account, Config::default());
    assert_eq!(page.matches("--access-key-id 'AKIA;rm'").count(), 4, "{page}");
    assert!(!page.contains("--access-key-id AKIA"), "{page}");
}

#[test]
fn a_confirmation_has_its_own_time_and_not_that_of_the_last_refresh() {
    let mut account = with_ids(account("123456789012", "true,2020-01-01T00:00:00Z"), "AKIAOLD");
    account.record(None, Duration::ZERO, now());
    account.refresh.confirmation = Tried::Ok;
    account.refresh.waiting = Some(0);
    account.refresh.confirmed = Some(now() - TimeDelta::minutes(40));
    let page = page_of_its_key(account, Config::default());
    assert!(page.contains("AWS confirmed unrotated keys 40 min ago"), "{page}");
}

#[test]
fn an_age_near_the_limit_has_the_decimals_that_decide() {
    let of_age = |minutes: i64| {
        let created = (now() - TimeDelta::minutes(minutes)).format("%Y-%m-%dT%H:%M:%SZ");
        let account = Account {
            generated: Some(now()),
            ..account("123456789012", &format!("true,{created}"))
        };
        let state = || State::new([account.clone().into()], Tried::Ok, true);
        let snapshot = snapshot(state(), Config::default());
        (
            page_of_state(state(), Config::default(), "show=every"),
            page_of_its_key(account.clone(), Config::default()),
            calendar::render(&settings(), &snapshot, &Query::default()),
        )
    };
    // The age is still that of the limit, as in the metrics.
    let (list, page, calendar) = of_age(24 * 90 * 60 + 14);
    for text in [&list, &page] {
        assert!(text.contains("due today") && text.contains(">due soon<"), "{text}");
        assert!(!text.contains("overdue since today"), "{text}");
    }
    assert!(calendar.contains("SUMMARY:Rotate by today: key 1"), "{calendar}");
    let (list, page, calendar) = of_age(24 * 90 * 60 + 15);
    for text in [&list, &page] {
        assert!(text.contains("overdue since today") && text.contains(">unrotated<"), "{text}");
    }
    assert!(calendar.contains("SUMMARY:Overdue since 2026-11-01: rotate key 1"), "{calendar}");
    for (hours, shown) in [
        (24 * 88 + 5, "88"),
        (24 * 90, "90"),
        (24 * 90 + 6, "90.25"),
        (24 * 91 + 5, "91"),
        (24 * 180, "180"),
        (24 * 180 + 12, "180.5"),
        (24 * 1_200, "1,200"),
    ] {
        let (list, page, _) = of_age(hours * 60);
        let cell = format!(" days\">{shown}</span>");
        assert!(list.contains(&cell), "{cell} in {list}");
        assert!(page.contains(&format!("This key is {shown} days old")), "{shown} in {page}");
    }
}

#[test]
fn that_a_key_was_never_used_is_known_as_of_the_report() {
    let csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,access_key_2_active,access_key_2_last_rotated\n\
               a,arn:aws:iam::123456789012:user/a,true,2020-01-01T00:00:00Z,N/A,false,N/A\n";
    let account = Account {
        report: Some(Report::parse(csv.as_bytes()).expect("a report").into()),
        generated: Some(day(1)),
        ..named("123456789012", "")
    };
    let page = page_of_its_key(account, Config::default());
    for part in [
        "By the report of 2026-06-01, nobody has ever used it: ",
        "never</span><small>as of <time datetime=\"2026-06-01T00:00Z\">",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[test]
fn a_key_of_unknown_age_says_why_it_is_not_known() {
    let unknown = "The age of this key is not known, so it may be too old: ";
    let page = page_of_key("true,2100-01-01T00:00:00Z,N/A,false,N/A,N/A");
    let ahead = format!(
        "{unknown}its date, <time datetime=\"2100-01-01T00:00Z\">2100-01-01 00:00 UTC</time>, is ahead of the exporter's clock."
    );
    assert!(page.contains(&ahead), "{page}");
    let page = page_of_key("true,not a time,N/A,false,N/A,N/A");
    assert!(page.contains(&format!("{unknown}no date of it is known.")), "{page}");
}

#[test]
fn a_key_is_known_from_the_newest_report_that_shows_it() {
    let earlier = now() - TimeDelta::days(3);
    let page = |row: &str, is_listed: bool| {
        let before = account_of_keys("true,2026-10-20T00:00:00Z,N/A,false,N/A,N/A");
        let before = before.report.expect("a report");
        let mut account = account_of_keys("false,N/A,N/A,false,N/A,N/A");
        let csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,access_key_2_active,access_key_2_last_rotated\n\
             b,arn:aws:iam::123456789012:user/b,false,N/A,N/A,false,N/A\n";
        let report = Report::parse((csv.to_owned() + row).as_bytes()).expect("a report");
        account.report = Some(report.into());
        let report = account.report.as_mut().expect("a report");
        report.keep_missing(&before, Some(earlier));
        if is_listed {
            let keys = before.users[0].keys.to_vec();
            Arc::make_mut(&mut account.confirmed).insert("a", Some(keys));
        }
        page_of_its_key(account, Config::default())
    };
    let (may_have_more, then) = ("may have more keys than are known here", "2026-10-29");
    let known_then = |text: &str| {
        let known = text.split("Known from</dt>").nth(1).expect("how it is known");
        known.split("</dd>").next().expect("its end").contains(then)
    };
    // Its use is of the report before.
    let text =
        page("a,arn:aws:iam::123456789012:user/a,true,2026-10-20T00:00:00Z,,false,N/A", false);
    assert!(text.contains(then) && !known_then(&text) && !text.contains(may_have_more), "{text}");
    let text = page("a,cut", false);
    assert!(known_then(&text), "{text}");
    let text = page("a,cut", true);
    assert!(!text.contains(may_have_more), "{text}");
}

#[test]
fn the_page_of_an_api_key_says_that_its_user_has_another_name() {
    let mut account = with_service_credentials(&[("bedrock.amazonaws.com", "ACCA1", None)]);
    let mut page = |is_gone: bool| {
        if is_gone {
            Arc::make_mut(&mut account.confirmed).insert("a", None);
        }
        let state = State::new([account.clone().into()], Tried::Ok, true);
        let asked = query("account=123456789012&user=a&id=ACCA1");
        match key::render(&settings(), &snapshot(state, Config::default()), &asked) {
            key::KeyPage::Found(page) => page,
            key::KeyPage::Missing(page) | key::KeyPage::Invalid(page) => panic!("{page}"),
        }
    };
    for is_gone in [false, true] {
        let text = page(is_gone);
        assert_eq!(
            text.contains("The user was renamed, or this key was deleted"),
            is_gone,
            "{text}"
        );
    }
}
