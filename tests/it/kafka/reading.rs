//! What stands in a topic is in the lake, once.

use super::broker::Topic;
use super::{pipeline, value};
use crate::program::{Folder, column, letters, rows};
use crate::services;

#[track_caller]
fn lake_holds(folder: &Folder, mut expected: Vec<String>) {
    let mut found = column(&rows(&folder.path("lake")), "user_id");
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

fn users(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("user-{number}")).collect()
}

#[test]
fn a_topic_is_read_to_its_end_and_a_second_run_reads_what_came_since() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::reading") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "messages", 4);
    let values: Vec<String> = (0..1500).map(value).collect();
    let send = |range: std::ops::Range<usize>| {
        topic.send(range.map(|number| ((number % 4) as i32, "", Some(values[number].as_str()))));
    };
    send(0..1000);
    let folder = Folder::new();
    pipeline(&folder, &topic, "", "");
    let ended = folder.run(&["run", "pipeline.yaml", "--until-end", "--json"]).exits(0);
    assert_eq!(ended.json()["rows"], 1000, "{}", ended.stderr);
    lake_holds(&folder, users(0..1000));
    assert_eq!(topic.committed(&topic.name, 0), Some(250), "ordinary tools see the lag");

    send(1000..1500);
    let ended = folder.run(&["run", "pipeline.yaml", "--until-end", "--json"]).exits(0);
    assert_eq!(ended.json()["rows"], 500);
    lake_holds(&folder, users(0..1500));
}

#[test]
fn tombstones_delete_and_poison_is_kept() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::reading") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "mixed", 1);
    let key = r#"{"user_id":"user-1","timestamp":"2024-01-02T10:30:00.000Z"}"#;
    let good = value(1);
    topic.send([
        (0, "", Some(good.as_str())),
        (0, "", Some("no json")),
        (0, key, None),
        (0, "no key", None),
        (0, "", Some("")),
    ]);
    let folder = Folder::new();
    pipeline(&folder, &topic, "", "");
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    let rows = rows(&folder.path("lake"));
    let mut changes: Vec<_> =
        column(&rows, "_op").into_iter().zip(column(&rows, "_position")).collect();
    changes.sort();
    let pair = |op: &str, position: &str| (op.to_owned(), position.to_owned());
    assert_eq!(changes, [pair("delete", "2"), pair("upsert", "0")]);
    assert_eq!(column(&rows, "_key"), [key, key]);
    assert_eq!(column(&rows, "_stream"), [topic.name.as_str(); 2]);
    let mut refused: Vec<_> = letters(&folder.path("dead-letters"))
        .into_iter()
        .map(|letter| letter["position"].to_string())
        .collect();
    refused.sort();
    assert_eq!(refused, ["1", "3", "4"]);
}

#[test]
fn transactions_that_were_aborted_are_not_seen_and_their_marks_count_as_read() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::reading") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "transactions", 2);
    let values: Vec<String> = (0..6).map(value).collect();
    let some = |range: std::ops::Range<usize>| {
        range.map(|number| (0, "", Some(values[number].as_str()))).collect::<Vec<_>>()
    };
    topic.send_in_transaction(some(0..2), true);
    topic.send_in_transaction(some(2..4), false);
    topic.send(some(4..5));
    topic.send_in_transaction(some(5..6), false);
    let folder = Folder::new();
    pipeline(&folder, &topic, "", "");
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    lake_holds(&folder, vec!["user-0".into(), "user-1".into(), "user-4".into()]);
}

#[test]
fn a_topic_that_is_missing_and_a_broker_that_is_away_are_said_at_the_start() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::reading") else { return };
    let topic = Topic { bootstrap: kafka.bootstrap(), name: "nowhere".to_owned() };
    let folder = Folder::new();
    pipeline(&folder, &topic, "", "");
    folder.run(&["run", "pipeline.yaml"]).exits(2).fails_as(&format!(
        "there is no topic `nowhere` on {}: make it, or correct `source.kafka.topics`",
        topic.bootstrap
    ));
    let away = Topic { bootstrap: "127.0.0.1:1".to_owned(), ..topic };
    pipeline(&folder, &away, "", "");
    folder.run(&["run", "pipeline.yaml"]).exits(2).fails_as(
        "no broker answers at 127.0.0.1:1: check `source.kafka.bootstrap`, the network, and how the brokers want to be talked to (TLS, password)",
    );
}

#[test]
fn data_that_is_gone_and_a_topic_made_anew_stop_the_run() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::reading") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "gone", 1);
    let values: Vec<String> = (0..10).map(value).collect();
    let send = |range: std::ops::Range<usize>| {
        topic.send(range.map(|number| (0, "", Some(values[number].as_str()))));
    };
    send(0..4);
    let folder = Folder::new();
    pipeline(&folder, &topic, "", "");
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    send(4..8);
    topic.delete_records(0, 6);
    folder
        .run(&["run", "pipeline.yaml", "--until-end"])
        .exits(3)
        .fails_as(&format!(
            "lane {0}-0 stopped: messages 4 to 5 of {0}-0 are gone, and were never read: the topic's retention has passed them, or they were deleted; the topic now begins at 6; see `acequia checkpoint accept gap --help`",
            topic.name
        ));
    topic.delete();
    topic.make(1);
    send(0..10);
    folder
        .run(&["run", "pipeline.yaml", "--until-end"])
        .exits(3)
        .fails_as(&format!(
            "topic {} was deleted and made anew while nobody read it: nothing more was committed, see `acequia checkpoint accept recreation --help`",
            topic.name
        ));
    lake_holds(&folder, users(0..4));
}

#[test]
fn a_preview_shows_what_there_is_and_takes_nothing_from_others() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::reading") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "looked-at", 2);
    let values: Vec<String> = (0..7).map(value).collect();
    topic.send(
        values
            .iter()
            .enumerate()
            .map(|(number, text)| ((number % 2) as i32, "", Some(text.as_str()))),
    );
    let folder = Folder::new();
    pipeline(&folder, &topic, "", "");
    let mut reads = folder.start(&["run", "pipeline.yaml", "--log", "info"]);
    reads.until_it_says("step=\"run\"", 2);
    let shown = folder.run(&["preview", "pipeline.yaml", "--limit", "100", "--json"]).exits(0);
    assert_eq!(shown.stdout.lines().count(), 7, "{}", shown.stdout);
    reads.signal(rustix::process::Signal::TERM);
    let ended = reads.end().exits(0);
    assert!(!ended.stderr.contains("takes partitions back"), "{}", ended.stderr);
    folder
        .run(&["run", "pipeline.yaml", "--skip-damaged"])
        .exits(2)
        .says("--take-over and --skip-damaged are for archives");
}

#[test]
fn a_topic_made_anew_while_it_is_read_commits_nothing_of_the_new_one() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::reading") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "anew", 1);
    let values: Vec<String> = (0..40).map(value).collect();
    let send = |range: std::ops::Range<usize>| {
        topic.send(range.map(|number| (0, "", Some(values[number].as_str()))));
    };
    let folder = Folder::new();
    let often = "commit: { every: 200ms, size: 64KiB, min_size: 1B, max_age: 200ms }\n";
    pipeline(&folder, &topic, "", often);
    let mut reads = folder.start(&["run", "pipeline.yaml", "--log", "info"]);
    send(0..10);
    reads.until_it_says("step=\"finalise\"", 1);
    topic.delete();
    topic.make(1);
    // Longer than the old one was: the client would go on in the middle of it.
    send(10..40);
    reads.end().exits(3).says("made anew");
    lake_holds(&folder, users(0..10));
}

#[test]
fn the_lag_is_shown_by_records_and_by_time() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::reading") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "lag", 1);
    let values: Vec<String> = (0..25).map(value).collect();
    let folder = Folder::new();
    pipeline(&folder, &topic, "", "commit: { every: 200ms, min_size: 1B }\n");
    let port = services::server::free_port();
    let address = format!("127.0.0.1:{port}");
    let mut reads = folder.start(&["run", "pipeline.yaml", "--log", "info", "--metrics", &address]);
    topic.send(values.iter().map(|value| (0, "", Some(value.as_str()))));
    reads.until_it_says("step=\"advise\"", 1);
    let (_, shown) = services::http::get(port, "/metrics").unwrap();
    let lane = format!("lane=\"{}-0\"", topic.name);
    let lag = format!("acequia_lane_lag_records{{{lane}}} 0");
    assert!(shown.contains(&lag), "{shown}");
    let lag = format!("acequia_lane_lag_seconds{{{lane}}} 0.0");
    assert!(shown.contains(&lag), "{shown}");
    reads.signal(rustix::process::Signal::TERM);
    reads.end().exits(0);
}

#[test]
fn a_topic_that_has_grown_stops_the_run_unless_nothing_in_it_changes() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::reading") else { return };
    let values: Vec<String> = (0..8).map(value).collect();
    let often = "commit: { every: 200ms, size: 64KiB, min_size: 1B, max_age: 200ms }\n";
    for (op, code) in [("upsert", 3), ("insert", 0)] {
        let topic = Topic::new(&kafka.bootstrap(), "grows", 1);
        let send = |partition: i32, range: std::ops::Range<usize>| {
            topic.send(range.map(|number| (partition, "", Some(values[number].as_str()))));
        };
        send(0, 0..4);
        let folder = Folder::new();
        pipeline(&folder, &topic, &format!(", op: {op}"), often);
        let mut reads = folder.start(&["run", "pipeline.yaml", "--log", "info"]);
        reads.until_it_says("step=\"finalise\"", 1);
        topic.grow(2);
        send(0, 4..6);
        match op {
            "upsert" => drop(reads.end().exits(3).says("has 2 partitions and had 1")),
            _ => {
                reads.signal(rustix::process::Signal::TERM);
                reads.end().exits(0);
            }
        }
        send(1, 6..8);
        folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(code);
        lake_holds(&folder, users(0..if code == 0 { 8 } else { 4 }));
    }
}

#[test]
fn events_of_debezium_and_their_tombstones() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::reading") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "debezium", 1);
    let item = value(1);
    let event = |op: &str, before: &str, after: &str| {
        format!(
            "{{\"schema\":{{}},\"payload\":{{\"op\":\"{op}\",\"before\":{before},\"after\":{after},\
             \"source\":{{\"ts_ms\":1705314600000}}}}}}"
        )
    };
    let key = r#"{"user_id":"user-1","timestamp":"2024-01-02T10:30:00.000Z"}"#;
    let wrapped = format!("{{\"schema\":{{}},\"payload\":{key}}}");
    let (created, updated) = (event("c", "null", &item), event("u", &item, &item));
    let (deleted, truncated) = (event("d", key, "null"), event("t", "null", "null"));
    topic.send([
        (0, wrapped.as_str(), Some(created.as_str())),
        (0, wrapped.as_str(), Some(updated.as_str())),
        (0, wrapped.as_str(), Some(deleted.as_str())),
        (0, wrapped.as_str(), None),
        (0, "", Some(truncated.as_str())),
    ]);
    let folder = Folder::new();
    folder.pipeline(&format!(
        "name: debezium\nsource: {{ kafka: {{ bootstrap: \"{}\", topics: {}, format: debezium }} }}\n",
        topic.bootstrap, topic.name
    ));
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    let rows = rows(&folder.path("lake"));
    let mut changes: Vec<_> =
        column(&rows, "_position").into_iter().zip(column(&rows, "_op")).collect();
    changes.sort();
    let ops: Vec<&str> = changes.iter().map(|(_, op)| op.as_str()).collect();
    assert_eq!(ops, ["insert", "update", "delete", "delete"]);
    assert!(column(&rows, "_key").iter().all(|found| found == key));
    assert_eq!(letters(&folder.path("dead-letters")).len(), 1, "the truncate");
}
