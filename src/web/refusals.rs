//! Refused connections and requests: counted by reason, and logged with the client's address.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use crate::metrics::exporter::{ExporterMetrics, Refusal};

/// Within this time, only the first line for an address and a reason is a warning. More are at
/// level debug, so that clients cannot fill the log.
const QUIET: Duration = Duration::from_secs(60);
/// The number of addresses with a warning in that time. All further lines are at level debug.
const MAX_WARNINGS: usize = 1_000;

/// Counts and logs.
#[derive(Debug)]
pub struct Refusals {
    metrics: ExporterMetrics,
    warned: Mutex<HashMap<(IpAddr, Refusal), Instant>>,
}

impl Refusals {
    /// Counts in these metrics.
    pub fn new(metrics: ExporterMetrics) -> Refusals {
        Refusals { metrics, warned: Mutex::default() }
    }

    /// Counts and logs a refusal. `user` must be a configured one.
    pub fn record(&self, refusal: Refusal, peer: SocketAddr, user: Option<&str>, fault: &str) {
        self.metrics.count_refusal(refusal);
        let reason = refusal.as_str();
        if self.is_news(refusal, peer.ip(), Instant::now()) {
            warn!(%peer, reason, user, fault, "refused");
        } else {
            debug!(%peer, reason, user, fault, "refused");
        }
    }

    fn is_news(&self, refusal: Refusal, peer: IpAddr, now: Instant) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.duration_since(*at) < QUIET;
        if warned.get(&(peer, refusal)).is_some_and(is_recent) {
            return false;
        }
        if warned.len() >= MAX_WARNINGS {
            warned.retain(|_, at| is_recent(at));
        }
        if warned.len() >= MAX_WARNINGS {
            return false;
        }
        warned.insert((peer, refusal), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::filter::Filter;

    #[test]
    fn one_line_a_minute_for_each_address_and_reason_is_a_warning() {
        let refusals = Refusals::new(ExporterMetrics::new(Filter::default(), []));
        let (start, [a, b]) = (Instant::now(), [1, 2].map(|n| IpAddr::from([10, 0, 0, n])));
        let is_news = |refusal, peer, seconds| {
            refusals.is_news(refusal, peer, start + Duration::from_secs(seconds))
        };
        assert!(is_news(Refusal::Password, a, 0));
        assert!(!is_news(Refusal::Password, a, 59));
        assert!(is_news(Refusal::Password, b, 59));
        assert!(is_news(Refusal::Rate, a, 59));
        assert!(is_news(Refusal::Password, a, 60));
    }

    #[test]
    fn many_addresses_do_not_fill_the_log_or_the_memory() {
        let refusals = Refusals::new(ExporterMetrics::new(Filter::default(), []));
        let now = Instant::now();
        let peers = (0..3 * MAX_WARNINGS as u32).map(|number| IpAddr::V4(number.into()));
        let warnings = peers.filter(|peer| refusals.is_news(Refusal::Rate, *peer, now)).count();
        assert_eq!(warnings, MAX_WARNINGS);
        let later = now + QUIET;
        assert!(refusals.is_news(Refusal::Rate, IpAddr::from([9, 9, 9, 9]), later));
        assert_eq!(refusals.warned.lock().expect("a lock").len(), 1);
    }
}
