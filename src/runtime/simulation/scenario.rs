//! Who does what in a simulated run: processes that come and go, a producer, maintenance, sweeps.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::checker;
use super::power;
use super::processes::{Running, owner};
use super::world::World;
use crate::mutants::{Mutant, plant};
use crate::runtime::barrier;
use crate::runtime::process::ensure_control;

/// What is done to a run on purpose.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) mutant: Option<Mutant>,
    /// The call of the first process at which `fate` meets it.
    pub(super) at: Option<u64>,
    /// The call of the second process at which the same meets that one, while it recovers.
    pub(super) then: Option<u64>,
    pub(super) fate: Fate,
    pub(super) verbose: bool,
}

/// What befalls a process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Fate {
    /// It dies; what it has written stays.
    #[default]
    Crash,
    /// It stops, and goes on much later as if nothing had happened.
    Freeze,
    /// Every process dies, and what was not made durable is gone.
    PowerFailure,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) violation: Option<String>,
    /// Calls of the first process.
    pub(super) calls: u64,
    /// Hash over every call, every document of the store and every visible file.
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
    let trace = world.trace();
    let state = world.state();
    let calls = state.members.get(&0).map_or(0, |member| member.calls);
    let violation = state.violation.clone().or_else(|| state.suspicion.clone());
    Outcome { violation, calls, trace }
}

pub(super) struct Scenario {
    pub(super) world: World,
    pub(super) plan: Plan,
    pub(super) processes: BTreeMap<u32, Running>,
    pub(super) next: u32,
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

    /// Half a second of the run.
    async fn step(&mut self, step: u32, domain: &str, maintenance: &mut Option<JoinHandle<()>>) {
        sleep(Duration::from_millis(500)).await;
        let pace = self.world.state().pace;
        self.produce(pace);
        self.reap(domain).await;
        let gentle = self.world.state().gentle;
        let room = self.processes.len() < 3 && (!gentle || self.world.state().grouped);
        match self.world.draw(0..100) {
            0..9 | 16..27 if gentle => {}
            0..3 => self.kill(),
            3..5 => self.freeze(),
            5..9 => self.thaw(),
            9..12 => self.world.rebalance(),
            12..14 => self.leave().await,
            14..16 if room => {
                self.join(domain).await;
                self.world.rebalance();
            }
            16..20 => self.sweep(),
            20..26 if maintenance.as_ref().is_none_or(JoinHandle::is_finished) => {
                *maintenance = Some(self.maintain());
            }
            26 => power::fail(&self.world),
            _ => {}
        }
        if step == 0 && !gentle && self.world.chance(0.5) {
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

    fn one_of_the_living(&self) -> Option<u32> {
        let ids: Vec<u32> = self.processes.keys().copied().collect();
        let index = self.world.draw(0..ids.len().max(1) as u64) as usize;
        ids.get(index).copied()
    }

    fn kill(&mut self) {
        let Some(id) = self.one_of_the_living() else { return };
        self.world.note(|| format!("kill p{id}"));
        if let Some(member) = self.world.state().members.get_mut(&id) {
            (member.alive, member.mishap) = (false, true);
        }
    }

    fn freeze(&self) {
        let Some(id) = self.one_of_the_living() else { return };
        self.world.note(|| format!("freeze p{id}"));
        if let Some(member) = self.world.state().members.get_mut(&id) {
            (member.frozen, member.mishap) = (true, true);
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
        {
            let mut state = self.world.state();
            (state.faults_left, state.throttled) = (0, None);
            state.dawdling = state.dawdling.min(0.02);
            state.calm = true;
            for member in state.members.values_mut() {
                (member.crash_at, member.freeze_at, member.power_at) = (None, None, None);
            }
        }
        self.thaw();
        // What is on its way arrives.
        sleep(Duration::from_secs(20)).await;
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
        self.drain_all().await;
        checker::before_the_last_sweep(&self.world);
        let parts = self.parts(99, owner(99), domain);
        for sink in parts.sinks.iter().map(|line| &line.sink).chain([&parts.dead_letters]) {
            if let Err(error) = sink.sweep(parts.documents.store.as_ref()).await {
                self.world.violate(format!("I6: the last sweep failed: {error}"));
            }
        }
        checker::at_rest(&self.world);
    }

    async fn drain_all(&mut self) {
        for (id, running) in &self.processes {
            if let Some(member) = self.world.state().members.get_mut(id) {
                member.leaving = true;
            }
            running.drain.send_replace(true);
        }
        for (id, running) in std::mem::take(&mut self.processes) {
            match timeout(Duration::from_secs(300), running.task).await {
                Ok(end) => self.judge(id, end),
                Err(_) => self.world.violate(format!("I10: p{id} did not drain")),
            }
        }
    }
}
