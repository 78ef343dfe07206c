//! Listening: addresses, and the acceptance of connections until the exporter stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use super::client_service::{ClientService, Scope};
use super::places::{Limits, Places};
use super::routes::Site;
use super::served_connection;

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
                    connections.spawn(served_connection::serve(stream, service, stopped.clone()));
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
