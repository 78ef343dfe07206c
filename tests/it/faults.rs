//! AWS's answers and their effect on the account: each line of AWS's error table, and faults
//! outside of it.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use iam_key_exporter::config::Config;
use iam_key_exporter::failure::{Failure, Reason};
use iam_key_exporter::metrics::exporter::ExporterMetrics;
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::refresh::account::RefreshOutcome;
use iam_key_exporter::source::Source;
use iam_key_exporter::source::aws::Aws;
use iam_key_exporter::source::aws::sdk::Operation;
use iam_key_exporter::state::Account;

use crate::support::answers::{error, generating, report, report_at};
use crate::support::exporter::value;
use crate::support::fake_aws::{self, ACCOUNT, FakeAws, account, sdk_config};
use crate::support::protocol::Answer;
use crate::support::refresh::{Subject, only_target, refresh};
use crate::support::report::of_one;
use crate::support::time::clock;

const GET: &str = "GetCredentialReport";
const GENERATE: &str = "GenerateCredentialReport";

/// Refreshes ask for the report alone.
fn config() -> Config {
    Config { confirm: None, ..Config::default() }
}

/// An account whose refreshes lead to the fake.
async fn subject(script: impl FnMut(&str) -> Answer + Send + 'static) -> Subject {
    Subject::new(config(), script).await
}

impl Subject {
    /// Refreshes once, and returns the failure and the operations that were called.
    async fn attempt(&mut self) -> (Option<Failure>, Vec<String>) {
        self.attempt_within(Duration::from_secs(5)).await
    }

    async fn attempt_within(&mut self, timeout: Duration) -> (Option<Failure>, Vec<String>) {
        let (outcome, calls) = self.refresh_within(timeout).await;
        (outcome.failure, calls)
    }

    fn users(&self) -> Vec<&str> {
        let users = self.account.report.iter().flat_map(|report| &report.users);
        users.map(|user| user.name.as_str()).collect()
    }
}

/// An AWS in which all is well, with a report that is so old that each refresh asks for another.
fn well(user: &'static str) -> impl FnMut(&str) -> Answer + Send + 'static {
    move |action| match action {
        GENERATE => generating("COMPLETE"),
        _ => report(user, 5),
    }
}

/// After a good refresh AWS answers like this: the account keeps its report, the reason counts, AWS
/// is asked at most six times, and when all is well again the next refresh heals it.
async fn fault(fault: impl FnMut(&str) -> Answer + Send + 'static, reason: Reason) -> Failure {
    let mut subject = subject(well("before")).await;
    assert_eq!(subject.attempt().await.0, None);
    assert_eq!(subject.account.id, ACCOUNT);
    assert_eq!(subject.users(), ["before"]);
    let good = subject.account.clone();

    subject.follow(fault);
    let (failure, calls) = subject.attempt().await;
    let failure = failure.expect("a failure");
    assert_eq!(failure.reason, reason, "{failure}");
    assert!(!failure.message.contains('\n'), "{failure}");
    assert!(calls.len() <= 6, "{calls:?}");
    assert_eq!(subject.users(), ["before"]);
    assert_eq!(subject.account.refresh.last.and_then(|last| last.failure), Some(reason));
    assert_eq!(subject.account.refresh.failures.get(reason), 1);
    assert_eq!(subject.account.refresh.last_success, good.refresh.last_success);

    subject.follow(well("after"));
    assert_eq!(subject.attempt().await.0, None);
    assert_eq!(subject.users(), ["after"]);
    failure
}

/// The fault is in this operation only.
fn on(operation: &'static str, answer: Answer) -> impl FnMut(&str) -> Answer + Send + 'static {
    let mut well = well("before");
    move |action| if action == operation { answer.clone() } else { well(action) }
}

#[tokio::test]
async fn a_missing_permission_is_access_denied() {
    let failure = fault(on(GET, error(403, "AccessDenied")), Reason::AccessDenied).await;
    assert_eq!(failure.message, "GetCredentialReport: AccessDenied: Unknown");
    fault(on(GENERATE, error(403, "AccessDenied")), Reason::AccessDenied).await;
}

#[tokio::test]
async fn expired_credentials_are_a_matter_of_credentials() {
    fault(on(GET, error(403, "ExpiredToken")), Reason::Credentials).await;
    fault(on(GET, error(403, "InvalidClientTokenId")), Reason::Credentials).await;
}

#[tokio::test]
async fn throttling_is_throttled() {
    fault(on(GET, error(400, "Throttling")), Reason::Throttled).await;
}

#[tokio::test]
async fn throttling_of_newer_services_is_throttled() {
    fault(on(GENERATE, error(400, "ThrottlingException")), Reason::Throttled).await;
}

#[tokio::test]
async fn no_capacity_for_reports_is_limit_exceeded_and_not_tried_again_at_once() {
    let mut subject = subject(well("before")).await;
    subject.follow(on(GENERATE, error(409, "LimitExceeded")));
    let (failure, calls) = subject.attempt().await;
    assert_eq!(failure.map(|failure| failure.reason), Some(Reason::LimitExceeded));
    assert_eq!(calls, [GET, GENERATE]);
    fault(on(GENERATE, error(409, "LimitExceeded")), Reason::LimitExceeded).await;
}

#[tokio::test]
async fn a_service_failure_is_a_service_error() {
    fault(on(GET, error(500, "ServiceFailure")), Reason::ServiceError).await;
}

#[tokio::test]
async fn a_report_that_is_never_ready_is_report_not_ready() {
    fault(on(GET, error(404, "ReportInProgress")), Reason::ReportNotReady).await;
}

#[tokio::test]
async fn a_report_that_never_appears_is_report_not_ready() {
    let script = |action: &str| match action {
        GENERATE => generating("STARTED"),
        _ => error(410, "ReportNotPresent"),
    };
    fault(script, Reason::ReportNotReady).await;
}

#[tokio::test]
async fn an_aws_that_does_not_answer_is_a_timeout() {
    for call in [GET, GENERATE] {
        let failure = fault(on(call, Answer::Hang), Reason::Timeout).await;
        let expected = format!("{call}: not finished within --refresh.timeout");
        assert_eq!(failure.message, expected);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_the_network() {
    fault(on(GET, Answer::Drop), Reason::Network).await;
}

#[tokio::test]
async fn a_body_that_is_no_answer_is_a_service_error() {
    let garbage = Answer::Reply(200, "<html>captive portal".to_owned());
    fault(on(GET, garbage), Reason::ServiceError).await;
}

#[tokio::test]
async fn a_content_that_is_no_report_is_malformed() {
    let garbage = report_at("hello", chrono::Utc::now());
    fault(on(GET, garbage), Reason::MalformedReport).await;
}

#[tokio::test]
async fn an_answer_without_content_is_malformed() {
    let empty =
        "<GetCredentialReportResponse><GetCredentialReportResult/></GetCredentialReportResponse>";
    fault(on(GET, Answer::Reply(200, empty.to_owned())), Reason::MalformedReport).await;
}

#[tokio::test]
async fn a_report_of_another_account_is_malformed() {
    let other = of_one("x").replace(ACCOUNT, "999999999999");
    let failure =
        fault(on(GET, report_at(&other, chrono::Utc::now())), Reason::MalformedReport).await;
    assert_eq!(failure.message, "a report of account 999999999999 instead of 123456789012");
}

#[tokio::test]
async fn nobody_at_the_address_is_the_network_and_the_account_stays_unknown() {
    let source = fake_aws::source(&sdk_config("http://127.0.0.1:9"));
    let target = only_target(&source);
    let pending = Account::pending(&target.id, &target.name);
    let RefreshOutcome { account, failure, .. } =
        refresh(&source, &target, &pending, &config(), Duration::from_secs(20)).await;
    assert_eq!(failure.map(|failure| failure.reason), Some(Reason::Network));
    assert_eq!(account.id, "unknown");
}

#[tokio::test]
async fn a_young_report_is_taken_without_generating_one() {
    let mut subject = subject(|_: &str| report("young", 3)).await;
    let (failure, calls) = subject.attempt().await;
    assert_eq!((failure, calls), (None, vec![GET.to_owned()]));
    assert_eq!(subject.attempt().await.1, [""; 0], "it is good for another hour");
}

#[tokio::test]
async fn base64_that_is_broken_into_lines_is_read() {
    for end in ["\n", "\r\n"] {
        let mut subject = subject(move |_: &str| match report("alpha", 1) {
            Answer::Reply(status, body) => {
                let (before, content) = body.split_once("<Content>").expect("a report");
                // Every 76 characters, as MIME has it.
                let (content, after) = content.split_once("</Content>").expect("a report");
                let lines: Vec<String> = content
                    .as_bytes()
                    .chunks(76)
                    .map(|line| String::from_utf8_lossy(line).into_owned())
                    .collect();
                let content = lines.join(end);
                Answer::Reply(status, format!("{before}<Content>{content}{end}</Content>{after}"))
            }
            other => other,
        })
        .await;
        let (failure, calls) = subject.attempt().await;
        assert_eq!(failure, None);
        assert_eq!(calls, [GET]);
        assert_eq!(subject.users(), ["alpha"]);
    }
}

#[tokio::test]
async fn where_there_is_no_report_one_is_generated_and_awaited() {
    let mut gets = 0;
    let mut subject = subject(move |action: &str| match action {
        GENERATE => generating("STARTED"),
        _ => {
            gets += 1;
            match gets {
                1 => error(410, "ReportNotPresent"),
                2 => error(404, "ReportInProgress"),
                _ => report("new", 0),
            }
        }
    })
    .await;
    // Two pauses of 2 and 4 seconds do not fit into the usual time limit of these tests.
    let (failure, calls) = subject.attempt_within(Duration::from_secs(20)).await;
    assert_eq!(failure, None);
    assert_eq!(subject.users(), ["new"]);
    assert_eq!(calls, [GET, GENERATE, GET, GET]);
}

#[tokio::test]
async fn an_expired_report_is_generated_anew() {
    let mut gets = 0;
    let mut subject = subject(move |action: &str| match action {
        GENERATE => generating("COMPLETE"),
        _ => {
            gets += 1;
            match gets {
                1 => error(410, "ReportExpired"),
                _ => report("new", 0),
            }
        }
    })
    .await;
    let (failure, calls) = subject.attempt().await;
    assert_eq!(failure, None);
    assert_eq!(calls, [GET, GENERATE, GET]);
}

#[tokio::test]
async fn a_report_that_others_are_having_generated_is_awaited() {
    let mut gets = 0;
    let mut subject = subject(move |_: &str| {
        gets += 1;
        match gets {
            1 => error(404, "ReportInProgress"),
            _ => report("new", 0),
        }
    })
    .await;
    let (failure, calls) = subject.attempt().await;
    assert_eq!(failure, None);
    assert_eq!(calls, [GET, GET]);
}

#[tokio::test]
async fn what_aws_returns_after_generating_is_taken_fresh_or_not() {
    let mut subject = subject(well("old")).await;
    let (failure, calls) = subject.attempt().await;
    assert_eq!((failure, subject.users()), (None, vec!["old"]));
    assert_eq!(calls, [GET, GENERATE, GET]);
}

#[tokio::test]
async fn an_old_report_is_better_than_none_and_the_failure_shows() {
    let mut subject = subject(on(GENERATE, error(403, "AccessDenied"))).await;
    let (failure, _) = subject.attempt().await;
    assert_eq!(failure.map(|failure| failure.reason), Some(Reason::AccessDenied));
    assert_eq!(subject.users(), ["before"]);
    assert_eq!(subject.account.refresh.last_success, None);
}

#[tokio::test]
async fn an_old_report_is_not_lost_to_the_deadline_nor_is_the_accounts_id() {
    let mut subject = subject(on(GENERATE, Answer::Hang)).await;
    let (failure, _) = subject.attempt_within(Duration::from_secs(1)).await;
    assert_eq!(failure.map(|failure| failure.reason), Some(Reason::Timeout));
    assert_eq!(subject.users(), ["before"]);
    assert_eq!(subject.account.id, ACCOUNT);
}

/// Each refresh asks for another report, and gets one of this time.
fn generated_at(
    time: DateTime<Utc>,
    user: &'static str,
) -> impl FnMut(&str) -> Answer + Send + 'static {
    move |action| match action {
        GENERATE => generating("COMPLETE"),
        _ => report_at(&of_one(user), time),
    }
}

#[tokio::test]
async fn a_report_from_the_future_does_not_block_those_after_it() {
    let mut subject = subject(generated_at(Utc::now() + TimeDelta::days(3650), "wrong")).await;
    let (failure, _) = subject.attempt().await;
    assert_eq!(failure.map(|failure| failure.reason), Some(Reason::Clock));
    subject.follow(well("after"));
    assert_eq!(subject.attempt().await.0, None);
    assert_eq!(subject.users(), ["after"]);
}

#[tokio::test]
async fn an_older_report_than_before_is_not_taken_and_said() {
    let hours_ago = |hours| Utc::now() - TimeDelta::hours(hours);
    let mut subject = subject(generated_at(hours_ago(5), "before")).await;
    assert_eq!(subject.attempt().await.0, None);
    subject.follow(generated_at(hours_ago(6), "older"));
    let (failure, _) = subject.attempt().await;
    let failure = failure.expect("a failure");
    assert_eq!(failure.reason, Reason::ReportNotReady);
    assert_eq!(failure.message, "AWS gave an older report than the one that it gave before");
    assert_eq!(subject.users(), ["before"]);
    subject.follow(generated_at(hours_ago(4), "after"));
    assert_eq!(subject.attempt().await.0, None);
    assert_eq!(subject.users(), ["after"]);
}

#[tokio::test]
async fn every_request_is_counted_by_what_came_of_it() {
    let script = on(GENERATE, error(500, "ServiceFailure"));
    let server = FakeAws::new(account(script)).listen().await;
    let metrics = ExporterMetrics::new(Filter::default(), Operation::ALL.map(Operation::names));
    let config_of_sdk = sdk_config(&server.url());
    let source =
        Source::Aws(Aws::with_config(&config_of_sdk, clock(), metrics.aws_requests.clone(), 32));
    let target = only_target(&source);
    let pending = Account::pending(&target.id, &target.name);
    refresh(&source, &target, &pending, &config(), Duration::from_secs(20)).await;
    let text = String::from_utf8(metrics.gather()).expect("UTF-8");
    for (operation, outcome, service, count) in [
        // And once more, because there is a new answer about a flagged user.
        ("GetCallerIdentity", "ok", "STS", 2.0),
        ("GetCredentialReport", "ok", "IAM", 1.0),
        ("GenerateCredentialReport", "server_error", "IAM", 3.0),
        ("GenerateCredentialReport", "ok", "IAM", 0.0),
    ] {
        let series = format!(
            "iam_exporter_aws_requests_total{{operation=\"{operation}\",outcome=\"{outcome}\",service=\"{service}\"}}"
        );
        assert_eq!(value(&text, &series), Some(count), "{series}");
    }
}

#[tokio::test]
async fn a_request_that_is_cut_off_is_counted_as_aborted() {
    let server = FakeAws::new(account(|_: &str| Answer::Hang)).listen().await;
    let metrics = ExporterMetrics::new(Filter::default(), Operation::ALL.map(Operation::names));
    let config_of_sdk = sdk_config(&server.url());
    let source =
        Source::Aws(Aws::with_config(&config_of_sdk, clock(), metrics.aws_requests.clone(), 32));
    let target = only_target(&source);
    let pending = Account::pending(&target.id, &target.name);
    refresh(&source, &target, &pending, &config(), Duration::from_secs(1)).await;
    let text = String::from_utf8(metrics.gather()).expect("UTF-8");
    for (outcome, count) in [("aborted", 1.0), ("no_response", 0.0), ("ok", 0.0)] {
        let series = format!(
            "iam_exporter_aws_requests_total{{operation=\"GetCredentialReport\",outcome=\"{outcome}\",service=\"IAM\"}}"
        );
        assert_eq!(value(&text, &series), Some(count), "{series}");
    }
    let identity = "iam_exporter_aws_requests_total{operation=\"GetCallerIdentity\",outcome=\"aborted\",service=\"STS\"}";
    assert_eq!(value(&text, identity), Some(0.0));
}
