//! The invariants I1 to I10, I12 and I13 of the delivery protocol, checked as things happen and
//! once more at rest.

use std::collections::BTreeMap;

use super::world::{Doc, LogEvent, Partition, World};
use crate::component::checkpoint::{Document, Key};
use crate::component::{Record, Versioning};
use crate::event::{Operation, PartitionId};

/// A row of a visible file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    position: u64,
    op: String,
    value: i64,
    version: i64,
}

pub(super) fn record(world: &World, partition: &PartitionId) -> Option<Record> {
    let key = Key::Record(partition.clone());
    let stored = world.store.peek(&key)?;
    Some(Document::<Record>::decode(&key, &stored.body).unwrap().content)
}

pub(super) fn is_finished(world: &World, partition: &PartitionId) -> bool {
    record(world, partition).is_some_and(|record| record.is_finished())
}

/// A record was written: I1, I2, I4, I8.
pub(super) fn after_swap(world: &World, key: &Key) {
    let Key::Record(partition) = key else { return };
    let Some(new) = record(world, partition) else { return };
    world.note(|| {
        format!(
            "  record {partition}: token {} next {} done {} pending {} control {} closed {}",
            new.token,
            new.next,
            new.done,
            new.pending.is_some(),
            new.control,
            new.closed
        )
    });
    let old = {
        let mut state = world.state();
        let files = new.pending.iter().flat_map(|pending| &pending.files);
        state.named.extend(files.map(|file| file.nonce.clone()));
        let versions = state.history.entry(partition.clone()).or_default();
        let old = versions.last().cloned();
        versions.push(new.clone());
        old
    };
    if let Some(old) = old {
        if new.token < old.token || new.next < old.next || new.control < old.control {
            world.violate(format!("I4: the record of {partition} went back"));
        }
        let pending = new.pending.as_ref().filter(|pending| Some(*pending) != old.pending.as_ref());
        if let Some(pending) = pending
            && (pending.from != old.next || pending.to != new.next)
        {
            world.violate(format!(
                "I1: an epoch of {partition} does not begin where the last ended"
            ));
        }
    }
    if new.next > new.start {
        check_parents(world, partition, "I8: a child has output");
    }
    check_prefix(world, partition, new.finalised().offset().unwrap_or_default(), "I2");
}

/// Files changed: I3, I5, I13.
pub(super) fn after_staging(world: &World, point: &str) {
    if point == "complete:after" {
        for staging in [&world.lake, &world.letters] {
            let files: Vec<(String, Vec<u8>)> = staging
                .files()
                .visible
                .values()
                .map(|file| (file.identity.nonce.clone(), file.bytes.clone()))
                .collect();
            for (nonce, bytes) in files {
                check_new_file(world, &nonce, &bytes);
            }
        }
    }
    if point == "abort:after" {
        let partitions: Vec<PartitionId> = world.state().partitions.keys().cloned().collect();
        for partition in partitions {
            let Some(pending) = record(world, &partition).and_then(|record| record.pending) else {
                continue;
            };
            for file in pending.files {
                let there = [&world.lake, &world.letters].iter().any(|staging| {
                    let files = staging.files();
                    files.staged.contains_key(&file.upload) && file.root == root_of(world, staging)
                        || files.visible.contains_key(&file.key)
                });
                if !there {
                    world.violate(format!(
                        "I5: a file that the record of {partition} names is gone"
                    ));
                }
            }
        }
    }
}

fn root_of(world: &World, staging: &crate::testing::staging::MemoryStaging) -> &'static str {
    if std::ptr::eq(staging, &raw const world.lake) { "lake" } else { "letters" }
}

fn check_new_file(world: &World, nonce: &str, bytes: &[u8]) {
    let (named, barrier) = {
        let mut state = world.state();
        if !state.seen.insert(nonce.to_owned()) {
            return;
        }
        (state.named.contains(nonce), state.barrier)
    };
    if !named {
        world.violate("I3: a file is visible that no record ever named");
    }
    for line in std::str::from_utf8(bytes).unwrap().lines() {
        let control: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        if control < barrier {
            world.violate(format!(
                "I13: a row processed under control number {control} became visible after the barrier for {barrier}"
            ));
        }
    }
}

/// A reader opens: the process must have fenced, and parents must be done.
pub(super) fn on_open(world: &World, partition: &PartitionId, process: u32) {
    let owner = super::scenario::owner(process);
    let fenced = world.state().history.get(partition).is_some_and(|versions| {
        versions
            .iter()
            .any(|record| record.owner.as_ref().is_some_and(|found| found.uuid == owner.uuid))
    });
    if !fenced {
        world.violate(format!("p{process} reads {partition} without a fence"));
    }
    check_parents(world, partition, "I8: a child opens");
}

fn check_parents(world: &World, partition: &PartitionId, what: &str) {
    let parents = world.state().partitions[partition].parents.clone();
    for parent in parents {
        if !is_finished(world, &parent) {
            world.violate(format!("{what} before {parent} is closed and finalised ({partition})"));
        }
    }
}

/// The source is advised: I9.
pub(super) fn on_advise(world: &World, partition: &PartitionId, done: u64) {
    {
        let mut state = world.state();
        if let Some(partition) = state.partitions.get_mut(partition) {
            partition.advised = partition.advised.max(done);
        }
    }
    check_prefix(world, partition, done, "I9");
}

/// Every event below `finalised` is visible exactly once, as row or dead letter; what lies above
/// belongs to an epoch that the record names.
fn check_prefix(world: &World, partition: &PartitionId, finalised: u64, invariant: &str) {
    let log = world.state().partitions[partition].clone();
    for (staging, expected) in [
        (&world.lake, expected_rows(&log, finalised)),
        (&world.letters, expected_letters(&log, finalised)),
    ] {
        let rows = visible_rows(staging, partition);
        let mut below: Vec<(u64, String, i64)> = rows
            .iter()
            .filter(|row| row.position < finalised)
            .map(|row| (row.position, row.op.clone(), row.value))
            .collect();
        below.sort();
        if below != expected {
            world.violate(format!(
                "{invariant}: below position {finalised} of {partition} the outside shows {below:?}, the log says {expected:?}"
            ));
        }
        let prepared =
            record(world, partition).map_or(0, |record| record.next.offset().unwrap_or(0));
        if rows.iter().any(|row| row.position >= prepared) {
            world
                .violate(format!("I3: rows of {partition} are visible past the record's position"));
        }
    }
}

fn visible_rows(
    staging: &crate::testing::staging::MemoryStaging,
    partition: &PartitionId,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for file in staging.files().visible.values() {
        for line in std::str::from_utf8(&file.bytes).unwrap().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            if words[0] == partition.as_str() {
                rows.push(Row {
                    position: words[1].parse().unwrap(),
                    version: words[2].parse().unwrap(),
                    op: words[4].to_owned(),
                    value: words[5].parse().unwrap(),
                });
            }
        }
    }
    rows.sort();
    rows
}

fn expected_rows(partition: &Partition, end: u64) -> Vec<(u64, String, i64)> {
    let row = |event: &LogEvent| {
        let (op, value) = match event.op {
            _ if event.poison => return None,
            op if op.removes() || event.kept() => (op, event.value),
            Operation::Insert => return None,
            _ => (Operation::Delete, -1),
        };
        Some((event.position, op.to_string(), value))
    };
    partition.log.iter().filter(|event| event.position < end).filter_map(row).collect()
}

fn expected_letters(partition: &Partition, end: u64) -> Vec<(u64, String, i64)> {
    let letter = |event: &LogEvent| {
        let refused = !event.op.removes() && event.kept() && event.refused();
        let stage = match (event.poison, refused) {
            (true, _) => "decode",
            (false, true) => "sink:docs",
            (false, false) => return None,
        };
        Some((event.position, stage.to_owned(), 0))
    };
    partition.log.iter().filter(|event| event.position < end).filter_map(letter).collect()
}

/// True where every partition has been read and published to its end.
pub(super) fn lag_is_zero(world: &World) -> bool {
    let partitions = world.state().partitions.clone();
    partitions.iter().all(|(id, partition)| {
        let done = record(world, id).map_or(0, |record| record.finalised().offset().unwrap_or(0));
        let ended = !partition.closes || is_finished(world, id);
        done >= partition.end() && ended
    })
}

/// Everything has ended: I2 and I12 over the whole log, I6, I7.
pub(super) fn at_rest(world: &World) {
    let partitions = world.state().partitions.clone();
    for (id, partition) in &partitions {
        check_prefix(world, id, partition.end(), "I2 and I12 at rest");
        check_versions(world, id, partition);
        let Some(record) = record(world, id) else { continue };
        if record.pending.is_some() {
            world.violate(format!("I6: {id} has a pending epoch at rest"));
        }
        let tag = crate::sinks::file_name::partition_tag("simulated", id);
        for staging in [&world.lake, &world.letters] {
            for file in staging.files().staged.values() {
                let name = crate::sinks::file_name::FileName::parse(&file.key).unwrap();
                if name.partition_tag == tag && name.token < record.token {
                    world.violate(format!("I6: a file of an older token is left of {id}"));
                }
            }
        }
    }
    check_documents(world, &partitions);
}

/// Positions give the version; ordinals rise by one with each event of the partition.
fn check_versions(world: &World, id: &PartitionId, partition: &Partition) {
    let versioning = world.state().versioning;
    let mut first = None;
    for row in visible_rows(&world.lake, id) {
        let expected = match versioning {
            Versioning::Position { base } => base + row.position as i64,
            Versioning::Ordinal => {
                let index = partition.log.iter().position(|event| event.position == row.position);
                let index = index.unwrap() as i64;
                *first.get_or_insert(row.version - index) + index
            }
        };
        if row.version != expected {
            world.violate(format!(
                "I7: {id} position {} has another version after a re-read",
                row.position
            ));
        }
    }
}

/// The documents are the fold of the log per key, in the order of lineage and position.
fn check_documents(world: &World, partitions: &BTreeMap<PartitionId, Partition>) {
    let mut folded: BTreeMap<String, Option<i64>> = BTreeMap::new();
    // A child's name sorts behind its parent's.
    for event in partitions.values().flat_map(|partition| &partition.log) {
        if event.poison || event.op == Operation::Expire {
            continue;
        }
        let value = match event.op {
            Operation::Delete => None,
            _ if event.kept() && event.refused() => continue,
            _ if event.kept() => Some(event.value),
            Operation::Insert => continue,
            _ => None,
        };
        folded.insert(event.key.clone(), value);
    }
    let documents: BTreeMap<String, Option<i64>> =
        world.state().docs.iter().map(|(key, Doc { value, .. })| (key.clone(), *value)).collect();
    if documents != folded {
        world
            .violate(format!("I7: documents {documents:?} are not the fold of the log {folded:?}"));
    }
}
