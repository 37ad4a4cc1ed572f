//! Several tasks share a topic: they come, leave, are killed and stopped, and nothing is lost or
//! doubled.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use super::broker::Topic;
use super::{pipeline, value};
use crate::program::{Folder, Running, column, rows};
use crate::services;

/// Settings under which a test sees many commits, and a lost task is missed soon.
const LIVELY: &str = "commit: { every: 200ms, size: 64KiB, min_size: 1B, max_age: 200ms }\n";

const PARTITIONS: i32 = 4;

/// A topic, and a folder whose pipeline reads it.
fn shared_by_tasks(bootstrap: &str, name: &str) -> (Topic, Folder) {
    let topic = Topic::new(bootstrap, name, PARTITIONS);
    let folder = Folder::new();
    pipeline(&folder, &topic, ", session_timeout: 2s", LIVELY);
    (topic, folder)
}

fn send(topic: &Topic, numbers: std::ops::Range<usize>) {
    let values: Vec<(i32, String)> =
        numbers.map(|number| ((number % PARTITIONS as usize) as i32, value(number))).collect();
    topic.send(values.iter().map(|(partition, value)| (*partition, "", Some(value.as_str()))));
}

/// A task that goes on until it is told to end, and has been given something.
fn task(folder: &Folder) -> Running {
    let mut task = folder.start(&["run", "pipeline.yaml", "--log", "info"]);
    task.until_it_says("the group gives partitions", 1);
    task
}

/// Every message of `count` stands in the lake, at its place, once.
#[track_caller]
fn lake_holds_each_once(folder: &Folder, count: usize) {
    let rows = rows(&folder.path("lake"));
    let mut found: Vec<(String, usize)> = column(&rows, "_partition")
        .into_iter()
        .zip(column(&rows, "_position").iter().map(|position| position.parse().unwrap()))
        .collect();
    found.sort();
    let mut expected: Vec<(String, usize)> = (0..count)
        .map(|number| ((number % PARTITIONS as usize).to_string(), number / PARTITIONS as usize))
        .collect();
    expected.sort();
    let missing: Vec<_> = expected.iter().filter(|one| !found.contains(one)).take(5).collect();
    assert_eq!(missing, Vec::<&(String, usize)>::new(), "of {} found", found.len());
    assert_eq!(found.len(), count, "some are there twice");
}

#[test]
fn tasks_come_are_killed_and_leave() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::group") else { return };
    let (topic, folder) = shared_by_tasks(&kafka.bootstrap(), "tasks");
    let killed = task(&folder);
    send(&topic, 0..1000);
    let mut leaves = task(&folder);
    send(&topic, 1000..2000);
    // Its first commit with the partitions that the other one has handed over.
    leaves.until_it_says("the group gives partitions", 1);
    killed.signal(Signal::KILL);
    send(&topic, 2000..3000);
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    leaves.signal(Signal::TERM);
    leaves.end().exits(0);
    lake_holds_each_once(&folder, 3000);
}

#[test]
fn a_task_that_was_stopped_and_goes_on_commits_nothing_twice() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::group") else { return };
    let (topic, folder) = shared_by_tasks(&kafka.bootstrap(), "stopped");
    let mut stopped = task(&folder);
    send(&topic, 0..1000);
    stopped.signal(Signal::STOP);
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    send(&topic, 1000..2000);
    stopped.signal(Signal::CONT);
    // It was put out of the group, joins again, and is given everything.
    stopped.until_it_says("the group gives partitions", 2);
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    stopped.signal(Signal::TERM);
    stopped.end().exits(0);
    lake_holds_each_once(&folder, 2000);
}

#[test]
fn a_task_more_than_there_are_partitions_waits_and_ends() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::group") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "idle", 1);
    let folder = Folder::new();
    pipeline(&folder, &topic, ", session_timeout: 2s", LIVELY);
    let reads = task(&folder);
    let idle = task(&folder);
    let messages: Vec<String> = (0..100).map(value).collect();
    topic.send(messages.iter().map(|value| (0, "", Some(value.as_str()))));
    // Whichever of the three has the partition: the others see its record.
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    for task in [idle, reads] {
        task.signal(Signal::TERM);
        task.end().exits(0);
    }
    assert_eq!(column(&rows(&folder.path("lake")), "user_id").len(), 100);
}

#[test]
fn the_brokers_may_decide_who_reads() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::group") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "decided", PARTITIONS);
    let folder = Folder::new();
    pipeline(&folder, &topic, ", protocol: consumer", LIVELY);
    let first = task(&folder);
    send(&topic, 0..500);
    let second = task(&folder);
    send(&topic, 500..1000);
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    for task in [first, second] {
        task.signal(Signal::TERM);
        task.end().exits(0);
    }
    lake_holds_each_once(&folder, 1000);
    pipeline(&folder, &topic, ", protocol: consumer, session_timeout: 9s", "");
    folder.run(&["validate", "pipeline.yaml"]).exits(2).says(
        "source.kafka.session_timeout: is not ours to say: with `protocol: consumer` the brokers decide; leave it out",
    );
}

#[test]
fn every_task_is_replaced_under_load() {
    let Some(kafka) = services::kafka::shared_or_skip("kafka::group") else { return };
    let (topic, folder) = shared_by_tasks(&kafka.bootstrap(), "rolled");
    let mut tasks: VecDeque<Running> = (0..3).map(|_| task(&folder)).collect();
    let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let from = sent.load(Ordering::Relaxed);
                send(&topic, from..from + 200);
                sent.store(from + 200, Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(100));
            }
        });
        for _ in 0..3 {
            tasks.push_back(task(&folder));
            let leaves = tasks.pop_front().unwrap();
            leaves.signal(Signal::TERM);
            // Whatever it had taken is committed, not given up.
            let left = leaves.end().exits(0);
            assert!(!left.stderr.contains("reading the epoch again"), "{}", left.stderr);
        }
        over.store(true, Ordering::Relaxed);
    });
    folder.run(&["run", "pipeline.yaml", "--until-end"]).exits(0);
    for task in tasks {
        task.signal(Signal::TERM);
        task.end().exits(0);
    }
    lake_holds_each_once(&folder, sent.load(Ordering::Relaxed));
}
