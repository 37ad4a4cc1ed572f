//! How good intents are.

/// One judged message.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Outcome {
    /// The intent that it is labelled with.
    pub(crate) right: usize,
    /// The most probable one.
    pub(crate) told: usize,
    pub(crate) probability: f32,
    /// The most probable one is called `none`.
    pub(crate) is_nothing: bool,
    /// The pipeline gives the most probable one: it is no `none` and probable enough.
    pub(crate) is_given: bool,
    pub(crate) language: &'static str,
}

/// Figures of judged messages, in points (0 to 100).
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) rows: usize,
    /// Mean of the F1 of all intents that there are messages of.
    pub(crate) macro_f1: f32,
    pub(crate) accuracy: f32,
    /// Share of the messages with an intent that are given one.
    pub(crate) coverage: f32,
    /// Share of the intents given that are right.
    pub(crate) precision: f32,
    /// Messages and F1 of each intent.
    pub(crate) each: Vec<(usize, f32)>,
}

impl Figures {
    /// Of messages of so many intents; `nothing` is the one that is none.
    pub(crate) fn of(outcomes: &[Outcome], intents: usize, nothing: Option<usize>) -> Self {
        let count = |is: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|it| is(it)).count();
        let share = |part: usize, all: usize| 100.0 * part as f32 / all.max(1) as f32;
        let f1 = |intent: usize| {
            let right = count(&|it| it.right == intent && it.told == intent);
            let (all, told) = (count(&|it| it.right == intent), count(&|it| it.told == intent));
            (all, share(2 * right, all + told))
        };
        let each: Vec<(usize, f32)> = (0..intents).map(f1).collect();
        let known: Vec<f32> =
            each.iter().filter(|(rows, _)| *rows > 0).map(|(_, f1)| *f1).collect();
        let given = count(&|it| it.is_given);
        let is_asking = |it: &Outcome| Some(it.right) != nothing;
        Self {
            rows: outcomes.len(),
            macro_f1: known.iter().sum::<f32>() / known.len().max(1) as f32,
            accuracy: share(count(&|it| it.right == it.told), outcomes.len()),
            coverage: share(count(&|it| it.is_given && is_asking(it)), count(&is_asking)),
            precision: share(count(&|it| it.is_given && it.right == it.told), given),
            each,
        }
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
        // Of two of the first one right, of two of the second both, one of none taken for the second;
        // of the fourth there is none.
        let outcome =
            |right, told, is_given| Outcome { right, told, is_given, ..Outcome::default() };
        let outcomes = [
            outcome(0, 0, true),
            outcome(0, 1, true),
            outcome(1, 1, true),
            outcome(1, 1, false),
            outcome(2, 1, true),
        ];
        let figures = Figures::of(&outcomes, 4, Some(2));
        let f1: Vec<f32> = figures.each.iter().map(|(_, f1)| f1.round()).collect();
        assert_eq!(f1, [67.0, 67.0, 0.0, 0.0]);
        assert_eq!((figures.macro_f1.round(), figures.accuracy), (44.0, 60.0));
        assert_eq!((figures.coverage, figures.precision), (75.0, 50.0));
        assert_eq!(mean_and_spread(&[1.0, 2.0, 6.0]), (3.0, 3.0));
    }
}
