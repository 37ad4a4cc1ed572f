//! Amazon Comprehend: BatchDetectSentiment (API of 2017-11-27).
//!
//! <https://docs.aws.amazon.com/comprehend/latest/APIReference/API_BatchDetectSentiment.html>

#[cfg(test)]
#[path = "comprehend_tests.rs"]
mod tests;

use async_trait::async_trait;
use aws_sdk_comprehend::operation::batch_detect_sentiment::BatchDetectSentimentOutput;
use aws_sdk_comprehend::types::{BatchItemError, LanguageCode, SentimentScore, SentimentType};

use super::config::ComprehendConfig;
use super::engine::{Engine, Judged};
use crate::aws::{Aws, Call};
use crate::error::{Error, Result};
use crate::sentiment::{Label, Language};
use crate::telemetry::metrics::Metrics;

/// Texts of one call at most.
const BATCH: usize = 25;
/// Bytes of one text at most; what is behind them is not sent.
const LONGEST: usize = 5000;
/// Characters of a unit, by which calls are paid for.
const UNIT: usize = 100;
/// Units that a text costs at least.
const LEAST_UNITS: usize = 3;

/// Asks Comprehend.
pub(super) struct Comprehend {
    aws: Aws,
    config: ComprehendConfig,
    mixed: bool,
    metrics: Metrics,
}

impl Comprehend {
    /// Nothing is reached before the first text. Without `mixed` a text that Comprehend calls mixed
    /// gets the likeliest of the other labels.
    pub(super) fn new(config: ComprehendConfig, mixed: bool, aws: Aws, metrics: Metrics) -> Self {
        Self { aws, config, mixed, metrics }
    }

    /// The answers in the order of the texts; an error where Comprehend itself failed on one.
    fn answers(
        &self,
        count: usize,
        output: &BatchDetectSentimentOutput,
    ) -> Result<Vec<Option<Judged>>> {
        let mut answers: Vec<Option<Option<Judged>>> = vec![None; count];
        for item in output.result_list() {
            let judged = judged(item.sentiment(), item.sentiment_score(), self.mixed);
            if let Some(answer) = place(&mut answers, item.index()) {
                *answer = Some(judged);
            }
        }
        for error in output.error_list() {
            let Some(answer) = place(&mut answers, error.index()) else { continue };
            if passes(error) {
                let why = error.error_message().unwrap_or("without a reason");
                return Err(Error::retryable(format!("Comprehend failed on a text: {why}")));
            }
            self.metrics.refused_text();
            tracing::warn!(
                code = error.error_code(),
                reason = error.error_message(),
                "Comprehend refuses a text: its row has no sentiment"
            );
            *answer = Some(None);
        }
        let unanswered = || Error::retryable("Comprehend left a text without an answer");
        answers.into_iter().map(|answer| answer.ok_or_else(unanswered)).collect()
    }
}

#[async_trait]
impl Engine for Comprehend {
    fn name(&self) -> &str {
        "comprehend-2017-11-27"
    }

    fn batch_size(&self) -> usize {
        BATCH
    }

    fn at_once(&self) -> usize {
        self.config.requests_at_once
    }

    async fn judge(
        &self,
        language: Option<Language>,
        texts: &[String],
    ) -> Result<Vec<Option<Judged>>> {
        let code = match language {
            Some(language) => LanguageCode::from(language.code()),
            None => LanguageCode::from(self.config.fallback_language.code()),
        };
        let sent = texts.iter().map(|text| beginning(text).to_owned());
        let call = self.aws.comprehend().await.batch_detect_sentiment();
        let output = call.language_code(code).set_text_list(Some(sent.collect())).send().await;
        let output = output.map_err(|error| {
            let what = "ask Comprehend for sentiments";
            Call { what, needs: "comprehend:BatchDetectSentiment" }.failed(error)
        })?;
        self.metrics.asked_remotely(texts.iter().map(|text| units(beginning(text))).sum());
        self.answers(texts.len(), &output)
    }
}

fn place<T>(answers: &mut [T], index: Option<i32>) -> Option<&mut T> {
    answers.get_mut(usize::try_from(index?).ok()?)
}

/// Whether asking again may help.
fn passes(error: &BatchItemError) -> bool {
    matches!(error.error_code(), Some("INTERNAL_SERVER_ERROR" | "InternalServerException") | None)
}

/// As much of `text` as is sent.
fn beginning(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST)).unwrap_or(text)
}

/// What a text costs, in units.
fn units(text: &str) -> u64 {
    text.chars().count().div_ceil(UNIT).max(LEAST_UNITS) as u64
}

/// What an answer says; none where it says nothing that is known.
fn judged(
    sentiment: Option<&SentimentType>,
    scores: Option<&SentimentScore>,
    mixed: bool,
) -> Option<Judged> {
    let scores = scores?;
    let score = |score: Option<f32>| score.filter(|score| score.is_finite()).unwrap_or(0.0);
    let negative = score(scores.negative());
    let neutral = score(scores.neutral());
    let positive = score(scores.positive());
    let label = match sentiment? {
        SentimentType::Negative => Label::Negative,
        SentimentType::Neutral => Label::Neutral,
        SentimentType::Positive => Label::Positive,
        SentimentType::Mixed if mixed => Label::Mixed,
        SentimentType::Mixed => Label::likeliest(negative, neutral, positive),
        _ => return None,
    };
    let confidence = match label {
        Label::Negative => negative,
        Label::Neutral => neutral,
        Label::Positive => positive,
        Label::Mixed => score(scores.mixed()),
    };
    Some(Judged { label, score: (positive - negative).clamp(-1.0, 1.0), confidence })
}
