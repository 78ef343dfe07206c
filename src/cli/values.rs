//! Readers of the values of flags.

use std::net::Ipv6Addr;
use std::time::Duration;

use tracing::Level;

use crate::config;
use crate::web::routes;

pub fn pause(text: &str) -> Result<Duration, String> {
    config::parse_duration(text, Duration::from_secs(24 * 60 * 60))
}

pub fn keep_missing(text: &str) -> Result<Duration, String> {
    config::parse_duration(text, Duration::from_secs(365 * 24 * 60 * 60))
}

pub fn listen_address(text: &str) -> Result<String, String> {
    let is_v6 = |host: &str| host.parse::<Ipv6Addr>().is_ok();
    match text.rsplit_once(':') {
        Some((host, port)) if is_v6(host) && port.parse::<u16>().is_ok() => {
            Err(format!("an IPv6 address needs brackets: write [{host}]:{port}"))
        }
        _ if is_v6(text) => {
            Err(format!("an IPv6 address needs brackets and a port: write [{text}]:9718"))
        }
        Some((_, port)) if port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("must be host:port, or :port for every address".to_owned()),
    }
}

pub fn telemetry_path(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.~".contains(c);
    if text.starts_with('/') && text.chars().all(plain) && !routes::is_reserved(text) {
        Ok(text.to_owned())
    } else {
        Err("must begin with / and be made of letters, digits and /-_.~, and not be one of the exporter's own paths".to_owned())
    }
}

/// The status page may link to this. Other schemes could run code in a reader's browser.
pub fn url(text: &str) -> Result<String, &'static str> {
    let is_blank = |c: char| c.is_whitespace() || c.is_control();
    match text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
        Some(rest) if !rest.is_empty() && !rest.contains(is_blank) => Ok(text.to_owned()),
        _ => Err("must begin with https:// or http:// and have no blanks"),
    }
}

/// Links add the section.
pub fn runbook_url(text: &str) -> Result<String, &'static str> {
    if text.contains('#') { Err("must have no part after #") } else { url(text) }
}

pub fn log_level(text: &str) -> Result<Level, String> {
    match text.to_ascii_lowercase().as_str() {
        "debug" => Ok(Level::DEBUG),
        "info" => Ok(Level::INFO),
        "warn" => Ok(Level::WARN),
        "error" => Ok(Level::ERROR),
        _ => Err("must be debug, info, warn or error".to_owned()),
    }
}
