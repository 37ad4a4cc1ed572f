//! Who does what in a simulated run: processes that come and go, a producer, maintenance, sweeps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::checker;
use super::doubles::{DocSink, KeepSome, LineDecoder, LineSink, SimulatedSource};
use super::faults::{Link, LinkedStore};
use super::world::{Member, World};
use crate::component::{Context, Owner, Sink};
use crate::error::{ErrorKind, Result};
use crate::mutants::{Mutant, plant};
use crate::runtime::barrier;
use crate::runtime::lane::{CommitPolicy, LaneParts, LaneSettings, SinkLine};
use crate::runtime::process::{self, ProcessEnd, ensure_control, next_run};
use crate::runtime::swap::Documents;
use crate::units::{ByteSize, Interval};

/// What is done to a run on purpose.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) mutant: Option<Mutant>,
    /// Kill the first process at this call.
    pub(super) crash_at: Option<u64>,
    /// Freeze the first process at this call, and thaw it much later.
    pub(super) freeze_at: Option<u64>,
    pub(super) verbose: bool,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) violation: Option<String>,
    /// Calls of the first process.
    pub(super) calls: u64,
    /// Hash over every call.
    pub(super) trace: u64,
}

/// Run one plan to its end.
pub(super) fn simulate(plan: Plan) -> Outcome {
    plant(plan.mutant);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let world = World::new(plan.seed, plan.verbose);
    runtime.block_on(async {
        let mut scenario =
            Scenario { world: world.clone(), plan, processes: BTreeMap::new(), next: 0 };
        scenario.run().await;
    });
    drop(runtime);
    plant(None);
    let state = world.state();
    let calls = state.members.get(&0).map_or(0, |member| member.calls);
    Outcome { violation: state.violation.clone(), calls, trace: state.trace }
}

pub(super) fn owner(process: u32) -> Owner {
    Owner { uuid: format!("process-{process}"), task: format!("p{process}"), run: 0 }
}

struct Running {
    task: JoinHandle<Result<ProcessEnd>>,
    drain: watch::Sender<bool>,
}

struct Scenario {
    world: World,
    plan: Plan,
    processes: BTreeMap<u32, Running>,
    next: u32,
}

impl Scenario {
    async fn run(&mut self) {
        let control = ensure_control(&self.documents(99), "simulated", "contract").await;
        let domain = control.unwrap().domain;
        let grouped = self.world.state().grouped;
        let count = if grouped { self.world.draw(1..4) } else { 1 };
        for _ in 0..count {
            self.join(&domain).await;
        }
        self.world.rebalance();
        let mut maintenance: Option<JoinHandle<()>> = None;
        for step in 0..160u32 {
            self.step(step, &domain, &mut maintenance).await;
            if self.world.violation().is_some() {
                return;
            }
        }
        if let Some(maintenance) = maintenance {
            maintenance.abort();
        }
        self.calm_down(&domain).await;
    }

    fn documents(&self, process: u32) -> Documents {
        let link = Link { world: self.world.clone(), process };
        let context = Context {
            // One hour apart: the clocks of two processes never agree.
            clock: Arc::new(SkewedClock(i64::from(process) * 3_600_000_000)),
            ..crate::testing::context(self.plan.seed * 1000 + u64::from(process))
        };
        Documents { store: Arc::new(LinkedStore(link)), context }
    }

    /// A process starts. Where nothing assigns it takes over from the one before it.
    async fn join(&mut self, domain: &str) {
        let process = self.next;
        self.next += 1;
        let member = Member {
            alive: true,
            crash_at: self.plan.crash_at.filter(|_| process == 0),
            freeze_at: self.plan.freeze_at.filter(|_| process == 0),
            ..Member::default()
        };
        self.world.state().members.insert(process, member);
        let (drain, told) = watch::channel(false);
        let grouped = self.world.state().grouped;
        let mut owner = owner(process);
        if !grouped {
            owner.run = next_run(&self.documents(99), &owner).await.unwrap();
            self.world.state().newest = process;
            self.world.assign_all(process);
        }
        self.world.note(|| format!("p{process} joins as run {}", owner.run));
        let parts = self.parts(process, owner, domain);
        let task = tokio::spawn(process::run(parts, told));
        self.processes.insert(process, Running { task, drain });
    }

    fn parts(&self, process: u32, owner: Owner, domain: &str) -> LaneParts {
        let link = Link { world: self.world.clone(), process };
        let faults = Arc::new(link.clone());
        let [lake, letters] = [(&self.world.lake, "lake"), (&self.world.letters, "dead_letters")]
            .map(|(staging, name)| -> Arc<dyn Sink> {
                let staging = Arc::new(staging.with_faults(faults.clone()));
                Arc::new(LineSink { name, link: link.clone(), staging })
            });
        let line = |sink| SinkLine { filter: None, sink };
        LaneParts {
            settings: Arc::new(LaneSettings {
                pipeline: "simulated".to_owned(),
                domain: domain.to_owned(),
                store: "simulated".to_owned(),
                config_hash: String::new(),
                commit: CommitPolicy {
                    every: Interval::seconds(2),
                    size: ByteSize(900),
                    min_size: ByteSize(200),
                    max_age: Interval::seconds(6),
                },
                contract: "contract".into(),
                skip_damaged: false,
                dead_letter_limit: u32::MAX,
                owner,
            }),
            source: Arc::new(SimulatedSource(link.clone())),
            decoder: Arc::new(|| Box::new(LineDecoder)),
            transforms: Arc::from([Arc::new(KeepSome) as Arc<dyn crate::component::Transform>]),
            sinks: Arc::from([line(lake), line(Arc::new(DocSink(link)))]),
            dead_letters: letters,
            documents: self.documents(process),
        }
    }

    /// Half a second of the run.
    async fn step(&mut self, step: u32, domain: &str, maintenance: &mut Option<JoinHandle<()>>) {
        sleep(Duration::from_millis(500)).await;
        self.produce(0.6);
        self.reap(domain).await;
        match self.world.draw(0..100) {
            0..3 => self.kill(),
            3..5 => self.freeze(),
            5..9 => self.thaw(),
            9..12 => self.world.rebalance(),
            12..14 => self.leave().await,
            14..16 if self.processes.len() < 3 => {
                self.join(domain).await;
                self.world.rebalance();
            }
            16..20 => self.sweep(),
            20..24 if maintenance.as_ref().is_none_or(JoinHandle::is_finished) => {
                *maintenance = Some(self.maintain());
            }
            _ => {}
        }
        if step == 0 && self.world.chance(0.3) {
            *maintenance = Some(self.maintain());
        }
    }

    /// Let readers see more of the logs.
    fn produce(&self, probability: f64) {
        self.append(probability);
        self.world.produced.notify_waiters();
        if self.world.split() {
            self.world.rebalance();
        }
    }

    fn append(&self, probability: f64) {
        let mut state = self.world.state();
        let state = &mut *state;
        for partition in state.partitions.values_mut() {
            if rand::Rng::random_bool(&mut state.rng, probability) {
                partition.produced = (partition.produced + 1).min(partition.log.len());
            }
        }
    }

    /// Look after processes that died or ended; start others in their place.
    async fn reap(&mut self, domain: &str) {
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
        }
        let grouped = self.world.state().grouped;
        let newest_is_gone = !grouped && !self.processes.contains_key(&self.world.state().newest);
        let lonely = grouped && self.processes.len() < 2 && self.world.chance(0.1);
        if self.processes.is_empty() || newest_is_gone || lonely {
            self.join(domain).await;
            self.world.rebalance();
        }
    }

    fn judge(&self, id: u32, end: std::result::Result<Result<ProcessEnd>, tokio::task::JoinError>) {
        match end {
            Ok(Ok(ProcessEnd::Drained | ProcessEnd::Finished)) => {}
            // Halting is right for a run that a newer one has taken over from.
            Ok(Err(error)) if error.kind() == ErrorKind::Halted && self.is_superseded(id) => {}
            Ok(Err(error)) => self.world.violate(format!("p{id} failed: {error}")),
            Err(error) => self.world.violate(format!("p{id} panicked: {error}")),
        }
        if let Some(member) = self.world.state().members.get_mut(&id) {
            member.alive = false;
        }
    }

    fn is_superseded(&self, id: u32) -> bool {
        let state = self.world.state();
        !state.grouped && state.newest != id
    }

    fn one_of_the_living(&self) -> Option<u32> {
        let ids: Vec<u32> = self.processes.keys().copied().collect();
        let index = self.world.draw(0..ids.len().max(1) as u64) as usize;
        ids.get(index).copied()
    }

    fn kill(&mut self) {
        let Some(id) = self.one_of_the_living() else { return };
        self.world.note(|| format!("kill p{id}"));
        if let Some(member) = self.world.state().members.get_mut(&id) {
            member.alive = false;
        }
    }

    fn freeze(&self) {
        let Some(id) = self.one_of_the_living() else { return };
        self.world.note(|| format!("freeze p{id}"));
        if let Some(member) = self.world.state().members.get_mut(&id) {
            member.frozen = true;
        }
        if self.world.chance(0.8) {
            self.world.rebalance();
        }
    }

    fn thaw(&self) {
        self.world.note(|| "thaw".to_owned());
        for member in self.world.state().members.values_mut() {
            member.frozen = false;
        }
        if self.world.chance(0.5) {
            self.world.rebalance();
        }
    }

    /// One process drains while the others go on.
    async fn leave(&mut self) {
        let Some(id) = self.one_of_the_living() else { return };
        self.world.note(|| format!("drain p{id}"));
        if let Some(member) = self.world.state().members.get_mut(&id) {
            member.leaving = true;
        }
        if let Some(running) = self.processes.get(&id) {
            running.drain.send_replace(true);
        }
        if self.world.chance(0.5) {
            sleep(Duration::from_millis(700)).await;
        }
        self.world.rebalance();
    }

    fn sweep(&self) {
        let Some(id) = self.one_of_the_living() else { return };
        let parts = self.parts(id, owner(id), "");
        tokio::spawn(async move {
            let sinks = parts.sinks.iter().map(|line| &line.sink).chain([&parts.dead_letters]);
            for sink in sinks {
                // A sweep that fails is tried again by the next one.
                let _ = sink.sweep(parts.documents.store.as_ref()).await;
            }
        });
    }

    /// Raise the control record and wait for every lane.
    fn maintain(&self) -> JoinHandle<()> {
        let documents = self.documents(99);
        let world = self.world.clone();
        tokio::spawn(async move {
            let Ok(number) = barrier::raise(&documents).await else { return };
            world.note(|| format!("control number {number}"));
            if barrier::wait(&documents, number).await.is_ok() {
                world.note(|| format!("barrier {number} has returned"));
                let mut state = world.state();
                state.barrier = state.barrier.max(number);
            }
        })
    }

    /// No more faults: everything must come to rest within ten minutes, and maintenance with it.
    async fn calm_down(&mut self, domain: &str) {
        self.world.state().faults_left = 0;
        self.thaw();
        self.world.rebalance();
        let rest = timeout(Duration::from_secs(600), async {
            while !checker::lag_is_zero(&self.world) {
                sleep(Duration::from_millis(500)).await;
                self.produce(1.0);
                self.reap(domain).await;
            }
        });
        if rest.await.is_err() {
            self.world.violate("I10: the lag did not return to zero");
            return;
        }
        let barrier = self.maintain();
        let returned = timeout(Duration::from_secs(300), async {
            while !barrier.is_finished() {
                sleep(Duration::from_millis(500)).await;
                self.reap(domain).await;
            }
        });
        if returned.await.is_err() {
            self.world.violate("I10: a barrier did not return");
        }
        for running in self.processes.values() {
            running.drain.send_replace(true);
        }
        for (id, running) in std::mem::take(&mut self.processes) {
            match timeout(Duration::from_secs(300), running.task).await {
                Ok(end) => self.judge(id, end),
                Err(_) => self.world.violate(format!("I10: p{id} did not drain")),
            }
        }
        let parts = self.parts(99, owner(99), domain);
        for sink in parts.sinks.iter().map(|line| &line.sink).chain([&parts.dead_letters]) {
            if let Err(error) = sink.sweep(parts.documents.store.as_ref()).await {
                self.world.violate(format!("the last sweep failed: {error}"));
            }
        }
        checker::at_rest(&self.world);
    }
}

struct SkewedClock(i64);

impl crate::clock::Clock for SkewedClock {
    fn now_micros(&self) -> i64 {
        1_700_000_000_000_000 + self.0
    }
}
