//! Runs a program and watches its memory from outside.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acequia::{Error, ErrorKind, Result, ResultExt};

/// How often the kernel is asked.
const INTERVAL: Duration = Duration::from_millis(10);

/// Anonymous memory (`RssAnon` of `/proc/PID/status`) that a process held: what it holds itself,
/// without the page cache and the program's own file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoryUse {
    /// The most at any time.
    pub(crate) peak: u64,
    /// The most in the first third of the run.
    pub(crate) first_third: u64,
    /// The most in the last third: above the first one's where memory grows with the input.
    pub(crate) last_third: u64,
}

impl MemoryUse {
    /// The figures of samples taken at even intervals.
    fn of(samples: &[u64]) -> Self {
        let most = |samples: Option<&[u64]>| {
            samples.unwrap_or_default().iter().copied().max().unwrap_or_default()
        };
        let third = samples.len().div_ceil(3);
        Self {
            peak: most(Some(samples)),
            first_third: most(samples.get(..third)),
            last_third: most(samples.get(samples.len() - third..)),
        }
    }
}

/// A program that has ended well.
pub(crate) struct Finished {
    /// What it printed.
    pub(crate) stdout: Vec<u8>,
    /// From before it was started until it had ended.
    pub(crate) seconds: f64,
    /// What it held.
    pub(crate) memory: MemoryUse,
}

/// Run `command` to its end. One that fails is an error with everything it said.
pub(crate) fn run(command: &mut Command, name: &str) -> Result<Finished> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = || format!("cannot run {name}");
    let over = AtomicBool::new(false);
    let began = Instant::now();
    let child = command.spawn().or_error(ErrorKind::Fatal, failed)?;
    let pid = child.id();
    let (output, seconds, samples) = thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(pid, &over));
        let output = child.wait_with_output();
        let seconds = began.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        (output, seconds, sampler.join().unwrap_or_default())
    });
    let output = output.or_error(ErrorKind::Fatal, failed)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(Error::fatal(format!("{name} ended with {}:\n{said}", output.status)));
    }
    eprint!("{said}");
    if samples.is_empty() {
        return Err(Error::fatal(format!("{name} ended before its memory was seen")));
    }
    Ok(Finished { stdout: output.stdout, seconds, memory: MemoryUse::of(&samples) })
}

fn sample(pid: u32, over: &AtomicBool) -> Vec<u64> {
    let path = format!("/proc/{pid}/status");
    let mut samples = Vec::new();
    while !over.load(Ordering::Relaxed) {
        // A process that has just ended has no such line.
        samples.extend(fs::read_to_string(&path).ok().and_then(|status| anonymous_bytes(&status)));
        thread::sleep(INTERVAL);
    }
    samples
}

fn anonymous_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
