//! Reading the configuration again while the exporter runs. A bad file changes nothing, and neither does
//! one that is empty all at once.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tracing::{error, info};

use crate::clock::Clock;
use crate::config::origin::Origin;
use crate::config::{Config, Error};
use crate::metrics::exporter::ExporterMetrics;

/// Publishes the configuration again when it is asked to.
#[derive(Debug)]
pub struct Reloader {
    origin: Origin,
    // Held while a file is read, so that of two reloads the later one counts.
    config: Mutex<watch::Sender<Arc<Config>>>,
    metrics: ExporterMetrics,
    clock: Clock,
}

impl Reloader {
    /// Publishes what was read when the exporter started.
    pub fn new(
        origin: Origin,
        config: Config,
        metrics: ExporterMetrics,
        clock: Clock,
    ) -> (Reloader, watch::Receiver<Arc<Config>>) {
        metrics.record_reload(true, clock.now());
        let (sender, receiver) = watch::channel(Arc::new(config));
        (Reloader { origin, config: Mutex::new(sender), metrics, clock }, receiver)
    }

    /// Reads the configuration and publishes it. On an error the one before stays.
    pub fn reload(&self) -> Result<(), Error> {
        // A file on which the parser panics does not stop later reloads.
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let before = config.borrow().clone();
        let loaded = self.origin.load_again(&before);
        self.metrics.record_reload(loaded.is_ok(), self.clock.now());
        match loaded {
            Ok(loaded) => {
                config.send_replace(Arc::new(loaded));
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
                error!(%error, "configuration not reloaded");
                Err(error)
            }
        }
    }
}
