//! Account and settings and `now` → the outcome of each control.

mod root;

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Control, Credential, Outcomes, Settings, Unknown, Violation};
use crate::clock::is_from_the_future;
use crate::evidence::{EvidenceKind, PasswordPolicy, Standing};
use crate::failure::Reason;
use crate::policy::Age;
use crate::report::{Key, Problem, Report, User};
use crate::state::Account;

/// The limit of the benchmark. The limit of the configuration does not change it.
pub const MAX_KEY_AGE: TimeDelta = TimeDelta::days(90);
/// A key that was made within this time of its user was made with the user.
const SETUP: TimeDelta = TimeDelta::minutes(1);
/// AWS gives the time of the last use as the beginning of a quarter of an hour.
const USE_STEP: TimeDelta = TimeDelta::minutes(15);
const MIN_PASSWORD_LENGTH: i32 = 14;
/// After this number of days a password policy must expire a password.
pub const MAX_PASSWORD_AGE_DAYS: i32 = 90;
/// AWS remembers no more.
const REMEMBERED_PASSWORDS: i32 = 24;

// The columns of the report that decide.
const CREATED: Unknown = Unknown::Column("user_creation_time");
const PASSWORD_ENABLED: Unknown = Unknown::Column("password_enabled");
const PASSWORD_LAST_USED: Unknown = Unknown::Column("password_last_used");
const PASSWORD_LAST_CHANGED: Unknown = Unknown::Column("password_last_changed");
const MFA_ACTIVE: Unknown = Unknown::Column("mfa_active");
const KEY_ACTIVE: Unknown = Unknown::Column("access_key_N_active");
const KEY_LAST_ROTATED: Unknown = Unknown::Column("access_key_N_last_rotated");
const KEY_LAST_USED: Unknown = Unknown::Column("access_key_N_last_used_date");

/// The controls that count credentials of users.
const OF_CREDENTIALS: [Control; 4] = [
    Control::AccessKeysRotated,
    Control::UnusedCredentialsDisabled,
    Control::OneActiveKeyPerUser,
    Control::NoKeyAtUserSetup,
];
/// The controls about the root user.
pub(super) const OF_ROOT: [Control; 4] =
    [Control::RootNoAccessKey, Control::RootMfa, Control::RootHardwareMfa, Control::RootNotUsed];
/// The controls about users.
pub(super) const OF_USERS: [Control; 6] = [
    Control::AccessKeysRotated,
    Control::UnusedCredentialsDisabled,
    Control::OneActiveKeyPerUser,
    Control::NoKeyAtUserSetup,
    Control::ConsoleMfa,
    Control::PoliciesOnGroupsOnly,
];

/// Decides each control for an account as of `now`. `None` without a report: nothing is known then.
pub fn judge<'a>(
    account: &'a Account,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Option<Outcomes<'a>> {
    let report = account.report.as_deref()?;
    let mut judgement = Judgement::new(account, settings, now);
    for (subject, keys) in account.users().filter(|(subject, _)| !subject.user.is_root()) {
        judgement.user(subject.user, keys);
    }
    judgement.unreported_users(report);
    let root = root_of(account);
    judgement.rows(report, root.is_some());
    judgement.report_age();
    judgement.root(report, root);
    judgement.password_policy();
    Some(judgement.outcomes)
}

/// The number of keys of the root user, as the control about them counts them. If the report does not say
/// it, `GetAccountSummary` can: 1 if there is any key, active or not. `None`: not known.
pub fn root_keys(account: &Account, settings: &Settings, now: DateTime<Utc>) -> Option<usize> {
    let report = account.report.as_deref()?;
    let mut judgement = Judgement::new(account, settings, now);
    let root = root_of(account);
    judgement.rows(report, root.is_some());
    judgement.root(report, root);
    judgement.outcomes.get(Control::RootNoAccessKey).count()
}

/// The row of the root user, with its keys.
type RootRow<'a> = Option<(&'a User, &'a [Option<Key>])>;

fn root_of(account: &Account) -> RootRow<'_> {
    let mut users = account.users().map(|(subject, keys)| (subject.user, keys));
    users.find(|(user, _)| user.is_root())
}

struct Judgement<'a, 's> {
    account: &'a Account,
    settings: &'s Settings,
    now: DateTime<Utc>,
    unused_after: TimeDelta,
    outcomes: Outcomes<'a>,
}

/// A control, and whether a password policy meets it.
type Requirement = (Control, fn(&PasswordPolicy) -> bool);

impl<'a, 's> Judgement<'a, 's> {
    fn new(account: &'a Account, settings: &'s Settings, now: DateTime<Utc>) -> Judgement<'a, 's> {
        let (unused_after, outcomes) = (settings.unused_after(), Outcomes::default());
        Judgement { account, settings, now, unused_after, outcomes }
    }
}

impl<'a> Judgement<'a, '_> {
    fn violation(&mut self, control: Control, violation: Violation<'a>) {
        self.outcomes.of(control).violations.push(violation);
    }

    fn unknown(&mut self, control: Control, unknown: Unknown) {
        self.outcomes.of(control).unknown.insert(unknown);
    }

    /// The age of an event. `None` if the time is not known, or lies ahead.
    fn age(&self, time: Option<DateTime<Utc>>) -> Option<Age> {
        Some(Age::between(self.past(time)?, self.now))
    }

    /// A time that is known, and does not lie ahead.
    fn past(&self, time: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        time.filter(|time| !is_from_the_future(*time, self.now))
    }

    /// Whether the key was used after it was made or last rotated. `None` if that is not known.
    fn used_since_rotation(&self, key: &Key) -> Option<bool> {
        if key.never_used {
            return Some(false);
        }
        Some(self.past(key.last_used)? + USE_STEP > self.past(key.last_rotated)?)
    }

    /// Why evidence is not known.
    fn lack_of(&self, kind: EvidenceKind) -> Unknown {
        match self.account.evidence.standing(kind, self.now) {
            Standing::Failed(Reason::AccessDenied) => Unknown::Denied(kind),
            Standing::Failed(_) => Unknown::Failed(kind),
            Standing::Old => Unknown::OldAnswer(kind),
            Standing::NotRead | Standing::Good => Unknown::NotRead(kind),
        }
    }

    fn user(&mut self, user: &'a User, keys: &'a [Option<Key>]) {
        let active = || {
            let slots = keys.iter().zip(1..);
            slots.filter_map(|(key, slot)| key.as_ref().filter(|key| key.active).zip(Some(slot)))
        };
        for (key, slot) in active() {
            self.key(user, key, slot);
        }
        if active().count() > 1 {
            self.violation(Control::OneActiveKeyPerUser, Violation::of(user));
        }
        if user.lacks_keys() {
            OF_CREDENTIALS.iter().for_each(|control| self.unknown(*control, KEY_ACTIVE));
        }
        if user.has_more_credentials() && !self.account.confirmed.knows(&user.name) {
            OF_CREDENTIALS.iter().for_each(|control| self.unknown(*control, Unknown::Keys));
        }
        self.password(user);
        match (user.password_enabled, user.mfa_active) {
            (Some(false), _) | (_, Some(true)) => {}
            (Some(true), Some(false)) => self.violation(Control::ConsoleMfa, Violation::of(user)),
            (Some(true), None) => self.unknown(Control::ConsoleMfa, MFA_ACTIVE),
            (None, _) => self.unknown(Control::ConsoleMfa, PASSWORD_ENABLED),
        }
        let kind = EvidenceKind::UserPolicies;
        let policies = self.account.evidence.user_policies.known(self.now);
        match policies.map(|users| users.get(&user.name)) {
            Some(None) if self.account.evidence.standing(kind, self.now) == Standing::Good => {
                self.unknown(Control::PoliciesOnGroupsOnly, Unknown::NotListed(kind));
            }
            None | Some(None) => {
                let lack = self.lack_of(kind);
                self.unknown(Control::PoliciesOnGroupsOnly, lack);
            }
            Some(Some(true)) => {
                self.violation(Control::PoliciesOnGroupsOnly, Violation::of(user));
            }
            Some(Some(false)) => {}
        }
    }

    /// Users whom AWS lists with policies and who are not in the report: they are newer, or have another name there.
    fn unreported_users(&mut self, report: &'a Report) {
        let Some(policies) = self.account.evidence.user_policies.known(self.now) else { return };
        if !policies.values().any(|has_policies| *has_policies) {
            return;
        }
        let reported: HashSet<&str> = report.users.iter().map(|user| user.name.as_str()).collect();
        for (name, _) in policies.iter().filter(|(_, has_policies)| **has_policies) {
            if !reported.contains(name.as_str()) {
                let violation = Violation { user: Some(name), credential: None, age: None };
                self.violation(Control::PoliciesOnGroupsOnly, violation);
            }
        }
    }

    /// An active key of a user.
    fn key(&mut self, user: &'a User, key: &Key, slot: u8) {
        let violation =
            |age| Violation { credential: Some(Credential::Key(slot)), age, ..Violation::of(user) };
        let age = self.age(key.last_rotated);
        // The time of an earlier report shows violations. It does not show that there is none.
        let is_listed = self.account.confirmed.knows(&user.name);
        let is_old_time = user.lacks_time.get(usize::from(slot) - 1) == Some(&true) && !is_listed;
        let must_be_used = self.settings.benchmark.wants_keys_used();
        match (age, self.used_since_rotation(key)) {
            (Some(age), _) if age.exceeds(MAX_KEY_AGE) => {
                self.violation(Control::AccessKeysRotated, violation(Some(age)));
            }
            (Some(age), Some(false)) if must_be_used => {
                self.violation(Control::AccessKeysRotated, violation(Some(age)));
            }
            (Some(_), _) if is_old_time => {
                self.unknown(Control::AccessKeysRotated, KEY_LAST_ROTATED)
            }
            (Some(_), None) if must_be_used => {
                self.unknown(Control::AccessKeysRotated, KEY_LAST_USED);
            }
            (Some(_), _) => {}
            (None, _) => self.unknown(Control::AccessKeysRotated, KEY_LAST_ROTATED),
        }

        let unused = self.age(key.last_used.or(key.last_rotated.filter(|_| key.never_used)));
        match (unused, age) {
            (Some(unused), _) if unused.reaches(self.unused_after) => {
                self.violation(Control::UnusedCredentialsDisabled, violation(Some(unused)));
            }
            // Of a key that was never used, the benchmarks, too, take the report's time.
            (Some(_), _) if key.last_used.is_some() || !is_old_time => {}
            // Whenever it was used, that is not long ago. Only AWS's list says for sure when a key was created: the
            // time of the report can be that of a later change.
            (None, Some(age)) if !age.reaches(self.unused_after) && is_listed => {}
            _ => {
                let lack = if key.never_used { KEY_LAST_ROTATED } else { KEY_LAST_USED };
                self.unknown(Control::UnusedCredentialsDisabled, lack);
            }
        }

        let is_used = self.past(key.last_used).is_some();
        if user.password_enabled == Some(false) || is_used {
            return;
        }
        let (rotated, created) = (self.past(key.last_rotated), self.past(user.created));
        let made = rotated.zip(created);
        match made.map(|(key, user)| (key - user).abs() <= SETUP) {
            Some(false) if is_old_time => {
                self.unknown(Control::NoKeyAtUserSetup, KEY_LAST_ROTATED);
            }
            Some(false) => {}
            Some(true) if !key.never_used => self.unknown(Control::NoKeyAtUserSetup, KEY_LAST_USED),
            Some(true) if user.password_enabled.is_none() => {
                self.unknown(Control::NoKeyAtUserSetup, PASSWORD_ENABLED);
            }
            Some(true) => self.violation(Control::NoKeyAtUserSetup, violation(age)),
            None if rotated.is_none() => {
                self.unknown(Control::NoKeyAtUserSetup, KEY_LAST_ROTATED);
            }
            None => self.unknown(Control::NoKeyAtUserSetup, CREATED),
        }
    }

    /// Whether a user's password was used.
    fn password(&mut self, user: &'a User) {
        let control = Control::UnusedCredentialsDisabled;
        match user.password_enabled {
            Some(true) => {}
            Some(false) => return,
            None => return self.unknown(control, PASSWORD_ENABLED),
        }
        let changed = user.password_last_changed.filter(|_| user.password_never_used);
        match self.age(user.password_last_used.or(changed)) {
            Some(age) if age.reaches(self.unused_after) => {
                let credential = Some(Credential::Password);
                self.violation(
                    control,
                    Violation { credential, age: Some(age), ..Violation::of(user) },
                );
            }
            Some(_) => {}
            None if user.password_never_used => self.unknown(control, PASSWORD_LAST_CHANGED),
            None => self.unknown(control, PASSWORD_LAST_USED),
        }
    }

    /// Findings that rejected rows may hide. The report has one row of the root user, so the controls about root
    /// depend on that row alone, and of an earlier one only the violations count.
    fn rows(&mut self, report: &Report, has_root: bool) {
        if report.missing > 0 {
            OF_USERS.iter().for_each(|control| self.unknown(*control, Unknown::Rows));
        }
        if report.keeps_root() {
            let lack = if report.missing > 0 { Unknown::Rows } else { Unknown::RootRow };
            OF_ROOT.iter().for_each(|control| self.unknown(*control, lack));
        }
        for row in &report.rejected {
            // Which of two rows is right is not known.
            let is_of_root = has_root && row.is_root && ["user", "arn"].contains(&row.column);
            if row.problem == Problem::Duplicate || is_of_root {
                let controls: &[Control] = if row.is_root { &OF_ROOT } else { &OF_USERS };
                controls.iter().for_each(|control| self.unknown(*control, Unknown::Rows));
            }
            // If nothing is said of a slot of root, the summary can.
            let is_decided_by_summary = row.is_root && row.problem == Problem::Empty;
            // A key of which the status is not known counts as active.
            if !is_decided_by_summary
                && ["access_key_1_active", "access_key_2_active"].contains(&row.column)
            {
                let controls =
                    if row.is_root { &[Control::RootNoAccessKey][..] } else { &OF_CREDENTIALS };
                controls.iter().for_each(|control| self.unknown(*control, KEY_ACTIVE));
            }
        }
    }

    /// What happened since the report was made. Where that can be all that a control looks at, the report
    /// decides nothing.
    fn report_age(&mut self) {
        for (control, limit) in [
            (Control::AccessKeysRotated, MAX_KEY_AGE),
            (Control::UnusedCredentialsDisabled, self.unused_after),
            (Control::RootNotUsed, self.settings.root_unused_for),
        ] {
            if self.account.generated.is_some_and(|made| self.now - made >= limit) {
                self.unknown(control, Unknown::OldReport);
            }
        }
    }

    fn password_policy(&mut self) {
        let known = self.account.evidence.password_policy.known(self.now);
        let lack = self.lack_of(EvidenceKind::PasswordPolicy);
        let controls: [Requirement; 7] = [
            (Control::PasswordExpiry, |policy| {
                policy.max_age_days.is_some_and(|days| (1..=MAX_PASSWORD_AGE_DAYS).contains(&days))
            }),
            (Control::PasswordUppercase, |policy| policy.requires_uppercase),
            (Control::PasswordLowercase, |policy| policy.requires_lowercase),
            (Control::PasswordSymbol, |policy| policy.requires_symbol),
            (Control::PasswordNumber, |policy| policy.requires_number),
            (Control::PasswordLength, |policy| {
                policy.min_length.is_some_and(|length| length >= MIN_PASSWORD_LENGTH)
            }),
            (Control::PasswordReuse, |policy| {
                policy.remembered.is_some_and(|number| number >= REMEMBERED_PASSWORDS)
            }),
        ];
        for (control, holds) in controls {
            match known {
                None => self.unknown(control, lack),
                // Without its own policy, an account has AWS's default, which falls short of each.
                Some(policy) if policy.as_ref().is_some_and(holds) => {}
                Some(_) => {
                    self.violation(control, Violation { user: None, credential: None, age: None });
                }
            }
        }
    }
}

impl<'a> Violation<'a> {
    fn of(user: &'a User) -> Violation<'a> {
        Violation { user: Some(&user.name), credential: None, age: None }
    }
}
