//! Reports from CSV files: one file, or every `*.csv` in a folder.
//!
//! Whoever writes the files should write under another name and rename, so that a half-written
//! report is never seen.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use chrono::DateTime;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::target::{Discovered, FetchResult, RawReport, Target};
use crate::config::Access;
use crate::failure::{Failure, Reason};
use crate::report::MAX_BYTES;

/// Report files.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
    /// Those that were last found.
    found: Mutex<Option<Vec<Target>>>,
}

impl Files {
    /// The file, or the folder of files, at `path`. Fails where there is neither, or it may not be
    /// read.
    pub fn open(path: PathBuf) -> Result<Files, Failure> {
        list(&path)?;
        if path.is_file() {
            fs::File::open(&path).map_err(|error| unreadable(&path, &error))?;
        }
        Ok(Files { path, found: Mutex::default() })
    }

    /// Looks for files.
    pub(super) async fn discover(&self) -> Result<(), Failure> {
        let path = self.path.clone();
        let files = blocking(Instant::now() + LIST_TIMEOUT, move || list(&path)).await?;
        let targets = files.into_iter().map(target).collect();
        *self.found.lock().expect(NO_PANIC) = Some(targets);
        Ok(())
    }

    /// One for each file. A file's account is named for the file.
    pub(super) fn known(&self) -> Discovered {
        match &*self.found.lock().expect(NO_PANIC) {
            Some(targets) => {
                Discovered { targets: targets.clone(), is_all: true, ..Discovered::default() }
            }
            None => Discovered::default(),
        }
    }

    /// The file's bytes. It is for the caller to tell whether they are new: a file can be replaced
    /// by another of the same time.
    pub(super) async fn fetch(&self, target: &Target, deadline: Instant) -> FetchResult {
        let path = PathBuf::from(&target.key);
        match blocking(deadline, move || read(&path)).await {
            Ok(report) => report.into(),
            Err(failure) => failure.into(),
        }
    }
}

/// Nothing that can panic runs while the list is locked.
const NO_PANIC: &str = "nothing panics while it is locked";

/// A file system that hangs must not stop the look for accounts for good.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

async fn blocking<T: Send + 'static>(
    deadline: Instant,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match timeout_at(deadline, spawn_blocking(work)).await {
        Ok(done) => done.expect("reading a file does not panic"),
        Err(_) => Err(Failure::deadline()),
    }
}

fn list(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| unreadable(path, &error);
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if !metadata.is_dir() {
        return Err(failed(io::Error::other("neither a regular file nor a folder")));
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_csv =
            file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        if is_csv && !hidden && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn target(file: PathBuf) -> Target {
    let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let key = file.to_string_lossy().into_owned();
    Target { key, id: name.clone(), name, access: Access::default() }
}

fn read(path: &Path) -> Result<RawReport, Failure> {
    let failed = |error: io::Error| unreadable(path, &error);
    let file = fs::File::open(path).map_err(failed)?;
    let modified = file.metadata().and_then(|metadata| metadata.modified()).map_err(failed)?;
    let generated = modified
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| DateTime::from_timestamp(since.as_secs().try_into().ok()?, 0))
        .ok_or_else(|| failed(io::Error::other("was modified at no time in a calendar")))?;
    // One byte more than a report may have, so that the parser sees that it is too large.
    let mut csv = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut csv).map_err(failed)?;
    Ok(RawReport { csv, generated })
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Reason::UnreadableFile, format!("{}: {error}", path.display()))
}
