//! The settings of a Kafka source.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sasl::SaslConfig;
use crate::codec::Format;
use crate::event::Operation;
use crate::units::{ByteSize, Interval};

/// Topics of a Kafka cluster, read as a member of a consumer group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to ask first, `HOST:PORT`, separated by commas.
    #[schemars(length(min = 1))]
    pub bootstrap: String,
    /// A topic, or a list of topics. What begins with `^` and ends with `$` is a pattern, a regular
    /// expression: all topics that match it, also those made later.
    pub topics: Topics,
    /// How often topics are looked for that match a pattern, 1m unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery_interval: Option<Interval>,
    /// The consumer group, which spreads the partitions over the tasks that share it. Without it:
    /// the name of the pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Form of the messages' values.
    pub format: Format,
    /// What a message is that does not say so itself (by `_op`).
    #[serde(default)]
    pub op: MessageOperation,
    /// Where a topic begins that no task has read before. Partitions that are added to a topic later,
    /// and topics that match a pattern later, are read from their beginning.
    #[serde(default)]
    pub start: StartAt,
    /// How the group spreads partitions. Both kinds are cooperative: tasks that come and go leave
    /// the partitions of the others alone.
    #[serde(default)]
    pub protocol: GroupProtocol,
    /// Talk to the brokers encrypted. `{}` trusts what the machine trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Log in: by a password, a token, or as AWS knows the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sasl: Option<Box<SaslConfig>>,
    /// Time without a sign of life after which the group gives a task's partitions to others, 45s
    /// unless told. Only with `protocol: classic`: in the other the brokers decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_timeout: Option<Interval>,
    /// Messages above this size become dead letters that keep their first 64 KiB.
    #[serde(default = "default_max_record_size")]
    pub max_record_size: ByteSize,
}

/// How connections are encrypted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// File of certificates, PEM, of which one must have signed the brokers'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// File of this client's own certificate, PEM, for brokers that ask for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// File of the key of that certificate, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// One topic or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Topics {
    /// One topic.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl Topics {
    /// True for a pattern of topics.
    pub fn is_pattern(text: &str) -> bool {
        text.starts_with('^')
    }

    /// Names and patterns, as they are written.
    pub fn names(&self) -> &[String] {
        match self {
            Self::One(topic) => std::slice::from_ref(topic),
            Self::Many(topics) => topics,
        }
    }
}

/// What a message without `_op` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageOperation {
    /// The item is new or has changed.
    #[default]
    Upsert,
    /// The item is new: nothing in the topic changes it later.
    Insert,
}

impl From<MessageOperation> for Operation {
    fn from(operation: MessageOperation) -> Self {
        match operation {
            MessageOperation::Upsert => Self::Upsert,
            MessageOperation::Insert => Self::Insert,
        }
    }
}

/// Where a topic begins that was never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    /// At the oldest message that it holds.
    #[default]
    Earliest,
    /// At the next message that comes.
    Latest,
}

/// How a group spreads its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupProtocol {
    /// The members decide (cooperative-sticky): any broker.
    #[default]
    Classic,
    /// The broker decides (KIP-848): brokers of 4.0 and later.
    Consumer,
}

fn default_max_record_size() -> ByteSize {
    ByteSize::mebibytes(1)
}
