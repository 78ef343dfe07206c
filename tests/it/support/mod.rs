//! Shared by several tests, and by benches/fleet.rs.

pub mod exporter; // the built binary as a process, and an HTTP client that can misbehave
pub mod folder; // a folder that is gone when the test is over
pub mod report; // credential reports
pub mod tls; // certificates, and clients that speak TLS

pub mod answers; // what AWS answers
pub mod fake_aws; // an AWS that follows a scenario, at a socket or in memory
pub mod protocol; // requests to AWS and its answers, as they go through a connection
pub mod fleet; // the scenario of an organization

pub mod refresh; // refreshes in this process, without the binary
pub mod time; // when tests begin, and a clock for paused time
