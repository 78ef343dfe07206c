//! A made-up organization, to show the exporter without an AWS account.
//!
//! The same seed gives the same organization, with ages relative to the start. Its reports are
//! written as the CSV that AWS would send and go through the same parser as everything else. It also
//! has the exporter's other data, at once and without calls: tags, keys as they are now, keys for
//! single services, and rules that fit it.

mod report;
mod service_credentials;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::spawn_blocking;

use super::target::{FetchResult, REPORT_LIFETIME, RawReport, Target};
use crate::config::{Access, Config, TagLabel};
use crate::confirmation::ListedKey;
use crate::evidence::{AccountSummary, PasswordPolicy};
use crate::failure::{Failure, Reason};
use crate::policy::{Decision, Exemption, Match, Pattern, Policy, Rule, Tag};
use crate::report::intern::Interner;
use crate::shard::stable_hash;
use crate::state::Tags;

/// The made-up organization.
#[derive(Debug, Clone)]
pub struct Demo {
    accounts: usize,
    users: usize,
    seed: u64,
    start: DateTime<Utc>,
}

const ACCOUNT_NAMES: [&str; 8] = [
    "production",
    "staging",
    "development",
    "data-platform",
    "security",
    "shared-services",
    "sandbox",
    "backup",
];
const TASKS: [&str; 10] = [
    "backup",
    "billing",
    "deploy",
    "etl",
    "export",
    "images",
    "mailer",
    "metrics",
    "sync",
    "terraform",
];
/// Systems with the teams that own them.
const SYSTEMS: [(&str, &str); 10] = [
    ("catalog", "shop"),
    ("checkout", "payments"),
    ("crm", "data"),
    ("docs", "platform"),
    ("ledger", "payments"),
    ("orders", "shop"),
    ("payments", "payments"),
    ("search", "platform"),
    ("shipping", "logistics"),
    ("warehouse", "data"),
];

impl Demo {
    /// An organization of `accounts` accounts with `users` users each, whose keys have their ages
    /// at `start`.
    pub fn new(accounts: usize, users: usize, seed: u64, start: DateTime<Utc>) -> Demo {
        Demo { accounts, users, seed, start }
    }

    /// The default configuration of the organization: two exemptions, one of which ends soon, a
    /// longer max age, and the tags that name an owner.
    pub fn config(&self) -> Config {
        let pattern = |text| Some(Pattern::new(text));
        let exempt = |days: i64, reason: &str| {
            // To the end of a day, like a date in a file.
            let end =
                (self.start + TimeDelta::days(days + 1)).date_naive().and_time(NaiveTime::MIN);
            Decision::Exempt(Exemption { end: Some(end.and_utc()), reason: reason.to_owned() })
        };
        let tag = |key: &str| TagLabel { key: key.to_owned(), label: format!("tag_{key}") };
        let rules = vec![
            Rule {
                matches: Match {
                    path: pattern("/vendor/*"),
                    tags: [("team".to_owned(), Pattern::new("logistics"))].into(),
                    ..Match::default()
                },
                decision: exempt(9, "the carrier takes a second key from its next release on"),
            },
            Rule {
                matches: Match {
                    user: pattern("backup-*"),
                    account: pattern(ACCOUNT_NAMES[0]),
                    ..Match::default()
                },
                decision: exempt(60, "goes with the old backup system"),
            },
            Rule {
                matches: Match { path: pattern("/ci/*"), ..Match::default() },
                decision: Decision::MaxAge(TimeDelta::days(180)),
            },
        ];
        Config {
            policy: Policy { rules, ..Policy::default() },
            user_tags: vec![tag("team"), tag("owner")],
            ..Config::default()
        }
    }

    pub(super) fn targets(&self) -> Vec<Target> {
        (0..self.accounts)
            .map(|index| {
                let id = self.account_id(index);
                let name = match ACCOUNT_NAMES.get(index) {
                    Some(name) => (*name).to_owned(),
                    None => format!("workload-{:04}", index + 1),
                };
                Target { key: index.to_string(), id, name, access: Access::default() }
            })
            .collect()
    }

    /// A new report every four hours, as AWS makes them. Only its time differs: nobody in the
    /// organization rotates a key.
    pub(super) async fn fetch(
        &self,
        target: &Target,
        last: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> FetchResult {
        if last.is_some_and(|generated| now - generated < REPORT_LIFETIME) {
            return FetchResult::default();
        }
        let (demo, account) = (self.clone(), account(target));
        let csv = spawn_blocking(move || demo.report(account));
        FetchResult {
            report: Some(RawReport {
                csv: csv.await.expect("making a report does not panic"),
                parsed: None,
                generated: now,
            }),
            failure: None,
        }
    }

    /// The user's keys: those of the report, with the ids that it lacks.
    pub(super) fn keys(
        &self,
        target: &Target,
        user: &str,
    ) -> Result<Option<Vec<ListedKey>>, Failure> {
        let account = account(target);
        let mut ids = self.random(account, user, "key ids");
        let listed = self.reported_keys(account, user).map(|(active, created)| ListedKey {
            id: key_id("AKIADEMO", &mut ids),
            active,
            created,
        });
        Ok(Some(listed.collect()))
    }

    /// The team that owns the user's system, and its owner. Some users have neither, as in real
    /// life.
    pub(super) async fn users(
        &self,
        target: &Target,
        keys: &BTreeSet<String>,
    ) -> Result<(Tags, BTreeMap<String, bool>), Failure> {
        let (demo, account, keys) = (self.clone(), account(target), keys.clone());
        let users = spawn_blocking(move || {
            let has_policies = |user: String| {
                let has = demo.random(account, &user, "policies").random_bool(0.06);
                (user, has)
            };
            let policies = demo.user_names().map(has_policies).collect();
            let mut interner = Interner::default();
            let by_user = demo.user_names().enumerate().map(|(index, user)| {
                let (_, team) = system(index);
                let owner = format!("{team}-oncall");
                let all = [("team", team), ("owner", &owner)];
                let tags = match demo.random(account, &user, "tags").random_range(0..10) {
                    0 => &all[..0],
                    1 => &all[..1],
                    _ => &all,
                };
                let tags = tags.iter().filter(|(key, _)| keys.contains(*key));
                let tags: Vec<Tag> =
                    tags.map(|(key, value)| (interner.share(key), interner.share(value))).collect();
                (user, tags)
            });
            let by_user = by_user.collect();
            (Tags { keys, by_user, ..Tags::default() }, policies)
        });
        Ok(users.await.expect("making tags does not panic"))
    }

    /// Says the same of root as the report.
    pub(super) fn summary(&self, target: &Target) -> AccountSummary {
        let (has_mfa, has_key) = self.reported_root(account(target));
        AccountSummary {
            root_password: Some(true),
            root_mfa: Some(has_mfa),
            root_keys: Some(has_key),
        }
    }

    /// Every second account still has a weak policy, and of these every second none at all.
    pub(super) fn password_policy(&self, target: &Target) -> Option<PasswordPolicy> {
        let account = account(target);
        let is_weak = account % 2 == 1;
        (account % 4 != 3).then_some(PasswordPolicy {
            min_length: Some(if is_weak { 8 } else { 14 }),
            requires_uppercase: true,
            requires_lowercase: true,
            requires_symbol: !is_weak,
            requires_number: true,
            max_age_days: (!is_weak).then_some(90),
            remembered: Some(if is_weak { 5 } else { 24 }),
        })
    }

    /// The role of every second account lacks the permission.
    pub(super) fn root_virtual_mfa(&self, target: &Target) -> Result<bool, Failure> {
        let account = account(target);
        if account % 2 == 1 {
            let message =
                "ListVirtualMFADevices: AccessDenied: the demo has no permission for it here";
            return Err(Failure::new(Reason::AccessDenied, message));
        }
        Ok(account.is_multiple_of(4))
    }

    /// Ids that differ by account and seed, and that look like those of AWS.
    fn account_id(&self, index: usize) -> String {
        // A prime step through the ids keeps any two accounts of one organization apart.
        let id = (self.seed.wrapping_mul(7_919)).wrapping_add(104_729 * (index as u64 + 1))
            % 899_999_999_981;
        format!("{:012}", 100_000_000_000 + id)
    }

    fn user_names(&self) -> impl Iterator<Item = String> {
        (0..self.users).map(user_name)
    }

    /// The random numbers of one user for one purpose. Each has its own stream, so that one more
    /// user does not change the others, and each user can be made alone.
    fn random(&self, account: usize, user: &str, what: &str) -> StdRng {
        let (seed, account) = (self.seed.to_le_bytes(), (account as u64).to_le_bytes());
        let bytes = [&seed[..], &account, user.as_bytes(), b"\0", what.as_bytes()].concat();
        StdRng::seed_from_u64(stable_hash(&bytes))
    }
}

/// The account's place in the organization.
fn account(target: &Target) -> usize {
    target.key.parse().expect("a target that targets() gave")
}

/// A name that tells the purpose of the key. The first hundred have no number.
fn user_name(index: usize) -> String {
    let task = TASKS[index % TASKS.len()];
    let (system, _) = system(index);
    match index / (TASKS.len() * SYSTEMS.len()) {
        0 => format!("{task}-{system}"),
        number => format!("{task}-{system}-{}", number + 1),
    }
}

/// The purpose of this user's key, and the team that owns it.
fn system(user: usize) -> (&'static str, &'static str) {
    SYSTEMS[user / TASKS.len() % SYSTEMS.len()]
}

/// An id of the right length that is clearly not a real one.
fn key_id(beginning: &str, rng: &mut StdRng) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let random = (0..12).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]));
    beginning.chars().chain(random).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confirmation::merge;
    use crate::policy::Age;
    use crate::report::Report;
    use crate::state::Account;

    fn start() -> DateTime<Utc> {
        "2026-11-01T12:00:00Z".parse().expect("a time")
    }

    #[test]
    fn the_same_seed_gives_the_same_reports() {
        let reports = |seed| {
            let demo = Demo::new(3, 50, seed, start());
            (0..3).map(|index| demo.report(index)).collect::<Vec<_>>()
        };
        assert_eq!(reports(1), reports(1));
        assert_ne!(reports(1), reports(2));
    }

    #[test]
    fn reports_read_back_whole_and_show_every_kind_of_key() {
        let demo = Demo::new(3, 200, 1, start());
        let mut kinds = [0; 4];
        for (index, target) in demo.targets().iter().enumerate() {
            let report = Report::parse(&demo.report(index)).expect("a report");
            assert_eq!(report.rejected, []);
            assert_eq!(report.users.len(), 201);
            assert_eq!(report.account_id.as_deref(), Some(target.id.as_str()));
            for key in report.users.iter().flat_map(|user| &user.keys).flatten() {
                assert!(key.last_rotated.is_some_and(|time| time <= start()));
                kinds[0] += usize::from(!key.active);
                kinds[1] += usize::from(key.last_used.is_none());
                let age = key.last_rotated.map(|time| Age::between(time, start()));
                match age.map(|age| key.active && age.exceeds(TimeDelta::days(90))) {
                    Some(true) => kinds[2] += 1,
                    _ => kinds[3] += 1,
                }
            }
        }
        assert!(kinds.iter().all(|count| *count > 10), "{kinds:?}");
    }

    #[test]
    fn keys_are_those_of_the_report_with_ids_of_their_own() {
        let demo = Demo::new(2, 300, 1, start());
        let mut ids = BTreeSet::new();
        for (index, target) in demo.targets().iter().enumerate() {
            let report = Report::parse(&demo.report(index)).expect("a report");
            for user in report.users.iter().filter(|user| !user.is_root()) {
                let listed = demo.keys(target, &user.name).expect("an answer").expect("a user");
                let mut keys = merge(&user.keys, &listed, None);
                for key in keys.iter_mut().flatten() {
                    let id = key.id.take().expect("an id");
                    assert!(id.starts_with("AKIADEMO") && id.len() == 20, "{id}");
                    assert!(ids.insert(id), "an id twice");
                }
                assert_eq!(keys, user.keys);
            }
        }
    }

    #[tokio::test]
    async fn tags_are_those_that_are_asked_for_and_some_users_have_none() {
        let demo = Demo::new(1, 200, 1, start());
        let tags = async |keys: &[&str]| {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            demo.users(&demo.targets()[0], &keys).await.expect("tags").0.by_user
        };
        let both = tags(&["owner", "team"]).await;
        let with = |count| both.values().filter(|tags| tags.len() == count).count();
        assert!(with(2) > 100 && with(1) > 5 && with(0) > 5, "{} users", both.len());
        let teams = tags(&["team"]).await;
        assert_eq!((teams.len(), both.len()), (200, 200));
        assert!(teams.values().flatten().all(|(key, _)| &**key == "team"));
        assert_eq!(tags(&["cost-center"]).await.values().flatten().count(), 0);
    }

    #[tokio::test]
    async fn its_rules_exempt_some_and_give_some_more_time() {
        let demo = Demo::new(3, 200, 1, start());
        let config = demo.config();
        let (mut soon, mut later, mut longer) = (0, 0, 0);
        for (index, target) in demo.targets().iter().enumerate() {
            let report = Report::parse(&demo.report(index)).expect("a report");
            let (tags, _) = demo.users(target, &config.tag_keys()).await.expect("tags");
            let account = Account {
                report: Some(report.into()),
                tags: Some(tags.into()),
                ..Account::pending(&target.id, &target.name)
            };
            for (owner, _) in account.users() {
                let ruling = config.policy.ruling(&owner, start());
                let left = ruling.exempt_until.map(|end| end - start());
                soon += usize::from(left.is_some_and(|left| left < TimeDelta::days(14)));
                later += usize::from(left.is_some_and(|left| left > TimeDelta::days(14)));
                longer += usize::from(ruling.max_age > TimeDelta::days(90));
            }
        }
        assert!(soon > 3 && later > 3 && longer > 50, "{soon}, {later}, {longer}");
    }

    #[test]
    fn account_ids_have_12_digits_and_differ() {
        let demo = Demo::new(10_000, 1, u64::MAX, start());
        let targets = demo.targets();
        let mut ids: Vec<_> = targets.iter().map(|target| &target.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 12));
    }
}
