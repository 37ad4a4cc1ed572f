//! Archives to try things with: conversations that nobody had, the same for a seed on every machine.
//!
//! It stands beside the source because it writes what the source reads, and ships, because the first
//! thing that a newcomer runs is a pipeline over it.

mod bulk;
mod conversation;
mod event;
mod item;
mod phrases;
mod poison;
mod random;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

pub use self::bulk::{BulkSample, RowForm, RowOrder};
use self::conversation::{DAY_MS, START_MS, User};
use self::event::{Change, Event};
use self::random::SampleRandom;
use crate::error::{ErrorKind, Result, ResultExt};

const FILES: u64 = 4;
const EVENTS: u64 = 30_000;
const POISON: u64 = 40;
const DAYS: i64 = 30;
const COMPRESSION_LEVEL: i32 = 9;

/// The quickstart's archive: about 30,000 changes of conversations in 30 days of 2024, as DynamoDB
/// Streams records in four zstd files. A user's events are all in one file, in order of time, so
/// that the order of a key's events is the order of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveSample {
    /// The same seed gives the same records.
    pub seed: u64,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SampleSummary {
    /// The files, in order.
    pub files: Vec<PathBuf>,
    /// Their stored bytes.
    pub bytes: u64,
    /// Good records of each kind.
    pub inserts: u64,
    /// Changes of an item.
    pub modifies: u64,
    /// Deletes by the application.
    pub deletes: u64,
    /// Deletes by the table's time-to-live.
    pub expires: u64,
    /// Records that cannot be processed.
    pub poison: u64,
    /// Users.
    pub users: u64,
}

impl SampleSummary {
    /// Good records.
    pub fn events(&self) -> u64 {
        self.inserts + self.modifies + self.deletes + self.expires
    }
}

/// A line of a file, at its time.
enum Line {
    Event(Box<Event>),
    Poison { kind: u64, time_ms: i64 },
}

impl Line {
    fn time_ms(&self) -> i64 {
        match self {
            Self::Event(event) => event.time_ms,
            Self::Poison { time_ms, .. } => *time_ms,
        }
    }
}

impl ArchiveSample {
    /// Write the files `events-0001.ndjson.zst` and so on into `folder`, which is made where it
    /// does not exist; files of these names are replaced.
    pub fn write(&self, folder: &Path) -> Result<SampleSummary> {
        fs::create_dir_all(folder).or_error(ErrorKind::Config, || {
            format!("cannot make the folder {}", folder.display())
        })?;
        let (contents, mut summary) = self.contents();
        for (number, content) in (1..).zip(contents) {
            let path = folder.join(format!("events-{number:04}.ndjson.zst"));
            let failed = || format!("cannot write {}", path.display());
            let stored = zstd::encode_all(content.as_slice(), COMPRESSION_LEVEL)
                .or_error(ErrorKind::Fatal, failed)?;
            File::create(&path)
                .and_then(|mut file| file.write_all(&stored))
                .or_error(ErrorKind::Config, failed)?;
            summary.bytes += stored.len() as u64;
            summary.files.push(path);
        }
        Ok(summary)
    }

    /// The content of each file, not compressed.
    pub fn contents(&self) -> (Vec<Vec<u8>>, SampleSummary) {
        let mut random = SampleRandom::new(self.seed);
        let mut summary = SampleSummary::default();
        let mut files: Vec<Vec<Line>> = (0..FILES).map(|_| Vec::new()).collect();
        while summary.events() < EVENTS {
            summary.users += 1;
            let user = User::new(summary.users, &mut random);
            let events = user.events(DAYS, &mut random);
            let place = usize::try_from(random.within(0, FILES)).unwrap_or(0);
            let Some(file) = files.get_mut(place) else { continue };
            for event in events {
                summary.count(event.change);
                file.push(Line::Event(Box::new(event)));
            }
        }
        for (kind, place) in (0..POISON).zip((0..files.len()).cycle()) {
            let offset_ms = random.within(0, DAYS.unsigned_abs() * DAY_MS.unsigned_abs());
            let time_ms = START_MS + i64::try_from(offset_ms).unwrap_or(0);
            if let Some(file) = files.get_mut(place) {
                // Kinds and files take turns at different paces, so that each file has several.
                file.push(Line::Poison { kind: kind / FILES + kind, time_ms });
                summary.poison += 1;
            }
        }
        let contents = (0..).zip(files).map(|(shard, lines)| content(shard, lines, &mut random));
        (contents.collect(), summary)
    }
}

fn content(shard: u64, mut lines: Vec<Line>, random: &mut SampleRandom) -> Vec<u8> {
    // Stable: changes of one moment stay in the order in which they were made.
    lines.sort_by_key(Line::time_ms);
    let mut out = Vec::new();
    for (number, line) in (0..).zip(lines) {
        match line {
            Line::Event(event) => event.put(shard, number, &mut out),
            Line::Poison { kind, time_ms } => poison::put(kind, time_ms, random, &mut out),
        }
        out.push(b'\n');
    }
    out
}

impl SampleSummary {
    fn count(&mut self, change: Change) {
        *match change {
            Change::Insert => &mut self.inserts,
            Change::Modify => &mut self.modifies,
            Change::Delete => &mut self.deletes,
            Change::Expire => &mut self.expires,
        } += 1;
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
