//! Reports from CSV files: one file, or every `*.csv` in a folder.
//!
//! A file system says less than AWS does: a volume that is not mounted looks like an empty folder, and
//! a file that is being written looks like a shorter one. So a folder without files is a failure, a
//! file that is gone keeps its account for a time, and a file is read only when it has settled.
//!
//! A file system can hang, and a thread that waits for it cannot be stopped. So a path is never read
//! again before the last read of it has ended, and at most `MAX_READS` threads wait.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, warn};

use super::target::{Discovered, FetchResult, RawReport, Target};
use crate::clock::MAX_CLOCK_SKEW;
use crate::config::Access;
use crate::failure::{Failure, Reason};
use crate::report::{MAX_BYTES, Report};
use crate::shard::stable_hash;

/// Report files.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    keep_missing: Duration,
    /// The files that have an account, by the keys of their targets.
    known: Mutex<BTreeMap<String, KnownFile>>,
    /// A listing holds it until it has ended, even if nobody waits for it any more.
    listing: Arc<AsyncMutex<()>>,
    reads: Arc<Semaphore>,
}

/// A file that was found, and may be missing by now.
#[derive(Debug)]
struct KnownFile {
    path: PathBuf,
    target: Target,
    missing_since: Option<Instant>,
    /// The account of its last report.
    account_id: Option<String>,
    /// A read holds it until it has ended, even if nobody waits for it any more.
    history: Arc<AsyncMutex<History>>,
}

/// What earlier looks at a file found.
#[derive(Debug, Default)]
struct History {
    /// The last report that was taken.
    taken: Option<Content>,
    /// The hash of a report that was not taken by the last look, because it has lost too many users.
    smaller: Option<u64>,
    /// Since when the file is still being written.
    unsettled_since: Option<Instant>,
}

/// What a report says, as far as it matters for the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    hash: u64,
    /// `None` if the bytes are no report.
    account_id: Option<String>,
    users: usize,
}

/// One read of a file.
struct FileRead {
    csv: Vec<u8>,
    content: Content,
    modified: DateTime<Utc>,
    /// Why the file may be incomplete.
    unsettled: Option<&'static str>,
}

/// For how long an account stays whose file is gone, if nothing else is said.
pub const KEEP_MISSING: Duration = Duration::from_secs(24 * 60 * 60);

/// A file system that hangs must not stop the look for accounts for good.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// The number of files that are read at the same time, reads that hang included. The runtime has 512
/// threads for all that may block, and pages are rendered on them, too.
const MAX_READS: usize = 64;

/// A file that was modified within this time may still be written.
const SETTLED: TimeDelta = TimeDelta::seconds(2);

/// A file that is not complete for longer than this fails its account, although there is an earlier
/// report of it.
const MAX_UNSETTLED: Duration = Duration::from_secs(60);

/// Nothing that can panic runs while the files are locked.
const NO_PANIC: &str = "nothing panics while it is locked";

impl Files {
    /// The file, or the folder of files, at `path`. A file that is gone keeps its account for
    /// `keep_missing`. Fails if there is neither file nor folder, or if it may not be read.
    pub fn open(path: PathBuf, keep_missing: Duration) -> Result<Files, Failure> {
        let (sender, answer) = mpsc::channel();
        let looked_at = path.clone();
        thread::spawn(move || sender.send(can_open(&looked_at)));
        answer.recv_timeout(LIST_TIMEOUT).unwrap_or_else(|_| Err(hangs(&path)))?;
        Ok(Files {
            path,
            keep_missing,
            known: Mutex::default(),
            listing: Arc::default(),
            reads: Arc::new(Semaphore::new(MAX_READS)),
        })
    }

    /// Looks for files. If that fails, no file counts as gone.
    pub(super) async fn discover(&self) -> Result<(), Failure> {
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

    /// Adds files that are new. If these are all, the others are missing.
    fn update(&self, files: BTreeSet<PathBuf>, is_all: bool) {
        let now = Instant::now();
        let mut known = self.lock();
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
                missing_since: None,
                account_id: None,
                history: Arc::default(),
            });
        }
    }

    /// One for each file. A file's account is named for the file.
    pub(super) fn known(&self) -> Discovered {
        let targets = self.lock().values().map(|file| file.target.clone()).collect();
        Discovered { targets, is_all: true, ..Discovered::default() }
    }

    /// The file's bytes. It is for the caller to tell whether they are new: a file can be replaced
    /// by another of the same time.
    pub(super) async fn fetch(
        &self,
        target: &Target,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> FetchResult {
        match self.read(target, now, deadline).await {
            Ok(Some(report)) => report.into(),
            Ok(None) => FetchResult::default(),
            Err(failure) => failure.into(),
        }
    }

    /// The report; `None` if the file changes just now and the last report stays.
    async fn read(
        &self,
        target: &Target,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> Result<Option<RawReport>, Failure> {
        let started = Instant::now();
        let file =
            self.lock().get(&target.key).map(|file| (file.path.clone(), file.history.clone()));
        let (path, history) = file.ok_or_else(|| {
            Failure::new(Reason::UnreadableFile, format!("{}: the file is gone", target.key))
        })?;
        let Ok(mut history) = history.try_lock_owned() else { return Err(hangs(&path)) };
        let permit = timeout_at(deadline, self.reads.clone().acquire_owned()).await;
        let mut permit = permit.map_err(|_| hangs(&path))?.expect("it is never closed");
        // Only a smaller report of the last look can agree with this one.
        let smaller = history.smaller.take();
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
                if is_young && history.taken.as_ref() != Some(content) {
                    let settled = Instant::now() + (SETTLED - age).to_std().unwrap_or_default();
                    if !waited && settled < deadline {
                        waited = true;
                        sleep_until(settled).await;
                        continue;
                    }
                    *unsettled = Some("it was modified less than 2 s ago");
                }
            }
            break read?;
        };
        let failed = |why: String| {
            let message = format!("{}: {why}", path.display());
            Failure::new(Reason::ReportNotReady, message)
        };
        let FileRead { csv, content, modified, unsettled } = read;
        if let Some(why) = unsettled {
            let since = *history.unsettled_since.get_or_insert(started);
            let failure = failed(format!("not read yet, {why}"));
            if history.taken.is_some() && started - since < MAX_UNSETTLED {
                debug!(file = %path.display(), why, "report file not read yet");
                return Ok(None);
            }
            return Err(failure);
        }
        history.unsettled_since = None;
        let before = history.taken.as_ref().filter(|last| last.account_id == content.account_id);
        let before = before.map_or(0, |last| last.users);
        if content.users * 2 < before && smaller != Some(content.hash) {
            history.smaller = Some(content.hash);
            let users = content.users;
            return Err(failed(format!(
                "it has {users} users and had {before}: taken if the next look finds the same"
            )));
        }
        if content.account_id.is_some() && history.taken.as_ref() != Some(&content) {
            self.note_account(&target.key, content.account_id.clone());
            history.taken = Some(content);
        }
        Ok(Some(RawReport { csv, generated: modified }))
    }

    /// Records whose report a file has, and logs which other files have one of the same account.
    fn note_account(&self, key: &str, account_id: Option<String>) {
        let mut known = self.lock();
        let other = |file: &&KnownFile| file.target.key != key && file.account_id == account_id;
        let others: Vec<_> = known.values().filter(other).map(|file| &*file.target.key).collect();
        if !others.is_empty() {
            let others = others.join(", ");
            let what = "several files have a report of this account, the newest is published";
            warn!(account = account_id, file = key, others, "{what}");
        }
        if let Some(file) = known.get_mut(key) {
            file.account_id = account_id;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, KnownFile>> {
        self.known.lock().expect(NO_PANIC)
    }
}

/// Does the work on a thread of its own. `guard` is held until the work has ended, and given back.
async fn blocking<G: Send + 'static, T: Send + 'static>(
    guard: G,
    path: &Path,
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(G, T), Failure> {
    match timeout_at(deadline, spawn_blocking(move || (guard, work()))).await {
        Ok(Ok((guard, done))) => Ok((guard, done)),
        Ok(Err(_)) => {
            let message = format!("{}: reading it panicked: please report this", path.display());
            Err(Failure::new(Reason::InternalError, message))
        }
        Err(_) => Err(hangs(path)),
    }
}

/// The files that were found.
#[derive(Debug)]
struct Listing {
    files: BTreeSet<PathBuf>,
    /// Why there may be others.
    failure: Option<Failure>,
}

fn can_open(path: &Path) -> Result<(), Failure> {
    let failed = |error| unreadable(path, &error);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_file() {
        fs::File::open(path).map(drop).map_err(failed)
    } else if metadata.is_dir() {
        fs::read_dir(path).map(drop).map_err(failed)
    } else {
        Err(failed(io::Error::other("neither a regular file nor a folder")))
    }
}

fn list(path: &Path) -> Result<Listing, Failure> {
    let failed = |error| unreadable(path, &error);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_file() {
        return Ok(Listing { files: [path.to_owned()].into(), failure: None });
    }
    if !metadata.is_dir() {
        return Err(failed(io::Error::other("neither a regular file nor a folder")));
    }
    let (mut files, mut failure) = (BTreeSet::new(), None);
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_csv =
            file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        if !is_csv || hidden {
            continue;
        }
        match fs::metadata(&file) {
            Ok(metadata) if !metadata.is_file() => {}
            // Removed since the folder was read.
            Err(_)
                if fs::symlink_metadata(&file)
                    .is_err_and(|e| e.kind() == io::ErrorKind::NotFound) => {}
            Ok(_) => {
                files.insert(file);
            }
            // A link that leads nowhere, or a folder that may be listed but not searched.
            Err(error) => {
                failure.get_or_insert_with(|| unreadable(&file, &error));
                files.insert(file);
            }
        }
    }
    if files.is_empty() {
        return Err(failed(io::Error::other(
            "the folder has no *.csv file: is it empty, or not mounted?",
        )));
    }
    Ok(Listing { files, failure })
}

fn target(path: &Path) -> Target {
    let name = as_text(path.file_stem().unwrap_or_default());
    Target { key: as_text(path.as_os_str()), id: name.clone(), name, access: Access::default() }
}

/// The name, with `\xFF` for bytes that are not UTF-8, so that two names stay two.
fn as_text(name: &OsStr) -> String {
    name.to_str().map_or_else(|| format!("{name:?}").trim_matches('"').to_owned(), str::to_owned)
}

/// Reads the file. What it says is not parsed again if it is the same as `taken`.
fn read(path: &Path, taken: Option<&Content>) -> Result<FileRead, Failure> {
    let failed = |error: io::Error| unreadable(path, &error);
    let mut file = fs::File::open(path).map_err(failed)?;
    let stat = |file: &fs::File| -> io::Result<(u64, SystemTime)> {
        file.metadata().and_then(|metadata| Ok((metadata.len(), metadata.modified()?)))
    };
    let before = stat(&file).map_err(failed)?;
    // One byte more than a report may have, so that the parser sees that it is too large.
    let mut csv = Vec::new();
    file.by_ref().take(MAX_BYTES as u64 + 1).read_to_end(&mut csv).map_err(failed)?;
    let is_moving = stat(&file).map_err(failed)? != before;
    let unsettled = if is_moving {
        Some("it changed while it was read")
    } else {
        is_cut(&csv).then_some("its last row is cut")
    };
    let hash = stable_hash(&csv);
    let content = match taken.filter(|taken| taken.hash == hash) {
        Some(taken) => taken.clone(),
        None => {
            let report = Report::parse(&csv).ok();
            let users = report.as_ref().map_or(0, |report| report.users.len());
            Content { hash, account_id: report.and_then(|report| report.account_id), users }
        }
    };
    Ok(FileRead { csv, content, modified: before.1.into(), unsettled })
}

/// Whether the file ends within its last row. AWS does not end the last row with a line break, but
/// gives it all its fields. What does not begin with a name and an ARN is not the beginning of a row.
fn is_cut(csv: &[u8]) -> bool {
    // In UTF-16 every other byte is 0.
    let plain = |line: &[u8]| -> Vec<u8> {
        line.iter().copied().filter(|byte| !matches!(byte, 0 | b'"')).collect()
    };
    let is_break = |byte: &u8| *byte == b'\n';
    let (Some(header), Some(last)) = (csv.split(is_break).next(), csv.rsplit(is_break).next())
    else {
        return false;
    };
    let (header, last) = (plain(header), plain(last));
    let fields = |line: &[u8]| line.split(|byte| *byte == b',').count();
    let arn = last.split(|byte| *byte == b',').nth(1).unwrap_or_default();
    !last.trim_ascii().is_empty()
        && fields(&last) < fields(&header)
        && (arn.starts_with(b"arn:") || b"arn:".starts_with(arn))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Reason::UnreadableFile, format!("{}: {error}", path.display()))
}

fn hangs(path: &Path) -> Failure {
    let message = format!("{}: the file system does not answer", path.display());
    Failure::new(Reason::Timeout, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use super::*;

    const HEADER: &str = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated";

    fn report(users: usize) -> String {
        let row =
            |user| format!("\nu{user},arn:aws:iam::123456789012:user/u{user},false,N/A,false,N/A");
        (0..users).fold(HEADER.to_owned(), |report, user| report + &row(user))
    }

    /// A folder that is gone when the test is over.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("files-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder");
            Folder(path)
        }

        /// Writes a file that has not changed for ten seconds.
        fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, content).expect("a file");
            let file = fs::File::open(&path).expect("a file");
            let modified = SystemTime::now() - Duration::from_secs(10);
            file.set_modified(modified).expect("a time");
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn open(path: &Path) -> Files {
        Files::open(path.to_owned(), KEEP_MISSING).expect("report files")
    }

    async fn names(files: &Files) -> (Option<Reason>, Vec<String>) {
        let failure = files.discover().await.err().map(|failure| failure.reason);
        let targets = files.known().targets;
        (failure, targets.into_iter().map(|target| target.name).collect())
    }

    /// Fetches the only file: the number of bytes of its report, if it is new, or what failed.
    async fn fetch(files: &Files, patience: Duration) -> Result<Option<usize>, Reason> {
        let [target] = files.known().targets.try_into().expect("one file");
        let fetched = files.fetch(&target, Utc::now(), Instant::now() + patience).await;
        match fetched.failure {
            Some(failure) => Err(failure.reason),
            None => Ok(fetched.report.map(|report| report.csv.len())),
        }
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_folder_that_says_less_than_before_is_a_failure_and_its_files_stay() {
        let folder = Folder::new("less");
        let path = folder.write("a.csv", report(1));
        let files = open(&folder.0);
        assert_eq!(names(&files).await, (None, vec!["a".to_owned()]));
        fs::remove_file(&path).expect("a file");
        let unreadable = (Some(Reason::UnreadableFile), vec!["a".to_owned()]);
        assert_eq!(names(&files).await, unreadable, "an empty folder");
        std::os::unix::fs::symlink("/does/not/exist", &path).expect("a link");
        assert_eq!(names(&files).await, unreadable, "a link that leads nowhere");
        assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::UnreadableFile));
        fs::remove_dir_all(&folder.0).expect("a folder");
        assert_eq!(names(&files).await, unreadable, "no folder");
        fs::write(&folder.0, "").expect("a file");
        assert_eq!(names(&files).await.0, None, "a file instead of a folder is another source");
        fs::remove_file(&folder.0).expect("a file");
    }

    #[tokio::test]
    async fn a_file_that_is_gone_stays_for_a_time() {
        let folder = Folder::new("gone");
        folder.write("stays.csv", report(1));
        let path = folder.write("goes.csv", report(1));
        let keep_missing = Duration::from_millis(100);
        let files = Files::open(folder.0.clone(), keep_missing).expect("report files");
        assert_eq!(names(&files).await.1, ["goes", "stays"]);
        fs::remove_file(path).expect("a file");
        assert_eq!(names(&files).await.1, ["goes", "stays"]);
        tokio::time::sleep(keep_missing).await;
        assert_eq!(names(&files).await, (None, vec!["stays".to_owned()]));
    }

    #[tokio::test]
    async fn names_that_are_not_utf_8_are_read_and_stay_apart() {
        let folder = Folder::new("names");
        for byte in [0xe8, 0xe9] {
            folder.write(OsStr::from_bytes(&[b'f', byte, b'.', b'c', b's', b'v']), report(1));
        }
        let files = open(&folder.0);
        assert_eq!(names(&files).await, (None, vec!["f\\xE8".to_owned(), "f\\xE9".to_owned()]));
        for target in files.known().targets {
            let fetched = files.fetch(&target, Utc::now(), Instant::now() + PATIENCE).await;
            assert!(fetched.report.is_some(), "{fetched:?}");
        }
    }

    #[tokio::test]
    async fn a_report_with_less_than_half_the_users_is_taken_when_two_looks_agree() {
        let folder = Folder::new("smaller");
        let path = folder.write("a.csv", report(10));
        let files = open(&path);
        files.discover().await.expect("a file");
        let bytes = |users| Ok(Some(report(users).len()));
        assert_eq!(fetch(&files, PATIENCE).await, bytes(10));
        folder.write("a.csv", report(5));
        assert_eq!(fetch(&files, PATIENCE).await, bytes(5), "half is enough");
        folder.write("a.csv", report(2));
        assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::ReportNotReady));
        folder.write("a.csv", report(1));
        assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::ReportNotReady), "another one");
        fs::remove_file(&path).expect("a file");
        assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::UnreadableFile));
        folder.write("a.csv", report(1));
        assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::ReportNotReady), "not in a row");
        assert_eq!(fetch(&files, PATIENCE).await, bytes(1));
        assert_eq!(fetch(&files, PATIENCE).await, bytes(1));
    }

    #[tokio::test]
    async fn a_file_that_is_being_written_is_not_taken() {
        let folder = Folder::new("written");
        let whole = report(2);
        let path = folder.write("a.csv", &whole[..whole.len() - 12]);
        let files = open(&path);
        files.discover().await.expect("a file");
        assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::ReportNotReady), "the first time");
        folder.write("a.csv", &whole);
        assert_eq!(fetch(&files, PATIENCE).await, Ok(Some(whole.len())));
        folder.write("a.csv", &whole[..whole.len() - 12]);
        assert_eq!(fetch(&files, PATIENCE).await, Ok(None), "the last one stays");
        // Younger than two seconds: it waits for it, as far as there is time.
        fs::write(&path, report(3)).expect("a file");
        assert_eq!(fetch(&files, Duration::from_millis(500)).await, Ok(None));
        assert_eq!(fetch(&files, PATIENCE).await, Ok(Some(report(3).len())));
    }

    #[tokio::test]
    async fn while_a_read_hangs_there_is_no_second_one() {
        let folder = Folder::new("hangs");
        let path = folder.write("a.csv", report(1));
        let files = open(&path);
        files.discover().await.expect("a file");
        fs::remove_file(&path).expect("a file");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
        let started = Instant::now();
        assert_eq!(fetch(&files, Duration::from_millis(200)).await, Err(Reason::Timeout));
        // It does not wait for the deadline.
        assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::Timeout));
        assert!(started.elapsed() < PATIENCE / 2);
        let pipe = fs::OpenOptions::new().write(true).open(&path).expect("a reader waits");
        fs::remove_file(&path).expect("a pipe");
        folder.write("a.csv", report(1));
        drop(pipe);
        while fetch(&files, PATIENCE).await != Ok(Some(report(1).len())) {
            assert!(started.elapsed() < PATIENCE, "it is never read again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[test]
    fn a_row_is_cut_where_the_file_ends_before_its_last_field() {
        let whole = report(2);
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        let last = whole.rfind('\n').expect("two rows") + 1;
        for end in last..=whole.len() {
            // The rest of the last field may be missing unseen.
            let expected = (last + 1..=whole.len() - 4).contains(&end);
            assert_eq!(is_cut(&whole.as_bytes()[..end]), expected, "{:?}", &whole[last..end]);
            assert_eq!(is_cut(&wide(&whole[..end])), expected, "{:?}", &whole[last..end]);
        }
        for text in ["", HEADER, &whole, &format!("{whole}\n"), &format!("{whole}\na,b")] {
            assert!(!is_cut(text.as_bytes()), "{text}");
        }
    }
}
