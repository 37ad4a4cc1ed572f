//! The `tests:` of a pipeline: changes in, rows out, through the real decoder, stages and filters.

mod compare;
mod records;

use serde::Serialize;

use super::rehearsal::{Played, Rehearsal};
use crate::component::{Context, Stamp, Versioning};
use crate::config::{Loaded, TestConfig};
use crate::error::Result;

/// How one test ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExampleOutcome {
    /// The test's name.
    pub name: String,
    /// What differs from what is expected, and the events that were refused; empty where it passed.
    pub failures: Vec<String>,
}

impl ExampleOutcome {
    /// True where everything is as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Run the tests of `loaded` whose name contains `wanted`, in their order.
pub async fn run(loaded: &Loaded, context: &Context, wanted: &str) -> Result<Vec<ExampleOutcome>> {
    let mut outcomes = Vec::new();
    for test in loaded.pipeline.tests.iter().filter(|test| test.name.contains(wanted)) {
        let mut rehearsal = Rehearsal::new(loaded, context)?;
        let stamp = Stamp {
            stream: loaded.pipeline.name.as_str().into(),
            partition: "test".into(),
            versioning: Versioning::Position { base: 1 << 36 },
            first_ordinal: 1,
        };
        let raw = records::of(test, loaded);
        let played = rehearsal.play(&raw, &stamp).await?;
        outcomes.push(judge(test, &played));
    }
    Ok(outcomes)
}

fn judge(test: &TestConfig, played: &Played) -> ExampleOutcome {
    let mut failures = Vec::new();
    for (sink, rows) in &test.expect {
        let Some((_, found)) = played.sinks.iter().find(|(name, _)| name == sink) else {
            failures.push(format!("there is no sink `{sink}`"));
            continue;
        };
        failures.extend(compare::differences(sink, rows, found));
    }
    if !failures.is_empty() {
        // A refused event is most often why rows are missing.
        failures.extend(played.dead_letters.iter().map(|letter| {
            format!("an event became a dead letter of {}: {}", letter.stage, letter.reason)
        }));
    }
    ExampleOutcome { name: test.name.clone(), failures }
}

#[cfg(test)]
mod tests;
