//! Kafka topics, read as a member of a consumer group that says who tries; the checkpoint records
//! say from where, and who may.
//!
//! [`client`] makes the consumer and answers the group's calls, [`grants`] keeps what the group has
//! given and what of it is being read, [`member`] is the thread that polls. [`topics`] asks brokers
//! about topics, [`beginnings`] notes where they begin that are read from their end on, [`source`] hands
//! partitions out, [`reader`] reads one. [`health`] knows by the client's [`statistics`] which
//! partitions get nothing. [`sasl`] says how to log in, [`login`] gets tokens and renews them.
//! [`native`] holds the few calls of librdkafka that its Rust wrapper does not have.
//!
//! The version of an event is `(incarnation << 48) | offset`. The offsets that the group keeps are
//! advice for people who watch its lag: nothing begins at them.

mod admin;
mod beginnings;
mod client;
mod config;
mod grants;
mod health;
mod login;
mod member;
mod native;
mod reader;
mod sasl;
mod source;
mod statistics;
mod topics;

pub use self::config::{GroupProtocol, KafkaConfig, MessageOperation, StartAt, TlsConfig, Topics};
pub use self::sasl::{Misfit, SaslConfig, SaslMechanism};
pub use self::source::{INCARNATION, KafkaSource, survey};

use std::fmt;

use crate::event::PartitionId;

/// One partition of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct TopicPartition {
    topic: String,
    partition: i32,
}

impl TopicPartition {
    /// The partition of that name, `TOPIC-NUMBER`.
    fn parse(id: &PartitionId) -> Option<Self> {
        let (topic, partition) = id.as_str().rsplit_once('-')?;
        Some(Self { topic: topic.to_owned(), partition: partition.parse().ok()? })
    }

    fn id(&self) -> PartitionId {
        PartitionId::new(self.to_string())
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.topic, self.partition)
    }
}
