//! The only reader of YAML and the environment.

pub mod environment;
