//! Questions to brokers that the Rust wrapper of librdkafka does not have: what topics are, with their
//! ids and how long they keep messages, and what a user may do.
//!
//! The contracts are those of `rdkafka.h`: "Admin API", DescribeTopics, DescribeConfigs and
//! DescribeConsumerGroups.
#![allow(unsafe_code, reason = "foreign calls; each states why it is sound")]

use std::ffi::{CStr, CString};
use std::ptr::NonNull;
use std::slice;
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::Consumer;

/// How often a wait looks whether it is hopeless.
const PAUSE_MILLIS: i32 = 100;

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

/// Ask the brokers for how long `topic` keeps messages; `None` where it keeps them for good.
pub(super) fn retention(
    consumer: &Consumer,
    topic: &str,
    patience: Patience<impl Fn() -> bool>,
) -> Result<Option<Duration>, KafkaError> {
    let name = CString::new(topic)?;
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS;
    let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
    // SAFETY: what is made here is destroyed when it is left, and copied by the call; what is read
    // belongs to the event, which outlives it; texts end in a zero byte.
    unsafe {
        let resource = Owned::new(
            sys::rd_kafka_ConfigResource_new(kind, name.as_ptr()),
            sys::rd_kafka_ConfigResource_destroy,
        )?;
        let mut resources = [resource.get()];
        let event = ask(consumer, operation, patience, |client, options, queue| {
            sys::rd_kafka_DescribeConfigs(client, resources.as_mut_ptr(), 1, options, queue);
        })?;
        let result = sys::rd_kafka_event_DescribeConfigs_result(event.get());
        if result.is_null() {
            return Ok(None);
        }
        let mut count = 0;
        let found = sys::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
        if found.is_null() || count != 1 {
            return Ok(None);
        }
        let code = sys::rd_kafka_ConfigResource_error(*found);
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(KafkaError::AdminOp(code.into()));
        }
        let entries = sys::rd_kafka_ConfigResource_configs(*found, &raw mut count);
        if entries.is_null() {
            return Ok(None);
        }
        let text = |text: *const std::ffi::c_char| match text.is_null() {
            true => String::new(),
            false => CStr::from_ptr(text).to_string_lossy().into_owned(),
        };
        let (mut kept, mut is_deleted) = (None, true);
        for entry in slice::from_raw_parts(entries, count) {
            let value = text(sys::rd_kafka_ConfigEntry_value(*entry));
            match text(sys::rd_kafka_ConfigEntry_name(*entry)).as_str() {
                // Less than nothing is for good.
                "retention.ms" => kept = value.parse().ok().map(Duration::from_millis),
                "cleanup.policy" => is_deleted = value.contains("delete"),
                _ => {}
            }
        }
        Ok(kept.filter(|_| is_deleted))
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
        // An error where the operation knows no permissions, as that for settings.
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
