//! Where the letters of a text are: one bit for each byte, found eight bytes at a time.

use super::plain::make_plain;

/// One in each byte.
const EACH: u64 = u64::MAX / 255;
/// The upper bit of each byte.
const UPPER: u64 = 0x80 * EACH;

/// What a text is made of. Used again for the next one.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The text in its plain form, and at least sixteen zeros behind it.
    padded: Vec<u8>,
    /// Bytes of it.
    length: usize,
    /// 64 bytes of the text each.
    blocks: Vec<Block>,
    /// A letter stands three times in a row.
    pub(super) has_stretches: bool,
    /// There are three capitals.
    pub(super) may_shout: bool,
    /// There is a sign that Spanish has and English has not.
    pub(super) has_spanish_signs: bool,
}

/// One bit for each of 64 bytes, the first one lowest.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Block {
    /// ASCII letters.
    pub(super) letters: u64,
    /// First letters of a row of letters, and whatever else is no white space.
    pub(super) starts: u64,
}

/// What eight bytes are, in the upper bit of each.
struct Eight {
    letters: u64,
    visible: u64,
    capitals: u64,
}

impl Eight {
    #[inline]
    fn of(raw: u64) -> Self {
        let low = (raw | (0x20 * EACH)) & (0x7f * EACH);
        // No byte overflows into the next one: each is less than 0x80 before the addition.
        let (from_a, above_z) = (low + 0x1f * EACH, low + 0x05 * EACH);
        let letters = from_a & !above_z & !raw & UPPER;
        let visible = (((raw & (0x7f * EACH)) + 0x5f * EACH) | raw) & UPPER;
        Self { letters, visible, capitals: letters & !(raw << 2) }
    }
}

/// What 32 bytes are: a bit for each, and a number.
struct Half {
    letters: u64,
    visible: u64,
    capitals: u64,
}

impl Half {
    #[inline]
    fn of(bytes: &[u8; 32]) -> Self {
        let mut half = Self { letters: 0, visible: 0, capitals: 0 };
        let (eights, _) = bytes.as_chunks::<8>();
        for bytes in eights.iter().rev() {
            let eight = Eight::of(u64::from_le_bytes(*bytes));
            half.letters = half.letters << 8 | bits(eight.letters);
            half.visible = half.visible << 8 | bits(eight.visible);
            half.capitals += eight.capitals >> 7;
        }
        half.capitals = half.capitals.wrapping_mul(EACH) >> 56;
        half
    }
}

/// The upper bits of eight bytes as eight bits, the first one lowest.
#[inline]
fn bits(upper: u64) -> u64 {
    (upper >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

impl Survey {
    /// Look at `text` instead of what was looked at before: at its plain form.
    #[inline(never)]
    pub(super) fn read(&mut self, text: &str) {
        self.padded.clear();
        self.has_spanish_signs = false;
        match text.is_ascii() {
            true => self.padded.extend_from_slice(text.as_bytes()),
            false => self.has_spanish_signs = make_plain(text, &mut self.padded),
        }
        self.length = self.padded.len();
        // As many as may be needed, and then less: a number that is known is written without a loop.
        self.padded.extend_from_slice(&[0; 48]);
        self.padded.truncate(self.length.next_multiple_of(32) + 16);
        self.blocks.clear();
        let (mut capitals, mut before) = (0, 0);
        let (halves, _) = self.padded.as_chunks::<32>();
        for pair in halves.chunks(2) {
            let (mut letters, mut visible) = (0_u64, 0_u64);
            for (index, half) in pair.iter().enumerate() {
                let half = Half::of(half);
                letters |= half.letters << (32 * index);
                visible |= half.visible << (32 * index);
                capitals += half.capitals;
            }
            let first = letters & !(letters << 1 | before);
            self.blocks.push(Block { letters, starts: first | visible & !letters });
            before = letters >> 63;
        }
        self.may_shout = capitals >= 3;
        self.has_stretches = has_stretches(&self.padded, self.length.next_multiple_of(32));
    }

    /// The text in its plain form.
    pub(super) fn plain(&self) -> &[u8] {
        self.padded.get(..self.length).unwrap_or_default()
    }

    /// What each 64 bytes are.
    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The same, and at least sixteen zeros behind it.
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

/// Whether a letter among the first `length` bytes stands three times in a row, however it is
/// written. There are two more bytes, so that as many as a processor takes at once are compared
/// throughout.
fn has_stretches(bytes: &[u8], length: usize) -> bool {
    let from = |at: usize| bytes.get(at..at + length).unwrap_or_default();
    let triples = from(0).iter().zip(from(1)).zip(from(2));
    triples.fold(false, |found, ((first, second), third)| {
        let differences = (first ^ second) | (second ^ third);
        found | ((differences & !0x20 == 0) & (first | 0x20).is_ascii_lowercase())
    })
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
            let read = survey(&text);
            let (written, zeros) = read.padded.split_at(length);
            assert!(written == text.as_bytes() && zeros.len() >= 16);
            assert!(zeros.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn what_a_text_may_hold_is_told() {
        let told = |text: &str| {
            let read = survey(text);
            (read.has_stretches, read.may_shout)
        };
        assert_eq!(told("hola Que tal..."), (false, false));
        for shift in 0..70 {
            let before = "x ".repeat(shift);
            assert_eq!(told(&format!("{before}NOO")), (false, true), "{shift}");
            assert_eq!(told(&format!("{before}oOo")), (true, false), "{shift}");
        }
    }

    proptest! {
        #[test]
        fn bits_say_what_bytes_are(
            text in prop_oneof!["\\PC{0,200}", "[a-zA-Z]{50,200}", "[a-zA-Z .é]{0,200}"]
        ) {
            let read = survey(&text);
            let bytes = read.plain();
            for at in 0..bytes.len() + 70 {
                let rest = bytes.get(at..).unwrap_or_default();
                let letters = rest.iter().take(64).take_while(|byte| byte.is_ascii_alphabetic());
                prop_assert_eq!(read.letters_at(at) as usize, letters.count());
                let is_letter = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphabetic);
                let is_first = is_letter(at) && !(at > 0 && is_letter(at - 1));
                let is_other = bytes.get(at).is_some_and(|byte| *byte > b' ') && !is_letter(at);
                let block = read.blocks.get(at / 64).copied().unwrap_or_default();
                prop_assert_eq!(block.starts >> (at % 64) & 1 != 0, is_first || is_other, "{}", at);
            }
        }
    }
}
