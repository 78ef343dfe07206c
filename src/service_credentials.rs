//! Service-specific credentials: keys of users that are for one service, such as an API key for Bedrock.
//! The report does not have them, and most live until somebody deletes them.
//!
//! They are judged like access keys, by the same rules and exemptions. That is the exporter's own rule: no
//! benchmark has a control for them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::failure::Failure;
use crate::report::{Key, Report};

/// The service-specific credentials of an account's users, by the users' names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceCredentials(BTreeMap<String, Vec<ServiceCredential>>);

/// A list of an account's credentials, as AWS gives it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialList {
    /// The credentials, with those that were known before of services that AWS did not list.
    pub credentials: ServiceCredentials,
    /// Why AWS did not list a service, or the credentials of a user.
    pub refused: Vec<Failure>,
}

/// A credential of a user for one service. Ordered by service and id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceCredential {
    /// The service, as AWS names it, such as `bedrock.amazonaws.com`.
    pub service: Arc<str>,
    /// The id, such as `ACCA…`.
    pub id: String,
    /// Whether AWS calls it neither inactive nor expired.
    pub active: bool,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// When it expires. Only keys for Bedrock and CloudWatch Logs can have such a time.
    pub expires: Option<DateTime<Utc>>,
}

/// AWS takes any number of days up to 36,600. A key that lives longer than this from now on is one that
/// does not expire.
const NEVER: TimeDelta = TimeDelta::days(10_000);

impl FromIterator<(String, ServiceCredential)> for ServiceCredentials {
    /// Of each user. A credential that is given twice, as by a list that changes while its pages are read,
    /// counts once, and as active if it was active at any time.
    fn from_iter<T: IntoIterator<Item = (String, ServiceCredential)>>(all: T) -> Self {
        let mut by_user: BTreeMap<String, Vec<ServiceCredential>> = BTreeMap::new();
        for (user, credential) in all {
            by_user.entry(user).or_default().push(credential);
        }
        for credentials in by_user.values_mut() {
            credentials.sort();
            credentials.dedup_by(|a, b| {
                let is_same = (&a.service, &a.id) == (&b.service, &b.id);
                b.active |= is_same && a.active;
                is_same
            });
        }
        ServiceCredentials(by_user)
    }
}

impl ServiceCredentials {
    /// All of them, each with its user.
    pub fn all(&self) -> impl Iterator<Item = (&str, &ServiceCredential)> {
        let users = self.0.iter();
        users.flat_map(|(user, all)| all.iter().map(move |credential| (user.as_str(), credential)))
    }

    /// Those of other users, each with its user.
    pub fn of_others<'a>(
        &self,
        users: impl Iterator<Item = &'a str>,
    ) -> Vec<(&str, &ServiceCredential)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let users: HashSet<&str> = users.collect();
        self.all().filter(|(user, _)| !users.contains(user)).collect()
    }

    /// Follows the users to the next report. A user who has another name there was created at the same time.
    /// The credentials of a deleted user are gone, because AWS deletes no user who has one. If it is not known
    /// which of both happened, they stay.
    pub fn follow(&mut self, before: &Report, after: &Report) {
        if self.0.is_empty() || after.missing > 0 {
            return;
        }
        fn users(report: &Report) -> HashSet<(&str, Option<DateTime<Utc>>)> {
            report.users.iter().map(|user| (user.name.as_str(), user.created)).collect()
        }
        // Its users are also those of earlier reports, under names that they may no longer have.
        let has_earlier = before.missing > 0;
        let (before, after) = (users(before), users(after));
        // The new names. `None`: the user is gone.
        let mut names: HashMap<&str, Option<&str>> = HashMap::new();
        for (name, created) in before.difference(&after) {
            // A time that could not be read can be that of any user.
            let can_be = |other: &Option<DateTime<Utc>>| {
                created.is_none() || other.is_none() || created == other
            };
            let others = after.iter().filter(|other| has_earlier || !before.contains(other));
            let mut others = others.filter(|(_, created)| can_be(created));
            match (others.next(), others.next()) {
                (None, _) => names.insert(name, None),
                // Whoever was there before can be another user of that time, such as of the same script.
                (Some(other), None)
                    if !before.contains(other) && created.is_some() && other.1 == *created =>
                {
                    names.insert(name, Some(other.0))
                }
                _ => continue,
            };
        }
        let all = self.all().filter_map(|(user, credential)| {
            let user = names.get(user).copied().unwrap_or(Some(user))?;
            Some((user.to_owned(), credential.clone()))
        });
        *self = all.collect();
    }

    /// Those of a user, by service and id.
    pub fn of(&self, user: &str) -> &[ServiceCredential] {
        self.0.get(user).map_or(&[], Vec::as_slice)
    }
}

impl ServiceCredential {
    /// When it expires, as of `now`. `None` if it never does, or so late that nobody will see it.
    pub fn expiry(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.expires.filter(|expires| *expires - now <= NEVER)
    }

    /// The credential as a key that can be judged as of `now`. AWS does not say when it was used.
    pub fn key(&self, now: DateTime<Utc>) -> Key {
        let has_expired = self.expires.is_some_and(|expires| expires <= now);
        Key {
            active: self.active && !has_expired,
            id: Some(self.id.clone()),
            last_rotated: Some(self.created),
            last_used: None,
            never_used: false,
            last_used_region: None,
            last_used_service: None,
            use_of: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn credential(id: &str) -> ServiceCredential {
        ServiceCredential {
            service: "bedrock.amazonaws.com".into(),
            id: id.to_owned(),
            active: true,
            created: at("2026-01-01T00:00:00Z"),
            expires: None,
        }
    }

    #[test]
    fn a_credential_that_is_given_twice_counts_once_and_as_active_if_it_ever_was() {
        let inactive = ServiceCredential { active: false, ..credential("ACCA1") };
        for twice in
            [[credential("ACCA1"), inactive.clone()], [inactive.clone(), credential("ACCA1")]]
        {
            let all = twice.into_iter().map(|credential| ("ann".to_owned(), credential));
            let all = ServiceCredentials::from_iter(all);
            assert_eq!(Vec::from_iter(all.all()), [("ann", &credential("ACCA1"))]);
        }
    }

    #[test]
    fn an_expiry_of_more_than_10000_days_ahead_counts_as_none() {
        let now = at("2026-11-01T12:00:00Z");
        let expiring = |in_days| {
            let expires = Some(now + TimeDelta::days(in_days));
            ServiceCredential { expires, ..credential("ACCA1") }
        };
        assert_eq!(credential("ACCA1").expiry(now), None);
        assert_eq!(expiring(36_600).expiry(now), None);
        assert_eq!(expiring(10_001).expiry(now), None);
        for days in [10_000, 1, -1] {
            assert_eq!(expiring(days).expiry(now), Some(now + TimeDelta::days(days)));
        }
    }

    #[test]
    fn a_credential_can_be_used_until_it_expires_or_is_deactivated() {
        let expires = at("2026-11-01T12:00:00Z");
        let expiring = ServiceCredential { expires: Some(expires), ..credential("ACCA1") };
        assert!(expiring.key(expires - TimeDelta::seconds(1)).active);
        assert!(!expiring.key(expires).active, "although AWS called it active before");
        assert!(credential("ACCA1").key(expires).active);
        let inactive = ServiceCredential { active: false, ..credential("ACCA1") };
        assert!(!inactive.key(expires).active);
    }

    #[test]
    fn credentials_follow_their_users_to_the_next_report() {
        let report = |users: &[(&str, &str)], more: &str| {
            let mut csv = "user,arn,user_creation_time,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n".to_owned();
            for (user, year) in users {
                let arn = format!("arn:aws:iam::123456789012:user/{user}");
                csv += &format!("{user},{arn},{year}-01-01T00:00:00Z,false,N/A,false,N/A\n");
            }
            Report::parse((csv + more).as_bytes()).expect("a report")
        };
        let before = report(&[("ann", "2020"), ("bob", "2021"), ("cid", "2022")], "");
        let users = |after: &[(&str, &str)], more: &str| {
            let all = [("ann", "1"), ("bob", "2"), ("dan", "3")];
            let all = all.map(|(user, id)| (user.to_owned(), credential(id)));
            let mut credentials = ServiceCredentials::from_iter(all);
            credentials.follow(&before, &report(after, more));
            let users = credentials.all().map(|(user, it)| format!("{user} {}", it.id));
            users.collect::<Vec<_>>().join(", ")
        };
        // The report has no dan yet.
        for (after, expected) in [
            (&[("ann", "2020"), ("bob", "2021"), ("cid", "2022")][..], "ann 1, bob 2, dan 3"),
            (&[("cid", "2022"), ("bob", "2021"), ("dan", "2023")], "bob 2, dan 3"),
            (&[("eve", "2020"), ("bob", "2021"), ("fay", "2023")], "bob 2, dan 3, eve 1"),
            (&[("bob", "2020"), ("eve", "2021")], "bob 1, dan 3, eve 2"),
            (&[("dan", "2020"), ("bob", "2021")], "bob 2, dan 1, dan 3"),
            (&[("ann", "2023"), ("bob", "2021")], "bob 2, dan 3"),
            // Either of two, and a time that cannot be read.
            (&[("eve", "2020"), ("fay", "2020"), ("bob", "2021")], "ann 1, bob 2, dan 3"),
            (&[("eve", "20x0"), ("bob", "2021")], "ann 1, bob 2, dan 3"),
        ] {
            assert_eq!(users(after, ""), expected, "{after:?}");
        }
        // With a row that could not be read in between, the users of both reports are known together: whoever
        // was created at the same time can be the same user, or another one.
        for (first, second) in [
            (&[("ann", "2020"), ("bob", "2021")][..], &[("eve", "2020"), ("bob", "2021")][..]),
            (&[("ann", "2020"), ("eve", "2020")], &[("eve", "2020")]),
        ] {
            let before = Arc::new(report(first, ""));
            let mut between = Arc::new(report(second, "x\n"));
            between.keep_missing(&before, None);
            let mut credentials =
                ServiceCredentials::from_iter([("ann".to_owned(), credential("1"))]);
            credentials.follow(&before, &between);
            credentials.follow(&between, &report(second, ""));
            assert_eq!(Vec::from_iter(credentials.all()), [("ann", &credential("1"))], "{first:?}");
        }
        let with_a_row_that_cannot_be_read = users(&[("bob", "2021")], "x\n");
        assert_eq!(with_a_row_that_cannot_be_read, "ann 1, bob 2, dan 3");
    }

    #[test]
    fn each_user_has_each_credential_once_whatever_the_order() {
        let all = [("b", "2"), ("a", "1"), ("b", "1"), ("b", "2")];
        let all = all.map(|(user, id)| (user.to_owned(), credential(id)));
        let credentials: ServiceCredentials = all.iter().cloned().collect();
        let ids = |user| credentials.of(user).iter().map(|it| it.id.as_str()).collect::<Vec<_>>();
        assert_eq!((ids("a"), ids("b"), ids("c")), (vec!["1"], vec!["1", "2"], vec![]));
        assert_eq!(credentials, all.into_iter().rev().collect());
    }
}
