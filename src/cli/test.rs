//! `acequia test`: the examples inside a pipeline file.

use clap::Args;
use serde_json::json;

use super::pipeline_file::PipelineFile;
use super::terminal::Style;
use super::{Outcome, Terminal, block_on};
use crate::error::Result;
use crate::runtime::build;
use crate::runtime::examples::{self, ExampleOutcome};

/// Run the `tests:` of a pipeline, through its real decoder and stages
///
/// Nothing is read but the pipeline file and its contract, and nothing is written. Exit code 1
/// where a test fails.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acequia test pipelines/quickstart.yaml\n  \
acequia test pipeline.yaml --only escalated")]
pub(super) struct Options {
    #[command(flatten)]
    pipeline: PipelineFile,
    /// Run the tests whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Print the outcomes as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    let loaded = options.pipeline.load(terminal)?;
    let context = build::context(&loaded)?;
    let outcomes = block_on(examples::run(&loaded, &context, &options.only))??;
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    if options.json {
        let tests: Vec<_> = outcomes.iter().map(as_json).collect();
        let passed = outcomes.len() - failed;
        terminal.print_json(&json!({ "passed": passed, "failed": failed, "tests": tests }));
    } else {
        for outcome in &outcomes {
            show(outcome, terminal);
        }
        terminal.print_line(&conclusion(outcomes.len(), failed, &options.only));
    }
    Ok(if failed == 0 { Outcome::Done } else { Outcome::Failed })
}

fn as_json(outcome: &ExampleOutcome) -> serde_json::Value {
    json!({
        "name": outcome.name,
        "passed": outcome.passed(),
        "failures": outcome.failures,
    })
}

fn show(outcome: &ExampleOutcome, terminal: &Terminal) {
    let word = match outcome.passed() {
        true => terminal.paint(Style::Green, "passed"),
        false => terminal.paint(Style::Red, "failed"),
    };
    terminal.print_line(&format!("{word}  {}", outcome.name));
    for failure in &outcome.failures {
        terminal.print_line(&format!("        {failure}"));
    }
}

fn conclusion(run: usize, failed: usize, only: &str) -> String {
    match (run, failed) {
        (0, _) if !only.is_empty() => format!("no test has a name that contains `{only}`"),
        (0, _) => "the pipeline has no tests; see `tests` in docs/configuration.md".to_owned(),
        (run, 0) => format!("\n{run} passed"),
        (run, failed) => format!("\n{} passed, {failed} failed", run - failed),
    }
}
