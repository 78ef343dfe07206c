//! The exporter from the outside: the built binary, and the real SDK client against a scripted AWS.

mod support;

mod access;
mod build;
mod check;
mod check_controls;
mod cli;
mod confirm;
mod connections;
mod controls;
mod credentials;
mod docs;
mod faults;
mod files;
mod fleet;
mod hanging;
mod health;
mod http2;
mod identity;
mod reload;
mod root;
mod schedule;
mod secrets;
mod service_credentials;
mod walk;
mod web;
mod whole;
