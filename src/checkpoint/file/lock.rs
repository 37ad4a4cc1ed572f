//! Locks between processes of one machine: `flock(2)`, which the kernel frees when a process dies.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Who waits longer than this says so.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// How often a run that took over looks whether the older one has ended.
const TAKE_OVER_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Run `work`, which blocks on files, away from the asynchronous threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|cause| {
        Error::fatal("work on the checkpoint folder ended early").caused_by(cause)
    })?
}

/// A held lock; dropping it unlocks. The file stays: a lock file that is removed while another
/// process waits for it would let two in.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held for its drop")] File);

impl Lock {
    /// Take the lock on `path`, whose folder must exist. Waits as long as it takes, since whoever
    /// holds it does so for one swap; after two seconds it says once for whom it waits.
    pub(super) async fn wait(path: &Path) -> io::Result<Self> {
        let mut file = open(path)?;
        let (began, mut pause, mut said) = (Instant::now(), FIRST_PAUSE, false);
        while !try_lock(&file)? {
            if !said && began.elapsed() >= PATIENCE {
                said = true;
                tracing::warn!(
                    path = %path.display(),
                    holder = holder(path).as_deref().unwrap_or("unknown"),
                    "waiting for a checkpoint lock that another process holds; it may be stopped"
                );
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        sign(&mut file);
        Ok(Self(file))
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

fn try_lock(file: &File) -> io::Result<bool> {
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
}

/// Write the process id into a lock file, for whoever waits. Only a hint: a disk that is full must
/// not stop a lock from being taken.
fn sign(file: &mut File) {
    let _ = file
        .set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()));
}

fn holder(path: &Path) -> Option<String> {
    let pid = fs::read_to_string(path).ok()?;
    let pid = pid.trim();
    (!pid.is_empty()).then(|| format!("pid {pid}"))
}

/// Says that a run of a source that nothing assigns is at work on a checkpoint folder. Held as long
/// as the value lives.
#[derive(Debug)]
pub struct RunLock {
    /// The locked file; behind a take-over it comes when the older run has ended.
    held: Arc<Mutex<Option<File>>>,
    waiting: Option<AbortHandle>,
}

impl RunLock {
    /// Take the lock of `folder`, an existing checkpoint folder. Where another run holds it, that
    /// is an [`ErrorKind::Config`] that names its process, unless `take_over`: then this run goes
    /// on at once, fences each record, and the older run ends when it loses one; its lock is taken
    /// as soon as it is free. Called inside the runtime.
    pub fn acquire(folder: &Path, take_over: bool) -> Result<Self> {
        let path = folder.join("run.lock");
        let failed = || format!("cannot lock {}", path.display());
        let mut file = open(&path).or_error(ErrorKind::Config, failed)?;
        if try_lock(&file).or_error(ErrorKind::Config, failed)? {
            sign(&mut file);
            return Ok(Self { held: Arc::new(Mutex::new(Some(file))), waiting: None });
        }
        let other = holder(&path).unwrap_or_else(|| "process id unknown".into());
        if take_over {
            tracing::warn!(folder = %folder.display(), other, "taking over from another run");
            let held = Arc::new(Mutex::new(None));
            let waiting = tokio::spawn(take_when_free(file, held.clone())).abort_handle();
            return Ok(Self { held, waiting: Some(waiting) });
        }
        Err(Error::config(format!(
            "another run ({other}) works on the checkpoint folder {}; stop it, or take its place \
             with --take-over",
            folder.display()
        )))
    }
}

impl RunLock {
    /// False where this run took over from one that still holds the lock.
    pub fn is_held(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

async fn take_when_free(mut file: File, held: Arc<Mutex<Option<File>>>) {
    while !matches!(try_lock(&file), Ok(true)) {
        tokio::time::sleep(TAKE_OVER_PAUSE).await;
    }
    sign(&mut file);
    *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
}

impl Drop for RunLock {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            waiting.abort();
        }
    }
}
