//! Renders a page after every change of the state or the configuration, at most once a second, and
//! once a minute and when an exemption ends, so that a key that becomes too old is seen without a
//! refresh.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::error;

use crate::board::Board;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Filter;
use crate::metrics::own::Own;
use crate::metrics::page::Page;
use crate::state::State;

/// Changes that come closer together than this share a page.
const COALESCE: Duration = Duration::from_secs(1);
/// How long a first change waits for more: at the start, accounts become known and have their
/// reports almost at once.
const SETTLE: Duration = Duration::from_millis(30);
/// A page is never older than this.
const RENEW: Duration = Duration::from_secs(60);

/// What a page is made with, besides the state.
#[derive(Debug, Clone)]
pub struct Renderer {
    /// Judges the keys, and names the tags that are shown.
    pub config: watch::Receiver<Arc<Config>>,
    /// Decides which metrics are on the page.
    pub filter: Filter,
    /// Gives the `now`.
    pub clock: Clock,
    /// Takes down size and duration.
    pub own: Own,
}

impl Renderer {
    /// Renders the state as of now.
    pub fn page(&self, state: &State) -> Page {
        let started = Instant::now();
        let now = self.clock.now();
        let config = self.config.borrow().clone();
        let page = Page::render(state, &config, &self.filter, now);
        self.own.page(&page, now, started.elapsed());
        self.own.state(state);
        page
    }

    /// Keeps the page up to date with the board and the configuration.
    pub async fn run(mut self, board: Arc<Board>, page: watch::Sender<Arc<Page>>) {
        let mut changes = board.changes();
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
            let board = board.clone();
            changes.mark_unchanged();
            match spawn_blocking(move || renderer.page(&board.snapshot())).await {
                Ok(next) => drop(page.send_replace(Arc::new(next))),
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
