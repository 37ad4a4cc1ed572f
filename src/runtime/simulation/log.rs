//! What the stream holds: partitions with their logs, drawn from the seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::event::{Operation, PartitionId};

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
    /// The `where` of the narrow sink.
    pub(super) fn kept_narrowly(&self) -> bool {
        self.kept() && self.value % 3 != 0
    }
    /// The document sink refuses it, at its flush.
    pub(super) fn refused(&self) -> bool {
        self.value % 11 == 5
    }
}

/// One partition of the stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Partition {
    /// What its rows carry: several ranges of one file share it.
    pub(super) label: String,
    /// Where it begins.
    pub(super) start: u64,
    pub(super) log: Arc<Vec<LogEvent>>,
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
        self.log.last().map_or(self.start, |event| event.position + 1)
    }

    /// True where readers see that nothing follows.
    pub(super) fn has_ended(&self) -> bool {
        self.closes && self.produced == self.log.len()
    }

    /// Events that become dead letters, below `end`.
    pub(super) fn letters(&self, end: u64) -> impl Iterator<Item = (&LogEvent, &'static str)> {
        self.log.iter().filter(move |event| event.position < end).filter_map(|event| {
            let refused = !event.op.removes() && event.kept() && event.refused();
            match (event.poison, refused) {
                (true, _) => Some((event, "decode")),
                (false, true) => Some((event, "sink:docs")),
                (false, false) => None,
            }
        })
    }
}

/// How a run's partitions are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Shards that split into children; else files or topic-partitions.
    pub(super) shards: bool,
    /// Files that are cut into ranges, each a partition of its own under one label.
    pub(super) ranges: bool,
    /// Every partition has an end.
    pub(super) finite: bool,
}

/// The partitions of one run. Those of a lineage sort parents first.
pub(super) fn make_partitions(
    rng: &mut SmallRng,
    shape: Shape,
) -> BTreeMap<PartitionId, Partition> {
    let roots = rng.random_range(1..=3);
    let mut partitions = BTreeMap::new();
    for root in 0..roots {
        let name = format!("p{root}");
        let id = PartitionId::new(name.clone());
        let count = rng.random_range(3..40);
        let mut alive = BTreeMap::new();
        let mut partition = Partition {
            listed: true,
            closes: shape.shards || shape.finite,
            label: name.clone(),
            log: Arc::new(make_log(rng, root, None, count, &mut alive)),
            ..Partition::default()
        };
        if shape.shards {
            for side in 0..2u32 {
                let name = format!("p{root}.{side}");
                let child = PartitionId::new(name.clone());
                let count = rng.random_range(0..25);
                let log = Arc::new(make_log(rng, root, Some(side), count, &mut alive));
                partition.children.push(child.clone());
                let parents = vec![id.clone()];
                let closes = rng.random_bool(0.5) || shape.finite;
                let label = name;
                partitions.insert(
                    child,
                    Partition { log, closes, parents, label, ..Partition::default() },
                );
            }
        }
        if shape.ranges {
            cut_into_ranges(rng, &name, partition, &mut partitions);
        } else {
            partitions.insert(id, partition);
        }
    }
    partitions
}

/// Cut one file into one to three ranges under its label.
fn cut_into_ranges(
    rng: &mut SmallRng,
    name: &str,
    mut whole: Partition,
    partitions: &mut BTreeMap<PartitionId, Partition>,
) {
    for number in 0.. {
        let last = number == 2 || whole.log.len() < 2;
        let cut = if last { whole.log.len() } else { rng.random_range(1..=whole.log.len()) };
        let rest = Arc::make_mut(&mut whole.log).split_off(cut);
        let end = whole.end();
        let id = PartitionId::new(format!("{name}#{number}"));
        let next = Partition { log: Arc::new(rest), start: end, ..whole.clone() };
        partitions.insert(id, whole);
        if next.log.is_empty() {
            return;
        }
        whole = next;
    }
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
