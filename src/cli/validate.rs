//! `acequia validate`: every mistake of a pipeline, or what it will do.

use clap::Args;
use serde_json::{Value, json};

use super::figures::{Align, grouped, table};
use super::pipeline_file::PipelineFile;
use super::terminal::Style;
use super::{Outcome, Terminal};
use crate::config::{self, Finding, Findings, Loaded};
use crate::error::Result;

const SECONDS_A_DAY: u64 = 86_400;

/// Check a pipeline: every mistake at once, with its place and what to write instead
///
/// Reads the file and its contract, nothing else. Exit code 2 where there is a mistake.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acequia validate pipelines/quickstart.yaml\n  \
acequia validate pipeline.yaml --json | jq -r '.findings[].what'")]
pub(super) struct Options {
    #[command(flatten)]
    pipeline: PipelineFile,
    /// Print findings, or what the pipeline will do, as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    if options.json {
        let (document, outcome) = match config::load(&options.pipeline.path) {
            Ok(loaded) => (described(&loaded), Outcome::Done),
            Err(findings) => {
                let document =
                    json!({ "valid": false, "findings": listed(&findings), "warnings": [] });
                (document, Outcome::Invalid)
            }
        };
        terminal.print_json(&document);
        return Ok(outcome);
    }
    let loaded = options.pipeline.load(terminal)?;
    if !loaded.warnings.is_empty() {
        terminal.show_findings(&loaded.warnings);
        terminal.note("");
    }
    let headline = format!("{}: valid", options.pipeline.shown());
    terminal.print_line(&terminal.paint(Style::Green, &headline));
    terminal.print(&format!("\n{}", table(&[Align::Left, Align::Left], &facts(&loaded))));
    Ok(Outcome::Done)
}

/// The kind of a component: the one key of its settings.
fn kind<T: serde::Serialize>(config: &T) -> String {
    let value = serde_json::to_value(config).unwrap_or_default();
    let key = value.as_object().and_then(|kinds| kinds.keys().next());
    key.cloned().unwrap_or_default()
}

fn facts(loaded: &Loaded) -> Vec<Vec<String>> {
    let row = |name: &str, text: String| vec![name.to_owned(), text];
    let pipeline = &loaded.pipeline;
    let mut rows = vec![
        row("pipeline", pipeline.name.clone()),
        row("contract", format!("{} {}", loaded.contract.name, loaded.contract.version)),
        row("source", kind(&pipeline.source)),
    ];
    for transform in &pipeline.transforms {
        rows.push(row("transform", kind(transform)));
    }
    for (name, sink) in &pipeline.sinks {
        let filter = if sink.condition.is_some() { ", filtered" } else { "" };
        let (kind, once) = (sink.kind_name(), sink.kind());
        rows.push(row("sink", format!("{name}: {kind}, {}{filter}", once.as_str())));
    }
    rows.push(row("dead letters", format!("at most {}", dead_letter_limit(loaded))));
    rows.push(row("checkpoint", kind(&loaded.checkpoint)));
    rows.push(row("tests", grouped(pipeline.tests.len() as u64)));
    if let Some(worst) = worst_case(loaded) {
        rows.push(row("files", worst.sentence()));
    }
    rows
}

fn dead_letter_limit(loaded: &Loaded) -> String {
    let limit = loaded.pipeline.dead_letters.limit;
    format!("{} among the last 100,000 records of a lane", grouped(u64::from(limit)))
}

/// The most files that a day can bring.
struct WorstCase {
    lanes: u64,
    commits: u64,
    every: String,
}

/// Each lane makes a file in each Hive partition that it has rows for, at each commit.
fn worst_case(loaded: &Loaded) -> Option<WorstCase> {
    let every = loaded.pipeline.commit.every;
    let milliseconds = u64::try_from(every.duration().as_millis()).ok()?.max(1);
    Some(WorstCase {
        lanes: loaded.pipeline.source.lanes()?,
        commits: (SECONDS_A_DAY * 1000).div_ceil(milliseconds),
        every: every.to_string(),
    })
}

impl WorstCase {
    fn files(&self) -> u64 {
        self.lanes.saturating_mul(self.commits)
    }

    fn sentence(&self) -> String {
        format!(
            "at most {} a day for each Hive partition with new rows ({} lanes x {} commits, one every {}); more only where `commit.size` cuts earlier",
            grouped(self.files()),
            self.lanes,
            grouped(self.commits),
            self.every
        )
    }
}

fn described(loaded: &Loaded) -> Value {
    let pipeline = &loaded.pipeline;
    let sinks: Vec<Value> = pipeline
        .sinks
        .iter()
        .map(|(name, sink)| {
            json!({ "name": name, "kind": sink.kind_name(), "delivery": sink.kind().as_str() })
        })
        .collect();
    json!({
        "valid": true,
        "findings": [],
        "warnings": listed(&loaded.warnings),
        "pipeline": pipeline.name,
        "contract": { "name": loaded.contract.name, "version": loaded.contract.version },
        "source": kind(&pipeline.source),
        "transforms": pipeline.transforms.iter().map(kind).collect::<Vec<_>>(),
        "sinks": sinks,
        "checkpoint": kind(&loaded.checkpoint),
        "tests": pipeline.tests.len(),
        "files_a_day_and_hive_partition_max": worst_case(loaded).map(|worst| worst.files()),
    })
}

fn listed(findings: &Findings) -> Vec<Value> {
    let finding = |finding: &Finding| {
        json!({
            "file": finding.file,
            "line": finding.place.line,
            "column": finding.place.column,
            "path": finding.path,
            "what": finding.what,
            "allowed": finding.allowed,
            "suggestion": finding.suggestion,
        })
    };
    findings.iter().map(finding).collect()
}
