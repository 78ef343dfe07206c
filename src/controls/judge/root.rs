//! The controls about the root user.

use super::{
    Judgement, KEY_ACTIVE, KEY_LAST_USED, MFA_ACTIVE, OF_ROOT, PASSWORD_ENABLED,
    PASSWORD_LAST_USED, RootRow,
};
use crate::clock::MAX_CLOCK_SKEW;
use crate::controls::{Control, Credential, Outcome, Unknown, Violation};
use crate::evidence::{EvidenceKind, Standing};
use crate::policy::Age;
use crate::report::{Key, ROOT_USER, Report};

/// The known facts about the root user.
struct Root<'a> {
    /// The row of the report, with the keys.
    row: RootRow<'a>,
    /// Whether there is a password.
    password: Option<bool>,
    /// Whether there is an MFA device.
    mfa: Option<bool>,
    /// Whether there is an active key.
    key: Option<bool>,
    /// The columns of the report than which a later summary says worse. Neither is sure then.
    outdated: Vec<Unknown>,
}

impl<'a> Judgement<'a, '_> {
    /// Decides them. The report has this row of root, with these keys.
    pub(super) fn root(&mut self, report: &Report, row: RootRow<'a>) {
        let partition = report.partition.as_deref();
        let has_no_root = report.is_without_root();
        // Root of GovCloud has no password and no MFA. It can have keys.
        let has_no_console = partition == Some("aws-us-gov");
        let inapplicable: &[Control] = match (has_no_root, has_no_console) {
            (true, _) => &OF_ROOT,
            (false, true) => &[Control::RootMfa, Control::RootHardwareMfa],
            (false, false) => &[],
        };
        for control in inapplicable {
            *self.outcomes.of(*control) = Outcome { is_inapplicable: true, ..Outcome::default() };
        }
        if has_no_root {
            return;
        }
        let summary = self.account.evidence.summary.known(self.now).copied().unwrap_or_default();
        let said = self.account.evidence.root;
        // One of the clocks is AWS's.
        let is_later = |read| Some(read + MAX_CLOCK_SKEW) > self.account.generated;
        let is_active = |key: &Option<Key>| key.as_ref().is_some_and(|key| key.active);
        let reported = row.map(|(user, _)| user);
        let mut root = Root {
            row,
            password: match reported.and_then(|user| user.password_enabled) {
                None if has_no_console => Some(false),
                None => summary.root_password,
                reported => reported,
            },
            mfa: reported.and_then(|user| user.mfa_active).or(summary.root_mfa),
            key: match row {
                Some((_, keys)) if keys.iter().any(is_active) => Some(true),
                Some((user, _)) if !user.lacks_keys() && !report.keeps_root() => Some(false),
                _ => summary.root_keys,
            },
            outdated: Vec::new(),
        };
        // An inactive key counts in the summary.
        let has_no_key = row.is_some_and(|(_, keys)| keys.iter().all(Option::is_none));
        let worse = [
            (&mut root.password, said.password.filter(|_| !has_no_console), true, PASSWORD_ENABLED),
            (&mut root.mfa, said.mfa, false, MFA_ACTIVE),
            (&mut root.key, said.keys.filter(|_| has_no_key), true, KEY_ACTIVE),
        ];
        for (known, said, bad, column) in worse {
            let is_worse = said.is_some_and(|(value, read)| value == bad && is_later(read));
            if is_worse && *known == Some(!bad) {
                *known = None;
                root.outdated.push(column);
            }
        }
        self.root_keys(&root);
        self.root_use(&root);
        if !has_no_console {
            self.root_mfa(&root);
        }
    }

    /// Why the report and the summary do not say something of the root user.
    fn lack_of_summary(&self, root: &Root, column: Unknown) -> Unknown {
        if root.outdated.contains(&column) {
            return Unknown::OldReport;
        }
        match self.account.evidence.standing(EvidenceKind::AccountSummary, self.now) {
            // Nothing but the report was to say it, or the summary does not say it either.
            Standing::NotRead | Standing::Good => match root.row {
                None => Unknown::RootRow,
                Some(_) => column,
            },
            Standing::Old | Standing::Failed(_) => self.lack_of(EvidenceKind::AccountSummary),
        }
    }

    fn root_keys(&mut self, root: &Root<'a>) {
        let control = Control::RootNoAccessKey;
        let mut is_shown = false;
        if let Some((user, keys)) = root.row {
            for (key, slot) in keys.iter().zip(1..) {
                let Some(key) = key.as_ref().filter(|key| key.active) else { continue };
                let credential = Some(Credential::Key(slot));
                let age = self.age(key.last_rotated);
                self.violation(control, Violation { credential, age, ..Violation::of(user) });
                is_shown = true;
            }
        }
        if root.key == Some(true) && !is_shown {
            self.violation(control, Violation::of_root(None));
        }
        let keeps_root = self.account.report.as_ref().is_some_and(|report| report.keeps_root());
        let lacks_keys = root.row.map(|(user, _)| user.lacks_keys());
        match root.key {
            // The summary does not say how many there are.
            Some(true) if lacks_keys == Some(true) => self.unknown(control, KEY_ACTIVE),
            Some(_) => {}
            // Of an earlier row, the reason is known.
            None if lacks_keys == Some(false) && keeps_root => {}
            None => {
                let lack = self.lack_of_summary(root, KEY_ACTIVE);
                self.unknown(control, lack);
            }
        }
    }

    fn root_use(&mut self, root: &Root<'a>) {
        let control = Control::RootNotUsed;
        // An inactive key may have been used until today. The summary counts such keys, too.
        let has_key = match root.row {
            Some((_, keys)) if keys.iter().any(Option::is_some) => Some(true),
            _ => root.key,
        };
        let has_lost_key = root.row.is_some_and(|(user, _)| user.has_use_without_key);
        if (root.password, has_key) == (Some(false), Some(false)) && !has_lost_key {
            return;
        }
        let Some((user, keys)) = root.row else {
            return self.unknown(control, Unknown::RootRow);
        };
        let keys = || keys.iter().flatten();
        let uses = keys().filter_map(|key| key.last_used).chain(user.password_last_used);
        // A time ahead counts as now: clocks differ a little, and more than that fails the refresh.
        let limit = self.settings.root_unused_for;
        let newest = uses.max();
        let age = newest.map(|time| Age::between(time, self.now));
        if let Some(age) = age.filter(|age| !age.reaches(limit)) {
            return self.violation(control, Violation::of_root(Some(age)));
        }
        // A violation does not end because there is no newer report.
        let made = self.account.generated.filter(|_| self.account.is_stale(self.now));
        let then = newest.zip(made).map(|(time, made)| Age::between(time, made));
        if then.is_some_and(|age| !age.reaches(limit)) {
            self.unknown(control, Unknown::OldReport);
        }
        let is_password_known = user.password_last_used.is_some() || user.password_never_used;
        if !is_password_known && root.password != Some(false) {
            self.unknown(control, PASSWORD_LAST_USED);
        }
        // Most likely, root made what the summary knows.
        if !root.outdated.is_empty() {
            self.unknown(control, Unknown::OldReport);
        }
        if user.lacks_keys() {
            self.unknown(control, KEY_ACTIVE);
        }
        if keys().any(|key| key.last_used.is_none() && !key.never_used) {
            self.unknown(control, KEY_LAST_USED);
        }
    }

    fn root_mfa(&mut self, root: &Root<'a>) {
        let spares = self.settings.benchmark.spares_root_without_password();
        let needs_mfa = match (root.password, root.key) {
            (Some(true), _) => Some(true),
            (Some(false), _) if spares => Some(false),
            (Some(false), key) => key,
            (None, Some(true)) if !spares => Some(true),
            (None, _) => None,
        };
        let virtual_mfa = self.account.evidence.root_virtual_mfa.known(self.now).copied();
        let column = if root.password.is_some() { KEY_ACTIVE } else { PASSWORD_ENABLED };
        let credentials = self.lack_of_summary(root, column);
        match (root.mfa, needs_mfa) {
            (_, Some(false)) => return,
            (Some(false), Some(true)) => {
                self.violation(Control::RootMfa, Violation::of_root(None));
                return self.violation(Control::RootHardwareMfa, Violation::of_root(None));
            }
            (Some(false), None) => {
                self.unknown(Control::RootMfa, credentials);
                return self.unknown(Control::RootHardwareMfa, credentials);
            }
            (Some(true), _) => {}
            (None, _) => {
                let lack = self.lack_of_summary(root, MFA_ACTIVE);
                self.unknown(Control::RootMfa, lack);
                if virtual_mfa != Some(true) {
                    self.unknown(Control::RootHardwareMfa, lack);
                }
            }
        }
        match (virtual_mfa, needs_mfa) {
            (Some(false), _) => {}
            (Some(true), Some(true)) => {
                self.violation(Control::RootHardwareMfa, Violation::of_root(None));
            }
            (Some(true), _) => self.unknown(Control::RootHardwareMfa, credentials),
            (None, _) => {
                let lack = self.lack_of(EvidenceKind::VirtualMfaDevices);
                self.unknown(Control::RootHardwareMfa, lack);
            }
        }
    }
}

impl<'a> Violation<'a> {
    fn of_root(age: Option<Age>) -> Violation<'a> {
        Violation { user: Some(ROOT_USER), credential: None, age }
    }
}
