//! The source: hands out what the group gives, and opens it after its fence.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::consumer::Consumer as _;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;
use tracing::{info, warn};

use super::TopicPartition;
use super::admin::Described;
use super::beginnings::Beginnings;
use super::client::{self, Consumer, GroupEvent, Membership};
use super::config::{KafkaConfig, MessageOperation, StartAt};
use super::login::{Renewal, Tokens};
use super::member::Member;
use super::native;
use super::reader::KafkaReader;
use super::topics::{self, blocking};
use crate::component::checkpoint::{Document, Key};
use crate::component::source::Surveyed;
use crate::component::{
    CheckpointStore, Context, PartitionReader, PartitionStart, Record, Source, SourceEvent,
    Versioning,
};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::{PartitionId, Position};

/// What each incarnation of a partition adds to the versions of its messages: the 48 bits below are
/// the offset's. The first incarnation is number 1.
pub const INCARNATION: i64 = 1 << 48;

/// Between two looks for a topic that brokers do not know.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Topics of one cluster that are being read.
pub struct KafkaSource {
    // Declared first: the group's calls are of no interest while the member leaves.
    events: tokio::sync::Mutex<UnboundedReceiver<GroupEvent>>,
    member: Member,
    /// Keeps the login fresh.
    _renewal: Option<Renewal>,
    /// Events that were taken from the channel and not given out yet.
    taken: Mutex<VecDeque<GroupEvent>>,
    /// Partitions that the group gave, of topics that brokers do not know.
    unfound: Mutex<Unfound>,
    /// The topics by name, as they were when they were first met.
    topics: Mutex<BTreeMap<String, Described>>,
    /// Where those of them begin that are read from their next message on.
    beginnings: Beginnings,
    /// Names and patterns, as they are configured.
    wanted: Vec<String>,
    /// What a message is that does not say so itself.
    operation: MessageOperation,
    max_record_size: u64,
    /// Readers give keys and headers.
    keeps_columns: bool,
}

/// Partitions of topics that were deleted since the group gave them, or that not every broker has
/// heard of yet.
#[derive(Debug, Default)]
struct Unfound {
    partitions: BTreeSet<TopicPartition>,
    /// When they are looked for again.
    again_at: Option<Instant>,
}

impl KafkaSource {
    /// Look at the topics of `config` and join the group. `pipeline` names the group where `config`
    /// does not. Readers give keys and headers of messages where it `keeps_columns`.
    ///
    /// # Errors
    /// `Config` where no broker answers, no token is to be had, a topic is missing, or may not be
    /// read, or not in this group.
    pub async fn open(
        config: &KafkaConfig,
        pipeline: &str,
        store: &dyn CheckpointStore,
        keeps_columns: bool,
        context: &Context,
    ) -> Result<Self> {
        let mut source =
            Self { keeps_columns, ..Self::look(config, pipeline, store, context).await? };
        source.compare(store).await?;
        if config.start == StartAt::Latest {
            let beginnings = source.beginnings.settle(store, &source.wanted, context);
            source.beginnings = beginnings.await?;
        }
        let (group, bootstrap) = (group_of(config, pipeline), config.bootstrap.clone());
        blocking(source.consumer(), move |consumer| {
            topics::check_group(consumer, &group, &bootstrap)
        })
        .await?;
        let names: Vec<&str> = source.wanted.iter().map(String::as_str).collect();
        source
            .consumer()
            .subscribe(&names)
            .or_error(ErrorKind::Config, || "cannot subscribe to the topics".to_owned())?;
        Ok(source)
    }

    /// Look at the topics, and join nothing.
    async fn look(
        config: &KafkaConfig,
        pipeline: &str,
        store: &dyn CheckpointStore,
        context: &Context,
    ) -> Result<Self> {
        let login = match Tokens::of(config, context).await? {
            Some(tokens) => Some((tokens.first().await?, tokens)),
            None => None,
        };
        let (sender, events) = unbounded_channel();
        let group = group_of(config, pipeline);
        let consumer = client::connect(config, &group, Membership::new(sender))?;
        let renewal = login.map(|(first, tokens)| Renewal::start(&consumer, tokens, &first));
        let renewal = renewal.transpose()?;
        let member = Member::start(consumer.clone())?;
        let wanted = config.topics.names().to_vec();
        let (names, bootstrap) = (wanted.clone(), config.bootstrap.clone());
        let found = blocking(&consumer, move |consumer| {
            let names = topics::expand_first(consumer, &names, &bootstrap)?;
            let describe = |name: String| {
                let described = topics::describe_first(consumer, &name, &bootstrap)?;
                Ok((name, described))
            };
            names.into_iter().map(describe).collect::<Result<Vec<_>>>()
        })
        .await?;
        let topics: BTreeMap<String, Described> = found.into_iter().collect();
        let beginnings = match config.start {
            StartAt::Earliest => Beginnings::default(),
            StartAt::Latest => Beginnings::at_ends(&consumer, config, store, &topics).await?,
        };
        Ok(Self {
            events: tokio::sync::Mutex::new(events),
            member,
            _renewal: renewal,
            taken: Mutex::default(),
            unfound: Mutex::default(),
            topics: Mutex::new(topics),
            beginnings,
            wanted,
            operation: config.op,
            max_record_size: config.max_record_size.bytes(),
            keeps_columns: false,
        })
    }

    /// The records speak of these topics: looked at before the group is joined, since a partition
    /// without a record knows nothing of what happened to its topic.
    async fn compare(&self, store: &dyn CheckpointStore) -> Result<()> {
        let mut gone = BTreeSet::new();
        for id in store.partitions().await? {
            let Some(name) = TopicPartition::parse(&id).map(|one| one.topic) else { continue };
            let Some(topic) = self.topics().get(&name).cloned() else {
                if topics::matches_any(&self.wanted, &name) && gone.insert(name.clone()) {
                    warn!(topic = name, "the topic is gone, and with it what was not read of it");
                }
                continue;
            };
            let key = Key::Record(id);
            let Some(stored) = store.load(&key).await? else { continue };
            let record = Document::<Record>::decode(&key, &stored.body)?.content;
            let known = |name| record.source.get("kafka")?.get(name);
            let id = known("topic_id").and_then(Value::as_str);
            if id.is_some_and(|id| id != topic.id) {
                return Err(made_anew(&name, "while nobody read it"));
            }
            let before = known("partitions").and_then(Value::as_i64);
            let before = before.and_then(|count| i32::try_from(count).ok());
            if let Some(before) = before.filter(|before| *before != topic.partitions)
                && self.operation == MessageOperation::Upsert
            {
                return Err(grown(&name, before, topic.partitions));
            }
        }
        Ok(())
    }

    fn consumer(&self) -> &Arc<Consumer> {
        self.member.consumer()
    }

    fn taken(&self) -> MutexGuard<'_, VecDeque<GroupEvent>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unfound(&self) -> MutexGuard<'_, Unfound> {
        self.unfound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<String, Described>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partition(&self, id: &PartitionId) -> Result<TopicPartition> {
        let unknown = || Error::fatal(format!("{id} is no partition of a topic"));
        let one = TopicPartition::parse(id).ok_or_else(unknown)?;
        self.topic(&one)?;
        Ok(one)
    }

    /// The topic of `one`, as it was when it was first met.
    fn topic(&self, one: &TopicPartition) -> Result<Described> {
        let unknown = || Error::fatal(format!("{one} is no partition of these topics"));
        self.topics().get(&one.topic).cloned().ok_or_else(unknown)
    }

    /// Get to know the topic of `one`: one that was made while this process ran.
    async fn meet(&self, one: &TopicPartition) -> Result<()> {
        if self.topic(one).is_ok() {
            return Ok(());
        }
        let name = one.topic.clone();
        let described =
            blocking(self.consumer(), move |consumer| topics::describe(consumer, &name)).await?;
        info!(topic = one.topic, "a topic that matches has been made");
        self.topics().entry(one.topic.clone()).or_insert(described);
        Ok(())
    }

    /// `one` as the process needs it.
    async fn describe(&self, one: &TopicPartition) -> Result<PartitionStart> {
        let (low, _) = self.watermarks(one).await?;
        self.describe_from(one, low)
    }

    async fn watermarks(&self, one: &TopicPartition) -> Result<(u64, u64)> {
        let asked = one.clone();
        blocking(self.consumer(), move |consumer| topics::watermarks(consumer, &asked)).await
    }

    /// `one`, whose oldest message is at `low`.
    fn describe_from(&self, one: &TopicPartition, low: u64) -> Result<PartitionStart> {
        let topic = self.topic(one)?;
        let start = self.beginnings.of(&one.topic, &topic.id, one.partition).unwrap_or(low);
        let keys_may_move = self.operation == MessageOperation::Upsert;
        if keys_may_move && one.partition >= topic.partitions {
            return Err(grown(&one.topic, topic.partitions, one.partition + 1));
        }
        let identity = match keys_may_move {
            true => {
                json!({ "topic": one.topic, "topic_id": topic.id, "partitions": topic.partitions })
            }
            false => json!({ "topic": one.topic, "topic_id": topic.id }),
        };
        Ok(PartitionStart {
            partition: one.id(),
            stream: one.topic.as_str().into(),
            label: one.partition.to_string().into(),
            start: Position::Offset(start),
            versioning: Versioning::Position { base: INCARNATION },
            identity: json!({ "kafka": identity }),
            parents: Vec::new(),
            size: None,
        })
    }

    /// `one` as the process needs it; `None` where brokers do not know its topic.
    async fn find(&self, one: &TopicPartition) -> Result<Option<PartitionStart>> {
        let describe = async {
            self.meet(one).await?;
            self.describe(one).await
        };
        let failure = match describe.await {
            Err(error) if error.is_retryable() => error,
            described => return described.map(Some),
        };
        let name = one.topic.clone();
        match blocking(self.consumer(), move |consumer| topics::exists(consumer, &name)).await? {
            true => Err(failure),
            false => Ok(None),
        }
    }

    /// The partitions of `all` that can be read; the others wait, and hold nothing up.
    async fn find_all(&self, all: &[TopicPartition]) -> Result<Vec<PartitionStart>> {
        let (mut starts, mut unfound) = (Vec::with_capacity(all.len()), Vec::new());
        for one in all {
            match self.find(one).await? {
                Some(start) => starts.push(start),
                None => unfound.push(one),
            }
        }
        let mut waiting = self.unfound();
        let mut said = BTreeSet::new();
        for one in unfound {
            if waiting.partitions.insert(one.clone()) && said.insert(&one.topic) {
                warn!(topic = one.topic, "brokers do not know the topic; looking for it again");
            }
            waiting.again_at = Some(Instant::now() + LOOK_AGAIN_AFTER);
        }
        waiting.partitions.retain(|one| starts.iter().all(|start| start.partition != one.id()));
        Ok(starts)
    }

    async fn prepare(&self, event: &GroupEvent) -> Result<SourceEvent> {
        let ids = |all: &[TopicPartition]| all.iter().map(TopicPartition::id).collect();
        if let GroupEvent::Revoked(all) | GroupEvent::Lost(all) = event {
            self.unfound().partitions.retain(|one| !all.contains(one));
        }
        Ok(match event {
            GroupEvent::Assigned(all) => SourceEvent::Assigned(self.find_all(all).await?),
            GroupEvent::Revoked(all) => SourceEvent::Revoked(ids(all)),
            GroupEvent::Lost(all) => SourceEvent::Lost(ids(all)),
            GroupEvent::Failed(what) => return Err(Error::fatal(what.clone())),
        })
    }

    /// The group's next event; or, after a pause, once more what was not found.
    async fn receive(&self, events: &mut UnboundedReceiver<GroupEvent>) -> Result<GroupEvent> {
        let again_at = {
            let unfound = self.unfound();
            unfound.again_at.filter(|_| !unfound.partitions.is_empty())
        };
        let again = async {
            match again_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = events.recv() => event.ok_or_else(|| Error::fatal("the Kafka member is gone")),
            () = again => {
                Ok(GroupEvent::Assigned(self.unfound().partitions.iter().cloned().collect()))
            }
        }
    }
}

/// Every partition of the topics of `config`, as the brokers have it now.
///
/// # Errors
/// See [`KafkaSource::open`].
pub async fn survey(
    config: &KafkaConfig,
    store: &dyn CheckpointStore,
    context: &Context,
) -> Result<Vec<Surveyed>> {
    let source = KafkaSource::look(config, "acequia", store, context).await?;
    let mut all = Vec::new();
    let topics = source.topics().clone();
    for (topic, described) in topics {
        for partition in 0..described.partitions {
            let one = TopicPartition { topic: topic.clone(), partition };
            let (low, high) = source.watermarks(&one).await?;
            let start = source.describe_from(&one, low)?;
            let (low, high) = (Position::Offset(low), Position::Offset(high));
            all.push(Surveyed { start, low, high });
        }
    }
    Ok(all)
}

/// The consumer group of `config`, where a pipeline reads by it.
fn group_of(config: &KafkaConfig, pipeline: &str) -> String {
    config.group.clone().unwrap_or_else(|| pipeline.to_owned())
}

/// Keys move between partitions when a topic grows, and versions compare inside one partition only.
fn grown(topic: &str, before: i32, now: i32) -> Error {
    Error::halted(format!(
        "topic {topic} has {now} partitions and had {before}: keys have moved between them, and nothing says any more which change of a key is the newer one; nothing more was committed, see `acequia checkpoint accept growth --help`"
    ))
}

/// Its offsets have begun again.
fn made_anew(topic: &str, when: &str) -> Error {
    Error::halted(format!(
        "topic {topic} was deleted and made anew {when}: nothing more was committed, see `acequia checkpoint accept recreation --help`"
    ))
}

#[async_trait]
impl Source for KafkaSource {
    async fn next_event(&self) -> Result<SourceEvent> {
        let mut events = self.events.lock().await;
        loop {
            let first = self.taken().front().cloned();
            let Some(first) = first else {
                let event = self.receive(&mut events).await?;
                self.taken().push_back(event);
                continue;
            };
            // It stays in its place until it is ready: whoever drops this call finds it again.
            let ready = self.prepare(&first).await?;
            self.taken().pop_front();
            return Ok(ready);
        }
    }

    async fn open(
        &self,
        partition: &PartitionId,
        from: &Position,
    ) -> Result<Box<dyn PartitionReader>> {
        let one = self.partition(partition)?;
        let from = from
            .offset()
            .ok_or_else(|| Error::halted(format!("the record of {partition} holds no offset")))?;
        let asked = one.clone();
        blocking(self.consumer(), move |consumer| {
            topics::check_position(&asked, from, topics::watermarks(consumer, &asked)?)
        })
        .await?;
        let begun = self.member.begin(&one, from).await?;
        Ok(Box::new(KafkaReader::new(begun, one, from, self.max_record_size, self.keeps_columns)))
    }

    async fn ended(&self, _partition: &PartitionId) -> Result<Vec<PartitionStart>> {
        Ok(Vec::new())
    }

    async fn advise(&self, partition: &PartitionId, done: &Position) -> Result<()> {
        let one = self.partition(partition)?;
        match done.offset() {
            Some(offset) => self.member.advise(&one, offset),
            None => Ok(()),
        }
    }

    async fn confirm(&self, partition: &PartitionId) -> Result<()> {
        let one = self.partition(partition)?;
        let topic = one.topic.clone();
        let now =
            blocking(self.consumer(), move |consumer| topics::describe(consumer, &topic)).await?;
        let topic = self.topic(&one)?;
        if topic.id != now.id {
            return Err(made_anew(&one.topic, "while it was being read"));
        }
        if self.operation == MessageOperation::Upsert && topic.partitions != now.partitions {
            return Err(grown(&one.topic, topic.partitions, now.partitions));
        }
        Ok(())
    }

    async fn retention(&self, partition: &PartitionId) -> Option<Duration> {
        let topic = self.partition(partition).ok()?.topic.clone();
        let ask = move |consumer: &Consumer| Ok(topics::retention(consumer, &topic));
        blocking(self.consumer(), ask).await.ok().flatten()
    }

    async fn ends(&self) -> Result<Vec<(PartitionId, Position)>> {
        let topics: Vec<String> = self.topics().keys().cloned().collect();
        blocking(self.consumer(), move |consumer| {
            let mut ends = Vec::new();
            for topic in topics {
                let described = topics::describe(consumer, &topic)?;
                for partition in 0..described.partitions {
                    let one = TopicPartition { topic: topic.clone(), partition };
                    let (_, high) = topics::watermarks(consumer, &one)?;
                    ends.push((one.id(), Position::Offset(high)));
                }
            }
            Ok(ends)
        })
        .await
    }

    fn known_end(&self, partition: &PartitionId) -> Option<Position> {
        let one = TopicPartition::parse(partition)?;
        native::known_end(self.consumer(), &one).map(Position::Offset)
    }

    fn is_waiting(&self, partition: &PartitionId) -> bool {
        let Some(one) = TopicPartition::parse(partition) else { return false };
        self.consumer().context().health().is_waiting(&one)
    }

    fn still_assigned(&self, partition: &PartitionId) -> bool {
        let Some(one) = TopicPartition::parse(partition) else { return false };
        self.consumer().context().grants().contains(&one)
    }
}
