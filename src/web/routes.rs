//! Which path answers what.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderMap, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::body::Body;
use crate::metrics::own::Own;
use crate::metrics::page::Page;
use crate::reload::Reloader;

/// What is served.
#[derive(Debug)]
pub struct Site {
    /// The newest page.
    pub page: watch::Receiver<Arc<Page>>,
    /// The exporter's own metrics.
    pub own: Own,
    /// The path of the metrics.
    pub telemetry_path: String,
    /// Reads the configuration again; `None` where clients may not ask for that.
    pub reloader: Option<Arc<Reloader>>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

/// The site as hyper serves it.
#[derive(Debug, Clone)]
pub struct Routes(pub Arc<Site>);

impl Service<Request<Incoming>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let site = self.0.clone();
        Box::pin(async move {
            let response = route(&site, &request).await;
            site.own.http_request(response.status().as_str());
            Ok(response)
        })
    }
}

async fn route(site: &Site, request: &Request<Incoming>) -> Response<Body> {
    if !request.body().is_end_stream() {
        let mut response = text(StatusCode::PAYLOAD_TOO_LARGE, "no request here has a body\n");
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    let path = request.uri().path();
    if path == "/-/reload" {
        return match *request.method() {
            Method::POST | Method::PUT => reload(site).await,
            _ => not_allowed("POST, PUT"),
        };
    }
    if path == site.telemetry_path {
        return match *request.method() {
            Method::GET | Method::HEAD => metrics(site, request.headers()).await,
            _ => not_allowed("GET, HEAD"),
        };
    }
    let get: fn(&Site, &HeaderMap) -> Response<Body> = match path {
        "/" => landing,
        "/-/healthy" => |_, _| text(StatusCode::OK, "healthy\n"),
        "/-/ready" => readiness,
        _ => return text(StatusCode::NOT_FOUND, "not found\n"),
    };
    match *request.method() {
        Method::GET | Method::HEAD => get(site, request.headers()),
        _ => not_allowed("GET, HEAD"),
    }
}

fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "another method is needed\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

async fn reload(site: &Site) -> Response<Body> {
    let Some(reloader) = site.reloader.clone() else {
        return text(StatusCode::FORBIDDEN, "needs the flag --web.enable-lifecycle\n");
    };
    match spawn_blocking(move || reloader.reload()).await {
        Ok(Ok(())) => text(StatusCode::OK, "reloaded\n"),
        Ok(Err(error)) => {
            let error = format!("not reloaded: {error}\n");
            respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, [error.into()])
        }
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "not reloaded\n"),
    }
}

async fn metrics(site: &Site, headers: &HeaderMap) -> Response<Body> {
    let own = site.own.gather();
    let page = site.page.borrow().clone();
    let gzip = accepts_gzip(headers);
    let parts = match gzip {
        true => page.gzip(&own),
        false if page.is_unpacked() => page.plain(own),
        false => spawn_blocking(move || page.plain(own)).await.expect("it does not panic"),
    };
    let mut response = respond(StatusCode::OK, METRICS, parts);
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn readiness(site: &Site, _: &HeaderMap) -> Response<Body> {
    match site.page.borrow().ready() {
        true => text(StatusCode::OK, "ready\n"),
        false => text(StatusCode::SERVICE_UNAVAILABLE, "not every account was tried yet\n"),
    }
}

fn landing(site: &Site, _: &HeaderMap) -> Response<Body> {
    let version = env!("CARGO_PKG_VERSION");
    let path = &site.telemetry_path;
    let page = format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <head><meta charset=\"utf-8\"><title>iam-key-exporter</title></head>\n\
         <body>\n\
         <h1>iam-key-exporter {version}</h1>\n\
         <p>AWS IAM access keys that have not been rotated, for Prometheus.</p>\n\
         <ul>\n\
         <li><a href=\"{path}\">Metrics</a></li>\n\
         <li><a href=\"/-/healthy\">Healthy</a></li>\n\
         <li><a href=\"/-/ready\">Ready</a></li>\n\
         </ul>\n\
         </body>\n\
         </html>\n"
    );
    let mut response = respond(StatusCode::OK, HTML, [page.into()]);
    let policy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<Body> {
    respond(status, TEXT, [text.into()])
}

fn respond(
    status: StatusCode,
    kind: &'static str,
    parts: impl IntoIterator<Item = Bytes>,
) -> Response<Body> {
    let mut response = Response::new(Body::new(parts));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Whether the client takes gzip: RFC 9110, section 12.5.3. A coding that is named decides over `*`.
fn accepts_gzip(headers: &HeaderMap) -> bool {
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
