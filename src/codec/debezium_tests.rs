//! Change events of Debezium.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use bytes::Bytes;
use serde_json::{Value, json};

use super::tests::{contract, stamp};
use super::{Format, decoder};
use crate::component::source::{Messages, RawBatch, RawContent, RawRecords, RecordPositions};
use crate::event::{Batch, Position, PositionRange};

/// Decode messages; one that is `Err` is a tombstone with that key.
fn decode(messages: &[Result<Value, Value>]) -> Batch {
    let (mut data, mut spans) = (Vec::new(), Vec::new());
    let mut beside = Messages::default();
    for message in messages {
        let text = match message {
            Ok(value) | Err(value) => value.to_string(),
        };
        spans.push((data.len() as u32, text.len() as u32));
        data.extend_from_slice(text.as_bytes());
        beside.times.push(Some(9_000_000));
        beside.tombstones.push(message.is_err());
    }
    let count = messages.len() as u64;
    let raw = RawBatch {
        range: PositionRange::new(Position::Offset(0), Position::Offset(count)),
        bytes: data.len() as u64,
        content: RawContent::Records(RawRecords {
            data: Bytes::from(data),
            spans,
            positions: RecordPositions::Each((0..count).collect()),
            oversized: Vec::new(),
            messages: Some(beside),
        }),
    };
    let mut decoder = decoder(Arc::new(contract()), Format::Debezium);
    decoder.decode(&raw, &stamp()).unwrap()
}

fn item(content: &str) -> Value {
    json!({ "user_id": "u", "timestamp": "2024-01-15T10:30:00Z", "role": "user", "content": content })
}

fn event(op: &str, before: Value, after: Value) -> Value {
    json!({
        "op": op, "before": before, "after": after, "ts_ms": 7000, "transaction": null,
        "source": { "ts_ms": 5000, "ts_us": 5_000_001, "ts_ns": 5_000_001_002u64, "table": "t" },
    })
}

fn with_schema(event: Value) -> Value {
    json!({ "schema": { "type": "struct", "payload": { "op": "x" } }, "payload": event })
}

#[track_caller]
fn ops(batch: &Batch) -> Vec<&str> {
    let reasons: Vec<&str> = batch.rejects.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, Vec::<&str>::new());
    batch.system.op.iter().flatten().collect()
}

fn content(batch: &Batch) -> Vec<Option<String>> {
    let column = batch.rows.column_by_name("content").unwrap();
    column.as_string_view().iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn each_operation_with_its_schema_and_without() {
    let events = [
        event("c", Value::Null, item("one")),
        event("u", item("one"), item("two")),
        event("r", Value::Null, item("three")),
        event("d", item("three"), Value::Null),
    ];
    let plain = decode(&events.clone().map(Ok));
    let wrapped = decode(&events.map(|event| Ok(with_schema(event))));
    for batch in [plain, wrapped] {
        assert_eq!(ops(&batch), ["insert", "update", "snapshot", "delete"]);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(content(&batch), [text("one"), text("two"), text("three"), text("three")]);
        let key = r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z"}"#;
        assert!(batch.system.key.iter().all(|found| found == Some(key)));
        let times = batch.system.event_time.values();
        assert_eq!(times.as_ref(), [5_000_001; 4], "the finest time of the database");
        let before = batch.system.before.as_ref().unwrap();
        let present: Vec<bool> = (0..4).map(|row| before.is_valid(row)).collect();
        assert_eq!(present, [false, true, false, true]);
        let versions = batch.system.version.values();
        assert!(versions.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

#[test]
fn a_delete_with_its_key_alone_and_the_tombstone_behind_it() {
    let key = json!({ "user_id": "u", "timestamp": "2024-01-15T10:30:00Z" });
    let mut thin = key.clone();
    thin["role"] = json!(7);
    let batch = decode(&[
        Ok(event("d", key.clone(), Value::Null)),
        Ok(event("d", thin, Value::Null)),
        Err(key.clone()),
        Err(json!({ "schema": { "type": "struct" }, "payload": key })),
    ]);
    assert_eq!(ops(&batch), ["delete"; 4]);
    let keys: Vec<_> = batch.system.key.iter().flatten().collect();
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
}

#[test]
fn a_value_that_was_not_sent_comes_from_before_or_is_refused() {
    let marker = "__debezium_unavailable_value";
    let batch = decode(&[
        Ok(event("u", item("kept"), item(marker))),
        Ok(event("u", Value::Null, item(marker))),
        Ok(event("u", item(marker), item(marker))),
    ]);
    assert_eq!(content(&batch), [Some("kept".to_owned())]);
    let reasons: Vec<&str> = batch.rejects.iter().map(|letter| letter.reason.as_str()).collect();
    let refused = "after.content: the value is unchanged and was not sent: set REPLICA IDENTITY FULL for the table";
    assert_eq!(reasons, [refused; 2]);
}

#[test]
fn what_is_no_change_of_an_item_is_refused_with_its_reason() {
    let batch = decode(&[
        Ok(event("t", Value::Null, Value::Null)),
        Ok(event("m", Value::Null, Value::Null)),
        Ok(event("x", Value::Null, Value::Null)),
        Ok(event("c", Value::Null, Value::Null)),
        Ok(event("d", Value::Null, Value::Null)),
        Ok(json!({ "after": item("a") })),
        Ok(json!([1])),
        Ok(json!({ "schema": null, "payload": null })),
        Err(json!({ "schema": {}, "payload": 7 })),
        Ok(event("c", Value::Null, json!({ "user_id": "u" }))),
    ]);
    assert_eq!(batch.rows.num_rows(), 0);
    let reasons: Vec<&str> = batch.rejects.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "op: a truncate names no item: whatever the table held is still in the lake",
            "op: a logical message is no change of an item",
            "op: expected c, u, d or r, found \"x\"",
            "after: expected an object, found nothing",
            "before: expected an object, found nothing (the table must have a primary key, or REPLICA IDENTITY FULL)",
            "op: expected c, u, d or r, found nothing",
            "expected a Debezium event, an object with `op`",
            "expected an object, found nothing",
            "payload: the value is null: expected a message key that is a JSON object of user_id, timestamp",
            "after.timestamp: a key attribute is missing",
        ]
    );
}

proptest::proptest! {
    #[test]
    fn no_event_makes_it_panic(text in "\\PC{0,40}", cut in 0usize..200) {
        let whole = with_schema(event("u", item(&text), item("__debezium_unavailable_value"))).to_string();
        let cut = whole.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(whole.len());
        let raw = RawBatch {
            range: PositionRange::new(Position::Offset(0), Position::Offset(1)),
            bytes: cut as u64,
            content: RawContent::Records(RawRecords {
                data: Bytes::copy_from_slice(&whole.as_bytes()[..cut]),
                spans: vec![(0, cut as u32)],
                positions: RecordPositions::Each(vec![0]),
                oversized: Vec::new(),
                messages: None,
            }),
        };
        let batch = decoder(Arc::new(contract()), Format::Debezium).decode(&raw, &stamp()).unwrap();
        proptest::prop_assert!(batch.events <= 1);
    }
}
