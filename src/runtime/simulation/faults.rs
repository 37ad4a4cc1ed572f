//! What goes wrong between a process and the outside: delays, failures before and after the fact,
//! calls applied late or twice, crashes, freezes.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::sleep;

use super::checker;
use super::world::World;
use crate::component::checkpoint::{CheckpointStore, Expected, Key, Revision, Stored, SwapAnswer};
use crate::error::{Error, Result};
use crate::event::PartitionId;
use crate::testing::staging::FaultPoint;

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
            let dawdles = rand::Rng::random_bool(&mut state.rng, 0.02);
            let range = if dawdles { 1_000..30_000u64 } else { 0..15 };
            rand::Rng::random_range(&mut state.rng, range)
        };
        if delay > 3 {
            sleep(Duration::from_millis(delay)).await;
        }
        // Whoever froze meanwhile does not see the answer before it thaws.
        self.thawed().await;
        if self.fault(1.0) {
            self.world.note(|| format!("p{} {name}: fails", self.process));
            return Err(Error::retryable(format!("injected at {name}")));
        }
        Ok(())
    }

    /// Count the call; never returns where the process dies here.
    async fn gate(&self, name: &str) {
        let dies = {
            let mut state = self.world.state();
            let Some(member) = state.members.get_mut(&self.process) else { return };
            member.calls += 1;
            let call = member.calls;
            let dies = member.crash_at == Some(call);
            if dies {
                member.alive = false;
            }
            if member.freeze_at == Some(call) {
                member.frozen = true;
            }
            for byte in name.bytes().chain(self.process.to_le_bytes()) {
                state.trace = state.trace.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte);
            }
            dies
        };
        self.world.note(|| format!("p{} {name}", self.process));
        if dies {
            self.world.note(|| format!("p{} dies", self.process));
            self.world.changed.notify_waiters();
            std::future::pending::<()>().await;
        }
        self.thawed().await;
    }

    pub(super) async fn thawed(&self) {
        loop {
            let frozen =
                self.world.state().members.get(&self.process).is_some_and(|member| member.frozen);
            if !frozen {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// True where a fault happens here: `weight` times the run's rate, while faults are left.
    pub(super) fn fault(&self, weight: f64) -> bool {
        let mut state = self.world.state();
        if state.faults_left == 0 {
            return false;
        }
        let rate = (state.fault_rate * weight).min(1.0);
        let happens = rand::Rng::random_bool(&mut state.rng, rate);
        if happens {
            state.faults_left -= 1;
        }
        happens
    }
}

#[async_trait]
impl FaultPoint for Link {
    async fn point(&self, name: &str) -> Result<()> {
        if name.ends_with(":after") {
            checker::after_staging(&self.world, name);
        }
        Link::point(self, name).await
    }
}

/// The checkpoint store behind a link.
pub(super) struct LinkedStore(pub(super) Link);

impl LinkedStore {
    fn apply(
        world: &World,
        key: &Key,
        expected: &Expected,
        new: &Revision,
        body: Bytes,
    ) -> Result<SwapAnswer> {
        let answer = world.store.swap_now(key, expected, new, body)?;
        if answer == SwapAnswer::Stored {
            checker::after_swap(world, key);
        }
        Ok(answer)
    }
}

#[async_trait]
impl CheckpointStore for LinkedStore {
    fn identity(&self) -> &str {
        "simulated"
    }

    async fn load(&self, key: &Key) -> Result<Option<Stored>> {
        self.0.point("load:before").await?;
        let stored = self.0.world.store.peek(key);
        self.0.point("load:after").await?;
        Ok(stored)
    }

    async fn swap(
        &self,
        key: &Key,
        expected: &Expected,
        new: &Revision,
        body: Bytes,
    ) -> Result<SwapAnswer> {
        let world = &self.0.world;
        self.0.point("swap:before").await?;
        if self.0.fault(1.0) {
            // Applied late, whatever happens meanwhile; the answer is lost.
            let wait = Duration::from_millis(world.draw(1..20_000));
            let (world, key, expected, new) =
                (world.clone(), key.clone(), expected.clone(), new.clone());
            tokio::spawn(async move {
                sleep(wait).await;
                // A conflict is as good as anything: nobody listens.
                let _ = Self::apply(&world, &key, &expected, &new, body);
            });
            return Err(Error::retryable("injected: the swap is on its way"));
        }
        if self.0.fault(0.5) {
            return Ok(SwapAnswer::Conflict);
        }
        let mut answer = Self::apply(world, key, expected, new, body.clone())?;
        if self.0.fault(1.0) {
            // The client library repeated a call whose answer it lost.
            answer = Self::apply(world, key, expected, new, body)?;
        }
        self.0.point("swap:after").await?;
        Ok(answer)
    }

    async fn partitions(&self) -> Result<Vec<PartitionId>> {
        self.0.point("partitions:before").await?;
        self.0.world.store.partitions().await
    }
}
