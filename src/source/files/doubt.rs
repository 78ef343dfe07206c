//! Whether a report file seems to have less data than the one before it.

use super::disk::Content;
use crate::printable::time;
use crate::report::{Report, User};

/// Why this seems to be an older export than the one before in the file, for example a backup.
pub fn why_older(content: &Content, before: &Content) -> Option<String> {
    let by_file = || content.modified.cmp(&before.modified);
    let is_older = content.report.order(&before.report).unwrap_or_else(by_file).is_lt();
    is_older.then(|| {
        let of = |content: &Content| {
            let newest = content.report.newest_time().map_or_else(|| "none".to_owned(), time);
            format!("newest time {newest}, modified at {}", time(content.modified))
        };
        let (content, before) = (of(content), of(before));
        format!(
            "it seems to be an older export ({content}) than the one before ({before}): it is accepted if it stays \
             for --source.keep-missing, or after a restart"
        )
    })
}

/// Why this report seems to lack users. `before`: their number before.
pub fn why_smaller(report: &Report, before: usize) -> Option<String> {
    let users = users(report);
    (users * 2 < before).then(|| {
        format!(
            "it has {users} users, and the report before it had {before}: it is accepted if the next \
             refresh finds the same"
        )
    })
}

/// The number of users in a report, including rows that could not be parsed.
pub fn all_users(report: &Report) -> usize {
    users(report) + report.missing
}

/// Root is no user: if all other rows are lost, a report of root alone remains.
fn users(report: &Report) -> usize {
    report.users.iter().filter(|user| !User::is_root(user)).count()
}
