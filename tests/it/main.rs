//! The integration tests: one binary, one module for each theme.

mod archive;
mod cli;
mod config_errors;
mod decode;
mod delivery;
mod faults;
mod golden;
mod lake;
mod program;
mod reference;
mod tidy;
