//! One server as a child process: ready when `start` returns, and put through what a server can
//! suffer.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::cache::{RunFolder, tail};
use super::guard::{Guarded, PAUSE};

/// A server that takes longer for a start or an end hangs; a machine may be busy with much else.
const LONGEST: Duration = Duration::from_secs(120);
/// How much of a server's log is shown where it fails.
const LOG_LINES_SHOWN: usize = 40;
/// What a server has written, in its folder.
const LOG: &str = "server.log";

/// Ports are looked for from here...
const PORT_FIRST: u32 = 20_000;
/// ...and end well below 32768, where Linux begins to give ports to outgoing connections.
const PORTS: u32 = 12_000;
/// Processes that were started one after the other begin so far apart; few need as many.
const PORTS_APART: u32 = 100;
/// A server that does not take a connection for so long is there all the same.
const CONNECT_LONGEST: Duration = Duration::from_secs(1);

/// A port of the loopback interface that nobody listens on. This process gives each port once, and
/// two processes seldom look at the same ones.
///
/// Whether somebody listens is found out by connecting. To bind it for a moment would be more
/// direct, but a process that another thread starts in that moment inherits the socket until it
/// becomes its program, and the port stays taken for as long.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(PORTS_APART);
    for _ in 0..PORTS {
        let place = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = u16::try_from(PORT_FIRST + place).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let answer = TcpStream::connect_timeout(&address, CONNECT_LONGEST);
        if answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
            return port;
        }
    }
    panic!("no port is free from {PORT_FIRST} on, {PORTS} of them")
}

/// How to run a server.
pub(crate) struct Recipe {
    /// Its name for people.
    pub(crate) name: &'static str,
    /// The program, by path or to be found as a shell finds it.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Whether it is ready, given what it has written since this start.
    pub(crate) is_ready: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

/// A server in a folder of its own. Dropping it kills the process and removes the folder.
///
/// It can be stopped and started again as often as wanted, with the same ports and data.
pub(crate) struct Server {
    recipe: Recipe,
    running: Option<Guarded>,
    // Declared last: the folder goes after the process.
    folder: RunFolder,
}

impl Server {
    /// Start it and wait until it is ready.
    ///
    /// # Panics
    ///
    /// Where it ends or takes too long, with the end of its log.
    pub(crate) fn start(recipe: Recipe, folder: RunFolder) -> Self {
        let mut server = Self { recipe, running: None, folder };
        server.bring_up();
        server
    }

    /// The folder it runs in.
    pub(crate) fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// Its process, where it runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        self.running.as_ref().map(Guarded::pid)
    }

    /// All that it has written, over all its lives.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.folder.join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Ask it to end (`SIGTERM`) and wait until it has.
    pub(crate) fn stop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        running.signal(Signal::TERM);
        // A frozen one hears it only when it goes on.
        running.signal(Signal::CONT);
        assert!(running.ends_within(LONGEST), "{}", self.complaint("does not stop"));
    }

    /// End it as a power failure would (`SIGKILL`).
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// Halt it where it stands (`SIGSTOP`): connections stay open and nobody answers.
    pub(crate) fn freeze(&mut self) {
        self.signal(Signal::STOP);
    }

    /// Let a frozen one go on (`SIGCONT`).
    pub(crate) fn thaw(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Stop it if it runs, start it on the same ports and data, and wait until it is ready.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.bring_up();
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(running) = &mut self.running {
            running.signal(signal);
        }
    }

    fn bring_up(&mut self) {
        // An earlier life was ready too, and said so.
        let written_before = self.log().len();
        let end = Instant::now() + LONGEST;
        let mut running = Guarded::start(
            &self.recipe.program,
            &self.recipe.arguments,
            self.folder.path(),
            &self.folder.join(LOG),
        );
        loop {
            let ended = running.ended();
            let log = self.log();
            if let Some(status) = ended {
                panic!("{}", self.complaint(&format!("ended before it was ready, {status}")));
            }
            if (self.recipe.is_ready)(log.get(written_before..).unwrap_or_default()) {
                break;
            }
            assert!(Instant::now() < end, "{}", self.complaint("is not ready in time"));
            std::thread::park_timeout(PAUSE);
        }
        self.running = Some(running);
    }

    fn complaint(&self, what: &str) -> String {
        let (name, log) = (self.recipe.name, tail(&self.log(), LOG_LINES_SHOWN));
        format!("{name} {what}; its log ends:\n{log}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.complaint("served a test that failed"));
        }
    }
}
