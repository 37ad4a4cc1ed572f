//! Words for messages: paths, names of types, the closest known word.

use serde_json::Value as Json;

use super::node::{Node, Resolved, Value};

/// Longest text that a message quotes, in characters.
const QUOTED: usize = 40;

/// `path` with `key` beneath it; a key that is no plain word stands in brackets.
pub(super) fn path_of(path: &str, key: &str) -> String {
    let mut longer = path.to_owned();
    push_key(&mut longer, key);
    longer
}

pub(super) fn push_key(path: &mut String, key: &str) {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
    if key.is_empty() || !key.chars().all(plain) {
        *path += &format!("[{key:?}]");
    } else {
        *path += if path.is_empty() { "" } else { "." };
        *path += key;
    }
}

/// The known word that `word` was probably meant to be.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.to_lowercase().replace(['-', ' '], "_");
    let written = plain(word);
    // One slip in three characters, and one at least, is a slip; more is another word.
    let slips = (written.chars().count() / 3).max(1);
    let similar = |candidate: &str| {
        let candidate = plain(candidate);
        let distance = strsim::damerau_levenshtein(&written, &candidate);
        let contained = written.len() >= 3
            && candidate.len() >= 3
            && (candidate.starts_with(&written) || written.starts_with(&candidate));
        (distance <= slips || contained).then_some(distance)
    };
    let scored = known.into_iter().filter_map(|known| Some((similar(known)?, known)));
    scored.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// What stands there, as a message says it. Values of variables are never shown.
pub(super) fn found(node: &Node) -> String {
    let scalar = match &node.value {
        Value::Map(entries) if entries.is_empty() => return "an empty mapping".into(),
        Value::Map(_) => return "a mapping".into(),
        Value::List(_) => return "a list".into(),
        Value::Scalar(scalar) => scalar,
    };
    if scalar.is_expanded() {
        return format!("the value of {}", quoted(scalar.shown()));
    }
    match scalar.resolve() {
        Resolved::Null => "nothing".into(),
        Resolved::Boolean(_) => quoted(&scalar.text),
        Resolved::Integer(_) | Resolved::Float(_) => format!("the number {}", quoted(&scalar.text)),
        Resolved::Text("") => "an empty text".into(),
        Resolved::Text(text) => format!("the text {}", quoted(text)),
    }
}

/// The first line of a text in backticks, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let line = text.trim_end().lines().next().unwrap_or("");
    let cut = line.chars().count() > QUOTED || line.len() < text.trim_end().len();
    let shown: String = line.chars().take(QUOTED).collect();
    format!("`{shown}{}`", if cut { "..." } else { "" })
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn either(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// What a schema type is called.
pub(super) fn type_name(kind: &str) -> &'static str {
    match kind {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        _ => "nothing",
    }
}

/// The first sentence of a schema's description, as the tail of a message: no full stop.
pub(super) fn gist(schema: &Json) -> Option<String> {
    let description = schema.get("description")?.as_str()?;
    let paragraph = description.split("\n\n").next()?.replace('\n', " ");
    let sentence = paragraph.split(". ").next()?.trim_end_matches('.');
    let mut letters = sentence.chars();
    let first = letters.next()?;
    // `NDJSON` keeps its capitals, `Where` does not.
    if letters.clone().next().is_some_and(char::is_uppercase) {
        return Some(sentence.to_owned());
    }
    Some(first.to_lowercase().chain(letters).collect())
}
