//! The build information of the build script, in sources with and without a repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::folder::Folder;

/// Without the settings of the developer.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=a", "-c", "user.email=a@example.com"]).args(arguments);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        git.env_remove(name);
    }
    let output = git.current_dir(folder).output().expect("git runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// Sources as those of this crate, as far as the script looks.
fn sources(folder: &Folder) -> PathBuf {
    let sources = folder.file("sources");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["Cargo.toml", "Cargo.lock", "build.rs", ".gitattributes", "src/lib.rs"] {
        let to = sources.join(file);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(root.join(file), to).expect("a file");
    }
    sources
}

/// Compiles the script there, and returns its output, at 86,400 s.
fn run(sources: &Path) -> String {
    let script = sources.with_file_name("script");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let mut compiler = Command::new(&rustc);
    compiler.args(["--edition", "2024", "build.rs", "-o"]).arg(&script);
    assert!(compiler.current_dir(sources).status().expect("rustc runs").success());
    let mut script = Command::new(script);
    script.env("RUSTC", rustc).env("SOURCE_DATE_EPOCH", "86400");
    let output = script.current_dir(sources).output().expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn value<'a>(printed: &'a str, name: &str) -> &'a str {
    let prefix = format!("cargo::rustc-env={name}=");
    printed.lines().find_map(|line| line.strip_prefix(&prefix)).expect("it is printed")
}

#[test]
fn the_revision_is_the_commit_of_the_sources_and_never_of_another_repository() {
    let folder = Folder::new();
    let sources = sources(&folder);
    // A repository around the sources that does not have them.
    let around = Path::new(folder.path());
    git(around, &["init", "--quiet"]);
    git(around, &["commit", "--quiet", "--allow-empty", "-m", "a"]);
    let printed = run(&sources);
    assert_eq!(value(&printed, "BUILD_REVISION"), "unknown");
    assert_eq!(value(&printed, "BUILD_TIME"), "86400");
    assert!(value(&printed, "BUILD_RUSTC").starts_with("1."), "{printed}");

    git(&sources, &["init", "--quiet"]);
    git(&sources, &["add", "."]);
    git(&sources, &["commit", "--quiet", "-m", "a"]);
    let commit = git(&sources, &["rev-parse", "HEAD"]);
    // A change outside of the sources does not count.
    fs::write(sources.join("README.md"), "a").expect("a file");
    let printed = run(&sources);
    assert_eq!(value(&printed, "BUILD_REVISION"), commit);
    let watched = printed.lines().filter_map(|line| line.strip_prefix("cargo::rerun-if-changed="));
    let watched: Vec<&str> = watched.filter(|path| path.contains(".git/")).collect();
    assert!(watched.contains(&".git/HEAD"), "{printed}");
    assert!(watched.iter().all(|path| sources.join(path).exists()), "{printed}");

    fs::write(sources.join("src/lib.rs"), "//! changed").expect("a file");
    assert_eq!(value(&run(&sources), "BUILD_REVISION"), format!("{commit}-modified"));
}

#[test]
fn an_archive_of_git_knows_its_commit() {
    let folder = Folder::new();
    let sources = sources(&folder);
    git(&sources, &["init", "--quiet"]);
    git(&sources, &["add", "."]);
    git(&sources, &["commit", "--quiet", "-m", "a"]);
    let commit = git(&sources, &["rev-parse", "HEAD"]);
    let archived =
        git(&sources, &["archive", "--format=tar", "HEAD", "build.rs", "-o", "../a.tar"]);
    assert_eq!(archived, "");
    let unpacked = folder.file("unpacked");
    fs::create_dir(&unpacked).expect("a folder");
    let tar = Command::new("tar").args(["-xf", "../a.tar"]).current_dir(&unpacked).status();
    assert!(tar.expect("tar runs").success());
    assert_eq!(value(&run(&unpacked), "BUILD_REVISION"), commit);
}
