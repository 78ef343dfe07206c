//! Refreshes in this process, without the binary.

use std::sync::Arc;
use std::time::Duration;

use iam_key_exporter::clock::Clock;
use iam_key_exporter::config::Config;
use iam_key_exporter::failure::Reason;
use iam_key_exporter::refresh::account::{RefreshOutcome, refresh_account};
use iam_key_exporter::refresh::context::RefreshContext;
use iam_key_exporter::refresh::faults::Detail;
use iam_key_exporter::refresh::{self, Schedule};
use iam_key_exporter::source::{Source, target::Target};
use iam_key_exporter::state::{Account, State};
use iam_key_exporter::store::Store;
use tokio::sync::watch;

use super::fake_aws::{self, FakeAws, Server, account, sdk_config};
use super::protocol::Answer;
use super::time::clock;

/// The configuration of this text.
pub fn parse(config: &str) -> Config {
    Config::parse(config, "config.yaml".as_ref()).expect("a configuration")
}

/// The account of the default credentials.
pub fn only_target(source: &Source) -> Target {
    let targets = source.known(&Config::default()).targets;
    let [target] = targets.try_into().expect("one target");
    target
}

/// One refresh.
pub async fn refresh(
    source: &Source,
    target: &Target,
    account: &Account,
    config: &Config,
    timeout: Duration,
) -> RefreshOutcome {
    let clock = Clock::system();
    let context = RefreshContext {
        source,
        timeout,
        clock: &clock,
        config,
        force: false,
        details: true,
        paused: None,
    };
    refresh_account(&context, target, account, |_| {}).await
}

/// Why a detail could not be read.
pub fn reason(outcome: &RefreshOutcome, detail: Detail) -> Option<Reason> {
    outcome.detail_failures.get(&detail).map(|failure| failure.reason)
}

/// An account of the fake at a socket, and the data about it so far.
pub struct Subject {
    pub aws: FakeAws,
    pub source: Source,
    pub target: Target,
    pub account: Account,
    pub config: Config,
    _server: Server,
}

impl Subject {
    pub async fn new(
        config: Config,
        script: impl FnMut(&str) -> Answer + Send + 'static,
    ) -> Subject {
        let aws = FakeAws::new(account(script));
        let server = aws.listen().await;
        let source = fake_aws::source(&sdk_config(&server.url()));
        let target = only_target(&source);
        let account = Account::pending(&target.id, &target.name);
        Subject { aws, source, target, account, config, _server: server }
    }

    /// From now on AWS follows this script.
    pub fn follow(&self, script: impl FnMut(&str) -> Answer + Send + 'static) {
        self.aws.follow(account(script));
    }

    /// Refreshes once. Returns the outcome and the calls, without GetCallerIdentity.
    pub async fn refresh_within(&mut self, timeout: Duration) -> (RefreshOutcome, Vec<String>) {
        let (source, target) = (&self.source, &self.target);
        let outcome = refresh(source, target, &self.account, &self.config, timeout).await;
        self.account = outcome.account.clone();
        let calls = self.aws.calls().into_iter().map(|(_, call)| call);
        (outcome, calls.filter(|call| call != "GetCallerIdentity").collect())
    }
}

/// Refreshes in the background and in paused time. Returns the store.
pub fn run(source: Source, config: Config) -> Arc<Store> {
    let store = Arc::new(Store::default());
    // Nothing changes it: the receiver keeps this value.
    let config = watch::channel(Arc::new(config)).1;
    tokio::spawn(refresh::run(source, Schedule::default(), clock(), config, store.clone()));
    store
}

/// Waits until the published state is as wanted.
pub async fn published(store: &Store, mut wanted: impl FnMut(&State) -> bool) -> State {
    let mut changes = store.changes();
    loop {
        let state = store.snapshot();
        if wanted(&state) {
            return state;
        }
        changes.changed().await.expect("the store stays");
    }
}
