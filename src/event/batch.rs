//! The only thing that moves through a pipeline.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, kernels::boolean::and};
use arrow::error::ArrowError;

use super::dead_letter::{DeadLetter, RawImage, Stage};
use super::position::PositionRange;
use super::system::SystemColumns;

/// Metadata key of an Arrow field: the contract's column that this column is, unchanged.
pub const CONTRACT_COLUMN: &str = "acequia:column";
/// Metadata key of an Arrow field: set where the column is one of the contract's primary key.
pub const KEY_COLUMN: &str = "acequia:key";
/// Metadata key of an Arrow field: what its values refer to, `media` for media objects. An eraser of
/// rows finds by it what belongs to them outside the table.
pub const REFERENCES: &str = "acequia:references";

/// Arrow rows of one lane with the position range that they cover.
///
/// `rows` holds the columns of the contract and, behind a SQL stage, those that it selects; `system`
/// travels beside it, row-aligned. A filter never removes a row: it clears its bit in `kept`. A
/// rejected event has no row: it is in `rejects`. Either way `range` still covers it.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The rows, as the last stage leaves them.
    pub rows: RecordBatch,
    /// What Acequia knows of each row.
    pub system: SystemColumns,
    /// The record as it came, for each row: what a later stage puts into a dead letter.
    pub raw: RawRows,
    /// False where a filter was not true (false or NULL); `None` where no filter was met.
    pub kept: Option<BooleanBuffer>,
    /// The image before the change, taken through the same stages; `None` where the source gives
    /// none, where no filter follows, or where a stage is not SQL.
    pub before: Option<BeforeImage>,
    /// The positions covered: the rows, the filtered ones and the rejects.
    pub range: PositionRange,
    /// Events that the source delivered in this range, rejects included.
    pub events: u64,
    /// Uncompressed source bytes of this range.
    pub bytes: u64,
    /// Events refused so far, by the decoder and the transforms.
    pub rejects: Vec<DeadLetter>,
}

/// The rows before their change, as the stages so far would have shown them.
#[derive(Debug, Clone)]
pub struct BeforeImage {
    /// Same schema and length as [`Batch::rows`]; meaningless where `present` is false.
    pub rows: RecordBatch,
    /// True where the event has an image before it.
    pub present: BooleanBuffer,
    /// True where every filter so far is true of the image; `None` where no filter was met.
    pub kept: Option<BooleanBuffer>,
}

/// Finds the source bytes of a row again, without keeping a copy of each.
#[derive(Debug, Clone)]
pub struct RawRows {
    /// The chunk that the rows were decoded from; empty where the source gives rows, not bytes.
    pub data: bytes::Bytes,
    /// For each row where its record begins in `data` and how long it is.
    pub spans: Arc<[(u32, u32)]>,
    /// The row of `spans` that the first row of this batch stands for, after slicing.
    pub index: Option<Arc<[u32]>>,
}

impl RawRows {
    /// Rows without source bytes.
    pub fn none() -> Self {
        Self { data: bytes::Bytes::new(), spans: Arc::from([]), index: None }
    }

    /// The record of `row`; empty where the source gave no bytes.
    pub fn record(&self, row: usize) -> bytes::Bytes {
        let row = match &self.index {
            Some(index) => index.get(row).map_or(usize::MAX, |&row| row as usize),
            None => row,
        };
        match self.spans.get(row) {
            Some(&(start, length)) => {
                let start = (start as usize).min(self.data.len());
                self.data.slice(start..(start + length as usize).min(self.data.len()))
            }
            None => bytes::Bytes::new(),
        }
    }

    /// The rows where `keep` is true.
    fn filter(&self, keep: &BooleanArray) -> Self {
        let index = keep
            .values()
            .set_indices()
            .map(|row| match &self.index {
                Some(index) => index.get(row).copied().unwrap_or(u32::MAX),
                None => row as u32,
            })
            .collect();
        Self { data: self.data.clone(), spans: self.spans.clone(), index: Some(index) }
    }
}

impl Batch {
    /// Number of rows, filtered ones included.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// True where the batch has no row (its range may still cover events).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the rows hold in memory, as an upper bound: shared buffers count in full.
    pub fn memory(&self) -> usize {
        self.rows.get_array_memory_size() + self.system.key.get_array_memory_size()
    }

    /// The letter of a row that `stage` refuses.
    pub fn letter(&self, stage: Stage, row: usize, reason: String) -> DeadLetter {
        let system = &self.system;
        DeadLetter {
            stage,
            reason,
            raw: RawImage::whole(self.raw.record(row)),
            stream: system.stream.clone(),
            partition: system.partition.clone(),
            position: system.position_at(row),
            version: system.version.value(row),
            key: Some(system.key.value(row).to_owned()),
            event_time: Some(system.event_time.value(row)),
        }
    }

    /// Remove the rows where `keep` is false: rows that became rejects, or that have nothing to
    /// say to a sink. Range, counts and rejects stay.
    pub fn retain(self, keep: &BooleanArray) -> Result<Self, ArrowError> {
        if keep.true_count() == self.len() {
            return Ok(self);
        }
        let bits = |buffer: &BooleanBuffer| -> Result<BooleanBuffer, ArrowError> {
            let column = BooleanArray::new(buffer.clone(), None);
            let kept = arrow::compute::filter(&column, keep)?;
            Ok(arrow::array::AsArray::as_boolean(&kept).values().clone())
        };
        Ok(Self {
            rows: filter_record_batch(&self.rows, keep)?,
            system: self.system.filter(keep)?,
            raw: self.raw.filter(keep),
            kept: self.kept.as_ref().map(bits).transpose()?,
            before: self
                .before
                .as_ref()
                .map(|before| -> Result<BeforeImage, ArrowError> {
                    Ok(BeforeImage {
                        rows: filter_record_batch(&before.rows, keep)?,
                        present: bits(&before.present)?,
                        kept: before.kept.as_ref().map(bits).transpose()?,
                    })
                })
                .transpose()?,
            ..self
        })
    }
}

/// Both filters: the one met so far and `condition`, of which NULL counts as false.
pub fn narrow(
    kept: Option<&BooleanBuffer>,
    condition: &BooleanArray,
) -> Result<BooleanBuffer, ArrowError> {
    let condition = match condition.nulls() {
        Some(valid) => condition.values() & valid.inner(),
        None => condition.values().clone(),
    };
    match kept {
        None => Ok(condition),
        Some(kept) => {
            let both =
                and(&BooleanArray::new(kept.clone(), None), &BooleanArray::new(condition, None))?;
            Ok(both.values().clone())
        }
    }
}
