//! Tokens to features: hashes of words, of pieces of words, of neighbours and of words with one
//! between them, and of how it is written.
//!
//! Training and judging walk a message by this one function, so that both see the same features.
//! Every hash is a fixed function of the folded bytes: the same on every machine and in every
//! version that has the same [`SPECIFICATION`].

use std::sync::LazyLock;

use super::scan::{Token, Tokens, mark};

/// What the features are. A model says which it was trained on, and any other is refused: change
/// this text with whatever changes a hash.
pub const SPECIFICATION: &str = "acequia sentiment features 1";

/// Words after a negation that it covers.
const COVERED: u8 = 3;
/// Letters in a piece of a word, its ends counted.
const PIECES: std::ops::RangeInclusive<usize> = 3..=5;

const WORD: u64 = 0x8f5c_28f5_c28f_5c29;
const PIECE: u64 = 0x2545_f491_4f6c_dd1d;
const NEGATED: u64 = 0xd6e8_feb8_6659_fd93;
const PAIR: u64 = 0xa076_1d64_78bd_642f;
const APART: u64 = 0x589f_ce2b_d1d0_4b17;
const WRITING: u64 = 0xe703_7ed1_a0b4_28db;
const EDGE: u64 = 0x8ebc_6af0_9c88_c6e3;

/// Spread the bits of `value` (the finaliser of SplitMix64).
#[inline]
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
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

/// Words with a role, by their hashes, in order.
static ROLES: LazyLock<Vec<(u64, Role)>> = LazyLock::new(|| {
    let all = |list: &'static [&str], role| {
        list.iter().map(move |word| (word_hash(word.as_bytes()), role))
    };
    let negations = all(&NEGATIONS, Role::Negation);
    let mut roles: Vec<_> = negations.chain(all(&CONTRASTS, Role::Contrast)).collect();
    roles.sort_unstable_by_key(|(hash, _)| *hash);
    roles
});

/// The role of the folded word of that hash.
pub(super) fn role(hash: u64) -> Role {
    let found = ROLES.binary_search_by_key(&hash, |(hash, _)| *hash);
    found.ok().and_then(|index| ROLES.get(index)).map_or(Role::Plain, |(_, role)| *role)
}

/// True where the folded bytes are a word, and not a sign or a thing.
pub(super) fn is_word(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|first| *first > mark::LAUGHTER)
}

/// The hash of folded bytes as a whole.
pub(super) fn word_hash(bytes: &[u8]) -> u64 {
    let load =
        |chunk: &[u8]| chunk.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let start = WORD ^ bytes.len() as u64;
    bytes.chunks(8).fold(start, |hash, chunk| mix(hash.rotate_left(23) ^ load(chunk)))
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
            each(mix(piece ^ PIECE));
        }
    }
}

/// The feature that stands for `feature` where its word is negated.
#[inline]
pub(super) fn negated(feature: u64) -> u64 {
    feature ^ NEGATED
}

/// What a walk meets.
pub(super) trait Visitor {
    /// A token; answers its hash and its role.
    fn token(&mut self, bytes: &[u8], token: &Token, is_negated: bool) -> (u64, Role);
    /// A feature that is not of one token alone.
    fn feature(&mut self, feature: u64);
}

/// Walk through a message.
pub(super) fn walk(tokens: &Tokens, visitor: &mut impl Visitor) {
    let (mut before, mut last_but_one) = (EDGE, EDGE);
    let mut covered = 0_u8;
    let mut words = 0_u32;
    for (bytes, token) in tokens.iter() {
        if token.begins_clause {
            covered = 0;
        }
        let is_word = is_word(bytes);
        let is_negated = is_word && covered > 0;
        let (hash, role) = visitor.token(bytes, token, is_negated);
        visitor.feature(pair(before, hash));
        visitor.feature(pair(last_but_one ^ APART, hash));
        (before, last_but_one) = (hash, before);
        if is_word {
            words += 1;
            covered = match role {
                Role::Negation => COVERED,
                Role::Contrast => 0,
                Role::Plain => covered.saturating_sub(1),
            };
        }
    }
    visitor.feature(pair(before, EDGE));
    visitor.feature(mix(WRITING ^ u64::from(words.next_power_of_two().min(64))));
    if tokens.is_shouted {
        visitor.feature(mix(WRITING ^ 0x100));
    }
    if tokens.is_stretched {
        visitor.feature(mix(WRITING ^ 0x200));
    }
}

/// The feature of two neighbours.
fn pair(first: u64, second: u64) -> u64 {
    mix(first.rotate_left(17).wrapping_mul(PAIR) ^ second)
}
