//! Which connections are open, and which of them is closed when there are too many.
//!
//! A connection waits for the head of a request (a TLS handshake is part of this wait, and so is the
//! check of a password), waits in a queue, works on an answer, or sends it. If there is no place for a
//! new one, the connection that has waited longest is closed. If none waits, the answer that was sent
//! for longest is cut off, if it began a while ago: its reader is slow. So clients that say nothing, ask
//! for too much or read nothing keep nobody out.
//!
//! A few places above the limit are for health checks. The path of a request is known only after a
//! connection was accepted, so anything else gets a 503 there.
//!
//! `limits` has the numbers, and `table` the open connections.

mod limits;
mod table;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

pub use limits::Limits;
pub use table::Held;
use table::{Answer, Crowded, OpenConnection, Stage, Table};

use super::rate::network;
use crate::metrics::exporter::{ExporterMetrics, Refusal};

/// The bytes that slow readers may keep in memory besides the newest page, if that is smaller.
pub const MIN_HELD: usize = 16 << 20;
/// The log mentions that there are too many connections at most this often.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// The places of all connections.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    metrics: ExporterMetrics,
    table: Mutex<Table>,
}

impl Places {
    /// No connections yet.
    pub fn new(limits: Limits, metrics: ExporterMetrics) -> Places {
        Places { limits, metrics, table: Mutex::default() }
    }

    /// A place for a connection of this peer. `None` if every other is busy with an answer.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Arc<Place>> {
        let peer = network(peer);
        let close = Arc::new(Notify::new());
        let id = self.change(|table| {
            let limits = self.limits;
            let kinds = [
                (false, limits.connections, limits.of_one_peer),
                (true, limits.health, limits.health_of_one_peer),
            ];
            let found = kinds.into_iter().find(|&(is_extra, max, max_of_peer)| {
                let of_peer = |it: &OpenConnection| it.is_extra == is_extra && it.peer == peer;
                self.make_room(table, max_of_peer, of_peer)
                    && self.make_room(table, max, |it| it.is_extra == is_extra)
            });
            let Some((is_extra, ..)) = found else {
                self.refuse(table, peer);
                return None;
            };
            let id = table.next_id();
            let connection = OpenConnection {
                peer,
                is_extra,
                stage: Stage::Waiting,
                since: Instant::now(),
                answers: Vec::new(),
                close: close.clone(),
            };
            table.connections.insert(id, connection);
            Some(id)
        })?;
        Some(Arc::new(Place { id, peer, close, places: self.clone() }))
    }

    /// Closes the connection that has waited longest, if any can be closed: the process may have run
    /// out of file descriptors.
    pub fn close_one(&self) -> bool {
        self.change(|table| {
            let all = table.connections.len();
            self.make_room(table, all, |_| true)
        })
    }

    /// Whether there are fewer than `max` of these connections, or one could be closed.
    fn make_room(
        &self,
        table: &mut Table,
        max: usize,
        counts: impl Fn(&OpenConnection) -> bool,
    ) -> bool {
        let counted = table.connections.iter().filter(|(_, it)| counts(it));
        if counted.clone().count() < max {
            return true;
        }
        let now = Instant::now();
        let first = counted
            .filter(|(_, it)| it.can_be_closed(now))
            .min_by_key(|(_, it)| (it.stage, it.since))
            .map(|(id, _)| *id);
        first.is_some_and(|id| {
            self.close(table, id);
            true
        })
    }

    fn close(&self, table: &mut Table, id: u64) {
        if let Some(OpenConnection { peer, close, .. }) = table.connections.remove(&id) {
            close.notify_one();
            self.refuse(table, peer);
        }
    }

    /// Of the readers of these bytes cuts off the slowest, and all who share bytes with it: the bytes go
    /// when all of their readers have gone. Whether any is slow.
    fn cut_off_slowest(&self, table: &mut Table, bytes: &HashMap<usize, usize>) -> bool {
        let now = Instant::now();
        let slowest = table
            .connections
            .values()
            .filter(|it| it.stage == Stage::Sending && it.can_be_closed(now))
            .filter(|it| it.held().any(|held| bytes.contains_key(&held.id)))
            .min_by_key(|it| it.since);
        let Some(slowest) = slowest else { return false };
        let ids: HashSet<usize> = slowest.held().map(|held| held.id).collect();
        let readers = table.connections.iter();
        let readers = readers.filter(|(_, it)| it.held().any(|held| ids.contains(&held.id)));
        let readers: Vec<u64> = readers.map(|(id, _)| *id).collect();
        readers.into_iter().for_each(|id| self.close(table, id));
        true
    }

    fn refuse(&self, table: &mut Table, peer: IpAddr) {
        self.metrics.count_refusal(Refusal::Connections);
        if table.logged.is_none_or(|logged| logged.elapsed() >= LOG_PAUSE) {
            table.logged = Some(Instant::now());
            table.to_log = Some(Crowded { peer, open: table.connections.len() });
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table.lock().expect("nothing panics while it is locked");
        let result = change(&mut table);
        let to_log = table.to_log.take();
        drop(table);
        // A log that nobody reads can block the one who writes it, but not all others.
        if let Some(Crowded { peer, open }) = to_log {
            warn!(%peer, open, "too many connections: those that wait longest are closed");
        }
        result
    }
}

/// The place of one connection. Dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    id: u64,
    /// The address of the other side, of IPv6 its network.
    peer: IpAddr,
    close: Arc<Notify>,
    places: Arc<Places>,
}

impl Place {
    /// Completes when the place is taken away. Then the connection must be closed.
    pub async fn taken(&self) {
        self.close.notified().await;
    }

    /// Completes when the connection has waited for request headers for this time.
    pub async fn waited(&self, time: Duration) {
        loop {
            let since = self.waits_since().unwrap_or_else(Instant::now);
            if since.elapsed() >= time {
                return;
            }
            sleep_until(since + time).await;
        }
    }

    /// `None` while a response is made or sent.
    pub fn waits_since(&self) -> Option<Instant> {
        self.update(|connection| connection.answers.is_empty().then_some(connection.since))
            .flatten()
    }

    /// A head is there.
    pub fn begin(self: &Arc<Self>) -> Answering {
        let id = self.places.change(|table| {
            let id = table.next_id();
            if let Some(connection) = table.connections.get_mut(&self.id) {
                connection.answers.push(Answer { id, waits_for: None, held: None });
            }
            id
        });
        Answering { id, place: self.clone() }
    }

    /// Whether this connection may make other requests than health checks: it is within the limit,
    /// or a place became free.
    pub fn is_regular(&self) -> bool {
        self.places.change(|table| {
            let is_extra = table.connections.get(&self.id).is_some_and(|it| it.is_extra);
            if !is_extra {
                return true;
            }
            let Limits { connections, of_one_peer, .. } = self.places.limits;
            let of_peer = |it: &OpenConnection| !it.is_extra && it.peer == self.peer;
            let is_free = self.places.make_room(table, of_one_peer, of_peer)
                && self.places.make_room(table, connections, |it| !it.is_extra);
            match table.connections.get_mut(&self.id) {
                Some(connection) if is_free => connection.is_extra = false,
                _ => self.places.refuse(table, self.peer),
            }
            is_free
        })
    }

    /// Bytes are being sent.
    pub fn sending(&self) {
        self.update(|connection| {
            if connection.stage == Stage::Working {
                connection.enter(Stage::Sending);
            }
        });
    }

    /// `None` after the place was taken away.
    fn update<T>(&self, change: impl FnOnce(&mut OpenConnection) -> T) -> Option<T> {
        self.places.change(|table| table.connections.get_mut(&self.id).map(change))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.change(|table| table.connections.remove(&self.id));
    }
}

/// Exists from a request's headers until the whole response was sent.
#[derive(Debug)]
pub struct Answering {
    id: u64,
    /// The connection's.
    pub place: Arc<Place>,
}

impl Answering {
    /// The client may come in.
    pub fn work(&self) {
        self.place.update(|connection| {
            if connection.stage == Stage::Waiting {
                connection.enter(Stage::Working);
            }
        });
    }

    /// Waits for a turn, if there is room in the queue. Meanwhile the connection can be closed for
    /// others. `wanted` is the same for requests that one turn is enough for: they count as one.
    pub async fn queue<T>(&self, wanted: u64, turn: impl Future<Output = T>) -> Option<T> {
        let Place { id, peer, places, .. } = &*self.place;
        let Limits { queued, queued_of_one_peer, .. } = places.limits;
        let has_room = places.change(|table| {
            let has_room = table.has_room(wanted, queued_of_one_peer, |it| it.peer == *peer)
                && table.has_room(wanted, queued, |_| true);
            if let Some(connection) = table.connections.get_mut(id).filter(|_| has_room) {
                self.wait_for(connection, Some(wanted));
            }
            has_room
        });
        if !has_room {
            return None;
        }
        let _queued = Queued(self);
        Some(turn.await)
    }

    fn wait_for(&self, connection: &mut OpenConnection, wanted: Option<u64>) {
        connection.update(self.id, |answer| answer.waits_for = wanted);
        let is_queued = connection.waits_for().next().is_some();
        match connection.stage {
            Stage::Working if is_queued => connection.enter(Stage::Queued),
            Stage::Queued if !is_queued => connection.enter(Stage::Working),
            _ => {}
        }
    }

    /// Records that the response keeps these bytes in memory. `newest` is the page that is there
    /// anyway. If all answers together keep more than `max` bytes besides it, the slowest are cut
    /// off. If that does not help, returns false.
    pub fn hold(&self, held: Held, newest: usize, max: usize) -> bool {
        let Place { id, peer, places, .. } = &*self.place;
        let is_free = held.id == newest;
        let bytes = if is_free { 0 } else { held.bytes };
        places.change(|table| {
            loop {
                let all = table.connections.values().flat_map(OpenConnection::held);
                let mut others: HashMap<usize, usize> = all.map(|it| (it.id, it.bytes)).collect();
                others.retain(|id, _| ![newest, held.id].contains(id));
                if others.is_empty() || others.values().sum::<usize>() + bytes <= max {
                    break;
                }
                if places.cut_off_slowest(table, &others) {
                    continue;
                }
                if is_free {
                    break;
                }
                places.refuse(table, *peer);
                return false;
            }
            if let Some(connection) = table.connections.get_mut(id) {
                connection.update(self.id, |answer| answer.held = Some(held));
            }
            true
        })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.place.update(|connection| {
            connection.answers.retain(|answer| answer.id != self.id);
            if connection.answers.is_empty() {
                connection.enter(Stage::Waiting);
            }
        });
    }
}

/// The request waits for its turn.
struct Queued<'a>(&'a Answering);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let Queued(answering) = *self;
        answering.place.update(|connection| answering.wait_for(connection, None));
    }
}

#[cfg(test)]
mod tests;
