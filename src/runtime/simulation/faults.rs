//! What goes wrong between a process and the outside: delays, failures before and after the fact,
//! calls applied late or twice, crashes, freezes.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::checker;
use super::files;
use super::power;
use super::world::World;
use crate::component::Control;
use crate::component::checkpoint::{
    CheckpointStore, Document, Expected, Key, Revision, Stored, SwapAnswer,
};
use crate::error::{Error, Result};
use crate::event::PartitionId;
use crate::testing::staging::FaultPoint;

/// What is applied late arrives within so many milliseconds.
const LATEST_MILLIS: u64 = 20_000;

/// The outside as one process reaches it.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) world: World,
    pub(super) process: u32,
}

impl Link {
    /// One call begins or ends: count it, and die, freeze, dawdle or fail here.
    pub(super) async fn point(&self, name: &str) -> Result<()> {
        self.gate(name).await;
        let delay = {
            let mut state = self.world.state();
            let dawdling = state.dawdling;
            let dawdles = rand::Rng::random_bool(&mut state.rng, dawdling);
            let range = if dawdles { 1_000..30_000u64 } else { 0..15 };
            rand::Rng::random_range(&mut state.rng, range)
        };
        if delay > 3 {
            sleep(Duration::from_millis(delay)).await;
        }
        // Whoever froze meanwhile does not see the answer before it thaws.
        self.thawed().await;
        if self.throttled(name) || self.fault_at(name, 1.0) {
            self.world.note(|| format!("p{} {name}: fails", self.process));
            return Err(Error::retryable(format!("injected at {name}")));
        }
        Ok(())
    }

    /// Count the call; never returns where the process dies here.
    pub(super) async fn gate(&self, name: &str) {
        let (dies, loses_power) = {
            let mut state = self.world.state();
            let Some(member) = state.members.get_mut(&self.process) else { return };
            member.calls += u64::from(member.alive);
            let call = Some(member.calls);
            let dies = member.alive && member.crash_at == call;
            let loses_power = member.alive && member.power_at == call;
            if dies {
                (member.alive, member.mishap) = (false, true);
            }
            if member.freeze_at == call {
                (member.frozen, member.mishap) = (true, true);
            }
            if member.alive {
                for byte in name.bytes().chain(self.process.to_le_bytes()) {
                    state.trace = state.trace.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte);
                }
            }
            (dies, loses_power)
        };
        if loses_power {
            power::fail(&self.world);
        }
        self.world.note(|| format!("p{} {name}", self.process));
        if dies {
            self.world.note(|| format!("p{} dies", self.process));
            self.world.changed.notify_waiters();
        }
        self.thawed().await;
    }

    /// Returns when the process is not frozen. Of a dead one nothing returns any more.
    pub(super) async fn thawed(&self) {
        loop {
            let (alive, frozen) = {
                let state = self.world.state();
                let member = state.members.get(&self.process);
                member.map_or((true, false), |member| (member.alive, member.frozen))
            };
            if !alive {
                std::future::pending::<()>().await;
            }
            if !frozen {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// True where a fault happens here: `weight` times the run's rate, while faults are left.
    pub(super) fn fault(&self, weight: f64) -> bool {
        let mut state = self.world.state();
        if state.faults_left == 0 || state.gentle {
            return false;
        }
        let rate = (state.fault_rate * weight).min(1.0);
        let happens = rand::Rng::random_bool(&mut state.rng, rate);
        if happens {
            state.faults_left -= 1;
        }
        happens
    }

    /// The same for a call by its name: a gentle run has faults at the document sink only.
    fn fault_at(&self, name: &str, weight: f64) -> bool {
        let mut state = self.world.state();
        if !state.gentle {
            drop(state);
            return self.fault(weight);
        }
        if state.faults_left == 0 || !name.starts_with("bulk") {
            return false;
        }
        let rate = state.fault_rate;
        let happens = rand::Rng::random_bool(&mut state.rng, rate);
        state.faults_left -= u32::from(happens);
        happens
    }

    /// The outside refuses calls of one kind for a while.
    fn throttled(&self, name: &str) -> bool {
        let kind = name.split(':').next().unwrap_or_default();
        if self.fault(0.05) {
            let until = Instant::now() + Duration::from_millis(self.world.draw(1_000..30_000));
            self.world.note(|| format!("{kind} is throttled"));
            self.world.state().throttled = Some((kind.to_owned(), until));
        }
        let state = self.world.state();
        let throttled = state.throttled.as_ref();
        throttled.is_some_and(|(which, until)| which == kind && Instant::now() < *until)
    }

    /// Do `act` some time from now, whatever happens to the process meanwhile, unless the power
    /// fails: the request is on its way.
    pub(super) fn later(&self, act: impl FnOnce(&World) + Send + 'static) -> Error {
        let wait = Duration::from_millis(self.world.draw(1..LATEST_MILLIS));
        let world = self.world.clone();
        let losses = world.state().power_losses;
        tokio::spawn(async move {
            sleep(wait).await;
            if world.state().power_losses == losses {
                act(&world);
            }
        });
        Error::retryable("injected: the request is on its way")
    }
}

#[async_trait]
impl FaultPoint for Link {
    async fn point(&self, name: &str) -> Result<()> {
        match name {
            "complete:after" => files::look(&self.world),
            "abort:after" => checker::named_files_are_there(&self.world, "I5:"),
            _ => {}
        }
        Link::point(self, name).await
    }
}

/// The checkpoint store behind a link.
pub(super) struct LinkedStore(pub(super) Link);

impl LinkedStore {
    /// Apply a swap; it is durable once it is no longer in `unsynced`.
    fn apply(
        world: &World,
        process: u32,
        key: &Key,
        expected: &Expected,
        new: &Revision,
        body: Bytes,
    ) -> Result<SwapAnswer> {
        let before = world.store.peek(key);
        let answer = world.store.swap_now(key, expected, new, body)?;
        if matches!(answer, SwapAnswer::Stored { .. }) {
            world.state().unsynced.entry(key.clone()).or_insert(before);
            checker::after_swap(world, key, process);
        }
        Ok(answer)
    }

    /// A write becomes durable before it is answered; a loss of power may come before that.
    async fn sync(&self, key: &Key, losses: u32) -> Result<()> {
        self.0.gate("swap:sync").await;
        let mut state = self.0.world.state();
        if state.power_losses != losses {
            return Err(Error::retryable("the store lost its power"));
        }
        state.unsynced.remove(key);
        Ok(())
    }

    /// The task that reads the control record goes by its number from now on.
    fn note_number(&self, stored: Option<&Stored>) {
        let Some(stored) = stored else { return };
        let control = Document::<Control>::decode(&Key::Control, &stored.body).unwrap();
        if let Some(task) = tokio::task::try_id() {
            let number = control.content.number;
            self.0.world.state().numbers.insert(task.to_string(), number);
        }
    }
}

#[async_trait]
impl CheckpointStore for LinkedStore {
    fn identity(&self) -> &str {
        "simulated"
    }

    async fn load(&self, key: &Key) -> Result<Option<Stored>> {
        self.0.point("load:before").await?;
        // A load makes durable what it answers, as the contract of a linearizable store wants.
        self.0.world.state().unsynced.remove(key);
        let stored = self.0.world.store.peek(key);
        self.0.point("load:after").await?;
        if *key == Key::Control {
            self.note_number(stored.as_ref());
        }
        Ok(stored)
    }

    async fn swap(
        &self,
        key: &Key,
        expected: &Expected,
        new: &Revision,
        body: Bytes,
    ) -> Result<SwapAnswer> {
        let (world, process) = (&self.0.world, self.0.process);
        self.0.point("swap:before").await?;
        let slow = {
            let state = self.0.world.state();
            matches!(expected, Expected::Absent) && !state.calm && !state.gentle
        };
        if slow && world.chance(0.15) {
            // Of what comes between a lane's first look around and its first record.
            sleep(Duration::from_millis(world.draw(3_000..30_000))).await;
        }
        if self.0.fault(1.0) {
            // Applied late, whatever happens meanwhile; the answer is lost.
            let (key, expected, new) = (key.clone(), expected.clone(), new.clone());
            return Err(self.0.later(move |world| {
                // A conflict is as good as anything: nobody listens.
                let _ = Self::apply(world, process, &key, &expected, &new, body);
            }));
        }
        if self.0.fault(0.5) {
            return Ok(SwapAnswer::Conflict);
        }
        let losses = world.state().power_losses;
        let mut answer = Self::apply(world, process, key, expected, new, body.clone())?;
        self.sync(key, losses).await?;
        if self.0.fault(1.0) {
            // The client library repeated a call whose answer it lost.
            answer = Self::apply(world, process, key, expected, new, body)?;
        }
        self.0.point("swap:after").await?;
        Ok(answer)
    }

    async fn partitions(&self) -> Result<Vec<PartitionId>> {
        self.0.point("partitions:before").await?;
        self.0.world.store.partitions().await
    }
}
