//! The sound part of a file with mistakes, so that what else is wrong can be found in the same go.
//!
//! What the schema finds fault with is set right where the finding knows what was meant, and left
//! out otherwise. Nothing of this is ever run: a file with findings is refused.

use std::collections::BTreeMap;

use crate::document::{Document, Entry, Finding, Findings, Node, Style, Value};

/// What stands in for a required key that is missing.
const STAND_IN: &str = "missing";

/// `document` without the mistakes of `findings`.
pub(super) fn sound_part(document: &Document, findings: &Findings) -> Document {
    let mut sound = document.clone();
    let wrong: BTreeMap<&str, &Finding> =
        findings.iter().map(|finding| (finding.path.as_str(), finding)).collect();
    if !wrong.is_empty() {
        repair(&mut sound.root, "", &wrong);
        for finding in findings.iter().filter(|finding| !finding.path.contains(['.', '['])) {
            stand_in(&mut sound.root, &finding.path);
        }
    }
    sound
}

fn repair(node: &mut Node, path: &str, wrong: &BTreeMap<&str, &Finding>) {
    match &mut node.value {
        Value::Map(entries) => {
            let known: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
            entries.retain_mut(|entry| {
                let path = match path {
                    "" => entry.key.clone(),
                    _ => format!("{path}.{}", entry.key),
                };
                match wrong.get(path.as_str()) {
                    Some(finding) if !set_right(entry, finding, &known) => false,
                    _ => {
                        repair(&mut entry.value, &path, wrong);
                        true
                    }
                }
            });
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                repair(item, &format!("{path}[{index}]"), wrong);
            }
        }
        Value::Scalar(_) => {}
    }
}

/// Apply what was meant; false where that is not known.
fn set_right(entry: &mut Entry, finding: &Finding, known: &[String]) -> bool {
    let Some(meant) = &finding.suggestion else { return false };
    if finding.place == entry.place {
        entry.key.clone_from(meant);
        return !known.contains(meant);
    }
    match &mut entry.value.value {
        Value::Scalar(scalar) => {
            scalar.text.clone_from(meant);
            scalar.style = Style::Plain;
            true
        }
        _ => false,
    }
}

/// A key of the document itself that is not there: a value of the right form, whose section is not
/// judged.
fn stand_in(root: &mut Node, key: &str) {
    let scalar = |place| Node::text(place, STAND_IN);
    let place = root.place;
    let Value::Map(entries) = &mut root.value else { return };
    if entries.iter().any(|entry| entry.key == key) {
        return;
    }
    let value = match key {
        "name" | "contract" => scalar(place),
        "dead_letters" => {
            let url = Entry::new("url", place, scalar(place));
            Node { place, value: Value::Map(vec![url]) }
        }
        "sinks" => Node { place, value: Value::Map(Vec::new()) },
        _ => return,
    };
    entries.push(Entry::new(key, place, value));
}
