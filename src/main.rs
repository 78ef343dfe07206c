//! Flags → logging → one command → exit code.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use iam_key_exporter::check::{self, OutputFormat};
use iam_key_exporter::cli::{CheckFlags, Cli, Command, Flags, HealthFlags, pages};
use iam_key_exporter::clock::Clock;
use iam_key_exporter::config::Config;
use iam_key_exporter::config::origin::Origin;
use iam_key_exporter::controls::rows::Results;
use iam_key_exporter::evidence::EvidenceKind;
use iam_key_exporter::logging;
use iam_key_exporter::metrics::{doc, exporter::ExporterMetrics};
use iam_key_exporter::panics;
use iam_key_exporter::pipe;
use iam_key_exporter::printable::escape;
use iam_key_exporter::secrets;
use iam_key_exporter::serve::{ServeOptions, serve};
use iam_key_exporter::shard::ShardIndex;
use iam_key_exporter::source::aws::{Aws, environment, sdk::Operation};
use iam_key_exporter::source::{Source, demo::Demo, files::Files};
use iam_key_exporter::web::config::WebConfig;
use iam_key_exporter::web::health::{self, ClientCertificate, Question};
use tracing::warn;

fn main() -> ExitCode {
    panics::set_hook();
    let cli = match Cli::from_process() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => return fail(&one_line(&error)),
        Err(help) => return print(&help.to_string()),
    };
    logging::init(cli.log_level(), cli.flags.log_format);
    for variable in Cli::unknown_variables() {
        warn!(variable, "this environment variable belongs to no flag");
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads: {error}")),
    };
    let done = runtime.block_on(run(cli));
    // Does not wait for a page that is being rendered.
    runtime.shutdown_background();
    done.unwrap_or_else(|error| fail(&format!("{error:#}")))
}

async fn run(Cli { command, flags }: Cli) -> anyhow::Result<ExitCode> {
    // Before the configuration is read, because the exporter still serves if the file has become
    // invalid.
    if let Some(Command::Health(of_health)) = &command {
        return Ok(match health(&flags, of_health).await {
            Ok(answer) => print(&format!("{answer}\n")),
            Err(error) => {
                fail(&error.to_string());
                ExitCode::FAILURE
            }
        });
    }
    let inputs = [&flags.config, &flags.reports].into_iter().flatten();
    if inputs.filter(|path| pipe::is_stdin(path)).count() > 1 {
        bail!("--config.file and --source.reports cannot both be standard input");
    }
    let origin = flags.origin();
    let config = origin.load()?;
    let metrics = ExporterMetrics::new(flags.filter(), Operation::ALL.map(Operation::names));
    match command {
        None => {
            serve(source(&flags, &metrics)?, origin, config, options(&flags, false)?, metrics)
                .await?;
        }
        Some(Command::Check(of_check)) => {
            let source = source(&flags, &metrics)?;
            return if of_check.controls {
                check_controls(source, config, &flags, &of_check).await
            } else {
                check(source, config, &flags, &of_check).await
            };
        }
        Some(Command::CheckConfig) => {
            // "auto" needs the host of the pod that runs with this configuration.
            if flags.shard != ShardIndex::Auto {
                flags.schedule()?;
            }
            return check_config(&config, flags.web_config.as_deref());
        }
        Some(Command::Demo { accounts, users, seed }) => {
            if flags.reports.is_some() {
                bail!("--source.reports cannot be combined with demo: leave one of them out");
            }
            let demo = Demo::new(accounts as usize, users as usize, seed, Clock::system().now());
            let origin = Origin { default: demo.config(), ..origin };
            let config = origin.load()?;
            serve(Source::Demo(demo), origin, config, options(&flags, true)?, metrics).await?;
        }
        Some(Command::MetricsDoc) => return Ok(print(&doc::markdown())),
        Some(Command::Manual { folder }) => {
            pages::write_manual(&folder).with_context(|| folder.display().to_string())?;
        }
        Some(Command::Completions { shell }) => return Ok(print(&pages::completions(shell))),
        Some(Command::Health(_)) => unreachable!("answered above"),
    }
    Ok(ExitCode::SUCCESS)
}

fn check_config(config: &Config, web_config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mut warnings = config.warnings(Clock::system().now());
    let mut text = config.to_string();
    if let Some(path) = web_config {
        let web_config = WebConfig::load(path).context("--web.config.file")?;
        let of_web = web_config.warnings.iter();
        warnings.extend(of_web.map(|warning| format!("warning: {warning}")));
        text.push_str(&web_config.to_string());
    }
    let lines: String = warnings.iter().map(|warning| format!("{warning}\n")).collect();
    write(io::stderr(), lines.as_bytes())?;
    Ok(print(&text))
}

fn source(flags: &Flags, metrics: &ExporterMetrics) -> anyhow::Result<Source> {
    Ok(match &flags.reports {
        Some(path) => {
            let files = Files::open(path.clone(), flags.keep_missing);
            Source::Files(files.context("--source.reports")?)
        }
        None => {
            environment::check()?;
            Source::Aws(Aws::new(metrics.aws_requests.clone(), flags.concurrency.into()))
        }
    })
}

fn options(flags: &Flags, is_demo: bool) -> anyhow::Result<ServeOptions> {
    let schedule = flags.schedule()?;
    Ok(ServeOptions {
        listen: flags.listen(),
        health: flags.health_address.clone(),
        filter: flags.filter(),
        status: flags.status_settings(is_demo, schedule.shard),
        schedule,
        enable_lifecycle: flags.enable_lifecycle,
        web_config: flags.web_config.clone(),
    })
}

async fn check(
    source: Source,
    mut config: Config,
    flags: &Flags,
    CheckFlags { format, show, .. }: &CheckFlags,
) -> anyhow::Result<ExitCode> {
    if *format != OutputFormat::Prometheus {
        // Keys are judged without the data that controls need.
        config.controls.enabled = false;
    }
    let (clock, config) = (source.clock(), Arc::new(config));
    let outcome = check::run(source, &flags.schedule()?, &clock, &config).await?;
    let mut text = Vec::new();
    let found = outcome.write(*format, *show, &config, &flags.filter(), outcome.now, &mut text)?;
    write(io::stdout(), &text)?;
    write(io::stderr(), format!("{}\n", secrets::mask(&outcome.summary(found))).as_bytes())?;
    Ok(ExitCode::from(outcome.exit_code(found)))
}

async fn check_controls(
    source: Source,
    mut config: Config,
    flags: &Flags,
    CheckFlags { format, show, benchmark, .. }: &CheckFlags,
) -> anyhow::Result<ExitCode> {
    let settings = &mut config.controls;
    settings.enabled = true;
    settings.benchmark = benchmark.unwrap_or(settings.benchmark);
    // Asked once, AWS can be asked for everything.
    settings.read.extend(EvidenceKind::ALL);
    // No control is about them.
    config.service_credentials = false;
    let (clock, config) = (source.clock(), Arc::new(config));
    let outcome = check::run(source, &flags.schedule()?, &clock, &config).await?;
    let results = Results::new(&outcome.state, &config.controls, outcome.now);
    let mut text = Vec::new();
    outcome.write_controls(*format, *show, &results, &config, &flags.filter(), &mut text)?;
    write(io::stdout(), &text)?;
    let summary = secrets::mask(&outcome.summary_of_controls(&results));
    write(io::stderr(), format!("{summary}\n").as_bytes())?;
    Ok(ExitCode::from(outcome.exit_code_of_controls(&results)))
}

async fn health(
    flags: &Flags,
    HealthFlags { ready, client_cert, client_key }: &HealthFlags,
) -> Result<String, health::Error> {
    let question = if *ready { Question::Ready } else { Question::Healthy };
    let files = client_cert.as_deref().zip(client_key.as_deref());
    let own = files.map(|(certificate, key)| ClientCertificate { certificate, key });
    let can_have_tls = flags.web_config.is_some() || own.is_some();
    let (address, can_have_tls) = match &flags.health_address {
        Some(address) => (address, false),
        None => (flags.listen.first().expect("the flag has a default"), can_have_tls),
    };
    let tls = if can_have_tls { Some(health::connector(own)?) } else { None };
    health::ask(address, question, tls).await
}

fn fail(error: &str) -> ExitCode {
    let error = secrets::mask(error.trim_start_matches("error: "));
    let line = format!("iam-key-exporter: {}\n", escape(&error));
    // If stderr cannot be written, the exit code still reports the failure.
    let _ = write(io::stderr(), line.as_bytes());
    ExitCode::from(2)
}

fn print(text: &str) -> ExitCode {
    match write(io::stdout(), text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// Writes to stdout or stderr. It is not an error if the reader closes the pipe early, as `head`
/// does.
fn write(mut to: impl Write, text: &[u8]) -> io::Result<()> {
    match to.write_all(text).and_then(|()| to.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// An error of the command line as one line: the part before clap's usage.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ")
}
