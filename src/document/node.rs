//! The located tree.

use std::ops::Range;

/// A place in a file: line and column from 1, width in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// From 1; 0: the file as a whole.
    pub line: u32,
    /// From 1, counted in characters.
    pub column: u32,
    /// Characters to underline.
    pub width: u32,
}

/// A value and its place. What an alias stands for keeps the place where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// A mapping, a list or a scalar.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `key: value` entries, in the file's order, no key twice.
    Map(Vec<Entry>),
    /// Items, in the file's order.
    List(Vec<Node>),
    /// Anything else.
    Scalar(Scalar),
}

/// One `key: value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is.
    pub place: Place,
    /// The value.
    pub value: Node,
    /// True where `<<` brought it: a key of the mapping itself replaces it.
    pub(super) merged: bool,
}

/// A scalar: its text now, and as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Scalar {
    /// The text, variables expanded: may hold a secret, so no message shows it.
    pub text: String,
    /// How it was written.
    pub style: Style,
    /// The text before expansion, where there was something to expand: what messages show.
    pub raw: Option<String>,
    /// For each expansion, the byte ranges in `raw` and in `text`.
    pub(super) expansions: Vec<(Range<usize>, Range<usize>)>,
    /// The bytes of the file that it was read from.
    pub(super) source: Range<usize>,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Bare: may be a number, a boolean or null.
    Plain,
    /// `'text'`
    SingleQuoted,
    /// `"text"`
    DoubleQuoted,
    /// `|`
    Literal,
    /// `>`
    Folded,
}

/// What a scalar means by the core schema of YAML 1.2 (section 10.3.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resolved<'a> {
    /// Nothing, `~`, `null`.
    Null,
    /// `true`, `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// Everything else, and everything in quotes.
    Text(&'a str),
}

impl Scalar {
    /// What it means.
    pub fn resolve(&self) -> Resolved<'_> {
        let text = self.text.as_str();
        if self.style != Style::Plain {
            return Resolved::Text(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
            "true" | "True" | "TRUE" => return Resolved::Boolean(true),
            "false" | "False" | "FALSE" => return Resolved::Boolean(false),
            _ => {}
        }
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return Resolved::Text(text);
        }
        let radix = |prefix: &str, radix| {
            let digits = text.strip_prefix(prefix)?;
            digits.starts_with(|c: char| c.is_ascii_alphanumeric()).then_some(())?;
            i128::from_str_radix(digits, radix).ok()
        };
        if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
            return Resolved::Integer(number);
        }
        if let Ok(number) = text.parse::<i128>() {
            return Resolved::Integer(number);
        }
        let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
        match digits.chars().all(numeric).then(|| text.parse::<f64>()) {
            Some(Ok(number)) if number.is_finite() => Resolved::Float(number),
            _ => Resolved::Text(text),
        }
    }

    /// The text as it was written, `${NAME}` unexpanded: safe to show.
    pub fn shown(&self) -> &str {
        self.raw.as_deref().unwrap_or(&self.text)
    }

    /// `message` with `${NAME}` in place of what the variables of this scalar hold, however a
    /// message spells it: the value may be a secret.
    pub fn redact(&self, message: &str) -> String {
        let Some(raw) = &self.raw else { return message.to_owned() };
        let mut message = message.to_owned();
        for (written, expanded) in &self.expansions {
            let value = self.text.get(expanded.clone()).unwrap_or("").trim();
            let name = raw.get(written.clone()).unwrap_or("");
            // `$$` and empty values hide nothing.
            if value.is_empty() || name == "$$" {
                continue;
            }
            let lower = value.to_lowercase();
            for spelling in [value, lower.as_str()] {
                message = message.replace(spelling, name);
            }
        }
        message
    }

    /// True where a variable was expanded in it.
    pub fn is_expanded(&self) -> bool {
        self.raw.is_some()
    }
}

/// One step from a node to one beneath it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The value of that key.
    Key(&'a str),
    /// The item of that index.
    Item(usize),
}

impl Entry {
    /// An entry that the file does not hold, shown at `place`.
    pub fn new(key: &str, place: Place, value: Node) -> Self {
        Self { key: key.to_owned(), place, value, merged: false }
    }
}

impl Node {
    /// A text that the file does not hold, shown at `place`.
    pub fn text(place: Place, text: &str) -> Self {
        let text = text.to_owned();
        let style = Style::DoubleQuoted;
        let scalar = Scalar { text, style, raw: None, expansions: Vec::new(), source: 0..0 };
        Self { place, value: Value::Scalar(scalar) }
    }
    /// The entry of that key, where this is a mapping that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }
    /// The value of that key, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }
    /// The value at the end of some steps.
    pub fn at(&self, steps: &[Step<'_>]) -> Option<&Node> {
        steps.iter().try_fold(self, |node, step| match step {
            Step::Key(key) => node.get(key),
            Step::Item(index) => node.items().get(*index),
        })
    }
    /// The entries; none where this is no mapping.
    pub fn entries(&self) -> &[Entry] {
        if let Value::Map(entries) = &self.value { entries } else { &[] }
    }
    /// The items; none where this is no list.
    pub fn items(&self) -> &[Node] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }
    /// The scalar, where it is one.
    pub fn scalar(&self) -> Option<&Scalar> {
        if let Value::Scalar(scalar) = &self.value { Some(scalar) } else { None }
    }
    /// True for a value that is not there: nothing after the colon, `~`, `null`.
    pub fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.resolve() == Resolved::Null)
    }

    /// See [`Document::place_inside`](super::Document::place_inside).
    pub(super) fn place_inside(&self, file: &str, line: usize, column: usize) -> Place {
        let Some(scalar) = self.scalar() else { return self.place };
        let offset = scalar.raw_offset(offset_of(&scalar.text, line, column));
        let raw = scalar.shown();
        // Indentation and folding change white space only: the n-th character that is none in the
        // value is the n-th that is none in the file.
        let before = |c: &char| !c.is_whitespace();
        let skip = raw.get(..offset).unwrap_or(raw).chars().filter(before).count();
        let source = file.get(scalar.source.clone()).unwrap_or("");
        match scalar.style.nth_character(source, skip) {
            Some(found) => place_of(file, scalar.source.start + found),
            None => self.place,
        }
    }
}

impl Scalar {
    /// The byte of `raw` that byte `offset` of `text` came from.
    fn raw_offset(&self, offset: usize) -> usize {
        let mut shift = 0_isize;
        for (raw, text) in &self.expansions {
            if offset < text.start {
                break;
            }
            if offset < text.end {
                return raw.start;
            }
            shift = raw.end as isize - text.end as isize;
        }
        offset.saturating_add_signed(shift)
    }
}

impl Style {
    /// The byte of the `skip`-th character of the value that is no white space.
    fn nth_character(self, source: &str, skip: usize) -> Option<usize> {
        let begin = match self {
            Self::Plain => 0,
            Self::SingleQuoted | Self::DoubleQuoted => 1,
            // The header (`|2-  # comment`) ends with its line.
            Self::Literal | Self::Folded if source.starts_with(['|', '>']) => source.find('\n')?,
            Self::Literal | Self::Folded => 0,
        };
        let mut characters = source.get(begin..)?.char_indices().peekable();
        let mut seen = 0;
        while let Some((at, character)) = characters.next() {
            let counts = match (self, character) {
                (Self::SingleQuoted, '\'') => characters.next().is_some(),
                // An escaped letter is white space (`\n`, `\t`); an escaped sign is itself.
                (Self::DoubleQuoted, '\\') => {
                    characters.next().is_some_and(|(_, escaped)| !escaped.is_alphanumeric())
                }
                (_, character) => !character.is_whitespace(),
            };
            if counts && seen == skip {
                return Some(begin + at);
            }
            seen += usize::from(counts);
        }
        None
    }
}

/// The byte of line `line`, column `column` (from 1, in characters).
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let line = line.max(1) - 1;
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = text.get(start..).unwrap_or("");
    let inside: usize = rest.chars().take(column.max(1) - 1).map(char::len_utf8).sum();
    start + inside
}

/// The place of a byte of the file.
pub(super) fn place_of(file: &str, offset: usize) -> Place {
    let before = file.get(..offset).unwrap_or(file);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Place { line: number(line), column: number(column), width: 1 }
}
