//! Which client certificates are accepted: the five policies of `client_auth_type`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// The kind of certificate that clients need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    None,
    /// A certificate, which may be missing, and is not verified.
    Request,
    /// A certificate, which is not verified.
    RequireAny,
    /// A certificate, which may be missing.
    VerifyIfGiven,
    /// A certificate.
    RequireAndVerify,
}

impl FromStr for ClientAuth {
    type Err = String;

    fn from_str(text: &str) -> Result<ClientAuth, String> {
        match text {
            "NoClientCert" => Ok(ClientAuth::None),
            "RequestClientCert" => Ok(ClientAuth::Request),
            "RequireAnyClientCert" | "RequireClientCert" => Ok(ClientAuth::RequireAny),
            "VerifyClientCertIfGiven" => Ok(ClientAuth::VerifyIfGiven),
            "RequireAndVerifyClientCert" => Ok(ClientAuth::RequireAndVerify),
            _ => Err("must be NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert".to_owned()),
        }
    }
}

impl ClientAuth {
    /// Whether a certificate that is given must come from a CA.
    pub fn verifies(self) -> bool {
        matches!(self, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify)
    }

    /// Whether there must be a certificate.
    pub fn is_mandatory(self) -> bool {
        matches!(self, ClientAuth::RequireAny | ClientAuth::RequireAndVerify)
    }
}

/// Decides about the certificate of a client, during the handshake.
#[derive(Debug)]
pub struct ClientCertificates {
    auth: ClientAuth,
    trusted: Vec<CertificateDer<'static>>,
    /// The verifier with the trusted certificates. `None` if there are none.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    allowed_sans: Option<BTreeSet<String>>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertificates {
    /// Fails if one of the trusted certificates cannot be read.
    pub fn new(
        auth: ClientAuth,
        trusted: Vec<CertificateDer<'static>>,
        allowed_sans: Option<BTreeSet<String>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<ClientCertificates, String> {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in trusted.iter().enumerate() {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("certificate {}: {error}", index + 1))?;
        }
        let verifier = if roots.is_empty() {
            None
        } else {
            let roots = Arc::new(roots);
            let built =
                WebPkiClientVerifier::builder_with_provider(roots, provider.clone()).build();
            Some(built.map_err(|error| error.to_string())?)
        };
        Ok(ClientCertificates { auth, trusted, verifier, allowed_sans, provider })
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        match &self.verifier {
            None => Err(CertificateError::UnknownIssuer.into()),
            // As in Go: a certificate that signed itself may be listed like a CA. webpki refuses most
            // of them, since they say that they are a CA.
            Some(_) if self.trusted.iter().any(|trusted| trusted == end_entity) => {
                is_valid_for_a_client(&parse(end_entity)?, now)
            }
            Some(verifier) => verifier.verify_client_cert(end_entity, intermediates, now).map(drop),
        }
    }

    fn check_sans(&self, end_entity: &CertificateDer<'_>) -> Result<(), Error> {
        let Some(allowed) = &self.allowed_sans else { return Ok(()) };
        let found = sans(&parse(end_entity)?);
        if found.iter().any(|san| allowed.contains(san)) {
            return Ok(());
        }
        Err(CertificateError::Other(OtherError(Arc::new(WrongSans(found)))).into())
    }
}

impl ClientCertVerifier for ClientCertificates {
    fn offer_client_auth(&self) -> bool {
        self.auth != ClientAuth::None
    }

    fn client_auth_mandatory(&self) -> bool {
        self.auth.is_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verifier.as_ref().map_or(&[], |verifier| verifier.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.auth.verifies() {
            self.verify(end_entity, intermediates, now)?;
            self.check_sans(end_entity)?;
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A certificate whose SANs are not allowed.
#[derive(Debug, thiserror::Error)]
#[error("none of its SANs is in client_allowed_sans; it has: {}", short_list(.0))]
struct WrongSans(Vec<String>);

/// The list comes from the client, and can be long.
fn short_list(sans: &[String]) -> String {
    const MAX: usize = 200;
    let mut list = sans.join(", ");
    if list.len() > MAX {
        list.truncate(list.floor_char_boundary(MAX));
        list.push('…');
    }
    list
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    let parsed = X509Certificate::from_der(certificate);
    parsed.map(|(_, parsed)| parsed).map_err(|_| CertificateError::BadEncoding.into())
}

fn is_valid_for_a_client(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Error> {
    let now = i64::try_from(now.as_secs()).ok().and_then(|now| ASN1Time::from_timestamp(now).ok());
    let now = now.ok_or(Error::FailedToGetCurrentTime)?;
    let validity = certificate.validity();
    if now < validity.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after {
        return Err(CertificateError::Expired.into());
    }
    let usage = certificate.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
    match usage {
        Some(usage) if !usage.value.client_auth && !usage.value.any => {
            Err(CertificateError::InvalidPurpose.into())
        }
        _ => Ok(()),
    }
}

/// The DNS names, e-mail addresses, IP addresses and URIs of a certificate.
fn sans(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extension = certificate.subject_alternative_name().ok().flatten(); // none: refused
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => ip_address(bytes),
        _ => None,
    };
    names.filter_map(text).collect()
}

/// As Go prints it.
fn ip_address(bytes: &[u8]) -> Option<String> {
    let address = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
        _ => return None,
    };
    Some(address.to_string())
}
