//! The same work by both programs in turn, and the ratio of their rates.

use std::path::Path;

use acequia::sources::archive::sample::{BulkSample, RowForm, RowOrder};
use acequia::{Error, Result};

use crate::duckdb::DuckDb;
use crate::inputs::Input;
use crate::measurement::{Measurement, median};
use crate::report::{Column, FIGURES, figures, grouped, header, line};
use crate::{Choice, Setup, program};

/// Every run sees the same rows.
const SEED: u64 = 1;

static ROUND: Column = Column::word("round", 6);
static PROGRAM: Column = Column::word("program", 7);
static RATIO: Column = Column::figure("ratio", 6);

/// One comparison.
pub(crate) struct Job {
    title: &'static str,
    sample: BulkSample,
    /// The ratio that it has to reach.
    bar: f64,
    /// What else the ratio is measured against.
    marks: &'static str,
}

/// The comparisons that `choice` names, over `rows` rows.
pub(crate) fn jobs(choice: Choice, rows: u64) -> Vec<Job> {
    let in_order =
        BulkSample { seed: SEED, rows, days: 30, order: RowOrder::Time, form: RowForm::Plain };
    let plain = Job {
        title: "plain NDJSON, 30 days in order of time, to zstd-1 Parquet by day",
        sample: in_order,
        bar: 1.5,
        marks: "goal 2.0, floor 1.0",
    };
    let random = Job {
        title: "plain NDJSON, 400 days in random order, to zstd-1 Parquet by day",
        sample: BulkSample { days: 400, order: RowOrder::Random, ..in_order },
        bar: 1.0,
        marks: "no other mark",
    };
    let dynamodb = Job {
        title: "DynamoDB Streams records with both images, against DuckDB on the plain form",
        sample: BulkSample { form: RowForm::Dynamodb, ..in_order },
        bar: 1.0,
        marks: "floor 0.7",
    };
    match choice {
        Choice::Plain => vec![plain],
        Choice::Random => vec![random],
        Choice::Dynamodb => vec![dynamodb],
        Choice::All => vec![plain, random, dynamodb],
        Choice::Memory | Choice::Sentiment => Vec::new(),
        #[cfg(feature = "kafka")]
        Choice::Topic => Vec::new(),
        #[cfg(all(feature = "aws", feature = "kafka"))]
        Choice::Tasks => Vec::new(),
        #[cfg(feature = "opensearch")]
        Choice::Search => Vec::new(),
        #[cfg(feature = "search")]
        Choice::Index => Vec::new(),
    }
}

/// DuckDB's side of a comparison.
struct Rival<'a> {
    duckdb: &'a DuckDb,
    /// The plain form of the same items.
    input: Input,
}

/// One run of each.
struct Round {
    ours: Measurement,
    theirs: Option<Measurement>,
}

impl Round {
    /// How many times as fast ours was.
    fn ratio(&self) -> Option<f64> {
        self.theirs.map(|theirs| theirs.counted_seconds / self.ours.counted_seconds)
    }
}

/// Run `job` and print its table.
pub(crate) fn run(job: &Job, setup: &Setup) -> Result<()> {
    println!("\n## {}", job.title);
    let input = Input::ready(&setup.folder, job.sample)?;
    input.warm()?;
    println!("{} rows, {:.0} MB", grouped(job.sample.rows), input.bytes as f64 / 1e6);
    let (ours, theirs) = (setup.folder.join("acequia"), setup.folder.join("duckdb"));
    let rival = match &setup.duckdb {
        None => None,
        Some(duckdb) => Some(rival(duckdb, job, setup, &theirs)?),
    };
    let columns = columns();
    println!("\n{}", header(&columns));
    let mut rounds = Vec::new();
    for number in 1..=setup.rounds {
        let round = round(number, &input, &ours, rival.as_ref(), &theirs)?;
        print_round(&number.to_string(), &round, &input, rival.as_ref());
        if let (1, Some(rival)) = (number, &rival) {
            compare(rival.duckdb, job, &program::lake(&ours), &theirs)?;
        }
        rounds.push(round);
    }
    print_medians(job, &rounds, &input, rival.as_ref());
    Ok(())
}

fn rival<'a>(duckdb: &'a DuckDb, job: &Job, setup: &Setup, folder: &Path) -> Result<Rival<'a>> {
    let sample = BulkSample { form: RowForm::Plain, ..job.sample };
    let input = Input::ready(&setup.folder, sample)?;
    input.warm()?;
    println!("DuckDB {} on {:.0} MB:", duckdb.version(), input.bytes as f64 / 1e6);
    println!("{};", duckdb.statements(&input, folder).join(";\n"));
    Ok(Rival { duckdb, input })
}

fn columns() -> Vec<&'static Column> {
    [&ROUND, &PROGRAM].into_iter().chain(&FIGURES).chain([&RATIO]).collect()
}

/// Let both run, the one first that was second before: the second may find a warmer machine.
fn round(
    number: u32,
    input: &Input,
    ours: &Path,
    rival: Option<&Rival<'_>>,
    theirs: &Path,
) -> Result<Round> {
    let we = || program::run(ours, input, None);
    let they = || rival.map(|rival| rival.duckdb.copy(theirs, &rival.input)).transpose();
    if number.is_multiple_of(2) {
        let theirs = they()?;
        Ok(Round { ours: we()?, theirs })
    } else {
        let ours = we()?;
        Ok(Round { ours, theirs: they()? })
    }
}

/// Both must have written the same rows.
fn compare(duckdb: &DuckDb, job: &Job, ours: &Path, theirs: &Path) -> Result<()> {
    let (ours, theirs) = (duckdb.totals(ours)?, duckdb.totals(theirs)?);
    if ours != theirs || ours.rows != job.sample.rows {
        return Err(Error::fatal(format!(
            "the outputs differ: acequia {ours:?}, DuckDB {theirs:?}, rows read {}",
            job.sample.rows
        )));
    }
    Ok(())
}

fn print_round(name: &str, round: &Round, input: &Input, rival: Option<&Rival<'_>>) {
    let columns = columns();
    let print = |program: &str, run: &Measurement, input: &Input, ratio: Option<f64>| {
        let mut cells = vec![name.to_owned(), program.to_owned()];
        cells.extend(figures(run, input.sample.rows, input.bytes));
        cells.extend(ratio.map(|ratio| format!("{ratio:.2}")));
        println!("{}", line(&columns, &cells));
    };
    print("acequia", &round.ours, input, round.ratio());
    if let (Some(theirs), Some(rival)) = (&round.theirs, rival) {
        print("duckdb", theirs, &rival.input, None);
    }
}

fn print_medians(job: &Job, rounds: &[Round], input: &Input, rival: Option<&Rival<'_>>) {
    let ours: Vec<Measurement> = rounds.iter().map(|round| round.ours).collect();
    let theirs: Vec<Measurement> = rounds.iter().filter_map(|round| round.theirs).collect();
    let medians = Round {
        ours: Measurement::medians(&ours),
        theirs: rival.map(|_| Measurement::medians(&theirs)),
    };
    print_round("median", &medians, input, rival);
    let ratios: Vec<f64> = rounds.iter().filter_map(Round::ratio).collect();
    if ratios.is_empty() {
        println!("no ratio: DuckDB did not run");
        return;
    }
    let middle = median(&ratios);
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    let verdict = match middle >= job.bar {
        true => "reached".to_owned(),
        false => format!("MISSED by {:.2}", job.bar - middle),
    };
    println!(
        "ratio {middle:.2}, the median of {} ({least:.2} to {most:.2}); bar {:.1}: {verdict}; {}",
        ratios.len(),
        job.bar,
        job.marks
    );
    println!("both outputs hold the same number of rows and the same sum of tokens_used");
}
