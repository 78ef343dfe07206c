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
mod known;

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
use tracing::{debug, info};

use self::disk::{FileRead, can_open, hangs, list, read, read_pipe};
use self::known::{Known, KnownFile};
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
