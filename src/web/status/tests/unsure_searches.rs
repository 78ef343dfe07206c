//! Searches that cannot be sure, because something that they need is not known.

use super::*;

/// The title of the page, its calendar, and its file of keys.
fn views(account: &Account, config: &Config, asked: &str) -> (String, String, String) {
    let state = State::new([account.clone().into()], Tried::Ok, true);
    let (snapshot, query) = (snapshot(state, config.clone()), query(asked));
    let page = page::render(&settings(), &snapshot, &query);
    let (_, title) = page.split_once("<title>").expect("a title");
    let title = title.split(" · ").next().expect("a title").to_owned();
    let calendar = calendar::render(&settings(), &snapshot, &query);
    let csv = String::from_utf8(csv::render(&settings(), &snapshot, &query)).expect("UTF-8");
    (title, calendar, csv)
}

#[test]
fn a_query_by_tags_or_words_finds_nothing_for_sure_only_if_the_tags_are_known() {
    let known = account_of("backup", "prod", &[("team", "payments")]);
    let mut failed = known.clone();
    failed.refresh.tags = Tried::Failed;
    let other = Tags { keys: ["owner".to_owned()].into(), ..Tags::default() };
    let unlisted = tags_of_team([].into());
    let mut gone = Account { tags: Some(unlisted.clone().into()), ..known.clone() };
    Arc::make_mut(&mut gone.confirmed).insert("backup", None);
    let with = |tags: Option<Tags>| Account { tags: tags.map(Into::into), ..known.clone() };
    let unknown = [with(None), failed, with(Some(other)), with(Some(unlisted))];
    for asked in
        ["tag=team:x", "q=x-y", "tag=team:x&other_tags=none", "show=exempt&other_tags=none"]
    {
        for account in &unknown {
            let (title, calendar, csv) = views(account, &with_team(), asked);
            assert!(title.starts_with("at least "), "{asked}: {title}");
            let event = "SUMMARY:Not all keys of account 123456789012 are known\r\n";
            assert!(calendar.contains(event), "{asked}: {calendar}");
            assert!(csv.contains(",not_all_known,,,,,,tags not read,"), "{asked}: {csv}");
        }
        for account in [&known, &gone] {
            let (title, calendar, csv) = views(account, &with_team(), asked);
            assert!(!title.contains("at least"), "{asked}: {title}");
            assert!(!calendar.contains("Not all keys"), "{asked}: {calendar}");
            assert!(!csv.contains("not_all_known"), "{asked}: {csv}");
        }
    }
    for asked in ["", "user=x", "account=123456789012", "show=due_soon&kind=access_key"] {
        let (title, calendar, csv) = views(&unknown[0], &with_team(), asked);
        assert!(!title.contains("at least"), "{asked}: {title}");
        assert!(!(calendar + &csv).contains("ot all "), "{asked}");
    }
    // Without a configured tag nobody expects to find one by a word.
    let (title, ..) = views(&unknown[0], &Config::default(), "q=x-y");
    assert!(title.starts_with("0 "), "{title}");
    for config in [with_team(), Config::default()] {
        let (title, _, csv) = views(&known, &config, "tag=owner:x");
        assert!(title.starts_with("at least 0 "), "the configuration does not name it: {title}");
        assert!(csv.contains(",not_all_known,,,,,,tags not read,"), "{csv}");
    }
}

#[test]
fn a_key_of_unknown_tags_counts_as_one_that_perhaps_has_no_tag() {
    let known = account_of("backup", "prod", &[]);
    let unknown = Account { tags: None, ..known.clone() };
    for asked in ["tag=team:", "other_tags=none", "tag=team:&other_tags=none"] {
        let (title, _, csv) = views(&unknown, &with_team(), asked);
        assert!(
            title.starts_with("at least 1 unrotated access key, perhaps no t"),
            "{asked}: {title}"
        );
        assert!(csv.contains(",backup,1,,unrotated,"), "it may be without: {csv}");
        assert!(csv.contains(",not_read,default,"), "{csv}");
        let state = State::new([unknown.clone().into()], Tried::Ok, true);
        let page = page_of_state(state, with_team(), asked);
        for part in [
            "keys: 1. Of 1 of them the user's tags were not read: they may have an owner",
            "<strong>at least 1</strong> <span>unrotated access key</span>",
            "<strong>at least 0</strong> <span>exempt access keys</span>",
            "<p class=\"doubt\">tags not read: 1 key</p>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        let (title, _, csv) = views(&known, &with_team(), asked);
        assert!(title.starts_with("1 unrotated access key, no t"), "{asked}: {title}");
        assert!(!csv.contains("not_read"), "{csv}");
    }
    // Nobody reads a tag that the configuration does not name.
    for config in [with_team(), Config::default()] {
        let (title, ..) = views(&known, &config, "tag=owner:");
        assert!(title.starts_with("at least 1 unrotated access key, perhaps no owner"), "{title}");
    }
    // Who did not ask for tags misses none.
    let (_, _, csv) = views(&unknown, &Config::default(), "");
    assert!(!csv.contains("not_read"), "{csv}");
}

/// The account with these access keys of its one user: the creation time and the id.
fn with_keys(keys: &[(&str, Option<&str>)]) -> Account {
    let mut account = account_of("backup", "prod", &[]);
    account.record(None, Duration::ZERO, now());
    let key = |(created, id): &(&str, Option<&str>)| {
        let last_rotated = Some(created.parse().expect("a time"));
        Some(Key {
            active: true,
            id: id.map(str::to_owned),
            last_rotated,
            last_used: None,
            never_used: false,
            last_used_region: None,
            last_used_service: None,
            use_of: None,
        })
    };
    Arc::make_mut(&mut account.confirmed).insert("backup", Some(keys.iter().map(key).collect()));
    account
}

/// Whether the title, the calendar and the file say for this reason that not all is known.
fn doubts(account: &Account, asked: &str, why: &str) -> [bool; 3] {
    let (title, calendar, csv) = views(account, &Config::default(), asked);
    assert!(title.contains(" access key"), "{asked}: {title}");
    // Long lines of a calendar are folded.
    let calendar = calendar.replace("\r\n ", "");
    let event = "SUMMARY:Not all keys of account 123456789012 are known\r\n";
    [
        title.starts_with("at least "),
        calendar.contains(event) && calendar.contains(&format!("DESCRIPTION:{why}\r\n")),
        csv.contains(&format!(",not_all_known,,,,,,{why},")),
    ]
}

#[test]
fn a_search_by_a_key_id_finds_nothing_for_sure_only_if_the_ids_are_known() {
    const OLD: &str = "2020-01-01T00:00:00Z";
    const DUE: &str = "2026-08-08T00:00:00Z";
    const YOUNG: &str = "2026-10-30T00:00:00Z";
    let doubts = |account: &Account, asked: &str| {
        doubts(account, asked, "keys of unknown id that may be meant: 1")
    };
    let unknown = with_keys(&[(OLD, None)]);
    for asked in [
        "q=AKIAIOSFODNN7EXAMPLE",
        "q=AKIA123",
        "q=DNN7EXAM",
        "q=dnn7exam+backup",
        "q=dnn7exam+BACKUP+dnn7exam",
        "id=AKIAOLD",
        "q=BACKUPS",
        "id=AKIAX&show=every",
        "user=backup&id=x",
    ] {
        assert_eq!(doubts(&unknown, asked), [true; 3], "{asked}");
    }
    // None of its keys can be meant, or the key is found whatever its id is.
    for asked in [
        "",
        "q=backup",
        "q=BackUp+backup",
        "q=prod",
        "q=akia-bot",
        // Written like a word, and not like a part of an id.
        "q=nobody",
        "q=Nobody",
        "q=ASIAIOSFODNN7EXAMPLE",
        "q=ACCAIOSFODNN7EXAMPLE",
        "q=210987654321",
        "q=AKIA123+akia-bot",
        "id=ACCAX",
        "id=AIDAX",
        "user=x&id=AKIAX",
    ] {
        assert_eq!(doubts(&unknown, asked), [false; 3], "{asked}");
    }
    let healthy = with_keys(&[(OLD, Some("AKIAOLD")), (YOUNG, None)]);
    for asked in ["q=AKIAX", "id=AKIAX", "show=exempt&id=AKIAX"] {
        let [title, _, file] = doubts(&healthy, asked);
        assert!(!title && !file, "all keys that it can list have ids: {asked}");
    }
    assert_eq!(doubts(&healthy, "show=every&id=AKIAX"), [true; 3]);
    // Its other key is in the file, with the state of the account.
    assert_eq!(doubts(&healthy, "show=every&q=OLD"), [true, true, false]);
    // No other key has the same id.
    for asked in ["id=AKIAOLD", "q=AKIAOLD", "q=akiaold+prod"] {
        assert_eq!(doubts(&healthy, &format!("show=every&{asked}")), [false; 3], "{asked}");
    }
    let page = |account: &Account, asked: &str| {
        page_of_state(
            State::new([account.clone().into()], Tried::Ok, true),
            Config::default(),
            asked,
        )
    };
    let text = page(&healthy, "show=every&id=AKIAX");
    let missing =
        "Some data is missing (keys of unknown id that may be meant: 1): see the accounts";
    for part in ["No access key is known of those", missing, "account degraded"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Each number is about its own keys.
    let due = page(&with_keys(&[(OLD, Some("AKIAOLD")), (DUE, None)]), "q=AKIAX");
    for part in ["<title>0 unrotated", "<strong>at least 0</strong> <span>access keys due"] {
        assert!(due.contains(part), "{part} in {due}");
    }
}

#[test]
fn a_search_by_a_key_id_says_that_it_may_be_of_a_key_of_root() {
    let csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
               <root_account>,arn:aws:iam::123456789012:root,true,2020-01-01T00:00:00Z,false,N/A\n";
    let mut root = Account {
        report: Some(Report::parse(csv.as_bytes()).expect("a report").into()),
        generated: Some(now()),
        ..named("123456789012", "prod")
    };
    root.record(None, Duration::ZERO, now());
    let why = "keys of root of unknown id that may be meant: 1";
    let [title, calendar, _] = doubts(&root, "id=AKIAX", why);
    assert!(title && calendar);
    let (_, _, csv) = views(&root, &Config::default(), "id=AKIAX");
    assert!(
        csv.contains(",not_all_known,,,,,,keys of root of unknown id that may be meant: 1,"),
        "{csv}"
    );
    assert!(!csv.contains("keys of unknown id"), "{csv}");
}

#[test]
fn a_search_by_an_account_name_finds_nothing_for_sure_only_if_the_names_are_known() {
    let mut unnamed = with_keys(&[("2020-01-01T00:00:00Z", Some("AKIAOLD"))]);
    unnamed.name = String::new();
    unnamed.refresh.name = Tried::NotYet;
    for asked in ["q=payments", "account=payments-prod", "account=payments-prod&show=every"] {
        assert_eq!(doubts(&unnamed, asked, "name not read"), [true; 3], "{asked}");
    }
    for asked in ["", "q=ACCAIOSFODNN7EXAMPLE", "q=210987654321", "account=123456789012", "user=x"]
    {
        assert_eq!(doubts(&unnamed, asked, "name not read"), [false; 3], "{asked}");
    }
    let without_alias = Account { name: String::new(), ..with_keys(&[]) };
    assert_eq!(doubts(&without_alias, "q=payments", "name not read"), [false; 3]);
    // One that has the name is the right one.
    let other = Account { id: "210987654321".to_owned(), ..with_keys(&[]) };
    let both = State::new([unnamed.clone().into(), other.into()], Tried::Ok, true);
    let page = page_of_state(both, Config::default(), "account=prod");
    assert!(page.contains("<title>0 unrotated access keys, prod"), "{page}");
    let unread = State::new([Account::pending("123456789012", "").into()], Tried::Ok, true);
    let page = page_of_state(unread, Config::default(), "account=payments-prod");
    assert!(page.contains("Account <bdi>123456789012</bdi> was never read"), "{page}");
    assert!(!page.contains("The exporter has no account"), "{page}");
    let asked = query("account=payments-prod&user=backup&key=1");
    let snapshot = snapshot(State::new([unnamed.into()], Tried::Ok, true), Config::default());
    let key::KeyPage::Missing(page) = key::render(&settings(), &snapshot, &asked) else {
        panic!("the account is not known by this name");
    };
    assert!(page.contains("the names of some accounts were not read"), "{page}");
}

#[test]
fn the_page_leads_to_the_accounts_without_the_tags_that_a_query_needs() {
    let mut account = Account { tags: None, ..account_of("backup", "", &[]) };
    account.record(None, Duration::ZERO, now());
    let page = |asked: &str| {
        page_of_state(State::new([account.clone().into()], Tried::Ok, true), with_team(), asked)
    };
    assert!(page("").contains("<span>account ok</span>"), "{}", page(""));
    let text = page("tag=team:payments");
    for part in ["No access key is known to be unrotated", "tags not read", "account degraded"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
