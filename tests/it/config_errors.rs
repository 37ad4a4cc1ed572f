//! Mistakes in YAML: whole messages, as snapshots.
