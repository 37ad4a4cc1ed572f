//! `acequia schema`: the columns that the sinks of a pipeline get.

use arrow::datatypes::{DataType, Field};
use clap::Args;
use serde_json::{Map, Value, json};

use super::figures::{Align, table};
use super::pipeline_file::PipelineFile;
use super::{Outcome, Terminal};
use crate::config::Loaded;
use crate::contract::model::{Column, Reference};
use crate::error::Result;
use crate::event::batch::{CONTRACT_COLUMN, KEY_COLUMN};
use crate::sinks::documents::Definition;

/// Show the columns that the sinks get, where each comes from, and the fields of search indices
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  acequia schema pipelines/quickstart.yaml\n  \
acequia schema pipeline.yaml --json | jq -r '.columns[] | select(.classification) | .name'")]
pub(super) struct Options {
    #[command(flatten)]
    pipeline: PipelineFile,
    /// Print JSON, with descriptions and the mappings and analysis of search indices
    #[arg(long)]
    json: bool,
}

pub(super) fn execute(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    let loaded = options.pipeline.load(terminal)?;
    if options.json {
        terminal.print_json(&described(&loaded));
        return Ok(Outcome::Done);
    }
    let mut rows = vec![["column", "from", "", "type"].map(str::to_owned).to_vec()];
    for field in loaded.schema.fields() {
        let origin = origin(&loaded, field);
        let from = match origin {
            Some(column) if column.name == *field.name() => "contract".to_owned(),
            Some(column) => format!("contract: {}", column.name),
            None => "derived".to_owned(),
        };
        let mut notes = Vec::new();
        if field.metadata().contains_key(KEY_COLUMN) {
            notes.push("key".to_owned());
        }
        notes.extend(origin.and_then(|column| column.pii.clone()));
        notes.extend(origin.and_then(refers_to).map(|kind| format!("refers to {kind}")));
        let kind = type_name(field.data_type());
        rows.push(vec![field.name().clone(), from, notes.join(", "), kind]);
    }
    for field in loaded.system.fields() {
        let kind = type_name(field.data_type());
        rows.push(vec![field.name().clone(), "system".to_owned(), String::new(), kind]);
    }
    let mut text = table(&[Align::Left; 4], &rows);
    for (name, definition) in indices(&loaded) {
        let mut rows = vec![
            [&format!("index of sink {name}"), "type", "words"].map(ToString::to_string).to_vec(),
        ];
        index_rows("", definition.properties(), &mut rows);
        text.push('\n');
        text.push_str(&table(&[Align::Left; 3], &rows));
    }
    terminal.print(&text);
    Ok(Outcome::Done)
}

/// The indices of the sinks that keep documents, by the names of the sinks.
fn indices(loaded: &Loaded) -> Vec<(&String, Definition)> {
    let sinks = loaded.pipeline.sinks.iter();
    sinks
        .filter_map(|(name, sink)| Some((name, sink.index(&loaded.schema, &loaded.contract)?)))
        .collect()
}

/// One row for each field, and for what it has inside.
fn index_rows(before: &str, fields: &Map<String, Value>, rows: &mut Vec<Vec<String>>) {
    for (name, field) in fields {
        let text = |key| field.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let path = format!("{before}{name}");
        rows.push(vec![path.clone(), text("type"), text("analyzer")]);
        for inner in ["properties", "fields"] {
            if let Some(inner) = field.get(inner).and_then(Value::as_object) {
                index_rows(&format!("{path}."), inner, rows);
            }
        }
    }
}

/// The contract's column that a field is, unchanged.
fn origin<'a>(loaded: &'a Loaded, field: &Field) -> Option<&'a Column> {
    loaded.contract.column(field.metadata().get(CONTRACT_COLUMN)?)
}

/// What the values of a column refer to.
fn refers_to(column: &Column) -> Option<&'static str> {
    column.references.map(Reference::as_str)
}

fn described(loaded: &Loaded) -> Value {
    let column = |field: &Field| {
        let origin = origin(loaded, field);
        json!({
            "name": field.name(),
            "type": type_name(field.data_type()),
            "contract_column": origin.map(|column| &column.name),
            "key": field.metadata().contains_key(KEY_COLUMN),
            "classification": origin.and_then(|column| column.pii.as_ref()),
            "references": origin.and_then(refers_to),
            "description": origin.map(|column| &column.description),
            "search": origin.and_then(|column| column.search.as_ref()),
        })
    };
    let system = |field: &Field| {
        json!({
            "name": field.name(),
            "type": type_name(field.data_type()),
            "nullable": field.is_nullable(),
        })
    };
    let index = |(name, definition): (&String, Definition)| {
        let index = json!({
            "mappings": { "properties": definition.properties() },
            "settings": { "analysis": definition.analysis() },
        });
        (name.clone(), index)
    };
    json!({
        "pipeline": loaded.pipeline.name,
        "contract": { "name": loaded.contract.name, "version": loaded.contract.version },
        "columns": loaded.schema.fields().iter().map(|field| column(field)).collect::<Vec<_>>(),
        "system_columns":
            loaded.system.fields().iter().map(|field| system(field)).collect::<Vec<_>>(),
        "indices": indices(loaded).into_iter().map(index).collect::<Map<String, Value>>(),
    })
}

/// A type in SQL's words, as DuckDB and Athena show the column.
pub(super) fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "varchar".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "varbinary".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp(6) UTC".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision}, {scale})"),
        DataType::List(item) => format!("array({})", type_name(item.data_type())),
        DataType::Struct(members) => {
            let member =
                |field: &Field| format!("{} {}", field.name(), type_name(field.data_type()));
            let members: Vec<String> = members.iter().map(|field| member(field)).collect();
            format!("row({})", members.join(", "))
        }
        other => other.to_string(),
    }
}
