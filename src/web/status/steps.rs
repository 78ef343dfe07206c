//! The steps to rotate or delete a key, with commands to copy.

use std::borrow::Cow;

use maud::{Markup, html};

use super::StatusSettings;
use super::components::date;
use crate::findings::Finding;
use crate::policy::KeyStatus;
use crate::report::ROOT_USER;

/// The steps for this key, one of those of the user.
pub fn render(settings: &StatusSettings, finding: &Finding, of_user: &[&Finding]) -> Markup {
    if finding.user == ROOT_USER {
        return for_root(settings);
    }
    // With `=`, a name may begin with a hyphen.
    let user = format!("--user-name={}", quoted(&finding.user));
    match &finding.service {
        Some(service) => for_service_credential(settings, finding, &user, service),
        None => for_access_key(settings, finding, of_user, &user),
    }
}

fn for_root(settings: &StatusSettings) -> Markup {
    html! {
        ol {
            li { "See where the key is used: nobody should need it. Give that program a role, or its own user." }
            li { "Sign in as root, open " em { "Security credentials" } ", and deactivate the key." }
            li { "Wait some days, and delete it there." }
        }
        p { a href={ (settings.runbook_url()) "#iamrootaccesskeyactive" } { "More on keys of root" } }
    }
}

/// `user` is the option with the user's name.
fn for_access_key(
    settings: &StatusSettings,
    finding: &Finding,
    of_user: &[&Finding],
    user: &str,
) -> Markup {
    let id = finding.access_key_id.as_deref().unwrap_or("ACCESS_KEY_ID");
    let is_other = |key: &&&Finding| key.service.is_none() && key.key != finding.key;
    let others = of_user.iter().filter(is_other).count();
    let is_used = !finding.never_used;
    let is_active = finding.status != KeyStatus::Inactive;
    html! {
        (waiting(finding.status))
        ol {
            (right_account(&finding.account_id))
            @if finding.access_key_id.is_none() {
                li {
                    "Find the key's id"
                    @if let Some(time) = finding.last_rotated { ": it is the one of " (date(time)) }
                    ":"
                    (command(&format!("aws iam list-access-keys {user}")))
                }
            }
            @if is_active {
                li {
                    "See who uses it:"
                    (command(&format!("aws iam get-access-key-last-used --access-key-id {id}")))
                    "If a role can replace it, "
                    a href={ (settings.runbook_url()) "#replace-a-key-by-a-role" } { "do that" }
                    ": then there is nothing to rotate any more."
                }
                @if is_used {
                    li {
                        "Make a second key, and put it in the place of this one:"
                        (command(&format!("aws iam create-access-key {user}")))
                        @if others > 0 {
                            "The user has another key. AWS allows two, so one that nobody uses must be deleted first."
                        }
                    }
                } @else {
                    li { "It was never used, so it needs no replacement." }
                }
                li {
                    "Deactivate this one. If something breaks, activate it again with " code { "--status Active" } "."
                    (command(&format!("aws iam update-access-key {user} --access-key-id {id} --status Inactive")))
                }
            }
            li {
                @if is_active { "After some days, delete it:" } @else { "Delete it:" }
                (command(&format!("aws iam delete-access-key {user} --access-key-id {id}")))
            }
        }
        p {
            a href={ (settings.runbook_url()) "#rotate-a-key" } { "More on rotating a key" } " · "
            a href={ (settings.runbook_url()) "#if-a-key-was-stolen" } { "If it was stolen" }
        }
    }
}

/// `user` is the option with the user's name.
fn for_service_credential(
    settings: &StatusSettings,
    finding: &Finding,
    user: &str,
    service: &str,
) -> Markup {
    let id = quoted(finding.access_key_id.as_deref().unwrap_or_default());
    let can_expire = ["bedrock.amazonaws.com", "logs.amazonaws.com"].contains(&service);
    let service = quoted(service);
    let of_key = format!("{user} --service-specific-credential-id {id}");
    let is_active = finding.status != KeyStatus::Inactive;
    html! {
        (waiting(finding.status))
        ol {
            (right_account(&finding.account_id))
            @if is_active {
                li {
                    "Find out who uses it. If a role can replace it, "
                    a href={ (settings.runbook_url()) "#replace-a-key-by-a-role" } { "do that" }
                    ". Otherwise make another one, and put it in the place of this one. AWS allows two of each service."
                    @if can_expire {
                        " The new one can expire: add " code { "--credential-age-days 90" } "."
                    }
                    (command(&format!("aws iam create-service-specific-credential {user} --service-name {service}")))
                }
                li {
                    "Deactivate this one. If something breaks, activate it again with " code { "--status Active" } "."
                    (command(&format!("aws iam update-service-specific-credential {of_key} --status Inactive")))
                }
            }
            li {
                @if is_active { "After some days, delete it:" } @else { "Delete it:" }
                (command(&format!("aws iam delete-service-specific-credential {of_key}")))
            }
        }
        p {
            a href={ (settings.runbook_url()) "#rotate-an-api-key" } { "More on rotating such a key" } " · "
            a href={ (settings.runbook_url()) "#if-a-key-was-stolen" } { "If it was stolen" }
        }
    }
}

/// Until when there is nothing to do.
fn waiting(status: KeyStatus) -> Markup {
    html! {
        @match status {
            KeyStatus::Exempt => p { "Nothing, until the exemption ends. Then:" },
            KeyStatus::Ok => p { "Nothing yet. By the due date:" },
            _ => {}
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

/// A line for a shell. A click selects it whole.
fn command(line: &str) -> Markup {
    html! { pre tabindex="0" { code { (line) } } }
}

/// The name as one word of a shell.
fn quoted(name: &str) -> Cow<'_, str> {
    // Only a zero byte cannot be quoted.
    shlex::try_quote(name).unwrap_or_else(|_| name.replace('\0', "").into())
}
