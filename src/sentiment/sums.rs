//! Four numbers added up at once, as parts of one: what a processor does in a few steps and without a
//! branch.
//!
//! Each part is a number and half of the range above it, so that none is below zero and none reaches
//! into the next; the halves are taken away at the end.

/// Four weights of -128 to 127, each in eight bits: a row of a table.
pub(super) type Row = u32;

/// What turns a row of signed bytes into a [`Row`], and back.
pub(super) const ROW_SIGNS: u32 = 0x8080_8080;

/// So many rows can be added up before one of their parts is too large: 256 times 255 fits.
pub(super) const MOST_ROWS: usize = 256;

/// Adds up at most [`MOST_ROWS`] rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rows {
    /// Each of the four in 16 bits: the first, the third, the second, the fourth.
    lanes: u64,
}

impl Rows {
    #[inline(always)]
    pub(super) fn add(&mut self, row: Row) {
        let row = u64::from(row);
        self.lanes += (row | row << 24) & 0x00ff_00ff_00ff_00ff;
    }

    /// The sum of each of the four weights of so many rows.
    pub(super) fn sums(self, count: usize) -> [i32; 4] {
        let lane = |index: u32| i32::from((self.lanes >> (16 * index)) as u16) - 128 * count as i32;
        [lane(0), lane(2), lane(1), lane(3)]
    }
}

/// Four numbers of -32768 to 32767, each in sixteen bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Four(u64);

impl Four {
    /// These four.
    pub(super) fn of(numbers: [i32; 4]) -> Self {
        let parts = numbers.map(|number| u64::from((number + 0x8000) as u16));
        Self(parts.into_iter().rev().fold(0, |four, part| four << 16 | part))
    }
}

/// Adds up fours.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fours {
    /// The first and the third, each in 32 bits, and the second and the fourth: 65,536 of them fit.
    lanes: [u64; 2],
}

impl Fours {
    #[inline(always)]
    pub(super) fn add(&mut self, Four(four): Four) {
        const EVEN: u64 = 0x0000_ffff_0000_ffff;
        let [even, odd] = &mut self.lanes;
        *even += four & EVEN;
        *odd += four >> 16 & EVEN;
    }

    /// The sum of each of the four numbers of so many fours.
    pub(super) fn sums(self, count: usize) -> [i32; 4] {
        let [even, odd] = self.lanes;
        let signed = |lane: u64| (lane as u32).wrapping_sub(0x8000 * count as u32) as i32;
        [signed(even), signed(odd), signed(even >> 32), signed(odd >> 32)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn added(rows: &[[i8; 4]]) -> [i32; 4] {
        let mut sums = Rows::default();
        for row in rows {
            sums.add(u32::from_le_bytes(row.map(|weight| weight as u8)) ^ ROW_SIGNS);
        }
        sums.sums(rows.len())
    }

    fn one_by_one(rows: &[[i32; 4]]) -> [i32; 4] {
        let mut sums = [0; 4];
        for row in rows {
            for (sum, weight) in sums.iter_mut().zip(row) {
                *sum += weight;
            }
        }
        sums
    }

    #[test]
    fn the_largest_numbers_are_added_up() {
        for weight in [-128, 127] {
            let rows = vec![[weight, -1 - weight, weight, 0]; MOST_ROWS];
            let weights: Vec<_> = rows.iter().map(|row| row.map(i32::from)).collect();
            assert_eq!(added(&rows), one_by_one(&weights));
        }
        for number in [-32768, 32767] {
            let fours = vec![[number, -1 - number, number, 0]; 4000];
            let mut sums = Fours::default();
            fours.iter().for_each(|four| sums.add(Four::of(*four)));
            assert_eq!(sums.sums(fours.len()), one_by_one(&fours));
        }
    }

    proptest! {
        #[test]
        fn sums_are_those_of_one_by_one(rows in prop::collection::vec(any::<[i8; 4]>(), 0..=256)) {
            let weights: Vec<_> = rows.iter().map(|row| row.map(i32::from)).collect();
            prop_assert_eq!(added(&rows), one_by_one(&weights));
            let mut sums = Fours::default();
            weights.iter().for_each(|four| sums.add(Four::of(*four)));
            prop_assert_eq!(sums.sums(weights.len()), one_by_one(&weights));
        }
    }
}
