//! Operations that wait for the disk: listing a folder, and reading one file.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Datelike, TimeDelta, Utc};

use crate::failure::{Failure, Reason};
use crate::pipe;
use crate::report::{MAX_BYTES, Report};
use crate::shard::stable_hash;
use crate::source::regular_file;

/// A report that a file holds.
#[derive(Debug, Clone)]
pub struct Content {
    /// Of the bytes.
    pub hash: u64,
    /// When the file was last modified.
    pub modified: DateTime<Utc>,
    /// The report in the bytes.
    pub report: Arc<Report>,
}

/// One read of a file.
pub struct FileRead {
    /// Its bytes.
    pub csv: Vec<u8>,
    /// What they hold. `None` if they are no report.
    pub content: Option<Content>,
    /// When the file was last modified.
    pub modified: DateTime<Utc>,
    /// Why the file may be incomplete, or may seem so.
    pub unsettled: Option<(Reason, String)>,
}

/// The files that were found.
#[derive(Debug)]
pub struct Listing {
    /// Their paths.
    pub files: BTreeSet<PathBuf>,
    /// Why there may be others.
    pub failure: Option<Failure>,
}

/// Whether it is a pipe. Fails if there is no file, folder or pipe, or if it may not be read.
pub fn can_open(path: &Path) -> Result<bool, Failure> {
    let failed = |error| unreadable(path, &error);
    if pipe::is_pipe(path) {
        return Ok(true);
    }
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_file() {
        fs::File::open(path).map(|_| false).map_err(failed)
    } else if metadata.is_dir() {
        fs::read_dir(path).map(|_| false).map_err(failed)
    } else {
        Err(failed(io::Error::other("neither a regular file nor a folder")))
    }
}

/// The report that comes through a pipe.
pub fn read_pipe(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| unreadable(path, &error);
    let csv = pipe::read(path, MAX_BYTES as u64).map_err(failed)?;
    if is_cut(&csv) {
        return Err(failed(io::Error::other("its last row is cut")));
    }
    Ok(csv)
}

/// The file itself, or the report files in the folder.
pub fn list(path: &Path) -> Result<Listing, Failure> {
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
            // Removed since the folder was read.
            Err(_)
                if fs::symlink_metadata(&file)
                    .is_err_and(|e| e.kind() == io::ErrorKind::NotFound) => {}
            // A folder fails when it is read. Docker makes one if the file to mount is missing.
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

/// Reads the file. What it says is not parsed again if it is the same as `taken`.
pub fn read(path: &Path, taken: Option<&Content>) -> Result<FileRead, Failure> {
    let failed = |error: io::Error| unreadable(path, &error);
    let mut file = regular_file::open(path).map_err(failed)?;
    let stat = |file: &fs::File| -> io::Result<(u64, SystemTime)> {
        file.metadata().and_then(|metadata| Ok((metadata.len(), metadata.modified()?)))
    };
    let before = stat(&file).map_err(failed)?;
    let modified = as_date(before.1).ok_or_else(|| {
        failed(io::Error::other("its modification time is invalid: set it with `touch`"))
    })?;
    // One byte more than a report may have, so that the parser sees that it is too large.
    let mut csv = Vec::new();
    file.by_ref().take(MAX_BYTES as u64 + 1).read_to_end(&mut csv).map_err(failed)?;
    let is_moving = stat(&file).map_err(failed)? != before;
    let unsettled = if is_moving {
        Some("it changed while it was read")
    } else {
        is_cut(&csv).then_some("its last row is cut")
    };
    let unsettled = unsettled.map(|why| (Reason::ReportNotReady, why.to_owned()));
    let hash = stable_hash(&csv);
    let report = match taken.filter(|taken| taken.hash == hash) {
        Some(taken) => Some(taken.report.clone()),
        None => Report::parse(&csv).ok().map(Arc::new),
    };
    let content = report.map(|report| Content { hash, modified, report });
    Ok(FileRead { csv, content, modified, unsettled })
}

/// `None` for years without four digits. A file system can hold times that are no dates at all.
fn as_date(time: SystemTime) -> Option<DateTime<Utc>> {
    let delta = |duration| TimeDelta::from_std(duration).ok();
    let date = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => DateTime::UNIX_EPOCH.checked_add_signed(delta(after)?),
        Err(error) => DateTime::UNIX_EPOCH.checked_sub_signed(delta(error.duration())?),
    };
    date.filter(|date| (0..10_000).contains(&date.year()))
}

/// Whether the file ends within its last row. AWS does not end the last row with a line break, but
/// gives it all its fields. A line that does not begin with a name and an ARN is not the beginning of a row.
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

/// The file system does not answer.
pub fn hangs(path: &Path) -> Failure {
    let message = format!("{}: the file system does not answer", path.display());
    Failure::new(Reason::Timeout, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{HEADER, report};
    use super::*;

    #[test]
    fn a_time_that_is_no_date_is_none() {
        let after = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let before = |seconds| SystemTime::UNIX_EPOCH - Duration::from_secs(seconds);
        let text = |time| as_date(time).map(|date| date.to_rfc3339());
        assert_eq!(text(after(253_402_300_799)).as_deref(), Some("9999-12-31T23:59:59+00:00"));
        assert_eq!(text(before(1)).as_deref(), Some("1969-12-31T23:59:59+00:00"));
        for none in [after(253_402_300_800), after(1 << 62), before(1 << 37), before(1 << 62)] {
            assert_eq!(text(none), None);
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
