//! What brokers say of topics. These calls block: they run where that is allowed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use regex::Regex;

use super::TopicPartition;
use super::admin::{self, Described, Patience};
use super::client::{Consumer, failed, is_refusal};
use super::config::Topics;
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// How long a broker may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long brokers are asked again when the source is opened: those whose connections break...
const PATIENCE_BROKEN: Duration = Duration::from_secs(10);
/// ...and those that are not heard of at all, since a network may lose one answer and a client then
/// waits in vain.
const PATIENCE_SILENT: Duration = Duration::from_secs(25);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// Run calls that wait for brokers.
pub(super) async fn blocking<T: Send + 'static>(
    consumer: &Arc<Consumer>,
    work: impl FnOnce(&Consumer) -> Result<T> + Send + 'static,
) -> Result<T> {
    let consumer = consumer.clone();
    tokio::task::spawn_blocking(move || work(&consumer))
        .await
        .or_error(ErrorKind::Fatal, || "a call to Kafka panicked; see the log".to_owned())?
}

/// What `topic` is.
pub(super) fn describe(consumer: &Consumer, topic: &str) -> Result<Described> {
    let patience = Patience { timeout: TIMEOUT, is_hopeless: || false };
    admin::describe(consumer, topic, patience)
        .map_err(|cause| failed(consumer, format!("cannot ask brokers about topic {topic}"), cause))
}

/// For how long `topic` keeps messages; `None` where that is not told, or for good.
pub(super) fn retention(consumer: &Consumer, topic: &str) -> Option<Duration> {
    let patience = Patience { timeout: TIMEOUT, is_hopeless: || false };
    admin::retention(consumer, topic, patience).ok().flatten()
}

/// True where brokers know `topic`.
pub(super) fn exists(consumer: &Consumer, topic: &str) -> Result<bool> {
    let patience = Patience { timeout: TIMEOUT, is_hopeless: || false };
    match admin::describe(consumer, topic, patience) {
        Err(cause) if code_of(&cause) == Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
            Ok(false)
        }
        Err(cause) => {
            Err(failed(consumer, format!("cannot ask brokers about topic {topic}"), cause))
        }
        Ok(_) => Ok(true),
    }
}

/// What `topic` is, asked when the source is opened: whatever is wrong is a mistake to be mended.
pub(super) fn describe_first(
    consumer: &Consumer,
    topic: &str,
    bootstrap: &str,
) -> Result<Described> {
    let is_hopeless = || is_refused(consumer);
    let describe = || admin::describe(consumer, topic, Patience { timeout: TIMEOUT, is_hopeless });
    let described = patiently(consumer, describe)
        .map_err(|cause| refused_first(consumer, cause, &format!("topic `{topic}`"), bootstrap))?;
    match described.is_readable {
        true => Ok(described),
        false => Err(Error::config(format!(
            "{bootstrap} does not let this user read topic `{topic}`: allow Read on it"
        ))),
    }
}

/// Ask once more, for a while, where the connection broke or no answer came: that says nothing of the
/// broker.
fn patiently<T>(
    consumer: &Consumer,
    ask: impl Fn() -> std::result::Result<T, KafkaError>,
) -> std::result::Result<T, KafkaError> {
    let began = Instant::now();
    loop {
        match ask() {
            Err(cause)
                if code_of(&cause)
                    .and_then(patience)
                    .is_some_and(|patience| began.elapsed() < patience)
                    && !is_refused(consumer) =>
            {
                std::thread::park_timeout(PAUSE);
            }
            done => return done,
        }
    }
}

/// True where nothing will be said of any topic. What is refused on the group is another matter, and
/// asked for afterwards.
fn is_refused(consumer: &Consumer) -> bool {
    let of_group = RDKafkaErrorCode::GroupAuthorizationFailed;
    consumer.context().complains_of(|code| is_refusal(code) && code != of_group)
}

/// For how long a call that ends so is made again; `None` for one that would only end so again.
fn patience(code: RDKafkaErrorCode) -> Option<Duration> {
    use RDKafkaErrorCode as Code;
    match code {
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::NetworkException => {
            Some(PATIENCE_BROKEN)
        }
        Code::OperationTimedOut | Code::RequestTimedOut => Some(PATIENCE_SILENT),
        _ => None,
    }
}

/// Why nothing is known of `topic` when the source is opened, and what to do.
fn refused_first(consumer: &Consumer, cause: KafkaError, topic: &str, bootstrap: &str) -> Error {
    let complains_of = |meant| consumer.context().complains_of(|code| code == meant);
    let what = match code_of(&cause) {
        Some(RDKafkaErrorCode::UnknownTopicOrPartition) => {
            format!("there is no {topic} on {bootstrap}: make it, or correct `source.kafka.topics`")
        }
        Some(code) if is_refusal(code) => format!(
            "{bootstrap} does not let this user describe {topic}: allow Describe and Read on it"
        ),
        _ if complains_of(RDKafkaErrorCode::Authentication) => {
            format!("{bootstrap} does not let this user in: check `source.kafka.sasl`")
        }
        _ if complains_of(RDKafkaErrorCode::SSL) => {
            format!("cannot agree with {bootstrap} on encryption: check `source.kafka.tls`")
        }
        _ => format!(
            "no broker answers at {bootstrap}: check `source.kafka.bootstrap`, the network, and how the brokers want to be talked to (TLS, password)"
        ),
    };
    let told = failed(consumer, what, cause);
    Error::config(told.to_string())
}

/// The topics that `wanted` names, and those of the cluster that match its patterns, asked when the
/// source is opened.
pub(super) fn expand_first(
    consumer: &Consumer,
    wanted: &[String],
    bootstrap: &str,
) -> Result<BTreeSet<String>> {
    let (patterns, names): (Vec<_>, Vec<_>) =
        wanted.iter().cloned().partition(|name| Topics::is_pattern(name));
    let mut topics: BTreeSet<String> = names.into_iter().collect();
    if patterns.is_empty() {
        return Ok(topics);
    }
    let metadata = patiently(consumer, || consumer.fetch_metadata(None, TIMEOUT))
        .map_err(|cause| refused_first(consumer, cause, "any topic", bootstrap))?;
    for pattern in patterns {
        let is_named = matcher(&pattern);
        let matching = metadata.topics().iter().map(|topic| topic.name());
        let matching = matching.filter(|name| is_named(name)).map(str::to_owned);
        let before = topics.len();
        topics.extend(matching);
        if topics.len() == before {
            return Err(Error::config(format!(
                "no topic on {bootstrap} matches `{pattern}`: make one, allow Describe on it, or correct `source.kafka.topics`"
            )));
        }
    }
    Ok(topics)
}

/// True where some pattern of `wanted` matches the topic of that name. The brokers' own match none.
pub(super) fn matches_any(wanted: &[String], name: &str) -> bool {
    wanted.iter().filter(|text| Topics::is_pattern(text)).any(|pattern| matcher(pattern)(name))
}

/// Tells the topics that `pattern` names; it was found to be one before.
fn matcher(pattern: &str) -> impl Fn(&str) -> bool {
    let pattern = Regex::new(pattern).ok();
    move |name| {
        !name.starts_with("__") && pattern.as_ref().is_some_and(|pattern| pattern.is_match(name))
    }
}

/// This user may be a member of `group`, asked when the source is opened. Whatever else is wrong is
/// met when the group is joined.
pub(super) fn check_group(consumer: &Consumer, group: &str, bootstrap: &str) -> Result<()> {
    let patience = Patience { timeout: TIMEOUT, is_hopeless: || false };
    let may_join = admin::may_join(consumer, group, patience);
    let is_refused = may_join.as_ref().map_or_else(
        |cause| code_of(cause) == Some(RDKafkaErrorCode::GroupAuthorizationFailed),
        |may| !may,
    );
    match is_refused {
        false => Ok(()),
        true => Err(Error::config(format!(
            "{bootstrap} does not let this user read in group `{group}`: allow Read on the group, or name another by `source.kafka.group`"
        ))),
    }
}

fn code_of(cause: &KafkaError) -> Option<RDKafkaErrorCode> {
    match cause {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// The offsets after the newest messages of the partitions of `topic`, asked when the source is
/// opened.
pub(super) fn ends_first(
    consumer: &Consumer,
    topic: &str,
    partitions: i32,
    bootstrap: &str,
) -> Result<Vec<u64>> {
    let end = |partition| {
        let ask = || consumer.fetch_watermarks(topic, partition, TIMEOUT);
        let (_, high) = patiently(consumer, ask).map_err(|cause| {
            refused_first(consumer, cause, &format!("topic `{topic}`"), bootstrap)
        })?;
        Ok(u64::try_from(high).unwrap_or_default())
    };
    (0..partitions).map(end).collect()
}

/// The oldest offset that `one` holds, and the one after the newest that is committed.
pub(super) fn watermarks(consumer: &Consumer, one: &TopicPartition) -> Result<(u64, u64)> {
    let (low, high) = consumer
        .fetch_watermarks(&one.topic, one.partition, TIMEOUT)
        .map_err(|cause| failed(consumer, format!("cannot ask for the offsets of {one}"), cause))?;
    let offset = |offset: i64| u64::try_from(offset).unwrap_or_default();
    Ok((offset(low), offset(high)))
}

/// Nothing may be missing between where the record stands and what the topic holds.
pub(super) fn check_position(one: &TopicPartition, from: u64, marks: (u64, u64)) -> Result<()> {
    let (low, high) = marks;
    if from < low {
        return Err(Error::halted(format!(
            "messages {from} to {} of {one} are gone, and were never read: the topic's retention has passed them, or they were deleted; the topic now begins at {low}; see `acequia checkpoint accept gap --help`",
            low - 1
        )));
    }
    if from > high {
        return Err(Error::halted(format!(
            "{one} ends at {high}, its checkpoint record stands at {from}: the topic was truncated or made anew, or the checkpoint store belongs to another cluster; see `acequia checkpoint accept gap --help`"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_outside_of_its_topic_halts_and_says_what_is_missing() {
        let one = TopicPartition { topic: "talks".to_owned(), partition: 3 };
        let halt = |from| check_position(&one, from, (6, 9)).unwrap_err();
        assert_eq!(
            halt(4).to_string(),
            "messages 4 to 5 of talks-3 are gone, and were never read: the topic's retention has passed them, or they were deleted; the topic now begins at 6; see `acequia checkpoint accept gap --help`"
        );
        assert_eq!(
            halt(10).to_string(),
            "talks-3 ends at 9, its checkpoint record stands at 10: the topic was truncated or made anew, or the checkpoint store belongs to another cluster; see `acequia checkpoint accept gap --help`"
        );
        assert_eq!(halt(10).kind(), ErrorKind::Halted);
        assert!((6..=9).all(|from| check_position(&one, from, (6, 9)).is_ok()));
    }
}
