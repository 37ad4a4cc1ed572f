//! From a text to its label.
//!
//! Everything up to the log-odds is whole numbers; what follows is additions, multiplications,
//! divisions and square roots of 32-bit floats, which every machine rounds alike. So the same text
//! has the same result, bit for bit, wherever it is computed.

use super::cache::{Cache, Sums};
use super::features::{Role, SPANISH_SIGNS, Visitor, role, walk, word_hash};
use super::model::{Calibration, Language, Model};
use super::plain::place;
use super::scan::{Token, Tokens};

/// A part of a text that is surer than this of its feeling can make the whole mixed.
const SURE: f32 = 0.6;
/// Clauses of a text that are looked at for mixed feelings.
const MOST_CLAUSES: usize = 8;

/// What a text feels like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Label {
    /// Anger, disappointment, worry, reproach.
    Negative,
    /// No feeling.
    Neutral,
    /// Content, gratitude, praise.
    Positive,
    /// Clauses of opposite feelings; only where it is asked for.
    Mixed,
}

impl Label {
    /// The word in rows and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Negative => "NEGATIVE",
            Self::Neutral => "NEUTRAL",
            Self::Positive => "POSITIVE",
            Self::Mixed => "MIXED",
        }
    }
}

/// What is known of one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The most probable label.
    pub label: Label,
    /// Probability of positive less that of negative: from -1 to 1.
    pub score: f32,
    /// Probability of the label; 0 where the text says nothing.
    pub confidence: f32,
    /// The language that the text was judged in; `None` where it has no words.
    pub language: Option<Language>,
}

impl Verdict {
    /// Of a text that says nothing.
    pub const NOTHING: Self =
        Self { label: Label::Neutral, score: 0.0, confidence: 0.0, language: None };
}

/// How texts are to be judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judging {
    /// Added to the log-odds of negative and of positive against neutral.
    pub priors: [f32; 2],
    /// Whether a text can be mixed.
    pub mixed: bool,
}

impl Default for Judging {
    fn default() -> Self {
        Self { priors: [0.0; 2], mixed: false }
    }
}

impl Judging {
    /// For texts of which such shares are negative, neutral and positive; the model alone expects
    /// as many of each. Shares are positive and need not add up to 1.
    #[must_use]
    pub fn with_shares(self, negative: f64, neutral: f64, positive: f64) -> Self {
        let against = |share: f64| {
            let odds = (share / neutral).max(f64::MIN_POSITIVE).ln().clamp(-16.0, 16.0);
            // To a 4096th, so that the last bits of a logarithm make no difference.
            ((odds * 4096.0).round() / 4096.0) as f32
        };
        Self { priors: [against(negative), against(positive)], ..self }
    }
}

/// How much one token moved the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// The token's bytes in the text.
    pub span: std::ops::Range<usize>,
    /// Its share in the log-odds of positive against negative.
    pub weight: f32,
}

/// Judges texts by one model. Holds what it reuses from text to text; one for each thread.
#[derive(Debug, Default)]
pub struct Judge {
    tokens: Tokens,
    cache: Cache,
    /// Features that are not of one word alone.
    pairs: Vec<u64>,
}

/// The sums of one text.
#[derive(Default)]
struct Totals {
    /// Negative and positive in Spanish, the same in English.
    weights: [i32; 4],
    spanishness: i32,
    /// Features of all words, for the language.
    word_features: u32,
    features: u32,
}

struct Summing<'a> {
    model: &'a Model,
    cache: &'a mut Cache,
    pairs: &'a mut Vec<u64>,
    totals: Totals,
}

impl Visitor for Summing<'_> {
    #[inline]
    fn token(&mut self, bytes: &[u8], token: &Token, is_negated: bool) -> (u64, Role) {
        let sums = self.cache.sums(self.model, bytes, token.key);
        let totals = &mut self.totals;
        let added = if is_negated { sums.turned } else { sums.plain };
        for (total, sum) in totals.weights.iter_mut().zip(added) {
            *total += i32::from(sum);
        }
        totals.features += u32::from(sums.features);
        if sums.is_word {
            totals.spanishness += i32::from(sums.spanishness);
            totals.word_features += u32::from(sums.features);
        }
        (sums.hash, sums.role)
    }

    #[inline]
    fn feature(&mut self, feature: u64) {
        self.pairs.push(feature);
    }
}

impl Judge {
    /// Judge `text`. Where its language is not given, the model tells it.
    pub fn judge(
        &mut self,
        model: &Model,
        text: &str,
        language: Option<Language>,
        judging: &Judging,
    ) -> Verdict {
        let (verdict, _) = self.whole(model, text, language, judging);
        if !judging.mixed || verdict.language.is_none() {
            return verdict;
        }
        match self.has_two_sides(model, text, verdict.language, judging) {
            Some(confidence) => Verdict { label: Label::Mixed, confidence, ..verdict },
            None => verdict,
        }
    }

    fn whole(
        &mut self,
        model: &Model,
        text: &str,
        language: Option<Language>,
        judging: &Judging,
    ) -> (Verdict, Opinion) {
        self.tokens.read(text);
        if self.tokens.len() == 0 {
            return (Verdict::NOTHING, Opinion::default());
        }
        self.pairs.clear();
        let (cache, pairs) = (&mut self.cache, &mut self.pairs);
        let mut summing = Summing { model, cache, pairs, totals: Totals::default() };
        walk(&self.tokens, &mut summing);
        let mut totals = summing.totals;
        // Afterwards and in one go: most of these rows are not in the nearest cache, and are fetched
        // side by side where nothing stands between them.
        for feature in &self.pairs {
            for (total, weight) in totals.weights.iter_mut().zip(model.weights(*feature)) {
                *total += i32::from(weight);
            }
        }
        totals.features += self.pairs.len() as u32;
        if self.tokens.has_spanish_signs {
            totals.spanishness += i32::from(model.spanishness(SPANISH_SIGNS));
            totals.word_features += 1;
        }
        let opinion = Opinion::of(model, &totals, language);
        let root = (totals.features as f32).sqrt();
        let [spanish_negative, spanish_positive, english_negative, english_positive] =
            totals.weights;
        let mut odds = [0.0_f32; 2];
        let sides = [
            (Language::Spanish, [spanish_negative, spanish_positive], opinion.spanish),
            (Language::English, [english_negative, english_positive], 1.0 - opinion.spanish),
        ];
        for (language, sums, share) in sides {
            if share <= 0.0 {
                continue;
            }
            let Calibration { scale, negative, positive } = model.calibration(language);
            let each = scale / root;
            for ((odds, sum), bias) in odds.iter_mut().zip(sums).zip([negative, positive]) {
                *odds += share * (sum as f32 * each + bias);
            }
        }
        let [negative, positive] = odds;
        let [more_negative, more_positive] = judging.priors;
        let language = self.tokens.has_words.then_some(opinion.language);
        (verdict(negative + more_negative, positive + more_positive, language), opinion)
    }

    /// How sure it is that clauses of `text` say opposite things; `None` where they do not.
    fn has_two_sides(
        &mut self,
        model: &Model,
        text: &str,
        language: Option<Language>,
        judging: &Judging,
    ) -> Option<f32> {
        let mut cuts = vec![0];
        for (bytes, token) in self.tokens.iter() {
            if role(word_hash(bytes)) == Role::Contrast && cuts.len() < MOST_CLAUSES {
                cuts.push(place(text, token.from));
            }
        }
        if cuts.len() == 1 {
            return None;
        }
        cuts.push(text.len());
        let (mut negative, mut positive) = (0.0_f32, 0.0_f32);
        for (from, to) in cuts.iter().zip(cuts.iter().skip(1)) {
            let clause = text.get(*from..*to).unwrap_or_default();
            let (verdict, _) = self.whole(model, clause, language, judging);
            match verdict.label {
                Label::Negative => negative = negative.max(verdict.confidence),
                Label::Positive => positive = positive.max(verdict.confidence),
                Label::Neutral | Label::Mixed => {}
            }
        }
        let less_sure = negative.min(positive);
        (less_sure >= SURE).then_some(less_sure)
    }

    /// Which parts of `text` moved the result by how much, in the order of the text.
    pub fn explain(
        &mut self,
        model: &Model,
        text: &str,
        language: Option<Language>,
    ) -> Vec<Reason> {
        let (_, opinion) = self.whole(model, text, language, &Judging::default());
        let mut parts =
            Parts { model, text, opinion, reasons: Vec::new(), pairs: Vec::new(), features: 0 };
        walk(&self.tokens, &mut parts);
        let each = 1.0 / ((parts.features + parts.pairs.len() as u32).max(1) as f32).sqrt();
        let mut reasons = parts.reasons;
        // Each token makes two pairs, with the one before it and with the one before that; the last
        // makes one more, with the end. What follows is of the writing as a whole, and of no token.
        let pairs = 2 * reasons.len() + 1;
        for (index, weight) in parts.pairs.iter().take(pairs).enumerate() {
            let (second, apart) = (index / 2, 1 + index % 2);
            // A pair belongs half to each of its two.
            for place in [second.checked_sub(apart), Some(second)].into_iter().flatten() {
                if let Some(reason) = reasons.get_mut(place) {
                    reason.weight += weight / 2.0;
                }
            }
        }
        for reason in &mut reasons {
            reason.weight *= each;
        }
        reasons
    }
}

/// Which language a text is judged in.
#[derive(Clone, Copy)]
struct Opinion {
    language: Language,
    /// The share of the Spanish table.
    spanish: f32,
}

impl Default for Opinion {
    fn default() -> Self {
        Self { language: Language::Spanish, spanish: 1.0 }
    }
}

impl Opinion {
    fn of(model: &Model, totals: &Totals, language: Option<Language>) -> Self {
        if let Some(language) = language {
            let spanish = if language == Language::Spanish { 1.0 } else { 0.0 };
            return Self { language, spanish };
        }
        let calibration = model.language();
        let length = (totals.word_features.max(1) as f32).sqrt();
        let odds = totals.spanishness as f32 * (calibration.scale / length) + calibration.bias;
        let language = if odds >= 0.0 { Language::Spanish } else { Language::English };
        let spanish = match odds.abs() < calibration.margin {
            true => 1.0 / (1.0 + exponential(-odds)),
            false if odds >= 0.0 => 1.0,
            false => 0.0,
        };
        Self { language, spanish }
    }
}

/// The label of log-odds against neutral.
fn verdict(negative: f32, positive: f32, language: Option<Language>) -> Verdict {
    let largest = negative.max(positive).max(0.0);
    let [negative, neutral, positive] =
        [negative - largest, -largest, positive - largest].map(exponential);
    let all = negative + neutral + positive;
    let (label, most) = if neutral >= negative && neutral >= positive {
        (Label::Neutral, neutral)
    } else if negative > positive {
        (Label::Negative, negative)
    } else {
        (Label::Positive, positive)
    };
    Verdict { label, score: (positive - negative) / all, confidence: most / all, language }
}

/// e to the power of `value`, to seven digits, by operations that every machine rounds alike.
pub(super) fn exponential(value: f32) -> f32 {
    let doublings = (value * std::f32::consts::LOG2_E).clamp(-126.0, 126.0);
    let whole = doublings.floor();
    let part = doublings - whole;
    // 2^part for 0 <= part < 1: the Taylor polynomial of e^x at x = part * ln 2.
    let x = part * std::f32::consts::LN_2;
    let terms = [5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0];
    let power = terms.iter().fold(0.0_f32, |sum, term| sum * x + 1.0 / term);
    power * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

/// What each token and each pair weighs, by itself.
struct Parts<'a> {
    model: &'a Model,
    text: &'a str,
    opinion: Opinion,
    reasons: Vec<Reason>,
    pairs: Vec<f32>,
    features: u32,
}

impl Parts<'_> {
    fn weight(&self, weights: [f32; 4]) -> f32 {
        let [spanish_negative, spanish_positive, english_negative, english_positive] = weights;
        let scale = |language| self.model.calibration(language).scale;
        let share = self.opinion.spanish;
        (spanish_positive - spanish_negative) * scale(Language::Spanish) * share
            + (english_positive - english_negative) * scale(Language::English) * (1.0 - share)
    }
}

impl Visitor for Parts<'_> {
    fn token(&mut self, bytes: &[u8], token: &Token, is_negated: bool) -> (u64, Role) {
        let sums = Sums::of(self.model, bytes);
        let weights = if is_negated { sums.turned } else { sums.plain };
        let weight = self.weight(weights.map(f32::from));
        let span = place(self.text, token.from)..place(self.text, token.to);
        self.reasons.push(Reason { span, weight });
        self.features += u32::from(sums.features);
        (sums.hash, sums.role)
    }

    fn feature(&mut self, feature: u64) {
        let weight = self.weight(self.model.weights(feature).map(f32::from));
        self.pairs.push(weight);
    }
}
