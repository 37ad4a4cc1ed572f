//! What single words weigh, kept while they come again.
//!
//! Most words of a message were in one before. What a word adds to each sum depends on its letters
//! and on whether it is negated alone, so that keeping it changes no result, only the time.

use super::features::{negated, token_features};
use super::key::{Key, is_word};
use super::model::Model;
use super::sums::{Counts, Four, Rows};

/// log2 of the shelves, of 64 bytes each.
const SHELVES_BITS: u32 = 16;

/// What one token adds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Negative and positive in Spanish, the same in English.
    pub(super) weights: Four,
    /// Spanish against English and number of features; of what is no word nothing for the language.
    pub(super) counts: Counts,
}

impl Sums {
    /// What the token of these folded bytes and this hash adds.
    #[inline(never)]
    pub(super) fn of(model: &Model, bytes: &[u8], hash: u64, is_negated: bool) -> Self {
        let (mut rows, mut spanishness, mut count) = (Rows::default(), 0, 0);
        let turn = if is_negated { negated(0) } else { 0 };
        token_features(bytes, hash, |feature| {
            rows.add(model.row(feature ^ turn));
            spanishness += i32::from(model.spanishness(feature));
            count += 1;
        });
        let counts = match is_word(bytes) {
            true => Counts::of(spanishness, count, count),
            false => Counts::of(0, count, 0),
        };
        Self { weights: Four::of(rows.sums(count as usize)), counts }
    }
}

/// A token and what it adds.
#[derive(Debug, Clone, Copy, Default)]
struct Book {
    /// None is free.
    key: Key,
    sums: Sums,
}

/// Two tokens of the same hash, as far as it is looked at: the later one first.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Shelf {
    books: [Book; 2],
}

/// Tokens that were met before.
#[derive(Debug)]
pub(super) struct Cache {
    shelves: Box<[Shelf]>,
}

impl Default for Cache {
    fn default() -> Self {
        Self { shelves: vec![Shelf::default(); 1 << SHELVES_BITS].into() }
    }
}

/// The number of a shelf. A word and the same one negated are on two.
#[inline(always)]
fn place(key: Key, hash: u64) -> usize {
    // So far up the bit of a negation counts.
    ((hash ^ (key.second << 2)) >> (64 - SHELVES_BITS)) as usize
}

impl Cache {
    /// What a token adds, if that is known, by its key and its hash.
    #[inline(always)]
    pub(super) fn get(&self, key: Key, hash: u64) -> Option<Sums> {
        let shelf = self.shelves.get(place(key, hash))?;
        // Which of the two it is no processor can foretell: no branch.
        let [_, second] = &shelf.books;
        let is_second = (second.key.first ^ key.first) | (second.key.second ^ key.second) == 0;
        let book = shelf.books.get(usize::from(is_second))?;
        let differences = (book.key.first ^ key.first) | (book.key.second ^ key.second);
        (differences == 0).then_some(book.sums)
    }

    /// Say that a token will be asked for soon, so that its shelf is fetched meanwhile. That of the same
    /// word negated is another one.
    #[inline(always)]
    pub(super) fn expect(&self, key: Key, hash: u64) {
        if let Some(shelf) = self.shelves.get(place(key, hash)) {
            fetch(shelf);
        }
    }

    /// Keep what a token adds.
    pub(super) fn put(&mut self, key: Key, hash: u64, sums: Sums) {
        if let Some(shelf) = self.shelves.get_mut(place(key, hash)) {
            let [first, _] = shelf.books;
            shelf.books = [Book { key, sums }, first];
        }
    }
}

#[cfg(target_arch = "x86_64")]
use safe_arch::prefetch_t0 as fetch;

/// Other processors can be told so by unsafe code alone.
#[cfg(not(target_arch = "x86_64"))]
fn fetch<T>(_: &T) {}

#[cfg(test)]
mod tests {
    use super::super::key::{Folded, word_hash};
    use super::*;

    #[test]
    fn a_negated_word_is_on_a_shelf_of_its_own() {
        let hash = word_hash(b"responden");
        let key = Key::of(&Folded::from(b"responden".as_slice()), 0);
        assert_ne!(place(key, hash), place(key.negated(true), hash));
    }

    #[test]
    fn two_of_a_shelf_are_kept_and_the_older_goes() {
        let word = |number: u32| {
            let word = format!("w{number}");
            (Key::of(&Folded::from(word.as_bytes()), 0), word_hash(word.as_bytes()))
        };
        let shelf = |(key, hash): &(Key, u64)| place(*key, *hash);
        let first = word(0);
        let same: Vec<_> =
            (0..).map(word).filter(|it| shelf(it) == shelf(&first)).take(3).collect();
        let sums = |count| Sums { counts: Counts::of(0, count, 0), ..Sums::default() };
        let mut cache = Cache::default();
        let mut put = |index: usize, count| {
            let (key, hash) = same[index];
            cache.put(key, hash, sums(count));
            same.iter().map(|(key, hash)| cache.get(*key, *hash)).collect::<Vec<_>>()
        };
        assert_eq!(put(0, 1), [Some(sums(1)), None, None]);
        assert_eq!(put(1, 2), [Some(sums(1)), Some(sums(2)), None]);
        assert_eq!(put(2, 3), [None, Some(sums(2)), Some(sums(3))]);
    }
}
