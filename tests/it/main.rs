//! The exporter from the outside: the built binary, and the real SDK client against a scripted AWS.

mod exporter;
mod fake_aws;
mod fleet_aws;

mod cli;
mod confirm;
mod faults;
mod files;
mod fleet;
mod reload;
mod schedule;
mod web;
mod whole;
