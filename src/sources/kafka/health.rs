//! Which partitions get nothing, although the client tries.
//!
//! librdkafka tries again by itself, and says little: of a refusal once, of a broker that is away
//! nothing that belongs to a partition, of its return nothing at all. Its statistics tell which
//! brokers it is connected to, and readers tell what their partitions were refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::TopicPartition;
use super::statistics::{Broker, Statistics};

/// Connections break and come back: a broker is missed after this time.
const PATIENCE: Duration = Duration::from_secs(5);
/// A broker that is asked and says nothing for so long, in microseconds, counts as away. It answers
/// a fetch within half a second, with nothing where there is nothing.
const SILENCE_MICROS: i64 = 10_000_000;
/// The state of a connection on which requests are sent.
const CONNECTED: &str = "UP";

/// What is known of the partitions that are being fetched.
#[derive(Debug, Default)]
pub(super) struct Health {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The broker has refused them, or failed at them, and has not given them since.
    refused: BTreeSet<TopicPartition>,
    /// No connection to the broker that leads them, since when.
    cut_off: BTreeMap<TopicPartition, Instant>,
    /// Those that have been cut off for longer than [`PATIENCE`].
    away: BTreeSet<TopicPartition>,
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of each change of which partitions are away.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The broker gives `partition`, or does not.
    pub(super) fn is_refused(&self, partition: &TopicPartition, is_refused: bool) {
        let refused = &mut self.state().refused;
        match is_refused {
            true => drop(refused.insert(partition.clone())),
            false => drop(refused.remove(partition)),
        }
    }

    /// True where no broker that has `partition` is reached.
    pub(super) fn is_away(&self, partition: &TopicPartition) -> bool {
        self.state().away.contains(partition)
    }

    /// True where `partition` gets nothing, for either reason.
    pub(super) fn is_waiting(&self, partition: &TopicPartition) -> bool {
        let state = self.state();
        state.refused.contains(partition) || state.away.contains(partition)
    }

    /// Learn from what librdkafka counts. True where every partition is connected to its broker.
    pub(super) fn learn(&self, statistics: &Statistics, now: Instant) -> bool {
        let mut state = self.state();
        let before = std::mem::take(&mut state.cut_off);
        let mut are_fetched = false;
        for counted in &statistics.topics {
            for partition in counted.partitions.iter().filter(|partition| partition.desired) {
                are_fetched = true;
                // Brokers that have no number yet have -1, as has a leader that is none.
                let leads = |broker: &&Broker| broker.nodeid == partition.leader;
                if partition.leader >= 0 && statistics.brokers.iter().filter(leads).any(answers) {
                    continue;
                }
                let (topic, partition) = (counted.topic.clone(), partition.partition);
                let one = TopicPartition { topic, partition };
                let since = before.get(&one).copied().unwrap_or(now);
                state.cut_off.insert(one, since);
            }
        }
        let is_missed = |since: &Instant| now.saturating_duration_since(*since) >= PATIENCE;
        let away = state.cut_off.iter().filter(|(_, since)| is_missed(since));
        let away: BTreeSet<_> = away.map(|(one, _)| one.clone()).collect();
        let has_changed = away != state.away;
        state.away = away;
        let is_well = are_fetched && state.cut_off.is_empty();
        drop(state);
        if has_changed {
            self.changed.send_replace(());
        }
        is_well
    }
}

fn answers(broker: &Broker) -> bool {
    let is_silent = broker.waitresp_cnt > 0 && broker.rxidle > SILENCE_MICROS;
    broker.state == CONNECTED && !is_silent
}

#[cfg(test)]
mod tests {
    use super::super::statistics::{Partition, Topic};
    use super::*;

    fn one(partition: i32) -> TopicPartition {
        TopicPartition { topic: "t".into(), partition }
    }

    /// Partition 0 is led by broker 1, partition 1 by nobody that is known.
    fn statistics(state: &str, rxidle: i64) -> Statistics {
        let broker = Broker { nodeid: 1, state: state.into(), waitresp_cnt: 1, rxidle };
        // It went and came back under its name.
        let went = Broker { nodeid: 1, state: "INIT".into(), ..Broker::default() };
        // It has no number of its own.
        let coordinator = Broker { nodeid: -1, state: "UP".into(), ..Broker::default() };
        let led = |partition, leader, desired| Partition { partition, leader, desired };
        let partitions = vec![led(0, 1, true), led(1, -1, true), led(2, -1, false)];
        let topics = vec![Topic { topic: "t".into(), partitions }];
        Statistics { brokers: vec![went.clone(), broker, went, coordinator], topics }
    }

    #[test]
    fn a_broker_is_missed_after_a_while_and_its_return_is_told() {
        let (health, start) = (Health::default(), Instant::now());
        let mut changes = health.changes();
        let mut learn = |state, rxidle, seconds| {
            health.learn(&statistics(state, rxidle), start + Duration::from_secs(seconds));
            let away = [0, 1, 2].map(|partition| health.is_away(&one(partition)));
            let is_news = changes.has_changed().unwrap();
            changes.mark_unchanged();
            (away, is_news)
        };
        assert_eq!(learn("UP", 0, 0), ([false, false, false], false));
        assert_eq!(learn("UP", 0, 5), ([false, true, false], true), "nobody leads partition 1");
        assert_eq!(learn("CONNECT", 0, 6), ([false, true, false], false));
        assert_eq!(learn("DOWN", 0, 10), ([false, true, false], false));
        assert_eq!(learn("CONNECT", 0, 11), ([true, true, false], true));
        assert_eq!(learn("UP", 0, 12), ([false, true, false], true));
        // Connected, asked, and silent.
        assert_eq!(learn("UP", 10_000_001, 13), ([false, true, false], false));
        assert_eq!(learn("UP", 15_000_000, 18), ([true, true, false], true));
    }

    #[test]
    fn a_partition_waits_while_it_is_refused() {
        let health = Health::default();
        health.is_refused(&one(0), true);
        assert!(health.is_waiting(&one(0)) && !health.is_waiting(&one(1)));
        health.is_refused(&one(0), false);
        assert!(!health.is_waiting(&one(0)));
    }
}
