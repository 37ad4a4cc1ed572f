//! Removing staged files that earlier processes left behind, by the token rule: `docs/delivery.md`.

use std::convert::Infallible;
use std::time::Duration;

use tracing::{info, warn};

use super::lane::LaneParts;

/// The first sweep: by then lanes have usually taken their partitions, which makes room on a disk
/// that a crash has filled.
const FIRST_AFTER: Duration = Duration::from_secs(30);
/// A sweep lists every table, so it comes seldom.
const INTERVAL: Duration = Duration::from_secs(3600);

/// Sweep again and again until the future is dropped.
pub async fn from_time_to_time(parts: &LaneParts) -> Infallible {
    tokio::time::sleep(FIRST_AFTER).await;
    loop {
        once(parts).await;
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Sweep every sink once. What fails is left to the next sweep: strays are invisible and only take
/// space.
pub async fn once(parts: &LaneParts) {
    let sinks = parts.sinks.iter().map(|line| &line.sink);
    for sink in sinks.chain(std::iter::once(&parts.dead_letters)) {
        match sink.sweep(parts.documents.store.as_ref()).await {
            Ok(swept) if swept.removed > 0 => {
                info!(
                    sink = sink.name(),
                    removed = swept.removed,
                    "removed strays of earlier runs"
                );
            }
            Ok(_) => {}
            Err(error) => warn!(sink = sink.name(), %error, "strays of earlier runs stay for now"),
        }
    }
}
