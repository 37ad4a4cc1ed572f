//! The slow path is the oracle of the fast one for events of Debezium.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Format;
use super::shape_tests::{compare, spoil};
use super::tests::{column, contract};
use crate::contract::{ColumnType, Contract, DecimalForm, Evolution, TimeForm};

/// The conversations table in small, with the forms of a database.
fn table(strict: bool) -> Contract {
    let mut contract = contract();
    let price = ColumnType::Decimal { precision: 9, scale: 2, form: DecimalForm::Base64 };
    contract.columns.push(column("price", price));
    contract.columns.push(column("day", ColumnType::Date(TimeForm::EpochDays)));
    contract.columns.push(column("micros", ColumnType::Timestamp(TimeForm::EpochMicros)));
    if strict {
        contract.evolution = Evolution::Strict;
    }
    contract
}

/// The schema of the table; of another scale where `fine`.
fn schema(fine: bool) -> String {
    let fields = json!([
        { "type": "string", "field": "user_id" },
        { "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": { "scale": if fine { "3" } else { "2" } }, "field": "price" },
        { "type": "int64", "name": "io.debezium.time.NanoTimestamp", "field": "micros" },
    ]);
    json!({ "type": "struct", "fields": [{ "type": "struct", "fields": fields, "field": "after" }] })
        .to_string()
}

/// The values of one column as they come: mostly plain, at times escaped, null, unavailable, odd.
fn value(plain: impl Strategy<Value = String> + 'static) -> BoxedStrategy<String> {
    prop_oneof![
        24 => plain,
        2 => Just("null".to_owned()),
        1 => Just(r#""__debezium_unavailable_value""#.to_owned()),
        1 => Just(r#"["__debezium_unavailable_value"]"#.to_owned()),
        1 => Just(r#""\u0061 \"quoted\" text""#.to_owned()),
        1 => Just(r#"{"scale":1,"value":"ew=="}"#.to_owned()),
        1 => Just("7".to_owned()),
    ]
    .boxed()
}

fn image() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let text = |text: &'static str| value(text.prop_map(|text: String| format!("\"{text}\"")));
    (
        text("[a-z ]{0,16}"),
        text("user|assistant"),
        value("[0-9]{1,9}".prop_map(|digits: String| format!("1{digits}"))),
        value(prop_oneof![Just("\"BM4=\"".to_owned()), Just("\"+zI=\"".to_owned())]),
        value("-?1[0-9]{3}"),
        value("17053146[0-9]{8}"),
        prop::option::weighted(0.1, Just("[1,{\"a\":null}]".to_owned())),
    )
        .prop_map(|(content, role, tokens, price, day, micros, extra)| {
            let mut members = vec![
                ("role", role),
                ("content", content),
                ("tokens_used", tokens),
                ("price", price),
                ("day", day),
                ("micros", micros),
            ];
            members.extend(extra.map(|extra| ("zz", extra)));
            members
        })
}

/// One event as text; the odds choose what is unlike the others.
fn event() -> impl Strategy<Value = String> {
    let op =
        prop_oneof![6 => Just("c"), 6 => Just("u"), 2 => Just("r"), 2 => Just("d"), 1 => Just("t")];
    let shuffled = prop_oneof![8 => Just(None), 1 => (0usize..6, 0usize..6).prop_map(Some)];
    (image(), image(), op, 0u32..50, 0u8..30, shuffled, any::<bool>()).prop_map(
        |(mut after, before, op, row, odd, shuffled, has_before)| {
            if let Some((left, right)) = shuffled {
                after.swap(left, right);
            }
            let write = |members: &[(&str, String)], user: u32| {
                let rest = members.iter().map(|(name, value)| format!(",\"{name}\":{value}"));
                let key = format!(r#""user_id":"u{user}","timestamp":"2024-01-15T10:30:00Z""#);
                format!("{{{key}{}}}", rest.collect::<String>())
            };
            let own = write(&after, row);
            // A key that changes, if a connector were to send it so.
            let before = write(&before, if odd == 0 { row + 1 } else { row });
            let (before, after) = match op {
                "d" => (before, "null".to_owned()),
                "u" if has_before => (before, own),
                _ => ("null".to_owned(), own),
            };
            let time = if odd == 1 { 0 } else { 1_705_314_600_000u64 + u64::from(row) };
            let source = match odd {
                2 => "null".to_owned(),
                3 => format!(r#"{{"ts_ms":{time}}}"#),
                _ => format!(r#"{{"version":"3","connector":"postgresql","ts_ms":{time},"snapshot":"false","sequence":"[\"{row}\",\"2\"]","ts_us":{time}001,"ts_ns":{time}001002,"txId":{row},"xmin":null}}"#),
            };
            let transaction = if odd == 4 { r#"{"id":"1","total_order":1}"# } else { "null" };
            let parts = [
                format!(r#""before":{before}"#),
                format!(r#""after":{after}"#),
                format!(r#""source":{source}"#),
                format!(r#""transaction":{transaction}"#),
                format!(r#""op":"{op}""#),
                format!(r#""ts_ms":{time}"#),
            ];
            let mut parts = parts.to_vec();
            match odd {
                5 => parts.reverse(),
                6 => parts.push(parts[4].clone()),
                7 => parts.push(r#""after":null"#.to_owned()),
                8 => parts.push(r#""schema":{}"#.to_owned()),
                _ => {}
            }
            format!("{{{}}}", parts.join(","))
        },
    )
}

fn enveloped(event: &str, fine: bool, turned: bool) -> String {
    let schema = schema(fine);
    match turned {
        false => format!(r#"{{"schema":{schema},"payload":{event}}}"#),
        true => format!(r#"{{"payload":{event},"schema":{schema}}}"#),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn both_paths_agree_on_events(
        events in prop::collection::vec((event(), 0u8..40), 1..40),
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:0\\ e"[..])]), 0..12),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 1usize..30), 0..3),
        strict in any::<bool>(),
    ) {
        let contract = table(strict);
        let schemaless: Vec<_> = events.iter().map(|(event, _)| event.clone()).collect();
        let beside = events.iter().map(|(event, odd)| match odd {
            0 => event.clone(),
            odd => enveloped(event, *odd == 1, *odd == 2),
        });
        for texts in [schemaless, beside.collect()] {
            let mut bytes = texts.join("\n").into_bytes();
            compare(&contract, Format::Debezium, &bytes);
            spoil(&mut bytes, &damage, &cuts);
            compare(&contract, Format::Debezium, &bytes);
        }
    }
}

/// An update of a row of about 500 bytes, with both images.
fn update(row: u32) -> String {
    let image = |tokens: u32| {
        json!({
            "user_id": format!("whatsapp:+52155{row:08}"), "timestamp": "2024-01-15T10:30:00Z",
            "role": "user", "content": format!("Hola, quisiera saber cuál es el precio de su plan, caso {row}"),
            "tokens_used": tokens, "price": "BM4=", "day": 19737, "micros": 1_705_314_600_000_000u64 + u64::from(row),
        })
    };
    json!({
        "before": image(1), "after": image(2), "op": "u", "ts_ms": 1_705_314_600_123u64, "transaction": null,
        "source": { "version": "3.0.0.Final", "connector": "postgresql", "ts_ms": 1_705_314_600_000u64, "table": "t", "lsn": row },
    })
    .to_string()
}

#[test]
fn events_that_look_alike_take_the_fast_path() {
    let records: Vec<_> = (0..100).map(update).collect();
    let read = |records: &[String]| {
        compare(&table(false), Format::Debezium, records.join("\n").as_bytes())
    };
    assert_eq!(read(&records), 99);
    let beside: Vec<_> = records.iter().map(|event| enveloped(event, false, false)).collect();
    assert_eq!(read(&beside), 99);
    let turned: Vec<_> = records.iter().map(|event| enveloped(event, false, true)).collect();
    assert_eq!(read(&turned), 99);
    // Each schema has a shape of its own.
    let mixed: Vec<_> = (0..100).map(|row| enveloped(&records[row], row % 2 == 0, false)).collect();
    assert_eq!(read(&mixed), 98);
    // Names that a plain item has for itself are attributes here.
    let named = records.iter().map(|event| {
        let mut event: Value = serde_json::from_str(event).unwrap();
        event["after"]["_op"] = json!("delete");
        event.to_string()
    });
    assert_eq!(read(&named.collect::<Vec<_>>()), 99);
}

#[test]
fn an_image_before_that_names_a_member_twice_teaches_nothing() {
    let twice = r#""user_id":"u","timestamp":"2024-01-15T10:30:00Z","content":"a","content":"b""#;
    let once = r#""user_id":"u","timestamp":"2024-01-15T10:30:00Z","content":"c""#;
    let event =
        format!(r#"{{"before":{{{twice}}},"after":{{{once}}},"op":"u","ts_ms":1705314600000}}"#);
    let records = vec![event; 4].join("\n");
    assert_eq!(compare(&table(false), Format::Debezium, records.as_bytes()), 0);
}

/// How much the fast path gains: `cargo test --lib throughput_of_events -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn throughput_of_events() {
    use super::decoder::ContractDecoder;
    use super::tests::{lines, stamp};
    use crate::component::Decoder;
    let events: Vec<_> = (0..2000).map(update).collect();
    let beside: Vec<_> = events.iter().map(|event| enveloped(event, false, false)).collect();
    for (name, texts) in [("without schema", events), ("with schema", beside)] {
        let raw = lines(texts.join("\n").as_bytes());
        let rate = |decoder: &mut ContractDecoder| {
            let started = std::time::Instant::now();
            for _ in 0..20 {
                assert_eq!(decoder.decode(&raw, &stamp()).unwrap().len(), 2000);
            }
            40_000.0 / started.elapsed().as_secs_f64()
        };
        let operation = crate::event::Operation::Upsert;
        let fast = rate(&mut ContractDecoder::new(&table(false), Format::Debezium, operation));
        let slow = rate(&mut ContractDecoder::slow(&table(false), Format::Debezium));
        println!("{name}: slow {slow:.0} rows/s, fast {fast:.0} rows/s, {:.1}x", fast / slow);
    }
}
