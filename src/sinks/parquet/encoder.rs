//! One Parquet file in the making. Between row groups it is no more than footer metadata.

use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;

use super::layout::Bucket;
use super::properties::Encodings;
use super::rows::{Piece, blocks};
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Rows of a row group at most.
pub(super) const ROW_GROUP_ROWS: usize = 128 * 1024;

/// A file that is being encoded; its bytes are taken out after each row group.
pub(super) struct FileEncoder {
    writer: SerializedFileWriter<Vec<u8>>,
    row_groups: ArrowRowGroupWriterFactory,
    schema: arrow::datatypes::SchemaRef,
    number: usize,
}

impl FileEncoder {
    fn new(encodings: &Encodings, properties: WriterPropertiesPtr) -> ParquetResult<Self> {
        let root = encodings.descriptor().root_schema_ptr();
        let writer = SerializedFileWriter::new(Vec::new(), root, properties)?;
        let schema = encodings.schema().clone();
        let row_groups = ArrowRowGroupWriterFactory::new(&writer, schema.clone());
        Ok(Self { writer, row_groups, schema, number: 0 })
    }

    fn append_row_group(&mut self, batches: &[RecordBatch]) -> ParquetResult<()> {
        let mut columns = self.row_groups.create_column_writers(self.number)?;
        for batch in batches {
            let mut writers = columns.iter_mut();
            for (field, column) in self.schema.fields().iter().zip(batch.columns()) {
                for leaf in compute_leaves(field, column)? {
                    if let Some(writer) = writers.next() {
                        writer.write(&leaf)?;
                    }
                }
            }
        }
        let mut row_group = self.writer.next_row_group()?;
        for column in columns {
            column.close()?.append_to_row_group(&mut row_group)?;
        }
        row_group.close()?;
        self.number += 1;
        Ok(())
    }

    fn finish(&mut self, footer: &[(&'static str, String)]) -> ParquetResult<()> {
        for (key, value) in footer {
            self.writer.append_key_value_metadata(KeyValue::new((*key).to_owned(), value.clone()));
        }
        self.writer.finish().map(|_| ())
    }

    /// The bytes that are new since the last call.
    fn take_bytes(&mut self) -> ParquetResult<Vec<u8>> {
        self.writer.flush()?;
        // Positions are counted above the buffer, so emptying it changes none. The next row group
        // will be about as large.
        let next = Vec::with_capacity(self.writer.inner().len());
        Ok(std::mem::replace(self.writer.inner_mut(), next))
    }
}

/// Rows to encode into one file.
pub(super) struct Work {
    /// The Hive partition of the file.
    pub(super) bucket: Bucket,
    /// The rows, which may be none where the file only has to be finished.
    pub(super) pieces: Vec<Piece>,
    /// The file; `None`: a new one.
    pub(super) encoder: Option<FileEncoder>,
    /// What the footer says, where nothing follows in this file.
    pub(super) footer: Option<Vec<(&'static str, String)>>,
}

/// What encoding gave.
pub(super) struct Encoded {
    /// The Hive partition of the file.
    pub(super) bucket: Bucket,
    /// Bytes that the file grew by.
    pub(super) bytes: Vec<u8>,
    /// Rows among them.
    pub(super) rows: u64,
    /// The file, to go on with; `None` once its footer is written.
    pub(super) encoder: Option<FileEncoder>,
}

impl Work {
    /// Encode the rows as one row group, or several where they are many. Needs a core.
    pub(super) fn run(self, encodings: &Arc<Encodings>) -> Result<Encoded> {
        let failed = || "cannot encode rows as Parquet".to_owned();
        let rows = self.pieces.iter().map(|piece| piece.len() as u64).sum();
        let blocks = blocks(&self.pieces, encodings.schema()).or_error(ErrorKind::Fatal, failed)?;
        let mut encoder = match (self.encoder, blocks.first()) {
            (Some(encoder), _) => encoder,
            (None, Some(first)) => FileEncoder::new(encodings, encodings.properties(first))
                .or_error(ErrorKind::Fatal, failed)?,
            (None, None) => return Err(Error::fatal("a Parquet file without rows was begun")),
        };
        for group in row_groups(&blocks) {
            encoder.append_row_group(group).or_error(ErrorKind::Fatal, failed)?;
        }
        if let Some(footer) = &self.footer {
            encoder.finish(footer).or_error(ErrorKind::Fatal, failed)?;
        }
        let bytes = encoder.take_bytes().or_error(ErrorKind::Fatal, failed)?;
        let encoder = self.footer.is_none().then_some(encoder);
        Ok(Encoded { bucket: self.bucket, bytes, rows, encoder })
    }
}

/// Cut blocks into row groups of at most about [`ROW_GROUP_ROWS`] rows.
fn row_groups(blocks: &[RecordBatch]) -> Vec<&[RecordBatch]> {
    let mut groups = Vec::new();
    let (mut start, mut rows) = (0, 0);
    for (number, block) in blocks.iter().enumerate() {
        if rows > 0 && rows + block.num_rows() > ROW_GROUP_ROWS {
            groups.extend(blocks.get(start..number));
            (start, rows) = (number, 0);
        }
        rows += block.num_rows();
    }
    if rows > 0 {
        groups.extend(blocks.get(start..));
    }
    groups
}
