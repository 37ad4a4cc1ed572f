//! A process that cannot outlive the one that started it.
//!
//! Not by the parent-death signal of Linux, which is sent when the *thread* ends that started the
//! child, and tests run on threads that come and go. Instead a shell stands between the two. It
//! starts the server and reads from a pipe whose other end only this process holds; however this
//! process ends, the kernel closes the pipe, and the shell kills the server.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often something is looked at that is waited for.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// The guard: it runs `$2...` with the output in the file `$1`, says the server's process, and
/// ends as the server ends.
///
/// The reader is a second process, so that the first can wait for the server. That way there is no
/// moment when the server has ended unnoticed and its number may mean another process. The signals
/// of a terminal are ignored only after the server has started, which would inherit that.
const SCRIPT: &str = r#"
log=$1
shift
exec 3<&0 </dev/null
"$@" >>"$log" 2>&1 3<&- &
server=$!
trap '' HUP INT TERM
echo "$server"
{ read -r _ <&3; kill -9 "$server"; } >/dev/null &
reader=$!
exec 3<&- >/dev/null
wait "$server"
status=$?
kill -9 "$reader"
exit "$status"
"#;

/// A process under guard; it is killed when this is dropped, and when this process ends.
pub(crate) struct Guarded {
    shell: Child,
    pid: Pid,
    /// Held for its being open. `None` once it has been closed.
    pipe: Option<ChildStdin>,
}

impl Guarded {
    /// Start `program` in `folder`; what it writes is appended to the file `log`.
    ///
    /// A program that does not exist is one that ends with code 127 and says so in the log.
    pub(crate) fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        folder: &Path,
        log: &Path,
    ) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "guard"])
            .arg(log)
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C at the terminal would end the guard together with what it guards against.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start a shell: {error}"));
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = line.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.unwrap_or_else(|| panic!("the guard of {program:?} said {line:?}"));
        let pipe = shell.stdin.take();
        Self { shell, pid, pipe }
    }

    /// The process itself, not its guard.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, if it has: codes above 128 are 128 and the number of a signal.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().unwrap()
    }

    /// Send it a signal, unless it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            // It may end between the look and the signal.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// True once it has ended, which is waited for no longer than `longest`.
    pub(crate) fn ends_within(&mut self, longest: Duration) -> bool {
        let end = Instant::now() + longest;
        while self.ended().is_none() {
            if Instant::now() > end {
                return false;
            }
            std::thread::park_timeout(PAUSE);
        }
        true
    }

    /// Close the pipe, as the end of this process does.
    pub(crate) fn close_pipe(&mut self) {
        self.pipe = None;
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.close_pipe();
        let _ = self.shell.wait();
    }
}
