//! The flood guard: a wrong contract must not drain a stream into dead letters.

use std::collections::VecDeque;

/// Records that the guard looks back on.
pub const WINDOW_RECORDS: u64 = 100_000;

/// Counts the dead letters among the last 100,000 records of one lane. Counted by batches: the
/// oldest batch leaves when the newer ones fill the window without it.
#[derive(Debug, Clone)]
pub struct FloodGuard {
    limit: u64,
    batches: VecDeque<(u64, u64)>,
    records: u64,
    letters: u64,
}

/// Too many dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flood {
    /// Dead letters found.
    pub letters: u64,
    /// Among so many records.
    pub records: u64,
    /// The most that are allowed.
    pub limit: u64,
}

impl FloodGuard {
    /// A guard that allows `limit` dead letters in the window.
    pub fn new(limit: u32) -> Self {
        Self { limit: limit.into(), batches: VecDeque::new(), records: 0, letters: 0 }
    }

    /// Count a batch.
    pub fn record(&mut self, records: u64, letters: u64) -> Result<(), Flood> {
        self.batches.push_back((records, letters));
        self.records += records;
        self.letters += letters;
        while let Some(&(records, letters)) = self.batches.front() {
            if self.records - records < WINDOW_RECORDS {
                break;
            }
            self.records -= records;
            self.letters -= letters;
            self.batches.pop_front();
        }
        if self.letters > self.limit {
            return Err(Flood { letters: self.letters, records: self.records, limit: self.limit });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allows_the_limit_and_stops_above_it() {
        let mut guard = FloodGuard::new(10);
        guard.record(500, 10).unwrap();
        guard.record(500, 0).unwrap();
        assert_eq!(guard.record(1, 1), Err(Flood { letters: 11, records: 1001, limit: 10 }));
    }

    #[test]
    fn forgets_what_lies_before_the_window() {
        let mut guard = FloodGuard::new(10);
        guard.record(1_000, 10).unwrap();
        guard.record(WINDOW_RECORDS, 0).unwrap();
        guard.record(1_000, 10).unwrap();
    }
}
