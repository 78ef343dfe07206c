//! A made-up organization, to show what the exporter does without an AWS account.
//!
//! The same seed gives the same organization, with ages relative to the start. Its reports are
//! written as the CSV that AWS would send and go through the same parser as everything else.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::spawn_blocking;

use super::{Fetch, Fetched, Target};
use crate::aws::report::RENEWAL;
use crate::config::Access;

/// The made-up organization.
#[derive(Debug, Clone)]
pub struct Demo {
    accounts: usize,
    users: usize,
    seed: u64,
    start: DateTime<Utc>,
}

/// The columns of AWS's report, in AWS's order, with the one that it has where they do not suffice.
const HEADER: [&str; 23] = [
    "user",
    "arn",
    "user_creation_time",
    "password_enabled",
    "password_last_used",
    "password_last_changed",
    "password_next_rotation",
    "mfa_active",
    "access_key_1_active",
    "access_key_1_last_rotated",
    "access_key_1_last_used_date",
    "access_key_1_last_used_region",
    "access_key_1_last_used_service",
    "access_key_2_active",
    "access_key_2_last_rotated",
    "access_key_2_last_used_date",
    "access_key_2_last_used_region",
    "access_key_2_last_used_service",
    "cert_1_active",
    "cert_1_last_rotated",
    "cert_2_active",
    "cert_2_last_rotated",
    "additional_credentials_info",
];

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
const PATHS: [&str; 4] = ["/", "/service/", "/ci/", "/vendor/"];
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
const SYSTEMS: [&str; 10] = [
    "catalog",
    "checkout",
    "crm",
    "docs",
    "ledger",
    "orders",
    "payments",
    "search",
    "shipping",
    "warehouse",
];
const SERVICES: [&str; 8] = ["s3", "sts", "ec2", "iam", "dynamodb", "sqs", "ses", "ecr"];
const REGIONS: [&str; 4] = ["us-east-1", "eu-central-1", "eu-west-1", "ap-southeast-2"];

impl Demo {
    /// An organization of `accounts` accounts with `users` users each, whose keys have their ages
    /// at `start`.
    pub fn new(accounts: usize, users: usize, seed: u64, start: DateTime<Utc>) -> Demo {
        Demo { accounts, users, seed, start }
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
    ) -> Fetch {
        if last.is_some_and(|generated| now - generated < RENEWAL) {
            return Fetch::default();
        }
        let index = target.key.parse().expect("a target that targets() gave");
        let demo = self.clone();
        let csv = spawn_blocking(move || demo.report(index));
        Fetch {
            account_id: Some(target.id.clone()),
            report: Some(Fetched {
                csv: csv.await.expect("making a report does not panic"),
                generated: now,
            }),
            failure: None,
        }
    }

    /// Ids that differ by account and seed, and that look like those of AWS.
    fn account_id(&self, index: usize) -> String {
        // A prime step through the ids keeps any two accounts of one organization apart.
        let id = (self.seed.wrapping_mul(7_919)).wrapping_add(104_729 * (index as u64 + 1))
            % 899_999_999_981;
        format!("{:012}", 100_000_000_000 + id)
    }

    /// The credential report of one account.
    fn report(&self, index: usize) -> Vec<u8> {
        // Accounts do not share a stream, so that one more user changes nothing in the next account.
        let mut rng = StdRng::seed_from_u64(self.seed ^ ((index as u64 + 1) << 32));
        let account = self.account_id(index);
        let mut csv = csv::Writer::from_writer(Vec::new());
        let mut write = |row: [String; 23]| {
            csv.write_record(row).expect("writing to memory cannot fail");
        };
        write(HEADER.map(str::to_owned));
        // Every third account still has a key of its root user.
        write(self.root(&mut rng, &account, index % 3 == 2));
        let mut names: Vec<String> = (0..self.users).map(user_name).collect();
        names.sort();
        for name in names {
            write(self.user(&mut rng, &account, &name));
        }
        csv.into_inner().expect("writing to memory cannot fail")
    }

    fn root(&self, rng: &mut StdRng, account: &str, with_key: bool) -> [String; 23] {
        let created = self.days_ago(rng, 2_000..3_000);
        let mut row = Row::new("<root_account>", format!("arn:aws:iam::{account}:root"));
        row.set("user_creation_time", time(created));
        row.set("password_enabled", "true");
        let last_used = self.days_ago(rng, 100..400);
        row.set("password_last_used", time(last_used));
        row.set("password_last_changed", "not_supported");
        row.set("password_next_rotation", "not_supported");
        row.set("mfa_active", (!with_key).to_string());
        if with_key {
            self.key(rng, &mut row, 1, true, created + TimeDelta::days(30));
        }
        row.0
    }

    fn user(&self, rng: &mut StdRng, account: &str, name: &str) -> [String; 23] {
        let path = PATHS[rng.random_range(0..PATHS.len())];
        let created = self.days_ago(rng, 20..1_500);
        let mut row = Row::new(name, format!("arn:aws:iam::{account}:user{path}{name}"));
        row.set("user_creation_time", time(created));
        if rng.random_bool(0.2) {
            let changed = self.between(rng, created);
            row.set("password_enabled", "true");
            row.set("password_last_changed", time(changed));
            row.set(
                "password_last_used",
                match rng.random_bool(0.8) {
                    true => time(self.between(rng, changed)),
                    false => "no_information".to_owned(),
                },
            );
            if rng.random_bool(0.5) {
                row.set("password_next_rotation", time(changed + TimeDelta::days(365)));
            }
            row.set("mfa_active", rng.random_bool(0.85).to_string());
        }
        if rng.random_bool(0.9) {
            // Three of four teams rotate; the others have their first key still.
            let rotated = match rng.random_bool(0.75) {
                true => self.days_ago(rng, 0..88).max(created),
                false => created,
            };
            let active = rng.random_bool(0.92);
            self.key(rng, &mut row, 1, active, rotated);
            if rng.random_bool(0.15) {
                let active = rng.random_bool(0.6);
                let rotated = self.between(rng, created);
                self.key(rng, &mut row, 2, active, rotated);
            }
        }
        if rng.random_bool(0.01) {
            row.set("cert_1_active", "true");
            row.set("cert_1_last_rotated", time(self.between(rng, created)));
            row.set("additional_credentials_info", "1 more signing certificate");
        }
        row.0
    }

    fn key(&self, rng: &mut StdRng, row: &mut Row, slot: u8, active: bool, rotated: DateTime<Utc>) {
        let column = |name: &str| format!("access_key_{slot}_{name}");
        row.set(&column("active"), active.to_string());
        row.set(&column("last_rotated"), time(rotated));
        if rng.random_bool(0.85) {
            // AWS gives the last use in steps of 15 minutes.
            let used = self.between(rng, rotated).timestamp() / 900 * 900;
            let used = DateTime::from_timestamp(used, 0).unwrap_or(rotated);
            row.set(&column("last_used_date"), time(used));
            let region = REGIONS[rng.random_range(0..REGIONS.len())];
            row.set(&column("last_used_region"), region);
            let service = SERVICES[rng.random_range(0..SERVICES.len())];
            row.set(&column("last_used_service"), service);
        }
    }

    /// A moment that lies so many days before the start.
    fn days_ago(&self, rng: &mut StdRng, days: std::ops::Range<i64>) -> DateTime<Utc> {
        let seconds = rng.random_range(days.start * 86_400..days.end * 86_400);
        self.start - TimeDelta::seconds(seconds)
    }

    /// A moment between `from` and the start.
    fn between(&self, rng: &mut StdRng, from: DateTime<Utc>) -> DateTime<Utc> {
        let seconds = (self.start - from).num_seconds().max(1);
        from + TimeDelta::seconds(rng.random_range(0..seconds))
    }
}

/// A row of the report, filled with what AWS writes for "there is none".
struct Row([String; 23]);

impl Row {
    fn new(user: &str, arn: String) -> Row {
        let mut row = Row(HEADER.map(|column| match column.ends_with("_active") {
            true => "false".to_owned(),
            false => "N/A".to_owned(),
        }));
        row.set("user", user);
        row.set("arn", arn);
        row.set("password_enabled", "false");
        row
    }

    fn set(&mut self, column: &str, value: impl Into<String>) {
        let index = HEADER.iter().position(|name| *name == column);
        self.0[index.expect("a column of the report")] = value.into();
    }
}

/// Names tell what a key is for. The first hundred have no number.
fn user_name(index: usize) -> String {
    let task = TASKS[index % TASKS.len()];
    let system = SYSTEMS[index / TASKS.len() % SYSTEMS.len()];
    match index / (TASKS.len() * SYSTEMS.len()) {
        0 => format!("{task}-{system}"),
        number => format!("{task}-{system}-{}", number + 1),
    }
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Age;
    use crate::report::Report;

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
