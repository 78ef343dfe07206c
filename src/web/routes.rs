//! Which path answers what.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_ENCODING,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;

use super::body::Body;
use super::gate::Gate;
use super::status::key::KeyPage;
use super::status::query::Query;
use super::status::{self, StatusSettings};
use crate::metrics::exporter::ExporterMetrics;
use crate::metrics::gzip::{self, Tail};
use crate::reload::Reloader;
use crate::render::Snapshot;

/// What is served.
#[derive(Debug)]
pub struct Site {
    /// The newest snapshot.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The exporter's own metrics.
    pub metrics: ExporterMetrics,
    /// What the status page says besides the snapshot. Also has the path of the metrics.
    pub status: StatusSettings,
    /// Held while a status page is rendered.
    pub render_permit: Arc<Semaphore>,
    /// Lets in who may come in.
    pub gate: Gate,
    /// Reads the configuration again; `None` if clients may not ask for that.
    pub reloader: Option<Arc<Reloader>>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const CSV: &str = "text/csv; charset=utf-8";
const CALENDAR: &str = "text/calendar; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// Answers a request that was let in.
pub async fn route(site: &Arc<Site>, request: &Request<Incoming>) -> Response<Body> {
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
    let route = match path {
        _ if path == site.status.telemetry_path => Route::Metrics,
        "/" => Route::Document(status_page),
        "/key" => Route::Document(key_page),
        "/keys.csv" => Route::Document(csv),
        "/due.ics" => Route::Document(calendar),
        "/runbooks" => Route::Document(runbooks),
        "/status.css" => Route::Style,
        "/-/healthy" => Route::Healthy,
        "/-/ready" => Route::Ready,
        _ => return text(StatusCode::NOT_FOUND, "not found\n"),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return not_allowed("GET, HEAD");
    }
    match route {
        Route::Metrics => metrics(site, request.headers()).await,
        Route::Document(make) => for_people(site, request, make).await,
        Route::Style => style(),
        Route::Healthy => text(StatusCode::OK, "healthy\n"),
        Route::Ready => readiness(site),
    }
}

enum Route {
    Metrics,
    Document(MakeDocument),
    Style,
    Healthy,
    Ready,
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
    let exporter = site.metrics.gather_recent();
    let snapshot = site.snapshot.borrow().clone();
    let gzip = accepts_gzip(headers);
    let mut response = if gzip {
        respond(StatusCode::OK, METRICS, snapshot.page.gzip(&exporter))
    } else {
        respond(StatusCode::OK, METRICS, plain(snapshot, exporter).await)
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

async fn plain(snapshot: Arc<Snapshot>, exporter: Arc<Tail>) -> [Bytes; 2] {
    let page = if snapshot.page.is_unpacked() {
        snapshot.page.unpacked()
    } else {
        spawn_blocking(move || snapshot.page.unpacked()).await.expect("unpacking does not panic")
    };
    [page, exporter.text.clone()]
}

fn readiness(site: &Site) -> Response<Body> {
    if site.snapshot.borrow().page.ready() {
        text(StatusCode::OK, "ready\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "not every account was tried yet\n")
    }
}

/// A document for a person.
struct Document {
    status: StatusCode,
    kind: &'static str,
    /// Where it is to be saved.
    file_name: Option<String>,
    bytes: Vec<u8>,
}

type MakeDocument = fn(&StatusSettings, &Snapshot, &Query) -> Document;

impl Document {
    fn page(status: StatusCode, page: String) -> Document {
        Document { status, kind: HTML, file_name: None, bytes: page.into_bytes() }
    }
}

fn status_page(settings: &StatusSettings, snapshot: &Snapshot, query: &Query) -> Document {
    Document::page(StatusCode::OK, status::page::render(settings, snapshot, query))
}

fn key_page(settings: &StatusSettings, snapshot: &Snapshot, query: &Query) -> Document {
    match status::key::render(settings, snapshot, query) {
        KeyPage::Found(page) => Document::page(StatusCode::OK, page),
        KeyPage::Missing(page) => Document::page(StatusCode::NOT_FOUND, page),
        KeyPage::Invalid(page) => Document::page(StatusCode::BAD_REQUEST, page),
    }
}

fn runbooks(settings: &StatusSettings, snapshot: &Snapshot, _: &Query) -> Document {
    Document::page(StatusCode::OK, status::runbooks::render(settings, snapshot.now))
}

fn csv(_: &StatusSettings, snapshot: &Snapshot, query: &Query) -> Document {
    let file_name = Some(status::csv::file_name(query, snapshot.now));
    let bytes = status::csv::render(snapshot, query);
    Document { status: StatusCode::OK, kind: CSV, file_name, bytes }
}

fn calendar(_: &StatusSettings, snapshot: &Snapshot, query: &Query) -> Document {
    let bytes = status::calendar::render(snapshot, query).into_bytes();
    Document { status: StatusCode::OK, kind: CALENDAR, file_name: None, bytes }
}

/// Renders one document at a time, so that many readers take no more than one thread from the rest.
async fn for_people(
    site: &Arc<Site>,
    request: &Request<Incoming>,
    make: MakeDocument,
) -> Response<Body> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let gzip = accepts_gzip(request.headers());
    let permit = site.render_permit.clone().acquire_owned().await;
    let (site, snapshot) = (site.clone(), site.snapshot.borrow().clone());
    let rendered = spawn_blocking(move || {
        let document = match query {
            Ok(query) => make(&site.status, &snapshot, &query),
            Err(error) => {
                let page = status::page::error(&site.status, snapshot.now, &error.to_string());
                Document::page(StatusCode::BAD_REQUEST, page)
            }
        };
        let Document { status, kind, file_name, bytes } = document;
        let body = if gzip { gzip::member(bytes.into()) } else { bytes };
        // Held to the end of the rendering, even if the client has gone away meanwhile.
        drop(permit);
        (status, kind, file_name, body)
    });
    let Ok((status, kind, file_name, body)) = rendered.await else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "not rendered\n");
    };
    let mut response = respond(status, kind, [body.into()]);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let disposition = file_name.map(|name| format!("attachment; filename=\"{name}\""));
    if let Some(Ok(disposition)) = disposition.map(HeaderValue::try_from) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    response
}

/// The page has a style sheet of its own, and neither scripts nor anything from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

fn style() -> Response<Body> {
    let style = Bytes::from_static(status::STYLE.as_bytes());
    let mut response = respond(StatusCode::OK, CSS, [style]);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A short answer in plain text.
pub fn text(status: StatusCode, text: &'static str) -> Response<Body> {
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

/// Whether the client takes gzip: RFC 9110, section 12.5.3. A coding that is named overrides `*`.
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
