//! Reads files, and detects later changes.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::source::regular_file;

/// The largest file that is accepted.
const MAX_BYTES: u64 = 1 << 20;

/// A file as it was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    path: PathBuf,
    version: Version,
}

/// Device, inode, size, and the times of changes with their nanoseconds.
type Version = [i64; 7];

impl FileState {
    /// Reads the bytes of a file, which may not be larger than 1 MiB.
    pub fn read(path: &Path) -> io::Result<(FileState, Vec<u8>)> {
        let file = regular_file::open(path)?;
        // Read before the content, so that a change in between counts.
        let version = version(&file.metadata()?);
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::other(format!("has more than {MAX_BYTES} bytes")));
        }
        Ok((FileState { path: path.to_owned(), version }, bytes))
    }

    /// Whether the file has changed or is gone.
    pub fn has_changed(&self) -> bool {
        fs::metadata(&self.path).map_or(true, |metadata| version(&metadata) != self.version)
    }
}

fn version(file: &Metadata) -> Version {
    let [device, inode, size] = [file.dev(), file.ino(), file.size()].map(u64::cast_signed);
    let [mtime, mtime_nsec] = [file.mtime(), file.mtime_nsec()];
    [device, inode, size, mtime, mtime_nsec, file.ctime(), file.ctime_nsec()]
}
