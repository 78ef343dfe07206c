//! Serving: which task does what, and how the process ends.

use std::io;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::background::Background;
use crate::board::Board;
use crate::cli::Flags;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::own::Own;
use crate::refresh;
use crate::reload::{Origin, Reloader};
use crate::render::Renderer;
use crate::shard;
use crate::source::Source;
use crate::state::State;
use crate::web::listener;
use crate::web::routes::Site;

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
    /// There is no such shard.
    #[error(transparent)]
    Shard(#[from] shard::Error),
    /// There are no threads left.
    #[error("threads cannot be started: {0}")]
    Threads(io::Error),
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
}

/// Refreshes, renders and serves until SIGTERM or SIGINT, and then lets running responses finish. A
/// second signal ends that at once. SIGHUP reads the configuration again.
pub async fn serve(
    source: Source,
    origin: Origin,
    config: Config,
    flags: &Flags,
    own: Own,
) -> Result<(), Error> {
    let schedule = flags.schedule()?;
    own.shard(schedule.shard);
    let mut signals = Signals::new().map_err(Error::Signals)?;
    let listeners = listen(&flags.listen).await?;

    let (reloader, configs) = Reloader::new(origin, config, own.clone());
    let reloader = Arc::new(reloader);
    let board = Arc::new(Board::default());
    let renderer = Renderer {
        config: configs.clone(),
        filter: flags.filter(),
        clock: Clock::system(),
        own: own.clone(),
    };
    // There is a page before the first request.
    let (snapshot, snapshots) = watch::channel(Arc::new(renderer.snapshot(State::default())));
    let site = Site {
        snapshot: snapshots,
        own,
        about: flags.about(matches!(source, Source::Demo(_))),
        turns: Arc::new(Semaphore::new(1)),
        reloader: flags.enable_lifecycle.then(|| reloader.clone()),
    };
    let (stop, stopped) = watch::channel(false);

    let background = Background::new().map_err(Error::Threads)?;
    let refreshing = refresh::run(source, schedule, Clock::system(), configs, board.clone());
    let refreshing = background.spawn(refreshing);
    let rendering = background.spawn(renderer.run(board, snapshot));
    let serving = listener::serve(listeners, site, stopped);
    let reloading = async {
        while signals.reload.recv().await.is_some() {
            let reloader = reloader.clone();
            // Logged and counted there.
            let _ = spawn_blocking(move || reloader.reload()).await;
        }
        Ok(())
    };
    let stopping = async {
        signals.stop.next().await;
        info!("stopping");
        let _ = stop.send(true);
        signals.stop.next().await;
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
