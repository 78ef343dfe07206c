//! Reading the configuration again while the exporter runs. An invalid or suddenly empty file
//! changes nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

use crate::clock::Clock;
use crate::config::Config;
use crate::config::origin::Origin;
use crate::metrics::exporter::ExporterMetrics;

/// The file is read at most this often. Requests in between share the next read.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads and publishes the configuration on request.
#[derive(Debug)]
pub struct Reloader {
    origin: Arc<Origin>,
    config: watch::Sender<Arc<Config>>,
    metrics: ExporterMetrics,
    clock: Clock,
    // Held while a file is read and during the pause before it.
    last: Mutex<Option<Reading>>,
}

#[derive(Debug)]
struct Reading {
    began: Instant,
    outcome: Result<(), String>,
}

impl Reloader {
    /// Publishes the configuration from the start.
    pub fn new(
        origin: Origin,
        config: Config,
        metrics: ExporterMetrics,
        clock: Clock,
    ) -> (Reloader, watch::Receiver<Arc<Config>>) {
        metrics.record_reload(true, clock.now());
        let (config, receiver) = watch::channel(Arc::new(config));
        let origin = Arc::new(origin);
        (Reloader { origin, config, metrics, clock, last: Mutex::default() }, receiver)
    }

    /// Reads the configuration and publishes it. After an error the last good one stays. The result
    /// is of a read that began after this call.
    pub async fn reload(&self) -> Result<(), String> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        match &*last {
            Some(reading) if reading.began > asked => return reading.outcome.clone(),
            Some(reading) => sleep_until(reading.began + PAUSE).await,
            None => {}
        }
        let began = Instant::now();
        let outcome = self.read().await;
        *last = Some(Reading { began, outcome: outcome.clone() });
        outcome
    }

    async fn read(&self) -> Result<(), String> {
        let (origin, before) = (self.origin.clone(), self.config.borrow().clone());
        let loaded = spawn_blocking(move || origin.load_again(&before)).await;
        let loaded = match loaded {
            Ok(loaded) => loaded.map_err(|error| error.to_string()),
            // A panic of the parser does not stop later reloads.
            Err(_) => Err("the file cannot be read: please report this".to_owned()),
        };
        let had_failed = self.metrics.failed_reload().is_some();
        self.metrics.record_reload(loaded.is_ok(), self.clock.now());
        match loaded {
            Ok(loaded) => {
                self.config.send_replace(Arc::new(loaded));
                if self.origin.is_piped() {
                    info!(
                        "configuration kept, because it came through a pipe that can be read only once"
                    );
                } else {
                    info!("configuration reloaded");
                }
                Ok(())
            }
            Err(error) => {
                error!(error, "configuration not reloaded");
                if !had_failed {
                    // Only so that the page says so at once.
                    self.config.send_modify(|_| {});
                }
                Err(error)
            }
        }
    }
}
