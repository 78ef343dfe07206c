//! Which connections are open, and which of them is closed when there are too many.
//!
//! A connection waits for the head of a request (a TLS handshake is part of this wait, and so is the
//! check of a password), works on an answer, or sends it. If there is no place for a new one, the
//! connection that has waited longest is closed. If none waits, the answer that was sent for longest is
//! cut off, if it began a while ago: its reader is slow. So clients that say nothing or read nothing keep
//! nobody out.
//!
//! A few places above the limit are for health checks. The path of a request is known only after a
//! connection was accepted, so anything else gets a 503 there.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::metrics::exporter::{ExporterMetrics, Refusal};

/// The number of connections, unless there are too few file descriptors.
pub const MAX_CONNECTIONS: usize = 256;
/// An answer that was sent for longer can be cut off for others.
pub const SLOW: Duration = Duration::from_secs(2);
/// The bytes that slow readers may keep in memory besides the newest page, if that is smaller.
pub const MIN_HELD: usize = 16 << 20;
/// The log mentions that there are too many connections at most this often.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// Limits on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// At the same time.
    pub connections: usize,
    /// The number of these that one peer address may have.
    pub of_one_peer: usize,
    /// Additional connections for health checks.
    pub health: usize,
    /// The number of those that one peer address may have.
    pub health_of_one_peer: usize,
}

impl Limits {
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
        }
    }
}

/// The places of all connections.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    metrics: ExporterMetrics,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    connections: HashMap<u64, OpenConnection>,
    logged: Option<Instant>,
}

#[derive(Debug)]
struct OpenConnection {
    peer: IpAddr,
    /// Whether it is above the limit.
    is_extra: bool,
    stage: Stage,
    /// When the stage began.
    since: Instant,
    /// Answers that are not sent yet.
    answers: usize,
    held: Vec<Held>,
    close: Arc<Notify>,
}

/// Connections are closed in this order to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Waiting,
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

impl Places {
    /// No connections yet.
    pub fn new(limits: Limits, metrics: ExporterMetrics) -> Places {
        Places { limits, metrics, table: Mutex::default() }
    }

    /// A place for a connection of this peer. `None` if every other is busy with an answer.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Arc<Place>> {
        let mut table = self.lock();
        let limits = self.limits;
        let extra = [
            (false, limits.connections, limits.of_one_peer),
            (true, limits.health, limits.health_of_one_peer),
        ];
        let found = extra.into_iter().find(|&(is_extra, max, max_of_peer)| {
            let of_peer = |it: &OpenConnection| it.is_extra == is_extra && it.peer == peer;
            self.make_room(&mut table, max_of_peer, of_peer)
                && self.make_room(&mut table, max, |it| it.is_extra == is_extra)
        });
        let Some((is_extra, ..)) = found else {
            self.refuse(&mut table, peer);
            return None;
        };
        let close = Arc::new(Notify::new());
        let id = table.next;
        table.next += 1;
        let connection = OpenConnection {
            peer,
            is_extra,
            stage: Stage::Waiting,
            since: Instant::now(),
            answers: 0,
            held: Vec::new(),
            close: close.clone(),
        };
        table.connections.insert(id, connection);
        drop(table);
        Some(Arc::new(Place { id, peer, close, places: self.clone() }))
    }

    /// Closes the connection that has waited longest, if any can be closed: the process may have run
    /// out of file descriptors.
    pub fn close_one(&self) -> bool {
        let mut table = self.lock();
        let all = table.connections.len();
        self.make_room(&mut table, all, |_| true)
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

    fn refuse(&self, table: &mut Table, peer: IpAddr) {
        self.metrics.count_refusal(Refusal::Connections);
        if table.logged.is_none_or(|logged| logged.elapsed() >= LOG_PAUSE) {
            table.logged = Some(Instant::now());
            let open = table.connections.len();
            warn!(%peer, open, "too many connections: those that wait longest are closed");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics while it is locked")
    }
}

impl OpenConnection {
    fn can_be_closed(&self, now: Instant) -> bool {
        match self.stage {
            Stage::Waiting => true,
            Stage::Sending => now - self.since >= SLOW,
            Stage::Working => false,
        }
    }

    fn enter(&mut self, stage: Stage) {
        (self.stage, self.since) = (stage, Instant::now());
    }
}

/// The place of one connection. Dropping it frees the place.
#[derive(Debug)]
pub struct Place {
    id: u64,
    /// The address of the other side.
    pub peer: IpAddr,
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
        let table = self.places.lock();
        let connection = table.connections.get(&self.id).filter(|it| it.answers == 0);
        connection.map(|it| it.since)
    }

    /// A head is there.
    pub fn begin(self: &Arc<Self>) -> Answering {
        self.update(|connection| connection.answers += 1);
        Answering(self.clone())
    }

    /// Whether this connection may make other requests than health checks: it is within the limit,
    /// or a place became free.
    pub fn is_regular(&self) -> bool {
        let mut table = self.places.lock();
        let is_extra =
            |table: &Table| table.connections.get(&self.id).is_some_and(|it| it.is_extra);
        if !is_extra(&table) {
            return true;
        }
        let Limits { connections, of_one_peer, .. } = self.places.limits;
        let of_peer = |it: &OpenConnection| !it.is_extra && it.peer == self.peer;
        let is_free = self.places.make_room(&mut table, of_one_peer, of_peer)
            && self.places.make_room(&mut table, connections, |it| !it.is_extra);
        match table.connections.get_mut(&self.id) {
            Some(connection) if is_free => connection.is_extra = false,
            _ => self.places.refuse(&mut table, self.peer),
        }
        is_free
    }

    /// Records that the response keeps these bytes in memory. `newest` is the page that is there
    /// anyway. If all answers together keep more than `max` bytes besides it, the slowest are cut
    /// off. If that does not help, returns false.
    pub fn hold(&self, held: Held, newest: usize, max: usize) -> bool {
        let mut table = self.places.lock();
        let is_free = held.id == newest;
        loop {
            let mut others: HashMap<usize, usize> = HashMap::new();
            let all = table.connections.values().flat_map(|it| &it.held);
            others.extend(all.map(|it| (it.id, it.bytes)));
            others.retain(|id, _| ![newest, held.id].contains(id));
            let bytes: usize = others.values().sum();
            if others.is_empty() || bytes + if is_free { 0 } else { held.bytes } <= max {
                break;
            }
            let now = Instant::now();
            let slowest = table
                .connections
                .values()
                .filter(|it| it.stage == Stage::Sending && it.can_be_closed(now))
                .filter(|it| it.held.iter().any(|held| others.contains_key(&held.id)))
                .min_by_key(|it| it.since);
            let Some(slowest) = slowest else {
                if is_free {
                    break;
                }
                self.places.refuse(&mut table, self.peer);
                return false;
            };
            // The bytes go when all of their readers have gone.
            let ids: HashSet<usize> = slowest.held.iter().map(|held| held.id).collect();
            let readers: Vec<u64> = table
                .connections
                .iter()
                .filter(|(_, it)| it.held.iter().any(|held| ids.contains(&held.id)))
                .map(|(id, _)| *id)
                .collect();
            readers.into_iter().for_each(|id| self.places.close(&mut table, id));
        }
        if let Some(connection) = table.connections.get_mut(&self.id) {
            connection.held.push(held);
        }
        true
    }

    /// Bytes are being sent.
    pub fn sending(&self) {
        self.update(|connection| {
            if connection.stage == Stage::Working {
                connection.enter(Stage::Sending);
            }
        });
    }

    fn update(&self, change: impl FnOnce(&mut OpenConnection)) {
        // The entry is gone after the place was taken away.
        if let Some(connection) = self.places.lock().connections.get_mut(&self.id) {
            change(connection);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().connections.remove(&self.id);
    }
}

/// Exists from a request's headers until the whole response was sent.
#[derive(Debug)]
pub struct Answering(Arc<Place>);

impl Answering {
    /// The client may come in.
    pub fn work(&self) {
        self.0.update(|connection| {
            if connection.stage == Stage::Waiting {
                connection.enter(Stage::Working);
            }
        });
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.update(|connection| {
            connection.answers -= 1;
            if connection.answers == 0 {
                connection.held.clear();
                connection.enter(Stage::Waiting);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::filter::Filter;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn peer(number: usize) -> IpAddr {
        IpAddr::from([10, 0, 1, number as u8])
    }

    fn places() -> Arc<Places> {
        let metrics = ExporterMetrics::new(Filter::default(), []);
        Arc::new(Places::new(Limits::new(1024), metrics))
    }

    /// This number of places of this peer, one each millisecond.
    async fn admit(places: &Arc<Places>, peer: IpAddr, count: usize) -> Vec<Arc<Place>> {
        let mut admitted = Vec::new();
        for _ in 0..count {
            admitted.extend(places.admit(peer));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        admitted
    }

    /// A head is there, and its client may come in.
    fn work(place: &Arc<Place>) -> Answering {
        let answering = place.begin();
        answering.work();
        answering
    }

    fn is_taken(place: &Place) -> bool {
        !place.places.lock().connections.contains_key(&place.id)
    }

    fn refusals(places: &Places) -> u64 {
        places.metrics.refusals(Refusal::Connections)
    }

    #[test]
    fn half_of_the_descriptors_remain() {
        let limits = |descriptors| {
            let Limits { connections, of_one_peer, health, .. } = Limits::new(descriptors);
            (connections, of_one_peer, health)
        };
        assert_eq!(limits(1 << 20), (256, 64, 16));
        assert_eq!(limits(1024), (256, 64, 16));
        assert_eq!(limits(256), (121, 30, 7));
        assert_eq!(limits(64), (31, 7, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn of_one_peers_connections_the_one_that_waits_longest_is_closed() {
        let places = places();
        let other = places.admit(peer(0)).expect("a place");
        let mut all = admit(&places, A, 64).await;
        let busy = work(&all[0]);
        all.extend(admit(&places, A, 10).await);
        assert_eq!(all.len(), 74);
        let taken: Vec<bool> = all.iter().map(|place| is_taken(place)).collect();
        let expected: Vec<bool> = (0..74).map(|index| (1..=10).contains(&index)).collect();
        assert_eq!(taken, expected);
        assert!(!is_taken(&other));
        all[1].taken().await;
        assert_eq!(refusals(&places), 10);
        drop(busy);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_the_connection_that_waits_longest_is_closed() {
        let places = places();
        let mut all = Vec::new();
        for number in 0..4 {
            all.extend(admit(&places, peer(number), 64).await);
        }
        // It was idle for a shorter time than the next, since it had an answer meanwhile.
        drop(work(&all[0]));
        let new = places.admit(A).expect("a place");
        assert!(is_taken(&all[1]) && !is_taken(&all[0]));
        drop(new);
        all.truncate(1);
        assert!(places.admit(A).is_some());
        assert!(!is_taken(&all[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_only_writes_while_it_waits_does_so_no_shorter() {
        let places = places();
        let all = admit(&places, A, 64).await;
        // Such as a TLS handshake.
        all[0].sending();
        let _new = places.admit(A);
        assert!(is_taken(&all[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn those_whose_passwords_are_not_checked_yet_keep_nobody_out() {
        let places = places();
        let all = admit(&places, A, 64).await;
        let _checked: Vec<Answering> = all.iter().map(Place::begin).collect();
        let new = places.admit(A).expect("a place");
        assert!(is_taken(&all[0]) && new.is_regular());
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_a_head_begins_again_after_each_answer() {
        let place = places().admit(A).expect("a place");
        let start = Instant::now();
        let seconds = Duration::from_secs;
        let answer = async {
            tokio::time::sleep(seconds(4)).await;
            let answering = work(&place);
            tokio::time::sleep(seconds(20)).await;
            drop(answering);
        };
        tokio::join!(place.waited(seconds(5)), answer);
        assert_eq!(start.elapsed(), seconds(29));
    }

    #[tokio::test(start_paused = true)]
    async fn if_all_are_busy_there_are_places_for_health_checks_and_then_none() {
        let places = places();
        let mut all = Vec::new();
        for number in 0..4 {
            all.extend(admit(&places, peer(number), 64).await);
        }
        let mut busy: Vec<Answering> = all.iter().map(work).collect();
        let health: Vec<Arc<Place>> =
            (4..9).filter_map(|number| places.admit(peer(number))).collect();
        assert_eq!(health.len(), 5);
        assert!(!health[0].is_regular());
        // The same for a peer that has all of its places.
        let own = admit(&places, peer(0), 6).await;
        assert_eq!(own.iter().filter(|place| is_taken(place)).count(), 2);
        let mut of_health: Vec<Answering> = health.iter().map(work).collect();
        assert_eq!(refusals(&places), 3);
        for number in 10..25 {
            if let Some(place) = places.admit(peer(number)) {
                of_health.push(work(&place));
            }
        }
        assert!(places.admit(peer(30)).is_none());
        // A place becomes free.
        busy.remove(200);
        assert!(health[0].is_regular());
        assert!(!health[1].is_regular());
        assert!(is_taken(&all[200]));
    }

    #[tokio::test(start_paused = true)]
    async fn if_none_waits_the_answer_that_was_sent_for_longest_is_cut_off() {
        let places = places();
        let all = admit(&places, A, 64).await;
        let mut busy: Vec<Answering> = all.iter().map(work).collect();
        all[7].sending();
        tokio::time::advance(Duration::from_millis(10)).await;
        all[3].sending();
        tokio::time::advance(SLOW).await;
        for index in [7, 3] {
            let new = places.admit(A).expect("a place");
            assert!(is_taken(&all[index]));
            busy.push(work(&new));
        }
        assert_eq!(all.iter().filter(|place| is_taken(place)).count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_slow_readers_keep_are_bounded_and_shared_ones_count_once() {
        let places = places();
        let all = admit(&places, A, 8).await;
        let _busy: Vec<Answering> = all.iter().map(work).collect();
        let hold = |place: usize, id, bytes| {
            let is_held = all[place].hold(Held { id, bytes }, 0, 100);
            all[place].sending();
            is_held
        };
        assert!(hold(0, 1, 40) && hold(1, 1, 40));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(hold(2, 2, 40));
        assert!(!hold(3, 3, 40), "none is slow");
        assert!(hold(3, 2, 40), "it is there already");
        assert!(hold(4, 0, 90), "the newest page costs nothing");
        tokio::time::advance(SLOW).await;
        assert!(hold(5, 3, 40));
        let taken: Vec<bool> = all.iter().map(|place| is_taken(place)).collect();
        assert_eq!(taken, [true, true, false, false, false, false, false, false]);
        tokio::time::advance(SLOW).await;
        assert!(hold(6, 4, 1_000), "nothing else is held then, so there is no way with less");
        let taken: Vec<bool> = all.iter().map(|place| is_taken(place)).collect();
        assert_eq!(taken, [true, true, true, true, false, true, false, false]);
    }
}
