//! Compare-and-swap of checkpoint documents, with the one rule that makes it safe: after any answer
//! but a clear yes, read again and look for our own nonce before concluding anything.
//!
//! Source: `docs/delivery.md`, "Compare and swap".

use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use super::retry::{Backoff, until_done};
use crate::component::Context;
use crate::component::checkpoint::{
    CheckpointStore, Document, Expected, Key, Revision, SwapAnswer,
};
use crate::error::Result;
use crate::mutants::{Mutant, planted};

/// A document as it was last seen in the store.
#[derive(Debug, Clone)]
pub struct Held<T> {
    /// Its content.
    pub content: T,
    /// Which write it is.
    pub revision: Revision,
    /// The store's own tag of that write.
    pub tag: Option<String>,
}

/// The outcome of a swap.
#[derive(Debug)]
pub enum Swapped<T> {
    /// Our document stands.
    Stored(Held<T>),
    /// Another writer's document stands instead; `None` where there is none at all.
    Lost(Option<Held<T>>),
}

/// Reads and changes the documents of one pipeline.
#[derive(Clone)]
pub struct Documents {
    /// The store.
    pub store: std::sync::Arc<dyn CheckpointStore>,
    /// Randomness for nonces and pauses.
    pub context: Context,
}

impl Documents {
    /// The document under `key`; waits out a store that does not answer.
    pub async fn load<T: Serialize + DeserializeOwned>(
        &self,
        key: &Key,
    ) -> Result<Option<Held<T>>> {
        let stored =
            until_done(&self.context, "reading a checkpoint", || self.store.load(key)).await?;
        let Some(stored) = stored else { return Ok(None) };
        let document = Document::<T>::decode(key, &stored.body)?;
        Ok(Some(Held { content: document.content, revision: document.revision, tag: stored.tag }))
    }

    /// The partitions that have a record; waits out a store that does not answer.
    pub async fn partitions(&self) -> Result<Vec<crate::event::PartitionId>> {
        until_done(&self.context, "listing checkpoints", || self.store.partitions()).await
    }

    /// Put `content` in the place of `old` (`None`: where nothing is). Repeats the same bytes until
    /// the outcome is known.
    pub async fn swap<T>(&self, key: &Key, old: Option<&Held<T>>, content: T) -> Result<Swapped<T>>
    where
        T: Serialize + DeserializeOwned + Clone,
    {
        let revision = Revision {
            seq: old.map_or(0, |old| old.revision.seq) + 1,
            nonce: self.context.randomness.nonce(),
        };
        let expected = match old {
            None => Expected::Absent,
            Some(old) => Expected::Write { revision: old.revision.clone(), tag: old.tag.clone() },
        };
        let body = Document::new(revision.clone(), content.clone()).encode()?;
        let mut backoff = Backoff::default();
        loop {
            match self.store.swap(key, &expected, &revision, body.clone()).await {
                Ok(SwapAnswer::Stored { tag }) => {
                    self.context.metrics.swap_stored();
                    return Ok(Swapped::Stored(Held { content, revision, tag }));
                }
                Ok(SwapAnswer::Conflict) if planted(Mutant::CasByStatusCode) => {
                    return Ok(Swapped::Lost(self.load(key).await?));
                }
                Ok(SwapAnswer::Conflict) => self.context.metrics.swap_conflict(),
                Err(error) if !error.is_retryable() => return Err(error),
                Err(_) if planted(Mutant::CasByStatusCode) => {
                    backoff.pause(&self.context).await;
                    continue;
                }
                Err(error) => {
                    if backoff.is_worth_a_line() {
                        warn!(%error, %key, "the answer to a checkpoint write is unclear, reading again");
                    }
                }
            }
            let current = self.load::<T>(key).await?;
            match current {
                Some(current) if is_ours(&current.revision, &revision) => {
                    self.context.metrics.swap_stored();
                    return Ok(Swapped::Stored(current));
                }
                current if is_unchanged(current.as_ref(), old) => {
                    backoff.pause(&self.context).await
                }
                current => return Ok(Swapped::Lost(current)),
            }
        }
    }
}

fn is_ours(current: &Revision, ours: &Revision) -> bool {
    if planted(Mutant::NoNonceCheck) {
        return current.seq == ours.seq;
    }
    current == ours
}

fn is_unchanged<T>(current: Option<&Held<T>>, old: Option<&Held<T>>) -> bool {
    current.map(|held| &held.revision) == old.map(|held| &held.revision)
}
