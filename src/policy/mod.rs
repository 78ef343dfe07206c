//! Report and policy and `now` → a [`Verdict`] for each key.
//!
//! The rule is CIS AWS Foundations, "Ensure access keys are rotated every 90 days or less": an
//! active key that was not rotated within its max age is a finding. Rules of the configuration give
//! some keys another max age, or exempt them for a time.

pub mod owner;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use wildmatch::WildMatch;

use crate::clock::is_from_the_future;
use crate::report::{Key, User};

/// How old keys may become.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The maximum age of an active key if no rule decides.
    pub max_age: TimeDelta,
    /// A key is due soon if it must be rotated within this time.
    pub warn_before: TimeDelta,
    /// The first rule that matches a user decides about the user's keys.
    pub rules: Vec<Rule>,
}

/// A rule for some users.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The users that it applies to.
    pub matches: Match,
    /// The decision about their keys.
    pub decision: Decision,
}

/// The users that a rule applies to: those for whom all given fields match. Root is matched only if
/// `user` is exactly [`ROOT_USER`](crate::report::ROOT_USER).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Match {
    /// The user's name.
    pub user: Option<Pattern>,
    /// The user's path, such as `/service/`.
    pub path: Option<Pattern>,
    /// The account's id or its name.
    pub account: Option<Pattern>,
    /// Tags that the user has. Keys are compared without regard to case, as IAM does.
    pub tags: BTreeMap<String, Pattern>,
}

/// A glob: `*` stands for any text, `?` for any one character.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    text: String,
    glob: WildMatch,
}

/// The decision of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Another maximum age.
    MaxAge(TimeDelta),
    /// An exemption.
    Exempt(Exemption),
}

/// An exemption of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemption {
    /// From this time on the rule is ignored. `None`: never.
    pub end: Option<DateTime<Utc>>,
    /// The reason, for people.
    pub reason: String,
}

/// A tag's key and its value. Shared between users, because most are the same.
pub type Tag = (Arc<str>, Arc<str>);

/// The user whose keys are judged.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The account's id.
    pub account_id: &'a str,
    /// The account's name. May be empty.
    pub account_name: &'a str,
    /// The user.
    pub user: &'a User,
    /// The user's tags, as far as they are known.
    pub tags: &'a [Tag],
}

/// The policy for all keys of one user at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruling<'a> {
    /// Their maximum age. If they are exempt: from the end of the exemption on.
    pub max_age: TimeDelta,
    /// How long before its due date a key is due soon.
    pub warn_before: TimeDelta,
    /// Their exemption, if they are exempt.
    pub exemption: Option<&'a Exemption>,
    /// From when on no exemption holds: the end of this one, or of the last one that follows it without a gap.
    /// `None`: never, or they are not exempt.
    pub exempt_until: Option<DateTime<Utc>>,
    /// The index of the rule that decided. `None`: none of them.
    pub rule: Option<usize>,
}

/// The policy's verdict on one key at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Absent if the report has no date for the key, or a date in the future.
    pub age: Option<Age>,
    /// By when the key must be rotated. Active keys that are not exempt.
    pub due: Option<DateTime<Utc>>,
    /// Whether the key is active, not exempt, and older than its maximum age. Absent if its age is
    /// not known.
    pub unrotated: Option<bool>,
    /// The key's status.
    pub status: KeyStatus,
}

/// The status of a key. Every key has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyStatus {
    /// Active, and older than its maximum age.
    Unrotated,
    /// Active, and to be rotated within [`Policy::warn_before`]. A service-specific credential can expire then.
    DueSoon,
    /// Active, and to be rotated later.
    Ok,
    /// Active and exempt.
    Exempt,
    /// It cannot be used.
    Inactive,
    /// Active, but its age is not known.
    NotJudged,
}

impl Default for Policy {
    /// 90 days, as in every version of the CIS AWS Foundations benchmark, for every key, and two weeks
    /// to rotate it.
    fn default() -> Policy {
        Policy { max_age: TimeDelta::days(90), warn_before: TimeDelta::days(14), rules: Vec::new() }
    }
}

impl Policy {
    /// The ruling for this user's keys as of `now`.
    pub fn ruling(&self, subject: &Subject, now: DateTime<Utc>) -> Ruling<'_> {
        self.decide(&|rule| rule.matches.includes(subject), now)
    }

    /// The same for a user of whom nothing is known but the account: by rules for all of it.
    pub fn ruling_of_account(&self, id: &str, name: &str, now: DateTime<Utc>) -> Ruling<'_> {
        self.decide(&|rule| rule.matches.includes_all_of(id, name), now)
    }

    fn decide(&self, includes: &dyn Fn(&Rule) -> bool, now: DateTime<Utc>) -> Ruling<'_> {
        let in_force = |rule: &Rule| match &rule.decision {
            Decision::Exempt(exemption) => exemption.holds(now),
            Decision::MaxAge(_) => true,
        };
        let decided = |(_, rule): &(usize, &Rule)| in_force(rule) && includes(rule);
        let default = self.default_ruling();
        match self.rules.iter().enumerate().find(decided) {
            None => default,
            Some((index, rule)) => match &rule.decision {
                Decision::MaxAge(max_age) => {
                    Ruling { max_age: *max_age, rule: Some(index), ..default }
                }
                Decision::Exempt(exemption) => {
                    let later = exemption.end.map_or(default, |end| self.decide(includes, end));
                    let exempt_until = match later.exemption {
                        Some(_) => later.exempt_until,
                        None => exemption.end,
                    };
                    let (exemption, rule) = (Some(exemption), Some(index));
                    Ruling { exemption, exempt_until, rule, ..later }
                }
            },
        }
    }

    /// The ruling if no rule decides.
    pub fn default_ruling(&self) -> Ruling<'_> {
        let Policy { max_age, warn_before, .. } = *self;
        Ruling { max_age, warn_before, exemption: None, exempt_until: None, rule: None }
    }

    /// Whether a rule needs tags.
    pub fn needs_tags(&self) -> bool {
        self.rules.iter().any(|rule| !rule.matches.tags.is_empty())
    }

    /// Whether a rule needs the name of the account with this id.
    pub fn needs_name(&self, account_id: &str) -> bool {
        let mut patterns = self.rules.iter().filter_map(|rule| rule.matches.account.as_ref());
        patterns.any(|it| !it.matches(account_id) && !it.text.bytes().all(|c| c.is_ascii_digit()))
    }

    /// The least age at which some key can be unrotated.
    pub fn shortest_max_age(&self) -> TimeDelta {
        let rules = self.rules.iter().filter_map(|rule| match &rule.decision {
            Decision::MaxAge(max_age) => Some(*max_age),
            Decision::Exempt(_) => None,
        });
        rules.chain([self.max_age]).min().unwrap_or(self.max_age)
    }

    /// The least age at which some key can be due soon.
    pub fn shortest_age_due_soon(&self) -> TimeDelta {
        self.shortest_max_age() - self.warn_before
    }

    /// When the next exemption ends after `now`: verdicts change then.
    pub fn next_end(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let ends = self.rules.iter().filter_map(|rule| match &rule.decision {
            Decision::Exempt(exemption) => exemption.end,
            Decision::MaxAge(_) => None,
        });
        ends.filter(|end| *end > now).min()
    }
}

impl Exemption {
    /// Whether it has not ended at `now`.
    pub fn holds(&self, now: DateTime<Utc>) -> bool {
        self.end.is_none_or(|end| now < end)
    }
}

impl Match {
    /// Whether the rule applies to every user of this account but root.
    fn includes_all_of(&self, account_id: &str, account_name: &str) -> bool {
        let is_one_of = |pattern: &Option<Pattern>, globs: &[&str]| {
            pattern.as_ref().is_none_or(|pattern| globs.contains(&pattern.as_str()))
        };
        is_one_of(&self.user, &["*"])
            && is_one_of(&self.path, &["*", "/*"])
            && self.tags.is_empty()
            && self.includes_account(account_id, account_name)
    }

    fn includes_account(&self, id: &str, name: &str) -> bool {
        self.account.as_ref().is_none_or(|it| it.matches(id) || it.matches(name))
    }

    /// Whether the rule applies to this user.
    fn includes(&self, subject: &Subject) -> bool {
        let Subject { account_id, account_name, user, tags } = *subject;
        let holds = |pattern: &Option<Pattern>, text| {
            pattern.as_ref().is_none_or(|pattern| pattern.matches(text))
        };
        let user_holds = if user.is_root() {
            self.user.as_ref().is_some_and(|pattern| pattern.as_str() == user.name)
        } else {
            holds(&self.user, &user.name)
        };
        user_holds
            // It has to be looked for in the ARN.
            && self.path.as_ref().is_none_or(|pattern| pattern.matches(user.path()))
            && self.includes_account(account_id, account_name)
            && self.tags.iter().all(|(key, pattern)| {
                tags.iter()
                    .any(|(name, value)| name.eq_ignore_ascii_case(key) && pattern.matches(value))
            })
    }
}

impl Pattern {
    /// A pattern from its text.
    pub fn new(text: &str) -> Pattern {
        Pattern { text: text.to_owned(), glob: WildMatch::new(text) }
    }

    /// Whether the whole text fits.
    pub fn matches(&self, text: &str) -> bool {
        self.glob.matches(text)
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl KeyStatus {
    /// Every status.
    pub const ALL: [KeyStatus; 6] = [
        KeyStatus::Unrotated,
        KeyStatus::DueSoon,
        KeyStatus::Ok,
        KeyStatus::Exempt,
        KeyStatus::Inactive,
        KeyStatus::NotJudged,
    ];

    /// The value of the label `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyStatus::Unrotated => "unrotated",
            KeyStatus::DueSoon => "due_soon",
            KeyStatus::Ok => "ok",
            KeyStatus::Exempt => "exempt",
            KeyStatus::Inactive => "inactive",
            KeyStatus::NotJudged => "not_judged",
        }
    }
}

impl Ruling<'_> {
    /// When the keys are no longer exempt, if that is within the time in which keys are due soon.
    pub fn exemption_ending(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.exempt_until.filter(|end| *end <= now + self.warn_before)
    }

    /// Judges a key as of `now`. The age of a key with a date in the future is not known.
    pub fn judge(&self, key: &Key, now: DateTime<Utc>) -> Verdict {
        let last_rotated = key.last_rotated.filter(|time| !is_from_the_future(*time, now));
        let age = last_rotated.map(|time| Age::between(time, now));
        let counts = key.active && self.exemption.is_none();
        let due =
            last_rotated.filter(|_| counts).and_then(|time| time.checked_add_signed(self.max_age));
        let unrotated = age.map(|age| counts && age.exceeds(self.max_age));
        let status = match unrotated {
            _ if !key.active => KeyStatus::Inactive,
            // Nobody asks how old it is.
            _ if self.exemption.is_some() => KeyStatus::Exempt,
            None => KeyStatus::NotJudged,
            Some(true) => KeyStatus::Unrotated,
            Some(false) if due.is_some_and(|due| due <= now + self.warn_before) => {
                KeyStatus::DueSoon
            }
            Some(false) => KeyStatus::Ok,
        };
        Verdict { age, due, unrotated, status }
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
    /// The age at `now` of an event at `time`. It is 0 if `time` is in the future, as it can be if
    /// clocks differ a little.
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

    /// Whether this is at least `limit`, to the hundredth of a day: 45.00 days reach 45 days, 44.99 do not.
    pub fn reaches(self, limit: TimeDelta) -> bool {
        self.hundredths * SECONDS_PER_HUNDREDTH >= limit.num_seconds()
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

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = [("user", &self.user), ("path", &self.path), ("account", &self.account)];
        let given = given.into_iter().filter_map(|(name, pattern)| {
            pattern.as_ref().map(|pattern| format!("{name} {}", pattern.as_str()))
        });
        let tags = self.tags.iter().map(|(key, pattern)| format!("tag {key}={}", pattern.as_str()));
        f.write_str(&given.chain(tags).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::MaxAge(max_age) => write!(f, "max age {}", in_days(*max_age)),
            Decision::Exempt(Exemption { end: Some(end), reason }) => {
                write!(f, "exempt until {}: {reason}", end.format("%Y-%m-%dT%H:%M:%SZ"))
            }
            Decision::Exempt(Exemption { end: None, reason }) => {
                write!(f, "exempt without end: {reason}")
            }
        }
    }
}

/// As days if they are whole, else as seconds.
pub fn in_days(age: TimeDelta) -> String {
    match age.num_seconds() % 86_400 {
        0 => format!("{}d", age.num_days()),
        _ => format!("{}s", age.num_seconds()),
    }
}

#[cfg(test)]
mod tests;
