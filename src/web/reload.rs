//! Reading the web configuration again while the exporter runs: after a change of a file, and at SIGHUP.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};

use super::config::WebConfig;
use crate::config::Error;
use crate::metrics::exporter::ExporterMetrics;

/// How often files are looked at.
const PERIOD: Duration = Duration::from_secs(1);
/// Files that take longer to read count as unreadable.
const MAX_READ: Duration = Duration::from_secs(10);
/// A configuration that asks less of clients counts if its file stays the same for this time: it may be the
/// first half of one that is being written.
const MAX_WRITE: Duration = Duration::from_secs(5);

/// Publishes the web configuration again after a change. A bad one changes nothing.
#[derive(Debug)]
pub struct WebReloader {
    /// `None`: there is no file to watch.
    path: Option<PathBuf>,
    config: watch::Sender<Arc<WebConfig>>,
    /// The last error, which is logged once.
    fault: Option<String>,
    /// One that asks less of clients, and when its file was first seen.
    doubted: Option<(WebConfig, Instant)>,
    metrics: ExporterMetrics,
}

/// A look at the files, which waits for the disk. `None`: they have not changed. The flag: they are read in
/// any case.
type Look = fn(&Path, &WebConfig, bool) -> Option<Result<WebConfig, Error>>;

fn look(path: &Path, before: &WebConfig, is_due: bool) -> Option<Result<WebConfig, Error>> {
    (is_due || before.has_changed()).then(|| WebConfig::load_again(path, before))
}

impl WebReloader {
    /// Reads the file, if there is one, for the first time.
    pub fn load(path: Option<PathBuf>, metrics: ExporterMetrics) -> Result<WebReloader, Error> {
        let config = match &path {
            None => WebConfig::default(),
            Some(path) => WebConfig::load(path)?,
        };
        if path.is_some() {
            metrics.record_web_reload(true);
        }
        let config = watch::Sender::new(Arc::new(config));
        Ok(WebReloader { path, config, fault: None, doubted: None, metrics })
    }

    /// The newest good configuration.
    pub fn config(&self) -> Arc<WebConfig> {
        self.config.borrow().clone()
    }

    /// The newest good configuration, now and later.
    pub fn subscribe(&self) -> watch::Receiver<Arc<WebConfig>> {
        self.config.subscribe()
    }

    /// Watches the files forever, and reads them also when `now` is notified.
    pub async fn run(self, now: &Notify) {
        self.run_with(look, now).await
    }

    async fn run_with(mut self, look: Look, now: &Notify) {
        let Some(path) = self.path.clone() else { return pending().await };
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_forced = tokio::select! {
                _ = ticks.tick() => false,
                () = now.notified() => true,
            };
            // Tries again after a failure, because not every cause is a change of a file.
            let is_due = is_forced || self.fault.is_some() || self.doubted.is_some();
            let (file, before) = (path.clone(), self.config());
            let mut reading = spawn_blocking(move || look(&file, &before, is_due));
            let read = match timeout(MAX_READ, &mut reading).await {
                Ok(read) => read,
                Err(_) => {
                    self.fail(format!("{}: not read within {MAX_READ:?}", path.display()));
                    // Another try would only hang on another thread.
                    reading.await
                }
            };
            match read {
                Ok(None) => {}
                Ok(Some(Ok(config))) => self.take(config, is_forced),
                Ok(Some(Err(error))) => self.fail(error.to_string()),
                Err(_) => self.fail(format!("{}: not read", path.display())),
            }
        }
    }

    /// With SIGHUP somebody says that the file is complete.
    fn take(&mut self, config: WebConfig, is_forced: bool) {
        let before = self.config();
        let dropped = config.dropped_since(&before);
        let doubted = self.doubted.take().filter(|(seen, _)| config.is_of_same_file(seen));
        let is_settled = doubted.as_ref().is_some_and(|(_, since)| since.elapsed() >= MAX_WRITE);
        if dropped.is_empty() || is_forced || is_settled {
            return self.publish(config, &before);
        }
        if doubted.is_none() {
            let dropped = dropped.join(", ");
            warn!(
                dropped,
                "web configuration asks less of clients: it counts if it stays for 5 s, or at SIGHUP"
            );
        }
        let since = doubted.map_or_else(Instant::now, |(_, since)| since);
        self.doubted = Some((config, since));
    }

    fn publish(&mut self, config: WebConfig, before: &WebConfig) {
        self.metrics.record_web_reload(true);
        self.fault = None;
        let config = Arc::new(config);
        self.config.send_replace(config.clone());
        info!("web configuration reloaded");
        if config.users.is_empty() && !before.users.is_empty() {
            warn!("no password is needed any more: the web configuration has no users");
        }
        for warning in &config.warnings {
            if !before.warnings.contains(warning) {
                warn!(warning, "web configuration");
            }
        }
    }

    fn fail(&mut self, error: String) {
        self.metrics.record_web_reload(false);
        self.doubted = None;
        if self.fault.as_ref() != Some(&error) {
            error!(error, "web configuration not reloaded: the one before stays");
        }
        self.fault = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;
    use crate::metrics::filter::Filter;

    const USERS: &str =
        "basic_auth_users: { bob: $2y$10$qRTBuFoULoYNA7AQ/F3ck.trZBPyjV64.oA4ZsSBCIWvXuvQlQTuu }\n";

    /// A file that is gone when the test is over.
    struct Written(PathBuf);

    impl Written {
        fn new(name: &str, text: &str) -> Written {
            let name = format!("iam-key-exporter-reload-{name}-{}", std::process::id());
            let file = Written(std::env::temp_dir().join(name));
            file.write(text);
            file
        }

        fn write(&self, text: &str) {
            fs::write(&self.0, text).expect("a file");
        }

        fn load(&self) -> (WebReloader, ExporterMetrics) {
            let metrics = ExporterMetrics::new(Filter::default(), []);
            let reloader = WebReloader::load(Some(self.0.clone()), metrics.clone());
            (reloader.expect("a configuration"), metrics)
        }
    }

    impl Drop for Written {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    fn is_successful(metrics: &ExporterMetrics) -> bool {
        let page = String::from_utf8(metrics.gather()).expect("UTF-8");
        let line =
            page.lines().find(|line| line.starts_with("iam_exporter_web_config_last_reload"));
        line.expect("the metric").ends_with(" 1")
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_a_file_that_is_being_written_opens_nothing() {
        let file = Written::new("half", &format!("http_server_config: {{}}\n{USERS}"));
        let (mut reloader, _) = file.load();
        let configs = reloader.subscribe();
        let mut look = async |text: &str, is_forced| {
            file.write(text);
            let config = WebConfig::load(&file.0).expect("a configuration");
            reloader.take(config, is_forced);
            tokio::time::advance(PERIOD).await;
            configs.borrow().users.is_empty()
        };
        // The second half comes late.
        let half = "http_server_config: {}\n";
        assert!(!look(half, false).await);
        assert!(!look(half, false).await, "written again");
        assert!(!look(&format!("{half}{USERS}"), false).await);
        // It never comes, or is not meant to.
        assert!(look(half, true).await, "somebody says that it is complete");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_stays_without_users_counts_after_some_seconds() {
        let file = Written::new("stays", USERS);
        let (mut reloader, _) = file.load();
        let configs = reloader.subscribe();
        file.write("{}\n");
        let mut looks = 0;
        while !configs.borrow().users.is_empty() {
            let config = WebConfig::load(&file.0).expect("a configuration");
            reloader.take(config, false);
            tokio::time::advance(PERIOD).await;
            looks += 1;
        }
        assert_eq!(looks, 6);
    }

    static DISK_HANGS: AtomicBool = AtomicBool::new(true);

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_a_failure_until_it_answers() {
        let file = Written::new("hangs", USERS);
        let (reloader, metrics) = file.load();
        let configs = reloader.subscribe();
        let look: Look = |path, before, is_due| {
            while DISK_HANGS.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
            super::look(path, before, is_due)
        };
        let running = tokio::spawn(async move { reloader.run_with(look, &Notify::new()).await });
        tokio::task::yield_now().await;
        tokio::time::advance(MAX_READ - PERIOD).await;
        assert!(is_successful(&metrics));
        tokio::time::advance(2 * PERIOD).await;
        tokio::task::yield_now().await;
        assert!(!is_successful(&metrics));
        file.write(&format!("{USERS}rate_limit: {{ interval: 1s, burst: 1 }}\n"));
        DISK_HANGS.store(false, Ordering::Relaxed);
        for _ in 0..6_000 {
            if is_successful(&metrics) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(is_successful(&metrics) && configs.borrow().rate.is_some());
        running.abort();
    }
}
