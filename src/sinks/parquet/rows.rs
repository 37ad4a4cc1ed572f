//! Rows that wait in memory, by Hive partition, without being copied.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::layout::BucketRows;
use super::table::compact;
use crate::memory::{Charge, MemoryBudget};

/// Rows of a block that encoders and the scratch file take at once.
pub(super) const BLOCK_ROWS: usize = 8192;
/// A run of this many rows is a block of its own, sliced instead of gathered.
const LONG_RUN: usize = 1024;
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

/// A batch that waits, charged to the budget for as long as any of its rows waits.
#[derive(Debug)]
pub(super) struct Held {
    batch: RecordBatch,
    bytes: usize,
    lane: LaneBytes,
    _charge: Charge,
}

impl Held {
    /// Hold `batch`. Text is left where it lies unless that keeps far more alive than it needs.
    pub(super) fn new(
        batch: RecordBatch,
        lane: &LaneBytes,
        budget: &Arc<MemoryBudget>,
    ) -> Result<Arc<Self>, ArrowError> {
        let mut bytes = memory_of(&batch);
        let mut batch = batch;
        if bytes > batch.num_rows() * SPARSE_BYTES {
            batch = compact(&batch)?;
            bytes = memory_of(&batch);
        }
        lane.0.fetch_add(bytes, Ordering::Relaxed);
        Ok(Arc::new(Self { batch, bytes, lane: lane.clone(), _charge: budget.charge(bytes) }))
    }

    /// What `rows` of its rows count for.
    pub(super) fn bytes_of(&self, rows: usize) -> usize {
        self.bytes / self.batch.num_rows().max(1) * rows
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.lane.0.fetch_sub(self.bytes, Ordering::Relaxed);
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

/// Rows of one Hive partition inside one held batch, or read back from the scratch file.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// In a batch that waits.
    Held { held: Arc<Held>, rows: BucketRows },
    /// A batch of nothing else.
    Read(RecordBatch),
}

impl Piece {
    fn batch(&self) -> &RecordBatch {
        match self {
            Self::Held { held, .. } => &held.batch,
            Self::Read(batch) => batch,
        }
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Held { rows, .. } => rows.len(),
            Self::Read(batch) => batch.num_rows(),
        }
    }

    /// The rows as a batch of their own, where they lie together.
    fn slice(&self) -> Option<RecordBatch> {
        self.run().map(|(start, length)| self.batch().slice(start, length))
    }

    /// Where the rows are, if they lie together.
    fn run(&self) -> Option<(usize, usize)> {
        match self {
            Self::Held { rows: BucketRows::Run { start, length }, .. } => Some((*start, *length)),
            Self::Held { .. } => None,
            Self::Read(batch) => Some((0, batch.num_rows())),
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
    pub(super) fn push(&mut self, held: &Arc<Held>, rows: BucketRows) {
        self.rows += rows.len();
        self.bytes += held.bytes_of(rows.len());
        self.pieces.push(Piece::Held { held: held.clone(), rows });
    }
}

/// The rows of `pieces` in order, as batches of a useful size: long runs are slices, everything
/// else is gathered, its text left where it lies.
pub(super) fn blocks(pieces: &[Piece], schema: &SchemaRef) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut blocks = Vec::new();
    let mut small: Vec<&Piece> = Vec::new();
    let mut rows = 0;
    for piece in pieces {
        if piece.len() >= LONG_RUN
            && let Some(slice) = piece.slice()
        {
            flush(&mut small, &mut rows, schema, &mut blocks)?;
            blocks.push(slice);
        } else {
            rows += piece.len();
            small.push(piece);
            if rows >= BLOCK_ROWS {
                flush(&mut small, &mut rows, schema, &mut blocks)?;
            }
        }
    }
    flush(&mut small, &mut rows, schema, &mut blocks)?;
    Ok(blocks)
}

fn flush(
    small: &mut Vec<&Piece>,
    rows: &mut usize,
    schema: &SchemaRef,
    blocks: &mut Vec<RecordBatch>,
) -> Result<(), ArrowError> {
    if small.is_empty() {
        return Ok(());
    }
    // One slice alone is not copied.
    if let Some(slices) = small.iter().map(|piece| piece.slice()).collect::<Option<Vec<_>>>() {
        blocks.push(concat_batches(schema, &slices)?);
    } else {
        let batches: Vec<_> = small.iter().map(|piece| piece.batch()).collect();
        let mut indices = Vec::with_capacity(*rows);
        for (number, piece) in small.iter().enumerate() {
            match piece {
                Piece::Held { rows: BucketRows::List(list), .. } => {
                    indices.extend(list.iter().map(|&row| (number, row as usize)));
                }
                _ => {
                    let (start, length) = piece.run().unwrap_or((0, piece.len()));
                    indices.extend((start..start + length).map(|row| (number, row)));
                }
            }
        }
        blocks.push(interleave_record_batch(&batches, &indices)?);
    }
    debug_assert!(blocks.iter().all(|block| block.schema() == *schema));
    small.clear();
    *rows = 0;
    Ok(())
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
