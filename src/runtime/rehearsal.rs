//! A pipeline without its ends: events through the real decoder, stages and filters, to the rows
//! that each sink would get. Nothing is written. `acequia test` and `acequia preview` stand on it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::nullif;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::build;
use crate::component::source::RawBatch;
use crate::component::{Context, Decoder, Stamp, Transform};
use crate::config::Loaded;
use crate::error::{ErrorKind, Result, ResultExt};
use crate::event::batch::KEY_COLUMN;
use crate::event::filter::{FilterRule, SinkRows, rows_for_sink};
use crate::event::{Batch, DeadLetter};

/// A pipeline that is played, not run.
pub struct Rehearsal {
    decoder: Box<dyn Decoder>,
    transforms: Vec<Arc<dyn Transform>>,
    sinks: Vec<RehearsedSink>,
}

struct RehearsedSink {
    name: String,
    filter: Option<Arc<dyn Transform>>,
    rule: FilterRule,
}

/// What came of some events.
#[derive(Debug, Clone, Default)]
pub struct Played {
    /// For each sink, in the pipeline's order, the rows that it gets: the columns of the last
    /// stage, then the system columns.
    pub sinks: Vec<(String, RecordBatch)>,
    /// Events that were refused, in the order of the stages.
    pub dead_letters: Vec<DeadLetter>,
}

impl Rehearsal {
    /// A rehearsal of `loaded` that reads records as its source has them.
    pub fn new(loaded: &Loaded, context: &Context) -> Result<Self> {
        let sink = |(name, config): (&String, &crate::sinks::SinkConfig)| {
            let filter = build::filter(loaded, name, config, context)?;
            Ok(RehearsedSink { name: name.clone(), filter, rule: config.filter_rule() })
        };
        Ok(Self {
            decoder: build::decoder_factory(loaded)(),
            transforms: build::transforms(loaded, context)?,
            sinks: loaded.pipeline.sinks.iter().map(sink).collect::<Result<_>>()?,
        })
    }

    /// Decode `raw` and take it through the stages: the rows as a sink without filter sees them.
    pub async fn stages(&mut self, raw: &RawBatch, stamp: &Stamp) -> Result<Batch> {
        let mut batch = self.decoder.decode(raw, stamp)?;
        for transform in &self.transforms {
            batch = transform.apply(batch).await?;
        }
        Ok(batch)
    }

    /// Take `raw` all the way to the sinks.
    pub async fn play(&mut self, raw: &RawBatch, stamp: &Stamp) -> Result<Played> {
        let mut batch = self.stages(raw, stamp).await?;
        let mut played =
            Played { dead_letters: std::mem::take(&mut batch.rejects), ..Played::default() };
        for sink in &self.sinks {
            let mut batch = match &sink.filter {
                Some(filter) => filter.apply(batch.clone()).await?,
                None => batch.clone(),
            };
            played.dead_letters.append(&mut batch.rejects);
            let rows = rows_for_sink(batch, sink.rule, false)
                .and_then(|rows| with_system(&rows))
                .or_error(ErrorKind::Fatal, || {
                format!("cannot show the rows of {}", sink.name)
            })?;
            played.sinks.push((sink.name.clone(), rows));
        }
        Ok(played)
    }
}

/// The columns of the last stage and the system columns; a row that stands for a delete shows its
/// key alone.
pub fn with_system(rows: &SinkRows) -> Result<RecordBatch, ArrowError> {
    let withheld = rows.withheld.clone().map(|withheld| BooleanArray::new(withheld, None));
    let batch = &rows.batch;
    let schema: SchemaRef = batch.rows.schema();
    let (mut fields, mut columns): (Vec<Arc<Field>>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in schema.fields().iter().zip(batch.rows.columns()) {
        let is_key = field.metadata().contains_key(KEY_COLUMN);
        fields.push(field.clone());
        columns.push(match &withheld {
            Some(withheld) if !is_key => nullif(column, withheld)?,
            _ => column.clone(),
        });
    }
    for (field, column) in batch.system.columns() {
        debug_assert_eq!(column.len(), batch.len());
        fields.push(field);
        columns.push(column);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
