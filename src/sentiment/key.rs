//! Short words as two numbers: compared, hashed and looked up at once.

use super::spell::mark;

/// Longest token whose key is its bytes.
pub(super) const KEY_BYTES: usize = 15;
/// Of a token so many bytes are kept; the rest is left out.
pub(super) const LONGEST_TOKEN: usize = 40;
/// In the last byte of a key: the others are the token's bytes.
const IS_SHORT: u64 = 0x80 << 56;
/// In the last byte of a key: the bytes are kept elsewhere. A key of nothing has neither.
const IS_LONG: u64 = 0x10 << 56;
/// In the last byte of a key: the token is no word.
const IS_THING: u64 = 0x40 << 56;
/// In the last byte of a key: a negation covers the word.
const IS_NEGATED: u64 = 0x20 << 56;

/// A token as two numbers, since that is how it is compared and hashed: up to fifteen folded bytes
/// and, in the last one, how many they are, so that no other token has the same. Of a longer one the
/// first number says where its bytes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Key {
    pub(super) first: u64,
    pub(super) second: u64,
}

/// The bits that are kept of sixteen bytes, and the last byte, by the length of a word.
static KEPT: [[u64; 4]; 16] = kept();

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, over all 16 lengths")]
const fn kept() -> [[u64; 4]; 16] {
    let mut kept = [[0; 4]; 16];
    let mut length = 0;
    while length < 16 {
        let bits = (1_u128 << (8 * length)) - 1;
        let last = IS_SHORT | (length as u64) << 56;
        // Four numbers, since a place in such a table is found by a shift.
        kept[length] = [bits as u64, (bits >> 64) as u64, last, 0];
        length += 1;
    }
    kept
}

impl Key {
    /// The key of a word: the first `length` of `bytes`, at most fifteen, which are ASCII letters.
    #[inline(always)]
    pub(super) fn of_word(bytes: &[u8; 16], length: usize) -> Self {
        const SMALL: u64 = 0x2020_2020_2020_2020;
        let (halves, _) = bytes.as_chunks::<8>();
        let half = |index: usize| halves.get(index).map_or(0, |half| u64::from_le_bytes(*half));
        let [first, second, last, _] = KEPT.get(length).copied().unwrap_or_default();
        Self { first: (half(0) | SMALL) & first, second: (half(1) | SMALL) & second | last }
    }

    /// The [`word_hash`] of a short one: its two numbers multiplied.
    #[inline(always)]
    pub(super) fn hash(self) -> u64 {
        let first = u128::from(self.first ^ 0x8f5c_28f5_c28f_5c29);
        let product = first * u128::from(self.second.rotate_left(8) ^ 0xe703_7ed1_a0b4_28db);
        product as u64 ^ (product >> 64) as u64
    }

    /// The key of a token of any kind; one of more than [`KEY_BYTES`] is kept at `place`.
    pub(super) fn of(folded: &Folded, place: usize) -> Self {
        let thing = if is_word(folded.bytes()) { 0 } else { IS_THING };
        if folded.length > KEY_BYTES {
            return Self { first: place as u64, second: IS_LONG | thing };
        }
        let (halves, _) = folded.bytes.as_chunks::<8>();
        let half = |index: usize| halves.get(index).map_or(0, |half| u64::from_le_bytes(*half));
        let [first, second, last, _] = KEPT.get(folded.length).copied().unwrap_or_default();
        Self { first: half(0) & first, second: half(1) & second | last | thing }
    }

    /// Whether it holds the token's bytes.
    #[inline]
    pub(super) fn is_short(self) -> bool {
        self.second & IS_SHORT != 0
    }

    /// Whether the token is a word, and not a sign or a thing.
    #[inline]
    pub(super) fn is_word(self) -> bool {
        self.second & IS_THING == 0
    }

    /// The bytes of a short one, written to `spelling`.
    pub(super) fn bytes(self, spelling: &mut [u8; 16]) -> &[u8] {
        *spelling = (u128::from(self.first) | u128::from(self.second) << 64).to_le_bytes();
        let [.., last] = *spelling;
        spelling.get(..usize::from(last & 0xf)).unwrap_or_default()
    }

    /// The same word where a negation covers it.
    #[inline]
    pub(super) fn negated(self, is_negated: bool) -> Self {
        let bit = if is_negated { IS_NEGATED } else { 0 };
        Self { second: self.second | bit, ..self }
    }
}

/// The bytes of a token that is being read.
#[derive(Debug, Clone)]
pub(super) struct Folded {
    /// What stands behind the last one means nothing.
    bytes: [u8; LONGEST_TOKEN],
    length: usize,
}

impl Default for Folded {
    fn default() -> Self {
        Self { bytes: [0; LONGEST_TOKEN], length: 0 }
    }
}

impl From<&[u8]> for Folded {
    /// The first [`LONGEST_TOKEN`] of `bytes`.
    fn from(bytes: &[u8]) -> Self {
        let mut folded = Self::default();
        folded.push(bytes);
        folded
    }
}

impl Folded {
    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Add `bytes`, as far as there is room.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let Some(place) = self.bytes.get_mut(self.length) else { return };
            *place = *byte;
            self.length += 1;
        }
    }

    /// Add a character, where there is room for all of it.
    pub(super) fn push_character(&mut self, character: char) {
        if self.length + character.len_utf8() <= LONGEST_TOKEN {
            self.push(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// True where the folded bytes are a word, and not a sign or a thing.
pub(super) fn is_word(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first > mark::LAUGHTER)
}

/// The hash of folded bytes as a whole.
pub(super) fn word_hash(bytes: &[u8]) -> u64 {
    let key = |bytes: &[u8]| Key::of(&Folded::from(bytes), 0);
    let (chunks, rest) = bytes.as_chunks::<KEY_BYTES>();
    let whole = chunks.iter().map(|chunk| key(chunk).hash());
    match chunks {
        [chunk] if rest.is_empty() => key(chunk).hash(),
        _ => whole.fold(key(rest).hash(), |hash, chunk| {
            (hash.rotate_left(23) ^ chunk).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bytes: &[u8]) -> Key {
        Key::of(&Folded::from(bytes), 0)
    }

    #[test]
    fn words_of_any_length_have_keys_of_their_own() {
        let words = ["", "a", "aa", "ab", "ba", "palabra", "quince letras a", "\u{1}a"];
        let keys: Vec<Key> = words.iter().map(|word| key(word.as_bytes())).collect();
        for (index, (key, word)) in keys.iter().zip(words).enumerate() {
            assert_eq!(key.bytes(&mut [0; 16]), word.as_bytes());
            assert!(key.is_short() && !keys[..index].contains(key), "{word}");
            assert_ne!(key.negated(true), key.negated(false));
        }
        let long = Key::of(&Folded::from(b"dieciseis letras".as_slice()), 7);
        assert_eq!((long.is_short(), long.is_word(), long.first), (false, true, 7));
        assert_ne!(Key::of(&Folded::from(b"dieciseis letras".as_slice()), 0), Key::default());
        assert!(!key("\u{2}👩‍👩‍👧‍👦".as_bytes()).is_word());
    }

    #[test]
    fn words_have_hashes_of_their_own() {
        let text =
            "palabras de cualquier largo, y algunas que pasan de quince letras: impostergablemente";
        let parts =
            (0..text.len()).flat_map(|from| (from..=text.len()).map(move |to| &text[from..to]));
        let parts: std::collections::HashSet<&str> = parts.collect();
        let hashes: std::collections::HashSet<u64> =
            parts.iter().map(|part| word_hash(part.as_bytes())).collect();
        assert_eq!(hashes.len(), parts.len());
        assert_eq!(word_hash(b"hola"), key(b"hola").hash());
    }

    #[test]
    fn a_word_has_one_key_whatever_follows_it_and_however_it_is_written() {
        let sixteen = *b"SerViciOS, segur";
        assert_eq!(Key::of_word(&sixteen, 9), key(b"servicios"));
        assert_eq!(Key::of_word(&sixteen, 3), key(b"ser"));
        assert_eq!(Key::of_word(b"incumplimientos.", 15), key(b"incumplimientos"));
    }
}
