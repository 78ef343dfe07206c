//! The environment variables about AWS. They are checked once, at the start, because the SDK panics
//! on some values and silently ignores others.

use std::env::{self, VarError};
use std::path::Path;

use aws_config::Region;
use aws_credential_types::Credentials;

use super::http;
use crate::failure::{Failure, Reason};
use crate::secrets;

const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
const CONTAINER_TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const CONTAINER_PATH: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
/// The SDK's endpoints for the credentials of a container or an instance.
const METADATA_URLS: [&str; 2] =
    ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"];
const PATHS: [&str; 5] = [
    http::CA_BUNDLE,
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// Fails with the first variable that is invalid. Registers the secrets in them. Blocks on the
/// disk, with a time limit.
pub fn check() -> Result<(), Failure> {
    add_secrets();
    for (name, value) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("AWS_") && value.to_str().is_none() {
            return Err(fault(&name, "is not UTF-8"));
        }
    }
    for name in [KEY_ID, SECRET, SESSION_TOKEN] {
        if let Some(value) = get(name)? {
            check_key(name, &value)?;
        }
    }
    // `Basic` and a password have a blank between them.
    if get(CONTAINER_TOKEN)?.is_some_and(|token| token.contains(char::is_control)) {
        return Err(fault(CONTAINER_TOKEN, "has a line break in it"));
    }
    let looks_like_id = |name| Ok(get(name)?.is_some_and(|value| is_key_id(&value)));
    if looks_like_id(SECRET)? && !looks_like_id(KEY_ID)? {
        return Err(fault(KEY_ID, &format!("seems to be swapped with {SECRET}")));
    }
    for (name, value) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("AWS_ENDPOINT_URL") {
            check_url(&value.to_string_lossy()).map_err(|what| fault(&name, what))?;
        }
    }
    for name in REGIONS {
        check_value(name, check_region)?;
    }
    // The SDK panics on some that are no URLs.
    for name in METADATA_URLS {
        check_value(name, check_url)?;
    }
    if get(CONTAINER_PATH)?.is_some_and(|path| !path.starts_with('/')) {
        return Err(fault(CONTAINER_PATH, "must begin with /"));
    }
    for name in PATHS {
        check_value(name, check_path)?;
    }
    let ca_bundle = get(http::CA_BUNDLE)?;
    http::check(ca_bundle.as_ref().map(Path::new)).map_err(|failure| match ca_bundle {
        Some(_) => fault(http::CA_BUNDLE, &failure.message),
        None => Failure::new(failure.reason, format!("{failure}: see SSL_CERT_FILE, SSL_CERT_DIR")),
    })
}

fn check_value(
    name: &str,
    check: impl Fn(&str) -> Result<(), &'static str>,
) -> Result<(), Failure> {
    let value = get(name)?;
    value.map_or(Ok(()), |value| check(&value)).map_err(|what| fault(name, what))
}

/// A shorter word is not a token.
const MIN_TOKEN: usize = 16;

/// The access key that the environment has, if any.
pub fn credentials() -> Result<Option<Credentials>, Failure> {
    let (id, secret) = (get(KEY_ID)?, get(SECRET)?);
    let Some((id, secret)) = id.zip(secret) else { return Ok(None) };
    Ok(Some(Credentials::new(id, secret, get(SESSION_TOKEN)?, None, "environment")))
}

/// The region that the environment names, if any.
pub fn region() -> Option<Region> {
    REGIONS.into_iter().find_map(value).map(Region::new)
}

/// A variable. An empty one counts as unset, and blanks and line breaks around the value are ignored.
/// [`check`] has refused values that are not UTF-8.
pub fn value(name: &str) -> Option<String> {
    get(name).unwrap_or_default()
}

fn get(name: &str) -> Result<Option<String>, Failure> {
    match env::var(name) {
        Ok(value) => Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(fault(name, "is not UTF-8")),
    }
}

/// Fails if AWS cannot have given this key id, secret or token. The value is not in the message.
pub fn check_key(name: &str, value: &str) -> Result<(), Failure> {
    if value.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(fault(name, "has a blank or a line break in it"));
    }
    Ok(())
}

/// The error in the URL of an endpoint, if any.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    let has_scheme = url.starts_with("http://") || url.starts_with("https://");
    match url::Url::parse(url) {
        _ if url.is_empty() => Err("is empty: unset it, or give a URL"),
        Ok(parsed)
            if has_scheme && parsed.has_host() && url.bytes().all(|b| b.is_ascii_graphic()) =>
        {
            Ok(())
        }
        _ => Err("must be a URL such as https://sts.eu-west-1.amazonaws.com"),
    }
}

/// The error in the name of a region, if any. It becomes part of the names of hosts.
pub fn check_region(region: &str) -> Result<(), &'static str> {
    let is_label = region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !region.starts_with('-')
        && !region.ends_with('-')
        && (1..=63).contains(&region.len());
    if is_label { Ok(()) } else { Err("must be a region such as eu-west-1") }
}

/// Fails if this seems to be a token in the place of the path of its file. It is a secret from then on, and
/// so is a value that only may be one.
pub fn check_path(value: &str) -> Result<(), &'static str> {
    let has_form_of_path = value.starts_with(['/', '.', '~']) && !value.contains(['+', '=']);
    if value.len() >= MIN_TOKEN && !has_form_of_path && !Path::new(value).exists() {
        secrets::add(value);
    }
    let is_web_token = value.starts_with("eyJ") && value.matches('.').count() >= 2;
    // No file can have such a name.
    if is_web_token || value.split('/').any(|name| name.len() > 255) {
        secrets::add(value);
        return Err("is wrong: the value is not a path");
    }
    Ok(())
}

/// Knows the password of a URL, if it has one, even if it is no whole URL.
pub fn add_password(url: &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let password = rest.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
    if let Some((_, password)) = password {
        secrets::add(password);
    }
}

/// With id and secret swapped, the id is really the secret, which is twice as long.
pub fn add_if_swapped(id: &str) {
    if id.trim().len() >= 40 {
        secrets::add(id);
    }
}

fn is_key_id(value: &str) -> bool {
    let is_id = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    value.len() == 20 && value.starts_with('A') && value.chars().all(is_id)
}

fn add_secrets() {
    for name in [SECRET, "SECRET_ACCESS_KEY", SESSION_TOKEN, CONTAINER_TOKEN] {
        // A key id in the place of the secret is not a secret.
        if let Some(secret) = value(name).filter(|secret| !is_key_id(secret)) {
            secrets::add(&secret);
        }
    }
    if let Some(id) = value(KEY_ID) {
        add_if_swapped(&id);
    }
    for (name, url) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("AWS_ENDPOINT_URL") || METADATA_URLS.contains(&&*name) {
            add_password(&url.to_string_lossy());
        }
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        for name in [name.to_owned(), name.to_lowercase()] {
            let url = value(&name).and_then(|proxy| url::Url::parse(&proxy).ok());
            if let Some(password) = url.as_ref().and_then(url::Url::password) {
                secrets::add(password);
            }
        }
    }
}

fn fault(name: &str, what: &str) -> Failure {
    Failure::new(Reason::Credentials, format!("{name} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_with_a_host() {
        for good in ["http://127.0.0.1:4566", "https://sts.example.com/", "http://[::1]:80"] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in ["", "localhost:4566", "ftp://x", "http://", "http://a b", "http://[::", ":"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_region_is_a_part_of_a_host_name() {
        for good in ["us-east-1", "us-gov-west-1", "aws-global"] {
            assert_eq!(check_region(good), Ok(()), "{good}");
        }
        let long = "a".repeat(64);
        for bad in ["us-east-1 x", "us-east-1/", "us.east", "-us", "us-", &long] {
            assert!(check_region(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_not_a_path() {
        for good in ["/var/run/token", "token.a.b", "eyJ.txt", "/x/eyJ.a.b", &"a".repeat(255)] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for bad in ["eyJhbGciOiJub25lIn0.e30.c2ln", &format!("/x/{}", "b".repeat(256))] {
            assert!(check_path(bad).is_err(), "{bad}");
            assert_eq!(secrets::mask(bad), secrets::MASK);
        }
    }

    #[test]
    fn a_key_has_no_blanks() {
        assert_eq!(check_key("X", "AKIAEXAMPLE"), Ok(()));
        for bad in ["AKIA\nEXAMPLE", "AKIA EXAMPLE", "AKIA\u{0}"] {
            let failure = check_key("X", bad).expect_err(bad);
            assert_eq!(failure.message, "X has a blank or a line break in it");
        }
    }
}
