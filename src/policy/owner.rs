//! Users and their tags → [`Owner`]s, each with a summary of its keys: the data of alerts and
//! dashboards, so that they need no join over all keys.

use std::collections::HashMap;
use std::rc::Rc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Age, KeyStatus, Ruling, Tag, Verdict};
use crate::report::Key;

/// Whom to ask about keys: the users of one account who have the same values of the tags that the
/// configuration names.
#[derive(Debug, Clone, PartialEq)]
pub struct Owner<'a> {
    /// One value for each of the tags, in the order of the configuration. Empty for users who do not
    /// have the tag, and for all users while tags are not known.
    pub tags: Rc<[&'a str]>,
    /// The keys of all these users.
    pub keys: KeySummary,
}

/// The owners in one account.
#[derive(Debug)]
pub struct Owners<'a> {
    tag_keys: Vec<&'a str>,
    places: HashMap<Rc<[&'a str]>, usize>,
    owners: Vec<Owner<'a>>,
    /// The values of the current user. Kept here, so that the memory is reused.
    values: Vec<&'a str>,
}

/// Something that an owner should do about keys, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// Rotate them: they are older than their maximum age.
    Unrotated,
    /// Rotate them soon.
    DueSoon,
    /// Rotate them or ask for more time: their exemption ends within the time in which keys are due soon.
    ExemptionEnding,
    /// Delete them: they have been active for [`NEVER_USED_FOR`], and were never used.
    NeverUsed,
    /// Rotate them: they are no access keys but service-specific credentials, older than they may be.
    UnrotatedServiceCredential,
}

/// A new key has this time to be used.
pub const NEVER_USED_FOR: TimeDelta = TimeDelta::days(7);

/// Whether a key of this time had [`NEVER_USED_FOR`] to be used, as far as its use is known.
pub fn was_time_to_use(created: Option<DateTime<Utc>>, use_known_until: DateTime<Utc>) -> bool {
    created.is_some_and(|created| use_known_until - created > NEVER_USED_FOR)
}

/// The keys with a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// How many these are, 1 or more.
    pub keys: usize,
    /// The most urgent of their times: when the oldest one was last rotated (unrotated, never used), when
    /// the first is due, or when the first exemption ends.
    pub first: DateTime<Utc>,
}

/// A summary of some keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeySummary {
    counts: [usize; KeyStatus::ALL.len()],
    findings: [Option<Found>; FindingKind::ALL.len()],
    /// The number of keys with any finding. A key can have several.
    to_do: usize,
    /// The number of active keys that are known to have never been used.
    pub never_used: usize,
    /// The age of the oldest unrotated key.
    pub oldest_unrotated: Option<Age>,
    /// The earliest due date of a key that is not unrotated yet.
    pub next_due: Option<DateTime<Utc>>,
    /// The earliest end of an exemption of an active key.
    pub next_exemption_end: Option<DateTime<Utc>>,
}

impl<'a> Owners<'a> {
    /// No owners yet. They differ by the values of the tags with these keys.
    pub fn new(tag_keys: impl IntoIterator<Item = &'a str>) -> Owners<'a> {
        let tag_keys = Vec::from_iter(tag_keys);
        Owners { tag_keys, places: HashMap::new(), owners: Vec::new(), values: Vec::new() }
    }

    /// The place, counted from 0, of the owner who has these tags. IAM ignores the case of tag keys.
    pub fn place(&mut self, tags: &'a [Tag]) -> usize {
        let value = |key: &&str| {
            let tag = tags.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
            tag.map_or("", |(_, value)| &**value)
        };
        self.values.clear();
        self.values.extend(self.tag_keys.iter().map(value));
        if let Some(place) = self.places.get(&*self.values) {
            return *place;
        }
        let place = self.owners.len();
        let tags: Rc<[&str]> = Rc::from(&*self.values);
        self.places.insert(Rc::clone(&tags), place);
        self.owners.push(Owner { tags, keys: KeySummary::default() });
        place
    }

    /// The keys of the owner at this place.
    pub fn keys(&mut self, place: usize) -> &mut KeySummary {
        &mut self.owners[place].keys
    }

    /// The owners by their places.
    pub fn finish(self) -> Vec<Owner<'a>> {
        self.owners
    }
}

impl FindingKind {
    /// Every finding, the most urgent first, and last the one that is not about access keys.
    pub const ALL: [FindingKind; 5] = [
        FindingKind::Unrotated,
        FindingKind::DueSoon,
        FindingKind::ExemptionEnding,
        FindingKind::NeverUsed,
        FindingKind::UnrotatedServiceCredential,
    ];

    /// The value of the label `finding`.
    pub fn as_str(self) -> &'static str {
        match self {
            FindingKind::Unrotated => "unrotated",
            FindingKind::DueSoon => "due_soon",
            FindingKind::NeverUsed => "never_used",
            FindingKind::ExemptionEnding => "exemption_ending",
            FindingKind::UnrotatedServiceCredential => "unrotated_service_credential",
        }
    }

    /// The time of this key, judged by this ruling as of `now`, that [`Found::first`] is about. `None` if
    /// the key does not have the finding.
    fn time(
        self,
        key: &Key,
        verdict: &Verdict,
        ruling: &Ruling,
        use_known_until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        match self {
            FindingKind::Unrotated => {
                key.last_rotated.filter(|_| verdict.status == KeyStatus::Unrotated)
            }
            FindingKind::DueSoon => verdict.due.filter(|_| verdict.status == KeyStatus::DueSoon),
            FindingKind::NeverUsed => {
                let until = key.use_of.unwrap_or(use_known_until);
                let is_unneeded = key.never_used && was_time_to_use(key.last_rotated, until);
                key.last_rotated.filter(|_| key.active && is_unneeded)
            }
            FindingKind::ExemptionEnding => ruling.exemption_ending(now).filter(|_| key.active),
            // No access key has it.
            FindingKind::UnrotatedServiceCredential => None,
        }
    }
}

impl KeySummary {
    /// Adds a key that was judged by this ruling as of `now`.
    pub fn add(
        &mut self,
        key: &Key,
        verdict: &Verdict,
        ruling: &Ruling,
        use_known_until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) {
        self.counts[verdict.status as usize] += 1;
        let mut is_to_do = false;
        for finding in FindingKind::ALL {
            let Some(time) = finding.time(key, verdict, ruling, use_known_until, now) else {
                continue;
            };
            self.add_found(finding, Found { keys: 1, first: time });
            is_to_do = true;
        }
        self.to_do += usize::from(is_to_do);
        self.never_used += usize::from(key.active && key.never_used);
        if verdict.status == KeyStatus::Unrotated {
            // `None` is less than every age.
            self.oldest_unrotated = self.oldest_unrotated.max(verdict.age);
        }
        // A key is rotated until its published age says otherwise, up to 15 minutes after its due date.
        let due = verdict.due.filter(|_| verdict.status != KeyStatus::Unrotated);
        self.next_due = self.next_due.into_iter().chain(due).min();
        let end = ruling.exempt_until.filter(|_| key.active);
        self.next_exemption_end = self.next_exemption_end.into_iter().chain(end).min();
    }

    /// Adds a service-specific credential that was judged. Alerts and dashboards have numbers of access keys,
    /// so it counts only as its own finding.
    pub fn add_service_credential(&mut self, key: &Key, verdict: &Verdict) {
        let first = key.last_rotated.filter(|_| verdict.status == KeyStatus::Unrotated);
        if let Some(first) = first {
            self.add_found(FindingKind::UnrotatedServiceCredential, Found { keys: 1, first });
        }
    }

    /// Adds the keys of another summary.
    pub fn merge(&mut self, other: &KeySummary) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        for finding in FindingKind::ALL {
            if let Some(found) = other.found(finding) {
                self.add_found(finding, found);
            }
        }
        self.to_do += other.to_do;
        self.never_used += other.never_used;
        self.oldest_unrotated = self.oldest_unrotated.max(other.oldest_unrotated);
        self.next_due = self.next_due.into_iter().chain(other.next_due).min();
        let ends = self.next_exemption_end.into_iter().chain(other.next_exemption_end);
        self.next_exemption_end = ends.min();
    }

    fn add_found(&mut self, finding: FindingKind, more: Found) {
        let found = &mut self.findings[finding as usize];
        let Found { keys, first } = found.unwrap_or(Found { keys: 0, first: more.first });
        *found = Some(Found { keys: keys + more.keys, first: first.min(more.first) });
    }

    /// The number of keys of this status.
    pub fn count(&self, status: KeyStatus) -> usize {
        self.counts[status as usize]
    }

    /// The keys with this finding. `None` if there are none.
    pub fn found(&self, finding: FindingKind) -> Option<Found> {
        self.findings[finding as usize]
    }

    /// The most urgent finding, how many access keys have it, and how many others have a less urgent one.
    /// `None` if no access key has a finding.
    pub fn most_urgent(&self) -> Option<(FindingKind, usize, usize)> {
        let of_keys = FindingKind::ALL
            .into_iter()
            .filter(|it| *it != FindingKind::UnrotatedServiceCredential);
        let mut found = of_keys.filter_map(|it| Some((it, self.found(it)?.keys)));
        found.next().map(|(finding, keys)| (finding, keys, self.to_do - keys))
    }

    /// The number of service-specific credentials that are unrotated.
    pub fn unrotated_service_credentials(&self) -> usize {
        self.found(FindingKind::UnrotatedServiceCredential).map_or(0, |found| found.keys)
    }

    /// The number of access keys.
    pub fn total(&self) -> usize {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Exemption, Policy};
    use crate::service_credentials::ServiceCredential;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn tags(tags: &[(&str, &str)]) -> Vec<Tag> {
        tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn users_with_the_same_values_of_the_wanted_tags_are_one_owner() {
        let of_users = [
            tags(&[("Team", "payments"), ("other", "1")]),
            tags(&[("other", "2"), ("team", "payments")]),
            tags(&[("team", "Payments")]),
            tags(&[("team", "payments"), ("cost-center", "42")]),
            tags(&[]),
            tags(&[("team", "")]),
        ];
        let mut owners = Owners::new(["team", "Cost-Center"]);
        let places: Vec<usize> = of_users.iter().map(|tags| owners.place(tags)).collect();
        assert_eq!(places, [0, 0, 1, 2, 3, 3]);
        let found: Vec<_> = owners.finish().into_iter().map(|owner| owner.tags.to_vec()).collect();
        assert_eq!(found, [["payments", ""], ["Payments", ""], ["payments", "42"], ["", ""]]);
    }

    #[test]
    fn without_wanted_tags_an_account_has_one_owner() {
        let of_user = tags(&[("team", "payments")]);
        let mut owners = Owners::new([]);
        assert_eq!([owners.place(&of_user), owners.place(&[])], [0, 0]);
    }

    #[test]
    fn a_summary_has_the_most_urgent_of_its_keys() {
        let now = at("2026-11-01T12:00:00Z");
        let exemption =
            |end: Option<&str>| Exemption { end: end.map(at), reason: "vendor".to_owned() };
        let [early, late, endless] = [
            exemption(Some("2026-11-15T12:00:00Z")),
            exemption(Some("2027-01-01T00:00:00Z")),
            exemption(None),
        ];
        let mut summary = KeySummary::default();
        for (active, days, exemption) in [
            (true, Some(400), None),
            (true, Some(200), None),
            (false, Some(500), None),
            (true, Some(10), None),
            (true, Some(80), None),
            (true, None, None),
            (true, Some(600), Some(&late)),
            (true, Some(5), Some(&early)),
            (true, Some(5), Some(&endless)),
            (false, Some(600), Some(&exemption(Some("2026-11-02T00:00:00Z")))),
        ] {
            let key = Key {
                active,
                id: None,
                last_rotated: days.map(|days| now - TimeDelta::days(days)),
                last_used: days.filter(|days| *days == 10).map(|_| now),
                never_used: days != Some(10),
                last_used_region: None,
                last_used_service: None,
                use_of: None,
            };
            let ruling = Ruling {
                max_age: TimeDelta::days(90),
                warn_before: TimeDelta::days(14),
                exemption,
                exempt_until: exemption.and_then(|exemption| exemption.end),
                rule: None,
            };
            let reported = now - TimeDelta::hours(4);
            summary.add(&key, &ruling.judge(&key, now), &ruling, reported, now);
        }
        let counts = KeyStatus::ALL.map(|status| (status.as_str(), summary.count(status)));
        let expected = [
            ("unrotated", 2),
            ("due_soon", 1),
            ("ok", 1),
            ("exempt", 3),
            ("inactive", 2),
            ("not_judged", 1),
        ];
        assert_eq!((counts, summary.total()), (expected, 10));
        assert_eq!(summary.never_used, 7);
        let findings = FindingKind::ALL.map(|finding| (finding.as_str(), summary.found(finding)));
        let found = |keys, days| Some(Found { keys, first: now + TimeDelta::days(days) });
        let expected = [
            ("unrotated", found(2, -400)),
            ("due_soon", found(1, 10)),
            ("exemption_ending", found(1, 14)),
            ("never_used", found(4, -600)),
            ("unrotated_service_credential", None),
        ];
        assert_eq!(findings, expected);
        // The others: one that is due, one whose exemption ends, and one that was only never used.
        assert_eq!(summary.most_urgent(), Some((FindingKind::Unrotated, 2, 3)));
        assert_eq!(KeySummary::default().found(FindingKind::Unrotated), None);
        assert_eq!(KeySummary::default().most_urgent(), None);
        assert_eq!(summary.oldest_unrotated.map(Age::days), Some(400.0));
        assert_eq!(summary.next_due, Some(now + TimeDelta::days(10)));
        assert_eq!(summary.next_exemption_end, early.end);
    }

    #[test]
    fn the_next_due_date_is_that_of_a_key_until_it_is_unrotated() {
        let rotated = at("2026-08-03T12:00:00Z");
        let policy = Policy::default();
        let ruling = policy.default_ruling();
        let key = Key {
            active: true,
            id: None,
            last_rotated: Some(rotated),
            last_used: None,
            never_used: false,
            last_used_region: None,
            last_used_service: None,
            use_of: None,
        };
        let due = rotated + TimeDelta::days(90);
        for (seconds, status, next_due) in [
            (-1, KeyStatus::DueSoon, Some(due)),
            (0, KeyStatus::DueSoon, Some(due)),
            (863, KeyStatus::DueSoon, Some(due)),
            (864, KeyStatus::Unrotated, None),
        ] {
            let now = due + TimeDelta::seconds(seconds);
            let verdict = ruling.judge(&key, now);
            let mut summary = KeySummary::default();
            summary.add(&key, &verdict, &ruling, now, now);
            assert_eq!((verdict.status, summary.next_due), (status, next_due), "{seconds}");
        }
    }

    #[test]
    fn whether_a_key_was_needed_is_known_up_to_the_report_only() {
        let now: DateTime<Utc> = "2026-11-01T12:00:00Z".parse().expect("a time");
        let reported = now - TimeDelta::hours(4);
        let was_time = |age| was_time_to_use(Some(now - age), reported);
        assert!(!was_time(TimeDelta::days(7) + TimeDelta::hours(4)));
        assert!(was_time(TimeDelta::days(7) + TimeDelta::hours(5)));
        assert!(!was_time_to_use(None, reported));
    }

    #[test]
    fn a_service_specific_credential_counts_as_no_access_key() {
        let now = at("2026-11-01T12:00:00Z");
        let days = TimeDelta::days;
        let (max_age, warn_before) = (days(90), days(14));
        let policy = Policy { max_age, warn_before, ..Policy::default() };
        let ruling = policy.default_ruling();
        let mut summary = KeySummary::default();
        for (age, expires) in [(400, None), (200, None), (80, None), (300, Some(-1))] {
            let credential = ServiceCredential {
                service: "bedrock.amazonaws.com".into(),
                id: "ACCA1".to_owned(),
                active: true,
                created: now - days(age),
                expires: expires.map(|in_days| now + days(in_days)),
                listed_with: None,
            };
            let key = credential.key(now);
            summary.add_service_credential(&key, &ruling.judge(&key, now));
        }
        let found = Some(Found { keys: 2, first: now - days(400) });
        let mut expected = KeySummary::default();
        expected.findings[FindingKind::UnrotatedServiceCredential as usize] = found;
        assert_eq!(summary, expected);
    }
}
