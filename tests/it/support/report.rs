//! Credential reports as AWS writes them.

use super::fake_aws::ACCOUNT;

pub const HEADER: &str = "user,arn,user_creation_time,\
    password_enabled,password_last_used,password_last_changed,password_next_rotation,mfa_active,\
    access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,\
    access_key_1_last_used_region,access_key_1_last_used_service,\
    access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,\
    access_key_2_last_used_region,access_key_2_last_used_service,\
    cert_1_active,cert_1_last_rotated,cert_2_active,cert_2_last_rotated";

/// When all users were created, and the keys that are too old.
pub const OLD: &str = "2020-01-01T00:00:00Z";

/// A report of these lines. AWS does not end the last one.
pub fn report(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().fold(HEADER.to_owned(), |report, line| report + "\n" + &line)
}

/// A report of one user of `ACCOUNT` with an old key.
pub fn of_one(user: &str) -> String {
    report([row(ACCOUNT, "/", user, &unused(OLD))])
}

/// The line of a user with one key, whose five columns are given.
pub fn row(account: &str, path: &str, user: &str, key: &str) -> String {
    format!(
        "{user},arn:aws:iam::{account}:user{path}{user},{OLD},false,N/A,N/A,N/A,false,{key},\
         false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
    )
}

/// The columns of no key.
pub const NO_KEY: &str = "false,N/A,N/A,N/A,N/A";

/// The line of the root user with one key.
pub fn root(account: &str, key: &str) -> String {
    row(account, "/", "<root_account>", key).replace("user/<root_account>", "root")
}

/// The columns of an active key that was never used.
pub fn unused(rotated: &str) -> String {
    format!("true,{rotated},N/A,N/A,N/A")
}
