//! Whole pipelines, seen from outside: `cargo bench --bench pipeline -- --help`.
//!
//! The real program runs as a child process, with its checkpoint, its syncs and exactly-once on,
//! and the kernel is asked for its memory while it runs. DuckDB does the same work in turn with
//! it, because a rate means little on a machine whose speed varies, and a ratio much.
//! `docs/benchmarks.md` says what each column means.

#![allow(
    clippy::disallowed_methods,
    reason = "a bench reads its environment and samples in real time; nothing simulates it"
)]

mod comparison;
mod duckdb;
mod folders;
#[cfg(feature = "search")]
mod index;
mod inputs;
mod measurement;
mod memory;
mod program;
mod report;
#[cfg(feature = "opensearch")]
mod search;
mod sentiment;
#[cfg(any(feature = "kafka", feature = "opensearch"))]
#[path = "../../tests/services/mod.rs"]
mod services;
#[cfg(all(feature = "aws", feature = "kafka"))]
mod tasks;
#[cfg(feature = "kafka")]
mod topic;
mod watch;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use acequia::{ErrorKind, Result, ResultExt};
use clap::{Parser, ValueEnum};

use self::duckdb::DuckDb;

/// Rows of a comparison, unless other are asked for.
const ROWS: u64 = 1_000_000;
/// Rows of a topic, unless other are asked for.
#[cfg(feature = "kafka")]
const TOPIC_ROWS: u64 = 2_000_000;
/// Rows of an index, unless other are asked for.
#[cfg(any(feature = "opensearch", feature = "search"))]
const SEARCH_ROWS: u64 = 200_000;
/// Rows of a run of the memory table, unless other are asked for.
const MEMORY_ROWS: u64 = 2_000_000;

/// Measure whole pipelines, and DuckDB beside them
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench pipeline --", max_term_width = 100)]
struct Options {
    /// Rows of an input; default is 1,000,000, for the memory table and the topic 2,000,000, for the
    /// indices 200,000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rows: Option<u64>,
    /// What to measure
    #[arg(long, value_enum, default_value_t = Choice::All)]
    job: Choice,
    /// How often each program does a job, in turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Folder for inputs, which are kept, and outputs, which are replaced; default is in `target`
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Leave DuckDB out
    #[arg(long)]
    no_duckdb: bool,
    /// `cargo bench` gives it; without it nothing is measured, so that tests do not take hours
    #[arg(long, hide = true)]
    bench: bool,
}

/// The jobs by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Plain NDJSON, 30 days in order of time
    Plain,
    /// DynamoDB Streams records of the same items, against DuckDB on the plain form
    Dynamodb,
    /// Plain NDJSON, 400 days in random order
    Random,
    /// Peak memory of 1, 8, 64 lanes with 1, 30, 400 open days; DuckDB has no part in it
    Memory,
    /// A Kafka topic, beside a client that discards it and beside the archive
    #[cfg(feature = "kafka")]
    Topic,
    /// Tasks that share a topic: one that is killed, all replaced one by one, an idle one's latency
    #[cfg(all(feature = "aws", feature = "kafka"))]
    Tasks,
    /// An index of OpenSearch, beside a client that only sends; and an idle pipeline's latency
    #[cfg(feature = "opensearch")]
    Search,
    /// An embedded index, beside a bare writer of the same engine
    #[cfg(feature = "search")]
    Index,
    /// A lake with the stage `sentiment`, beside the same lake without it
    Sentiment,
    /// The three comparisons with DuckDB
    All,
}

/// What every job works with.
struct Setup {
    /// Where inputs and outputs are.
    folder: PathBuf,
    /// How often each program does a comparison.
    rounds: u32,
    /// `None`: not found, or not wanted.
    duckdb: Option<DuckDb>,
    /// Cores of this machine, which both programs use all of.
    cores: usize,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        eprintln!("nothing is measured: `cargo bench --bench pipeline` does that");
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe bench failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).get();
    let compares = !comparison::jobs(options.job, 0).is_empty();
    let setup = Setup {
        folder: folder(options)?,
        rounds: options.rounds,
        duckdb: if compares && !options.no_duckdb { DuckDb::find(cores)? } else { None },
        cores,
    };
    folders::make(&setup.folder)?;
    println!("{cores} cores, {}", env!("CARGO_BIN_EXE_acequia"));
    println!("inputs and outputs in {}", setup.folder.display());
    if cfg!(debug_assertions) {
        println!("NOT A RELEASE BUILD: the figures mean nothing");
    }
    let measured = measure(options, &setup);
    folders::remove_replaced(&setup.folder)?;
    measured
}

fn measure(options: &Options, setup: &Setup) -> Result<()> {
    match options.job {
        Choice::Memory => return memory::run(options.rows.unwrap_or(MEMORY_ROWS), setup),
        Choice::Sentiment => return sentiment::run(options.rows.unwrap_or(ROWS), setup),
        #[cfg(feature = "kafka")]
        Choice::Topic => return topic::run(options.rows.unwrap_or(TOPIC_ROWS), setup),
        #[cfg(all(feature = "aws", feature = "kafka"))]
        Choice::Tasks => return tasks::run(setup),
        #[cfg(feature = "opensearch")]
        Choice::Search => return search::run(options.rows.unwrap_or(SEARCH_ROWS), setup),
        #[cfg(feature = "search")]
        Choice::Index => return index::run(options.rows.unwrap_or(SEARCH_ROWS), setup),
        _ => {}
    }
    let jobs = comparison::jobs(options.job, options.rows.unwrap_or(ROWS));
    jobs.iter().try_for_each(|job| comparison::run(job, setup))
}

fn folder(options: &Options) -> Result<PathBuf> {
    match &options.folder {
        None => Ok(Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipeline-bench")),
        Some(folder) => std::path::absolute(folder).or_error(ErrorKind::Config, || {
            format!("{} is not the name of a folder", folder.display())
        }),
    }
}
