//! Doubles and conformance suites for tests and benches.
