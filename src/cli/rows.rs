//! Rows on standard output: a table for people, lines for scripts.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::Terminal;
use super::figures::one_line;
use crate::error::{ErrorKind, Result, ResultExt};
use crate::lake::{write_csv, write_json, write_table};

/// The form of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowForm {
    Table,
    Json,
    Csv,
}

/// The longest cell on a terminal, in characters.
const CELL_WIDTH: usize = 48;
/// Frame and blanks of a column.
const COLUMN_MARGIN: usize = 3;

/// Print rows that are all there.
pub(super) fn show(
    form: RowForm,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    terminal: &Terminal,
) -> Result<()> {
    let mut out = Vec::new();
    match form {
        RowForm::Json => write_json(batches, &mut out)?,
        RowForm::Csv => write_csv(schema, batches, true, &mut out)?,
        RowForm::Table => {
            let (schema, batches, hidden) = fitted(schema, batches, terminal.width())?;
            write_table(&schema, &batches, &mut out)?;
            if hidden > 0 {
                let columns = if hidden == 1 { "column" } else { "columns" };
                terminal.note(&format!("{hidden} more {columns} than fit here: see --json"));
            }
        }
    }
    terminal.print(&String::from_utf8_lossy(&out));
    Ok(())
}

/// Print rows as they come, for answers larger than memory; false where nobody reads any more.
pub(super) fn stream(
    form: RowForm,
    schema: &SchemaRef,
    batch: &RecordBatch,
    first: bool,
) -> Result<bool> {
    let mut out = Vec::new();
    match form {
        RowForm::Csv => write_csv(schema, std::slice::from_ref(batch), first, &mut out)?,
        RowForm::Json | RowForm::Table => write_json(std::slice::from_ref(batch), &mut out)?,
    }
    match io::stdout().lock().write_all(&out) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).or_error(ErrorKind::Fatal, || "cannot write the rows".to_owned()),
    }
}

/// As many columns as fit into `width` characters, long values cut; and how many were left out.
/// Without a width, as on a pipe, everything stays.
fn fitted(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    width: Option<usize>,
) -> Result<(SchemaRef, Vec<RecordBatch>, usize)> {
    let Some(width) = width else { return Ok((schema.clone(), batches.to_vec(), 0)) };
    let failed = || "cannot show the rows".to_owned();
    let (mut fields, mut taken, mut shown) = (Vec::new(), 1, Vec::<Vec<ArrayRef>>::new());
    for (index, field) in schema.fields().iter().enumerate() {
        let columns: Vec<StringArray> = batches
            .iter()
            .filter_map(|batch| batch.columns().get(index))
            .map(texts)
            .collect::<Result<_, _>>()
            .or_error(ErrorKind::Fatal, failed)?;
        let cells = columns.iter().flat_map(|column| column.iter().flatten());
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        taken += longest.max(field.name().chars().count()) + COLUMN_MARGIN;
        if taken > width && !fields.is_empty() {
            break;
        }
        fields.push(Field::new(field.name(), DataType::Utf8, true));
        shown.push(columns.into_iter().map(|column| Arc::new(column) as ArrayRef).collect());
    }
    let hidden = schema.fields().len() - fields.len();
    let schema = Arc::new(Schema::new(fields));
    let batches = (0..batches.len())
        .map(|batch| {
            let columns = shown.iter().filter_map(|column| column.get(batch).cloned()).collect();
            RecordBatch::try_new(schema.clone(), columns)
        })
        .collect::<Result<_, _>>()
        .or_error(ErrorKind::Fatal, failed)?;
    Ok((schema, batches, hidden))
}

/// Each value on one line, cut where it is long.
fn texts(column: &ArrayRef) -> Result<StringArray, arrow::error::ArrowError> {
    let options = FormatOptions::new().with_null("").with_display_error(true);
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let text = |row: usize| one_line(&formatter.value(row).to_string(), CELL_WIDTH);
    Ok((0..column.len()).map(|row| Some(text(row))).collect())
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn columns_that_do_not_fit_are_counted() {
        let long = "x".repeat(100);
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
            ("text", Arc::new(StringArray::from(vec!["a\nb", long.as_str()])) as ArrayRef),
            ("more", Arc::new(StringArray::from(vec!["c", "d"])) as ArrayRef),
        ])
        .unwrap();
        let (schema, batches, hidden) =
            fitted(&batch.schema(), std::slice::from_ref(&batch), Some(60)).unwrap();
        assert_eq!((schema.fields().len(), hidden), (2, 1));
        let mut out = Vec::new();
        write_table(&schema, &batches, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.lines().all(|line| line.chars().count() <= 60), "{out}");
        assert!(out.contains("| a b "), "{out}");
        let (_, all, hidden) = fitted(&batch.schema(), std::slice::from_ref(&batch), None).unwrap();
        assert_eq!((all, hidden), (vec![batch], 0));
    }
}
