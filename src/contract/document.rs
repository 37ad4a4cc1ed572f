//! Reads contracts: documents of the Open Data Contract Standard 3.1.
//!
//! Source: <https://bitol-io.github.io/open-data-contract-standard/v3.1.0/>. What the standard has no
//! word for stands in `customProperties`, as the standard asks.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::model::{Contract, Evolution};
use super::property;
use crate::document::{Document, Finding, Findings, Node, Place, Resolved, closest};

/// Keys that the standard gives to a document. Those that say nothing about rows are accepted.
const DOCUMENT_KEYS: &[&str] = &[
    "apiVersion",
    "kind",
    "id",
    "name",
    "version",
    "status",
    "tenant",
    "domain",
    "dataProduct",
    "description",
    "schema",
    "servers",
    "price",
    "team",
    "roles",
    "slaProperties",
    "slaDefaultElement",
    "support",
    "tags",
    "customProperties",
    "authoritativeDefinitions",
    "contractCreatedTs",
    "relationships",
];
/// Keys that the standard gives to a schema object.
const OBJECT_KEYS: &[&str] = &[
    "id",
    "name",
    "physicalName",
    "physicalType",
    "logicalType",
    "businessName",
    "description",
    "dataGranularityDescription",
    "properties",
    "quality",
    "tags",
    "customProperties",
    "authoritativeDefinitions",
    "relationships",
];

/// Read the contract at `path`.
///
/// # Errors
/// Everything that is wrong with the document, each with its place.
pub fn load(path: &Path) -> Result<Contract, Findings> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Finding::of_file(&file, format!("cannot read the contract: {error}")))?;
    parse(&file, &text)
}

/// Read a contract from its text; `file` is its name in messages.
pub(super) fn parse(file: &str, text: &str) -> Result<Contract, Findings> {
    let document = Document::parse(file, text)?;
    let mut reader = Reader { document: &document, findings: Findings::new() };
    let root = &document.root;
    let contract = reader.contract(root);
    reader.findings.into_result()?;
    let hash = Sha256::digest(text.as_bytes());
    Ok(Contract { hash: hash.iter().map(|byte| format!("{byte:02x}")).collect(), ..contract })
}

/// Walks a document and collects what is wrong with it.
pub(super) struct Reader<'d> {
    document: &'d Document,
    findings: Findings,
}

impl Reader<'_> {
    fn contract(&mut self, root: &Node) -> Contract {
        self.keys(root, "", DOCUMENT_KEYS);
        if let Some(kind) = self.required_text(root, "", "kind")
            && kind != "DataContract"
        {
            self.wrong(root, "", "kind", "is no data contract", "write `kind: DataContract`");
        }
        if let Some(version) = self.required_text(root, "", "apiVersion")
            && !version.starts_with("v3.")
        {
            let what = "a version of the standard that this build does not read";
            self.wrong(root, "", "apiVersion", what, "v3.0.0 to v3.1.0");
        }
        let mut contract = Contract {
            name: String::new(),
            version: self.required_text(root, "", "version").unwrap_or_default(),
            columns: Vec::new(),
            primary_key: Vec::new(),
            evolution: Evolution::default(),
            retention_days: self.retention(root),
            hash: String::new(),
        };
        self.evolution(root, "", &mut contract.evolution);
        match root.get("schema").map(Node::items) {
            None | Some([]) => {
                self.missing(root, "", "schema", "a list of one object with the columns");
            }
            Some([object]) => self.object(object, &mut contract),
            Some([_, second, ..]) => {
                let what = "a second object";
                let allowed = "a contract of one table; write one document for each";
                self.at(second.place, "schema[1]", what, allowed);
            }
        }
        contract
    }

    fn object(&mut self, object: &Node, contract: &mut Contract) {
        let path = "schema[0]";
        self.keys(object, path, OBJECT_KEYS);
        contract.name = self.required_text(object, path, "name").unwrap_or_default();
        self.evolution(object, path, &mut contract.evolution);
        let (columns, keys) = property::columns(self, object, path);
        contract.columns = columns;
        contract.primary_key = keys;
        if contract.primary_key.is_empty() && !contract.columns.is_empty() {
            let allowed = "mark the columns of the key by `primaryKey: true`; rows without a key cannot be told apart";
            self.at(object.place, path, "no primary key", allowed);
        }
    }

    /// `evolution` among the custom properties.
    fn evolution(&mut self, node: &Node, path: &str, evolution: &mut Evolution) {
        let Some((value, path)) = custom(node, path, "evolution") else { return };
        match text_of(value) {
            Some("lenient") => *evolution = Evolution::Lenient,
            Some("strict") => *evolution = Evolution::Strict,
            _ => {
                let allowed = "lenient (unknown attributes go to `_extra`) or strict (they make a dead letter)";
                self.at(value.place, &path, "unknown kind of evolution", allowed);
            }
        }
    }

    /// Days of `property: retention` among the service levels.
    fn retention(&mut self, root: &Node) -> Option<u32> {
        let levels = root.get("slaProperties").map(Node::items).unwrap_or_default();
        let found = levels
            .iter()
            .enumerate()
            .find(|(_, level)| level.get("property").and_then(text_of) == Some("retention"));
        let (index, level) = found?;
        let path = format!("slaProperties[{index}]");
        let count = level.get("value").and_then(integer_of);
        let days = match level.get("unit").and_then(text_of) {
            Some("d" | "day" | "days") => Some(1),
            Some("m" | "month" | "months") => Some(30),
            Some("y" | "yr" | "year" | "years") => Some(365),
            _ => None,
        };
        match (count, days) {
            (Some(count), Some(days)) if count > 0 => {
                u32::try_from(count.saturating_mul(days)).ok()
            }
            (Some(count), Some(_)) if count <= 0 => {
                let allowed = "a whole number above zero";
                self.wrong(level, &path, "value", "no length of time", allowed);
                None
            }
            (None, _) => {
                self.wrong(level, &path, "value", "no length of time", "a whole number");
                None
            }
            _ => {
                self.wrong(level, &path, "unit", "unknown unit", "d, m or y (days, months, years)");
                None
            }
        }
    }

    /// Report the keys of a mapping that the standard does not know.
    pub(super) fn keys(&mut self, node: &Node, path: &str, known: &[&str]) {
        for entry in node.entries() {
            if !known.contains(&entry.key.as_str()) {
                let path = below(path, &entry.key);
                let finding = self
                    .document
                    .finding(entry.place, &path, "unknown key")
                    .allowed("own settings belong into `customProperties`")
                    .suggest(closest(&entry.key, known.iter().copied()));
                self.findings.push(finding);
            }
        }
    }

    /// The text of a key that must be there.
    pub(super) fn required_text(&mut self, node: &Node, path: &str, key: &str) -> Option<String> {
        let text = self.text(node, path, key);
        if node.get(key).is_none_or(Node::is_null) {
            self.missing(node, path, key, "a text");
        }
        text
    }

    /// The text of a key, where it is there.
    pub(super) fn text(&mut self, node: &Node, path: &str, key: &str) -> Option<String> {
        let value = node.get(key).filter(|value| !value.is_null())?;
        match value.scalar() {
            Some(scalar) => Some(scalar.text.clone()),
            None => {
                self.at(value.place, &below(path, key), "not a text", "one line of text");
                None
            }
        }
    }

    /// A boolean, false where it is not there.
    pub(super) fn flag(&mut self, node: &Node, path: &str, key: &str) -> bool {
        let Some(value) = node.get(key) else { return false };
        match value.scalar().map(|scalar| scalar.resolve()) {
            Some(Resolved::Boolean(flag)) => flag,
            _ => {
                self.at(value.place, &below(path, key), "not a boolean", "true or false");
                false
            }
        }
    }

    /// Report a key that is missing.
    pub(super) fn missing(&mut self, node: &Node, path: &str, key: &str, allowed: &str) {
        self.at(node.place, path, &format!("`{key}` is missing"), allowed);
    }

    /// Report the value of a key, or its absence.
    pub(super) fn wrong(&mut self, node: &Node, path: &str, key: &str, what: &str, allowed: &str) {
        let place = node.get(key).map_or(node.place, |value| value.place);
        self.at(place, &below(path, key), what, allowed);
    }

    /// Report what is at a place.
    pub(super) fn at(&mut self, place: Place, path: &str, what: &str, allowed: &str) {
        self.findings.push(self.document.finding(place, path, what).allowed(allowed));
    }

    /// Report an unknown word, with the one that was probably meant.
    pub(super) fn unknown_word(&mut self, value: &Node, path: &str, what: &str, known: &[&str]) {
        let word = text_of(value).unwrap_or_default().to_owned();
        let finding = self
            .document
            .finding(value.place, path, what)
            .allowed(known.join(", "))
            .suggest(closest(&word, known.iter().copied()));
        self.findings.push(finding);
    }
}

/// `path` with `key` beneath it.
pub(super) fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A scalar's text.
pub(super) fn text_of(node: &Node) -> Option<&str> {
    node.scalar().map(|scalar| scalar.text.as_str())
}

/// A scalar's whole number.
pub(super) fn integer_of(node: &Node) -> Option<i128> {
    match node.scalar()?.resolve() {
        Resolved::Integer(value) => Some(value),
        _ => None,
    }
}

/// A scalar's number.
pub(super) fn number_of(node: &Node) -> Option<f64> {
    match node.scalar()?.resolve() {
        Resolved::Integer(value) => Some(value as f64),
        Resolved::Float(value) => Some(value),
        _ => None,
    }
}

/// The value of a custom property, and its path.
pub(super) fn custom<'n>(node: &'n Node, path: &str, name: &str) -> Option<(&'n Node, String)> {
    let list = node.get("customProperties")?.items();
    let index =
        list.iter().position(|item| item.get("property").and_then(text_of) == Some(name))?;
    let value = list.get(index)?.get("value")?;
    Some((value, format!("{}[{index}].value", below(path, "customProperties"))))
}
