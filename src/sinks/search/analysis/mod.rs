//! Text as words, by the rules that [`Analyzer`] gives to every engine: what stands there as settings
//! of OpenSearch stands here as tokenizers.

mod light_spanish;
mod words;

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, RawTokenizer, Stemmer, StopWordFilter, TextAnalyzer, Token,
    TokenFilter, TokenStream, Tokenizer, TokenizerManager,
};

use self::words::Words;
use crate::sinks::documents::Analyzer;

/// The name of the tokenizer that leaves a text whole.
pub const WHOLE: &str = "whole";

/// The tokenizers that fields name.
pub fn tokenizers() -> TokenizerManager {
    let tokenizers = TokenizerManager::new();
    tokenizers.register(WHOLE, RawTokenizer::default());
    // What the engine asks for where a field has no words.
    tokenizers.register("default", RawTokenizer::default());
    for analyzer in Analyzer::ALL {
        tokenizers.register(analyzer.as_str(), tokenizer(analyzer));
    }
    tokenizers
}

fn tokenizer(analyzer: Analyzer) -> TextAnalyzer {
    let without = |language| {
        StopWordFilter::new(language).unwrap_or_else(|| StopWordFilter::remove(Vec::new()))
    };
    let words = TextAnalyzer::builder(Words::default());
    match analyzer {
        Analyzer::Standard => words.filter(Rewrite(small)).build(),
        Analyzer::Spanish => words
            .filter(Rewrite(small))
            .filter(without(Language::Spanish))
            .filter(Rewrite(light_spanish::stem))
            .filter(AsciiFoldingFilter)
            .build(),
        Analyzer::English => words
            .filter(Rewrite(without_possessive))
            .filter(Rewrite(small))
            .filter(without(Language::English))
            .filter(Stemmer::new(Language::English))
            .filter(AsciiFoldingFilter)
            .build(),
    }
}

/// Write the word small, letter by letter, as Lucene does: the dot of `İ` goes with its size.
fn small(word: &mut String) {
    if word.is_ascii() {
        word.make_ascii_lowercase();
    } else {
        let letter = |letter: char| letter.to_lowercase().next().unwrap_or(letter);
        *word = word.chars().map(letter).collect();
    }
}

/// Take an `'s` off the end.
fn without_possessive(word: &mut String) {
    for mark in ['\'', '\u{2019}', '\u{FF07}'] {
        for letter in ['s', 'S'] {
            if let Some(owner) = word.strip_suffix(letter).and_then(|rest| rest.strip_suffix(mark))
            {
                word.truncate(owner.len());
                return;
            }
        }
    }
}

/// Rewrites each word.
#[derive(Clone)]
struct Rewrite(fn(&mut String));

impl TokenFilter for Rewrite {
    type Tokenizer<T: Tokenizer> = Rewriting<T>;

    fn transform<T: Tokenizer>(self, words: T) -> Rewriting<T> {
        Rewriting { words, rewrite: self.0 }
    }
}

#[derive(Clone)]
struct Rewriting<T> {
    words: T,
    rewrite: fn(&mut String),
}

impl<T: Tokenizer> Tokenizer for Rewriting<T> {
    type TokenStream<'a> = RewrittenStream<T::TokenStream<'a>>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> Self::TokenStream<'a> {
        RewrittenStream { words: self.words.token_stream(text), rewrite: self.rewrite }
    }
}

struct RewrittenStream<T> {
    words: T,
    rewrite: fn(&mut String),
}

impl<T: TokenStream> TokenStream for RewrittenStream<T> {
    fn advance(&mut self) -> bool {
        let is_there = self.words.advance();
        if is_there {
            (self.rewrite)(&mut self.words.token_mut().text);
        }
        is_there
    }

    fn token(&self) -> &Token {
        self.words.token()
    }

    fn token_mut(&mut self) -> &mut Token {
        self.words.token_mut()
    }
}

/// The words of `text`, in order.
pub fn words(analyzer: Analyzer, text: &str) -> Vec<String> {
    let mut tokenizer = tokenizer(analyzer);
    let mut stream = tokenizer.token_stream(text);
    let mut found = Vec::new();
    stream.process(&mut |token| found.push(token.text.clone()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_without_accents_finds_the_accented_word() {
        for (typed, written) in [
            ("habitacion", "habitaciones"),
            ("paso", "pasó"),
            ("canceladas", "¡CANCELADA!"),
            ("facturacion", "facturación"),
            ("espanol", "españoles"),
        ] {
            assert_eq!(words(Analyzer::Spanish, typed), words(Analyzer::Spanish, written));
        }
        let sentence = "No me llegó el código que pedí a las 3.5 de la tarde 😀";
        assert_eq!(
            words(Analyzer::Spanish, sentence),
            ["lleg", "codig", "pedi", "3.5", "tard", "😀"]
        );
    }

    #[test]
    fn english_loses_possessives_and_endings() {
        assert_eq!(
            words(Analyzer::English, "The customer\u{2019}s orders weren't delivered"),
            ["custom", "order", "weren't", "deliv"]
        );
    }

    #[test]
    fn words_are_cut_where_they_are_too_long() {
        let found = words(Analyzer::Standard, &"ñ".repeat(600));
        let lengths: Vec<_> = found.iter().map(|word| word.chars().count()).collect();
        assert_eq!(lengths, [255, 255, 90]);
    }
}
