//! Files with tokens, whose contents are secrets.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use super::profiles::in_home;
use crate::failure::{Failure, Reason};
use crate::secrets;
use crate::source::regular_file;

/// Tokens are a few kilobytes.
const MAX_TOKEN: u64 = 1 << 20;

/// Reads the file of a token, which is known as a secret from then on.
pub fn check_token(path: &Path, what: &str) -> Result<(), Failure> {
    let bytes = regular_file::read(path, MAX_TOKEN)
        .map_err(|error| failure(&format!("{what}: {}: {error}", path.display())))?;
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok("") => Err(failure(&format!("{what}: {} is empty", path.display()))),
        Ok(token) => {
            secrets::add(token);
            Ok(())
        }
        Err(_) => Err(failure(&format!("{what}: {} is not UTF-8", path.display()))),
    }
}

/// Knows the tokens of sign-on sessions that the AWS CLI keeps.
pub fn add_sign_on_tokens() {
    let Ok(entries) = fs::read_dir(in_home("~/.aws/sso/cache")) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let session = regular_file::read(&path, MAX_TOKEN)
            .ok()
            .and_then(|text| serde_json::from_slice::<Json>(&text).ok());
        for key in ["accessToken", "refreshToken", "clientSecret"] {
            if let Some(Json::String(token)) = session.as_ref().and_then(|session| session.get(key))
            {
                secrets::add(token);
            }
        }
    }
}

fn failure(message: &str) -> Failure {
    Failure::new(Reason::Credentials, message)
}
