use std::collections::HashMap;

use arrow::array::{Float64Array, Int64Array, StringViewArray};
use parquet::schema::types::ColumnPath;

use super::*;
use crate::contract::model::{Column, ColumnType, Evolution};

fn contract() -> Contract {
    let column = |name: &str, unique| Column {
        name: name.into(),
        kind: ColumnType::Text,
        required: false,
        unique,
        description: String::new(),
        pii: None,
        rules: Vec::new(),
        search: None,
        references: None,
    };
    Contract {
        name: "c".into(),
        version: "1".into(),
        columns: vec![column("declared", true), column("role", false)],
        primary_key: Vec::new(),
        evolution: Evolution::Lenient,
        retention_days: None,
        hash: String::new(),
    }
}

fn batch(rows: usize) -> RecordBatch {
    let text = |make: &dyn Fn(usize) -> String| -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values((0..rows).map(make)))
    };
    let role = text(&|row| ["user", "assistant"][row % 2].to_owned());
    let columns = [
        ("declared", text(&|_| "the same".to_owned())),
        ("role", role.clone()),
        ("id", text(&|row| format!("id-{row}"))),
        ("long", text(&|row| format!("{row}{}", "x".repeat(200)))),
        ("score", Arc::new(Float64Array::from_iter_values((0..rows).map(|row| (row % 10) as f64)))),
        ("count", Arc::new(Int64Array::from_iter_values(0..rows as i64))),
    ];
    let members = arrow::array::StructArray::from(vec![(
        Arc::new(Field::new("language", DataType::Utf8View, true)),
        role,
    )]);
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut fields: Vec<_> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    fields[0] = fields[0]
        .clone()
        .with_metadata(HashMap::from([(CONTRACT_COLUMN.into(), "declared".into())]));
    fields.push(Field::new("metadata", members.data_type().clone(), true));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(members));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

#[test]
fn each_column_is_encoded_for_what_it_holds() {
    let batch = batch(2000);
    let encodings = Encodings::new(&batch.schema(), &contract()).unwrap();
    let properties = encodings.properties(&batch);
    let path =
        |name: &str| ColumnPath::from(name.split('.').map(str::to_owned).collect::<Vec<_>>());
    let dictionary = |name: &str| properties.dictionary_enabled(&path(name));
    assert_eq!(
        ["declared", "role", "id", "long", "score", "count", "metadata.language"].map(dictionary),
        [false, true, false, false, true, false, true]
    );
    assert_eq!(properties.encoding(&path("count")), Some(Encoding::DELTA_BINARY_PACKED));
    let statistics = |name: &str| properties.statistics_enabled(&path(name));
    assert_eq!(statistics("long"), EnabledStatistics::None);
    assert_eq!(statistics("role"), EnabledStatistics::None);
    assert_eq!(statistics("score"), EnabledStatistics::Chunk);
    assert_eq!(statistics("count"), EnabledStatistics::Chunk);
}

#[test]
fn a_small_sample_does_not_decide_for_the_files_after_it() {
    let (small, large) = (batch(3), batch(2000));
    let encodings = Encodings::new(&large.schema(), &contract()).unwrap();
    let id = ColumnPath::from("role");
    let first = encodings.properties(&small);
    let second = encodings.properties(&large);
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(second.dictionary_enabled(&id));
    assert!(Arc::ptr_eq(&second, &encodings.properties(&small)));
}
