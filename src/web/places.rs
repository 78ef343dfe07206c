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

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::rate::network;
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

/// The places of all connections.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    metrics: ExporterMetrics,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// The number of the next connection or answer.
    next: u64,
    connections: HashMap<u64, OpenConnection>,
    logged: Option<Instant>,
    /// To be logged when the table is not locked any more.
    to_log: Option<Crowded>,
}

/// There are too many connections.
#[derive(Debug)]
struct Crowded {
    /// Whose connection was refused or closed.
    peer: IpAddr,
    open: usize,
}

#[derive(Debug)]
struct OpenConnection {
    /// Of IPv6 the network.
    peer: IpAddr,
    /// Whether it is above the limit.
    is_extra: bool,
    stage: Stage,
    /// When the stage began.
    since: Instant,
    /// Those that are not sent yet. HTTP/2 can have several.
    answers: Vec<Answer>,
    close: Arc<Notify>,
}

#[derive(Debug)]
struct Answer {
    id: u64,
    /// What the request waits for in a queue.
    waits_for: Option<u64>,
    held: Option<Held>,
}

/// Connections are closed in this order to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
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

impl Table {
    fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether there are fewer than `max` things that these connections wait for, or this is one of them.
    fn has_room(&self, id: u64, max: usize, counts: impl Fn(&OpenConnection) -> bool) -> bool {
        let counted = self.connections.values().filter(|it| counts(it));
        let queued: HashSet<u64> = counted.flat_map(OpenConnection::waits_for).collect();
        queued.len() < max || queued.contains(&id)
    }
}

impl OpenConnection {
    fn can_be_closed(&self, now: Instant) -> bool {
        match self.stage {
            Stage::Waiting | Stage::Queued => true,
            Stage::Sending => now - self.since >= SLOW,
            Stage::Working => false,
        }
    }

    fn enter(&mut self, stage: Stage) {
        (self.stage, self.since) = (stage, Instant::now());
    }

    fn update(&mut self, id: u64, change: impl FnOnce(&mut Answer)) {
        if let Some(answer) = self.answers.iter_mut().find(|answer| answer.id == id) {
            change(answer);
        }
    }

    fn waits_for(&self) -> impl Iterator<Item = u64> {
        self.answers.iter().filter_map(|answer| answer.waits_for)
    }

    fn held(&self) -> impl Iterator<Item = Held> {
        self.answers.iter().filter_map(|answer| answer.held)
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
        place.update(|_| ()).is_none()
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
    async fn all_addresses_of_one_ipv6_network_are_one_peer() {
        let places = places();
        let host = |number: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number]);
        let mut all = Vec::new();
        for number in 0..65 {
            all.extend(admit(&places, host(number), 1).await);
        }
        let taken: Vec<usize> = (0..65).filter(|index| is_taken(&all[*index])).collect();
        assert_eq!(taken, [0]);
        // An IPv4 address as an IPv6 socket has it is not one of a network of them.
        let mapped =
            |last: u8| IpAddr::from(std::net::Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped());
        for last in 0..65 {
            all.extend(admit(&places, mapped(last), 1).await);
        }
        assert_eq!(all.iter().filter(|place| is_taken(place)).count(), 1);
    }

    /// Whether the table was free at each event.
    struct Observer(Arc<Places>, Arc<Mutex<Vec<bool>>>);

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Observer {
        fn on_event(&self, _: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            let is_free = self.0.table.try_lock().is_ok();
            self.1.lock().expect("a lock").push(is_free);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_nobody_reads_blocks_no_other_connection() {
        use tracing_subscriber::layer::SubscriberExt;
        let (places, events) = (places(), Arc::new(Mutex::new(Vec::new())));
        let observer = Observer(places.clone(), events.clone());
        let _logging =
            tracing::subscriber::set_default(tracing_subscriber::registry().with(observer));
        let _all = admit(&places, A, 70).await;
        assert_eq!(*events.lock().expect("a lock"), [true]);
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

    /// A request that waits for its turn until it is aborted, or has no room in the queue.
    fn queue(answering: Answering, wanted: u64) -> tokio::task::JoinHandle<Option<()>> {
        tokio::spawn(async move { answering.queue(wanted, std::future::pending()).await })
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_for_their_turn_keep_nobody_out() {
        let places = places();
        let mut all = Vec::new();
        for number in 0..4 {
            all.extend(admit(&places, peer(number), 64).await);
        }
        let mut queued = Vec::new();
        for place in &all {
            queued.push(queue(work(place), 1));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let new = places.admit(A).expect("a place");
        assert!(is_taken(&all[0]) && new.is_regular());
        let busy = work(&new);
        drop(new);
        // One that says nothing is closed before one that waits for something.
        let silent = places.admit(peer(9)).expect("a place");
        assert!(is_taken(&all[1]));
        let _new = places.admit(peer(9)).expect("a place");
        assert!(is_taken(&silent) && !is_taken(&all[2]) && !is_taken(&busy.place));
        queued.iter().for_each(|request| request.abort());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_had_his_turn_is_not_closed_any_more() {
        let places = places();
        let all = admit(&places, A, 64).await;
        let busy: Vec<Answering> = all.iter().map(work).collect();
        assert_eq!(busy[0].queue(1, async { 2 }).await, Some(2));
        let new = places.admit(A).expect("a place");
        assert!(!new.is_regular() && !all.iter().any(|place| is_taken(place)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_has_a_quarter_of_the_queue_and_the_queue_an_end() {
        let places = places();
        let mut requests = Vec::new();
        let mut refused = Vec::new();
        for number in 0..6 {
            for _ in 0..9 {
                let busy = work(&places.admit(peer(number)).expect("a place"));
                requests.push(queue(busy, requests.len() as u64));
                tokio::task::yield_now().await;
            }
            refused.push(requests.iter().filter(|request| request.is_finished()).count());
        }
        assert_eq!(refused, [1, 2, 3, 4, 13, 22]);
        let busy = work(&places.admit(peer(9)).expect("a place"));
        assert_eq!(busy.queue(0, async {}).await, Some(()), "it is in the queue already");
        assert_eq!(busy.queue(99, async {}).await, None);
        // A client that leaves makes room.
        requests[0].abort();
        tokio::task::yield_now().await;
        assert_eq!(busy.queue(99, async {}).await, Some(()));
        requests.iter().for_each(|request| request.abort());
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
        let busy: Vec<Answering> = all.iter().map(work).collect();
        let hold = |place: usize, id, bytes| {
            let is_held = busy[place].hold(Held { id, bytes }, 0, 100);
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

    #[tokio::test(start_paused = true)]
    async fn bytes_go_with_their_answer_though_the_connection_has_another() {
        let place = places().admit(A).expect("a place");
        let mut last = place.begin();
        for id in 1..1_000 {
            let next = place.begin();
            assert!(next.hold(Held { id, bytes: 40 }, 0, 100));
            // One is always there.
            last = next;
            let held = place.update(|connection| connection.held().count());
            assert_eq!(held, Some(1));
        }
        drop(last);
        assert!(place.waits_since().is_some());
    }
}
