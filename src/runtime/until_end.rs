//! A run that ends when everything that stood in its source at the start is visible.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lane::LaneParts;
use super::retry::until_done;
use crate::component::{Context, Source};
use crate::error::Result;
use crate::event::{PartitionId, Position};

/// How often the records are looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// Where each partition ended when the run began; none for a run that goes on.
#[derive(Debug, Default)]
pub struct Ends(BTreeMap<PartitionId, Position>);

impl Ends {
    /// Where the partitions of `source` end now, those that other processes read included.
    pub async fn of(source: &dyn Source, context: &Context) -> Result<Self> {
        let ends = until_done(context, "looking for the end of the source", || source.ends());
        Ok(Self(ends.await?.into_iter().collect()))
    }

    /// True where the run does not look for an end: the source ends by itself, or never.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where `partition` ended.
    pub fn get(&self, partition: &PartitionId) -> Option<&Position> {
        self.0.get(partition)
    }

    /// Returns when every partition's record, whoever wrote it, is finalised at its end or past it.
    pub async fn reached(&self, parts: &LaneParts) -> Result<()> {
        let mut waiting: Vec<_> = self.0.iter().collect();
        loop {
            let mut left = Vec::new();
            for (partition, end) in waiting {
                let record = parts.load_record(partition).await?;
                if record.is_none_or(|record| record.content.finalised() < end) {
                    left.push((partition, end));
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            waiting = left;
            tokio::time::sleep(INTERVAL).await;
        }
    }
}
