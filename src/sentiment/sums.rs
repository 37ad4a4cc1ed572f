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

/// What is counted of a token, and of all of a text. The longest token, of forty bytes, has 78 features
/// and a sum of at most 78 times 128 either way; 2,000 of those fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts(u64);

impl Counts {
    const SPANISHNESS_BITS: u32 = 26;
    const FEATURES_BITS: u32 = 19;
    /// Half of the range of a token's sum.
    const HALF: i32 = 1 << 14;

    /// Of a token: its weight of Spanish against English, its features, and its features where it is
    /// a word.
    pub(super) fn of(spanishness: i32, features: u32, word_features: u32) -> Self {
        let words = u64::from(word_features) << Self::FEATURES_BITS | u64::from(features);
        Self(words << Self::SPANISHNESS_BITS | (spanishness + Self::HALF) as u64)
    }

    #[inline(always)]
    pub(super) fn add(&mut self, other: Self) {
        self.0 += other.0;
    }

    /// The three of so many tokens.
    pub(super) fn parts(self, count: usize) -> (i32, i32, i32) {
        let part = |from: u32, bits: u32| (self.0 >> from & ((1 << bits) - 1)) as i32;
        let spanishness = part(0, Self::SPANISHNESS_BITS) - Self::HALF * count as i32;
        let features = part(Self::SPANISHNESS_BITS, Self::FEATURES_BITS);
        let words = part(Self::SPANISHNESS_BITS + Self::FEATURES_BITS, Self::FEATURES_BITS);
        (spanishness, features, words)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::LONGEST_TOKEN;
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

    #[test]
    fn as_much_as_a_text_can_have_is_counted() {
        let mut features = 0;
        crate::sentiment::features::token_features(&[b'a'; LONGEST_TOKEN], 0, |_| features += 1);
        assert_eq!(features, 78);
        for spanishness in [-78 * 128, 0, 78 * 127] {
            let mut counts = Counts::default();
            (0..2000).for_each(|_| counts.add(Counts::of(spanishness, 78, 78)));
            assert_eq!(counts.parts(2000), (2000 * spanishness, 2000 * 78, 2000 * 78));
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
