//! The writer of one epoch of one lane.
//!
//! Rows wait by Hive partition, up to the lane's share of the memory budget: as Arrow where a batch
//! comes in long runs, packed where its rows are scattered. A Hive partition with a row group's rows
//! takes an encoder slot, encodes on the compute seam while the lane goes on, and hands the bytes to
//! its staged file. Where many small Hive partitions fill the share, their rows go to the lane's
//! scratch file until the flush.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream;
use tokio::sync::oneshot;

use super::Shared;
use super::encoder::{Encoded, End, FileEncoder, ROW_GROUP_ROWS, Work};
use super::layout::{Bucket, Places};
use super::rows::{BLOCK_ROWS, Held, LaneBytes, LaneCharge, Piece, Waiting};
use super::scratch::{Part, Scratch};
use super::table::Origin;
use crate::component::{EpochId, EpochWriter, Flushed, StagedFile};
use crate::compute;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::filter::SinkRows;
use crate::event::{DeadLetter, Stage};
use crate::sinks::file_name::FileName;
use crate::sinks::staging::{FileIdentity, StagedUpload, Upload, settle, staged_file};

/// A row group is encoded when its rows keep this much alive, or three quarters of a lane's share.
const ROW_GROUP_BYTES: usize = 32 << 20;
/// A file that has passed this size is finished, and another one begun.
const FILE_BYTES: u64 = 512 << 20;
/// Where memory is short, this many rows of one Hive partition are worth a row group of their own.
const SMALL_ROW_GROUP_ROWS: usize = 8192;
/// Files that one job finishes at a flush.
const FILES_IN_A_JOB: usize = 32;
/// Jobs of one lane that may run beside each other at a flush.
const JOBS_AT_FLUSH: usize = 2;

/// A file of the epoch that is still growing.
struct OpenFile {
    key: String,
    identity: FileIdentity,
    upload: Option<Box<dyn Upload>>,
    /// `None` while a job has it.
    encoder: Option<FileEncoder>,
    rows: u64,
    bytes: u64,
}

impl OpenFile {
    /// Hand `bytes` to the staged file, which is begun with them; the answer is the finished file
    /// where its footer is among them.
    async fn take_bytes(&mut self, shared: &Shared, bytes: Vec<u8>) -> Result<Option<StagedFile>> {
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => shared.staging.create(&self.key, &self.identity).await?,
        };
        let put = upload.put(bytes.into()).await;
        if put.is_err() || self.encoder.is_some() {
            self.upload = Some(upload);
            return put.map(|()| None);
        }
        let (uploaded, root) = (upload.finish().await?, shared.staging.root());
        let (name, key, identity) = (&shared.name, &self.key, &self.identity);
        Ok(Some(staged_file(name, root, key, identity, uploaded, self.rows)))
    }
}

type Answer = oneshot::Receiver<Result<Vec<Encoded>>>;

/// Writes one epoch of one lane.
pub(super) struct LakeWriter {
    shared: Arc<Shared>,
    epoch: EpochId,
    /// Of every row so far.
    origin: Origin,
    lane: LaneBytes,
    waiting: BTreeMap<Bucket, Waiting>,
    scratch: Option<Scratch>,
    files: HashMap<Bucket, OpenFile>,
    jobs: VecDeque<Answer>,
    /// Hive partitions whose file is inside a job.
    busy: HashSet<Bucket>,
    finished: Vec<StagedFile>,
    number: u32,
    rows: u64,
}

impl LakeWriter {
    pub(super) fn new(shared: Arc<Shared>, epoch: &EpochId) -> Self {
        Self {
            shared,
            epoch: epoch.clone(),
            origin: Origin::default(),
            lane: LaneBytes::default(),
            waiting: BTreeMap::new(),
            scratch: None,
            files: HashMap::new(),
            jobs: VecDeque::new(),
            busy: HashSet::new(),
            finished: Vec::new(),
            number: 0,
            rows: 0,
        }
    }

    /// Let the rows wait; the answer names the Hive partitions that have a row group now.
    async fn take_in(&mut self, rows: SinkRows) -> Result<(Vec<DeadLetter>, Vec<Bucket>)> {
        let shared = self.shared.clone();
        let SinkRows { batch, withheld } = rows;
        let bounds = shared.layout.bounds(shared.context.clock.now_micros());
        let assigned = shared.layout.assign(&batch.rows, &batch.system, bounds)?;
        let (letters, stage) = (assigned.refused.into_iter(), Stage::Sink(shared.name.clone()));
        let letters =
            letters.map(|(row, reason)| batch.letter(stage.clone(), row, reason)).collect();
        let mut full = Vec::new();
        if assigned.places.is_empty() {
            return Ok((letters, full));
        }
        let origin = Origin::of(&batch.system);
        if self.rows == 0 {
            self.origin = origin;
        } else if self.origin != origin {
            return Err(Error::fatal("one lane brings rows of two partitions"));
        }
        let table = shared.table.assemble(&batch.rows, &batch.system, withheld.as_ref())?;
        drop(batch);
        let limit = ROW_GROUP_BYTES.min(shared.context.memory.share() / 4 * 3);
        for (bucket, piece) in self.pieces(table, assigned.places).await? {
            self.rows += piece.len() as u64;
            let waiting = self.waiting.entry(bucket).or_default();
            waiting.push(piece);
            let is_full = waiting.bytes >= limit || waiting.rows >= ROW_GROUP_ROWS;
            if is_full && !full.contains(&bucket) {
                full.push(bucket);
            }
        }
        Ok((letters, full))
    }

    /// The rows of a batch by Hive partition, charged to the lane.
    async fn pieces(&mut self, table: RecordBatch, places: Places) -> Result<Vec<(Bucket, Piece)>> {
        let context = &self.shared.context;
        match places {
            Places::Runs(runs) => {
                let held = Held::new(table, &self.lane, &context.memory)
                    .or_error(ErrorKind::Fatal, || "cannot copy waiting rows".to_owned())?;
                let piece = |(bucket, Range { start, end })| {
                    (bucket, Piece::Run { held: held.clone(), start, length: end - start })
                };
                Ok(runs.into_iter().map(piece).collect())
            }
            Places::Lists(lists) => {
                let (buckets, rows): (Vec<_>, Vec<_>) = lists.into_iter().unzip();
                let packing = self.shared.packing.clone();
                let packed = compute::run(&context.compute, move || packing.pack(&table, &rows))
                    .await?
                    .or_error(ErrorKind::Fatal, || "cannot pack waiting rows".to_owned())?;
                let bytes = packed.iter().map(|packed| packed.bytes.len()).sum();
                let charge = LaneCharge::new(bytes, &self.lane, &context.memory);
                let piece = |packed| Piece::Packed { packed, _charge: Some(charge.clone()) };
                Ok(buckets.into_iter().zip(packed.into_iter().map(piece)).collect())
            }
        }
    }

    /// The lane keeps more alive than its share: encode what is worth a row group, and put the rest
    /// into the scratch file.
    async fn make_room(&mut self) -> Result<()> {
        self.catch_up().await?;
        if self.lane.used() <= self.shared.context.memory.share() {
            return Ok(());
        }
        let large: Vec<Bucket> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.rows >= SMALL_ROW_GROUP_ROWS)
            .map(|(bucket, _)| *bucket)
            .collect();
        for bucket in large {
            self.encode_waiting(bucket).await?;
        }
        self.catch_up().await?;
        let rest: Vec<_> = std::mem::take(&mut self.waiting)
            .into_iter()
            .map(|(bucket, waiting)| (bucket, waiting.pieces))
            .collect();
        if rest.is_empty() {
            return Ok(());
        }
        let (scratch, shared) = (self.scratch.take(), self.shared.clone());
        let scratch = compute::run(&self.shared.context.compute, move || {
            let mut scratch = match scratch {
                Some(scratch) => scratch,
                None => Scratch::create(&shared.scratch, &shared.packing)?,
            };
            scratch.spill(rest)?;
            Ok::<_, Error>(scratch)
        })
        .await??;
        self.scratch = Some(scratch);
        Ok(())
    }

    /// Encode what waits of one Hive partition as a row group, while the lane goes on.
    async fn encode_waiting(&mut self, bucket: Bucket) -> Result<()> {
        // One job at a time while the lane runs: what it holds is then bounded by its share.
        self.catch_up().await?;
        let Some(waiting) = self.waiting.remove(&bucket) else { return Ok(()) };
        let work = self.work(bucket, waiting.pieces, End::RowGroup);
        self.start(vec![work]).await
    }

    /// Make work of rows for the open file of their Hive partition.
    fn work(&mut self, bucket: Bucket, pieces: Vec<Piece>, end: End) -> Work {
        let (shared, epoch, number) = (&self.shared, &self.epoch, &mut self.number);
        let file = self.files.entry(bucket).or_insert_with(|| {
            let nonce = shared.context.randomness.nonce();
            let name = FileName::new(epoch, *number, &nonce);
            *number += 1;
            OpenFile {
                key: format!("{}/{name}.parquet", shared.layout.folder(bucket)),
                identity: FileIdentity::new(epoch, nonce),
                upload: None,
                encoder: None,
                rows: 0,
                bytes: 0,
            }
        });
        let footer = shared.footer(epoch, &file.identity.nonce);
        self.busy.insert(bucket);
        let encoder = file.encoder.take();
        Work { bucket, origin: self.origin.clone(), pieces, encoder, footer, end }
    }

    /// Take an encoder slot and set a job going. The slot is given back when it has encoded.
    async fn start(&mut self, work: Vec<Work>) -> Result<()> {
        let compute = &self.shared.context.compute;
        let slot = compute
            .encoder_slots()
            .clone()
            .acquire_owned()
            .await
            .or_error(ErrorKind::Fatal, || "the encoder slots are closed".to_owned())?;
        let shared = self.shared.clone();
        let (sender, receiver) = oneshot::channel();
        compute.submit(Box::new(move || {
            let encoded = work.into_iter().map(|work| work.run(&shared)).collect();
            drop(slot);
            // Nobody waits where the epoch was abandoned.
            let _ = sender.send(encoded);
        }));
        self.jobs.push_back(receiver);
        Ok(())
    }

    /// Hand the bytes of the oldest job to its files.
    async fn absorb(&mut self) -> Result<()> {
        let Some(answer) = self.jobs.pop_front() else { return Ok(()) };
        let encoded =
            answer.await.map_err(|_| Error::fatal("an encoder job panicked; see the log"))??;
        let mut grown = Vec::with_capacity(encoded.len());
        for encoded in encoded {
            let Encoded { bucket, bytes, rows, encoder } = encoded;
            self.busy.remove(&bucket);
            let Some(mut file) = self.files.remove(&bucket) else {
                return Err(Error::fatal("an encoder job answered for a file that is not open"));
            };
            file.rows += rows;
            file.bytes += bytes.len() as u64;
            file.encoder = encoder;
            grown.push((bucket, file, bytes));
        }
        let shared = self.shared.clone();
        let hand_over = |(bucket, mut file, bytes): (Bucket, OpenFile, Vec<u8>)| {
            let shared = &shared;
            async move {
                let handed = file.take_bytes(shared, bytes).await;
                (bucket, file, handed)
            }
        };
        let at_once = shared.staging.uploads_at_once();
        let mut handed = stream::iter(grown).map(hand_over).buffered(at_once);
        // All of them come to an end, so that none is left between open and gone.
        let mut failure = None;
        while let Some((bucket, file, handed)) = handed.next().await {
            match handed {
                Ok(Some(staged)) => self.finished.push(staged),
                Ok(None) => drop(self.files.insert(bucket, file)),
                Err(error) => {
                    failure.get_or_insert(error);
                    self.files.insert(bucket, file);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Hand the bytes of every job to its files.
    async fn absorb_all(&mut self) -> Result<()> {
        while !self.jobs.is_empty() {
            self.absorb().await?;
        }
        Ok(())
    }

    /// Wait for every job, and end files that have grown large: no job holds them now.
    async fn catch_up(&mut self) -> Result<()> {
        self.absorb_all().await?;
        let large: Vec<Bucket> = self
            .files
            .iter()
            .filter(|(_, file)| file.bytes >= FILE_BYTES)
            .map(|(bucket, _)| *bucket)
            .collect();
        for bucket in large {
            let work = self.work(bucket, Vec::new(), End::File);
            self.start(vec![work]).await?;
            self.absorb().await?;
        }
        Ok(())
    }

    /// Encode everything that waits and end every file.
    async fn finish_all(&mut self) -> Result<()> {
        self.catch_up().await?;
        if let Some(scratch) = self.scratch.take() {
            self.encode_scratch(scratch).await?;
        }
        let whole = |bucket, pieces| Part { bucket, pieces, is_last: true };
        let mut group = Vec::new();
        let mut rows = 0;
        while let Some((bucket, waiting)) = self.waiting.pop_first() {
            rows += waiting.rows;
            group.push(whole(bucket, waiting.pieces));
            if rows >= BLOCK_ROWS || group.len() >= FILES_IN_A_JOB {
                rows = 0;
                self.encode_parts(std::mem::take(&mut group)).await?;
            }
        }
        self.encode_parts(group).await?;
        self.absorb_all().await?;
        // Files whose rows have all been encoded already lack their footer only.
        let rest = self.files.keys().map(|bucket| whole(*bucket, Vec::new())).collect();
        self.encode_parts(rest).await?;
        self.absorb_all().await
    }

    /// Encode what the scratch file holds, and what came after it for the same Hive partitions.
    async fn encode_scratch(&mut self, scratch: Scratch) -> Result<()> {
        let mut merge = scratch.into_merge();
        loop {
            let (back, group) = compute::run(&self.shared.context.compute, move || {
                let group = merge.next_group(BLOCK_ROWS);
                (merge, group)
            })
            .await?;
            merge = back;
            let mut group = group?;
            if group.is_empty() {
                return Ok(());
            }
            for part in group.iter_mut().filter(|part| part.is_last) {
                let newer = self.waiting.remove(&part.bucket);
                part.pieces.extend(newer.into_iter().flat_map(|waiting| waiting.pieces));
            }
            self.encode_parts(group).await?;
        }
    }

    /// Encode rows of several Hive partitions in one job, and end the files of those that are whole.
    async fn encode_parts(&mut self, parts: Vec<Part>) -> Result<()> {
        if parts.is_empty() {
            return Ok(());
        }
        while self.jobs.len() >= JOBS_AT_FLUSH
            || parts.iter().any(|part| self.busy.contains(&part.bucket))
        {
            self.absorb().await?;
        }
        let work = parts
            .into_iter()
            .map(|Part { bucket, pieces, is_last }| {
                self.work(bucket, pieces, if is_last { End::File } else { End::Rows })
            })
            .collect();
        self.start(work).await
    }

    /// Remove every staged file of the epoch. No record names them: nothing was flushed.
    async fn remove_all(&mut self) {
        self.jobs.clear();
        for (_, file) in self.files.drain() {
            if let Some(upload) = file.upload {
                upload.abort().await;
            }
        }
        for file in self.finished.drain(..) {
            // What stays is swept later.
            let _ = self.shared.staging.abort(&StagedUpload::from(&file)).await;
        }
    }
}

#[async_trait]
impl EpochWriter for LakeWriter {
    /// An error leaves the writer fit only to be abandoned.
    async fn write(&mut self, rows: SinkRows) -> Result<Vec<DeadLetter>> {
        let (letters, full) = self.take_in(rows).await?;
        for bucket in full {
            self.encode_waiting(bucket).await?;
        }
        if self.lane.used() > self.shared.context.memory.share() {
            self.make_room().await?;
        }
        Ok(letters)
    }

    /// The lane's part of the process's scratch files is full.
    fn is_heavy(&self) -> bool {
        let lanes = self.shared.context.memory.lanes() as u64;
        let scratch = self.scratch.as_ref();
        scratch.is_some_and(|scratch| scratch.bytes() >= self.shared.scratch_bytes / lanes)
    }

    async fn flush(mut self: Box<Self>) -> Result<Flushed> {
        let named = |error: Error, sink: &str| error.context(format!("sink {sink}"));
        if let Err(error) = self.finish_all().await {
            self.remove_all().await;
            return Err(named(error, &self.shared.name));
        }
        settle(self.shared.staging.as_ref(), &self.finished)
            .await
            .map_err(|error| named(error, &self.shared.name))?;
        Ok(Flushed { staged: self.finished, dead_letters: Vec::new(), rows: self.rows })
    }

    async fn abandon(mut self: Box<Self>) {
        self.remove_all().await;
    }
}
