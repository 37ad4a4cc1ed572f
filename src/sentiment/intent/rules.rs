//! Intents by rule: words and phrases that stand in a text.
//!
//! Phrases and texts are compared without case, accents, apostrophes and Spanish opening signs; any
//! white space is one space. A phrase is found as whole words: `precio` is not in `aprecio`. One that
//! ends in `*` goes on with any ending, or none: `factur*` is in `factura` and in `facturación`.
//! Other signs are compared as they are: `hola que tal` is not in `hola, que tal`.

use std::collections::HashMap;
use std::fmt;

use aho_corasick::{AhoCorasick, AhoCorasickKind, StartKind};

use super::super::fold::{CLASSES, Class, Folded, fold};
use super::super::plain::make_plain;

/// Bytes of all phrases up to which the fastest automaton is built: it takes up to 256 bytes for each.
const FAST_BYTES: usize = 1 << 14;

/// Rules in order, each an intent and its phrases. The first rule of which any phrase is found wins,
/// wherever in the text its phrase stands.
#[derive(Debug, Clone)]
pub struct Rules {
    names: Vec<String>,
    /// Those that the automaton finds, by its numbers.
    phrases: Vec<Phrase>,
    automaton: AhoCorasick,
}

/// Why rules were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMistake {
    /// The rule, counted from 0.
    pub rule: usize,
    /// The phrase in it, counted from 0; `None` where the rule as a whole is wrong.
    pub phrase: Option<usize>,
    /// What is wrong with it, in words.
    pub what: String,
}

impl fmt::Display for RuleMistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "rule {}", self.rule + 1)?;
        if let Some(phrase) = self.phrase {
            write!(out, ", phrase {}", phrase + 1)?;
        }
        write!(out, ": {}", self.what)
    }
}

impl std::error::Error for RuleMistake {}

/// One phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Phrase {
    rule: usize,
    /// Its first character is of a word, so that none may stand before it.
    begins_word: bool,
    /// Its last character is of a word, and no ending may follow.
    ends_word: bool,
}

impl Rules {
    /// Rules of an intent's name and its phrases each. Two rules may give the same intent. Refused are
    /// a rule without a name or without phrases, a phrase without letters, a `*` that is no ending, and
    /// a phrase that two rules have.
    pub fn new<'a>(
        rules: impl IntoIterator<Item = (&'a str, &'a [String])>,
    ) -> Result<Self, RuleMistake> {
        let (mut names, mut phrases, mut spellings) = (Vec::new(), Vec::new(), Vec::new());
        let mut met: HashMap<(Vec<u8>, bool), usize> = HashMap::new();
        let mut folding = Folding::default();
        for (rule, (name, texts)) in rules.into_iter().enumerate() {
            let mistake = |phrase, what: String| RuleMistake { rule, phrase, what };
            if name.trim().is_empty() {
                return Err(mistake(None, "an intent needs a name".to_owned()));
            }
            if texts.is_empty() {
                return Err(mistake(None, format!("`{name}` has no phrases")));
            }
            names.push(name.to_owned());
            for (index, text) in texts.iter().enumerate() {
                let (spelling, takes_endings) =
                    read_phrase(text, &mut folding).map_err(|what| mistake(Some(index), what))?;
                let before = *met.entry((spelling.clone(), takes_endings)).or_insert(rule);
                if before != rule {
                    let what = format!("`{text}` is a phrase of rule {} already", before + 1);
                    return Err(mistake(Some(index), what));
                }
                let begins_word = is_word_at(&spelling, 0);
                let ends_word = !takes_endings && is_word_before(&spelling, spelling.len());
                phrases.push(Phrase { rule, begins_word, ends_word });
                spellings.push(spelling);
            }
        }
        let bytes: usize = spellings.iter().map(Vec::len).sum();
        let kind = match bytes <= FAST_BYTES {
            true => AhoCorasickKind::DFA,
            false => AhoCorasickKind::ContiguousNFA,
        };
        let automaton = AhoCorasick::builder()
            .kind(Some(kind))
            .start_kind(StartKind::Unanchored)
            .build(&spellings)
            .map_err(|error| {
                let what = format!("there are too many phrases up to here: {error}");
                RuleMistake { rule: names.len().saturating_sub(1), phrase: None, what }
            })?;
        Ok(Self { names, phrases, automaton })
    }

    /// The intent of each rule, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The number of the first rule that `text` has a phrase of, counted from 0.
    pub(super) fn rule(&self, folding: &mut Folding, text: &str) -> Option<usize> {
        let text = folding.fold(text);
        let mut first = None;
        for found in self.automaton.find_overlapping_iter(text) {
            let Some(phrase) = self.phrases.get(found.pattern().as_usize()) else { continue };
            let is_earlier = first.is_none_or(|rule| phrase.rule < rule);
            if is_earlier && phrase.stands(text, found.start(), found.end()) {
                first = Some(phrase.rule);
                if phrase.rule == 0 {
                    break;
                }
            }
        }
        first
    }
}

impl Phrase {
    /// Whether it stands as whole words where its letters are.
    fn stands(self, text: &[u8], from: usize, to: usize) -> bool {
        !(self.begins_word && is_word_before(text, from))
            && !(self.ends_word && is_word_at(text, to))
    }
}

/// A phrase as it is compared, and whether it takes any ending.
fn read_phrase(text: &str, folding: &mut Folding) -> Result<(Vec<u8>, bool), String> {
    let stem = text.trim_end().strip_suffix('*');
    let folded = folding.fold(stem.unwrap_or(text));
    let is_torn = stem.is_some() && !is_word_before(folded, folded.len());
    if folded.contains(&b'*') || is_torn {
        return Err(format!(
            "`{text}`: a `*` stands for the ending of the last word, right behind it"
        ));
    }
    let folded = folded.trim_ascii();
    if folded.is_empty() {
        return Err("the phrase is empty".to_owned());
    }
    if !String::from_utf8_lossy(folded).chars().any(char::is_alphabetic) {
        return Err(format!("`{text}` has no letters"));
    }
    Ok((folded.to_vec(), stem.is_some()))
}

/// Text as it is compared. Used again for the next one, so that nothing is allocated.
#[derive(Debug, Default)]
pub(super) struct Folding {
    plain: Vec<u8>,
    folded: Vec<u8>,
}

impl Folding {
    /// `text` without case, accents, apostrophes and Spanish opening signs, with one space for any
    /// white space; as UTF-8.
    pub(super) fn fold(&mut self, text: &str) -> &[u8] {
        self.plain.clear();
        self.folded.clear();
        make_plain(text, &mut self.plain);
        let mut rest = self.plain.as_slice();
        while !rest.is_empty() {
            let ascii = rest.iter().take_while(|byte| byte.is_ascii()).count();
            let (first, others) = rest.split_at_checked(ascii).unwrap_or_default();
            push_ascii(first, &mut self.folded);
            let Some(character) = character_at(others, 0) else { break };
            match fold(character) {
                Folded::Letter(other) | Folded::Other(other) => push(other, &mut self.folded),
                Folded::Picture | Folded::Sign => push(character, &mut self.folded),
                Folded::Space => push_ascii(b" ", &mut self.folded),
                Folded::Nothing | Folded::Apostrophe => {}
            }
            rest = others.get(character.len_utf8()..).unwrap_or_default();
        }
        &self.folded
    }
}

/// Write ASCII as it is compared.
fn push_ascii(text: &[u8], folded: &mut Vec<u8>) {
    let mut before = folded.last().copied().unwrap_or(0);
    for byte in text {
        let byte = match CLASSES.get(usize::from(*byte)) {
            Some(Class::Letter) => *byte | 0x20,
            Some(Class::Apostrophe) | None => continue,
            Some(Class::Space) if before == b' ' => continue,
            Some(Class::Space) => b' ',
            Some(Class::Digit | Class::Sign | Class::Wide) => *byte,
        };
        folded.push(byte);
        before = byte;
    }
}

fn push(character: char, folded: &mut Vec<u8>) {
    folded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The character that begins at `at`.
fn character_at(text: &[u8], at: usize) -> Option<char> {
    let rest = text.get(at..)?;
    let bytes = rest.get(..4).unwrap_or(rest);
    bytes.utf8_chunks().next()?.valid().chars().next()
}

/// Whether a letter or a digit begins at `at`.
fn is_word_at(text: &[u8], at: usize) -> bool {
    match text.get(at) {
        Some(byte) if byte.is_ascii() => byte.is_ascii_alphanumeric(),
        _ => character_at(text, at)
            .is_some_and(|character| matches!(fold(character), Folded::Other(_))),
    }
}

/// Whether a letter or a digit ends before `at`.
fn is_word_before(text: &[u8], at: usize) -> bool {
    let before = text.get(..at).unwrap_or_default();
    let last = before.iter().rposition(|byte| *byte & 0xc0 != 0x80);
    last.is_some_and(|last| is_word_at(before, last))
}
