//! Reads one partition away from the asynchronous threads, one batch ahead of the lane.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::files::Encoding;
use super::lines::{LineLimits, LineReader};
use super::place::{OpenFile, Stop, Wanted};
use super::ranges::Range;
use super::rows::RowReader;
use super::streams::{ByteStream, DecompressedStream};
use crate::component::{PartitionReader, RawBatch};
use crate::error::{Error, Result};
use crate::memory::MemoryBudget;

/// What to read, and where from.
pub(super) struct Reading {
    pub(super) file: Arc<dyn OpenFile>,
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
}

enum Records {
    /// One call through the pointer gives a whole chunk.
    Plain(LineReader<Box<dyn ByteStream>>),
    Decompressed(LineReader<DecompressedStream>),
    Rows(RowReader),
}

/// Reads with calls that block.
struct BlockingReader {
    records: Records,
    range: Range,
    weight: u64,
    read: Arc<AtomicU64>,
    /// To look at what it is at the end.
    file: Arc<dyn OpenFile>,
}

impl BlockingReader {
    fn new(reading: Reading, stop: Stop) -> Result<Self> {
        let Reading { file, name, size, encoding, range, from, weight, read, memory, .. } = reading;
        let limits = LineLimits::new(reading.max_record_size);
        let records = match encoding {
            Encoding::Plain => {
                let start = LineReader::<Box<dyn ByteStream>>::stream_start(range, from);
                let stream = file.stream(start, range.to.unwrap_or(size));
                Records::Plain(LineReader::new(stream, range, from, limits, memory))
            }
            Encoding::Gzip | Encoding::Zstd => {
                let start = LineReader::<DecompressedStream>::stream_start(range, from);
                let stored = file.stream(0, size);
                let stream = DecompressedStream::new(stored, name, encoding, start, stop)?;
                Records::Decompressed(LineReader::new(stream, range, from, limits, memory))
            }
            Encoding::Parquet => {
                Records::Rows(RowReader::new(file.clone(), name, from, range.to.unwrap_or(from)))
            }
        };
        Ok(Self { records, range, weight, read, file })
    }

    fn next(&mut self) -> Result<Option<RawBatch>> {
        let batch = match &mut self.records {
            Records::Plain(lines) => lines.next(),
            Records::Decompressed(lines) => lines.next(),
            Records::Rows(rows) => rows.next(),
        }?;
        if batch.is_none() {
            // A file that grew meanwhile has more than its listed bytes, perhaps half a line of it.
            self.file.unchanged()?;
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
    /// A later try may succeed: the next call is one.
    Paused(Box<BlockingReader>),
    Ended,
    Failed,
}

/// The reader that a lane holds. Dropping it stops the reading.
pub(super) struct ReadAhead {
    state: State,
    name: Arc<str>,
    waiting: Arc<AtomicBool>,
    _wanted: Wanted,
}

impl ReadAhead {
    /// Begin to read. `wanted` and `stop` belong together, and `stop` to the open file. `waiting` is
    /// true while a try that failed is to be made again.
    pub(super) fn begin(
        reading: Reading,
        wanted: Wanted,
        stop: Stop,
        waiting: Arc<AtomicBool>,
    ) -> Self {
        let name = reading.name.clone();
        let state = State::Ahead(tokio::task::spawn_blocking(move || {
            BlockingReader::new(reading, stop).map(step)
        }));
        Self { state, name, waiting, _wanted: wanted }
    }
}

fn step(mut reader: BlockingReader) -> Step {
    let outcome = reader.next();
    (reader, outcome)
}

fn ahead(reader: BlockingReader) -> State {
    State::Ahead(tokio::task::spawn_blocking(move || Ok(step(reader))))
}

#[async_trait]
impl PartitionReader for ReadAhead {
    async fn next(&mut self) -> Result<Option<RawBatch>> {
        if let State::Paused(_) = &self.state
            && let State::Paused(reader) = std::mem::replace(&mut self.state, State::Failed)
        {
            self.state = ahead(*reader);
        }
        let joined = match &mut self.state {
            // Dropped here, the handle stays and the next call awaits it again: nothing is lost.
            State::Ahead(handle) => handle.await,
            State::Ended => return Ok(None),
            State::Failed | State::Paused(_) => {
                return Err(Error::fatal(format!("reading {} has failed before", self.name)));
            }
        };
        self.state = State::Failed;
        let (reader, outcome) = joined.map_err(|cause| {
            Error::fatal(format!("reading {} ended early", self.name)).caused_by(cause)
        })??;
        self.state = match &outcome {
            Ok(Some(_)) => ahead(reader),
            Ok(None) => State::Ended,
            Err(error) if error.is_retryable() => State::Paused(Box::new(reader)),
            Err(_) => State::Failed,
        };
        self.waiting.store(matches!(self.state, State::Paused(_)), Ordering::Relaxed);
        outcome
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.waiting.store(false, Ordering::Relaxed);
    }
}
