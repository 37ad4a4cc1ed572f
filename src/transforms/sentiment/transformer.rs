//! Classifiers from a folder in the layout of Hugging Face: `config.json`, `tokenizer.json` and
//! `model.safetensors`.
//!
//! The networks are those of XLM-RoBERTa, RoBERTa and BERT, with a head that classifies the first
//! token. They run on the processor, in floats of 32 bits whatever the weights are stored as.

#[cfg(test)]
#[path = "transformer_tests.rs"]
mod tests;

use std::collections::BTreeMap;
use std::iter::repeat_n;
use std::path::Path;

use candle_core::safetensors::BufferedSafetensors;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Linear, Module as _, VarBuilder};
use candle_transformers::models::bert::BertModel;
use candle_transformers::models::xlm_roberta::XLMRobertaForSequenceClassification as Roberta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokenizers::{PostProcessor as _, Tokenizer, TruncationParams};

use crate::error::{Error, ErrorKind, Result, ResultExt as _};

/// What `model_type` in `config.json` may be.
const ALLOWED_TYPES: &str = "xlm-roberta, roberta, bert";
/// What the labels may be.
const ALLOWED_LABELS: &str = "negative, neutral and positive; negative and positive; 1 star to \
    5 stars; others only where `labels` names those of negative, neutral and positive";

/// A classifier from a folder.
pub(super) struct Transformer {
    name: String,
    tokenizer: Tokenizer,
    network: Network,
    /// What each of the model's labels counts for.
    sides: Vec<Side>,
    /// The token that fills short texts up.
    pad: u32,
    batch_size: usize,
}

/// How a classifier is to be used.
pub(super) struct Options {
    /// Tokens of a text that are read, special ones included; fewer where the model cannot tell so
    /// many places apart.
    pub(super) max_tokens: usize,
    /// Texts that go through the network together.
    pub(super) batch_size: usize,
    /// Names of negative, neutral and positive in `id2label` of `config.json`, where they do not
    /// tell themselves. That of neutral is empty where the model has no such label.
    pub(super) labels: Option<[String; 3]>,
}

impl Transformer {
    /// The classifier in `folder`. What does not fit together is refused here, not at the first
    /// text: one text without words goes through the network as a trial.
    pub(super) fn read(folder: &Path, options: &Options) -> Result<Self> {
        let config = folder.join("config.json");
        let settings = Settings::parse(&bytes(&config)?).map_err(refusal(&config))?;
        let sides = settings.sides(options.labels.as_ref()).map_err(refusal(&config))?;

        let path = folder.join("tokenizer.json");
        let tokenizer = Tokenizer::from_bytes(bytes(&path)?);
        let mut tokenizer = tokenizer.map_err(|error| refusal(&path)(error.to_string()))?;
        let pad = settings.pad(&tokenizer).map_err(refusal(&path))?;
        let most = settings.most_tokens(pad).map_err(refusal(&config))?;
        let max_tokens = options.max_tokens.min(most);
        prepare(&mut tokenizer, max_tokens, &settings.sizes).map_err(refusal(&path))?;

        let path = folder.join("model.safetensors");
        let weights = bytes(&path)?;
        let name = format!("{}-{}", folder_name(folder), digest(&weights));
        let network = tensors(weights).and_then(|it| Network::load(&it, &settings, pad));
        let network = network.map_err(|error| refusal(&path)(reason(&error)))?;

        let batch_size = options.batch_size.max(1);
        let read = Self { name, tokenizer, network, sides, pad, batch_size };
        let trial = read.tokens("").and_then(|tokens| read.classify(&[(0, tokens)]));
        trial.map_err(|error| refusal(&path)(error.to_string()))?;
        Ok(read)
    }

    /// The folder's name and the first digits of the SHA-256 of the weights.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Probabilities of negative, neutral and positive of each text, in order.
    pub(super) fn shares(&self, texts: &[&str]) -> Result<Vec<[f32; 3]>> {
        let logits = self.logits(texts)?;
        Ok(logits.iter().map(|logits| shares(logits, &self.sides)).collect())
    }

    /// What the network gives for each of its own labels, of each text in order. Texts of like
    /// length go through it together, so that little is padded.
    pub(super) fn logits(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let rows = texts.iter().map(|text| self.tokens(text)).collect::<Result<Vec<_>>>()?;
        let mut rows: Vec<_> = rows.into_iter().enumerate().collect();
        rows.sort_by_key(|(_, tokens)| tokens.len());
        let mut results = Vec::with_capacity(rows.len());
        for batch in rows.chunks(self.batch_size) {
            let places = batch.iter().map(|(place, _)| *place);
            results.extend(places.zip(self.classify(batch)?));
        }
        results.sort_by_key(|(place, _)| *place);
        Ok(results.into_iter().map(|(_, logits)| logits).collect())
    }

    /// The tokens of a text, special ones included.
    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.tokenizer.encode_fast(text, true);
        let said = || format!("{} cannot split a text into tokens", self.name);
        Ok(encoding.or_error(ErrorKind::Fatal, said)?.get_ids().to_vec())
    }

    /// The logits of texts that go through the network together. Each comes with its place, which
    /// is not looked at.
    fn classify(&self, batch: &[(usize, Vec<u32>)]) -> Result<Vec<Vec<f32>>> {
        let said = || format!("{} cannot classify a batch", self.name);
        let logits = self.forward(batch).map_err(|error| reason(&error));
        let logits = logits.or_error(ErrorKind::Fatal, said)?;
        match logits.iter().flatten().all(|logit| logit.is_finite()) {
            true => Ok(logits),
            false => Err(Error::fatal(format!("{} gives what is not a number", self.name))),
        }
    }

    fn forward(&self, batch: &[(usize, Vec<u32>)]) -> candle_core::Result<Vec<Vec<f32>>> {
        let longest = batch.iter().map(|(_, tokens)| tokens.len()).max().unwrap_or(0);
        let mut tokens = Vec::with_capacity(batch.len() * longest);
        let mut mask = Vec::with_capacity(batch.len() * longest);
        for (_, text) in batch {
            let missing = longest - text.len();
            tokens.extend(text.iter().copied().chain(repeat_n(self.pad, missing)));
            mask.extend(repeat_n(1_u32, text.len()).chain(repeat_n(0, missing)));
        }
        let shape = (batch.len(), longest);
        let tokens = Tensor::from_vec(tokens, shape, &Device::Cpu)?;
        let mask = Tensor::from_vec(mask, shape, &Device::Cpu)?;
        self.network.forward(&tokens, &mask)?.to_vec2()
    }
}

/// The layers.
enum Network {
    Roberta(Roberta),
    Bert { encoder: BertModel, pooler: Linear, classifier: Linear },
}

impl Network {
    fn load(weights: &VarBuilder, settings: &Settings, pad: u32) -> candle_core::Result<Self> {
        let (sizes, labels) = (&settings.sizes, settings.labels.len());
        match settings.family {
            Family::Roberta => {
                let config = sizes.of_network(pad)?;
                Ok(Self::Roberta(Roberta::new(labels, &config, weights.clone())?))
            }
            Family::Bert => {
                let (inside, hidden) = (weights.pp("bert"), sizes.hidden_size);
                Ok(Self::Bert {
                    encoder: BertModel::load(inside.clone(), &sizes.of_network(pad)?)?,
                    pooler: candle_nn::linear(hidden, hidden, inside.pp("pooler.dense"))?,
                    classifier: candle_nn::linear(hidden, labels, weights.pp("classifier"))?,
                })
            }
        }
    }

    /// A row of logits for each row of `tokens`. Of these, `mask` has 1 where they are a text's.
    fn forward(&self, tokens: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        let kinds = tokens.zeros_like()?;
        match self {
            Self::Roberta(network) => network.forward(tokens, mask, &kinds),
            Self::Bert { encoder, pooler, classifier } => {
                let tokens = encoder.forward(tokens, &kinds, Some(mask))?;
                let first = tokens.get_on_dim(1, 0)?.contiguous()?;
                classifier.forward(&pooler.forward(&first)?.tanh()?)
            }
        }
    }
}

/// What the layers are like.
#[derive(Clone, Copy)]
enum Family {
    /// RoBERTa and XLM-RoBERTa, which differ in nothing but tokens.
    Roberta,
    Bert,
}

/// What is read of `config.json`.
struct Settings {
    family: Family,
    sizes: Sizes,
    labels: Vec<String>,
    pad_token_id: Option<u32>,
}

/// Sizes of the layers, by their names in `config.json`.
#[derive(Deserialize)]
struct Sizes {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f64,
}

/// What `config.json` says besides sizes.
#[derive(Deserialize)]
struct Kind {
    model_type: Option<String>,
    problem_type: Option<String>,
    position_embedding_type: Option<String>,
    hidden_act: Option<String>,
    pad_token_id: Option<u32>,
    #[serde(default)]
    id2label: BTreeMap<usize, String>,
}

impl Settings {
    /// The settings in `json`, or why they are refused.
    fn parse(json: &[u8]) -> Result<Self, String> {
        // What it is comes first: another kind of model has other sizes.
        let kind: Kind = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let not_allowed = |name: &str, found: &str, allowed: &str| {
            Err(format!("`{name}` is {found}; allowed: {allowed}"))
        };
        let family = match kind.model_type.as_deref() {
            Some("xlm-roberta" | "roberta") => Family::Roberta,
            Some("bert") => Family::Bert,
            Some(other) => return not_allowed("model_type", other, ALLOWED_TYPES),
            None => return Err(format!("has no `model_type`; allowed: {ALLOWED_TYPES}")),
        };
        let only = [
            ("problem_type", kind.problem_type, "single_label_classification"),
            ("position_embedding_type", kind.position_embedding_type, "absolute"),
            ("hidden_act", kind.hidden_act, "gelu"),
        ];
        for (name, found, allowed) in only {
            if let Some(found) = found.filter(|found| found != allowed) {
                return not_allowed(name, &found, allowed);
            }
        }
        let sizes: Sizes = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        sizes.check()?;
        let labels = kind.id2label;
        if let Some(missing) = (0..labels.len().max(1)).find(|id| !labels.contains_key(id)) {
            return Err(format!("`id2label` has no label {missing}"));
        }
        let labels = labels.into_values().collect();
        Ok(Self { family, sizes, labels, pad_token_id: kind.pad_token_id })
    }

    /// What each of the model's labels counts for. `told` are the names in [`Options::labels`].
    fn sides(&self, told: Option<&[String; 3]>) -> Result<Vec<Side>, String> {
        let found = self.labels.join(", ");
        let labels: Vec<String> = self.labels.iter().map(|name| name.to_lowercase()).collect();
        if let Some(told) = told {
            let names = told.join(", ");
            return Side::told(&labels, told).ok_or_else(|| {
                format!("the labels are {found}, but `labels` is {names}: it must name each once")
            });
        }
        Side::of_words(&labels).or_else(|| Side::of_stars(&labels)).ok_or_else(|| {
            format!("the labels {found} do not tell what they mean; allowed: {ALLOWED_LABELS}")
        })
    }

    /// The token that fills short texts up.
    fn pad(&self, tokenizer: &Tokenizer) -> Result<u32, String> {
        let pad = self
            .pad_token_id
            .or_else(|| tokenizer.get_padding().map(|padding| padding.pad_id))
            .or_else(|| ["<pad>", "[PAD]"].iter().find_map(|pad| tokenizer.token_to_id(pad)))
            .ok_or("neither config.json nor this file names the token that pads")?;
        self.sizes.has(pad).map(|()| pad)
    }

    /// The most tokens that the model can tell the places of.
    fn most_tokens(&self, pad: u32) -> Result<usize, String> {
        let places = self.sizes.max_position_embeddings;
        let most = match self.family {
            Family::Bert => places,
            // Counting starts behind the place of what pads.
            Family::Roberta => places.saturating_sub(pad as usize + 1),
        };
        match most {
            0 => Err(format!("`max_position_embeddings` of {places} leaves no place for a token")),
            _ => Ok(most),
        }
    }
}

impl Sizes {
    fn check(&self) -> Result<(), String> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("`{name}` is 0"));
        }
        let (size, heads) = (self.hidden_size, self.num_attention_heads);
        match size.is_multiple_of(heads) {
            true => Ok(()),
            false => Err(format!("`hidden_size` of {size} cannot be shared among {heads} heads")),
        }
    }

    /// That `token` is one of the network's.
    fn has(&self, token: u32) -> Result<(), String> {
        let size = self.vocab_size;
        let beyond = || format!("token {token} is beyond `vocab_size` of config.json, {size}");
        ((token as usize) < size).then_some(()).ok_or_else(beyond)
    }

    /// The settings of candle's networks, which have the same names.
    fn of_network<T: DeserializeOwned>(&self, pad: u32) -> candle_core::Result<T> {
        let settings = json!({
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "intermediate_size": self.intermediate_size,
            "max_position_embeddings": self.max_position_embeddings,
            "type_vocab_size": self.type_vocab_size,
            "layer_norm_eps": self.layer_norm_eps,
            "pad_token_id": pad,
            "position_embedding_type": "absolute",
            "hidden_act": "gelu",
            // For training alone.
            "attention_probs_dropout_prob": 0.0,
            "hidden_dropout_prob": 0.0,
            "initializer_range": 0.0,
        });
        serde_json::from_value(settings).map_err(candle_core::Error::wrap)
    }
}

/// What a label counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Negative,
    Neutral,
    Positive,
}

impl Side {
    const ALL: [Self; 3] = [Self::Negative, Self::Neutral, Self::Positive];

    /// Of labels that tell themselves by words. All names are in lower case.
    fn of_words(labels: &[String]) -> Option<Vec<Self>> {
        let side = |label: &String| match label.as_str() {
            "negative" | "neg" | "negativo" => Some(Self::Negative),
            "neutral" | "neu" | "neutro" => Some(Self::Neutral),
            "positive" | "pos" | "positivo" => Some(Self::Positive),
            _ => None,
        };
        Self::each_once(labels.iter().map(side).collect())
    }

    /// Of the labels from `1 star` to `5 stars`.
    fn of_stars(labels: &[String]) -> Option<Vec<Self>> {
        let stars = |label: &String| match label.split_once(' ') {
            Some((count, "star" | "stars")) => count.parse::<u32>().ok(),
            _ => None,
        };
        let counts: Vec<u32> = labels.iter().map(stars).collect::<Option<_>>()?;
        let mut sorted = counts.clone();
        sorted.sort_unstable();
        let side = |count: u32| match count {
            ..3 => Self::Negative,
            3 => Self::Neutral,
            4.. => Self::Positive,
        };
        (sorted == [1, 2, 3, 4, 5]).then(|| counts.into_iter().map(side).collect())
    }

    /// Of labels whose meaning is `told`: the names of negative, neutral and positive.
    fn told(labels: &[String], told: &[String; 3]) -> Option<Vec<Self>> {
        let told = told.iter().map(|name| name.to_lowercase()).zip(Self::ALL);
        let told: Vec<_> = told.filter(|(name, _)| !name.is_empty()).collect();
        let side =
            |label: &String| told.iter().find(|(name, _)| name == label).map(|(_, side)| *side);
        let sides = Self::each_once(labels.iter().map(side).collect())?;
        (sides.len() == told.len()).then_some(sides)
    }

    /// `sides`, where negative and positive are among them and none is there twice.
    fn each_once(sides: Option<Vec<Self>>) -> Option<Vec<Self>> {
        let sides = sides?;
        let count = |wanted: Self| sides.iter().filter(|side| **side == wanted).count();
        let is_sound =
            count(Self::Negative) == 1 && count(Self::Positive) == 1 && count(Self::Neutral) <= 1;
        is_sound.then_some(sides)
    }
}

/// Probabilities of negative, neutral and positive, of the logits of one text.
fn shares(logits: &[f32], sides: &[Side]) -> [f32; 3] {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |logit: &f32| (logit - most).exp();
    let all: f32 = logits.iter().map(weight).sum();
    Side::ALL.map(|wanted| {
        let own = logits.iter().zip(sides).filter(|(_, side)| **side == wanted);
        own.map(|(logit, _)| weight(logit)).sum::<f32>() / all
    })
}

/// Has `tokenizer` cut texts at `max_tokens`, its special tokens included, and pad nothing.
fn prepare(tokenizer: &mut Tokenizer, max_tokens: usize, sizes: &Sizes) -> Result<(), String> {
    let last = tokenizer.get_vocab(true).into_values().max();
    last.map_or(Ok(()), |last| sizes.has(last))?;
    let processor = serde_json::to_value(tokenizer.get_post_processor());
    if !processor.is_ok_and(|processor| is_sound(&processor)) {
        return Err("the template of its `post_processor` is not sound".to_owned());
    }
    let added = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
    if added == 0 {
        return Err("adds no special tokens, and the model judges by the first".to_owned());
    }
    // The tokenizer would subtract them unchecked.
    if max_tokens <= added {
        return Err(format!(
            "adds {added} special tokens, so that `max_tokens` must be more, not {max_tokens}"
        ));
    }
    let cut = TruncationParams { max_length: max_tokens, ..TruncationParams::default() };
    tokenizer.with_padding(None).with_truncation(Some(cut)).map_err(|error| error.to_string())?;
    Ok(())
}

/// That templates have no text but the one, and no special token that they do not explain: the
/// tokenizer takes both for granted.
fn is_sound(processor: &Value) -> bool {
    let list = |name: &str| processor.get(name).and_then(Value::as_array).into_iter().flatten();
    let known = processor.get("special_tokens").and_then(Value::as_object);
    list("processors").all(is_sound)
        && list("single").all(|piece| match piece.pointer("/SpecialToken/id") {
            Some(id) => known.zip(id.as_str()).is_some_and(|(known, id)| known.contains_key(id)),
            None => piece.pointer("/Sequence/id").is_none_or(|id| id == "A"),
        })
}

fn bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).or_error(ErrorKind::Config, || format!("cannot read {}", path.display()))
}

/// Makes an error of the reason why the file at `path` is refused.
fn refusal(path: &Path) -> impl Fn(String) -> Error {
    move |reason| Error::config(format!("{}: {reason}", path.display()))
}

/// The error without a backtrace, which candle prints with it where the environment asks for one.
fn reason(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => reason(inner),
        error => error.to_string(),
    }
}

/// The tensors of a file, as floats of 32 bits. Those of fewer than 16 are refused: they mean
/// nothing without the scales beside them.
fn tensors(bytes: Vec<u8>) -> candle_core::Result<VarBuilder<'static>> {
    let file = BufferedSafetensors::new(bytes)?;
    for (name, tensor) in file.tensors() {
        let is_weight = name.ends_with(".weight") || name.ends_with(".bias");
        let kind = format!("{:?}", tensor.dtype());
        if is_weight && !["F64", "F32", "F16", "BF16"].contains(&kind.as_str()) {
            candle_core::bail!("tensor `{name}` is of {kind}; allowed: F64, F32, F16, BF16");
        }
    }
    Ok(VarBuilder::from_backend(Box::new(file), DType::F32, Device::Cpu))
}

/// The last part of the folder's path.
fn folder_name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_default();
    let name = folder.file_name().or_else(|| whole.file_name());
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// The first 12 digits of the SHA-256.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
