//! The command line: flags, subcommands, and their help.

use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use clap::{Args, Parser, Subcommand};
use regex::Regex;
use tracing::Level;

use crate::check;
use crate::logging;
use crate::metrics::{Filter, name_pattern};
use crate::policy::Policy;
use crate::refresh::Schedule;

/// Prometheus exporter for AWS IAM access keys that have not been rotated.
///
/// Serves the account of the default AWS credentials at /metrics. Every flag can also be given as an
/// environment variable.
#[derive(Debug, Clone, Parser)]
#[command(version, disable_help_subcommand = true, max_term_width = 100)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of every command.
    #[command(flatten)]
    pub flags: Flags,
}

/// What to do instead of serving.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Refresh once and print the unrotated keys, oldest first. Exit code 0: there are none, 1: there
    /// are some, 2: could not tell.
    Check {
        /// The output's format.
        #[arg(long, value_enum, default_value = "table")]
        format: check::Format,
    },
    /// Serve a made-up organization, to see what the exporter does without an AWS account.
    Demo {
        /// Number of accounts.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        accounts: u32,
        /// Number of users in each account.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        users: u32,
        /// The same seed gives the same organization.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Print the documentation of every metric, as Markdown.
    MetricsDoc,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Flags {
    /// Read this credential report CSV, or every *.csv in this folder, instead of asking AWS.
    #[arg(
        long = "source.reports",
        env = "IAM_KEY_EXPORTER_SOURCE_REPORTS",
        value_name = "PATH",
        global = true
    )]
    pub reports: Option<PathBuf>,

    /// How old an active key may become, such as 90d or 12h.
    #[arg(long = "rotation.max-age", env = "IAM_KEY_EXPORTER_ROTATION_MAX_AGE", value_name = "DURATION", default_value = "90d", value_parser = max_age, global = true)]
    pub max_age: Duration,

    /// Refresh each account once in this time. AWS is asked for a report only every four hours.
    #[arg(long = "refresh.interval", env = "IAM_KEY_EXPORTER_REFRESH_INTERVAL", value_name = "DURATION", default_value = "5m", value_parser = pause, global = true)]
    pub interval: Duration,

    /// Make at most this many calls to AWS at the same time.
    #[arg(long = "refresh.concurrency", env = "IAM_KEY_EXPORTER_REFRESH_CONCURRENCY", value_name = "NUMBER", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024), global = true)]
    pub concurrency: u16,

    /// Give up the refresh of an account after this time.
    #[arg(long = "refresh.timeout", env = "IAM_KEY_EXPORTER_REFRESH_TIMEOUT", value_name = "DURATION", default_value = "2m", value_parser = pause, global = true)]
    pub timeout: Duration,

    /// Expose only metrics whose whole name matches this regular expression.
    #[arg(long = "metrics.allowlist", env = "IAM_KEY_EXPORTER_METRICS_ALLOWLIST", value_name = "REGEX", value_parser = name_pattern, global = true)]
    pub allow: Option<Regex>,

    /// Do not expose metrics whose whole name matches this regular expression.
    #[arg(long = "metrics.denylist", env = "IAM_KEY_EXPORTER_METRICS_DENYLIST", value_name = "REGEX", value_parser = name_pattern, global = true)]
    pub deny: Option<Regex>,

    /// Listen here: host:port, or :port for every address. Can be given more than once.
    #[arg(
        long = "web.listen-address",
        env = "IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS",
        value_name = "ADDRESS",
        default_value = ":9718",
        value_delimiter = ',',
        global = true
    )]
    pub listen: Vec<String>,

    /// The path of the metrics.
    #[arg(long = "web.telemetry-path", env = "IAM_KEY_EXPORTER_WEB_TELEMETRY_PATH", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path, global = true)]
    pub telemetry_path: String,

    /// Log events of this level and above: debug, info, warn or error.
    #[arg(long = "log.level", env = "IAM_KEY_EXPORTER_LOG_LEVEL", value_name = "LEVEL", default_value = "info", value_parser = log_level, global = true)]
    pub log_level: Level,

    /// The form of the log's lines.
    #[arg(
        long = "log.format",
        env = "IAM_KEY_EXPORTER_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "logfmt",
        value_enum,
        global = true
    )]
    pub log_format: logging::Format,
}

impl Flags {
    /// When accounts are refreshed.
    pub fn schedule(&self) -> Schedule {
        Schedule { interval: self.interval, timeout: self.timeout, ..Schedule::default() }
    }

    /// How old keys may become.
    pub fn policy(&self) -> Policy {
        let max_age = TimeDelta::from_std(self.max_age).expect("at most 100 years");
        Policy { max_age }
    }

    /// Which metrics are exposed.
    pub fn filter(&self) -> Filter {
        Filter::new(self.allow.clone(), self.deny.clone())
    }
}

/// An error of the command line as one line: what clap says before its usage.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    said.join("; ")
}

/// A century: longer than AWS exists, shorter than what a calendar can hold.
const MOST_MAX_AGE: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);
const MOST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

fn max_age(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_secs(1), MOST_MAX_AGE)
}

fn pause(text: &str) -> Result<Duration, String> {
    duration(text, Duration::from_secs(1), MOST_PAUSE)
}

fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it like 90d, 12h or 5m"))?;
    match (least..=most).contains(&duration) {
        true => Ok(duration),
        false => Err(format!(
            "must lie between {}s and {}d",
            least.as_secs(),
            most.as_secs() / (24 * 60 * 60)
        )),
    }
}

fn telemetry_path(text: &str) -> Result<String, String> {
    let reserved = ["/-/healthy", "/-/ready"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    match text.starts_with('/') && text.chars().all(plain) && !reserved.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err("must begin with / and be made of letters, digits and /-_.~, and not be one of the exporter's own paths".to_owned()),
    }
}

fn log_level(text: &str) -> Result<Level, String> {
    match text {
        "debug" => Ok(Level::DEBUG),
        "info" => Ok(Level::INFO),
        "warn" => Ok(Level::WARN),
        "error" => Ok(Level::ERROR),
        _ => Err("must be debug, info, warn or error".to_owned()),
    }
}
