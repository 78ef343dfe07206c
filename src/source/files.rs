//! Reports from CSV files: one file, or every `*.csv` in a folder.
//!
//! Whoever writes the files should write under another name and rename, so that a half-written
//! report is never seen.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use tokio::task::spawn_blocking;

use super::{Failure, Fetch, Fetched, Target};
use crate::report::MAX_BYTES;
use crate::state::Reason;

/// Report files.
#[derive(Debug)]
pub struct Files {
    path: PathBuf,
}

impl Files {
    /// The file, or the folder of files, at `path`. Fails where there is neither, or it may not be
    /// read.
    pub fn open(path: PathBuf) -> Result<Files, Failure> {
        list(&path)?;
        if path.is_file() {
            fs::File::open(&path).map_err(|error| unreadable(&path, &error))?;
        }
        Ok(Files { path })
    }

    /// One for each file. A file's account is named for the file.
    pub(super) async fn targets(&self) -> Result<Vec<Target>, Failure> {
        let path = self.path.clone();
        let files = blocking(move || list(&path)).await?;
        Ok(files.into_iter().map(target).collect())
    }

    /// The file's bytes, if it was modified since `last`.
    pub(super) async fn fetch(&self, target: &Target, last: Option<DateTime<Utc>>) -> Fetch {
        let path = PathBuf::from(&target.key);
        match blocking(move || read(&path, last)).await {
            Ok(report) => Fetch { report, ..Fetch::default() },
            Err(failure) => failure.into(),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    spawn_blocking(work).await.expect("reading a file does not panic")
}

fn list(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error| unreadable(path, &error);
    if !fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && file.extension().is_some_and(|extension| extension == "csv") && file.is_file()
        {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn target(file: PathBuf) -> Target {
    let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Target { key: file.to_string_lossy().into_owned(), id: name.clone(), name }
}

fn read(path: &Path, last: Option<DateTime<Utc>>) -> Result<Option<Fetched>, Failure> {
    let failed = |error: io::Error| unreadable(path, &error);
    let file = fs::File::open(path).map_err(failed)?;
    let modified = file.metadata().and_then(|metadata| metadata.modified()).map_err(failed)?;
    let generated = DateTime::<Utc>::from(modified);
    if last == Some(generated) {
        return Ok(None);
    }
    // One byte more than a report may have, so that the parser sees that it is too large.
    let mut csv = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut csv).map_err(failed)?;
    Ok(Some(Fetched { csv, generated }))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Reason::UnreadableFile, format!("{}: {error}", path.display()))
}
