//! Records that cannot be processed, each in its own way.

use super::item::timestamp;
use super::random::SampleRandom;

/// Ways to be wrong.
pub(super) const KINDS: u64 = 12;

/// A record of one of the [`KINDS`], that stands at `time_ms`.
pub(super) fn put(kind: u64, time_ms: i64, random: &mut SampleRandom, out: &mut Vec<u8>) {
    let user = format!("whatsapp:+52155{:08}", random.within(0, 100_000_000));
    let (event_id, lag) = (random.within(0, 1_000_003), random.within(2, 900));
    let at = timestamp(time_ms);
    let keys = format!(r#"{{"user_id":{{"S":"{user}"}},"timestamp":{{"S":"{at}"}}}}"#);
    let head = r#""session_id":{"S":"sess_0"},"message_id":{"S":"msg_0"},"message_type":{"S":"text"},"role":{"S":"user"},"content":{"S":"Hola"}"#;
    let image = |extra: &str| {
        format!(r#"{{"user_id":{{"S":"{user}"}},"timestamp":{{"S":"{at}"}},{head}{extra}}}"#)
    };
    let record = |name: &str, keys: &str, image: &str| {
        let seconds = time_ms.div_euclid(1000);
        format!(
            r#"{{"eventID":"{:032x}","eventName":"{name}","dynamodb":{{"ApproximateCreationDateTime":{seconds},"Keys":{keys}{image}}}}}"#,
            event_id
        )
    };
    let insert = |extra: &str| record("INSERT", &keys, &format!(r#","NewImage":{}"#, image(extra)));
    let text = match kind % KINDS {
        // Cut off in the middle, as a writer that died leaves it.
        0 => {
            let whole = insert("");
            whole.get(..whole.len() / 2).unwrap_or_default().to_owned()
        }
        // A line of a log that slipped in.
        1 => format!("{at} WARN consumer lagging behind by {} records", lag),
        // The sort key is missing.
        2 => record(
            "INSERT",
            &format!(r#"{{"user_id":{{"S":"{user}"}}}}"#),
            &format!(r#","NewImage":{{"user_id":{{"S":"{user}"}},{head}}}"#),
        ),
        3 => insert(r#","tokens_used":{"S":"many"}"#),
        4 => insert(r#","tokens_used":{"N":"1,250"}"#),
        // A sort key that is no time.
        5 => {
            let wrong = r#"{"S":"15/01/2024 10:30"}"#;
            record(
                "INSERT",
                &format!(r#"{{"user_id":{{"S":"{user}"}},"timestamp":{wrong}}}"#),
                &format!(
                    r#","NewImage":{{"user_id":{{"S":"{user}"}},"timestamp":{wrong},{head}}}"#
                ),
            )
        }
        6 => record("UPSERT", &keys, &format!(r#","NewImage":{}"#, image(""))),
        // A year that no partition should be made for.
        7 => insert("").replace(&at, "9999-12-31T23:59:59.999Z"),
        // An insert without the item.
        8 => record("INSERT", &keys, ""),
        9 => insert(r#","escalation_triggered":{"BOOL":"yes"}"#),
        10 => insert(r#","confidence_score":{"Q":"0.9"}"#),
        // Not UTF-8: made below.
        _ => insert("").replace("Hola", "caf\u{1}"),
    };
    let mark = out.len();
    out.extend_from_slice(text.as_bytes());
    if kind % KINDS == 11 {
        for byte in out.iter_mut().skip(mark).filter(|byte| **byte == 1) {
            *byte = 0xE9;
        }
    }
}
