//! A folder that is removed after the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Dropping it removes it with all that is in it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("iam-key-exporter-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder");
        Folder(path)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    /// Writes a file atomically.
    pub fn write(&self, name: &str, content: &str) {
        let hidden = self.0.join(format!(".{name}"));
        fs::write(&hidden, content).expect("a file");
        fs::rename(hidden, self.file(name)).expect("a file");
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).expect("a file");
    }

    pub fn file(&self, name: &str) -> PathBuf {
        Path::new(&self.0).join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
