//! The slow path is the oracle of the fast one.

use arrow::array::Array;
use proptest::prelude::*;

use super::decoder::ContractDecoder;
use super::tests::{contract, lines, stamp};
use super::*;
use crate::component::Decoder;
use crate::contract::Evolution;
use crate::event::Batch;

fn slowly(contract: &Contract, format: Format, text: &[u8]) -> Batch {
    ContractDecoder::slow(contract, format).decode(&lines(text), &stamp()).unwrap()
}

/// Both paths over the same lines; how many of them the fast path read.
pub(super) fn compare(contract: &Contract, format: Format, text: &[u8]) -> u64 {
    let mut decoder = ContractDecoder::new(contract, format, crate::event::Operation::Upsert);
    let fast = decoder.decode(&lines(text), &stamp()).unwrap();
    let slow = slowly(contract, format, text);
    let shown = String::from_utf8_lossy(text);
    assert_eq!(fast.rejects, slow.rejects, "{shown}");
    assert_eq!(fast.rows, slow.rows, "{shown}");
    assert_eq!(fast.events, slow.events);
    assert_eq!(fast.raw.spans, slow.raw.spans);
    for ((_, fast), (field, slow)) in fast.system.columns().into_iter().zip(slow.system.columns()) {
        assert_eq!(fast.to_data(), slow.to_data(), "{} {shown}", field.name());
    }
    match (&fast.before, &slow.before) {
        (Some(fast), Some(slow)) => {
            assert_eq!(fast.present, slow.present, "{shown}");
            for row in slow.present.set_indices() {
                assert_eq!(fast.rows.slice(row, 1), slow.rows.slice(row, 1), "{shown}");
            }
        }
        (None, None) => {}
        _ => panic!("an image before on one path only"),
    }
    decoder.hits()
}

/// Attributes: (plain, typed) values for the columns of the small contract and beyond.
fn attribute(name: &'static str) -> BoxedStrategy<(String, String)> {
    let text = prop_oneof![
        8 => "[a-zé ]{0,20}",
        1 => Just(r#"a \"quoted\" word \u00f1 and more"#.to_owned()),
    ];
    let both = |plain: String, tag: &str, inner: String| (plain, format!("{{\"{tag}\":{inner}}}"));
    let values: BoxedStrategy<(String, String)> = match name {
        "role" => prop_oneof![9 => Just("user"), 9 => Just("assistant"), 1 => Just("robot")]
            .prop_map(move |word| both(format!("\"{word}\""), "S", format!("\"{word}\"")))
            .boxed(),
        "content" => text.prop_map(move |text| both(format!("\"{text}\""), "S", format!("\"{text}\""))).boxed(),
        "confidence_score" => prop_oneof!["0\\.[0-9]{1,3}", Just("1e400".to_owned()), Just("2".to_owned())]
            .prop_map(move |text| both(text.clone(), "N", format!("\"{text}\"")))
            .boxed(),
        "tokens_used" => prop_oneof![9 => "[1-9][0-9]{0,17}", 1 => Just("-7".to_owned()), 1 => Just("1.5e1".to_owned()), 1 => Just("12345678901234567890".to_owned())]
            .prop_map(move |text| both(text.clone(), "N", format!("\"{text}\"")))
            .boxed(),
        "escalation_triggered" => any::<bool>()
            .prop_map(move |flag| both(flag.to_string(), "BOOL", flag.to_string()))
            .boxed(),
        "metadata" => (any::<bool>(), any::<bool>(), 0..6u8)
            .prop_map(|(sentiment, language, extra)| {
                let mut plain = Vec::new();
                let mut typed = Vec::new();
                if sentiment {
                    plain.push(r#""sentiment":"neutral""#);
                    typed.push(r#""sentiment":{"S":"neutral"}"#);
                }
                if language {
                    plain.push(r#""language":"es""#);
                    typed.push(r#""language":{"S":"es"}"#);
                }
                if extra == 0 {
                    plain.push(r#""mood":1"#);
                    typed.push(r#""mood":{"N":"1"}"#);
                }
                (format!("{{{}}}", plain.join(",")), format!("{{\"M\":{{{}}}}}", typed.join(",")))
            })
            .boxed(),
        "topics" => prop::collection::vec("[a-z]{1,15}", 0..3)
            .prop_map(|words| {
                let plain: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                let typed: Vec<_> = words.iter().map(|word| format!("{{\"S\":\"{word}\"}}")).collect();
                (format!("[{}]", plain.join(",")), format!("{{\"L\":[{}]}}", typed.join(",")))
            })
            .boxed(),
        "ttl" => prop_oneof!["16[0-9]{8}", Just("1642176600.5".to_owned())]
            .prop_map(move |text| both(text.clone(), "N", format!("\"{text}\"")))
            .boxed(),
        "balance" => "[0-9]\\.[0-9]{2}".prop_map(move |text| both(text.clone(), "N", format!("\"{text}\""))).boxed(),
        _ => Just((r#""x""#.to_owned(), r#"{"S":"x"}"#.to_owned())).boxed(),
    };
    let null = Just(("null".to_owned(), r#"{"NULL":true}"#.to_owned()));
    prop_oneof![12 => values, 1 => null].boxed()
}

const NAMES: [&str; 10] = [
    "role",
    "content",
    "confidence_score",
    "tokens_used",
    "escalation_triggered",
    "metadata",
    "topics",
    "ttl",
    "balance",
    "zz",
];

/// One record in both forms, mostly alike.
fn record() -> impl Strategy<Value = (String, String)> {
    let attributes: Vec<_> = NAMES
        .iter()
        .map(|&name| {
            let chance = if name == "zz" { 0.15 } else { 0.85 };
            prop::option::weighted(chance, attribute(name))
        })
        .collect();
    let kind = prop_oneof![6 => Just("INSERT"), 3 => Just("MODIFY"), 1 => Just("REMOVE")];
    (attributes, kind, 0..1000u32, 0..20u8, any::<bool>()).prop_map(
        |(attributes, kind, second, odd, swap)| {
            let time = format!("2024-01-15T10:{:02}:{:02}.000Z", second / 60 % 60, second % 60);
            let keys = format!(r#""user_id":{{"S":"whatsapp:+52155{second}"}},"timestamp":{{"S":"{time}"}}"#);
            let mut plain = vec![format!(r#""user_id":"whatsapp:+52155{second}""#), format!(r#""timestamp":"{time}""#)];
            let mut typed = vec![keys.clone()];
            for (name, attribute) in NAMES.iter().zip(attributes) {
                if let Some((own, wrapped)) = attribute {
                    plain.push(format!("\"{name}\":{own}"));
                    typed.push(format!("\"{name}\":{wrapped}"));
                }
            }
            if odd == 0 {
                plain.reverse();
                typed.reverse();
            }
            if odd == 1 {
                plain.insert(0, r#""_op":"update""#.to_owned());
                plain.push(r#""_event_time":"2024-02-01T00:00:00Z""#.to_owned());
            }
            let image = typed.join(",");
            let old = if swap { image.clone() } else { keys.clone() };
            let images = match kind {
                "INSERT" => format!(r#""NewImage":{{{image}}},"#),
                "MODIFY" => format!(r#""NewImage":{{{image}}},"OldImage":{{{old}}},"#),
                _ => format!(r#""OldImage":{{{image}}},"#),
            };
            (
                format!("{{{}}}", plain.join(",")),
                format!(r#"{{"eventID":"{second:x}","eventName":"{kind}","eventVersion":"1.1","dynamodb":{{"ApproximateCreationDateTime":{},"Keys":{{{keys}}},{images}"SequenceNumber":"4{second:020}","SizeBytes":{second},"StreamViewType":"NEW_AND_OLD_IMAGES"}},"eventSourceARN":"arn"}}"#, 1_705_314_600 + second),
            )
        },
    )
}

/// Put other bytes at some places of `bytes`, and take some out.
pub(super) fn spoil(
    bytes: &mut Vec<u8>,
    damage: &[(prop::sample::Index, u8)],
    cuts: &[(prop::sample::Index, usize)],
) {
    for (place, byte) in damage {
        let place = place.index(bytes.len());
        bytes[place] = *byte;
    }
    for (place, length) in cuts {
        let start = place.index(bytes.len());
        let end = (start + length).min(bytes.len());
        bytes.drain(start..end);
        if bytes.is_empty() {
            bytes.push(b' ');
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn both_paths_agree(
        records in prop::collection::vec(record(), 1..40),
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:0\\ e"[..])]), 0..12),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 1usize..30), 0..3),
        strict in any::<bool>(),
    ) {
        let mut contract = contract();
        if strict {
            contract.evolution = Evolution::Strict;
        }
        for format in [Format::Plain, Format::Dynamodb] {
            let text = records.iter().map(|(plain, typed)| match format {
                Format::Plain => plain.as_str(),
                Format::Dynamodb | Format::Debezium => typed.as_str(),
            });
            let mut bytes = text.collect::<Vec<_>>().join("\n").into_bytes();
            compare(&contract, format, &bytes);
            spoil(&mut bytes, &damage, &cuts);
            compare(&contract, format, &bytes);
        }
    }
}

#[test]
fn records_that_look_alike_take_the_fast_path() {
    let plain = |row: u32, middle: &str| {
        format!(
            r#"{{"user_id":"u{row}","timestamp":"2024-01-15T10:30:00Z","role":"user",{middle}"escalation_triggered":false,"metadata":{{"sentiment":"neutral","language":"es"}},"ttl":1642176600}}"#
        )
    };
    let records: Vec<_> = (0..100)
        .map(|row| match row % 4 {
            0 => plain(row, r#""content":"hola","tokens_used":15,"#),
            1 => plain(row, r#""content":null,"tokens_used":15,"#),
            2 => plain(row, r#""content":"con \"comillas\"","#),
            _ => plain(row, ""),
        })
        .collect();
    let hits = compare(&contract(), Format::Plain, records.join("\n").as_bytes());
    assert_eq!(hits, 99);
}

#[test]
fn an_envelope_and_a_byte_order_mark_take_it_too() {
    let record = r#"{"eventName":"INSERT","dynamodb":{"ApproximateCreationDateTime":1705314600,"Keys":{"user_id":{"S":"a longer user"},"timestamp":{"S":"2024-01-15T10:30:00Z"}},"NewImage":{"user_id":{"S":"a longer user"},"timestamp":{"S":"2024-01-15T10:30:00Z"}}}}"#;
    let text = format!("\u{feff}{{\"Records\":[{record},{record}, {record}]}}");
    assert_eq!(compare(&contract(), Format::Dynamodb, text.as_bytes()), 2);
}

/// Braces that a shape's literals would balance, but the record's do not.
#[test]
fn what_is_passed_over_is_whole_members() {
    let full = r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z","role":"user","metadata":{"sentiment":"s","language":"es"},"ttl":1642176600}"#;
    let open =
        r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z","role":"user"},"ttl":1642176600}"#;
    let hollow =
        r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z","metadata":{},"ttl":1642176600}"#;
    let bare = r#"{"user_id":"u","timestamp":"2024-01-15T10:30:00Z"}"#;
    for text in [[full, open, bare], [hollow, hollow, bare], [full, bare, hollow]] {
        compare(&contract(), Format::Plain, text.join("\n").as_bytes());
    }
    let typed = |image: &str| {
        format!(
            r#"{{"eventName":"INSERT","dynamodb":{{"Keys":{{"user_id":{{"S":"u"}},"timestamp":{{"S":"2024-01-15T10:30:00Z"}}}},"NewImage":{{"user_id":{{"S":"u"}},"timestamp":{{"S":"2024-01-15T10:30:00Z"}},{image}}}}}}}"#
        )
    };
    let text = [
        typed(r#""role":{"S":"user"},"topics":{"L":[]},"content":{"S":"x"}"#),
        typed(r#""role":{"S":"user","content":{"S":"x"}"#),
        typed(r#""escalation_triggered":{"BOOL":true}"#),
        typed(r#""escalation_triggered":{"BOOL":null}"#),
    ];
    compare(&contract(), Format::Dynamodb, text.join("\n").as_bytes());
}
