//! `acequia query`: SQL over what a pipeline wrote.

use clap::Args;

use super::figures::{Align, table};
use super::pipeline_file::PipelineFile;
use super::rows::{self, RowForm};
use super::terminal::Style;
use super::{Outcome, Terminal, block_on};
use crate::aws::Aws;
use crate::config::Loaded;
use crate::error::{Error, Result};
use crate::lake::{Answer, LakeQuery, QueryLimits, QueryTable, table_name};
use crate::location::Location;

/// A table on a terminal has at most this many rows.
const TABLE_ROWS: usize = 1_000;

/// Ask the lake in SQL: the log of changes, and the last version of each key
///
/// The table named by the pipeline is the log, one row a change. `NAME_current` is the last version
/// of each key. Without SQL the tables and their columns are listed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
acequia query pipelines/quickstart.yaml\n  \
acequia query pipelines/quickstart.yaml \"SELECT role, count(*) FROM conversations_current GROUP BY role\"\n  \
acequia query pipeline.yaml \"SELECT * FROM conversations WHERE year = 2024 AND month = 1\" --csv > january.csv")]
pub(super) struct Options {
    #[command(flatten)]
    pipeline: PipelineFile,
    /// One SELECT
    #[arg(value_name = "SQL")]
    sql: Option<String>,
    /// Print one JSON object a row
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV with a header
    #[arg(long)]
    csv: bool,
}

pub(super) fn execute(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    let loaded = options.pipeline.load(terminal)?;
    let tables = tables(&loaded)?;
    let Some(sql) = &options.sql else {
        list(&tables, options, terminal);
        return Ok(Outcome::Done);
    };
    let form = match (options.json, options.csv) {
        (true, _) => RowForm::Json,
        (_, true) => RowForm::Csv,
        _ => RowForm::Table,
    };
    block_on(async {
        let aws = Aws::new(loaded.pipeline.aws.clone().unwrap_or_default());
        let lake = LakeQuery::open(&tables, QueryLimits::default(), &aws).await?;
        let answer = lake.query(sql).await?;
        match form {
            RowForm::Table => show_table(answer, terminal).await,
            form => write_out(answer, form).await,
        }
    })??;
    Ok(Outcome::Done)
}

/// Every lake of the pipeline: the first has the pipeline's name, another its sink's behind it.
fn tables(loaded: &Loaded) -> Result<Vec<QueryTable>> {
    let pipeline = table_name(&loaded.pipeline.name);
    let mut tables: Vec<QueryTable> = Vec::new();
    for (sink, config) in &loaded.pipeline.sinks {
        let Some(parquet) = &config.parquet else { continue };
        let name = match tables.is_empty() {
            true => pipeline.clone(),
            false => format!("{pipeline}_{}", table_name(sink)),
        };
        tables.push(QueryTable {
            name,
            root: Location::parse(&parquet.url)?,
            granularity: parquet.partition.by,
            schema: loaded.schema.clone(),
            system: loaded.system.clone(),
        });
    }
    match tables.is_empty() {
        true => Err(Error::config("the pipeline has no `parquet` sink to ask")),
        false => Ok(tables),
    }
}

fn list(tables: &[QueryTable], options: &Options, terminal: &Terminal) {
    for lake in tables {
        let headline = format!(
            "{0}: the log of changes; {0}_current: the last version of each key",
            lake.name
        );
        terminal.print_line(&terminal.paint(Style::Bold, &headline));
        let system = lake.system.fields();
        let fields = lake.schema.fields().iter().chain(&system);
        let rows: Vec<Vec<String>> = fields
            .map(|field| {
                vec![format!("  {}", field.name()), super::schema::type_name(field.data_type())]
            })
            .collect();
        terminal.print(&table(&[Align::Left, Align::Left], &rows));
    }
    if let Some(lake) = tables.first() {
        terminal.print_line(&format!(
            "\nnext:\n  {} query {} \"SELECT * FROM {}_current LIMIT 5\"",
            terminal.program(),
            options.pipeline.shown(),
            lake.name
        ));
    }
}

async fn show_table(mut answer: Answer, terminal: &Terminal) -> Result<()> {
    let (mut batches, mut count) = (Vec::new(), 0);
    while let Some(batch) = answer.next().await? {
        let room = TABLE_ROWS - count;
        if batch.num_rows() > room {
            batches.push(batch.slice(0, room));
            terminal.note(&format!(
                "the first {TABLE_ROWS} rows; there are more: use --json or --csv, or LIMIT"
            ));
            break;
        }
        count += batch.num_rows();
        batches.push(batch);
    }
    rows::show(RowForm::Table, &answer.schema, &batches, terminal)
}

async fn write_out(mut answer: Answer, form: RowForm) -> Result<()> {
    let schema = answer.schema.clone();
    let mut first = true;
    while let Some(batch) = answer.next().await? {
        if !rows::stream(form, &schema, &batch, first)? {
            return Ok(());
        }
        first = false;
    }
    if first && form == RowForm::Csv {
        // Only the header, so that a script finds the columns.
        rows::stream(form, &schema, &arrow::array::RecordBatch::new_empty(schema.clone()), true)?;
    }
    Ok(())
}
