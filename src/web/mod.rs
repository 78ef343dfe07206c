//! HTTP: the [`listener`] with its limits, and the [`routes`] behind it. hyper is named here alone.

mod body;
pub mod listener;
pub mod routes;
