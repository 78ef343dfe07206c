use super::table::SLOW;
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

/// Every place, four peers with as many as one may have.
async fn full(places: &Arc<Places>) -> Vec<Arc<Place>> {
    let mut all = Vec::new();
    for number in 0..4 {
        all.extend(admit(places, peer(number), 64).await);
    }
    all
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
    let mapped = |last: u8| IpAddr::from(std::net::Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped());
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
    let _logging = tracing::subscriber::set_default(tracing_subscriber::registry().with(observer));
    let _all = admit(&places, A, 70).await;
    assert_eq!(*events.lock().expect("a lock"), [true]);
}

#[tokio::test(start_paused = true)]
async fn at_the_limit_the_connection_that_waits_longest_is_closed() {
    let places = places();
    let mut all = full(&places).await;
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
    let all = full(&places).await;
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
    let all = full(&places).await;
    let mut busy: Vec<Answering> = all.iter().map(work).collect();
    let health: Vec<Arc<Place>> = (4..9).filter_map(|number| places.admit(peer(number))).collect();
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
