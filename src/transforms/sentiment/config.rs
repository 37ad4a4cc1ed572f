//! The settings of the stage.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Adds whether a text is content, displeased or neither, how surely, and in which language it is
/// written. What the labels mean stands in `docs/sentiment-labels.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SentimentConfig {
    /// The text: a column, or `COLUMN.MEMBER` of a struct. A row without text is neutral, with a
    /// confidence of 0; a delete without text has no sentiment.
    pub text: String,
    /// The text's language, where the data knows it: a column, or `COLUMN.MEMBER` of a struct, with
    /// tags like `es` or `en-US`. Where it is null, or no language that the model judges, the model
    /// tells Spanish from English itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The columns that the stage adds. At least one.
    pub into: IntoColumns,
    /// What judges.
    #[serde(default)]
    pub engine: EngineConfig,
    /// The shares of labels that your messages have, as far as you know. The model expects as many
    /// of each; most chats are more neutral than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priors: Option<Priors>,
    /// A text whose clauses feel the opposite of each other, both strongly, is MIXED.
    #[serde(default)]
    pub mixed: bool,
}

/// Names of the columns that the stage adds; what has no name is not added.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntoColumns {
    /// `POSITIVE`, `NEGATIVE`, `NEUTRAL`, or `MIXED` where it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The probability of positive less that of negative: a number from -1 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// The probability of the label: a number from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<String>,
    /// `es` or `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Name and version of the model that judged, so that rows of an older one can be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl IntoColumns {
    /// Each setting with the name that it gives, in the order of the verdict's members.
    pub(super) fn names(&self) -> [(&'static str, Option<&str>); 5] {
        [
            ("label", self.label.as_deref()),
            ("score", self.score.as_deref()),
            ("confidence", self.confidence.as_deref()),
            ("language", self.language.as_deref()),
            ("model", self.model.as_deref()),
        ]
    }
}

/// What judges: exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EngineConfig {
    /// A small model for Spanish and English, inside the program: offline, and the same text always
    /// has the same label.
    Embedded(EmbeddedConfig),
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self::Embedded(EmbeddedConfig::default())
    }
}

/// The small model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddedConfig {
    /// A model file of your own, as `train_sentiment` writes it; the program's own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// Shares of labels. They need not add up to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Priors {
    /// Of negative ones.
    #[schemars(range(min = 0.0001, max = 10000.0))]
    pub negative: f64,
    /// Of neutral ones.
    #[schemars(range(min = 0.0001, max = 10000.0))]
    pub neutral: f64,
    /// Of positive ones.
    #[schemars(range(min = 0.0001, max = 10000.0))]
    pub positive: f64,
}
