//! The rows of a Parquet file.

use std::sync::Arc;

use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::ChunkReader;

use super::place::{OpenFile, RowGroups};
use crate::aws::Phase;
use crate::component::{RawBatch, RawContent};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Position, PositionRange};

/// Decoded bytes of a batch, about.
const BATCH_BYTES: i64 = 1 << 20;

/// Which rows of some row groups.
#[derive(Debug, Clone, Copy)]
pub(super) struct Selection {
    /// Rows of the first group to pass over.
    pub(super) offset: usize,
    /// Most rows after them.
    pub(super) limit: usize,
    /// Rows of a batch.
    batch_rows: usize,
}

/// A reader of the selected rows of `groups`, whose bytes `input` gives.
pub(super) fn select<T: ChunkReader + 'static>(
    input: T,
    footer: &ArrowReaderMetadata,
    groups: &[usize],
    selection: Selection,
) -> Result<ParquetRecordBatchReader, ParquetError> {
    ParquetRecordBatchReaderBuilder::new_with_metadata(input, footer.clone())
        .with_row_groups(groups.to_vec())
        .with_offset(selection.offset)
        .with_limit(selection.limit)
        .with_batch_size(selection.batch_rows)
        .build()
}

/// Gives the rows `[from, to)`; a row's position is its number in the file.
pub(super) struct RowReader {
    file: Arc<dyn OpenFile>,
    name: Arc<str>,
    /// `None` until the first row is asked for.
    groups: Option<Box<dyn RowGroups>>,
    rows: Option<ParquetRecordBatchReader>,
    /// The row at which `rows` began.
    begun: u64,
    next: u64,
    to: u64,
}

impl RowReader {
    pub(super) fn new(file: Arc<dyn OpenFile>, name: Arc<str>, from: u64, to: u64) -> Self {
        Self { file, name, groups: None, rows: None, begun: from, next: from, to }
    }

    /// The next rows; `None` at the end. May be asked again after a retryable error.
    pub(super) fn next(&mut self) -> Result<Option<RawBatch>> {
        while self.next < self.to {
            let rows = match &mut self.rows {
                Some(rows) => rows,
                None => self.open()?,
            };
            match rows.next() {
                Some(Ok(rows)) => {
                    let first = self.next;
                    self.next += rows.num_rows() as u64;
                    let to = Position::Offset(self.next);
                    return Ok(Some(RawBatch {
                        range: PositionRange::new(Position::Offset(first), to),
                        bytes: rows.get_array_memory_size() as u64,
                        content: RawContent::Rows { rows, first },
                    }));
                }
                Some(Err(cause)) => {
                    self.rows = None;
                    let failure = self.groups.as_mut().and_then(|groups| groups.failure());
                    return Err(failure.unwrap_or_else(|| {
                        unreadable(&self.name, ParquetError::ArrowError(cause.to_string()))
                    }));
                }
                // These row groups have ended, and others follow.
                None if self.next > self.begun => self.rows = None,
                None => {
                    return Err(Error::halted(format!(
                        "the archive file {} ends at row {}, before row {} that it was listed with",
                        self.name, self.next, self.to
                    )));
                }
            }
        }
        Ok(None)
    }

    /// Open the row groups from the next row on.
    fn open(&mut self) -> Result<&mut ParquetRecordBatchReader> {
        let groups = match &mut self.groups {
            Some(groups) => groups,
            None => self.groups.insert(self.file.row_groups()?),
        };
        let (selected, first) = overlapping(groups.metadata(), self.next, self.to);
        let rows = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let selection = Selection {
            offset: rows(self.next.saturating_sub(first)),
            limit: rows(self.to.saturating_sub(self.next)),
            batch_rows: batch_rows(groups.metadata()),
        };
        self.begun = self.next;
        Ok(self.rows.insert(groups.open(&selected, selection)?))
    }

    /// The row that comes next.
    pub(super) fn position(&self) -> u64 {
        self.next
    }
}

/// The error for a Parquet file whose content is not what it should be.
pub(super) fn unreadable(name: &str, cause: ParquetError) -> Error {
    Error::halted(format!("the archive file {name} is damaged")).caused_by(cause)
}

/// The error for a Parquet file whose end is not what it should be.
pub(super) fn unreadable_footer(name: &str, phase: Phase, cause: ParquetError) -> Error {
    let kind = match phase {
        Phase::Start => ErrorKind::Config,
        Phase::Run => ErrorKind::Halted,
    };
    let message = format!("cannot read the Parquet footer of the archive file {name}");
    Error::new(kind, message).caused_by(cause)
}

/// The row groups with rows in `[from, to)`, and the number of the first one's first row.
fn overlapping(metadata: &ParquetMetaData, from: u64, to: u64) -> (Vec<usize>, u64) {
    let (mut groups, mut first, mut start) = (Vec::new(), from, 0);
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let end = start + u64::try_from(group.num_rows()).unwrap_or(0);
        if start < to && end > from && end > start {
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
