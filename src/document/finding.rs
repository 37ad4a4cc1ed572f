//! What is wrong, where, and what to write instead.

use std::fmt;
use std::sync::Arc;

use super::node::Place;
use crate::error::Error;

/// Longest stretch of a source line that is shown, in characters.
const SHOWN: usize = 120;

/// One mistake in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: Arc<str>,
    /// Line, column and width; line 0 means the file as a whole.
    pub place: Place,
    /// What it is about: `sinks.lake.parquet.url`; empty for the document as a whole.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What is allowed, or what to do.
    pub allowed: Option<String>,
    /// What was probably meant.
    pub suggestion: Option<String>,
    /// The line of the file, as it is written there.
    pub source: Option<String>,
}

impl Finding {
    pub(super) fn new(file: &Arc<str>, text: &str, place: Place, path: &str, what: String) -> Self {
        let (file, path) = (file.clone(), path.to_owned());
        let mut finding =
            Self { file, place, path, what, allowed: None, suggestion: None, source: None };
        finding.move_to(text, place);
        finding
    }

    /// Show it at another place of the file with that text.
    pub(super) fn move_to(&mut self, text: &str, place: Place) {
        let line = (place.line as usize).checked_sub(1);
        self.source = line.and_then(|line| text.lines().nth(line)).map(str::to_owned);
        self.place = place;
    }

    /// Underline the word at the place, where one stands there.
    pub(super) fn underline_word(&mut self) {
        let column = self.place.column.max(1) as usize - 1;
        let rest = self.source.iter().flat_map(|line| line.chars().skip(column));
        let word = rest.take_while(|c| c.is_alphanumeric() || *c == '_').count();
        self.place.width = u32::try_from(word.max(1)).unwrap_or(1);
    }

    /// A finding about a file as a whole: it cannot be read, for instance.
    pub fn of_file(file: &str, what: impl Into<String>) -> Self {
        Self::new(&file.into(), "", Place::default(), "", what.into())
    }

    /// Say what is allowed.
    #[must_use]
    pub fn allowed(mut self, allowed: impl Into<String>) -> Self {
        self.allowed = Some(allowed.into());
        self
    }

    /// Say what was probably meant.
    #[must_use]
    pub fn suggest(mut self, suggestion: Option<impl Into<String>>) -> Self {
        self.suggestion = suggestion.map(Into::into);
        self
    }

    /// `file:line:column: path: what; allowed; did you mean "x"`, then the source line and a caret.
    pub fn render(&self, colors: bool) -> String {
        let paint = |code: &str, text: &str| match colors {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        };
        let place = match self.place.line {
            0 => self.file.to_string(),
            line => format!("{}:{line}:{}", self.file, self.place.column),
        };
        let mut text = paint("1", &format!("{place}: "));
        if !self.path.is_empty() {
            text += &paint("1", &format!("{}: ", self.path));
        }
        text += &paint("31", &self.what);
        if let Some(allowed) = &self.allowed {
            text += &format!("; {allowed}");
        }
        if let Some(suggestion) = &self.suggestion {
            text += &format!("; did you mean {}", paint("32", &format!("{suggestion:?}")));
        }
        if let Some(source) = &self.source {
            let number = self.place.line.to_string();
            let (shown, caret) = excerpt(source, self.place);
            text += &format!("\n  {} {shown}", paint("34", &format!("{number} |")));
            let margin = " ".repeat(number.len());
            text += &format!("\n  {margin} {} {}", paint("34", "|"), paint("31", &caret));
        }
        text
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.render(false))
    }
}

/// The part of a long line around the place, and the carets beneath it.
fn excerpt(source: &str, place: Place) -> (String, String) {
    let characters: Vec<char> = source.trim_end().chars().collect();
    let column = (place.column.max(1) as usize - 1).min(characters.len());
    let width = (place.width.max(1) as usize).min(characters.len().saturating_sub(column).max(1));
    let (mut from, mut to) = (0, characters.len());
    if characters.len() > SHOWN {
        from = column.saturating_sub(SHOWN / 2);
        to = (from + SHOWN).min(characters.len());
    }
    let dots = |cut: bool| if cut { "..." } else { "" };
    let part: String = characters.iter().take(to).skip(from).collect();
    let shown = format!("{}{part}{}", dots(from > 0), dots(to < characters.len()));
    // A tab stays a tab, so that the caret lies beneath its character on every terminal.
    let blank = |c: &char| if *c == '\t' { '\t' } else { ' ' };
    let margin: String = characters.iter().take(column).skip(from).map(blank).collect();
    let carets = "^".repeat(width.min(to.saturating_sub(column).max(1)));
    (shown, format!("{}{margin}{carets}", if from > 0 { "   " } else { "" }))
}

/// All mistakes of one load, in the order of their places; files in the order in which they were
/// first met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    /// No mistakes yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Add one.
    pub fn push(&mut self, finding: Finding) {
        self.list.push(finding);
        self.sort();
    }
    /// Add several.
    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.list.extend(findings);
        self.sort();
    }
    /// How many.
    pub fn len(&self) -> usize {
        self.list.len()
    }
    /// True where nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    /// One after another.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.list.iter()
    }
    /// `Err` with everything found, `Ok` where nothing is.
    ///
    /// # Errors
    /// The findings themselves.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
    /// All of them, with an empty line between two; colours only where asked for.
    pub fn render(&self, colors: bool) -> String {
        let shown: Vec<String> = self.list.iter().map(|finding| finding.render(colors)).collect();
        shown.join("\n\n")
    }

    fn sort(&mut self) {
        let mut files: Vec<Arc<str>> = Vec::new();
        for finding in &self.list {
            if !files.contains(&finding.file) {
                files.push(finding.file.clone());
            }
        }
        let file = |finding: &Finding| files.iter().position(|file| *file == finding.file);
        self.list.sort_by_key(|finding| (file(finding), finding.place.line, finding.place.column));
        self.list.dedup();
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.render(false))
    }
}

impl std::error::Error for Findings {}

impl From<Finding> for Findings {
    fn from(finding: Finding) -> Self {
        Self { list: vec![finding] }
    }
}

impl IntoIterator for Findings {
    type Item = Finding;
    type IntoIter = std::vec::IntoIter<Finding>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl FromIterator<Finding> for Findings {
    fn from_iter<I: IntoIterator<Item = Finding>>(findings: I) -> Self {
        let mut all = Self::new();
        all.extend(findings);
        all
    }
}

impl From<Findings> for Error {
    fn from(findings: Findings) -> Self {
        Error::config(findings.to_string())
    }
}
