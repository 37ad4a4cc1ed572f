//! Where the letters of a text are: one bit for each byte, found sixteen bytes at a time.

use wide::{i8x16, u8x16};

use super::plain::{AT_ONCE, ROOM, make_plain};

/// What a text is made of. Used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The text in its plain form, then [`ROOM`] zeros, then what is left of longer ones.
    padded: Vec<u8>,
    /// Bytes of it.
    length: usize,
    /// 64 bytes of the text each.
    blocks: Vec<Block>,
    /// There is a sign that Spanish has and English has not.
    pub(super) has_spanish_signs: bool,
}

/// One bit for each of 64 bytes, the first one lowest.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Block {
    /// ASCII letters.
    pub(super) letters: u64,
    /// First letters of a row of letters, and whatever else is no white space and no end.
    pub(super) starts: u64,
    /// Signs that end a clause where they are part of nothing else, as of a number or a link: commas,
    /// and full stops that stand alone or are the last of several.
    pub(super) ends: u64,
    /// Where a word that begins there may be laughter or stretched or in capitals, three or more; where
    /// none is set, one of up to fifteen letters is not.
    pub(super) odd: u64,
}

/// Bytes of a block.
const BLOCK: usize = 64;
// Zeros end any block, and begin the next one, which the last bytes are looked at with.
const _: () = assert!(ROOM >= BLOCK + AT_ONCE);

/// What 64 bytes are, one bit for each.
#[derive(Default)]
struct Bits {
    letters: u64,
    /// All but white space and control characters.
    visible: u64,
    /// Those that stay as they are when letters are made small.
    small: u64,
    /// Those that the next byte repeats, however it is written.
    repeated: u64,
    /// What laughter is made of: `h` and `j`.
    laughing: u64,
    commas: u64,
    stops: u64,
}

impl Bits {
    /// Sixteen more bytes, and the sixteen that begin one further; `shift` is the bit of the first.
    #[inline(always)]
    fn add(&mut self, bytes: &[u8; AT_ONCE], further: &[u8; AT_ONCE], shift: usize) {
        let as_small = |bytes| u8x16::new(bytes) | u8x16::splat(0x20);
        // `last` is the largest number then, and what is above it is less than all others.
        let up_to = |bytes: u8x16, last| (bytes + u8x16::splat(0x7f - last)).cast_signed();
        let is = |bytes: u8x16, sign| bytes.simd_eq(u8x16::splat(sign));
        let bits = |bytes: u8x16| u64::from(bytes.to_bitmask()) << shift;
        let (plain, small) = (u8x16::new(*bytes), as_small(*bytes));
        let letters = up_to(small, b'z').simd_gt(i8x16::splat(0x7f - 26));
        let visible = up_to(plain, b' ').simd_lt(i8x16::splat(0x7f - b' ' as i8));
        self.letters |= bits(letters.cast_unsigned());
        self.visible |= bits(visible.cast_unsigned());
        self.small |= bits(plain.simd_eq(small));
        self.repeated |= bits(small.simd_eq(as_small(*further)));
        // The two differ in one bit.
        self.laughing |= bits(is(small | u8x16::splat(0x02), b'j'));
        self.commas |= bits(is(plain, b','));
        self.stops |= bits(is(plain, b'.'));
    }

    /// Where a word may begin that is laughter or in capitals. What is behind the 64 bytes may be
    /// anything.
    #[inline(always)]
    fn odd(&self) -> u64 {
        let (laughing, capitals) = (self.laughing, self.letters & !self.small);
        let soon_again = laughing >> 1 | laughing >> 2 | laughing >> 3 | laughing >> 4 | 0xf << 60;
        let laughs = laughing & soon_again;
        let shouts = capitals & (capitals >> 1) & (capitals >> 2 | 1 << 62);
        // One of its first two letters; of the last bit the second one is not known.
        laughs | laughs >> 1 | shouts | 1 << 63
    }
}

impl Survey {
    /// Look at `text` instead of what was looked at before: at its plain form.
    #[inline(never)]
    pub(super) fn read(&mut self, text: &str) {
        (self.length, self.has_spanish_signs) = make_plain(text, &mut self.padded);
        let behind = self.padded.get_mut(self.length..).unwrap_or_default();
        if let Some(behind) = behind.first_chunk_mut() {
            *behind = [0; ROOM];
        }
        self.blocks.clear();
        let (bytes, _) = self.padded.as_chunks::<BLOCK>();
        let (further, _) = self.padded.get(1..).unwrap_or_default().as_chunks::<BLOCK>();
        let (mut letters_before, mut pairs_before) = (0, 0);
        let count = self.length.div_ceil(BLOCK);
        for (bytes, further) in bytes.iter().zip(further).take(count) {
            let mut bits = Bits::default();
            let (bytes, _) = bytes.as_chunks::<AT_ONCE>();
            let (further, _) = further.as_chunks::<AT_ONCE>();
            for (index, (bytes, further)) in bytes.iter().zip(further).enumerate() {
                bits.add(bytes, further, AT_ONCE * index);
            }
            let Bits { letters, visible, repeated, .. } = bits;
            let ends = bits.commas | bits.stops & !repeated;
            let first = letters & !(letters << 1 | letters_before >> 63);
            let mut odd = bits.odd();
            // A letter three times in a row is rare: that it is in the block that a word begins in, or in
            // the one behind it, is enough. A word that goes on further is spelled anyway.
            let pairs = letters & repeated;
            if pairs & (pairs << 1 | pairs_before >> 63) != 0 {
                odd = u64::MAX;
                if let Some(before) = self.blocks.last_mut() {
                    before.odd = u64::MAX;
                }
            }
            let starts = first | visible & !(letters | ends);
            self.blocks.push(Block { letters, starts, ends, odd });
            (letters_before, pairs_before) = (letters, pairs);
        }
    }

    /// The text in its plain form.
    pub(super) fn plain(&self) -> &[u8] {
        self.padded.get(..self.length).unwrap_or_default()
    }

    /// What each 64 bytes are.
    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The same, at least sixteen zeros behind it, and then anything.
    pub(super) fn padded(&self) -> &[u8] {
        &self.padded
    }

    /// Number of letters from `at` on; 64 where they are as many or more.
    pub(super) fn letters_at(&self, at: usize) -> u32 {
        let (index, shift) = (at / 64, at as u32 % 64);
        let letters = |index: usize| self.blocks.get(index).map_or(0, |block| block.letters);
        // In two steps, since a shift by 64 is none.
        let letters = letters(index) >> shift | letters(index + 1) << 1 << (63 - shift);
        (!letters).trailing_zeros()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn survey(text: &str) -> Survey {
        let mut survey = Survey::default();
        survey.read("what was read BEFORE, aaa");
        survey.read(text);
        survey
    }

    #[test]
    fn behind_the_end_are_zeros() {
        for length in 0..200 {
            let text = "a".repeat(length);
            let mut read = survey(&"b".repeat(150));
            read.read(&text);
            let (written, zeros) = read.padded().split_at(length);
            assert!(written == text.as_bytes() && zeros.len() >= 16);
            assert_eq!(zeros[..16], [0; 16], "{length}");
        }
    }

    /// Whether the last word of `text` is one that may be odd.
    fn is_odd(text: &str) -> bool {
        let read = survey(text);
        let from = text.rfind(' ').map_or(0, |space| space + 1);
        read.blocks()[from / 64].odd >> (from % 64) & 1 != 0
    }

    #[test]
    fn odd_words_are_told_wherever_they_stand() {
        assert!(!is_odd("Hola Que TAl {[{[[[ @`@"));
        for shift in 0..140 {
            let before = " ".repeat(shift);
            let odd =
                ["NOS", "jaja", "ajaja", "jsaaj", "JEJE", "hahaha", "siii", "asiii", "graciasSs"];
            for word in odd {
                assert!(is_odd(&format!("{before}{word}")), "{shift} {word}");
            }
            // Of what reaches the end of its block it is not told.
            for word in ["NOs", "No", "oo", "hasta", "jugo", "viaje", "trabajo", "h"] {
                let is_told = shift % 64 < 59;
                assert!(!is_told || !is_odd(&format!("{before}{word}")), "{shift} {word}");
            }
        }
    }

    proptest! {
        #[test]
        fn bits_say_what_bytes_are(
            text in prop_oneof!["\\PC{0,200}", "[a-zA-Z]{50,200}", "[a-zA-Z .,é]{0,200}"]
        ) {
            let read = survey(&text);
            let bytes = read.plain();
            for at in 0..bytes.len() + 70 {
                let rest = bytes.get(at..).unwrap_or_default();
                let letters = rest.iter().take(64).take_while(|byte| byte.is_ascii_alphabetic());
                prop_assert_eq!(read.letters_at(at) as usize, letters.count());
                let is_letter = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphabetic);
                let is_first = is_letter(at) && !(at > 0 && is_letter(at - 1));
                let is_end = match bytes.get(at..) {
                    Some([b',', ..] | [b'.']) => true,
                    // A control character that differs in one bit counts as another full stop.
                    Some([b'.', next, ..]) => !matches!(*next, b'.' | 0x0e),
                    _ => false,
                };
                let is_visible = bytes.get(at).is_some_and(|byte| *byte > b' ');
                let is_other = is_visible && !is_letter(at) && !is_end;
                let block = read.blocks.get(at / 64).copied().unwrap_or_default();
                prop_assert_eq!(block.starts >> (at % 64) & 1 != 0, is_first || is_other, "{}", at);
                prop_assert_eq!(block.ends >> (at % 64) & 1 != 0, is_end, "{}", at);
            }
        }
    }
}
