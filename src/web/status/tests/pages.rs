//! The page with its lists and numbers.

use super::*;

#[test]
fn times_and_numbers_are_told_as_people_do() {
    let seconds = |count| now() + TimeDelta::seconds(count);
    for (count, expected) in [
        (-5, "less than a minute ago"),
        (59, "in less than a minute"),
        (-60, "1 min ago"),
        (7_199, "in 119 min"),
        (-7_200, "2 h ago"),
        (172_799, "in 47 h"),
        (172_800, "in 2 days"),
        (-86_400 * 99, "99 days ago"),
        (-86_400 * 100, "3 months ago"),
        (-86_400 * 729, "23 months ago"),
        (-86_400 * 730, "24 months ago"),
        (-86_400 * 731, "2 years ago"),
        (-86_400 * 2_561, "7 years ago"),
    ] {
        assert_eq!(relative(seconds(count), now()), expected);
    }
    // It is noon. What counts are the days of the calendar.
    for (hours, expected) in [
        (-24 * 2_561, "7 years overdue"),
        (-24, "1 day overdue"),
        (-13, "1 day overdue"),
        (-11, "overdue since today"),
        (0, "overdue since today"),
    ] {
        assert_eq!(overdue(now() + TimeDelta::hours(hours), now()), expected, "{hours}");
    }
    for (hours, expected_due, expected_day) in [
        (-13, "due today", "1 day ago"),
        (-11, "due today", "today"),
        (11, "due today", "today"),
        (13, "due tomorrow", "tomorrow"),
        (35, "due tomorrow", "tomorrow"),
        (37, "due in 2 days", "in 2 days"),
    ] {
        let time = now() + TimeDelta::hours(hours);
        assert_eq!(
            (&*due(time, now()), &*components::day(time, now())),
            (expected_due, expected_day)
        );
    }
    for (span, expected) in [
        (TimeDelta::days(14), "14 days"),
        (TimeDelta::days(1), "1 day"),
        (TimeDelta::hours(36), "36 hours"),
        (TimeDelta::seconds(90), "90 seconds"),
    ] {
        assert_eq!(in_words(span), expected);
    }
    assert_eq!(
        [0, 999, 1_000, 20_000, 1_234_567].map(grouped),
        ["0", "999", "1,000", "20,000", "1,234,567"]
    );
}

#[test]
fn all_input_from_elsewhere_is_shown_as_text() {
    let script = "<script>alert(1)</script>";
    let path = format!("/{script}{}/", "x".repeat(200));
    let of = |asked| page_of("<img src=x onerror=alert(1)>", "o'neil\"&", &path, asked);
    let (page, rows) = (of("q=%22%3E%3Cscript%3E&show=all"), of(""));
    for page in [&page, &rows] {
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("<img"), "{page}");
        assert!(!page.contains("<b>"), "{page}");
    }
    assert!(page.contains("value=\"&quot;&gt;&lt;script&gt;\""));
    assert!(rows.contains("/&lt;script&gt;alert(1)&lt;/script&gt;xxx"));
    assert!(rows.contains("o'neil&quot;&amp;"));
    assert!(rows.contains(&"&lt;b&gt;&quot;&amp;'".repeat(50)));
    assert!(rows.contains("href=\"https://runbooks.example/a?b=&quot;&lt;c&gt;&amp;d\""));
    assert!(rows.contains(
        "<a href=\"https://grafana.example/d/x?y=&quot;&lt;z&gt;&amp;var=1#top\">Dashboard</a>"
    ));
}

#[test]
fn the_tile_of_accounts_has_the_number_that_somebody_has_to_look_into() {
    let tried = |id: &str, failure: Option<Failure>| {
        let mut account = account(id, "true,2026-10-01T00:00:00Z");
        account.record(failure.as_ref(), Duration::ZERO, now());
        account
    };
    let fine = || tried("111111111111", None);
    let stale =
        || Account { generated: Some(now() - TimeDelta::days(1)), ..tried("222222222222", None) };
    let pending = || Account::pending("333333333333", "");
    let failing = || tried("444444444444", Some(Failure::new(Reason::Timeout, "no answer")));
    let tile = |class: &str, state: &str, text: &str| {
        format!(
            "<li{class}><a href=\"?state={state}#accounts\"><strong>1</strong> <span>{text}</span></a>"
        )
    };
    let bad = " class=\"bad\"";
    let doubt = " class=\"doubt\"";
    let degraded =
        "<p class=\"doubt\"><a href=\"?state=degraded#accounts\">1 degraded</a></p></li>";
    for (accounts, expected) in [
        (
            vec![],
            "<li class=\"bad\"><a href=\"?#accounts\"><strong>0</strong> <span>accounts known</span></a></li>".to_owned(),
        ),
        (vec![fine()], tile("", "ok", "account ok") + "</li>"),
        (vec![fine(), stale()], tile(doubt, "degraded", "of 2 accounts degraded") + "</li>"),
        (
            vec![fine(), stale(), pending()],
            tile(doubt, "pending", "of 3 accounts not tried yet") + degraded,
        ),
        (
            vec![fine(), stale(), pending(), failing()],
            tile(bad, "failing", "of 4 accounts failing") + degraded,
        ),
    ] {
        let state = State::new(accounts.into_iter().map(Into::into), Tried::Ok, true);
        let page = page_of_state(state, Config::default(), "");
        assert!(page.contains(&expected), "{expected} in {page}");
    }
}

#[test]
fn the_page_says_that_it_follows_an_older_configuration() {
    let state = || State::new([account("123456789012", "true,N/A").into()], Tried::Ok, true);
    let metrics = ExporterMetrics::new(Filter::default(), []);
    let snapshot = || snapshot_with(state(), Config::default(), metrics.clone());
    let page = |snapshot: &Snapshot| page::render(&settings(), snapshot, &Query::default());
    metrics.record_reload(true, day(2));
    let before = snapshot();
    metrics.record_reload(false, now());
    let failed = "The last reload of the configuration failed. This page uses the one of";
    let after = page(&snapshot());
    assert!(after.contains(failed) && after.contains("2026-06-02 00:00 UTC"), "{after}");
    // Pages of one snapshot are the same.
    assert!(!page(&before).contains("The last reload"));
}

/// The number at the beginning of each link to a list, and the link.
fn counted_links(page: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for link in page.split("<a ").skip(1).filter_map(|rest| rest.split("</a>").next()) {
        let (_, rest) = link.split_once("href=\"").expect("a target");
        let (target, rest) = rest.split_once('"').expect("an end");
        let is_list = target.starts_with('?') && target.contains('#');
        // Without tags, of which the first has begun.
        let parts = rest.split('>').skip(1).filter_map(|part| part.split('<').next());
        let text: String = parts.collect();
        let text = text.trim_start_matches("refreshes of ").trim_start_matches("at least ");
        let number = text.split([' ', ',']).next().and_then(|word| word.parse().ok());
        if let Some(number) = number.filter(|_| is_list) {
            links.push((number, target.replace("&amp;", "&")));
        }
    }
    links
}

#[test]
fn every_number_leads_to_that_many_rows() {
    let services = with_service_credentials(&[
        ("bedrock.amazonaws.com", "ACCANEVER", None),
        ("logs.amazonaws.com", "ACCASOON", Some(3)),
    ]);
    let tried = |mut account: Account, failure: Option<&Failure>| {
        account.record(failure, Duration::ZERO, now());
        account
    };
    let soon = account("210987654321", "true,2026-08-10T00:00:00Z");
    let ageless = Account { name: "gold".to_owned(), ..account("333333333333", "true,N/A") };
    let outdated = Account { generated: Some(day(1)), ..account("444444444444", "false,N/A") };
    let denied = Failure::new(Reason::AccessDenied, "GetCredentialReport: denied");
    let network = Failure::new(Reason::Network, "denied");
    let accounts = [
        tried(Account { tags: account_of("a", "", &[("team", "x")]).tags, ..services }, None),
        tried(soon, None),
        tried(ageless, None),
        tried(outdated, None),
        tried(Account::pending("555555555555", ""), Some(&denied)),
        tried(account_of("failing", "", &[("team", "y")]), Some(&network)),
    ];
    let accounts = accounts.map(|mut account| {
        if account.id == "123456789012" && account.service_credentials.is_none() {
            account.id = "666666666666".to_owned();
        }
        account
    });
    let page = |asked: &str| {
        let state = State::new(accounts.clone().map(Into::into), Tried::Ok, true);
        page_of_state(state, with_team(), asked)
    };
    let rows = |page: &str, section: &str, label: &str| {
        let (_, rest) = page.split_once(&format!("<section id=\"{section}\"")).expect("a section");
        let rest = rest.split("</section>").next().expect("an end");
        rest.matches(&format!("<th scope=\"row\" data-label=\"{label}\"")).count()
    };
    for asked in ["", "kind=service_credential", "show=every&q=a", "account=123456789012"] {
        let links = counted_links(&page(asked));
        assert!(links.len() > 8, "{links:?}");
        for (number, link) in links {
            let (target, section) = link.split_once('#').expect("a section");
            let answer = page(&target[1..]);
            let label = if section == "keys" { "User" } else { "Account" };
            assert_eq!(rows(&answer, section, label), number, "{link} of {asked:?}");
        }
    }
    let links = counted_links(&page(""));
    for part in ["kind=access_key", "kind=service_credential", "show=due_soon", "state=failing"] {
        assert!(links.iter().any(|(number, link)| *number > 0 && link.contains(part)), "{part}");
    }
}

/// The part of the page about accounts.
fn section_of_accounts(accounts: &[Account], asked: &str) -> String {
    let state = State::new(accounts.iter().cloned().map(Into::into), Tried::Ok, true);
    let page = page_of_state(state, Config::default(), asked);
    let (_, section) = page.split_once("<section id=\"accounts\"").expect("a section");
    section.split_once("</section>").expect("an end").0.to_owned()
}

#[test]
fn accounts_are_listed_above_the_keys_only_if_there_is_something_to_see_to() {
    let accounts = |count: usize| -> Vec<Account> {
        let account = |number| {
            let mut account = account(&format!("{number:012}"), "true,2026-10-01T00:00:00Z");
            account.record(None, Duration::ZERO, now());
            account
        };
        (0..count).map(account).collect()
    };
    const CLOSED: &str = "<details><summary>";
    let open = "<details open><summary><h2 id=\"accounts-heading\">Accounts</h2> 16 accounts: 15 ok, 1 failing<";
    for count in [1, 3, 16, 60] {
        let section = section_of_accounts(&accounts(count), "");
        assert!(section.contains(CLOSED), "{section}");
        assert!(!section.contains("<details open"), "{section}");
        assert_eq!(section.matches("<details").count(), 1, "a click shows the list: {section}");
    }
    let failing = |count: usize| {
        let mut accounts = accounts(count);
        let denied = Failure::new(Reason::AccessDenied, "GetCredentialReport: denied");
        accounts[0].name = "billing".to_owned();
        accounts[0].record(Some(&denied), Duration::ZERO, now());
        accounts
    };
    let few = section_of_accounts(&failing(3), "");
    assert!(few.contains("<details open>") && !few.contains(CLOSED), "{few}");
    let many = section_of_accounts(&failing(16), "");
    for part in [
        open,
        ">1 account</a> (<bdi>billing</bdi>): <bdi>GetCredentialReport: denied.</bdi>",
        "<details><summary>List of 16 accounts</summary><form",
    ] {
        assert!(many.contains(part), "{part} in {many}");
    }
    let asked = section_of_accounts(&failing(16), "state=failing");
    assert!(!asked.contains(CLOSED) && asked.contains(">Accounts: 1<"), "{asked}");
    let nothing = section_of_accounts(&failing(16), "find=nobody");
    assert!(!nothing.contains(CLOSED) && nothing.contains("No account matches."), "{nothing}");
}

#[test]
fn the_title_has_the_number_of_the_keys_that_are_listed() {
    let services =
        [("bedrock.amazonaws.com", "ACCANEVER", None), ("logs.amazonaws.com", "ACCASOON", Some(3))];
    let state = || {
        let with_services = with_service_credentials(&services);
        let soon = Account {
            generated: Some(now()),
            service_credentials: Some(Arc::default()),
            ..account("210987654321", "true,2026-08-10T00:00:00Z")
        };
        State::new([with_services.into(), soon.into()], Tried::Ok, true)
    };
    let config = Config { service_credentials: true, ..Config::default() };
    for (asked, title) in [
        ("", "1 unrotated access key and 2 API keys"),
        ("kind=access_key", "1 unrotated access key"),
        ("kind=service_credential&user=a", "2 unrotated API keys, a"),
        ("show=due_soon", "1 access key due within 14 days"),
        ("show=exempt", "0 exempt access keys"),
        ("show=never_used", "0 active access keys never used for a week"),
        ("show=not_judged&user=a", "0 active access keys of unknown age, a"),
        ("show=all", "2 unrotated, due and exempt access keys and 2 API keys"),
        ("show=every", "2 access keys and 2 API keys"),
    ] {
        let page = page_of_state(state(), config.clone(), asked);
        let expected = format!("<title>{title} · iam-key-exporter</title>");
        assert!(page.contains(&expected), "{expected} in {page}");
    }
    let unread = || State::new([Account::pending("123456789012", "").into()], Tried::Ok, true);
    for (asked, title) in [
        ("", "Unrotated keys not known"),
        ("show=due_soon", "Keys due within 14 days not known"),
        ("show=every", "Keys not known"),
    ] {
        let page = page_of_state(unread(), Config::default(), asked);
        assert!(page.contains(&format!("<title>{title} · ")), "{title} in {page}");
    }
}

#[test]
fn the_heading_says_which_keys_are_listed() {
    let state = || State::new([account_of("backup", "", &[]).into()], Tried::Ok, true);
    for (asked, only) in [
        ("user=backup", "<bdi>backup</bdi>"),
        ("show=due_soon", "keys due within 14 days"),
        ("show=exempt&kind=access_key&user=x", "exempt access keys: <bdi>x</bdi>"),
    ] {
        let page = page_of_state(state(), Config::default(), asked);
        assert!(page.contains(&format!("<p>Only {only}<span")), "{only} in {page}");
    }
    for asked in ["", "show=every"] {
        assert!(!page_of_state(state(), Config::default(), asked).contains("<p>Only"), "{asked}");
    }
}

#[test]
fn a_search_for_an_unknown_account_is_not_about_all_accounts() {
    let state = || State::new([account_of("backup", "", &[]).into()], Tried::Ok, true);
    let page = page_of_state(state(), Config::default(), "account=210987654321");
    for part in [
        "<p class=\"trust\">No account of this search is known<",
        "<strong>0</strong> <span>accounts of this search known<",
        "<p>No account of this search is known.</p>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let page = page_of_state(State::new([], Tried::Ok, true), Config::default(), "");
    assert!(page.contains("<p class=\"trust\">No account is known<"), "{page}");
}

#[test]
fn accounts_are_all_ok_only_if_all_are_listed() {
    let mut account = account("123456789012", "true,2026-10-01T00:00:00Z");
    account.record(None, Duration::ZERO, now());
    let state = State::new([account.into()], Tried::Failed, true);
    let page = page_of_state(state, Config::default(), "");
    let tile = "<li class=\"doubt\"><a href=\"?state=ok#accounts\"><strong>at least 1</strong> <span>account ok</span>";
    assert!(page.contains(tile), "{page}");
}
