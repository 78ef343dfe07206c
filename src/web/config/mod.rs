//! The web configuration file: TLS, passwords, response headers and a rate limit, in the format of
//! Prometheus's exporter-toolkit. Every error names file, line and field.

pub(super) mod fault;
pub(super) mod fields;
pub(super) mod files;
pub(super) mod sections;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use hyper::header::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use super::auth::users::Users;
use super::client_certificates::ClientAuth;
use super::rate::RateLimit;
use super::tls;
use crate::config::{Error, parse_yaml};
use crate::printable::escape;
use fault::Fault;
use files::FileState;
use sections::{File, HttpSection};

/// The settings of the web configuration file. Without a file there are none.
#[derive(Debug, Default)]
pub struct WebConfig {
    /// `None`: plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// The users. If there are none, no password is needed.
    pub users: Users,
    /// Headers of every response that does not set them itself.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// How many requests an address may make.
    pub rate: Option<RateLimit>,
    /// One line for each value that is valid but has no effect, or probably is a mistake.
    pub warnings: Vec<String>,
    client_auth: Option<ClientAuth>,
    has_allowed_sans: bool,
    /// Certificates, keys and CAs.
    files: Vec<FileState>,
    /// The file itself.
    file: Option<FileState>,
    is_empty: bool,
}

impl WebConfig {
    /// Reads a file and those that it names. Paths in it are relative to its folder.
    pub fn load(path: &Path) -> Result<WebConfig, Error> {
        let failed = |error| Error::Unreadable { path: path.to_owned(), error };
        let (file, bytes) = FileState::read(path).map_err(failed)?;
        let text =
            String::from_utf8(bytes).map_err(|_| failed(std::io::Error::other("is not UTF-8")))?;
        let mut config = WebConfig::parse(&text, path)?;
        config.file = Some(file);
        Ok(config)
    }

    /// The same while `before` is in force.
    pub fn load_again(path: &Path, before: &WebConfig) -> Result<WebConfig, Error> {
        let after = WebConfig::load(path)?;
        if after.is_empty && !before.is_nothing() {
            return Err(Error::Emptied { path: path.to_owned() });
        }
        match (&before.tls, &after.tls) {
            (Some(_), None) => Err(needs_restart(path, "off")),
            (None, Some(_)) => Err(needs_restart(path, "on")),
            _ => Ok(after),
        }
    }

    /// Reads the text of a file. `path` is for errors, and for the files that it names.
    pub fn parse(text: &str, path: &Path) -> Result<WebConfig, Error> {
        let file: File = parse_yaml(text, path, "name: value").map_err(without_spans)?;
        let config = resolve(file, path.parent().unwrap_or(Path::new("")));
        let mut config = config.map_err(|Fault { line, field, problem }| Error::Invalid {
            path: path.to_owned(),
            line,
            field: format!("{field}: "),
            // A value, such as the name of a file, can have several lines.
            problem: escape(&problem),
        })?;
        config.is_empty = text.trim_start_matches('\u{feff}').trim().is_empty();
        Ok(config)
    }

    /// Whether one of its files has changed. Blocks on the disk.
    pub fn has_changed(&self) -> bool {
        self.files.iter().chain(&self.file).any(FileState::has_changed)
    }

    /// Requirements on clients that `before` had and that are gone.
    pub fn dropped_since(&self, before: &WebConfig) -> Vec<&'static str> {
        let demands = |config: &WebConfig| {
            [
                ("passwords", !config.users.is_empty()),
                ("client certificates", config.client_auth.is_some_and(ClientAuth::is_mandatory)),
                (
                    "verified client certificates",
                    config.client_auth.is_some_and(ClientAuth::verifies),
                ),
                ("allowed names of clients", config.has_allowed_sans),
            ]
        };
        let both = demands(before).into_iter().zip(demands(self));
        both.filter(|((_, was), (_, is))| *was && !is).map(|((name, _), _)| name).collect()
    }

    /// Whether both were read from the same file at the same state of it.
    pub fn is_of_same_file(&self, other: &WebConfig) -> bool {
        self.file == other.file
    }

    fn is_nothing(&self) -> bool {
        let WebConfig { tls, users, headers, rate, .. } = self;
        tls.is_none() && users.is_empty() && headers.is_empty() && rate.is_none()
    }
}

/// For people.
impl fmt::Display for WebConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tls {
            None => writeln!(f, "web: plain HTTP")?,
            Some(tls) if tls.alpn_protocols.iter().any(|name| name == tls::H2) => {
                writeln!(f, "web: TLS, with HTTP/2")?;
            }
            Some(_) => writeln!(f, "web: TLS, without HTTP/2")?,
        }
        match self.users.names().collect::<Vec<_>>().as_slice() {
            [] => writeln!(f, "web: no passwords")?,
            names => writeln!(f, "web: passwords of {}", names.join(", "))?,
        }
        for (name, value) in &self.headers {
            writeln!(f, "web: header {name}: {}", String::from_utf8_lossy(value.as_bytes()))?;
        }
        match &self.rate {
            None => Ok(()),
            Some(rate) => writeln!(f, "web: {rate}"),
        }
    }
}

fn needs_restart(path: &Path, state: &str) -> Error {
    Error::Invalid {
        path: path.to_owned(),
        line: 1,
        field: "tls_server_config: ".to_owned(),
        problem: format!("TLS is switched {state} only by a restart"),
    }
}

/// Values that remember their line leave a trace in a field's path.
fn without_spans(error: Error) -> Error {
    match error {
        Error::Invalid { path, line, field, problem } if !field.starts_with("basic_auth_users") => {
            Error::Invalid { path, line, field: field.replace(".value", ""), problem }
        }
        error => error,
    }
}

fn resolve(file: File, folder: &Path) -> Result<WebConfig, Fault> {
    let mut warnings = Vec::new();
    let HttpSection { http2, headers } = file.http_server_config.unwrap_or_default();
    let (mut tls, mut files) = (None, Vec::new());
    let (mut client_auth, mut has_allowed_sans) = (None, false);
    if let Some(section) = file.tls_server_config {
        let line = section.referenced.line();
        match tls::resolve(&section.value, line, folder, http2.unwrap_or(true), &mut warnings)? {
            None => warnings.push("tls_server_config: is empty, so there is no TLS".to_owned()),
            Some(resolved) => {
                (tls, files) = (Some(Arc::new(resolved.config)), resolved.files);
                client_auth = Some(resolved.client_auth);
                has_allowed_sans = resolved.has_allowed_sans;
            }
        }
    }
    let rate = match file.rate_limit {
        None => None,
        Some(section) => {
            sections::rate_limit(&section.value, section.referenced.line(), &mut warnings)?
        }
    };
    let headers = headers.unwrap_or_default().into_list(&mut warnings);
    let users = Users::new(file.basic_auth_users.unwrap_or_default());
    warnings.extend(users.warnings());
    if tls.is_none() && !users.is_empty() {
        warnings.push(
            "basic_auth_users: passwords cross the network unencrypted without tls_server_config"
                .to_owned(),
        );
    }
    Ok(WebConfig {
        tls,
        users,
        headers,
        rate,
        warnings,
        client_auth,
        has_allowed_sans,
        files,
        file: None,
        is_empty: false,
    })
}

#[cfg(test)]
mod tests;
