//! Takes the rows of one epoch.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use super::Shared;
use super::store::{Change, Reached, Store};
use crate::component::{EpochId, EpochWriter, Flushed};
use crate::compute;
use crate::error::{Error, Result};
use crate::event::filter::SinkRows;
use crate::event::{Batch, DeadLetter, PartitionId, Position, Stage};
use crate::sinks::documents::{Documents, Fate, id_of, system_columns};

/// The epoch should end soon where so many bytes are kept until the commit.
const HEAVY_BYTES: usize = 32 << 20;

/// Flushes that wait for a commit. One commit serves all that wait when it begins.
#[derive(Default)]
pub(super) struct Waiting {
    /// The last ticket that was given.
    ticket: u64,
    entries: Vec<Entry>,
}

/// What a flush wants the commit to say.
struct Entry {
    partition: PartitionId,
    reached: Reached,
    generation: u64,
}

/// Takes the rows of one epoch of one lane.
pub(super) struct IndexWriter {
    shared: Arc<Shared>,
    partition: PartitionId,
    reached: Reached,
    /// The store's, when the epoch began: under another one its rows may be lost.
    generation: u64,
    rows: u64,
}

impl IndexWriter {
    pub(super) fn new(shared: Arc<Shared>, epoch: &EpochId, generation: u64) -> Self {
        let reached = Reached { position: epoch.from.clone(), epoch: epoch.epoch };
        Self { shared, partition: epoch.partition.clone(), reached, generation, rows: 0 }
    }
}

#[async_trait]
impl EpochWriter for IndexWriter {
    async fn write(&mut self, rows: SinkRows) -> Result<Vec<DeadLetter>> {
        let batch = rows.batch;
        self.rows += batch.len() as u64;
        let shared = self.shared.clone();
        let (changes, letters) =
            compute::run(&self.shared.context.compute, move || changes(&shared, &batch)).await??;
        let generation = self.generation;
        self.shared
            .with_store(move |store| {
                is_of(store, generation)?;
                store.apply(changes)
            })
            .await?;
        Ok(letters)
    }

    fn reach(&mut self, position: &Position) {
        self.reached.position = position.clone();
    }

    fn is_heavy(&self) -> bool {
        self.shared.fresh_bytes.load(Ordering::Relaxed) > HEAVY_BYTES
    }

    async fn flush(self: Box<Self>) -> Result<Flushed> {
        let ticket = {
            let mut waiting = self.shared.waiting();
            waiting.ticket += 1;
            let (partition, reached) = (self.partition.clone(), self.reached.clone());
            let generation = self.generation;
            waiting.entries.push(Entry { partition, reached, generation });
            waiting.ticket
        };
        let (shared, generation) = (self.shared.clone(), self.generation);
        self.shared
            .with_store(move |store| {
                is_of(store, generation)?;
                if store.done >= ticket {
                    return Ok(());
                }
                let (last, entries) = {
                    let mut waiting = shared.waiting();
                    (waiting.ticket, std::mem::take(&mut waiting.entries))
                };
                let entries = entries.into_iter().filter(|entry| entry.generation == generation);
                store.commit(entries.map(|entry| (entry.partition, entry.reached)).collect())?;
                store.done = last;
                Ok(())
            })
            .await?;
        Ok(Flushed { rows: self.rows, ..Flushed::default() })
    }

    async fn abandon(self: Box<Self>) {}
}

/// What was written under another generation may be lost.
fn is_of(store: &Store, generation: u64) -> Result<()> {
    match store.generation == generation {
        true => Ok(()),
        false => Err(Error::retryable(
            "the index was opened anew after a failure: the epoch's rows are written again",
        )),
    }
}

/// What becomes of the document of each row, and the letters of rows that no document can hold.
fn changes(shared: &Shared, batch: &Batch) -> Result<(Vec<Change>, Vec<DeadLetter>)> {
    let failed = |cause| Error::fatal("cannot write rows as documents").caused_by(cause);
    let documents = Documents::of(batch, system_columns(batch, &shared.system));
    let mut encoder = documents.encoder().map_err(failed)?;
    let rows = shared.fields.rows(documents.columns());
    let (mut changes, mut letters) = (Vec::with_capacity(batch.len()), Vec::new());
    let mut source = Vec::new();
    for row in 0..batch.len() {
        let id = id_of(batch.system.key.value(row));
        let version = batch.system.version.value(row);
        source.clear();
        let document = match Fate::of(batch.system.op.value(row), shared.expire_deletes) {
            Fate::Keep => continue,
            Fate::Delete => shared.fields.tombstone(&id, version),
            Fate::Index => {
                encoder.write(row, &mut source);
                match shared.fields.document(&id, version, &source, &rows, row) {
                    Ok(document) => document,
                    Err(reason) => {
                        let stage = Stage::Sink(shared.name.clone());
                        letters.push(batch.letter(stage, row, reason));
                        continue;
                    }
                }
            }
        };
        changes.push(Change { id: id.into(), version, document, bytes: source.len() });
    }
    Ok((changes, letters))
}
