//! The table of all messages: learned, averaged, made small, calibrated.

use std::error::Error;

use acequia::sentiment::intent::{Head, HeadScratch, HeadWeights, IntentWeights, NOTHING};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::learn::{Example, Learning, Table, learn, softmax};
use crate::measure::Outcome;
use crate::rows::{Data, Part, Row};

/// How to train.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Settings {
    pub(crate) seeds: u64,
    pub(crate) bits: u32,
    /// Share of the intents given that are to be right.
    pub(crate) precision: f64,
    pub(crate) learning: Learning,
}

impl Default for Settings {
    fn default() -> Self {
        let learning = Learning { epochs: 20, rate: 0.1, decay: 1e-5, dropout: 0.3 };
        Self { seeds: 3, bits: 15, precision: 0.8, learning }
    }
}

/// The mean of all seeds, and each seed's own: how much chance there is in the figures.
pub(crate) struct Trained {
    mean: HeadWeights,
    seeds: Vec<HeadWeights>,
}

/// Learn from the rows that are for it in this turn.
pub(crate) fn train(
    data: &Data,
    settings: &Settings,
    turn: u64,
) -> Result<Trained, Box<dyn Error>> {
    let (classes, bits) = (data.intents.len(), settings.bits);
    let example = |row: &Row| {
        let rows = row.features.iter().map(|feature| (feature >> (64 - bits)) as u32).collect();
        Example { rows, class: row.intent }
    };
    let rows = data.rows.iter().filter(|row| row.part(turn) == Part::Train);
    let examples: Vec<Example> = rows.map(example).collect();
    let mut mean = Table::new(classes, bits, 0.0);
    let mut seeds = Vec::new();
    for seed in 1..=settings.seeds {
        let table = learn(&examples, classes, bits, &settings.learning, seed);
        mean.add(&table, 1.0 / settings.seeds as f32);
        seeds.push(finish(data, settings, turn, &table)?);
    }
    Ok(Trained { mean: finish(data, settings, turn, &mean)?, seeds })
}

impl Trained {
    /// What goes into the model file.
    pub(crate) fn named(&self, name: &str, manifest: &str) -> HeadWeights {
        let manifest = Sha256::digest(manifest.as_bytes()).into();
        HeadWeights { name: name.to_owned(), manifest, ..self.mean.clone() }
    }

    /// The head, and that of each seed alone.
    pub(crate) fn heads(&self) -> Result<(Head, Vec<Head>), Box<dyn Error>> {
        let seeds = self.seeds.iter().map(|weights| Ok(Head::read(&weights.write())?));
        Ok((Head::read(&self.mean.write())?, seeds.collect::<Result<_, Box<dyn Error>>>()?))
    }
}

/// A table as it goes into the file: in signed bytes, with the temperature and the threshold that the
/// rows for validation ask for.
fn finish(
    data: &Data,
    settings: &Settings,
    turn: u64,
    table: &Table,
) -> Result<HeadWeights, Box<dyn Error>> {
    let intent = |(class, name): (usize, &String)| {
        let of_class = || table.weights.iter().skip(class).step_by(table.classes);
        // By the largest: to cut the largest off costs more than the coarser steps of the rest.
        let largest = of_class().fold(f32::MIN_POSITIVE, |most, weight| most.max(weight.abs()));
        let scale = largest / 127.0;
        let weights = of_class().map(|weight| (weight / scale).round().clamp(-127.0, 127.0) as i8);
        let bias = table.bias.get(class).copied().unwrap_or(0.0);
        IntentWeights { name: name.clone(), scale, bias, weights: weights.collect() }
    };
    let mut weights = HeadWeights {
        name: "unnamed".to_owned(),
        manifest: [0; 32],
        temperature: 1.0,
        threshold: 0.0,
        intents: data.intents.iter().enumerate().map(intent).collect(),
    };
    let rows = || data.rows.iter().filter(|row| row.part(turn) == Part::Validation);
    let (head, mut scratch) = (Head::read(&weights.write())?, HeadScratch::default());
    let judged: Vec<(Vec<f32>, usize)> = rows()
        .filter_map(|row| Some((head.odds(&mut scratch, &row.text)?.to_vec(), row.intent)))
        .collect();
    weights.temperature = temperature(&judged);
    let outcomes = judge(&Head::read(&weights.write())?, data, rows());
    weights.threshold = threshold(&outcomes, settings.precision);
    Ok(weights)
}

/// The temperature under which the labels are most probable.
fn temperature(judged: &[(Vec<f32>, usize)]) -> f32 {
    let surprise = |temperature: f32| -> f32 {
        let of_one = |(odds, label): &(Vec<f32>, usize)| {
            let mut shares: Vec<f32> = odds.iter().map(|odds| odds / temperature).collect();
            softmax(&mut shares);
            -shares.get(*label).copied().unwrap_or(1.0).max(f32::MIN_POSITIVE).ln()
        };
        judged.iter().map(of_one).sum()
    };
    // Steps of 2%, from an eighth to eight times.
    let steps = (-105..=105).map(|step: i32| 1.02_f32.powi(step));
    steps.min_by(|one, other| surprise(*one).total_cmp(&surprise(*other))).unwrap_or(1.0)
}

/// The lowest threshold from which on so many of the intents given are right; where there is none,
/// the one from which on most are.
fn threshold(outcomes: &[Outcome], precision: f64) -> f32 {
    let right = |threshold: f32| {
        let given = |it: &&Outcome| !it.is_nothing && it.probability >= threshold;
        let all = outcomes.iter().filter(given).count();
        let right = outcomes.iter().filter(given).filter(|it| it.told == it.right).count();
        right as f64 / all.max(1) as f64
    };
    let steps = || (0..=19).map(|step| step as f32 / 20.0);
    let most = || steps().max_by(|one, other| right(*one).total_cmp(&right(*other)));
    steps().find(|threshold| right(*threshold) >= precision).or_else(most).unwrap_or(0.5)
}

/// What `head` says of `rows`.
pub(crate) fn judge<'a>(
    head: &Head,
    data: &Data,
    rows: impl Iterator<Item = &'a Row>,
) -> Vec<Outcome> {
    let mut scratch = HeadScratch::default();
    let outcome = |row: &'a Row| {
        let (told, probability) = head.most_probable(&mut scratch, &row.text)?;
        let is_nothing = data.intents.get(told).is_some_and(|name| name == NOTHING);
        let is_given = head.intent(&mut scratch, &row.text).is_some();
        let language = row.language;
        Some(Outcome { right: row.intent, told, probability, is_nothing, is_given, language })
    };
    rows.filter_map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_that_are_twice_too_sure_are_halved() {
        // Of log-odds 2 three in four are right: log-odds of 1.1 would be honest.
        let judged = [vec![(vec![2.0, 0.0], 0); 3], vec![(vec![2.0, 0.0], 1)]].concat();
        assert!((2.0 / temperature(&judged) - 3.0_f32.ln()).abs() < 0.05);
    }

    #[test]
    fn the_threshold_is_the_lowest_that_is_right_often_enough() {
        let outcome =
            |probability, told| Outcome { right: 0, told, probability, ..Outcome::default() };
        let nothing = Outcome { is_nothing: true, ..outcome(0.9, 1) };
        let outcomes =
            [outcome(0.3, 1), outcome(0.52, 0), outcome(0.62, 1), outcome(0.9, 0), nothing];
        assert_eq!(threshold(&outcomes, 0.5), 0.0);
        assert_eq!(threshold(&outcomes, 0.6), 0.35);
        assert_eq!(threshold(&outcomes, 1.0), 0.65);
        assert_eq!(threshold(&[outcome(0.9, 1)], 1.0), 0.95);
    }
}
