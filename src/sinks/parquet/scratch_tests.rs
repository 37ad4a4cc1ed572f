use arrow::array::{Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::Int64Type;

use super::*;

/// Rows with these numbers, and text that does not fit into a view.
fn batch(numbers: &[i64]) -> RecordBatch {
    let text = numbers.iter().map(|number| format!("the text of row number {number}"));
    RecordBatch::try_from_iter([
        ("number", Arc::new(Int64Array::from(numbers.to_vec())) as arrow::array::ArrayRef),
        ("text", Arc::new(StringViewArray::from_iter_values(text))),
    ])
    .unwrap()
}

fn scratch(folder: &Path) -> Scratch {
    let packing = Arc::new(Packing::new(&batch(&[0]).schema()).unwrap());
    Scratch::create(folder, &packing).unwrap()
}

fn spill(scratch: &mut Scratch, rows: &[(Bucket, &[i64])]) {
    let packing = scratch.packing.clone();
    let piece = |numbers: &[i64]| {
        let all = (0..numbers.len() as u32).collect();
        let packed = packing.pack(&batch(numbers), &[all]).unwrap().pop().unwrap();
        Piece::Packed { packed, _charge: None }
    };
    let rows = rows.iter().map(|(bucket, numbers)| (*bucket, vec![piece(numbers)])).collect();
    scratch.spill(rows).unwrap();
}

/// The Hive partitions of a group, with the numbers of their rows.
fn shown(packing: &Packing, group: Vec<Part>) -> Vec<(Bucket, Vec<i64>, bool)> {
    use arrow::array::AsArray as _;
    let numbers = |piece: &Piece| {
        let rows = packing.unpack(&[piece.packed(packing).unwrap()]).unwrap();
        let numbers = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        assert_eq!(rows, batch(&numbers));
        numbers
    };
    let part =
        |part: Part| (part.bucket, part.pieces.iter().flat_map(numbers).collect(), part.is_last);
    group.into_iter().map(part).collect()
}

#[test]
fn runs_are_read_side_by_side_oldest_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut scratch = scratch(folder.path());
    spill(&mut scratch, &[(1, &[10, 11]), (3, &[30])]);
    spill(&mut scratch, &[(-2, &[20]), (1, &[12])]);
    spill(&mut scratch, &[(3, &[31, 32])]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has no name");
    let packing = scratch.packing.clone();
    let mut merge = scratch.into_merge();
    let first = merge.next_group(4).unwrap();
    assert_eq!(shown(&packing, first), [(-2, vec![20], true), (1, vec![10, 11, 12], true)]);
    let second = merge.next_group(4).unwrap();
    assert_eq!(shown(&packing, second), [(3, vec![30, 31, 32], true)]);
    assert!(merge.next_group(4).unwrap().is_empty());
}

#[test]
fn a_large_hive_partition_comes_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let mut scratch = scratch(folder.path());
    // Each write holds one slice, for it is more than is written at once.
    let rows = WRITE_BYTES as i64 / 40;
    let most = 4 * rows as usize;
    let parts = 12;
    for part in 0..parts {
        let numbers: Vec<i64> = (part * rows..(part + 1) * rows).collect();
        spill(&mut scratch, &[(7, &numbers), (9, &[-part])]);
    }
    let packing = scratch.packing.clone();
    let mut merge = scratch.into_merge();
    let (mut found, mut groups, mut last) = (Vec::new(), 0, false);
    while !last {
        let group = shown(&packing, merge.next_group(most).unwrap());
        assert_eq!(group.len(), 1);
        for (bucket, numbers, is_last) in group {
            assert_eq!(bucket, 7);
            assert!(numbers.len() < most + rows as usize, "{}", numbers.len());
            found.extend(numbers);
            last = is_last;
        }
        groups += 1;
    }
    assert_eq!(found, (0..parts * rows).collect::<Vec<_>>());
    assert_eq!(groups, 3);
    let rest = shown(&packing, merge.next_group(1000).unwrap());
    assert_eq!(rest, [(9, (0..parts).map(|part| -part).collect(), true)]);
}

#[test]
fn what_the_disk_has_changed_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut scratch = scratch(folder.path());
    spill(&mut scratch, &[(1, &[1, 2, 3]), (2, &[4])]);
    // Inside the text of the first row: nothing but the checksum would notice.
    scratch.file.write_all_at(&[0xFF], 30).unwrap();
    let packing = scratch.packing.clone();
    let group = scratch.into_merge().next_group(10).unwrap();
    let unpack = |part: &Part| packing.unpack(&[part.pieces[0].packed(&packing).unwrap()]);
    let error = unpack(&group[0]).unwrap_err();
    assert!(error.to_string().contains("the disk does not give back"), "{error}");
    assert!(unpack(&group[1]).is_ok());
}
