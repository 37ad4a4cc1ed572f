use std::collections::HashMap;

use arrow::array::{Int64Array, StringArray, TimestampMicrosecondArray};

use super::*;
use crate::event::system::UTC;

fn system(count: usize) -> SystemColumns {
    SystemColumns {
        op: StringViewArray::from_iter_values(vec!["delete"; count]),
        key: StringViewArray::from_iter_values(vec!["{}"; count]),
        event_time: TimestampMicrosecondArray::from(vec![5; count]).with_timezone(UTC.clone()),
        version: Int64Array::from(vec![1; count]),
        stream: "a stream with a long name".into(),
        partition: "a partition with a long name".into(),
        position: Arc::new(Int64Array::from_iter_values(0..count as i64)),
        before: None,
        extra: Some(StringViewArray::from_iter_values(vec!["{\"x\":1}"; count])),
        message: None,
    }
}

fn shape() -> SystemShape {
    SystemShape { counted: true, before: None, extra: true }
}

fn rows() -> RecordBatch {
    let key = HashMap::from([(KEY_COLUMN.to_owned(), "true".to_owned())]);
    let schema = Schema::new(vec![
        Field::new("id", DataType::Utf8, false).with_metadata(key),
        Field::new("note", DataType::Utf8View, true),
    ]);
    let id: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    let note: ArrayRef = Arc::new(StringViewArray::from(vec![Some("x"), Some("y"), None]));
    RecordBatch::try_new(Arc::new(schema), vec![id, note]).unwrap()
}

#[test]
fn withheld_rows_keep_keys_and_system_columns_alone() {
    let rows = rows();
    let table = Table::new(&rows.schema(), shape(), &[]).unwrap();
    let withheld = BooleanBuffer::from(vec![false, true, false]);
    let batch = table.assemble(&rows, &system(3), Some(&withheld)).unwrap();
    let batch = table.complete(&batch, &Origin::of(&system(3))).unwrap();
    let text = |name: &str| -> Vec<Option<String>> {
        let column = batch.column_by_name(name).unwrap().as_string_view();
        column.iter().map(|value| value.map(str::to_owned)).collect()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(text("id"), [some("a"), some("b"), some("c")]);
    assert_eq!(text("note"), [some("x"), None, None]);
    assert_eq!(text(EXTRA), [some("{\"x\":1}"), None, some("{\"x\":1}")]);
    assert_eq!(text(STREAM), vec![some("a stream with a long name"); 3]);
    assert_eq!(text(OP), vec![some("delete"); 3]);
}

#[test]
fn the_columns_are_the_same_whatever_a_batch_brings() {
    let rows = rows();
    let before = DataType::Struct(Fields::from(vec![Field::new("id", DataType::Utf8, false)]));
    let shape = SystemShape { counted: false, before: Some(before), extra: true };
    let table = Table::new(&rows.schema(), shape, &[]).unwrap();
    let mut system = system(3);
    system.extra = None;
    let batch = table.assemble(&rows, &system, None).unwrap();
    assert_eq!(batch.schema(), *table.waiting_schema());
    let batch = table.complete(&batch, &Origin::of(&system)).unwrap();
    assert_eq!(batch.schema(), *table.schema());
    assert_eq!(batch.column_by_name(BEFORE).unwrap().null_count(), 3);
    assert_eq!(batch.column_by_name(POSITION).unwrap().as_string_view().value(2), "2");
    let names: Vec<_> = table.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, [&["id", "note"], &NAMES[..NAMES.len() - 2]].concat());
}

#[test]
fn columns_that_cannot_be_written_are_refused_by_name() {
    let refused = |name: &str, kind: DataType| {
        let schema = Schema::new(vec![Field::new(name, kind, true)]);
        let error = Table::new(&schema, shape(), &["year"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    assert!(refused("_op", DataType::Utf8).contains("column `_op`: that is a system column"));
    assert!(
        refused("year", DataType::Int64).contains("column `year`: that is the name of a folder")
    );
    assert!(refused("x", DataType::Null).contains("column `x` is Null: it has no type"));
    assert!(
        refused("x", DataType::Duration(arrow::datatypes::TimeUnit::Second)).contains("cast it")
    );
    let twice = vec![Field::new("a", DataType::Utf8, true), Field::new("a", DataType::Utf8, true)];
    assert!(
        Table::new(&Schema::new(twice), shape(), &[])
            .unwrap_err()
            .to_string()
            .contains("two of that name")
    );
}

#[test]
fn a_batch_with_columns_that_the_table_lacks_is_a_defect_not_a_loss() {
    let rows = rows();
    let table = Table::new(&rows.schema(), SystemShape { extra: false, ..shape() }, &[]).unwrap();
    let error = table.assemble(&rows, &system(3), None).unwrap_err();
    assert_eq!(error.to_string(), "a batch has _extra, the table has none");
}
