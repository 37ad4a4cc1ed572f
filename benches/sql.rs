//! Nanoseconds a row of the SQL stage: `cargo bench --bench sql`.
#![allow(missing_docs, reason = "criterion_group! makes a public function")]

use std::hint::black_box;
use std::sync::Arc;

use acequia::component::{Context, Transform};
use acequia::event::batch::RawRows;
use acequia::event::system::UTC;
use acequia::event::{Batch, Position, PositionRange, SystemColumns, SystemSchema};
use acequia::transforms::sql::SqlTransform;
use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::FutureExt;

const ROWS: usize = 8192;

const STAGES: [(&str, &str); 6] = [
    ("star", "SELECT * FROM changes"),
    (
        "design",
        "SELECT *, metadata.intent AS intent, escalated OR score < 0.1 AS should_analyze FROM changes",
    ),
    ("where", "SELECT * FROM changes WHERE score < 0.5"),
    ("system", "SELECT *, _op AS op, _version AS version FROM changes"),
    ("lower", "SELECT *, lower(content) AS small FROM changes"),
    ("division", "SELECT *, amount / items AS share FROM changes"),
];

fn text(value: impl Fn(usize) -> String) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values((0..ROWS).map(value)))
}

/// Rows as the decoder gives them; with `failing`, ten of them divide by zero.
fn batch(failing: bool) -> Batch {
    let intent = Arc::new(Field::new("intent", DataType::Utf8View, true));
    let metadata = StructArray::new(
        vec![intent].into(),
        vec![text(|row| format!("intent {}", row % 7))],
        None,
    );
    let items = (0..ROWS as i64).map(|row| if failing && row % 820 == 0 { 0 } else { row % 5 + 1 });
    let columns: [(&str, ArrayRef); 6] = [
        ("content", text(|row| format!("Message number {row} of a customer who WRITES a lot"))),
        ("metadata", Arc::new(metadata)),
        ("amount", Arc::new(Int64Array::from_iter_values(0..ROWS as i64))),
        ("items", Arc::new(Int64Array::from_iter_values(items))),
        (
            "score",
            Arc::new(Float64Array::from_iter_values(
                (0..ROWS).map(|row| (row % 100) as f64 / 100.0),
            )),
        ),
        ("escalated", Arc::new(BooleanArray::from_iter((0..ROWS).map(|row| Some(row % 9 == 0))))),
    ];
    let times = TimestampMicrosecondArray::from_iter_values(0..ROWS as i64);
    Batch {
        rows: RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, column)| (name, column, true)),
        )
        .expect("columns of one length"),
        system: SystemColumns {
            op: StringViewArray::from_iter_values((0..ROWS).map(|_| "insert")),
            key: StringViewArray::from_iter_values(
                (0..ROWS).map(|row| format!("{{\"id\":\"{row}\"}}")),
            ),
            event_time: times.with_timezone(UTC.clone()),
            version: Int64Array::from_iter_values(1..=ROWS as i64),
            stream: "archive".into(),
            partition: "events.ndjson".into(),
            position: Arc::new(Int64Array::from_iter_values(0..ROWS as i64)),
            before: None,
            extra: None,
            message: None,
        },
        raw: RawRows::none(),
        kept: None,
        before: None,
        range: PositionRange::new(Position::Offset(0), Position::Offset(ROWS as u64)),
        events: ROWS as u64,
        bytes: 0,
        rejects: Vec::new(),
    }
}

fn context() -> Context {
    acequia::testing::context(1)
}

fn stages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sql");
    group.throughput(Throughput::Elements(ROWS as u64));
    let system =
        SystemSchema { position: DataType::Int64, before: None, extra: false, message: false };
    for (name, sql) in STAGES {
        for failing in [false, true] {
            if failing && name != "division" {
                continue;
            }
            let input = batch(failing);
            let stage = SqlTransform::new(
                sql,
                &input.rows.schema(),
                &system,
                "transforms[0].sql",
                &context(),
            )
            .expect("a stage");
            let name = if failing { "division, ten rows fail" } else { name };
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let given = stage.apply(black_box(input.clone())).now_or_never();
                    black_box(given.expect("inline").expect("a batch"))
                });
            });
        }
    }
    group.finish();
    let (input, context) = (batch(false), context());
    let (_, sql) = STAGES[1];
    criterion.bench_function("sql/plan", |bencher| {
        bencher.iter(|| {
            SqlTransform::new(sql, &input.rows.schema(), &system, "transforms[0].sql", &context)
                .map(drop)
        });
    });
}

criterion_group!(benches, stages);
criterion_main!(benches);
