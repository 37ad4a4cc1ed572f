//! Topics for tests: made, filled, looked at.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// A broker that takes longer than this does not answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A topic of a test's own.
pub(crate) struct Topic {
    pub(crate) bootstrap: String,
    pub(crate) name: String,
}

/// A name that no other test has.
pub(crate) fn unique(name: &str) -> String {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", GIVEN.fetch_add(1, Ordering::Relaxed))
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Topic {
    /// Make a topic whose name begins with `name`.
    pub(crate) fn new(bootstrap: &str, name: &str, partitions: i32) -> Self {
        let topic = Self { bootstrap: bootstrap.to_owned(), name: unique(name) };
        topic.make(partitions);
        topic
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().unwrap()
    }

    /// Make a topic that keeps messages for so long.
    pub(crate) fn with_retention(
        bootstrap: &str,
        name: &str,
        partitions: i32,
        kept: Duration,
    ) -> Self {
        let topic = Self { bootstrap: bootstrap.to_owned(), name: unique(name) };
        let millis = kept.as_millis().to_string();
        let new = NewTopic::new(&topic.name, partitions, TopicReplication::Fixed(1));
        topic.make_new(&new.set("retention.ms", &millis));
        topic
    }

    /// Make it, once more if it was deleted.
    pub(crate) fn make(&self, partitions: i32) {
        self.make_new(&NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1)));
    }

    fn make_new(&self, topic: &NewTopic<'_>) {
        let made = wait(self.admin().create_topics([topic], &AdminOptions::new())).unwrap();
        made.into_iter().for_each(|one| drop(one.unwrap()));
        self.until_known();
    }

    /// Wait until those who ask the broker are told of it: its controller makes topics a while
    /// before.
    fn until_known(&self) {
        let asks: BaseConsumer = self.client().create().unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let told = asks.fetch_metadata(Some(&self.name), Duration::from_secs(20)).unwrap();
            let topic = told.topics().first().unwrap();
            let partitions = topic.partitions();
            let is_led = partitions.iter().all(|partition| partition.leader() >= 0);
            if topic.error().is_none() && !partitions.is_empty() && is_led {
                return;
            }
            assert!(Instant::now() < end, "{} is made and not known", self.name);
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    pub(crate) fn delete(&self) {
        let names = [self.name.as_str()];
        let gone = wait(self.admin().delete_topics(&names, &AdminOptions::new())).unwrap();
        gone.into_iter().for_each(|one| drop(one.unwrap()));
    }

    /// Delete it, and wait until brokers do not know it any more.
    pub(crate) fn delete_for_good(&self) {
        self.delete();
        let consumer: BaseConsumer = self.client().create().unwrap();
        let is_known = || {
            let all = consumer.fetch_metadata(None, TIMEOUT).unwrap();
            all.topics().iter().any(|topic| topic.name() == self.name)
        };
        while is_known() {
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Let it have so many partitions.
    pub(crate) fn grow(&self, partitions: usize) {
        let grown = [NewPartitions::new(&self.name, partitions)];
        let made = wait(self.admin().create_partitions(&grown, &AdminOptions::new())).unwrap();
        made.into_iter().for_each(|one| drop(one.unwrap()));
    }

    /// Send messages, each with its partition, key and value; every one is acknowledged.
    pub(crate) fn send<'a>(
        &self,
        messages: impl IntoIterator<Item = (i32, &'a str, Option<&'a str>)>,
    ) {
        let producer: BaseProducer = self.client().create().unwrap();
        send_by(&producer, &self.name, messages);
        producer.flush(TIMEOUT).unwrap();
        assert_eq!(producer.in_flight_count(), 0);
    }

    /// Send messages with headers, each with its key and value, to the first partition.
    pub(crate) fn send_with_headers<'a>(
        &self,
        messages: impl IntoIterator<Item = (&'a str, &'a str, OwnedHeaders)>,
    ) {
        let producer: BaseProducer = self.client().create().unwrap();
        for (key, value, headers) in messages {
            let record = BaseRecord::to(&self.name).partition(0).key(key).payload(value);
            producer.send(record.headers(headers)).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(TIMEOUT).unwrap();
    }

    /// Send messages in one transaction, and commit or abort it.
    pub(crate) fn send_in_transaction<'a>(
        &self,
        messages: impl IntoIterator<Item = (i32, &'a str, Option<&'a str>)>,
        commit: bool,
    ) {
        let id = unique("transaction");
        let producer: BaseProducer = self.client().set("transactional.id", id).create().unwrap();
        producer.init_transactions(TIMEOUT).unwrap();
        producer.begin_transaction().unwrap();
        send_by(&producer, &self.name, messages);
        producer.flush(TIMEOUT).unwrap();
        match commit {
            true => producer.commit_transaction(TIMEOUT).unwrap(),
            false => producer.abort_transaction(TIMEOUT).unwrap(),
        }
    }

    /// Remove every message below `offset` of one partition.
    pub(crate) fn delete_records(&self, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.name, partition, Offset::Offset(offset)).unwrap();
        wait(self.admin().delete_records(&list, &AdminOptions::new())).unwrap();
    }

    /// Every committed message, as (partition, offset, value), by a consumer of its own.
    pub(crate) fn messages(&self, partitions: i32) -> Vec<(i32, i64, Option<String>)> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "reads-everything")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(&self.name, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut found, mut ended) = (Vec::new(), 0);
        while ended < partitions {
            match consumer.poll(TIMEOUT).expect("the broker answers") {
                Ok(message) => {
                    let value =
                        message.payload().map(|value| String::from_utf8_lossy(value).into());
                    found.push((message.partition(), message.offset(), value));
                }
                Err(KafkaError::PartitionEOF(_)) => ended += 1,
                Err(error) => panic!("{error}"),
            }
        }
        found
    }

    /// What `group` has committed of one partition.
    pub(crate) fn committed(&self, group: &str, partition: i32) -> Option<i64> {
        let consumer: BaseConsumer = self.client().set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.name, partition);
        let committed = consumer.committed_offsets(list, TIMEOUT).unwrap();
        committed.find_partition(&self.name, partition)?.offset().to_raw().filter(|at| *at >= 0)
    }
}

fn send_by<'a>(
    producer: &BaseProducer,
    topic: &str,
    messages: impl IntoIterator<Item = (i32, &'a str, Option<&'a str>)>,
) {
    for (partition, key, value) in messages {
        let mut record = BaseRecord::to(topic).partition(partition).key(key);
        if let Some(value) = value {
            record = record.payload(value);
        }
        // A full queue is emptied a little, and the message is sent again.
        while let Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) =
            producer.send(record)
        {
            record = again;
            producer.poll(Duration::from_millis(50));
        }
    }
}
