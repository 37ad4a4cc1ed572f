//! DuckDB at the same work, by way of its Python package.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use acequia::{Error, ErrorKind, Result, ResultExt, contract};
use serde::Deserialize;

use crate::folders;
use crate::inputs::Input;
use crate::measurement::Measurement;
use crate::program;
use crate::watch;

/// Names the Python that has the package `duckdb`.
const PYTHON_VARIABLE: &str = "ACEQUIA_PYTHON";

/// Runs the statements in its argument. The clock runs around each statement alone: the start of
/// Python and of DuckDB is not held against it.
const SCRIPT: &str = "\
import json, sys, time
import duckdb
connection = duckdb.connect()
# It would draw into the answers.
connection.execute('SET enable_progress_bar = false')
answers = []
for statement in json.loads(sys.argv[1]):
    began = time.perf_counter()
    row = connection.execute(statement).fetchone()
    seconds = time.perf_counter() - began
    row = [None if value is None else int(value) for value in row or ()]
    answers.append({'seconds': seconds, 'row': row})
print(json.dumps(answers))
";

/// The columns of the contract, and the types as which they are read.
const COLUMNS: [(&str, &str); 14] = [
    ("user_id", "VARCHAR"),
    ("timestamp", "TIMESTAMP"),
    ("session_id", "VARCHAR"),
    ("message_id", "VARCHAR"),
    ("message_type", "VARCHAR"),
    ("role", "VARCHAR"),
    ("content", "VARCHAR"),
    ("ai_model_used", "VARCHAR"),
    ("confidence_score", "DOUBLE"),
    ("processing_time_ms", "BIGINT"),
    ("tokens_used", "BIGINT"),
    ("escalation_triggered", "BOOLEAN"),
    ("metadata", "STRUCT(sentiment VARCHAR, intent VARCHAR, \"language\" VARCHAR)"),
    ("ttl", "BIGINT"),
];

/// A Python with DuckDB.
pub(crate) struct DuckDb {
    python: PathBuf,
    version: String,
    threads: usize,
}

/// Rows of a table and the sum of one of its columns: equal where two tables hold the same rows,
/// as far as that can be seen cheaply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Its rows.
    pub(crate) rows: u64,
    /// The sum of `tokens_used`.
    pub(crate) tokens: i64,
}

#[derive(Debug, Deserialize)]
struct Answer {
    seconds: f64,
    row: Vec<Option<i64>>,
}

impl DuckDb {
    /// Look for it; `None`, with a notice that cannot be missed, where it is not there.
    pub(crate) fn find(threads: usize) -> Result<Option<Self>> {
        check_columns()?;
        let python = python();
        let output = Command::new(&python)
            .args(["-c", "import duckdb; print(duckdb.__version__)"])
            .stdin(Stdio::null())
            .output();
        let why = match output {
            Ok(output) if output.status.success() => {
                let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                return Ok(Some(Self { python, version, threads }));
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        let environment = target().join("python");
        let environment = environment.display();
        eprintln!(
            "\n================ WITHOUT DUCKDB: NO RATIO IS MEASURED ================\n\
             {} cannot import it: {why}\n\
             To have it:\n  \
             python3 -m venv {environment}\n  \
             {environment}/bin/python -m pip install duckdb\n\
             or name another Python in {PYTHON_VARIABLE}. `--no-duckdb` hides this.\n\
             ======================================================================\n",
            python.display()
        );
        Ok(None)
    }

    /// Version of the package.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// What it does with `input`, statement by statement.
    pub(crate) fn statements(&self, input: &Input, folder: &Path) -> [String; 2] {
        let selected = COLUMNS.map(|(name, _)| match name {
            // The contract has an instant here.
            "ttl" => "make_timestamp(ttl * 1000000) AS ttl".to_owned(),
            _ => format!("\"{name}\""),
        });
        let read = COLUMNS.map(|(name, kind)| format!("\"{name}\": '{kind}'"));
        let copy = format!(
            "COPY (\n  \
             SELECT {},\n    \
             year(\"timestamp\") AS year, month(\"timestamp\") AS month, day(\"timestamp\") AS day\n  \
             FROM read_json({}, format = 'newline_delimited', columns = {{\n    {}\n  }})\n\
             ) TO {} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, PARTITION_BY (year, month, day))",
            selected.join(", "),
            quoted(&input.path),
            read.join(",\n    "),
            quoted(folder),
        );
        [format!("SET threads = {}", self.threads), copy]
    }

    /// Let it write `input` as Parquet into `folder`, which is emptied before.
    pub(crate) fn copy(&self, folder: &Path, input: &Input) -> Result<Measurement> {
        folders::empty(folder)?;
        let (finished, answers) = self.execute(&self.statements(input, folder))?;
        let answer =
            answers.last().filter(|answer| first_as_count(answer) == Some(input.sample.rows));
        let answer = answer.ok_or_else(|| {
            Error::fatal(format!("DuckDB did not copy {} rows: {answers:?}", input.sample.rows))
        })?;
        let (files, file_bytes) = folders::parquet_files(folder)?;
        Ok(Measurement {
            process_seconds: finished.seconds,
            own_seconds: answer.seconds,
            counted_seconds: answer.seconds,
            memory: finished.memory,
            files,
            file_bytes,
            commits: None,
        })
    }

    /// What the Parquet files below `folder` hold.
    pub(crate) fn totals(&self, folder: &Path) -> Result<Totals> {
        let files = quoted(&folder.join("**/*.parquet"));
        let question = format!("SELECT count(*), sum(tokens_used) FROM read_parquet({files})");
        let (_, answers) = self.execute(&[question])?;
        match answers.first().map(|answer| answer.row.as_slice()) {
            Some(&[Some(rows), Some(tokens)]) => Ok(Totals { rows: rows.unsigned_abs(), tokens }),
            _ => Err(Error::fatal(format!("DuckDB cannot count what {files} holds: {answers:?}"))),
        }
    }

    fn execute(&self, statements: &[String]) -> Result<(watch::Finished, Vec<Answer>)> {
        let failed = || "cannot exchange statements with DuckDB".to_owned();
        let argument = serde_json::to_string(statements).or_error(ErrorKind::Fatal, failed)?;
        let mut command = Command::new(&self.python);
        command.args(["-c", SCRIPT]).arg(argument);
        let finished = watch::run(&mut command, "DuckDB")?;
        let answers: Vec<Answer> =
            serde_json::from_slice(&finished.stdout).or_error(ErrorKind::Fatal, failed)?;
        Ok((finished, answers))
    }
}

fn first_as_count(answer: &Answer) -> Option<u64> {
    answer.row.first().copied().flatten().and_then(|count| u64::try_from(count).ok())
}

/// A comparison over other columns would compare nothing.
fn check_columns() -> Result<()> {
    let contract = contract::load(&program::contract())
        .map_err(|findings| Error::config(findings.to_string()))?;
    let known = contract.columns.iter().map(|column| column.name.as_str());
    match known.eq(COLUMNS.map(|(name, _)| name)) {
        true => Ok(()),
        false => Err(Error::config(
            "the contract has other columns by now: correct COLUMNS in benches/pipeline/duckdb.rs",
        )),
    }
}

/// The Python to ask: the one that is named, the one that `.ci/run` makes, any.
fn python() -> PathBuf {
    let named = std::env::var_os(PYTHON_VARIABLE);
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return named.into();
    }
    let own = target().join("python/bin/python");
    if own.exists() { own } else { "python3".into() }
}

/// Cargo's target folder, wherever its settings put it.
fn target() -> &'static Path {
    let inside = Path::new(env!("CARGO_TARGET_TMPDIR"));
    inside.parent().unwrap_or(inside)
}

/// A path as SQL text.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "''"))
}
