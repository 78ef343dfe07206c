//! What is not known of an account, so that its findings may not be all.

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::policy::Ruling;
use crate::report::{ROOT_USER, STALE, User};
use crate::state::{Account, Tried};

/// Whether rules need tags of the account's users that are not known, or out of date.
pub fn lacks_tags(account: &Account, config: &Config) -> bool {
    config.policy.needs_tags() && has_unknown_tags(account, config)
}

/// Whether tags of the account's users that the configuration names are not known, or out of date.
pub fn has_unknown_tags(account: &Account, config: &Config) -> bool {
    let has_failed = account.refresh.tags == Tried::Failed;
    account.report.is_some() && (has_failed || !account.knows_tags(&config.tag_keys()))
}

/// Whether service-specific credentials are wanted and were not listed, or not with the last report.
pub fn lacks_service_credentials(account: &Account, config: &Config) -> bool {
    let tried = account.refresh.service_credentials;
    let is_read = account.report.is_some() && account.has_live_data;
    // A list from before the credentials were those of another account is not enough.
    let is_listed = tried == Tried::Ok && account.service_credentials.is_some();
    config.service_credentials && (tried == Tried::Failed || is_read && !is_listed)
}

/// Whether rules need the account's name and it is not known.
pub fn lacks_name(account: &Account, config: &Config) -> bool {
    let is_needed = || account.report.is_some() && config.policy.needs_name(&account.id);
    match account.refresh.name {
        Tried::Ok => false,
        // `Failed` is set only if a rule needs the name.
        Tried::Failed => true,
        Tried::NotYet => account.name.is_empty() && is_needed(),
    }
}

/// Whether root may have keys that the account's report does not show, because it has no readable row of
/// root. `GetAccountSummary` knows if there is no key at all, and exempt keys are no matter.
pub fn lacks_root(account: &Account, config: &Config, now: DateTime<Utc>) -> bool {
    let root = User { name: ROOT_USER.to_owned(), ..User::default() };
    account.report.as_ref().is_some_and(|report| report.lacks_root())
        && !account.root_has_no_key(now)
        && config.policy.ruling(&account.subject(&root), now).exemption.is_none()
}

/// Whether a key that is younger than the account's report can be too old by now.
pub fn is_outlived(account: &Account, config: &Config, now: DateTime<Utc>) -> bool {
    let limit = config.policy.shortest_max_age();
    account.generated.is_some_and(|generated| now - generated > limit)
}

/// Whether a key that is younger than the account's report can be due soon by now. A new report is too young
/// for that, even if keys are due soon from their first day.
pub fn may_hide_due_keys(account: &Account, config: &Config, now: DateTime<Utc>) -> bool {
    let limit = config.policy.shortest_age_due_soon().max(STALE);
    account.generated.is_some_and(|generated| now - generated > limit)
}

/// The users who may have more keys than the account's report shows. AWS has not listed them, and they are
/// not exempt.
pub fn users_who_may_hide_keys<'a>(
    account: &'a Account,
    config: &Config,
    now: DateTime<Utc>,
) -> impl Iterator<Item = &'a str> {
    let users = account.users().map(|(subject, _)| subject);
    let users = users.filter(move |subject| {
        is_unlisted(account, subject.user, &config.policy.ruling(subject, now), now)
    });
    users.map(|subject| subject.user.name.as_str())
}

/// Whether the user is one of [`users_who_may_hide_keys`].
pub fn is_unlisted(account: &Account, user: &User, ruling: &Ruling, now: DateTime<Utc>) -> bool {
    account.may_hide_keys_of(user, now) && ruling.exemption.is_none()
}
