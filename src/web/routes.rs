//! The paths and their answers.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_ENCODING,
    CONTENT_SECURITY_POLICY, HeaderMap, HeaderValue, REFERRER_POLICY, RETRY_AFTER, VARY,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;

use super::body::{Body, Part};
use super::documents::{self, Document, DocumentKey, Documents, MakeDocument, NoDocument};
use super::gate::{Gate, is_health_check};
use super::places::{Answering, Held, MIN_HELD};
use super::request_headers::{accepts_gzip, is_cross_site};
use super::response::{TEXT, respond, text};
use super::status::key::KeyPage;
use super::status::query::Query;
use super::status::{self, StatusSettings};
use crate::metrics::exporter::ExporterMetrics;
use crate::reload::Reloader;
use crate::render::Snapshot;

/// What is served.
#[derive(Debug)]
pub struct Site {
    /// The newest snapshot.
    pub snapshot: watch::Receiver<Arc<Snapshot>>,
    /// The exporter's own metrics.
    pub metrics: ExporterMetrics,
    /// The settings of the status page. Also has the path of the metrics.
    pub status: Arc<StatusSettings>,
    /// The documents that people read.
    pub documents: Documents,
    /// Checks access.
    pub gate: Gate,
    /// Reads the configuration again. `None` if clients may not ask for that.
    pub reloader: Option<Arc<Reloader>>,
}

const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const CSV: &str = "text/csv; charset=utf-8";
const CALENDAR: &str = "text/calendar; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";

/// Answers a request after the access checks.
pub async fn route(
    site: &Site,
    answering: &Answering,
    peer: SocketAddr,
    request: &Request<Incoming>,
) -> Response<Body> {
    let path = request.uri().path();
    if !is_health_check(path) && !answering.place.is_regular() {
        return busy("too many connections\n");
    }
    // Over HTTP/2, the end of an empty body can come after the head.
    if !request.body().is_end_stream() && request.body().size_hint().exact() != Some(0) {
        let mut response = text(StatusCode::PAYLOAD_TOO_LARGE, "request bodies are not accepted\n");
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    let route = if path == site.status.telemetry_path { Some(Route::Metrics) } else { fixed(path) };
    let Some(route) = route else { return text(StatusCode::NOT_FOUND, "not found\n") };
    if !route.allows(request.method()) {
        return not_allowed(route.methods());
    }
    match route {
        Route::Metrics => metrics(site, answering, request.headers()),
        Route::Document(make) => for_people(site, answering, peer, request, make).await,
        Route::Reload => reload(site, answering, request).await,
        Route::Style => style(),
        Route::Healthy => text(StatusCode::OK, "healthy\n"),
        Route::Ready => readiness(site),
    }
}

/// A path that is always the same, its handler, and its description in docs/reference.md.
type Fixed = (&'static str, Route, &'static str);

const FIXED: [Fixed; 9] = [
    ("/", Route::Document(status_page), "the [status page](usage.md#status-page)"),
    ("/keys.csv", Route::Document(csv), "the keys of the status page as CSV"),
    ("/due.ics", Route::Document(calendar), "the due dates of these keys as a calendar"),
    ("/key", Route::Document(key_page), "the page of one key"),
    ("/runbooks", Route::Document(runbooks), "the [runbooks](runbooks.md)"),
    ("/status.css", Route::Style, "the style of these pages"),
    ("/-/healthy", Route::Healthy, "200 while the process lives"),
    (
        "/-/ready",
        Route::Ready,
        "200 after the list of accounts was read and each was tried, even if that failed. 503 before",
    ),
    (
        "/-/reload",
        Route::Reload,
        "[reloads the configuration file](configuration.md#reload): 200, or 500 with the error. 403 without `--web.enable-lifecycle`",
    ),
];

/// Every path, with its methods and its purpose.
pub fn paths() -> Vec<(&'static str, &'static str, &'static str)> {
    let metrics =
        ("/metrics", Route::Metrics, "the metrics, at the path of `--web.telemetry-path`");
    let all = [metrics].into_iter().chain(FIXED);
    all.map(|(path, route, about)| (path, route.methods(), about)).collect()
}

/// The routes whose paths are always the same.
fn fixed(path: &str) -> Option<Route> {
    FIXED.iter().find(|(fixed, ..)| *fixed == path).map(|(_, route, _)| *route)
}

/// Whether the metrics cannot have this path. They can have the status page's.
pub fn is_reserved(path: &str) -> bool {
    path != "/" && fixed(path).is_some()
}

/// There are too many connections, pages to render, or bytes that wait for slow readers.
fn busy(problem: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, problem);
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[derive(Clone, Copy)]
enum Route {
    Metrics,
    Document(MakeDocument),
    Style,
    Healthy,
    Ready,
    Reload,
}

impl Route {
    fn methods(self) -> &'static str {
        match self {
            Route::Reload => "POST, PUT",
            _ => "GET, HEAD",
        }
    }

    fn allows(self, method: &Method) -> bool {
        self.methods().split(", ").any(|allowed| allowed == method.as_str())
    }
}

fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

async fn reload(site: &Site, answering: &Answering, request: &Request<Incoming>) -> Response<Body> {
    if is_cross_site(request.uri(), request.headers()) {
        return text(
            StatusCode::FORBIDDEN,
            "refused, because a page of another site sent this request\n",
        );
    }
    let Some(reloader) = &site.reloader else {
        return text(
            StatusCode::FORBIDDEN,
            "reload over HTTP is off: start the exporter with --web.enable-lifecycle\n",
        );
    };
    match answering.queue(0, reloader.reload()).await {
        None => busy("too many requests wait\n"),
        Some(Ok(())) => text(StatusCode::OK, "reloaded\n"),
        Some(Err(error)) => {
            let error = format!("not reloaded: {error}\n");
            respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, [Bytes::from(error)])
        }
    }
}

fn metrics(site: &Site, answering: &Answering, headers: &HeaderMap) -> Response<Body> {
    let exporter = site.metrics.gather_recent();
    let snapshot = site.snapshot.borrow().clone();
    let page = &snapshot.page;
    // The newest page is in memory anyway: it is never refused.
    let _ = hold(answering, &snapshot, Held { id: page.id(), bytes: page.gzip_bytes() });
    let gzip = accepts_gzip(headers);
    let mut response = if gzip {
        respond(StatusCode::OK, METRICS, page.gzip(&exporter))
    } else {
        let parts = [Part::Packed(Box::new(page.text())), Part::Bytes(exporter.text.clone())];
        respond(StatusCode::OK, METRICS, parts)
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whether these bytes may stay in memory until they are sent: all slow readers together may keep
/// as much as the newest page has as text.
fn hold(answering: &Answering, newest: &Snapshot, held: Held) -> bool {
    answering.hold(held, newest.page.id(), newest.page.text_bytes().max(MIN_HELD))
}

fn readiness(site: &Site) -> Response<Body> {
    if site.snapshot.borrow().page.ready() {
        text(StatusCode::OK, "ready\n")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, "not every account was tried yet\n")
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

fn csv(settings: &StatusSettings, snapshot: &Snapshot, query: &Query) -> Document {
    let file_name = Some(status::csv::file_name(query, snapshot.now));
    let bytes = status::csv::render(settings, snapshot, query);
    Document { status: StatusCode::OK, kind: CSV, file_name, bytes }
}

fn calendar(settings: &StatusSettings, snapshot: &Snapshot, query: &Query) -> Document {
    let bytes = status::calendar::render(settings, snapshot, query).into_bytes();
    Document { status: StatusCode::OK, kind: CALENDAR, file_name: None, bytes }
}

async fn for_people(
    site: &Site,
    answering: &Answering,
    peer: SocketAddr,
    request: &Request<Incoming>,
    make: MakeDocument,
) -> Response<Body> {
    let gzip = accepts_gzip(request.headers());
    let document = match Query::parse(request.uri().query().unwrap_or_default()) {
        Ok(query) => {
            let wanted = DocumentKey { path: request.uri().path().to_owned(), query, gzip };
            site.documents.get(answering, &site.status, &site.snapshot, wanted, make).await
        }
        Err(error) => {
            let now = site.snapshot.borrow().now;
            Ok(Arc::new(documents::invalid(&site.status, now, &error, gzip)))
        }
    };
    let document = match document {
        Ok(document) => document,
        Err(NoDocument::Failed) => {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "not rendered\n");
        }
        Err(NoDocument::Busy) => {
            site.gate.record_busy(peer, None, "too many pages to render");
            return busy("too many pages are to be rendered\n");
        }
    };
    let held = Held { id: document.bytes.as_ptr().addr(), bytes: document.bytes.len() };
    let newest = site.snapshot.borrow().clone();
    if !hold(answering, &newest, held) {
        return busy("too many slow readers\n");
    }
    let disposition =
        document.file_name.as_ref().map(|name| format!("attachment; filename=\"{name}\""));
    let mut response = respond(document.status, document.kind, [documents::bytes_of(document)]);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if gzip {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Some(Ok(disposition)) = disposition.map(HeaderValue::try_from) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    response
}

/// The page has its own style sheet, no scripts, and loads nothing from other sites.
const POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

fn style() -> Response<Body> {
    let style = Bytes::from_static(status::STYLE.as_bytes());
    let mut response = respond(StatusCode::OK, CSS, [style]);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_can_take_no_path_of_another_route_but_the_status_pages() {
        for path in ["/-/reload", "/-/ready", "/key", "/keys.csv", "/due.ics", "/runbooks"] {
            assert!(is_reserved(path), "{path}");
        }
        assert!(!is_reserved("/") && !is_reserved("/metrics"));
    }
}
