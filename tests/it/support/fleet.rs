//! An AWS organization of many accounts, with the latency of AWS, and with faults in some of them.

use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::answers::{
    accounts, credentials, error, generating, identity, keys, report_at, service_credentials,
};
use super::fake_aws::Scenario;
use super::protocol::{Answer, Request};
use super::report::{OLD, report, row};
use super::time::clock;

/// The fault of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Its role may not be assumed.
    Denied,
    /// Calls about its report hang.
    Hangs,
    /// Its report is not a credential report.
    Garbage,
    /// It answers that there are too many calls.
    Throttled,
    /// It answers every call with an internal error.
    Fails,
    /// The same, but only at the first.
    FailsOnce,
}

/// The organization.
pub struct Fleet {
    pub accounts: usize,
    /// In each account. Each user has one key.
    pub users: usize,
    /// This number of them have a key that is too old.
    pub unrotated: usize,
    /// Before each answer.
    pub latency: Duration,
    /// From `GenerateCredentialReport` until the report is there.
    pub generation: Duration,
    /// How long a role's credentials live.
    pub lifetime: TimeDelta,
    /// The fault of the account of each index.
    pub fault: fn(usize) -> Fault,
    pub state: Mutex<State>,
}

/// The calls so far.
#[derive(Default)]
pub struct State {
    /// When the report of each account was asked for.
    generated: HashMap<String, DateTime<Utc>>,
    calls: BTreeMap<(String, String), usize>,
}

impl Fleet {
    /// Without latency and faults.
    pub fn new(accounts: usize, users: usize) -> Fleet {
        Fleet {
            accounts,
            users,
            unrotated: 1,
            latency: Duration::ZERO,
            generation: Duration::ZERO,
            lifetime: TimeDelta::hours(1),
            fault: |_| Fault::None,
            state: Mutex::default(),
        }
    }

    /// The id of the account of an index. The first one is that of the base credentials.
    pub fn id(index: usize) -> String {
        format!("{:012}", 200_000_000_000 + index as u64 * 104_729)
    }

    fn index(id: &str) -> Option<usize> {
        let offset = id.parse::<u64>().ok()?.checked_sub(200_000_000_000)?;
        (offset % 104_729 == 0).then_some((offset / 104_729) as usize)
    }

    /// How often each account was asked for each operation since the last call of this: by the id and
    /// the operation.
    pub fn calls(&self) -> BTreeMap<(String, String), usize> {
        std::mem::take(&mut self.state.lock().expect("the state").calls)
    }

    /// The scenario, in paused time.
    pub fn paused(self: &Arc<Fleet>) -> impl Scenario {
        let (fleet, clock) = (self.clone(), clock());
        move |request: &Request| fleet.answer(request, clock.now())
    }

    /// The scenario, as time passes.
    pub fn live(self: &Arc<Fleet>) -> impl Scenario {
        let fleet = self.clone();
        move |request: &Request| fleet.answer(request, Utc::now())
    }

    /// The delay and the answer for each request.
    fn answer(&self, request: &Request, now: DateTime<Utc>) -> (Duration, Answer) {
        let answer = match request.operation.as_str() {
            "ListAccounts" => self.list(request),
            "GetCallerIdentity" => match request.access_key.split('-').collect::<Vec<_>>()[..] {
                ["ASIA", account, _] => identity(account),
                _ => identity(&Fleet::id(0)),
            },
            "AssumeRole" => self.assume(request, now),
            _ => self.iam(request, now),
        };
        (self.latency, answer)
    }

    /// Twenty accounts a page, as AWS has it, after a first page without any.
    fn list(&self, request: &Request) -> Answer {
        let token = request.body.split_once("\"NextToken\":\"").map(|(_, rest)| rest);
        let token = token.and_then(|rest| rest.split('"').next());
        let Some(first) = token else {
            return Answer::Reply(200, "{\"Accounts\":[],\"NextToken\":\"0\"}".to_owned());
        };
        let first: usize = first.parse().expect("a token of ours");
        let last = (first + 20).min(self.accounts);
        let found: Vec<(String, String)> =
            (first..last).map(|index| (Fleet::id(index), format!("account {index}"))).collect();
        let found = found.iter().map(|(id, name)| (id.as_str(), name.as_str()));
        let next = (last < self.accounts).then(|| last.to_string());
        accounts(&Fleet::id(0), found, next.as_deref())
    }

    /// Credentials that tell the account and their end.
    fn assume(&self, request: &Request, now: DateTime<Utc>) -> Answer {
        let arn = request.field("RoleArn").unwrap_or_default();
        let account = arn.split(':').nth(4).unwrap_or_default().to_owned();
        self.count(&account, "AssumeRole");
        match Fleet::index(&account).map(self.fault) {
            Some(Fault::Denied) | None => error(403, "AccessDenied"),
            // Only base credentials may assume roles.
            Some(_) if request.access_key.starts_with("ASIA") => error(403, "AccessDenied"),
            Some(_) => {
                let end = now + self.lifetime;
                credentials(&format!("ASIA-{account}-{}", end.timestamp()), end)
            }
        }
    }

    fn iam(&self, request: &Request, now: DateTime<Utc>) -> Answer {
        let account = match request.access_key.split('-').collect::<Vec<_>>()[..] {
            ["ASIA", account, end] if end.parse().is_ok_and(|end| now.timestamp() < end) => account,
            ["ASIA", ..] => return error(403, "ExpiredToken"),
            _ => &Fleet::id(0),
        };
        let earlier = self.count(account, &request.operation);
        let index = Fleet::index(account).expect("an account of the fleet");
        match (request.operation.as_str(), (self.fault)(index)) {
            ("GetCredentialReport", Fault::Hangs) => Answer::Hang,
            ("GetCredentialReport", Fault::Garbage) => report_at("<html>", now),
            ("GetCredentialReport", Fault::Throttled) => error(400, "Throttling"),
            ("GetCredentialReport", Fault::Fails) => error(500, "ServiceFailure"),
            ("GetCredentialReport", Fault::FailsOnce) if earlier == 0 => {
                error(500, "ServiceFailure")
            }
            ("GetCredentialReport", _) => self.report(account, now),
            ("GenerateCredentialReport", _) => {
                let mut state = self.state.lock().expect("the state");
                state.generated.insert(account.to_owned(), now);
                generating("STARTED")
            }
            // The key of every user who is asked about: as old as the report says.
            ("ListAccessKeys", _) => keys(&[("AKIAEXAMPLE", "Active", OLD)]),
            ("ListServiceSpecificCredentials", _) => service_credentials(&[], None),
            _ => error(403, "AccessDenied"),
        }
    }

    fn report(&self, account: &str, now: DateTime<Utc>) -> Answer {
        let asked = self.state.lock().expect("the state").generated.get(account).copied();
        match asked {
            None => error(410, "ReportNotPresent"),
            Some(asked) if now - asked >= TimeDelta::hours(4) => error(410, "ReportExpired"),
            Some(asked) if (now - asked).to_std().unwrap_or_default() < self.generation => {
                error(404, "ReportInProgress")
            }
            Some(asked) => report_at(&self.csv(account, now), asked),
        }
    }

    fn csv(&self, account: &str, now: DateTime<Utc>) -> String {
        let recent = now - TimeDelta::days(30);
        let recent = recent.to_rfc3339_opts(SecondsFormat::Secs, true);
        let root = format!(
            "<root_account>,arn:aws:iam::{account}:root,{OLD},true,{recent},not_supported,\
             not_supported,true,false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
        );
        let users = (0..self.users).map(|user| {
            let rotated = if user < self.unrotated { OLD } else { &recent };
            let key = format!("true,{rotated},{recent},eu-west-1,s3");
            row(account, "/service/", &format!("user-{user:04}"), &key)
        });
        report(iter::once(root).chain(users))
    }

    /// Returns how often it was asked for before.
    fn count(&self, account: &str, operation: &str) -> usize {
        let key = (account.to_owned(), operation.to_owned());
        let mut state = self.state.lock().expect("the state");
        let count = state.calls.entry(key).or_default();
        *count += 1;
        *count - 1
    }
}
