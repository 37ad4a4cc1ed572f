//! Makes probabilities of log-odds that are right as often as they say.

use super::learn::softmax;

/// A text that was judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    /// Log-odds of negative and of positive against neutral.
    pub(crate) odds: [f32; 2],
    /// Its label.
    pub(crate) label: usize,
    /// What it counts.
    pub(crate) weight: f32,
    /// Labels among which it is told how sure to be.
    pub(crate) labels: [bool; 3],
}

/// Scale of the log-odds, and what is added to those of negative and of positive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fit {
    pub(crate) scale: f32,
    pub(crate) biases: [f32; 2],
}

/// The fit under which the labels are most probable, by gradient descent: three numbers, convex.
/// The odds are brought to a size of about one before: the steps would go over the top of larger ones.
/// Where nothing counts, or nothing is said, the odds stay as they are.
pub(crate) fn fit(judged: &[Judged]) -> Fit {
    let mut fit = Fit { scale: 1.0, biases: [0.0; 2] };
    let all: f32 = judged.iter().map(|it| it.weight).sum();
    let square =
        |it: &Judged| it.odds.iter().map(|odds| odds * odds).sum::<f32>() * it.weight / all;
    let size = judged.iter().map(square).sum::<f32>().sqrt();
    if !size.is_normal() {
        return fit;
    }
    for _ in 0..2000 {
        let (mut scale, mut biases) = (0.0, [0.0; 2]);
        for Judged { odds, label, weight, .. } in judged {
            let odds = odds.map(|odds| odds / size);
            let ([negative, positive], [to_negative, to_positive]) = (odds, fit.odds(odds));
            let mut slopes = softmax([to_negative, 0.0, to_positive]);
            if let Some(slope) = slopes.get_mut(*label) {
                *slope -= 1.0;
            }
            let [of_negative, _, of_positive] = slopes.map(|slope| slope * weight / all);
            scale += of_negative * negative + of_positive * positive;
            let [to_negative, to_positive] = &mut biases;
            *to_negative += of_negative;
            *to_positive += of_positive;
        }
        fit.scale -= 0.5 * scale;
        for (bias, slope) in fit.biases.iter_mut().zip(biases) {
            *bias -= 0.5 * slope;
        }
    }
    Fit { scale: fit.scale / size, ..fit }
}

/// What `fit` is to be multiplied by so that it is as sure of `judged` as it is right: the factor under
/// which their labels are most probable, from a quarter to four. The probability falls on both sides of
/// it, so that halving finds it. 1 where nothing counts or nothing is said.
pub(crate) fn sureness(fit: Fit, judged: &[Judged]) -> f32 {
    let slope = |factor: f32| -> f32 {
        let of = |it: &Judged| {
            let [negative, positive] = fit.odds(it.odds);
            let odds = [negative, 0.0, positive];
            let mut shares = odds.map(|odds| odds * factor);
            for (share, _) in shares.iter_mut().zip(it.labels).filter(|(_, can_be)| !can_be) {
                *share = f32::NEG_INFINITY;
            }
            let expected: f32 =
                softmax(shares).iter().zip(odds).map(|(share, odds)| share * odds).sum();
            (expected - odds.get(it.label).copied().unwrap_or(0.0)) * it.weight
        };
        judged.iter().map(of).sum()
    };
    if slope(1.0) == 0.0 {
        return 1.0;
    }
    let (mut low, mut high) = (0.25_f32, 4.0_f32);
    for _ in 0..40 {
        let middle = (low * high).sqrt();
        if slope(middle) > 0.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    (low * high).sqrt()
}

impl Fit {
    /// What log-odds become under this fit.
    pub(crate) fn odds(self, [negative, positive]: [f32; 2]) -> [f32; 2] {
        let [to_negative, to_positive] = self.biases;
        [negative * self.scale + to_negative, positive * self.scale + to_positive]
    }

    /// The same, so many times as sure.
    pub(crate) fn times(self, factor: f32) -> Self {
        Self { scale: self.scale * factor, biases: self.biases.map(|bias| bias * factor) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(odds: [f32; 2], label: usize, weight: f32) -> Judged {
        Judged { odds, label, weight, labels: [true; 3] }
    }

    #[test]
    fn odds_that_are_too_sure_become_honest_however_sure_they_were() {
        // Three in four are right: log-odds of 1.1 would be honest.
        let side = |odds, right, wrong| [judged(odds, right, 3.0), judged(odds, wrong, 1.0)];
        for said in [0.2, 2.0, 40.0, 1000.0] {
            let all: Vec<Judged> =
                [side([said, -4.0 * said], 0, 1), side([-said, -4.0 * said], 1, 0)].concat();
            let fit = fit(&all);
            let [to_negative, _] = fit.biases;
            assert!((fit.scale * said - 3.0_f32.ln()).abs() < 0.05, "{said}: {fit:?}");
            assert!(to_negative.abs() < 0.05, "{said}: {fit:?}");
        }
    }

    #[test]
    fn a_kind_of_text_is_told_as_surely_as_it_is_right() {
        // Log-odds of 3 and a bias, of which three in four are right: 1.1 would be honest.
        let fit = Fit { scale: 2.0, biases: [1.0, -40.0] };
        let mostly = [judged([1.0, 0.0], 0, 3.0), judged([1.0, 0.0], 1, 1.0)];
        let factor = sureness(fit, &mostly);
        assert!((factor * 3.0 - 3.0_f32.ln()).abs() < 0.01, "{factor}");
        let Fit { scale, biases: [to_negative, _] } = fit.times(factor);
        assert!((scale + to_negative - 3.0_f32.ln()).abs() < 0.01);
        // Never right, and always: as far as may be.
        assert!(sureness(fit, &[judged([1.0, 0.0], 2, 1.0)]) < 0.26);
        let timid = Fit { scale: 0.1, biases: [0.0; 2] };
        assert!(sureness(timid, &[judged([1.0, 0.0], 0, 1.0)]) > 3.9);
        // Of a source without neutral texts only the other two are told apart: odds of 2.
        let fit = Fit { scale: 1.0, biases: [0.0; 2] };
        let polar = [([1.0, -1.0], 0, 3.0), ([1.0, -1.0], 2, 1.0)];
        let polar = polar.map(|(odds, label, weight)| Judged {
            labels: [true, false, true],
            ..judged(odds, label, weight)
        });
        assert!((sureness(fit, &polar) * 2.0 - 3.0_f32.ln()).abs() < 0.01);
    }

    #[test]
    fn without_messages_that_count_nothing_changes() {
        let unchanged = Fit { scale: 1.0, biases: [0.0; 2] };
        assert_eq!(fit(&[]), unchanged);
        assert_eq!(fit(&[judged([3.0, -3.0], 0, 0.0)]), unchanged);
        assert_eq!(fit(&[judged([0.0, 0.0], 0, 1.0)]), unchanged);
        let one_label = Judged { labels: [true, false, false], ..judged([3.0, -3.0], 0, 1.0) };
        for judged in [judged([3.0, -3.0], 0, 0.0), judged([0.0, 0.0], 0, 1.0), one_label] {
            assert_eq!(sureness(unchanged, &[judged]), 1.0, "{judged:?}");
        }
        assert_eq!(sureness(unchanged, &[]), 1.0);
    }
}
