//! Events as the connectors of PostgreSQL and MySQL write them by default: times adaptive, decimals
//! precise; with their schema, and without where the contract says what the schema would.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, Decimal128Type, Int64Type, TimestampMicrosecondType};
use serde_json::{Value, json};

use super::tests::{column, contract, lines, stamp};
use super::{Format, decoder};
use crate::contract::{Column, ColumnType, Contract, DecimalForm, TimeForm};
use crate::event::Batch;

/// The orders of a shop; `forms` as a contract for events without a schema says them.
fn orders(forms: bool) -> Contract {
    let time = |form| ColumnType::Timestamp(if forms { form } else { TimeForm::Text });
    let price = |form| ColumnType::Decimal { precision: 12, scale: 3, form };
    let form = if forms { DecimalForm::Base64 } else { DecimalForm::Digits };
    Contract {
        columns: vec![
            Column { required: true, ..column("id", ColumnType::Integer) },
            column(
                "day",
                ColumnType::Date(if forms { TimeForm::EpochDays } else { TimeForm::Text }),
            ),
            column("created", time(TimeForm::EpochMicros)),
            column("millis", time(TimeForm::EpochMillis)),
            column("seen", ColumnType::Timestamp(TimeForm::Text)),
            column("price", price(form)),
            column("any_scale", price(form)),
            column("clock", ColumnType::Integer),
            column("bits", ColumnType::Binary),
            column("ref", ColumnType::Text),
            column("doc", ColumnType::Text),
            column("tags", ColumnType::List(Box::new(column("item", ColumnType::Text)))),
        ],
        primary_key: vec!["id".into()],
        ..contract()
    }
}

fn row() -> Value {
    json!({
        "id": 7, "day": 19737, "created": 1_705_314_600_123_456i64, "millis": 1_705_314_600_123i64,
        "seen": "2024-01-15T10:30:00.123456Z", "price": "BM4=", "any_scale": { "scale": 1, "value": "hQ==" },
        "clock": 37_800_000_000i64, "bits": "BQ==", "ref": "6f1c1c6e-7b1a-4d5e-9a53-0d2c5d7a1c01",
        "doc": "{\"a\": 1}", "tags": ["x"],
    })
}

fn event(op: &str, before: &Value, after: &Value, source: Value) -> Value {
    json!({
        "before": before, "after": after, "source": source, "transaction": null, "op": op,
        "ts_ms": 1_705_314_600_500i64, "ts_us": 1_705_314_600_500_001i64, "ts_ns": 1_705_314_600_500_001_002i64,
    })
}

fn postgres() -> Value {
    json!({
        "version": "3.0.0.Final", "connector": "postgresql", "name": "shop", "ts_ms": 1_705_314_600_200i64,
        "snapshot": "false", "db": "shop", "sequence": "[\"24023119\",\"24023128\"]",
        "ts_us": 1_705_314_600_200_001i64, "ts_ns": 1_705_314_600_200_001_000i64, "schema": "public",
        "table": "orders", "txId": 555, "lsn": 24_023_128, "xmin": null,
    })
}

fn mysql() -> Value {
    json!({
        "version": "3.0.0.Final", "connector": "mysql", "name": "shop", "ts_ms": 1_705_314_600_000i64,
        "snapshot": "false", "db": "shop", "sequence": null, "ts_us": 1_705_314_600_000_000i64,
        "ts_ns": 1_705_314_600_000_000_000i64, "table": "orders", "server_id": 223_344, "gtid": null,
        "file": "mysql-bin.000003", "pos": 484, "row": 0, "thread": 7, "query": null,
    })
}

/// The schema of a row as JsonConverter writes it.
fn fields() -> Value {
    let named = |field: &str, kind: &str, name: &str| json!({ "type": kind, "optional": true, "name": name, "version": 1, "field": field });
    let scale = json!({ "scale": "2", "connect.decimal.precision": "10" });
    json!([
        { "type": "int32", "optional": false, "field": "id" },
        named("day", "int32", "io.debezium.time.Date"),
        named("created", "int64", "io.debezium.time.MicroTimestamp"),
        named("millis", "int64", "org.apache.kafka.connect.data.Timestamp"),
        named("seen", "string", "io.debezium.time.ZonedTimestamp"),
        { "type": "bytes", "optional": true, "name": "org.apache.kafka.connect.data.Decimal", "version": 1, "parameters": scale, "field": "price" },
        { "type": "struct", "fields": [{ "type": "int32", "optional": false, "field": "scale" }, { "type": "bytes", "optional": false, "field": "value" }], "optional": true, "name": "io.debezium.data.VariableScaleDecimal", "version": 1, "field": "any_scale" },
        named("clock", "int64", "io.debezium.time.MicroTime"),
        { "type": "bytes", "optional": true, "name": "io.debezium.data.Bits", "version": 1, "parameters": { "length": "3" }, "field": "bits" },
        named("ref", "string", "io.debezium.data.Uuid"),
        named("doc", "string", "io.debezium.data.Json"),
        { "type": "array", "items": { "type": "string", "optional": true }, "optional": true, "field": "tags" },
    ])
}

fn enveloped(fields: &Value, event: &Value) -> Value {
    let image = |name: &str| json!({ "type": "struct", "fields": fields, "optional": true, "name": "shop.public.orders.Value", "field": name });
    json!({
        "schema": {
            "type": "struct", "optional": false, "name": "shop.public.orders.Envelope", "version": 2,
            "fields": [image("before"), image("after"), { "type": "string", "optional": false, "field": "op" }],
        },
        "payload": event,
    })
}

fn decode(contract: Contract, events: &[Value]) -> Batch {
    let text = events.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let mut decoder = decoder(Arc::new(contract), Format::Debezium);
    decoder.decode(&lines(text.as_bytes()), &stamp()).unwrap()
}

fn reasons(batch: &Batch) -> Vec<&str> {
    batch.rejects.iter().map(|letter| letter.reason.as_str()).collect()
}

#[track_caller]
fn assert_row(batch: &Batch, row: usize) {
    assert_eq!(reasons(batch), Vec::<&str>::new());
    let column = |name: &str| batch.rows.column_by_name(name).unwrap();
    let micros = |name: &str| column(name).as_primitive::<TimestampMicrosecondType>().value(row);
    let decimal = |name: &str| column(name).as_primitive::<Decimal128Type>().value(row);
    assert_eq!(column("day").as_primitive::<Date32Type>().value(row), 19737);
    assert_eq!(micros("created"), 1_705_314_600_123_456);
    assert_eq!(micros("millis"), 1_705_314_600_123_000);
    assert_eq!(micros("seen"), 1_705_314_600_123_456);
    assert_eq!(decimal("any_scale"), -12_300, "-12.3 of scale 1");
    assert_eq!(column("clock").as_primitive::<Int64Type>().value(row), 37_800_000_000);
    assert_eq!(column("bits").as_binary_view().value(row), [5]);
    assert_eq!(column("doc").as_string_view().value(row), "{\"a\": 1}");
}

#[test]
fn with_the_schema_each_field_is_read_as_it_says() {
    for source in [postgres(), mysql()] {
        let nothing = Value::Null;
        let events = [
            event("c", &nothing, &row(), source.clone()),
            event("u", &row(), &row(), source.clone()),
            event("r", &nothing, &row(), source.clone()),
            event("d", &row(), &nothing, source),
        ]
        .map(|event| enveloped(&fields(), &event));
        // Whatever the contract says of forms: the schema knows better.
        for forms in [false, true] {
            let batch = decode(orders(forms), &events);
            (0..4).for_each(|row| assert_row(&batch, row));
            let price = batch.rows.column_by_name("price").unwrap();
            let price = price.as_primitive::<Decimal128Type>();
            assert_eq!(price.values().as_ref(), [12_300; 4], "12.30 of scale 2 has scale 3");
            let before = batch.system.before.as_ref().unwrap();
            let price = before.column_by_name("price").unwrap();
            assert_eq!(price.as_primitive::<Decimal128Type>().value(1), 12_300);
        }
    }
}

#[test]
fn without_a_schema_the_contract_says_the_forms() {
    let events = [
        event("c", &Value::Null, &row(), postgres()),
        event("u", &row(), &row(), mysql()),
        json!({ "schema": null, "payload": event("c", &Value::Null, &row(), mysql()) }),
    ];
    let batch = decode(orders(true), &events);
    (0..3).for_each(|row| assert_row(&batch, row));
    let price = batch.rows.column_by_name("price").unwrap().as_primitive::<Decimal128Type>();
    assert_eq!(price.values().as_ref(), [1_230; 3], "the contract's scale is the value's");
    // Nothing is guessed where the contract says text.
    let batch = decode(orders(false), &events);
    assert!(
        batch
            .rejects
            .iter()
            .all(|letter| letter.reason.starts_with("after.any_scale: expected a number"))
    );
    assert_eq!(batch.rejects.len(), 3);
}

#[test]
fn what_a_column_cannot_hold_is_refused_by_its_name() {
    let with = |name: &str, value: Value| {
        let mut row = row();
        row[name] = value;
        enveloped(&fields(), &event("c", &Value::Null, &row, postgres()))
    };
    let events = [
        with("created", json!(i64::MAX)),
        with("any_scale", json!({ "scale": 4, "value": "MDk=" })),
        with("price", json!("/////////////w==")),
        with("price", json!("f/////////8=")),
        with("price", json!("12.30")),
        with("day", json!("2024-01-15")),
        with("price", Value::Null),
        with("any_scale", json!(null)),
    ];
    let batch = decode(orders(false), &events);
    let digits = "expected a number of at most 12 digits, 3 of them decimals, its unscaled value in base64, found text";
    assert_eq!(
        reasons(&batch),
        [
            format!("after.created: expected microseconds since 1970, found number {}", i64::MAX),
            format!("after.any_scale: {digits} \"MDk=\": too many decimals"),
            format!("after.price: {digits} \"f/////////8=\": too many digits"),
            format!("after.price: {digits} \"12.30\""),
            "after.day: expected days since 1970, found text \"2024-01-15\"".to_owned(),
        ]
    );
    // Ten bytes that say -1 are -0.01; nulls are nulls.
    let price = batch.rows.column_by_name("price").unwrap().as_primitive::<Decimal128Type>();
    assert_eq!(price.iter().collect::<Vec<_>>(), [Some(-10), None, Some(12_300)]);
}

#[test]
fn decimals_as_strings_need_no_word_of_the_contract() {
    let mut fields = fields();
    fields[5] = json!({ "type": "string", "optional": true, "field": "price" });
    fields[6] = json!({ "type": "double", "optional": true, "field": "any_scale" });
    let mut row = row();
    row["price"] = json!("12.30");
    row["any_scale"] = json!(-12.3);
    let batch =
        decode(orders(true), &[enveloped(&fields, &event("c", &Value::Null, &row, postgres()))]);
    assert_row(&batch, 0);
}

#[test]
fn a_column_that_is_no_exact_number_takes_none() {
    let mut contract = orders(false);
    contract.columns[5].kind = ColumnType::Text;
    let batch =
        decode(contract, &[enveloped(&fields(), &event("c", &Value::Null, &row(), postgres()))]);
    assert_eq!(
        reasons(&batch),
        [
            "after.price: expected text, found the exact numbers of the schema (org.apache.kafka.connect.data.Decimal): give the contract's column `precision` and `scale`, or set `decimal.handling.mode`"
        ]
    );
}
