//! The command line: flags, subcommands, and their help.

use std::collections::BTreeSet;
use std::env;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use clap::builder::BoolishValueParser;
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use regex::Regex;
use tracing::Level;

use crate::check;
use crate::config::{self, origin::Origin};
use crate::controls::Benchmark;
use crate::logging;
use crate::metrics::filter::{Filter, name_pattern};
use crate::refresh::Schedule;
use crate::serve::Listen;
use crate::shard::{self, Shard};
use crate::version;
use crate::web::routes;
use crate::web::status::StatusSettings;

/// Prometheus exporter for AWS IAM access keys that have not been rotated.
///
/// Serves metrics of the account of your default AWS credentials, or of the accounts in --config.file. You can also set each flag of the server by an environment variable: --log.level is IAM_KEY_EXPORTER_LOG_LEVEL. An empty variable counts as unset.
#[derive(Debug, Clone, Parser)]
#[command(version, long_version = version::long(), disable_help_subcommand = true, max_term_width = 100)]
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
    /// Refresh once and print the unrotated keys, oldest first. The exit code is 0 if there are none, 1 if
    /// there are some, and 2 if that is not known for all keys.
    Check {
        /// The output's format.
        #[arg(long, value_enum, default_value = "table")]
        format: check::OutputFormat,
        /// Which keys to print.
        #[arg(long, value_enum, default_value = "unrotated")]
        show: check::Show,
        /// Instead of keys, print the controls of the CIS AWS Foundations benchmark with their findings.
        /// With --show all also the controls that pass. The exit code is 0 if there are no violations, 1 if
        /// there are some, and 2 if a control is not decided.
        #[arg(long)]
        controls: bool,
        /// Version of the benchmark. [default: as in the configuration file, or the newest]
        #[arg(long, value_enum, value_name = "VERSION", requires = "controls")]
        benchmark: Option<Benchmark>,
    },
    /// Validate the configuration file and the web configuration file, and print what they resolve to.
    CheckConfig,
    /// Serve a made-up organization, without an AWS account.
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
    /// Read accounts, rotation rules, confirmation and labels from this YAML file. "-" is standard input.
    /// A pipe is read once, and a reload keeps its configuration.
    #[arg(long = "config.file", value_name = "PATH", global = true)]
    pub config: Option<PathBuf>,

    /// Read this credential report CSV, or every *.csv in this folder, instead of asking AWS. "-" is
    /// standard input. A pipe is read once, and each refresh keeps its report.
    #[arg(long = "source.reports", value_name = "PATH", global = true)]
    pub reports: Option<PathBuf>,

    /// After a report file is removed, keep its account for this time, as failing.
    #[arg(long = "source.keep-missing", value_name = "DURATION", default_value = "1d", value_parser = keep_missing, global = true)]
    pub keep_missing: Duration,

    /// Maximum age of an active key, for example 90d or 12h. Overrides the configuration file. [default: as
    /// in the file, or 90d]
    #[arg(
        long = "rotation.max-age",
        value_name = "DURATION",
        value_parser = config::parse_time_delta,
        global = true
    )]
    pub max_age: Option<TimeDelta>,

    /// A key is due soon if it must be rotated within this time. Overrides the configuration file.
    /// [default: as in the file, or 14d]
    #[arg(
        long = "rotation.warn-before",
        value_name = "DURATION",
        value_parser = config::parse_time_delta,
        global = true
    )]
    pub warn_before: Option<TimeDelta>,

    /// Refresh each account once in this time. The exporter asks AWS for a new report only every four
    /// hours.
    #[arg(long = "refresh.interval", value_name = "DURATION", default_value = "5m", value_parser = pause, global = true)]
    pub interval: Duration,

    /// Make at most this many calls to AWS at the same time.
    #[arg(long = "refresh.concurrency", value_name = "NUMBER", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024), global = true)]
    pub concurrency: u16,

    /// Give up the refresh of an account after this time.
    #[arg(long = "refresh.timeout", value_name = "DURATION", default_value = "2m", value_parser = pause, global = true)]
    pub timeout: Duration,

    /// Number of this process, from 0, if several share the accounts. auto takes it from the end of the
    /// host's name.
    #[arg(long = "shard", value_name = "NUMBER|auto", default_value = "0", global = true)]
    pub shard: shard::ShardIndex,

    /// Number of processes that share the accounts.
    #[arg(long = "total-shards", value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000), global = true)]
    pub shards: u32,

    /// Expose only metrics whose whole name matches this regular expression.
    #[arg(long = "metrics.allowlist", value_name = "REGEX", value_parser = name_pattern, global = true)]
    pub allow: Option<Regex>,

    /// Do not expose metrics whose whole name matches this regular expression.
    #[arg(long = "metrics.denylist", value_name = "REGEX", value_parser = name_pattern, global = true)]
    pub deny: Option<Regex>,

    /// Listen here: host:port, or :port for every address. You can repeat it.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = ":9718",
        value_delimiter = ',',
        value_parser = listen_address,
        global = true
    )]
    pub listen: Vec<String>,

    /// Listen on the sockets that systemd passes instead of --web.listen-address (Linux only).
    #[arg(
        long = "web.systemd-socket",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub systemd_socket: bool,

    /// Serve the metrics at this path.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path, global = true)]
    pub telemetry_path: String,

    /// Read TLS, passwords, response headers and a rate limit from this YAML file, in the format of
    /// Prometheus's exporter-toolkit.
    #[arg(long = "web.config.file", value_name = "PATH", global = true)]
    pub web_config: Option<PathBuf>,

    /// Address of your own runbooks, which the status page links to. They need the same headings as
    /// docs/runbooks.md. [default: /runbooks]
    #[arg(
        long = "web.runbook-url",
        value_name = "URL",
        value_parser = runbook_url,
        global = true
    )]
    pub runbook_url: Option<String>,

    /// Address of your dashboard, which the status page links to.
    #[arg(
        long = "web.dashboard-url",
        value_name = "URL",
        value_parser = dashboard_url,
        global = true
    )]
    pub dashboard_url: Option<String>,

    /// Reload the configuration file on POST /-/reload, as on SIGHUP.
    #[arg(
        long = "web.enable-lifecycle",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub enable_lifecycle: bool,

    /// Log events of this level and above: debug, info, warn or error. [default: info for the server, warn
    /// for commands that end]
    #[arg(
        long = "log.level",
        value_name = "LEVEL",
        value_parser = log_level,
        global = true
    )]
    pub log_level: Option<Level>,

    /// Write the log in this format.
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

    /// Environment variables that seem to be for a flag and are for none. Kubernetes sets some if a service
    /// has the exporter's name.
    pub fn unknown_variables() -> Vec<String> {
        let command = Cli::command();
        let flags = command.get_arguments().filter_map(Arg::get_long).map(environment_variable);
        let known: BTreeSet<String> = flags.collect();
        let is_of_service = |name: &str| {
            ["_SERVICE_", "_PORT_"].iter().any(|part| name.contains(part))
                || name.ends_with("_PORT")
        };
        let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let is_unknown = |name: &String| {
            name.starts_with(PREFIX) && !known.contains(name) && !is_of_service(name)
        };
        names.filter(is_unknown).collect()
    }

    /// From which level on events are logged.
    pub fn log_level(&self) -> Level {
        let serves = matches!(self.command, None | Some(Command::Demo { .. }));
        self.flags.log_level.unwrap_or(if serves { Level::INFO } else { Level::WARN })
    }
}

impl Flags {
    /// Where to listen.
    pub fn listen(&self) -> Listen {
        if self.systemd_socket { Listen::Systemd } else { Listen::Addresses(self.listen.clone()) }
    }

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

/// Of every variable for a flag.
const PREFIX: &str = "IAM_KEY_EXPORTER_";

/// The environment variable of a flag: `--web.listen-address` is `IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS`.
fn environment_variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.replace(['.', '-'], "_").to_uppercase())
}

fn pause(text: &str) -> Result<Duration, String> {
    config::parse_duration(text, Duration::from_secs(24 * 60 * 60))
}

fn keep_missing(text: &str) -> Result<Duration, String> {
    config::parse_duration(text, Duration::from_secs(365 * 24 * 60 * 60))
}

fn listen_address(text: &str) -> Result<String, String> {
    let is_v6 = |host: &str| host.parse::<Ipv6Addr>().is_ok();
    match text.rsplit_once(':') {
        Some((host, port)) if is_v6(host) && port.parse::<u16>().is_ok() => {
            Err(format!("an IPv6 address needs brackets: write [{host}]:{port}"))
        }
        _ if is_v6(text) => {
            Err(format!("an IPv6 address needs brackets and a port: write [{text}]:9718"))
        }
        Some((_, port)) if port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("must be host:port, or :port for every address".to_owned()),
    }
}

fn telemetry_path(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if text.starts_with('/') && text.chars().all(plain) && !routes::is_reserved(text) {
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
    match text.to_ascii_lowercase().as_str() {
        "debug" => Ok(Level::DEBUG),
        "info" => Ok(Level::INFO),
        "warn" => Ok(Level::WARN),
        "error" => Ok(Level::ERROR),
        _ => Err("must be debug, info, warn or error".to_owned()),
    }
}
