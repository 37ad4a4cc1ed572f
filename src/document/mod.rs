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
        // A byte order mark is no content; it counts as no column either.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (file, text): (Arc<str>, Arc<str>) = (file.into(), text.into());
        let root = parse::parse(&file, &text)?;
        Ok(Self { file, text, root })
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
