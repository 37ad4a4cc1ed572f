//! `acequia sample`: made-up change events.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::figures::{bytes, grouped};
use super::{Outcome, Terminal};
use crate::error::{ErrorKind, Result, ResultExt};
use crate::sources::archive::sample::{ArchiveSample, BulkSample, RowForm, RowOrder};

/// Write made-up change events to try things with
///
/// Without `--rows`: the quick start's archive, about 30,000 changes of conversations as DynamoDB
/// Streams records in four zstd files, some of them broken on purpose. With `--rows`: one plain
/// NDJSON file of that many good rows, for loads. The same seed gives the same records.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acequia sample --out events\n  \
acequia sample --out events --rows 5000000 --days 30 --form plain")]
pub(super) struct Options {
    /// The folder to write to; files of the same names are replaced
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// The seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write one large file of this many rows instead
    #[arg(long, value_name = "COUNT")]
    rows: Option<u64>,
    /// Days that the rows are spread over
    #[arg(long, value_name = "COUNT", default_value_t = 30, requires = "rows")]
    days: u64,
    /// Form of the rows
    #[arg(long, value_enum, default_value_t = FormOption::Plain, requires = "rows")]
    form: FormOption,
    /// Order of the rows' times
    #[arg(long, value_enum, default_value_t = OrderOption::Time, requires = "rows")]
    order: OrderOption,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormOption {
    /// One item an object
    Plain,
    /// DynamoDB Streams records with both images
    Dynamodb,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OrderOption {
    /// Each row later than the one before
    Time,
    /// Any day may come next
    Random,
}

pub(super) fn execute(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    match options.rows {
        Some(rows) => write_rows(options, rows, terminal),
        None => write_archive(options, terminal),
    }
}

fn write_archive(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    let summary = ArchiveSample { seed: options.seed }.write(&options.out)?;
    for file in &summary.files {
        terminal.print_line(&file.display().to_string());
    }
    terminal.note(&format!(
        "{} events of {} users ({} inserts, {} updates, {} deletes, {} expires) and {} broken records, {}",
        grouped(summary.events()),
        grouped(summary.users),
        grouped(summary.inserts),
        grouped(summary.modifies),
        grouped(summary.deletes),
        grouped(summary.expires),
        grouped(summary.poison),
        bytes(summary.bytes),
    ));
    Ok(Outcome::Done)
}

fn write_rows(options: &Options, rows: u64, terminal: &Terminal) -> Result<Outcome> {
    std::fs::create_dir_all(&options.out).or_error(ErrorKind::Config, || {
        format!("cannot make the folder {}", options.out.display())
    })?;
    let path = options.out.join("rows.ndjson");
    let written = BulkSample {
        seed: options.seed,
        rows,
        days: options.days.max(1),
        order: match options.order {
            OrderOption::Time => RowOrder::Time,
            OrderOption::Random => RowOrder::Random,
        },
        form: match options.form {
            FormOption::Plain => RowForm::Plain,
            FormOption::Dynamodb => RowForm::Dynamodb,
        },
    }
    .write(&path)?;
    terminal.print_line(&path.display().to_string());
    terminal.note(&format!("{} rows, {}", grouped(rows), bytes(written)));
    Ok(Outcome::Done)
}
