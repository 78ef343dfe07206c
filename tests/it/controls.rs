//! The controls of the CIS benchmark: the calls to AWS for them, and `check --controls`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use iam_key_exporter::check;
use iam_key_exporter::clock::Clock;
use iam_key_exporter::config::Config;
use iam_key_exporter::controls::rows::Results;
use iam_key_exporter::controls::{Control, Settings, Unknown, judge};
use iam_key_exporter::evidence::{EvidenceKind, Standing};
use iam_key_exporter::failure::Reason;
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::metrics::page;
use iam_key_exporter::refresh::Schedule;
use iam_key_exporter::refresh::account::RefreshOutcome;
use iam_key_exporter::refresh::faults::Detail;
use iam_key_exporter::source::Source;
use iam_key_exporter::source::target::Target;
use iam_key_exporter::state::{Account, State, Tried};

use crate::support::answers::{
    error, identity, password_policy, report_at, summary, summary_of, virtual_mfa_devices,
};
use crate::support::fake_aws::{ACCOUNT, FakeAws};
use crate::support::protocol::{Answer, Request};
use crate::support::refresh::{only_target, parse, refresh};
use crate::support::report::{report, row};

const SUMMARY: &str = "GetAccountSummary";
const POLICY: &str = "GetAccountPasswordPolicy";
const DEVICES: &str = "ListVirtualMFADevices";
const DETAILS: &str = "GetAccountAuthorizationDetails";
const CREDENTIALS: &str = "ListServiceSpecificCredentials";

/// The answer to a call. `None`: as in an account without violations.
trait Script: FnMut(&str) -> Option<Answer> + Send + 'static {}
impl<T: FnMut(&str) -> Option<Answer> + Send + 'static> Script for T {}

/// AWS's current answers, and the calls so far.
#[derive(Clone)]
struct World(Arc<Mutex<Inner>>);

struct Inner {
    generated: DateTime<Utc>,
    answer: Box<dyn Script>,
    calls: Vec<String>,
}

/// An account, the data about it so far, and its AWS.
struct Subject {
    world: World,
    source: Source,
    target: Target,
    account: Account,
    config: Config,
}

impl Subject {
    fn new(config: &str, answer: impl Script) -> Subject {
        let generated = Utc::now() - TimeDelta::hours(1);
        let inner = Inner { generated, answer: Box::new(answer), calls: Vec::new() };
        let world = World(Arc::new(Mutex::new(inner)));
        let of_aws = world.clone();
        let aws = FakeAws::new(move |request: &Request| (Duration::ZERO, of_aws.answer(request)));
        let source = aws.source();
        let target = only_target(&source);
        let account = Account::pending(&target.id, &target.name);
        Subject { world, source, target, account, config: parse(config) }
    }

    /// From now on AWS answers like this.
    fn follow(&self, answer: impl Script) {
        self.world.0.lock().expect("the world").answer = Box::new(answer);
    }

    /// AWS has made a new report.
    fn renew(&mut self) {
        self.world.0.lock().expect("the world").generated += TimeDelta::minutes(1);
        // The exporter asks for it when the last one is four hours old.
        self.account.generated = self.account.generated.map(|time| time - TimeDelta::hours(4));
    }

    /// Refreshes once. Returns the result and the calls for controls.
    async fn refresh(&mut self) -> (RefreshOutcome, Vec<String>) {
        self.refresh_within(Duration::from_secs(20)).await
    }

    async fn refresh_within(&mut self, timeout: Duration) -> (RefreshOutcome, Vec<String>) {
        let Subject { source, target, account, config, .. } = self;
        let outcome = refresh(source, target, account, config, timeout).await;
        self.account = outcome.account.clone();
        let calls = std::mem::take(&mut self.world.0.lock().expect("the world").calls);
        let is_of_controls = |call: &String| {
            [SUMMARY, POLICY, DEVICES, DETAILS].iter().any(|operation| call.starts_with(operation))
        };
        (outcome, calls.into_iter().filter(is_of_controls).collect())
    }

    /// The number of violations of a control, or the reasons why it is not decided.
    fn outcome(&self, control: Control) -> Result<usize, Vec<Unknown>> {
        let outcomes = judge(&self.account, &Settings::default(), Utc::now()).expect("a report");
        let outcome = outcomes.get(control);
        outcome.count().ok_or_else(|| outcome.unknown.iter().copied().collect())
    }
}

impl World {
    fn answer(&self, request: &Request) -> Answer {
        let mut inner = self.0.lock().expect("the world");
        let call = request.call();
        inner.calls.push(call.clone());
        if let Some(answer) = (inner.answer)(&call) {
            return answer;
        }
        match call.as_str() {
            "GetCallerIdentity" => identity(ACCOUNT),
            "GetCredentialReport" => report_at(&csv(), inner.generated),
            SUMMARY => summary(),
            POLICY => password_policy(),
            DEVICES => virtual_mfa_devices(&[], None),
            _ => error(403, "AccessDenied"),
        }
    }
}

/// Why data for controls could not be read.
fn of_controls(outcome: &RefreshOutcome) -> Vec<Reason> {
    let failures = outcome.detail_failures.iter();
    let of_controls = failures.filter(|(detail, _)| matches!(detail, Detail::ControlData(_)));
    of_controls.map(|(_, failure)| failure.reason).collect()
}

/// A root user with MFA, and one user.
fn csv() -> String {
    let root = format!(
        "<root_account>,arn:aws:iam::{ACCOUNT}:root,2020-01-01T00:00:00Z,true,no_information,\
         not_supported,not_supported,true,false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
    );
    report([root, row(ACCOUNT, "/", "alpha", "false,N/A,N/A,N/A,N/A")])
}

const EACH: [&str; 3] = [SUMMARY, POLICY, DEVICES];
const NONE: [&str; 0] = [];

#[tokio::test]
async fn each_call_is_made_once_for_each_new_report() {
    let mut subject = Subject::new("", |_| None);
    assert_eq!(subject.refresh().await.1, EACH);
    assert_eq!(subject.refresh().await.1, NONE);
    subject.renew();
    assert_eq!(subject.refresh().await.1, EACH);
    for control in [Control::RootHardwareMfa, Control::RootMfa, Control::PasswordReuse] {
        assert_eq!(subject.outcome(control), Ok(0), "{}", control.name());
    }
}

#[tokio::test]
async fn only_what_the_configuration_names_is_asked_for() {
    for (config, expected) in [
        ("controls: false", &NONE[..]),
        ("controls: { enabled: false }", &NONE),
        ("controls: { read: [] }", &NONE),
        ("controls: { read: [password_policy] }", &[POLICY]),
        ("controls: { read: [user_policies] }", &[DETAILS]),
        ("controls: false\nlabels: { user_tags: [team] }", &[DETAILS]),
    ] {
        assert_eq!(Subject::new(config, |_| None).refresh().await.1, expected, "{config}");
    }
}

#[tokio::test]
async fn data_that_a_reload_asks_for_is_not_available_until_it_was_read() {
    let mut subject = Subject::new("controls: false", |_| None);
    subject.refresh().await;
    let available = |subject: &Subject| {
        let state = State::new([Arc::new(subject.account.clone())], Tried::Ok, true);
        let page = page::text(&state, &subject.config, &Filter::default(), Utc::now());
        let name = "iam_exporter_control_data_available{";
        let lines = page.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next() == Some("1")).collect::<Vec<_>>()
    };
    assert_eq!(available(&subject), [false; 0]);
    for read in ["[account_summary, password_policy]", "[account_summary, virtual_mfa_devices]"] {
        let was_read = subject.config.controls.enabled;
        subject.config = parse(&format!("controls: {{ read: {read} }}"));
        assert_eq!(available(&subject), [was_read, false], "{read}");
        subject.refresh().await;
        assert_eq!(available(&subject), [true, true], "{read}");
    }
    subject.config = parse("controls: false");
    assert_eq!(available(&subject), [false; 0]);
}

#[tokio::test]
async fn a_missing_permission_is_looked_for_with_the_next_report_and_fails_nothing() {
    let mut subject =
        Subject::new("", |call| EACH.contains(&call).then(|| error(403, "AccessDenied")));
    let (outcome, calls) = subject.refresh().await;
    assert_eq!((&outcome.failure, of_controls(&outcome)), (&None, vec![]));
    assert_eq!(calls, EACH);
    for (control, kind) in [
        (Control::RootHardwareMfa, EvidenceKind::VirtualMfaDevices),
        (Control::PasswordLength, EvidenceKind::PasswordPolicy),
    ] {
        assert_eq!(subject.outcome(control), Err(vec![Unknown::Denied(kind)]));
    }
    assert_eq!(subject.outcome(Control::RootMfa), Ok(0), "the report says it");
    subject.follow(|_| None);
    assert_eq!(subject.refresh().await.1, NONE);
    subject.renew();
    assert_eq!(subject.refresh().await.1, EACH);
    assert_eq!(subject.outcome(Control::RootHardwareMfa), Ok(0));
}

#[tokio::test]
async fn a_call_that_failed_is_made_again_with_the_next_refresh() {
    let mut subject = Subject::new("", |call| (call == POLICY).then(|| error(400, "Throttling")));
    let (outcome, _) = subject.refresh().await;
    assert_eq!(outcome.failure, None);
    assert_eq!(of_controls(&outcome), [Reason::Throttled]);
    let failed = vec![Unknown::Failed(EvidenceKind::PasswordPolicy)];
    assert_eq!(subject.outcome(Control::PasswordLength), Err(failed));
    subject.follow(|_| None);
    assert_eq!(subject.refresh().await.1, [POLICY]);
    assert_eq!(subject.outcome(Control::PasswordLength), Ok(0));
}

#[tokio::test]
async fn what_was_read_stays_when_a_later_call_fails() {
    let mut subject = Subject::new("", |call| (call == POLICY).then(|| error(404, "NoSuchEntity")));
    subject.refresh().await;
    assert_eq!(subject.outcome(Control::PasswordLength), Ok(1), "there is no policy");
    subject.follow(|call| (call == POLICY).then(|| error(400, "Throttling")));
    subject.renew();
    subject.refresh().await;
    assert_eq!(subject.outcome(Control::PasswordLength), Ok(1));
    let reading = &subject.account.evidence.password_policy;
    assert_eq!(reading.standing(Utc::now()), Standing::Failed(Reason::Throttled));

    let reading = &mut subject.account.evidence.password_policy;
    reading.read = reading.read.map(|read| read - TimeDelta::hours(9));
    subject.refresh().await;
    let failed = vec![Unknown::Failed(EvidenceKind::PasswordPolicy)];
    assert_eq!(subject.outcome(Control::PasswordLength), Err(failed), "not for ever");
}

/// An account that cannot be reached any more makes no call that could fail.
#[tokio::test]
async fn what_was_read_counts_for_eight_hours_after_all_access_is_lost() {
    let mut subject = Subject::new("", |_| None);
    subject.refresh().await;
    subject.follow(|_| Some(error(403, "AccessDenied")));
    let (outcome, calls) = subject.refresh().await;
    assert!(outcome.failure.is_some());
    assert_eq!(calls, NONE);
    assert_eq!(subject.outcome(Control::PasswordLength), Ok(0));
    let reading = &mut subject.account.evidence.password_policy;
    reading.read = reading.read.map(|read| read - TimeDelta::hours(9));
    let (_, calls) = subject.refresh().await;
    assert_eq!(calls, NONE);
    let old = vec![Unknown::OldAnswer(EvidenceKind::PasswordPolicy)];
    assert_eq!(subject.outcome(Control::PasswordLength), Err(old));
}

#[tokio::test]
async fn what_gets_old_is_read_again_although_there_is_no_new_report() {
    let mut subject =
        Subject::new("controls: { read: [password_policy, user_policies] }", |call| {
            (call == DETAILS).then(|| users(&["alpha"]))
        });
    subject.refresh().await;
    for (hours, expected) in [(3, &NONE[..]), (5, &[DETAILS, POLICY])] {
        let evidence = &mut subject.account.evidence;
        for read in [&mut evidence.password_policy.read, &mut evidence.user_policies.read] {
            *read = Some(Utc::now() - TimeDelta::hours(hours));
        }
        assert_eq!(subject.refresh().await.1, expected, "after {hours} hours");
    }
}

#[tokio::test]
async fn what_was_read_goes_with_the_permission() {
    let each = [SUMMARY, POLICY, DEVICES, DETAILS];
    let config = "controls: { read: [account_summary, password_policy, virtual_mfa_devices, user_policies] }";
    let mut subject = Subject::new(config, |call| (call == DETAILS).then(|| users(&["alpha"])));
    subject.refresh().await;
    let controls =
        [Control::RootHardwareMfa, Control::PasswordLength, Control::PoliciesOnGroupsOnly];
    assert_eq!(controls.map(|control| subject.outcome(control)), [Ok(0), Ok(0), Ok(0)]);
    subject.follow(move |call| each.contains(&call).then(|| error(403, "AccessDenied")));
    subject.renew();
    let (outcome, _) = subject.refresh().await;
    assert_eq!((&outcome.failure, of_controls(&outcome)), (&None, vec![]));
    assert_eq!(outcome.detail_failures.get(&Detail::Tags), None);
    let kinds =
        [EvidenceKind::VirtualMfaDevices, EvidenceKind::PasswordPolicy, EvidenceKind::UserPolicies];
    let denied = kinds.map(|kind| Err(vec![Unknown::Denied(kind)]));
    assert_eq!(controls.map(|control| subject.outcome(control)), denied);
}

/// The details of users without policies.
fn users(names: &[&str]) -> Answer {
    let users: String =
        names.iter().map(|name| format!("<member><UserName>{name}</UserName></member>")).collect();
    Answer::Reply(
        200,
        format!(
            "<GetAccountAuthorizationDetailsResponse><GetAccountAuthorizationDetailsResult>\
             <IsTruncated>false</IsTruncated><UserDetailList>{users}</UserDetailList>\
             </GetAccountAuthorizationDetailsResult></GetAccountAuthorizationDetailsResponse>"
        ),
    )
}

#[tokio::test]
async fn a_list_that_repeats_a_page_decides_nothing() {
    let Answer::Reply(status, details) = users(&["alpha"]) else { unreachable!() };
    let more = "<IsTruncated>true</IsTruncated><Marker>again</Marker>";
    let details = details.replace("<IsTruncated>false</IsTruncated>", more);
    let mut subject =
        Subject::new("controls: { read: [virtual_mfa_devices, user_policies] }", move |call| {
            if call.starts_with(DETAILS) {
                Some(Answer::Reply(status, details.clone()))
            } else if call.starts_with(DEVICES) {
                Some(virtual_mfa_devices(&[], Some("again")))
            } else {
                None
            }
        });
    let (outcome, calls) = subject.refresh().await;
    assert_eq!(calls.len(), 4, "{calls:?}");
    assert_eq!(of_controls(&outcome), [Reason::ServiceError]);
    for (control, kind) in [
        (Control::RootHardwareMfa, EvidenceKind::VirtualMfaDevices),
        (Control::PoliciesOnGroupsOnly, EvidenceKind::UserPolicies),
    ] {
        assert_eq!(subject.outcome(control), Err(vec![Unknown::Failed(kind)]));
    }
}

#[tokio::test]
async fn the_virtual_device_of_root_is_found_by_its_user_on_any_page() {
    let page = |devices: &'static [(&str, Option<&str>)]| virtual_mfa_devices(devices, None);
    for (first, second, expected) in [
        // Any name is possible, and users can have the one that AWS gave to that of root.
        (&[("phone", Some("root"))][..], None, Ok(1)),
        (&[("root-account-mfa-device", Some("user/alpha"))], None, Ok(0)),
        (&[("a", Some("user/rootbeer")), ("b", Some("user/team/root"))], None, Ok(0)),
        (&[("a", Some("user/alpha"))], Some(page(&[("b", Some("root"))])), Ok(1)),
        (&[("a", Some("user/alpha"))], Some(page(&[])), Ok(0)),
        (&[("a", Some("user/alpha"))], Some(error(403, "AccessDenied")), Err(true)),
        (&[("a", Some("user/alpha"))], Some(error(500, "ServiceFailure")), Err(false)),
        (&[("a", None)], None, Err(false)),
    ] {
        let next = second.is_some().then_some("2");
        let mut subject = Subject::new("", move |call| match call {
            DEVICES => Some(virtual_mfa_devices(first, next)),
            "ListVirtualMFADevices 2" => second.clone(),
            _ => None,
        });
        subject.refresh().await;
        let kind = EvidenceKind::VirtualMfaDevices;
        let expected = expected.map_err(|is_denied| {
            vec![if is_denied { Unknown::Denied(kind) } else { Unknown::Failed(kind) }]
        });
        assert_eq!(subject.outcome(Control::RootHardwareMfa), expected, "{first:?}");
    }
}

#[tokio::test]
async fn an_answer_that_lacks_what_counts_decides_nothing() {
    let damaged = |answer: Answer, from: &str, to: &str| match answer {
        Answer::Reply(status, body) => Answer::Reply(status, body.replace(from, to)),
        answer => answer,
    };
    let policy = damaged(password_policy(), "PasswordPolicy>", "PasswordPolicz>");
    let devices = virtual_mfa_devices(&[("phone", Some("root"))], None);
    let devices = damaged(devices, "VirtualMFADevices>", "VirtualMFADevicez>");
    let mut subject = Subject::new("", move |call| match call {
        POLICY => Some(policy.clone()),
        DEVICES => Some(devices.clone()),
        SUMMARY => Some(summary_of(&[])),
        _ => None,
    });
    subject.refresh().await;
    for (control, kind) in [
        (Control::RootHardwareMfa, EvidenceKind::VirtualMfaDevices),
        (Control::PasswordLength, EvidenceKind::PasswordPolicy),
    ] {
        assert_eq!(subject.outcome(control), Err(vec![Unknown::Failed(kind)]));
    }
    assert_eq!(subject.account.evidence.summary.standing(Utc::now()), Standing::Good);
}

#[tokio::test]
async fn users_with_policies_are_read_with_the_tags_and_without_them_if_asked() {
    let users = "<GetAccountAuthorizationDetailsResponse><GetAccountAuthorizationDetailsResult>\
        <IsTruncated>false</IsTruncated><UserDetailList>\
        <member><UserName>alpha</UserName><AttachedManagedPolicies><member>\
        <PolicyName>p</PolicyName><PolicyArn>arn:aws:iam::aws:policy/p</PolicyArn></member>\
        </AttachedManagedPolicies></member>\
        <member><UserName>newer</UserName><UserPolicyList><member><PolicyName>p</PolicyName>\
        <PolicyDocument>x</PolicyDocument></member></UserPolicyList></member>\
        <member><UserName>beta</UserName><UserPolicyList/><AttachedManagedPolicies/></member>\
        </UserDetailList></GetAccountAuthorizationDetailsResult>\
        </GetAccountAuthorizationDetailsResponse>";
    for config in ["labels: { user_tags: [team] }", "controls: { read: [user_policies] }"] {
        let answer =
            move |call: &str| (call == DETAILS).then(|| Answer::Reply(200, users.to_owned()));
        let mut subject = Subject::new(config, answer);
        let calls = subject.refresh().await.1;
        assert_eq!(calls.iter().filter(|call| *call == DETAILS).count(), 1);
        // One of them is not in the report yet.
        assert_eq!(subject.outcome(Control::PoliciesOnGroupsOnly), Ok(2), "{config}");
        let policies = subject.account.evidence.user_policies.value.as_deref();
        let expected = [("alpha", true), ("beta", false), ("newer", true)];
        assert_eq!(policies, Some(&expected.map(|(user, has)| (user.to_owned(), has)).into()));
        assert_eq!(subject.refresh().await.1, NONE);
    }
}

#[tokio::test]
async fn policies_that_may_not_be_read_fail_nothing_and_are_asked_for_once_a_report() {
    let mut subject = Subject::new("controls: { read: [user_policies] }", |_| None);
    let (outcome, calls) = subject.refresh().await;
    assert_eq!((outcome.failure, outcome.detail_failures.get(&Detail::Tags)), (None, None));
    assert_eq!(calls, [DETAILS]);
    assert_eq!(subject.account.refresh.tags, Tried::NotYet);
    let denied = vec![Unknown::Denied(EvidenceKind::UserPolicies)];
    assert_eq!(subject.outcome(Control::PoliciesOnGroupsOnly), Err(denied));
    assert_eq!(subject.refresh().await.1, NONE);
}

#[tokio::test]
async fn a_call_that_hangs_costs_no_keys() {
    let each = [SUMMARY, POLICY, DEVICES, DETAILS, CREDENTIALS];
    for hanging in each.map(|call| vec![call]).into_iter().chain([each.to_vec()]) {
        let of_script = hanging.clone();
        let mut subject = Subject::new(
            "controls: { read: [account_summary, password_policy, virtual_mfa_devices, user_policies] }",
            move |call| of_script.contains(&call).then_some(Answer::Hang),
        );
        let (outcome, _) = subject.refresh_within(Duration::from_secs(2)).await;
        assert_eq!(outcome.failure, None, "{hanging:?}");
        assert!(subject.account.report.is_some(), "{hanging:?}");
        let failures = outcome.detail_failures.values();
        let timeouts = failures.filter(|failure| failure.reason == Reason::Timeout);
        let mut calls: Vec<_> = timeouts.filter_map(|it| it.message.split(':').next()).collect();
        calls.sort_by_key(|call| each.iter().position(|it| it == call));
        assert_eq!(calls, hanging);
        if hanging == [SUMMARY] {
            assert_eq!(subject.outcome(Control::PasswordLength), Ok(0), "the next call has time");
        }
    }
}

#[tokio::test]
async fn data_of_another_account_is_not_taken() {
    let mut asked = 0;
    let mut subject = Subject::new("", move |call| {
        let is_identity = call == "GetCallerIdentity";
        asked += usize::from(is_identity);
        (is_identity && asked > 1).then(|| identity("999999999999"))
    });
    let (outcome, _) = subject.refresh().await;
    assert_eq!(outcome.failure.map(|failure| failure.reason), Some(Reason::Credentials));
    assert_eq!(subject.account.evidence, Account::pending("", "").evidence);
}

#[tokio::test]
async fn check_exits_with_0_1_and_2() {
    let weak = summary_of(&[("AccountMFAEnabled", 0)]);
    for (replaced, answer, expected) in [
        ("", weak.clone(), 0),
        (POLICY, error(404, "NoSuchEntity"), 1),
        (DEVICES, error(403, "AccessDenied"), 2),
        (DETAILS, error(403, "AccessDenied"), 2),
        ("GetCredentialReport", error(403, "AccessDenied"), 2),
    ] {
        let subject = Subject::new("", move |call| match call {
            call if call == replaced => Some(answer.clone()),
            DETAILS => Some(users(&["alpha"])),
            _ => None,
        });
        let settings = Settings { read: EvidenceKind::ALL.into(), ..Settings::default() };
        let controls = settings.clone();
        // Nobody may read the alias. No control needs it, so the summary does not name it.
        let rules = "rotation: { rules: [{ match: { account: prod-* }, max_age: 30d }] }";
        let config = Config { controls, service_credentials: false, ..parse(rules) };
        let (schedule, clock) = (Schedule::default(), Clock::system());
        let outcome = check::run(subject.source, &schedule, &clock, &Arc::new(config)).await;
        let outcome = outcome.expect("an outcome");
        let results = Results::new(&outcome.state, &settings, outcome.now);
        let summary = outcome.summary_of_controls(&results);
        assert_eq!(outcome.exit_code_of_controls(&results), expected, "{replaced}: {summary}");
        assert!(!summary.contains("ListAccountAliases"), "{summary}");
        let lacks_alias = outcome.missing.iter().any(|it| it.what.contains("ListAccountAliases"));
        assert_eq!(lacks_alias, replaced != "GetCredentialReport");
    }
}
