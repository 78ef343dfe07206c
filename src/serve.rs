//! Serving: which task does what, and how the process ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::config::origin::Origin;
use crate::metrics::exporter::ExporterMetrics;
use crate::metrics::filter::Filter;
use crate::refresh::{self, Schedule};
use crate::reload::Reloader;
use crate::render::Renderer;
use crate::source::Source;
use crate::state::State;
use crate::store::Store;
use crate::web::documents::Documents;
use crate::web::listener;
use crate::web::places::Limits;
use crate::web::routes::Site;
use crate::web::status::StatusSettings;

/// A second signal to stop within this time is the same one.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("--web.listen-address {address}: {error}")]
    Listen {
        /// As it was given.
        address: String,
        /// What the system said.
        error: io::Error,
    },
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
}

/// How to serve.
#[derive(Debug)]
pub struct ServeOptions {
    /// The addresses to listen on: host:port, or :port.
    pub addresses: Vec<String>,
    /// When accounts are refreshed, and which.
    pub schedule: Schedule,
    /// Which metrics are exposed.
    pub filter: Filter,
    /// What the status page says besides the snapshot.
    pub status: StatusSettings,
    /// Whether clients may ask for a reload.
    pub enable_lifecycle: bool,
}

/// Refreshes, renders and serves until SIGTERM or SIGINT, and then lets running responses finish. A
/// second signal ends that at once, unless it comes within a second. SIGHUP reads the configuration
/// again.
pub async fn serve(
    source: Source,
    origin: Origin,
    config: Config,
    options: ServeOptions,
    metrics: ExporterMetrics,
) -> Result<(), Error> {
    let ServeOptions { addresses, schedule, filter, status, enable_lifecycle } = options;
    metrics.record_shard(schedule.shard);
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let listeners = listen(&addresses).await?;

    let clock = Clock::system();
    let (reloader, configs) = Reloader::new(origin, config, metrics.clone(), clock.clone());
    let reloader = Arc::new(reloader);
    let store = Arc::new(Store::default());
    let renderer = Renderer {
        config: configs.clone(),
        filter,
        clock: clock.clone(),
        metrics: metrics.clone(),
    };
    // There is a page before the first request.
    let (snapshot, snapshots) = watch::channel(Arc::new(renderer.snapshot(State::default(), None)));
    let site = Site {
        snapshot: snapshots,
        metrics,
        status: Arc::new(status),
        documents: Documents::default(),
        reloader: enable_lifecycle.then(|| reloader.clone()),
    };
    let (stop, stopped) = watch::channel(false);

    let refreshing = tokio::spawn(refresh::run(source, schedule, clock, configs, store.clone()));
    let rendering = tokio::spawn(renderer.run(store, snapshot));
    let limits = Limits::new(listener::raise_descriptor_limit());
    let serving = listener::serve(listeners, site, limits, stopped);
    let reloading = async {
        while signals.reload.recv().await.is_some() {
            // Logged and counted there.
            let _ = reloader.reload().await;
        }
        Ok(())
    };
    let stopping = async {
        signals.stop.next().await;
        info!("stopping");
        let _ = stop.send(true);
        let first = Instant::now();
        signals.stop.next().await;
        // A service manager and a terminal may both send one.
        while first.elapsed() < SAME_SIGNAL {
            signals.stop.next().await;
        }
        warn!("stopped at once by a second signal");
    };
    tokio::select! {
        () = serving => {}
        () = stopping => {}
        ended = async { tokio::try_join!(refreshing, rendering, reloading) } => {
            // Old pages must not be served for good: a panic there ends the process, as one here does.
            if let Err(error) = ended { std::panic::resume_unwind(error.into_panic()) }
        }
    }
    Ok(())
}

async fn listen(addresses: &[String]) -> Result<Vec<TcpListener>, Error> {
    let mut listeners = Vec::new();
    for address in addresses {
        let failed = |error| Error::Listen { address: address.clone(), error };
        let listener = listener::bind(address).await.map_err(failed)?;
        info!(address = %listener.local_addr().map_err(failed)?, "listening");
        listeners.push(listener);
    }
    Ok(listeners)
}

struct Signals {
    stop: Stop,
    reload: Signal,
    /// SIGUSR1 and SIGUSR2, which would end the process. Nobody reads them.
    _ignored: [Signal; 2],
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Signals> {
        Ok(Signals {
            stop: Stop {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            reload: signal(SignalKind::hangup())?,
            _ignored: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
        })
    }
}

impl Stop {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
