//! Why a record is refused: the reason of its dead letter.

use std::fmt;

/// A reason that names the field, what was expected and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Path of the field, empty where the record as a whole is meant.
    path: String,
    message: String,
    /// The record is no JSON: no field is to blame.
    syntax: bool,
}

/// The result of reading a part of a record.
pub(super) type Read<T> = Result<T, Box<Refusal>>;

impl Refusal {
    /// A value that does not fit.
    pub(super) fn new(message: impl Into<String>) -> Box<Self> {
        Box::new(Self { path: String::new(), message: message.into(), syntax: false })
    }

    /// Text that is no JSON, at a byte of the record.
    pub(super) fn syntax(at: usize, message: impl fmt::Display) -> Box<Self> {
        Box::new(Self {
            path: String::new(),
            message: format!("invalid JSON at byte {at}: {message}"),
            syntax: true,
        })
    }

    /// The same refusal, seen from one level up.
    pub(super) fn inside(mut self: Box<Self>, name: &str) -> Box<Self> {
        if !self.syntax {
            let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
            self.path = format!("{name}{dot}{}", self.path);
        }
        self
    }

    /// True where the record is no JSON, so that nothing in it can be trusted.
    pub(super) fn is_syntax(&self) -> bool {
        self.syntax
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            out.write_str(&self.message)
        } else {
            write!(out, "{}: {}", self.path, self.message)
        }
    }
}

/// Text as messages show it: quoted, and cut after forty characters.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((cut, _)) => format!("{:?}...", text.get(..cut).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
