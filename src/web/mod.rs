//! HTTP: the [`listener`], the [`places`] of its connections, the [`routes`] behind it, and the
//! [`status`] page. hyper is named in this folder alone.

mod body;
pub mod documents;
pub mod listener;
pub mod systemd;
pub mod places;
pub mod routes;
pub mod status;
mod watched;
