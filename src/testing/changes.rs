//! Batches for tests of sinks.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema};

use crate::event::batch::RawRows;
use crate::event::system::UTC;
use crate::event::{Batch, Position, PositionRange, SystemColumns};

/// A batch of one column `text`, which is `t<n>` in row `n`. Each row is a change: its operation, its
/// key and its version.
pub fn changes<K: AsRef<str>>(rows: &[(&str, K, i64)]) -> Batch {
    let numbers = 0..rows.len() as i64;
    let texts = StringViewArray::from_iter_values(numbers.clone().map(|row| format!("t{row}")));
    let times = TimestampMicrosecondArray::from_iter_values(numbers.clone());
    let schema = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8View, true)]));
    let columns = RecordBatch::try_new(schema.clone(), vec![Arc::new(texts)]);
    Batch {
        rows: columns.unwrap_or_else(|_| RecordBatch::new_empty(schema)),
        system: SystemColumns {
            op: StringViewArray::from_iter_values(rows.iter().map(|(op, ..)| op)),
            key: StringViewArray::from_iter_values(rows.iter().map(|(_, key, _)| key.as_ref())),
            event_time: times.with_timezone(UTC.clone()),
            version: Int64Array::from_iter_values(rows.iter().map(|(.., version)| *version)),
            stream: "s".into(),
            partition: "p".into(),
            position: Arc::new(Int64Array::from_iter_values(numbers)),
            before: None,
            extra: None,
            message: None,
        },
        raw: RawRows::none(),
        kept: None,
        before: None,
        range: PositionRange::new(Position::Offset(0), Position::Offset(9)),
        events: rows.len() as u64,
        bytes: 0,
        rejects: Vec::new(),
    }
}
