//! The model file: one table of weights for each language, one that tells the languages apart, and one
//! that tells messages to companies from other texts.
//!
//! Little-endian, in this order:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `ACQSENT2` |
//! | 4 | CRC-32 of all that follows |
//! | 8 | hash of the feature specification that it was trained on |
//! | 32 | name and version, padded with zeros |
//! | 32 | SHA-256 of the training manifest |
//! | 4 | log2 of the rows of a sentiment table, of the language table, of the domain table; 0 |
//! | 4 * 3 | Spanish, messages to companies: scale, bias of negative, bias of positive |
//! | 4 * 3 | Spanish, other texts: the same |
//! | 4 * 6 | English: the same |
//! | 4 * 3 | language: scale, bias, margin below which both tables are asked |
//! | 4 * 2 | domain: scale, bias |
//! | rows * 4 | weights against neutral, one signed byte each: negative and positive in Spanish, the same in English |
//! | rows | language: weights of Spanish against English |
//! | rows | domain: weights of general against service |

use std::path::Path;

use super::features::SPECIFICATION;
use super::fields::{self, Fields};
use super::key::word_hash;
use super::sums::{ROW_SIGNS, Row};
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"ACQSENT2";
/// Bytes before the tables.
const HEADER: usize = 156;
/// Longest name of a model, in bytes.
const NAME: usize = 32;
/// Larger files are no models, in bytes.
const LARGEST: u64 = 128 << 20;
/// Numbers of the header are no larger, on either side: far more than any is, and no sum of them is infinite.
const LARGEST_NUMBER: f32 = 1e6;
/// Tables larger than this are none of ours.
const MOST_BITS: u32 = 24;

/// The model that the program carries.
static BUILT_IN: &[u8] = include_bytes!("model.bin");

/// A language that the model tells and judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// Spanish.
    Spanish,
    /// English.
    English,
}

impl Language {
    /// Its code of ISO 639-1.
    pub fn code(self) -> &'static str {
        match self {
            Self::Spanish => "es",
            Self::English => "en",
        }
    }

    /// The language of a tag like `es`, `es-MX`, `EN_us` or `spa`; none for any other.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let first = tag.split(['-', '_']).next().unwrap_or_default().trim();
        let is = |codes: [&str; 3]| codes.iter().any(|code| first.eq_ignore_ascii_case(code));
        if is(["es", "spa", "spanish"]) {
            Some(Self::Spanish)
        } else if is(["en", "eng", "english"]) {
            Some(Self::English)
        } else {
            None
        }
    }
}

/// How a table's sum becomes log-odds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Worth of one unit of a weight.
    pub scale: f32,
    /// Log-odds of negative against neutral where nothing is known.
    pub negative: f32,
    /// The same of positive.
    pub positive: f32,
}

/// How the language table's sum becomes log-odds of Spanish against English.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LanguageCalibration {
    /// Worth of one unit of a weight.
    pub scale: f32,
    /// Log-odds where nothing is known.
    pub bias: f32,
    /// Log-odds below which, on either side, both tables are asked.
    pub margin: f32,
}

/// How the domain table's sum becomes log-odds of the general domain (posts, comments, lines of films)
/// against that of service (messages to companies).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DomainCalibration {
    /// Worth of one unit of a weight.
    pub scale: f32,
    /// Log-odds where nothing is known.
    pub bias: f32,
}

/// What a trainer gives: the numbers of a model file.
#[derive(Debug, Clone)]
pub struct Weights {
    /// Name and version, at most 32 bytes.
    pub name: String,
    /// SHA-256 of the training manifest.
    pub manifest: [u8; 32],
    /// Of Spanish and of English, each of messages to companies and of other texts.
    pub calibrations: [[Calibration; 2]; 2],
    /// For each row the weights of negative and of positive, of Spanish and of English; a power of
    /// two of rows.
    pub tables: [Vec<[i8; 2]>; 2],
    /// Of the language table.
    pub language: LanguageCalibration,
    /// Weights of Spanish against English; a power of two of rows.
    pub languages: Vec<i8>,
    /// Of the domain table.
    pub domain: DomainCalibration,
    /// Weights of general against service; a power of two of rows.
    pub domains: Vec<i8>,
}

/// A model, ready to judge with.
#[derive(Debug, Clone)]
pub struct Model {
    rows: Box<[Row]>,
    languages: Box<[i8]>,
    domains: Box<[i8]>,
    name: String,
    manifest: [u8; 32],
    calibrations: [[Calibration; 2]; 2],
    language: LanguageCalibration,
    domain: DomainCalibration,
    /// What a feature is shifted by to be the number of a row.
    shift: u32,
    /// The same for the domain table.
    domain_shift: u32,
}

impl Model {
    /// The model that the program carries.
    pub fn built_in() -> Result<Self> {
        Self::read(BUILT_IN)
            .map_err(|error| Error::fatal("the program's own sentiment model").caused_by(error))
    }

    /// A model file. Refused, with the reason, where it is no model, is damaged, or was trained on
    /// other features than this version has.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let refused = |what: &str| Error::config(what.to_owned());
        let mut fields = Fields(bytes);
        let magic = fields.take::<8>();
        if magic != Some(*MAGIC) {
            return Err(refused(match magic.is_some_and(|it| it.starts_with(b"ACQSENT")) {
                true => "the sentiment model is in the format of another version: train it again",
                false => "this is no sentiment model",
            }));
        }
        let sum = fields.number();
        if sum != bytes.get(12..).map(crc32fast::hash) {
            return Err(refused("the sentiment model is damaged: its checksum differs"));
        }
        if fields.take::<8>().map(u64::from_le_bytes) != Some(word_hash(SPECIFICATION.as_bytes())) {
            return Err(refused(
                "the sentiment model was trained on other features than this version computes: train it again",
            ));
        }
        let name = fields.take::<NAME>().unwrap_or_default();
        let manifest = fields.take::<32>().unwrap_or_default();
        let sizes = fields.take::<4>().unwrap_or([u8::MAX; 4]).map(u32::from);
        let [bits, language_bits, domain_bits, unused] = sizes;
        let mut float = || fields.number().map_or(f32::NAN, f32::from_bits);
        let mut calibration =
            || Calibration { scale: float(), negative: float(), positive: float() };
        let calibrations = [(); 2].map(|()| [calibration(), calibration()]);
        let language = LanguageCalibration { scale: float(), bias: float(), margin: float() };
        let domain = DomainCalibration { scale: float(), bias: float() };
        let mut numbers = numbers(&calibrations, &language, &domain).into_iter();
        let are_bounded = numbers.all(|number| number.abs() <= LARGEST_NUMBER);
        let is_sized = sizes.into_iter().all(|bits| bits <= MOST_BITS)
            && bits.min(domain_bits) > 0
            && unused == 0;
        if !are_bounded || !is_sized || bytes.len() != length(bits, language_bits, domain_bits) {
            return Err(refused(
                "the sentiment model is damaged: its tables do not fit its header",
            ));
        }
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        let Fields(tables) = fields;
        let (rows, languages) = tables.split_at_checked(4 << bits).unwrap_or_default();
        let (rows, _) = rows.as_chunks::<4>();
        let rows = rows.iter().map(|row| u32::from_le_bytes(*row) ^ ROW_SIGNS).collect();
        let (languages, domains) =
            languages.split_at_checked(1 << language_bits).unwrap_or_default();
        let signed = |bytes: &[u8]| bytes.iter().map(|weight| *weight as i8).collect();
        Ok(Self {
            rows,
            languages: signed(languages),
            domains: signed(domains),
            name,
            manifest,
            calibrations,
            language,
            domain,
            shift: 64 - bits,
            domain_shift: 64 - domain_bits,
        })
    }

    /// Name and version: what is stamped on each row.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// SHA-256 of the manifest of what it was trained on.
    pub fn manifest(&self) -> [u8; 32] {
        self.manifest
    }

    /// How the sums of a text are to be read that is so much of the general domain, from 0 to 1.
    pub(super) fn calibration(&self, language: Language, general: f32) -> Calibration {
        let [spanish, english] = self.calibrations;
        let [service, other] = match language {
            Language::Spanish => spanish,
            Language::English => english,
        };
        let between = |service: f32, other: f32| service + general * (other - service);
        Calibration {
            scale: between(service.scale, other.scale),
            negative: between(service.negative, other.negative),
            positive: between(service.positive, other.positive),
        }
    }

    pub(super) fn language(&self) -> LanguageCalibration {
        self.language
    }

    pub(super) fn domain(&self) -> DomainCalibration {
        self.domain
    }

    /// The weights of `feature`: negative and positive in Spanish, negative and positive in English.
    #[inline(always)]
    pub(super) fn row(&self, feature: u64) -> Row {
        let row = feature >> (self.shift & 63);
        self.rows.get(row as usize).copied().unwrap_or(ROW_SIGNS)
    }

    /// The same one by one.
    pub(super) fn weights(&self, feature: u64) -> [i8; 4] {
        (self.row(feature) ^ ROW_SIGNS).to_le_bytes().map(|weight| weight as i8)
    }

    /// The weight of Spanish against English that `feature` has.
    #[inline(always)]
    pub(super) fn spanishness(&self, feature: u64) -> i8 {
        let row = feature as usize & (self.languages.len() - 1);
        self.languages.get(row).copied().unwrap_or(0)
    }

    /// The weight of the general domain against that of service that the token of this hash has.
    #[inline(always)]
    pub(super) fn generality(&self, hash: u64) -> i8 {
        let row = hash >> (self.domain_shift & 63);
        self.domains.get(row as usize).copied().unwrap_or(0)
    }
}

impl Weights {
    /// The model file.
    pub fn write(&self) -> Vec<u8> {
        let [spanish, english] = &self.tables;
        let bits = |rows: usize| rows.max(1).ilog2() as u8;
        let mut body = Vec::with_capacity(length(u32::from(bits(spanish.len())), 16, 16));
        body.extend_from_slice(&word_hash(SPECIFICATION.as_bytes()).to_le_bytes());
        let name = self.name.as_bytes().iter().copied();
        body.extend(name.chain(std::iter::repeat(0)).take(NAME));
        body.extend_from_slice(&self.manifest);
        let sizes = [spanish.len(), self.languages.len(), self.domains.len()].map(bits);
        body.extend(sizes.into_iter().chain([0]));
        let numbers = numbers(&self.calibrations, &self.language, &self.domain);
        body.extend(numbers.into_iter().flat_map(f32::to_le_bytes));
        let rows = spanish.iter().zip(english).flat_map(|(spanish, english)| [spanish, english]);
        body.extend(rows.flatten().map(|weight| *weight as u8));
        body.extend(self.languages.iter().chain(&self.domains).map(|weight| *weight as u8));
        let sum = crc32fast::hash(&body).to_le_bytes();
        [MAGIC.as_slice(), &sum, &body].concat()
    }
}

/// The model in a file.
pub fn read_file(path: &Path) -> Result<Model> {
    let bytes = fields::read(path, LARGEST, "a model")?;
    Model::read(&bytes).map_err(|error| error.context(path.display().to_string()))
}

/// The numbers of the header in their order.
fn numbers(
    calibrations: &[[Calibration; 2]; 2],
    language: &LanguageCalibration,
    domain: &DomainCalibration,
) -> [f32; 17] {
    let mut numbers = [0.0; 17];
    let all = calibrations.as_flattened().iter();
    let all = all.flat_map(|it| [it.scale, it.negative, it.positive]);
    let last = [language.scale, language.bias, language.margin, domain.scale, domain.bias];
    numbers.iter_mut().zip(all.chain(last)).for_each(|(place, number)| *place = number);
    numbers
}

/// Bytes of a model file.
fn length(bits: u32, language_bits: u32, domain_bits: u32) -> usize {
    HEADER + (4 << bits) + (1 << language_bits) + (1 << domain_bits)
}
