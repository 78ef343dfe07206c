//! Which of two reports of an account is newer, by what they say.

use std::cmp::Ordering;
use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{Key, Report, User};

impl Report {
    /// Whether AWS made this report of the same account before or after `other`, by times that
    /// never go back: when a password was changed or used, and when a key was used. `None` if they
    /// do not decide. Creation times do not help, because the newest user or key can be deleted.
    pub fn order(&self, other: &Report) -> Option<Ordering> {
        let others: HashMap<_, _> =
            other.users.iter().map(|user| ((&user.arn, user.created), user)).collect();
        let (mut is_older, mut is_newer) = (false, false);
        for user in &self.users {
            let Some(other) = others.get(&(&user.arn, user.created)) else { continue };
            for order in user.orders(other) {
                is_older |= order.is_lt();
                is_newer |= order.is_gt();
            }
        }
        match (is_older, is_newer) {
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            _ => None,
        }
    }

    /// The newest time of a past event in the report. If a host's clock shows an earlier time, it
    /// is behind.
    pub fn newest_time(&self) -> Option<DateTime<Utc>> {
        let times = self.users.iter().flat_map(|user| {
            let keys = user.keys.iter().flatten();
            let certificates = user.certificates.iter().flatten();
            [user.created, user.password_last_used, user.password_last_changed]
                .into_iter()
                .chain(keys.flat_map(|key| [key.last_rotated, key.last_used]))
                .chain(certificates.map(|certificate| certificate.last_rotated))
        });
        times.flatten().max()
    }
}

impl User {
    /// How times of this user compare with those of the same user in another report.
    fn orders<'a>(&'a self, other: &'a User) -> impl Iterator<Item = Ordering> + 'a {
        let passwords = [
            (self.password_last_changed, other.password_last_changed),
            (self.password_last_used, other.password_last_used),
        ];
        // A password can be deleted.
        let passwords = passwords.into_iter().filter_map(|(a, b)| Some(a?.cmp(&b?)));
        let keys = self.keys.iter().flatten().filter_map(|key| {
            let is_same =
                |other: &&Key| key.last_rotated.is_some() && other.last_rotated == key.last_rotated;
            let other = other.keys.iter().flatten().find(is_same)?;
            Some(key.use_if_known()?.cmp(&other.use_if_known()?))
        });
        passwords.chain(keys)
    }
}

impl Key {
    /// When it was last used, `Some(None)` if never. `None` if that is not known.
    pub(super) fn use_if_known(&self) -> Option<Option<DateTime<Utc>>> {
        (self.never_used || self.last_used.is_some()).then_some(self.last_used)
    }
}
