//! Reads one partition.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tracing::{debug, info};

use super::TopicPartition;
use super::client::{list_at, missed};
use super::health::Health;
use super::member::Ending;
use super::native::{Fetched, FetchedMessage, Header, PartitionQueue};
use crate::component::PartitionReader;
use crate::component::source::{
    Messages, Oversized, RawBatch, RawContent, RawRecords, RecordPositions,
};
use crate::error::{Error, Result};
use crate::event::message::MessageColumnsBuilder;
use crate::event::{Position, PositionRange, RawImage};

/// How often a partition is asked for that the broker has refused.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// The reader of one partition that this process was given. Dropping it ends the fetching.
pub(super) struct KafkaReader {
    /// Declared before `ending`: the queue goes first.
    queue: PartitionQueue,
    _ending: Ending,
    partition: TopicPartition,
    max_record_size: u64,
    /// Keys and headers are wanted.
    keeps_columns: bool,
    /// Where the next batch begins.
    next: u64,
    /// Bytes of the batch before: the next one is probably like it.
    bytes_before: usize,
    /// Met behind messages that went out first.
    failure: Option<Error>,
    /// Tells when brokers are missed and come back.
    changes: watch::Receiver<()>,
    /// The broker fails at this partition, and it was said.
    is_refused: bool,
    /// The broker is away, and it was said.
    is_away: bool,
}

impl KafkaReader {
    pub(super) fn new(
        (queue, ending): (PartitionQueue, Ending),
        partition: TopicPartition,
        from: u64,
        max_record_size: u64,
        keeps_columns: bool,
    ) -> Self {
        let changes = queue.consumer().context().health().changes();
        Self {
            queue,
            changes,
            is_refused: false,
            is_away: false,
            _ending: ending,
            partition,
            max_record_size,
            keeps_columns,
            next: from,
            bytes_before: 0,
            failure: None,
        }
    }

    /// What stands in the queue.
    fn take(&mut self) -> Option<RawBatch> {
        let mut batch = Building::like(self.bytes_before, self.next);
        batch.columns = self.keeps_columns.then(MessageColumnsBuilder::default);
        let (partition, max_record_size) = (&self.partition, self.max_record_size);
        let (mut failure, mut is_given) = (None, false);
        self.queue.drain(|fetched| match fetched {
            // Asked for a second time, and taken meanwhile.
            Fetched::Message(message) if message.offset < batch.next => {}
            Fetched::Message(message) => {
                is_given = true;
                batch.push(&message, max_record_size);
            }
            // Transaction markers and aborted messages stand before it.
            Fetched::End(offset) => {
                is_given = true;
                batch.next = batch.next.max(offset);
            }
            Fetched::Failed(code, text) => {
                failure.get_or_insert_with(|| trouble(partition, code, &text));
            }
        });
        self.failure = failure;
        if is_given && self.failure.is_none() {
            self.go_on();
        }
        self.bytes_before = batch.data.len();
        let from = std::mem::replace(&mut self.next, batch.next);
        (from != self.next).then(|| batch.finish(from))
    }

    /// A failure that was met, unless it is one that passes by itself and was said already.
    fn news(&mut self) -> Option<Error> {
        let failure = self.failure.take()?;
        let is_known = failure.is_retryable() && std::mem::replace(&mut self.is_refused, true);
        self.health().is_refused(&self.partition, true);
        (!is_known).then_some(failure)
    }

    /// The broker is away since a while, which was not said yet.
    fn absence(&mut self) -> Option<Error> {
        let is_away = self.health().is_away(&self.partition);
        let was_away = std::mem::replace(&mut self.is_away, is_away);
        if was_away && !is_away {
            self.say_that_it_goes_on();
        }
        let what = format!("no broker that has {} is reached", self.partition);
        (is_away && !was_away).then(|| missed(self.queue.consumer(), what))
    }

    /// The broker gives the partition.
    fn go_on(&mut self) {
        if std::mem::take(&mut self.is_refused) {
            self.health().is_refused(&self.partition, false);
            self.say_that_it_goes_on();
        }
    }

    fn say_that_it_goes_on(&self) {
        if !self.health().is_waiting(&self.partition) {
            info!(partition = %self.partition, "the broker answers again");
        }
    }

    /// Ask for the partition once more: librdkafka does so by itself, and tells neither that it is
    /// refused again nor that it is not, where nothing new has come.
    fn ask_again(&self) {
        let Ok(place) = list_at(&self.partition, self.next) else { return };
        if let Err(error) = self.queue.consumer().seek_partitions(place, Duration::ZERO) {
            debug!(partition = %self.partition, %error, "cannot ask again");
        }
    }

    fn health(&self) -> &Health {
        self.queue.consumer().context().health()
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.health().is_refused(&self.partition, false);
    }
}

/// What a failure of one partition means.
fn trouble(partition: &TopicPartition, code: RDKafkaErrorCode, text: &str) -> Error {
    match code {
        RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
            Error::halted(format!(
                "the next message of {partition} is gone: retention has passed it while it was to be read, or the topic was truncated or made anew ({text})"
            ))
        }
        code => Error::retryable(format!("cannot fetch {partition}: {code} ({text})")),
    }
}

#[async_trait]
impl PartitionReader for KafkaReader {
    async fn next(&mut self) -> Result<Option<RawBatch>> {
        loop {
            if let Some(failure) = self.news().or_else(|| self.absence()) {
                return Err(failure);
            }
            if let Some(batch) = self.take() {
                return Ok(Some(batch));
            }
            if self.failure.is_some() {
                continue;
            }
            tokio::select! {
                () = self.queue.filled() => {}
                // The sender lives as long as the queue's client.
                _ = self.changes.changed() => {}
                () = tokio::time::sleep(ASK_AGAIN), if self.is_refused => self.ask_again(),
            }
        }
    }
}

/// A batch that is being put together.
#[derive(Default)]
struct Building {
    data: Vec<u8>,
    spans: Vec<(u32, u32)>,
    positions: Vec<u64>,
    messages: Messages,
    columns: Option<MessageColumnsBuilder>,
    oversized: Vec<Oversized>,
    /// Bytes of keys and values, kept or not.
    bytes: u64,
    next: u64,
}

impl Building {
    /// An empty batch from `next` on, with room for a little more than `bytes`.
    fn like(bytes: usize, next: u64) -> Self {
        Self { data: Vec::with_capacity(bytes + bytes / 8), next, ..Self::default() }
    }

    fn push(&mut self, message: &FetchedMessage<'_>, max_record_size: u64) {
        self.next = message.offset + 1;
        let value = message.value.unwrap_or_default();
        self.bytes += (value.len() + message.key.unwrap_or_default().len()) as u64;
        // A message without a value says by its key what is gone.
        let record = message.value.or(message.key).unwrap_or_default();
        if record.len() as u64 > max_record_size {
            return self.oversized.push(oversized(message.offset, record));
        }
        self.spans.push((self.data.len() as u32, record.len() as u32));
        self.data.extend_from_slice(record);
        self.positions.push(message.offset);
        self.messages.times.push(message.time.map(|millis| millis.saturating_mul(1000)));
        self.messages.tombstones.push(message.value.is_none());
        if let Some(columns) = &mut self.columns {
            let headers = message.headers();
            let length = |(name, value): &Header<'_>| name.len() + value.map_or(0, <[u8]>::len);
            self.bytes += headers.iter().map(length).sum::<usize>() as u64;
            columns.push(message.key, &headers);
        }
    }

    fn finish(mut self, from: u64) -> RawBatch {
        self.messages.columns = self.columns.map(|columns| Box::new(columns.finish()));
        RawBatch {
            range: PositionRange::new(Position::Offset(from), Position::Offset(self.next)),
            bytes: self.bytes,
            content: RawContent::Records(RawRecords {
                data: Bytes::from(self.data),
                spans: self.spans,
                positions: RecordPositions::Each(self.positions),
                oversized: self.oversized,
                messages: Some(self.messages),
            }),
        }
    }
}

fn oversized(position: u64, record: &[u8]) -> Oversized {
    let kept = record.get(..RawImage::KEPT_BYTES).unwrap_or(record);
    let raw = RawImage {
        bytes: Bytes::copy_from_slice(kept),
        length: record.len() as u64,
        sha256: Some(format!("{:x}", Sha256::digest(record))),
    };
    Oversized { position, raw }
}
