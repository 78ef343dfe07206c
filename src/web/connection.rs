//! HTTP on one connection: HTTP/1.1, or HTTP/2 if the TLS handshake chose it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::client_service::ClientService;

/// The time limit for a request's headers, and for an idle connection.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest size of a request's headers.
pub const MAX_HEADER_BYTES: usize = 16 << 10;

/// The number of concurrent requests on one HTTP/2 connection. Each costs up to a hundred kilobytes
/// while its answer is read slowly.
const MAX_STREAMS: u32 = 4;
/// After this time an idle HTTP/2 client gets a ping.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// A connection that is served while it is polled.
pub enum Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// One request after the other.
    Http1(Pin<Box<http1::Connection<TokioIo<S>, ClientService>>>),
    /// Several requests at a time.
    Http2(Pin<Box<http2::Connection<TokioIo<S>, ClientService, TokioExecutor>>>),
}

impl<S> Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Serves the stream.
    pub fn new(stream: S, is_http2: bool, service: ClientService) -> Connection<S> {
        let stream = TokioIo::new(stream);
        if is_http2 {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(MAX_STREAMS)
                .max_header_list_size(MAX_HEADER_BYTES as u32)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(HEADER_TIMEOUT)
                .serve_connection(stream, service);
            return Connection::Http2(Box::pin(connection));
        }
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEADER_BYTES)
            // A client that has closed its half of the connection gets the whole answer.
            .half_close(true)
            .serve_connection(stream, service);
        Connection::Http1(Box::pin(connection))
    }

    /// Lets running requests finish, and accepts no others.
    pub fn graceful_shutdown(&mut self) {
        match self {
            Connection::Http1(connection) => connection.as_mut().graceful_shutdown(),
            Connection::Http2(connection) => connection.as_mut().graceful_shutdown(),
        }
    }
}

impl<S> Future for Connection<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        match self.get_mut() {
            Connection::Http1(connection) => connection.as_mut().poll(context),
            Connection::Http2(connection) => connection.as_mut().poll(context),
        }
    }
}
