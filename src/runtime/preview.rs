//! The first events of a source, taken through the stages; nothing is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use super::rehearsal::{Rehearsal, with_system};
use crate::checkpoint::memory::MemoryStore;
use crate::component::{Context, PartitionStart, SourceEvent, Stamp};
use crate::config::Loaded;
use crate::error::{ErrorKind, Result, ResultExt};
use crate::event::filter::SinkRows;
use crate::event::{Batch, DeadLetter, PartitionId, Position};
use crate::sources;

/// Says of each row whether every filter so far is true of it.
pub const KEPT: &str = "_kept";

/// Rows and refused events.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The columns of the last stage, the system columns, and [`KEPT`].
    pub schema: SchemaRef,
    /// The rows, in the order of the source.
    pub batches: Vec<RecordBatch>,
    /// Events that were refused among them.
    pub dead_letters: Vec<DeadLetter>,
}

impl Preview {
    /// True where the source gave nothing.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty() && self.dead_letters.is_empty()
    }

    /// The same with the column `first` in front and without those of `hidden`.
    pub fn arranged(mut self, first: &str, hidden: &[&str]) -> Result<Self> {
        let name = |index: &usize| self.schema.field(*index).name().as_str();
        let mut order: Vec<usize> = (0..self.schema.fields().len())
            .filter(|index| !hidden.contains(&name(index)))
            .collect();
        order.sort_by_key(|index| name(index) != first);
        let failed = || "cannot arrange the columns".to_owned();
        self.schema = Arc::new(self.schema.project(&order).or_error(ErrorKind::Fatal, failed)?);
        let project = |batch: &RecordBatch| batch.project(&order);
        self.batches = self
            .batches
            .iter()
            .map(project)
            .collect::<Result<_, _>>()
            .or_error(ErrorKind::Fatal, failed)?;
        Ok(self)
    }
}

/// The first `limit` events of the source of `loaded`, from the beginning, whatever was read before.
pub async fn first_events(loaded: &Loaded, context: &Context, limit: usize) -> Result<Preview> {
    let store = MemoryStore::new("preview");
    let pipeline = &loaded.pipeline;
    let name = format!("preview-{}", context.randomness.nonce());
    let config = pipeline.source.to_look_at(&name);
    let source =
        sources::open(&config, &pipeline.name, &store, loaded.reads_message, context).await?;
    // A source that never ends is looked at as far as it goes now.
    let ends: BTreeMap<PartitionId, Position> = source.ends().await?.into_iter().collect();
    let mut seen = 0;
    let mut rehearsal = Rehearsal::new(loaded, context)?;
    let mut found = Found { limit, batches: Vec::new(), dead_letters: Vec::new() };
    while found.has_room() && (ends.is_empty() || seen < ends.len()) {
        let starts = match source.next_event().await? {
            SourceEvent::Assigned(starts) => starts,
            SourceEvent::Finished => break,
            SourceEvent::Revoked(_) | SourceEvent::Lost(_) => continue,
        };
        for start in starts {
            seen += 1;
            let end = ends.get(&start.partition);
            let mut at = start.start.clone();
            let mut reader = source.open(&start.partition, &at).await?;
            let stamp = stamp(&start);
            while found.has_room() && end.is_none_or(|end| at < *end) {
                let Some(raw) = reader.next().await? else { break };
                at = raw.range.to.clone();
                found.take(rehearsal.stages(&raw, &stamp).await?)?;
            }
            drop(reader);
            source.ended(&start.partition).await?;
        }
    }
    found.into_preview(loaded)
}

fn stamp(start: &PartitionStart) -> Stamp {
    Stamp {
        stream: start.stream.clone(),
        partition: start.label.clone(),
        versioning: start.versioning,
        first_ordinal: 1,
    }
}

struct Found {
    limit: usize,
    batches: Vec<RecordBatch>,
    dead_letters: Vec<DeadLetter>,
}

impl Found {
    fn has_room(&self) -> bool {
        self.room() > 0
    }

    fn room(&self) -> usize {
        let rows: usize = self.batches.iter().map(RecordBatch::num_rows).sum();
        self.limit.saturating_sub(rows + self.dead_letters.len())
    }

    /// Take events of a batch in their order, as many as there is room for.
    fn take(&mut self, mut batch: Batch) -> Result<()> {
        let room = self.room();
        let mut letters = std::mem::take(&mut batch.rejects);
        letters.sort_by_key(|letter| letter.version);
        let rows = table(batch).or_error(ErrorKind::Fatal, || "cannot show rows".to_owned())?;
        // Refused events and rows by turns, as the source has them: versions rise with positions.
        let versions = rows.column_by_name(crate::event::system::VERSION).cloned();
        let versions = versions.as_ref().and_then(|column| {
            arrow::array::AsArray::as_primitive_opt::<arrow::datatypes::Int64Type>(column)
        });
        let mut shown = 0;
        let mut letters = letters.into_iter().peekable();
        for _ in 0..room {
            let version = versions
                .filter(|_| shown < rows.num_rows())
                .map_or(i64::MAX, |versions| versions.value(shown));
            match letters.next_if(|letter| letter.version < version) {
                Some(letter) => self.dead_letters.push(letter),
                None if shown < rows.num_rows() => shown += 1,
                None => break,
            }
        }
        if shown > 0 {
            self.batches.push(rows.slice(0, shown));
        }
        Ok(())
    }

    fn into_preview(self, loaded: &Loaded) -> Result<Preview> {
        let schema = match self.batches.first() {
            Some(batch) => batch.schema(),
            None => loaded.schema.clone(),
        };
        Ok(Preview { schema, batches: self.batches, dead_letters: self.dead_letters })
    }
}

/// Every row of `batch` with all its columns.
fn table(batch: Batch) -> Result<RecordBatch, ArrowError> {
    let kept = match &batch.kept {
        Some(kept) => BooleanArray::new(kept.clone(), None),
        None => BooleanArray::from(vec![true; batch.len()]),
    };
    let rows = with_system(&SinkRows { batch: Batch { kept: None, ..batch }, withheld: None })?;
    let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    fields.push(Arc::new(Field::new(KEPT, DataType::Boolean, false)));
    columns.push(Arc::new(kept));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
