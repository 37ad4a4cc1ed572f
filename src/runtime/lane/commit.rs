//! The commit of an epoch: prepare, publish, finalise, advise; and what ends a lane.

use std::collections::BTreeMap;

use tokio::time::Instant;
use tracing::warn;

use super::epoch::OpenEpoch;
use super::{Cut, Going, Lane, LaneEnd, LaneParts, Stop};
use crate::component::checkpoint::Key;
use crate::component::{Pending, Published, Record, StagedFile};
use crate::error::{Error, Result};
use crate::event::PartitionId;
use crate::mutants::{Mutant, planted};
use crate::runtime::protocol::{Step, announce};
use crate::runtime::retry::until_done;
use crate::runtime::swap::{Held, Swapped};

impl Lane {
    /// Commit a flushed epoch. Does nothing where the record would say nothing new.
    pub(super) async fn commit(&mut self, epoch: OpenEpoch, cut: Cut) -> Going<()> {
        let record = &self.record.content;
        let says_something = !epoch.is_empty()
            || cut == Cut::End
            || (cut == Cut::Control && epoch.id.control != record.control);
        if !says_something {
            return Ok(());
        }
        let (token, number) = (record.token, epoch.id.epoch);
        let counted = (epoch.events, epoch.rows, epoch.bytes, epoch.letters);
        announce(Step::Prepare, &self.start.partition, token, number);
        if planted(Mutant::PublishBeforePrepare) {
            let early = pending_of(&epoch, record, &self.parts.settings.config_hash);
            publish(&self.parts, &self.start.partition, &early).await?;
        }
        let prepared = self.prepared(&epoch, cut);
        if planted(Mutant::AbortAfterUnclearPrepare) {
            self.prepare_carelessly(prepared, &epoch.files).await?;
        } else {
            self.prepare(prepared, &epoch.files).await?;
        }
        self.count(counted);
        let Some(pending) = self.record.content.pending.clone() else {
            self.finalised = true;
            announce(Step::Advise, &self.start.partition, token, number);
            self.advise().await;
            return Ok(());
        };
        self.finalised = false;
        if planted(Mutant::AdviseBeforePublish) {
            self.advise().await;
        }
        announce(Step::Publish, &self.start.partition, token, number);
        publish(&self.parts, &self.start.partition, &pending).await?;
        announce(Step::Finalise, &self.start.partition, token, number);
        self.finalised = true;
        let bytes = pending.files.iter().map(|file| file.bytes).sum();
        self.metrics.published(pending.files.len() as u64, bytes);
        announce(Step::Advise, &self.start.partition, token, number);
        self.advise().await;
        Ok(())
    }

    fn count(&self, (events, rows, bytes, letters): (u64, u64, u64, u64)) {
        self.metrics.events(events);
        self.metrics.rows(rows);
        self.metrics.bytes(bytes);
        self.metrics.dead_letters(letters);
        self.metrics.epoch_committed();
    }

    /// The record as Prepare writes it. The epoch before is finalised: publishing it was awaited.
    fn prepared(&self, epoch: &OpenEpoch, cut: Cut) -> Record {
        let old = &self.record.content;
        let mut new = old.clone();
        new.next = epoch.to.clone();
        if !planted(Mutant::OrdinalNotStored) {
            new.ordinal_next += i64::try_from(epoch.events).unwrap_or(i64::MAX);
        }
        new.control = epoch.id.control;
        new.closed = cut == Cut::End;
        new.done = old.last_epoch();
        new.pending = None;
        if !epoch.files.is_empty() {
            new.pending = Some(pending_of(epoch, old, &self.parts.settings.config_hash));
        } else if !epoch.is_empty() {
            new.done = epoch.id.epoch;
        }
        new
    }

    /// The commit point. Where the record turns out to be another's, staged files are removed only
    /// if a record with a higher token stands that does not name them: until then our own write
    /// may still land.
    async fn prepare(&mut self, record: Record, files: &[StagedFile]) -> Going<()> {
        let key = Key::Record(self.start.partition.clone());
        let (token, asked) = (record.token, Instant::now());
        match self.parts.documents.swap(&key, Some(&self.record), record).await? {
            Swapped::Stored(held) => {
                self.record = held;
                self.last_swap = Instant::now();
                self.confirmation.confirm(asked);
                Ok(())
            }
            Swapped::Lost(current) => {
                let unnamed = current.is_some_and(|current| {
                    current.content.token > token && !names_any(&current.content, files)
                });
                if unnamed {
                    discard(&self.parts, files).await;
                }
                Err(Stop::Lost)
            }
        }
    }

    /// The mutant's Prepare: an unclear answer is taken for a failure and the files go.
    async fn prepare_carelessly(&mut self, record: Record, files: &[StagedFile]) -> Going<()> {
        use crate::component::checkpoint::{Document, Expected, Revision};
        let key = Key::Record(self.start.partition.clone());
        let revision = Revision {
            seq: self.record.revision.seq + 1,
            nonce: self.parts.documents.context.randomness.nonce(),
        };
        let expected = Expected::Write {
            revision: self.record.revision.clone(),
            tag: self.record.tag.clone(),
        };
        let body = Document::new(revision.clone(), record.clone()).encode()?;
        let answer = self.parts.documents.store.swap(&key, &expected, &revision, body).await;
        if !matches!(answer, Ok(crate::component::SwapAnswer::Stored { .. })) {
            discard(&self.parts, files).await;
            return Err(Stop::Lost);
        }
        self.record = Held { content: record, revision, tag: None };
        Ok(())
    }

    /// Say in the record that the last epoch is finalised.
    pub(super) async fn store_finalised(&mut self) -> Going<()> {
        let mut record = self.record.content.clone();
        if !self.finalised || record.pending.is_none() {
            return Ok(());
        }
        record.done = record.last_epoch();
        record.pending = None;
        self.prepare(record, &[]).await
    }

    /// Store the present control number by an empty epoch.
    pub(super) async fn store_control(&mut self) -> Going<()> {
        let mut record = self.record.content.clone();
        if record.control == self.control.number || !self.finalised {
            return Ok(());
        }
        record.done = record.last_epoch();
        record.pending = None;
        record.control = self.control.number;
        self.prepare(record, &[]).await
    }

    /// Raise the token under which this lane goes on, and store the present control number: what an
    /// epoch that was given up has left behind is then of an older token, and a sweep may take it.
    pub(super) async fn fence_again(&mut self) -> Going<()> {
        let mut record = self.record.content.clone();
        record.token += 1;
        record.done = record.last_epoch();
        record.pending = None;
        record.control = self.control.number;
        self.prepare(record, &[]).await
    }

    /// The partition was read to its end: let the record say that it is closed and finalised.
    pub(super) async fn close(&mut self) -> Going<LaneEnd> {
        self.store_finalised().await?;
        Ok(LaneEnd::Closed)
    }

    /// Hand the partition back.
    pub(super) async fn release(&mut self) -> Going<LaneEnd> {
        let record = &self.record.content;
        announce(Step::Release, &self.start.partition, record.token, record.last_epoch());
        self.store_finalised().await?;
        Ok(LaneEnd::Released)
    }

    /// Tell the source how far everything is visible. Advice may fail: it decides nothing.
    pub(super) async fn advise(&mut self) {
        let done = self.record.content.next.clone();
        if let Err(error) = self.parts.source.advise(&self.start.partition, &done).await {
            warn!(partition = %self.start.partition, %error, "the source did not take the advice");
        }
    }
}

fn pending_of(epoch: &OpenEpoch, old: &Record, config_hash: &str) -> Pending {
    Pending {
        epoch: epoch.id.epoch,
        from: epoch.id.from.clone(),
        to: epoch.to.clone(),
        ordinal_from: old.ordinal_next,
        config_hash: config_hash.to_owned(),
        files: epoch.files.clone(),
    }
}

fn names_any(record: &Record, files: &[StagedFile]) -> bool {
    let named = record.pending.iter().flat_map(|pending| &pending.files);
    named.into_iter().any(|named| files.iter().any(|file| file.nonce == named.nonce))
}

fn by_sink(files: &[StagedFile]) -> BTreeMap<&str, Vec<StagedFile>> {
    let mut groups: BTreeMap<&str, Vec<StagedFile>> = BTreeMap::new();
    for file in files {
        groups.entry(&file.sink).or_default().push(file.clone());
    }
    groups
}

/// Make every file of a pending epoch visible, however long it takes.
pub(in crate::runtime) async fn publish(
    parts: &LaneParts,
    partition: &PartitionId,
    pending: &Pending,
) -> Result<()> {
    for (name, files) in by_sink(&pending.files) {
        let sink = parts.sink(name).ok_or_else(|| {
            Error::halted(format!(
                "epoch {} of {partition} has files of sink `{name}`, which the pipeline no longer has: run once with the sink in its place, then remove it",
                pending.epoch
            ))
        })?;
        let published =
            until_done(&parts.documents.context, "publishing", || sink.publish(&files)).await?;
        if let Published::Lost { key, reason } = published {
            return Err(Error::halted(format!(
                "file {key} of epoch {} of {partition} (positions {} to {}) is lost: {reason}; see `acequia checkpoint accept lost-file --help`",
                pending.epoch, pending.from, pending.to
            )));
        }
    }
    Ok(())
}

pub(super) async fn discard(parts: &LaneParts, files: &[StagedFile]) {
    for (name, files) in by_sink(files) {
        let Some(sink) = parts.sink(name) else { continue };
        if let Err(error) = sink.discard(&files).await {
            warn!(sink = name, %error, "staged files are left for the sweep");
        }
    }
}
