//! Where topics begin that are read from their next message on.
//!
//! With `start: latest` the first start of a pipeline notes the ends of its topics in a document of
//! the checkpoint store, and every task begins there: one that comes later, or is given a partition
//! that another task had and never fenced, skips nothing and reads nothing older.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::admin::Described;
use super::client::Consumer;
use super::config::KafkaConfig;
use super::topics;
use crate::component::checkpoint::Document;
use crate::component::{CheckpointStore, Context, Key, Revision, SwapAnswer};
use crate::error::{Error, Result};

/// Times that another task may get in between before something must be wrong.
const ATTEMPTS: usize = 16;

/// The document; it is extended only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Beginnings {
    /// The names and patterns whose topics were looked at. A topic that matches one of these and is
    /// not below was made afterwards: it is read from its oldest message.
    wanted: BTreeSet<String>,
    topics: BTreeMap<String, Beginning>,
}

/// Where one topic begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Beginning {
    /// The identity that brokers gave it: offsets of another topic of that name say nothing.
    topic_id: String,
    /// By partition; those that the topic grew afterwards are read from their oldest message.
    offsets: Vec<u64>,
}

impl Beginnings {
    /// The document as it is now, and those of `topics` that nothing was decided of at their ends.
    /// Nothing is stored. Errors: as those of the source when it is opened.
    pub(super) async fn at_ends(
        consumer: &Arc<Consumer>,
        config: &KafkaConfig,
        store: &dyn CheckpointStore,
        topics: &BTreeMap<String, Described>,
    ) -> Result<Self> {
        let wanted = config.topics.names();
        let (mut known, ..) = Document::<Self>::load_or_default(store, &Key::Beginnings).await?;
        let missing = topics.iter().filter(|(name, _)| known.lacks(wanted, name));
        let missing: BTreeMap<String, Described> =
            missing.map(|(name, topic)| (name.clone(), topic.clone())).collect();
        let bootstrap = config.bootstrap.clone();
        let found = topics::blocking(consumer, move |consumer| {
            let at_end = |(name, topic): (String, Described)| {
                let offsets = topics::ends_first(consumer, &name, topic.partitions, &bootstrap)?;
                Ok((name, Beginning { topic_id: topic.id, offsets }))
            };
            missing.into_iter().map(at_end).collect::<Result<_>>()
        });
        known.extend(wanted, found.await?);
        Ok(known)
    }

    /// Where partition number `partition` of the topic of that identity begins; `None`: at its
    /// oldest message.
    pub(super) fn of(&self, topic: &str, topic_id: &str, partition: i32) -> Option<u64> {
        let known = self.topics.get(topic).filter(|known| known.topic_id == topic_id)?;
        known.offsets.get(usize::try_from(partition).ok()?).copied()
    }

    /// True where nothing was decided of the topic of that name, which `wanted` names or matches
    /// anew: it begins at its end.
    fn lacks(&self, wanted: &[String], topic: &str) -> bool {
        let fresh: Vec<String> =
            wanted.iter().filter(|one| !self.wanted.contains(*one)).cloned().collect();
        let is_fresh =
            || fresh.iter().any(|one| one == topic) || topics::matches_any(&fresh, topic);
        !self.topics.contains_key(topic) && is_fresh()
    }

    /// Add the topics that are missing.
    fn extend(&mut self, wanted: &[String], found: BTreeMap<String, Beginning>) {
        let missing = found.into_iter().filter(|(topic, _)| self.lacks(wanted, topic));
        let missing: Vec<_> = missing.collect();
        self.topics.extend(missing);
        self.wanted.extend(wanted.iter().cloned());
    }

    /// Extend the document in `store` by these topics, and answer with what it says then: what
    /// another task noted before counts.
    pub(super) async fn settle(
        &self,
        store: &dyn CheckpointStore,
        wanted: &[String],
        context: &Context,
    ) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let (known, expected, seq) =
                Document::<Self>::load_or_default(store, &Key::Beginnings).await?;
            let mut wished = known.clone();
            wished.extend(wanted, self.topics.clone());
            if wished == known {
                return Ok(known);
            }
            let new = Revision { seq: seq + 1, nonce: context.randomness.nonce() };
            let body = Document::new(new.clone(), wished.clone()).encode()?;
            let answer = store.swap(&Key::Beginnings, &expected, &new, body).await?;
            if matches!(answer, SwapAnswer::Stored { .. }) {
                return Ok(wished);
            }
        }
        Err(Error::retryable("other tasks keep changing where topics begin"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MemoryStore, context};

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|&one| one.to_owned()).collect()
    }

    fn at(all: &[(&str, &[u64])]) -> BTreeMap<String, Beginning> {
        let one = |&(name, offsets): &(&str, &[u64])| {
            let topic_id = format!("id of {name}");
            (name.to_owned(), Beginning { topic_id, offsets: offsets.to_vec() })
        };
        all.iter().map(one).collect()
    }

    #[tokio::test]
    async fn what_the_first_start_saw_counts_for_every_later_one() {
        let (store, context) = (MemoryStore::new("store"), context(1));
        let wanted = names(&["talks", "^chat-.*$"]);
        let settle = async |wanted: &[String], found| {
            let mut seen = Beginnings::default();
            seen.extend(wanted, found);
            seen.settle(&store, wanted, &context).await.unwrap()
        };
        let first = settle(&wanted, at(&[("talks", &[5, 7]), ("chat-a", &[3])])).await;
        let of = |all: &Beginnings, name: &str, partition| {
            all.of(name, &format!("id of {name}"), partition)
        };
        assert_eq!([0, 1, 2].map(|one| of(&first, "talks", one)), [Some(5), Some(7), None]);
        assert_eq!(first.of("talks", "another id", 0), None, "it was made anew");
        // A task that starts later sees later ends, one more partition, and a topic made meanwhile.
        let found = at(&[("talks", &[9, 9, 9]), ("chat-a", &[9]), ("chat-b", &[9])]);
        let second = settle(&wanted, found).await;
        assert_eq!(second, first);
        assert_eq!(of(&second, "chat-b", 0), None);
        // A name that is configured later begins where it is found then.
        let wanted = names(&["talks", "^chat-.*$", "more"]);
        assert!(second.lacks(&wanted, "more") && !second.lacks(&wanted, "chat-b"));
        let third = settle(&wanted, at(&[("more", &[4]), ("chat-b", &[9])])).await;
        assert_eq!((of(&third, "more", 0), of(&third, "chat-b", 0)), (Some(4), None));
    }
}
