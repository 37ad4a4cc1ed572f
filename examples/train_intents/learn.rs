//! Logistic regression over hashed features, by AdaGrad.
//!
//! Duchi, Hazan, Singer: Adaptive Subgradient Methods for Online Learning and Stochastic
//! Optimization, JMLR 12 (2011). The weights are averaged over the second half of the passes.

use serde::Serialize;

/// One example: the rows of the table that it asks for, and its class.
pub(crate) struct Example {
    pub(crate) rows: Vec<u32>,
    pub(crate) class: usize,
}

/// How to learn.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Learning {
    /// Passes over the data.
    pub(crate) epochs: u32,
    /// First step of each weight.
    pub(crate) rate: f64,
    /// Pull of each weight to zero.
    pub(crate) decay: f64,
    /// Share of the features that are left out of a message each time it is seen.
    pub(crate) dropout: f64,
}

/// Weights of each class for each row, and those of no feature.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) classes: usize,
    /// Those of every class for the first row, and so on.
    pub(crate) weights: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl Table {
    pub(crate) fn new(classes: usize, bits: u32, value: f32) -> Self {
        Self { classes, weights: vec![value; classes << bits], bias: vec![value; classes] }
    }

    /// Add `other`, `times` times.
    pub(crate) fn add(&mut self, other: &Self, times: f32) {
        let sums = self.weights.iter_mut().chain(&mut self.bias);
        for (sum, weight) in sums.zip(other.weights.iter().chain(&other.bias)) {
            *sum += weight * times;
        }
    }

    /// The log-odds of each class.
    fn odds(&self, rows: &[u32], each: f32, odds: &mut Vec<f32>) {
        odds.clear();
        odds.resize(self.classes, 0.0);
        for row in rows {
            let from = *row as usize * self.classes;
            for (sum, weight) in odds.iter_mut().zip(self.weights.iter().skip(from)) {
                *sum += weight;
            }
        }
        for (sum, bias) in odds.iter_mut().zip(&self.bias) {
            *sum = *sum * each + bias;
        }
    }
}

/// Make probabilities of log-odds.
pub(crate) fn softmax(odds: &mut [f32]) {
    let largest = odds.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    odds.iter_mut().for_each(|odds| *odds = (*odds - largest).exp());
    let all: f32 = odds.iter().sum();
    odds.iter_mut().for_each(|share| *share /= all);
}

/// Learn a table of `1 << bits` rows. Every class counts alike, however many examples it has.
pub(crate) fn learn(
    examples: &[Example],
    classes: usize,
    bits: u32,
    learning: &Learning,
    seed: u64,
) -> Table {
    let mut now = Table::new(classes, bits, 0.0);
    let mut squares = Table::new(classes, bits, 1e-3);
    let mut mean = Table::new(classes, bits, 0.0);
    let weights = class_weights(examples, classes);
    let mut chance = Chance(seed);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let averaged = learning.epochs.div_ceil(2).max(1);
    let (mut kept, mut slopes) = (Vec::new(), Vec::new());
    for epoch in 0..learning.epochs {
        for last in (1..order.len()).rev() {
            order.swap(last, (chance.next() % (last as u64 + 1)) as usize);
        }
        for example in order.iter().filter_map(|index| examples.get(*index)) {
            chance.keep(&example.rows, learning.dropout, &mut kept);
            if kept.is_empty() {
                continue;
            }
            let each = 1.0 / (kept.len() as f32).sqrt();
            let weight = weights.get(example.class).copied().unwrap_or(1.0);
            now.odds(&kept, each, &mut slopes);
            softmax(&mut slopes);
            for (index, slope) in slopes.iter_mut().enumerate() {
                *slope = (*slope - if index == example.class { 1.0 } else { 0.0 }) * weight;
            }
            step(&mut now, &mut squares, &kept, &slopes, learning);
        }
        if epoch + averaged >= learning.epochs {
            mean.add(&now, 1.0 / averaged as f32);
        }
    }
    mean
}

/// One step against the slopes that one example has.
fn step(now: &mut Table, squares: &mut Table, rows: &[u32], slopes: &[f32], learning: &Learning) {
    let each = 1.0 / (rows.len() as f32).sqrt();
    let (rate, decay) = (learning.rate as f32, learning.decay as f32);
    for row in rows {
        let from = *row as usize * now.classes;
        let weights = now.weights.iter_mut().skip(from);
        let squares = squares.weights.iter_mut().skip(from);
        for ((weight, square), slope) in weights.zip(squares).zip(slopes) {
            let slope = slope * each + decay * *weight;
            *square += slope * slope;
            *weight -= rate * slope / square.sqrt();
        }
    }
    for ((bias, square), slope) in now.bias.iter_mut().zip(&mut squares.bias).zip(slopes) {
        *square += slope * slope;
        *bias -= 0.3 * rate * slope / square.sqrt();
    }
}

/// What an example of each class counts, so that all classes count alike.
fn class_weights(examples: &[Example], classes: usize) -> Vec<f32> {
    let mut counts = vec![0.0_f32; classes];
    for example in examples {
        if let Some(count) = counts.get_mut(example.class) {
            *count += 1.0;
        }
    }
    let each = examples.len() as f32 / classes as f32;
    counts.iter().map(|count| each / count.max(1.0)).collect()
}

/// Chance that a seed decides (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// Each of `rows` with the probability that it is not left out.
    fn keep(&mut self, rows: &[u32], left_out: f64, kept: &mut Vec<u32>) {
        let limit = (left_out * 65536.0) as u64;
        kept.clear();
        kept.extend(rows.iter().filter(|_| self.next() & 0xffff >= limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_any_size_are_told_apart() {
        let example = |row: u32, class| Example { rows: vec![row, 9], class };
        let mut examples = vec![example(1, 1), example(2, 2)];
        examples.extend((0..20).map(|_| example(0, 0)));
        let learning = Learning { epochs: 20, rate: 0.2, decay: 0.0, dropout: 0.2 };
        let table = learn(&examples, 3, 4, &learning, 1);
        for class in 0..3 {
            let mut odds = Vec::new();
            table.odds(&[class as u32, 9], 0.7, &mut odds);
            softmax(&mut odds);
            assert!(odds[class] > 0.5, "{class}: {odds:?}");
        }
    }
}
