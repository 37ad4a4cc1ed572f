//! A column of texts to columns of verdicts: what the transform and the SQL function share.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, Float64Array, StringViewArray, StructArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;

use super::judge::{Odds, verdicts};
use super::{Judge, Judging, Label, Language, Model, Verdict};
use crate::error::Result;

/// Threads that judge by one model at once, for whom what they reuse is kept.
const MOST_JUDGES: usize = 64;

/// Texts that are judged side by side.
const AT_ONCE: usize = 4;

/// Judges whole columns by one model. Shared by all threads.
#[derive(Debug)]
pub struct Judges {
    model: Model,
    judging: Judging,
    /// Those that no thread is using.
    idle: Mutex<Vec<Judge>>,
}

/// What is to be done with one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Judge its text; no text is a text that says nothing.
    Verdict,
    /// Null in every column.
    Null,
}

/// One row for each text.
#[derive(Debug, Clone)]
pub struct Verdicts {
    /// `POSITIVE`, `NEGATIVE`, `NEUTRAL`, `MIXED`.
    pub label: ArrayRef,
    /// Probability of positive less that of negative, from -1 to 1, to four digits.
    pub score: ArrayRef,
    /// Probability of the label, to four digits; 0 where the text says nothing.
    pub confidence: ArrayRef,
    /// `es` or `en`; null where there are no words.
    pub language: ArrayRef,
    /// Name and version of the model.
    pub model: ArrayRef,
    /// Rows of each label: positive, neutral, negative, mixed.
    pub counts: [u64; 4],
}

/// The members of a verdict, in order, with their types.
pub static MEMBERS: LazyLock<Fields> = LazyLock::new(|| {
    let field = |name: &str, kind: DataType| Field::new(name, kind, true);
    Fields::from(vec![
        field("label", DataType::Utf8View),
        field("score", DataType::Float64),
        field("confidence", DataType::Float64),
        field("language", DataType::Utf8View),
        field("model", DataType::Utf8View),
    ])
});

impl Verdicts {
    /// The columns in the order of [`MEMBERS`].
    pub fn columns(self) -> [ArrayRef; 5] {
        [self.label, self.score, self.confidence, self.language, self.model]
    }

    /// One column of [`MEMBERS`], null where `nulls` says so.
    pub fn into_struct(self, nulls: Option<NullBuffer>) -> Result<StructArray, ArrowError> {
        StructArray::try_new(MEMBERS.clone(), self.columns().to_vec(), nulls)
    }
}

impl Judges {
    /// Judges by `model`.
    pub fn new(model: Model, judging: Judging) -> Self {
        Self { model, judging, idle: Mutex::default() }
    }

    /// Judges by the program's own model, made once for the process.
    pub fn built_in() -> Result<Arc<Self>> {
        static BUILT_IN: Mutex<Option<Arc<Judges>>> = Mutex::new(None);
        let mut made = BUILT_IN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref() {
            return Ok(made.clone());
        }
        let judges = Arc::new(Self::new(Model::built_in()?, Judging::default()));
        Ok(made.insert(judges).clone())
    }

    /// Judge each of `texts`, in the language that `languages` has for it: a tag like `es-MX`. A
    /// null there, or a language that is not judged, leaves it to the model to tell.
    pub fn verdicts(
        &self,
        texts: &StringViewArray,
        languages: Option<&StringViewArray>,
        wanted: impl Fn(usize) -> Wanted,
    ) -> Result<Verdicts, ArrowError> {
        let language = |row: usize| {
            let languages = languages.filter(|languages| languages.is_valid(row))?;
            Language::of_tag(languages.value(row))
        };
        let mut judge = self.take();
        let mut builder = Builder::with_capacity(texts.len());
        for first in (0..texts.len()).step_by(AT_ONCE) {
            let rows: [usize; AT_ONCE] = std::array::from_fn(|index| first + index);
            let weighed = rows.map(|row| {
                let is_text = row < texts.len() && texts.is_valid(row);
                let is_asked = is_text && wanted(row) == Wanted::Verdict;
                is_asked.then(|| judge.weigh(&self.model, texts.value(row))).flatten()
            });
            let mut odds = [Odds::default(); AT_ONCE];
            for ((odds, totals), row) in odds.iter_mut().zip(&weighed).zip(rows) {
                if let Some(totals) = totals {
                    *odds = totals.odds(&self.model, language(row), &self.judging);
                }
            }
            let verdicts = verdicts(odds).into_iter().zip(&weighed).zip(rows);
            for ((verdict, totals), row) in verdicts.take(texts.len() - first) {
                if wanted(row) == Wanted::Null {
                    builder.push_null();
                    continue;
                }
                builder.push(&match totals {
                    None => Verdict::NOTHING,
                    Some(totals) if self.judging.mixed => {
                        let text = texts.value(row);
                        judge.with_sides(&self.model, text, totals, verdict, &self.judging)
                    }
                    Some(_) => verdict,
                });
            }
        }
        self.give_back(judge);
        builder.finish(self.model.name())
    }

    fn take(&self) -> Judge {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().unwrap_or_default()
    }

    fn give_back(&self, judge: Judge) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_JUDGES {
            idle.push(judge);
        }
    }
}

/// What stands for one of [`LABELS`].
const NO_LABEL: u32 = 4;
/// What stands for one of [`LANGUAGES`].
const NO_LANGUAGE: u32 = 2;

static LABELS: LazyLock<StringViewArray> = LazyLock::new(|| {
    let all = [Label::Positive, Label::Neutral, Label::Negative, Label::Mixed];
    all.iter().map(|label| Some(label.name())).chain([None]).collect()
});

static LANGUAGES: LazyLock<StringViewArray> = LazyLock::new(|| {
    let all = [Language::Spanish, Language::English];
    all.iter().map(|language| Some(language.code())).chain([None]).collect()
});

/// Words by their numbers in a list: they are taken from it all at once in the end.
#[derive(Debug)]
pub(crate) struct Builder {
    labels: Vec<u32>,
    scores: Vec<f64>,
    confidences: Vec<f64>,
    languages: Vec<u32>,
}

impl Builder {
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self {
            labels: Vec::with_capacity(rows),
            scores: Vec::with_capacity(rows),
            confidences: Vec::with_capacity(rows),
            languages: Vec::with_capacity(rows),
        }
    }

    /// The next row has this verdict.
    #[inline]
    pub(crate) fn push(&mut self, verdict: &Verdict) {
        self.labels.push(match verdict.label {
            Label::Positive => 0,
            Label::Neutral => 1,
            Label::Negative => 2,
            Label::Mixed => 3,
        });
        self.scores.push(four_digits(verdict.score));
        self.confidences.push(four_digits(verdict.confidence));
        self.languages.push(match verdict.language {
            Some(Language::Spanish) => 0,
            Some(Language::English) => 1,
            None => NO_LANGUAGE,
        });
    }

    /// The next row has none.
    pub(crate) fn push_null(&mut self) {
        self.labels.push(NO_LABEL);
        self.scores.push(0.0);
        self.confidences.push(0.0);
        self.languages.push(NO_LANGUAGE);
    }

    /// The columns; `model` is stamped on every row with a verdict.
    pub(crate) fn finish(self, model: &str) -> Result<Verdicts, ArrowError> {
        let mut counts = [0; NO_LABEL as usize];
        for label in &self.labels {
            if let Some(count) = counts.get_mut(*label as usize) {
                *count += 1;
            }
        }
        let nulls: NullBuffer = self.labels.iter().map(|label| *label != NO_LABEL).collect();
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let names = StringViewArray::from_iter_values([model]);
        let model = UInt32Array::try_new(vec![0; self.labels.len()].into(), nulls.clone())?;
        let numbers = |numbers: Vec<f64>| Float64Array::try_new(numbers.into(), nulls.clone());
        Ok(Verdicts {
            score: Arc::new(numbers(self.scores)?),
            confidence: Arc::new(numbers(self.confidences)?),
            label: take(&*LABELS, &UInt32Array::from(self.labels), None)?,
            language: take(&*LANGUAGES, &UInt32Array::from(self.languages), None)?,
            model: take(&names, &model, None)?,
            counts,
        })
    }
}

/// More digits than the model is good for would only make files larger.
pub(crate) fn four_digits(value: f32) -> f64 {
    // A number of this size has no places behind the point: adding it rounds.
    const WHOLE: f64 = (3_u64 << 51) as f64;
    ((f64::from(value) * 1e4 + WHOLE) - WHOLE) / 1e4
}
