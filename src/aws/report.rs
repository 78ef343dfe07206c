//! Getting the credential report: get first, generate where there is none that will do, then get
//! again with growing pauses.
//!
//! AWS keeps one report for each account, which every tool in it shares, and makes a new one at
//! most every four hours.

use std::time::Duration;

use aws_sdk_iam::operation::get_credential_report::{
    GetCredentialReportError, GetCredentialReportOutput,
};
use aws_sdk_iam::types::ReportStateType;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Clients, errors};
use crate::source::{Failure, Fetched};
use crate::state::Reason;

/// For how long AWS answers every request for a new report with the last one.
pub const RENEWAL: TimeDelta = TimeDelta::hours(4);

/// The first pause while AWS generates a report; each further one is twice as long, up to
/// [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What came of it. Both are there where AWS has a report, but a newer one could not be had.
#[derive(Debug)]
pub struct Answer {
    /// The newest report that AWS gave.
    pub report: Option<Fetched>,
    /// Why it is not newer.
    pub failure: Option<Failure>,
}

/// One answer of `GetCredentialReport`.
enum Got {
    Report(Fetched),
    /// There is none, or it is too old to be given out.
    Absent,
    InProgress,
    Failed(Failure),
}

/// Gets the report. Where it is older than [`RENEWAL`] at `now`, or there is none, asks AWS to
/// generate one and gets that, giving up at `deadline` with what it has by then.
///
/// Never asks for more than one: what AWS then returns is taken, fresh or not.
pub async fn fetch(clients: &Clients, now: DateTime<Utc>, deadline: Instant) -> Answer {
    let mut old = None;
    let mut pause = FIRST_PAUSE;
    match get(clients, deadline).await {
        Got::Report(report) if now - report.generated < RENEWAL => return Answer::from(report),
        Got::Failed(failure) => return failure.into(),
        Got::InProgress => {}
        absent_or_old => {
            if let Got::Report(report) = absent_or_old {
                old = Some(report);
            }
            match generate(clients, deadline).await {
                Ok(true) => pause = Duration::ZERO,
                Ok(false) => {}
                Err(failure) => return Answer { report: old, failure: Some(failure) },
            }
        }
    }
    loop {
        if Instant::now() + pause >= deadline {
            let failure = Failure::new(
                Reason::ReportNotReady,
                "AWS has not finished generating the credential report",
            );
            return Answer { report: old, failure: Some(failure) };
        }
        sleep(pause).await;
        pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        match get(clients, deadline).await {
            Got::Report(report) => return Answer::from(report),
            Got::Failed(failure) => return Answer { report: old, failure: Some(failure) },
            Got::Absent | Got::InProgress => {}
        }
    }
}

impl From<Fetched> for Answer {
    fn from(report: Fetched) -> Answer {
        Answer { report: Some(report), failure: None }
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Answer {
        Answer { report: None, failure: Some(failure) }
    }
}

async fn get(clients: &Clients, deadline: Instant) -> Got {
    let call = clients.call(clients.iam.get_credential_report().send());
    match timeout_at(deadline, call).await {
        Err(_) => Got::Failed(Failure::late()),
        Ok(Ok(output)) => read(output),
        Ok(Err(error)) => match error.as_service_error() {
            Some(
                GetCredentialReportError::CredentialReportNotPresentException(_)
                | GetCredentialReportError::CredentialReportExpiredException(_),
            ) => Got::Absent,
            Some(GetCredentialReportError::CredentialReportNotReadyException(_)) => Got::InProgress,
            _ => Got::Failed(errors::failure("GetCredentialReport", &error)),
        },
    }
}

fn read(output: GetCredentialReportOutput) -> Got {
    let generated = output.generated_time.and_then(|time| DateTime::from_timestamp(time.secs(), 0));
    match (output.content, generated) {
        (Some(csv), Some(generated)) => Got::Report(Fetched { csv: csv.into_inner(), generated }),
        _ => Got::Failed(Failure::new(
            Reason::MalformedReport,
            "GetCredentialReport: an answer without its content or its time",
        )),
    }
}

/// Asks for a new report; true where AWS says that it is there already.
async fn generate(clients: &Clients, deadline: Instant) -> Result<bool, Failure> {
    let call = clients.call(clients.iam.generate_credential_report().send());
    match timeout_at(deadline, call).await {
        Err(_) => Err(Failure::late()),
        Ok(Ok(output)) => Ok(output.state == Some(ReportStateType::Complete)),
        Ok(Err(error)) => Err(errors::failure("GenerateCredentialReport", &error)),
    }
}
