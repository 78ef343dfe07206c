//! HTTP: the [`listener`] with its limits, the [`routes`] behind it, and the [`status`] page. [`health`] asks
//! for the health endpoints. hyper is named in this folder alone.

mod body;
pub mod health;
pub mod listener;
pub mod routes;
pub mod status;
