//! One token, character by character: whatever is not a plain word.

use super::faces::face;
use super::fold::{self, CLASSES, Class, JOINER, fold};
use super::key::Folded;
use super::scan::Writing;

/// The same letter so often in a row is a stretched word.
const STRETCHED: u8 = 3;
/// A word of so many capitals is shouted.
pub(super) const SHOUTED: usize = 3;

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

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// No token.
    Nothing,
    /// No token, but the end of a clause.
    End,
    /// The folded bytes are a token.
    Token,
    /// So they are, and a sign that ends a clause.
    Sign,
}

impl Found {
    pub(super) fn is_token(self) -> bool {
        matches!(self, Self::Token | Self::Sign)
    }

    pub(super) fn ends_clause(self) -> bool {
        matches!(self, Self::End | Self::Sign)
    }
}

/// Reads one token after the other.
#[derive(Debug)]
pub(super) struct Speller<'a> {
    pub(super) text: &'a [u8],
    /// Where the next token is looked for.
    pub(super) at: usize,
    /// The bytes of the last token, folded.
    pub(super) folded: &'a mut Folded,
    pub(super) writing: &'a mut Writing,
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

impl<'a> Speller<'a> {
    fn byte(&self, at: usize) -> u8 {
        self.text.get(at).copied().unwrap_or(0)
    }

    fn class(&self, at: usize) -> Class {
        match self.text.get(at) {
            Some(&byte) => CLASSES.get(byte as usize).copied().unwrap_or(Class::Sign),
            None => Class::Space,
        }
    }

    /// The bytes from `at` on.
    fn rest(&self, at: usize) -> &'a [u8] {
        self.text.get(at..).unwrap_or_default()
    }

    /// The character at `at`, which begins there.
    fn character(&self, at: usize) -> char {
        let rest = self.rest(at);
        let width = match rest.first() {
            Some(0xf0..) => 4,
            Some(0xe0..) => 3,
            Some(0xc0..) => 2,
            _ => 1,
        };
        let text = rest.get(..width).and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.and_then(|text| text.chars().next()).unwrap_or('\0')
    }

    /// What begins at [`Speller::at`]; steps over it.
    #[inline(never)]
    pub(super) fn read(&mut self) -> Found {
        self.folded.clear();
        match self.class(self.at) {
            Class::Letter | Class::Digit => self.word(),
            Class::Sign => self.sign(),
            Class::Wide => self.wide(),
            Class::Space | Class::Apostrophe => {
                self.at += 1;
                Found::Nothing
            }
        }
    }

    /// What begins with a character beyond ASCII.
    fn wide(&mut self) -> Found {
        let character = self.character(self.at);
        match fold(character) {
            fold::Folded::Other(_) => self.word(),
            fold::Folded::Picture => self.picture(),
            fold::Folded::Sign => {
                self.at += character.len_utf8();
                match character {
                    '…' => self.thing(mark::SIGN, b"..."),
                    _ => Found::End,
                }
            }
            fold::Folded::Letter(_)
            | fold::Folded::Nothing
            | fold::Folded::Apostrophe
            | fold::Folded::Space => {
                self.at += character.len_utf8();
                Found::Nothing
            }
        }
    }

    /// A token of `mark` and `name` instead of the folded bytes.
    fn thing(&mut self, mark: u8, name: &[u8]) -> Found {
        self.folded.clear();
        self.folded.push(&[mark]);
        self.folded.push(name);
        match mark {
            mark::SIGN => Found::Sign,
            _ => Found::Token,
        }
    }

    /// A word, letter by letter.
    fn word(&mut self) -> Found {
        let mut word = Word::default();
        loop {
            let byte = self.byte(self.at);
            match self.class(self.at) {
                Class::Letter => {
                    word.letters += 1;
                    word.capitals += usize::from(byte.is_ascii_uppercase());
                    self.push(&mut word, byte | 0x20);
                    self.at += 1;
                }
                Class::Digit => {
                    // Any number of digits is one.
                    word.digits += 1;
                    if word.last != b'0' {
                        self.push(&mut word, b'0');
                    }
                    self.at += 1;
                }
                Class::Apostrophe if self.class(self.at + 1) != Class::Space => self.at += 1,
                Class::Wide => {
                    if !self.wide_letter(&mut word) {
                        break;
                    }
                }
                Class::Sign if word.letters == 0 && self.joins_digits(byte) => self.at += 1,
                Class::Space | Class::Apostrophe | Class::Sign => break,
            }
        }
        self.finish(&word)
    }

    /// A character beyond ASCII that goes on with a word; false where it ends it.
    fn wide_letter(&mut self, word: &mut Word) -> bool {
        let character = self.character(self.at);
        match fold(character) {
            fold::Folded::Other(lower) => {
                word.letters += 1;
                word.last = 0;
                self.folded.push_character(lower);
            }
            fold::Folded::Nothing | fold::Folded::Apostrophe => {}
            // Letters that fold to ASCII are that in a plain text.
            fold::Folded::Letter(_)
            | fold::Folded::Picture
            | fold::Folded::Sign
            | fold::Folded::Space => return false,
        }
        self.at += character.len_utf8();
        true
    }

    /// True for a sign inside a number: `1,250.00`, `10:30`, `12/03`.
    fn joins_digits(&self, sign: u8) -> bool {
        matches!(sign, b'.' | b',' | b':' | b'/' | b'-') && self.class(self.at + 1) == Class::Digit
    }

    fn push(&mut self, word: &mut Word, letter: u8) {
        if letter == word.last {
            word.repeats = word.repeats.saturating_add(1);
            if word.repeats >= STRETCHED {
                word.is_stretched = true;
                return;
            }
        } else {
            (word.last, word.repeats) = (letter, 1);
        }
        self.folded.push(&[letter]);
    }

    fn finish(&mut self, word: &Word) -> Found {
        let next = self.byte(self.at);
        let is_link = match next {
            b':' => matches!(self.folded.bytes(), b"http" | b"https"),
            // Its third letter is left out, as any is.
            b'.' => word.is_stretched && self.folded.bytes() == b"ww",
            _ => false,
        };
        let is_address = next == b'@' && self.class(self.at + 1) != Class::Space;
        if is_link || is_address {
            self.at += self.rest(self.at).iter().take_while(|byte| **byte > b' ').count();
            let name: &[u8] = if is_link { b"link" } else { b"mail" };
            return self.thing(mark::THING, name);
        }
        if word.letters == 0 && word.digits > 0 {
            return self.thing(mark::THING, b"number");
        }
        if self.folded.bytes().is_empty() {
            return Found::Nothing;
        }
        self.writing.has_words = true;
        if let Some(vowel) = laughter(self.folded.bytes()) {
            return self.thing(mark::LAUGHTER, &[vowel]);
        }
        self.writing.is_stretched |= word.is_stretched;
        self.writing.is_shouted |= word.letters >= SHOUTED && word.capitals == word.letters;
        Found::Token
    }

    fn sign(&mut self) -> Found {
        let byte = self.byte(self.at);
        let rest = self.rest(self.at);
        let run = |signs: &[u8]| rest.iter().take_while(|byte| signs.contains(byte)).count();
        if byte == b'@' && self.class(self.at + 1) == Class::Letter {
            let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
            self.at += 1 + rest.iter().skip(1).take_while(is_name).count();
            return self.thing(mark::THING, b"name");
        }
        if let Some((length, name)) = face(rest) {
            self.at += length;
            return self.thing(mark::FACE, name);
        }
        match byte {
            b'!' | b'?' => {
                let length = run(b"!?");
                let signs = rest.get(..length).unwrap_or_default();
                let name: &[u8] = match (signs.contains(&b'!'), signs.contains(&b'?'), length) {
                    (true, true, _) => b"?!",
                    (true, false, 1) => b"!",
                    (true, false, _) => b"!!",
                    (_, _, 1) => b"?",
                    _ => b"??",
                };
                self.at += length;
                self.thing(mark::SIGN, name)
            }
            b'.' => {
                let length = run(b".");
                self.at += length;
                match length {
                    1 => Found::End,
                    _ => self.thing(mark::SIGN, b"..."),
                }
            }
            b',' | b';' | b':' | b'(' | b')' | b'[' | b']' | b'|' => {
                self.at += 1;
                Found::End
            }
            _ => {
                self.at += 1;
                Found::Nothing
            }
        }
    }

    /// A picture, with those that are joined to it.
    fn picture(&mut self) -> Found {
        self.folded.push(&[mark::PICTURE]);
        loop {
            let character = self.character(self.at);
            let code = character as u32;
            if fold::is_picture(code) && !fold::is_skin_tone(code) {
                self.folded.push_character(character);
            }
            self.at += character.len_utf8();
            let is_second_half = is_flag_half(code) && self.folded.bytes().len() > 5;
            if !self.is_joined(code) || is_second_half {
                break;
            }
        }
        match self.folded.bytes().len() {
            1 => Found::Nothing,
            _ => Found::Token,
        }
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

/// The vowel of a word that is laughter: one consonant, one vowel, again and again.
pub(super) fn laughter(word: &[u8]) -> Option<u8> {
    let is_laughing = |letter: &&u8| matches!(letter, b'j' | b'h');
    // Soon, and soon again: few other words go further than this.
    let consonant = *word.iter().take(2).find(is_laughing)?;
    word.iter().skip(2).take(3).find(is_laughing)?;
    let vowel = word.iter().copied().find(|letter| b"aeio".contains(letter)).unwrap_or(b's');
    let beats = word.iter().filter(|letter| **letter == consonant).count();
    let is_laughed = |letter: &u8| {
        *letter == consonant || *letter == vowel || (consonant == b'j' && *letter == b's')
    };
    (word.len() >= 4 && beats >= 2 && 3 * beats >= word.len() && word.iter().all(is_laughed))
        .then_some(vowel)
}
