use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, TimestampMicrosecondArray};
use proptest::prelude::*;

use super::*;
use crate::event::batch::{BeforeImage, RawRows, narrow};
use crate::event::system::UTC;
use crate::event::{Position, PositionRange, SystemColumns};

/// A batch whose rows have these operations; the row's number is in its only column.
fn batch(operations: &[&str], kept: Option<&[bool]>) -> Batch {
    let count = operations.len();
    let numbers = Int64Array::from_iter_values(0..count as i64);
    let times = TimestampMicrosecondArray::from_iter_values(0..count as i64);
    let keys = (0..count).map(|row| format!("[{row}]"));
    Batch {
        rows: RecordBatch::try_from_iter([("number", Arc::new(numbers.clone()) as _)]).unwrap(),
        system: SystemColumns {
            op: StringViewArray::from_iter_values(operations),
            key: StringViewArray::from_iter_values(keys),
            event_time: times.with_timezone(UTC.clone()),
            version: Int64Array::from_iter_values((0..count as i64).map(|row| row + 1)),
            stream: "s".into(),
            partition: "p".into(),
            position: Arc::new(numbers),
            before: None,
            extra: None,
            message: None,
        },
        raw: RawRows::none(),
        kept: kept.map(|kept| BooleanBuffer::from(kept.to_vec())),
        before: None,
        range: PositionRange::new(Position::Offset(0), Position::Offset(count as u64)),
        events: count as u64,
        bytes: 0,
        rejects: Vec::new(),
    }
}

/// The batch with an image before each row that has one: `Some(kept)`.
fn with_before(mut batch: Batch, images: &[Option<bool>]) -> Batch {
    batch.before = Some(BeforeImage {
        rows: batch.rows.clone(),
        present: images.iter().map(Option::is_some).collect(),
        kept: Some(images.iter().map(|kept| kept.unwrap_or(false)).collect()),
    });
    batch
}

/// `row:operation` of each row that is written, a star where it is withheld.
fn written(batch: Batch, rule: FilterRule, replay: bool) -> Vec<String> {
    let (events, range) = (batch.events, batch.range.clone());
    let SinkRows { batch, withheld } = rows_for_sink(batch, rule, replay).unwrap();
    assert_eq!((batch.events, &batch.range), (events, &range), "what is covered stays");
    assert!(batch.kept.is_none(), "the filter is spent");
    assert!(withheld.as_ref().is_none_or(|bits| bits.len() == batch.len()));
    (0..batch.len())
        .map(|row| {
            let star = withheld.as_ref().is_some_and(|bits| bits.value(row));
            let number = batch.system.version.value(row) - 1;
            assert_eq!(batch.system.key.value(row), format!("[{number}]"));
            format!("{number}:{}{}", batch.system.op.value(row), if star { "*" } else { "" })
        })
        .collect()
}

const ALL: [&str; 6] = ["insert", "update", "upsert", "delete", "expire", "snapshot"];

#[test]
fn without_a_filter_every_row_is_itself() {
    let itself = ["0:insert", "1:update", "2:upsert", "3:delete", "4:expire", "5:snapshot"];
    for rule in [FilterRule::Keyed, FilterRule::Log] {
        assert_eq!(written(batch(&ALL, None), rule, false), itself);
        assert_eq!(written(batch(&ALL, Some(&[true; 6])), rule, true), itself);
    }
}

#[test]
fn a_keyed_sink_deletes_what_is_no_longer_kept() {
    let none = batch(&ALL, Some(&[false; 6]));
    assert_eq!(
        written(none, FilterRule::Keyed, false),
        ["1:delete*", "2:delete*", "3:delete", "4:expire", "5:delete*"],
        "an insert becomes nothing; delete and expire pass as what they are"
    );
    let some = batch(&["update", "insert", "update"], Some(&[true, false, false]));
    assert_eq!(written(some, FilterRule::Keyed, false), ["0:update", "2:delete*"]);
}

#[test]
fn a_log_gets_only_what_the_filter_is_true_of() {
    let kept = [true, false, true, true, false, false];
    assert_eq!(
        written(batch(&ALL, Some(&kept)), FilterRule::Log, false),
        ["0:insert", "2:upsert", "3:delete"]
    );
    assert!(written(batch(&ALL, Some(&[false; 6])), FilterRule::Log, true).is_empty());
}

#[test]
fn an_image_before_that_was_not_kept_either_writes_nothing() {
    let operations = ["update", "update", "update", "delete", "upsert", "insert"];
    let images = [Some(true), Some(false), None, Some(false), Some(false), Some(true)];
    let changed = with_before(batch(&operations, Some(&[false; 6])), &images);
    assert_eq!(
        written(changed, FilterRule::Keyed, false),
        ["0:delete*", "2:delete*", "3:delete"],
        "an unknown image counts as written; a delete passes in any case"
    );
    let mut unfiltered = with_before(batch(&["update"], Some(&[false])), &[Some(false)]);
    unfiltered.before.as_mut().unwrap().kept = None;
    assert_eq!(written(unfiltered, FilterRule::Keyed, false), ["0:delete*"]);
}

#[test]
fn in_a_replay_neither_exception_holds() {
    let operations = ["insert", "update", "delete", "expire"];
    let images = [None, Some(false), Some(false), Some(false)];
    let replayed = with_before(batch(&operations, Some(&[false; 4])), &images);
    assert_eq!(
        written(replayed, FilterRule::Keyed, true),
        ["0:delete*", "1:delete*", "2:delete", "3:expire"]
    );
}

#[test]
fn null_is_not_true() {
    let condition = BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]);
    let first = narrow(None, &condition).unwrap();
    assert_eq!(first.iter().collect::<Vec<_>>(), [true, false, false, true]);
    let condition = BooleanArray::from(vec![Some(true), Some(true), None, None]);
    let both = narrow(Some(&first), &condition).unwrap();
    assert_eq!(both.iter().collect::<Vec<_>>(), [true, false, false, false]);
}

proptest! {
    /// Whatever the filters say, a versioned store that held the row before never keeps it.
    #[test]
    fn no_stale_row_stays(
        rows in prop::collection::vec((0..6_usize, any::<bool>(), any::<Option<bool>>()), 1..20),
        replay: bool,
    ) {
        let operations: Vec<_> = rows.iter().map(|row| ALL[row.0]).collect();
        let kept: Vec<_> = rows.iter().map(|row| row.1).collect();
        let images: Vec<_> = rows.iter().map(|row| row.2).collect();
        let batch = with_before(batch(&operations, Some(&kept)), &images);
        let written = written(batch, FilterRule::Keyed, replay);
        for (number, (operation, kept, before)) in rows.iter().enumerate() {
            let shown = written.iter().find(|row| row.starts_with(&format!("{number}:")));
            let operation = ALL[*operation];
            if *kept || matches!(operation, "delete" | "expire") {
                prop_assert_eq!(shown, Some(&format!("{number}:{operation}")));
            } else if let Some(shown) = shown {
                prop_assert_eq!(shown, &format!("{number}:delete*"));
            } else {
                prop_assert!(!replay && (operation == "insert" || *before == Some(false)));
            }
        }
    }
}
