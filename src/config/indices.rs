//! What is said about the fields of indices, whichever engine keeps them.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, SchemaRef};
#[cfg(feature = "search")]
use serde_json::Map;
use serde_json::Value;

use super::load::Check;
use crate::contract::Contract;
use crate::document::{Finding, Step, closest};
#[cfg(feature = "opensearch")]
use crate::event::batch::KEY_COLUMN;
#[cfg(feature = "search")]
use crate::sinks::documents::Kind;
use crate::sinks::documents::{Analyzer, Definition, SystemField};
#[cfg(feature = "opensearch")]
use crate::sinks::opensearch::OpensearchConfig;
#[cfg(feature = "search")]
use crate::sinks::search::SearchConfig;

/// What a thread that indexes may keep in memory.
#[cfg(feature = "search")]
const INDEXING_BYTES: std::ops::RangeInclusive<u64> = (16 << 20)..=(1 << 30);
/// What documents have beside their fields.
const RESERVED: [&str; 14] = [
    // What an index says of deleted documents.
    "_deleted",
    "acequia_deleted",
    "_doc_count",
    "_field_names",
    "_id",
    "_ignored",
    "_index",
    "_nested_path",
    "_primary_term",
    "_routing",
    "_seq_no",
    "_source",
    "_type",
    "_version",
];

/// What the fields of an index ask of the last stage's columns.
pub(super) fn fields(check: &mut Check<'_>, schema: &SchemaRef, contract: &Contract) {
    if !check.is_sound(&["sinks"]) {
        return;
    }
    let mut findings = Vec::new();
    for (name, sink) in &check.pipeline.sinks {
        let Some(settings) = sink.documents() else { continue };
        let steps = ["sinks", name, settings.kind].map(Step::Key);
        findings.extend(columns(check, &steps, settings.system, schema));
        for (path, mapping) in settings.mapping {
            let below = [steps.as_slice(), &[Step::Key("mapping"), Step::Key(path)]].concat();
            findings.extend(mapped(check, &below, schema, path, mapping));
        }
        #[cfg(feature = "opensearch")]
        if let Some(search) = &sink.opensearch {
            findings.extend(keyed(check, &steps, search, schema));
        }
        let definition = sink.index(schema, contract);
        findings.extend(definition.iter().flat_map(|index| twice(check, &steps, index)));
        #[cfg(feature = "search")]
        if let Some(search) = &sink.search {
            findings.extend(embedded(check, &steps, search));
            findings.extend(types(check, &steps, definition));
        }
    }
    check.findings.extend(findings);
}

fn columns(
    check: &Check<'_>,
    steps: &[Step<'_>],
    system: &[SystemField],
    schema: &SchemaRef,
) -> Vec<Finding> {
    let another = "give the column another name in a SQL stage";
    let mut findings = Vec::new();
    for name in RESERVED.iter().filter(|name| schema.field_with_name(name).is_ok()) {
        let what = format!("an index has no field `{name}`: it means something of its own there");
        findings.push(check.document.finding_at_key(steps, what).allowed(another));
    }
    let taken = |name: &&str| schema.field_with_name(name).is_ok();
    let below = [steps, &[Step::Key("system")]].concat();
    let is_twice = |(at, field)| system.iter().take(at).any(|other| other == field);
    if system.iter().enumerate().any(is_twice) {
        let finding = check.document.finding_at(&below, "names a field twice");
        findings.push(finding.allowed("each field once"));
    }
    for name in system.iter().map(|field| field.name()).filter(taken) {
        let what = format!("`{name}` is the name of a column too");
        findings.push(check.document.finding_at(&below, what).allowed(another));
    }
    findings
}

/// Two fields have the same path: a column with a dot in its name and a member of a struct, or a second
/// field of a text.
fn twice(check: &Check<'_>, steps: &[Step<'_>], definition: &Definition) -> Vec<Finding> {
    let mut known = BTreeSet::new();
    let paths = definition.leaves().into_iter().map(|(path, _)| path);
    let wrong = paths.filter(|path| !known.insert(path.clone()) || path.starts_with('-'));
    let finding = |path: String| {
        let what = match path.starts_with('-') {
            true => format!("an index has no field `{path}`: it begins with `-`"),
            false => format!("two fields of the index are called `{path}`"),
        };
        let allowed = "give the column another name in a SQL stage";
        check.document.finding_at_key(steps, what).allowed(allowed)
    };
    wrong.map(finding).collect()
}

/// A mapping is of a column, has a type, and names analyzers that there are.
fn mapped(
    check: &Check<'_>,
    steps: &[Step<'_>],
    schema: &SchemaRef,
    path: &str,
    mapping: &Value,
) -> Option<Finding> {
    let paths: Vec<String> =
        schema.fields().iter().flat_map(|field| paths(field, String::new())).collect();
    if !paths.iter().any(|known| known == path) {
        let known: Vec<&str> = paths.iter().map(String::as_str).collect();
        let finding = check.document.finding_at_key(steps, "no such column after the last stage");
        let allowed = format!("a column, or COLUMN.MEMBER of a struct: {}", known.join(", "));
        return Some(finding.allowed(allowed).suggest(closest(path, known)));
    }
    let kind = mapping.get("type").and_then(Value::as_str);
    let is_object = matches!(kind, Some("object" | "nested"));
    if is_object && mapping.get("properties").is_none() {
        let finding =
            check.document.finding_at(steps, "has no `properties`, so that no member fits");
        return Some(
            finding.allowed("leave it out, or say what its members are by `COLUMN.MEMBER`"),
        );
    }
    if kind.is_none() {
        let finding = check.document.finding_at(steps, "has no `type`");
        return Some(finding.allowed("like `{ type: text, analyzer: spanish }`"));
    }
    let analyzer = mapping.get("analyzer").and_then(Value::as_str)?;
    if Analyzer::parse(analyzer).is_some() {
        return None;
    }
    let known = Analyzer::ALL.map(Analyzer::as_str);
    let what = format!("there is no analyzer `{analyzer}`");
    let finding = check.document.finding_at(steps, what).allowed(known.join(", "));
    Some(finding.suggest(closest(analyzer, known.to_vec())))
}

/// The paths of a field and of what it holds.
fn paths(field: &Field, before: String) -> Vec<String> {
    let path = format!("{before}{}", field.name());
    let mut kind = field.data_type();
    while let DataType::List(item) = kind {
        kind = item.data_type();
    }
    let mut found = vec![path.clone()];
    if let DataType::Struct(members) = kind {
        found.extend(members.iter().flat_map(|member| paths(member, format!("{path}."))));
    }
    found
}

/// Where a document lies follows from its key, or it would be left behind when it moves.
#[cfg(feature = "opensearch")]
fn keyed(
    check: &Check<'_>,
    steps: &[Step<'_>],
    search: &OpensearchConfig,
    schema: &SchemaRef,
) -> Vec<Finding> {
    let is_instant = |kind: &DataType| matches!(kind, DataType::Timestamp(..) | DataType::Date32);
    let keys = |is_wanted: &dyn Fn(&DataType) -> bool| -> Vec<&str> {
        let is_key = |field: &&std::sync::Arc<Field>| {
            field.metadata().contains_key(KEY_COLUMN) && is_wanted(field.data_type())
        };
        schema.fields().iter().filter(is_key).map(|field| field.name().as_str()).collect()
    };
    let mut findings = Vec::new();
    let mut report = |below: &[&'static str], given: &str, keys: Vec<&str>, what: &str| {
        if keys.contains(&given) {
            return;
        }
        let steps: Vec<Step<'_>> =
            steps.iter().copied().chain(below.iter().copied().map(Step::Key)).collect();
        let finding = check.document.finding_at(&steps, format!("`{given}` is no {what}"));
        let allowed = match keys.as_slice() {
            [] => format!("there is no {what}: leave it out"),
            keys => format!("one of {}", keys.join(", ")),
        };
        findings.push(finding.allowed(allowed).suggest(closest(given, keys)));
    };
    if let Some(column) = &search.routing {
        report(&["routing"], column, keys(&|_| true), "key column");
    }
    if let Some(split) = &search.split {
        let what = "timestamp or date of the key";
        report(&["split", "time"], &split.time, keys(&is_instant), what);
    }
    findings
}

/// What an embedded index may take.
#[cfg(feature = "search")]
fn embedded(check: &Check<'_>, steps: &[Step<'_>], search: &SearchConfig) -> Option<Finding> {
    if INDEXING_BYTES.contains(&search.memory.bytes()) {
        return None;
    }
    let below = [steps, &[Step::Key("memory")]].concat();
    let finding = check.document.finding_at(&below, "is no useful size");
    Some(finding.allowed("from 16MiB to 1GiB"))
}

/// An embedded index knows fewer types of fields than OpenSearch.
#[cfg(feature = "search")]
fn types(check: &Check<'_>, steps: &[Step<'_>], definition: Option<Definition>) -> Vec<Finding> {
    fn unknown(before: &str, fields: &Map<String, Value>, found: &mut Vec<(String, String)>) {
        for (name, field) in fields {
            let path = format!("{before}{name}");
            for inner in ["properties", "fields"] {
                if let Some(inner) = field.get(inner).and_then(Value::as_object) {
                    unknown(&format!("{path}."), inner, found);
                }
            }
            let kind = field.get("type").and_then(Value::as_str).unwrap_or("object");
            if kind != "object" && !Kind::TYPES.contains(&kind) {
                found.push((path, kind.to_owned()));
            }
        }
    }
    let mut found = Vec::new();
    if let Some(definition) = definition {
        unknown("", definition.properties(), &mut found);
    }
    let finding = |(path, kind)| {
        let what = format!("an embedded index has no fields of type `{kind}`, as `{path}` is one");
        let allowed = format!("by `mapping` one of {}", Kind::TYPES.join(", "));
        check.document.finding_at_key(steps, what).allowed(allowed)
    };
    found.into_iter().map(finding).collect()
}
