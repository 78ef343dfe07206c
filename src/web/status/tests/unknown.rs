//! Data that is not known, on all pages and in all files.

use super::*;

#[test]
fn a_number_of_keys_says_that_it_is_not_all() {
    let page = |accounts: Vec<Account>, discovery| {
        let accounts = accounts.into_iter().map(Into::into);
        page_of_state(State::new(accounts, discovery, true), Config::default(), "")
    };
    let title = |page: &str| {
        let (_, rest) = page.split_once("<title>").expect("a title");
        rest.split(" · ").next().expect("a title").to_owned()
    };
    let old = || account("123456789012", "true,2020-01-01T00:00:00Z");
    let ageless = || account("123456789012", "true,N/A");
    let unread = || Account::pending("210987654321", "");
    let nobody = || Account::pending(UNKNOWN_ACCOUNT, "");
    for (accounts, discovery, expected) in [
        (vec![old()], Tried::Ok, "1 unrotated access key"),
        (vec![old()], Tried::Failed, "at least 1 unrotated access key"),
        (vec![ageless()], Tried::Ok, "at least 0 unrotated access keys"),
        (vec![old(), unread()], Tried::Ok, "at least 1 unrotated access key"),
        (vec![old(), nobody()], Tried::Ok, "at least 1 unrotated access key"),
        (vec![nobody()], Tried::Ok, "Unrotated keys not known"),
        (vec![], Tried::Failed, "Unrotated keys not known"),
    ] {
        assert_eq!(title(&page(accounts, discovery)), expected);
    }
    let nothing = "No account was read, so no keys are known.";
    assert!(page(vec![nobody()], Tried::Ok).contains(nothing));
}

#[test]
fn an_account_that_is_not_known_whole_is_not_just_ok() {
    let mut account = account("123456789012", "true,N/A");
    account.refresh.waiting = Some(40);
    account.refresh.name = Tried::Failed;
    let state = State::new([account.into()], Tried::Ok, true);
    let page = page_of_state(state, Config::default(), "");
    for trouble in
        ["keys of unknown age: 1", "users not confirmed: 40", "name not read, and rules need it"]
    {
        assert!(page.contains(trouble), "{page}");
    }
}

#[test]
fn the_page_tells_what_it_does_not_know() {
    let page = page_of("production", "backup", "/", "");
    assert!(
        page.contains("accounts: 1 not tried yet") || page.contains("account: 1 not tried yet")
    );
    assert!(page.contains("2026-11-01 12:00 UTC"));
    assert!(page.contains("<title>1 unrotated access key · iam-key-exporter</title>"));
    assert!(!page.contains("made up"));
    assert!(page_of("production", "backup", "/", "q=nobody").contains(
        "No access key is unrotated of those that you ask for: “nobody”. 1 of 1 account read."
    ));
}

#[test]
fn the_page_says_why_accounts_could_not_be_listed() {
    let state = |fault: Option<&str>| State {
        discovery_fault: fault.map(Into::into),
        ..State::new([], Tried::Failed, true)
    };
    let page = |fault| page_of_state(state(fault), Config::default(), "");
    let aws = page(Some("AccessDeniedException: <b>."));
    let expected = "there may be others. The reason: <bdi>AccessDeniedException: &lt;b&gt;.</bdi> ";
    assert!(aws.contains(expected), "{aws}");
    let folder = page(Some("reports: no *.csv: is it empty?"));
    assert!(folder.contains("is it empty?</bdi> <a "), "{folder}");
    assert!(!page(None).contains("The reason"));
}

#[test]
fn one_of_several_shards_never_counts_as_everything() {
    let shard = Shard { index: 0, total: 3 };
    let of_shard = || StatusSettings { shard, ..settings() };
    let state = || State::new([account_of("backup", "", &[]).into()], Tried::Ok, true);
    let snapshot = || snapshot(state(), Config::default());
    let others = "Other accounts are on the other shards.";
    let page =
        |settings: &StatusSettings, asked: &str| page::render(settings, &snapshot(), &query(asked));
    let line = "1 account</a> of shard 0 of 3 read. Other accounts are on the other shards";
    let text = page(&of_shard(), "");
    assert!(text.contains(line), "{text}");
    let nothing = format!(
        "1 of 1 account of shard 0 of 3 read, the oldest report is of 60 min ago. {others}"
    );
    let text = page(&of_shard(), "show=exempt");
    assert!(text.contains(&nothing), "{text}");
    assert!(!page(&settings(), "").contains("shard"));

    let csv = |settings: &StatusSettings, asked: &str| {
        String::from_utf8(csv::render(settings, &snapshot(), &query(asked))).expect("UTF-8")
    };
    let row = format!("\n,,,,,not_read,,,,,,1 of 1 account of shard 0 of 3 read. {others},,,");
    for (asked, is_told) in [("", true), ("q=x", true), ("account=123456789012", false)] {
        let text = csv(&of_shard(), asked);
        assert_eq!(text.contains(&row), is_told, "{asked}: {text}");
        let calendar = calendar::render(&of_shard(), &snapshot(), &query(asked));
        let event = "SUMMARY:Only accounts of shard 0 of 3 are in this calendar\r\n";
        assert_eq!(calendar.contains(event), is_told, "{asked}: {calendar}");
        assert_eq!(calendar.contains("UID:shard-0@"), is_told, "{asked}: {calendar}");
    }
    assert!(!csv(&settings(), "").contains("shard"));

    let unknown = "This is shard 0 of 3. Account 210987654321 may be on another one.";
    let asked = "account=210987654321&user=a&key=1";
    let key::KeyPage::Missing(of_key) = key::render(&of_shard(), &snapshot(), &query(asked)) else {
        panic!("the account is not known");
    };
    for text in [of_key, page(&of_shard(), asked), csv(&of_shard(), asked)] {
        assert!(text.contains(unknown) && !text.contains("The exporter has no account"), "{text}");
    }
}

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
    for asked in ["tag=team:x", "q=x", "tag=team:x&other_tags=none", "show=exempt&other_tags=none"]
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
    let (title, ..) = views(&unknown[0], &Config::default(), "q=x");
    assert!(title.starts_with("0 "), "{title}");
    for config in [with_team(), Config::default()] {
        let (title, _, csv) = views(&known, &config, "tag=owner:x");
        assert!(title.starts_with("at least 0 "), "the configuration does not name it: {title}");
        assert!(csv.contains(",not_all_known,,,,,,tags not read,"), "{csv}");
    }
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
        })
    };
    Arc::make_mut(&mut account.confirmed).insert("backup", Some(keys.iter().map(key).collect()));
    account
}

/// Whether the title, the calendar and the file say for this reason that not all is known.
fn doubts(account: &Account, asked: &str, why: &str) -> [bool; 3] {
    let (title, calendar, csv) = views(account, &Config::default(), asked);
    assert!(title.contains(" unrotated access key"), "{asked}: {title}");
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
    let doubts =
        |account: &Account, asked: &str| doubts(account, asked, "ids of some keys not known");
    let unknown = with_keys(&[(OLD, None)]);
    for asked in
        ["q=AKIAOLD", "q=akiaold+backup", "id=AKIAOLD", "id=AKIAOLD&show=every", "user=backup&id=x"]
    {
        assert_eq!(doubts(&unknown, asked), [true; 3], "{asked}");
    }
    // None of its keys can be meant, or the key is found whatever its id is.
    for asked in
        ["", "q=nobody", "q=akia-bot", "q=ASIAX", "id=ACCAX", "user=x&id=AKIAX", "q=AKIAX+x"]
    {
        assert_eq!(doubts(&unknown, asked), [false; 3], "{asked}");
    }
    let healthy = with_keys(&[(OLD, Some("AKIAOLD")), (YOUNG, None)]);
    for asked in ["q=AKIAX", "id=AKIAX", "show=exempt&id=AKIAX"] {
        let [title, _, file] = doubts(&healthy, asked);
        assert!(!title && !file, "all keys that it can list have ids: {asked}");
    }
    assert_eq!(doubts(&healthy, "show=every&id=AKIAX"), [false, true, true]);
    let page = |account: &Account, asked: &str| {
        page_of_state(
            State::new([account.clone().into()], Tried::Ok, true),
            Config::default(),
            asked,
        )
    };
    let text = page(&healthy, "show=every&id=AKIAX");
    for part in ["No access key is known of those", "Some data is missing", "account degraded"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Each number is about its own keys.
    let due = page(&with_keys(&[(OLD, Some("AKIAOLD")), (DUE, None)]), "q=AKIAX");
    for part in ["<title>0 unrotated", "<strong>at least 0</strong> <span>access keys due"] {
        assert!(due.contains(part), "{part} in {due}");
    }
}

#[test]
fn a_search_by_an_account_name_finds_nothing_for_sure_only_if_the_names_are_known() {
    let mut unnamed = with_keys(&[("2020-01-01T00:00:00Z", Some("AKIAOLD"))]);
    unnamed.name = String::new();
    unnamed.refresh.name = Tried::NotYet;
    for asked in ["q=payments", "account=payments-prod", "account=payments-prod&show=every"] {
        assert_eq!(doubts(&unnamed, asked, "name not read"), [true; 3], "{asked}");
    }
    for asked in ["", "q=AKIAX", "q=210987654321", "account=123456789012", "user=x"] {
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

#[test]
fn a_user_whom_aws_did_not_list_may_have_an_owner() {
    let csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
         alpha,arn:aws:iam::123456789012:user/alpha,true,2020-01-01T00:00:00Z,false,N/A\n\
         beta,arn:aws:iam::123456789012:user/beta,true,2020-01-01T00:00:00Z,false,N/A\n";
    let alpha = [("alpha".to_owned(), vec![("team".into(), "payments".into())])].into();
    let tags = tags_of_team(alpha);
    let account = Account {
        report: Some(Report::parse(csv.as_bytes()).expect("a report").into()),
        generated: Some(now()),
        tags: Some(tags.into()),
        ..Account::pending("123456789012", "")
    };
    let state = || State::new([account.clone().into()], Tried::Ok, true);
    let none = "<span class=\"none\">tags not read</span>";
    let page = page_of_state(state(), with_team(), "");
    assert_eq!(page.matches(none).count(), 1, "{page}");
    assert!(page.contains("The tags of users in 1 account were not read: their keys"), "{page}");
    for (user, expected) in [("alpha", 0), ("beta", 1)] {
        let asked = query(&format!("account=123456789012&user={user}&key=1"));
        let key::KeyPage::Found(page) =
            key::render(&settings(), &snapshot(state(), with_team()), &asked)
        else {
            panic!("{user} has a key");
        };
        assert_eq!(page.matches(none).count(), expected, "{page}");
    }
    let metrics = crate::metrics::page::text(&state(), &with_team(), &Filter::default(), now());
    assert!(!metrics.contains("iam_user_tags{account_id=\"123456789012\",user=\"beta\""));
}

#[test]
fn files_that_were_never_read_have_their_own_events_and_names() {
    let unread = |name: &str| {
        let mut account = Account::pending(UNKNOWN_ACCOUNT, name);
        let message = format!("reports/{name}.csv: a row without a name is an unknown one");
        account.record(
            Some(&Failure::new(Reason::MalformedReport, message)),
            Duration::ZERO,
            now(),
        );
        account
    };
    let state = || State::new(["a", "b"].map(|name| unread(name).into()), Tried::Ok, true);
    let snapshot = || snapshot(state(), Config::default());
    let calendar = calendar::render(&settings(), &snapshot(), &query(""));
    for name in ["a", "b"] {
        for line in
            [format!("SUMMARY:Keys of account {name} are not known"), format!("UID:{name}-unread@")]
        {
            assert!(calendar.contains(&line), "{line} in {calendar}");
        }
    }
    // The file's name has its own column.
    let file = csv::render(&settings(), &snapshot(), &query(""));
    let file = String::from_utf8(file).expect("UTF-8");
    let cause = "\u{2026}: a row without a name is an unknown one";
    for name in ["a", "b"] {
        let row = format!("\nunknown,{name},,,,not_read,,,,,,{cause},");
        assert!(file.contains(&row), "{row} in {file}");
    }
    let page = page::render(&settings(), &snapshot(), &query("account=a"));
    assert!(page.contains("Account <bdi>a</bdi> was never read: <bdi>reports/a.csv: "), "{page}");
    assert!(!page.contains("Account unknown"), "{page}");
    let asked = query("account=a&user=x&key=1");
    let key::KeyPage::Missing(page) = key::render(&settings(), &snapshot(), &asked) else {
        panic!("nothing is known of it");
    };
    assert!(
        page.contains("Account a was never read: ") && !page.contains("Account unknown"),
        "{page}"
    );
}

#[test]
fn a_cause_is_the_same_for_all_accounts_and_keeps_its_words() {
    let row = |id: &str, name: &str, message: &str| {
        let mut account = Account::pending(id, name);
        account.record(Some(&Failure::new(Reason::Network, message)), Duration::ZERO, now());
        let state = State::new([account.into()], Tried::Ok, true);
        let snapshot = snapshot(state, Config::default());
        super::health::accounts(&snapshot, &Query::default(), &[])[0].cause().expect("a cause")
    };
    let of_id = "AssumeRole: arn:aws:iam::123456789012:role/x is denied";
    assert_eq!(
        row("123456789012", "prod", of_id),
        "AssumeRole: arn:aws:iam::\u{2026}:role/x is denied"
    );
    let unknown = "the certificate is of an unknown issuer";
    assert_eq!(row(UNKNOWN_ACCOUNT, "", unknown), unknown);
    assert_eq!(row(UNKNOWN_ACCOUNT, "a", "/data/a.csv: a bad day"), "\u{2026}: a bad day");
    assert_eq!(row("123456789012", "a", "/data/a.csv: a bad day"), "\u{2026}: a bad day");
    assert_eq!(row(UNKNOWN_ACCOUNT, "a", "a bad day"), "a bad day");
}

#[test]
fn an_account_without_a_row_of_root_is_not_whole_unless_the_summary_says_that_root_has_no_key() {
    let csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
               a,arn:aws:iam::123456789012:user/a,false,N/A,false,N/A\n";
    for (keys, is_whole) in [(None, false), (Some(true), false), (Some(false), true)] {
        let mut account = account("123456789012", "false,N/A");
        account.report = Some(Report::parse(csv.as_bytes()).expect("a report").into());
        account.record(None, Duration::ZERO, now());
        let summary = AccountSummary { root_keys: keys, ..AccountSummary::default() };
        account.evidence.summary = Reading::of(summary, now());
        let state = State::new([account.into()], Tried::Ok, true);
        let page = page_of_state(state, Config::default(), "");
        assert_eq!(page.contains("no readable row of root"), !is_whole, "{keys:?}");
        assert_eq!(page.contains("at least 0 unrotated"), !is_whole, "{keys:?}");
    }
}
