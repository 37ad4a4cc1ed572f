//! The source: hands out the ranges of an archive's files, and reads them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::Notify;

use super::ArchiveConfig;
use super::files::{self, Encoding, FoundFile, POSITION_BITS};
use super::manifest::{self, ListedFile, Manifest};
use super::place::{self, Identity, OpenFile, Place, Stop, Wanted};
use super::ranges::{Range, Splitting};
use super::reader::{ReadAhead, Reading};
use crate::aws::Phase;
use crate::codec::Format;
use crate::component::checkpoint::Document;
use crate::component::source::Progress;
use crate::component::{
    CheckpointStore, Context, Key, PartitionReader, PartitionStart, Record, Source, SourceEvent,
    Versioning,
};
use crate::error::{Error, Result};
use crate::event::{PartitionId, Position};

/// What an archive held when it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveCounts {
    /// Files listed.
    pub files: usize,
    /// Files that this opening added to the list.
    pub added: usize,
    /// Partitions: files, or ranges of them.
    pub partitions: usize,
    /// Partitions that earlier runs have finished.
    pub finished: usize,
    /// Stored bytes of all files.
    pub bytes: u64,
}

impl ArchiveCounts {
    /// True where earlier runs have left nothing to do.
    pub fn is_finished(&self) -> bool {
        self.finished == self.partitions
    }
}

/// An archive that is open. Hands out at most [`ArchiveConfig::lanes`] partitions at once, those of
/// the lowest file numbers first, and is finished when each has ended.
pub struct ArchiveSource {
    partitions: HashMap<PartitionId, ArchivePartition>,
    lanes: usize,
    max_record_size: u64,
    counts: ArchiveCounts,
    state: Mutex<State>,
    changed: Notify,
    context: Context,
}

struct ArchivePartition {
    file: Arc<ListedFile>,
    /// Where the file is; `None` where it is gone and nothing of it is left to read.
    place: Option<Place>,
    range: Range,
    /// Stored bytes of the range.
    weight: u64,
    /// Stored bytes of the range that were read.
    read: Arc<AtomicU64>,
    /// Its reader got no bytes when it asked last.
    waiting: Arc<AtomicBool>,
}

struct State {
    waiting: VecDeque<PartitionStart>,
    open: HashSet<PartitionId>,
}

impl ArchiveSource {
    /// Open the archive that `config`, whose paths are absolute, names. `stream` is the pipeline's
    /// name. The manifest in `store` is made or extended; listed files that are not what they were
    /// halt, and nothing is read then. A pattern that names nothing is an [`ErrorKind::Config`].
    pub async fn open(
        config: &ArchiveConfig,
        stream: &str,
        store: &dyn CheckpointStore,
        context: &Context,
    ) -> Result<Self> {
        let found = files::list(&config.path, config.order, context).await?;
        let records = read_records(store).await?;
        let closed = records.iter().filter(|(_, closed)| closed.read).map(|(id, _)| id.clone());
        let splitting =
            Splitting { range_bytes: config.range_size.bytes(), lanes: config.lanes.into() };
        let (listed, added) =
            manifest::settle(store, found.clone(), splitting, &closed.collect(), context).await?;
        if listed.files.is_empty() {
            return Err(Error::config(format!("no file matches {}", config.path)));
        }
        check_format(config, &listed)?;
        let source = Self::new(config, stream, listed, &found, &records, context);
        Ok(Self { counts: ArchiveCounts { added, ..source.counts }, ..source })
    }

    fn new(
        config: &ArchiveConfig,
        stream: &str,
        listed: Manifest,
        found: &[FoundFile],
        records: &HashMap<PartitionId, Closed>,
        context: &Context,
    ) -> Self {
        let places: HashMap<&str, &Place> =
            found.iter().map(|file| (file.name.as_str(), &file.place)).collect();
        let stream: Arc<str> = stream.into();
        let mut counts = ArchiveCounts { files: listed.files.len(), ..ArchiveCounts::default() };
        let (mut partitions, mut waiting) = (HashMap::new(), VecDeque::new());
        for file in listed.files.into_iter().map(Arc::new) {
            let label: Arc<str> = file.path.as_str().into();
            for range in &file.ranges {
                let id = file.partition(*range);
                let weight = stored_bytes(&file, *range);
                let finished = records.get(&id).is_some_and(|closed| closed.finished);
                counts.partitions += 1;
                counts.bytes += weight;
                if finished {
                    counts.finished += 1;
                } else {
                    waiting.push_back(start(&file, *range, &stream, &label));
                }
                let read = Arc::new(AtomicU64::new(if finished { weight } else { 0 }));
                let place = places.get(file.path.as_str()).map(|place| (*place).clone());
                let (file, range) = (file.clone(), *range);
                let waiting = Arc::default();
                let part = ArchivePartition { file, place, range, weight, read, waiting };
                partitions.insert(id, part);
            }
        }
        Self {
            partitions,
            lanes: usize::from(config.lanes.max(1)),
            max_record_size: config.max_record_size.bytes(),
            counts,
            state: Mutex::new(State { waiting, open: HashSet::new() }),
            changed: Notify::new(),
            context: context.clone(),
        }
    }

    /// What the archive held when it was opened.
    pub fn counts(&self) -> ArchiveCounts {
        self.counts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partition(&self, partition: &PartitionId) -> Result<&ArchivePartition> {
        self.partitions.get(partition).ok_or_else(|| {
            Error::halted(format!("the archive manifest lists no partition {partition}"))
        })
    }

    /// What to do now; `None`: wait until a partition ends.
    fn step(&self) -> Option<SourceEvent> {
        let mut state = self.state();
        if state.waiting.is_empty() && state.open.is_empty() {
            return Some(SourceEvent::Finished);
        }
        let room = self.lanes.saturating_sub(state.open.len()).min(state.waiting.len());
        if room == 0 {
            return None;
        }
        let starts: Vec<PartitionStart> = state.waiting.drain(..room).collect();
        state.open.extend(starts.iter().map(|start| start.partition.clone()));
        Some(SourceEvent::Assigned(starts))
    }
}

/// How far the record of a partition is.
struct Closed {
    /// Read to its end: the file is not needed any more.
    read: bool,
    /// And published: nothing is left to do.
    finished: bool,
}

async fn read_records(store: &dyn CheckpointStore) -> Result<HashMap<PartitionId, Closed>> {
    let mut records = HashMap::new();
    for partition in store.partitions().await? {
        let key = Key::Record(partition.clone());
        if let Some(stored) = store.load(&key).await? {
            let record = Document::<Record>::decode(&key, &stored.body)?.content;
            let closed = Closed { read: record.closed, finished: record.is_finished() };
            records.insert(partition, closed);
        }
    }
    Ok(records)
}

fn check_format(config: &ArchiveConfig, listed: &Manifest) -> Result<()> {
    let parquet = listed.files.iter().find(|file| file.encoding == Encoding::Parquet);
    match parquet {
        Some(file) if config.format != Format::Plain => Err(Error::config(format!(
            "the archive file {} is Parquet, whose rows are items as they are: write `format: plain`",
            file.path
        ))),
        _ => Ok(()),
    }
}

fn stored_bytes(file: &ListedFile, range: Range) -> u64 {
    match (file.encoding, range.to) {
        (Encoding::Plain, Some(to)) => to - range.from,
        (Encoding::Parquet, Some(to)) => {
            let rows = file.ranges.last().and_then(|last| last.to).unwrap_or(0).max(1);
            let part = u128::from(file.size) * u128::from(to - range.from) / u128::from(rows);
            u64::try_from(part).unwrap_or(file.size)
        }
        _ => file.size,
    }
}

fn start(file: &ListedFile, range: Range, stream: &Arc<str>, label: &Arc<str>) -> PartitionStart {
    let size = match (file.encoding, range.to) {
        (Encoding::Plain, Some(to)) => Some(to - range.from),
        _ => None,
    };
    PartitionStart {
        partition: file.partition(range),
        stream: stream.clone(),
        label: label.clone(),
        start: Position::Offset(range.from),
        // Numbers stay below 2^27: the manifest refuses more files.
        versioning: Versioning::Position {
            base: i64::try_from(file.number << POSITION_BITS).unwrap_or(i64::MAX),
        },
        parents: Vec::new(),
        identity: match &file.identity {
            Identity::Modified { modified_ns } => json!({
                "file": file.path,
                "number": file.number,
                "size": file.size,
                "modified_ns": modified_ns,
                "range": range,
            }),
            Identity::Tag { tag } => json!({
                "file": file.path,
                "number": file.number,
                "size": file.size,
                "tag": tag,
                "range": range,
            }),
        },
        size,
    }
}

#[async_trait]
impl Source for ArchiveSource {
    async fn next_event(&self) -> Result<SourceEvent> {
        loop {
            // Registered before the look, so that an end in between is not missed.
            let changed = self.changed.notified();
            if let Some(event) = self.step() {
                return Ok(event);
            }
            changed.await;
        }
    }

    async fn open(
        &self,
        partition: &PartitionId,
        from: &Position,
    ) -> Result<Box<dyn PartitionReader>> {
        let part = self.partition(partition)?;
        let from = from.offset().filter(|from| *from >= part.range.from).ok_or_else(|| {
            Error::halted(format!("the record of {partition} goes on at {from}, outside of it"))
        })?;
        let place = part
            .place
            .clone()
            .ok_or_else(|| Error::halted(format!("the archive file {} is gone", part.file.path)))?;
        let (wanted, stop) = Wanted::new();
        let name = place.to_string().into();
        let reading = Reading {
            file: open_listed(place, part.file.clone(), stop.clone(), self.context.clone()).await?,
            name,
            size: part.file.size,
            encoding: part.file.encoding,
            range: part.range,
            from,
            weight: part.weight,
            read: part.read.clone(),
            max_record_size: self.max_record_size,
            memory: self.context.memory.clone(),
        };
        Ok(Box::new(ReadAhead::begin(reading, wanted, stop, part.waiting.clone())))
    }

    async fn ended(&self, partition: &PartitionId) -> Result<Vec<PartitionStart>> {
        let part = self.partition(partition)?;
        part.read.store(part.weight, Ordering::Relaxed);
        self.state().open.remove(partition);
        self.changed.notify_waiters();
        Ok(Vec::new())
    }

    async fn advise(&self, _: &PartitionId, _: &Position) -> Result<()> {
        Ok(())
    }

    fn is_waiting(&self, partition: &PartitionId) -> bool {
        let part = self.partitions.get(partition);
        part.is_some_and(|part| part.waiting.load(Ordering::Relaxed))
    }

    fn still_assigned(&self, _: &PartitionId) -> bool {
        false
    }

    fn progress(&self) -> Option<Progress> {
        let read = self.partitions.values().map(|part| part.read.load(Ordering::Relaxed)).sum();
        Some(Progress { read_bytes: read, total_bytes: self.counts.bytes })
    }
}

/// Open a file and see that it is still the one that was listed.
async fn open_listed(
    place: Place,
    file: Arc<ListedFile>,
    stop: Stop,
    context: Context,
) -> Result<Arc<dyn OpenFile>> {
    let open = move || {
        let file = place::open(&place, file.listed(), Phase::Run, &stop, &context)?;
        file.unchanged().map(|()| file.into())
    };
    tokio::task::spawn_blocking(open)
        .await
        .map_err(|cause| Error::fatal("opening an archive file ended early").caused_by(cause))?
}
