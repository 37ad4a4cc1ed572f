//! Trains the head that tells intents apart: `cargo run --release --example train_intents -- --help`.

mod learn;
mod measure;
mod report;
mod rows;
mod train;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// Train an intent model from labelled messages
///
/// Files are text, one message a line: intent, language (es, en or mix), text, with tabs between.
/// Messages with the same words count once. A tenth is only judged by, a tenth sets temperature and
/// threshold; which, the words decide. A class called `none` is for messages without an intent. The
/// model is written whole or not at all, with a manifest of what it was trained on beside it.
#[derive(Debug, Parser)]
#[command(
    name = "cargo run --release --example train_intents --",
    max_term_width = 100,
    after_help = "Examples:\n  \
        train_intents --dry-run                                  the figures of the project's own messages\n  \
        train_intents --data mine.tsv --name mine-1 --model mine.bin --report figures.md"
)]
struct Options {
    /// What to train on; may be given several times
    #[arg(long, default_value = "data/intents/messages.tsv")]
    data: Vec<PathBuf>,
    /// Where to write the model
    #[arg(long, default_value = "intents.bin")]
    model: PathBuf,
    /// Where to write the figures as a page
    #[arg(long)]
    report: Option<PathBuf>,
    /// Name and version of the model, at most 32 bytes
    #[arg(long, default_value = "our-intents-1")]
    name: String,
    /// How often to train, each time in another order; the model is the mean
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// log2 of the rows of the table
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(14..=16))]
    bits: u32,
    /// Share of the intents given that are to be right, from 0 to 1: sets the threshold
    #[arg(long, default_value_t = 0.8)]
    precision: f64,
    /// Write nothing, only show the figures
    #[arg(long)]
    dry_run: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    if options.name.is_empty() || options.name.len() > 32 {
        return Err("--name has 1 to 32 bytes".into());
    }
    if !(0.0..=1.0).contains(&options.precision) {
        return Err("--precision goes from 0 to 1".into());
    }
    let data = rows::Data::read(&options.data)?;
    for remark in &data.remarks {
        eprintln!("{remark}");
    }
    let settings = train::Settings {
        seeds: options.seeds,
        bits: options.bits,
        precision: options.precision,
        ..train::Settings::default()
    };
    let manifest = report::manifest(&options.name, &settings, &data)?;
    let trained = train::train(&data, &settings, 0)?;
    let bytes = trained.named(&options.name, &manifest).write();
    let page = report::figures(&options.name, &data, &settings, &trained, &bytes)?;
    println!("{page}");
    if options.dry_run {
        return Ok(());
    }
    write(&options.model.with_extension("manifest.json"), manifest.as_bytes())?;
    write(&options.model, &bytes)?;
    if let Some(path) = &options.report {
        write(path, page.as_bytes())?;
    }
    eprintln!("wrote {} ({} bytes)", options.model.display(), bytes.len());
    Ok(())
}

/// Write a file whole, or leave what was there.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let said = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let part = path.with_extension("part");
    std::fs::write(&part, bytes).map_err(said)?;
    std::fs::rename(&part, path).map_err(said)?;
    Ok(())
}
