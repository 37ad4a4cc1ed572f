//! How far behind its partition a lane is, for its metrics.

use super::Lane;

impl Lane {
    /// How much is left: in bytes or in records, where the end is known, and by the time of events.
    pub(super) fn show_lag(&self) {
        let Some(at) = self.at.offset() else { return };
        if let (Some(size), Some(start)) = (self.start.size, self.start.start.offset()) {
            self.metrics.lag(size.saturating_sub(at.saturating_sub(start)));
        }
        let end = self.parts.source.known_end(&self.start.partition);
        let Some(end) = end.and_then(|end| end.offset()) else { return };
        let left = end.saturating_sub(at);
        self.metrics.lag_records(left);
        // Where nothing is left the newest event is old because nothing newer has happened.
        let lag = match left {
            0 => Some(0),
            _ => self.newest.map(|newest| {
                let now = self.parts.documents.context.clock.now_micros();
                u64::try_from(now.saturating_sub(newest)).unwrap_or_default()
            }),
        };
        if let Some(micros) = lag {
            self.metrics.lag_time(micros);
        }
    }
}
