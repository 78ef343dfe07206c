//! The site for one client, as a hyper service: access checks, then the routes, with the configured
//! headers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_LENGTH;
use hyper::service::Service;
use hyper::{Method, Request, Response, StatusCode};

use super::body::Body;
use super::gate::is_health_check;
use super::places::Place;
use super::response::text;
use super::routes::{Site, route};

/// The site, for one client.
#[derive(Debug, Clone)]
pub struct ClientService {
    /// What is served.
    pub site: Arc<Site>,
    /// How much of it.
    pub scope: Scope,
    /// Limits of rate and login count by it.
    pub peer: SocketAddr,
    /// The connection's place.
    pub place: Arc<Place>,
}

/// What a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything, as the web configuration says.
    Site,
    /// Health checks, over plain HTTP.
    Health,
}

impl Service<Request<Incoming>> for ClientService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let ClientService { site, scope, peer, place } = self.clone();
        let answering = place.begin();
        Box::pin(async move {
            let config = site.gate.config();
            let mut response = if scope == Scope::Health && !is_health_check(request.uri().path()) {
                text(StatusCode::NOT_FOUND, "only health checks are answered here\n")
            } else {
                match site.gate.admit(&config, &request, peer).await {
                    Ok(()) => {
                        answering.work();
                        route(&site, &answering, peer, &request).await
                    }
                    Err(refusal) => refusal,
                }
            };
            for (name, value) in &config.headers {
                // A page with its own, stricter value keeps it.
                response.headers_mut().entry(name).or_insert(value.clone());
            }
            if request.method() == Method::HEAD {
                take_body(&mut response);
            }
            site.metrics.count_http_request(response.status().as_str());
            response.body_mut().set_answering(answering);
            Ok(response)
        })
    }
}

/// Leaves the length of the body that GET would have. Over HTTP/2, hyper would send the body after HEAD, too.
fn take_body(response: &mut Response<Body>) {
    let body = std::mem::take(response.body_mut());
    if let Some(length) = body.size_hint().exact() {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
}
