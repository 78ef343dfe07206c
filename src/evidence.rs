//! What AWS says of an account besides its report: the root user, the password policy, virtual MFA
//! devices, and the users with policies. Controls of the CIS benchmark are decided by it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::is_from_the_future;
use crate::failure::Reason;
use crate::report::{Report, STALE};

/// The data about an account. The default is that nothing was read yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// The summary's answer about the root user.
    pub summary: Reading<AccountSummary>,
    /// What summaries last said of the root user.
    pub root: LastSaid,
    /// The password policy of IAM users. `None`: the account has none.
    pub password_policy: Reading<Option<PasswordPolicy>>,
    /// Whether a virtual MFA device belongs to the root user.
    pub root_virtual_mfa: Reading<bool>,
    /// Whether each user has policies beside those of its groups, by the users' names.
    pub user_policies: Reading<Arc<BTreeMap<String, bool>>>,
}

/// The last good answer, and how the last try went.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reading<T> {
    /// The last good answer. It stays when a later try fails, but not when a permission was taken away, or
    /// a newer report contradicts it.
    /// Whether it still counts depends on the time: see [`Reading::known`].
    pub value: Option<T>,
    /// When that was.
    pub read: Option<DateTime<Utc>>,
    /// Why the last try failed.
    pub failure: Option<Reason>,
}

/// How a reading stands at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was asked yet.
    NotRead,
    /// The last try worked.
    Good,
    /// The last try worked, but so long ago that its answer does not count any more.
    Old,
    /// The last try failed.
    Failed(Reason),
}

/// One kind of evidence: one call of AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceKind {
    /// [`Evidence::summary`]
    AccountSummary,
    /// [`Evidence::password_policy`]
    PasswordPolicy,
    /// [`Evidence::root_virtual_mfa`]
    VirtualMfaDevices,
    /// [`Evidence::user_policies`]
    UserPolicies,
}

/// The answer of `GetAccountSummary` about the root user. `None` if it has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct AccountSummary {
    /// `AccountPasswordPresent`
    pub root_password: Option<bool>,
    /// `AccountMFAEnabled`
    pub root_mfa: Option<bool>,
    /// `AccountAccessKeysPresent`: whether there is a key, active or not.
    pub root_keys: Option<bool>,
}

/// What `GetAccountSummary` last said of the root user, and when. Neither an answer that is silent nor a
/// permission that is taken away takes it back: until a newer report, it can contradict the report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct LastSaid {
    /// [`AccountSummary::root_password`]
    pub password: Option<(bool, DateTime<Utc>)>,
    /// [`AccountSummary::root_mfa`]
    pub mfa: Option<(bool, DateTime<Utc>)>,
    /// [`AccountSummary::root_keys`]
    pub keys: Option<(bool, DateTime<Utc>)>,
}

/// The password policy of an account's users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PasswordPolicy {
    /// The least number of characters.
    pub min_length: Option<i32>,
    /// Whether a password needs an uppercase letter.
    pub requires_uppercase: bool,
    /// Whether it needs a lowercase letter.
    pub requires_lowercase: bool,
    /// Whether it needs a symbol.
    pub requires_symbol: bool,
    /// Whether it needs a digit.
    pub requires_number: bool,
    /// After how many days a password expires. `None`: never.
    pub max_age_days: Option<i32>,
    /// How many earlier passwords cannot be used again. `None`: AWS remembers none.
    pub remembered: Option<i32>,
}

impl<T> Default for Reading<T> {
    fn default() -> Reading<T> {
        Reading { value: None, read: None, failure: None }
    }
}

impl<T> Reading<T> {
    /// A good answer of this time.
    pub fn of(value: T, read: DateTime<Utc>) -> Reading<T> {
        Reading { value: Some(value), read: Some(read), failure: None }
    }

    /// Notes that a try failed.
    pub fn fail(&mut self, reason: Reason) {
        self.failure = Some(reason);
        if reason == Reason::AccessDenied {
            (self.value, self.read) = (None, None);
        }
    }

    /// The last good answer, if it is not too old at `now`. That does not wait for a call to fail: of an
    /// account that cannot be reached no call is made.
    pub fn known(&self, now: DateTime<Utc>) -> Option<&T> {
        self.value.as_ref().filter(|_| !self.is_older(STALE, now))
    }

    /// How it stands at `now`.
    pub fn standing(&self, now: DateTime<Utc>) -> Standing {
        match (self.failure, &self.value) {
            (Some(reason), _) => Standing::Failed(reason),
            (None, None) => Standing::NotRead,
            (None, Some(_)) if self.known(now).is_none() => Standing::Old,
            (None, Some(_)) => Standing::Good,
        }
    }

    /// Whether the refresh at `now` asks again although the report is the same: after a failure, and in time
    /// before the answer gets too old. A missing permission is looked for with the next report only, so that
    /// an account at rest costs no further calls.
    pub fn is_due(&self, now: DateTime<Utc>) -> bool {
        match self.failure {
            Some(reason) => reason != Reason::AccessDenied,
            None => self.is_older(STALE / 2, now),
        }
    }

    /// Whether the last good answer is older than this, or there is none. One of the future was read by a
    /// clock that was wrong: its age is not known.
    fn is_older(&self, age: TimeDelta, now: DateTime<Utc>) -> bool {
        self.read.is_none_or(|read| now - read > age || is_from_the_future(read, now))
    }
}

impl LastSaid {
    /// Updates it from an answer of this time.
    pub fn update(&mut self, summary: &AccountSummary, read: DateTime<Utc>) {
        let update = |said: &mut Option<_>, value: Option<bool>| {
            *said = value.map(|value| (value, read)).or(*said);
        };
        update(&mut self.password, summary.root_password);
        update(&mut self.mfa, summary.root_mfa);
        update(&mut self.keys, summary.root_keys);
    }
}

impl Evidence {
    /// Forgets what a newer report contradicts: another report that does not say it would not make it true again.
    pub fn forget_contradicted(&mut self, report: &Report, generated: DateTime<Utc>) {
        let Some(root) = report.users.iter().find(|user| user.is_root() && !user.is_kept) else {
            return;
        };
        let has_keys = root.keys.iter().any(Option::is_some);
        let keys = (has_keys || !root.lacks_keys()).then_some(has_keys);
        let is_earlier = |read: Option<DateTime<Utc>>| read.is_some_and(|read| read < generated);
        if is_earlier(self.summary.read)
            && let Some(summary) = &mut self.summary.value
        {
            for (said, reported) in [
                (&mut summary.root_password, root.password_enabled),
                (&mut summary.root_mfa, root.mfa_active),
                (&mut summary.root_keys, keys),
            ] {
                said.take_if(|said| reported.is_some_and(|reported| reported != *said));
            }
        }
        // Without MFA now, the devices of later are others.
        if is_earlier(self.root_virtual_mfa.read) && root.mfa_active == Some(false) {
            self.root_virtual_mfa = Reading::default();
        }
    }

    /// How this kind stands at `now`.
    pub fn standing(&self, kind: EvidenceKind, now: DateTime<Utc>) -> Standing {
        match kind {
            EvidenceKind::AccountSummary => self.summary.standing(now),
            EvidenceKind::PasswordPolicy => self.password_policy.standing(now),
            EvidenceKind::VirtualMfaDevices => self.root_virtual_mfa.standing(now),
            EvidenceKind::UserPolicies => self.user_policies.standing(now),
        }
    }

    /// Whether the same is known.
    pub fn has_same_answers(&self, other: &Evidence) -> bool {
        self.summary.value == other.summary.value
            && self.password_policy.value == other.password_policy.value
            && self.root_virtual_mfa.value == other.root_virtual_mfa.value
            && self.user_policies.value == other.user_policies.value
    }
}

impl EvidenceKind {
    /// Every kind.
    pub const ALL: [EvidenceKind; 4] = [
        EvidenceKind::AccountSummary,
        EvidenceKind::PasswordPolicy,
        EvidenceKind::VirtualMfaDevices,
        EvidenceKind::UserPolicies,
    ];

    /// The name in the configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            EvidenceKind::AccountSummary => "account_summary",
            EvidenceKind::PasswordPolicy => "password_policy",
            EvidenceKind::VirtualMfaDevices => "virtual_mfa_devices",
            EvidenceKind::UserPolicies => "user_policies",
        }
    }

    /// The permission that the call needs.
    pub fn permission(self) -> &'static str {
        match self {
            EvidenceKind::AccountSummary => "iam:GetAccountSummary",
            EvidenceKind::PasswordPolicy => "iam:GetAccountPasswordPolicy",
            EvidenceKind::VirtualMfaDevices => "iam:ListVirtualMFADevices",
            EvidenceKind::UserPolicies => "iam:GetAccountAuthorizationDetails",
        }
    }
}

#[cfg(test)]
impl PasswordPolicy {
    /// For tests: it meets every control.
    pub const GOOD: PasswordPolicy = PasswordPolicy {
        min_length: Some(14),
        requires_uppercase: true,
        requires_lowercase: true,
        requires_symbol: true,
        requires_number: true,
        max_age_days: Some(90),
        remembered: Some(24),
    };
}

#[cfg(test)]
impl Evidence {
    /// For tests: everything was read at this time, and violates no control. The only user is alpha.
    pub fn good(read: DateTime<Utc>) -> Evidence {
        let summary = AccountSummary {
            root_password: Some(true),
            root_mfa: Some(true),
            root_keys: Some(false),
        };
        Evidence {
            summary: Reading::of(summary, read),
            root: LastSaid::default(),
            password_policy: Reading::of(Some(PasswordPolicy::GOOD), read),
            root_virtual_mfa: Reading::of(false, read),
            user_policies: Reading::of(Arc::new([("alpha".to_owned(), false)].into()), read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_from_the_future_is_old() {
        let now: DateTime<Utc> = "2026-11-01T12:00:00Z".parse().expect("a time");
        let read = |minutes| Reading::of((), now + TimeDelta::minutes(minutes));
        // The clock was an hour ahead.
        assert_eq!((read(60).standing(now), read(60).is_due(now)), (Standing::Old, true));
        // Clocks differ.
        assert_eq!((read(4).standing(now), read(4).is_due(now)), (Standing::Good, false));
    }
}
