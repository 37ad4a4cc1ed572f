//! A lane: one partition in one process, from its fence to its release.
//!
//! The lane knows traits only. Its invariants (`docs/delivery.md` tells why each holds):
//!
//! - nothing is read before the fence has succeeded, and the control record is read after it;
//! - an epoch's files become visible only after the record names them;
//! - an epoch is prepared only when every writer is flushed and the epoch before it is finalised;
//! - what was staged is removed only where no record can name it any more;
//! - the source is advised of finalised epochs only.

mod commit;
mod epoch;
mod feed;
mod fence;
mod lag;
mod outage;
mod settings;

use std::time::Duration;

use arrow::compute::max;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

pub use settings::{CommitPolicy, DecoderFactory, LaneParts, LaneSettings, SinkLine};

use self::epoch::OpenEpoch;
use self::feed::Feed;
use self::outage::Outage;
use super::protocol::{Step, announce};
use super::retry::{Backoff, until_done};
use super::swap::Held;
use crate::component::{Confirmation, Control, EpochId, Gap, PartitionStart, Record};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Position;
use crate::event::flood::FloodGuard;
use crate::mutants::{Mutant, planted};
use crate::telemetry::metrics::LaneMetrics;

/// How often a lane reads the control record.
pub const CONTROL_INTERVAL: Duration = Duration::from_secs(10);
/// How long a finalised epoch may stay unsaid in the record of an idle lane.
const FINALISE_IDLE: Duration = Duration::from_secs(10);

/// What the process tells a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneOrder {
    /// Go on.
    Run,
    /// Cut, commit, release.
    Drain,
    /// Drop everything: another process may hold the partition.
    Stop,
}

/// How a lane ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneEnd {
    /// The partition was read to its end; its record is closed and finalised.
    Closed,
    /// Drained and handed back.
    Released,
    /// Told to stop, or another process took the record.
    Lost,
}

/// Why an epoch is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Its size or age.
    Due,
    /// The partition has ended.
    End,
    /// The control record has changed.
    Control,
    /// The process drains.
    Drain,
}

/// Why a lane leaves what it is doing.
#[derive(Debug)]
enum Stop {
    /// Another process has the record.
    Lost,
    /// The open epoch cannot be finished now: give it up and read it again.
    Redo(Redo),
    /// The lane cannot go on.
    Failed(Error),
}

/// Why an epoch is given up and read again.
#[derive(Debug)]
enum Redo {
    /// A sink held it up, and the control record has changed meanwhile.
    ControlChanged,
    /// A sink failed in a way that a later try may mend.
    Sink(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

type Going<T> = std::result::Result<T, Stop>;

/// One partition in one process, after its fence.
pub struct Lane {
    parts: LaneParts,
    start: PartitionStart,
    record: Held<Record>,
    /// The epoch that the record names as pending is published and verified.
    finalised: bool,
    control: Control,
    orders: watch::Receiver<LaneOrder>,
    last_swap: Instant,
    confirmation: Confirmation,
    metrics: LaneMetrics,
    outage: Outage,
    /// Up to where the lane has taken its partition.
    at: Position,
    /// The newest `_event_time` that it has taken.
    newest: Option<i64>,
    flood: FloodGuard,
    /// Why nothing further can be read, met behind rows that are committed first.
    damage: Option<Error>,
}

impl Lane {
    /// Take the partition of `start` through the whole protocol.
    ///
    /// Errors: `Fatal` and `Halted` as their kind says. The record is left as the last successful
    /// swap wrote it, so the next run goes on from there.
    pub async fn run(
        parts: LaneParts,
        start: PartitionStart,
        orders: watch::Receiver<LaneOrder>,
    ) -> Result<LaneEnd> {
        let mut stop = orders.clone();
        let lane = async {
            let mut lane = Self::take(parts, start, orders).await?;
            // A lane's share of the memory is counted from its fence to its end.
            let _place = lane.parts.documents.context.memory.join();
            lane.recover_and_run().await
        };
        let end = tokio::select! {
            biased;
            () = told_to_stop(&mut stop) => return Ok(LaneEnd::Lost),
            end = lane => end,
        };
        match end {
            Ok(end) => Ok(end),
            Err(Stop::Lost) => Ok(LaneEnd::Lost),
            Err(Stop::Failed(error) | Stop::Redo(Redo::Sink(error))) => Err(error),
            Err(Stop::Redo(Redo::ControlChanged)) => {
                Err(Error::fatal("an epoch was given up twice"))
            }
        }
    }

    /// Fence first; only then look at anything that the fence protects.
    async fn take(
        parts: LaneParts,
        start: PartitionStart,
        orders: watch::Receiver<LaneOrder>,
    ) -> Going<Self> {
        let early = match planted(Mutant::ControlReadBeforeFence) {
            true => Some(parts.load_control().await?),
            false => None,
        };
        let stale = match planted(Mutant::ReadBeforeFence) {
            true => parts.load_record(&start.partition).await?,
            false => None,
        };
        let asked = Instant::now();
        let mut record = fence::fence(&parts, &start).await?;
        if let Some(stale) = stale {
            record.content.next = stale.content.next;
            record.content.ordinal_next = stale.content.ordinal_next;
        }
        let control = match early {
            Some(control) => control,
            None => parts.load_control().await?,
        };
        let metrics = parts.documents.context.metrics.lane(&start.partition);
        metrics.fenced();
        let (source, partition) = (parts.source.clone(), start.partition.clone());
        metrics.watch_source(move || source.is_waiting(&partition));
        let finalised = record.content.pending.is_none();
        let last_swap = Instant::now();
        let at = record.content.next.clone();
        let flood = FloodGuard::new(parts.settings.dead_letter_limit);
        Ok(Self {
            parts,
            start,
            record,
            finalised,
            control,
            orders,
            last_swap,
            confirmation: Confirmation::at(asked),
            metrics,
            outage: Outage::default(),
            at,
            newest: None,
            flood,
            damage: None,
        })
    }

    async fn recover_and_run(&mut self) -> Going<LaneEnd> {
        self.recover().await?;
        if self.record.content.closed {
            return self.close().await;
        }
        self.store_end().await?;
        let Some(mut feed) = self.open_feed().await? else { return self.release().await };
        let mut backoff = Backoff::default();
        loop {
            self.at = self.record.content.next.clone();
            let mut epoch = OpenEpoch::new(self.epoch_id(), self.flood.clone());
            let cut = match self.fill(&mut epoch, &mut feed).await {
                Ok(cut) => cut,
                Err(stop) => {
                    if planted(Mutant::FloodCountsRedo) {
                        self.flood = epoch.flood.clone();
                    }
                    epoch.abandon(&self.parts).await;
                    self.metrics.epoch_closed();
                    self.damage = None;
                    let Stop::Redo(redo) = stop else { return Err(stop) };
                    feed.close().await;
                    self.redo(redo, &mut backoff).await?;
                    let Some(again) = self.open_feed().await? else {
                        return self.release().await;
                    };
                    feed = again;
                    continue;
                }
            };
            backoff = Backoff::default();
            self.flood = epoch.flood.clone();
            self.commit(epoch, cut).await?;
            self.outage.ends(&self.metrics);
            self.metrics.epoch_closed();
            self.store_end().await?;
            if let Some(damage) = self.damage.take() {
                return Err(Stop::Failed(damage));
            }
            match cut {
                Cut::End => return self.close().await,
                Cut::Drain => {
                    feed.close().await;
                    return self.release().await;
                }
                Cut::Control => {
                    self.control = self.parts.load_control().await?;
                    self.store_control().await?;
                }
                Cut::Due if planted(Mutant::EpochNotCutOnControl) => {}
                Cut::Due => self.control = self.parts.load_control().await?,
            }
        }
    }

    /// The reading side; `None` where the lane is told to drain before there is one: a source may
    /// refuse to open what it has taken back.
    async fn open_feed(&mut self) -> Result<Option<Feed>> {
        let (parts, start, record) = (&self.parts, &self.start, &self.record.content);
        tokio::select! {
            biased;
            () = told_to_drain(&mut self.orders) => Ok(None),
            feed = Feed::open(parts, start, record, self.control.number) => feed.map(Some),
        }
    }

    /// Take batches into `epoch` until it has to be cut, and flush its writers then.
    async fn fill(&mut self, epoch: &mut OpenEpoch, feed: &mut Feed) -> Going<Cut> {
        announce(Step::Run, &self.start.partition, self.record.content.token, epoch.id.epoch);
        let cut = self.take_batches(epoch, feed).await?;
        announce(Step::Flush, &self.start.partition, self.record.content.token, epoch.id.epoch);
        let parts = self.parts.clone();
        self.unless_control_changes(epoch.flush(&parts)).await?;
        // Refusals of the flush itself count too.
        self.guard(0, epoch)?;
        if !epoch.is_empty() {
            self.confirm().await?;
        }
        Ok(cut)
    }

    /// What the epoch holds came from what the record names.
    async fn confirm(&self) -> Going<()> {
        let (context, source) = (&self.parts.documents.context, &self.parts.source);
        let partition = &self.start.partition;
        let confirm = || source.confirm(partition);
        self.unless_control_changes(until_done(context, "confirming the source", confirm)).await
    }

    async fn take_batches(&mut self, epoch: &mut OpenEpoch, feed: &mut Feed) -> Going<Cut> {
        self.confirm_where_it_matters().await?;
        let mut control_due = Instant::now() + CONTROL_INTERVAL;
        let commit = self.parts.settings.commit.clone();
        loop {
            if epoch.bytes >= commit.size.bytes() || epoch.is_heavy() {
                return Ok(Cut::Due);
            }
            let age_due = epoch.due(&commit);
            let finalise_due = self.finalise_due();
            tokio::select! {
                biased;
                () = told_to_drain(&mut self.orders) => return Ok(Cut::Drain),
                () = tokio::time::sleep_until(control_due) => {
                    self.show_lag();
                    self.confirm_where_it_matters().await?;
                    if self.control_changed().await? {
                        if !planted(Mutant::ControlAdoptedInOpenEpoch) {
                            return Ok(Cut::Control);
                        }
                        self.control = self.parts.load_control().await?;
                        epoch.id.control = self.control.number;
                    }
                    // Maintenance waits for the number, whether this lane is idle or fills its
                    // epoch slowly: all that was processed under an older one is visible by now.
                    self.store_control().await?;
                    control_due = Instant::now() + CONTROL_INTERVAL;
                }
                () = sleep_until(age_due) => return Ok(Cut::Due),
                () = sleep_until(finalise_due) => self.store_finalised().await?,
                fed = feed.next() => {
                    let fed = match fed {
                        Ok(Some(fed)) => fed,
                        Ok(None) => return Ok(Cut::End),
                        Err(error) => return self.damaged(error, epoch),
                    };
                    let batch = feed.under_control(fed, self.control.number).await?;
                    let events = batch.events;
                    self.newest = self.newest.max(max(&batch.system.event_time));
                    let parts = self.parts.clone();
                    self.unless_control_changes(epoch.write(&parts, batch)).await?;
                    self.metrics.epoch_grew(epoch.events, epoch.bytes);
                    self.at = epoch.to.clone();
                    self.show_lag();
                    self.guard(events, epoch)?;
                    if self.has_reached_end(&epoch.to) && !self.has_reached_end(&epoch.id.from) {
                        return Ok(Cut::Due);
                    }
                }
            }
        }
    }

    /// The source has nothing more that can be read. What came before is committed first; then the
    /// lane halts, or gives the rest up where an operator has decided so.
    fn damaged(&mut self, error: Error, epoch: &OpenEpoch) -> Going<Cut> {
        if error.kind() != ErrorKind::Halted {
            return Err(Stop::Failed(error));
        }
        if self.parts.settings.skip_damaged {
            warn!(partition = %self.start.partition, %error, "the rest of the partition is given up");
            let (from, to) = (epoch.to.clone(), epoch.to.clone());
            let gap = Gap { from, to, reason: error.to_string() };
            if self.record.content.gaps.last() != Some(&gap) {
                self.record.content.gaps.push(gap);
            }
            return Ok(Cut::End);
        }
        if epoch.is_empty() {
            return Err(Stop::Failed(error));
        }
        self.damage = Some(error);
        Ok(Cut::Due)
    }

    /// Stop before Prepare where too many records are refused.
    fn guard(&self, events: u64, epoch: &mut OpenEpoch) -> Going<()> {
        let letters = std::mem::take(&mut epoch.letters_uncounted);
        epoch.letters += letters;
        epoch.flood.record(events, letters).map_err(|flood| {
            Stop::Failed(Error::halted(format!(
                "{} of the last {} records of {} are dead letters, the limit is {}: nothing of this epoch was committed; look at the reasons (`acequia preview`), then mend the contract or raise `dead_letters.limit`",
                flood.letters, flood.records, self.start.partition, flood.limit
            )))
        })
    }

    /// True where `position` lies at the end that the run looks for, or past it.
    fn has_reached_end(&self, position: &Position) -> bool {
        self.parts.ends.get(&self.start.partition).is_some_and(|end| position >= end)
    }

    /// At the end that the run looks for, let the record say at once that everything is finalised.
    async fn store_end(&mut self) -> Going<()> {
        match self.has_reached_end(&self.record.content.next) {
            true => self.store_finalised().await,
            false => Ok(()),
        }
    }

    async fn control_changed(&self) -> Result<bool> {
        if planted(Mutant::EpochNotCutOnControl) {
            return Ok(false);
        }
        Ok(self.parts.load_control().await?.number != self.control.number)
    }

    /// When the record should be told that its last epoch is finalised, if nothing else tells it.
    fn finalise_due(&self) -> Option<Instant> {
        (self.finalised && self.record.content.pending.is_some())
            .then(|| self.last_swap + FINALISE_IDLE)
    }

    fn epoch_id(&self) -> EpochId {
        EpochId {
            pipeline: self.parts.settings.pipeline.clone(),
            domain: self.parts.settings.domain.clone(),
            partition: self.start.partition.clone(),
            token: self.record.content.token,
            epoch: self.record.content.last_epoch() + 1,
            from: self.record.content.next.clone(),
            control: self.control.number,
            tombstones: self.control.tombstones,
            confirmation: self.confirmation.clone(),
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn told_to_drain(orders: &mut watch::Receiver<LaneOrder>) {
    // An error means that the process's side is gone: it ends, and the lane with it.
    let _ = orders.wait_for(|order| *order != LaneOrder::Run).await;
}

async fn told_to_stop(orders: &mut watch::Receiver<LaneOrder>) {
    if orders.wait_for(|order| *order == LaneOrder::Stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
