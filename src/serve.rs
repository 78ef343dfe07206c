//! The server: its tasks, and how the process ends.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::config::origin::Origin;
use crate::config::{self, Config};
use crate::metrics::exporter::ExporterMetrics;
use crate::metrics::filter::Filter;
use crate::refresh::{self, Schedule};
use crate::reload::Reloader;
use crate::render::Renderer;
use crate::source::Source;
use crate::state::State;
use crate::store::Store;
use crate::version::{REVISION, VERSION};
use crate::web::config::WebConfig;
use crate::web::documents::Documents;
use crate::web::gate::Gate;
use crate::web::listener::{self, Listeners};
use crate::web::places::Limits;
use crate::web::reload::WebReloader;
use crate::web::routes::Site;
use crate::web::status::StatusSettings;
use crate::web::systemd;

/// A second signal to stop within this time is the same one.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("{flag} {address}: {error}")]
    Listen {
        /// Which names it.
        flag: &'static str,
        /// The address on the command line.
        address: String,
        /// The system's error.
        error: io::Error,
    },
    /// The sockets of systemd cannot be listened on.
    #[error("--web.systemd-socket: {0}")]
    Systemd(systemd::Error),
    /// The web configuration file cannot be used.
    #[error("--web.config.file: {0}")]
    WebConfig(config::Error),
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
}

/// How to serve.
#[derive(Debug)]
pub struct ServeOptions {
    /// The address to listen on.
    pub listen: Listen,
    /// The address for health checks alone, over plain HTTP.
    pub health: Option<String>,
    /// How often accounts are refreshed, and which shard this is.
    pub schedule: Schedule,
    /// Which metrics are exposed.
    pub filter: Filter,
    /// The settings of the status page.
    pub status: StatusSettings,
    /// Whether clients may ask for a reload.
    pub enable_lifecycle: bool,
    /// The web configuration file.
    pub web_config: Option<PathBuf>,
}

/// The address to listen on.
#[derive(Debug)]
pub enum Listen {
    /// On these addresses: host:port, or :port.
    Addresses(Vec<String>),
    /// On the sockets that systemd passed.
    Systemd,
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
    let ServeOptions { listen, health, schedule, filter, status, enable_lifecycle, web_config } =
        options;
    metrics.record_shard(schedule.shard);
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let web = WebReloader::load(web_config, metrics.clone()).map_err(Error::WebConfig)?;
    let health = match health {
        None => None,
        Some(address) => Some(bind("--web.health-address", address).await?),
    };
    let listeners = Listeners { site: listen.bind().await?, health };
    log_start(&listeners, &web.config());

    let clock = source.clock();
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
        gate: Gate::new(web.subscribe(), metrics.clone()),
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
    let web_reload = Notify::new();
    let reloading = async {
        while signals.reload.recv().await.is_some() {
            web_reload.notify_one();
            // `reload` logs and counts the result.
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
        // A service manager and a terminal may both send a signal.
        while first.elapsed() < SAME_SIGNAL {
            signals.stop.next().await;
        }
        warn!("stopped at once by a second signal");
    };
    tokio::select! {
        () = serving => {}
        () = web.run(&web_reload) => {}
        () = stopping => {}
        ended = async { tokio::try_join!(refreshing, rendering, reloading) } => {
            // A panic of a task ends the process. Otherwise it would serve old pages forever.
            if let Err(error) = ended { std::panic::resume_unwind(error.into_panic()) }
        }
    }
    Ok(())
}

impl Listen {
    async fn bind(self) -> Result<Vec<TcpListener>, Error> {
        let Listen::Addresses(addresses) = self else {
            return systemd::listeners().map_err(Error::Systemd);
        };
        let mut listeners = Vec::new();
        for address in addresses {
            listeners.push(bind("--web.listen-address", address).await?);
        }
        Ok(listeners)
    }
}

async fn bind(flag: &'static str, address: String) -> Result<TcpListener, Error> {
    let bound = listener::bind(&address).await;
    bound.map_err(|error| Error::Listen { flag, address, error })
}

/// One line with the version, the addresses, TLS and authentication.
fn log_start(listeners: &Listeners, config: &WebConfig) {
    let addresses = listeners.site.iter().filter_map(|listener| listener.local_addr().ok());
    let addresses: Vec<String> = addresses.map(|address| address.to_string()).collect();
    let addresses = addresses.join(",");
    let (version, revision) = (VERSION, REVISION);
    let on = |is_on| if is_on { "on" } else { "off" };
    let (tls, authentication) = (on(config.tls.is_some()), on(!config.users.is_empty()));
    info!(version, revision, addresses, tls, authentication, "listening");
    if let Some(address) = listeners.health.as_ref().and_then(|health| health.local_addr().ok()) {
        info!(%address, "health checks");
    }
    for warning in &config.warnings {
        warn!(warning, "web configuration");
    }
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
