//! An archive into an index of a real node, while a proxy spoils exchanges with it, the node is killed
//! or blocked, and runs are killed or frozen at chosen steps. Then the documents must be the fold of
//! the change log: none stale, none missing, none resurrected.
//!
//! Each schedule follows from its seed. More of them:
//! `ACEQUIA_SCHEDULES=100 cargo test --test it opensearch::schedules -- --nocapture`, from another seed
//! on: `ACEQUIA_SCHEDULE_FIRST=100`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use ::opensearch::http::Method;
use acequia::runtime::protocol::Step;
use acequia::testing::fault_proxy::FaultProxy;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Document, Index};
use crate::aimed::{Moment, Reached, Watched, note, rarest};
use crate::changes::id;
use crate::program::{Folder, PROGRAM, asked};
use crate::services::Service as _;
use crate::services::opensearch::OpenSearch;

const FILES: [&str; 2] = ["a", "b"];
const CHANGES: usize = 1_200;
/// Keys of one file: few enough that each changes often.
const KEYS: usize = 150;
/// What a run may take, with everything that is spoiled: a request that is never answered is waited
/// for half a minute, and sent again.
const LONGEST: Duration = Duration::from_secs(120);

/// The change log of one file, and what its documents are in the end: the number of the change, and
/// the text.
fn change_log(random: &mut StdRng, file: &str) -> (String, BTreeMap<String, (usize, String)>) {
    let (mut lines, mut fold) = (String::new(), BTreeMap::new());
    for number in 0..CHANGES {
        let key = random.random_range(0..KEYS);
        let user = format!("{file}-{key}");
        let text = format!("cambio {number}");
        let (op, role, intent) = match random.random_range(0..20) {
            0..3 => ("delete", "user", ""),
            3 => ("expire", "user", ""),
            // The filter takes it out of the index.
            4..6 => ("update", "system", ""),
            // No number, as the mapping wants one: a dead letter, and the older document stays.
            6 => ("upsert", "user", "none"),
            7..10 => ("insert", "user", "7"),
            _ => ("upsert", "user", ""),
        };
        let mut line = json!({
            "_op": op, "user_id": user, "timestamp": format!("2024-01-{:02}T10:30:00.000Z", 1 + key % 28),
            "role": role, "content": text,
        });
        if !intent.is_empty() {
            line["metadata"] = json!({ "intent": intent });
        }
        lines += &format!("{line}\n");
        let id = id(key).replace("user-", &format!("{file}-"));
        match (op, role, intent) {
            ("delete", ..) | (_, "system", _) => drop(fold.remove(&id)),
            ("expire", ..) | (_, _, "none") => {}
            _ => drop(fold.insert(id, (number, text))),
        }
    }
    (lines, fold)
}

/// One schedule, while it runs.
struct Schedule<'a> {
    node: &'a mut OpenSearch,
    random: StdRng,
    folder: Folder,
    index: Index,
    proxy: FaultProxy,
    expected: Vec<BTreeMap<String, (usize, String)>>,
}

impl<'a> Schedule<'a> {
    fn new(seed: u64, node: &'a mut OpenSearch) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let upstream = SocketAddr::from(([127, 0, 0, 1], node.port()));
        let proxy = FaultProxy::start(upstream, seed, random.random_range(0..=150)).unwrap();
        let (folder, index) = (Folder::new(), Index::new(node, "schedule"));
        folder.pipeline(&format!(
            "source: {{ archive: {{ path: \"*.ndjson\", format: plain, range_size: 64KiB }} }}\n\
             transforms: [ {{ sql: \"SELECT * FROM changes WHERE role <> 'system'\" }} ]\n\
             sinks:\n  \
             lake: {{ parquet: {{ url: lake, partition: {{ by: month, time: timestamp }} }} }}\n  \
             search: {{ opensearch: {{ url: \"{}\", index: {}, replicas: 0, bulk_size: 16KiB, \
             mapping: {{ metadata.intent: {{ type: long }} }} }} }}\n\
             dead_letters: {{ url: dead-letters }}\n\
             commit: {{ every: 200ms, size: 32KiB, min_size: 1KiB, max_age: 500ms }}\n",
            proxy.endpoint(),
            index.name
        ));
        let mut expected = Vec::new();
        for file in FILES {
            let (lines, fold) = change_log(&mut random, file);
            folder.write(&format!("{file}.ndjson"), lines);
            expected.push(fold);
        }
        Self { node, random, folder, index, proxy, expected }
    }

    fn run(&self, moment: Option<Moment>, signal: Signal, more: &[&str]) -> Watched {
        let args = [&["run", "pipeline.yaml", "--log", "info", "--log-format", "json"], more];
        let mut command = self.folder.command(PROGRAM, &args.concat());
        command.stdout(Stdio::null());
        let aim = match moment {
            Some(Moment::At { step, count }) => Some((step, count, signal)),
            _ => None,
        };
        Watched::start(command, aim)
    }

    /// A step that was interrupted least so far, or any moment.
    fn draw(&mut self, reached: &Reached) -> Moment {
        if self.random.random_bool(0.3) {
            return Moment::After(Duration::from_millis(self.random.random_range(100..1_500)));
        }
        let step = rarest(&mut self.random, reached);
        let most = if matches!(step, Step::Fence | Step::Recover) { 3 } else { 8 };
        Moment::At { step, count: self.random.random_range(1..=most) }
    }

    fn killed(&mut self, reached: &mut Reached) {
        let moment = self.draw(reached);
        let mut life = self.run(Some(moment), Signal::KILL, &[]);
        life.interrupt_within(LONGEST, moment, Signal::KILL);
        if !life.end(LONGEST).success() {
            note(reached, life.last());
        }
    }

    /// A run that is frozen, while another one takes its partitions over and finishes; then it may go
    /// on with whatever it was about to send.
    fn frozen(&mut self, reached: &mut Reached) {
        let moment = self.draw(reached);
        let mut life = self.run(Some(moment), Signal::STOP, &[]);
        life.interrupt_within(LONGEST, moment, Signal::STOP);
        if life.child.try_wait().unwrap().is_none() {
            note(reached, life.last());
        }
        let mut other = self.run(None, Signal::KILL, &["--take-over"]);
        let status = other.end_while_frozen(&life, LONGEST);
        assert!(status.success(), "{status}:\n{}", other.text());
        life.signal(Signal::CONT);
        let status = life.end(LONGEST);
        assert!(matches!(status.code(), Some(0 | 3)), "{status}:\n{}", life.text());
    }

    /// Something happens to the node under a run that has begun, and passes.
    fn disturbed(&mut self) -> &'static str {
        let mut run = self.run(None, Signal::KILL, &[]);
        while run.last().is_none() && run.child.try_wait().unwrap().is_none() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let wait = |random: &mut StdRng, most| {
            std::thread::park_timeout(Duration::from_millis(random.random_range(0..most)));
        };
        wait(&mut self.random, 800);
        let settings = format!("/{}/_settings", self.index.behind());
        let block = |name: &str, value: Value| {
            self.index.ask(Method::Put, &settings, Some(json!({ name: value })));
        };
        let what = match self.random.random_range(0..4) {
            0 => {
                self.node.server.kill();
                self.node.server.restart();
                "killed"
            }
            1 => {
                block("index.blocks.write", json!(true));
                wait(&mut self.random, 2_000);
                block("index.blocks.write", Value::Null);
                "write block"
            }
            2 => {
                block("index.blocks.read_only_allow_delete", json!(true));
                wait(&mut self.random, 2_000);
                block("index.blocks.read_only_allow_delete", Value::Null);
                "full disk"
            }
            _ => {
                let body = r#"{"error":{"type":"circuit_breaking_exception","reason":"injected"},"status":429}"#;
                self.proxy.refuse(
                    "_bulk",
                    &format!(
                        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                        body.len()
                    ),
                );
                wait(&mut self.random, 2_000);
                self.proxy.allow();
                "429"
            }
        };
        run.ends_well(LONGEST);
        what
    }

    fn play(&mut self, reached: &mut Reached, disturbed: &mut BTreeMap<&'static str, u32>) {
        for _ in 0..self.random.random_range(1..=3) {
            match self.random.random_range(0..10) {
                0..4 => *disturbed.entry(self.disturbed()).or_default() += 1,
                4..7 => self.frozen(reached),
                _ => self.killed(reached),
            }
        }
        self.proxy.spoil(0);
        let mut last = self.run(None, Signal::KILL, &[]);
        last.ends_well(LONGEST);
    }

    /// The documents are the fold of the change log, and a later change has a higher version.
    fn check(&self) {
        let found = self.index.documents();
        let count: usize = self.expected.iter().map(BTreeMap::len).sum();
        for fold in &self.expected {
            let mut versions = Vec::new();
            for (id, (number, text)) in fold {
                let Some((version, document)) = found.get(id) else { panic!("{id} is missing") };
                assert_eq!(document["content"], *text, "{id} is stale");
                versions.push((*number, *version));
            }
            versions.sort_unstable();
            assert!(versions.is_sorted_by(|left, right| left.1 < right.1), "{versions:?}");
        }
        let known = |id: &String| self.expected.iter().any(|fold| fold.contains_key(id));
        let risen: Option<(&String, &Document)> = found.iter().find(|(id, _)| !known(id));
        assert_eq!((risen, found.len()), (None, count), "documents that were deleted");
    }
}

#[test]
fn documents_are_the_fold_of_the_change_log_after_any_schedule() {
    let Some(mut node) = OpenSearch::start_or_skip("opensearch::schedules") else { return };
    let (count, first) =
        (asked("ACEQUIA_SCHEDULES").unwrap_or(4), asked("ACEQUIA_SCHEDULE_FIRST").unwrap_or(0));
    let (mut reached, mut disturbed) = (Reached::new(), BTreeMap::new());
    let mut spoiled = BTreeMap::new();
    for seed in first..first + count {
        let began = std::time::Instant::now();
        println!("schedule {seed}");
        let mut schedule = Schedule::new(seed, &mut node);
        schedule.play(&mut reached, &mut disturbed);
        schedule.check();
        let took = began.elapsed();
        println!("schedule {seed}: {took:.1?}, spoiled {:?}", schedule.proxy.counts());
        for (fault, count) in schedule.proxy.counts() {
            *spoiled.entry(fault).or_insert(0) += count;
        }
        let path = format!("/{}", schedule.index.behind());
        schedule.index.ask(Method::Delete, &path, None);
    }
    println!("interrupted after the announcement of {reached:?}");
    println!("the node was {disturbed:?}; exchanges spoiled: {spoiled:?}");
}
