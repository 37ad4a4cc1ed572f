//! The compute seam: decode, transforms and encode run here, never on the threads that serve
//! timers and connections. The simulator runs them inline.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, oneshot};

use crate::error::{Error, Result};

/// A piece of work.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs that need a core.
pub trait Compute: Send + Sync {
    /// Run `job` soon. A job never waits for another.
    fn submit(&self, job: Job);
    /// The encoder slots: one for each core.
    fn encoder_slots(&self) -> &Arc<Semaphore>;
}

/// Run `work` on the compute seam and await its result.
pub async fn run<T: Send + 'static>(
    compute: &Arc<dyn Compute>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    compute.submit(Box::new(move || {
        // The receiver is gone where the lane was cancelled; its result is not wanted then.
        let _ = sender.send(work());
    }));
    receiver.await.map_err(|_| Error::fatal("a compute job panicked; see the log"))
}

/// A fixed set of threads, one for each core.
pub struct ComputePool {
    jobs: Sender<Job>,
    encoder_slots: Arc<Semaphore>,
}

impl ComputePool {
    /// A pool of `threads` threads (at least one) and as many encoder slots.
    pub fn new(threads: usize) -> Result<Self> {
        let threads = threads.max(1);
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads {
            let queue = queue.clone();
            std::thread::Builder::new()
                .name(format!("compute-{number}"))
                .spawn(move || {
                    loop {
                        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok(job) = job else { return };
                        // A panic is reported by the hook; the waiting lane sees its channel close.
                        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                    }
                })
                .map_err(|cause| Error::fatal("cannot start a compute thread").caused_by(cause))?;
        }
        Ok(Self { jobs, encoder_slots: Arc::new(Semaphore::new(threads)) })
    }
}

impl Compute for ComputePool {
    fn submit(&self, job: Job) {
        // Fails only when every thread has ended, which they do not before the pool is dropped.
        let _ = self.jobs.send(job);
    }
    fn encoder_slots(&self) -> &Arc<Semaphore> {
        &self.encoder_slots
    }
}

/// Runs each job at once on the calling thread: for simulation and small tools.
pub struct Inline {
    encoder_slots: Arc<Semaphore>,
}

impl Default for Inline {
    fn default() -> Self {
        Self { encoder_slots: Arc::new(Semaphore::new(1)) }
    }
}

impl Compute for Inline {
    fn submit(&self, job: Job) {
        job();
    }
    fn encoder_slots(&self) -> &Arc<Semaphore> {
        &self.encoder_slots
    }
}
