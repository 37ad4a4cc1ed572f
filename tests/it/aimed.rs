//! A process that is interrupted at a chosen step of the delivery protocol.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use acequia::runtime::protocol::Step;
use rand::Rng;
use rand::rngs::StdRng;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, tee};
use rustix::process::{Pid, Signal, kill_process};

/// When a process is interrupted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    /// After this long, wherever it is.
    After(Duration),
    /// When it announces this step for the `count`th time.
    At { step: Step, count: u32 },
}

/// A running process and the steps that it announces.
///
/// Where a step is aimed at, the log goes through a pipe that holds one line (`O_DIRECT`, one page)
/// and lines are looked at before they are taken out: when the wanted one is there, the process
/// cannot announce anything further until it is interrupted.
pub(crate) struct Watched {
    pub(crate) child: Child,
    log: Arc<Mutex<Log>>,
    reader: Option<std::thread::JoinHandle<()>>,
    interrupted: Receiver<()>,
}

/// What a process has said so far.
#[derive(Debug, Default)]
struct Log {
    text: String,
    last: Option<Step>,
}

impl Watched {
    /// Start `command`; at the moment `aim` it gets `signal`.
    pub(crate) fn start(mut command: Command, aim: Option<(Step, u32, Signal)>) -> Self {
        let flags = if aim.is_some() { PipeFlags::DIRECT } else { PipeFlags::empty() };
        let (lines, stderr) = pipe_with(flags | PipeFlags::CLOEXEC).unwrap();
        if aim.is_some() {
            fcntl_setpipe_size(&lines, ONE_PAGE).unwrap();
        }
        let child = command.stderr(stderr).spawn().unwrap();
        // The command keeps its end of the pipe open.
        drop(command);
        let log = Arc::new(Mutex::new(Log::default()));
        let (sender, interrupted) = channel();
        let (kept, pid) = (log.clone(), Pid::from_child(&child));
        let reader = std::thread::spawn(move || match aim {
            Some((step, count, signal)) => {
                let interrupt = || {
                    let _ = kill_process(pid, signal);
                    let _ = sender.send(());
                };
                read_slowly(lines, &kept, (step, count), interrupt);
            }
            None => {
                let lines = BufReader::new(std::fs::File::from(lines)).lines();
                lines.map_while(Result::ok).for_each(|line| take_line(&kept, &line));
            }
        });
        Self { child, log, reader: Some(reader), interrupted }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    pub(crate) fn last(&self) -> Option<Step> {
        self.log.lock().unwrap().last
    }

    pub(crate) fn text(&self) -> String {
        self.log.lock().unwrap().text.clone()
    }

    /// Interrupt it at `moment`, or find that it has ended before.
    pub(crate) fn interrupt(&mut self, moment: Moment, signal: Signal) {
        self.interrupt_within(Duration::from_secs(30), moment, signal);
    }

    /// The same, where it may take as long as `limit` to get there or to end.
    pub(crate) fn interrupt_within(&mut self, limit: Duration, moment: Moment, signal: Signal) {
        let end = Instant::now() + limit;
        let limit = match moment {
            Moment::After(time) => Instant::now() + time,
            Moment::At { .. } => end,
        };
        while Instant::now() < limit {
            if self.interrupted.recv_timeout(Duration::from_millis(2)).is_ok()
                || self.child.try_wait().unwrap().is_some()
            {
                return;
            }
        }
        assert!(limit < end, "neither ends nor reaches {moment:?}:\n{}", self.text());
        self.signal(signal);
    }

    /// Wait for its end, and for everything that it said.
    pub(crate) fn end(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                if let Some(reader) = self.reader.take() {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(Instant::now() < end, "does not end:\n{}", self.text());
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }

    /// Wait for its end, which must be a good one.
    #[track_caller]
    pub(crate) fn ends_well(&mut self, limit: Duration) {
        let status = self.end(limit);
        assert!(status.success(), "{status}:\n{}", self.text());
    }

    /// The end of a run that takes over from `frozen`. One that was frozen in the middle of a swap
    /// holds that record's lock: the newer run says that it waits, and the older one is thawed.
    pub(crate) fn end_while_frozen(&mut self, frozen: &Self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        while self.child.try_wait().unwrap().is_none() {
            if self.text().contains("waiting for a checkpoint lock") {
                frozen.signal(Signal::CONT);
                break;
            }
            assert!(Instant::now() < end, "does not end:\n{}", self.text());
            std::thread::park_timeout(Duration::from_millis(10));
        }
        self.end(limit)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A signal has arrived by then.
const SIGNAL_TAKES: Duration = Duration::from_millis(10);

/// The least that a pipe can hold.
const ONE_PAGE: usize = 4096;

/// Take lines out one by one, each only after it was looked at.
fn read_slowly(lines: OwnedFd, log: &Mutex<Log>, (step, count): (Step, u32), interrupt: impl Fn()) {
    let (copies, copy) = pipe_with(PipeFlags::DIRECT | PipeFlags::CLOEXEC).unwrap();
    let mut buffer = vec![0; ONE_PAGE];
    let mut left = count;
    // Nothing to duplicate: every writer is gone.
    while tee(&lines, &copy, ONE_PAGE, SpliceFlags::empty()).unwrap() > 0 {
        let length = rustix::io::read(&copies, &mut buffer).unwrap();
        let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
        take_line(log, line.trim_end());
        if left > 0 && step_of(&line) == Some(step) {
            left -= 1;
            if left == 0 {
                interrupt();
                // Room in the pipe would let it say one thing more before the signal is seen.
                std::thread::park_timeout(SIGNAL_TAKES);
            }
        }
        rustix::io::read(&lines, &mut buffer).unwrap();
    }
}

fn take_line(log: &Mutex<Log>, line: &str) {
    let mut log = log.lock().unwrap();
    log.last = step_of(line).or(log.last);
    log.text.push_str(line);
    log.text.push('\n');
}

fn step_of(line: &str) -> Option<Step> {
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    if record["target"] != "acequia::protocol" {
        return None;
    }
    let word = record["step"].as_str()?;
    Step::ALL.into_iter().find(|step| step.as_str() == word)
}

/// Steps that were interrupted, and how often.
pub(crate) type Reached = BTreeMap<&'static str, u32>;

pub(crate) fn note(reached: &mut Reached, step: Option<Step>) {
    *reached.entry(step.map_or("before any", Step::as_str)).or_default() += 1;
}

/// How often a process was interrupted at `step`.
pub(crate) fn times(reached: &Reached, step: Step) -> u32 {
    reached.get(step.as_str()).copied().unwrap_or(0)
}

/// The steps that a process can be killed at: of an archive nothing is ever handed back, but on a
/// drain.
pub(crate) const STEPS: [Step; 8] = [
    Step::Fence,
    Step::Recover,
    Step::Run,
    Step::Flush,
    Step::Prepare,
    Step::Publish,
    Step::Finalise,
    Step::Advise,
];

/// One of the steps that were interrupted least so far: none is left to chance.
pub(crate) fn rarest(random: &mut StdRng, reached: &Reached) -> Step {
    let least = STEPS.map(|step| times(reached, step)).into_iter().min().unwrap();
    let rare: Vec<Step> = STEPS.into_iter().filter(|step| times(reached, *step) == least).collect();
    rare[random.random_range(0..rare.len())]
}
