//! The properties of a contract as columns: types, keys, rules, what they mean.

use serde_json::Value as Json;

use super::document::{Reader, below, custom, integer_of, number_of, text_of};
use super::model::{Column, ColumnType, DecimalForm, Reference, Rule, TimeForm};
use crate::document::{Node, Resolved, Value};
use crate::event::system;

/// Keys that the standard gives to a property.
const PROPERTY_KEYS: &[&str] = &[
    "id",
    "name",
    "physicalName",
    "physicalType",
    "logicalType",
    "logicalTypeOptions",
    "businessName",
    "description",
    "required",
    "unique",
    "partitioned",
    "partitionKeyPosition",
    "primaryKey",
    "primaryKeyPosition",
    "classification",
    "encryptedName",
    "transformSourceObjects",
    "transformLogic",
    "transformDescription",
    "examples",
    "criticalDataElement",
    "quality",
    "tags",
    "customProperties",
    "authoritativeDefinitions",
    "properties",
    "items",
    "relationships",
];
/// The logical types that become columns.
const LOGICAL_TYPES: &[&str] =
    &["string", "integer", "number", "boolean", "timestamp", "date", "object", "array"];
/// Classifications of data that is about nobody.
const NOT_PERSONAL: &[&str] = &["public", "internal", "none"];

/// The columns of an object and the names of its key, in key order.
pub(super) fn columns(
    reader: &mut Reader<'_>,
    object: &Node,
    path: &str,
) -> (Vec<Column>, Vec<String>) {
    let mut columns: Vec<Column> = Vec::new();
    let mut keys: Vec<(i128, String)> = Vec::new();
    let properties = object.get("properties").map(Node::items).unwrap_or_default();
    if properties.is_empty() {
        reader.missing(object, path, "properties", "a list of columns");
    }
    for (index, property) in properties.iter().enumerate() {
        let path = format!("{}[{index}]", below(path, "properties"));
        let Some(column) = column(reader, property, &path, None) else { continue };
        if system::NAMES.contains(&column.name.as_str()) {
            reader.wrong(property, &path, "name", "the name of a system column", "any other name");
        }
        if columns.iter().any(|other| other.name == column.name) {
            reader.wrong(property, &path, "name", "this name occurs twice", "one column a name");
        }
        if reader.flag(property, &path, "primaryKey") {
            keys.push((key_position(reader, property, &path, &column), column.name.clone()));
        }
        columns.push(column);
    }
    keys.sort_by_key(|(position, _)| *position);
    for pair in keys.windows(2) {
        if let [(left, _), (right, name)] = pair
            && left == right
        {
            let what = format!("two key columns at position {left}, the second is `{name}`");
            let allowed = "number the columns of the key from 1 by `primaryKeyPosition`";
            reader.at(object.place, path, &what, allowed);
        }
    }
    (columns, keys.into_iter().map(|(_, name)| name).collect())
}

fn key_position(reader: &mut Reader<'_>, property: &Node, path: &str, column: &Column) -> i128 {
    let simple = matches!(
        column.kind,
        ColumnType::Text
            | ColumnType::Integer
            | ColumnType::Decimal { .. }
            | ColumnType::Timestamp(_)
            | ColumnType::Date(_)
            | ColumnType::Binary
            | ColumnType::Float
    );
    if !simple {
        let allowed = "text, numbers, times and bytes";
        reader.wrong(property, path, "logicalType", "this type cannot be in a key", allowed);
    }
    match property.get("primaryKeyPosition") {
        None => 1,
        Some(position) => match integer_of(position) {
            Some(number) if number >= 1 => number,
            _ => {
                let allowed = "a whole number from 1";
                reader.wrong(property, path, "primaryKeyPosition", "no position", allowed);
                1
            }
        },
    }
}

/// One property as a column; `item` names the items of a list, which need no name.
fn column(
    reader: &mut Reader<'_>,
    property: &Node,
    path: &str,
    item: Option<&str>,
) -> Option<Column> {
    if property.entries().is_empty() {
        reader.at(property.place, path, "no property", "a mapping with `name` and `logicalType`");
        return None;
    }
    reader.keys(property, path, PROPERTY_KEYS);
    let name = match item {
        Some(name) => name.to_owned(),
        None => reader.required_text(property, path, "name")?,
    };
    let kind = kind(reader, property, path)?;
    let mut required = reader.flag(property, path, "required");
    required |= item.is_none() && reader.flag(property, path, "primaryKey");
    let mut rules = range(reader, property, path, &kind);
    quality(reader, property, path, &kind, &mut required, &mut rules);
    let classification = reader.text(property, path, "classification");
    Some(Column {
        name,
        required,
        unique: reader.flag(property, path, "unique"),
        description: reader.text(property, path, "description").unwrap_or_default(),
        pii: classification.filter(|class| !NOT_PERSONAL.contains(&class.as_str())),
        rules,
        search: custom(property, path, "search").map(|(value, _)| json_of(value)),
        references: references(reader, property, path, &kind),
        kind,
    })
}

fn kind(reader: &mut Reader<'_>, property: &Node, path: &str) -> Option<ColumnType> {
    let logical = reader.required_text(property, path, "logicalType")?;
    let physical = reader.text(property, path, "physicalType").unwrap_or_default();
    Some(match logical.as_str() {
        "string" if physical == "B" => ColumnType::Binary,
        "string" => ColumnType::Text,
        "integer" => ColumnType::Integer,
        "number" => number_kind(reader, property, path)?,
        "boolean" => ColumnType::Boolean,
        "timestamp" => ColumnType::Timestamp(time_form(reader, property, path, &physical)?),
        "date" => ColumnType::Date(date_form(reader, property, path)?),
        "object" => ColumnType::Struct(members(reader, property, path)),
        "array" => {
            let Some(item) = property.get("items") else {
                reader.missing(property, path, "items", "the type of the list's items");
                return None;
            };
            let item_path = below(path, "items");
            let place = item.place;
            let item = column(reader, item, &item_path, Some("item"))?;
            if item.references.is_some() {
                let allowed = "`references` at the list itself";
                reader.at(place, &item_path, "items with `references`", allowed);
            }
            ColumnType::List(Box::new(item))
        }
        _ => {
            let value = property.get("logicalType")?;
            let path = below(path, "logicalType");
            reader.unknown_word(value, &path, "unknown type", LOGICAL_TYPES);
            return None;
        }
    })
}

fn members(reader: &mut Reader<'_>, property: &Node, path: &str) -> Vec<Column> {
    let mut members: Vec<Column> = Vec::new();
    let nested = property.get("properties").map(Node::items).unwrap_or_default();
    if nested.is_empty() {
        reader.missing(property, path, "properties", "a list of members");
    }
    for (index, member) in nested.iter().enumerate() {
        let path = format!("{}[{index}]", below(path, "properties"));
        let Some(member_column) = column(reader, member, &path, None) else { continue };
        if member_column.references.is_some() {
            let allowed = "a column of its own: what refers to an object must not be nested";
            reader.at(member.place, &path, "a member with `references`", allowed);
        }
        if members.iter().any(|other| other.name == member_column.name) {
            reader.wrong(member, &path, "name", "this name occurs twice", "one member a name");
        }
        members.push(member_column);
    }
    members
}

/// A double, or exact digits where the custom properties `precision` and `scale` ask for them.
fn number_kind(reader: &mut Reader<'_>, property: &Node, path: &str) -> Option<ColumnType> {
    let Some((precision, precision_path)) = custom(property, path, "precision") else {
        if let Some((encoding, path)) = custom(property, path, "encoding") {
            let allowed = "`precision` and `scale` beside it: only exact numbers have one";
            reader.at(encoding.place, &path, "an encoding of an inexact number", allowed);
        }
        return Some(ColumnType::Float);
    };
    let digits = integer_of(precision).filter(|digits| (1..=38).contains(digits));
    let Some(digits) = digits.and_then(|digits| u8::try_from(digits).ok()) else {
        reader.at(precision.place, &precision_path, "no precision", "1 to 38 digits");
        return None;
    };
    let scale = match custom(property, path, "scale") {
        None => 0,
        Some((scale, scale_path)) => {
            let places =
                integer_of(scale).filter(|&places| (0..=i128::from(digits)).contains(&places));
            let Some(places) = places.and_then(|places| i8::try_from(places).ok()) else {
                let allowed = format!("0 to {digits} decimals");
                reader.at(scale.place, &scale_path, "no scale", &allowed);
                return None;
            };
            places
        }
    };
    let form = match custom(property, path, "encoding") {
        None => DecimalForm::Digits,
        Some((value, _)) if text_of(value) == Some("base64") => DecimalForm::Base64,
        Some((value, path)) => {
            reader.unknown_word(value, &path, "unknown encoding", &["base64"]);
            return None;
        }
    };
    Some(ColumnType::Decimal { precision: digits, scale, form })
}

/// Whether the values are names of objects outside the table: `references: media`.
fn references(
    reader: &mut Reader<'_>,
    property: &Node,
    path: &str,
    kind: &ColumnType,
) -> Option<Reference> {
    let (value, path) = custom(property, path, "references")?;
    if text_of(value) != Some(Reference::Media.as_str()) {
        let known = &[Reference::Media.as_str()];
        reader.unknown_word(value, &path, "unknown kind of reference", known);
        return None;
    }
    let is_name = match kind {
        ColumnType::Text => true,
        ColumnType::List(item) => item.kind == ColumnType::Text,
        _ => false,
    };
    if !is_name {
        let allowed = "text, or a list of texts: the names of the objects";
        reader.at(value.place, &path, "a reference that is no text", allowed);
    }
    Some(Reference::Media)
}

/// ISO text, or a count since 1970 where the source writes numbers.
fn time_form(
    reader: &mut Reader<'_>,
    property: &Node,
    path: &str,
    physical: &str,
) -> Option<TimeForm> {
    match (custom(property, path, "epoch"), physical) {
        (None, "N") => {
            let allowed = "a custom property `epoch` with `seconds`, `millis`, `micros` or `nanos`, since physicalType N is a number";
            reader.missing(property, path, "epoch", allowed);
            None
        }
        (None, _) => Some(TimeForm::Text),
        (Some((value, epoch_path)), _) => match text_of(value) {
            Some("seconds") => Some(TimeForm::EpochSeconds),
            Some("millis") => Some(TimeForm::EpochMillis),
            Some("micros") => Some(TimeForm::EpochMicros),
            Some("nanos") => Some(TimeForm::EpochNanos),
            _ => {
                let units = &["seconds", "millis", "micros", "nanos"];
                reader.unknown_word(value, &epoch_path, "unknown unit", units);
                None
            }
        },
    }
}

/// ISO text, or a count of days since 1970.
fn date_form(reader: &mut Reader<'_>, property: &Node, path: &str) -> Option<TimeForm> {
    match custom(property, path, "epoch") {
        None => Some(TimeForm::Text),
        Some((value, _)) if text_of(value) == Some("days") => Some(TimeForm::EpochDays),
        Some((value, epoch_path)) => {
            reader.unknown_word(value, &epoch_path, "unknown unit of a date", &["days"]);
            None
        }
    }
}

/// `minimum` and `maximum` of the type's options.
fn range(reader: &mut Reader<'_>, property: &Node, path: &str, kind: &ColumnType) -> Vec<Rule> {
    let Some(options) = property.get("logicalTypeOptions") else { return Vec::new() };
    let path = below(path, "logicalTypeOptions");
    let mut end = |key: &str| {
        let value = options.get(key)?;
        let number = number_of(value);
        if number.is_none() {
            reader.wrong(options, &path, key, "not a number", "a number");
        }
        number
    };
    let (min, max) = (end("minimum"), end("maximum"));
    if min.is_none() && max.is_none() {
        return Vec::new();
    }
    if !is_number(kind) {
        let allowed = "integer and number columns have a range";
        reader.at(options.place, &path, "a range of what is no number", allowed);
        return Vec::new();
    }
    if let (Some(low), Some(high)) = (min, max)
        && low > high
    {
        reader.at(
            options.place,
            &path,
            "an empty range",
            "a minimum that is not above the maximum",
        );
    }
    vec![Rule::Range { min, max }]
}

fn is_number(kind: &ColumnType) -> bool {
    matches!(kind, ColumnType::Integer | ColumnType::Float | ColumnType::Decimal { .. })
}

/// Rules of the standard's library that one value can answer. Those that need many rows, or that
/// are SQL or prose, are left to other tools.
fn quality(
    reader: &mut Reader<'_>,
    property: &Node,
    path: &str,
    kind: &ColumnType,
    required: &mut bool,
    rules: &mut Vec<Rule>,
) {
    const METRICS: &[&str] =
        &["nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount"];
    let list = property.get("quality").map(Node::items).unwrap_or_default();
    for (index, rule) in list.iter().enumerate() {
        let path = format!("{}[{index}]", below(path, "quality"));
        if rule.get("type").and_then(text_of).is_some_and(|kind| kind != "library") {
            continue;
        }
        let Some(metric) = reader.required_text(rule, &path, "metric") else { continue };
        let none_allowed = rule.get("mustBe").and_then(integer_of) == Some(0);
        match metric.as_str() {
            "nullValues" | "invalidValues" if !none_allowed => {
                let what = format!("a limit on `{metric}` that one row cannot answer");
                reader.at(rule.place, &path, &what, "`mustBe: 0`");
            }
            "nullValues" => *required = true,
            "invalidValues" => {
                let values = rule.get("arguments").and_then(|values| values.get("validValues"));
                let words: Vec<String> = values
                    .map(Node::items)
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|word| text_of(word).map(str::to_owned))
                    .collect();
                if *kind != ColumnType::Text || words.is_empty() {
                    let allowed = "a string column with `arguments: { validValues: [...] }`";
                    reader.at(rule.place, &path, "no list of valid texts", allowed);
                } else {
                    rules.push(Rule::OneOf(words));
                }
            }
            "missingValues" | "duplicateValues" | "rowCount" => {}
            _ => {
                if let Some(value) = rule.get("metric") {
                    reader.unknown_word(value, &below(&path, "metric"), "unknown metric", METRICS);
                }
            }
        }
    }
}

/// A node as JSON.
fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Map(entries) => {
            entries.iter().map(|entry| (entry.key.clone(), json_of(&entry.value))).collect()
        }
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Scalar(scalar) => match scalar.resolve() {
            Resolved::Null => Json::Null,
            Resolved::Boolean(value) => value.into(),
            Resolved::Integer(value) => {
                i64::try_from(value).map_or_else(|_| value.to_string().into(), Json::from)
            }
            Resolved::Float(value) => value.into(),
            Resolved::Text(text) => text.into(),
        },
    }
}
