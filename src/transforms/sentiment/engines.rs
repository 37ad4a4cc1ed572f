//! From the settings to what judges.

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "comprehend")]
use super::comprehend::Comprehend;
use super::config::{EmbeddedConfig, EngineConfig, Priors, SentimentConfig};
#[cfg(any(feature = "comprehend", feature = "transformer"))]
use super::engine::Asking;
use super::{Judge, SettingMistake};
use crate::component::Context;
use crate::error::Error;
use crate::sentiment::columns::Judges;
use crate::sentiment::{Judging, Model, model};

/// What is wrong with the engine's settings; a warning where a replay may label differently.
pub(super) fn check(config: &SentimentConfig) -> Result<Option<SettingMistake>, SettingMistake> {
    match &config.engine {
        EngineConfig::Embedded(engine) => embedded(config, engine).map(|_| None),
        #[cfg(feature = "transformer")]
        EngineConfig::Transformer(engine) => {
            refuse_mixed(config, "transformer")?;
            super::classifier::read(engine).map(|_| None)
        }
        #[cfg(feature = "comprehend")]
        EngineConfig::Comprehend(_) => {
            refuse_priors(config)?;
            Ok(Some(SettingMistake {
                path: vec!["engine", "comprehend"],
                what: "a replay may label differently: Amazon changes its model without notice"
                    .to_owned(),
                allowed: "`embedded` and `transformer` give the same label again".to_owned(),
                meant: None,
            }))
        }
    }
}

/// What judges by the settings.
#[cfg_attr(
    not(any(feature = "comprehend", feature = "transformer")),
    expect(unused_variables, reason = "the embedded engine needs no context")
)]
pub(super) fn build(config: &SentimentConfig, context: &Context) -> Result<Judge, SettingMistake> {
    Ok(match &config.engine {
        EngineConfig::Embedded(engine) => Judge::Embedded(embedded(config, engine)?),
        #[cfg(feature = "transformer")]
        EngineConfig::Transformer(engine) => {
            refuse_mixed(config, "transformer")?;
            let engine = super::classifier::Classifier::new(engine, judging(config), context)?;
            asking(Box::new(engine), "transformer")?
        }
        #[cfg(feature = "comprehend")]
        EngineConfig::Comprehend(engine) => {
            refuse_priors(config)?;
            let (aws, metrics) = (context.aws.clone(), context.metrics.clone());
            let engine = Comprehend::new(engine.clone(), config.mixed, aws, metrics);
            asking(Box::new(engine), "comprehend")?
        }
    })
}

#[cfg(any(feature = "comprehend", feature = "transformer"))]
fn asking(
    engine: Box<dyn super::engine::Engine>,
    kind: &'static str,
) -> Result<Judge, SettingMistake> {
    let asking = Asking::new(engine).map(|asking| Judge::Engine(Arc::new(asking)));
    asking.map_err(|error| SettingMistake {
        path: vec!["engine", kind],
        what: error.to_string(),
        allowed: "a program that is whole".to_owned(),
        meant: None,
    })
}

fn judging(config: &SentimentConfig) -> Judging {
    let judging = Judging { mixed: config.mixed, ..Judging::default() };
    match config.priors {
        None => judging,
        Some(Priors { negative, neutral, positive }) => {
            judging.with_shares(negative, neutral, positive)
        }
    }
}

fn embedded(
    config: &SentimentConfig,
    engine: &EmbeddedConfig,
) -> Result<Arc<Judges>, SettingMistake> {
    let mistake = |error: Error| SettingMistake {
        path: vec!["engine", "embedded", "model"],
        what: error.to_string(),
        allowed: "a model file that `train_sentiment` of this version wrote".to_owned(),
        meant: None,
    };
    let judging = judging(config);
    let model = match &engine.model {
        None if judging == Judging::default() => return Judges::built_in().map_err(mistake),
        None => Model::built_in(),
        Some(path) => model::read_file(Path::new(path)),
    };
    Ok(Arc::new(Judges::new(model.map_err(mistake)?, judging)))
}

/// An engine that has one label for each text and no clauses.
#[cfg(feature = "transformer")]
fn refuse_mixed(config: &SentimentConfig, kind: &str) -> Result<(), SettingMistake> {
    match config.mixed {
        false => Ok(()),
        true => Err(SettingMistake {
            path: vec!["mixed"],
            what: format!("the engine `{kind}` does not tell mixed texts"),
            allowed: "leave it out, or take the engine `embedded` or `comprehend`".to_owned(),
            meant: None,
        }),
    }
}

/// An engine that takes no shares.
#[cfg(feature = "comprehend")]
fn refuse_priors(config: &SentimentConfig) -> Result<(), SettingMistake> {
    match config.priors {
        None => Ok(()),
        Some(_) => Err(SettingMistake {
            path: vec!["priors"],
            what: "the engine `comprehend` takes no shares".to_owned(),
            allowed: "leave them out, or take the engine `embedded`".to_owned(),
            meant: None,
        }),
    }
}
