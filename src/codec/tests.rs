use std::str::FromStr;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::component::decoder::{Stamp, Versioning};
use crate::component::source::{Oversized, RawBatch, RawContent, RawRecords, RecordPositions};
use crate::contract::{Column, ColumnType, DecimalForm, Evolution, Rule, TimeForm};
use crate::event::{Batch, Position, PositionRange, RawImage};

pub(super) fn column(name: &str, kind: ColumnType) -> Column {
    Column {
        name: name.into(),
        kind,
        required: false,
        unique: false,
        description: String::new(),
        pii: None,
        rules: Vec::new(),
        search: None,
        references: None,
    }
}

/// The conversations table in small, with a column of every type.
pub(super) fn contract() -> Contract {
    let required = |column: Column| Column { required: true, ..column };
    let ruled = |column: Column, rule| Column { rules: vec![rule], ..column };
    Contract {
        name: "conversations".into(),
        version: "1.0.0".into(),
        columns: vec![
            required(column("user_id", ColumnType::Text)),
            required(column("timestamp", ColumnType::Timestamp(TimeForm::Text))),
            ruled(
                column("role", ColumnType::Text),
                Rule::OneOf(vec!["user".into(), "assistant".into()]),
            ),
            column("content", ColumnType::Text),
            ruled(
                column("confidence_score", ColumnType::Float),
                Rule::Range { min: Some(0.0), max: Some(1.0) },
            ),
            column("tokens_used", ColumnType::Integer),
            column("escalation_triggered", ColumnType::Boolean),
            column(
                "metadata",
                ColumnType::Struct(vec![
                    column("sentiment", ColumnType::Text),
                    column("language", ColumnType::Text),
                ]),
            ),
            column("topics", ColumnType::List(Box::new(column("item", ColumnType::Text)))),
            column("scores", ColumnType::List(Box::new(column("item", ColumnType::Integer)))),
            column(
                "balance",
                ColumnType::Decimal { precision: 38, scale: 2, form: DecimalForm::Digits },
            ),
            column("born", ColumnType::Date(TimeForm::Text)),
            column("photo", ColumnType::Binary),
            column("ttl", ColumnType::Timestamp(TimeForm::EpochSeconds)),
        ],
        primary_key: vec!["user_id".into(), "timestamp".into()],
        evolution: Evolution::Lenient,
        retention_days: None,
        hash: String::new(),
    }
}

pub(super) fn stamp() -> Stamp {
    Stamp {
        stream: "s".into(),
        partition: "p".into(),
        versioning: Versioning::Position { base: 1 << 36 },
        first_ordinal: 100,
    }
}

/// Lines as the archive source cuts them.
pub(super) fn lines(text: &[u8]) -> RawBatch {
    let mut spans = Vec::new();
    let mut start = 0;
    for line in text.split(|&byte| byte == b'\n') {
        if !line.is_empty() {
            spans.push((start as u32, line.len() as u32));
        }
        start += line.len() + 1;
    }
    RawBatch {
        range: PositionRange::new(Position::Offset(0), Position::Offset(text.len() as u64)),
        bytes: text.len() as u64,
        content: RawContent::Records(RawRecords {
            data: Bytes::copy_from_slice(text),
            spans,
            positions: RecordPositions::Bytes { start: 0 },
            oversized: Vec::new(),
            messages: None,
        }),
    }
}

fn decode_with(contract: Contract, format: Format, text: &[u8]) -> Batch {
    decoder(Arc::new(contract), format).decode(&lines(text), &stamp()).unwrap()
}

fn plain(text: &str) -> Batch {
    decode_with(contract(), Format::Plain, text.as_bytes())
}

fn dynamodb(text: &str) -> Batch {
    decode_with(contract(), Format::Dynamodb, text.as_bytes())
}

/// One cell as text.
fn cell(array: &dyn Array, row: usize) -> String {
    let options = FormatOptions::default().with_null("null");
    ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string()
}

fn value(batch: &Batch, name: &str, row: usize) -> String {
    cell(batch.rows.column_by_name(name).unwrap(), row)
}

/// The reason for which a plain item with these further attributes is refused.
fn reason(attributes: &str) -> String {
    let batch =
        plain(&format!(r#"{{"user_id":"u","timestamp":"2024-01-15T10:30:00Z",{attributes}}}"#));
    assert_eq!(batch.len(), 0, "{attributes}");
    batch.rejects[0].reason.clone()
}

#[test]
fn reads_a_plain_item() {
    let batch = plain(
        r#"{"user_id":"whatsapp:+5215512345678","timestamp":"2024-01-15T10:30:00.000Z","role":"user","content":"Hola \"amigo\" \u00e9\ud83d\ude00","confidence_score":0.95,"tokens_used":150,"escalation_triggered":false,"metadata":{"sentiment":"neutral","language":"es"},"topics":["a","a longer topic than twelve"],"scores":[4,5],"balance":12345678901234567890123456789012345.67,"born":"2001-02-03","photo":"aGk=","ttl":1642176600}"#,
    );
    assert_eq!(batch.rejects, []);
    let shown = |name| value(&batch, name, 0);
    assert_eq!(shown("user_id"), "whatsapp:+5215512345678");
    assert_eq!(shown("timestamp"), "2024-01-15T10:30:00Z");
    assert_eq!(shown("content"), "Hola \"amigo\" é😀");
    assert_eq!(shown("confidence_score"), "0.95");
    assert_eq!(shown("metadata"), "{sentiment: neutral, language: es}");
    assert_eq!(shown("topics"), "[a, a longer topic than twelve]");
    assert_eq!(shown("balance"), "12345678901234567890123456789012345.67");
    assert_eq!(shown("born"), "2001-02-03");
    assert_eq!(shown("photo"), "6869");
    assert_eq!(shown("ttl"), "2022-01-14T16:10:00Z");
    assert_eq!(cell(&batch.system.op, 0), "upsert");
    assert_eq!(
        cell(&batch.system.key, 0),
        r#"{"user_id":"whatsapp:+5215512345678","timestamp":"2024-01-15T10:30:00.000Z"}"#
    );
    assert_eq!(cell(&batch.system.event_time, 0), "2024-01-15T10:30:00Z");
    assert_eq!(batch.system.version.value(0), 1 << 36);
    assert_eq!(batch.rows.schema(), contract().schema());
    assert!(batch.before.is_none() && batch.system.before.is_none());
}

#[test]
fn keys_are_what_the_source_wrote() {
    let batch = plain(
        "{\"user_id\":\"a\\u0022\\/b\",\"timestamp\":\"2024-01-15T10:30:00Z\"}\n{\"timestamp\":\"2024-01-15T10:30:00.000Z\",\"user_id\":\"u\"}",
    );
    assert_eq!(
        cell(&batch.system.key, 0),
        r#"{"user_id":"a\"/b","timestamp":"2024-01-15T10:30:00Z"}"#
    );
    assert_eq!(
        cell(&batch.system.key, 1),
        r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00.000Z"}"#
    );
}

#[test]
fn reasons_name_field_expected_and_found() {
    for (attributes, expected) in [
        (r#""metadata":{"language":7}"#, "metadata.language: expected text, found number 7"),
        (r#""role":"robot""#, "role: expected one of user, assistant, found text \"robot\""),
        (
            r#""confidence_score":1.5"#,
            "confidence_score: expected a number from 0 to 1, found number 1.5",
        ),
        (
            r#""tokens_used":9223372036854775808"#,
            "tokens_used: expected a whole number, found number 9223372036854775808: outside the range of 64 bits",
        ),
        (
            r#""tokens_used":1.5"#,
            "tokens_used: expected a whole number, found number 1.5: it has a fraction",
        ),
        (
            r#""confidence_score":1e400"#,
            "confidence_score: expected a number, found number 1e400: outside the range of a double",
        ),
        (
            r#""balance":1.234"#,
            "balance: expected a number of at most 38 digits, 2 of them decimals, found number 1.234: too many decimals",
        ),
        (
            r#""balance":1e37"#,
            "balance: expected a number of at most 38 digits, 2 of them decimals, found number 1e37: too many digits",
        ),
        (r#""topics":["a",false]"#, "topics[1]: expected text, found false"),
        (r#""born":"2023-02-29""#, "born: expected a date (YYYY-MM-DD), found text \"2023-02-29\""),
        (r#""photo":"a""#, "photo: expected bytes in base64, found text \"a\""),
        (r#""ttl":"soon""#, "ttl: expected seconds since 1970, found text \"soon\""),
        (r#""user_id":"v""#, "user_id: this name occurs twice"),
        (r#""colour":1,"colour":2"#, "colour: this name occurs twice"),
        (
            r#""metadata":{"language":"a","language":"b"}"#,
            "metadata.language: this name occurs twice",
        ),
        (
            r#""_op":"merge""#,
            "_op: expected insert, update, upsert, delete, expire or snapshot, found text \"merge\"",
        ),
        (r#""_event_time":7"#, "_event_time: expected an ISO 8601 time, found number 7"),
        (r#""content":"\ud800""#, "invalid JSON at byte 61: half a surrogate pair"),
        (r#""content":01"#, "invalid JSON at byte 60: a number that JSON does not know"),
    ] {
        assert_eq!(reason(attributes), expected);
    }
}

#[test]
fn what_is_no_item_is_refused() {
    for (record, expected) in [
        ("7", "expected an object, found number 7"),
        (r#"{"user_id":"u"}"#, "timestamp: a key attribute is missing"),
        (r#"{"user_id":"u","timestamp":null}"#, "timestamp: a key attribute is missing"),
        (
            r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z"} x"#,
            "invalid JSON at byte 51: expected the end of the record",
        ),
        (
            r#"{"user_id":"u","timestamp":"2024-01"#,
            "invalid JSON at byte 35: a string without its closing quote",
        ),
        ("{\"user_id\":\"\t\"}", "invalid JSON at byte 12: a control character inside a string"),
        ("{,}", "invalid JSON at byte 1: expected the name of a member"),
    ] {
        let batch = plain(record);
        assert_eq!((batch.len(), batch.rejects[0].reason.as_str()), (0, expected));
        assert_eq!(batch.rejects[0].raw.bytes, record.as_bytes());
    }
}

#[test]
fn unknown_attributes_are_kept_or_refused() {
    let text = r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z","a":{"b": [1.50, null]},"metadata":{"language":"es","x":1,"y":"z"},"c":true}"#;
    let batch = plain(text);
    let extra = batch.system.extra.as_ref().unwrap();
    assert_eq!(cell(extra, 0), r#"{"a":{"b": [1.50, null]},"metadata":{"x":1,"y":"z"},"c":true}"#);
    let strict = Contract { evolution: Evolution::Strict, ..contract() };
    let batch = decode_with(strict, Format::Plain, text.as_bytes());
    assert_eq!(batch.rejects[0].reason, "a: the contract does not know this attribute");
    assert!(batch.system.extra.is_none());
}

#[test]
fn a_refused_record_leaves_no_trace() {
    let good = r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z","content":"a\nlong text with an escape","topics":["x"],"q":1}"#;
    let bad = r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z","content":"b\nlong text with an escape","topics":["y"],"q":2,"tokens_used":"x"}"#;
    let batch = plain(&format!("{good}\n{bad}\n\n  \nnull\r\n{good}\r"));
    assert_eq!((batch.len(), batch.events, batch.rejects.len()), (2, 3, 1));
    for row in 0..2 {
        assert_eq!(value(&batch, "content", row), "a\nlong text with an escape");
        assert_eq!(value(&batch, "topics", row), "[x]");
        assert_eq!(cell(batch.system.extra.as_ref().unwrap(), row), r#"{"q":1}"#);
    }
    let third = batch.system.position.as_primitive::<Int64Type>().value(1);
    assert_eq!(batch.raw.record(1), format!("{good}\r"));
    assert_eq!(third as usize, good.len() + 1 + bad.len() + 1 + 1 + 3 + 6);
    assert_eq!(batch.rejects[0].position, Position::Offset(good.len() as u64 + 1));
    assert_eq!(batch.rejects[0].version, (1 << 36) + good.len() as i64 + 1);
}

#[test]
fn ordinals_count_rejects_and_oversized_records() {
    let text = b"{}\n{\"user_id\":\"u\",\"timestamp\":\"2024-01-15T10:30:00Z\"}";
    let mut raw = lines(text);
    if let RawContent::Records(records) = &mut raw.content {
        let raw =
            RawImage { bytes: Bytes::from_static(b"{"), length: 5000, sha256: Some("x".into()) };
        records.oversized.push(Oversized { position: 2, raw });
    }
    let stamp = Stamp { versioning: Versioning::Ordinal, ..stamp() };
    let batch = decoder(Arc::new(contract()), Format::Plain).decode(&raw, &stamp).unwrap();
    assert_eq!(batch.rejects.iter().map(|letter| letter.version).collect::<Vec<_>>(), [100, 101]);
    assert_eq!(
        batch.rejects[1].reason,
        "the record has 5000 bytes, more than `max_record_size` allows; its first 1 are kept"
    );
    assert_eq!(batch.system.version.value(0), 102);
    assert_eq!(batch.events, 3);
}

#[test]
fn the_rest_of_a_chunk_survives_invalid_utf8() {
    let mut text =
        br#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z","content":"pr\u00f3ximo a\u00f1o"}"#
            .to_vec();
    text.extend_from_slice(b"\n{\"user_id\":\"\xff\"}\n");
    text.extend_from_slice(
        r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z","content":"más información"}"#
            .as_bytes(),
    );
    let batch = decode_with(contract(), Format::Plain, &text);
    assert_eq!((batch.len(), batch.rejects.len()), (2, 1));
    assert_eq!(batch.rejects[0].reason, "invalid UTF-8 at byte 12");
    assert_eq!(value(&batch, "content", 1), "más información");
}

#[test]
fn a_delete_needs_its_key_alone() {
    let batch = plain(
        r#"{"_op":"delete","user_id":"u","timestamp":"2024-01-15T10:30:00Z","_event_time":"2024-02-01T00:00:00+01:00","role":"robot"}"#,
    );
    assert_eq!(cell(&batch.system.op, 0), "delete");
    assert_eq!(cell(&batch.system.event_time, 0), "2024-01-31T23:00:00Z");
}

#[test]
fn nesting_ends_at_128_levels() {
    let nested = |levels: usize| format!("\"deep\":{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(reason(&nested(128)).ends_with("nested deeper than 128 levels"));
    let item = format!(r#"{{"user_id":"u","timestamp":"2024-01-15T10:30:00Z",{}}}"#, nested(127));
    assert_eq!(plain(&item).len(), 1);
}

#[test]
fn instants() {
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("1970-01-01", Some(0)),
        ("1970-01-01 00:00:01", Some(1_000_000)),
        ("1970-01-01T00:00:00.1Z", Some(100_000)),
        ("1970-01-01T00:00:00.123456789Z", Some(123_456)),
        ("1970-01-01T01:00:00+01:00", Some(0)),
        ("1969-12-31T23:00-0100", Some(0)),
        ("0001-01-01T00:00:00Z", Some(-62_135_596_800_000_000)),
        ("9999-12-31T23:59:59.999999999Z", Some(253_402_300_799_999_999)),
        ("0001-01-01T00:00:00+01:00", None),
        ("0000-12-31T00:00:00Z", None),
        ("10000-01-01T00:00:00Z", None),
        ("2024-02-30T00:00:00Z", None),
        ("2024-01-15T24:00:00Z", None),
        ("2024-01-15T10:30:60Z", None),
        ("2024-01-15T10:30:00.Z", None),
        ("2024-01-15T10:30:00.1234567890Z", None),
        ("2024-01-15T10:30:00 Z", None),
        ("2024-01-15T", None),
        ("2024-1-15", None),
        ("", None),
    ] {
        assert_eq!(instant::parse_text(text), expected, "{text}");
    }
    assert_eq!(instant::parse_epoch("1642176600", 0), Some(1_642_176_600_000_000));
    assert_eq!(instant::parse_epoch("1642176600.1234567", 0), Some(1_642_176_600_123_456));
    assert_eq!(instant::parse_epoch("1642176600123", 3), Some(1_642_176_600_123_000));
    assert_eq!(instant::parse_epoch("1.6421766e9", 0), Some(1_642_176_600_000_000));
    assert_eq!(instant::parse_epoch("253402300800", 0), None);
}

#[test]
fn exact_numbers() {
    use number::{Excess::*, Misfit::*, integer, scaled};
    assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN));
    assert_eq!(integer("1.50e1"), Ok(15));
    assert_eq!(integer("1e0"), Ok(1));
    assert_eq!(integer("-0.0"), Ok(0));
    assert_eq!(integer("1e-1"), Err(Fraction));
    assert_eq!(
        scaled("99999999999999999999999999999999999999", 38, 0, Refuse),
        Ok(10i128.pow(38) - 1)
    );
    assert_eq!(scaled("100000000000000000000000000000000000000", 38, 0, Refuse), Err(Range));
    assert_eq!(scaled("0.0100e1", 5, 1, Refuse), Ok(1));
    assert_eq!(scaled("1e99999999999999999999", 38, 2, Refuse), Err(Range));
    assert_eq!(scaled("1e-99999999999999999999", 38, 2, Truncate), Ok(0));
    assert_eq!(scaled("-12.349", 5, 2, Truncate), Ok(-1234));
}

fn record(name: &str, rest: &str) -> String {
    format!(
        r#"{{"eventID":"1","eventName":"{name}","dynamodb":{{"ApproximateCreationDateTime":1705314600,"Keys":{{"user_id":{{"S":"u"}},"timestamp":{{"S":"2024-01-15T10:30:00Z"}}}},{rest}"SequenceNumber":"1"}}}}"#
    )
}

const KEY: &str = r#""user_id":{"S":"u"},"timestamp":{"S":"2024-01-15T10:30:00Z"}"#;

#[test]
fn reads_stream_records() {
    let insert = record("INSERT", &format!(r#""NewImage":{{{KEY},"metadata":{{"M":{{"language":{{"S":"es"}}}}}},"topics":{{"SS":["a","b"]}},"scores":{{"L":[{{"N":"1"}},{{"NULL":true}}]}},"balance":{{"N":"1.5"}},"photo":{{"B":"aGk="}},"escalation_triggered":{{"BOOL":true}},"content":{{"NULL":true}},"odd":{{"M":{{"n":{{"NS":["1","2"]}},"s":{{"S":"x\ty"}}}}}}}},"#).replace("x\ty", "x\\ty"));
    let modify = record(
        "MODIFY",
        &format!(
            r#""NewImage":{{{KEY},"content":{{"S":"new"}}}},"OldImage":{{{KEY},"content":{{"S":"old"}}}},"#
        ),
    );
    let remove = record("REMOVE", &format!(r#""OldImage":{{{KEY},"content":{{"S":"old"}}}},"#));
    let expire = remove.replacen(
        '{',
        r#"{"userIdentity":{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service"},"#,
        1,
    );
    let lambda = expire.replace("PrincipalId", "principalId").replace("Type\"", "type\"");
    let bare = record("REMOVE", "");
    let batch = dynamodb(&[insert, modify, remove, expire, lambda, bare].join("\n"));
    assert_eq!(batch.rejects, []);
    let ops: Vec<_> = (0..6).map(|row| batch.system.op.value(row)).collect();
    assert_eq!(ops, ["insert", "update", "delete", "expire", "expire", "delete"]);
    assert_eq!(value(&batch, "metadata", 0), "{sentiment: null, language: es}");
    assert_eq!(value(&batch, "topics", 0), "[a, b]");
    assert_eq!(value(&batch, "scores", 0), "[1, null]");
    assert_eq!(value(&batch, "balance", 0), "1.50");
    assert_eq!(value(&batch, "photo", 0), "6869");
    assert_eq!(cell(batch.system.extra.as_ref().unwrap(), 0), r#"{"odd":{"n":[1,2],"s":"x\ty"}}"#);
    let contents: Vec<_> = (0..6).map(|row| value(&batch, "content", row)).collect();
    assert_eq!(contents, ["null", "new", "old", "old", "old", "null"]);
    let before = batch.before.as_ref().unwrap();
    let present: Vec<_> = before.present.iter().collect();
    assert_eq!(present, [false, true, true, true, true, false]);
    assert_eq!(cell(before.rows.column_by_name("content").unwrap(), 1), "old");
    assert!(batch.system.before.as_ref().unwrap().is_null(0));
    assert_eq!(cell(&batch.system.key, 5), r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z"}"#);
    assert_eq!(cell(&batch.system.event_time, 5), "2024-01-15T10:30:00Z");
}

#[test]
fn elements_of_an_envelope_stand_at_their_own_places() {
    let first = record("REMOVE", "");
    let second = record("NOTHING", "");
    let text = format!("{{\"Records\": [{first},\n {second}, {first}]}}").replace('\n', " ");
    let batch = dynamodb(&text);
    assert_eq!((batch.len(), batch.events), (2, 3));
    let places = batch.system.position.as_primitive::<Int64Type>().values().to_vec();
    let last = text.rfind(&first).unwrap();
    assert_eq!(places, [text.find(&first).unwrap() as i64, last as i64]);
    assert_eq!(batch.rejects[0].position, Position::Offset(text.find(&second).unwrap() as u64));
    assert_eq!(batch.rejects[0].raw.bytes, second.as_bytes());
    assert_eq!(batch.raw.record(1), first.as_bytes());
    assert_eq!(dynamodb(r#"{"Records":[]}"#).events, 0);
}

#[test]
fn stream_records_are_refused_with_reasons() {
    let no_keys = r#"{"eventName":"REMOVE","dynamodb":{}}"#.to_owned();
    let other = record(
        "INSERT",
        r#""NewImage":{"user_id":{"S":"v"},"timestamp":{"S":"2024-01-15T10:30:00Z"}},"#,
    );
    for (text, expected) in [
        (
            record("TRUNCATE", ""),
            "eventName: expected INSERT, MODIFY or REMOVE, found \"TRUNCATE\"",
        ),
        (no_keys, "dynamodb.Keys: expected the item's key, found nothing"),
        (other, "dynamodb.NewImage: its key is not that of Keys"),
        (
            record("INSERT", &format!(r#""NewImage":{{{KEY},"content":{{"N":"7"}}}},"#)),
            "dynamodb.NewImage.content: expected text, found number 7",
        ),
        (
            record("INSERT", &format!(r#""NewImage":{{{KEY},"content":"x"}},"#)),
            "dynamodb.NewImage.content: expected a value with its type, like {\"S\": \"text\"}",
        ),
        (
            record("INSERT", &format!(r#""NewImage":{{{KEY},"tokens_used":{{"N":"x"}}}},"#)),
            "dynamodb.NewImage.tokens_used: expected a number, found \"x\"",
        ),
        (
            record("REMOVE", "").replace("\"user_id\":{\"S\":\"u\"},", ""),
            "dynamodb.Keys.user_id: a key attribute is missing",
        ),
        (
            record("REMOVE", "").replace("1705314600", "\"x\""),
            "dynamodb.ApproximateCreationDateTime: expected seconds since 1970 or an ISO 8601 time, found text \"x\"",
        ),
    ] {
        let batch = dynamodb(&text);
        assert_eq!(batch.len(), 0, "{text}");
        assert_eq!(batch.rejects[0].reason, expected);
    }
}

#[test]
fn a_delete_is_honoured_though_its_image_no_longer_fits() {
    let batch =
        dynamodb(&record("REMOVE", &format!(r#""OldImage":{{{KEY},"content":{{"N":"7"}}}},"#)));
    assert_eq!((batch.len(), value(&batch, "content", 0).as_str()), (1, "null"));
    assert!(!batch.before.unwrap().present.value(0));
}

#[test]
fn rows_of_a_columnar_archive_follow_the_same_rules() {
    use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
    let rows = RecordBatch::try_from_iter([
        ("user_id", Arc::new(StringArray::from(vec![Some("u"), Some("v"), None])) as ArrayRef),
        ("timestamp", Arc::new(TimestampMillisecondArray::from(vec![1_705_314_600_123; 3])) as _),
        ("role", Arc::new(StringArray::from(vec!["user", "robot", "user"])) as _),
        ("ttl", Arc::new(TimestampMillisecondArray::from(vec![5000; 3])) as _),
        ("other", Arc::new(Int32Array::from(vec![Some(1), None, None])) as _),
    ])
    .unwrap();
    let raw = RawBatch {
        range: PositionRange::new(Position::Offset(7), Position::Offset(10)),
        bytes: 1,
        content: RawContent::Rows { rows, first: 7 },
    };
    let batch = decoder(Arc::new(contract()), Format::Plain).decode(&raw, &stamp()).unwrap();
    assert_eq!((batch.len(), batch.rejects.len()), (1, 2));
    assert_eq!(value(&batch, "timestamp", 0), "2024-01-15T10:30:00.123Z");
    assert_eq!(value(&batch, "ttl", 0), "1970-01-01T00:00:05Z");
    assert_eq!(cell(batch.system.extra.as_ref().unwrap(), 0), r#"{"other":1}"#);
    assert_eq!(cell(&batch.system.position, 0), "7");
    assert_eq!(batch.rejects[1].reason, "user_id: a key attribute is missing");
}

/// JSON values of all sorts, some fitting the contract.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[ -~é😀\\x00-\\x1f\"\\\\]{0,20}".prop_map(Value::from),
        Just(json!("2024-01-15T10:30:00Z")),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-c]|language|sentiment", inner, 0..4)
                .prop_map(|members| json!(members)),
        ]
    })
}

/// What a value should look like in its column, by serde_json; `None` where it does not fit.
fn expected(value: &Value, kind: &ColumnType) -> Option<String> {
    Some(match (kind, value) {
        (_, Value::Null) => "null".into(),
        (ColumnType::Text, Value::String(text)) => text.clone(),
        (ColumnType::Integer, Value::Number(number)) => match number.as_i64() {
            Some(number) => number.to_string(),
            None => {
                let number = number.as_f64()?;
                (number.fract() == 0.0 && number.abs() < 9e18)
                    .then(|| (number as i128).to_string())?
            }
        },
        (ColumnType::Float, Value::Number(number)) => {
            cell(&arrow::array::Float64Array::from(vec![number.as_f64()?]), 0)
        }
        (ColumnType::Boolean, Value::Bool(value)) => value.to_string(),
        (ColumnType::List(item), Value::Array(items)) => {
            let items: Option<Vec<_>> =
                items.iter().map(|value| expected(value, &item.kind)).collect();
            format!("[{}]", items?.join(", "))
        }
        (ColumnType::Struct(members), Value::Object(object)) => {
            let members: Option<Vec<_>> = members
                .iter()
                .map(|member| {
                    let value = object.get(&member.name).unwrap_or(&Value::Null);
                    Some(format!("{}: {}", member.name, expected(value, &member.kind)?))
                })
                .collect();
            format!("{{{}}}", members?.join(", "))
        }
        _ => return None,
    })
}

fn typed(value: &Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(value) => json!({"BOOL": value}),
        Value::Number(number) => json!({"N": number.to_string()}),
        Value::String(text) => json!({"S": text}),
        Value::Array(items) => json!({"L": items.iter().map(typed).collect::<Vec<_>>()}),
        Value::Object(members) => {
            json!({"M": members.iter().map(|(name, value)| (name.clone(), typed(value))).collect::<serde_json::Map<_, _>>()})
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// serde_json is the oracle: the same value in both forms is the same cell or the same refusal.
    #[test]
    fn agrees_with_serde_json(
        value in any_json(),
        index in prop::sample::select(vec![3usize, 4, 5, 6, 7, 8, 9]),
        pretty in any::<bool>(),
        extra in any_json(),
    ) {
        let mut contract = contract();
        contract.columns.iter_mut().for_each(|column| column.rules.clear());
        let column = contract.columns[index].clone();
        let item = json!({"user_id": "u", "timestamp": "2024-01-15T10:30:00Z", column.name.as_str(): value, "zz": extra});
        let text = if pretty { serde_json::to_string_pretty(&item).unwrap().replace('\n', " ") } else { item.to_string() };
        let image = item.as_object().unwrap().iter().map(|(name, value)| (name.clone(), typed(value))).collect::<serde_json::Map<_, _>>();
        let event = record("INSERT", &format!("\"NewImage\":{},", Value::from(image)));
        let wanted = expected(&value, &column.kind);
        for (format, text) in [(Format::Plain, text), (Format::Dynamodb, event)] {
            let batch = decode_with(contract.clone(), format, text.as_bytes());
            let found = (batch.len() == 1).then(|| cell(batch.rows.column(index), 0));
            prop_assert_eq!(&found, &wanted, "{} {:?}", text, batch.rejects);
            if found.is_some() {
                let kept: Value = serde_json::from_str(&cell(batch.system.extra.as_ref().unwrap(), 0)).unwrap();
                // Through text, since serde_json reads a double less exactly than it writes one.
                let wanted: Value = serde_json::from_str(&extra.to_string()).unwrap();
                prop_assert_eq!(&kept["zz"], &wanted);
            }
        }
    }

    /// chrono is the oracle of instants.
    #[test]
    fn agrees_with_chrono(seconds in -62_135_596_800i64..253_402_300_799, nanos in 0u32..1_000_000_000, offset in -86_340i32..86_340) {
        let utc = chrono::DateTime::from_timestamp(seconds, nanos).unwrap();
        let zone = chrono::FixedOffset::east_opt(offset / 60 * 60).unwrap();
        let local = utc.with_timezone(&zone);
        prop_assume!((1..=9999).contains(&chrono::Datelike::year(&local)));
        let text = local.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
        prop_assert_eq!(instant::parse_text(&text), Some(utc.timestamp_micros()), "{}", text);
    }

    /// Any bytes at all give rows and rejects, never a panic, and every record one of them.
    #[test]
    fn any_bytes_decode(cut in 0usize..400, patch in prop::collection::vec((0usize..400, any::<u8>()), 0..6), typed in any::<bool>()) {
        let text = if typed {
            record("MODIFY", &format!(r#""NewImage":{{{KEY},"content":{{"S":"n\u00e9w"}},"scores":{{"L":[{{"N":"1"}}]}}}},"OldImage":{{{KEY}}},"#))
        } else {
            r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z","content":"\ud83d\ude00é","metadata":{"language":"es","x":[1]},"balance":1.5,"photo":"aGk="}"#.to_owned()
        };
        let mut bytes = text.into_bytes();
        for (place, byte) in patch {
            let place = place % bytes.len();
            bytes[place] = byte;
        }
        bytes.truncate(cut.max(1));
        let format = if typed { Format::Dynamodb } else { Format::Plain };
        let batch = decode_with(contract(), format, &bytes);
        prop_assert_eq!(batch.events, batch.len() as u64 + batch.rejects.len() as u64);
        prop_assert_eq!(batch.system.len(), batch.len());
    }

    #[test]
    fn decimals_agree_with_their_text(digits in "[1-9][0-9]{0,30}", places in 0usize..8) {
        let (whole, fraction) = digits.split_at(digits.len().saturating_sub(places));
        let text = format!("{}.{}", if whole.is_empty() { "0" } else { whole }, if fraction.is_empty() { "0" } else { fraction });
        let value = number::scaled(&text, 38, 7, number::Excess::Refuse).unwrap();
        let wanted = i128::from_str(&digits).unwrap() * 10i128.pow(7 - fraction.len() as u32);
        prop_assert_eq!(value, wanted, "{}", text);
    }
}

/// arrow-json is the oracle of whole batches of simple types.
#[test]
fn agrees_with_arrow_json() {
    let mut text = String::new();
    for row in 0..200i64 {
        let content = ["short", "una respuesta algo más larga", "con \\\"comillas\\\" y \\u00f1"]
            [row as usize % 3];
        let tail = if row % 5 == 0 {
            String::new()
        } else {
            format!(
                r#","tokens_used":{},"metadata":{{"language":"es"}},"topics":["t{row}"]"#,
                row * 7 - 300
            )
        };
        text += &format!(
            "{{\"user_id\":\"u{row}\",\"timestamp\":\"2024-01-15T10:{:02}:00.{row:03}Z\",\"content\":\"{content}\",\"confidence_score\":{},\"escalation_triggered\":{}{tail}}}\n",
            row % 60,
            row as f64 / 200.0,
            row % 2 == 0
        );
    }
    let batch = plain(&text);
    let mut reader = arrow::json::ReaderBuilder::new(contract().schema()).build_decoder().unwrap();
    reader.decode(text.as_bytes()).unwrap();
    let oracle = reader.flush().unwrap().unwrap();
    assert_eq!(batch.len(), 200);
    for (index, field) in batch.rows.schema().fields().iter().enumerate() {
        assert_eq!(
            batch.rows.column(index).as_ref(),
            oracle.column(index).as_ref(),
            "{}",
            field.name()
        );
    }
    let times = batch.rows.column(1).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.value(1) - times.value(0), 60_001_000);
    assert_eq!(batch.rows.column(10).as_primitive::<Decimal128Type>().null_count(), 200);
}
