//! The only reader of YAML and the environment.
