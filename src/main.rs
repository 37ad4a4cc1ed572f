//! The program: parse, start telemetry, run the verb, answer with an exit code.

fn main() {}
