//! Rows into an embedded index, beside a bare writer of the same engine: same fields, words, threads
//! and memory, as many commits, each document deleted by its key before it is added.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use acequia::sinks::documents::Definition;
use acequia::sinks::search::analysis::tokenizers;
use acequia::sinks::search::fields::{Fields, ID, SOURCE, VERSION};
use acequia::sources::archive::sample::{BulkSample, RowForm, RowOrder};
use acequia::{ErrorKind, Result, ResultExt};
use serde_json::{Map, Value};
use tantivy::indexer::IndexWriterOptions;
use tantivy::schema::{FieldType, Schema};
use tantivy::{IndexBuilder, IndexWriter, TantivyDocument, Term};

use crate::inputs::Input;
use crate::measurement::median;
use crate::report::grouped;
use crate::{Setup, folders, program, watch};

/// What the ratio has to reach.
const BAR: f64 = 0.8;
/// The sink's defaults.
const THREADS: usize = 1;
const MEMORY_BYTES: usize = 32 << 20;

/// Measure and print.
pub(crate) fn run(rows: u64, setup: &Setup) -> Result<()> {
    println!("\n## rows into an embedded index");
    let sample =
        BulkSample { seed: 1, rows, days: 30, order: RowOrder::Time, form: RowForm::Plain };
    let input = Input::ready(&setup.folder, sample)?;
    input.warm()?;
    println!("{} rows, {:.0} MB", grouped(rows), input.bytes as f64 / 1e6);
    let contract = acequia::contract::load(&program::contract())
        .or_error(ErrorKind::Fatal, || "cannot read the contract".to_owned())?;
    let definition = Definition::new(&contract.schema(), &contract, &Map::new(), &[]);
    let fields = Fields::of(&definition);
    let folder = setup.folder.join("acequia");
    let mut ratios = Vec::new();
    for round in 1..=setup.rounds {
        let (ours, commits) = write(&folder, &input, "")?;
        let documents = documents(&input, fields.schema())?;
        let bare = write_bare(&setup.folder.join("bare"), &fields, documents, commits)?;
        let rate = |seconds: f64| grouped((rows as f64 / seconds) as u64);
        println!(
            "round {round}: acequia {ours:.2} s, {}/s, {commits} commits; a bare writer {bare:.2} s, {}/s; ratio {:.2}",
            rate(ours),
            rate(bare),
            bare / ours
        );
        ratios.push(bare / ours);
    }
    let middle = median(&ratios);
    let verdict = if middle >= BAR { "reached" } else { "MISSED" };
    println!("ratio {middle:.2}, the median of {ratios:.2?}; bar {BAR}: {verdict}");
    let (again, _) = write(&folder, &input, "again")?;
    println!(
        "the same rows once more, each newer than what is there: {again:.2} s, {}/s",
        grouped((rows as f64 / again) as u64)
    );
    Ok(())
}

fn failed(what: &'static str) -> impl FnOnce() -> String {
    move || format!("cannot {what}")
}

/// Seconds that the program takes, and how often it committed. With `more` the rows come again, as a
/// second file of that name, into the index that is there.
fn write(folder: &Path, input: &Input, more: &str) -> Result<(f64, u64)> {
    if more.is_empty() {
        folders::empty(folder)?;
        let pattern = folder.join("events/*.ndjson");
        let text = format!(
            "name: bench\n\
             contract: {:?}\n\
             source: {{ archive: {{ path: {pattern:?}, format: plain }} }}\n\
             sinks: {{ messages: {{ search: {{ path: index }} }} }}\n\
             dead_letters: {{ url: dead-letters }}\n\
             checkpoint: {{ file: {{ path: checkpoint }} }}\n",
            program::contract()
        );
        folders::make(&folder.join("events"))?;
        fs::write(folder.join("pipeline.yaml"), text)
            .or_error(ErrorKind::Fatal, failed("write the pipeline"))?;
    }
    let link = folder.join(format!("events/rows{more}.ndjson"));
    fs::hard_link(&input.path, link).or_error(ErrorKind::Fatal, failed("link the input"))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_acequia"));
    command.arg("run").arg(folder.join("pipeline.yaml")).args(["--json", "--log", "error"]);
    let finished = watch::run(&mut command, "acequia")?;
    println!("         peak {:.0} MiB", finished.memory.peak as f64 / f64::from(1 << 20));
    let said: Value = serde_json::from_slice(&finished.stdout)
        .or_error(ErrorKind::Fatal, failed("read the summary"))?;
    Ok((finished.seconds, said.get("epochs").and_then(Value::as_u64).unwrap_or(1)))
}

/// The rows as documents, made before anything is measured.
fn documents(input: &Input, schema: &Schema) -> Result<Vec<(String, TantivyDocument)>> {
    let text =
        fs::read_to_string(&input.path).or_error(ErrorKind::Fatal, failed("read the input"))?;
    let document = |(number, line): (usize, &str)| {
        let row: Value =
            serde_json::from_str(line).or_error(ErrorKind::Fatal, failed("read a row"))?;
        let member = |name| row.get(name).cloned().unwrap_or_default();
        let id =
            format!("{{\"user_id\":{},\"timestamp\":{}}}", member("user_id"), member("timestamp"));
        let mut document = TantivyDocument::new();
        for (field, entry) in schema.fields() {
            let value = row.pointer(&format!("/{}", entry.name().replace('.', "/")));
            // A second field of a text has the text's value.
            let value = value.or_else(|| row.get(entry.name().split('.').next()?));
            match (entry.name(), entry.field_type(), value) {
                (ID, ..) => document.add_text(field, &id),
                (VERSION, ..) => document.add_i64(field, number as i64 + 1),
                (SOURCE, ..) => document.add_bytes(field, line.as_bytes()),
                (_, FieldType::Str(_), Some(Value::String(text))) => document.add_text(field, text),
                (_, FieldType::I64(_), Some(value)) => {
                    document.add_i64(field, value.as_i64().unwrap_or_default());
                }
                (_, FieldType::F64(_), Some(value)) => {
                    document.add_f64(field, value.as_f64().unwrap_or_default());
                }
                (_, FieldType::Bool(_), Some(Value::Bool(truth))) => {
                    document.add_bool(field, *truth);
                }
                (_, FieldType::Date(_), Some(value)) => {
                    let text = value.as_str().unwrap_or_default();
                    let micros = acequia::sinks::documents::kind::instant(text).unwrap_or_default();
                    document.add_date(field, tantivy::DateTime::from_timestamp_micros(micros));
                }
                _ => {}
            }
        }
        Ok((id, document))
    };
    text.lines().enumerate().map(document).collect()
}

/// Seconds that a writer takes which does nothing but write.
fn write_bare(
    folder: &Path,
    fields: &Fields,
    documents: Vec<(String, TantivyDocument)>,
    commits: u64,
) -> Result<f64> {
    folders::empty(folder)?;
    let bare = || -> tantivy::Result<f64> {
        let index = IndexBuilder::new()
            .schema(fields.schema().clone())
            .tokenizers(tokenizers())
            .fast_field_tokenizers(tokenizers())
            .create_in_dir(folder)?;
        let each = documents.len().div_ceil(commits.max(1) as usize).max(1);
        let options = IndexWriterOptions::builder()
            .num_worker_threads(THREADS)
            .memory_budget_per_thread(MEMORY_BYTES)
            .num_merge_threads(1)
            .build();
        let began = Instant::now();
        let mut writer: IndexWriter = index.writer_with_options(options)?;
        let mut since = 0;
        for (id, document) in documents {
            writer.delete_term(Term::from_field_text(fields.id, &id));
            writer.add_document(document)?;
            since += 1;
            if since == each {
                writer.commit()?;
                since = 0;
            }
        }
        writer.commit()?;
        Ok(began.elapsed().as_secs_f64())
    };
    bare().or_error(ErrorKind::Fatal, failed("write the other index"))
}
