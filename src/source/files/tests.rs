use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::time::SystemTime;

use super::*;

pub const HEADER: &str = "user,arn,access_key_1_active,access_key_1_last_rotated,access_key_2_active,access_key_2_last_rotated";

pub fn report(users: usize) -> String {
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
