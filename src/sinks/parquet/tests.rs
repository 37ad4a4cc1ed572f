use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{
    ArrayRef, AsArray as _, Int64Array, ListArray, RecordBatch, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::basic::Encoding;
use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::compute::ComputePool;
use crate::contract::model::{Column, ColumnType, DecimalForm, Evolution, Reference, TimeForm};
use crate::error::Error;
use crate::event::batch::{KEY_COLUMN, RawRows};
use crate::event::filter::SinkRows;
use crate::event::system::UTC;
use crate::event::{Batch, PartitionId, Position, PositionRange, Stage, SystemColumns};
use crate::memory::MemoryBudget;
use crate::testing::staging::{FaultPoint, MemoryStaging};

const DAY: i64 = 86_400_000_000;
const SCRATCH_BYTES: u64 = 2 << 20;
/// 2024-01-01.
const START: i64 = 1_704_067_200_000_000;

struct FixedClock;
impl Clock for FixedClock {
    fn now_micros(&self) -> i64 {
        START + 1000 * DAY
    }
}

pub(super) fn context(budget: usize) -> Context {
    Context {
        clock: Arc::new(FixedClock),
        memory: MemoryBudget::new(budget),
        ..crate::testing::context(5)
    }
}

fn column(name: &str, kind: ColumnType, unique: bool) -> Column {
    Column {
        name: name.into(),
        kind,
        required: false,
        unique,
        description: String::new(),
        pii: None,
        rules: Vec::new(),
        search: None,
        references: None,
    }
}

pub(super) fn contract() -> Contract {
    let member = |name: &str| column(name, ColumnType::Text, false);
    Contract {
        name: "notes".into(),
        version: "1.2.0".into(),
        columns: vec![
            column("id", ColumnType::Text, true),
            column("at", ColumnType::Timestamp(TimeForm::Text), false),
            column(
                "price",
                ColumnType::Decimal { precision: 38, scale: 2, form: DecimalForm::Digits },
                false,
            ),
            column(
                "metadata",
                ColumnType::Struct(vec![member("language"), member("intent")]),
                false,
            ),
            Column {
                references: Some(Reference::Media),
                ..column("tags", ColumnType::List(Box::new(member("tag"))), false)
            },
        ],
        primary_key: vec!["id".into()],
        evolution: Evolution::Lenient,
        retention_days: None,
        hash: String::new(),
    }
}

pub(super) fn config(url: &str) -> ParquetConfig {
    let partition = PartitionConfig {
        by: Granularity::Day,
        time: "at".into(),
        time_range: TimeRange::default(),
    };
    ParquetConfig { url: url.into(), s3: None, partition }
}

fn ownership() -> Ownership {
    Ownership { pipeline: "notes".into(), domain: "d".into(), store: "s".into() }
}

pub(super) fn settings<'a>(
    config: &'a ParquetConfig,
    schema: &'a SchemaRef,
    contract: &'a Contract,
    scratch: &Path,
) -> TableSettings<'a> {
    TableSettings {
        name: "lake",
        config,
        schema,
        contract,
        system: SystemShape { counted: true, before: None, extra: true },
        ownership: ownership(),
        scratch: scratch.to_owned(),
        scratch_bytes: SCRATCH_BYTES,
    }
}

pub(super) fn epoch(token: u64, number: u64) -> EpochId {
    EpochId {
        pipeline: "notes".into(),
        domain: "d".into(),
        partition: PartitionId::new("a.ndjson"),
        token,
        epoch: number,
        from: Position::Offset(0),
        control: 3,
        tombstones: false,
        confirmation: crate::component::Confirmation::now(),
    }
}

/// Rows at `positions`, row `i` on day `days[i]` after the start (`None`: no time).
fn batch(first: i64, days: &[Option<i64>]) -> Batch {
    let count = days.len();
    let positions = first..first + count as i64;
    let text = |make: &dyn Fn(i64) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(positions.clone().map(make)))
    };
    let times = days.iter().enumerate().map(|(row, day)| Some(START + (*day)? * DAY + row as i64));
    let times = times.collect::<TimestampMicrosecondArray>().with_timezone(UTC.clone());
    let price = arrow::array::Decimal128Array::from_iter_values(positions.clone().map(i128::from))
        .with_precision_and_scale(38, 2)
        .unwrap();
    let schema = contract().schema();
    let arrow::datatypes::DataType::Struct(members) = schema.field(3).data_type().clone() else {
        unreachable!()
    };
    let language = text(&|row| ["es", "en"][(row % 2) as usize].to_owned());
    let intent = text(&|row| format!("an intent that is longer than a view {}", row % 5));
    let metadata = StructArray::new(members, vec![language, intent], None);
    let arrow::datatypes::DataType::List(item) = schema.field(4).data_type().clone() else {
        unreachable!()
    };
    let tags = text(&|row| format!("tag {row} of some length"));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(vec![1; count]);
    let tags = ListArray::new(item, offsets, tags, None);
    let columns: Vec<ArrayRef> = vec![
        text(&|row| format!("an identity that is long {row}")),
        Arc::new(times),
        Arc::new(price),
        Arc::new(metadata),
        Arc::new(tags),
    ];
    let at =
        PositionRange::new(Position::Offset(first as u64), Position::Offset(positions.end as u64));
    let key = text(&|row| format!("{{\"id\":\"an identity that is long {row}\"}}"));
    Batch {
        rows: RecordBatch::try_new(schema, columns).unwrap(),
        system: SystemColumns {
            op: StringViewArray::from_iter_values(vec!["insert"; count]),
            key: key.as_string_view().clone(),
            event_time: TimestampMicrosecondArray::from(vec![START + 7 * DAY; count])
                .with_timezone(UTC.clone()),
            version: positions.clone().map(|row| row + 1).collect::<Int64Array>(),
            stream: "notes".into(),
            partition: "a.ndjson".into(),
            position: Arc::new(positions.collect::<Int64Array>()),
            before: None,
            extra: None,
            message: None,
        },
        raw: RawRows {
            data: bytes::Bytes::from_static(b"0123456789"),
            spans: (0..count as u32).map(|row| (row % 10, 1)).collect(),
            index: None,
        },
        kept: None,
        before: None,
        range: at,
        events: count as u64,
        bytes: 100 * count as u64,
        rejects: Vec::new(),
    }
}

fn whole(batch: Batch) -> SinkRows {
    SinkRows { batch, withheld: None }
}

/// Row `position` as (day folder, id, intent, tag) of every visible file.
fn read_back(staging: &MemoryStaging) -> BTreeMap<i64, (String, String, String, String)> {
    let mut found = BTreeMap::new();
    for (key, file) in &staging.files().visible {
        let bytes = bytes::Bytes::from(file.bytes.clone());
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
        for batch in reader {
            let batch = batch.unwrap();
            let positions = batch.column_by_name("_position").unwrap().clone();
            let positions = positions.as_primitive::<Int64Type>().clone();
            let id = batch.column_by_name("id").unwrap().as_string::<i32>();
            let metadata = batch.column_by_name("metadata").unwrap().as_struct();
            let intent = metadata.column_by_name("intent").unwrap().as_string::<i32>();
            let tags = batch.column_by_name("tags").unwrap().as_list::<i32>();
            for row in 0..batch.num_rows() {
                let folder = key.rsplit_once('/').unwrap().0.to_owned();
                let tag = tags.value(row).as_string::<i32>().value(0).to_owned();
                let seen = (folder, id.value(row).to_owned(), intent.value(row).to_owned(), tag);
                let earlier = found.insert(positions.value(row), seen);
                assert_eq!(earlier, None, "position {} occurs twice", positions.value(row));
            }
        }
    }
    found
}

fn sink(staging: &MemoryStaging, scratch: &Path, context: Context) -> ParquetSink {
    let (config, contract) = (config("/unused"), contract());
    let schema = contract.schema();
    let settings = settings(&config, &schema, &contract, scratch);
    ParquetSink::with_staging(settings, Arc::new(staging.clone()), context).unwrap()
}

fn expected(
    batches: &[(i64, Vec<Option<i64>>)],
) -> BTreeMap<i64, (String, String, String, String)> {
    let folder = |day: i64| {
        let at = chrono::DateTime::from_timestamp_micros(START + day * DAY).unwrap();
        at.format("year=%Y/month=%m/day=%d").to_string()
    };
    let rows = batches.iter().flat_map(|(first, days)| (*first..).zip(days));
    rows.filter_map(|(row, day)| {
        let tag = format!("tag {row} of some length");
        let intent = format!("an intent that is longer than a view {}", row % 5);
        Some((row, (folder((*day)?), format!("an identity that is long {row}"), intent, tag)))
    })
    .collect()
}

async fn write_all(sink: &ParquetSink, batches: &[(i64, Vec<Option<i64>>)]) -> u64 {
    let mut writer = sink.begin(&epoch(1, 1)).await.unwrap();
    let mut letters = 0;
    for (first, days) in batches {
        letters += writer.write(whole(batch(*first, days))).await.unwrap().len() as u64;
    }
    let flushed = writer.flush().await.unwrap();
    let rows: u64 = flushed.staged.iter().map(|file| file.rows).sum();
    assert_eq!(rows, flushed.rows);
    assert_eq!(sink.publish(&flushed.staged).await.unwrap(), Published::All);
    letters
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever comes, in whatever order, under whatever budget: every row is there once.
    #[test]
    fn every_row_is_written_once(
        batches in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(prop::option::weighted(0.98, 0_i64..40), 1..300),
                (0_i64..5, 1..3000_usize).prop_map(|(day, rows)| vec![Some(day); rows]),
                (0_i64..3, 1..1500_usize)
                    .prop_map(|(day, rows)| (0..rows as i64).map(|row| Some(day + row / 700)).collect()),
            ],
            1..12,
        ),
        budget in prop_oneof![Just(1_usize), Just(50_000), Just(400_000), Just(64 << 20)],
    ) {
        let mut first = 0;
        let batches: Vec<_> = batches
            .into_iter()
            .map(|days| {
                let batch = (first, days);
                first += batch.1.len() as i64;
                batch
            })
            .collect();
        let scratch = tempfile::tempdir().unwrap();
        let staging = MemoryStaging::new("root");
        let context = context(budget);
        let sink = sink(&staging, scratch.path(), context.clone());
        let letters = runtime().block_on(write_all(&sink, &batches));
        let nulls = batches.iter().flat_map(|(_, days)| days).filter(|day| day.is_none()).count();
        prop_assert_eq!(letters, nulls as u64);
        prop_assert_eq!(read_back(&staging), expected(&batches));
        prop_assert_eq!(context.memory.used(), 0);
        prop_assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}

/// Sixty scattered days under a small budget: most rows pass through the scratch file.
fn scattered() -> Vec<(i64, Vec<Option<i64>>)> {
    (0..30)
        .map(|batch| (batch * 500, (0..500).map(|row| Some((row * 7 + batch) % 60)).collect()))
        .collect()
}

#[tokio::test]
async fn a_small_budget_holds_however_many_days_are_open() {
    let (scratch, staging) = (tempfile::tempdir().unwrap(), MemoryStaging::new("root"));
    let context = context(1 << 20);
    let sink = sink(&staging, scratch.path(), context.clone());
    let mut writer = sink.begin(&epoch(1, 1)).await.unwrap();
    let mut most = 0;
    for (first, days) in scattered() {
        writer.write(whole(batch(first, &days))).await.unwrap();
        most = most.max(context.memory.used());
    }
    let all = scattered().len() * batch(0, &scattered()[0].1).memory();
    assert!(most <= 1 << 20 && all > 4 << 20, "held {most} bytes of {all}");
    let staged = writer.flush().await.unwrap().staged;
    assert_eq!(staged.len(), 60, "one file for each Hive partition");
    assert_eq!(sink.publish(&staged).await.unwrap(), Published::All);
    assert_eq!(read_back(&staging), expected(&scattered()));
}

#[tokio::test]
async fn a_writer_asks_for_the_end_when_its_scratch_file_is_large() {
    let (scratch, staging) = (tempfile::tempdir().unwrap(), MemoryStaging::new("root"));
    for lanes in [1, 2] {
        let context = context(1 << 20);
        let _places: Vec<_> = (0..lanes).map(|_| context.memory.join()).collect();
        let sink = sink(&staging, scratch.path(), context.clone());
        let mut writer = sink.begin(&epoch(1, 1)).await.unwrap();
        let mut light = 0;
        for (first, days) in scattered() {
            writer.write(whole(batch(first, &days))).await.unwrap();
            light += usize::from(!writer.is_heavy());
        }
        assert!(writer.is_heavy());
        // A row is about 190 bytes packed, a batch of them 95 KB; the limit is 2 MiB for all lanes.
        let expected = 22 / lanes;
        assert!((expected - 8..expected + 8).contains(&light), "{light} of {lanes} lanes");
        writer.abandon().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_share_the_encoders_of_a_real_pool() {
    let (scratch, staging) = (tempfile::tempdir().unwrap(), MemoryStaging::new("root"));
    let mut context = context(4 << 20);
    context.compute = Arc::new(ComputePool::new(2).unwrap());
    let sink = Arc::new(sink(&staging, scratch.path(), context.clone()));
    let lanes = (0..6_i64).map(|lane| {
        let (sink, place) = (sink.clone(), context.memory.join());
        tokio::spawn(async move {
            let batches: Vec<_> = (0..20)
                .map(|batch| (lane * 100_000 + batch * 1000, vec![Some(batch / 7); 1000]))
                .collect();
            write_all(&sink, &batches).await;
            drop(place);
            batches
        })
    });
    let mut all = Vec::new();
    for lane in futures::future::join_all(lanes).await {
        all.extend(lane.unwrap());
    }
    assert_eq!(read_back(&staging), expected(&all));
    assert_eq!(context.memory.used(), 0);
    assert_eq!(context.compute.encoder_slots().available_permits(), 2);
}

#[tokio::test]
async fn a_file_says_whose_it_is_and_hides_no_arrow_schema() {
    let (scratch, staging) = (tempfile::tempdir().unwrap(), MemoryStaging::new("root"));
    let sink = sink(&staging, scratch.path(), context(1 << 20));
    write_all(&sink, &[(0, vec![Some(0); 3000])]).await;
    let file = staging.files().visible.values().next().unwrap().clone();
    let bytes = bytes::Bytes::from(file.bytes);
    let footer = ArrowReaderMetadata::load(&bytes, Default::default()).unwrap();
    let entries: HashMap<_, _> = footer
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .unwrap()
        .iter()
        .map(|entry| (entry.key.as_str(), entry.value.as_deref().unwrap_or("")))
        .collect();
    for (key, value) in [
        ("acequia.v", "1"),
        ("acequia.pipeline", "notes"),
        ("acequia.domain", "d"),
        ("acequia.partition", "a.ndjson"),
        ("acequia.token", "1"),
        ("acequia.epoch", "1"),
        ("acequia.from", "0"),
        ("acequia.control", "3"),
        ("acequia.contract", "1.2.0"),
        ("acequia.media", "[\"tags\"]"),
        (NONCE, file.identity.nonce.as_str()),
    ] {
        assert_eq!(entries.get(key), Some(&value), "{key}");
    }
    assert_eq!(entries.len(), 11, "{entries:?}");
    let kind = |name: &str| footer.schema().field_with_name(name).unwrap().data_type().to_string();
    assert_eq!(kind("id"), "Utf8");
    assert_eq!(kind("at"), "Timestamp(µs, \"UTC\")");
    assert_eq!(kind("_position"), "Int64");
    assert_eq!(kind("price"), "Decimal128(38, 2)");
    let group = footer.metadata().row_group(0);
    let encodings = |name: &str| -> Vec<Encoding> {
        let column = group.columns().iter().find(|column| column.column_path().string() == name);
        column.unwrap().encodings().collect()
    };
    assert!(encodings("_version").contains(&Encoding::DELTA_BINARY_PACKED));
    assert!(!encodings("_key").contains(&Encoding::RLE_DICTIONARY));
    assert!(encodings("_partition").contains(&Encoding::RLE_DICTIONARY));
    assert!(encodings("metadata.language").contains(&Encoding::RLE_DICTIONARY));
}

#[tokio::test]
async fn a_withheld_row_lies_where_the_row_it_stands_for_would() {
    let (scratch, staging) = (tempfile::tempdir().unwrap(), MemoryStaging::new("root"));
    let sink = sink(&staging, scratch.path(), context(1 << 20));
    let mut writer = sink.begin(&epoch(1, 1)).await.unwrap();
    let mut rows = batch(0, &[Some(3), Some(4)]);
    rows.system.op = StringViewArray::from_iter_values(["insert", "delete"]);
    let withheld = Some(arrow::buffer::BooleanBuffer::from(vec![false, true]));
    writer.write(SinkRows { batch: rows, withheld }).await.unwrap();
    let staged = writer.flush().await.unwrap().staged;
    sink.publish(&staged).await.unwrap();
    let (key, file) =
        staging.files().visible.last_key_value().map(|(k, f)| (k.clone(), f.clone())).unwrap();
    assert!(key.starts_with("year=2024/month=01/day=05/"), "{key}");
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file.bytes)).unwrap();
    let row = reader.build().unwrap().next().unwrap().unwrap();
    for (name, nulls) in [
        ("id", 0),
        ("_key", 0),
        ("_op", 0),
        ("at", 1),
        ("price", 1),
        ("metadata", 1),
        ("tags", 1),
        ("_extra", 1),
    ] {
        assert_eq!(row.column_by_name(name).unwrap().null_count(), nulls, "{name}");
    }
}

#[tokio::test]
async fn a_row_without_a_place_is_a_letter_of_this_sink() {
    let (scratch, staging) = (tempfile::tempdir().unwrap(), MemoryStaging::new("root"));
    let sink = sink(&staging, scratch.path(), context(1 << 20));
    let mut writer = sink.begin(&epoch(1, 1)).await.unwrap();
    let letters = writer.write(whole(batch(40, &[Some(1), None, Some(90_000)]))).await.unwrap();
    let flushed = writer.flush().await.unwrap();
    assert_eq!((flushed.rows, letters.len()), (1, 2));
    let letter = &letters[1];
    assert_eq!(letter.stage, Stage::Sink("lake".into()));
    assert_eq!((letter.position.clone(), letter.version), (Position::Offset(42), 43));
    assert_eq!(letter.raw.bytes, "2");
    assert!(letter.reason.contains("outside the time_range"), "{}", letter.reason);
    assert!(letters[0].reason.contains("null"), "{}", letters[0].reason);
}

#[tokio::test]
async fn an_epoch_without_rows_stages_nothing() {
    let (scratch, staging) = (tempfile::tempdir().unwrap(), MemoryStaging::new("root"));
    let sink = sink(&staging, scratch.path(), context(1 << 20));
    let mut writer = sink.begin(&epoch(1, 1)).await.unwrap();
    writer.write(whole(batch(0, &[]))).await.unwrap();
    writer.write(whole(batch(0, &[None]))).await.unwrap();
    assert!(writer.flush().await.unwrap().staged.is_empty());
    assert!(staging.files().staged.is_empty());
}

/// Fails the n-th put.
struct FailsPut(AtomicUsize);

#[async_trait]
impl FaultPoint for FailsPut {
    async fn point(&self, name: &str) -> Result<()> {
        if name == "put:before" && self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            return Err(Error::retryable("cannot write to /lake: no space left on device"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_full_disk_at_the_flush_leaves_no_staged_file() {
    for put in [1, 3, 60] {
        let (scratch, staging) = (tempfile::tempdir().unwrap(), MemoryStaging::new("root"));
        let shaky = staging.with_faults(Arc::new(FailsPut(AtomicUsize::new(put))));
        let context = context(1 << 20);
        let sink = sink(&shaky, scratch.path(), context.clone());
        let mut writer = sink.begin(&epoch(1, 1)).await.unwrap();
        for (first, days) in scattered() {
            writer.write(whole(batch(first, &days))).await.unwrap();
        }
        let error = writer.flush().await.unwrap_err();
        assert!(error.is_retryable());
        assert!(error.to_string().contains("sink lake: cannot write to /lake"), "{error}");
        assert!(staging.files().staged.is_empty());
        assert_eq!(context.memory.used(), 0);
    }
}

#[tokio::test]
async fn an_abandoned_epoch_leaves_nothing() {
    let (scratch, staging) = (tempfile::tempdir().unwrap(), MemoryStaging::new("root"));
    let context = context(1 << 20);
    let sink = sink(&staging, scratch.path(), context.clone());
    let mut writer = sink.begin(&epoch(1, 1)).await.unwrap();
    for number in 0..40 {
        writer.write(whole(batch(number * 1000, &[Some(number / 10); 1000]))).await.unwrap();
    }
    assert!(!staging.files().staged.is_empty(), "row groups go out before the flush");
    writer.abandon().await;
    assert!(staging.files().staged.is_empty());
    assert_eq!(context.memory.used(), 0);
}

#[tokio::test]
async fn the_folder_shows_files_after_publishing_and_knows_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let (root, scratch) = (folder.path().join("lake"), folder.path().join("scratch"));
    let (config, contract) = (config(root.to_str().unwrap()), contract());
    let schema = contract.schema();
    let sink = ParquetSink::new(settings(&config, &schema, &contract, &scratch), context(1 << 20))
        .unwrap();
    sink.prepare(false).await.unwrap();
    let mut writer = sink.begin(&epoch(1, 1)).await.unwrap();
    for (first, days) in scattered() {
        writer.write(whole(batch(first, &days))).await.unwrap();
    }
    let staged = writer.flush().await.unwrap().staged;
    let shown = || staged.iter().filter(|file| root.join(&file.key).exists()).count();
    assert_eq!(shown(), 0);
    for _ in 0..2 {
        assert_eq!(sink.publish(&staged).await.unwrap(), Published::All);
    }
    assert_eq!(shown(), 60);
    // A file of the same size from elsewhere under that name is not taken for it.
    let path = root.join(&staged[0].key);
    std::fs::copy(root.join(&staged[1].key), &path).unwrap();
    let Published::Lost { key, .. } = sink.publish(&staged).await.unwrap() else {
        panic!("took a foreign file for its own");
    };
    assert_eq!(key, staged[0].key);
}

#[test]
fn a_table_that_cannot_be_is_refused_before_anything_runs() {
    let contract = contract();
    let build = |url: &str, field: Field| {
        let mut fields: Vec<_> =
            contract.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.push(field);
        let schema = Arc::new(Schema::new(fields));
        let config = config(url);
        let settings = settings(&config, &schema, &contract, Path::new("/tmp"));
        ParquetSink::new(settings, context(1)).map(|_| ()).unwrap_err()
    };
    let text = |name: &str| Field::new(name, DataType::Utf8View, true);
    for (error, says) in [
        (build("gs://bucket/x", text("a")), "s3://"),
        (build("/lake", text("_key")), "system column"),
        (build("/lake", text("day")), "folder level"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(says), "{error}");
    }
    let schema = contract.schema();
    assert!(schema.field(0).metadata().contains_key(KEY_COLUMN));
    let _: TimestampMicrosecondArray =
        arrow::array::PrimitiveArray::<TimestampMicrosecondType>::from(vec![1]);
}
