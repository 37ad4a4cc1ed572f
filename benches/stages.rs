//! What each stage costs: `cargo bench --bench stages`. Rows are conversation messages of about 500
//! bytes, as `schemas/conversations.yaml` describes them.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use acequia::codec::{Format, decoder};
use acequia::component::source::{RawBatch, RawContent, RawRecords, RecordPositions};
use acequia::component::{Stamp, Versioning};
use acequia::contract::{self, Contract};
use acequia::event::{Position, PositionRange};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Rows in a chunk: about as many as the archive reads at once.
const ROWS: u32 = 2_000;

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

/// `records` as the archive hands them over.
fn chunk(records: impl Iterator<Item = String>) -> RawBatch {
    let (mut data, mut spans) = (Vec::new(), Vec::new());
    for record in records {
        spans.push((data.len() as u32, record.len() as u32));
        data.extend_from_slice(record.as_bytes());
        data.push(b'\n');
    }
    RawBatch {
        range: PositionRange::new(Position::Offset(0), Position::Offset(data.len() as u64)),
        bytes: data.len() as u64,
        content: RawContent::Records(RawRecords {
            data: data.into(),
            spans,
            positions: RecordPositions::Bytes { start: 0 },
            oversized: Vec::new(),
        }),
    }
}

fn decode(criterion: &mut Criterion) {
    let contract = conversations();
    let stamp = Stamp {
        stream: "bench".into(),
        partition: "bench".into(),
        versioning: Versioning::Position { base: 1 << 36 },
        first_ordinal: 0,
    };
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(u64::from(ROWS)));
    group.measurement_time(Duration::from_secs(3)).sample_size(20);
    for (name, format, chunk) in [
        ("plain", Format::Plain, chunk((0..ROWS).map(|row| plain(row, false)))),
        ("plain in several orders", Format::Plain, chunk((0..ROWS).map(|row| plain(row, true)))),
        ("dynamodb", Format::Dynamodb, chunk((0..ROWS).map(dynamodb))),
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

criterion_group!(stages, decode);
criterion_main!(stages);
