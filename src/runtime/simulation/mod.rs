//! A seeded, single-threaded simulation of whole runs: the real lane, process, swap and staging
//! code over doubles that fail, lie, delay, crash and freeze.
//!
//! One seed is one run: the same seed gives the same run, call by call. Virtual time makes an hour
//! of waiting cost nothing. [`world`] is the outside with its [`log`], [`faults`], [`staging`] and [`power`]
//! what goes wrong with it, [`doubles`] and [`sinks`] the components over it, [`checker`] and
//! [`files`] the invariants, [`scenario`] and [`processes`] who does what.
//!
//! More seeds: `ACEQUIA_SEEDS=1000 cargo test --release --lib simulation`. One seed, printed:
//! `ACEQUIA_SEED=17 cargo test --lib simulation::tests::replays_one_seed -- --nocapture`.

mod checker;
mod doubles;
mod faults;
mod files;
mod log;
#[cfg(test)]
mod model;
mod power;
mod processes;
mod scenario;
mod sinks;
mod staging;
#[cfg(test)]
mod tests;
mod world;
