//! Values that the tests share.

mod selection;
mod pages;
mod owners;
mod key_pages;
mod steps;
mod api_keys;
mod api_key_pages;
mod files;
mod calendars;
mod unknown;
mod unsure_searches;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::choices::AccountFilter;
use super::components::{due, grouped, in_words, overdue, relative};
use super::query::Query;
use super::select::{about, select};
use super::*;
use crate::clock::Clock;
use crate::config::{Config, TagLabel};
use crate::evidence::{AccountSummary, Reading};
use crate::failure::{Failure, Reason};
use crate::findings::Finding;
use crate::metrics::exporter::ExporterMetrics;
use crate::metrics::filter::Filter;
use crate::policy::{Age, KeyStatus, Tag};
use crate::render::{Renderer, Snapshot};
use crate::report::{Key, Report};
use crate::service_credentials::ServiceCredential;
use crate::shard::Shard;
use crate::state::{Account, State, Tags, Tried, UNKNOWN_ACCOUNT};
use crate::version::VERSION;

fn now() -> DateTime<Utc> {
    "2026-11-01T12:00:00Z".parse().expect("a time")
}

fn day(day: u32) -> DateTime<Utc> {
    format!("2026-06-{day:02}T00:00:00Z").parse().expect("a time")
}

fn query(text: &str) -> Query {
    Query::parse(text).expect("a query")
}

/// The users' tags with the key `team`.
fn tags_of_team(by_user: BTreeMap<String, Vec<Tag>>) -> Tags {
    Tags { keys: ["team".to_owned()].into(), by_user, ..Tags::default() }
}

/// The account of a report file with one old key of this user, whom these tags belong to.
fn account_of(user: &str, name: &str, tags: &[(&str, &str)]) -> Account {
    let csv = format!(
        "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
         <root_account>,arn:aws:iam::123456789012:root,false,N/A,false,N/A\n\
         {user},arn:aws:iam::123456789012:user/{user},true,2020-01-01T00:00:00Z,false,N/A\n"
    );
    let tags: Vec<_> = tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    Account {
        report: Some(Report::parse(csv.as_bytes()).expect("a report").into()),
        generated: Some(now() - TimeDelta::hours(1)),
        tags: Some(tags_of_team([(user.to_owned(), tags)].into()).into()),
        ..named("123456789012", name)
    }
}

/// An account without a report whose name is known. Empty: it has none.
fn named(id: &str, name: &str) -> Account {
    let mut account = Account::pending(id, name);
    account.refresh.name = Tried::Ok;
    account
}

/// The page of a report file whose one user is `user` with this path, in an account of this name.
fn page_of(account: &str, user: &str, path: &str, asked: &str) -> String {
    let csv = format!(
        "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
         <root_account>,arn:aws:iam::123456789012:root,false,N/A,false,N/A\n\
         {user},arn:aws:iam::123456789012:user{path}{user},true,2020-01-01T00:00:00Z,false,N/A\n"
    );
    let tags = [(user.to_owned(), vec![("team".into(), "<b>\"&'".repeat(50).into())])].into();
    let account = Account {
        report: Some(Report::parse(csv.as_bytes()).expect("a report").into()),
        tags: Some(tags_of_team(tags).into()),
        ..named("123456789012", account)
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
    let page = page::render(&settings(), &snapshot(state, config), &query(asked));
    assert_tables_are_whole(&page);
    page
}

/// Every row of a table has as many cells as the first, which has the headings.
fn assert_tables_are_whole(page: &str) {
    for table in page.split("<table").skip(1) {
        let (table, _) = table.split_once("</table>").expect("an end");
        let rows = table.split("<tr>").skip(1);
        let cells = |row: &str| row.matches("</th>").count() + row.matches("</td>").count();
        let cells: Vec<usize> = rows.map(cells).collect();
        assert!(cells.iter().all(|count| *count == cells[0]), "{cells:?} in {table}");
    }
}

/// An account of one user with this key.
fn account(id: &str, key: &str) -> Account {
    let csv = format!(
        "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
         <root_account>,arn:aws:iam::{id}:root,false,N/A,false,N/A\n\
         a,arn:aws:iam::{id}:user/a,{key},false,N/A\n"
    );
    let report = Some(Report::parse(csv.as_bytes()).expect("a report").into());
    Account { report, ..named(id, "") }
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
            listed_with: None,
        };
        ("a".to_owned(), credential)
    });
    let mut account = account("123456789012", "true,2020-01-01T00:00:00Z");
    account.generated = Some(now());
    account.service_credentials = Some(Arc::new(credentials.collect()));
    account
}

/// The account of a report file with one young key of this user.
fn young(user: &str, tags: &[(&str, &str)]) -> Account {
    let csv = format!(
        "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n\
         <root_account>,arn:aws:iam::123456789012:root,false,N/A,false,N/A\n\
         {user},arn:aws:iam::123456789012:user/{user},true,2026-10-30T00:00:00Z,false,N/A\n"
    );
    let report = Some(Report::parse(csv.as_bytes()).expect("a report").into());
    Account { report, ..account_of(user, "", tags) }
}

/// The page of the first key of the only user of a report with this row after the user's name and ARN:
/// whether each key is active, its rotation, and its last use.
fn page_of_key(row: &str) -> String {
    page_of_its_key(account_of_keys(row), Config::default())
}

/// An account whose user `a` has these columns of both keys.
fn account_of_keys(row: &str) -> Account {
    let columns = [1, 2].map(|slot| {
        format!("access_key_{slot}_active,access_key_{slot}_last_rotated,access_key_{slot}_last_used_date")
    });
    let csv = format!("user,arn,{}\na,arn:aws:iam::123456789012:user/a,{row}\n", columns.join(","));
    let report = Some(Report::parse(csv.as_bytes()).expect("a report").into());
    Account { report, generated: Some(now()), ..Account::pending("123456789012", "") }
}

/// The page of the key of the account's user.
fn page_of_its_key(account: Account, config: Config) -> String {
    let state = State::new([account.into()], Tried::Ok, true);
    let asked = query("account=123456789012&user=a&key=1");
    match key::render(&settings(), &snapshot(state, config), &asked) {
        key::KeyPage::Found(page) => page,
        key::KeyPage::Missing(page) | key::KeyPage::Invalid(page) => panic!("{page}"),
    }
}
