//! The client of the health endpoints, for platforms that run a command in the container. The image
//! has no other program for it.

use std::error::Error as StdError;
use std::io;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
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
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::config::files::FileState;
use crate::printable::escape;

/// The whole answer must be there after this time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The endpoints answer with one short line.
const MAX_ANSWER_BYTES: usize = 1 << 10;

type BoxError = Box<dyn StdError + Send + Sync>;

/// The question to the exporter.
#[derive(Debug, Clone, Copy)]
pub enum Question {
    /// Whether the process lives.
    Healthy,
    /// Whether it has tried every account once.
    Ready,
}

/// The files of the certificate that the process wants to see.
#[derive(Debug, Clone, Copy)]
pub struct ClientCertificate<'a> {
    /// In PEM, with those of intermediate CAs.
    pub certificate: &'a Path,
    /// In PEM, without a passphrase.
    pub key: &'a Path,
}

/// Why the process is not healthy, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system chose the port, so nobody knows it here.
    #[error("{0}: health needs the number of the port that the exporter listens on")]
    UnknownPort(String),
    /// The client's own certificate or key.
    #[error("{path}: {problem}", path = path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// The error in it. Never holds a part of a key.
        problem: String,
    },
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
    #[error("{address}: {}", cause(.error.as_ref()))]
    Unreadable {
        /// The address that was asked.
        address: SocketAddr,
        /// The error in it.
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

/// Asks the process that listens on `listen_address` of this host, and returns its answer. Without `tls` the
/// process cannot have TLS. With it, the process may still have none.
pub async fn ask(
    listen_address: &str,
    question: Question,
    tls: Option<TlsConnector>,
) -> Result<String, Error> {
    let address = local_address(listen_address)
        .ok_or_else(|| Error::UnknownPort(listen_address.to_owned()))?;
    let asked = timeout(ANSWER_TIMEOUT, request(address, question, tls)).await;
    let (status, text) = asked.map_err(|_| Error::Late(address))??;
    if status == StatusCode::OK {
        Ok(escape(&text))
    } else {
        Err(Error::No { address, status, text })
    }
}

/// How to speak TLS. It accepts every certificate: the connection does not leave this host, and the
/// request contains no secret. Another program on this port could only appear healthy.
pub fn connector(own: Option<ClientCertificate<'_>>) -> Result<TlsConnector, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate));
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let (certificates, key) = files.read()?;
            let config = builder.with_client_auth_cert(certificates, key);
            config.map_err(|error| unusable(files.certificate, &error.to_string()))?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

impl ClientCertificate<'_> {
    fn read(self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
        let bytes = read(self.certificate)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let certificates = certificates.ok().filter(|found| !found.is_empty());
        let certificates =
            certificates.ok_or_else(|| unusable(self.certificate, "has no certificate in PEM"))?;
        // The parser's error could contain a part of the key.
        let key = PrivateKeyDer::from_pem_slice(&read(self.key)?)
            .map_err(|_| unusable(self.key, "has no private key in PEM, without a passphrase"))?;
        Ok((certificates, key))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let (_, bytes) = FileState::read(path).map_err(|error| unusable(path, &error.to_string()))?;
    Ok(bytes)
}

fn unusable(path: &Path, problem: &str) -> Error {
    Error::Certificate { path: path.to_owned(), problem: problem.to_owned() }
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
    tls: Option<TlsConnector>,
) -> Result<(StatusCode, String), Error> {
    let unreadable = |error| Error::Unreadable { address, error };
    if let Some(tls) = tls {
        let stream = connect(address).await?;
        match tls.connect(ServerName::from(address.ip()), stream).await {
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

/// The innermost error. The others of hyper only say that a connection failed.
fn cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    iter::successors(Some(error), |error| (*error).source()).last().unwrap_or(error)
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
