//! `rate_limit`: how many requests an address may make.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Each address may make `burst` requests at once, and one more after each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    interval: Duration,
    burst: u32,
}

impl RateLimit {
    /// `burst` is 1 or more.
    pub fn new(interval: Duration, burst: u32) -> RateLimit {
        RateLimit { interval, burst }
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RateLimit { interval, burst } = self;
        let interval = humantime::format_duration(*interval);
        write!(f, "each address may make {burst} requests, and one more every {interval}")
    }
}

/// Half the number of addresses that are remembered, about 1 MB. If there are more, those that were not
/// seen for longest may make a burst again.
const MAX_ADDRESSES: usize = 10_000;

/// The recent requests of each address.
#[derive(Debug, Default)]
pub struct Rates(Mutex<Addresses>);

/// When the requests of each address will be paid for, by the limit.
#[derive(Debug, Default)]
struct Addresses {
    /// The limit by which they were counted.
    limit: Option<RateLimit>,
    newer: HashMap<IpAddr, Instant>,
    older: HashMap<IpAddr, Instant>,
}

impl Rates {
    /// Counts a request. If it is one too many, returns how long to wait before the next.
    pub fn admit(&self, peer: IpAddr, limit: RateLimit, now: Instant) -> Result<(), Duration> {
        let peer = network(peer);
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if addresses.limit != Some(limit) {
            // A new limit starts without history.
            *addresses = Addresses { limit: Some(limit), ..Addresses::default() };
        }
        let Addresses { newer, older, .. } = &mut *addresses;
        let paid = newer.get(&peer).or(older.get(&peer)).copied().unwrap_or(now).max(now);
        let after = paid.checked_add(limit.interval);
        let allowance = limit.interval.saturating_mul(limit.burst);
        let Some(after) = after else { return Err(limit.interval) }; // beyond the clock's range
        if after - now > allowance {
            return Err(after - now - allowance);
        }
        if newer.len() >= MAX_ADDRESSES {
            *older = mem::take(newer);
        }
        newer.insert(peer, after);
        Ok(())
    }
}

/// The address to count by. For IPv6 the network of 64 bits, because a client can use all of its
/// addresses.
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { interval: Duration::from_secs(2), burst: 3 };

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_burst_passes_and_then_one_request_each_interval() {
        let (rates, start) = (Rates::default(), Instant::now());
        let ask = |seconds| {
            rates.admit(address("10.0.0.1"), LIMIT, start + Duration::from_secs_f64(seconds))
        };
        assert_eq!([ask(0.0), ask(0.0), ask(0.0)], [Ok(()); 3]);
        assert_eq!(ask(0.5), Err(Duration::from_millis(1_500)));
        assert_eq!(ask(2.0), Ok(()));
        assert_eq!(ask(2.0), Err(Duration::from_secs(2)));
        assert_eq!([ask(100.0), ask(100.0), ask(100.0)], [Ok(()); 3]);
        assert!(ask(100.0).is_err());
    }

    #[test]
    fn a_new_limit_counts_from_its_beginning() {
        let (rates, now) = (Rates::default(), Instant::now());
        let hourly = RateLimit::new(Duration::from_secs(3600), 1);
        let ask = |limit| rates.admit(address("10.0.0.1"), limit, now);
        assert_eq!((ask(hourly), ask(hourly).is_err()), (Ok(()), true));
        assert_eq!([ask(LIMIT), ask(LIMIT), ask(LIMIT)], [Ok(()); 3]);
        assert!(ask(LIMIT).is_err());
    }

    #[test]
    fn addresses_do_not_share_a_limit_but_those_of_one_ipv6_network_do() {
        let (rates, now) = (Rates::default(), Instant::now());
        let one = RateLimit::new(Duration::from_secs(1), 1);
        for (peer, is_admitted) in [
            ("10.0.0.1", true),
            ("10.0.0.2", true),
            ("::ffff:10.0.0.1", false),
            ("2001:db8::1", true),
            ("2001:db8::ffff:1", false),
            ("2001:db8:0:1::1", true),
        ] {
            assert_eq!(rates.admit(address(peer), one, now).is_ok(), is_admitted, "{peer}");
        }
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let (rates, now) = (Rates::default(), Instant::now());
        for number in 0..5 * MAX_ADDRESSES as u32 {
            rates.admit(IpAddr::V4(number.into()), LIMIT, now).expect("the first of an address");
        }
        let addresses = rates.0.lock().expect("a lock");
        assert!(addresses.newer.len() + addresses.older.len() <= 2 * MAX_ADDRESSES);
    }

    #[test]
    fn the_longest_interval_is_a_limit_too() {
        let (rates, now) = (Rates::default(), Instant::now());
        let longest = Duration::from_nanos(i64::MAX.cast_unsigned());
        let limit = RateLimit::new(longest, 1);
        assert_eq!(rates.admit(address("10.0.0.1"), limit, now), Ok(()));
        assert_eq!(rates.admit(address("10.0.0.1"), limit, now), Err(longest));
        let limit = RateLimit::new(longest, u32::MAX);
        assert_eq!(rates.admit(address("10.0.0.1"), limit, now), Ok(()));
    }
}
