//! Kill the real binary at every step, restart it, and look for each event exactly once.
//!
//! Each round runs in a folder of its own and cuts one to three lives short. Half of the kills come
//! at a random moment; half draw a step of the protocol and come when its log line appears. Some
//! freeze the process instead, let a second one take over, and thaw the first. Then the run is
//! repeated until it finishes, and a checker reads the lake.
//!
//! More rounds: `ACEQUIA_KILL_ROUNDS=200 cargo test --test it delivery -- --nocapture`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use acequia::runtime::protocol::Step;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;

use crate::aimed::{Moment, Reached, STEPS, Watched, note, rarest, times};
use crate::program::{PROGRAM, column, letters, rows};

const EVENTS_PER_FILE: usize = 2_000;
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

    fn command(&self, take_over: bool) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(["run", "--log", "info", "--log-format", "json"])
            .arg(self.folder.path().join("pipeline.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if take_over {
            command.arg("--take-over");
        }
        command
    }

    /// A process that gets `signal` at `moment`, if that is a step.
    fn start(&self, take_over: bool, moment: Moment, signal: Signal) -> Watched {
        let aim = match moment {
            Moment::At { step, count } => Some((step, count, signal)),
            Moment::After(_) => None,
        };
        Watched::start(self.command(take_over), aim)
    }

    fn start_undisturbed(&self, take_over: bool) -> Watched {
        Watched::start(self.command(take_over), None)
    }

    /// Every event is there once.
    fn check(self) {
        let (found, expected) = (self.positions(), self.expected());
        for (name, expected) in &expected {
            let found = found.get(name).cloned().unwrap_or_default();
            if found != *expected {
                let folder = self.folder.keep();
                panic!(
                    "{name} holds {} events, expected {}; kept in {}",
                    found.len(),
                    expected.len(),
                    folder.display()
                );
            }
        }
    }

    /// What the lake and the dead letters hold of each file: positions, sorted.
    fn positions(&self) -> BTreeMap<String, Vec<u64>> {
        let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let rows = rows(&self.folder.path().join("lake"));
        let places = column(&rows, "_partition").into_iter().zip(column(&rows, "_position"));
        for (partition, position) in places {
            found.entry(partition).or_default().push(position.parse().unwrap());
        }
        for letter in letters(&self.folder.path().join("dead-letters")) {
            let name = letter["partition"].as_str().unwrap().to_owned();
            found.entry(name).or_default().push(letter["position"].as_u64().unwrap());
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

fn draw_moment(random: &mut StdRng, reached: &Reached) -> Moment {
    match random.random_bool(0.5) {
        true => {
            let step = rarest(random, reached);
            let most = if matches!(step, Step::Fence | Step::Recover) { 4 } else { 12 };
            Moment::At { step, count: random.random_range(1..=most) }
        }
        false => Moment::After(Duration::from_millis(random.random_range(5..200))),
    }
}

/// One to three lives that are cut short, then one that may finish.
fn play(random: &mut StdRng, reached: &mut Reached) {
    let round = Round::new();
    for _ in 0..random.random_range(1..=3) {
        let moment = draw_moment(random, reached);
        if random.random_bool(0.25) {
            freeze_and_take_over(&round, moment, reached);
        } else {
            let mut life = round.start(false, moment, Signal::KILL);
            life.interrupt(moment, Signal::KILL);
            let status = life.end(Duration::from_secs(30));
            if !status.success() {
                note(reached, life.last());
            }
        }
    }
    let mut last = round.start_undisturbed(false);
    let status = last.end(Duration::from_secs(120));
    assert!(status.success(), "the last run: {status}\n{}", last.text());
    round.check();
}

/// Freeze a process, let a second one take over and finish, thaw the first: it must find that it
/// has lost, or have nothing left to do.
fn freeze_and_take_over(round: &Round, moment: Moment, reached: &mut Reached) {
    let mut first = round.start(false, moment, Signal::STOP);
    first.interrupt(moment, Signal::STOP);
    if first.child.try_wait().unwrap().is_none() {
        note(reached, first.last());
    }
    let mut second = round.start_undisturbed(true);
    let status = second.end_while_frozen(&first, Duration::from_secs(60));
    assert!(status.success(), "the second run: {status}\n{}", second.text());
    first.signal(Signal::CONT);
    let status = first.end(Duration::from_secs(60));
    assert!(matches!(status.code(), Some(0 | 3)), "the thawed run: {status}\n{}", first.text());
}

#[test]
fn every_event_is_there_once_after_any_kill() {
    #[allow(clippy::disallowed_methods)]
    let rounds = std::env::var("ACEQUIA_KILL_ROUNDS");
    let rounds: u32 = rounds.ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let mut random = StdRng::seed_from_u64(20_240_115);
    let mut reached = Reached::new();
    for _ in 0..rounds {
        play(&mut random, &mut reached);
    }
    println!("interrupted after the announcement of, in {rounds} rounds:");
    for (step, count) in &reached {
        println!("{step:12} {count:4}");
    }
    // One round in the usual thirty would be chance; from 100 on every step must have been met.
    let least = if rounds >= 100 { 5 } else { u32::from(rounds >= 30) };
    for step in STEPS {
        let count = times(&reached, step);
        assert!(count >= least, "{step} was interrupted {count} times only");
    }
}
