//! Archives in a bucket, read by the library: the same records as from a disk, whatever the network
//! does, and never a byte of another object.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acequia::component::{Context, PartitionReader, PartitionStart, RawContent, Source};
use acequia::error::{Error, ErrorKind, Result};
use acequia::event::Position;
use acequia::sources::archive::{ArchiveConfig, ArchiveSource};
use acequia::testing::fault_proxy::{Fault, FaultProxy};
use acequia::testing::{MemoryStore, context};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use super::place::{Bucket, aws};
use crate::archive::{Found, assigned, gzip, lines, read_all, records, texts};
use crate::services;
use crate::services::moto::Moto;

/// An archive in a bucket, and the store that remembers it.
struct Archive {
    bucket: Bucket,
    store: MemoryStore,
}

impl Archive {
    fn new(moto: &Moto, name: &str) -> Self {
        Self { bucket: Bucket::new(moto, name), store: MemoryStore::new("store") }
    }

    async fn open(&self, settings: Value) -> Result<ArchiveSource> {
        self.open_at(settings, &self.bucket.aws).await
    }

    /// Open it through another client.
    async fn open_at(&self, settings: Value, aws: &acequia::aws::Aws) -> Result<ArchiveSource> {
        self.open_in("events/**/*", settings, &super::place::context(aws)).await
    }

    /// Open what `pattern` names in it, in a context of the caller's.
    async fn open_in(
        &self,
        pattern: &str,
        settings: Value,
        context: &Context,
    ) -> Result<ArchiveSource> {
        let config = config(&self.bucket.url(pattern), settings);
        ArchiveSource::open(&config, "messages", &self.store, context).await
    }
}

fn config(pattern: &str, settings: Value) -> ArchiveConfig {
    let mut config = json!({ "path": pattern, "format": "plain" });
    for (name, setting) in settings.as_object().unwrap() {
        config[name] = setting.clone();
    }
    serde_json::from_value(config).unwrap()
}

fn proxy(moto: &Moto, seed: u64) -> FaultProxy {
    FaultProxy::start(SocketAddr::from(([127, 0, 0, 1], moto.port())), seed, 0).unwrap()
}

async fn open(source: &ArchiveSource, start: &PartitionStart) -> Box<dyn PartitionReader> {
    source.open(&start.partition, &start.start).await.unwrap()
}

/// Read to the end as a lane does, which waits where a later try may succeed.
async fn read_patiently(
    source: &ArchiveSource,
    start: &PartitionStart,
    from: u64,
) -> (Vec<Found>, Option<Error>) {
    let mut reader = source.open(&start.partition, &Position::Offset(from)).await.unwrap();
    let mut found = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(batch)) => found.extend(records(&start.label, &batch)),
            Ok(None) => return (found, None),
            Err(error) if error.is_retryable() => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return (found, Some(error)),
        }
    }
}

/// Columns of which one is hard to compress, `group` rows in a row group.
fn parquet(rows: i64, group: usize) -> Vec<u8> {
    let hash = |row: i64| row.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64);
    let number: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let noise: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| {
        let (a, b, c) = (hash(row), hash(row + 1) ^ hash(hash(row)), hash(hash(row) ^ 77));
        format!("{a:016x}{b:016x}{c:016x}")
    })));
    let same: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|_| "same")));
    let columns = [("number", number), ("noise", noise), ("same", same)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let settings = WriterProperties::builder().set_max_row_group_row_count(Some(group)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(settings)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// Every partition's rows, in the order of the file: the numbers and the noise.
async fn rows(source: &ArchiveSource, from: u64) -> Vec<(u64, i64, String)> {
    let mut found = Vec::new();
    loop {
        let starts = assigned(source).await;
        if starts.is_empty() {
            found.sort_unstable();
            return found;
        }
        for start in starts {
            let from = Position::Offset(start.start.offset().unwrap().max(from));
            let mut reader = source.open(&start.partition, &from).await.unwrap();
            loop {
                let batch = match reader.next().await {
                    Err(error) if error.is_retryable() => continue,
                    batch => batch.unwrap(),
                };
                let Some(batch) = batch else { break };
                let RawContent::Rows { rows, first } = batch.content else { panic!() };
                let number = rows.column_by_name("number").unwrap().as_any();
                let noise = rows.column_by_name("noise").unwrap().as_any();
                let number = number.downcast_ref::<Int64Array>().unwrap();
                let noise = noise.downcast_ref::<StringArray>().unwrap();
                found.extend((0..rows.num_rows()).map(|row| {
                    (first + row as u64, number.value(row), noise.value(row).to_owned())
                }));
            }
            source.ended(&start.partition).await.unwrap();
        }
    }
}

#[test]
fn objects_are_read_as_files_are() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    let archive = Archive::new(moto, "objects");
    // Several chunks of 2 MiB, and lines that lie across them.
    let content = lines(130_000);
    let (one, two) = content.as_bytes().split_at(content.len() / 3);
    let frame = |part: &[u8]| zstd::encode_all(part, 1).unwrap();
    let objects: Vec<(&str, Vec<u8>)> = vec![
        ("plain.ndjson", content.clone().into()),
        ("day=1/members.gz", [gzip(one), gzip(two)].concat()),
        ("day=1/frames.zst", [frame(one), frame(two)].concat()),
        ("day=2/ñandú 100%+x=y &'.ndjson", b"{1}\n{2}".to_vec()),
        ("day=2/empty.ndjson", Vec::new()),
        ("day=2/marked.ndjson", b"\xEF\xBB\xBF{3}\r\n".to_vec()),
        ("day=2/_left.ndjson", b"{out}\n".to_vec()),
        ("_left/out.ndjson", b"{out}\n".to_vec()),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (name, body) in &objects {
        let path = folder.path().join("events").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, body).unwrap();
        archive.bucket.put(&format!("events/{name}"), body);
    }
    archive.bucket.put("events/", "");
    archive.bucket.put("events/day=3/", "");
    archive.bucket.put("elsewhere/a.ndjson", "{out}\n");
    archive.bucket.wait(async {
        for range_size in ["1GiB", "1234567B"] {
            let settings = json!({ "range_size": range_size, "lanes": 5 });
            let pattern = folder.path().join("events/**/*");
            let local = config(pattern.to_str().unwrap(), settings.clone());
            let store = MemoryStore::new("local");
            let local = ArchiveSource::open(&local, "messages", &store, &context(1)).await.unwrap();
            let store = MemoryStore::new("remote");
            let remote = config(&archive.bucket.url("events/**/*"), settings);
            let context = super::place::context(&archive.bucket.aws);
            let remote = ArchiveSource::open(&remote, "messages", &store, &context).await.unwrap();
            assert_eq!(remote.counts(), local.counts());
            let expected = read_all(&local).await;
            assert!(expected.len() > 390_000);
            assert!(read_all(&remote).await == expected, "ranges of {range_size}");
            let progress = remote.progress().unwrap();
            assert_eq!(progress.read_bytes, progress.total_bytes);
        }
    });
}

#[test]
fn from_any_place_on_the_rest_is_the_rest() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    let archive = Archive::new(moto, "resumed");
    let content = lines(90_000);
    archive.bucket.put("events/plain.ndjson", &content);
    archive.bucket.put("events/packed.zst", zstd::encode_all(content.as_bytes(), 1).unwrap());
    archive.bucket.wait(async {
        let source = archive.open(json!({})).await.unwrap();
        for start in assigned(&source).await {
            let (all, _) = read_patiently(&source, &start, 0).await;
            assert!(texts(&all) == content, "{}", start.label);
            let mut reader = open(&source, &start).await;
            let mut batches = 0;
            while let Some(batch) = reader.next().await.unwrap() {
                let from = batch.range.to.offset().unwrap();
                let (rest, _) = read_patiently(&source, &start, from).await;
                assert!(rest == all[all.len() - rest.len()..], "{} from {from}", start.label);
                assert_eq!(rest.is_empty(), from == content.len() as u64);
                batches += 1;
            }
            assert!(batches > 2, "{} is read in one piece", start.label);
        }
    });
}

/// Small row groups come several at once, large ones column by column.
#[test]
fn rows_of_parquet_come_by_ranges() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    for (name, group, range_size) in
        [("small", 5_000, "3MiB"), ("large", 150_000, "1GiB"), ("whole", 1_000_000, "1GiB")]
    {
        let archive = Archive::new(moto, name);
        let body = parquet(300_000, group);
        archive.bucket.put("events/a.parquet", &body);
        let proxy = proxy(moto, 5);
        proxy.spoil(100);
        archive.bucket.wait(async {
            let through = aws(&proxy.endpoint());
            let settings = json!({ "range_size": range_size });
            let source = archive.open_at(settings.clone(), &through).await.unwrap();
            assert_eq!(source.counts().partitions > 1, name == "small", "{name}");
            let found = rows(&source, 0).await;
            let numbers = found.iter().map(|(at, number, _)| (*at, *number));
            assert!(numbers.eq((0..300_000).map(|row| (row as u64, row))), "{name}");
            let before = found.iter().position(|(at, _, _)| *at == 123_456).unwrap();
            let source = archive.open(settings).await.unwrap();
            let rest = rows(&source, 123_456).await;
            let unread = found.len() - before;
            assert!(rest[rest.len() - unread..] == found[before..], "{name}: resumed in a group");
        });
    }
}

#[test]
fn every_page_of_a_listing_is_read() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    let archive = Archive::new(moto, "pages");
    for number in 0..230 {
        archive
            .bucket
            .put(&format!("events/{:02}/{number}.ndjson", number % 20), format!("{number}\n"));
    }
    archive.bucket.wait(async {
        let source = archive.open(json!({ "lanes": 50 })).await.unwrap();
        assert_eq!(source.counts().files, 230);
        let mut numbers: Vec<usize> =
            read_all(&source).await.iter().map(|(_, _, text)| text.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..230));
    });
}

#[test]
fn an_object_that_changes_halts() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    let archive = Archive::new(moto, "changed");
    let halted = |error: Error, says: &str| {
        assert_eq!(error.kind(), ErrorKind::Halted, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    };
    let Archive { bucket, .. } = &archive;
    bucket.put("events/a.ndjson", "{1}\n");
    bucket.put("events/b.ndjson", "{2}\n");
    let source = bucket.wait(archive.open(json!({}))).unwrap();
    let starts = bucket.wait(assigned(&source));

    // Between two runs, and of the same size.
    bucket.put("events/a.ndjson", "{x}\n");
    let error = bucket.wait(archive.open(json!({}))).err().unwrap();
    halted(error, "`a.ndjson` (number 1) was replaced: its tag differs");
    // After it was listed, before it was opened.
    let (found, error) = bucket.wait(read_patiently(&source, &starts[0], 0));
    assert!(found.is_empty(), "no byte of another object: {found:?}");
    halted(error.unwrap(), "`a.ndjson` (number 1) was replaced");
    // The same bytes again are the same object.
    bucket.put("events/a.ndjson", "{1}\n");
    let (found, error) = bucket.wait(read_patiently(&source, &starts[0], 0));
    assert_eq!((texts(&found).as_str(), error.is_none()), ("{1}\n", true));
    bucket.wait(archive.open(json!({}))).unwrap();

    bucket.put("events/a.ndjson", "{1}\n{1b}\n");
    let error = bucket.wait(archive.open(json!({}))).err().unwrap();
    halted(error, "`a.ndjson` (number 1) grew from 4 to 9 bytes");
    bucket.put("events/a.ndjson", "{1}\n");
    bucket.delete("events/b.ndjson");
    let (_, error) = bucket.wait(read_patiently(&source, &starts[1], 0));
    halted(error.unwrap(), "`b.ndjson` (number 2) is gone");
    let error = bucket.wait(archive.open(json!({}))).err().unwrap();
    halted(error, "`b.ndjson` (number 2) is gone, or no pattern names it any more");
}

/// The reader has some of one object when another takes its name.
#[test]
fn an_object_that_is_replaced_while_it_is_read_halts() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    for (name, body) in [
        ("a.ndjson", lines(400_000).into_bytes()),
        ("a.parquet", parquet(900_000, 300_000)),
        ("a.gz", gzip(&parquet(700_000, 700_000))),
    ] {
        let archive = Archive::new(moto, "replaced");
        let key = format!("events/{name}");
        archive.bucket.put(&key, &body);
        let source = archive.bucket.wait(archive.open(json!({ "lanes": 1 }))).unwrap();
        let start = archive.bucket.wait(assigned(&source)).remove(0);
        let mut reader = archive.bucket.wait(open(&source, &start));
        let mut first = archive.bucket.wait(reader.next()).unwrap();
        assert!(first.is_some());
        let mut other = body.clone();
        other.reverse();
        archive.bucket.put(&key, other);
        let error = loop {
            match archive.bucket.wait(reader.next()) {
                Ok(None) => panic!("{name}: read to its end, {first:?}"),
                Ok(batch) => first = batch,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Halted, "{error}");
        assert!(error.to_string().contains("(number 1) was replaced: its tag differs"), "{error}");
    }
}

#[test]
fn whatever_the_network_does_each_record_is_read_once() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    let archive = Archive::new(moto, "spoiled");
    let content = lines(120_000);
    archive.bucket.put("events/a.ndjson", &content);
    archive.bucket.put("events/b.gz", gzip(content.as_bytes()));
    archive.bucket.put("events/c.zst", zstd::encode_all(content.as_bytes(), 1).unwrap());
    let expected = archive.bucket.wait(async {
        let store = MemoryStore::new("direct");
        let config = config(&archive.bucket.url("events/*"), json!({}));
        let context = super::place::context(&archive.bucket.aws);
        let source = ArchiveSource::open(&config, "messages", &store, &context).await.unwrap();
        let mut all = read_all(&source).await;
        all.sort();
        all
    });
    assert_eq!(expected.len(), 360_000);
    let mut counts = std::collections::BTreeMap::new();
    for seed in 0..4 {
        let proxy = proxy(moto, seed);
        archive.bucket.wait(async {
            let through = aws(&proxy.endpoint());
            let settings = json!({ "range_size": "1500000B", "lanes": 4 });
            let source = archive.open_at(settings, &through).await.unwrap();
            proxy.spoil(350);
            let mut all = Vec::new();
            loop {
                let starts = assigned(&source).await;
                if starts.is_empty() {
                    break;
                }
                for start in starts {
                    let from = start.start.offset().unwrap();
                    let (found, error) = read_patiently(&source, &start, from).await;
                    assert!(error.is_none(), "{error:?}");
                    all.extend(found);
                    source.ended(&start.partition).await.unwrap();
                }
            }
            proxy.spoil(0);
            all.sort();
            assert!(all == expected, "seed {seed}: {} records", all.len());
        });
        for (fault, count) in proxy.counts() {
            *counts.entry(fault).or_insert(0) += count;
        }
    }
    println!("{counts:?}");
    for fault in [Fault::HalfAnswer, Fault::ResetAfter, Fault::SlowDown, Fault::BlackHole] {
        assert!(counts.get(&fault).is_some_and(|count| *count > 0), "{fault:?} never came");
    }
}

/// A server that is away for longer than any request is sent again: the reader says so, each time
/// it is asked, and goes on when the server is back.
#[test]
fn an_outage_is_waited_out() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    let archive = Archive::new(moto, "outage");
    let content = lines(400_000);
    archive.bucket.put("events/a.ndjson", &content);
    let proxy = proxy(moto, 9);
    archive.bucket.wait(async {
        let source = archive.open_at(json!({}), &aws(&proxy.endpoint())).await.unwrap();
        let start = assigned(&source).await.remove(0);
        let mut reader = open(&source, &start).await;
        let mut found = records("a", &reader.next().await.unwrap().unwrap());
        proxy.set_away(true);
        let mut failures = 0;
        loop {
            match reader.next().await {
                Ok(Some(batch)) => found.extend(records("a", &batch)),
                Ok(None) => break,
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    assert!(source.is_waiting(&start.partition), "{error}");
                    failures += 1;
                    if failures == 2 {
                        proxy.set_away(false);
                    }
                }
            }
        }
        assert!(failures >= 2, "there was no outage");
        assert!(!source.is_waiting(&start.partition), "it is over");
        assert!(texts(&found) == content);
    });
}

/// A body that came whole is not believed before its checksum is: it is told behind the last byte.
#[test]
fn a_body_whose_checksum_differs_is_asked_for_again() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    let archive = Archive::new(moto, "checksum");
    archive.bucket.put("events/a.ndjson", "{1}\n");
    let proxy = proxy(moto, 1);
    archive.bucket.wait(async {
        let source = archive.open_at(json!({}), &aws(&proxy.endpoint())).await.unwrap();
        let start = assigned(&source).await.remove(0);
        proxy.refuse(
            "a.ndjson",
            "HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nContent-Range: bytes 0-3/4\r\n\
             x-amz-checksum-crc32: AAAAAA==\r\nConnection: close\r\n\r\n{x}\n",
        );
        let mut reader = open(&source, &start).await;
        let error = reader.next().await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().contains("break at byte 0"), "{error}");
        proxy.allow();
        let found = records("a", &reader.next().await.unwrap().unwrap());
        assert_eq!(texts(&found), "{1}\n");
    });
}

/// What comes next is on its way before it is wanted, and what is held does not grow.
#[test]
fn reading_ahead_is_bounded() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    let archive = Archive::new(moto, "ahead");
    let content = lines(400_000);
    assert!(content.len() > 16 << 20);
    archive.bucket.put("events/a.ndjson", &content);
    let proxy = proxy(moto, 1);
    archive.bucket.wait(async {
        let context = super::place::context(&aws(&proxy.endpoint()));
        let source = archive.open_in("events/*", json!({}), &context).await.unwrap();
        let start = assigned(&source).await.remove(0);
        let fourth = proxy.hold(&["bytes=6291456-8388607"]);
        let mut reader = open(&source, &start).await;
        // Nothing was asked of the reader, and the fourth chunk is under way.
        let met = tokio::time::timeout(Duration::from_secs(20), fourth.met());
        met.await.expect("the fourth chunk is asked for before the first is wanted");
        fourth.release();
        let (mut found, mut most) = (Vec::new(), 0);
        while let Some(batch) = reader.next().await.unwrap() {
            most = most.max(context.memory.used());
            found.extend(records("a", &batch));
        }
        assert!(texts(&found) == content);
        assert!(most > 8 << 20, "only {most} bytes were charged");
        assert!(most <= 14 << 20, "{most} bytes were held");
        drop(reader);
        assert_eq!(context.memory.used(), 0, "all is given back");
    });
}

#[test]
fn a_reader_that_is_dropped_waits_for_nothing() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    let archive = Archive::new(moto, "dropped");
    archive.bucket.put("events/a.ndjson", lines(1000));
    let proxy = proxy(moto, 1);
    archive.bucket.wait(async {
        let context = super::place::context(&aws(&proxy.endpoint()));
        let source = archive.open_in("events/*", json!({}), &context).await.unwrap();
        let start = assigned(&source).await.remove(0);
        let hold = proxy.hold(&["GET ", "a.ndjson"]);
        let mut reader = open(&source, &start).await;
        hold.met().await;
        let waits = tokio::time::timeout(Duration::from_millis(50), reader.next());
        assert!(waits.await.is_err(), "the answer is held");
        assert!(context.memory.used() > 0);
        drop(reader);
        // The answer is still held; the thread that waited for it has given everything back.
        for _ in 0..500 {
            if context.memory.used() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} bytes are still waited for", context.memory.used());
    });
}

#[test]
fn files_and_objects_are_read_side_by_side() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    let archive = Archive::new(moto, "mixed");
    let other = Bucket::new(moto, "mixed");
    archive.bucket.put("events/b.ndjson", "{b}\n");
    other.put("2024/a.ndjson", "{a}\n");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.ndjson"), "{c}\n").unwrap();
    let local = folder.path().join("*.ndjson");
    let paths =
        json!([archive.bucket.url("events/*"), local.to_str().unwrap(), other.url("*/a.ndjson")]);
    archive.bucket.wait(async {
        let source = archive.open(json!({ "path": paths })).await.unwrap();
        let found = read_all(&source).await;
        let labels: Vec<&str> = found.iter().map(|(label, _, _)| label.as_str()).collect();
        assert_eq!(labels, ["b.ndjson", "c.ndjson", "2024/a.ndjson"]);
        assert_eq!(texts(&found), "{b}\n{c}\n{a}\n");
    });
}

#[test]
fn what_is_wrong_is_said_at_the_start() {
    let Some(moto) = services::moto::shared_or_skip("aws::objects") else { return };
    let archive = Archive::new(moto, "wrong");
    archive.bucket.put("events/2024/a.ndjson", "{1}\n");
    archive.bucket.put("events/b.bz2", b"BZh91AY&SY");
    let refused = |pattern: &str, settings: Value| {
        let config = config(pattern, settings);
        let context = super::place::context(&archive.bucket.aws);
        let store = MemoryStore::new("store");
        let open = ArchiveSource::open(&config, "messages", &store, &context);
        let error = archive.bucket.wait(open).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        error.to_string()
    };
    assert_eq!(
        refused("s3://no-such-bucket/*", json!({})),
        "cannot reach the bucket no-such-bucket of the archive: it does not exist"
    );
    let url = |keys: &str| archive.bucket.url(keys);
    let said = refused(&url("events/*.json"), json!({}));
    assert!(said.contains("no file matches"), "{said}");
    let said = refused(&url("events/2024"), json!({}));
    assert!(said.contains("is a folder; write a pattern like `s3://"), "{said}");
    let said = refused(&url("events/*"), json!({}));
    assert!(said.contains("events/b.bz2 is compressed with bzip2"), "{said}");
    archive.bucket.put("events/c.parquet", parquet(10, 10));
    let said = refused(&url("events/*.parquet"), json!({ "format": "dynamodb" }));
    assert!(said.contains("write `format: plain`"), "{said}");
    archive.bucket.put("events/d.parquet", b"PAR1 and nothing else");
    let said = refused(&url("events/d*"), json!({}));
    assert!(said.contains("cannot read the Parquet footer of the archive file s3://"), "{said}");
}
