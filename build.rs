//! Gives the program its build information: the commit, the time, and the compiler.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// In an archive that `git archive` made, the commit stands here instead: see .gitattributes.
const ARCHIVED: &str = "$Format:%H$";

/// The sources of the binary. Changes of other files do not count.
const SOURCES: [&str; 5] = ["Cargo.lock", "Cargo.toml", "build.rs", "docs/runbooks.md", "src"];

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo::rustc-env=BUILD_REVISION={}", revision());
    println!("cargo::rustc-env=BUILD_TIME={}", time());
    println!("cargo::rustc-env=BUILD_RUSTC={}", rustc());
}

/// The commit, with `-modified` if the sources differ from it, or `unknown`.
fn revision() -> String {
    if !ARCHIVED.starts_with('$') {
        return ARCHIVED.to_owned();
    }
    // Sources without a repository can lie in the folder of another one.
    let head = git(&["ls-files", "--error-unmatch", "build.rs"]).and(git(&["rev-parse", "HEAD"]));
    let Some(commit) = head else { return "unknown".to_owned() };
    watch_head();
    // Takes no lock, because another git may run.
    let status =
        git(&[&["--no-optional-locks", "status", "--porcelain", "--"], &SOURCES[..]].concat());
    if status.is_some_and(|changes| changes.is_empty()) { commit } else { commit + "-modified" }
}

/// Runs this again after a commit or a checkout.
fn watch_head() {
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "logs/HEAD"].into_iter().chain(branch.as_deref()) {
        let file = git(&["rev-parse", "--git-path", name]);
        // Cargo would build again each time because of a file that does not exist.
        if let Some(file) = file.filter(|file| Path::new(file).exists()) {
            println!("cargo::rerun-if-changed={file}");
        }
    }
}

/// Seconds since 1970. Builds with the same SOURCE_DATE_EPOCH are equal.
fn time() -> u64 {
    match env::var("SOURCE_DATE_EPOCH") {
        Ok(time) => time.parse().expect("SOURCE_DATE_EPOCH is a number of seconds"),
        Err(_) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            now.expect("the clock is set").as_secs()
        }
    }
}

/// The compiler's version, such as 1.95.0.
fn rustc() -> String {
    let rustc = env::var_os("RUSTC").expect("cargo sets it");
    let version = output(Command::new(rustc).arg("--version")).expect("the compiler has a version");
    version.split(' ').nth(1).unwrap_or("unknown").to_owned()
}

/// What git prints. `None` if there is no git or no repository.
fn git(arguments: &[&str]) -> Option<String> {
    output(Command::new("git").args(arguments))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
