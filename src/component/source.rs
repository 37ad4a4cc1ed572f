//! What a source promises.

use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

use super::decoder::Versioning;
use crate::error::Result;
use crate::event::message::MessageColumns;
use crate::event::{PartitionId, Position, PositionRange, RawImage};

/// What a source tells the process that runs it.
#[derive(Debug, Clone)]
pub enum SourceEvent {
    /// Try these partitions: fence each, then open it. May name none.
    Assigned(Vec<PartitionStart>),
    /// Cut, commit and drop the readers of these partitions; they go to another process.
    Revoked(Vec<PartitionId>),
    /// Stop these lanes now: another process may hold them already.
    Lost(Vec<PartitionId>),
    /// Every partition has been handed out and has ended; none will follow.
    Finished,
}

/// A partition as its source first describes it.
#[derive(Debug, Clone)]
pub struct PartitionStart {
    /// The partition.
    pub partition: PartitionId,
    /// `_stream` of its events.
    pub stream: std::sync::Arc<str>,
    /// `_partition` of its events: several ranges of one file share the file's name.
    pub label: std::sync::Arc<str>,
    /// Where a partition without a record begins, resolved to a place that will not move.
    pub start: Position,
    /// How its events are numbered.
    pub versioning: Versioning,
    /// What the source is (topic id, stream, file): stored in the record and compared at a fence.
    pub identity: Value,
    /// Partitions that must be closed and finalised before this one opens: the parents of a shard.
    pub parents: Vec<PartitionId>,
    /// Uncompressed bytes from `start` to the end, where positions are bytes and the end is known.
    pub size: Option<u64>,
}

/// Where change events come from. Every method takes `&self`: lanes call while `next_event` waits.
#[async_trait]
pub trait Source: Send + Sync {
    /// The next change of what this process should read. Cancel-safe: a dropped call loses nothing.
    async fn next_event(&self) -> Result<SourceEvent>;

    /// Begin to read `partition` at `from`. Called after the fence has succeeded, and no record is
    /// fetched before. At most one reader of a partition is open in a process.
    async fn open(
        &self,
        partition: &PartitionId,
        from: &Position,
    ) -> Result<Box<dyn PartitionReader>>;

    /// `partition` has been read to its end and its record is closed and finalised. The answer
    /// names the partitions that may open now: the children of a shard, else none.
    async fn ended(&self, partition: &PartitionId) -> Result<Vec<PartitionStart>>;

    /// Everything before `done` is finalised. Advisory: a broker's or a lease table's own mark.
    async fn advise(&self, partition: &PartitionId, done: &Position) -> Result<()>;

    /// Everything that was read of `partition` so far came from what its record names. Asked when
    /// an epoch is flushed, before it is prepared: a topic may be deleted and made anew under a
    /// reader that notices nothing.
    async fn confirm(&self, partition: &PartitionId) -> Result<()> {
        let _ = partition;
        Ok(())
    }

    /// For how long the source keeps what was not read of `partition`; `None` where it is kept for good
    /// or that is not known. Asked while a sink holds the lane up.
    async fn retention(&self, partition: &PartitionId) -> Option<Duration> {
        let _ = partition;
        None
    }

    /// Where each partition ends now, those of other processes included, for a run that is to end
    /// when what stands there is visible. None for a source that ends by itself.
    async fn ends(&self) -> Result<Vec<(PartitionId, Position)>> {
        Ok(Vec::new())
    }

    /// Where `partition` ends, as far as is known without asking anybody.
    fn known_end(&self, partition: &PartitionId) -> Option<Position> {
        let _ = partition;
        None
    }

    /// True while `partition` gives nothing because something outside fails (its broker, a
    /// permission), as far as is known without asking anybody.
    fn is_waiting(&self, partition: &PartitionId) -> bool {
        let _ = partition;
        false
    }

    /// True where the group or the lease table still gives `partition` to this process, so that a
    /// lane that lost its record may fence again. Sources that nothing assigns answer false.
    fn still_assigned(&self, partition: &PartitionId) -> bool;

    /// How far it has been read; `None` where it has no end.
    fn progress(&self) -> Option<Progress> {
        None
    }
}

/// A partition as the source has it now, for an operator.
#[derive(Debug, Clone)]
pub struct Surveyed {
    /// The partition, as a run would be told of it.
    pub start: PartitionStart,
    /// The oldest position that can still be read.
    pub low: Position,
    /// The position behind the newest record.
    pub high: Position,
}

/// How far a source that ends has been read, by this run and those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read, as stored.
    pub read_bytes: u64,
    /// Bytes in all, as stored.
    pub total_bytes: u64,
}

/// Reads one partition, in order. Dropping it hands the partition back.
#[async_trait]
pub trait PartitionReader: Send {
    /// The next records, bounded in bytes; `None` at the end of the partition. Waits where there
    /// is nothing yet. Cancel-safe: a dropped call loses no record. Each batch begins where the
    /// one before it ended, the first at the position given to [`Source::open`].
    async fn next(&mut self) -> Result<Option<RawBatch>>;
}

/// Records of one partition as the source gives them, not yet decoded.
#[derive(Debug, Clone)]
pub struct RawBatch {
    /// The positions covered, gaps included.
    pub range: PositionRange,
    /// Source bytes, uncompressed: what `commit.size` counts.
    pub bytes: u64,
    /// The records.
    pub content: RawContent,
}

/// Bytes to decode, or rows that need no decoding.
#[derive(Debug, Clone)]
pub enum RawContent {
    /// Records to decode.
    Records(RawRecords),
    /// Rows of a columnar source; row `i` stands at position `first + i`.
    Rows {
        /// The rows, under the source's own column names.
        rows: RecordBatch,
        /// Position of the first.
        first: u64,
    },
}

/// Records inside one buffer.
#[derive(Debug, Clone, Default)]
pub struct RawRecords {
    /// The bytes of all records, with whatever separates them.
    pub data: Bytes,
    /// Where each record begins in `data`, and its length: ascending, not overlapping.
    pub spans: Vec<(u32, u32)>,
    /// Where each record stands.
    pub positions: RecordPositions,
    /// Records too large to hold, met in this range.
    pub oversized: Vec<Oversized>,
    /// What a broker knows of each record beside its value; `None` for records of files.
    pub messages: Option<Messages>,
}

/// What a broker knows of each message beside its value; one entry a record, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Messages {
    /// When it was produced or appended, as the topic has it: microseconds UTC.
    pub times: Vec<Option<i64>>,
    /// True for a message whose value is null, by which the item that its key names is gone. The
    /// bytes of such a record are the key's; none where the message has no key.
    pub tombstones: Vec<bool>,
    /// Keys and headers, where they are asked for.
    pub columns: Option<Box<MessageColumns>>,
}

/// How the position of a record follows from its place in the buffer.
#[derive(Debug, Clone)]
pub enum RecordPositions {
    /// A byte stream: what begins at byte `b` of the buffer stands at `start + b`.
    Bytes {
        /// Position of the buffer's first byte.
        start: u64,
    },
    /// One position for each span.
    Each(Vec<u64>),
}

impl Default for RecordPositions {
    fn default() -> Self {
        Self::Bytes { start: 0 }
    }
}

/// A record over `max_record_size`: its beginning, length and hash, never the whole in memory.
#[derive(Debug, Clone)]
pub struct Oversized {
    /// Where it stands.
    pub position: u64,
    /// What is kept of it.
    pub raw: RawImage,
}
