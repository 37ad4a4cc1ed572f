//! The fields of an embedded index, and rows as its documents.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, StructArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use chrono::{DateTime as Instant, SecondsFormat};
use serde_json::{Map, Value};
use tantivy::schema::{
    DateOptions, DateTimePrecision, Field, IndexRecordOption, NumericOptions, Schema,
    SchemaBuilder, TextFieldIndexing, TextOptions,
};
use tantivy::{DateTime, TantivyDocument};

use super::analysis::WHOLE;
use crate::sinks::documents::kind::instant;
use crate::sinks::documents::{Definition, Kind};

/// The field of the id of a document.
pub const ID: &str = "_id";
/// The field of its version.
pub const VERSION: &str = "_version";
/// The field that says that the document stands for one that is deleted.
pub const DELETED: &str = "_deleted";
/// The field of the document itself, as JSON.
pub const SOURCE: &str = "_source";

/// Add the field `name`; `None` for one that is not found by.
fn add(kind: Kind, builder: &mut SchemaBuilder, name: &str) -> Option<Field> {
    let number = NumericOptions::default().set_indexed().set_fast();
    Some(match kind {
        Kind::Text(analyzer) => {
            let words = TextFieldIndexing::default()
                .set_tokenizer(analyzer.as_str())
                .set_index_option(IndexRecordOption::WithFreqsAndPositions);
            builder.add_text_field(name, TextOptions::default().set_indexing_options(words))
        }
        Kind::Keyword(_) => builder.add_text_field(name, whole().set_fast(Some(WHOLE))),
        Kind::Long => builder.add_i64_field(name, number),
        Kind::Double | Kind::Float => builder.add_f64_field(name, number),
        Kind::Boolean => builder.add_bool_field(name, number),
        Kind::Date => {
            let options = DateOptions::default().set_indexed().set_fast();
            builder.add_date_field(name, options.set_precision(DateTimePrecision::Milliseconds))
        }
        Kind::Stored => return None,
    })
}

/// Text that is found as a whole.
fn whole() -> TextOptions {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(WHOLE)
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic);
    TextOptions::default().set_indexing_options(indexing)
}

/// One way in which the values of a column are found.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    field: Field,
    kind: Kind,
}

/// A column of rows or a member of a struct.
#[derive(Debug, Clone)]
struct Node {
    name: String,
    leaves: Vec<Leaf>,
    members: Vec<Node>,
}

/// The fields of one index.
#[derive(Debug, Clone)]
pub struct Fields {
    schema: Schema,
    /// The id.
    pub id: Field,
    /// The version.
    pub version: Field,
    /// Set on what stands for a deleted document.
    pub deleted: Field,
    /// The document.
    pub source: Field,
    nodes: Arc<[Node]>,
}

impl Fields {
    /// The fields that `definition` asks for.
    pub fn of(definition: &Definition) -> Self {
        let mut builder = Schema::builder();
        let id = builder.add_text_field(ID, whole().set_stored());
        let version = builder.add_i64_field(VERSION, NumericOptions::default().set_fast());
        let deleted = builder.add_bool_field(DELETED, NumericOptions::default().set_indexed());
        let source = builder.add_bytes_field(SOURCE, tantivy::schema::STORED);
        let nodes = nodes(&mut builder, "", definition.properties()).into();
        Self { schema: builder.build(), id, version, deleted, source, nodes }
    }

    /// The form that the index keeps of them.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The document of an id that is deleted.
    pub(super) fn tombstone(&self, id: &str, version: i64) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_text(self.id, id);
        document.add_i64(self.version, version);
        document.add_bool(self.deleted, true);
        document
    }

    /// The document of `row`, which is `source` as JSON.
    ///
    /// # Errors
    /// A value that its field cannot hold, in words for a dead letter.
    pub(super) fn document(
        &self,
        id: &str,
        version: i64,
        source: &[u8],
        rows: &Rows<'_>,
        row: usize,
    ) -> Result<TantivyDocument, String> {
        let mut document = TantivyDocument::with_capacity(source.len() + source.len() / 2 + 128);
        document.add_text(self.id, id);
        document.add_i64(self.version, version);
        document.add_bytes(self.source, source);
        for (node, column) in &rows.0 {
            put(node, column, row, &mut document)?;
        }
        Ok(document)
    }

    /// The columns that have fields.
    pub(super) fn rows<'a>(&'a self, columns: &'a StructArray) -> Rows<'a> {
        let column = |node: &'a Node| Some((node, columns.column_by_name(&node.name)?));
        Rows(self.nodes.iter().filter_map(column).collect())
    }
}

/// The columns of one batch with the fields that their values go to.
pub(super) struct Rows<'a>(Vec<(&'a Node, &'a ArrayRef)>);

fn nodes(builder: &mut SchemaBuilder, before: &str, fields: &Map<String, Value>) -> Vec<Node> {
    let mut found = Vec::new();
    for (name, mapping) in fields {
        let path = format!("{before}{name}");
        let mut node = Node { name: name.clone(), leaves: Vec::new(), members: Vec::new() };
        if let Some(members) = mapping.get("properties").and_then(Value::as_object) {
            node.members = nodes(builder, &format!("{path}."), members);
        } else {
            let mut leaf = |path: &str, mapping: &Value| {
                let kind = Kind::of(mapping)?;
                let field = add(kind, builder, path)?;
                Some(Leaf { field, kind })
            };
            node.leaves.extend(leaf(&path, mapping));
            let more = mapping.get("fields").and_then(Value::as_object);
            for (name, mapping) in more.into_iter().flatten() {
                node.leaves.extend(leaf(&format!("{path}.{name}"), mapping));
            }
        }
        found.push(node);
    }
    found
}

/// Put what stands in `row` of `column` into its fields: each of its values, where it has several.
fn put(
    node: &Node,
    column: &dyn Array,
    row: usize,
    document: &mut TantivyDocument,
) -> Result<(), String> {
    if column.is_null(row) {
        return Ok(());
    }
    match column.data_type() {
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            (0..values.len()).try_for_each(|at| put(node, &values, at, document))
        }
        DataType::Struct(_) => {
            let members = column.as_struct();
            node.members.iter().try_for_each(|member| match members.column_by_name(&member.name) {
                Some(column) => put(member, column, row, document),
                None => Ok(()),
            })
        }
        _ if node.leaves.is_empty() => Ok(()),
        _ => {
            let value = Leafed::of(column, row)
                .ok_or_else(|| format!("column {} has a type that no field can hold", node.name))?;
            let put = |leaf: &Leaf| put_value(*leaf, &value, document);
            node.leaves.iter().try_for_each(put).map_err(|what| format!("{}: {what}", node.name))
        }
    }
}

/// One value of a column.
enum Leafed<'a> {
    Text(&'a str),
    Long(i64),
    Double(f64),
    Boolean(bool),
    /// Microseconds since 1970.
    Time(i64),
}

impl<'a> Leafed<'a> {
    fn of(column: &'a dyn Array, row: usize) -> Option<Self> {
        Some(match column.data_type() {
            DataType::Utf8View => Self::Text(column.as_string_view().value(row)),
            DataType::Utf8 => Self::Text(column.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => Self::Text(column.as_string::<i64>().value(row)),
            DataType::Int64 => Self::Long(column.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => Self::Double(column.as_primitive::<Float64Type>().value(row)),
            DataType::Boolean => Self::Boolean(column.as_boolean().value(row)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Time(column.as_primitive::<TimestampMicrosecondType>().value(row))
            }
            DataType::Date32 => {
                let days = column.as_primitive::<Date32Type>().value(row);
                Self::Time(i64::from(days).saturating_mul(86_400_000_000))
            }
            DataType::Decimal128(_, scale) => {
                let number = column.as_primitive::<Decimal128Type>().value(row);
                Self::Double(number as f64 / 10f64.powi(i32::from(*scale)))
            }
            kind if kind.is_integer() => {
                let wide = arrow::compute::cast(&column.slice(row, 1), &DataType::Int64).ok()?;
                Self::Long(wide.as_primitive::<Int64Type>().value(0))
            }
            DataType::Float16 | DataType::Float32 => {
                let wide = arrow::compute::cast(&column.slice(row, 1), &DataType::Float64).ok()?;
                Self::Double(wide.as_primitive::<Float64Type>().value(0))
            }
            _ => return None,
        })
    }

    fn as_text(&self) -> String {
        match self {
            Self::Text(text) => (*text).to_owned(),
            Self::Long(number) => number.to_string(),
            Self::Double(number) => number.to_string(),
            Self::Boolean(truth) => truth.to_string(),
            Self::Time(micros) => Instant::from_timestamp_micros(*micros)
                .map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
                .unwrap_or_default(),
        }
    }
}

fn put_value(leaf: Leaf, value: &Leafed<'_>, document: &mut TantivyDocument) -> Result<(), String> {
    let unfit = |wanted| Err(format!("`{}` is no {wanted}", value.as_text()));
    match (leaf.kind, value) {
        (Kind::Keyword(most), Leafed::Text(text)) if is_longer(text, most) => {}
        (Kind::Text(_) | Kind::Keyword(_), Leafed::Text(text)) => {
            document.add_text(leaf.field, text);
        }
        (Kind::Text(_) | Kind::Keyword(_), value) => {
            document.add_text(leaf.field, value.as_text());
        }
        (Kind::Long, Leafed::Long(number)) => document.add_i64(leaf.field, *number),
        (Kind::Long, Leafed::Double(number)) => document.add_i64(leaf.field, *number as i64),
        (Kind::Long, Leafed::Text(text)) => match text.parse() {
            Ok(number) => document.add_i64(leaf.field, number),
            Err(_) => return unfit("whole number"),
        },
        (Kind::Double | Kind::Float, value) => {
            let number = match value {
                Leafed::Double(number) => *number,
                Leafed::Long(number) => *number as f64,
                Leafed::Text(text) => match text.parse() {
                    Ok(number) => number,
                    Err(_) => return unfit("number"),
                },
                _ => return unfit("number"),
            };
            let is_rounded = leaf.kind == Kind::Float;
            let number = if is_rounded { f64::from(number as f32) } else { number };
            document.add_f64(leaf.field, number);
        }
        (Kind::Boolean, Leafed::Boolean(truth)) => document.add_bool(leaf.field, *truth),
        (Kind::Boolean, Leafed::Text(text)) => match text.parse() {
            Ok(truth) => document.add_bool(leaf.field, truth),
            Err(_) => return unfit("truth"),
        },
        (Kind::Date, value) => {
            let micros = match value {
                Leafed::Time(micros) => *micros,
                Leafed::Long(millis) => millis.saturating_mul(1000),
                Leafed::Text(text) => match instant(text) {
                    Some(micros) => micros,
                    None => return unfit("date"),
                },
                _ => return unfit("date"),
            };
            // To the millisecond, as a filter has it; what lies outside 1677 to 2262 is kept and not
            // found by.
            if let Some(nanos) = micros.div_euclid(1000).checked_mul(1_000_000) {
                document.add_date(leaf.field, DateTime::from_timestamp_nanos(nanos));
            }
        }
        (Kind::Long, _) => return unfit("whole number"),
        (Kind::Boolean, _) => return unfit("truth"),
        (Kind::Stored, _) => {}
    }
    Ok(())
}

fn is_longer(text: &str, most: usize) -> bool {
    // Most texts have fewer bytes than they may have characters.
    text.len() > most && text.chars().nth(most).is_some()
}
