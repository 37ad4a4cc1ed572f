//! What is wrong with a piece of SQL, and where.

use std::fmt;

use datafusion::sql::sqlparser::tokenizer::{Location, Span};

/// A refusal of a SQL text, in our own words, at its place inside that text.
///
/// The message is lowercase without a full stop; the hint says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// Line inside the SQL text, from 1.
    pub line: u64,
    /// Column inside the line, from 1, in characters.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to use instead, where there is something.
    pub hint: Option<String>,
}

impl SqlError {
    /// An error at the beginning of `span`; an empty span stands for the beginning of the text.
    pub fn at(span: Span, message: impl Into<String>) -> Self {
        Self::at_location(span.start, message)
    }

    /// An error at `location`; line 0 stands for the beginning of the text.
    pub fn at_location(location: Location, message: impl Into<String>) -> Self {
        Self {
            line: location.line.max(1),
            column: location.column.max(1),
            message: message.into(),
            hint: None,
        }
    }

    /// The same with what to use instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}, column {}: {}", self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(out, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SqlError {}

/// The candidate that `word` was probably meant to be.
pub(super) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&word, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}
