//! What a client sends to log in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Name and password, as a client sends them.
#[derive(Clone)]
pub struct Credentials {
    pub(super) name: String,
    pub(super) password: Vec<u8>,
}

impl Credentials {
    /// Reads the value of an `Authorization` header. `None` if it holds no basic credentials.
    pub fn parse(header: &[u8]) -> Option<Credentials> {
        let (scheme, encoded) = header.split_at_checked("Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return None;
        }
        let mut name = STANDARD.decode(encoded.trim_ascii()).ok()?;
        let colon = name.iter().position(|byte| *byte == b':')?;
        let password = name.split_off(colon + 1);
        name.truncate(colon);
        Some(Credentials { name: String::from_utf8(name).ok()?, password })
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_go_reads_them() {
        let read = |header: String| {
            Credentials::parse(header.as_bytes())
                .map(|it| (it.name, String::from_utf8(it.password).expect("UTF-8")))
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(read(basic("alice:secret")), pair("alice", "secret"));
        assert_eq!(read(basic("alice:a:b")), pair("alice", "a:b"));
        assert_eq!(read(basic("alice:")), pair("alice", ""));
        assert_eq!(read(basic(":secret")), pair("", "secret"));
        assert_eq!(read(basic("alice:secret").replace("Basic", "bAsIc")), pair("alice", "secret"));
        for header in ["", "Basic", "Basic ", "Basic =", "Bearer YTpi", "Basic YWxpY2U="] {
            assert_eq!(read(header.to_owned()), None, "{header}");
        }
    }
}
