//! When tests begin, and a clock for paused time.

use chrono::{DateTime, Utc};
use iam_key_exporter::clock::Clock;
use tokio::time::Instant;

/// When the tests begin.
pub fn beginning() -> DateTime<Utc> {
    "2026-11-01T12:00:00Z".parse().expect("a time")
}

/// A clock that goes with tokio's.
pub fn clock() -> Clock {
    let start = Instant::now();
    Clock::new(move || beginning() + start.elapsed())
}
