//! Rows of a columnar archive, taken as the plain records that they stand for, so that one decoder
//! with one set of rules serves both: rejects by row, unknown columns to `_extra`, quality rules.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::writer::{LineDelimited, WriterBuilder};

use super::base64::encode;
use super::plan::{Kind, Plan};
use crate::component::source::{RawRecords, RecordPositions};
use crate::contract::TimeForm;

/// The rows as records, one JSON object each; row `i` stands at position `first + i`.
pub(super) fn records(
    plan: &Plan,
    rows: &RecordBatch,
    first: u64,
) -> Result<RawRecords, ArrowError> {
    let mut fields = Vec::with_capacity(rows.num_columns());
    let mut columns = Vec::with_capacity(rows.num_columns());
    for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
        let kind = plan.root.index(field.name(), 0).and_then(|index| plan.root.all.get(index));
        let column = as_source_writes(column, kind.map(|member| &member.kind))?;
        fields.push(Field::new(field.name(), column.data_type().clone(), true));
        columns.push(column);
    }
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
    let mut data = Vec::new();
    let mut spans = Vec::with_capacity(rows.num_rows());
    for row in 0..rows.num_rows() {
        // One row at a time: a writer leaves a row out of its lines in no other way.
        let start = data.len();
        let mut writer = WriterBuilder::new().build::<_, LineDelimited>(&mut data);
        writer.write(&rows.slice(row, 1))?;
        writer.finish()?;
        drop(writer);
        if data.len() == start {
            data.extend_from_slice(b"{}\n");
        }
        let place = |at: usize| {
            u32::try_from(at)
                .map_err(|_| ArrowError::MemoryError("a batch of rows over 4 GiB".into()))
        };
        spans.push((place(start)?, place(data.len() - start - 1)?));
    }
    let positions = (0..rows.num_rows() as u64).map(|row| first + row).collect();
    Ok(RawRecords {
        data: data.into(),
        spans,
        positions: RecordPositions::Each(positions),
        oversized: Vec::new(),
        messages: None,
    })
}

/// A column in the form in which a plain record would carry it: instants that the contract counts
/// become counts, bytes become base64.
fn as_source_writes(column: &ArrayRef, kind: Option<&Kind>) -> Result<ArrayRef, ArrowError> {
    match (column.data_type(), kind) {
        (DataType::Date32 | DataType::Date64, Some(Kind::Date(TimeForm::EpochDays))) => {
            cast(&cast(column, &DataType::Date32)?, &DataType::Int32)
        }
        (DataType::Timestamp(_, zone), Some(Kind::Instant(form))) => {
            let unit = match form {
                TimeForm::Text | TimeForm::EpochDays => return Ok(column.clone()),
                TimeForm::EpochSeconds => TimeUnit::Second,
                TimeForm::EpochMillis => TimeUnit::Millisecond,
                TimeForm::EpochMicros => TimeUnit::Microsecond,
                TimeForm::EpochNanos => TimeUnit::Nanosecond,
            };
            // Nanoseconds hold three centuries only: outside of them this fails, and makes no nulls.
            let options = CastOptions { safe: false, ..CastOptions::default() };
            let counted =
                cast_with_options(column, &DataType::Timestamp(unit, zone.clone()), &options)?;
            cast(&counted, &DataType::Int64)
        }
        (DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_), _) => {
            as_source_writes(&cast(column, &DataType::Binary)?, kind)
        }
        (DataType::Binary, _) => {
            let texts = column.as_binary::<i32>().iter().map(|bytes| bytes.map(encode));
            Ok(Arc::new(texts.collect::<StringArray>()))
        }
        _ => Ok(column.clone()),
    }
}
