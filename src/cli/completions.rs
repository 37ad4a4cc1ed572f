//! `acequia completions`: the script that completes verbs and options in a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Outcome, Terminal};
use crate::error::Result;

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  acequia completions bash > ~/.local/share/bash-completion/completions/acequia"
)]
pub(super) struct Options {
    /// The shell
    shell: Shell,
}

pub(super) fn execute(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "acequia", &mut script);
    terminal.print(&String::from_utf8_lossy(&script));
    Ok(Outcome::Done)
}
