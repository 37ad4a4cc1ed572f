//! Reads one partition away from the asynchronous threads, one batch ahead of the lane.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::files::Encoding;
use super::lines::{LineLimits, LineReader};
use super::ranges::Range;
use super::rows::RowReader;
use super::streams::{DecompressedStream, PlainStream};
use crate::component::{PartitionReader, RawBatch};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::memory::MemoryBudget;

/// What to read, and where from.
pub(super) struct Reading {
    pub(super) file: File,
    pub(super) name: Arc<str>,
    pub(super) size: u64,
    pub(super) encoding: Encoding,
    pub(super) range: Range,
    pub(super) from: u64,
    /// Stored bytes of the range.
    pub(super) weight: u64,
    /// Stored bytes of the range that were read: what progress shows.
    pub(super) read: Arc<AtomicU64>,
    pub(super) max_record_size: u64,
    pub(super) memory: Arc<MemoryBudget>,
    pub(super) unchanged: Unchanged,
}

/// Fails where a file is not the one that was listed any more.
pub(super) type Unchanged = Box<dyn Fn(&File) -> Result<()> + Send>;

enum Records {
    Plain(LineReader<PlainStream>),
    Decompressed(LineReader<DecompressedStream>),
    Rows(RowReader),
}

/// Reads with calls that block.
struct BlockingReader {
    records: Records,
    range: Range,
    weight: u64,
    read: Arc<AtomicU64>,
    /// The same open file, to look at what it is at the end.
    file: File,
    unchanged: Unchanged,
}

impl BlockingReader {
    fn new(reading: Reading, cancelled: Arc<AtomicBool>) -> Result<Self> {
        let Reading { file, name, size, encoding, range, from, weight, read, memory, .. } = reading;
        let same = file.try_clone().or_error(ErrorKind::Fatal, || format!("cannot read {name}"))?;
        let limits = LineLimits::new(reading.max_record_size);
        let records = match encoding {
            Encoding::Plain => {
                let start = LineReader::<PlainStream>::stream_start(range, from);
                let stream = PlainStream::new(file, name, start, size);
                Records::Plain(LineReader::new(stream, range, from, limits, memory))
            }
            Encoding::Gzip | Encoding::Zstd => {
                let start = LineReader::<DecompressedStream>::stream_start(range, from);
                let stream = DecompressedStream::new(file, name, encoding, start, size, cancelled)?;
                Records::Decompressed(LineReader::new(stream, range, from, limits, memory))
            }
            Encoding::Parquet => {
                Records::Rows(RowReader::new(file, name, from, range.to.unwrap_or(from))?)
            }
        };
        Ok(Self { records, range, weight, read, file: same, unchanged: reading.unchanged })
    }

    fn next(&mut self) -> Result<Option<RawBatch>> {
        let batch = match &mut self.records {
            Records::Plain(lines) => lines.next(),
            Records::Decompressed(lines) => lines.next(),
            Records::Rows(rows) => rows.next(),
        }?;
        if batch.is_none() {
            // A file that grew meanwhile has more than its listed bytes, perhaps half a line of it.
            (self.unchanged)(&self.file)?;
        }
        let place = batch.as_ref().and_then(|batch| batch.range.to.offset()).unwrap_or(0);
        let place = place.saturating_sub(self.range.from);
        let read = match &self.records {
            Records::Plain(_) => place,
            Records::Decompressed(lines) => lines.stored_bytes(),
            Records::Rows(rows) => {
                let whole = self.range.to.unwrap_or(0).saturating_sub(self.range.from).max(1);
                let done = rows.position().saturating_sub(self.range.from);
                u64::try_from(u128::from(self.weight) * u128::from(done) / u128::from(whole))
                    .unwrap_or(self.weight)
            }
        };
        self.read.fetch_max(read.min(self.weight), Ordering::Relaxed);
        Ok(batch)
    }
}

type Step = (BlockingReader, Result<Option<RawBatch>>);

enum State {
    /// The next batch is being read.
    Ahead(JoinHandle<Result<Step>>),
    Ended,
    Failed,
}

/// The reader that a lane holds. Dropping it stops the reading.
pub(super) struct ReadAhead {
    state: State,
    name: Arc<str>,
    cancelled: Arc<AtomicBool>,
}

impl ReadAhead {
    /// Begin to read.
    pub(super) fn begin(reading: Reading) -> Self {
        let (name, cancelled) = (reading.name.clone(), Arc::new(AtomicBool::new(false)));
        let flag = cancelled.clone();
        let state = State::Ahead(tokio::task::spawn_blocking(move || {
            BlockingReader::new(reading, flag).map(step)
        }));
        Self { state, name, cancelled }
    }
}

fn step(mut reader: BlockingReader) -> Step {
    let outcome = reader.next();
    (reader, outcome)
}

#[async_trait]
impl PartitionReader for ReadAhead {
    async fn next(&mut self) -> Result<Option<RawBatch>> {
        let joined = match &mut self.state {
            // Dropped here, the handle stays and the next call awaits it again: nothing is lost.
            State::Ahead(handle) => handle.await,
            State::Ended => return Ok(None),
            State::Failed => {
                return Err(Error::fatal(format!("reading {} has failed before", self.name)));
            }
        };
        self.state = State::Failed;
        let (reader, outcome) = joined.map_err(|cause| {
            Error::fatal(format!("reading {} ended early", self.name)).caused_by(cause)
        })??;
        let batch = outcome?;
        self.state = match batch {
            Some(_) => State::Ahead(tokio::task::spawn_blocking(move || Ok(step(reader)))),
            None => State::Ended,
        };
        Ok(batch)
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}
