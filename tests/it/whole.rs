//! A page is whole: it comes from one report, even if that changes during a scrape.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::exporter::{Exporter, value};
use crate::support::fake_aws::ACCOUNT;
use crate::support::folder::Folder;
use crate::support::report::{self, OLD, row};

const USERS: usize = 5_000;

/// A report in which every user's name begins so, with keys of which this many are active.
fn report(prefix: &str, active: usize) -> String {
    report::report((0..USERS).map(|number| {
        let is_active = number < active;
        let key = format!("{is_active},{OLD},N/A,N/A,N/A");
        row(ACCOUNT, "/", &format!("{prefix}-{number:05}"), &key)
    }))
}

#[test]
fn under_continuous_scraping_every_page_is_wholly_of_one_report() {
    let folder = Folder::new();
    let reports = [("one", 3_000), ("two", 4_000)];
    let write = |turn: usize| {
        let (prefix, active) = reports[turn % 2];
        folder.write("a.csv", &report(prefix, active));
    };
    write(0);
    let exporter =
        Exporter::start(&["--source.reports", folder.path(), "--refresh.interval", "1s"]);
    exporter.wait_until_ready();

    let done = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let (mut seen, mut scrapes, mut slowest) = ([0; 2], 0, Duration::ZERO);
            let first = Instant::now();
            while !done.load(Ordering::Relaxed) {
                let start = Instant::now();
                let page = exporter.get("/metrics");
                slowest = slowest.max(start.elapsed());
                scrapes += 1;
                seen[which(&page, reports)] += 1;
            }
            (seen, scrapes, slowest, first.elapsed() / scrapes)
        });
        for turn in 1..=10 {
            write(turn);
            let (prefix, _) = reports[turn % 2];
            exporter.page_where(|page| page.contains(&format!("user=\"{prefix}-00000\"")));
        }
        done.store(true, Ordering::Relaxed);
        scraper.join().expect("a scraper")
    });
    let (seen, scrapes, slowest, mean) = seen;
    assert!(seen.iter().all(|count| *count >= 3), "{seen:?}");
    // A refresh and rendering takes a second or more here: scrapes that waited for them would be slow
    // and few. Most of the mean is this test's reading of each page.
    assert!(slowest < Duration::from_millis(500), "{slowest:?} for one of {scrapes} scrapes");
    assert!(mean < Duration::from_millis(500), "{scrapes} scrapes, {mean:?} each");
}

/// The report that the page shows. Checks that it shows no other.
fn which(page: &str, reports: [(&str, usize); 2]) -> usize {
    let of = |prefix: &str| page.matches(&format!("user=\"{prefix}-")).count();
    let which = usize::from(of(reports[0].0) == 0);
    let (prefix, active) = reports[which];
    assert_eq!(of(reports[1 - which].0), 0, "users of both reports on one page");
    let count = |series: &str, value: &str| {
        page.lines()
            .filter(|line| {
                line.starts_with(&format!("{series}{{account_id=\"123456789012\",user=\"{prefix}-"))
                    && line.ends_with(value)
            })
            .count()
    };
    assert_eq!(count("iam_user_info", " 1"), USERS);
    assert_eq!(count("iam_access_key_age_days", ""), USERS);
    assert_eq!(count("iam_access_key_unrotated", " 1"), active);
    assert_eq!(value(page, "iam_unrotated_keys_total"), Some(active as f64));
    assert_eq!(value(page, "iam_users"), Some(USERS as f64));
    which
}
