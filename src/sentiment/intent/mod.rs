//! What a text asks for: a price, help, a bill.
//!
//! First [`rules`] by words and phrases, which whoever runs the pipeline writes; where no rule says
//! anything, a trained [`head`] over the features that the sentiment model has too. What is found
//! depends on the text alone: the same on every machine, bit for bit. No text makes it fail.

mod head;
mod rules;

#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, StringViewArray, UInt32Array};
use arrow::compute::take;
use arrow::error::ArrowError;

pub use head::{Head, HeadScratch, HeadWeights, IntentWeights, MOST_INTENTS, read_file};
pub use rules::{RuleMistake, Rules};

use rules::Folding;

/// The intent of texts that ask for nothing that is told apart: a rule or a class of this name gives
/// no intent.
pub const NOTHING: &str = "none";

/// Threads that look for intents at once, for whom what they reuse is kept.
const MOST_IDLE: usize = 64;

/// Finds the intents of whole columns, by rules, by a head or by both. Shared by all threads.
#[derive(Debug)]
pub struct Intents {
    rules: Option<Rules>,
    head: Option<Head>,
    /// Of the rules, then of the head, then null.
    names: StringViewArray,
    /// Those that no thread is using.
    idle: Mutex<Vec<Scratch>>,
}

/// What is used again from text to text; one for each thread.
#[derive(Debug, Default)]
struct Scratch {
    folding: Folding,
    head: HeadScratch,
}

impl Intents {
    /// Intents by `rules`, and by `head` where no rule says anything. Without either no text has one.
    pub fn new(rules: Option<Rules>, head: Option<Head>) -> Self {
        let of_rules = rules.iter().flat_map(Rules::names);
        let of_head = head.iter().flat_map(|head| head.names());
        let names = of_rules.chain(of_head).map(|name| (name != NOTHING).then_some(name));
        let names = names.chain([None]).collect();
        Self { rules, head, names, idle: Mutex::default() }
    }

    /// The rules.
    pub fn rules(&self) -> Option<&Rules> {
        self.rules.as_ref()
    }

    /// The head.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The intent of `text`; `None` where nothing is found.
    pub fn intent(&self, text: &str) -> Option<&str> {
        let mut scratch = self.take();
        let found = self.find(&mut scratch, text);
        self.give_back(scratch);
        let found = found.filter(|index| self.names.is_valid(*index))?;
        Some(self.names.value(found))
    }

    /// The intent of each of `texts`, as a view of text: null where it is not wanted, where there is no
    /// text, and where nothing is found.
    pub fn column(
        &self,
        texts: &StringViewArray,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<ArrayRef, ArrowError> {
        let nothing = self.names.len().saturating_sub(1);
        let mut scratch = self.take();
        let found = (0..texts.len()).map(|row| {
            let is_asked = texts.is_valid(row) && wanted(row);
            let found = is_asked.then(|| self.find(&mut scratch, texts.value(row))).flatten();
            found.unwrap_or(nothing) as u32
        });
        let found: Vec<u32> = found.collect();
        self.give_back(scratch);
        take(&self.names, &UInt32Array::from(found), None)
    }

    /// Where in the names the intent of `text` is.
    fn find(&self, scratch: &mut Scratch, text: &str) -> Option<usize> {
        let by_rule = self.rules.as_ref().and_then(|rules| rules.rule(&mut scratch.folding, text));
        if by_rule.is_some() {
            return by_rule;
        }
        let (intent, _) = self.head.as_ref()?.intent(&mut scratch.head, text)?;
        Some(self.rules.as_ref().map_or(0, |rules| rules.names().len()) + intent)
    }

    fn take(&self) -> Scratch {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().unwrap_or_default()
    }

    fn give_back(&self, scratch: Scratch) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(scratch);
        }
    }
}
