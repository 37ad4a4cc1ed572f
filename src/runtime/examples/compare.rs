//! Rows that came out against those that are expected: listed columns equal, others free.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int64Type, TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine as _;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::Value;

use crate::config::pipeline::Row;

/// How a value is shown where it differs.
const FORMAT: FormatOptions<'static> =
    FormatOptions::new().with_null("null").with_display_error(true);

/// What differs, one line each.
pub(super) fn differences(sink: &str, expected: &[Row], found: &RecordBatch) -> Vec<String> {
    let mut differences = Vec::new();
    if expected.len() != found.num_rows() {
        differences.push(format!(
            "{sink}: expected {}, got {}{}",
            counted(expected.len()),
            counted(found.num_rows()),
            keys(found)
        ));
    }
    for (number, row) in expected.iter().enumerate().take(found.num_rows()) {
        for (name, value) in row {
            let Some(column) = found.column_by_name(name) else {
                differences.push(format!("{sink}[{number}].{name}: there is no such column"));
                continue;
            };
            if !equals(value, column, number) {
                let shown = shown(column, number);
                differences.push(format!("{sink}[{number}].{name}: expected {value}, got {shown}"));
            }
        }
    }
    differences
}

fn counted(rows: usize) -> String {
    match rows {
        0 => "no row".to_owned(),
        1 => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    }
}

/// Which rows there are, so that the one too many, or what became of the missing one, can be told.
fn keys(found: &RecordBatch) -> String {
    let (Some(op), Some(key)) = (found.column_by_name("_op"), found.column_by_name("_key")) else {
        return String::new();
    };
    let rows: Vec<String> = (0..found.num_rows().min(10))
        .map(|row| format!("{} {}", shown(op, row), shown(key, row)))
        .collect();
    if rows.is_empty() { String::new() } else { format!(": {}", rows.join(", ")) }
}

fn shown(column: &dyn Array, row: usize) -> String {
    ArrayFormatter::try_new(column, &FORMAT)
        .map_or_else(|error| error.to_string(), |formatter| formatter.value(row).to_string())
}

/// True where `expected`, as YAML has it, is the value of `column` at `row`.
fn equals(expected: &Value, column: &dyn Array, row: usize) -> bool {
    if column.is_null(row) || expected.is_null() {
        return column.is_null(row) && expected.is_null();
    }
    match (column.data_type(), expected) {
        (DataType::Boolean, Value::Bool(wanted)) => column.as_boolean().value(row) == *wanted,
        (DataType::Int64, Value::Number(wanted)) => {
            wanted.as_i64() == Some(column.as_primitive::<Int64Type>().value(row))
        }
        (DataType::Float64, Value::Number(wanted)) => {
            let found = column.as_primitive::<Float64Type>().value(row);
            wanted.as_f64().is_some_and(|wanted| close(wanted, found))
        }
        (DataType::Decimal128(..), wanted) => {
            let found = column.as_primitive::<Decimal128Type>().value_as_string(row);
            is_number(&found, wanted)
        }
        (DataType::Utf8View, Value::String(wanted)) => column.as_string_view().value(row) == wanted,
        (DataType::Timestamp(..), Value::String(wanted)) => {
            instant(wanted) == Some(column.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        (DataType::Date32, Value::String(wanted)) => {
            let found = column.as_primitive::<Date32Type>().value(row);
            day(wanted) == Some(found)
        }
        (DataType::BinaryView, Value::String(wanted)) => {
            let found = column.as_binary_view().value(row);
            base64::engine::general_purpose::STANDARD.encode(found) == *wanted
        }
        (DataType::List(_), Value::Array(wanted)) => {
            let found = column.as_list::<i32>().value(row);
            found.len() == wanted.len()
                && wanted.iter().enumerate().all(|(item, wanted)| equals(wanted, &found, item))
        }
        (DataType::Struct(_), Value::Object(wanted)) => {
            let found = column.as_struct();
            wanted.iter().all(|(name, wanted)| {
                found.column_by_name(name).is_some_and(|member| equals(wanted, member, row))
            })
        }
        _ => false,
    }
}

/// As near as two ways to compute the same number come.
fn close(wanted: f64, found: f64) -> bool {
    wanted == found || (wanted - found).abs() <= f64::EPSILON * wanted.abs().max(found.abs()) * 4.0
}

/// Compares digits, not floats: `12.50` is `12.5`.
fn is_number(found: &str, wanted: &Value) -> bool {
    let wanted = match wanted {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return false,
    };
    let plain = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    plain(found) == plain(&wanted)
}

/// An instant in microseconds; without a zone it is UTC.
fn instant(text: &str) -> Option<i64> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.timestamp_micros());
    }
    let plain = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    plain
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
        .map(|instant| instant.and_utc().timestamp_micros())
}

/// Days since 1970.
fn day(text: &str) -> Option<i32> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    let days = day.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).ok()
}
