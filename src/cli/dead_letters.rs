//! `acequia dead-letters`: what was refused, why, and the record as it came.

use std::io::Write as _;

use clap::{Args, Subcommand};

use super::figures::{Align, grouped, one_line, table};
use super::pipeline_file::PipelineFile;
use super::terminal::Style;
use super::{Outcome, Terminal};
use crate::aws::Aws;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::sinks::dead_letters;
use crate::sinks::letter::FoundLetter;

/// The longest reason in a list, in characters.
const REASON_WIDTH: usize = 100;

/// Look at the records that a pipeline refused
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acequia dead-letters list pipelines/quickstart.yaml\n  \
acequia dead-letters show pipelines/quickstart.yaml events-0001.ndjson.zst@1024")]
pub(super) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// One line for each dead letter, and how often each reason occurs
    #[command(after_help = "Examples:\n  acequia dead-letters list pipelines/quickstart.yaml\n  \
acequia dead-letters list pipeline.yaml --stage decode --json | jq -r .raw")]
    List {
        #[command(flatten)]
        pipeline: PipelineFile,
        /// Show those of this stage: `decode`, `transforms[0].sql`, `sink:NAME`
        #[arg(long)]
        stage: Option<String>,
        /// Most to show; 0 shows all
        #[arg(long, value_name = "COUNT", default_value_t = 20)]
        limit: usize,
        /// Print every letter as one JSON object a line, as it is stored
        #[arg(long)]
        json: bool,
    },
    /// One dead letter in full, named by its place: PARTITION@POSITION
    #[command(after_help = "Example:\n  \
acequia dead-letters show pipeline.yaml events-0001.ndjson.zst@1024 --raw | jq .")]
    Show {
        #[command(flatten)]
        pipeline: PipelineFile,
        /// The place of the record, as `list` shows it
        #[arg(value_name = "PARTITION@POSITION")]
        place: String,
        /// Print the record alone, byte for byte
        #[arg(long, conflicts_with = "json")]
        raw: bool,
        /// Print JSON, as it is stored
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn execute(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    match &options.action {
        Action::List { pipeline, stage, limit, json } => {
            let letters = letters(pipeline, terminal)?;
            let wanted = |found: &FoundLetter| {
                stage.as_ref().is_none_or(|stage| found.letter.stage == *stage)
            };
            if *json {
                return list_json(letters, wanted, terminal);
            }
            list(letters, wanted, *limit, pipeline, terminal)
        }
        Action::Show { pipeline, place, raw, json } => {
            let form = match (raw, json) {
                (true, _) => Form::Raw,
                (_, true) => Form::Json,
                _ => Form::Text,
            };
            show(letters(pipeline, terminal)?, place, form, terminal)
        }
    }
}

type Letters = Box<dyn Iterator<Item = Result<FoundLetter>>>;

fn letters(pipeline: &PipelineFile, terminal: &Terminal) -> Result<Letters> {
    let loaded = pipeline.load(terminal)?;
    let settings = &loaded.pipeline;
    let aws = Aws::new(settings.aws.clone().unwrap_or_default());
    Ok(Box::new(dead_letters::read(&settings.dead_letters.url, &settings.name, &aws)?))
}

fn place(found: &FoundLetter) -> String {
    format!("{}@{}", found.letter.partition, found.letter.position)
}

fn as_json(found: &FoundLetter) -> Result<String> {
    serde_json::to_string(&found.letter)
        .or_error(ErrorKind::Fatal, || "cannot write a dead letter as JSON".to_owned())
}

fn list_json(
    letters: Letters,
    wanted: impl Fn(&FoundLetter) -> bool,
    terminal: &Terminal,
) -> Result<Outcome> {
    for found in letters {
        let found = found?;
        if wanted(&found) {
            terminal.print_line(&as_json(&found)?);
        }
    }
    Ok(Outcome::Done)
}

fn list(
    letters: Letters,
    wanted: impl Fn(&FoundLetter) -> bool,
    limit: usize,
    pipeline: &PipelineFile,
    terminal: &Terminal,
) -> Result<Outcome> {
    let mut shown: Vec<Vec<String>> = Vec::new();
    let (mut all, mut first) = (0u64, None);
    for found in letters {
        let found = found?;
        if !wanted(&found) {
            continue;
        }
        all += 1;
        if limit == 0 || shown.len() < limit {
            shown.push(vec![
                place(&found),
                found.letter.stage.clone(),
                one_line(&found.letter.reason, REASON_WIDTH),
            ]);
        }
        first.get_or_insert_with(|| place(&found));
    }
    let Some(first) = first else {
        terminal.print_line("no dead letters");
        return Ok(Outcome::Done);
    };
    let listed = shown.len() as u64;
    terminal.print(&table(&[Align::Left, Align::Left, Align::Left], &shown));
    let count = if all == 1 {
        "1 dead letter".to_owned()
    } else {
        format!("{} dead letters", grouped(all))
    };
    let rest = match all - listed {
        0 => String::new(),
        rest => format!(", {} more: --limit 0", grouped(rest)),
    };
    terminal.print_line(&format!("\n{}{rest}", terminal.paint(Style::Bold, &count)));
    terminal.print_line(&format!(
        "\nnext:\n  {} dead-letters show {} '{first}'",
        terminal.program(),
        pipeline.shown()
    ));
    Ok(Outcome::Done)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Raw,
}

fn show(letters: Letters, wanted: &str, form: Form, terminal: &Terminal) -> Result<Outcome> {
    let mut met = false;
    for found in letters {
        let found = found?;
        if place(&found) != wanted {
            continue;
        }
        // One event may have been refused by several sinks.
        if met && form == Form::Raw {
            break;
        }
        met = true;
        match form {
            Form::Json => terminal.print_line(&as_json(&found)?),
            Form::Raw => std::io::stdout()
                .lock()
                .write_all(&found.letter.raw_bytes()?)
                .or_error(ErrorKind::Fatal, || "cannot write the record".to_owned())?,
            Form::Text => show_text(&found, terminal)?,
        }
    }
    match met {
        true => Ok(Outcome::Done),
        false => Err(Error::config(format!(
            "no dead letter at {wanted}: `acequia dead-letters list` shows the places"
        ))),
    }
}

fn show_text(found: &FoundLetter, terminal: &Terminal) -> Result<()> {
    let letter = &found.letter;
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("stage", letter.stage.clone()),
        row("reason", letter.reason.clone()),
        row("stream", letter.stream.clone()),
        row("partition", letter.partition.clone()),
        row("position", letter.position.to_string()),
        row("version", letter.version.to_string()),
    ];
    rows.extend(letter.key.clone().map(|key| row("key", key)));
    rows.extend(letter.event_time.clone().map(|time| row("event time", time)));
    rows.push(row("length", format!("{} bytes", grouped(letter.length))));
    rows.extend(letter.sha256.clone().map(|hash| row("sha256", hash)));
    rows.push(row("kept in", format!("{}:{}", found.file, found.line)));
    terminal.print(&table(&[Align::Left, Align::Left], &rows));
    let raw = letter.raw_bytes()?;
    let kept = match raw.len() as u64 == letter.length {
        true => "record",
        false => "beginning of the record",
    };
    let text = String::from_utf8_lossy(&raw);
    terminal.print_line(&format!("\n{}\n{text}", terminal.paint(Style::Bold, kept)));
    Ok(())
}
