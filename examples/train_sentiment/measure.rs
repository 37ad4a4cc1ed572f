//! How good labels are.

/// Figures of judged messages, in points (0 to 100).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) rows: usize,
    /// Mean of the F1 of the three labels.
    pub(crate) macro_f1: f32,
    /// Mean of the recall of the three labels, the measure of SemEval.
    pub(crate) recall: f32,
    pub(crate) accuracy: f32,
    /// Mean of what they were told with.
    pub(crate) confidence: f32,
    /// Expected calibration error: how far confidence and accuracy are apart, in ten bins.
    pub(crate) calibration_error: f32,
    /// F1 of negative, neutral, positive.
    pub(crate) f1: [f32; 3],
}

/// One judged message: its label, the label that it was given, and how surely.
pub(crate) type Outcome = (usize, usize, f32);

impl Figures {
    pub(crate) fn of(outcomes: &[Outcome]) -> Self {
        let count =
            |is: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|it| is(it)).count() as f32;
        let rows = outcomes.len().max(1) as f32;
        let mut figures = Self { rows: outcomes.len(), ..Self::default() };
        let mut labels = 0.0;
        for (label, f1) in figures.f1.iter_mut().enumerate() {
            let right = count(&|it| it.0 == label && it.1 == label);
            let (all, given) = (count(&|it| it.0 == label), count(&|it| it.1 == label));
            *f1 = 200.0 * right / (all + given).max(1.0);
            if all > 0.0 {
                labels += 1.0;
                figures.macro_f1 += *f1;
                figures.recall += 100.0 * right / all;
            }
        }
        figures.macro_f1 /= f32::max(labels, 1.0);
        figures.recall /= f32::max(labels, 1.0);
        figures.accuracy = 100.0 * count(&|it| it.0 == it.1) / rows;
        figures.confidence = 100.0 * outcomes.iter().map(|it| it.2).sum::<f32>() / rows;
        for bin in 0..10 {
            let is_in = |it: &Outcome| ((it.2 * 10.0) as usize).min(9) == bin;
            let sure: f32 = outcomes.iter().filter(|it| is_in(it)).map(|it| it.2).sum();
            let right = count(&|it| is_in(it) && it.0 == it.1);
            figures.calibration_error += 100.0 * (sure - right).abs() / rows;
        }
        figures
    }
}

/// Mean, and how far the farthest is from it.
pub(crate) fn mean_and_spread(values: &[f32]) -> (f32, f32) {
    let mean = values.iter().sum::<f32>() / values.len().max(1) as f32;
    let spread = values.iter().map(|value| (value - mean).abs()).fold(0.0, f32::max);
    (mean, spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_textbook() {
        // Two of three negatives right, the neutral right, the positive taken for neutral.
        let outcomes = [(0, 0, 0.95), (0, 0, 0.95), (0, 1, 0.55), (1, 1, 0.85), (2, 1, 0.45)];
        let figures = Figures::of(&outcomes);
        assert_eq!(figures.f1.map(f32::round), [80.0, 50.0, 0.0]);
        assert_eq!(figures.recall.round(), 56.0);
        assert_eq!(figures.accuracy.round(), 60.0);
        assert_eq!(figures.confidence.round(), 75.0);
        // (1.9 - 2) + 0.55 + (0.85 - 1) + 0.45, each as a distance, over five.
        assert!((figures.calibration_error - 25.0).abs() < 0.1, "{figures:?}");
    }
}
