//! Sends the rows of one epoch.
//!
//! Rows become a bulk as soon as they come. One that finds fewer than a few requests of this writer
//! under way goes at once; else it waits for its like, up to the size of a bulk. Order does not matter:
//! the index keeps the highest version of a key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opensearch::http::Method;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tracing::warn;

use super::Shared;
use super::bulk::{ANSWER_PARTS, Bulk, Item, Outcome, Written, outcomes};
use super::client::{Answer, TIMEOUT};
use super::limit::Place;
use crate::component::{Confirmation, EpochId, EpochWriter, Flushed};
use crate::compute;
use crate::error::{Error, Result};
use crate::event::filter::SinkRows;
use crate::event::{DeadLetter, Stage};
use crate::sinks::documents::{Documents, system_columns};

/// A partition that was not known to be this process's for so long is not sent for.
const SEND_DEADLINE: Duration = TIMEOUT;
/// What waits may hold so many times the bytes of a bulk: many small deletes stand for large records.
const HELD_TIMES: usize = 2;
/// Requests of one writer that are under way at once.
const AT_ONCE: usize = 4;
/// A request that nothing comes of is given up after this long, and the epoch is read again.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pauses between tries double from the first to the longest, each shortened at random.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Takes the rows of one epoch of one lane.
pub(super) struct BulkWriter {
    shared: Arc<Shared>,
    tombstones: bool,
    /// `None` once the flush has begun.
    bulks: Option<mpsc::Sender<Bulk>>,
    sender: Option<JoinHandle<Result<Vec<DeadLetter>>>>,
    rows: u64,
}

impl BulkWriter {
    pub(super) fn new(shared: Arc<Shared>, epoch: &EpochId) -> Self {
        let (bulks, coming) = mpsc::channel(1);
        let sender = Sender { shared: shared.clone(), confirmation: epoch.confirmation.clone() };
        let sender = tokio::spawn(sender.run(coming));
        let tombstones = epoch.tombstones;
        Self { shared, tombstones, bulks: Some(bulks), sender: Some(sender), rows: 0 }
    }

    /// Wait for what was sent.
    async fn finish(&mut self) -> Result<Vec<DeadLetter>> {
        self.bulks = None;
        let ended = || Error::fatal(format!("sink {} was flushed before", self.shared.name));
        let sender = self.sender.as_mut().ok_or_else(ended)?;
        let sent = sender.await;
        self.sender = None;
        sent.map_err(|cause| {
            Error::fatal(format!("sink {} ended early", self.shared.name)).caused_by(cause)
        })?
    }
}

impl Drop for BulkWriter {
    fn drop(&mut self) {
        if let Some(sender) = &self.sender {
            sender.abort();
        }
    }
}

#[async_trait]
impl EpochWriter for BulkWriter {
    async fn write(&mut self, rows: SinkRows) -> Result<Vec<DeadLetter>> {
        let batch = rows.batch;
        self.rows += batch.len() as u64;
        let (shared, tombstones) = (self.shared.clone(), self.tombstones);
        let written = compute::run(&self.shared.context.compute, move || {
            let system = system_columns(&batch, &shared.config.system);
            let documents = Documents::of(&batch, system);
            Bulk::of(batch, &documents, &shared.rules, tombstones, &shared.context.memory)
        })
        .await??;
        let Written { bulk, periods, misfits } = written;
        let stage = || Stage::Sink(self.shared.name.clone());
        let mut letters: Vec<DeadLetter> =
            misfits.into_iter().map(|(origin, reason)| origin.letter(stage(), reason)).collect();
        if bulk.is_empty() {
            return Ok(letters);
        }
        self.shared.ensure(&periods).await?;
        let is_sent = match &self.bulks {
            Some(bulks) => bulks.send(bulk).await.is_ok(),
            None => false,
        };
        // The other end is gone only where a request has failed for good.
        if !is_sent {
            letters.extend(self.finish().await?);
        }
        Ok(letters)
    }

    async fn flush(mut self: Box<Self>) -> Result<Flushed> {
        let dead_letters = self.finish().await?;
        Ok(Flushed { staged: Vec::new(), dead_letters, rows: self.rows })
    }

    async fn abandon(self: Box<Self>) {}
}

/// The task behind a writer.
struct Sender {
    shared: Arc<Shared>,
    confirmation: Confirmation,
}

impl Sender {
    async fn run(self, mut coming: mpsc::Receiver<Bulk>) -> Result<Vec<DeadLetter>> {
        let (mut flying, mut letters) = (JoinSet::new(), Vec::new());
        let (mut waiting, mut is_over) = (Bulk::default(), false);
        loop {
            while self.has_room(&waiting)
                && let Ok(more) = coming.try_recv()
            {
                waiting.append(more);
            }
            if is_over && waiting.is_empty() && flying.is_empty() {
                return Ok(letters);
            }
            let is_ready = !waiting.is_empty() && flying.len() < AT_ONCE;
            tokio::select! {
                biased;
                Some(sent) = flying.join_next() => {
                    let sent = sent.map_err(|cause| {
                        Error::fatal("a bulk request ended early").caused_by(cause)
                    });
                    letters.extend(sent??);
                }
                // A bulk is cut when it can go: the longer it waits, the more goes with it.
                place = self.shared.limit.place(), if is_ready => {
                    let bulk = waiting.take(self.shared.bulk_bytes);
                    let (shared, confirmation) = (self.shared.clone(), self.confirmation.clone());
                    flying.spawn(async move { deliver(&shared, &confirmation, bulk, place).await });
                }
                more = coming.recv(), if !is_over && self.has_room(&waiting) => {
                    match more {
                        Some(more) => waiting.append(more),
                        None => is_over = true,
                    }
                }
            }
        }
    }

    /// True where more may wait: neither its lines nor what they hold are too many bytes.
    fn has_room(&self, waiting: &Bulk) -> bool {
        let bytes = self.shared.bulk_bytes;
        waiting.len() < bytes && waiting.held() < bytes.saturating_mul(HELD_TIMES)
    }
}

/// Send `bulk` until each of its items is in the index or refused for good, the first time in `place`.
/// The answer is the letters of those that are refused.
async fn deliver(
    shared: &Shared,
    confirmation: &Confirmation,
    bulk: Bulk,
    place: Place,
) -> Result<Vec<DeadLetter>> {
    let mut place = Some(place);
    let mut letters = Vec::new();
    // What is to be sent, in parts: a request that is too large is sent in halves.
    let mut parts = vec![bulk];
    let mut pauses = Pauses::new();
    while let Some(mut bulk) = parts.pop() {
        let place = match place.take() {
            Some(place) => place,
            None => shared.limit.place().await,
        };
        let sent = send(shared, confirmation, &bulk).await?;
        drop(place);
        match sent {
            Sent::Each(outcomes) => {
                let (mut again, mut why, mut moved) = (Vec::new(), None, false);
                for (place, outcome) in outcomes.into_iter().enumerate() {
                    match outcome {
                        Outcome::Done => moved = true,
                        Outcome::Gone(reason) if shared.rules.split.is_some() => {
                            // An old period was dropped, and something of it comes late.
                            shared.known().clear();
                            let what = format!("an index was dropped: {reason}");
                            return Err(Error::retryable(what));
                        }
                        Outcome::Later(reason)
                        | Outcome::Blocked(reason)
                        | Outcome::Gone(reason) => {
                            again.push(place);
                            why.get_or_insert(reason);
                        }
                        Outcome::Refused(reason) => {
                            moved = true;
                            letters
                                .extend(bulk.items.get(place).map(|it| shared.letter(it, reason)));
                        }
                    }
                }
                if let Some(why) = why {
                    bulk.keep(&again);
                    if moved {
                        pauses.moved();
                    }
                    pauses.pause(shared, &why).await?;
                    parts.push(bulk);
                } else {
                    pauses.moved();
                }
            }
            Sent::Whole(why) => {
                pauses.pause(shared, &why).await?;
                parts.push(bulk);
            }
            Sent::Busy(why) => {
                pauses.pause(shared, &why).await?;
                parts.extend(halves(bulk));
            }
            Sent::Spoiled(_) if bulk.items.len() > 1 => parts.extend(halves(bulk)),
            Sent::Spoiled(why) => {
                letters.extend(bulk.items.first().map(|item| shared.letter(item, why)));
            }
        }
    }
    Ok(letters)
}

/// Both halves of a bulk, the first one last; one that has a single item stays whole.
fn halves(mut bulk: Bulk) -> Vec<Bulk> {
    let first = bulk.take(bulk.len() / 2);
    [bulk, first].into_iter().filter(|half| !half.is_empty()).collect()
}

/// What came of one request.
enum Sent {
    /// Each item was answered.
    Each(Vec<Outcome>),
    /// Nothing is known of any, or nothing was done: the same again, later.
    Whole(String),
    /// The cluster has too much to do, perhaps for a request of this size.
    Busy(String),
    /// The request was refused for its size, or for one of its items.
    Spoiled(String),
}

async fn send(shared: &Shared, confirmation: &Confirmation, bulk: &Bulk) -> Result<Sent> {
    let age = confirmation.age();
    if age > SEND_DEADLINE {
        return Err(Error::retryable(format!(
            "the partition was last known to be this process's {age:.0?} ago: nothing was sent"
        )));
    }
    // An alias: an index that is gone must not be made anew by what is sent to it.
    let path = match shared.rules.split {
        None => format!("/{}/_bulk", shared.rules.write_alias("")),
        Some(_) => "/_bulk".to_owned(),
    };
    let query = [("filter_path", ANSWER_PARTS), ("timeout", "20s"), ("require_alias", "true")];
    let client = shared.client().await?;
    let answer = match client.ask(Method::Post, &path, &query, Some(bulk.body())).await {
        Ok(answer) => answer,
        Err(error) if error.is_retryable() => return Ok(Sent::Whole(error.to_string())),
        Err(error) => return Err(error),
    };
    judge(shared, bulk, &answer)
}

fn judge(shared: &Shared, bulk: &Bulk, answer: &Answer) -> Result<Sent> {
    match answer.status {
        200 => {
            let outcomes = match outcomes(&bulk.items, answer) {
                Ok(outcomes) => outcomes,
                Err(error) => return Ok(Sent::Whole(error.to_string())),
            };
            match outcomes.iter().any(|outcome| matches!(outcome, Outcome::Later(_))) {
                true => shared.limit.overloaded(),
                false => shared.limit.taken(),
            }
            Ok(Sent::Each(outcomes))
        }
        413 => Ok(Sent::Spoiled(answer.reason())),
        // One item that is not even looked at spoils a whole request.
        400 if is_about_an_item(answer) => Ok(Sent::Spoiled(answer.reason())),
        429 | 503 => {
            shared.limit.overloaded();
            Ok(Sent::Busy(answer.reason()))
        }
        _ => Ok(Sent::Whole(answer.reason())),
    }
}

/// True where the cluster says that it could not read what was sent. What stands between may say 400
/// for reasons of its own.
fn is_about_an_item(answer: &Answer) -> bool {
    let said = answer.json();
    let kind = said.pointer("/error/type").and_then(Value::as_str).unwrap_or_default();
    let kinds = [
        "action_request_validation_exception",
        "illegal_argument_exception",
        "json_parse_exception",
        "parsing_exception",
        "x_content_parse_exception",
    ];
    kinds.contains(&kind)
}

/// Pauses between tries of one bulk.
struct Pauses {
    next: Duration,
    /// When the first try failed of which nothing was taken.
    since: Option<Instant>,
    is_said: bool,
}

impl Pauses {
    fn new() -> Self {
        Self { next: FIRST_PAUSE, since: None, is_said: false }
    }

    /// Some of it was taken: whatever comes next is tried as if it were new.
    fn moved(&mut self) {
        *self = Self { is_said: self.is_said, ..Self::new() };
    }

    async fn pause(&mut self, shared: &Shared, why: &str) -> Result<()> {
        let waited = self.since.get_or_insert_with(Instant::now).elapsed();
        if waited > PATIENCE {
            return Err(Error::retryable(format!(
                "{} took nothing of a request for {waited:.0?}: {why}",
                shared.config.url
            )));
        }
        if !std::mem::replace(&mut self.is_said, true) {
            warn!(sink = &*shared.name, "the index does not take everything, trying again: {why}");
        }
        let whole = self.next.as_millis() as u64;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        shared.context.metrics.retried();
        let pause = whole / 2 + shared.context.randomness.next_u64() % (whole / 2);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        Ok(())
    }
}

impl Shared {
    /// The letter of an item that the index refuses.
    fn letter(&self, item: &Item, reason: String) -> DeadLetter {
        item.origin.letter(Stage::Sink(self.name.clone()), reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::Sink as _;
    use crate::event::Position;
    use crate::sinks::documents::definition::tests::contract;
    use crate::sinks::opensearch::bulk::tests::batch;
    use crate::sinks::opensearch::{OpensearchConfig, OpensearchSink};

    async fn flushed(confirmation: Confirmation) -> Error {
        // Nobody listens there.
        let config = serde_json::json!({ "url": "http://127.0.0.1:1", "index": "i" });
        let config: OpensearchConfig = serde_json::from_value(config).unwrap();
        let context = crate::testing::context(1);
        let batch = batch(&["insert"]);
        let (schema, contract) = (batch.rows.schema(), contract());
        let ownership = crate::sinks::marker::Ownership {
            pipeline: "p".into(),
            domain: "d".into(),
            store: "s".into(),
        };
        let sink = OpensearchSink::new("search", &config, &schema, &contract, &ownership, &context);
        let epoch = EpochId {
            pipeline: "p".into(),
            domain: "d".into(),
            partition: crate::event::PartitionId::new("a"),
            token: 1,
            epoch: 1,
            from: Position::Offset(0),
            control: 1,
            tombstones: false,
            confirmation,
        };
        let mut writer = sink.begin(&epoch).await.unwrap();
        let rows = SinkRows { batch, withheld: None };
        writer.write(rows).await.unwrap();
        writer.flush().await.unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_sent_for_a_partition_that_may_be_another_s() {
        let now = Instant::now();
        tokio::time::advance(SEND_DEADLINE + Duration::from_secs(1)).await;
        let error = flushed(Confirmation::at(now)).await;
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().contains("nothing was sent"), "{error}");
    }

    /// The clock is turned on while it waits: what stands still is the outside.
    #[tokio::test(start_paused = true)]
    async fn an_outage_is_given_up_after_a_while() {
        let confirmation = Confirmation::now();
        let confirmed = confirmation.clone();
        let confirms = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(10)).await;
                confirmed.confirm(Instant::now());
            }
        });
        let began = Instant::now();
        let error = flushed(confirmation).await;
        confirms.abort();
        assert!(error.is_retryable() && began.elapsed() > PATIENCE, "{error}");
        let says = "http://127.0.0.1:1 took nothing of a request for";
        assert!(error.to_string().starts_with(says), "{error}");
    }
}
