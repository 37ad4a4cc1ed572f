//! The live objects that components share. Never settings: those are plain data.

use std::sync::Arc;

use crate::clock::Clock;
use crate::compute::Compute;
use crate::memory::MemoryBudget;
use crate::randomness::Randomness;

/// The seams and the budget of one process. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Reads the wall clock.
    pub clock: Arc<dyn Clock>,
    /// Makes nonces.
    pub randomness: Arc<dyn Randomness>,
    /// Runs work that needs a core.
    pub compute: Arc<dyn Compute>,
    /// The memory that rows may take.
    pub memory: Arc<MemoryBudget>,
}
