//! Refused connections and requests: counted by reason, and logged with the client's address.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::rate::network;
use crate::metrics::exporter::{ExporterMetrics, Refusal};

/// Of an address (of IPv6, a network) and a reason one line in this time is a warning, and further ones
/// are at level debug. Otherwise anybody who reaches the port could fill the log.
const QUIET: Duration = Duration::from_secs(60);
/// The number of warnings in that time. After the last, a line says that the others are at level debug.
const MAX_WARNINGS: usize = 100;

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
        match self.remember(refusal, peer.ip(), Instant::now()) {
            None => debug!(%peer, reason, user, fault, "refused"),
            Some(number) => {
                warn!(%peer, reason, user, fault, "refused");
                if number == MAX_WARNINGS {
                    warn!("many clients are refused: the others are logged at level debug");
                }
            }
        }
    }

    /// The number of the warning in this time, counted from 1. `None`: there is to be none.
    fn remember(&self, refusal: Refusal, peer: IpAddr, now: Instant) -> Option<usize> {
        let peer = network(peer);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |at: &Instant| now.duration_since(*at) < QUIET;
        if warned.get(&(peer, refusal)).is_some_and(is_recent) {
            return None;
        }
        warned.retain(|_, at| is_recent(at));
        if warned.len() >= MAX_WARNINGS {
            return None;
        }
        warned.insert((peer, refusal), now);
        Some(warned.len())
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
            let now = start + Duration::from_secs(seconds);
            refusals.remember(refusal, peer, now).is_some()
        };
        assert!(is_news(Refusal::Password, a, 0));
        assert!(!is_news(Refusal::Password, a, 59));
        assert!(is_news(Refusal::Password, b, 59));
        assert!(is_news(Refusal::Rate, a, 59));
        assert!(is_news(Refusal::Password, a, 60));
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_have_one_warning() {
        let refusals = Refusals::new(ExporterMetrics::new(Filter::default(), []));
        let hosts = (0..10).map(|host| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]));
        let now = Instant::now();
        let warnings = hosts.filter_map(|peer| refusals.remember(Refusal::Password, peer, now));
        assert_eq!(warnings.collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn many_addresses_do_not_fill_the_log_or_the_memory() {
        let refusals = Refusals::new(ExporterMetrics::new(Filter::default(), []));
        let now = Instant::now();
        let peers = (0..3 * MAX_WARNINGS as u32).map(|number| IpAddr::V4(number.into()));
        let warnings = peers.filter_map(|peer| refusals.remember(Refusal::Rate, peer, now));
        assert_eq!(warnings.last(), Some(MAX_WARNINGS));
        let later = now + QUIET;
        let again = refusals.remember(Refusal::Rate, IpAddr::from([9, 9, 9, 9]), later);
        assert_eq!(again, Some(1));
        assert_eq!(refusals.warned.lock().expect("a lock").len(), 1);
    }
}
