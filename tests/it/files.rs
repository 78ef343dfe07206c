//! Report files: a folder of them is read, watched and kept apart.

use std::fs;

use crate::support::exporter::{Exporter, output, value};
use crate::support::folder::Folder;
use crate::support::report::{self, NO_KEY, OLD, root, row, unused};

/// A report of one user with one key.
fn report(account: &str, user: &str) -> String {
    report::report([row(account, "/", user, &unused(OLD))])
}

fn start(folder: &Folder) -> Exporter {
    let exporter =
        Exporter::start(&["--source.reports", folder.path(), "--refresh.interval", "1s"]);
    exporter.wait_until_ready();
    exporter
}

#[test]
fn every_file_is_an_account_named_for_it() {
    let folder = Folder::new();
    folder.write("production.csv", &report("111111111111", "a"));
    folder.write("staging.csv", &report("222222222222", "b"));
    folder.write("notes.txt", "not a report");
    let page = start(&folder).get("/metrics");
    for (id, name) in [("111111111111", "production"), ("222222222222", "staging")] {
        let info = format!(
            "iam_account_info{{account_id=\"{id}\",account_name=\"{name}\",partition=\"aws\"}} 1"
        );
        assert!(page.contains(&info), "{page}");
        let total = format!("iam_unrotated_keys_total{{account_id=\"{id}\"}}");
        assert_eq!(value(&page, &total), Some(1.0));
    }
    assert_eq!(value(&page, "iam_exporter_accounts{state=\"ok\"}"), Some(2.0));
}

#[test]
fn a_changed_file_is_read_again_and_what_it_lost_is_gone() {
    let folder = Folder::new();
    folder.write("a.csv", &report("111111111111", "before"));
    let exporter = start(&folder);
    assert!(exporter.get("/metrics").contains("user=\"before\""));
    folder.write("a.csv", &report("111111111111", "after"));
    let page = exporter.page_where(|page| page.contains("user=\"after\""));
    assert!(!page.contains("user=\"before\""));
}

#[test]
fn a_file_named_by_its_account_that_becomes_another_accounts_is_a_new_account() {
    let folder = Folder::new();
    folder.write("222222222222.csv", &report("222222222222", "old"));
    let exporter = start(&folder);
    folder.write("222222222222.csv", &report("333333333333", "new"));
    exporter.page_where(|page| page.contains("account_id=\"333333333333\",user=\"new\""));
    let line = exporter.log_line("account no longer reached");
    assert!(line.contains("account=222222222222 now=333333333333"), "{line}");
    assert!(line.contains("its report file is of another account now"), "{line}");
    let count =
        "iam_refresh_failures_total{account_id=\"222222222222\",reason=\"unreadable_file\"}";
    assert_eq!(value(&exporter.get("/metrics"), count), Some(1.0));
    std::thread::sleep(std::time::Duration::from_secs(3));
    let page = exporter.get("/metrics");
    assert_eq!(value(&page, "iam_refresh_success{account_id=\"222222222222\"}"), Some(0.0));
    assert!(page.contains("account_id=\"222222222222\",user=\"old\""), "its keys stay for a day");
}

#[test]
fn a_file_that_is_gone_fails_its_account_and_then_drops_it() {
    let folder = Folder::new();
    folder.write("a.csv", &report("111111111111", "a"));
    let arguments = ["--source.reports", folder.path(), "--refresh.interval", "1s"];
    let exporter = Exporter::start(&[&arguments[..], &["--source.keep-missing", "8s"]].concat());
    exporter.wait_until_ready();
    folder.write("b.csv", &report("222222222222", "b"));
    exporter.page_where(|page| page.contains("account_id=\"222222222222\",user=\"b\""));
    folder.remove("a.csv");
    let success = "iam_refresh_success{account_id=\"111111111111\"}";
    let page = exporter.page_where(|page| value(page, success) == Some(0.0));
    assert!(page.contains("account_id=\"111111111111\",user=\"a\""));
    assert_eq!(value(&page, "iam_exporter_discovery_success"), Some(1.0));
    exporter.page_where(|page| !page.contains("111111111111"));
    let line = exporter.log_line("its account is dropped");
    assert!(line.contains("account=111111111111"), "{line}");
    assert!(line.contains("a.csv"), "{line}");
}

#[test]
fn an_empty_folder_is_a_failure_and_what_is_known_stays() {
    let folder = Folder::new();
    folder.write("a.csv", &report("111111111111", "a"));
    let exporter = start(&folder);
    folder.remove("a.csv");
    let success = "iam_refresh_success{account_id=\"111111111111\"}";
    let page = exporter.page_where(|page| {
        value(page, "iam_exporter_discovery_success") == Some(0.0)
            && value(page, success) == Some(0.0)
    });
    assert_eq!(value(&page, "iam_unrotated_keys_total{account_id=\"111111111111\"}"), Some(1.0));
    let check = output(&["check", "--source.reports", folder.path()]);
    assert_eq!(check.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(stderr.contains("the folder has no *.csv file"), "{stderr}");
}

#[test]
fn check_takes_the_newer_of_two_files_and_says_that_there_are_two() {
    let folder = Folder::new();
    let young = unused("2020-02-01T00:00:00Z").replace("true", "false");
    folder.write(
        "a.csv",
        &report::report([root("111111111111", NO_KEY), row("111111111111", "/", "a", &young)]),
    );
    folder.write("z.csv", &report("111111111111", "a"));
    let check = output(&["check", "--source.reports", folder.path()]);
    let stderr = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("duplicate reports of the same accounts, ignored: 1"), "{stderr}");
    assert!(stderr.contains("several files have a report of this account"), "{stderr}");
}

#[test]
fn a_file_that_is_no_report_fails_alone_and_has_a_name_but_no_account_id() {
    for name in ["bad", "222222222222"] {
        let folder = Folder::new();
        folder.write("good.csv", &report("111111111111", "a"));
        folder.write(&format!("{name}.csv"), "<html>\n");
        // One refresh only: the failure is counted once.
        let exporter = Exporter::start(&["--source.reports", folder.path()]);
        exporter.wait_until_ready();
        let page = exporter.get("/metrics");
        let ids = page.split("account_id=\"").skip(1).map(|rest| &rest[..13]);
        assert!(ids.clone().count() > 10 && ids.clone().all(|id| id == "111111111111\""), "{page}");
        assert_eq!(value(&page, "iam_refresh_success"), Some(1.0));
        assert_eq!(value(&page, "iam_exporter_accounts{state=\"failing\"}"), Some(1.0));
        assert_eq!(value(&page, "iam_exporter_unidentified_accounts"), Some(1.0));
        let count = "iam_exporter_unidentified_refresh_failures_total{reason=\"malformed_report\"}";
        assert_eq!(value(&page, count), Some(1.0));
        exporter.log_line(&format!("account={name} reason=malformed_report"));
        assert!(exporter.get("/").contains(&format!("<bdi>{name}</bdi>")), "the status page");
        let check = output(&["check", "--source.reports", folder.path()]);
        let stderr = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(&format!("account {name}: malformed_report: ")), "{stderr}");
        assert!(stderr.contains("accounts read: 1 of 2"), "{stderr}");
    }
}

#[test]
fn a_file_that_can_be_read_later_gets_its_account_id_and_keeps_it() {
    let folder = Folder::new();
    folder.write("prod.csv", "<html>\n");
    let exporter = start(&folder);
    let unidentified = "iam_exporter_unidentified_accounts";
    assert_eq!(value(&exporter.get("/metrics"), unidentified), Some(1.0));
    folder.write("prod.csv", &report("111111111111", "a"));
    let page = exporter.page_where(|page| page.contains("account_id=\"111111111111\""));
    assert_eq!(value(&page, unidentified), Some(0.0));
    let count =
        "iam_refresh_failures_total{account_id=\"111111111111\",reason=\"malformed_report\"}";
    assert_eq!(value(&page, count), Some(0.0), "nothing of it failed");
    folder.write("prod.csv", "<html>\n");
    let page = exporter.page_where(|page| value(page, count) >= Some(1.0));
    assert_eq!(value(&page, unidentified), Some(0.0));
    assert_eq!(value(&page, "iam_refresh_success{account_id=\"111111111111\"}"), Some(0.0));
}

#[test]
fn what_is_no_file_fails_alone_until_a_file_takes_its_place() {
    let folder = Folder::new();
    folder.write("good.csv", &report("111111111111", "a"));
    // Docker makes a folder if the file to mount is missing.
    fs::create_dir(folder.file("prod.csv")).expect("a folder");
    let exporter = start(&folder);
    let page = exporter.get("/metrics");
    assert_eq!(value(&page, "iam_refresh_success{account_id=\"111111111111\"}"), Some(1.0));
    let count = "iam_exporter_unidentified_refresh_failures_total{reason=\"unreadable_file\"}";
    assert!(value(&page, count) >= Some(1.0), "{page}");
    let line = exporter.log_line("account=prod reason=unreadable_file");
    assert!(line.contains("prod.csv: is a directory"), "{line}");
    fs::remove_dir(folder.file("prod.csv")).expect("a folder");
    let pipe = folder.file("prod.csv");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
    assert!(made.success());
    exporter.log_line("prod.csv: is not a regular file");
    folder.write("prod.csv", &report("222222222222", "b"));
    exporter.page_where(|page| page.contains("account_id=\"222222222222\",user=\"b\""));
}

#[test]
fn a_file_whose_time_is_no_date_fails_alone() {
    let folder = Folder::new();
    folder.write("good.csv", &report("111111111111", "a"));
    folder.write("prod.csv", &report("222222222222", "b"));
    let file = fs::File::open(folder.file("prod.csv")).expect("a file");
    // Some file systems take the last time that they can hold: then it is only far ahead.
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(99_999_999_999_999);
    file.set_modified(time).expect("a time");
    let check = output(&["check", "--source.reports", folder.path()]);
    let stderr = String::from_utf8_lossy(&check.stderr).into_owned();
    assert_eq!(check.status.code(), Some(2), "{stderr}");
    let is_named = ["clock: the report has a time of", "the time of its last change is no date"];
    assert!(is_named.iter().any(|words| stderr.contains(words)), "{stderr}");
    assert!(!stderr.contains("internal_error"), "{stderr}");
}

#[test]
fn a_smaller_report_under_another_name_is_not_published_at_once() {
    let folder = Folder::new();
    let users = |count: usize| {
        let rows = (0..count).map(|n| row("111111111111", "/", &format!("u{n}"), &unused(OLD)));
        report::report(rows)
    };
    folder.write("prod-1.csv", &users(10));
    let exporter =
        Exporter::start(&["--source.reports", folder.path(), "--refresh.interval", "3s"]);
    exporter.wait_until_ready();
    folder.write("prod-2.csv", &users(1));
    let line = exporter.log_line("account=prod-2 reason=report_not_ready");
    assert!(line.contains("it has 1 users, and the report before it had 10"), "{line}");
    let total = "iam_unrotated_keys_total{account_id=\"111111111111\"}";
    assert_eq!(value(&exporter.get("/metrics"), total), Some(10.0));
    exporter.page_where(|page| value(page, total) == Some(1.0));
}

#[test]
fn an_older_export_in_the_place_of_a_newer_one_clears_nothing_at_once() {
    let folder = Folder::new();
    let used = |day: &str| format!("true,{OLD},2026-01-{day}T00:00:00Z,eu-west-1,s3");
    let old = [row("111111111111", "/", "a", &used("01"))];
    let new =
        [row("111111111111", "/", "a", &used("02")), row("111111111111", "/", "b", &used("02"))];
    folder.write("prod.csv", &report::report(new));
    let arguments = ["--source.reports", folder.path(), "--refresh.interval", "1s"];
    let exporter = Exporter::start(&[&arguments[..], &["--source.keep-missing", "6s"]].concat());
    exporter.wait_until_ready();
    folder.write("prod.csv", &report::report(old));
    let line = exporter.log_line("account=111111111111 reason=report_not_ready");
    for part in ["prod.csv: it seems to be an older export", "2026-01-01T00", "2026-01-02T00"] {
        assert!(line.contains(part), "{line}");
    }
    let total = "iam_unrotated_keys_total{account_id=\"111111111111\"}";
    let success = "iam_refresh_success{account_id=\"111111111111\"}";
    let page = exporter.page_where(|page| value(page, success) == Some(0.0));
    assert_eq!(value(&page, total), Some(2.0));
    exporter
        .page_where(|page| (value(page, total), value(page, success)) == (Some(1.0), Some(1.0)));
}

#[test]
fn a_report_that_turns_bad_leaves_the_last_good_one() {
    let folder = Folder::new();
    folder.write("a.csv", &report("111111111111", "a"));
    let exporter = start(&folder);
    folder.write("a.csv", "user,arn\n");
    let failed =
        |page: &str| value(page, "iam_refresh_success{account_id=\"111111111111\"}") == Some(0.0);
    let page = exporter.page_where(failed);
    assert_eq!(value(&page, "iam_unrotated_keys_total{account_id=\"111111111111\"}"), Some(1.0));
    let line = exporter.log_line("refresh failed");
    assert!(line.contains("account=111111111111 reason=malformed_report"), "{line}");
    assert!(line.contains("the header has no column access_key_1_active"), "{line}");
}

#[test]
fn of_two_files_of_one_account_the_newer_counts() {
    let folder = Folder::new();
    folder.write("old.csv", &report("111111111111", "old"));
    let exporter = start(&folder);
    folder.write("new.csv", &report("111111111111", "new"));
    let page = exporter.page_where(|page| page.contains("user=\"new\""));
    assert!(!page.contains("user=\"old\""));
    assert_eq!(value(&page, "iam_exporter_accounts{state=\"duplicate\"}"), Some(1.0));
}

#[test]
fn a_file_that_is_replaced_by_one_of_the_same_time_is_read_again() {
    let folder = Folder::new();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
    let write = |user| {
        folder.write("a.csv", &report("111111111111", user));
        let file = fs::File::open(folder.file("a.csv")).expect("a file");
        file.set_modified(long_ago).expect("a time");
    };
    write("before");
    let exporter = start(&folder);
    write("behind");
    exporter.page_where(|page| page.contains("user=\"behind\""));
}

#[test]
fn a_bad_file_that_comes_later_does_not_take_readiness_away() {
    let folder = Folder::new();
    folder.write("a.csv", &report("111111111111", "a"));
    let exporter = start(&folder);
    folder.write("bad.csv", "<html>\n");
    exporter
        .page_where(|page| value(page, "iam_exporter_accounts{state=\"failing\"}") == Some(1.0));
    assert_eq!(exporter.request("GET", "/-/ready", &[]).status, 200);
}

#[test]
fn a_folder_that_vanishes_leaves_the_last_list_and_says_so() {
    let folder = Folder::new();
    folder.write("a.csv", &report("111111111111", "a"));
    let exporter = start(&folder);
    let moved = format!("{}-moved", folder.path());
    fs::rename(folder.path(), &moved).expect("a folder");
    let page =
        exporter.page_where(|page| value(page, "iam_exporter_discovery_success") == Some(0.0));
    assert!(page.contains("account_id=\"111111111111\",user=\"a\""));
    fs::rename(&moved, folder.path()).expect("a folder");
    exporter.page_where(|page| value(page, "iam_exporter_discovery_success") == Some(1.0));
}
