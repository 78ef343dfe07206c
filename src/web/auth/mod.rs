//! `basic_auth_users`: the [`users`] of the configuration, the [`credentials`] that clients send, and the
//! [`logins`] that are checked or `known`.

pub mod users;
pub mod credentials;
mod known;
pub mod logins;
