//! Makes probabilities of log-odds that are right as often as they say.

use super::learn::softmax;

/// Log-odds of negative and of positive against neutral, the label, and what it counts.
pub(crate) type Judged = ([f32; 2], usize, f32);

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
    let all: f32 = judged.iter().map(|(_, _, weight)| weight).sum();
    let square = |([negative, positive], _, weight): &Judged| {
        (negative * negative + positive * positive) * weight / all
    };
    let size = judged.iter().map(square).sum::<f32>().sqrt();
    if !size.is_normal() {
        return fit;
    }
    for _ in 0..2000 {
        let (mut scale, mut biases) = (0.0, [0.0; 2]);
        for (odds, label, weight) in judged {
            let [negative, positive] = odds.map(|odds| odds / size);
            let [to_negative, to_positive] = fit.biases;
            let odds =
                [negative * fit.scale + to_negative, 0.0, positive * fit.scale + to_positive];
            let mut slopes = softmax(odds);
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
/// which their labels are most probable, from a twentieth to twenty. The probability falls on both sides
/// of it, so that halving finds it. 1 where nothing counts.
pub(crate) fn sureness(fit: Fit, judged: &[Judged]) -> f32 {
    let odds: Vec<Judged> =
        judged.iter().map(|(odds, label, weight)| (fit.odds(*odds), *label, *weight)).collect();
    let slope = |factor: f32| -> f32 {
        let of = |(odds, label, weight): &Judged| {
            let [negative, positive] = *odds;
            let odds = [negative, 0.0, positive];
            let expected: f32 =
                softmax(odds.map(|odds| odds * factor)).iter().zip(odds).map(|(p, o)| p * o).sum();
            (expected - odds.get(*label).copied().unwrap_or(0.0)) * weight
        };
        odds.iter().map(of).sum()
    };
    let (mut low, mut high) = (0.05_f32, 20.0_f32);
    if odds.iter().all(|(_, _, weight)| *weight <= 0.0) {
        return 1.0;
    }
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
    /// The log-odds under this fit.
    fn odds(self, [negative, positive]: [f32; 2]) -> [f32; 2] {
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

    #[test]
    fn odds_that_are_too_sure_become_honest_however_sure_they_were() {
        // Three in four are right: log-odds of 1.1 would be honest.
        let side = |odds: [f32; 2], right, wrong| [(odds, right, 3.0), (odds, wrong, 1.0)];
        for said in [0.2, 2.0, 40.0, 1000.0] {
            let judged: Vec<Judged> =
                [side([said, -4.0 * said], 0, 1), side([-said, -4.0 * said], 1, 0)].concat();
            let fit = fit(&judged);
            let [to_negative, _] = fit.biases;
            assert!((fit.scale * said - 3.0_f32.ln()).abs() < 0.05, "{said}: {fit:?}");
            assert!(to_negative.abs() < 0.05, "{said}: {fit:?}");
        }
    }

    #[test]
    fn a_kind_of_text_is_told_as_surely_as_it_is_right() {
        // Log-odds of 3 and a bias, of which three in four are right: 1.1 would be honest.
        let fit = Fit { scale: 2.0, biases: [1.0, -40.0] };
        let judged: Vec<Judged> = vec![([1.0, 0.0], 0, 3.0), ([1.0, 0.0], 1, 1.0)];
        let factor = sureness(fit, &judged);
        assert!((factor * 3.0 - 3.0_f32.ln()).abs() < 0.01, "{factor}");
        let Fit { scale, biases: [to_negative, _] } = fit.times(factor);
        assert!((scale + to_negative - 3.0_f32.ln()).abs() < 0.01);
        // All right: as sure as may be.
        assert!(sureness(fit, &[([1.0, 0.0], 0, 1.0)]) > 19.0);
    }

    #[test]
    fn without_messages_that_count_nothing_changes() {
        let unchanged = Fit { scale: 1.0, biases: [0.0; 2] };
        assert_eq!(fit(&[]), unchanged);
        assert_eq!(fit(&[([3.0, -3.0], 0, 0.0)]), unchanged);
        assert_eq!(fit(&[([0.0, 0.0], 0, 1.0)]), unchanged);
        assert_eq!(
            [sureness(unchanged, &[]), sureness(unchanged, &[([3.0, -3.0], 0, 0.0)])],
            [1.0; 2]
        );
    }
}
