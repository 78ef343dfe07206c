//! Report and policy and `now` → a [`Verdict`] for each key.
//!
//! The rule is CIS AWS Foundations, "Ensure access keys are rotated every 90 days or less": an
//! active key that was not rotated within its max age is a finding.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::report::Key;

/// How old keys may become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The oldest that an active key may be.
    pub max_age: TimeDelta,
}

impl Default for Policy {
    /// 90 days, as in every version of the CIS AWS Foundations benchmark.
    fn default() -> Policy {
        Policy { max_age: TimeDelta::days(90) }
    }
}

/// What the policy says of one key at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Absent where the report does not say when the key was rotated.
    pub age: Option<Age>,
    /// By when the key must be rotated. Active keys only.
    pub due: Option<DateTime<Utc>>,
    /// Whether the key is active and older than it may be. Absent where its age is not known.
    pub unrotated: Option<bool>,
}

impl Policy {
    /// Judges a key as of `now`.
    pub fn judge(&self, key: &Key, now: DateTime<Utc>) -> Verdict {
        let age = key.last_rotated.map(|time| Age::between(time, now));
        Verdict {
            age,
            due: key
                .last_rotated
                .filter(|_| key.active)
                .and_then(|time| time.checked_add_signed(self.max_age)),
            unrotated: age.map(|age| key.active && age.exceeds(self.max_age)),
        }
    }
}

/// A key's age in whole hundredths of a day, cut off.
///
/// Hundredths, because a value that changes every second costs a Prometheus about 6.6 times the
/// bytes of one that changes every 14.4 minutes. This published age, and not the exact one, decides
/// the verdict, so the age gauge, the verdict, the count and alerts on them never disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    hundredths: i64,
}

/// A hundredth of a day.
const SECONDS_PER_HUNDREDTH: i64 = 864;

impl Age {
    /// The age at `now` of what happened at `time`; 0 where `time` lies ahead.
    pub fn between(time: DateTime<Utc>, now: DateTime<Utc>) -> Age {
        Age { hundredths: (now - time).num_seconds().max(0) / SECONDS_PER_HUNDREDTH }
    }

    /// The age in days: a multiple of 0.01, 0 or more.
    pub fn days(self) -> f64 {
        self.hundredths as f64 / 100.0
    }

    /// Whether this is more than `max_age`, to the hundredth of a day: 90.00 days do not exceed 90
    /// days, 90.01 do.
    pub fn exceeds(self, max_age: TimeDelta) -> bool {
        self.hundredths * SECONDS_PER_HUNDREDTH > max_age.num_seconds()
    }
}

/// Days as the number that [`Age::days`] is: `90`, `90.5`, `90.51`.
impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.hundredths / 100, self.hundredths % 100);
        match rest {
            0 => write!(f, "{days}"),
            rest if rest % 10 == 0 => write!(f, "{days}.{}", rest / 10),
            rest => write!(f, "{days}.{rest:02}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    fn key(active: bool, last_rotated: Option<&str>) -> Key {
        Key {
            active,
            last_rotated: last_rotated.map(at),
            last_used: None,
            last_used_region: None,
            last_used_service: None,
        }
    }

    const ROTATED: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn a_key_is_rotated_at_90_00_days_and_unrotated_at_90_01() {
        let key = key(true, Some(ROTATED));
        let judge = |now| Policy::default().judge(&key, at(now));

        let last_good = judge("2026-04-01T00:14:23Z");
        assert_eq!(last_good.age.map(Age::days), Some(90.0));
        assert_eq!(last_good.unrotated, Some(false));

        let first_bad = judge("2026-04-01T00:14:24Z");
        assert_eq!(first_bad.age.map(Age::days), Some(90.01));
        assert_eq!(first_bad.unrotated, Some(true));
        assert_eq!(first_bad.due, Some(at("2026-04-01T00:00:00Z")));
    }

    #[test]
    fn an_inactive_key_has_an_age_but_is_never_unrotated_nor_due() {
        let verdict =
            Policy::default().judge(&key(false, Some(ROTATED)), at("2030-01-01T00:00:00Z"));
        assert_eq!(verdict.unrotated, Some(false));
        assert_eq!(verdict.due, None);
        assert_eq!(verdict.age.map(Age::days), Some(1461.0));
    }

    #[test]
    fn an_active_key_without_a_time_has_no_verdict() {
        let verdict = Policy::default().judge(&key(true, None), at(ROTATED));
        assert_eq!((verdict.age, verdict.unrotated, verdict.due), (None, None, None));
    }

    #[test]
    fn a_key_from_the_future_is_0_days_old() {
        let verdict =
            Policy::default().judge(&key(true, Some(ROTATED)), at("2025-12-31T23:59:59Z"));
        assert_eq!(verdict.age.map(Age::days), Some(0.0));
    }

    #[test]
    fn a_max_age_that_is_no_multiple_of_a_hundredth_holds_to_the_published_age() {
        let policy = Policy { max_age: TimeDelta::seconds(1000) };
        let key = key(true, Some(ROTATED));
        let unrotated = |now| policy.judge(&key, at(now)).unrotated;
        assert_eq!(unrotated("2026-01-01T00:28:47Z"), Some(false)); // 0.01 days, 864 s
        assert_eq!(unrotated("2026-01-01T00:28:48Z"), Some(true)); // 0.02 days, 1728 s
    }

    #[test]
    fn an_age_is_written_as_its_number_of_days() {
        for hundredths in [0, 1, 9, 10, 50, 99, 100, 110, 9000, 9001, 9010, 123_456_789] {
            let age = Age { hundredths };
            assert_eq!(age.to_string(), age.days().to_string());
        }
    }
}
