//! What the stage `sentiment` costs: the same rows into a lake without it and with it, in turn.

use acequia::Result;
use acequia::sources::archive::sample::{BulkSample, RowForm, RowOrder};

use crate::inputs::Input;
use crate::measurement::median;
use crate::report::grouped;
use crate::{Setup, program};

/// What the ratio has to reach.
const BAR: f64 = 0.7;
/// The stage as a user writes it, with every column.
const STAGE: &str = "[ { sentiment: { text: content, into: { label: feels, score: feels_score, \
                     confidence: feels_confidence, language: told_language, model: judged_by } } } ]";

/// Measure and print.
pub(crate) fn run(rows: u64, setup: &Setup) -> Result<()> {
    println!("\n## rows into a lake, without and with sentiment");
    let sample =
        BulkSample { seed: 1, rows, days: 30, order: RowOrder::Time, form: RowForm::Plain };
    let input = Input::ready(&setup.folder, sample)?;
    input.warm()?;
    println!("{} rows, {:.0} MB", grouped(rows), input.bytes as f64 / 1e6);
    let folder = setup.folder.join("acequia");
    let mut ratios = Vec::new();
    for round in 1..=setup.rounds {
        let without = || program::run(&folder, &input, None);
        let with = || program::run_through(&folder, &input, STAGE);
        // The second may find a warmer machine.
        let (without, with) = match round % 2 {
            1 => {
                let without = without()?;
                (without, with()?)
            }
            _ => {
                let with = with()?;
                (without()?, with)
            }
        };
        let ratio = without.counted_seconds / with.counted_seconds;
        let rate = |seconds: f64| grouped((rows as f64 / seconds) as u64);
        println!(
            "round {round}: without {:.2} s, {}/s; with {:.2} s, {}/s, peak {:.0} MiB; ratio {ratio:.2}",
            without.counted_seconds,
            rate(without.counted_seconds),
            with.counted_seconds,
            rate(with.counted_seconds),
            with.memory.peak as f64 / f64::from(1 << 20)
        );
        ratios.push(ratio);
    }
    let middle = median(&ratios);
    let verdict = if middle >= BAR { "reached" } else { "MISSED" };
    println!("ratio {middle:.2}, the median of {ratios:.2?}; bar {BAR}: {verdict}");
    Ok(())
}
