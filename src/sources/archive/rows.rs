//! The rows of a Parquet file.

use std::fs::File;
use std::sync::Arc;

use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;

use crate::component::{RawBatch, RawContent};
use crate::error::{Error, Result};
use crate::event::{Position, PositionRange};

/// Decoded bytes of a batch, about.
const BATCH_BYTES: i64 = 1 << 20;

/// Gives the rows `[from, to)`; a row's position is its number in the file.
pub(super) struct RowReader {
    rows: ParquetRecordBatchReader,
    name: Arc<str>,
    next: u64,
    to: u64,
}

impl RowReader {
    pub(super) fn new(file: File, name: Arc<str>, from: u64, to: u64) -> Result<Self> {
        let damaged = |cause: ParquetError| unreadable(&name, cause);
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged)?;
        let (groups, first) = overlapping(builder.metadata(), from, to);
        let batch_rows = batch_rows(builder.metadata());
        let rows = builder
            .with_row_groups(groups)
            .with_offset(usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX))
            .with_limit(usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX))
            .with_batch_size(batch_rows)
            .build()
            .map_err(damaged)?;
        Ok(Self { rows, name, next: from, to })
    }

    /// The next rows; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<RawBatch>> {
        match self.rows.next() {
            None if self.next < self.to => Err(Error::halted(format!(
                "the archive file {} ends at row {}, before row {} that it was listed with",
                self.name, self.next, self.to
            ))),
            None => Ok(None),
            Some(Err(cause)) => {
                Err(unreadable(&self.name, ParquetError::ArrowError(cause.to_string())))
            }
            Some(Ok(rows)) => {
                let first = self.next;
                self.next += rows.num_rows() as u64;
                Ok(Some(RawBatch {
                    range: PositionRange::new(Position::Offset(first), Position::Offset(self.next)),
                    bytes: rows.get_array_memory_size() as u64,
                    content: RawContent::Rows { rows, first },
                }))
            }
        }
    }

    /// The row that comes next.
    pub(super) fn position(&self) -> u64 {
        self.next
    }
}

fn unreadable(name: &str, cause: ParquetError) -> Error {
    Error::halted(format!("the archive file {name} is damaged")).caused_by(cause)
}

/// The row groups with rows in `[from, to)`, and the number of the first one's first row.
fn overlapping(metadata: &ParquetMetaData, from: u64, to: u64) -> (Vec<usize>, u64) {
    let (mut groups, mut first, mut start) = (Vec::new(), from, 0);
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let end = start + u64::try_from(group.num_rows()).unwrap_or(0);
        if start < to && end > from {
            if groups.is_empty() {
                first = start;
            }
            groups.push(index);
        }
        start = end;
    }
    (groups, first)
}

fn batch_rows(metadata: &ParquetMetaData) -> usize {
    let bytes: i64 = metadata.row_groups().iter().map(|group| group.total_byte_size()).sum();
    let rows: i64 = metadata.row_groups().iter().map(|group| group.num_rows()).sum();
    let row_bytes = (bytes / rows.max(1)).max(1);
    usize::try_from(BATCH_BYTES / row_bytes).unwrap_or(0).clamp(256, 8192)
}
