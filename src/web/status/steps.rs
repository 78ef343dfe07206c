//! The steps to rotate or delete a key, with commands to copy.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::StatusSettings;
use super::choices::KeyFilter;
use super::components::{capitalized, date, in_words};
use super::keys::{last_day, link};
use crate::findings::Finding;
use crate::policy::KeyStatus;
use crate::report::ROOT_USER;
use crate::service_credentials::unmatched_name;

/// A key that was not used for longer counts as one that nobody needs.
const YEAR: TimeDelta = TimeDelta::days(365);

/// Whether the key needs no successor: nobody needs one of root, or one that nobody uses.
pub fn is_to_delete(finding: &Finding, now: DateTime<Utc>) -> bool {
    finding.user == ROOT_USER || unused(finding, now).is_some()
}

/// The steps for this key, one of those of the user, who may have more access keys.
pub fn render(
    settings: &StatusSettings,
    now: DateTime<Utc>,
    finding: &Finding,
    of_user: &[&Finding],
    may_have_more: bool,
) -> Markup {
    if finding.user == ROOT_USER {
        return for_root(settings, finding);
    }
    // With `=`, a name may begin with a hyphen.
    let is_unmatched = unmatched_name(&finding.user).is_some();
    let name = if is_unmatched { "USER_NAME" } else { &quoted(&finding.user) };
    let user = format!("--user-name={name}");
    match &finding.service {
        Some(service) => for_service_credential(settings, now, finding, of_user, &user, service),
        None => for_access_key(settings, now, finding, of_user, may_have_more, &user),
    }
}

fn for_root(settings: &StatusSettings, finding: &Finding) -> Markup {
    html! {
        @if finding.status == KeyStatus::Exempt { (exempt(settings, finding, "delete")) }
        ol {
            @if finding.status == KeyStatus::Inactive {
                li { "Sign in as root, open " em { "Security credentials" } ", and delete the key." }
            } @else {
                li { "See where the key is used: nobody should need it. Give that program a role, or its own user." }
                li { "Sign in as root, open " em { "Security credentials" } ", and deactivate the key." }
                li { "Wait a week, or five weeks with monthly jobs, and delete it there." }
            }
        }
        (more(settings, "iamrootaccesskeyactive", "More on keys of root"))
    }
}

/// `user` is the option with the user's name.
fn for_access_key(
    settings: &StatusSettings,
    now: DateTime<Utc>,
    finding: &Finding,
    of_user: &[&Finding],
    may_have_more: bool,
    user: &str,
) -> Markup {
    let id = quoted(finding.access_key_id.as_deref().unwrap_or("ACCESS_KEY_ID"));
    let of_key = format!("{user} --access-key-id {id}");
    let last_used = format!("aws iam get-access-key-last-used --access-key-id {id}");
    let is_other = |key: &&Finding| key.service.is_none() && key.key != finding.key;
    let others: Vec<&Finding> = of_user.iter().copied().filter(is_other).collect();
    let is_active = finding.status != KeyStatus::Inactive;
    let unused = unused(finding, now).filter(|_| is_active);
    html! {
        @match &unused {
            Some(unused) => {
                p { (capitalized(unused)) ": deactivate it, and delete it." }
                @match &finding.exemption {
                    Some(exemption) if exemption.end.is_none() => p { "Its exemption has no end, so no day is set for that." },
                    Some(_) => (exempt(settings, finding, "delete")),
                    None => {}
                }
            }
            None => (waiting(settings, finding)),
        }
        ol {
            (right_account(&finding.account_id))
            @if finding.access_key_id.is_none() {
                li {
                    "Find the key's id"
                    // Both keys can be of the same day.
                    @if let Some(time) = finding.last_rotated {
                        ". It is the one with the CreateDate " code { (time.format("%Y-%m-%dT%H:%M:%S")) }
                    }
                    ":"
                    (command(&format!("aws iam list-access-keys {user}")))
                }
            }
            @if is_active {
                li {
                    @if unused.is_none() { "See when and for what it was last used:" } @else { "See that this is still so:" }
                    (command(&last_used))
                    @if unused.is_none() {
                        "That does not tell who uses it: "
                        a href={ (settings.runbook_url()) "#find-out-where-a-key-is-used" } { "find out" }
                        ". If a role can replace it, "
                        a href={ (settings.runbook_url()) "#replace-a-key-by-a-role" } { "do that" }
                        ": then there is nothing to rotate any more."
                    }
                }
                @if unused.is_none() {
                    @if may_have_more {
                        li {
                            "The user may have more keys than are known here, and AWS allows two. List them, and deactivate and delete all but one:"
                            (command(&format!("aws iam list-access-keys {user}")))
                        }
                    } @else {
                        (delete_others(now, &others, ""))
                    }
                    li {
                        @if may_have_more { (another("Then make a new key")) } @else { (make_another(now, &others)) }
                        " Keys of Terraform and CloudFormation, and passwords of SES, have "
                        a href={ (settings.runbook_url()) "#rotate-a-key" } { "other ways" }
                        "."
                        (command(&secretly(&format!("aws iam create-access-key {user}"))))
                    }
                    li {
                        "Watch this one until nothing uses it any more. AWS can tell of a use hours later:"
                        (command(&last_used))
                    }
                }
            }
            (retire(
                is_active,
                &format!("aws iam update-access-key {of_key} --status Inactive"),
                &format!("aws iam delete-access-key {of_key}"),
            ))
        }
        (more(settings, "rotate-a-key", "More on rotating a key"))
    }
}

/// `user` is the option with the user's name.
fn for_service_credential(
    settings: &StatusSettings,
    now: DateTime<Utc>,
    finding: &Finding,
    of_user: &[&Finding],
    user: &str,
    service: &str,
) -> Markup {
    let id = quoted(finding.access_key_id.as_deref().unwrap_or_default());
    let can_expire = ["bedrock.amazonaws.com", "logs.amazonaws.com"].contains(&service);
    let end = if can_expire { " --credential-age-days 90" } else { "" };
    // AWS allows two of each service.
    let is_other = |key: &&Finding| {
        key.service == finding.service && key.access_key_id != finding.access_key_id
    };
    let others: Vec<&Finding> = of_user.iter().copied().filter(is_other).collect();
    let service = quoted(service);
    let of_key = format!("{user} --service-specific-credential-id {id}");
    let is_active = finding.status != KeyStatus::Inactive;
    html! {
        (waiting(settings, finding))
        ol {
            (right_account(&finding.account_id))
            @if is_active {
                li {
                    a href={ (settings.runbook_url()) "#find-out-where-a-key-is-used" } { "Find out" }
                    " who uses it: AWS does not tell when it was last used. If a role can replace it, "
                    a href={ (settings.runbook_url()) "#replace-a-key-by-a-role" } { "do that" }
                    ": then there is nothing to rotate any more."
                }
                (delete_others(now, &others, " for this service"))
                li {
                    (make_another(now, &others))
                    @if can_expire { " The new one expires after 90 days, and stops working then." }
                    (command(&secretly(&format!("aws iam create-service-specific-credential {user} --service-name {service}{end}"))))
                }
            }
            (retire(
                is_active,
                &format!("aws iam update-service-specific-credential {of_key} --status Inactive"),
                &format!("aws iam delete-service-specific-credential {of_key}"),
            ))
        }
        (more(settings, "rotate-an-api-key", "More on rotating such a key"))
    }
}

/// The step before a new key is made if the user has these others, `of_kind`: AWS allows two of each kind.
fn delete_others(now: DateTime<Utc>, others: &[&Finding], of_kind: &str) -> Markup {
    html! {
        @match others {
            [] => {}
            [other] => li { "The user has two keys" (of_kind) ", and AWS allows no third. " (delete_one(now, other)) },
            several => li {
                "The user has " (several.len() + 1) " keys" (of_kind) ", and AWS allows two. First deactivate and delete all but one. "
                "If several are used, move everything to the newest. The others are:"
                ul {
                    @for other in several {
                        li {
                            (name(other)) ": "
                            @match (other.status, unused(other, now)) {
                                (KeyStatus::Inactive, _) => "inactive",
                                (_, Some(unused)) => (unused),
                                (_, None) => "perhaps in use",
                            }
                        }
                    }
                }
            },
        }
    }
}

/// The id of the key, or its name, as a link to its page.
fn name(finding: &Finding) -> Markup {
    html! {
        a href=(link(finding)) {
            @match &finding.access_key_id {
                Some(id) => code { (id) },
                None => (finding.name()),
            }
        }
    }
}

/// Which of two keys to delete first, if the other one is this.
fn delete_one(now: DateTime<Utc>, other: &Finding) -> Markup {
    let name = name(other);
    let has_expired = other.expires.is_some_and(|time| time <= now);
    html! {
        @match (other.status, unused(other, now)) {
            (KeyStatus::Inactive, _) if has_expired => { "The other one, " (name) ", has expired. First delete that one." }
            (KeyStatus::Inactive, _) => { "The other one, " (name) ", is inactive. First delete that one." }
            (_, Some(unused)) => {
                "The other one is " (name) ". " (capitalized(&unused)) ": first deactivate and delete that one."
            }
            (_, None) => {
                "First deactivate and delete the one that nobody uses. If both are used, move everything to the newer one. The other one is "
                (name) "."
            }
        }
    }
}

/// The step in which this key gets a successor, if the user has these others.
fn make_another(now: DateTime<Utc>, others: &[&Finding]) -> Markup {
    let is_one_needed = others.iter().any(|other| is_needed(other, now));
    another(match others {
        [] => "Make a second key",
        [_] if is_one_needed => "Unless everything uses the other one by now, make a new key",
        _ if is_one_needed => "Unless everything uses another one by now, make a new key",
        _ => "Then make a new key",
    })
}

fn another(make_it: &str) -> Markup {
    html! { (make_it) ", and put it in the place of this one. Then remove the file with the secret." }
}

/// Whether somebody may need the key.
fn is_needed(finding: &Finding, now: DateTime<Utc>) -> bool {
    finding.status != KeyStatus::Inactive && unused(finding, now).is_none()
}

/// The last steps: deactivate the key, if it is active, and delete it. Both are commands.
fn retire(is_active: bool, deactivate: &str, delete: &str) -> Markup {
    html! {
        @if is_active {
            li {
                "Deactivate this one. If something breaks, activate it again with " code { "--status Active" } "."
                (command(deactivate))
            }
        }
        li {
            @if is_active { "After a week, or five weeks with monthly jobs, delete it:" } @else { "Delete it:" }
            (command(delete))
        }
    }
}

/// Links to sections of the runbooks.
fn more(settings: &StatusSettings, section: &str, text: &str) -> Markup {
    html! {
        p {
            a href={ (settings.runbook_url()) "#" (section) } { (text) } " · "
            a href={ (settings.runbook_url()) "#if-a-key-was-stolen" } { "If it was stolen" }
        }
    }
}

/// That nobody needs the key: it was not used for a year, or never in a week. `None`: somebody may.
fn unused(finding: &Finding, now: DateTime<Utc>) -> Option<String> {
    let until = finding.use_known_until.unwrap_or(now);
    let as_of = until.date_naive();
    match finding.last_used {
        Some(time) => (until - time > YEAR).then(|| {
            format!("by the report of {as_of}, nobody has used it since {}", time.date_naive())
        }),
        None => KeyFilter::NeverUsed
            .includes(finding)
            .then(|| format!("by the report of {as_of}, nobody has ever used it")),
    }
}

/// Until when there is nothing to do.
fn waiting(settings: &StatusSettings, finding: &Finding) -> Markup {
    html! {
        @match (finding.expires_first(), finding.status) {
            (Some(time), _) => p { "It stops working when it expires, on " (date(time)) ". Before that:" },
            (None, KeyStatus::Exempt) => (exempt(settings, finding, "rotate")),
            (None, KeyStatus::Ok) => p { "Nothing yet. By the due date:" },
            _ => {}
        }
    }
}

/// Until when there is nothing to do with an exempt key. `do_it` is the verb.
fn exempt(settings: &StatusSettings, finding: &Finding, do_it: &str) -> Markup {
    let end = finding.exemption.as_ref().and_then(|exemption| exemption.end);
    let due = finding.last_rotated.and_then(|time| time.checked_add_signed(finding.max_age));
    let due_later = due.filter(|due| do_it == "rotate" && end.is_some_and(|end| *due > end));
    html! {
        p {
            @match (end, due_later) {
                (Some(end), Some(due)) => {
                    "Nothing before its exemption ends: the last day is " (date(last_day(end))) ". From then on its limit is "
                    (in_words(finding.max_age)) ", so rotate it by " (date(due)) "."
                },
                (Some(end), None) => {
                    (capitalized(do_it)) " it by " (date(last_day(end))) ", the last day of its exemption. If there is no way, "
                    a href={ (settings.runbook_url()) "#ask-for-an-exemption" } { "ask for more time" }
                    "."
                },
                (None, _) => { "Nothing: the exemption has no end. To " (do_it) " it all the same:" }
            }
        }
    }
}

/// The first step.
fn right_account(id: &str) -> Markup {
    html! {
        li {
            "See that your credentials are those of account " code { (id) } ":"
            (command("aws sts get-caller-identity --query Account --output text"))
        }
    }
}

/// A line for a shell. A click selects it whole. A name in other letters is isolated, because it can turn
/// around what follows.
fn command(line: &str) -> Markup {
    html! {
        pre tabindex="0" {
            code {
                @for (place, word) in line.split(' ').enumerate() {
                    @if place > 0 { " " }
                    @if word.is_ascii() { (word) } @else { bdi { (word) } }
                }
            }
        }
    }
}

/// The command with its output, a secret, in a file that only its owner can read, and not on a screen.
fn secretly(line: &str) -> String {
    format!("(umask 077; {line} > new-key.json)")
}

/// The name as one word of a shell.
fn quoted(name: &str) -> Cow<'_, str> {
    // Only a zero byte cannot be quoted.
    shlex::try_quote(name).unwrap_or_else(|_| name.replace('\0', "").into())
}
