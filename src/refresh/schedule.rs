//! When an account is refreshed: once in each interval, and how long to wait after a failure.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;

use crate::failure::Reason;
use crate::shard::Shard;

/// When accounts are refreshed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Each account is refreshed once in this time.
    pub interval: Duration,
    /// A refresh that takes longer fails.
    pub timeout: Duration,
    /// The shortest pause after a failure.
    pub min_pause: Duration,
    /// The longest pause after throttling. After other failures it is `interval`, if that is
    /// shorter.
    pub max_pause: Duration,
    /// The number of refreshes that run at the same time, if they do not call AWS.
    pub concurrency: usize,
    /// Which of the accounts this process refreshes.
    pub shard: Shard,
}

impl Default for Schedule {
    /// The defaults of the command line.
    fn default() -> Schedule {
        Schedule {
            interval: Duration::from_secs(5 * 60),
            timeout: Duration::from_secs(2 * 60),
            min_pause: Duration::from_secs(60),
            max_pause: Duration::from_secs(15 * 60),
            concurrency: 32,
            shard: Shard::default(),
        }
    }
}

impl Schedule {
    /// How long to wait after this number of failures in a row, the last one for this reason: a random
    /// time between the shortest pause and a ceiling that doubles with each failure. If AWS asks for
    /// fewer calls, the ceiling is at most `max_pause`, else at most `interval`, and never below the
    /// shortest pause.
    pub fn pause(&self, failures: u32, reason: Reason) -> Duration {
        let max =
            if reason.is_overload() { self.max_pause } else { self.interval.min(self.max_pause) };
        let ceiling = self.min_pause.saturating_mul(1 << failures.min(16));
        let ceiling = ceiling.min(max).max(self.min_pause);
        rand::rng().random_range(self.min_pause..=ceiling)
    }

    /// The next regular refresh of this account after `now`, of a schedule that began at `start`.
    pub(super) fn next(&self, key: &str, start: Instant, now: Instant) -> Instant {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let interval = self.interval.as_nanos().max(1) as u64;
        let phase = hasher.finish() % interval;
        let elapsed = now.duration_since(start).as_nanos() as u64;
        let wait = match phase.checked_sub(elapsed % interval) {
            Some(wait) if wait > 0 => wait,
            _ => phase + interval - elapsed % interval,
        };
        now + Duration::from_nanos(wait)
    }
}
