//! The components over the simulated outside: source, decoder, filter, staged sink, document sink.

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
use super::world::{Doc, LogEvent};
use crate::component::source::{RawBatch, RawContent, RawRecords, RecordPositions};
use crate::component::{
    CheckpointStore, Decoder, EpochId, EpochWriter, Flushed, PartitionReader, PartitionStart,
    Published, Sink, SinkKind, Source, SourceEvent, StagedFile, Stamp, Swept, Transform,
    Versioning,
};
use crate::error::{Error, Result};
use crate::event::batch::{RawRows, narrow};
use crate::event::filter::SinkRows;
use crate::event::system::UTC;
use crate::event::{
    Batch, DeadLetter, PartitionId, Position, PositionRange, RawImage, Stage, SystemColumns,
};
use crate::sinks::file_name::FileName;
use crate::sinks::staging::{self, FileIdentity, Staging, Upload, staged_file};

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
        Ok(Box::new(Reader { link: self.0.clone(), partition: partition.clone(), next }))
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
    next: u64,
}

#[async_trait]
impl PartitionReader for Reader {
    async fn next(&mut self) -> Result<Option<RawBatch>> {
        loop {
            let world = self.link.world.clone();
            let produced = world.produced.notified();
            self.link.point("read").await?;
            let limit = self.link.world.draw(1..6) as usize;
            let (events, ended) = {
                let state = self.link.world.state();
                let partition = &state.partitions[&self.partition];
                let produced = &partition.log[..partition.produced];
                let events: Vec<LogEvent> = produced
                    .iter()
                    .filter(|event| event.position >= self.next)
                    .take(limit)
                    .cloned()
                    .collect();
                (events, partition.closes && partition.produced == partition.log.len())
            };
            if events.is_empty() {
                if ended {
                    return Ok(None);
                }
                produced.await;
                continue;
            }
            return Ok(Some(self.batch(&events)));
        }
    }
}

impl Reader {
    fn batch(&mut self, events: &[LogEvent]) -> RawBatch {
        let mut data = Vec::new();
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
        self.next = events.last().map_or(from, |event| event.position + 1);
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
            }),
        }
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8View, true),
        Field::new("value", DataType::Int64, true),
    ]))
}

/// Decodes the lines that [`Reader`] makes.
pub(super) struct LineDecoder;

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
                rejects.push(letter(stamp, Stage::Decode, position, version));
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

fn letter(stamp: &Stamp, stage: Stage, position: u64, version: i64) -> DeadLetter {
    DeadLetter {
        stage,
        reason: "poison".to_owned(),
        raw: RawImage::whole(Bytes::new()),
        stream: stamp.stream.clone(),
        partition: stamp.partition.clone(),
        position: Position::Offset(position),
        version,
        key: None,
        event_time: None,
    }
}

/// Keeps the values that [`LogEvent::kept`] keeps.
pub(super) struct KeepSome;

#[async_trait]
impl Transform for KeepSome {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    async fn apply(&self, batch: Batch) -> Result<Batch> {
        let values = batch.rows.column(1).as_primitive::<Int64Type>();
        let condition: BooleanArray =
            values.values().iter().map(|value| Some(value % 4 != 0)).collect();
        let kept = narrow(batch.kept.as_ref(), &condition).unwrap();
        Ok(Batch { kept: Some(kept), ..batch })
    }
}

/// A staged sink: the real staging rules over files of lines.
#[derive(Clone)]
pub(super) struct LineSink {
    pub(super) name: &'static str,
    pub(super) link: Link,
    pub(super) staging: Arc<dyn Staging>,
}

#[async_trait]
impl Sink for LineSink {
    fn name(&self) -> &str {
        self.name
    }
    fn kind(&self) -> SinkKind {
        SinkKind::Staged
    }
    fn place(&self) -> String {
        self.name().to_owned()
    }
    async fn prepare(&self, _written_before: bool) -> Result<()> {
        Ok(())
    }
    async fn begin(&self, epoch: &EpochId) -> Result<Box<dyn EpochWriter>> {
        let nonce = format!("{:032x}", self.link.world.draw(0..u64::MAX));
        let identity = FileIdentity::new(epoch, nonce);
        let key = format!("{}.lines", FileName::new(epoch, 0, &identity.nonce));
        let upload = self.staging.create(&key, &identity).await?;
        let sink = self.clone();
        Ok(Box::new(LineWriter { sink, epoch: epoch.clone(), identity, key, upload, rows: 0 }))
    }
    async fn publish(&self, staged: &[StagedFile]) -> Result<Published> {
        staging::publish(self.staging.as_ref(), staged).await
    }
    async fn discard(&self, staged: &[StagedFile]) -> Result<()> {
        staging::discard(self.staging.as_ref(), staged).await
    }
    async fn sweep(&self, records: &dyn CheckpointStore) -> Result<Swept> {
        staging::sweep(self.staging.as_ref(), records, "simulated").await
    }
}

struct LineWriter {
    sink: LineSink,
    epoch: EpochId,
    identity: FileIdentity,
    key: String,
    upload: Box<dyn Upload>,
    rows: u64,
}

#[async_trait]
impl EpochWriter for LineWriter {
    async fn write(&mut self, rows: SinkRows) -> Result<Vec<DeadLetter>> {
        let batch = rows.batch;
        let mut lines = String::new();
        for row in 0..batch.len() {
            let system = &batch.system;
            let withheld = rows.withheld.as_ref().is_some_and(|withheld| withheld.value(row));
            let value = batch.rows.column(1).as_primitive::<Int64Type>().value(row);
            lines += &format!(
                "{} {} {} {} {} {} {}\n",
                system.partition,
                system.position.as_primitive::<Int64Type>().value(row),
                system.version.value(row),
                system.key.value(row),
                system.op.value(row),
                if withheld { -1 } else { value },
                self.epoch.control,
            );
        }
        self.rows += batch.len() as u64;
        self.upload.put(lines.into()).await?;
        Ok(Vec::new())
    }

    async fn write_dead_letters(&mut self, letters: Vec<DeadLetter>) -> Result<()> {
        let mut lines = String::new();
        for letter in &letters {
            lines += &format!(
                "{} {} {} - {} 0 {}\n",
                letter.partition, letter.position, letter.version, letter.stage, self.epoch.control
            );
        }
        self.rows += letters.len() as u64;
        self.upload.put(lines.into()).await
    }

    async fn flush(self: Box<Self>) -> Result<Flushed> {
        let root = self.sink.staging.root().to_owned();
        let uploaded = self.upload.finish().await?;
        let file =
            staged_file(self.sink.name, &root, &self.key, &self.identity, uploaded, self.rows);
        self.sink.staging.settle(std::slice::from_ref(&file)).await?;
        Ok(Flushed { staged: vec![file], dead_letters: Vec::new(), rows: self.rows })
    }

    async fn abandon(self: Box<Self>) {
        self.upload.abort().await;
    }
}

/// A versioned sink: the highest version of a key wins; some values are refused, at the flush.
pub(super) struct DocSink(pub(super) Link);

#[async_trait]
impl Sink for DocSink {
    fn name(&self) -> &str {
        "docs"
    }
    fn kind(&self) -> SinkKind {
        SinkKind::Versioned
    }
    fn place(&self) -> String {
        self.name().to_owned()
    }
    async fn prepare(&self, _written_before: bool) -> Result<()> {
        Ok(())
    }
    async fn begin(&self, _epoch: &EpochId) -> Result<Box<dyn EpochWriter>> {
        Ok(Box::new(DocWriter { link: self.0.clone(), waiting: Vec::new(), rows: 0 }))
    }
    async fn publish(&self, _staged: &[StagedFile]) -> Result<Published> {
        Ok(Published::All)
    }
    async fn discard(&self, _staged: &[StagedFile]) -> Result<()> {
        Ok(())
    }
    async fn sweep(&self, _records: &dyn CheckpointStore) -> Result<Swept> {
        Ok(Swept::default())
    }
}

struct DocWriter {
    link: Link,
    waiting: Vec<(String, Doc, DeadLetter)>,
    rows: u64,
}

#[async_trait]
impl EpochWriter for DocWriter {
    async fn write(&mut self, rows: SinkRows) -> Result<Vec<DeadLetter>> {
        let batch = rows.batch;
        let system = &batch.system;
        for row in 0..batch.len() {
            let withheld = rows.withheld.as_ref().is_some_and(|withheld| withheld.value(row));
            let value = match system.op.value(row) {
                // The default `on_expire: keep`.
                "expire" => continue,
                "delete" => None,
                _ if withheld => None,
                _ => Some(batch.rows.column(1).as_primitive::<Int64Type>().value(row)),
            };
            let doc = Doc { version: system.version.value(row), value };
            let letter = DeadLetter {
                stage: Stage::Sink("docs".into()),
                reason: "refused".to_owned(),
                raw: RawImage::whole(Bytes::new()),
                stream: system.stream.clone(),
                partition: system.partition.clone(),
                position: Position::Offset(
                    system.position.as_primitive::<Int64Type>().value(row) as u64
                ),
                version: doc.version,
                key: None,
                event_time: None,
            };
            self.waiting.push((system.key.value(row).to_owned(), doc, letter));
        }
        self.rows += batch.len() as u64;
        Ok(Vec::new())
    }

    async fn flush(self: Box<Self>) -> Result<Flushed> {
        self.link.point("bulk:before").await?;
        let mut dead_letters = Vec::new();
        {
            let mut state = self.link.world.state();
            for (key, doc, letter) in self.waiting {
                if doc.value.is_some_and(|value| value % 11 == 5) {
                    dead_letters.push(letter);
                    continue;
                }
                let present = state.docs.get(&key).map_or(i64::MIN, |doc| doc.version);
                if doc.version > present {
                    state.docs.insert(key, doc);
                }
            }
        }
        self.link.point("bulk:after").await?;
        Ok(Flushed { staged: Vec::new(), dead_letters, rows: self.rows })
    }

    async fn abandon(self: Box<Self>) {}
}
