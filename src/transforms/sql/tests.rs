//! Tests of the SQL stage.

mod properties;
mod refusals;
mod rows;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListBuilder, RecordBatch, StringViewArray,
    StringViewBuilder, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use bytes::Bytes;
use futures::FutureExt;

use super::*;
use crate::event::batch::{CONTRACT_COLUMN, KEY_COLUMN, RawRows};
use crate::event::system::{INSTANT, UTC};
use crate::event::{Position, PositionRange, RawImage, SystemColumns};

fn members() -> Fields {
    Fields::from(vec![
        Field::new("intent", DataType::Utf8View, true),
        Field::new("language", DataType::Utf8View, true),
    ])
}

/// Columns of every kind, an awkward name and a keyword among them.
pub(super) fn schema() -> SchemaRef {
    let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8View, true)));
    let fields = [
        ("user_id", DataType::Utf8View, true),
        ("timestamp", INSTANT.clone(), true),
        ("content", DataType::Utf8View, false),
        ("metadata", DataType::Struct(members()), false),
        ("tags", list, false),
        ("amount", DataType::Int64, false),
        ("items", DataType::Int64, false),
        ("score", DataType::Float64, false),
        ("escalated", DataType::Boolean, false),
        ("createdAt", DataType::Utf8View, false),
        ("case", DataType::Utf8View, false),
    ];
    let field = |(name, kind, key): (&str, DataType, bool)| {
        let mut metadata = HashMap::from([(CONTRACT_COLUMN.to_owned(), name.to_owned())]);
        if key {
            metadata.insert(KEY_COLUMN.to_owned(), "true".to_owned());
        }
        Field::new(name, kind, true).with_metadata(metadata)
    };
    Arc::new(Schema::new(fields.map(field).to_vec()))
}

pub(super) fn system_schema() -> SystemSchema {
    SystemSchema { position: DataType::Int64, before: None, extra: true, message: false }
}

/// One event of a test.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub op: &'static str,
    pub content: Option<String>,
    pub intent: Option<&'static str>,
    pub amount: Option<i64>,
    pub items: Option<i64>,
    pub score: Option<f64>,
    pub escalated: Option<bool>,
}

pub(super) fn event(content: &str, amount: i64, items: i64) -> Event {
    Event {
        op: "insert",
        content: Some(content.to_owned()),
        intent: Some("cancel"),
        amount: Some(amount),
        items: Some(items),
        score: Some(0.5),
        escalated: Some(false),
    }
}

pub(super) fn image(events: &[Event]) -> RecordBatch {
    let count = events.len();
    let text = |value: &dyn Fn(&Event) -> Option<String>| -> ArrayRef {
        Arc::new(StringViewArray::from_iter(events.iter().map(value)))
    };
    let metadata: ArrayRef = Arc::new(StructArray::new(
        members(),
        vec![
            text(&|event| event.intent.map(str::to_owned)),
            text(&|event| event.intent.map(|_| "es".to_owned())),
        ],
        None,
    ));
    let mut tags = ListBuilder::new(StringViewBuilder::new());
    for _ in 0..count {
        tags.values().append_value("first");
        tags.append(true);
    }
    let times = (0..count as i64).map(|row| 1_705_314_600_000_000 + row);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter_values((0..count).map(|row| format!("user {row}")))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone(UTC.clone())),
        text(&|event| event.content.clone()),
        metadata,
        Arc::new(tags.finish()),
        Arc::new(Int64Array::from_iter(events.iter().map(|event| event.amount))),
        Arc::new(Int64Array::from_iter(events.iter().map(|event| event.items))),
        Arc::new(Float64Array::from_iter(events.iter().map(|event| event.score))),
        Arc::new(BooleanArray::from_iter(events.iter().map(|event| event.escalated))),
        text(&|_| Some("yesterday".to_owned())),
        text(&|_| Some("first".to_owned())),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// A batch whose records are `record 0`, `record 1`, ...
pub(super) fn batch(events: &[Event]) -> Batch {
    let rows = image(events);
    let count = events.len();
    let mut data = Vec::new();
    let spans = (0..count)
        .map(|row| {
            let record = format!("record {row}\n");
            let start = data.len() as u32;
            data.extend_from_slice(record.as_bytes());
            (start, record.len() as u32 - 1)
        })
        .collect();
    let times = TimestampMicrosecondArray::from_iter_values((0..count as i64).map(|row| row + 1));
    let system = SystemColumns {
        op: StringViewArray::from_iter_values(events.iter().map(|event| event.op)),
        key: StringViewArray::from_iter_values((0..count).map(|row| format!("[\"{row}\"]"))),
        event_time: times.with_timezone(UTC.clone()),
        version: Int64Array::from_iter_values((0..count as i64).map(|row| row + 100)),
        stream: "archive".into(),
        partition: "a.ndjson".into(),
        position: Arc::new(Int64Array::from_iter_values(0..count as i64)),
        before: None,
        extra: Some(StringViewArray::from_iter((0..count).map(|_| None::<&str>))),
        message: None,
    };
    Batch {
        rows,
        system,
        raw: RawRows { data: Bytes::from(data), spans, index: None },
        kept: None,
        before: None,
        range: PositionRange::new(Position::Offset(0), Position::Offset(count as u64)),
        events: count as u64,
        bytes: 10 * count as u64,
        rejects: Vec::new(),
    }
}

pub(super) fn context() -> Context {
    crate::testing::context(1)
}

pub(super) fn transform(sql: &str) -> SqlTransform {
    SqlTransform::new(sql, &schema(), &system_schema(), "transforms[0].sql", &context())
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

pub(super) fn filter(condition: &str) -> SqlFilter {
    SqlFilter::new(condition, &schema(), &system_schema(), "search", &context())
        .unwrap_or_else(|error| panic!("{condition}: {error}"))
}

pub(super) fn apply(stage: &dyn Transform, batch: Batch) -> Batch {
    let count = batch.len() + batch.rejects.len();
    let given = stage.apply(batch).now_or_never().unwrap().unwrap();
    assert_eq!(given.len() + given.rejects.len(), count, "a row is neither there nor rejected");
    assert_eq!(given.rows.schema(), stage.schema());
    assert_eq!(given.system.len(), given.len());
    assert!(given.kept.as_ref().is_none_or(|kept| kept.len() == given.len()));
    given
}

pub(super) fn bits(buffer: Option<&BooleanBuffer>) -> String {
    match buffer {
        None => "all".to_owned(),
        Some(buffer) => buffer.iter().map(|bit| if bit { '1' } else { '0' }).collect(),
    }
}

/// The rows as CSV, without a header.
pub(super) fn csv(rows: &RecordBatch) -> String {
    let mut text = Vec::new();
    arrow::csv::WriterBuilder::new()
        .with_header(false)
        .with_null("NULL".to_owned())
        .build(&mut text)
        .write(rows)
        .unwrap();
    String::from_utf8(text).unwrap()
}
