//! The forms in which a contract lets times and exact numbers be written.

use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, Decimal128Type, TimestampMicrosecondType};

use super::number::{Misfit, unscaled};
use super::tests::{column, contract, lines, stamp};
use super::{Format, decoder};
use crate::contract::{Column, ColumnType, Contract, DecimalForm, TimeForm};
use crate::event::Batch;

/// The contract with one column `a` besides its key.
fn with(kind: ColumnType) -> Contract {
    let key = Column { required: true, ..column("id", ColumnType::Integer) };
    let at = column("at", ColumnType::Timestamp(TimeForm::Text));
    Contract {
        columns: vec![key, at, column("a", kind)],
        primary_key: vec!["id".into()],
        ..contract()
    }
}

fn read(kind: ColumnType, values: &[&str]) -> Batch {
    let record = |value: &&str| format!(r#"{{"id":1,"at":"2024-01-15","a":{value}}}"#);
    let text = values.iter().map(record).collect::<Vec<_>>().join("\n");
    let mut decoder = decoder(std::sync::Arc::new(with(kind)), Format::Plain);
    decoder.decode(&lines(text.as_bytes()), &stamp()).unwrap()
}

fn reasons(batch: &Batch) -> Vec<&str> {
    batch.rejects.iter().map(|letter| letter.reason.as_str()).collect()
}

#[test]
fn counts_of_microseconds_and_nanoseconds() {
    let micros = |form, values: &[&str]| {
        let batch = read(ColumnType::Timestamp(form), values);
        let column = batch.rows.column(2).as_primitive::<TimestampMicrosecondType>();
        (column.iter().collect::<Vec<_>>(), reasons(&batch).join("\n"))
    };
    let (values, refused) = micros(
        TimeForm::EpochMicros,
        &["1705314600000001", "-1", "null", "0", "253402300800000000", "\"2024-01-15\"", "1.5e3"],
    );
    assert_eq!(values, [Some(1_705_314_600_000_001), Some(-1), None, Some(0), Some(1500)]);
    assert_eq!(
        refused,
        "a: expected microseconds since 1970, found number 253402300800000000\n\
         a: expected microseconds since 1970, found text \"2024-01-15\""
    );
    // What is cut is cut towards the past, as it is from text.
    let (values, refused) = micros(
        TimeForm::EpochNanos,
        &["1705314600000001999", "-1", "-1000", "-9223372036854775808", "253402300800000000000"],
    );
    let least = Some(-9_223_372_036_854_776);
    assert_eq!(values, [Some(1_705_314_600_000_001), Some(-1), Some(-1), least]);
    assert_eq!(refused, "a: expected nanoseconds since 1970, found number 253402300800000000000");
}

#[test]
fn counts_of_days() {
    let batch = read(
        ColumnType::Date(TimeForm::EpochDays),
        &["19737", "-1", "-719162", "2932896", "-719163", "2932897", "null", "1.5", "\"19737\""],
    );
    let days: Vec<_> = batch.rows.column(2).as_primitive::<Date32Type>().iter().collect();
    assert_eq!(days, [Some(19737), Some(-1), Some(-719_162), Some(2_932_896), None]);
    assert_eq!(
        reasons(&batch),
        [
            "a: expected days since 1970, found number -719163",
            "a: expected days since 1970, found number 2932897",
            "a: expected days since 1970, found number 1.5",
            "a: expected days since 1970, found text \"19737\"",
        ]
    );
}

#[test]
fn exact_numbers_as_unscaled_bytes() {
    let kind = ColumnType::Decimal { precision: 5, scale: 2, form: DecimalForm::Base64 };
    let values = [
        "\"BM4=\"",                       // 1230
        "\"+zI=\"",                       // -1230
        "\"AA==\"",                       // 0
        "12.3",                           // a number is no guess
        r#"{"scale":1,"value":"ew=="}"#,  // 123, of another scale
        r#"{"value":"MDk=","scale":3}"#,  // 12345: not without its last digit
        r#"{"scale":3,"value":"MDI="}"#,  // 12338
        r#"{"scale":-1,"value":"AQ=="}"#, // 1, times ten
        "null",
        "\"12.30\"",
        "\"\"",
        "\"AYag\"", // 100000
        r#"{"scale":1}"#,
    ];
    let batch = read(kind, &values);
    let column = batch.rows.column(2).as_primitive::<Decimal128Type>();
    let found: Vec<_> = column.iter().collect();
    let expected = [1230, -1230, 0, 1230, 1230].map(Some);
    assert_eq!(found, [&expected[..], &[Some(1000), None]].concat());
    let expected = "a: expected a number of at most 5 digits, 2 of them decimals, its unscaled value in base64, found";
    assert_eq!(
        reasons(&batch),
        [
            format!("{expected} text \"MDk=\": too many decimals"),
            format!("{expected} text \"MDI=\": too many decimals"),
            format!("{expected} text \"12.30\""),
            format!("{expected} text \"\": it has no bytes"),
            format!("{expected} text \"AYag\": too many digits"),
            "a: expected an object of `scale` and `value`".to_owned(),
        ]
    );
    // Digits as text and base64 are never taken for each other.
    let digits = ColumnType::Decimal { precision: 5, scale: 2, form: DecimalForm::Digits };
    assert_eq!(read(digits, &["\"BM4=\""]).rejects.len(), 1);
}

proptest::proptest! {
    #[test]
    fn unscaled_bytes_are_the_number(value: i128, padding in 0usize..4, scale in 0i8..3) {
        let value = value / 100_000;
        let sign = if value < 0 { 0xff } else { 0 };
        let bytes = [vec![sign; padding], value.to_be_bytes().to_vec()].concat();
        let fits = value.unsigned_abs() < 10u128.pow(38 - scale as u32);
        let expected = if fits { Ok(value * 10i128.pow(scale as u32)) } else { Err(Misfit::Range) };
        proptest::prop_assert_eq!(unscaled(&bytes, 0, 38, scale), expected);
        if fits {
            let more = (value * 10i128.pow(scale as u32)).to_be_bytes();
            proptest::prop_assert_eq!(unscaled(&more, i32::from(scale), 38, 0), Ok(value));
        }
        let larger = [vec![1], vec![0; 16]].concat();
        proptest::prop_assert_eq!(unscaled(&larger, 0, 38, 0), Err(Misfit::Range));
    }
}
