//! HTTP: the [`listener`] with its limits, the [`routes`] behind it, and the [`status`] page. hyper is
//! named in this folder alone.

mod body;
pub mod listener;
pub mod systemd;
pub mod routes;
pub mod status;
