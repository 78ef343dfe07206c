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

/// A folder that is removed after the test.
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

/// Fetches the only file. Returns the number of bytes of a new report, or the failure.
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
async fn root_alone_is_less_than_half_of_any_number_of_users() {
    let root = "<root_account>,arn:aws:iam::123456789012:root,false,N/A,false,N/A";
    let with_root = |users| format!("{}\n{root}", report(users));
    let folder = Folder::new("root");
    let path = folder.write("a.csv", with_root(1));
    let files = open(&path);
    files.discover().await.expect("a file");
    let taken = |users| Ok(Some(with_root(users).len()));
    assert_eq!(fetch(&files, PATIENCE).await, taken(1));
    folder.write("a.csv", with_root(0));
    assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::ReportNotReady));
    assert_eq!(fetch(&files, PATIENCE).await, taken(0));
}

#[tokio::test]
async fn users_whose_rows_could_not_be_read_count_as_users_before() {
    let folder = Folder::new("unread");
    let path = folder.write("a.csv", report(10));
    let files = open(&path);
    files.discover().await.expect("a file");
    fetch(&files, PATIENCE).await.expect("a report");
    let damaged = format!("{}{}\n", report(1), "\ndamaged".repeat(9));
    folder.write("a.csv", &damaged);
    assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::ReportNotReady));
    assert_eq!(fetch(&files, PATIENCE).await, Ok(Some(damaged.len())));
    folder.write("a.csv", report(1));
    assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::ReportNotReady));
    assert_eq!(fetch(&files, PATIENCE).await, Ok(Some(report(1).len())));
}

/// A report of one user whose key was used on this day.
fn used(day: u32, user: &str) -> String {
    let key = format!("true,2026-01-01T00:00:00Z,2026-01-{day:02}T00:00:00Z,false,N/A");
    let header =
        HEADER.replace("access_key_2_active", "access_key_1_last_used_date,access_key_2_active");
    format!("{header}\n{user},arn:aws:iam::123456789012:user/{user},{key}")
}

#[tokio::test]
async fn an_older_export_is_taken_only_if_it_stays_for_the_time_that_missing_files_are_kept() {
    let folder = Folder::new("older");
    let path = folder.write("a.csv", used(20, "a"));
    let keep_missing = Duration::from_millis(300);
    let files = Files::open(path.clone(), keep_missing).expect("report files");
    files.discover().await.expect("a file");
    let taken = Ok(Some(used(20, "a").len()));
    assert_eq!(fetch(&files, PATIENCE).await, taken);
    folder.write("a.csv", used(10, "a"));
    let Failure { reason, message } = failure(&files).await;
    assert_eq!(reason, Reason::ReportNotReady);
    for part in ["a.csv: ", "older export", "2026-01-10T00:00:00Z", "2026-01-20T00:00:00Z"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::ReportNotReady));
    folder.write("a.csv", used(21, "a"));
    assert_eq!(fetch(&files, PATIENCE).await, taken, "a newer one");
    folder.write("a.csv", used(10, "a"));
    assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::ReportNotReady), "it begins again");
    tokio::time::sleep(keep_missing).await;
    assert_eq!(fetch(&files, PATIENCE).await, taken, "it stayed");
}

#[tokio::test]
async fn an_export_that_lacks_what_was_newest_is_not_older() {
    let folder = Folder::new("lacks");
    let path = folder.write("a.csv", used(20, "a"));
    let files = open(&path);
    files.discover().await.expect("a file");
    let taken = Ok(Some(used(20, "a").len()));
    assert_eq!(fetch(&files, PATIENCE).await, taken);
    folder.write("a.csv", used(10, "b"));
    assert_eq!(fetch(&files, PATIENCE).await, taken, "the user may be deleted");
}

#[tokio::test]
async fn where_the_content_does_not_tell_the_time_of_the_file_does() {
    let folder = Folder::new("modified");
    let path = folder.write("a.csv", report(2));
    let files = open(&path);
    files.discover().await.expect("a file");
    fetch(&files, PATIENCE).await.expect("a report");
    folder.write("a.csv", report(3));
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    fs::File::open(&path).and_then(|file| file.set_modified(long_ago)).expect("a time");
    let message = failure(&files).await.message;
    assert!(message.contains("older export"), "{message}");
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
async fn a_smaller_report_from_another_file_of_the_account_is_taken_when_two_looks_agree() {
    let folder = Folder::new("dated");
    folder.write("prod-1.csv", report(10));
    let files = Files::open(folder.0.clone(), Duration::ZERO).expect("report files");
    assert_eq!(look(&files).await, ["prod-1: 10"]);
    folder.write("prod-2.csv", report(1));
    assert_eq!(look(&files).await, ["prod-1: 10", "prod-2: report_not_ready"]);
    assert_eq!(look(&files).await, ["prod-1: 10", "prod-2: 1"]);
    // The one before has one user by now.
    folder.write("prod-3.csv", report(1));
    assert_eq!(look(&files).await, ["prod-1: 10", "prod-2: 1", "prod-3: 1"]);
    folder.write("prod-4.csv", report(8));
    assert_eq!(look(&files).await, ["prod-1: 10", "prod-2: 1", "prod-3: 1", "prod-4: 8"]);
    // It does not matter that the file before is gone,
    for number in 1..=4 {
        fs::remove_file(folder.0.join(format!("prod-{number}.csv"))).expect("a file");
    }
    folder.write("prod-5.csv", report(2));
    assert_eq!(look(&files).await, ["prod-5: report_not_ready"]);
    assert_eq!(look(&files).await, ["prod-5: 2"]);
    // nor that the file had another account's report.
    folder.write("prod-5.csv", report(10));
    folder.write("other.csv", report(1).replace("123456789012", "210987654321"));
    assert_eq!(look(&files).await, ["other: 1", "prod-5: 10"]);
    folder.write("other.csv", report(1));
    assert_eq!(look(&files).await, ["other: report_not_ready", "prod-5: 10"]);
}

#[tokio::test]
async fn of_files_that_are_there_from_the_start_none_is_the_one_before() {
    for names in [["a.csv", "b.csv"], ["b.csv", "a.csv"]] {
        let folder = Folder::new(&format!("start-{}", names[0]));
        folder.write(names[0], report(10));
        folder.write(names[1], report(1));
        let looked = look(&open(&folder.0)).await;
        assert!(looked.iter().all(|file| !file.contains("report_not_ready")), "{looked:?}");
    }
}

/// Looks for files and fetches each. Returns its name, and the number of its users or the failure.
async fn look(files: &Files) -> Vec<String> {
    files.discover().await.expect("files");
    let mut found = Vec::new();
    for target in files.known().targets {
        let fetched = files.fetch(&target, Utc::now(), Instant::now() + PATIENCE).await;
        let what = match (fetched.failure, fetched.report) {
            (Some(failure), _) => failure.reason.as_str().to_owned(),
            (None, Some(report)) => {
                report.csv.iter().filter(|byte| **byte == b'\n').count().to_string()
            }
            (None, None) => "nothing new".to_owned(),
        };
        found.push(format!("{}: {what}", target.name));
    }
    found
}

/// Fetches the only file. Returns the failure.
async fn failure(files: &Files) -> Failure {
    let [target] = files.known().targets.try_into().expect("one file");
    let patience = Duration::from_millis(500);
    let fetched = files.fetch(&target, Utc::now(), Instant::now() + patience).await;
    fetched.failure.expect("a failure")
}

#[tokio::test]
async fn what_is_no_file_fails_its_account_and_a_file_in_its_place_is_read() {
    let folder = Folder::new("kinds");
    let path = folder.0.join("prod.csv");
    let files = open(&folder.0);
    let good = |path: &Path| folder.write(path.file_name().expect("a name"), report(1));
    let make_pipe = || Command::new("mkfifo").arg(&path).status().expect("mkfifo").success();
    for (expected, is_folder) in
        [("is a directory, not a file", true), ("is not a regular file", false)]
    {
        if is_folder {
            fs::create_dir(&path).expect("a folder");
        } else {
            assert!(make_pipe());
        }
        assert_eq!(names(&files).await, (None, vec!["prod".to_owned()]), "{expected}");
        let Failure { reason, message } = failure(&files).await;
        assert_eq!(reason, Reason::UnreadableFile);
        assert!(message.ends_with(expected), "{message}");
        assert_eq!(files.reads.available_permits(), MAX_READS);
        if is_folder { fs::remove_dir(&path) } else { fs::remove_file(&path) }.expect("removed");
        good(&path);
        assert_eq!(fetch(&files, PATIENCE).await, Ok(Some(report(1).len())), "{expected}");
        fs::remove_file(&path).expect("a file");
    }
}

#[tokio::test]
async fn a_file_whose_time_is_ahead_of_the_clock_names_the_clock() {
    let folder = Folder::new("ahead");
    let path = folder.write("a.csv", report(1));
    let files = open(&path);
    files.discover().await.expect("a file");
    let set =
        |time| fs::File::open(&path).and_then(|file| file.set_modified(time)).expect("a time");
    set(SystemTime::now() + Duration::from_secs(240));
    let Failure { reason, message } = failure(&files).await;
    assert_eq!(reason, Reason::Clock);
    assert!(message.contains("not read yet, it was modified at 2"), "{message}");
    assert!(message.contains("but the clock of this host shows 2"), "{message}");
    set(SystemTime::now());
    let Failure { reason, message } = failure(&files).await;
    assert_eq!(reason, Reason::ReportNotReady);
    assert!(message.ends_with("not read yet, it was modified less than 2 s ago"), "{message}");
}

#[tokio::test]
async fn while_a_read_hangs_there_is_no_second_one() {
    let folder = Folder::new("hangs");
    let path = folder.write("a.csv", report(1));
    let files = open(&path);
    files.discover().await.expect("a file");
    let (end, ended) = mpsc::channel::<()>();
    // As a read of a file system that does not answer.
    let history = files.lock().files.values().next().expect("a file").history.clone();
    let guard = (
        history.try_lock_owned().expect("nobody reads"),
        files.reads.clone().try_acquire_owned().expect("nobody reads"),
    );
    let started = Instant::now();
    let deadline = started + Duration::from_millis(200);
    let hanging = blocking(guard, &path, deadline, move || ended.recv()).await;
    assert_eq!(hanging.expect_err("it hangs").reason, Reason::Timeout);
    // It does not wait for the deadline.
    assert_eq!(fetch(&files, PATIENCE).await, Err(Reason::Timeout));
    assert!(started.elapsed() < PATIENCE / 2);
    assert_eq!(files.reads.available_permits(), MAX_READS - 1);
    drop(end);
    while fetch(&files, PATIENCE).await != Ok(Some(report(1).len())) {
        assert!(started.elapsed() < PATIENCE, "it is never read again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_report_that_came_through_a_pipe_stays_at_each_look() {
    let folder = Folder::new("pipe");
    let path = folder.0.join("prod.csv");
    assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    let to = path.clone();
    let writer = thread::spawn(move || fs::write(to, report(1)));
    let files = open(&path);
    writer.join().expect("no panic").expect("it is written");
    for _ in 0..2 {
        assert_eq!(names(&files).await, (None, vec!["prod".to_owned()]));
        assert_eq!(fetch(&files, Duration::ZERO).await, Ok(Some(report(1).len())));
    }
}

#[tokio::test]
async fn a_report_is_not_older_than_the_newest_time_in_it() {
    let folder = Folder::new("newest");
    let path = folder.write("a.csv", "");
    let files = open(&path);
    files.discover().await.expect("a file");
    let now = Utc::now();
    let at = |days: i64| now - TimeDelta::days(days);
    let text = printable::time;
    for (modified, rotated, expected) in [
        (at(100), at(6), text(at(6))),
        (at(6), at(100), text(at(6))),
        // The clock of this host is behind, or the row is wrong: the refresh fails.
        (at(6), at(-6), text(at(6))),
    ] {
        let row = format!("u0,arn:aws:iam::123456789012:user/u0,true,{},false,N/A", text(rotated));
        fs::write(&path, format!("{HEADER}\n{row}")).expect("a file");
        let file = fs::File::open(&path).expect("a file");
        file.set_modified(modified.into()).expect("a time");
        let [target] = files.known().targets.try_into().expect("one file");
        let fetched = files.fetch(&target, now, Instant::now() + PATIENCE).await;
        let report = fetched.report.expect("a report");
        assert_eq!(text(report.generated), expected, "{rotated}");
    }
}
