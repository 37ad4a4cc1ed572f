//! The barrier of maintenance: raise the control record, then wait until no row that was processed
//! under a smaller number can become visible any more.
//!
//! Source: `docs/delivery.md`, "Control record".

use std::time::Duration;

use crate::component::checkpoint::Key;
use crate::component::{Control, Record};
use crate::error::{Error, Result};
use crate::runtime::swap::{Documents, Swapped};

/// How often the records are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Raise the control number by one and answer the new one.
pub async fn raise(documents: &Documents) -> Result<u64> {
    loop {
        let held = documents
            .load::<Control>(&Key::Control)
            .await?
            .ok_or_else(|| Error::halted("the pipeline has no control record: it never ran"))?;
        let mut control = held.content.clone();
        control.number += 1;
        if let Swapped::Stored(held) = documents.swap(&Key::Control, Some(&held), control).await? {
            return Ok(held.content.number);
        }
    }
}

/// Wait until every record of the pipeline is finished, or shows at least `number` durably with
/// nothing older pending. A record made after the listing starts under the new number, since a
/// lane reads the control record after its fence.
pub async fn wait(documents: &Documents, number: u64) -> Result<()> {
    loop {
        if all_show(documents, number).await? {
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn all_show(documents: &Documents, number: u64) -> Result<bool> {
    for partition in documents.partitions().await? {
        let record = documents.load::<Record>(&Key::Record(partition)).await?;
        let shows = record.is_none_or(|record| {
            // What is pending was processed under the number beside it: both change in one swap.
            record.content.is_finished() || record.content.control >= number
        });
        if !shows {
            return Ok(false);
        }
    }
    Ok(true)
}
