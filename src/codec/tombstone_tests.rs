//! Messages: tombstones, times, and values that say nothing.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use bytes::Bytes;

use super::tests::{contract, stamp};
use super::{Format, decoder_of};
use crate::component::source::{Messages, RawBatch, RawContent, RawRecords, RecordPositions};
use crate::contract::Contract;
use crate::event::message::MessageColumnsBuilder;
use crate::event::{Batch, Operation, Position, PositionRange};

/// A value, or the key of a message without one.
enum Message<'a> {
    Value(&'a str),
    Tombstone(&'a str),
}

fn decode(contract: Contract, messages: &[Message<'_>]) -> Batch {
    let (mut data, mut spans) = (Vec::new(), Vec::new());
    let mut beside = Messages::default();
    let mut columns = MessageColumnsBuilder::default();
    for (index, message) in messages.iter().enumerate() {
        let (text, is_tombstone) = match message {
            Message::Value(text) => (text, false),
            Message::Tombstone(key) => (key, true),
        };
        spans.push((data.len() as u32, text.len() as u32));
        data.extend_from_slice(text.as_bytes());
        beside.times.push(Some(1_000_000 * (1 + index as i64)));
        beside.tombstones.push(is_tombstone);
        let name = format!("message {index}");
        columns.push(Some(name.as_bytes()), &[(b"name", Some(name.as_bytes()))]);
    }
    beside.columns = Some(Box::new(columns.finish()));
    let count = messages.len() as u64;
    let raw = RawBatch {
        range: PositionRange::new(Position::Offset(10), Position::Offset(10 + count)),
        bytes: data.len() as u64,
        content: RawContent::Records(RawRecords {
            data: Bytes::from(data),
            spans,
            positions: RecordPositions::Each((10..10 + count).collect()),
            oversized: Vec::new(),
            messages: Some(beside),
        }),
    };
    let mut decoder = decoder_of(Arc::new(contract), Format::Plain, Operation::Insert);
    decoder.decode(&raw, &stamp()).unwrap()
}

/// The contract with `user_id` as its only key column.
fn one_key() -> Contract {
    Contract { primary_key: vec!["user_id".into()], ..contract() }
}

fn reasons(batch: &Batch) -> Vec<&str> {
    batch.rejects.iter().map(|letter| letter.reason.as_str()).collect()
}

#[test]
fn a_tombstone_deletes_the_item_that_its_key_names() {
    let key = r#"{"timestamp":"2024-01-15T10:30:00Z","user_id":"a user with a long name"}"#;
    let batch = decode(contract(), &[Message::Tombstone(key)]);
    assert_eq!(reasons(&batch), [""; 0]);
    assert_eq!(batch.system.op.value(0), "delete");
    let canonical = r#"{"user_id":"a user with a long name","timestamp":"2024-01-15T10:30:00Z"}"#;
    assert_eq!(batch.system.key.value(0), canonical);
    assert_eq!(batch.system.event_time.value(0), 1_000_000, "the message's time, not the item's");
    assert_eq!(batch.system.version.value(0), (1 << 36) + 10);
    let users = batch.rows.column_by_name("user_id").unwrap();
    assert_eq!(users.as_string_view().value(0), "a user with a long name");
    assert!(batch.rows.column_by_name("born").unwrap().is_null(0));
}

#[test]
fn one_key_column_may_come_bare() {
    let bare = ["a bare name that is long", "\"quoted, with a \\\" in it\"", "123", "null"];
    let messages: Vec<_> = bare.iter().map(|key| Message::Tombstone(key)).collect();
    let batch = decode(one_key(), &messages);
    assert_eq!(reasons(&batch), [""; 0]);
    let users = batch.rows.column_by_name("user_id").unwrap().as_string_view();
    let users: Vec<_> = users.iter().flatten().collect();
    assert_eq!(users, ["a bare name that is long", "quoted, with a \" in it", "123", "null"]);
    let keys: Vec<_> = batch.system.key.iter().flatten().collect();
    assert_eq!(keys[0], r#"{"user_id":"a bare name that is long"}"#);
    assert_eq!(keys[1], r#"{"user_id":"quoted, with a \" in it"}"#);
}

#[test]
fn any_other_key_is_a_dead_letter() {
    let too_much = r#"{"user_id":"a","timestamp":"2024-01-15T10:30:00Z","born":1}"#;
    let keys = ["whatsapp", "", r#"{"user_id":"a"}"#, too_much];
    let messages: Vec<_> = keys.iter().map(|key| Message::Tombstone(key)).collect();
    let batch = decode(contract(), &messages);
    assert_eq!(batch.len(), 0);
    let object =
        "the value is null: expected a message key that is a JSON object of user_id, timestamp";
    assert_eq!(
        reasons(&batch),
        [
            format!("{object}, found \"whatsapp\""),
            format!("{object}, found no key"),
            "timestamp: a key attribute is missing".to_owned(),
            format!("born: {object} and nothing else"),
        ]
    );
    assert_eq!(batch.rejects[0].raw.bytes, Bytes::from_static(b"whatsapp"));
    assert_eq!(batch.rejects[0].position, Position::Offset(10));
}

#[test]
fn every_message_is_a_row_or_a_dead_letter() {
    let item = r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z"}"#;
    let values = ["", "  ", "null", item, item, item];
    let messages: Vec<_> = values.iter().map(|value| Message::Value(value)).collect();
    let batch = decode(contract(), &messages);
    assert_eq!(reasons(&batch), ["expected an object, found nothing"; 3]);
    let ops: Vec<_> = batch.system.op.iter().flatten().collect();
    assert_eq!(ops, ["insert"; 3], "without `_op` it is what the source says");
    assert_eq!(batch.events, 6);
}

#[test]
fn a_record_without_a_time_takes_its_message_s() {
    let contract = Contract {
        primary_key: vec!["user_id".into()],
        columns: contract().columns.into_iter().take(1).collect(),
        ..contract()
    };
    let batch = decode(contract, &[Message::Value(r#"{"user_id":"u"}"#)]);
    assert_eq!(reasons(&batch), [""; 0]);
    assert_eq!(batch.system.event_time.value(0), 1_000_000);
}

#[test]
fn keys_and_headers_stay_with_their_rows_where_others_are_refused() {
    let value = r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z"}"#;
    let messages = [value, "{", value, value].map(Message::Value);
    let batch = decode(contract(), &messages);
    assert_eq!(reasons(&batch).len(), 1);
    let message = batch.system.message.unwrap();
    let keys: Vec<_> = message.key.iter().flatten().collect();
    assert_eq!(keys, ["message 0", "message 2", "message 3"]);
    let headers = message.headers.values().as_string_view().clone();
    assert_eq!(headers.iter().flatten().collect::<Vec<_>>(), keys);

    let whole = decode(contract(), &[Message::Value(value), Message::Tombstone("{}")]);
    let all = decode(contract(), &[Message::Value(value)]).system.message.unwrap();
    assert_eq!(whole.system.message.unwrap(), all);
}
