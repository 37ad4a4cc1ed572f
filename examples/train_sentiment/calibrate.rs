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
    fn without_messages_that_count_nothing_changes() {
        let unchanged = Fit { scale: 1.0, biases: [0.0; 2] };
        assert_eq!(fit(&[]), unchanged);
        assert_eq!(fit(&[([3.0, -3.0], 0, 0.0)]), unchanged);
        assert_eq!(fit(&[([0.0, 0.0], 0, 1.0)]), unchanged);
    }
}
