//! `acequia preview`: the first events of a source as rows.

use clap::Args;
use serde_json::json;

use super::pipeline_file::PipelineFile;
use super::rows::{self, RowForm};
use super::terminal::Style;
use super::{Outcome, Terminal, block_on};
use crate::error::Result;
use crate::event::{DeadLetter, system};
use crate::runtime::build;
use crate::runtime::preview::{self, Preview};

/// Show the first events of the source as the stages leave them; nothing is written
///
/// Rows that a filter lets go are shown too; the column `_kept` tells them. Events that are refused
/// are listed beneath with the reason.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acequia preview pipelines/quickstart.yaml\n  \
acequia preview pipeline.yaml --limit 100 --json | jq .")]
pub(super) struct Options {
    #[command(flatten)]
    pipeline: PipelineFile,
    /// Events to show
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    limit: usize,
    /// Print one JSON object a row with every column, then one for each refused event
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    let loaded = options.pipeline.load(terminal)?;
    let context = build::context(&loaded)?;
    let preview = block_on(preview::first_events(&loaded, &context, options.limit))??;
    let form = if options.json { RowForm::Json } else { RowForm::Table };
    let shown = if options.json { preview.clone() } else { without_system(preview.clone())? };
    rows::show(form, &shown.schema, &shown.batches, terminal)?;
    for letter in &preview.dead_letters {
        if options.json {
            terminal.print_line(&as_json(letter).to_string());
        } else {
            let place = format!("{}@{}", letter.partition, letter.position);
            let label = terminal.paint(Style::Red, "refused");
            terminal.print_line(&format!("{label}  {place}  {}: {}", letter.stage, letter.reason));
        }
    }
    if preview.is_empty() {
        terminal.note("the source has no events");
    }
    Ok(Outcome::Done)
}

/// For people: what the stages select, and the kind of change in front.
fn without_system(preview: Preview) -> Result<Preview> {
    let hidden: Vec<&str> =
        system::NAMES.iter().copied().filter(|name| *name != system::OP).collect();
    preview.arranged(system::OP, &hidden)
}

fn as_json(letter: &DeadLetter) -> serde_json::Value {
    json!({
        "dead_letter": {
            "stage": letter.stage.to_string(),
            "reason": letter.reason,
            "partition": letter.partition.as_ref(),
            "position": letter.position,
            "raw": String::from_utf8_lossy(&letter.raw.bytes),
        }
    })
}
