//! Labelled messages.

use std::collections::HashSet;
use std::error::Error;
use std::path::PathBuf;

use acequia::sentiment::{Features, Language, features_of};
use sha2::{Digest, Sha256};

use crate::recipe::{Recipe, Role};

/// Labels in the order of the numbers that stand for them.
pub(crate) const LABELS: [&str; 3] = ["negative", "neutral", "positive"];

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Index in [`LABELS`].
    pub(crate) label: usize,
    /// `None` where both languages are in it.
    pub(crate) language: Option<Language>,
    /// Index of its source in the recipe.
    pub(crate) source: usize,
    pub(crate) text: String,
    pub(crate) features: Features,
    /// What a row is for, by its source's role and its tenth.
    pub(crate) part: Part,
    /// A number from 0 to 999 that its words alone decide.
    pub(crate) lot: u64,
}

/// What one row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Train,
    Validation,
    Test,
    Judged,
}

/// The share of the own training data that is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share(pub(crate) u64);

impl Share {
    pub(crate) const ALL: Self = Self(1000);
}

/// All rows, and the files that they came from.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) rows: Vec<Row>,
    pub(crate) files: Vec<File>,
}

/// One file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) source: usize,
    pub(crate) rows: usize,
    /// Rows whose words were met before: they count once, and are not judged by.
    pub(crate) repeated: usize,
    pub(crate) sha256: String,
}

impl Data {
    /// Read every file of the recipe.
    pub(crate) fn read(recipe: &Recipe) -> Result<Self, Box<dyn Error>> {
        let mut data = Self { rows: Vec::new(), files: Vec::new() };
        let mut met = HashSet::new();
        for (source, settings) in recipe.sources.iter().enumerate() {
            for path in recipe.files(settings)? {
                let bytes = std::fs::read(&path)?;
                let text = String::from_utf8(bytes)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                let before = data.rows.len();
                let mut repeated = 0;
                for (number, line) in text.lines().enumerate() {
                    let place = || format!("{}:{}", path.display(), number + 1);
                    let Some(row) = row(line, source, settings.role)
                        .map_err(|what| format!("{}: {what}", place()))?
                    else {
                        continue;
                    };
                    let words = &row.features.words;
                    let is_met = !words.is_empty()
                        && match settings.role {
                            Role::TrainValidateTest => !met.insert(words.clone()),
                            Role::Judge => met.contains(words),
                            _ => false,
                        };
                    if is_met {
                        repeated += 1;
                        continue;
                    }
                    data.rows.push(row);
                }
                let sha256 = format!("{:x}", Sha256::digest(text.as_bytes()));
                let rows = data.rows.len() - before;
                data.files.push(File { path, source, rows, repeated, sha256 });
            }
        }
        Ok(data)
    }

    /// Rows to learn `language` from, with their weights.
    pub(crate) fn training(
        &self,
        recipe: &Recipe,
        language: Language,
        share: Share,
    ) -> Vec<(&Row, f32)> {
        let mixed = 0.5;
        let weighted = |row: &Row| {
            let source = recipe.sources.get(row.source)?;
            let is_left_out = source.role == Role::TrainValidateTest && row.lot >= share.0;
            let weight = match row.language {
                Some(its) if its == language => source.weight,
                Some(_) => 0.0,
                None => source.weight * mixed,
            };
            (row.part == Part::Train && !is_left_out && weight > 0.0).then_some(weight)
        };
        self.rows.iter().filter_map(|row| Some((row, weighted(row)?))).collect()
    }
}

/// One line; `None` for a label that is not learned.
fn row(line: &str, source: usize, role: Role) -> Result<Option<Row>, String> {
    let mut fields = line.splitn(3, '\t');
    let (Some(label), Some(language), Some(text)) = (fields.next(), fields.next(), fields.next())
    else {
        return Err("a line is label, language, text, with tabs between".to_owned());
    };
    if label == "mixed" {
        return Ok(None);
    }
    let label = LABELS
        .iter()
        .position(|known| *known == label)
        .ok_or_else(|| format!("`{label}` is no label: one of {}, mixed", LABELS.join(", ")))?;
    let language = match language {
        "mix" => None,
        tag => Some(
            Language::of_tag(tag)
                .ok_or_else(|| format!("`{tag}` is no language: one of es, en, mix"))?,
        ),
    };
    let features = features_of(text);
    let digest = Sha256::digest(match features.words.is_empty() {
        true => text.as_bytes(),
        false => features.words.as_bytes(),
    });
    let number = digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let part = match (role, number % 10) {
        (Role::TrainValidateTest, 0) => Part::Test,
        (Role::TrainValidateTest | Role::TrainAndValidate, 1) | (Role::Validate, _) => {
            Part::Validation
        }
        (Role::Judge, _) => Part::Judged,
        _ => Part::Train,
    };
    let lot = number / 10 % 1000;
    let text = text.to_owned();
    Ok(Some(Row { label, language, source, text, features, part, lot }))
}
