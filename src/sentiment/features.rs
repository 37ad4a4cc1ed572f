//! Tokens to features: hashes of words, of pieces of words and of neighbours, and of how it is written.
//!
//! Training and judging walk a message by this one function, so that both see the same features.
//! Every hash is a fixed function of the folded bytes: the same on every machine and in every
//! version that has the same [`SPECIFICATION`].

use std::sync::LazyLock;

use super::key::{is_word, word_hash};
use super::scan::{Token, Tokens};

/// What the features are. A model says which it was trained on, and any other is refused: change
/// this text with whatever changes a hash.
pub const SPECIFICATION: &str = "acequia sentiment features 2";

/// Words after a negation that it covers.
const COVERED: u8 = 3;
/// Letters in a piece of a word, its ends counted.
const PIECES: std::ops::RangeInclusive<usize> = 4..=5;

const PIECE: u64 = 0x2545_f491_4f6c_dd1d;
const NEGATED: u64 = 0xd6e8_feb8_6659_fd93;
const PAIR: u64 = 0xa076_1d64_78bd_642f;
const WRITING: u64 = 0xe703_7ed1_a0b4_28db;
/// Stands for a token before the first, and behind the last.
const EDGE: u64 = 0x8ebc_6af0_9c88_c6e3;

/// Spread the bits of `value` (the finaliser of SplitMix64).
#[inline]
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Spread the bits of `value` as far as a row needs: its upper bits depend on all, and so do the
/// lower ones.
#[inline]
fn spread(value: u64) -> u64 {
    let product = value.wrapping_mul(PIECE);
    product ^ (product >> 32)
}

/// The language feature of a text with signs that Spanish has and English has not.
pub(super) const SPANISH_SIGNS: u64 = EDGE;

/// What a word does to the words behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Role {
    /// Nothing.
    #[default]
    Plain,
    /// Turns them.
    Negation,
    /// Ends what was turned: `pero`, `but`.
    Contrast,
}

/// Words that turn what follows, folded.
static NEGATIONS: [&str; 48] = [
    "aint", "apenas", "arent", "cannot", "cant", "couldnt", "didnt", "doesnt", "dont", "hadnt",
    "hardly", "hasnt", "havent", "isnt", "jamas", "mustnt", "nada", "nadie", "never", "ni",
    "ningun", "ninguna", "ninguno", "no", "nobody", "none", "nor", "not", "nothing", "nunca",
    "rarely", "shouldnt", "sin", "tampoco", "wasnt", "werent", "without", "wont", "wouldnt", "xno",
    "nop", "nope", "neither", "nomas", "tmpoco", "nvr", "barely", "ningunos",
];

/// Words that set a clause against the one before.
static CONTRASTS: [&str; 12] = [
    "although", "aunque", "but", "embargo", "except", "however", "pero", "pro", "sino", "still",
    "though", "yet",
];

/// Words with a role, by their hashes.
pub(super) struct Roles {
    /// In order.
    words: Vec<(u64, Role)>,
    /// For each value of the upper twelve bits of a hash the first of these words that has it, counted
    /// from 1: nearly all words that have no role are told by it.
    first: Box<[u8; 4096]>,
}

impl Roles {
    /// Those of both languages.
    pub(super) fn all() -> &'static Self {
        static ALL: LazyLock<Roles> = LazyLock::new(Roles::new);
        &ALL
    }

    fn new() -> Self {
        let all = |list: &'static [&str], role| {
            list.iter().map(move |word| (word_hash(word.as_bytes()), role))
        };
        let negations = all(&NEGATIONS, Role::Negation);
        let mut words: Vec<_> = negations.chain(all(&CONTRASTS, Role::Contrast)).collect();
        words.sort_unstable_by_key(|(hash, _)| *hash);
        let mut first = Box::new([0; 4096]);
        for (index, (hash, _)) in words.iter().enumerate().rev() {
            if let Some(place) = first.get_mut((hash >> 52) as usize) {
                *place = index as u8 + 1;
            }
        }
        Self { words, first }
    }

    /// The role of the folded word of that hash.
    #[inline]
    pub(super) fn of(&self, hash: u64) -> Role {
        match self.first.get((hash >> 52) as usize) {
            None | Some(0) => Role::Plain,
            Some(first) => self.find(usize::from(*first) - 1, hash),
        }
    }

    fn find(&self, first: usize, hash: u64) -> Role {
        let mut words = self.words.iter().skip(first).take_while(|(other, _)| *other <= hash);
        words.find(|(other, _)| *other == hash).map_or(Role::Plain, |(_, role)| *role)
    }
}

/// Give `each` the features of one token alone; `hash` is its [`word_hash`].
pub(super) fn token_features(bytes: &[u8], hash: u64, mut each: impl FnMut(u64)) {
    each(mix(hash));
    if !is_word(bytes) {
        if let Some(group) = super::pictures::group(bytes) {
            each(mix(word_hash(group.as_bytes())));
        }
        return;
    }
    // Its letters between a sign for its beginning and one for its end.
    let mut padded = [0_u8; 64];
    let end = (bytes.len() + 2).min(padded.len() - 8);
    for (place, letter) in padded.iter_mut().zip(b"<".iter().chain(bytes).chain(b">")) {
        *place = *letter;
    }
    for length in PIECES {
        let mask = (1_u64 << (8 * length)) - 1;
        let windows = padded.windows(8).take((end + 1).saturating_sub(length));
        for window in windows {
            let Some(letters) = window.first_chunk::<8>() else { continue };
            let piece = u64::from_le_bytes(*letters) & mask | (length as u64) << 56;
            each(spread(piece));
        }
    }
}

/// The feature that stands for `feature` where its word is negated.
#[inline]
pub(super) fn negated(feature: u64) -> u64 {
    feature ^ NEGATED
}

/// Walks through a message, from token to token.
pub(super) struct Walk {
    roles: &'static Roles,
    before: u64,
    /// Words that a negation still covers.
    covered: u8,
}

/// What a token is where it stands.
pub(super) struct Step {
    pub(super) role: Role,
    /// A negation covers it.
    pub(super) is_negated: bool,
    /// The feature of it and the one before it.
    pub(super) pair: u64,
}

impl Walk {
    /// At the beginning of a message.
    pub(super) fn new() -> Self {
        Self { roles: Roles::all(), before: EDGE, covered: 0 }
    }

    /// The next token.
    #[inline(always)]
    pub(super) fn step(&mut self, token: &Token) -> Step {
        let pair = pair(self.before, token.hash);
        self.before = token.hash;
        let covered = if token.begins_clause() { 0 } else { self.covered };
        if !token.key.is_word() {
            self.covered = covered;
            return Step { role: Role::Plain, is_negated: false, pair };
        }
        let role = self.roles.of(token.hash);
        self.covered = match role {
            Role::Negation => COVERED,
            Role::Contrast => 0,
            Role::Plain => covered.saturating_sub(1),
        };
        Step { role, is_negated: covered > 0, pair }
    }
}

/// Give `each` the features of how a message ends and is written.
#[inline]
pub(super) fn writing(tokens: &Tokens, mut each: impl FnMut(u64)) {
    each(pair(tokens.list().last().map_or(EDGE, |token| token.hash), EDGE));
    each(mix(WRITING ^ u64::from(tokens.words).next_power_of_two().min(64)));
    if tokens.writing.is_shouted {
        each(mix(WRITING ^ 0x100));
    }
    if tokens.writing.is_stretched {
        each(mix(WRITING ^ 0x200));
    }
}

/// The feature of two neighbours. Their hashes are spread already: they need only be told from one
/// another.
#[inline(always)]
fn pair(first: u64, second: u64) -> u64 {
    (first.rotate_left(17) ^ second).wrapping_mul(PAIR)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negated(text: &str) -> String {
        let mut tokens = Tokens::default();
        tokens.read(text);
        let mut walk = Walk::new();
        let marks = tokens.list().iter().map(|token| match walk.step(token).is_negated {
            true => '-',
            false => '.',
        });
        marks.collect()
    }

    #[test]
    fn a_negation_covers_three_words_of_its_clause() {
        assert_eq!(negated("hoy no me gusta esto nadita hoy"), "..---..");
        assert_eq!(negated("no 👍 me 👎 gusta 12 esto hoy"), "..-.-.-.");
        assert_eq!(negated("no, me gusta"), "...");
        assert_eq!(negated("no me pero gusta"), ".--.");
        assert_eq!(negated("no me no gusta esto nadita hoy"), ".-----.");
    }
}
