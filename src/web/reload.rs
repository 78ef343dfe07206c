//! Reading the web configuration again while the exporter runs: after a change of a file, and at SIGHUP.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::config::WebConfig;
use crate::config::Error;
use crate::metrics::exporter::ExporterMetrics;

/// How often files are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Publishes the web configuration again after a change. A bad one changes nothing.
#[derive(Debug)]
pub struct WebReloader {
    /// `None`: there is no file to watch.
    path: Option<PathBuf>,
    config: watch::Sender<Arc<WebConfig>>,
    /// The last error, which is logged once.
    fault: Option<String>,
    metrics: ExporterMetrics,
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
        Ok(WebReloader { path, config, fault: None, metrics })
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
    pub async fn run(mut self, now: &Notify) {
        let Some(path) = self.path.clone() else { return pending().await };
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_forced = tokio::select! {
                _ = ticks.tick() => false,
                () = now.notified() => true,
            };
            // Tries again after a failure, because not every cause is a change of a file.
            let is_due = is_forced || self.fault.is_some();
            let (file, before) = (path.clone(), self.config());
            let read = spawn_blocking(move || {
                (is_due || before.has_changed()).then(|| WebConfig::load_again(&file, &before))
            });
            match read.await {
                Ok(None) => {}
                Ok(Some(read)) => self.publish(read.map_err(|error| error.to_string())),
                Err(_) => self.publish(Err(format!("{}: not read", path.display()))),
            }
        }
    }

    fn publish(&mut self, read: Result<WebConfig, String>) {
        self.metrics.record_web_reload(read.is_ok());
        match read {
            Ok(config) => {
                self.fault = None;
                let config = Arc::new(config);
                let before = self.config.send_replace(config.clone());
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
            Err(error) => {
                if self.fault.as_ref() != Some(&error) {
                    error!(error, "web configuration not reloaded: the last good one still counts");
                }
                self.fault = Some(error);
            }
        }
    }
}
