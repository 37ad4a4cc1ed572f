//! Where words begin and end.

use std::iter::Peekable;

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};
use unicode_segmentation::{UWordBoundIndices, UnicodeSegmentation as _};

/// Characters that a word may have; a longer one is several words.
const LONGEST: usize = 255;

/// Cuts text where Unicode says that words end (UAX #29), as OpenSearch's tokenizer `standard` does.
/// What has neither a letter, nor a digit, nor an emoji is no word.
#[derive(Clone, Default)]
pub(super) struct Words {
    token: Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        let bounds = text.split_word_bound_indices().peekable();
        WordStream { bounds, rest: None, token: &mut self.token }
    }
}

/// The words of one text.
pub(super) struct WordStream<'a> {
    bounds: Peekable<UWordBoundIndices<'a>>,
    /// What is left of a word that is longer than words may be, and where it begins.
    rest: Option<(usize, &'a str)>,
    token: &'a mut Token,
}

impl<'a> WordStream<'a> {
    fn next_word(&mut self) -> Option<(usize, &'a str)> {
        match self.rest.take() {
            Some(rest) => Some(rest),
            None => self.bounds.by_ref().find(|(_, piece)| is_word(piece)),
        }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some((start, piece)) = self.next_word() else { return false };
        let cut = piece.char_indices().nth(LONGEST).map_or(piece.len(), |(cut, _)| cut);
        let (word, rest) = piece.split_at(cut);
        if !rest.is_empty() {
            self.rest = Some((start + cut, rest));
        }
        let token = &mut *self.token;
        token.position = token.position.wrapping_add(1);
        token.offset_from = start;
        token.offset_to = start + cut;
        token.text.clear();
        token.text.push_str(word);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

fn is_word(piece: &str) -> bool {
    piece.chars().any(|letter| letter.is_alphanumeric() || is_emoji(letter))
}

/// Blocks whose characters are emoji by themselves.
fn is_emoji(letter: char) -> bool {
    matches!(
        u32::from(letter),
        0x1F1E6..=0x1F1FF | 0x1F300..=0x1F64F | 0x1F680..=0x1F6FF | 0x1F900..=0x1F9FF | 0x1FA70..=0x1FAFF
            | 0x2600..=0x27BF | 0x2B50 | 0x2B55
    )
}
