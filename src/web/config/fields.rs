//! One reader for each kind of field. It checks the value while the field is read, so that the error has
//! the field's line and path.

use std::time::Duration;

use hyper::header::HeaderValue;
use rustls::SupportedCipherSuite;
use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use serde::Deserialize;
use serde::de::Deserializer;

use crate::config::read_field;

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub enum Version {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

impl TryFrom<String> for Version {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Version, Self::Error> {
        match text.as_str() {
            "TLS10" => Ok(Version::Tls10),
            "TLS11" => Ok(Version::Tls11),
            "TLS12" => Ok(Version::Tls12),
            "TLS13" => Ok(Version::Tls13),
            _ => Err("must be TLS12 or TLS13"),
        }
    }
}

/// A cipher suite by Go's name for it. `suite` is `None` if rustls does not have it.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Suite {
    pub name: String,
    pub suite: Option<SupportedCipherSuite>,
}

impl TryFrom<String> for Suite {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Suite, Self::Error> {
        let suite = match name.as_str() {
            "TLS_AES_128_GCM_SHA256" => Some(cipher_suite::TLS13_AES_128_GCM_SHA256),
            "TLS_AES_256_GCM_SHA384" => Some(cipher_suite::TLS13_AES_256_GCM_SHA384),
            "TLS_CHACHA20_POLY1305_SHA256" => Some(cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => {
                Some(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)
            }
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => {
                Some(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)
            }
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => {
                Some(cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256)
            }
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => {
                Some(cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)
            }
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => {
                Some(cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)
            }
            "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => {
                Some(cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256)
            }
            "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"
            | "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"
            | "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"
            | "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA" => None,
            _ => return Err("unknown cipher suite, or one that is not secure"),
        };
        Ok(Suite { name, suite })
    }
}

/// A group for the key exchange by Go's name for it. `group` is `None` if rustls does not have it.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Curve {
    pub name: String,
    pub group: Option<&'static dyn SupportedKxGroup>,
}

impl TryFrom<String> for Curve {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Curve, Self::Error> {
        let group: Option<&'static dyn SupportedKxGroup> = match name.as_str() {
            "X25519MLKEM768" => Some(kx_group::X25519MLKEM768),
            "X25519" => Some(kx_group::X25519),
            "CurveP256" => Some(kx_group::SECP256R1),
            "CurveP384" => Some(kx_group::SECP384R1),
            "CurveP521" => None,
            _ => return Err("must be X25519MLKEM768, X25519, CurveP256, CurveP384 or CurveP521"),
        };
        Ok(Curve { name, group })
    }
}

/// The value of a response header.
pub fn header<'de, D: Deserializer<'de>>(field: D) -> Result<Option<HeaderValue>, D::Error> {
    read_field(field, |text: Option<String>| text.map(header_value).transpose())
}

pub fn frame_options<'de, D: Deserializer<'de>>(field: D) -> Result<Option<HeaderValue>, D::Error> {
    read_field(field, |text: Option<String>| match text.as_deref() {
        None => Ok(None),
        Some(text @ ("deny" | "sameorigin")) => header_value(text.to_owned()).map(Some),
        Some(_) => Err("must be deny or sameorigin"),
    })
}

pub fn content_type_options<'de, D>(field: D) -> Result<Option<HeaderValue>, D::Error>
where
    D: Deserializer<'de>,
{
    read_field(field, |text: Option<String>| match text.as_deref() {
        None => Ok(None),
        Some("nosniff") => Ok(Some(HeaderValue::from_static("nosniff"))),
        Some(_) => Err("must be nosniff"),
    })
}

/// Line breaks become spaces, because YAML has several ways to write a long text.
fn header_value(text: String) -> Result<HeaderValue, &'static str> {
    HeaderValue::try_from(text.trim().replace(['\r', '\n'], " "))
        .map_err(|_| "has a character that no header may have")
}

/// A duration as Go writes it, such as `500ms` or `1h30m`. Empty: 0.
pub fn interval<'de, D: Deserializer<'de>>(field: D) -> Result<Duration, D::Error> {
    read_field(field, |text: Option<String>| match text.as_deref() {
        None | Some("0") => Ok(Duration::ZERO),
        Some(text) => go_duration(text),
    })
}

/// Go's longest duration: 292 years.
const MAX_INTERVAL: Duration = Duration::from_nanos(i64::MAX as u64);

/// Go's `time.ParseDuration`, without signs.
fn go_duration(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "must be 0 or a duration with a unit, such as 500ms, 1s or 1h30m";
    let mut total = Duration::ZERO;
    let mut rest = text;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(FORM)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let nanoseconds = match unit {
            "ns" => 1e0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(FORM),
        };
        let number: f64 = number.parse().map_err(|_| FORM)?;
        let part = Duration::try_from_secs_f64(number * nanoseconds / 1e9).map_err(|_| FORM)?;
        total = total.checked_add(part).ok_or(FORM)?;
        rest = tail;
        if rest.is_empty() {
            return if total > MAX_INTERVAL { Err("is longer than 292 years") } else { Ok(total) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, expected) in [
            ("1s", 1_000_000),
            ("500ms", 500_000),
            ("1h30m", 5_400_000_000),
            ("1.5s", 1_500_000),
            (".5s", 500_000),
            ("10us", 10),
            ("10µs", 10),
            ("0s", 0),
        ] {
            assert_eq!(go_duration(text), Ok(Duration::from_micros(expected)), "{text}");
        }
        for text in ["", "5", "1d", "1", "s", "-1s", "+1s", "1 s", "1s ", "1s5", "1..5s", "1e3s"] {
            assert!(go_duration(text).is_err(), "{text}");
        }
        assert!(go_duration("2562047h").is_ok() && go_duration("2562048h").is_err());
    }
}
