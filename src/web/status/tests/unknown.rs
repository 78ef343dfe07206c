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
    let list = "show=not_judged#keys\">keys of unknown age: 1</a>. <a class=\"help\"";
    assert!(page.contains(list), "{page}");
}

#[test]
fn an_account_whose_keys_are_not_confirmed_says_so_once() {
    let mut account = account("123456789012", "true,2020-01-01T00:00:00Z");
    account.refresh.waiting = Some(40);
    account.refresh.confirmation = Tried::Failed;
    let state = State::new([account.into()], Tried::Ok, true);
    let page = page_of_state(state, Config::default(), "");
    assert!(page.contains("keys not confirmed") && !page.contains("users not confirmed"), "{page}");
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
    assert!(page_of("production", "backup", "/", "q=no-one").contains(
        "No access key is unrotated of those that you ask for: “no-one”. 1 of 1 account read."
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
    let nothing =
        format!("1 of 1 account of shard 0 of 3 read, oldest report 60 min ago. {others}");
    let text = page(&of_shard(), "show=exempt");
    assert!(text.contains(&nothing), "{text}");
    assert!(!page(&settings(), "").contains("shard"));
    let text = page(&of_shard(), "show=due_soon");
    for part in [
        "<title>0 access keys of shard 0 of 3 due within 14 days · ",
        "<strong>1</strong> <span>unrotated access key of shard 0 of 3</span>",
        "of 1 account of shard 0 of 3 not tried yet</span>",
        "1 account of shard 0 of 3: 1 not tried yet<",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = page(&of_shard(), "");
    assert!(text.contains(">Unrotated access keys of shard 0 of 3: 1<"), "{text}");
    assert!(text.contains(">Unrotated keys</option>"), "{text}");
    // The account has no keys on other shards.
    let text = page(&of_shard(), "account=123456789012");
    assert!(text.contains("<title>1 unrotated access key, 123456789012 · "), "{text}");

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
    assert!(page.contains("Not all tags of users in 1 account were read: "), "{page}");
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
    assert!(page.contains("Account <bdi>a</bdi> was never read: "), "{page}");
    assert!(!page.contains("Account unknown"), "{page}");
    let asked = query("account=unknown&user=x&key=1");
    let key::KeyPage::Invalid(page) = key::render(&settings(), &snapshot(), &asked) else {
        panic!("there are two of them");
    };
    let names = "Write one of these instead: <bdi>a</bdi>, <bdi>b</bdi>.";
    assert!(page.contains(names), "{page}");
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

#[test]
fn with_an_old_report_no_number_is_complete() {
    let of_age = |hours| {
        let mut account = with_service_credentials(&[]);
        account.generated = Some(now() - TimeDelta::hours(hours));
        account.tags = account_of("a", "", &[("team", "x")]).tags;
        account.record(None, Duration::ZERO, now());
        account
    };
    let config = || Config { service_credentials: true, ..with_team() };
    let state = |hours| State::new([of_age(hours).into()], Tried::Ok, true);
    let numbers = ["1</strong>", "0</strong>", "0 API keys</a>", "1</a>", "0</a>"];
    let fresh = page_of_state(state(8), config(), "");
    assert!(!fresh.contains("at least"), "{fresh}");
    let old = page_of_state(state(9), config(), "");
    for number in numbers {
        assert!(old.contains(&format!(">at least {number}")), "{number} in {old}");
        assert!(
            !old.contains(&format!(">{number}")) || number == "1</strong>",
            "{number} in {old}"
        );
    }
    for part in ["<title>at least 1 unrotated access key ·", "There may be more<"] {
        assert!(old.contains(part), "{part} in {old}");
    }
    for show in ["due_soon", "exempt", "every&user=x"] {
        let asked = query(&format!("show={show}"));
        let csv = |hours| {
            let file = csv::render(&settings(), &snapshot(state(hours), config()), &asked);
            String::from_utf8(file).expect("UTF-8")
        };
        assert!(csv(9).contains(",not_all_known,,,,,,old report,"), "{show}: {}", csv(9));
        assert!(!csv(8).contains("not_all_known"), "{show}: {}", csv(8));
    }
}
