//! The model file of intents: one table with a weight of each intent for each row.
//!
//! Little-endian, in this order:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `ACQINTE1` |
//! | 4 | CRC-32 of all that follows |
//! | 8 | hash of the feature specification that it was trained on |
//! | 32 | name and version, padded with zeros |
//! | 32 | SHA-256 of the training manifest |
//! | 4 | log2 of the rows, number of intents, two zeros |
//! | 4 * 2 | temperature, threshold |
//! | intents * 8 | of each intent: scale, bias |
//! | intents | length of each intent's name, one byte each |
//! | those lengths | the names, in UTF-8 |
//! | rows * intents | weights, one signed byte each: of every intent for the first row, and so on |
//!
//! The log-odds of an intent are its bias and the sum of its weights times its scale, over the square
//! root of the number of features; its share is e to the power of that over the temperature.

use std::path::Path;

use super::super::features::{SPECIFICATION, Walk, negated, token_features, writing};
use super::super::fields::{self, Fields};
use super::super::judge::exponentials;
use super::super::key::word_hash;
use super::super::scan::Tokens;
use super::NOTHING;
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"ACQINTE1";
/// Bytes before what each intent has.
const HEADER: usize = 96;
/// Longest name of a head, in bytes.
const NAME: usize = 32;
/// Larger files are no heads, in bytes.
const LARGEST: u64 = 72 << 20;
/// Tables larger than this are none of ours.
const MOST_BITS: usize = 20;
/// As many intents as a head can tell.
pub const MOST_INTENTS: usize = 64;
/// Weights that are added up side by side.
const LANES: usize = 8;
/// What turns eight signed bytes into eight numbers of which none is below zero: each and 128.
const SIGNS: u64 = 0x8080_8080_8080_8080;
/// The lower byte of each sixteen bits.
const LOWER: u64 = 0x00ff_00ff_00ff_00ff;
/// So many bytes can be added up in sixteen bits.
const MOST_ROWS: usize = 256;

/// Tells intents apart by a trained table.
#[derive(Debug, Clone)]
pub struct Head {
    /// Of each row as many parts as all intents take, of eight weights each, the first one lowest.
    table: Box<[u64]>,
    /// Parts of a row.
    parts: usize,
    intents: Vec<Intent>,
    name: String,
    manifest: [u8; 32],
    temperature: f32,
    threshold: f32,
    /// What a feature is shifted by to be the number of a row.
    shift: u32,
}

#[derive(Debug, Clone)]
struct Intent {
    name: String,
    scale: f32,
    bias: f32,
    /// Its name says that it is none.
    is_nothing: bool,
}

/// What a head uses again from text to text; one for each thread.
#[derive(Debug, Default)]
pub struct HeadScratch {
    tokens: Tokens,
    /// Where the first part of the row of each feature is.
    rows: Vec<usize>,
    sums: Vec<i32>,
    odds: Vec<f32>,
}

/// What a trainer gives: the numbers of a model file.
#[derive(Debug, Clone)]
pub struct HeadWeights {
    /// Name and version, at most 32 bytes.
    pub name: String,
    /// SHA-256 of the training manifest.
    pub manifest: [u8; 32],
    /// What log-odds are divided by; more than 0.
    pub temperature: f32,
    /// Probability below which a text has no intent; from 0 to 1.
    pub threshold: f32,
    /// At least one and at most [`MOST_INTENTS`].
    pub intents: Vec<IntentWeights>,
}

/// What one intent weighs.
#[derive(Debug, Clone)]
pub struct IntentWeights {
    /// At most 255 bytes; no other intent has it.
    pub name: String,
    /// Worth of one unit of a weight.
    pub scale: f32,
    /// Log-odds where nothing is known.
    pub bias: f32,
    /// One for each row: a power of two of rows, as many as each intent has.
    pub weights: Vec<i8>,
}

impl Head {
    /// A model file. Refused, with the reason, where it is no model of intents, is damaged, or was
    /// trained on other features than this version has.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let refused = |what: &str| Error::config(what.to_owned());
        let mut fields = Fields(bytes);
        if fields.take::<8>() != Some(*MAGIC) {
            return Err(refused("this is no intent model"));
        }
        if fields.number() != bytes.get(12..).map(crc32fast::hash) {
            return Err(refused("the intent model is damaged: its checksum differs"));
        }
        if fields.take::<8>().map(u64::from_le_bytes) != Some(word_hash(SPECIFICATION.as_bytes())) {
            return Err(refused(
                "the intent model was trained on other features than this version computes: train it again",
            ));
        }
        fields.head().ok_or_else(|| {
            refused("the intent model is damaged: its table and its intents do not fit its header")
        })
    }

    /// Name and version.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the manifest of what it was trained on.
    pub fn manifest(&self) -> [u8; 32] {
        self.manifest
    }

    /// The names of the intents, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.intents.iter().map(|intent| intent.name.as_str())
    }

    /// Probability below which a text has no intent.
    pub fn threshold(&self) -> f32 {
        self.threshold
    }

    /// The most probable intent of `text`, counted from 0, and its probability. `None` where the text
    /// has no tokens, where the probability is below the threshold, and where the intent is called
    /// [`NOTHING`].
    pub fn intent(&self, scratch: &mut HeadScratch, text: &str) -> Option<(usize, f32)> {
        let (index, probability) = self.most_probable(scratch, text)?;
        let is_nothing = self.intents.get(index).is_none_or(|intent| intent.is_nothing);
        (probability >= self.threshold && !is_nothing).then_some((index, probability))
    }

    /// The most probable intent, whatever it is called and however improbable it is. `None` where the
    /// text has no tokens.
    pub fn most_probable(&self, scratch: &mut HeadScratch, text: &str) -> Option<(usize, f32)> {
        let odds = self.odds(scratch, text)?;
        let mut most = (0, f32::NEG_INFINITY);
        for (index, odds) in odds.iter().enumerate() {
            if *odds > most.1 {
                most = (index, *odds);
            }
        }
        let mut all = 0.0;
        for odds in odds.chunks(4) {
            let mut four = [0.0; 4];
            for (place, odds) in four.iter_mut().zip(odds) {
                *place = (odds - most.1) / self.temperature;
            }
            all += exponentials(four).iter().take(odds.len()).sum::<f32>();
        }
        Some((most.0, 1.0 / all))
    }

    /// The log-odds of each intent, not yet divided by the temperature. `None` where the text has no
    /// tokens.
    pub fn odds<'a>(&self, scratch: &'a mut HeadScratch, text: &str) -> Option<&'a [f32]> {
        let features = self.sum(scratch, text)?;
        let root = (features as f32).sqrt();
        let HeadScratch { sums, odds, .. } = scratch;
        odds.clear();
        odds.extend(
            self.intents
                .iter()
                .zip(&*sums)
                .map(|(intent, sum)| *sum as f32 * (intent.scale / root) + intent.bias),
        );
        Some(odds)
    }

    /// Add up the weights of the features of `text`; answers how many they are.
    fn sum(&self, scratch: &mut HeadScratch, text: &str) -> Option<usize> {
        let HeadScratch { tokens, rows, sums, .. } = scratch;
        tokens.read(text);
        if tokens.list().is_empty() {
            return None;
        }
        rows.clear();
        each_feature(tokens, |feature| {
            rows.push((feature >> (self.shift & 63)) as usize * self.parts);
        });
        sums.clear();
        for part in 0..self.parts {
            let mut all = [0; LANES];
            for rows in rows.chunks(MOST_ROWS) {
                // Four weights each, in sixteen bits: the first, third and so on, and the others.
                let (mut even, mut odd) = (0, 0);
                for row in rows {
                    let weights = self.table.get(row + part).copied().unwrap_or(SIGNS);
                    even += weights & LOWER;
                    odd += weights >> 8 & LOWER;
                }
                let lane = |index: usize| match index % 2 {
                    0 => even >> (8 * index),
                    _ => odd >> (8 * (index - 1)),
                };
                for (index, sum) in all.iter_mut().enumerate() {
                    *sum += i32::from(lane(index) as u16) - 128 * rows.len() as i32;
                }
            }
            sums.extend_from_slice(&all);
        }
        Some(rows.len())
    }
}

/// Give `each` the features of a text, the same that [`features_of`](super::super::features_of) has.
#[inline]
fn each_feature(tokens: &Tokens, mut each: impl FnMut(u64)) {
    let mut walk = Walk::new();
    for token in tokens.list() {
        let step = walk.step(token);
        let mut spelling = [0; 16];
        let turn = if step.is_negated { negated(0) } else { 0 };
        let bytes = tokens.bytes(token.key, &mut spelling);
        token_features(bytes, token.hash, |feature| each(feature ^ turn));
        each(step.pair);
    }
    writing(tokens, each);
}

impl HeadWeights {
    /// The model file.
    pub fn write(&self) -> Vec<u8> {
        let rows = self.intents.first().map_or(0, |intent| intent.weights.len());
        let mut body = Vec::with_capacity(HEADER + (rows + 64) * self.intents.len());
        body.extend_from_slice(&word_hash(SPECIFICATION.as_bytes()).to_le_bytes());
        let name = self.name.as_bytes().iter().copied();
        body.extend(name.chain(std::iter::repeat(0)).take(NAME));
        body.extend_from_slice(&self.manifest);
        body.extend_from_slice(&[rows.max(1).ilog2() as u8, self.intents.len() as u8, 0, 0]);
        let calibrations = self.intents.iter().flat_map(|intent| [intent.scale, intent.bias]);
        let numbers = [self.temperature, self.threshold].into_iter().chain(calibrations);
        body.extend(numbers.flat_map(f32::to_le_bytes));
        body.extend(self.intents.iter().map(|intent| intent.name.len() as u8));
        body.extend(self.intents.iter().flat_map(|intent| intent.name.bytes()));
        for row in 0..rows {
            let weights = self.intents.iter().map(|intent| intent.weights.get(row));
            body.extend(weights.map(|weight| weight.copied().unwrap_or(0) as u8));
        }
        let sum = crc32fast::hash(&body).to_le_bytes();
        [MAGIC.as_slice(), &sum, &body].concat()
    }
}

/// The head in a file.
pub fn read_file(path: &Path) -> Result<Head> {
    let bytes = fields::read(path, LARGEST, "an intent model")?;
    Head::read(&bytes).map_err(|error| error.context(path.display().to_string()))
}

impl Fields<'_> {
    /// What stands behind the hash of the specification; `None` where it does not fit together.
    fn head(mut self) -> Option<Head> {
        let name = String::from_utf8_lossy(&self.take::<NAME>()?).trim_end_matches('\0').to_owned();
        let manifest = self.take::<32>()?;
        let [bits, count, _, _] = self.take::<4>()?.map(usize::from);
        let (temperature, threshold) = (self.float()?, self.float()?);
        let is_sized = (1..=MOST_INTENTS).contains(&count) && (1..=MOST_BITS).contains(&bits);
        let is_sane = temperature > 0.0 && (0.0..=1.0).contains(&threshold);
        if !is_sized || !is_sane {
            return None;
        }
        let intents = self.intents(count)?;
        if self.0.len() != count << bits {
            return None;
        }
        let parts = count.div_ceil(LANES);
        let part = |weights: &[u8]| {
            let eight = weights.iter().rev().fold(0, |part, weight| part << 8 | u64::from(*weight));
            eight ^ SIGNS
        };
        let table = self.0.chunks(count).flat_map(|row| row.chunks(LANES).map(part)).collect();
        let shift = u64::BITS - bits as u32;
        Some(Head { table, parts, intents, name, manifest, temperature, threshold, shift })
    }

    /// What each intent has: every one a name of its own.
    fn intents(&mut self, count: usize) -> Option<Vec<Intent>> {
        let mut intents = Vec::with_capacity(count);
        for _ in 0..count {
            let (scale, bias) = (self.float()?, self.float()?);
            intents.push(Intent { name: String::new(), scale, bias, is_nothing: false });
        }
        let lengths = self.slice(count)?;
        for (index, length) in lengths.iter().enumerate() {
            let name = std::str::from_utf8(self.slice(usize::from(*length))?).ok()?;
            let is_taken = intents.iter().any(|intent| intent.name == name);
            let intent = intents.get_mut(index).filter(|_| !is_taken)?;
            (intent.name, intent.is_nothing) = (name.to_owned(), name == NOTHING);
        }
        Some(intents)
    }

    /// A number that is one.
    fn float(&mut self) -> Option<f32> {
        self.number().map(f32::from_bits).filter(|number| number.is_finite())
    }
}
