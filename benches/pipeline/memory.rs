//! How much memory a run takes, by lanes and by open days.

use acequia::Result;
use acequia::sources::archive::sample::{BulkSample, RowForm, RowOrder};

use crate::Setup;
use crate::inputs::Input;
use crate::program::{self, Spread};
use crate::report::{Column, FIGURES, figures, grouped, header, line, mebibytes};
use crate::watch::MemoryUse;

const SEED: u64 = 1;
const DAYS: [u64; 3] = [1, 30, 400];
const LANES: [u64; 3] = [1, 8, 64];

const MEBIBYTE: u64 = 1 << 20;
/// What a process may take whatever it does.
const BASE: u64 = 256 * MEBIBYTE;
/// And for each lane.
const EACH_LANE: u64 = 16 * MEBIBYTE;
/// And for each core above [`CORES_IN_BASE`].
const EACH_CORE: u64 = 48 * MEBIBYTE;
const CORES_IN_BASE: u64 = 2;

/// A last third above the first by no more than this says nothing: allocators keep some pages.
const SLACK: u64 = 16 * MEBIBYTE;

static OPEN_DAYS: Column = Column::figure("days", 4);
static OPEN_LANES: Column = Column::figure("lanes", 5);
static BAR: Column = Column::figure("bar MiB", 7);
static VERDICT: Column = Column::word("verdict", 7);

/// Measure every combination and print the table.
pub(crate) fn run(rows: u64, setup: &Setup) -> Result<()> {
    println!("\n## peak of anonymous memory (RssAnon, seen from outside), days in random order");
    println!("{} rows a run; one commit a lane, at its end", grouped(rows));
    let columns: Vec<&Column> =
        [&OPEN_DAYS, &OPEN_LANES].into_iter().chain(&FIGURES).chain([&BAR, &VERDICT]).collect();
    println!("\n{}", header(&columns));
    for days in DAYS {
        let order = RowOrder::Random;
        let sample = BulkSample { seed: SEED, rows, days, order, form: RowForm::Plain };
        let input = Input::ready(&setup.folder, sample)?;
        input.warm()?;
        for lanes in LANES {
            let spread = Spread { lanes };
            let run = program::run(&setup.folder.join("acequia"), &input, Some(&spread))?;
            let bar = bar(lanes, setup.cores as u64);
            let mut cells = vec![days.to_string(), lanes.to_string()];
            cells.extend(figures(&run, rows, input.bytes));
            cells.extend([mebibytes(bar), verdict(&run.memory, bar)]);
            println!("{}", line(&columns, &cells));
        }
    }
    Ok(())
}

/// What `lanes` lanes on `cores` cores may take.
fn bar(lanes: u64, cores: u64) -> u64 {
    BASE + lanes * EACH_LANE + cores.saturating_sub(CORES_IN_BASE) * EACH_CORE
}

fn verdict(memory: &MemoryUse, bar: u64) -> String {
    let height = if memory.peak <= bar { "within" } else { "OVER" };
    let grows = memory.last_third > memory.first_third + memory.first_third / 4 + SLACK;
    format!("{height}, {}", if grows { "GROWS" } else { "flat" })
}
