//! `acequia checkpoint`: the records of a pipeline, for an operator.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::figures::{Align, grouped, table};
use super::pipeline_file::PipelineFile;
use super::terminal::Style;
use super::{Outcome, Terminal, block_on};
use crate::component::Record;
use crate::config::Loaded;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::PartitionId;
use crate::runtime::build;
use crate::runtime::checkpoints::{self, Accept, Checkpoints, Verified};

/// Look at the records of a pipeline's partitions, and say how it goes on after a halt
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acequia checkpoint list pipeline.yaml\n  \
acequia checkpoint verify pipeline.yaml\n  acequia checkpoint accept gap pipeline.yaml --yes")]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// One line for each partition: where it stands and who holds it
    #[command(after_help = "Example:\n  \
acequia checkpoint list pipeline.yaml --json | jq -r 'select(.pending) | .partition'")]
    List {
        #[command(flatten)]
        pipeline: PipelineFile,
        /// Print every record as one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// The whole record of one partition, as JSON
    #[command(after_help = "Example:\n  acequia checkpoint show pipeline.yaml conversations-3")]
    Show {
        #[command(flatten)]
        pipeline: PipelineFile,
        /// The partition, as `list` shows it
        partition: String,
    },
    /// Compare the records with the lake and with each other, as after a restore; changes nothing
    #[command(
        after_help = "Example:\n  acequia checkpoint verify pipeline.yaml && acequia run pipeline.yaml\n\n\
Exit code 1 where something is not as it must be."
    )]
    Verify {
        #[command(flatten)]
        pipeline: PipelineFile,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take partitions from whoever holds them, and publish what they have committed
    #[command(after_help = "Example:\n  acequia checkpoint release pipeline.yaml --yes\n\n\
A task that runs and still has the partition takes it again.")]
    Release {
        #[command(flatten)]
        pipeline: PipelineFile,
        /// The partitions; all without any
        partitions: Vec<String>,
        /// Do it; without this it is only shown
        #[arg(long)]
        yes: bool,
    },
    /// The way on after a halt
    #[command(after_help = "Examples:\n  acequia checkpoint accept growth pipeline.yaml\n  \
acequia checkpoint accept lost-file pipeline.yaml conversations-3 --yes\n\n\
  growth      a topic has more partitions, and keys have moved between them\n  \
recreation  a topic was deleted and made anew\n  \
gap         records are gone that were never read, by retention or truncation\n  \
lost-file   a file that was committed is gone")]
    Accept {
        /// What is accepted
        #[arg(value_enum)]
        what: AcceptOption,
        #[command(flatten)]
        pipeline: PipelineFile,
        /// The partitions; all that it concerns without any
        partitions: Vec<String>,
        /// Do it; without this it is only shown
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AcceptOption {
    Growth,
    Recreation,
    Gap,
    LostFile,
}

impl From<AcceptOption> for Accept {
    fn from(option: AcceptOption) -> Self {
        match option {
            AcceptOption::Growth => Self::Growth,
            AcceptOption::Recreation => Self::Recreation,
            AcceptOption::Gap => Self::Gap,
            AcceptOption::LostFile => Self::LostFile,
        }
    }
}

pub(super) fn execute(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    match &options.action {
        Action::List { pipeline, json } => {
            on(pipeline, terminal, async |all, _| list(&all, *json, terminal).await)
        }
        Action::Show { pipeline, partition } => on(pipeline, terminal, async |all, _| {
            let held = all.record(&PartitionId::new(partition.clone())).await?;
            terminal.print_json(&as_json(&held.content)?);
            Ok(Outcome::Done)
        }),
        Action::Verify { pipeline, json } => on(pipeline, terminal, async |all, _| {
            let verified = all.verify().await?;
            Ok(show_verified(&verified, *json, terminal))
        }),
        Action::Release { pipeline, partitions, yes } => {
            on(pipeline, terminal, async |all, loaded| {
                release(&all, loaded, &ids(partitions), *yes, terminal).await
            })
        }
        Action::Accept { what, pipeline, partitions, yes } => {
            on(pipeline, terminal, async |all, loaded| {
                accept(&all, loaded, (*what).into(), &ids(partitions), *yes, terminal).await
            })
        }
    }
}

fn on(
    pipeline: &PipelineFile,
    terminal: &Terminal,
    work: impl AsyncFnOnce(Checkpoints, &Loaded) -> Result<Outcome>,
) -> Result<Outcome> {
    let loaded = pipeline.load(terminal)?;
    block_on(async {
        let context = build::context(&loaded)?;
        work(Checkpoints::open(&loaded, context).await?, &loaded).await
    })?
}

fn ids(partitions: &[String]) -> Vec<PartitionId> {
    partitions.iter().map(|partition| PartitionId::new(partition.clone())).collect()
}

fn as_json(record: &Record) -> Result<Value> {
    serde_json::to_value(record)
        .or_error(ErrorKind::Fatal, || "cannot write a record as JSON".to_owned())
}

async fn list(all: &Checkpoints, as_lines: bool, terminal: &Terminal) -> Result<Outcome> {
    let mut rows = vec![
        ["partition", "next", "epoch", "pending", "token", "holder", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    for held in all.records().await? {
        let record = held.content;
        if as_lines {
            terminal.print_line(&as_json(&record)?.to_string());
            continue;
        }
        let pending = record.pending.as_ref();
        let files = pending.map(|pending| format!("{} files", pending.files.len()));
        let mut notes = Vec::new();
        if record.closed {
            notes.push("read to its end".to_owned());
        }
        match record.gaps.len() {
            0 => {}
            1 => notes.push("1 gap".to_owned()),
            count => notes.push(format!("{count} gaps")),
        }
        rows.push(vec![
            record.partition.to_string(),
            record.next.to_string(),
            record.last_epoch().to_string(),
            files.unwrap_or_default(),
            record.token.to_string(),
            record.owner.map(|owner| owner.task).unwrap_or_default(),
            notes.join(", "),
        ]);
    }
    if as_lines {
        return Ok(Outcome::Done);
    }
    if rows.len() == 1 {
        terminal.print_line("no partition has a record yet");
        return Ok(Outcome::Done);
    }
    let (left, right) = (Align::Left, Align::Right);
    terminal.print(&table(&[left, right, right, right, right, left, left], &rows));
    Ok(Outcome::Done)
}

fn show_verified(verified: &Verified, as_document: bool, terminal: &Terminal) -> Outcome {
    let outcome = if verified.doubts.is_empty() { Outcome::Done } else { Outcome::Failed };
    if as_document {
        let doubts: Vec<Value> = verified
            .doubts
            .iter()
            .map(|doubt| json!({ "partition": doubt.partition, "what": doubt.what }))
            .collect();
        terminal.print_json(&json!({
            "records": verified.records,
            "files": verified.files,
            "staged": verified.staged,
            "doubts": doubts,
        }));
        return outcome;
    }
    for doubt in &verified.doubts {
        let partition = doubt.partition.as_ref().map(|partition| format!("{partition}: "));
        terminal.print_line(&format!("{}{}", partition.unwrap_or_default(), doubt.what));
    }
    let verdict = match verified.doubts.len() {
        0 => "all is well".to_owned(),
        1 => "1 thing is wrong".to_owned(),
        count => format!("{count} things are wrong"),
    };
    terminal.print_line(&format!(
        "{}: {} records, {} visible files, {} to be completed by the next run",
        terminal.paint(Style::Bold, &verdict),
        grouped(verified.records),
        grouped(verified.files),
        grouped(verified.staged)
    ));
    outcome
}

/// What is shown where nothing was done.
fn only_shown(terminal: &Terminal) -> Outcome {
    terminal.print_line("\nnothing was done: add --yes to do it");
    Outcome::Done
}

async fn release(
    all: &Checkpoints,
    loaded: &Loaded,
    only: &[PartitionId],
    yes: bool,
    terminal: &Terminal,
) -> Result<Outcome> {
    let _lock = if yes { checkpoints::lock(loaded)? } else { None };
    let mut known = false;
    for held in all.records().await? {
        let record = &held.content;
        if !only.is_empty() && !only.contains(&record.partition) {
            continue;
        }
        known = true;
        let files = record.pending.as_ref().map_or(0, |pending| pending.files.len());
        let holder = record.owner.as_ref().map_or("nobody", |owner| owner.task.as_str());
        let (partition, count) = (&record.partition, grouped(files as u64));
        terminal.print_line(&format!("{partition}: from {holder}, {count} files to publish"));
        if yes {
            all.release(held).await?;
        }
    }
    match (known, yes) {
        (false, _) => Err(Error::config("there is no record of these partitions")),
        (true, false) => Ok(only_shown(terminal)),
        (true, true) => Ok(Outcome::Done),
    }
}

async fn accept(
    all: &Checkpoints,
    loaded: &Loaded,
    accept: Accept,
    only: &[PartitionId],
    yes: bool,
    terminal: &Terminal,
) -> Result<Outcome> {
    let _lock = if yes { checkpoints::lock(loaded)? } else { None };
    let changes = all.plan(accept, only).await?;
    if changes.is_empty() {
        terminal.print_line("nothing of this kind is wrong");
        return Ok(Outcome::Done);
    }
    for change in &changes {
        terminal.print_line(&format!("{}: {}", change.partition, change.what));
        if yes {
            all.apply(change).await?;
        }
    }
    if yes { Ok(Outcome::Done) } else { Ok(only_shown(terminal)) }
}
