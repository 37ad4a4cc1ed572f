//! The live objects that components share. Never settings: those are plain data.

use std::sync::Arc;

use crate::aws::Aws;
use crate::clock::Clock;
use crate::compute::Compute;
use crate::memory::MemoryBudget;
use crate::randomness::Randomness;
use crate::telemetry::metrics::Metrics;

/// The seams, the budget and the counters of one process. Cheap to clone.
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
    /// Clients of AWS; none is made before it is asked for.
    pub aws: Aws,
    /// Counts what the process does.
    pub metrics: Metrics,
}
