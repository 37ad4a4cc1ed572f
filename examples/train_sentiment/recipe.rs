//! What to train on: a YAML file.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A recipe.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    /// Name and version of the model, at most 32 bytes: what is stamped on rows.
    pub(crate) name: String,
    /// log2 of the rows of each sentiment table.
    #[serde(default = "default_bits")]
    pub(crate) bits: u32,
    /// log2 of the rows of the language table.
    #[serde(default = "default_language_bits")]
    pub(crate) language_bits: u32,
    /// log2 of the rows of the domain table.
    #[serde(default = "default_domain_bits")]
    pub(crate) domain_bits: u32,
    /// How often to train, each time in another order; the model is the mean.
    #[serde(default = "default_seeds")]
    pub(crate) seeds: u64,
    #[serde(default)]
    pub(crate) spanish: Learning,
    #[serde(default)]
    pub(crate) english: Learning,
    /// Log-odds of the language below which both tables are asked.
    #[serde(default = "default_margin")]
    pub(crate) margin: f32,
    pub(crate) sources: Vec<Source>,
    /// Where the recipe lies.
    #[serde(skip)]
    folder: PathBuf,
    #[serde(skip)]
    public: Option<PathBuf>,
}

/// How to learn one language.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Learning {
    /// Passes over the data.
    pub(crate) epochs: u32,
    /// First step of each weight.
    pub(crate) rate: f32,
    /// Pull of each weight to zero.
    pub(crate) decay: f32,
    /// Share of the features that are left out of a message each time it is seen.
    pub(crate) dropout: f32,
    /// 0: every message counts the same; 1: every label does.
    pub(crate) balance: f32,
}

impl Default for Learning {
    fn default() -> Self {
        Self { epochs: 15, rate: 0.1, decay: 1e-5, dropout: 0.3, balance: 0.5 }
    }
}

/// Files of one kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    /// Name in the report.
    pub(crate) name: String,
    /// A pattern of paths, beside the recipe; `public/…` in the folder of public data.
    pub(crate) files: String,
    /// What one message counts in training; 0 leaves it out.
    #[serde(default = "default_weight")]
    pub(crate) weight: f32,
    #[serde(default)]
    pub(crate) role: Role,
    #[serde(default)]
    pub(crate) domain: Domain,
    /// What the tenth that it keeps for the calibration counts in.
    #[serde(default)]
    pub(crate) calibrates: Calibrates,
}

/// What kind of text: each has its own sureness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Domain {
    /// Messages to companies.
    #[default]
    Service,
    /// Anything else: posts, comments, lines of films.
    General,
}

/// What messages that are kept for the calibration count in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Calibrates {
    /// In both.
    #[default]
    Both,
    /// How the labels stand to each other; needs messages of every label.
    Balance,
    /// How sure the model is in texts of their domain.
    Sureness,
}

/// What messages are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// To learn from.
    #[default]
    Train,
    /// To learn from, but for a tenth that the calibration is fitted on.
    TrainAndValidate,
    /// To learn from, but for a tenth for the calibration and a tenth that is never looked at.
    TrainValidateTest,
    /// For the calibration.
    Validate,
    /// Only to be judged, but for what stands in the files of [`Role::TrainValidateTest`] before it.
    Judge,
}

impl Recipe {
    /// Read a recipe.
    pub(crate) fn read(path: &Path, public: Option<&Path>) -> Result<Self, Box<dyn Error>> {
        let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| said(&error))?;
        let mut recipe: Self = serde_saphyr::from_str(&text).map_err(|error| said(&error))?;
        recipe.folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        recipe.public = public.map(Path::to_owned);
        let is_sized = |bits: u32| (8..=22).contains(&bits);
        let sizes = [recipe.bits, recipe.language_bits, recipe.domain_bits];
        if !sizes.into_iter().all(is_sized) {
            return Err(said(&"`bits`, `language_bits` and `domain_bits` go from 8 to 22").into());
        }
        if recipe.name.is_empty() || recipe.name.len() > 32 || recipe.seeds == 0 {
            return Err(said(&"`name` has 1 to 32 bytes, and `seeds` is at least 1").into());
        }
        Ok(recipe)
    }

    /// The files of `source`, in order.
    pub(crate) fn files(&self, source: &Source) -> Result<Vec<PathBuf>, Box<dyn Error>> {
        let pattern = match source.files.strip_prefix("public/") {
            Some(rest) => {
                let public = self.public.as_ref().ok_or_else(|| {
                    format!("`{}` is public data: say with --public where it is", source.files)
                })?;
                public.join(rest)
            }
            None => self.folder.join(&source.files),
        };
        let shown = pattern.display().to_string();
        let mut files = glob::glob(&shown)?.collect::<Result<Vec<_>, _>>()?;
        files.sort();
        match files.is_empty() {
            true => Err(format!("no file matches {shown}").into()),
            false => Ok(files),
        }
    }
}

fn default_bits() -> u32 {
    18
}

fn default_language_bits() -> u32 {
    16
}

fn default_domain_bits() -> u32 {
    15
}

fn default_seeds() -> u64 {
    3
}

fn default_margin() -> f32 {
    2.0
}

fn default_weight() -> f32 {
    1.0
}
