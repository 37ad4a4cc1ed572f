//! Golden pipelines: YAML, input and expected rows.
