//! The flags of commands that have several.

use std::path::PathBuf;

use clap::Args;

use crate::check;
use crate::controls::Benchmark;

/// Flags of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckFlags {
    /// Output format.
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub format: check::OutputFormat,
    /// Which keys to print. The exit code depends on the unrotated ones only.
    #[arg(long, value_enum, default_value = "unrotated", value_name = "KEYS")]
    pub show: check::Show,
    /// Instead of keys, print the controls of the CIS AWS Foundations benchmark with their findings.
    /// With --show all also the controls that pass.
    #[arg(long)]
    pub controls: bool,
    /// Version of the benchmark. [default: as in the configuration file, or the newest]
    #[arg(long, value_enum, value_name = "VERSION", requires = "controls")]
    pub benchmark: Option<Benchmark>,
}

/// Flags of `health`.
#[derive(Debug, Clone, Args)]
pub struct HealthFlags {
    /// Check instead whether the exporter has tried every account once.
    #[arg(long)]
    pub ready: bool,
    /// Certificate to present, if the exporter requires one of its clients.
    #[arg(long, value_name = "PATH", requires = "client_key")]
    pub client_cert: Option<PathBuf>,
    /// Private key of this certificate.
    #[arg(long, value_name = "PATH", requires = "client_cert")]
    pub client_key: Option<PathBuf>,
}
