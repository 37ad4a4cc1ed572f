//! YAML documents with places: every key and value knows its line and column, so that every mistake
//! can be shown where it was made. Pipelines (`config`) and contracts (`contract`) stand on this.
//!
//! ```text
//! Document::parse      text      -> located tree         (syntax, duplicate keys, aliases)
//! Document::expand     ${NAME}   -> values               (after parsing: a value injects no YAML)
//! Document::check      tree      -> all findings         (walked against a JSON Schema)
//! Document::read       tree      -> a serde type         (checked against its own schema first)
//! ```

mod expand;
mod finding;
mod node;
mod parse;
mod read;
mod schema;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use finding::{Finding, Findings};
pub use node::{Entry, Node, Place, Resolved, Scalar, Step, Style, Value};
pub use words::closest;

/// One YAML document: its file name, its text, and the located tree.
#[derive(Debug, Clone)]
pub struct Document {
    /// The file's name, as messages show it.
    pub file: Arc<str>,
    /// The text as it was read.
    pub text: Arc<str>,
    /// The tree.
    pub root: Node,
}

impl Document {
    /// Parse one document. Anchors, aliases and merge keys (`<<`) are resolved.
    ///
    /// # Errors
    /// A syntax error, every duplicate key, tags, a second document, an empty document.
    pub fn parse(file: &str, text: &str) -> Result<Self, Findings> {
        match Self::parse_all(file, text) {
            (Some(document), findings) => findings.into_result().map(|()| document),
            (None, findings) => Err(findings),
        }
    }

    /// The same, and the tree in spite of mistakes that leave one, like a key that appears twice:
    /// more can be found in it.
    pub fn parse_all(file: &str, text: &str) -> (Option<Self>, Findings) {
        // A byte order mark is no content; it counts as no column either.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (file, text): (Arc<str>, Arc<str>) = (file.into(), text.into());
        let (root, findings) = parse::parse(&file, &text);
        (root.map(|root| Self { file, text, root }), findings)
    }

    /// Expand `${NAME}` and `${NAME:-default}` inside scalar values; `$$` is a dollar sign.
    ///
    /// # Errors
    /// A finding for each variable without a value and each malformed `${`.
    pub fn expand(&mut self, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), Findings> {
        expand::expand(self, lookup)
    }

    /// A finding at `place`, about what lies at `path` (like `sinks.lake.parquet.url`).
    pub fn finding(&self, place: Place, path: &str, what: impl Into<String>) -> Finding {
        Finding::new(&self.file, &self.text, place, path, what.into())
    }

    /// A finding about the value at the end of `steps`. It is shown at that value, or at its key
    /// where the value is no scalar, or at the nearest key above where the file says nothing of it.
    pub fn finding_at(&self, steps: &[Step<'_>], what: impl Into<String>) -> Finding {
        let mut finding = self.finding_at_key(steps, what);
        let node = self.root.at(steps);
        if let Some(node) = node.filter(|node| node.scalar().is_some() && !node.is_null()) {
            finding.move_to(&self.text, node.place);
        }
        finding
    }

    /// The same, about the key and not its value.
    pub fn finding_at_key(&self, steps: &[Step<'_>], what: impl Into<String>) -> Finding {
        let (mut node, mut path, mut place) = (Some(&self.root), String::new(), self.root.place);
        for step in steps {
            let beneath = match step {
                Step::Key(key) => {
                    words::push_key(&mut path, key);
                    let entry = node.and_then(|node| node.entry(key));
                    entry.map(|entry| (&entry.value, entry.place))
                }
                Step::Item(index) => {
                    path += &format!("[{index}]");
                    let item = node.and_then(|node| node.items().get(*index));
                    item.map(|item| (item, item.place))
                }
            };
            node = beneath.map(|(node, _)| node);
            place = beneath.map_or(place, |(_, place)| place);
        }
        self.finding(place, &path, what)
    }

    /// The same finding about a scalar, at a line and column inside its text
    /// ([`place_inside`](Self::place_inside)); the word that stands there is underlined.
    pub fn finding_inside(
        &self,
        steps: &[Step<'_>],
        line: usize,
        column: usize,
        what: impl Into<String>,
    ) -> Finding {
        let mut finding = self.finding_at(steps, what);
        if let Some(node) = self.root.at(steps) {
            finding.move_to(&self.text, self.place_inside(node, line, column));
            finding.underline_word();
        }
        finding
    }

    /// Everything in which the tree differs from a JSON Schema.
    pub fn check(&self, schema: &serde_json::Value) -> Findings {
        schema::check(self, schema)
    }

    /// The tree as `T`, after [`check`](Self::check) against `T`'s own schema.
    ///
    /// # Errors
    /// All findings at once.
    pub fn read<T: DeserializeOwned + JsonSchema>(&self) -> Result<T, Findings> {
        self.check(&schema_of::<T>()).into_result()?;
        self.deserialize()
    }

    /// The tree as `T`, without a walk over its schema: one finding at most.
    ///
    /// # Errors
    /// The first value that does not fit.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, Findings> {
        read::read(&self.root)
            .map_err(|error| self.finding(error.place(), &error.path(), error.message()).into())
    }

    /// The place of line `line` and column `column` (both from 1, in characters) of a scalar's
    /// text: SQL errors count inside the text, people inside the file. Block scalars, folded and
    /// quoted ones and expanded variables are all counted back.
    pub fn place_inside(&self, node: &Node, line: usize, column: usize) -> Place {
        node.place_inside(&self.text, line, column)
    }
}

/// The JSON Schema of `T` in the form that [`Document::check`] walks: an optional key may be absent
/// but is never `null`.
pub fn schema_of<T: JsonSchema>() -> serde_json::Value {
    let mut schema = schemars::schema_for!(T).to_value();
    schema::without_null(&mut schema);
    schema
}
