//! The command line: flags, subcommands, and their help.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use clap::builder::BoolishValueParser;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use regex::Regex;
use tracing::Level;

use crate::check;
use crate::config::{self, origin::Origin};
use crate::logging;
use crate::metrics::filter::{Filter, name_pattern};
use crate::refresh::Schedule;
use crate::shard::{self, Shard};
use crate::web::status::StatusSettings;

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
        format: check::OutputFormat,
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
    /// Ask the exporter that runs on this host, at the port of --web.listen-address, whether it is healthy.
    /// Exit code 0: it is, 1: it is not.
    Health {
        /// Ask whether it has tried every account once.
        #[arg(long)]
        ready: bool,
    },
    /// Print the documentation of every metric, as Markdown.
    MetricsDoc,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Flags {
    /// Read accounts, rotation rules, confirmation and labels from this YAML file.
    #[arg(long = "config.file", value_name = "PATH", global = true)]
    pub config: Option<PathBuf>,

    /// Read this credential report CSV, or every *.csv in this folder, instead of asking AWS.
    #[arg(long = "source.reports", value_name = "PATH", global = true)]
    pub reports: Option<PathBuf>,

    /// Keep the account of a report file that is gone for this time, as failing.
    #[arg(long = "source.keep-missing", value_name = "DURATION", default_value = "1d", value_parser = keep_missing, global = true)]
    pub keep_missing: Duration,

    /// How old an active key may become, such as 90d or 12h. Decides over the configuration file.
    /// [default: the file's, else 90d]
    #[arg(
        long = "rotation.max-age",
        value_name = "DURATION",
        value_parser = config::parse_time_delta,
        global = true
    )]
    pub max_age: Option<TimeDelta>,

    /// A key counts as due soon if it must be rotated within this time. Overrides the configuration
    /// file. [default: the file's, else 14d]
    #[arg(
        long = "rotation.warn-before",
        value_name = "DURATION",
        value_parser = config::parse_time_delta,
        global = true
    )]
    pub warn_before: Option<TimeDelta>,

    /// Refresh each account once in this time. AWS is asked for a report only every four hours.
    #[arg(long = "refresh.interval", value_name = "DURATION", default_value = "5m", value_parser = pause, global = true)]
    pub interval: Duration,

    /// Make at most this many calls to AWS at the same time.
    #[arg(long = "refresh.concurrency", value_name = "NUMBER", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024), global = true)]
    pub concurrency: u16,

    /// Give up the refresh of an account after this time.
    #[arg(long = "refresh.timeout", value_name = "DURATION", default_value = "2m", value_parser = pause, global = true)]
    pub timeout: Duration,

    /// Which of several processes this one is, from 0, or auto: by the number at the end of the host's
    /// name. It takes the accounts whose ids hash to it.
    #[arg(long = "shard", value_name = "NUMBER|auto", default_value = "0", global = true)]
    pub shard: shard::ShardIndex,

    /// How many processes share the accounts.
    #[arg(long = "total-shards", value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000), global = true)]
    pub shards: u32,

    /// Expose only metrics whose whole name matches this regular expression.
    #[arg(long = "metrics.allowlist", value_name = "REGEX", value_parser = name_pattern, global = true)]
    pub allow: Option<Regex>,

    /// Do not expose metrics whose whole name matches this regular expression.
    #[arg(long = "metrics.denylist", value_name = "REGEX", value_parser = name_pattern, global = true)]
    pub deny: Option<Regex>,

    /// Listen here: host:port, or :port for every address. Can be given more than once.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = ":9718",
        value_delimiter = ',',
        value_parser = listen_address,
        global = true
    )]
    pub listen: Vec<String>,

    /// The path of the metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path, global = true)]
    pub telemetry_path: String,

    /// Where you publish docs/runbooks.md, or runbooks of your own: the status page links to its sections.
    /// Without it they are at /runbooks.
    #[arg(
        long = "web.runbook-url",
        value_name = "URL",
        value_parser = runbook_url,
        global = true
    )]
    pub runbook_url: Option<String>,

    /// Your dashboard's address: the status page links to it.
    #[arg(
        long = "web.dashboard-url",
        value_name = "URL",
        value_parser = dashboard_url,
        global = true
    )]
    pub dashboard_url: Option<String>,

    /// Read the configuration file again on POST /-/reload, as on SIGHUP.
    #[arg(
        long = "web.enable-lifecycle",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub enable_lifecycle: bool,

    /// Log events of this level and above: debug, info, warn or error.
    /// [default: info where it serves, else warn]
    #[arg(
        long = "log.level",
        value_name = "LEVEL",
        value_parser = log_level,
        global = true
    )]
    pub log_level: Option<Level>,

    /// The form of the log's lines.
    #[arg(
        long = "log.format",
        value_name = "FORMAT",
        default_value = "logfmt",
        value_enum,
        global = true
    )]
    pub log_format: logging::LogFormat,
}

impl Cli {
    /// The command line and the environment. An empty variable counts as unset, since templates of
    /// containers often set empty ones.
    pub fn from_process() -> Result<Cli, clap::Error> {
        let command = Cli::command().mut_args(|arg| {
            let Some(name) = arg.get_long().map(environment_variable) else { return arg };
            match env::var_os(&name) {
                Some(value) if value.is_empty() => arg,
                _ => arg.env(name),
            }
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
        Origin {
            file: self.config.clone(),
            max_age: self.max_age,
            warn_before: self.warn_before,
            ..Origin::default()
        }
    }

    /// What the status page says besides the snapshot.
    pub fn status_settings(&self, is_demo: bool) -> StatusSettings {
        StatusSettings {
            telemetry_path: self.telemetry_path.clone(),
            runbook_url: self.runbook_url.clone(),
            dashboard_url: self.dashboard_url.clone(),
            is_demo,
        }
    }

    /// Which metrics are exposed.
    pub fn filter(&self) -> Filter {
        Filter::new(self.allow.clone(), self.deny.clone())
    }
}

/// The environment variable of a flag: `--web.listen-address` is `IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS`.
fn environment_variable(flag: &str) -> String {
    format!("IAM_KEY_EXPORTER_{}", flag.replace(['.', '-'], "_").to_uppercase())
}

fn pause(text: &str) -> Result<Duration, String> {
    config::parse_duration(text, Duration::from_secs(24 * 60 * 60))
}

fn keep_missing(text: &str) -> Result<Duration, String> {
    config::parse_duration(text, Duration::from_secs(365 * 24 * 60 * 60))
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
    if text.starts_with('/') && text.chars().all(plain) && !reserved.contains(&text) {
        Ok(text.to_owned())
    } else {
        Err("must begin with / and be made of letters, digits and /-_.~, and not be one of the exporter's own paths".to_owned())
    }
}

fn runbook_url(text: &str) -> Result<String, &'static str> {
    if is_url(text) && !text.contains('#') {
        Ok(text.to_owned())
    } else {
        Err("must begin with https:// or http:// and have no part after #")
    }
}

fn dashboard_url(text: &str) -> Result<String, &'static str> {
    if is_url(text) {
        Ok(text.to_owned())
    } else {
        Err("must begin with https:// or http:// and have no blanks")
    }
}

/// Whether a link can lead there. Other schemes could run code in a reader's browser.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
    })
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
