use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Int64Array, StringViewArray, TimestampMicrosecondArray,
    TimestampMillisecondArray,
};

use super::*;
use crate::event::system::UTC;
use crate::sinks::parquet::TimeRange;

fn config(by: Granularity) -> PartitionConfig {
    let time_range = TimeRange { from: "2000-01-01".into(), to: Some("2024-12-31".into()) };
    PartitionConfig { by, time: "at".into(), time_range }
}

fn rows(times: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("at", times, true)]).unwrap()
}

fn instants(times: Vec<Option<&str>>) -> ArrayRef {
    let micros = times.into_iter().map(|time| Some(micros(time?)));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone(UTC.clone()))
}

fn micros(time: &str) -> i64 {
    DateTime::parse_from_rfc3339(time).unwrap().timestamp_micros()
}

fn system(ops: &[&str], event_time: &str) -> SystemColumns {
    let count = ops.len();
    let times = vec![micros(event_time); count];
    SystemColumns {
        op: StringViewArray::from_iter_values(ops),
        key: StringViewArray::from_iter_values(ops),
        event_time: TimestampMicrosecondArray::from(times).with_timezone(UTC.clone()),
        version: Int64Array::from(vec![1; count]),
        stream: "s".into(),
        partition: "p".into(),
        position: Arc::new(Int64Array::from(vec![1; count])),
        before: None,
        extra: None,
        message: None,
    }
}

/// Folders with their rows, `0..3` for a run and `[0, 2]` for a list, and the refused rows.
fn assign(
    by: Granularity,
    times: ArrayRef,
    ops: &[&str],
) -> (Vec<(String, String)>, Vec<(usize, String)>) {
    let rows = rows(times);
    let layout = Layout::new(&config(by), &rows.schema()).unwrap();
    let system = system(ops, "2023-06-01T01:02:03Z");
    let found = layout.assign(&rows, &system, layout.bounds(0)).unwrap();
    (shown(&layout, &found.places), found.refused)
}

fn shown(layout: &Layout, places: &Places) -> Vec<(String, String)> {
    match places {
        Places::Runs(runs) => {
            runs.iter().map(|(bucket, run)| (layout.folder(*bucket), format!("{run:?}"))).collect()
        }
        Places::Lists(lists) => lists
            .iter()
            .map(|(bucket, list)| (layout.folder(*bucket), format!("{list:?}")))
            .collect(),
    }
}

fn place(folder: &str, rows: &str) -> (String, String) {
    (folder.to_owned(), rows.to_owned())
}

#[test]
fn folders_are_padded_numbers_in_utc() {
    let times = || {
        instants(vec![
            Some("2024-01-31T23:59:59.999999Z"),
            Some("2024-02-01T07:00:00+00:00"),
            Some("2000-01-01T00:00:00Z"),
        ])
    };
    let ops = ["insert"; 3];
    let folders =
        |by| assign(by, times(), &ops).0.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(
        folders(Granularity::Day),
        ["year=2024/month=01/day=31", "year=2024/month=02/day=01", "year=2000/month=01/day=01"]
    );
    assert_eq!(
        folders(Granularity::Month),
        ["year=2024/month=01", "year=2024/month=02", "year=2000/month=01"]
    );
    assert_eq!(
        folders(Granularity::Hour),
        [
            "year=2024/month=01/day=31/hour=23",
            "year=2024/month=02/day=01/hour=07",
            "year=2000/month=01/day=01/hour=00"
        ]
    );
}

#[test]
fn instants_before_1970_have_their_own_day() {
    let schema = rows(instants(vec![None])).schema();
    let mut config = config(Granularity::Day);
    config.time_range.from = "1900-01-01".into();
    let rows = rows(instants(vec![Some("1969-12-31T23:00:00Z"), Some("1970-01-01T00:00:00Z")]));
    for (by, folders) in [
        (Granularity::Day, ["year=1969/month=12/day=31", "year=1970/month=01/day=01"]),
        (Granularity::Month, ["year=1969/month=12", "year=1970/month=01"]),
    ] {
        config.by = by;
        let layout = Layout::new(&config, &schema).unwrap();
        let system = system(&["insert"; 2], "2023-06-01T00:00:00Z");
        let found = layout.assign(&rows, &system, layout.bounds(0)).unwrap();
        let found = shown(&layout, &found.places).into_iter().map(|(folder, _)| folder);
        assert_eq!(found.collect::<Vec<_>>(), folders);
    }
}

#[test]
fn rows_without_a_place_are_refused_with_the_reason() {
    let (buckets, refused) = assign(
        Granularity::Day,
        instants(vec![
            Some("1999-12-31T23:59:59.999999Z"),
            Some("2024-12-31T23:59:59Z"),
            Some("2025-01-01T00:00:00Z"),
            None,
        ]),
        &["insert"; 4],
    );
    assert_eq!(buckets, [place("year=2024/month=12/day=31", "1..2")]);
    let reasons: Vec<_> = refused.iter().map(|(row, reason)| (*row, reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (
                0,
                "`at` 1999-12-31T23:59:59.999999Z lies outside the time_range of the table: 2000-01-01 to 2024-12-31"
            ),
            (
                2,
                "`at` 2025-01-01T00:00:00Z lies outside the time_range of the table: 2000-01-01 to 2024-12-31"
            ),
            (3, "`at` is null, and the table is laid out by it"),
        ]
    );
}

#[test]
fn a_delete_without_a_time_goes_by_the_time_of_its_event() {
    let (buckets, refused) = assign(
        Granularity::Day,
        instants(vec![None, None, Some("2024-02-02T00:00:00Z")]),
        &["delete", "expire", "delete"],
    );
    assert!(refused.is_empty());
    assert_eq!(
        buckets,
        [place("year=2023/month=06/day=01", "[0, 1]"), place("year=2024/month=02/day=02", "[2]"),]
    );
}

#[test]
fn without_an_end_tomorrow_is_the_last_day() {
    let mut config = config(Granularity::Day);
    config.time_range.to = None;
    let rows = rows(instants(vec![Some("2024-03-02T23:59:59Z"), Some("2024-03-03T00:00:00Z")]));
    let layout = Layout::new(&config, &rows.schema()).unwrap();
    let bounds = layout.bounds(micros("2024-03-01T12:00:00Z"));
    let system = system(&["insert"; 2], "2023-06-01T00:00:00Z");
    let found = layout.assign(&rows, &system, bounds).unwrap();
    assert_eq!(shown(&layout, &found.places).len(), 1);
    assert_eq!(found.refused.len(), 1);
    assert!(found.refused[0].1.ends_with("2000-01-01 to 2024-03-02"), "{}", found.refused[0].1);
}

#[test]
fn long_runs_stay_and_scattered_rows_are_listed() {
    let day = |row: usize| format!("2024-01-{:02}T00:00:00Z", row % 3 + 1);
    let scattered: Vec<String> = (0..300).map(day).collect();
    let times = instants(scattered.iter().map(|time| Some(time.as_str())).collect());
    let (buckets, _) = assign(Granularity::Day, times, &["insert"; 300]);
    assert_eq!(buckets.len(), 3);
    let second: Vec<_> = (0..100).map(|row| row * 3 + 1).collect();
    assert_eq!(buckets[1].1, format!("{second:?}"));
    let sorted: Vec<String> = (0..300).map(|row| day(row / 150)).collect();
    let times = instants(sorted.iter().map(|time| Some(time.as_str())).collect());
    let (buckets, _) = assign(Granularity::Day, times, &["insert"; 300]);
    let runs: Vec<_> = buckets.iter().map(|(_, rows)| rows.as_str()).collect();
    assert_eq!(runs, ["0..150", "150..300"]);
}

#[test]
fn dates_and_other_units_are_times_too() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(19_723), Some(i32::MAX)]));
    let (buckets, refused) = assign(Granularity::Day, days, &["insert"; 2]);
    assert_eq!(buckets[0].0, "year=2024/month=01/day=01");
    assert_eq!(refused.len(), 1);
    let millis: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_704_067_200_000]));
    assert_eq!(assign(Granularity::Day, millis, &["insert"]).0[0].0, "year=2024/month=01/day=01");
}

#[test]
fn mistakes_in_the_configuration_are_named() {
    let good = rows(instants(vec![None])).schema();
    let text = rows(Arc::new(StringViewArray::from(vec!["x"]))).schema();
    let message = |config: &PartitionConfig, schema: &Schema| {
        let error = Layout::new(config, schema).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    let mut missing = config(Granularity::Day);
    missing.time = "when".into();
    assert!(message(&missing, &good).contains("no column `when`; the last stage gives at"));
    assert!(message(&config(Granularity::Day), &text).contains("must be a timestamp or a date"));
    let mut odd = config(Granularity::Day);
    odd.time_range.from = "yesterday".into();
    assert!(message(&odd, &good).contains("`yesterday` is not YYYY-MM-DD"));
    odd.time_range = TimeRange { from: "2024-01-02".into(), to: Some("2024-01-01".into()) };
    assert!(message(&odd, &good).contains("to lies before from"));
}
