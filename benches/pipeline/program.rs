//! The program under measurement: a pipeline of one lake, as the configuration's defaults have it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use acequia::sources::archive::sample::RowForm;
use acequia::{Error, ErrorKind, Result, ResultExt};
use serde::Deserialize;

use crate::folders;
use crate::inputs::Input;
use crate::measurement::Measurement;
use crate::report::grouped;
use crate::watch;

/// The folder below the one of a run that holds the table.
const LAKE: &str = "lake";

/// How an input is read where the defaults do not decide.
pub(crate) struct Spread {
    /// Lanes that are open at once; the input is split into as many ranges.
    pub(crate) lanes: u64,
}

/// What `acequia run --json` prints, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Figures {
    rows: u64,
    dead_letters: u64,
    epochs: u64,
    seconds: f64,
}

/// Where the rows of a run come from.
#[derive(Clone, Copy)]
pub(crate) enum From<'a> {
    /// A file.
    Archive(&'a Input),
    /// A topic of plain records, read to its end.
    #[cfg(feature = "kafka")]
    Topic { bootstrap: &'a str, topic: &'a str },
}

/// Where the rows of a run go.
#[derive(Clone, Copy)]
pub(crate) enum Into<'a> {
    /// The run's folder.
    Folder,
    /// A prefix of a bucket that nothing lies below.
    #[cfg(all(feature = "aws", feature = "kafka"))]
    Bucket { endpoint: &'a str, prefix: &'a str },
    #[cfg(not(all(feature = "aws", feature = "kafka")))]
    #[allow(dead_code, reason = "holds the lifetime")]
    Nowhere(&'a ()),
}

/// Take `input` through a pipeline whose table, checkpoint and dead letters lie in `folder`, which
/// is emptied before. Fails where a row is missing or refused.
pub(crate) fn run(folder: &Path, input: &Input, spread: Option<&Spread>) -> Result<Measurement> {
    run_from(folder, From::Archive(input), Into::Folder, input.sample.rows, spread)
}

/// [`run`] with `stages` between the source and the lake, as YAML.
pub(crate) fn run_through(folder: &Path, input: &Input, stages: &str) -> Result<Measurement> {
    let text = pipeline(From::Archive(input), Into::Folder, None);
    run_text(folder, &format!("{text}transforms: {stages}\n"), Into::Folder, input.sample.rows)
}

/// [`run`] for `rows` rows from anywhere.
pub(crate) fn run_from(
    folder: &Path,
    from: From<'_>,
    into: Into<'_>,
    rows: u64,
    spread: Option<&Spread>,
) -> Result<Measurement> {
    run_text(folder, &pipeline(from, into, spread), into, rows)
}

fn run_text(folder: &Path, text: &str, into: Into<'_>, rows: u64) -> Result<Measurement> {
    folders::empty(folder)?;
    let file = folder.join("pipeline.yaml");
    fs::write(&file, text)
        .or_error(ErrorKind::Fatal, || format!("cannot write {}", file.display()))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_acequia"));
    command.arg("run").arg(&file).args(["--until-end", "--json", "--log", "error"]);
    #[cfg(feature = "kafka")]
    command.envs(crate::services::moto::ENVIRONMENT);
    let finished = watch::run(&mut command, "acequia")?;
    let figures: Figures = serde_json::from_slice(&finished.stdout)
        .or_error(ErrorKind::Fatal, || "cannot read what acequia printed".to_owned())?;
    if figures.rows != rows || figures.dead_letters != 0 {
        return Err(Error::fatal(format!(
            "acequia wrote {} rows and {} dead letters of {} rows",
            grouped(figures.rows),
            grouped(figures.dead_letters),
            grouped(rows)
        )));
    }
    let (files, file_bytes) = match into {
        Into::Folder => folders::parquet_files(&lake(folder))?,
        // What a server of a test holds is of no interest.
        _ => (0, 0),
    };
    Ok(Measurement {
        process_seconds: finished.seconds,
        own_seconds: figures.seconds,
        // Nothing is left out that a user waits for.
        counted_seconds: finished.seconds,
        memory: finished.memory,
        files,
        file_bytes,
        commits: Some(figures.epochs),
    })
}

/// The table of a run in `folder`.
pub(crate) fn lake(folder: &Path) -> PathBuf {
    folder.join(LAKE)
}

/// The contract of every row.
pub(crate) fn contract() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/conversations.yaml")
}

/// The source of `input`; a spread cuts nothing before the end: what waits, waits as long as it can.
fn archive(input: &Input, spread: Option<&Spread>) -> String {
    let format = match input.sample.form {
        RowForm::Plain => "plain",
        RowForm::Dynamodb => "dynamodb",
    };
    let lanes = spread.map_or_else(String::new, |Spread { lanes }| {
        format!(", lanes: {lanes}, range_size: {}B", input.bytes.div_ceil(*lanes))
    });
    let path = glob::Pattern::escape(&input.path.to_string_lossy());
    // A path in Rust's quotes is one in YAML's double quotes.
    format!("archive: {{ path: {path:?}, format: {format}{lanes} }}")
}

fn pipeline(from: From<'_>, into: Into<'_>, spread: Option<&Spread>) -> String {
    let source = match from {
        From::Archive(input) => archive(input, spread),
        #[cfg(feature = "kafka")]
        From::Topic { bootstrap, topic } => {
            format!("kafka: {{ bootstrap: {bootstrap:?}, topics: {topic}, format: plain }}")
        }
    };
    let commit = match spread {
        None => "",
        Some(_) => "commit: { size: 4GiB, every: 1h, max_age: 1h }\n",
    };
    let contract = contract();
    let (lake, letters, aws) = match into {
        Into::Folder => (LAKE.to_owned(), "dead-letters".to_owned(), String::new()),
        #[cfg(all(feature = "aws", feature = "kafka"))]
        Into::Bucket { endpoint, prefix } => (
            format!("\"{prefix}/{LAKE}\""),
            format!("\"{prefix}/dead-letters\""),
            format!("aws: {{ endpoint: \"{endpoint}\", path_style: true }}\n"),
        ),
        #[cfg(not(all(feature = "aws", feature = "kafka")))]
        Into::Nowhere(()) => Default::default(),
    };
    format!(
        "name: bench\n\
         contract: {contract:?}\n\
         source: {{ {source} }}\n\
         sinks: {{ lake: {{ parquet: {{ url: {lake}, partition: {{ by: day, time: timestamp }} }} }} }}\n\
         dead_letters: {{ url: {letters} }}\n\
         checkpoint: {{ file: {{ path: checkpoint }} }}\n\
         {commit}{aws}"
    )
}
