//! Text to tokens: words as they are compared, and signs, pictures and numbers as single tokens.

use super::faces::face;
use super::fold::{self, CLASSES, Class, Folded, JOINER, fold};
use super::key::{EACH, KEY_BYTES, has_zero, key, key_length, packed};
use super::plain::make_plain;

/// A message is judged by so many tokens at most.
const MOST_TOKENS: usize = 2000;
/// Of a word so many bytes are kept; the rest is skipped.
const LONGEST_WORD: usize = 40;
/// The same letter so often in a row is a stretched word.
const STRETCHED: u8 = 3;
/// A word of so many capitals is shouted.
const SHOUTED: usize = 3;

/// First byte of a token that is no word, by its kind.
pub(super) mod mark {
    /// A name, a link, an address, a number.
    pub(crate) const THING: u8 = 1;
    /// A picture.
    pub(crate) const PICTURE: u8 = 2;
    /// Signs that carry a tone.
    pub(crate) const SIGN: u8 = 3;
    /// A face made of signs.
    pub(crate) const FACE: u8 = 4;
    /// Laughter, by its vowel.
    pub(crate) const LAUGHTER: u8 = 5;
}

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    start: u32,
    length: u32,
    /// [`key`] of its folded bytes.
    pub(super) key: u128,
    /// A sign ends a clause before it.
    pub(super) begins_clause: bool,
    /// Where it stands in the text, in bytes of its plain form: see [`place`](super::plain::place).
    pub(super) from: u32,
    /// Where it ends.
    pub(super) to: u32,
}

/// The tokens of one message. Used again for the next one, so that nothing is allocated.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    folded: Vec<u8>,
    list: Vec<Token>,
    /// The text with its accented letters as ASCII ones, where it has any.
    plain: String,
    /// A word is written in capitals.
    pub(super) is_shouted: bool,
    /// A word is stretched.
    pub(super) is_stretched: bool,
    /// There is a letter of any script.
    pub(super) has_words: bool,
    /// There is a sign that Spanish has and English has not.
    pub(super) has_spanish_signs: bool,
}

impl Tokens {
    /// Each token with its folded bytes, never empty.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Token)> {
        self.list.iter().map(|token| (self.bytes_of(token), token))
    }

    fn bytes_of(&self, token: &Token) -> &[u8] {
        let end = (token.start + token.length) as usize;
        self.folded.get(token.start as usize..end).unwrap_or_default()
    }

    /// Number of tokens.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Read `text` instead of what was read before.
    pub(super) fn read(&mut self, text: &str) {
        self.folded.clear();
        self.list.clear();
        (self.is_shouted, self.is_stretched) = (false, false);
        (self.has_words, self.has_spanish_signs) = (false, false);
        if text.is_ascii() {
            return Scanner::of(text, self).run();
        }
        let mut plain = std::mem::take(&mut self.plain);
        self.has_spanish_signs = make_plain(text, &mut plain);
        Scanner::of(&plain, self).run();
        self.plain = plain;
    }
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// A sign ends a clause before the next token.
    breaks: bool,
    tokens: &'a mut Tokens,
}

/// What is known of the word that is being read.
#[derive(Default)]
struct Word {
    last: u8,
    repeats: u8,
    letters: usize,
    capitals: usize,
    digits: usize,
    is_stretched: bool,
}

impl<'a> Scanner<'a> {
    fn of(text: &'a str, tokens: &'a mut Tokens) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, breaks: false, tokens }
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn class(&self, at: usize) -> Class {
        match self.bytes.get(at) {
            Some(&byte) => CLASSES.get(byte as usize).copied().unwrap_or(Class::Sign),
            None => Class::Space,
        }
    }

    /// The character at `at`, which begins there.
    fn character(&self, at: usize) -> char {
        self.text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or('\0')
    }

    fn run(&mut self) {
        while self.at < self.bytes.len() && self.tokens.list.len() < MOST_TOKENS {
            match self.class(self.at) {
                Class::Space | Class::Apostrophe => self.at += 1,
                Class::Letter | Class::Digit => self.word(),
                Class::Sign => self.sign(),
                Class::Wide => {
                    let character = self.character(self.at);
                    match fold(character) {
                        Folded::Other(_) => self.word(),
                        Folded::Picture => self.picture(),
                        Folded::Sign => {
                            match character {
                                '…' => self.single(mark::SIGN, b"...", character.len_utf8()),
                                _ => self.at += character.len_utf8(),
                            }
                            self.breaks = true;
                        }
                        Folded::Letter(_)
                        | Folded::Nothing
                        | Folded::Apostrophe
                        | Folded::Space => {
                            self.at += character.len_utf8();
                        }
                    }
                }
            }
        }
    }

    /// Add a token of `mark` and `name`, which is `length` bytes long in the text.
    fn single(&mut self, mark: u8, name: &[u8], length: usize) {
        let (start, from) = (self.tokens.folded.len(), self.at);
        self.at += length;
        self.replace(start, from, mark, name);
    }

    fn add(&mut self, start: usize, from: usize, to: usize) {
        let key = key(self.tokens.folded.get(start..).unwrap_or_default());
        self.add_known(start, key, from, to);
    }

    /// Add the token of the folded bytes from `start` on, whose [`key`] is known.
    fn add_known(&mut self, start: usize, key: u128, from: usize, to: usize) {
        let token = Token {
            start: start as u32,
            length: (self.tokens.folded.len() - start) as u32,
            key,
            begins_clause: std::mem::take(&mut self.breaks),
            from: from as u32,
            to: to.min(self.bytes.len()) as u32,
        };
        self.tokens.list.push(token);
    }

    /// A word of at most fifteen ASCII letters alone, none of them three times in a row: what most
    /// are. False, with nothing done, for any other. All of its letters are looked at at once, as the
    /// bytes of one number.
    fn plain_word(&mut self) -> bool {
        let Some(rest) = self.bytes.get(self.at..) else { return false };
        let raw = match rest.first_chunk::<16>() {
            Some(sixteen) => u128::from_le_bytes(*sixteen),
            None => packed(rest),
        };
        let lower = raw | (0x20 * EACH);
        let low = lower & (0x7f * EACH);
        // In the upper bit of each byte: it is at least `a`, and it is above `z`.
        let (from_a, above_z) = (low + 0x1f * EACH, low + 0x05 * EACH);
        let others = !(from_a & !above_z & !raw) & (0x80 * EACH);
        let length = others.trailing_zeros() as usize / 8;
        let is_longer = matches!(
            self.class(self.at + length),
            Class::Digit | Class::Apostrophe | Class::Wide | Class::Letter
        );
        if length == 0 || length > KEY_BYTES || is_longer || self.byte(self.at + length) == b'@' {
            return false;
        }
        let kept = (1_u128 << (8 * length)) - 1;
        let letters = lower & kept;
        // A byte that is like the next one and the one behind it is zero here.
        let (next, second) = (letters >> 8, letters >> 16);
        let unlike = (letters ^ next) | (next ^ second);
        let last_two = !(kept >> 16);
        if length > 2 && has_zero(unlike | last_two) {
            return false;
        }
        // A link and laughter are looked at by the long way.
        let is_link = (letters == LINKS[0]) | (letters == LINKS[1]) | (letters == LINKS[2]);
        if is_link | (may_be_laughter(letters) && laughter(&letters.to_le_bytes()).is_some()) {
            return false;
        }
        let start = self.tokens.folded.len();
        // All sixteen bytes, and less of them afterwards: a copy of known length is two instructions.
        self.tokens.folded.extend_from_slice(&letters.to_le_bytes());
        self.tokens.folded.truncate(start + length);
        self.tokens.has_words = true;
        let is_all_capitals = (raw ^ lower) & kept == (0x20 * EACH) & kept;
        self.tokens.is_shouted |= is_all_capitals && length >= SHOUTED;
        self.add_known(start, letters | key_length(length), self.at, self.at + length);
        self.at += length;
        true
    }

    fn word(&mut self) {
        if self.plain_word() {
            return;
        }
        let (start, from) = (self.tokens.folded.len(), self.at);
        let mut word = Word::default();
        loop {
            let byte = self.byte(self.at);
            match self.class(self.at) {
                Class::Letter => {
                    word.letters += 1;
                    word.capitals += usize::from(byte.is_ascii_uppercase());
                    self.push(start, &mut word, byte | 0x20);
                    self.at += 1;
                }
                Class::Digit => {
                    // Any number of digits is one.
                    word.digits += 1;
                    if word.last != b'0' {
                        self.push(start, &mut word, b'0');
                    }
                    self.at += 1;
                }
                Class::Apostrophe if self.class(self.at + 1) != Class::Space => self.at += 1,
                Class::Wide => {
                    if !self.wide_letter(start, &mut word) {
                        break;
                    }
                }
                Class::Sign if word.letters == 0 && self.joins_digits(byte) => self.at += 1,
                Class::Space | Class::Apostrophe | Class::Sign => break,
            }
        }
        self.finish(start, from, &word);
    }

    /// A character beyond ASCII that goes on with a word; false where it ends it.
    fn wide_letter(&mut self, start: usize, word: &mut Word) -> bool {
        let character = self.character(self.at);
        match fold(character) {
            Folded::Other(lower) => {
                word.letters += 1;
                word.last = 0;
                if self.tokens.folded.len() - start + lower.len_utf8() <= LONGEST_WORD {
                    let mut buffer = [0; 4];
                    let bytes = lower.encode_utf8(&mut buffer).as_bytes();
                    self.tokens.folded.extend_from_slice(bytes);
                }
            }
            Folded::Nothing | Folded::Apostrophe => {}
            // Letters that fold to ASCII are that in a plain text.
            Folded::Letter(_) | Folded::Picture | Folded::Sign | Folded::Space => return false,
        }
        self.at += character.len_utf8();
        true
    }

    /// True for a sign inside a number: `1,250.00`, `10:30`, `12/03`.
    fn joins_digits(&self, sign: u8) -> bool {
        matches!(sign, b'.' | b',' | b':' | b'/' | b'-') && self.class(self.at + 1) == Class::Digit
    }

    fn push(&mut self, start: usize, word: &mut Word, letter: u8) {
        if letter == word.last {
            word.repeats = word.repeats.saturating_add(1);
            if word.repeats >= STRETCHED {
                word.is_stretched = true;
                return;
            }
        } else {
            (word.last, word.repeats) = (letter, 1);
        }
        if self.tokens.folded.len() - start < LONGEST_WORD {
            self.tokens.folded.push(letter);
        }
    }

    fn finish(&mut self, start: usize, from: usize, word: &Word) {
        let bytes = self.tokens.folded.get(start..).unwrap_or_default();
        let next = self.byte(self.at);
        let is_link = matches!(bytes, b"http" | b"https" | b"www");
        let is_address = next == b'@' && self.class(self.at + 1) != Class::Space;
        if is_link || is_address {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += rest.iter().take_while(|byte| **byte > b' ').count();
            let name: &[u8] = if is_link { b"link" } else { b"mail" };
            return self.replace(start, from, mark::THING, name);
        }
        if word.letters == 0 && word.digits > 0 {
            return self.replace(start, from, mark::THING, b"number");
        }
        if bytes.is_empty() {
            return;
        }
        self.tokens.has_words = true;
        if let Some(vowel) = laughter(bytes) {
            return self.replace(start, from, mark::LAUGHTER, &[vowel]);
        }
        self.tokens.is_stretched |= word.is_stretched;
        self.tokens.is_shouted |= word.letters >= SHOUTED && word.capitals == word.letters;
        self.add(start, from, self.at);
    }

    /// Add a token that is no word instead of the bytes from `start` on.
    fn replace(&mut self, start: usize, from: usize, mark: u8, name: &[u8]) {
        self.tokens.folded.truncate(start);
        self.tokens.folded.push(mark);
        self.tokens.folded.extend_from_slice(name);
        self.add(start, from, self.at);
    }

    fn sign(&mut self) {
        let byte = self.byte(self.at);
        if byte == b'@' && self.class(self.at + 1) == Class::Letter {
            let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
            let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
            let length = 1 + rest.iter().take_while(is_name).count();
            return self.single(mark::THING, b"name", length);
        }
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if let Some((length, name)) = face(rest) {
            return self.single(mark::FACE, name, length);
        }
        match byte {
            b'!' | b'?' => {
                let length = rest.iter().take_while(|byte| matches!(byte, b'!' | b'?')).count();
                let run = rest.get(..length).unwrap_or_default();
                let name: &[u8] = match (run.contains(&b'!'), run.contains(&b'?'), length) {
                    (true, true, _) => b"?!",
                    (true, false, 1) => b"!",
                    (true, false, _) => b"!!",
                    (_, _, 1) => b"?",
                    _ => b"??",
                };
                self.single(mark::SIGN, name, length);
                self.breaks = true;
            }
            b'.' => {
                let length = rest.iter().take_while(|byte| **byte == b'.').count();
                match length {
                    1 => self.at += 1,
                    _ => self.single(mark::SIGN, b"...", length),
                }
                self.breaks = true;
            }
            b',' | b';' | b':' | b'(' | b')' | b'[' | b']' | b'|' => {
                self.breaks = true;
                self.at += 1;
            }
            _ => self.at += 1,
        }
    }

    /// A picture, with those that are joined to it; one token for a row of the same.
    fn picture(&mut self) {
        let (start, from) = (self.tokens.folded.len(), self.at);
        self.tokens.folded.push(mark::PICTURE);
        loop {
            let character = self.character(self.at);
            let code = character as u32;
            let is_kept = fold::is_picture(code) && !fold::is_skin_tone(code);
            if is_kept && self.tokens.folded.len() - start < LONGEST_WORD {
                let mut buffer = [0; 4];
                let bytes = character.encode_utf8(&mut buffer).as_bytes();
                self.tokens.folded.extend_from_slice(bytes);
            }
            self.at += character.len_utf8();
            let is_second_half = is_flag_half(code) && self.tokens.folded.len() - start > 5;
            if !self.is_joined(code) || is_second_half {
                break;
            }
        }
        let now = self.tokens.folded.get(start..).unwrap_or_default();
        let before = self.tokens.list.last().map(|token| self.tokens.bytes_of(token));
        if before == Some(now) || now.len() == 1 {
            return self.tokens.folded.truncate(start);
        }
        self.add(start, from, self.at);
    }

    /// True where what follows a character of `code` belongs to the same picture; steps over joiners.
    fn is_joined(&mut self, code: u32) -> bool {
        let mut next = self.character(self.at);
        while next == '\u{fe0f}' {
            self.at += next.len_utf8();
            next = self.character(self.at);
        }
        if fold::is_skin_tone(next as u32) {
            return true;
        }
        if next == JOINER {
            self.at += next.len_utf8();
            return fold::is_picture(self.character(self.at) as u32);
        }
        is_flag_half(code) && is_flag_half(next as u32)
    }
}

/// A letter of a flag: two of them make one.
fn is_flag_half(code: u32) -> bool {
    matches!(code, 0x1f1e6..=0x1f1ff)
}

/// Words that begin a link.
const LINKS: [u128; 3] = [
    u32::from_le_bytes(*b"http") as u128,
    u64::from_le_bytes(*b"https\0\0\0") as u128,
    u32::from_le_bytes(*b"www\0") as u128,
];

/// True for a word that may be laughter: one of its first three letters is a `j` or an `h`. Without a
/// branch for each, which no processor could foretell.
fn may_be_laughter(letters: u128) -> bool {
    let is_one = |at: u32| {
        let letter = (letters >> (8 * at)) as u8;
        (letter == b'j') | (letter == b'h')
    };
    is_one(0) | is_one(1) | is_one(2)
}

/// The vowel of a word that is laughter: one consonant, one vowel, again and again.
fn laughter(word: &[u8]) -> Option<u8> {
    let word = word.split(|letter| *letter == 0).next().unwrap_or_default();
    let consonant = *word.iter().find(|letter| matches!(letter, b'j' | b'h'))?;
    let vowel = word.iter().copied().find(|letter| b"aeio".contains(letter)).unwrap_or(b's');
    let beats = word.iter().filter(|letter| **letter == consonant).count();
    let is_laughed = |letter: &u8| {
        *letter == consonant || *letter == vowel || (consonant == b'j' && *letter == b's')
    };
    (word.len() >= 4 && beats >= 2 && 3 * beats >= word.len() && word.iter().all(is_laughed))
        .then_some(vowel)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let mut tokens = Tokens::default();
        tokens.read(text);
        let shown = |(bytes, token): (&[u8], &Token)| {
            let (mark, rest) = match bytes {
                [mark @ 0..32, rest @ ..] => (format!("{mark}:"), rest),
                _ => (String::new(), bytes),
            };
            let clause = if token.begins_clause { "| " } else { "" };
            format!("{clause}{mark}{}", String::from_utf8_lossy(rest))
        };
        let mut shown: Vec<String> = tokens.iter().map(shown).collect();
        if tokens.is_shouted {
            shown.push("SHOUTED".to_owned());
        }
        if tokens.is_stretched {
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
    }

    #[test]
    fn things_are_one_token() {
        assert_eq!(read("@user mira https://a.b/c?d=e hoy"), "1:name mira 1:link hoy");
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
        assert_eq!(read(&"ab".repeat(5000)).len(), LONGEST_WORD);
    }
}
