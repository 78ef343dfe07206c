//! The shape of the file: its sections, and which reader each field has.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::fault::Fault;
use super::fields::{self, Curve, Suite, Version};
use crate::web::auth::users::Hash;
use crate::web::client_certificates::ClientAuth;
use crate::web::rate::RateLimit;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub tls_server_config: Option<Spanned<TlsSection>>,
    pub http_server_config: Option<HttpSection>,
    pub basic_auth_users: Option<BTreeMap<String, Hash>>,
    pub rate_limit: Option<Spanned<RateSection>>,
}

/// Fields that are checked together or against a file remember their lines.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSection {
    pub cert: Option<Spanned<String>>,
    pub cert_file: Option<Spanned<String>>,
    pub key: Option<Spanned<String>>,
    pub key_file: Option<Spanned<String>>,
    pub client_ca: Option<Spanned<String>>,
    pub client_ca_file: Option<Spanned<String>>,
    pub client_auth_type: Option<Spanned<ClientAuthType>>,
    pub client_allowed_sans: Option<Spanned<Vec<String>>>,
    pub min_version: Option<Spanned<Version>>,
    pub max_version: Option<Spanned<Version>>,
    pub cipher_suites: Option<Spanned<Vec<Suite>>>,
    /// Today's Go ignores it, and so does the exporter.
    pub prefer_server_cipher_suites: Option<bool>,
    pub curve_preferences: Option<Spanned<Vec<Curve>>>,
}

/// An empty text does not switch TLS on, unlike `NoClientCert`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub struct ClientAuthType(pub Option<ClientAuth>);

impl TryFrom<String> for ClientAuthType {
    type Error = String;

    fn try_from(text: String) -> Result<ClientAuthType, String> {
        match text.as_str() {
            "" => Ok(ClientAuthType(None)),
            text => text.parse().map(Some).map(ClientAuthType),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSection {
    pub http2: Option<bool>,
    pub headers: Option<HeadersSection>,
}

/// The case of the names matters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadersSection {
    #[serde(rename = "Content-Security-Policy", deserialize_with = "fields::header")]
    content_security_policy: Option<HeaderValue>,
    #[serde(rename = "X-Frame-Options", deserialize_with = "fields::frame_options")]
    frame_options: Option<HeaderValue>,
    #[serde(rename = "X-Content-Type-Options", deserialize_with = "fields::content_type_options")]
    content_type_options: Option<HeaderValue>,
    #[serde(rename = "X-XSS-Protection", deserialize_with = "fields::header")]
    xss_protection: Option<HeaderValue>,
    #[serde(rename = "Strict-Transport-Security", deserialize_with = "fields::header")]
    strict_transport_security: Option<HeaderValue>,
}

impl HeadersSection {
    /// The headers that have a value.
    pub fn into_list(self, warnings: &mut Vec<String>) -> Vec<(HeaderName, HeaderValue)> {
        let mut list = Vec::new();
        for (written, name, value) in [
            ("Content-Security-Policy", CONTENT_SECURITY_POLICY, self.content_security_policy),
            ("X-Frame-Options", X_FRAME_OPTIONS, self.frame_options),
            ("X-Content-Type-Options", X_CONTENT_TYPE_OPTIONS, self.content_type_options),
            ("X-XSS-Protection", X_XSS_PROTECTION, self.xss_protection),
            (
                "Strict-Transport-Security",
                STRICT_TRANSPORT_SECURITY,
                self.strict_transport_security,
            ),
        ] {
            match value {
                None => {}
                Some(value) if value.is_empty() => warnings.push(format!(
                    "http_server_config.headers.{written}: is empty, so it is not sent"
                )),
                Some(value) => list.push((name, value)),
            }
        }
        list
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateSection {
    #[serde(deserialize_with = "fields::interval")]
    interval: Duration,
    burst: Option<Spanned<i64>>,
}

/// An interval of 0 is no limit.
pub fn rate_limit(
    section: &RateSection,
    line: u64,
    warnings: &mut Vec<String>,
) -> Result<Option<RateLimit>, Fault> {
    let burst = section.burst.as_ref();
    if section.interval.is_zero() {
        if burst.is_some_and(|burst| burst.value != 0) {
            warnings.push("rate_limit: has no interval, so there is no limit".to_owned());
        }
        return Ok(None);
    }
    match burst.map_or(0, |burst| burst.value) {
        ..1 => Err(Fault {
            line: burst.map_or(line, |burst| burst.referenced.line()),
            field: "rate_limit.burst".to_owned(),
            problem: "must be 1 or more, or every request would be refused".to_owned(),
        }),
        burst => Ok(Some(RateLimit::new(
            section.interval,
            u32::try_from(burst).unwrap_or(u32::MAX), // no limit that anybody reaches
        ))),
    }
}
