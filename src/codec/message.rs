//! What the broker carries around the messages that became rows.

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;

use crate::component::source::{RawRecords, RecordPositions};
use crate::event::Batch;
use crate::event::message::MessageColumns;

/// Give the rows of `batch` the keys and headers of their messages, where `records` have them. Rows
/// and records both stand in the order of their positions, and a message is one row at most.
pub(super) fn complete(mut batch: Batch, records: &RawRecords) -> Result<Batch, ArrowError> {
    let columns = records.messages.as_ref().and_then(|messages| messages.columns.as_ref());
    let (Some(columns), RecordPositions::Each(positions)) = (columns, &records.positions) else {
        return Ok(batch);
    };
    let rows = batch.system.position.as_primitive_opt::<Int64Type>();
    let mut rows = rows.map_or(&[][..], |rows| rows.values()).iter().peekable();
    batch.system.message = Some(match rows.len() == positions.len() {
        true => MessageColumns::clone(columns),
        false => {
            let is_row = |position: &u64| {
                let is_it = |row: &&i64| u64::try_from(**row).is_ok_and(|row| row == *position);
                Some(rows.next_if(is_it).is_some())
            };
            columns.filter(&positions.iter().map(is_row).collect())?
        }
    });
    Ok(batch)
}
