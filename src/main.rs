//! Flags → logging → run → exit code.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Parser;
use iam_key_exporter::check;
use iam_key_exporter::cli::{Cli, Command, Flags, one_line};
use iam_key_exporter::clock::Clock;
use iam_key_exporter::metrics::{doc, own::Own};
use iam_key_exporter::render::Renderer;
use iam_key_exporter::source::{Source, aws::Aws, demo::Demo, files::Files};
use iam_key_exporter::state::State;
use iam_key_exporter::web::{listener, routes::Site};
use iam_key_exporter::{logging, refresh};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return fail(&one_line(&error)),
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    logging::init(cli.flags.log_level, cli.flags.log_format);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("threads cannot be started: {error}")),
    };
    let done = runtime.block_on(run(cli));
    // Does not wait for a page that is being rendered for nobody.
    runtime.shutdown_background();
    done.unwrap_or_else(|error| fail(&format!("{error:#}")))
}

fn fail(error: &str) -> ExitCode {
    eprintln!("iam-key-exporter: {}", error.trim_start_matches("error: "));
    ExitCode::from(2)
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let own = Own::new(cli.flags.filter());
    match cli.command {
        None => serve(source(&cli.flags, &own)?, cli.flags, own).await,
        Some(Command::Check { format }) => {
            check(source(&cli.flags, &own)?, &cli.flags, format).await
        }
        Some(Command::Demo { accounts, users, seed }) => {
            if cli.flags.reports.is_some() {
                bail!("--source.reports is of no use with demo: leave one of them out");
            }
            let demo = Demo::new(accounts as usize, users as usize, seed, Clock::system().now());
            serve(Source::Demo(demo), cli.flags, own).await
        }
        Some(Command::MetricsDoc) => {
            print!("{}", doc::markdown());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn source(flags: &Flags, own: &Own) -> anyhow::Result<Source> {
    Ok(match &flags.reports {
        Some(path) => Source::Files(Files::open(path.clone()).context("--source.reports")?),
        None => Source::Aws(Aws::new(own.aws_requests.clone(), flags.concurrency.into())),
    })
}

async fn serve(source: Source, flags: Flags, own: Own) -> anyhow::Result<ExitCode> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut listeners = Vec::new();
    for address in &flags.listen {
        let context = || format!("--web.listen-address {address}");
        let listener = listener::bind(address).await.with_context(context)?;
        info!(address = %listener.local_addr()?, "listening");
        listeners.push(listener);
    }
    let (state, states) = watch::channel(Arc::new(State::default()));
    let renderer = Renderer {
        policy: flags.policy(),
        filter: flags.filter(),
        clock: Clock::system(),
        own: own.clone(),
    };
    let (page, pages) = watch::channel(Arc::new(renderer.page(&states.borrow())));
    let site = Site { page: pages, own, telemetry_path: flags.telemetry_path.clone() };
    let (stop, stopped) = watch::channel(false);

    let refreshing = refresh::run(source, flags.schedule(), Clock::system(), state);
    let rendering = renderer.run(states, page);
    let serving = listener::serve(listeners, site, stopped);
    let stopping = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        info!("stopping");
        let _ = stop.send(true);
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    };
    tokio::select! {
        () = serving => Ok(ExitCode::SUCCESS),
        () = stopping => bail!("stopped at once by a second signal"),
        () = async { tokio::join!(refreshing, rendering); } => bail!("refreshing ended by itself"),
    }
}

async fn check(source: Source, flags: &Flags, format: check::Format) -> anyhow::Result<ExitCode> {
    let clock = Clock::system();
    let outcome = check::run(source, &flags.schedule(), flags.concurrency.into(), &clock).await?;
    let stdout = io::BufWriter::new(io::stdout().lock());
    let found = outcome.write(format, &flags.policy(), &flags.filter(), clock.now(), stdout)?;
    for (account, failure) in &outcome.failures {
        eprintln!("iam-key-exporter: account {account}: {}: {failure}", failure.reason.as_str());
    }
    let accounts = outcome.state.accounts.len();
    eprintln!("{found} unrotated keys in {accounts} accounts");
    Ok(match (outcome.is_uncertain(), found) {
        (true, _) => ExitCode::from(2),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::from(1),
    })
}
