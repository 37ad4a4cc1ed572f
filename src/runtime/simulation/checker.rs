//! The invariants of the delivery protocol over records, source and documents, checked as things
//! happen and once more at rest. [`super::files`] has those over the lake.

use std::collections::BTreeMap;

use super::files::{self, check_prefix, visible_rows};
use super::log::Partition;
use super::world::{Doc, World, Written, root_of};
use crate::component::checkpoint::{Document, Key};
use crate::component::{Record, Versioning};
use crate::event::{DeadLetter, Operation, PartitionId, Position};
use crate::sinks::file_name::{FileName, partition_tag};

/// The record as it was last written: kept from then, since reading it anew costs time.
pub(super) fn record(world: &World, partition: &PartitionId) -> Option<Record> {
    let state = world.state();
    Some(state.history.get(partition)?.last()?.record.clone())
}

fn written(world: &World, partition: &PartitionId) -> Option<Document<Record>> {
    let key = Key::Record(partition.clone());
    let stored = world.store.peek(&key)?;
    Some(Document::<Record>::decode(&key, &stored.body).unwrap())
}

pub(super) fn is_finished(world: &World, partition: &PartitionId) -> bool {
    let state = world.state();
    let last = state.history.get(partition).and_then(|versions| versions.last());
    last.is_some_and(|written| written.record.is_finished())
}

/// True where a source that nothing assigns has nothing more to hand out.
pub(super) fn source_has_ended(world: &World) -> bool {
    !world.state().grouped && unfinished(world).is_none()
}

/// A partition that has not been read and published to its end.
pub(super) fn unfinished(world: &World) -> Option<PartitionId> {
    let partitions: Vec<PartitionId> = world.state().partitions.keys().cloned().collect();
    partitions.into_iter().find(|partition| !is_finished(world, partition))
}

fn offset(position: &Position) -> u64 {
    position.offset().unwrap_or_default()
}

/// A record was written by `process`: I1, I2, I4, I5, I7, I8, I13.
pub(super) fn after_swap(world: &World, key: &Key, process: u32) {
    let Key::Record(partition) = key else { return };
    let Some(document) = written(world, partition) else { return };
    let (new, seq) = (document.content, document.revision.seq);
    world.note(|| {
        format!(
            "  record {partition}: seq {seq} token {} next {} done {} pending {} control {} closed {}",
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
        versions.push(Written { record: new.clone(), seq, process });
        old
    };
    let log = world.state().partitions[partition].clone();
    if let Some(old) = old {
        let new = Written { record: new.clone(), seq, process };
        check_rises(world, partition, &old, &new);
        check_chain(world, partition, &log, &old.record, &new.record);
    }
    if new.closed && (!log.has_ended() || offset(&new.next) < log.end()) {
        world.violate(format!("I1: the record of {partition} is closed before its log has ended"));
    }
    if new.next > new.start {
        check_parents(world, partition, "I8: a child has output");
    }
    named_files_are_there(world, "I5: at a write of a record");
    files::check_numbers(world, partition, &new);
    check_prefix(world, partition, offset(new.finalised()), "I2");
    if new.is_finished() {
        world.changed.notify_waiters();
    }
}

/// I4: what may only rise does, and one process writes under one token.
fn check_rises(world: &World, partition: &PartitionId, old: &Written, new: &Written) {
    if new.seq != old.seq + 1 {
        world.violate(format!("I4: write {} of {partition} follows write {}", new.seq, old.seq));
    }
    let taker = new.process != old.process && new.record.token <= old.record.token;
    if taker {
        world.violate(format!(
            "I4: p{} writes the record of {partition} under token {} of p{}",
            new.process, new.record.token, old.process
        ));
    }
    let (new, old) = (&new.record, &old.record);
    for (what, fell) in [
        ("token", new.token < old.token),
        ("next", new.next < old.next),
        ("control", new.control < old.control),
        ("done", new.done < old.done),
        ("ordinal_next", new.ordinal_next < old.ordinal_next),
        ("closed", old.closed && !new.closed),
        ("start", new.start != old.start),
        ("last epoch", new.last_epoch() < old.last_epoch()),
    ] {
        if fell {
            world.violate(format!("I4: {what} of the record of {partition} went back"));
        }
    }
}

/// I1: each epoch begins where the last one ended, with files or without; I7: and so do its
/// ordinals.
fn check_chain(
    world: &World,
    partition: &PartitionId,
    log: &Partition,
    old: &Record,
    new: &Record,
) {
    let epochs = new.last_epoch() - old.last_epoch().min(new.last_epoch());
    let moved = new.next != old.next;
    if epochs > 1 || (moved && epochs != 1) {
        world.violate(format!("I1: {epochs} epochs of {partition} end with one write"));
    }
    let pending = new.pending.as_ref().filter(|pending| Some(*pending) != old.pending.as_ref());
    if let Some(pending) = pending
        && (pending.from != old.next || pending.to != new.next)
    {
        world.violate(format!("I1: an epoch of {partition} does not begin where the last ended"));
    }
    if let Some(pending) = pending
        && pending.ordinal_from != old.ordinal_next
    {
        world.violate(format!("I7: an epoch of {partition} begins with another ordinal"));
    }
    let range = offset(&old.next)..offset(&new.next);
    let events = log.log.iter().filter(|event| range.contains(&event.position)).count();
    if new.ordinal_next - old.ordinal_next != events as i64 {
        world.violate(format!(
            "I7: {events} events of {partition} took {} ordinals",
            new.ordinal_next - old.ordinal_next
        ));
    }
}

/// I5: what a present record names is staged or visible.
pub(super) fn named_files_are_there(world: &World, when: &str) {
    let pending = {
        let state = world.state();
        let records = state.history.values().filter_map(|versions| versions.last());
        let pending = records.filter_map(|written| {
            Some((written.record.partition.clone(), written.record.pending.clone()?))
        });
        pending.collect::<Vec<_>>()
    };
    for (partition, pending) in pending {
        for file in pending.files {
            let there = world.stagings().into_iter().any(|staging| {
                let files = staging.files();
                root_of(staging) == file.root
                    && (files.staged.contains_key(&file.upload)
                        || files.visible.contains_key(&file.key))
            });
            if !there {
                world
                    .violate(format!("{when} a file that the record of {partition} names is gone"));
            }
        }
    }
}

/// A reader opens: parents must be done, and the process has fenced.
pub(super) fn on_open(world: &World, partition: &PartitionId, process: u32) {
    let fenced = {
        let state = world.state();
        let mut versions = state.history.get(partition).into_iter().flatten();
        versions.any(|written| written.process == process)
    };
    if !fenced {
        world.suspect(format!("p{process} reads {partition} without a fence"));
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

/// A document is on its way: I7. An event has one version, and a key's version one value, however
/// often a range is read.
pub(super) fn on_document(world: &World, key: &str, doc: &Doc, letter: &DeadLetter) {
    let (version, value) = {
        let mut state = world.state();
        let event = (letter.partition.to_string(), offset(&letter.position));
        let version = *state.versions.entry(event).or_insert(doc.version);
        (version, *state.sent.entry((key.to_owned(), doc.version)).or_insert(doc.value))
    };
    if version != doc.version {
        world.violate(format!("I7: an event of {key} has another version after a re-read"));
    }
    if value != doc.value {
        world.violate(format!("I7: version {version} of {key} has two values"));
    }
}

/// A document has changed: I7.
pub(super) fn after_document(world: &World, key: &str, before: Option<&Doc>) {
    let now = world.state().docs.get(key).map(|doc| doc.version);
    if now <= before.map(|doc| doc.version) {
        world.violate(format!("I7: the version of {key} fell to {now:?}"));
    }
}

/// True where every partition has been read and published to its end.
pub(super) fn lag_is_zero(world: &World) -> bool {
    let partitions = world.state().partitions.clone();
    partitions.iter().all(|(id, partition)| {
        let done = record(world, id).map_or(0, |record| offset(record.finalised()));
        let ended = !partition.closes || is_finished(world, id);
        done >= partition.end() && ended
    })
}

/// Everything has ended, and nothing was swept since: an epoch that was given up in a run without
/// crashes has left nothing.
pub(super) fn before_the_last_sweep(world: &World) {
    let undisturbed = {
        let state = world.state();
        state.gentle && !state.members.values().any(|member| member.mishap)
    };
    if !undisturbed {
        return;
    }
    for staging in world.stagings() {
        if let Some(file) = staging.files().staged.values().next() {
            world.violate(format!("I6: {} is left of an epoch that was given up", file.key));
        }
    }
}

/// Everything has ended: I2 and I12 over the whole log, I6, I7.
pub(super) fn at_rest(world: &World) {
    let partitions = world.state().partitions.clone();
    files::read_again(world);
    for (id, partition) in &partitions {
        check_prefix(world, id, partition.end(), "I2");
        check_versions(world, id, partition);
        let Some(record) = record(world, id) else { continue };
        if record.pending.is_some() {
            world.violate(format!("I6: {id} has a pending epoch at rest"));
        }
        check_left_over(world, id, record.token);
    }
    check_documents(world, &partitions);
}

/// I6: no file of an older token is left, and none of the present token but where its process came
/// to a bad end.
fn check_left_over(world: &World, partition: &PartitionId, token: u64) {
    let tag = partition_tag("simulated", partition);
    for staging in world.stagings() {
        for file in staging.files().staged.values() {
            let name = FileName::parse(&file.key).unwrap();
            if name.partition_tag != tag {
                continue;
            }
            let excused = {
                let state = world.state();
                let author = state.authors.get(&file.identity.nonce);
                let author = author.and_then(|author| state.members.get(author));
                author.is_some_and(|author| author.mishap)
            };
            if name.token < token || !excused {
                world.violate(format!("I6: a file of token {} is left of {partition}", name.token));
            }
        }
    }
}

/// Positions give the version; ordinals rise by one with each event of the partition.
fn check_versions(world: &World, id: &PartitionId, partition: &Partition) {
    let versioning = world.state().versioning;
    let mut first = None;
    for row in visible_rows(world, &world.lake, partition) {
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
    // A child's name sorts behind its parent's, and a range's behind the one before it.
    for event in partitions.values().flat_map(|partition| partition.log.iter()) {
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
