//! The root user, of whom nothing but the report and the account summary can tell.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use iam_key_exporter::check::{self, UnrotatedCount};
use iam_key_exporter::clock::Clock;
use iam_key_exporter::findings::lacks_root;
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::metrics::page;
use iam_key_exporter::refresh::Schedule;
use iam_key_exporter::source::Source;
use iam_key_exporter::source::target::Target;
use iam_key_exporter::state::{Account, State, Tried};

use crate::support::answers::{error, identity, report_at, summary_of, tags};
use crate::support::exporter::{output, value};
use crate::support::fake_aws::{ACCOUNT, FakeAws, account};
use crate::support::folder::Folder;
use crate::support::protocol::{Answer, Request};
use crate::support::refresh::{only_target, parse, refresh};
use crate::support::report::{NO_KEY, OLD, report, root, row, unused};

/// A report of these rows and of a user without keys.
fn with_user(rows: &[String]) -> String {
    report([rows, &[row(ACCOUNT, "/", "alpha", NO_KEY)]].concat())
}

/// An account with this report, in which `GetAccountSummary` has this answer.
fn aws(csv: String, summary: Answer) -> FakeAws {
    let mut usual = account(move |call| match call {
        "GetCredentialReport" => report_at(&csv, Utc::now()),
        _ => tags(&[], None),
    });
    FakeAws::new(move |request: &Request| match request.call().as_str() {
        "GetCallerIdentity" => (Duration::ZERO, identity(ACCOUNT)),
        "GetAccountSummary" => (Duration::ZERO, summary.clone()),
        _ => usual(request),
    })
}

fn keys_of_root(number: i32) -> Answer {
    summary_of(&[("AccountAccessKeysPresent", number), ("AccountPasswordPresent", 1)])
}

/// An account that is refreshed again and again, by one source for each answer of AWS.
struct Subject {
    account: Account,
    target: Target,
}

impl Subject {
    fn new(source: &Source) -> Subject {
        let target = only_target(source);
        Subject { account: Account::pending(&target.id, &target.name), target }
    }

    /// The unrotated keys, and the number of root's keys, after a refresh with a new report.
    async fn refresh(&mut self, aws: &FakeAws) -> (Option<f64>, Option<f64>) {
        let config = parse("");
        let before = &mut self.account;
        before.generated = before.generated.map(|time| time - TimeDelta::hours(5));
        for said in [&mut before.evidence.root.keys, &mut before.evidence.root.password] {
            *said = said.map(|(value, read)| (value, read - TimeDelta::hours(5)));
        }
        before.details_of = before.generated;
        let limit = Duration::from_secs(20);
        let outcome = refresh(&aws.source(), &self.target, before, &config, limit).await;
        assert_eq!(outcome.failure, None);
        self.account = outcome.account;
        let state = State::new([Arc::new(self.account.clone())], Tried::Ok, true);
        let page = page::text(&state, &config, &Filter::default(), Utc::now());
        (value(&page, "iam_unrotated_keys_total"), value(&page, "iam_owner_root_access_keys"))
    }
}

#[tokio::test]
async fn a_key_of_root_stays_without_its_row_until_aws_says_that_there_is_none() {
    let present = aws(with_user(&[root(ACCOUNT, &unused(OLD))]), keys_of_root(1));
    let rowless = |summary| aws(with_user(&[]), summary);
    let denied = || error(403, "AccessDenied");
    let mut subject = Subject::new(&present.source());
    let flagged = (Some(1.0), Some(1.0));
    assert_eq!(subject.refresh(&present).await, flagged);
    for summary in [keys_of_root(1), denied(), keys_of_root(1)] {
        assert_eq!(subject.refresh(&rowless(summary)).await, flagged, "its row is gone");
    }
    let cut = aws(with_user(&["<root_account>,arn".to_owned()]), denied());
    assert_eq!(subject.refresh(&cut).await, flagged, "its row is cut");
    assert_eq!(subject.refresh(&rowless(keys_of_root(0))).await, (Some(0.0), Some(0.0)));
    assert_eq!(subject.refresh(&rowless(denied())).await, (Some(0.0), None), "not known");
    assert_eq!(subject.refresh(&present).await, flagged, "a new key");
    let deleted = aws(with_user(&[root(ACCOUNT, NO_KEY)]), denied());
    assert_eq!(subject.refresh(&deleted).await, (Some(0.0), Some(0.0)));
}

#[tokio::test]
async fn that_root_had_no_key_before_a_report_without_its_row_says_nothing_of_now() {
    let config = parse("");
    let lacks = |subject: &Subject| lacks_root(&subject.account, &config, Utc::now());
    let clean = aws(with_user(&[root(ACCOUNT, NO_KEY)]), keys_of_root(0));
    let mut subject = Subject::new(&clean.source());
    subject.refresh(&clean).await;
    assert!(!lacks(&subject));
    for answer in [error(500, "ServiceFailure"), error(403, "AccessDenied"), keys_of_root(1)] {
        subject.refresh(&aws(with_user(&[]), answer)).await;
        assert!(lacks(&subject));
    }
    subject.refresh(&aws(with_user(&[]), keys_of_root(0))).await;
    assert!(!lacks(&subject));
    // The next report is there, and the summary was not asked for since.
    subject.account.generated = Some(Utc::now());
    assert!(lacks(&subject));
}

#[tokio::test]
async fn check_could_not_tell_if_the_report_has_no_row_of_root_and_the_summary_does_not_help() {
    let line = "account 123456789012: the report has no readable row of the root user\n";
    let exempt =
        "rotation: { rules: [{ match: { user: <root_account> }, exempt: { reason: x } }] }";
    for (rows, summary, config, expected) in [
        (vec![root(ACCOUNT, NO_KEY)], error(403, "AccessDenied"), "", 0),
        (vec![], keys_of_root(0), "", 0),
        (vec![], keys_of_root(1), "", 2),
        (vec![], summary_of(&[]), "", 2),
        (vec![], error(403, "AccessDenied"), "", 2),
        (vec![], keys_of_root(0), "controls: false", 0),
        (vec![], keys_of_root(1), "controls: false", 2),
        (vec![], error(403, "AccessDenied"), exempt, 0),
    ] {
        let source = aws(with_user(&rows), summary).source();
        let config = Arc::new(parse(config));
        let (schedule, clock) = (Schedule::default(), Clock::system());
        let outcome = check::run(source, &schedule, &clock, &config).await.expect("an outcome");
        let none = UnrotatedCount::default();
        let summary = outcome.summary(none);
        assert_eq!(outcome.exit_code(none), expected, "{summary}");
        assert_eq!(summary.contains(line), expected == 2, "{summary}");
    }
}

#[tokio::test]
async fn of_a_root_whose_slots_are_blank_the_summary_is_asked_without_controls_too() {
    let rows = [root(ACCOUNT, ",,,,")];
    let hidden = "user <root_account> may have more keys than the report shows";
    for (summary, expected) in
        [(keys_of_root(0), false), (keys_of_root(1), true), (error(403, "AccessDenied"), true)]
    {
        let source = aws(with_user(&rows), summary).source();
        let config = Arc::new(parse("controls: false"));
        let (schedule, clock) = (Schedule::default(), Clock::system());
        let outcome = check::run(source, &schedule, &clock, &config).await.expect("an outcome");
        let lines = outcome.summary(UnrotatedCount::default());
        assert_eq!(lines.contains(hidden), expected, "{lines}");
        assert!(!lines.contains("no readable row"), "{lines}");
    }
}

#[test]
fn a_report_file_without_a_row_of_root_is_not_whole_but_in_china() {
    for (partition, expected) in [("aws", 2), ("aws-us-gov", 2), ("aws-cn", 0)] {
        let folder = Folder::new();
        let csv = with_user(&[]).replace("arn:aws:", &format!("arn:{partition}:"));
        folder.write("a.csv", &csv);
        let check = output(&["check", "--source.reports", folder.path()]);
        let stderr = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.code(), Some(expected), "{partition}: {stderr}");
        let says = stderr.contains(": the report has no readable row of the root user\n");
        assert_eq!(says, expected == 2, "{stderr}");
    }
}
