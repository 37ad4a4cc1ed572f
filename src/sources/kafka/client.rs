//! The consumer: its settings, and what it does when the group calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

use super::TopicPartition;
use super::config::{GroupProtocol, KafkaConfig, Topics};
use super::grants::Grants;
use super::health::Health;
use super::sasl::Login;
use crate::error::{Error, Result};
use crate::units::Interval;

/// Most bytes of fetched messages that wait for one partition's reader, in KiB.
const QUEUED_KIBIBYTES: &str = "4096";
/// Most bytes of one partition in one answer of a broker.
const FETCHED_BYTES: &str = "1048576";
/// Most bytes in one answer of a broker.
const ANSWER_BYTES: &str = "8388608";

/// Between two looks at which topics there are.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(60);
/// Topics of the brokers' own, which match no pattern.
const INTERNAL_TOPICS: &str = "^__.*";
/// How often the client counts what it does, in milliseconds: how brokers are missed.
const STATISTICS_INTERVAL: &str = "2000";

/// Time without a sign of life after which a member is put out of its group.
const SESSION_TIMEOUT: Duration = Duration::from_secs(45);
/// Longest time between two signs of life; with each a member hears of a rebalance.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(3);

/// A member of a consumer group.
pub(super) type Consumer = BaseConsumer<Membership>;

/// What the group tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GroupEvent {
    /// These partitions are this process's. May name none.
    Assigned(Vec<TopicPartition>),
    /// These go to another process when their readers are gone.
    Revoked(Vec<TopicPartition>),
    /// These may be another's already.
    Lost(Vec<TopicPartition>),
    /// The client cannot go on.
    Failed(String),
}

/// What the client as a whole fails at.
#[derive(Debug, Clone)]
pub(super) struct Complaint {
    /// Which failure.
    pub(super) code: Option<RDKafkaErrorCode>,
    /// In librdkafka's words, which hold no password.
    pub(super) reason: String,
}

/// This process's side of the group.
pub(super) struct Membership {
    grants: Mutex<Grants>,
    events: UnboundedSender<GroupEvent>,
    /// The failure of the client as a whole that tells most, for messages: what a call says itself
    /// is often only that nobody answered.
    complaint: Mutex<Option<Complaint>>,
    health: Health,
}

impl Membership {
    pub(super) fn new(events: UnboundedSender<GroupEvent>) -> Self {
        let (complaint, health) = (Mutex::default(), Health::default());
        Self { grants: Mutex::default(), events, complaint, health }
    }

    /// What the group has given.
    pub(super) fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which partitions get nothing.
    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// What the client last complained of.
    pub(super) fn complaint(&self) -> Option<Complaint> {
        self.complaining().clone()
    }

    fn complaining(&self) -> MutexGuard<'_, Option<Complaint>> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True where that is a failure of a kind that `is_meant`.
    pub(super) fn complains_of(&self, is_meant: impl FnOnce(RDKafkaErrorCode) -> bool) -> bool {
        self.complaint().and_then(|complaint| complaint.code).is_some_and(is_meant)
    }

    /// Say that the client cannot go on.
    pub(super) fn fail(&self, what: String) {
        self.tell(GroupEvent::Failed(what));
    }

    fn tell(&self, event: GroupEvent) {
        // Nobody listens any more where the source is being closed.
        let _ = self.events.send(event);
    }
}

impl ClientContext for Membership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                warn!(facility, "kafka client: {message}");
            }
            // Of these the lane or the start says what matters; brokers that come and go would
            // fill the log.
            _ => debug!(facility, "kafka client: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, "kafka client: {reason}");
        let mut complaint = self.complaining();
        let told = complaint.as_ref().and_then(|complaint| complaint.code);
        // That every broker is down follows from a refusal, and would hide it.
        if !told.is_some_and(is_refusal) {
            let code = error.rdkafka_error_code();
            *complaint = Some(Complaint { code, reason: reason.to_owned() });
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        match serde_json::from_slice(statistics) {
            Ok(statistics) if self.health.learn(&statistics, Instant::now()) => {
                // What it was about is over.
                *self.complaining() = None;
            }
            Ok(_) => {}
            Err(error) => debug!(%error, "kafka client: statistics that cannot be read"),
        }
    }
}

impl ConsumerContext for Membership {
    /// Called by the thread that polls, and never waits. An assignment is answered by putting
    /// nothing in: a partition is added when its reader begins, after its fence.
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let named = names(partitions);
        if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            info!(partitions = named.len(), "the group gives partitions");
            self.grants().assign(named.iter().cloned());
            report("put in nothing", consumer.incremental_assign(&TopicPartitionList::new()));
            return self.tell(GroupEvent::Assigned(named));
        }
        // A consumer that closes has no readers any more, or none that matter.
        if consumer.assignment_lost() || self.events.is_closed() {
            warn!(partitions = named.len(), "the group has taken partitions away");
            let fetched = self.grants().lose(named.iter().cloned());
            report("take out", consumer.incremental_unassign(&list(&fetched)));
            return self.tell(GroupEvent::Lost(named));
        }
        info!(partitions = named.len(), "the group takes partitions back");
        self.grants().revoke(named.iter().cloned(), Instant::now());
        self.tell(GroupEvent::Revoked(named));
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            debug!(%error, "the group did not take an offset");
        }
    }
}

fn names(partitions: &TopicPartitionList) -> Vec<TopicPartition> {
    let name = |one: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| TopicPartition {
        topic: one.topic().to_owned(),
        partition: one.partition(),
    };
    partitions.elements().into_iter().map(name).collect()
}

/// A list for librdkafka, without offsets.
pub(super) fn list(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for one in partitions {
        list.add_partition(&one.topic, one.partition);
    }
    list
}

/// A list for librdkafka of one partition at an offset.
pub(super) fn list_at(one: &TopicPartition, offset: u64) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
    list.add_partition_offset(&one.topic, one.partition, offset)
        .map_err(|cause| Error::fatal(format!("cannot name {one}")).caused_by(cause))?;
    Ok(list)
}

/// Say what librdkafka refused; the group's next call puts it right.
pub(super) fn report(what: &str, result: KafkaResult<()>) {
    if let Err(error) = result {
        warn!(%error, "kafka client: cannot {what}");
    }
}

/// Join the group of `config`, whose name is `group`.
///
/// Nothing is fetched and no broker is asked before the consumer is polled.
pub(super) fn connect(
    config: &KafkaConfig,
    group: &str,
    membership: Membership,
) -> Result<Arc<Consumer>> {
    let mut settings = ClientConfig::new();
    let discovery = config.discovery_interval.map_or(DISCOVERY_INTERVAL, Interval::duration);
    if config.topics.names().iter().any(|name| Topics::is_pattern(name)) {
        settings.set("topic.blacklist", INTERNAL_TOPICS);
    }
    settings
        .set("bootstrap.servers", &config.bootstrap)
        .set("group.id", group)
        .set("client.id", "acequia")
        // The record says where to begin; offsets are committed as advice.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .set("allow.auto.create.topics", "false")
        .set("topic.metadata.refresh.interval.ms", discovery.as_millis().to_string())
        .set("queued.max.messages.kbytes", QUEUED_KIBIBYTES)
        .set("fetch.message.max.bytes", FETCHED_BYTES)
        .set("fetch.max.bytes", ANSWER_BYTES)
        .set("receive.message.max.bytes", "16777216")
        // A full queue is looked at again soon: lanes empty it in milliseconds.
        .set("fetch.queue.backoff.ms", "10")
        .set("statistics.interval.ms", STATISTICS_INTERVAL)
        .set("socket.keepalive.enable", "true")
        // A broker that comes back is found within a second, not ten.
        .set("reconnect.backoff.max.ms", "1000")
        .set("log.connection.close", "false");
    match config.protocol {
        GroupProtocol::Classic => {
            let timeout = config.session_timeout.map_or(SESSION_TIMEOUT, Interval::duration);
            // Of three signs of life two may be lost.
            let heartbeat = (timeout / 3).min(LONGEST_HEARTBEAT);
            settings
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("session.timeout.ms", timeout.as_millis().to_string())
                // It may not be the shorter of the two; the default is five minutes.
                .set("max.poll.interval.ms", timeout.as_millis().max(300_000).to_string())
                .set("heartbeat.interval.ms", heartbeat.as_millis().to_string());
        }
        GroupProtocol::Consumer => {
            settings.set("group.protocol", "consumer");
        }
    }
    secure(&mut settings, config);
    let consumer: Consumer = settings.create_with_context(membership).map_err(|cause| {
        Error::config("the settings of the Kafka source do not fit together").caused_by(cause)
    })?;
    Ok(Arc::new(consumer))
}

/// How the brokers are talked to.
fn secure(settings: &mut ClientConfig, config: &KafkaConfig) {
    let protocol = match (&config.tls, &config.sasl) {
        (None, None) => "plaintext",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), None) => "ssl",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    settings.set("security.protocol", protocol);
    if let Some(tls) = &config.tls {
        let files = [
            ("ssl.ca.location", &tls.ca),
            ("ssl.certificate.location", &tls.certificate),
            ("ssl.key.location", &tls.key),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                settings.set(name, file);
            }
        }
    }
    if let Some(sasl) = &config.sasl {
        settings.set("sasl.mechanism", sasl.mechanism.as_str());
        if let Some(Login::Password { username, password }) = sasl.login() {
            settings.set("sasl.username", username).set("sasl.password", password.reveal());
        }
    }
}

/// A call to the brokers that may be tried again has failed, with what the client complained of.
pub(super) fn failed(
    consumer: &Consumer,
    what: impl Into<String>,
    cause: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    missed(consumer, what).caused_by(cause)
}

/// Nothing comes, with what the client complained of.
pub(super) fn missed(consumer: &Consumer, what: impl Into<String>) -> Error {
    let mut message = what.into();
    if let Some(complaint) = consumer.context().complaint() {
        message = format!("{message} ({})", complaint.reason);
    }
    Error::retryable(message)
}

/// True where waiting may help and the start should say what is wrong: no permission, a wrong
/// password, a certificate that is not trusted.
pub(super) fn is_refusal(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::SSL
    )
}
