//! The client of the health endpoints, for platforms that run a command in the container. The image
//! has no other program for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The whole answer must be there after this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The endpoints answer with one short line.
const MAX_ANSWER_BYTES: usize = 1 << 10;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What to ask.
#[derive(Debug, Clone, Copy)]
pub enum Question {
    /// Whether the process lives.
    Healthy,
    /// Whether it has tried every account once.
    Ready,
}

/// Why the process is not healthy, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system chose the port, so nobody knows it here.
    #[error("--web.listen-address {0}: health needs a port number")]
    UnknownPort(String),
    /// Nobody listens.
    #[error("{address}: {error}")]
    Unreachable {
        /// The address that was asked.
        address: SocketAddr,
        /// The system's error.
        error: io::Error,
    },
    /// The answer is late.
    #[error("{0}: no answer within {seconds} s", seconds = ANSWER_TIMEOUT.as_secs())]
    Late(SocketAddr),
    /// The answer is not one of HTTP, or does not end.
    #[error("{address}: {error}")]
    Unreadable {
        /// The address that was asked.
        address: SocketAddr,
        /// What is wrong with it.
        error: BoxError,
    },
    /// The process says no.
    #[error("{address}: {status} {text:?}")]
    No {
        /// The address that was asked.
        address: SocketAddr,
        /// 503 while accounts were not tried yet.
        status: StatusCode,
        /// The reason.
        text: String,
    },
}

impl Question {
    fn path(self) -> &'static str {
        match self {
            Question::Healthy => "/-/healthy",
            Question::Ready => "/-/ready",
        }
    }
}

/// Asks the process that listens on `listen_address` of this host, and returns its answer. It can have TLS if it
/// has a web configuration file.
pub async fn ask(
    listen_address: &str,
    question: Question,
    can_have_tls: bool,
) -> Result<String, Error> {
    let address = local_address(listen_address)
        .ok_or_else(|| Error::UnknownPort(listen_address.to_owned()))?;
    let asked = timeout(ANSWER_TIMEOUT, request(address, question, can_have_tls)).await;
    let (status, text) = asked.map_err(|_| Error::Late(address))??;
    if status == StatusCode::OK { Ok(text) } else { Err(Error::No { address, status, text }) }
}

/// The address by which this host reaches a process that listens there. Names count as the loopback
/// address, and are never resolved: without /etc/hosts, even `localhost` would be a question to a
/// name server.
fn local_address(listen_address: &str) -> Option<SocketAddr> {
    let (host, port) = listen_address.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let given: Option<IpAddr> = host.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified());
    Some(SocketAddr::new(given.unwrap_or(Ipv4Addr::LOCALHOST.into()), port))
}

async fn request(
    address: SocketAddr,
    question: Question,
    can_have_tls: bool,
) -> Result<(StatusCode, String), Error> {
    let unreadable = |error| Error::Unreadable { address, error };
    if can_have_tls {
        let stream = connect(address).await?;
        match connector().connect(ServerName::from(address.ip()), stream).await {
            Ok(stream) => return answer(stream, address, question).await.map_err(unreadable),
            Err(error) if speaks_no_tls(&error) => {}
            Err(error) => return Err(unreadable(error.into())),
        }
    }
    answer(connect(address).await?, address, question).await.map_err(unreadable)
}

async fn connect(address: SocketAddr) -> Result<TcpStream, Error> {
    TcpStream::connect(address).await.map_err(|error| Error::Unreachable { address, error })
}

/// Accepts every certificate: the connection does not leave this host, and the request contains no
/// secret. Another program on this port could only appear healthy.
fn connector() -> TlsConnector {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

fn speaks_no_tls(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref());
    matches!(error, Some(rustls::Error::InvalidMessage(_)))
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    address: SocketAddr,
    question: Question,
) -> Result<(StatusCode, String), BoxError> {
    let request = Request::get(question.path())
        .header(HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        // Another program may answer with more lines or with none. Then the line is empty.
        Ok::<_, BoxError>((status, text.lines().next().unwrap_or_default().to_owned()))
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The last bytes may be there already.
        ended = connection => { ended?; exchange.await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_asked_at_an_address_of_this_host() {
        for (listen, expected) in [
            (":9718", "127.0.0.1:9718"),
            ("0.0.0.0:9718", "127.0.0.1:9718"),
            ("[::]:9718", "127.0.0.1:9718"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:9718", "[::1]:9718"),
            ("10.1.2.3:9718", "10.1.2.3:9718"),
            ("localhost:9718", "127.0.0.1:9718"),
            ("exporter.example:9718", "127.0.0.1:9718"),
        ] {
            let address = local_address(listen).expect("an address");
            assert_eq!(address.to_string(), expected, "{listen}");
        }
        assert_eq!(local_address(":0"), None);
    }
}
