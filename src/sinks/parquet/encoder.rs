//! One Parquet file in the making. Between row groups it is no more than footer metadata.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;

use super::Shared;
use super::layout::Bucket;
use super::properties::Encodings;
use super::rows::{Blocks, Piece};
use super::table::Origin;
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Rows of a row group at most.
pub(super) const ROW_GROUP_ROWS: usize = 128 * 1024;

/// A file that is being encoded; its bytes are taken out after each row group.
pub(super) struct FileEncoder {
    writer: SerializedFileWriter<Vec<u8>>,
    row_groups: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    number: usize,
    open: Option<OpenRowGroup>,
}

struct OpenRowGroup {
    columns: Vec<ArrowColumnWriter>,
    rows: usize,
}

impl FileEncoder {
    /// A new file, encoded as its first rows suggest.
    fn new(
        encodings: &Encodings,
        sample: &RecordBatch,
        footer: Vec<(&'static str, String)>,
    ) -> ParquetResult<Self> {
        let root = encodings.descriptor().root_schema_ptr();
        let properties = encodings.properties(sample);
        let mut writer = SerializedFileWriter::new(Vec::new(), root, properties)?;
        for (key, value) in footer {
            writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        let schema = encodings.schema().clone();
        let row_groups = ArrowRowGroupWriterFactory::new(&writer, schema.clone());
        Ok(Self { writer, row_groups, schema, number: 0, open: None })
    }

    /// Add rows to the open row group, or to a new one where that would pass [`ROW_GROUP_ROWS`].
    fn write(&mut self, block: &RecordBatch) -> ParquetResult<()> {
        let is_full = |open: &OpenRowGroup| open.rows + block.num_rows() > ROW_GROUP_ROWS;
        if self.open.as_ref().is_some_and(is_full) {
            self.end_row_group()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let columns = self.row_groups.create_column_writers(self.number)?;
                none.insert(OpenRowGroup { columns, rows: 0 })
            }
        };
        open.rows += block.num_rows();
        let mut writers = open.columns.iter_mut();
        for (field, column) in self.schema.fields().iter().zip(block.columns()) {
            for leaf in compute_leaves(field, column)? {
                if let Some(writer) = writers.next() {
                    writer.write(&leaf)?;
                }
            }
        }
        Ok(())
    }

    fn end_row_group(&mut self) -> ParquetResult<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let mut row_group = self.writer.next_row_group()?;
        for column in open.columns {
            column.close()?.append_to_row_group(&mut row_group)?;
        }
        row_group.close()?;
        self.number += 1;
        Ok(())
    }

    fn finish(&mut self) -> ParquetResult<()> {
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
    /// Where the rows come from.
    pub(super) origin: Origin,
    /// The rows, which may be none where the file only has to be finished.
    pub(super) pieces: Vec<Piece>,
    /// The file; `None`: a new one.
    pub(super) encoder: Option<FileEncoder>,
    /// What the footer of a new file will say.
    pub(super) footer: Vec<(&'static str, String)>,
    /// What follows on them.
    pub(super) end: End,
}

/// What follows on the rows of a job in their file.
pub(super) enum End {
    /// More rows, soon: the row group stays open.
    Rows,
    /// Another row group.
    RowGroup,
    /// Nothing but the footer.
    File,
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
    /// Encode the rows: into the open row group where there is one, and more where they are many.
    /// Needs a core.
    pub(super) fn run(mut self, shared: &Shared) -> Result<Encoded> {
        let failed = || "cannot encode rows as Parquet".to_owned();
        let mut rows = 0;
        let mut encoder = self.encoder.take();
        for block in Blocks::new(&self.pieces, &shared.packing) {
            let block = block.or_error(ErrorKind::Fatal, failed)?;
            let block = shared.table.complete(&block, &self.origin)?;
            rows += block.num_rows() as u64;
            let encoder = match &mut encoder {
                Some(encoder) => encoder,
                none => none.insert(
                    FileEncoder::new(&shared.encodings, &block, std::mem::take(&mut self.footer))
                        .or_error(ErrorKind::Fatal, failed)?,
                ),
            };
            encoder.write(&block).or_error(ErrorKind::Fatal, failed)?;
        }
        let Some(mut encoder) = encoder else {
            return Err(Error::fatal("a Parquet file without rows was begun"));
        };
        let ended = match &self.end {
            End::Rows => Ok(()),
            End::RowGroup => encoder.end_row_group(),
            End::File => encoder.end_row_group().and_then(|()| encoder.finish()),
        };
        ended.or_error(ErrorKind::Fatal, failed)?;
        let bytes = encoder.take_bytes().or_error(ErrorKind::Fatal, failed)?;
        let encoder = (!matches!(self.end, End::File)).then_some(encoder);
        Ok(Encoded { bucket: self.bucket, bytes, rows, encoder })
    }
}
