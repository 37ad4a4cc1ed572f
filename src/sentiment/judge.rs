//! From a text to its label.
//!
//! Everything up to the log-odds is whole numbers; what follows is additions, multiplications,
//! divisions and square roots of 32-bit floats, which every machine rounds alike. So the same text
//! has the same result, bit for bit, wherever it is computed.

use super::cache::{Cache, Sums};
use super::features::{Role, SPANISH_SIGNS, Walk, writing};
use super::model::{Language, Model};
use super::plain::place;
use super::scan::{Token, Tokens, Writing};
use super::sums::{Counts, Fours, MOST_ROWS, Rows};

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
    /// Of three shares the label of the largest; neutral where it is as large as another.
    pub(crate) fn likeliest(negative: f32, neutral: f32, positive: f32) -> Self {
        if neutral >= negative && neutral >= positive {
            Self::Neutral
        } else if negative > positive {
            Self::Negative
        } else {
            Self::Positive
        }
    }

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
}

/// The sums of one text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    /// Negative and positive in Spanish, the same in English.
    pub(super) weights: [i32; 4],
    pub(super) features: i32,
    pub(super) spanishness: i32,
    /// Features of all words, for the language.
    pub(super) word_features: i32,
    /// The general domain against that of service.
    pub(super) generality: i32,
    pub(super) tokens: i32,
    pub(super) has_words: bool,
}

impl Totals {
    /// What they say. Where the language is not given, the model tells it.
    pub(super) fn odds(
        &self,
        model: &Model,
        language: Option<Language>,
        judging: &Judging,
    ) -> Odds {
        let opinion = Opinion::of(model, self, language);
        let general = self.general(model);
        let root = (self.features as f32).sqrt();
        let [spanish_negative, spanish_positive, english_negative, english_positive] =
            self.weights.map(|weight| weight as f32);
        // Both are asked, though one counts for nothing most of the time: without a branch, which
        // no processor could foretell.
        let sides = [
            (Language::Spanish, [spanish_negative, spanish_positive], opinion.spanish),
            (Language::English, [english_negative, english_positive], 1.0 - opinion.spanish),
        ];
        let [mut negative, mut positive] = judging.priors;
        for (language, [more_negative, more_positive], share) in sides {
            let calibration = model.calibration(language, general);
            let each = calibration.scale / root;
            negative += share * (more_negative * each + calibration.negative);
            positive += share * (more_positive * each + calibration.positive);
        }
        Odds { negative, positive, language: self.has_words.then_some(opinion.language) }
    }

    /// How much of the general domain the text is, from 0 to 1: a straight line in place of a logistic
    /// curve.
    fn general(&self, model: &Model) -> f32 {
        let calibration = model.domain();
        let root = (self.tokens as f32).sqrt();
        let odds = self.generality as f32 * (calibration.scale / root) + calibration.bias;
        (0.5 + odds * 0.25).clamp(0.0, 1.0)
    }

    /// The same as a verdict.
    fn verdict(&self, model: &Model, language: Option<Language>, judging: &Judging) -> Verdict {
        let [verdict, ..] = verdicts([self.odds(model, language, judging); 4]);
        verdict
    }
}

/// Log-odds of one text against neutral.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Odds {
    negative: f32,
    positive: f32,
    language: Option<Language>,
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
        let Some(totals) = self.weigh(model, text) else { return Verdict::NOTHING };
        let verdict = totals.verdict(model, language, judging);
        match judging.mixed {
            true => self.with_sides(model, text, &totals, verdict, judging),
            false => verdict,
        }
    }

    /// The verdict on `text`, of which these are the sums; mixed where its clauses say opposite things.
    pub(super) fn with_sides(
        &mut self,
        model: &Model,
        text: &str,
        totals: &Totals,
        verdict: Verdict,
        judging: &Judging,
    ) -> Verdict {
        if verdict.language.is_none() {
            return verdict;
        }
        match self.has_two_sides(model, text, totals, verdict.language, judging) {
            Some(confidence) => Verdict { label: Label::Mixed, confidence, ..verdict },
            None => verdict,
        }
    }

    /// How much `text` is of the general domain, from 0 to 1; `None` where it says nothing.
    pub fn generality(&mut self, model: &Model, text: &str) -> Option<f32> {
        self.weigh(model, text).map(|totals| totals.general(model))
    }

    /// What the parts of `text` weigh together; `None` where it has none.
    pub(super) fn weigh(&mut self, model: &Model, text: &str) -> Option<Totals> {
        let Self { tokens, cache } = self;
        tokens.read_with(text, |key, hash| cache.expect(key, hash));
        if self.tokens.list().is_empty() {
            return None;
        }
        let (weights, rows, counts, generality) = self.sum(model);
        let tokens = self.tokens.list().len();
        let (mut spanishness, features, mut word_features) = counts.parts(tokens);
        let Writing { has_words, has_spanish_signs, .. } = self.tokens.writing;
        if has_spanish_signs {
            spanishness += i32::from(model.spanishness(SPANISH_SIGNS));
            word_features += 1;
        }
        let features = features + rows as i32;
        Some(Totals {
            weights,
            features,
            spanishness,
            word_features,
            generality,
            tokens: tokens as i32,
            has_words,
        })
    }

    /// Add up what the tokens weigh: the four weights, how many rows there are beside those of single
    /// tokens, what is counted of tokens, and how general they are.
    fn sum(&mut self, model: &Model) -> ([i32; 4], usize, Counts, i32) {
        let Self { tokens, cache } = self;
        let (mut words, mut counts, mut walk) = (Fours::default(), Counts::default(), Walk::new());
        let list = tokens.list();
        let (mut sums, mut others, mut generality) = ([0; 4], 0, 0);
        let mut keep = |more: [i32; 4]| {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        };
        for list in list.chunks(MOST_ROWS) {
            let mut rows = Rows::default();
            for token in list {
                let step = walk.step(token);
                let key = token.key.negated(step.is_negated);
                let sums = match cache.get(key, token.hash) {
                    Some(sums) => sums,
                    None => learn(model, cache, tokens, token, step.is_negated),
                };
                words.add(sums.weights);
                counts.add(sums.counts);
                generality += i32::from(model.generality(token.hash));
                rows.add(model.row(step.pair));
            }
            keep(rows.sums(list.len()));
        }
        keep(words.sums(list.len()));
        let mut rows = Rows::default();
        writing(tokens, |feature| {
            rows.add(model.row(feature));
            others += 1;
        });
        keep(rows.sums(others));
        (sums, list.len() + others, counts, generality)
    }

    /// How sure it is that clauses of `text` say opposite things; `None` where they do not.
    fn has_two_sides(
        &mut self,
        model: &Model,
        text: &str,
        whole: &Totals,
        language: Option<Language>,
        judging: &Judging,
    ) -> Option<f32> {
        let mut cuts = vec![0];
        self.tokens.read(text);
        let mut walk = Walk::new();
        for token in self.tokens.list() {
            if walk.step(token).role == Role::Contrast && cuts.len() < MOST_CLAUSES {
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
            // Its language and its domain are those of the whole text.
            let Totals { generality, tokens, .. } = *whole;
            let totals = self.weigh(model, clause);
            let totals = totals.map(|totals| Totals { generality, tokens, ..totals });
            let verdict = totals.map(|totals| totals.verdict(model, language, judging));
            let verdict = verdict.unwrap_or(Verdict::NOTHING);
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
        let Some(totals) = self.weigh(model, text) else { return Vec::new() };
        let opinion = Opinion::of(model, &totals, language);
        let general = totals.general(model);
        let weigh =
            |weights: [i32; 4]| opinion.weight(model, general, weights.map(|weight| weight as f32));
        let mut reasons: Vec<Reason> = Vec::new();
        let (tokens, mut walk) = (&self.tokens, Walk::new());
        for token in tokens.list() {
            let step = walk.step(token);
            let mut spelling = [0; 16];
            let bytes = tokens.bytes(token.key, &mut spelling);
            let mut weights = Fours::default();
            weights.add(Sums::of(model, bytes, token.hash, step.is_negated).weights);
            // A pair belongs half to each of its two.
            let pair = weigh(model.weights(step.pair).map(i32::from)) / 2.0;
            if let Some(before) = reasons.last_mut() {
                before.weight += pair;
            }
            let span = place(text, token.from)..place(text, token.to());
            reasons.push(Reason { span, weight: weigh(weights.sums(1)) + pair });
        }
        let each = 1.0 / (totals.features as f32).sqrt();
        for reason in &mut reasons {
            reason.weight *= each;
        }
        reasons
    }
}

/// What a token adds that is not known yet; kept from now on, where it is short.
#[cold]
#[inline(never)]
fn learn(
    model: &Model,
    cache: &mut Cache,
    tokens: &Tokens,
    token: &Token,
    is_negated: bool,
) -> Sums {
    let mut spelling = [0; 16];
    let bytes = tokens.bytes(token.key, &mut spelling);
    let sums = Sums::of(model, bytes, token.hash, is_negated);
    if token.key.is_short() {
        cache.put(token.key.negated(is_negated), token.hash, sums);
    }
    sums
}

/// Which language a text is judged in.
#[derive(Clone, Copy)]
struct Opinion {
    language: Language,
    /// The share of the Spanish table.
    spanish: f32,
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

    /// What weights add to the log-odds of positive against negative in a text that is so general.
    fn weight(&self, model: &Model, general: f32, weights: [f32; 4]) -> f32 {
        let [spanish_negative, spanish_positive, english_negative, english_positive] = weights;
        let scale = |language| model.calibration(language, general).scale;
        (spanish_positive - spanish_negative) * scale(Language::Spanish) * self.spanish
            + (english_positive - english_negative)
                * scale(Language::English)
                * (1.0 - self.spanish)
    }
}

/// The labels of four texts: as many numbers as a processor computes with at once.
pub(super) fn verdicts(odds: [Odds; 4]) -> [Verdict; 4] {
    let (negative, positive) = (odds.map(|odds| odds.negative), odds.map(|odds| odds.positive));
    let each = |one: [f32; 4], other: [f32; 4], both: fn(f32, f32) -> f32| {
        let mut result = one;
        result.iter_mut().zip(other).for_each(|(one, other)| *one = both(*one, other));
        result
    };
    let largest = each(negative, positive, f32::max).map(|odds| odds.max(0.0));
    let against = |odds: [f32; 4]| exponentials(each(odds, largest, |odds, most| odds - most));
    let (negative, neutral, positive) = (against(negative), against([0.0; 4]), against(positive));
    let all = each(each(negative, neutral, |a, b| a + b), positive, |a, b| a + b);
    let score = each(each(positive, negative, |a, b| a - b), all, |a, b| a / b);
    let most = each(each(negative, neutral, f32::max), positive, f32::max);
    let confidence = each(most, all, |a, b| a / b);
    let mut verdicts = [Verdict::NOTHING; 4];
    let parts = negative.into_iter().zip(neutral).zip(positive).zip(score).zip(confidence);
    for ((verdict, odds), part) in verdicts.iter_mut().zip(odds).zip(parts) {
        let ((((negative, neutral), positive), score), confidence) = part;
        let label = Label::likeliest(negative, neutral, positive);
        *verdict = Verdict { label, score, confidence, language: odds.language };
    }
    verdicts
}

/// e to the power of each of `values`, to six digits, by operations that every machine rounds alike.
pub(super) fn exponentials(values: [f32; 4]) -> [f32; 4] {
    // A number of this size has no places behind the point: adding it rounds to a whole number, which
    // then stands in the lower bits.
    const WHOLE: f32 = (3 << 22) as f32;
    values.map(|value| {
        let doublings = (value * std::f32::consts::LOG2_E).clamp(-126.0, 126.0);
        let shifted = doublings + WHOLE;
        let part = doublings - (shifted - WHOLE);
        // 2^part for -0.5 <= part <= 0.5: the Taylor polynomial of e^x at x = part * ln 2.
        let x = part * std::f32::consts::LN_2;
        let mut power = 1.0 / 5040.0;
        for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 1.0 / 2.0, 1.0, 1.0] {
            power = power * x + factor;
        }
        power * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
    })
}

/// The same of one.
fn exponential(value: f32) -> f32 {
    let [power, ..] = exponentials([value; 4]);
    power
}
