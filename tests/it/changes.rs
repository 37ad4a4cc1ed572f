//! Changes of messages as lines of an archive, for tests of what keeps the last version of each key.

use serde_json::json;

/// One change of message `number` as a line: its operation, and its text.
pub(crate) fn change(number: usize, op: &str, text: &str) -> String {
    change_of(number, op, text, "user")
}

/// A change of message `number` that `role` wrote.
pub(crate) fn change_of(number: usize, op: &str, text: &str, role: &str) -> String {
    let line = json!({
        "_op": op,
        "user_id": format!("user-{number}"),
        "timestamp": format!("2024-01-{:02}T10:30:00.000Z", 1 + number % 28),
        "role": role,
        "content": text,
        "metadata": { "language": "es" },
    });
    format!("{line}\n")
}

/// The id of message `number`.
pub(crate) fn id(number: usize) -> String {
    let time = format!("2024-01-{:02}T10:30:00.000Z", 1 + number % 28);
    format!("{{\"user_id\":\"user-{number}\",\"timestamp\":\"{time}\"}}")
}

/// Messages `0..count`, each written twice; every fifth is deleted between the two and every seventh at
/// the end.
pub(crate) fn changes(count: usize) -> String {
    let mut lines = String::new();
    for number in 0..count {
        lines += &change(number, "insert", "uno");
    }
    for number in 0..count {
        if number % 5 == 0 {
            lines += &change(number, "delete", "");
        }
        lines += &change(number, "upsert", "dos");
    }
    for number in (0..count).step_by(7) {
        lines += &change(number, "delete", "");
    }
    lines
}

/// 300 messages, of which the first 200 change and the first 100 are deleted; the first one comes back,
/// and one expires.
pub(crate) fn ups_and_downs() -> String {
    let mut lines = String::new();
    for number in 0..300 {
        lines += &change(number, "insert", "primero");
    }
    for number in 0..200 {
        lines += &change(number, "update", "segundo");
    }
    for number in 0..100 {
        lines += &change(number, "delete", "");
    }
    lines += &change(0, "insert", "de nuevo");
    lines += &change(250, "expire", "");
    lines
}
