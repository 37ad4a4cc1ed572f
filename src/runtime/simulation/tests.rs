//! Many seeds, every crash step, every mutant.

use super::scenario::{Plan, simulate};
use crate::mutants::Mutant;

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
    for seed in 0..number_from("ACEQUIA_SEEDS", 200) {
        expect_clean(Plan { seed, ..Plan::default() });
    }
}

#[test]
fn keeps_every_promise_at_every_crash_step() {
    for seed in 0..number_from("ACEQUIA_CRASH_SEEDS", 2) {
        let calls = simulate(Plan { seed, ..Plan::default() }).calls;
        for call in 1..=calls {
            expect_clean(Plan { seed, crash_at: Some(call), ..Plan::default() });
            expect_clean(Plan { seed, freeze_at: Some(call), ..Plan::default() });
        }
    }
}

#[test]
fn finds_every_mutant() {
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        let found = (0..300).find_map(|seed| {
            let plan = Plan { seed, mutant: Some(mutant), ..Plan::default() };
            simulate(plan).violation.map(|violation| (seed, violation))
        });
        match found {
            Some((seed, violation)) => {
                println!("{:28} seed {seed:3}  {violation:.100}", format!("{mutant:?}"));
            }
            None => missed.push(mutant),
        }
    }
    assert!(missed.is_empty(), "not found within 300 seeds: {missed:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..10 {
        let plan = Plan { seed, ..Plan::default() };
        assert_eq!(simulate(plan).trace, simulate(plan).trace, "seed {seed}");
    }
}

/// Prints one run: set `ACEQUIA_SEED`.
#[test]
fn replays_one_seed() {
    let seed = number_from("ACEQUIA_SEED", 0);
    let verbose = number_from("ACEQUIA_SEED", u64::MAX) != u64::MAX;
    let outcome = simulate(Plan { seed, verbose, ..Plan::default() });
    assert_eq!(outcome.violation, None, "seed {seed}");
}
