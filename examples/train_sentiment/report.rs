//! What was learned from, and how good it is, as text.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;

use acequia::sentiment::{Language, Model};
use serde_json::json;

use crate::measure::mean_and_spread;
use crate::recipe::{Recipe, Role};
use crate::rows::{Data, Part, Row, Share};
use crate::train::{Trained, generality, judge, tell, train};

/// A table of the sources: rows, languages, labels.
pub(crate) fn sources(recipe: &Recipe, data: &Data) -> String {
    let mut text = "| source | es | en | mix | negative | neutral | positive | met before |\n|---|---|---|---|---|---|---|---|\n".to_owned();
    for (index, source) in recipe.sources.iter().enumerate() {
        let rows: Vec<&Row> = data.rows.iter().filter(|row| row.source == index).collect();
        let speaks = |language| rows.iter().filter(|row| row.language == language).count();
        let labelled = |label| rows.iter().filter(|row| row.label == label).count();
        let repeated: usize =
            data.files.iter().filter(|file| file.source == index).map(|file| file.repeated).sum();
        let languages = [Some(Language::Spanish), Some(Language::English), None].map(speaks);
        let cells = languages.into_iter().chain([0, 1, 2].map(labelled)).chain([repeated]);
        let cells: Vec<String> = cells.map(|cell| cell.to_string()).collect();
        let _ = writeln!(text, "| {} | {} |", source.name, cells.join(" | "));
    }
    text
}

/// What the model was trained on, as JSON. Says nothing of the machine.
pub(crate) fn manifest(recipe: &Recipe, data: &Data) -> Result<String, Box<dyn Error>> {
    let file = |file: &crate::rows::File| {
        let name = file.path.file_name().map(|name| name.to_string_lossy().into_owned());
        let source = recipe.sources.get(file.source).map(|source| source.name.clone());
        json!({ "source": source, "file": name, "rows": file.rows, "sha256": file.sha256 })
    };
    let files: Vec<_> = data.files.iter().map(file).collect();
    let specification = acequia::sentiment::features::SPECIFICATION;
    let all = json!({ "features": specification, "recipe": recipe, "files": files });
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}

/// Groups of rows that figures are given for: source, language, part.
fn groups<'a>(
    recipe: &Recipe,
    data: &'a Data,
) -> BTreeMap<(String, &'static str, &'static str), Vec<&'a Row>> {
    let mut groups: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for row in &data.rows {
        let part = match row.part {
            Part::Train => continue,
            Part::Validation => "validation",
            Part::Test => "test",
            Part::Judged => "judged only",
        };
        let Some(source) = recipe.sources.get(row.source) else { continue };
        let language = row.language.map_or("mix", Language::code);
        groups.entry((source.name.clone(), language, part)).or_default().push(row);
    }
    groups
}

/// The figures of the model, and of each seed alone.
pub(crate) fn figures(
    recipe: &Recipe,
    data: &Data,
    trained: &Trained,
    bytes: &[u8],
) -> Result<String, Box<dyn Error>> {
    let model = Model::read(bytes)?;
    let seeds = trained.seed_models()?;
    let mut text = format!("# Figures of the model {}\n\n", recipe.name);
    let _ = writeln!(text, "{} bytes; written by its trainer.\n", bytes.len());
    text.push_str(&sources(recipe, data));
    text.push_str("\nIn points. In brackets the mean of the seeds, each trained alone in another order, and the farthest from it.\n\n");
    text.push_str("| source | language | part | rows | macro-F1 | recall | accuracy, confidence | calibration error | general domain | F1 of negative, neutral, positive |\n|---|---|---|---|---|---|---|---|---|---|\n");
    for ((source, language, part), rows) in groups(recipe, data) {
        let general = generality(&model, rows.iter().copied());
        let all = judge(&model, rows.iter().copied());
        let each = seeds.iter().map(|model| judge(model, rows.iter().copied()).macro_f1);
        let (mean, spread) = mean_and_spread(&each.collect::<Vec<_>>());
        let [negative, neutral, positive] = all.f1;
        let _ = writeln!(
            text,
            "| {source} | {language} | {part} | {} | {:.1} ({mean:.1} ± {spread:.1}) | {:.1} | {:.1}, {:.1} | {:.1} | {general:.0} | {negative:.0}, {neutral:.0}, {positive:.0} |",
            all.rows, all.macro_f1, all.recall, all.accuracy, all.confidence, all.calibration_error,
        );
    }
    text.push_str(&own(recipe, data, &model));
    text.push_str(&languages(recipe, data, &model));
    Ok(text)
}

/// The sources that keep a test, as a whole: what the model is for.
fn own(recipe: &Recipe, data: &Data, model: &Model) -> String {
    let mut text = String::from(
        "\n| all own data | rows | macro-F1 | calibration error |\n|---|---|---|---|\n",
    );
    for (name, part) in [("validation", Part::Validation), ("test", Part::Test)] {
        let is_own = |row: &&Row| {
            let source = recipe.sources.get(row.source);
            row.part == part && source.is_some_and(|it| it.role == Role::TrainValidateTest)
        };
        let figures = judge(model, data.rows.iter().filter(is_own));
        let _ = writeln!(
            text,
            "| {name} | {} | {:.1} | {:.1} |",
            figures.rows, figures.macro_f1, figures.calibration_error
        );
    }
    text
}

/// How often the language is told, by length.
fn languages(recipe: &Recipe, data: &Data, model: &Model) -> String {
    let mut text = String::from(
        "\n| language of | part | below 20 characters | from 20 |\n|---|---|---|---|\n",
    );
    for ((source, language, part), rows) in groups(recipe, data) {
        if language == "mix" {
            continue;
        }
        let is_short = |row: &&Row| row.text.chars().count() < 20;
        let usable = || rows.iter().copied().filter(|row| !row.features.words.is_empty());
        let (short, short_right) = tell(model, usable().filter(is_short));
        let (long, long_right) = tell(model, usable().filter(|row| !is_short(row)));
        let _ = writeln!(
            text,
            "| {source} {language} | {part} | {short_right:.1} of {short} | {long_right:.1} of {long} |"
        );
    }
    text
}

/// What more data gives: the figures with a quarter and a half of the own training data.
pub(crate) fn curve(recipe: &Recipe, data: &Data, all: &Trained) -> Result<String, Box<dyn Error>> {
    let mut text = String::from(
        "\nMacro-F1 by the share of the own training data:\n\n| source | language | part | a quarter | a half | all |\n|---|---|---|---|---|---|\n",
    );
    let mut models = Vec::new();
    for share in [Share(250), Share(500)] {
        models.push(train(recipe, data, share)?.weights("part", "").write());
    }
    models.push(all.weights("all", "").write());
    let models: Vec<Model> =
        models.into_iter().map(|bytes| Model::read(&bytes)).collect::<Result<_, _>>()?;
    for ((source, language, part), rows) in groups(recipe, data) {
        let cells = models.iter().map(|model| judge(model, rows.iter().copied()).macro_f1);
        let cells: Vec<String> = cells.map(|cell| format!("{cell:.1}")).collect();
        let _ = writeln!(text, "| {source} | {language} | {part} | {} |", cells.join(" | "));
    }
    Ok(text)
}
