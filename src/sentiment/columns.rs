//! A column of texts to columns of verdicts: what the transform and the SQL function share.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, Float64Builder, StringViewArray, StringViewBuilder, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;

use super::{Judge, Judging, Label, Language, Model, Verdict};
use crate::error::Result;

/// Threads that judge by one model at once, for whom what they reuse is kept.
const MOST_JUDGES: usize = 64;

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
    ) -> Verdicts {
        let mut judge = self.take();
        let mut builder = Builder::with_capacity(texts.len());
        for row in 0..texts.len() {
            if wanted(row) == Wanted::Null {
                builder.push_null();
                continue;
            }
            let language = languages
                .filter(|languages| languages.is_valid(row))
                .and_then(|languages| Language::of_tag(languages.value(row)));
            let verdict = match texts.is_valid(row) {
                true => judge.judge(&self.model, texts.value(row), language, &self.judging),
                false => Verdict::NOTHING,
            };
            builder.push(&verdict, self.model.name());
        }
        self.give_back(judge);
        builder.finish()
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

struct Builder {
    label: StringViewBuilder,
    score: Float64Builder,
    confidence: Float64Builder,
    language: StringViewBuilder,
    model: StringViewBuilder,
    counts: [u64; 4],
}

impl Builder {
    fn with_capacity(rows: usize) -> Self {
        Self {
            label: StringViewBuilder::with_capacity(rows),
            score: Float64Builder::with_capacity(rows),
            confidence: Float64Builder::with_capacity(rows),
            language: StringViewBuilder::with_capacity(rows),
            // The same name again and again is kept once.
            model: StringViewBuilder::with_capacity(rows).with_deduplicate_strings(),
            counts: [0; 4],
        }
    }

    fn push(&mut self, verdict: &Verdict, model: &str) {
        let [positive, neutral, negative, mixed] = &mut self.counts;
        *match verdict.label {
            Label::Positive => positive,
            Label::Neutral => neutral,
            Label::Negative => negative,
            Label::Mixed => mixed,
        } += 1;
        self.label.append_value(verdict.label.name());
        self.score.append_value(four_digits(verdict.score));
        self.confidence.append_value(four_digits(verdict.confidence));
        self.language.append_option(verdict.language.map(Language::code));
        self.model.append_value(model);
    }

    fn push_null(&mut self) {
        self.label.append_null();
        self.score.append_null();
        self.confidence.append_null();
        self.language.append_null();
        self.model.append_null();
    }

    fn finish(mut self) -> Verdicts {
        Verdicts {
            label: Arc::new(self.label.finish()),
            score: Arc::new(self.score.finish()),
            confidence: Arc::new(self.confidence.finish()),
            language: Arc::new(self.language.finish()),
            model: Arc::new(self.model.finish()),
            counts: self.counts,
        }
    }
}

/// More digits than the model is good for would only make files larger.
pub(crate) fn four_digits(value: f32) -> f64 {
    (f64::from(value) * 1e4).round() / 1e4
}
