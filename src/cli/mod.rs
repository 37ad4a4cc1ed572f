//! The command line. One file per verb, each a thin call into the library; [`Terminal`] is how
//! they speak.

mod completions;
mod figures;
mod progress_bar;
mod summary;
mod terminal;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::environment;
use crate::error::Result;
use crate::telemetry::logs::{self, LogFormat, LogOutput, LogSettings};

pub use terminal::Terminal;

/// What is logged where nobody asked for anything else: on a terminal the progress bar says the
/// rest, elsewhere the log is all there is. The steps of each epoch are for those who ask.
const LOG_ON_TERMINAL: &str = "warn";
const LOG_ELSEWHERE: &str = "info,acequia::protocol=warn";

/// Turns database change events into Hive-partitioned Parquet, exactly once.
#[derive(Debug, Parser)]
#[command(name = "acequia", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Start here:\n  acequia run pipelines/quickstart.yaml\n\n\
Exit codes: 0 finished or drained, 1 failed, 2 configuration or usage,\n\
3 stopped by a guard and an operator must decide.")]
pub struct Cli {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every verb.
#[derive(Debug, Args)]
struct GlobalOptions {
    /// What to log: a level (error, warn, info, debug, trace) or `target=level` pairs; default is
    /// the variable ACEQUIA_LOG
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Logging")]
    log: Option<String>,
    /// Form of the log lines on standard error
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Logging")]
    log_format: LogFormatOption,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum LogFormatOption {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Completions(completions::Options),
}

/// How a verb ended that did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Done,
    /// Its answer is no: a pipeline's test failed.
    Failed,
}

/// Run the verb.
///
/// # Errors
/// Whatever stopped it; the kind decides the exit code.
pub fn execute(cli: Cli, terminal: &Terminal) -> Result<Outcome> {
    let _log = start_log(&cli.global, terminal)?;
    match cli.verb {
        Verb::Completions(options) => completions::execute(&options, terminal),
    }
}

fn start_log(options: &GlobalOptions, terminal: &Terminal) -> Result<LogOutput> {
    let unasked = if terminal.is_interactive() { LOG_ON_TERMINAL } else { LOG_ELSEWHERE };
    let filter = options.log.clone().or_else(|| environment::variable("ACEQUIA_LOG"));
    logs::start(&LogSettings {
        filter: filter.unwrap_or_else(|| unasked.to_owned()),
        format: match options.log_format {
            LogFormatOption::Text => LogFormat::Text,
            LogFormatOption::Json => LogFormat::Json,
        },
        colors: terminal.colors_on_error(),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_shows_an_example() {
        for verb in Cli::command().get_subcommands_mut() {
            let (name, help) = (verb.get_name().to_owned(), verb.render_long_help().to_string());
            assert!(help.contains("Example"), "`acequia {name} --help` has no example:\n{help}");
            assert!(verb.get_about().is_some(), "`acequia {name}` does not say what it is for");
        }
    }
}
