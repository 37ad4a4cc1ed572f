//! Stages between the decoder and the sinks.

pub mod sentiment;
pub mod sql;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Context, Transform};
use crate::event::SystemSchema;

/// One stage: exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransformConfig {
    /// One SELECT over `changes`.
    Sql(sql::SqlConfig),
    /// Adds whether a text is content, displeased or neither.
    Sentiment(Box<sentiment::SentimentConfig>),
}

/// What a sound stage gives and reads.
#[derive(Debug)]
pub struct Checked {
    /// The schema of its rows.
    pub schema: SchemaRef,
    /// True where it reads what a broker carries around a message's value.
    pub reads_message: bool,
    /// What is allowed and has to be known.
    pub warning: Option<SettingMistake>,
}

/// What is wrong with a stage.
#[derive(Debug, PartialEq, Eq)]
pub enum Mistake {
    /// In its SQL text, at a place inside it.
    Sql(sql::SqlError),
    /// In one of its settings.
    Setting(SettingMistake),
}

/// What is wrong with one setting of a stage.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingMistake {
    /// The setting, from the stage's own name on: `into`, `label`.
    pub path: Vec<&'static str>,
    /// What is wrong.
    pub what: String,
    /// What is allowed.
    pub allowed: String,
    /// What was probably meant.
    pub meant: Option<String>,
}

impl TransformConfig {
    /// The name of the kind, as it is written in a pipeline.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sql(_) => "sql",
            Self::Sentiment(_) => "sentiment",
        }
    }

    /// Check the stage over rows of schema `input`: everything that [`build`](Self::build) checks,
    /// without a context.
    pub fn check(&self, input: &SchemaRef, system: &SystemSchema) -> Result<Checked, Mistake> {
        match self {
            Self::Sql(config) => sql::check_select(&config.0, input, system).map_err(Mistake::Sql),
            Self::Sentiment(config) => sentiment::check(config, input).map_err(Mistake::Setting),
        }
    }

    /// Build the stage. `name` is its name in dead letters, like `transforms[0].sql`.
    pub fn build(
        &self,
        input: &SchemaRef,
        system: &SystemSchema,
        name: &str,
        context: &Context,
    ) -> Result<Arc<dyn Transform>, Mistake> {
        Ok(match self {
            Self::Sql(config) => {
                let stage = sql::SqlTransform::new(&config.0, input, system, name, context);
                Arc::new(stage.map_err(Mistake::Sql)?)
            }
            Self::Sentiment(config) => {
                let stage = sentiment::SentimentTransform::new(config, input, context);
                Arc::new(stage.map_err(Mistake::Setting)?)
            }
        })
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(error) => error.fmt(out),
            Self::Setting(SettingMistake { path, what, allowed, .. }) => {
                write!(out, "{}: {what}; {allowed}", path.join("."))
            }
        }
    }
}

impl std::error::Error for Mistake {}
