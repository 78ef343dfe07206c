//! HTTP: the [`listener`] with its limits, the [`routes`] behind it, and the [`status`] page. [`config`] reads
//! the web configuration file, [`reload`] reads it again, and the [`gate`] lets in who may come in. hyper is
//! named in this folder alone.

mod body;
mod auth;
mod client_certificates;
pub mod config;
mod connection;
pub mod gate;
mod guard;
pub mod listener;
mod rate;
mod refusals;
pub mod reload;
pub mod routes;
mod stream;
mod tls;
pub mod status;
