//! Reads one partition.

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::error::RDKafkaErrorCode;
use sha2::{Digest as _, Sha256};

use super::TopicPartition;
use super::member::Ending;
use super::native::{Fetched, FetchedMessage, Header, PartitionQueue};
use crate::component::PartitionReader;
use crate::component::source::{
    Messages, Oversized, RawBatch, RawContent, RawRecords, RecordPositions,
};
use crate::error::{Error, Result};
use crate::event::message::MessageColumnsBuilder;
use crate::event::{Position, PositionRange, RawImage};

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
}

impl KafkaReader {
    pub(super) fn new(
        (queue, ending): (PartitionQueue, Ending),
        partition: TopicPartition,
        from: u64,
        max_record_size: u64,
        keeps_columns: bool,
    ) -> Self {
        Self {
            queue,
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
        let mut failure = None;
        self.queue.drain(|fetched| match fetched {
            Fetched::Message(message) => batch.push(&message, max_record_size),
            // Transaction markers and aborted messages stand before it.
            Fetched::End(offset) => batch.next = batch.next.max(offset),
            Fetched::Failed(code, text) => {
                failure.get_or_insert_with(|| trouble(partition, code, &text));
            }
        });
        self.failure = failure;
        self.bytes_before = batch.data.len();
        let from = std::mem::replace(&mut self.next, batch.next);
        (from != self.next).then(|| batch.finish(from))
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
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if let Some(batch) = self.take() {
                return Ok(Some(batch));
            }
            if self.failure.is_none() {
                self.queue.filled().await;
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
