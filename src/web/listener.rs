//! Listening: addresses, limits of clients, and the graceful end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Instant, sleep};
use tokio_io_timeout::TimeoutStream;
use tracing::{debug, error, warn};

use super::client_service::{ClientService, Scope};
use super::connection::{Connection, HEADER_TIMEOUT};
use super::places::{Limits, Place, Places};
use super::reporting_stream::ReportingStream;
use super::routes::Site;
use super::stream::Stream;
use crate::metrics::exporter::ExporterMetrics;

/// A client that reads nothing of a response for this long is dropped.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// An older connection is closed after its response, which may take the same time again. So a
/// client that reads very slowly does not keep a connection forever.
pub const MAX_CONNECTION_AGE: Duration = Duration::from_secs(60);
/// After a GOAWAY, a silent HTTP/2 client has this time, because a request may already be on its
/// way.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// When the exporter stops, running responses have this time to finish.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of connections that the system keeps until they are accepted. Beyond it, clients try
/// again only after a second.
const BACKLOG: u32 = 1024;
/// The number of bytes that the system takes from a response before they can be sent. Without it,
/// each slow reader has up to four megabytes in the system's memory, which counts as that of a
/// container: 250 readers of a page of 39 MB had 939 MB, and have 88 MB with it.
#[cfg(target_os = "linux")]
const MAX_UNSENT: u32 = 256 << 10;
/// The pause after a connection could not be accepted: the process may have run out of file
/// descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The same pause if another connection was closed for it.
const SHORT_PAUSE: Duration = Duration::from_millis(10);
/// The log mentions connections that could not be accepted at most this often.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// Listens on `host:port`, or on `:port` of every address.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    if let Some(port) = address.strip_prefix(':') {
        let port: u16 =
            port.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a port"))?;
        // The IPv6 socket takes IPv4 as well. It is missing if IPv6 is off.
        return match listen(SocketAddr::from(([0u16; 8], port))) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                listen(SocketAddr::from(([0u8; 4], port)))
            }
            bound => bound,
        };
    }
    // Of a name with several addresses, IPv4 first, as Go's programs do.
    let mut addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    listen(*addresses.first().ok_or(io::ErrorKind::NotFound)?)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    // Otherwise a restart fails while old connections are still closing.
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // The default of this system does not matter, as in Go's programs.
        SockRef::from(&socket).set_only_v6(false)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Raises the limit of open files to the maximum, and returns it.
pub fn raise_descriptor_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current.unwrap_or(u64::MAX);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum.unwrap_or(u64::MAX),
        Err(error) => {
            warn!(%error, "the limit of open files could not be raised");
            current.unwrap_or(u64::MAX)
        }
    }
}

/// The exporter's listeners.
#[derive(Debug)]
pub struct Listeners {
    /// For everything.
    pub site: Vec<TcpListener>,
    /// For health checks alone.
    pub health: Option<TcpListener>,
}

/// Serves the site on all listeners until `stop` is true. Then stops listening and lets running
/// responses finish.
pub async fn serve(listeners: Listeners, site: Site, limits: Limits, stop: watch::Receiver<bool>) {
    let places = |limits| Arc::new(Places::new(limits, site.metrics.clone()));
    let (of_site, of_health) = (places(limits), places(Limits::OF_HEALTH));
    let site = Arc::new(site);
    let mut tasks = JoinSet::new();
    let for_site = listeners.site.into_iter().map(|listener| (listener, Scope::Site, &of_site));
    let for_health = listeners.health.map(|listener| (listener, Scope::Health, &of_health));
    for (listener, scope, places) in for_site.chain(for_health) {
        // Accepted connections inherit it. A system without it serves as well.
        #[cfg(target_os = "linux")]
        let _ = SockRef::from(&listener).set_tcp_notsent_lowat(MAX_UNSENT);
        tasks.spawn(accept(listener, site.clone(), scope, places.clone(), stop.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

async fn accept(
    listener: TcpListener,
    site: Arc<Site>,
    scope: Scope,
    places: Arc<Places>,
    mut stop: watch::Receiver<bool>,
) {
    let stopped = stop.clone();
    let mut connections = JoinSet::new();
    let mut logged: Option<Instant> = None;
    loop {
        while let Some(ended) = connections.try_join_next() {
            log_panic(ended);
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(place) = places.admit(peer.ip()) {
                    let service = ClientService { site: site.clone(), scope, peer, place };
                    connections.spawn(serve_connection(stream, service, stopped.clone()));
                }
                // Lets new connections read, and closes those that lost their place, before the
                // next one is accepted.
                yield_now().await;
            }
            Err(error) => {
                site.metrics.http_accept_failures.inc();
                if logged.is_none_or(|logged| logged.elapsed() >= LOG_PAUSE) {
                    logged = Some(Instant::now());
                    warn!(%error, "connections not accepted");
                }
                // If one was closed, its place is free at once.
                sleep(if places.close_one() { SHORT_PAUSE } else { ACCEPT_PAUSE }).await;
            }
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        log_panic(ended);
    }
}

/// The panic itself is on stderr. It ends no other connection.
fn log_panic(ended: Result<(), JoinError>) {
    if ended.is_err_and(|error| error.is_panic()) {
        error!("a connection ended with a panic: please report this");
    }
}

/// Counts a connection as open.
struct Open<'a>(&'a ExporterMetrics);

impl Open<'_> {
    fn new(metrics: &ExporterMetrics) -> Open<'_> {
        metrics.http_connections.inc();
        Open(metrics)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.http_connections.dec();
    }
}

/// Serves a connection until it ends, or until its place is needed for others.
async fn serve_connection(stream: TcpStream, service: ClientService, stop: watch::Receiver<bool>) {
    let (place, site, peer) = (service.place.clone(), service.site.clone(), service.peer);
    let _open = Open::new(&site.metrics);
    // Responses are written whole: waiting for more to send would only delay them.
    let _ = stream.set_nodelay(true);
    let mut stopped = stop.clone();
    let served = async {
        let accepted = tokio::select! {
            accepted = accept_stream(stream, &service) => accepted,
            // No request was accepted on it yet.
            _ = stopped.wait_for(|stop| *stop) => None,
        };
        if let Some(stream) = accepted {
            serve_requests(connection(stream, service), &place, stop).await;
        }
    };
    tokio::select! {
        () = place.taken() => debug!(%peer, "connection closed for others"),
        () = served => {}
    }
}

/// `None`: the TLS handshake failed.
async fn accept_stream(stream: TcpStream, service: &ClientService) -> Option<Stream> {
    match service.scope {
        Scope::Health => Some(Stream::Plain(stream)),
        Scope::Site => service.site.gate.accept(stream, service.peer).await,
    }
}

/// Serves a connection until it ends, is silent for long, becomes old, or the exporter stops. Then
/// lets a running response finish, with a time limit.
async fn serve_requests(
    mut connection: Connection<Timed>,
    place: &Place,
    mut stop: watch::Receiver<bool>,
) {
    // hyper has a timeout for the heads of HTTP/1 only.
    let is_http2 = matches!(connection, Connection::Http2(_));
    let silent = async |pause| {
        sleep(pause).await;
        place.waited(HEADER_TIMEOUT).await;
    };
    tokio::select! {
        ended = &mut connection => {
            if let Err(error) = ended {
                debug!(%error, "connection ended");
            }
            return;
        }
        _ = stop.wait_for(|stop| *stop) => {}
        () = sleep(MAX_CONNECTION_AGE) => {}
        () = silent(HEADER_TIMEOUT), if is_http2 => {}
    }
    connection.graceful_shutdown();
    let drained = async {
        let _ = stop.wait_for(|stop| *stop).await;
        sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        _ = connection => {}
        () = drained => debug!("connection cut off at the end"),
        () = sleep(MAX_CONNECTION_AGE) => debug!("old connection cut off"),
        () = silent(GOODBYE_TIMEOUT), if is_http2 => debug!("silent connection cut off"),
    }
}

type Timed = ReportingStream<Pin<Box<TimeoutStream<Stream>>>>;

fn connection(stream: Stream, service: ClientService) -> Connection<Timed> {
    let is_http2 = stream.is_http2();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let stream = ReportingStream::new(Box::pin(stream), service.place.clone());
    Connection::new(stream, is_http2, service)
}
