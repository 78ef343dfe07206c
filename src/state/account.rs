//! [`Account`]: what is known of one account.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::refresh::{Attempt, Fault, Refresh, Tried};
use crate::confirmation::Confirmations;
use crate::evidence::{Evidence, Standing};
use crate::failure::Failure;
use crate::policy::{Subject, Tag};
use crate::report::{Key, ROOT_USER, Report, STALE, User};
use crate::service_credentials::{ServiceCredential, ServiceCredentials, unmatched_name};

/// One account as of its last refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// 12 digits. Before they are known: [`UNKNOWN_ACCOUNT`].
    pub id: String,
    /// The configured name, the organization's, or that of the report file, or else its alias. May be
    /// empty.
    pub name: String,
    /// The account's alias, if it was read and there is one.
    pub alias: Option<String>,
    /// The last good report. `None` before the first.
    pub report: Option<Arc<Report>>,
    /// When AWS generated that report, or when its file was modified, or the newest time in the file if that
    /// is later.
    pub generated: Option<DateTime<Utc>>,
    /// A hash of that report's bytes, so that the same bytes are not parsed twice.
    pub fingerprint: Option<u64>,
    /// The answers of live calls since that report.
    pub confirmed: Arc<Confirmations>,
    /// The users' tags, as of the last report. `None` before they were read.
    pub tags: Option<Arc<Tags>>,
    /// The users' service-specific credentials, as of the last report. `None` before they were
    /// listed.
    pub service_credentials: Option<Arc<ServiceCredentials>>,
    /// Whether its source has more than reports, such as tags. Report files have not.
    pub has_live_data: bool,
    /// AWS's other data about it, as of the last report.
    pub evidence: Evidence,
    /// When the report was generated that details were last asked for. If the account has a newer one, they are
    /// those of an earlier report.
    pub details_of: Option<DateTime<Utc>>,
    /// The results of its refreshes.
    pub refresh: Refresh,
}

/// Tags of an account's users.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// The keys of the tags that were read, in lower case. Others are not kept.
    pub keys: BTreeSet<String>,
    /// The tags by user, of every user whom AWS has listed. The tags of others are not known.
    pub by_user: BTreeMap<String, Vec<Tag>>,
    /// The users of the report who are gone, as AWS has said. Only without confirmation: with it, the
    /// confirmed answers have them.
    pub gone: BTreeSet<String>,
}

impl Tags {
    /// Keeps those of these users.
    pub fn keep(&mut self, same: &HashSet<&str>) {
        self.by_user.retain(|user, _| same.contains(user.as_str()));
        self.gone.retain(|user| same.contains(user.as_str()));
    }
}

/// The id of an account until it is known.
pub const UNKNOWN_ACCOUNT: &str = "unknown";

/// How logs and people name the account with this id: by its name until the id is known, as by that of a
/// report file.
pub fn label<'a>(id: &'a str, name: &'a str) -> &'a str {
    if id != UNKNOWN_ACCOUNT || name.is_empty() { id } else { name }
}

impl Account {
    /// An account that was not tried yet.
    pub fn pending(id: &str, name: &str) -> Account {
        Account {
            id: id.to_owned(),
            name: name.to_owned(),
            alias: None,
            report: None,
            generated: None,
            fingerprint: None,
            confirmed: Arc::default(),
            tags: None,
            service_credentials: None,
            has_live_data: false,
            evidence: Evidence::default(),
            details_of: None,
            refresh: Refresh::default(),
        }
    }

    /// Sets the configured name, or if that is empty the account's alias.
    pub fn rename(&mut self, given: &str) {
        if given.is_empty() && !self.name.is_empty() && self.alias.is_none() {
            // The configured name was removed, and the alias was never read.
            self.refresh.name = Tried::NotYet;
        }
        self.name = match given {
            "" => self.alias.clone().unwrap_or_default(),
            given => given.to_owned(),
        };
    }

    /// Sets the id that was verified. `name` is the configured name. Data of another account is not
    /// carried over.
    pub fn identify(&mut self, id: &str, name: &str) {
        if self.id != id {
            *self = Account::pending(id, name);
        }
    }

    /// How logs and people name it: see [`label`].
    pub fn label(&self) -> &str {
        label(&self.id, &self.name)
    }

    /// Records the end of a refresh.
    pub fn record(&mut self, failure: Option<&Failure>, duration: Duration, now: DateTime<Utc>) {
        let refresh = &mut self.refresh;
        refresh.last = Some(Attempt { failure: failure.map(|it| it.reason), duration });
        let before = refresh.fault.take();
        match failure {
            None => refresh.last_success = Some(now),
            Some(Failure { reason, message }) => {
                let since = before.map_or(now, |before| before.since);
                refresh.fault = Some(Fault { message: message.as_str().into(), since });
                refresh.failures.count(*reason);
            }
        }
    }

    /// Whether its report is so old that AWS should have made a new one.
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        self.generated.is_some_and(|generated| now - generated > STALE)
    }

    /// The newest time in its report.
    pub fn newest_time(&self) -> Option<DateTime<Utc>> {
        self.report.as_ref().and_then(|report| report.newest_time())
    }

    /// Of two accounts with the same id the one with the greater is published.
    pub(super) fn newness(&self) -> impl Ord {
        let works = self.refresh.last.is_some_and(|last| last.failure.is_none());
        // If all of these are equal, so are the accounts. So their order does not matter.
        (self.newest_time(), self.generated, works, self.name.clone(), self.fingerprint)
    }

    /// The existing users with their keys by slot, by the newest information.
    pub fn users(&self) -> impl Iterator<Item = (Subject<'_>, &[Option<Key>])> {
        let users = self.report.iter().flat_map(|report| &report.users);
        users.filter_map(|user| Some((self.subject(user), self.confirmed.keys(user)?)))
    }

    /// The users of the report whom AWS no longer has. They were deleted, or renamed.
    pub fn gone_users(&self) -> impl Iterator<Item = &User> {
        let users = self.report.iter().flat_map(|report| &report.users);
        users.filter(|user| self.confirmed.keys(user).is_none())
    }

    /// The user's service-specific credentials that are known.
    pub fn service_credentials_of<'a>(
        &'a self,
        user: &'a User,
    ) -> impl Iterator<Item = &'a ServiceCredential> {
        self.service_credentials.iter().flat_map(|known| known.of(&user.name))
    }

    /// The service-specific credentials of users who are not in the report, or whom AWS no longer has, each
    /// with its user. AWS deletes no user who has one, so these can have other names. They are judged by rules for
    /// all of the account: no other rule can decide about a user of whom nothing but an earlier name is known. With
    /// the tags, as far as they are known.
    pub fn service_credentials_of_others(&self) -> Vec<(&str, &ServiceCredential, &[Tag])> {
        let Some(known) = self.service_credentials.as_ref().filter(|_| self.report.is_some())
        else {
            return Vec::new();
        };
        let others = known.of_others(self.users().map(|(subject, _)| subject.user.name.as_str()));
        others.into_iter().map(|(user, it)| (user, it, self.tags_of(user))).collect()
    }

    /// Whether it is not known whose such a credential is that can be used. Users who are newer than the report are
    /// in the next one.
    pub fn lacks_users_of_service_credentials(&self, now: DateTime<Utc>) -> bool {
        let is_older = |time| self.generated.is_none_or(|generated| time <= generated);
        let others = self.service_credentials_of_others();
        let is_lacking = |user, created| unmatched_name(user).is_some() || is_older(created);
        others.iter().any(|(user, it, _)| it.key(now).active && is_lacking(*user, it.created))
    }

    /// The user's tags, as far as they are known.
    pub fn tags_of(&self, user: &str) -> &[Tag] {
        let tags = self.tags.as_ref().and_then(|tags| tags.by_user.get(user));
        tags.map_or(&[], Vec::as_slice)
    }

    /// Whether `GetAccountSummary` has said, since the report was read, that root has no key.
    pub fn root_has_no_key(&self, now: DateTime<Utc>) -> bool {
        let summary = &self.evidence.summary;
        self.details_of == self.generated
            && summary.standing(now) == Standing::Good
            && summary.value.is_some_and(|summary| summary.root_keys == Some(false))
    }

    /// Forgets the root user of an earlier report if AWS has said since then that root has no key.
    pub fn forget_root_without_keys(&mut self, now: DateTime<Utc>) {
        let has_none = self.root_has_no_key(now);
        if let Some(report) = self.report.as_mut().filter(|_| has_none) {
            report.forget_kept_keys_of_root();
        }
    }

    /// Whether these tags of the user are known. Otherwise missing tags are not known to be missing. Root has
    /// none, and who is gone has no others.
    pub fn knows_tags_of(&self, user: &str, keys: &BTreeSet<String>) -> bool {
        let are_known = |tags: &Tags| {
            let has_none = user == ROOT_USER || tags.gone.contains(user);
            keys.is_subset(&tags.keys) && (has_none || tags.by_user.contains_key(user))
        };
        self.tags.as_deref().is_some_and(are_known)
    }

    /// Whether these tags of every existing user are known.
    pub fn knows_tags(&self, keys: &BTreeSet<String>) -> bool {
        self.tags.as_ref().is_some_and(|tags| keys.is_subset(&tags.keys))
            && self.users().all(|(subject, _)| self.knows_tags_of(&subject.user.name, keys))
    }

    /// Whether the user may have more access keys than the report shows, and AWS has not said since which
    /// there are. Of root, who has two at most, AWS says only whether there is any.
    pub fn may_hide_keys_of(&self, user: &User, now: DateTime<Utc>) -> bool {
        if user.is_root() {
            return user.lacks_keys() && !self.root_has_no_key(now);
        }
        (user.has_more_credentials() || user.lacks_keys()) && !self.confirmed.knows(&user.name)
    }

    /// Up to when the use of its keys is known, as of `now`: the report says when they were last used.
    pub fn use_known_until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.generated.map_or(now, |generated| generated.min(now))
    }

    /// One user with the tags that are known.
    pub fn subject<'a>(&'a self, user: &'a User) -> Subject<'a> {
        Subject {
            account_id: &self.id,
            account_name: &self.name,
            user,
            tags: self.tags_of(&user.name),
        }
    }
}
