//! The memory that waiting rows may take, shared by all lanes of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the lanes of a process divide among them, in bytes, by default.
///
/// The process may take 256 MiB, 16 MiB more for each lane and 48 MiB for each core above two. Of
/// that the program itself, two encoders (up to 25 MiB each in full flow) and what the allocator
/// keeps take the rest of the base; raw chunks and bodies on their way take the rest of a lane's.
pub const DEFAULT_BASE_BYTES: usize = 48 << 20;
/// What each lane adds, in bytes, by default.
pub const DEFAULT_LANE_BYTES: usize = 8 << 20;

/// A budget in bytes: a base that all lanes divide, and as much again for each lane as it adds.
/// Lanes register; each may hold an equal share. Charging never blocks and never fails: who finds
/// itself over its share spills or cuts.
#[derive(Debug)]
pub struct MemoryBudget {
    base: usize,
    each_lane: usize,
    lanes: AtomicUsize,
    used: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of `total` bytes for rows, raw chunks and bodies, however many lanes there are.
    pub fn new(total: usize) -> Arc<Self> {
        Self::with_lanes(total, 0)
    }
    /// A budget of `base` bytes and `each_lane` more for each lane.
    pub fn with_lanes(base: usize, each_lane: usize) -> Arc<Self> {
        Arc::new(Self { base, each_lane, lanes: AtomicUsize::new(0), used: AtomicUsize::new(0) })
    }
    /// Bytes in all, for the lanes that there are now.
    pub fn total(&self) -> usize {
        self.base + self.each_lane * self.lanes()
    }
    /// Bytes charged now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
    /// Bytes that one lane may hold now.
    pub fn share(&self) -> usize {
        self.base / self.lanes() + self.each_lane
    }
    /// Lanes counted in, one at least.
    pub fn lanes(&self) -> usize {
        self.lanes.load(Ordering::Relaxed).max(1)
    }
    /// Count a lane in; its place is given back when the answer is dropped.
    pub fn join(self: &Arc<Self>) -> LanePlace {
        self.lanes.fetch_add(1, Ordering::Relaxed);
        LanePlace(self.clone())
    }
    /// Charge `bytes`; they are given back when the answer is dropped.
    pub fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        Charge { budget: self.clone(), bytes }
    }
}

/// A lane's place in the budget.
#[derive(Debug)]
pub struct LanePlace(Arc<MemoryBudget>);

impl Drop for LanePlace {
    fn drop(&mut self) {
        self.0.lanes.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes taken from the budget until this is dropped.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Charge {
    /// Bytes charged.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_adds_to_the_budget_and_divides_its_base() {
        let budget = MemoryBudget::with_lanes(96, 10);
        assert_eq!((budget.total(), budget.share()), (106, 106));
        let lanes: Vec<_> = (0..8).map(|_| budget.join()).collect();
        assert_eq!((budget.total(), budget.share()), (176, 22));
        let charge = budget.charge(7);
        assert_eq!(budget.used(), 7);
        drop((lanes, charge));
        assert_eq!((budget.share(), budget.used()), (106, 0));
    }
}
