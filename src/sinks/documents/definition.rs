//! What the fields of an index are.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Field, Schema};
use serde_json::{Map, Value, json};

use super::analysis::{self, Analyzer};
use super::config::SystemField;
use crate::contract::model::{Column, ColumnType, Contract};
use crate::event::batch::CONTRACT_COLUMN;

/// A `keyword` longer than this many characters is kept in the document and not found by: Lucene
/// takes terms of 32,766 bytes at most, and a longer one would refuse the whole document.
const KEYWORD_CHARACTERS: u64 = 8191;

/// Settings of fields, by the name of the column or `COLUMN.MEMBER`, in place of what the contract
/// and the types say.
pub type Overrides = Map<String, Value>;

/// The fields of an index, in the form of OpenSearch's mappings.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    properties: Map<String, Value>,
}

impl Definition {
    /// The index of rows of `schema`, the last stage's. A column that is the contract's, unchanged,
    /// has the contract's mapping; any other one what its type says, and so have the `system` columns.
    pub fn new(
        schema: &Schema,
        contract: &Contract,
        overrides: &Overrides,
        system: &[SystemField],
    ) -> Self {
        let property = |field: &Field| {
            let origin = field.metadata().get(CONTRACT_COLUMN);
            let column = origin.and_then(|name| contract.column(name));
            (field.name().clone(), mapping(field, column, field.name(), overrides))
        };
        let columns = schema.fields().iter().map(|field| property(field));
        let system = system.iter().map(|field| (field.name().to_owned(), of_type(&field.kind())));
        Self { properties: columns.chain(system).collect() }
    }

    /// Add a field of no column.
    pub fn add(&mut self, name: &str, kind: &DataType) {
        self.properties.insert(name.to_owned(), of_type(kind));
    }

    /// `mappings` of the index: unknown fields are refused, and `_meta.acequia` says whose it is.
    pub fn mappings(&self, meta: Value) -> Value {
        json!({
            "dynamic": "strict",
            "_meta": { "acequia": meta },
            "properties": self.properties,
        })
    }

    /// The fields by name, each with its `type` and what more there is to it.
    pub fn properties(&self) -> &Map<String, Value> {
        &self.properties
    }

    /// Every field that something is found by or not, by its path, with its mapping; `content.keyword`
    /// is a second one of `content`.
    pub fn leaves(&self) -> Vec<(String, &Value)> {
        let mut found = Vec::new();
        self.properties.iter().for_each(|(name, field)| leaves(name.clone(), field, &mut found));
        found
    }

    /// The analyzers that the fields name.
    pub fn analyzers(&self) -> BTreeSet<Analyzer> {
        let mut found = BTreeSet::new();
        self.properties.values().for_each(|field| collect_analyzers(field, &mut found));
        found
    }

    /// `analysis` in the settings of the index.
    pub fn analysis(&self) -> Value {
        analysis::settings(self.analyzers())
    }
}

fn leaves<'a>(path: String, field: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    let inner = |key| field.get(key).and_then(Value::as_object).into_iter().flatten();
    if field.get("properties").is_none() {
        found.push((path.clone(), field));
    }
    for (name, field) in inner("fields").chain(inner("properties")) {
        leaves(format!("{path}.{name}"), field, found);
    }
}

fn collect_analyzers(field: &Value, found: &mut BTreeSet<Analyzer>) {
    for key in ["analyzer", "search_analyzer"] {
        found.extend(field.get(key).and_then(Value::as_str).and_then(Analyzer::parse));
    }
    for inner in ["fields", "properties"] {
        let inner = field.get(inner).and_then(Value::as_object);
        inner.into_iter().flatten().for_each(|(_, field)| collect_analyzers(field, found));
    }
}

/// The mapping of `field`, which is `column` of the contract or derived, and whose path is `path`.
fn mapping(field: &Field, column: Option<&Column>, path: &str, overrides: &Overrides) -> Value {
    if let Some(given) = overrides.get(path) {
        return bounded(given.clone());
    }
    if let Some(given) = column.and_then(|column| column.search.as_ref()) {
        return bounded(given.clone());
    }
    let DataType::Struct(members) = element(field.data_type()) else {
        return of_type(field.data_type());
    };
    let columns: &[Column] = match column.map(|column| &column.kind) {
        Some(ColumnType::Struct(members)) => members,
        Some(ColumnType::List(item)) => match &item.kind {
            ColumnType::Struct(members) => members,
            _ => &[],
        },
        _ => &[],
    };
    let member = |field: &Field| {
        let column = columns.iter().find(|column| column.name == *field.name());
        let path = format!("{path}.{}", field.name());
        (field.name().clone(), mapping(field, column, &path, overrides))
    };
    let properties: Map<String, Value> = members.iter().map(|field| member(field)).collect();
    json!({ "type": "object", "properties": properties })
}

/// What a list has: a field of an index may have one value or several.
fn element(kind: &DataType) -> &DataType {
    match kind {
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
            element(item.data_type())
        }
        kind => kind,
    }
}

/// The mapping that a type has where nothing else is said.
fn of_type(kind: &DataType) -> Value {
    let word = match element(kind) {
        DataType::Boolean => "boolean",
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => "date",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary",
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "double",
        DataType::Decimal128(..) | DataType::Decimal256(..) => "double",
        kind if kind.is_integer() => "long",
        DataType::Struct(members) => {
            let properties: Map<String, Value> = members
                .iter()
                .map(|field| (field.name().clone(), of_type(field.data_type())))
                .collect();
            return json!({ "type": "object", "properties": properties });
        }
        _ => "keyword",
    };
    bounded(json!({ "type": word }))
}

/// The mapping with a bound for each `keyword` that has none.
fn bounded(mut mapping: Value) -> Value {
    if mapping.get("type").and_then(Value::as_str) == Some("keyword")
        && let Some(members) = mapping.as_object_mut()
    {
        members.entry("ignore_above").or_insert(json!(KEYWORD_CHARACTERS));
    }
    for inner in ["fields", "properties"] {
        if let Some(fields) = mapping.get_mut(inner).and_then(Value::as_object_mut) {
            fields.values_mut().for_each(|field| *field = bounded(field.take()));
        }
    }
    mapping
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;

    pub(crate) fn contract() -> Contract {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/conversations.yaml");
        crate::contract::load(&path).unwrap()
    }

    #[test]
    fn the_contract_and_the_types_say_what_fields_are() {
        let contract = contract();
        let mut fields: Vec<_> = contract.schema().fields().iter().cloned().collect();
        for (name, kind) in [
            ("should_analyze", DataType::Boolean),
            ("intent", DataType::Utf8View),
            ("price", DataType::Decimal128(12, 2)),
        ] {
            fields.push(Field::new(name, kind, true).into());
        }
        let overrides = json!({ "intent": { "type": "text", "analyzer": "english" },
                                "metadata.language": { "type": "keyword", "ignore_above": 8 } });
        let overrides = overrides.as_object().unwrap();
        let definition = Definition::new(&Schema::new(fields), &contract, overrides, &[]);
        let shown = |(name, field): (&String, &Value)| format!("{name}: {field}");
        let shown: Vec<String> = definition.properties().iter().map(shown).collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        ai_model_used: {"ignore_above":8191,"type":"keyword"}
        confidence_score: {"type":"float"}
        content: {"analyzer":"spanish","fields":{"keyword":{"ignore_above":256,"type":"keyword"}},"type":"text"}
        escalation_triggered: {"type":"boolean"}
        intent: {"analyzer":"english","type":"text"}
        message_id: {"ignore_above":8191,"type":"keyword"}
        message_type: {"ignore_above":8191,"type":"keyword"}
        metadata: {"properties":{"intent":{"ignore_above":8191,"type":"keyword"},"language":{"ignore_above":8,"type":"keyword"},"sentiment":{"ignore_above":8191,"type":"keyword"}},"type":"object"}
        price: {"type":"double"}
        processing_time_ms: {"type":"integer"}
        role: {"ignore_above":8191,"type":"keyword"}
        session_id: {"ignore_above":8191,"type":"keyword"}
        should_analyze: {"type":"boolean"}
        timestamp: {"type":"date"}
        tokens_used: {"type":"integer"}
        ttl: {"type":"date"}
        user_id: {"ignore_above":8191,"type":"keyword"}
        "#);
        let analyzers: Vec<_> = definition.analyzers().into_iter().collect();
        assert_eq!(analyzers, [Analyzer::Spanish, Analyzer::English]);
        let analysis = definition.analysis();
        assert_eq!(analysis["analyzer"]["spanish"]["tokenizer"], "standard");
        assert_eq!(analysis["filter"]["acequia_english_stemmer"]["language"], "porter2");
    }
}
