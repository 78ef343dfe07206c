//! The page of one key: the problem, the owner, the due date, and the `steps`.

use chrono::{DateTime, Utc};
use form_urlencoded::byte_serialize;
use maud::{Markup, html};

use super::StatusSettings;
use super::choices::KeyFilter;
use super::components::{
    account_cell, capitalized, date, day, deadline, in_words, moment, owner, relative, runbook,
    sentence, since,
};
use super::health::{self, Trouble};
use super::keys::{NO_ID, age_in_days, badge, due_cell, last_day, limit, never, sheet};
use super::missing_key::{old_list, unknown_id, unreadable_rows};
use super::page::{frame, invalid, missing};
use super::query::Query;
use super::steps;
use super::trust::{never_read, no_account};
use crate::findings::{Finding, all_keys};
use crate::policy::KeyStatus;
use crate::render::Snapshot;
use crate::report::{Key, ROOT_USER, User};
use crate::service_credentials::unmatched_name;
use crate::state::{Account, Tried};

/// The result of a request for a key's page.
pub enum KeyPage {
    /// Its page.
    Found(String),
    /// A page that says that there is no such key, or no such account.
    Missing(String),
    /// A page that says which parameters are needed.
    Invalid(String),
}

/// The page of the key that the query names.
pub fn render(settings: &StatusSettings, snapshot: &Snapshot, query: &Query) -> KeyPage {
    let missing =
        |what: Markup, more| KeyPage::Missing(missing(settings, snapshot.now, &what, &more));
    let invalid = |what: Markup| KeyPage::Invalid(invalid(settings, snapshot.now, &what));
    let lacking = lacking(query);
    if !lacking.is_empty() {
        return invalid(html! {
            "The address of a key has an account, a user, and a key or an id, such as "
            code { "/key?account=123456789012&user=NAME&key=1" }
            ". This one lacks " (lacking.join(", ")) ". Find the key in the list of all keys, and select its user there."
        });
    }
    let account = match &accounts_of(snapshot, &query.account)[..] {
        [account] => *account,
        [] => return missing(html! { (no_account(settings, snapshot, query)) }, html! {}),
        several => {
            return invalid(html! {
                "Several accounts are called " bdi { (query.account) } ". Write one of these instead: "
                @for (place, one) in several.iter().enumerate() {
                    @if place > 0 { ", " }
                    bdi { (if one.id == query.account { &one.name } else { &one.id }) }
                }
                "."
            });
        }
    };
    let Some(generated) = account.generated else {
        return missing(never_read(account), html! {});
    };
    let of_account = html! { a href={ "./" (sheet(&account.id)) "#keys" } { "Every key of this account" } " · " };
    let keys = all_keys(account, &snapshot.config, snapshot.now);
    // A key with its id is that key: its user may have another name since the link was made.
    let has_id = |key: &&Finding| !query.id.is_empty() && query.is_of_key(key);
    let is_asked = |key: &&Finding| has_id(key) && key.user == query.user;
    let found = keys.iter().find(is_asked).or_else(|| keys.iter().find(has_id));
    let user = found.map_or(&query.user, |key| &key.user);
    let of_user: Vec<&Finding> = keys.iter().filter(|key| key.user == *user).collect();
    let Some(finding) = of_user.iter().copied().find(|finding| query.is_of_key(finding)) else {
        let slot = query.key.map(|slot| slot.to_string()).unwrap_or_default();
        let name = if query.id.is_empty() { &slot } else { &query.id };
        let key = html! { "key " bdi { (name) } " in account " (account.id) };
        let user = html! { "User " bdi { (query.user) } };
        let what = match unknown_id(account, &of_user, query) {
            Some(why) => html! { (user) " may have a " (key) ": " (why) "." },
            None => html! {
                (user) " has no " (key) ", by the credential report of "
                (relative(generated, snapshot.now)) " and what AWS has said since: it was deleted, or the user was renamed."
                (old_list(account, query)) (unreadable_rows(account))
            },
        };
        return missing(what, of_account);
    };
    let key = account.users().find(|(subject, _)| subject.user.name == finding.user);
    let key = key.and_then(|(_, keys)| keys.get(usize::from(finding.key?) - 1)?.as_ref());
    let accounts = health::accounts(snapshot, &Query::default(), &[]);
    let troubles = accounts.iter().find(|row| row.account.id == account.id);
    let troubles = troubles.map_or(&[][..], |row| &row.troubles);
    let facts = Facts { settings, snapshot, account, troubles, finding, of_user: &of_user, key };
    KeyPage::Found(facts.page(query))
}

/// The parameters that the address of a key needs and the query lacks.
fn lacking(query: &Query) -> Vec<&'static str> {
    let has_key = query.key.is_some() || !query.id.is_empty();
    [
        (query.account.is_empty(), "account"),
        (query.user.is_empty(), "user"),
        (!has_key, "key or id"),
    ]
    .into_iter()
    .filter_map(|(is_lacking, name)| is_lacking.then_some(name))
    .collect()
}

/// The account with this id, or those with this name. Several accounts have no id yet.
fn accounts_of<'a>(snapshot: &'a Snapshot, account: &str) -> Vec<&'a Account> {
    let all = || snapshot.state.accounts.iter().chain(&snapshot.state.unidentified).map(|it| &**it);
    let by_id: Vec<&Account> = all().filter(|it| it.id == account).collect();
    if by_id.is_empty() { all().filter(|it| it.name == account).collect() } else { by_id }
}

/// The data of the page.
struct Facts<'a> {
    settings: &'a StatusSettings,
    snapshot: &'a Snapshot,
    account: &'a Account,
    troubles: &'a [Trouble],
    finding: &'a Finding,
    of_user: &'a [&'a Finding],
    key: Option<&'a Key>,
}

impl Facts<'_> {
    fn page(&self, query: &Query) -> String {
        let Facts { settings, snapshot, account, finding, .. } = *self;
        let now = snapshot.now;
        let name = capitalized(&finding.name());
        let title = html! { (name) " of " (finding.user) };
        let (class, state) = badge(finding.status);
        let heading = html! {
            h1 { (name) " of " bdi { (finding.user) } " " span class={ "badge " (class) } { (state) } }
        };
        let all_of_user = Query {
            account: account.id.clone(),
            user: finding.user.clone(),
            show: KeyFilter::Every,
            ..Query::default()
        };
        let body = html! {
            section id="keys" aria-labelledby="verdict" {
                h2.hidden id="verdict" { "What is wrong" }
                p.verdict { (self.verdict()) }
                (self.doubts())
                dl {
                    div { dt { "Account" } dd { (account_cell(&account.id, &finding.account_name)) } }
                    div {
                        dt { "Owner" }
                        dd {
                            @if snapshot.config.user_tags.is_empty() {
                                span.none { "no tags are configured" }
                            } @else {
                                (owner(finding))
                            }
                        }
                    }
                    div {
                        dt { "Due" }
                        dd {
                            @match deadline(finding, now) {
                                Some((time, text)) => { (text) small { (moment(time)) } }
                                None => (due_cell(finding, now)),
                            }
                        }
                    }
                    div {
                        dt { @if finding.service.is_some() { "Credential id" } @else { "Access key id" } }
                        dd {
                            @match &finding.access_key_id {
                                Some(id) => code { (id) },
                                None => span.none { (NO_ID) },
                            }
                        }
                    }
                    div {
                        dt { "Created or rotated" }
                        dd {
                            @match finding.last_rotated {
                                Some(time) => (moment(time)),
                                None => span.none { "not known" },
                            }
                        }
                    }
                    @if let Some(service) = &finding.service {
                        div { dt { "Service" } dd { (service) } }
                        div {
                            dt { "Expires" }
                            dd {
                                @match finding.expires {
                                    Some(time) => { (moment(time)) small { (day(time, now)) } }
                                    None => span.none { "never" },
                                }
                            }
                        }
                    } @else {
                        div { dt { "Last used" } dd { (self.last_used()) } }
                    }
                    div { dt { "Limit" } dd { (limit(finding)) } }
                    div { dt { "Known from" } dd { (self.knowledge()) } }
                }
            }
            section aria-labelledby="steps" {
                h2 id="steps" { "What to do" }
                @if self.account.gone_users().any(|user| user.name == finding.user) {
                    p {
                        "AWS no longer has a user of this name. The user was renamed, or this key was deleted and then the user. "
                        "The next report shows which. If there is a new name, use that in the commands."
                    }
                }
                @if self.is_unmatched() {
                    p {
                        "It is not known which user of the report has this key: one of this name can be another one. The key's user was renamed, or the key was deleted and then the user. "
                        "The next report and list of AWS show which. In the commands, USER_NAME is the name that the user has now."
                    }
                }
                (steps::render(settings, now, finding, self.of_user, self.may_have_more()))
            }
            section.screen aria-labelledby="links" {
                h2 id="links" { "See also" }
                ul {
                    @if !self.is_unmatched() {
                        li { a href={ "./" (all_of_user.link()) "#keys" } { "Every key of this user" } }
                    }
                    li { a href={ "./" (sheet(&account.id)) "#keys" } { "Every key of this account" } }
                    @if let Some(url) = self.console() {
                        li { a href=(url) rel="noreferrer" { "The user in the AWS console" } }
                    }
                    @if let Some(url) = &settings.dashboard_url { li { a href=(url) { "Dashboard" } } }
                }
            }
        };
        frame(settings, now, &title, &heading, &body, &format!("key{}", query.link()))
    }

    /// A few sentences.
    fn verdict(&self) -> Markup {
        let Facts { snapshot, finding, .. } = *self;
        let expires_first = finding.expires_first().is_some();
        let now = snapshot.now;
        let limit = in_words(finding.max_age);
        let days_old = age_in_days(finding);
        let days = if days_old.as_deref() == Some("1") { "day" } else { "days" };
        let age = format!("{} {days}", days_old.clone().unwrap_or_default());
        let why_unknown = html! {
            @match finding.last_rotated {
                Some(time) => { "its date, " (moment(time)) ", is ahead of the exporter's clock" }
                None => "no date of it is known",
            }
        };
        let (do_it, done) = if steps::is_to_delete(finding, now) {
            ("delete", "deleted")
        } else {
            ("rotate", "rotated")
        };
        let has_expired = finding.expires.is_some_and(|time| time <= now);
        let by = html! {
            @if let Some(time) = finding.due { (date(time)) }
        };
        html! {
            @match finding.status {
                KeyStatus::Unrotated => {
                    "This key is " (age) " old, and its limit is " (limit) ": it had to be " (done) " by " (by) "."
                }
                KeyStatus::DueSoon | KeyStatus::Ok if expires_first => {
                    "This key is " (age) " old, and its limit is " (limit) "."
                }
                KeyStatus::DueSoon => {
                    "This key is " (age) " old, and its limit is " (limit) ": " (do_it) " it by " (by)
                    @if let Some((_, text)) = deadline(finding, now) { ", it is " (text) } "."
                }
                KeyStatus::Ok => {
                    "This key is " (age) " old, and its limit is " (limit) ": it must be " (done) " by " (by) "."
                }
                KeyStatus::Exempt => {
                    "This key is " @if days_old.is_some() { (age) " old, and " } "exempt"
                    @if let Some(exemption) = &finding.exemption {
                        @match exemption.end {
                            Some(end) => { " to " (date(last_day(end))) ", its last day" }
                            None => " without end",
                        }
                        ": " bdi { (sentence(&exemption.reason)) }
                    }
                    @if days_old.is_none() { " Its age is not known: " (why_unknown) "." }
                }
                KeyStatus::Inactive => {
                    "This key " (if has_expired { "has expired" } else { "is inactive" })
                    ": nobody can use it. Delete it once you are sure."
                }
                KeyStatus::NotJudged => {
                    "The age of this key is not known, so it may be too old: " (why_unknown) "."
                }
            }
            @if let Some(time) = finding.expiry_ahead() {
                " It expires on " (date(time)) ", " (day(time, now)) ", and stops working then"
                @if expires_first { ": " (do_it) " it before" } "."
            }
            @if finding.user == ROOT_USER && finding.status != KeyStatus::Inactive {
                " It is a key of root, and can do everything in the account."
            }
        }
    }

    /// The reasons why the page may be incomplete or out of date.
    fn doubts(&self) -> Markup {
        let Facts { settings, snapshot, account, .. } = *self;
        let refresh = &account.refresh;
        html! {
            @if let Some(fault) = &refresh.fault {
                p.notice.bad {
                    "Refreshes of this account have failed for " (since(fault.since, snapshot.now))
                    ": " bdi { (sentence(&fault.message)) } " What follows may be out of date. "
                    (runbook(settings, "iamrefreshfailing"))
                }
            }
            @for trouble in self.troubles {
                p.notice.bad {
                    "Not all is known of this account: " (trouble.text()) ". " (runbook(settings, trouble.section))
                }
            }
        }
    }

    fn knowledge(&self) -> Markup {
        let Facts { snapshot, account, finding, .. } = *self;
        let now = snapshot.now;
        let is_confirmed = account.refresh.confirmation == Tried::Ok
            && account.refresh.waiting == Some(0)
            && finding.access_key_id.is_some();
        html! {
            @if self.is_unmatched() {
                "a list of AWS"
            } @else if let Some(generated) = self.report_of_key() {
                "the credential report of " (moment(generated)) ", " (relative(generated, now))
            }
            @if self.is_unmatched() {
                small {
                    @if account.refresh.service_credentials_listed > account.generated {
                        "AWS listed it after the report was made, which can have its user under another name"
                    } @else {
                        "The last list failed, or the next one is still to come"
                    }
                }
            } @else if finding.service.is_some() {
                small {
                    @if account.refresh.service_credentials == Tried::Failed {
                        "AWS listed it then or earlier. The last list failed, or it is not known whose its keys are"
                    } @else {
                        "AWS listed it for that report"
                    }
                }
            } @else if let (true, Some(time)) = (is_confirmed, account.refresh.confirmed) {
                small { "AWS confirmed unrotated keys " (relative(time, now)) }
            } @else if finding.status == KeyStatus::Unrotated {
                small { "not confirmed since" }
            }
        }
    }

    /// The user's row in the report.
    fn user(&self) -> Option<&User> {
        let mut users = self.account.report.iter().flat_map(|report| &report.users);
        users.find(|user| user.name == self.finding.user)
    }

    fn is_unmatched(&self) -> bool {
        unmatched_name(&self.finding.user).is_some()
    }

    /// When the report was made that shows the key.
    fn report_of_key(&self) -> Option<DateTime<Utc>> {
        let slot = self.finding.key.map_or(0, |slot| usize::from(slot) - 1);
        let is_kept = self.user().is_some_and(|user| {
            user.is_kept || user.lacks_key.get(slot).is_none_or(|lacks| *lacks)
        });
        let earlier = self.key.and_then(|key| key.use_of).filter(|_| is_kept);
        earlier.or(self.account.generated)
    }

    /// Whether the user may have more access keys than are known. A row of an earlier report does not say.
    fn may_have_more(&self) -> bool {
        let account = self.account;
        self.user().is_some_and(|user| {
            user.is_kept && !account.confirmed.knows(&user.name)
                || account.may_hide_keys_of(user, self.snapshot.now)
        })
    }

    fn last_used(&self) -> Markup {
        let Facts { snapshot, finding, key, .. } = *self;
        html! {
            @match finding.last_used {
                Some(time) => {
                    (date(time)) small { (relative(time, snapshot.now)) }
                    @if let Some(key) = key {
                        @if let Some(service) = &key.last_used_service { small { "for " (service) } }
                        @if let Some(region) = &key.last_used_region { small { "in " (region) } }
                    }
                }
                None => {
                    span.none { (never(finding)) }
                    @if let (true, Some(time)) = (finding.never_used, finding.use_known_until) {
                        small { "as of " (moment(time)) }
                    }
                }
            }
        }
    }

    /// The user's page in the AWS console.
    fn console(&self) -> Option<String> {
        if self.is_unmatched() {
            return None;
        }
        let host = match self.account.report.as_ref()?.partition.as_deref()? {
            "aws" => "console.aws.amazon.com",
            "aws-us-gov" => "console.amazonaws-us-gov.com",
            "aws-cn" => "console.amazonaws.cn",
            _ => return None,
        };
        if self.finding.user == ROOT_USER {
            return Some(format!("https://{host}/iam/home#/security_credentials"));
        }
        // A space is %20 there. IAM allows no spaces in names, but a report file may contain
        // anything.
        let user: String = byte_serialize(self.finding.user.as_bytes()).collect();
        let user = user.replace('+', "%20");
        Some(format!("https://{host}/iam/home#/users/details/{user}?section=security_credentials"))
    }
}
