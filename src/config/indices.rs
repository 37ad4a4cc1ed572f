//! What is said about indices of OpenSearch.

use arrow::datatypes::{DataType, Field, SchemaRef};
use hyper::Uri;
use serde_json::Value;

use super::load::Check;
use crate::document::{Finding, Step, closest};
use crate::location::hides_what_is_sent;
use crate::sinks::documents::Analyzer;
use crate::sinks::opensearch::OpensearchConfig;
use crate::sinks::opensearch::config::LoginConfig;

/// Bytes that the name of an index may have, with the `-1` behind it.
const LONGEST_NAME: usize = 250;
/// What documents have beside their fields.
const RESERVED: [&str; 12] = [
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
/// Bytes of the largest bulk: clusters take bodies of 100 MB at most, small ones of 10.
const MOST_BULK_BYTES: u64 = 64 << 20;

/// Addresses, names and logins.
pub(super) fn everything(check: &mut Check<'_>) {
    if !check.is_sound(&["sinks"]) {
        return;
    }
    let mut findings = Vec::new();
    let mut known: Vec<(&str, &str)> = Vec::new();
    for (name, sink) in &check.pipeline.sinks {
        let Some(search) = &sink.opensearch else { continue };
        let mut report = |key: &'static str, what: &str, allowed: &str| {
            let steps = ["sinks", name, "opensearch", key].map(Step::Key);
            findings.push(check.document.finding_at(&steps, what).allowed(allowed));
        };
        match address(&search.url) {
            Some(is_private) if !is_private && is_secret(search) => report(
                "url",
                "a password would cross the network as it is",
                "an address with `https://` (`http://` to this machine alone)",
            ),
            Some(_) => {}
            None => report(
                "url",
                "is no address of a cluster",
                "like `https://search.example.com:9200`; who logs in stands in `login`",
            ),
        }
        let is_twice = |(at, field)| search.system.iter().take(at).any(|other| other == field);
        if search.system.iter().enumerate().any(is_twice) {
            report("system", "names a field twice", "each field once");
        }
        if !(1..=MOST_BULK_BYTES).contains(&search.bulk_size.bytes()) {
            report("bulk_size", "is no useful size", "from 1B to 64MiB");
        }
        if !is_index(&search.index) {
            report(
                "index",
                "is no name of an index",
                "lower-case letters, digits, `-`, `_` and `.`, a letter or a digit first",
            );
        }
        let place = (search.url.trim_end_matches('/'), search.index.as_str());
        if known.contains(&place) {
            report("index", "another sink writes this index", "each sink an index of its own");
        }
        known.push(place);
    }
    check.findings.extend(findings);
}

/// What the fields of an index ask of the last stage's columns.
pub(super) fn fields(check: &mut Check<'_>, schema: &SchemaRef) {
    if !check.is_sound(&["sinks"]) {
        return;
    }
    let mut findings = Vec::new();
    for (name, sink) in &check.pipeline.sinks {
        let Some(search) = &sink.opensearch else { continue };
        let steps = ["sinks", name, "opensearch"].map(Step::Key);
        findings.extend(columns(check, &steps, search, schema));
        for (path, mapping) in &search.mapping {
            let below = [steps.as_slice(), &[Step::Key("mapping"), Step::Key(path)]].concat();
            findings.extend(mapped(check, &below, schema, path, mapping));
        }
    }
    check.findings.extend(findings);
}

fn columns(
    check: &Check<'_>,
    steps: &[Step<'_>],
    search: &OpensearchConfig,
    schema: &SchemaRef,
) -> Vec<Finding> {
    let another = "give the column another name in a SQL stage";
    let mut findings = Vec::new();
    for name in RESERVED.iter().filter(|name| schema.field_with_name(name).is_ok()) {
        let what = format!("an index has no field `{name}`: it means something of its own there");
        findings.push(check.document.finding_at_key(steps, what).allowed(another));
    }
    let taken = |name: &&str| schema.field_with_name(name).is_ok();
    for name in search.system.iter().map(|field| field.name()).filter(taken) {
        let below = [steps, &[Step::Key("system")]].concat();
        let what = format!("`{name}` is the name of a column too");
        findings.push(check.document.finding_at(&below, what).allowed(another));
    }
    findings
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

fn is_secret(search: &OpensearchConfig) -> bool {
    // Signatures prove who asks without telling anything.
    matches!(search.login, Some(LoginConfig::Basic(_)))
}

/// Whether nobody between can read what is sent; `None` for what is no address.
fn address(text: &str) -> Option<bool> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty() {
        return None;
    }
    matches!(uri.scheme_str()?, "http" | "https").then(|| hides_what_is_sent(text))
}

fn is_index(name: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(inside)
}
