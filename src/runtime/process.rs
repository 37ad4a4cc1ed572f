//! The process: hands partitions to lanes, and ends when the source has, when it is told to drain,
//! or when a lane cannot go on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tracing::{error, info, warn};

use super::lane::{Lane, LaneEnd, LaneOrder, LaneParts};
use super::swap::Swapped;
use crate::component::checkpoint::Key;
use crate::component::{Control, Owner, PartitionStart, SourceEvent};
use crate::error::{Error, ErrorKind, Result};
use crate::event::PartitionId;
use crate::mutants::{Mutant, planted};

/// How often a partition that waits for its parents is looked at again.
const PARENTS_INTERVAL: Duration = Duration::from_secs(1);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessEnd {
    /// Every partition has been read to its end.
    Finished,
    /// Told to drain; every lane has committed what it had, or given it up.
    Drained,
}

/// Run lanes until the source has ended or `drain` turns true.
///
/// Errors: the first lane's that cannot go on; the others drain before it is returned. A process of
/// a source that nothing assigns and that loses one record ends all its lanes at once, fences
/// nothing again, and fails with `Halted`: the newest run wins.
pub async fn run(parts: LaneParts, drain: watch::Receiver<bool>) -> Result<ProcessEnd> {
    Process {
        parts,
        lanes: JoinSet::new(),
        running: BTreeMap::new(),
        waiting: Vec::new(),
        source_ended: false,
        failure: None,
        draining: false,
    }
    .run(drain)
    .await
}

/// The control record of the pipeline, made where there is none, raised where the contract is
/// another one than the lanes decoded with so far.
pub async fn ensure_control(
    documents: &super::swap::Documents,
    pipeline: &str,
    contract: &str,
) -> Result<Control> {
    loop {
        let held = documents.load::<Control>(&Key::Control).await?;
        let control = match &held {
            Some(held) if held.content.pipeline != pipeline => {
                return Err(Error::halted(format!(
                    "the checkpoint store belongs to pipeline `{}`, this is pipeline `{pipeline}`: give each pipeline a store of its own",
                    held.content.pipeline
                )));
            }
            Some(held) if held.content.contract == contract => return Ok(held.content.clone()),
            Some(held) => Control {
                number: held.content.number + 1,
                contract: contract.to_owned(),
                ..held.content.clone()
            },
            None => Control {
                pipeline: pipeline.to_owned(),
                domain: documents.context.randomness.nonce(),
                number: 1,
                contract: contract.to_owned(),
                tombstones: false,
                places: BTreeSet::new(),
            },
        };
        if let Swapped::Stored(held) = documents.swap(&Key::Control, held.as_ref(), control).await?
        {
            return Ok(held.content);
        }
    }
}

/// Remember where the sinks write. Called before they do for the first time.
pub async fn remember_places(
    documents: &super::swap::Documents,
    places: &BTreeSet<String>,
) -> Result<()> {
    loop {
        let held = documents.load::<Control>(&Key::Control).await?;
        let Some(held) = held.filter(|held| !places.is_subset(&held.content.places)) else {
            return Ok(());
        };
        let mut control = held.content.clone();
        control.number += 1;
        control.places.extend(places.iter().cloned());
        if let Swapped::Stored(_) = documents.swap(&Key::Control, Some(&held), control).await? {
            return Ok(());
        }
    }
}

/// The next run number, of a source that nothing assigns: any older run loses to it.
pub async fn next_run(documents: &super::swap::Documents, owner: &Owner) -> Result<u64> {
    loop {
        let held = documents.load::<Owner>(&Key::Run).await?;
        let run = held.as_ref().map_or(0, |held| held.content.run) + 1;
        let next = Owner { run, ..owner.clone() };
        if let Swapped::Stored(_) = documents.swap(&Key::Run, held.as_ref(), next).await? {
            return Ok(run);
        }
    }
}

/// Returns when `drain` turns true, or when nobody is left to say so.
async fn told(drain: &mut watch::Receiver<bool>) {
    let _ = drain.wait_for(|told| *told).await;
}

struct RunningLane {
    id: Id,
    start: PartitionStart,
    orders: watch::Sender<LaneOrder>,
}

struct Process {
    parts: LaneParts,
    lanes: JoinSet<Result<LaneEnd>>,
    running: BTreeMap<PartitionId, RunningLane>,
    /// Partitions that wait for their parents, or for their own earlier lane to end.
    waiting: Vec<PartitionStart>,
    source_ended: bool,
    failure: Option<Error>,
    draining: bool,
}

impl Process {
    async fn run(mut self, mut drain: watch::Receiver<bool>) -> Result<ProcessEnd> {
        let mut parents = tokio::time::interval(PARENTS_INTERVAL);
        parents.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let source = self.parts.source.clone();
        let mut waits = None;
        loop {
            if self.is_over() {
                return match self.failure {
                    Some(error) => Err(error),
                    None if self.draining => Ok(ProcessEnd::Drained),
                    None => Ok(ProcessEnd::Finished),
                };
            }
            let step = tokio::select! {
                biased;
                () = told(&mut drain), if !self.draining => {
                    self.drain();
                    Ok(())
                }
                Some(ended) = self.lanes.join_next_with_id() => self.lane_ended(ended).await,
                _ = parents.tick(), if !self.waiting.is_empty() && !self.draining => {
                    self.start_waiting().await
                }
                event = source.next_event(), if !self.source_ended && !self.draining => {
                    match event {
                        Ok(event) => {
                            waits = None;
                            self.take(event).await
                        }
                        Err(error) if error.is_retryable() => {
                            warn!(%error, "the source failed, asking again");
                            let metrics = &self.parts.documents.context.metrics;
                            waits.get_or_insert_with(|| metrics.step_waits());
                            tokio::time::sleep(PARENTS_INTERVAL).await;
                            Ok(())
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            if let Err(error) = step {
                self.fail(error);
            }
        }
    }

    fn is_over(&self) -> bool {
        let nothing_follows = self.draining || (self.source_ended && self.waiting.is_empty());
        self.lanes.is_empty() && nothing_follows
    }

    async fn take(&mut self, event: SourceEvent) -> Result<()> {
        let metrics = &self.parts.documents.context.metrics;
        metrics.assigned();
        match event {
            SourceEvent::Assigned(starts) => {
                self.waiting.extend(starts);
                self.start_waiting().await?;
            }
            SourceEvent::Revoked(partitions) => self.order(&partitions, LaneOrder::Drain),
            SourceEvent::Lost(partitions) => {
                metrics.unassigned();
                self.order(&partitions, LaneOrder::Stop);
            }
            SourceEvent::Finished => self.source_ended = true,
        }
        Ok(())
    }

    fn order(&mut self, partitions: &[PartitionId], order: LaneOrder) {
        self.waiting.retain(|start| !partitions.contains(&start.partition));
        for partition in partitions {
            if let Some(lane) = self.running.get(partition) {
                lane.orders.send_replace(order);
            }
        }
    }

    async fn start_waiting(&mut self) -> Result<()> {
        for start in std::mem::take(&mut self.waiting) {
            let runs_already = self.running.contains_key(&start.partition);
            if !runs_already && self.parents_are_done(&start).await? {
                self.start(start);
            } else {
                self.waiting.push(start);
            }
        }
        Ok(())
    }

    /// A child opens only when every parent is closed and finalised: else an older event of a key
    /// could come after a newer one.
    async fn parents_are_done(&self, start: &PartitionStart) -> Result<bool> {
        if planted(Mutant::ChildBeforeParent) {
            return Ok(true);
        }
        for parent in &start.parents {
            let record = self.parts.load_record(parent).await?;
            if !record.is_some_and(|record| record.content.is_finished()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn start(&mut self, start: PartitionStart) {
        let (orders, told) = watch::channel(LaneOrder::Run);
        let lane = Lane::run(self.parts.clone(), start.clone(), told);
        let id = self.lanes.spawn(lane).id();
        self.running.insert(start.partition.clone(), RunningLane { id, start, orders });
    }

    async fn lane_ended(
        &mut self,
        ended: std::result::Result<(Id, Result<LaneEnd>), tokio::task::JoinError>,
    ) -> Result<()> {
        let (id, end) = match ended {
            Ok((id, end)) => (id, end),
            Err(error) => {
                let panicked = Error::fatal("a lane panicked; see the log");
                (error.id(), Err(panicked))
            }
        };
        let running = self.running.iter().find(|(_, lane)| lane.id == id);
        let Some(partition) = running.map(|(partition, _)| partition.clone()) else {
            return Ok(());
        };
        let Some(lane) = self.running.remove(&partition) else { return Ok(()) };
        match end {
            Ok(LaneEnd::Closed) => {
                let children = self.parts.source.ended(&partition).await?;
                // A process that drains takes nothing more on: another one opens the children.
                if !self.draining {
                    self.waiting.extend(children);
                    self.start_waiting().await?;
                }
            }
            Ok(LaneEnd::Released) => {}
            Ok(LaneEnd::Lost) => self.lane_lost(lane),
            Err(error) => self.fail(error.context(format!("lane {partition} stopped"))),
        }
        Ok(())
    }

    /// The record went to another process. Still assigned: fence again, with a pause. Where nothing
    /// assigns, the other run is the newer one.
    fn lane_lost(&mut self, lane: RunningLane) {
        let partition = &lane.start.partition;
        let stopped = *lane.orders.borrow() == LaneOrder::Stop;
        if self.parts.source.still_assigned(partition) && !stopped {
            info!(%partition, "another process took the record, but the partition is ours: fencing again");
            if !self.draining {
                self.waiting.push(lane.start);
            }
            return;
        }
        if self.parts.settings.owner.run > 0 && self.failure.is_none() && !stopped {
            self.failure = Some(Error::halted(format!(
                "taken over: a newer run holds {partition}; this run has stopped and committed nothing after that"
            )));
            self.stop();
        }
    }

    /// Drain because of `error`. Of several the first is returned, but one that asks for an
    /// operator's decision goes before one that does not.
    fn fail(&mut self, error: Error) {
        error!(%error, "draining the other lanes");
        let asks = |error: &Error| error.kind() == ErrorKind::Halted;
        if self.failure.as_ref().is_none_or(|first| asks(&error) && !asks(first)) {
            self.failure = Some(error);
        }
        self.drain();
    }

    fn drain(&mut self) {
        self.draining = true;
        self.waiting.clear();
        for lane in self.running.values() {
            lane.orders.send_if_modified(|order| {
                let goes = *order == LaneOrder::Run;
                if goes {
                    *order = LaneOrder::Drain;
                }
                goes
            });
        }
    }

    fn stop(&mut self) {
        self.draining = true;
        self.waiting.clear();
        for lane in self.running.values() {
            lane.orders.send_replace(LaneOrder::Stop);
        }
    }
}
