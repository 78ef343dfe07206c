//! Confirmation and tags: the calls beyond the report, their users, and their effect.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use iam_key_exporter::check::{self, UnrotatedCount};
use iam_key_exporter::clock::Clock;
use iam_key_exporter::config::Config;
use iam_key_exporter::failure::{Failure, Reason};
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::metrics::page;
use iam_key_exporter::refresh::Schedule;
use iam_key_exporter::refresh::faults::Detail;
use iam_key_exporter::state::{Account, State, Tried};
use tokio::time::{Instant, sleep};

use crate::support::answers::{error, generating, keys, report_at, tags};
use crate::support::exporter::value;
use crate::support::fake_aws::{ACCOUNT, FakeAws, account};
use crate::support::protocol::{Answer, Request};
use crate::support::refresh::{
    Subject, only_target, parse, published, reason, refresh as refresh_once, run,
};
use crate::support::report::{OLD, of_one, report, row, unused};
use crate::support::time::{beginning, clock};

/// A report with a user for each name: those in `old` have an old key, the others a new one.
fn users(old: &[&str], young: &[&str], generated: DateTime<Utc>) -> Answer {
    let recent = (Utc::now() - TimeDelta::days(1)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let line = |name: &&str, rotated| row(ACCOUNT, "/", name, &unused(rotated));
    let old = old.iter().map(|name| line(name, OLD));
    let young = young.iter().map(|name| line(name, &recent));
    report_at(&report(old.chain(young)), generated)
}

/// A live AWS and an account of it.
async fn subject(config: &str, script: impl FnMut(&str) -> Answer + Send + 'static) -> Subject {
    Subject::new(parse(config), script).await
}

impl Subject {
    /// Refreshes once, and returns the calls.
    async fn refresh(&mut self) -> Vec<String> {
        let (calls, ..) = self.outcome().await;
        calls
    }

    async fn outcome(&mut self) -> (Vec<String>, Option<Failure>, Option<Failure>) {
        let (mut outcome, calls) = self.refresh_within(Duration::from_secs(20)).await;
        assert_eq!(outcome.failure, None);
        let mut failure = |detail| outcome.detail_failures.remove(&detail);
        (calls, failure(Detail::Confirmation), failure(Detail::Tags))
    }

    fn page(&self) -> String {
        let state = State::new([Arc::new(self.account.clone())], Tried::Ok, true);
        page::text(&state, &self.config, &Filter::default(), Utc::now())
    }

    fn unrotated(&self) -> Option<f64> {
        value(&self.page(), "iam_unrotated_keys_total")
    }
}

/// Two users with old keys and one with a new one, who all have the keys that the report says, unless
/// `changed` says otherwise. The report was generated an hour ago.
fn company(
    changed: impl Fn(&str) -> Option<Answer> + Send + 'static,
) -> impl FnMut(&str) -> Answer + Send + 'static {
    let generated = Utc::now() - TimeDelta::hours(1);
    move |call| match call.split_once(' ') {
        None => users(&["alpha", "beta"], &["gamma"], generated),
        Some((_, user)) => changed(user).unwrap_or_else(|| keys(&[("AKIAOLD", "Active", OLD)])),
    }
}

fn now() -> String {
    Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[tokio::test]
async fn each_flagged_user_costs_one_call_a_refresh_and_nobody_else_one() {
    let mut subject = subject("", company(|_| None)).await;
    let asked = ["ListAccessKeys alpha", "ListAccessKeys beta"];
    assert_eq!(subject.refresh().await, [&["GetCredentialReport"][..], &asked].concat());
    for _ in 0..3 {
        assert_eq!(subject.refresh().await, asked);
    }
    assert_eq!(subject.unrotated(), Some(2.0));
    let info = "iam_access_key_info{account_id=\"123456789012\",user=\"alpha\",key=\"1\",access_key_id=\"AKIAOLD\"";
    assert_eq!(value(&subject.page(), info), Some(1.0));
    let available = "iam_exporter_confirmation_available{account_id=\"123456789012\"}";
    assert_eq!(value(&subject.page(), available), Some(1.0));
}

/// After a good refresh, this answer about alpha clears its alert at the next refresh. When a later
/// call gives the first answer again, so does the page.
async fn cleared_by(answer: impl Fn() -> Answer + Send + 'static) -> String {
    let mut subject = subject("", company(|_| None)).await;
    subject.refresh().await;
    assert_eq!(subject.unrotated(), Some(2.0));
    subject.follow(company(move |user| (user == "alpha").then(&answer)));
    subject.refresh().await;
    assert_eq!(subject.unrotated(), Some(1.0));
    let page = subject.page();
    assert_eq!(subject.refresh().await, ["ListAccessKeys alpha", "ListAccessKeys beta"]);
    assert_eq!(subject.unrotated(), Some(1.0));
    subject.follow(company(|_| None));
    subject.refresh().await;
    assert_eq!(subject.unrotated(), Some(2.0));
    page
}

#[tokio::test]
async fn a_rotated_key_is_cleared() {
    let page = cleared_by(|| keys(&[("AKIANEW", "Active", &now())])).await;
    let age = "iam_access_key_age_days{account_id=\"123456789012\",user=\"alpha\",key=\"1\"}";
    assert_eq!(value(&page, age), Some(0.0));
}

#[tokio::test]
async fn a_deactivated_or_expired_key_is_cleared() {
    for status in ["Inactive", "Expired"] {
        let page = cleared_by(move || keys(&[("AKIAOLD", status, OLD)])).await;
        let active = "iam_access_key_active{account_id=\"123456789012\",user=\"alpha\",key=\"1\"}";
        assert_eq!(value(&page, active), Some(0.0));
    }
}

#[tokio::test]
async fn a_deleted_key_is_gone_and_its_user_stays() {
    let page = cleared_by(|| keys(&[])).await;
    let of_alpha = |name| format!("{name}{{account_id=\"123456789012\",user=\"alpha\"");
    assert_eq!(value(&page, &of_alpha("iam_access_key_active")), None);
    assert_eq!(value(&page, &of_alpha("iam_user_info")), Some(1.0));
}

#[tokio::test]
async fn a_deleted_user_is_gone() {
    let page = cleared_by(|| error(404, "NoSuchEntity")).await;
    assert!(!page.contains("alpha"));
    assert_eq!(value(&page, "iam_users"), Some(2.0));
}

#[tokio::test]
async fn a_new_report_is_confirmed_at_once_with_any_clocks() {
    let mut subject = subject("", company(|_| Some(error(404, "NoSuchEntity")))).await;
    subject.refresh().await;
    assert_eq!(subject.unrotated(), Some(0.0));

    // Generated before the calls or, as far as clocks agree, after them: earlier answers do not
    // count.
    for minutes in [-10, 4] {
        subject.account.generated = Some(Utc::now() - TimeDelta::hours(5));
        let generated = Utc::now() + TimeDelta::minutes(minutes);
        subject.follow(move |call: &str| match call {
            "GetCredentialReport" => users(&["alpha", "beta"], &["gamma"], generated),
            "ListAccessKeys alpha" => error(404, "NoSuchEntity"),
            _ => error(403, "AccessDenied"),
        });
        let calls = subject.refresh().await;
        assert_eq!(calls, ["GetCredentialReport", "ListAccessKeys alpha", "ListAccessKeys beta"]);
        assert_eq!(subject.unrotated(), Some(1.0), "for beta the report counts");
    }
}

#[tokio::test]
async fn a_report_that_is_younger_than_the_confirmation_counts_and_is_confirmed_again() {
    let mut subject = subject("", company(|_| Some(error(404, "NoSuchEntity")))).await;
    subject.refresh().await;
    subject.account.generated = Some(Utc::now() - TimeDelta::hours(5));
    let after = Utc::now() + TimeDelta::minutes(1);
    subject.follow(move |call: &str| match call {
        "GetCredentialReport" => users(&["alpha"], &["gamma"], after),
        _ => keys(&[("AKIAOLD", "Active", OLD)]),
    });
    assert_eq!(subject.refresh().await, ["GetCredentialReport", "ListAccessKeys alpha"]);
    assert_eq!(subject.unrotated(), Some(1.0));
}

#[tokio::test]
async fn without_the_permission_the_reports_word_stands() {
    let denied = || Some(error(403, "AccessDenied"));
    let mut subject = subject("", company(move |_| denied())).await;
    let (calls, confirmation, _) = subject.outcome().await;
    assert_eq!(calls, ["GetCredentialReport", "ListAccessKeys alpha", "ListAccessKeys beta"]);
    assert_eq!(confirmation.map(|failure| failure.reason), Some(Reason::AccessDenied));
    assert_eq!(subject.unrotated(), Some(2.0));
    let page = subject.page();
    let available = "iam_exporter_confirmation_available{account_id=\"123456789012\"}";
    assert_eq!(value(&page, available), Some(0.0));
    assert_eq!(value(&page, "iam_refresh_success"), Some(1.0));

    subject.follow(company(|_| None));
    assert_eq!(subject.outcome().await.1, None);
    assert_eq!(value(&subject.page(), available), Some(1.0));
}

#[tokio::test]
async fn only_an_answer_of_aws_is_a_confirmation() {
    let mut subject = subject("", company(|_| Some(error(403, "AccessDenied")))).await;
    subject.refresh().await;
    assert_eq!(subject.account.refresh.confirmed, None);
    subject.follow(company(|_| None));
    subject.refresh().await;
    let confirmed = subject.account.refresh.confirmed;
    assert!(confirmed.is_some_and(|time| Utc::now() - time < TimeDelta::minutes(1)));
    subject.follow(company(|_| Some(error(403, "AccessDenied"))));
    subject.refresh().await;
    assert_eq!(subject.account.refresh.confirmed, confirmed);
}

#[tokio::test]
async fn a_user_whom_aws_cannot_answer_for_keeps_nobody_waiting() {
    let odd = |user: &str| (user == "alpha").then(|| error(400, "ValidationError"));
    let mut subject = subject("", company(odd)).await;
    let (calls, confirmation, _) = subject.outcome().await;
    assert_eq!(calls[1..], ["ListAccessKeys alpha", "ListAccessKeys beta"]);
    assert_eq!(confirmation.map(|failure| failure.reason), Some(Reason::ServiceError));
    assert!(subject.page().contains("user=\"beta\",key=\"1\",access_key_id=\"AKIAOLD\""));
    assert_eq!(value(&subject.page(), "iam_exporter_confirmation_available"), Some(0.0));
}

/// Users by the names `u0` to `u9`, all with old keys. `answer` is AWS's answer about each.
fn ten(
    answer: impl Fn(&str) -> Answer + Send + 'static,
) -> impl FnMut(&str) -> Answer + Send + 'static {
    let generated = Utc::now() - TimeDelta::hours(1);
    move |call| match call.split_once(' ') {
        None => {
            let names: Vec<String> = (0..10).map(|number| format!("u{number}")).collect();
            users(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[], generated)
        }
        Some((_, user)) => answer(user),
    }
}

#[tokio::test]
async fn three_failures_in_a_row_end_it_and_the_others_come_first_the_next_time() {
    let denied = |user: &str| match user {
        "u0" | "u1" | "u2" => error(403, "AccessDenied"),
        _ => keys(&[("AKIAOLD", "Active", OLD)]),
    };
    let mut subject = subject("", ten(denied)).await;
    assert_eq!(subject.refresh().await.len(), 1 + 3);
    let calls = subject.refresh().await;
    assert_eq!(calls[0], "ListAccessKeys u3");
    assert_eq!(calls[9], "ListAccessKeys u2");
    assert_eq!(subject.page().matches("access_key_id=\"AKIAOLD\"").count(), 7);
}

#[tokio::test]
async fn one_throttled_call_ends_it() {
    let mut subject = subject("", ten(|_| error(400, "Throttling"))).await;
    let calls = subject.refresh().await;
    // The SDK tries each call three times.
    assert_eq!(calls[1..], ["ListAccessKeys u0"; 3]);
}

#[tokio::test]
async fn a_key_that_cannot_be_read_does_not_vanish() {
    let odd = "<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata><member>\
               <AccessKeyId>AKIAODD</AccessKeyId></member></AccessKeyMetadata>\
               </ListAccessKeysResult></ListAccessKeysResponse>";
    let mut subject = subject("", company(move |_| Some(Answer::Reply(200, odd.to_owned())))).await;
    let (_, confirmation, _) = subject.outcome().await;
    assert_eq!(confirmation.map(|failure| failure.reason), Some(Reason::ServiceError));
    assert_eq!(subject.unrotated(), Some(2.0));
}

#[tokio::test]
async fn keys_of_another_user_are_no_answer() {
    let answer = |name: &'static str| {
        move |_: &str| {
            let Answer::Reply(code, text) = keys(&[("AKIANEW", "Active", &now())]) else {
                unreachable!()
            };
            let member = format!("<member><UserName>{name}</UserName>");
            Some(Answer::Reply(code, text.replace("<member>", &member)))
        }
    };
    let mut subject = subject("", company(answer("somebody"))).await;
    let (_, confirmation, _) = subject.outcome().await;
    let message = confirmation.expect("a failure").message;
    assert!(message.contains("keys of another user"), "{message}");
    assert_eq!(subject.unrotated(), Some(2.0));
    subject.follow(company(answer("alpha")));
    subject.refresh().await;
    assert_eq!(subject.unrotated(), Some(1.0));
}

#[tokio::test]
async fn an_answer_that_is_cut_off_clears_nothing() {
    let Answer::Reply(_, whole) = keys(&[("AKIAOLD", "Active", OLD)]) else { unreachable!() };
    let member = whole.find("<member>").expect("a key");
    let end = whole.len();
    let mut answers: Vec<String> =
        [member, member + 8, end - 30, end - 1].map(|cut| whole[..cut].to_owned()).into();
    answers.extend([
        "<ListAccessKeysResponse><ListAccessKeysResult/></ListAccessKeysResponse>".to_owned(),
        whole.replace("<member>", ""),
        whole.replace("<IsTruncated>", "<IsTruncatee>"),
        whole.replace("false", "true"),
    ]);
    for answer in answers {
        let cut = Answer::Reply(200, answer.clone());
        let mut subject = subject("", company(move |_| Some(cut.clone()))).await;
        let (_, confirmation, _) = subject.outcome().await;
        let failure = confirmation.expect(&answer);
        assert_eq!(failure.reason, Reason::ServiceError, "{answer}");
        assert!(failure.message.contains("a response that cannot be read"), "{failure}");
        assert_eq!(subject.unrotated(), Some(2.0), "{answer}");
    }
}

#[tokio::test]
async fn a_call_that_hangs_as_long_as_it_can_is_a_failure() {
    let mut subject = subject("", company(|_| Some(Answer::Hang))).await;
    let (outcome, _) = subject.refresh_within(Duration::from_secs(7)).await;
    assert_eq!(reason(&outcome, Detail::Confirmation), Some(Reason::Timeout));
    assert_eq!(subject.account.refresh.confirmation, Tried::Failed);
}

#[tokio::test]
async fn without_confirmation_earlier_answers_do_not_count() {
    let mut subject = subject("", company(|_| Some(keys(&[])))).await;
    subject.refresh().await;
    assert_eq!(subject.unrotated(), Some(0.0));
    subject.config = parse("confirm: { enabled: false }");
    subject.refresh().await;
    assert_eq!(subject.unrotated(), Some(2.0), "the report counts");
}

#[tokio::test]
async fn tags_that_were_not_asked_for_are_not_empty_but_absent() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let mut subject = subject(TAGS, move |call: &str| match call {
        "GetCredentialReport" => users(&["alpha"], &[], generated),
        _ => tags(&[("alpha", "team", "payments")], None),
    })
    .await;
    subject.refresh().await;
    let more = "labels: { user_tags: [team, owner] }";
    subject.config = parse(more);
    assert_eq!(value(&subject.page(), "iam_user_tags"), None);
    subject.refresh().await;
    assert!(subject.page().contains("tag_team=\"payments\",tag_owner=\"\"} 1"));
}

#[tokio::test]
async fn exempt_keys_and_those_with_a_longer_max_age_are_not_asked_about() {
    let config = "rotation: { rules: [{ match: { user: alpha }, exempt: { reason: x } }, { match: { user: beta }, max_age: 36500d }] }";
    let mut subject = subject(config, company(|_| None)).await;
    assert_eq!(subject.refresh().await, ["GetCredentialReport"]);
    assert_eq!(subject.unrotated(), Some(0.0));
}

#[tokio::test]
async fn confirmation_can_be_turned_off() {
    let mut subject = subject("confirm: { enabled: false }", company(|_| None)).await;
    assert_eq!(subject.refresh().await, ["GetCredentialReport"]);
    assert_eq!(subject.unrotated(), Some(2.0));
    assert_eq!(value(&subject.page(), "iam_exporter_confirmation_available"), None);
}

const TAGS: &str = "confirm: { enabled: false }\nlabels: { user_tags: [Team] }\n";

#[tokio::test]
async fn tags_are_read_in_pages_once_for_each_report() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let mut subject = subject(TAGS, move |call: &str| match call {
        "GetCredentialReport" => users(&["alpha"], &["gamma"], generated),
        "GetAccountAuthorizationDetails" => tags(&[("alpha", "team", "payments")], Some("m1")),
        _ => tags(&[("gamma", "other", "x")], None),
    })
    .await;
    let details = ["GetAccountAuthorizationDetails", "GetAccountAuthorizationDetails m1"];
    assert_eq!(subject.refresh().await, [&["GetCredentialReport"][..], &details].concat());
    assert_eq!(subject.refresh().await, [""; 0]);
    let page = subject.page();
    let tag = |user, value| {
        format!(
            "iam_user_tags{{account_id=\"123456789012\",user=\"{user}\",tag_Team=\"{value}\"}} 1\n"
        )
    };
    assert!(page.contains(&tag("alpha", "payments")), "{page}");
    assert!(page.contains(&tag("gamma", "")), "a join loses nobody");
}

#[tokio::test]
async fn tags_are_read_again_where_the_configuration_asks_for_others() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let mut subject = subject(TAGS, move |call: &str| match call {
        "GetCredentialReport" => users(&["alpha"], &[], generated),
        _ => tags(&[("alpha", "tier", "gold")], None),
    })
    .await;
    subject.refresh().await;
    let rule = "rotation: { rules: [{ match: { tags: { tier: gold } }, max_age: 36500d }] }";
    subject.config = parse(rule);
    assert_eq!(subject.refresh().await, ["GetAccountAuthorizationDetails"]);
    assert_eq!(subject.unrotated(), Some(0.0));
}

#[tokio::test]
async fn without_the_permission_there_are_no_tags_and_all_else_is_as_before() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let mut subject = subject(TAGS, move |call: &str| match call {
        "GetCredentialReport" => users(&["alpha"], &[], generated),
        _ => error(403, "AccessDenied"),
    })
    .await;
    let (_, _, tags) = subject.outcome().await;
    assert_eq!(tags.map(|failure| failure.reason), Some(Reason::AccessDenied));
    let page = subject.page();
    assert_eq!(value(&page, "iam_exporter_tags_available"), Some(0.0));
    assert_eq!(value(&page, "iam_user_tags"), None);
    assert_eq!(value(&page, "iam_unrotated_keys_total"), Some(1.0));
}

/// The account of alpha and beta, whose keys are young, with this list of users, and this answer about the
/// keys of each.
fn listing(
    list: &'static [(&str, &str, &str)],
    answer: impl Fn() -> Answer + Send + 'static,
    generated: DateTime<Utc>,
) -> impl FnMut(&str) -> Answer + Send + 'static {
    move |call: &str| match call {
        "GetCredentialReport" => users(&[], &["alpha", "beta"], generated),
        "GetAccountAuthorizationDetails" => tags(list, None),
        _ => answer(),
    }
}

const LABELS: &str = "labels: { user_tags: [team] }\n";
const BOTH: &[(&str, &str, &str)] = &[("alpha", "team", "payments"), ("beta", "team", "web")];

/// The team of a user by the page. Without a series, it is not known.
fn team(page: &str, user: &str) -> Option<String> {
    let start = format!("iam_user_tags{{account_id=\"123456789012\",user=\"{user}\",tag_team=\"");
    let team = page.lines().find_map(|line| line.strip_prefix(&start))?;
    Some(team.trim_end_matches("\"} 1").to_owned())
}

#[tokio::test]
async fn a_user_whom_the_list_of_users_lacks_has_unknown_tags_and_not_none() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let exists = || keys(&[("AKIANEW", "Active", &now())]);
    let available = "iam_exporter_tags_available";
    for (list, alpha) in [(&[][..], None), (&BOTH[..1], Some("payments".to_owned()))] {
        let mut subject = subject(LABELS, listing(list, exists, generated)).await;
        for _ in 0..2 {
            let (_, _, tags) = subject.outcome().await;
            let failure = tags.expect("a failure");
            assert_eq!(failure.reason, Reason::ServiceError);
            assert!(failure.message.contains("lacks users"), "{failure}");
            let page = subject.page();
            assert_eq!(value(&page, available), Some(0.0));
            assert_eq!((team(&page, "alpha"), team(&page, "beta")), (alpha.clone(), None));
            assert_eq!(value(&page, "iam_users"), Some(2.0));
        }
        subject.follow(listing(BOTH, exists, generated));
        assert_eq!(subject.outcome().await.2, None, "it is tried again");
        let page = subject.page();
        assert_eq!(value(&page, available), Some(1.0));
        assert_eq!(team(&page, "beta").as_deref(), Some("web"));
    }
}

#[tokio::test]
async fn a_user_who_is_gone_needs_no_tags() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let gone = || error(404, "NoSuchEntity");
    // Without confirmation, the report says which users there are.
    for (confirm, users) in [("", 1.0), ("confirm: { enabled: false }\n", 2.0)] {
        let config = format!("{confirm}{LABELS}");
        let mut subject = subject(&config, listing(&BOTH[..1], gone, generated)).await;
        let (calls, _, tags) = subject.outcome().await;
        assert_eq!(tags, None);
        assert_eq!(calls.last().map(String::as_str), Some("ListAccessKeys beta"));
        let page = subject.page();
        assert_eq!(value(&page, "iam_exporter_tags_available"), Some(1.0), "{config}");
        assert_eq!(value(&page, "iam_users"), Some(users), "{config}");
        assert_eq!(subject.refresh().await, [""; 0], "once for each report");
    }
}

#[tokio::test]
async fn of_a_user_who_was_gone_and_is_there_again_the_tags_are_read() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let answers = move |list: &'static [(&str, &str, &str)], keys_of_beta: fn() -> Answer| {
        move |call: &str| match call {
            "GetCredentialReport" => users(&["beta"], &["alpha"], generated),
            "GetAccountAuthorizationDetails" => tags(list, None),
            _ => keys_of_beta(),
        }
    };
    let mut subject = subject(LABELS, answers(&BOTH[..1], || error(404, "NoSuchEntity"))).await;
    subject.refresh().await;
    assert_eq!(value(&subject.page(), "iam_users"), Some(1.0));
    subject.follow(answers(BOTH, || keys(&[("AKIAOLD", "Active", OLD)])));
    subject.refresh().await;
    let page = subject.page();
    let seen = (value(&page, "iam_users"), value(&page, "iam_exporter_tags_available"));
    assert_eq!(seen, (Some(2.0), Some(0.0)));
    subject.refresh().await;
    let page = subject.page();
    assert_eq!(value(&page, "iam_exporter_tags_available"), Some(1.0));
    assert_eq!(team(&page, "beta").as_deref(), Some("web"));
}

#[tokio::test]
async fn several_users_who_are_gone_need_no_tags_in_the_same_refresh() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let all = ["alpha", "b", "c", "d", "e", "f", "g", "h"];
    let answers = move |call: &str| match call {
        "GetCredentialReport" => users(&[], &all, generated),
        "GetAccountAuthorizationDetails" => tags(&BOTH[..1], None),
        _ => error(404, "NoSuchEntity"),
    };
    let mut subject = subject(LABELS, answers).await;
    assert_eq!(subject.outcome().await.2, None);
    assert_eq!(value(&subject.page(), "iam_exporter_tags_available"), Some(1.0));
    assert_eq!(value(&subject.page(), "iam_users"), Some(1.0));
}

/// An account of alpha, who is there, and of 40 users who were deleted since the report.
fn mostly_gone() -> FakeAws {
    let users = (0..40).map(|number| format!("gone-{number:02}"));
    let users = users.chain(["alpha".to_owned()]);
    let recent = unused(&(Utc::now() - TimeDelta::days(1)).format("%FT%TZ").to_string());
    let csv = report(users.map(|user| row(ACCOUNT, "/", &user, &recent)));
    let generated = Utc::now() - TimeDelta::hours(1);
    FakeAws::new(account(move |call: &str| match call {
        "GetCredentialReport" => report_at(&csv, generated),
        "GetAccountAuthorizationDetails" => tags(&BOTH[..1], None),
        _ => error(404, "NoSuchEntity"),
    }))
}

#[tokio::test(start_paused = true)]
async fn each_refresh_asks_about_other_users_who_may_be_gone() {
    for confirm in ["", "confirm: { enabled: false }\n"] {
        let (aws, config) = (mostly_gone(), parse(&format!("{confirm}{LABELS}")));
        let source = aws.source();
        let target = only_target(&source);
        let mut account = Account::pending(&target.id, &target.name);
        let mut asked = Vec::new();
        // Time for half of them, at 5 calls a second.
        for refresh in 1..=3 {
            let limit = Duration::from_secs(9);
            let outcome = refresh_once(&source, &target, &account, &config, limit).await;
            assert_eq!(outcome.failure, None);
            account = outcome.account;
            asked.extend(aws.calls().into_iter().filter(|(_, call)| call.contains(' ')));
            if !outcome.detail_failures.contains_key(&Detail::Tags) {
                break;
            }
            assert!(refresh < 3, "{confirm}{} were asked about", asked.len());
        }
        let mut users: Vec<String> = asked.into_iter().map(|(_, call)| call).collect();
        let calls = users.len();
        users.sort();
        users.dedup();
        // One call may be cut off.
        assert!(users.len() == 40 && calls <= 41, "{confirm}{calls} calls about {}", users.len());
        let state = State::new([Arc::new(account)], Tried::Ok, true);
        let page = page::text(&state, &config, &Filter::default(), Utc::now());
        assert_eq!(value(&page, "iam_exporter_tags_available"), Some(1.0), "{confirm}");
    }
}

#[tokio::test(start_paused = true)]
async fn check_asks_about_every_user_who_may_be_gone() {
    let config = "rotation: { rules: [{ match: { tags: { team: web } }, max_age: 30d }] }\n";
    for confirm in ["", "confirm: { enabled: false }\n"] {
        let config = Arc::new(parse(&format!("{confirm}{config}")));
        let source = mostly_gone().source();
        let outcome = check::run(source, &Schedule::default(), &Clock::system(), &config).await;
        let outcome = outcome.expect("an outcome");
        let nothing = UnrotatedCount::default();
        let summary = outcome.summary(nothing);
        assert_eq!(outcome.exit_code(nothing), 0, "{confirm}{summary}");
        let note =
            "; users who are gone since the report, or have another name until the next one: 40";
        assert_eq!(summary.contains(note), confirm.is_empty(), "{summary}");
    }
}

#[tokio::test]
async fn a_user_who_may_be_gone_has_unknown_tags_until_aws_says_it() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let denied = || error(403, "AccessDenied");
    let mut subject = subject(LABELS, listing(&BOTH[..1], denied, generated)).await;
    let (_, _, tags) = subject.outcome().await;
    assert_eq!(tags.map(|failure| failure.reason), Some(Reason::AccessDenied));
    let page = subject.page();
    assert_eq!((value(&page, "iam_users"), team(&page, "beta")), (Some(2.0), None));
    assert_eq!(value(&page, "iam_exporter_tags_available"), Some(0.0));
}

#[tokio::test]
async fn the_tags_of_a_user_whom_a_later_list_lacks_stay() {
    let exists = || keys(&[("AKIANEW", "Active", &now())]);
    let generated = Utc::now() - TimeDelta::hours(1);
    let mut subject = subject(LABELS, listing(BOTH, exists, generated)).await;
    assert_eq!(subject.outcome().await.2, None);
    subject.account.generated = Some(Utc::now() - TimeDelta::hours(5));
    subject.follow(listing(&[], exists, Utc::now()));
    assert!(subject.outcome().await.2.is_some());
    let page = subject.page();
    assert_eq!(value(&page, "iam_exporter_tags_available"), Some(0.0));
    let teams = ["alpha", "beta"].map(|user| team(&page, user));
    assert_eq!(teams, [Some("payments".to_owned()), Some("web".to_owned())]);
}

#[tokio::test]
async fn the_known_tags_of_a_user_who_is_gone_stay_while_the_report_has_the_user() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let exists = || keys(&[("AKIANEW", "Active", &now())]);
    let config = format!("confirm: {{ enabled: false }}\n{LABELS}");
    let mut subject = subject(&config, listing(BOTH, exists, generated)).await;
    assert_eq!(subject.outcome().await.2, None);
    subject.account.generated = Some(Utc::now() - TimeDelta::hours(5));
    subject.follow(move |call: &str| match call {
        "GetCredentialReport" => users(&[], &["alpha", "beta"], Utc::now()),
        "GetAccountAuthorizationDetails" => tags(&[], None),
        "ListAccessKeys alpha" => error(404, "NoSuchEntity"),
        _ => exists(),
    });
    // Because of beta, the list is read again.
    for _ in 0..2 {
        let (calls, _, tags) = subject.outcome().await;
        assert!(calls.contains(&"GetAccountAuthorizationDetails".to_owned()) && tags.is_some());
        assert_eq!(team(&subject.page(), "alpha").as_deref(), Some("payments"));
    }
}

#[tokio::test]
async fn an_old_report_that_is_better_than_none_gets_its_tags() {
    let generated = Utc::now() - TimeDelta::hours(5);
    let mut subject = subject(TAGS, move |call: &str| match call {
        "GetCredentialReport" => users(&["alpha"], &[], generated),
        "GenerateCredentialReport" => error(403, "AccessDenied"),
        _ => tags(&[("alpha", "team", "payments")], None),
    })
    .await;
    let asked =
        ["GetCredentialReport", "GenerateCredentialReport", "GetAccountAuthorizationDetails"];
    let (outcome, calls) = subject.refresh_within(Duration::from_secs(20)).await;
    assert_eq!(outcome.failure.map(|failure| failure.reason), Some(Reason::AccessDenied));
    assert_eq!(calls, asked);
    assert!(subject.page().contains("tag_Team=\"payments\""));
}

/// 3,000 flagged users at 5 calls a second are more than fits into the two minutes of a refresh.
#[tokio::test(start_paused = true)]
async fn of_3000_flagged_users_each_has_its_turn_and_nobody_waits_for_them() {
    let user = |number| row(ACCOUNT, "/", &format!("user-{number:04}"), &unused(OLD));
    let csv = report((0..3_000).map(user));
    // A report that does not age within the test, so that every call is a confirmation.
    let aws = FakeAws::new(account(move |call: &str| match call {
        "GetCredentialReport" => report_at(&csv, beginning()),
        _ => keys(&[("AKIAOLD", "Active", OLD)]),
    }));
    let start = Instant::now();
    let store = run(aws.source(), Config::default());

    // The page shows the report long before all is confirmed.
    let state = published(&store, |state| state.ready).await;
    assert!(start.elapsed() <= Duration::from_secs(11), "{:?}", start.elapsed());
    assert!(state.accounts[0].report.is_some());

    sleep(Duration::from_secs(3600)).await;
    let account = store.snapshot().accounts[0].clone();
    let attempt = account.refresh.last.expect("a refresh");
    assert_eq!(attempt.failure, None);
    assert!(attempt.duration <= Schedule::default().timeout, "{:?}", attempt.duration);
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    let calls = aws.calls();
    for (_, call) in &calls {
        if let Some((_, user)) = call.split_once(' ') {
            *asked.entry(user.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(asked.len(), 3_000, "everybody had a turn");
    let (least, most) = (asked.values().min(), asked.values().max());
    assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{least:?} {most:?}");
    let times: Vec<Instant> =
        calls.iter().filter(|(_, call)| call.contains(' ')).map(|(time, _)| *time).collect();
    let too_fast =
        times.windows(7).filter(|seven| seven[6] - seven[0] < Duration::from_secs(1)).count();
    assert_eq!(too_fast, 0, "more than 5 calls in a second, and one at its edge");
}

#[tokio::test(start_paused = true)]
async fn throttled_details_are_tried_less_often_and_the_account_is_still_contacted() {
    let by_name = "rotation: { rules: [{ match: { account: prod-* }, max_age: 30d }] }";
    for (operation, config) in [("ListAccessKeys", ""), ("ListAccountAliases", by_name)] {
        let (csv, clock) = (of_one("alpha"), clock());
        let mut usual = account(move |call: &str| match call {
            "GetCredentialReport" => report_at(&csv, clock.now()),
            _ => keys(&[("AKIAOLD", "Active", OLD)]),
        });
        let tries = Arc::new(Mutex::new(Vec::new()));
        let tried = tries.clone();
        let aws = FakeAws::new(move |request: &Request| {
            if request.operation != operation {
                return usual(request);
            }
            tried.lock().expect("the tries").push(Instant::now());
            (Duration::ZERO, error(400, "Throttling"))
        });
        run(aws.source(), parse(config));
        sleep(Duration::from_secs(12 * 3600)).await;
        let calls = aws.calls();
        let contacts = calls.iter().filter(|(_, call)| call == "GetCallerIdentity").count();
        assert!(contacts >= 144, "{contacts} in 12 hours, {operation}");
        let mut refreshes = std::mem::take(&mut *tries.lock().expect("the tries"));
        // The SDK's retries belong to the first attempt.
        refreshes.dedup_by(|later, first| *later - *first < Duration::from_secs(30));
        assert!((40..=120).contains(&refreshes.len()), "{} of 144, {operation}", refreshes.len());
        // The first regular refresh may come any time after the first pass.
        for pair in refreshes[1..].windows(2) {
            let gap = pair[1] - pair[0];
            assert!(gap >= Duration::from_secs(4 * 60), "{gap:?}, {operation}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn throttled_tags_do_not_keep_the_account_from_being_contacted() {
    let (csv, clock) = (of_one("alpha"), clock());
    let aws = FakeAws::new(account(move |call: &str| match call {
        "GetCredentialReport" => report_at(&csv, clock.now()),
        call if call.starts_with("GetAccountAuthorizationDetails") => error(400, "Throttling"),
        _ => keys(&[("AKIAOLD", "Active", OLD)]),
    }));
    run(aws.source(), parse("labels: { user_tags: [team] }"));
    sleep(Duration::from_secs(3600)).await;
    let contacts = aws.calls().iter().filter(|(_, call)| call == "GetCallerIdentity").count();
    assert!(contacts >= 12, "{contacts} in an hour");
}

/// After a report of these users, the first with an old key, comes a report of root alone, with
/// this answer to calls about each user.
async fn emptied(
    config: &str,
    old: &'static [&'static str],
    answer: impl Fn() -> Answer + Send + 'static,
) -> Subject {
    let then = Utc::now() - TimeDelta::hours(5);
    let with_users = move |call: &str| match call {
        "GenerateCredentialReport" => generating("COMPLETE"),
        "GetCredentialReport" => users(old, &["beta"], then),
        _ => keys(&[("AKIAOLD", "Active", OLD)]),
    };
    let mut subject = subject(config, with_users).await;
    subject.refresh().await;
    let root = row(ACCOUNT, "/", "root", "false,N/A,N/A,N/A,N/A");
    let root = root.replacen("root,", "<root_account>,", 1).replace("user/root", "root");
    subject.follow(move |call: &str| match call {
        "GenerateCredentialReport" => generating("COMPLETE"),
        "GetCredentialReport" => report_at(&report([root.clone()]), Utc::now()),
        _ => answer(),
    });
    subject
}

impl Subject {
    async fn failure(&mut self) -> Option<(Reason, String)> {
        let (outcome, _) = self.refresh_within(Duration::from_secs(20)).await;
        outcome.failure.map(|failure| (failure.reason, failure.message))
    }

    fn number_of_users(&self) -> Option<f64> {
        value(&self.page(), "iam_users{")
    }
}

#[tokio::test]
async fn a_report_of_root_alone_is_taken_when_aws_has_said_that_the_users_are_gone() {
    let mut subject = emptied("", &["alpha"], || error(404, "NoSuchEntity")).await;
    let (reason, message) = subject.failure().await.expect("a failure");
    assert_eq!(reason, Reason::MalformedReport);
    assert!(message.contains("has no users"), "{message}");
    assert_eq!(subject.unrotated(), Some(0.0), "confirmation goes on");
    assert_eq!(subject.failure().await, None);
    assert_eq!(subject.number_of_users(), Some(0.0));
    let mut subject = emptied("", &[], || error(404, "NoSuchEntity")).await;
    assert_eq!(subject.failure().await, None, "no key is at stake");
    assert_eq!(subject.number_of_users(), Some(0.0));
}

#[tokio::test]
async fn a_report_of_root_alone_is_wrong_as_long_as_aws_knows_users() {
    for (config, old) in
        [("", &["alpha"][..]), ("", &[]), ("confirm: { enabled: false }", &["alpha"])]
    {
        let mut subject = emptied(config, old, || keys(&[("AKIAOLD", "Active", OLD)])).await;
        for _ in 0..3 {
            let (reason, _) = subject.failure().await.expect("a failure");
            assert_eq!(reason, Reason::MalformedReport);
            assert_eq!(subject.unrotated(), Some(old.len() as f64));
            assert_eq!(subject.number_of_users(), Some(1.0 + old.len() as f64));
        }
    }
}

#[tokio::test]
async fn a_report_of_root_alone_is_not_taken_while_aws_does_not_say_whether_users_are_gone() {
    let mut subject = emptied("", &[], || error(403, "AccessDenied")).await;
    let (reason, message) = subject.failure().await.expect("a failure");
    assert_eq!(reason, Reason::AccessDenied);
    assert!(message.contains("has not confirmed that they are gone"), "{message}");
    assert_eq!(subject.number_of_users(), Some(1.0));
}

#[tokio::test]
async fn a_flagged_user_whose_row_cannot_be_read_any_more_stays() {
    let then = Utc::now() - TimeDelta::hours(5);
    let mut subject = subject("confirm: { enabled: false }", move |call: &str| match call {
        "GenerateCredentialReport" => generating("COMPLETE"),
        _ => users(&["alpha"], &["beta"], then),
    })
    .await;
    subject.refresh().await;
    let broken = |call: &str| {
        if call == "GenerateCredentialReport" {
            return generating("COMPLETE");
        }
        let beta = row(ACCOUNT, "/", "beta", &unused(OLD));
        report_at(&report([beta, "alpha,arn".to_owned()]), Utc::now())
    };
    subject.follow(broken);
    subject.refresh().await;
    assert_eq!(subject.unrotated(), Some(2.0));
    assert_eq!(value(&subject.page(), "iam_credential_report_rejected_rows"), Some(1.0));
}

#[tokio::test]
async fn what_a_new_rule_needs_and_is_not_known_shows_at_once() {
    let now = Utc::now();
    let mut subject = subject("labels: { user_tags: [team] }", move |call: &str| match call {
        "GetCredentialReport" => users(&[], &["beta"], now),
        _ => tags(&[("beta", "team", "payments")], None),
    })
    .await;
    subject.refresh().await;
    let available = |subject: &Subject, what: &str| {
        value(&subject.page(), &format!("iam_exporter_{what}_available"))
    };
    assert_eq!(available(&subject, "tags"), Some(1.0));
    subject.config =
        parse("rotation: { rules: [{ match: { tags: { tier: gold } }, max_age: 1d }] }");
    assert_eq!(available(&subject, "tags"), Some(0.0));
    subject.account.refresh.name = Tried::NotYet;
    subject.account.name.clear();
    subject.config = parse("rotation: { rules: [{ match: { account: prod-* }, max_age: 1d }] }");
    assert_eq!(available(&subject, "account_name"), Some(0.0));
}

#[tokio::test]
async fn running_out_of_time_is_no_failure_and_the_others_wait_for_their_turn() {
    let mut subject = subject("", ten(|_| keys(&[("AKIAOLD", "Active", OLD)]))).await;
    // Five calls a second.
    let (outcome, calls) = subject.refresh_within(Duration::from_millis(1200)).await;
    assert_eq!((&outcome.failure, reason(&outcome, Detail::Confirmation)), (&None, None));
    let asked = calls.len() - 1;
    assert!((1..8).contains(&asked), "{calls:?}");
    let page = subject.page();
    assert_eq!(value(&page, "iam_exporter_confirmation_available"), Some(1.0));
    let waiting = "iam_exporter_confirmation_waiting_users";
    // The limit may have cut off the last call.
    let answered = value(&page, waiting).map(|waiting| 10 - waiting as usize);
    assert!(answered == Some(asked) || answered == Some(asked - 1), "{answered:?} of {asked}");
    let calls = subject.refresh().await;
    // A call that was cut off before it arrived counts as asked.
    let first = [asked, asked + 1].map(|user| format!("ListAccessKeys u{user}"));
    assert!(first.contains(&calls[0]), "those who waited come first: {calls:?}");
    assert_eq!(value(&subject.page(), waiting), Some(0.0));
}

#[tokio::test]
async fn check_says_how_many_users_were_not_asked_about_in_time() {
    let subject = subject("", ten(|_| keys(&[("AKIAOLD", "Active", OLD)]))).await;
    let schedule = Schedule { timeout: Duration::from_millis(1200), ..Schedule::default() };
    let config = Arc::new(parse(""));
    let outcome = check::run(subject.source, &schedule, &Clock::system(), &config).await;
    let outcome = outcome.expect("an outcome");
    let summary = outcome.summary(UnrotatedCount { access_keys: 10, ..UnrotatedCount::default() });
    let why = "account 123456789012: users whose keys are as the report has them, because time ran out before AWS was asked: ";
    let waiting = summary.lines().find_map(|line| line.strip_prefix(why)?.parse::<u32>().ok());
    assert!(waiting.is_some_and(|users| (2..10).contains(&users)), "{summary}");
}

#[tokio::test]
async fn when_nobody_is_flagged_any_more_an_earlier_refusal_is_forgotten() {
    let mut subject = subject("", company(|_| Some(error(403, "AccessDenied")))).await;
    subject.refresh().await;
    let available = "iam_exporter_confirmation_available";
    assert_eq!(value(&subject.page(), available), Some(0.0));
    subject.account.generated = Some(Utc::now() - TimeDelta::hours(5));
    let generated = Utc::now();
    subject.follow(move |_: &str| users(&[], &["alpha", "beta", "gamma"], generated));
    subject.refresh().await;
    assert_eq!(value(&subject.page(), available), None);
}

#[tokio::test]
async fn an_active_key_without_a_time_is_asked_about() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let mut subject = subject("", move |call: &str| match call {
        "GetCredentialReport" => {
            let odd = row(ACCOUNT, "/", "odd", "true,N/A,N/A,N/A,N/A");
            report_at(&report([odd]), generated)
        }
        _ => keys(&[("AKIAOLD", "Active", OLD)]),
    })
    .await;
    assert_eq!(subject.refresh().await, ["GetCredentialReport", "ListAccessKeys odd"]);
    assert_eq!(subject.unrotated(), Some(1.0));
}

#[tokio::test]
async fn a_key_with_the_time_of_an_earlier_report_is_asked_about() {
    let then = Utc::now() - TimeDelta::hours(5);
    let (alpha, new) = (|keys: &str| row(ACCOUNT, "/", "alpha", keys), unused(&now()));
    let mut subject = subject("", move |call: &str| match call {
        "GenerateCredentialReport" => generating("COMPLETE"),
        _ => report_at(&report([alpha(&new)]), then),
    })
    .await;
    subject.refresh().await;
    let generated = Utc::now();
    subject.follow(move |call: &str| match call {
        "GenerateCredentialReport" => generating("COMPLETE"),
        "GetCredentialReport" => report_at(&report([alpha("true,N/A,N/A,N/A,N/A")]), generated),
        _ => keys(&[("AKIAOLD", "Active", OLD)]),
    });
    let calls = subject.refresh().await;
    assert!(calls.contains(&"ListAccessKeys alpha".to_owned()), "{calls:?}");
    assert_eq!(subject.unrotated(), Some(1.0));
}

#[tokio::test]
async fn a_user_who_has_more_than_the_report_shows_is_asked_about() {
    let recent = now();
    let line = row(ACCOUNT, "/", "more", &unused(&recent)) + ",1 more access key";
    let header = report([]) + ",additional_credentials_info\n";
    let generated = Utc::now() - TimeDelta::hours(1);
    let mut subject = subject("", move |call: &str| match call {
        "GetCredentialReport" => report_at(&(header.clone() + &line), generated),
        _ => keys(&[("AKIANEW", "Active", &recent), ("AKIAOLD", "Active", OLD)]),
    })
    .await;
    assert_eq!(subject.refresh().await, ["GetCredentialReport", "ListAccessKeys more"]);
    assert_eq!(subject.unrotated(), Some(1.0));
    // Controls know no exemptions.
    subject.config =
        parse("rotation: { rules: [{ match: { user: more }, exempt: { reason: x } }] }");
    assert_eq!(subject.refresh().await, ["ListAccessKeys more"]);
    assert_eq!(subject.unrotated(), Some(0.0));
}

#[tokio::test]
async fn an_answer_from_before_a_report_says_nothing_of_keys_that_the_report_does_not_show() {
    let recent = now();
    let line = row(ACCOUNT, "/", "more", &unused(&recent)) + ",1 more access key";
    let text = report([]) + ",additional_credentials_info\n" + &line;
    let listed = [("AKIANEW", "Active", recent.clone()), ("AKIATOO", "Active", recent)];
    let script = |generated, is_refused: bool| {
        let (text, listed) = (text.clone(), listed.clone());
        move |call: &str| match call {
            "GetCredentialReport" => report_at(&text, generated),
            "GenerateCredentialReport" => generating("COMPLETE"),
            _ if is_refused => error(403, "AccessDenied"),
            _ => keys(
                &listed.each_ref().map(|(id, status, created)| (*id, *status, created.as_str())),
            ),
        }
    };
    let first = Utc::now() - TimeDelta::hours(5);
    let second = Utc::now() - TimeDelta::hours(1);
    let mut subject = subject("", script(first, false)).await;
    let not_judged = "iam_access_keys_not_judged{account_id=\"123456789012\"}";
    for (generated, is_refused, expected) in
        [(first, false, 0.0), (first, true, 0.0), (second, true, 1.0), (second, false, 0.0)]
    {
        subject.follow(script(generated, is_refused));
        subject.refresh().await;
        assert_eq!(value(&subject.page(), not_judged), Some(expected), "{generated} {is_refused}");
    }
}

#[tokio::test]
async fn a_user_whom_only_the_last_answer_flags_is_asked_about() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let report = move || users(&[], &["alpha"], generated);
    let mut subject = subject("rotation: { max_age: 1s }", move |call: &str| match call {
        "GetCredentialReport" => report(),
        _ => keys(&[("AKIAOLD", "Active", OLD)]),
    })
    .await;
    subject.refresh().await;
    // The report does not flag alpha any more. The key that was found since then still counts.
    subject.config = parse("");
    assert_eq!(subject.unrotated(), Some(1.0));
    subject.follow(move |call: &str| match call {
        "GetCredentialReport" => report(),
        _ => keys(&[]),
    });
    subject.refresh().await;
    assert_eq!(subject.unrotated(), Some(0.0));
}

#[tokio::test]
async fn a_third_key_is_on_the_page() {
    let three = [("AKIA1", "Active", OLD), ("AKIA2", "Active", OLD), ("AKIA3", "Inactive", OLD)];
    let mut subject = subject("", company(move |_| Some(keys(&three)))).await;
    subject.refresh().await;
    assert_eq!(subject.unrotated(), Some(4.0));
    let third = "iam_access_key_active{account_id=\"123456789012\",user=\"alpha\",key=\"3\"}";
    assert_eq!(value(&subject.page(), third), Some(0.0));
}

#[tokio::test]
async fn more_keys_than_a_user_can_have_are_no_answer() {
    let all = [("AKIA", "Active", OLD); 300];
    let mut subject = subject("", company(move |_| Some(keys(&all)))).await;
    let (_, confirmation, _) = subject.outcome().await;
    let failure = confirmation.expect("a failure");
    assert_eq!(failure.message, "ListAccessKeys: a user with more than 100 keys");
    assert_eq!(subject.unrotated(), Some(2.0), "the report counts");
}

#[tokio::test(start_paused = true)]
async fn confirmation_goes_on_while_aws_gives_no_report() {
    for (operation, fault, reason) in [
        ("GenerateCredentialReport", error(409, "LimitExceeded"), Reason::LimitExceeded),
        ("GetCredentialReport", error(400, "Throttling"), Reason::Throttled),
        ("GetCredentialReport", Answer::Hang, Reason::Timeout),
    ] {
        let (csv, start) = (of_one("alpha"), Instant::now());
        let rotated = Duration::from_secs(5 * 3600);
        let aws = FakeAws::new(account(move |call: &str| match call {
            call if call == operation && start.elapsed() > Duration::from_secs(3600) => {
                fault.clone()
            }
            "GetCredentialReport" => report_at(&csv, beginning()),
            "GenerateCredentialReport" => generating("COMPLETE"),
            _ if start.elapsed() < rotated => keys(&[("AKIAOLD", "Active", OLD)]),
            _ => keys(&[("AKIANEW", "Active", "2026-11-01T17:00:00Z")]),
        }));
        let store = run(aws.source(), Config::default());
        sleep(rotated).await;
        let failure = |state: &State| state.accounts[0].refresh.last.and_then(|it| it.failure);
        assert_eq!(failure(&store.snapshot()), Some(reason));
        let failures = store.snapshot().accounts[0].refresh.failures.get(reason);
        assert!((4..60).contains(&failures), "each is counted once: {failures} in an hour");
        let state = published(&store, |state| {
            let mut keys = state.accounts[0].users().flat_map(|(_, keys)| keys.iter().flatten());
            keys.any(|key| key.id.as_deref() == Some("AKIANEW"))
        })
        .await;
        let waited = start.elapsed() - rotated;
        assert!(waited <= Duration::from_secs(5 * 60 + 61), "{waited:?} for {reason:?}");
        assert_eq!(failure(&state), Some(reason), "it still fails");
        assert_eq!(state.accounts[0].refresh.confirmation, Tried::Ok);
    }
}

/// An account whose alias can be read only later.
fn named_late(script: impl FnMut(&str) -> Answer + Send + 'static, failures: usize) -> FakeAws {
    let (mut usual, mut tries) = (account(script), 0);
    FakeAws::new(move |request| {
        if request.operation == "ListAccountAliases" {
            tries += 1;
            if tries <= failures {
                return (Duration::ZERO, error(403, "AccessDenied"));
            }
        }
        usual(request)
    })
}

#[tokio::test]
async fn a_rule_by_account_name_is_not_decided_until_the_alias_was_read() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let config = "confirm: { enabled: false }\nrotation: { rules: [{ match: { account: 'the-*' }, max_age: 1h }] }";
    let source = named_late(move |_| users(&[], &["gamma"], generated), 2);
    let mut subject = subject(config, |_| error(403, "AccessDenied")).await;
    subject.source = source.source();
    let name = "iam_exporter_account_name_available";
    for _ in 0..2 {
        let (outcome, _) = subject.refresh_within(Duration::from_secs(20)).await;
        assert_eq!(outcome.failure, None);
        assert_eq!(reason(&outcome, Detail::Alias), Some(Reason::AccessDenied));
        assert_eq!(value(&subject.page(), name), Some(0.0));
    }
    let (outcome, _) = subject.refresh_within(Duration::from_secs(20)).await;
    assert_eq!(reason(&outcome, Detail::Alias), None);
    assert_eq!(value(&subject.page(), name), Some(1.0));
    assert_eq!(subject.unrotated(), Some(1.0));
}

#[tokio::test]
async fn a_name_that_a_reload_asks_for_is_not_known_until_it_was_read() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let unnamed = "confirm: { enabled: false }\n";
    let mut subject = subject(unnamed, |_| error(403, "AccessDenied")).await;
    subject.source = named_late(move |_| users(&[], &["gamma"], generated), 1).source();
    let name = "iam_exporter_account_name_available";
    let rule = "rotation: { rules: [{ match: { account: 'the-*' }, max_age: 1h }] }";
    subject.refresh_within(Duration::from_secs(20)).await;
    assert_eq!(value(&subject.page(), name), None, "no rule needs it");
    subject.config = parse(&format!("{unnamed}{rule}"));
    assert_eq!(value(&subject.page(), name), Some(0.0));
    subject.refresh_within(Duration::from_secs(20)).await;
    assert_eq!(value(&subject.page(), name), Some(1.0));
}

#[tokio::test]
async fn check_could_not_tell_if_a_rule_needs_a_name_that_cannot_be_read() {
    for (pattern, exit_code) in [("the-*", 2), ("123*", 1), ("999999999999", 1)] {
        let csv = of_one("alpha");
        let aws = named_late(move |_| report_at(&csv, Utc::now()), usize::MAX);
        let rules = format!("rules: [{{ match: {{ account: '{pattern}' }}, max_age: 1h }}]");
        let config = parse(&format!("confirm: {{ enabled: false }}\nrotation: {{ {rules} }}"));
        let (schedule, clock) = (Schedule::default(), Clock::system());
        let outcome = check::run(aws.source(), &schedule, &clock, &Arc::new(config)).await;
        let one = UnrotatedCount { access_keys: 1, ..UnrotatedCount::default() };
        assert_eq!(outcome.expect("an outcome").exit_code(one), exit_code, "{pattern}");
    }
}

#[tokio::test]
async fn tags_that_a_reload_asks_for_are_not_known_until_they_were_read() {
    let available = "iam_exporter_tags_available";
    let rule = "rotation: { rules: [{ match: { tags: { tier: gold } }, max_age: 1h }] }";
    for config in [rule, LABELS] {
        let answers = listing(BOTH, || error(403, "AccessDenied"), Utc::now());
        let mut subject = subject("confirm: { enabled: false }", answers).await;
        assert_eq!(value(&subject.page(), available), None);
        subject.refresh().await;
        assert_eq!(value(&subject.page(), available), None, "nobody asks for them");
        subject.config = parse(config);
        assert_eq!(value(&subject.page(), available), Some(0.0));
        subject.refresh().await;
        assert_eq!(value(&subject.page(), available), Some(1.0));
        subject.config = parse("confirm: { enabled: false }");
        assert_eq!(value(&subject.page(), available), None, "nobody asks for them any more");
    }
}

#[tokio::test]
async fn a_call_that_hangs_is_a_failure_however_short_a_refresh_is() {
    let mut subject = subject("", company(|_| Some(Answer::Hang))).await;
    let (outcome, _) = subject.refresh_within(Duration::from_secs(2)).await;
    assert_eq!(outcome.failure, None);
    assert_eq!(reason(&outcome, Detail::Confirmation), Some(Reason::Timeout));
    assert_eq!(subject.account.refresh.confirmation, Tried::Failed);
}

#[tokio::test]
async fn a_flagged_key_stays_flagged_if_the_next_report_garbles_its_status() {
    let young = (Utc::now() - TimeDelta::days(1)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    for status in ["tru", ""] {
        let mut subject = subject("confirm: { enabled: false }", |_| error(403, "None")).await;
        let follow = |subject: &Subject, key: String| {
            let other = row(ACCOUNT, "/", "beta", &unused(&young));
            let csv = report([row(ACCOUNT, "/", "alpha", &key), other]);
            // It is so old that each refresh asks for another.
            subject.follow(move |call| match call {
                "GenerateCredentialReport" => generating("COMPLETE"),
                _ => report_at(&csv, Utc::now() - TimeDelta::hours(5)),
            });
        };
        follow(&subject, unused(OLD));
        subject.refresh().await;
        assert_eq!(subject.unrotated(), Some(1.0));
        follow(&subject, format!("{status},{OLD},N/A,N/A,N/A"));
        subject.refresh().await;
        assert_eq!(subject.unrotated(), Some(1.0), "{status:?}");
    }
}

#[tokio::test]
async fn a_rule_whose_tags_are_known_holds_while_others_are_not() {
    let generated = Utc::now() - TimeDelta::hours(1);
    let rules = "confirm: { enabled: false }\nrotation: { rules: [{ match: { tags: { tier: gold } }, exempt: { reason: x } }] }\n";
    let mut subject = subject(rules, move |call: &str| match call {
        "GetCredentialReport" => users(&["alpha"], &[], generated),
        _ => tags(&[("alpha", "tier", "gold")], None),
    })
    .await;
    subject.refresh().await;
    assert_eq!(subject.unrotated(), Some(0.0));
    subject.config = parse(&format!("{rules}labels: {{ user_tags: [owner] }}"));
    assert_eq!(subject.unrotated(), Some(0.0), "after the reload");
    subject.follow(|_| error(403, "AccessDenied"));
    subject.refresh().await;
    assert_eq!(subject.unrotated(), Some(0.0), "after the permission is gone");
    assert_eq!(value(&subject.page(), "iam_exporter_tags_available"), Some(0.0));
    assert_eq!(value(&subject.page(), "iam_user_tags"), None);
}
