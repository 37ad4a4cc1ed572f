//! A pipeline in a folder of its own, and the real binary that runs it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_acequia");

/// A process that takes longer than this hangs.
const LONGEST: Duration = Duration::from_secs(120);
/// How often a process is looked at that is waited for.
const PAUSE: Duration = Duration::from_millis(5);
/// So much of what a program said is shown where its test has failed.
const SHOWN_LINES: usize = 60;

/// What a pipeline says where a test says nothing else, one top-level key a line.
const DEFAULTS: [&str; 6] = [
    "name: messages",
    "contract: contract.yaml",
    "source: { archive: { path: \"*.ndjson\", format: plain } }",
    "sinks: { lake: { parquet: { url: lake, partition: { by: day, time: timestamp } } } }",
    "dead_letters: { url: dead-letters }",
    "checkpoint: { file: { path: checkpoint } }",
];

/// The text of a pipeline: `tail`, and the defaults of the top-level keys that it does not have.
pub(crate) fn pipeline_text(tail: &str) -> String {
    let mut text = String::new();
    for line in DEFAULTS {
        let (key, _) = line.split_once(' ').unwrap();
        if !tail.lines().any(|given| given.starts_with(key)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text + tail
}

/// A folder that a pipeline runs in; it goes when this is dropped.
pub(crate) struct Folder {
    root: TempDir,
}

impl Folder {
    /// A folder with the contract of the conversations as `contract.yaml`, and nothing else.
    pub(crate) fn new() -> Self {
        let folder = Self { root: tempfile::tempdir().unwrap() };
        let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/conversations.yaml");
        folder.write("contract.yaml", fs::read(contract).unwrap());
        folder
    }

    /// Where `name` lies in the folder, or would.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Write a file, in folders that are made for it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Write `pipeline.yaml`: see [`pipeline_text`].
    pub(crate) fn pipeline(&self, tail: &str) {
        self.write("pipeline.yaml", pipeline_text(tail));
    }

    /// A command in the folder that takes nothing from the terminal or from settings in the
    /// environment; what it writes is caught.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.root.path())
            .env_remove("ACEQUIA_LOG")
            .env_remove("NO_COLOR")
            .env_remove("COLUMNS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Start the program.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running::start(self.command(PROGRAM, args))
    }

    /// Run the program to its end.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.start(args).end()
    }
}

/// A process that runs; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    /// What it has said on standard error so far.
    log: Arc<Mutex<String>>,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<()>>,
}

impl Running {
    /// Start a command of [`Folder::command`].
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let kept = log.clone();
        Self {
            child,
            log,
            stdout: Some(std::thread::spawn(|| io::read_to_string(stdout).unwrap_or_default())),
            stderr: Some(std::thread::spawn(move || keep_lines(stderr, &kept))),
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Send it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Wait until its standard error has `text` so many times.
    #[track_caller]
    pub(crate) fn until_it_says(&mut self, text: &str, times: usize) {
        let end = Instant::now() + LONGEST;
        let is_said = |said: &str| said.matches(text).count() >= times;
        while !is_said(&self.said()) {
            let is_late = Instant::now() > end;
            if is_late || self.child.try_wait().unwrap().is_some() {
                // What an ended process said last may still be on its way.
                if !is_late && let Some(thread) = self.stderr.take() {
                    thread.join().unwrap();
                }
                let said = self.said();
                assert!(is_said(&said), "it did not say {text:?} {times} times:\n{said}");
                return;
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Wait until it ends.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let end = Instant::now() + LONGEST;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it does not end:\n{}", self.said());
            std::thread::park_timeout(PAUSE);
        };
        let stdout = self.stdout.take().map(|thread| thread.join().unwrap());
        if let Some(thread) = self.stderr.take() {
            thread.join().unwrap();
        }
        Ended { code: status.code(), stdout: stdout.unwrap_or_default(), stderr: self.said() }
    }

    fn said(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let said = self.said();
            let skipped = said.lines().count().saturating_sub(SHOWN_LINES);
            let last: Vec<&str> = said.lines().skip(skipped).collect();
            eprintln!("The program ran in a test that failed; its log ends:\n{}", last.join("\n"));
        }
    }
}

fn keep_lines(stderr: ChildStderr, log: &Mutex<String>) {
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        log.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
}

/// What a process that has ended leaves.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// The same, which ended with `code` and without a panic.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        let is_calm = !self.stderr.contains("panicked");
        assert!(
            self.code == Some(code) && is_calm,
            "exit code {:?}, expected {code}\n{}\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        self
    }

    /// The same, which said `text` on standard error.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "it did not say {text:?}:\n{}", self.stderr);
        self
    }

    /// The same, whose last words were the message `whole`, and behind it at most what a server or a
    /// library said itself.
    #[track_caller]
    pub(crate) fn fails_as(self, whole: &str) -> Self {
        let said = self.stderr.lines().last().unwrap_or_default();
        let said = said.strip_prefix("error: ").or_else(|| said.strip_prefix("stopped: "));
        let rest = said.and_then(|said| said.strip_prefix(whole));
        let is_it = rest.is_some_and(|rest| {
            rest.is_empty() || rest.starts_with(" (") || rest.starts_with(": ")
        });
        assert!(is_it, "expected:\n{whole}\nfound:\n{}", self.stderr);
        self
    }

    /// The same, which printed `text`.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "it did not print {text:?}:\n{}", self.stdout);
        self
    }

    /// Its standard output, which is one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The files below `folder` whose names end in `suffix`, sorted; none where there is no folder.
pub(crate) fn files(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, suffix));
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The rows of every `*.parquet` below `folder`, file by file.
pub(crate) fn rows(folder: &Path) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for file in files(folder, ".parquet") {
        let file = File::open(file).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        batches.extend(reader.map(Result::unwrap));
    }
    batches
}

/// The rows of one Parquet file, given whole.
pub(crate) fn rows_of(file: bytes::Bytes) -> Vec<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    reader.map(Result::unwrap).collect()
}

/// The values of one column as text, row by row; `null` where there is none.
pub(crate) fn column(batches: &[RecordBatch], name: &str) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let mut cells = Vec::new();
    for batch in batches {
        let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
        // The zone is spelled so that no table of zones is needed to show it.
        let column = match column.data_type() {
            DataType::Timestamp(unit, Some(_)) => {
                cast(column, &DataType::Timestamp(*unit, Some("+00:00".into()))).unwrap()
            }
            _ => column.clone(),
        };
        let shown = ArrayFormatter::try_new(&column, &options).unwrap();
        cells.extend((0..batch.num_rows()).map(|row| shown.value(row).to_string()));
    }
    cells
}

/// Every dead letter below `folder`, as it is stored.
pub(crate) fn letters(folder: &Path) -> Vec<Value> {
    let mut letters: Vec<Value> = Vec::new();
    for file in files(folder, ".ndjson.zst") {
        let text = zstd::decode_all(File::open(file).unwrap()).unwrap();
        let lines = std::str::from_utf8(&text).unwrap().lines();
        letters.extend(lines.map(|line| serde_json::from_str::<Value>(line).unwrap()));
    }
    letters
}

/// A number of the environment: how much is asked of a test.
#[allow(clippy::disallowed_methods, reason = "how much is asked of a test, not a setting")]
pub(crate) fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
