//! The feed of a lane: reads, decodes and transforms ahead of the writers.
//!
//! One task per lane, one batch ahead, so that the next batch is decoded while the present one is
//! written. Every batch carries the control number that it was processed under; a batch that was
//! processed under an older one is processed again from its source bytes.

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::LaneParts;
use crate::component::decoder::{Decoder, Stamp};
use crate::component::source::RawBatch;
use crate::component::{PartitionReader, PartitionStart, Record, Transform};
use crate::compute;
use crate::error::{Error, Result};
use crate::event::Batch;
use crate::mutants::{Mutant, planted};

/// A batch with what it takes to process it again.
pub(super) struct Fed {
    raw: RawBatch,
    stamp: Stamp,
    control: u64,
    batch: Batch,
}

/// The reading side of a lane.
pub(super) struct Feed {
    /// `None` says that the partition has ended: silence never does.
    batches: mpsc::Receiver<Result<Option<Fed>>>,
    control: watch::Sender<u64>,
    task: Option<JoinHandle<()>>,
    parts: LaneParts,
}

impl Feed {
    /// Open the partition at the record's position. Called after the fence, never before it.
    pub(super) async fn open(
        parts: &LaneParts,
        start: &PartitionStart,
        record: &Record,
        number: u64,
    ) -> Result<Self> {
        let reader = crate::runtime::retry::until_done(
            &parts.documents.context,
            "opening a partition",
            || parts.source.open(&start.partition, &record.next),
        )
        .await?;
        let stamp = Stamp {
            stream: start.stream.clone(),
            partition: record.label.as_deref().map_or_else(|| start.label.clone(), Into::into),
            versioning: start.versioning.raised_by(record.version_base),
            first_ordinal: record.ordinal_next,
        };
        let (sender, batches) = mpsc::channel(1);
        let (control, seen) = watch::channel(number);
        let reading = read_ahead(parts.clone(), reader, stamp, seen, sender);
        Ok(Self { batches, control, task: Some(tokio::spawn(reading)), parts: parts.clone() })
    }

    /// The next batch; `None` at the end of the partition. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Fed>> {
        let ended = || Err(Error::fatal("the reading side of a lane ended before its partition"));
        if planted(Mutant::DeadFeedIsTheEnd) {
            return self.batches.recv().await.unwrap_or(Ok(None));
        }
        self.batches.recv().await.unwrap_or_else(ended)
    }

    /// The batch as control number `number` wants it.
    pub(super) async fn under_control(&mut self, fed: Fed, number: u64) -> Result<Batch> {
        self.control.send_replace(number);
        if fed.control == number || planted(Mutant::StaleReadAheadKept) {
            return Ok(fed.batch);
        }
        let decoder = (self.parts.decoder)();
        let (_, batch) = process(&self.parts, decoder, &fed.raw, &fed.stamp).await?;
        Ok(batch)
    }

    /// Stop reading and wait until the reader is dropped, which hands the partition back.
    pub(super) async fn close(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // It was cancelled, or had ended: either way the reader is gone.
            let _ = task.await;
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn read_ahead(
    parts: LaneParts,
    mut reader: Box<dyn PartitionReader>,
    mut stamp: Stamp,
    control: watch::Receiver<u64>,
    sender: mpsc::Sender<Result<Option<Fed>>>,
) {
    let mut decoder = (parts.decoder)();
    loop {
        let raw =
            match crate::runtime::retry::until_read(&parts.documents.context, &mut reader).await {
                Ok(Some(raw)) => raw,
                Ok(None) => {
                    // A closed channel means that the lane has ended and wants nothing more.
                    let _ = sender.send(Ok(None)).await;
                    return;
                }
                Err(error) => {
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            };
        let number = *control.borrow();
        match process(&parts, decoder, &raw, &stamp).await {
            Ok((returned, batch)) => {
                decoder = returned;
                let next_ordinal =
                    stamp.first_ordinal + i64::try_from(batch.events).unwrap_or(i64::MAX);
                let fed = Fed { raw, stamp: stamp.clone(), control: number, batch };
                stamp.first_ordinal = next_ordinal;
                if sender.send(Ok(Some(fed))).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
    }
}

/// Decode `raw` and take it through every stage.
async fn process(
    parts: &LaneParts,
    mut decoder: Box<dyn Decoder>,
    raw: &RawBatch,
    stamp: &Stamp,
) -> Result<(Box<dyn Decoder>, Batch)> {
    let (raw, stamp) = (raw.clone(), stamp.clone());
    let (decoder, batch) = compute::run(&parts.documents.context.compute, move || {
        let batch = decoder.decode(&raw, &stamp);
        (decoder, batch)
    })
    .await?;
    let mut batch = batch?;
    for transform in parts.transforms.iter() {
        batch = apply(transform.as_ref(), &parts.documents.context, batch).await?;
    }
    Ok((decoder, batch))
}

async fn apply(
    transform: &dyn Transform,
    context: &crate::component::Context,
    batch: Batch,
) -> Result<Batch> {
    let rows = batch.len();
    let rejects = batch.rejects.len();
    let after = crate::runtime::retry::until_done(context, "a transform", || {
        transform.apply(batch.clone())
    })
    .await?;
    if after.len() + after.rejects.len() != rows + rejects {
        return Err(Error::fatal(format!(
            "a transform turned {rows} rows into {} and {} dead letters: it may refuse rows, never drop or add any",
            after.len(),
            after.rejects.len() - rejects
        )));
    }
    Ok(after)
}
