//! Reports from CSV files: one file, or every `*.csv` in a folder.
//!
//! A file system can mislead: a volume that is not mounted looks like an empty folder, and a file
//! that is being written looks like a shorter one. So a folder without files is a failure, the
//! account of a removed file stays for a time, and a file is read only when it no longer changes.
//!
//! A file system can hang, and a thread that waits for it cannot be stopped. So a path is never read
//! again before the last read of it has ended, and at most `MAX_READS` threads wait. What is no regular
//! file is not even opened, apart from a pipe that is given instead of a file: its report is read once, and
//! kept.

mod disk;
mod doubt;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, info, warn};

use self::disk::{Content, FileRead, can_open, hangs, list, read, read_pipe};
use super::target::{Discovered, FetchResult, RawReport, Target};
use crate::clock::{Clock, MAX_CLOCK_SKEW, is_from_the_future};
use crate::config::Access;
use crate::failure::{Failure, Reason};
use crate::panics::catch;
use crate::pipe;
use crate::printable;
use crate::report::Report;
use crate::state::UNKNOWN_ACCOUNT;

/// Report files.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    keep_missing: Duration,
    /// The report that came through a pipe.
    piped: Option<RawReport>,
    known: Mutex<Known>,
    /// A listing holds it until it ends, even after its caller gave up.
    listing: Arc<AsyncMutex<()>>,
    reads: Arc<Semaphore>,
}

/// The results of earlier looks.
#[derive(Debug, Default)]
struct Known {
    /// The files that have an account, by the keys of their targets.
    files: BTreeMap<String, KnownFile>,
    /// The last report of each account, by its id. It stays if its file is removed.
    reports: BTreeMap<String, LastReport>,
    /// How often the files were listed.
    listings: u64,
}

/// The last accepted report of an account, from any file.
#[derive(Debug)]
struct LastReport {
    /// As [`doubt::all_users`] counts them.
    users: usize,
    modified: DateTime<Utc>,
    /// The key of its file.
    file: String,
    /// The listing after which the account had its first report.
    first: u64,
}

/// A file that a listing found. It may be missing now.
#[derive(Debug)]
struct KnownFile {
    path: PathBuf,
    target: Target,
    /// The listing that found it.
    found: u64,
    missing_since: Option<Instant>,
    /// The account of its last report.
    account_id: Option<String>,
    /// A read holds it until it ends, even after its caller gave up.
    history: Arc<AsyncMutex<History>>,
}

/// The results of earlier looks at a file.
#[derive(Debug, Default)]
struct History {
    /// Whether the file was looked at.
    looked_at: bool,
    /// The last report that was accepted.
    taken: Option<Content>,
    /// The hash of a report that the last look did not accept, because it has less data than the
    /// one before, and since when it is there.
    doubted: Option<(u64, Instant)>,
    /// Since when the file is still being written.
    unsettled_since: Option<Instant>,
}

impl History {
    fn has_taken(&self, content: &Content) -> bool {
        self.taken.as_ref().is_some_and(|taken| taken.hash == content.hash)
    }
}

/// How long the account of a removed file stays by default.
pub const KEEP_MISSING: Duration = Duration::from_secs(24 * 60 * 60);

/// A file system that hangs must not stop the listing forever.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// The number of files that are read at the same time, including reads that hang. The runtime has
/// 512 threads for blocking work, and rendering uses them, too.
const MAX_READS: usize = 64;

/// A file that was modified within this time may still be in use by its writer.
const SETTLED: TimeDelta = TimeDelta::seconds(2);

/// If a file is incomplete for longer than this, its account fails, even if there is an earlier
/// report.
const MAX_UNSETTLED: Duration = Duration::from_secs(60);

/// Nothing that can panic runs while the files are locked.
const NO_PANIC: &str = "nothing panics while it is locked";

impl Files {
    /// The file, or the folder of files, at `path`. The account of a removed file stays for
    /// `keep_missing`. A pipe is read to its end, and its report stays. Fails if there is no file,
    /// folder or pipe, or if it may not be read.
    pub fn open(path: PathBuf, keep_missing: Duration) -> Result<Files, Failure> {
        let (sender, answer) = mpsc::channel();
        let looked_at = path.clone();
        thread::spawn(move || sender.send(can_open(&looked_at)));
        let is_pipe = answer.recv_timeout(LIST_TIMEOUT).unwrap_or_else(|_| Err(hangs(&path)))?;
        let piped = if is_pipe {
            let csv = read_pipe(&path)?;
            info!(file = %path.display(), "the report came through a pipe, so it is kept until the exporter ends");
            Some(RawReport { csv, parsed: None, generated: Clock::system().now() })
        } else {
            None
        };
        Ok(Files {
            path,
            keep_missing,
            piped,
            known: Mutex::default(),
            listing: Arc::default(),
            reads: Arc::new(Semaphore::new(MAX_READS)),
        })
    }

    /// Lists the files. If that fails, no file counts as removed.
    pub(super) async fn discover(&self) -> Result<(), Failure> {
        if self.piped.is_some() {
            self.update([self.path.clone()].into(), true);
            return Ok(());
        }
        let deadline = Instant::now() + LIST_TIMEOUT;
        let listing = timeout_at(deadline, self.listing.clone().lock_owned()).await;
        let path = self.path.clone();
        let listed = match listing {
            Ok(guard) => blocking(guard, &self.path, deadline, move || list(&path)).await?.1?,
            Err(_) => return Err(hangs(&self.path)),
        };
        self.update(listed.files, listed.failure.is_none());
        listed.failure.map_or(Ok(()), Err)
    }

    /// Adds new files. If `is_all`, the others are missing.
    fn update(&self, files: BTreeSet<PathBuf>, is_all: bool) {
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

    /// The source of a report's time, if nothing in it is newer.
    pub(super) fn time_of_report(&self) -> &'static str {
        if self.piped.is_some() { "the time when it was read" } else { "the file's time" }
    }

    /// How long an account stays if its file is removed or has another account's report.
    pub(super) fn keep_missing(&self) -> Duration {
        self.keep_missing
    }

    /// One target for each file. The account has the file's name.
    pub(super) fn known(&self) -> Discovered {
        let targets = self.lock().files.values().map(|file| file.target.clone()).collect();
        Discovered { targets, is_all: true, are_files: true, ..Discovered::default() }
    }

    /// The file's bytes. The caller must compare them, because a new file can have the same
    /// modification time.
    pub(super) async fn fetch(
        &self,
        target: &Target,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> FetchResult {
        if let Some(report) = &self.piped {
            return report.clone().into();
        }
        match self.read(target, now, deadline).await {
            Ok(Some(report)) => report.into(),
            Ok(None) => FetchResult::default(),
            Err(failure) => failure.into(),
        }
    }

    /// The report. `None` if the file changes just now and the last report stays.
    async fn read(
        &self,
        target: &Target,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> Result<Option<RawReport>, Failure> {
        let started = Instant::now();
        let file = self.lock().files.get(&target.key).map(|file| {
            let KnownFile { path, history, found, .. } = file;
            (path.clone(), history.clone(), *found)
        });
        let (path, history, found) = file.ok_or_else(|| {
            Failure::new(Reason::UnreadableFile, format!("{}: the file is gone", target.key))
        })?;
        let Ok(mut history) = history.try_lock_owned() else { return Err(hangs(&path)) };
        let permit = timeout_at(deadline, self.reads.clone().acquire_owned()).await;
        let mut permit = permit.map_err(|_| hangs(&path))?.expect("it is never closed");
        // Only two looks in a row can agree.
        let doubted = history.doubted.take();
        let is_first_look = !mem::replace(&mut history.looked_at, true);
        let mut waited = false;
        let read = loop {
            let (read_path, taken) = (path.clone(), history.taken.clone());
            let work = move || read(&read_path, taken.as_ref());
            let (guard, mut read) = blocking((history, permit), &path, deadline, work).await?;
            (history, permit) = guard;
            if let Ok(FileRead { content, modified, unsettled: unsettled @ None, .. }) = &mut read {
                let age = now + started.elapsed() - *modified;
                // The clock of a file server may be ahead.
                let is_young = (-MAX_CLOCK_SKEW..SETTLED).contains(&age);
                if is_young && !content.as_ref().is_some_and(|content| history.has_taken(content)) {
                    let settled = Instant::now() + (SETTLED - age).to_std().unwrap_or_default();
                    if !waited && settled < deadline {
                        waited = true;
                        sleep_until(settled).await;
                        continue;
                    }
                    *unsettled = Some(why_young(*modified, now + started.elapsed()));
                }
            }
            break read?;
        };
        let failed =
            |reason, why: String| Failure::new(reason, format!("{}: {why}", path.display()));
        let FileRead { csv, content, modified, unsettled } = read;
        if let Some((reason, why)) = unsettled {
            let since = *history.unsettled_since.get_or_insert(started);
            if history.taken.is_some() && started - since < MAX_UNSETTLED {
                debug!(file = %path.display(), why, "report file not read yet");
                return Ok(None);
            }
            return Err(failed(reason, format!("not read yet, {why}")));
        }
        history.unsettled_since = None;
        let parsed = content.as_ref().map(|content| content.report.clone());
        if let Some(content) = content {
            if !history.has_taken(&content) {
                let doubt = self.doubt(&content, &history, is_first_look.then_some(found));
                let is_same = |(hash, _): &(u64, Instant)| *hash == content.hash;
                let since = doubted.filter(is_same).map(|(_, since)| since);
                if let Some((why, hold)) = doubt
                    && since.is_none_or(|since| started - since < hold)
                {
                    history.doubted = Some((content.hash, since.unwrap_or(started)));
                    return Err(failed(Reason::ReportNotReady, why));
                }
                self.note_report(&target.key, &content);
            }
            history.taken = Some(content);
        }
        let generated = generated(modified, parsed.as_deref(), now);
        Ok(Some(RawReport { csv, generated, parsed }))
    }

    /// Why a report seems to have less data than the one before, and how long it must be there to
    /// be accepted. `found` is the listing that found its file, if this is the first look at it.
    fn doubt(
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
    fn note_report(&self, key: &str, content: &Content) {
        let Content { report, modified, .. } = content;
        let Some(account_id) = report.account_id.as_deref() else { return };
        let (users, modified) = (doubt::all_users(report), *modified);
        let mut known = self.lock();
        let Known { files, reports, listings } = &mut *known;
        let other = |file: &&KnownFile| {
            file.target.key != key && file.account_id.as_deref() == Some(account_id)
        };
        let others: Vec<_> = files.values().filter(other).map(|file| &*file.target.key).collect();
        if !others.is_empty() {
            let others = others.join(", ");
            let what = "several files have a report of this account, the newest is published";
            warn!(account = account_id, file = key, others, "{what}");
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

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect(NO_PANIC)
    }
}

/// Does the work on a blocking thread. `guard` is held until the work ends, and returned.
async fn blocking<G: Send + 'static, T: Send + 'static>(
    guard: G,
    path: &Path,
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(G, T), Failure> {
    match timeout_at(deadline, spawn_blocking(move || (guard, catch(work)))).await {
        Ok(done) => {
            let (guard, done) = done.expect("the panics of the work are caught");
            Ok((guard, done?))
        }
        Err(_) => Err(hangs(path)),
    }
}

/// When a report was generated, at the earliest. A file can be older than its content. A time that
/// lies ahead fails the refresh, and says nothing of the report.
fn generated(
    modified: DateTime<Utc>,
    report: Option<&Report>,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    let newest = report.and_then(Report::newest_time);
    newest
        .filter(|time| !is_from_the_future(*time, now))
        .map_or(modified, |time| time.max(modified))
}

/// Why a file with this time is not accepted yet: its writer may not be finished, or one of the
/// clocks is wrong.
fn why_young(modified: DateTime<Utc>, now: DateTime<Utc>) -> (Reason, String) {
    if modified - now < SETTLED {
        return (Reason::ReportNotReady, "it was modified less than 2 s ago".to_owned());
    }
    let [modified, now] = [modified, now].map(printable::time);
    let why = format!(
        "it was modified at {modified}, but the clock of this host shows {now}: set the clock, or that \
         of the file's host"
    );
    (Reason::Clock, why)
}

fn target(path: &Path) -> Target {
    let name = match path.file_stem() {
        _ if pipe::is_stdin(path) => "stdin".to_owned(),
        name => as_text(name.unwrap_or_default()),
    };
    // Only its report says which account it is of.
    let id = UNKNOWN_ACCOUNT.to_owned();
    Target { key: as_text(path.as_os_str()), id, name, access: Access::default() }
}

/// The name, with `\xFF` for bytes that are not UTF-8, so that different names stay different.
fn as_text(name: &OsStr) -> String {
    name.to_str().map_or_else(|| format!("{name:?}").trim_matches('"').to_owned(), str::to_owned)
}

#[cfg(test)]
mod tests;
