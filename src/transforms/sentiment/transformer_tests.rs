//! Tests of the classifiers, with tiny models made here and a second computation of what they say.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use futures::FutureExt as _;
use insta::assert_snapshot;
use tempfile::TempDir;

use super::super::tests::{batch, config, schema, texts_of};
use super::super::{SentimentTransform, check};
use super::*;
use crate::component::Transform as _;
use crate::transforms::SettingMistake;

const HIDDEN: usize = 16;
const HEADS: usize = 2;
const INNER: usize = 32;
const LAYERS: usize = 2;
const VOCABULARY: usize = 40;
const PLACES: usize = 30;
const EPSILON: f64 = 1e-5;

/// Words of the tokenizer, in the order of their numbers, behind the four special tokens.
const WORDS: [&str; 12] = [
    "muy", "bueno", "malo", "gracias", "no", "funciona", "la", "entrega", "llegó", "tarde", "todo",
    "bien",
];

const TEXTS: [&str; 6] = [
    "gracias todo muy bien",
    "malo",
    "la entrega llegó tarde no funciona muy malo no no no",
    "",
    "todo bueno desconocida",
    "no funciona la entrega muy muy muy tarde",
];

/// Numbers from -1 to 1, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    fn matrix(&mut self, shape: &[usize], size: f32, middle: f32) -> Tensor {
        let count = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|_| self.next() * size + middle).collect();
        Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }
}

/// A model in a folder, and what it was made of.
struct Model {
    folder: TempDir,
    config: Value,
    tokenizer: Value,
    weights: HashMap<String, Tensor>,
}

impl Model {
    /// A model of XLM-RoBERTa: a unigram tokenizer, a head of two layers.
    fn roberta() -> Self {
        let pieces = ["<s>", "<pad>", "</s>", "<unk>"].map(str::to_owned).into_iter();
        let pieces: Vec<Value> = pieces
            .map(|piece| json!([piece, 0.0]))
            .chain(WORDS.iter().map(|word| json!([format!("▁{word}"), -2.0])))
            .chain((0..VOCABULARY - 16).map(|number| json!([format!("{number}@"), -9.0])))
            .collect();
        let tokenizer = json!({
            "version": "1.0",
            "truncation": { "direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 0 },
            "padding": { "strategy": { "Fixed": 9 }, "direction": "Left", "pad_to_multiple_of": null,
                "pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>" },
            "added_tokens": special(&["<s>", "<pad>", "</s>", "<unk>"]),
            "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true },
            "post_processor": template(["<s>", "</s>"], [0, 2]),
            "model": { "type": "Unigram", "unk_id": 3, "byte_fallback": false, "vocab": pieces },
        });
        let config = json!({
            "architectures": ["XLMRobertaForSequenceClassification"],
            "attention_probs_dropout_prob": 0.1, "bos_token_id": 0, "eos_token_id": 2,
            "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": HIDDEN,
            "id2label": { "0": "negative", "1": "neutral", "2": "positive" },
            "intermediate_size": INNER, "layer_norm_eps": EPSILON,
            "max_position_embeddings": PLACES, "model_type": "xlm-roberta",
            "num_attention_heads": HEADS, "num_hidden_layers": LAYERS, "pad_token_id": 1,
            "position_embedding_type": "absolute", "type_vocab_size": 1, "vocab_size": VOCABULARY,
        });
        let mut weights = layers("roberta", 1);
        let mut numbers = Numbers(99);
        add_linear(&mut weights, &mut numbers, "classifier.dense", HIDDEN, HIDDEN);
        add_linear(&mut weights, &mut numbers, "classifier.out_proj", HIDDEN, 3);
        Self { folder: TempDir::new().unwrap(), config, tokenizer, weights }
    }

    /// A model of BERT with labels of stars: a tokenizer of whole words, a pooler.
    fn bert() -> Self {
        let names = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"];
        let all = names.iter().chain(&WORDS).enumerate();
        let words: HashMap<&str, usize> = all.map(|(number, word)| (*word, number)).collect();
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": special(&names),
            "pre_tokenizer": { "type": "WhitespaceSplit" },
            "post_processor": template(["[CLS]", "[SEP]"], [1, 2]),
            "model": { "type": "WordLevel", "unk_token": "[UNK]", "vocab": words },
        });
        let mut model = Self::roberta();
        let own = json!({ "model_type": "bert", "type_vocab_size": 2, "pad_token_id": 0, "id2label": {
            "0": "1 star", "1": "2 stars", "2": "3 stars", "3": "4 stars", "4": "5 stars" } });
        for (key, value) in own.as_object().unwrap() {
            model.config[key] = value.clone();
        }
        let mut weights = layers("bert", 2);
        let mut numbers = Numbers(77);
        add_linear(&mut weights, &mut numbers, "bert.pooler.dense", HIDDEN, HIDDEN);
        add_linear(&mut weights, &mut numbers, "classifier", HIDDEN, 5);
        Self { tokenizer, weights, ..model }
    }

    /// With labels of such names, in their order.
    fn labels(mut self, names: &[&str]) -> Self {
        let pairs = names.iter().enumerate();
        self.config["id2label"] =
            pairs.map(|(id, name)| (id.to_string(), json!(name))).collect::<Value>();
        let mut numbers = Numbers(names.len() as u64);
        add_linear(&mut self.weights, &mut numbers, "classifier.out_proj", HIDDEN, names.len());
        self
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("xlm-t")
    }

    fn write(&self) {
        fs::create_dir_all(self.path()).unwrap();
        fs::write(self.path().join("config.json"), self.config.to_string()).unwrap();
        fs::write(self.path().join("tokenizer.json"), self.tokenizer.to_string()).unwrap();
        candle_core::safetensors::save(&self.weights, self.path().join("model.safetensors"))
            .unwrap();
    }

    fn read(&self, options: &Options) -> Transformer {
        self.write();
        Transformer::read(&self.path(), options).unwrap()
    }

    /// Why the folder, as it is, is refused.
    fn refused_as_it_is(&self, options: &Options) -> String {
        let error = Transformer::read(&self.path(), options).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        let refusal = error.to_string().replace(self.folder.path().to_str().unwrap(), "models");
        match fs::read(self.path().join("model.safetensors")) {
            Ok(weights) => refusal.replace(&digest(&weights), "DIGEST"),
            Err(_) => refusal,
        }
    }

    fn refused(&self, options: &Options) -> String {
        self.write();
        self.refused_as_it_is(options)
    }

    /// Why the model is refused with `value` at `key` of its configuration.
    fn refused_with(&mut self, key: &str, value: Value) -> String {
        let before = self.config[key].clone();
        self.config[key] = value;
        let refusal = self.refused(&options());
        self.config[key] = before;
        refusal
    }
}

fn options() -> Options {
    Options { max_tokens: 512, batch_size: 4, labels: None }
}

fn told(names: [&str; 3]) -> Options {
    Options { labels: Some(names.map(str::to_owned)), ..options() }
}

fn special(names: &[&str]) -> Value {
    let token = |(id, content): (usize, &&str)| {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true })
    };
    names.iter().enumerate().map(token).collect()
}

/// The first token, the text, the last token.
fn template(names: [&str; 2], ids: [u32; 2]) -> Value {
    let token = |name: &str| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let text = json!({ "Sequence": { "id": "A", "type_id": 0 } });
    let of = |name: &str, id: u32| json!({ "id": name, "ids": [id], "tokens": [name] });
    let single = json!([token(names[0]), text, token(names[1])]);
    json!({ "type": "TemplateProcessing", "single": single.clone(), "pair": single,
        "special_tokens": { names[0]: of(names[0], ids[0]), names[1]: of(names[1], ids[1]) } })
}

fn add_linear(
    weights: &mut HashMap<String, Tensor>,
    numbers: &mut Numbers,
    name: &str,
    from: usize,
    to: usize,
) {
    weights.insert(format!("{name}.weight"), numbers.matrix(&[to, from], 0.6, 0.0));
    weights.insert(format!("{name}.bias"), numbers.matrix(&[to], 0.3, 0.0));
}

/// Weights of everything below the head.
fn layers(family: &str, kinds: usize) -> HashMap<String, Tensor> {
    let (mut weights, mut numbers) = (HashMap::new(), Numbers(family.len() as u64));
    let norm = |weights: &mut HashMap<_, _>, numbers: &mut Numbers, name: &str| {
        weights.insert(format!("{name}.weight"), numbers.matrix(&[HIDDEN], 0.4, 1.0));
        weights.insert(format!("{name}.bias"), numbers.matrix(&[HIDDEN], 0.3, 0.0));
    };
    let base = format!("{family}.embeddings");
    for (name, rows) in [("word", VOCABULARY), ("position", PLACES), ("token_type", kinds)] {
        let name = format!("{base}.{name}_embeddings.weight");
        weights.insert(name, numbers.matrix(&[rows, HIDDEN], 0.8, 0.0));
    }
    norm(&mut weights, &mut numbers, &format!("{base}.LayerNorm"));
    for layer in 0..LAYERS {
        let base = format!("{family}.encoder.layer.{layer}");
        for part in ["query", "key", "value"] {
            let name = format!("{base}.attention.self.{part}");
            add_linear(&mut weights, &mut numbers, &name, HIDDEN, HIDDEN);
        }
        let [output, norms] =
            ["dense", "LayerNorm"].map(|part| format!("{base}.attention.output.{part}"));
        add_linear(&mut weights, &mut numbers, &output, HIDDEN, HIDDEN);
        norm(&mut weights, &mut numbers, &norms);
        add_linear(
            &mut weights,
            &mut numbers,
            &format!("{base}.intermediate.dense"),
            HIDDEN,
            INNER,
        );
        add_linear(&mut weights, &mut numbers, &format!("{base}.output.dense"), INNER, HIDDEN);
        norm(&mut weights, &mut numbers, &format!("{base}.output.LayerNorm"));
    }
    weights
}

/// The network once more, in plain loops.
struct Plain<'a> {
    weights: &'a HashMap<String, Tensor>,
    is_bert: bool,
}

impl Plain<'_> {
    fn numbers(&self, name: &str) -> Vec<f32> {
        let numbers = self.weights[name].to_dtype(DType::F32).unwrap();
        numbers.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The row of a table for each index, from below `base`.
    fn rows(&self, name: &str, indexes: &[u32]) -> Vec<Vec<f32>> {
        let table = self.numbers(&format!("{name}_embeddings.weight"));
        let row = |index: &u32| table[*index as usize * HIDDEN..][..HIDDEN].to_vec();
        indexes.iter().map(row).collect()
    }

    fn linear(&self, name: &str, rows: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let weight = self.numbers(&format!("{name}.weight"));
        let bias = self.numbers(&format!("{name}.bias"));
        let one = |row: &Vec<f32>| {
            let mut output = bias.clone();
            for (to, sum) in output.iter_mut().enumerate() {
                for (from, value) in row.iter().enumerate() {
                    *sum += value * weight[to * row.len() + from];
                }
            }
            output
        };
        rows.iter().map(one).collect()
    }

    fn norm(&self, name: &str, rows: &[Vec<f32>]) -> Vec<Vec<f32>> {
        let weight = self.numbers(&format!("{name}.weight"));
        let bias = self.numbers(&format!("{name}.bias"));
        let one = |row: &Vec<f32>| {
            let mean = row.iter().sum::<f32>() / HIDDEN as f32;
            let spread =
                row.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / HIDDEN as f32;
            let each = (spread + EPSILON as f32).sqrt();
            (0..HIDDEN).map(|at| (row[at] - mean) / each * weight[at] + bias[at]).collect()
        };
        rows.iter().map(one).collect()
    }

    /// What each token takes from those that `mask` has true for.
    fn attention(&self, base: &str, rows: &[Vec<f32>], mask: &[bool]) -> Vec<Vec<f32>> {
        let [queries, keys, values] =
            ["query", "key", "value"].map(|part| self.linear(&format!("{base}.self.{part}"), rows));
        let width = HIDDEN / HEADS;
        let mut output = vec![vec![0.0; HIDDEN]; rows.len()];
        for head in 0..HEADS {
            let own = head * width..(head + 1) * width;
            for (token, query) in queries.iter().enumerate() {
                let mut scores = Vec::new();
                for (key, is_there) in keys.iter().zip(mask) {
                    let score: f32 = own.clone().map(|at| query[at] * key[at]).sum();
                    let score = score / (width as f32).sqrt();
                    scores.push(if *is_there { score.exp() } else { 0.0 });
                }
                let all: f32 = scores.iter().sum();
                for (score, value) in scores.iter().zip(&values) {
                    for at in own.clone() {
                        output[token][at] += score / all * value[at];
                    }
                }
            }
        }
        output
    }

    /// The logits of `tokens`, filled up to `length`.
    fn logits(&self, tokens: &[u32], length: usize) -> Vec<f32> {
        let (family, pad) = if self.is_bert { ("bert", 0) } else { ("roberta", 1) };
        let mask: Vec<bool> = (0..length).map(|at| at < tokens.len()).collect();
        let tokens: Vec<u32> =
            tokens.iter().copied().chain(repeat_n(pad, length)).take(length).collect();
        let place = |at: usize| match (self.is_bert, mask[at]) {
            (true, _) => at as u32,
            (false, true) => pad + 1 + at as u32,
            (false, false) => pad,
        };
        let places: Vec<u32> = (0..length).map(place).collect();
        let base = format!("{family}.embeddings");
        let sum = self.rows(&format!("{base}.word"), &tokens);
        let sum = add(&sum, &self.rows(&format!("{base}.position"), &places));
        let sum = add(&sum, &self.rows(&format!("{base}.token_type"), &vec![0; length]));
        let mut rows = self.norm(&format!("{base}.LayerNorm"), &sum);
        for layer in 0..LAYERS {
            let base = format!("{family}.encoder.layer.{layer}");
            let taken = self.attention(&format!("{base}.attention"), &rows, &mask);
            let taken = self.linear(&format!("{base}.attention.output.dense"), &taken);
            rows = self.norm(&format!("{base}.attention.output.LayerNorm"), &add(&taken, &rows));
            let inner = self.linear(&format!("{base}.intermediate.dense"), &rows);
            let inner: Vec<Vec<f32>> =
                inner.iter().map(|row| row.iter().copied().map(gelu).collect()).collect();
            let outer = self.linear(&format!("{base}.output.dense"), &inner);
            rows = self.norm(&format!("{base}.output.LayerNorm"), &add(&outer, &rows));
        }
        let [dense, last] = match self.is_bert {
            true => ["bert.pooler.dense", "classifier"],
            false => ["classifier.dense", "classifier.out_proj"],
        };
        let first = self.linear(dense, &rows[..1]);
        let first = first[0].iter().map(|value| value.tanh()).collect();
        self.linear(last, &[first]).remove(0)
    }
}

fn add(left: &[Vec<f32>], right: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let both = left.iter().zip(right);
    both.map(|(left, right)| left.iter().zip(right).map(|(a, b)| a + b).collect()).collect()
}

fn gelu(value: f32) -> f32 {
    let value = f64::from(value);
    (value * 0.5 * (1.0 + erf(value / 2_f64.sqrt()))) as f32
}

/// The error function, by its power series.
fn erf(value: f64) -> f64 {
    if value.abs() > 4.0 {
        return value.signum();
    }
    let (mut sum, mut term) = (value, value);
    for step in 1..100 {
        let step = f64::from(step);
        term *= -value * value / step;
        sum += term / (2.0 * step + 1.0);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

/// The tokens of a text, without the library.
fn tokens(text: &str, is_bert: bool) -> Vec<u32> {
    let word = |word: &str| match WORDS.iter().position(|known| *known == word) {
        Some(place) => place as u32 + 4,
        None => 3,
    };
    let first = if is_bert { 1 } else { 0 };
    std::iter::once(first).chain(text.split_whitespace().map(word)).chain([2]).collect()
}

fn difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max)
}

/// The largest difference to the plain computation, of all texts in one batch and one by one.
fn largest_difference(model: &Model) -> f32 {
    let is_bert = model.config["model_type"] == "bert";
    let plain = Plain { weights: &model.weights, is_bert };
    let tokens: Vec<_> = TEXTS.iter().map(|text| tokens(text, is_bert)).collect();
    let longest = tokens.iter().map(Vec::len).max().unwrap();
    let together = model.read(&Options { batch_size: 100, ..options() }).logits(&TEXTS).unwrap();
    let alone = model.read(&Options { batch_size: 1, ..options() }).logits(&TEXTS).unwrap();
    let mut largest = 0_f32;
    for ((tokens, together), alone) in tokens.iter().zip(&together).zip(&alone) {
        largest = largest.max(difference(together, &plain.logits(tokens, longest)));
        largest = largest.max(difference(alone, &plain.logits(tokens, tokens.len())));
    }
    // A model that says the same of everything would agree with much.
    let spread = difference(&together[0], &together[2]);
    assert!(spread > 0.1, "{spread}");
    println!("{}: largest difference {largest}", model.config["model_type"]);
    largest
}

#[test]
fn computes_xlm_roberta() {
    let largest = largest_difference(&Model::roberta());
    assert!(largest < 1e-3, "{largest}");
}

#[test]
fn computes_roberta() {
    let mut model = Model::roberta();
    model.config["model_type"] = json!("roberta");
    let largest = largest_difference(&model);
    assert!(largest < 1e-3, "{largest}");
}

#[test]
fn computes_bert() {
    let largest = largest_difference(&Model::bert());
    assert!(largest < 1e-3, "{largest}");
}

#[test]
fn computes_with_weights_of_16_bits() {
    for kind in [DType::F16, DType::BF16] {
        let mut model = Model::roberta();
        for tensor in model.weights.values_mut() {
            *tensor = tensor.to_dtype(kind).unwrap();
        }
        let largest = largest_difference(&model);
        assert!(largest < 1e-3, "{kind:?}: {largest}");
    }
}

#[test]
fn batches_of_any_size_give_the_same_shares() {
    let model = Model::roberta();
    let alone = model.read(&Options { batch_size: 1, ..options() }).shares(&TEXTS).unwrap();
    for batch_size in [0, 2, 3, 6, 100] {
        let together = model.read(&Options { batch_size, ..options() }).shares(&TEXTS).unwrap();
        for (alone, together) in alone.iter().zip(&together) {
            assert!(difference(alone, together) < 1e-4, "{batch_size}: {alone:?} {together:?}");
        }
    }
    for shares in &alone {
        assert!((shares.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{shares:?}");
    }
    assert!(model.read(&options()).shares(&[]).unwrap().is_empty());
}

#[test]
fn long_texts_lose_words_and_no_special_tokens() {
    let model = Model::roberta();
    let cut = model.read(&Options { max_tokens: 5, ..options() });
    let text = "gracias todo muy bien la entrega";
    assert_eq!(cut.tokens(text).unwrap(), tokens("gracias todo muy", false));
    let whole = model.read(&options()).logits(&["gracias todo muy"]).unwrap();
    assert!(difference(&cut.logits(&[text]).unwrap()[0], &whole[0]) < 1e-5);
}

#[test]
fn reads_no_more_tokens_than_the_model_has_places_for() {
    let long = ["muy "; 100].concat();
    let transformer = Model::roberta().read(&options());
    assert_eq!(transformer.tokens(&long).unwrap().len(), PLACES - 2);
    transformer.shares(&[&long]).unwrap();
    let transformer = Model::bert().read(&options());
    assert_eq!(transformer.tokens(&long).unwrap().len(), PLACES);
    transformer.shares(&[&long]).unwrap();
}

#[test]
fn is_named_after_its_folder_and_its_weights() {
    let mut model = Model::roberta();
    let named = |model: &Model| {
        let name = model.read(&options()).name().to_owned();
        let digits = name.strip_prefix("xlm-t-").unwrap().to_owned();
        let weights = fs::read(model.path().join("model.safetensors")).unwrap();
        assert!(format!("{:x}", Sha256::digest(weights)).starts_with(&digits), "{digits}");
        assert_eq!(digits.len(), 12);
        digits
    };
    let before = named(&model);
    model.weights = Model::roberta().labels(&["negative", "positive"]).weights;
    model.config["id2label"] = json!({ "0": "negative", "1": "positive" });
    assert_ne!(named(&model), before);
}

/// The logits of one text and its shares by the model's own labels.
fn logits_and_shares(model: &Model, options: &Options) -> (Vec<f32>, [f32; 3]) {
    let transformer = model.read(options);
    let logits = transformer.logits(&TEXTS[..1]).unwrap().remove(0);
    let all: f32 = logits.iter().map(|logit| logit.exp()).sum();
    let own = logits.iter().map(|logit| logit.exp() / all).collect();
    (own, transformer.shares(&TEXTS[..1]).unwrap()[0])
}

#[test]
fn labels_tell_themselves() {
    // Where negative, neutral and positive are among the labels.
    for (labels, [negative, neutral, positive]) in [
        (["negative", "neutral", "positive"], [0, 1, 2]),
        (["POS", "NEG", "NEU"], [1, 2, 0]),
        (["Neutro", "Positivo", "Negativo"], [2, 0, 1]),
    ] {
        let (own, shares) = logits_and_shares(&Model::roberta().labels(&labels), &options());
        let expected = [own[negative], own[neutral], own[positive]];
        assert!(difference(&shares, &expected) < 1e-6, "{labels:?}: {shares:?} {expected:?}");
    }
}

#[test]
fn two_labels_are_never_neutral() {
    let model = Model::roberta().labels(&["POSITIVE", "NEGATIVE"]);
    let (own, shares) = logits_and_shares(&model, &options());
    assert!(difference(&shares, &[own[1], 0.0, own[0]]) < 1e-6, "{own:?} {shares:?}");
    assert_eq!(shares[1], 0.0);
}

#[test]
fn stars_are_added_up() {
    let (own, shares) = logits_and_shares(&Model::bert(), &options());
    let expected = [own[0] + own[1], own[2], own[3] + own[4]];
    assert!(difference(&shares, &expected) < 1e-6, "{own:?} {shares:?}");
}

#[test]
fn labels_can_be_told() {
    let model = Model::roberta().labels(&["LABEL_0", "LABEL_1", "LABEL_2"]);
    let (own, shares) = logits_and_shares(&model, &told(["label_1", "LABEL_2", "LABEL_0"]));
    assert!(difference(&shares, &[own[1], own[2], own[0]]) < 1e-6, "{own:?} {shares:?}");

    // What is told counts for more than words.
    let model = Model::roberta().labels(&["negative", "neutral", "positive"]);
    let (own, shares) = logits_and_shares(&model, &told(["positive", "neutral", "negative"]));
    assert!(difference(&shares, &[own[2], own[1], own[0]]) < 1e-6, "{own:?} {shares:?}");

    let model = Model::roberta().labels(&["LABEL_0", "LABEL_1"]);
    let (own, shares) = logits_and_shares(&model, &told(["LABEL_1", "", "LABEL_0"]));
    assert!(difference(&shares, &[own[1], 0.0, own[0]]) < 1e-6, "{own:?} {shares:?}");
}

#[test]
fn refuses_labels_that_say_nothing() {
    let refused = |labels: &[&str]| Model::roberta().labels(labels).refused(&options());
    assert_snapshot!(refused(&["LABEL_0", "LABEL_1", "LABEL_2"]), @"models/xlm-t/config.json: the labels LABEL_0, LABEL_1, LABEL_2 do not tell what they mean; allowed: negative, neutral and positive; negative and positive; 1 star to 5 stars; others only where `labels` names those of negative, neutral and positive");
    assert_snapshot!(refused(&["LABEL_0", "LABEL_1"]), @"models/xlm-t/config.json: the labels LABEL_0, LABEL_1 do not tell what they mean; allowed: negative, neutral and positive; negative and positive; 1 star to 5 stars; others only where `labels` names those of negative, neutral and positive");
    assert_snapshot!(refused(&["neg", "pos", "negative"]), @"models/xlm-t/config.json: the labels neg, pos, negative do not tell what they mean; allowed: negative, neutral and positive; negative and positive; 1 star to 5 stars; others only where `labels` names those of negative, neutral and positive");
    assert_snapshot!(refused(&["neg", "pos", "positive"]), @"models/xlm-t/config.json: the labels neg, pos, positive do not tell what they mean; allowed: negative, neutral and positive; negative and positive; 1 star to 5 stars; others only where `labels` names those of negative, neutral and positive");
    assert_snapshot!(refused(&["neg", "neu", "neutral", "pos"]), @"models/xlm-t/config.json: the labels neg, neu, neutral, pos do not tell what they mean; allowed: negative, neutral and positive; negative and positive; 1 star to 5 stars; others only where `labels` names those of negative, neutral and positive");
    assert_snapshot!(refused(&["joy", "anger", "fear", "love"]), @"models/xlm-t/config.json: the labels joy, anger, fear, love do not tell what they mean; allowed: negative, neutral and positive; negative and positive; 1 star to 5 stars; others only where `labels` names those of negative, neutral and positive");
    assert_snapshot!(refused(&["1 star", "2 stars", "3 stars", "4 stars", "6 stars"]), @"models/xlm-t/config.json: the labels 1 star, 2 stars, 3 stars, 4 stars, 6 stars do not tell what they mean; allowed: negative, neutral and positive; negative and positive; 1 star to 5 stars; others only where `labels` names those of negative, neutral and positive");
    assert_snapshot!(refused(&[]), @"models/xlm-t/config.json: `id2label` has no label 0");
    assert_snapshot!(Model::roberta().refused_with("id2label", json!({ "0": "neg", "2": "pos" })), @"models/xlm-t/config.json: `id2label` has no label 1");
}

#[test]
fn refuses_labels_told_wrongly() {
    let refused = |labels: &[&str], names| Model::roberta().labels(labels).refused(&told(names));
    assert_snapshot!(refused(&["A", "B", "C"], ["A", "B", "D"]), @"models/xlm-t/config.json: the labels are A, B, C, but `labels` is A, B, D: it must name each once");
    assert_snapshot!(refused(&["A", "B", "C"], ["A", "A", "B"]), @"models/xlm-t/config.json: the labels are A, B, C, but `labels` is A, A, B: it must name each once");
    assert_snapshot!(refused(&["A", "B"], ["A", "B", "C"]), @"models/xlm-t/config.json: the labels are A, B, but `labels` is A, B, C: it must name each once");
    assert_snapshot!(refused(&["A", "C"], ["A", "B", "C"]), @"models/xlm-t/config.json: the labels are A, C, but `labels` is A, B, C: it must name each once");
    assert_snapshot!(refused(&["A", "B", "C", "D"], ["A", "B", "C"]), @"models/xlm-t/config.json: the labels are A, B, C, D, but `labels` is A, B, C: it must name each once");
    assert_snapshot!(refused(&["A"], ["", "A", ""]), @"models/xlm-t/config.json: the labels are A, but `labels` is , A, : it must name each once");
}

#[test]
fn refuses_settings_of_other_models() {
    let mut model = Model::roberta();
    assert_snapshot!(model.refused_with("model_type", json!("distilbert")), @"models/xlm-t/config.json: `model_type` is distilbert; allowed: xlm-roberta, roberta, bert");
    assert_snapshot!(model.refused_with("model_type", Value::Null), @"models/xlm-t/config.json: has no `model_type`; allowed: xlm-roberta, roberta, bert");
    assert_snapshot!(model.refused_with("problem_type", json!("multi_label_classification")), @"models/xlm-t/config.json: `problem_type` is multi_label_classification; allowed: single_label_classification");
    assert_snapshot!(model.refused_with("position_embedding_type", json!("relative_key")), @"models/xlm-t/config.json: `position_embedding_type` is relative_key; allowed: absolute");
    assert_snapshot!(model.refused_with("hidden_act", json!("relu")), @"models/xlm-t/config.json: `hidden_act` is relu; allowed: gelu");
    assert_snapshot!(model.refused_with("num_attention_heads", json!(3)), @"models/xlm-t/config.json: `hidden_size` of 16 cannot be shared among 3 heads");
    assert_snapshot!(model.refused_with("num_attention_heads", json!(0)), @"models/xlm-t/config.json: `num_attention_heads` is 0");
    assert_snapshot!(model.refused_with("max_position_embeddings", json!(2)), @"models/xlm-t/config.json: `max_position_embeddings` of 2 leaves no place for a token");
    assert_snapshot!(model.refused_with("pad_token_id", json!(40)), @"models/xlm-t/tokenizer.json: token 40 is beyond `vocab_size` of config.json, 40");
    let refused = |json: &str| {
        fs::write(model.path().join("config.json"), json).unwrap();
        model.refused_as_it_is(&options())
    };
    assert_snapshot!(refused(r#"{"model_type": "bert", "vocab_size": 40}"#), @"models/xlm-t/config.json: missing field `hidden_size` at line 1 column 40");
    assert_snapshot!(refused(r#"{"model_type": "bert", "vocab_size": "many"}"#), @r#"models/xlm-t/config.json: invalid type: string "many", expected usize at line 1 column 43"#);
    assert_snapshot!(refused("{"), @"models/xlm-t/config.json: EOF while parsing an object at line 1 column 1");
    assert_snapshot!(refused(""), @"models/xlm-t/config.json: EOF while parsing a value at line 1 column 0");
    fs::remove_file(model.path().join("config.json")).unwrap();
    assert_snapshot!(model.refused_as_it_is(&options()), @"cannot read models/xlm-t/config.json: No such file or directory (os error 2)");
}

#[test]
fn finds_the_token_that_pads() {
    let mut model = Model::roberta();
    model.config["pad_token_id"] = Value::Null;
    model.tokenizer["padding"]["pad_id"] = json!(7);
    assert_eq!(model.read(&options()).pad, 7);
    model.tokenizer["padding"] = Value::Null;
    assert_eq!(model.read(&options()).pad, 1);
    let mut model = Model::bert();
    model.config["pad_token_id"] = Value::Null;
    assert_eq!(model.read(&options()).pad, 0);
    model.tokenizer["model"]["vocab"].as_object_mut().unwrap().remove("[PAD]");
    model.tokenizer["added_tokens"].as_array_mut().unwrap().remove(0);
    assert_snapshot!(model.refused(&options()), @"models/xlm-t/tokenizer.json: neither config.json nor this file names the token that pads");
}

#[test]
fn refuses_tokenizers_that_do_not_fit() {
    let mut model = Model::roberta();
    let few = |max_tokens| Options { max_tokens, ..options() };
    assert_snapshot!(model.refused(&few(2)), @"models/xlm-t/tokenizer.json: adds 2 special tokens, so that `max_tokens` must be more, not 2");
    assert_snapshot!(model.refused(&few(0)), @"models/xlm-t/tokenizer.json: adds 2 special tokens, so that `max_tokens` must be more, not 0");
    assert_snapshot!(model.refused_with("vocab_size", json!(39)), @"models/xlm-t/tokenizer.json: token 39 is beyond `vocab_size` of config.json, 39");
    model.tokenizer["post_processor"] = template(["<s>", "</s>"], [41, 2]);
    assert_snapshot!(model.refused(&options()), @"models/xlm-t/model.safetensors: xlm-t-DIGEST cannot classify a batch: index-select invalid index 41 with dim size 40");
    model.tokenizer["post_processor"]["single"][0]["SpecialToken"]["id"] = json!("<t>");
    assert_snapshot!(model.refused(&options()), @"models/xlm-t/tokenizer.json: the template of its `post_processor` is not sound");
    model.tokenizer["post_processor"] = template(["<s>", "</s>"], [0, 2]);
    model.tokenizer["post_processor"]["single"][1]["Sequence"]["id"] = json!("B");
    let inner = model.tokenizer["post_processor"].clone();
    assert_snapshot!(model.refused(&options()), @"models/xlm-t/tokenizer.json: the template of its `post_processor` is not sound");
    model.tokenizer["post_processor"] = json!({ "type": "Sequence", "processors": [inner] });
    assert_snapshot!(model.refused(&options()), @"models/xlm-t/tokenizer.json: the template of its `post_processor` is not sound");
    model.tokenizer["post_processor"] = Value::Null;
    assert_snapshot!(model.refused(&options()), @"models/xlm-t/tokenizer.json: adds no special tokens, and the model judges by the first");
    let refused = |json: &str| {
        fs::write(model.path().join("tokenizer.json"), json).unwrap();
        model.refused_as_it_is(&options())
    };
    let beyond = r#"{"model": {"type": "Unigram", "unk_id": 9, "vocab": [["a", 0.0]]}}"#;
    assert_snapshot!(refused(beyond), @"models/xlm-t/tokenizer.json: Unable to load vocab UnkIdNotInVocabulary at line 1 column 66");
    assert_snapshot!(refused("{}"), @"models/xlm-t/tokenizer.json: Model missing. at line 1 column 2");
    assert_snapshot!(refused(""), @"models/xlm-t/tokenizer.json: EOF while parsing a value at line 1 column 0");
    fs::remove_file(model.path().join("tokenizer.json")).unwrap();
    assert_snapshot!(model.refused_as_it_is(&options()), @"cannot read models/xlm-t/tokenizer.json: No such file or directory (os error 2)");
}

#[test]
fn refuses_weights_that_do_not_fit() {
    let refused = |name: &str, tensor: Option<Tensor>| {
        let mut model = Model::roberta();
        match tensor {
            Some(tensor) => model.weights.insert(name.to_owned(), tensor),
            None => model.weights.remove(name),
        };
        model.refused(&options())
    };
    let name = "classifier.out_proj.bias";
    assert_snapshot!(refused(name, None), @"models/xlm-t/model.safetensors: tensor `classifier.out_proj.bias` not found");
    assert_snapshot!(refused("roberta.encoder.layer.1.attention.self.key.weight", None), @"models/xlm-t/model.safetensors: tensor `roberta.encoder.layer.1.attention.self.key.weight` not found");
    let tensor = |numbers: &[f32]| Tensor::new(numbers, &Device::Cpu).unwrap();
    assert_snapshot!(refused(name, Some(tensor(&[0.0; 4]))), @"models/xlm-t/model.safetensors: shape mismatch for classifier.out_proj.bias, expected: [3], got: [4]");
    assert_snapshot!(refused(name, Some(tensor(&[f32::NAN, 0.0, 0.0]))), @"models/xlm-t/model.safetensors: xlm-t-DIGEST gives what is not a number");
    assert_snapshot!(refused(name, Some(tensor(&[1.0; 3]).to_dtype(DType::U8).unwrap())), @"models/xlm-t/model.safetensors: tensor `classifier.out_proj.bias` is of U8; allowed: F64, F32, F16, BF16");

    let mut model = Model::bert();
    model.weights.remove("bert.embeddings.word_embeddings.weight");
    assert_snapshot!(model.refused(&options()), @"models/xlm-t/model.safetensors: tensor `bert.embeddings.word_embeddings.weight` not found");
    let path = model.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_snapshot!(model.refused_as_it_is(&options()), @"models/xlm-t/model.safetensors: incomplete metadata, file not fully covered");
    fs::write(&path, "").unwrap();
    assert_snapshot!(model.refused_as_it_is(&options()), @"models/xlm-t/model.safetensors: header too small");
    fs::remove_file(path).unwrap();
    assert_snapshot!(model.refused_as_it_is(&options()), @"cannot read models/xlm-t/model.safetensors: No such file or directory (os error 2)");
}

/// A byte changed here and there is refused or read, whatever else the texts are then thought of.
#[test]
fn damage_is_no_panic() {
    let mut numbers = Numbers(5);
    let mut refused = 0;
    for model in [Model::roberta(), Model::bert()] {
        for file in ["config.json", "tokenizer.json", "model.safetensors"] {
            model.write();
            let whole = fs::read(model.path().join(file)).unwrap();
            for _ in 0..100 {
                // In the first kilobytes lie what is not weights.
                let place = ((numbers.next() + 1.0) / 2.0 * whole.len().min(4000) as f32) as usize;
                let mut damaged = whole.clone();
                damaged[place] = (numbers.next() * 128.0 + 128.0) as u8;
                fs::write(model.path().join(file), damaged).unwrap();
                match Transformer::read(&model.path(), &options()) {
                    Ok(transformer) => drop(transformer.shares(&TEXTS)),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
                        refused += 1;
                    }
                }
            }
        }
    }
    assert!((100..600).contains(&refused), "{refused}");
}

/// The model as the engine of a stage.
fn stage(model: &Model, more: &str) -> Result<SentimentTransform, SettingMistake> {
    model.write();
    let yaml = format!(
        "{{ text: content, into: {{ label: l, score: s, confidence: c, language: t, model: m }}, \
         engine: {{ transformer: {{ folder: {:?}, batch_size: 2 }} }}{more} }}",
        model.path()
    );
    check(&config(&yaml), &schema())?;
    SentimentTransform::new(&config(&yaml), &schema(), &crate::testing::context(1))
}

#[test]
fn a_stage_asks_it_for_each_text_once() {
    let model = Model::roberta();
    let stage = stage(&model, "").unwrap();
    let rows: Vec<_> = TEXTS.iter().map(|text| ("insert", Some(*text), None)).collect();
    let done = stage.apply(batch(&rows)).now_or_never().unwrap().unwrap().rows;
    let read = model.read(&options());
    let shares = read.shares(&TEXTS).unwrap();
    let (scores, labels) = (texts_of(&done, "s"), texts_of(&done, "l"));
    for (row, [negative, neutral, positive]) in shares.into_iter().enumerate() {
        if TEXTS[row].is_empty() {
            assert_eq!((labels[row].as_str(), scores[row].as_str()), ("NEUTRAL", "0.0"));
            continue;
        }
        let score: f32 = scores[row].parse().unwrap();
        assert!((score - (positive - negative)).abs() < 2e-4, "{row}: {score}");
        let most = negative.max(neutral).max(positive);
        let name = match most {
            _ if most == neutral => "NEUTRAL",
            _ if most == negative => "NEGATIVE",
            _ => "POSITIVE",
        };
        assert_eq!(labels[row], name);
    }
    assert_eq!(texts_of(&done, "m")[0], read.name());
    assert_eq!(texts_of(&done, "t")[0], "es");
}

#[test]
fn a_stage_says_what_is_wrong_with_it() {
    let model = Model::roberta();
    let mistake = stage(&model, ", mixed: true").err().unwrap();
    assert_snapshot!(
        format!("{}: {}; {}", mistake.path.join("."), mistake.what, mistake.allowed),
        @"mixed: the engine `transformer` does not tell mixed texts; leave it out, or take the engine `embedded` or `comprehend`"
    );
    let mut other = Model::roberta();
    other.config["model_type"] = json!("gpt2");
    let mistake = stage(&other, "").err().unwrap();
    assert_eq!(mistake.path, ["engine", "transformer"]);
    assert!(mistake.what.contains("gpt2"), "{}", mistake.what);
}

#[test]
fn is_shared_by_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Transformer>();
}
