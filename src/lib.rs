//! A Prometheus exporter for AWS IAM access keys that have not been rotated: which, whose, and by
//! when they must be.
//!
//! ```text
//!  source ──► report ──► policy ──► metrics::page ──► web
//!  (aws,      (CSV to    (verdicts  (State to bytes,   (copies ready
//!   files,     values)    as of      after a change     bytes to
//!   demo)                 now)       and each minute)   a scrape)
//!                              └───► findings ───────► web::status, check
//!                                    (keys for people)
//! ```
//!
//! [`refresh`] fetches each account's report on the account's own schedule and publishes the result in
//! the [`store`]. [`render`] takes a [`state::State`] from the store and makes a [`metrics::page::Page`] of
//! it, and [`web`] serves the page. [`findings`] picks the keys to show to people from the same state, for
//! `check` and for [`web::status`].
//!
//! docs/architecture.md has a map of the files, the reasons for the invariants below, and the files to
//! touch for common additions.
//!
//! # Invariants
//!
//! 1. A scrape never calls AWS, never renders, and never waits for a lock that a refresh holds. It
//!    writes the bytes of the last page and the exporter's own small metrics, which are at most 50 ms
//!    old.
//! 2. Every page is whole. It comes from one `State`, and nothing changes after it was published. No
//!    series of a deleted user or key outlives the refresh that saw it go.
//! 3. [`report`], [`policy`], [`confirmation`], [`evidence`], [`service_credentials`], [`state`], [`controls`],
//!    [`findings`] and [`metrics::page`] are pure: bytes and a `now` in, values out. Only the edge reads a
//!    clock. `make lint` checks this.
//! 4. The AWS SDK is named in [`source::aws`] alone, the `prometheus` crate in [`metrics`] alone, `hyper`
//!    in [`web`] alone. `make lint` checks this.
//! 5. The exporter only reads from AWS. It has no code path that changes anything there.
//! 6. One account's failure never delays, hides or changes another's.

pub mod version;
pub mod secrets;
pub mod printable;
pub mod pipe;
pub mod failure;
pub mod panics;
pub mod report;
pub mod policy;
pub mod confirmation;
pub mod evidence;
pub mod service_credentials;
pub mod state;
pub mod controls;
pub mod config;
pub mod shard;
pub mod source;
pub mod clock;
pub mod store;
pub mod refresh;
pub mod findings;
pub mod metrics;
pub mod render;
pub mod web;
pub mod reload;
pub mod serve;
pub mod check;
pub mod cli;
pub mod logging;
