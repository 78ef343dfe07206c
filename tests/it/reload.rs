//! Reading the configuration again, by signal and by request. A bad file changes nothing.

use std::thread;
use std::time::Duration;

use crate::support::exporter::{Exporter, value};
use crate::support::folder::Folder;

/// One key that is some years old, and a configuration that the test can change.
struct Subject {
    folder: Folder,
    exporter: Exporter,
}

const TOTAL: &str = "iam_unrotated_keys_total{account_id=\"210987654321\"}";
const SUCCESSFUL: &str = "iam_exporter_config_last_reload_successful";

impl Subject {
    fn start(config: &str, flags: &[&str]) -> Subject {
        let folder = Folder::new();
        folder.write("config.yaml", config);
        let file = format!("{}/config.yaml", folder.path());
        let reports = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/govcloud-2013.csv");
        let arguments = ["--config.file", &file, "--source.reports", reports];
        let exporter = Exporter::start(&[&arguments[..], flags].concat());
        exporter.wait_until_ready();
        Subject { folder, exporter }
    }

    /// The page without times and numbers that always change.
    fn keys(&self) -> String {
        let page = self.exporter.get("/metrics");
        let lines = page.lines().filter(|line| line.starts_with("iam_access_key_"));
        lines.filter(|line| !line.contains("_age_days")).collect::<Vec<_>>().join("\n")
    }
}

const EXEMPT: &str =
    "rotation: { rules: [{ match: { user: old }, exempt: { reason: too old to move } }] }\n";

#[test]
fn a_signal_reads_the_file_again_and_the_page_follows() {
    let subject = Subject::start("", &[]);
    assert_eq!(value(&subject.exporter.get("/metrics"), TOTAL), Some(1.0));
    subject.folder.write("config.yaml", EXEMPT);
    subject.exporter.signal("HUP");
    let page = subject.exporter.page_where(|page| value(page, TOTAL) == Some(0.0));
    let end = "iam_access_key_exemption_end_timestamp_seconds{account_id=\"210987654321\",user=\"old\",key=\"1\",reason=\"too old to move\"}";
    assert_eq!(value(&page, end), Some(f64::INFINITY));
    assert_eq!(value(&page, SUCCESSFUL), Some(1.0));
    subject.exporter.log_line("configuration reloaded");
}

#[test]
fn a_request_reads_the_file_again_where_that_is_allowed() {
    let subject = Subject::start("", &["--web.enable-lifecycle"]);
    subject.folder.write("config.yaml", EXEMPT);
    assert_eq!(subject.exporter.request("GET", "/-/reload", &[]).status, 405);
    let response = subject.exporter.request("POST", "/-/reload", &[]);
    assert_eq!((response.status, response.body), (200, b"reloaded\n".to_vec()));
    subject.exporter.page_where(|page| value(page, TOTAL) == Some(0.0));
}

#[test]
fn a_page_of_another_site_cannot_have_the_file_read_again() {
    let subject = Subject::start("", &["--web.enable-lifecycle"]);
    let status = |headers: &[&str]| subject.exporter.request("POST", "/-/reload", headers).status;
    assert_eq!(status(&["Sec-Fetch-Site: cross-site"]), 403);
    assert_eq!(status(&["Sec-Fetch-Site: same-site"]), 403);
    assert_eq!(status(&["Origin: http://elsewhere"]), 403);
    assert_eq!(status(&["Origin: http://x"]), 200);
    assert_eq!(status(&["Sec-Fetch-Site: same-origin", "Origin: http://x"]), 200);
}

#[test]
fn those_who_ask_within_a_second_share_one_reading_that_began_after_they_asked() {
    let subject = Subject::start("", &["--web.enable-lifecycle"]);
    let reload = || subject.exporter.request("POST", "/-/reload", &[]).status;
    assert_eq!(reload(), 200);
    subject.folder.write("config.yaml", EXEMPT);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..40).map(|_| scope.spawn(reload)).collect();
        for status in asking {
            assert_eq!(status.join().expect("an answer"), 200);
        }
    });
    subject.exporter.page_where(|page| value(page, TOTAL) == Some(0.0));
    let lines = subject.exporter.end();
    let readings = lines.iter().filter(|line| line.contains("configuration reloaded")).count();
    assert!((2..=3).contains(&readings), "{lines:?}");
}

#[test]
fn each_bad_file_leaves_the_page_as_it_was_and_says_so() {
    let cases: Vec<&str> = include_str!("../data/broken-configs.txt").split("=====\n").collect();
    // A file is read once a second.
    thread::scope(|scope| {
        for cases in cases.chunks(cases.len().div_ceil(8)) {
            scope.spawn(|| bad_files_change_nothing(cases));
        }
    });
}

fn bad_files_change_nothing(cases: &[&str]) {
    let subject = Subject::start(EXEMPT, &["--web.enable-lifecycle"]);
    let before = subject.keys();
    assert!(before.contains("exemption_end"));
    for case in cases {
        subject.folder.write("config.yaml", case);
        let response = subject.exporter.request("POST", "/-/reload", &[]);
        let told = String::from_utf8(response.body).expect("UTF-8");
        assert_eq!((response.status, told.lines().count()), (500, 1), "{told}");
        assert!(told.starts_with("not reloaded: "), "{told}");
        let page = subject.exporter.page_where(|page| value(page, SUCCESSFUL) == Some(0.0));
        assert_eq!(value(&page, TOTAL), Some(0.0));
        assert_eq!(subject.keys(), before);
        subject.exporter.log_line("configuration not reloaded");
    }
    subject.folder.write("config.yaml", EXEMPT);
    assert_eq!(subject.exporter.request("POST", "/-/reload", &[]).status, 200);
    subject.exporter.page_where(|page| value(page, SUCCESSFUL) == Some(1.0));
}

#[test]
fn the_status_page_says_within_seconds_that_a_file_is_bad() {
    let subject = Subject::start(EXEMPT, &["--web.enable-lifecycle"]);
    let reload = |config: &str, says_so: bool| {
        subject.folder.write("config.yaml", config);
        subject.exporter.request("POST", "/-/reload", &[]);
        // Without a change there is a new page each minute.
        subject.exporter.page_within(Duration::from_secs(20), |_| {
            let page = subject.exporter.get("/");
            page.contains("The last reload of the configuration failed") == says_so
        });
    };
    reload("rotation: { max_age: 90 }\n", true);
    reload(EXEMPT, false);
}

#[test]
fn a_file_that_is_empty_all_at_once_is_refused() {
    let subject = Subject::start(EXEMPT, &["--web.enable-lifecycle"]);
    let before = subject.keys();
    for text in ["", " \n\t\n", "\u{feff}"] {
        subject.folder.write("config.yaml", text);
        let response = subject.exporter.request("POST", "/-/reload", &[]);
        let told = String::from_utf8(response.body).expect("UTF-8");
        assert_eq!(response.status, 500, "{told}");
        assert!(told.contains("config.yaml: the file is empty: to remove"), "{told}");
        subject.exporter.page_where(|page| value(page, SUCCESSFUL) == Some(0.0));
        assert_eq!(subject.keys(), before);
    }
    // The advice in the message works.
    subject.folder.write("config.yaml", "{}\n");
    assert_eq!(subject.exporter.request("POST", "/-/reload", &[]).status, 200);
    subject.exporter.page_where(|page| value(page, TOTAL) == Some(1.0));
    subject.folder.write("config.yaml", "");
    let response = subject.exporter.request("POST", "/-/reload", &[]);
    assert_eq!(response.status, 200, "nothing was configured before, either");
}

#[test]
fn the_flag_decides_over_the_file() {
    let config = "rotation: { max_age: 36500d }\n";
    assert_eq!(value(&Subject::start(config, &[]).exporter.get("/metrics"), TOTAL), Some(0.0));
    let subject = Subject::start(config, &["--rotation.max-age", "90d"]);
    assert_eq!(value(&subject.exporter.get("/metrics"), TOTAL), Some(1.0));
}

#[test]
fn an_exemption_ends_at_its_second_without_a_refresh() {
    let end = chrono::Utc::now() + chrono::TimeDelta::seconds(4);
    let config =
        EXEMPT.replace("reason", &format!("until: {}, reason", end.format("%Y-%m-%dT%H:%M:%SZ")));
    let subject = Subject::start(&config, &[]);
    assert_eq!(value(&subject.exporter.get("/metrics"), TOTAL), Some(0.0));
    subject.exporter.page_where(|page| value(page, TOTAL) == Some(1.0));
    let late = chrono::Utc::now() - end;
    assert!(late < chrono::TimeDelta::seconds(4), "{late}");
}
