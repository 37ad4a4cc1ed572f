//! The processes of a simulated run: how each is put together, joins, dies, ends, and is judged.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::checker;
use super::doubles::{KeepSome, LineDecoder, SimulatedSource};
use super::faults::{Link, LinkedStore};
use super::scenario::{Fate, Scenario};
use super::sinks::{DocSink, LineSink};
use super::staging::LinkedStaging;
use super::world::Member;
use crate::component::{Context, Decoder, Owner, Sink, Transform};
use crate::error::{ErrorKind, Result};
use crate::runtime::lane::{CommitPolicy, LaneParts, LaneSettings, SinkLine};
use crate::runtime::process::{self, ProcessEnd, next_run};
use crate::runtime::swap::Documents;
use crate::units::{ByteSize, Interval};

pub(super) fn owner(process: u32) -> Owner {
    Owner { uuid: format!("process-{process}"), task: format!("p{process}"), run: 0 }
}

pub(super) struct Running {
    pub(super) task: JoinHandle<Result<ProcessEnd>>,
    pub(super) drain: watch::Sender<bool>,
}

impl Scenario {
    pub(super) fn documents(&self, process: u32) -> Documents {
        let link = Link { world: self.world.clone(), process };
        let context = Context {
            // One hour apart: the clocks of two processes never agree.
            clock: Arc::new(SkewedClock(i64::from(process) * 3_600_000_000)),
            ..crate::testing::context(self.plan.seed * 1000 + u64::from(process))
        };
        Documents { store: Arc::new(LinkedStore(link)), context }
    }

    /// A process starts. Where nothing assigns it takes over from the one before it.
    pub(super) async fn join(&mut self, domain: &str) {
        let process = self.next;
        self.next += 1;
        let member = self.fate_of(process);
        self.world.state().members.insert(process, member);
        let (drain, told) = watch::channel(false);
        let grouped = self.world.state().grouped;
        let mut owner = owner(process);
        if !grouped {
            owner.run = next_run(&self.documents(99), &owner).await.unwrap();
            let before = std::mem::replace(&mut self.world.state().newest, process);
            if let Some(before) = self.world.state().members.get_mut(&before) {
                // It loses its records at once, and whatever it has staged stays.
                before.mishap |= before.alive;
            }
            self.world.assign_all(process);
        }
        self.world.note(|| format!("p{process} joins as run {}", owner.run));
        let parts = self.parts(process, owner, domain);
        let task = tokio::spawn(process::run(parts, told));
        self.processes.insert(process, Running { task, drain });
    }

    /// What is to befall a new process: what the plan says, or now and then a bad end among its
    /// first calls, when it recovers what another has left.
    fn fate_of(&self, process: u32) -> Member {
        let (plan, world) = (&self.plan, &self.world);
        let mut member = Member { alive: true, ..Member::default() };
        let planned = match process {
            0 => plan.at,
            1 => plan.then,
            _ => None,
        };
        if world.state().calm {
            return member;
        }
        if let Some(call) = planned {
            match plan.fate {
                Fate::Crash => member.crash_at = Some(call),
                Fate::Freeze => member.freeze_at = Some(call),
                Fate::PowerFailure => member.power_at = Some(call),
            }
        }
        let luck = world.draw(0..100);
        let call = Some(world.draw(1..80));
        let gentle = world.state().gentle;
        match luck {
            _ if gentle || planned.is_some() || process == 0 => {}
            0..15 => member.crash_at = call,
            15..25 => member.freeze_at = call,
            25..30 => member.power_at = call,
            _ => {}
        }
        member
    }

    pub(super) fn parts(&self, process: u32, owner: Owner, domain: &str) -> LaneParts {
        let link = Link { world: self.world.clone(), process };
        let staged = |staging, name| -> Arc<dyn Sink> {
            let staging = Arc::new(LinkedStaging::new(staging, &link));
            Arc::new(LineSink { name, link: link.clone(), staging })
        };
        let lake = staged(&self.world.lake, "lake");
        let narrow = staged(&self.world.narrow, "narrow");
        let letters = staged(&self.world.letters, "dead_letters");
        let line = |sink| SinkLine { filter: None, sink };
        let keep = |divisor| Arc::new(KeepSome(divisor)) as Arc<dyn Transform>;
        let world = self.world.clone();
        let letters_most = world.state().letters_most;
        let commit = match world.state().slow_commits {
            false => CommitPolicy {
                every: Interval::seconds(2),
                size: ByteSize(900),
                min_size: ByteSize(200),
                max_age: Interval::seconds(6),
            },
            true => CommitPolicy {
                every: Interval::seconds(15),
                size: ByteSize(2500),
                min_size: ByteSize(200),
                max_age: Interval::seconds(30),
            },
        };
        LaneParts {
            settings: Arc::new(LaneSettings {
                pipeline: "simulated".to_owned(),
                domain: domain.to_owned(),
                store: "simulated".to_owned(),
                config_hash: String::new(),
                commit,
                contract: "contract".into(),
                skip_damaged: false,
                dead_letter_limit: letters_most,
                owner,
            }),
            source: Arc::new(SimulatedSource(link.clone())),
            decoder: Arc::new(move || Box::new(LineDecoder(world.clone())) as Box<dyn Decoder>),
            transforms: Arc::from([keep(4)]),
            sinks: Arc::from([
                line(lake),
                SinkLine { filter: Some(keep(3)), sink: narrow },
                line(Arc::new(DocSink(link))),
            ]),
            dead_letters: letters,
            ends: Arc::default(),
            documents: self.documents(process),
        }
    }

    /// Look after processes that died or ended; start others in their place.
    pub(super) async fn reap(&mut self, domain: &str) {
        let dead: Vec<u32> = {
            let state = self.world.state();
            let gone = |id: &u32| state.members.get(id).is_some_and(|member| !member.alive);
            self.processes.keys().copied().filter(gone).collect()
        };
        for id in dead {
            if let Some(running) = self.processes.remove(&id) {
                running.task.abort();
                let _ = running.task.await;
            }
            self.world.rebalance();
        }
        let ended: Vec<u32> = self
            .processes
            .iter()
            .filter(|(_, running)| running.task.is_finished())
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            let Some(running) = self.processes.remove(&id) else { continue };
            self.judge(id, running.task.await);
            // Who ends leaves the group, for whatever reason.
            self.world.rebalance();
        }
        let grouped = self.world.state().grouped;
        let newest_is_gone = !grouped && !self.processes.contains_key(&self.world.state().newest);
        let lonely = grouped && self.processes.len() < 2 && self.world.chance(0.1);
        // A run that has finished is seldom followed by another, which finds nothing to do.
        let done = checker::source_has_ended(&self.world) && !self.world.chance(0.05);
        if (self.processes.is_empty() || newest_is_gone || lonely) && !done {
            self.join(domain).await;
            self.world.rebalance();
        }
    }

    pub(super) fn judge(
        &self,
        id: u32,
        end: std::result::Result<Result<ProcessEnd>, tokio::task::JoinError>,
    ) {
        match end {
            Ok(Ok(ProcessEnd::Drained)) if self.was_told_to_drain(id) => {}
            Ok(Ok(ProcessEnd::Drained)) => {
                self.world.violate(format!("I10: p{id} drained without being told"));
            }
            Ok(Ok(ProcessEnd::Finished)) => {
                if let Some(partition) = checker::unfinished(&self.world) {
                    self.world.violate(format!("I10: p{id} has finished, {partition} has not"));
                }
            }
            // Its reading side was killed: it must say so, and it does.
            Ok(Err(error)) if error.kind() == ErrorKind::Fatal && self.lost_its_reader(id) => {}
            // Halting is right for a run that a newer one has taken over from.
            Ok(Err(error)) if error.kind() == ErrorKind::Halted && self.is_superseded(id) => {}
            Ok(Err(error)) => self.world.violate(format!("I10: p{id} failed: {error}")),
            Err(error) => self.world.violate(format!("I10: p{id} panicked: {error}")),
        }
        if let Some(member) = self.world.state().members.get_mut(&id) {
            member.alive = false;
        }
    }

    fn was_told_to_drain(&self, id: u32) -> bool {
        self.world.state().members.get(&id).is_some_and(|member| member.leaving)
    }

    fn lost_its_reader(&self, id: u32) -> bool {
        self.world.state().members.get(&id).is_some_and(|member| member.reader_died)
    }

    fn is_superseded(&self, id: u32) -> bool {
        let state = self.world.state();
        !state.grouped && state.newest != id
    }
}

struct SkewedClock(i64);

impl crate::clock::Clock for SkewedClock {
    fn now_micros(&self) -> i64 {
        1_700_000_000_000_000 + self.0
    }
}
