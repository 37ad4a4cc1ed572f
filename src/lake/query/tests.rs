use std::fs::{self, File};
use std::path::Path;

use arrow::array::{ArrayRef, Int64Array, StringViewArray, StructArray, TimestampMicrosecondArray};
use arrow::datatypes::Fields;
use parquet::arrow::ArrowWriter;

use super::*;
use crate::event::system::{INSTANT, UTC};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("user_id", DataType::Utf8View, true),
        Field::new("amount", DataType::Int64, true),
        Field::new("note", DataType::Utf8View, true),
    ]))
}

fn lake(root: &Path) -> QueryTable {
    let before = Fields::from(vec![Field::new("amount", DataType::Int64, true)]);
    QueryTable {
        name: table_name("my-orders"),
        root: crate::location::Location::Folder(root.to_owned()),
        granularity: Granularity::Day,
        schema: schema(),
        system: SystemSchema {
            position: DataType::Int64,
            before: Some(before),
            extra: true,
            message: false,
        },
    }
}

/// Key, version, operation, amount.
type Row = (&'static str, i64, &'static str, Option<i64>);

/// Write a file; with `full`, one that has every column of the present schema.
fn write(path: &Path, rows: &[Row], full: bool) {
    let text = |value: &dyn Fn(&Row) -> &'static str| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values(rows.iter().map(value)))
    };
    let count = rows.len() as i64;
    let amounts: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.3)));
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.1));
    let positions: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", text(&|row| row.0)),
        ("amount", amounts.clone()),
        (system::OP, text(&|row| row.2)),
        (system::KEY, text(&|row| row.0)),
        (system::EVENT_TIME, Arc::new(times.with_timezone(UTC.clone()))),
        (system::VERSION, Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)))),
        (system::STREAM, text(&|_| "archive")),
        (system::PARTITION, text(&|_| "a")),
        (system::POSITION, positions),
    ];
    if full {
        let member = Arc::new(Field::new("amount", DataType::Int64, true));
        let before = StructArray::new(vec![member].into(), vec![amounts], None);
        columns.push((system::BEFORE, Arc::new(before)));
        columns.push((system::EXTRA, text(&|_| "{}")));
        columns.push(("note", text(&|_| "new")));
    }
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    assert_eq!(batch.schema().field(4).data_type(), &*INSTANT);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

async fn ask(root: &Path, sql: &str) -> Result<String> {
    let limits = QueryLimits { memory: 64 << 20, threads: NonZeroUsize::MIN };
    let answer = LakeQuery::open(&[lake(root)], limits, &crate::aws::Aws::default())
        .await?
        .query(sql)
        .await?;
    let schema = answer.schema.clone();
    let batches = answer.collect().await?;
    let mut out = Vec::new();
    crate::lake::write_csv(&schema, &batches, false, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

/// Every operation, over two days and two ages of the schema, with files that are not to be read.
fn small_lake(root: &Path) {
    let first = root.join("year=2024/month=01/day=09");
    let second = root.join("year=2024/month=11/day=10");
    let rows: [Row; 6] = [
        ("updated", 1, "insert", Some(1)),
        ("deleted", 2, "insert", Some(2)),
        ("expired", 3, "insert", Some(4)),
        ("returned", 4, "delete", None),
        ("deleted then expired", 5, "snapshot", Some(8)),
        ("late", 30, "update", Some(16)),
    ];
    write(&first.join("one.parquet"), &rows, false);
    let rows: [Row; 7] = [
        ("updated", 11, "upsert", Some(32)),
        ("deleted", 12, "delete", Some(2)),
        ("expired", 13, "expire", Some(4)),
        ("returned", 14, "insert", Some(64)),
        ("deleted then expired", 15, "delete", None),
        ("deleted then expired", 16, "expire", None),
        ("late", 17, "insert", Some(128)),
    ];
    write(&second.join("two.parquet"), &rows, true);
    let wrong: [Row; 1] = [("never", 99, "insert", Some(1000))];
    write(&second.join("three.parquet.staged"), &wrong, true);
    write(&root.join(".scratch/four.parquet"), &wrong, true);
    fs::write(root.join("_acequia.json"), "{}").unwrap();
}

#[tokio::test]
async fn the_log_holds_every_published_row() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("lake of [50%] #1");
    small_lake(&root);
    let sql = "SELECT count(*), sum(amount), count(note), count(_before) FROM my_orders";
    assert_eq!(ask(&root, sql).await.unwrap(), "13,261,7,7\n");
    let sql = "SELECT day, month, year, count(*) FROM my_orders GROUP BY ALL ORDER BY day";
    assert_eq!(ask(&root, sql).await.unwrap(), "9,1,2024,6\n10,11,2024,7\n");
}

#[tokio::test]
async fn current_is_the_last_version_of_each_key() {
    let folder = tempfile::tempdir().unwrap();
    small_lake(folder.path());
    let sql = "SELECT user_id, _version, amount, _op, month FROM my_orders_current ORDER BY _key";
    assert_eq!(
        ask(folder.path(), sql).await.unwrap(),
        "expired,3,4,insert,1\n\
         late,30,16,update,1\n\
         returned,14,64,insert,11\n\
         updated,11,32,upsert,11\n"
    );
    let columns = "SELECT * FROM my_orders_current WHERE false";
    let limits = QueryLimits::default();
    let lakes =
        LakeQuery::open(&[lake(folder.path())], limits, &crate::aws::Aws::default()).await.unwrap();
    let answer = lakes.query(columns).await.unwrap();
    let log = lakes.query("SELECT * FROM my_orders").await.unwrap();
    assert_eq!(answer.schema.fields().len(), log.schema.fields().len());
}

#[tokio::test]
async fn folders_are_compared_as_numbers_and_pruned() {
    let folder = tempfile::tempdir().unwrap();
    small_lake(folder.path());
    for filter in ["month = 1 AND day = 9", "9 = day", "month IN (1, 2)", "day < 10"] {
        let sql = format!("SELECT count(*) FROM my_orders WHERE {filter}");
        assert_eq!(ask(folder.path(), &sql).await.unwrap(), "6\n", "{filter}");
    }
    let plan = "EXPLAIN SELECT user_id FROM my_orders WHERE year = 2024 AND month = 1";
    let plan = ask(folder.path(), plan).await.unwrap();
    assert!(plan.contains("one.parquet") && !plan.contains("two.parquet"), "{plan}");
}

#[tokio::test]
async fn a_lake_without_files_is_an_empty_table() {
    let folder = tempfile::tempdir().unwrap();
    for root in [folder.path().to_owned(), folder.path().join("missing")] {
        let sql = "SELECT count(*), sum(amount), max(day) FROM my_orders";
        assert_eq!(ask(&root, sql).await.unwrap(), "0,,\n");
        let sql = "SELECT note, _extra, year FROM my_orders_current";
        assert_eq!(ask(&root, sql).await.unwrap(), "");
    }
}

#[tokio::test]
async fn only_queries_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    small_lake(folder.path());
    let mut messages = String::new();
    for sql in [
        "DROP TABLE my_orders",
        "CREATE TABLE copy AS SELECT * FROM my_orders",
        "INSERT INTO my_orders SELECT * FROM my_orders",
        "COPY my_orders TO 'out.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "SELECT amout FROM my_orders",
        "SELECT * FROM orders",
        "SELECT * FROM my_orders LIMT 3",
        "SELECT CAST(user_id AS BIGINT) FROM my_orders",
    ] {
        let error = ask(folder.path(), sql).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{sql}: {error}");
        messages.push_str(&format!("{sql}\n  {error}\n"));
    }
    insta::assert_snapshot!("refused_queries", messages);
}

#[test]
fn tables_are_named_by_their_pipelines() {
    assert_eq!(table_name("user-profiles"), "user_profiles");
    assert_eq!(table_name("Eu.West"), "eu_west");
}
