//! Calls of librdkafka that its Rust wrapper does not have: messages and ends from the queue of one
//! partition without an allocation for each.
//!
//! The contracts are those of `rdkafka.h`: "Queue API" and "rd_kafka_consume_queue".
#![allow(unsafe_code, reason = "foreign calls; each states why it is sound")]

use std::ffi::{CStr, CString, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

use rdkafka::bindings as sys;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::Notify;

use super::TopicPartition;
use super::client::Consumer;

/// Most messages taken at once.
const BATCH: usize = 2048;

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
