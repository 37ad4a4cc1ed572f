//! Trains the sentiment model: `cargo run --release --example train_sentiment -- --help`.

mod calibrate;
mod learn;
mod measure;
mod recipe;
mod report;
mod rows;
mod train;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Train a sentiment model from labelled messages
///
/// A recipe names the files to learn from, and those to judge the result by. Files are text, one
/// message a line: label, language, text, with tabs between; docs/sentiment.md has the rest. The model
/// is written whole or not at all, with a manifest of what it was trained on beside it.
#[derive(Debug, Parser)]
#[command(
    name = "cargo run --release --example train_sentiment --",
    max_term_width = 100,
    after_help = "Examples:\n  \
        train_sentiment --public ~/data/sentiment            the program's own model, in place\n  \
        train_sentiment --recipe mine.yaml --model mine.bin  a model of your own"
)]
struct Options {
    /// What to train on
    #[arg(long, default_value = "data/sentiment/recipe.yaml")]
    recipe: PathBuf,
    /// Folder of the public data that the recipe names as `public/…`
    #[arg(long)]
    public: Option<PathBuf>,
    /// Where to write the model
    #[arg(long, default_value = "src/sentiment/model.bin")]
    model: PathBuf,
    /// Where to write what it was trained on; the model's path with `.manifest.json` by default
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// Where to write the figures as a page
    #[arg(long)]
    report: Option<PathBuf>,
    /// Train on a quarter and on half of the own data too, and show what more data gives
    #[arg(long)]
    curve: bool,
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
    let recipe = recipe::Recipe::read(&options.recipe, options.public.as_deref())?;
    let data = rows::Data::read(&recipe)?;
    eprintln!("{}", report::sources(&recipe, &data));
    let manifest = report::manifest(&recipe, &data)?;
    let trained = train::train(&recipe, &data, rows::Share::ALL)?;
    let weights = trained.weights(&recipe.name, &manifest);
    let bytes = weights.write();
    let mut page = report::figures(&recipe, &data, &trained, &bytes)?;
    if options.curve {
        page.push_str(&report::curve(&recipe, &data, &trained)?);
    }
    println!("{page}");
    if options.dry_run {
        return Ok(());
    }
    let beside = || options.model.with_extension("manifest.json");
    write(&options.manifest.clone().unwrap_or_else(beside), manifest.as_bytes())?;
    write(&options.model, &bytes)?;
    if let Some(path) = &options.report {
        write(path, page.as_bytes())?;
    }
    eprintln!("wrote {} ({} bytes)", options.model.display(), bytes.len());
    Ok(())
}

/// Write a file whole, or leave what was there.
fn write(path: &std::path::Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let said = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let part = path.with_extension("part");
    std::fs::write(&part, bytes).map_err(said)?;
    std::fs::rename(&part, path).map_err(said)?;
    Ok(())
}
