//! The outside of a simulated run: partitions with their logs, the group that assigns them, and
//! everything that was ever durable or visible.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::log::{Partition, Shape, make_partitions};
use crate::component::Record;
use crate::component::SourceEvent;
use crate::component::checkpoint::{Key, Stored};
use crate::component::decoder::Versioning;
use crate::component::source::PartitionStart;
use crate::event::{PartitionId, Position};
use crate::testing::MemoryStore;
use crate::testing::staging::MemoryStaging;

/// A document with its version.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Doc {
    pub(super) version: i64,
    /// `None`: a tombstone.
    pub(super) value: Option<i64>,
}

/// One write of a record.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) record: Record,
    pub(super) seq: u64,
    /// The process that sent it.
    pub(super) process: u32,
}

/// A row of a visible file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) position: u64,
    pub(super) op: String,
    pub(super) value: i64,
    pub(super) version: i64,
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
    /// The machine of all processes loses its power at this call.
    pub(super) power_at: Option<u64>,
    /// Told to drain: takes nothing new.
    pub(super) leaving: bool,
    /// It died, froze, or was told to stop at once: staged files may be left of it.
    pub(super) mishap: bool,
    /// The reading side of one of its lanes was killed: it has to fail.
    pub(super) reader_died: bool,
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
    /// What was ever sent as a document: a key's value at a version, and an event's version.
    pub(super) sent: BTreeMap<(String, i64), Option<i64>>,
    pub(super) versions: BTreeMap<(String, u64), i64>,
    /// Every version of every record that was ever durable.
    pub(super) history: BTreeMap<PartitionId, Vec<Written>>,
    /// Writes that a loss of power takes back, with what stood there before.
    pub(super) unsynced: BTreeMap<Key, Option<Stored>>,
    /// How often the power was lost: what was on its way then never arrives.
    pub(super) power_losses: u32,
    /// Nonces that some record version has named.
    pub(super) named: BTreeSet<String>,
    /// Which process wrote the file of a nonce.
    pub(super) authors: BTreeMap<String, u32>,
    /// Visible files already looked at.
    pub(super) seen: BTreeSet<String>,
    /// Their rows, by root and label.
    pub(super) shown: BTreeMap<(String, String), Vec<Row>>,
    /// The control number that each task has last been told: what it processes rows under.
    pub(super) numbers: HashMap<String, u64>,
    /// Rows processed under a smaller number may not become visible any more.
    pub(super) barrier: u64,
    /// Faults left to inject.
    pub(super) faults_left: u32,
    pub(super) fault_rate: f64,
    /// No more faults: everything comes to rest.
    pub(super) calm: bool,
    /// How likely a call takes seconds.
    pub(super) dawdling: f64,
    /// How likely a log grows in half a second.
    pub(super) pace: f64,
    /// Epochs stay open for long.
    pub(super) slow_commits: bool,
    /// Calls of one kind fail until then.
    pub(super) throttled: Option<(String, Instant)>,
    /// Nothing goes wrong but that the document sink fails now and then: what is left staged then
    /// was left by an epoch that was given up.
    pub(super) gentle: bool,
    /// No lane of a good run meets more dead letters.
    pub(super) letters_most: u32,
    /// Hash over every call, for the determinism test.
    pub(super) trace: u64,
    pub(super) log: Vec<String>,
    pub(super) verbose: bool,
    /// The first broken promise.
    pub(super) violation: Option<String>,
    /// The first thing that would break one sooner or later: told where nothing worse is found.
    pub(super) suspicion: Option<String>,
}

/// The root of a place of staged files.
pub(super) fn root_of(staging: &MemoryStaging) -> String {
    crate::sinks::staging::Staging::root(staging).to_owned()
}

/// The outside of one run. Clones share it.
#[derive(Clone)]
pub(super) struct World {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) store: Arc<MemoryStore>,
    /// Every kept row.
    pub(super) lake: MemoryStaging,
    /// The rows that its own `where` keeps.
    pub(super) narrow: MemoryStaging,
    pub(super) letters: MemoryStaging,
    /// The group has something to say.
    pub(super) changed: Arc<tokio::sync::Notify>,
    /// A log has grown.
    pub(super) produced: Arc<tokio::sync::Notify>,
}

impl World {
    pub(super) fn new(seed: u64, verbose: bool) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let shards = rng.random_bool(0.5);
        let grouped = rng.random_bool(0.7);
        let versioning =
            if shards { Versioning::Ordinal } else { Versioning::Position { base: 1 << 36 } };
        let finite = !grouped && rng.random_bool(0.7);
        let shape = Shape { shards, finite, ranges: finite && !shards };
        let partitions = make_partitions(&mut rng, shape);
        let gentle = rng.random_bool(0.15);
        let rates = if gentle { [0.1, 0.2, 0.4] } else { [0.0, 0.03, 0.1] };
        let fault_rate = rates[rng.random_range(0..3)];
        let dawdling = match rng.random_bool(0.3) {
            // A flush that takes long is dropped when the control record changes, which leaves
            // files for the sweep: not what a gentle run looks for.
            _ if gentle => 0.0,
            true => 0.1,
            false => 0.02,
        };
        let pace = if rng.random_bool(0.3) { 0.2 } else { 0.6 };
        let slow_commits = rng.random_bool(0.5);
        let letters = partitions.values().map(|partition| partition.letters(u64::MAX).count());
        let letters_most = letters.max().unwrap_or_default() as u32;
        let state = State {
            rng,
            versioning,
            grouped,
            newest: 0,
            partitions,
            members: BTreeMap::new(),
            docs: BTreeMap::new(),
            sent: BTreeMap::new(),
            versions: BTreeMap::new(),
            history: BTreeMap::new(),
            unsynced: BTreeMap::new(),
            power_losses: 0,
            named: BTreeSet::new(),
            authors: BTreeMap::new(),
            seen: BTreeSet::new(),
            shown: BTreeMap::new(),
            numbers: HashMap::new(),
            barrier: 0,
            faults_left: 40,
            fault_rate,
            calm: false,
            dawdling,
            pace,
            slow_commits,
            throttled: None,
            gentle,
            letters_most,
            trace: seed,
            log: Vec::new(),
            verbose,
            violation: None,
            suspicion: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            store: Arc::new(MemoryStore::new("simulated")),
            lake: MemoryStaging::new("lake"),
            narrow: MemoryStaging::new("narrow"),
            letters: MemoryStaging::new("letters"),
            changed: Arc::new(tokio::sync::Notify::new()),
            produced: Arc::new(tokio::sync::Notify::new()),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every place of staged files.
    pub(super) fn stagings(&self) -> [&MemoryStaging; 3] {
        [&self.lake, &self.narrow, &self.letters]
    }

    pub(super) fn suspect(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(|| format!("SUSPICION {what}"));
        self.state().suspicion.get_or_insert(what);
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

    /// A hash over every call so far, every document of the store and every visible file.
    pub(super) fn trace(&self) -> u64 {
        let mut trace = self.state().trace;
        let mut mix = |bytes: &[u8]| {
            for byte in bytes {
                trace = trace.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte);
            }
        };
        for (key, stored) in self.store.snapshot() {
            mix(key.to_string().as_bytes());
            mix(&stored.body);
        }
        for staging in self.stagings() {
            for (key, file) in &staging.files().visible {
                mix(key.as_bytes());
                mix(file.identity.nonce.as_bytes());
                mix(&file.bytes);
            }
        }
        trace
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
        let described = &state.partitions[partition];
        PartitionStart {
            partition: partition.clone(),
            stream: "stream".into(),
            label: described.label.as_str().into(),
            start: Position::Offset(described.start),
            versioning: state.versioning,
            identity: serde_json::json!({ "topic": "simulated" }),
            parents: described.parents.clone(),
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
            .filter(|shard| shard.has_ended())
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
        let mut changes = Vec::new();
        for id in ids {
            let wants = wanted.remove(&id).unwrap_or_default();
            let graceful = state.rng.random_bool(0.7) || state.gentle;
            let Some(member) = state.members.get_mut(&id) else { continue };
            let taken: Vec<PartitionId> = member.assigned.difference(&wants).cloned().collect();
            let given: Vec<PartitionId> = wants.difference(&member.assigned).cloned().collect();
            changes.push((id, given.clone(), taken.clone(), graceful && !member.frozen));
            if !taken.is_empty() {
                let graceful = graceful && !member.frozen;
                member.mishap |= !graceful;
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
        for (id, given, taken, graceful) in changes {
            let how = if graceful { "revoked" } else { "lost" };
            if !given.is_empty() || !taken.is_empty() {
                self.note(|| format!("the group: p{id} given {given:?}, {how} {taken:?}"));
            }
        }
        self.changed.notify_waiters();
    }
}
