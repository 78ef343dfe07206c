//! The HTTP client that all accounts share: its trusted certificates, and the requests that go through a
//! proxy.

use std::env;
use std::path::Path;
use std::sync::OnceLock;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::turns::{read_at_start, read_in_turn};
use crate::failure::{Failure, Reason};
use crate::source::regular_file;

/// The variable that names the file of the certificates to trust.
pub const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

const TLS: tls::Provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);

/// Larger than any real bundle. The rest of a file is not read.
const MAX_BUNDLE: u64 = 64 << 20;

/// Whether the system, or `SSL_CERT_FILE` and `SSL_CERT_DIR`, have any certificates to trust.
static HAS_CERTIFICATES: OnceLock<bool> = OnceLock::new();

/// Whether the system was asked for certificates to trust, and has none.
pub fn has_no_certificates() -> bool {
    HAS_CERTIFICATES.get() == Some(&false)
}

/// A client that trusts the certificates of this file, or else those of the system. With one client
/// for each account, every account would have its own connections and a copy of the certificates.
pub async fn client(ca_bundle: Option<&Path>) -> Result<SharedHttpClient, Failure> {
    let path = ca_bundle.map(Path::to_owned);
    read_in_turn(&name(ca_bundle), move || client_now(path.as_deref())).await
}

/// Fails as [`client`] would, for the start.
pub fn check(ca_bundle: Option<&Path>) -> Result<(), Failure> {
    let path = ca_bundle.map(Path::to_owned);
    read_at_start(&name(ca_bundle), move || client_now(path.as_deref()).map(drop))
}

/// Waits for the disk.
fn client_now(ca_bundle: Option<&Path>) -> Result<SharedHttpClient, Failure> {
    let context = TlsContext::builder().with_trust_store(trust_store(ca_bundle)?).build();
    let context = context.map_err(|_| bad_bundle(ca_bundle, "cannot be used"))?;
    // The SDK reads the system's certificates, once, when it makes a first connector: not on a thread
    // that serves, because it could hang there.
    drop(ConnectorBuilder::default().tls_provider(TLS).tls_context(context.clone()).build());
    // The SDK's rule for `*` covers names, but not addresses.
    let proxy = if is_never_proxied() { ProxyConfig::disabled() } else { ProxyConfig::from_env() };
    Ok(SharedHttpClient::new(Client {
        direct: with_proxy(context.clone(), ProxyConfig::disabled()),
        proxied: with_proxy(context, proxy),
        metadata: metadata_authorities(),
    }))
}

fn trust_store(ca_bundle: Option<&Path>) -> Result<TrustStore, Failure> {
    let Some(path) = ca_bundle else {
        // Without any certificate the SDK panics in debug builds, and every connection fails.
        let has_certificates = *HAS_CERTIFICATES
            .get_or_init(|| !rustls_native_certs::load_native_certs().certs.is_empty());
        return Ok(if has_certificates { TrustStore::default() } else { TrustStore::empty() });
    };
    let pem = regular_file::read(path, MAX_BUNDLE)
        .map_err(|error| bad_bundle(ca_bundle, &error.to_string()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|_| bad_bundle(ca_bundle, "is not valid PEM"))?;
    // The SDK panics if one of them cannot be read.
    match RootCertStore::empty().add_parsable_certificates(certificates) {
        (0, 0) => Err(bad_bundle(ca_bundle, "has no certificates")),
        (_, 0) => Ok(TrustStore::empty().with_pem_certificate(pem)),
        (_, _) => Err(bad_bundle(ca_bundle, "has a certificate that cannot be read")),
    }
}

fn bad_bundle(path: Option<&Path>, fault: &str) -> Failure {
    Failure::new(Reason::Credentials, format!("{}: {fault}", name(path)))
}

fn name(ca_bundle: Option<&Path>) -> String {
    let path = ca_bundle.map(|path| path.display().to_string());
    path.unwrap_or_else(|| "the system's certificates".to_owned())
}

fn with_proxy(context: TlsContext, proxy: ProxyConfig) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector =
            ConnectorBuilder::default().tls_provider(TLS).tls_context(context.clone());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.set_proxy_config(Some(proxy.clone()));
        connector.build()
    })
}

fn is_never_proxied() -> bool {
    let rules = ["NO_PROXY", "no_proxy"].into_iter().find_map(|name| env::var(name).ok());
    rules.is_some_and(|rules| rules.split(',').any(|rule| rule.trim() == "*"))
}

/// The endpoints that give credentials to a container or an instance, if the environment names them.
fn metadata_authorities() -> Vec<String> {
    ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"]
        .into_iter()
        .filter_map(|name| env::var(name).ok())
        .map(|url| authority(&url).to_owned())
        .collect()
}

/// Asks for the credentials of a container or an instance directly, because a proxy would see them,
/// and everything else through the proxy.
#[derive(Debug)]
struct Client {
    direct: SharedHttpClient,
    proxied: SharedHttpClient,
    metadata: Vec<String>,
}

#[derive(Debug)]
struct Connector {
    direct: SharedHttpConnector,
    proxied: SharedHttpConnector,
    metadata: Vec<String>,
}

impl HttpClient for Client {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Connector {
            direct: self.direct.http_connector(settings, components),
            proxied: self.proxied.http_connector(settings, components),
            metadata: self.metadata.clone(),
        })
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let authority = authority(request.uri());
        let is_metadata =
            is_link_local(authority) || self.metadata.iter().any(|known| known == authority);
        if is_metadata { self.direct.call(request) } else { self.proxied.call(request) }
    }
}

/// Addresses of ECS, EKS Pod Identity and instances.
fn is_link_local(authority: &str) -> bool {
    authority.starts_with("169.254.") || authority.starts_with("[fd00:ec2:")
}

/// Host and port of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url_is_found() {
        for (url, expected) in [
            ("http://169.254.170.23/v1/credentials", "169.254.170.23"),
            ("http://[fd00:ec2::23]:80?x", "[fd00:ec2::23]:80"),
            ("http://localhost:1234", "localhost:1234"),
            ("", ""),
        ] {
            assert_eq!(authority(url), expected);
        }
        assert!(is_link_local("169.254.170.2") && is_link_local("[fd00:ec2::254]"));
        assert!(!is_link_local("iam.amazonaws.com") && !is_link_local("169.25.4.1"));
    }
}
