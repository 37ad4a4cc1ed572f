//! The fields that documents of an index are found by.

use serde_json::Value;

use crate::document::closest;
use crate::error::{Error, Result};
use crate::sinks::documents::{Definition, Kind};

/// A field and how its values are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldKind {
    /// Its path, like `metadata.intent`.
    pub path: String,
    /// How; `None` for a type that only OpenSearch knows.
    pub kind: Option<Kind>,
    /// It is a second field of another one, like `content.keyword`.
    pub is_second: bool,
}

/// The fields of one index.
#[derive(Debug, Clone)]
pub struct IndexFields(Vec<FieldKind>);

impl IndexFields {
    /// The fields of `definition`.
    pub fn of(definition: &Definition) -> Self {
        let leaves = definition.leaves();
        let field = |(path, mapping): &(String, &Value)| {
            let owner = path.rsplit_once('.').map_or("", |(owner, _)| owner);
            let is_second = leaves.iter().any(|(other, _)| other == owner);
            FieldKind { kind: Kind::of(mapping), path: path.clone(), is_second }
        };
        Self(leaves.iter().map(field).collect())
    }

    /// The field of that path.
    ///
    /// # Errors
    /// `Config` where there is none.
    pub fn get(&self, path: &str) -> Result<&FieldKind> {
        let known = self.0.iter().map(|field| field.path.as_str());
        self.0.iter().find(|field| field.path == path).ok_or_else(|| {
            let meant = closest(path, known.clone())
                .map(|meant| format!(" (did you mean `{meant}`?)"))
                .unwrap_or_default();
            let known: Vec<&str> = known.collect();
            Error::config(format!(
                "the index has no field `{path}`{meant}: its fields are {}",
                known.join(", ")
            ))
        })
    }

    /// The first of `candidates` that there is.
    pub fn first_of<'a>(&self, candidates: &[&'a str]) -> Option<&'a str> {
        let is_there = |path: &&&str| self.0.iter().any(|field| field.path == **path);
        candidates.iter().find(is_there).copied()
    }

    /// Every field that words are found in.
    pub fn texts(&self) -> Vec<String> {
        let is_text =
            |field: &&FieldKind| matches!(field.kind, Some(Kind::Text(_))) && !field.is_second;
        self.0.iter().filter(is_text).map(|field| field.path.clone()).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sinks::documents::definition::tests::contract;

    /// Those of the conversations.
    pub(in crate::search) fn fields() -> IndexFields {
        let contract = contract();
        let none = serde_json::Map::new();
        IndexFields::of(&Definition::new(&contract.schema(), &contract, &none, &[]))
    }

    #[test]
    fn a_second_field_is_none_that_words_are_looked_for_in() {
        assert_eq!(fields().texts(), ["content"]);
        assert!(fields().get("content.keyword").unwrap().is_second);
        assert!(!fields().get("metadata.intent").unwrap().is_second);
        let error = fields().get("timestam").unwrap_err().to_string();
        assert!(error.contains("did you mean `timestamp`?"), "{error}");
    }
}
