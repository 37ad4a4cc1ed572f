//! Every text of the settings that names a place, with where it stands in the file.

use super::load::{Location, OwnedStep};
use super::pipeline::PipelineConfig;
use crate::checkpoint::CheckpointConfig;
use crate::sources::SourceConfig;
use crate::sources::archive::Paths;
#[cfg(feature = "kafka")]
use crate::sources::kafka::TlsConfig;
use crate::transforms::TransformConfig;
use crate::transforms::sentiment::EngineConfig;

impl PipelineConfig {
    /// The locations; a new component adds its own here.
    pub(super) fn locations(&mut self) -> Vec<(Vec<OwnedStep>, Location<'_>)> {
        let mut all = vec![(keys(&["contract"]), Location::Path(&mut self.contract))];
        let steps = || keys(&["source", "archive", "path"]);
        match &mut self.source {
            SourceConfig::Archive(archive) => match &mut archive.path {
                Paths::One(pattern) => all.push((steps(), Location::Pattern(pattern))),
                Paths::Many(patterns) => {
                    for (index, pattern) in patterns.iter_mut().enumerate() {
                        let mut steps = steps();
                        steps.push(OwnedStep::Item(index));
                        all.push((steps, Location::Pattern(pattern)));
                    }
                }
            },
            #[cfg(feature = "kafka")]
            SourceConfig::Kafka(kafka) => {
                if let Some(TlsConfig { ca, certificate, key }) = &mut kafka.tls {
                    let files = [("ca", ca), ("certificate", certificate), ("key", key)];
                    for (name, file) in files {
                        let steps = keys(&["source", "kafka", "tls", name]);
                        all.extend(file.as_mut().map(|file| (steps, Location::Path(file))));
                    }
                }
                let sasl = kafka.sasl.as_mut();
                if let Some(file) = sasl.and_then(|sasl| sasl.token_file.as_mut()) {
                    let steps = keys(&["source", "kafka", "sasl", "token_file"]);
                    all.push((steps, Location::Path(file)));
                }
            }
        }
        all.extend(models(&mut self.transforms));
        for (name, sink) in &mut self.sinks {
            if let Some(parquet) = &mut sink.parquet {
                let steps = keys(&["sinks", name, "parquet", "url"]);
                all.push((steps, Location::Url(&mut parquet.url)));
            }
            #[cfg(feature = "opensearch")]
            if let Some(file) = sink.opensearch.as_mut().and_then(|search| search.ca.as_mut()) {
                all.push((keys(&["sinks", name, "opensearch", "ca"]), Location::Path(file)));
            }
            #[cfg(feature = "search")]
            if let Some(search) = &mut sink.search {
                let steps = keys(&["sinks", name, "search", "path"]);
                all.push((steps, Location::Path(&mut search.path)));
            }
        }
        let letters = Location::Url(&mut self.dead_letters.url);
        all.push((keys(&["dead_letters", "url"]), letters));
        match &mut self.checkpoint {
            Some(CheckpointConfig::File(file)) => {
                all.push((keys(&["checkpoint", "file", "path"]), Location::Path(&mut file.path)));
            }
            #[cfg(feature = "aws")]
            Some(CheckpointConfig::S3(s3)) => {
                all.push((keys(&["checkpoint", "s3", "url"]), Location::Url(&mut s3.url)));
            }
            _ => {}
        }
        if let Some(scratch) = &mut self.scratch {
            all.push((keys(&["scratch"]), Location::Path(scratch)));
        }
        all
    }
}

fn keys(keys: &[&str]) -> Vec<OwnedStep> {
    keys.iter().map(|key| OwnedStep::Key((*key).to_owned())).collect()
}

/// The model files that stages name.
fn models(stages: &mut [TransformConfig]) -> Vec<(Vec<OwnedStep>, Location<'_>)> {
    let mut models = Vec::new();
    for (index, stage) in stages.iter_mut().enumerate() {
        let TransformConfig::Sentiment(sentiment) = stage else { continue };
        let beginning = || {
            let mut steps = keys(&["transforms"]);
            steps.push(OwnedStep::Item(index));
            steps
        };
        if let Some(file) = sentiment.intent.as_mut().and_then(|intent| intent.model.as_mut()) {
            let mut steps = beginning();
            steps.extend(keys(&["sentiment", "intent", "model"]));
            models.push((steps, Location::Path(file)));
        }
        let (kind, name, file) = match &mut sentiment.engine {
            EngineConfig::Embedded(engine) => ("embedded", "model", engine.model.as_mut()),
            #[cfg(feature = "transformer")]
            EngineConfig::Transformer(engine) => {
                ("transformer", "folder", Some(&mut engine.folder))
            }
            #[cfg(feature = "comprehend")]
            EngineConfig::Comprehend(_) => continue,
        };
        let mut steps = beginning();
        steps.extend(keys(&["sentiment", "engine", kind, name]));
        models.extend(file.map(|file| (steps, Location::Path(file))));
    }
    models
}
