use arrow::array::{ArrayRef, AsArray as _, Int64Array, StringViewArray};
use arrow::buffer::{Buffer, ScalarBuffer};
use arrow::datatypes::Int64Type;

use super::*;

fn batch(from: i64, count: i64) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + count));
    let text = (from..from + count).map(|row| format!("the text of row number {row}"));
    let text: ArrayRef = Arc::new(StringViewArray::from_iter_values(text));
    RecordBatch::try_from_iter([("n", numbers), ("t", text)]).unwrap()
}

fn numbers(blocks: &[RecordBatch]) -> Vec<i64> {
    let column =
        |block: &RecordBatch| block.column(0).as_primitive::<Int64Type>().values().to_vec();
    blocks.iter().flat_map(column).collect()
}

#[test]
fn long_runs_are_sliced_and_the_rest_is_gathered_in_order() {
    let (lane, budget) = (LaneBytes::default(), MemoryBudget::new(1 << 20));
    let long = Held::new(batch(0, 5000), &lane, &budget).unwrap();
    let short = Held::new(batch(10_000, 100), &lane, &budget).unwrap();
    let mut waiting = Waiting::default();
    waiting.push(&short, BucketRows::List(Box::new([3, 7])));
    waiting.push(&short, BucketRows::Run { start: 50, length: 2 });
    waiting.push(&long, BucketRows::Run { start: 100, length: 2000 });
    waiting.push(&short, BucketRows::List(Box::new([99])));
    let schema = batch(0, 1).schema();
    let found = blocks(&waiting.pieces, &schema).unwrap();
    let mut expected = vec![10_003, 10_007, 10_050, 10_051];
    expected.extend(100..2100);
    expected.push(10_099);
    assert_eq!(numbers(&found), expected);
    assert_eq!(found.len(), 3);
    assert_eq!(waiting.rows, 2005);
    // The slice shares its numbers with the batch it was cut from.
    let cut = found[1].column(0).as_primitive::<Int64Type>().values().inner().as_ptr();
    let whole = long.batch.column(0).as_primitive::<Int64Type>().values().inner().as_ptr();
    assert_eq!(cut as usize - whole as usize, 800);
    let text = found[2].column(1).as_string_view().value(0).to_owned();
    assert_eq!(text, "the text of row number 10099");
}

#[test]
fn bytes_are_counted_until_the_last_row_is_gone() {
    let (lane, budget) = (LaneBytes::default(), MemoryBudget::new(1 << 20));
    let held = Held::new(batch(0, 1000), &lane, &budget).unwrap();
    let used = lane.used();
    assert!((20_000..200_000).contains(&used), "{used}");
    assert_eq!(budget.used(), used);
    let other = held.clone();
    drop(held);
    assert_eq!(lane.used(), used);
    drop(other);
    assert_eq!((lane.used(), budget.used()), (0, 0));
}

#[test]
fn a_chunk_counts_once_however_many_columns_point_into_it() {
    let chunk = Buffer::from_vec(vec![b'x'; 1 << 20]);
    let views: Vec<u128> = (0..4000)
        .map(|row| {
            u128::from(100_u32)
                | (u128::from(0x7878_7878_u32) << 32)
                | (u128::from(row * 100_u32) << 96)
        })
        .collect();
    let column = || -> ArrayRef {
        let views = ScalarBuffer::from(views.clone());
        Arc::new(StringViewArray::new(views, vec![chunk.clone()], None))
    };
    let batch =
        RecordBatch::try_from_iter([("a", column()), ("b", column()), ("c", column())]).unwrap();
    let bytes = memory_of(&batch);
    assert!(((1 << 20)..(1 << 20) + 250_000).contains(&bytes), "{bytes}");
    // Few rows do not keep the chunk alive.
    let (lane, budget) = (LaneBytes::default(), MemoryBudget::new(1 << 20));
    let few = Held::new(batch.slice(0, 10), &lane, &budget).unwrap();
    assert!(lane.used() < 300_000, "{}", lane.used());
    assert_eq!(few.batch, batch.slice(0, 10));
}
