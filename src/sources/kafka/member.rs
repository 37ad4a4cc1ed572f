//! The thread that polls the consumer, as long as the source is open.
//!
//! All that is put in and taken out is done here, between two polls, so that no call of the group
//! comes between a decision and its act; and while a revocation waits nothing is done at all, since
//! librdkafka would take it for the answer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use tokio::sync::oneshot;
use tracing::warn;

use super::TopicPartition;
use super::client::{Consumer, list, list_at, report};
use super::native::PartitionQueue;
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// How long one poll waits, and with it whoever asks for something.
const POLL: Duration = Duration::from_millis(20);
/// How long the group may take to let go of a member that leaves.
const LONGEST_CLOSE: Duration = Duration::from_secs(10);

/// A reader wants to begin.
struct Begin {
    partition: TopicPartition,
    offset: u64,
    answer: oneshot::Sender<Result<PartitionQueue>>,
}

enum Request {
    Begin(Begin),
    End(TopicPartition),
    Close,
}

/// A member of the group that is alive. Dropping it leaves the group.
pub(super) struct Member {
    consumer: Arc<Consumer>,
    requests: Sender<Request>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Let `consumer` live.
    pub(super) fn start(consumer: Arc<Consumer>) -> Result<Self> {
        let (requests, receiver) = channel();
        let mut poller = Poller {
            consumer: consumer.clone(),
            requests: receiver,
            later: VecDeque::new(),
            said: None,
        };
        let thread = std::thread::Builder::new()
            .name("kafka-member".to_owned())
            .spawn(move || poller.run())
            .or_error(ErrorKind::Fatal, || "cannot start a thread".to_owned())?;
        Ok(Self { consumer, requests, thread: Some(thread) })
    }

    pub(super) fn consumer(&self) -> &Arc<Consumer> {
        &self.consumer
    }

    /// Fetch `partition` from `offset` on. Refused where the group does not give it, or does no
    /// longer.
    pub(super) async fn begin(
        &self,
        partition: &TopicPartition,
        offset: u64,
    ) -> Result<(PartitionQueue, Ending)> {
        let (answer, answered) = oneshot::channel();
        let closed = || Error::fatal("the Kafka source is closed");
        let requests = self.requests.clone();
        let begin = Begin { partition: partition.clone(), offset, answer };
        requests.send(Request::Begin(begin)).map_err(|_| closed())?;
        // Made before the wait: whoever gives up waiting takes back what is done meanwhile.
        let mut ending = Ending { partition: Some(partition.clone()), requests };
        let begun = answered.await.map_err(|_| closed())?;
        if begun.is_err() {
            ending.partition = None;
        }
        Ok((begun?, ending))
    }

    /// Let the group remember that everything of `partition` below `offset` is done. Advice: left
    /// out while the group is at work on who reads what.
    pub(super) fn advise(&self, partition: &TopicPartition, offset: u64) -> Result<()> {
        {
            let grants = self.consumer.context().grants();
            if grants.is_revoking() || !grants.contains(partition) {
                return Ok(());
            }
        }
        self.consumer
            .commit(&list_at(partition, offset)?, CommitMode::Async)
            .or_error(ErrorKind::Retryable, || format!("cannot commit an offset of {partition}"))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Readers that are still being dropped hold the other end too. A thread that has ended by
        // itself does not hear it.
        let _ = self.requests.send(Request::Close);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was logged where it happened.
            let _ = thread.join();
        }
    }
}

/// Ends the fetching of a partition when it is dropped.
pub(super) struct Ending {
    /// `None` where nothing was begun.
    partition: Option<TopicPartition>,
    requests: Sender<Request>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(partition) = self.partition.take() {
            // Where the thread is gone the consumer is closed.
            let _ = self.requests.send(Request::End(partition));
        }
    }
}

struct Poller {
    consumer: Arc<Consumer>,
    requests: Receiver<Request>,
    /// What waits for the answer to a revocation.
    later: VecDeque<Act>,
    /// The last failure that was said aloud.
    said: Option<String>,
}

enum Act {
    Begin(Begin),
    TakeOut(TopicPartition),
}

impl Poller {
    fn run(&mut self) {
        while self.take_requests() {
            self.answer();
            while !self.consumer.context().grants().is_revoking()
                && let Some(act) = self.later.pop_front()
            {
                self.act(act);
            }
            self.poll();
        }
        self.close();
    }

    /// False where the source is being closed.
    fn take_requests(&mut self) -> bool {
        loop {
            match self.requests.try_recv() {
                Ok(Request::Begin(begin)) => self.later.push_back(Act::Begin(begin)),
                Ok(Request::End(partition)) => {
                    // One that has not begun yet must not begin any more.
                    self.later.retain(
                        |act| !matches!(act, Act::Begin(begin) if begin.partition == partition),
                    );
                    if self.consumer.context().grants().end(&partition) {
                        self.later.push_back(Act::TakeOut(partition));
                    }
                }
                Err(TryRecvError::Empty) => return true,
                Ok(Request::Close) | Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Answer a revocation whose readers are gone, or have had their time.
    fn answer(&self) {
        // The lock is given back before librdkafka is called.
        let answer = self.consumer.context().grants().answer(Instant::now());
        if let Some(fetched) = answer {
            report("hand back", self.consumer.incremental_unassign(&list(&fetched)));
        }
    }

    fn act(&self, act: Act) {
        match act {
            Act::TakeOut(partition) => {
                report("take out", self.consumer.incremental_unassign(&list(&[partition])));
            }
            Act::Begin(Begin { partition, offset, answer }) => {
                let begun = self.begin(&partition, offset);
                // Where nobody waits any more the end of it is on its way.
                let _ = answer.send(begun);
            }
        }
    }

    fn begin(&self, partition: &TopicPartition, offset: u64) -> Result<PartitionQueue> {
        if !self.consumer.context().grants().begin(partition) {
            return Err(Error::retryable(format!(
                "the group does not give {partition} to this process any more"
            )));
        }
        let begun = self.put_in(partition, offset);
        if begun.is_err() {
            self.consumer.context().grants().end(partition);
        }
        begun
    }

    fn put_in(&self, partition: &TopicPartition, offset: u64) -> Result<PartitionQueue> {
        let list = list_at(partition, offset)?;
        // Split off before it is put in, so that no message goes to the consumer's own queue.
        let queue = PartitionQueue::of(&self.consumer, partition)
            .ok_or_else(|| Error::fatal(format!("librdkafka does not know {partition}")))?;
        self.consumer
            .incremental_assign(&list)
            .or_error(ErrorKind::Fatal, || format!("cannot begin to fetch {partition}"))?;
        Ok(queue)
    }

    fn poll(&mut self) {
        let problem = match self.consumer.poll(POLL) {
            None => return,
            Some(Ok(message)) => {
                let place = format!("{}-{}", message.topic(), message.partition());
                let what = format!("a message of {place} went to the consumer's own queue");
                return self.consumer.context().fail(what);
            }
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                return self
                    .consumer
                    .context()
                    .fail(format!("the Kafka client has failed: {code}"));
            }
            Some(Err(error)) => error.to_string(),
        };
        if self.said.as_ref() != Some(&problem) {
            warn!("kafka client: {problem}; waiting");
            self.said = Some(problem);
        }
    }

    /// Leave the group, answering its last calls.
    fn close(&self) {
        report("leave the group", self.consumer.close_queue());
        let began = Instant::now();
        while !self.consumer.closed() && began.elapsed() < LONGEST_CLOSE {
            // What still comes is of no use to anybody.
            drop(self.consumer.poll(POLL));
            self.answer();
        }
    }
}
