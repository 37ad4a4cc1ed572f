//! What readers of the lake see: I2, I3, I9, I12 and I13 over the visible files.

use std::collections::BTreeSet;

use super::checker::record;
use super::log::{LogEvent, Partition};
use super::world::{Row, World, root_of};
use crate::component::Record;
use crate::event::{Operation, PartitionId};
use crate::testing::staging::{MemoryFile, MemoryStaging};

/// One line of a file, and the control number that it was processed under.
struct Line {
    label: String,
    row: Row,
    number: u64,
}

fn lines(file: &MemoryFile) -> impl Iterator<Item = Line> {
    std::str::from_utf8(&file.bytes).unwrap().lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let [label, position, version, _key, op, value, number] = words[..] else {
            panic!("a line of the lake is broken: {line}");
        };
        Line {
            label: label.to_owned(),
            row: Row {
                position: position.parse().unwrap(),
                version: version.parse().unwrap(),
                op: op.to_owned(),
                value: value.parse().unwrap(),
            },
            number: number.parse().unwrap(),
        }
    })
}

/// Look at the files that have become visible.
pub(super) fn look(world: &World) {
    for staging in world.stagings() {
        let new: Vec<MemoryFile> = {
            let (files, mut state) = (staging.files(), world.state());
            let visible = files.visible.values();
            visible.filter(|file| state.seen.insert(file.identity.nonce.clone())).cloned().collect()
        };
        for file in new {
            look_at(world, staging, &file);
        }
    }
}

/// Begin the notes of what is visible anew: a loss of power takes files away that had been seen.
pub(super) fn note_what_is_left(world: &World) {
    let mut state = world.state();
    state.seen.clear();
    state.shown.clear();
    for staging in world.stagings() {
        for file in staging.files().visible.values() {
            state.seen.insert(file.identity.nonce.clone());
            for Line { label, row, .. } in lines(file) {
                state.shown.entry((root_of(staging), label)).or_default().push(row);
            }
        }
    }
    state.shown.values_mut().for_each(|rows| rows.sort());
}

fn look_at(world: &World, staging: &MemoryStaging, file: &MemoryFile) {
    if !world.state().named.contains(&file.identity.nonce) {
        world.violate("I3: a file is visible that no record ever named");
    }
    let barrier = world.state().barrier;
    for Line { label, row, number } in lines(file) {
        if number < barrier {
            world.violate(format!(
                "I13: a row processed under control number {number} became visible after the barrier for {barrier}"
            ));
        }
        let position = row.position;
        let repeated = {
            let mut state = world.state();
            let rows = state.shown.entry((root_of(staging), label.clone())).or_default();
            let place = rows.partition_point(|shown| *shown < row);
            let repeated = rows.iter().any(|shown| shown.position == position);
            rows.insert(place, row);
            repeated
        };
        if repeated {
            world.violate(format!(
                "I12: position {position} of {label} is twice in {}",
                root_of(staging)
            ));
        }
    }
}

/// I13 from the record's side: its control number speaks of every row of the epoch that it names.
pub(super) fn check_numbers(world: &World, partition: &PartitionId, new: &Record) {
    for file in new.pending.iter().flat_map(|pending| &pending.files) {
        let staged = world.stagings().into_iter().find_map(|staging| {
            staging.files().staged.values().find(|staged| staged.key == file.key).cloned()
        });
        let Some(staged) = staged else { continue };
        if let Some(older) = lines(&staged).find(|line| line.number < new.control) {
            world.violate(format!(
                "I13: the record of {partition} says {} of a row that was processed under {}",
                new.control, older.number
            ));
        }
    }
}

/// Every event below `finalised` is visible exactly once, as row or dead letter; what lies above
/// belongs to an epoch that the record names.
pub(super) fn check_prefix(
    world: &World,
    partition: &PartitionId,
    finalised: u64,
    invariant: &str,
) {
    let log = world.state().partitions[partition].clone();
    let prepared = record(world, partition).map_or(0, |record| record.next.offset().unwrap_or(0));
    for (staging, expected) in [
        (&world.lake, expected_rows(&log, finalised, LogEvent::kept)),
        (&world.narrow, expected_rows(&log, finalised, LogEvent::kept_narrowly)),
        (&world.letters, expected_letters(&log, finalised)),
    ] {
        let rows = visible_rows(world, staging, &log);
        let below: Vec<(u64, String, i64)> = rows
            .iter()
            .filter(|row| row.position < finalised)
            .map(|row| (row.position, row.op.clone(), row.value))
            .collect();
        if below != expected {
            world.violate(format!(
                "{invariant}: below position {finalised} of {partition} {} shows {below:?}, the log says {expected:?}",
                root_of(staging)
            ));
        }
        if rows.iter().any(|row| row.position >= prepared) {
            world
                .violate(format!("I3: rows of {partition} are visible past the record's position"));
        }
    }
}

/// The rows of one partition that readers see.
pub(super) fn visible_rows(
    world: &World,
    staging: &MemoryStaging,
    partition: &Partition,
) -> Vec<Row> {
    let state = world.state();
    let shown = state.shown.get(&(root_of(staging), partition.label.clone()));
    let range = partition.start..partition.end();
    shown.into_iter().flatten().filter(|row| range.contains(&row.position)).cloned().collect()
}

/// At rest the files are read once more: what was noted of them must be all there is.
pub(super) fn read_again(world: &World) {
    for staging in world.stagings() {
        let files = staging.files();
        let mut found = BTreeSet::new();
        for line in files.visible.values().flat_map(lines) {
            if !found.insert((line.label.clone(), line.row.position)) {
                world.violate(format!("I12: a position of {} is twice in the lake", line.label));
            }
        }
        let state = world.state();
        let noted = state.shown.iter().filter(|((root, _), _)| *root == root_of(staging));
        let noted: usize = noted.map(|(_, rows)| rows.len()).sum();
        let known = noted == found.len();
        drop(state);
        if !known {
            world.violate("I3: rows became visible that the checker did not see come");
        }
    }
}

fn expected_rows(
    partition: &Partition,
    end: u64,
    kept: impl Fn(&LogEvent) -> bool,
) -> Vec<(u64, String, i64)> {
    let row = |event: &LogEvent| {
        let (op, value) = match event.op {
            _ if event.poison => return None,
            op if op.removes() || kept(event) => (op, event.value),
            Operation::Insert => return None,
            _ => (Operation::Delete, -1),
        };
        Some((event.position, op.to_string(), value))
    };
    partition.log.iter().filter(|event| event.position < end).filter_map(row).collect()
}

fn expected_letters(partition: &Partition, end: u64) -> Vec<(u64, String, i64)> {
    let letters = partition.letters(end);
    letters.map(|(event, stage)| (event.position, stage.to_owned(), 0)).collect()
}
