//! The accounts: their state, and the age of their reports.

use std::cmp::Reverse;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::components::{account_cell, counted, grouped, pager, relative, rows_of, runbook, when};
use super::query::Query;
use super::{Pagination, StatusSettings};
use crate::failure::Reason;
use crate::findings::{Status, not_judged, unlisted};
use crate::render::Snapshot;
use crate::state::{Account, Tried};

/// Accounts on one page.
const PAGE_SIZE: usize = 50;
/// Up to this number of accounts the list is open even if all are ok.
const FEW: usize = 5;

/// An account as the page shows it.
pub struct AccountSummary<'a> {
    account: &'a Account,
    health: Health,
    unrotated: usize,
    not_judged: usize,
    unlisted: usize,
    lacks_tags: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Health {
    Failing(Reason),
    Pending,
    Ok,
}

/// The accounts, those first that need somebody.
pub fn rows(snapshot: &Snapshot) -> Vec<AccountSummary<'_>> {
    let mut unrotated: HashMap<&str, usize> = HashMap::new();
    for finding in snapshot.findings().iter().filter(|row| row.status == Status::Unrotated) {
        *unrotated.entry(&finding.account_id).or_default() += 1;
    }
    let row = |account| AccountSummary {
        account,
        health: match account.refresh.last.map(|attempt| attempt.failure) {
            None => Health::Pending,
            Some(None) => Health::Ok,
            Some(Some(reason)) => Health::Failing(reason),
        },
        // An account that has a report and no finding has no unrotated key.
        unrotated: unrotated.get(account.id.as_str()).copied().unwrap_or_default(),
        not_judged: not_judged(account, &snapshot.config, snapshot.now),
        unlisted: unlisted(account, &snapshot.config, snapshot.now),
        lacks_tags: account.report.is_some()
            && snapshot.config.policy.needs_tags()
            && !account.knows_tags(&snapshot.config.tag_keys()),
    };
    let all = snapshot.state.accounts.iter().chain(&snapshot.state.unidentified);
    let mut rows: Vec<_> = all.map(|account| row(account)).collect();
    rows.sort_by_key(|row| (row.health, Reverse(row.unrotated)));
    rows
}

impl AccountSummary<'_> {
    /// Whether its last refresh failed.
    pub fn is_failing(&self) -> bool {
        matches!(self.health, Health::Failing(_))
    }

    /// Whether its keys are known at all.
    pub fn is_read(&self) -> bool {
        self.account.report.is_some()
    }

    /// Whether it has no unrotated keys but those that are known.
    pub fn is_whole(&self) -> bool {
        let is_rejected = |account: &Account| {
            account.report.as_ref().is_none_or(|report| !report.rejected.is_empty())
        };
        !is_rejected(self.account)
            && self.not_judged == 0
            && self.unlisted == 0
            && !self.lacks_tags
            && self.account.refresh.name != Tried::Failed
    }

    /// What a person should look into besides a refresh that fails, with the runbook's section.
    fn troubles(&self) -> Vec<(String, &'static str)> {
        let refresh = &self.account.refresh;
        let rejected = self.account.report.as_ref().map_or(0, |report| report.rejected.len());
        let rows = (rejected > 0).then(|| {
            let rows = counted(rejected, "row");
            (format!("{rows} of the report not readable"), "iamcredentialreportrejectedrows")
        });
        let confirmation = (refresh.confirmation == Tried::Failed)
            .then(|| ("keys not confirmed".to_owned(), "iamkeyexporterconfirmationunavailable"));
        let tags = (refresh.tags == Tried::Failed)
            .then(|| ("tags not read".to_owned(), "iamkeyexportertagsunavailable"));
        let waiting = refresh.waiting.filter(|users| *users > 0).map(|users| {
            let users = counted(users, "user");
            (format!("{users} not asked about"), "iamkeyexporterconfirmationwaiting")
        });
        let name = (refresh.name == Tried::Failed).then(|| {
            ("name not read, and rules need it".to_owned(), "iamkeyexporteraccountnameunavailable")
        });
        let not_judged = (self.not_judged > 0).then(|| {
            let keys = counted(self.not_judged, "key");
            (format!("{keys} of unknown age"), "iamaccesskeysnotjudged")
        });
        let unlisted = (self.unlisted > 0).then(|| {
            let users = counted(self.unlisted, "user");
            (format!("{users} with more keys than the report shows"), "iamaccesskeysnotjudged")
        });
        let all = [rows, not_judged, unlisted, confirmation, waiting, tags, name];
        all.into_iter().flatten().collect()
    }
}

/// How many accounts are in which state, in words.
pub fn health(accounts: &[AccountSummary]) -> String {
    let count = |is: fn(&AccountSummary) -> bool| accounts.iter().filter(|row| is(row)).count();
    let states = [
        (count(|row| row.health == Health::Ok), "ok"),
        (count(|row| row.is_failing()), "failing"),
        (count(|row| row.health == Health::Pending), "not tried yet"),
    ];
    let states: Vec<String> = states
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{} {state}", grouped(count)))
        .collect();
    let what = if accounts.len() == 1 { "account" } else { "accounts" };
    if states.is_empty() { what.to_owned() } else { format!("{what}: {}", states.join(", ")) }
}

/// The section of the page.
pub fn section(
    settings: &StatusSettings,
    now: DateTime<Utc>,
    accounts: &[AccountSummary],
    query: &Query,
) -> Markup {
    let pagination = Pagination::new(query.accounts.unwrap_or(1), PAGE_SIZE, accounts.len());
    let is_ok = |row: &AccountSummary| row.health == Health::Ok && row.troubles().is_empty();
    let is_open = query.accounts.is_some() || accounts.len() <= FEW || !accounts.iter().all(is_ok);
    let link = |page| Query { accounts: Some(page), ..query.clone() }.link() + "#accounts";
    html! {
        section id="accounts" aria-labelledby="accounts-heading" {
            h2 id="accounts-heading" { "Accounts" }
            @if accounts.is_empty() {
                p { "No account is known." }
            } @else {
                details open[is_open] {
                    summary { (grouped(accounts.len())) " " (health(accounts)) }
                    div.table role="region" aria-labelledby="accounts-caption" tabindex="0" {
                        table {
                            caption.hidden id="accounts-caption" {
                                "Accounts, those that fail first: " (rows_of(&pagination, accounts.len()))
                            }
                            thead {
                                tr {
                                    th scope="col" { "Account" }
                                    th scope="col" { "State" }
                                    th.number scope="col" { "Unrotated keys" }
                                    th scope="col" { "Report of" }
                                    th scope="col" { "Next refresh" }
                                }
                            }
                            tbody {
                                @for row in &accounts[pagination.rows.clone()] { (account(settings, now, row)) }
                            }
                        }
                    }
                    (pager(&pagination, "Pages of accounts", link))
                }
            }
        }
    }
}

fn account(settings: &StatusSettings, now: DateTime<Utc>, row: &AccountSummary) -> Markup {
    let Account { id, name, generated, refresh, .. } = row.account;
    // A refresh that is under way has its time behind it.
    let next = refresh.next.filter(|next| *next > now);
    let of_account = Query { search: id.clone(), ..Query::default() }.link() + "#keys";
    html! {
        tr {
            th scope="row" { (account_cell(id, name)) }
            td {
                @match row.health {
                    Health::Ok => span.badge.ok { "ok" },
                    Health::Pending => span.badge.exempt { "not tried yet" },
                    Health::Failing(reason) => {
                        span.badge.unrotated { "failing: " (reason.as_str()) } " "
                        (runbook(settings, "iamrefreshfailing"))
                        @match refresh.last_success {
                            Some(time) => small { "last worked " (relative(time, now)) },
                            None => small { "never worked" },
                        }
                    }
                }
                @for (trouble, section) in row.troubles() {
                    small { (trouble) ". " (runbook(settings, section)) }
                }
            }
            td.number {
                @match row.account.report {
                    Some(_) => a href=(of_account) { (grouped(row.unrotated)) },
                    None => span.none { "not known" },
                }
            }
            td { (when(*generated, now, "none yet")) }
            td { (when(next, now, "now")) }
        }
    }
}
