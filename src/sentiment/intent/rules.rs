//! Intents by rule: words and phrases that stand in a text.
//!
//! Phrases and texts are compared without case, accents, apostrophes and Spanish opening signs; any
//! white space is one space. A phrase is found as whole words: `precio` is not in `aprecio`. One that
//! ends in `*` goes on with any ending, or none: `factur*` is in `factura` and in `facturación`.
//! Other signs are compared as they are: `hola que tal` is not in `hola, que tal`.

use std::collections::HashMap;
use std::fmt;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, StartKind};

use super::super::fold::{CLASSES, Class, Folded, fold};
use super::super::plain::make_plain;

/// Bytes of all phrases together, at most: the automaton takes up to 256 for each.
const MOST_BYTES: usize = 1 << 16;

/// Rules in order, each an intent and its phrases. The first rule of which any phrase is found wins,
/// wherever in the text its phrase stands.
#[derive(Debug, Clone)]
pub struct Rules {
    names: Vec<String>,
    /// Those that the automaton finds, by its numbers.
    phrases: Vec<Phrase>,
    automaton: DFA,
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
    /// In bytes, as it is compared.
    length: usize,
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
        let (mut folding, mut bytes) = (Folding::default(), 0);
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
                bytes += spelling.len();
                if bytes > MOST_BYTES {
                    let what = format!("all phrases together have more than {MOST_BYTES} bytes");
                    return Err(mistake(Some(index), what));
                }
                phrases.push(Phrase {
                    rule,
                    length: spelling.len(),
                    begins_word: is_word_at(&spelling, 0),
                    ends_word: !takes_endings && is_word_before(&spelling, spelling.len()),
                });
                spellings.push(spelling);
            }
        }
        let automaton = DFA::builder()
            .ascii_case_insensitive(true)
            .prefilter(false)
            .start_kind(StartKind::Unanchored)
            .build(&spellings)
            .map_err(|error| RuleMistake { rule: 0, phrase: None, what: error.to_string() })?;
        Ok(Self { names, phrases, automaton })
    }

    /// The intent of each rule, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The number of the first rule that `text` has a phrase of, counted from 0.
    pub(super) fn rule(&self, folding: &mut Folding, text: &str) -> Option<usize> {
        let text = folding.fold(text);
        let mut state = self.automaton.start_state(Anchored::No).ok()?;
        let mut first = None;
        for (index, byte) in text.iter().enumerate() {
            state = self.automaton.next_state(Anchored::No, state, *byte);
            if self.automaton.is_special(state) && self.automaton.is_match(state) {
                first = self.earlier(first, state, text, index + 1);
                if first == Some(0) {
                    break;
                }
            }
        }
        first
    }

    /// The first rule of which a phrase ends at `to`, where that is before the rule `first`.
    fn earlier(
        &self,
        first: Option<usize>,
        state: StateID,
        text: &[u8],
        to: usize,
    ) -> Option<usize> {
        let ends = 0..self.automaton.match_len(state);
        let numbers = ends.map(|index| self.automaton.match_pattern(state, index).as_usize());
        let phrases = numbers.filter_map(|number| self.phrases.get(number));
        let is_earlier = |phrase: &&Phrase| first.is_none_or(|first| phrase.rule < first);
        let stands = |phrase: &&Phrase| phrase.stands(text, to.saturating_sub(phrase.length), to);
        phrases.filter(is_earlier).filter(stands).map(|phrase| phrase.rule).min().or(first)
    }
}

impl Phrase {
    /// Whether it stands as whole words where its letters are.
    fn stands(self, text: &[u8], from: usize, to: usize) -> bool {
        let is_torn = self.begins_word && is_word_before(text, from)
            || self.ends_word && is_word_at(text, to);
        !is_torn
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
    Ok((folded.to_ascii_lowercase(), stem.is_some()))
}

/// Text as it is compared. Used again for the next one, so that nothing is allocated.
#[derive(Debug, Default)]
pub(super) struct Folding {
    plain: Vec<u8>,
    folded: Vec<u8>,
}

impl Folding {
    /// `text` without accents, apostrophes and Spanish opening signs, with one space for any white
    /// space, and without the case of letters beyond ASCII; as UTF-8.
    pub(super) fn fold<'a>(&'a mut self, text: &'a str) -> &'a [u8] {
        let mut rest = text.as_bytes();
        if !rest.is_ascii() {
            let (length, _) = make_plain(text, &mut self.plain);
            rest = self.plain.get(..length).unwrap_or_default();
        }
        if is_folded(rest) {
            return rest;
        }
        self.folded.clear();
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

/// Whether a plain text is compared as it is, as most are. Without a branch, so that a processor
/// looks at many bytes at once.
fn is_folded(text: &[u8]) -> bool {
    let others = text.iter().fold(false, |found, byte| {
        found | !(b' '..=b'~').contains(byte) | (*byte == b'\'') | (*byte == b'`')
    });
    let pairs = text.iter().zip(text.get(1..).unwrap_or_default());
    !pairs.fold(others, |found, (one, next)| found | ((*one == b' ') & (*next == b' ')))
}

/// Write ASCII as it is compared.
fn push_ascii(text: &[u8], folded: &mut Vec<u8>) {
    let mut before = folded.last().copied().unwrap_or(0);
    let mut length = folded.len();
    folded.resize(length + text.len(), 0);
    for byte in text {
        // Each is written, and what is left out is written over.
        let (byte, is_left_out) = match CLASSES.get(usize::from(*byte)) {
            Some(Class::Space) => (b' ', before == b' '),
            Some(Class::Apostrophe) => (before, true),
            _ => (*byte, false),
        };
        if let Some(place) = folded.get_mut(length) {
            *place = byte;
        }
        length += usize::from(!is_left_out);
        before = byte;
    }
    folded.truncate(length);
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
