//! Rows for people and for scripts.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::pretty::pretty_format_batches_with_schema;

use crate::error::{ErrorKind, Result, ResultExt};

/// Write `batches` as one table with a header; an empty answer shows the header alone.
pub fn write_table(schema: &SchemaRef, batches: &[RecordBatch], out: &mut dyn Write) -> Result<()> {
    let table = pretty_format_batches_with_schema(schema.clone(), batches)
        .or_error(ErrorKind::Fatal, || "cannot show the rows".to_owned())?;
    writeln!(out, "{table}").or_error(ErrorKind::Fatal, cannot_write)
}

/// Write `batches` as JSON, one object a line; NULL is `null`, so that every line has every column.
pub fn write_json(batches: &[RecordBatch], out: &mut dyn Write) -> Result<()> {
    let mut writer = json_lines(out);
    for batch in batches {
        writer.write(batch).or_error(ErrorKind::Fatal, cannot_write)?;
    }
    writer.finish().or_error(ErrorKind::Fatal, cannot_write)
}

/// Write `batches` as CSV after RFC 4180, with the column names as first line where `header` is
/// set. Lists and structs are written as JSON inside their field, NULL as an empty one.
pub fn write_csv(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    header: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let mut writer = arrow::csv::WriterBuilder::new().with_header(header).build(out);
    let empty = RecordBatch::new_empty(schema.clone());
    let batches = if batches.is_empty() && header { std::slice::from_ref(&empty) } else { batches };
    for batch in batches {
        let flat = flatten(batch)
            .or_error(ErrorKind::Fatal, || "cannot write nested values as JSON".to_owned())?;
        writer.write(&flat).or_error(ErrorKind::Fatal, cannot_write)?;
    }
    Ok(())
}

fn cannot_write() -> String {
    "cannot write the rows".to_owned()
}

fn json_lines<W: Write>(out: W) -> arrow::json::LineDelimitedWriter<W> {
    arrow::json::WriterBuilder::new().with_explicit_nulls(true).build(out)
}

/// The batch with its nested columns as JSON text.
fn flatten(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested() {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            columns.push(Arc::new(json_text(column)?));
        } else {
            fields.push(field.clone());
            columns.push(column.clone());
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// Each value as JSON.
fn json_text(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    const NAME: &str = "v";
    let field = Field::new(NAME, column.data_type().clone(), true);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column.clone()])?;
    let mut lines = Vec::new();
    let mut writer = json_lines(&mut lines);
    writer.write(&batch)?;
    writer.finish()?;
    drop(writer);
    // Each line is {"v":VALUE}; a line break inside a text is escaped.
    let lines = String::from_utf8_lossy(&lines);
    Ok(lines
        .lines()
        .map(|line| line.strip_prefix("{\"v\":").and_then(|line| line.strip_suffix('}')))
        .map(|value| value.filter(|value| *value != "null"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StructArray};

    fn rows() -> RecordBatch {
        let member = Arc::new(Field::new("intent", DataType::Utf8, true));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a \"b\"\n"), None]));
        let nested = StructArray::new(
            vec![member].into(),
            vec![texts.clone()],
            Some(vec![true, false].into()),
        );
        RecordBatch::try_from_iter_with_nullable([
            ("n", Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef, true),
            ("text", texts, true),
            ("metadata", Arc::new(nested) as ArrayRef, true),
        ])
        .unwrap()
    }

    fn written(write: impl FnOnce(&mut dyn Write) -> Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_has_every_column_on_every_line() {
        assert_eq!(
            written(|out| write_json(&[rows()], out)),
            "{\"n\":1,\"text\":\"a \\\"b\\\"\\n\",\"metadata\":{\"intent\":\"a \\\"b\\\"\\n\"}}\n\
             {\"n\":null,\"text\":null,\"metadata\":null}\n"
        );
    }

    #[test]
    fn csv_holds_nested_values_as_json() {
        let schema = rows().schema();
        assert_eq!(
            written(|out| write_csv(&schema, &[rows()], true, out)),
            "n,text,metadata\n\
             1,\"a \"\"b\"\"\n\",\"{\"\"intent\"\":\"\"a \\\"\"b\\\"\"\\n\"\"}\"\n,,\n"
        );
        assert_eq!(written(|out| write_csv(&schema, &[], true, out)), "n,text,metadata\n");
    }

    #[test]
    fn an_empty_table_shows_its_columns() {
        let table = written(|out| write_table(&rows().schema(), &[], out));
        assert!(table.contains("| n | text | metadata |"), "{table}");
    }
}
