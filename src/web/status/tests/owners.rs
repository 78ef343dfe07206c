//! The list of owners, and whose keys the page is about.

use super::*;
use crate::policy::owner::FindingKind;

#[test]
fn owners_are_listed_and_linked_to_those_without_one_first() {
    let one = account_of("backup", "", &[("team", "a&b")]);
    let mut other = account_of("other", "", &[]);
    other.id = "210987654321".to_owned();
    let state = State::new([one.into(), other.into()], Tried::Ok, true);
    let page = page_of_state(state, with_team(), "");
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
    assert!(place("href=\"?tag=team%3A#keys\"") < place("href=\"?tag=team%3Aa%26b#keys\""));
    let line = "<details><summary><h2 id=\"owners-heading\">Owners</h2> 1 owner by their tags, 1 with unrotated access keys; 1 unrotated access key without an owner<";
    assert!(page.contains(line) && !page.contains("there may be more keys"), "{page}");
    let accounts = [account_of("a", "", &[("team", "x")]), account("210987654321", "true,N/A")];
    let state = State::new(accounts.map(Into::into), Tried::Ok, true);
    let page = page_of_state(state, with_team(), "");
    assert!(page.contains("there may be more keys"), "{page}");
    let line = "at least 1 owner by their tags, at least 1 with unrotated access keys; \
                at least 0 unrotated access keys without a known owner; tags not read: 1 account<";
    assert!(page.contains(line), "{page}");
}

#[test]
fn owners_are_those_of_the_keys_that_the_page_is_about() {
    let csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
               <root_account>,arn:aws:iam::123456789012:root,false,N/A,false,N/A\n\
               a,arn:aws:iam::123456789012:user/a,true,2020-01-01T00:00:00Z,false,N/A\n\
               b,arn:aws:iam::123456789012:user/b,true,2020-01-01T00:00:00Z,false,N/A\n\
               c,arn:aws:iam::123456789012:user/c,true,2020-01-01T00:00:00Z,false,N/A\n";
    let tags = |team: &str, owner: &str| {
        let tags =
            [("team", team), ("owner", owner)].map(|(key, value)| (key.into(), value.into()));
        tags.into_iter().filter(|(_, value): &Tag| !value.is_empty()).collect()
    };
    let by_user = [("a", tags("x", "ann")), ("b", tags("x", "")), ("c", tags("y", ""))];
    let by_user = by_user.map(|(user, tags)| (user.to_owned(), tags)).into();
    let tags =
        Tags { keys: ["team", "owner"].map(str::to_owned).into(), by_user, ..Tags::default() };
    let account = Account {
        report: Some(Report::parse(csv.as_bytes()).expect("a report").into()),
        tags: Some(tags.into()),
        ..named("123456789012", "")
    };
    let labels =
        ["team", "owner"].map(|key| TagLabel { key: key.to_owned(), label: String::new() });
    let config = Config { user_tags: labels.into(), ..Config::default() };
    for (asked, owners) in [
        ("", 3),
        ("account=123456789012", 3),
        ("tag=team:x", 2),
        ("tag=team:z", 0),
        // One owner needs no list: a link from an alert.
        ("tag=team:x&other_tags=none", 0),
        ("tag=team:x&tag=owner:ann", 0),
        // The list of keys has the owners of these.
        ("q=a", 0),
        ("user=a", 0),
        ("key=1", 0),
        ("id=AKIA1", 0),
    ] {
        let state = State::new([account.clone().into()], Tried::Ok, true);
        let page = page_of_state(state, config.clone(), asked);
        let listed = page.matches("<th scope=\"row\" data-label=\"team\"").count();
        assert_eq!(listed, owners, "{asked}: {page}");
    }
    let page = page_of_state(
        State::new([account.clone().into()], Tried::Ok, true),
        config.clone(),
        "sort=owner",
    );
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} in {page}"));
    let tag =
        |key: &str, value: &str| place(&format!("<span class=\"name\">{key}</span> <bdi>{value}<"));
    assert!(tag("team", "x") < tag("owner", "ann"), "as in the configuration: {page}");
    // Of a user with one tag all were read, so only those without any may be unread.
    let unread = Account { id: "210987654321".to_owned(), tags: None, ..account_of("d", "", &[]) };
    let state = State::new([account.clone().into(), unread.into()], Tried::Ok, true);
    let page = page_of_state(state, config.clone(), "");
    assert_eq!(page.matches(">none, or not read<").count(), 2, "{page}");
    let notice = "Not all tags of users in 1 account were read: the owners of their keys may be others than here.";
    assert!(page.contains(notice), "{page}");
    // A reload named another tag, which nobody has read.
    let mut account = account;
    let tags = account.tags.as_mut().map(Arc::make_mut).expect("tags");
    tags.keys.remove("owner");
    tags.by_user.values_mut().for_each(|tags| tags.retain(|(key, _)| &**key != "owner"));
    let page = page_of_state(State::new([account.into()], Tried::Ok, true), config, "");
    assert!(!page.contains(">none<"), "{page}");
    assert!(page.contains(">other tags not read<"), "{page}");
    // They have an owner by the tag that was read.
    assert!(page.contains(notice) && page.contains("2 owners by their tags"), "{page}");
}

#[test]
fn keys_of_unknown_tags_may_be_those_of_any_owner() {
    let unread =
        Account { id: "210987654321".to_owned(), tags: None, ..account_of("other", "", &[]) };
    let calm = Account { id: "333333333333".to_owned(), ..young("calm", &[("team", "y")]) };
    let accounts = [account_of("backup", "", &[("team", "x")]), unread, calm];
    let page =
        page_of_state(State::new(accounts.map(Into::into), Tried::Ok, true), with_team(), "");
    let line = "at least 2 owners by their tags, at least 1 with unrotated access keys; 1 unrotated access key without a \
                known owner; tags not read: 1 account<";
    assert!(page.contains(line), "{page}");
    let cell = |team: &str, number: &str| {
        let link = format!("?tag=team%3A{team}&amp;kind=access_key#keys\">{number}</a>");
        assert!(page.contains(&link), "{link} in {page}");
    };
    cell("x", "at least 1");
    cell("y", "at least 0");
    cell("", "1");
    assert!(page.contains("data-label=\"Oldest of them, in days\">at least 2,496<"), "{page}");
    assert_eq!(page.matches("or earlier<").count(), 1, "{page}");
}

#[test]
fn the_age_of_an_owners_oldest_key_has_decimals_near_its_limit() {
    let with = |id: &str, key: &str, team: &str| {
        let account = Account { id: id.to_owned(), ..account(id, key) };
        Account { tags: account_of("a", "", &[("team", team)]).tags, ..account }
    };
    let accounts = [
        with("123456789012", "true,2026-08-03T11:00:00Z", "x"),
        with("210987654321", "true,2026-07-01T11:00:00Z", "y"),
    ];
    let state = State::new(accounts.map(Into::into), Tried::Ok, true);
    let page = page_of_state(state, with_team(), "");
    for age in ["90.04", "123"] {
        let cell = format!("data-label=\"Oldest of them, in days\">{age}<");
        assert!(page.contains(&cell), "{cell} in {page}");
    }
}

#[test]
fn a_link_to_keys_of_users_without_tags_says_so_only_if_tags_are_configured() {
    let state = || State::new([account_of("backup", "", &[]).into()], Tried::Ok, true);
    let asked = "account=123456789012&other_tags=none";
    for (config, asked, subject) in [
        (with_team(), asked.to_owned(), "123456789012, no tag"),
        (with_team(), format!("{asked}&tag=team:"), "123456789012, no team, no other tag"),
        (Config::default(), asked.to_owned(), "123456789012"),
    ] {
        let page = page_of_state(state(), config, &asked);
        let title = format!("<title>1 unrotated access key, {subject} · ");
        assert!(page.contains(&title), "{title} in {page}");
    }
}

#[test]
fn a_link_to_keys_whose_exemption_ends_has_exactly_those_of_the_owners_finding() {
    let config = "rotation: { rules: [
        { match: { user: a }, exempt: { until: 2026-11-14, reason: x } },
        { match: { user: b }, exempt: { until: 2026-11-15, reason: x } },
        { match: { user: c }, exempt: { reason: x } },
        { match: { user: d }, exempt: { until: 2026-11-05, reason: x } } ] }";
    let config = Config::parse(config, "config.yaml".as_ref()).expect("a configuration");
    let csv = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
               <root_account>,arn:aws:iam::123456789012:root,true,2020-01-01T00:00:00Z,false,N/A\n\
               a,arn:aws:iam::123456789012:user/a,true,2020-01-01T00:00:00Z,true,2026-10-30T00:00:00Z\n\
               b,arn:aws:iam::123456789012:user/b,true,2020-01-01T00:00:00Z,false,N/A\n\
               c,arn:aws:iam::123456789012:user/c,true,2020-01-01T00:00:00Z,false,N/A\n\
               d,arn:aws:iam::123456789012:user/d,false,2020-01-01T00:00:00Z,false,N/A\n";
    let report = Some(Report::parse(csv.as_bytes()).expect("a report").into());
    let account = Account { report, generated: Some(now()), ..named("123456789012", "") };
    let snapshot = snapshot(State::new([account.into()], Tried::Ok, true), config);
    let (_, keys) = &snapshot.overview().accounts[0].owners[0];
    let found = keys.found(FindingKind::ExemptionEnding).map(|found| found.keys);
    let asked = query("kind=access_key&show=exemption_ending&sort=due");
    let page = page::render(&settings(), &snapshot, &asked);
    assert!(page.contains("<title>2 access keys whose exemption ends within 14 days · "), "{page}");
    assert_eq!(Some(page.matches("data-label=\"User\"").count()), found, "{page}");
    assert_eq!(page.matches("<bdi>a</bdi>").count(), 2, "{page}");
}
