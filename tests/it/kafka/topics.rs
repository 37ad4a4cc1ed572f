//! Several topics by a pattern, and what stands around a message's value.

use std::time::{Duration, Instant};

use acequia::component::{Source as _, SourceEvent};
use acequia::event::PartitionId;
use acequia::sources::kafka::KafkaSource;
use acequia::testing::{MemoryStore, context};
use rdkafka::message::{Header, OwnedHeaders};
use serde_json::json;

use super::broker::{Topic, unique};
use super::{pipeline, value};
use crate::program::{Folder, column, rows};
use crate::services;

const OFTEN: &str = "commit: { every: 200ms, min_size: 1B, max_age: 200ms }\n";

fn sorted(folder: &Folder, name: &str) -> Vec<String> {
    let mut found = column(&rows(&folder.path("lake")), name);
    found.sort();
    found
}

/// A topic of that very name.
fn exactly(bootstrap: &str, name: String) -> Topic {
    let topic = Topic { bootstrap: bootstrap.to_owned(), name };
    topic.make(1);
    topic
}

#[test]
fn a_pattern_reads_what_matches_and_what_is_made_later_from_its_beginning() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::topics") else { return };
    let bootstrap = kafka.bootstrap();
    let values: Vec<String> = (0..8).map(value).collect();
    let send = |topic: &Topic, number: usize| topic.send([(0, "", Some(values[number].as_str()))]);
    for protocol in ["classic", "consumer"] {
        let name = unique("pattern");
        let one = exactly(&bootstrap, format!("{name}.one"));
        let other = exactly(&bootstrap, format!("other.{name}.one"));
        send(&one, 0);
        send(&other, 1);
        let folder = Folder::new();
        folder.pipeline(&format!(
            "name: {name}\n\
             source: {{ kafka: {{ bootstrap: \"{bootstrap}\", topics: [\"^{name}[.].*$\"], format: plain, \
             start: latest, protocol: {protocol}, discovery_interval: 1s }} }}\n{OFTEN}"
        ));
        let mut reads = folder.start(&["run", "pipeline.yaml", "--log", "info"]);
        reads.until_it_says("step=\"run\"", 1);
        send(&one, 2);
        let two = exactly(&bootstrap, format!("{name}.two"));
        send(&two, 3);
        reads.until_it_says(&format!("step=\"advise\" partition={name}.two-0"), 1);
        reads.signal(rustix::process::Signal::TERM);
        reads.end().exits(0).says("a topic that matches has been made");
        // Made while nobody reads: it is not new to the pipeline's end of the topics.
        let three = exactly(&bootstrap, format!("{name}.three"));
        send(&three, 4);
        one.delete();
        let ended = folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
        assert!(ended.stderr.contains("the topic is gone"), "{}", ended.stderr);
        assert_eq!(sorted(&folder, "user_id"), ["user-2", "user-3", "user-4"], "{protocol}");
        assert_eq!(sorted(&folder, "_stream"), [one.name, three.name, two.name]);
    }
}

/// The group gave it, and it was deleted before anybody asked what it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_brokers_do_not_know_holds_nothing_up() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::topics") else { return };
    let (bootstrap, name) = (kafka.bootstrap(), unique("fleeting"));
    let make = |name: &str| {
        let (bootstrap, name) = (bootstrap.clone(), name.to_owned());
        tokio::task::block_in_place(|| exactly(&bootstrap, name))
    };
    make(&format!("{name}.a"));
    let config = json!({ "bootstrap": bootstrap, "topics": [format!("^{name}[.].*$")],
                         "format": "plain", "discovery_interval": "1s" });
    let config = serde_json::from_value(config).unwrap();
    let store = MemoryStore::new("store");
    let source = KafkaSource::open(&config, &name, &store, false, &context(1)).await.unwrap();
    let next = async || {
        let event = tokio::time::timeout(Duration::from_secs(20), source.next_event());
        match event.await.expect("the group says something").unwrap() {
            SourceEvent::Assigned(starts) => {
                starts.iter().map(|start| start.partition.to_string()).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(next().await, [format!("{name}.a-0")]);
    let fleeting = make(&format!("{name}.b"));
    let given = PartitionId::new(format!("{name}.b-0"));
    let late = Instant::now() + Duration::from_secs(20);
    while !source.still_assigned(&given) {
        assert!(Instant::now() < late, "the new topic is not found");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::task::block_in_place(|| fleeting.delete_for_good());
    assert!(next().await.is_empty());
    make(&fleeting.name);
    let late = Instant::now() + Duration::from_secs(20);
    loop {
        assert!(Instant::now() < late, "it is not looked for again");
        let event = tokio::time::timeout(Duration::from_secs(20), source.next_event()).await;
        match event.expect("it is looked for again").unwrap() {
            SourceEvent::Assigned(starts) if starts.is_empty() => {}
            SourceEvent::Assigned(starts) => {
                assert_eq!(starts[0].partition, given);
                break;
            }
            SourceEvent::Revoked(partitions) => assert_eq!(partitions, [given.clone()]),
            other => panic!("{other:?}"),
        }
    }
}

/// A partition that no task has fenced begins where the pipeline's first start saw its end: at
/// nothing older, whoever gets it, and nothing is skipped.
#[test]
fn the_next_message_is_the_next_of_the_first_start() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::topics") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "latest", 2);
    let values: Vec<String> = (0..5).map(value).collect();
    let send = |partition, number: usize| {
        topic.send([(partition, "", Some(values[number].as_str()))]);
    };
    send(0, 0);
    send(1, 1);
    let folder = Folder::new();
    pipeline(&folder, &topic, ", start: latest, op: insert", OFTEN);
    let mut reads = folder.start(&["run", "pipeline.yaml", "--log", "info"]);
    reads.until_it_says("step=\"run\"", 2);
    send(0, 2);
    reads.until_it_says(&format!("step=\"advise\" partition={}-0", topic.name), 1);
    reads.signal(rustix::process::Signal::KILL);
    reads.end();
    // As if it had been killed before it fenced this one.
    let record = folder.path(&format!("checkpoint/records/{}-1.json", topic.name));
    std::fs::remove_file(record).unwrap();
    send(1, 3);
    topic.grow(3);
    send(2, 4);
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    assert_eq!(sorted(&folder, "user_id"), ["user-2", "user-3", "user-4"]);
}

#[test]
fn a_pattern_that_matches_nothing_is_said_at_the_start() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::topics") else { return };
    let topic = Topic { bootstrap: kafka.bootstrap(), name: "nothing".to_owned() };
    let folder = Folder::new();
    folder.pipeline(&format!(
        "name: nothing\n\
         source: {{ kafka: {{ bootstrap: \"{}\", topics: \"^nothing-.*$\", format: plain }} }}\n",
        topic.bootstrap
    ));
    folder.run(&["run", "pipeline.yaml"]).exits(2).says(&format!(
        "no topic on {} matches `^nothing-.*$`: make one, allow Describe on it, or correct `source.kafka.topics`",
        topic.bootstrap
    ));
}

#[test]
fn sql_reads_keys_and_headers_of_messages() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::topics") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "wrapped", 1);
    let values: Vec<String> = (0..4).map(value).collect();
    let header = |key, value: Option<&'static str>| Header { key, value };
    let headers = [
        OwnedHeaders::new().insert(header("trace", Some("a"))).insert(header("trace", Some("b"))),
        OwnedHeaders::new()
            .insert(header("trace", None::<&str>))
            .insert(header("tenant", Some("t"))),
        OwnedHeaders::new(),
        OwnedHeaders::new().insert(header("tenant", Some("hidden"))),
    ];
    let keys = ["k0", "k1", "", "k3"];
    topic.send_with_headers(
        keys.into_iter()
            .zip(&values)
            .zip(headers)
            .map(|((key, value), headers)| (key, value.as_str(), headers)),
    );
    topic.send([(0, "", Some("no json"))]);
    let folder = Folder::new();
    let sql = "transforms:\n  - sql: >\n      SELECT *, _message_key AS message_key, _headers['trace'] AS trace,\n      \
               _headers['tenant'] AS tenant FROM changes WHERE coalesce(_headers['tenant'], '') <> 'hidden'\n";
    pipeline(&folder, &topic, ", op: insert", sql);
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    let rows = rows(&folder.path("lake"));
    let mut found: Vec<_> =
        ["message_key", "trace", "tenant"].map(|name| column(&rows, name)).to_vec();
    let mut wrapped: Vec<_> = (0..found[0].len())
        .map(|_| found.iter_mut().map(|column| column.remove(0)).collect::<Vec<_>>().join("|"))
        .collect();
    wrapped.sort();
    assert_eq!(wrapped, ["k0|b|null", "k1|null|t", "|null|null"]);
    let names = folder.run(&["schema", "pipeline.yaml"]).exits(0).stdout;
    assert!(!names.contains("_headers"), "{names}");
}

#[test]
fn names_and_patterns_are_judged_before_any_broker_is_asked() {
    let folder = Folder::new();
    let refused = |topics: &str, more: &str| {
        folder.pipeline(&format!(
            "name: topics\nsource: {{ kafka: {{ bootstrap: nowhere, topics: {topics}, format: plain{more} }} }}\n"
        ));
        folder.run(&["validate", "pipeline.yaml"]).exits(2)
    };
    refused("\"talks-*\"", "").says(
        "source.kafka.topics: `talks-*` is no name of a topic; letters, digits, `.`, `_` and `-`; a pattern begins with `^` and ends with `$`",
    );
    refused("[talks, \"^talks-\"]", "").says(
        "source.kafka.topics: the pattern `^talks-` has no end; `^` in front and `$` behind: a pattern is the whole name",
    );
    refused("\"^talks-($\"", "").says(
        "source.kafka.topics: the pattern `^talks-($` cannot be read: unclosed group; a regular expression",
    );
    refused("talks", ", discovery_interval: 10ms")
        .says("source.kafka.discovery_interval: is no useful time; from 1s to 1h");
}
