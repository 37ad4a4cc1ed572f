//! Writer settings, column by column: the largest gain in speed that the lake has.
//!
//! A dictionary costs a hash of every value and pays only where values repeat; numbers and times
//! are smallest and fastest as deltas; statistics of text help nobody. What the contract does not say
//! is read off the first rows.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Float32Type, Float64Type, Schema, SchemaRef,
};
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding, Type as PhysicalType, ZstdLevel};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterPropertiesPtr,
};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use super::rows::BLOCK_ROWS;
use crate::contract::model::Contract;
use crate::error::{ErrorKind, Result, ResultExt};
use crate::event::batch::CONTRACT_COLUMN;
use crate::event::system::{BEFORE, EXTRA, KEY};

/// Rows of a page at most: a dictionary's indices take eight bytes each until their page is written.
/// Not fewer, since each page costs a compression of its own.
const PAGE_ROWS: usize = 32 * 1024;
/// Rows that are looked at.
const SAMPLE_ROWS: usize = 4096;
/// From so many rows on nothing is looked at again.
const ENOUGH_ROWS: usize = 1024;
/// One distinct value in so many: a dictionary still pays.
const REPEATS: usize = 4;

/// How the files of one table are encoded.
#[derive(Debug)]
pub(super) struct Encodings {
    schema: SchemaRef,
    descriptor: SchemaDescriptor,
    /// Columns of the table whose values the contract calls unique.
    unique: HashSet<String>,
    chosen: Mutex<Option<Chosen>>,
}

/// Settings, and how many rows they were read off.
#[derive(Debug)]
struct Chosen {
    rows: usize,
    properties: WriterPropertiesPtr,
}

impl Encodings {
    /// Encodings of `schema`, with what `contract` knows of its columns.
    pub(super) fn new(schema: &SchemaRef, contract: &Contract) -> Result<Self> {
        let descriptor = ArrowSchemaConverter::new()
            .with_coerce_types(true)
            .schema_root("schema")
            .convert(schema)
            .or_error(ErrorKind::Config, || {
                "the columns cannot be written as Parquet".to_owned()
            })?;
        let is_unique = |field: &&Arc<Field>| {
            let column = field.metadata().get(CONTRACT_COLUMN);
            column.and_then(|name| contract.column(name)).is_some_and(|column| column.unique)
        };
        let unique =
            schema.fields().iter().filter(is_unique).map(|field| field.name().clone()).collect();
        Ok(Self { schema: schema.clone(), descriptor, unique, chosen: Mutex::new(None) })
    }

    /// The Arrow schema of the rows.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The Parquet schema.
    pub(super) fn descriptor(&self) -> &SchemaDescriptor {
        &self.descriptor
    }

    /// The settings for a file that begins with `sample`. Fixed by the first sample of useful size;
    /// until one comes, read off again only where there is twice as much to see: with many open
    /// days every file is small, and looking costs nearly as much as encoding.
    pub(super) fn properties(&self, sample: &RecordBatch) -> WriterPropertiesPtr {
        let rows = sample.num_rows();
        let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        match chosen.as_ref() {
            Some(chosen) if chosen.rows >= ENOUGH_ROWS || rows < chosen.rows * 2 => {
                chosen.properties.clone()
            }
            _ => {
                let properties = Arc::new(self.choose(sample));
                *chosen = Some(Chosen { rows, properties: properties.clone() });
                properties
            }
        }
    }

    fn choose(&self, sample: &RecordBatch) -> WriterProperties {
        let mut builder = WriterProperties::builder()
            .set_created_by(concat!("acequia ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_write_batch_size(BLOCK_ROWS)
            .set_data_page_row_count_limit(PAGE_ROWS)
            .set_coerce_types(true);
        let sample = sample.slice(0, sample.num_rows().min(SAMPLE_ROWS));
        let leaves = leaves(&self.schema, &sample);
        for (column, values) in self.descriptor.columns().iter().zip(leaves) {
            builder = self.set_column(builder, column, &values);
        }
        builder.build()
    }

    fn set_column(
        &self,
        builder: WriterPropertiesBuilder,
        column: &ColumnDescriptor,
        values: &ArrayRef,
    ) -> WriterPropertiesBuilder {
        let path = column.path().clone();
        let Some(root) = path.parts().first() else { return builder };
        let unique = root == KEY || root == EXTRA || self.unique.contains(root);
        match column.physical_type() {
            PhysicalType::INT32 | PhysicalType::INT64 => builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            PhysicalType::BOOLEAN => builder.set_column_dictionary_enabled(path, false),
            _ => {
                let sample = Sample::of(values);
                let plain = unique || !sample.repeats();
                // The least and the greatest text of a hundred thousand rows in the order of time
                // exclude no row group, and comparing each value takes a tenth of the encoding.
                let dull = root == BEFORE || column.physical_type() == PhysicalType::BYTE_ARRAY;
                let builder = builder.set_column_dictionary_enabled(path.clone(), !plain);
                if dull {
                    builder.set_column_statistics_enabled(path, EnabledStatistics::None)
                } else {
                    builder
                }
            }
        }
    }
}

/// What the first values of a column look like.
struct Sample {
    values: usize,
    distinct: usize,
}

impl Sample {
    fn of(array: &ArrayRef) -> Self {
        fn count<'a>(values: impl Iterator<Item = Option<&'a [u8]>>) -> Sample {
            count_fixed(values.flatten())
        }
        fn count_fixed<T: std::hash::Hash + Eq>(values: impl Iterator<Item = T>) -> Sample {
            let mut number = 0;
            let seen: HashSet<T> = values.inspect(|_| number += 1).collect();
            Sample { values: number, distinct: seen.len() }
        }
        match array.data_type() {
            DataType::Utf8View => {
                let array = array.as_string_view();
                count(array.iter().map(|value| value.map(str::as_bytes)))
            }
            DataType::BinaryView => count(array.as_binary_view().iter()),
            DataType::Float64 => {
                let array = array.as_primitive::<Float64Type>();
                count_fixed(array.iter().flatten().map(f64::to_bits))
            }
            DataType::Float32 => {
                let array = array.as_primitive::<Float32Type>();
                count_fixed(array.iter().flatten().map(f32::to_bits))
            }
            DataType::Decimal128(..) => {
                count_fixed(array.as_primitive::<Decimal128Type>().iter().flatten())
            }
            _ => Self { values: 0, distinct: 0 },
        }
    }

    /// True where values occur often enough for a dictionary; also where nothing is known.
    fn repeats(&self) -> bool {
        self.distinct * REPEATS <= self.values.max(REPEATS)
    }
}

/// The leaf arrays of a batch, in the order of the Parquet schema's columns.
fn leaves(schema: &Schema, batch: &RecordBatch) -> Vec<ArrayRef> {
    fn walk(array: &ArrayRef, found: &mut Vec<ArrayRef>) {
        match array.data_type() {
            DataType::Struct(_) => {
                array.as_struct().columns().iter().for_each(|member| walk(member, found));
            }
            DataType::List(_) => walk(array.as_list::<i32>().values(), found),
            _ => found.push(array.clone()),
        }
    }
    debug_assert_eq!(schema.fields().len(), batch.num_columns());
    let mut found = Vec::new();
    batch.columns().iter().for_each(|column| walk(column, &mut found));
    found
}

#[cfg(test)]
#[path = "properties_tests.rs"]
mod tests;
