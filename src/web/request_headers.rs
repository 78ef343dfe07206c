//! What the headers of a request say.

use hyper::Uri;
use hyper::header::{ACCEPT_ENCODING, HOST, HeaderMap, HeaderValue, ORIGIN};

/// Whether a browser sends this request for a page of another site. Browsers set Sec-Fetch-Site,
/// older ones Origin. Other clients set neither.
pub fn is_cross_site(uri: &Uri, headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let host = match uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes),
    };
    let origin = origin.as_bytes();
    let authority = origin.strip_prefix(b"http://").or(origin.strip_prefix(b"https://"));
    !authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// Whether the client takes gzip: RFC 9110, section 12.5.3. A named coding overrides `*`.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for item in value.to_str().unwrap_or_default().split(',') {
            let (coding, parameters) = item.split_once(';').unwrap_or((item, ""));
            let quality = parameters.trim().strip_prefix("q=").map(|q| q.trim().parse::<f32>());
            let wanted = !matches!(quality, Some(Ok(0.0) | Err(_)));
            match coding.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => return wanted,
                "*" => any = wanted,
                _ => {}
            }
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_told_by_their_headers() {
        for (headers, expected) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://exporter:9718")], true),
            (&[("origin", "http://exporter:9718")], false),
            (&[("origin", "https://EXPORTER:9718")], false),
            (&[("origin", "http://exporter")], true),
            (&[("origin", "http://elsewhere:9718")], true),
            (&[("origin", "null")], true),
            (&[("origin", "")], true),
        ] {
            let mut map = HeaderMap::new();
            map.insert(HOST, HeaderValue::from_static("exporter:9718"));
            for (name, value) in headers {
                map.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(
                is_cross_site(&Uri::from_static("/-/reload"), &map),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (value, expected) in [
            ("gzip", true),
            ("GZIP", true),
            ("deflate, gzip;q=0.5", true),
            ("gzip ; q=1.0, identity", true),
            ("*", true),
            ("", false),
            ("br", false),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip;q=0.000, *", false),
            ("*;q=0", false),
            ("gzip;q=much", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepts_gzip(&headers), expected, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
