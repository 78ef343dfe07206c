//! Input that can be read only once: standard input, and pipes such as `<(…)` of a shell.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// The program at the other end may ask AWS first.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether this is standard input, `-` or `/dev/stdin`.
pub fn is_stdin(path: &Path) -> bool {
    path == Path::new("-") || path == Path::new("/dev/stdin")
}

/// Whether it can be read only once: `-`, a pipe, or `/dev/stdin` unless that is a file.
pub fn is_pipe(path: &Path) -> bool {
    let of_kind = |metadata: fs::Metadata| {
        let kind = metadata.file_type();
        kind.is_fifo() || (is_stdin(path) && !kind.is_file() && !kind.is_dir())
    };
    path == Path::new("-") || fs::metadata(path).is_ok_and(of_kind)
}

/// Reads it to its end. Fails if it is empty, has more than `max_bytes`, or does not end within a
/// minute.
pub fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let (sender, answer) = mpsc::channel();
    let path = path.to_owned();
    // A thread that waits for a pipe cannot be stopped. It ends with the process.
    thread::spawn(move || sender.send(read_to_end(&path, max_bytes + 1)));
    let late = || format!("not read completely within {} s", PATIENCE.as_secs());
    let bytes = answer.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(io::Error::other(late())))?;
    if bytes.trim_ascii().is_empty() {
        return Err(io::Error::other("the pipe was empty"));
    }
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("more than {max_bytes} bytes")));
    }
    Ok(bytes)
}

fn read_to_end(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Standard input can be a socket, or a pipe of another user, which cannot be opened by a name.
    if is_stdin(path) {
        io::stdin().lock().take(max_bytes).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(max_bytes).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
