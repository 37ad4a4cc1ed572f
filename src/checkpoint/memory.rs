//! A checkpoint store in memory: for a preview, which leaves nothing behind, and for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::component::{CheckpointStore, Expected, Key, Revision, Stored, SwapAnswer};
use crate::error::Result;
use crate::event::PartitionId;

/// A store that keeps its documents as long as it lives. Never waits and never fails, so that what
/// a wrapper adds (faults, delays, lost answers) is all there is.
#[derive(Debug)]
pub struct MemoryStore {
    identity: String,
    documents: Mutex<BTreeMap<Key, Stored>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(identity: impl Into<String>) -> Self {
        Self { identity: identity.into(), documents: Mutex::default() }
    }

    /// The document under `key`, at once: for checkers.
    pub fn peek(&self, key: &Key) -> Option<Stored> {
        self.documents().get(key).cloned()
    }

    /// Every document, by key: for checkers.
    pub fn snapshot(&self) -> BTreeMap<Key, Stored> {
        self.documents().clone()
    }

    /// A swap, at once: what [`CheckpointStore::swap`] does. For doubles that apply a write and
    /// lose its answer, or apply it late.
    pub fn swap_now(
        &self,
        key: &Key,
        expected: &Expected,
        new: &Revision,
        body: Bytes,
    ) -> Result<SwapAnswer> {
        new.require(key, &body)?;
        let mut documents = self.documents();
        let matches = match (expected, documents.get(key)) {
            (Expected::Absent, None) => true,
            (Expected::Write { revision, .. }, Some(found)) => found.revision == *revision,
            _ => false,
        };
        if !matches {
            return Ok(SwapAnswer::Conflict);
        }
        documents.insert(key.clone(), Stored { revision: new.clone(), tag: None, body });
        Ok(SwapAnswer::Stored { tag: None })
    }

    /// Put back what stood under `key` before a write that was never made durable.
    #[cfg(test)]
    pub(crate) fn put_back(&self, key: &Key, before: Option<Stored>) {
        match before {
            Some(stored) => self.documents().insert(key.clone(), stored),
            None => self.documents().remove(key),
        };
    }

    fn documents(&self) -> MutexGuard<'_, BTreeMap<Key, Stored>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CheckpointStore for MemoryStore {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn load(&self, key: &Key) -> Result<Option<Stored>> {
        Ok(self.peek(key))
    }

    async fn swap(
        &self,
        key: &Key,
        expected: &Expected,
        new: &Revision,
        body: Bytes,
    ) -> Result<SwapAnswer> {
        self.swap_now(key, expected, new, body)
    }

    async fn partitions(&self) -> Result<Vec<PartitionId>> {
        let documents = self.documents();
        Ok(documents
            .keys()
            .filter_map(|key| match key {
                Key::Record(partition) => Some(partition.clone()),
                Key::Control | Key::Manifest | Key::Beginnings | Key::Run => None,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::conformance::checkpoint::{Handles, check_store};

    #[tokio::test]
    async fn the_memory_store_conforms() {
        check_store(|| async {
            let store: Arc<dyn CheckpointStore> = Arc::new(MemoryStore::new("memory"));
            Handles { first: store.clone(), second: store }
        })
        .await;
    }
}
