//! Text to tokens: words as they are compared, and signs, pictures and numbers as single tokens.

use super::fold::{CLASSES, Class};
use super::key::{Folded, Key, word_hash};
use super::spell::{SHOUTED, Speller, laughter, mark};
use super::survey::{Block, Survey};

/// A message is judged by so many tokens at most.
const MOST_TOKENS: usize = 2000;

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Token {
    /// Its folded bytes, or where they are kept.
    pub(super) key: Key,
    /// Their [`word_hash`].
    pub(super) hash: u64,
    /// Where it stands in the text, in bytes of its plain form: see [`place`](super::plain::place).
    pub(super) from: u32,
    /// Where it ends; in the upper bit, whether a sign ends a clause before it.
    end: u32,
}

/// In [`Token::end`]: a sign ends a clause before it. No text is so long.
const BEGINS_CLAUSE: u32 = 1 << 31;

impl Token {
    /// `clause` is [`BEGINS_CLAUSE`] or 0.
    #[inline(always)]
    fn new(key: Key, hash: u64, from: usize, to: usize, clause: u32) -> Self {
        Self { key, hash, from: from as u32, end: to as u32 | clause }
    }

    /// Where it ends.
    pub(super) fn to(&self) -> u32 {
        self.end & !BEGINS_CLAUSE
    }

    /// A sign ends a clause before it.
    #[inline(always)]
    pub(super) fn begins_clause(&self) -> bool {
        self.end & BEGINS_CLAUSE != 0
    }
}

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Writing {
    /// A word is written in capitals.
    pub(super) is_shouted: bool,
    /// A word is stretched.
    pub(super) is_stretched: bool,
    /// There is a letter of any script.
    pub(super) has_words: bool,
    /// There is a sign that Spanish has and English has not.
    pub(super) has_spanish_signs: bool,
}

/// The tokens of one message. Used again for the next one, so that nothing is allocated.
#[derive(Debug)]
pub(super) struct Tokens {
    /// As many as a message may have.
    slots: Box<[Token]>,
    /// Those that the message has.
    count: usize,
    /// The bytes of the long ones, the number of them before each.
    long: Vec<u8>,
    /// The bytes of the one that is being read.
    folded: Folded,
    survey: Survey,
    /// How many of them are words.
    pub(super) words: u32,
    pub(super) writing: Writing,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            slots: vec![Token::default(); MOST_TOKENS].into(),
            count: 0,
            long: Vec::new(),
            folded: Folded::default(),
            survey: Survey::default(),
            words: 0,
            writing: Writing::default(),
        }
    }
}

impl Tokens {
    /// Each token, in the order of the text.
    pub(super) fn list(&self) -> &[Token] {
        self.slots.get(..self.count).unwrap_or_default()
    }

    /// The folded bytes of one of these tokens, never none; `spelling` holds those of a short one.
    pub(super) fn bytes<'a>(&'a self, key: Key, spelling: &'a mut [u8; 16]) -> &'a [u8] {
        match key.is_short() {
            true => key.bytes(spelling),
            false => long_bytes(&self.long, key),
        }
    }

    /// Read `text` instead of what was read before.
    pub(super) fn read(&mut self, text: &str) {
        self.read_with(text, |_, _| {});
    }

    /// The same; `met` is told the key and the hash of most words as soon as they are found.
    // Not inlined: apart, each half has registers enough.
    #[inline(never)]
    pub(super) fn read_with(&mut self, text: &str, met: impl Fn(Key, u64)) {
        self.survey.read(text);
        self.long.clear();
        self.count = 0;
        let Self { slots, survey, long, folded, .. } = self;
        let (text, padded) = (survey.plain(), survey.padded());
        let mut writing =
            Writing { has_spanish_signs: survey.has_spanish_signs, ..Writing::default() };
        let mut speller = Speller { text, at: 0, folded, writing: &mut writing };
        let mut slots = slots.iter_mut();
        let (mut ahead, mut read_to, mut things) = (Ahead::default(), 0_usize, 0);
        // The last one that was spelled, and where it ends.
        let mut spelled = (Key::default(), 0);
        'all: for (index, block) in survey.blocks().iter().enumerate() {
            let first = 64 * index;
            ahead.enter(block, read_to.saturating_sub(first));
            while let Some((bit, clause)) = ahead.next() {
                let from = first + bit as usize;
                let mut letters = (!(block.letters >> bit)).trailing_zeros();
                if bit + letters == 64 {
                    letters = survey.letters_at(from);
                }
                let to = from + letters as usize;
                if let Some(key) = plain_word(padded, from, letters as usize)
                    && (block.odd >> bit & 1 == 0 || !is_odd(key, text, from, to, speller.writing))
                {
                    let Some(slot) = slots.next() else { break 'all };
                    let hash = key.hash();
                    met(key, hash);
                    *slot = Token::new(key, hash, from, to, clause);
                    continue;
                }
                speller.at = from;
                let found = speller.read();
                read_to = speller.at;
                let mut is_open = clause != 0;
                if found.is_token() {
                    let (before, end) = spelled;
                    let between = text.get(end..from).unwrap_or_default();
                    let key = keep(speller.folded, long, before, between);
                    spelled = (key.unwrap_or(before), read_to);
                    if let Some(key) = key {
                        let Some(slot) = slots.next() else { break 'all };
                        let hash = match key.is_short() {
                            true => key.hash(),
                            false => word_hash(speller.folded.bytes()),
                        };
                        *slot = Token::new(key, hash, from, read_to.min(text.len()), clause);
                        is_open = false;
                        things += u32::from(!key.is_word());
                    }
                }
                ahead.skip(read_to - first, is_open | found.ends_clause());
            }
        }
        self.count = MOST_TOKENS - slots.len();
        self.words = self.count as u32 - things;
        writing.has_words |= self.words > 0;
        self.writing = writing;
    }
}

/// What is still to be read of a block.
#[derive(Default)]
struct Ahead {
    /// Where tokens may begin.
    starts: u64,
    /// Signs that end a clause.
    ends: u64,
    /// Those starts that are the first behind such a sign.
    begins: u64,
    /// There is such a sign behind the last start: the next one may be in another block.
    is_open: bool,
}

impl Ahead {
    /// Begin a block, of which the first `count` bytes are read.
    #[inline(always)]
    fn enter(&mut self, block: &Block, count: usize) {
        (self.starts, self.ends) = (block.starts, block.ends);
        self.skip(count, self.is_open);
    }

    /// Leave out the first `count` bytes; `is_open` where a sign ends a clause right before what is
    /// left.
    #[inline(always)]
    fn skip(&mut self, count: usize, is_open: bool) {
        let rest = u64::MAX.checked_shl(count.min(64) as u32).unwrap_or(0);
        self.starts &= rest;
        self.ends = self.ends & rest | u64::from(is_open);
        // Signs are added, and the carry goes up to the next start: all that is no start is ones.
        let (sum, is_open) = (!self.starts).overflowing_add(self.ends);
        (self.begins, self.is_open) = (sum & self.starts, is_open);
    }

    /// The bit of the next start, which is not ahead any more, and [`BEGINS_CLAUSE`] or 0.
    #[inline(always)]
    fn next(&mut self) -> Option<(u32, u32)> {
        if self.starts == 0 {
            return None;
        }
        let bit = self.starts.trailing_zeros();
        self.starts &= self.starts - 1;
        Some((bit, ((self.begins >> bit) as u32) << 31))
    }
}

/// The bytes of a token that is too long to be a key.
fn long_bytes(long: &[u8], key: Key) -> &[u8] {
    let rest = long.get(key.first as usize..).unwrap_or_default();
    let (length, rest) = rest.split_first().unwrap_or((&0, &[]));
    rest.get(..usize::from(*length)).unwrap_or_default()
}

/// The key of what was found; none where it is a picture and `before` is the same one, with no word
/// `between` the two.
fn keep(folded: &Folded, long: &mut Vec<u8>, before: Key, between: &[u8]) -> Option<Key> {
    let (key, bytes) = (Key::of(folded, long.len()), folded.bytes());
    let is_picture = bytes.first() == Some(&mark::PICTURE);
    if is_picture
        && (key == before || (!before.is_short() && long_bytes(long, before) == bytes))
        && !between.iter().any(u8::is_ascii_alphabetic)
    {
        return None;
    }
    if !key.is_short() {
        long.push(bytes.len() as u8);
        long.extend_from_slice(bytes);
    }
    Some(key)
}

/// The key of what has so many letters from `from` on, where that is a word that is written as it is
/// folded, but for capitals: what most are, unless they are played with.
#[inline(always)]
fn plain_word(padded: &[u8], from: usize, letters: usize) -> Option<Key> {
    let bytes = padded.get(from..)?.first_chunk::<16>()?;
    let next = bytes.get(letters)?;
    if letters == 0 || GOES_ON.get(usize::from(*next)).is_some_and(|goes_on| *goes_on) {
        return None;
    }
    Some(Key::of_word(bytes, letters))
}

/// The bytes behind the letters of a word that may go on with it: a digit, an apostrophe, a letter of
/// another kind, a sign of a link or an address.
static GOES_ON: [bool; 256] = bytes_that_go_on();

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, over all 256 bytes")]
const fn bytes_that_go_on() -> [bool; 256] {
    let mut goes_on = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let is_sign = matches!(byte as u8, b'@' | b':');
        goes_on[byte] = is_sign || !matches!(CLASSES[byte], Class::Space | Class::Sign);
        byte += 1;
    }
    goes_on
}

/// Whether a plain word is laughter or stretched, and so not as it is folded; notes where one that is
/// not is in capitals.
#[inline(never)]
fn is_odd(key: Key, text: &[u8], from: usize, to: usize, writing: &mut Writing) -> bool {
    let mut spelling = [0; 16];
    let letters = key.bytes(&mut spelling);
    let is_stretch = |three: &[u8]| matches!(three, [a, b, c] if a == b && b == c);
    if letters.windows(3).any(is_stretch) || laughter(letters).is_some() {
        return true;
    }
    let written = text.get(from..to).unwrap_or_default();
    writing.is_shouted |= written.len() >= SHOUTED && written.iter().all(u8::is_ascii_uppercase);
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::key::LONGEST_TOKEN;
    use super::*;

    fn read(text: &str) -> String {
        let mut tokens = Tokens::default();
        tokens.read("before 👍");
        tokens.read(text);
        let shown = |token: &Token| {
            let mut spelling = [0; 16];
            let (mark, rest) = match tokens.bytes(token.key, &mut spelling) {
                [mark @ 0..32, rest @ ..] => (format!("{mark}:"), rest),
                bytes => (String::new(), bytes),
            };
            let clause = if token.begins_clause() { "| " } else { "" };
            format!("{clause}{mark}{}", String::from_utf8_lossy(rest))
        };
        let mut shown: Vec<String> = tokens.list().iter().map(shown).collect();
        if tokens.writing.is_shouted {
            shown.push("SHOUTED".to_owned());
        }
        if tokens.writing.is_stretched {
            shown.push("STRETCHED".to_owned());
        }
        shown.join(" ")
    }

    #[test]
    fn words_are_folded() {
        assert_eq!(read("¡Qué PÉSIMO servicio, señor!"), "que pesimo servicio | senor 3:! SHOUTED");
        assert_eq!(read("don't  DON’T can\u{301}t"), "dont dont cant SHOUTED");
        assert_eq!(read("siiiii graciaaas"), "sii graciaas STRETCHED");
        assert_eq!(read("привет Мир 字"), "привет мир 字");
        assert_eq!(read("NOS hijo"), "nos hijo SHOUTED");
    }

    #[test]
    fn things_are_one_token() {
        assert_eq!(read("@user mira https://a.b/c?d=e hoy"), "1:name mira 1:link hoy");
        assert_eq!(read("www.a.b/c HTTP: http ww.a"), "1:link 1:link http ww | a");
        assert_eq!(
            read("a juan.perez@correo.mx el 12/03 a las 10:30"),
            "a juan | 1:mail el 1:number a las 1:number"
        );
        assert_eq!(read("pedido AB12345, $1,250.00 2x1"), "pedido ab0 | 1:number 0x0");
        assert_eq!(read("jajajaja JEJE hahaha jsjsjs hoja hijo"), "5:a 5:e 5:a 5:s hoja hijo");
    }

    #[test]
    fn signs_and_pictures_are_tokens() {
        assert_eq!(read("hola??? ok... no!! ya?!"), "hola 3:?? | ok 3:... | no 3:!! | ya 3:?!");
        assert_eq!(
            read("bien :) mal :( x:D <3 10:30 a:-)"),
            "bien 4:smile mal 4:frown x 4:grin 4:heart 1:number a 4:smile"
        );
        assert_eq!(read("👍🏽👍🏿 ❤️❤️ 👩‍👩‍👧 🇲🇽🇲🇽"), "2:👍 2:❤ 2:👩👩👧 2:🇲🇽");
        assert_eq!(read("a…b"), "a 3:... | b");
        assert_eq!(read("👍 👍 bien 👍"), "2:👍 bien 2:👍");
    }

    #[test]
    fn tokens_know_where_they_stand() {
        let mut tokens = Tokens::default();
        tokens.read("no, ya 👍. siii");
        let places: Vec<_> = tokens.list().iter().map(|it| (it.from, it.to())).collect();
        assert_eq!(places, [(0, 2), (4, 6), (7, 11), (13, 17)]);
    }

    #[test]
    fn odd_bytes_end() {
        for text in [
            "",
            " ",
            "\u{fe0f}",
            "\u{200d}",
            "🏽",
            "'",
            "@",
            "@@@",
            "....",
            "\u{200d}👍\u{200d}",
            "🇲",
            "1'",
            "a\u{300}",
        ] {
            read(text);
        }
        assert_eq!(read(&"a ".repeat(5000)).split(' ').count(), MOST_TOKENS);
        assert_eq!(read(&"ab".repeat(5000)).len(), LONGEST_TOKEN);
    }

    proptest! {
        /// Blocks begin anywhere in a text then.
        #[test]
        fn tokens_are_the_same_wherever_a_text_begins(
            text in "([a-zA-Z0-9é]{1,9}|[ ,.!?:)'@\"👍☕]|jaja|NOS|siii|https://a.b/c,d|1,250.00|[a-z]{50,90}| ){0,40}",
            shift in 0_usize..130,
        ) {
            prop_assert_eq!(read(&format!("{}{text}", " ".repeat(shift))), read(&text));
        }
    }
}
