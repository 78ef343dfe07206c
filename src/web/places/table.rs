//! The open connections, and what each of them does.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// An answer that was sent for longer can be cut off for others.
pub(super) const SLOW: Duration = Duration::from_secs(2);

/// All of them, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The number of the next connection or answer.
    pub(super) next: u64,
    pub(super) connections: HashMap<u64, OpenConnection>,
    pub(super) logged: Option<Instant>,
    /// To be logged when the table is not locked any more.
    pub(super) to_log: Option<Crowded>,
}

/// There are too many connections.
#[derive(Debug)]
pub(super) struct Crowded {
    /// Whose connection was refused or closed.
    pub(super) peer: IpAddr,
    pub(super) open: usize,
}

/// One of them.
#[derive(Debug)]
pub(super) struct OpenConnection {
    /// Of IPv6 the network.
    pub(super) peer: IpAddr,
    /// Whether it is above the limit.
    pub(super) is_extra: bool,
    pub(super) stage: Stage,
    /// When the stage began.
    pub(super) since: Instant,
    /// Those that are not sent yet. HTTP/2 can have several.
    pub(super) answers: Vec<Answer>,
    pub(super) close: Arc<Notify>,
}

/// The answer to one request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: u64,
    /// What the request waits for in a queue.
    pub(super) waits_for: Option<u64>,
    pub(super) held: Option<Held>,
}

/// Connections are closed in this order to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Waiting,
    Queued,
    Sending,
    Working,
}

/// Bytes that stay in memory until they are sent. Several responses can share them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// The same for all answers that share them.
    pub id: usize,
    /// How many.
    pub bytes: usize,
}

impl Table {
    pub(super) fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether there are fewer than `max` things that these connections wait for, or this is one of them.
    pub(super) fn has_room(
        &self,
        id: u64,
        max: usize,
        counts: impl Fn(&OpenConnection) -> bool,
    ) -> bool {
        let counted = self.connections.values().filter(|it| counts(it));
        let queued: HashSet<u64> = counted.flat_map(OpenConnection::waits_for).collect();
        queued.len() < max || queued.contains(&id)
    }
}

impl OpenConnection {
    pub(super) fn can_be_closed(&self, now: Instant) -> bool {
        match self.stage {
            Stage::Waiting | Stage::Queued => true,
            Stage::Sending => now - self.since >= SLOW,
            Stage::Working => false,
        }
    }

    pub(super) fn enter(&mut self, stage: Stage) {
        (self.stage, self.since) = (stage, Instant::now());
    }

    pub(super) fn update(&mut self, id: u64, change: impl FnOnce(&mut Answer)) {
        if let Some(answer) = self.answers.iter_mut().find(|answer| answer.id == id) {
            change(answer);
        }
    }

    pub(super) fn waits_for(&self) -> impl Iterator<Item = u64> {
        self.answers.iter().filter_map(|answer| answer.waits_for)
    }

    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        self.answers.iter().filter_map(|answer| answer.held)
    }
}
