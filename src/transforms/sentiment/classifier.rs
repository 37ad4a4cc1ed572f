//! A transformer as an engine of the stage.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::SettingMistake;
use super::config::TransformerConfig;
use super::engine::{Engine, Judged};
use super::transformer::{Options, Transformer};
use crate::component::Context;
use crate::compute::{self, Compute};
use crate::error::Result;
use crate::sentiment::{Judging, Label, Language};

/// Judges on the threads for computing, one batch after the other: a batch takes all cores by itself.
pub(super) struct Classifier {
    transformer: Arc<Transformer>,
    batch_size: usize,
    judging: Judging,
    compute: Arc<dyn Compute>,
}

/// The transformer that the settings name, read whole.
pub(super) fn read(config: &TransformerConfig) -> Result<Transformer, SettingMistake> {
    let labels = config.labels.clone();
    let options = Options {
        max_tokens: config.max_tokens,
        batch_size: config.batch_size,
        labels: labels
            .map(|names| [names.negative, names.neutral.unwrap_or_default(), names.positive]),
    };
    Transformer::read(Path::new(&config.folder), &options).map_err(|error| SettingMistake {
        path: vec!["engine", "transformer"],
        what: error.to_string(),
        allowed: "a folder with config.json, tokenizer.json and model.safetensors of a sequence \
                  classifier of the kind of XLM-RoBERTa"
            .to_owned(),
        meant: None,
    })
}

impl Classifier {
    /// The transformer that the settings name, with `judging`'s priors.
    pub(super) fn new(
        config: &TransformerConfig,
        judging: Judging,
        context: &Context,
    ) -> Result<Self, SettingMistake> {
        let (transformer, compute) = (Arc::new(read(config)?), context.compute.clone());
        Ok(Self { transformer, batch_size: config.batch_size, judging, compute })
    }
}

#[async_trait]
impl Engine for Classifier {
    fn name(&self) -> &str {
        self.transformer.name()
    }

    fn batch_size(&self) -> usize {
        self.batch_size
    }

    fn at_once(&self) -> usize {
        1
    }

    async fn judge(&self, _: Option<Language>, texts: &[String]) -> Result<Vec<Option<Judged>>> {
        let (transformer, texts) = (self.transformer.clone(), texts.to_vec());
        let shares = compute::run(&self.compute, move || {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            transformer.shares(&texts)
        });
        let shares = shares.await??;
        Ok(shares.into_iter().map(|shares| Some(judged(shares, &self.judging))).collect())
    }
}

/// What shares of negative, neutral and positive say, weighted by the priors.
fn judged([negative, neutral, positive]: [f32; 3], judging: &Judging) -> Judged {
    let [more_negative, more_positive] = judging.priors;
    let (negative, positive) = (negative * more_negative.exp(), positive * more_positive.exp());
    let all = (negative + neutral + positive).max(f32::MIN_POSITIVE);
    let label = Label::likeliest(negative, neutral, positive);
    let most = negative.max(neutral).max(positive);
    Judged { label, score: (positive - negative) / all, confidence: most / all }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_labels_and_priors_move_them() {
        let even = Judging::default();
        let judged = |judging: &Judging| judged([0.5, 0.3, 0.2], judging);
        assert_eq!(judged(&even).label, Label::Negative);
        assert!((judged(&even).score + 0.3).abs() < 1e-6);
        assert!((judged(&even).confidence - 0.5).abs() < 1e-6);
        let neutral = judged(&even.with_shares(0.2, 0.7, 0.1));
        assert_eq!(neutral.label, Label::Neutral);
        assert!(neutral.score > -0.3 && neutral.confidence > 0.5);
    }
}
