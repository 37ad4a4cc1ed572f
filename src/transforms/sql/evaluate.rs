//! Runs a planned SELECT on one batch: its physical expressions, without streams or tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, new_empty_array, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::SystemColumns;
use crate::event::batch::narrow;
use crate::event::system::{HEADERS, MESSAGE_KEY};

/// A planned SELECT: the columns it reads, then projections and filters in order.
#[derive(Debug)]
pub(super) struct Program {
    inputs: Vec<Input>,
    input_schema: SchemaRef,
    steps: Vec<Step>,
    schema: SchemaRef,
}

/// Where a column that is read comes from.
#[derive(Debug, Clone)]
pub(super) enum Input {
    /// A column of the stage before, by its index.
    Stage(usize),
    /// A system column, by its name and type.
    System(String, DataType),
}

/// One node of the plan.
#[derive(Debug)]
pub(super) enum Step {
    /// Clears `kept` where the condition is not true.
    Filter(Arc<dyn PhysicalExpr>),
    /// Replaces the columns.
    Project(Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
}

/// A kept row that an expression failed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The row's index in the batch.
    pub row: usize,
    /// What failed, for its dead letter.
    pub reason: String,
}

/// What a run gives.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The columns; failed rows are still among them, NULL where nothing could be computed.
    pub rows: RecordBatch,
    /// The filter so far and the program's own.
    pub kept: Option<BooleanBuffer>,
    /// The failed rows, in order, once each.
    pub failures: Vec<Failure>,
}

impl Program {
    /// A program that reads `inputs` (of `input_schema`) and takes `steps`; `schema` is that of the
    /// last step, with the metadata that it shows to the next stage.
    pub(super) fn new(
        inputs: Vec<Input>,
        input_schema: SchemaRef,
        steps: Vec<Step>,
        schema: SchemaRef,
    ) -> Self {
        Self { inputs, input_schema, steps, schema }
    }

    /// Schema of the rows it gives.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// True where it reads what a broker carries around a message's value.
    pub(super) fn reads_message(&self) -> bool {
        let is_of_message = |input: &Input| match input {
            Input::System(name, _) => matches!(name.as_str(), MESSAGE_KEY | HEADERS),
            Input::Stage(_) => false,
        };
        self.inputs.iter().any(is_of_message)
    }

    /// Run on `rows` with the system columns beside them; `kept` is the filter so far. Only a
    /// defect fails: a row that cannot be computed is in the outcome's failures.
    pub(super) fn run(
        &self,
        rows: &RecordBatch,
        system: &SystemColumns,
        kept: Option<&BooleanBuffer>,
    ) -> Result<Outcome> {
        let fail = |step: &'static str| move || format!("cannot {step} rows of a sql stage");
        let mut table = self.load(rows, system)?;
        let mut kept = kept.cloned();
        let mut failures = BTreeMap::new();
        for step in &self.steps {
            match step {
                Step::Filter(condition) => {
                    let (column, failed) = evaluate(condition, &table, &DataType::Boolean)?;
                    note(&mut failures, failed, kept.as_ref(), || "condition".to_owned());
                    let condition = column.as_boolean_opt().ok_or_else(|| {
                        Error::fatal(format!("a condition gave {}", column.data_type()))
                    })?;
                    let narrowed = narrow(kept.as_ref(), condition);
                    kept = Some(narrowed.or_error(ErrorKind::Fatal, fail("filter"))?);
                }
                Step::Project(outputs, schema) => {
                    let mut columns = Vec::with_capacity(outputs.len());
                    for (output, field) in outputs.iter().zip(schema.fields()) {
                        let (column, failed) = evaluate(output, &table, field.data_type())?;
                        note(&mut failures, failed, kept.as_ref(), || {
                            format!("column \"{}\"", field.name())
                        });
                        columns.push(column);
                    }
                    table = batch(schema, columns, table.num_rows())
                        .or_error(ErrorKind::Fatal, fail("project"))?;
                }
            }
        }
        let count = table.num_rows();
        let rows = batch(&self.schema, table.columns().to_vec(), count)
            .or_error(ErrorKind::Fatal, fail("finish"))?;
        let failures = failures.into_iter().map(|(row, reason)| Failure { row, reason }).collect();
        Ok(Outcome { rows, kept, failures })
    }

    /// The columns that the first step reads.
    fn load(&self, rows: &RecordBatch, system: &SystemColumns) -> Result<RecordBatch> {
        let column = |input: &Input| match input {
            Input::Stage(index) => rows.columns().get(*index).cloned().ok_or_else(|| {
                Error::fatal(format!("a sql stage reads column {index} of {}", rows.num_columns()))
            }),
            Input::System(name, kind) => {
                Ok(system.column(name).unwrap_or_else(|| new_null_array(kind, rows.num_rows())))
            }
        };
        let columns = self.inputs.iter().map(column).collect::<Result<Vec<_>>>()?;
        batch(&self.input_schema, columns, rows.num_rows())
            .or_error(ErrorKind::Fatal, || "a sql stage got rows of another schema".to_owned())
    }
}

/// A record batch that may have no column.
fn batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

/// Remember the first failure of each row that is still kept. A row that is not kept may hold
/// anything: it can become at most a delete, which has its key alone.
fn note(
    failures: &mut BTreeMap<usize, String>,
    failed: Vec<Failure>,
    kept: Option<&BooleanBuffer>,
    place: impl Fn() -> String,
) {
    for Failure { row, reason } in failed {
        if kept.is_none_or(|kept| kept.value(row)) {
            failures.entry(row).or_insert_with(|| format!("{}: {reason}", place()));
        }
    }
}

/// The value of `expression` for each row of `table`, NULL where it fails.
fn evaluate(
    expression: &Arc<dyn PhysicalExpr>,
    table: &RecordBatch,
    kind: &DataType,
) -> Result<(ArrayRef, Vec<Failure>)> {
    if table.num_rows() == 0 {
        return Ok((new_empty_array(kind), Vec::new()));
    }
    match attempt(expression, table, kind) {
        Ok(column) => Ok((column, Vec::new())),
        Err(error) => {
            let mut pieces = Vec::new();
            let mut failures = Vec::new();
            halve(expression, table, kind, 0, error, &mut pieces, &mut failures)?;
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            let column = concat(&pieces).or_error(ErrorKind::Fatal, || {
                "cannot put the rows of a sql stage together again".to_owned()
            })?;
            Ok((column, failures))
        }
    }
}

fn attempt(
    expression: &Arc<dyn PhysicalExpr>,
    table: &RecordBatch,
    kind: &DataType,
) -> Result<ArrayRef, DataFusionError> {
    let column = expression.evaluate(table)?.into_array(table.num_rows())?;
    if column.data_type() == kind {
        return Ok(column);
    }
    // The same type but for the names or nullability of inner fields.
    Ok(arrow::compute::cast(&column, kind)?)
}

/// Cut `table`, on which `expression` failed with `error`, until each failing row stands alone.
fn halve(
    expression: &Arc<dyn PhysicalExpr>,
    table: &RecordBatch,
    kind: &DataType,
    offset: usize,
    error: DataFusionError,
    pieces: &mut Vec<ArrayRef>,
    failures: &mut Vec<Failure>,
) -> Result<()> {
    let rows = table.num_rows();
    if rows <= 1 {
        failures.push(Failure { row: offset, reason: reason(error)? });
        pieces.push(new_null_array(kind, rows));
        return Ok(());
    }
    let half = rows / 2;
    for (start, length) in [(0, half), (half, rows - half)] {
        let part = table.slice(start, length);
        match attempt(expression, &part, kind) {
            Ok(column) => pieces.push(column),
            Err(error) => {
                halve(expression, &part, kind, offset + start, error, pieces, failures)?;
            }
        }
    }
    Ok(())
}

/// Why one row failed; an error where it is not the row's fault.
fn reason(error: DataFusionError) -> Result<String> {
    let text = match error.find_root() {
        DataFusionError::ArrowError(cause, _) => match cause.as_ref() {
            ArrowError::DivideByZero => "division by zero".to_owned(),
            ArrowError::ArithmeticOverflow(text) => format!("arithmetic overflow: {text}"),
            ArrowError::CastError(text)
            | ArrowError::ParseError(text)
            | ArrowError::ComputeError(text)
            | ArrowError::InvalidArgumentError(text) => text.clone(),
            other => other.to_string(),
        },
        DataFusionError::Execution(text) => text.clone(),
        _ => return Err(Error::fatal("an expression of a sql stage cannot run").caused_by(error)),
    };
    Ok(super::explain::lowercase(&text))
}
