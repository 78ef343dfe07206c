//! What is not known of an account, in words. The exit code follows from these lines, so it is never 2
//! without one that names the account.

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::failure::Failure;
use crate::findings::{
    AccountOverview, Finding, all_keys, is_outlived, lacks_name, lacks_root,
    lacks_service_credentials, lacks_tags, may_hide_due_keys, users_who_may_hide_keys,
};
use crate::policy::{KeyStatus, in_days};
use crate::printable::time;
use crate::refresh::account::RefreshOutcome;
use crate::refresh::faults::Detail;
use crate::report::RejectedRow;
use crate::state::{Account, Tried};

/// Something of an account that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The account's id. If it was never read: the name of its profile, role or file.
    pub account: String,
    /// What is missing, and why.
    pub what: String,
    /// What it does to the answer about keys.
    pub for_keys: Weight,
    /// What it does to the answer about controls. They say themselves which data they lack.
    pub for_controls: Weight,
}

/// What missing data does to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Nothing, and it is not printed.
    Nothing,
    /// It is printed.
    Note,
    /// It is printed, and the answer is not complete without it.
    Doubt,
}

use Weight::{Doubt, Note, Nothing};

/// The number of rows, keys or users of one account that are named.
const MAX_NAMED: usize = 100;

/// What the refresh could not read.
pub fn after_refresh(outcome: &RefreshOutcome, config: &Config) -> Vec<Missing> {
    let account = &outcome.account;
    let failed = |detail| outcome.detail_failures.contains_key(&detail);
    let lacks_tags = lacks_tags(account, config);
    // Policies are read with the tags. Report files have neither.
    let lacks_only_tags = account.evidence.user_policies.failure.is_none();
    let of_tags =
        (if lacks_tags { Doubt } else { Note }, if lacks_only_tags { Nothing } else { Note });
    let of_details = outcome.detail_failures.iter().map(|(detail, failure)| {
        let weights = match detail {
            Detail::Tags => of_tags,
            Detail::Alias | Detail::ServiceCredentials => (Doubt, Nothing),
            Detail::Confirmation | Detail::ControlData(_) => (Note, Note),
        };
        (failure, weights)
    });
    let of_report = outcome.failure.iter().map(|failure| (failure, (Doubt, Doubt)));
    let failures = of_report
        .chain(of_details)
        .map(|(failure, weights)| Missing::of_failure(account.label(), failure, weights));
    // Without a failure, too, what is not known must not look like nothing.
    let others = [
        (lacks_tags && !failed(Detail::Tags), "tags of users are not known, and rules need them"),
        (
            lacks_name(account, config) && !failed(Detail::Alias),
            "the name is not known, and rules need it",
        ),
        (
            lacks_service_credentials(account, config) && !failed(Detail::ServiceCredentials),
            "service-specific credentials are not known",
        ),
    ];
    let others = others.into_iter().filter(|(is_missing, _)| *is_missing);
    let others = others.map(|(_, what)| Missing::new(account, what.to_owned(), (Doubt, Nothing)));
    failures.chain(others).collect()
}

/// What the account's report does not say.
pub fn in_report(
    account: &Account,
    overview: &AccountOverview,
    config: &Config,
    now: DateTime<Utc>,
) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut add = |what, weights| missing.push(Missing::new(account, what, weights));
    let rows = account.report.iter().flat_map(|report| &report.rejected).map(row);
    for what in capped(rows, "rows that cannot be read") {
        add(what, (Doubt, Note));
    }
    if lacks_root(account, config, now) {
        add("the report has no readable row of the root user".to_owned(), (Doubt, Nothing));
    }
    if is_outlived(account, config, now) {
        let limit = in_days(config.policy.shortest_max_age());
        let what = format!("the report is older than keys may become: more than {limit}");
        add(what, (Doubt, Nothing));
    }
    if may_hide_due_keys(account, config, now) {
        let what = "the report is so old that keys made since then can be due soon";
        add(what.to_owned(), (Note, Nothing));
    }
    if overview.not_judged > 0 {
        let keys = all_keys(account, config, now);
        let keys = keys.iter().filter(|key| key.status == KeyStatus::NotJudged).map(unjudged);
        for what in capped(keys, "keys that are not judged") {
            add(what, (Doubt, Note));
        }
    }
    if overview.unlisted > 0 {
        let users = users_who_may_hide_keys(account, config, now);
        let users =
            users.map(|user| format!("user {user} may have more keys than the report shows"));
        for what in capped(users, "such users") {
            add(what, (Doubt, Note));
        }
    }
    let waiting = account.refresh.waiting.unwrap_or_default();
    if waiting > 0 && account.refresh.confirmation != Tried::Failed {
        let what = format!(
            "users whose keys are as the report has them, because time ran out before AWS was asked: {waiting}"
        );
        add(what, (Note, Note));
    }
    missing
}

impl Missing {
    /// Something that failed. The weights are those for keys and for controls.
    pub fn of_failure(account: &str, failure: &Failure, weights: (Weight, Weight)) -> Missing {
        let what = format!("{}: {failure}", failure.reason.as_str());
        let (for_keys, for_controls) = weights;
        Missing { account: account.to_owned(), what, for_keys, for_controls }
    }

    fn new(account: &Account, what: String, (for_keys, for_controls): (Weight, Weight)) -> Missing {
        Missing { account: account.label().to_owned(), what, for_keys, for_controls }
    }
}

fn row(row: &RejectedRow) -> String {
    let RejectedRow { line, column, problem, .. } = row;
    match &row.user {
        Some(user) => format!("line {line}, user {user}, column {column}: {problem}"),
        None => row.to_string(),
    }
}

fn unjudged(key: &Finding) -> String {
    let (name, user) = (key.name(), &key.user);
    let why = match key.last_rotated {
        None => "its time is not known".to_owned(),
        Some(at) => format!("its time of {} is ahead of the clock", time(at)),
    };
    let id = key.service.as_ref().and(key.access_key_id.as_deref());
    let id = id.map(|id| format!(" {id}")).unwrap_or_default();
    format!("{name}{id} of user {user} is not judged: {why}")
}

/// The first ones, and the number of the others.
fn capped(texts: impl Iterator<Item = String>, others: &str) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    if let Some(more @ 1..) = texts.len().checked_sub(MAX_NAMED) {
        texts.truncate(MAX_NAMED);
        texts.push(format!("and {more} more {others}"));
    }
    texts
}
