//! The build, from `build.rs`: for `--version`, the log and the metrics.

use std::env::consts::{ARCH, OS};

use chrono::{DateTime, SecondsFormat};

/// The version in Cargo.toml.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit, with `-modified` if the sources differ from it. `unknown` without git.
pub const REVISION: &str = env!("BUILD_REVISION");
/// The compiler's version.
pub const RUSTC: &str = env!("BUILD_RUSTC");

/// The text that `--version` prints after the program's name.
pub fn long() -> String {
    let time = env!("BUILD_TIME").parse().ok().and_then(|time| DateTime::from_timestamp(time, 0));
    let date =
        time.map_or("unknown".to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    format!(
        "{VERSION}\n  revision:   {REVISION}\n  build date: {date}\n  rustc:      {RUSTC}\n  platform:   {OS}/{ARCH}"
    )
}
