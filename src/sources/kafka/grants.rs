//! What the group has given to this process, and what of it is being read: the one place that
//! knows both.
//!
//! librdkafka wants each revocation answered by taking exactly those partitions out that were put
//! in, and fetches nothing for the whole consumer until then. So a revocation waits here until its
//! readers are gone, and meanwhile nothing else is put in or taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::TopicPartition;

/// How long readers of revoked partitions may take to finish.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Partitions by what this process may do with them.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// Given by the group; true where the consumer fetches it.
    granted: BTreeMap<TopicPartition, bool>,
    /// Taken back by the group, and not handed back yet; true where the consumer fetches it.
    leaving: BTreeMap<TopicPartition, bool>,
    /// Until when the revocation waits for readers.
    deadline: Option<Instant>,
    /// Partitions that a reader is open for.
    read: BTreeSet<TopicPartition>,
}

impl Grants {
    /// The group gives `partitions`.
    pub(super) fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        for partition in partitions {
            self.granted.entry(partition).or_insert(false);
        }
    }

    /// The group takes `partitions` back and waits for readers.
    pub(super) fn revoke(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        now: Instant,
    ) {
        for partition in partitions {
            let is_fetched = self.granted.remove(&partition).unwrap_or_default();
            self.leaving.insert(partition, is_fetched);
        }
        self.deadline = Some(now + REVOCATION_TIMEOUT);
    }

    /// The group has taken `partitions` and gives no time, or the consumer closes: those to be taken
    /// out now.
    pub(super) fn lose(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Vec<TopicPartition> {
        let mut fetched = Vec::new();
        for partition in partitions {
            let was_fetched = self.granted.remove(&partition).unwrap_or_default()
                || self.leaving.remove(&partition).unwrap_or_default();
            if was_fetched {
                fetched.push(partition);
            }
        }
        fetched
    }

    /// True where a revocation waits: nothing may be put in or taken out before it is answered.
    pub(super) fn is_revoking(&self) -> bool {
        self.deadline.is_some()
    }

    /// What answers the revocation, where its readers are gone or have had their time: the
    /// partitions to take out, possibly none.
    pub(super) fn answer(&mut self, now: Instant) -> Option<Vec<TopicPartition>> {
        let deadline = self.deadline?;
        let is_read = self.leaving.keys().any(|partition| self.read.contains(partition));
        if is_read && now < deadline {
            return None;
        }
        self.deadline = None;
        let leaving = std::mem::take(&mut self.leaving);
        Some(leaving.into_iter().filter(|(_, fetched)| *fetched).map(|(one, _)| one).collect())
    }

    /// A reader wants to begin: false where the group does not give the partition, or where another
    /// reader of it is open.
    pub(super) fn begin(&mut self, partition: &TopicPartition) -> bool {
        match self.granted.get_mut(partition) {
            Some(is_fetched) if !*is_fetched && !self.read.contains(partition) => {
                *is_fetched = true;
                self.read.insert(partition.clone());
                true
            }
            _ => false,
        }
    }

    /// The reader of `partition` is gone: true where the consumer has to stop fetching it. What is
    /// leaving is taken out with its revocation.
    pub(super) fn end(&mut self, partition: &TopicPartition) -> bool {
        self.read.remove(partition);
        self.granted.get_mut(partition).is_some_and(std::mem::take)
    }

    /// True where the group gives the partition to this process.
    pub(super) fn contains(&self, partition: &TopicPartition) -> bool {
        self.granted.contains_key(partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition { topic: "t".into(), partition: number }
    }

    #[test]
    fn a_revocation_waits_for_its_readers_and_takes_out_what_was_put_in() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        grants.assign([partition(0), partition(1), partition(2)]);
        assert!(grants.begin(&partition(0)) && grants.begin(&partition(1)));
        grants.revoke([partition(0), partition(2)], now);
        assert!(grants.is_revoking() && !grants.contains(&partition(0)));
        assert_eq!(grants.answer(now), None, "partition 0 is still read");
        assert!(!grants.begin(&partition(2)), "what is leaving is not begun");
        assert!(!grants.end(&partition(0)), "it is taken out with the revocation");
        assert_eq!(grants.answer(now), Some(vec![partition(0)]));
        assert!(!grants.is_revoking() && grants.answer(now).is_none());
        assert!(grants.contains(&partition(1)));
    }

    #[test]
    fn readers_that_do_not_end_are_not_waited_for_without_end() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        grants.assign([partition(0)]);
        assert!(grants.begin(&partition(0)));
        grants.revoke([partition(0)], now);
        assert_eq!(grants.answer(now + REVOCATION_TIMEOUT), Some(vec![partition(0)]));
        // It comes back while the old reader is still there: one reader at a time.
        grants.assign([partition(0)]);
        assert!(!grants.begin(&partition(0)));
        assert!(!grants.end(&partition(0)), "nothing was put in since");
        assert!(grants.begin(&partition(0)));
    }

    #[test]
    fn nothing_that_was_never_begun_is_taken_out() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        grants.assign([]);
        grants.assign([partition(0)]);
        grants.revoke([partition(0)], now);
        assert_eq!(grants.answer(now), Some(Vec::new()));
        grants.assign([partition(0), partition(1)]);
        assert!(grants.begin(&partition(1)));
        assert_eq!(grants.lose([partition(0), partition(1)]), [partition(1)]);
        assert!(!grants.end(&partition(1)));
    }

    #[test]
    fn a_partition_may_be_read_again_under_the_same_grant() {
        let mut grants = Grants::default();
        grants.assign([partition(0)]);
        assert!(grants.begin(&partition(0)) && !grants.begin(&partition(0)));
        assert!(grants.end(&partition(0)), "the consumer stops fetching");
        assert!(grants.begin(&partition(0)));
    }

    #[test]
    fn a_loss_in_the_middle_of_a_revocation_takes_out_at_once() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        grants.assign([partition(0)]);
        assert!(grants.begin(&partition(0)));
        grants.revoke([partition(0)], now);
        assert_eq!(grants.lose([partition(0)]), [partition(0)]);
        assert_eq!(grants.answer(now + REVOCATION_TIMEOUT), Some(Vec::new()));
    }
}
