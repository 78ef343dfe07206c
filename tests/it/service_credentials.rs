//! Service-specific credentials: the calls to AWS for them, and the effect of its answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use iam_key_exporter::check;
use iam_key_exporter::clock::Clock;
use iam_key_exporter::config::Config;
use iam_key_exporter::failure::{Failure, Reason};
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::metrics::page;
use iam_key_exporter::refresh::faults::Detail;
use iam_key_exporter::refresh::{self, Schedule};
use iam_key_exporter::service_credentials::ServiceCredential;
use iam_key_exporter::source::Source;
use iam_key_exporter::source::target::Target;
use iam_key_exporter::state::{Account, State, Tried};
use iam_key_exporter::store::Store;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::support::answers::{error, identity, report_at, service_credentials};
use crate::support::exporter::{Exporter, output, value};
use crate::support::fake_aws::{ACCOUNT, FakeAws, account};
use crate::support::fleet::Fleet;
use crate::support::folder::Folder;
use crate::support::protocol::{Answer, Request};
use crate::support::refresh::{only_target, parse, published, refresh as refresh_once};
use crate::support::report::{OLD, of_one, report, row, unused};
use crate::support::time::clock;

const OPERATION: &str = "ListServiceSpecificCredentials";
const AVAILABLE: &str = "iam_exporter_service_credentials_available";
const UNROTATED: &str = "iam_unrotated_service_credentials";
/// Confirmation has its own tests.
const CONFIG: &str = "confirm: { enabled: false }\n";

/// The call's parameters: the service or `all`, and the marker.
type Asked = Arc<Mutex<Vec<String>>>;

/// An AWS of the users alpha and beta, without old access keys, that answers lists as told.
struct Subject {
    aws: FakeAws,
    source: Source,
    target: Target,
    account: Account,
    config: Config,
    asked: Asked,
}

impl Subject {
    fn new(config: &str, answer: impl Fn(&str) -> Answer + Send + 'static) -> Subject {
        let asked = Asked::default();
        let aws = FakeAws::new(scenario(Utc::now() - TimeDelta::hours(1), asked.clone(), answer));
        let source = aws.source();
        let target = only_target(&source);
        let account = Account::pending(&target.id, &target.name);
        let config = parse(&format!("{CONFIG}{config}"));
        Subject { aws, source, target, account, config, asked }
    }

    /// From now on AWS answers like this. The report is as old as before.
    fn follow(&self, answer: impl Fn(&str) -> Answer + Send + 'static) {
        let generated = self.account.generated.expect("a report");
        self.aws.follow(scenario(generated, self.asked.clone(), answer));
    }

    /// The report was made hours ago, so the next one is newer.
    fn age_report(&mut self) {
        let then = Utc::now() - TimeDelta::hours(5);
        self.account.generated = Some(then);
        let listed = &mut self.account.refresh.service_credentials_listed;
        *listed = listed.map(|_| then);
        if let Some(known) = &mut self.account.service_credentials {
            let all = known.all().map(|(user, it)| {
                (user.to_owned(), ServiceCredential { listed_with: Some(then), ..it.clone() })
            });
            *known = Arc::new(all.collect());
        }
    }

    /// The same with a new report.
    fn follow_with_new_report(&mut self, answer: impl Fn(&str) -> Answer + Send + 'static) {
        self.age_report();
        self.aws.follow(scenario(Utc::now(), self.asked.clone(), answer));
    }

    /// The same with a new report, in which alpha has this name, or is not there any more.
    fn follow_with_alpha(
        &mut self,
        alpha: Option<&str>,
        answer: impl Fn(&str) -> Answer + Send + 'static,
    ) {
        self.age_report();
        self.aws.follow(scenario_of(users(alpha), Utc::now(), self.asked.clone(), answer));
    }

    /// Refreshes once. Why nothing was listed, if so, and the page. No failure to list fails a refresh.
    async fn refresh(&mut self) -> (Option<Failure>, String) {
        let (source, target, limit) = (&self.source, &self.target, Duration::from_secs(20));
        let mut outcome = refresh_once(source, target, &self.account, &self.config, limit).await;
        assert_eq!(outcome.failure, None);
        self.account = outcome.account;
        (outcome.detail_failures.remove(&Detail::ServiceCredentials), self.page())
    }

    fn page(&self) -> String {
        let state = State::new([Arc::new(self.account.clone())], Tried::Ok, true);
        page::text(&state, &self.config, &Filter::default(), Utc::now())
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("what was asked"))
    }
}

/// The lines of alpha, or of the user of this name, and of beta, who was created earlier.
fn users(alpha: Option<&str>) -> String {
    let recent = (Utc::now() - TimeDelta::days(1)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let line = |user| row(ACCOUNT, "/", user, &unused(&recent));
    let beta = line("beta").replace(OLD, "2019-01-01T00:00:00Z");
    report(alpha.map(line).into_iter().chain([beta]))
}

fn scenario(
    generated: DateTime<Utc>,
    asked: Asked,
    answer: impl Fn(&str) -> Answer + Send + 'static,
) -> impl FnMut(&Request) -> (Duration, Answer) + Send + 'static {
    scenario_of(users(Some("alpha")), generated, asked, answer)
}

fn scenario_of(
    report: String,
    generated: DateTime<Utc>,
    asked: Asked,
    answer: impl Fn(&str) -> Answer + Send + 'static,
) -> impl FnMut(&Request) -> (Duration, Answer) + Send + 'static {
    let mut usual = account(move |_| report_at(&report, generated));
    move |request| {
        if request.operation != OPERATION {
            return usual(request);
        }
        assert_eq!(request.field("AllUsers").as_deref(), Some("true"));
        let service = request.field("ServiceName").unwrap_or("all".to_owned());
        let what = match request.field("Marker") {
            Some(marker) => format!("{service} {marker}"),
            None => service.trim_end_matches(".amazonaws.com").to_owned(),
        };
        asked.lock().expect("what was asked").push(what.clone());
        (Duration::ZERO, answer(&what))
    }
}

/// A list of active credentials of alpha for Bedrock that never expire, by their ids. All are old.
fn old(ids: &[&'static str]) -> Answer {
    let credential = |id: &&'static str| ["alpha", "bedrock", id, "Active", OLD, ""];
    service_credentials(&ids.iter().map(credential).collect::<Vec<_>>(), None)
}

/// The value of a metric of the credential with this id.
fn of(page: &str, metric: &str, id: &str) -> Option<f64> {
    let name = format!("iam_service_specific_credential_{metric}{{");
    let id = format!(",credential_id=\"{id}\"}}");
    value(page.lines().find(|line| line.starts_with(&name) && line.contains(&id))?, &name)
}

#[tokio::test]
async fn every_page_is_read_once_for_each_report() {
    let pages = |what: &str| match what {
        "all" => service_credentials(&[["alpha", "bedrock", "A1", "Active", OLD, ""]], Some("m1")),
        // A page may be empty and not the last.
        "all m1" => service_credentials(&[], Some("m2")),
        "all m2" => service_credentials(&[["beta", "logs", "B1", "Active", OLD, ""]], None),
        other => panic!("{other}"),
    };
    let mut subject = Subject::new("", pages);
    let (failure, page) = subject.refresh().await;
    assert_eq!(failure, None);
    assert_eq!(subject.asked(), ["all", "all m1", "all m2"]);
    assert_eq!(value(&page, UNROTATED), Some(2.0));
    assert_eq!(value(&page, AVAILABLE), Some(1.0));
    let labels = "{account_id=\"123456789012\",user=\"beta\",service_name=\"logs.amazonaws.com\",credential_id=\"B1\"}";
    let unrotated = format!("iam_service_specific_credential_unrotated{labels}");
    assert_eq!(value(&page, &unrotated), Some(1.0));
    assert_eq!(value(&page, "iam_unrotated_keys_total"), Some(0.0), "no access key is unrotated");

    for _ in 0..3 {
        subject.refresh().await;
    }
    assert_eq!(subject.asked(), [""; 0]);
    subject.follow_with_new_report(|_| old(&["A2"]));
    let (_, page) = subject.refresh().await;
    assert_eq!(subject.asked(), ["all"]);
    assert_eq!((of(&page, "active", "A1"), of(&page, "active", "A2")), (None, Some(1.0)));
}

#[tokio::test]
async fn a_list_without_an_end_or_with_a_part_missing_is_no_list() {
    let Answer::Reply(_, whole) = old(&["A1"]) else { unreachable!() };
    let endless = || service_credentials(&[], Some("again"));
    let Answer::Reply(_, endless) = endless() else { unreachable!() };
    // What else can be missing in an answer is a matter of its XML.
    let without = |part: &str, other: &str| whole.replace(part, other);
    for answer in [
        endless,
        without("<Status>Active</Status>", ""),
        without("<CreateDate>", "<CreatedDate>"),
        without("<UserName>alpha</UserName>", "<UserName></UserName>"),
        without("ServiceSpecificCredentials>", "Credentials>"),
        without("2020-01-01", "2020-13-01"),
        whole[..whole.len() - 40].to_owned(),
    ] {
        let text = answer.clone();
        let mut subject = Subject::new("", move |_| Answer::Reply(200, text.clone()));
        let (failure, page) = subject.refresh().await;
        assert_eq!(failure.expect(&answer).reason, Reason::ServiceError, "{answer}");
        assert_eq!(value(&page, AVAILABLE), Some(0.0), "{answer}");
        assert!(!page.contains("\niam_service_specific_credential"), "{answer}");
        assert_eq!(value(&page, UNROTATED), None, "{answer}");
    }
}

/// Without an answer, nothing is known and nothing is zero. Earlier data stays and ages.
async fn nothing_is_made_up(refusal: fn() -> Answer, reason: Reason, word: &str) {
    let mut subject = Subject::new("", move |_| refusal());
    let (failure, page) = subject.refresh().await;
    let failure = failure.expect("a failure");
    assert_eq!(failure.reason, reason);
    assert!(failure.message.contains(word), "{failure}");
    assert_eq!(value(&page, AVAILABLE), Some(0.0));
    assert_eq!(value(&page, "iam_refresh_success"), Some(1.0));
    assert_eq!(value(&page, UNROTATED), None);
    assert!(!page.contains("\niam_service_specific_credential"), "{page}");
    subject.refresh().await;
    assert!(subject.asked().len() >= 2, "it is tried again");

    subject.follow(|_| old(&["A1"]));
    let (failure, page) = subject.refresh().await;
    assert_eq!(failure, None, "the same report is no reason to wait");
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(1.0), Some(1.0)));

    subject.follow_with_new_report(move |_| refusal());
    let (failure, page) = subject.refresh().await;
    assert!(failure.is_some());
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), Some(1.0)));
    let day_later = Utc::now() + TimeDelta::days(1);
    let state = State::new([Arc::new(subject.account.clone())], Tried::Ok, true);
    let later = page::text(&state, &subject.config, &Filter::default(), day_later);
    let ages = [page, later].map(|page| of(&page, "age_days", "A1").expect("an age"));
    assert!((ages[1] - ages[0] - 1.0).abs() < 0.1, "{ages:?}");
}

#[tokio::test]
async fn without_the_permission_nothing_is_made_up() {
    nothing_is_made_up(|| error(403, "AccessDenied"), Reason::AccessDenied, OPERATION).await;
}

#[tokio::test]
async fn a_partition_that_lacks_the_call_has_no_such_credentials() {
    for (status, code) in
        [(400, "InvalidAction"), (404, "InvalidAction"), (400, "UnknownOperationException")]
    {
        let mut subject = Subject::new("", move |_| error(status, code));
        let (failure, page) = subject.refresh().await;
        assert_eq!((failure, subject.asked()), (None, vec!["all".to_owned()]));
        assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(1.0), Some(0.0)));
        subject.refresh().await;
        assert_eq!(subject.asked(), [""; 0], "once for each report");
        assert_eq!(check("", move |_| error(status, code)).await.0, 0);
    }
}

#[tokio::test]
async fn neither_a_call_nor_all_services_that_had_credentials_are_lost() {
    for (status, code) in [(400, "InvalidAction"), (404, "NotSupportedService")] {
        let mut subject = Subject::new("", |_| old(&["A1"]));
        subject.refresh().await;
        subject.follow_with_new_report(move |_| error(status, code));
        let (failure, page) = subject.refresh().await;
        assert_eq!(failure.expect(code).reason, Reason::ServiceError);
        let values = (value(&page, AVAILABLE), value(&page, UNROTATED));
        assert_eq!(values, (Some(0.0), Some(1.0)), "{code}");
    }
}

#[tokio::test]
async fn a_list_that_ends_with_a_refusal_is_no_list_whatever_its_code() {
    for code in ["InvalidAction", "UnknownOperation", "ValidationError", "NotSupportedService"] {
        let pages = move |what: &str| match what {
            "all" => {
                service_credentials(&[["alpha", "bedrock", "A1", "Active", OLD, ""]], Some("m1"))
            }
            "all m1" => error(400, code),
            _ => service_credentials(&[], None),
        };
        let mut subject = Subject::new("", pages);
        let (failure, page) = subject.refresh().await;
        assert!(failure.expect(code).message.contains(code));
        assert_eq!(subject.asked(), ["all", "all m1"], "{code}");
        assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), None));
        assert_eq!(check("", pages).await.0, 2, "{code}");
    }
}

#[tokio::test]
async fn a_service_whose_list_ends_with_a_refusal_is_refused() {
    let pages = |what: &str| match what {
        "all" => error(400, "ValidationError"),
        "bedrock" => {
            service_credentials(&[["alpha", "bedrock", "A1", "Active", OLD, ""]], Some("m1"))
        }
        "bedrock.amazonaws.com m1" => error(404, "NotSupportedService"),
        "logs" => service_credentials(&[["beta", "logs", "B1", "Active", OLD, ""]], None),
        _ => service_credentials(&[], None),
    };
    let (failure, page) = Subject::new("", pages).refresh().await;
    assert!(failure.expect("a failure").message.contains("NotSupportedService"));
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), Some(1.0)));
}

#[tokio::test]
async fn a_path_that_is_not_found_says_nothing_of_the_partition() {
    let refusal = || Answer::Reply(404, "<html>not found</html>".to_owned());
    nothing_is_made_up(refusal, Reason::ServiceError, "404").await;
}

#[tokio::test]
async fn of_a_partition_that_lacks_the_parameter_nothing_is_made_up() {
    let refusal = || error(400, "ValidationError");
    nothing_is_made_up(refusal, Reason::ServiceError, "ValidationError").await;
}

#[tokio::test]
async fn if_aws_wants_a_service_each_of_them_is_asked_for() {
    for code in ["ValidationError", "InvalidInput"] {
        let mut subject = Subject::new("", move |what| match what {
            "all" => error(400, code),
            "bedrock" => {
                service_credentials(&[["alpha", "bedrock", "A1", "Active", OLD, ""]], Some("m1"))
            }
            "bedrock.amazonaws.com m1" => old(&["A2"]),
            "cassandra" => error(404, "NotSupportedService"),
            "codecommit" => service_credentials(&[], None),
            "logs" => service_credentials(&[["beta", "logs", "B1", "Active", OLD, ""]], None),
            other => panic!("{other}"),
        });
        let (failure, page) = subject.refresh().await;
        assert_eq!(failure, None);
        let expected =
            ["all", "bedrock", "bedrock.amazonaws.com m1", "cassandra", "codecommit", "logs"];
        assert_eq!(subject.asked(), expected);
        assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(1.0), Some(3.0)));
    }
}

/// AWS wants to be asked for one service at a time, and these are those of Bedrock and of CloudWatch Logs.
fn by_service(
    bedrock: fn() -> Answer,
    logs: fn() -> Answer,
) -> impl Fn(&str) -> Answer + Send + 'static {
    move |what| match what {
        "all" => error(400, "ValidationError"),
        "bedrock" => bedrock(),
        "logs" => logs(),
        _ => service_credentials(&[], None),
    }
}

#[tokio::test]
async fn a_service_that_is_refused_hides_no_other() {
    let refused = || error(403, "AccessDenied");
    let mut subject = Subject::new("", by_service(refused, || old(&["A1"])));
    let (failure, page) = subject.refresh().await;
    assert_eq!(failure.expect("a failure").reason, Reason::AccessDenied);
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), Some(1.0)));
    subject.refresh().await;
    assert_eq!(subject.asked().len(), 10, "it is tried again");
    assert_eq!(check("", by_service(refused, || old(&["A1"]))).await.0, 2);
}

#[tokio::test]
async fn without_a_known_credential_and_with_a_refused_service_there_is_no_number() {
    let (refused, none) = (|| error(403, "AccessDenied"), || service_credentials(&[], None));
    let mut subject = Subject::new("", by_service(refused, none));
    let (failure, page) = subject.refresh().await;
    assert_eq!(failure.expect("a failure").reason, Reason::AccessDenied);
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), None));
    subject.follow(by_service(none, none));
    let (failure, page) = subject.refresh().await;
    assert_eq!(failure, None);
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(1.0), Some(0.0)));
}

#[tokio::test]
async fn of_a_service_that_is_refused_what_was_known_stays() {
    let logs = || service_credentials(&[["beta", "logs", "B1", "Active", OLD, ""]], None);
    let mut subject = Subject::new("", by_service(|| old(&["A1"]), logs));
    let (failure, page) = subject.refresh().await;
    assert_eq!((failure, value(&page, UNROTATED)), (None, Some(2.0)));
    let throttled = || error(400, "Throttling");
    subject.follow_with_new_report(by_service(|| service_credentials(&[], None), throttled));
    let (failure, page) = subject.refresh().await;
    assert_eq!(failure.expect("a failure").reason, Reason::Throttled);
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), Some(1.0)));
    assert_eq!((of(&page, "active", "A1"), of(&page, "active", "B1")), (None, Some(1.0)));
}

/// A list of the old credentials of alpha for logs and for a service that nobody knows.
fn strange() -> Answer {
    let credentials = ["strange", "logs"].map(|it| ["alpha", it, it, "Active", OLD, ""]);
    service_credentials(&credentials, None)
}

/// An AWS that has listed these and now wants a service, has none for logs, and refuses the service that nobody
/// knows.
async fn after_strange(
    answer: impl Fn(&str) -> Option<Answer> + Send + 'static,
) -> (Subject, Option<Failure>, String) {
    let mut subject = Subject::new("", |_| strange());
    subject.refresh().await;
    assert_eq!(subject.asked(), ["all"]);
    subject.follow_with_new_report(move |what| match what {
        "all" => error(400, "ValidationError"),
        what => answer(what).unwrap_or_else(|| service_credentials(&[], None)),
    });
    let (failure, page) = subject.refresh().await;
    (subject, failure, page)
}

#[tokio::test]
async fn a_service_of_a_known_credential_is_asked_for_too() {
    let one = || service_credentials(&[["beta", "strange", "S1", "Active", OLD, ""]], None);
    let (subject, failure, page) = after_strange(move |what| (what == "strange").then(one)).await;
    assert_eq!(failure, None);
    assert_eq!(subject.asked(), ["all", "bedrock", "cassandra", "codecommit", "logs", "strange"]);
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(1.0), Some(1.0)));
    assert_eq!((of(&page, "active", "S1"), of(&page, "active", "logs")), (Some(1.0), None));
}

#[tokio::test]
async fn the_credentials_of_a_service_that_aws_no_longer_lists_stay_and_count_as_refused() {
    for (status, code) in
        [(404, "NotSupportedService"), (400, "ValidationError"), (403, "AccessDenied")]
    {
        let refused = move |what: &str| (what == "strange").then(|| error(status, code));
        let (mut subject, failure, page) = after_strange(refused).await;
        assert!(failure.expect("a failure").message.contains(code));
        assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), Some(1.0)));
        let services = ["bedrock", "cassandra", "codecommit", "logs", "strange"];
        assert_eq!(subject.asked()[1..], services);
        // Whatever a report says of the user.
        for alpha in [Some("alpha"), Some("omega"), None] {
            subject.follow_with_alpha(alpha, move |what| match what {
                "all" => error(400, "ValidationError"),
                what => refused(what).unwrap_or_else(|| service_credentials(&[], None)),
            });
            let (failure, page) = subject.refresh().await;
            assert!(failure.expect("a failure").message.contains(code));
            assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), Some(1.0)));
            assert_eq!(of(&page, "unrotated", "strange"), Some(1.0), "{alpha:?}");
        }
        // It was deactivated under the new name.
        subject.follow(move |what| match what {
            "all" => error(400, "ValidationError"),
            "strange" => {
                service_credentials(&[["omega", "strange", "strange", "Inactive", OLD, ""]], None)
            }
            _ => service_credentials(&[], None),
        });
        let (failure, page) = subject.refresh().await;
        assert_eq!(failure, None);
        assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(1.0), Some(0.0)));
    }
}

#[tokio::test]
async fn whose_the_credential_of_a_user_is_whom_aws_no_longer_has_is_not_known() {
    let recent = (Utc::now() - TimeDelta::days(40)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let rule =
        format!("rotation: {{ rules: [{{ match: {{ account: '{ACCOUNT}' }}, max_age: 30d }}] }}\n");
    let mut subject = Subject::new("", |_| old(&[]));
    subject.config = parse(&rule);
    for is_gone in [false, true] {
        let report = report([row(ACCOUNT, "/", "alpha", &unused(OLD))]);
        let mut usual = account(move |_| report_at(&report, Utc::now() - TimeDelta::hours(1)));
        let recent = recent.clone();
        subject.aws.follow(move |request: &Request| match request.operation.as_str() {
            OPERATION => {
                let all = [["alpha", "bedrock", "A1", "Active", &recent, ""]];
                (Duration::ZERO, service_credentials(&all, None))
            }
            "ListAccessKeys" if is_gone => (Duration::ZERO, error(404, "NoSuchEntity")),
            _ => usual(request),
        });
        let (_, page) = subject.refresh().await;
        assert_eq!(value(&page, AVAILABLE), Some(if is_gone { 0.0 } else { 1.0 }));
        // A rule for all of the account is about this user, too, whatever the name.
        assert_eq!((of(&page, "unrotated", "A1"), value(&page, UNROTATED)), (Some(1.0), Some(1.0)));
    }
}

#[tokio::test]
async fn a_call_that_has_answered_is_not_missing_in_the_partition() {
    let mut subject = Subject::new("", |what| match what {
        "all" => error(400, "ValidationError"),
        "bedrock" => error(400, "Throttling"),
        _ => service_credentials(&[], None),
    });
    let (failure, page) = subject.refresh().await;
    assert!(failure.is_some());
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), None));
    subject.follow(|_| error(400, "InvalidAction"));
    let (failure, page) = subject.refresh().await;
    assert!(failure.expect("a failure").message.contains("now says that it has no such call"));
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), None));
}

#[tokio::test]
async fn where_no_service_is_supported_the_list_is_empty() {
    let mut subject = Subject::new("", |_| error(404, "NotSupportedService"));
    let (failure, page) = subject.refresh().await;
    assert_eq!(failure, None);
    assert_eq!(subject.asked(), ["all", "bedrock", "cassandra", "codecommit", "logs"]);
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(1.0), Some(0.0)));
}

#[tokio::test]
async fn each_kind_of_credential_counts_as_what_it_is() {
    let in_days = |days: i64| (Utc::now() + TimeDelta::days(days)).format("%FT%TZ").to_string();
    let (ended, soon, far) = (in_days(-1), in_days(10), in_days(36_600));
    let (young, just_now) = (in_days(-2), in_days(0));
    let kinds = move |_: &str| {
        service_credentials(
            &[
                ["alpha", "bedrock", "NEVER", "Active", OLD, ""],
                ["alpha", "bedrock", "FAR", "Active", OLD, &far],
                ["alpha", "logs", "SOON", "Active", OLD, &soon],
                ["alpha", "logs", "EXPIRED", "Expired", OLD, &ended],
                // It has expired since AWS wrote the list.
                ["alpha", "logs", "ENDED", "Active", OLD, &ended],
                ["beta", "codecommit", "INACTIVE", "Inactive", OLD, ""],
                ["beta", "codecommit", "CODE", "Active", OLD, ""],
                ["beta", "cassandra", "YOUNG", "Active", &young, ""],
                // Nobody can say that it cannot be used.
                ["beta", "cassandra", "STRANGE", "Suspended", OLD, ""],
                // Of a user whom the report does not have yet.
                ["gamma", "bedrock", "NEW", "Active", &just_now, ""],
            ],
            None,
        )
    };
    let (_, page) = Subject::new("", kinds).refresh().await;
    for (id, active, unrotated, expires) in [
        ("NEVER", 1.0, 1.0, false),
        ("FAR", 1.0, 1.0, false),
        ("SOON", 1.0, 1.0, true),
        ("EXPIRED", 0.0, 0.0, true),
        ("ENDED", 0.0, 0.0, true),
        ("INACTIVE", 0.0, 0.0, false),
        ("CODE", 1.0, 1.0, false),
        ("YOUNG", 1.0, 0.0, false),
        ("STRANGE", 1.0, 1.0, false),
    ] {
        assert_eq!(of(&page, "active", id), Some(active), "{id}");
        assert_eq!(of(&page, "unrotated", id), Some(unrotated), "{id}");
        assert_eq!(of(&page, "expiry_timestamp_seconds", id).is_some(), expires, "{id}");
        let is_young = of(&page, "age_days", id).expect("an age") < 3.0;
        assert_eq!(is_young, id == "YOUNG", "{id}");
    }
    assert_eq!((of(&page, "active", "NEW"), of(&page, "unrotated", "NEW")), (Some(1.0), Some(0.0)));
    assert_eq!(value(&page, UNROTATED), Some(5.0));
    let finding = "iam_owner_findings{account_id=\"123456789012\",account_name=\"the-alias\",finding=\"unrotated_service_credential\"}";
    assert_eq!(value(&page, finding), Some(5.0));
}

/// A list with a credential of a user whom the report lacks, of this status and with this expiry.
fn with_gamma(
    status: &'static str,
    expires: &'static str,
) -> impl Fn(&str) -> Answer + Clone + Send + 'static {
    move |_| {
        service_credentials(
            &[
                ["alpha", "bedrock", "A1", "Active", OLD, ""],
                ["gamma", "bedrock", "C1", status, OLD, expires],
            ],
            None,
        )
    }
}

#[tokio::test]
async fn credentials_of_users_who_are_not_in_the_report_count_and_are_not_known_for_sure() {
    // Nobody knows whether the rule is about this user.
    let rules = "rotation: { rules: [{ match: { path: / }, exempt: { reason: vendor } }] }\n";
    for (config, unrotated) in [("", 2.0), (rules, 1.0)] {
        for status in ["Active", "Suspended"] {
            let gamma = with_gamma(status, "");
            let mut subject = Subject::new(config, gamma.clone());
            let (failure, page) = subject.refresh().await;
            assert!(failure.expect("a failure").message.contains("not in the report"));
            assert_eq!(value(&page, AVAILABLE), Some(0.0));
            assert_eq!(value(&page, UNROTATED), Some(unrotated));
            assert_eq!(of(&page, "unrotated", "C1"), Some(1.0));
            let finding = "iam_owner_findings{account_id=\"123456789012\",account_name=\"the-alias\",finding=\"unrotated_service_credential\"}";
            assert_eq!(value(&page, finding), Some(unrotated));
            let (code, summary) = check(config, gamma).await;
            assert_eq!(code, 2);
            let found = format!("; unrotated service-specific credentials: {unrotated}; ");
            assert!(summary.contains(&found), "{summary}");
        }
    }
}

#[tokio::test]
async fn a_credential_that_is_older_than_the_reports_user_of_that_name_is_of_another_one() {
    let recent = (Utc::now() - TimeDelta::days(1)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let rules =
        "rotation: { rules: [{ match: { path: /vendor/ }, exempt: { reason: vendor } }] }\n";
    let mut subject = Subject::new(rules, |_| old(&["A1"]));
    // A user who had the key was renamed to alpha after the report was made, which has the alpha before.
    for (created, is_same) in [(recent.as_str(), false), (&recent, false), (OLD, true)] {
        let alpha = row(ACCOUNT, "/vendor/", "alpha", &unused(&recent)).replace(OLD, created);
        subject.age_report();
        let users = report([alpha]);
        subject.aws.follow(scenario_of(users, Utc::now(), subject.asked.clone(), |_| old(&["A1"])));
        let (failure, page) = subject.refresh().await;
        assert_eq!(failure.is_none(), is_same, "{created}");
        let available = if is_same { 1.0 } else { 0.0 };
        assert_eq!(value(&page, AVAILABLE), Some(available), "{created}");
        assert_eq!(of(&page, "unrotated", "A1"), Some(1.0 - available), "{created}");
    }
}

#[tokio::test]
async fn a_credential_that_comes_under_another_name_is_not_of_the_reports_user_of_that_name() {
    let rules =
        "rotation: { rules: [{ match: { path: /vendor/ }, exempt: { reason: vendor } }] }\n";
    let line = |path, user, created| row(ACCOUNT, path, user, &unused(OLD)).replace(OLD, created);
    let before = [line("/vendor/", "alpha", "2018-01-01T00:00:00Z"), line("/", "beta", OLD)];
    let after = [line("/vendor/", "gone", "2018-01-01T00:00:00Z"), line("/", "alpha", OLD)];
    let of = |user| {
        move |_: &str| service_credentials(&[[user, "bedrock", "A1", "Active", OLD, ""]], None)
    };
    let mut subject = Subject::new(rules, of("beta"));
    let scenario = |users: &[String], asked: &Asked, user| {
        let generated = Utc::now() - TimeDelta::hours(1);
        scenario_of(report(users.to_vec()), generated, asked.clone(), of(user))
    };
    subject.aws.follow(scenario(&before, &subject.asked, "beta"));
    let (failure, page) = subject.refresh().await;
    assert_eq!((failure, value(&page, UNROTATED)), (None, Some(1.0)));
    // The first alpha was deleted, and beta renamed, and renamed again.
    subject.account.refresh.service_credentials_listed = Some(Utc::now() - TimeDelta::hours(6));
    for name in ["gamma", "alpha", "alpha"] {
        subject.aws.follow(scenario(&before, &subject.asked, name));
        let (failure, page) = subject.refresh().await;
        assert!(failure.is_some());
        assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), Some(1.0)));
        assert!(page.contains(&format!("user=\"{name} (unmatched)\",service_name")), "{page}");
    }
    // The next report has it under that name.
    subject.age_report();
    subject.aws.follow(scenario(&after, &subject.asked, "alpha"));
    let (failure, page) = subject.refresh().await;
    assert_eq!((failure, value(&page, UNROTATED)), (None, Some(1.0)));
    assert!(page.contains("user=\"alpha\",service_name") && !page.contains("unmatched"), "{page}");
}

#[tokio::test]
async fn a_name_that_was_not_in_the_report_is_known_when_the_next_report_has_it() {
    let rules =
        "rotation: { rules: [{ match: { path: /vendor/ }, exempt: { reason: vendor } }] }\n";
    let line = |path, user, created| row(ACCOUNT, path, user, &unused(OLD)).replace(OLD, created);
    let of = |user| {
        move |_: &str| service_credentials(&[[user, "bedrock", "A1", "Active", OLD, ""]], None)
    };
    let mut subject = Subject::new(rules, of("gamma"));
    for (owner, listed) in [("beta", "gamma"), ("gamma", "alpha")] {
        let users = [line("/vendor/", "alpha", "2018-01-01T00:00:00Z"), line("/", owner, OLD)];
        if listed == "alpha" {
            subject.age_report();
        }
        let asked = subject.asked.clone();
        subject.aws.follow(scenario_of(report(users), Utc::now(), asked, of(listed)));
        let (failure, page) = subject.refresh().await;
        assert!(failure.is_some(), "{listed}");
        assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), Some(1.0)));
    }
}

#[tokio::test]
async fn a_list_that_was_wrong_is_corrected_with_the_reports_after_it() {
    let rules = "rotation: { rules: [{ match: { user: alpha }, exempt: { reason: vendor } }] }\n";
    let of = |user| {
        move |_: &str| service_credentials(&[[user, "bedrock", "A1", "Active", OLD, ""]], None)
    };
    // Users who had the key were renamed before, and after, the report was made.
    let mut subject = Subject::new(rules, of("alpha"));
    let (_, page) = subject.refresh().await;
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(1.0), Some(0.0)));
    for available in [0.0, 1.0] {
        subject.follow_with_alpha(Some("alpha"), of("beta"));
        let (_, page) = subject.refresh().await;
        let found = (value(&page, AVAILABLE), value(&page, UNROTATED));
        assert_eq!(found, (Some(available), Some(1.0)));
    }
}

#[tokio::test]
async fn a_list_that_lacked_a_service_does_not_keep_a_later_one_from_saying_whose_it_is() {
    let logs =
        |user: &'static str| service_credentials(&[[user, "logs", "L1", "Active", OLD, ""]], None);
    let rules = "rotation: { rules: [{ match: { user: omega }, exempt: { reason: vendor } }] }\n";
    let mut subject = Subject::new(rules, move |_| logs("alpha"));
    subject.refresh().await;
    subject.follow_with_alpha(Some("omega"), |what| match what {
        "all" => error(400, "ValidationError"),
        "logs" => error(400, "Throttling"),
        _ => service_credentials(&[], None),
    });
    let (failure, page) = subject.refresh().await;
    assert!(failure.is_some());
    assert!(page.contains("user=\"alpha (unmatched)\",service_name"), "{page}");
    let generated = subject.account.generated.expect("a report");
    let asked = subject.asked.clone();
    let users = users(Some("omega"));
    subject.aws.follow(scenario_of(users, generated, asked, move |_| logs("omega")));
    let (failure, page) = subject.refresh().await;
    assert_eq!((failure, value(&page, UNROTATED)), (None, Some(0.0)));
}

#[tokio::test]
async fn a_credential_that_cannot_be_used_needs_no_user() {
    for (status, expires) in
        [("Inactive", ""), ("Expired", OLD), ("Active", "2021-01-01T00:00:00Z")]
    {
        let gamma = with_gamma(status, expires);
        let (failure, page) = Subject::new("", gamma.clone()).refresh().await;
        assert_eq!(failure, None, "{status}");
        assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(1.0), Some(1.0)));
        assert_eq!(check("", gamma).await.0, 1, "{status}");
    }
}

#[tokio::test]
async fn credentials_of_a_user_who_left_the_report_stay_until_they_are_listed_again() {
    let denied = |_: &str| error(403, "AccessDenied");
    let rule = "rotation: { rules: [{ match: { path: / }, exempt: { reason: vendor } }] }\n";
    // The name of alpha in the next report, and whether the credential is unrotated then.
    for (alpha, unrotated) in [(Some("alpha"), 0.0), (Some("omega"), 1.0), (None, 1.0)] {
        let mut subject = Subject::new(rule, |_| old(&["A1"]));
        let (_, page) = subject.refresh().await;
        assert_eq!(value(&page, UNROTATED), Some(0.0));
        subject.follow_with_alpha(alpha, denied);
        let (failure, page) = subject.refresh().await;
        assert!(failure.is_some(), "{alpha:?}");
        assert_eq!(value(&page, AVAILABLE), Some(0.0));
        assert_eq!(of(&page, "unrotated", "A1"), Some(unrotated), "{alpha:?}");
        // Whoever has the name then is another user.
        subject.follow_with_alpha(Some("alpha"), denied);
        let (_, page) = subject.refresh().await;
        assert_eq!(of(&page, "unrotated", "A1"), Some(unrotated), "{alpha:?}");
        subject.follow_with_alpha(Some("alpha"), |_| old(&["A1"]));
        let (failure, page) = subject.refresh().await;
        assert_eq!((failure, of(&page, "unrotated", "A1")), (None, Some(0.0)));
    }
}

#[tokio::test]
async fn without_a_newer_report_they_are_listed_again_after_some_hours() {
    let mut subject = Subject::new("", |_| old(&["A1"]));
    subject.refresh().await;
    subject.asked();
    for (minutes, asked) in [(299, 0), (301, 1)] {
        subject.account.refresh.service_credentials_listed =
            Some(Utc::now() - TimeDelta::minutes(minutes));
        subject.refresh().await;
        assert_eq!(subject.asked().len(), asked, "{minutes}");
    }
    // A list that fails is not old as of then.
    subject.account.refresh.service_credentials_listed = Some(Utc::now() - TimeDelta::hours(6));
    subject.follow(|_| error(400, "Throttling"));
    let (failure, page) = subject.refresh().await;
    assert!(failure.is_some());
    assert_eq!((value(&page, AVAILABLE), of(&page, "unrotated", "A1")), (Some(0.0), Some(1.0)));
}

#[tokio::test]
async fn rules_and_exemptions_are_those_of_access_keys() {
    let rules = "rotation:\n\
        \x20 max_age: 36500d\n\
        \x20 rules:\n\
        \x20   - { match: { user: alpha }, max_age: 30d }\n\
        \x20   - { match: { user: beta }, exempt: { reason: vendor } }\n";
    let both = |_: &str| {
        service_credentials(
            &[
                ["alpha", "bedrock", "A1", "Active", OLD, ""],
                ["beta", "bedrock", "B1", "Active", OLD, ""],
            ],
            None,
        )
    };
    let (_, page) = Subject::new(rules, both).refresh().await;
    assert_eq!(of(&page, "unrotated", "A1"), Some(1.0));
    assert_eq!(of(&page, "unrotated", "B1"), Some(0.0));
    assert_eq!(value(&page, UNROTATED), Some(1.0));
}

#[tokio::test]
async fn who_does_not_want_them_has_no_call_and_no_value() {
    let mut subject = Subject::new("", |_| old(&["A1"]));
    subject.refresh().await;
    assert_eq!(subject.asked(), ["all"]);
    subject.config = parse(&format!("{CONFIG}service_credentials: {{ enabled: false }}\n"));
    let (failure, page) = subject.refresh().await;
    assert_eq!((failure, subject.asked()), (None, vec![]));
    for name in ["iam_service_specific_credential_", UNROTATED, AVAILABLE] {
        assert!(!page.contains(&format!("\n{name}")), "{name}");
    }
    subject.config = parse(CONFIG);
    let page = subject.page();
    assert_eq!((value(&page, AVAILABLE), value(&page, UNROTATED)), (Some(0.0), None));
    let (_, page) = subject.refresh().await;
    assert_eq!(subject.asked(), ["all"], "at once, not with the next report");
    assert_eq!(value(&page, UNROTATED), Some(1.0));
}

#[tokio::test]
async fn a_list_of_credentials_that_have_become_another_accounts_is_not_taken() {
    let mut subject = Subject::new("", |_| old(&["A1"]));
    let (mut usual, mut identities) =
        (scenario(Utc::now() - TimeDelta::hours(1), subject.asked.clone(), |_| old(&["A1"])), 0);
    subject.aws.follow(move |request: &Request| {
        identities += usize::from(request.operation == "GetCallerIdentity");
        if request.operation == "GetCallerIdentity" && identities > 1 {
            return (Duration::ZERO, identity("210987654321"));
        }
        usual(request)
    });
    let (source, target, limit) = (&subject.source, &subject.target, Duration::from_secs(20));
    let outcome = refresh_once(source, target, &subject.account, &subject.config, limit).await;
    assert_eq!(outcome.failure.expect("a failure").reason, Reason::Credentials);
    subject.account = outcome.account;
    assert_eq!(subject.account.service_credentials, None);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_accounts_cost_one_call_each_for_a_report() {
    let fleet = Arc::new(Fleet { unrotated: 0, ..Fleet::new(1_000, 1) });
    let source = FakeAws::new(fleet.paused()).source();
    let config = Arc::new(parse("organization: { role_name: iam-key-exporter }\n"));
    let store = Arc::new(Store::default());
    let schedule = Schedule { interval: Duration::from_secs(5 * 3600), ..Schedule::default() };
    let config = watch::channel(config).1;
    tokio::spawn(refresh::run(source, schedule, clock(), config, store.clone()));
    let calls = |wanted: &str, calls: &BTreeMap<(String, String), usize>| {
        let calls = calls.iter().filter(|((_, operation), _)| operation == wanted);
        calls.map(|((id, _), count)| (id.clone(), *count)).collect::<Vec<_>>()
    };
    let state = published(&store, |state| state.ready && state.accounts.len() == 1_000).await;
    assert!(state.accounts.iter().all(|it| it.service_credentials.is_some()));
    let first = fleet.calls();
    let lists = calls(OPERATION, &first);
    assert_eq!(lists.len(), 1_000);
    assert!(lists.iter().all(|(_, count)| *count == 1), "{lists:?}");
    // Some accounts have one new report in this time, and some have two.
    sleep(Duration::from_secs(10 * 3600)).await;
    let later = fleet.calls();
    assert_eq!(calls(OPERATION, &later), calls("GenerateCredentialReport", &later));
    assert_eq!(calls(OPERATION, &later).len(), 1_000);
}

/// The exit code and the last line of `check` with this answer of AWS.
async fn check(config: &str, answer: impl Fn(&str) -> Answer + Send + 'static) -> (u8, String) {
    let subject = Subject::new(config, answer);
    let (config, clock) = (Arc::new(subject.config), Clock::system());
    let outcome = check::run(subject.source, &Schedule::default(), &clock, &config).await;
    let outcome = outcome.expect("an outcome");
    let mut table = Vec::new();
    let (format, show) = (check::OutputFormat::Csv, check::Show::Unrotated);
    let found = outcome.write(format, show, &config, &Filter::default(), clock.now(), &mut table);
    let found = found.expect("memory takes every byte");
    (outcome.exit_code(found), outcome.summary(found))
}

#[tokio::test]
async fn check_counts_them_apart_and_is_uncertain_without_them_if_they_are_wanted() {
    let found =
        "unrotated keys: 0; unrotated service-specific credentials: 1; accounts read: 1 of 1";
    assert_eq!(check("", |_| old(&["A1"])).await, (1, found.to_owned()));
    let nothing = "unrotated keys: 0; accounts read: 1 of 1";
    assert_eq!(check("", |_| old(&[])).await, (0, nothing.to_owned()));
    let ahead = "2100-01-01T00:00:00Z";
    let ahead = move |_: &str| {
        service_credentials(&[["alpha", "bedrock", "A1", "Active", ahead, ""]], None)
    };
    let (code, summary) = check("", ahead).await;
    assert_eq!(code, 2);
    let not_judged = "account 123456789012: Bedrock key A1 of user alpha is not judged: its time of 2100-01-01T00:00:00Z is ahead of the clock\n";
    assert!(summary.starts_with(not_judged), "{summary}");
    let denied = |_: &str| error(403, "AccessDenied");
    let (code, summary) = check("", denied).await;
    assert_eq!(code, 2);
    assert!(summary.starts_with("account 123456789012: access_denied: List"), "{summary}");
    assert!(summary.ends_with(&format!("could not tell for all keys: {nothing}")), "{summary}");
    let unwanted = "service_credentials: { enabled: false }\n";
    assert_eq!(check(unwanted, denied).await, (0, nothing.to_owned()));
}

#[test]
fn report_files_do_not_have_them_and_nothing_says_that_there_are_none() {
    let folder = Folder::new();
    let root = crate::support::report::root(ACCOUNT, "false,N/A,N/A,N/A,N/A");
    folder.write("production.csv", &format!("{}\n{root}", of_one("alpha")));
    let exporter = Exporter::start(&["--source.reports", folder.path()]);
    exporter.wait_until_ready();
    let page = exporter.get("/metrics");
    for name in ["iam_service_specific_credential_", UNROTATED, AVAILABLE] {
        assert!(!page.contains(&format!("\n{name}")), "{name}");
    }
    let checked = output(&["check", "--source.reports", folder.path()]);
    assert_eq!(checked.status.code(), Some(1));
}
