//! The credential reports of the made-up organization.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rand::RngExt;
use rand::rngs::StdRng;

use super::Demo;
use crate::report::ROOT_USER;

/// The columns of AWS's report, in AWS's order, with the additional one.
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

const PATHS: [&str; 4] = ["/", "/service/", "/ci/", "/vendor/"];
const SERVICES: [&str; 8] = ["s3", "sts", "ec2", "iam", "dynamodb", "sqs", "ses", "ecr"];
const REGIONS: [&str; 4] = ["us-east-1", "eu-central-1", "eu-west-1", "ap-southeast-2"];

impl Demo {
    /// The credential report of one account.
    pub(super) fn report(&self, account: usize) -> Vec<u8> {
        let mut names: Vec<String> = self.user_names().collect();
        names.sort();
        let mut csv = csv::Writer::from_writer(Vec::new());
        let mut write = |row: &[String]| csv.write_record(row).expect("memory takes every byte");
        write(&HEADER.map(str::to_owned));
        write(&self.root(account).0);
        names.iter().for_each(|name| write(&self.user(account, name).0));
        csv.into_inner().expect("memory takes every byte")
    }

    /// The user's keys as the report has them: whether each is active, and since when.
    pub(super) fn reported_keys(
        &self,
        account: usize,
        user: &str,
    ) -> impl Iterator<Item = (bool, DateTime<Utc>)> {
        let row = self.user(account, user);
        [1, 2].into_iter().filter_map(move |slot| {
            let created = row.get(&format!("access_key_{slot}_last_rotated")).parse().ok()?;
            Some((row.get(&format!("access_key_{slot}_active")) == "true", created))
        })
    }

    /// When the user was created.
    pub(super) fn created(&self, account: usize, user: &str) -> DateTime<Utc> {
        let created = self.user(account, user).get("user_creation_time").parse();
        created.expect("a time of the report")
    }

    /// The report's row of the root user: whether it has MFA, and whether it has a key.
    pub(super) fn reported_root(&self, account: usize) -> (bool, bool) {
        let row = self.root(account);
        (row.get("mfa_active") == "true", row.get("access_key_1_active") == "true")
    }

    fn root(&self, account: usize) -> DemoRow {
        let rng = &mut self.random(account, ROOT_USER, "report");
        // Every third account still has a key of its root user.
        let with_key = account % 3 == 2;
        let created = self.days_ago(rng, 2_000..3_000);
        let mut row =
            DemoRow::new(ROOT_USER, format!("arn:aws:iam::{}:root", self.account_id(account)));
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
        row
    }

    fn user(&self, account: usize, name: &str) -> DemoRow {
        let rng = &mut self.random(account, name, "report");
        let path = PATHS[rng.random_range(0..PATHS.len())];
        let created = self.days_ago(rng, 20..1_500);
        let arn = format!("arn:aws:iam::{}:user{path}{name}", self.account_id(account));
        let mut row = DemoRow::new(name, arn);
        row.set("user_creation_time", time(created));
        if rng.random_bool(0.2) {
            let changed = self.between(rng, created);
            row.set("password_enabled", "true");
            row.set("password_last_changed", time(changed));
            row.set(
                "password_last_used",
                if rng.random_bool(0.8) {
                    time(self.between(rng, changed))
                } else {
                    "no_information".to_owned()
                },
            );
            if rng.random_bool(0.5) {
                row.set("password_next_rotation", time(changed + TimeDelta::days(365)));
            }
            row.set("mfa_active", rng.random_bool(0.85).to_string());
        }
        if rng.random_bool(0.9) {
            // Three of four users rotate. The others still have their first key.
            let rotated = if rng.random_bool(0.75) {
                self.days_ago(rng, 0..88).max(created)
            } else {
                created
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
        row
    }

    fn key(
        &self,
        rng: &mut StdRng,
        row: &mut DemoRow,
        slot: u8,
        active: bool,
        rotated: DateTime<Utc>,
    ) {
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

    /// A time this number of days before the start.
    fn days_ago(&self, rng: &mut StdRng, days: std::ops::Range<i64>) -> DateTime<Utc> {
        let seconds = rng.random_range(days.start * 86_400..days.end * 86_400);
        self.start - TimeDelta::seconds(seconds)
    }

    /// A moment between `from` and the start.
    pub(super) fn between(&self, rng: &mut StdRng, from: DateTime<Utc>) -> DateTime<Utc> {
        let seconds = (self.start - from).num_seconds().max(1);
        from + TimeDelta::seconds(rng.random_range(0..seconds))
    }
}

/// A row of the report, filled with AWS's text for "there is none".
struct DemoRow([String; 23]);

impl DemoRow {
    fn new(user: &str, arn: String) -> DemoRow {
        let mut row = DemoRow(HEADER.map(|column| {
            if column.ends_with("_active") { "false".to_owned() } else { "N/A".to_owned() }
        }));
        row.set("user", user);
        row.set("arn", arn);
        row.set("password_enabled", "false");
        row
    }

    fn set(&mut self, column: &str, value: impl Into<String>) {
        self.0[place(column)] = value.into();
    }

    fn get(&self, column: &str) -> &str {
        &self.0[place(column)]
    }
}

fn place(column: &str) -> usize {
    HEADER.iter().position(|name| *name == column).expect("a column of the report")
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
