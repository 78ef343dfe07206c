//! The flags of every command, and what they mean for the parts of the exporter.

use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;
use clap::builder::BoolishValueParser;
use regex::Regex;
use tracing::Level;

use super::values::{
    keep_missing, listen_address, log_level, pause, runbook_url, telemetry_path, url,
};
use crate::config::{self, origin::Origin};
use crate::logging;
use crate::metrics::filter::{Filter, name_pattern};
use crate::refresh::Schedule;
use crate::serve::Listen;
use crate::shard::{self, Shard};
use crate::web::status::StatusSettings;

/// Flags of every command.
#[derive(Debug, Clone, Args)]
#[command(mut_args(|flag| flag.global(true)))]
pub struct Flags {
    /// YAML file with accounts, rotation rules, confirmation and labels. "-" is standard input. Standard
    /// input or a pipe is read once, and a reload keeps its configuration.
    #[arg(long = "config.file", value_name = "PATH")]
    pub config: Option<PathBuf>,

    /// Read this credential report, or every .csv file in this folder, instead of asking AWS. "-" is
    /// standard input. Standard input or a pipe is read once, and each refresh keeps its report.
    #[arg(long = "source.reports", value_name = "PATH")]
    pub reports: Option<PathBuf>,

    /// How long the account of a removed report file is kept, as failing. From 1s to 365d.
    #[arg(long = "source.keep-missing", value_name = "DURATION", default_value = "1d", value_parser = keep_missing)]
    pub keep_missing: Duration,

    /// Maximum age of an active key, for example 90d or 12h. Overrides rotation.max_age of the
    /// configuration file, but not its rules. [default: 90d]
    #[arg(long = "rotation.max-age", value_name = "DURATION", value_parser = config::parse_time_delta)]
    pub max_age: Option<TimeDelta>,

    /// A key is due soon if it must be rotated within this time. Overrides rotation.warn_before of the
    /// configuration file. [default: 14d]
    #[arg(long = "rotation.warn-before", value_name = "DURATION", value_parser = config::parse_time_delta)]
    pub warn_before: Option<TimeDelta>,

    /// How often each account is refreshed, from 1s to 1d. AWS makes a new report only every four hours.
    #[arg(long = "refresh.interval", value_name = "DURATION", default_value = "5m", value_parser = pause)]
    pub interval: Duration,

    /// Maximum number of calls to AWS, or of files read, at the same time. From 1 to 1024.
    #[arg(long = "refresh.concurrency", value_name = "NUMBER", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,

    /// Time limit for the refresh of an account, from 1s to 1d. The next refresh continues confirmation.
    #[arg(long = "refresh.timeout", value_name = "DURATION", default_value = "2m", value_parser = pause)]
    pub timeout: Duration,

    /// Number of this process, from 0, if several share the accounts. "auto" takes it from the end of the
    /// host name, such as 2 from exporter-2.
    #[arg(long = "shard", value_name = "NUMBER|auto", default_value = "0")]
    pub shard: shard::ShardIndex,

    /// Number of processes that share the accounts, from 1 to 1000.
    #[arg(long = "total-shards", value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub shards: u32,

    /// Expose only metrics whose whole name matches this regular expression. An alert on a metric that is
    /// left out never fires.
    #[arg(long = "metrics.allowlist", value_name = "REGEX", value_parser = name_pattern)]
    pub allow: Option<Regex>,

    /// Do not expose metrics whose whole name matches this regular expression. An alert on a metric that
    /// is left out never fires.
    #[arg(long = "metrics.denylist", value_name = "REGEX", value_parser = name_pattern)]
    pub deny: Option<Regex>,

    /// Address to listen on: host:port, or :port for every address. An IPv6 address needs brackets. Repeat
    /// the flag for several addresses, or separate them with commas.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = ":9718",
        value_delimiter = ',',
        value_parser = listen_address
    )]
    pub listen: Vec<String>,

    /// Answer health checks here, too: only /-/healthy and /-/ready, over plain HTTP, for probes that have
    /// no client certificate. host:port, or :port for every address.
    #[arg(long = "web.health-address", value_name = "ADDRESS", value_parser = listen_address)]
    pub health_address: Option<String>,

    /// Listen on the sockets that systemd passes instead of --web.listen-address (Linux only).
    #[arg(long = "web.systemd-socket", value_parser = BoolishValueParser::new())]
    pub systemd_socket: bool,

    /// Path of the metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path)]
    pub telemetry_path: String,

    /// YAML file with TLS, passwords, response headers and a rate limit, in the format of Prometheus's
    /// exporter-toolkit.
    #[arg(long = "web.config.file", value_name = "PATH")]
    pub web_config: Option<PathBuf>,

    /// URL of your own runbooks, for links on the status page. They need the same headings as
    /// docs/runbooks.md. [default: /runbooks]
    #[arg(long = "web.runbook-url", value_name = "URL", value_parser = runbook_url)]
    pub runbook_url: Option<String>,

    /// URL of your dashboard, for a link on the status page.
    #[arg(long = "web.dashboard-url", value_name = "URL", value_parser = url)]
    pub dashboard_url: Option<String>,

    /// Also reload the configuration file on POST /-/reload, not only on SIGHUP.
    #[arg(long = "web.enable-lifecycle", value_parser = BoolishValueParser::new())]
    pub enable_lifecycle: bool,

    /// Lowest level of events to log: debug, info, warn or error, in any case. [default: info for the
    /// server and demo, warn for other commands]
    #[arg(long = "log.level", value_name = "LEVEL", value_parser = log_level)]
    pub log_level: Option<Level>,

    /// Format of the log, which goes to stderr.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt", value_enum)]
    pub log_format: logging::LogFormat,
}

impl Flags {
    /// The address to listen on.
    pub fn listen(&self) -> Listen {
        if self.systemd_socket { Listen::Systemd } else { Listen::Addresses(self.listen.clone()) }
    }

    /// How often accounts are refreshed, and which of them belong to this shard.
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

    /// The source of the configuration.
    pub fn origin(&self) -> Origin {
        Origin {
            file: self.config.clone(),
            max_age: self.max_age,
            warn_before: self.warn_before,
            ..Origin::default()
        }
    }

    /// The settings of the status page.
    pub fn status_settings(&self, is_demo: bool, shard: Shard) -> StatusSettings {
        StatusSettings {
            telemetry_path: self.telemetry_path.clone(),
            runbook_url: self.runbook_url.clone(),
            dashboard_url: self.dashboard_url.clone(),
            is_demo,
            are_files: self.reports.is_some(),
            shard,
        }
    }

    /// The metrics to expose.
    pub fn filter(&self) -> Filter {
        Filter::new(self.allow.clone(), self.deny.clone())
    }
}
