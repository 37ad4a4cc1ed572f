//! Records that are odd or wrong, through the decoder: each is a row or a dead letter with a reason.

use std::path::Path;
use std::sync::Arc;

use acequia::codec::{Format, decoder};
use acequia::component::source::{RawBatch, RawContent, RawRecords, RecordPositions};
use acequia::component::{Stamp, Versioning};
use acequia::contract::{self, Contract};
use acequia::event::{Batch, Position, PositionRange};
use arrow::array::AsArray;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;

fn contract_of(name: &str) -> Arc<Contract> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
    Arc::new(contract::load(&path).unwrap_or_else(|findings| panic!("{findings}")))
}

/// `text` as an archive gives it: one span a line, without its line end.
fn decode(contract: &Arc<Contract>, format: Format, text: &[u8]) -> Batch {
    let mut spans = Vec::new();
    let mut start = 0;
    for line in text.split(|&byte| byte == b'\n') {
        let length = line.strip_suffix(b"\r").unwrap_or(line).len();
        spans.push((start as u32, length as u32));
        start += line.len() + 1;
    }
    let raw = RawBatch {
        range: PositionRange::new(Position::Offset(0), Position::Offset(text.len() as u64)),
        bytes: text.len() as u64,
        content: RawContent::Records(RawRecords {
            data: Bytes::copy_from_slice(text),
            spans,
            positions: RecordPositions::Bytes { start: 0 },
            oversized: Vec::new(),
            messages: None,
        }),
    };
    let stamp = Stamp {
        stream: "conversations".into(),
        partition: "events.ndjson".into(),
        versioning: Versioning::Position { base: 1 << 36 },
        first_ordinal: 0,
    };
    decoder(contract.clone(), format).decode(&raw, &stamp).unwrap()
}

fn conversations(text: &str) -> Batch {
    decode(&contract_of("conversations.yaml"), Format::Plain, text.as_bytes())
}

/// A message with further attributes.
fn message(attributes: &str) -> String {
    format!(
        r#"{{"user_id":"whatsapp:+5215512345678","timestamp":"2024-01-15T10:30:00.000Z","role":"user"{attributes}}}"#
    )
}

/// The only reject's reason.
fn refusal(text: &str) -> String {
    let batch = conversations(text);
    assert_eq!((batch.len(), batch.rejects.len()), (0, 1), "{text}");
    batch.rejects[0].reason.clone()
}

/// A cell of the only row.
fn cell(batch: &Batch, column: &str) -> String {
    assert_eq!((batch.len(), batch.rejects.len()), (1, 0), "{:?}", batch.rejects);
    let options = FormatOptions::default().with_null("null");
    let array = batch.rows.column_by_name(column).unwrap();
    ArrayFormatter::try_new(array, &options).unwrap().value(0).to_string()
}

#[test]
fn nothing_gives_nothing() {
    for text in ["", "\n\n", "\r\n  \r\n\t", "null\nnull"] {
        let batch = conversations(text);
        assert_eq!((batch.len(), batch.rejects.len(), batch.events), (0, 0, 0), "{text:?}");
        assert_eq!(batch.range.to, Position::Offset(text.len() as u64));
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_content() {
    let text = format!("\u{feff}{}\r\n{}\r\n", message(""), message(r#","content":"más""#));
    let batch = conversations(&text);
    assert_eq!((batch.len(), batch.rejects.len()), (2, 0));
    let contents = batch.rows.column_by_name("content").unwrap().as_string_view();
    assert_eq!(contents.value(1), "más");
    // A mark further on is no white space.
    let again = format!("{}\n\u{feff}{}", message(""), message(""));
    assert_eq!(conversations(&again).rejects[0].reason, "invalid JSON at byte 0: expected a value");
}

#[test]
fn half_a_last_line_is_refused_alone() {
    let whole = message(r#","content":"hola""#);
    let batch = conversations(&format!("{whole}\n{}", &whole[..whole.len() / 2]));
    assert_eq!((batch.len(), batch.rejects.len()), (1, 1));
    assert!(batch.rejects[0].reason.starts_with("invalid JSON at byte "));
    assert_eq!(batch.rejects[0].position, Position::Offset(whole.len() as u64 + 1));
}

#[test]
fn invalid_utf8_is_refused_alone() {
    let contract = contract_of("conversations.yaml");
    let mut text = message(r#","content":"caf"#).into_bytes();
    text.truncate(text.len() - 1);
    text.extend_from_slice(b"\xe9\"}\n");
    text.extend_from_slice(message(r#","content":"café""#).as_bytes());
    let batch = decode(&contract, Format::Plain, &text);
    assert_eq!((batch.len(), batch.rejects.len()), (1, 1));
    assert!(batch.rejects[0].reason.starts_with("invalid UTF-8 at byte "));
    assert!(batch.rejects[0].raw.bytes.contains(&0xe9));
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    for (attribute, expected) in [
        (
            r#","tokens_used":18446744073709551616"#,
            "tokens_used: expected a whole number, found number 18446744073709551616: outside the range of 64 bits",
        ),
        (
            r#","confidence_score":-1e400"#,
            "confidence_score: expected a number, found number -1e400: outside the range of a double",
        ),
        (r#","tokens_used":-1"#, "tokens_used: expected a number of at least 0, found number -1"),
        (r#","tokens_used":"12""#, "tokens_used: expected a whole number, found text \"12\""),
        (r#","tokens_used":NaN"#, "invalid JSON at byte 104: expected a value"),
    ] {
        assert_eq!(refusal(&message(attribute)), expected);
    }
    assert_eq!(
        cell(&conversations(&message(r#","tokens_used":9223372036854775807"#)), "tokens_used"),
        "9223372036854775807"
    );
}

#[test]
fn decimals_keep_38_digits() {
    let profile = |value: &str| {
        let text = format!(
            r#"{{"user_id":"u","last_interaction":"2024-01-15T10:30:00Z","lifetime_value":{value}}}"#
        );
        decode(&contract_of("user-profiles.yaml"), Format::Plain, text.as_bytes())
    };
    let digits = "12345678901234567890123456789.123456789";
    assert_eq!(cell(&profile(digits), "lifetime_value"), digits);
    assert_eq!(cell(&profile(&format!("\"-{digits}\"")), "lifetime_value"), format!("-{digits}"));
    for (wrong, why) in [
        ("123456789012345678901234567890.123456789", "too many digits"),
        ("0.0000000001", "too many decimals"),
    ] {
        let batch = profile(wrong);
        assert!(batch.rejects[0].reason.ends_with(why), "{}", batch.rejects[0].reason);
    }
}

#[test]
fn sets_and_lists_of_dynamodb_are_lists() {
    let keys = r#""Keys":{"user_id":{"S":"u"}}"#;
    let record = |topics: &str| {
        format!(
            r#"{{"eventName":"INSERT","dynamodb":{{"ApproximateCreationDateTime":1705314600.5,{keys},"NewImage":{{"user_id":{{"S":"u"}},"interaction_history":{{"M":{{"common_topics":{topics},"satisfaction_scores":{{"NS":["4","5"]}}}}}},"lifetime_value":{{"N":"99999999999999999999999999999.999999999"}}}}}}}}"#
        )
    };
    for topics in [r#"{"SS":["a","b"]}"#, r#"{"L":[{"S":"a"},{"S":"b"}]}"#] {
        let batch =
            decode(&contract_of("user-profiles.yaml"), Format::Dynamodb, record(topics).as_bytes());
        assert_eq!(
            cell(&batch, "interaction_history"),
            "{total_messages: null, escalations_count: null, satisfaction_scores: [4, 5], common_topics: [a, b]}"
        );
        assert_eq!(cell(&batch, "lifetime_value"), "99999999999999999999999999999.999999999");
        assert_eq!(batch.system.event_time.value(0), 1_705_314_600_500_000);
    }
}

#[test]
fn names_that_occur_twice_are_refused() {
    assert_eq!(refusal(&message(r#","role":"user""#)), "role: this name occurs twice");
    assert_eq!(refusal(&message(r#","\u0072ole":"user""#)), "role: this name occurs twice");
    assert_eq!(refusal(&message(r#","new":1,"new":1"#)), "new: this name occurs twice");
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!(r#","new":{}{}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(refusal(&message(&deep)).ends_with("nested deeper than 128 levels"));
    let typed = format!(
        r#"{{"eventName":"INSERT","dynamodb":{{"NewImage":{{"new":{}{}}}}}}}"#,
        r#"{"L":["#.repeat(50_000),
        "]}".repeat(50_000)
    );
    let batch = decode(&contract_of("conversations.yaml"), Format::Dynamodb, typed.as_bytes());
    assert!(batch.rejects[0].reason.ends_with("nested deeper than 128 levels"));
}

#[test]
fn key_attributes_must_be_there() {
    assert_eq!(
        refusal(r#"{"timestamp":"2024-01-15T10:30:00Z","role":"user"}"#),
        "user_id: a key attribute is missing"
    );
    assert_eq!(
        refusal(r#"{"user_id":null,"timestamp":"2024-01-15T10:30:00Z","role":"user"}"#),
        "user_id: a key attribute is missing"
    );
    assert_eq!(
        refusal(r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z"}"#),
        "role: expected text, found nothing"
    );
}

#[test]
fn times_are_read_in_every_form_or_refused() {
    for (written, expected) in [
        ("2024-01-15T10:30:00-06:00", "2024-01-15T16:30:00Z"),
        ("2024-01-15T10:30:00", "2024-01-15T10:30:00Z"),
        ("2024-01-15 10:30:00.123456789Z", "2024-01-15T10:30:00.123456Z"),
        ("2024-01-15", "2024-01-15T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ] {
        let text = message("").replace("2024-01-15T10:30:00.000Z", written);
        let batch = conversations(&text);
        assert_eq!(cell(&batch, "timestamp"), expected);
        assert!(batch.system.key.value(0).contains(written), "the key is what the source wrote");
    }
    for wrong in ["15/01/2024 10:30", "2024-13-01T00:00:00Z", "1705314600", "10000-01-01T00:00:00Z"]
    {
        let text = message("").replace("2024-01-15T10:30:00.000Z", wrong);
        assert_eq!(
            refusal(&text),
            format!("timestamp: expected an ISO 8601 time, found text \"{wrong}\"")
        );
    }
    assert_eq!(
        cell(&conversations(&message(r#","ttl":1642176600"#)), "ttl"),
        "2022-01-14T16:10:00Z"
    );
    assert_eq!(
        refusal(&message(r#","ttl":1642176600000"#)),
        "ttl: expected seconds since 1970, found number 1642176600000"
    );
}

#[test]
fn a_column_may_be_named_like_a_keyword() {
    let text = "apiVersion: v3.1.0\nkind: DataContract\nversion: 1.0.0\nschema:\n  - name: select\n    properties:\n      - { name: order, logicalType: string, primaryKey: true }\n      - { name: group, logicalType: timestamp, physicalType: N, customProperties: [ { property: epoch, value: millis } ] }\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("contract.yaml");
    std::fs::write(&path, text).unwrap();
    let contract = Arc::new(contract::load(&path).unwrap());
    let batch = decode(&contract, Format::Plain, br#"{"order":"a/b=c","group":1642176600123}"#);
    assert_eq!(cell(&batch, "group"), "2022-01-14T16:10:00.123Z");
    assert_eq!(batch.system.key.value(0), r#"{"order":"a/b=c"}"#);
}

#[test]
fn rules_of_the_contract_are_checked() {
    assert_eq!(
        refusal(&message(r#","message_type":"fax""#)),
        "message_type: expected one of text, image, audio, video, document, location, sticker, contact, found text \"fax\""
    );
    assert_eq!(
        refusal(&message(r#","confidence_score":1.01"#)),
        "confidence_score: expected a number from 0 to 1, found number 1.01"
    );
}
