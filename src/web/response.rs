//! Short responses, and the headers that each response has.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};

use super::body::{Body, Part};

/// The type of plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// A short answer in plain text.
pub fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    respond(status, TEXT, [Bytes::from(text)])
}

/// A response of these parts.
pub fn respond<P: Into<Part>>(
    status: StatusCode,
    kind: &'static str,
    parts: impl IntoIterator<Item = P>,
) -> Response<Body> {
    let mut response = Response::new(Body::new(parts));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
