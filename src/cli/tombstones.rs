//! `acequia tombstones`: what deletes leave behind in an index of OpenSearch.

use clap::{Args, Subcommand};
use serde_json::json;

use super::figures::{Align, grouped, table};
use super::pipeline_file::PipelineFile;
use super::{Outcome, Terminal, block_on};
use crate::component::{Context, Control};
use crate::config::Loaded;
use crate::error::{Error, Result};
use crate::runtime::build;
use crate::runtime::checkpoints::Checkpoints;
use crate::sinks::marker::Ownership;
use crate::sinks::opensearch::OpensearchSink;

/// Let deletes leave documents in indices of OpenSearch that say so, hidden from searches
///
/// An index forgets the versions of deleted documents after an hour, and when its node restarts: what
/// is written late then brings them back. Keep tombstones while old changes are written anew, and
/// purge them when that is over.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acequia tombstones show pipeline.yaml\n  \
acequia tombstones keep pipeline.yaml --yes      # running tasks follow within seconds\n  \
acequia tombstones forget pipeline.yaml --yes && acequia tombstones purge pipeline.yaml --yes")]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Whether deletes leave tombstones, and how many there are
    #[command(after_help = "Example:\n  acequia tombstones show pipeline.yaml --json")]
    Show {
        #[command(flatten)]
        pipeline: PipelineFile,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// From now on deletes leave tombstones
    #[command(after_help = "Example:\n  acequia tombstones keep pipeline.yaml --yes")]
    Keep(Change),
    /// From now on they leave none; those that there are stay
    #[command(after_help = "Example:\n  acequia tombstones forget pipeline.yaml --yes")]
    Forget(Change),
    /// Remove those that there are
    #[command(after_help = "Example:\n  acequia tombstones purge pipeline.yaml --yes")]
    Purge(Change),
}

#[derive(Debug, Args)]
struct Change {
    #[command(flatten)]
    pipeline: PipelineFile,
    /// Do it; without this it is only shown
    #[arg(long)]
    yes: bool,
}

pub(super) fn execute(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    match &options.action {
        Action::Show { pipeline, json } => {
            with(pipeline, terminal, async |all| show(&all, *json, terminal).await)
        }
        Action::Keep(change) => {
            with(&change.pipeline, terminal, async |all| turn(&all, true, change, terminal).await)
        }
        Action::Forget(change) => {
            with(&change.pipeline, terminal, async |all| turn(&all, false, change, terminal).await)
        }
        Action::Purge(change) => {
            with(&change.pipeline, terminal, async |all| purge(&all, change, terminal).await)
        }
    }
}

/// A pipeline that has run, and its indices.
struct Indices {
    checkpoints: Checkpoints,
    sinks: Vec<(String, OpensearchSink)>,
}

fn with(
    pipeline: &PipelineFile,
    terminal: &Terminal,
    work: impl AsyncFnOnce(Indices) -> Result<()>,
) -> Result<Outcome> {
    let loaded = pipeline.load(terminal)?;
    block_on(async {
        let context = build::context(&loaded)?;
        let checkpoints = Checkpoints::open(&loaded, context.clone()).await?;
        let sinks = sinks(&loaded, checkpoints.control(), &context);
        if sinks.is_empty() {
            return Err(Error::config("the pipeline has no `opensearch` sink"));
        }
        work(Indices { checkpoints, sinks }).await?;
        Ok(Outcome::Done)
    })?
}

fn sinks(loaded: &Loaded, control: &Control, context: &Context) -> Vec<(String, OpensearchSink)> {
    // Nothing is written by it: whose the index is was seen to when it was made.
    let ownership = Ownership {
        pipeline: loaded.pipeline.name.clone(),
        domain: control.domain.clone(),
        store: String::new(),
    };
    let (schema, contract) = (&loaded.schema, &loaded.contract);
    let sink = |(name, config): (&String, &crate::sinks::SinkConfig)| {
        let config = config.opensearch.as_ref()?;
        let sink = OpensearchSink::new(name, config, schema, contract, &ownership, context);
        Some((name.clone(), sink))
    };
    loaded.pipeline.sinks.iter().filter_map(sink).collect()
}

async fn show(all: &Indices, as_json: bool, terminal: &Terminal) -> Result<()> {
    let are_kept = all.checkpoints.control().tombstones;
    let mut counts = Vec::new();
    for (name, sink) in &all.sinks {
        counts.push((name, sink.tombstones().await?));
    }
    if as_json {
        let counts: serde_json::Map<String, serde_json::Value> =
            counts.into_iter().map(|(name, count)| (name.clone(), json!(count))).collect();
        terminal.print_json(&json!({ "kept": are_kept, "tombstones": counts }));
        return Ok(());
    }
    terminal.print_line(match are_kept {
        true => "deletes leave tombstones",
        false => "deletes leave no tombstones",
    });
    let rows: Vec<Vec<String>> =
        counts.into_iter().map(|(name, count)| vec![name.clone(), grouped(count)]).collect();
    terminal.print(&table(&[Align::Left, Align::Right], &rows));
    Ok(())
}

async fn turn(all: &Indices, keep: bool, change: &Change, terminal: &Terminal) -> Result<()> {
    let what = if keep { "leave tombstones" } else { "leave no tombstones" };
    if all.checkpoints.control().tombstones == keep {
        terminal.print_line(&format!("deletes {what} already"));
        return Ok(());
    }
    if !change.yes {
        terminal.print_line(&format!("deletes would {what} from now on; --yes does it"));
        return Ok(());
    }
    let control = all.checkpoints.keep_tombstones(keep).await?;
    let number = control.number;
    terminal.print_line(&format!(
        "deletes {what} from control number {number} on; `acequia checkpoint list --json` shows which partitions have it"
    ));
    Ok(())
}

async fn purge(all: &Indices, change: &Change, terminal: &Terminal) -> Result<()> {
    if all.checkpoints.control().tombstones {
        return Err(Error::config(
            "deletes still leave tombstones: `acequia tombstones forget` first",
        ));
    }
    for (name, sink) in &all.sinks {
        let count = sink.tombstones().await?;
        if !change.yes {
            let count = grouped(count);
            terminal.print_line(&format!("{name}: {count} tombstones would go; --yes does it"));
            continue;
        }
        let shows = terminal.is_interactive();
        let progress = move |gone: u64| {
            if shows {
                eprint!("\r{gone} of {count}");
            }
        };
        let gone = sink.purge(&progress).await?;
        if shows {
            eprintln!();
        }
        terminal.print_line(&format!("{name}: {} tombstones are gone", grouped(gone)));
    }
    Ok(())
}
