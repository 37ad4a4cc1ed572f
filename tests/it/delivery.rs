//! Kill the real binary at every step, restart it, and look for each event exactly once.
//!
//! Each round runs in a folder of its own. Half of them kill at a random moment; half draw a step
//! of the protocol and kill when its log line appears. Some freeze the process instead, let a
//! second one take over, and thaw the first. Then the run is repeated until it finishes, and a
//! checker reads the lake.
//!
//! More rounds: `ACEQUIA_KILL_ROUNDS=200 cargo test --test it delivery -- --nocapture`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use acequia::runtime::protocol::Step;
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

const EVENTS_PER_FILE: usize = 1_500;
const FILES: usize = 2;
/// A refused record now and then, so that dead letters are committed too.
const POISON_EVERY: usize = 97;

/// One pipeline in a folder of its own.
struct Round {
    folder: tempfile::TempDir,
}

impl Round {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in 0..FILES {
            let mut text = String::new();
            for event in 0..EVENTS_PER_FILE {
                if event % POISON_EVERY == 5 {
                    writeln!(text, "{{\"user_id\": \"damaged {file} {event}\", ").unwrap();
                    continue;
                }
                writeln!(
                    text,
                    r#"{{"user_id":"u{}","timestamp":"2024-01-{:02}T10:00:00.{:03}Z","role":"user","content":"mensaje {file} {event}","tokens_used":{event}}}"#,
                    event % 50,
                    1 + event % 3,
                    event % 1000,
                )
                .unwrap();
            }
            std::fs::write(folder.path().join(format!("events-{file}.ndjson")), text).unwrap();
        }
        let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/conversations.yaml");
        let pipeline = format!(
            "name: killed\n\
             contract: {}\n\
             source: {{ archive: {{ path: \"events-*.ndjson\", format: plain, range_size: 64KiB }} }}\n\
             sinks: {{ lake: {{ parquet: {{ url: lake, partition: {{ by: day, time: timestamp }} }} }} }}\n\
             dead_letters: {{ url: dead-letters }}\n\
             checkpoint: {{ file: {{ path: checkpoint }} }}\n\
             commit: {{ every: 200ms, size: 16KiB, min_size: 1KiB, max_age: 1s }}\n",
            contract.display()
        );
        std::fs::write(folder.path().join("pipeline.yaml"), pipeline).unwrap();
        Self { folder }
    }

    fn start(&self, take_over: bool) -> Watched {
        let mut command = Command::new(env!("CARGO_BIN_EXE_acequia"));
        command
            .args(["run", "--log", "info", "--log-format", "json"])
            .arg(self.folder.path().join("pipeline.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if take_over {
            command.arg("--take-over");
        }
        Watched::new(command.spawn().unwrap())
    }

    /// What the lake and the dead letters hold of each file: positions, sorted.
    fn positions(&self) -> BTreeMap<String, Vec<u64>> {
        let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for file in files_below(&self.folder.path().join("lake"), ".parquet") {
            let reader = std::fs::File::open(&file).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(reader).unwrap().build().unwrap();
            for batch in reader {
                let batch = batch.unwrap();
                let partition = batch.column_by_name("_partition").unwrap().clone();
                let partition = arrow::compute::cast(&partition, &arrow::datatypes::DataType::Utf8);
                let partition = partition.unwrap();
                let position = batch.column_by_name("_position").unwrap();
                let position = position.as_primitive::<Int64Type>();
                for row in 0..batch.num_rows() {
                    assert!(!position.is_null(row));
                    let name = partition.as_string::<i32>().value(row).to_owned();
                    found.entry(name).or_default().push(position.value(row) as u64);
                }
            }
        }
        for file in files_below(&self.folder.path().join("dead-letters"), ".ndjson.zst") {
            let text = zstd::decode_all(std::fs::File::open(file).unwrap()).unwrap();
            for line in std::str::from_utf8(&text).unwrap().lines() {
                let letter: serde_json::Value = serde_json::from_str(line).unwrap();
                let name = letter["partition"].as_str().unwrap().to_owned();
                found.entry(name).or_default().push(letter["position"].as_u64().unwrap());
            }
        }
        found.values_mut().for_each(|positions| positions.sort_unstable());
        found
    }

    /// Where each event begins in its file.
    fn expected(&self) -> BTreeMap<String, Vec<u64>> {
        (0..FILES)
            .map(|file| {
                let name = format!("events-{file}.ndjson");
                let text = std::fs::read_to_string(self.folder.path().join(&name)).unwrap();
                let mut position = 0;
                let starts = text
                    .split_inclusive('\n')
                    .map(|line| {
                        let start = position;
                        position += line.len() as u64;
                        start
                    })
                    .collect();
                (name, starts)
            })
            .collect()
    }
}

fn files_below(folder: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, suffix));
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    found
}

/// A running process and the steps that it announces.
struct Watched {
    child: Child,
    steps: Receiver<Step>,
    last: Option<Step>,
    log: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Watched {
    fn new(mut child: Child) -> Self {
        let lines = BufReader::new(child.stderr.take().unwrap());
        let (sender, steps) = channel();
        let log = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some(step) = step_of(&line) {
                    let _ = sender.send(step);
                }
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Self { child, steps, last: None, log }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }

    /// Wait until `wanted` is announced for the `count`th time, or `limit` has passed, or the
    /// process has ended.
    fn until(&mut self, wanted: Option<(Step, u32)>, limit: Duration) {
        let end = Instant::now() + limit;
        let mut left = wanted.map_or(u32::MAX, |(_, count)| count);
        loop {
            match self.steps.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(step) => {
                    self.last = Some(step);
                    if wanted.is_some_and(|(wanted, _)| wanted == step) {
                        left -= 1;
                        if left == 0 {
                            return;
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn end(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                while let Ok(step) = self.steps.recv_timeout(Duration::from_millis(500)) {
                    self.last = Some(step);
                }
                return status;
            }
            assert!(Instant::now() < end, "does not end:\n{}", self.log.lock().unwrap());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn kill(mut self) -> Option<Step> {
        self.signal(Signal::KILL);
        self.end(Duration::from_secs(10));
        self.last
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

fn step_of(line: &str) -> Option<Step> {
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    if record["target"] != "acequia::protocol" {
        return None;
    }
    let word = record["fields"]["step"].as_str().or_else(|| record["step"].as_str())?;
    Step::ALL.into_iter().find(|step| step.as_str() == word)
}

/// How a round interrupts.
enum Interruption {
    Kill,
    /// Freeze, let another run take over and finish, thaw.
    TakeOver,
}

fn play(random: &mut StdRng) -> Option<Step> {
    let round = Round::new();
    let aim = random.random_bool(0.5).then(|| {
        // Recover says nothing in a first run, so a later life is aimed at for it.
        let step = Step::ALL[random.random_range(0..8)];
        let most = if matches!(step, Step::Fence | Step::Recover) { 2 } else { 12 };
        (step, random.random_range(1..=most))
    });
    let moment = Duration::from_millis(random.random_range(5..900));
    let limit = if aim.is_some() { Duration::from_secs(20) } else { moment };
    let interruption =
        if random.random_bool(0.25) { Interruption::TakeOver } else { Interruption::Kill };
    let mut first = round.start(false);
    first.until(aim, limit);
    let reached = match interruption {
        Interruption::Kill => first.kill(),
        Interruption::TakeOver => {
            first.signal(Signal::STOP);
            first.until(None, Duration::from_millis(50));
            let reached = first.last;
            let mut second = round.start(true);
            let status = second.end(Duration::from_secs(60));
            assert!(status.success(), "the second run: {status}\n{}", second.log.lock().unwrap());
            first.signal(Signal::CONT);
            let status = first.end(Duration::from_secs(60));
            let log = first.log.lock().unwrap();
            assert!(matches!(status.code(), Some(0 | 3)), "the thawed run: {status}\n{log}");
            reached
        }
    };
    let mut last = round.start(false);
    let status = last.end(Duration::from_secs(120));
    assert!(status.success(), "the last run: {status}\n{}", last.log.lock().unwrap());
    let (found, expected) = (round.positions(), round.expected());
    for (name, expected) in &expected {
        let found = found.get(name).cloned().unwrap_or_default();
        if found != *expected {
            let folder = round.folder.keep();
            panic!(
                "after {reached:?}: {name} holds {} events, expected {}; kept in {}",
                found.len(),
                expected.len(),
                folder.display()
            );
        }
    }
    reached
}

#[test]
fn every_event_is_there_once_after_any_kill() {
    #[allow(clippy::disallowed_methods)]
    let rounds = std::env::var("ACEQUIA_KILL_ROUNDS");
    let rounds: u32 = rounds.ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let mut random = StdRng::seed_from_u64(20_240_115);
    let mut reached: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..rounds {
        let step = play(&mut random);
        *reached.entry(step.map_or("before any", Step::as_str)).or_default() += 1;
    }
    println!("last step reached, rounds:");
    for (step, count) in &reached {
        println!("{step:12} {count:4}");
    }
    if rounds >= 200 {
        for step in &Step::ALL[..8] {
            let count = reached.get(step.as_str()).copied().unwrap_or(0);
            assert!(count >= 5, "{step} was interrupted {count} times only");
        }
    }
}
