//! Doubles and conformance suites for tests and benches.

mod changes;
#[cfg(feature = "comprehend")]
pub mod comprehend_stub;
pub mod conformance;
pub mod connection_proxy;
pub mod fault_proxy;
mod listener;
pub mod staging;

use std::sync::Arc;

pub use self::changes::changes;
pub use crate::checkpoint::memory::MemoryStore;

use crate::aws::Aws;
use crate::clock::SystemClock;
use crate::component::Context;
use crate::compute::Inline;
use crate::memory::MemoryBudget;
use crate::randomness::Generator;
use crate::telemetry::metrics::Metrics;

/// A context for one test: seeded randomness, inline compute, a budget of 256 MiB.
pub fn context(seed: u64) -> Context {
    Context {
        aws: Aws::default(),
        clock: Arc::new(SystemClock),
        randomness: Arc::new(Generator::seeded(seed)),
        compute: Arc::new(Inline::default()),
        memory: MemoryBudget::new(256 << 20),
        metrics: Metrics::new(),
    }
}
