//! A pull reader of JSON text (RFC 8259) that allocates nothing and keeps every place, so that
//! strings can be viewed where they stand and numbers be read as they were written.

use std::borrow::Cow;

use super::refusal::{Read, Refusal};

/// How deep lists and objects may nest.
const MAX_DEPTH: u32 = 128;

/// A string between its quotes, checked, not yet unescaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Str {
    /// First byte behind the opening quote.
    pub start: usize,
    /// The closing quote.
    pub end: usize,
    /// It has escapes.
    pub escaped: bool,
}

/// A scalar, or the beginning of a list or an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Null,
    Boolean(bool),
    /// A number as it was written.
    Number(&'a str),
    Text(Str),
    Object,
    Array,
}

/// Reads one record from front to back.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Cursor<'a> {
    /// A reader of `text`, from byte `at` on.
    pub(super) fn new(text: &'a str, at: usize) -> Self {
        Self { text, at, depth: 0 }
    }

    /// A reader of `text`, from byte `at` on, inside `depth` lists and objects.
    pub(super) fn inside(text: &'a str, at: usize, depth: u32) -> Self {
        Self { text, at, depth }
    }

    /// How many lists and objects are open.
    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    /// A reader of the same text, from byte `at` on.
    pub(super) fn clone_at(&self, at: usize) -> Self {
        Self { text: self.text, at, depth: self.depth }
    }

    /// The next byte to read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The text between two places.
    pub(super) fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// The bytes of a string as they stand.
    pub(super) fn raw(&self, string: Str) -> &'a str {
        self.slice(string.start, string.end)
    }

    /// A string without its escapes.
    pub(super) fn text(&self, string: Str) -> Cow<'a, str> {
        let raw = self.raw(string);
        if string.escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
    }

    fn fail<T>(&self, message: &str) -> Read<T> {
        Err(Refusal::syntax(self.at, message))
    }

    fn next_is(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Pass white space; the byte that follows it.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.next_is() {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    /// Pass white space; fail where anything follows it.
    pub(super) fn end(&mut self) -> Read<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fail("expected the end of the record"),
        }
    }

    /// A scalar, or the opening bracket of a list or an object.
    pub(super) fn token(&mut self) -> Read<Token<'a>> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string().map(Token::Text)
            }
            Some(b'-' | b'0'..=b'9') => self.number().map(Token::Number),
            Some(b'{') => self.open().map(|()| Token::Object),
            Some(b'[') => self.open().map(|()| Token::Array),
            Some(b't') => self.word("true", Token::Boolean(true)),
            Some(b'f') => self.word("false", Token::Boolean(false)),
            Some(b'n') => self.word("null", Token::Null),
            Some(_) => self.fail("expected a value"),
            None => self.fail("expected a value, found the end of the record"),
        }
    }

    fn open(&mut self) -> Read<()> {
        if self.depth == MAX_DEPTH {
            return self.fail("nested deeper than 128 levels");
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &str, token: Token<'a>) -> Read<Token<'a>> {
        if self.text.get(self.at..self.at + word.len()) != Some(word) {
            return self.fail("expected a value");
        }
        self.at += word.len();
        Ok(token)
    }

    /// The name of an object's next member, its colon passed; `None` at the closing brace.
    pub(super) fn member(&mut self, first: bool) -> Read<Option<Str>> {
        match (self.peek(), first) {
            (Some(b'}'), _) => {
                self.close();
                return Ok(None);
            }
            (Some(b','), false) => {
                self.at += 1;
                self.peek();
            }
            (_, true) => {}
            (Some(_), false) => return self.fail("expected `,` or `}`"),
            (None, false) => {
                return self.fail("expected `,` or `}`, found the end of the record");
            }
        }
        if self.next_is() != Some(b'"') {
            return self.fail("expected the name of a member");
        }
        self.at += 1;
        let name = self.string()?;
        if self.peek() != Some(b':') {
            return self.fail("expected `:`");
        }
        self.at += 1;
        Ok(Some(name))
    }

    /// True where a list has one more element; false at its closing bracket.
    pub(super) fn element(&mut self, first: bool) -> Read<bool> {
        match (self.peek(), first) {
            (Some(b']'), _) => {
                self.close();
                Ok(false)
            }
            (_, true) => Ok(true),
            (Some(b','), false) => {
                self.at += 1;
                if self.peek() == Some(b']') {
                    return self.fail("expected a value");
                }
                Ok(true)
            }
            (Some(_), false) => self.fail("expected `,` or `]`"),
            (None, false) => self.fail("expected `,` or `]`, found the end of the record"),
        }
    }

    fn close(&mut self) {
        self.at += 1;
        self.depth = self.depth.saturating_sub(1);
    }

    /// Pass one value, checking it; where it begins and ends.
    pub(super) fn skip(&mut self) -> Read<(usize, usize)> {
        self.peek();
        let start = self.at;
        match self.token()? {
            Token::Object => {
                let mut first = true;
                while self.member(first)?.is_some() {
                    self.skip()?;
                    first = false;
                }
            }
            Token::Array => {
                let mut first = true;
                while self.element(first)? {
                    self.skip()?;
                    first = false;
                }
            }
            _ => {}
        }
        Ok((start, self.at))
    }

    /// Behind an opening quote: the string up to its closing quote, which is passed.
    fn string(&mut self) -> Read<Str> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        loop {
            self.at = find_special(bytes, self.at);
            match bytes.get(self.at) {
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(Str { start, end, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.fail("a control character inside a string"),
                None => return self.fail("a string without its closing quote"),
            }
        }
    }

    fn escape(&mut self) -> Read<()> {
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => match unit(self.text, self.at) {
                Some(0xD800..=0xDBFF) => match unit(self.text, self.at + 6) {
                    Some(0xDC00..=0xDFFF) => {
                        self.at += 12;
                        Ok(())
                    }
                    _ => self.fail("half a surrogate pair"),
                },
                Some(0xDC00..=0xDFFF) => self.fail("half a surrogate pair"),
                Some(_) => {
                    self.at += 6;
                    Ok(())
                }
                None => self.fail("`\\u` without four hexadecimal digits"),
            },
            _ => self.fail("an escape that JSON does not know"),
        }
    }

    fn number(&mut self) -> Read<&'a str> {
        let start = self.at;
        let length = number_length(self.text.as_bytes().get(start..).unwrap_or_default());
        match length {
            Some(length) => {
                self.at += length;
                Ok(self.slice(start, self.at))
            }
            None => self.fail("a number that JSON does not know"),
        }
    }
}

/// Length of the JSON number that `bytes` begins with.
pub(super) fn number_length(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    match digits(at) {
        0 => return None,
        count if count > 1 && bytes.get(at) == Some(&b'0') => return None,
        count => at += count,
    }
    if bytes.get(at) == Some(&b'.') {
        match digits(at + 1) {
            0 => return None,
            count => at += 1 + count,
        }
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        match digits(at) {
            0 => return None,
            count => at += count,
        }
    }
    Some(at)
}

/// The first byte from `from` on that ends a run of plain string bytes: a quote, a backslash, a
/// control character; the length of `bytes` where there is none. Eight bytes at a time.
#[inline]
pub(super) fn find_special(bytes: &[u8], from: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut at = from;
    while let Some(word) = bytes.get(at..at + 8).and_then(|word| word.try_into().ok()) {
        let word = u64::from_le_bytes(word);
        // A byte's high bit is set where it is zero after the exclusive or, or below a space. A
        // borrow can set a false one, but only above a true one: the lowest is always right.
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let hit = ((quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word))
            & HIGH;
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|&byte| byte < 0x20 || byte == b'"' || byte == b'\\')
        .unwrap_or(rest.len())
}

/// The code unit of the escape `\u` with its four digits at byte `at`.
fn unit(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

/// The text of a string whose escapes have been checked.
pub(super) fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    let mut at = 0;
    while let Some(found) = rest.find('\\') {
        out.push_str(rest.get(..found).unwrap_or_default());
        at += found;
        let (letter, length) = match raw.as_bytes().get(at + 1) {
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'u') => match (unit(raw, at), unit(raw, at + 6)) {
                (Some(high @ 0xD800..=0xDBFF), Some(low @ 0xDC00..=0xDFFF)) => {
                    (letter(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)), 12)
                }
                (Some(unit), _) => (letter(unit), 6),
                (None, _) => (char::REPLACEMENT_CHARACTER, 2),
            },
            Some(&plain) => (plain as char, 2),
            None => (char::REPLACEMENT_CHARACTER, 1),
        };
        out.push(letter);
        at += length;
        rest = raw.get(at..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

fn letter(code: u32) -> char {
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Write `text` as a JSON string with as few escapes as the format allows: the canonical form.
pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
