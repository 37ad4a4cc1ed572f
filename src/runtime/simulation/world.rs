//! The outside of a simulated run: partitions with their logs, the group that assigns them, and
//! everything that was ever durable or visible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::component::Record;
use crate::component::SourceEvent;
use crate::component::decoder::Versioning;
use crate::component::source::PartitionStart;
use crate::event::{Operation, PartitionId, Position};
use crate::testing::MemoryStore;
use crate::testing::staging::MemoryStaging;

/// What one event is, as the log holds it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LogEvent {
    pub(super) position: u64,
    pub(super) key: String,
    pub(super) op: Operation,
    pub(super) value: i64,
    /// Not decodable.
    pub(super) poison: bool,
}

impl LogEvent {
    /// The pipeline's filter.
    pub(super) fn kept(&self) -> bool {
        self.value % 4 != 0
    }
    /// The document sink refuses it, at its flush.
    pub(super) fn refused(&self) -> bool {
        self.value % 11 == 5
    }
}

/// One partition of the stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Partition {
    pub(super) log: Vec<LogEvent>,
    /// Events that readers see so far.
    pub(super) produced: usize,
    /// No more events follow `log`.
    pub(super) closes: bool,
    pub(super) parents: Vec<PartitionId>,
    pub(super) children: Vec<PartitionId>,
    /// Known to the group: roots from the start, children once a parent has ended.
    pub(super) listed: bool,
    /// Its parent has split.
    pub(super) split_off: bool,
    /// Highest position advised.
    pub(super) advised: u64,
}

impl Partition {
    /// The position behind the last event.
    pub(super) fn end(&self) -> u64 {
        self.log.last().map_or(0, |event| event.position + 1)
    }
}

/// A document with its version.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Doc {
    pub(super) version: i64,
    /// `None`: a tombstone.
    pub(super) value: Option<i64>,
}

/// One simulated process, as the outside sees it.
#[derive(Debug, Default)]
pub(super) struct Member {
    pub(super) alive: bool,
    pub(super) frozen: bool,
    /// What the group gives it.
    pub(super) assigned: BTreeSet<PartitionId>,
    /// What it has not been told yet.
    pub(super) inbox: Vec<SourceEvent>,
    pub(super) calls: u64,
    /// Die at this call.
    pub(super) crash_at: Option<u64>,
    /// Freeze at this call.
    pub(super) freeze_at: Option<u64>,
    /// Told to drain: takes nothing new.
    pub(super) leaving: bool,
}

/// Everything outside the processes.
#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: SmallRng,
    pub(super) versioning: Versioning,
    /// A group assigns partitions; else each run takes all of them, and the newest wins.
    pub(super) grouped: bool,
    /// The process of the newest run, where nothing assigns.
    pub(super) newest: u32,
    pub(super) partitions: BTreeMap<PartitionId, Partition>,
    pub(super) members: BTreeMap<u32, Member>,
    pub(super) docs: BTreeMap<String, Doc>,
    /// Every version of every record that was ever durable.
    pub(super) history: BTreeMap<PartitionId, Vec<Record>>,
    /// Nonces that some record version has named.
    pub(super) named: BTreeSet<String>,
    /// Visible files already looked at.
    pub(super) seen: BTreeSet<String>,
    /// Rows processed under a smaller number may not become visible any more.
    pub(super) barrier: u64,
    /// Faults left to inject.
    pub(super) faults_left: u32,
    pub(super) fault_rate: f64,
    /// Hash over every call, for the determinism test.
    pub(super) trace: u64,
    pub(super) log: Vec<String>,
    pub(super) verbose: bool,
    /// The first broken promise.
    pub(super) violation: Option<String>,
}

/// The outside of one run. Clones share it.
#[derive(Clone)]
pub(super) struct World {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) store: Arc<MemoryStore>,
    pub(super) lake: MemoryStaging,
    pub(super) letters: MemoryStaging,
    /// The group has something to say.
    pub(super) changed: Arc<tokio::sync::Notify>,
    /// A log has grown.
    pub(super) produced: Arc<tokio::sync::Notify>,
}

impl World {
    pub(super) fn new(seed: u64, verbose: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let ordinal = rng.random_bool(0.5);
        let versioning =
            if ordinal { Versioning::Ordinal } else { Versioning::Position { base: 1 << 36 } };
        let partitions = make_partitions(&mut rng, ordinal);
        let grouped = rng.random_bool(0.7);
        let fault_rate = [0.0, 0.03, 0.1][rng.random_range(0..3)];
        let state = State {
            rng,
            versioning,
            grouped,
            newest: 0,
            partitions,
            members: BTreeMap::new(),
            docs: BTreeMap::new(),
            history: BTreeMap::new(),
            named: BTreeSet::new(),
            seen: BTreeSet::new(),
            barrier: 0,
            faults_left: 40,
            fault_rate,
            trace: seed,
            log: Vec::new(),
            verbose,
            violation: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            store: Arc::new(MemoryStore::new("simulated")),
            lake: MemoryStaging::new("lake"),
            letters: MemoryStaging::new("letters"),
            changed: Arc::new(tokio::sync::Notify::new()),
            produced: Arc::new(tokio::sync::Notify::new()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn violate(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(|| format!("VIOLATION {what}"));
        self.state().violation.get_or_insert(what);
    }

    pub(super) fn violation(&self) -> Option<String> {
        self.state().violation.clone()
    }

    /// Write a line of the run's story.
    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        let mut state = self.state();
        if state.verbose {
            let line = line();
            println!("{line}");
            state.log.push(line);
        }
    }

    pub(super) fn chance(&self, probability: f64) -> bool {
        self.state().rng.random_bool(probability)
    }

    pub(super) fn draw(&self, range: std::ops::Range<u64>) -> u64 {
        self.state().rng.random_range(range)
    }

    /// How the source describes a partition.
    pub(super) fn describe(&self, partition: &PartitionId) -> PartitionStart {
        let state = self.state();
        PartitionStart {
            partition: partition.clone(),
            stream: "stream".into(),
            label: partition.as_str().into(),
            start: Position::Offset(0),
            versioning: state.versioning,
            identity: serde_json::json!({ "topic": "simulated" }),
            parents: state.partitions[partition].parents.clone(),
            size: None,
        }
    }

    /// Give a run of a source that nothing assigns every partition that is not finished.
    pub(super) fn assign_all(&self, process: u32) {
        let listed: Vec<PartitionId> = {
            let state = self.state();
            let listed = state.partitions.iter().filter(|(_, partition)| partition.listed);
            listed.map(|(id, _)| id.clone()).collect()
        };
        let starts = listed.iter().map(|partition| self.describe(partition)).collect();
        if let Some(member) = self.state().members.get_mut(&process) {
            member.inbox.push(SourceEvent::Assigned(starts));
        }
        self.changed.notify_waiters();
    }

    /// Shards that have been written to their end split: their children are listed. True where one
    /// has.
    pub(super) fn split(&self) -> bool {
        let mut state = self.state();
        let children: Vec<PartitionId> = state
            .partitions
            .values()
            .filter(|shard| shard.closes && shard.produced == shard.log.len())
            .flat_map(|shard| shard.children.clone())
            .collect();
        let mut any = false;
        for child in children {
            if let Some(child) = state.partitions.get_mut(&child)
                && !child.split_off
            {
                (child.split_off, child.listed, any) = (true, true, true);
            }
        }
        any
    }

    /// Spread the listed, unfinished partitions over the members that the group believes alive.
    pub(super) fn rebalance(&self) {
        let mut state = self.state();
        if !state.grouped {
            return;
        }
        let members: Vec<u32> = state
            .members
            .iter()
            .filter(|(_, member)| member.alive && !member.frozen && !member.leaving)
            .map(|(id, _)| *id)
            .collect();
        let listed: Vec<PartitionId> = state
            .partitions
            .iter()
            .filter(|(_, partition)| partition.listed)
            .map(|(id, _)| id.clone())
            .collect();
        let turn = state.rng.random_range(0..8usize);
        let mut wanted: BTreeMap<u32, BTreeSet<PartitionId>> = BTreeMap::new();
        if !members.is_empty() {
            for (index, partition) in listed.into_iter().enumerate() {
                let member = members[(index + turn) % members.len()];
                wanted.entry(member).or_default().insert(partition);
            }
        }
        let ids: Vec<u32> = state.members.keys().copied().collect();
        for id in ids {
            let wants = wanted.remove(&id).unwrap_or_default();
            let graceful = state.rng.random_bool(0.7);
            let Some(member) = state.members.get_mut(&id) else { continue };
            let taken: Vec<PartitionId> = member.assigned.difference(&wants).cloned().collect();
            let given: Vec<PartitionId> = wants.difference(&member.assigned).cloned().collect();
            if !taken.is_empty() {
                let graceful = graceful && !member.frozen;
                member.inbox.push(match graceful {
                    true => SourceEvent::Revoked(taken),
                    false => SourceEvent::Lost(taken),
                });
            }
            member.assigned = wants;
            if !given.is_empty() {
                drop(state);
                let starts = given.iter().map(|partition| self.describe(partition)).collect();
                state = self.state();
                if let Some(member) = state.members.get_mut(&id) {
                    member.inbox.push(SourceEvent::Assigned(starts));
                }
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

fn make_partitions(rng: &mut SmallRng, shards: bool) -> BTreeMap<PartitionId, Partition> {
    let roots = rng.random_range(1..=3);
    let mut partitions = BTreeMap::new();
    for root in 0..roots {
        let id = PartitionId::new(format!("p{root}"));
        let count = rng.random_range(3..40);
        let mut partition = Partition { listed: true, closes: shards, ..Partition::default() };
        let mut alive = BTreeMap::new();
        partition.log = make_log(rng, root, None, count, &mut alive);
        if shards {
            for side in 0..2u32 {
                let child = PartitionId::new(format!("p{root}.{side}"));
                let count = rng.random_range(0..25);
                let log = make_log(rng, root, Some(side), count, &mut alive);
                partition.children.push(child.clone());
                let parents = vec![id.clone()];
                let closes = rng.random_bool(0.5);
                partitions
                    .insert(child, Partition { log, closes, parents, ..Partition::default() });
            }
        }
        partitions.insert(id, partition);
    }
    partitions
}

/// Events over a few keys; `side` keeps the keys of one child shard apart from its sibling's.
fn make_log(
    rng: &mut SmallRng,
    root: u32,
    side: Option<u32>,
    count: usize,
    alive: &mut BTreeMap<String, bool>,
) -> Vec<LogEvent> {
    let mut position = 0;
    (0..count)
        .map(|_| {
            position += if rng.random_bool(0.2) { rng.random_range(1..4) } else { 0 };
            let number = match side {
                None => rng.random_range(0..6),
                Some(side) => rng.random_range(0..3) * 2 + side,
            };
            let key = format!("k{root}-{number}");
            let exists = alive.get(&key).copied().unwrap_or(false);
            let poison = rng.random_bool(0.08);
            let op = match (exists, rng.random_range(0..10)) {
                (false, _) => Operation::Insert,
                (true, 0 | 1) => Operation::Delete,
                (true, 2 | 3) => Operation::Expire,
                (true, _) => Operation::Update,
            };
            if !poison {
                alive.insert(key.clone(), !op.removes());
            }
            let event = LogEvent { position, key, op, value: rng.random_range(0..1000), poison };
            position += 1;
            event
        })
        .collect()
}
