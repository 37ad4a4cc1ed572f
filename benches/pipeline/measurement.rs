//! What one run of one program gave, and medians of several.

use crate::watch::MemoryUse;

/// One run, or the medians of several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurement {
    /// Wall time of the whole process, its start and its end included.
    pub(crate) process_seconds: f64,
    /// What the program says that it took.
    pub(crate) own_seconds: f64,
    /// The one of the two that rates and ratios go by.
    pub(crate) counted_seconds: f64,
    /// Anonymous memory.
    pub(crate) memory: MemoryUse,
    /// Parquet files written.
    pub(crate) files: u64,
    /// Their bytes.
    pub(crate) file_bytes: u64,
    /// Commits, of a program that makes any.
    pub(crate) commits: Option<u64>,
}

impl Measurement {
    /// The median of each figure by itself.
    pub(crate) fn medians(all: &[Self]) -> Self {
        Self {
            process_seconds: median_of(all, |run| run.process_seconds),
            own_seconds: median_of(all, |run| run.own_seconds),
            counted_seconds: median_of(all, |run| run.counted_seconds),
            memory: MemoryUse {
                peak: median_of(all, |run| run.memory.peak as f64) as u64,
                first_third: median_of(all, |run| run.memory.first_third as f64) as u64,
                last_third: median_of(all, |run| run.memory.last_third as f64) as u64,
            },
            files: median_of(all, |run| run.files as f64) as u64,
            file_bytes: median_of(all, |run| run.file_bytes as f64) as u64,
            // The same input is cut at the same places.
            commits: all.first().and_then(|run| run.commits),
        }
    }
}

fn median_of(all: &[Measurement], figure: impl Fn(&Measurement) -> f64) -> f64 {
    median(&all.iter().map(figure).collect::<Vec<_>>())
}

/// The value in the middle, or the mean of the two that are; NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
    let upper = sorted.len() / 2;
    let lower = sorted.len().saturating_sub(1) / 2;
    f64::midpoint(at(lower), at(upper))
}
