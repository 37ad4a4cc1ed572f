//! The components over the simulated outside: source, decoder, filters.
//!
//! Every row carries the control number that its lane went by when it was decoded, as the store's
//! answers show it from outside: the lane is not asked.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use bytes::Bytes;

use super::checker;
use super::faults::Link;
use super::log::LogEvent;
use super::world::World;
use crate::component::source::{RawBatch, RawContent, RawRecords, RecordPositions};
use crate::component::{
    Decoder, PartitionReader, PartitionStart, Source, SourceEvent, Stamp, Transform, Versioning,
};
use crate::error::{Error, Result};
use crate::event::batch::{RawRows, narrow};
use crate::event::system::UTC;
use crate::event::{
    Batch, DeadLetter, PartitionId, Position, PositionRange, RawImage, Stage, SystemColumns,
};

/// The group's stream.
pub(super) struct SimulatedSource(pub(super) Link);

#[async_trait]
impl Source for SimulatedSource {
    async fn next_event(&self) -> Result<SourceEvent> {
        loop {
            let changed = self.0.world.changed.notified();
            self.0.thawed().await;
            if let Some(member) = self.0.world.state().members.get_mut(&self.0.process)
                && !member.inbox.is_empty()
            {
                return Ok(member.inbox.remove(0));
            }
            if checker::source_has_ended(&self.0.world) {
                return Ok(SourceEvent::Finished);
            }
            changed.await;
        }
    }

    async fn open(
        &self,
        partition: &PartitionId,
        from: &Position,
    ) -> Result<Box<dyn PartitionReader>> {
        self.0.point("open").await?;
        checker::on_open(&self.0.world, partition, self.0.process);
        let next = from.offset().unwrap_or_default();
        let lane = tokio::task::id().to_string();
        Ok(Box::new(Reader { link: self.0.clone(), partition: partition.clone(), lane, next }))
    }

    async fn ended(&self, partition: &PartitionId) -> Result<Vec<PartitionStart>> {
        let (children, assigned_by_group) = {
            let mut state = self.0.world.state();
            let Some(ended) = state.partitions.get_mut(partition) else { return Ok(Vec::new()) };
            ended.listed = false;
            (ended.children.clone(), state.grouped)
        };
        if assigned_by_group {
            return Ok(Vec::new());
        }
        Ok(children.iter().map(|child| self.0.world.describe(child)).collect())
    }

    async fn advise(&self, partition: &PartitionId, done: &Position) -> Result<()> {
        self.0.gate("advise").await;
        checker::on_advise(&self.0.world, partition, done.offset().unwrap_or_default());
        self.0.point("advise").await
    }

    fn still_assigned(&self, partition: &PartitionId) -> bool {
        let state = self.0.world.state();
        let me = state.members.get(&self.0.process);
        state.grouped && me.is_some_and(|me| me.assigned.contains(partition))
    }
}

struct Reader {
    link: Link,
    partition: PartitionId,
    /// The task that opened it.
    lane: String,
    next: u64,
}

#[async_trait]
impl PartitionReader for Reader {
    async fn next(&mut self) -> Result<Option<RawBatch>> {
        loop {
            let world = self.link.world.clone();
            let produced = world.produced.notified();
            self.link.point("read").await?;
            if self.link.fault(0.1) {
                self.die();
            }
            let limit = self.link.world.draw(1..6) as usize;
            let quiet = self.link.world.chance(0.1);
            self.link.world.note(|| {
                format!("p{} reads {} from {}", self.link.process, self.partition, self.next)
            });
            let (mut events, ended) = {
                let state = self.link.world.state();
                let partition = &state.partitions[&self.partition];
                let produced = &partition.log[..partition.produced];
                let events: Vec<LogEvent> = produced
                    .iter()
                    .filter(|event| event.position >= self.next)
                    .take(limit)
                    .cloned()
                    .collect();
                (events, partition.has_ended())
            };
            let Some(first) = events.first().map(|event| event.position) else {
                if ended {
                    return Ok(None);
                }
                produced.await;
                continue;
            };
            if quiet {
                // Some sources say how far they are where no event stands.
                events.clear();
            }
            return Ok(Some(self.batch(&events, first)));
        }
    }
}

impl Reader {
    /// The task that reads ends in the middle of its work. Unwinding without a panic's message.
    fn die(&self) {
        self.link.world.note(|| format!("p{} loses its reader", self.link.process));
        if let Some(member) = self.link.world.state().members.get_mut(&self.link.process) {
            member.reader_died = true;
        }
        std::panic::resume_unwind(Box::new("the reading task dies"));
    }

    /// `events` as the decoder finds them; without any, the way to `first`.
    fn batch(&mut self, events: &[LogEvent], first: u64) -> RawBatch {
        let mut data = format!("{}\n", self.lane).into_bytes();
        let mut spans = Vec::new();
        for event in events {
            let start = data.len() as u32;
            let line = match event.poison {
                true => "poison".to_owned(),
                false => format!("{} {} {}", event.key, event.op, event.value),
            };
            data.extend_from_slice(line.as_bytes());
            spans.push((start, line.len() as u32));
        }
        let from = self.next;
        self.next = events.last().map_or(first, |event| event.position + 1);
        RawBatch {
            range: PositionRange::new(Position::Offset(from), Position::Offset(self.next)),
            bytes: events.len() as u64 * 100,
            content: RawContent::Records(RawRecords {
                data: data.into(),
                spans,
                positions: RecordPositions::Each(
                    events.iter().map(|event| event.position).collect(),
                ),
                oversized: Vec::new(),
                messages: None,
            }),
        }
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8View, true),
        Field::new("value", DataType::Int64, true),
        Field::new("number", DataType::Int64, true),
    ]))
}

/// Decodes the lines that [`Reader`] makes.
pub(super) struct LineDecoder(pub(super) World);

impl LineDecoder {
    /// The control number that the lane goes by which has opened the reader of `data`.
    fn number(&self, data: &[u8]) -> u64 {
        let lane = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let numbers = &self.0.state().numbers;
        numbers.get(&*String::from_utf8_lossy(lane)).copied().unwrap_or_default()
    }
}

impl Decoder for LineDecoder {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn decode(&mut self, raw: &RawBatch, stamp: &Stamp) -> Result<Batch> {
        let RawContent::Records(records) = &raw.content else {
            return Err(Error::fatal("the simulated source gives records"));
        };
        let RecordPositions::Each(positions) = &records.positions else {
            return Err(Error::fatal("the simulated source gives positions"));
        };
        let (mut ids, mut ops, mut values, mut versions, mut kept_positions) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut rejects = Vec::new();
        let number = self.number(&records.data);
        for (index, (&(start, length), &position)) in
            records.spans.iter().zip(positions).enumerate()
        {
            let bytes = records.data.slice(start as usize..(start + length) as usize);
            let version = match stamp.versioning {
                Versioning::Position { base } => base + position as i64,
                Versioning::Ordinal => stamp.first_ordinal + index as i64,
            };
            let line = String::from_utf8_lossy(&bytes).into_owned();
            let words: Vec<&str> = line.split(' ').collect();
            let [id, op, value] = words[..] else {
                rejects.push(letter(stamp, position, version, number));
                continue;
            };
            ids.push(id.to_owned());
            ops.push(op.to_owned());
            values.push(value.parse::<i64>().unwrap());
            versions.push(version);
            kept_positions.push(position as i64);
        }
        let count = ids.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from_iter_values(&ids)),
            Arc::new(Int64Array::from(values)),
            Arc::new(Int64Array::from(vec![number as i64; count])),
        ];
        Ok(Batch {
            rows: RecordBatch::try_new(schema(), columns).unwrap(),
            system: SystemColumns {
                op: StringViewArray::from_iter_values(&ops),
                key: StringViewArray::from_iter_values(&ids),
                event_time: TimestampMicrosecondArray::from(vec![0; count])
                    .with_timezone(UTC.clone()),
                version: Int64Array::from(versions),
                stream: stamp.stream.clone(),
                partition: stamp.partition.clone(),
                position: Arc::new(Int64Array::from(kept_positions)),
                before: None,
                extra: None,
                message: None,
            },
            raw: RawRows::none(),
            kept: None,
            before: None,
            range: raw.range.clone(),
            events: records.spans.len() as u64,
            bytes: raw.bytes,
            rejects,
        })
    }
}

fn letter(stamp: &Stamp, position: u64, version: i64, number: u64) -> DeadLetter {
    DeadLetter {
        stage: Stage::Decode,
        reason: number.to_string(),
        raw: RawImage::whole(Bytes::new()),
        stream: stamp.stream.clone(),
        partition: stamp.partition.clone(),
        position: Position::Offset(position),
        version,
        key: None,
        event_time: None,
    }
}

/// Keeps the values that no divisor here divides: 4 is the pipeline's filter
/// ([`LogEvent::kept`]), 3 the narrow sink's ([`LogEvent::kept_narrowly`]).
pub(super) struct KeepSome(pub(super) i64);

#[async_trait]
impl Transform for KeepSome {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    async fn apply(&self, batch: Batch) -> Result<Batch> {
        let values = batch.rows.column(1).as_primitive::<Int64Type>();
        let condition: BooleanArray =
            values.values().iter().map(|value| Some(value % self.0 != 0)).collect();
        let kept = narrow(batch.kept.as_ref(), &condition).unwrap();
        Ok(Batch { kept: Some(kept), ..batch })
    }
}
