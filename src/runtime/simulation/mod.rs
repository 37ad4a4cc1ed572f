//! A seeded, single-threaded simulation of whole runs: the real lane, process, swap and staging
//! code over doubles that fail, lie, delay, crash and freeze.
//!
//! One seed is one run: the same seed gives the same run, call by call. Virtual time makes an hour
//! of waiting cost nothing. [`world`] is the outside, [`faults`] what goes wrong with it,
//! [`doubles`] the components over it, [`checker`] the invariants, [`scenario`] who does what.
//!
//! More seeds: `ACEQUIA_SEEDS=1000 cargo test --release --lib simulation`. One seed, printed:
//! `ACEQUIA_SEED=17 cargo test --lib simulation::tests::replays_one_seed -- --nocapture`.

mod checker;
mod doubles;
mod faults;
#[cfg(test)]
mod model;
mod scenario;
#[cfg(test)]
mod tests;
mod world;
