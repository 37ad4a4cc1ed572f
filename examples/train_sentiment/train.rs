//! The tables of a recipe: learned, averaged, calibrated, made small.

use std::error::Error;

use acequia::sentiment::model::{Calibration, DomainCalibration, LanguageCalibration, Weights};
use acequia::sentiment::{Judge, Judging, Label, Language, Model, features_of};
use sha2::{Digest, Sha256};

use crate::calibrate::{Fit, Judged, fit, sureness};
use crate::learn::{Example, Table, learn};
use crate::measure::{Figures, Outcome};
use crate::recipe::{Calibrates, Domain, Learning, Recipe, Source};
use crate::rows::{Data, Part, Row, Share};

const LANGUAGES: [Language; 2] = [Language::Spanish, Language::English];

/// Both languages, what tells them apart, and what tells messages to companies from other texts.
pub(crate) struct Trained {
    languages: [Trial; 2],
    language: (LanguageCalibration, Vec<i8>),
    domain: (DomainCalibration, Vec<i8>),
    /// The same, of each seed alone: how much chance there is in the figures.
    pub(crate) seeds: Vec<[Trial; 2]>,
}

/// One sentiment table as it goes into the file.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    /// Of messages to companies and of other texts.
    calibrations: [Calibration; 2],
    table: Vec<[i8; 2]>,
}

/// Learn what `recipe` says from `data`.
pub(crate) fn train(recipe: &Recipe, data: &Data, share: Share) -> Result<Trained, Box<dyn Error>> {
    let both = std::thread::scope(|scope| {
        let [spanish, english] = LANGUAGES
            .map(|language| scope.spawn(move || language_tables(recipe, data, language, share)));
        [spanish.join(), english.join()]
    });
    let [Ok((spanish, spanish_seeds)), Ok((english, english_seeds))] = both else {
        return Err("training ended with a panic".into());
    };
    let seeds = spanish_seeds.into_iter().zip(english_seeds).map(|(one, other)| [one, other]);
    let (language, domain) = (language_table(recipe, data), domain_table(recipe, data));
    Ok(Trained { languages: [spanish, english], language, domain, seeds: seeds.collect() })
}

/// The mean of all seeds, and each seed's own.
fn language_tables(
    recipe: &Recipe,
    data: &Data,
    language: Language,
    share: Share,
) -> (Trial, Vec<Trial>) {
    let learning = match language {
        Language::Spanish => recipe.spanish,
        Language::English => recipe.english,
    };
    let examples: Vec<Example> = data
        .training(recipe, language, share)
        .into_iter()
        .map(|(row, weight)| Example {
            rows: table_rows(row, recipe.bits),
            class: row.label,
            weight,
        })
        .collect();
    let mut mean: Option<Table<3>> = None;
    let mut seeds = Vec::new();
    for seed in 1..=recipe.seeds {
        let table = learn::<3>(&examples, recipe.bits, &learning, seed);
        seeds.push(Trial::new(recipe, data, language, &table));
        let times = 1.0 / recipe.seeds as f32;
        match &mut mean {
            Some(mean) => mean.add(&table, times),
            None => {
                let mut first = table.clone();
                first.add(&table, times - 1.0);
                mean = Some(first);
            }
        }
    }
    let mean = mean.unwrap_or_else(|| learn::<3>(&[], recipe.bits, &learning, 0));
    (Trial::new(recipe, data, language, &mean), seeds)
}

fn table_rows(row: &Row, bits: u32) -> Vec<u32> {
    row.features.sentiment.iter().map(|feature| (feature >> (64 - bits)) as u32).collect()
}

/// Signed bytes of `values`, and what one unit is worth. By the largest: to cut the largest off
/// costs more than the coarser steps of the rest.
fn quantise<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> (f32, impl Fn(f32) -> i8) {
    let largest = values.fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    let unit = largest / 127.0;
    (unit, move |value: f32| (value / unit).round().clamp(-127.0, 127.0) as i8)
}

impl Trial {
    fn new(recipe: &Recipe, data: &Data, language: Language, table: &Table<3>) -> Self {
        let [negative, neutral, positive] = table.bias;
        let biases = [negative - neutral, positive - neutral];
        let against =
            |[negative, neutral, positive]: [f32; 3]| [negative - neutral, positive - neutral];
        let weights: Vec<[f32; 2]> = table.weights.iter().copied().map(against).collect();
        let (unit, small) = quantise(weights.iter().flatten());
        let table: Vec<[i8; 2]> = weights.iter().map(|pair| pair.map(&small)).collect();
        let judged = validation(recipe, data, language, &table, unit, biases);
        let calibrations = calibrations(&judged).map(|fit| {
            let [negative, positive] = fit.odds(biases);
            Calibration { scale: unit * fit.scale, negative, positive }
        });
        Self { calibrations, table }
    }
}

/// With fewer texts a domain has no calibration of its own.
const FEWEST_FITTED: usize = 30;

/// How to read the table in messages to companies, and in other texts. A domain of which there are too
/// few texts is read as the other one.
fn calibrations(judged: &[(&Source, Judged)]) -> [Fit; 2] {
    let of = |is: &dyn Fn(&Source) -> bool| -> Vec<Judged> {
        let counts = |(source, judged): &&(&Source, Judged)| is(source) && judged.weight > 0.0;
        judged.iter().filter(counts).map(|(_, judged)| *judged).collect()
    };
    let balances = |it: &Source| it.calibrates != Calibrates::Sureness;
    let of_domain = |domain: Domain| {
        let balance = of(&|it| it.domain == domain && balances(it));
        let sure = of(&|it| it.domain == domain && it.calibrates != Calibrates::Balance);
        let fit = match balance.len() < FEWEST_FITTED {
            true if sure.len() < FEWEST_FITTED => return None,
            true => fit(&of(&balances)),
            false => fit(&balance),
        };
        // Where all count in both, the fit is as sure as it is right already.
        let is_apart = |it: &Source| it.domain == domain && it.calibrates != Calibrates::Both;
        match of(&is_apart).is_empty() || sure.len() < FEWEST_FITTED {
            true => Some(fit),
            false => Some(fit.times(sureness(fit, &sure))),
        }
    };
    match [Domain::Service, Domain::General].map(of_domain) {
        [Some(service), Some(general)] => [service, general],
        [Some(one), None] | [None, Some(one)] => [one; 2],
        [None, None] => [fit(&of(&balances)); 2],
    }
}

/// What the table says of the rows that the calibration is fitted on. A source counts by its weight,
/// as in training, whatever its size, and in it each label alike: the model expects as many of each,
/// whatever its data held.
fn validation<'a>(
    recipe: &'a Recipe,
    data: &Data,
    language: Language,
    table: &[[i8; 2]],
    unit: f32,
    biases: [f32; 2],
) -> Vec<(&'a Source, Judged)> {
    let of_language = |row: &&Row| row.part == Part::Validation && row.language == Some(language);
    let mut counts = std::collections::HashMap::new();
    for row in data.rows.iter().filter(of_language) {
        *counts.entry((row.source, row.label)).or_insert(0_u32) += 1;
    }
    let judge = |row: &Row| {
        let rows = table_rows(row, recipe.bits);
        let mut sums = [0_i32; 2];
        for row in &rows {
            for (sum, weight) in
                sums.iter_mut().zip(table.get(*row as usize).copied().unwrap_or_default())
            {
                *sum += i32::from(weight);
            }
        }
        let each = unit / (rows.len().max(1) as f32).sqrt();
        let mut odds = sums.map(|sum| sum as f32 * each);
        for (odds, bias) in odds.iter_mut().zip(biases) {
            *odds += bias;
        }
        let count = counts.get(&(row.source, row.label)).copied().unwrap_or(1);
        let source = recipe.sources.get(row.source)?;
        // A source for the sureness alone may lack a label: that says nothing of the label.
        let labels = match source.calibrates {
            Calibrates::Sureness => {
                [0, 1, 2].map(|label| counts.contains_key(&(row.source, label)))
            }
            Calibrates::Both | Calibrates::Balance => [true; 3],
        };
        let weight = 1000.0 * source.weight / count as f32;
        Some((source, Judged { odds, label: row.label, weight, labels }))
    };
    data.rows.iter().filter(of_language).filter_map(judge).collect()
}

/// The table that tells Spanish from English.
fn language_table(recipe: &Recipe, data: &Data) -> (LanguageCalibration, Vec<i8>) {
    let mask = (1_u64 << recipe.language_bits) - 1;
    let usable = |row: &&Row| row.part == Part::Train && !row.features.language.is_empty();
    let mut examples = Vec::new();
    for row in data.rows.iter().filter(usable) {
        let class = match row.language {
            Some(Language::English) => 0,
            Some(Language::Spanish) => 1,
            None => continue,
        };
        let mut add = |features: &[u64]| {
            let rows = features.iter().map(|feature| (feature & mask) as u32).collect();
            examples.push(Example { rows, class, weight: 1.0 });
        };
        add(&row.features.language);
        // Short texts are the hard ones: a word and two words of each text are texts of their own.
        let words: Vec<&str> = row.features.words.split(' ').collect();
        for length in [1, 2] {
            let windows: Vec<&[&str]> = words.windows(length).collect();
            let lot = row.lot as usize * length % windows.len().max(1);
            if let Some(window) = windows.get(lot).filter(|_| words.len() > 2) {
                add(&features_of(&window.join(" ")).language);
            }
        }
    }
    let (scale, bias, weights) = one_against_other(&examples, recipe.language_bits);
    (LanguageCalibration { scale, bias, margin: recipe.margin }, weights)
}

/// The table that tells the general domain from that of service.
fn domain_table(recipe: &Recipe, data: &Data) -> (DomainCalibration, Vec<i8>) {
    let example = |row: &Row| {
        let source = recipe.sources.get(row.source)?;
        let is_usable =
            row.part == Part::Train && source.weight > 0.0 && !row.features.domain.is_empty();
        let row_of = |hash: &u64| (hash >> (64 - recipe.domain_bits)) as u32;
        is_usable.then(|| Example {
            rows: row.features.domain.iter().map(row_of).collect(),
            class: usize::from(source.domain == Domain::General),
            weight: 1.0,
        })
    };
    let examples: Vec<Example> = data.rows.iter().filter_map(example).collect();
    let (scale, bias, weights) = one_against_other(&examples, recipe.domain_bits);
    (DomainCalibration { scale, bias }, weights)
}

/// The table that tells the second of two classes from the first: what a unit of its weights is worth,
/// the log-odds where nothing is known, and the weights.
fn one_against_other(examples: &[Example], bits: u32) -> (f32, f32, Vec<i8>) {
    let learning = Learning { epochs: 6, rate: 0.1, decay: 1e-6, dropout: 0.2, balance: 1.0 };
    let table = learn::<2>(examples, bits, &learning, 1);
    let against = |[first, second]: [f32; 2]| second - first;
    let weights: Vec<f32> = table.weights.iter().copied().map(against).collect();
    let (scale, small) = quantise(weights.iter());
    (scale, against(table.bias), weights.iter().copied().map(small).collect())
}

impl Trained {
    /// What goes into the model file.
    pub(crate) fn weights(&self, name: &str, manifest: &str) -> Weights {
        self.weights_of(&self.languages, name, manifest)
    }

    fn weights_of(&self, [spanish, english]: &[Trial; 2], name: &str, manifest: &str) -> Weights {
        let (language, languages) = self.language.clone();
        let (domain, domains) = self.domain.clone();
        Weights {
            name: name.to_owned(),
            manifest: Sha256::digest(manifest.as_bytes()).into(),
            calibrations: [spanish.calibrations, english.calibrations],
            tables: [spanish.table.clone(), english.table.clone()],
            language,
            languages,
            domain,
            domains,
        }
    }

    /// The model of each seed alone.
    pub(crate) fn seed_models(&self) -> Result<Vec<Model>, Box<dyn Error>> {
        let write = |trials| self.weights_of(trials, "seed", "").write();
        self.seeds.iter().map(|trials| Ok(Model::read(&write(trials))?)).collect()
    }
}

/// How `model` judges `rows`, in the language that each is labelled with.
pub(crate) fn judge<'a>(model: &Model, rows: impl Iterator<Item = &'a Row>) -> Figures {
    let mut judge = Judge::default();
    let outcome = |row: &Row| -> Outcome {
        let verdict = judge.judge(model, &row.text, row.language, &Judging::default());
        let given = match verdict.label {
            Label::Negative => 0,
            Label::Neutral | Label::Mixed => 1,
            Label::Positive => 2,
        };
        (row.label, given, verdict.confidence)
    };
    Figures::of(&rows.map(outcome).collect::<Vec<_>>())
}

/// How much of the general domain the model takes `rows` for, in points.
pub(crate) fn generality<'a>(model: &Model, rows: impl Iterator<Item = &'a Row>) -> f32 {
    let mut judge = Judge::default();
    let shares: Vec<f32> = rows.filter_map(|row| judge.generality(model, &row.text)).collect();
    100.0 * shares.iter().sum::<f32>() / shares.len().max(1) as f32
}

/// Share of the rows, in points, of which the model tells the language.
pub(crate) fn tell<'a>(model: &Model, rows: impl Iterator<Item = &'a Row>) -> (usize, f32) {
    let mut judge = Judge::default();
    let mut right = 0;
    let mut count = 0;
    for row in rows {
        count += 1;
        let verdict = judge.judge(model, &row.text, None, &Judging::default());
        right += usize::from(verdict.language == row.language);
    }
    (count, 100.0 * right as f32 / count.max(1) as f32)
}
