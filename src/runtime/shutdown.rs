//! Signals: the first asks the process to drain, the second ends it at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::error::{ErrorKind, Result, ResultExt};

/// Told to drain, or not yet. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// Asks every holder of its [`Shutdown`] to drain.
#[derive(Debug, Clone)]
pub struct ShutdownSender(watch::Sender<bool>);

impl ShutdownSender {
    /// Ask for a drain; asking again changes nothing.
    pub fn drain(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// A shutdown that somebody else asks for.
    pub fn by_hand() -> (ShutdownSender, Self) {
        let (sender, receiver) = watch::channel(false);
        (ShutdownSender(sender), Self(receiver))
    }

    /// A shutdown that SIGINT or SIGTERM asks for. A second signal ends the process at once with
    /// 128 + its number (130, 143): nothing is lost by it, the next run resumes from the last
    /// checkpoint.
    ///
    /// # Errors
    /// `Fatal` where the system refuses the handlers.
    pub fn on_signals() -> Result<Self> {
        let listen = |kind: SignalKind| {
            signal(kind).or_error(ErrorKind::Fatal, || "cannot listen for signals".to_owned())
        };
        let interrupt = listen(SignalKind::interrupt())?;
        let terminate = listen(SignalKind::terminate())?;
        let (sender, shutdown) = Self::by_hand();
        tokio::spawn(obey(interrupt, terminate, sender));
        Ok(shutdown)
    }

    /// True once a drain was asked for.
    pub fn is_draining(&self) -> bool {
        *self.0.borrow()
    }

    /// The channel that turns true.
    pub fn receiver(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }
}

async fn obey(mut interrupt: Signal, mut terminate: Signal, sender: ShutdownSender) {
    let name = next(&mut interrupt, &mut terminate).await.0;
    info!("{name} received: draining; once more ends the process at once");
    sender.drain();
    let (name, number) = next(&mut interrupt, &mut terminate).await;
    warn!("{name} received again: ending now, the next run resumes from the last checkpoint");
    std::process::exit(128 + number);
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> (&'static str, i32) {
    tokio::select! {
        _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
        _ = terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
    }
}
