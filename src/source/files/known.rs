//! The results of earlier looks at files: which there are, and the last report of each account.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;
use tracing::warn;

use super::disk::Content;
use super::{Files, doubt, target};
use crate::source::target::Target;

/// The results of earlier looks.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The files that have an account, by the keys of their targets.
    pub(super) files: BTreeMap<String, KnownFile>,
    /// The last report of each account, by its id. It stays if its file is removed.
    pub(super) reports: BTreeMap<String, LastReport>,
    /// How often the files were listed.
    pub(super) listings: u64,
}

/// The last accepted report of an account, from any file.
#[derive(Debug)]
pub(super) struct LastReport {
    /// As [`doubt::all_users`] counts them.
    pub(super) users: usize,
    pub(super) modified: DateTime<Utc>,
    /// The key of its file.
    pub(super) file: String,
    /// The listing after which the account had its first report.
    pub(super) first: u64,
}

/// A file that a listing found. It may be missing now.
#[derive(Debug)]
pub(super) struct KnownFile {
    pub(super) path: PathBuf,
    pub(super) target: Target,
    /// The listing that found it.
    pub(super) found: u64,
    pub(super) missing_since: Option<Instant>,
    /// The account of its last report.
    pub(super) account_id: Option<String>,
    /// A read holds it until it ends, even after its caller gave up.
    pub(super) history: Arc<AsyncMutex<History>>,
}

/// The results of earlier looks at a file.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Whether the file was looked at.
    pub(super) looked_at: bool,
    /// The last report that was accepted.
    pub(super) taken: Option<Content>,
    /// The hash of a report that the last look did not accept, because it has less data than the
    /// one before, and since when it is there.
    pub(super) doubted: Option<(u64, Instant)>,
    /// Since when the file is still being written.
    pub(super) unsettled_since: Option<Instant>,
}

impl History {
    pub(super) fn has_taken(&self, content: &Content) -> bool {
        self.taken.as_ref().is_some_and(|taken| taken.hash == content.hash)
    }
}

impl Files {
    /// Adds new files. If `is_all`, the others are missing.
    pub(super) fn update(&self, files: BTreeSet<PathBuf>, is_all: bool) {
        let now = Instant::now();
        let mut known = self.lock();
        known.listings += 1;
        let Known { files: known, listings, .. } = &mut *known;
        known.retain(|_, file| {
            if files.contains(&file.path) {
                file.missing_since = None;
            } else if is_all {
                let gone = now - *file.missing_since.get_or_insert(now);
                let keep = gone < self.keep_missing;
                if !keep {
                    let (path, account) = (file.path.display(), file.account_id.as_deref());
                    let hours = gone.as_secs() / 3600;
                    warn!(account, file = %path, hours, "the report file is gone, its account is dropped");
                }
                return keep;
            }
            true
        });
        for path in files {
            let target = target(&path);
            known.entry(target.key.clone()).or_insert_with(|| KnownFile {
                path,
                target,
                found: *listings,
                missing_since: None,
                account_id: None,
                history: Arc::default(),
            });
        }
    }

    /// Why a report seems to have less data than the one before, and how long it must be there to
    /// be accepted. `found` is the listing that found its file, if this is the first look at it.
    pub(super) fn doubt(
        &self,
        content: &Content,
        history: &History,
        found: Option<u64>,
    ) -> Option<(String, Duration)> {
        let account_id = content.report.account_id.as_deref()?;
        let own = history.taken.as_ref();
        let own = own.filter(|taken| taken.report.account_id.as_deref() == Some(account_id));
        if let Some(why) = own.and_then(|taken| doubt::why_older(content, taken)) {
            return Some((why, self.keep_missing));
        }
        // If all files were there before the account was known, none of them is older.
        let is_before = |last: &&LastReport| found.is_none_or(|found| found > last.first);
        let known = self.lock();
        let of_account = known.reports.get(account_id).filter(is_before).map_or(0, |it| it.users);
        let before = own.map_or(0, |taken| doubt::all_users(&taken.report)).max(of_account);
        let why = doubt::why_smaller(&content.report, before)?;
        Some((why, Duration::ZERO))
    }

    /// Records the account of a file's report, and logs which other files have a report of the same
    /// account.
    pub(super) fn note_report(&self, key: &str, content: &Content) {
        let Content { report, modified, .. } = content;
        let Some(account_id) = report.account_id.as_deref() else { return };
        let (users, modified) = (doubt::all_users(report), *modified);
        let mut known = self.lock();
        let Known { files, reports, listings } = &mut *known;
        let other = |file: &&KnownFile| {
            file.target.key != key && file.account_id.as_deref() == Some(account_id)
        };
        let others = files.values().filter(other).map(|file| &*file.target.key);
        let mut all: Vec<_> = others.chain([key]).collect();
        if all.len() > 1 {
            all.sort_unstable();
            let files = all.join(", ");
            let what = "several files have a report of this account, the newest is published";
            warn!(account = account_id, files, "{what}");
        }
        if let Some(file) = files.get_mut(key) {
            file.account_id = Some(account_id.to_owned());
        }
        let last = reports.get(account_id);
        // Another, older file has no effect.
        if last.is_none_or(|last| last.file == key || last.modified <= modified) {
            let first = last.map_or(*listings, |last| last.first);
            let last = LastReport { users, modified, file: key.to_owned(), first };
            reports.insert(account_id.to_owned(), last);
        }
    }
}
