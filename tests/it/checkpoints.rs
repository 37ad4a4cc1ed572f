//! What an operator does with the records of a pipeline.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use acequia::runtime::protocol::Step;
use rustix::process::Signal;
use serde_json::Value;

use crate::aimed::{Moment, Watched};
use crate::program::{Folder, PROGRAM, column, files, rows};

fn line(number: usize) -> String {
    format!(
        "{{\"user_id\":\"u{number}\",\"timestamp\":\"2024-01-{:02}T10:00:00.000Z\",\"role\":\"user\"}}\n",
        1 + number % 3
    )
}

fn lines(numbers: std::ops::Range<usize>) -> String {
    numbers.map(line).collect()
}

/// A folder whose pipeline was killed while it published its first epoch: none, some or all of its
/// files are visible.
fn killed_while_publishing() -> Folder {
    let folder = Folder::new();
    folder.pipeline("commit: { every: 1s, size: 1MiB, min_size: 1KiB, max_age: 1s }\n");
    folder.write("events.ndjson", lines(0..3000));
    let args = ["run", "pipeline.yaml", "--log", "info", "--log-format", "json"];
    let mut command = folder.command(PROGRAM, &args);
    command.stdout(Stdio::null());
    let moment = Moment::At { step: Step::Publish, count: 1 };
    let mut life = Watched::start(command, Some((Step::Publish, 1, Signal::KILL)));
    life.interrupt(moment, Signal::KILL);
    assert!(!life.end(Duration::from_secs(30)).success(), "{}", life.text());
    folder
}

#[track_caller]
fn holds_each_once(folder: &Folder, count: usize) {
    let mut users = column(&rows(&folder.path("lake")), "user_id");
    assert_eq!(users.len(), count);
    users.sort();
    users.dedup();
    assert_eq!(users.len(), count, "some are there twice");
}

#[test]
fn a_pipeline_that_has_not_run_has_nothing_to_show() {
    let folder = Folder::new();
    folder.pipeline("");
    folder
        .run(&["checkpoint", "list", "pipeline.yaml"])
        .exits(2)
        .says("pipeline `messages` has no checkpoint: it has not run yet");
    assert!(!folder.path("checkpoint").exists(), "looking made something");
}

#[test]
fn what_was_committed_is_published_by_a_release() {
    let folder = killed_while_publishing();
    let list = folder.run(&["checkpoint", "list", "pipeline.yaml", "--json"]).exits(0);
    assert_eq!(list.json()["pending"]["epoch"], 1, "{}", list.stdout);
    let partition = list.json()["partition"].as_str().unwrap().to_owned();
    folder.run(&["checkpoint", "list", "pipeline.yaml"]).exits(0).prints("3 files");
    folder.run(&["checkpoint", "verify", "pipeline.yaml"]).exits(0).prints("all is well");
    folder
        .run(&["checkpoint", "release", "pipeline.yaml"])
        .exits(0)
        .prints("3 files to publish")
        .prints("nothing was done: add --yes");
    let record =
        || folder.run(&["checkpoint", "show", "pipeline.yaml", &partition]).exits(0).json();
    assert_ne!(record()["pending"], Value::Null, "only shown");
    folder.run(&["checkpoint", "release", "pipeline.yaml", "--yes"]).exits(0);
    assert_eq!(record()["pending"], Value::Null);
    assert_eq!(files(&folder.path("lake"), ".parquet").len(), 3);
    assert!(files(&folder.path("lake"), ".staged").is_empty());
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    holds_each_once(&folder, 3000);
    folder
        .run(&["checkpoint", "show", "pipeline.yaml", "nobody"])
        .exits(2)
        .says("no record of nobody");
}

#[test]
fn a_lost_file_is_read_again_by_decision_only() {
    let folder = killed_while_publishing();
    let list = folder.run(&["checkpoint", "list", "pipeline.yaml", "--json"]).exits(0).json();
    let file = &list["pending"]["files"][0];
    for name in ["key", "upload"] {
        // It is one of the two.
        let _ = fs::remove_file(folder.path("lake").join(file[name].as_str().unwrap()));
    }
    // The others of its epoch become visible.
    folder
        .run(&["run", "pipeline.yaml"])
        .exits(3)
        .says("is lost: it is neither visible nor staged");
    folder
        .run(&["checkpoint", "verify", "pipeline.yaml"])
        .exits(1)
        .prints("`acequia checkpoint accept lost-file` reads its range again");
    let accept = ["checkpoint", "accept", "lost-file", "pipeline.yaml"];
    folder.run(&accept).exits(0).prints("takes the files of epoch 1 back and reads 0 to ");
    folder.run(&["run", "pipeline.yaml"]).exits(3);
    folder.run(&[&accept[..], &["--yes"]].concat()).exits(0);
    folder.run(&accept).exits(0).prints("nothing of this kind is wrong");
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    holds_each_once(&folder, 3000);
    folder.run(&["checkpoint", "verify", "pipeline.yaml"]).exits(0).prints("all is well");
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(copied.success());
}

#[test]
fn a_store_restored_from_an_older_copy_is_found() {
    let folder = Folder::new();
    folder.pipeline("");
    folder.write("events-1.ndjson", lines(0..100));
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    copy(&folder.path("checkpoint"), &folder.path("copy"));
    folder.write("events-2.ndjson", lines(100..200));
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    folder.run(&["checkpoint", "verify", "pipeline.yaml"]).exits(0).prints("all is well");
    fs::remove_dir_all(folder.path("checkpoint")).unwrap();
    copy(&folder.path("copy"), &folder.path("checkpoint"));
    let found = folder.run(&["checkpoint", "verify", "pipeline.yaml", "--json"]).exits(1);
    let what = found.json()["doubts"][0]["what"].to_string();
    assert!(what.contains("belong to partitions without a record"), "{}", found.stdout);
}

#[test]
fn an_archive_neither_grows_nor_is_made_anew() {
    let folder = Folder::new();
    folder.pipeline("");
    folder.write("events.ndjson", lines(0..10));
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    folder
        .run(&["checkpoint", "accept", "growth", "pipeline.yaml"])
        .exits(2)
        .says("an archive neither grows nor is made anew");
}
