//! Whether a text is content, displeased or neither, in Spanish and English.
//!
//! A linear model over hashed features: [`scan`] cuts a text into folded tokens, [`features`] hashes
//! words, pieces of words and neighbours, [`model`] holds what each weighs, [`judge`] adds up and
//! answers. What a single word adds is kept in a [`cache`]. What a label means stands in
//! `docs/sentiment-labels.md`; how the weights came about in `docs/sentiment.md`.
//!
//! The same text has the same verdict on every machine, bit for bit. No text makes it fail.

mod cache;
pub mod columns;
mod faces;
pub mod features;
mod fields;
mod fold;
pub mod intent;
pub mod judge;
mod key;
pub mod model;
mod pictures;
mod plain;
mod scan;
mod spell;
mod sums;
mod survey;

#[cfg(test)]
mod tests;

use features::{Walk, negated, token_features, writing};
use scan::Tokens;

pub use judge::{Judge, Judging, Label, Reason, Verdict};
pub use model::{Language, Model};

/// The features of one text, for a trainer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// What the sentiment tables are asked for: the upper bits are the row.
    pub sentiment: Vec<u64>,
    /// What the language table is asked for: the lower bits are the row.
    pub language: Vec<u64>,
    /// What the domain table is asked for, one for each token: the upper bits are the row.
    pub domain: Vec<u64>,
    /// Its words, folded, as one text: what near-duplicates have in common.
    pub words: String,
}

/// The features of `text`, the same that judging it asks for.
pub fn features_of(text: &str) -> Features {
    let mut tokens = Tokens::default();
    tokens.read(text);
    let mut features = Features::default();
    let mut walk = Walk::new();
    for token in tokens.list() {
        let step = walk.step(token);
        let mut spelling = [0; 16];
        let bytes = tokens.bytes(token.key, &mut spelling);
        token_features(bytes, token.hash, |feature| {
            features.sentiment.push(if step.is_negated { negated(feature) } else { feature });
            if token.key.is_word() {
                features.language.push(feature);
            }
        });
        features.sentiment.push(step.pair);
        features.domain.push(token.hash);
        if token.key.is_word() {
            if !features.words.is_empty() {
                features.words.push(' ');
            }
            features.words.push_str(&String::from_utf8_lossy(bytes));
        }
    }
    writing(&tokens, |feature| features.sentiment.push(feature));
    if tokens.writing.has_spanish_signs {
        features.language.push(features::SPANISH_SIGNS);
    }
    features
}
