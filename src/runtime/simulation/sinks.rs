//! The sinks over the simulated outside: staged files of lines, and documents.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use async_trait::async_trait;
use bytes::Bytes;

use super::checker;
use super::faults::Link;
use super::world::{Doc, World};
use crate::component::{
    CheckpointStore, EpochId, EpochWriter, Flushed, Published, Sink, SinkKind, StagedFile, Swept,
};
use crate::error::{Error, Result};
use crate::event::filter::SinkRows;
use crate::event::{Batch, DeadLetter, Position, RawImage, Stage};

use crate::sinks::file_name::FileName;
use crate::sinks::staging::{self, FileIdentity, Staging, Upload, staged_file};

/// Files of one epoch and sink at most: as many as days, of a real lake.
const FOLDERS: u8 = 2;

/// A column of whole numbers.
fn numbers(batch: &Batch, column: usize) -> &Int64Array {
    batch.rows.column(column).as_primitive::<Int64Type>()
}

fn positions(batch: &Batch) -> &Int64Array {
    batch.system.position.as_primitive::<Int64Type>()
}

/// A staged sink: the real staging rules over files of lines, several in each epoch.
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
        Ok(Box::new(LineWriter {
            sink: self.clone(),
            epoch: epoch.clone(),
            open: BTreeMap::new(),
            rows: 0,
        }))
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

struct OpenFile {
    identity: FileIdentity,
    key: String,
    upload: Box<dyn Upload>,
    rows: u64,
}

struct LineWriter {
    sink: LineSink,
    epoch: EpochId,
    /// By folder.
    open: BTreeMap<u8, OpenFile>,
    rows: u64,
}

impl LineWriter {
    async fn put(&mut self, lines: BTreeMap<u8, Vec<String>>) -> Result<()> {
        for (folder, lines) in lines {
            if !self.open.contains_key(&folder) {
                let nonce = format!("{:032x}", self.sink.link.world.draw(0..u64::MAX));
                let identity = FileIdentity::new(&self.epoch, nonce);
                let name = FileName::new(&self.epoch, folder.into(), &identity.nonce);
                let key = format!("folder={folder}/{name}.lines");
                let upload = self.sink.staging.create(&key, &identity).await?;
                self.open.insert(folder, OpenFile { identity, key, upload, rows: 0 });
            }
            let Some(file) = self.open.get_mut(&folder) else { continue };
            file.rows += lines.len() as u64;
            self.rows += lines.len() as u64;
            file.upload.put(lines.concat().into()).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl EpochWriter for LineWriter {
    async fn write(&mut self, rows: SinkRows) -> Result<Vec<DeadLetter>> {
        if self.is_heavy() {
            self.sink
                .link
                .world
                .violate("I10: rows for a writer that has asked for its epoch's end");
        }
        let batch = rows.batch;
        let mut lines: BTreeMap<u8, Vec<String>> = BTreeMap::new();
        for row in 0..batch.len() {
            let system = &batch.system;
            let withheld = rows.withheld.as_ref().is_some_and(|withheld| withheld.value(row));
            let key = system.key.value(row);
            let folder = key.bytes().last().unwrap_or_default() % FOLDERS;
            lines.entry(folder).or_default().push(format!(
                "{} {} {} {key} {} {} {}\n",
                system.partition,
                positions(&batch).value(row),
                system.version.value(row),
                system.op.value(row),
                if withheld { -1 } else { numbers(&batch, 1).value(row) },
                numbers(&batch, 2).value(row),
            ));
        }
        self.put(lines).await?;
        Ok(Vec::new())
    }

    async fn write_dead_letters(&mut self, letters: Vec<DeadLetter>) -> Result<()> {
        let line = |letter: &DeadLetter| {
            format!(
                "{} {} {} - {} 0 {}\n",
                letter.partition, letter.position, letter.version, letter.stage, letter.reason
            )
        };
        self.put(BTreeMap::from([(0, letters.iter().map(line).collect())])).await
    }

    /// Every third epoch ends as soon as it has a row.
    fn is_heavy(&self) -> bool {
        self.epoch.epoch.is_multiple_of(3) && self.rows > 0
    }

    async fn flush(self: Box<Self>) -> Result<Flushed> {
        let staging = &self.sink.staging;
        let (mut files, mut failure) = (Vec::new(), None);
        for file in self.open.into_values() {
            match file.upload.finish().await {
                Ok(uploaded) => files.push(staged_file(
                    self.sink.name,
                    staging.root(),
                    &file.key,
                    &file.identity,
                    uploaded,
                    file.rows,
                )),
                Err(error) => failure = Some(error),
            }
        }
        if failure.is_none() {
            failure = staging::settle(staging.as_ref(), &files).await.err();
        }
        if let Some(error) = failure {
            // What cannot be removed now is left to the sweep.
            let _ = staging::discard(staging.as_ref(), &files).await;
            return Err(error);
        }
        Ok(Flushed { staged: files, dead_letters: Vec::new(), rows: self.rows })
    }

    async fn abandon(self: Box<Self>) {
        for file in self.open.into_values() {
            file.upload.abort().await;
        }
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

/// One document on its way, with the letter that stands for it where it is refused.
#[derive(Clone)]
struct Sent {
    key: String,
    doc: Doc,
    letter: DeadLetter,
}

impl Sent {
    fn refused(&self) -> bool {
        self.doc.value.is_some_and(|value| value % 11 == 5)
    }
}

/// The store takes documents; what it refuses and what is older changes nothing.
fn take(world: &World, sent: &[Sent]) {
    for sent in sent.iter().filter(|sent| !sent.refused()) {
        let present = world.state().docs.get(&sent.key).cloned();
        if present.as_ref().is_none_or(|present| sent.doc.version > present.version) {
            world.state().docs.insert(sent.key.clone(), sent.doc.clone());
            checker::after_document(world, &sent.key, present.as_ref());
        }
    }
}

struct DocWriter {
    link: Link,
    waiting: Vec<Sent>,
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
                _ => Some(numbers(&batch, 1).value(row)),
            };
            let doc = Doc { version: system.version.value(row), value };
            let letter = DeadLetter {
                stage: Stage::Sink("docs".into()),
                reason: numbers(&batch, 2).value(row).to_string(),
                raw: RawImage::whole(Bytes::new()),
                stream: system.stream.clone(),
                partition: system.partition.clone(),
                position: Position::Offset(positions(&batch).value(row) as u64),
                version: doc.version,
                key: None,
                event_time: None,
            };
            let key = system.key.value(row).to_owned();
            checker::on_document(&self.link.world, &key, &doc, &letter);
            self.waiting.push(Sent { key, doc, letter });
        }
        self.rows += batch.len() as u64;
        Ok(Vec::new())
    }

    async fn flush(self: Box<Self>) -> Result<Flushed> {
        let (link, sent) = (&self.link, self.waiting);
        link.point("bulk:before").await?;
        if link.fault(0.5) {
            return Err(link.later(move |world| take(world, &sent)));
        }
        if link.fault(0.5) {
            take(&link.world, &sent[..sent.len() / 2]);
            return Err(Error::retryable("injected: a part of the bulk failed"));
        }
        take(&link.world, &sent);
        if link.fault(0.5) {
            // The client library repeated a call whose answer it lost.
            take(&link.world, &sent);
        }
        link.point("bulk:after").await?;
        let dead_letters =
            sent.iter().filter(|sent| sent.refused()).map(|sent| sent.letter.clone()).collect();
        Ok(Flushed { staged: Vec::new(), dead_letters, rows: self.rows })
    }

    async fn abandon(self: Box<Self>) {}
}
