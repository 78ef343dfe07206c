//! Access: the TLS handshake of each connection, then rate and password of each request, by the
//! current web configuration.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use rustls::Error::{InvalidCertificate, NoCertificatesPresented};
use rustls::{CertificateError, OtherError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::auth::{Credentials, Login, Logins};
use super::body::Body;
use super::config::WebConfig;
use super::rate::{Rates, network};
use super::refusals::Refusals;
use super::response::text;
use super::stream::Stream;
use crate::metrics::exporter::{ExporterMetrics, Refusal};

/// Whether this is a request of a probe.
pub fn is_health_check(path: &str) -> bool {
    matches!(path, "/-/healthy" | "/-/ready")
}

/// A handshake must be over after this time.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Decides about access. A reload changes it for later connections and requests.
#[derive(Debug)]
pub struct Gate {
    config: watch::Receiver<Arc<WebConfig>>,
    logins: Logins,
    rates: Rates,
    refusals: Refusals,
}

impl Gate {
    /// Decides by the newest of these configurations.
    pub fn new(config: watch::Receiver<Arc<WebConfig>>, metrics: ExporterMetrics) -> Gate {
        Gate {
            config,
            logins: Logins::default(),
            rates: Rates::default(),
            refusals: Refusals::new(metrics),
        }
    }

    /// The current configuration.
    pub fn config(&self) -> Arc<WebConfig> {
        self.config.borrow().clone()
    }

    /// Does the TLS handshake, if there is TLS. `None`: it failed, which is counted and logged.
    pub async fn accept(&self, stream: TcpStream, peer: SocketAddr) -> Option<Stream> {
        let Some(tls) = self.config().tls.clone() else { return Some(Stream::Plain(stream)) };
        match timeout(HANDSHAKE_TIMEOUT, handshake(stream, TlsAcceptor::from(tls))).await {
            Ok(Ok(stream)) => stream.or_else(|| {
                debug!(%peer, "connection closed before its handshake");
                None
            }),
            Ok(Err(error)) => {
                self.refusals.record(reason(&error), peer, None, &fault(&error));
                None
            }
            Err(_) => {
                self.refusals.record(Refusal::Handshake, peer, None, "the handshake took too long");
                None
            }
        }
    }

    /// Checks a request that came from this address. Health checks need no password, and are not limited.
    pub async fn admit(
        &self,
        config: &WebConfig,
        request: &Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<(), Response<Body>> {
        if is_health_check(request.uri().path()) {
            return Ok(());
        }
        if let Some(limit) = config.rate {
            self.rates.admit(peer.ip(), limit, Instant::now()).map_err(|wait| {
                self.refusals.record(Refusal::Rate, peer, None, "too many requests");
                too_many_requests("too many requests\n", wait)
            })?;
        }
        if config.users.is_empty() {
            return Ok(());
        }
        let header = request.headers().get(AUTHORIZATION);
        let credentials = header.and_then(|header| Credentials::parse(header.as_bytes()));
        let Some(credentials) = credentials else {
            self.refusals.record(Refusal::Password, peer, None, "no password");
            return Err(unauthorized());
        };
        let user = config.users.names().find(|name| *name == credentials.name());
        match self.logins.check(&config.users, credentials, network(peer.ip())).await {
            Login::Ok => Ok(()),
            Login::Wrong => {
                // An unknown name is not logged, because it may be a password in the wrong place.
                let fault = if user.is_some() { "wrong password" } else { "unknown user" };
                self.refusals.record(Refusal::Password, peer, user, fault);
                Err(unauthorized())
            }
            Login::Busy => {
                const PROBLEM: &str = "too many passwords to check\n";
                self.record_busy(peer, user, PROBLEM.trim_end());
                Err(too_many_requests(PROBLEM, Duration::from_secs(10)))
            }
        }
    }

    /// Counts and logs a request that would have had to wait too long. `user` is one that there is.
    pub fn record_busy(&self, peer: SocketAddr, user: Option<&str>, fault: &str) {
        self.refusals.record(Refusal::Busy, peer, user, fault);
    }
}

/// `None`: the client closed the connection without sending anything, as port checks do.
async fn handshake(stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<Option<Stream>> {
    let mut first = [0];
    if matches!(stream.peek(&mut first).await, Ok(0) | Err(_)) {
        return Ok(None);
    }
    // A handshake begins with 22, and a request with a letter.
    if first[0].is_ascii_alphabetic() {
        let _ = refuse_plain_http(stream).await; // a client that does not read it
        return Err(io::Error::other("plain HTTP, but the exporter uses HTTPS"));
    }
    match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => Ok(Some(Stream::Tls(Box::new(stream)))),
        Err((error, stream)) => {
            let _ = close_gently(stream).await; // a client that is gone already
            Err(error)
        }
    }
}

async fn refuse_plain_http(mut stream: TcpStream) -> io::Result<()> {
    const ANSWER: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\nThis is plain HTTP, but the exporter uses HTTPS.\n";
    stream.write_all(ANSWER).await?;
    close_gently(stream).await
}

/// Closes a connection so that the client gets the last bytes: a response, or a TLS alert. They
/// would be lost if the connection were closed with unread bytes.
async fn close_gently(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut rest = stream.take(64 << 10);
    let mut buffer = [0; 4 << 10];
    while rest.read(&mut buffer).await? > 0 {}
    Ok(())
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// rustls prints the error of a verifier of our own as Rust code.
fn fault(error: &io::Error) -> String {
    match tls_error(error) {
        Some(InvalidCertificate(CertificateError::Other(OtherError(error)))) => error.to_string(),
        _ => error.to_string(),
    }
}

fn reason(error: &io::Error) -> Refusal {
    match tls_error(error) {
        Some(InvalidCertificate(_) | NoCertificatesPresented) => Refusal::Certificate,
        _ => Refusal::Handshake,
    }
}

fn unauthorized() -> Response<Body> {
    const CHALLENGE: &str = "Basic realm=\"iam-key-exporter\", charset=\"UTF-8\"";
    let mut response = text(StatusCode::UNAUTHORIZED, "a user name and a password are required\n");
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    response
}

fn too_many_requests(problem: &'static str, wait: Duration) -> Response<Body> {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    let mut response = text(StatusCode::TOO_MANY_REQUESTS, problem);
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}
