//! What librdkafka counts, as far as it is looked at (its `STATISTICS.md`).
//!
//! A broker that leaves the cluster's metadata and comes back stands there twice under one name for
//! as long as librdkafka keeps the old one, which may be for good. So the values of each map are
//! kept as a list: a map would keep the last of a name.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// What the client counts.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Statistics {
    /// Connections to brokers.
    #[serde(default, deserialize_with = "values")]
    pub(super) brokers: Vec<Broker>,
    /// Topics that are known.
    #[serde(default, deserialize_with = "values")]
    pub(super) topics: Vec<Topic>,
}

/// One connection.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub(super) struct Broker {
    /// -1 where it is not known yet, and for the connection to the group's coordinator.
    pub(super) nodeid: i32,
    /// `UP` where requests are sent.
    pub(super) state: String,
    /// Requests without an answer.
    pub(super) waitresp_cnt: i64,
    /// Microseconds since something was received.
    pub(super) rxidle: i64,
}

/// One topic.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub(super) struct Topic {
    pub(super) topic: String,
    #[serde(deserialize_with = "values")]
    pub(super) partitions: Vec<Partition>,
}

/// One partition.
#[derive(Debug, Clone, Default, serde::Deserialize)]
pub(super) struct Partition {
    pub(super) partition: i32,
    /// -1 where there is none.
    pub(super) leader: i32,
    /// It is to be fetched.
    pub(super) desired: bool,
}

/// The values of a map, whatever their names.
fn values<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    struct Values<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Values<T> {
        type Value = Vec<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a map")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Vec<T>, M::Error> {
            let mut values = Vec::new();
            while let Some((_, value)) = map.next_entry::<IgnoredAny, T>()? {
                values.push(value);
            }
            Ok(values)
        }
    }

    from.deserialize_map(Values(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_of_one_name_are_both_there() {
        let text = r#"{
            "name": "acequia#consumer-1", "ts": 5, "brokers": {
                "b:9092/1": {"name": "b:9092/1", "nodeid": 1, "state": "UP", "waitresp_cnt": 1, "rxidle": 7, "rtt": {"min": 1}},
                "b:9092/1": {"name": "b:9092/1", "nodeid": 1, "state": "INIT", "waitresp_cnt": 0, "rxidle": -1}
            },
            "topics": {"t": {"topic": "t", "age": 1, "partitions": {
                "0": {"partition": 0, "leader": 1, "desired": true, "rxmsgs": 3},
                "-1": {"partition": -1, "leader": -1, "desired": false}
            }}},
            "cgrp": {"state": "up"}
        }"#;
        let statistics: Statistics = serde_json::from_str(text).unwrap();
        let states: Vec<&str> = statistics.brokers.iter().map(|it| it.state.as_str()).collect();
        assert_eq!(states, ["UP", "INIT"]);
        let topic = &statistics.topics[0];
        let shown = topic.partitions.iter().map(|it| (it.partition, it.leader, it.desired));
        assert_eq!(shown.collect::<Vec<_>>(), [(0, 1, true), (-1, -1, false)]);
        assert_eq!(topic.topic, "t");
    }
}
