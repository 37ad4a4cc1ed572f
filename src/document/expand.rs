//! `${NAME}` and `${NAME:-default}` inside scalar values, after parsing.

use super::finding::Findings;
use super::node::{Node, Place, Value};
use super::{Document, words};

/// Where the value of a variable comes from.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

pub(super) fn expand(document: &mut Document, lookup: Lookup<'_>) -> Result<(), Findings> {
    let mut root = document.root.clone();
    let mut wrong = Vec::new();
    walk(&mut root, "", lookup, &mut wrong);
    let findings: Findings = wrong
        .into_iter()
        .map(|(place, path, (what, allowed))| document.finding(place, &path, what).allowed(allowed))
        .collect();
    document.root = root;
    findings.into_result()
}

/// What is wrong, and what is allowed.
type Wrong = (String, String);

fn walk(node: &mut Node, path: &str, lookup: Lookup<'_>, wrong: &mut Vec<(Place, String, Wrong)>) {
    match &mut node.value {
        Value::Map(entries) => {
            for entry in entries {
                walk(&mut entry.value, &words::path_of(path, &entry.key), lookup, wrong);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                walk(item, &format!("{path}[{index}]"), lookup, wrong);
            }
        }
        Value::Scalar(scalar) if scalar.text.contains('$') => {
            let mut text = String::with_capacity(scalar.text.len());
            let mut expansions = Vec::new();
            let mut rest = 0;
            while let Some(part) = next(&scalar.text, rest) {
                text += scalar.text.get(rest..part.from).unwrap_or("");
                let begin = text.len();
                match part.value(lookup) {
                    Ok(value) => text += &value,
                    Err(problem) => wrong.push((node.place, path.to_owned(), problem)),
                }
                expansions.push((part.from..part.to, begin..text.len()));
                rest = part.to;
            }
            if !expansions.is_empty() {
                text += scalar.text.get(rest..).unwrap_or("");
                scalar.raw = Some(std::mem::replace(&mut scalar.text, text));
                scalar.expansions = expansions;
            }
        }
        Value::Scalar(_) => {}
    }
}

/// A `$$` or a `${...}`, with the bytes that it takes.
struct Part<'a> {
    from: usize,
    to: usize,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Dollar,
    Open,
    Variable(&'a str),
}

/// The first one at or after byte `start`. A `$` before anything else is itself.
fn next(text: &str, start: usize) -> Option<Part<'_>> {
    let mut from = start;
    loop {
        from += text.get(from..)?.find('$')?;
        let rest = text.get(from + 1..)?;
        if rest.starts_with('$') {
            return Some(Part { from, to: from + 2, kind: Kind::Dollar });
        }
        if let Some(inside) = rest.strip_prefix('{') {
            return Some(match inside.find('}') {
                Some(end) => {
                    let kind = Kind::Variable(inside.get(..end).unwrap_or(""));
                    Part { from, to: from + 2 + end + 1, kind }
                }
                None => Part { from, to: text.len(), kind: Kind::Open },
            });
        }
        from += 1;
    }
}

impl Part<'_> {
    fn value(&self, lookup: Lookup<'_>) -> Result<String, Wrong> {
        let inside = match self.kind {
            Kind::Dollar => return Ok("$".to_owned()),
            Kind::Open => {
                return Err((
                    "`${` is not closed".into(),
                    "write `${NAME}`, or `$$` for a dollar sign".into(),
                ));
            }
            Kind::Variable(inside) => inside,
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty()
            || !name.chars().all(word)
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            let what = format!("`${{{inside}}}` does not name a variable");
            let allowed = "write `${NAME}` or `${NAME:-default}`, with letters, digits and `_` in the name; `$$` for a dollar sign";
            return Err((what, allowed.into()));
        }
        // As in a shell, `:-` stands in for an empty value too.
        match (lookup(name), default) {
            (Some(value), _) if !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(default.to_owned()),
            (Some(value), None) => Ok(value),
            (None, None) => Err((
                format!("the environment variable `{name}` is not set"),
                format!("set it, or give a default: `${{{name}:-default}}`"),
            )),
        }
    }
}
