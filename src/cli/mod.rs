//! The command line: the program and its commands, and what the environment says of them.

mod commands;
mod environment;
pub mod exit_codes;
mod flags;
pub mod pages;
mod values;

use std::collections::BTreeSet;
use std::env;
use std::path::PathBuf;

use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use tracing::Level;

use crate::version;
pub use commands::{CheckFlags, HealthFlags};
use environment::PREFIX;
pub use environment::environment_variable;
use exit_codes::exit_help;
pub use flags::Flags;

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
    Check(CheckFlags),
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
    Health(HealthFlags),
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
