//! `tls_server_config` → the configuration of rustls.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, Error, InconsistentKeys, ServerConfig, SupportedCipherSuite,
    SupportedProtocolVersion,
};
use serde_saphyr::Spanned;

use super::client_certificates::{ClientAuth, ClientCertificates};
use super::config::fault::Fault;
use super::config::fields::{Curve, Suite, Version};
use super::config::files::FileState;
use super::config::sections::TlsSection;

/// HTTP/2 and HTTP/1.1, as a handshake names them.
pub const H2: &[u8] = b"h2";
const HTTP11: &[u8] = b"http/1.1";

/// The result of a section.
pub struct Resolved {
    /// For rustls.
    pub config: ServerConfig,
    /// Its demands on clients.
    pub client_auth: ClientAuth,
    /// Whether only clients with certain names may come in.
    pub has_allowed_sans: bool,
    /// The files that were read for it.
    pub files: Vec<FileState>,
}

/// Reads the files that the section names. `None` if it has no fields. `line` is its own.
pub fn resolve(
    section: &TlsSection,
    line: u64,
    folder: &Path,
    http2: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<Resolved>, Fault> {
    let pem = |file, text, name| Pem::read(file, text, name, folder);
    let certificate = pem(&section.cert_file, &section.cert, "cert")?;
    let key = pem(&section.key_file, &section.key, "key")?;
    let client_ca = pem(&section.client_ca_file, &section.client_ca, "client_ca")?;
    let client_auth = section.client_auth_type.as_ref().and_then(|field| field.value.0);
    let is_on = certificate.is_some() || key.is_some() || client_ca.is_some();
    if !is_on && client_auth.is_none() {
        if has_more(section) {
            return Err(fault(
                line,
                "",
                "has no certificate, so there would be no TLS: give cert_file and key_file, or leave the section out",
            ));
        }
        return Ok(None);
    }
    let certificate =
        certificate.ok_or_else(|| fault(line, "", "has neither cert_file nor cert"))?;
    let key = key.ok_or_else(|| fault(line, "", "has neither key_file nor key"))?;
    let sources = [Some(&certificate), Some(&key), client_ca.as_ref()];
    for source in sources.into_iter().flatten().filter(|source| source.hides_text) {
        let (file, text) = (&source.field, source.field.trim_end_matches("_file"));
        warnings.push(format!("tls_server_config.{text}: has no effect beside {file}"));
    }
    let files = sources.into_iter().flatten().filter_map(|source| source.file.clone()).collect();

    let versions = versions(section, warnings)?;
    let suites = suites(section, &versions, http2, warnings)?;
    let has_tls12 = suites.iter().any(|suite| suite.tls13().is_none());
    let versions: Vec<&'static SupportedProtocolVersion> =
        versions.into_iter().filter(|version| has_tls12 || *version != &TLS12).collect();
    let provider = Arc::new(CryptoProvider {
        cipher_suites: suites,
        kx_groups: groups(section, warnings)?,
        ..aws_lc_rs::default_provider()
    });
    let clients = clients(section, client_auth, client_ca.as_ref(), &provider, warnings)?;
    let client_auth = client_auth.unwrap_or(ClientAuth::None);

    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| fault(line, "", &error.to_string()))?
        .with_client_cert_verifier(Arc::new(clients));
    let mut config = builder
        .with_single_cert(certificate.certificates()?, key.private_key()?)
        .map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => key.fault(&format!(
                "does not belong to the certificate of tls_server_config.{}",
                certificate.field
            )),
            Error::InvalidCertificate(_) => certificate.fault("is not a certificate"),
            // This error is about the key only. Its text could contain a part of it.
            Error::General(_) => key.fault("is not a private key of RSA, ECDSA or Ed25519"),
            error => certificate.fault(&format!("cannot be used: {error}")),
        })?;
    config.alpn_protocols =
        if http2 { vec![H2.into(), HTTP11.into()] } else { vec![HTTP11.into()] };
    if client_auth != ClientAuth::None {
        // A resumed session would skip the check of a certificate that has expired since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    let has_allowed_sans = section.client_allowed_sans.is_some();
    Ok(Some(Resolved { config, client_auth, has_allowed_sans, files }))
}

/// Whether there are fields that need TLS.
fn has_more(section: &TlsSection) -> bool {
    section.client_allowed_sans.is_some()
        || section.min_version.is_some()
        || section.max_version.is_some()
        || section.cipher_suites.is_some()
        || section.prefer_server_cipher_suites.is_some()
        || section.curve_preferences.is_some()
}

fn fault(line: u64, field: &str, problem: &str) -> Fault {
    let dot = if field.is_empty() { "" } else { "." };
    Fault { line, field: format!("tls_server_config{dot}{field}"), problem: problem.to_owned() }
}

/// Certificates or a key, from a file or from the configuration itself.
struct Pem {
    line: u64,
    field: String,
    /// The prefix of each fault: the file's name.
    name: String,
    file: Option<FileState>,
    bytes: Vec<u8>,
    hides_text: bool,
}

impl Pem {
    /// `None` if both fields are missing or empty. The file overrides the text.
    fn read(
        file: &Option<Spanned<String>>,
        text: &Option<Spanned<String>>,
        name: &str,
        folder: &Path,
    ) -> Result<Option<Pem>, Fault> {
        let [file, text] =
            [file, text].map(|field| field.as_ref().filter(|field| !field.value.is_empty()));
        let Some(given) = file.or(text) else { return Ok(None) };
        let mut pem = Pem {
            line: given.referenced.line(),
            field: name.to_owned(),
            name: String::new(),
            file: None,
            bytes: Vec::new(),
            hides_text: file.is_some() && text.is_some(),
        };
        if file.is_some() {
            let path = folder.join(&given.value);
            pem.field.push_str("_file");
            pem.name = format!("{}: ", path.display());
            let read = FileState::read(&path).map_err(|error| pem.fault(&error.to_string()))?;
            (pem.file, pem.bytes) = (Some(read.0), read.1);
        } else {
            pem.bytes = given.value.clone().into_bytes();
        }
        Ok(Some(pem))
    }

    fn fault(&self, problem: &str) -> Fault {
        fault(self.line, &self.field, &format!("{}{problem}", self.name))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Fault> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match all {
            Err(_) => Err(self.fault("is not valid PEM")),
            Ok(all) if all.is_empty() => Err(self.fault("has no certificate in PEM")),
            Ok(all) => Ok(all),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, Fault> {
        // The parser's error could contain a part of the key.
        let key = PrivateKeyDer::from_pem_slice(&self.bytes);
        key.map_err(|_| self.fault("has no private key in PEM, without a passphrase"))
    }
}

/// The configured versions that rustls supports.
fn versions(
    section: &TlsSection,
    warnings: &mut Vec<String>,
) -> Result<Vec<&'static SupportedProtocolVersion>, Fault> {
    let value = |field: &Option<Spanned<Version>>| field.as_ref().map(|field| field.value);
    let min = value(&section.min_version).unwrap_or(Version::Tls12);
    let max = value(&section.max_version).unwrap_or(Version::Tls13);
    let line =
        |field: &Option<Spanned<Version>>| field.as_ref().map(|field| field.referenced.line());
    if max < Version::Tls12 {
        let line = line(&section.max_version).expect("the default is higher");
        return Err(fault(
            line,
            "max_version",
            "is too old: the exporter supports only TLS12 and TLS13",
        ));
    }
    if min > max {
        let line = line(&section.min_version).or(line(&section.max_version));
        let line = line.expect("the defaults are in order");
        return Err(fault(line, "min_version", "is higher than max_version"));
    }
    if min < Version::Tls12 {
        warnings.push(
            "tls_server_config.min_version: counts as TLS12, because the exporter supports nothing older"
                .to_owned(),
        );
    }
    let mut versions = Vec::new();
    if max >= Version::Tls13 {
        versions.push(&TLS13);
    }
    if min <= Version::Tls12 {
        versions.push(&TLS12);
    }
    Ok(versions)
}

/// As in Go, the list is for TLS 1.2 only.
fn suites(
    section: &TlsSection,
    versions: &[&'static SupportedProtocolVersion],
    http2: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<SupportedCipherSuite>, Fault> {
    let all = aws_lc_rs::ALL_CIPHER_SUITES;
    let Some(list) = section.cipher_suites.as_ref().filter(|list| !list.value.is_empty()) else {
        return Ok(all.to_vec());
    };
    let refuse = |problem| Err(fault(list.referenced.line(), "cipher_suites", problem));
    for Suite { name, .. } in list.value.iter().filter(|suite| suite.suite.is_none()) {
        warnings.push(format!(
            "tls_server_config.cipher_suites: {name} is skipped: the exporter does not support it"
        ));
    }
    let listed: Vec<SupportedCipherSuite> =
        list.value.iter().filter_map(|suite| suite.suite).collect();
    if listed.is_empty() {
        return refuse("has no suite that the exporter supports");
    }
    let needed = [
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ];
    let has_tls12 = versions.contains(&&TLS12);
    if has_tls12 && http2 && !listed.iter().any(|suite| needed.contains(&suite.suite())) {
        return refuse(
            "HTTP/2 needs TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: add one, or set http_server_config.http2 to false",
        );
    }
    let is_usable =
        |suite: &SupportedCipherSuite| suite.tls13().is_some() || listed.contains(suite);
    let suites: Vec<_> = all.iter().copied().filter(is_usable).collect();
    if !versions.contains(&&TLS13) && suites.iter().all(|suite| suite.tls13().is_some()) {
        return refuse("has no suite of TLS 1.2, and max_version is TLS12");
    }
    Ok(suites)
}

fn groups(
    section: &TlsSection,
    warnings: &mut Vec<String>,
) -> Result<Vec<&'static dyn SupportedKxGroup>, Fault> {
    use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
    let Some(list) = section.curve_preferences.as_ref().filter(|list| !list.value.is_empty())
    else {
        return Ok(vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1]);
    };
    for Curve { name, .. } in list.value.iter().filter(|curve| curve.group.is_none()) {
        warnings.push(format!(
            "tls_server_config.curve_preferences: {name} is skipped: the exporter does not support it"
        ));
    }
    let groups: Vec<_> = list.value.iter().filter_map(|curve| curve.group).collect();
    if groups.is_empty() {
        return Err(fault(
            list.referenced.line(),
            "curve_preferences",
            "has no curve that the exporter supports: X25519MLKEM768, X25519, CurveP256 or CurveP384",
        ));
    }
    Ok(groups)
}

fn clients(
    section: &TlsSection,
    client_auth: Option<ClientAuth>,
    client_ca: Option<&Pem>,
    provider: &Arc<CryptoProvider>,
    warnings: &mut Vec<String>,
) -> Result<ClientCertificates, Fault> {
    let auth = client_auth.unwrap_or(ClientAuth::None);
    let sans = section.client_allowed_sans.as_ref();
    if let Some(sans) = sans.filter(|_| auth != ClientAuth::RequireAndVerify) {
        return Err(fault(
            sans.referenced.line(),
            "client_allowed_sans",
            "needs client_auth_type: RequireAndVerifyClientCert",
        ));
    }
    if sans.is_some_and(|sans| sans.value.is_empty()) {
        warnings.push(
            "tls_server_config.client_allowed_sans: is empty, so every client is refused"
                .to_owned(),
        );
    }
    if let Some(ca) = client_ca.filter(|_| auth == ClientAuth::None) {
        return Err(ca.fault("needs a client_auth_type, such as RequireAndVerifyClientCert"));
    }
    if client_ca.is_none() && auth.verifies() {
        warnings.push("tls_server_config.client_auth_type: has no client_ca_file, so every client certificate is refused".to_owned());
    }
    let trusted = client_ca.map(Pem::certificates).transpose()?.unwrap_or_default();
    let sans = sans.map(|sans| sans.value.iter().cloned().collect());
    ClientCertificates::new(auth, trusted, sans, provider.clone()).map_err(|problem| {
        let ca = client_ca.expect("only certificates that were given can be bad");
        ca.fault(&problem)
    })
}
