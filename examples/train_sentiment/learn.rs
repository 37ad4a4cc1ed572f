//! Logistic regression over hashed features, by AdaGrad.
//!
//! Duchi, Hazan, Singer: Adaptive Subgradient Methods for Online Learning and Stochastic
//! Optimization, JMLR 12 (2011). The weights are averaged over the second half of the passes.

use super::recipe::Learning;

/// One example: the rows of the table that it asks for, its class and what it counts.
pub(crate) struct Example {
    pub(crate) rows: Vec<u32>,
    pub(crate) class: usize,
    pub(crate) weight: f32,
}

/// Weights of each class for each row, and those of no feature.
#[derive(Debug, Clone)]
pub(crate) struct Table<const CLASSES: usize> {
    pub(crate) weights: Vec<[f32; CLASSES]>,
    pub(crate) bias: [f32; CLASSES],
}

impl<const CLASSES: usize> Table<CLASSES> {
    fn new(size: usize, value: f32) -> Self {
        Self { weights: vec![[value; CLASSES]; size], bias: [value; CLASSES] }
    }

    /// Add `other`, `times` times.
    pub(crate) fn add(&mut self, other: &Self, times: f32) {
        let pairs = self.weights.iter_mut().zip(&other.weights);
        for (sums, weights) in pairs.chain([(&mut self.bias, &other.bias)]) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += weight * times;
            }
        }
    }

    fn logits(&self, rows: &[u32], each: f32) -> [f32; CLASSES] {
        let mut sums = [0.0; CLASSES];
        for row in rows {
            for (sum, weight) in sums.iter_mut().zip(self.row(*row)) {
                *sum += weight;
            }
        }
        for (sum, bias) in sums.iter_mut().zip(self.bias) {
            *sum = *sum * each + bias;
        }
        sums
    }

    fn row(&self, row: u32) -> [f32; CLASSES] {
        self.weights.get(row as usize).copied().unwrap_or([0.0; CLASSES])
    }
}

/// Probabilities of log-odds.
pub(crate) fn softmax<const CLASSES: usize>(logits: [f32; CLASSES]) -> [f32; CLASSES] {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits.map(|logit| (logit - largest).exp());
    let all: f32 = powers.iter().sum();
    powers.map(|power| power / all)
}

/// Learn a table of `1 << bits` rows.
pub(crate) fn learn<const CLASSES: usize>(
    examples: &[Example],
    bits: u32,
    learning: &Learning,
    seed: u64,
) -> Table<CLASSES> {
    let size = 1_usize << bits;
    let mut now = Table::<CLASSES>::new(size, 0.0);
    let mut squares = Table::<CLASSES>::new(size, 1e-3);
    let mut mean = Table::<CLASSES>::new(size, 0.0);
    let classes = class_weights::<CLASSES>(examples, learning.balance);
    let mut chance = Chance(seed);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let averaged = learning.epochs.div_ceil(2).max(1);
    let mut kept = Vec::new();
    for epoch in 0..learning.epochs {
        for last in (1..order.len()).rev() {
            order.swap(last, (chance.next() % (last as u64 + 1)) as usize);
        }
        for example in order.iter().filter_map(|index| examples.get(*index)) {
            chance.keep(&example.rows, learning.dropout, &mut kept);
            if kept.is_empty() {
                continue;
            }
            let weight = example.weight * classes.get(example.class).copied().unwrap_or(1.0);
            step(&mut now, &mut squares, &kept, example.class, weight, learning);
        }
        if epoch + averaged >= learning.epochs {
            mean.add(&now, 1.0 / averaged as f32);
        }
    }
    mean
}

/// One step towards what one example says.
fn step<const CLASSES: usize>(
    now: &mut Table<CLASSES>,
    squares: &mut Table<CLASSES>,
    rows: &[u32],
    class: usize,
    weight: f32,
    learning: &Learning,
) {
    let each = 1.0 / (rows.len() as f32).sqrt();
    let mut slopes = softmax(now.logits(rows, each));
    for (index, slope) in slopes.iter_mut().enumerate() {
        *slope = (*slope - if index == class { 1.0 } else { 0.0 }) * weight;
    }
    for row in rows {
        let row = *row as usize;
        let (Some(weights), Some(squares)) =
            (now.weights.get_mut(row), squares.weights.get_mut(row))
        else {
            continue;
        };
        for ((weight, square), slope) in weights.iter_mut().zip(squares).zip(slopes) {
            let slope = slope * each + learning.decay * *weight;
            *square += slope * slope;
            *weight -= learning.rate * slope / square.sqrt();
        }
    }
    for ((bias, square), slope) in now.bias.iter_mut().zip(&mut squares.bias).zip(slopes) {
        *square += slope * slope;
        *bias -= 0.3 * learning.rate * slope / square.sqrt();
    }
}

/// What an example of each class counts more.
fn class_weights<const CLASSES: usize>(examples: &[Example], balance: f32) -> [f32; CLASSES] {
    let mut sums = [0.0_f32; CLASSES];
    for example in examples {
        if let Some(sum) = sums.get_mut(example.class) {
            *sum += example.weight;
        }
    }
    let all: f32 = sums.iter().sum();
    sums.map(|sum| (all / CLASSES as f32 / sum.max(f32::MIN_POSITIVE)).powf(balance))
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
    fn keep(&mut self, rows: &[u32], left_out: f32, kept: &mut Vec<u32>) {
        kept.clear();
        if left_out <= 0.0 {
            kept.extend_from_slice(rows);
            return;
        }
        let limit = (left_out * 65536.0) as u64;
        for four in rows.chunks(4) {
            let mut bits = self.next();
            for row in four {
                if bits & 0xffff >= limit {
                    kept.push(*row);
                }
                bits >>= 16;
            }
        }
    }
}
