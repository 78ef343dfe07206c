//! Listening: addresses, limits on what clients may do, and the graceful end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, lookup_host};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;
use tracing::{debug, warn};

use super::connection::Connection;
use super::guard::Guard;
use super::routes::Site;
use super::stream::Stream;

/// A request's head must be there after this time. An idle connection counts as one that is late.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// A request's head may have this many bytes.
pub const MAX_HEADER_BYTES: usize = 16 << 10;
/// The number of connections that are served at the same time. Further ones wait.
pub const MAX_CONNECTIONS: usize = 256;
/// A client that reads nothing of a response for this long is dropped.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// An older connection is closed after its response, which may take the same time again. So a client
/// that reads a little now and then does not hold a connection for good.
pub const MAX_CONNECTION_AGE: Duration = Duration::from_secs(60);
/// At the end, running responses have this time to finish.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a connection could not be accepted: the process may have run out of file
/// descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Listens on `host:port`, or on `:port` of every address.
pub async fn bind(address: &str) -> io::Result<TcpListener> {
    if let Some(port) = address.strip_prefix(':') {
        let port: u16 =
            port.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "not a port"))?;
        // The IPv6 socket takes IPv4 as well, by Linux's default; there is none where IPv6 is off.
        return match TcpListener::bind(SocketAddr::from(([0u16; 8], port))).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind(SocketAddr::from(([0u8; 4], port))).await
            }
            bound => bound,
        };
    }
    // Of a name with several addresses, IPv4 first, as Go's programs do.
    let mut addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let address = addresses.first().ok_or(io::ErrorKind::NotFound)?;
    TcpListener::bind(address).await
}

/// Serves the site on all listeners until `stop` is true; then stops listening and lets running
/// responses finish.
pub async fn serve(listeners: Vec<TcpListener>, site: Site, stop: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let site = Arc::new(site);
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(accept(listener, site.clone(), permits.clone(), stop.clone()));
    }
    while tasks.join_next().await.is_some() {}
}

async fn accept(
    listener: TcpListener,
    site: Arc<Site>,
    permits: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let stopped = stop.clone();
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (site, stopped) = (site.clone(), stopped.clone());
                connections.spawn(async move {
                    let open = site.metrics.http_connections.clone();
                    open.inc();
                    // Responses are written whole: waiting for more to send would only delay them.
                    let _ = stream.set_nodelay(true);
                    if let Some(stream) = site.gate.accept(stream, peer).await {
                        converse(connection(stream, Guard { site, peer }), stopped).await;
                    }
                    open.dec();
                    drop(permit);
                });
            }
            Err(error) => {
                site.metrics.http_accept_failures.inc();
                warn!(%error, "connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves a connection until it ends, becomes old, or the exporter stops; then lets the response that
/// is under way finish, for a while.
async fn converse(mut connection: Connection<Timed>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        ended = &mut connection => {
            if let Err(error) = ended {
                debug!(%error, "connection ended");
            }
            return;
        }
        _ = stop.wait_for(|stop| *stop) => {}
        () = sleep(MAX_CONNECTION_AGE) => {}
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
    }
}

type Timed = Pin<Box<TimeoutStream<Stream>>>;

fn connection(stream: Stream, guard: Guard) -> Connection<Timed> {
    let is_http2 = stream.is_http2();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    Connection::new(Box::pin(stream), is_http2, guard)
}
