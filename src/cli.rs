//! The command line: flags, subcommands, and their help.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use clap::builder::{BoolishValueParser, Resettable};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use regex::Regex;
use tracing::Level;

use crate::check;
use crate::config;
use crate::logging;
use crate::metrics::{Filter, name_pattern};
use crate::refresh::Schedule;
use crate::reload::Origin;
use crate::shard::{self, Shard};
use crate::web::status::About;

/// Prometheus exporter for AWS IAM access keys that have not been rotated.
///
/// Serves the account of the default AWS credentials, or the accounts that a file names, at /metrics. Flags whose names have a dot can
/// also be given as environment variables; an empty variable is as none.
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
        /// Which keys to print.
        #[arg(long, value_enum, default_value = "unrotated")]
        show: check::Show,
    },
    /// Validate the configuration file and print what it resolves to.
    CheckConfig,
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
    /// Read accounts, rotation rules, confirmation and labels from this YAML file.
    #[arg(
        long = "config.file",
        env = "IAM_KEY_EXPORTER_CONFIG_FILE",
        value_name = "PATH",
        global = true
    )]
    pub config: Option<PathBuf>,

    /// Read this credential report CSV, or every *.csv in this folder, instead of asking AWS.
    #[arg(
        long = "source.reports",
        env = "IAM_KEY_EXPORTER_SOURCE_REPORTS",
        value_name = "PATH",
        global = true
    )]
    pub reports: Option<PathBuf>,

    /// How old an active key may become, such as 90d or 12h. Decides over the configuration file.
    /// [default: the file's, else 90d]
    #[arg(
        long = "rotation.max-age",
        env = "IAM_KEY_EXPORTER_ROTATION_MAX_AGE",
        value_name = "DURATION",
        value_parser = config::max_age,
        global = true
    )]
    pub max_age: Option<TimeDelta>,

    /// Refresh each account once in this time. AWS is asked for a report only every four hours.
    #[arg(long = "refresh.interval", env = "IAM_KEY_EXPORTER_REFRESH_INTERVAL", value_name = "DURATION", default_value = "5m", value_parser = pause, global = true)]
    pub interval: Duration,

    /// Make at most this many calls to AWS at the same time.
    #[arg(long = "refresh.concurrency", env = "IAM_KEY_EXPORTER_REFRESH_CONCURRENCY", value_name = "NUMBER", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024), global = true)]
    pub concurrency: u16,

    /// Give up the refresh of an account after this time.
    #[arg(long = "refresh.timeout", env = "IAM_KEY_EXPORTER_REFRESH_TIMEOUT", value_name = "DURATION", default_value = "2m", value_parser = pause, global = true)]
    pub timeout: Duration,

    /// Which of several processes this one is, from 0, or auto: by the number at the end of the host's
    /// name. It takes the accounts whose ids hash to it.
    #[arg(
        long = "shard",
        env = "IAM_KEY_EXPORTER_SHARD",
        value_name = "NUMBER|auto",
        default_value = "0",
        global = true
    )]
    pub shard: shard::Index,

    /// How many processes share the accounts.
    #[arg(long = "total-shards", env = "IAM_KEY_EXPORTER_TOTAL_SHARDS", value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000), global = true)]
    pub shards: u32,

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
        value_parser = listen_address,
        global = true
    )]
    pub listen: Vec<String>,

    /// The path of the metrics.
    #[arg(long = "web.telemetry-path", env = "IAM_KEY_EXPORTER_WEB_TELEMETRY_PATH", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path, global = true)]
    pub telemetry_path: String,

    /// Where docs/runbooks.md is published: the status page links to its sections.
    #[arg(
        long = "web.runbook-url",
        env = "IAM_KEY_EXPORTER_WEB_RUNBOOK_URL",
        value_name = "URL",
        default_value = RUNBOOK_URL,
        value_parser = runbook_url,
        global = true
    )]
    pub runbook_url: String,

    /// Read the configuration file again on POST /-/reload, as on SIGHUP.
    #[arg(
        long = "web.enable-lifecycle",
        env = "IAM_KEY_EXPORTER_WEB_ENABLE_LIFECYCLE",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub enable_lifecycle: bool,

    /// Log events of this level and above: debug, info, warn or error.
    /// [default: info where it serves, else warn]
    #[arg(
        long = "log.level",
        env = "IAM_KEY_EXPORTER_LOG_LEVEL",
        value_name = "LEVEL",
        value_parser = log_level,
        global = true
    )]
    pub log_level: Option<Level>,

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

impl Cli {
    /// What the command line and the environment say. An empty variable is as none, since templates
    /// of containers often set them.
    pub fn from_process() -> Result<Cli, clap::Error> {
        let is_empty = |name: &OsStr| env::var_os(name).is_some_and(|value| value.is_empty());
        let command = Cli::command().mut_args(|arg| match arg.get_env().is_some_and(is_empty) {
            true => arg.env(Resettable::Reset),
            false => arg,
        });
        Cli::from_arg_matches(&command.try_get_matches()?)
    }

    /// From which level on events are logged.
    pub fn log_level(&self) -> Level {
        let serves = matches!(self.command, None | Some(Command::Demo { .. }));
        self.flags.log_level.unwrap_or(if serves { Level::INFO } else { Level::WARN })
    }
}

impl Flags {
    /// When accounts are refreshed, and which.
    pub fn schedule(&self) -> Result<Schedule, shard::Error> {
        let host = hostname::get().unwrap_or_default();
        Ok(Schedule {
            interval: self.interval,
            timeout: self.timeout,
            concurrency: self.concurrency.into(),
            shard: Shard::new(self.shard, self.shards, &host.to_string_lossy())?,
            ..Schedule::default()
        })
    }

    /// Where the configuration comes from.
    pub fn origin(&self) -> Origin {
        Origin { file: self.config.clone(), max_age: self.max_age, ..Origin::default() }
    }

    /// What the status page says of how it was started.
    pub fn about(&self, is_demo: bool) -> About {
        About {
            telemetry_path: self.telemetry_path.clone(),
            runbook_url: self.runbook_url.clone(),
            is_demo,
        }
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

/// Writes to stdout. One who has read enough of it, such as `head`, is no error.
pub fn write(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn pause(text: &str) -> Result<Duration, String> {
    config::duration(text, Duration::from_secs(24 * 60 * 60))
}

fn listen_address(text: &str) -> Result<String, &'static str> {
    match text.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("must be host:port, or :port for every address"),
    }
}

fn telemetry_path(text: &str) -> Result<String, String> {
    let reserved = ["/keys.csv", "/status.css", "/-/healthy", "/-/ready", "/-/reload"];
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    match text.starts_with('/') && text.chars().all(plain) && !reserved.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err("must begin with / and be made of letters, digits and /-_.~, and not be one of the exporter's own paths".to_owned()),
    }
}

/// As in the rules of deploy/prometheus.
const RUNBOOK_URL: &str = "https://example.com/iam-key-exporter/runbooks.md";

fn runbook_url(text: &str) -> Result<String, &'static str> {
    let is_url = text.starts_with("https://") || text.starts_with("http://");
    match is_url && !text.contains(|c: char| c.is_whitespace() || c == '#') {
        true => Ok(text.to_owned()),
        false => Err("must begin with https:// or http:// and have no part after #"),
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
