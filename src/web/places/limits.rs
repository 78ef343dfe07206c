//! How many connections there may be.

/// The number of connections, unless there are too few file descriptors.
const MAX_CONNECTIONS: usize = 256;

/// Limits on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// At the same time.
    pub connections: usize,
    /// The number of these that one network may have.
    pub of_one_peer: usize,
    /// Additional connections for health checks.
    pub health: usize,
    /// The number of those that one network may have.
    pub health_of_one_peer: usize,
    /// Different things that requests may wait for in a queue.
    pub queued: usize,
    /// The number of these that one network may have.
    pub queued_of_one_peer: usize,
}

impl Limits {
    /// Those of the listener for health checks alone.
    pub const OF_HEALTH: Limits = Limits {
        connections: MAX_CONNECTIONS / 16,
        of_one_peer: MAX_CONNECTIONS / 32,
        health: 0,
        health_of_one_peer: 0,
        queued: 0,
        queued_of_one_peer: 0,
    };

    /// The limits of a process that may open this many files. At least half of them remain for AWS,
    /// files and the rest.
    pub fn new(descriptors: u64) -> Limits {
        let max = MAX_CONNECTIONS + MAX_CONNECTIONS / 16;
        let all = usize::try_from(descriptors / 2).unwrap_or(max).clamp(17, max);
        let health = all / 17;
        let connections = all - health;
        Limits {
            connections,
            of_one_peer: connections / 4,
            health,
            health_of_one_peer: health.div_ceil(4),
            queued: connections.div_ceil(8),
            queued_of_one_peer: connections.div_ceil(32),
        }
    }
}
