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
    /// What the text asks for, beside how it feels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<IntentConfig>,
}

/// What a text asks for: rules first, then a model. At least one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntentConfig {
    /// The column that the stage adds, with the name of an intent; NULL where none is told.
    pub into: String,
    /// Rules in their order: the first one of which a phrase is found says the intent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<IntentRule>,
    /// A model file that `train_intents` wrote. It is asked where no rule says anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// One intent and how it is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IntentRule {
    /// Its name in the column.
    pub intent: String,
    /// Words and idioms, as whole words, whatever their case and accents. One that ends in `*`
    /// matches any ending: `factur*`.
    pub phrases: Vec<String>,
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
    /// A transformer of your own, computed by the program: slow, and better where it was trained well.
    #[cfg(feature = "transformer")]
    Transformer(TransformerConfig),
    /// Amazon Comprehend, asked for each text once: BatchDetectSentiment. A replay may label
    /// differently, since its model changes.
    #[cfg(feature = "comprehend")]
    Comprehend(ComprehendConfig),
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

/// A sequence classifier of the kind of XLM-RoBERTa, on this machine's processor.
#[cfg(feature = "transformer")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// The folder with `config.json`, `tokenizer.json` and `model.safetensors`.
    pub folder: String,
    /// What the model calls negative, neutral and positive, where it does not call them that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelNames>,
    /// A longer text is cut after so many of the model's tokens.
    #[serde(default = "default_max_tokens")]
    #[schemars(range(min = 8, max = 8192))]
    pub max_tokens: usize,
    /// Texts that are computed at once.
    #[serde(default = "default_batch_size")]
    #[schemars(range(min = 1, max = 256))]
    pub batch_size: usize,
}

/// The names of a model's labels, as its `config.json` has them in `id2label`.
#[cfg(feature = "transformer")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelNames {
    /// Of negative texts.
    pub negative: String,
    /// Of neutral texts; left out where the model has no such label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neutral: Option<String>,
    /// Of positive texts.
    pub positive: String,
}

#[cfg(feature = "transformer")]
fn default_max_tokens() -> usize {
    128
}

#[cfg(feature = "transformer")]
fn default_batch_size() -> usize {
    32
}

/// How Comprehend is asked. `aws` has the region, and how to log in.
#[cfg(feature = "comprehend")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComprehendConfig {
    /// Calls on their way at once, of 25 texts each.
    #[serde(default = "default_requests_at_once")]
    #[schemars(range(min = 1, max = 32))]
    pub requests_at_once: usize,
    /// The language that a text is asked in of which none can be told: one of pictures alone.
    #[serde(default)]
    pub fallback_language: FallbackLanguage,
}

#[cfg(feature = "comprehend")]
fn default_requests_at_once() -> usize {
    4
}

/// A language of texts without words.
#[cfg(feature = "comprehend")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FallbackLanguage {
    /// Spanish.
    #[default]
    Es,
    /// English.
    En,
}

#[cfg(feature = "comprehend")]
impl FallbackLanguage {
    /// Its code.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Es => "es",
            Self::En => "en",
        }
    }
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
