//! HTTP: the [`listener`], the [`places`] of its connections, the [`routes`] behind it, and the
//! [`status`] page. [`config`] reads the web configuration file, [`reload`] reads it again, and the
//! [`gate`] checks access. [`health`] asks for the health endpoints. hyper is named in this folder
//! alone.

mod auth;
mod body;
mod client_certificates;
pub mod client_service;
pub mod config;
pub mod connection;
pub mod documents;
pub mod gate;
pub mod health;
pub mod listener;
pub mod places;
mod rate;
mod refusals;
pub mod reload;
mod reporting_stream;
mod request_headers;
mod response;
pub mod routes;
mod served_connection;
pub mod status;
mod stream;
pub mod systemd;
mod tls;
