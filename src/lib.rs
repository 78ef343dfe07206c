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
//! [`refresh`] fetches each account's report on the account's own schedule and publishes what it
//! learned on the [`store`]; [`render`] makes a [`metrics::page::Page`] of a snapshot of it, which is a
//! [`state::State`]; [`web`] serves that. For people, [`findings`] makes of the same snapshot the keys
//! that somebody has to know about, and [`web::status`] the page that lists them.
//!
//! # What must stay true
//!
//! 1. A scrape never calls AWS, never renders, and never waits for a lock that a refresh holds. It
//!    writes the bytes of the last page, and the exporter's own small metrics, which it or another
//!    scrape has gathered within the last 50 ms.
//! 2. What is published is whole: one page comes from one `State`, and nothing is changed in place
//!    after it was published. No series of a deleted user or key outlives the refresh that saw it go.
//! 3. [`report`], [`policy`] and [`metrics::page`] are pure: bytes and a `now` in, values out. Only
//!    the edge reads a clock.
//! 4. The AWS SDK is named in [`source::aws`] alone, the `prometheus` crate in [`metrics`] alone, `hyper` in
//!    [`web`] alone.
//! 5. The exporter only ever reads from AWS. It has no code path that changes anything there.
//! 6. One account's failure never delays, hides or changes another's.

pub mod failure;
pub mod report;
pub mod policy;
pub mod confirmation;
pub mod config;
pub mod state;
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
pub mod background;
pub mod serve;
pub mod check;
pub mod cli;
pub mod logging;
