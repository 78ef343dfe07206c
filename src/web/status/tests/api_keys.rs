//! Service-specific credentials on all pages and in all files.

use super::*;

#[test]
fn service_credentials_are_listed_among_the_keys_and_have_their_own_pages() {
    let account = with_service_credentials(&[
        ("bedrock.amazonaws.com", "ACCANEVER", None),
        ("logs.amazonaws.com", "ACCASOON", Some(3)),
        ("codecommit.amazonaws.com", "ACCA<b>", Some(-3)),
    ]);
    let state = || State::new([account.clone().into()], Tried::Ok, true);
    let list = |asked: &str| page_of_state(state(), Config::default(), asked);
    let all = list("");
    for part in [
        "<title>1 unrotated access key and 2 API keys · ",
        "<strong>1</strong> <span>unrotated access key</span>",
        ">2 API keys</a>",
        "Unrotated keys: 3 (1 access key, 2 API keys)",
        "never expires",
        "expires in 3 days",
        "href=\"key?account=123456789012&amp;user=a&amp;id=ACCANEVER\"",
        "href=\"key?account=123456789012&amp;user=a&amp;key=1\"",
    ] {
        assert!(all.contains(part), "{part} in {all}");
    }
    assert!(!all.contains("codecommit"), "it has expired");
    assert!(list("q=cloudwatch").contains("<title>0 unrotated access keys and 1 API key, "));
    assert!(list("q=BEDROCK").contains("<title>0 unrotated access keys and 1 API key, "));
    // Tiles are about both kinds, whichever is listed.
    let one = list("kind=access_key");
    assert!(one.contains("<title>1 unrotated access key · "), "{one}");
    assert!(one.contains(">2 API keys</a>"), "{one}");
    assert!(one.contains("Unrotated access keys: 1<"), "{one}");
    assert!(list("kind=service_credential").contains("Unrotated API keys: 2<"));
    let every = list("show=every&user=a");
    assert!(every.contains("ACCA&lt;b&gt;") && every.contains("expired 3 days ago"), "{every}");

    let page = |asked: &str| {
        let snapshot = snapshot(state(), Config::default());
        match key::render(&settings(), &snapshot, &query(asked)) {
            key::KeyPage::Found(page) => page,
            key::KeyPage::Missing(page) | key::KeyPage::Invalid(page) => panic!("{page}"),
        }
    };
    let text = page("account=123456789012&user=a&id=ACCANEVER");
    for part in [
        "<title>Bedrock key of a · ",
        "This key is 153 days old, and its limit is 90 days: it had to be rotated by ",
        "aws iam create-service-specific-credential --user-name=a --service-name bedrock.amazonaws.com",
        "aws iam update-service-specific-credential --user-name=a --service-specific-credential-id ACCANEVER --status Inactive",
        "aws iam delete-service-specific-credential --user-name=a --service-specific-credential-id ACCANEVER",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("access-key"), "{text}");
    assert!(text.contains("--credential-age-days 90"), "{text}");
    let git = page("account=123456789012&user=a&id=ACCA%3Cb%3E");
    assert!(!git.contains("--credential-age-days"), "{git}");
    let expired = page("account=123456789012&user=a&id=ACCA%3Cb%3E");
    assert!(expired.contains("This key has expired: nobody can use it."), "{expired}");
    assert!(page("account=123456789012&user=a&key=1").contains("<title>Key 1 of a · "));
}

#[test]
fn service_credentials_are_in_the_files_and_in_the_calendar() {
    let account = with_service_credentials(&[("logs.amazonaws.com", "ACCALOGS", Some(3))]);
    let snapshot = snapshot(State::new([account.into()], Tried::Ok, true), Config::default());
    let file = csv::render(&settings(), &snapshot, &query("q=logs"));
    let file = String::from_utf8(file).expect("UTF-8");
    let mut lines = file.lines();
    assert!(lines.next().is_some_and(|header| header.contains(",rule,service,expires,max_age,")));
    let expected = "123456789012,,a,,ACCALOGS,unrotated,153.50,2026-06-01T00:00:00Z,2026-08-30T00:00:00Z,,,\
                    default,logs.amazonaws.com,2026-11-04T12:00:00Z,90d,,";
    let row = lines.next().expect("a row");
    assert!(row.starts_with(expected), "{row}");
    let calendar = calendar::render(&settings(), &snapshot, &query("")).replace("\r\n ", "");
    assert!(calendar.contains("Limit: 90 days (default). Expires on 2026-11-04 and"), "{calendar}");
    assert!(
        calendar.contains("SUMMARY:Overdue since 2026-08-30: rotate CloudWatch Logs key of a in"),
        "{calendar}"
    );
    assert!(
        calendar.contains("SUMMARY:Overdue since 2020-03-31: rotate key 1 of a in 123456789012")
    );
}

#[test]
fn of_a_list_that_aws_refused_nothing_is_known_if_it_is_wanted() {
    let mut account = account("123456789012", "true,2020-01-01T00:00:00Z");
    account.refresh.service_credentials = Tried::Failed;
    let page = |wanted| {
        let config = Config { service_credentials: wanted, ..Config::default() };
        page_of_state(State::new([account.clone().into()], Tried::Ok, true), config, "")
    };
    let wanted = page(true);
    assert!(wanted.contains("<title>1 unrotated access key · "), "{wanted}");
    assert!(wanted.contains("service-specific credentials not listed"), "{wanted}");
    assert_eq!(wanted.matches(">API keys not known</a>").count(), 3, "{wanted}");
    let unwanted = page(false);
    assert!(unwanted.contains("<title>1 unrotated access key · "), "{unwanted}");
    assert!(!unwanted.contains("not listed") && !unwanted.contains("API key"), "{unwanted}");
}

#[test]
fn a_list_that_could_not_be_renewed_makes_the_number_of_api_keys_uncertain_and_no_other() {
    let mut account = with_service_credentials(&[("logs.amazonaws.com", "ACCALOGS", None)]);
    account.refresh.service_credentials = Tried::Failed;
    let page = |asked: &str| {
        let state = State::new([account.clone().into()], Tried::Ok, true);
        page_of_state(state, Config::default(), asked)
    };
    let text = page("");
    assert!(text.contains("<title>1 unrotated access key and at least 1 API key · "), "{text}");
    assert!(text.contains(">at least 1 API key</a>"), "{text}");
    for (asked, expected) in [
        ("kind=access_key&show=due_soon", "No access key is due within 14 days. "),
        ("kind=service_credential&show=due_soon", "No API key is known to be due within 14 days. "),
        ("show=due_soon", "No key is known to be due within 14 days. "),
    ] {
        let text = page(asked);
        assert!(text.contains(expected), "{asked}: {text}");
    }
    for (asked, is_told) in [("show=due_soon", true), ("show=due_soon&kind=access_key", false)] {
        let state = State::new([account.clone().into()], Tried::Ok, true);
        let file = csv::render(&settings(), &snapshot(state, Config::default()), &query(asked));
        let file = String::from_utf8(file).expect("UTF-8");
        assert_eq!(file.contains(",not_all_known,"), is_told, "{asked}: {file}");
    }
    account.service_credentials = None;
    let page = |asked: &str| {
        let state = State::new([account.clone().into()], Tried::Ok, true);
        page_of_state(state, Config::default(), asked)
    };
    for (asked, expected) in [
        ("show=due_soon", "No access key is due within 14 days. "),
        ("kind=service_credential", "Nothing is known of API keys: AWS has not listed them."),
    ] {
        let text = page(asked);
        assert!(text.contains(expected), "{asked}: {text}");
    }
}

#[test]
fn a_list_that_was_never_read_is_missing_and_says_nothing_of_a_key() {
    let mut account = account("123456789012", "true,2026-10-01T00:00:00Z");
    account.generated = Some(now());
    account.record(None, Duration::ZERO, now());
    let of = |account: &Account, wanted| {
        let config = Config { service_credentials: wanted, ..Config::default() };
        snapshot(State::new([account.clone().into()], Tried::Ok, true), config)
    };
    let page = |account: &Account, wanted| {
        page::render(&settings(), &of(account, wanted), &Query::default())
    };
    let missing = "service-specific credentials not listed";
    assert!(!page(&account, true).contains(missing), "report files have none");
    account.has_live_data = true;
    let text = page(&account, true);
    assert!(text.contains(missing) && !text.contains("<span>account ok<"), "{text}");
    assert!(!page(&account, false).contains(missing), "nobody asks for them");

    let missing_key = |account: &Account, asked: &str| {
        let asked = format!("account=123456789012&user=a&{asked}");
        match key::render(&settings(), &of(account, true), &query(&asked)) {
            key::KeyPage::Missing(page) => page,
            key::KeyPage::Found(page) | key::KeyPage::Invalid(page) => panic!("{page}"),
        }
    };
    let gone = "it was deleted, or the user was renamed.";
    let unknown = "User <bdi>a</bdi> may have a key <bdi>ACCA1</bdi> in account 123456789012: service-specific \
                   credentials, such as API keys, are not known there.";
    let text = missing_key(&account, "id=ACCA1");
    assert!(text.contains(unknown) && !text.contains(gone), "{text}");
    assert!(missing_key(&account, "key=2").contains(gone), "an access key");
    account.service_credentials = Some(Arc::default());
    let old = " Or it is new: the list of service-specific credentials could not be read again.";
    let text = missing_key(&account, "id=ACCA1");
    assert!(text.contains(gone) && !text.contains(old), "{text}");
    account.refresh.service_credentials = Tried::Failed;
    let text = missing_key(&account, "id=ACCA1");
    assert!(text.contains(&format!("{gone}{old}")), "{text}");
    assert!(!missing_key(&account, "key=2").contains(old), "an access key");
}

#[test]
fn report_files_have_no_api_keys_and_that_is_no_fault_of_an_account() {
    let mut account = account("123456789012", "true,2020-01-01T00:00:00Z");
    account.record(None, Duration::ZERO, now());
    let page = |are_files, wanted| {
        let config = Config { service_credentials: wanted, ..Config::default() };
        let snapshot = snapshot(State::new([account.clone().into()], Tried::Ok, true), config);
        let settings = StatusSettings { are_files, ..settings() };
        page::render(&settings, &snapshot, &Query::default())
    };
    let missing = " · service-specific credentials, such as API keys: not in report files</p>";
    let files = page(true, true);
    assert!(files.contains(missing), "{files}");
    assert!(files.contains("<title>1 unrotated access key · "), "{files}");
    assert!(files.contains("<span>account ok<"), "{files}");
    assert!(!page(false, true).contains(missing), "AWS lists them");
    assert!(!page(true, false).contains(missing), "nobody asks for them");
}

#[test]
fn files_about_keys_of_report_files_say_that_no_api_keys_are_known() {
    let settings = StatusSettings { are_files: true, ..settings() };
    let all = |wanted, asked: &str| {
        let config = Config { service_credentials: wanted, ..Config::default() };
        let state = State::new([account_of("backup", "", &[]).into()], Tried::Ok, true);
        let (snapshot, query) = (snapshot(state, config), query(asked));
        let csv = csv::render(&settings, &snapshot, &query);
        let csv = String::from_utf8(csv).expect("UTF-8");
        (
            csv,
            calendar::render(&settings, &snapshot, &query),
            page::render(&settings, &snapshot, &query),
        )
    };
    for (wanted, asked, status) in [
        (true, "", Some("not_all_known")),
        (true, "account=123456789012", Some("not_all_known")),
        (true, "kind=service_credential", Some("not_read")),
        (true, "kind=access_key", None),
        (false, "", None),
    ] {
        let (csv, calendar, _) = all(wanted, asked);
        let row = |status| {
            format!(
                "\n,,,,,{status},,,,,,service-specific credentials: not in report files,,,,,,,2026-11-01T12:00:00Z,"
            )
        };
        match status {
            Some(status) => assert!(csv.contains(&row(status)), "{asked}: {csv}"),
            None => assert!(!csv.contains("report files"), "{asked}: {csv}"),
        }
        let event = "\r\nSUMMARY:API keys are not known\r\n";
        assert_eq!(calendar.contains(event), status.is_some(), "{asked}: {calendar}");
    }
    let (_, _, page) = all(true, "kind=service_credential");
    assert!(page.contains("Nothing is known of API keys: they are not in report files."), "{page}");
}

#[test]
fn owners_have_a_column_of_api_keys_only_if_some_are_listed() {
    let of = |team: &str, id: &str, service_credentials| Account {
        id: id.to_owned(),
        service_credentials,
        ..account_of(team, "", &[("team", team)])
    };
    let config = Config { service_credentials: true, ..with_team() };
    for (listed, columns) in [(None, 0), (Some(Arc::default()), 1)] {
        let accounts = [of("x", "123456789012", listed), of("y", "210987654321", None)];
        let state = State::new(accounts.map(Into::into), Tried::Ok, true);
        let page = page_of_state(state, config.clone(), "");
        let (_, owners) = page.split_once("<table class=\"owners\"").expect("owners");
        let (owners, _) = owners.split_once("</table>").expect("an end");
        assert_eq!(owners.matches(">Unrotated API keys</th>").count(), columns, "{owners}");
        assert_eq!(
            owners.matches("data-label=\"Unrotated API keys\"").count(),
            2 * columns,
            "{owners}"
        );
    }
}

#[test]
fn a_key_that_soon_stops_working_counts_among_those_that_are_due() {
    let of = |rotation: &str| {
        let config = format!("rotation: {{ {rotation} }}");
        Config::parse(&config, "config.yaml".as_ref()).expect("a configuration")
    };
    let title = |expires: i64, config: &Config| {
        let account = with_service_credentials(&[("logs.amazonaws.com", "ACCA1", Some(expires))]);
        let state = State::new([account.into()], Tried::Ok, true);
        let snapshot = snapshot(state, config.clone());
        let asked = query("show=due_soon&kind=service_credential");
        let file = csv::render(&settings(), &snapshot, &asked);
        let file = String::from_utf8(file).expect("UTF-8");
        let page = page::render(&settings(), &snapshot, &asked);
        let number = page.matches("data-label=\"User\"").count();
        assert!(page.contains(&format!("<title>{number} API key")), "{page}");
        assert_eq!(file.matches(",ACCA1,due_soon,").count(), number, "{file}");
        number
    };
    let young = of("max_age: 400d");
    for (expires, number) in [(1, 1), (14, 1), (15, 0), (-1, 0)] {
        assert_eq!(title(expires, &young), number, "{expires}");
    }
    assert_eq!(title(14, &of("max_age: 400d, warn_before: 13d")), 0);
    assert_eq!(title(20, &of("max_age: 160d")), 1, "it is due before it expires");
    assert_eq!(title(1, &of("max_age: 90d")), 0, "it is unrotated");
    let exempt = of("rules: [{ match: { user: a }, exempt: { reason: vendor } }]");
    assert_eq!(title(1, &exempt), 0, "it is exempt");
}
