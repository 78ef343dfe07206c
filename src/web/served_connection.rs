//! One connection, from its TLS handshake to its graceful end, with limits for its client.

use std::pin::Pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;
use tracing::debug;

use super::client_service::{ClientService, Scope};
use super::connection::{Connection, HEADER_TIMEOUT};
use super::places::Place;
use super::reporting_stream::ReportingStream;
use super::stream::Stream;
use crate::metrics::exporter::ExporterMetrics;

/// A client that reads nothing of a response for this long is dropped.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// An older connection is closed after its response, which may take the same time again. So a
/// client that reads very slowly does not keep a connection forever.
const MAX_CONNECTION_AGE: Duration = Duration::from_secs(60);
/// After a GOAWAY, a silent HTTP/2 client has this time, because a request may already be on its
/// way.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);
/// When the exporter stops, running responses have this time to finish.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

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
pub async fn serve(stream: TcpStream, service: ClientService, stop: watch::Receiver<bool>) {
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
