//! The names of environment variables.

/// How the name of every environment variable begins.
pub const PREFIX: &str = "IAM_KEY_EXPORTER_";

/// The environment variable of a flag: `--web.listen-address` is `IAM_KEY_EXPORTER_WEB_LISTEN_ADDRESS`.
pub fn environment_variable(flag: &str) -> String {
    format!("{PREFIX}{}", flag.replace(['.', '-'], "_").to_uppercase())
}
