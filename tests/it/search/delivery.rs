//! What becomes of changes, whatever happens in between.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use acequia::runtime::protocol::Step;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;

use super::{EMBEDDED, pipeline, texts};
use crate::aimed::{Moment, Reached, Watched, note, times};
use crate::changes::{change, change_of, changes, id, ups_and_downs};
use crate::program::{Folder, PROGRAM};

#[test]
fn an_index_holds_the_last_version_of_each_key() {
    let folder = Folder::new();
    pipeline(&folder, EMBEDDED, "");
    folder.write("a.ndjson", ups_and_downs());
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    let mut expected: BTreeMap<String, String> =
        (100..200).map(|number| (id(number), "segundo".to_owned())).collect();
    expected.extend((200..300).map(|number| (id(number), "primero".to_owned())));
    expected.insert(id(0), "de nuevo".to_owned());
    assert!(texts(&folder) == expected);

    // What comes later is newer than what was committed before, whether it is there or deleted.
    let later = change(1, "upsert", "otra vez") + &change(150, "delete", "");
    folder.write("b.ndjson", later);
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    expected.insert(id(1), "otra vez".to_owned());
    expected.remove(&id(150));
    assert!(texts(&folder) == expected);
}

/// What [`changes`] leave.
fn left(count: usize) -> BTreeMap<String, String> {
    let left = (0..count).filter(|number| number % 7 != 0);
    left.map(|number| (id(number), "dos".to_owned())).collect()
}

/// Steps that every epoch comes through.
const STEPS: [Step; 5] = [Step::Run, Step::Flush, Step::Prepare, Step::Publish, Step::Finalise];

#[test]
fn a_run_that_is_killed_at_any_step_leaves_nothing_stale() {
    let mut random = StdRng::seed_from_u64(20_240_115);
    let mut reached = Reached::new();
    for round in 0..STEPS.len() {
        let folder = Folder::new();
        let ranges =
            "source: { archive: { path: \"*.ndjson\", format: plain, range_size: 64KiB } }\n";
        pipeline(&folder, EMBEDDED, ranges);
        folder.write("a.ndjson", changes(3_000));
        for life in 0..3 {
            let step = STEPS[(round + life) % STEPS.len()];
            let count = random.random_range(1..=5);
            let moment = Moment::At { step, count };
            let mut life = Watched::start(command(&folder), Some((step, count, Signal::KILL)));
            life.interrupt(moment, Signal::KILL);
            if !life.end(Duration::from_secs(60)).success() {
                note(&mut reached, life.last());
            }
        }
        folder.run(&["run", "pipeline.yaml"]).exits(0);
        let (found, expected) = (texts(&folder), left(3_000));
        let wrong = expected.iter().find(|(id, text)| found.get(*id) != Some(text));
        assert_eq!((wrong, found.len()), (None, expected.len()), "round {round}: {reached:?}");
    }
    for step in STEPS {
        assert!(times(&reached, step) > 0, "{step} was never interrupted: {reached:?}");
    }
}

fn command(folder: &Folder) -> Command {
    let mut command =
        folder.command(PROGRAM, &["run", "--log", "info", "--log-format", "json", "pipeline.yaml"]);
    command.stdout(Stdio::null());
    command
}

#[test]
fn one_process_writes_an_index() {
    let folder = Folder::new();
    pipeline(&folder, EMBEDDED, "");
    folder.write("a.ndjson", changes(9_000));
    let mut first = folder.start(&["run", "pipeline.yaml", "--log", "info"]);
    first.until_it_says("fence", 1);
    first.signal(Signal::STOP);
    let path = folder.path("index");
    folder
        .run(&["run", "pipeline.yaml", "--take-over"])
        .exits(2)
        .says(&format!("another process writes the index {}: one at a time may", path.display()));
    // Readers are let in meanwhile.
    texts(&folder);
    first.signal(Signal::CONT);
    first.end().exits(0);
    assert!(texts(&folder) == left(9_000));
}

/// The folder of an index was put back from a copy that is older than the checkpoint.
#[test]
fn an_older_copy_of_an_index_halts() {
    let folder = Folder::new();
    // A mebibyte of the file is an epoch.
    pipeline(&folder, EMBEDDED, "commit: { size: 64KiB, min_size: 1KiB }\n");
    folder.write("a.ndjson", changes(12_000));
    let until_flush = |count| {
        let mut life = Watched::start(command(&folder), Some((Step::Flush, count, Signal::KILL)));
        life.interrupt(Moment::At { step: Step::Flush, count }, Signal::KILL);
        assert!(!life.end(Duration::from_secs(60)).success());
    };
    let copy = |from: &str, to: &str| {
        let (from, to) = (folder.path(from), folder.path(to));
        let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(done.success());
    };
    until_flush(2);
    copy("index", "copy");
    until_flush(2);
    std::fs::remove_dir_all(folder.path("index")).unwrap();
    copy("copy", "index");
    folder.run(&["run", "pipeline.yaml"]).exits(3).says("was put back from an older copy");
}

/// A sink that is new in a pipeline that has run begins where that is, and says what it lacks.
#[test]
fn a_new_index_says_what_it_lacks() {
    let folder = Folder::new();
    folder.pipeline("");
    folder.write("a.ndjson", changes(100));
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    pipeline(&folder, EMBEDDED, "");
    folder.write("b.ndjson", change(1_000, "insert", "nuevo"));
    let events = changes(100).lines().count();
    folder.run(&["run", "pipeline.yaml"]).exits(0).says(&format!(
        "the index begins here: it lacks the {events} events that were done before"
    ));
    assert_eq!(texts(&folder).into_keys().collect::<Vec<_>>(), [id(1_000)]);
    folder.run(&["run", "pipeline.yaml"]).exits(0);
}

/// Epochs of which the index gets nothing are epochs all the same: it is not behind them.
#[test]
fn epochs_without_a_row_are_not_missed() {
    let folder = Folder::new();
    let filter = "transforms:\n  - sql: SELECT * FROM changes WHERE role <> 'system'\n\
                  commit: { size: 64KiB, min_size: 1KiB }\n";
    pipeline(&folder, EMBEDDED, filter);
    let inserts = |numbers: std::ops::Range<usize>, role: &str| -> String {
        numbers.map(|number| change_of(number, "insert", "uno", role)).collect()
    };
    // A mebibyte of the file is an epoch: the first has rows, some have none, the last has rows.
    let text = inserts(0..100, "user") + &inserts(100..30_000, "system");
    folder.write("a.ndjson", text + &inserts(30_000..30_100, "user"));
    let mut life = Watched::start(command(&folder), Some((Step::Flush, 4, Signal::KILL)));
    life.interrupt(Moment::At { step: Step::Flush, count: 4 }, Signal::KILL);
    assert!(!life.end(Duration::from_secs(60)).success());
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    assert_eq!(texts(&folder).len(), 200);
}

#[test]
fn a_folder_that_is_no_index_is_left_alone() {
    let folder = Folder::new();
    pipeline(&folder, EMBEDDED, "");
    folder.write("a.ndjson", change(1, "insert", "uno"));
    folder.write("index/photo.jpg", "not ours");
    let path = folder.path("index");
    let shown = path.display();
    folder.run(&["run", "pipeline.yaml"]).exits(2).says(&format!(
        "the folder {shown} is neither empty nor an index: name another one by `path`"
    ));
    std::fs::remove_dir_all(&path).unwrap();
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    // Gone, and with it every document.
    std::fs::remove_dir_all(&path).unwrap();
    folder.run(&["run", "pipeline.yaml"]).exits(3).says("is gone, although this pipeline");
}
