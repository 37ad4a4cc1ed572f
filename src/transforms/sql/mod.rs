//! One SELECT over the table `changes`, stateless per event.
//!
//! `changes` has the columns of the stage before, and the system columns ([`crate::event::system`]),
//! which can be read by name. `*` means the stage's columns alone; system columns travel beside the
//! row whatever is selected, through derived tables too. Names follow SQL: without double quotes
//! they are lower case.
//!
//! The text is checked ([`check`]), planned by DataFusion once ([`plan`]), and then evaluated on
//! each batch by its physical expressions alone ([`evaluate`]): 2 to 3 ns a row for simple ones.
//! A WHERE never removes a row: it clears the row's `kept`. A row whose expression fails (a cast,
//! a division by zero, an overflow) is a dead letter, and the others go on; a row that a filter
//! has already let go never fails: what cannot be computed of it is NULL.

mod check;
mod error;
mod evaluate;
mod explain;
mod functions;
mod output;
mod parse;
mod plan;
mod rewrite;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use error::SqlError;

use super::Checked;
use crate::component::{Context, Transform};
use crate::compute::{self, Compute};
use crate::error::{ErrorKind, Result, ResultExt};
use crate::event::batch::BeforeImage;
use crate::event::{Batch, Stage, SystemSchema};
use evaluate::Program;

/// One SELECT over `changes`: projections and filters only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SqlConfig(pub String);

/// What `sql` is over a stage of schema `input`: everything that [`SqlTransform::new`] checks, without
/// a context.
pub fn check_select(
    sql: &str,
    input: &SchemaRef,
    system: &SystemSchema,
) -> Result<Checked, SqlError> {
    let program = plan::compile_select(sql, input, system)?;
    Ok(Checked {
        schema: program.schema().clone(),
        reads_message: program.reads_message(),
        warning: None,
    })
}

/// Everything that [`SqlFilter::new`] checks, without a context; true where it reads what a broker
/// carries around a message's value.
pub fn check_condition(
    condition: &str,
    input: &SchemaRef,
    system: &SystemSchema,
) -> Result<bool, SqlError> {
    plan::compile_condition(condition, input, system).map(|program| program.reads_message())
}

/// The SQL stage.
pub struct SqlTransform {
    program: Arc<Program>,
    stage: Stage,
    compute: Arc<dyn Compute>,
}

impl SqlTransform {
    /// A stage that applies `sql` to rows of schema `input`. `name` is the stage's name in dead
    /// letters: `transforms[0].sql`. Errors carry their place inside `sql`.
    pub fn new(
        sql: &str,
        input: &SchemaRef,
        system: &SystemSchema,
        name: &str,
        context: &Context,
    ) -> Result<Self, SqlError> {
        Ok(Self {
            program: Arc::new(plan::compile_select(sql, input, system)?),
            stage: Stage::Transform(name.into()),
            compute: context.compute.clone(),
        })
    }
}

#[async_trait]
impl Transform for SqlTransform {
    fn schema(&self) -> SchemaRef {
        self.program.schema().clone()
    }

    async fn apply(&self, batch: Batch) -> Result<Batch> {
        let (program, stage) = (self.program.clone(), self.stage.clone());
        compute::run(&self.compute, move || project(&program, &stage, batch)).await?
    }
}

/// A sink's `where`: narrows `kept` for that sink alone and leaves the rows as they are.
pub struct SqlFilter {
    program: Arc<Program>,
    schema: SchemaRef,
    stage: Stage,
    compute: Arc<dyn Compute>,
}

impl SqlFilter {
    /// A filter of rows of schema `input` for the sink of that name. Errors carry their place
    /// inside `condition`; a row whose condition fails is a dead letter of `sink:NAME`.
    pub fn new(
        condition: &str,
        input: &SchemaRef,
        system: &SystemSchema,
        sink: &str,
        context: &Context,
    ) -> Result<Self, SqlError> {
        Ok(Self {
            program: Arc::new(plan::compile_condition(condition, input, system)?),
            schema: input.clone(),
            stage: Stage::Sink(sink.into()),
            compute: context.compute.clone(),
        })
    }
}

#[async_trait]
impl Transform for SqlFilter {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    async fn apply(&self, batch: Batch) -> Result<Batch> {
        let (program, stage) = (self.program.clone(), self.stage.clone());
        compute::run(&self.compute, move || narrow(&program, &stage, batch)).await?
    }
}

/// The batch with the program's columns.
fn project(program: &Program, stage: &Stage, mut batch: Batch) -> Result<Batch> {
    let outcome = program.run(&batch.rows, &batch.system, batch.kept.as_ref())?;
    if let Some(before) = batch.before.take() {
        let image = program.run(&before.rows, &batch.system, before.kept.as_ref())?;
        batch.before = Some(BeforeImage {
            present: unknown_where_failed(before.present, &image.failures),
            rows: image.rows,
            kept: image.kept,
        });
    }
    batch.rows = outcome.rows;
    batch.kept = outcome.kept;
    reject(batch, stage, outcome.failures)
}

/// The batch with its own columns and the program's `kept`.
fn narrow(program: &Program, stage: &Stage, mut batch: Batch) -> Result<Batch> {
    let outcome = program.run(&batch.rows, &batch.system, batch.kept.as_ref())?;
    if let Some(before) = batch.before.as_mut() {
        let image = program.run(&before.rows, &batch.system, before.kept.as_ref())?;
        before.present = unknown_where_failed(before.present.clone(), &image.failures);
        before.kept = image.kept;
    }
    batch.kept = outcome.kept;
    reject(batch, stage, outcome.failures)
}

/// An image that cannot be computed counts as unknown, so that a filter further down cannot prove
/// that nothing was ever written for its row: a delete too many does no harm, one too few does.
fn unknown_where_failed(present: BooleanBuffer, failures: &[evaluate::Failure]) -> BooleanBuffer {
    if failures.is_empty() {
        return present;
    }
    let mut bits: Vec<bool> = present.iter().collect();
    for failure in failures {
        if let Some(bit) = bits.get_mut(failure.row) {
            *bit = false;
        }
    }
    BooleanBuffer::from(bits)
}

/// Turn failed rows into dead letters.
fn reject(mut batch: Batch, stage: &Stage, failures: Vec<evaluate::Failure>) -> Result<Batch> {
    if failures.is_empty() {
        return Ok(batch);
    }
    let mut keep = vec![true; batch.len()];
    for failure in failures {
        if let Some(keep) = keep.get_mut(failure.row) {
            *keep = false;
        }
        let letter = batch.letter(stage.clone(), failure.row, failure.reason);
        batch.rejects.push(letter);
    }
    batch.retain(&BooleanArray::from(keep)).or_error(ErrorKind::Fatal, || {
        format!("cannot take refused rows out of a batch of {stage}")
    })
}
