//! From the settings to what tells intents.

use std::path::Path;

use super::SettingMistake;
use super::config::IntentConfig;
use crate::sentiment::intent::{self, Intents, Rules};

/// What tells intents by the settings.
pub(super) fn read(config: &IntentConfig) -> Result<Intents, SettingMistake> {
    let mistake = |path: Vec<&'static str>, what: String, allowed: &str| SettingMistake {
        path,
        what,
        allowed: allowed.to_owned(),
        meant: None,
    };
    if config.rules.is_empty() && config.model.is_none() {
        let what = "says nothing about how intents are told".to_owned();
        return Err(mistake(vec!["intent"], what, "`rules`, `model`, or both"));
    }
    let rules = match config.rules.as_slice() {
        [] => None,
        rules => {
            let rules = rules.iter().map(|rule| (rule.intent.as_str(), rule.phrases.as_slice()));
            let allowed = "phrases of words, each in one rule, with a `*` at the end at most";
            let rules = Rules::new(rules)
                .map_err(|error| mistake(vec!["intent", "rules"], error.to_string(), allowed));
            Some(rules?)
        }
    };
    let head = config.model.as_ref().map(|path| intent::read_file(Path::new(path)));
    let head = head.transpose().map_err(|error| {
        let allowed = "a model file that `train_intents` of this version wrote";
        mistake(vec!["intent", "model"], error.to_string(), allowed)
    })?;
    Ok(Intents::new(rules, head))
}
