//! The writing side of an index, shared by all lanes of the process.
//!
//! A document is written where its version is higher than the one that is there: among the rows that
//! are not committed yet, or else in the committed parts. So what is written twice, or late, changes
//! nothing. Nothing is ever rolled back: that would take the rows of other lanes too. Where the
//! engine fails, all that was not committed is gone, and each lane whose rows were among it is told
//! to write them again.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tantivy::columnar::Column;
use tantivy::directory::error::LockError;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::schema::IndexRecordOption;
use tantivy::{
    DocSet as _, Index, IndexReader, IndexWriter, InvertedIndexReader, ReloadPolicy, SegmentReader,
    TERMINATED, TantivyDocument, TantivyError, Term,
};

use super::fields::{Fields, VERSION};
use crate::component::checkpoint::FORMAT;
use crate::disk::sync_folder;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::{PartitionId, Position};
use crate::memory::{Charge, MemoryBudget};
use crate::sinks::marker::Ownership;

/// What an entry of the versions that are not committed yet takes besides its id.
const ENTRY_BYTES: usize = 64;
/// The engine's queue is bounded in documents alone: it is emptied after so many bytes of them.
const QUEUED_BYTES: usize = 64 << 20;

/// How far one partition is in the index: what a commit says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reached {
    /// Where the epoch ends.
    pub(super) position: Position,
    /// The number of the epoch.
    pub(super) epoch: u64,
}

/// What a commit says of the whole index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Payload {
    v: u32,
    #[serde(flatten)]
    pub(super) ownership: Ownership,
    /// Version of the contract that the last rows were read by.
    contract: String,
    pub(super) partitions: BTreeMap<PartitionId, Reached>,
}

/// How an index is written.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) path: Arc<Path>,
    pub(super) ownership: Ownership,
    pub(super) contract: String,
    pub(super) threads: usize,
    pub(super) thread_bytes: usize,
}

/// What is to become of a document.
pub(super) struct Change {
    pub(super) id: Box<str>,
    pub(super) version: i64,
    pub(super) document: TantivyDocument,
    /// Bytes of the document, about.
    pub(super) bytes: usize,
}

/// The writer of one index. One at a time may hold it.
pub(super) struct Store {
    settings: Settings,
    fields: Fields,
    reader: IndexReader,
    /// `None` after a failure, until the next epoch begins.
    writer: Option<IndexWriter>,
    /// Versions of the documents that were written since the last commit.
    fresh: HashMap<Box<str>, i64>,
    fresh_bytes: usize,
    /// Bytes of the documents that were written since the last commit.
    queued_bytes: usize,
    committed: Vec<Part>,
    payload: Payload,
    is_new: bool,
    /// Rises with each failure: rows that were written under a lower one may be lost.
    pub(super) generation: u64,
    /// The highest ticket whose entries are committed.
    pub(super) done: u64,
    memory: Arc<MemoryBudget>,
    charges: (Option<Charge>, Option<Charge>),
}

impl Store {
    /// Begin to write the index that `index` is, which holds what `payload` says.
    ///
    /// # Errors
    /// `Config` where another process writes it, `Halted` where it is another pipeline's.
    pub(super) fn open(
        index: &Index,
        fields: Fields,
        settings: Settings,
        memory: &Arc<MemoryBudget>,
    ) -> Result<Self> {
        let failed = || format!("cannot open the index {}", settings.path.display());
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let reader: IndexReader = reader.or_error(ErrorKind::Retryable, failed)?;
        let payload = committed_payload(index, &settings)?;
        payload.as_ref().map_or(Ok(()), |payload| payload.is_of(&settings))?;
        let is_new = payload.is_none();
        let payload = payload.unwrap_or_else(|| Payload::nothing(&settings));
        let mut store = Self {
            settings,
            fields,
            reader,
            writer: None,
            fresh: HashMap::new(),
            fresh_bytes: 0,
            queued_bytes: 0,
            committed: Vec::new(),
            payload,
            is_new,
            generation: 0,
            done: 0,
            memory: memory.clone(),
            charges: (None, None),
        };
        store.ready()?;
        Ok(store)
    }

    /// See that there is a writer.
    ///
    /// # Errors
    /// `Config` where another process has one, `Retryable` for what else fails.
    pub(super) fn ready(&mut self) -> Result<()> {
        if self.writer.is_some() {
            return Ok(());
        }
        let path = self.settings.path.clone();
        let options = IndexWriterOptions::builder()
            .num_worker_threads(self.settings.threads)
            .memory_budget_per_thread(self.settings.thread_bytes)
            .num_merge_threads(1)
            .build();
        let writer: IndexWriter =
            self.reader.searcher().index().writer_with_options(options).map_err(|cause| match cause {
                TantivyError::LockFailure(LockError::LockBusy, _) => Error::config(format!(
                    "another process writes the index {}: one at a time may; stop it, or give this pipeline an index of its own",
                    path.display()
                )),
                cause => failed("write", &path, cause),
            })?;
        writer.set_merge_policy(Box::new(LogMergePolicy::default()));
        // What a process that died left of its last commit would be in the way of the same one again.
        writer.garbage_collect_files().wait().map_err(|cause| failed("tidy", &path, cause))?;
        let payload = committed_payload(writer.index(), &self.settings)?;
        self.payload = payload.unwrap_or_else(|| Payload::nothing(&self.settings));
        self.look_at_parts()?;
        self.writer = Some(writer);
        let bytes = self.settings.threads * self.settings.thread_bytes;
        self.charges.0 = Some(self.memory.charge(bytes));
        Ok(())
    }

    /// True where nothing was ever committed.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// How far `partition` is in the last commit.
    pub(super) fn reached(&self, partition: &PartitionId) -> Option<&Reached> {
        self.payload.partitions.get(partition)
    }

    /// Bytes of what is kept until the next commit, beside the engine's own.
    pub(super) fn fresh_bytes(&self) -> usize {
        self.fresh_bytes
    }

    /// Write each of `changes` that is newer than what is there.
    ///
    /// # Errors
    /// `Retryable`: what was not committed is gone.
    pub(super) fn apply(&mut self, changes: Vec<Change>) -> Result<()> {
        let applied = self.try_apply(changes);
        self.charges.1 = Some(self.memory.charge(self.fresh_bytes + self.queued_bytes));
        applied.map_err(|cause| self.fail("write", cause))?;
        if self.queued_bytes > QUEUED_BYTES {
            // An index that is ahead of the records does no harm.
            self.commit(Vec::new())?;
        }
        Ok(())
    }

    fn try_apply(&mut self, changes: Vec<Change>) -> tantivy::Result<()> {
        for Change { id, version, document, bytes } in changes {
            let Some(writer) = &self.writer else { return Err(closed()) };
            let known = match self.fresh.get(&id) {
                Some(known) => Some(*known),
                None => self.committed_version(&id)?,
            };
            if known.is_some_and(|known| known >= version) {
                continue;
            }
            if known.is_some() {
                writer.delete_term(Term::from_field_text(self.fields.id, &id));
            }
            writer.add_document(document)?;
            self.fresh_bytes += id.len() + ENTRY_BYTES;
            self.queued_bytes += bytes;
            self.fresh.insert(id, version);
        }
        Ok(())
    }

    fn committed_version(&self, id: &str) -> tantivy::Result<Option<i64>> {
        for part in &self.committed {
            if let Some(version) = part.version(id)? {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// Make all that was written durable, and say of each of `entries` how far it is.
    ///
    /// # Errors
    /// `Retryable`: it is not known what of it is.
    pub(super) fn commit(&mut self, entries: Vec<(PartitionId, Reached)>) -> Result<()> {
        self.payload.partitions.extend(entries);
        self.payload.contract.clone_from(&self.settings.contract);
        let text = serde_json::to_string(&self.payload)
            .or_error(ErrorKind::Fatal, || "cannot write the payload of a commit".to_owned())?;
        let committed = match &mut self.writer {
            Some(writer) => writer.prepare_commit().and_then(|mut prepared| {
                prepared.set_payload(&text);
                prepared.commit()
            }),
            None => Err(closed()),
        };
        committed.map_err(|cause| self.fail("commit", cause))?;
        // The engine renames what says that it has committed, and leaves it to the disk when that lasts.
        if let Err(cause) = sync_folder(&self.settings.path) {
            return Err(self.fail("commit", cause.into()));
        }
        self.fresh = HashMap::new();
        (self.fresh_bytes, self.queued_bytes) = (0, 0);
        self.charges.1 = None;
        let looked = self.look_at_parts();
        if looked.is_err() {
            self.lose();
        }
        looked
    }

    /// Give the writer up after a failure.
    fn fail(&mut self, what: &str, cause: TantivyError) -> Error {
        self.lose();
        failed(what, &self.settings.path, cause)
    }

    /// What was not committed is gone, and so is the writer.
    pub(super) fn lose(&mut self) {
        self.writer = None;
        self.generation += 1;
        self.fresh = HashMap::new();
        (self.fresh_bytes, self.queued_bytes) = (0, 0);
        self.charges = (None, None);
    }

    fn look_at_parts(&mut self) -> Result<()> {
        let look = || -> tantivy::Result<Vec<Part>> {
            self.reader.reload()?;
            let searcher = self.reader.searcher();
            searcher.segment_readers().iter().map(|part| Part::of(part, &self.fields)).collect()
        };
        self.committed = look().map_err(|cause| failed("read", &self.settings.path, cause))?;
        Ok(())
    }
}

impl Payload {
    /// A commit that is there must be of this pipeline.
    fn is_of(&self, settings: &Settings) -> Result<()> {
        if self.ownership == settings.ownership {
            return Ok(());
        }
        Err(Error::halted(format!(
            "the last commit of the index {} is of pipeline `{}`, its folder says `{}`: a copy of another index was put there; name another folder by `path`",
            settings.path.display(),
            self.ownership.pipeline,
            settings.ownership.pipeline
        )))
    }

    /// What an index says in which nothing was committed.
    fn nothing(settings: &Settings) -> Self {
        Self {
            v: FORMAT,
            ownership: settings.ownership.clone(),
            contract: settings.contract.clone(),
            partitions: BTreeMap::new(),
        }
    }
}

/// What the last commit of `index` says; `None` where there was none.
///
/// # Errors
/// `Halted` where it says nothing that this build can read.
pub(super) fn committed_payload(index: &Index, settings: &Settings) -> Result<Option<Payload>> {
    let path = settings.path.display();
    let metas = index.load_metas();
    let metas = metas.map_err(|cause| failed("read", &settings.path, cause))?;
    let read = |text: String| {
        serde_json::from_str(&text).or_error(ErrorKind::Halted, || {
            format!("the last commit of the index {path} was not made by Acequia")
        })
    };
    metas.payload.map(read).transpose()
}

fn closed() -> TantivyError {
    TantivyError::SystemError("the writer was given up after a failure".to_owned())
}

fn failed(what: &str, path: &Path, cause: TantivyError) -> Error {
    Error::retryable(format!("cannot {what} the index {}", path.display())).caused_by(cause)
}

/// One committed part of the index, with what it takes to look up versions.
struct Part {
    ids: Arc<InvertedIndexReader>,
    versions: Column<i64>,
    reader: SegmentReader,
}

impl Part {
    fn of(reader: &SegmentReader, fields: &Fields) -> tantivy::Result<Self> {
        let ids = reader.inverted_index(fields.id)?;
        let versions = reader.fast_fields().i64(VERSION)?;
        Ok(Self { ids, versions, reader: reader.clone() })
    }

    /// The version of the document of `id`, where this part has it.
    fn version(&self, id: &str) -> tantivy::Result<Option<i64>> {
        let Some(info) = self.ids.terms().get(id.as_bytes())? else { return Ok(None) };
        let mut found = self.ids.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
        while found.doc() != TERMINATED {
            if !self.reader.is_deleted(found.doc()) {
                return Ok(self.versions.first(found.doc()));
            }
            found.advance();
        }
        Ok(None)
    }
}
