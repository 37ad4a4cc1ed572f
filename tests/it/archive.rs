//! Archives as a user has them: patterns, compression, damaged files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acequia::component::checkpoint::Document;
use acequia::component::source::RecordPositions;
use acequia::component::{
    CheckpointStore, Context, Expected, Key, PartitionStart, RawBatch, RawContent, Record,
    Revision, Source, SourceEvent, Versioning,
};
use acequia::error::{ErrorKind, Result};
use acequia::event::Position;
use acequia::sources::archive::{ArchiveConfig, ArchiveSource};
use acequia::testing::{MemoryStore, context};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// An archive in a folder of its own, and the store that remembers it.
struct Archive {
    folder: TempDir,
    store: MemoryStore,
    context: Context,
}

/// A record found: file, position, text.
pub(crate) type Found = (String, u64, String);

impl Archive {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { folder, store: MemoryStore::new("store"), context: context(1) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn config(&self, settings: serde_json::Value) -> ArchiveConfig {
        let mut config = json!({ "path": "*", "format": "plain" });
        for (name, setting) in settings.as_object().unwrap() {
            config[name] = setting.clone();
        }
        let pattern = self.path(config["path"].as_str().unwrap());
        config["path"] = json!(pattern);
        serde_json::from_value(config).unwrap()
    }

    async fn open(&self, settings: serde_json::Value) -> Result<ArchiveSource> {
        ArchiveSource::open(&self.config(settings), "messages", &self.store, &self.context).await
    }

    /// Store the record that a lane leaves: read up to `next`.
    async fn record(&self, start: &PartitionStart, next: u64, closed: bool) {
        let record = Record {
            pipeline: "messages".into(),
            partition: start.partition.clone(),
            domain: "domain".into(),
            store: "store".into(),
            token: 1,
            control: 1,
            owner: None,
            source: start.identity.clone(),
            start: start.start.clone(),
            next: Position::Offset(next),
            ordinal_next: 0,
            done: 1,
            pending: None,
            gaps: Vec::new(),
            closed,
            version_base: 0,
            label: None,
        };
        let new = Revision { seq: 1, nonce: "nonce".into() };
        let body = Document::new(new.clone(), record).encode().unwrap();
        let key = Key::Record(start.partition.clone());
        self.store.swap(&key, &Expected::Absent, &new, body).await.unwrap();
    }
}

/// Everything that `source` hands out now.
pub(crate) async fn assigned(source: &ArchiveSource) -> Vec<PartitionStart> {
    match source.next_event().await.unwrap() {
        SourceEvent::Assigned(starts) => starts,
        SourceEvent::Finished => Vec::new(),
        other => panic!("an archive only assigns: {other:?}"),
    }
}

/// Read a partition from `from`; what was found, where it ended, and the failure if one came.
async fn read(
    source: &ArchiveSource,
    start: &PartitionStart,
    from: u64,
) -> (Vec<Found>, u64, Option<acequia::Error>) {
    let (mut found, mut end) = (Vec::new(), from);
    let mut reader = match source.open(&start.partition, &Position::Offset(from)).await {
        Ok(reader) => reader,
        Err(error) => return (found, end, Some(error)),
    };
    loop {
        match reader.next().await {
            Ok(Some(batch)) => {
                assert_eq!(batch.range.from, Position::Offset(end), "batches chain");
                end = batch.range.to.offset().unwrap();
                found.extend(records(&start.label, &batch));
            }
            Ok(None) => return (found, end, None),
            Err(error) => {
                assert!(reader.next().await.is_err(), "a failure is never taken for the end");
                return (found, end, Some(error));
            }
        }
    }
}

pub(crate) fn records(label: &str, batch: &RawBatch) -> Vec<Found> {
    match &batch.content {
        RawContent::Rows { rows, first } => (0..rows.num_rows() as u64)
            .map(|row| (label.to_owned(), first + row, String::new()))
            .collect(),
        RawContent::Records(raw) => {
            let RecordPositions::Bytes { start } = raw.positions else { panic!() };
            let text = |place: u32, length: u32| {
                let (place, length) = (place as usize, length as usize);
                String::from_utf8_lossy(&raw.data[place..place + length]).into_owned()
            };
            raw.spans
                .iter()
                .map(|(place, length)| {
                    (label.to_owned(), start + u64::from(*place), text(*place, *length))
                })
                .collect()
        }
    }
}

/// Read the whole archive as a run does.
pub(crate) async fn read_all(source: &ArchiveSource) -> Vec<Found> {
    let mut found = Vec::new();
    loop {
        let starts = assigned(source).await;
        if starts.is_empty() {
            return found;
        }
        for start in starts {
            let (records, _, error) = read(source, &start, start.start.offset().unwrap()).await;
            assert!(error.is_none(), "{error:?}");
            found.extend(records);
            assert!(source.ended(&start.partition).await.unwrap().is_empty());
        }
    }
}

pub(crate) fn lines(count: usize) -> String {
    (0..count)
        .map(|number| format!("{{\"number\":{number},\"pad\":\"{}\"}}\n", "x".repeat(number % 90)))
        .collect()
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn texts(found: &[Found]) -> String {
    found.iter().map(|(_, _, text)| format!("{text}\n")).collect()
}

#[tokio::test]
async fn files_are_read_in_the_order_of_their_numbers() {
    let archive = Archive::new();
    archive.write("b.ndjson", "{2}\n");
    archive.write("a.ndjson.gz", gzip(b"{1}\r\n\r\n{1b}"));
    archive.write("c.ndjson.zst", zstd::encode_all(&b"\xEF\xBB\xBF{3}\n"[..], 1).unwrap());
    archive.write("d.ndjson", "");
    archive.write("_e.ndjson", "{5}\n");
    let source = archive.open(json!({ "lanes": 2 })).await.unwrap();
    let found: Vec<String> = read_all(&source)
        .await
        .iter()
        .map(|(file, at, text)| format!("{file} {at} {text}"))
        .collect();
    assert_eq!(
        found,
        ["a.ndjson.gz 0 {1}", "a.ndjson.gz 7 {1b}", "b.ndjson 0 {2}", "c.ndjson.zst 3 {3}"]
    );
    let progress = source.progress().unwrap();
    assert_eq!(progress.read_bytes, progress.total_bytes);
    assert_eq!(source.counts().files, 4);
}

#[tokio::test]
async fn at_most_so_many_lanes_are_open_and_an_end_lets_the_next_in() {
    let archive = Archive::new();
    archive.write("a.ndjson", lines(100));
    let source = archive.open(json!({ "range_size": "1000B", "lanes": 3 })).await.unwrap();
    let first = assigned(&source).await;
    assert_eq!(first.len(), 3);
    let size = archive.path("a.ndjson").metadata().unwrap().len();
    let parts = size.div_ceil(1000).next_multiple_of(3);
    let end = size / parts;
    assert_eq!(first[0].partition.as_str(), format!("1:a.ndjson@0-{end}"));
    assert_eq!((&*first[0].label, &*first[0].stream), ("a.ndjson", "messages"));
    assert_eq!(first[1].versioning, Versioning::Position { base: 1 << 36 });
    assert_eq!(first[1].start, Position::Offset(end));
    let waits = tokio::time::timeout(std::time::Duration::from_millis(50), source.next_event());
    assert!(waits.await.is_err(), "nothing more while three are open");
    source.ended(&first[1].partition).await.unwrap();
    assert_eq!(assigned(&source).await.len(), 1);
}

#[tokio::test]
async fn ranges_and_chunks_find_each_line_once() {
    let archive = Archive::new();
    // Several chunks of 1 MiB, and lines that lie across them.
    let content = lines(60_000);
    archive.write("a.ndjson", &content);
    for range_size in ["256MiB", "999999B", "123457B"] {
        let archive = Archive {
            store: MemoryStore::new("store"),
            context: context(2),
            folder: TempDir::new().unwrap(),
        };
        archive.write("a.ndjson", &content);
        let source = archive.open(json!({ "range_size": range_size, "lanes": 64 })).await.unwrap();
        let found = read_all(&source).await;
        assert!(texts(&found) == content, "split by {range_size}");
        let is_placed =
            |(_, at, text): &Found| content[usize::try_from(*at).unwrap()..].starts_with(text);
        assert!(found.iter().all(is_placed), "positions are bytes of the file");
    }
}

#[tokio::test]
async fn from_any_batch_on_the_rest_is_the_rest() {
    let content = lines(40_000);
    let archive = Archive::new();
    archive.write("plain.ndjson", &content);
    let halves = content.as_bytes().split_at(content.len() / 3);
    archive.write("members.gz", [gzip(halves.0), gzip(halves.1)].concat());
    let frame = |part: &[u8]| zstd::encode_all(part, 1).unwrap();
    archive.write("frames.zst", [frame(halves.0), frame(halves.1)].concat());
    let source = archive.open(json!({})).await.unwrap();
    for start in assigned(&source).await {
        let (all, end, _) = read(&source, &start, 0).await;
        assert!(texts(&all) == content, "{}", start.label);
        assert_eq!(end, content.len() as u64);
        let mut reader = source.open(&start.partition, &Position::Offset(0)).await.unwrap();
        let mut batches = 0;
        while let Some(batch) = reader.next().await.unwrap() {
            let from = batch.range.to.offset().unwrap();
            let (rest, _, error) = read(&source, &start, from).await;
            assert!(error.is_none());
            let begin = all.len() - rest.len();
            assert!(rest == all[begin..], "{} from {from}", start.label);
            assert!(begin == 0 || all[begin - 1].1 < from);
            batches += 1;
        }
        assert!(batches > 1, "{} is read in one piece, which proves nothing", start.label);
    }
}

#[tokio::test]
async fn a_damaged_file_gives_what_precedes_the_damage_and_then_halts() {
    let content = lines(60_000);
    let archive = Archive::new();
    let gzipped = gzip(content.as_bytes());
    archive.write("cut.gz", &gzipped[..gzipped.len() / 2]);
    let zstd = zstd::encode_all(content.as_bytes(), 1).unwrap();
    archive.write("cut.zst", &zstd[..zstd.len() / 2]);
    archive.write("stub.zst", &zstd[..3]);
    let mut broken = zstd.clone();
    let middle = broken.len() / 2;
    broken[middle..middle + 64].fill(0xFF);
    archive.write("broken.zst", broken);
    let source = archive.open(json!({})).await.unwrap();
    for start in assigned(&source).await {
        let (found, end, error) = read(&source, &start, 0).await;
        let error = error.unwrap_or_else(|| panic!("{} is damaged", start.label));
        assert_eq!(error.kind(), ErrorKind::Halted, "{error}");
        assert!(error.to_string().contains(&*start.label), "{error}");
        assert!(content.starts_with(&texts(&found)), "{}", start.label);
        assert_eq!(end, texts(&found).len() as u64, "the range ends with the last whole line");
        assert_eq!(end > 0, &*start.label != "stub.zst", "{}", start.label);
    }
}

/// The line passes through; what is held is a chunk or two.
#[tokio::test]
async fn a_line_of_a_hundred_megabytes_is_never_held() {
    const LENGTH: u64 = 100_000_000;
    let archive = Archive::new();
    let mut file = File::create(archive.path("a.ndjson")).unwrap();
    file.write_all(b"{1}\n").unwrap();
    let mut hash = Sha256::new();
    for _ in 0..LENGTH / 100_000 {
        let part = [b'z'; 100_000];
        hash.update(part);
        file.write_all(&part).unwrap();
    }
    file.write_all(b"\r\n{3}\n").unwrap();
    drop(file);
    let source = archive.open(json!({ "range_size": "10MiB", "lanes": 1 })).await.unwrap();
    let start = assigned(&source).await.remove(0);
    let mut reader = source.open(&start.partition, &start.start).await.unwrap();
    let (mut found, mut long, mut most) = (Vec::new(), Vec::new(), 0);
    while let Some(batch) = reader.next().await.unwrap() {
        most = most.max(archive.context.memory.used());
        found.extend(records("a", &batch));
        let RawContent::Records(raw) = batch.content else { panic!() };
        long.extend(raw.oversized);
    }
    assert_eq!(texts(&found), "{1}\n", "the last line begins in another range");
    let [line] = &long[..] else { panic!("one long line, not {}", long.len()) };
    assert_eq!((line.position, line.raw.length, line.raw.bytes.len()), (4, LENGTH, 64 << 10));
    assert_eq!(line.raw.sha256, Some(format!("{:x}", hash.finalize())));
    assert!(most <= 3 << 20, "{most} bytes were held");
    source.ended(&start.partition).await.unwrap();
    assert_eq!(texts(&read_all(&source).await), "{3}\n", "and the others find only the rest");
}

#[tokio::test]
async fn what_earlier_runs_finished_is_not_read_again() {
    let archive = Archive::new();
    archive.write("a.ndjson", "{1}\n");
    archive.write("b.ndjson", "{2}\n{3}\n");
    let source = archive.open(json!({})).await.unwrap();
    assert!(!source.counts().is_finished());
    let starts = assigned(&source).await;
    archive.record(&starts[0], 4, true).await;
    fs::remove_file(archive.path("a.ndjson")).unwrap();

    let source = archive.open(json!({})).await.unwrap();
    assert_eq!((source.counts().partitions, source.counts().finished), (2, 1));
    let starts = assigned(&source).await;
    assert_eq!(starts.len(), 1);
    assert_eq!(starts[0].partition.as_str(), "2:b.ndjson");
    assert_eq!(source.progress().unwrap().read_bytes, 4);
    archive.record(&starts[0], 8, true).await;

    let source = archive.open(json!({})).await.unwrap();
    assert!(source.counts().is_finished(), "nothing to do");
    assert!(assigned(&source).await.is_empty());
}

#[tokio::test]
async fn a_file_that_changes_halts_before_anything_is_read() {
    let archive = Archive::new();
    archive.write("a.ndjson", "{1}\n");
    archive.write("b.ndjson", "{2}\n");
    let source = archive.open(json!({})).await.unwrap();
    let starts = assigned(&source).await;
    // Even one that is read to its end: what was appended would never be read.
    archive.record(&starts[0], 4, true).await;
    archive.write("a.ndjson", "{1}\n{2}\n");
    let error = archive.open(json!({})).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Halted);
    assert!(error.to_string().contains("`a.ndjson` (number 1) grew from 4 to 8 bytes"), "{error}");

    fs::remove_file(archive.path("b.ndjson")).unwrap();
    let (_, _, error) = read(&source, &starts[1], 0).await;
    assert_eq!(error.unwrap().kind(), ErrorKind::Halted, "gone since it was listed");
    archive.write("b.ndjson", "");
    let (_, _, error) = read(&source, &starts[1], 0).await;
    assert!(error.unwrap().to_string().contains("shrank from 4 to 0 bytes"));
}

#[tokio::test]
async fn mistakes_are_diagnostics() {
    let archive = Archive::new();
    let refused = async |settings| {
        let error = archive.open(settings).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        error.to_string()
    };
    assert!(refused(json!({ "path": "*.json" })).await.contains("no file matches"));
    archive.write("a.ndjson.bz2", b"BZh91AY&SY");
    assert!(refused(json!({})).await.contains("bzip2"));
    fs::remove_file(archive.path("a.ndjson.bz2")).unwrap();
    // A hole, so that no disk is needed.
    File::create(archive.path("large")).unwrap().set_len(64 << 30).unwrap();
    assert!(refused(json!({})).await.contains("below 64 GiB"));
    fs::remove_file(archive.path("large")).unwrap();
    write_parquet(&archive.path("a.parquet"), 10, 10).unwrap();
    assert!(refused(json!({ "format": "dynamodb" })).await.contains("`format: plain`"));
}

#[tokio::test]
async fn rows_of_parquet_stand_at_their_number() {
    let archive = Archive::new();
    write_parquet(&archive.path("a.parquet"), 10_000, 1_000).unwrap();
    let source = archive.open(json!({ "range_size": "20KiB" })).await.unwrap();
    assert!(source.counts().partitions > 1, "row groups are shared out");
    let found = read_all(&source).await;
    let positions: Vec<u64> = found.iter().map(|(_, at, _)| *at).collect();
    assert_eq!(positions, (0..10_000).collect::<Vec<_>>());
    assert_eq!(source.progress().unwrap().read_bytes, source.progress().unwrap().total_bytes);

    let source = archive.open(json!({})).await.unwrap();
    let start = assigned(&source).await.remove(0);
    let (found, end, _) = read(&source, &start, 700).await;
    assert_eq!(found.first().unwrap().1, 700, "resumes inside a row group");
    assert_eq!(found.len() as u64, end - 700);
}

fn write_parquet(path: &Path, rows: i64, group: usize) -> io::Result<()> {
    let number: ArrayRef = Arc::new(Int64Array::from_iter_values(
        (0..rows).map(|row| row.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64)),
    ));
    let batch = RecordBatch::try_from_iter([("number", number)]).unwrap();
    let settings = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let mut writer =
        ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(settings)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    Ok(())
}
