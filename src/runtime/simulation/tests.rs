//! Many seeds, every crash step, every mutant.

use std::sync::atomic::{AtomicU64, Ordering};

use super::scenario::{Fate, Plan, simulate};
use crate::mutants::Mutant;

/// Within so many seeds each mutant must be found.
const MUTANT_SEEDS: u64 = 300;

fn number_from(name: &str, otherwise: u64) -> u64 {
    #[allow(clippy::disallowed_methods)]
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Fail with the seed, having printed the whole run.
fn expect_clean(plan: Plan) {
    if let Some(violation) = simulate(plan).violation {
        simulate(Plan { verbose: true, ..plan });
        panic!("{plan:?} broke a promise: {violation}");
    }
}

#[test]
fn keeps_every_promise_under_faults() {
    for seed in 0..number_from("ACEQUIA_SEEDS", 300) {
        expect_clean(Plan { seed, ..Plan::default() });
    }
}

/// Crash at every call of `seed`; returns how many runs that took.
fn crash_everywhere(seed: u64, every_fate: bool) -> u64 {
    const FATES: [Fate; 3] = [Fate::Crash, Fate::Freeze, Fate::PowerFailure];
    let calls = simulate(Plan { seed, ..Plan::default() }).calls;
    let mut runs = 0;
    for call in 1..=calls {
        // Now and then the process that recovers meets the same, each time a little later.
        let then = (call % 4 == 0).then_some(1 + call / 4 % 60);
        let turn = call as usize % FATES.len();
        let fates = if every_fate { &FATES[..] } else { &FATES[turn..=turn] };
        for fate in fates.iter().copied() {
            expect_clean(Plan { seed, at: Some(call), then, fate, ..Plan::default() });
            runs += 1;
        }
    }
    runs
}

/// One fate a call, one after the other, of the first seed; all fates of as many seeds as
/// `ACEQUIA_CRASH_SEEDS` asks for, on all cores (in the release profile some seconds a seed).
#[test]
fn keeps_every_promise_at_every_crash_step() {
    let seeds = number_from("ACEQUIA_CRASH_SEEDS", 0);
    if seeds == 0 {
        crash_everywhere(0, false);
        return;
    }
    let (next, runs) = (AtomicU64::new(0), AtomicU64::new(0));
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            runs.fetch_add(crash_everywhere(seed, true), Ordering::Relaxed);
            println!(
                "seed {seed} clean at every call, {} runs so far",
                runs.load(Ordering::Relaxed)
            );
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(worker);
        }
    });
}

/// The invariants that each mutant breaks: the first found must be one of them.
fn broken_by(mutant: Mutant) -> &'static [&'static str] {
    match mutant {
        Mutant::NoFence => &["I4", "I6"],
        Mutant::ReadBeforeFence => &["I1", "I2", "I4", "I7"],
        Mutant::CasByStatusCode => &["I10"],
        Mutant::NoNonceCheck => &["I4", "I6"],
        Mutant::PublishBeforePrepare => &["I3"],
        Mutant::RecoverIgnoresPending => &["I2"],
        Mutant::AdviseBeforePublish => &["I9"],
        Mutant::AbortByAge => &["I5"],
        Mutant::AbortAfterUnclearPrepare => &["I5", "I10"],
        Mutant::OrdinalNotStored => &["I7"],
        Mutant::ChildBeforeParent => &["I8"],
        Mutant::FilteredRangeNotCarried => &["I2", "I3", "I7", "I12"],
        Mutant::DeadLettersFlushedFirst => &["I2", "I9"],
        Mutant::ControlReadBeforeFence => &["I4", "I13"],
        Mutant::EpochNotCutOnControl => &["I10"],
        Mutant::FilteredExpireDeletes => &["I2", "I9"],
        Mutant::StaleReadAheadKept => &["I13"],
        Mutant::ControlAdoptedInOpenEpoch => &["I13"],
        Mutant::DeadFeedIsTheEnd => &["I1"],
        Mutant::SettleSkipped => &["I5"],
        Mutant::GivenUpEpochLeavesFiles => &["I6"],
        Mutant::FloodCountsRedo => &["I10"],
        Mutant::HeavyEpochGoesOn => &["I10"],
        Mutant::FirstAnswerForAll => &["I2", "I9"],
    }
}

#[test]
fn finds_every_mutant() {
    let mut wrong = Vec::new();
    for mutant in Mutant::ALL {
        let found = (0..MUTANT_SEEDS).find_map(|seed| {
            let plan = Plan { seed, mutant: Some(mutant), ..Plan::default() };
            // A suspicion is no broken promise yet.
            let violation = simulate(plan).violation.filter(|what| what.starts_with('I'))?;
            Some((seed, violation))
        });
        let Some((seed, violation)) = found else {
            wrong.push(format!("{mutant:?} was not found"));
            continue;
        };
        println!("{:28} seed {seed:3}  {violation:.100}", format!("{mutant:?}"));
        let invariant = violation.split(':').next().unwrap_or_default();
        if !broken_by(mutant).contains(&invariant) {
            wrong.push(format!("{mutant:?} was found by another invariant: {violation}"));
        }
        let sound = simulate(Plan { seed, ..Plan::default() });
        if let Some(violation) = sound.violation {
            wrong.push(format!("seed {seed} fails without {mutant:?}: {violation}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..10 {
        let plan = Plan { seed, ..Plan::default() };
        assert_eq!(simulate(plan).trace, simulate(plan).trace, "seed {seed}");
    }
}

/// Prints one run: set `ACEQUIA_SEED`; and for a run with a mishap `ACEQUIA_AT` (the call of the
/// first process), `ACEQUIA_THEN` (that of the second) and `ACEQUIA_FATE` (0 to 2: crash, freeze,
/// power failure).
#[test]
fn replays_one_seed() {
    let asked = |name| Some(number_from(name, u64::MAX)).filter(|number| *number != u64::MAX);
    let seed = asked("ACEQUIA_SEED");
    let fate = match asked("ACEQUIA_FATE") {
        Some(1) => Fate::Freeze,
        Some(2) => Fate::PowerFailure,
        _ => Fate::Crash,
    };
    let (at, then) = (asked("ACEQUIA_AT"), asked("ACEQUIA_THEN"));
    let verbose = seed.is_some();
    let seed = seed.unwrap_or_default();
    let outcome = simulate(Plan { seed, at, then, fate, verbose, ..Plan::default() });
    assert_eq!(outcome.violation, None, "seed {seed}");
}
