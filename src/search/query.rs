//! What somebody types to find documents.

use crate::error::{Error, Result};

/// One thing that a document may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clause {
    /// A word, in whatever form the analysis of a field gives it.
    Word(String),
    /// Words one behind the other.
    Phrase(String),
}

/// A part of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// One of these is enough; there is one at least.
    pub any_of: Vec<Clause>,
    /// A document that has it is none of the answer.
    pub is_excluded: bool,
}

/// What a document must have: every part. Without parts every document has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextQuery {
    /// The parts.
    pub parts: Vec<Part>,
}

impl TextQuery {
    /// Read `text`: words that must all be there, `"words in this order"`, `-without`, `this OR that`.
    ///
    /// # Errors
    /// `Config` for a quote that is not closed, an `OR` without two sides, or only exclusions.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| Err(Error::config(format!("the query `{text}` {what}")));
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text.trim_start();
        // True behind an `OR`, whose other side comes next.
        let mut is_joined = false;
        while !rest.is_empty() {
            let (is_excluded, after) = match rest.strip_prefix('-') {
                Some(after) if !after.is_empty() && !after.starts_with(char::is_whitespace) => {
                    (true, after)
                }
                _ => (false, rest),
            };
            let (clause, after) = match after.strip_prefix('"') {
                Some(inside) => {
                    let Some((phrase, after)) = inside.split_once('"') else {
                        return wrong("has a quote that is not closed");
                    };
                    (Clause::Phrase(phrase.to_owned()), after)
                }
                None => {
                    let end = after.find(char::is_whitespace).unwrap_or(after.len());
                    let (word, after) = after.split_at(end);
                    (Clause::Word(word.to_owned()), after)
                }
            };
            rest = after.trim_start();
            match parts.last_mut() {
                Some(last) if clause == Clause::Word("OR".to_owned()) && !is_excluded => {
                    if is_joined || last.is_excluded || rest.is_empty() {
                        return wrong("has an OR without a word on each side");
                    }
                    is_joined = true;
                }
                Some(last) if is_joined => {
                    if is_excluded {
                        return wrong("has an OR with something excluded");
                    }
                    last.any_of.push(clause);
                    is_joined = false;
                }
                _ => parts.push(Part { any_of: vec![clause], is_excluded }),
            }
        }
        if !parts.is_empty() && parts.iter().all(|part| part.is_excluded) {
            return wrong("only excludes: say what to find, too");
        }
        Ok(Self { parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let clause = |clause: &Clause| match clause {
            Clause::Word(word) => word.clone(),
            Clause::Phrase(words) => format!("«{words}»"),
        };
        let part = |part: &Part| {
            let any: Vec<String> = part.any_of.iter().map(clause).collect();
            format!("{}{}", if part.is_excluded { "not " } else { "" }, any.join("/"))
        };
        match TextQuery::parse(text) {
            Ok(query) => query.parts.iter().map(part).collect::<Vec<_>>().join(" + "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn words_phrases_exclusions_and_alternatives() {
        for (text, says) in [
            ("", ""),
            ("  pedido   tarde ", "pedido + tarde"),
            ("\"no llegó\" pedido -cancelado", "«no llegó» + pedido + not cancelado"),
            (
                "-\"muy caro\" precio OR costo OR \"cuánto es\"",
                "not «muy caro» + precio/costo/«cuánto es»",
            ),
            ("a - b", "a + - + b"),
            ("OR", "OR"),
            ("a OR", "the query `a OR` has an OR without a word on each side"),
            ("a OR OR b", "the query `a OR OR b` has an OR without a word on each side"),
            ("a OR -b", "the query `a OR -b` has an OR with something excluded"),
            ("\"a b", "the query `\"a b` has a quote that is not closed"),
            ("-a", "the query `-a` only excludes: say what to find, too"),
        ] {
            assert_eq!(shown(text), says, "{text}");
        }
    }
}
