//! Rows that wait in memory, by Hive partition: runs without being copied, scattered rows packed.

use std::collections::HashSet;
use std::iter::Peekable;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;

use super::packing::{PackedRows, Packing};
use super::table::compact;
use crate::memory::{Charge, MemoryBudget};

/// Rows of a block that encoders and the scratch file take at once.
pub(super) const BLOCK_ROWS: usize = 8192;
/// A run of this many rows is a block of its own, sliced instead of copied.
const LONG_RUN: usize = 1024;
/// Packed rows of a block: fewer, since each column goes over the bytes of all of them, which should
/// stay in the nearest caches.
const UNPACKED_ROWS: usize = 1024;
/// Rows that keep more than this alive are copied out of what they point to.
const SPARSE_BYTES: usize = 1024;

/// Bytes that the waiting rows of one lane keep alive, those inside running jobs included.
#[derive(Debug, Clone, Default)]
pub(super) struct LaneBytes(Arc<AtomicUsize>);

impl LaneBytes {
    /// Bytes kept alive now.
    pub(super) fn used(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes that wait, charged to the lane and to the budget until this is dropped.
#[derive(Debug)]
pub(super) struct LaneCharge {
    bytes: usize,
    lane: LaneBytes,
    _charge: Charge,
}

impl LaneCharge {
    /// Charge `bytes`.
    pub(super) fn new(bytes: usize, lane: &LaneBytes, budget: &Arc<MemoryBudget>) -> Arc<Self> {
        lane.0.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Self { bytes, lane: lane.clone(), _charge: budget.charge(bytes) })
    }
}

impl Drop for LaneCharge {
    fn drop(&mut self) {
        self.lane.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A batch that waits. A clone shares it.
#[derive(Debug, Clone)]
pub(super) struct Held {
    batch: RecordBatch,
    charge: Arc<LaneCharge>,
}

impl Held {
    /// Hold `batch`. Text is left where it lies unless that keeps far more alive than it needs.
    pub(super) fn new(
        batch: RecordBatch,
        lane: &LaneBytes,
        budget: &Arc<MemoryBudget>,
    ) -> Result<Self, ArrowError> {
        let mut bytes = memory_of(&batch);
        let mut batch = batch;
        if bytes > batch.num_rows() * SPARSE_BYTES {
            batch = compact(&batch)?;
            bytes = memory_of(&batch);
        }
        Ok(Self { batch, charge: LaneCharge::new(bytes, lane, budget) })
    }
}

/// Bytes that a batch keeps alive: each buffer once, in full, however little of it is used.
fn memory_of(batch: &RecordBatch) -> usize {
    fn walk(data: &arrow::array::ArrayData, seen: &mut HashSet<usize>) -> usize {
        let buffers = data.buffers().iter().chain(data.nulls().map(|nulls| nulls.buffer()));
        let own: usize = buffers
            .map(|buffer| {
                let new = seen.insert(buffer.data_ptr().as_ptr() as usize);
                if new { buffer.capacity() } else { 0 }
            })
            .sum();
        own + data.child_data().iter().map(|child| walk(child, seen)).sum::<usize>()
    }
    let mut seen = HashSet::new();
    batch.columns().iter().map(|column| walk(&column.to_data(), &mut seen)).sum()
}

/// Rows of one Hive partition that lie together.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// In a batch that waits.
    Run { held: Held, start: usize, length: usize },
    /// Packed; charged where they wait in memory, not where they come from the scratch file.
    Packed { packed: PackedRows, _charge: Option<Arc<LaneCharge>> },
}

impl Piece {
    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Run { length, .. } => *length,
            Self::Packed { packed, .. } => packed.rows,
        }
    }

    /// What they count for.
    fn bytes(&self) -> usize {
        match self {
            Self::Run { held, length, .. } => {
                held.charge.bytes / held.batch.num_rows().max(1) * length
            }
            Self::Packed { packed, .. } => packed.bytes.len(),
        }
    }

    /// The rows packed.
    pub(super) fn packed(&self, packing: &Packing) -> Result<PackedRows, ArrowError> {
        match self {
            Self::Run { held, start, length } => {
                let order: Vec<u32> = (*start..start + length).map(|row| row as u32).collect();
                let none = || ArrowError::ComputeError("a run of rows was not packed".to_owned());
                packing.pack(&held.batch, &[order])?.pop().ok_or_else(none)
            }
            Self::Packed { packed, .. } => Ok(packed.clone()),
        }
    }
}

/// What waits of one Hive partition in memory.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The rows, oldest first.
    pub(super) pieces: Vec<Piece>,
    /// Their number.
    pub(super) rows: usize,
    /// What they count for.
    pub(super) bytes: usize,
}

impl Waiting {
    /// Let more rows wait.
    pub(super) fn push(&mut self, piece: Piece) {
        self.rows += piece.len();
        self.bytes += piece.bytes();
        self.pieces.push(piece);
    }
}

/// The rows of some pieces in order, as batches of a useful size, made one at a time: a long run is
/// sliced, short ones are put together, packed rows are unpacked.
pub(super) struct Blocks<'a> {
    pieces: Peekable<slice::Iter<'a, Piece>>,
    packing: &'a Packing,
}

impl<'a> Blocks<'a> {
    /// The blocks of `pieces`.
    pub(super) fn new(pieces: &'a [Piece], packing: &'a Packing) -> Self {
        Self { pieces: pieces.iter().peekable(), packing }
    }

    /// Put short runs together.
    fn join(&mut self, first: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let mut rows = first.num_rows();
        let mut slices = vec![first];
        while rows < BLOCK_ROWS
            && let Some(Piece::Run { held, start, length }) = self.pieces.peek()
            && *length < LONG_RUN
        {
            rows += length;
            slices.push(held.batch.slice(*start, *length));
            self.pieces.next();
        }
        concat_batches(self.packing.schema(), &slices)
    }

    /// Unpack packed rows together.
    fn unpack(&mut self, first: &PackedRows) -> Result<RecordBatch, ArrowError> {
        let mut rows = first.rows;
        let mut packed = vec![first.clone()];
        while rows < UNPACKED_ROWS
            && let Some(Piece::Packed { packed: next, .. }) = self.pieces.peek()
        {
            rows += next.rows;
            packed.push(next.clone());
            self.pieces.next();
        }
        self.packing.unpack(&packed)
    }
}

impl Iterator for Blocks<'_> {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.pieces.next()? {
            Piece::Packed { packed, .. } => self.unpack(packed),
            Piece::Run { held, start, length } => {
                let run = held.batch.slice(*start, *length);
                if *length < LONG_RUN { self.join(run) } else { Ok(run) }
            }
        })
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
