//! Shared by several targets: an account of a report, and a snapshot of it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use iam_key_exporter::clock::Clock;
use iam_key_exporter::config::Config;
use iam_key_exporter::metrics::exporter::ExporterMetrics;
use iam_key_exporter::metrics::filter::Filter;
use iam_key_exporter::render::{Renderer, Snapshot};
use iam_key_exporter::report::Report;
use iam_key_exporter::shard::Shard;
use iam_key_exporter::state::{Account, State, Tags, Tried};
use iam_key_exporter::web::status::StatusSettings;

/// A report with a key of every kind.
pub const REPORT: &[u8] = include_bytes!("../../tests/data/every-kind.csv");

/// A configuration with a rule of every kind.
const CONFIG: &str = "\
rotation:
  rules:
    - match: { user: 'exempt*' }
      exempt: { until: 2026-12-01, reason: vendor }
    - match: { path: /service/* }
      exempt: { reason: \"<b>'none'\" }
    - match: { tags: { team: gold } }
      max_age: 30d
    - match: { account: production }
      max_age: 60d
labels: { user_tags: [team, cost-center] }
";

/// When everything happens.
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_793_534_400, 0).expect("a time")
}

/// The configuration.
pub fn config() -> Config {
    Config::parse(CONFIG, "config.yaml".as_ref()).expect("a configuration")
}

/// An account that has this report. Its users have their names as tags.
pub fn account(report: Report) -> Account {
    let tags = report.users.iter().map(|user| {
        let name: Arc<str> = user.name.as_str().into();
        (user.name.clone(), vec![("Team".into(), name)])
    });
    let keys = config().tag_keys();
    let mut account = Account::pending("123456789012", "");
    account.tags = Some(Arc::new(Tags { keys, by_user: tags.collect(), ..Tags::default() }));
    account.report = Some(Arc::new(report));
    account.generated = Some(now());
    account
}

/// A snapshot of this account, and of one that was never read.
pub fn snapshot(account: Account) -> Snapshot {
    let pending = Account::pending("210987654321", "never read");
    let state = State::new([account.into(), pending.into()], Tried::Ok, true);
    let config = tokio::sync::watch::channel(Arc::new(config())).1;
    let metrics = ExporterMetrics::new(Filter::default(), []);
    let renderer = Renderer { config, filter: Filter::default(), clock: Clock::new(now), metrics };
    renderer.snapshot(state, None)
}

/// The settings of the status page.
pub fn settings() -> StatusSettings {
    StatusSettings {
        telemetry_path: "/metrics".to_owned(),
        runbook_url: None,
        dashboard_url: Some("https://dashboard.example/d/x".to_owned()),
        is_demo: false,
        are_files: false,
        shard: Shard::default(),
    }
}
