//! The metrics on `/metrics`. The [`catalogue`] has each one once. [`page`] is rendered from the state
//! (`text`) and compressed ([`gzip`]), [`exporter`] has the exporter's own, and `process` those of its
//! process. [`filter`] selects, and [`doc`] is docs/metrics.md. The `prometheus` crate is named in this
//! folder alone.

pub mod catalogue;
pub mod doc;
pub mod exporter;
pub mod filter;
pub mod gzip;
pub mod page;
#[cfg(target_os = "linux")]
mod process;
mod text;
