//! The command line. One file per verb, each a thin call into the library; [`Terminal`] is how
//! they speak.

mod checkpoint;
mod completions;
mod dead_letters;
mod figures;
mod pipeline_file;
mod preview;
mod progress_bar;
mod query;
mod rows;
mod run;
mod sample;
mod schema;
#[cfg(any(feature = "opensearch", feature = "search"))]
mod search;
mod sentiment;
mod summary;
mod terminal;
mod test;
#[cfg(feature = "opensearch")]
mod tombstones;
mod validate;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::environment;
use crate::error::{ErrorKind, Result, ResultExt};
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
    Run(run::Options),
    Validate(validate::Options),
    Test(test::Options),
    Preview(preview::Options),
    Query(query::Options),
    #[cfg(any(feature = "opensearch", feature = "search"))]
    Search(search::Options),
    Sentiment(sentiment::Options),
    DeadLetters(dead_letters::Options),
    Checkpoint(checkpoint::Options),
    #[cfg(feature = "opensearch")]
    Tombstones(tombstones::Options),
    Schema(schema::Options),
    Sample(sample::Options),
    Completions(completions::Options),
}

/// How a verb ended that did its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Done,
    /// Its answer is no: a pipeline's test failed.
    Failed,
    /// The configuration is wrong, and the verb has said so in its own way.
    Invalid,
}

/// Run the verb.
///
/// # Errors
/// Whatever stopped it; the kind decides the exit code.
pub fn execute(cli: Cli, terminal: &Terminal) -> Result<Outcome> {
    let log = start_log(&cli.global, terminal)?;
    match cli.verb {
        Verb::Run(options) => run::execute(&options, &log, terminal),
        Verb::Validate(options) => validate::execute(&options, terminal),
        Verb::Test(options) => test::execute(&options, terminal),
        Verb::Preview(options) => preview::execute(&options, terminal),
        Verb::Query(options) => query::execute(&options, terminal),
        #[cfg(any(feature = "opensearch", feature = "search"))]
        Verb::Search(options) => search::execute(&options, terminal),
        Verb::Sentiment(options) => sentiment::execute(&options, terminal),
        Verb::DeadLetters(options) => dead_letters::execute(&options, terminal),
        Verb::Checkpoint(options) => checkpoint::execute(&options, terminal),
        #[cfg(feature = "opensearch")]
        Verb::Tombstones(options) => tombstones::execute(&options, terminal),
        Verb::Schema(options) => schema::execute(&options, terminal),
        Verb::Sample(options) => sample::execute(&options, terminal),
        Verb::Completions(options) => completions::execute(&options, terminal),
    }
}

/// Run the asynchronous part of a verb to its end.
fn block_on<T>(work: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .or_error(ErrorKind::Fatal, || "cannot start the runtime".to_owned())?;
    let done = runtime.block_on(work);
    // What still blocks on a file (a read ahead of a drained lane) is not waited for.
    runtime.shutdown_background();
    Ok(done)
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
