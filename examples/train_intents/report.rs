//! What was learned from, and how good it is, as text.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use acequia::sentiment::intent::{Head, NOTHING};
use serde_json::json;

use crate::measure::{Figures, Outcome, mean_and_spread};
use crate::rows::{Data, LANGUAGES, Part, Row, TENTHS};
use crate::train::{Settings, Trained, judge, train};

/// What the model was trained on, as JSON. Says nothing of the machine.
pub(crate) fn manifest(
    name: &str,
    settings: &Settings,
    data: &Data,
) -> Result<String, Box<dyn Error>> {
    let file = |file: &crate::rows::File| {
        let name = file.path.file_name().map(|name| name.to_string_lossy().into_owned());
        json!({ "file": name, "rows": file.rows, "repeated": file.repeated, "sha256": file.sha256 })
    };
    let counts = |intent: usize| -> BTreeMap<&str, usize> {
        LANGUAGES.iter().map(|language| (*language, count(data, intent, language))).collect()
    };
    let names = data.intents.iter().enumerate();
    let intents: BTreeMap<_, _> = names.map(|(intent, name)| (name, counts(intent))).collect();
    let all = json!({
        "features": acequia::sentiment::features::SPECIFICATION,
        "name": name,
        "settings": settings,
        "intents": intents,
        "files": data.files.iter().map(file).collect::<Vec<_>>(),
    });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

fn count(data: &Data, intent: usize, language: &str) -> usize {
    let is_of = |row: &&Row| row.intent == intent && row.language == language;
    data.rows.iter().filter(is_of).count()
}

/// The figures of the model, and of each seed alone.
pub(crate) fn figures(
    name: &str,
    data: &Data,
    settings: &Settings,
    trained: &Trained,
    bytes: &[u8],
) -> Result<String, Box<dyn Error>> {
    let head = Head::read(bytes)?;
    let mut page = format!("# Figures of the intent model {name}\n\n");
    let _ = writeln!(page, "{} bytes; written by its trainer.\n", bytes.len());
    page.push_str(&sources(data));
    let _ = writeln!(
        page,
        "\nIn points. In brackets the mean of {} seeds, each trained alone in another order, and the \
         farthest from it. F1 and accuracy are those of the most probable intent. Coverage is the share \
         of the messages with an intent that are given one, precision the share of those given that are \
         right, at the threshold of {:.2}.",
        settings.seeds,
        head.threshold(),
    );
    page.push_str("\n## The tenth that is held out\n");
    let mut judged = Judged::default();
    judged.add(data, trained, 0)?;
    page.push_str(&judged.tables(data));
    page.push_str(
        "\n## Each tenth held out in turn\n\nTen models, each with a threshold of its own.\n",
    );
    for turn in 1..TENTHS {
        judged.add(data, &train(data, settings, turn)?, turn)?;
    }
    page.push_str(&judged.tables(data));
    Ok(page)
}

/// A table of the messages: intents by languages.
fn sources(data: &Data) -> String {
    let mut text = format!("| intent | {} |\n|---|---|---|---|\n", LANGUAGES.join(" | "));
    for (intent, name) in data.intents.iter().enumerate() {
        let cells = LANGUAGES.map(|language| count(data, intent, language).to_string());
        let _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text
}

/// What the model says of messages that it was not learned from, and what each seed alone says.
#[derive(Default)]
struct Judged {
    mean: Vec<Outcome>,
    seeds: Vec<Vec<Outcome>>,
}

impl Judged {
    fn add(&mut self, data: &Data, trained: &Trained, turn: u64) -> Result<(), Box<dyn Error>> {
        let rows = || data.rows.iter().filter(|row| row.part(turn) == Part::Test);
        let (head, seeds) = trained.heads()?;
        self.mean.extend(judge(&head, data, rows()));
        self.seeds.resize(seeds.len(), Vec::new());
        for (outcomes, head) in self.seeds.iter_mut().zip(&seeds) {
            outcomes.extend(judge(head, data, rows()));
        }
        Ok(())
    }

    fn tables(&self, data: &Data) -> String {
        let nothing = data.intents.iter().position(|name| name == NOTHING);
        let of = |outcomes: &[Outcome], language: &str| {
            let is_of = |it: &&Outcome| language == "all" || it.language == language;
            let outcomes: Vec<Outcome> = outcomes.iter().filter(is_of).copied().collect();
            Figures::of(&outcomes, data.intents.len(), nothing)
        };
        let spread = |language: &str, figure: &dyn Fn(&Figures) -> f32| {
            let each = self.seeds.iter().map(|outcomes| figure(&of(outcomes, language)));
            let (mean, spread) = mean_and_spread(&each.collect::<Vec<_>>());
            format!("({mean:.1} ± {spread:.1})")
        };
        let mut text = String::from(
            "\n| language | rows | macro-F1 | accuracy | coverage | precision |\n|---|---|---|---|---|---|\n",
        );
        for language in ["all"].into_iter().chain(LANGUAGES) {
            let figures = of(&self.mean, language);
            let Figures { rows, macro_f1, accuracy, coverage, precision, .. } = figures;
            if rows == 0 {
                continue;
            }
            let chance = spread(language, &|it| it.macro_f1);
            let _ = writeln!(
                text,
                "| {language} | {rows} | {macro_f1:.1} {chance} | {accuracy:.1} | {coverage:.1} | {precision:.1} |",
            );
        }
        text.push_str("\n| intent | rows | F1 |\n|---|---|---|\n");
        let all = of(&self.mean, "all");
        for (intent, (name, (rows, f1))) in data.intents.iter().zip(&all.each).enumerate() {
            let of_intent = |it: &Figures| it.each.get(intent).map_or(0.0, |(_, f1)| *f1);
            let chance = spread("all", &of_intent);
            let _ = writeln!(text, "| {name} | {rows} | {f1:.1} {chance} |");
        }
        text
    }
}
