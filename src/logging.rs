//! Logs: one line for each event on stderr, as logfmt or JSON, without the secrets that are known.

use clap::ValueEnum;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::secrets::MaskedStderr;

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value`, as Prometheus writes it.
    Logfmt,
    /// One JSON object.
    Json,
}

/// Sets up logging for the whole process. Call it once.
pub fn init(level: Level, format: LogFormat) {
    // Libraries do not log: each failure is logged once, by the code that handles it, and an SDK's
    // debug output may hold secrets.
    let ours =
        Targets::new().with_target(env!("CARGO_CRATE_NAME"), level).with_default(LevelFilter::OFF);
    let layer = match format {
        LogFormat::Logfmt => tracing_logfmt::builder()
            .with_target(false)
            .layer()
            .with_writer(|| MaskedStderr)
            .boxed(),
        LogFormat::Json => tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_target(false)
            .with_writer(|| MaskedStderr)
            .boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(ours)).init();
}
