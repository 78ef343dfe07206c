use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::choices::AccountFilter;
use super::components::{due, grouped, in_words, relative};
use super::query::Query;
use super::select::{about, select};
use super::*;
use crate::clock::Clock;
use crate::config::{Config, TagLabel};
use crate::failure::{Failure, Reason};
use crate::findings::Finding;
use crate::metrics::exporter::ExporterMetrics;
use crate::metrics::filter::Filter;
use crate::policy::{Age, KeyStatus, Tag};
use crate::render::{Renderer, Snapshot};
use crate::report::Report;
use crate::service_credentials::ServiceCredential;
use crate::shard::Shard;
use crate::state::{Account, State, Tags, Tried, UNKNOWN_ACCOUNT};

fn now() -> DateTime<Utc> {
    "2026-11-01T12:00:00Z".parse().expect("a time")
}

fn day(day: u32) -> DateTime<Utc> {
    format!("2026-06-{day:02}T00:00:00Z").parse().expect("a time")
}

/// An unrotated key of this user in account 123456789012, which is called production.
fn finding(user: &str, rotated: DateTime<Utc>) -> Finding {
    Finding {
        account_id: "123456789012".to_owned(),
        account_name: "production".to_owned(),
        user: user.to_owned(),
        path: "/service/".to_owned(),
        key: Some(1),
        access_key_id: Some(format!("AKIA{}", user.to_uppercase())),
        status: KeyStatus::Unrotated,
        age: Some(Age::between(rotated, now())),
        last_rotated: Some(rotated),
        due: Some(rotated + TimeDelta::days(90)),
        last_used: None,
        never_used: true,
        use_known_until: Some(day(21)),
        tags: [("team".into(), "payments".into())].into(),
        rule: "default".into(),
        rule_index: None,
        max_age: TimeDelta::days(90),
        exemption: None,
        service: None,
        expires: None,
    }
}

fn query(text: &str) -> Query {
    Query::parse(text).expect("a query")
}

fn users<'a>(findings: &'a [Finding], asked: &str) -> Vec<&'a str> {
    let query = query(asked);
    let labels =
        ["team", "cost-center"].map(|key| TagLabel { key: key.to_owned(), label: String::new() });
    select(&about(findings, &query, &labels), &query)
        .into_iter()
        .map(|row| row.user.as_str())
        .collect()
}

#[test]
fn a_search_finds_users_paths_accounts_ids_and_tags_in_any_case() {
    let mut other = finding("other", day(2));
    other.account_id = "210987654321".to_owned();
    other.account_name = "Stüdio".to_owned();
    other.path = "/ci/".to_owned();
    other.tags = [("Owner".into(), "data on call".into())].into();
    let findings = [finding("backup", day(1)), other];
    for (search, expected) in [
        ("", &["backup", "other"][..]),
        ("BACK", &["backup"]),
        ("/ci", &["other"]),
        ("production", &["backup"]),
        ("3456", &["backup"]),
        ("sTÜdio", &["other"]),
        ("akiaother", &["other"]),
        ("team=pay", &["backup"]),
        ("owner=data", &["other"]),
        ("call on", &["other"]),
        ("backup other", &[]),
        ("back.p", &[]),
        ("default", &[]),
    ] {
        let asked = Query { search: search.to_owned(), ..Query::default() };
        assert_eq!(users(&findings, &asked.link()[1..]), expected, "{search}");
    }
}

#[test]
fn only_keys_of_the_chosen_status_are_listed() {
    let with = |user, status| Finding { status, ..finding(user, day(1)) };
    let findings = [
        with("old", KeyStatus::Unrotated),
        with("soon", KeyStatus::DueSoon),
        with("exempt", KeyStatus::Exempt),
        Finding { never_used: false, ..with("young", KeyStatus::Ok) },
        with("spare", KeyStatus::Ok),
        with("retired", KeyStatus::Inactive),
        Finding { age: None, last_rotated: None, ..with("ageless", KeyStatus::NotJudged) },
        Finding { last_rotated: Some(day(20)), ..with("new", KeyStatus::Ok) },
        Finding { use_known_until: Some(day(8)), ..with("of an old report", KeyStatus::Ok) },
    ];
    assert_eq!(users(&findings, ""), ["old"]);
    assert_eq!(users(&findings, "show=due_soon"), ["soon"]);
    assert_eq!(users(&findings, "show=exempt"), ["exempt"]);
    assert_eq!(users(&findings, "show=all"), ["old", "soon", "exempt"]);
    assert_eq!(users(&findings, "show=never_used"), ["old", "soon", "exempt", "spare"]);
    assert_eq!(users(&findings, "show=not_judged"), ["ageless"]);
    assert_eq!(users(&findings, "show=every").len(), findings.len());
}

#[test]
fn rows_are_sorted_by_every_column_in_both_orders() {
    let mut first = finding("beta", day(1));
    first.due = None;
    first.last_used = Some(day(20));
    let mut second = finding("Alpha", day(2));
    second.account_name = String::new();
    let mut third = finding("gamma", day(3));
    third.last_used = Some(day(10));
    third.account_name = "Audit".to_owned();
    let findings = [first, second, third];
    for (column, ascending, descending) in [
        ("age", ["gamma", "Alpha", "beta"], ["beta", "Alpha", "gamma"]),
        // Who is exempt comes last in both.
        ("due", ["Alpha", "gamma", "beta"], ["gamma", "Alpha", "beta"]),
        ("user", ["Alpha", "beta", "gamma"], ["gamma", "beta", "Alpha"]),
        // By the id if there is no name.
        ("account", ["Alpha", "gamma", "beta"], ["beta", "gamma", "Alpha"]),
        ("last_used", ["Alpha", "gamma", "beta"], ["beta", "gamma", "Alpha"]),
    ] {
        assert_eq!(users(&findings, &format!("sort={column}&order=asc")), ascending, "{column}");
        assert_eq!(users(&findings, &format!("sort={column}&order=desc")), descending, "{column}");
    }
}

#[test]
fn of_equal_rows_the_oldest_comes_first() {
    let findings: Vec<Finding> = (1..20).map(|age| finding("same", day(age))).collect();
    for asked in ["sort=user", "sort=user&order=desc", "sort=account", "sort=last_used"] {
        let query = query(asked);
        let rows = select(&about(&findings, &query, &[]), &query);
        assert!(rows.is_sorted_by_key(|row| row.last_rotated), "{asked}");
    }
}

#[test]
fn pages_are_cut_at_their_size_and_a_page_that_is_gone_is_the_last_one() {
    let part = |wanted, total| {
        let Pagination { number, of, rows } = Pagination::new(wanted, 200, total);
        (number, of, rows)
    };
    assert_eq!(part(1, 0), (1, 1, 0..0));
    assert_eq!(part(1, 200), (1, 1, 0..200));
    assert_eq!(part(1, 201), (1, 2, 0..200));
    assert_eq!(part(2, 201), (2, 2, 200..201));
    assert_eq!(part(4_000_000_000, 20_000), (100, 100, 19_800..20_000));
}

/// The users' tags with the key `team`.
fn tags_of_team(by_user: BTreeMap<String, Vec<Tag>>) -> Tags {
    Tags { keys: ["team".to_owned()].into(), by_user }
}

/// The account of a report file with one old key of this user, whom these tags belong to.
fn account_of(user: &str, name: &str, tags: &[(&str, &str)]) -> Account {
    let csv = format!(
        "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
         {user},arn:aws:iam::123456789012:user/{user},true,2020-01-01T00:00:00Z,false,N/A\n"
    );
    let tags: Vec<_> = tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    Account {
        report: Some(Report::parse(csv.as_bytes()).expect("a report").into()),
        generated: Some(now() - TimeDelta::hours(1)),
        tags: Some(tags_of_team([(user.to_owned(), tags)].into()).into()),
        ..Account::pending("123456789012", name)
    }
}

fn csv_of(accounts: impl IntoIterator<Item = Account>, asked: &str) -> String {
    let state = State::new(accounts.into_iter().map(Into::into), Tried::Ok, true);
    let file = csv::render(&settings(), &snapshot(state, Config::default()), &query(asked));
    String::from_utf8(file).expect("UTF-8")
}

#[test]
fn cells_that_a_spreadsheet_would_calculate_begin_with_an_apostrophe() {
    let lines = |user: &str| csv_of([account_of(user, "@a,\"b\"", &[("=1", "2")])], "");
    let text = lines("=HYPERLINK(1)");
    assert_eq!(text.lines().count(), 2);
    assert!(text.starts_with("account_id,account_name,user,key,access_key_id,status,"), "{text}");
    assert!(text.contains("\n123456789012,\"'@a,\"\"b\"\"\",'=HYPERLINK(1),1,"), "{text}");
    assert!(
        text.contains(",'=1=2,default,,,90d,,pending,2026-11-01T11:00:00Z,2026-11-01T12:00:00Z\n"),
        "{text}"
    );
    for user in ["=x", "+x", "-x", "@x"] {
        assert!(lines(user).contains(&format!("'{user}")), "{user:?}");
    }
    assert!(lines("a=b").contains(",a=b,"));
}

#[test]
fn the_file_says_whose_keys_are_not_known() {
    let accounts = || [account_of("backup", "", &[]), Account::pending("210987654321", "=later")];
    let unread =
        "\n210987654321,'=later,,,,not_read,,,,,,not tried yet,,,,,pending,,2026-11-01T12:00:00Z\n";
    for (asked, keys, is_told) in [
        ("", 1, true),
        ("show=every", 1, true),
        ("show=exempt", 0, true),
        ("account=210987654321", 0, true),
        ("account=123456789012", 1, false),
        ("q=backup", 1, true),
        ("q=later", 0, true),
    ] {
        let text = csv_of(accounts(), asked);
        assert_eq!(text.matches(",backup,").count(), keys, "{asked}: {text}");
        assert_eq!(text.contains(unread), is_told, "{asked}: {text}");
    }
    let text = csv_of(accounts(), "account=%3D000000000000");
    let unknown = "\n'=000000000000,,,,,not_read,,,,,,\"The exporter has no account =000000000000, so it knows nothing about its keys.\",,,,,,,2026-11-01T12:00:00Z\n";
    assert!(text.contains(unknown) && text.lines().count() == 2, "{text}");
    let name = |asked| csv::file_name(&query(asked), now());
    assert_eq!(name(""), "iam-access-keys-unrotated-20261101T120000Z.csv");
    assert_eq!(
        name("kind=access_key"),
        "iam-access-keys-unrotated-access_key-20261101T120000Z.csv"
    );
    assert_eq!(
        name("account=123456789012&tag=team:%C3%BC/../x&show=every"),
        "iam-access-keys-every-123456789012-team-x-20261101T120000Z.csv"
    );
}

#[test]
fn the_file_says_of_which_accounts_not_all_is_known() {
    let failing = || {
        let mut account = account_of("backup", "", &[]);
        let failure = Failure::new(Reason::Network, "no route");
        account.record(Some(&failure), Duration::ZERO, now());
        account
    };
    let doubt = "\n123456789012,,,,,not_all_known,,,,,,no route,,,,,failing,2026-11-01T11:00:00Z,2026-11-01T12:00:00Z\n";
    for (asked, is_told) in [
        ("", false),
        ("show=due_soon", true),
        ("show=due_soon&account=123456789012", true),
        ("show=due_soon&account=210987654321", false),
        ("show=due_soon&q=backup", true),
    ] {
        let text = csv_of([failing()], asked);
        assert_eq!(text.contains(doubt), is_told, "{asked}: {text}");
    }
    assert!(!csv_of([account_of("backup", "", &[])], "show=due_soon").contains("not_all_known"));
}

#[test]
fn exact_parameters_choose_keys_tiles_title_and_accounts() {
    let mut other = finding("backup-2", day(2));
    let tags = [("Team", "pay"), ("cost-center", "42")];
    other.tags = tags.map(|(key, value)| (key.into(), value.into())).into();
    let mut without = finding("backup", day(3));
    without.account_id = "210987654321".to_owned();
    without.key = Some(2);
    without.tags.clear();
    let findings = [finding("backup", day(1)), other, without];
    for (asked, expected) in [
        ("user=backup", &["backup", "backup"][..]),
        ("user=backup&account=123456789012", &["backup"]),
        ("user=backup&key=2", &["backup"]),
        ("account=production&key=2", &["backup"]),
        ("account=12345678901", &[]),
        ("tag=team:payments", &["backup"]),
        ("tag=team:pay", &["backup-2"]),
        ("tag=team:", &["backup"]),
        ("tag=team:pay&tag=owner:x", &[]),
        ("tag=team:pay&other_tags=none", &[]),
        ("tag=team:payments&other_tags=none", &["backup"]),
        ("other_tags=none", &["backup"]),
        // As in the label.
        ("tag=cost_center:42", &["backup-2"]),
        ("tag=COST-center:42", &["backup-2"]),
    ] {
        assert_eq!(users(&findings, asked), expected, "{asked}");
    }
}

#[test]
fn accounts_are_chosen_by_state() {
    use super::health::Health;
    let states = [Health::Failing(Reason::Timeout), Health::Pending, Health::Degraded, Health::Ok];
    for (filter, expected) in [
        (AccountFilter::Failing, [true, false, false, false]),
        (AccountFilter::Pending, [false, true, false, false]),
        (AccountFilter::Degraded, [false, false, true, false]),
        (AccountFilter::Ok, [false, false, false, true]),
        (AccountFilter::Unread, [false; 4]),
    ] {
        assert_eq!(states.map(|state| filter.includes(state, true)), expected, "{filter:?}");
    }
    assert!(AccountFilter::Unread.includes(Health::Failing(Reason::Timeout), false));
}

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
        (-86_400 * 730, "1 year ago"),
        (-86_400 * 731, "2 years ago"),
        (-86_400 * 2_561, "7 years ago"),
    ] {
        assert_eq!(relative(seconds(count), now()), expected);
    }
    // It is noon. What counts are the days of the calendar.
    for (hours, expected) in [
        (-24 * 2_561, "7 years overdue"),
        (-24, "1 day overdue"),
        (-13, "overdue since today"),
        (0, "overdue since today"),
        (11, "due today"),
        (13, "due tomorrow"),
        (35, "due tomorrow"),
        (37, "due in 2 days"),
    ] {
        assert_eq!(due(now() + TimeDelta::hours(hours), now()), expected, "{hours}");
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

/// The page of a report file whose one user is `user` with this path, in an account of this name.
fn page_of(account: &str, user: &str, path: &str, asked: &str) -> String {
    let csv = format!(
        "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
         {user},arn:aws:iam::123456789012:user{path}{user},true,2020-01-01T00:00:00Z,false,N/A\n"
    );
    let tags = [(user.to_owned(), vec![("team".into(), "<b>\"&'".repeat(50).into())])].into();
    let account = Account {
        report: Some(Report::parse(csv.as_bytes()).expect("a report").into()),
        tags: Some(tags_of_team(tags).into()),
        ..Account::pending("123456789012", account)
    };
    page_of_state(State::new([account.into()], Tried::Ok, true), with_team(), asked)
}

fn with_team() -> Config {
    let team = TagLabel { key: "team".to_owned(), label: "tag_team".to_owned() };
    Config { user_tags: vec![team], ..Config::default() }
}

fn snapshot(state: State, config: Config) -> Snapshot {
    snapshot_with(state, config, ExporterMetrics::new(Filter::default(), []))
}

fn snapshot_with(state: State, config: Config, metrics: ExporterMetrics) -> Snapshot {
    let (_sender, config) = tokio::sync::watch::channel(config.into());
    let renderer = Renderer { config, filter: Filter::default(), clock: Clock::new(now), metrics };
    renderer.snapshot(state, None)
}

fn settings() -> StatusSettings {
    StatusSettings {
        telemetry_path: "/metrics".to_owned(),
        runbook_url: Some("https://runbooks.example/a?b=\"<c>&d".to_owned()),
        dashboard_url: Some("https://grafana.example/d/x?y=\"<z>&var=1#top".to_owned()),
        is_demo: false,
        are_files: false,
        shard: Shard::default(),
    }
}

fn page_of_state(state: State, config: Config, asked: &str) -> String {
    page::render(&settings(), &snapshot(state, config), &query(asked))
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

/// An account of one user with this key.
fn account(id: &str, key: &str) -> Account {
    let csv = format!(
        "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
         a,arn:aws:iam::{id}:user/a,{key},false,N/A\n"
    );
    let report = Some(Report::parse(csv.as_bytes()).expect("a report").into());
    Account { report, ..Account::pending(id, "") }
}

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
fn the_page_of_a_key_says_what_is_wrong_and_what_to_do() {
    let state = || {
        let account = account_of("o'neil", "production", &[("team", "payments")]);
        State::new([account.into(), Account::pending("210987654321", "").into()], Tried::Ok, true)
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
        ("user=a&key=1", "invalid", "The address must name a key"),
        ("account=1&user=a&key=1", "missing", "The exporter has no account 1"),
        ("account=210987654321&user=a&key=1", "missing", "was never read. Nothing is known"),
        ("account=123456789012&user=a&key=1", "missing", "User a has no key 1"),
        ("account=123456789012&user=o%27neil&key=2", "missing", "User o'neil has no key 2"),
        ("account=123456789012&user=o%27neil&key=255", "missing", "has no key 255"),
    ] {
        let (what, text) = page(asked);
        assert_eq!(what, expected, "{asked}");
        assert!(text.contains(part), "{text}");
        let title = if expected == "invalid" { "Invalid address" } else { "Not found" };
        assert!(text.contains(&format!("<title>{title} · ")), "{text}");
    }
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
    let part = "Several accounts are called shared. Write one of their ids instead: 123456789012, 210987654321.";
    assert!(text.contains(part), "{text}");
    assert_eq!(page(&[&one, &other], "account=210987654321&user=nightly&key=1").0, "found");
    let (what, text) = page(&[&one, &other, &third], asked);
    assert_eq!(what, "found");
    assert!(text.contains("of account <code>shared</code>"), "an id counts first: {text}");
}

/// An account whose user `a` has an old access key and these service-specific credentials: the service, the
/// id, and in how many days it expires.
fn with_service_credentials(credentials: &[(&str, &str, Option<i64>)]) -> Account {
    let credentials = credentials.iter().map(|(service, id, expires)| {
        let credential = ServiceCredential {
            service: (*service).into(),
            id: (*id).to_owned(),
            active: true,
            created: day(1),
            expires: expires.map(|days| now() + TimeDelta::days(days)),
        };
        ("a".to_owned(), credential)
    });
    let mut account = account("123456789012", "true,2020-01-01T00:00:00Z");
    account.generated = Some(now());
    account.service_credentials = Some(std::sync::Arc::new(credentials.collect()));
    account
}

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
    assert!(list("q=BEDROCK").contains("<title>0 unrotated access keys and 1 API key, "));
    // Tiles and title are about both kinds, whichever is listed.
    let one = list("kind=access_key");
    assert!(one.contains("<title>1 unrotated access key and 2 API keys · "), "{one}");
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
    let calendar = calendar::render(&settings(), &snapshot, &query(""));
    assert!(calendar.contains("SUMMARY:Rotate by today: logs key of a in 123456789012"));
    assert!(calendar.contains("SUMMARY:Rotate by today: key 1 of a in 123456789012"));
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
    let unknown = "User a may have a key ACCA1 in account 123456789012: service-specific \
                   credentials, such as API keys, are not known there.";
    let text = missing_key(&account, "id=ACCA1");
    assert!(text.contains(unknown) && !text.contains(gone), "{text}");
    assert!(missing_key(&account, "key=2").contains(gone), "an access key");
    account.service_credentials = Some(std::sync::Arc::default());
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
    let missing = " · service-specific credentials, such as API keys, are not in report files</p>";
    let files = page(true, true);
    assert!(files.contains(missing), "{files}");
    assert!(files.contains("<title>1 unrotated access key · "), "{files}");
    assert!(files.contains("<span>account ok<"), "{files}");
    assert!(!page(false, true).contains(missing), "AWS lists them");
    assert!(!page(true, false).contains(missing), "nobody asks for them");
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
    assert!(text.contains("Some data of this account is missing: old report."), "{text}");
    assert!(text.contains("Nothing yet. By the due date:"), "{text}");
    let missing = "it was deleted, or the user was renamed.";
    let unreadable = " Or the user is in a part of that report that could not be read: 1 row.";
    let text = page(&of(""), "account=123456789012&user=b&key=1");
    assert!(text.contains(missing) && !text.contains(unreadable), "{text}");
    let text = page(&of("x,y\n"), "account=123456789012&user=b&key=1");
    assert!(text.contains(&format!("{missing}{unreadable}")), "{text}");
}

#[test]
fn a_calendar_has_due_dates_and_what_is_not_known() {
    let account = account_of("backup", "production", &[]);
    let state =
        State::new([account.into(), Account::pending("210987654321", "").into()], Tried::Ok, true);
    let calendar =
        calendar::render(&settings(), &snapshot(state, Config::default()), &Query::default());
    for line in [
        "DTSTART;VALUE=DATE:20200331",
        "SUMMARY:Rotate by today: key 1 of backup in production",
        "UID:123456789012-backup-1-1577836800@iam-key-exporter",
        "SUMMARY:Keys of account 210987654321 are not known",
    ] {
        assert!(calendar.contains(&format!("\r\n{line}\r\n")), "{line} in {calendar}");
    }
    assert_eq!(calendar.matches("BEGIN:VEVENT").count(), 2);
    for (discovery, fault, why) in [
        (
            Tried::Failed,
            Some("no permission"),
            "could not be listed: there may be others: no permission",
        ),
        (Tried::Failed, None, "could not be listed: there may be others"),
        (Tried::NotYet, None, "were not listed yet: there may be others"),
    ] {
        let discovery_fault = fault.map(Into::into);
        let state = || State {
            discovery_fault: discovery_fault.clone(),
            ..State::new([], discovery, true)
        };
        let calendar =
            calendar::render(&settings(), &snapshot(state(), Config::default()), &Query::default());
        assert!(calendar.contains("SUMMARY:Not all accounts are known"), "{calendar}");
        let file =
            csv::render(&settings(), &snapshot(state(), Config::default()), &Query::default());
        let file = String::from_utf8(file).expect("UTF-8");
        assert!(file.contains(&format!(",not_read,,,,,,the accounts {why},")), "{file}");
    }
}

#[test]
fn a_report_that_is_older_than_a_key_may_become_is_an_old_one() {
    let config = Config::parse("rotation: { max_age: 1h }", "config.yaml".as_ref());
    let account = Account {
        generated: Some(now() - TimeDelta::hours(2)),
        ..account("123456789012", "false,2026-10-01T00:00:00Z")
    };
    let state = State::new([account.into()], Tried::Ok, true);
    let file =
        csv::render(&settings(), &snapshot(state, config.expect("a configuration")), &query(""));
    let file = String::from_utf8(file).expect("UTF-8");
    assert!(file.contains(",not_all_known,,,,,,old report,"), "{file}");
}

/// The titles of the events about what the calendar lacks.
fn lacking(state: State, asked: &str) -> Vec<String> {
    let calendar =
        calendar::render(&settings(), &snapshot(state, Config::default()), &query(asked));
    let calendar = calendar.replace("\r\n ", "");
    let titles = calendar.lines().filter_map(|line| line.strip_prefix("SUMMARY:"));
    titles.filter(|title| title.contains("ot ")).map(str::to_owned).collect()
}

#[test]
fn a_calendar_says_of_which_accounts_not_all_is_known() {
    let mut failing = account_of("backup", "", &[]);
    let failure = Failure::new(Reason::Network, "no route");
    failing.record(Some(&failure), Duration::ZERO, now());
    let failing = std::sync::Arc::new(failing);
    let state = || State::new([failing.clone()], Tried::Ok, true);
    assert_eq!(lacking(state(), ""), ["Not all keys of account 123456789012 are known"]);
    assert_eq!(lacking(state(), "user=x"), ["Not all keys of account 123456789012 are known"]);
    assert_eq!(lacking(state(), "q=backup"), ["Not all keys of account 123456789012 are known"]);
    let unknown = "Keys of account 210987654321 are not known";
    assert_eq!(lacking(state(), "account=210987654321"), [unknown]);
    let fine = State::new([account_of("backup", "", &[]).into()], Tried::Ok, true);
    assert_eq!(lacking(fine, ""), [""; 0]);
}

#[test]
fn a_calendar_has_no_control_characters_of_its_query() {
    let state = State::new([account_of("backup", "", &[]).into()], Tried::Ok, true);
    let asked = query("account=1%0DATTACH:x%00%1B");
    let calendar = calendar::render(&settings(), &snapshot(state, Config::default()), &asked);
    let calendar = calendar.replace("\r\n ", "").replace("\r\n", "|");
    assert!(
        calendar.contains("no account 1") && !calendar.contains(char::is_control),
        "{calendar:?}"
    );
}

#[test]
fn a_calendar_of_too_many_keys_says_so() {
    let with_users = |count: usize| {
        let mut csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n".to_owned();
        for user in 0..count {
            csv += &format!(
                "u{user},arn:aws:iam::123456789012:user/u{user},true,2020-01-01T00:00:00Z,false,N/A\n"
            );
        }
        let report = Some(Report::parse(csv.as_bytes()).expect("a report").into());
        let account =
            Account { report, generated: Some(now()), ..Account::pending("123456789012", "") };
        State::new([account.into()], Tried::Ok, true)
    };
    assert_eq!(lacking(with_users(5_000), ""), [""; 0]);
    assert_eq!(lacking(with_users(5_001), ""), ["Not all keys are in this calendar"]);
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
fn an_exemption_to_the_end_of_time_has_its_last_day_and_no_date_in_the_calendar() {
    for (until, last_day) in
        [("9999-12-31", "9999-12-31"), ("9999-12-31T23:00:00-12:00", "10000-01-01")]
    {
        let text = format!(
            "rotation: {{ rules: [{{ match: {{ user: '*' }}, exempt: {{ until: {until}, reason: x }} }}] }}"
        );
        let config = Config::parse(&text, "config.yaml".as_ref()).expect("a configuration");
        let state = || State::new([account_of("backup", "", &[]).into()], Tried::Ok, true);
        let page = page_of_state(state(), config.clone(), "show=exempt");
        assert!(page.contains(&format!("{last_day}<small>in ")), "{page}");
        let calendar = calendar::render(&settings(), &snapshot(state(), config), &Query::default());
        assert_eq!(calendar.matches("BEGIN:VEVENT").count(), 0, "{calendar}");
    }
}

#[test]
fn owners_are_listed_and_linked_to_those_without_one_first() {
    let one = account_of("backup", "", &[("team", "a&b")]);
    let mut other = account_of("other", "", &[]);
    other.id = "210987654321".to_owned();
    let state = State::new([one.into(), other.into()], Tried::Ok, true);
    let page = page_of_state(state, with_team(), "");
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
    assert!(place("href=\"?tag=team%3A#keys\"") < place("href=\"?tag=team%3Aa%26b#keys\""));
    assert!(page.contains("2 owners") && !page.contains("there may be more keys"));
    let accounts = [account_of("a", "", &[("team", "x")]), account("210987654321", "true,N/A")];
    let state = State::new(accounts.map(Into::into), Tried::Ok, true);
    assert!(page_of_state(state, with_team(), "").contains("there may be more keys"));
}

#[test]
fn the_tags_of_a_user_whom_no_list_has_were_not_read() {
    let listed = account_of("a", "", &[]);
    let mut account = listed.clone();
    account.tags = Some(tags_of_team([].into()).into());
    account.refresh.tags = Tried::Failed;
    let seen = |account: &Account| {
        let mut other = account_of("b", "", &[("team", "x")]);
        other.id = "210987654321".to_owned();
        let state = || State::new([account.clone().into(), other.clone().into()], Tried::Ok, true);
        let asked = query("account=123456789012&user=a&key=1");
        let key::KeyPage::Found(of_key) =
            key::render(&settings(), &snapshot(state(), with_team()), &asked)
        else {
            panic!("no page")
        };
        let page = page_of_state(state(), with_team(), "");
        let owners = page.contains("The tags of users in 1 account were not read");
        let cell = ">tags not read</span>";
        (of_key.contains(cell), page.contains(cell), owners)
    };
    assert_eq!(seen(&listed), (false, false, false));
    assert_eq!(seen(&account), (true, true, true));
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

/// The page of the first key of the only user of a report with this row after the user's name and ARN:
/// whether each key is active, its rotation, and its last use.
fn page_of_key(row: &str) -> String {
    let columns = [1, 2].map(|slot| {
        format!("access_key_{slot}_active,access_key_{slot}_last_rotated,access_key_{slot}_last_used_date")
    });
    let csv = format!("user,arn,{}\na,arn:aws:iam::123456789012:user/a,{row}\n", columns.join(","));
    let report = Some(Report::parse(csv.as_bytes()).expect("a report").into());
    let account =
        Account { report, generated: Some(now()), ..Account::pending("123456789012", "") };
    let snapshot = snapshot(State::new([account.into()], Tried::Ok, true), Config::default());
    match key::render(&settings(), &snapshot, &query("account=123456789012&user=a&key=1")) {
        key::KeyPage::Found(page) => page,
        key::KeyPage::Missing(page) | key::KeyPage::Invalid(page) => panic!("{page}"),
    }
}

#[test]
fn a_key_that_nobody_uses_is_to_be_deleted_and_not_rotated() {
    let none = "false,N/A,N/A";
    let unused = "deactivate it, and delete it.</p>";
    let replace = "If a role can replace it";
    let second = "Make a second key";
    for (key, told) in [
        ("true,2020-01-01T00:00:00Z,2025-10-31T00:00:00Z", "Nobody has used it since 2025-10-31: "),
        // Its state is ok.
        ("true,2026-10-20T00:00:00Z,N/A", "Nobody has ever used it: "),
        ("true,2020-01-01T00:00:00Z,N/A", "Nobody has ever used it: "),
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
fn a_third_key_cannot_be_made_so_one_is_deleted_before() {
    let key = "true,2020-01-01T00:00:00Z,2026-10-31T00:00:00Z";
    let first = "AWS allows no third";
    let page = page_of_key(&format!("{key},{key}"));
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
    assert!(place(first) < place("Make a second key"));
    assert!(place("href=\"key?account=123456789012&amp;user=a&amp;key=2\"") > place(first));
    assert!(!page_of_key(&format!("{key},false,N/A,N/A")).contains(first));
}
