//! What single words weigh, kept while they come again.
//!
//! Most words of a message were in one before. What a word adds to each sum depends on its letters
//! alone, so that keeping it changes no result, only the time.

use super::features::{Role, is_word, negated, role, token_features, word_hash};
use super::model::Model;

/// log2 of the places, of 64 bytes each.
const PLACES_BITS: u32 = 14;
/// What one token adds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Hash of the token as a whole.
    pub(super) hash: u64,
    /// As it stands.
    pub(super) plain: [i16; 4],
    /// Where it is negated; what is no word is not.
    pub(super) turned: [i16; 4],
    /// Spanish against English; zero for what is no word.
    pub(super) spanishness: i16,
    /// Number of features.
    pub(super) features: u16,
    pub(super) role: Role,
    pub(super) is_word: bool,
}

impl Sums {
    /// What the token of these folded bytes adds.
    pub(super) fn of(model: &Model, bytes: &[u8]) -> Self {
        let hash = word_hash(bytes);
        let is_word = is_word(bytes);
        let mut sums = Self { hash, is_word, role: role(hash), ..Self::default() };
        let add = |sums: &mut [i16; 4], feature: u64| {
            for (sum, weight) in sums.iter_mut().zip(model.weights(feature)) {
                *sum += i16::from(weight);
            }
        };
        token_features(bytes, hash, |feature| {
            sums.features += 1;
            add(&mut sums.plain, feature);
            if is_word {
                add(&mut sums.turned, negated(feature));
                sums.spanishness += i16::from(model.spanishness(feature));
            }
        });
        sums
    }
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Place {
    /// [`key`](super::key::key) of the bytes; 0 is free.
    key: u128,
    sums: Sums,
}

/// Words that were met before, by their bytes.
#[derive(Debug)]
pub(super) struct Cache {
    places: Vec<Place>,
}

impl Default for Cache {
    fn default() -> Self {
        Self { places: vec![Place::default(); 1 << PLACES_BITS] }
    }
}

impl Cache {
    /// What the token of these folded bytes adds; `key` is their [`key`](super::key::key).
    #[inline]
    pub(super) fn sums(&mut self, model: &Model, bytes: &[u8], key: u128) -> Sums {
        let mixed = (key as u64 ^ (key >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = self.places.get_mut((mixed >> (64 - PLACES_BITS)) as usize);
        let Some(place) = place.filter(|_| key != 0) else { return Sums::of(model, bytes) };
        if place.key != key {
            *place = Place { key, sums: Sums::of(model, bytes) };
        }
        place.sums
    }
}
