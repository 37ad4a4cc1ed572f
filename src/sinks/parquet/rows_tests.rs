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
fn long_runs_are_sliced_short_ones_joined_and_packed_rows_unpacked_in_order() {
    let (lane, budget) = (LaneBytes::default(), MemoryBudget::new(1 << 20));
    let long = Held::new(batch(0, 5000), &lane, &budget).unwrap();
    let short = Held::new(batch(10_000, 100), &lane, &budget).unwrap();
    let packing = Packing::new(&batch(0, 1).schema()).unwrap();
    let packed = packing.pack(&batch(20_000, 100), &[vec![3, 7], vec![99]]).unwrap();
    let run = |held: &Held, start, length| Piece::Run { held: held.clone(), start, length };
    let mut waiting = Waiting::default();
    waiting.push(Piece::Packed { packed: packed[0].clone(), _charge: None });
    waiting.push(Piece::Packed { packed: packed[1].clone(), _charge: None });
    waiting.push(run(&short, 50, 2));
    waiting.push(run(&short, 10, 1));
    waiting.push(run(&long, 100, 2000));
    waiting.push(Piece::Packed { packed: packed[0].clone(), _charge: None });
    let found = Blocks::new(&waiting.pieces, &packing).collect::<Result<Vec<_>, _>>().unwrap();
    let mut expected = vec![20_003, 20_007, 20_099, 10_050, 10_051, 10_010];
    expected.extend(100..2100);
    expected.extend([20_003, 20_007]);
    assert_eq!(numbers(&found), expected);
    assert_eq!(found.len(), 4);
    assert_eq!(waiting.rows, 2008);
    // The slice shares its numbers with the batch it was cut from.
    let cut = found[2].column(0).as_primitive::<Int64Type>().values().inner().as_ptr();
    let whole = long.batch.column(0).as_primitive::<Int64Type>().values().inner().as_ptr();
    assert_eq!(cut as usize - whole as usize, 800);
    let text = found[3].column(1).as_string_view().value(1).to_owned();
    assert_eq!(text, "the text of row number 20007");
    // A run can be packed later, and is the same.
    let late = run(&long, 100, 2000).packed(&packing).unwrap();
    assert_eq!(packing.unpack(&[late]).unwrap(), found[2]);
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
