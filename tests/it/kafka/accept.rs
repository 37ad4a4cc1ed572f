//! The ways on after a topic has stopped a run.

use super::broker::Topic;
use super::{pipeline, value};
use crate::program::{Folder, column, rows};
use crate::services;

fn send(topic: &Topic, partition: i32, numbers: std::ops::Range<usize>) {
    let values: Vec<String> = numbers.map(value).collect();
    topic.send(values.iter().map(|value| (partition, "", Some(value.as_str()))));
}

/// Show what `accept` would do, see that nothing was done, and do it.
#[track_caller]
fn accept(folder: &Folder, what: &str, says: &[&str]) {
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(3);
    let args = ["checkpoint", "accept", what, "pipeline.yaml"];
    let shown = folder.run(&args).exits(0).prints("nothing was done: add --yes to do it");
    for text in says {
        assert!(shown.stdout.contains(text), "{text:?}:\n{}", shown.stdout);
    }
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(3);
    folder.run(&[&args[..], &["--yes"]].concat()).exits(0);
    folder.run(&args).exits(0).prints("nothing of this kind is wrong");
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    folder.run(&["checkpoint", "verify", "pipeline.yaml"]).exits(0).prints("all is well");
}

/// `_partition`, `_position` and `_version` of every row, in the order of the versions.
fn places(folder: &Folder) -> Vec<(i64, String, String)> {
    let rows = rows(&folder.path("lake"));
    let versions = column(&rows, "_version").into_iter().map(|version| version.parse().unwrap());
    let places = column(&rows, "_partition").into_iter().zip(column(&rows, "_position"));
    let mut all: Vec<_> = versions
        .zip(places)
        .map(|(version, (partition, position))| (version, partition, position))
        .collect();
    all.sort();
    all
}

#[test]
fn messages_that_are_gone_are_given_up_by_decision_only() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::accept") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "gap", 1);
    let folder = Folder::new();
    pipeline(&folder, &topic, "", "");
    send(&topic, 0, 0..4);
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    send(&topic, 0, 4..8);
    topic.delete_records(0, 6);
    accept(&folder, "gap", &["gives up positions 4 to 6, and goes on at 6"]);
    let positions: Vec<String> = places(&folder).into_iter().map(|place| place.2).collect();
    assert_eq!(positions, ["0", "1", "2", "3", "6", "7"]);
    let partition = format!("{}-0", topic.name);
    let shown = folder.run(&["checkpoint", "show", "pipeline.yaml", &partition]).exits(0);
    assert_eq!(shown.json()["gaps"][0]["from"], 4, "{}", shown.stdout);
    folder.run(&["checkpoint", "list", "pipeline.yaml"]).exits(0).prints("1 gap");
}

#[test]
fn a_topic_made_anew_begins_another_life() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::accept") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "anew", 1);
    let folder = Folder::new();
    pipeline(&folder, &topic, "", "");
    for (round, count) in [(1, 3), (2, 2), (3, 1)] {
        if round > 1 {
            topic.delete();
            topic.make(1);
        }
        send(&topic, 0, 0..count);
        match round {
            1 => drop(folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0)),
            _ => accept(&folder, "recreation", &["begins at 0 of the new topic"]),
        }
    }
    let labels: Vec<(String, String)> =
        places(&folder).into_iter().map(|(_, partition, position)| (partition, position)).collect();
    let place = |partition: &str, position: &str| (partition.to_owned(), position.to_owned());
    let first = [place("0", "0"), place("0", "1"), place("0", "2")];
    let later = [place("0~2", "0"), place("0~2", "1"), place("0~3", "0")];
    assert_eq!(labels, [first, later].concat(), "later lives have higher versions");
}

#[test]
fn a_topic_that_grew_goes_on_above_all_older_versions() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::accept") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "grew", 2);
    let folder = Folder::new();
    pipeline(&folder, &topic, "", "");
    send(&topic, 0, 0..3);
    send(&topic, 1, 3..5);
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    topic.grow(3);
    send(&topic, 2, 5..6);
    send(&topic, 0, 6..7);
    accept(&folder, "growth", &["goes on at 3", "came to 3 partitions", "is new: begins at 0"]);
    let places = places(&folder);
    let newest: Vec<_> =
        places[5..].iter().map(|(_, partition, position)| (&**partition, &**position)).collect();
    assert_eq!(newest, [("2", "0"), ("0", "3")], "{places:?}");
}
