//! What each stage costs on one core: `cargo bench --bench stages`. Rows are conversation messages of
//! about 500 bytes, as `schemas/conversations.yaml` describes them. `docs/benchmarks.md` says how to
//! read the figures.
#![allow(missing_docs, reason = "criterion_group! makes a public function")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use acequia::codec::{Format, decoder};
use acequia::component::source::{RawBatch, RawContent, RawRecords, RecordPositions};
use acequia::component::{Confirmation, EpochId, EpochWriter, Flushed, Sink, Stamp, Versioning};
use acequia::contract::{self, Contract};
use acequia::event::filter::SinkRows;
use acequia::event::{Batch, PartitionId, Position, PositionRange};
use acequia::sinks::marker::Ownership;
use acequia::sinks::parquet::{
    Granularity, ParquetConfig, ParquetSink, PartitionConfig, SystemShape, TableSettings, TimeRange,
};
use acequia::testing::staging::MemoryStaging;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Rows in a chunk: about as many as the archive reads at once.
const ROWS: u32 = 2_000;
/// Rows of an epoch: a full row group, where they are of one Hive partition, and some more.
const EPOCH_ROWS: u32 = 32 * ROWS;

fn conversations() -> Arc<Contract> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/conversations.yaml");
    Arc::new(contract::load(&path).unwrap_or_else(|findings| panic!("{findings}")))
}

fn timestamp(row: u32) -> String {
    format!(
        "2024-01-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        row % 28 + 1,
        row % 24,
        row % 60,
        row / 60 % 60,
        row % 1000
    )
}

/// One message: in three orders where `mixed`, answers and questions by turns.
fn plain(row: u32, mixed: bool) -> String {
    let role = if row.is_multiple_of(2) { "user" } else { "assistant" };
    let mut attributes = vec![
        format!(
            r#""session_id":"sess_{row:012x}","message_id":"msg_{:016x}""#,
            u64::from(row) * 2_654_435_761
        ),
        format!(r#""message_type":"text","role":"{role}""#),
        format!(
            r#""content":"Hola, quisiera saber cuál es el precio de su plan premium y si incluye soporte, caso {row}""#
        ),
    ];
    if row.is_multiple_of(2) == mixed {
        attributes.push(format!(r#""ai_model_used":"anthropic.claude-v2","confidence_score":0.{:03},"processing_time_ms":{},"tokens_used":{}"#, row % 1000, row % 3000, row % 500));
    }
    if mixed {
        attributes.rotate_left((row % 3) as usize);
    }
    format!(
        r#"{{"user_id":"whatsapp:+52155{row:08}","timestamp":"{}",{},"escalation_triggered":false,"metadata":{{"sentiment":"neutral","intent":"pricing_inquiry","language":"es"}},"ttl":{}}}"#,
        timestamp(row),
        attributes.join(","),
        1_705_314_600 + row,
    )
}

/// An update with both images, as DynamoDB Streams writes it.
fn dynamodb(row: u32) -> String {
    let keys = format!(
        r#""user_id":{{"S":"whatsapp:+52155{row:08}"}},"timestamp":{{"S":"{}"}}"#,
        timestamp(row)
    );
    let image = |tokens: u32| {
        format!(
            r#"{{{keys},"session_id":{{"S":"sess_{row:012x}"}},"message_id":{{"S":"msg_{:016x}"}},"message_type":{{"S":"text"}},"role":{{"S":"assistant"}},"content":{{"S":"Hola, nuestro plan premium cuesta 29 dólares al mes e incluye soporte, caso {row}"}},"ai_model_used":{{"S":"anthropic.claude-v2"}},"confidence_score":{{"N":"0.{:03}"}},"processing_time_ms":{{"N":"{}"}},"tokens_used":{{"N":"{tokens}"}},"escalation_triggered":{{"BOOL":false}},"metadata":{{"M":{{"sentiment":{{"S":"neutral"}},"intent":{{"S":"pricing_inquiry"}},"language":{{"S":"es"}}}}}},"ttl":{{"N":"{}"}}}}"#,
            u64::from(row) * 2_654_435_761,
            row % 1000,
            row % 3000,
            1_705_314_600 + row,
        )
    };
    format!(
        r#"{{"eventID":"{row:032x}","eventName":"MODIFY","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"us-east-1","dynamodb":{{"ApproximateCreationDateTime":{},"Keys":{{{keys}}},"NewImage":{},"OldImage":{},"SequenceNumber":"{:021}","SizeBytes":{},"StreamViewType":"NEW_AND_OLD_IMAGES"}},"eventSourceARN":"arn:aws:dynamodb:us-east-1:123456789012:table/conversation-contexts/stream/2024-01-01T00:00:00.000"}}"#,
        1_705_314_600 + row,
        image(150),
        image(0),
        row,
        row % 900,
    )
}

/// An update with both images, as Debezium writes it; with a schema beside it where `beside`.
fn debezium(row: u32, beside: bool) -> String {
    let image = plain(row, false);
    let event = format!(
        r#"{{"before":{image},"after":{image},"source":{{"version":"3.0.0.Final","connector":"postgresql","name":"shop","ts_ms":{time}000,"snapshot":"false","db":"shop","sequence":"[\"{row}\",\"{row}\"]","ts_us":{time}000001,"schema":"public","table":"conversations","txId":{row},"lsn":{row},"xmin":null}},"transaction":null,"op":"u","ts_ms":{time}123}}"#,
        time = 1_705_314_600 + row,
    );
    if !beside {
        return event;
    }
    let field = r#"{"type":"string","optional":true,"field":"content"}"#;
    let fields = [field; 20].join(",");
    format!(
        r#"{{"schema":{{"type":"struct","fields":[{{"type":"struct","fields":[{fields}],"optional":true,"field":"after"}}]}},"payload":{event}}}"#
    )
}

/// `records` as the archive hands them over, the first one standing at `start`.
fn chunk(start: u64, records: impl Iterator<Item = String>) -> RawBatch {
    let (mut data, mut spans) = (Vec::new(), Vec::new());
    for record in records {
        spans.push((data.len() as u32, record.len() as u32));
        data.extend_from_slice(record.as_bytes());
        data.push(b'\n');
    }
    RawBatch {
        range: PositionRange::new(
            Position::Offset(start),
            Position::Offset(start + data.len() as u64),
        ),
        bytes: data.len() as u64,
        content: RawContent::Records(RawRecords {
            data: data.into(),
            spans,
            positions: RecordPositions::Bytes { start },
            oversized: Vec::new(),
            messages: None,
        }),
    }
}

fn stamp() -> Stamp {
    Stamp {
        stream: "bench".into(),
        partition: "bench".into(),
        versioning: Versioning::Position { base: 1 << 36 },
        first_ordinal: 0,
    }
}

fn decode(criterion: &mut Criterion) {
    let contract = conversations();
    let stamp = stamp();
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(u64::from(ROWS)));
    group.measurement_time(Duration::from_secs(3)).sample_size(20);
    for (name, format, chunk) in [
        ("plain", Format::Plain, chunk(0, (0..ROWS).map(|row| plain(row, false)))),
        ("plain in several orders", Format::Plain, chunk(0, (0..ROWS).map(|row| plain(row, true)))),
        ("dynamodb", Format::Dynamodb, chunk(0, (0..ROWS).map(dynamodb))),
        ("debezium", Format::Debezium, chunk(0, (0..ROWS).map(|row| debezium(row, false)))),
        (
            "debezium with its schema",
            Format::Debezium,
            chunk(0, (0..ROWS).map(|row| debezium(row, true))),
        ),
    ] {
        let mut decoder = decoder(contract.clone(), format);
        let rows = decoder.decode(&chunk, &stamp).map(|batch| batch.len()).unwrap_or_default();
        assert_eq!(rows, ROWS as usize, "every row fits the contract");
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(decoder.decode(black_box(&chunk), &stamp)));
        });
    }
    group.finish();
}

/// The rows of an epoch as the lane hands them to the lake: decoded, a batch for each chunk.
fn decoded(contract: &Arc<Contract>) -> Vec<Batch> {
    let (mut decoder, stamp) = (decoder(contract.clone(), Format::Plain), stamp());
    let mut start = 0;
    let mut batches = Vec::new();
    for first in (0..EPOCH_ROWS).step_by(ROWS as usize) {
        let chunk = chunk(start, (first..first + ROWS).map(|row| plain(row, false)));
        start += chunk.bytes;
        let batch = decoder.decode(&chunk, &stamp).unwrap_or_else(|error| panic!("{error}"));
        batches.push(batch);
    }
    batches
}

/// A lake in memory, laid out `by` the time of the messages, which are all of one month.
fn lake(contract: &Contract, by: Granularity) -> ParquetSink {
    let (time, time_range) = ("timestamp".to_owned(), TimeRange::default());
    let config = ParquetConfig {
        s3: None,
        url: "memory".to_owned(),
        partition: PartitionConfig { by, time, time_range },
    };
    let settings = TableSettings {
        name: "lake",
        config: &config,
        schema: &contract.schema(),
        contract,
        system: SystemShape { counted: true, before: None, extra: true },
        ownership: Ownership {
            pipeline: "bench".to_owned(),
            domain: "bench".to_owned(),
            store: "bench".to_owned(),
        },
        scratch: std::env::temp_dir(),
        scratch_bytes: acequia::sinks::parquet::DEFAULT_SCRATCH_BYTES,
    };
    let staging = Arc::new(MemoryStaging::new("memory"));
    ParquetSink::with_staging(settings, staging, acequia::testing::context(1)).expect("a table")
}

/// Write one epoch to its staged files.
async fn write_epoch(sink: &ParquetSink, batches: Vec<Batch>) -> Flushed {
    let epoch = EpochId {
        pipeline: "bench".to_owned(),
        domain: "bench".to_owned(),
        partition: PartitionId::new("bench"),
        token: 1,
        epoch: 1,
        from: Position::Offset(0),
        control: 1,
        tombstones: false,
        confirmation: Confirmation::now(),
    };
    let mut writer: Box<dyn EpochWriter> = sink.begin(&epoch).await.expect("a writer");
    for batch in batches {
        let rows = SinkRows { batch, withheld: None };
        let refused = writer.write(rows).await.expect("rows are taken");
        assert!(refused.is_empty(), "every row has a place in the table");
    }
    let flushed = writer.flush().await.expect("files are staged");
    assert_eq!(flushed.rows, u64::from(EPOCH_ROWS), "every row is written");
    flushed
}

/// From Arrow rows to staged Parquet files, footers included: encoding runs inline, on one core.
fn encode(criterion: &mut Criterion) {
    let contract = conversations();
    let batches = decoded(&contract);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(u64::from(EPOCH_ROWS)));
    group.measurement_time(Duration::from_secs(5)).sample_size(20);
    for (name, by) in [
        ("one Hive partition", Granularity::Month),
        ("28 Hive partitions, mixed", Granularity::Day),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || (lake(&contract, by), batches.clone()),
                |(sink, batches)| {
                    let flushed = runtime.block_on(write_epoch(&sink, batches));
                    // What is kept in memory is dropped outside the measurement.
                    (sink, flushed)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(stages, decode, encode);
criterion_main!(stages);
