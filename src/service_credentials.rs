//! Service-specific credentials: keys of users that are for one service, such as an API key for Bedrock.
//! The report does not have them, and most live until somebody deletes them.
//!
//! They are judged like access keys, by the same rules and exemptions. That is the exporter's own rule: no
//! benchmark has a control for them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::MAX_CLOCK_SKEW;
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
    /// When the report was made that the account had when AWS last listed it. `None`: AWS just did.
    pub listed_with: Option<DateTime<Utc>>,
}

/// Follows the name under which AWS listed the credentials of a user, if it is not known which user of the report that is:
/// one of that name can be another one. No user of AWS can have such a name, so nothing of another user is taken for
/// that of this one: no tags, no rules.
const UNMATCHED: &str = " (unmatched)";

/// The name under which AWS listed the credentials of a user who is no known user of the report.
pub fn unmatched_name(user: &str) -> Option<&str> {
    user.strip_suffix(UNMATCHED)
}

/// AWS takes any number of days up to 36,600. A key that lives longer than this from now on is one that
/// does not expire.
const NEVER: TimeDelta = TimeDelta::days(10_000);

impl FromIterator<(String, ServiceCredential)> for ServiceCredentials {
    /// A credential that is given twice, as by a list that changes while its pages are read, counts once, for
    /// the first user, and as active if it was active at any time.
    fn from_iter<T: IntoIterator<Item = (String, ServiceCredential)>>(all: T) -> Self {
        let mut by_id = BTreeMap::new();
        for (user, credential) in all {
            match by_id.entry((credential.service.clone(), credential.id.clone())) {
                Entry::Vacant(new) => drop(new.insert((user, credential))),
                Entry::Occupied(mut known) => known.get_mut().1.active |= credential.active,
            }
        }
        let mut by_user: BTreeMap<String, Vec<ServiceCredential>> = BTreeMap::new();
        for (user, credential) in by_id.into_values() {
            by_user.entry(user).or_default().push(credential);
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

    /// Keeps them for the next report, until AWS lists them again. Who is in both reports under the same name, and
    /// was created at the same time, is surely the same user. Nobody knows where the others are in the report, or
    /// whether: AWS deletes no user who has a credential, but users change their names. So theirs stay, unmatched.
    /// Returns whether there are any.
    pub fn keep(&mut self, before: &Report, after: &Report) -> bool {
        if !self.0.is_empty() {
            let same = after.same_users(before);
            self.mark_unmatched(|user, _| !same.contains(user));
        }
        self.0.keys().any(|user| unmatched_name(user).is_some())
    }

    /// Finds out which users of a new list are not those of the same names in the report, which was made at that time. No
    /// credential changes its user, and no user the name in one report. So if it comes under another name than before,
    /// its user was renamed: since this report, if it was listed with it, or if the report still has the name before.
    /// What the last list, at the time `listed`, left unmatched stays so if that is newer than this report, too.
    /// An earlier row, which stays because another one cannot be read, does not show that.
    pub fn match_users(
        &mut self,
        before: &ServiceCredentials,
        report: &Report,
        made: Option<DateTime<Utc>>,
        listed: Option<DateTime<Utc>>,
    ) {
        self.mark_older_than_users(report);
        let known: HashMap<_, _> = before
            .all()
            .map(|(user, it)| ((&it.service, &it.id), (user, it.listed_with)))
            .collect();
        if !known.is_empty() {
            let rows = report.users.iter().filter(|user| !user.is_kept);
            let reported: HashSet<&str> = rows.map(|user| user.name.as_str()).collect();
            self.mark_unmatched(|user, it| match known.get(&(&it.service, &it.id)) {
                Some((before, with)) if *with == made => *before != user,
                Some((before, _)) if unmatched_name(before).is_some() && made <= listed => true,
                Some((before, _)) => {
                    let before = unmatched_name(before).unwrap_or(before);
                    before != user && reported.contains(before)
                }
                None => false,
            });
        }
        let all = self.0.values_mut().flatten();
        all.for_each(|it| it.listed_with = it.listed_with.or(made));
    }

    /// A user of the report who is newer than a credential is not the one who has it, but another one of that name.
    fn mark_older_than_users(&mut self, report: &Report) {
        let created = report.users.iter().filter_map(|it| Some((it.name.as_str(), it.created?)));
        let created: HashMap<&str, DateTime<Utc>> = created.collect();
        self.mark_unmatched(|user, credential| {
            created.get(user).is_some_and(|user| *user > credential.created + MAX_CLOCK_SKEW)
        });
    }

    /// From now on it is not known which users of the report have these.
    fn mark_unmatched(&mut self, is_unmatched: impl Fn(&str, &ServiceCredential) -> bool) {
        let all = std::mem::take(&mut self.0).into_iter();
        let all = all.flat_map(|(user, all)| all.into_iter().map(move |it| (user.clone(), it)));
        let named = all.map(|(user, it)| {
            let is_new = unmatched_name(&user).is_none() && is_unmatched(&user, &it);
            (if is_new { user + UNMATCHED } else { user }, it)
        });
        *self = named.collect();
    }

    /// Those of a user of the report, by service and id.
    pub fn of(&self, user: &str) -> impl Iterator<Item = &ServiceCredential> {
        self.0.get(user).into_iter().flatten()
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
            listed_with: None,
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
        // Renamed while the pages were read.
        let all = [("ann", inactive), ("eve", credential("ACCA1"))];
        let all = all.map(|(user, credential)| (user.to_owned(), credential));
        let all = ServiceCredentials::from_iter(all);
        assert_eq!(Vec::from_iter(all.all()), [("ann", &credential("ACCA1"))]);
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
    fn a_credential_stays_with_its_user_or_is_unmatched() {
        let report = |users: &[(&str, &str)], more: &str| {
            let mut csv = "user,arn,user_creation_time,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated\n".to_owned();
            for (user, year) in users {
                let arn = format!("arn:aws:iam::123456789012:user/{user}");
                csv += &format!("{user},{arn},{year}-01-01T00:00:00Z,false,N/A,false,N/A\n");
            }
            Arc::new(Report::parse((csv + more).as_bytes()).expect("a report"))
        };
        type Users<'a> = &'a [(&'a str, &'a str)];
        let before: Users = &[("ann", "2020"), ("bob", "2021"), ("zed", "2020")];
        // The users of ann's 1, bob's 2, dan's 3, who is not in the first report yet, and zed's 4.
        let kept = |reports: &[(Users, &str)]| {
            let all = [("ann", "1"), ("bob", "2"), ("dan", "3"), ("zed", "4")];
            let all = all.map(|(user, id)| (user.to_owned(), credential(id)));
            let mut credentials = ServiceCredentials::from_iter(all);
            let mut last = report(before, "");
            for (users, more) in reports {
                let mut next = report(users, more);
                next.keep_missing(&last, None);
                credentials.keep(&last, &next);
                last = next;
            }
            let of = |name: &&str| credentials.of(name).map(|it| it.id.clone()).collect::<String>();
            let names = ["ann", "bob", "dan", "eve", "fay", "zed"];
            let all = names.map(|name| of(&name)).join(",");
            let users = last.users.iter().map(|user| user.name.as_str());
            let others = credentials.of_others(users);
            let others = others.iter().map(|(name, it)| format!(" {name} {}", it.id));
            all + &others.collect::<String>()
        };
        let same = "1,2,,,,4 dan (unmatched) 3";
        let of_a_new_ann = ",2,,,,4 ann (unmatched) 1 dan (unmatched) 3";
        let without_ann = of_a_new_ann;
        let steps: [(&[(Users, &str)], &str); 10] = [
            (&[(before, "")], same),
            // Whether this is the same dan, the next list says.
            (&[(&[("ann", "2020"), ("bob", "2021"), ("zed", "2020"), ("dan", "2023")], "")], same),
            // Renamed, or deleted and another one made.
            (&[(&[("eve", "2020"), ("bob", "2021"), ("zed", "2020")], "")], without_ann),
            (&[(&[("bob", "2021"), ("zed", "2020")], "")], without_ann),
            (&[(&[("ann", "2023"), ("bob", "2021"), ("zed", "2020")], "")], of_a_new_ann),
            // It remains so, whoever has the name.
            (
                &[
                    (&[("bob", "2021"), ("zed", "2020")], ""),
                    (&[("ann", "2020"), ("bob", "2021"), ("zed", "2020")], ""),
                ],
                of_a_new_ann,
            ),
            // One of two, of whom the other was deleted.
            (
                &[(&[("eve", "2020"), ("bob", "2021")], "")],
                ",2,,,, ann (unmatched) 1 dan (unmatched) 3 zed (unmatched) 4",
            ),
            // Names that go round.
            (
                &[(&[("ann", "2021"), ("bob", "2020"), ("zed", "2020")], "")],
                ",,,,,4 ann (unmatched) 1 bob (unmatched) 2 dan (unmatched) 3",
            ),
            // A time, or a row, that cannot be read.
            (&[(&[("ann", "20x0"), ("bob", "2021"), ("zed", "2020")], "")], of_a_new_ann),
            (&[(&[("bob", "2021"), ("zed", "2020")], "x\n"), (before, "")], same),
        ];
        for (reports, expected) in steps {
            assert_eq!(kept(reports), expected, "{reports:?}");
        }
    }

    #[test]
    fn each_user_has_each_credential_once_whatever_the_order() {
        let all = [("b", "3"), ("a", "2"), ("b", "1"), ("b", "3")];
        let all = all.map(|(user, id)| (user.to_owned(), credential(id)));
        let credentials: ServiceCredentials = all.iter().cloned().collect();
        let ids = |user| credentials.of(user).map(|it| it.id.as_str()).collect::<Vec<_>>();
        assert_eq!((ids("a"), ids("b"), ids("c")), (vec!["2"], vec!["1", "3"], vec![]));
        assert_eq!(credentials, all.into_iter().rev().collect());
    }
}
