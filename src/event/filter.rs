//! What a filtered row becomes for a sink: nothing, itself, or a delete of its key.
//!
//! A filter must leave no stale row behind in a store that keeps one document per key, so a row
//! that is no longer kept is a delete there, unless nothing can ever have been written for it.

use arrow::array::{BooleanArray, StringViewArray};
use arrow::buffer::BooleanBuffer;
use arrow::error::ArrowError;

use super::batch::Batch;
use super::operation::Operation;
use crate::mutants::{Mutant, planted};

/// The rows that one sink writes.
#[derive(Debug, Clone)]
pub struct SinkRows {
    /// The rows, `kept` spent: every one of them is to be written, under its `_op`.
    pub batch: Batch,
    /// True where a filter turned the row into a delete: only its key columns and system columns
    /// may be written, in the Hive partition of the row it stands for. `None` where there is none.
    pub withheld: Option<BooleanBuffer>,
}

/// How a sink reads filtered rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilterRule {
    /// A sink with one state per key (lake, documents): see [`rows_for_sink`].
    Keyed,
    /// A sink that keeps a log of messages: only rows of which the filter is true.
    Log,
}

/// Resolve the filters of `batch` for one sink.
///
/// For a keyed sink: deletes and expires pass as what they are; an insert that is not kept becomes
/// nothing; any other row that is not kept becomes a delete of its key at its version, unless the
/// filters were not true of the image before it either, when nothing can be there to delete. With
/// `replay` neither exception holds: the row becomes a delete.
pub fn rows_for_sink(batch: Batch, rule: FilterRule, replay: bool) -> Result<SinkRows, ArrowError> {
    let Some(kept) = batch.kept.clone() else {
        return Ok(SinkRows { batch, withheld: None });
    };
    if kept.count_set_bits() == batch.len() {
        return Ok(SinkRows { batch: Batch { kept: None, ..batch }, withheld: None });
    }
    if rule == FilterRule::Log {
        let batch = batch.retain(&BooleanArray::new(kept, None))?;
        return Ok(SinkRows { batch: Batch { kept: None, ..batch }, withheld: None });
    }
    let mut write = Vec::with_capacity(batch.len());
    let mut withheld = Vec::with_capacity(batch.len());
    for row in 0..batch.len() {
        let op = batch.system.op.value(row);
        let removes = Operation::word_removes(op);
        let (writes, withholds) = if planted(Mutant::FilteredExpireDeletes)
            && op == Operation::Expire.as_str()
            && !kept.value(row)
        {
            (true, true)
        } else if removes || kept.value(row) {
            (true, false)
        } else if replay {
            (true, true)
        } else {
            let was_written =
                op != Operation::Insert.as_str() && may_have_been_written(&batch, row);
            (was_written, was_written)
        };
        write.push(writes);
        if writes {
            withheld.push(withholds);
        }
    }
    let mut batch = batch.retain(&BooleanArray::from(write))?;
    let withheld = BooleanBuffer::from(withheld);
    batch.kept = None;
    batch.before = None;
    if withheld.count_set_bits() == 0 {
        return Ok(SinkRows { batch, withheld: None });
    }
    batch.system.op = StringViewArray::from_iter_values((0..batch.len()).map(|row| {
        if withheld.value(row) { Operation::Delete.as_str() } else { batch.system.op.value(row) }
    }));
    Ok(SinkRows { batch, withheld: Some(withheld) })
}

/// False only where the image before the change is known and the filters were not true of it.
fn may_have_been_written(batch: &Batch, row: usize) -> bool {
    match &batch.before {
        Some(before) if before.present.value(row) => {
            before.kept.as_ref().is_none_or(|kept| kept.value(row))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
