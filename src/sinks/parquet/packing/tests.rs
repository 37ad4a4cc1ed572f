use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int64Array, ListArray, RecordBatch, StringViewArray,
    StructArray, UInt32Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Field, Fields, Schema};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// Everything a row of the test's table has.
#[derive(Debug, Clone)]
struct Row {
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    small: Option<i8>,
    short: Option<i16>,
    number: i64,
    float: Option<f64>,
    decimal: Option<i128>,
    flag: Option<bool>,
    /// A struct, which may be null: its text, its flag, and a struct in it.
    nested: Option<(Option<String>, Option<bool>, Option<Option<f32>>)>,
    list: Option<Vec<Option<String>>>,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zñ😀]{0,14}",
        // Around the length that no longer fits into a byte.
        (250..260_usize).prop_map(|length| "x".repeat(length)),
    ]
}

fn row() -> impl Strategy<Value = Row> {
    let first = (
        option::of(text()),
        option::of(vec(any::<u8>(), 0..20)),
        any::<Option<i8>>(),
        any::<Option<i16>>(),
        any::<i64>(),
        any::<Option<f64>>(),
        option::of(-(10_i128.pow(30))..10_i128.pow(30)),
        any::<Option<bool>>(),
    );
    let nested = (option::of(text()), any::<Option<bool>>(), any::<Option<Option<f32>>>());
    let second = (option::of(nested), option::of(vec(option::of(text()), 0..4)));
    (first, second).prop_map(
        |((text, bytes, small, short, number, float, decimal, flag), (nested, list))| Row {
            text,
            bytes,
            small,
            short,
            number,
            float,
            decimal,
            flag,
            nested,
            list,
        },
    )
}

fn nested(rows: &[Row]) -> StructArray {
    let member = |take: &dyn Fn(&Row) -> Option<String>| -> ArrayRef {
        Arc::new(rows.iter().map(take).collect::<StringViewArray>())
    };
    let inner_of = |row: &Row| row.nested.as_ref().and_then(|(_, _, inner)| *inner);
    // A value stands below a null as well: it must not come back.
    let floats = rows.iter().map(|row| inner_of(row).unwrap_or(Some(7.0)));
    let inner_fields = Fields::from(vec![Field::new("float", DataType::Float32, true)]);
    let inner = StructArray::new(
        inner_fields.clone(),
        vec![Arc::new(floats.collect::<Float32Array>())],
        Some(NullBuffer::from_iter(rows.iter().map(|row| inner_of(row).is_some()))),
    );
    let flags = rows.iter().map(|row| row.nested.as_ref().and_then(|(_, flag, _)| *flag));
    let fields = Fields::from(vec![
        Field::new("text", DataType::Utf8View, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("inner", DataType::Struct(inner_fields), true),
    ]);
    let text = member(&|row| match &row.nested {
        Some((text, _, _)) => text.clone(),
        None => Some("text of a struct that is null".to_owned()),
    });
    StructArray::new(
        fields,
        vec![text, Arc::new(flags.collect::<BooleanArray>()), Arc::new(inner)],
        Some(NullBuffer::from_iter(rows.iter().map(|row| row.nested.is_some()))),
    )
}

fn batch(rows: &[Row]) -> RecordBatch {
    let lists = rows.iter().map(|row| row.list.clone().unwrap_or_default());
    let offsets = OffsetBuffer::from_lengths(lists.clone().map(|list| list.len()));
    let items: StringViewArray = lists.flatten().collect();
    let list = ListArray::new(
        Arc::new(Field::new("element", DataType::Utf8View, true)),
        offsets,
        Arc::new(items),
        Some(NullBuffer::from_iter(rows.iter().map(|row| row.list.is_some()))),
    );
    let decimals: Decimal128Array = rows.iter().map(|row| row.decimal).collect();
    let days = rows.iter().map(|row| row.short.map(i32::from));
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("text", Arc::new(rows.iter().map(|r| r.text.clone()).collect::<StringViewArray>()), true),
        ("nested", Arc::new(nested(rows)), true),
        (
            "bytes",
            Arc::new(rows.iter().map(|r| r.bytes.clone()).collect::<BinaryViewArray>()),
            true,
        ),
        ("small", Arc::new(rows.iter().map(|r| r.small).collect::<Int8Array>()), true),
        ("short", Arc::new(rows.iter().map(|r| r.short).collect::<Int16Array>()), true),
        ("day", Arc::new(days.collect::<Date32Array>()), true),
        ("number", Arc::new(rows.iter().map(|r| Some(r.number)).collect::<Int64Array>()), false),
        ("list", Arc::new(list), true),
        ("float", Arc::new(rows.iter().map(|r| r.float).collect::<Float64Array>()), true),
        ("decimal", Arc::new(decimals.with_precision_and_scale(38, 4).unwrap()), true),
        ("flag", Arc::new(rows.iter().map(|r| r.flag).collect::<BooleanArray>()), true),
    ];
    let fields = columns
        .iter()
        .map(|(name, array, nullable)| Field::new(*name, array.data_type().clone(), *nullable));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, array, _)| array).collect()).unwrap()
}

/// Rows as text, so that what lies below a null does not count.
fn shown(batch: &RecordBatch) -> String {
    arrow::util::pretty::pretty_format_batches(std::slice::from_ref(batch)).unwrap().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What is unpacked is what was packed, in the order of the groups, whatever batches the runs
    /// come from.
    #[test]
    fn rows_come_back_as_they_were(rows in vec(row(), 1..40), split in 0_usize..40, skip in 0_usize..3) {
        // A slice of a batch, so that no array starts at its buffer's start.
        let skip = skip.min(rows.len() - 1);
        let whole = batch(&rows).slice(skip, rows.len() - skip);
        let packing = Packing::new(&whole.schema()).unwrap();
        let count = whole.num_rows() as u32;
        let split = split as u32 % (count + 1);
        let groups = [(split..count).collect::<Vec<_>>(), (0..split).rev().collect::<Vec<_>>()];
        let packed = packing.pack(&whole, &groups).unwrap();
        prop_assert_eq!(packed.iter().map(|packed| packed.rows as u32).sum::<u32>(), count);
        // Two buffers: the text of each column lies in both.
        let again = packing.pack(&whole, &groups).unwrap();
        let runs = [packed[0].clone(), again[1].clone(), packed[1].clone()];
        let found = packing.unpack(&runs).unwrap();
        found.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());
        let expected = [&groups[0], &groups[1], &groups[1]].map(|group| {
            take_record_batch(&whole, &UInt32Array::from(group.clone())).unwrap()
        });
        let expected = concat_batches(&whole.schema(), &expected).unwrap();
        prop_assert_eq!(found.schema(), expected.schema());
        prop_assert_eq!(shown(&found), shown(&expected));
        let nan_free = |batch: &RecordBatch| batch.column(8).to_data();
        prop_assert_eq!(nan_free(&found), nan_free(&expected));
    }

    /// Bytes that are no packed rows are an error or other rows, never a panic or a view astray.
    #[test]
    fn damaged_bytes_do_no_harm(
        rows in vec(row(), 1..10),
        harm in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        // Lists and text go to other people's code, which only a checksum may trust.
        let whole = batch(&rows).project(&[2, 3, 4, 6, 9, 10]).unwrap();
        let packing = Packing::new(&whole.schema()).unwrap();
        let all = (0..rows.len() as u32).collect::<Vec<_>>();
        let packed = packing.pack(&whole, &[all]).unwrap().pop().unwrap();
        let mut bytes = packed.bytes.to_vec();
        for (place, byte) in harm {
            let place = place.index(bytes.len());
            bytes[place] ^= byte;
        }
        let cut_off = bytes[..cut.index(bytes.len())].to_vec();
        for bytes in [bytes, cut_off] {
            let packed = PackedRows { bytes: Buffer::from_vec(bytes), ..packed.clone() };
            if let Ok(batch) = packing.unpack(&[packed]) {
                batch.columns().iter().for_each(|c| c.to_data().validate_full().unwrap());
            }
        }
    }
}

#[test]
fn a_row_takes_what_its_values_need() {
    let row = Row {
        text: Some("x".repeat(255)),
        bytes: None,
        small: Some(1),
        short: None,
        number: 7,
        float: None,
        decimal: Some(1),
        flag: Some(true),
        nested: None,
        list: None,
    };
    let rows = batch(&[row]);
    let packing = Packing::new(&rows.schema()).unwrap();
    let packed = packing.pack(&rows, &[vec![0]]).unwrap().pop().unwrap();
    // Length, 15 nodes, long text, then the numbers of one, eight and sixteen bytes, and the flag.
    assert_eq!(packed.bytes.len(), 4 + 2 + (5 + 255) + 1 + 8 + 16 + 1);
    assert_eq!(packing.pack(&rows.slice(0, 0), &[]).unwrap().len(), 0);
}
