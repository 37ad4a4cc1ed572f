//! `acequia run`: run a pipeline.

use std::convert::Infallible;
use std::net::SocketAddr;

use clap::Args;
use futures::future::join;

use super::pipeline_file::PipelineFile;
use super::progress_bar::Bar;
use super::summary::Summary;
use super::{Outcome, Terminal, block_on};
use crate::component::Context;
use crate::config::Loaded;
use crate::error::{ErrorKind, Result, ResultExt};
use crate::lake;
use crate::runtime::build::{self, Decisions};
use crate::runtime::process::ProcessEnd;
use crate::runtime::progress::Progress;
use crate::runtime::shutdown::Shutdown;
use crate::telemetry::logs::LogOutput;
use crate::telemetry::process::ProcessMemory;
use crate::telemetry::server::Server;

/// Run a pipeline: read what is new, commit it exactly once
///
/// An archive is read to its end; running again reads what has been added since. Topics are read
/// for as long as the program runs, or with --until-end to where they end at its start. SIGINT or SIGTERM
/// commits what is under way and ends with exit code 0; a second one ends at once, and nothing is
/// lost by it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acequia run pipelines/quickstart.yaml\n  \
acequia run pipeline.yaml --metrics 127.0.0.1:9464 --log-format json\n  \
acequia run pipeline.yaml --json | jq .rows")]
pub(super) struct Options {
    #[command(flatten)]
    pipeline: PipelineFile,
    /// Take the place of another run of this pipeline, which then ends with exit code 3
    #[arg(long)]
    take_over: bool,
    /// Where a file is damaged, commit what comes before and give up the rest of it for good
    #[arg(long)]
    skip_damaged: bool,
    /// End when everything is committed that stood in the topics at the start, whichever task of
    /// the group has read it; an archive always ends so
    #[arg(long)]
    until_end: bool,
    /// Serve /metrics, /healthz and /readyz at this address instead of the pipeline's `metrics`
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Print the figures at the end as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(options: &Options, log: &LogOutput, terminal: &Terminal) -> Result<Outcome> {
    let loaded = options.pipeline.load(terminal)?;
    if !loaded.warnings.is_empty() {
        terminal.show_findings(&loaded.warnings);
    }
    let context = build::context(&loaded)?;
    let bar = terminal.is_interactive().then(|| Bar::new(log.clone()));
    let end = block_on(run(options, &loaded, context.clone(), bar.as_ref()))?;
    drop(bar);
    let metrics = &context.metrics;
    let mut summary = Summary::new(
        &loaded.pipeline.name,
        end? == ProcessEnd::Drained,
        metrics.totals(),
        metrics.elapsed(),
        ProcessMemory::now(),
    );
    summary.next = next_commands(options, &loaded, summary.dead_letters, terminal);
    if options.json {
        let json = serde_json::to_value(&summary)
            .or_error(ErrorKind::Fatal, || "cannot write the figures as JSON".to_owned())?;
        terminal.print_json(&json);
    } else {
        terminal.print(&summary.render(terminal));
    }
    Ok(Outcome::Done)
}

async fn run(
    options: &Options,
    loaded: &Loaded,
    context: Context,
    bar: Option<&Bar>,
) -> Result<ProcessEnd> {
    let shutdown = Shutdown::on_signals()?;
    let metrics = context.metrics.clone();
    let server = match address(options, loaded) {
        Some(address) => Some(Server::listen(address, metrics.clone()).await?),
        None => None,
    };
    let mut drain = shutdown.receiver();
    let decisions = Decisions {
        take_over: options.take_over,
        skip_damaged: options.skip_damaged,
        until_end: options.until_end,
    };
    let pipeline = tokio::select! {
        biased;
        pipeline = build::build(loaded, context, decisions) => pipeline?,
        // Nothing has been read yet.
        _ = drain.wait_for(|told| *told) => return Ok(ProcessEnd::Drained),
    };
    let progress = Progress::new(metrics, Some(pipeline.parts.source.clone()));
    tokio::select! {
        biased;
        end = pipeline.run(shutdown.receiver()) => end,
        (never, _) = join(serve(server), show(bar, progress)) => match never {},
    }
}

fn address(options: &Options, loaded: &Loaded) -> Option<SocketAddr> {
    let configured = loaded.pipeline.metrics.as_ref();
    // Loading has checked that it is an address.
    options.metrics.or_else(|| configured?.listen.parse().ok())
}

async fn serve(server: Option<Server>) -> Infallible {
    match server {
        Some(server) => server.serve().await,
        None => std::future::pending().await,
    }
}

async fn show(bar: Option<&Bar>, progress: Progress) -> Infallible {
    match bar {
        Some(bar) => bar.draw(progress).await,
        None => progress.log().await,
    }
}

/// Commands worth trying after this run.
fn next_commands(
    options: &Options,
    loaded: &Loaded,
    dead_letters: u64,
    terminal: &Terminal,
) -> Vec<String> {
    let (program, file) = (terminal.program(), options.pipeline.shown());
    let mut commands = Vec::new();
    if loaded.pipeline.sinks.values().any(|sink| sink.parquet.is_some()) {
        let table = lake::table_name(&loaded.pipeline.name);
        commands.push(format!(
            "{program} query {file} \"SELECT _op, count(*) AS changes FROM {table} GROUP BY _op\""
        ));
        commands.push(format!("{program} query {file} \"SELECT * FROM {table}_current LIMIT 5\""));
    }
    if loaded.pipeline.sinks.values().any(|sink| sink.documents().is_some()) {
        commands.push(format!("{program} search {file} --limit 5"));
    }
    if dead_letters > 0 {
        commands.push(format!("{program} dead-letters list {file}"));
    }
    commands
}
