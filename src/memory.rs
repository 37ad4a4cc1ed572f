//! The memory that waiting rows may take, shared by all lanes of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A budget in bytes. Lanes register; each may hold an equal share. Charging never blocks and never
/// fails: who finds itself over its share spills or cuts.
#[derive(Debug)]
pub struct MemoryBudget {
    total: usize,
    lanes: AtomicUsize,
    used: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of `total` bytes for rows, raw chunks and bodies.
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, lanes: AtomicUsize::new(0), used: AtomicUsize::new(0) })
    }
    /// Bytes in all.
    pub fn total(&self) -> usize {
        self.total
    }
    /// Bytes charged now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
    /// Bytes that one lane may hold now.
    pub fn share(&self) -> usize {
        self.total / self.lanes.load(Ordering::Relaxed).max(1)
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
