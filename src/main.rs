//! The program: parse, run the verb, answer with an exit code.

use std::process::ExitCode;

use acequia::cli::{self, Cli, Outcome, Terminal};
use acequia::{Error, ErrorKind};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Few arenas hold less memory at the same speed; pages that were freed go back after ten seconds,
/// those of large blocks too, since a second costs a twentieth of the time. `MALLOC_CONF` overrules it.
// SAFETY: jemalloc reads the symbol once, as a C string; nothing else has the name.
#[allow(unsafe_code, non_upper_case_globals)]
#[unsafe(export_name = "malloc_conf")]
pub static malloc_conf: &[u8] = b"narenas:4,dirty_decay_ms:10000,oversize_threshold:0\0";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let terminal = Terminal::detect();
    match cli::execute(cli, &terminal) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(1),
        Ok(Outcome::Invalid) => ExitCode::from(2),
        Err(error) => {
            terminal.complain(&error);
            exit_code(&error)
        }
    }
}

/// The one place where a kind of error becomes an exit code; `docs/operations.md` lists them.
fn exit_code(error: &Error) -> ExitCode {
    match error.kind() {
        ErrorKind::Retryable | ErrorKind::Data | ErrorKind::Fatal => ExitCode::from(1),
        ErrorKind::Config => ExitCode::from(2),
        ErrorKind::Halted => ExitCode::from(3),
    }
}
