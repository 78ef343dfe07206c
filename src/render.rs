//! Makes a [`Snapshot`] after every change of the state or the configuration, at most once a second,
//! and once a minute and when an exemption ends, so that a key that becomes too old is seen without
//! a refresh.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::error;

use crate::clock::Clock;
use crate::config::Config;
use crate::findings::{Finding, findings};
use crate::metrics::exporter::ExporterMetrics;
use crate::metrics::filter::Filter;
use crate::metrics::page::Page;
use crate::state::State;
use crate::store::Store;

/// Changes that come closer together than this share a page.
const COALESCE: Duration = Duration::from_secs(1);
/// How long a first change waits for more: at the start, accounts become known and have their
/// reports almost at once.
const SETTLE: Duration = Duration::from_millis(30);
/// A page is never older than this.
const RENEW: Duration = Duration::from_secs(60);

/// What is served until the next one is made.
#[derive(Debug)]
pub struct Snapshot {
    /// What the metrics say.
    pub page: Page,
    /// What it is made of.
    pub state: State,
    /// What judged it.
    pub config: Arc<Config>,
    /// As of when.
    pub now: DateTime<Utc>,
    findings: OnceLock<Vec<Finding>>,
}

impl Snapshot {
    /// The findings, oldest first. Made for the first who asks, since hardly anybody does.
    pub fn findings(&self) -> &[Finding] {
        self.findings.get_or_init(|| findings(&self.state, &self.config, self.now))
    }
}

/// What a snapshot is made with, besides the state.
#[derive(Debug, Clone)]
pub struct Renderer {
    /// Judges the keys, and names the tags that are shown.
    pub config: watch::Receiver<Arc<Config>>,
    /// Decides which metrics are on the page.
    pub filter: Filter,
    /// Gives the `now`.
    pub clock: Clock,
    /// Records the page's size and render time.
    pub metrics: ExporterMetrics,
}

impl Renderer {
    /// The state as of now.
    pub fn snapshot(&self, state: State) -> Snapshot {
        let started = Instant::now();
        let now = self.clock.now();
        let config = self.config.borrow().clone();
        let page = Page::render(&state, &config, &self.filter, now);
        self.metrics.record_page(&page, now, started.elapsed());
        self.metrics.record_state(&state);
        Snapshot { page, state, config, now, findings: OnceLock::new() }
    }

    /// Keeps the snapshot up to date with the store and the configuration.
    pub async fn run(mut self, store: Arc<Store>, snapshots: watch::Sender<Arc<Snapshot>>) {
        let mut changes = store.changes();
        // What was published before this was asked for counts, too.
        changes.mark_changed();
        let mut rendered = self.clock.now();
        loop {
            let until_renewal = self.until_renewal(rendered);
            tokio::select! {
                changed = changes.changed() => match changed {
                    Ok(()) => sleep(SETTLE).await,
                    Err(_) => return,
                },
                changed = self.config.changed() => if changed.is_err() { return },
                () = sleep(until_renewal) => {}
            }
            let started = Instant::now();
            rendered = self.clock.now();
            let renderer = self.clone();
            let store = store.clone();
            changes.mark_unchanged();
            match spawn_blocking(move || renderer.snapshot(store.snapshot())).await {
                Ok(next) => drop(snapshots.send_replace(Arc::new(next))),
                Err(error) => error!(%error, "page not rendered"),
            }
            // A page that takes long to render must not take more than half a core.
            let pause = COALESCE.max(started.elapsed() * 2);
            sleep_until(started + pause).await;
        }
    }

    /// How long the page that was `rendered` then holds where nothing is published: a minute, or
    /// until an exemption ends.
    fn until_renewal(&self, rendered: DateTime<Utc>) -> Duration {
        let Some(end) = self.config.borrow().policy.next_end(rendered) else { return RENEW };
        (end - self.clock.now()).to_std().unwrap_or(Duration::ZERO).min(RENEW)
    }
}
