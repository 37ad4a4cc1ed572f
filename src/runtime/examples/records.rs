//! The changes of a test as the source would deliver them.

use std::collections::HashMap;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::codec::Format;
use crate::component::source::{RawBatch, RawContent, RawRecords, RecordPositions};
use crate::config::{Loaded, TestConfig};
use crate::contract::Contract;
use crate::contract::model::{Column, ColumnType};
use crate::event::{Operation, Position, PositionRange, system};

type Item = Map<String, Value>;

/// When a change of a DynamoDB table happened, where the test does not say: any fixed time.
const CREATED: &str = "2024-01-01T00:00:00Z";

/// The input of `test` in the form of the pipeline's source, one record a change.
pub(super) fn of(test: &TestConfig, loaded: &Loaded) -> RawBatch {
    let format = loaded.pipeline.source.format();
    let mut table = Table { contract: &loaded.contract, items: HashMap::new(), changes: 0 };
    let records = test.input.iter().map(|event| {
        let (operation, item) = event.parts();
        match format {
            Format::Plain => plain(operation, item),
            Format::Dynamodb => table.change(operation, item),
            Format::Debezium => debezium(operation, item),
        }
    });
    let (mut data, mut spans) = (Vec::new(), Vec::new());
    for record in records {
        let text = record.to_string();
        // Tests are small: a pipeline file has at most a few MiB.
        spans.push((data.len() as u32, text.len() as u32));
        data.extend_from_slice(text.as_bytes());
        data.push(b'\n');
    }
    let end = data.len() as u64;
    RawBatch {
        range: PositionRange::new(Position::Offset(0), Position::Offset(end)),
        bytes: end,
        content: RawContent::Records(RawRecords {
            data: data.into(),
            spans,
            positions: RecordPositions::Bytes { start: 0 },
            oversized: Vec::new(),
            messages: None,
        }),
    }
}

fn plain(operation: Operation, item: &Item) -> Value {
    let mut record = item.clone();
    record.insert(system::OP.to_owned(), operation.as_str().into());
    Value::Object(record)
}

/// An event of Debezium without its schema, of a table that shows no image before an update.
fn debezium(operation: Operation, item: &Item) -> Value {
    let mut item = item.clone();
    let time = item.remove(system::EVENT_TIME).and_then(|time| time.as_str().map(str::to_owned));
    let time = chrono::DateTime::parse_from_rfc3339(time.as_deref().unwrap_or(CREATED));
    let op = match operation {
        Operation::Insert => "c",
        Operation::Update | Operation::Upsert => "u",
        Operation::Delete | Operation::Expire => "d",
        Operation::Snapshot => "r",
    };
    let (before, after) = match operation.removes() {
        true => (Value::Object(item), Value::Null),
        false => (Value::Null, Value::Object(item)),
    };
    let time = time.map_or(0, |time| time.timestamp_millis());
    json!({ "op": op, "before": before, "after": after, "source": { "ts_ms": time } })
}

/// A DynamoDB table as a test fills it: it remembers each item, since a stream record of a change
/// shows the item before it too.
struct Table<'a> {
    contract: &'a Contract,
    items: HashMap<String, Value>,
    changes: u64,
}

impl Table<'_> {
    /// The stream record (view type `NEW_AND_OLD_IMAGES`) of one change.
    fn change(&mut self, operation: Operation, item: &Item) -> Value {
        self.changes += 1;
        let created = item.get(system::EVENT_TIME).cloned().unwrap_or_else(|| CREATED.into());
        let mut item = item.clone();
        item.remove(system::EVENT_TIME);
        let image = self.image(&item);
        let keys: Item = self
            .contract
            .primary_key
            .iter()
            .filter_map(|key| Some((key.clone(), image.get(key)?.clone())))
            .collect();
        let key = Value::Object(keys.clone()).to_string();
        let mut change = json!({
            "ApproximateCreationDateTime": created,
            "Keys": keys,
            "SequenceNumber": format!("{:021}", self.changes),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        });
        let mut show = |name: &str, image: Option<Value>| {
            if let (Some(change), Some(image)) = (change.as_object_mut(), image) {
                change.insert(name.to_owned(), image);
            }
        };
        if operation.removes() {
            self.items.remove(&key);
            show("OldImage", Some(image));
        } else {
            let before = self.items.insert(key, image.clone());
            show("OldImage", before.filter(|_| operation != Operation::Insert));
            show("NewImage", Some(image));
        }
        let name = match operation {
            Operation::Insert => "INSERT",
            Operation::Delete | Operation::Expire => "REMOVE",
            Operation::Update | Operation::Upsert | Operation::Snapshot => "MODIFY",
        };
        let mut record = json!({ "eventName": name, "dynamodb": change });
        if operation == Operation::Expire
            && let Some(record) = record.as_object_mut()
        {
            let service = json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" });
            record.insert("userIdentity".to_owned(), service);
        }
        record
    }

    fn image(&self, item: &Item) -> Value {
        let typed = item
            .iter()
            .map(|(name, value)| (name.clone(), typed(value, self.contract.column(name))));
        Value::Object(typed.collect())
    }
}

/// A value with its DynamoDB type: that of the contract where the two can be told apart by it, else
/// that of the value itself.
fn typed(value: &Value, column: Option<&Column>) -> Value {
    let kind = column.map(|column| &column.kind);
    match (value, kind) {
        (Value::Null, _) => json!({ "NULL": true }),
        (Value::Bool(value), _) => json!({ "BOOL": value }),
        (Value::Number(number), _) => json!({ "N": number.to_string() }),
        (Value::String(text), Some(ColumnType::Binary)) => json!({ "B": padded(text) }),
        (Value::String(text), Some(kind)) if is_number(kind) && looks_numeric(text) => {
            json!({ "N": text })
        }
        (Value::String(text), _) => json!({ "S": text }),
        (Value::Array(items), kind) => {
            let item = match kind {
                Some(ColumnType::List(item)) => Some(item.as_ref()),
                _ => None,
            };
            json!({ "L": items.iter().map(|value| typed(value, item)).collect::<Vec<_>>() })
        }
        (Value::Object(members), kind) => {
            let known = match kind {
                Some(ColumnType::Struct(columns)) => columns.as_slice(),
                _ => &[],
            };
            let member = |(name, value): (&String, &Value)| {
                let column = known.iter().find(|column| column.name == *name);
                (name.clone(), typed(value, column))
            };
            json!({ "M": members.iter().map(member).collect::<Item>() })
        }
    }
}

/// Columns whose values DynamoDB keeps as numbers; more digits than JSON holds are given as text.
fn is_number(kind: &ColumnType) -> bool {
    matches!(kind, ColumnType::Integer | ColumnType::Float | ColumnType::Decimal { .. })
}

fn looks_numeric(text: &str) -> bool {
    text.parse::<f64>().is_ok()
}

/// Base64 as the decoder reads it; text that is none is taken for the bytes themselves.
fn padded(text: &str) -> String {
    let engine = &base64::engine::general_purpose::STANDARD;
    if engine.decode(text).is_ok() { text.to_owned() } else { engine.encode(text) }
}
