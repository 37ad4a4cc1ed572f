//! Calls of librdkafka that its Rust wrapper does not have: messages and ends from the queue of one
//! partition without an allocation for each, and the ids of topics.
//!
//! The contracts are those of `rdkafka.h`: "Queue API", "rd_kafka_consume_queue" and "Admin API -
//! DescribeTopics".
#![allow(unsafe_code, reason = "foreign calls; each states why it is sound")]

use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::Notify;

use super::TopicPartition;
use super::client::Consumer;

/// Most messages taken at once.
const BATCH: usize = 2048;

/// How often a wait looks whether it is hopeless.
const PAUSE_MILLIS: i32 = 100;

/// What stands in the queue of a partition.
pub(super) enum Fetched<'a> {
    /// A message.
    Message(FetchedMessage<'a>),
    /// Nothing stands below this offset any more that was not taken before.
    End(u64),
    /// The partition cannot be fetched; the client tries again by itself where that can help.
    Failed(RDKafkaErrorCode, String),
}

/// A message, while it lies in the client's memory.
pub(super) struct FetchedMessage<'a> {
    pub(super) offset: u64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    /// Milliseconds since 1970.
    pub(super) time: Option<i64>,
    native: &'a sys::rd_kafka_message_t,
}

/// Name and value of a header.
pub(super) type Header<'a> = (&'a [u8], Option<&'a [u8]>);

impl<'a> FetchedMessage<'a> {
    /// Its headers, in their order.
    pub(super) fn headers(&self) -> Vec<Header<'a>> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive, and owns the headers, which outlive `self`.
        let code = unsafe { sys::rd_kafka_message_headers(self.native, &raw mut headers) };
        let mut all = Vec::new();
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return all;
        }
        loop {
            let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the headers are alive; all three are written where the answer is no error.
            let code = unsafe {
                sys::rd_kafka_header_get_all(
                    headers,
                    all.len(),
                    &raw mut name,
                    &raw mut value,
                    &raw mut length,
                )
            };
            if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
                return all;
            }
            // SAFETY: a name ends in a zero byte; `length` bytes of the value stand there unless it
            // is null.
            all.push(unsafe {
                let value =
                    (!value.is_null()).then(|| slice::from_raw_parts(value.cast::<u8>(), length));
                (CStr::from_ptr(name).to_bytes(), value)
            });
        }
    }
}

/// The queue of one partition, apart from the consumer's own. The partition is fetched into it from
/// the time at which it is put in.
pub(super) struct PartitionQueue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Told when the queue is no longer empty; librdkafka holds a pointer to it.
    filled: Arc<Notify>,
    /// The queue must go before the client.
    consumer: Arc<Consumer>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for PartitionQueue {}
// SAFETY: the same; every call locks the queue.
unsafe impl Sync for PartitionQueue {}

/// Called by a thread of librdkafka.
unsafe extern "C" fn tell(_client: *mut sys::rd_kafka_t, filled: *mut c_void) {
    // SAFETY: `filled` points to the `Notify` of a queue that is alive: its drop takes this call
    // out before it lets the `Notify` go.
    unsafe { (*filled.cast_const().cast::<Notify>()).notify_one() };
}

impl PartitionQueue {
    /// The queue of `one`; `None` where librdkafka does not take its name.
    pub(super) fn of(consumer: &Arc<Consumer>, one: &TopicPartition) -> Option<Self> {
        let topic = CString::new(one.topic.as_str()).ok()?;
        // SAFETY: the client lives as long as `consumer`; the answer is a new reference or null.
        let queue = unsafe {
            sys::rd_kafka_queue_get_partition(
                consumer.client().native_ptr(),
                topic.as_ptr(),
                one.partition,
            )
        };
        let queue = NonNull::new(queue)?;
        let filled = Arc::new(Notify::new());
        // SAFETY: the queue is alive, and `filled` stays where it is as long as the queue does.
        unsafe {
            sys::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            let opaque = Arc::as_ptr(&filled).cast_mut().cast();
            sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(tell), opaque);
        }
        Some(Self { queue, filled, consumer: consumer.clone() })
    }

    /// The client that fills it.
    pub(super) fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Resolves when something has come since the last time; at once where it came meanwhile.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Give what stands in the queue to `take`, in order, up to [`BATCH`] things. Never waits.
    ///
    /// One call a message, although librdkafka has one for many: that one takes the offset of an end
    /// for a message's, and the next rebalance moves the partition behind the message that comes
    /// next, which is then never read (`rd_kafka_q_serve_rkmessages` in librdkafka 2.12).
    pub(super) fn drain(&self, mut take: impl FnMut(Fetched<'_>)) {
        for _ in 0..BATCH {
            // SAFETY: the queue is alive; the answer is null or a message that belongs to the caller
            // until it is destroyed.
            unsafe {
                let message = sys::rd_kafka_consume_queue(self.queue.as_ptr(), 0);
                let Some(fetched_message) = message.as_ref() else { return };
                take(fetched(fetched_message));
                sys::rd_kafka_message_destroy(message);
            }
        }
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is alive. After the first call nobody calls `tell` any more: librdkafka
        // takes it out and calls it under the same lock.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// SAFETY: `message` is one that librdkafka gave out.
unsafe fn fetched(message: &sys::rd_kafka_message_t) -> Fetched<'_> {
    let bytes = |start: *mut c_void, length: usize| {
        // SAFETY: librdkafka says that `length` bytes stand there as long as the message does. A
        // value or key of no bytes is no null pointer.
        (!start.is_null())
            .then(|| unsafe { slice::from_raw_parts(start.cast_const().cast(), length) })
    };
    let offset = u64::try_from(message.offset).unwrap_or_default();
    let code = message.err;
    if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive.
        let time = unsafe { sys::rd_kafka_message_timestamp(message, &raw mut kind) };
        return Fetched::Message(FetchedMessage {
            offset,
            key: bytes(message.key, message.key_len),
            value: bytes(message.payload, message.len),
            time: (time >= 0).then_some(time),
            native: message,
        });
    }
    if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF {
        return Fetched::End(offset);
    }
    // The value of an error is its text.
    let text = bytes(message.payload, message.len).map(String::from_utf8_lossy);
    Fetched::Failed(code.into(), text.unwrap_or_default().into_owned())
}

/// The offset after the newest message of `one`, as the last answer of its broker had it; messages of
/// open transactions count.
pub(super) fn known_end(consumer: &Consumer, one: &TopicPartition) -> Option<u64> {
    let topic = CString::new(one.topic.as_str()).ok()?;
    let (mut low, mut high) = (0, 0);
    // SAFETY: the client lives as long as `consumer`; both offsets are written before it returns.
    let code = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            consumer.client().native_ptr(),
            topic.as_ptr(),
            one.partition,
            &raw mut low,
            &raw mut high,
        )
    };
    // Negative before the first answer.
    let is_known = code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    u64::try_from(high).ok().filter(|_| is_known)
}

/// Log in with `token` from now on, until `expires_millis` since 1970.
///
/// librdkafka's own message of a refusal may repeat the token: it is dropped.
pub(super) fn set_token(
    consumer: &Consumer,
    token: &str,
    expires_millis: i64,
) -> Result<(), KafkaError> {
    let token = CString::new(token)?;
    // What the user is called is the brokers' to find out.
    let principal = c"acequia";
    let mut dropped = [0; 128];
    // SAFETY: the client lives as long as `consumer`; the texts are copied.
    let code = unsafe {
        sys::rd_kafka_oauthbearer_set_token(
            consumer.client().native_ptr(),
            token.as_ptr(),
            expires_millis,
            principal.as_ptr(),
            ptr::null_mut(),
            0,
            dropped.as_mut_ptr(),
            dropped.len(),
        )
    };
    match code {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(KafkaError::Global(code.into())),
    }
}

/// What a topic is, as a broker describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    /// Tells the topic from another one of the same name.
    pub(super) id: String,
    /// Number of its partitions.
    pub(super) partitions: i32,
    /// False where the broker says that this user may not read it.
    pub(super) is_readable: bool,
}

/// A pointer that goes back to librdkafka when it is dropped.
struct Owned<T>(NonNull<T>, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Self, KafkaError> {
        let missing = || KafkaError::AdminOpCreation("librdkafka gave nothing".to_owned());
        Ok(Self(NonNull::new(pointer).ok_or_else(missing)?, destroy))
    }

    fn get(&self) -> *mut T {
        self.0.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the call that belongs to `destroy`, and goes back once.
        unsafe { (self.1)(self.get()) };
    }
}

/// How long an answer is waited for.
pub(super) struct Patience<F: Fn() -> bool> {
    /// At most.
    pub(super) timeout: Duration,
    /// Not any longer where this is true.
    pub(super) is_hopeless: F,
}

/// Ask the brokers what `topic` is.
pub(super) fn describe(
    consumer: &Consumer,
    topic: &str,
    patience: Patience<impl Fn() -> bool>,
) -> Result<Described, KafkaError> {
    let name = CString::new(topic)?;
    let mut names = [name.as_ptr()];
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: what is made here is destroyed when it is left; the names are copied.
    unsafe {
        let topics = Owned::new(
            sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1),
            sys::rd_kafka_TopicCollection_destroy,
        )?;
        let event = ask(consumer, operation, patience, |client, options, queue| {
            sys::rd_kafka_DescribeTopics(client, topics.get(), options, queue);
        })?;
        described(&event)
    }
}

/// Ask the brokers whether this user may read as a member of `group`.
pub(super) fn may_join(
    consumer: &Consumer,
    group: &str,
    patience: Patience<impl Fn() -> bool>,
) -> Result<bool, KafkaError> {
    let name = CString::new(group)?;
    let mut names = [name.as_ptr()];
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    // SAFETY: the names are copied; what is read here belongs to the event, which outlives it.
    unsafe {
        let event = ask(consumer, operation, patience, |client, options, queue| {
            sys::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), 1, options, queue);
        })?;
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event.get());
        if result.is_null() {
            return Ok(true);
        }
        let mut count = 0;
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &raw mut count);
        if groups.is_null() || count != 1 {
            return Ok(true);
        }
        let group = *groups;
        let code = sys::rd_kafka_error_code(sys::rd_kafka_ConsumerGroupDescription_error(group));
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(KafkaError::AdminOp(code.into()));
        }
        let operations =
            sys::rd_kafka_ConsumerGroupDescription_authorized_operations(group, &raw mut count);
        Ok(allows_reading(operations, count))
    }
}

/// Send a question and wait for its answer.
///
/// SAFETY: `send` sends a question of the kind `operation`.
unsafe fn ask(
    consumer: &Consumer,
    operation: sys::rd_kafka_admin_op_t,
    patience: Patience<impl Fn() -> bool>,
    send: impl FnOnce(
        *mut sys::rd_kafka_t,
        *const sys::rd_kafka_AdminOptions_t,
        *mut sys::rd_kafka_queue_t,
    ),
) -> Result<Owned<sys::rd_kafka_event_t>, KafkaError> {
    let Patience { timeout, is_hopeless } = patience;
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let client = consumer.client().native_ptr();
    // SAFETY: the client lives as long as `consumer`; what is made here is destroyed in reverse
    // order.
    unsafe {
        let options = Owned::new(
            sys::rd_kafka_AdminOptions_new(client, operation),
            sys::rd_kafka_AdminOptions_destroy,
        )?;
        let mut text = [0; 128];
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options.get(),
            millis,
            text.as_mut_ptr(),
            text.len(),
        );
        // Null unless the operation knows no permissions, which these do.
        let refused =
            sys::rd_kafka_AdminOptions_set_include_authorized_operations(options.get(), 1);
        drop(Owned::new(refused, sys::rd_kafka_error_destroy));
        let queue = Owned::new(sys::rd_kafka_queue_new(client), sys::rd_kafka_queue_destroy)?;
        send(client, options.get(), queue.get());
        let began = Instant::now();
        let event = loop {
            let event = sys::rd_kafka_queue_poll(queue.get(), PAUSE_MILLIS);
            if let Ok(event) = Owned::new(event, sys::rd_kafka_event_destroy) {
                break event;
            }
            if is_hopeless() || began.elapsed() > timeout {
                return Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
            }
        };
        let error = sys::rd_kafka_event_error(event.get());
        if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(KafkaError::AdminOp(error.into()));
        }
        Ok(event)
    }
}

/// True where reading is among `count` operations, or where the broker names none.
///
/// SAFETY: `operations` is null, or so many stand there.
unsafe fn allows_reading(operations: *const sys::rd_kafka_AclOperation_t, count: usize) -> bool {
    if operations.is_null() || count == 0 {
        return true;
    }
    // SAFETY: as the caller says.
    let operations = unsafe { slice::from_raw_parts(operations, count) };
    operations.contains(&sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_READ)
}

/// The only topic of an answer.
///
/// SAFETY: `event` is the answer to DescribeTopics.
unsafe fn described(event: &Owned<sys::rd_kafka_event_t>) -> Result<Described, KafkaError> {
    let none = || KafkaError::AdminOp(RDKafkaErrorCode::UnknownTopicOrPartition);
    // SAFETY: what is read here belongs to the event, which outlives it.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event.get());
        if result.is_null() {
            return Err(none());
        }
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        if topics.is_null() || count != 1 {
            return Err(none());
        }
        let topic = *topics;
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            let code = sys::rd_kafka_error_code(error);
            if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Err(KafkaError::AdminOp(code.into()));
            }
        }
        let operations =
            sys::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
        let is_readable = allows_reading(operations, count);
        let mut partitions = 0;
        sys::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        let id = sys::rd_kafka_Uuid_base64str(sys::rd_kafka_TopicDescription_topic_id(topic));
        if id.is_null() {
            return Err(none());
        }
        let id = CStr::from_ptr(id).to_string_lossy().into_owned();
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        Ok(Described { id, partitions, is_readable })
    }
}
