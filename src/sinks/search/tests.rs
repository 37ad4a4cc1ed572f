//! The sink as lanes use it.

use std::collections::BTreeMap;

use tantivy::schema::Value as _;
use tantivy::{DocAddress, TantivyDocument};

use super::store::committed_payload;
use super::*;
use crate::component::Confirmation;
use crate::event::filter::SinkRows;
use crate::event::{PartitionId, Position};
use crate::sinks::documents::definition::tests::contract;
use crate::testing::{changes, context};

fn sink(folder: &Path, context: &Context) -> SearchSink {
    let config = serde_json::json!({ "path": folder, "memory": "16MiB" });
    let config: SearchConfig = serde_json::from_value(config).unwrap();
    let ownership = Ownership { pipeline: "p".into(), domain: "d".into(), store: "s".into() };
    let schema = changes::<&str>(&[]).rows.schema();
    SearchSink::new("documents", &config, &schema, &contract(), &ownership, context)
}

/// A sink whose index is open.
async fn opened(folder: &Path, seed: u64, written_before: bool) -> SearchSink {
    let sink = sink(folder, &context(seed));
    sink.prepare(written_before).await.unwrap();
    sink
}

fn epoch(partition: &str, epoch: u64) -> EpochId {
    EpochId {
        pipeline: "p".into(),
        domain: "d".into(),
        partition: PartitionId::new(partition),
        token: 1,
        epoch,
        from: Position::Offset(epoch),
        control: 1,
        tombstones: false,
        confirmation: Confirmation::now(),
    }
}

/// Every document that is committed, tombstones included, by its id: its version, and itself.
fn documents(folder: &Path, sink: &SearchSink) -> BTreeMap<String, (i64, String)> {
    let fields = &sink.shared.fields;
    let index = open(folder, fields).unwrap();
    let searcher = index.reader().unwrap().searcher();
    let mut found = BTreeMap::new();
    for (number, part) in searcher.segment_readers().iter().enumerate() {
        let versions = part.fast_fields().i64(fields::VERSION).unwrap();
        for doc in part.doc_ids_alive() {
            let stored: TantivyDocument =
                searcher.doc(DocAddress::new(number as u32, doc)).unwrap();
            let id = stored.get_first(fields.id).unwrap().as_str().unwrap().to_owned();
            let source = stored.get_first(fields.source).and_then(|source| source.as_bytes());
            let source =
                source.map_or("gone".to_owned(), |it| String::from_utf8(it.to_vec()).unwrap());
            let before = found.insert(id.clone(), (versions.first(doc).unwrap(), source));
            assert!(before.is_none(), "{id} is there twice");
        }
    }
    found
}

async fn begin(
    sink: &SearchSink,
    id: &EpochId,
    rows: &[(&str, &str, i64)],
) -> Box<dyn EpochWriter> {
    let mut writer = sink.begin(id).await.unwrap();
    let rows = SinkRows { batch: changes(rows), withheld: None };
    assert!(writer.write(rows).await.unwrap().is_empty());
    writer.reach(&Position::Offset(id.epoch + 1));
    writer
}

async fn write(sink: &SearchSink, id: &EpochId, rows: &[(&str, &str, i64)]) {
    begin(sink, id, rows).await.flush().await.unwrap();
}

fn shown(folder: &Path, sink: &SearchSink) -> Vec<String> {
    let one = |(id, (version, source))| format!("{id} {version} {source}");
    documents(folder, sink).into_iter().map(one).collect()
}

#[tokio::test]
async fn the_highest_version_of_a_key_stays_whatever_comes_when() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let sink_one = opened(&path, 1, false).await;
    write(
        &sink_one,
        &epoch("a", 1),
        &[
            ("insert", "x", 1),
            ("update", "x", 3),
            ("update", "x", 2),
            ("insert", "y", 4),
            ("delete", "z", 9),
        ],
    )
    .await;
    let first = ["x 3 {\"text\":\"t1\"}", "y 4 {\"text\":\"t3\"}", "z 9 gone"];
    assert_eq!(shown(&path, &sink_one), first);
    // The same again, late ones, and a deleted key that must not rise.
    let again = [("insert", "x", 1), ("update", "x", 3), ("upsert", "z", 8), ("delete", "y", 4)];
    write(&sink_one, &epoch("a", 2), &again).await;
    assert_eq!(shown(&path, &sink_one), first);
    drop(sink_one);
    // By another process, later.
    let sink_two = opened(&path, 2, true).await;
    let more = [("delete", "x", 5), ("upsert", "z", 10), ("upsert", "y", 3), ("expire", "y", 11)];
    write(&sink_two, &epoch("b", 1), &more).await;
    assert_eq!(
        shown(&path, &sink_two),
        ["x 5 gone", "y 4 {\"text\":\"t3\"}", "z 10 {\"text\":\"t1\"}"]
    );
}

#[tokio::test]
async fn one_commit_says_how_far_every_lane_is_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let sink = opened(&path, 1, false).await;
    let (one, other) = (epoch("a", 1), epoch("b", 1));
    let a = begin(&sink, &one, &[("insert", "x", 1)]).await;
    let b = begin(&sink, &other, &[("insert", "y", 1)]).await;
    let (a, b) = tokio::join!(a.flush(), b.flush());
    a.unwrap();
    b.unwrap();
    let index = open(&path, &sink.shared.fields).unwrap();
    let payload = committed_payload(&index, &sink.shared.settings).unwrap().unwrap();
    let reached: Vec<_> = payload.partitions.into_iter().collect();
    let wanted = [(one, 1), (other, 1)].map(|(id, epoch)| {
        (id.partition, Reached { position: Position::Offset(epoch + 1), epoch })
    });
    assert_eq!(reached, wanted);
    let opstamps = || index.load_metas().unwrap().opstamp;
    let before = opstamps();
    // An epoch without rows moves its partition all the same.
    let mut empty = sink.begin(&epoch("a", 2)).await.unwrap();
    empty.reach(&Position::Offset(50));
    empty.flush().await.unwrap();
    assert!(opstamps() > before);
    let payload = committed_payload(&index, &sink.shared.settings).unwrap().unwrap();
    let reached = payload.partitions.get(&PartitionId::new("a")).unwrap();
    assert_eq!((reached.position.clone(), reached.epoch), (Position::Offset(50), 2));
}

#[tokio::test]
async fn an_index_that_is_behind_its_checkpoint_halts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let sink = opened(&path, 1, false).await;
    for number in 1..=3 {
        write(&sink, &epoch("a", number), &[("insert", "x", 1)]).await;
    }
    // The same epoch once more after a crash, and the next one.
    sink.begin(&epoch("a", 3)).await.map(drop).unwrap();
    sink.begin(&epoch("a", 4)).await.map(drop).unwrap();
    let error = sink.begin(&epoch("a", 5)).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Halted);
    let says = "has a up to 4 (epoch 3), the checkpoint up to 5 (epoch 4)";
    assert!(error.to_string().contains(says), "{error}");
    // One that it never heard of, though its record is further.
    sink.begin(&epoch("b", 1)).await.map(drop).unwrap();
    let error = sink.begin(&epoch("b", 5)).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("has b not at all"), "{error}");
}

/// A partition that is read to its end begins no epoch: its record is looked at all the same.
#[tokio::test]
async fn records_are_compared_with_the_index_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let record = |partition: &str, done: u64| -> Record {
        serde_json::from_value(serde_json::json!({
            "pipeline": "p", "partition": partition, "domain": "d", "store": "s", "token": 1,
            "control": 1, "owner": null, "source": null, "start": 0, "next": done, "ordinal_next": 0,
            "done": done, "pending": null, "gaps": [], "closed": true,
        }))
        .unwrap()
    };
    // A sink that is new in an old pipeline begins where the records are.
    let sink_one = opened(&path, 1, false).await;
    sink_one.compare(&[record("a", 4), record("never", 0)]).await.unwrap();
    sink_one.begin(&epoch("a", 5)).await.map(drop).unwrap();
    write(&sink_one, &epoch("b", 1), &[("insert", "x", 1)]).await;
    drop(sink_one);
    let sink_two = opened(&path, 2, true).await;
    sink_two.compare(&[record("a", 4), record("b", 1)]).await.unwrap();
    for behind in [record("a", 5), record("b", 2), record("c", 1)] {
        let error = sink_two.compare(&[record("a", 4), behind]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Halted, "{error}");
    }
}

/// What a process that died within a commit leaves is not in the way of the same commit.
#[tokio::test]
async fn what_a_commit_left_behind_is_tidied_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let sink_one = opened(&path, 1, false).await;
    write(&sink_one, &epoch("a", 1), &[("insert", "x", 1), ("insert", "y", 2)]).await;
    let copy = |from: &Path, to: &Path| {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    let before = folder.path().join("before");
    copy(&path, &before);
    drop(sink_one);
    // The second commit deletes a document of the first: all of it is there, but for its last step.
    // It is made by a process of its own, as the one that dies is, so that its files have the names
    // that the next one gives.
    let died = opened(&path, 3, true).await;
    write(&died, &epoch("a", 2), &[("update", "x", 3)]).await;
    drop(died);
    std::fs::copy(before.join("meta.json"), path.join("meta.json")).unwrap();
    let sink_two = opened(&path, 2, true).await;
    write(&sink_two, &epoch("a", 2), &[("update", "x", 3)]).await;
    assert_eq!(shown(&path, &sink_two), ["x 3 {\"text\":\"t0\"}", "y 2 {\"text\":\"t1\"}"]);
}

/// What the engine loses when it fails belongs to every lane that has not committed.
#[tokio::test]
async fn a_failure_of_the_engine_is_told_to_every_lane_whose_rows_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let sink = opened(&path, 1, false).await;
    let (one, other) = (epoch("a", 1), epoch("b", 1));
    let a = begin(&sink, &one, &[("insert", "x", 1)]).await;
    let b = begin(&sink, &other, &[("insert", "y", 1)]).await;
    sink.shared
        .with_store(|store| {
            store.lose();
            Ok(())
        })
        .await
        .unwrap();
    for writer in [a, b] {
        let error = writer.flush().await.map(drop).unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("written again"), "{error}");
    }
    write(&sink, &one, &[("insert", "x", 1)]).await;
    assert_eq!(shown(&path, &sink), ["x 1 {\"text\":\"t0\"}"]);
    write(&sink, &other, &[("insert", "y", 1)]).await;
    assert_eq!(shown(&path, &sink).len(), 2);
}

#[tokio::test]
async fn a_folder_has_one_owner_and_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let first = opened(&path, 1, false).await;
    let error = sink(&path, &context(2)).prepare(true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("another process writes the index"), "{error}");
    drop(first);
    sink(&path, &context(3)).prepare(true).await.unwrap();
    std::fs::remove_file(path.join("meta.json")).unwrap();
    let error = sink(&path, &context(3)).prepare(true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Halted);
    std::fs::remove_file(path.join("_acequia.json")).unwrap();
    let error = sink(&path, &context(3)).prepare(false).await.unwrap_err();
    assert!(error.to_string().contains("neither empty nor an index"), "{error}");
}
