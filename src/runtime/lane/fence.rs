//! Fence and recover: take the record, then finish what it names.

use tokio::time::Instant;
use tracing::debug;

use super::commit::publish;
use super::settings::SinkLine;
use super::{CONTROL_INTERVAL, Going, Lane, LaneParts, Stop};
use crate::component::checkpoint::Key;
use crate::component::decoder::Versioning;
use crate::component::{PartitionStart, Record, SinkKind};
use crate::error::{Error, Result};
use crate::mutants::{Mutant, planted};
use crate::runtime::protocol::{Step, announce};
use crate::runtime::retry::Backoff;
use crate::runtime::swap::{Held, Swapped};

/// Raise the token of the partition's record, making the record where there is none.
///
/// A conflict with the progress of an older holder is tried again. A conflict with another fence is
/// tried again only while the source still assigns the partition to this process; and a record
/// that a newer run holds is never taken from it.
pub(super) async fn fence(parts: &LaneParts, start: &PartitionStart) -> Going<Held<Record>> {
    let key = Key::Record(start.partition.clone());
    let mut backoff = Backoff::default();
    loop {
        let held = parts.load_record(&start.partition).await?;
        let record = match &held {
            None => first_record(parts, start, first_ordinal(parts, start).await?),
            Some(held) => {
                check(parts, start, &held.content)?;
                if held
                    .content
                    .owner
                    .as_ref()
                    .is_some_and(|owner| owner.run > parts.settings.owner.run)
                {
                    return Err(Stop::Lost);
                }
                let mut record = held.content.clone();
                if !planted(Mutant::NoFence) {
                    record.token += 1;
                }
                record.owner = Some(parts.settings.owner.clone());
                record
            }
        };
        announce(Step::Fence, &start.partition, record.token, record.last_epoch());
        if let (true, Some(held)) = (planted(Mutant::NoFence), &held) {
            return Ok(held.clone());
        }
        let token_seen = held.as_ref().map_or(0, |held| held.content.token);
        match parts.documents.swap(&key, held.as_ref(), record).await? {
            Swapped::Stored(held) => return Ok(held),
            Swapped::Lost(current) => {
                let token_now = current.map_or(0, |current| current.content.token);
                let fenced_by_another = token_now > token_seen;
                if fenced_by_another
                    && parts.settings.owner.run == 0
                    && !parts.source.still_assigned(&start.partition)
                {
                    return Err(Stop::Lost);
                }
                debug!(partition = %start.partition, "another process changed the record during the fence");
                backoff.pause(&parts.documents.context).await;
            }
        }
    }
}

/// The first ordinal of a partition without a record. A child goes on above its parents. A root
/// takes the clock, which makes the number readable, and stays above every record of the pipeline,
/// closed ones included, which makes it right.
async fn first_ordinal(parts: &LaneParts, start: &PartitionStart) -> Result<i64> {
    if start.versioning != Versioning::Ordinal {
        return Ok(0);
    }
    let root = start.parents.is_empty();
    let above = match root {
        true => parts.documents.partitions().await?,
        false => start.parents.clone(),
    };
    let mut first = 1;
    for partition in above {
        if let Some(held) = parts.load_record(&partition).await? {
            first = first.max(held.content.ordinal_next);
        }
    }
    if root {
        let millis = parts.documents.context.clock.now_micros() / 1000;
        first = first.max(millis.max(0).saturating_mul(1 << 20));
    }
    Ok(first)
}

fn first_record(parts: &LaneParts, start: &PartitionStart, ordinal: i64) -> Record {
    Record {
        pipeline: parts.settings.pipeline.clone(),
        partition: start.partition.clone(),
        domain: parts.settings.domain.clone(),
        store: parts.settings.store.clone(),
        token: 1,
        control: 0,
        owner: Some(parts.settings.owner.clone()),
        source: start.identity.clone(),
        start: start.start.clone(),
        next: start.start.clone(),
        ordinal_next: ordinal,
        done: 0,
        pending: None,
        gaps: Vec::new(),
        closed: false,
        version_base: 0,
        label: None,
    }
}

/// A record that belongs to something else is never used.
fn check(parts: &LaneParts, start: &PartitionStart, record: &Record) -> Result<()> {
    let settings = &parts.settings;
    let differs = |what: &str, ours: &str, theirs: &str| {
        Error::halted(format!(
            "the checkpoint record of {} belongs to {what} `{theirs}`, this run is {what} `{ours}`: the checkpoint store was restored from a copy or is shared by mistake",
            start.partition
        ))
    };
    if record.pipeline != settings.pipeline {
        return Err(differs("pipeline", &settings.pipeline, &record.pipeline));
    }
    if record.domain != settings.domain {
        return Err(differs("version domain", &settings.domain, &record.domain));
    }
    if record.store != settings.store {
        return Err(differs("checkpoint store", &settings.store, &record.store));
    }
    if record.source != start.identity {
        return Err(Error::halted(format!(
            "the source of {} is not the one that its checkpoint record was made for: record says {}, source says {}; `acequia checkpoint accept --help` shows the ways on",
            start.partition, record.source, start.identity
        )));
    }
    Ok(())
}

impl Lane {
    /// See that the record is still this lane's.
    pub(super) async fn confirm_token(&self) -> Going<()> {
        let asked = Instant::now();
        let current = self.parts.load_record(&self.start.partition).await?;
        match current.is_some_and(|current| current.revision == self.record.revision) {
            true => {
                self.confirmation.confirm(asked);
                Ok(())
            }
            false => Err(Stop::Lost),
        }
    }

    /// The same where a sink sends to a store that cannot refuse an older holder, unless it was seen a
    /// moment ago.
    pub(super) async fn confirm_where_it_matters(&self) -> Going<()> {
        let is_versioned = |line: &SinkLine| line.sink.kind() == SinkKind::Versioned;
        let is_due = self.confirmation.age() >= CONTROL_INTERVAL / 2;
        match is_due && self.parts.sinks.iter().any(is_versioned) {
            true => self.confirm_token().await,
            false => Ok(()),
        }
    }

    /// Finish the epoch that the record names as pending.
    pub(super) async fn recover(&mut self) -> Going<()> {
        let record = &self.record.content;
        announce(Step::Recover, &self.start.partition, record.token, record.last_epoch());
        let Some(pending) = record.pending.clone() else { return Ok(()) };
        if planted(Mutant::RecoverIgnoresPending) {
            self.finalised = true;
            return Ok(());
        }
        publish(&self.parts, &self.start.partition, &pending).await?;
        self.finalised = true;
        self.advise().await;
        Ok(())
    }
}
