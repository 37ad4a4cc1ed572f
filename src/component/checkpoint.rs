//! What a checkpoint store promises: small documents, changed only by compare-and-swap.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::event::PartitionId;

/// The version of every on-disk format of this build. A reader refuses a newer one.
pub const FORMAT: u32 = 1;

/// Names one document of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The record R of a partition.
    Record(PartitionId),
    /// The control record C of the pipeline.
    Control,
    /// The list of files of an archive.
    Manifest,
    /// Where topics begin that are read from their next message on.
    Beginnings,
    /// The newest run of a source that nothing assigns.
    Run,
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(partition) => write!(out, "record of {partition}"),
            Self::Control => out.write_str("control record"),
            Self::Manifest => out.write_str("archive manifest"),
            Self::Beginnings => out.write_str("document of where topics begin"),
            Self::Run => out.write_str("run record"),
        }
    }
}

/// Tells one write of a document from every other: the number of the write and its nonce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Rises by one with each write.
    pub seq: u64,
    /// Random text, new in each write, so that no two writes are ever the same bytes.
    pub nonce: String,
}

impl Revision {
    /// The revision that a document carries. A newer format, or bytes that are no document of
    /// Acequia, are refused.
    pub fn of(key: &Key, body: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Nothing {}
        Document::<Nothing>::decode(key, body).map(|document| document.revision)
    }

    /// Refuse a document that does not carry this revision: what every store asks before a swap.
    pub fn require(&self, key: &Key, body: &[u8]) -> Result<()> {
        match Self::of(key, body)? == *self {
            true => Ok(()),
            false => Err(Error::fatal(format!("the {key} does not carry its own revision"))),
        }
    }
}

/// A document as the store holds it.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Which write it is.
    pub revision: Revision,
    /// The store's own tag of the object, where it compares by one.
    pub tag: Option<String>,
    /// The whole document.
    pub body: Bytes,
}

/// What a swap expects to find.
#[derive(Debug, Clone)]
pub enum Expected {
    /// No document under the key.
    Absent,
    /// Exactly this write.
    Write {
        /// Number and nonce of the write.
        revision: Revision,
        /// The store's own tag of it.
        tag: Option<String>,
    },
}

/// The store's answer to a swap. An `Err` instead means that the outcome is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwapAnswer {
    /// The new document stands and is durable.
    Stored {
        /// The store's own tag of it.
        tag: Option<String>,
    },
    /// The store says that it found something else. After a lost answer this may be our own write:
    /// the caller reads again and compares the nonce before it concludes anything.
    Conflict,
}

/// Holds the documents of one pipeline. Linearizable: a load sees every swap answered before it.
#[async_trait]
pub trait CheckpointStore: Send + Sync {
    /// Identity of the store, repeated in every record and in the lake's marker.
    fn identity(&self) -> &str;

    /// The document under `key`.
    async fn load(&self, key: &Key) -> Result<Option<Stored>>;

    /// Replace the document under `key` by `body`, whose revision is `new`, if what is there is
    /// `expected`. Never deletes: no document is removed or reset to a reused state.
    async fn swap(
        &self,
        key: &Key,
        expected: &Expected,
        new: &Revision,
        body: Bytes,
    ) -> Result<SwapAnswer>;

    /// The partitions that have a record, sorted.
    async fn partitions(&self) -> Result<Vec<PartitionId>>;
}

/// A typed document inside its envelope of format number and revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document<T> {
    /// Format number.
    pub v: u32,
    /// Which write this is.
    #[serde(flatten)]
    pub revision: Revision,
    /// The content.
    #[serde(flatten)]
    pub content: T,
}

impl<T: Serialize> Document<T> {
    /// A document of the present format.
    pub fn new(revision: Revision, content: T) -> Self {
        Self { v: FORMAT, revision, content }
    }

    /// The bytes to store.
    pub fn encode(&self) -> Result<Bytes> {
        serde_json::to_vec_pretty(self)
            .map(Bytes::from)
            .map_err(|cause| Error::fatal("cannot write a checkpoint document").caused_by(cause))
    }
}

impl<T: DeserializeOwned> Document<T> {
    /// Read a stored document; a newer format, or bytes that are no such document, are refused.
    pub fn decode(key: &Key, body: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Format {
            v: u32,
        }
        let unreadable =
            |cause| Error::halted(format!("the {key} is not readable")).caused_by(cause);
        let format: Format = serde_json::from_slice(body).map_err(unreadable)?;
        if format.v > FORMAT {
            return Err(Error::halted(format!(
                "the {key} has format {}, this build reads up to {FORMAT}: use a newer acequia",
                format.v
            )));
        }
        serde_json::from_slice(body).map_err(unreadable)
    }

    /// The content under `key`, or what a document begins with that is only ever extended; what a
    /// swap of it expects; and the number of its last write.
    pub async fn load_or_default(
        store: &dyn CheckpointStore,
        key: &Key,
    ) -> Result<(T, Expected, u64)>
    where
        T: Default,
    {
        let Some(stored) = store.load(key).await? else {
            return Ok((T::default(), Expected::Absent, 0));
        };
        let Self { revision, content, .. } = Self::decode(key, &stored.body)?;
        let seq = revision.seq;
        Ok((content, Expected::Write { revision, tag: stored.tag }, seq))
    }
}
