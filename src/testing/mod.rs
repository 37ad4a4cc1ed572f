//! Doubles and conformance suites for tests and benches.

pub mod staging;
