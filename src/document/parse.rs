//! Text to a located tree, over the events of the YAML parser beneath serde-saphyr.

use std::collections::HashMap;
use std::sync::Arc;

use serde_saphyr::granit_parser::{
    ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag,
};

use super::finding::{Finding, Findings};
use super::node::{Entry, Node, Place, Scalar, Style, Value};

/// Most nodes that a document may have once its aliases are resolved: a few lines of aliases to
/// aliases stand for billions.
const MOST_NODES: usize = 200_000;

/// The key under which a mapping takes over the entries of others.
const MERGE: &str = "<<";

pub(super) fn parse(file: &Arc<str>, text: &str) -> (Option<Node>, Findings) {
    let mut builder = Builder {
        file,
        text,
        stack: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        nodes: 0,
        findings: Findings::new(),
    };
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(Box::new(builder.syntax(&error))),
        };
        if let Err(finding) = step {
            builder.findings.push(*finding);
            return (None, builder.findings);
        }
    }
    let root = builder.root.take().filter(|root| !root.is_null());
    if root.is_none() {
        let whole = Finding::of_file(file, "is empty").allowed("a YAML mapping is expected");
        builder.findings.push(whole);
    }
    (root, builder.findings)
}

/// A collection that is not closed yet.
enum Open {
    Map { place: Place, anchor: usize, entries: Vec<Entry>, key: Option<(String, Place)> },
    List { place: Place, anchor: usize, items: Vec<Node> },
}

struct Builder<'a> {
    file: &'a Arc<str>,
    text: &'a str,
    stack: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
    findings: Findings,
}

impl Builder<'_> {
    fn finding(&self, place: Place, what: impl Into<String>) -> Finding {
        Finding::new(self.file, self.text, place, &self.path(), what.into())
    }

    /// Where the builder is: the keys and indexes of the open collections.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.stack {
            match open {
                Open::Map { key: Some((key, _)), .. } => super::words::push_key(&mut path, key),
                Open::List { items, .. } => path += &format!("[{}]", items.len()),
                Open::Map { key: None, .. } => {}
            }
        }
        path
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Finding>> {
        let place = place(&span.start);
        let tag_place = span.tag_start().map_or(place, |start| self::place(&start));
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                return Err(Box::new(
                    self.finding(place, "a second document begins here")
                        .allowed("one document a file"),
                ));
            }
            Event::Scalar(text, style, anchor, tag) => {
                let style = self.tagged(tag_place, style_of(style), tag.as_deref())?;
                let source = span.byte_range().unwrap_or(0..0);
                let place = self.scalar_place(place, &span);
                let text = text.into_owned();
                let scalar = Scalar { text, style, raw: None, expansions: Vec::new(), source };
                self.close(Node { place, value: Value::Scalar(scalar) }, anchor)?;
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Box::new(
                        self.finding(place, "an alias cannot stand inside its own anchor"),
                    ));
                };
                self.nodes += count(&node);
                self.close(node, 0)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.tagged(tag_place, Style::Plain, tag.as_deref())?;
                self.open(place, Open::List { place, anchor, items: Vec::new() })?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.tagged(tag_place, Style::Plain, tag.as_deref())?;
                let open = Open::Map { place, anchor, entries: Vec::new(), key: None };
                self.open(place, open)?;
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open::Map { place, anchor, entries, .. }) => {
                    self.close(Node { place, value: Value::Map(entries) }, anchor)?;
                }
                Some(Open::List { place, anchor, items }) => {
                    self.close(Node { place, value: Value::List(items) }, anchor)?;
                }
                None => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, place: Place, open: Open) -> Result<(), Box<Finding>> {
        if let Some(Open::Map { key: None, .. }) = self.stack.last() {
            return Err(Box::new(self.finding(place, "a key must be text")));
        }
        self.stack.push(open);
        Ok(())
    }

    /// A node is complete: it is a key, a value, an item or the root.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), Box<Finding>> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(Box::new(self.finding(node.place, "the document is too large").allowed(
                format!("at most {MOST_NODES} values, aliases counted as what they name"),
            )));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let repeated = match self.stack.last_mut() {
            None => {
                self.root = Some(node);
                None
            }
            Some(Open::List { items, .. }) => {
                items.push(node);
                None
            }
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => {
                    let Value::Scalar(scalar) = &node.value else {
                        return Err(Box::new(self.finding(node.place, "a key must be text")));
                    };
                    *key = Some((scalar.text.clone(), node.place));
                    None
                }
                Some((key, place)) if key == MERGE => merge(entries, node).err().map(|()| {
                    (place, key, "`<<` takes over a mapping or a list of mappings".to_owned())
                }),
                Some((key, place)) => match entries.iter().find(|entry| entry.key == key) {
                    Some(first) if !first.merged => {
                        let what = format!("key appears twice; first on line {}", first.place.line);
                        Some((place, key, what))
                    }
                    _ => {
                        entries.retain(|entry| entry.key != key);
                        // An empty value has no place of its own.
                        let node = if node.is_null() { Node { place, ..node } } else { node };
                        entries.push(Entry { key, place, value: node, merged: false });
                        None
                    }
                },
            },
        };
        if let Some((place, key, what)) = repeated {
            let mut finding = self.finding(place, what);
            super::words::push_key(&mut finding.path, &key);
            self.findings.push(finding);
        }
        Ok(())
    }

    /// `!!str` makes text of anything; other tags mean nothing here.
    fn tagged(&self, place: Place, style: Style, tag: Option<&Tag>) -> Result<Style, Box<Finding>> {
        match tag.map(|tag| tag.core_suffix()) {
            None => Ok(style),
            Some(Some("str")) if style == Style::Plain => Ok(Style::DoubleQuoted),
            Some(Some("str" | "int" | "float" | "bool" | "null" | "map" | "seq")) => Ok(style),
            Some(_) => Err(Box::new(
                self.finding(place, "tags (`!name`) have no meaning here")
                    .allowed("put a text that begins with `!` in quotes"),
            )),
        }
    }

    /// A scalar is underlined whole where it lies on one line.
    fn scalar_place(&self, place: Place, span: &Span) -> Place {
        let written = span.slice(self.text).unwrap_or("");
        let width = written.lines().next().unwrap_or("").trim_end().chars().count();
        Place { width: u32::try_from(width.max(1)).unwrap_or(1), ..place }
    }

    /// The parser's error, in words that say what to do where that is known.
    fn syntax(&self, error: &ScanError) -> Finding {
        let mut place = place(error.marker());
        let kind = error.kind();
        let line = self.text.lines().nth(place.line as usize - 1).unwrap_or("");
        let near: String = line.chars().skip((place.column as usize).saturating_sub(3)).collect();
        let (what, hint) = match kind {
            ErrorKind::TabNotAllowed
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInPlainScalar
            | ErrorKind::TabAtBlockScalarStart => {
                place = self.tab_from(place);
                ("a tab in the indentation".to_owned(), "indent with spaces")
            }
            ErrorKind::UnknownAnchor => (
                "an alias without its anchor".to_owned(),
                "write its anchor (`&name`) above it, or put a text that begins with `*` in quotes",
            ),
            // `{ key: ${NAME} }`: the brace after the dollar sign opens a mapping.
            _ if near.contains("${") => (
                "`${` inside `{ }` or `[ ]` must stand in quotes".to_owned(),
                "write `{ key: \"${NAME}\" }`",
            ),
            kind => (format!("not YAML: {}", error.info()), hint(kind)),
        };
        let mut finding = self.finding(place, what).allowed(hint);
        finding.path.clear();
        finding
    }

    /// The first tab in an indentation at or after `place`: the parser reports where the text
    /// before it began.
    fn tab_from(&self, place: Place) -> Place {
        let lines = self.text.lines().enumerate().skip(place.line as usize - 1);
        for (index, line) in lines {
            let indentation = line.chars().take_while(|c| c.is_whitespace());
            if let Some(column) = indentation.into_iter().position(|c| c == '\t') {
                return Place { line: number(index + 1), column: number(column + 1), width: 1 };
            }
        }
        place
    }
}

/// What to do about a syntax error.
fn hint(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UnclosedQuotedScalar => "close the quote",
        ErrorKind::InvalidTrailingDoubleQuotedScalar
        | ErrorKind::InvalidTrailingSingleQuotedScalar => {
            "a quote above is not closed, or one inside the text is not escaped"
        }
        ErrorKind::InvalidSimpleKey | ErrorKind::SimpleKeyExpected => {
            "write `key: value`, with a space after the colon"
        }
        ErrorKind::InvalidColonPlacement
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator => {
            "close the bracket or the quote that is still open, or put a comma between entries"
        }
        ErrorKind::MappingValueNotAllowed => "put a text that holds `: ` in quotes",
        _ => "check the indentation, and that every quote and bracket above is closed",
    }
}

/// Take over the entries of a mapping, or of several, that are not there yet.
fn merge(entries: &mut Vec<Entry>, node: Node) -> Result<(), ()> {
    match node.value {
        Value::Map(others) => {
            for mut other in others {
                if !entries.iter().any(|entry| entry.key == other.key) {
                    other.merged = true;
                    entries.push(other);
                }
            }
            Ok(())
        }
        Value::List(items) => items.into_iter().try_for_each(|item| merge(entries, item)),
        Value::Scalar(_) => Err(()),
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Map(entries) => entries.iter().map(|entry| 1 + count(&entry.value)).sum::<usize>(),
        Value::List(items) => items.iter().map(|item| 1 + count(item)).sum(),
        Value::Scalar(_) => 0,
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn place(marker: &Marker) -> Place {
    Place { line: number(marker.line()), column: number(marker.col() + 1), width: 1 }
}

fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    }
}
