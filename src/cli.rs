//! The command line: flags, subcommands, and their help.

use std::collections::BTreeSet;
use std::env;
use std::io;
use std::iter;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::TimeDelta;
use clap::builder::BoolishValueParser;
use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;
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
#[command(
    version,
    long_version = version::long(),
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = exit_help(""),
)]
pub struct Cli {
    /// The command to run instead of the server.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of every command.
    #[command(flatten)]
    pub flags: Flags,
}

/// A command to run instead of the server.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Refresh every account once and print the unrotated keys, oldest first.
    #[command(after_help = exit_help("check"))]
    Check {
        /// Output format.
        #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
        format: check::OutputFormat,
        /// Which keys to print. The exit code depends on the unrotated ones only.
        #[arg(long, value_enum, default_value = "unrotated", value_name = "KEYS")]
        show: check::Show,
        /// Instead of keys, print the controls of the CIS AWS Foundations benchmark with their findings.
        /// With --show all also the controls that pass.
        #[arg(long)]
        controls: bool,
        /// Version of the benchmark. [default: as in the configuration file, or the newest]
        #[arg(long, value_enum, value_name = "VERSION", requires = "controls")]
        benchmark: Option<Benchmark>,
    },
    /// Validate the configuration file and the web configuration file, and print the effective settings.
    #[command(after_help = exit_help("check-config"))]
    CheckConfig,
    /// Serve a made-up organization, without an AWS account.
    #[command(after_help = exit_help("demo"))]
    Demo {
        /// Number of accounts.
        #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        accounts: u32,
        /// Number of users in each account.
        #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        users: u32,
        /// The same seed gives the same organization.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        seed: u64,
    },
    /// Ask the exporter that runs on this host, at the port of --web.health-address, or else of
    /// --web.listen-address, whether it is healthy. With --web.systemd-socket that is the port to ask, too.
    #[command(after_help = exit_help("health"))]
    Health {
        /// Check instead whether the exporter has tried every account once.
        #[arg(long)]
        ready: bool,
        /// Certificate to present, if the exporter requires one of its clients.
        #[arg(long, value_name = "PATH", requires = "client_key")]
        client_cert: Option<PathBuf>,
        /// Private key of this certificate.
        #[arg(long, value_name = "PATH", requires = "client_cert")]
        client_key: Option<PathBuf>,
    },
    /// Print the documentation of every metric, as Markdown.
    #[command(after_help = exit_help("metrics-doc"))]
    MetricsDoc,
    /// Write the pages of the manual into a folder. Packages bring them.
    #[command(hide = true)]
    Manual {
        /// It must exist.
        folder: PathBuf,
    },
    /// Print the completions of a shell. Packages bring them.
    #[command(hide = true)]
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Flags {
    /// YAML file with accounts, rotation rules, confirmation and labels. "-" is standard input. Standard
    /// input or a pipe is read once, and a reload keeps its configuration.
    #[arg(long = "config.file", value_name = "PATH", global = true)]
    pub config: Option<PathBuf>,

    /// Read this credential report, or every .csv file in this folder, instead of asking AWS. "-" is
    /// standard input. Standard input or a pipe is read once, and each refresh keeps its report.
    #[arg(long = "source.reports", value_name = "PATH", global = true)]
    pub reports: Option<PathBuf>,

    /// How long the account of a removed report file is kept, as failing. From 1s to 365d.
    #[arg(long = "source.keep-missing", value_name = "DURATION", default_value = "1d", value_parser = keep_missing, global = true)]
    pub keep_missing: Duration,

    /// Maximum age of an active key, for example 90d or 12h. Overrides rotation.max_age of the
    /// configuration file, but not its rules. [default: 90d]
    #[arg(
        long = "rotation.max-age",
        value_name = "DURATION",
        value_parser = config::parse_time_delta,
        global = true
    )]
    pub max_age: Option<TimeDelta>,

    /// A key is due soon if it must be rotated within this time. Overrides rotation.warn_before of the
    /// configuration file. [default: 14d]
    #[arg(
        long = "rotation.warn-before",
        value_name = "DURATION",
        value_parser = config::parse_time_delta,
        global = true
    )]
    pub warn_before: Option<TimeDelta>,

    /// How often each account is refreshed, from 1s to 1d. AWS makes a new report only every four hours.
    #[arg(long = "refresh.interval", value_name = "DURATION", default_value = "5m", value_parser = pause, global = true)]
    pub interval: Duration,

    /// Maximum number of calls to AWS, or of files read, at the same time. From 1 to 1024.
    #[arg(long = "refresh.concurrency", value_name = "NUMBER", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024), global = true)]
    pub concurrency: u16,

    /// Time limit for the refresh of an account, from 1s to 1d. The next refresh continues confirmation.
    #[arg(long = "refresh.timeout", value_name = "DURATION", default_value = "2m", value_parser = pause, global = true)]
    pub timeout: Duration,

    /// Number of this process, from 0, if several share the accounts. "auto" takes it from the end of the
    /// host name, such as 2 from exporter-2.
    #[arg(long = "shard", value_name = "NUMBER|auto", default_value = "0", global = true)]
    pub shard: shard::ShardIndex,

    /// Number of processes that share the accounts, from 1 to 1000.
    #[arg(long = "total-shards", value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000), global = true)]
    pub shards: u32,

    /// Expose only metrics whose whole name matches this regular expression. An alert on a metric that is
    /// left out never fires.
    #[arg(long = "metrics.allowlist", value_name = "REGEX", value_parser = name_pattern, global = true)]
    pub allow: Option<Regex>,

    /// Do not expose metrics whose whole name matches this regular expression. An alert on a metric that
    /// is left out never fires.
    #[arg(long = "metrics.denylist", value_name = "REGEX", value_parser = name_pattern, global = true)]
    pub deny: Option<Regex>,

    /// Address to listen on: host:port, or :port for every address. An IPv6 address needs brackets. Repeat
    /// the flag for several addresses, or separate them with commas.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = ":9718",
        value_delimiter = ',',
        value_parser = listen_address,
        global = true
    )]
    pub listen: Vec<String>,

    /// Answer health checks here, too: only /-/healthy and /-/ready, over plain HTTP, for probes that have
    /// no client certificate. host:port, or :port for every address.
    #[arg(
        long = "web.health-address",
        value_name = "ADDRESS",
        value_parser = listen_address,
        global = true
    )]
    pub health_address: Option<String>,

    /// Listen on the sockets that systemd passes instead of --web.listen-address (Linux only).
    #[arg(
        long = "web.systemd-socket",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub systemd_socket: bool,

    /// Path of the metrics.
    #[arg(long = "web.telemetry-path", value_name = "PATH", default_value = "/metrics", value_parser = telemetry_path, global = true)]
    pub telemetry_path: String,

    /// YAML file with TLS, passwords, response headers and a rate limit, in the format of Prometheus's
    /// exporter-toolkit.
    #[arg(long = "web.config.file", value_name = "PATH", global = true)]
    pub web_config: Option<PathBuf>,

    /// URL of your own runbooks, for links on the status page. They need the same headings as
    /// docs/runbooks.md. [default: /runbooks]
    #[arg(
        long = "web.runbook-url",
        value_name = "URL",
        value_parser = runbook_url,
        global = true
    )]
    pub runbook_url: Option<String>,

    /// URL of your dashboard, for a link on the status page.
    #[arg(
        long = "web.dashboard-url",
        value_name = "URL",
        value_parser = url,
        global = true
    )]
    pub dashboard_url: Option<String>,

    /// Also reload the configuration file on POST /-/reload, not only on SIGHUP.
    #[arg(
        long = "web.enable-lifecycle",
        value_parser = BoolishValueParser::new(),
        global = true
    )]
    pub enable_lifecycle: bool,

    /// Lowest level of events to log: debug, info, warn or error, in any case. [default: info for the
    /// server and demo, warn for other commands]
    #[arg(
        long = "log.level",
        value_name = "LEVEL",
        value_parser = log_level,
        global = true
    )]
    pub log_level: Option<Level>,

    /// Format of the log, which goes to stderr.
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

    /// Environment variables with the exporter's prefix that belong to no flag. Leaves out those that
    /// Kubernetes sets if a service has the exporter's name.
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

    /// The lowest level of events that are logged.
    pub fn log_level(&self) -> Level {
        let serves = matches!(self.command, None | Some(Command::Demo { .. }));
        self.flags.log_level.unwrap_or(if serves { Level::INFO } else { Level::WARN })
    }
}

/// Writes a page of the manual for the program, and one for each command.
pub fn write_manual(folder: &Path) -> io::Result<()> {
    let mut program = Cli::command();
    program.build();
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
    for command in iter::once(&program).chain(commands) {
        // At the foot of each page, if it does not depend on the build.
        let command = command.clone().version(None).long_version(None);
        let source = format!("{NAME} {}", version::VERSION);
        Man::new(command).source(source).generate_to(folder)?;
    }
    Ok(())
}

/// A shell's completion script for the command line.
pub fn completions(shell: Shell) -> String {
    let whole = Cli::command();
    // Hidden commands would be offered, too.
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set());
    let mut shown = clap::Command::new(NAME)
        .version(version::VERSION)
        .args(whole.get_arguments())
        .subcommands(commands)
        .disable_help_subcommand(true);
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut shown, NAME, &mut text);
    let text = String::from_utf8(text).expect("clap writes text");
    // clap_complete 4.6 writes a name with a dash in two ways for bash, and then finds no command's flags.
    text.replace(&NAME.replace('-', "__subcmd__"), &NAME.replace('-', "__"))
}

const NAME: &str = env!("CARGO_PKG_NAME");

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

/// The exit codes 0, 1 and 2 of each command, and of the server, whose name is empty. A code that a
/// command never has is empty.
pub const EXIT_CODES: [(&str, [&str; 3]); 6] = [
    ("", ["stopped by a signal", "", COULD_NOT_START]),
    (
        "check",
        [
            "no unrotated keys, or with --controls no violations",
            "some unrotated keys, or with --controls some violations",
            COULD_NOT_TELL,
        ],
    ),
    ("check-config", ["the files are valid", "", "a flag or a file is invalid"]),
    ("demo", ["stopped by a signal", "", COULD_NOT_START]),
    ("health", ["healthy, or ready", "not healthy, not ready, or no answer", "a flag is invalid"]),
    ("metrics-doc", ["printed", "", "a flag or a file is invalid"]),
];

const COULD_NOT_START: &str = "it could not start, for example because a flag or a file is invalid";
const COULD_NOT_TELL: &str =
    "it could not tell for all keys or controls, or a flag or a file is invalid";

fn exit_help(command: &str) -> String {
    let codes = EXIT_CODES.iter().find(|(name, _)| *name == command).map(|(_, codes)| codes);
    let codes = codes.expect("every command is in the list").iter().enumerate();
    let lines = codes.filter(|(_, meaning)| !meaning.is_empty());
    let lines: String = lines.map(|(code, meaning)| format!("\n  {code}  {meaning}")).collect();
    format!("Exit codes:{lines}")
}

/// How the name of every environment variable begins.
const PREFIX: &str = "IAM_KEY_EXPORTER_";

/// The environment variable of a flag: `--web.listen-address` is `IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS`.
pub fn environment_variable(flag: &str) -> String {
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

/// The status page may link to this. Other schemes could run code in a reader's browser.
fn url(text: &str) -> Result<String, &'static str> {
    let is_blank = |c: char| c.is_whitespace() || c.is_control();
    match text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
        Some(rest) if !rest.is_empty() && !rest.contains(is_blank) => Ok(text.to_owned()),
        _ => Err("must begin with https:// or http:// and have no blanks"),
    }
}

/// Links add the section.
fn runbook_url(text: &str) -> Result<String, &'static str> {
    if text.contains('#') { Err("must have no part after #") } else { url(text) }
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
